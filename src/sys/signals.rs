//! Signals as something to read: TERM, INT, HUP and CHLD are blocked and come out of a signalfd(2), so nothing is
//! ever interrupted half-way. It installs no signal handler and refuses to act on a signal by itself: it only says
//! what came.

use std::ffi::CString;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use crate::sys::process;

/// The longest that [`Signals::wait`] rests, in milliseconds. A SIGCHLD can be lost to another thread, or merged with
/// one that was read already (signal(7): standard signals do not queue), so whoever waits looks again this often.
const LONGEST_REST: u8 = 100;

/// How often [`start_over`] looks whether the program it started is gone; no SIGCHLD can tell it.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The blocked signals, and what came of them.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
    terminated: bool,
}

impl Signals {
    /// Blocks TERM, INT, HUP and CHLD for the calling thread and the threads it will start, for good. To be called
    /// before there are any others: a thread that does not block them takes them.
    ///
    /// # Errors
    /// No descriptor is left for the signalfd.
    pub fn block() -> nix::Result<Signals> {
        let watched = SigSet::from_iter([
            Signal::SIGTERM,
            Signal::SIGINT,
            Signal::SIGHUP,
            Signal::SIGCHLD,
        ]);
        let descriptor =
            SignalFd::with_flags(&watched, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        sigprocmask(SigmaskHow::SIG_BLOCK, Some(&watched), None)?;
        Ok(Signals {
            descriptor,
            terminated: false,
        })
    }

    /// Whether this process was ever told to end, by TERM, INT or HUP. Once true it stays true.
    pub fn terminated(&mut self) -> bool {
        self.drain();
        self.terminated
    }

    /// Rests until any of the signals comes, for `timeout` at most and never for longer than 100 ms: the caller looks
    /// at what it waits for, and comes back.
    pub fn wait(&mut self, timeout: Duration) {
        // Rounded up: a rest of less than a millisecond would be none at all, and the caller would spin.
        let rest = u8::try_from(timeout.as_micros().div_ceil(1000))
            .unwrap_or(LONGEST_REST)
            .min(LONGEST_REST);
        let mut watched = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
        // EINTR (a signal that is not ours, a stop and continue) is a rest cut short, nothing more.
        let _ = poll(&mut watched, PollTimeout::from(rest));
        self.drain();
    }

    fn drain(&mut self) {
        while let Ok(Some(came)) = self.descriptor.read_signal() {
            let child = u32::try_from(Signal::SIGCHLD as i32) == Ok(came.ssi_signo);
            self.terminated |= !child;
        }
    }
}

/// Whether SIGCHLD is ignored. An ignored signal stays ignored through execve(2), and then the kernel throws away the
/// exit status of every child (wait(2), NOTES): a handler's outcome could not be known.
///
/// # Errors
/// `/proc` does not tell of this process.
pub fn child_ignored() -> io::Result<bool> {
    // proc_pid_stat(5): bit 0 stands for signal 1.
    Ok(process::own()?.ignored >> (Signal::SIGCHLD as i32 - 1) & 1 == 1)
}

/// Runs this very program once more with SIGCHLD at its default, on the same standard descriptors, arguments and
/// environment, and waits until it is gone. TERM, INT and HUP are passed on to it, as TERM. The caller has nothing
/// left to do but return: the connection was served, and the exit status of what served it is unknowable (see
/// [`child_ignored`]).
///
/// # Errors
/// The program could not be started again; nothing was served.
pub fn start_over() -> io::Result<()> {
    run_again(&PosixSpawnFileActions::init()?)
}

/// As [`start_over`], with the standard output of that program kept, for a caller who has to know what came of it. It
/// may write as much as a pipe holds (64 KiB: pipe(7)), and no more.
///
/// # Errors
/// As [`start_over`].
pub fn start_over_and_listen() -> io::Result<String> {
    let (mut said, speaks) = io::pipe()?;
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(speaks.as_raw_fd(), 1)?;
    run_again(&actions)?;
    drop(speaks);
    let mut text = String::new();
    said.read_to_string(&mut text)?;
    Ok(text)
}

fn run_again(actions: &PosixSpawnFileActions) -> io::Result<()> {
    let inherited = SigSet::thread_get_mask()?;
    let mut signals = Signals::block()?;

    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_sigdefault(&SigSet::from(Signal::SIGCHLD))?;
    attributes.set_sigmask(&inherited)?;
    attributes.set_flags(
        PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
    )?;
    let arguments = std::env::args_os()
        .map(|argument| CString::new(argument.into_vec()))
        .collect::<Result<Vec<_>, _>>()?;
    let environment = std::env::vars_os()
        .map(|(name, value)| {
            CString::new([name.into_vec(), b"=".to_vec(), value.into_vec()].concat())
        })
        .collect::<Result<Vec<_>, _>>()?;
    let program = posix_spawn(
        "/proc/self/exe",
        actions,
        &attributes,
        &arguments,
        &environment,
    )?;

    let mut told = false;
    loop {
        match waitpid(program, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            // ECHILD is the usual end: the kernel reaped it.
            _ => return Ok(()),
        }
        if signals.terminated() && !told {
            let _ = kill(program, Signal::SIGTERM);
            told = true;
        }
        signals.wait(LOOK_AGAIN);
    }
}

/// Tests that need a process of their own run themselves again in one, through a hostile caller if they like.
#[cfg(test)]
pub(crate) mod again {
    use std::process::{Command, Stdio};

    const MARK: &str = "SELF_HEAL_TEST_AGAIN";

    /// Whether this is the process that was started for one test alone.
    pub(crate) fn inner() -> bool {
        std::env::var_os(MARK).is_some()
    }

    /// The command that runs one test alone, by way of `caller`.
    pub(crate) fn command(caller: &[&str], test: &str, module: &str) -> Command {
        let program = std::env::current_exe().unwrap();
        let name = format!("{}::{test}", module.split_once("::").unwrap().1);
        let mut command = match caller {
            [] => Command::new(program),
            [first, rest @ ..] => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
        };
        command
            .args(["--exact", &name, "--nocapture", "--test-threads=1"])
            .env(MARK, "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs one test alone; it has to succeed, and to have been found. Returns what it printed.
    pub(crate) fn run(caller: &[&str], test: &str, module: &str) -> String {
        let output = command(caller, test, module).output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && printed.contains("running 1 test"),
            "{}: {printed}{complaint}",
            output.status
        );
        printed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::signal::raise;
    use nix::unistd::Pid;
    use std::io::{BufRead, BufReader, Read};
    use std::process::Stdio;
    use std::time::Instant;

    #[test]
    fn a_termination_is_seen_and_never_forgotten() {
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            let mut signals = Signals::block().unwrap();
            assert!(!signals.terminated());
            // To this thread alone: the other tests' threads do not block it.
            raise(signal).unwrap();
            assert!(signals.terminated());
            assert!(signals.terminated());
        }
    }

    #[test]
    fn a_child_is_no_termination() {
        let mut signals = Signals::block().unwrap();
        raise(Signal::SIGCHLD).unwrap();
        assert!(!signals.terminated());
    }

    #[test]
    fn a_wait_is_bounded_and_cut_short_by_a_signal() {
        let mut signals = Signals::block().unwrap();
        let began = Instant::now();
        signals.wait(Duration::from_micros(1));
        assert!(
            began.elapsed() >= Duration::from_micros(900),
            "it would spin"
        );
        // An hour, and yet this test ends: a lost SIGCHLD costs 100 ms.
        signals.wait(Duration::from_secs(3600));
        // Cut short: seen in that the rest leaves nothing in the descriptor, and remembers.
        raise(Signal::SIGTERM).unwrap();
        signals.wait(Duration::from_secs(3600));
        assert!(signals.descriptor.read_signal().unwrap().is_none());
        assert!(signals.terminated);
    }

    #[test]
    fn an_ignored_child_signal_is_noticed() {
        if again::inner() {
            println!("ignored={}", child_ignored().unwrap());
            return;
        }
        let name = "an_ignored_child_signal_is_noticed";
        let caller = ["env", "--ignore-signal=CHLD"];
        assert!(again::run(&caller, name, module_path!()).contains("ignored=true"));
        assert!(again::run(&[], name, module_path!()).contains("ignored=false"));
    }

    #[test]
    fn it_starts_over_with_the_child_signal_at_its_default() {
        if again::inner() {
            if child_ignored().unwrap() {
                start_over().unwrap();
                println!("waited");
            } else {
                println!("served");
            }
            return;
        }
        let name = "it_starts_over_with_the_child_signal_at_its_default";
        let caller = ["env", "--ignore-signal=CHLD"];
        let printed = again::run(&caller, name, module_path!());
        let served = printed.find("served").expect("nothing served");
        assert!(served < printed.find("waited").expect("it did not wait"));
        assert_eq!(printed.matches("served").count(), 1);
    }

    #[test]
    fn a_termination_reaches_the_program_that_was_started_over() {
        if again::inner() {
            if child_ignored().unwrap() {
                start_over().unwrap();
                println!("waited");
                return;
            }
            let mut signals = Signals::block().unwrap();
            eprintln!("listening");
            while !signals.terminated() {
                signals.wait(Duration::from_secs(1));
            }
            println!("told");
            return;
        }
        let name = "a_termination_reaches_the_program_that_was_started_over";
        // Blocked from the start: the test's process has one more thread, which would take it.
        let caller = ["env", "--ignore-signal=CHLD", "--block-signal=TERM"];
        let mut child = again::command(&caller, name, module_path!())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut complaint = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        complaint.read_line(&mut line).unwrap();
        assert_eq!(line, "listening\n");
        kill(
            Pid::from_raw(child.id().try_into().unwrap()),
            Signal::SIGTERM,
        )
        .unwrap();
        let mut printed = String::new();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut printed)
            .unwrap();
        assert!(child.wait().unwrap().success(), "{printed}");
        assert!(
            printed.find("told").unwrap() < printed.find("waited").unwrap(),
            "{printed}"
        );
    }
}
