//! PagerDuty's Events API v2, held to a table of its members.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::fake::{Fake, Reply, Request, answer};
use super::{Desk, KEY, Outcome, failures_with, oversized, sample, samples};

const PATH: &str = "/v2/enqueue";

/// The largest event.
const LARGEST: usize = 512_000;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Text of at least and at most so many characters.
    Text(usize, usize),
    OneOf(&'static [&'static str]),
    Moment,
    Url,
    Object,
    List,
}

/// Where, what, and whether an event without it is refused (`t`: only in a trigger, where it is allowed at all).
/// Sources: PagerDuty's developer documentation, Events API v2, "Send a trigger event" and its OpenAPI schema.
const SCHEMA: &[(&str, Kind, &str)] = &[
    ("/routing_key", Kind::Text(32, 32), "required"),
    (
        "/event_action",
        Kind::OneOf(&["trigger", "resolve"]),
        "required",
    ),
    ("/dedup_key", Kind::Text(1, 255), "required to resolve"),
    ("/payload", Kind::Object, "required to trigger"),
    (
        "/payload/summary",
        Kind::Text(1, 1024),
        "required to trigger",
    ),
    ("/payload/source", Kind::Text(1, 255), "required to trigger"),
    (
        "/payload/severity",
        Kind::OneOf(&["critical", "error", "warning", "info"]),
        "required to trigger",
    ),
    ("/payload/timestamp", Kind::Moment, "optional"),
    ("/payload/component", Kind::Text(1, 255), "optional"),
    ("/payload/group", Kind::Text(1, 255), "optional"),
    ("/payload/class", Kind::Text(1, 255), "optional"),
    ("/payload/custom_details", Kind::Object, "optional"),
    ("/links", Kind::List, "optional"),
    ("/links/*/href", Kind::Url, "required"),
    ("/links/*/text", Kind::Text(0, 255), "required"),
    ("/client", Kind::Text(1, 255), "optional"),
];

/// What is wrong with an event, as PagerDuty's 400 lists it.
fn errors(event: &Value) -> Vec<String> {
    let mut wrong = Vec::new();
    let trigger = event["event_action"] == "trigger";
    for (place, kind, need) in SCHEMA {
        for (at, value) in values(event, place) {
            let needed = match *need {
                "required" => true,
                "required to trigger" => trigger,
                "required to resolve" => !trigger,
                _ => false,
            };
            match value {
                None if needed => wrong.push(format!("{at} is missing")),
                None => {}
                Some(value) if !fits(value, *kind) => wrong.push(format!("{at} is {value}")),
                Some(_) => {}
            }
        }
    }
    let mut known = |place: &str, value: &Value| {
        for name in value
            .as_object()
            .into_iter()
            .flat_map(|object| object.keys())
        {
            if !SCHEMA
                .iter()
                .any(|(path, ..)| *path == format!("{place}/{name}"))
            {
                wrong.push(format!("{place}/{name} is unknown"));
            }
        }
    };
    known("", event);
    known("/payload", &event["payload"]);
    for link in event["links"].as_array().into_iter().flatten() {
        known("/links/*", link);
    }
    if !trigger && event.as_object().is_some_and(|object| object.len() > 3) {
        wrong.push("a resolve has three members".to_owned());
    }
    wrong
}

fn values<'a>(event: &'a Value, place: &str) -> Vec<(String, Option<&'a Value>)> {
    match place.split_once("/*/") {
        Some((list, member)) => event
            .pointer(list)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .map(|item| (place.to_owned(), item.get(member)))
            .collect(),
        None => vec![(place.to_owned(), event.pointer(place))],
    }
}

fn fits(value: &Value, kind: Kind) -> bool {
    match (kind, value) {
        (Kind::Object, value) => value.is_object(),
        (Kind::List, value) => value.is_array(),
        (Kind::Text(least, most), Value::String(text)) => {
            (least..=most).contains(&text.chars().count())
        }
        (Kind::OneOf(words), Value::String(text)) => words.contains(&text.as_str()),
        (Kind::Moment, Value::String(text)) => self_heal::wire::timestamp::parse(text).is_some(),
        (Kind::Url, Value::String(text)) => {
            let rest = text.to_ascii_lowercase();
            let rest = rest
                .strip_prefix("https://")
                .or(rest.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_graphic()))
        }
        _ => false,
    }
}

/// As PagerDuty: 202, or 400 with what is wrong.
fn judged(request: &Request) -> Vec<u8> {
    let host = request.header("host").join("");
    let wrong = match request.strict(PATH, &host) {
        Ok(_) if request.body.len() > LARGEST => vec!["too large".to_owned()],
        Ok(event) => errors(&event),
        Err(wrong) => vec![wrong],
    };
    match wrong.is_empty() {
        true => answer(
            202,
            r#"{"status":"success","message":"Event processed","dedup_key":"k"}"#,
        ),
        false => answer(
            400,
            &json!({"status": "invalid event", "errors": wrong}).to_string(),
        ),
    }
}

/// Delivers this event to the strict stand-in; what arrived there.
#[track_caller]
fn delivered(event: &Value) -> Value {
    let fake = Fake::new(vec![Reply::Made(judged)]);
    let desk = Desk::at(&fake.url(PATH));
    desk.tell("pagerduty", event)
        .is(Outcome::Delivered, &["202"]);
    fake.body(PATH)
}

#[test]
fn every_event_is_one_that_pagerduty_takes() {
    for (name, event) in samples() {
        let got = delivered(&event);
        assert_eq!(got["routing_key"], KEY, "{name}");
        assert_eq!(got["event_action"], event["action"], "{name}");
        if let Some(key) = event["dedup_key"].as_str().filter(|key| key.len() < 256) {
            assert_eq!(got["dedup_key"], key, "{name}");
        }
    }
}

#[test]
fn a_trigger_says_what_was_tried_and_what_to_do() {
    let event = sample("failures");
    let got = delivered(&event);
    let payload = &got["payload"];
    assert_eq!(payload["summary"], event["summary"]);
    assert_eq!(payload["source"], "web-1:9113");
    assert_eq!(payload["severity"], "critical");
    assert_eq!(payload["timestamp"], event["at"]);
    assert_eq!(payload["component"], "nginx");
    assert_eq!(payload["class"], "NginxDown");
    assert_eq!(got["client"], "self-heal");
    assert_eq!(got["links"], event["links"]);
    let details = &payload["custom_details"];
    for member in [
        "attempts",
        "output",
        "labels",
        "annotations",
        "commands",
        "reason",
        "detail",
        "host",
        "alert",
    ] {
        assert_eq!(details[member], event[member], "{member}");
    }
    assert_eq!(details["attempts"][2]["exit"], 1);
    assert_eq!(details["event"], event["id"]);
}

#[test]
fn a_resolve_has_the_triggers_key_and_nothing_else() {
    let got = delivered(&sample("resolve"));
    let key = delivered(&sample("failures"))["dedup_key"].clone();
    assert_eq!(
        got,
        json!({"routing_key": KEY, "event_action": "resolve", "dedup_key": key})
    );
}

#[test]
fn a_resolve_without_a_key_is_refused_before_it_is_sent() {
    let fake = Fake::accepting(1);
    let desk = Desk::at(&fake.url(PATH));
    desk.tell("pagerduty", &json!({"action": "resolve"}))
        .is(Outcome::Refused, &["dedup_key"]);
    assert!(fake.untouched());
}

/// What PagerDuty is told of an alert with this label.
pub fn severity_of(label: &str) -> String {
    let got = delivered(&failures_with("labels", json!({"severity": label})));
    got["payload"]["severity"].as_str().unwrap().to_owned()
}

#[test]
fn the_label_severity_becomes_one_of_four() {
    for (label, severity) in [
        (json!("critical"), "critical"),
        (json!("Critical "), "critical"),
        (json!("disaster"), "critical"),
        (json!("error"), "error"),
        (json!("warning"), "warning"),
        (json!("WARN"), "warning"),
        (json!("info"), "info"),
        (json!("none"), "error"),
        (json!("page"), "error"),
        (json!(""), "error"),
        (json!("critical\n\"}"), "error"),
        (json!("explode"), "error"),
        (json!(1), "error"),
        (json!(["critical"]), "error"),
        (Value::Null, "error"),
    ] {
        let got = delivered(&failures_with("labels", json!({"severity": label})));
        assert_eq!(got["payload"]["severity"], severity, "{label}");
    }
}

#[test]
fn a_summary_is_cut_between_characters() {
    for (text, length) in [
        ("🔥", 1023),
        ("🔥", 1024),
        ("🔥", 1025),
        ("🔥", 3000),
        ("é", 2000),
        ("x", 1024),
    ] {
        let whole = text.repeat(length);
        let got = delivered(&failures_with("summary", json!(whole)));
        let summary = got["payload"]["summary"].as_str().unwrap();
        match length <= 1024 {
            true => assert_eq!(summary, whole),
            false => assert_eq!(summary, format!("{}…", text.repeat(1023))),
        }
    }
    // An empty one is refused by PagerDuty, and a page has to come.
    for empty in [json!(""), json!(" \n"), Value::Null] {
        let got = delivered(&failures_with("summary", empty));
        assert_eq!(got["payload"]["summary"], "self-heal: a person is needed");
    }
}

#[test]
fn a_large_event_loses_details_and_never_its_form() {
    for (name, event) in oversized() {
        let got = delivered(&event);
        let details = &got["payload"]["custom_details"];
        assert!(details["commands"].is_array(), "{name}: {details}");
        assert!(got.to_string().len() < LARGEST, "{name}");
    }
    // What does not have to go stays.
    let (_, event) = oversized().swap_remove(0);
    let got = delivered(&event);
    assert_eq!(got["payload"]["severity"], "info");
    assert_eq!(
        got["payload"]["custom_details"]["attempts"],
        event["attempts"]
    );
}

#[test]
fn a_key_that_is_too_long_is_told_by_its_digest() {
    let key = |key: &str, action: &str| {
        let event = json!({"action": action, "dedup_key": key, "summary": "s"});
        delivered(&event)["dedup_key"].as_str().unwrap().to_owned()
    };
    let long = "k".repeat(300);
    assert_eq!(key(&long, "trigger"), key(&long, "resolve"));
    // Not by its beginning, which two may share.
    assert_ne!(key(&long, "trigger"), key(&format!("{long}x"), "trigger"));
    // 255 bytes at most, whatever the characters.
    assert_eq!(key(&"é".repeat(200), "trigger").len(), 64);
    let odd = "a \"b\" \\ \n é 🔥 \u{1}";
    assert_eq!(key(odd, "trigger"), odd);
}

#[test]
fn hostile_text_stays_text() {
    let got = delivered(&sample("hostile"));
    // Of four links one is a link.
    assert_eq!(got["links"].as_array().unwrap().len(), 1);
    assert_eq!(got["links"][0]["href"], "HTTPS://ok.example.org/a?b=c#d");
    let mut texts = Vec::new();
    gather(&got, &mut texts);
    for text in texts {
        let odd = |c: char| {
            (c.is_control() && c != '\n' && c != '\t') || ('\u{2028}'..='\u{202e}').contains(&c)
        };
        assert!(!text.contains(odd), "{text:?}");
    }
    assert!(!got["payload"]["summary"].as_str().unwrap().contains('\n'));
    assert!(
        got["payload"]["summary"]
            .as_str()
            .unwrap()
            .contains("日本語 🔥")
    );
}

#[test]
fn a_newline_at_the_end_makes_no_link_and_no_time() {
    let mut event = failures_with("at", json!("2026-11-22T12:00:00Z\n"));
    event["links"] = json!([{"href": "https://x.example.org/\n", "text": "runbook"}]);
    let got = delivered(&event);
    assert_eq!(got["payload"].get("timestamp"), None);
    assert_eq!(got.get("links"), None);
}

fn gather(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(text.clone()),
        Value::Array(items) => items.iter().for_each(|item| gather(item, into)),
        Value::Object(members) => members
            .iter()
            .filter(|(key, _)| *key != "dedup_key")
            .for_each(|(key, item)| {
                into.push(key.clone());
                gather(item, into);
            }),
        _ => {}
    }
}

/// The stand-in itself: it has to refuse what PagerDuty would.
#[test]
fn the_table_refuses_what_pagerduty_refuses() {
    let good = delivered(&sample("failures"));
    assert_eq!(errors(&good), [""; 0]);
    let all: BTreeSet<&str> = SCHEMA
        .iter()
        .map(|(place, ..)| *place)
        .filter(|place| !place.contains('*'))
        .collect();
    for place in all {
        let mut event = good.clone();
        // Nothing in the table takes a number.
        match event.pointer_mut(place) {
            Some(value) => *value = json!(1),
            None => continue,
        }
        assert!(!errors(&event).is_empty(), "{place}");
    }
    for (place, value) in [
        ("/payload/summary", json!("x".repeat(1025))),
        ("/payload/summary", json!("")),
        ("/payload/severity", json!("page")),
        ("/payload/timestamp", json!("yesterday")),
        ("/routing_key", json!("short")),
        ("/dedup_key", json!("x".repeat(256))),
        ("/event_action", json!("explode")),
        ("/links/0/href", json!("javascript:x")),
        ("/links/0/text", json!(null)),
        ("/payload", json!(null)),
    ] {
        let mut event = good.clone();
        *event.pointer_mut(place).unwrap() = value;
        assert!(!errors(&event).is_empty(), "{place}");
    }
    let mut event = good.clone();
    event["alert"] = json!({});
    assert_eq!(errors(&event), ["/alert is unknown"]);
    let mut event = good;
    event["event_action"] = json!("resolve");
    assert_eq!(errors(&event), ["a resolve has three members"]);
}
