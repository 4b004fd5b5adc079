//! Many at once: one run at a time and per episode, no more handlers than allowed, no answer and no count
//! lost.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::stage::{Gate, Posting, chained, lines_with, raw_history};
use crate::support::{Alert, Answer, Sandbox, notification, read_all, request, until};

/// One post over a socket pair, as a spawner hands a connection over, by this command.
fn post(command: &mut Command, alert: &Alert) -> Answer {
    let (mut client, server) = UnixStream::pair().unwrap();
    let input = OwnedFd::from(server.try_clone().unwrap());
    let mut child = command
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(OwnedFd::from(server)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // It keeps the server's end otherwise.
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let body = notification(&[alert]).to_string();
    client.write_all(&request(&body)).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let answer = Answer::parse(&read_all(&client));
    assert!(child.wait().unwrap().success());
    answer
}

/// The one verdict of a well-formed answer.
fn verdict(answer: &Answer, alert: &Alert) -> String {
    let [verdict] = &answer.verdicts()[..] else {
        panic!("not one result: {}", answer.body);
    };
    let result = &answer.json()["results"][0];
    assert_eq!(result["fingerprint"], alert.fingerprint());
    let settled = result["settled"].as_bool().unwrap();
    assert_eq!(answer.code, if settled { 200 } else { 503 });
    assert_eq!(answer.header("retry-after").is_some(), !settled);
    verdict.clone()
}

/// The highest number of handlers that were at work at the same time, by what they wrote when they began
/// (`+ WHO`) and ended (`- WHO`).
fn most_at_once<'a>(steps: impl Iterator<Item = &'a str>) -> usize {
    let mut inside = BTreeSet::new();
    let mut most = 0;
    for step in steps {
        match step.split_once(' ').unwrap() {
            ("+", who) => assert!(inside.insert(who), "{who} twice at once"),
            ("-", who) => assert!(inside.remove(who), "{who} left unseen"),
            _ => panic!("{step}"),
        }
        most = most.max(inside.len());
    }
    assert!(inside.is_empty(), "{inside:?} never ended");
    most
}

#[test]
fn two_hundred_posts_at_once_run_each_of_fifty_handlers_once() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_STORM_LIMIT", "400/10m");
    sandbox.set("HEAL_LOCK_WAIT", "1s");
    sandbox.set("HEAL_MAX_CONCURRENT", "4");
    let trace = sandbox.path("trace").display().to_string();
    let mut alerts = Vec::new();
    for number in 0..10 {
        let name = format!("Crowded{number}");
        // Its own lock beside the one under test: two runs of this name at once would be seen.
        let own = sandbox.path(&name).display().to_string();
        let body = format!(
            "exec 9>{own}; flock --nonblock 9 || echo \"+ overlap of $2\" >>{trace}\n\
             echo \"+ $2 $1\" >>{trace}; sleep 0.02; echo \"- $2 $1\" >>{trace}\n"
        );
        sandbox.handler(&name, &body);
        let instances = (0..5).map(|host| format!("web-{host}:9100"));
        alerts.extend(instances.map(|instance| Alert::firing(&name, &instance)));
    }

    let start = Barrier::new(4 * alerts.len());
    let (settled, unsettled) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for alert in alerts.iter().flat_map(|alert| [alert; 4]) {
            let mut command = sandbox.command();
            let (start, settled, unsettled) = (&start, &settled, &unsettled);
            scope.spawn(move || {
                start.wait();
                until("the alert is settled", || {
                    let answer = post(&mut command, alert);
                    let verdict = verdict(&answer, alert);
                    if ["healed", "settling"].contains(&verdict.as_str()) {
                        settled.fetch_add(1, Ordering::Relaxed);
                        return Some(());
                    }
                    assert_eq!(verdict, "busy", "{}", answer.body);
                    unsettled.fetch_add(1, Ordering::Relaxed);
                    None
                });
            });
        }
    });

    let trace = sandbox.read("trace");
    let mut runs: BTreeMap<&str, u32> = BTreeMap::new();
    for line in trace.lines().filter_map(|line| line.strip_prefix("+ ")) {
        *runs.entry(line).or_default() += 1;
    }
    assert_eq!(runs.len(), 50, "{trace}");
    assert!(runs.values().all(|count| *count == 1), "{trace}");
    assert!(most_at_once(trace.lines()) <= 4, "{trace}");
    for number in 0..10 {
        let name = format!(" Crowded{number} ");
        let own = trace.lines().filter(|line| line.contains(&name));
        assert_eq!(most_at_once(own), 1, "{trace}");
    }

    // Nothing that was written by so many at once is torn or lost.
    let history = sandbox.history();
    assert_eq!(history.len(), 100);
    let healed = history.iter().filter(|line| line["outcome"] == "healed");
    assert_eq!(healed.count(), 50);
    chained(
        &raw_history(&sandbox, "state/history.jsonl"),
        "0".repeat(64),
    );
    assert_eq!(settled.load(Ordering::Relaxed), 200);
    let metrics = sandbox.get("/metrics").body;
    let total = |part: &str| -> u32 {
        metrics
            .lines()
            .filter(|line| line.contains(part) && !line.starts_with('#'))
            .map(|line| line.rsplit_once(' ').unwrap().1.parse::<u32>().unwrap())
            .sum()
    };
    let unsettled = unsettled.load(Ordering::Relaxed);
    assert_eq!(total("self_heal_requests_total{code=\"200\"}"), 200);
    assert_eq!(total("self_heal_requests_total{code=\"503\"}"), unsettled);
    assert_eq!(total(",verdict=\"healed\"}"), 50);
    assert_eq!(total(",verdict=\"settling\"}"), 150);
    assert_eq!(total(",verdict=\"busy\"}"), unsettled);
    assert_eq!(total(",outcome=\"healed\"}"), 50);
    assert_eq!(total("self_heal_in_flight "), 0);
    let log = sandbox.log();
    assert_eq!(lines_with(&log, "[INFO] run_end "), 50);
    assert_eq!(lines_with(&log, "] request "), 200 + unsettled as usize);
}

#[test]
fn no_more_handlers_run_at_once_than_allowed() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_CONCURRENT", "2");
    let gate = Gate::new(&sandbox, "gate");
    let alerts = ["A", "B", "C"].map(|name| {
        sandbox.handler(name, &gate.line());
        Alert::firing(name, "web-1")
    });
    let first = Posting::begin(&sandbox, &[&alerts[0]]);
    let second = Posting::begin(&sandbox, &[&alerts[1]]);
    gate.wait_for(2);
    let answer = sandbox.post(&alerts[2]);
    answer.expect(503, &["busy"]);
    assert!(
        answer.detail().contains("HEAL_MAX_CONCURRENT"),
        "{}",
        answer.body
    );
    assert_eq!(sandbox.runs("C"), 0);
    // Who waits for a slot holds no run of the host's window, and who waited in vain no lock.
    File::open(sandbox.path("lock/heal-C.lock"))
        .unwrap()
        .try_lock()
        .unwrap();
    gate.open();
    first.answer().expect(200, &["healed"]);
    second.answer().expect(200, &["healed"]);
    sandbox.post(&alerts[2]).expect(200, &["healed"]);
}

#[test]
fn who_waits_for_a_lock_holds_no_slot() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_CONCURRENT", "1");
    sandbox.set("HEAL_LOCK_WAIT", "10m");
    sandbox.handler("Locked", "exit 0\n");
    sandbox.handler("Free", "exit 0\n");
    let locked = Alert::firing("Locked", "web-1");
    let lock = File::create(sandbox.path("lock/heal-Locked.lock")).unwrap();
    lock.lock().unwrap();
    let waiting = Posting::that_waits(&sandbox, &locked);
    for instance in ["web-1", "web-2", "web-3"] {
        let free = Alert::firing("Free", instance);
        sandbox.post(&free).expect(200, &["healed"]);
    }
    lock.unlock().unwrap();
    waiting.answer().expect(200, &["healed"]);
}

#[test]
fn a_storm_is_answered_as_one_told_once_and_over_when_the_window_frees() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_STORM_LIMIT", "2/1h");
    sandbox.handler("Down", "exit 0\n");
    sandbox.handler("Later", "exit 75\n");
    let alert = |host: u32| Alert::firing("Down", &format!("web-{host}"));
    // What is deferred does not count.
    for _ in 0..3 {
        let later = Alert::firing("Later", "web-1");
        sandbox.post(&later).expect(503, &["deferred"]);
    }
    for host in 0..2 {
        sandbox.post(&alert(host)).expect(200, &["healed"]);
    }
    for host in 2..5 {
        let answer = sandbox.post(&alert(host));
        answer.expect(503, &["storm"]);
        assert!(answer.header("retry-after").is_some());
    }
    // Several in one request.
    let (one, other) = (alert(5), alert(0));
    let answer = sandbox.post_all(&[&one, &other]);
    answer.expect(503, &["storm", "settling"]);
    assert_eq!(sandbox.runs("Down"), 2);
    let log = sandbox.log();
    let told = lines_with(
        &log,
        "[ERROR] escalation alertname=\"\" instance=\"\" reason=storm ",
    );
    assert_eq!(told, 1, "{log}");
    let storms = "self_heal_alerts_total{alertname=\"Down\",verdict=\"storm\"}";
    assert_eq!(sandbox.metric(storms), 4.0);

    // The same runs in a window that is over soon.
    sandbox.set("HEAL_STORM_LIMIT", "2/1s");
    let answer = until("the window frees", || {
        let answer = sandbox.post(&alert(2));
        (answer.verdicts() != ["storm"]).then_some(answer)
    });
    answer.expect(200, &["healed"]);
    assert_eq!(answer.json()["results"][0]["attempt"], 1);
    assert_eq!(lines_with(&sandbox.log(), "[INFO] storm_over"), 1);
}

#[test]
fn the_wait_for_locks_is_one_budget_for_the_whole_request() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_LOCK_WAIT", "2s");
    let mut alerts = Vec::new();
    let mut locks = Vec::new();
    for number in 0..20 {
        let name = format!("Held{number}");
        sandbox.handler(&name, "exit 0\n");
        let lock = File::create(sandbox.path(&format!("lock/heal-{name}.lock"))).unwrap();
        lock.lock().unwrap();
        locks.push(lock);
        alerts.push(Alert::firing(&name, "web-1"));
    }
    sandbox.handler("Free", "exit 0\n");
    alerts.push(Alert::firing("Free", "web-1"));
    let began = Instant::now();
    let answer = sandbox.post_all(&alerts.iter().collect::<Vec<_>>());
    let waited = began.elapsed();
    let mut expected = vec!["busy"; 20];
    expected.push("healed");
    answer.expect(503, &expected);
    assert!(waited >= Duration::from_secs(2), "it did not wait");
    // Each on its own would be 40 seconds.
    assert!(waited < Duration::from_secs(20), "{waited:?}");
}
