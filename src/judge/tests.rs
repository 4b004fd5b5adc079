//! The rules as a table of stories. Each line is what happened at which minute, and the verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use super::decision::{self, decide, look, resolve, settle};
use super::pages;
use super::record::{PageKind, Process, Reason};
use super::*;

mod told;

const MINUTE: i64 = 60_000;

pub(super) fn limits() -> Limits {
    let hours = |h: u64| Duration::from_secs(h * 3600);
    Limits {
        max_attempts: 3,
        attempt_window: hours(4),
        retry_delay: Duration::from_secs(30),
        settle: Duration::from_secs(360),
        run_limits: vec![
            RunLimit {
                runs: 6,
                window: hours(4),
            },
            RunLimit {
                runs: 10,
                window: hours(24),
            },
        ],
    }
}

pub(super) fn alert(status: Status, starts_at: Time, ends_at: Option<Time>) -> Alert {
    Alert {
        status,
        labels: BTreeMap::from([
            ("alertname".to_owned(), "A".to_owned()),
            ("instance".to_owned(), "i".to_owned()),
        ]),
        annotations: BTreeMap::new(),
        starts_at: Some(starts_at),
        ends_at,
        generator_url: String::new(),
        fingerprint: Some("f".to_owned()),
    }
}

/// One alert's world: its record, and what the story says next.
struct Story {
    record: Record,
    limits: Limits,
    runs: u32,
    pages: Vec<(i64, Option<Reason>)>,
    notes: Vec<Note>,
    in_flight: Option<Run>,
}

impl Story {
    fn new() -> Story {
        Story {
            record: Record::default(),
            limits: limits(),
            runs: 0,
            pages: Vec::new(),
            notes: Vec::new(),
            in_flight: None,
        }
    }

    /// The alert is firing at this minute since that one; a run ends so. None: it was let run.
    fn fire(&mut self, at: i64, since: i64, ending: Ending) -> Verdict {
        match self.start(at, since) {
            Err(verdict) => verdict,
            Ok(run) => self.end(at, &run, ending),
        }
    }

    fn start(&mut self, at: i64, since: i64) -> Result<Run, Verdict> {
        let now = Time(at * MINUTE);
        let alert = alert(Status::Firing, Time(since * MINUTE), None);
        let (next, seen) = look(&self.record, &alert, &self.limits, None, Force::No, now);
        if let Look::Answer(answer) = seen {
            self.adopt(next, &answer.notes);
            return Err(answer.verdict);
        }
        assert_eq!(
            next, self.record,
            "a look that needs the lock changes nothing"
        );
        self.runs += 1;
        let id = format!("r{}", self.runs);
        let proposal = Proposal {
            id: &id,
            timeout: Duration::from_secs(240),
            supervisor: Process::default(),
            interrupted: Rollback::None,
            force: Force::No,
        };
        let (next, decision) = decide(&self.record, &alert, &self.limits, None, &proposal, now);
        match decision {
            Decision::Run { run, notes, .. } => {
                assert_eq!(
                    next.in_flight.as_ref(),
                    Some(&run),
                    "counted before it starts"
                );
                self.adopt(next, &notes);
                self.in_flight = Some(run.clone());
                Ok(run)
            }
            Decision::Answer(answer) => {
                self.runs -= 1;
                self.adopt(next, &answer.notes);
                Err(answer.verdict)
            }
        }
    }

    fn end(&mut self, at: i64, run: &Run, ending: Ending) -> Verdict {
        self.end_with(at, run, &Ended::cleanly(ending))
    }

    fn end_with(&mut self, at: i64, run: &Run, ended: &Ended) -> Verdict {
        let (next, answer) = settle(&self.record, run, ended, &self.limits, Time(at * MINUTE));
        assert_eq!(next.in_flight, None);
        self.adopt(next, &answer.notes);
        answer.verdict
    }

    fn resolved(&mut self, at: i64, since: i64, end: i64) -> Verdict {
        let alert = alert(
            Status::Resolved,
            Time(since * MINUTE),
            Some(Time(end * MINUTE)),
        );
        let (next, answer) = resolve(&self.record, &alert, &self.limits, Time(at * MINUTE));
        self.adopt(next, &answer.notes);
        answer.verdict
    }

    fn adopt(&mut self, next: Record, notes: &[Note]) {
        for page in &next.owed {
            let what = match page.what {
                PageKind::Trigger(reason) => Some(reason),
                PageKind::Resolve(_) => None,
            };
            self.pages.push((page.at.0 / MINUTE, what));
        }
        self.record = pages::struck(&next, &next.owed);
        self.notes.extend_from_slice(notes);
    }
}

const HEALED: Ending = Ending::Exit(0);
const FAILED: Ending = Ending::Exit(1);

#[test]
fn a_plain_success_settles_is_verified_and_forgotten() {
    let mut story = Story::new();
    assert_eq!(story.fire(0, -2, HEALED), Verdict::Healed);
    assert_eq!(story.fire(1, -2, HEALED), Verdict::Settling);
    assert_eq!(story.resolved(3, -2, 2), Verdict::Resolved);
    assert_eq!(story.notes, [Note::Verified]);
    assert_eq!(story.fire(4, -2, HEALED), Verdict::Settling, "a late copy");
    assert_eq!(story.fire(60, 58, HEALED), Verdict::Healed, "a new episode");
    assert_eq!((story.runs, story.pages.len()), (2, 0));
}

#[test]
fn three_failures_open_the_breaker_at_the_third() {
    let mut story = Story::new();
    assert_eq!(story.fire(0, -2, FAILED), Verdict::Failed);
    assert_eq!(story.fire(0, -2, FAILED), Verdict::Waiting);
    assert_eq!(story.fire(1, -2, Ending::Signal(9)), Verdict::Failed);
    assert_eq!(story.fire(2, -2, Ending::TimedOut), Verdict::Tripped);
    assert_eq!(story.fire(3, -2, HEALED), Verdict::Tripped);
    assert_eq!(story.runs, 3);
    assert_eq!(story.pages, [(2, Some(Reason::Failures))]);
    assert_eq!(story.resolved(9, -2, 8), Verdict::Resolved);
    assert_eq!(story.pages.last(), Some(&(9, None)));
    assert_eq!(story.fire(60, 50, HEALED), Verdict::Healed);
}

#[test]
fn a_failure_older_than_the_window_does_not_count() {
    let mut story = Story::new();
    story.limits.run_limits = vec![RunLimit {
        runs: 100,
        window: Duration::from_secs(1),
    }];
    for at in [0, 130, 260, 390] {
        assert_eq!(story.fire(at, -2, FAILED), Verdict::Failed, "minute {at}");
    }
}

#[test]
fn exit_two_opens_the_breaker_at_once() {
    let mut story = Story::new();
    assert_eq!(story.fire(0, -2, Ending::Exit(2)), Verdict::GaveUp);
    assert_eq!(story.fire(1, -2, HEALED), Verdict::Tripped);
    assert_eq!(story.pages, [(0, Some(Reason::GaveUp))]);
}

#[test]
fn heals_without_effect_open_the_breaker() {
    for repeat in [15, 240] {
        let mut story = Story::new();
        story.limits.run_limits = vec![RunLimit {
            runs: 100,
            window: Duration::from_secs(60),
        }];
        for time in 0..3 {
            assert_eq!(
                story.fire(time * repeat, -2, HEALED),
                Verdict::Healed,
                "{repeat} {time}"
            );
        }
        assert_eq!(story.fire(3 * repeat, -2, HEALED), Verdict::Tripped);
        assert_eq!(story.runs, 3);
        assert_eq!(story.pages, [(3 * repeat, Some(Reason::Ineffective))]);
        assert_eq!(story.notes.last(), Some(&Note::Opened(Reason::Ineffective)));
    }
}

#[test]
fn without_a_settle_time_nothing_settles_and_no_heal_is_ineffective() {
    let mut story = Story::new();
    story.limits.settle = Duration::ZERO;
    for at in 0..6 {
        assert_eq!(story.fire(at * 10, -2, HEALED), Verdict::Healed);
    }
    assert_eq!(
        story.fire(60, -2, HEALED),
        Verdict::Tripped,
        "the run limits still hold"
    );
}

#[test]
fn flapping_opens_the_breaker_until_the_windows_admit_a_run() {
    let mut story = Story::new();
    for time in 0..6 {
        let at = time * 20;
        assert_eq!(story.fire(at, at - 2, HEALED), Verdict::Healed);
        assert_eq!(story.resolved(at + 8, at - 2, at + 7), Verdict::Resolved);
    }
    assert_eq!(story.fire(120, 118, HEALED), Verdict::Tripped);
    assert_eq!(story.pages, [(120, Some(Reason::RunLimits))]);
    assert_eq!(story.resolved(125, 118, 124), Verdict::Resolved);
    assert!(
        story.record.breaker_open(),
        "resolved does not forget past runs"
    );
    assert_eq!(story.pages.len(), 1);
    assert_eq!(story.fire(200, 198, HEALED), Verdict::Tripped);
    assert_eq!(
        story.fire(241, 198, HEALED),
        Verdict::Healed,
        "the first run left the window"
    );
    assert_eq!(story.pages, [(120, Some(Reason::RunLimits)), (241, None)]);
}

#[test]
fn half_open_lets_one_attempt_through_and_doubles_its_patience() {
    let mut story = Story::new();
    story.fire(0, -2, Ending::Exit(2));
    assert_eq!(story.fire(239, -2, FAILED), Verdict::Tripped);
    assert_eq!(
        story.fire(240, -2, FAILED),
        Verdict::Tripped,
        "one attempt, and it failed"
    );
    assert_eq!(story.runs, 2);
    assert_eq!(story.fire(240 + 479, -2, FAILED), Verdict::Tripped);
    assert_eq!(story.runs, 2);
    assert_eq!(story.fire(240 + 480, -2, HEALED), Verdict::Healed);
    assert_eq!(story.runs, 3);
    assert!(story.record.breaker_open(), "half-open until resolved");
    assert_eq!(story.fire(240 + 483, -2, HEALED), Verdict::Settling);
    assert_eq!(
        story.fire(240 + 490, -2, HEALED),
        Verdict::Tripped,
        "it changed nothing"
    );
    assert_eq!(story.fire(240 + 490 + 959, -2, HEALED), Verdict::Tripped);
    assert_eq!(story.fire(240 + 490 + 960, -2, HEALED), Verdict::Healed);
    assert_eq!(story.resolved(1700, -2, 1695), Verdict::Resolved);
    assert!(!story.record.breaker_open());
    assert_eq!(
        story.pages,
        [(0, Some(Reason::GaveUp)), (1700, None)],
        "one page for all of it"
    );
}

#[test]
fn an_open_breaker_stays_shut_a_day_at_most() {
    let mut story = Story::new();
    story.limits.run_limits = vec![RunLimit {
        runs: 100,
        window: Duration::from_secs(60),
    }];
    story.fire(0, -2, Ending::Exit(2));
    let mut at = 0;
    for hold in [240, 480, 960, 1440, 1440] {
        at += hold;
        assert_eq!(story.start(at - 1, -2), Err(Verdict::Tripped));
        assert_eq!(story.fire(at, -2, FAILED), Verdict::Tripped);
    }
    assert_eq!(story.runs, 6);
}

#[test]
fn deferrals_count_nowhere_until_they_fill_a_window() {
    let mut story = Story::new();
    let mut at = 0;
    while at < 240 {
        assert_eq!(
            story.fire(at, -2, Ending::Exit(75)),
            Verdict::Deferred,
            "minute {at}"
        );
        assert!(story.record.runs.is_empty() && story.record.failures.is_empty());
        at += 1;
    }
    assert_eq!(story.fire(240, -2, Ending::Exit(75)), Verdict::Tripped);
    assert_eq!(story.pages, [(240, Some(Reason::Deferrals))]);
    let mut story = Story::new();
    assert_eq!(story.fire(0, -2, Ending::Exit(75)), Verdict::Deferred);
    assert_eq!(story.fire(0, -2, Ending::Exit(75)), Verdict::Waiting);
    assert_eq!(story.fire(200, -2, HEALED), Verdict::Healed);
    assert_eq!(
        story.fire(300, -2, Ending::Exit(75)),
        Verdict::Deferred,
        "a heal begins anew"
    );
}

#[test]
fn a_run_without_its_supervisor_stays_counted() {
    let mut story = Story::new();
    story.start(0, -2).unwrap();
    assert_eq!(
        story.fire(0, -2, FAILED),
        Verdict::Waiting,
        "the retry delay counts from its start"
    );
    assert_eq!(story.record.failures, [Time(0)]);
    assert_eq!(story.pages, [(0, Some(Reason::Interrupted))]);
    story.start(1, -2).unwrap();
    story.start(2, -2).unwrap();
    assert_eq!(story.fire(3, -2, HEALED), Verdict::Tripped);
    assert_eq!(story.runs, 3);
    assert_eq!(story.pages.last(), Some(&(3, Some(Reason::Failures))));
}

#[test]
fn an_interrupted_runs_page_ends_with_the_next_ending() {
    let mut story = Story::new();
    story.start(0, -2).unwrap();
    assert_eq!(story.fire(1, -2, HEALED), Verdict::Healed);
    assert_eq!(story.pages, [(1, Some(Reason::Interrupted)), (1, None)]);
}

#[test]
fn resolved_in_mid_handler_verifies_a_heal_and_forgives_anything_else() {
    let mut story = Story::new();
    let run = story.start(0, -2).unwrap();
    assert_eq!(story.resolved(1, -2, 0), Verdict::Resolved);
    assert_eq!(story.end(2, &run, HEALED), Verdict::Healed);
    assert_eq!(story.notes, [Note::Verified]);
    for ending in [FAILED, Ending::Exit(2), Ending::Exit(75), Ending::TimedOut] {
        let mut story = Story::new();
        let run = story.start(0, -2).unwrap();
        story.resolved(1, -2, 0);
        assert_eq!(story.end(2, &run, ending), Verdict::Resolved);
        assert!(story.record.failures.is_empty() && story.record.breaker.is_none());
        assert_eq!(story.pages, []);
        assert_eq!(
            story.fire(3, -2, HEALED),
            Verdict::Settling,
            "a late copy runs nothing"
        );
    }
    let mut story = Story::new();
    story.start(0, -2).unwrap();
    story.resolved(1, -2, 0);
    assert_eq!(story.fire(30, 20, HEALED), Verdict::Healed);
    assert_eq!(
        story.pages,
        [],
        "an interrupted run whose episode is over pages nobody"
    );
}

#[test]
fn a_late_resolved_still_verifies() {
    let mut story = Story::new();
    story.fire(0, -2, HEALED);
    story.resolved(500, -2, 5);
    assert_eq!(story.notes, [Note::Verified]);
}

#[test]
fn a_stale_resolved_changes_nothing() {
    let mut story = Story::new();
    story.fire(0, -2, FAILED);
    let before = story.record.clone();
    assert_eq!(story.resolved(1, -20, -10), Verdict::Resolved);
    assert_eq!(story.record, before);
}

#[test]
fn a_lost_resolved_is_made_up_for_by_the_next_episode() {
    let mut story = Story::new();
    for at in [0, 1, 2] {
        story.fire(at, -2, FAILED);
    }
    assert_eq!(story.fire(30, 20, HEALED), Verdict::Healed);
    assert_eq!(story.record.ineffective, 0);
    assert_eq!(story.pages, [(2, Some(Reason::Failures)), (30, None)]);
}

#[test]
fn a_sender_that_restarts_does_not_begin_a_new_episode() {
    let mut story = Story::new();
    assert_eq!(story.fire(10, 0, FAILED), Verdict::Failed);
    assert_eq!(
        story.fire(12, 9, FAILED),
        Verdict::Failed,
        "a start before our last run's end"
    );
    assert_eq!(story.record.failures.len(), 2);
    assert_eq!(
        story.fire(14, -3, FAILED),
        Verdict::Tripped,
        "an earlier start: two Prometheus"
    );
}

#[test]
fn a_reopened_episode_keeps_its_counts_and_its_breaker() {
    let mut story = Story::new();
    for at in [0, 1, 2] {
        story.fire(at, -2, FAILED);
    }
    story.resolved(10, -2, 9);
    assert_eq!(story.fire(12, -2, HEALED), Verdict::Settling);
    assert_eq!(story.fire(20, -2, HEALED), Verdict::Tripped);
    assert_eq!(story.runs, 3);
    let pages = [
        (2, Some(Reason::Failures)),
        (10, None),
        (20, Some(Reason::Failures)),
    ];
    assert_eq!(
        story.pages, pages,
        "people were told it was over: they are told again"
    );
}

#[test]
fn clocks_five_minutes_apart_change_no_verdict() {
    for skew in [-5, 0, 5] {
        let mut story = Story::new();
        let since = |at: i64| at + skew;
        assert_eq!(story.fire(0, since(-2), FAILED), Verdict::Failed, "{skew}");
        assert_eq!(story.fire(1, since(-2), HEALED), Verdict::Healed, "{skew}");
        assert_eq!(
            story.fire(3, since(-2), HEALED),
            Verdict::Settling,
            "{skew}"
        );
        assert_eq!(story.resolved(5, since(-2), since(4)), Verdict::Resolved);
        assert_eq!(story.notes, [Note::Verified]);
        assert_eq!(
            story.fire(6, since(-2), HEALED),
            Verdict::Settling,
            "{skew}: a late copy"
        );
        assert_eq!(
            story.fire(9, since(5), FAILED),
            Verdict::Failed,
            "{skew}: a new episode"
        );
        assert_eq!(story.record.failures.len(), 1, "{skew}");
    }
}

#[test]
fn a_clock_set_back_waits_and_forgets_nothing() {
    let mut story = Story::new();
    story.fire(100, -2, FAILED);
    assert_eq!(story.fire(40, -2, FAILED), Verdict::Waiting);
    assert_eq!(story.fire(101, -2, FAILED), Verdict::Failed);
    assert_eq!(story.fire(102, -2, FAILED), Verdict::Tripped);
    assert_eq!(story.fire(0, -2, FAILED), Verdict::Tripped);
}

#[test]
fn nothing_runs_on_an_unknown_record_until_the_window_has_passed() {
    let mut story = Story::new();
    story.record = decision::unknown(Time(0));
    assert_eq!(story.fire(0, -2, HEALED), Verdict::Error);
    assert_eq!(story.resolved(1, -2, 0), Verdict::Resolved);
    assert_eq!(story.fire(239, -2, HEALED), Verdict::Error);
    assert_eq!(story.fire(240, -2, HEALED), Verdict::Healed);
}

#[test]
fn a_handler_that_never_started_counts_nowhere() {
    let mut story = Story::new();
    let run = story.start(0, -2).unwrap();
    assert_eq!(story.end(0, &run, Ending::NotStarted), Verdict::Error);
    assert!(story.record.runs.is_empty() && story.record.failures.is_empty());
    assert_eq!(story.fire(0, -2, HEALED), Verdict::Healed);
}

#[test]
fn a_survivor_keeps_the_alert_busy_while_it_lives_and_pages_once() {
    let survivor = Process { pid: 7, started: 9 };
    let mut story = Story::new();
    let run = story.start(0, -2).unwrap();
    let ended = Ended {
        survivors: vec![survivor],
        ..Ended::cleanly(Ending::TimedOut)
    };
    assert_eq!(story.end_with(5, &run, &ended), Verdict::Failed);
    assert_eq!(story.pages, [(5, Some(Reason::Survivor))]);
    assert_eq!(
        pages::stuck(&story.record, survivor, Time(6 * MINUTE)),
        story.record
    );
    let firing = alert(Status::Firing, Time(-2 * MINUTE), None);
    let now = Time(60 * MINUTE);
    let (_, seen) = look(
        &story.record,
        &firing,
        &story.limits,
        Some(survivor),
        Force::No,
        now,
    );
    assert!(matches!(seen, Look::Answer(answer) if answer.verdict == Verdict::Busy));
    assert_eq!(story.fire(60, -2, HEALED), Verdict::Healed, "it is gone");
    assert_eq!(story.pages.last(), Some(&(60, None)));
}

fn not_put_back(ending: Ending) -> Ended {
    Ended {
        rollback: Rollback::Failed,
        ..Ended::cleanly(ending)
    }
}

#[test]
fn what_cannot_be_put_back_opens_the_breaker_at_once_and_pages() {
    let mut story = Story::new();
    let run = story.start(0, -2).unwrap();
    let ended = not_put_back(Ending::Exit(1));
    assert_eq!(story.end_with(0, &run, &ended), Verdict::Tripped);
    assert_eq!(story.pages, [(0, Some(Reason::Rollback))]);
    assert_eq!(story.fire(10, -2, HEALED), Verdict::Tripped);
    assert_eq!(story.resolved(11, -2, 11), Verdict::Resolved);
    assert_eq!(story.pages.last(), Some(&(11, None)));
}

#[test]
fn what_a_probe_changed_and_cannot_be_put_back_pages_again() {
    let mut story = Story::new();
    assert_eq!(story.fire(0, -2, Ending::Exit(2)), Verdict::GaveUp);
    let run = story.start(240, -2).unwrap();
    assert!(run.probe);
    let ended = not_put_back(Ending::TimedOut);
    assert_eq!(story.end_with(241, &run, &ended), Verdict::Tripped);
    assert_eq!(
        story.pages,
        [(0, Some(Reason::GaveUp)), (241, Some(Reason::Rollback))]
    );
}

#[test]
fn what_cannot_be_put_back_pages_although_the_alert_is_over() {
    let mut story = Story::new();
    let run = story.start(0, -2).unwrap();
    story.resolved(1, -2, 1);
    let ended = not_put_back(Ending::Exit(1));
    assert_eq!(story.end_with(2, &run, &ended), Verdict::Resolved);
    assert_eq!(story.pages, [(2, Some(Reason::Rollback))]);
}

#[test]
fn the_latest_attempts_are_remembered_with_their_endings() {
    let mut story = Story::new();
    for (at, ending) in [(0, Ending::Exit(1)), (10, Ending::TimedOut)] {
        story.fire(at, -2, ending);
    }
    let run = story.start(20, -2).unwrap();
    let lost = decide(
        &story.record,
        &alert(Status::Firing, Time(-2 * MINUTE), None),
        &story.limits,
        None,
        &Proposal {
            id: "next",
            timeout: Duration::from_secs(60),
            supervisor: Process::default(),
            interrupted: Rollback::Done,
            force: Force::No,
        },
        Time(30 * MINUTE),
    );
    let seen: Vec<_> = lost
        .0
        .attempts
        .iter()
        .map(|a| (a.attempt, a.ending, a.rollback))
        .collect();
    assert_eq!(
        seen,
        [
            (1, Some(Ending::Exit(1)), Rollback::None),
            (2, Some(Ending::TimedOut), Rollback::None),
            (3, None, Rollback::Done)
        ]
    );
    assert_eq!(lost.0.attempts[2].run_id, run.id);
}

#[test]
fn an_interrupted_run_is_put_back_only_while_its_episode_fires() {
    let mut story = Story::new();
    let firing = |since: i64| alert(Status::Firing, Time(since * MINUTE), None);
    let now = Time(10 * MINUTE);
    assert!(!decision::still_firing(&story.record, &firing(-2), now));
    story.start(0, -2).unwrap();
    assert!(decision::still_firing(&story.record, &firing(-2), now));
    assert!(
        decision::still_firing(&story.record, &firing(5), now),
        "a sender that restarted"
    );
    story.resolved(6, -2, 6);
    assert!(!decision::still_firing(&story.record, &firing(-2), now));
    assert!(!decision::still_firing(&story.record, &firing(8), now));
}

#[test]
fn what_a_pause_holds_back_is_known_until_it_is_over_or_judged() {
    let mut story = Story::new();
    let firing = alert(Status::Firing, Time(-2 * MINUTE), None);
    let held = decision::hold(&story.record, &firing, Time(MINUTE));
    assert_eq!(held.held_since, Some(Time(MINUTE)));
    assert_eq!(held.alertname, firing.name());
    assert_eq!(decision::hold(&held, &firing, Time(2 * MINUTE)), held);
    story.record = held.clone();
    story.resolved(3, -2, 3);
    assert_eq!(story.record.held_since, None);
    story.record = held;
    story.fire(4, -2, HEALED);
    assert_eq!(story.record.held_since, None);
}

#[test]
fn time_alone_closes_what_the_run_limits_opened_and_nothing_else() {
    let mut story = Story::new();
    let runs = story.limits.run_limits[0].runs;
    for at in 0..i64::from(runs) {
        story.fire(10 * at, 10 * at - 1, HEALED);
        story.resolved(10 * at + 1, 10 * at - 1, 10 * at);
    }
    let last = 10 * i64::from(runs);
    assert_eq!(story.fire(last, last - 1, HEALED), Verdict::Tripped);
    story.resolved(last + 1, last - 1, last);
    let sweep = |record: &Record, at: i64| {
        decision::sweep(record, &super::tests::limits(), None, Time(at * MINUTE)).0
    };
    assert_eq!(sweep(&story.record, 239), story.record);
    let swept = sweep(&story.record, 240);
    assert_eq!((swept.breaker.is_none(), swept.owed.len()), (true, 1));
    let mut story = Story::new();
    story.fire(0, -2, Ending::Exit(2));
    assert_eq!(sweep(&story.record, 9999), story.record);
}

#[test]
fn the_page_about_a_survivor_ends_when_it_is_gone_although_the_alert_is_over() {
    let survivor = Process { pid: 7, started: 9 };
    let mut story = Story::new();
    let run = story.start(0, -2).unwrap();
    story.resolved(1, -2, 1);
    let ended = Ended {
        survivors: vec![survivor],
        ..Ended::cleanly(Ending::TimedOut)
    };
    story.end_with(5, &run, &ended);
    assert_eq!(story.pages, [(5, Some(Reason::Survivor))]);
    let limits = limits();
    let sweep = |alive| decision::sweep(&story.record, &limits, alive, Time(6 * MINUTE)).0;
    assert_eq!(sweep(Some(survivor)), story.record);
    let swept = sweep(None);
    assert!(swept.survivors.is_empty() && swept.page.is_none());
    assert_eq!(swept.owed.len(), 1);
}

#[test]
fn pages_of_one_record_are_in_order_whatever_the_clock_does() {
    let mut record = pages::truncated(&Record::default(), "{}", Time(1000));
    record = pages::whole(&record, Time(10));
    record = pages::truncated(&record, "{}", Time(20));
    let times: Vec<i64> = record.owed.iter().map(|page| page.at.0).collect();
    assert_eq!(times, [1000, 1001, 1002]);
    assert_eq!(
        pages::truncated(&record, "{}", Time(30)),
        record,
        "told once"
    );
    let again = pages::whole(&pages::whole(&record, Time(40)), Time(50));
    assert_eq!(again.owed.len(), 4, "over once");
}

#[test]
fn skips_change_nothing() {
    let mut story = Story::new();
    story.fire(0, -2, FAILED);
    for (at, status) in [(0, Verdict::Waiting), (0, Verdict::Waiting)] {
        let before = story.record.clone();
        assert_eq!(story.fire(at, -2, FAILED), status);
        assert_eq!(story.record, before);
    }
    story.fire(1, -2, FAILED);
    story.fire(2, -2, FAILED);
    let before = story.record.clone();
    for at in [3, 100, 200] {
        assert_eq!(story.fire(at, -2, FAILED), Verdict::Tripped);
        assert_eq!(story.record, before);
    }
}

#[test]
fn force_gets_past_the_breaker_and_the_delays_and_past_nothing_else() {
    let forced = |record: &Record, at: i64, survivor| {
        let proposal = Proposal {
            id: "by hand",
            timeout: Duration::from_secs(60),
            supervisor: Process::default(),
            interrupted: Rollback::None,
            force: Force::PastBreakerAndDelays,
        };
        let firing = alert(Status::Firing, Time(-2 * MINUTE), None);
        match decide(
            record,
            &firing,
            &limits(),
            survivor,
            &proposal,
            Time(at * MINUTE),
        ) {
            (next, Decision::Run { run, past, .. }) => {
                Ok((next, run, past.map(|(verdict, _)| verdict)))
            }
            (_, Decision::Answer(answer)) => Err(answer.verdict),
        }
    };
    let mut story = Story::new();
    assert_eq!(story.fire(0, -2, Ending::Exit(2)), Verdict::GaveUp);
    assert_eq!(story.fire(1, -2, Ending::Exit(0)), Verdict::Tripped);
    let (next, run, past) = forced(&story.record, 2, None).unwrap();
    assert_eq!(
        (past, run.probe, run.attempt),
        (Some(Verdict::Tripped), true, 2)
    );
    assert_eq!(next.runs.len(), 2);
    let end = |ending| {
        let ended = Ended::cleanly(ending);
        settle(&next, &run, &ended, &limits(), Time(3 * MINUTE))
    };
    // It counts as the one attempt that a breaker lets through does.
    let (healed, answer) = end(Ending::Exit(0));
    assert_eq!(answer.verdict, Verdict::Healed);
    assert!(healed.breaker.unwrap().half_open);
    let (failed, answer) = end(Ending::Exit(1));
    assert_eq!(answer.verdict, Verdict::Tripped);
    assert_eq!(failed.breaker.unwrap().hold, 2 * limits().attempt_window);
    assert_eq!(failed.owed, story.record.owed, "nobody is told twice");

    let mut story = Story::new();
    story.fire(0, -2, Ending::Exit(0));
    let (_, _, past) = forced(&story.record, 1, None).unwrap();
    assert_eq!(past, Some(Verdict::Settling));
    let mut story = Story::new();
    story.fire(0, -2, Ending::Exit(1));
    let (_, _, past) = forced(&story.record, 0, None).unwrap();
    assert_eq!(past, Some(Verdict::Waiting));
    assert_eq!(forced(&Record::default(), 0, None).unwrap().2, None);

    let survivor = Some(Process { pid: 7, started: 7 });
    assert_eq!(
        forced(&story.record, 0, survivor).unwrap_err(),
        Verdict::Busy
    );
    let unknown = decision::unknown(Time(0));
    assert_eq!(forced(&unknown, 1, None).unwrap_err(), Verdict::Error);
}
