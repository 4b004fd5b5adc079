//! The host's run window: a storm of alerts must not become a storm of handlers.

use super::limits::RunLimit;
use super::record::Host;
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
        /// This request declared the storm: a person is told once.
        declared: bool,
    },
}

/// Reserves one run, or declares a storm; once declared it lasts until a run is admitted.
pub fn reserve(host: &mut Host, limit: RunLimit, now: Time) -> Reservation {
    host.runs.retain(|run| now.since(*run) < limit.window);
    let most = limit.runs as usize;
    if host.runs.len() < most {
        host.runs.push(now);
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
