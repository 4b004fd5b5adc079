//! The rules of one alert: may it run now, and what does its ending mean. A pure function of
//! (record, alert, limits, now), used twice for a run: [`decide`] counts it before the handler
//! starts, [`settle`] records how it ended. [`look`] is `decide` without the lock.

use std::time::Duration;

use super::alert::{Alert, cut};
use super::ending::{Ending, Rollback};
use super::limits::Limits;
use super::pages;
use super::record::{Attempt, Breaker, Episode, Process, Reason, Record, Run};
use super::time::Time;
use super::verdict::Verdict;

/// The longest an open breaker stays shut, unless the attempt window itself is longer.
const LONGEST_HOLD: Duration = Duration::from_secs(24 * 60 * 60);

/// Why an alert got its verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The record was damaged; nothing runs until then.
    Damaged(Time),
    /// What a timed-out run left behind is still alive.
    Survivor(Process),
    /// Its own run has not ended.
    InFlight,
    /// `resolved` came a moment ago: this is a late copy until then.
    LateCopy(Time),
    /// A heal has until then to take effect.
    Settling(Time),
    /// The breaker is open; one attempt is let through then.
    Open(Reason, Time),
    /// The breaker opened just now.
    Opened(Reason),
    /// The retry delay lasts until then.
    RetryDelay(Time),
    /// The handler ended so.
    Ended(Ending),
    /// The handler ended so, and that opened the breaker.
    Tripped(Ending, Reason),
    /// The handler ended so, after `resolved` had come: not counted.
    EndedAfterResolved(Ending),
    /// The resolved alert ended before the known episode began.
    StaleResolved,
    /// The sender says it is over.
    Over,
}

/// Something worth a line in the log and a count, beside the verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A run that lost its supervisor was taken note of.
    Interrupted(Run),
    /// The last heal changed nothing; so many in a row.
    Ineffective(u32),
    /// The last heal is verified: `resolved` came.
    Verified,
    /// The breaker opened, or opened again.
    Opened(Reason),
    /// The breaker closed.
    Closed(Reason),
    /// A run past its timeout left something that cannot be ended.
    Survivor(Process),
}

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The verdict.
    pub verdict: Verdict,
    /// Why.
    pub why: Why,
    /// The attempt it is about, from 1; 0 when there was none.
    pub attempt: u32,
    /// What else came to light.
    pub notes: Vec<Note>,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is run.
    Answer(Answer),
    /// Run the handler; the record counts it already.
    Run {
        /// The run as counted.
        run: Run,
        /// What came to light on the way.
        notes: Vec<Note>,
        /// What an operator's force got it past.
        past: Option<(Verdict, Why)>,
    },
}

/// Whether an operator wants a run that the counts or the time alone would keep from starting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Force {
    /// Nobody does: the rules hold.
    #[default]
    No,
    /// The breaker, the run limits, the retry delay and the settle time keep nothing from starting. All else
    /// does, and whatever these rules note is noted.
    PastBreakerAndDelays,
}

impl Force {
    /// Whether an answer of this verdict gives way.
    fn passes(self, verdict: Verdict) -> bool {
        self == Force::PastBreakerAndDelays
            && matches!(
                verdict,
                Verdict::Tripped | Verdict::Settling | Verdict::Waiting
            )
    }
}

/// What `look` found out without the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// Nothing is to be run.
    Answer(Answer),
    /// Only the lock can tell.
    NeedsLock,
}

/// The run that a decision would start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal<'a> {
    /// Its id, unique on this host.
    pub id: &'a str,
    /// The handler's timeout.
    pub timeout: Duration,
    /// The process that would supervise it.
    pub supervisor: Process,
    /// What became of what an interrupted run had changed.
    pub interrupted: Rollback,
    /// An operator's word.
    pub force: Force,
}

/// How a run ended, and what it left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// How.
    pub ending: Ending,
    /// What a timed-out run left that may not be signalled.
    pub survivors: Vec<Process>,
    /// What became of what it had changed.
    pub rollback: Rollback,
}

impl Ended {
    /// Ended so, with nothing left and nothing to be put back.
    pub fn cleanly(ending: Ending) -> Ended {
        Ended {
            ending,
            survivors: Vec::new(),
            rollback: Rollback::None,
        }
    }
}

/// Judges a firing alert without its lock. The record comes back changed only together with an
/// answer, and then it has to be stored; whatever needs a run, or must know whether one is
/// in flight, needs the lock. `survivor` is one of the record's survivors that is still alive.
pub fn look(
    record: &Record,
    alert: &Alert,
    limits: &Limits,
    survivor: Option<Process>,
    force: Force,
    now: Time,
) -> (Record, Look) {
    if record.in_flight.is_some() {
        return (record.clone(), Look::NeedsLock);
    }
    let mut next = record.clone();
    let mut notes = Vec::new();
    match judge(&mut next, alert, limits, survivor, now, &mut notes) {
        Err((verdict, why)) if !force.passes(verdict) => (
            next,
            Look::Answer(Answer {
                verdict,
                why,
                attempt: 0,
                notes,
            }),
        ),
        _ => (record.clone(), Look::NeedsLock),
    }
}

/// Judges a firing alert under its lock and, when a run is due, counts it. A run still noted in
/// flight has lost its supervisor: the lock is ours.
pub fn decide(
    record: &Record,
    alert: &Alert,
    limits: &Limits,
    survivor: Option<Process>,
    proposal: &Proposal<'_>,
    now: Time,
) -> (Record, Decision) {
    let mut next = record.clone();
    let mut notes = Vec::new();
    if let Some(run) = next.in_flight.take() {
        interrupt(
            &mut next,
            &run,
            proposal.interrupted,
            limits,
            now,
            &mut notes,
        );
        notes.push(Note::Interrupted(run));
    }
    match judge(&mut next, alert, limits, survivor, now, &mut notes) {
        Err((verdict, why)) if !proposal.force.passes(verdict) => (
            next,
            Decision::Answer(Answer {
                verdict,
                why,
                attempt: 0,
                notes,
            }),
        ),
        judged => {
            let past = judged.err();
            // A late copy, were nobody there to say that it is none: what runs for it has to count.
            reopen(&mut next, now);
            let probe = next.breaker.is_some();
            let failed = failures(&next, limits, now);
            let attempt = u32::try_from(failed).unwrap_or(u32::MAX).saturating_add(1);
            let run = Run {
                id: proposal.id.to_owned(),
                attempt,
                started: now,
                deadline: now.plus(proposal.timeout),
                probe,
                supervisor: proposal.supervisor,
            };
            name(&mut next, alert);
            // One more than any window counts: this one may yet be taken out again.
            let most = limits
                .run_limits
                .iter()
                .map(|l| l.runs as usize)
                .max()
                .unwrap_or(0);
            keep_latest(&mut next.runs, now, most + 1);
            next.in_flight = Some(run.clone());
            (next, Decision::Run { run, notes, past })
        }
    }
}

/// Records how a run ended.
pub fn settle(
    record: &Record,
    run: &Run,
    ended: &Ended,
    limits: &Limits,
    now: Time,
) -> (Record, Answer) {
    let Ended {
        ending, rollback, ..
    } = *ended;
    let mut next = record.clone();
    let mut notes = Vec::new();
    let answer = |verdict, why, notes| Answer {
        verdict,
        why,
        attempt: run.attempt,
        notes,
    };
    if next
        .in_flight
        .as_ref()
        .is_none_or(|known| known.id != run.id)
    {
        let verdict = if ending.healed() {
            Verdict::Healed
        } else {
            Verdict::Error
        };
        // What lives on does so whatever became of the record that counted its run.
        if let Some(survivor) = ended.survivors.first() {
            notes.push(Note::Survivor(*survivor));
            next = pages::stuck(&next, *survivor, now);
        }
        return (next, answer(verdict, Why::Ended(ending), notes));
    }
    next.in_flight = None;
    if ending == Ending::NotStarted {
        uncount(&mut next, run);
        return (next, answer(Verdict::Error, Why::Ended(ending), notes));
    }
    next.last_end = Some(now);
    remember(&mut next, run, Some(ending), rollback, now);
    next.survivors.clone_from(&ended.survivors);
    pages::end_run(&mut next, now);
    if let Some(survivor) = ended.survivors.first() {
        notes.push(Note::Survivor(*survivor));
        pages::begin(&mut next, Reason::Survivor, now);
    }
    let failed_rollback = rollback == Rollback::Failed;
    let over = next.episode.as_ref().is_some_and(|e| e.closed_at.is_some());
    if over {
        if ending.healed() {
            notes.push(Note::Verified);
            return (
                next,
                answer(Verdict::Healed, Why::EndedAfterResolved(ending), notes),
            );
        }
        if ending == Ending::Exit(75) {
            uncount(&mut next, run);
        }
        if failed_rollback {
            pages::begin(&mut next, Reason::Rollback, now);
        }
        return (
            next,
            answer(Verdict::Resolved, Why::EndedAfterResolved(ending), notes),
        );
    }
    let (verdict, why) = match ending {
        Ending::Exit(0) => {
            next.failures.clear();
            next.retry_from = None;
            next.deferring_since = None;
            next.healed_at = Some(now);
            if let Some(breaker) = next.breaker.as_mut() {
                breaker.half_open = true;
            }
            (Verdict::Healed, Why::Ended(ending))
        }
        Ending::Exit(75) => defer(&mut next, run, limits, now, &mut notes),
        _ if failed_rollback => {
            // The next attempt would take what is broken now for what was there before.
            count_failure(&mut next, now, limits);
            if next.breaker.is_some() {
                pages::begin(&mut next, Reason::Rollback, now);
            }
            open(&mut next, Reason::Rollback, limits, now, &mut notes);
            (Verdict::Tripped, Why::Tripped(ending, Reason::Rollback))
        }
        Ending::Exit(2) => {
            count_failure(&mut next, now, limits);
            open(&mut next, Reason::GaveUp, limits, now, &mut notes);
            (Verdict::GaveUp, Why::Tripped(ending, Reason::GaveUp))
        }
        _ => {
            count_failure(&mut next, now, limits);
            if fail(&mut next, limits, now, &mut notes) {
                (Verdict::Tripped, Why::Tripped(ending, Reason::Failures))
            } else if ending == Ending::Lost {
                (Verdict::Error, Why::Ended(ending))
            } else {
                (Verdict::Failed, Why::Ended(ending))
            }
        }
    };
    (next, answer(verdict, why, notes))
}

/// Takes note of a resolved alert. Needs no lock: a run in flight keeps its note and is settled
/// against the closed episode.
pub fn resolve(record: &Record, alert: &Alert, limits: &Limits, now: Time) -> (Record, Answer) {
    let mut next = record.clone();
    let mut notes = Vec::new();
    let answer = |why, notes| Answer {
        verdict: Verdict::Resolved,
        why,
        attempt: 0,
        notes,
    };
    let starts_at = alert.starts_at.unwrap_or_default();
    let Some(episode) = next.episode.as_mut() else {
        next.held_since = None;
        return (next, answer(Why::Over, notes));
    };
    // The same start is the same episode, wherever a clock that was set back puts its end.
    let ended_before = alert.ends_at.is_some_and(|end| end < episode.starts_at);
    if ended_before && starts_at < episode.starts_at {
        return (next, answer(Why::StaleResolved, notes));
    }
    next.held_since = None;
    let again = episode.closed_at.is_some() && starts_at <= episode.starts_at;
    episode.starts_at = episode.starts_at.max(starts_at);
    if again {
        return (next, answer(Why::Over, notes));
    }
    if episode.closed_at.is_none() && next.healed_at.is_some() {
        notes.push(Note::Verified);
    }
    episode.closed_at = Some(now);
    match &next.breaker {
        Some(breaker) if breaker.reason == Reason::RunLimits => {
            close_admitted(&mut next, limits, now, &mut notes);
        }
        Some(breaker) => {
            notes.push(Note::Closed(breaker.reason));
            pages::end(&mut next, now);
        }
        None => pages::end(&mut next, now),
    }
    (next, answer(Why::Over, notes))
}

/// Whether the alert is the episode on record, which no `resolved` has closed: what an interrupted run of
/// it changed is put back only then, because otherwise the handler may have cured what fired.
pub fn still_firing(record: &Record, alert: &Alert, now: Time) -> bool {
    let starts_at = alert.starts_at.unwrap_or_default();
    record.episode.as_ref().is_some_and(|episode| {
        episode.closed_at.is_none() && (starts_at <= episode.starts_at || starts_at <= now)
    })
}

/// Takes note that an operator's pause holds the alert back.
pub fn hold(record: &Record, alert: &Alert, now: Time) -> Record {
    let mut next = record.clone();
    if next.held_since.is_none() {
        name(&mut next, alert);
        next.held_since = Some(now);
    }
    next
}

/// What time alone changes: a breaker opened by the run limits closes, and its page ends, once the windows
/// admit a run; the page about what a run left behind ends when that is gone. `survivor` is one of the record's
/// survivors that is still alive.
pub fn sweep(
    record: &Record,
    limits: &Limits,
    survivor: Option<Process>,
    now: Time,
) -> (Record, Vec<Note>) {
    let mut next = record.clone();
    let mut notes = Vec::new();
    if survivor.is_none() {
        bury(&mut next, now);
    }
    if next
        .breaker
        .as_ref()
        .is_some_and(|b| b.reason == Reason::RunLimits)
    {
        close_admitted(&mut next, limits, now, &mut notes);
    }
    (next, notes)
}

/// The record of an alert of which nothing is known any more.
pub fn unknown(now: Time) -> Record {
    Record {
        unknown_since: Some(now),
        ..Record::default()
    }
}

/// Every rule of a firing alert, in order. Ok is a run; with a breaker still on record, one that it lets through.
fn judge(
    record: &mut Record,
    alert: &Alert,
    limits: &Limits,
    survivor: Option<Process>,
    now: Time,
    notes: &mut Vec<Note>,
) -> Result<(), (Verdict, Why)> {
    record.held_since = None;
    if let Some(since) = record.unknown_since {
        if now.since(since) < limits.attempt_window {
            return Err((
                Verdict::Error,
                Why::Damaged(since.plus(limits.attempt_window)),
            ));
        }
        record.unknown_since = None;
    }
    if survivor.is_none() {
        bury(record, now);
    }
    let entered = enter_episode(record, alert, limits, now, notes);
    if let Some(survivor) = survivor {
        // Whoever was told of it may have heard of the end of an episode since; this is the next one.
        if entered.is_ok() && record.page.is_none() {
            pages::begin(record, Reason::Survivor, now);
        }
        return Err((Verdict::Busy, Why::Survivor(survivor)));
    }
    entered?;
    if let Some(why) = still_open(record, limits, now, notes) {
        return Err((Verdict::Tripped, why));
    }
    if let Some(healed_at) = record.healed_at.filter(|_| !limits.settle.is_zero()) {
        if now.since(healed_at) < limits.settle {
            return Err((
                Verdict::Settling,
                Why::Settling(healed_at.plus(limits.settle)),
            ));
        }
        record.healed_at = None;
        record.ineffective = record.ineffective.saturating_add(1);
        notes.push(Note::Ineffective(record.ineffective));
        let half_open = record.breaker.as_ref().is_some_and(|b| b.half_open);
        if half_open || record.ineffective >= limits.max_attempts {
            open(record, Reason::Ineffective, limits, now, notes);
            return Err((Verdict::Tripped, Why::Opened(Reason::Ineffective)));
        }
    }
    if let Some(from) = record.retry_from
        && now.since(from) < limits.retry_delay
    {
        return Err((
            Verdict::Waiting,
            Why::RetryDelay(from.plus(limits.retry_delay)),
        ));
    }
    if let Some(frees) = limits_free_at(&record.runs, limits, now) {
        if let Some(breaker) = &record.breaker {
            return Err((Verdict::Tripped, Why::Open(breaker.reason, frees)));
        }
        open(record, Reason::RunLimits, limits, now, notes);
        return Err((Verdict::Tripped, Why::Opened(Reason::RunLimits)));
    }
    Ok(())
}

/// What a run left behind is gone, and the page about it ends.
fn bury(record: &mut Record, now: Time) {
    if !record.survivors.is_empty() {
        record.survivors.clear();
        if record.page == Some(Reason::Survivor) {
            pages::end_run(record, now);
        }
    }
}

/// Which episode the alert belongs to. A later start than a closed episode's is a new one without
/// comparing clocks; while none was closed, the start has to be later than the end of our last
/// run as well, since a sender that restarts gives a running episode a new start.
fn enter_episode(
    record: &mut Record,
    alert: &Alert,
    limits: &Limits,
    now: Time,
    notes: &mut Vec<Note>,
) -> Result<(), (Verdict, Why)> {
    let starts_at = alert.starts_at.unwrap_or_default();
    let Some(episode) = record.episode.as_mut() else {
        record.episode = Some(Episode {
            starts_at,
            closed_at: None,
        });
        return Ok(());
    };
    let later = starts_at > episode.starts_at;
    let new = match episode.closed_at {
        Some(_) => later,
        None => later && record.last_end.is_none_or(|end| starts_at > end),
    };
    if new {
        record.episode = Some(Episode {
            starts_at,
            closed_at: None,
        });
        record.failures.clear();
        record.ineffective = 0;
        record.healed_at = None;
        record.retry_from = None;
        record.deferring_since = None;
        match record.breaker.take() {
            Some(breaker) if breaker.reason == Reason::RunLimits => record.breaker = Some(breaker),
            Some(breaker) => {
                notes.push(Note::Closed(breaker.reason));
                pages::end(record, now);
            }
            None => pages::end(record, now),
        }
        return Ok(());
    }
    let Some(closed_at) = episode.closed_at else {
        episode.starts_at = episode.starts_at.max(starts_at);
        return Ok(());
    };
    if now.since(closed_at) < limits.settle {
        return Err((
            Verdict::Settling,
            Why::LateCopy(closed_at.plus(limits.settle)),
        ));
    }
    // Its own start, though it be the earlier one: with the senders' clock set back, its end is as early.
    episode.starts_at = starts_at;
    reopen(record, now);
    Ok(())
}

/// A closed episode goes on, with its counts and its breaker.
fn reopen(record: &mut Record, now: Time) {
    let closed = record.episode.as_mut().and_then(|e| e.closed_at.take());
    if closed.is_some()
        && record.page.is_none()
        && let Some(reason) = record.breaker.as_ref().map(|b| b.reason)
    {
        pages::begin(record, reason, now);
    }
}

/// Adds a time and keeps the latest `most`. Kept by number and not by age: whatever the clock does, it is
/// the latest ones that fill a window.
fn keep_latest(times: &mut Vec<Time>, time: Time, most: usize) {
    times.push(time);
    times.sort_unstable();
    let surplus = times.len().saturating_sub(most);
    times.drain(..surplus);
}

/// Failures in a row that still count.
fn failures(record: &Record, limits: &Limits, now: Time) -> usize {
    let counts = |end: &&Time| now.since(**end) < limits.attempt_window;
    record.failures.iter().filter(counts).count()
}

/// The breaker's answer, unless it lets an attempt through.
fn still_open(
    record: &mut Record,
    limits: &Limits,
    now: Time,
    notes: &mut Vec<Note>,
) -> Option<Why> {
    let breaker = record.breaker.as_ref()?;
    if breaker.reason == Reason::RunLimits {
        let frees = limits_free_at(&record.runs, limits, now);
        close_admitted(record, limits, now, notes);
        return frees.map(|until| Why::Open(Reason::RunLimits, until));
    }
    let shut_from = if breaker.half_open {
        // With the settle time off, a heal that goes unverified is never judged: the next attempt
        // waits as long again.
        record.healed_at.filter(|_| limits.settle.is_zero())?
    } else {
        breaker.since
    };
    (now.since(shut_from) < breaker.hold)
        .then(|| Why::Open(breaker.reason, shut_from.plus(breaker.hold)))
}

/// Closes a breaker opened by the run limits, and its page, once the windows admit a run.
fn close_admitted(record: &mut Record, limits: &Limits, now: Time, notes: &mut Vec<Note>) {
    if limits_free_at(&record.runs, limits, now).is_none() {
        record.breaker = None;
        notes.push(Note::Closed(Reason::RunLimits));
        pages::end(record, now);
    }
}

/// When every window admits one more run; `None` when they all do now.
pub(super) fn limits_free_at(runs: &[Time], limits: &Limits, now: Time) -> Option<Time> {
    let full = limits.run_limits.iter().filter_map(|limit| {
        let within = || {
            runs.iter()
                .filter(|start| now.since(**start) < limit.window)
        };
        let over = within().count().checked_sub(limit.runs as usize)?;
        within().nth(over).map(|start| start.plus(limit.window))
    });
    full.max()
}

/// A run lost its supervisor: it stays counted, as a failure, unless its episode is over.
fn interrupt(
    record: &mut Record,
    run: &Run,
    rollback: Rollback,
    limits: &Limits,
    now: Time,
    notes: &mut Vec<Note>,
) {
    record.last_end = Some(now);
    remember(record, run, None, rollback, now);
    if record
        .episode
        .as_ref()
        .is_some_and(|e| e.closed_at.is_some())
    {
        return;
    }
    count_failure(record, run.started, limits);
    if rollback == Rollback::Failed {
        open(record, Reason::Rollback, limits, now, notes);
        return;
    }
    if !fail(record, limits, now, notes) && record.page.is_none() {
        pages::begin(record, Reason::Interrupted, now);
    }
}

fn count_failure(record: &mut Record, at: Time, limits: &Limits) {
    keep_latest(&mut record.failures, at, limits.max_attempts as usize);
    record.retry_from = Some(at);
    record.healed_at = None;
}

/// Whether the failure just counted opens the breaker, or opens it again.
fn fail(record: &mut Record, limits: &Limits, now: Time, notes: &mut Vec<Note>) -> bool {
    let trips =
        record.breaker.is_some() || failures(record, limits, now) >= limits.max_attempts as usize;
    if trips {
        open(record, Reason::Failures, limits, now, notes);
    }
    trips
}

fn defer(
    record: &mut Record,
    run: &Run,
    limits: &Limits,
    now: Time,
    notes: &mut Vec<Note>,
) -> (Verdict, Why) {
    uncount(record, run);
    record.retry_from = Some(now);
    let since = *record.deferring_since.get_or_insert(now);
    if now.since(since) < limits.attempt_window {
        return (Verdict::Deferred, Why::Ended(Ending::Exit(75)));
    }
    open(record, Reason::Deferrals, limits, now, notes);
    (
        Verdict::Tripped,
        Why::Tripped(Ending::Exit(75), Reason::Deferrals),
    )
}

/// Opens the breaker and decides on a page; or, when it is open, shuts it for twice as long
/// without another page.
fn open(record: &mut Record, reason: Reason, limits: &Limits, now: Time, notes: &mut Vec<Note>) {
    notes.push(Note::Opened(reason));
    record.deferring_since = None;
    let longest = LONGEST_HOLD.max(limits.attempt_window);
    if let Some(breaker) = record.breaker.as_mut() {
        breaker.since = now;
        breaker.hold = breaker.hold.saturating_mul(2).min(longest);
        breaker.half_open = false;
        return;
    }
    let hold = limits.attempt_window;
    record.breaker = Some(Breaker {
        reason,
        since: now,
        hold,
        half_open: false,
    });
    // Told already, while it was tried again.
    if record.page != Some(reason) {
        pages::begin(record, reason, now);
    }
}

/// Who the record is about, for people.
fn name(record: &mut Record, alert: &Alert) {
    record.alertname = cut(alert.name(), Record::TEXT).to_owned();
    record.instance = cut(alert.instance(), Record::TEXT).to_owned();
    record.fingerprint = alert.fingerprint.clone().unwrap_or_default();
}

fn remember(record: &mut Record, run: &Run, ending: Option<Ending>, rollback: Rollback, now: Time) {
    record.attempts.push(Attempt {
        run_id: run.id.clone(),
        attempt: run.attempt,
        started: run.started,
        ended: now,
        ending,
        rollback,
    });
    let surplus = record.attempts.len().saturating_sub(Record::ATTEMPTS);
    record.attempts.drain(..surplus);
}

/// Takes a run out of the run limits: it counts nowhere.
fn uncount(record: &mut Record, run: &Run) {
    if let Some(place) = record.runs.iter().rposition(|start| *start == run.started) {
        record.runs.remove(place);
    }
}
