//! From the decision that a person is told to the program that tells him: what a page says, that there is one
//! for each incident, and that nothing in between loses or doubles it.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::stage::{Posting, through};
use crate::support::{Alert, Answer, Sandbox, chmod, feed, notification, request, until};
use crate::tracing::{Fault, behind, calls, came_to_pass, strace, strace_with};

fn nginx() -> Alert {
    Alert::firing("NginxDown", "web-1:9113").label("severity", "critical")
}

/// A sandbox whose first failure opens the breaker.
fn one_attempt() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "1");
    sandbox.handler("NginxDown", "echo it is broken; exit 1\n");
    sandbox.recorder();
    sandbox
}

fn paged(sandbox: &Sandbox) -> Vec<(String, String)> {
    sandbox.paged()
}

fn told(action: &str, reason: &str) -> (String, String) {
    (action.to_owned(), reason.to_owned())
}

#[test]
fn a_page_says_what_was_tried_and_ends_with_resolved() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "2");
    sandbox.handler("NginxDown", "echo try $HEAL_ATTEMPT of $2; exit 3\n");
    sandbox.recorder();
    let annotations = json!({"runbook_url": "https://wiki.example/nginx"});
    let alert = nginx().with("annotations", annotations);
    sandbox.post(&alert).expect(503, &["failed"]);
    assert_eq!(sandbox.pages(), [] as [Value; 0]);
    sandbox.post(&alert).expect(200, &["tripped"]);
    sandbox.post(&alert).expect(200, &["tripped"]);
    let pages = sandbox.pages();
    assert_eq!(pages.len(), 1, "{pages:?}");
    let page = &pages[0];
    for (pointer, value) in [
        ("/action", json!("trigger")),
        ("/reason", json!("failures")),
        ("/alert/alertname", json!("NginxDown")),
        ("/alert/instance", json!("web-1:9113")),
        ("/alert/fingerprint", json!(alert.fingerprint())),
        ("/labels/severity", json!("critical")),
        (
            "/annotations/runbook_url",
            json!("https://wiki.example/nginx"),
        ),
        ("/attempts/0/attempt", json!(1)),
        ("/attempts/0/exit", json!(3)),
        ("/attempts/1/attempt", json!(2)),
        ("/attempts/1/outcome", json!("failed")),
        // The output of the last run alone.
        ("/output", json!("try 2 of NginxDown\n")),
        ("/links/0/text", json!("generator")),
        ("/links/1/href", json!("https://wiki.example/nginx")),
        ("/receiver", json!("self-heal")),
    ] {
        assert_eq!(page.pointer(pointer), Some(&value), "{pointer}: {page:#}");
    }
    let runs: Vec<Value> = sandbox
        .history()
        .into_iter()
        .filter(|line| line["event"] == "intent")
        .map(|line| line["run_id"].clone())
        .collect();
    assert_eq!(page["attempts"][1]["run_id"], runs[1]);
    let key = page["dedup_key"].as_str().unwrap();
    assert!(sandbox.path(&format!("state/records/{key}")).exists());

    sandbox.post(&alert.resolved()).expect(200, &["resolved"]);
    sandbox.post(&alert.resolved()).expect(200, &["resolved"]);
    let pages = sandbox.pages();
    assert_eq!(pages.len(), 2, "{pages:?}");
    assert_eq!(pages[1]["action"], "resolve");
    assert_eq!(pages[1]["dedup_key"], page["dedup_key"]);
    assert_eq!(pages[1]["reason"], "failures");

    // The commands of the page do what they say.
    sandbox.post(&nginx().with("startsAt", json!(crate::support::rfc3339(5))));
    let commands = page["commands"].as_array().unwrap();
    let reset = commands[2].as_str().unwrap();
    let words: Vec<&str> = reset
        .strip_prefix("sudo self-heal ")
        .unwrap()
        .split(' ')
        .collect();
    assert!(sandbox.operate(&words).status.success(), "{reset}");
}

#[test]
fn delivery_comes_after_the_answer_and_after_the_connection_is_closed() {
    let sandbox = one_attempt();
    let gate = crate::stage::Gate::new(&sandbox, "escalator");
    let body = format!("#!/bin/bash\n{}", gate.line());
    sandbox.script("escalate.d/slow", &body);
    let mut child = sandbox.spawn();
    let body = request(&notification(&[&nginx()]).to_string());
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), &body).unwrap();
    // All of it, to its end, while the escalator has not finished.
    let mut bytes = Vec::new();
    std::io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut bytes).unwrap();
    Answer::parse(&bytes).expect(200, &["tripped"]);
    gate.wait_for(1);
    gate.open();
    assert!(child.wait().unwrap().success());
}

#[test]
fn one_page_an_incident_whatever_opens_and_shuts_within_it() {
    let sandbox = one_attempt();
    sandbox.set("HEAL_ATTEMPT_WINDOW", "1s");
    let alert = nginx();
    sandbox.post(&alert).expect(200, &["tripped"]);
    // Half-open, and open again.
    until("an attempt is let through", || {
        sandbox.post(&alert);
        (sandbox.runs("NginxDown") == 2).then_some(())
    });
    assert_eq!(paged(&sandbox), [told("trigger", "failures")]);
}

#[test]
fn a_storm_pages_once_and_is_over_with_the_first_run_after_it() {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    sandbox.set("HEAL_STORM_LIMIT", "1/1h");
    sandbox.handler("Down", "exit 0\n");
    let alert = |host: u32| Alert::firing("Down", &format!("web-{host}"));
    sandbox.post(&alert(0)).expect(200, &["healed"]);
    for host in 1..4 {
        sandbox.post(&alert(host)).expect(503, &["storm"]);
    }
    assert_eq!(paged(&sandbox), [told("trigger", "storm")]);
    let page = &sandbox.pages()[0];
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert_eq!(page["dedup_key"], format!("storm:{}", host.trim()));
    assert!(
        page["detail"].as_str().unwrap().contains("1/1h"),
        "{page:#}"
    );
    sandbox.set("HEAL_STORM_LIMIT", "1/1s");
    until("the window frees", || {
        (sandbox.post(&alert(1)).verdicts() == ["healed"]).then_some(())
    });
    assert_eq!(
        paged(&sandbox),
        [told("trigger", "storm"), told("resolve", "storm")]
    );
}

#[test]
fn a_truncated_group_pages_once_and_is_over_when_it_comes_whole() {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    let post = |group: &str, truncated: u32| {
        let mut body = notification(&[&nginx()]);
        body["groupKey"] = json!(group);
        body["truncatedAlerts"] = json!(truncated);
        sandbox
            .post_body(&body.to_string())
            .expect(200, &["no-handler"]);
    };
    post("{}:{a=\"1\"}", 0);
    post("{}:{a=\"1\"}", 3);
    post("{}:{a=\"1\"}", 3);
    post("{}:{a=\"2\"}", 0);
    assert_eq!(paged(&sandbox), [told("trigger", "truncated")]);
    let page = &sandbox.pages()[0];
    assert_eq!(page["group_key"], "{}:{a=\"1\"}");
    assert_eq!(
        page["dedup_key"],
        crate::stage::sha256(b"{}:{a=\"1\"}").as_str()
    );
    assert!(
        page["detail"].as_str().unwrap().contains("3 alerts"),
        "{page:#}"
    );
    post("{}:{a=\"1\"}", 0);
    post("{}:{a=\"1\"}", 0);
    assert_eq!(
        paged(&sandbox),
        [told("trigger", "truncated"), told("resolve", "truncated")]
    );
}

#[test]
fn without_a_group_key_nobody_knows_which_group_came_whole() {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    for truncated in [3, 0, 3, 0] {
        let mut body = notification(&[&nginx()]);
        body["groupKey"] = json!("");
        body["truncatedAlerts"] = json!(truncated);
        sandbox.post_body(&body.to_string());
    }
    assert_eq!(paged(&sandbox), [told("trigger", "truncated")]);
    let reset = sandbox.pages()[0]["commands"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let words: Vec<&str> = reset
        .strip_prefix("sudo self-heal ")
        .unwrap()
        .split(' ')
        .collect();
    assert!(sandbox.operate(&words).status.success(), "{reset}");
    sandbox.operate(&["drain"]);
    assert_eq!(paged(&sandbox).last(), Some(&told("resolve", "truncated")));
}

#[test]
fn while_the_spool_cannot_take_a_page_nothing_runs_and_then_it_is_told_once() {
    let sandbox = one_attempt();
    sandbox.set("HEAL_ATTEMPT_WINDOW", "1s");
    sandbox.write("state/spool", "not a folder");
    let answer = sandbox.post(&nginx());
    answer.expect(503, &["error"]);
    assert!(answer.detail().contains("spool"), "{}", answer.detail());
    // The half-open attempt would be due; the page comes first.
    for _ in 0..3 {
        sandbox.post(&nginx()).expect(503, &["error"]);
    }
    assert_eq!(sandbox.runs("NginxDown"), 1);
    fs::remove_file(sandbox.path("state/spool")).unwrap();
    // Any later invocation for it, whatever its answer.
    sandbox.post(&nginx());
    let triggers = paged(&sandbox);
    assert_eq!(triggers, [told("trigger", "failures")]);
}

#[test]
fn what_a_dead_process_left_owing_is_told_by_drain() {
    let sandbox = one_attempt();
    sandbox.write("state/spool", "not a folder");
    sandbox.post(&nginx()).expect(503, &["error"]);
    fs::remove_file(sandbox.path("state/spool")).unwrap();
    let drained = sandbox.operate(&["drain"]);
    assert!(drained.status.success(), "{drained:?}");
    assert_eq!(paged(&sandbox), [told("trigger", "failures")]);
    let page = &sandbox.pages()[0];
    assert_eq!(page["alert"]["instance"], "web-1:9113");
    assert_eq!(page["attempts"][0]["exit"], 1);
    assert_eq!(page["output"], "it is broken\n");
    assert_eq!(sandbox.operate(&["drain"]).status.code(), Some(0));
    assert_eq!(sandbox.pages().len(), 1);
}

#[test]
fn drain_ends_the_page_of_run_limits_that_admit_a_run() {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    sandbox.set("HEAL_RUN_LIMITS", "1/1s");
    sandbox.set("HEAL_SETTLE", "0");
    sandbox.handler("NginxDown", "exit 0\n");
    // Twice within a second, however long the first one takes on a busy machine.
    until("the limit is reached", || {
        sandbox.post(&nginx());
        (sandbox.post(&nginx()).verdicts() == ["tripped"]).then_some(())
    });
    sandbox.post(&nginx().resolved());
    let before = paged(&sandbox).len();
    until("the window is over", || {
        sandbox.operate(&["drain"]);
        let pages = paged(&sandbox);
        (pages.last() == Some(&told("resolve", "run-limits"))).then_some(())
    });
    assert!(before >= 1);
    assert_eq!(
        sandbox.metric("self_heal_breakers_open{alertname=\"NginxDown\"}"),
        0.0
    );
}

/// The system calls that change a file, or what a folder holds.
const CHANGES: &str = "write,pwrite64,fsync,fdatasync,?rename,?renameat,?renameat2,?link,?linkat,?unlink,?unlinkat,openat,ftruncate,?mkdir,flock";

/// Killed at every one of its system calls that change anything: the page is told exactly once all the same.
#[test]
fn killed_anywhere_a_page_is_told_exactly_once() {
    let body = request(&notification(&[&nginx()]).to_string());
    let prepared = || {
        let sandbox = one_attempt();
        // Folders, reserve and spool are there, as they are on every host after its first alert.
        sandbox.post(&Alert::firing("Other", "web-2"));
        sandbox.operate(&["drain"]);
        sandbox
    };
    let sandbox = prepared();
    let trace = sandbox.path("trace");
    let words = strace(&trace, Some(CHANGES));
    Answer::parse(&feed(behind(&words, &sandbox.command()), &body).stdout)
        .expect(200, &["tripped"]);
    let calls = calls(&fs::read_to_string(&trace).unwrap());
    // A file that is only read is opened without consequences.
    let calls = calls
        .iter()
        .filter(|call| call.name != "openat" || call.line.contains("O_CREAT"));
    let mut kills = 0;
    for call in calls {
        let sandbox = prepared();
        let trace = sandbox.path("trace");
        let words = strace_with(&trace, (&call.name, call.nth), Fault::Kill);
        feed(behind(&words, &sandbox.command()), &body);
        let traced = fs::read_to_string(&trace).unwrap();
        kills += u32::from(came_to_pass(&traced, Fault::Kill));
        let nth = format!("{} {}", call.name, call.nth);
        // The sender asks again until it hears that the alert is settled; the timer comes by.
        let what = format!("settled after a kill at call {nth}");
        until(&what, || {
            let answer = sandbox.post(&nginx());
            (answer.verdicts() == ["tripped"]).then_some(())
        });
        until("everything is delivered", || {
            sandbox.operate(&["drain"]).status.success().then_some(())
        });
        assert_eq!(
            paged(&sandbox),
            [told("trigger", "failures")],
            "killed at call {nth}:\n{traced}"
        );
        sandbox.post(&nginx().resolved()).expect(200, &["resolved"]);
        assert_eq!(paged(&sandbox).last(), Some(&told("resolve", "failures")));
        assert_eq!(sandbox.pages().len(), 2);
    }
    assert!(kills > 20, "only {kills} kills");
}

#[test]
fn the_process_that_reads_the_socket_starts_no_escalator_before_it_has_answered() {
    let sandbox = one_attempt();
    let trace = sandbox.path("trace").display().to_string();
    let strace = [
        "strace",
        "-f",
        "-o",
        &trace,
        "-e",
        "trace=execve,shutdown,write,sendto",
    ];
    feed(
        through(&sandbox, &strace),
        &request(&notification(&[&nginx()]).to_string()),
    );
    let traced = fs::read_to_string(&trace).unwrap();
    let answered = traced
        .find("HTTP/1.1 200")
        .unwrap_or_else(|| panic!("{traced}"));
    let escalated = traced
        .find("escalate.d/recorder")
        .unwrap_or_else(|| panic!("{traced}"));
    assert!(answered < escalated, "{traced}");
}

#[test]
fn pages_wait_in_the_spool_and_the_metric_says_so() {
    let sandbox = one_attempt();
    sandbox.script("escalate.d/down", "#!/bin/sh\nexit 1\n");
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    assert_eq!(sandbox.metric("self_heal_escalations_pending"), 1.0);
    assert_eq!(sandbox.operate(&["drain"]).status.code(), Some(1));
    assert_eq!(paged(&sandbox), [told("trigger", "failures")]);
    fs::remove_file(sandbox.path("escalate.d/down")).unwrap();
    assert_eq!(sandbox.operate(&["drain"]).status.code(), Some(1));
    let forgotten = sandbox.operate(&["drain", "--forget", "down"]);
    assert!(forgotten.status.success(), "{forgotten:?}");
    assert_eq!(sandbox.operate(&["drain"]).status.code(), Some(0));
    assert_eq!(sandbox.metric("self_heal_escalations_pending"), 0.0);
    assert_eq!(sandbox.pages().len(), 1);
}

#[test]
fn what_is_refused_for_good_is_loud_until_somebody_sees_to_it() {
    let sandbox = one_attempt();
    sandbox.script("escalate.d/refuses", "#!/bin/sh\nexit 100\n");
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    assert!(
        sandbox.log().contains("[ERROR] escalation_failed"),
        "{}",
        sandbox.log()
    );
    assert_eq!(sandbox.metric("self_heal_escalations_pending"), 1.0);
    let ready = sandbox.get("/-/ready");
    assert_eq!(ready.code, 503);
    assert!(ready.body.contains("refused for good"), "{}", ready.body);
    let event = sandbox.pages()[0]["id"].as_str().unwrap().to_owned();
    let discarded = sandbox.operate(&["drain", "--discard", &event]);
    assert!(discarded.status.success(), "{discarded:?}");
    assert_eq!(sandbox.metric("self_heal_escalations_pending"), 0.0);
}

#[test]
fn a_hostile_alert_makes_a_page_like_any_other() {
    let sandbox = one_attempt();
    let nasty = "\"}\r\n\u{1b}[2J$(reboot)`reboot`\u{0}'";
    let alert = nginx()
        .with("instance", json!("web-1"))
        .label("summary", nasty)
        .label(nasty, &"x".repeat(100_000))
        .with(
            "annotations",
            json!({"runbook_url": "javascript:alert(1)", nasty: nasty}),
        );
    sandbox.post(&alert).expect(200, &["tripped"]);
    let pages = sandbox.pages();
    assert_eq!(pages.len(), 1);
    assert_eq!(pages[0]["labels"]["summary"], nasty);
    assert_eq!(
        pages[0]["links"].as_array().unwrap().len(),
        2,
        "{:#}",
        pages[0]
    );
    for command in pages[0]["commands"].as_array().unwrap() {
        assert!(!command.as_str().unwrap().contains("reboot"));
    }
}

#[test]
fn no_descriptor_and_no_variable_of_the_connection_reaches_an_escalator() {
    let sandbox = one_attempt();
    let seen = sandbox.path("seen").display().to_string();
    let body = format!(
        "#!/bin/bash\nreadlink /proc/self/fd/* >{seen}.fds 2>/dev/null; env >{seen}; exit 0\n"
    );
    sandbox.script("escalate.d/looks", &body);
    let mut command: Command = sandbox.command();
    command
        .env("AWS_SECRET", "x")
        .env("SOCAT_PEERADDR", "127.0.0.1");
    command.stdin(Stdio::piped());
    let output = feed(command, &request(&notification(&[&nginx()]).to_string()));
    Answer::parse(&output.stdout).expect(200, &["tripped"]);
    let env = sandbox.read("seen");
    assert!(
        !env.contains("AWS_SECRET") && !env.contains("SOCAT"),
        "{env}"
    );
    assert!(
        env.contains("HEAL_ACTION=trigger") && env.contains("HEAL_CONF_DIR="),
        "{env}"
    );
    let fds = sandbox.read("seen.fds");
    assert!(!fds.contains("pipe:") && !fds.contains("socket:"), "{fds}");
}

/// Another process ends the storm while the first one is putting its beginning into the spool: both are told.
#[test]
fn a_storm_that_ends_while_its_page_is_put_ends_for_the_person_too() {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    sandbox.set("HEAL_STORM_LIMIT", "1/1h");
    let gate = crate::stage::Gate::new(&sandbox, "long");
    sandbox.handler("Long", &format!("{}exit 75\n", gate.line()));
    for name in ["Down", "Other"] {
        sandbox.handler(name, "exit 0\n");
    }
    // Spare files are there: no other rename comes before the event's.
    sandbox.operate(&["drain"]);
    let long = Posting::begin(&sandbox, &[&Alert::firing("Long", "web-1")]);
    gate.wait_for(1);
    let trace = sandbox.path("trace").display().to_string();
    let slow = "inject=rename,renameat,renameat2:delay_enter=2000000";
    let strace = ["strace", "-o", &trace, "-e", slow];
    let denied = Alert::firing("Down", "web-1");
    let storm = Posting::by(through(&sandbox, &strace), &[&denied]);
    until("the event is written, and not yet in its place", || {
        let spare = fs::read_dir(sandbox.path("state/spool/spare")).unwrap();
        spare
            .filter_map(|entry| fs::read(entry.unwrap().path()).ok())
            .any(|bytes| bytes.starts_with(b"self-heal-event-1"))
            .then_some(())
    });
    gate.open();
    long.answer().expect(503, &["deferred"]);
    let admitted = Alert::firing("Other", "web-1");
    sandbox.post(&admitted).expect(200, &["healed"]);
    storm.answer().expect(503, &["storm"]);
    sandbox.operate(&["drain"]);
    assert_eq!(
        paged(&sandbox),
        [told("trigger", "storm"), told("resolve", "storm")]
    );
}

/// Killed between rename(2) and fsync(2), the event may not outlast a power failure yet: whoever finds it syncs
/// the folder before he takes it for told.
#[test]
fn a_page_is_struck_only_once_its_event_is_durable_whoever_put_it() {
    let sandbox = one_attempt();
    sandbox.operate(&["drain"]);
    let pending = sandbox.path("state/spool/pending").display().to_string();
    let trace = sandbox.path("trace").display().to_string();
    let body = request(&notification(&[&nginx()]).to_string());
    let kill = [
        "strace",
        "-o",
        &trace,
        "-P",
        &pending,
        "-e",
        "trace=fsync",
        "-e",
        "inject=fsync:signal=KILL",
    ];
    feed(through(&sandbox, &kill), &body);
    let traced = sandbox.read("trace");
    assert!(traced.contains("killed by SIGKILL"), "{traced}");
    assert_eq!(fs::read_dir(&pending).unwrap().count(), 1);
    let watch = ["strace", "-y", "-o", &trace, "-e", "trace=fsync,fdatasync"];
    let output = feed(through(&sandbox, &watch), &body);
    Answer::parse(&output.stdout).expect(200, &["tripped"]);
    let traced = sandbox.read("trace");
    let synced = traced
        .find(&format!("<{pending}>"))
        .unwrap_or_else(|| panic!("{traced}"));
    let struck = traced
        .find("/records/")
        .unwrap_or_else(|| panic!("{traced}"));
    assert!(synced < struck, "{traced}");
}

/// After a power failure the host's record still knows of the storm that a person was told of.
#[test]
fn a_storm_is_on_record_for_good_before_a_person_is_told_of_it() {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    sandbox.set("HEAL_STORM_LIMIT", "1/1h");
    sandbox.handler("Down", "exit 0\n");
    sandbox.post(&Alert::firing("Down", "web-1"));
    let trace = sandbox.path("trace").display().to_string();
    let watch = [
        "strace",
        "-y",
        "-o",
        &trace,
        "-e",
        "trace=fsync,fdatasync,rename",
    ];
    let denied = notification(&[&Alert::firing("Down", "web-2")]).to_string();
    let output = feed(through(&sandbox, &watch), &request(&denied));
    Answer::parse(&output.stdout).expect(503, &["storm"]);
    let traced = sandbox.read("trace");
    let decided = traced
        .find("/state/host>")
        .unwrap_or_else(|| panic!("{traced}"));
    let put = traced
        .find("/spool/pending/")
        .unwrap_or_else(|| panic!("{traced}"));
    assert!(decided < put, "{traced}");
}

/// A sender whose group key is also an alert's fingerprint: whole groups do not end that alert's page.
#[test]
fn a_group_that_comes_whole_ends_no_page_of_an_alert() {
    let sandbox = one_attempt();
    let post = |truncated: u32| {
        let mut body = notification(&[&nginx()]);
        body["groupKey"] = json!(nginx().fingerprint());
        body["truncatedAlerts"] = json!(truncated);
        sandbox.post_body(&body.to_string());
    };
    for truncated in [0, 0, 1, 0] {
        post(truncated);
    }
    assert_eq!(paged(&sandbox), [told("trigger", "failures")]);
}

#[test]
fn a_spool_that_takes_no_page_is_said_by_ready_and_metrics() {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    sandbox.set("HEAL_STORM_LIMIT", "1/1h");
    sandbox.handler("Down", "exit 0\n");
    sandbox.operate(&["drain"]);
    assert_eq!(sandbox.get("/-/ready").code, 200);
    chmod(&sandbox.path("state/spool"), 0o777);
    sandbox
        .post(&Alert::firing("Down", "web-1"))
        .expect(200, &["healed"]);
    sandbox
        .post(&Alert::firing("Down", "web-2"))
        .expect(503, &["error"]);
    let ready = sandbox.get("/-/ready");
    assert_eq!(ready.code, 503, "{}", ready.body);
    assert!(ready.body.contains("spool"), "{}", ready.body);
    // The host's record owes it.
    assert_eq!(sandbox.metric("self_heal_escalations_pending"), 1.0);
}

#[test]
fn a_folder_that_is_missing_from_the_spool_is_made_again() {
    let sandbox = one_attempt();
    sandbox.operate(&["drain"]);
    for folder in ["pending", "told", "spare"] {
        fs::remove_dir_all(sandbox.path(&format!("state/spool/{folder}"))).unwrap();
    }
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    assert_eq!(paged(&sandbox), [told("trigger", "failures")]);
}

/// A page fits a disk that was full before anybody was paged.
#[test]
fn the_first_connection_makes_the_spool_ahead() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    sandbox
        .post(&Alert::firing("Down", "web-1"))
        .expect(200, &["healed"]);
    let spare = fs::read_dir(sandbox.path("state/spool/spare")).unwrap();
    assert_eq!(spare.count(), 16);
}
