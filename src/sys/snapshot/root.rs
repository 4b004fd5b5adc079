//! Root's side of the rollback guard. What comes from the healer is one run id, and that id's alertname names a handler of
//! root's: what is copied stands there. Everything else is root's too: the configuration file, the folders on the way,
//! the snapshot. The healer's records are read with the healer's own rights, and only to keep what they call
//! unsettled.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Uid, getgroups, setegid, seteuid, setgroups};

use super::ground::Side;
use super::shelf::Shelf;
use super::{Guarded, give_back, look_at, take};
use crate::judge::Time;
use crate::sys::clock;
use crate::sys::state::file::Store;
use crate::wire::config::Keep;
use crate::wire::manifest::{PutBack, Took};

/// How long after its capture a snapshot may be put back at the healer's word: the longest timeout of a handler, twice.
/// Later a person does it, who knows what has been changed since.
const LATEST: Duration = Duration::from_secs(2 * 86_400);

/// Captures those of the paths that are root's ground.
///
/// # Errors
/// One sentence; no snapshot was made.
pub fn capture(guarded: &Guarded<'_>, keep: &Keep, state_dir: &Path) -> Result<Took, String> {
    umask(Mode::from_bits_truncate(0o077));
    let run = guarded.run()?;
    let side = Side::Root;
    let shelf = Shelf::open(guarded.backup_dir, side)?;
    // Once for each run: a second snapshot would be of what the handler has made of it.
    if shelf.find(guarded.run_id, &run)?.is_some() {
        return Err(format!("{} is captured already", guarded.run_id));
    }
    let mut taken: Vec<PathBuf> = Vec::new();
    let mut refused = Vec::new();
    for path in guarded.paths {
        match look_at(std::slice::from_ref(path), side) {
            Ok(_) => taken.push(path.clone()),
            Err(why) => refused.push((path.clone(), why)),
        }
    }
    if guarded.paths.is_empty() {
        return Err(format!(
            "the handler {} names nothing by snapshot=",
            run.alertname
        ));
    }
    if taken.is_empty() {
        let why: Vec<String> = refused.into_iter().map(|(_, why)| why).collect();
        return Err(format!(
            "nothing here is root's to take: {}",
            why.join("; ")
        ));
    }
    let folder = take(&shelf, side, guarded.run_id, &run, &taken, None)?;
    let in_flight = in_flight(state_dir);
    let unsettled = |run: &str| {
        let known = in_flight.as_ref();
        known.is_none_or(|runs| runs.iter().any(|other| other == run))
    };
    let _ = shelf.clean(&run.alertname, keep, clock::now(), &folder, &unsettled);
    Ok(Took {
        folder,
        taken,
        refused,
    })
}

/// Puts back what root's side captured for this run, whatever its handler names today: not later than two days after,
/// and once. Asked again, it changes nothing: what was put in its place since then is somebody's work.
///
/// # Errors
/// One sentence; what was put back by then stays so, and it may be tried again.
pub fn restore(guarded: &Guarded<'_>) -> Result<PutBack, String> {
    umask(Mode::from_bits_truncate(0o077));
    let run = guarded.run()?;
    let shelf = Shelf::open(guarded.backup_dir, Side::Root)?;
    let snapshot = shelf
        .find(guarded.run_id, &run)?
        .ok_or_else(|| format!("root has no snapshot of {}", guarded.run_id))?;
    let folder = snapshot.folder.clone();
    let at = |why: &str| format!("{}: {why}", folder.display());
    if snapshot.restored {
        return Ok(PutBack { folder, changed: 0 });
    }
    snapshot.mark_begun();
    if too_late(snapshot.manifest.captured, clock::now()) {
        return Err(at("is older than two days: a person has to put it back"));
    }
    let changed = give_back(&snapshot, Side::Root).map_err(|why| at(&why))?;
    shelf.mark_restored(&snapshot)?;
    Ok(PutBack { folder, changed })
}

fn too_late(captured: Time, now: Time) -> bool {
    now.since(captured) > LATEST
}

/// The runs that some record of the healer's has in flight; `None` when that cannot be known.
fn in_flight(state_dir: &Path) -> Option<Vec<String>> {
    let meta = fs::metadata(state_dir).ok()?;
    let listed = with_rights_of(meta.uid(), meta.gid(), || Store::at(state_dir).list());
    let records = listed.ok()?.ok()?;
    let runs = records
        .into_iter()
        .filter_map(|(_, record)| record.in_flight);
    Some(runs.map(|run| run.id).collect())
}

/// Does something with the rights of another account and no others: whatever its owner may have put in the place
/// of a record, root does not open it. The real user stays root, so that account can neither signal nor trace this process
/// (kill(2), ptrace(2)).
///
/// # Errors
/// The rights cannot be changed, or not be got back: then nothing more may be done.
fn with_rights_of<T>(uid: u32, gid: u32, act: impl FnOnce() -> T) -> io::Result<T> {
    let groups = getgroups()?;
    let own_group = Gid::effective();
    setgroups(&[Gid::from_raw(gid)])?;
    setegid(Gid::from_raw(gid))?;
    seteuid(Uid::from_raw(uid))?;
    let done = act();
    seteuid(Uid::from_raw(0))?;
    setegid(own_group)?;
    setgroups(&groups)?;
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_days_are_the_limit_and_a_clock_set_back_is_not_late() {
        let captured = Time(1_764_000_000_000);
        assert!(!too_late(captured, captured.plus(LATEST)));
        assert!(too_late(
            captured,
            captured.plus(LATEST).plus(Duration::from_millis(1))
        ));
        assert!(!too_late(captured, Time(0)));
    }
}
