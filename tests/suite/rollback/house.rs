//! A machine for root's side: a mount namespace with an /etc of its own, where the configuration, the sudoers file and
//! the account healer are, and the executable in /usr/local/bin. Nothing of it is on this machine; the rest of the
//! machine is.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use self_heal::wire::manifest::Took;

use super::as_somebody;
use crate::stage::{as_root, install, put_down, run};
use crate::support::{PROGRAM, PROJECT, Sandbox, chmod, until};

/// The healer's number here.
pub const HEALER: u32 = 61_744;

/// Where sudoers has it.
pub const INSTALLED: &str = "/usr/local/bin/self-heal";

pub struct House {
    pub sandbox: Sandbox,
    keeper: Child,
}

impl House {
    pub fn new() -> House {
        as_root();
        let sandbox = Sandbox::new();
        let program = sandbox.path("self-heal");
        install(PROGRAM.as_ref(), &program, "755");
        let mounts = sandbox.path("mounts");
        fs::create_dir(&mounts).unwrap();
        let script = format!(
            "set -euo pipefail
            mount -t tmpfs -o mode=755 tmpfs {mounts}
            mkdir {mounts}/upper {mounts}/work {mounts}/bin
            cp {program} {mounts}/bin/self-heal
            mount -t overlay -o lowerdir=/etc,upperdir={mounts}/upper,workdir={mounts}/work overlay /etc
            mount --bind {mounts}/bin /usr/local/bin
            rm -rf /etc/self-heal /etc/sudoers.d
            mkdir /etc/self-heal
            mkdir -m 750 /etc/sudoers.d
            echo 'healer:x:{HEALER}:{HEALER}::/nonexistent:/usr/sbin/nologin' >>/etc/passwd
            echo 'healer:x:{HEALER}:' >>/etc/group
            echo 'healer:*:19000:0:99999:7:::' >>/etc/shadow
            install -m 440 {PROJECT}/deploy/sudoers.d/healer /etc/sudoers.d/healer
            echo ready >{ready}
            exec sleep infinity",
            mounts = mounts.display(),
            program = program.display(),
            ready = sandbox.path("ready").display(),
        );
        let keeper = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "bash", "-c", &script])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let house = House { sandbox, keeper };
        until("the house is there", || {
            fs::metadata(house.sandbox.path("ready"))
                .ok()
                .filter(|meta| meta.len() > 0)
        });
        let backup = house.sandbox.path("backup");
        chown(&backup, Some(0), Some(HEALER)).unwrap();
        chmod(&backup, 0o1770);
        for folder in ["state", "log", "lock"] {
            chown(house.sandbox.path(folder), Some(HEALER), Some(HEALER)).unwrap();
        }
        house.configure("");
        house
    }

    /// The configuration file, with these lines behind the folders.
    pub fn configure(&self, more: &str) {
        let path = |name| self.sandbox.path(name).display().to_string();
        let lines = format!(
            "HEAL_HANDLER_DIR={}\nHEAL_BACKUP_DIR={}\nHEAL_STATE_DIR={}\n{more}",
            path("handlers"),
            path("backup"),
            path("state"),
        );
        self.etc("self-heal/self-heal.conf", &lines, 0o644);
    }

    /// A file of this house's /etc.
    pub fn etc(&self, name: &str, text: &str, mode: u32) {
        let path = PathBuf::from(format!("/proc/{}/root/etc/{name}", self.keeper.id()));
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// A handler of root's that names these paths.
    pub fn handler(&self, alertname: &str, paths: &[&Path]) -> PathBuf {
        let lines: String = paths
            .iter()
            .map(|path| format!("# self-heal: snapshot={}\n", path.display()))
            .collect();
        self.sandbox.handler(alertname, &format!("{lines}exit 1\n"))
    }

    /// Words to be put before a command that is to run in this house.
    pub fn inside(&self) -> Vec<String> {
        let namespace = format!("--mount=/proc/{}/ns/mnt", self.keeper.id());
        ["nsenter", &namespace, "--"].map(str::to_owned).to_vec()
    }

    /// The same, as the healer.
    pub fn as_healer(&self) -> Vec<String> {
        let mut words = self.inside();
        words.extend([
            "setpriv".to_owned(),
            format!("--reuid={HEALER}"),
            format!("--regid={HEALER}"),
            "--init-groups".to_owned(),
        ]);
        words
    }

    /// Runs this in the house, with nothing but a path in its environment.
    pub fn run(&self, by: &[String], words: &[&str]) -> Output {
        self.command(by, words).output().unwrap()
    }

    pub fn command(&self, by: &[String], words: &[&str]) -> Command {
        let mut command = Command::new(&by[0]);
        command
            .args(&by[1..])
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::null());
        command
    }

    /// Root's side, by root itself.
    pub fn guard(&self, what: &str, run: &str) -> Result<String, String> {
        said(&self.run(&self.inside(), &[INSTALLED, "guard", what, run]))
    }

    /// Root's side, by the healer through sudo.
    pub fn sudo_guard(&self, what: &str, run: &str) -> Result<String, String> {
        let words = ["sudo", "-n", "/usr/bin/timeout", "-k", "5", "60", INSTALLED];
        let words = [&words[..], &["guard", what, run]].concat();
        said(&self.run(&self.as_healer(), &words))
    }

    /// Captures as root's side; the answer.
    #[track_caller]
    pub fn capture(&self, run: &str) -> Took {
        Took::parse(self.guard("capture", run).unwrap().as_bytes()).unwrap()
    }

    /// The whole guard, by the healer: its own side in its own process, root's through sudo.
    pub fn healer(&self, what: &str, run: &str, paths: &[&Path]) -> String {
        let copy = self.sandbox.path("suite");
        if !copy.exists() {
            let own = std::env::current_exe().unwrap();
            install(&own, &copy, "755");
        }
        let backup = self.sandbox.path("backup").display().to_string();
        let paths: Vec<String> = paths
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let mut told = vec![what, INSTALLED, &backup, run];
        told.extend(paths.iter().map(String::as_str));
        let by = self.as_healer();
        let by: Vec<&str> = by.iter().map(String::as_str).collect();
        as_somebody(&by, &copy, &told)
    }

    /// Runs a script as the healer.
    pub fn healer_does(&self, script: &str) -> Output {
        self.run(&self.as_healer(), &["bash", "-c", script])
    }

    /// A file of root's in a folder of root's.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.sandbox.write(name, text);
        chmod(path.parent().unwrap(), 0o755);
        path
    }

    /// A folder of the healer's.
    pub fn healers(&self, name: &str) -> PathBuf {
        let path = self.sandbox.path(name);
        fs::create_dir(&path).unwrap();
        chown(&path, Some(HEALER), Some(HEALER)).unwrap();
        path
    }
}

impl Drop for House {
    fn drop(&mut self) {
        put_down(self.keeper.id().cast_signed());
        let _ = self.keeper.wait();
    }
}

/// What a command answered, or what it complained of.
pub fn said(output: &Output) -> Result<String, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(format!("{}: {}", output.status, text(&output.stderr)))
}

/// A link in the place of what is there.
pub fn swap_for_link(place: &Path, target: &Path) {
    run(Command::new("rm").arg("-rf").arg(place));
    symlink(target, place).unwrap();
}
