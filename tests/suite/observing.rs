//! The first week, and an operator's hand: everything is judged, nothing is run.

use std::process::Stdio;

use serde_json::Value;

use crate::support::{Alert, Sandbox, notification};

fn nginx() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

fn observations(sandbox: &Sandbox) -> Vec<Value> {
    let mut lines = sandbox.history();
    lines.retain(|line| line["event"] == "observed");
    lines
}

#[test]
fn observing_tells_what_would_run_and_runs_nothing() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_OBSERVE", "yes");
    let ran = sandbox.path("ran").display().to_string();
    let handler = sandbox.handler("NginxDown", &format!("touch {ran}\n"));
    let answer = sandbox.post(&nginx());
    answer.expect(200, &["observed"]);
    let command = format!(
        "{} web-1:9113 NginxDown {}",
        handler.canonicalize().unwrap().display(),
        nginx().fingerprint()
    );
    assert_eq!(
        answer.detail(),
        format!("observing; would run attempt 1: {command}")
    );
    let lines = observations(&sandbox);
    assert_eq!(lines.len(), 1);
    assert_eq!(lines[0]["would"], "run");
    assert_eq!(lines[0]["command"], command);
    assert_eq!(lines[0]["attempt"], 1);
    assert!(
        sandbox
            .log()
            .contains("[INFO] observed alertname=NginxDown")
    );
    assert_eq!(
        sandbox.metric("self_heal_alerts_total{alertname=\"NginxDown\",verdict=\"observed\"}"),
        1.0
    );
    assert!(!sandbox.path("ran").exists());
    let records = std::fs::read_dir(sandbox.path("state/records")).unwrap();
    assert_eq!(records.count(), 0, "nothing is counted");
    // Every gate before it holds; resolved is taken note of.
    sandbox
        .post(&Alert::firing("NginxDown", "other"))
        .expect(200, &["not-allowed"]);
    sandbox
        .post(&Alert::firing("Unknown", "web-1"))
        .expect(200, &["no-handler"]);
    sandbox.post(&nginx().resolved()).expect(200, &["resolved"]);
    // The week is over.
    sandbox.set("HEAL_OBSERVE", "no");
    sandbox.post(&nginx()).expect(200, &["healed"]);
    assert!(sandbox.path("ran").exists());
}

#[test]
fn observing_tells_what_else_the_answer_would_have_been() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 2\n");
    sandbox.post(&nginx()).expect(200, &["gave-up"]);
    sandbox.handler("NginxDown", "# self-heal: mode=observe\nexit 0\n");
    let answer = sandbox.post(&nginx());
    answer.expect(200, &["observed"]);
    assert!(
        answer
            .detail()
            .starts_with("observing; would answer tripped: breaker open"),
        "{}",
        answer.detail()
    );
    assert!(
        observations(&sandbox)[0]["would"]
            .as_str()
            .unwrap()
            .starts_with("tripped")
    );
    assert_eq!(sandbox.runs("NginxDown"), 1);
}

#[test]
fn one_handler_observes_and_the_others_heal() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "# self-heal: mode=observe\nexit 0\n");
    sandbox.handler("RedisDown", "exit 0\n");
    let redis = Alert::firing("RedisDown", "db-1");
    sandbox
        .post_all(&[&nginx(), &redis])
        .expect(200, &["observed", "healed"]);
}

#[test]
fn a_command_line_that_is_told_is_one_line_and_quoted() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_OBSERVE", "yes");
    sandbox.write("allowed.txt", "*\n");
    sandbox.handler("NginxDown", "exit 0\n");
    let odd = Alert::firing("NginxDown", "web-$(reboot)'x");
    let answer = sandbox.post(&odd);
    answer.expect(200, &["observed"]);
    assert!(
        answer.detail().contains(r"'web-$(reboot)'\''x'"),
        "{}",
        answer.detail()
    );
}

#[test]
fn a_pause_holds_back_who_it_names_and_resume_lists_them() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.handler("RedisDown", "exit 0\n");
    let redis = Alert::firing("RedisDown", "db-1");
    let words = [
        "pause",
        "--alert",
        "NginxDown",
        "--for",
        "2h",
        "--reason",
        "upgrade of nginx",
    ];
    let paused = sandbox.operate(&words);
    assert!(paused.status.success(), "{paused:?}");
    let answer = sandbox.post_all(&[&nginx(), &redis]);
    answer.expect(200, &["paused", "healed"]);
    let detail = answer.detail();
    assert!(
        detail.starts_with("paused by ") && detail.ends_with(": upgrade of nginx"),
        "{detail}"
    );
    assert_eq!(sandbox.runs("NginxDown"), 0);
    assert_eq!(sandbox.metric("self_heal_paused"), 1.0);
    let other = Alert::firing("NginxDown", "web-2");
    sandbox.post(&other).expect(200, &["paused"]);
    sandbox.post(&other.resolved()).expect(200, &["resolved"]);

    let resumed = sandbox.operate(&["resume"]);
    assert!(resumed.status.success(), "{resumed:?}");
    let said = String::from_utf8(resumed.stdout).unwrap();
    assert!(
        said.contains("NginxDown") && said.contains("web-1:9113"),
        "{said}"
    );
    assert!(!said.contains("web-2"), "it is over: {said}");
    sandbox.post(&nginx()).expect(200, &["healed"]);
    assert_eq!(sandbox.operate(&["resume"]).status.code(), Some(1));
}

#[test]
fn a_pause_whose_file_is_damaged_is_an_error_and_nothing_runs() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.post(&Alert::firing("NginxDown", "other"));
    sandbox.write("state/pauses", "nonsense");
    let answer = sandbox.post(&nginx());
    answer.expect(503, &["error"]);
    assert!(answer.detail().contains("pauses"), "{}", answer.detail());
    assert_eq!(sandbox.get("/-/ready").code, 503);
    assert_eq!(sandbox.runs("NginxDown"), 0);
}

#[test]
fn pausing_holds_no_run_that_is_under_way_and_needs_no_lock() {
    let sandbox = Sandbox::new();
    let gate = crate::stage::Gate::new(&sandbox, "runs");
    sandbox.handler("NginxDown", &format!("{}exit 0\n", gate.line()));
    let posting = crate::stage::Posting::begin(&sandbox, &[&nginx()]);
    gate.wait_for(1);
    assert!(
        sandbox
            .operate(&["pause", "--reason", "looking"])
            .status
            .success()
    );
    sandbox.post(&nginx()).expect(200, &["paused"]);
    gate.open();
    posting.answer().expect(200, &["healed"]);
}

#[test]
fn a_pause_reads_one_file_a_request() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.operate(&["pause", "--reason", "looking"]);
    let trace = sandbox.path("trace").display().to_string();
    let strace = ["strace", "-o", &trace, "-e", "trace=open,openat"];
    let mut command = crate::stage::through(&sandbox, &strace);
    command.stderr(Stdio::null());
    let alerts = [&nginx(), &Alert::firing("NginxDown", "web-2")];
    let body = crate::support::request(&notification(&alerts).to_string());
    crate::support::feed(command, &body);
    let traced = sandbox.read("trace");
    assert_eq!(
        crate::stage::lines_with(&traced, "state/pauses"),
        1,
        "{traced}"
    );
}
