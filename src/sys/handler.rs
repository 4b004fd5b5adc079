//! One handler from its start to its end: a session of its own, default signals, an exact environment, the
//! descriptors it is meant to have and no other, a time limit. It refuses to judge the exit, to connect anything by
//! a pipe (output could block the handler, or die with this process), and to harm what a handler leaves running
//! after an ending of its own.

use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::spawn::{PosixSpawnFileActions, posix_spawn};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, getpid};

use super::process::{self, ProcessId, Stat};
use super::signals::Signals;

/// What runs a handler that does not say what runs it.
const SHELL: &str = "/bin/bash";

/// Everything a handler is started with.
#[derive(Clone, Copy, Debug)]
pub struct Invocation<'a> {
    /// The handler; an absolute path.
    pub program: &'a Path,
    /// The program that runs it, if it does not say so itself: see [`interpreter`].
    pub interpreter: Option<&'a Path>,
    /// Its arguments; for a handler instance, alertname, fingerprint.
    pub args: &'a [&'a str],
    /// The whole environment, names and values.
    pub env: &'a [(String, String)],
    /// What it can read and seek on descriptor 0.
    pub stdin: &'a [u8],
    /// Where descriptors 1 and 2 go, opened for appending; `/dev/null` if none.
    pub log: Option<&'a File>,
    /// Descriptors that the handler holds open, under their own numbers, for as long as it lives.
    pub locks: &'a [BorrowedFd<'a>],
    /// How long it may run.
    pub timeout: Duration,
    /// How long it may take to end once told to.
    pub grace: Duration,
    /// The value of `HEAL_RUN_ID` in `env`: by it stragglers are found.
    pub run_id: &'a str,
}

/// How a handler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this status, 0 to 255.
    Code(i32),
    /// By this signal; 0 stands for a real-time signal, whose number nix does not tell.
    Signal(i32),
    /// It was told to end. What it then exited with does not count: it was interrupted in its work.
    TimedOut,
}

/// A handler's ending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub exit: Exit,
    /// From the start until nothing was left to wait for, grace included; the time that a suspended machine sleeps
    /// does not count.
    pub elapsed: Duration,
    /// After a timeout, the processes of the run that could not be ended; else none.
    pub survivors: Vec<ProcessId>,
}

/// A handler that was started. It has to be waited for: nothing else ends it in time.
#[derive(Debug)]
#[must_use = "a handler that nobody waits for has no time limit"]
pub struct Running {
    session: ProcessId,
    began: Instant,
    timeout: Duration,
    grace: Duration,
    run_id: String,
}

/// Why there is no handler to wait for.
#[derive(Debug)]
pub struct NotStarted {
    /// What failed.
    pub error: io::Error,
    /// Whether it ran for a moment before it was ended: it may have done something.
    pub ran: bool,
}

impl From<io::Error> for NotStarted {
    fn from(error: io::Error) -> NotStarted {
        NotStarted { error, ran: false }
    }
}

impl From<Errno> for NotStarted {
    fn from(errno: Errno) -> NotStarted {
        io::Error::from(errno).into()
    }
}

impl From<NotStarted> for io::Error {
    fn from(not: NotStarted) -> io::Error {
        not.error
    }
}

/// `/bin/bash` for a file that begins neither with `#!` nor as an ELF program: execve(2) would refuse it. `head` is
/// the file's first bytes, four at least if it has them.
pub fn interpreter(head: &[u8]) -> Option<&'static Path> {
    let runs_itself = head.starts_with(b"#!") || head.starts_with(b"\x7fELF");
    (!runs_itself).then(|| Path::new(SHELL))
}

/// Sets what a handler inherits and posix_spawn(3) cannot set: file mode mask 022, and `/` to work in, so that it
/// keeps no file system busy.
///
/// # Errors
/// `/` cannot be entered.
pub fn setup_process() -> io::Result<()> {
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    Ok(chdir("/")?)
}

/// Starts a handler, in a session and process group of its own. Signal dispositions and mask are the default ones,
/// descriptors are 0, 1, 2 and the locks: everything else that this process has open must be close-on-exec.
///
/// # Errors
/// It does not run: no such program or interpreter, not executable, too large an environment (E2BIG), no memory for
/// its input, /proc unusable, a NUL byte in a string, a relative path, a descriptor below 3 to hand over.
pub fn start(invocation: &Invocation<'_>) -> Result<Running, NotStarted> {
    if !invocation.program.is_absolute() {
        return Err(invalid("the handler's path is not absolute").into());
    }
    let (arguments, environment) = strings(invocation)?;
    // Checked first: a handler that cannot be told from a later process could not be supervised.
    ProcessId::own()?;
    // A handler's process that loses its parent becomes our child, so a timeout finds it wherever it went.
    set_child_subreaper(true)?;

    let mut input = File::from(memfd_create(c"alert", MFdFlags::MFD_CLOEXEC)?);
    input.write_all(invocation.stdin)?;
    input.rewind()?;
    let nowhere;
    let output = match invocation.log {
        Some(log) => log,
        None => {
            nowhere = OpenOptions::new().append(true).open("/dev/null")?;
            &nowhere
        }
    };
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(ours(input.as_raw_fd())?, 0)?;
    actions.add_dup2(ours(output.as_raw_fd())?, 1)?;
    actions.add_dup2(ours(output.as_raw_fd())?, 2)?;
    for lock in invocation.locks {
        // Onto itself: posix_spawn then clears close-on-exec, unlike dup2(2). POSIX.1-2024,
        // posix_spawn_file_actions_adddup2(); glibc since 2.29 (bug 23640), musl since 1.1.24. A test holds it.
        actions.add_dup2(ours(lock.as_raw_fd())?, lock.as_raw_fd())?;
    }

    let attributes = process::of_its_own_session()?;
    let path = invocation.interpreter.unwrap_or(invocation.program);
    let began = Instant::now();
    let spawned = {
        let _alone = process::spawning();
        posix_spawn(path, &actions, &attributes, &arguments, &environment)
    };
    let pid = spawned.map_err(|errno| explain(errno, invocation))?;
    // Free again before /proc is opened: few descriptors may be allowed.
    drop(input);
    match Stat::of(pid.as_raw()) {
        Ok(stat) if stat.session == pid.as_raw() => Ok(Running {
            session: stat.id,
            began,
            timeout: invocation.timeout,
            grace: invocation.grace,
            run_id: invocation.run_id.to_owned(),
        }),
        looked => {
            // Not reaped yet, so the number is still its own.
            let _ = killpg(pid, Signal::SIGKILL);
            let _ = kill(pid, Signal::SIGKILL);
            let _ = waitpid(pid, None);
            let error = looked.err().unwrap_or_else(|| {
                io::Error::other(
                    "the C library cannot start a handler in a session of its own: glibc 2.26 or musl is needed",
                )
            });
            Err(NotStarted { error, ran: true })
        }
    }
}

impl Running {
    /// The handler's process, which leads the session of the run.
    pub fn session(&self) -> ProcessId {
        self.session
    }

    /// Waits until the handler has ended; what it leaves running then stays. Past the timeout it and every process of
    /// its run are made to end: [`process::end`]. A signal to this process shortens nothing.
    ///
    /// # Errors
    /// The ending cannot be known (SIGCHLD is ignored: [`super::signals::start_over`]), or /proc failed while the
    /// run had to be ended; the handler's process group was killed then.
    pub fn wait(self, signals: &mut Signals) -> io::Result<Ended> {
        loop {
            if let Some(ended) = self.ended()? {
                return Ok(ended);
            }
            let left = self.left();
            if left.is_zero() {
                return self.cut_short(Some(getpid().as_raw()), signals);
            }
            signals.wait(left);
        }
    }

    /// Looks whether it has ended, without waiting: for several that run at once. Past the timeout its session is made
    /// to end, which takes the grace and two seconds at most; what left the session is nobody's then.
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub fn poll(&self, signals: &mut Signals) -> io::Result<Option<Ended>> {
        match self.ended()? {
            None if self.left().is_zero() => self.cut_short(None, signals).map(Some),
            ended => Ok(ended),
        }
    }

    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.began.elapsed())
    }

    fn ended(&self) -> io::Result<Option<Ended>> {
        let exit = self.reap()?;
        Ok(exit.map(|exit| Ended {
            exit,
            elapsed: self.began.elapsed(),
            survivors: Vec::new(),
        }))
    }

    /// Not reaped before all is over: as long as the zombie is there, nobody can get the session's number.
    fn cut_short(&self, supervisor: Option<i32>, signals: &mut Signals) -> io::Result<Ended> {
        let targets = || process::belonging(&self.session, &self.run_id, supervisor);
        let survivors = process::end(targets, self.grace, signals).inspect_err(|_| {
            let _ = killpg(Pid::from_raw(self.session.pid), Signal::SIGKILL);
        });
        self.reap()?;
        Ok(Ended {
            exit: Exit::TimedOut,
            elapsed: self.began.elapsed(),
            survivors: survivors?,
        })
    }

    fn reap(&self) -> io::Result<Option<Exit>> {
        match waitpid(Pid::from_raw(self.session.pid), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(_, code)) => Ok(Some(Exit::Code(code))),
            Ok(WaitStatus::Signaled(_, signal, _)) => Ok(Some(Exit::Signal(signal as i32))),
            // nix, WaitStatus::from_raw: reaped, but of a signal that its enumeration does not have.
            Err(Errno::EINVAL) => Ok(Some(Exit::Signal(0))),
            Ok(_) | Err(Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

fn strings(invocation: &Invocation<'_>) -> io::Result<(Vec<CString>, Vec<CString>)> {
    let program = invocation.program.as_os_str().as_bytes();
    let arguments = invocation
        .interpreter
        .map(|path| path.as_os_str().as_bytes())
        .into_iter()
        .chain([program])
        .chain(invocation.args.iter().map(|word| word.as_bytes()))
        .map(|word| CString::new(word).map_err(|_| invalid("an argument holds a NUL byte")))
        .collect::<io::Result<_>>()?;
    let environment = invocation
        .env
        .iter()
        .map(|(name, value)| {
            if name.is_empty() || name.contains('=') {
                return Err(invalid("an environment variable has no usable name"));
            }
            CString::new(format!("{name}={value}"))
                .map_err(|_| invalid("an environment variable holds a NUL byte"))
        })
        .collect::<io::Result<_>>()?;
    Ok((arguments, environment))
}

/// Descriptors 0 to 2 are the handler's own: one of ours among them would be overwritten half-way.
fn ours(descriptor: RawFd) -> io::Result<RawFd> {
    if descriptor < 3 {
        return Err(invalid("a standard descriptor cannot be handed over"));
    }
    Ok(descriptor)
}

fn invalid(reason: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

fn explain(errno: Errno, invocation: &Invocation<'_>) -> io::Error {
    let reason = match errno {
        Errno::E2BIG => {
            "its arguments and environment are larger than the kernel takes: drop or shorten labels and annotations"
        }
        Errno::ENOENT => "it, or the interpreter in its first line, does not exist",
        Errno::EACCES => {
            "it, or the interpreter in its first line, may not be executed: see its mode, the folders above, and noexec"
        }
        Errno::ENOEXEC => "it is no program for this machine and names no interpreter",
        Errno::ETXTBSY => {
            "it is open for writing: write a new version beside it and rename that over it"
        }
        other => other.desc(),
    };
    let message = format!("cannot start {}: {reason}", invocation.program.display());
    io::Error::new(io::Error::from(errno).kind(), message)
}

#[cfg(test)]
mod tests;
