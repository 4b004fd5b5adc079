//! The pages that a record owes: when a person is told, and when that is over. A page is decided by the
//! same update as its cause, and struck only once the spool has it.

use super::alert::cut;
use super::record::{Owes, Page, PageKind, Process, Reason, Record};
use super::time::Time;

/// Owes one more page. Its time is later than that of any page before it, whatever the clock does: it is what
/// tells the pages of one record apart and puts them in order.
pub(super) fn owe(owner: &mut impl Owes, what: PageKind, now: Time) {
    let (owed, paged_at) = owner.owes();
    let at = paged_at.map_or(now, |last| now.max(Time(last.0.saturating_add(1))));
    *paged_at = Some(at);
    owed.push(Page { at, what });
    let surplus = owed.len().saturating_sub(Record::OWED);
    let dropped = owed.drain(..surplus).next_back();
    // Whoever never hears of a beginning need not hear of its end.
    let of_a_beginning = dropped.is_some_and(|page| matches!(page.what, PageKind::Trigger(_)));
    let its_end = |page: &Page| of_a_beginning && matches!(page.what, PageKind::Resolve(_));
    let count = usize::from(owed.first().is_some_and(its_end));
    owed.drain(..count);
}

/// Strikes the pages that are in the spool.
pub fn struck<T: Owes + Clone>(owner: &T, pages: &[Page]) -> T {
    let mut next = owner.clone();
    next.owes().0.retain(|page| !pages.contains(page));
    next
}

/// Takes note of something of a dead run that lives on and may not be signalled: the alert stays
/// busy while it lives, and a person is told once.
pub fn stuck(record: &Record, survivor: Process, now: Time) -> Record {
    let mut next = record.clone();
    if !next.survivors.contains(&survivor) {
        next.survivors = vec![survivor];
        begin(&mut next, Reason::Survivor, now);
    }
    next
}

/// Takes note that what an interrupted run changed could not be put back; a person is told once.
pub fn not_rolled_back(record: &Record, now: Time) -> Record {
    let mut next = record.clone();
    if next.page != Some(Reason::Rollback) {
        begin(&mut next, Reason::Rollback, now);
    }
    next
}

/// Takes note that the sender cuts alerts off this group; a person is told once.
pub fn truncated(record: &Record, group: &str, now: Time) -> Record {
    let mut next = record.clone();
    if next.page.is_none() {
        next.instance = cut(group, Record::TEXT).to_owned();
        begin(&mut next, Reason::Truncated, now);
    }
    next
}

/// Takes note that the group came whole. A page about anything else is not its own: an alert's fingerprint may be the
/// same text as the group's key.
pub fn whole(record: &Record, now: Time) -> Record {
    let mut next = record.clone();
    if next.page == Some(Reason::Truncated) {
        end(&mut next, now);
    }
    next
}

pub(super) fn begin(record: &mut Record, reason: Reason, now: Time) {
    record.page = Some(reason);
    owe(record, PageKind::Trigger(reason), now);
}

pub(super) fn end(record: &mut Record, now: Time) {
    if let Some(reason) = record.page.take() {
        owe(record, PageKind::Resolve(reason), now);
    }
}

/// A page about a single run ends; one about a breaker that is open goes on under its own reason.
pub(super) fn end_run(record: &mut Record, now: Time) {
    let of_a_run = [Reason::Interrupted, Reason::Survivor, Reason::Rollback];
    let open = record.breaker.as_ref().filter(|_| record.breaker_open());
    match open.map(|breaker| breaker.reason) {
        _ if record.page.is_none_or(|reason| !of_a_run.contains(&reason)) => {}
        Some(reason) => record.page = Some(reason),
        None => end(record, now),
    }
}
