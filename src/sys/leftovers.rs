//! What a run left behind that lost its supervisor: found by its session, its run id and the lock it
//! still has open; ended only by whoever decided that.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::{Pid, getsid};

use crate::judge::record::Process;
use crate::sys::files;
use crate::sys::process::{self, ProcessId};
use crate::sys::signals::Signals;
use crate::wire::holder::Holder;

/// Stands for a session that is not known: no process has this one, while 0 is the kernel's own.
pub const NO_SESSION: Process = Process {
    pid: -1,
    started: 0,
};

/// Ends what still holds the lock at `path` on behalf of this run: its session, whoever carries its run id
/// and has the file open, and a daemon that left both and kept the descriptor. Returns what may not be
/// signalled; `None`, and nothing is ended, when the lock is held on behalf of somebody else.
pub fn end(
    holder: &Holder,
    path: &Path,
    grace: Duration,
    signals: &mut Signals,
) -> io::Result<Option<Vec<Process>>> {
    let lock = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let session = ProcessId::from(holder.session);
    let belonging = || {
        let mut found = process::belonging(&session, &holder.run_id, None)?;
        found.retain(|p| in_session(p.pid, &session) || has_open(p.pid, &lock));
        io::Result::Ok(found)
    };
    let keepers = keepers(&lock, holder, &belonging()?)?;
    if keepers.is_empty() {
        return Ok(None);
    }
    let targets = || {
        let mut found = belonging()?;
        found.extend(keepers.iter().filter(|keeper| keeper.alive()));
        Ok(found)
    };
    let left = process::end(targets, grace, signals)?;
    Ok(Some(left.into_iter().map(Process::from).collect()))
}

/// Processes of this run that hold a lock whose file has been removed: it keeps nobody out any more, yet they
/// are at work.
pub fn at_work_behind(run_id: &str, path: &Path) -> io::Result<Vec<ProcessId>> {
    let removed = PathBuf::from(format!("{} (deleted)", path.display()));
    let mut found = process::belonging(&NO_SESSION.into(), run_id, None)?;
    found.retain(|p| {
        open_files(p.pid).any(|(_, file)| fs::read_link(file).is_ok_and(|l| l == removed))
    });
    Ok(found)
}

/// Members of this run's session that may not be signalled: what sudo started as root goes on when the
/// handler is gone, and holds no lock, because sudo closes what it does not know (sudo(8), closefrom).
pub fn out_of_reach(holder: &Holder) -> io::Result<Vec<Process>> {
    let session = ProcessId::from(holder.session);
    let mut found = process::belonging(&session, "", None)?;
    found.retain(|p| kill(Pid::from_raw(p.pid), None) == Err(Errno::EPERM));
    Ok(found.into_iter().map(Process::from).collect())
}

/// Whoever has the very open file on which this run's supervisor called flock(2): proc(5), fdinfo, names that
/// caller, also when it is dead. Inside another pid namespace than the first a dead caller reads as 0
/// (locks_translate_pid, fs/locks.c); then only what belongs to the run by other signs counts.
fn keepers(
    lock: &fs::Metadata,
    holder: &Holder,
    known: &[ProcessId],
) -> io::Result<Vec<ProcessId>> {
    let own = std::process::id();
    let mut keepers = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        if u32::try_from(pid) == Ok(own) {
            continue;
        }
        let callers: Vec<i32> = open_files(pid)
            .filter(|(_, file)| fs::metadata(file).is_ok_and(|meta| files::same_file(&meta, lock)))
            .filter_map(|(number, _)| flock_caller(pid, &number))
            .collect();
        let of_run = |caller: &i32| {
            *caller == holder.supervisor.pid || (*caller == 0 && known.iter().any(|p| p.pid == pid))
        };
        if callers.iter().any(of_run)
            && let Ok(id) = ProcessId::of(pid)
        {
            keepers.push(id);
        }
    }
    Ok(keepers)
}

/// Who called flock(2) on this descriptor's open file; `None` when nobody did.
fn flock_caller(pid: i32, number: &str) -> Option<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/fdinfo/{number}")).ok()?;
    let line = text
        .lines()
        .find(|line| line.starts_with("lock:") && line.contains("FLOCK"))?;
    // lock:  1: FLOCK  ADVISORY  WRITE 4711 fe:00:123 0 EOF
    line.split_ascii_whitespace().nth(5)?.parse().ok()
}

fn open_files(pid: i32) -> impl Iterator<Item = (String, PathBuf)> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).ok();
    entries.into_iter().flatten().flatten().filter_map(|entry| {
        let number = entry.file_name().to_str()?.to_owned();
        Some((number, entry.path()))
    })
}

impl From<ProcessId> for Process {
    fn from(id: ProcessId) -> Process {
        Process {
            pid: id.pid,
            started: id.started,
        }
    }
}

impl From<Process> for ProcessId {
    fn from(process: Process) -> ProcessId {
        ProcessId {
            pid: process.pid,
            started: process.started,
        }
    }
}

fn in_session(pid: i32, session: &ProcessId) -> bool {
    getsid(Some(Pid::from_raw(pid))).is_ok_and(|leader| leader.as_raw() == session.pid)
}

fn has_open(pid: i32, lock: &fs::Metadata) -> bool {
    open_files(pid)
        .any(|(_, file)| fs::metadata(file).is_ok_and(|meta| files::same_file(&meta, lock)))
}
