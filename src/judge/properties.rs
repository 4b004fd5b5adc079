//! What holds for every sequence of alerts, endings, crashes and clock steps.

use std::time::Duration;

use proptest::prelude::*;

use super::decision::{decide, look, resolve, settle};
use super::record::{Process, Reason};
use super::tests::{alert, limits};
use super::*;

#[derive(Clone, Debug)]
enum Step {
    /// The clock moves by so many seconds, back too.
    Clock(i64),
    /// The alert fires; the start moves forward with the sender's clock if `fresh`.
    Fire { fresh: bool, ending: Option<Ending> },
    /// The alert resolves.
    Resolve,
    /// The alert fires, resolves in mid-handler, and the handler ends so.
    Overtaken(Ending),
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        3 => Just(Ending::Exit(0)),
        3 => Just(Ending::Exit(1)),
        1 => Just(Ending::Exit(2)),
        1 => Just(Ending::Exit(75)),
        1 => Just(Ending::Signal(9)),
        1 => Just(Ending::TimedOut),
        1 => Just(Ending::NotStarted),
        1 => Just(Ending::Lost),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => prop_oneof![0i64..120, 300i64..20_000, -4_000i64..0].prop_map(Step::Clock),
        6 => (any::<bool>(), proptest::option::weighted(0.9, ending()))
            .prop_map(|(fresh, ending)| Step::Fire { fresh, ending }),
        2 => Just(Step::Resolve),
        1 => ending().prop_map(Step::Overtaken),
    ]
}

/// Watches from outside: counts for itself, by other means than the rules do.
#[derive(Default)]
struct Watch {
    /// Starts of runs that count for the run limits.
    starts: Vec<Time>,
    /// When a breaker opened, until a note says that it closed.
    open_since: Option<Time>,
    /// Bad endings in a row since the last good one or the last known change of episode.
    row: Vec<Time>,
}

struct World {
    record: Record,
    now: Time,
    starts_at: Time,
    watch: Watch,
    /// A run whose supervisor died.
    abandoned: Option<Time>,
    runs: u32,
}

impl World {
    fn notes(&mut self, notes: &[Note]) -> Result<(), TestCaseError> {
        for note in notes {
            match note {
                Note::Opened(Reason::RunLimits) => {}
                Note::Opened(_) => self.watch.open_since = Some(self.now),
                Note::Closed(_) => self.watch.open_since = None,
                Note::Interrupted(run) => {
                    prop_assert_eq!(
                        self.abandoned.take(),
                        Some(run.started),
                        "no crash, no note"
                    );
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn fire(&mut self, limits: &Limits) -> Result<Option<Run>, TestCaseError> {
        let firing = alert(Status::Firing, self.starts_at, None);
        let before = self.record.clone();
        let (next, seen) = look(&self.record, &firing, limits, None, Force::No, self.now);
        if let Look::Answer(answer) = seen {
            prop_assert!(before.in_flight.is_none(), "a run in flight needs the lock");
            self.record = next;
            self.notes(&answer.notes)?;
            return Ok(None);
        }
        prop_assert_eq!(&next, &before);
        self.runs += 1;
        let id = self.runs.to_string();
        let supervisor = Process::default();
        let proposal = Proposal {
            id: &id,
            timeout: Duration::from_secs(60),
            supervisor,
            interrupted: Rollback::None,
            force: Force::No,
        };
        let (next, decision) = decide(&before, &firing, limits, None, &proposal, self.now);
        let again = decide(&before, &firing, limits, None, &proposal, self.now);
        prop_assert_eq!(
            &(next.clone(), decision.clone()),
            &again,
            "the same in, the same out"
        );
        force_overrides(&before, &firing, limits, &proposal, self.now)?;
        self.record = next;
        let run = match decision {
            Decision::Answer(answer) => {
                prop_assert!(self.record.in_flight.is_none());
                self.notes(&answer.notes)?;
                return Ok(None);
            }
            Decision::Run { run, notes, past } => {
                prop_assert_eq!(past, None, "nobody forces it");
                self.notes(&notes)?;
                run
            }
        };
        prop_assert_eq!(
            self.record.in_flight.as_ref(),
            Some(&run),
            "counted before it starts"
        );
        if let Some(since) = self.watch.open_since {
            prop_assert!(run.probe, "a run while the breaker is open");
            prop_assert!(
                self.now.since(since) >= limits.attempt_window,
                "before its time"
            );
        }
        for limit in &limits.run_limits {
            let within = |start: &&Time| self.now.since(**start) < limit.window;
            let runs = self.watch.starts.iter().filter(within).count();
            prop_assert!(runs < limit.runs as usize, "more often than {:?}", limit);
        }
        self.watch.starts.push(self.now);
        Ok(Some(run))
    }

    fn end(&mut self, run: &Run, ending: Ending, limits: &Limits) -> Result<(), TestCaseError> {
        let over = self
            .record
            .episode
            .as_ref()
            .is_some_and(|e| e.closed_at.is_some());
        let failures = self.record.failures.clone();
        let (next, answer) = settle(&self.record, run, &Ended::cleanly(ending), limits, self.now);
        self.record = next;
        self.notes(&answer.notes)?;
        if matches!(ending, Ending::Exit(75) | Ending::NotStarted) {
            let place = self.watch.starts.iter().rposition(|s| *s == run.started);
            place.map(|place| self.watch.starts.remove(place));
            prop_assert_eq!(&self.record.failures, &failures, "counted nowhere");
        } else if !over && !ending.healed() {
            let kept = self.record.failures.contains(&self.now);
            let full = self.record.failures.len() == limits.max_attempts as usize;
            prop_assert!(kept || full, "a count was lost");
        }
        prop_assert_eq!(
            over,
            matches!(answer.why, Why::EndedAfterResolved(_))
                || (over && ending == Ending::NotStarted)
        );
        Ok(())
    }
}

/// An operator's force turns an answer of the breaker or of a delay into a run, counted as any other, and changes
/// nothing else: not what else the record says, and no other answer.
fn force_overrides(
    record: &Record,
    firing: &Alert,
    limits: &Limits,
    proposal: &Proposal<'_>,
    now: Time,
) -> Result<(), TestCaseError> {
    let forced = Proposal {
        force: Force::PastBreakerAndDelays,
        ..proposal.clone()
    };
    let survivor = Some(Process { pid: 7, started: 7 });
    for survivor in [None, survivor] {
        let (left, answered) = decide(record, firing, limits, survivor, proposal, now);
        let (went, did) = decide(record, firing, limits, survivor, &forced, now);
        let Decision::Answer(Answer { verdict, why, .. }) = answered else {
            prop_assert_eq!((left, answered), (went, did), "a run needs no force");
            continue;
        };
        let gives_way = [Verdict::Tripped, Verdict::Settling, Verdict::Waiting];
        if !gives_way.contains(&verdict) {
            prop_assert_eq!((left, answered), (went, did));
            continue;
        }
        let Decision::Run { run, past, .. } = did else {
            return Err(TestCaseError::fail("force did not get past"));
        };
        prop_assert_eq!(past, Some((verdict, why)));
        prop_assert!(went.runs.contains(&now), "it is counted");
        prop_assert_eq!(went.in_flight.as_ref(), Some(&run));
        prop_assert_eq!(run.probe, left.breaker.is_some());
        let (seen, _) = look(record, firing, limits, survivor, forced.force, now);
        prop_assert_eq!(&seen, record);
        let mut bare = Record {
            in_flight: None,
            runs: left.runs.clone(),
            alertname: left.alertname.clone(),
            instance: left.instance.clone(),
            fingerprint: left.fingerprint.clone(),
            ..went
        };
        let late_copy = left.episode.as_ref().is_some_and(|e| e.closed_at.is_some());
        prop_assert!(bare.episode.as_ref().is_some_and(|e| e.closed_at.is_none()));
        if late_copy {
            // What ran counts, so its episode goes on, and whoever was told of its breaker is told again.
            prop_assert_eq!(verdict, Verdict::Settling);
            prop_assert!(bare.breaker.is_none() || bare.page.is_some());
            bare.episode.clone_from(&left.episode);
            bare.page = left.page;
            bare.owed.clone_from(&left.owed);
            bare.paged_at = left.paged_at;
        }
        prop_assert_eq!(bare, left, "force changed something else");
    }
    Ok(())
}

fn play(steps: Vec<Step>, limits: &Limits) -> Result<(), TestCaseError> {
    let mut world = World {
        record: Record::default(),
        now: Time(1_000_000_000_000),
        starts_at: Time(999_999_900_000),
        watch: Watch::default(),
        abandoned: None,
        runs: 0,
    };
    for step in steps {
        match step {
            Step::Clock(seconds) => world.now = Time(world.now.0 + seconds * 1000),
            Step::Fire { fresh, ending } => {
                if fresh {
                    world.starts_at = Time(world.now.0 - 1000);
                }
                let was_abandoned = world.abandoned;
                let run = world.fire(limits)?;
                if was_abandoned.is_some() {
                    prop_assert!(
                        world.abandoned.is_none(),
                        "an interrupted run was overlooked"
                    );
                }
                match (run, ending) {
                    (Some(run), Some(ending)) => world.end(&run, ending, limits)?,
                    (Some(run), None) => world.abandoned = Some(run.started),
                    (None, _) => {}
                }
            }
            Step::Resolve => {
                let over = alert(Status::Resolved, world.starts_at, Some(world.now));
                let (next, answer) = resolve(&world.record, &over, limits, world.now);
                prop_assert_eq!(&next.runs, &world.record.runs, "resolved forgets no run");
                prop_assert_eq!(&next.in_flight, &world.record.in_flight);
                world.record = next;
                world.notes(&answer.notes)?;
            }
            Step::Overtaken(ending) => {
                if let Some(run) = world.fire(limits)? {
                    let over = alert(Status::Resolved, world.starts_at, Some(world.now));
                    let (next, answer) = resolve(&world.record, &over, limits, world.now);
                    world.record = next;
                    world.notes(&answer.notes)?;
                    world.end(&run, ending, limits)?;
                }
            }
        }
        let firing = world
            .record
            .episode
            .as_ref()
            .is_some_and(|e| e.closed_at.is_none());
        if firing && world.record.breaker_open() {
            prop_assert!(
                world.record.page.is_some(),
                "a breaker that nobody is told of"
            );
        }
        prop_assert!(world.record.runs.len() <= RunLimit::MOST as usize + 1);
        prop_assert!(world.record.failures.len() <= limits.max_attempts as usize);
        prop_assert!(world.record.owed.len() <= Record::OWED);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn no_sequence_breaks_a_limit(steps in proptest::collection::vec(step(), 0..80)) {
        play(steps, &limits())?;
    }

    #[test]
    fn nor_with_other_limits(
        steps in proptest::collection::vec(step(), 0..60),
        max_attempts in 1u32..5,
        window in 60u64..20_000,
        settle in prop_oneof![Just(0u64), 1u64..1_000],
        retry in 0u64..120,
        runs in 1u32..5,
    ) {
        let limits = Limits {
            max_attempts,
            attempt_window: Duration::from_secs(window),
            retry_delay: Duration::from_secs(retry),
            settle: Duration::from_secs(settle),
            run_limits: vec![
                RunLimit { runs, window: Duration::from_secs(3_600) },
                RunLimit { runs: runs * 2, window: Duration::from_secs(36_000) },
            ],
        };
        play(steps, &limits)?;
    }

    /// One episode that never resolves: so many bad endings in a row within the window always open
    /// the breaker, crashes included.
    #[test]
    fn a_row_of_failures_always_trips(
        crashes in proptest::collection::vec(any::<bool>(), 3),
        gaps in proptest::collection::vec(30i64..600, 3),
    ) {
        let limits = limits();
        let mut world = World {
            record: Record::default(),
            now: Time(0),
            starts_at: Time(-1000),
            watch: Watch::default(),
            abandoned: None,
            runs: 0,
        };
        for (crash, gap) in crashes.iter().zip(&gaps) {
            world.watch.row.push(world.now);
            let run = world.fire(&limits)?;
            prop_assert!(run.is_some());
            match run {
                Some(run) if !crash => world.end(&run, Ending::Exit(1), &limits)?,
                Some(run) => world.abandoned = Some(run.started),
                None => {}
            }
            world.now = Time(world.now.0 + gap * 1000);
        }
        prop_assert_eq!(world.watch.row.len(), 3);
        prop_assert!(world.fire(&limits)?.is_none(), "a fourth run");
        prop_assert!(world.record.breaker_open());
    }
}
