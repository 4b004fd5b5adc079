//! `HEAL_BACKUP_DIR` as a shelf of snapshots: one folder each, `<seconds>-<alertname>`, with `~2`, `~3` behind it where
//! the name is taken. A snapshot is whole once `manifest.json` is there: that is written last and removed first.
//! Whoever works on a snapshot holds its folder's lock (flock(2)). It refuses a shelf on which somebody else could swap what
//! stands there, and touches nothing that the acting side did not put there itself.

use std::fs::{self, DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::copies;
use super::ground::Side;
use crate::judge::run_id::RunId;
use crate::judge::{AlertName, Time};
use crate::sys::{files, flocks};
use crate::wire::config::Keep;
use crate::wire::manifest::{self, Manifest};
use crate::wire::shelved::State;

const MANIFEST: &str = "manifest.json";
const MANIFEST_NEW: &str = "manifest.new";
/// There once everything was put back: no snapshot is put back twice.
const RESTORED: &str = "restored";
/// There from the beginning of a restore until everything was put back: till then nobody tidies the snapshot away.
const FAILED: &str = "failed";
/// What a restore has put back so far: see `progress.rs`.
const DONE: &str = "done";
/// The copies, one for each path that was there, by its number.
const FILES: &str = "files";
/// The folders of those copies alone, with their attributes.
const FOLDERS: &str = "folders";

/// How many snapshots of one alert may begin in one second.
const SAME_SECOND: u32 = 1000;

/// The folder that snapshots stand in.
#[derive(Debug)]
pub(super) struct Shelf {
    folder: PathBuf,
    side: Side,
}

/// A snapshot in the making.
#[derive(Debug)]
pub(super) struct Blank {
    pub(super) folder: PathBuf,
    _lock: File,
}

/// A whole snapshot, with its lock.
#[derive(Debug)]
pub(super) struct Snapshot {
    pub(super) folder: PathBuf,
    pub(super) manifest: Manifest,
    /// Whether everything of it was put back already.
    pub(super) restored: bool,
    lock: File,
}

impl Shelf {
    /// The shelf, if nobody else can swap what this side puts there: it belongs to root, or to the account itself
    /// when that acts, and others may write to it only if it is sticky (inode(7), S_ISVTX).
    pub(super) fn open(folder: &Path, side: Side) -> Result<Shelf, String> {
        let real = fs::canonicalize(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let at = |why: &str| format!("HEAL_BACKUP_DIR: {}: {why}", real.display());
        for parent in [folder.parent(), real.parent()].into_iter().flatten() {
            files::trusted(parent).map_err(|why| at(&why))?;
        }
        let meta = fs::symlink_metadata(&real).map_err(|error| at(&error.to_string()))?;
        let ours = match side {
            Side::Root => meta.uid() == 0,
            Side::Own(uid) => meta.uid() == 0 || meta.uid() == uid,
        };
        if !meta.is_dir() || !ours {
            let uid = meta.uid();
            let mend = "make it with deploy/tmpfiles.d/self-heal.conf";
            return Err(at(&format!(
                "is no folder, or belongs to uid {uid}: {mend}"
            )));
        }
        if meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 {
            return Err(at("is writable by others and not sticky: chmod 1770"));
        }
        Ok(Shelf { folder: real, side })
    }

    /// Makes a folder for a snapshot of this run.
    pub(super) fn blank(&self, run: &RunId) -> Result<Blank, String> {
        let failed = |error: io::Error| {
            let place = self.folder.display();
            format!("HEAL_BACKUP_DIR: cannot make a folder in {place}: {error}")
        };
        let (seconds, alertname) = (seconds(run), &run.alertname);
        for number in 1..=SAME_SECOND {
            let suffix = match number {
                1 => String::new(),
                n => format!("~{n}"),
            };
            let folder = self.folder.join(format!("{seconds}-{alertname}{suffix}"));
            match DirBuilder::new().mode(0o700).create(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                other => other.map_err(failed)?,
            }
            let lock = files::read_only().open(&folder).map_err(failed)?;
            // Between the two steps, somebody who cleans up may have taken it for a dead one's.
            match lock.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => continue,
                Err(TryLockError::Error(error)) => {
                    let _ = fs::remove_dir(&folder);
                    return Err(failed(error));
                }
            }
            if files::still_at(&lock, &folder).map_err(failed)? {
                for name in [FILES, FOLDERS] {
                    files::make_folder(&folder.join(name), 0o700).map_err(failed)?;
                }
                let _lock = lock;
                return Ok(Blank { folder, _lock });
            }
        }
        Err(failed(io::Error::other("too many in one second")))
    }

    /// Makes a blank a whole snapshot. Everything in it is durable by now.
    pub(super) fn finish(&self, blank: &Blank, manifest: &Manifest) -> Result<(), String> {
        let json = manifest.to_json()?;
        let path = blank.folder.join(MANIFEST);
        let new = blank.folder.join(MANIFEST_NEW);
        let written = || -> io::Result<()> {
            let mut file = files::read_write().create_new(true).open(&new)?;
            file.write_all(json.as_bytes())?;
            file.sync_all()?;
            for folder in [FILES, FOLDERS] {
                File::open(blank.folder.join(folder))?.sync_all()?;
            }
            fs::rename(&new, &path)?;
            File::open(&blank.folder)?.sync_all()?;
            File::open(&self.folder)?.sync_all()
        };
        written().map_err(|error| format!("{}: {error}", path.display()))
    }

    /// Removes a blank that nothing becomes of.
    pub(super) fn discard(&self, blank: Blank) -> Result<(), String> {
        copies::remove(&blank.folder, self.side)
    }

    /// The whole snapshot of this run, locked.
    pub(super) fn find(&self, id: &str, run: &RunId) -> Result<Option<Snapshot>, String> {
        let mut found: Option<Snapshot> = None;
        for folder in self.folders(&run.alertname, Some(seconds(run)))? {
            let Some(manifest) = self.read(&folder)?.filter(|one| one.run_id == id) else {
                continue;
            };
            let lock = open_locked(&folder, files::lock)?;
            if let Some(other) = found {
                let (one, two) = (other.folder.display(), folder.display());
                return Err(format!("{one} and {two} are both of this run"));
            }
            let restored = fs::symlink_metadata(folder.join(RESTORED)).is_ok();
            found = Some(Snapshot {
                folder,
                manifest,
                restored,
                lock,
            });
        }
        Ok(found)
    }

    /// Notes that everything of a snapshot was put back.
    pub(super) fn mark_restored(&self, snapshot: &Snapshot) -> Result<(), String> {
        snapshot.mark(RESTORED)?;
        // With the other mark there it says nothing any more.
        let _ = fs::remove_file(snapshot.folder.join(FAILED));
        Ok(())
    }

    /// Removes what `keep` does not keep of this alert's snapshots, and what a killed capture left. Never `current`, never
    /// one whose run is unsettled or that could not be put back, never one that somebody works on.
    ///
    /// # Errors
    /// What could not be removed; the rest is.
    pub(super) fn clean(
        &self,
        alertname: &AlertName,
        keep: &Keep,
        now: Time,
        current: &Path,
        unsettled: &dyn Fn(&str) -> bool,
    ) -> Result<(), String> {
        let mut whole = Vec::new();
        let mut problems = Vec::new();
        for folder in self.folders(alertname, None)? {
            match self.read(&folder) {
                Ok(Some(manifest)) => whole.push((manifest.captured, folder, manifest.run_id)),
                Ok(None) => problems.extend(self.remove_unfinished(&folder).err()),
                Err(why) => problems.push(why),
            }
        }
        whole.sort_by(|one, other| other.cmp(one));
        let most = usize::try_from(keep.most).unwrap_or(usize::MAX);
        for (rank, (captured, folder, run_id)) in whole.into_iter().enumerate() {
            let old = now.since(captured) > keep.age;
            if (rank < most && !old) || folder == current || unsettled(&run_id) {
                continue;
            }
            let Ok(_lock) = open_locked(&folder, |file| Ok(file.try_lock()?)) else {
                continue;
            };
            let there = |mark: &str| folder.join(mark).symlink_metadata().is_ok();
            // Under the lock: a restore may have ended just now.
            if there(FAILED) && !there(RESTORED) {
                continue;
            }
            let removed = fs::remove_file(folder.join(MANIFEST))
                .map_err(|error| format!("{}: {error}", folder.display()))
                .and_then(|()| copies::remove(&folder, self.side));
            problems.extend(removed.err());
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(problems.join("; "))
    }

    /// What a capture or a removal that was killed left. A folder of the same name that somebody else made for
    /// himself has other things in it, and stays.
    fn remove_unfinished(&self, folder: &Path) -> Result<(), String> {
        let Ok(_lock) = open_locked(folder, |file| Ok(file.try_lock()?)) else {
            return Ok(());
        };
        if self.read(folder)?.is_some() {
            return Ok(());
        }
        let known = [FILES, FOLDERS, MANIFEST_NEW, RESTORED, FAILED, DONE];
        let failed = |error: io::Error| format!("{}: {error}", folder.display());
        for entry in fs::read_dir(folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if !known.iter().any(|known| name == **known) {
                return Ok(());
            }
        }
        copies::remove(folder, self.side)
    }

    /// This side's folders with a name that a snapshot of this alert has, one of this second if given; in no order.
    fn folders(&self, alertname: &AlertName, second: Option<i64>) -> Result<Vec<PathBuf>, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if !name
                .to_str()
                .is_some_and(|name| names(name, alertname, second))
            {
                continue;
            }
            let path = entry.path();
            let mine = fs::symlink_metadata(&path).is_ok_and(|meta| {
                meta.is_dir() && meta.uid() == geteuid().as_raw() && meta.mode() & 0o077 == 0
            });
            if mine {
                found.push(path);
            }
        }
        Ok(found)
    }

    /// The folders with a name that a snapshot has, of this alert if one is given, with that name's alert and second: this
    /// side's, and as root every account's.
    pub(super) fn every(
        &self,
        alert: Option<&AlertName>,
    ) -> Result<Vec<(PathBuf, AlertName, Time)>, String> {
        let failed = |error: io::Error| format!("{}: {error}", self.folder.display());
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let Some((seconds, alertname)) = name.to_str().and_then(meaning) else {
                continue;
            };
            let path = entry.path();
            let seen = fs::symlink_metadata(&path).is_ok_and(|meta| {
                let own = meta.uid() == geteuid().as_raw();
                meta.is_dir() && (own || matches!(self.side, Side::Root))
            });
            if seen && alert.is_none_or(|alert| *alert == alertname) {
                found.push((path, alertname, Time(seconds.saturating_mul(1000))));
            }
        }
        found.sort();
        Ok(found)
    }

    /// How a whole snapshot stands.
    pub(super) fn state(&self, folder: &Path) -> State {
        let there = |mark: &str| folder.join(mark).symlink_metadata().is_ok();
        if there(RESTORED) {
            return State::Restored;
        }
        match (there(FAILED), is_locked(folder)) {
            (_, true) => State::Busy,
            (true, false) => State::Unfinished,
            (false, false) => State::Whole,
        }
    }

    /// How a folder without a manifest stands.
    pub(super) fn blank_state(&self, folder: &Path) -> State {
        if is_locked(folder) {
            State::Busy
        } else {
            State::Incomplete
        }
    }

    /// A folder's manifest, if it has one.
    pub(super) fn read(&self, folder: &Path) -> Result<Option<Manifest>, String> {
        let path = folder.join(MANIFEST);
        let at = |why: &dyn std::fmt::Display| format!("{}: {why}", path.display());
        let file = match files::read_only().open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(|error| at(&error))?,
        };
        let meta = file.metadata().map_err(|error| at(&error))?;
        if !meta.is_file() || meta.len() > manifest::LARGEST {
            return Err(at(&"is no regular file, or too large"));
        }
        let mut bytes = Vec::new();
        file.take(manifest::LARGEST)
            .read_to_end(&mut bytes)
            .map_err(|error| at(&error))?;
        Manifest::parse(&bytes).map(Some).map_err(|why| at(&why))
    }
}

impl Blank {
    pub(super) fn copy(&self, number: usize) -> PathBuf {
        self.folder.join(FILES).join(number.to_string())
    }

    pub(super) fn model(&self, number: usize) -> PathBuf {
        self.folder.join(FOLDERS).join(number.to_string())
    }
}

impl Snapshot {
    /// Notes that what is in here is needed. Before the first step, because a restore may be killed. On a full disk there is no
    /// mark, and the restore goes on: it may make room.
    pub(super) fn mark_begun(&self) {
        let _ = self.mark(FAILED);
    }

    fn mark(&self, name: &str) -> Result<(), String> {
        let path = self.folder.join(name);
        let written = || -> io::Result<()> {
            let mut options = files::read_write();
            options.create(true).open(&path)?.sync_all()?;
            self.lock.sync_all()
        };
        written().map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(super) fn done(&self) -> PathBuf {
        self.folder.join(DONE)
    }

    pub(super) fn copy(&self, number: usize) -> PathBuf {
        self.folder.join(FILES).join(number.to_string())
    }

    pub(super) fn model(&self, number: usize) -> PathBuf {
        self.folder.join(FOLDERS).join(number.to_string())
    }
}

fn open_locked(folder: &Path, lock: impl Fn(&File) -> io::Result<()>) -> Result<File, String> {
    let locked = || -> io::Result<File> {
        let file = files::read_only().open(folder)?;
        lock(&file)?;
        Ok(file)
    };
    locked().map_err(|error| format!("{}: {error}", folder.display()))
}

/// Whether somebody works on it just now: looked at, so that he never finds it taken by whoever lists.
fn is_locked(folder: &Path) -> bool {
    flocks::any_on_folder(folder).unwrap_or(false)
}

/// The second and the alert that a snapshot's name tells; `None` for any other name.
fn meaning(name: &str) -> Option<(i64, AlertName)> {
    let (seconds, rest) = name.split_once('-')?;
    let whose = rest.split_once('~').map_or(rest, |(whose, _)| whose);
    let alertname = AlertName::new(whose)?;
    let seconds = seconds.parse().ok()?;
    names(name, &alertname, Some(seconds)).then_some((seconds, alertname))
}

/// The second in which a run began, as its snapshots' names have it.
fn seconds(run: &RunId) -> i64 {
    run.started.0.div_euclid(1000)
}

/// Whether a snapshot of this alert, and of no other, may have this name. No alertname holds a `~`.
fn names(name: &str, alertname: &AlertName, second: Option<i64>) -> bool {
    let Some((seconds, rest)) = name.split_once('-') else {
        return false;
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (whose, number) = match rest.split_once('~') {
        Some((whose, number)) => (whose, digits(number)),
        None => (rest, true),
    };
    let then = second.is_none_or(|second| seconds == second.to_string());
    digits(seconds) && then && number && whose == alertname.as_str()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_of_one_alert_only() {
        let whose = |name: &str| {
            let all = ["A", "A-1", "1-A", "A.b", "A-1.b", "A.b-2"];
            let of = |alert: &&str| names(name, &AlertName::new(alert).unwrap(), None);
            all.into_iter().filter(of).collect::<Vec<_>>()
        };
        assert_eq!(whose("1764000000-A"), ["A"]);
        assert_eq!(whose("1764000000-A~2"), ["A"]);
        assert_eq!(whose("1764000000-A-1"), ["A-1"]);
        assert_eq!(whose("1764000000-1-A"), ["1-A"]);
        assert_eq!(whose("1-1-A~12"), ["1-A"]);
        assert_eq!(whose("1-A.b-2"), ["A.b-2"]);
        for none in [
            "A",
            "-A",
            "x-A",
            "1764000000-a",
            "1-A~",
            "1-A~x",
            "1-A~2~3",
            "+1-A",
            "1-A/",
            "1-A ",
        ] {
            assert_eq!(whose(none), [""; 0], "{none}");
        }
        let alert = AlertName::new("A").unwrap();
        assert_eq!(
            meaning("17-A-1~2"),
            Some((17, AlertName::new("A-1").unwrap()))
        );
        for none in [
            "A",
            "x-A",
            "017-A",
            "17-A~",
            "17-A/",
            "99999999999999999999-A",
        ] {
            assert_eq!(meaning(none), None, "{none}");
        }
        assert!(names("17-A~2", &alert, Some(17)));
        for other in [1, 7, 170, -17] {
            assert!(!names("17-A", &alert, Some(other)), "{other}");
        }
    }
}
