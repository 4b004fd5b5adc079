//! A program run for its effect or its answer: in a session of its own, an exact environment, its input and its output
//! in memory, a time limit. It refuses to wait for what cannot be killed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::geteuid;

use crate::sys::accounts::Accounts;
use crate::sys::apart::{Account, Apart};

/// The most that is read of what it says.
const MOST: u64 = 1024 * 1024;

/// The most that is shown of what it complains.
const COMPLAINT: usize = 2048;

/// How often its end is looked for, at most.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A program to be run.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Its path.
    pub program: &'a str,
    /// Its arguments.
    pub args: &'a [&'a OsStr],
    /// What it reads on its standard input.
    pub stdin: &'a [u8],
    /// How long it may take.
    pub bound: Duration,
    /// The account that it runs as; only root can choose another one than its own.
    pub account: Option<u32>,
}

/// How a program ended.
#[derive(Debug)]
pub struct Outcome {
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub said: Vec<u8>,
    /// What it wrote to its standard error.
    pub complained: Vec<u8>,
}

impl Outcome {
    /// What it complained of, on one line.
    pub fn complaint(&self) -> String {
        let text = String::from_utf8_lossy(&self.complained);
        let words: Vec<&str> = text.split_whitespace().collect();
        words.join(" ").chars().take(COMPLAINT).collect()
    }
}

/// Runs the program to its end; what it wrote to its standard output.
///
/// # Errors
/// It cannot be started, fails, or is still there after `bound`: one sentence with what it complained of.
pub fn run(program: &str, args: &[&OsStr], bound: Duration) -> Result<Vec<u8>, String> {
    let outcome = ask(&Call {
        program,
        args,
        stdin: &[],
        bound,
        account: None,
    })?;
    if outcome.status.success() {
        return Ok(outcome.said);
    }
    let (status, complaint) = (outcome.status, outcome.complaint());
    Err(format!("{program} failed ({status}): {complaint}"))
}

/// Runs the program to its end, whatever that is.
///
/// # Errors
/// It cannot be started, or is still there after its bound: one sentence.
pub fn ask(call: &Call<'_>) -> Result<Outcome, String> {
    let program = call.program;
    let failed = |error: io::Error| format!("{program} cannot be run: {error}");
    let mut input = memory().map_err(failed)?;
    input.write_all(call.stdin).map_err(failed)?;
    input.rewind().map_err(failed)?;
    let mut said = memory().map_err(failed)?;
    let mut complained = memory().map_err(failed)?;
    let account = match call.account.filter(|uid| *uid != geteuid().as_raw()) {
        None => None,
        Some(uid) => {
            let accounts = Accounts::read().map_err(failed)?;
            let gid = accounts.gid(uid).unwrap_or(uid);
            Some(Account { uid, gid })
        }
    };
    let streams = [input.as_fd(), said.as_fd(), complained.as_fd()];
    let started = Apart::start(program, call.args, account, streams).map_err(failed)?;
    match wait(started, call.bound).map_err(failed)? {
        Some(status) => Ok(Outcome {
            status,
            said: read(&mut said).map_err(failed)?,
            complained: read(&mut complained).map_err(failed)?,
        }),
        None => Err(format!("{program} has not ended within {:?}", call.bound)),
    }
}

/// `None`: it was killed, or cannot be (root's, or stuck in the kernel), and is left behind.
fn wait(mut started: Apart, bound: Duration) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = started.look()? {
            return Ok(Some(status));
        }
        if began.elapsed() >= bound {
            started.kill();
            return Ok(None);
        }
        sleep(pause);
        pause = (pause * 2).min(LOOK_AGAIN);
    }
}

fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create(c"said", MFdFlags::MFD_CLOEXEC)?))
}

fn read(file: &mut File) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(MOST).read_to_end(&mut bytes)?;
    Ok(bytes)
}
