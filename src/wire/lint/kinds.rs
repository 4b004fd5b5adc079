//! Every kind of finding of the two lints, with why it bites and how to mend it: one table, for the findings
//! themselves and for the documentation.

use crate::wire::finding::{Kind, Severity};

/// A kind of finding, with what is said of each one.
#[derive(Debug)]
pub struct Lint {
    /// Its name, severity and what is looked for.
    pub kind: Kind,
    /// Why it bites: what follows the particulars of a finding.
    pub why: &'static str,
    /// How to mend it, where the finding itself has nothing better.
    pub mend: &'static str,
}

macro_rules! lints {
    ($($id:ident, $severity:ident, $name:literal, $about:literal, $why:literal, $mend:literal;)*) => {
        $(pub(super) static $id: Lint = Lint {
            kind: Kind { name: $name, severity: Severity::$severity, about: $about },
            why: $why,
            mend: $mend,
        };)*

        /// Every kind, for the documentation: the file's form, the receiver, routes, times, inhibition, rules.
        pub static LINTS: &[&Lint] = &[$(&$id),*];

        /// The same as bare kinds.
        pub static KINDS: &[&Kind] = &[$(&$id.kind),*];
    };
}

lints! {
    BROKEN_YAML, Error, "broken-yaml", "YAML that cannot be read",
        "nothing else of this file was looked at",
        "`amtool check-config FILE` or `promtool check rules FILE` says more";
    MORE_DOCUMENTS, Warning, "more-documents", "a second document in the file",
        "only the first one is read, by Alertmanager and Prometheus too",
        "keep one document: remove what follows `---`";
    OTHER_FILE, Error, "other-file", "a file of another kind",
        "nothing of it was looked at",
        "--alertmanager takes Alertmanager's configuration, --rules a file that prometheus.yml names under rule_files";

    NO_RECEIVER, Error, "no-receiver", "no receiver that posts to self-heal",
        "nothing is ever healed",
        "name the receiver with --receiver NAME, or write one with `webhook_configs: [{url: http://127.0.0.1:9095/}]`";
    HIDDEN_URL, Note, "hidden-url", "a webhook address that the file does not show",
        "whether it leads to self-heal cannot be seen here",
        "see that it says http://127.0.0.1 and the port of HEAL_PORT";
    MAX_ALERTS, Error, "max-alerts", "`max_alerts` other than 0",
        "alerts beyond it are cut off each request and count as notified: they never come, and the cut makes the group's status a lie",
        "write `max_alerts: 0`, which means all";
    SEND_RESOLVED, Error, "send-resolved", "`send_resolved: false`",
        "no heal is ever verified, no breaker closes, no page ends by itself",
        "write `send_resolved: true`";
    FOLLOW_REDIRECTS, Note, "follow-redirects", "redirects that are followed",
        "if anything else ever answers on that port with a 302, the POST becomes a GET whose 200 counts as delivery",
        "write `http_config: {follow_redirects: false}` in this webhook";
    WEBHOOK_TIMEOUT, Warning, "webhook-timeout", "a webhook `timeout` shorter than a run may take",
        "each longer run is given up on and asked for again while it goes on: `busy` until it ends, and a failed request in Alertmanager's metrics each time",
        "remove `timeout`: group_interval bounds the request already";
    WEBHOOK_PROXY, Error, "webhook-proxy", "a proxy between Alertmanager and self-heal",
        "the proxy's own loopback is asked, or self-heal is asked by an address that it does not serve",
        "write an `http_config` in this webhook without `proxy_url`";
    NO_TOKEN, Error, "no-token", "no credentials in the webhook although HEAL_TOKEN_FILE is set",
        "each request is refused with 401 and comes again at every group_interval",
        "write `http_config: {authorization: {credentials_file: FILE}}` with the same token";
    WEBHOOK_TLS, Error, "webhook-tls", "https to self-heal itself",
        "it speaks plain HTTP: the handshake is answered 400 and nothing is healed",
        "write `url: http://…`, or let the address be that of what ends TLS in front of self-heal";
    REMOTE_WEBHOOK, Warning, "remote-webhook", "a webhook on another host, unencrypted, without HEAL_ALLOW_PEERS",
        "only loopback is answered, all else with 403",
        "run Alertmanager's webhook over loopback, or set HEAL_ALLOW_PEERS and encrypt the way";
    OWN_PAYLOAD, Note, "own-payload", "a `payload` of your own",
        "anything but an object with an `alerts` array in Alertmanager's form is refused with 400, at every group_interval again",
        "remove `payload`";
    POSTED_TWICE, Warning, "posted-twice", "one alert posted to self-heal twice",
        "the second copy finds the lock taken: `busy`, until the first one's run ends, and its group is asked for again and again",
        "let one webhook of one route lead to self-heal";

    NO_ROUTE, Error, "no-route", "no route that leads to self-heal's receiver",
        "nothing is ever healed",
        "write a route: `- {matchers: ['heal=\"true\"'], receiver: NAME, group_by: ['...']}`";
    UNREACHABLE, Error, "unreachable-route", "a route to self-heal behind one that takes its alerts away",
        "the first match ends the search, and none of them gets here",
        "write `continue: true` in the earlier route";
    DEFAULT_HEALER, Error, "default-route-heals", "self-heal as the receiver of the default route",
        "every alert without a route of its own goes to a program that has no handler for it, and no person hears",
        "let people be the receiver of the default route, and self-heal's a route with matchers";
    DEFAULT_NOBODY, Warning, "default-route-empty", "a default route whose receiver tells nobody",
        "an alert that no other route takes is lost, self-heal's own alerts among them",
        "let the default route's receiver tell a person";
    NOBODY_ELSE, Error, "nobody-else", "alerts that only self-heal hears of",
        "when self-heal is dead, stopped or has no handler, no person ever hears",
        "write before it a route with the same matchers, people for receiver, `group_wait: 15m` and `continue: true`";
    PAGED_FIRST, Warning, "paged-first", "people paged before a run can be over",
        "a person is called for what heals itself a minute later",
        "give their route a `group_wait` longer than a run, such as 15m";
    SHARED_DELAY, Note, "shared-delay", "a delay of people's route that a group shares",
        "only the first alert of a group waits; another instance that joins it is told at the next group_interval, healed or not",
        "write `group_by: ['...']` in that route";
    GROUP_BY, Warning, "group-by", "a `group_by` that puts instances together",
        "each request carries the whole group, its alerts are healed one after another, and while one is not done with all of them are sent again",
        "write `group_by: ['...']` in this route";
    MUTED_TIMES, Note, "muted-times", "times in which the route to self-heal is mute",
        "nothing is healed in them, and an alert that ends in them is never known to have ended",
        "keep it if that is meant; `self-heal pause` is the way for once";

    GROUP_WAIT, Note, "group-wait", "a long `group_wait` before the first request",
        "healing begins that late",
        "write `group_wait: 10s`";
    GROUP_INTERVAL, Warning, "group-interval", "a `group_interval` longer than a rule's `for`",
        "an alert that ends and begins again between two ticks looks unchanged and is not sent until repeat_interval",
        "write `group_interval: 1m`";
    SETTLE_SHORT, Warning, "settle-interval", "a settle time within `group_interval` and the peers' wait",
        "a flush asks again with the payload of its beginning, so an alert that is over can still be posted as firing, and would be healed again",
        "set HEAL_SETTLE longer, or group_interval shorter";
    LOCK_WAIT, Warning, "lock-wait", "HEAL_LOCK_WAIT not shorter than the request may last",
        "whoever waits for a lock is given up on before it can answer, and asked again at once",
        "set HEAL_LOCK_WAIT to a few seconds";
    RETRY_DELAY, Note, "retry-delay", "a retry delay longer than `group_interval`",
        "asking again within a flush never finds the next attempt due: it waits for a later tick",
        "set HEAL_RETRY_DELAY shorter than group_interval, unless the delay is meant";
    REPEAT_LOST, Error, "repeat-lost", "a `repeat_interval` below half the `group_interval`",
        "Alertmanager forgets that it notified before the next tick, so `resolved` never comes and no heal is verified",
        "write a `repeat_interval` longer than group_interval, such as 15m";
    REPEAT_SHORT, Warning, "repeat-short", "a `repeat_interval` below the `group_interval`",
        "it is looked at only at ticks: group_interval is what counts",
        "write a `repeat_interval` longer than group_interval, such as 15m";
    REPEAT_SETTLE, Note, "repeat-settle", "a `repeat_interval` shorter than the settle time",
        "the first repeat is answered `settling`: whether a heal had an effect is judged one repeat later",
        "write a `repeat_interval` longer than HEAL_SETTLE, such as 15m";
    REPEAT_ROUNDED, Note, "repeat-rounded", "a `repeat_interval` that is no multiple of `group_interval`",
        "it is rounded up to the next tick",
        "write a multiple of group_interval";
    SLOW_VERDICT, Note, "slow-verdict", "repeats so rare that heals without effect go on longer than HEAL_ATTEMPT_WINDOW",
        "only each repeat judges the last heal, and a person is paged after the last of them",
        "write `repeat_interval: 15m` in this route";
    ATTEMPTS_APART, Warning, "attempts-apart", "failures too far apart to add up",
        "with HEAL_UNSETTLED_STATUS=200 the next attempt comes at repeat_interval, when the first failure is forgotten: the breaker never opens",
        "set HEAL_UNSETTLED_STATUS=503, or repeat_interval shorter";

    INHIBIT_INSTANCE, Warning, "inhibit-instance", "`equal: [instance]` between alerts of different exporters",
        "instance has the exporter's port, host:9100 is not host:9113: it never inhibits, and a dead host is healed in vain",
        "write `equal: [host]`, a label that both sides have";
    INHIBIT_EMPTY, Note, "inhibit-empty", "an `equal` label that both sides may lack",
        "missing on both sides counts as equal: one such alert then stops healing everywhere",
        "ask for the label on one side at least";
    INHIBIT_ALL, Note, "inhibit-all", "an inhibition of healing without `equal`",
        "one such alert, wherever it comes from, stops healing on every host",
        "write `equal: [host]`, a label that both sides have";
    INHIBIT_SELF, Warning, "inhibit-self", "an inhibition whose source and target are the same alerts",
        "an alert that matches both sides is never inhibited by another such: the rule does nothing",
        "let source and target differ";
    INHIBIT_LATE, Warning, "inhibit-late", "an inhibiting rule that fires no sooner than what it inhibits",
        "the alert has been sent, and its handler runs, before the inhibition is there",
        "give the inhibiting rule the shorter `for`";

    NOT_ROUTED, Warning, "not-routed", "heal=\"true\" on an alert that no route takes to self-heal",
        "it looks healed and is not",
        "mend the labels or the routes; `amtool config routes test` shows where an alert goes";
    UNSAFE_NAME, Error, "unsafe-name", "an alert to heal whose name no handler can have",
        "a name is letters, digits, `_`, `.`, `-`, 128 at most: the verdict is always `no-handler`",
        "rename the alert";
    NO_HANDLER, Warning, "no-handler", "an alert to heal that has no handler here",
        "the verdict is `no-handler` and nothing runs",
        "write the handler, or take heal=\"true\" off the rule";
    HANDLER_UNUSED, Note, "handler-unused", "a handler that no rule of these files names",
        "it never runs, or its rule is in a file that was not given",
        "give every rules file, each with --rules";
    NO_FOR, Warning, "no-for", "an alert to heal without `for`",
        "one failed scrape, a restart or an upgrade is an attempt, and an alert that flaps between two ticks looks unchanged",
        "write `for: 2m`";
    FOR_SHORT, Note, "for-short", "a `for` below 2m on an alert to heal",
        "a restart or an upgrade takes longer, and would be an attempt",
        "write `for: 2m`, unless healing sooner is worth it";
    KEEP_FIRING, Warning, "keep-firing", "a `keep_firing_for` as long as the settle time",
        "the alert goes on firing after the cure, so a heal that worked is judged without effect and done again",
        "write a `keep_firing_for` shorter than the settle time, or `settle=` in the handler";
    LONG_WINDOW, Note, "long-window", "an expression that looks back longer than the settle time",
        "it may stay true after the cure, so that a heal that worked is judged without effect and done again",
        "look back over less, or write a longer `settle=` in the handler";
    NO_INSTANCE, Warning, "no-instance", "an expression that drops the label `instance`",
        "the allow-list judges the instance: without one the verdict is `not-allowed`, always",
        "keep it: `by (instance, …)`, or `on (instance)`";
    CHANGING_LABEL, Error, "changing-label", "a label that changes with each evaluation",
        "each value is a new alert with counts of its own: it is healed again and again, and no breaker opens",
        "put the value into an annotation";
    NO_SUMMARY, Note, "no-summary", "an alert to heal without annotations",
        "a page about it has no more than its name",
        "write `annotations: {summary: …}`";
    SELF_HEALING, Error, "self-healing", "an alert about self-heal that self-heal is to heal",
        "when it fires there is nobody to heal it, and people may not hear",
        "take heal=\"true\" off it";
    HEALER_UNWATCHED, Warning, "healer-unwatched", "no rule that fires when self-heal is gone",
        "a dead healer looks like a quiet day",
        "write `expr: up{job=\"self-heal\"} == 0 or absent(up{job=\"self-heal\"})`, as deploy/prometheus/self-heal.rules.yml does";
    STATE_UNWATCHED, Note, "state-unwatched", "no rule for open breakers, or for pages that wait",
        "that is the other way to a person when a page of self-heal does not arrive",
        "take the rule from deploy/prometheus/self-heal.rules.yml";
}
