//! The host's run window: a storm of alerts must not become a storm of handlers.

use super::limits::RunLimit;
use super::pages;
use super::record::{Host, PageKind, Reason};
use super::time::Time;

/// What a request for one run gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reservation {
    /// The run is counted.
    Granted {
        /// It is the first one admitted after a storm.
        ends_storm: bool,
    },
    /// The limit is reached: nothing is counted.
    Storm {
        /// When the window frees.
        until: Time,
        /// This request declared the storm.
        declared: bool,
    },
}

/// How many runs the window holds, and what [`reserve`] would get: for whoever only looks.
pub fn look(host: &Host, limit: RunLimit, now: Time) -> (usize, Reservation) {
    let mut next = host.clone();
    let got = reserve(&mut next, limit, now);
    let granted = matches!(got, Reservation::Granted { .. });
    (next.runs.len() - usize::from(granted), got)
}

/// Reserves one run, or declares a storm; once declared it lasts until a run is admitted, and its page with it. A
/// person is told once within a window, however often storms come and go in it.
pub fn reserve(host: &mut Host, limit: RunLimit, now: Time) -> Reservation {
    host.runs.retain(|run| now.since(*run) < limit.window);
    let most = limit.runs as usize;
    if host.runs.len() < most {
        host.runs.push(now);
        if std::mem::take(&mut host.page) {
            pages::owe(host, PageKind::Resolve(Reason::Storm), now);
        }
        return Reservation::Granted {
            ends_storm: host.storm_since.take().is_some(),
        };
    }
    let frees = host.runs.len() - most;
    let until = host
        .runs
        .get(frees)
        .map_or(now, |run| run.plus(limit.window));
    let declared = host.storm_since.is_none();
    if declared {
        host.storm_since = Some(now);
    }
    // With a clock set back nobody knows how long ago it was: rather once too often.
    let told = |at: Time| at <= now && now.since(at) < limit.window;
    if !host.page && !host.told_at.is_some_and(told) {
        host.page = true;
        host.told_at = Some(now);
        pages::owe(host, PageKind::Trigger(Reason::Storm), now);
    }
    Reservation::Storm { until, declared }
}

/// Gives a reservation back because the run did not take place. Nothing happens when it has
/// left the window already.
pub fn give_back(host: &mut Host, reserved: Time) {
    if let Some(place) = host.runs.iter().rposition(|run| *run == reserved) {
        host.runs.remove(place);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIMIT: RunLimit = RunLimit {
        runs: 2,
        window: Duration::from_secs(600),
    };

    #[test]
    fn a_storm_is_declared_once_and_ends_with_the_next_run() {
        let mut host = Host::default();
        assert_eq!(
            reserve(&mut host, LIMIT, Time(0)),
            Reservation::Granted { ends_storm: false }
        );
        assert_eq!(
            reserve(&mut host, LIMIT, Time(1)),
            Reservation::Granted { ends_storm: false }
        );
        let until = Time(600_000);
        assert_eq!(
            reserve(&mut host, LIMIT, Time(2)),
            Reservation::Storm {
                until,
                declared: true
            }
        );
        assert_eq!(
            reserve(&mut host, LIMIT, Time(3)),
            Reservation::Storm {
                until,
                declared: false
            }
        );
        assert_eq!(
            reserve(&mut host, LIMIT, Time(600_000)),
            Reservation::Granted { ends_storm: true }
        );
    }

    #[test]
    fn a_storm_is_told_once_a_window_and_over_with_the_run_after_it() {
        let mut host = Host::default();
        let mut told = Vec::new();
        // Full at 1; a run is admitted at 600 s and at 700 s; denied in between.
        for at in [
            0, 100_000, 100_001, 200_000, 600_000, 600_001, 650_000, 700_000, 700_001,
        ] {
            reserve(&mut host, LIMIT, Time(at));
            told.extend(host.owed.drain(..).map(|page| (page.at.0, page.what)));
        }
        let trigger = PageKind::Trigger(Reason::Storm);
        let resolve = PageKind::Resolve(Reason::Storm);
        assert_eq!(
            told,
            [
                (100_001, trigger),
                (600_000, resolve),
                // Denied at 600.001 s and 650 s too, but 100.001 s was less than a window ago.
                (700_001, trigger)
            ]
        );
    }

    #[test]
    fn after_a_clock_set_back_a_storm_is_told() {
        let mut host = Host {
            told_at: Some(Time(9_000_000)),
            runs: vec![Time(9_000_000); 2],
            ..Host::default()
        };
        reserve(&mut host, LIMIT, Time(0));
        assert_eq!(host.owed.len(), 1);
    }

    #[test]
    fn what_is_given_back_can_be_taken_again() {
        let mut host = Host::default();
        reserve(&mut host, LIMIT, Time(0));
        reserve(&mut host, LIMIT, Time(1));
        give_back(&mut host, Time(1));
        give_back(&mut host, Time(99));
        assert_eq!(host.runs, [Time(0)]);
        assert_eq!(
            reserve(&mut host, LIMIT, Time(2)),
            Reservation::Granted { ends_storm: false }
        );
    }

    #[test]
    fn a_look_says_what_a_reservation_would_get() {
        let mut host = Host::default();
        for (taken, at) in [(0, 0), (1, 1), (2, 2), (2, 3)] {
            let before = host.clone();
            let (count, seen) = look(&host, LIMIT, Time(at));
            assert_eq!((count, &host), (taken, &before));
            assert_eq!(seen, reserve(&mut host, LIMIT, Time(at)));
        }
        assert_eq!(look(&host, LIMIT, Time(600_000)).0, 1);
    }

    #[test]
    fn a_clock_set_back_frees_nothing() {
        let mut host = Host::default();
        reserve(&mut host, LIMIT, Time(1_000_000));
        reserve(&mut host, LIMIT, Time(1_000_000));
        assert!(matches!(
            reserve(&mut host, LIMIT, Time(0)),
            Reservation::Storm { .. }
        ));
    }
}
