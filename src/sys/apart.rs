//! Programs that help to look: started in a session of their own. Whoever asks as root sits at a terminal, and a program
//! of another account that has it as its controlling terminal can type on it (ioctl_tty(2), TIOCSTI). It hands over
//! three descriptors and an exact environment, and refuses a program that did not get its own session.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::spawn::{PosixSpawnFileActions, posix_spawn};
use nix::sys::signal::{Signal, killpg};
use nix::sys::stat::Mode;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, chdir, fchdir, getsid};

use crate::sys::process;

/// Becomes another account, and then the program (setpriv(1)).
const SETPRIV: &str = "/usr/bin/setpriv";

/// The environment of every one of them.
const ENVIRONMENT: [&str; 2] = ["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"];

/// An account that a program is to run as: user and group, and no other group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// A program that was started. Whoever drops it has waited for it, or leaves it behind.
#[derive(Debug)]
pub(super) struct Apart {
    pid: Pid,
    ended: Option<ExitStatus>,
}

impl Apart {
    /// Starts this program, by its path, with these on its descriptors 0, 1 and 2, working in `/`.
    ///
    /// # Errors
    /// There is no such program, or the kernel refuses.
    pub(super) fn start(
        program: &str,
        args: &[&OsStr],
        account: Option<Account>,
        streams: [BorrowedFd<'_>; 3],
    ) -> io::Result<Apart> {
        let mut words: Vec<Vec<u8>> = Vec::new();
        if let Some(Account { uid, gid }) = account {
            // In the session already: nobody of that account meets it before.
            let become_it = [
                SETPRIV.to_owned(),
                format!("--reuid={uid}"),
                format!("--regid={gid}"),
                "--clear-groups".to_owned(),
                "--".to_owned(),
            ];
            words.extend(become_it.map(String::into_bytes));
        }
        words.push(program.as_bytes().to_vec());
        words.extend(args.iter().map(|word| word.as_bytes().to_vec()));
        let words: Vec<CString> = words
            .into_iter()
            .map(CString::new)
            .collect::<Result<_, _>>()?;
        let environment = ENVIRONMENT.map(CString::new);
        let environment: Vec<CString> = environment.into_iter().collect::<Result<_, _>>()?;
        let path = if account.is_some() { SETPRIV } else { program };
        let mut actions = PosixSpawnFileActions::init()?;
        for (stream, number) in streams.iter().zip(0..) {
            actions.add_dup2(stream.as_raw_fd(), number)?;
        }
        let attributes = process::of_its_own_session()?;
        let pid = {
            let _alone = process::spawning();
            at_the_root(|| posix_spawn(path, &actions, &attributes, &words, &environment))?
        };
        let mut apart = Apart { pid, ended: None };
        if getsid(Some(pid)) != Ok(pid) {
            apart.kill();
            let why = "the C library cannot start a program in a session of its own";
            return Err(io::Error::other(why));
        }
        Ok(apart)
    }

    /// How it ended, if it has.
    pub(super) fn look(&mut self) -> io::Result<Option<ExitStatus>> {
        self.reap(Some(WaitPidFlag::WNOHANG))
    }

    /// Waits until it has ended.
    pub(super) fn wait(&mut self) -> io::Result<ExitStatus> {
        loop {
            if let Some(status) = self.reap(None)? {
                return Ok(status);
            }
        }
    }

    /// Kills it and what it started, as far as that is in its process group and not another account's.
    pub(super) fn kill(&mut self) {
        if self.ended.is_none() {
            let _ = killpg(self.pid, Signal::SIGKILL);
            let _ = self.look();
        }
    }

    fn reap(&mut self, how: Option<WaitPidFlag>) -> io::Result<Option<ExitStatus>> {
        if self.ended.is_none() {
            // As wait(2) has it: the code in the second byte, or the signal in the first.
            self.ended = match waitpid(self.pid, how) {
                Ok(WaitStatus::Exited(_, code)) => Some(ExitStatus::from_raw(code << 8)),
                Ok(WaitStatus::Signaled(_, signal, _)) => Some(ExitStatus::from_raw(signal as i32)),
                // nix, WaitStatus::from_raw: reaped, but of a signal that its enumeration does not have.
                Err(Errno::EINVAL) => Some(ExitStatus::from_raw(Signal::SIGKILL as i32)),
                Ok(_) | Err(Errno::EINTR) => None,
                Err(errno) => return Err(errno.into()),
            };
        }
        Ok(self.ended)
    }
}

/// Does this with `/` as the working folder, which posix_spawn(3) cannot set: another account may not be allowed where
/// this one is, and shells complain of that. Who cannot come back could not work there before.
fn at_the_root<T>(task: impl FnOnce() -> nix::Result<T>) -> nix::Result<T> {
    let here = open(
        ".",
        OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC,
        Mode::empty(),
    );
    chdir("/")?;
    let done = task();
    let _ = here.and_then(fchdir);
    done
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Read;
    use std::os::fd::AsFd;

    use super::*;

    fn says(program: &str, args: &[&str]) -> (String, ExitStatus) {
        let nothing = File::open("/dev/null").unwrap();
        let (mut out, into) = io::pipe().unwrap();
        let args: Vec<&OsStr> = args.iter().map(OsStr::new).collect();
        let streams = [nothing.as_fd(), into.as_fd(), into.as_fd()];
        let mut apart = Apart::start(program, &args, None, streams).unwrap();
        drop(into);
        let mut text = String::new();
        out.read_to_string(&mut text).unwrap();
        (text, apart.wait().unwrap())
    }

    #[test]
    fn it_leads_a_session_of_its_own_and_works_at_the_root() {
        let script = "read -r pid _ _ parent _ sid tty _ </proc/self/stat
            echo $((pid == $$)) $((sid == $$)) $tty; pwd; env | grep -E '^(PATH|LC|HEAL|HOME|CARGO)' | sort; exit 3";
        let (text, status) = says("/bin/bash", &["-c", script]);
        assert_eq!(
            text,
            "1 1 0\n/\nLC_ALL=C\nPATH=/usr/sbin:/usr/bin:/sbin:/bin\n"
        );
        assert_eq!(status.code(), Some(3));
    }

    #[test]
    fn how_it_ended_is_told() {
        assert_eq!(says("/bin/bash", &["-c", "kill -9 $$"]).1.signal(), Some(9));
        let nothing = File::open("/dev/null").unwrap();
        let streams = [nothing.as_fd(); 3];
        let missing = Apart::start("/nowhere", &[], None, streams).unwrap_err();
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let mut long = Apart::start("/bin/sleep", &[OsStr::new("1000")], None, streams).unwrap();
        assert_eq!(long.look().unwrap(), None);
        long.kill();
        assert_eq!(long.wait().unwrap().signal(), Some(9));
    }
}
