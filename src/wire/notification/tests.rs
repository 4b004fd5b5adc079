use super::*;
use serde_json::{Value, json};

macro_rules! sample {
    ($name:literal) => {
        include_bytes!(concat!("../../../tests/data/", $name)).as_slice()
    };
}

/// The body of a recorded request.
fn body(request: &[u8]) -> &[u8] {
    let head = request.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
    &request[head + 4..]
}

fn one(alert: Value) -> Result<Notification, String> {
    parse(
        json!({"version": "4", "alerts": [alert]})
            .to_string()
            .as_bytes(),
    )
}

fn minimal() -> Value {
    json!({"status": "firing", "labels": {"alertname": "A", "instance": "i"}})
}

/// The minimal alert with one field set.
fn with(key: &str, value: Value) -> Result<Notification, String> {
    let mut alert = minimal();
    alert[key] = value;
    one(alert)
}

#[test]
fn alertmanager_firing() {
    for text in [
        sample!("am_firing_0.25.json"),
        sample!("am_firing_0.34.json"),
        body(sample!("raw_am_0.25.http")),
    ] {
        let n = parse(text).unwrap();
        assert_eq!(
            (n.receiver.as_str(), n.version.as_str(), n.truncated),
            ("self-heal", "4", 0)
        );
        assert_eq!(n.external_url, "http://am-1.lan:9093");
        assert_eq!(
            n.group_key,
            r#"{}/{heal="true"}:{alertname="EdgeProxyDown", instance="edge-07.lan:8404"}"#
        );
        assert!(n.warnings.is_empty());
        let [posted] = n.alerts.as_slice() else {
            panic!()
        };
        let alert = &posted.alert;
        assert_eq!(
            (alert.name(), alert.instance()),
            ("EdgeProxyDown", "edge-07.lan:8404")
        );
        assert_eq!(alert.status, Status::Firing);
        assert_eq!(alert.labels.len(), 5);
        assert_eq!(
            alert.annotations["runbook"],
            "step 1: look\nstep 2: \"restart\"\tok \\ é ☃"
        );
        assert_eq!(alert.starts_at, Some(Time(1_772_600_767_123)));
        assert_eq!(alert.ends_at, None);
        assert_eq!(
            alert.generator_url,
            "http://prom-a.lan:9090/graph?g0.expr=probe_ok+%3D%3D+0&g0.tab=1"
        );
        assert_eq!(alert.fingerprint.as_deref(), Some("bb7a11b1299d8b7c"));
    }
}

#[test]
fn alertmanager_mixed_keeps_order_and_each_status() {
    let n = parse(sample!("am_mixed_0.28.json")).unwrap();
    let [over, on] = n.alerts.as_slice() else {
        panic!()
    };
    assert_eq!(
        (over.alert.status, on.alert.status),
        (Status::Resolved, Status::Firing)
    );
    assert_eq!(over.alert.ends_at, Some(Time(1_772_601_367_500)));
    assert_eq!(on.alert.labels["backend"], "img & <static>");
    assert_eq!(
        on.alert.starts_at,
        Some(Time(1_772_600_767_000)),
        "an offset is resolved"
    );
}

#[test]
fn alertmanager_resolved() {
    let n = parse(sample!("am_resolved.json")).unwrap();
    assert_eq!(n.alerts[0].alert.status, Status::Resolved);
    assert_eq!(n.alerts[0].alert.ends_at, Some(Time(1_772_601_367_500)));
}

#[test]
fn the_top_level_status_is_never_believed() {
    let n = parse(sample!("am_truncated_status_lies.json")).unwrap();
    assert_eq!((n.truncated, n.alerts.len()), (3, 1));
    for top in [json!("resolved"), json!("nonsense"), json!(7), Value::Null] {
        let n = parse(
            json!({"status": top, "alerts": [minimal()]})
                .to_string()
                .as_bytes(),
        )
        .unwrap();
        assert_eq!(n.alerts[0].alert.status, Status::Firing);
    }
}

#[test]
fn an_alert_without_a_name_is_no_error() {
    let n = parse(sample!("am_no_alertname.json")).unwrap();
    assert_eq!(
        (n.alerts[0].alert.name(), n.alerts[0].alert.instance()),
        ("", "x")
    );
    let n = one(json!({"status": "firing", "labels": {}})).unwrap();
    assert_eq!(
        (n.alerts[0].alert.name(), n.alerts[0].alert.instance()),
        ("", "")
    );
    let n = one(json!({"status": "firing", "labels": {"alertname": "../x", "instance": "-V"}}))
        .unwrap();
    assert_eq!(n.alerts[0].alert.name(), "../x");
}

#[test]
fn names_and_values_are_any_text() {
    let n = parse(sample!("am_utf8_0.27plus.json")).unwrap();
    let labels = &n.alerts[0].alert.labels;
    assert_eq!(labels["PATH"], "/evil");
    assert_eq!(labels["nul"], "a\0b");
    assert_eq!(labels["naïve label"], "v=1");
    assert_eq!(
        (labels["Severity"].as_str(), labels["severity"].as_str()),
        ("A", "b")
    );
    assert_eq!(n.alerts[0].alert.annotations["line.two"], "a\nb");
}

#[test]
fn a_real_capture() {
    let n = parse(body(sample!("capture_am_0.25.0.http"))).unwrap();
    assert_eq!((n.receiver.as_str(), n.alerts.len()), (r"r\.dump", 2));
    assert_eq!(n.alerts[0].alert.annotations["x"], "n\0ul");
    assert_eq!(n.alerts[1].alert.labels["LD_PRELOAD"], "x");
}

#[test]
fn mimir() {
    let n = parse(sample!("mimir.json")).unwrap();
    assert_eq!(
        (n.external_url.as_str(), n.alerts.len()),
        ("https://mimir.lan/alertmanager", 1)
    );
    assert!(n.warnings.is_empty());
}

#[test]
fn grafana() {
    for text in [
        sample!("grafana.json"),
        sample!("grafana_values_null.json"),
        body(sample!("raw_grafana.http")),
    ] {
        let n = parse(text).unwrap();
        assert_eq!((n.version.as_str(), n.warnings.len()), ("1", 0));
        assert_eq!(n.alerts[0].alert.name(), "Latency p99");
        let input: Value = serde_json::from_slice(&n.handler_input(&n.alerts[0])).unwrap();
        assert_eq!(input["alert"]["ruleUID"], "ce7x1");
        assert_eq!(input["orgId"], 1);
    }
}

#[test]
fn an_array_of_alerts_is_told_where_to_go() {
    let error = parse(sample!("NOT_webhook_vmalert_to_api_v2.json")).unwrap_err();
    assert!(
        error.contains("is an array") && error.contains("to Alertmanager"),
        "{error}"
    );
}

#[test]
fn the_handler_reads_the_alert_as_sent_with_its_group() {
    let text = br#"{"alert":"mine","b\n":1.50,"alerts":[{"status":"firing","x":[1e2, 12345678901234567890123],
            "labels":{"z":"1","a":"2"}},{"status":"resolved","labels":{}}],"a":{"k":null}}"#;
    let n = parse(text).unwrap();
    let input = |i: usize| String::from_utf8(n.handler_input(&n.alerts[i])).unwrap();
    let first = r#"{"b\n":1.50,"a":{"k":null},"alert":{"status":"firing","x":[1e2, 12345678901234567890123],
            "labels":{"z":"1","a":"2"}}}"#;
    assert_eq!(input(0), format!("{first}\n"));
    assert_eq!(
        input(1),
        "{\"b\\n\":1.50,\"a\":{\"k\":null},\"alert\":{\"status\":\"resolved\",\"labels\":{}}}\n"
    );
    let bare = parse(br#"{"alerts":[{"status":"firing","labels":{}}]}"#).unwrap();
    assert_eq!(
        bare.handler_input(&bare.alerts[0]),
        b"{\"alert\":{\"status\":\"firing\",\"labels\":{}}}\n"
    );
}

#[test]
fn every_sample_alert_reaches_the_handler_as_valid_strict_json() {
    for text in [
        sample!("am_mixed_0.28.json"),
        sample!("am_utf8_0.27plus.json"),
        body(sample!("capture_am_0.25.0.http")),
    ] {
        let n = parse(text).unwrap();
        let sent: Value = serde_json::from_slice(text).unwrap();
        for (i, posted) in n.alerts.iter().enumerate() {
            let input = n.handler_input(posted);
            let input: Value = serde_json::from_str(json::check(&input).unwrap().get()).unwrap();
            assert_eq!(input["alert"], sent["alerts"][i]);
            assert_eq!(input["groupKey"], sent["groupKey"]);
            assert!(input.get("alerts").is_none());
        }
    }
}

#[test]
fn a_body_without_an_alerts_array_is_refused() {
    for bad in [
        "{}",
        r#"{"alerts":null}"#,
        r#"{"alerts":40}"#,
        r#"{"alerts":{}}"#,
        "[]",
        "null",
        "\"alerts\"",
        "4",
        "",
    ] {
        let error = parse(bad.as_bytes()).unwrap_err();
        assert!(!error.contains('\n'), "{error}");
    }
    assert!(
        parse(br#"{"alerts":40}"#)
            .unwrap_err()
            .contains("`alerts` is a number, not an array")
    );
    assert!(parse(br#"{"alerts":[]}"#).unwrap().alerts.is_empty());
}

#[test]
fn an_alert_needs_a_status_and_labels() {
    for (alert, reason) in [
        (json!({"labels": {}}), "alerts[0] has no `status`"),
        (json!({"status": "firing"}), "alerts[0] has no `labels`"),
        (json!(1), "alerts[0] is a number, not an object"),
        (json!(null), "alerts[0] is null, not an object"),
        (
            json!({"status": "firing", "labels": null}),
            "`labels` of alerts[0] is null, not an object of strings",
        ),
        (
            json!({"status": "firing", "labels": []}),
            "`labels` of alerts[0] is an array, not an object of strings",
        ),
        (
            json!({"status": "firing", "labels": {"a": 1}}),
            "`a` in `labels` of alerts[0] is a number, not a string",
        ),
        (
            json!({"status": "firing", "labels": {"a": null}}),
            "`a` in `labels` of alerts[0] is null, not a string",
        ),
    ] {
        assert_eq!(one(alert).unwrap_err(), reason);
    }
    for status in [
        json!("Firing"),
        json!("suppressed"),
        json!(""),
        json!(null),
        json!(true),
        json!(["firing"]),
    ] {
        assert!(
            with("status", status)
                .unwrap_err()
                .contains("`status` of alerts[0] is neither")
        );
    }
}

#[test]
fn a_wrong_type_anywhere_that_is_read_refuses_the_request() {
    for key in [
        "annotations",
        "startsAt",
        "endsAt",
        "generatorURL",
        "fingerprint",
    ] {
        assert!(with(key, json!(1)).unwrap_err().contains(key));
        assert!(with(key, Value::Null).is_ok(), "null {key} is absent");
    }
    assert!(with("annotations", json!({"a": {}})).is_err());
    for key in ["receiver", "groupKey", "externalURL", "version"] {
        let text = json!({key: 4, "alerts": []}).to_string();
        assert_eq!(
            parse(text.as_bytes()).unwrap_err(),
            format!("`{key}` of the notification is a number, not a string")
        );
        assert!(parse(json!({key: null, "alerts": []}).to_string().as_bytes()).is_ok());
    }
    let second = json!({"alerts": [minimal(), {"status": "firing", "labels": 1}]}).to_string();
    assert!(parse(second.as_bytes()).unwrap_err().contains("alerts[1]"));
}

#[test]
fn a_duplicate_key_or_broken_text_in_one_alert_refuses_the_request() {
    let good = r#"{"status":"firing","labels":{}}"#;
    for bad in [
        r#"{"status":"firing","status":"resolved","labels":{}}"#,
        r#"{"status":"firing","labels":{"instance":"a","instance":"b"}}"#,
        r#"{"status":"firing","labels":{},"unknown":{"a":1,"a":1}}"#,
        r#"{"status":"firing","labels":{},"unknown":"\ud800"}"#,
    ] {
        assert!(
            parse(format!(r#"{{"alerts":[{good},{bad}]}}"#).as_bytes()).is_err(),
            "{bad}"
        );
    }
    let broken = [
        br#"{"alerts":[{"status":"firing","labels":{"a":""#.as_slice(),
        b"\xc3\x28",
        br#""}}]}"#,
    ]
    .concat();
    assert!(parse(&broken).unwrap_err().contains("not UTF-8"));
    assert!(
        parse(br#"{"alerts":[]} {"alerts":[]}"#)
            .unwrap_err()
            .contains("trailing")
    );
}

#[test]
fn times() {
    let starts = |text: &str| with("startsAt", json!(text)).map(|n| n.alerts[0].alert.starts_at);
    assert_eq!(starts("0001-01-01T00:00:00Z"), Ok(None));
    assert_eq!(starts("1970-01-01T00:00:01.5Z"), Ok(Some(Time(1500))));
    for bad in ["", "now", "2026-03-04", "2026-02-30T00:00:00Z"] {
        assert_eq!(
            starts(bad).unwrap_err(),
            "`startsAt` of alerts[0] is not an RFC 3339 time"
        );
        assert!(with("endsAt", json!(bad)).is_err());
    }
}

#[test]
fn counts_of_truncated_alerts() {
    let cut = |value: Value| {
        parse(
            json!({"truncatedAlerts": value, "alerts": []})
                .to_string()
                .as_bytes(),
        )
        .map(|n| n.truncated)
    };
    assert_eq!(cut(json!(null)), Ok(0));
    assert_eq!(cut(json!(u64::MAX)), Ok(u64::MAX));
    assert_eq!(parse(br#"{"alerts":[]}"#).unwrap().truncated, 0);
    for bad in [json!(-1), json!(1.5), json!("1"), json!([]), json!(true)] {
        assert!(
            cut(bad)
                .unwrap_err()
                .starts_with("`truncatedAlerts` of the notification is ")
        );
    }
}

#[test]
fn an_unknown_version_is_only_a_warning() {
    for (text, warned) in [
        (r#"{"alerts":[],"version":"4"}"#, None),
        (r#"{"alerts":[],"version":"1"}"#, None),
        (
            r#"{"alerts":[],"version":"5\n"}"#,
            Some("unknown payload version `5?`; read as version 4"),
        ),
        (
            r#"{"alerts":[]}"#,
            Some("the payload names no version; read as version 4"),
        ),
    ] {
        let n = parse(text.as_bytes()).unwrap();
        assert_eq!(n.warnings.first().map(String::as_str), warned);
    }
}

#[test]
fn an_unusable_fingerprint_counts_as_absent() {
    let long = "a".repeat(129);
    for bad in ["-x", "a b", "../x", "é", "a\n", ".a", &long] {
        let n = with("fingerprint", json!(bad)).unwrap();
        assert_eq!(n.alerts[0].alert.fingerprint, None, "{bad}");
        assert_eq!(n.warnings.len(), 1);
    }
    for good in ["b2cf8126af425ee7", "A", "0:a_b.c-d", &long[1..]] {
        let n = with("fingerprint", json!(good)).unwrap();
        assert_eq!(n.alerts[0].alert.fingerprint.as_deref(), Some(good));
        assert!(n.warnings.is_empty());
    }
    let n = with("fingerprint", json!("")).unwrap();
    assert!(n.alerts[0].alert.fingerprint.is_none() && n.warnings.is_empty());
}

#[test]
fn an_error_shows_nothing_of_the_payload_but_a_short_name() {
    let error =
        one(json!({"status": "firing", "labels": {"secret\u{1b}[2J": {"token": "hunter2"}}}))
            .unwrap_err();
    assert_eq!(
        error,
        "`secret?[2J` in `labels` of alerts[0] is an object, not a string"
    );
    let error = with("status", json!("hunter2")).unwrap_err();
    assert!(!error.contains("hunter2"), "{error}");
}
