//! How an alert stands between two notifications: what holds its handler back, what would be said to a repeat. It asks
//! the rules themselves ([`decision::look`]) and knows none of its own.

use std::collections::BTreeMap;

use super::alert::{Alert, Status};
use super::decision::{self, Force, Look, Why};
use super::limits::Limits;
use super::record::{Process, Reason, Record};
use super::time::Time;

/// How an alert stands. What it says of the future holds for a repeat of the same episode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is known to be wrong.
    Quiet,
    /// A run is counted, and its end not recorded.
    Running,
    /// The breaker is open; one attempt is let through from then on, or at the next repeat.
    Open {
        /// What opened it.
        reason: Reason,
        /// When.
        since: Time,
        /// When an attempt is let through; `None`: with the next repeat.
        until: Option<Time>,
    },
    /// The handler exited 0 and no `resolved` has come. What fires past `settles` was not healed.
    Unverified {
        /// When it exited.
        healed: Time,
        /// When the effect is due; `None`: it is overdue, or the settle time is off.
        settles: Option<Time>,
        /// Whether an open breaker let that attempt through.
        half_open: bool,
    },
    /// Something is to pass before the next attempt.
    Waiting {
        /// What.
        what: Wait,
        /// Until then; `None`: nobody knows.
        until: Option<Time>,
    },
    /// Attempts are left; the next repeat starts one.
    Due,
}

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// The delay after a failure or a deferral.
    RetryDelay,
    /// Its record was damaged: nothing is known.
    Damaged,
    /// A process of a run past its timeout lives on.
    Survivor(Process),
    /// A pause holds it back since then.
    Pause(Time),
}

/// How the alert of this record stands. `survivor` is one of the record's survivors that is still alive.
pub fn standing(
    record: &Record,
    limits: &Limits,
    survivor: Option<Process>,
    now: Time,
) -> Standing {
    if record.in_flight.is_some() {
        return Standing::Running;
    }
    let waiting = |what, until| Standing::Waiting { what, until };
    let episode = record.episode.as_ref();
    let repeat = Alert {
        status: Status::Firing,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        starts_at: episode.map(|episode| episode.starts_at),
        ends_at: None,
        generator_url: String::new(),
        fingerprint: None,
    };
    let why = match decision::look(record, &repeat, limits, survivor, Force::No, now).1 {
        Look::Answer(answer) => Some(answer.why),
        Look::NeedsLock => None,
    };
    match why {
        Some(Why::Damaged(until)) => return waiting(Wait::Damaged, Some(until)),
        Some(Why::Survivor(process)) => return waiting(Wait::Survivor(process), None),
        _ => {}
    }
    let over = episode.is_none_or(|episode| episode.closed_at.is_some());
    let breaker = record.breaker.as_ref();
    if let Some(breaker) = breaker.filter(|breaker| record.breaker_open() && !breaker.half_open) {
        let limited = breaker.reason == Reason::RunLimits;
        let until = match why {
            // A late copy is told nothing of it.
            _ if limited => decision::limits_free_at(&record.runs, limits, now),
            Some(Why::Open(_, until)) => Some(until),
            _ => None,
        };
        // Once the windows admit a run, whoever looks next closes it.
        if !limited || until.is_some() {
            return Standing::Open {
                reason: breaker.reason,
                since: breaker.since,
                until,
            };
        }
    }
    if let Some(since) = record.held_since {
        return waiting(Wait::Pause(since), None);
    }
    if over {
        return Standing::Quiet;
    }
    if let Some(healed) = record.healed_at {
        return Standing::Unverified {
            healed,
            settles: match why {
                Some(Why::Settling(until)) => Some(until),
                _ => None,
            },
            half_open: breaker.is_some_and(|breaker| breaker.half_open),
        };
    }
    match why {
        Some(Why::RetryDelay(until)) => waiting(Wait::RetryDelay, Some(until)),
        _ if record.last_end.is_some() => Standing::Due,
        _ => Standing::Quiet,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::decision::{Ended, Proposal, decide, hold, resolve, settle};
    use super::super::ending::{Ending, Rollback};
    use super::super::tests::{alert, limits};
    use super::super::{Decision, Run};
    use super::*;

    const START: Time = Time(1_000_000_000);

    fn firing() -> Alert {
        alert(Status::Firing, START, None)
    }

    fn over_now() -> Alert {
        alert(Status::Resolved, START, Some(START))
    }

    fn run(record: &Record, now: Time) -> (Record, Run) {
        let proposal = Proposal {
            id: "r",
            timeout: Duration::from_secs(60),
            supervisor: Process { pid: 1, started: 1 },
            interrupted: Rollback::None,
            force: Force::No,
        };
        match decide(record, &firing(), &limits(), None, &proposal, now) {
            (record, Decision::Run { run, .. }) => (record, run),
            (_, other) => panic!("{other:?}"),
        }
    }

    fn ended(record: &Record, ending: Ending, now: Time) -> Record {
        let (record, started) = run(record, now);
        settle(&record, &started, &Ended::cleanly(ending), &limits(), now).0
    }

    fn seen(record: &Record, now: Time) -> Standing {
        standing(record, &limits(), None, now)
    }

    #[test]
    fn an_alert_goes_from_one_standing_to_the_next() {
        let limits = limits();
        let never = Record::default();
        assert_eq!(seen(&never, START), Standing::Quiet);
        let (running, _) = run(&never, START);
        assert_eq!(seen(&running, START), Standing::Running);

        let failed = ended(&never, Ending::Exit(1), START);
        let until = Some(START.plus(limits.retry_delay));
        let what = Wait::RetryDelay;
        assert_eq!(seen(&failed, START), Standing::Waiting { what, until });
        let later = START.plus(limits.retry_delay);
        assert_eq!(seen(&failed, later), Standing::Due);

        let healed = ended(&failed, Ending::Exit(0), later);
        let settles = later.plus(limits.settle);
        let unverified = |settles| Standing::Unverified {
            healed: later,
            settles,
            half_open: false,
        };
        assert_eq!(seen(&healed, later), unverified(Some(settles)));
        assert_eq!(seen(&healed, settles), unverified(None));
        let over = resolve(&healed, &over_now(), &limits, settles).0;
        assert_eq!(seen(&over, settles), Standing::Quiet);

        let gave_up = ended(&never, Ending::Exit(2), START);
        let open = |until| Standing::Open {
            reason: Reason::GaveUp,
            since: START,
            until,
        };
        let until = START.plus(limits.attempt_window);
        assert_eq!(seen(&gave_up, START), open(Some(until)));
        assert_eq!(seen(&gave_up, until), open(None));
        let probed = ended(&gave_up, Ending::Exit(0), until);
        assert!(
            matches!(
                seen(&probed, until),
                Standing::Unverified {
                    half_open: true,
                    ..
                }
            ),
            "{:?}",
            seen(&probed, until)
        );
        let over = resolve(&gave_up, &over_now(), &limits, START).0;
        assert_eq!(seen(&over, START), Standing::Quiet);
    }

    #[test]
    fn what_nobody_knows_and_what_lives_on_comes_first() {
        let limits = limits();
        let what = Wait::Damaged;
        let until = Some(START.plus(limits.attempt_window));
        assert_eq!(
            seen(&decision::unknown(START), START),
            Standing::Waiting { what, until }
        );
        let process = Process { pid: 7, started: 7 };
        let record = ended(&Record::default(), Ending::Exit(2), START);
        let stuck = standing(&record, &limits, Some(process), START);
        let what = Wait::Survivor(process);
        assert_eq!(stuck, Standing::Waiting { what, until: None });
        let held = hold(&Record::default(), &firing(), START);
        let what = Wait::Pause(START);
        assert_eq!(seen(&held, START), Standing::Waiting { what, until: None });
    }
}
