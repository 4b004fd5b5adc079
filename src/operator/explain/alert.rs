//! One alert, explained: what it met at each gate as a line, and what a run of it would be made of.

use super::told;
use crate::heal::{Case, Foreseen, Gates, foresee, foresee_resolved, lock_files, observed};
use crate::judge::admit::{self, Admission, Stance};
use crate::judge::record::Process;
use crate::judge::{Alert, AlertName, Run, Status, Time, Verdict};
use crate::sys::catalog::Handler;
use crate::sys::files;
use crate::sys::interpreter::{self, Unfound};
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::wire::config::Config;
use crate::wire::directives::{Compat, LockScope, Mode};
use crate::wire::explanation::{End, Explained, Gate, Mark, Plan};
use crate::wire::notification::{Notification, Posted};
use crate::wire::timestamp::rfc3339;
use crate::wire::{duration, records, report};

/// What to do where no instance is allowed because of the list itself.
const LIST_UNUSABLE: &str =
    "mend what the detail names: until then the list (HEAL_ALLOWED_INSTANCES) allows nothing";

/// What it takes to look at an alert.
pub(super) struct Looker<'a> {
    pub(super) config: &'a Config,
    pub(super) store: Result<&'a Store, &'a StateError>,
    pub(super) notification: &'a Notification,
    pub(super) gates: &'a Gates,
    /// The text of the allow-list, if it can be used.
    pub(super) list: Option<&'a str>,
    pub(super) own: Process,
    pub(super) now: Time,
}

impl Looker<'_> {
    pub(super) fn look(&self, posted: &Posted, key: Option<&str>) -> Explained {
        let alert = &posted.alert;
        let key = key.map_or_else(|| records::key(alert), str::to_owned);
        let mut gates = Vec::new();
        let seen = &mut |gate: admit::Gate<'_>| gates.push(self.shown(alert, &gate));
        let admitted = self.gates.admit(self.config, alert, self.now, seen);
        let (handler, admission) = (admitted.handler.as_ref(), &admitted.admission);
        if let Some(handler) = handler {
            self.show_handler(handler, &mut gates);
        }
        let end = match (admission, handler) {
            (Admission::Resolved, _) => {
                let (limits, now) = (&self.config.limits, self.now);
                let seen = &mut |gate| gates.push(gate);
                let foreseen = foresee_resolved(self.store, &key, alert, limits, now, seen);
                self.end(None, foreseen)
            }
            (Admission::Stopped(verdict, why), _) => {
                let foreseen = Foreseen::answer(*verdict, why.clone());
                if let Some(last) = gates.last_mut() {
                    *last = told(last.name, why.clone());
                }
                self.end(None, foreseen)
            }
            (Admission::Paused(words), _) => End::Answer(Verdict::Paused, 0, words.clone()),
            (Admission::Candidate(name), Some(handler)) => {
                let case = self.case(posted, name, handler, &key);
                let seen = &mut |gate| gates.push(gate);
                let foreseen = foresee(&case, self.store, self.own, self.now, seen);
                let foreseen = started(handler, foreseen, &mut gates);
                self.end(Some(&case), foreseen)
            }
            (Admission::Observed(name), Some(handler)) => {
                let case = self.case(posted, name, handler, &key);
                self.observed(&case, &mut gates)
            }
            // Nobody can take it away between the two.
            (_, None) => End::Unknown("the handler vanished".to_owned()),
        };
        // Not the instance's fault: no line put there would help.
        let cure = matches!(end, End::Answer(Verdict::NotAllowed, ..))
            .then_some(LIST_UNUSABLE)
            .filter(|_| self.list.is_none() && !alert.instance().is_empty());
        Explained {
            alertname: alert.name().to_owned(),
            instance: alert.instance().to_owned(),
            fingerprint: alert.fingerprint.clone().unwrap_or_default(),
            key,
            gates,
            end,
            cure,
        }
    }

    fn case<'b>(
        &'b self,
        posted: &'b Posted,
        name: &'b AlertName,
        handler: &'b Handler,
        key: &str,
    ) -> Case<'b> {
        Case::new(
            self.config,
            self.notification,
            posted,
            name,
            handler,
            key.to_owned(),
        )
    }

    /// An alert that is judged by its record and told.
    fn observed(&self, case: &Case<'_>, gates: &mut Vec<Gate>) -> End {
        let read = match self.store {
            Ok(store) => store.read(&case.key).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(record) => {
                let shown = record.as_ref().map_or_else(
                    || Gate::told("record", "damaged"),
                    |record| {
                        Gate::passed("record", report::standing(record, &case.limits, self.now))
                    },
                );
                gates.push(shown);
                let said = observed(case, record.as_ref(), self.own, self.now);
                End::Answer(Verdict::Observed, said.attempt, said.detail)
            }
            Err(why) => {
                gates.push(told("record", why.clone()));
                self.end(None, Foreseen::answer(Verdict::Error, why))
            }
        }
    }

    fn end(&self, case: Option<&Case<'_>>, foreseen: Foreseen) -> End {
        match (foreseen, case) {
            (Foreseen::Run(run), Some(case)) => End::Run(run.attempt, Box::new(plan(case, &run))),
            (Foreseen::Run(_), None) => End::Unknown("the handler vanished".to_owned()),
            (
                Foreseen::Answer {
                    verdict,
                    attempt,
                    detail,
                },
                _,
            ) => End::Answer(verdict, attempt, detail),
            (Foreseen::Unknown(why), _) => End::Unknown(why),
        }
    }

    /// What an alert met at a gate, as a line.
    fn shown(&self, alert: &Alert, gate: &admit::Gate<'_>) -> Gate {
        let (name, instance) = (alert.name(), alert.instance());
        match gate {
            admit::Gate::Status(Status::Firing) => {
                let since = alert.starts_at.map_or_else(
                    || "firing; the sender does not say since when".to_owned(),
                    |at| format!("firing since {}", rfc3339(at)),
                );
                Gate::passed("status", since)
            }
            admit::Gate::Status(Status::Resolved) => Gate::passed("status", "resolved"),
            admit::Gate::Name(good) => judged("alertname", *good, name),
            admit::Gate::Instance(good) => judged("instance", *good, instance),
            admit::Gate::Allowed(line) => {
                let list = self.config.allowed_instances.display();
                let saw = line.map(|line| {
                    let list_text = self.list.unwrap_or_default();
                    let text = list_text.lines().nth(line.saturating_sub(1));
                    format!("{list}:{line}: {}", text.unwrap_or_default().trim())
                });
                judged("allow-list", line.is_some(), &saw.unwrap_or_default())
            }
            admit::Gate::Handler(admit::Handler::Ready(_)) => Gate::passed("handler", ""),
            admit::Gate::Handler(_) => Gate::stopped("handler", ""),
            admit::Gate::Pause(Ok(None)) => Gate::passed("pause", "none"),
            admit::Gate::Pause(Ok(Some(words))) => Gate::stopped("pause", words.as_str()),
            admit::Gate::Pause(Err(why)) => told("pause", why.clone()),
            admit::Gate::Stance(Stance::Act) => Gate::passed("mode", "heal"),
            admit::Gate::Stance(Stance::Observe) => {
                let why = if self.config.observe {
                    "HEAL_OBSERVE=yes"
                } else {
                    "the handler's mode=observe"
                };
                Gate::stopped("mode", format!("observe ({why})"))
            }
        }
    }

    /// Fills the handler's line, and puts below it what it asks for and what it gets.
    fn show_handler(&self, handler: &Handler, gates: &mut Vec<Gate>) {
        let Some(at) = gates.iter().position(|gate| gate.name == "handler") else {
            return;
        };
        let mut saw = format!(
            "{} ({}), sha256 {}",
            handler.path.display(),
            files::described(&handler.path),
            handler.sha256
        );
        if let Some(interpreter) = handler.interpreter {
            saw = format!("{saw}, run by {}", interpreter.display());
        }
        let mut lines = vec![Gate::passed("handler", saw)];
        lines.extend(limits(self.config, handler).map(|saw| Gate::told("limit", saw)));
        lines.extend(wishes(handler).map(|saw| Gate::told("directive", saw)));
        gates.splice(at..=at, lines);
    }
}

/// Whether a run that would begin finds what runs its handler. Who serves learns it when the run is counted already, and
/// takes it back.
fn started(handler: &Handler, foreseen: Foreseen, gates: &mut Vec<Gate>) -> Foreseen {
    let Foreseen::Run(run) = &foreseen else {
        return foreseen;
    };
    match interpreter::look(&handler.path, handler.interpreter) {
        Ok(()) => foreseen,
        Err(Unfound::ByTheKernel(why)) => {
            let detail = format!(
                "handler could not be started; {}: {why}",
                handler.path.display()
            );
            gates.push(Gate::stopped("start", detail.as_str()));
            Foreseen::Answer {
                verdict: Verdict::Error,
                attempt: run.attempt,
                detail,
            }
        }
        Err(Unfound::ByEnv(why)) => {
            let saw = format!("{why}: it would end with 127, which is failed");
            gates.push(Gate::told("start", saw));
            foreseen
        }
    }
}

fn judged(name: &'static str, good: bool, saw: &str) -> Gate {
    let mark = if good { Mark::Passed } else { Mark::Stopped };
    Gate {
        name,
        mark,
        saw: saw.to_owned(),
    }
}

/// The limits in effect, and where each comes from.
fn limits(config: &Config, handler: &Handler) -> impl Iterator<Item = String> {
    let own = &handler.directives;
    let limits = own.overlay(&config.limits);
    let timeout = own.timeout.unwrap_or(config.handler_timeout);
    let window = duration::show(limits.attempt_window);
    let runs = limits.run_limits.iter();
    let runs: Vec<String> = runs
        .map(|limit| format!("{}/{}", limit.runs, duration::show(limit.window)))
        .collect();
    [
        (
            "timeout",
            duration::show(timeout),
            own.timeout.is_some(),
            "HEAL_HANDLER_TIMEOUT",
        ),
        (
            "max-attempts",
            limits.max_attempts.to_string(),
            own.max_attempts.is_some(),
            "HEAL_MAX_ATTEMPTS",
        ),
        ("attempt window", window, false, "HEAL_ATTEMPT_WINDOW"),
        (
            "retry-delay",
            duration::show(limits.retry_delay),
            own.retry_delay.is_some(),
            "HEAL_RETRY_DELAY",
        ),
        (
            "settle",
            duration::show(limits.settle),
            own.settle.is_some(),
            "HEAL_SETTLE",
        ),
        ("runs", runs.join(","), false, "HEAL_RUN_LIMITS"),
    ]
    .into_iter()
    .map(|(name, value, own, key)| {
        let from = if own { "its directive" } else { key };
        format!("{name} {value} ({from})")
    })
}

/// What else the handler asks for by its directives.
fn wishes(handler: &Handler) -> impl Iterator<Item = String> {
    let own = &handler.directives;
    let lock = own.lock.map(|scope| match scope {
        LockScope::Alert => "lock=alert".to_owned(),
        LockScope::Instance if own.snapshot.is_empty() => "lock=instance".to_owned(),
        LockScope::Instance => {
            "lock=instance, which snapshot= outranks: one run at a time".to_owned()
        }
    });
    let mode = own.mode.map(|Mode::Observe| "mode=observe".to_owned());
    let compat = own.compat.map(|Compat::Amx| "compat=amx".to_owned());
    let snapshot = own.snapshot.iter().map(|path| {
        let there = if files::is_there(path) {
            ""
        } else {
            " (is not there)"
        };
        format!("snapshot={}{there}", path.display())
    });
    let hook = handler.restored.as_ref();
    let hook = hook.map(|hook| format!("{} runs after a restore", hook.path.display()));
    lock.into_iter()
        .chain(mode)
        .chain(compat)
        .chain(snapshot)
        .chain(hook)
        .collect::<Vec<_>>()
        .into_iter()
}

/// What the run would be made of.
fn plan(case: &Case<'_>, run: &Run) -> Plan {
    let environment = case.environment(run);
    let ms = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let paths = case.handler.directives.snapshot.iter();
    Plan {
        max_attempts: case.limits.max_attempts,
        command: case.words(),
        directory: "/".to_owned(),
        environment: environment.variables.into_iter().collect(),
        left_out: environment.left_out.into_iter().collect(),
        input_bytes: case.input().len(),
        log: case.log().display().to_string(),
        locks: lock_files(case)
            .iter()
            .map(|path| path.display().to_string())
            .collect(),
        timeout_ms: ms(case.timeout),
        grace_ms: ms(case.config.kill_grace),
        snapshot: paths.map(|path| path.display().to_string()).collect(),
    }
}
