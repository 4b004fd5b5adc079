//! The shipped escalators: each fed with events, its receiver played by a strict stand-in on loopback.

mod answers;
mod fake;
mod mail;
pub mod page;
mod pagerduty;
mod robustness;
mod secrets;
mod settings;
mod webhook;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

use crate::support::{PROJECT, Sandbox, chmod, feed};

pub const KEY: &str = "R0123456789abcdefABCDEF012345678";

/// Of no account and no word of an event.
pub const SECRET_PATH: &str = "/services/T0NOTHING/B0NOTHING/verysecretindeed";

/// The three, as they are shipped.
pub const SHIPPED: [&str; 3] = ["pagerduty", "webhook", "mail"];

/// What self-heal tells apart: 0, 100, anything else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outcome {
    Delivered,
    Refused,
    Again,
}

/// What an escalator came to and what it said.
#[derive(Debug)]
pub struct Told {
    pub outcome: Outcome,
    pub said: String,
}

impl Told {
    pub fn of(output: &Output) -> Told {
        assert_eq!(output.stdout, b"", "{output:?}");
        let outcome = match output.status.code() {
            Some(0) => Outcome::Delivered,
            Some(100) => Outcome::Refused,
            _ => Outcome::Again,
        };
        let said = String::from_utf8(output.stderr.clone()).unwrap();
        Told { outcome, said }
    }

    #[track_caller]
    pub fn is(self, outcome: Outcome, words: &[&str]) -> Told {
        assert_eq!(self.outcome, outcome, "{}", self.said);
        for word in words {
            assert!(self.said.contains(word), "no {word:?} in {}", self.said);
        }
        self
    }
}

/// A configuration folder, a folder of escalators, and the environment that self-heal gives them.
pub struct Desk {
    pub sandbox: Sandbox,
}

impl Desk {
    pub fn new() -> Desk {
        let sandbox = Sandbox::new();
        for folder in ["conf", "escalate.d", "home"] {
            fs::create_dir_all(sandbox.path(folder)).unwrap();
            chmod(&sandbox.path(folder), 0o755);
        }
        Desk { sandbox }
    }

    /// PagerDuty's key, and this URL as its and the webhook's.
    pub fn at(url: &str) -> Desk {
        let desk = Desk::new();
        desk.conf("pagerduty.key", KEY, 0o600);
        desk.conf("pagerduty.url", url, 0o644);
        desk.conf("webhook.url", url, 0o600);
        desk
    }

    /// A configuration file with a newline at its end.
    pub fn conf(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self
            .sandbox
            .write(&format!("conf/{name}"), &format!("{text}\n"));
        chmod(&path, mode);
        path
    }

    /// The shipped one, linked as `link` where self-heal looks for it.
    pub fn command(&self, shipped: &str, link: &str) -> Command {
        let path = self.sandbox.path("escalate.d").join(link);
        let target = Path::new(PROJECT).join("handlers/escalate").join(shipped);
        if fs::symlink_metadata(&path).is_err() {
            symlink(target, &path).unwrap();
        }
        self.clean(Command::new(path))
    }

    /// The environment that self-heal gives.
    pub fn clean(&self, mut command: Command) -> Command {
        command
            .env_clear()
            .env(
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            )
            .env("HOME", self.sandbox.path("home"))
            .env("LANG", "C.UTF-8")
            .env("HEAL_CONF_DIR", self.sandbox.path("conf"))
            .env("HEAL_EVENT_ID", "1795348800000-t-0123456789abcdef")
            .env("HEAL_ACTION", "trigger");
        command
    }

    pub fn tell(&self, shipped: &str, event: &Value) -> Told {
        let command = self.command(shipped, shipped);
        Told::of(&feed(command, event.to_string().as_bytes()))
    }
}

/// The events of tests/data/events, by name.
pub fn samples() -> Vec<(String, Value)> {
    let mut found: Vec<_> = fs::read_dir(Path::new(PROJECT).join("tests/data/events"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let event = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            (name, event)
        })
        .collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(found.len() > 8);
    found
}

pub fn sample(name: &str) -> Value {
    let (_, event) = samples()
        .into_iter()
        .find(|(found, _)| found == name)
        .unwrap_or_else(|| panic!("no event {name}"));
    event
}

/// Three failures, with one member of the event changed.
pub fn failures_with(member: &str, value: Value) -> Value {
    let mut event = sample("failures");
    event[member] = value;
    event
}

/// Larger in every way than anything self-heal writes: each event with the size of its text.
pub fn oversized() -> Vec<(&'static str, Value)> {
    let many = |count: usize, length: usize| -> Value {
        (0..count)
            .map(|n| (format!("label_{n}"), json!("é".repeat(length))))
            .collect::<serde_json::Map<_, _>>()
            .into()
    };
    let attempt =
        json!({"attempt": 1, "outcome": "x".repeat(100_000), "run_id": "y".repeat(100_000)});
    vec![
        (
            "a label of a megabyte",
            failures_with(
                "labels",
                json!({"severity": "info", "big": "é".repeat(500_000)}),
            ),
        ),
        (
            "a name of a megabyte",
            failures_with("labels", json!({"n".repeat(1_000_000): "v"})),
        ),
        (
            "ten thousand labels",
            failures_with("labels", many(10_000, 60)),
        ),
        (
            "a thousand annotations",
            failures_with("annotations", many(1000, 1000)),
        ),
        (
            "two hundred annotations of quotes",
            failures_with(
                "annotations",
                (0..200)
                    .map(|n| (n.to_string(), json!("\"\\".repeat(4000))))
                    .collect::<serde_json::Map<_, _>>()
                    .into(),
            ),
        ),
        (
            "a thousand attempts",
            failures_with("attempts", json!(vec![attempt; 5])),
        ),
        (
            "a megabyte of output",
            failures_with("output", json!("line \u{1}\n".repeat(150_000))),
        ),
        (
            "a thousand links",
            failures_with(
                "links",
                json!(vec![
                    json!({"href": format!("http://x/{}", "a".repeat(1000)), "text": "t".repeat(1000)});
                    1000
                ]),
            ),
        ),
        (
            "long everything",
            json!({
                "action": "trigger", "dedup_key": "k".repeat(100_000), "summary": "s".repeat(100_000),
                "detail": "d".repeat(100_000), "host": "h".repeat(100_000), "reason": "r".repeat(100_000),
                "at": "2".repeat(100_000), "id": "i".repeat(100_000), "group_key": "g".repeat(100_000),
                "receiver": "r".repeat(100_000), "commands": vec!["c".repeat(100_000); 5],
                "alert": {"alertname": "a".repeat(100_000), "instance": "b".repeat(100_000)},
            }),
        ),
    ]
}
