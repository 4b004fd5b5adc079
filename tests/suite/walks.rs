//! Incidents from beginning to end, with the notifications as Alertmanager really sends them. Those that last
//! hours have their clock given ([`sender`]); those about processes run the real executable ([`processes`]).

mod processes;
mod sender;
mod timeline;

use self_heal::judge::record::Reason;
use self_heal::judge::{Note, Verdict};

use sender::{DEFAULT, HOUR, MINUTE, Route, SECOND, SHIPPED, World, exits};

/// The condition begins at zero and lasts until a handler ends it.
fn incident(route: Route) -> World {
    let mut world = World::new(route);
    world.fires(0, None);
    world
}

#[test]
fn the_walks_take_the_times_of_the_shipped_route() {
    let shipped = include_str!("../../deploy/alertmanager/alertmanager.yml");
    let (_, route) = shipped.split_once("      receiver: self-heal\n").unwrap();
    let (route, _) = route.split_once("\nreceivers:").unwrap();
    for line in [
        "group_wait: 10s",
        "group_interval: 1m",
        "repeat_interval: 15m",
    ] {
        assert!(route.contains(line), "{line} not in\n{route}");
    }
}

#[test]
fn plain_success() {
    let mut world = incident(SHIPPED);
    world.play(2 * HOUR, |_| exits(0, 20 * SECOND).and_cures(30 * SECOND));
    assert_eq!(
        world.told(),
        ["0:10 firing healed", "1:10 resolved resolved"]
    );
    assert_eq!(world.notes, [Note::Verified]);
    assert_eq!(world.pages, []);
}

#[test]
fn three_failures() {
    let mut world = incident(SHIPPED);
    world.play(HOUR, |_| exits(1, SECOND));
    let told = world.told();
    assert_eq!(told[..2], ["0:10 firing failed", "0:47 firing failed"]);
    assert!(told[2].ends_with("tripped"), "{told:?}");
    assert_eq!(world.runs.len(), 3);
    for pair in world.runs.windows(2) {
        assert!(pair[1] - pair[0] > 30 * SECOND, "the retry delay");
    }
    let opened = world.runs[2] + SECOND;
    assert!(
        opened < 2 * MINUTE,
        "503 brings the sender back at once, not at repeat_interval"
    );
    assert_eq!(world.pages, [(opened, Some(Reason::Failures))]);
    // After the breaker's 200 nothing but the repeats, and nothing comes of them.
    assert!(
        told[3..]
            .iter()
            .all(|told| told.ends_with("firing tripped")),
        "{told:?}"
    );
    assert_eq!(told.len(), 3 + 3, "{told:?}");
    world.post_resolved(HOUR, 0, HOUR - MINUTE);
    assert_eq!(world.pages.last(), Some(&(HOUR, None)));
}

/// Exit 0, and the alert goes on firing: no restart without end.
fn success_that_does_not_help(route: Route) -> World {
    let mut world = incident(route);
    world.play(3 * route.repeat_interval + HOUR, |_| exits(0, 20 * SECOND));
    assert_eq!(world.runs.len(), 3);
    assert_eq!(world.count(Verdict::Healed), 3);
    let last = world
        .posts
        .iter()
        .find(|post| post.2 == Verdict::Tripped)
        .unwrap()
        .0;
    assert_eq!(world.pages, [(last, Some(Reason::Ineffective))]);
    assert_eq!(world.notes.last(), Some(&Note::Opened(Reason::Ineffective)));
    let ineffective = world
        .notes
        .iter()
        .filter(|note| matches!(note, Note::Ineffective(_)));
    assert_eq!(ineffective.count(), 3);
    world
}

#[test]
fn success_that_does_not_help_repeat_15m() {
    let world = success_that_does_not_help(SHIPPED);
    assert!(
        world.pages[0].0 < HOUR,
        "a person knows within the hour: {:?}",
        world.pages
    );
}

#[test]
fn success_that_does_not_help_repeat_4h() {
    // Between two heals lies the whole attempt window: the count of ineffective heals knows none.
    let world = success_that_does_not_help(DEFAULT);
    assert!(world.runs[1] - world.runs[0] >= 4 * HOUR);
}

#[test]
fn flapping() {
    let mut world = World::new(SHIPPED);
    for time in 0..24 {
        let from = time * 20 * MINUTE;
        world.fires(from, Some(from + 10 * MINUTE));
    }
    world.play(8 * HOUR, |_| exits(0, SECOND).and_cures(30 * SECOND));
    let healed: Vec<i64> = world.runs.iter().map(|at| at / MINUTE).collect();
    // 6 in 4 h, then shut until the first of them leaves the window, then 10 in 24 h.
    assert_eq!(healed, [0, 20, 40, 60, 80, 100, 240, 260, 280, 300]);
    let pages: Vec<_> = world
        .pages
        .iter()
        .map(|(at, why)| (at / MINUTE, *why))
        .collect();
    let limits = Some(Reason::RunLimits);
    assert_eq!(pages, [(120, limits), (240, None), (320, limits)]);
    let verified = world.notes.iter().filter(|note| **note == Note::Verified);
    assert_eq!(verified.count(), 10);
    assert!(
        world.record.breaker_open(),
        "resolved never forgets past runs"
    );
}

#[test]
fn handler_longer_than_group_interval() {
    // 150 s against 60 s: the sender hangs up at its deadline and asks again at once, and again.
    let mut world = incident(SHIPPED);
    world.play(2 * HOUR, |_| exits(0, 150 * SECOND).and_cures(30 * SECOND));
    assert_eq!(world.runs.len(), 1);
    assert!(world.count(Verdict::Busy) > 5);
    let told = world.told();
    let after: Vec<_> = told.iter().filter(|told| !told.ends_with("busy")).collect();
    assert_eq!(after[0], "0:10 firing healed");
    assert!(
        after[1].ends_with("firing settling"),
        "the outcome is found: {told:?}"
    );
    assert!(after[2].ends_with("resolved resolved"), "{told:?}");
    assert_eq!((after.len(), &world.notes), (3, &vec![Note::Verified]));
}

#[test]
fn a_failing_handler_longer_than_group_interval_is_counted_once_a_run() {
    let mut world = incident(SHIPPED);
    world.play(HOUR, |_| exits(1, 150 * SECOND));
    assert_eq!(world.runs.len(), 3);
    for pair in world.runs.windows(2) {
        assert!(pair[1] - pair[0] >= 180 * SECOND, "run and retry delay");
    }
    assert_eq!(
        world.pages,
        [(world.runs[2] + 150 * SECOND, Some(Reason::Failures))]
    );
}

#[test]
fn resolved_in_mid_handler() {
    for code in [0, 1, 2] {
        let mut world = World::new(SHIPPED);
        world.post_firing(10 * SECOND, 0, exits(code, 50 * SECOND));
        assert_eq!(
            world.post_resolved(40 * SECOND, 0, 35 * SECOND),
            Verdict::Resolved
        );
        world.finish(MINUTE);
        assert_eq!(
            world.record.failures,
            [],
            "exit {code} after resolved is not counted"
        );
        assert!(world.record.breaker.is_none(), "exit {code}");
        assert_eq!(world.pages, []);
        let verified = world.notes.contains(&Note::Verified);
        assert_eq!(verified, code == 0, "exit {code}");
        // The first flush is still asking, with the payload of its beginning.
        let late = world.post_firing(MINUTE, 0, exits(0, 0));
        assert_eq!(
            (late, world.runs.len()),
            (Verdict::Settling, 1),
            "exit {code}"
        );
    }
}

#[test]
fn resolved_late() {
    // The sender was away for three hours, and found nothing left of what it had notified.
    let mut world = World::new(SHIPPED);
    world.post_firing(10 * SECOND, 0, exits(0, SECOND));
    assert_eq!(
        world.post_resolved(3 * HOUR, 0, 2 * MINUTE),
        Verdict::Resolved
    );
    assert_eq!(world.notes, [Note::Verified]);
    assert_eq!(
        world.post_firing(5 * HOUR, 5 * HOUR - MINUTE, exits(0, 0)),
        Verdict::Healed
    );
    assert_eq!(world.pages, []);
}

#[test]
fn resolved_stale() {
    // The HA peer behind a partition delivers the end of the last incident in the middle of this one.
    let mut world = World::new(SHIPPED);
    world.post_firing(10 * SECOND, 0, exits(0, SECOND));
    world.post_resolved(5 * MINUTE, 0, 4 * MINUTE);
    world.post_firing(HOUR, HOUR - MINUTE, exits(1, 0));
    world.finish(HOUR);
    let before = world.record.clone();
    assert_eq!(
        world.post_resolved(HOUR + MINUTE, 0, 4 * MINUTE),
        Verdict::Resolved
    );
    assert_eq!(
        world.record, before,
        "the incident goes on, its failure stays counted"
    );
    assert_eq!(
        world.post_firing(HOUR + MINUTE, HOUR - MINUTE, exits(1, 0)),
        Verdict::Failed,
        "and its next attempt is due"
    );
}

#[test]
fn resolved_lost() {
    // Alertmanager lost its memory (no snapshot of its notification log) with the incident's end in it.
    let mut world = World::new(SHIPPED);
    for at in [0, 1, 2] {
        world.post_firing(at * MINUTE, -MINUTE, exits(1, SECOND));
    }
    world.finish(3 * MINUTE);
    assert!(world.record.breaker_open());
    let opened = (2 * MINUTE + SECOND, Some(Reason::Failures));
    assert_eq!(world.pages, [opened]);
    // The next incident, half an hour on: a later start than our last run's end.
    let next = world.post_firing(40 * MINUTE, 35 * MINUTE, exits(0, SECOND));
    assert_eq!(next, Verdict::Healed);
    assert_eq!(world.pages, [opened, (40 * MINUTE, None)]);
}

#[test]
fn exit_75_for_ever() {
    let mut world = incident(SHIPPED);
    world.play(7 * HOUR, |_| exits(75, SECOND));
    let first = world.runs[0] + SECOND;
    assert_eq!(world.pages.len(), 1);
    let (opened, why) = world.pages[0];
    assert_eq!(why, Some(Reason::Deferrals));
    assert!(
        (4 * HOUR..4 * HOUR + 2 * MINUTE).contains(&(opened - first)),
        "{opened}"
    );
    assert_eq!(
        world.runs.last(),
        Some(&(opened - SECOND)),
        "no run after it"
    );
    assert!(
        world.runs.len() > 200,
        "asked for again all the while: {}",
        world.runs.len()
    );
    for pair in world.runs.windows(2) {
        assert!(pair[1] - pair[0] > 30 * SECOND, "the retry delay");
    }
    assert_eq!(world.record.runs, [], "counted nowhere");
    assert_eq!(world.record.failures, []);
}

#[test]
fn a_deferral_or_two_lets_the_heal_through() {
    let mut world = incident(SHIPPED);
    world.play(HOUR, |run| match run {
        1 | 2 => exits(75, SECOND),
        _ => exits(0, SECOND).and_cures(20 * SECOND),
    });
    let told = world.told();
    assert_eq!(told[..2], ["0:10 firing deferred", "0:47 firing deferred"]);
    assert!(
        told[2].ends_with("firing healed") && told[3].ends_with("resolved resolved"),
        "{told:?}"
    );
    assert_eq!((told.len(), world.pages.len()), (4, 0));
}

#[test]
fn clocks_five_minutes_apart_either_way() {
    type Incident = fn(World) -> World;
    let healed: Incident = |mut world| {
        world.fires(0, None);
        world.play(2 * HOUR, |_| exits(0, 20 * SECOND).and_cures(30 * SECOND));
        world
    };
    let failing: Incident = |mut world| {
        world.fires(0, Some(30 * MINUTE));
        world.fires(50 * MINUTE, None);
        world.play(2 * HOUR, |run| match run {
            1..=3 => exits(1, SECOND),
            _ => exits(0, SECOND).and_cures(30 * SECOND),
        });
        world
    };
    let useless: Incident = |mut world| {
        world.fires(0, None);
        world.play(2 * HOUR, |_| exits(0, SECOND));
        world
    };
    let flapping: Incident = |mut world| {
        for time in 0..12 {
            let from = time * 20 * MINUTE;
            world.fires(from, Some(from + 10 * MINUTE));
        }
        world.play(4 * HOUR, |_| exits(0, SECOND).and_cures(30 * SECOND));
        world
    };
    for (number, incident) in [healed, failing, useless, flapping].into_iter().enumerate() {
        let straight = incident(World::new(SHIPPED));
        assert!(straight.runs.len() >= [1, 4, 3, 6][number]);
        for skew in [-5 * MINUTE, 5 * MINUTE] {
            let skewed = incident(World::new(SHIPPED).skewed(skew));
            assert_eq!(
                skewed.told(),
                straight.told(),
                "incident {number}, skew {skew}"
            );
            assert_eq!(
                skewed.pages, straight.pages,
                "incident {number}, skew {skew}"
            );
        }
    }
}

#[test]
fn a_prometheus_that_restarts_and_one_that_is_earlier_keep_the_incident() {
    // FiredAt is lost with the restart; of two Prometheus the earlier start wins when it is heard of.
    let mut world = World::new(SHIPPED);
    assert_eq!(
        world.post_firing(10 * MINUTE, 0, exits(1, MINUTE)),
        Verdict::Failed
    );
    assert_eq!(
        world.post_firing(12 * MINUTE, 10 * MINUTE + 30 * SECOND, exits(1, 0)),
        Verdict::Failed
    );
    assert_eq!(
        world.post_firing(13 * MINUTE, -2 * MINUTE, exits(1, 0)),
        Verdict::Tripped
    );
}

#[test]
fn the_timelines_of_the_documentation_are_what_happens() {
    let page = include_str!("../../docs/alertmanager.md");
    let shown = |name: &str| -> Vec<&str> {
        let (_, rest) = page.split_once(&format!("\n```text {name}\n")).unwrap();
        rest.split_once("\n```").unwrap().0.lines().collect()
    };
    let mut success = incident(SHIPPED);
    success.play(2 * HOUR, |_| exits(0, 20 * SECOND).and_cures(30 * SECOND));
    assert_eq!(shown("success"), success.told());
    let mut failures = incident(SHIPPED);
    failures.play(20 * MINUTE, |_| exits(1, SECOND));
    assert_eq!(shown("failures"), failures.told());
    let mut useless = incident(SHIPPED);
    useless.play(HOUR, |_| exits(0, 20 * SECOND));
    assert_eq!(shown("no-effect"), useless.told());
}
