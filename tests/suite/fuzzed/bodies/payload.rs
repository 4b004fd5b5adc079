//! What a handler reads on its standard input is what was sent, and no text of a sender becomes anything but a value.

use std::collections::BTreeSet;

use self_heal::judge::record::Process;
use self_heal::judge::{AlertName, Run, Status, Time};
use self_heal::wire::directives::Compat;
use self_heal::wire::environment::{self, Context};
use self_heal::wire::notification::{self, Notification, Posted, Told};
use self_heal::wire::{json, records, timestamp};

pub fn body(data: &[u8]) {
    match notification::parse(data) {
        Err(reason) => super::sentence(&reason),
        Ok(notification) => {
            let sent = json::members(json::check(data).unwrap()).unwrap();
            let alerts = sent.iter().find(|(name, _)| name == "alerts").unwrap().1;
            let alerts = json::elements(alerts).unwrap();
            assert_eq!(alerts.len(), notification.alerts.len());
            for warning in &notification.warnings {
                super::sentence(warning);
            }
            for (posted, alert) in notification.alerts.iter().zip(alerts) {
                handed_over(&notification, posted, &sent, alert);
                in_the_environment(&notification, posted);
                told_again(posted);
            }
        }
    }
}

/// The input is JSON with every member as it was sent, byte for byte, and the alert.
fn handed_over(
    notification: &Notification,
    posted: &Posted,
    sent: &[json::Member<'_>],
    alert: &json::RawValue,
) {
    let input = notification.handler_input(posted);
    let text = input.strip_suffix(b"\n").unwrap();
    let found = json::members(json::check(text).unwrap()).unwrap();
    let named =
        |(name, value): &json::Member<'_>| (name.clone().into_owned(), value.get().to_owned());
    let mut wanted: Vec<_> = sent
        .iter()
        .filter(|(name, _)| name != "alerts" && name != "alert")
        .map(named)
        .collect();
    wanted.push(("alert".to_owned(), alert.get().to_owned()));
    assert_eq!(found.iter().map(named).collect::<Vec<_>>(), wanted);
}

fn in_the_environment(notification: &Notification, posted: &Posted) {
    let alert = &posted.alert;
    let run = Run {
        id: "1-1-1.A".to_owned(),
        attempt: 1,
        started: Time(0),
        deadline: Time(1000),
        probe: false,
        supervisor: Process::default(),
    };
    for compat in [None, Some(Compat::Amx)] {
        let context = Context {
            home: "/",
            backup_dir: "/b",
            max_attempts: 3,
            notification,
            compat,
        };
        let environment = environment::build(alert, &run, &context);
        let mut names = BTreeSet::new();
        for (name, value) in &environment.variables {
            let known = ["PATH", "HOME", "LANG"].contains(&name.as_str());
            assert!(
                known || name.starts_with("HEAL_") || name.starts_with("AMX_"),
                "{name}"
            );
            assert!(
                name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_'),
                "{name}"
            );
            assert!(!value.contains('\0'));
            assert!(names.insert(name), "{name} twice");
        }
        let size: usize = environment
            .variables
            .iter()
            .map(|(n, v)| n.len() + v.len())
            .sum();
        assert!(size < 1 << 20, "{size} bytes of environment");
    }
    let key = records::key(alert);
    assert!(key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit()));
    if let Some(name) = AlertName::new(alert.name()) {
        assert!(
            !name.as_str().contains(['/', '\0', ' ', '\n'])
                && !name.as_str().starts_with(['.', '-'])
        );
    }
    if let Some(fingerprint) = &alert.fingerprint {
        assert!(!fingerprint.starts_with('-') && !fingerprint.contains(char::is_whitespace));
    }
}

/// An operator who says the same is understood the same.
fn told_again(posted: &Posted) {
    let alert = &posted.alert;
    let year_0 = Time(-62_167_219_200_000);
    let year_10000 = Time(253_402_300_800_000);
    let shown = |at: Time| year_0 <= at && at < year_10000 && at != timestamp::NONE;
    let Some(starts_at) = alert.starts_at.filter(|at| shown(*at)) else {
        return;
    };
    let resolved = alert.status == Status::Resolved;
    let told = Told {
        receiver: "r",
        resolved,
        labels: alert.labels.clone(),
        annotations: alert.annotations.clone(),
        starts_at,
        ends_at: alert.ends_at.filter(|at| shown(*at)).unwrap_or(starts_at),
        fingerprint: alert.fingerprint.as_deref().unwrap_or(""),
    };
    let again = notification::parse(notification::compose(&told).as_bytes()).unwrap();
    let [again] = again.alerts.as_slice() else {
        panic!("one alert became {}", again.alerts.len());
    };
    let again = &again.alert;
    assert_eq!(
        (&again.labels, &again.annotations),
        (&alert.labels, &alert.annotations)
    );
    assert_eq!(again.starts_at, Some(starts_at));
    assert_eq!(again.ends_at, resolved.then_some(told.ends_at));
    assert_eq!(
        (again.status, &again.fingerprint),
        (alert.status, &alert.fingerprint)
    );
    assert_eq!(records::key(again), records::key(alert));
}
