//! A program that runs beside the test, and ends with it.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::support::until;

pub struct Daemon {
    child: Child,
    output: PathBuf,
}

impl Daemon {
    /// Starts it in a process group of its own, what it says going to `output`. Should the test process be killed,
    /// it is killed too: its parent's death signals it (setpriv(1)).
    pub fn start(command: &Command, output: &Path) -> Daemon {
        let program = Path::new(command.get_program());
        let found = program.is_absolute()
            || ["/usr/bin", "/usr/sbin"]
                .iter()
                .any(|folder| Path::new(folder).join(program).exists());
        assert!(
            found,
            "{} is missing: apt-get install socat openbsd-inetd systemd systemd-container",
            program.display()
        );
        let log = File::create(output).unwrap();
        let mut bound = Command::new("setpriv");
        bound
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(command.get_args());
        bound.env_clear();
        for (key, value) in command.get_envs() {
            bound.env(key, value.unwrap_or_default());
        }
        let child = bound
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        Daemon {
            child,
            output: output.to_owned(),
        }
    }

    pub fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    /// Waits for a condition, and fails at once with its own words should it end meanwhile.
    pub fn until<T>(&mut self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let said = self.output.clone();
        until(what, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                let said = fs::read_to_string(&said).unwrap_or_default();
                panic!("{what}: ended with {status} and said: {said}");
            }
            condition()
        })
    }

    /// Signals it alone, as a service manager with KillMode=process does.
    pub fn signal(&self, signal: Signal) {
        nix::sys::signal::kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Waits for its end.
    pub fn ended(&mut self) {
        until("the daemon ends", || self.child.try_wait().unwrap());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Its group may outlive it; its number is not given away before it was waited for.
        let _ = killpg(Pid::from_raw(self.pid()), Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
