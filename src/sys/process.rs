//! Processes as /proc tells of them: who one is beyond its number, which ones belong to a handler's run, and how they
//! are made to end. It refuses to signal a process whose identity was not checked the moment before, itself, and
//! process 1. nix has no pidfd; a number is taken together with the start time, which a recycled number cannot share.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFlags};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getpid};

use crate::sys::files;

mod ending;

pub use ending::end;

/// The environment variable by which the processes of one run know each other.
const RUN_ID: &[u8] = b"HEAL_RUN_ID=";

/// One process, never to be taken for a later one of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProcessId {
    /// Its number.
    pub pid: i32,
    /// When it started, in clock ticks since boot: proc_pid_stat(5), field 22. Comparable within one boot only.
    pub started: u64,
}

impl ProcessId {
    /// Who has this number now, zombies included.
    ///
    /// # Errors
    /// `NotFound` or ESRCH when nobody has it; anything else when /proc cannot tell.
    pub fn of(pid: i32) -> io::Result<ProcessId> {
        Ok(Stat::of(pid)?.id)
    }

    /// This process.
    ///
    /// # Errors
    /// /proc cannot tell: not mounted, or no descriptor is free.
    pub fn own() -> io::Result<ProcessId> {
        Ok(own()?.id)
    }

    /// Whether this very process still runs: a zombie does not, a stopped one does. Where /proc fails to tell, a
    /// number that is in use counts as alive, so that a failing machine never frees what may be running.
    pub fn alive(&self) -> bool {
        match Stat::of(self.pid) {
            Ok(stat) => stat.id == *self && !stat.ended(),
            Err(error) if gone(&error) => false,
            Err(_) => kill(Pid::from_raw(self.pid), None) != Err(Errno::ESRCH),
        }
    }

    /// Sends a signal to this very process, or ESRCH.
    fn signal(&self, signal: Signal) -> nix::Result<()> {
        let forbidden = self.pid <= 1 || self.pid == getpid().as_raw();
        if forbidden || !self.alive() {
            return Err(Errno::ESRCH);
        }
        kill(Pid::from_raw(self.pid), signal)
    }
}

/// What `/proc/PID/stat` says: proc_pid_stat(5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) id: ProcessId,
    pub(super) state: u8,
    pub(super) session: i32,
    /// The standard signals that it ignores, signal 1 in bit 0; real-time ones are not told.
    pub(super) ignored: u64,
    parent: i32,
    threads: u32,
}

/// What is said of this process, asked once: nothing of it that is asked for here ever changes.
pub(super) fn own() -> io::Result<Stat> {
    static OWN: OnceLock<Stat> = OnceLock::new();
    if let Some(own) = OWN.get() {
        return Ok(*own);
    }
    let own = Stat::of(getpid().as_raw())?;
    Ok(*OWN.get_or_init(|| own))
}

impl Stat {
    pub(super) fn of(pid: i32) -> io::Result<Stat> {
        let content = files::read_of_kernel(&format!("/proc/{pid}/stat"))?;
        Stat::parse(pid, &content).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::InvalidData,
                format!("/proc/{pid}/stat is not as proc_pid_stat(5) has it"),
            )
        })
    }

    /// The second field is the program's name in parentheses, and a name may hold anything, `)` and spaces too: the
    /// last `)` ends it, since only numbers follow.
    fn parse(pid: i32, content: &[u8]) -> Option<Stat> {
        let end = content.iter().rposition(|byte| *byte == b')')?;
        let rest = std::str::from_utf8(content.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        // Fields are numbered from 1 in the manual, and the first one here is the third.
        let field = |number: usize| fields.get(number - 3).copied();
        Some(Stat {
            id: ProcessId {
                pid,
                started: field(22)?.parse().ok()?,
            },
            state: *field(3)?.as_bytes().first()?,
            session: field(6)?.parse().ok()?,
            ignored: field(33)?.parse().ok()?,
            parent: field(4)?.parse().ok()?,
            threads: field(20)?.parse().ok()?,
        })
    }

    /// A zombie whose first thread alone has ended still runs in its others.
    fn ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

/// Nobody has the number (any more): the file is not there, or its process ended while it was read.
fn gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(Errno::ESRCH as i32)
}

/// Every living process of a run, the session's leader first, then by age:
///
/// - the members of its session. While the leader exists, as a zombie too, they all are; after that only those that
///   are not older than the session, and none if another process has the leader's number.
/// - whoever was started with `HEAL_RUN_ID` set to `run_id`, unless that is empty.
/// - given `supervisor` (this process, as child subreaper of the run: prctl(2)), its children in other sessions than
///   its own that are not older than the run: they left the run's session, lost their parent and cleared their
///   environment. With several runs at once under one supervisor, it cannot be told whose they are.
/// - whatever descends from any of these.
///
/// Otherwise a process that carries another run's `HEAL_RUN_ID` does not belong, and neither this process nor process 1
/// ever does.
///
/// # Errors
/// /proc cannot be read, so nothing can be said of who lives. Single processes that vanish or are hidden (hidepid)
/// are passed over.
pub fn belonging(
    session: &ProcessId,
    run_id: &str,
    supervisor: Option<i32>,
) -> io::Result<Vec<ProcessId>> {
    let _settled = spawning();
    let own = getpid().as_raw();
    let table = table()?;
    let own_session = table.iter().find(|p| p.id.pid == own).map(|p| p.session);
    let leader = table.iter().find(|p| p.id.pid == session.pid);
    let leader_exists = leader.is_some_and(|p| p.id == *session);

    let mut found = HashSet::new();
    let mut others = HashSet::from([own, 1]);
    for process in &table {
        let pid = process.id.pid;
        if others.contains(&pid) {
            continue;
        }
        let member = process.session == session.pid;
        if member && leader_exists {
            found.insert(pid);
            continue;
        }
        let young = process.id.started >= session.started;
        let adopted = supervisor == Some(process.parent) && own_session != Some(process.session);
        match run_of(pid, run_id) {
            Run::This => drop(found.insert(pid)),
            Run::Another => drop(others.insert(pid)),
            Run::Unknown if young && (member && leader.is_none() || adopted) => {
                found.insert(pid);
            }
            Run::Unknown => {}
        }
    }
    loop {
        let before = found.len();
        for process in &table {
            if found.contains(&process.parent) && !others.contains(&process.id.pid) {
                found.insert(process.id.pid);
            }
        }
        if found.len() == before {
            break;
        }
    }

    let mut living: Vec<ProcessId> = table
        .iter()
        .filter(|process| found.contains(&process.id.pid) && !process.ended())
        .map(|process| process.id)
        .collect();
    living.sort_by_key(|id| (id != session, id.started, id.pid));
    Ok(living)
}

fn table() -> io::Result<Vec<Stat>> {
    let mut table = Vec::new();
    for entry in std::fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        match Stat::of(pid) {
            Ok(stat) => table.push(stat),
            Err(error) if gone(&error) || error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    Ok(table)
}

enum Run {
    This,
    Another,
    Unknown,
}

/// Whose run the environment that a process was started with speaks of. Another user's cannot be read.
fn run_of(pid: i32, run_id: &str) -> Run {
    let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let carried = environment
        .split(|byte| *byte == 0)
        .find_map(|variable| variable.strip_prefix(RUN_ID));
    match carried {
        Some(value) if value.is_empty() || run_id.is_empty() => Run::Unknown,
        Some(value) if value == run_id.as_bytes() => Run::This,
        Some(_) => Run::Another,
        None => Run::Unknown,
    }
}

/// `POSIX_SPAWN_SETSID` of glibc (since 2.26) and musl, which nix does not name.
const SETSID: i32 = 0x80;

/// What posix_spawn(3) makes of a program: the leader of a session of its own, every signal at its default and none
/// blocked. nix drops the error of posix_spawnattr_setflags(3), by which an older C library refuses SETSID: whoever starts
/// one looks at its session.
pub(super) fn of_its_own_session() -> nix::Result<PosixSpawnAttr> {
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigdefault(&SigSet::all())?;
    attributes.set_sigmask(&SigSet::empty())?;
    attributes.set_flags(
        PosixSpawnFlags::from_bits_retain(SETSID)
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
            | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    Ok(attributes)
}

/// Keeps the starting of a handler and the reading of /proc apart, for programs with several threads: between
/// clone(2) and execve(2) a handler is a copy of this process in a session of its own, and looks like somebody's
/// straggler.
pub(super) fn spawning() -> MutexGuard<'static, ()> {
    static SPAWNING: Mutex<()> = Mutex::new(());
    SPAWNING.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
