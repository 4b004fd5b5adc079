//! The runbook's table of what `/-/ready` says: each problem is made here, and has its row; no row is of a problem
//! that nobody can make.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use self_heal::judge::Time;
use self_heal::judge::record::Host;
use self_heal::wire::records;

use crate::docs::table;
use crate::stage::{as_root, fill, in_a_namespace_of_its_own, mount_tmpfs};
use crate::support::{Alert, Sandbox, chmod};

/// A problem as the table writes it, and how it comes about.
type Case = (&'static str, fn(&Sandbox));

fn in_place_of(folder: &Path) {
    fs::remove_dir_all(folder).unwrap();
    fs::write(folder, "").unwrap();
}

fn escalator(sandbox: &Sandbox, code: u8) {
    sandbox.script("escalate.d/board", &format!("#!/bin/bash\nexit {code}\n"));
    sandbox
        .post(&Alert::firing("GivesUp", "web-1"))
        .expect(200, &["gave-up"]);
}

fn tomorrow() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let ms: i64 = since.unwrap().as_millis().try_into().unwrap();
    Time(ms + 86_400_000)
}

const CASES: &[Case] = &[
    ("HEAL_STATE_DIR: …", |s| chmod(&s.path("state"), 0o777)),
    ("HEAL_LOCK_DIR: …", |s| in_place_of(&s.path("lock"))),
    ("HEAL_HANDLER_DIR: …", |s| {
        in_place_of(&s.path("handlers"))
    }),
    ("HEAL_ALLOWED_INSTANCES: …", |s| {
        fs::remove_file(s.path("allowed-instances.txt")).unwrap();
    }),
    ("… allows nothing", |s| {
        s.write("allowed-instances.txt", "# nobody\n");
    }),
    ("…allowed-instances.txt:…: …", |s| {
        s.write("allowed-instances.txt", "web-*\n[fd00::7\n");
    }),
    ("unsafe handler: …", |s| {
        chmod(&s.handler("Down", "exit 0\n"), 0o777)
    }),
    ("HEAL_BACKUP_DIR: …", |s| {
        s.handler("Down", "# self-heal: snapshot=/etc/hosts\nexit 0\n");
        chmod(&s.path("backup"), 0o777);
    }),
    ("… has no free block: …", |s| {
        mount_tmpfs(&s.path("log"), "64k");
        fill(&s.path("log/filler"));
    }),
    ("history: …", |s| {
        fs::remove_file(s.path("state/history.jsonl")).unwrap();
        fs::create_dir(s.path("state/history.jsonl")).unwrap();
    }),
    ("metrics: …", |s| in_place_of(&s.path("state/metrics"))),
    ("log …: …", |s| in_place_of(&s.path("log"))),
    ("spool: …", |s| in_place_of(&s.path("state/spool"))),
    ("pages refused for good: …", |s| escalator(s, 100)),
    ("pages damaged in the spool: …", |s| {
        escalator(s, 0);
        s.write("state/spool/damaged/x-1", "");
    }),
    ("escalator … is gone from …", |s| {
        escalator(s, 1);
        fs::remove_file(s.path("escalate.d/board")).unwrap();
    }),
    ("escalator: …", |s| {
        escalator(s, 0);
        chmod(&s.path("escalate.d/board"), 0o777);
    }),
    ("HEAL_ESCALATE_DIR: …", |s| {
        chmod(&s.path("escalate.d"), 0o777)
    }),
    ("the host's record was damaged…", |s| {
        s.write("state/host", "x");
    }),
    ("the clock went back: …", |s| {
        let host = Host {
            runs: vec![tomorrow()],
            ..Host::default()
        };
        let mut bytes = records::encode(&host, "host", 1).unwrap();
        bytes.resize(2 * records::SLOT, 0);
        fs::write(s.path("state/host"), bytes).unwrap();
    }),
    ("…self-heal.conf:…: …", |s| {
        s.set("HEAL_RETRY_DELAY", "soon")
    }),
    ("HEAL_TOKEN_FILE: …", |s| {
        s.set("HEAL_TOKEN_FILE", "/nowhere/token")
    }),
    ("HEAL_ALLOW_USERS: …", |s| {
        s.set("HEAL_ALLOW_USERS", "nobody-of-that-name")
    }),
    ("refuses to serve as root: …", |s| {
        s.set("HEAL_ALLOW_ROOT", "no")
    }),
];

/// Whether the text is what the pattern says, `…` being anything.
fn fits(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('…');
    let Some(mut rest) = text.strip_prefix(parts.next().unwrap()) else {
        return false;
    };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else {
            return false;
        };
        rest = if part.is_empty() { rest } else { after };
    }
    true
}

#[test]
fn every_problem_that_ready_names_has_its_row() {
    as_root();
    if !in_a_namespace_of_its_own("runbook::every_problem_that_ready_names_has_its_row") {
        return;
    }
    let rows = table("| it says | means | first | cure |");
    let shown: Vec<String> = rows
        .iter()
        .map(|row| row[0].split('`').nth(1).unwrap().to_owned())
        .collect();
    let known: BTreeSet<&str> = CASES.iter().map(|case| case.0).collect();
    let rows: BTreeSet<&str> = shown.iter().map(String::as_str).collect();
    assert_eq!(rows, known);
    assert_eq!(rows.len(), shown.len());
    for (pattern, sabotage) in CASES {
        let sandbox = Sandbox::new();
        sandbox.write("allowed-instances.txt", "web-*\n");
        let list = sandbox.path("allowed-instances.txt").display().to_string();
        sandbox.set("HEAL_ALLOWED_INSTANCES", &list);
        sandbox.handler("GivesUp", "exit 2\n");
        let before = sandbox.get("/-/ready");
        assert_eq!(before.code, 200, "{pattern}: {}", before.body);
        sabotage(&sandbox);
        let after = sandbox.get("/-/ready");
        assert_eq!(after.code, 503, "{pattern}: {}", after.body);
        let problems = after.json()["problems"].clone();
        let problems: Vec<&str> = problems
            .as_array()
            .unwrap()
            .iter()
            .map(|problem| problem.as_str().unwrap())
            .collect();
        assert!(
            problems.iter().any(|problem| fits(pattern, problem)),
            "{pattern}: {problems:?}"
        );
        for problem in problems {
            assert!(
                rows.iter().any(|row| fits(row, problem)),
                "{pattern}: no row for {problem:?}"
            );
        }
    }
}
