//! One alert, from its gates to its verdict: the only place where effects are put in order. The rules are
//! in `judge`, the machine is in `sys`; here stands what has to happen before what.
//!
//! The order that matters: the lock before the slot, so that those who wait for one lock hold no slots; the attempt
//! durable before its handler starts; the ending durable before the lock is released, so that
//! whoever gets the lock next never takes a finished run for an interrupted one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::judge::admit::{self, Admission, Stance};
use crate::judge::record::{PageKind, Process};
use crate::judge::storm::{self, Reservation};
use crate::judge::{
    Alert, AlertName, AllowList, Answer, Decision, Ending, Limits, Look, Note, Proposal, Record,
    Run, Time, Verdict, Why, decision,
};
use crate::sys::catalog::{self, Handler, Lookup};
use crate::sys::handler::{Ended, Exit, Invocation};
use crate::sys::history::History;
use crate::sys::lock::{self, Lock, Scope, Tried};
use crate::sys::log::Log;
use crate::sys::process::ProcessId;
use crate::sys::signals::Signals;
use crate::sys::slots::{self, Slot};
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{clock, counters, files, handler, identity, leftovers};
use crate::wire::config::Config;
use crate::wire::counters::Counters;
use crate::wire::directives::LockScope;
use crate::wire::environment::{self, Context};
use crate::wire::history::{Event, RunLine};
use crate::wire::holder::Holder;
use crate::wire::notification::{Notification, Posted};
use crate::wire::records;
use crate::wire::report::{self, Report};

/// How often a lock or a slot that is taken is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(20);

/// How long past its deadline and grace a holder is left alone: its supervisor may be at work on it.
const ORPHAN_MARGIN: Duration = Duration::from_secs(5);

/// The longest group key in the history, in bytes.
const GROUP_KEY: usize = 1024;

/// Heals the alerts of one notification, one after another.
pub struct Healer<'a> {
    config: &'a Config,
    allowed: AllowList,
    notification: &'a Notification,
    /// Or why there is none: then whatever needs a record is an error, and the gates before it still answer.
    store: Result<Store, StateError>,
    log: &'a mut Log,
    signals: &'a mut Signals,
    history: History,
    counters: BTreeMap<Option<AlertName>, Counters>,
    peer: String,
    home: String,
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
        allowed: AllowList,
        notification: &'a Notification,
        store: Result<Store, StateError>,
        log: &'a mut Log,
        signals: &'a mut Signals,
        peer: String,
    ) -> std::io::Result<Healer<'a>> {
        Ok(Healer {
            config,
            allowed,
            notification,
            store,
            log,
            signals,
            history: History::new(&config.state_dir),
            counters: BTreeMap::new(),
            peer,
            home: identity::home(),
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
            Admission::Stopped(verdict, why) => (label, Outcome::new(verdict, why)),
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
            self.log
                .error("record_damaged", &[("kept", &path.display().to_string())]);
        }
        self.report(alert, label, outcome)
    }

    /// What was counted, by alertname; `None` is what no handler's name can label.
    pub fn counted(self) -> BTreeMap<Option<AlertName>, Counters> {
        self.counters
    }

    fn report(&mut self, alert: &Alert, label: Option<AlertName>, outcome: Outcome) -> Report {
        let verdict = outcome.verdict;
        let values = [
            ("verdict", verdict.as_str()),
            ("alertname", alert.name()),
            ("instance", alert.instance()),
            ("fingerprint", alert.fingerprint.as_deref().unwrap_or("")),
            ("attempt", &outcome.attempt.to_string()),
            ("detail", &outcome.detail),
        ];
        match verdict {
            Verdict::UnsafeHandler | Verdict::Error | Verdict::Tripped | Verdict::GaveUp => {
                self.log.error("alert", &values);
            }
            Verdict::NotAllowed | Verdict::NoHandler | Verdict::Failed | Verdict::Storm => {
                self.log.warn("alert", &values);
            }
            _ => self.log.info("alert", &values),
        }
        Counters::bump(
            &mut self.counters.entry(label).or_default().verdicts,
            verdict.as_str(),
        );
        Report {
            alertname: alert.name().to_owned(),
            instance: alert.instance().to_owned(),
            fingerprint: alert.fingerprint.clone().unwrap_or_default(),
            verdict,
            attempt: outcome.attempt,
            detail: outcome.detail,
        }
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
        self.hand_over(key, alert, &record)?;
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
        self.hand_over(&case.key, case.alert, &stored)?;
        Ok(Ok(Outcome::from(&answer)))
    }

    fn lock_and_run(&mut self, case: &Case<'_>, record: &Record) -> Outcome {
        let lock = match self.lock(case, record) {
            Ok(lock) => lock,
            Err(outcome) => return outcome,
        };
        let outcome = match self.slot() {
            Ok(slot) => {
                let outcome = self.run_under(case, &lock).unwrap_or_else(Outcome::from);
                drop(slot);
                outcome
            }
            Err(outcome) => outcome,
        };
        if let Err(error) = lock.release() {
            self.log
                .error("unlock_failed", &[("error", &error.to_string())]);
        }
        outcome
    }

    /// The alert's lock, within what is left of the request's patience. Its own run in flight is not waited for.
    fn lock(&mut self, case: &Case<'_>, record: &Record) -> Result<Lock, Outcome> {
        let scope = match case.handler.directives.lock {
            Some(LockScope::Instance) => {
                let digest = records::hex_digest(case.alert.instance().as_bytes());
                Scope::Instance(digest.get(..16).unwrap_or(&digest).to_owned())
            }
            _ => Scope::Alert,
        };
        let folder = &self.config.lock_dir;
        files::make_folder(folder, 0o700)
            .and_then(|()| files::trusted(folder).map_err(std::io::Error::other))
            .map_err(|e| Outcome::error(format!("lock folder {}: {e}", folder.display())))?;
        let mut ended_orphan = false;
        loop {
            let tried = lock::attempt(&self.config.lock_dir, case.name, &scope)
                .map_err(|e| Outcome::error(format!("lock of {}: {e}", case.name)))?;
            let (holder, path) = match tried {
                Tried::Held(lock) => return Ok(lock),
                Tried::Taken(holder, path) => (holder, path),
            };
            let own = record.in_flight.as_ref();
            let holder = holder.or_else(|| own.map(|run| self.presumed(case, run)));
            if let Some(holder) = holder.filter(|holder| self.orphaned(holder) && !ended_orphan) {
                ended_orphan = true;
                self.end_orphan(&holder, &path)?;
                continue;
            }
            if own.is_some() {
                return Err(Outcome::new(Verdict::Busy, report::words(Why::InFlight)));
            }
            self.wait("another run or an operator holds the lock")?;
        }
    }

    /// A slot, within what is left of the request's patience.
    fn slot(&mut self) -> Result<Slot, Outcome> {
        loop {
            let tried = slots::attempt(&self.config.lock_dir, self.config.max_concurrent)
                .map_err(|e| Outcome::error(format!("slots: {e}")))?;
            match tried {
                Some(slot) => return Ok(slot),
                None => self.wait("every slot is taken (HEAL_MAX_CONCURRENT)")?,
            }
        }
    }

    fn wait(&mut self, why: &str) -> Result<(), Outcome> {
        if self.signals.terminated() {
            return Err(Outcome::new(Verdict::Busy, "the listener was told to end"));
        }
        if self.patience.is_zero() {
            return Err(Outcome::new(Verdict::Busy, why));
        }
        let began = Instant::now();
        self.signals.wait(TRY_AGAIN.min(self.patience));
        self.patience = self.patience.saturating_sub(began.elapsed());
        Ok(())
    }

    /// A holder for a run whose lock file does not name one.
    fn presumed(&self, case: &Case<'_>, run: &Run) -> Holder {
        Holder {
            run_id: run.id.clone(),
            key: case.key.clone(),
            fingerprint: String::new(),
            supervisor: run.supervisor,
            session: leftovers::NO_SESSION,
            deadline: run.deadline.plus(self.config.kill_grace),
        }
    }

    fn orphaned(&self, holder: &Holder) -> bool {
        let late = holder.deadline.plus(ORPHAN_MARGIN) < clock::now();
        late && !ProcessId::from(holder.supervisor).alive()
    }

    fn end_orphan(&mut self, holder: &Holder, path: &std::path::Path) -> Result<(), Outcome> {
        self.log
            .error("orphan_ended", &[("run_id", &holder.run_id)]);
        let left = leftovers::end(holder, path, self.config.kill_grace, self.signals)
            .map_err(|e| Outcome::error(format!("orphan of run {}: {e}", holder.run_id)))?;
        self.stuck(&holder.key, left.first().copied())
    }

    /// Something of a dead run that may not be signalled keeps the alert busy while it lives.
    fn stuck(&mut self, key: &str, survivor: Option<Process>) -> Result<(), Outcome> {
        let Some(survivor) = survivor else {
            return Ok(());
        };
        let now = clock::now();
        self.store()?.update(key, now, &mut |record| {
            decision::stuck(record, survivor, now)
        })?;
        Err(Outcome::new(
            Verdict::Busy,
            report::words(Why::Survivor(survivor)),
        ))
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
            return Ok(Outcome::new(Verdict::Busy, "the listener was told to end"));
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
        let updated = self.store()?.update(&case.key, reserved, &mut |record| {
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
                self.give_back(reserved)?;
                return Err(error);
            }
        };
        match decided {
            Some(Decision::Run { run, notes }) => {
                self.note(Some(case.name), case.alert, &notes);
                self.hand_over(&case.key, case.alert, &record)?;
                self.run(case, lock, &run, reserved)
            }
            Some(Decision::Answer(answer)) => {
                self.give_back(reserved)?;
                self.note(Some(case.name), case.alert, &answer.notes);
                self.hand_over(&case.key, case.alert, &record)?;
                Ok(Outcome::from(&answer))
            }
            None => Ok(Outcome::error("the record was not changed")),
        }
    }

    /// The lock is ours, yet a run is noted in flight: its supervisor died, or the lock file was removed under it.
    fn examine_dead_run(&mut self, case: &Case<'_>, run: &Run, lock: &Lock) -> Result<(), Outcome> {
        if ProcessId::from(run.supervisor).alive() && run.supervisor != self.own {
            return Err(Outcome::new(Verdict::Busy, report::words(Why::InFlight)));
        }
        let Some(holder) = lock.left_by().filter(|holder| holder.run_id == run.id) else {
            return Ok(());
        };
        let left = leftovers::out_of_reach(&holder)
            .map_err(|e| Outcome::error(format!("what is left of run {}: {e}", run.id)))?;
        self.stuck(&case.key, left.first().copied())
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

    fn give_back(&mut self, reserved: Time) -> Result<(), StateError> {
        self.store()?.update_host(reserved, &mut |host| {
            let mut next = host.clone();
            storm::give_back(&mut next, reserved);
            next
        })?;
        Ok(())
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
        let (ending, ended) = self.supervise(case, lock, run);
        let survivors: Vec<Process> = ended
            .as_ref()
            .map(|ended| ended.survivors.iter().map(|p| Process::from(*p)).collect())
            .unwrap_or_default();
        if matches!(ending, Ending::Exit(75) | Ending::NotStarted) {
            self.give_back(reserved)?;
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
        let elapsed = ended.map(|ended| ended.elapsed);
        self.tell_result(case, run, ending, elapsed, verdict);
        let record = record?;
        let Some(answer) = answer else {
            return Ok(Outcome::error("the record was not changed"));
        };
        self.note(Some(case.name), case.alert, &answer.notes);
        self.hand_over(&case.key, case.alert, &record)?;
        Ok(Outcome::from(&answer))
    }

    fn supervise(&mut self, case: &Case<'_>, lock: &Lock, run: &Run) -> (Ending, Option<Ended>) {
        let context = Context {
            home: &self.home,
            backup_dir: &self.config.backup_dir.to_string_lossy(),
            max_attempts: case.limits.max_attempts,
            receiver: &self.notification.receiver,
            group_key: &self.notification.group_key,
            external_url: &self.notification.external_url,
        };
        let environment = environment::build(case.alert, run, &context);
        for (name, why) in &environment.left_out {
            let values = [("run_id", run.id.as_str()), ("name", name), ("why", why)];
            self.log.warn("environment_left_out", &values);
        }
        let path = self.config.log_dir.join(format!("{}.log", case.name));
        let log = match files::open_log(&path) {
            Ok(log) => Some(log),
            Err(error) => {
                let values = [
                    ("file", path.to_string_lossy().into_owned()),
                    ("error", error.to_string()),
                ];
                self.channel_failed("handler_log_failed", &values);
                None
            }
        };
        let fingerprint = case.alert.fingerprint.as_deref().unwrap_or("");
        let locks = lock.descriptors();
        let stdin = self.notification.handler_input(case.posted);
        let started = handler::start(&Invocation {
            program: &case.handler.path,
            interpreter: case.handler.interpreter,
            args: [case.alert.instance(), case.name.as_str(), fingerprint],
            env: &environment.variables,
            stdin: &stdin,
            log: log.as_ref(),
            locks: &locks,
            timeout: case.timeout,
            grace: self.config.kill_grace,
            run_id: &run.id,
        });
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                let values = [("run_id", run.id.as_str()), ("error", &error.to_string())];
                self.log.error("run_not_started", &values);
                return (Ending::NotStarted, None);
            }
        };
        lock.name_holder(&Holder {
            run_id: run.id.clone(),
            key: case.key.clone(),
            fingerprint: fingerprint.to_owned(),
            supervisor: self.own,
            session: running.session().into(),
            deadline: run.deadline.plus(self.config.kill_grace),
        });
        match running.wait(self.signals) {
            Ok(ended) => {
                let ending = match ended.exit {
                    Exit::Code(code) => Ending::Exit(code),
                    Exit::Signal(number) => Ending::Signal(number),
                    Exit::TimedOut => Ending::TimedOut,
                };
                (ending, Some(ended))
            }
            Err(error) => {
                let values = [("run_id", run.id.as_str()), ("error", &error.to_string())];
                self.log.error("run_lost", &values);
                (Ending::Lost, None)
            }
        }
    }

    fn tell_intent(&mut self, case: &Case<'_>, run: &Run) {
        let attempt = run.attempt.to_string();
        let handler = case.handler.path.display().to_string();
        let values = [
            ("run_id", run.id.as_str()),
            ("alertname", case.name.as_str()),
            ("instance", case.alert.instance()),
            ("attempt", &attempt),
            ("handler", &handler),
        ];
        self.log.info("run_start", &values);
        let line = self.run_line(case.alert, run);
        let timeout_ms = u64::try_from(case.timeout.as_millis()).unwrap_or(u64::MAX);
        let sha256 = &case.handler.sha256;
        let event = Event::Intent {
            run: line,
            handler: &handler,
            handler_sha256: sha256,
            timeout_ms,
        };
        let told = self.history.append(&event);
        self.told(told);
    }

    fn tell_result(
        &mut self,
        case: &Case<'_>,
        run: &Run,
        ending: Ending,
        elapsed: Option<Duration>,
        verdict: Verdict,
    ) {
        let outcome = report::outcome(ending);
        let duration_ms = elapsed.map(|e| u64::try_from(e.as_millis()).unwrap_or(u64::MAX));
        let counters = self.counters.entry(Some(case.name.clone())).or_default();
        match duration_ms {
            Some(duration_ms) => counters.ran(outcome, duration_ms),
            None => Counters::bump(&mut counters.outcomes, outcome),
        }
        let shown = duration_ms.map(|ms| ms.to_string()).unwrap_or_default();
        let values = [
            ("run_id", run.id.as_str()),
            ("alertname", case.name.as_str()),
            ("instance", case.alert.instance()),
            ("outcome", outcome),
            ("duration_ms", &shown),
            ("verdict", verdict.as_str()),
        ];
        if ending.healed() {
            self.log.info("run_end", &values);
        } else {
            self.log.warn("run_end", &values);
        }
        let exit = match ending {
            Ending::Exit(code) => Some(code),
            _ => None,
        };
        let run = self.run_line(case.alert, run);
        let verdict = Some(verdict.as_str());
        let event = Event::Result {
            run,
            exit,
            outcome,
            duration_ms,
            verdict,
        };
        let told = self.history.append(&event);
        self.told(told);
    }

    fn run_line<'b>(&'b self, alert: &'b Alert, run: &'b Run) -> RunLine<'b> {
        RunLine {
            run_id: &run.id,
            alertname: alert.name(),
            instance: alert.instance(),
            fingerprint: alert.fingerprint.as_deref().unwrap_or(""),
            group_key: crate::judge::alert::cut(&self.notification.group_key, GROUP_KEY),
            peer: &self.peer,
            attempt: run.attempt,
        }
    }

    fn told(&mut self, told: std::io::Result<()>) {
        if let Err(error) = told {
            self.channel_failed("history_failed", &[("error", error.to_string())]);
        }
    }

    fn channel_failed(&mut self, event: &str, values: &[(&str, String)]) {
        let values: Vec<(&str, &str)> = values.iter().map(|(k, v)| (*k, v.as_str())).collect();
        self.log.error(event, &values);
        self.counters.entry(None).or_default().channel_failures += 1;
    }

    /// What came to light beside the verdict goes to the log, the history and the counts.
    fn note(&mut self, name: Option<&AlertName>, alert: &Alert, notes: &[Note]) {
        for note in notes {
            let (event, word, grave) = match note {
                Note::Interrupted(run) => ("run_interrupted", run.id.clone(), true),
                Note::Ineffective(count) => ("heal_ineffective", count.to_string(), true),
                Note::Verified => ("heal_verified", String::new(), false),
                Note::Opened(reason) => ("breaker_opened", reason.as_str().to_owned(), true),
                Note::Closed(reason) => ("breaker_closed", reason.as_str().to_owned(), false),
                Note::Survivor(process) => ("survivor", process.pid.to_string(), true),
            };
            let values = [
                ("alertname", alert.name()),
                ("instance", alert.instance()),
                ("what", word.as_str()),
            ];
            if grave {
                self.log.warn(event, &values);
            } else {
                self.log.info(event, &values);
            }
            let counters = self.counters.entry(name.cloned()).or_default();
            match note {
                Note::Verified => counters.verified += 1,
                Note::Ineffective(_) => counters.ineffective += 1,
                Note::Interrupted(run) => {
                    Counters::bump(&mut counters.outcomes, "interrupted");
                    let run = self.run_line(alert, run);
                    let event = Event::Result {
                        run,
                        exit: None,
                        outcome: "interrupted",
                        duration_ms: None,
                        verdict: None,
                    };
                    let told = self.history.append(&event);
                    self.told(told);
                }
                _ => {}
            }
        }
    }

    /// Hands the pages that the record owes to whoever tells people, then strikes them. The log and
    /// syslog are who that is; the shipped Alertmanager route pages a person on its own.
    fn hand_over(&mut self, key: &str, alert: &Alert, record: &Record) -> Result<(), StateError> {
        if record.owed.is_empty() {
            return Ok(());
        }
        for page in &record.owed {
            let (event, reason, words) = match page.what {
                PageKind::Trigger(reason) => {
                    ("escalation", reason.as_str(), report::opening(reason))
                }
                PageKind::Resolve => ("escalation_over", "", ""),
            };
            let values = [
                ("alertname", alert.name()),
                ("instance", alert.instance()),
                ("key", key),
                ("reason", reason),
                ("detail", words),
            ];
            if event == "escalation" {
                self.log.error(event, &values);
            } else {
                self.log.info(event, &values);
            }
        }
        let now = clock::now();
        let told = &record.owed;
        self.store()?
            .update(key, now, &mut |record| decision::handed_over(record, told))?;
        Ok(())
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

/// Writes what was counted. A count that cannot be written is said in the log.
pub fn save_counters(
    config: &Config,
    log: &mut Log,
    counted: BTreeMap<Option<AlertName>, Counters>,
) {
    for (name, more) in counted {
        if let Err(error) = counters::add(&config.state_dir, name.as_ref(), &more) {
            log.error("metrics_failed", &[("error", &error.to_string())]);
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
