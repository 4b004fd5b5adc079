//! The worked timeline of docs/alertmanager.md, computed from the files that are shipped and the defaults of the
//! configuration, with the sender's own rhythm in between: the page cannot drift from them.

use std::time::Duration;

use self_heal::judge::{Note, Verdict};
use self_heal::wire::config::{self, Config};
use self_heal::wire::duration;

use super::sender::{HOUR, Route, SECOND, World, exits};

const ALERTMANAGER: &str = include_str!("../../../deploy/alertmanager/alertmanager.yml");
const PROMETHEUS: &str = include_str!("../../../deploy/prometheus/prometheus.yml");
const RULES: &str = include_str!("../../../deploy/prometheus/heal-examples.rules.yml");
const PAGE: &str = include_str!("../../../docs/alertmanager.md");

/// How long the handler of the example takes, first when it fails and then when it heals.
const FAILING: i64 = SECOND;
const HEALING: i64 = 90 * SECOND;

/// A time of a YAML file: as it is written there, and in milliseconds.
#[derive(Clone, Copy)]
struct Span {
    text: &'static str,
    ms: i64,
}

impl Span {
    fn of(text: &'static str) -> Span {
        let ms = duration::parse(text).unwrap().as_millis();
        Span {
            text,
            ms: ms.try_into().unwrap(),
        }
    }

    /// The first `key:` behind this text.
    fn behind(file: &'static str, place: &str, key: &str) -> Span {
        let (_, rest) = file
            .split_once(place)
            .unwrap_or_else(|| panic!("no {place}"));
        let value = rest
            .lines()
            .find_map(|line| line.trim().strip_prefix(key)?.strip_prefix(": "));
        Span::of(value.unwrap_or_else(|| panic!("no {key} behind {place}")))
    }

    fn default(key: &str) -> Span {
        let key = config::KEYS.iter().find(|known| known.name == key).unwrap();
        Span::of(key.default)
    }
}

/// Everything that the page speaks of.
struct Times {
    scrape: Span,
    evaluation: Span,
    pending: Span,
    people: Span,
    wait: Span,
    interval: Span,
    repeat: Span,
    retry: Span,
    settle: Span,
    timeout: Span,
    grace: Span,
}

impl Times {
    fn shipped() -> Times {
        let ours = "      receiver: self-heal\n";
        let theirs = "    - matchers: ['heal=\"true\"']\n      receiver: people\n";
        Times {
            scrape: Span::behind(PROMETHEUS, "\nglobal:\n", "scrape_interval"),
            evaluation: Span::behind(PROMETHEUS, "\nglobal:\n", "evaluation_interval"),
            pending: Span::behind(RULES, "- alert: NginxDown\n", "for"),
            people: Span::behind(ALERTMANAGER, theirs, "group_wait"),
            wait: Span::behind(ALERTMANAGER, ours, "group_wait"),
            interval: Span::behind(ALERTMANAGER, ours, "group_interval"),
            repeat: Span::behind(ALERTMANAGER, ours, "repeat_interval"),
            retry: Span::default("HEAL_RETRY_DELAY"),
            settle: Span::default("HEAL_SETTLE"),
            timeout: Span::default("HEAL_HANDLER_TIMEOUT"),
            grace: Span::default("HEAL_KILL_GRACE"),
        }
    }

    fn route(&self) -> Route {
        Route {
            group_wait: self.wait.ms,
            group_interval: self.interval.ms,
            repeat_interval: self.repeat.ms,
        }
    }

    /// From the outage to `startsAt`, at the latest.
    fn until_firing(&self) -> i64 {
        self.scrape.ms + self.evaluation.ms + self.pending.ms
    }
}

/// The first attempt fails, the second heals; whether that ends the outage.
fn incident(times: &Times, helps: bool) -> World {
    let mut world = World::new(times.route());
    world.fires(0, None);
    world.play(2 * HOUR, |run| match run {
        1 => exits(1, FAILING),
        _ if helps => exits(0, HEALING).and_cures(times.scrape.ms + times.evaluation.ms),
        _ => exits(0, HEALING),
    });
    world
}

/// Posts of one verdict in a row: the first moment, the last, how many.
fn rows(world: &World) -> Vec<(i64, i64, Verdict, usize)> {
    let mut rows: Vec<(i64, i64, Verdict, usize)> = Vec::new();
    for (at, _, verdict) in &world.posts {
        match rows.last_mut() {
            Some(row) if row.2 == *verdict => {
                row.1 = *at;
                row.3 += 1;
            }
            _ => rows.push((*at, *at, *verdict, 1)),
        }
    }
    rows
}

fn timeline() -> Vec<String> {
    let times = Times::shipped();
    let fires = times.until_firing();
    let line = |at: i64, what: String| {
        let at = at / SECOND;
        format!("{:>5}  {what}", format!("{}:{:02}", at / 60, at % 60))
    };
    let clock = |at: i64| line(at, String::new()).trim().to_owned();
    let mut lines = vec![
        line(0, "nginx stops".to_owned()),
        line(
            times.scrape.ms,
            format!(
                "a scrape has seen it (scrape_interval {})",
                times.scrape.text
            ),
        ),
        line(
            times.scrape.ms + times.evaluation.ms,
            format!(
                "the rule is pending (evaluation_interval {})",
                times.evaluation.text
            ),
        ),
        line(
            fires,
            format!("the alert fires (for: {})", times.pending.text),
        ),
    ];
    let world = incident(&times, true);
    let [failed, waiting, healed, busy, settling, resolved] = rows(&world)[..] else {
        panic!("{:?}", world.told());
    };
    let verdicts = [failed, waiting, healed, busy, settling, resolved].map(|row| row.2);
    assert_eq!(
        verdicts.map(Verdict::as_str),
        [
            "failed", "waiting", "healed", "busy", "settling", "resolved"
        ]
    );
    // The sender gives up on the run at the end of the interval in which it began to ask.
    let gives_up = failed.0 + times.interval.ms;
    let done = healed.0 + HEALING;
    assert!(gives_up < done && done <= settling.0);
    assert_eq!(world.notes.last(), Some(&Note::Verified));
    lines.extend([
        line(
            fires + failed.0,
            format!(
                "firing: the handler exits 1 after {} s, 503 failed (group_wait {})",
                FAILING / SECOND,
                times.wait.text
            ),
        ),
        line(
            fires + waiting.0,
            format!(
                "firing, {} times: 503 waiting (HEAL_RETRY_DELAY {})",
                waiting.3, times.retry.text
            ),
        ),
        line(
            fires + healed.0,
            format!("firing: the handler runs again, for {} s", HEALING / SECOND),
        ),
        line(
            fires + gives_up,
            format!(
                "the sender gives this POST up (group_interval {}); the handler goes on",
                times.interval.text
            ),
        ),
        line(
            fires + busy.0,
            format!("firing, {} times: 503 busy", busy.3),
        ),
        line(
            fires + done,
            "the handler exits 0; nginx answers".to_owned(),
        ),
        line(fires + settling.0, "firing: 200 settling".to_owned()),
        line(
            fires + done + times.scrape.ms + times.evaluation.ms,
            "the rule sees it, at the latest".to_owned(),
        ),
        line(
            fires + resolved.0,
            format!(
                "resolved: 200 resolved, the heal is verified (the tick after, group_interval {})",
                times.interval.text
            ),
        ),
    ]);
    // What would have come had nginx gone on failing.
    let world = incident(&times, false);
    let settled = done + times.settle.ms;
    let again = rows(&world)
        .into_iter()
        .find(|row| row.0 > settled)
        .unwrap();
    assert_eq!(again.2, Verdict::Healed, "run again");
    assert!(
        world.notes.contains(&Note::Ineffective(1)),
        "{:?}",
        world.notes
    );
    lines.extend([
        String::new(),
        "and if it had gone on firing:".to_owned(),
        line(fires + settled, format!("what still fires now was not healed (HEAL_SETTLE {})", times.settle.text)),
        line(
            fires + times.people.ms,
            format!("people are told (group_wait {} of their route)", times.people.text),
        ),
        line(
            fires + again.0,
            format!(
                "firing: ineffective, the handler runs again (repeat_interval {} after {}, at a tick)",
                times.repeat.text,
                clock(fires + settling.0)
            ),
        ),
    ]);
    lines
}

#[test]
fn the_worked_timeline_is_what_the_shipped_files_make_of_it() {
    let (_, rest) = PAGE.split_once("\n```text timeline\n").unwrap();
    let shown: Vec<&str> = rest.split_once("\n```").unwrap().0.lines().collect();
    let expected = timeline();
    assert_eq!(shown, expected, "\n{}", expected.join("\n"));
}

/// The table of times has what is shipped, and what is shipped keeps to the table.
#[test]
fn the_times_of_the_page_are_the_shipped_ones_and_fit() {
    let times = Times::shipped();
    for (name, span) in [
        ("`scrape_interval`", times.scrape),
        ("`evaluation_interval`", times.evaluation),
        ("`for:` of a rule", times.pending),
        ("`group_wait`", times.wait),
        ("`group_interval`", times.interval),
        ("`repeat_interval`", times.repeat),
        ("`group_wait` of people's route", times.people),
        ("`HEAL_RETRY_DELAY`", times.retry),
        ("`HEAL_SETTLE`", times.settle),
        ("`HEAL_HANDLER_TIMEOUT`", times.timeout),
    ] {
        let row = format!("| {name} | {} | ", span.text);
        assert_eq!(PAGE.matches(&row).count(), 1, "{row}");
    }
    let defaults: Config = config::load(None, |_| None).unwrap();
    assert_eq!(
        defaults.handler_timeout,
        Duration::from_millis(times.timeout.ms.unsigned_abs())
    );
    let peers = 15 * SECOND;
    assert!(
        times.pending.ms > times.interval.ms,
        "for: > group_interval"
    );
    assert!(times.settle.ms > times.interval.ms + peers);
    assert!(times.settle.ms > times.scrape.ms + times.evaluation.ms + times.pending.ms);
    assert!(times.repeat.ms > times.settle.ms);
    assert!(times.retry.ms < times.interval.ms);
    let attempts = i64::from(defaults.limits.max_attempts);
    let unlucky = attempts * (times.timeout.ms + times.grace.ms + times.retry.ms);
    assert!(
        unlucky < times.people.ms,
        "people hear of a hung handler from self-heal first"
    );
    assert!((attempts + 1) * times.repeat.ms <= HOUR);
}
