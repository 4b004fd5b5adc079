//! One fault at a time: exactly its finding, in its place, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{chown, symlink};
use std::process::Command;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};
use self_heal::check;
use self_heal::judge::{Host, Time};
use self_heal::wire::{lint, records};

use super::{Home, give};
use crate::stage::{fill, in_a_namespace_of_its_own, mount_tmpfs, run};
use crate::support::{Sandbox, chmod};

/// What a fault needs beside the house: variables of the environment.
type Environment = Vec<(&'static str, &'static str)>;

/// Makes the fault; the finding that it gives is the row's.
type Fault = fn(&Home) -> Environment;

fn plain(home: &Home, fault: impl FnOnce(&Sandbox)) -> Environment {
    fault(&home.sandbox);
    Vec::new()
}

fn set(home: &Home, key: &str, value: &str) -> Environment {
    home.sandbox.set(key, value);
    Vec::new()
}

fn body(home: &Home, text: &str) -> Environment {
    home.sandbox.script("handlers/Down.sh", text);
    Vec::new()
}

fn list(home: &Home, text: &str) -> Environment {
    home.sandbox.write("allowed.txt", text);
    Vec::new()
}

fn own(home: &Home, name: &str, content: &[u8]) -> Environment {
    home.own(name, content);
    Vec::new()
}

/// The line behind the house's own.
const CONF: usize = 13;

const FAULTS: &[(&str, Fault)] = &[
    ("settings DIR/self-heal.conf:13", |home| {
        assert_eq!(home.line("HEAL_SETTEL=6m"), CONF);
        Vec::new()
    }),
    ("settings DIR/self-heal.conf:13", |home| {
        home.line("HEAL_SETTLE=soon");
        Vec::new()
    }),
    ("settings environment", |_| vec![("HEAL_SETTLE", "soon")]),
    ("settings-file DIR/self-heal.conf", |home| {
        plain(home, |s| chmod(&s.path("self-heal.conf"), 0o666))
    }),
    ("unknown-variable environment: HEAL_SETTEL", |_| {
        vec![("HEAL_SETTEL", "6m")]
    }),
    ("outranked DIR/self-heal.conf:13", |home| {
        home.line("HEAL_SETTLE=6m");
        vec![("HEAL_SETTLE", "7m")]
    }),
    ("limits-fight HEAL_RUN_LIMITS (default)", |home| {
        set(home, "HEAL_MAX_ATTEMPTS", "9")
    }),
    ("limits-fight DIR/handlers/Down.sh", |home| {
        body(home, "#!/bin/bash\n# self-heal: retry-delay=3h\nexit 0\n")
    }),
    ("settle-short DIR/self-heal.conf:13", |home| {
        home.line("HEAL_SETTLE=1m");
        Vec::new()
    }),
    ("sender-gone DIR/self-heal.conf:13", |home| {
        home.line("HEAL_HANDLER_TIMEOUT=10m");
        Vec::new()
    }),
    ("sender-gone DIR/handlers/Down.sh", |home| {
        body(home, "#!/bin/bash\n# self-heal: timeout=10m\nexit 0\n")
    }),
    ("observing DIR/self-heal.conf:13", |home| {
        home.line("HEAL_OBSERVE=yes");
        Vec::new()
    }),
    ("always-200 DIR/self-heal.conf:13", |home| {
        home.line("HEAL_UNSETTLED_STATUS=200");
        Vec::new()
    }),
    ("token DIR/token", |home| {
        let path = home.sandbox.path("token").display().to_string();
        set(home, "HEAL_TOKEN_FILE", &path)
    }),
    ("token DIR/token", |home| {
        let path = home
            .sandbox
            .write("token", "0123456789abcdef0123456789abcdef\n");
        set(home, "HEAL_TOKEN_FILE", &path.display().to_string())
    }),
    ("token DIR/token", |home| {
        let path = home
            .sandbox
            .write("token", "0123456789abcdef0123456789abcdef\n");
        chmod(&path, 0o600);
        set(home, "HEAL_TOKEN_FILE", &path.display().to_string())
    }),
    ("allow-users DIR/self-heal.conf:13", |home| {
        home.line("HEAL_ALLOW_USERS=root,no-such-account");
        Vec::new()
    }),
    ("open-peers DIR/self-heal.conf:13", |home| {
        home.line("HEAL_ALLOW_PEERS=192.0.2.0/24");
        Vec::new()
    }),
    ("root-serves DIR/state", |home| {
        plain(home, |s| {
            for folder in ["state", "log", "lock"] {
                chown(s.path(folder), Some(0), Some(0)).unwrap();
            }
        })
    }),
    ("root-allowed DIR/self-heal.conf:2", |home| {
        set(home, "HEAL_ALLOW_ROOT", "yes")
    }),
    ("folder-missing HEAL_HANDLER_DIR: DIR/handlers", |home| {
        list(home, "web-1\n");
        plain(home, |s| {
            fs::rename(s.path("handlers"), s.path("elsewhere")).unwrap()
        })
    }),
    ("folder-missing HEAL_STATE_DIR: DIR/state", |home| {
        plain(home, |s| fs::remove_dir(s.path("state")).unwrap())
    }),
    ("folder-missing HEAL_LOCK_DIR: DIR/lock", |home| {
        plain(home, |s| fs::remove_dir(s.path("lock")).unwrap())
    }),
    ("folder-to-come HEAL_LOCK_DIR: DIR/state/lock", |home| {
        let path = home.sandbox.path("state/lock").display().to_string();
        set(home, "HEAL_LOCK_DIR", &path)
    }),
    ("folder-unsafe HEAL_LOCK_DIR: DIR/lock", |home| {
        plain(home, |s| chmod(&s.path("lock"), 0o777))
    }),
    ("folder-closed HEAL_LOG_DIR: DIR/log", |home| {
        plain(home, |s| chown(s.path("log"), Some(0), Some(0)).unwrap())
    }),
    ("folder-closed HEAL_LOCK_DIR: DIR/lock", |home| {
        plain(home, |s| {
            fs::remove_dir(s.path("lock")).unwrap();
            s.write("lock", "");
        })
    }),
    ("folder-closed HEAL_LOG_DIR: DIR/closed/log", |home| {
        home.own("closed/log/x", b"");
        chown(home.sandbox.path("closed"), Some(0), Some(0)).unwrap();
        let path = home.sandbox.path("closed/log").display().to_string();
        set(home, "HEAL_LOG_DIR", &path)
    }),
    ("file-closed DIR/log/Down.log", |home| {
        let log = home.own("log/Down.log", b"");
        plain(home, |_| chown(log, Some(0), Some(0)).unwrap())
    }),
    ("file-closed DIR/state/history.jsonl", |home| {
        plain(home, |s| {
            symlink("/etc/passwd", s.path("state/history.jsonl")).unwrap()
        })
    }),
    ("no-handlers HEAL_HANDLER_DIR: DIR/handlers", |home| {
        list(home, "web-1\n");
        plain(home, |s| {
            fs::remove_file(s.path("handlers/Down.sh")).unwrap()
        })
    }),
    ("handler-unsafe DIR/handlers/Other.sh", |home| {
        plain(home, |s| chmod(&s.handler("Other", "exit 0\n"), 0o777))
    }),
    ("handler-unsafe DIR/handlers/Other.sh", |home| {
        plain(home, |s| chmod(&s.handler("Other", "exit 0\n"), 0o700))
    }),
    ("handler-unsafe DIR/handlers/listener.sh", |home| {
        plain(home, |s| drop(s.handler("listener", "exit 0\n")))
    }),
    ("directive DIR/handlers/Other.sh:3", |home| {
        plain(home, |s| {
            drop(s.handler("Other", "#\n# self-heal: timeout=soon\nexit 0\n"))
        })
    }),
    ("directive DIR/handlers/Other.sh:3", |home| {
        plain(home, |s| {
            drop(s.handler("Other", "true\n# self-heal: timeout=1m\n"))
        })
    }),
    ("interpreter DIR/handlers/Down.sh:1", |home| {
        body(home, "#!/usr/bin/no-such-shell\nexit 0\n")
    }),
    ("interpreter DIR/handlers/Down.sh:1", |home| {
        body(home, "#!/usr/bin/env no-such-program\nexit 0\n")
    }),
    ("interpreter DIR/handlers/Down.sh:1", |home| {
        body(home, "#!bash\nexit 0\n")
    }),
    ("carriage-return DIR/handlers/Down.sh:1", |home| {
        body(home, "#!/bin/bash\r\nexit 0\r\n")
    }),
    ("carriage-return DIR/handlers/Down.sh:2", |home| {
        body(home, "#!/bin/bash\nexit 0\r\n")
    }),
    ("syntax DIR/handlers/Down.sh:4", |home| {
        body(home, "#!/bin/bash\nif true; then\nexit 0\n")
    }),
    ("syntax DIR/handlers/Down.sh:2", |home| {
        body(home, "#!/bin/sh\necho )\n")
    }),
    ("syntax DIR/handlers/Down.sh:1", |home| {
        body(home, "echo )\n")
    }),
    ("syntax DIR/handlers/Down.restored:2", |home| {
        plain(home, |s| {
            drop(s.script("handlers/Down.restored", "#!/bin/bash\necho )\n"))
        })
    }),
    ("handler-name DIR/handlers/My Alert.sh", |home| {
        plain(home, |s| {
            drop(s.script("handlers/My Alert.sh", "#!/bin/bash\n"))
        })
    }),
    ("handler-idle DIR/handlers/Other", |home| {
        plain(home, |s| drop(s.write("handlers/Other", "#!/bin/bash\n")))
    }),
    ("handler-shadowed DIR/handlers/Down", |home| {
        plain(home, |s| drop(s.script("handlers/Down", "#!/bin/bash\n")))
    }),
    ("hook-alone DIR/handlers/Other.restored", |home| {
        plain(home, |s| {
            drop(s.script("handlers/Other.restored", "#!/bin/bash\n"))
        })
    }),
    ("snapshot-path DIR/handlers/Down.sh", |home| {
        give(&home.sandbox.path("backup"));
        home.own("ground/file", b"");
        run(Command::new("mkfifo").arg(home.sandbox.path("ground/pipe")));
        let path = home.sandbox.path("ground/pipe").display().to_string();
        body(
            home,
            &format!("#!/bin/bash\n# self-heal: snapshot={path}\nexit 0\n"),
        )
    }),
    ("backup-folder HEAL_BACKUP_DIR: DIR/backup", |home| {
        let path = home.own("ground/file", b"").display().to_string();
        body(
            home,
            &format!("#!/bin/bash\n# self-heal: snapshot={path}\nexit 0\n"),
        )
    }),
    (
        "allow-list HEAL_ALLOWED_INSTANCES: DIR/allowed.txt",
        |home| plain(home, |s| fs::remove_file(s.path("allowed.txt")).unwrap()),
    ),
    (
        "allow-list HEAL_ALLOWED_INSTANCES: DIR/allowed.txt",
        |home| list(home, "# nobody yet\n"),
    ),
    (
        "allow-list HEAL_ALLOWED_INSTANCES: DIR/allowed.txt",
        |home| plain(home, |s| chmod(&s.path("allowed.txt"), 0o666)),
    ),
    (
        "allow-list HEAL_ALLOWED_INSTANCES: DIR/allowed.txt",
        |home| plain(home, |s| chmod(&s.path("allowed.txt"), 0o600)),
    ),
    ("allow-list-line DIR/allowed.txt:2", |home| {
        list(home, "web-1\nweb-2 Down and more\n")
    }),
    ("allow-everything DIR/allowed.txt:1", |home| {
        list(home, "*\n")
    }),
    ("allow-never DIR/allowed.txt:2", |home| {
        list(home, "web-1\nhttp://web-2:9113\n")
    }),
    ("allow-never DIR/allowed.txt:1", |home| {
        list(home, "web-1:99999\n")
    }),
    ("allow-no-handler DIR/allowed.txt:1", |home| {
        list(home, "web-1 Down,down\n")
    }),
    ("allow-twice DIR/allowed.txt:2", |home| {
        list(home, "web-*\nweb-1:9113 Down\n")
    }),
    ("sudo-unclear DIR/handlers/Down.sh:2", |home| {
        body(
            home,
            "#!/bin/bash\nsudo -n /usr/bin/systemctl restart \"$1\"\n",
        )
    }),
    ("no-escalator HEAL_ESCALATE_DIR: DIR/escalate.d", |home| {
        plain(home, |s| {
            fs::remove_file(s.path("escalate.d/recorder")).unwrap()
        })
    }),
    ("escalator-refused DIR/escalate.d/recorder", |home| {
        plain(home, |s| chmod(&s.path("escalate.d/recorder"), 0o777))
    }),
    (
        "escalator-refused HEAL_ESCALATE_DIR: DIR/escalate.d",
        |home| plain(home, |s| chmod(&s.path("escalate.d"), 0o777)),
    ),
    ("escalator-gone HEAL_ESCALATE_DIR: DIR/escalate.d", |home| {
        own(home, "state/spool/escalators/ghost", b"")
    }),
    ("escalator-odd DIR/escalate.d/two words", |home| {
        plain(home, |s| {
            drop(s.script("escalate.d/two words", "#!/bin/sh\n"))
        })
    }),
    ("escalator-secret DIR/recorder.key", |home| {
        plain(home, |s| drop(s.write("recorder.key", "secret")))
    }),
    ("escalator-secret DIR/recorder.url", |home| {
        plain(home, |s| chmod(&s.write("recorder.url", "http://x"), 0o600))
    }),
    ("program-missing DIR/escalate.d/other:2", |home| {
        plain(home, |s| {
            drop(s.script(
                "escalate.d/other",
                "#!/bin/bash\nneed no-such-program its-package\n",
            ))
        })
    }),
    ("syntax DIR/escalate.d/other:2", |home| {
        plain(home, |s| {
            drop(s.script("escalate.d/other", "#!/bin/bash\necho )\n"))
        })
    }),
    ("pages-stuck DIR/state/spool", |home| {
        own(home, "state/spool/failed/x", b"")
    }),
    ("pages-stuck DIR/state/spool", |home| {
        own(home, "state/spool/damaged/x", b"")
    }),
    ("pages-waiting DIR/state/spool", |home| {
        own(home, "state/spool/pending/x", b"")
    }),
    ("port-silent DIR/self-heal.conf:9", |home| {
        // Taken for the test's time, and nobody listens there.
        let taken = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::empty(),
            None,
        )
        .unwrap();
        bind(taken.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
        let address: SockaddrIn = getsockname(taken.as_raw_fd()).unwrap();
        std::mem::forget(taken);
        set(home, "HEAL_PORT", &address.port().to_string())
    }),
    ("clock-wrong DIR/state/host", |home| {
        let host = Host {
            runs: vec![Time(4_000_000_000_000)],
            ..Host::default()
        };
        let mut record = records::encode(&host, "host", 1).unwrap();
        record.resize(2 * records::SLOT, 0);
        own(home, "state/host", &record)
    }),
    ("state-damaged DIR/state/host", |home| {
        own(home, "state/host", b"torn")
    }),
    ("state-damaged DIR/state/pauses", |home| {
        own(home, "state/pauses", b"torn")
    }),
    ("state-damaged DIR/state/records/0123", |home| {
        own(home, "state/records/0123", b"torn")
    }),
    ("kept-aside DIR/state/damaged", |home| {
        own(home, "state/damaged/0123-1", b"torn")
    }),
    ("lost-lines DIR/state/metrics", |home| {
        own(home, "state/metrics/-", b"{\"channel_failures\":3}\n")
    }),
];

/// What other tests here find.
const ELSEWHERE: [&str; 13] = [
    "unseen",
    "folder-full",
    "no-exec",
    "lost-at-boot",
    "port-open",
    "sudo-missing",
    "sudo-refused",
    "sudo-password",
    "unit-no-sudo",
    "unit-account",
    "unit-read-only",
    "unit-kills",
    // No such file system and no such clock can be had here; unit tests beside the code.
    "copy-on-write",
];

const UNSEEN_HERE: [&str; 2] = ["network-disk", "clock-free"];

#[test]
fn each_fault_has_its_finding_and_no_other() {
    for (number, (expected, fault)) in FAULTS.iter().enumerate() {
        let home = Home::new();
        let environment = fault(&home);
        let mut command = home.root();
        command.envs(environment);
        let found = home.found_by(command);
        assert_eq!(found, [*expected], "fault {number}");
    }
}

#[test]
fn the_place_of_a_finding_is_said_once() {
    let home = Home::new();
    let handler = home.sandbox.handler("Other", "exit 0\n");
    chmod(&handler, 0o777);
    let output = home.root().arg("check").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let shown = handler.display().to_string();
    let line = text.lines().find(|line| line.contains("handler-unsafe"));
    let line = line.unwrap_or_else(|| panic!("{text}"));
    assert_eq!(line.matches(&shown).count(), 1, "{line}");
}

#[test]
fn every_kind_is_found_by_some_test() {
    let mut met: BTreeSet<&str> = FAULTS
        .iter()
        .map(|(expected, _)| expected.split(' ').next().unwrap())
        .collect();
    met.extend(ELSEWHERE);
    met.extend(UNSEEN_HERE);
    let kinds = || check::KINDS.iter().flat_map(|kinds| kinds.iter());
    let names: BTreeSet<&str> = kinds().map(|kind| kind.name).collect();
    assert_eq!(names.len(), kinds().count(), "two kinds of one name");
    // Those of other people's files have samples of their own: `linting`.
    let linted = |name: &&str| lint::KINDS.iter().any(|kind| kind.name == *name);
    let here: BTreeSet<&str> = names.into_iter().filter(|name| !linted(name)).collect();
    assert_eq!(met, here);
}

#[test]
fn a_listener_that_others_reach_is_found_by_its_address() {
    for (address, shown) in [("0.0.0.0:0", "0.0.0.0:"), ("[::]:0", "[::]:")] {
        let Ok(open) = TcpListener::bind(address) else {
            assert!(address.starts_with('['), "no IPv4 here");
            continue;
        };
        let home = Home::new();
        let port = open.local_addr().unwrap().port();
        home.sandbox.set("HEAL_PORT", &port.to_string());
        let output = home.root().arg("check").output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains(&format!("somebody listens on {shown}{port}: ")),
            "{text}"
        );
    }
}

#[test]
fn file_systems_that_do_not_do_what_they_should_are_found() {
    let name = "checking::faults::file_systems_that_do_not_do_what_they_should_are_found";
    if !in_a_namespace_of_its_own(name) {
        return;
    }
    let home = Home::new();
    let kinds = |home: &Home| {
        let output = home.root().args(["check", "--json"]).output().unwrap();
        let report = super::json(&output);
        let findings = report["findings"].as_array().unwrap().clone();
        let kinds = findings.iter().map(|f| {
            format!(
                "{} {}",
                f["kind"].as_str().unwrap(),
                home.nameless(f["place"].as_str().unwrap())
            )
        });
        kinds.collect::<Vec<_>>()
    };
    let state = home.sandbox.path("state");
    mount_tmpfs(&state, "64k");
    give(&state);
    let lost = "lost-at-boot HEAL_STATE_DIR: DIR/state".to_owned();
    assert!(kinds(&home).contains(&lost));
    fill(&state.join("filler"));
    let full = "folder-full HEAL_STATE_DIR: DIR/state".to_owned();
    assert!(kinds(&home).contains(&full));
    fs::remove_file(state.join("filler")).unwrap();
    assert!(!kinds(&home).contains(&full));
    run(Command::new("mount").args(["-o", "remount,ro"]).arg(&state));
    let closed = "folder-closed HEAL_STATE_DIR: DIR/state".to_owned();
    assert!(kinds(&home).contains(&closed));
    let handlers = home.sandbox.path("handlers");
    mount_tmpfs(&handlers, "1m");
    run(Command::new("mount")
        .args(["-o", "remount,noexec"])
        .arg(&handlers));
    home.sandbox.handler("Down", "exit 0\n");
    let no_exec = "no-exec HEAL_HANDLER_DIR: DIR/handlers".to_owned();
    assert!(kinds(&home).contains(&no_exec), "{:?}", kinds(&home));
    for folder in [state, handlers] {
        run(Command::new("umount").arg(folder));
    }
}
