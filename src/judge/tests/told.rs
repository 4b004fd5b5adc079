//! Who is told, and of what end: found by running the model of the rules to its end.

use super::*;

#[test]
fn a_failure_now_and_then_does_not_hide_deferrals_without_end() {
    let mut story = Story::new();
    assert_eq!(story.fire(0, -2, Ending::Exit(75)), Verdict::Deferred);
    // Never two failures within a window, never a run limit.
    for at in [100, 200] {
        assert_eq!(story.fire(at, -2, FAILED), Verdict::Failed);
        assert_eq!(story.fire(at + 30, -2, Ending::Exit(75)), Verdict::Deferred);
    }
    assert_eq!(story.fire(240, -2, Ending::Exit(75)), Verdict::Tripped);
    assert_eq!(story.pages, [(240, Some(Reason::Deferrals))]);
    // What it counted is behind it: the next row is one of its own.
    assert_eq!(story.fire(480, -2, Ending::Exit(75)), Verdict::Deferred);
}

#[test]
fn with_the_senders_clock_set_back_an_end_is_an_end() {
    let mut story = Story::new();
    story.fire(0, -2, Ending::Exit(2));
    assert_eq!(story.resolved(1, -2, -60), Verdict::Resolved);
    assert_eq!(story.pages, [(0, Some(Reason::GaveUp)), (1, None)]);
    // And so of the next one, which by that clock began before the one on record.
    assert_eq!(story.fire(8, -55, HEALED), Verdict::Tripped);
    assert_eq!(story.resolved(9, -55, -50), Verdict::Resolved);
    let told = [(8, Some(Reason::GaveUp)), (9, None)];
    assert_eq!(story.pages[2..], told);
}

#[test]
fn what_lives_on_is_noted_although_its_run_is_not_on_record() {
    let survivor = Process { pid: 7, started: 9 };
    let mut story = Story::new();
    let run = story.start(0, -2).unwrap();
    let damaged = decision::unknown(Time(MINUTE));
    let ended = Ended {
        survivors: vec![survivor],
        ..Ended::cleanly(Ending::TimedOut)
    };
    let (next, answer) = settle(&damaged, &run, &ended, &limits(), Time(5 * MINUTE));
    assert_eq!(answer.verdict, Verdict::Error);
    assert_eq!(answer.notes, [Note::Survivor(survivor)]);
    assert_eq!(next.survivors, [survivor]);
    assert_eq!(next.page, Some(Reason::Survivor));
}

#[test]
fn a_beginning_that_is_dropped_takes_its_end_with_it() {
    let mut record = Record::default();
    for at in 0..20 {
        pages::begin(&mut record, Reason::Failures, Time(2 * at));
        let first = record.owed.first().map(|page| page.what);
        assert_eq!(first, Some(PageKind::Trigger(Reason::Failures)));
        pages::end(&mut record, Time(2 * at + 1));
        let first = record.owed.first().map(|page| page.what);
        assert_eq!(first, Some(PageKind::Trigger(Reason::Failures)));
        assert!(record.owed.len() <= Record::OWED);
    }
    // Of the one that was told before, the end is all there is.
    let mut record = Record {
        page: Some(Reason::Failures),
        ..Record::default()
    };
    pages::end(&mut record, Time(0));
    assert_eq!(record.owed.len(), 1);
}

#[test]
fn what_lives_on_is_told_anew_in_the_next_episode_that_it_holds_up() {
    let survivor = Process { pid: 7, started: 9 };
    let mut story = Story::new();
    story.fire(0, -2, FAILED);
    story.record = pages::stuck(&story.record, survivor, Time(5 * MINUTE));
    let look = |record: &Record, at: i64, since: i64| {
        let alert = alert(Status::Firing, Time(since * MINUTE), None);
        let now = Time(at * MINUTE);
        look(record, &alert, &limits(), Some(survivor), Force::No, now).0
    };
    let busy = look(&story.record, 6, -2);
    assert_eq!(busy, story.record, "told already");
    story.resolved(10, -2, 9);
    assert_eq!(story.record.page, None);
    let late_copy = look(&story.record, 11, -2);
    assert_eq!(late_copy, story.record);
    for (at, since) in [(30, -2), (12, 11)] {
        let next = look(&story.record, at, since);
        assert_eq!(next.page, Some(Reason::Survivor), "minute {at}");
        assert_eq!(look(&next, at, since), next, "once");
        let gone = decision::sweep(&next, &limits(), None, Time(40 * MINUTE)).0;
        assert!(gone.survivors.is_empty() && gone.page.is_none());
    }
}
