//! The whole chain with the real programs and the shipped configuration, of which only times, ports and paths are
//! changed: Prometheus sees that nginx is dead, Alertmanager posts to socat, self-heal runs NginxDown.sh.

mod alertmanager;
pub mod ask;
mod nginx;
pub mod process;
pub mod shipped;
mod stack;
mod stand_ins;

use serde_json::{Value, json};

use self::alertmanager::{Alertmanager, Routes};
use self::stack::Chain;
use self::stand_ins::{Mailbox, Relay, node_exporter};
use crate::dashboards;
use crate::support::{Answer, rfc3339};

/// NginxDown of the machine's own nginx, as the shipped rules and scrape configuration label it.
fn nginx_down(chain: &Chain, host: &str) -> Value {
    let instance = format!("{host}:{}", chain.ports.nginx);
    alert("NginxDown", host, &instance, "nginx")
}

fn alert(alertname: &str, host: &str, instance: &str, job: &str) -> Value {
    json!({
        "labels": {
            "alertname": alertname, "heal": "true", "host": host, "instance": instance, "job": job,
            "severity": "critical",
        },
        "annotations": {"summary": "it does not answer"},
        "generatorURL": "http://localhost:9090/graph",
    })
}

/// The same alert, over since now.
fn resolved(alert: &Value) -> Value {
    let mut alert = alert.clone();
    alert["endsAt"] = json!(rfc3339(0));
    alert
}

fn instance(alert: &Value) -> &str {
    alert["labels"]["instance"].as_str().unwrap()
}

/// Waits until Alertmanager has looked at an alert's groups so many times more.
fn wait_for_flushes(chain: &Chain, alertmanager: &Alertmanager, alert: &Value, more: usize) {
    let texts = [
        "msg=flushing",
        &format!("instance=\\\"{}\\\"", instance(alert)),
    ];
    let enough = alertmanager.log_lines(&texts) + more;
    chain.wait("Alertmanager flushes its groups", || {
        (alertmanager.log_lines(&texts) >= enough).then_some(())
    });
}

/// The alert ends, and what was healed is verified.
fn end_verified(chain: &Chain, alertmanagers: &[&Alertmanager], alert: &Value) {
    for alertmanager in alertmanagers {
        alertmanager.post(&json!([resolved(alert)]));
    }
    chain.wait_for_verdict("resolved", instance(alert));
    chain.wait("the heal is verified", || {
        (chain.sandbox.metric("self_heal_verified_total") == 1.0).then_some(())
    });
}

/// The verdicts on an alert without their repetitions.
fn verdicts_in_short(chain: &Chain, alert: &Value) -> Vec<String> {
    let mut verdicts = chain.verdicts(instance(alert));
    verdicts.dedup();
    verdicts
}

/// One run of an alert's handler, as the history shows it.
fn one_run(alert: &Value, outcome: &str) -> [String; 2] {
    let instance = instance(alert);
    [
        format!("intent {instance}"),
        format!("result {instance} {outcome}"),
    ]
}

#[test]
fn a_killed_nginx_comes_back_by_itself_and_the_heal_is_verified() {
    let chain = Chain::new();
    node_exporter(chain.ports.node);
    chain.start_nginx();
    let relay = Relay::before(chain.ports.listener);
    let alertmanager = chain.start_alertmanager(&Routes {
        to: relay.port,
        ..Routes::shipped(&chain)
    });
    chain.start_prometheus(&alertmanager);
    chain.wait("Prometheus scrapes all three", || {
        (chain.prometheus("up") == Some(3.0)).then_some(())
    });

    let dead = chain.nginx_pid();
    chain.kill_nginx();
    chain.wait("nginx is back", || chain.nginx_answers().then_some(()));
    assert_ne!(chain.nginx_pid(), dead);

    let down = nginx_down(&chain, "localhost");
    chain.wait_for_verdict("resolved", instance(&down));
    assert_eq!(chain.verdicts(instance(&down)), ["healed", "resolved"]);
    assert_eq!(chain.history(), one_run(&down, "healed"));
    assert!(
        chain
            .sandbox
            .log()
            .contains("] heal_verified alertname=NginxDown ")
    );
    assert!(
        chain
            .sandbox
            .read("log/NginxDown.log")
            .contains("healed: nginx answers after a restart")
    );

    chain.wait("two answers", || (relay.answers().len() == 2).then_some(()));
    let answers = relay.answers();
    answers[0].expect(200, &["healed"]);
    answers[1].expect(200, &["resolved"]);
    assert_eq!(answers[0].json()["results"][0]["settled"], true);
    assert_eq!(answers[0].json()["results"][0]["attempt"], 1);

    for (series, value) in [
        ("self_heal_verified_total", 1.0),
        (
            r#"self_heal_runs_total{alertname="NginxDown",outcome="healed"}"#,
            1.0,
        ),
        (
            r#"self_heal_alerts_total{alertname="NginxDown",verdict="healed"}"#,
            1.0,
        ),
        (
            r#"self_heal_alerts_total{alertname="NginxDown",verdict="resolved"}"#,
            1.0,
        ),
        (
            r#"self_heal_handler_duration_seconds_count{alertname="NginxDown"}"#,
            1.0,
        ),
        ("self_heal_in_flight", 0.0),
        ("self_heal_ineffective_total", 0.0),
        (r#"up{job="self-heal"}"#, 1.0),
    ] {
        chain.wait(&format!("Prometheus has {series} {value}"), || {
            (chain.prometheus(series) == Some(value)).then_some(())
        });
    }
    assert_eq!(
        alertmanager.metric("alertmanager_notifications_total", "webhook"),
        2
    );
    assert_eq!(
        alertmanager.metric("alertmanager_notification_requests_failed_total", "webhook"),
        0
    );
}

#[test]
fn a_failing_handler_is_asked_for_after_each_retry_delay_until_its_breaker_opens() {
    let chain = Chain::new();
    chain.sandbox.set("HEAL_RETRY_DELAY", "2s");
    let attempts = chain.sandbox.path("attempts");
    chain.install_nginx_handler(&format!("date +%s%3N >>{}; false;", attempts.display()));
    let alertmanager = chain.start_alertmanager(&Routes::shipped(&chain));

    let down = nginx_down(&chain, "localhost");
    alertmanager.post(&json!([down]));
    chain.wait_for_verdict("tripped", instance(&down));
    chain.wait("Alertmanager has heard of it", || {
        (alertmanager.said("msg=\"Notify success\"") == 1).then_some(())
    });
    // Behind the answer comes what counts it.
    chain.wait("all of it is counted", || {
        let failed = r#"self_heal_runs_total{alertname="NginxDown",outcome="failed"}"#;
        (chain.sandbox.metric(failed) == 3.0).then_some(())
    });

    // Asked again half a second after the first failure; after the second it may take longer than the delay.
    let mut verdicts = chain.verdicts(instance(&down));
    assert_eq!(verdicts[1], "waiting", "{verdicts:?}");
    verdicts.retain(|verdict| verdict != "waiting");
    assert_eq!(verdicts, ["failed", "failed", "tripped"]);
    let attempts = chain.sandbox.read("attempts");
    let attempts: Vec<u64> = attempts.lines().map(|at| at.parse().unwrap()).collect();
    assert_eq!(attempts.len(), 3);
    for two in attempts.windows(2) {
        assert!(two[1] - two[0] >= 2000, "{attempts:?}");
    }
    assert_eq!(
        chain
            .sandbox
            .metric(r#"self_heal_breakers_open{alertname="NginxDown"}"#),
        1.0
    );
    assert_eq!(
        chain.sandbox.log().matches("[ERROR] escalation ").count(),
        1
    );

    // Settled: Alertmanager looks at the group again and again, and does not ask.
    let answers = chain.answers();
    wait_for_flushes(&chain, &alertmanager, &down, 3);
    assert_eq!(chain.answers(), answers);
    let (last, others) = answers.split_last().unwrap();
    assert_eq!(*last, 200);
    assert!(others.iter().all(|code| *code == 503), "{answers:?}");
    let count = |name: &str| alertmanager.metric(name, "webhook");
    assert_eq!(
        count("alertmanager_notification_requests_total"),
        answers.len() as u64
    );
    assert_eq!(
        count("alertmanager_notification_requests_failed_total"),
        others.len() as u64
    );
    let given_up = alertmanager.said("msg=\"Notify for alerts failed\"") as u64;
    assert_eq!(count("alertmanager_notifications_failed_total"), given_up);
    assert_eq!(count("alertmanager_notifications_total"), given_up + 1);

    alertmanager.post(&json!([resolved(&down)]));
    chain.wait_for_verdict("resolved", instance(&down));
    assert_eq!(chain.sandbox.metric("self_heal_verified_total"), 0.0);
    assert_eq!(
        chain
            .sandbox
            .metric(r#"self_heal_breakers_open{alertname="NginxDown"}"#),
        0.0
    );
}

/// What the listener shows, through a real Prometheus with the shipped rules and dashboard: an open breaker is an alert
/// for people, until it closes.
#[test]
fn an_open_breaker_is_an_alert_of_prometheus_until_it_closes() {
    let chain = Chain::new();
    chain.sandbox.set("HEAL_MAX_ATTEMPTS", "1");
    let mailbox = Mailbox::open(chain.ports.mailbox);
    node_exporter(chain.ports.node);
    chain.install_nginx_handler("false;");
    let alertmanager = chain.start_alertmanager(&Routes::shipped(&chain));
    chain.start_prometheus(&alertmanager);
    assert_eq!(chain.rules(), ["heal-examples", "self-heal"]);

    let down = nginx_down(&chain, "localhost");
    chain.wait_for_verdict("tripped", instance(&down));
    let open = r#"ALERTS{alertname="SelfHealBreakerOpen",alertstate="firing",handler="NginxDown"}"#;
    chain.wait("the rule fires", || {
        (chain.prometheus(open) == Some(1.0)).then_some(())
    });
    let told = |what: &str| {
        let subjects = mailbox.subjects();
        subjects.iter().any(|subject| subject.starts_with(what))
    };
    chain.wait("people hear of it", || {
        told("[FIRING:1] SelfHealBreakerOpen").then_some(())
    });
    for (title, expression) in dashboards::expressions() {
        // Prometheus refuses what can be parsed and not be done, too.
        assert!(chain.evaluates(&expression), "{title}: {expression}");
    }

    chain.start_nginx();
    chain.wait_for_verdict("resolved", instance(&down));
    chain.wait("the rule does not fire any more", || {
        chain.prometheus(open).is_none().then_some(())
    });
}

#[test]
fn alertmanager_reloaded_twice_in_mid_handler_starts_no_second_run() {
    let chain = Chain::new();
    chain.hold_nginx_handler();
    let alertmanager = chain.start_alertmanager(&Routes::shipped(&chain));
    let down = nginx_down(&chain, "localhost");
    alertmanager.post(&json!([down]));
    chain.wait("the handler runs", || {
        (chain.sandbox.runs("NginxDown") == 1).then_some(())
    });

    // Either way the post is cut off and sent again at once.
    let busy = || chain.verdicts(instance(&down)).len();
    alertmanager.reload_by_signal();
    chain.wait("asked again after SIGHUP", || (busy() >= 1).then_some(()));
    let before = busy();
    alertmanager.reload_by_post();
    chain.wait("both reloads", || {
        (alertmanager.said("Completed loading of configuration file") == 3).then_some(())
    });
    chain.wait("asked again after /-/reload", || {
        (busy() > before).then_some(())
    });
    chain.release();

    chain.wait_for_verdict("healed", instance(&down));
    chain.wait("Alertmanager has heard of it", || {
        (alertmanager.said("msg=\"Notify success\"") == 1).then_some(())
    });
    end_verified(&chain, &[&alertmanager], &down);
    assert!(chain.nginx_answers());
    assert_eq!(chain.history(), one_run(&down, "healed"));
    assert_eq!(
        verdicts_in_short(&chain, &down),
        ["busy", "healed", "settling", "resolved"]
    );
}

#[test]
fn a_pair_of_alertmanagers_with_a_slow_handler_starts_one_run() {
    let chain = Chain::new();
    chain.hold_nginx_handler();
    let pair = chain.start_alertmanager_pair(&Routes::shipped(&chain));
    let [first, second] = &pair;
    let down = nginx_down(&chain, "localhost");
    for one in &pair {
        one.post(&json!([down]));
    }
    // The other one's post, while the first one's has no answer yet.
    chain.wait_for_verdict("busy", instance(&down));
    assert_eq!(chain.history().len(), 1);
    chain.release();

    chain.wait("both have heard of it", || {
        let told = |one: &Alertmanager| one.said("msg=\"Notify success\"") == 1;
        (told(first) && told(second)).then_some(())
    });
    end_verified(&chain, &[first, second], &down);
    assert_eq!(chain.history(), one_run(&down, "healed"));
    assert_eq!(
        verdicts_in_short(&chain, &down),
        ["busy", "healed", "settling", "resolved"]
    );
}

#[test]
fn a_handler_longer_than_its_senders_patience_runs_once_and_is_recorded_once() {
    let chain = Chain::new();
    chain.hold_nginx_handler();
    let alertmanager = chain.start_alertmanager(&Routes::shipped(&chain));
    let down = nginx_down(&chain, "localhost");
    alertmanager.post(&json!([down]));
    // The deadline of a request is group_interval, at least ten seconds (notify.MinTimeout).
    chain.wait("Alertmanager gave up on a flush", || {
        (alertmanager.metric("alertmanager_notifications_failed_total", "webhook") == 1)
            .then_some(())
    });
    chain.wait_for_verdict("busy", instance(&down));
    assert_eq!(chain.history().len(), 1);
    chain.release();

    chain.wait_for_verdict("healed", instance(&down));
    chain.wait("Alertmanager has heard of it", || {
        (alertmanager.said("msg=\"Notify success\"") == 1).then_some(())
    });
    end_verified(&chain, &[&alertmanager], &down);
    assert!(chain.nginx_answers());
    assert_eq!(chain.history(), one_run(&down, "healed"));
    assert_eq!(
        verdicts_in_short(&chain, &down),
        ["busy", "healed", "settling", "resolved"]
    );
}

#[test]
fn two_instances_of_one_alertname_at_once_are_both_healed() {
    let chain = Chain::new();
    let alertmanager = chain.start_alertmanager(&Routes::shipped(&chain));
    let both = ["localhost", "127.0.0.1"].map(|host| nginx_down(&chain, host));
    alertmanager.post(&json!(both));
    for down in &both {
        chain.wait_for_verdict("healed", instance(down));
    }
    assert!(chain.nginx_answers());
    // One after the other, in either order: one alertname is one lock.
    let mut expected = both.each_ref().map(|down| one_run(down, "healed"));
    if chain.history().first() != expected.as_flattened().first() {
        expected.reverse();
    }
    assert_eq!(chain.history(), expected.as_flattened());
}

#[test]
fn a_truncated_group_is_loud_in_answer_log_and_metric() {
    let chain = Chain::new();
    let relay = Relay::before(chain.ports.listener);
    let alertmanager = chain.start_alertmanager(&Routes {
        to: relay.port,
        group_by: "[alertname]",
        max_alerts: 1,
        ..Routes::shipped(&chain)
    });
    let both = ["127.0.0.1", "localhost"].map(|host| nginx_down(&chain, host));
    alertmanager.post(&json!(both));
    chain.wait("an answer", || (!relay.answers().is_empty()).then_some(()));

    // Ordered by their labels; only the first is in the message, and Alertmanager counts both as notified.
    let answer: Answer = relay.answers().remove(0);
    answer.expect(200, &["healed"]);
    assert_eq!(answer.json()["results"][0]["instance"], instance(&both[0]));
    assert_eq!(answer.json()["truncated"], 1);
    let log = chain.sandbox.log();
    assert!(log.contains("[ERROR] truncated alerts=1 "), "{log}");
    assert_eq!(
        chain.sandbox.metric("self_heal_truncated_alerts_total"),
        1.0
    );
    assert_eq!(chain.history(), one_run(&both[0], "healed"));
}

/// Go's client would keep its connections and use them again: it is told not to, and loses no request to that.
#[test]
fn twenty_groups_told_to_come_again_do_so_each_time_on_a_new_connection() {
    const GROUPS: usize = 20;
    let chain = Chain::new();
    chain.sandbox.set("HEAL_STORM_LIMIT", "400/1s");
    let deferring = "[[ -e $HEAL_BACKUP_DIR/go ]] || exit 75\n";
    chain.sandbox.handler("Deferring", deferring);
    let relay = Relay::before(chain.ports.listener);
    let alertmanager = chain.start_alertmanager(&Routes {
        to: relay.port,
        ..Routes::shipped(&chain)
    });
    let alerts: Vec<Value> = (1..=GROUPS)
        .map(|n| alert("Deferring", "localhost", &format!("localhost:{n}"), "x"))
        .collect();
    alertmanager.post(&json!(alerts));
    chain.wait("answers", || {
        (relay.answers().len() >= GROUPS).then_some(())
    });
    chain.sandbox.write("backup/go", "");
    chain.wait("Alertmanager has heard of all", || {
        (alertmanager.said("msg=\"Notify success\"") == GROUPS).then_some(())
    });

    // One answer is all that the relay has of a connection: more would be no answer. A connection may end after its answer.
    let (settled, others) = chain.wait("the end of every connection", || {
        let (settled, others): (Vec<Answer>, Vec<Answer>) = relay
            .answers()
            .into_iter()
            .partition(|answer| answer.code == 200);
        (settled.len() >= GROUPS).then_some((settled.len(), others))
    });
    assert_eq!(settled, GROUPS);
    assert!(!others.is_empty());
    for answer in &others {
        assert_eq!(answer.code, 503, "{}", answer.body);
        assert_eq!(answer.header("retry-after"), Some("30"));
    }
    let count = |name: &str| alertmanager.metric(name, "webhook") as usize;
    assert_eq!(
        count("alertmanager_notification_requests_total"),
        GROUPS + others.len()
    );
    assert_eq!(
        count("alertmanager_notification_requests_failed_total"),
        others.len()
    );
    for alert in &alerts {
        let healed = format!("result {} healed", instance(alert));
        let runs = chain.history();
        assert_eq!(runs.iter().filter(|run| **run == healed).count(), 1);
    }
}

#[test]
fn a_person_is_mailed_after_the_delay_if_the_alert_still_fires_and_not_if_it_was_healed_in_time() {
    let chain = Chain::new();
    let mailbox = Mailbox::open(chain.ports.mailbox);
    let alertmanager = chain.start_alertmanager(&Routes {
        person_after: "12s",
        ..Routes::shipped(&chain)
    });
    let healed = nginx_down(&chain, "localhost");
    // Its label `name` says no unit that ServiceDown.sh knows: it gives up.
    let hopeless = alert("ServiceDown", "localhost", "localhost:9100", "node");
    alertmanager.post(&json!([healed, hopeless]));
    chain.wait_for_verdict("gave-up", instance(&hopeless));
    chain.wait_for_verdict("healed", instance(&healed));
    end_verified(&chain, &[&alertmanager], &healed);
    assert!(mailbox.subjects().is_empty(), "{:?}", mailbox.subjects());

    chain.wait("a mail", || (!mailbox.subjects().is_empty()).then_some(()));
    // Both routes have looked at the healed alert when it was over: self-heal's, and the person's after its delay.
    chain.wait("both routes have seen the end", || {
        (alertmanager.log_lines(&["msg=flushing", "alerts=[NginxDown[", "[resolved]]"]) == 2)
            .then_some(())
    });
    alertmanager.post(&json!([resolved(&hopeless)]));
    chain.wait("a second mail", || {
        (mailbox.subjects().len() > 1).then_some(())
    });
    let subjects = mailbox.subjects();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert!(
        subjects[0].starts_with("[FIRING:1] ServiceDown"),
        "{subjects:?}"
    );
    assert!(
        subjects[1].starts_with("[RESOLVED] ServiceDown"),
        "{subjects:?}"
    );
    assert_eq!(
        alertmanager.metric("alertmanager_notifications_total", "email"),
        2
    );
}

#[test]
fn a_dead_node_keeps_its_alerts_from_the_listener_until_it_is_back() {
    let chain = Chain::new();
    let mailbox = Mailbox::open(chain.ports.mailbox);
    let alertmanager = chain.start_alertmanager(&Routes::shipped(&chain));
    // Neither nginx nor the node exporter answers.
    chain.start_prometheus(&alertmanager);
    chain.wait("people hear of the dead node", || {
        mailbox
            .subjects()
            .iter()
            .any(|subject| subject.contains("NodeDown"))
            .then_some(())
    });
    let down = nginx_down(&chain, "localhost");
    wait_for_flushes(&chain, &alertmanager, &down, 3);
    assert!(chain.answers().is_empty(), "{:?}", chain.answers());
    assert_eq!(alertmanager.inhibited(instance(&down)), Some(true));

    node_exporter(chain.ports.node);
    chain.wait_for_verdict("healed", instance(&down));
    chain.wait_for_verdict("resolved", instance(&down));
    assert!(chain.nginx_answers());
    assert_eq!(chain.history(), one_run(&down, "healed"));
}
