//! An operator takes an alert for mended, or its record for wrong: what counted against it is forgotten.

use super::pages;
use super::record::{Reason, Record};
use super::time::Time;

/// The record without its breaker, its failures, its heals without effect, its runs for the run limits, its
/// delays and the time of its damage; an open page ends. Kept is what is still true: the episode, the last heal
/// (which has its settle time as ever), a run in flight (which counts for the run limits), processes that live on
/// and their page, and the pages that are owed.
pub fn reset(record: &Record, now: Time) -> Record {
    let running = record.in_flight.as_ref().map(|run| run.started);
    let mut next = Record {
        breaker: None,
        failures: Vec::new(),
        ineffective: 0,
        retry_from: None,
        deferring_since: None,
        unknown_since: None,
        ..record.clone()
    };
    next.runs.retain(|start| Some(*start) == running);
    let lives_on = next.page == Some(Reason::Survivor) && !next.survivors.is_empty();
    if !lives_on {
        pages::end(&mut next, now);
    }
    next
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::judge::record::{Breaker, Episode, Page, PageKind, Process, Run};

    fn run(started: Time) -> Run {
        Run {
            id: "r".into(),
            attempt: 2,
            started,
            deadline: Time(99),
            probe: true,
            supervisor: Process::default(),
        }
    }

    fn broken() -> Record {
        Record {
            alertname: "Down".into(),
            instance: "web-1".into(),
            episode: Some(Episode {
                starts_at: Time(1),
                closed_at: None,
            }),
            failures: vec![Time(2), Time(3)],
            ineffective: 2,
            runs: vec![Time(2), Time(3), Time(4)],
            last_end: Some(Time(5)),
            retry_from: Some(Time(5)),
            healed_at: Some(Time(5)),
            deferring_since: Some(Time(5)),
            unknown_since: Some(Time(5)),
            breaker: Some(Breaker {
                reason: Reason::Failures,
                since: Time(5),
                hold: Duration::from_secs(1),
                half_open: false,
            }),
            page: Some(Reason::Failures),
            ..Record::default()
        }
    }

    #[test]
    fn what_counted_against_it_is_forgotten_and_the_page_ends() {
        let next = reset(&broken(), Time(10));
        let kept = Record {
            alertname: "Down".into(),
            instance: "web-1".into(),
            episode: broken().episode,
            last_end: Some(Time(5)),
            healed_at: Some(Time(5)),
            paged_at: Some(Time(10)),
            owed: vec![Page {
                at: Time(10),
                what: PageKind::Resolve(Reason::Failures),
            }],
            ..Record::default()
        };
        assert_eq!(next, kept);
        assert_eq!(
            reset(&next, Time(11)),
            next,
            "a second time changes nothing"
        );
    }

    #[test]
    fn a_run_in_flight_goes_on_and_counts() {
        let mut record = broken();
        record.in_flight = Some(run(Time(3)));
        let next = reset(&record, Time(10));
        assert_eq!(next.in_flight, record.in_flight);
        assert_eq!(next.runs, [Time(3)]);
    }

    #[test]
    fn what_lives_on_stays_on_record_with_its_page() {
        let mut record = broken();
        record.survivors = vec![Process { pid: 7, started: 1 }];
        record.page = Some(Reason::Survivor);
        let next = reset(&record, Time(10));
        assert_eq!(next.survivors, record.survivors);
        assert_eq!((next.page, next.owed), (Some(Reason::Survivor), vec![]));
        record.survivors.clear();
        assert_eq!(reset(&record, Time(10)).page, None);
    }

    #[test]
    fn an_alert_never_seen_stays_one() {
        assert_eq!(reset(&Record::default(), Time(10)), Record::default());
    }

    #[test]
    fn pages_that_are_owed_stay_owed() {
        let mut record = broken();
        let owed = Page {
            at: Time(4),
            what: PageKind::Trigger(Reason::Failures),
        };
        record.owed = vec![owed];
        assert_eq!(reset(&record, Time(10)).owed.first(), Some(&owed));
    }
}
