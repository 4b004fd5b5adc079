//! A program run for its effect: an exact environment, nothing on its standard input, its output in memory, a
//! time limit. It refuses to wait for what cannot be killed.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::sys::process;

/// The most that is read of what it says.
const MOST: u64 = 1024 * 1024;

/// The most that is shown of what it complains.
const COMPLAINT: usize = 2048;

/// How often its end is looked for, at most.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Runs the program to its end; what it wrote to its standard output.
///
/// # Errors
/// It cannot be started, fails, or is still there after `bound`: one sentence with what it complained of.
pub(super) fn run(program: &str, args: &[&OsStr], bound: Duration) -> Result<Vec<u8>, String> {
    let failed = |error: io::Error| format!("{program} cannot be run: {error}");
    let mut said = memory().map_err(failed)?;
    let mut complained = memory().map_err(failed)?;
    let mut command = Command::new(program);
    command
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(said.try_clone().map_err(failed)?)
        .stderr(complained.try_clone().map_err(failed)?);
    let child = {
        let _alone = process::spawning();
        command.spawn().map_err(failed)?
    };
    let ended = wait(child, bound).map_err(failed)?;
    match ended {
        Some(status) if status.success() => read(&mut said).map_err(failed),
        Some(status) => {
            let bytes = read(&mut complained).map_err(failed)?;
            let text = String::from_utf8_lossy(&bytes);
            let words: Vec<&str> = text.split_whitespace().collect();
            let complaint: String = words.join(" ").chars().take(COMPLAINT).collect();
            Err(format!("{program} failed ({status}): {complaint}"))
        }
        None => Err(format!("{program} has not ended within {bound:?}")),
    }
}

/// `None`: it was killed, or cannot be (root's, or stuck in the kernel), and is left behind.
fn wait(mut child: Child, bound: Duration) -> io::Result<Option<ExitStatus>> {
    let began = Instant::now();
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() >= bound {
            let _ = child.kill();
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
