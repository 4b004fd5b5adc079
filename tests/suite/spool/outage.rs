//! An outage of the pager for an hour, in seconds: the clock is the test's.

use std::collections::BTreeMap;

use super::*;

const MINUTE: i64 = 60_000;

/// Takes nothing while the file `down` is there, and notes what it takes, in order.
fn pager(yard: &Yard) {
    let (down, taken) = (yard.path("down"), yard.path("taken"));
    let body = format!(
        "test -e {} && exit 75\nprintf '%s %s\\n' \"$HEAL_EVENT_ID\" \"$(sha256sum | cut -c 1-64)\" >>{}",
        down.display(),
        taken.display()
    );
    yard.escalator("pager", &body);
}

#[test]
fn everything_arrives_after_an_hour_in_order_and_once() {
    let yard = Yard::new();
    pager(&yard);
    yard.sandbox.write("down", "");
    let mut put: Vec<(EventName, &str)> = Vec::new();
    let incidents: Vec<String> = (0..12).map(|n| format!("web-{n}")).collect();
    let mut open: BTreeMap<&str, bool> = BTreeMap::new();
    let mut calls = 0;
    // A round a minute. Every seventh minute of an incident it opens or ends; some end within the outage and open anew.
    for minute in 0..60 {
        let now = THEN + minute * MINUTE;
        for (n, incident) in incidents.iter().enumerate() {
            if (minute + 3 * n as i64) % 14 == 0 && (n % 3 != 0 || minute < 20) {
                let is_open = open.entry(incident).or_default();
                let action = if *is_open {
                    Action::Resolve
                } else {
                    Action::Trigger
                };
                *is_open = !*is_open;
                put.push((yard.put(now + n as i64, action, incident), incident));
            }
        }
        let round = yard.round(now, &SOON);
        assert_eq!(round.delivered, 0);
        // It is down: three attempts, and the rest is spared it.
        assert!(round.attempts <= 3, "{round:?}");
        calls += round.attempts as usize;
    }
    assert!(put.len() > 30 && open.values().any(|open| *open) && open.values().any(|open| !*open));
    assert_eq!(yard.calls("pager").len(), calls);
    assert!(!yard.path("taken").exists());
    // No resolve has overtaken its trigger to be tried, and no event is tried more often than the waits admit.
    let mut attempts: BTreeMap<String, usize> = BTreeMap::new();
    for call in yard.calls("pager") {
        *attempts.entry(call).or_default() += 1;
    }
    for (event, times) in &attempts {
        let first = put
            .iter()
            .position(|(name, _)| name.to_string() == *event)
            .unwrap();
        let before = put[..first]
            .iter()
            .any(|(name, _)| name.incident() == put[first].0.incident());
        assert!(!before, "{event} was tried behind an earlier one");
        // 15 s, 30 s, 1, 2, 4, 8, 16, 32 minutes: the eighth wait ends beyond the hour.
        assert!(*times <= 8, "{event}: {times}");
    }

    // It is back. What was tried last waits for an hour and a fifth at most.
    fs::remove_file(yard.path("down")).unwrap();
    for minute in 60..=60 + 72 {
        yard.round(THEN + minute * MINUTE, &SOON);
    }
    let taken = yard.sandbox.read("taken");
    let taken: Vec<(&str, &str)> = taken
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    for (name, incident) in &put {
        let arrived: Vec<_> = taken
            .iter()
            .filter(|(event, _)| *event == name.to_string())
            .collect();
        assert_eq!(arrived.len(), 1, "{name}");
        assert_eq!(arrived[0].1, hex_digest(&json(name, incident)), "{name}");
    }
    assert_eq!(taken.len(), put.len());
    for incident in &incidents {
        let digits = &hex_digest(incident.as_bytes())[..16];
        let order: Vec<&str> = taken
            .iter()
            .map(|(event, _)| *event)
            .filter(|event| event.ends_with(digits))
            .collect();
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(order, sorted, "{incident}");
        for (n, event) in order.iter().enumerate() {
            assert_eq!(event.contains("-r-"), n % 2 == 1, "{order:?}");
        }
    }
    // What is over is gone; what goes on waits for its end.
    assert!(yard.names("pending").is_empty() && yard.names("failed").is_empty());
    assert_eq!(
        yard.names("told").len(),
        open.values().filter(|open| **open).count()
    );
}

#[test]
fn attempts_move_apart_to_an_hour() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 1");
    yard.trigger(THEN, "web-1");
    // A round every second for the first two minutes, then every minute for six hours.
    let first = (0..120).map(|second| THEN + second * 1000);
    let later = (2..360).map(|minute| THEN + minute * MINUTE);
    let mut tried = Vec::new();
    for now in first.chain(later) {
        if yard.round(now, &SOON).attempts > 0 {
            tried.push(now);
        }
    }
    let waits: Vec<i64> = tried
        .windows(2)
        .map(|two| (two[1] - two[0]) / 1000)
        .collect();
    for (wait, planned) in waits
        .iter()
        .zip([15, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600])
    {
        let (least, most) = (planned * 8 / 10, planned * 12 / 10 + 60);
        assert!((least..=most).contains(wait), "{waits:?}");
    }
    assert!((10..=14).contains(&tried.len()), "{waits:?}");
}

#[test]
fn one_pager_is_down_and_another_is_not() {
    let yard = Yard::new();
    pager(&yard);
    yard.sandbox.write("down", "");
    yard.escalator("mail", "exit 0");
    let trigger = yard.trigger(THEN, "web-1");
    yard.round(THEN, &SOON);
    let resolve = yard.resolve(THEN + 1, "web-1");
    yard.round(THEN + 1, &SOON);
    let both = [trigger.to_string(), resolve.to_string()];
    assert_eq!(yard.calls("mail"), both);
    assert_eq!(yard.names("pending"), both);
    fs::remove_file(yard.path("down")).unwrap();
    yard.round(THEN + 72 * MINUTE, &SOON);
    let taken = yard.sandbox.read("taken");
    let taken: Vec<&str> = taken
        .lines()
        .map(|line| line.split(' ').next().unwrap())
        .collect();
    assert_eq!(taken, both);
    assert_eq!(yard.calls("mail"), both);
    assert!(yard.names("pending").is_empty() && yard.names("told").is_empty());
}
