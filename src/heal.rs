//! One alert, from its gates to its verdict: the only place where effects are put in order. The rules are
//! in `judge`, the machine is in `sys`; here stands what has to happen before what.
//!
//! The order that matters: the lock before the slot, so that those who wait for one lock hold no slots; the attempt
//! durable before its handler starts; the ending durable before the lock is released, so that
//! whoever gets the lock next never takes a finished run for an interrupted one.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::judge::admit::Admission;
use crate::judge::record::Process;
use crate::judge::storm::{self, Reservation};
use crate::judge::{
    Alert, AlertName, AllowList, Answer, Decision, Ended, Ending, Force, Look, Proposal, Record,
    Run, Time, Verdict, Why, decision, run_id,
};
use crate::paging::{self, About, alive};
use crate::sys::catalog::Handler;
use crate::sys::clock;
use crate::sys::history::History;
use crate::sys::lock::Lock;
use crate::sys::log::Log;
use crate::sys::process::ProcessId;
use crate::sys::signals::Signals;
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::unfit::Unfit;
use crate::wire::config::Config;
use crate::wire::counters::Counters;
use crate::wire::notification::{Notification, Posted};
use crate::wire::records;
use crate::wire::report::{self, Report};

pub mod by_hand;
mod case;
mod exclusion;
mod foresight;
mod gates;
mod observing;
mod rollback;
mod supervision;
mod telling;

use rollback::Undone;
use supervision::Supervised;

pub use case::{Case, Program};
pub use foresight::{
    Foreseen, Observed, foresee, foresee_resolved, is_hidden, lock_files, observed,
};
pub use gates::{Admitted, Gates};
pub use telling::save_counters;

/// Why nothing more starts after SIGTERM.
const TOLD_TO_END: &str = "the listener was told to end";

/// Heals the alerts of one notification, one after another.
pub struct Healer<'a> {
    config: &'a Config,
    gates: Gates,
    notification: &'a Notification,
    /// Or why there is none: then whatever needs a record is an error, and the gates before it still answer.
    store: Result<Store, StateError>,
    log: &'a mut Log,
    signals: &'a mut Signals,
    history: History,
    counters: BTreeMap<Option<AlertName>, Counters>,
    asked: Asked<'a>,
    own: Process,
    /// What is left of `HEAL_LOCK_WAIT`.
    patience: Duration,
    runs: u32,
}

/// Who asks for a heal, and how.
#[derive(Default)]
pub struct Asked<'a> {
    /// For log and history.
    pub peer: String,
    /// Whether the breaker and the delays are to hold.
    pub force: Force,
    /// The record that is meant, where the alert alone does not say it.
    pub key: Option<String>,
    /// Is told of a run that is about to start.
    pub starting: Option<&'a mut dyn FnMut(&Starting<'_>)>,
}

/// A run that is counted, about to start.
#[derive(Clone, Copy, Debug)]
pub struct Starting<'a> {
    /// What it is made of.
    pub case: &'a Case<'a>,
    /// As counted.
    pub run: &'a Run,
    /// What force got it past.
    pub past: Option<(Verdict, Why)>,
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
        allowed: Result<AllowList, Unfit>,
        notification: &'a Notification,
        store: Result<Store, StateError>,
        log: &'a mut Log,
        signals: &'a mut Signals,
        asked: Asked<'a>,
    ) -> std::io::Result<Healer<'a>> {
        Ok(Healer {
            config,
            gates: Gates::new(allowed, store.as_ref()),
            notification,
            store,
            log,
            signals,
            history: History::new(&config.state_dir),
            counters: BTreeMap::new(),
            asked,
            own: ProcessId::own()?.into(),
            patience: config.lock_wait,
            runs: 0,
        })
    }

    /// Takes one alert to its verdict.
    pub fn heal(&mut self, posted: &Posted) -> Report {
        let alert = &posted.alert;
        let now = clock::now();
        let admitted = self.gates.admit(self.config, alert, now, &mut |_| ());
        let Admitted {
            admission,
            label,
            handler,
        } = admitted;
        let (label, outcome) = match admission {
            Admission::Resolved => self.resolve(alert),
            Admission::Stopped(verdict, why) => (label, Outcome::new(verdict, why)),
            Admission::Paused(words) => {
                self.hold(alert, now);
                (label, Outcome::new(Verdict::Paused, words))
            }
            Admission::Candidate(name) => (
                label,
                self.with(handler, |healer, handler| {
                    healer.judge(posted, &name, handler)
                }),
            ),
            Admission::Observed(name) => (
                label,
                self.with(handler, |healer, handler| {
                    healer.observe(posted, &name, handler)
                }),
            ),
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

    fn with(
        &mut self,
        handler: Option<Handler>,
        act: impl FnOnce(&mut Self, &Handler) -> Outcome,
    ) -> Outcome {
        match &handler {
            Some(handler) => act(self, handler),
            None => Outcome::error("the handler vanished"),
        }
    }

    /// The key of the alert's record.
    fn key_of(&self, alert: &Alert) -> String {
        let meant = self.asked.key.clone();
        meant.unwrap_or_else(|| records::key(alert))
    }

    fn case<'b>(&self, posted: &'b Posted, name: &'b AlertName, handler: &'b Handler) -> Case<'b>
    where
        'a: 'b,
    {
        let key = self.key_of(&posted.alert);
        Case::new(self.config, self.notification, posted, name, handler, key)
    }

    /// Notes that a pause holds the alert back. That cannot always be noted, and it is paused all the same.
    fn hold(&mut self, alert: &Alert, now: Time) {
        let key = self.key_of(alert);
        let hold = &mut |record: &Record| decision::hold(record, alert, now);
        let held = self.store().and_then(|store| store.update(&key, now, hold));
        if let Err(error) = held {
            let error = error.to_string();
            self.log.warn("not_held", &[("error", &error)]);
        }
    }

    /// What was counted, by alertname; `None` is what no handler's name can label.
    pub fn counted(self) -> BTreeMap<Option<AlertName>, Counters> {
        self.counters
    }

    /// A resolved alert takes no lock: one update of its record, if it has one.
    fn resolve(&mut self, alert: &Alert) -> (Option<AlertName>, Outcome) {
        let key = self.key_of(alert);
        match self.resolve_record(alert, &key) {
            Ok((name, outcome)) => (name, outcome),
            Err(outcome) => (None, outcome),
        }
    }

    fn resolve_record(
        &mut self,
        alert: &Alert,
        key: &str,
    ) -> Result<(Option<AlertName>, Outcome), Outcome> {
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
                self.note(name.as_ref(), alert, &record, &answer.notes);
                Outcome::from(answer)
            }
            None => Outcome::error("the record was not changed"),
        };
        self.hand_over(key, &record, &self.about(alert))?;
        Ok((name, outcome))
    }

    fn judge(&mut self, posted: &Posted, name: &AlertName, handler: &Handler) -> Outcome {
        let case = self.case(posted, name, handler);
        match self.look(&case) {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(record)) => self.lock_and_run(&case, &record),
            Err(outcome) => outcome,
        }
    }

    /// The record's answer without the lock, or the record that needs it.
    fn look(&mut self, case: &Case<'_>) -> Result<Result<Outcome, Record>, Outcome> {
        let record = self.read(&case.key)?;
        let survivor = alive(&record);
        let (now, force) = (clock::now(), self.asked.force);
        let look = |record: &Record| {
            decision::look(record, case.alert, &case.limits, survivor, force, now)
        };
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
        self.note(Some(case.name), case.alert, &stored, &answer.notes);
        self.hand_over(&case.key, &stored, &self.about(case.alert))?;
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
                let outcome = self.run_under(case, lock).unwrap_or_else(|outcome| outcome);
                drop(slot);
                outcome
            }
            Err(outcome) => outcome,
        }
    }

    /// Under lock and slot: the host's window, the decision, the run.
    fn run_under(&mut self, case: &Case<'_>, lock: &Lock) -> Result<Outcome, Outcome> {
        let record = self.read(&case.key)?;
        // Before a dead run's hook too.
        if self.signals.terminated() {
            return Err(Outcome::new(Verdict::Busy, TOLD_TO_END));
        }
        let mut undone = Undone::default();
        if let Some(run) = &record.in_flight {
            self.examine_dead_run(case, run, lock)?;
            undone = self.roll_back_dead_run(case, &record, run, lock)?;
        }
        let reserved = clock::now();
        self.reserve(reserved)?;
        self.runs += 1;
        let id = run_id::make(reserved, self.own.pid, self.runs, case.name);
        let proposal = Proposal {
            id: &id,
            timeout: case.timeout,
            supervisor: self.own,
            interrupted: undone.rollback,
            force: self.asked.force,
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
                return Err(error.into());
            }
        };
        let about = About {
            detail: undone.failure,
            ..self.about(case.alert)
        };
        match decided {
            Some(Decision::Run { run, notes, past }) => {
                self.note(Some(case.name), case.alert, &record, &notes);
                if let Err(outcome) = self.hand_over(&case.key, &record, &about) {
                    self.call_off(case, &run, reserved);
                    return Err(outcome);
                }
                if self.signals.terminated() {
                    self.call_off(case, &run, reserved);
                    return Ok(Outcome::new(Verdict::Busy, TOLD_TO_END));
                }
                self.run(case, lock, &run, past, reserved)
            }
            Some(Decision::Answer(answer)) => {
                self.give_back(reserved);
                self.note(Some(case.name), case.alert, &record, &answer.notes);
                self.hand_over(&case.key, &record, &about)?;
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
                let never = Ended::cleanly(Ending::NotStarted);
                decision::settle(record, run, &never, &case.limits, now).0
            })
        });
        if let Err(error) = settled {
            let values = [("run_id", run.id.as_str()), ("error", &error.to_string())];
            self.log.error("not_called_off", &values);
        }
    }

    /// Reserves one run in the host's window.
    fn reserve(&mut self, now: Time) -> Result<(), Outcome> {
        let limit = self.config.storm_limit;
        let mut got = Reservation::Granted { ends_storm: false };
        let host = self.store()?.update_host(now, &mut |host| {
            let mut next = host.clone();
            got = storm::reserve(&mut next, limit, now);
            next
        })?;
        let told = if host.owed.is_empty() {
            Ok(())
        } else {
            let (config, log) = (self.config, &mut *self.log);
            let store = self.store.as_mut().map_err(|error| error.again())?;
            paging::hand_over_host(config, store, log).map_err(Outcome::error)
        };
        match got {
            Reservation::Granted { ends_storm } => {
                if ends_storm {
                    self.log.info("storm_over", &[]);
                }
                told.inspect_err(|_| self.give_back(now))
            }
            Reservation::Storm { until, declared } => {
                if declared {
                    let runs = limit.runs.to_string();
                    self.log.warn("storm", &[("runs", &runs)]);
                }
                told?;
                Err(Outcome::new(Verdict::Storm, report::storm(until)))
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

    /// Runs the handler of an attempt that is counted, puts back what it changed if it fails, and settles it.
    fn run(
        &mut self,
        case: &Case<'_>,
        lock: &Lock,
        run: &Run,
        past: Option<(Verdict, Why)>,
        reserved: Time,
    ) -> Result<Outcome, Outcome> {
        let snapshot = match self.snapshot(case, run) {
            Ok(snapshot) => snapshot,
            Err(outcome) => {
                self.call_off(case, run, reserved);
                return Err(outcome);
            }
        };
        let forced = past.is_some();
        self.tell_intent(case, run, forced, snapshot.as_deref());
        if let Some(starting) = &mut self.asked.starting {
            starting(&Starting { case, run, past });
        }
        let Supervised {
            ending,
            elapsed,
            survivors,
            failure,
            output_from,
        } = self.supervise(case, lock, run, case.program());
        if matches!(ending, Ending::Exit(75) | Ending::NotStarted) {
            self.give_back(reserved);
        }
        let undone = if snapshot.is_some() && ending.rolls_back() {
            self.roll_back(case, lock, run)
        } else {
            Undone::default()
        };
        let ended = Ended {
            ending,
            survivors: [survivors, undone.survivors].concat(),
            rollback: undone.rollback,
        };
        let now = clock::now();
        let mut answer = None;
        let record = self.store()?.update(&case.key, now, &mut |record| {
            let (next, said) = decision::settle(record, run, &ended, &case.limits, now);
            answer = Some(said);
            next
        });
        let verdict = match (&record, &answer) {
            (Ok(_), Some(answer)) => answer.verdict,
            _ => Verdict::Error,
        };
        self.tell_result(case, run, &ended, elapsed, verdict, forced);
        let record = record?;
        let Some(answer) = answer else {
            return Err(Outcome::error("the record was not changed"));
        };
        self.note(Some(case.name), case.alert, &record, &answer.notes);
        let about = About {
            output_from,
            detail: undone.failure.clone(),
            ..self.about(case.alert)
        };
        self.hand_over(&case.key, &record, &about)?;
        let mut outcome = Outcome::from(&answer);
        for more in failure.iter().chain(undone.words.iter()) {
            outcome.detail = format!("{}; {more}", outcome.detail);
        }
        Ok(outcome)
    }

    /// What a page about this alert can say.
    fn about<'b>(&self, alert: &'b Alert) -> About<'b>
    where
        'a: 'b,
    {
        About {
            alert: Some(alert),
            notification: Some(self.notification),
            ..About::default()
        }
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
