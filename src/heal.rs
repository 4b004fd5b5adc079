//! One alert, from its gates to its verdict: the only place where effects are put in order. The rules are
//! in `judge`, the machine is in `sys`; here stands what has to happen before what.
//!
//! The order that matters: the lock before the slot, so that those who wait for one lock hold no slots; the attempt
//! durable before its handler starts; the ending durable before the lock is released, so that
//! whoever gets the lock next never takes a finished run for an interrupted one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::judge::admit::{self, Admission, Stance};
use crate::judge::record::Process;
use crate::judge::storm::{self, Reservation};
use crate::judge::{
    Alert, AlertName, AllowList, Answer, Decision, Ending, Limits, Look, Proposal, Record, Run,
    Time, Verdict, Why, decision,
};
use crate::sys::catalog::{self, Handler, Lookup};
use crate::sys::clock;
use crate::sys::history::History;
use crate::sys::lock::Lock;
use crate::sys::log::Log;
use crate::sys::process::ProcessId;
use crate::sys::signals::Signals;
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::wire::config::Config;
use crate::wire::counters::Counters;
use crate::wire::notification::{Notification, Posted};
use crate::wire::records;
use crate::wire::report::{self, Report};

mod exclusion;
mod supervision;
mod telling;

use supervision::Supervised;

pub use telling::save_counters;

/// Why nothing more starts after SIGTERM.
const TOLD_TO_END: &str = "the listener was told to end";

/// Heals the alerts of one notification, one after another.
pub struct Healer<'a> {
    config: &'a Config,
    allowed: AllowList,
    /// Why the allow-list allows nothing, where that is not the operator's intention.
    unlisted: Option<String>,
    notification: &'a Notification,
    /// Or why there is none: then whatever needs a record is an error, and the gates before it still answer.
    store: Result<Store, StateError>,
    log: &'a mut Log,
    signals: &'a mut Signals,
    history: History,
    counters: BTreeMap<Option<AlertName>, Counters>,
    peer: String,
    own: Process,
    /// What is left of `HEAL_LOCK_WAIT`.
    patience: Duration,
    runs: u32,
}

/// Everything about a candidate that does not change on its way.
struct Case<'a> {
    posted: &'a Posted,
    alert: &'a Alert,
    name: &'a AlertName,
    handler: &'a Handler,
    key: String,
    limits: Limits,
    timeout: Duration,
}

/// A verdict on its way to the report.
struct Outcome {
    verdict: Verdict,
    attempt: u32,
    detail: String,
}

impl Outcome {
    fn new(verdict: Verdict, detail: impl Into<String>) -> Outcome {
        Outcome {
            verdict,
            attempt: 0,
            detail: detail.into(),
        }
    }

    fn error(why: impl ToString) -> Outcome {
        Outcome::new(Verdict::Error, why.to_string())
    }
}

impl From<StateError> for Outcome {
    fn from(error: StateError) -> Outcome {
        Outcome::error(error)
    }
}

impl From<&Answer> for Outcome {
    fn from(answer: &Answer) -> Outcome {
        Outcome {
            verdict: answer.verdict,
            attempt: answer.attempt,
            detail: report::words(answer.why),
        }
    }
}

impl<'a> Healer<'a> {
    /// A healer for one notification.
    pub fn new(
        config: &'a Config,
        allowed: Result<AllowList, String>,
        notification: &'a Notification,
        store: Result<Store, StateError>,
        log: &'a mut Log,
        signals: &'a mut Signals,
        peer: String,
    ) -> std::io::Result<Healer<'a>> {
        let (allowed, unlisted) = match allowed {
            Ok(allowed) => (allowed, None),
            Err(why) => (AllowList::parse(""), Some(why)),
        };
        Ok(Healer {
            config,
            allowed,
            unlisted,
            notification,
            store,
            log,
            signals,
            history: History::new(&config.state_dir),
            counters: BTreeMap::new(),
            peer,
            own: ProcessId::own()?.into(),
            patience: config.lock_wait,
            runs: 0,
        })
    }

    /// Takes one alert to its verdict.
    pub fn heal(&mut self, posted: &Posted) -> Report {
        let alert = &posted.alert;
        let mut found = None;
        let folder = &self.config.handler_dir;
        let look_up = |name: &AlertName| match catalog::find(folder, name) {
            Lookup::Missing => admit::Handler::Missing,
            Lookup::Unsafe(why) => {
                found = Some((name.clone(), None));
                admit::Handler::Unsafe(why)
            }
            Lookup::Ready(handler) => {
                found = Some((name.clone(), Some(handler)));
                admit::Handler::Ready
            }
        };
        let admission = admit::admit(alert, &self.allowed, look_up, Stance::Act);
        let (label, handler) = found.unzip();
        let (label, outcome) = match admission {
            Admission::Resolved => self.resolve(alert),
            Admission::Stopped(verdict, why) => {
                let unlisted = self
                    .unlisted
                    .as_ref()
                    .filter(|_| verdict == Verdict::NotAllowed);
                let why =
                    unlisted.map_or(why, |why| format!("the allow-list cannot be used: {why}"));
                (label, Outcome::new(verdict, why))
            }
            Admission::Candidate(name) => {
                let outcome = match &handler.flatten() {
                    Some(handler) => self.judge(posted, &name, handler),
                    None => Outcome::error("the handler vanished"),
                };
                (label, outcome)
            }
        };
        let kept_aside = self
            .store
            .as_mut()
            .map(|store| std::mem::take(&mut store.kept_aside));
        for path in kept_aside.unwrap_or_default() {
            let kept = path.display().to_string();
            let values = [
                ("alertname", alert.name()),
                ("instance", alert.instance()),
                ("kept", &kept),
                (
                    "detail",
                    "counts as unknown: nothing runs until HEAL_ATTEMPT_WINDOW has passed",
                ),
            ];
            self.log.error("record_damaged", &values);
        }
        self.report(alert, label, outcome)
    }

    /// What was counted, by alertname; `None` is what no handler's name can label.
    pub fn counted(self) -> BTreeMap<Option<AlertName>, Counters> {
        self.counters
    }

    /// A resolved alert takes no lock: one update of its record, if it has one.
    fn resolve(&mut self, alert: &Alert) -> (Option<AlertName>, Outcome) {
        let key = records::key(alert);
        match self.resolve_record(alert, &key) {
            Ok((name, outcome)) => (name, outcome),
            Err(error) => (None, error.into()),
        }
    }

    fn resolve_record(
        &mut self,
        alert: &Alert,
        key: &str,
    ) -> Result<(Option<AlertName>, Outcome), StateError> {
        let known = self.read(key)?;
        let name = AlertName::new(&known.alertname);
        if known == Record::default() {
            return Ok((
                name,
                Outcome::new(Verdict::Resolved, report::words(Why::Over)),
            ));
        }
        let limits = self.config.limits.clone();
        let now = clock::now();
        let mut answer = None;
        let record = self.store()?.update(key, now, &mut |record| {
            let (next, said) = decision::resolve(record, alert, &limits, now);
            answer = Some(said);
            next
        })?;
        let outcome = match &answer {
            Some(answer) => {
                self.note(name.as_ref(), alert, &answer.notes);
                Outcome::from(answer)
            }
            None => Outcome::error("the record was not changed"),
        };
        self.hand_over(key, &record)?;
        Ok((name, outcome))
    }

    fn judge(&mut self, posted: &Posted, name: &AlertName, handler: &Handler) -> Outcome {
        let alert = &posted.alert;
        let case = Case {
            posted,
            alert,
            name,
            handler,
            key: records::key(alert),
            limits: handler.directives.overlay(&self.config.limits),
            timeout: handler
                .directives
                .timeout
                .unwrap_or(self.config.handler_timeout),
        };
        match self.look(&case) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(record)) => self.lock_and_run(&case, &record),
            Err(error) => error.into(),
        }
    }

    /// The record's answer without the lock, or the record that needs it.
    fn look(&mut self, case: &Case<'_>) -> Result<Result<Outcome, Record>, StateError> {
        let record = self.read(&case.key)?;
        let survivor = alive(&record);
        let now = clock::now();
        let look =
            |record: &Record| decision::look(record, case.alert, &case.limits, survivor, now);
        let (next, seen) = look(&record);
        let Look::Answer(mut answer) = seen else {
            return Ok(Err(record));
        };
        let mut stored = record.clone();
        if next != record {
            let mut last = Look::NeedsLock;
            stored = self.store()?.update(&case.key, now, &mut |record| {
                let (next, seen) = look(record);
                last = seen;
                next
            })?;
            // Somebody changed the record meanwhile: what it needs now, the lock will tell.
            let Look::Answer(later) = last else {
                return Ok(Err(stored));
            };
            answer = later;
        }
        self.note(Some(case.name), case.alert, &answer.notes);
        self.hand_over(&case.key, &stored)?;
        Ok(Ok(Outcome::from(&answer)))
    }

    fn lock_and_run(&mut self, case: &Case<'_>, record: &Record) -> Outcome {
        let lock = match self.lock(case, record) {
            Ok(lock) => lock,
            Err(outcome) => return outcome,
        };
        // What a run of this alert that died left in the file is needed until that run is settled.
        let own_note = lock.left_by().is_some_and(|holder| holder.key == case.key);
        let foreign = lock.left_by().filter(|_| !own_note).cloned();
        let outcome = match foreign.map_or(Ok(()), |holder| self.take_over(&holder)) {
            Ok(()) => {
                if !own_note {
                    self.claim(case, &lock);
                }
                self.run_in_slot(case, &lock)
            }
            Err(outcome) => outcome,
        };
        let note_needed = lock.left_by().is_some();
        let unsettled = matches!(
            outcome.verdict,
            Verdict::Busy | Verdict::Storm | Verdict::Error
        );
        if let Err(error) = lock.release(note_needed && unsettled) {
            self.log
                .error("unlock_failed", &[("error", &error.to_string())]);
        }
        outcome
    }

    fn run_in_slot(&mut self, case: &Case<'_>, lock: &Lock) -> Outcome {
        match self.slot() {
            Ok(slot) => {
                let outcome = self.run_under(case, lock).unwrap_or_else(Outcome::from);
                drop(slot);
                outcome
            }
            Err(outcome) => outcome,
        }
    }

    /// Under lock and slot: the host's window, the decision, the run.
    fn run_under(&mut self, case: &Case<'_>, lock: &Lock) -> Result<Outcome, StateError> {
        let record = self.read(&case.key)?;
        if let Some(run) = &record.in_flight
            && let Err(outcome) = self.examine_dead_run(case, run, lock)
        {
            return Ok(outcome);
        }
        if self.signals.terminated() {
            return Ok(Outcome::new(Verdict::Busy, TOLD_TO_END));
        }
        let reserved = clock::now();
        if let Some(outcome) = self.reserve(reserved)? {
            return Ok(outcome);
        }
        let id = self.run_id(reserved);
        let proposal = Proposal {
            id: &id,
            timeout: case.timeout,
            supervisor: self.own,
        };
        let mut decided = None;
        let examined = record.in_flight;
        let updated = self.store()?.update(&case.key, reserved, &mut |record| {
            decided = None;
            if record.in_flight != examined {
                // Somebody whose lock file was removed is at it: not the run that was found dead.
                return record.clone();
            }
            let survivor = alive(record);
            let (next, decision) = decision::decide(
                record,
                case.alert,
                &case.limits,
                survivor,
                &proposal,
                reserved,
            );
            decided = Some(decision);
            next
        });
        let record = match updated {
            Ok(record) => record,
            Err(error) => {
                self.give_back(reserved);
                return Err(error);
            }
        };
        match decided {
            Some(Decision::Run { run, notes }) => {
                self.note(Some(case.name), case.alert, &notes);
                if let Err(error) = self.hand_over(&case.key, &record) {
                    self.call_off(case, &run, reserved);
                    return Err(error);
                }
                if self.signals.terminated() {
                    self.call_off(case, &run, reserved);
                    return Ok(Outcome::new(Verdict::Busy, TOLD_TO_END));
                }
                self.run(case, lock, &run, reserved)
            }
            Some(Decision::Answer(answer)) => {
                self.give_back(reserved);
                self.note(Some(case.name), case.alert, &answer.notes);
                self.hand_over(&case.key, &record)?;
                Ok(Outcome::from(&answer))
            }
            None => {
                self.give_back(reserved);
                Ok(Outcome::new(Verdict::Busy, report::words(Why::InFlight)))
            }
        }
    }

    /// Takes a run that was counted back before its handler starts.
    fn call_off(&mut self, case: &Case<'_>, run: &Run, reserved: Time) {
        self.give_back(reserved);
        let now = clock::now();
        let settled = self.store().and_then(|store| {
            store.update(&case.key, now, &mut |record| {
                decision::settle(record, run, Ending::NotStarted, &[], &case.limits, now).0
            })
        });
        if let Err(error) = settled {
            let values = [("run_id", run.id.as_str()), ("error", &error.to_string())];
            self.log.error("not_called_off", &values);
        }
    }

    fn reserve(&mut self, now: Time) -> Result<Option<Outcome>, StateError> {
        let limit = self.config.storm_limit;
        let mut got = Reservation::Granted { ends_storm: false };
        self.store()?.update_host(now, &mut |host| {
            let mut next = host.clone();
            got = storm::reserve(&mut next, limit, now);
            next
        })?;
        match got {
            Reservation::Granted { ends_storm } => {
                if ends_storm {
                    self.log.info("storm_over", &[]);
                }
                Ok(None)
            }
            Reservation::Storm { until, declared } => {
                if declared {
                    let runs = limit.runs.to_string();
                    self.log
                        .error("escalation", &[("reason", "storm"), ("runs", &runs)]);
                }
                let until = crate::wire::timestamp::rfc3339(until);
                let why = format!("the host's run limit is reached; frees at {until}");
                Ok(Some(Outcome::new(Verdict::Storm, why)))
            }
        }
    }

    /// A reservation that cannot be given back over-counts, which is safe, and stands in nobody's way.
    fn give_back(&mut self, reserved: Time) {
        let given = self.store().and_then(|store| {
            store.update_host(reserved, &mut |host| {
                let mut next = host.clone();
                storm::give_back(&mut next, reserved);
                next
            })
        });
        if let Err(error) = given {
            self.log
                .error("not_given_back", &[("error", &error.to_string())]);
        }
    }

    /// Unique on this host: no process has the same number twice within a millisecond.
    fn run_id(&mut self, now: Time) -> String {
        self.runs += 1;
        format!("{:x}-{}-{}", now.0, self.own.pid, self.runs)
    }

    /// Runs the handler of an attempt that is counted, and settles it.
    fn run(
        &mut self,
        case: &Case<'_>,
        lock: &Lock,
        run: &Run,
        reserved: Time,
    ) -> Result<Outcome, StateError> {
        self.tell_intent(case, run);
        let Supervised {
            ending,
            elapsed,
            survivors,
            failure,
        } = self.supervise(case, lock, run);
        if matches!(ending, Ending::Exit(75) | Ending::NotStarted) {
            self.give_back(reserved);
        }
        let now = clock::now();
        let mut answer = None;
        let record = self.store()?.update(&case.key, now, &mut |record| {
            let (next, said) = decision::settle(record, run, ending, &survivors, &case.limits, now);
            answer = Some(said);
            next
        });
        let verdict = match (&record, &answer) {
            (Ok(_), Some(answer)) => answer.verdict,
            _ => Verdict::Error,
        };
        self.tell_result(case, run, ending, elapsed, verdict);
        let record = record?;
        let Some(answer) = answer else {
            return Ok(Outcome::error("the record was not changed"));
        };
        self.note(Some(case.name), case.alert, &answer.notes);
        self.hand_over(&case.key, &record)?;
        let mut outcome = Outcome::from(&answer);
        if let Some(failure) = failure {
            outcome.detail = format!("{}: {failure}", outcome.detail);
        }
        Ok(outcome)
    }

    fn store(&mut self) -> Result<&mut Store, StateError> {
        self.store.as_mut().map_err(|error| error.again())
    }

    /// The record of `key`; a damaged one is kept aside first.
    fn read(&mut self, key: &str) -> Result<Record, StateError> {
        match self.store()?.read(key)? {
            Some(record) => Ok(record),
            None => self.store()?.update(key, clock::now(), &mut Record::clone),
        }
    }
}

/// One of the record's survivors that still lives.
fn alive(record: &Record) -> Option<Process> {
    record
        .survivors
        .iter()
        .copied()
        .find(|p| ProcessId::from(*p).alive())
}
