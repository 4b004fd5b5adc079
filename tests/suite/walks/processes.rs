//! Walks whose point is processes side by side: the real executable, its handlers held by named pipes.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Child;

use nix::fcntl::OFlag;
use serde_json::{Value, json};

use crate::support::{Alert, Answer, Sandbox, notification, request, until};

/// A handler that writes down that it began, and waits to be told how to end.
struct Held<'a> {
    sandbox: &'a Sandbox,
}

impl<'a> Held<'a> {
    fn new(sandbox: &'a Sandbox, name: &str, directives: &str) -> Held<'a> {
        sandbox.set("HEAL_HANDLER_TIMEOUT", "60s");
        let folder = sandbox.path("");
        let folder = folder.display();
        let body = format!(
            "{directives}\ngate={folder}/gate-$1\nmkfifo -m 600 \"$gate\" 2>/dev/null\n\
             echo \"$1\" >>{folder}/begun\nread -r code <\"$gate\"\nexit \"$code\"\n"
        );
        sandbox.handler(name, &body);
        Held { sandbox }
    }

    fn begun(&self) -> usize {
        let text = fs::read_to_string(self.sandbox.path("begun")).unwrap_or_default();
        text.lines().count()
    }

    fn wait_until_begun(&self, runs: usize) {
        until("the handler begins", || {
            (self.begun() >= runs).then_some(())
        });
        assert_eq!(self.begun(), runs);
    }

    /// Lets the handler of this instance end with this code.
    fn end(&self, instance: &str, code: i32) {
        let gate = self.sandbox.path(&format!("gate-{instance}"));
        // Without a reader there is nothing to open yet (fifo(7), ENXIO).
        let mut gate = until("the handler waits", || {
            let mut options = fs::OpenOptions::new();
            options.write(true).custom_flags(OFlag::O_NONBLOCK.bits());
            options.open(&gate).ok()
        });
        writeln!(gate, "{code}").unwrap();
    }
}

/// Posts, and leaves the answer for later.
fn begin_post(sandbox: &Sandbox, body: &Value) -> Child {
    let mut child = sandbox.spawn();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(&request(&body.to_string())).unwrap();
    child
}

fn answer(child: Child) -> Answer {
    Answer::parse(&child.wait_with_output().unwrap().stdout)
}

fn nginx(instance: &str) -> Alert {
    Alert::firing("NginxDown", instance)
}

#[test]
fn ha_duplicate() {
    let sandbox = Sandbox::new();
    // Patience is for what others hold; one's own run is not waited for.
    sandbox.set("HEAL_LOCK_WAIT", "10m");
    let held = Held::new(&sandbox, "NginxDown", "");
    let alert = nginx("web-1:9113");
    let first = begin_post(&sandbox, &notification(&[&alert]));
    held.wait_until_begun(1);
    // The peer's copy after --cluster.peer-timeout: its own address, a start that may differ.
    let mut copy = notification(&[&alert.with("startsAt", json!("2026-01-01T00:00:00Z"))]);
    copy["externalURL"] = json!("http://am-2:9093");
    let duplicate = sandbox.post_body(&copy.to_string());
    duplicate.expect(503, &["busy"]);
    assert_eq!(duplicate.header("retry-after"), Some("30"));
    held.end("web-1:9113", 0);
    answer(first).expect(200, &["healed"]);
    sandbox
        .post_body(&copy.to_string())
        .expect(200, &["settling"]);
    assert_eq!((held.begun(), sandbox.runs("NginxDown")), (1, 1));
}

#[test]
fn reload_overlap() {
    let sandbox = Sandbox::new();
    let held = Held::new(&sandbox, "NginxDown", "");
    let alert = nginx("web-1:9113");
    let body = notification(&[&alert]);
    let (mut old, mut child) = sandbox.dial();
    old.write_all(&request(&body.to_string())).unwrap();
    held.wait_until_begun(1);
    // The new connection is there before the old one is given up.
    let (mut new, mut second) = sandbox.dial();
    new.write_all(&request(&body.to_string())).unwrap();
    drop(old);
    read_answer(new).expect(503, &["busy"]);
    second.wait().unwrap();
    assert!(
        child.try_wait().unwrap().is_none(),
        "the run goes on without its sender"
    );
    held.end("web-1:9113", 0);
    assert!(child.wait().unwrap().success());
    // Nobody read the outcome, and it is not lost.
    sandbox.post(&alert).expect(200, &["settling"]);
    sandbox.post(&alert.resolved()).expect(200, &["resolved"]);
    assert_eq!(sandbox.metric("self_heal_verified_total"), 1.0);
    assert_eq!((held.begun(), sandbox.runs("NginxDown")), (1, 1));
}

#[test]
fn a_sender_that_gives_up_at_its_deadline_starts_no_second_run() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_RETRY_DELAY", "1h");
    let held = Held::new(&sandbox, "NginxDown", "");
    let alert = nginx("web-1:9113");
    let (mut sender, mut child) = sandbox.dial();
    sender
        .write_all(&request(&notification(&[&alert]).to_string()))
        .unwrap();
    held.wait_until_begun(1);
    drop(sender);
    for _tick in 0..3 {
        sandbox.post(&alert).expect(503, &["busy"]);
    }
    held.end("web-1:9113", 1);
    child.wait().unwrap();
    sandbox.post(&alert).expect(503, &["waiting"]);
    assert_eq!(held.begun(), 1);
    assert!(
        sandbox.log().contains("verdict=failed"),
        "{}",
        sandbox.log()
    );
}

#[test]
fn resolved_in_mid_handler_is_answered_at_once_and_verifies_the_heal() {
    let sandbox = Sandbox::new();
    let held = Held::new(&sandbox, "NginxDown", "");
    let alert = nginx("web-1:9113");
    let post = begin_post(&sandbox, &notification(&[&alert]));
    held.wait_until_begun(1);
    sandbox.post(&alert.resolved()).expect(200, &["resolved"]);
    assert_eq!(sandbox.metric("self_heal_in_flight"), 1.0);
    held.end("web-1:9113", 0);
    answer(post).expect(200, &["healed"]);
    assert_eq!(sandbox.metric("self_heal_verified_total"), 1.0);
    sandbox.post(&alert).expect(200, &["settling"]);
}

#[test]
fn resolved_in_mid_handler_forgives_its_failure() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "1");
    let held = Held::new(&sandbox, "NginxDown", "");
    let alert = nginx("web-1:9113");
    let post = begin_post(&sandbox, &notification(&[&alert]));
    held.wait_until_begun(1);
    sandbox.post(&alert.resolved()).expect(200, &["resolved"]);
    held.end("web-1:9113", 2);
    answer(post).expect(200, &["resolved"]);
    assert!(!sandbox.log().contains("escalation"), "{}", sandbox.log());
    assert_eq!(
        sandbox.metric("self_heal_breakers_open{alertname=\"NginxDown\"}"),
        0.0
    );
}

#[test]
fn two_instances_of_one_alertname_wait_for_each_other_and_both_are_healed() {
    let sandbox = Sandbox::new();
    let held = Held::new(&sandbox, "NginxDown", "");
    let (one, two) = (nginx("web-1:9113"), nginx("web-2:9113"));
    let first = begin_post(&sandbox, &notification(&[&one]));
    held.wait_until_begun(1);
    let refused = sandbox.post(&two);
    refused.expect(503, &["busy"]);
    assert!(refused.detail().contains("lock"), "{}", refused.body);
    // The second one patient enough to see the first one end.
    sandbox.set("HEAL_LOCK_WAIT", "50s");
    let second = begin_post(&sandbox, &notification(&[&two]));
    held.end("web-1:9113", 0);
    answer(first).expect(200, &["healed"]);
    held.wait_until_begun(2);
    held.end("web-2:9113", 0);
    answer(second).expect(200, &["healed"]);
    let attempts: Vec<_> = sandbox
        .history()
        .iter()
        .map(|line| line["attempt"].clone())
        .collect();
    assert_eq!(attempts, [1, 1, 1, 1], "waiting is no attempt");
}

#[test]
fn two_instances_in_one_group_are_healed_one_after_the_other() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "echo \"$1\"\n");
    let (one, two) = (nginx("web-1:9113"), nginx("web-2:9113"));
    sandbox
        .post_all(&[&one, &two])
        .expect(200, &["healed", "healed"]);
    assert_eq!(
        sandbox.read("log/NginxDown.log"),
        "web-1:9113\nweb-2:9113\n"
    );
}

#[test]
fn two_instances_run_side_by_side_where_the_handler_says_so() {
    let sandbox = Sandbox::new();
    let held = Held::new(&sandbox, "NginxDown", "# self-heal: lock=instance");
    let (one, two) = (nginx("web-1:9113"), nginx("web-2:9113"));
    let first = begin_post(&sandbox, &notification(&[&one]));
    held.wait_until_begun(1);
    let second = begin_post(&sandbox, &notification(&[&two]));
    held.wait_until_begun(2);
    sandbox.post(&two).expect(503, &["busy"]);
    held.end("web-2:9113", 0);
    answer(second).expect(200, &["healed"]);
    held.end("web-1:9113", 0);
    answer(first).expect(200, &["healed"]);
}

#[test]
fn a_frozen_group_asked_again_runs_only_what_is_unsettled() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.handler("RedisDown", "exit 1\n");
    let (healed, failing) = (
        nginx("web-1:9113"),
        Alert::firing("RedisDown", "web-1:9121"),
    );
    let frozen = notification(&[&healed, &failing]).to_string();
    sandbox
        .post_body(&frozen)
        .expect(503, &["healed", "failed"]);
    sandbox
        .post_body(&frozen)
        .expect(503, &["settling", "failed"]);
    // The peer has seen the first one's end; the flush goes on with the payload of its beginning.
    sandbox.post(&healed.resolved()).expect(200, &["resolved"]);
    sandbox
        .post_body(&frozen)
        .expect(200, &["settling", "tripped"]);
    assert_eq!(
        (sandbox.runs("NginxDown"), sandbox.runs("RedisDown")),
        (1, 3)
    );
}

#[test]
fn a_truncated_group_is_loud_and_what_is_left_of_it_is_healed() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let mut cut = notification(&[&nginx("web-1:9113")]);
    // The status of the whole is computed from what was left; only an alert's own counts.
    cut["status"] = json!("resolved");
    cut["truncatedAlerts"] = json!(3);
    let told = sandbox.post_body(&cut.to_string());
    told.expect(200, &["healed"]);
    assert_eq!(told.json()["truncated"], 3);
    assert_eq!(sandbox.metric("self_heal_truncated_alerts_total"), 3.0);
    let log = sandbox.log();
    let loud = log
        .lines()
        .find(|line| line.contains("[ERROR] truncated alerts=3"));
    assert!(loud.is_some(), "{log}");
}

#[test]
fn a_real_truncated_payload_whose_status_lies_is_taken_alert_by_alert() {
    let sandbox = Sandbox::new();
    sandbox.handler("EdgeProxyDown", "exit 0\n");
    sandbox.write("allowed.txt", "edge-07.lan\n");
    let told = sandbox.post_body(include_str!("../../data/am_truncated_status_lies.json"));
    told.expect(200, &["resolved"]);
    assert_eq!(told.json()["truncated"], 3);
    assert_eq!(sandbox.runs("EdgeProxyDown"), 0);
}

/// The answer on a socket, up to its end.
fn read_answer(mut from: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    Answer::parse(&bytes)
}
