//! What sudo(8) would let an account do, asked of sudo itself: nothing is run by it. It never waits for a password.

use std::ffi::OsStr;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use nix::unistd::geteuid;

use crate::sys::tool::{self, Call, Outcome};
use crate::sys::viewpoint;

/// Where it is.
pub const PROGRAM: &str = "/usr/bin/sudo";

/// How long one answer may take: a directory or name server may be asked.
const BOUND: Duration = Duration::from_secs(20);

/// Whether there is one.
pub fn installed() -> bool {
    std::fs::metadata(PROGRAM).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

/// Whether the kernel keeps this process from getting more rights by a program (proc_pid_status(5), NoNewPrivs).
pub fn no_new_privileges() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix("NoNewPrivs:"));
    value.is_some_and(|value| value.trim() == "1")
}

/// Who is asked about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// `-U NAME`, where it is not this process's own account.
    other: Option<String>,
}

impl Asked {
    /// The [`viewpoint`]'s account, known by this name; `None` where this process may not ask about it: only root may ask
    /// about others (sudo(8), -U).
    pub fn viewer(name: &str) -> Option<Asked> {
        let us = geteuid();
        if viewpoint::uid() == us.as_raw() {
            return Some(Asked { other: None });
        }
        us.is_root().then(|| Asked {
            other: Some(name.to_owned()),
        })
    }

    /// Whether sudo's rules have this command, whether or not a password would be asked for; else what it says.
    ///
    /// # Errors
    /// It could not be asked.
    pub fn allows(
        &self,
        options: &[String],
        command: &[String],
    ) -> Result<Result<(), String>, String> {
        let mut words = vec!["-n".to_owned(), "-l".to_owned()];
        words.extend(options.iter().cloned());
        let outcome = self.ask(words, command)?;
        if outcome.status.success() {
            return Ok(Ok(()));
        }
        Ok(Err(outcome.complaint()))
    }

    /// The rules, in the long form.
    ///
    /// # Errors
    /// It could not be asked, or there are none.
    pub fn rules(&self) -> Result<String, String> {
        let outcome = self.ask(vec!["-n".to_owned(), "-ll".to_owned()], &[])?;
        if outcome.status.success() {
            return Ok(String::from_utf8_lossy(&outcome.said).into_owned());
        }
        Err(outcome.complaint())
    }

    fn ask(&self, mut words: Vec<String>, command: &[String]) -> Result<Outcome, String> {
        if let Some(name) = &self.other {
            words.extend(["-U".to_owned(), name.clone()]);
        }
        words.push("--".to_owned());
        words.extend(command.iter().cloned());
        let args: Vec<&OsStr> = words.iter().map(OsStr::new).collect();
        tool::ask(&Call {
            program: PROGRAM,
            args: &args,
            stdin: &[],
            bound: BOUND,
            account: None,
        })
    }
}
