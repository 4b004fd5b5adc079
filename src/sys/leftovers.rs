//! What a run left behind that lost its supervisor: found by its session, its run id and the lock it
//! still has open; ended only by whoever decided that.

use std::fs;
use std::io;
use std::path::Path;
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

/// Ends what still holds the lock at `path` on behalf of this run: its session, and whoever carries
/// its run id and has the file open. A service that the handler started and that let go of the lock is
/// left alone. Returns what may not be signalled.
pub fn end(
    holder: &Holder,
    path: &Path,
    grace: Duration,
    signals: &mut Signals,
) -> io::Result<Vec<Process>> {
    let lock = fs::metadata(path)?;
    let session = ProcessId::from(holder.session);
    let targets = || {
        let mut found = process::belonging(&session, &holder.run_id, None)?;
        found.retain(|p| in_session(p.pid, &session) || has_open(p.pid, &lock));
        Ok(found)
    };
    let left = process::end(targets, grace, signals)?;
    Ok(left.into_iter().map(Process::from).collect())
}

/// Members of this run's session that may not be signalled: what sudo started as root goes on when the
/// handler is gone, and holds no lock, because sudo closes what it does not know (sudo(8), closefrom).
pub fn out_of_reach(holder: &Holder) -> io::Result<Vec<Process>> {
    let session = ProcessId::from(holder.session);
    let mut found = process::belonging(&session, "", None)?;
    found.retain(|p| kill(Pid::from_raw(p.pid), None) == Err(Errno::EPERM));
    Ok(found.into_iter().map(Process::from).collect())
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
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    entries
        .flatten()
        .any(|entry| fs::metadata(entry.path()).is_ok_and(|meta| files::same_file(&meta, lock)))
}
