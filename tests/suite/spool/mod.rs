//! Pages on their way: put into the spool through the library, delivered by the real `self-heal drain` or, where time
//! has to pass, by the library with a clock of the test's own.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use self_heal::deliver::{self, Bound, Round};
use self_heal::judge::Time;
use self_heal::judge::delivery::{Action, EventName};
use self_heal::sys::log::Log;
use self_heal::sys::signals::Signals;
use self_heal::sys::spool::Spool;
use self_heal::sys::state::file::Store;
use self_heal::wire::config::{self, Config};
use self_heal::wire::records::hex_digest;

use crate::support::{Sandbox, chmod};

mod crash;
mod disk;
mod operator;
mod outage;
mod rounds;

/// A moment in 2026, in milliseconds.
const THEN: i64 = 1_795_348_800_000;

/// A sandbox with a folder of escalators.
struct Yard {
    sandbox: Sandbox,
}

impl Yard {
    fn new() -> Yard {
        Yard {
            sandbox: Sandbox::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    fn state(&self) -> PathBuf {
        self.sandbox.path("state")
    }

    /// An escalator of this name that notes each call in `NAME.calls`, then does this.
    fn escalator(&self, name: &str, body: &str) {
        let calls = self.path(&format!("{name}.calls"));
        let text = format!(
            "#!/bin/bash\nprintf '%s\\n' \"$HEAL_EVENT_ID\" >>{}\n{body}\n",
            calls.display()
        );
        self.sandbox.script(&format!("escalate.d/{name}"), &text);
    }

    /// The events that it was called with, in order.
    fn calls(&self, name: &str) -> Vec<String> {
        let text = fs::read_to_string(self.path(&format!("{name}.calls"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn spool(&self) -> Spool {
        // As on every host: whoever puts a page has a record that owed it.
        Store::open(&self.state()).unwrap();
        Spool::open(&self.state()).unwrap()
    }

    /// Puts an event of this incident into the spool.
    fn put(&self, at: i64, action: Action, incident: &str) -> EventName {
        let name = name(at, action, incident);
        let spool = self.spool();
        spool
            .lock()
            .unwrap()
            .put(&name, &json(&name, incident))
            .unwrap();
        name
    }

    fn trigger(&self, at: i64, incident: &str) -> EventName {
        self.put(at, Action::Trigger, incident)
    }

    fn resolve(&self, at: i64, incident: &str) -> EventName {
        self.put(at, Action::Resolve, incident)
    }

    /// The names in a folder of the spool, sorted.
    fn names(&self, folder: &str) -> Vec<String> {
        names_in(&self.path("state/spool").join(folder))
    }

    fn config(&self) -> Config {
        let text = self.sandbox.read("self-heal.conf");
        config::load(Some(("c", text.as_bytes())), |_| None).unwrap()
    }

    fn command(&self, args: &[&str]) -> Command {
        let words: Vec<&str> = ["drain"].iter().chain(args).copied().collect();
        let mut command = self.sandbox.command_of(&words);
        command.stdin(Stdio::null());
        command
    }

    fn drain(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// `self-heal drain`, which has to end like this.
    #[track_caller]
    fn drains(&self, args: &[&str], code: i32) -> String {
        let output = self.drain(args);
        let complaint = String::from_utf8_lossy(&output.stderr);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(code), "{said}{complaint}");
        said
    }

    /// One round at this time, whose clock stands still.
    fn round(&self, now: i64, bound: &Bound) -> Round {
        self.round_with(now, bound, &mut |_, _| Ok(())).unwrap()
    }

    fn round_with(
        &self,
        now: i64,
        bound: &Bound,
        struck: &mut deliver::Strike<'_>,
    ) -> Result<Round, String> {
        let config = self.config();
        let mut log = Log::open(&config.log_dir, false, config.syslog);
        let mut signals = Signals::block().unwrap();
        let clock = Cell::new(now);
        let clock = || Time(clock.get());
        deliver::deliver(&config, &mut log, &mut signals, &clock, bound, struck)
    }

    fn log(&self) -> String {
        self.sandbox.log()
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn name(at: i64, action: Action, incident: &str) -> EventName {
    EventName::new(Time(at), action, &hex_digest(incident.as_bytes())).unwrap()
}

fn json(name: &EventName, incident: &str) -> Vec<u8> {
    let action = name.action().as_str();
    let event = serde_json::json!({
        "version": 1,
        "id": name.to_string(),
        "action": action,
        "dedup_key": incident,
        "summary": format!("NginxDown on web-1: \"{incident}\"\n"),
    });
    event.to_string().into_bytes()
}

/// A bound for attempts that are to end.
const SOON: Bound = Bound {
    attempt: Duration::from_secs(20),
    start: Duration::MAX,
};
