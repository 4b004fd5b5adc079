//! Other people's programs at the shipped listener: clients as they are installed, proxies in front, what presses or
//! starves it. `deploy/webhook-listener.sh` serves them all, and after each nothing is left but what was recorded.

mod curl;
mod pressure;
mod proxies;
mod python;
mod slow;
mod soak;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::TcpStream;
use std::path::PathBuf;

use crate::spawners::Place;
use crate::spawners::processes;
use crate::spawners::programs::{Local, start_script_with};
use crate::stage::Gate;
use crate::support::{Alert, Sandbox, notification, until};

/// The shipped listener, and what its spawner held open before anybody came.
struct House {
    place: Local,
    descriptors: Vec<PathBuf>,
}

impl House {
    fn new() -> House {
        House::with(&[])
    }

    fn with(settings: &[(&str, &str)]) -> House {
        let usual = [
            // The largest window of runs, for a second at a time.
            ("HEAL_STORM_LIMIT", "400/1s"),
            ("HEAL_LOCK_WAIT", "1m"),
        ];
        let settings: Vec<_> = usual.iter().chain(settings).copied().collect();
        let place = start_script_with(&settings);
        // Whether it listens was asked of the kernel: no connection has been made yet.
        let descriptors = open_files(spawner(&place));
        House { place, descriptors }
    }

    fn sandbox(&self) -> &Sandbox {
        &self.place.sandbox
    }

    /// A handler that heals, one run of an instance at a time.
    fn healer(&self, name: &str) {
        self.sandbox()
            .handler(name, "# self-heal: lock=instance\nexit 0\n");
    }

    /// A handler that waits at a gate.
    fn gated(&self, name: &str) -> Gate {
        let gate = Gate::new(self.sandbox(), name);
        self.sandbox().handler(name, &gate.line());
        gate
    }

    fn url(&self, path: &str) -> String {
        url(self.place.port, path)
    }

    fn spawner(&self) -> i32 {
        spawner(&self.place)
    }

    /// How many connections are being served.
    fn serving(&self) -> usize {
        processes::children(self.spawner()).len()
    }

    /// The instances whose handler was started, in order; none of them twice.
    #[track_caller]
    fn healed_once(&self, alertname: &str) -> BTreeSet<String> {
        let mut instances = BTreeSet::new();
        for line in self.sandbox().history() {
            if line["event"] == "intent" && line["alertname"] == alertname {
                let instance = line["instance"].as_str().unwrap().to_owned();
                assert!(instances.insert(instance), "twice: {line}");
            }
        }
        instances
    }

    /// No process, no dead child, no descriptor, no connection, no lock.
    #[track_caller]
    fn nothing_is_left(&self) {
        until("every process is gone", || {
            self.place.left_behind().is_empty().then_some(())
        });
        assert_eq!(open_files(self.spawner()), self.descriptors);
        until("every connection is closed", || {
            (connections(self.place.port) == 0).then_some(())
        });
        for path in files(self.sandbox()) {
            let file = File::open(self.sandbox().path(&path)).unwrap();
            assert!(file.try_lock().is_ok(), "{path} is locked");
        }
    }

    /// As many as the shipped line takes are served at once: no place was lost.
    fn every_place_is_free(&self) {
        const MAX_CHILDREN: usize = 256;
        let idle: Vec<TcpStream> = (0..MAX_CHILDREN).map(|_| self.dial()).collect();
        until("all of them are served at once", || {
            (self.serving() == MAX_CHILDREN).then_some(())
        });
        drop(idle);
        until("all of them are gone", || {
            (self.serving() == 0).then_some(())
        });
    }

    fn dial(&self) -> TcpStream {
        dial(self.place.port)
    }
}

fn dial(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

fn spawner(place: &Local) -> i32 {
    place.daemon.as_ref().unwrap().pid()
}

fn url(port: u16, path: &str) -> String {
    format!("http://127.0.0.1:{port}{path}")
}

/// An alert of the one host that these sandboxes allow; another number is another instance.
fn alert(name: &str, number: usize) -> Alert {
    Alert::firing(name, &instance(number))
}

fn instance(number: usize) -> String {
    format!("localhost:{number}")
}

fn body(alert: &Alert) -> String {
    notification(&[alert]).to_string()
}

/// The same in a body of so many bytes more.
fn padded(alert: &Alert, blanks: usize) -> String {
    body(alert) + &" ".repeat(blanks)
}

/// What a process has open, sorted.
fn open_files(pid: i32) -> Vec<PathBuf> {
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let mut open: Vec<PathBuf> = open
        .map(|fd| fs::read_link(fd.unwrap().path()).unwrap())
        .collect();
    open.sort();
    open
}

/// The connections with this port at either end, the listening socket and those that wait out their time apart:
/// `proc_net_tcp(5)`.
fn connections(port: u16) -> usize {
    const LISTEN: &str = "0A";
    const TIME_WAIT: &str = "06";
    let port = format!(":{port:04X}");
    let text = fs::read_to_string("/proc/net/tcp").unwrap();
    let open = text.lines().skip(1).filter(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let ends = [fields.next().unwrap(), fields.next().unwrap()];
        let state = fields.next().unwrap();
        ends.iter().any(|end| end.ends_with(&port)) && ![LISTEN, TIME_WAIT].contains(&state)
    });
    open.count()
}

/// The names of all regular files of a sandbox.
fn files(sandbox: &Sandbox) -> BTreeSet<String> {
    let top = sandbox.path("");
    let mut folders = vec![top.clone()];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                let path = entry.path();
                found.insert(path.strip_prefix(&top).unwrap().display().to_string());
            }
        }
    }
    found
}

/// Whether the suite's long parts are wanted whole: `SELF_HEAL_PEERS=all`.
fn whole() -> bool {
    std::env::var_os("SELF_HEAL_PEERS").is_some_and(|word| word == "all")
}
