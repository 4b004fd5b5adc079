//! Each rule once where it bites and once where it is fine; and that no text brings the reader down.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::wire::config;
use crate::wire::finding::Severity;

fn minutes(n: u64) -> Duration {
    Duration::from_secs(60 * n)
}

fn context<'a>(handlers: &[&str]) -> Context<'a> {
    let config = config::defaults();
    let handler = |name: &&str| Handler::new(name, &Directives::default(), &config);
    Context::new(&config, Some(handlers.iter().map(handler).collect()))
}

/// A configuration with nothing to say, for one change at a time.
const FINE: &str = r#"
global:
  resolve_timeout: 5m
route:
  receiver: people
  routes:
    - matchers: ['heal="true"']
      receiver: people
      group_by: ['...']
      group_wait: 15m
      continue: true
    - matchers: ['heal="true"']
      receiver: healer
      group_by: ['...']
      group_wait: 10s
      group_interval: 1m
      repeat_interval: 15m
receivers:
  - name: people
    pagerduty_configs: [{routing_key: x}]
  - name: healer
    webhook_configs:
      - url: http://127.0.0.1:9095/
        http_config:
          follow_redirects: false
inhibit_rules:
  - source_matchers: ['alertname="NodeDown"', 'host!=""']
    target_matchers: ['heal="true"']
    equal: [host]
"#;

const RULES: &str = r#"
groups:
  - name: a
    rules:
      - alert: NginxDown
        expr: nginx_up == 0
        for: 2m
        labels: {heal: "true"}
        annotations: {summary: down}
      - alert: NodeDown
        expr: up{job="node"} == 0
        for: 1m
      - alert: Healer
        expr: up{job="self-heal"} == 0 or self_heal_breakers_open > 0 or self_heal_escalations_pending > 0
"#;

fn found(alertmanager: &str, rules: &str, context: &Context<'_>) -> Vec<Finding> {
    let text = |name, text| Text { name, text };
    let file = (!alertmanager.is_empty()).then(|| text("am", alertmanager));
    let rules = [text("rules", rules)];
    let given = match rules {
        [Text { text: "", .. }] => &[],
        _ => &rules[..],
    };
    lint(file, given, context)
}

/// The line and kind of everything found, sorted by line.
fn kinds(findings: &[Finding]) -> Vec<String> {
    findings
        .iter()
        .map(|finding| format!("{} {}", finding.place, finding.kind.name))
        .collect()
}

fn changed(from: &str, to: &str) -> String {
    assert!(FINE.contains(from), "{from}");
    FINE.replacen(from, to, 1)
}

fn changed_rules(from: &str, to: &str) -> String {
    assert!(RULES.contains(from), "{from}");
    RULES.replacen(from, to, 1)
}

fn alertmanager_says(text: &str, want: &[&str]) {
    let findings = found(text, RULES, &context(&["NginxDown"]));
    assert_eq!(kinds(&findings), want, "{text}\n{findings:#?}");
}

fn rules_say(text: &str, want: &[&str]) {
    let findings = found("", text, &context(&["NginxDown"]));
    assert_eq!(kinds(&findings), want, "{text}\n{findings:#?}");
}

#[test]
fn what_is_fine_has_nothing_to_say() {
    alertmanager_says(FINE, &[]);
    rules_say(RULES, &[]);
}

#[test]
fn the_webhook() {
    let url = "      - url: http://127.0.0.1:9095/\n";
    let with = |line: &str| changed(url, &format!("{url}        {line}\n"));
    alertmanager_says(&with("max_alerts: 1"), &["am:24 max-alerts"]);
    alertmanager_says(&with("max_alerts: 0"), &[]);
    alertmanager_says(&with("send_resolved: no"), &["am:24 send-resolved"]);
    alertmanager_says(&with("send_resolved: true"), &[]);
    alertmanager_says(&with("timeout: 4m"), &["am:24 webhook-timeout"]);
    alertmanager_says(&with("timeout: 4m10s"), &[]);
    alertmanager_says(&with("timeout: 0s"), &[]);
    alertmanager_says(&with("payload: {a: b}"), &["am:24 own-payload"]);
    for (url, want) in [
        ("http://localhost:9095", &[][..]),
        ("http://[::1]:9095/x?y", &[]),
        ("http://127.0.0.9:9095", &[]),
        ("http://web-1.lan:9095/", &["am:23 remote-webhook"]),
        ("https://web-1.lan:9095/", &[]),
        ("https://127.0.0.1:9095/", &["am:23 webhook-tls"]),
        ("http://127.0.0.1:9096/", &["am:18 no-receiver"]),
        ("http://127.0.0.1/", &["am:18 no-receiver"]),
        ("<secret>", &["am:21 no-receiver"]),
        ("'http://{{ .GroupLabels.host }}/'", &["am:21 no-receiver"]),
    ] {
        alertmanager_says(&changed("http://127.0.0.1:9095/", url), want);
    }
    let http = "          follow_redirects: false\n";
    let with = |line: &str| changed(http, &format!("{http}          {line}\n"));
    alertmanager_says(&with("proxy_url: http://p:3128"), &["am:26 webhook-proxy"]);
    alertmanager_says(&with("proxy_from_environment: true"), &[]);
    alertmanager_says(
        &changed("redirects: false", "redirects: true"),
        &["am:25 follow-redirects"],
    );
    // A receiver's own http_config replaces the global one whole.
    let global = changed("5m\n", "5m\n  http_config: {follow_redirects: false}\n");
    alertmanager_says(
        &global.replace(
            "        http_config:\n          follow_redirects: false\n",
            "",
        ),
        &[],
    );
    alertmanager_says(
        &global.replace(
            "          follow_redirects: false",
            "          enable_http2: true",
        ),
        &["am:25 follow-redirects"],
    );
}

#[test]
fn the_token() {
    let mut context = context(&["NginxDown"]);
    context.token = true;
    assert_eq!(kinds(&found(FINE, RULES, &context)), ["am:23 no-token"]);
    let http = "          follow_redirects: false\n";
    for line in [
        "authorization: {credentials_file: /t}",
        "basic_auth: {username: a, password: b}",
    ] {
        let text = changed(http, &format!("{http}          {line}\n"));
        assert_eq!(kinds(&found(&text, RULES, &context)), [""; 0], "{line}");
    }
    let text = changed("127.0.0.1:9095", "a:secret@127.0.0.1:9095");
    assert_eq!(kinds(&found(&text, RULES, &context)), [""; 0]);
}

#[test]
fn the_receiver_that_was_named() {
    let mut context = context(&["NginxDown"]);
    let text = changed("http://127.0.0.1:9095/", "http://relay:8080/");
    for (name, want) in [
        ("healer", &["am:23 remote-webhook"][..]),
        ("haeler", &["am:18 no-receiver"]),
        ("people", &["am:19 no-receiver"]),
    ] {
        context.receiver = Some(name);
        assert_eq!(kinds(&found(&text, RULES, &context)), want, "{name}");
    }
    context.receiver = Some("haeler");
    assert_eq!(
        found(&text, RULES, &context)[0].mend,
        "did you mean `healer`?"
    );
    context.receiver = Some("healer");
    let text = changed("url: http://127.0.0.1:9095/", "url_file: /etc/url");
    assert_eq!(kinds(&found(&text, RULES, &context)), ["am:23 hidden-url"]);
    context.receiver = None;
    let findings = found(&text, RULES, &context);
    assert_eq!(
        findings[0].mend,
        "if receiver `healer` is the one: --receiver NAME"
    );
}

#[test]
fn who_hears() {
    let twice = "      continue: true\n";
    alertmanager_says(
        &changed(twice, ""),
        &["am:11 unreachable-route", "rules:5 not-routed"],
    );
    let route = FINE
        .split_once("    - matchers: ['heal=\"true\"']\n      receiver: people")
        .unwrap();
    let ours = route.1.split_once("      continue: true\n").unwrap().1;
    let alone = format!("{}{ours}", route.0);
    alertmanager_says(&alone, &["am:7 nobody-else"]);
    // Mail beside the webhook is somebody.
    alertmanager_says(
        &alone.replace(
            "  - name: healer\n",
            "  - name: healer\n    email_configs: [{to: a}]\n",
        ),
        &[],
    );
    // A route behind it, too; one that only takes other alerts is not.
    let behind = |matchers: &str| {
        alone.replace(
            "      repeat_interval: 15m\n",
            &format!("      repeat_interval: 15m\n      continue: true\n    - matchers: [{matchers}]\n      receiver: people\n      group_wait: 15m\n      group_by: ['...']\n"),
        )
    };
    alertmanager_says(&behind(""), &[]);
    alertmanager_says(&behind("severity=page"), &[]);
    alertmanager_says(&behind("heal=no"), &["am:7 nobody-else"]);
    alertmanager_says(
        &changed("group_wait: 15m", "group_wait: 4m"),
        &["am:10 paged-first"],
    );
    // Whoever only reads of it may do so at once.
    let chat = FINE.replace("pagerduty_configs", "slack_configs");
    alertmanager_says(&chat.replace("group_wait: 15m", "group_wait: 4m"), &[]);
    alertmanager_says(
        &changed("group_by: ['...']", "group_by: [alertname]"),
        &["am:9 shared-delay"],
    );
    alertmanager_says(&changed("group_by: ['...']", "group_by: [instance]"), &[]);
    let nobody = FINE.replacen("receiver: people", "receiver: nobody", 1);
    let nobody = nobody.replace("receivers:\n", "receivers:\n  - name: nobody\n");
    alertmanager_says(&nobody, &["am:5 default-route-empty"]);
    // A route that takes everything: the default one is never reached.
    let all = nobody
        .replace("inhibit_rules", "#")
        .replace("receivers:", "    - receiver: people\nreceivers:");
    alertmanager_says(all.split("#").next().unwrap(), &[]);
    alertmanager_says(
        &FINE.replacen("receiver: people", "receiver: healer", 1),
        &[
            "am:5 default-route-heals",
            "am:4 group-by",
            "am:4 slow-verdict",
        ],
    );
    alertmanager_says(
        &changed("      receiver: healer", "      receiver: people"),
        &["am:4 no-route"],
    );
}

#[test]
fn the_same_alert_twice() {
    let url = "      - url: http://127.0.0.1:9095/\n";
    let two = changed(
        url,
        &format!("{url}        http_config: {{follow_redirects: false}}\n{url}"),
    );
    alertmanager_says(&two, &["am:25 posted-twice"]);
    let ours = "      repeat_interval: 15m\n";
    let again = format!(
        "{ours}      continue: true\n    - matchers: [heal=true]\n      receiver: healer\n      group_by: ['...']\n      group_interval: 1m\n{ours}"
    );
    alertmanager_says(&changed(ours, &again), &["am:19 posted-twice"]);
}

#[test]
fn times_of_the_route() {
    let by = |labels: &str| {
        let at = FINE.rfind("      group_by: ['...']").unwrap();
        let (before, after) = FINE.split_at(at);
        format!("{before}{}", after.replacen("['...']", labels, 1))
    };
    alertmanager_says(&by("[alertname]"), &["am:14 group-by"]);
    alertmanager_says(&by("[cluster, instance]"), &[]);
    alertmanager_says(&by("[]"), &["am:12 group-by"]);
    alertmanager_says(
        &changed("group_wait: 10s", "group_wait: 5m"),
        &["am:15 group-wait"],
    );
    let interval = |span: &str| changed("group_interval: 1m", &format!("group_interval: {span}"));
    alertmanager_says(&interval("2m"), &["am:17 repeat-rounded"]);
    alertmanager_says(&interval("3m"), &["am:16 group-interval"]);
    alertmanager_says(&interval("5m"), &["am:16 group-interval"]);
    alertmanager_says(&interval("20s"), &["am:16 retry-delay"]);
    let repeat = |span: &str| changed("repeat_interval: 15m", &format!("repeat_interval: {span}"));
    alertmanager_says(&repeat("29s"), &["am:17 repeat-lost"]);
    alertmanager_says(&repeat("30s"), &["am:17 repeat-short"]);
    alertmanager_says(&repeat("5m"), &["am:17 repeat-settle"]);
    alertmanager_says(&repeat("6m"), &[]);
    alertmanager_says(&repeat("80m"), &[]);
    alertmanager_says(&repeat("81m"), &["am:17 slow-verdict"]);
    alertmanager_says(&repeat("nonsense"), &["am:12 slow-verdict"]);
    alertmanager_says(
        &changed(
            "      group_wait: 10s\n",
            "      group_wait: 10s\n      active_time_intervals: [x]\n",
        ),
        &["am:16 muted-times"],
    );
}

#[test]
fn times_of_the_healer() {
    let mut one = context(&["NginxDown"]);
    let says = |context: &Context<'_>| kinds(&found(FINE, RULES, context));
    one.lock_wait = minutes(1);
    assert_eq!(says(&one), ["am:16 lock-wait"]);
    one.lock_wait = minutes(1) - Duration::from_millis(1);
    assert_eq!(says(&one), [""; 0]);
    one.usual.settle = minutes(1);
    // The handler's own time counts.
    assert_eq!(says(&one), [""; 0]);
    one.handlers.as_mut().unwrap()[0].limits.settle = Duration::from_secs(75);
    assert_eq!(says(&one), ["am:16 settle-interval"]);
    one.handlers.as_mut().unwrap()[0].limits.settle = Duration::from_secs(76);
    assert_eq!(says(&one), [""; 0]);
    one.handlers.as_mut().unwrap()[0].limits.settle = Duration::ZERO;
    assert_eq!(says(&one), [""; 0]);
    let mut two = context(&["NginxDown", "Slow"]);
    two.handlers.as_mut().unwrap()[1].limits.timeout = minutes(15);
    let findings = found(FINE, "", &two);
    assert_eq!(kinds(&findings), ["am:10 paged-first"]);
    assert!(
        findings[0].what.contains("`Slow` may be at it for 15m20s"),
        "{findings:?}"
    );
    // Not if its alerts do not come that way.
    let other = FINE.replace(
        r#"'heal="true"']"#,
        r#"'heal="true"', 'alertname!="Slow"']"#,
    );
    let other = other.replace(
        "target_matchers: ['heal=\"true\"', 'alertname!=\"Slow\"']",
        "target_matchers: ['heal=\"true\"']",
    );
    assert_eq!(kinds(&found(&other, "", &two)), [""; 0]);
    let mut old = context(&["NginxDown"]);
    old.unsettled_status = 200;
    assert_eq!(says(&old), [""; 0]);
    old.attempt_window = minutes(29);
    assert_eq!(says(&old), ["am:17 slow-verdict", "am:17 attempts-apart"]);
}

#[test]
fn inhibition() {
    let equal = |labels: &str| changed("equal: [host]", &format!("equal: {labels}"));
    alertmanager_says(&equal("[instance]"), &["am:29 inhibit-instance"]);
    alertmanager_says(&equal("[instance, job]"), &[]);
    alertmanager_says(&equal("[instance, alertname]"), &[]);
    alertmanager_says(&equal("[rack]"), &["am:29 inhibit-empty"]);
    alertmanager_says(&equal("[]"), &["am:27 inhibit-all"]);
    let rule = |source: &str, target: &str| {
        let text = changed(
            "['alertname=\"NodeDown\"', 'host!=\"\"']",
            &format!("['{source}']"),
        );
        text.replace(
            "target_matchers: ['heal=\"true\"']",
            &format!("target_matchers: ['{target}']"),
        )
    };
    // One severity and the next: the same instances.
    let severities = rule(r#"severity="critical",host!="""#, r#"heal="true""#);
    alertmanager_says(&severities.replace("[host]", "[instance]"), &[]);
    alertmanager_says(
        &rule(r#"heal="true""#, r#"heal="true""#),
        &["am:27 inhibit-self"],
    );
    alertmanager_says(
        &rule(r#"heal="true",a="b""#, r#"heal="true""#),
        &["am:29 inhibit-empty"],
    );
    // What does not touch the alerts to heal, or only some of them, is left alone.
    alertmanager_says(&rule(r#"alertname="x""#, r#"heal="no""#), &[]);
    alertmanager_says(&rule(r#"alertname="x""#, r#"severity="info""#), &[]);
    let slow = changed_rules("for: 1m", "for: 2m");
    let findings = found(FINE, &slow, &context(&["NginxDown"]));
    assert_eq!(kinds(&findings), ["am:27 inhibit-late"]);
}

#[test]
fn rules_of_alerts_to_heal() {
    rules_say(
        &changed_rules("alert: NginxDown", "alert: NginxDwon"),
        &["rules:5 no-handler", "rules:1 handler-unused"],
    );
    let findings = found(
        "",
        &changed_rules("alert: NginxDown", "alert: nginxDown"),
        &context(&["NginxDown"]),
    );
    assert_eq!(findings[0].mend, "did you mean `NginxDown`?");
    rules_say(
        &changed_rules("alert: NginxDown", "alert: nginx is down"),
        &["rules:5 unsafe-name", "rules:1 handler-unused"],
    );
    rules_say(&changed_rules("        for: 2m\n", ""), &["rules:5 no-for"]);
    rules_say(&changed_rules("for: 2m", "for: 0s"), &["rules:7 no-for"]);
    rules_say(
        &changed_rules("for: 2m", "for: 90s"),
        &["rules:7 for-short"],
    );
    let keep = |span: &str| {
        changed_rules(
            "for: 2m\n",
            &format!("for: 2m\n        keep_firing_for: {span}\n"),
        )
    };
    rules_say(&keep("6m"), &["rules:8 keep-firing"]);
    rules_say(&keep("5m"), &[]);
    let expr = |expr: &str| changed_rules("nginx_up == 0", expr);
    rules_say(&expr("increase(errors[1h]) > 3"), &["rules:6 long-window"]);
    rules_say(&expr("increase(errors[6m]) > 3"), &[]);
    rules_say(&expr("max_over_time(waiting[1h]) < 10"), &[]);
    rules_say(
        &expr("sum by (host) (nginx_up) == 0"),
        &["rules:6 no-instance"],
    );
    rules_say(&expr("sum by (host, instance) (nginx_up) == 0"), &[]);
    rules_say(&expr("nginx_up) == 0"), &[]);
    let label =
        |label: &str| changed_rules("{heal: \"true\"}", &format!("{{heal: \"true\", {label}}}"));
    rules_say(&label("v: '{{ $value }}'"), &["rules:8 changing-label"]);
    rules_say(
        &label("v: '{{ .Value | humanize }}'"),
        &["rules:8 changing-label"],
    );
    rules_say(
        &label("v: '{{ if gt $value 3.0 }}a{{ else }}b{{ end }}'"),
        &[],
    );
    rules_say(&label("v: '{{ $labels.value }}'"), &[]);
    rules_say(&label("v: '{{ $values }}'"), &[]);
    rules_say(&label("instance: web-1"), &[]);
    rules_say(
        &changed_rules("        annotations: {summary: down}\n", ""),
        &["rules:5 no-summary"],
    );
    // Without heal="true" none of that is our business.
    let other =
        expr("sum(x) > 0").replace("{heal: \"true\"}", "{heal: \"false\", v: '{{ $value }}'}");
    rules_say(&other, &["rules:1 handler-unused"]);
}

#[test]
fn labels_of_a_group_are_those_of_its_rules() {
    let text = changed_rules("        labels: {heal: \"true\"}\n", "");
    let text = text.replace(
        "  - name: a\n",
        "  - name: a\n    labels: {heal: \"true\"}\n",
    );
    let findings = found("", &text, &context(&["NginxDown"]));
    assert!(
        kinds(&findings).contains(&"rules:10 no-handler".to_owned()),
        "{findings:#?}"
    );
}

#[test]
fn a_rule_of_kubernetes_is_one_too() {
    let text = RULES
        .replace('\n', "\n  ")
        .replacen("\n", "\nkind: PrometheusRule\nspec:\n", 1);
    rules_say(&text, &[]);
    rules_say(&text.replace("2m", "1m"), &["rules:9 for-short"]);
}

#[test]
fn the_healer_itself() {
    let expr = |expr: &str| RULES.replace("up{job=\"self-heal\"} == 0 or", expr);
    rules_say(&expr(""), &["rules:1 healer-unwatched"]);
    for watched in [
        "up == 0 or",
        "up{job=~\"node|self-heal\"} == 0 or",
        "up{job!=\"x\"} == 0 or",
        "absent(up{instance=\"127.0.0.1:9095\", job=\"x\"}) or",
        "absent(self_heal_build_info) or",
    ] {
        rules_say(&expr(watched), &[]);
    }
    rules_say(
        &expr("up{job=~\"a|b\"} == 0 or"),
        &["rules:1 healer-unwatched"],
    );
    let unheard = RULES
        .replace("self_heal_breakers_open", "x")
        .replace("self_heal_escalations_pending", "y");
    rules_say(
        &unheard,
        &["rules:1 state-unwatched", "rules:1 state-unwatched"],
    );
    let healed = format!("{RULES}        labels: {{heal: \"true\"}}\n");
    rules_say(&healed, &["rules:13 self-healing"]);
}

#[test]
fn rules_and_routes_together() {
    let routes = FINE.replace(r#"['heal="true"']"#, r#"['heal="true"', 'team="web"']"#);
    let context = context(&["NginxDown"]);
    // The team may come with the series: nothing is known, and nothing said but that.
    let says = |rules: &str| kinds(&found(&routes, rules, &context));
    assert_eq!(says(RULES), [""; 0]);
    let team = |team: &str| {
        RULES.replace(
            "{heal: \"true\"}",
            &format!("{{heal: \"true\", team: {team}}}"),
        )
    };
    assert_eq!(says(&team("web")), [""; 0]);
    assert_eq!(says(&team("db")), ["rules:5 not-routed"]);
    // Routed to us by name, whatever its label.
    let by_name = FINE.replace(r#"heal="true""#, r#"alertname=~"Nginx.*""#);
    let rules = RULES
        .replace("        labels: {heal: \"true\"}\n", "")
        .replace("for: 2m", "for: 90s");
    assert_eq!(
        kinds(&found(&by_name, &rules, &context)),
        ["rules:7 for-short"]
    );
}

#[test]
fn files_that_are_something_else() {
    let context = context(&[]);
    let says = |am: &str, rules: &str| kinds(&found(am, rules, &context));
    assert_eq!(says("a: b\n", ""), ["am:1 other-file"]);
    assert_eq!(says("", "a: b\n"), ["rules:1 other-file"]);
    assert_eq!(
        says("# nothing\n", "- a\n"),
        ["rules:1 other-file", "am:1 other-file"]
    );
    assert_eq!(says("a: [\n", "a: {\n")[..1], ["rules:1 broken-yaml"]);
    let mut two = format!("{FINE}---\nroute: {{receiver: nobody}}\n");
    assert_eq!(says(&two, ""), ["am:30 more-documents"]);
    two.push_str("\t: broken\n");
    assert_eq!(says(&two, ""), ["am:30 more-documents"]);
    assert_eq!(says(&format!("\u{feff}{FINE}"), ""), [""; 0]);
    // Windows' line ends.
    assert_eq!(says(&FINE.replace('\n', "\r\n"), ""), [""; 0]);
}

#[test]
fn what_no_terminal_shows_is_not_shown() {
    let rules = RULES.replace("NginxDown", "\"Nginx\\e[31mDown\\u202e\"");
    for finding in found("", &rules, &context(&[])) {
        let all = format!("{}{}{}", finding.place, finding.what, finding.mend);
        assert!(
            all.chars().all(|c| (' '..='~').contains(&c) || c == '…'),
            "{all:?}"
        );
    }
}

#[test]
fn aliases_and_depth_are_bounded() {
    let why = |text: &str| yaml::read(text).unwrap_err().why;
    let mut laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for n in 1..12 {
        let alias = format!("*a{}", n - 1);
        laughs.push_str(&format!("a{n}: &a{n} [{}]\n", vec![alias; 10].join(", ")));
    }
    assert!(why(&laughs).contains("aliases counted"), "{}", why(&laughs));
    // One long text, many times.
    let copies = format!(
        "a: &a {}\nb: [{}]\n",
        "x".repeat(1 << 20),
        vec!["*a"; 1000].join(",")
    );
    assert!(why(&copies).contains("aliases counted"));
    let mut deep = "a0: &a0 [x]\n".to_owned();
    for n in 1..100 {
        deep.push_str(&format!("a{n}: &a{n} [*a{}]\n", n - 1));
    }
    assert!(why(&deep).contains("in one another"), "{}", why(&deep));
    assert!(!why(&"[".repeat(100_000)).is_empty());
    assert!(!why(&"- ".repeat(100_000)).is_empty());
    assert!(why("a: &a [*a]\n").contains("within what it stands for"));
    assert!(why("{[a]: b}\n").contains("a key that is"));
    assert!(why("<<: x\n").contains("`<<` takes"));
    assert_eq!(yaml::read(&"x".repeat((4 << 20) + 1)).unwrap_err().line, 1);
    let broken = yaml::read("a: b\nc: d\na: e\n").unwrap_err();
    assert_eq!(
        (broken.line, broken.why.as_str()),
        (3, "`a` is already given in line 1")
    );
}

#[test]
fn merges_are_followed() {
    let text = "x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz:\n  a: 0\n  <<: [*x, *y]\n";
    let root = yaml::read(text).unwrap().root;
    let z = &root.get("z").unwrap().node;
    let values = ["a", "b", "c"].map(|key| z.text_of(key).unwrap());
    assert_eq!(values, ["0", "2", "4"]);
    assert_eq!(z.get("c").unwrap().line, 2);
}

#[test]
fn the_table_of_kinds_is_whole() {
    assert_eq!(KINDS.len(), LINTS.len());
    for (n, lint) in LINTS.iter().enumerate() {
        let name = lint.kind.name;
        assert!(
            LINTS[n + 1..].iter().all(|other| other.kind.name != name),
            "{name} twice"
        );
        for text in [lint.kind.about, lint.why, lint.mend] {
            assert!(
                !text.is_empty() && !text.ends_with('.') && !text.contains('\n'),
                "{name}: {text}"
            );
        }
    }
    assert!(
        LINTS
            .iter()
            .any(|lint| lint.kind.severity == Severity::Note)
    );
}

/// Pieces that these files are made of, for texts that get further than noise does.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "route:",
        "receivers:",
        "routes:",
        "- ",
        "name: a",
        "receiver: a",
        "matchers: [a=b]",
        "\n",
        "\n  ",
        "\n    ",
        "group_by: ['...']",
        "continue: true",
        "webhook_configs:",
        "url: http://127.0.0.1:9095/",
        "inhibit_rules:",
        "equal: [host]",
        "source_match: {a: b}",
        "target_matchers: ['heal=\"true\"']",
        "groups:",
        "rules:",
        "alert: A",
        "expr: sum(x) > 1",
        "for: 2m",
        "labels: {heal: \"true\"}",
        "&a ",
        "*a",
        "<<: *a",
        "[",
        "]",
        "{",
        "}",
        ": ",
        ",",
        "\"",
        "'",
        "|",
        ">",
        "#",
        "---",
        "\t",
        "? ",
        "!x ",
        "%",
        "\\",
        "é",
        "\u{0}",
        "group_interval: 5y",
        "repeat_interval: 1ms",
        "max_alerts: 1",
        "(",
        ")",
        "by (",
    ];
    prop::sample::select(words.to_vec()).prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn any_text_is_answered(text in "\\PC{0,200}") {
        let context = context(&["A"]);
        found(&text, &text, &context);
    }

    #[test]
    fn any_pieces_are_answered(pieces in prop::collection::vec(piece(), 0..60)) {
        let context = context(&["A"]);
        let text = pieces.concat();
        found(&text, &text, &context);
    }

    #[test]
    fn any_damage_to_a_good_file_is_answered(at in 0..1200_usize, gone in 0..40_usize, piece in piece()) {
        let context = context(&["NginxDown"]);
        for text in [FINE, RULES] {
            let mut text = text.to_owned();
            let at = at.min(text.len());
            text.replace_range(at..(at + gone).min(text.len()), &piece);
            for finding in found(&text, &text, &context) {
                prop_assert!(!finding.what.contains('\n') && !finding.mend.contains('\n'));
                let line = finding.place.rsplit(':').next().unwrap().parse::<usize>();
                prop_assert!((1..=text.lines().count() + 1).contains(&line.unwrap()), "{finding:?}");
            }
        }
    }

    #[test]
    fn any_expression_is_answered(text in "[a-z(){}\\[\\]\",0-9 +*/<>=:@.-]{0,80}|\\PC{0,80}") {
        promql::read(&text);
    }

    #[test]
    fn any_matcher_is_answered(text in "[a-z(){}|.*+\"=!~,\\\\]{0,40}|\\PC{0,40}", value in "[a-z.]{0,8}") {
        matchers::parse(&text);
        matchers::like(&text, &value);
    }
}
