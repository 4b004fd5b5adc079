//! The defects of the published Bash listener that this program stands in for, each with the test that
//! keeps it out. `docs/predecessor.md` has the table, and a test here holds the two together.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use self_heal::wire::records::hex_digest;
use serde_json::json;

use crate::support::{
    Alert, Answer, PROJECT, Sandbox, chmod, connection, notification, request, until,
};

fn nginx() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

/// A file of the project.
fn file(path: &str) -> String {
    fs::read_to_string(Path::new(PROJECT).join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// A lock that somebody else holds, with flock(2), as flock(1) does it.
fn hold(sandbox: &Sandbox, name: &str) -> File {
    let file = File::create(sandbox.path(&format!("lock/heal-{name}.lock"))).unwrap();
    file.lock().unwrap();
    file
}

/// Posts on a TCP connection whose sending side stays open, and reads until its end.
fn post_and_keep_open(sandbox: &Sandbox, bytes: &[u8]) -> Vec<u8> {
    let (mut client, mut child) = sandbox.dial();
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    client.write_all(bytes).unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    child.wait().unwrap();
    answer
}

#[test]
fn waits_for_eof() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let body = notification(&[&nginx()]).to_string();
    let answer = post_and_keep_open(&sandbox, &request(&body));
    Answer::parse(&answer).expect(200, &["healed"]);
}

#[test]
fn headers_fed_to_json() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let body = notification(&[&nginx()]).to_string();
    let head = "POST /x HTTP/1.1\r\nHost: a\r\nX-Odd: {\"alerts\":[]}\r\nContent-Length: ";
    let whole = format!("{head}{}\r\n\r\n{body}", body.len());
    Answer::parse(&sandbox.feed(whole.as_bytes()).stdout).expect(200, &["healed"]);
}

#[test]
fn logs_into_the_response() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "echo loud; echo louder >&2\n");
    let output = sandbox.feed(&request(&notification(&[&nginx()]).to_string()));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    // Its Content-Length is all there is.
    Answer::parse(&output.stdout).expect(200, &["healed"]);
    assert!(!text.contains("[INFO]") && !text.contains("loud"), "{text}");
    assert!(sandbox.log().contains("verdict=healed"));
    assert_eq!(sandbox.read("log/NginxDown.log"), "loud\nlouder\n");
}

#[test]
fn variables_not_exported() {
    let sandbox = Sandbox::new();
    sandbox.handler(
        "NginxDown",
        "echo \"$HEAL_ATTEMPT of $HEAL_MAX_ATTEMPTS\"; exit 1\n",
    );
    // An empty environment but for the file: limits and folders are there all the same.
    sandbox.post(&nginx()).expect(503, &["failed"]);
    sandbox.post(&nginx()).expect(503, &["failed"]);
    assert_eq!(sandbox.read("log/NginxDown.log"), "1 of 3\n2 of 3\n");
}

#[test]
fn one_alert_per_post_assumed() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let alerts = ["web-1", "web-2", "web-3"].map(|i| Alert::firing("NginxDown", i));
    let alerts: Vec<&Alert> = alerts.iter().collect();
    sandbox
        .post_all(&alerts)
        .expect(200, &["healed", "healed", "healed"]);
    let mut cut = notification(&alerts[..1]);
    cut["truncatedAlerts"] = json!(2);
    sandbox.post_body(&cut.to_string());
    assert!(sandbox.log().contains("[ERROR] truncated alerts=2"));
    let shipped = file("deploy/alertmanager/alertmanager.yml");
    assert!(shipped.lines().any(|line| line.trim() == "max_alerts: 0"));
}

#[test]
fn substring_whitelist() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.write("allowed.txt", "web-10\n");
    for near in [
        "web-1",
        "eb-10",
        "web-100",
        "web-10.evil",
        ".",
        "",
        "web-1\n0",
    ] {
        sandbox
            .post(&Alert::firing("NginxDown", near))
            .expect(200, &["not-allowed"]);
    }
    assert_eq!(sandbox.runs("NginxDown"), 0);
    sandbox
        .post(&Alert::firing("NginxDown", "web-10"))
        .expect(200, &["healed"]);
}

#[test]
fn missing_field_is_null() {
    let sandbox = Sandbox::new();
    for name in ["null", "NginxDown"] {
        sandbox.handler(name, "exit 0\n");
    }
    sandbox.write("allowed.txt", "null\nweb-1\n");
    let nameless = nginx().with("labels", json!({"instance": "web-1"}));
    sandbox.post(&nameless).expect(200, &["no-handler"]);
    let placeless = nginx().with("labels", json!({"alertname": "NginxDown"}));
    let answer = sandbox.post(&placeless);
    answer.expect(200, &["not-allowed"]);
    assert_eq!(answer.json()["results"][0]["instance"], "");
    assert_eq!(sandbox.history().len(), 0);
}

#[test]
fn path_from_payload() {
    let sandbox = Sandbox::new();
    sandbox.script("evil.sh", "#!/bin/bash\nexit 0\n");
    sandbox.handler("Good", "exit 0\n");
    for name in [
        "../evil",
        "../evil.sh",
        "..",
        "./Good",
        "x/../Good",
        "/bin/true",
        "Good\0",
        "",
    ] {
        sandbox
            .post(&Alert::firing(name, "web-1"))
            .expect(200, &["no-handler"]);
    }
    assert_eq!(sandbox.history().len(), 0);
    let locks = fs::read_dir(sandbox.path("lock")).unwrap().count();
    assert_eq!(locks, 0, "no name became a file");
}

#[test]
fn count_before_lock() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    let lock = hold(&sandbox, "NginxDown");
    for _more_often_than_there_are_attempts in 0..4 {
        sandbox.post(&nginx()).expect(503, &["busy"]);
    }
    drop(lock);
    let answer = sandbox.post(&nginx());
    answer.expect(503, &["failed"]);
    assert_eq!(answer.json()["results"][0]["attempt"], 1);
}

#[test]
fn lock_conflict_is_failure() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "1");
    sandbox.handler("NginxDown", "exit 1\n");
    let lock = hold(&sandbox, "NginxDown");
    let busy = sandbox.post(&nginx());
    busy.expect(503, &["busy"]);
    assert!(busy.detail().contains("lock"), "{}", busy.body);
    drop(lock);
    // The handler's own exit 1 is the failure that counts, and the only one.
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    assert_eq!(
        sandbox.metric("self_heal_runs_total{alertname=\"NginxDown\",outcome=\"failed\"}"),
        1.0
    );
}

#[test]
fn other_instances_lost() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let lock = hold(&sandbox, "NginxDown");
    let alerts = ["web-1", "web-2"].map(|i| Alert::firing("NginxDown", i));
    for alert in &alerts {
        let answer = sandbox.post(alert);
        answer.expect(503, &["busy"]);
        assert!(
            answer.header("retry-after").is_some(),
            "the sender is told to come back"
        );
    }
    drop(lock);
    for alert in &alerts {
        sandbox.post(alert).expect(200, &["healed"]);
    }
}

#[test]
fn failure_is_final() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_RETRY_DELAY", "1h");
    sandbox.handler("NginxDown", "exit 1\n");
    let failed = sandbox.post(&nginx());
    failed.expect(503, &["failed"]);
    assert!(failed.header("retry-after").is_some());
    sandbox.post(&nginx()).expect(503, &["waiting"]);
    sandbox.set("HEAL_RETRY_DELAY", "0");
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.post(&nginx()).expect(200, &["healed"]);
}

#[test]
fn exit_two_ignored() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 2\n");
    sandbox.post(&nginx()).expect(200, &["gave-up"]);
    assert!(
        sandbox.log().contains("[ERROR] escalation "),
        "{}",
        sandbox.log()
    );
    assert!(sandbox.log().contains("reason=gave-up"));
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    assert_eq!(sandbox.runs("NginxDown"), 1);
}

#[test]
fn success_without_effect() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_SETTLE", "1ms");
    sandbox.handler("NginxDown", "exit 0\n");
    let mut seen = Vec::new();
    while seen.last().is_none_or(|last| last != "tripped") {
        seen.extend(sandbox.post(&nginx()).verdicts());
        assert!(seen.len() < 20, "{seen:?}");
    }
    seen.retain(|verdict| verdict != "settling");
    assert_eq!(seen, ["healed", "healed", "healed", "tripped"]);
    assert_eq!(sandbox.metric("self_heal_ineffective_total"), 3.0);
}

#[test]
fn counter_never_expires() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "1");
    sandbox.set("HEAL_ATTEMPT_WINDOW", "1s");
    sandbox.handler("NginxDown", "exit 1\n");
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    sandbox.handler("NginxDown", "exit 0\n");
    let last = until("the window passes and one attempt is let through", || {
        let verdicts = sandbox.post(&nginx()).verdicts();
        (verdicts != ["tripped"]).then_some(verdicts)
    });
    assert_eq!(last, ["healed"]);
    assert_eq!(sandbox.runs("NginxDown"), 2);
}

#[test]
fn counters_in_tmp() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    fs::remove_dir(sandbox.path("state")).unwrap();
    sandbox.post(&nginx()).expect(503, &["failed"]);
    let key = hex_digest(nginx().fingerprint().as_bytes());
    assert_eq!(key.len(), 64, "the whole hash");
    let mode = |path: &str| fs::metadata(sandbox.path(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("state"), mode("state/records")), (0o700, 0o700));
    let record = format!("state/records/{key}");
    assert_eq!(mode(&record), 0o600);
    // A link in its place is not followed, and nothing runs on the strength of it.
    let target = sandbox.path("target");
    fs::rename(sandbox.path(&record), &target).unwrap();
    let before = fs::read(&target).unwrap();
    symlink(&target, sandbox.path(&record)).unwrap();
    sandbox.post(&nginx()).expect(503, &["error"]);
    assert_eq!(fs::read(&target).unwrap(), before);
    fs::remove_file(sandbox.path(&record)).unwrap();
    // Nor is anything kept where others may write.
    chmod(&sandbox.path("state"), 0o777);
    assert_eq!(sandbox.post(&nginx()).code, 503);
    assert_eq!(sandbox.runs("NginxDown"), 1);
}

#[test]
fn exit_status_lost() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 37\n");
    sandbox.post(&nginx()).expect(503, &["failed"]);
    sandbox.handler("NginxDown", "kill -SEGV $$\n");
    sandbox.post(&nginx()).expect(503, &["failed"]);
    let history = sandbox.history();
    let results: Vec<_> = history
        .iter()
        .filter(|line| line["event"] == "result")
        .collect();
    assert_eq!(
        (&results[0]["exit"], &results[0]["outcome"]),
        (&json!(37), &json!("failed"))
    );
    assert_eq!(
        (&results[1]["exit"], &results[1]["outcome"]),
        (&json!(null), &json!("signal"))
    );
}

/// Today a page is an ERROR line in the log and in syslog, once per opening; and the shipped Alertmanager
/// configuration pages a person on a route of its own.
#[test]
fn trip_never_pages() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "2");
    sandbox.handler("NginxDown", "exit 1\n");
    sandbox.recorder();
    sandbox.post(&nginx()).expect(503, &["failed"]);
    assert_eq!(sandbox.paged(), []);
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    let told = |action: &str| (action.to_owned(), "failures".to_owned());
    assert_eq!(sandbox.paged(), [told("trigger")]);
    let pages = |event: &str| {
        sandbox
            .log()
            .matches(&format!(" {event} alertname=NginxDown"))
            .count()
    };
    assert_eq!(pages("[ERROR] escalation"), 1, "{}", sandbox.log());
    assert!(sandbox.log().contains("reason=failures"));
    sandbox.post(&nginx().resolved()).expect(200, &["resolved"]);
    assert_eq!(pages("[INFO] escalation_over"), 1, "{}", sandbox.log());
    assert_eq!(sandbox.paged(), [told("trigger"), told("resolve")]);
    let rules = file("deploy/prometheus/self-heal.rules.yml");
    assert!(rules.contains("alert: SelfHealBreakerOpen"));
}

#[test]
fn torn_counter() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_LOCK_WAIT", "60s");
    sandbox.set("HEAL_MAX_ATTEMPTS", "100");
    sandbox.set("HEAL_RUN_LIMITS", "100/1h");
    sandbox.handler("NginxDown", "exit 1\n");
    let body = request(&notification(&[&nginx()]).to_string());
    let posts: Vec<Child> = (0..12)
        .map(|_| {
            let mut child = sandbox.spawn();
            child.stdin.take().unwrap().write_all(&body).unwrap();
            child
        })
        .collect();
    for post in posts {
        Answer::parse(&post.wait_with_output().unwrap().stdout);
    }
    let history = sandbox.history();
    let intents = history.iter().filter(|line| line["event"] == "intent");
    let attempts: Vec<u64> = intents
        .map(|line| line["attempt"].as_u64().unwrap())
        .collect();
    let expected: Vec<u64> = (1..=attempts.len() as u64).collect();
    assert_eq!(attempts, expected, "each counts on from the one before");
    assert!(!attempts.is_empty());
}

#[test]
fn handler_inherits_connection() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exec ls -l /proc/self/fd\n");
    let body = request(&notification(&[&nginx()]).to_string());
    Answer::parse(&post_and_keep_open(&sandbox, &body)).expect(200, &["healed"]);
    let log = sandbox.path("log/NginxDown.log").display().to_string();
    let lock = sandbox
        .path("lock/heal-NginxDown.lock")
        .display()
        .to_string();
    let seen = sandbox.read("log/NginxDown.log");
    let mut open = Vec::new();
    for (left, target) in seen.lines().filter_map(|line| line.split_once(" -> ")) {
        let fd = left.rsplit(' ').next().unwrap();
        open.push(match (fd, target) {
            ("0", target) if target.contains("memfd:alert") => "the alert",
            ("1" | "2", target) if target == log => "the log",
            (_, target) if target == lock => "the lock",
            (_, target) if target.ends_with("/fd") => "what ls reads",
            _ => panic!("{seen}"),
        });
    }
    open.sort_unstable();
    assert_eq!(
        open,
        [
            "the alert",
            "the lock",
            "the log",
            "the log",
            "what ls reads"
        ],
        "{seen}"
    );
    sandbox.handler("RedisDown", "cat\n");
    sandbox
        .post(&Alert::firing("RedisDown", "web-1"))
        .expect(200, &["healed"]);
    assert!(sandbox.read("log/RedisDown.log").contains("\"alert\":{"));
}

#[test]
fn daemon_keeps_lock() {
    let sandbox = Sandbox::new();
    let pid = sandbox.path("daemon.pid");
    let daemon = format!(
        "setsid sleep 300 </dev/null >/dev/null 2>&1 &\necho $! >{}\n",
        pid.display()
    );
    sandbox.handler("NginxDown", &daemon);
    sandbox.post(&nginx()).expect(200, &["healed"]);
    let pid = sandbox.read("daemon.pid").trim().to_owned();
    let fds = fs::read_dir(format!("/proc/{pid}/fd")).expect("the daemon lives");
    let lock = sandbox.path("lock/heal-NginxDown.lock");
    let has_lock = fds
        .flatten()
        .any(|fd| fs::read_link(fd.path()).is_ok_and(|target| target == lock));
    assert!(
        has_lock,
        "a daemon that closes everything would prove nothing"
    );
    let free = File::open(&lock).unwrap().try_lock();
    Command::new("kill").arg(&pid).status().unwrap();
    free.expect("the lock is free although the daemon has it open");
}

#[test]
fn no_timeout() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_KILL_GRACE", "0");
    sandbox.handler(
        "NginxDown",
        "# self-heal: timeout=1s\ntrap '' TERM\nsleep 300\n",
    );
    let answer = sandbox.post(&nginx());
    answer.expect(503, &["failed"]);
    assert!(answer.detail().contains("timeout"), "{}", answer.body);
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.post(&nginx()).expect(200, &["healed"]);
}

#[test]
fn no_limits() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_BODY", "1KiB");
    sandbox.set("HEAL_REQUEST_TIMEOUT", "1s");
    assert_eq!(sandbox.post_body(&"x".repeat(1025)).code, 413);
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "A: b\r\n".repeat(64));
    assert_eq!(
        Answer::parse(&sandbox.feed(many.as_bytes()).stdout).code,
        431
    );
    // A client that says nothing more.
    let silent = post_and_keep_open(&sandbox, b"POST / HTTP/1.1\r\n");
    assert_eq!(Answer::parse(&silent).code, 408);
}

#[test]
fn any_local_user() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let secret = "0123456789abcdef0123456789abcdef";
    chmod(&sandbox.write("token", secret), 0o600);
    sandbox.set(
        "HEAL_TOKEN_FILE",
        &sandbox.path("token").display().to_string(),
    );
    assert_eq!(sandbox.post(&nginx()).code, 401);
    let plain = String::from_utf8(request(&notification(&[&nginx()]).to_string())).unwrap();
    let shown = plain.replacen(
        "Host:",
        &format!("Authorization: Bearer {secret}\r\nHost:"),
        1,
    );
    Answer::parse(&sandbox.feed(shown.as_bytes()).stdout).expect(200, &["healed"]);
    sandbox.set("HEAL_TOKEN_FILE", "");
    // Our own connection, and only another's would do.
    let own = fs::metadata("/proc/self").unwrap().uid();
    sandbox.set("HEAL_ALLOW_USERS", &(own + 1).to_string());
    assert_eq!(
        Answer::parse(&post_and_keep_open(&sandbox, plain.as_bytes())).code,
        403
    );
    sandbox.set("HEAL_ALLOW_USERS", &own.to_string());
    assert_eq!(
        Answer::parse(&post_and_keep_open(&sandbox, plain.as_bytes())).code,
        200
    );
}

#[test]
fn unescaped_log() {
    let sandbox = Sandbox::new();
    let forged = "web-1\n2026-01-01T00:00:00Z [INFO] alert verdict=healed \u{1b}[2J\u{202e}";
    sandbox
        .post(&Alert::firing("NginxDown", forged))
        .expect(200, &["not-allowed"]);
    let log = sandbox.log();
    let alerts: Vec<&str> = log
        .lines()
        .filter(|line| line.contains("] alert "))
        .collect();
    assert_eq!(alerts.len(), 1, "{log}");
    assert!(alerts[0].contains("verdict=not-allowed"), "{log}");
    assert!(
        log.bytes()
            .all(|b| b == b'\n' || b == b' ' || b.is_ascii_graphic()),
        "{log:?}"
    );
}

#[test]
fn healer_down_nobody_paged() {
    let route = Command::new("amtool")
        .args(["config", "routes", "test", "--config.file"])
        .arg(Path::new(PROJECT).join("deploy/alertmanager/alertmanager.yml"))
        .args(["heal=true", "alertname=NginxDown"])
        .output()
        .expect("amtool (Debian: prometheus-alertmanager) is needed");
    assert_eq!(
        String::from_utf8_lossy(&route.stdout).trim(),
        "people,self-heal"
    );
    let shipped = file("deploy/alertmanager/alertmanager.yml");
    // The person's route waits, so that an alert that is healed by then pages nobody.
    let (people, healer) = shipped.split_once("      receiver: self-heal\n").unwrap();
    assert!(people.contains("group_wait: 15m") && people.contains("continue: true"));
    assert!(healer.contains("group_wait: 10s"));
}

#[test]
fn inhibit_never_matches() {
    let shipped = file("deploy/alertmanager/alertmanager.yml");
    let (_, inhibit) = shipped.split_once("\ninhibit_rules:\n").unwrap();
    assert!(
        inhibit.contains("equal: [host]") && !inhibit.contains("equal: [instance]"),
        "{inhibit}"
    );
    // The label that both sides carry, from each target's address without its port.
    let targets = file("deploy/prometheus/prometheus.yml");
    assert!(targets.contains("target_label: host"), "{targets}");
}

#[test]
fn rotation_loses_lines() {
    let sandbox = Sandbox::new();
    let post = |instance: &str| sandbox.post(&Alert::firing("NginxDown", instance));
    post("web-1");
    fs::rename(
        sandbox.path("log/listener.log"),
        sandbox.path("log/listener.log.1"),
    )
    .unwrap();
    post("web-2");
    assert!(
        sandbox
            .read("log/listener.log.1")
            .contains("instance=web-1")
    );
    let log = sandbox.log();
    assert!(
        log.contains("instance=web-2") && !log.contains("instance=web-1"),
        "{log}"
    );
    // copytruncate: what is written next stands at the beginning, not behind a hole.
    File::create(sandbox.path("log/listener.log")).unwrap();
    post("web-3");
    let log = sandbox.log();
    assert!(
        log.contains("instance=web-3") && !log.contains('\0'),
        "{log:?}"
    );
}

#[test]
fn arithmetic_runs_code() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    sandbox.post(&nginx()).expect(503, &["failed"]);
    let planted = format!("a[$(touch {})]\n", sandbox.path("pwned").display());
    let key = hex_digest(nginx().fingerprint().as_bytes());
    fs::write(sandbox.path(&format!("state/records/{key}")), &planted).unwrap();
    sandbox.post(&nginx()).expect(503, &["error"]);
    assert!(!sandbox.path("pwned").exists());
    assert_eq!(sandbox.runs("NginxDown"), 1, "unknown is not zero");
    let kept = fs::read_dir(sandbox.path("state/damaged"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(fs::read_to_string(kept.path()).unwrap(), planted);
}

#[test]
fn whitelist_option_injection() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.write("allowed.txt", "web-1\n-V\n--help\n-\n");
    for odd in [
        "-V", "--help", "-", "-e", "x\nweb-1", "web-1\nx", "web-1 ", " web-1",
    ] {
        sandbox
            .post(&Alert::firing("NginxDown", odd))
            .expect(200, &["not-allowed"]);
    }
    assert_eq!(sandbox.runs("NginxDown"), 0);
}

#[test]
fn length_of_a_number() {
    let sandbox = Sandbox::new();
    for body in [
        "{\"alerts\":40}",
        "{\"alerts\":1e9}",
        "{\"alerts\":99999999999999999999}",
        "{\"alerts\":\"x\"}",
        "{\"alerts\":{}}",
        "{\"alerts\":null}",
        "{}",
        "[]",
        "40",
    ] {
        let answer = sandbox.post_body(body);
        assert_eq!(answer.code, 400, "{body}: {}", answer.body);
    }
    assert!(!sandbox.log().contains("] alert "), "{}", sandbox.log());
}

#[test]
fn port_never_matches() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.write("allowed.txt", "web-1\nweb-2:9113\n[fd00::7]\n");
    for good in ["web-1:9113", "web-1", "web-2:9113", "[fd00::7]:9100"] {
        sandbox
            .post(&Alert::firing("NginxDown", good))
            .expect(200, &["healed"]);
    }
    sandbox
        .post(&Alert::firing("NginxDown", "web-2:9100"))
        .expect(200, &["not-allowed"]);
}

#[test]
fn folders_never_made() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    for folder in ["log", "lock", "state"] {
        fs::remove_dir(sandbox.path(folder)).unwrap();
    }
    sandbox.post(&nginx()).expect(200, &["healed"]);
    // Where its parent is missing as well: which folder, in the answer, in the log and in /-/ready.
    let folder = sandbox.path("missing/state").display().to_string();
    sandbox.set("HEAL_STATE_DIR", &folder);
    let answer = sandbox.post(&nginx());
    assert_eq!(answer.code, 503);
    assert!(answer.body.contains(&folder), "{}", answer.body);
    assert!(sandbox.log().contains(&folder));
    assert!(sandbox.get("/-/ready").body.contains(&folder));
    let shipped = file("deploy/tmpfiles.d/self-heal.conf");
    for folder in [
        "/var/log/self-heal",
        "/run/lock/self-heal",
        "/var/lib/self-heal",
    ] {
        assert!(shipped.contains(&format!("d {folder} ")), "{folder}");
    }
}

#[test]
fn kept_connection() {
    let sandbox = Sandbox::new();
    let (mut client, server) = connection();
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // A spawner that keeps a copy, as systemd does: close(2) alone would not end anything.
    let copy = server.try_clone().unwrap();
    let mut child = sandbox.serve_on(server);
    client
        .write_all(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
        .unwrap();
    let mut read = Vec::new();
    client.read_to_end(&mut read).unwrap();
    let answer = Answer::parse(&read);
    assert_eq!(
        (answer.code, answer.header("connection")),
        (200, Some("close"))
    );
    drop(copy);
    child.wait().unwrap();
}

#[test]
fn backlog_of_five() {
    let mut listeners = 0;
    let mut folders = vec![Path::new(PROJECT).join("deploy")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for line in text
                .lines()
                .filter(|line| line.contains("-LISTEN:") && !line.contains("demo"))
            {
                assert!(line.contains("backlog=4096"), "{}: {line}", path.display());
                listeners += 1;
            }
        }
    }
    assert!(listeners > 0);
    assert!(file("deploy/systemd/self-heal.socket").contains("\nBacklog=4096\n"));
    let help = Command::new(crate::support::PROGRAM)
        .args(["help", "serve"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8(help.stdout)
            .unwrap()
            .contains("backlog=4096")
    );
}

#[test]
fn shebang_ignored() {
    let sandbox = Sandbox::new();
    sandbox.script(
        "handlers/NginxDown.sh",
        "#!/usr/bin/perl\nprint \"perl $ARGV[0]\\n\"; exit 0;\n",
    );
    sandbox.post(&nginx()).expect(200, &["healed"]);
    assert_eq!(sandbox.read("log/NginxDown.log"), "perl web-1:9113\n");
    sandbox.script("handlers/Plain.sh", "[[ $BASH_VERSION ]] && echo bash\n");
    sandbox
        .post(&Alert::firing("Plain", "web-1"))
        .expect(200, &["healed"]);
    assert_eq!(sandbox.read("log/Plain.log"), "bash\n");
}

#[test]
fn the_page_and_the_tests_name_the_same_defects() {
    let page = file("docs/predecessor.md");
    let rows: Vec<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `"))
        .collect();
    let mut named: Vec<&str> = rows
        .iter()
        .map(|row| row.split('`').next().unwrap())
        .collect();
    for row in &rows {
        let name = row.split('`').next().unwrap();
        assert!(
            row.ends_with(&format!("| `predecessor::{name}` |")),
            "{row}"
        );
    }
    let source = file("tests/suite/predecessor.rs");
    let mut tests: Vec<&str> = source
        .split("#[test]\nfn ")
        .skip(1)
        .map(|rest| rest.split('(').next().unwrap())
        .filter(|name| *name != "the_page_and_the_tests_name_the_same_defects")
        .collect();
    named.sort_unstable();
    tests.sort_unstable();
    assert_eq!(named, tests);
    assert_eq!(named.len(), 36);
}
