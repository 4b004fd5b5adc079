//! What a judgement would come to: the judgement's own rules in its own order, with locks and slots looked at and not
//! taken, and nothing written. Whoever runs goes through `heal.rs`; a test holds the two to the same verdict.

use std::io;
use std::path::PathBuf;

use super::exclusion::{SLOTS_TAKEN, at_work, orphaned, own_run_has_it, presumed, taken};
use super::{Case, Outcome};
use crate::judge::record::Process;
use crate::judge::storm::{self, Reservation};
use crate::judge::{
    Alert, Decision, Force, Host, Limits, Look, Proposal, Record, Rollback, Run, Time, Verdict,
    Why, decision, run_id,
};
use crate::paging::alive;
use crate::sys::lock::{self, Looked};
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{files, leftovers, slots, viewpoint};
use crate::wire::explanation::{Gate, Mark};
use crate::wire::holder::Holder;
use crate::wire::records::Kept;
use crate::wire::timestamp::rfc3339;
use crate::wire::{duration, report};

/// What would come of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Foreseen {
    /// Its handler would run.
    Run(Run),
    /// It would be answered.
    Answer {
        /// The verdict.
        verdict: Verdict,
        /// The attempt it is about; 0 when there is none.
        attempt: u32,
        /// Why, in words.
        detail: String,
    },
    /// This account may not look at what decides it.
    Unknown(String),
}

impl Foreseen {
    /// This verdict for this reason; unknown, where that reason is only that this account may not look.
    pub fn answer(verdict: Verdict, detail: String) -> Foreseen {
        if is_hidden(&detail) {
            return Foreseen::Unknown(detail);
        }
        Foreseen::Answer {
            verdict,
            attempt: 0,
            detail,
        }
    }
}

/// What is told of an alert that is observed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// `run`, or the verdict there would have been and why.
    pub would: String,
    /// The attempt there would have been; 0 for none.
    pub attempt: u32,
    /// The answer's words.
    pub detail: String,
}

/// What an alert is told of that is judged by its record and by nothing else: not by locks, slots or the host's window.
pub fn observed(case: &Case<'_>, record: Option<&Record>, own: Process, now: Time) -> Observed {
    let command = case.command();
    let would = match record {
        None => Err("error: its record is damaged".to_owned()),
        Some(record) => match decide(case, record, own, now) {
            Decision::Run { run, .. } => Ok(run.attempt),
            Decision::Answer(answer) => Err(format!(
                "{}: {}",
                answer.verdict.as_str(),
                report::words(answer.why)
            )),
        },
    };
    match would {
        Ok(attempt) => Observed {
            would: "run".to_owned(),
            attempt,
            detail: format!("observing; would run attempt {attempt}: {command}"),
        },
        Err(would) => Observed {
            attempt: 0,
            detail: format!("observing; would answer {would}"),
            would,
        },
    }
}

/// What would come of a resolved alert.
pub fn foresee_resolved(
    store: Result<&Store, &StateError>,
    key: &str,
    alert: &Alert,
    limits: &Limits,
    now: Time,
    seen: &mut dyn FnMut(Gate),
) -> Foreseen {
    let record = match read(store, key, limits, now, seen) {
        Ok((record, _)) => record,
        Err(foreseen) => return foreseen,
    };
    Outcome::from(&decision::resolve(&record, alert, limits, now).1).into()
}

/// What would come of a candidate; `seen` is told of every step up to the one that stops it.
pub fn foresee(
    case: &Case<'_>,
    store: Result<&Store, &StateError>,
    own: Process,
    now: Time,
    seen: &mut dyn FnMut(Gate),
) -> Foreseen {
    match steps(case, store, own, now, seen) {
        Ok(run) => Foreseen::Run(run),
        Err(foreseen) => foreseen,
    }
}

/// In the order of `heal.rs`: the record without the lock, the lock, a slot, a run that died, the host's window, the
/// decision.
fn steps(
    case: &Case<'_>,
    store: Result<&Store, &StateError>,
    own: Process,
    now: Time,
    seen: &mut dyn FnMut(Gate),
) -> Result<Run, Foreseen> {
    let (record, store) = read(store, &case.key, &case.limits, now, seen)?;
    let survivor = alive(&record);
    let (_, looked) = decision::look(&record, case.alert, &case.limits, survivor, Force::No, now);
    if let Look::Answer(answer) = looked {
        let outcome = Outcome::from(&answer);
        return Err(stop(seen, "rules", outcome));
    }
    let left_by = look_at_lock(case, &record, seen)?;
    look_at_slots(case, seen)?;
    if let Some(run) = &record.in_flight {
        look_at_dead_run(case, &record, run, left_by.as_ref(), own, now, seen)?;
    }
    look_at_window(case, store, now, seen)?;
    match decide(case, &record, own, now) {
        Decision::Run { run, .. } => {
            let of = case.limits.max_attempts;
            seen(Gate::passed(
                "rules",
                format!("attempt {} of {of}", run.attempt),
            ));
            Ok(run)
        }
        Decision::Answer(answer) => Err(stop(seen, "rules", Outcome::from(&answer))),
    }
}

fn decide(case: &Case<'_>, record: &Record, own: Process, now: Time) -> Decision {
    let proposal = Proposal {
        id: &run_id::make(now, own.pid, 1, case.name),
        timeout: case.timeout,
        supervisor: own,
        interrupted: Rollback::None,
        force: Force::No,
    };
    let (alert, limits) = (case.alert, &case.limits);
    decision::decide(record, alert, limits, alive(record), &proposal, now).1
}

/// The record that would be judged: of a damaged one, what counts in its stead.
fn read<'a>(
    store: Result<&'a Store, &StateError>,
    key: &str,
    limits: &Limits,
    now: Time,
    seen: &mut dyn FnMut(Gate),
) -> Result<(Record, &'a Store), Foreseen> {
    let read = match store {
        Ok(store) => store.read(key).map(|record| (record, store)),
        Err(error) => Err(error.again()),
    };
    match read {
        Ok((Some(record), store)) => {
            let mut saw = report::standing(&record, limits, now);
            if !record.owed.is_empty() {
                saw = format!("{saw}; owes pages, which go into the spool first");
            }
            seen(Gate::passed("record", saw));
            Ok((record, store))
        }
        Ok((None, store)) => {
            let saw = "damaged: it would be kept aside, and counts as unknown".to_owned();
            seen(Gate::told("record", saw));
            Ok((decision::unknown(now), store))
        }
        Err(error) => Err(stop(seen, "record", Outcome::error(error))),
    }
}

/// What the lock's file says of a holder who did not release it, if nobody holds it.
fn look_at_lock(
    case: &Case<'_>,
    record: &Record,
    seen: &mut dyn FnMut(Gate),
) -> Result<Option<Holder>, Foreseen> {
    let folder = &case.config.lock_dir;
    let usable = files::could_make_folder(folder)
        .map_err(|e| format!("{}: {e}", folder.display()))
        .and_then(|()| match files::is_there(folder) {
            true => files::trusted(folder),
            false => Ok(folder.clone()),
        });
    let folder = match usable {
        Ok(folder) => folder,
        Err(why) => {
            return Err(stop(
                seen,
                "lock",
                Outcome::error(format!("HEAL_LOCK_DIR: {why}")),
            ));
        }
    };
    let (holder, path, processes) = match lock::look(&folder, case.name, &case.lock_scope()) {
        Ok(Looked::Free(left_by)) => {
            let shown: Vec<String> = lock_files(case)
                .iter()
                .map(|p| p.display().to_string())
                .collect();
            seen(Gate::passed(
                "lock",
                format!("{} is free", shown.join(" below shared ")),
            ));
            return Ok(left_by);
        }
        Ok(Looked::Taken(holder, path, processes)) => (holder, path, processes),
        Err(e) => {
            let why = format!("lock of {}: {e}", case.name);
            return Err(stop(seen, "lock", Outcome::error(why)));
        }
    };
    let own = record.in_flight.as_ref();
    let holder = holder.or_else(|| own.map(|run| presumed(case, run)));
    let mut who = match &holder {
        Some(holder) => {
            let run = match holder.run_id.as_str() {
                "" => "a run that is being prepared",
                id => id,
            };
            let until = rfc3339(holder.deadline);
            format!(
                "{run}, supervised by process {}, until {until} at the latest",
                holder.supervisor.pid
            )
        }
        None => "nobody who says so in it".to_owned(),
    };
    if let Some(run) = own {
        who = format!("{who}, since {}", rfc3339(run.started));
    }
    let processes: Vec<String> = processes
        .iter()
        .filter(|pid| **pid > 0)
        .map(i32::to_string)
        .collect();
    if !processes.is_empty() {
        who = format!("{who}; locked by process {}", processes.join(", "));
    }
    if let Some(holder) = holder.as_ref().filter(|holder| orphaned(holder)) {
        let saw = format!(
            "{}: {who}; nobody supervises it any more: it would be ended",
            path.display()
        );
        seen(Gate::told("lock", saw));
        return Ok(Some(holder.clone()));
    }
    let why = if own_run_has_it(case, own, holder.as_ref()) {
        report::words(Why::InFlight)
    } else {
        taken(&path, holder.as_ref())
    };
    seen(Gate::stopped("lock", format!("{}: {who}", path.display())));
    Err(Outcome::new(Verdict::Busy, why).into())
}

fn look_at_slots(case: &Case<'_>, seen: &mut dyn FnMut(Gate)) -> Result<(), Foreseen> {
    let most = case.config.max_concurrent;
    match slots::taken(&case.config.lock_dir, most) {
        Ok(count) => {
            let saw = format!("{count} of {most} taken (HEAL_MAX_CONCURRENT)");
            if count < most {
                seen(Gate::passed("slot", saw));
                return Ok(());
            }
            seen(Gate::stopped("slot", saw));
            Err(Outcome::new(Verdict::Busy, SLOTS_TAKEN).into())
        }
        Err(e) => Err(stop(seen, "slot", Outcome::error(format!("slots: {e}")))),
    }
}

/// A run is noted in flight, and its lock is free.
fn look_at_dead_run(
    case: &Case<'_>,
    record: &Record,
    run: &Run,
    left_by: Option<&Holder>,
    own: Process,
    now: Time,
    seen: &mut dyn FnMut(Gate),
) -> Result<(), Foreseen> {
    let busy = |why| Outcome::new(Verdict::Busy, report::words(why));
    if at_work(run, own) {
        return Err(stop(seen, "interrupted", busy(Why::InFlight)));
    }
    let failed = |e: io::Error| Outcome::error(format!("what is left of run {}: {e}", run.id));
    let left = match left_by.filter(|holder| holder.run_id == run.id) {
        Some(holder) => leftovers::out_of_reach(holder)
            .map(|left| left.first().map(|p| busy(Why::Survivor(*p)))),
        None => {
            let path = lock_files(case).pop().unwrap_or_default();
            let late = orphaned(&presumed(case, run));
            leftovers::at_work_behind(&run.id, &path)
                .map(|found| (!found.is_empty() && !late).then(|| busy(Why::InFlight)))
        }
    };
    match left {
        Err(e) => return Err(stop(seen, "interrupted", failed(e))),
        Ok(Some(outcome)) => return Err(stop(seen, "interrupted", outcome)),
        Ok(None) => {}
    }
    let mut saw = format!("run {} lost its supervisor: it counts as failed", run.id);
    if !case.handler.directives.snapshot.is_empty()
        && decision::still_firing(record, case.alert, now)
    {
        saw.push_str(", and what it changed would be put back first");
    }
    seen(Gate::told("interrupted", saw));
    Ok(())
}

fn look_at_window(
    case: &Case<'_>,
    store: &Store,
    now: Time,
    seen: &mut dyn FnMut(Gate),
) -> Result<(), Foreseen> {
    let host = match store.host() {
        Ok(host) => host.unwrap_or_else(|| Host::unknown(now)),
        Err(error) => return Err(stop(seen, "storm", Outcome::error(error))),
    };
    let limit = case.config.storm_limit;
    let (count, got) = storm::look(&host, limit, now);
    let window = duration::show(limit.window);
    let saw = format!(
        "{count} of {} runs within {window} (HEAL_STORM_LIMIT)",
        limit.runs
    );
    match got {
        Reservation::Granted { .. } => {
            seen(Gate::passed("storm", saw));
            Ok(())
        }
        Reservation::Storm { until, .. } => {
            seen(Gate::stopped("storm", saw));
            Err(Outcome::new(Verdict::Storm, report::storm(until)).into())
        }
    }
}

/// The files of a candidate's lock, as they would be locked: the one that names the holder last.
pub fn lock_files(case: &Case<'_>) -> Vec<PathBuf> {
    let (name, instance) = lock::paths(&case.config.lock_dir, case.name, &case.lock_scope());
    [name].into_iter().chain(instance).collect()
}

/// Whether a reason is only that this account may not look, while the one that serves perhaps may: EACCES, as every
/// error of the machine's shows itself.
pub fn is_hidden(why: &str) -> bool {
    viewpoint::is_anothers() && why.contains("(os error 13)")
}

fn stop(seen: &mut dyn FnMut(Gate), gate: &'static str, outcome: Outcome) -> Foreseen {
    let saw = outcome.detail.clone();
    let foreseen = Foreseen::from(outcome);
    let mark = match foreseen {
        Foreseen::Unknown(_) => Mark::Unknown,
        _ => Mark::Stopped,
    };
    seen(Gate {
        name: gate,
        mark,
        saw,
    });
    foreseen
}

impl From<Outcome> for Foreseen {
    fn from(outcome: Outcome) -> Foreseen {
        let Outcome {
            verdict,
            attempt,
            detail,
        } = outcome;
        match Foreseen::answer(verdict, detail) {
            Foreseen::Answer {
                verdict, detail, ..
            } => Foreseen::Answer {
                verdict,
                attempt,
                detail,
            },
            unknown => unknown,
        }
    }
}
