//! The spawners of this machine, each as its shipped file or its manual has it.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use serde_json::Value;

use super::client::Client;
use super::daemon::Daemon;
use super::{Peer, Place, processes};
use crate::support::{PROGRAM, PROJECT, Sandbox};

/// A listener under a spawner, on a port of its own, in a sandbox.
pub struct Local {
    pub sandbox: Sandbox,
    pub daemon: Option<Daemon>,
    pub port: u16,
    peer: Peer,
}

impl Local {
    /// Starts what `command` makes of the sandbox and a port, and waits until it listens.
    pub fn start(peer: Peer, command: impl FnOnce(&Sandbox, u16) -> Command) -> Local {
        let sandbox = Sandbox::new();
        sandbox.write("allowed.txt", "localhost\n");
        let port = free_port();
        let mut command = command(&sandbox, port);
        command
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HEAL_CONF", sandbox.path("self-heal.conf"));
        let mut daemon = Daemon::start(&command, &sandbox.path("spawner.log"));
        daemon.until("the spawner listens", || {
            processes::listening(port).then_some(())
        });
        Local {
            sandbox,
            daemon: Some(daemon),
            port,
            peer,
        }
    }

    fn folder(&self) -> String {
        self.sandbox.path("").display().to_string()
    }
}

impl Place for Local {
    fn connect(&self) -> Client {
        if self.daemon.is_some() {
            Client::tcp(self.port)
        } else {
            Client::piped(self.sandbox.command())
        }
    }

    fn peer(&self) -> Peer {
        self.peer
    }

    fn handler(&self, name: &str, body: &str) {
        self.sandbox.handler(name, body);
    }

    fn note(&self, name: &str) -> Option<String> {
        fs::read_to_string(self.sandbox.path("backup").join(name)).ok()
    }

    fn put(&self, name: &str) {
        self.sandbox.write(&format!("backup/{name}"), "");
    }

    fn log(&self) -> String {
        self.sandbox.log()
    }

    fn history(&self) -> Vec<Value> {
        self.sandbox.history()
    }

    fn left_behind(&self) -> Vec<String> {
        let spawner = self.daemon.as_ref().map(Daemon::pid);
        let mut left: Vec<String> = processes::mentioning(&self.folder())
            .into_iter()
            .filter(|(pid, _)| Some(*pid) != spawner)
            .map(|(_, command)| command)
            .collect();
        let children = spawner.map(processes::children).unwrap_or_default();
        left.extend(children.iter().map(|pid| format!("{pid}, a child")));
        left
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        drop(self.daemon.take());
        // Connections and handlers of a test that failed half-way.
        for (pid, _) in processes::mentioning(&self.folder()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

/// Nobody's port, and nobody else's: below those that connections get by themselves (ip(7),
/// ip_local_port_range), and another one for each caller.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 100) as u16 * 200;
    for _ in 0..20_000 {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000;
        if TcpListener::bind(("127.0.0.1", 10_000 + offset)).is_ok() {
            return 10_000 + offset;
        }
    }
    panic!("no free port between 10000 and 30000");
}

fn me() -> String {
    User::from_uid(geteuid()).unwrap().unwrap().name
}

fn shipped(name: &str) -> String {
    fs::read_to_string(Path::new(PROJECT).join("deploy").join(name)).unwrap()
}

pub fn pipes() -> Local {
    let sandbox = Sandbox::new();
    sandbox.write("allowed.txt", "localhost\n");
    Local {
        sandbox,
        daemon: None,
        port: 0,
        peer: Peer::Local,
    }
}

fn socat(options: &[&str], port: u16, exec: &str) -> Command {
    let mut command = Command::new("socat");
    command.args(options).arg(format!(
        "TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,fork,backlog=4096,max-children=64"
    ));
    command.arg(format!("EXEC:{PROGRAM} serve{exec}"));
    command
}

pub fn socat_nofork() -> Local {
    Local::start(Peer::Socket, |_, port| socat(&[], port, ",nofork"))
}

/// socat stays in between: fd 0 and 1 are a socket pair. `-t`: without it socat gives the answer to a client that
/// half-closed half a second.
pub fn socat_exec() -> Local {
    Local::start(Peer::Declared, |_, port| socat(&["-t60"], port, ""))
}

/// The same with socat's own patience: half a second after the client's last byte it ends everything.
pub fn impatient_socat_exec() -> Local {
    Local::start(Peer::Declared, |_, port| socat(&[], port, ""))
}

pub fn systemd_socket_activate() -> Local {
    Local::start(Peer::Socket, |_, port| {
        let mut command = Command::new("systemd-socket-activate");
        command.arg(format!("--listen=127.0.0.1:{port}")).args([
            "--accept",
            "--inetd",
            "--setenv=HEAL_CONF",
            PROGRAM,
            "serve",
        ]);
        command
    })
}

/// The shipped line, with port, account and executable of this test, under the options that it asks for.
pub fn openbsd_inetd() -> Local {
    Local::start(Peer::Socket, |sandbox, port| {
        let line = shipped("inetd/inetd.conf")
            .replace("127.0.0.1:9095", &format!("127.0.0.1:{port}"))
            .replace("\thealer\t", &format!("\t{}\t", me()))
            .replace("/usr/local/bin/self-heal", PROGRAM);
        let mut command = Command::new("inetd");
        command
            .args(["-d", "-q", "4096", "-R", "1000000"])
            .arg(sandbox.write("inetd.conf", &line));
        command
    })
}

/// The shipped file, changed in the same way. fd 2 is the socket too.
pub fn xinetd() -> Local {
    Local::start(Peer::Socket, |sandbox, port| {
        let conf = sandbox.path("self-heal.conf");
        let file = shipped("xinetd/self-heal")
            .replace("= 9095", &format!("= {port}"))
            .replace("= healer", &format!("= {}", me()))
            .replace("/usr/local/bin/self-heal", PROGRAM)
            .replace(
                "\tserver_args ",
                &format!("\tenv = HEAL_CONF={}\n\tserver_args ", conf.display()),
            );
        let mut command = Command::new(xinetd_program());
        command.args(["-dontfork", "-filelog"]);
        command.arg(sandbox.path("xinetd.log"));
        command.arg("-pidfile").arg(sandbox.path("xinetd.pid"));
        command.arg("-f").arg(sandbox.write("xinetd.conf", &file));
        command
    })
}

/// The installed one, or one unpacked beside the build: its package cannot be installed beside openbsd-inetd's.
fn xinetd_program() -> PathBuf {
    let installed = Path::new("/usr/sbin/xinetd");
    if installed.exists() {
        return installed.to_owned();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("xinetd");
    let script = r#"
        exec {lock}>"$1.lock" && flock "$lock"
        [[ ! -x $1/usr/sbin/xinetd ]] || exit 0
        rm -rf "$1.part" && mkdir -p "$1.part" && cd "$1.part" &&
        apt-get -q download xinetd && dpkg -x xinetd_*.deb . && mv "$1.part" "$1""#;
    fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let made = Command::new("bash")
        .args(["-c", script, "xinetd"])
        .arg(&folder)
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "xinetd is missing and `apt-get download xinetd` does not bring it: {}",
        String::from_utf8_lossy(&made.stderr)
    );
    folder.join("usr/sbin/xinetd")
}

/// `deploy/webhook-listener.sh`, the drop-in start script.
pub fn start_script() -> Local {
    start_script_with(&[])
}

/// The start script, with keys of the configuration.
pub fn start_script_with(settings: &[(&str, &str)]) -> Local {
    Local::start(Peer::Socket, |sandbox, port| {
        for (key, value) in settings {
            sandbox.set(key, value);
        }
        let mut command = Command::new(Path::new(PROJECT).join("deploy/webhook-listener.sh"));
        command
            .env("HEAL_PORT", port.to_string())
            .env("SELF_HEAL_BIN", PROGRAM);
        command
    })
}
