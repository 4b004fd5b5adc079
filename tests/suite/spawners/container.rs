//! A machine of its own with a real systemd: the shipped files installed as an operator would, nothing of it left
//! afterwards. `tests/container.sh` makes and boots it.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::client::Client;
use super::daemon::Daemon;
use super::{Peer, Place, processes};
use crate::support::{PROGRAM, PROJECT, Sandbox, chmod, until};

pub struct Container {
    name: String,
    systemd: i32,
    daemon: Option<Daemon>,
    /// From a UNIX socket of this machine to the listener's port on the loopback inside.
    relay: Option<Daemon>,
    sandbox: Sandbox,
}

/// Where each shipped file goes, as it says in its first line.
pub(super) const SHIPPED: [(&str, &str, u32); 21] = [
    (
        "docs/man/self-heal.8",
        "usr/local/share/man/man8/self-heal.8",
        0o644,
    ),
    (
        "docs/man/self-heal.conf.5",
        "usr/local/share/man/man5/self-heal.conf.5",
        0o644,
    ),
    (
        "docs/man/self-heal-handler.7",
        "usr/local/share/man/man7/self-heal-handler.7",
        0o644,
    ),
    (
        "deploy/completions/self-heal.bash",
        "usr/local/share/bash-completion/completions/self-heal",
        0o644,
    ),
    (
        "deploy/completions/_self-heal",
        "usr/local/share/zsh/site-functions/_self-heal",
        0o644,
    ),
    (
        "deploy/completions/self-heal.fish",
        "etc/fish/completions/self-heal.fish",
        0o644,
    ),
    (
        "deploy/webhook-listener.sh",
        "opt/self-heal/webhook-listener.sh",
        0o755,
    ),
    (
        "deploy/allowed-instances.txt",
        "opt/self-heal/allowed-instances.txt",
        0o644,
    ),
    (
        "deploy/self-heal.conf",
        "etc/self-heal/self-heal.conf",
        0o644,
    ),
    (
        "deploy/systemd/self-heal.service",
        "etc/systemd/system/self-heal.service",
        0o644,
    ),
    (
        "deploy/systemd/self-heal.socket",
        "etc/systemd/system/self-heal.socket",
        0o644,
    ),
    (
        "deploy/systemd/self-heal@.service",
        "etc/systemd/system/self-heal@.service",
        0o644,
    ),
    (
        "deploy/systemd/self-heal-drain.service",
        "etc/systemd/system/self-heal-drain.service",
        0o644,
    ),
    (
        "deploy/systemd/self-heal-drain.timer",
        "etc/systemd/system/self-heal-drain.timer",
        0o644,
    ),
    (
        "deploy/systemd/self-heal-drain.path",
        "etc/systemd/system/self-heal-drain.path",
        0o644,
    ),
    (
        "deploy/sysusers.d/self-heal.conf",
        "etc/sysusers.d/self-heal.conf",
        0o644,
    ),
    (
        "deploy/tmpfiles.d/self-heal.conf",
        "etc/tmpfiles.d/self-heal.conf",
        0o644,
    ),
    ("deploy/sudoers.d/healer", "etc/sudoers.d/healer", 0o440),
    (
        "handlers/NginxDown.sh",
        "opt/self-heal/handlers/NginxDown.sh",
        0o755,
    ),
    (
        "handlers/ServiceDown.sh",
        "opt/self-heal/handlers/ServiceDown.sh",
        0o755,
    ),
    (
        "deploy/logrotate.d/self-heal",
        "etc/logrotate.d/self-heal",
        0o644,
    ),
];

impl Container {
    /// Boots one, with everything installed and this unit enabled and started.
    pub fn with(unit: &str) -> Container {
        let sandbox = Sandbox::new();
        for (from, to, mode) in SHIPPED {
            let text = fs::read_to_string(Path::new(PROJECT).join(from)).unwrap();
            chmod(&sandbox.write(&format!("files/{to}"), &text), mode);
        }
        let program = sandbox.path("files/usr/local/bin/self-heal");
        fs::create_dir_all(program.parent().unwrap()).unwrap();
        fs::copy(PROGRAM, program).unwrap();

        let name = sandbox.path("").file_name().unwrap().display().to_string();
        let mut boot = Command::new(script());
        boot.env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .args(["boot", &name])
            .arg(sandbox.path("files"))
            .arg(tree())
            .arg(sandbox.path("machine"));
        let mut daemon = Daemon::start(&boot, &sandbox.path("container.log"));
        let outer = daemon.pid();
        let systemd = daemon.until("systemd starts in the container", || first_process(outer));
        let mut container = Container {
            name,
            systemd,
            daemon: Some(daemon),
            relay: None,
            sandbox,
        };
        until("the container has booted", || {
            let state = container.try_run(&["systemctl", "is-system-running"]);
            ["running\n", "degraded\n"]
                .contains(&&*String::from_utf8_lossy(&state.stdout))
                .then_some(())
        });
        container.run(&["systemd-sysusers"]);
        container.run(&[
            "systemd-tmpfiles",
            "--create",
            "/etc/tmpfiles.d/self-heal.conf",
        ]);
        container.run(&["systemctl", "enable", "--now", unit]);
        container.until_listening(true);
        container.start_relay();
        container
    }

    /// Runs a program inside, as root; what it says.
    #[track_caller]
    pub fn run(&self, words: &[&str]) -> String {
        let output = self.try_run(words);
        assert!(output.status.success(), "{words:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn try_run(&self, words: &[&str]) -> Output {
        self.entering("--all").args(words).output().unwrap()
    }

    /// Runs a script of Bash inside.
    #[track_caller]
    pub fn bash(&self, script: &str) -> String {
        self.run(&["bash", "-euc", script])
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        let value = self.run(&["systemctl", "show", "--value", "--property", name, unit]);
        value.trim().to_owned()
    }

    /// The journal of a unit or a pattern of units.
    pub fn journal(&self, unit: &str) -> String {
        self.run(&["journalctl", "--no-pager", "--output=cat", "--unit", unit])
    }

    /// Waits until the listener's port is open, or closed: proc_net_tcp(5), 0A is a listening socket.
    pub fn until_listening(&self, wanted: bool) {
        until(&format!("listening: {wanted}"), || {
            let sockets = self.run(&["cat", "/proc/net/tcp"]);
            (sockets.contains("0100007F:2387 00000000:0000 0A") == wanted).then_some(())
        });
    }

    fn entering(&self, namespaces: &str) -> Command {
        let mut command = Command::new("nsenter");
        command
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .args(["--target", &self.systemd.to_string(), namespaces, "--"])
            .stdin(Stdio::null());
        command
    }

    fn start_relay(&mut self) {
        let socket = self.sandbox.path("relay");
        let mut command = self.entering("--net");
        command
            .args(["socat", "-t60"])
            .arg(format!("UNIX-LISTEN:{},fork,backlog=128", socket.display()))
            .arg("TCP4:127.0.0.1:9095");
        let mut relay = Daemon::start(&command, &self.sandbox.path("relay.log"));
        relay.until("the relay listens", || UnixStream::connect(&socket).ok());
        self.relay = Some(relay);
    }

    /// A file inside, with the folders above it.
    pub fn install(&self, mode: &str, path: &str, text: &str) {
        let mut install = self
            .entering("--all")
            .args(["install", "-D", "-m", mode, "/dev/stdin", path])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = install.stdin.take().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        drop(stdin);
        assert!(install.wait().unwrap().success(), "install {path}");
    }
}

impl Place for Container {
    fn connect(&self) -> Client {
        Client::relayed(&self.sandbox.path("relay"))
    }

    fn peer(&self) -> Peer {
        Peer::Socket
    }

    fn handler(&self, name: &str, body: &str) {
        let path = format!("/opt/self-heal/handlers/{name}.sh");
        self.install("755", &path, &format!("#!/bin/bash\n{body}"));
    }

    fn note(&self, name: &str) -> Option<String> {
        let note = self.try_run(&["cat", &format!("/var/backups/self-heal/{name}")]);
        let found = note.status.success();
        found.then(|| String::from_utf8(note.stdout).unwrap())
    }

    fn put(&self, name: &str) {
        self.install("644", &format!("/var/backups/self-heal/{name}"), "");
    }

    fn log(&self) -> String {
        self.run(&["cat", "/var/log/self-heal/listener.log"])
    }

    fn history(&self) -> Vec<Value> {
        let text = self.try_run(&["cat", "/var/lib/self-heal/history.jsonl"]);
        let text = String::from_utf8(text.stdout).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The healer's processes, apart from the socat that listens.
    fn left_behind(&self) -> Vec<String> {
        let listener = self.property("self-heal.service", "MainPID");
        let script = format!(
            "for task in /proc/[0-9]*; do
               pid=${{task#/proc/}}
               [[ $pid != {listener} && $(stat -c %U $task 2>/dev/null) == healer ]] || continue
               echo \"$pid $(tr '\\0' ' ' <$task/cmdline)\"
             done 2>/dev/null"
        );
        self.bash(&script).lines().map(str::to_owned).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        drop(self.relay.take());
        drop(self.daemon.take());
        let _ = Command::new(script()).args(["clean", &self.name]).status();
    }
}

fn script() -> String {
    format!("{PROJECT}/tests/container.sh")
}

/// The container's files, made once and kept beside the build.
fn tree() -> String {
    let made = Command::new(script())
        .args(["tree", env!("CARGO_TARGET_TMPDIR")])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&made.stderr);
    assert!(made.status.success(), "no container with systemd: {said}");
    String::from_utf8(made.stdout).unwrap().trim().to_owned()
}

/// unshare's child is systemd-nspawn, and its child is the container's first process.
fn first_process(unshare: i32) -> Option<i32> {
    let nspawn = processes::children(unshare).into_iter().next()?;
    let is_systemd = |pid: &i32| processes::name(*pid) == "systemd";
    processes::children(nspawn).into_iter().find(is_systemd)
}
