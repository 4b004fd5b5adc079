//! The webhook's body: a text that Slack and Mattermost show, and the whole event beside it.

use serde_json::{Value, json};

use super::fake::Fake;
use super::{Desk, Outcome, SECRET_PATH, failures_with, oversized, sample, samples};

/// Mattermost takes so many characters in one message; Slack shows more.
const LONGEST: usize = 16_383;

#[track_caller]
fn delivered(event: &Value) -> Value {
    let fake = Fake::accepting(1);
    let desk = Desk::at(&fake.url(SECRET_PATH));
    desk.tell("webhook", event).is(Outcome::Delivered, &["202"]);
    let body = fake.body(SECRET_PATH);
    // Members with a meaning for Slack or Mattermost, like `channel` or `type`, must not come in by chance.
    let members: Vec<&String> = body.as_object().unwrap().keys().collect();
    assert!(
        members == ["event", "text"] || members == ["text"],
        "{members:?}"
    );
    let text = body["text"].as_str().unwrap();
    assert!(
        !text.is_empty() && text.chars().count() <= LONGEST,
        "{}",
        text.len()
    );
    assert_eq!(text.matches("```").count() % 2, 0, "{text}");
    body
}

#[test]
fn the_whole_event_is_beside_the_text() {
    for (name, event) in samples() {
        assert_eq!(delivered(&event)["event"], event, "{name}");
    }
}

#[test]
fn the_text_says_what_was_tried_and_what_to_do() {
    let body = delivered(&failures_with("summary", json!("a < b & c > d @channel")));
    let expected = ":rotating_light: a &lt; b & c &gt; d @\u{200b}channel\n```\n\
        exit 1 at each of 3 attempts within 4h; nothing more is run until it resolves or somebody resets it\n\
        Alert: NginxDown on web-1:9113, since 2026-11-22T11:50:00.123Z\n\
        Host: gw-1\n\
        Reason: failures\n\n\
        What was tried:\n  \
        attempt 1, 2026-11-22T11:51:00Z to 2026-11-22T11:51:03Z: failed, exit 1\n  \
        attempt 2, 2026-11-22T11:52:00Z to 2026-11-22T11:52:03Z: failed, exit 1\n  \
        attempt 3, 2026-11-22T11:53:00Z to 2026-11-22T11:53:03Z: failed, exit 1\n\n\
        To look closer, or to reset:\n  \
        tail -n 50 /var/log/self-heal/NginxDown.log\n  \
        self-heal reset NginxDown web-1:9113\n\n\
        Its last output:\n  \
        2026-11-22T11:53:03Z attempt 3 for web-1:9113\n  \
        2026-11-22T11:53:03Z failed: the restart failed: see journalctl -u nginx\n\
        ```\n\
        generator: http://prom:9090/graph?g0.expr=up%7Bjob%3D%22nginx%22%7D+%3D%3D+0&g0.tab=1\n\
        dashboard: https://grafana.example.org/d/nginx\n\
        runbook: https://wiki.example.org/nginx\n\
        alertmanager: http://am:9093";
    assert_eq!(body["text"], expected);
    let resolve = delivered(&sample("resolve"));
    let text = resolve["text"].as_str().unwrap();
    assert!(
        text.starts_with(":white_check_mark: Over: NginxDown on web-1:9113"),
        "{text}"
    );
    assert!(!text.contains("To look closer"), "{text}");
}

#[test]
fn no_text_calls_a_channel_or_forges_a_link() {
    let body = delivered(&sample("hostile"));
    let text = body["text"].as_str().unwrap();
    assert!(!text.contains(['<', '>']), "{text}");
    // Outside of code, where Mattermost looks for names.
    for outside in text.split("```").step_by(2) {
        assert!(!outside.replace("@\u{200b}", "").contains('@'), "{outside}");
    }
    assert!(
        !text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'),
        "{text}"
    );
    assert!(
        !text.contains("javascript:") && !text.contains("file:"),
        "{text}"
    );
}

#[test]
fn an_event_beyond_every_limit_still_makes_a_text() {
    for (name, event) in oversized() {
        let body = delivered(&event);
        assert!(body.to_string().len() < 300_000, "{name}");
        if event.to_string().len() < 200_000 {
            assert_eq!(body["event"], event, "{name}");
        }
    }
}
