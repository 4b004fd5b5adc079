//! Making processes end: told first, killed after. It refuses to wait for ever, and to call ended what may still run.

use std::io;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::Signal;

use super::ProcessId;
use crate::sys::signals::Signals;

/// How often the end of processes is looked for; only children announce theirs.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How long processes may take to die of KILL: one in uninterruptible sleep does not, and nobody waits for it.
const KILL_WAIT: Duration = Duration::from_secs(2);

/// Ends processes: TERM to all that `targets` finds (and CONT, since a stopped one would not see it), `grace` to end,
/// then KILL until none is found, for two seconds at most. Returns who is still alive: those that may
/// not be signalled (a root child of sudo), and those that the kernel cannot kill just now.
///
/// A process that appears during the grace is left alone while any that was told to end still lives: it may be that
/// one's clean-up.
///
/// # Errors
/// Those of `targets`: who lives is unknown then.
pub fn end(
    targets: impl Fn() -> io::Result<Vec<ProcessId>>,
    grace: Duration,
    signals: &mut Signals,
) -> io::Result<Vec<ProcessId>> {
    let began = Instant::now();
    let left = || grace.saturating_sub(began.elapsed());
    let mut told: Vec<ProcessId> = Vec::new();
    loop {
        let living = targets()?;
        if living.is_empty() {
            return Ok(living);
        }
        for process in living {
            if !told.contains(&process) {
                // The leader is first in line: a shell that sees its command die of TERM before it was told itself
                // would go on to the next one.
                let _ = process.signal(Signal::SIGTERM);
                let _ = process.signal(Signal::SIGCONT);
                told.push(process);
            }
        }
        while !left().is_zero() && told.iter().any(ProcessId::alive) {
            signals.wait(left().min(LOOK_AGAIN));
        }
        if left().is_zero() {
            break;
        }
    }

    let began = Instant::now();
    loop {
        let living = targets()?;
        // Every one of them, whatever comes of the first.
        let struck = living
            .iter()
            .filter(|process| process.signal(Signal::SIGKILL) != Err(Errno::EPERM))
            .count();
        if struck == 0 || began.elapsed() >= KILL_WAIT {
            return Ok(living);
        }
        signals.wait(LOOK_AGAIN);
    }
}
