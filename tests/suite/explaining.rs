//! `self-heal explain`: it says what a post then gets, for every gate, and it changes nothing.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::stage::{
    Gate, Posting, STRANGER, as_root, as_stranger, install, put_down, run, sha256, until_gone,
};
use crate::stopping::timeless;
use crate::support::{Alert, Answer, Sandbox, chmod, feed, notification, request};

/// The account of somebody who has nothing to do with it.
const NOBODY: u32 = STRANGER + 1;

fn nginx() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

fn explain(sandbox: &Sandbox, words: &[&str], input: &[u8]) -> Output {
    let words = [&["explain"], words].concat();
    feed(sandbox.command_of(&words), input)
}

fn parsed(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"))
}

fn explained(sandbox: &Sandbox, input: &[u8]) -> Value {
    parsed(&explain(sandbox, &["--json"], input))
}

/// The marks and texts of a gate of the first alert.
fn gate<'a>(explained: &'a Value, name: &str) -> Vec<(&'a str, &'a str)> {
    gates_of(&explained["alerts"][0], name)
}

fn gates_of<'a>(of: &'a Value, name: &str) -> Vec<(&'a str, &'a str)> {
    let gates = of["gates"].as_array().unwrap().iter();
    gates
        .filter(|gate| gate["gate"] == name)
        .map(|gate| {
            (
                gate["mark"].as_str().unwrap(),
                gate["saw"].as_str().unwrap(),
            )
        })
        .collect()
}

fn locked(path: &Path) -> File {
    let file = File::options()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    chmod(path, 0o600);
    file.try_lock().unwrap();
    file
}

fn record_of(sandbox: &Sandbox, alert: &Alert) -> PathBuf {
    let key = sha256(alert.fingerprint().as_bytes());
    sandbox.path("state/records").join(key)
}

/// What has to live on while a situation is looked at.
#[derive(Default)]
struct Props {
    locks: Vec<File>,
    under_way: Option<(Gate, Posting)>,
}

/// A situation: how it comes about, which alert is posted into it, and what comes of that.
type Situation = (
    &'static str,
    fn(&Sandbox, &mut Props) -> Alert,
    &'static str,
);

fn heals(sandbox: &Sandbox) -> Alert {
    sandbox.handler("NginxDown", "exit 0\n");
    nginx()
}

const SITUATIONS: &[Situation] = &[
    ("nothing in its way", |s, _| heals(s), "run"),
    (
        "the folders are not there yet",
        |s, _| {
            for folder in ["state", "lock", "log"] {
                fs::remove_dir(s.path(folder)).unwrap();
            }
            heals(s)
        },
        "run",
    ),
    (
        "an instance that nobody allows",
        |s, _| {
            heals(s);
            Alert::firing("NginxDown", "other:1")
        },
        "not-allowed",
    ),
    (
        "a list that allows it for another alert",
        |s, _| {
            s.write("allowed.txt", "web-1 Other\n");
            heals(s)
        },
        "not-allowed",
    ),
    (
        "a list that others may write to",
        |s, _| {
            chmod(&s.path("allowed.txt"), 0o666);
            heals(s)
        },
        "not-allowed",
    ),
    (
        "no instance",
        |s, _| {
            heals(s);
            nginx().with("labels", json!({"alertname": "NginxDown"}))
        },
        "not-allowed",
    ),
    (
        "an instance like an option",
        |s, _| {
            s.write("allowed.txt", "*\n");
            heals(s);
            Alert::firing("NginxDown", "-rf")
        },
        "not-allowed",
    ),
    (
        "no alertname",
        |_, _| nginx().with("labels", json!({"instance": "web-1"})),
        "no-handler",
    ),
    (
        "a name that leads elsewhere",
        |_, _| Alert::firing("../x", "web-1"),
        "no-handler",
    ),
    ("no handler", |_, _| nginx(), "no-handler"),
    (
        "a handler that others may write to",
        |s, _| {
            let alert = heals(s);
            chmod(&s.path("handlers/NginxDown.sh"), 0o777);
            alert
        },
        "unsafe-handler",
    ),
    (
        "a handler that nobody may run",
        |s, _| {
            let alert = heals(s);
            chmod(&s.path("handlers/NginxDown.sh"), 0o644);
            alert
        },
        "unsafe-handler",
    ),
    (
        "a link out of the folder",
        |s, _| {
            symlink("/bin/true", s.path("handlers/NginxDown")).unwrap();
            nginx()
        },
        "unsafe-handler",
    ),
    (
        "a bad directive",
        |s, _| {
            s.handler("NginxDown", "# self-heal: timeout=soon\nexit 0\n");
            nginx()
        },
        "unsafe-handler",
    ),
    (
        "a name whose log is another one's",
        |s, _| {
            s.handler("listener", "exit 0\n");
            Alert::firing("listener", "web-1")
        },
        "unsafe-handler",
    ),
    (
        "a pause",
        |s, _| {
            let paused = s.operate(&["pause", "--alert", "NginxDown", "--reason", "new disks"]);
            assert!(paused.status.success());
            heals(s)
        },
        "paused",
    ),
    (
        "pauses that are damaged",
        |s, _| {
            s.write("state/pauses", "nonsense");
            heals(s)
        },
        "error",
    ),
    (
        "the first week",
        |s, _| {
            s.set("HEAL_OBSERVE", "yes");
            heals(s)
        },
        "observed",
    ),
    (
        "a handler that observes, its breaker open",
        |s, _| {
            s.handler("NginxDown", "exit 2\n");
            s.post(&nginx()).expect(200, &["gave-up"]);
            s.handler("NginxDown", "# self-heal: mode=observe\nexit 0\n");
            nginx()
        },
        "observed",
    ),
    (
        "healed a moment ago",
        |s, _| {
            let alert = heals(s);
            s.post(&alert).expect(200, &["healed"]);
            alert
        },
        "settling",
    ),
    (
        "a late copy",
        |s, _| {
            let alert = heals(s);
            s.post(&alert).expect(200, &["healed"]);
            s.post(&alert.resolved()).expect(200, &["resolved"]);
            alert
        },
        "settling",
    ),
    (
        "failed a moment ago",
        |s, _| {
            s.set("HEAL_RETRY_DELAY", "1h");
            s.handler("NginxDown", "exit 1\n");
            s.post(&nginx()).expect(503, &["failed"]);
            nginx()
        },
        "waiting",
    ),
    (
        "an open breaker",
        |s, _| {
            s.handler("NginxDown", "exit 2\n");
            s.post(&nginx()).expect(200, &["gave-up"]);
            nginx()
        },
        "tripped",
    ),
    (
        "heals without effect",
        |s, _| {
            s.set("HEAL_SETTLE", "1ms");
            s.set("HEAL_MAX_ATTEMPTS", "1");
            let alert = heals(s);
            s.post(&alert).expect(200, &["healed"]);
            alert
        },
        "tripped",
    ),
    (
        "the run limits",
        |s, _| {
            s.set("HEAL_SETTLE", "0");
            s.set("HEAL_RUN_LIMITS", "1/1h");
            let alert = heals(s);
            s.post(&alert).expect(200, &["healed"]);
            alert
        },
        "tripped",
    ),
    (
        "a storm",
        |s, _| {
            s.set("HEAL_STORM_LIMIT", "1/1h");
            let alert = heals(s);
            s.post(&Alert::firing("NginxDown", "web-2"))
                .expect(200, &["healed"]);
            alert
        },
        "storm",
    ),
    (
        "a damaged record of the host",
        |s, _| {
            s.write("state/host", "nonsense");
            heals(s)
        },
        "storm",
    ),
    (
        "somebody with flock(1)",
        |s, props| {
            props
                .locks
                .push(locked(&s.path("lock/heal-NginxDown.lock")));
            heals(s)
        },
        "busy",
    ),
    (
        "somebody with the instance's lock",
        |s, props| {
            s.handler("NginxDown", "# self-heal: lock=instance\nexit 0\n");
            let digits = &sha256(b"web-1:9113")[..16];
            props.locks.push(locked(
                &s.path(&format!("lock/heal-NginxDown@{digits}.lock")),
            ));
            nginx()
        },
        "busy",
    ),
    (
        "another instance's run, side by side",
        |s, props| {
            s.handler("NginxDown", "# self-heal: lock=instance\nexit 0\n");
            let shared = locked(&s.path("lock/heal-NginxDown.lock"));
            shared.unlock().unwrap();
            shared.lock_shared().unwrap();
            props.locks.push(shared);
            nginx()
        },
        "run",
    ),
    (
        "every slot taken",
        |s, props| {
            s.set("HEAL_MAX_CONCURRENT", "2");
            for slot in [0, 1] {
                props
                    .locks
                    .push(locked(&s.path(&format!("lock/slot-{slot}.lock"))));
            }
            heals(s)
        },
        "busy",
    ),
    (
        "its own run under way",
        |s, props| {
            let gate = Gate::new(s, "runs");
            s.handler("NginxDown", &format!("{}exit 0\n", gate.line()));
            let posting = Posting::begin(s, &[&nginx()]);
            gate.wait_for(1);
            props.under_way = Some((gate, posting));
            nginx()
        },
        "busy",
    ),
    (
        "a run that died with its supervisor",
        |s, _| {
            let gate = Gate::new(s, "dies");
            s.handler("NginxDown", &format!("{}exit 0\n", gate.line()));
            let posting = Posting::begin(s, &[&nginx()]);
            let handler = gate.wait_for(1);
            posting.kill();
            put_down(handler);
            until_gone(handler);
            gate.open();
            nginx()
        },
        "run",
    ),
    (
        "a damaged record",
        |s, _| {
            let alert = heals(s);
            s.post(&alert).expect(200, &["healed"]);
            fs::write(record_of(s, &alert), "x").unwrap();
            alert
        },
        "error",
    ),
    (
        "a state folder that others may write to",
        |s, _| {
            chmod(&s.path("state"), 0o777);
            heals(s)
        },
        "error",
    ),
    (
        "a lock folder that others may write to",
        |s, _| {
            chmod(&s.path("lock"), 0o777);
            heals(s)
        },
        "error",
    ),
    (
        "no place for a lock folder",
        |s, _| {
            s.set(
                "HEAL_LOCK_DIR",
                &s.path("nowhere/lock").display().to_string(),
            );
            heals(s)
        },
        "error",
    ),
    (
        "it is over",
        |s, _| {
            let alert = heals(s);
            s.post(&alert).expect(200, &["healed"]);
            alert.resolved()
        },
        "resolved",
    ),
    (
        "it is over, and was never seen",
        |_, _| nginx().resolved(),
        "resolved",
    ),
    (
        "over before it began",
        |s, _| {
            let alert = heals(s);
            s.post(&alert).expect(200, &["healed"]);
            alert
                .resolved()
                .with("endsAt", json!("2020-01-01T00:00:00Z"))
        },
        "resolved",
    ),
];

#[test]
fn what_it_says_is_what_a_post_then_gets() {
    for (situation, arrange, expected) in SITUATIONS {
        let sandbox = Sandbox::new();
        let mut props = Props::default();
        let alert = arrange(&sandbox, &mut props);
        let body = notification(&[&alert]).to_string();
        let output = explain(&sandbox, &["--json"], &request(&body));
        let foreseen = parsed(&output);
        let told = &foreseen["alerts"][0];
        assert_eq!(told["would"], *expected, "{situation}: {foreseen}");
        let plain = explained(&sandbox, body.as_bytes());
        assert_eq!(plain["alerts"][0]["would"], *expected, "{situation}");
        let well = ["run", "resolved"].contains(expected);
        assert_eq!(
            output.status.code(),
            Some(if well { 0 } else { 1 }),
            "{situation}"
        );

        let answer = sandbox.post(&alert);
        let got = answer.json()["results"][0].clone();
        if *expected == "run" {
            assert_eq!(got["verdict"], "healed", "{situation}: {got}");
            assert_eq!(got["attempt"], told["attempt"], "{situation}");
            assert_eq!(foreseen["status"], Value::Null, "{situation}");
        } else {
            assert_eq!(got["verdict"], *expected, "{situation}: {got}");
            assert_eq!(got["settled"], told["settled"], "{situation}");
            assert_eq!(foreseen["status"], answer.code, "{situation}");
            let words = |of: &Value| timeless(of["detail"].as_str().unwrap());
            assert_eq!(words(&got), words(told), "{situation}");
            let marks: Vec<&Value> = told["gates"].as_array().unwrap().iter().collect();
            let stops = marks.iter().filter(|gate| gate["mark"] == "stop").count();
            let over = ["resolved", "observed"].contains(expected);
            assert!(over || stops == 1, "{situation}: {told}");
        }
        if let Some((gate, posting)) = props.under_way.take() {
            gate.open();
            posting.answer().expect(200, &["healed"]);
        }
    }
}

#[test]
fn what_runs_a_handler_is_looked_for() {
    let sandbox = Sandbox::new();
    sandbox.script("handlers/NginxDown.sh", "#!/nowhere/bash\nexit 0\n");
    let body = notification(&[&nginx()]).to_string();
    let told = explained(&sandbox, body.as_bytes());
    let answer = sandbox.post(&nginx());
    let got = &answer.json()["results"][0];
    let alert = &told["alerts"][0];
    assert_eq!(told["status"], answer.code);
    for (member, word) in [
        ("verdict", "would"),
        ("settled", "settled"),
        ("attempt", "attempt"),
    ] {
        assert_eq!(got[member], alert[word], "{member}: {told}");
    }
    assert_eq!(got["verdict"], "error", "{got}");
    let detail = alert["detail"].as_str().unwrap();
    assert!(
        detail.ends_with("/handlers/NginxDown.sh: there is no /nowhere/bash"),
        "{detail}"
    );
    assert_eq!(gate(&told, "start"), [("stop", detail)]);
    // env(1) is there and finds nothing: that is a run, and a failed one.
    sandbox.script("handlers/NginxDown.sh", "#!/usr/bin/env no-such-shell\n");
    let told = explained(&sandbox, body.as_bytes());
    assert_eq!(told["alerts"][0]["would"], "run", "{told}");
    let (mark, saw) = gate(&told, "start")[0];
    assert!(
        mark == "note" && saw.contains("finds no no-such-shell in"),
        "{saw}"
    );
    sandbox.post(&nginx()).expect(503, &["failed"]);
    // A file without a first line for the kernel is bash's.
    sandbox.handler("NginxDown", "exit 0\n");
    let told = explained(&sandbox, body.as_bytes());
    assert!(gate(&told, "start").is_empty(), "{told}");
}

#[test]
fn a_list_that_cannot_be_used_is_what_is_to_be_mended() {
    let sandbox = Sandbox::new();
    let alert = heals(&sandbox);
    let body = notification(&[&alert]).to_string();
    let cure = || {
        let output = explain(&sandbox, &[], body.as_bytes());
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find(|line| line.contains("what to do: "));
        line.unwrap_or_else(|| panic!("{text}")).trim().to_owned()
    };
    sandbox.write("allowed.txt", "other\n");
    let list = sandbox.path("allowed.txt");
    assert_eq!(
        cure(),
        "what to do: if it should be healed: put it on the allow-list"
    );
    let unusable: [fn(&Path); 3] = [
        |list| chmod(list, 0o666),
        |list| fs::write(list, b"web-*\n\xff\n").unwrap(),
        |list| fs::remove_file(list).unwrap(),
    ];
    for spoil in unusable {
        sandbox.write("allowed.txt", "web-*\n");
        chmod(&list, 0o644);
        spoil(&list);
        assert_eq!(
            cure(),
            "what to do: mend what the detail names: until then the list (HEAL_ALLOWED_INSTANCES) allows nothing"
        );
    }
}

#[test]
fn root_that_may_not_become_the_healer_looks_at_nothing() {
    as_root();
    let sandbox = Sandbox::new();
    heals(&sandbox);
    drop(as_stranger(&sandbox));
    let mut command = Command::new("setpriv");
    command
        .args(["--bounding-set", "-setuid", "--inh-caps", "-setuid"])
        .arg(sandbox.path("self-heal"))
        .args(["explain", "--alert", "NginxDown", "--instance", "web-1"])
        .env_clear()
        .env("HEAL_CONF", sandbox.path("self-heal.conf"))
        .stdin(Stdio::null());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(111), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let state = sandbox.path("state");
    let why = format!(
        "self-heal explain: HEAL_STATE_DIR: {}: its owner cannot be become: Operation not permitted (os error 1)\n",
        state.display()
    );
    assert_eq!(String::from_utf8(output.stderr).unwrap(), why);
}

#[test]
fn a_request_is_refused_as_it_would_be_and_with_the_same_code() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let secret = "0123456789abcdef0123456789abcdef";
    let token = sandbox.write("token", secret);
    chmod(&token, 0o600);
    sandbox.set("HEAL_TOKEN_FILE", &token.display().to_string());
    let body = notification(&[&Alert::firing("NginxDown", "other")]).to_string();
    let length = format!("Content-Length: {}\r\n", body.len());
    let right = format!("Authorization: Bearer {secret}\r\n");
    let post = |fields: &[&str]| {
        format!(
            "POST / HTTP/1.1\r\nHost: x\r\n{}\r\n{body}",
            fields.concat()
        )
        .into_bytes()
    };
    for (request, code, name, saw) in [
        (post(&[&length, &right]), 200, "token", "is right"),
        (post(&[&length]), 401, "token", "is missing"),
        (
            post(&[&length, "Authorization: Bearer x\r\n"]),
            401,
            "token",
            "is wrong",
        ),
        (
            post(&[&length, &right, "Origin: http://x\r\n"]),
            403,
            "origin",
            "there is one: a browser was made to send it",
        ),
        (
            post(&[&length, &right, "Content-Type: text/plain\r\n"]),
            415,
            "content type",
            "text/plain",
        ),
        (
            post(&[&right]),
            411,
            "request",
            "411 Length Required: a notification needs Content-Length or chunked coding",
        ),
        (
            post(&[&length, &length, &right]),
            400,
            "request",
            "400 Bad Request: a field that may be there once is there twice",
        ),
        (
            post(&[&length, &right, "Expect: x\r\n"]),
            417,
            "method",
            "POST /",
        ),
        (
            post(&["Content-Length: 9000\r\n", &right]),
            400,
            "request",
            "400 Bad Request: the request was cut short",
        ),
        (
            post(&["Content-Length: 3\r\n", &right]),
            400,
            "body",
            "3 bytes",
        ),
        (
            b"DELETE /x HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            401,
            "method",
            "? /x",
        ),
        (
            b"POST / HTTP/2.0\r\n\r\n".to_vec(),
            505,
            "request",
            "505 HTTP Version Not Supported: only HTTP/1.0 and HTTP/1.1 are spoken here",
        ),
    ] {
        let shown = String::from_utf8_lossy(&request).into_owned();
        let output = explain(&sandbox, &["--json"], &request);
        let told = parsed(&output);
        let seen = gates_of(&told, name);
        assert!(seen.iter().any(|(_, text)| *text == saw), "{shown}\n{told}");
        assert_eq!(told["status"], code, "{shown}\n{told}");
        let exit = if code == 200 { 1 } else { 100 };
        assert_eq!(output.status.code(), Some(exit), "{shown}");
        assert!(!String::from_utf8_lossy(&output.stdout).contains(secret));
        let answer = Answer::parse(&sandbox.feed(&request).stdout);
        assert_eq!(answer.code, code, "{shown}");
    }
    let page = explain(&sandbox, &[], b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer 0123456789abcdef0123456789abcdef\r\n\r\n");
    let text = String::from_utf8(page.stdout).unwrap();
    assert!(
        text.contains("stop  method") && text.contains("there is no alert in it"),
        "{text}"
    );
    assert_eq!(page.status.code(), Some(1));
}

#[test]
fn what_is_no_payload_is_refused_with_what_is_wrong_with_it() {
    let sandbox = Sandbox::new();
    let posted = |body: &str| {
        let answer = sandbox.post_body(body);
        assert_eq!(answer.code, 400, "{body}");
        answer.json()["error"].as_str().unwrap().to_owned()
    };
    for body in [
        "[]",
        "{}",
        "{\"alerts\":[{}]}",
        "{\"alerts\":[],\"alerts\":[]}",
        "nonsense",
        "{",
    ] {
        let output = explain(&sandbox, &["--json"], body.as_bytes());
        assert_eq!(output.status.code(), Some(100), "{body}");
        let told = parsed(&output);
        let saw = gates_of(&told, "payload")[0].1.to_owned();
        assert_eq!(saw, format!("400 Bad Request: {}", posted(body)));
    }
    let nothing = explain(&sandbox, &[], b" \n");
    assert_eq!(nothing.status.code(), Some(100));
    let said = String::from_utf8(nothing.stderr).unwrap();
    assert!(said.contains("no payload on standard input"), "{said}");
    let empty = explain(&sandbox, &["--json"], b"{\"alerts\":[]}");
    assert_eq!(empty.status.code(), Some(1), "no alert would run");
    for words in [
        &["--alert", "A"][..],
        &["--instance", "i"],
        &["--label", "a=b"],
        &["--resolved"],
        &["--alert", "A", "--instance", "i", "--label", "ab"],
        &["--alert", "A", "--instance", "i", "--starts-at", "noon"],
        &["--alert", "A", "--alert", "B", "--instance", "i"],
        &["payload.json"],
    ] {
        let output = explain(&sandbox, words, b"");
        assert_eq!(output.status.code(), Some(100), "{words:?}: {output:?}");
        assert!(output.stdout.is_empty(), "{words:?}");
    }
}

#[test]
fn a_wrong_configuration_is_a_gate_with_its_line() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_SETTLE", "soon");
    sandbox.set("HEAL_LOCK_WAIT", "-1");
    let words = ["--json", "--alert", "NginxDown", "--instance", "web-1"];
    let output = explain(&sandbox, &words, b"");
    assert_eq!(output.status.code(), Some(100));
    let told = parsed(&output);
    let problems = gates_of(&told, "configuration");
    assert_eq!(problems.len(), 2, "{told}");
    let conf = sandbox.path("self-heal.conf").display().to_string();
    for (mark, saw) in problems {
        assert!(
            mark == "stop" && saw.starts_with(&format!("{conf}:")),
            "{saw}"
        );
    }
    assert_eq!(
        (&told["status"], &told["alerts"]),
        (&json!(503), &json!([]))
    );
}

#[test]
fn an_alert_that_is_named_is_judged_by_the_record_of_the_senders() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    sandbox.post(&nginx()).expect(503, &["failed"]);
    let words = ["--json", "--alert", "NginxDown", "--instance", "web-1:9113"];
    let told = parsed(&explain(&sandbox, &words, b""));
    let alert = &told["alerts"][0];
    assert_eq!(alert["attempt"], 2, "{told}");
    assert_eq!(alert["fingerprint"], nginx().fingerprint());
    assert_eq!(alert["key"], sha256(nginx().fingerprint().as_bytes()));
    let record = gate(&told, "record")[0].1;
    assert!(record.contains("1 of 3 failures"), "{record}");
    let resolved = [&words[..], &["--resolved"]].concat();
    let told = parsed(&explain(&sandbox, &resolved, b""));
    assert_eq!(told["alerts"][0]["would"], "resolved");
}

#[test]
fn each_gate_says_what_it_saw() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "allowed.txt",
        "# ours\nbad entry here\nweb-1 NginxDown # the edge\n",
    );
    sandbox.set("HEAL_RUN_LIMITS", "5/1h");
    let file = sandbox.path("kept").display().to_string();
    sandbox.handler(
        "NginxDown",
        &format!("# self-heal: timeout=30s settle=2m lock=instance snapshot={file}\nexit 0\n"),
    );
    let holder = locked(&sandbox.path("lock/slot-1.lock"));
    let told = explained(&sandbox, notification(&[&nginx()]).to_string().as_bytes());
    drop(holder);
    let here = |name: &str| sandbox.path(name).display().to_string();
    assert_eq!(
        gate(&told, "allow-list"),
        [(
            "ok",
            &*format!("{}:3: web-1 NginxDown # the edge", here("allowed.txt"))
        )]
    );
    let handler = gate(&told, "handler")[0].1;
    let digest = sha256(sandbox.read("handlers/NginxDown.sh").as_bytes());
    let path = here("handlers/NginxDown.sh");
    assert_eq!(
        handler,
        format!("{path} (mode 0755, owner root), sha256 {digest}")
    );
    let limits: Vec<&str> = gate(&told, "limit").iter().map(|(_, saw)| *saw).collect();
    assert_eq!(
        limits,
        [
            "timeout 30s (its directive)",
            "max-attempts 3 (HEAL_MAX_ATTEMPTS)",
            "attempt window 4h (HEAL_ATTEMPT_WINDOW)",
            "retry-delay 0s (HEAL_RETRY_DELAY)",
            "settle 2m (its directive)",
            "runs 5/1h (HEAL_RUN_LIMITS)",
        ]
    );
    let wishes: Vec<&str> = gate(&told, "directive")
        .iter()
        .map(|(_, saw)| *saw)
        .collect();
    assert_eq!(
        wishes,
        [
            "lock=instance, which snapshot= outranks: one run at a time",
            &format!("snapshot={file} (is not there)")
        ]
    );
    assert_eq!(
        gate(&told, "slot"),
        [("ok", "1 of 4 taken (HEAL_MAX_CONCURRENT)")]
    );
    assert_eq!(
        gate(&told, "storm"),
        [("ok", "0 of 30 runs within 10m (HEAL_STORM_LIMIT)")]
    );
    let list = gates_of(&told, "allow-list");
    assert!(list[0].1.contains("allowed.txt:2: "), "{list:?}");
    let run = &told["alerts"][0]["run"];
    assert_eq!(run["timeout_ms"], 30_000);
    assert_eq!(run["snapshot"], json!([file]));
    assert_eq!(run["locks"], json!([here("lock/heal-NginxDown.lock")]));
    assert_eq!(run["log"], here("log/NginxDown.log"));
}

#[test]
fn who_holds_the_lock_is_named_with_its_deadline() {
    let sandbox = Sandbox::new();
    let runs = Gate::new(&sandbox, "runs");
    sandbox.handler("NginxDown", &format!("{}exit 0\n", runs.line()));
    let posting = Posting::begin(&sandbox, &[&nginx()]);
    runs.wait_for(1);
    let pid = posting.pid();
    let other = Alert::firing("NginxDown", "web-2");
    let told = explained(
        &sandbox,
        notification(&[&nginx(), &other]).to_string().as_bytes(),
    );
    let [own, others] = [0, 1].map(|n| gates_of(&told["alerts"][n], "lock")[0].1.to_owned());
    for lock in [&own, &others] {
        assert!(
            lock.contains(&format!("supervised by process {pid}, until 20")),
            "{lock}"
        );
        assert!(
            lock.contains(&format!("; locked by process {pid}")),
            "{lock}"
        );
    }
    assert!(
        own.contains(", since 20") && !others.contains(", since 20"),
        "{own}\n{others}"
    );
    assert_eq!(told["alerts"][0]["detail"], "its own run has not ended");
    assert_eq!(told["status"], 503);
    runs.open();
    posting.answer().expect(200, &["healed"]);
}

/// Every file below, with all that a look could change of it but the time of access.
fn everything(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut next = vec![folder.to_owned()];
    while let Some(path) = next.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_dir() {
            next.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
        let times = [
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
        ];
        let what = format!("{:o} {} {times:?} {}", meta.mode(), meta.uid(), meta.size());
        found.insert(path, what);
    }
    found
}

#[test]
fn whoever_asks_nothing_is_changed() {
    as_root();
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    sandbox.handler("Other", "exit 0\n");
    install(
        sandbox.command().get_program().as_ref(),
        &sandbox.path("self-heal"),
        "755",
    );
    let alerts = [
        &nginx(),
        &Alert::firing("Other", "db-1"),
        &nginx().resolved(),
    ];
    let body = notification(&alerts).to_string();
    let look = |uid: u32| {
        for input in [
            request(&body),
            body.clone().into_bytes(),
            b"nonsense".to_vec(),
        ] {
            let mut command = Command::new("setpriv");
            command
                .args([format!("--reuid={uid}"), format!("--regid={uid}")])
                .arg("--clear-groups")
                .arg(sandbox.path("self-heal"))
                .args(["explain", "--json"])
                .env_clear()
                .env("HEAL_CONF", sandbox.path("self-heal.conf"));
            let output = feed(command, &input);
            assert!(output.stderr.is_empty(), "{output:?}");
        }
    };
    // On a host that never healed anything, then on one with records, a damaged one, and somebody's lock.
    for round in 0..2 {
        let before = everything(&sandbox.path(""));
        for uid in [0, STRANGER, NOBODY] {
            look(uid);
            assert_eq!(
                everything(&sandbox.path("")),
                before,
                "round {round}, uid {uid}"
            );
        }
        if round == 0 {
            let serve = as_stranger(&sandbox);
            sandbox.set("HEAL_ALLOW_ROOT", "no");
            let answer = feed(serve, &request(&body));
            Answer::parse(&answer.stdout).expect(503, &["failed", "healed", "resolved"]);
            fs::write(record_of(&sandbox, &Alert::firing("Other", "db-1")), "x").unwrap();
            let path = sandbox.path("lock/heal-NginxDown.lock");
            let held = locked(&path);
            chown(&path, Some(STRANGER), Some(STRANGER)).unwrap();
            std::mem::forget(held);
        }
    }
}

#[test]
fn a_handler_is_judged_as_the_account_that_serves_would_see_it() {
    as_root();
    let sandbox = Sandbox::new();
    drop(as_stranger(&sandbox));
    sandbox.set("HEAL_ALLOW_ROOT", "no");
    let handler = sandbox.handler("NginxDown", "exit 0\n");
    let asked = |uid: u32| {
        let mut command = Command::new("setpriv");
        command
            .args([format!("--reuid={uid}"), format!("--regid={uid}")])
            .arg("--clear-groups")
            .arg(sandbox.path("self-heal"))
            .args([
                "explain",
                "--json",
                "--alert",
                "NginxDown",
                "--instance",
                "web-1",
            ])
            .env_clear()
            .env("HEAL_CONF", sandbox.path("self-heal.conf"))
            .stdin(Stdio::null());
        parsed(&command.output().unwrap())
    };
    let would = |uid: u32| {
        asked(uid)["alerts"][0]["would"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    for uid in [0, STRANGER] {
        assert_eq!(would(uid), "run", "uid {uid}");
    }
    let account = gates_of(&asked(0), "account")[0].1.to_owned();
    assert!(
        account.starts_with(&format!("uid {STRANGER}, the owner of ")),
        "{account}"
    );
    // The healer's own file is fine, and a third account's is not, whoever asks.
    for (owner, expected) in [(STRANGER, "run"), (NOBODY, "unsafe-handler")] {
        chown(&handler, Some(owner), Some(owner)).unwrap();
        for uid in [0, STRANGER] {
            assert_eq!(would(uid), expected, "owner {owner}, uid {uid}");
        }
    }
    // Somebody else may not look at the records: he is told so, and nothing that could be wrong.
    chown(&handler, Some(0), Some(0)).unwrap();
    chmod(&sandbox.path("state"), 0o700);
    let told = asked(NOBODY);
    assert_eq!(told["alerts"][0]["would"], "unknown", "{told}");
    assert_eq!(gate(&told, "handler")[0].0, "ok");
    assert_eq!(gate(&told, "pause")[0].0, "unknown");
    // Root's own folder is served by nobody.
    run(Command::new("chown")
        .args(["-R", "0:0"])
        .arg(sandbox.path("state")));
    let told = asked(0);
    let (mark, saw) = gates_of(&told, "account")[0];
    assert!(
        mark == "stop" && saw.contains("refuses to serve as root"),
        "{told}"
    );
    assert_eq!(told["status"], 503);
}

#[test]
fn the_environment_that_is_shown_is_the_one_that_the_handler_gets() {
    let sandbox = Sandbox::new();
    let dump = sandbox.path("dump");
    let body = format!(
        "# self-heal: compat=amx\nenv -0 >{}\nexit 0\n",
        dump.display()
    );
    sandbox.handler("NginxDown", &body);
    let alert = nginx()
        .label("odd name", "a b\n'c'")
        .with("startsAt", json!("2026-01-02T03:04:05.678Z"));
    let mut posted = notification(&[&alert]);
    posted["groupLabels"] = json!({"job": "edge", "count": 3});
    let told = explained(&sandbox, posted.to_string().as_bytes());
    sandbox
        .post_body(&posted.to_string())
        .expect(200, &["healed"]);
    let mut got: BTreeMap<String, String> = sandbox
        .read("dump")
        .split_terminator('\0')
        .map(|pair| pair.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let shown = told["alerts"][0]["run"]["environment"].as_object().unwrap();
    let mut shown: BTreeMap<String, String> = shown
        .iter()
        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
        .collect();
    // What Bash sets itself, and what is of the moment.
    for name in ["PWD", "SHLVL", "_", "HEAL_RUN_ID", "HEAL_DEADLINE"] {
        got.remove(name);
        shown.remove(name);
    }
    assert_eq!(shown, got);
    let amx: Vec<String> = got
        .iter()
        .filter(|(name, _)| name.starts_with("AMX_"))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let fingerprint = format!("AMX_ALERT_1_FINGERPRINT={}", nginx().fingerprint());
    assert_eq!(
        amx,
        [
            "AMX_ALERT_1_ANNOTATION_summary=it is down",
            "AMX_ALERT_1_END=0",
            &fingerprint,
            "AMX_ALERT_1_LABEL_alertname=NginxDown",
            "AMX_ALERT_1_LABEL_heal=true",
            "AMX_ALERT_1_LABEL_instance=web-1:9113",
            "AMX_ALERT_1_LABEL_odd_name=a b\n'c'",
            "AMX_ALERT_1_START=1767323045",
            "AMX_ALERT_1_STATUS=firing",
            "AMX_ALERT_1_URL=http://prom:9090/graph",
            "AMX_ALERT_LEN=1",
            "AMX_ANNOTATION_summary=it is down",
            "AMX_EXTERNAL_URL=http://am:9093",
            "AMX_GLABEL_job=edge",
            "AMX_LABEL_alertname=NginxDown",
            "AMX_LABEL_heal=true",
            "AMX_LABEL_instance=web-1:9113",
            "AMX_LABEL_odd_name=a b\n'c'",
            "AMX_RECEIVER=self-heal",
            "AMX_STATUS=firing",
        ]
    );
}

#[test]
fn labels_of_the_group_are_told_as_far_as_they_can_be_read() {
    for group in [json!(null), json!([1]), json!("x"), json!({"a": {"b": 1}})] {
        let sandbox = Sandbox::new();
        sandbox.handler(
            "NginxDown",
            "# self-heal: compat=amx\n[[ ! -v AMX_GLABEL_a ]]\n",
        );
        let mut posted = notification(&[&nginx()]);
        posted["groupLabels"] = group;
        sandbox
            .post_body(&posted.to_string())
            .expect(200, &["healed"]);
    }
}

/// The text with what differs from run to run named instead.
fn plain(sandbox: &Sandbox, text: &str) -> String {
    let dir = sandbox.path("").display().to_string();
    let digest = sha256(sandbox.read("handlers/NginxDown.sh").as_bytes());
    let text = timeless(text)
        .replace(&dir, "DIR/")
        .replace(&digest, "SHA256");
    let line = |line: &str| {
        for name in ["HEAL_DEADLINE=", "HEAL_RUN_ID=", "input        "] {
            if let Some((before, _)) = line.split_once(name) {
                return format!("{before}{name}…\n");
            }
        }
        match line.split_once(" HOME=/") {
            Some((before, _)) => format!("{before} HOME=HOME\n"),
            None => format!("{line}\n"),
        }
    };
    text.lines().map(line).collect()
}

#[test]
fn for_a_person_it_is_one_line_a_gate_and_then_what_comes_of_it() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "# self-heal: max-attempts=2\nexit 0\n");
    let alerts = [
        &nginx().label("why", "it's\u{202e}"),
        &Alert::firing("NginxDown", "evil\u{1b}[2J"),
        &nginx().resolved(),
    ];
    let body = notification(&alerts).to_string();
    let output = explain(&sandbox, &[], body.as_bytes());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = plain(&sandbox, &String::from_utf8(output.stdout).unwrap());
    let expected =
        include_str!("explaining/person.txt").replace("<fingerprint>", nginx().fingerprint());
    assert_eq!(text, expected, "{text}");
}

#[test]
fn on_a_terminal_it_has_colours_and_in_a_pipe_none() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let words = ["--alert", "NginxDown", "--instance", "web-1"];
    let piped = explain(&sandbox, &words, b"");
    assert!(!piped.stdout.contains(&0x1b));
    let program = sandbox
        .command()
        .get_program()
        .to_string_lossy()
        .into_owned();
    let line = format!("{program} explain {}", words.join(" "));
    let mut terminal = Command::new("script");
    terminal
        .args(["--quiet", "--return", "--command", &line, "/dev/null"])
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm")
        .env("HEAL_CONF", sandbox.path("self-heal.conf"));
    let shown = run(&mut terminal);
    assert!(shown.contains("\u{1b}[32mok\u{1b}[0m"), "{shown}");
}
