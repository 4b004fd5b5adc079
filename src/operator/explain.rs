//! `self-heal explain`: what would come of a payload, or of an alert that an operator names. It goes through the very
//! gates, rules and parts of a run that `serve` goes through, as the account that serves would meet them, and does
//! nothing: it opens no log, makes no file, takes no lock.

use super::Refused;
use super::subject::{Named, Subject};
use crate::heal::{
    Case, Foreseen, Gates, foresee, foresee_resolved, is_hidden, lock_files, observed,
};
use crate::judge::admit::{self, Admission, Stance};
use crate::judge::record::Process;
use crate::judge::{Alert, AlertName, Run, Status, Time, Verdict};
use crate::ready;
use crate::serve::NOT_AS_ROOT;
use crate::serve::access::Access;
use crate::sys::catalog::Handler;
use crate::sys::process::ProcessId;
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{clock, files, identity, settings, token, viewpoint};
use crate::wire::config::{self, Config};
use crate::wire::directives::{Compat, LockScope, Mode};
use crate::wire::explanation::{End, Explained, Explanation, Gate, Mark, Plan};
use crate::wire::http::{self, Head, Progress, Reader, Refusal, Request, Status as Code};
use crate::wire::notification::{self, Notification, Posted};
use crate::wire::timestamp::rfc3339;
use crate::wire::{duration, records, report};

/// What is to be explained.
#[derive(Clone, Debug)]
pub enum Question {
    /// These bytes: a raw HTTP request, or the body of one.
    Payload(Vec<u8>),
    /// This alert.
    Alert(Subject),
}

/// Explains it.
///
/// # Errors
/// What is asked for is no payload and no alert.
pub fn explain(question: &Question) -> Result<Explanation, Refused> {
    let mut desk = Desk::open();
    match question {
        Question::Payload(bytes) => {
            if bytes.trim_ascii().is_empty() {
                let why = "there is no payload on standard input, and no --alert";
                return Err(Refused::Misused(why.to_owned()));
            }
            let body = if is_request(bytes) {
                desk.request(bytes)
            } else {
                Some(bytes.clone())
            };
            if let Some(body) = body {
                desk.notified(&body);
            }
        }
        Question::Alert(subject) => desk.named(subject)?,
    }
    Ok(desk.explanation)
}

/// Whether this begins as HTTP does: a line with a version at its end. JSON begins with a bracket.
fn is_request(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let version = line.trim_ascii_end().rsplit(|byte| *byte == b' ').next();
    !text.starts_with(b"{") && version.is_some_and(|word| word.starts_with(b"HTTP/"))
}

struct Desk {
    config: Config,
    store: Result<Store, StateError>,
    now: Time,
    explanation: Explanation,
}

impl Desk {
    /// The configuration and the account, as the first gates.
    fn open() -> Desk {
        let mut gates = Vec::new();
        let mut refused = None;
        let config = match settings::load_for_viewer() {
            Ok(config) => {
                gates.push(Gate::passed("configuration", configured()));
                config
            }
            Err(problems) => {
                gates.extend(
                    problems
                        .into_iter()
                        .map(|problem| told("configuration", problem)),
                );
                config::defaults()
            }
        };
        let account = identity::name_of(viewpoint::uid());
        let known = files::is_there(&config.state_dir);
        let whose = if known {
            format!("{account}, whose HEAL_STATE_DIR is")
        } else {
            format!("{account}, who asks: there is no HEAL_STATE_DIR yet")
        };
        if viewpoint::uid() == 0 && !config.allow_root {
            gates.push(Gate::stopped("account", format!("{whose}: {NOT_AS_ROOT}")));
        } else {
            gates.push(Gate::passed("account", whose));
        }
        if gates.iter().any(|gate| gate.mark == Mark::Stopped) {
            refused = Some(Code::ServiceUnavailable503.code());
        }
        let explanation = Explanation {
            gates,
            refused,
            alerts: Vec::new(),
            unsettled_status: config.unsettled_status,
        };
        Desk {
            store: Store::peek(&config.state_dir),
            config,
            now: clock::now(),
            explanation,
        }
    }

    fn gate(&mut self, gate: Gate) {
        self.explanation.gates.push(gate);
    }

    fn refuse(&mut self, name: &'static str, refusal: &Refusal) {
        let Refusal { status, reason } = refusal;
        let (code, phrase) = (status.code(), status.phrase());
        self.gate(Gate::stopped(name, format!("{code} {phrase}: {reason}")));
        self.explanation.refused.get_or_insert(code);
    }

    /// Takes a raw request through the reader and the gates of its head; its body, if that is reached.
    fn request(&mut self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.gate(Gate::told(
            "peer",
            "is judged when it connects (HEAL_ALLOW_PEERS, HEAL_ALLOW_USERS)",
        ));
        let access = self.access();
        let limits = http::Limits {
            max_body: self.config.max_body,
        };
        let mut reader = Reader::new(limits, |head: &Head| access.admits(head));
        let came = match reader.feed(bytes) {
            Ok(Progress::Done(request)) => Ok(request),
            Ok(_) => Err(reader.end()),
            Err(refusal) => Err(Some(refusal)),
        };
        let head = reader.head().cloned();
        if let Some(head) = &head {
            self.head(head, &access);
        }
        match came {
            Ok(Request { head, body }) if head.method.notifies() => {
                self.gate(Gate::passed("body", format!("{} bytes", body.len())));
                Some(body)
            }
            Ok(_) => {
                self.gate(Gate::stopped(
                    "method",
                    "asks for a page: no alert is in it",
                ));
                None
            }
            Err(Some(refusal)) => {
                self.refuse("request", &refusal);
                None
            }
            Err(None) => {
                self.gate(Gate::stopped("request", "nothing was asked"));
                None
            }
        }
    }

    /// The access that the configuration asks for; what this account may not see of it is told and left out.
    fn access(&mut self) -> Access {
        let mut config = self.config.clone();
        if let Some(path) = config
            .token_file
            .clone()
            .filter(|path| token::is_hidden(path))
        {
            let saw = format!("HEAL_TOKEN_FILE {} cannot be read by you", path.display());
            self.gate(Gate::unknown("token", saw));
            config.token_file = None;
        } else if config.token_file.is_none() {
            self.gate(Gate::passed("token", "none is asked for"));
        }
        match Access::load(&config) {
            Ok(access) => access,
            Err(problems) => {
                for problem in problems {
                    self.gate(Gate::stopped("configuration", problem));
                }
                self.explanation.refused = Some(Code::ServiceUnavailable503.code());
                Access::default()
            }
        }
    }

    fn head(&mut self, head: &Head, access: &Access) {
        let method = head.method.as_str();
        self.gate(Gate::passed("method", format!("{method} {}", head.path)));
        let origin = if head.origin {
            Gate::stopped("origin", "there is one: a browser was made to send it")
        } else {
            Gate::passed("origin", "none, so no browser sent it")
        };
        self.gate(origin);
        if access.token.is_some() {
            self.gate(match (access.admits(head), &head.authorization) {
                (Ok(()), _) => Gate::passed("token", "is right"),
                (Err(_), None) => Gate::stopped("token", "is missing"),
                (Err(_), Some(_)) => Gate::stopped("token", "is wrong"),
            });
        }
        let media = head.content_type();
        let media = media.unwrap_or_else(|| "none, which is taken for JSON".to_owned());
        self.gate(Gate::told("content type", media));
    }

    fn notified(&mut self, body: &[u8]) {
        match notification::parse(body) {
            Ok(notification) => self.judge(&notification, None),
            Err(why) => {
                let refusal = Refusal::new(Code::BadRequest400, why);
                self.refuse("payload", &refusal);
            }
        }
    }

    fn named(&mut self, subject: &Subject) -> Result<(), Refused> {
        let listed = match &self.store {
            Ok(store) => store.list_all().map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let records = match listed {
            Ok(records) => records,
            Err(why) => {
                self.gate(told("records", why));
                Vec::new()
            }
        };
        let Named { notification, key } = subject.named(&records, "self-heal explain", self.now)?;
        self.judge(&notification, key.as_deref());
        Ok(())
    }

    /// Every alert, in payload order, unless the request as a whole is refused.
    fn judge(&mut self, notification: &Notification, key: Option<&str>) {
        for warning in &notification.warnings {
            self.gate(Gate::told("payload", warning.as_str()));
        }
        if notification.truncated > 0 {
            let saw = format!(
                "{} alerts were cut off by the sender, which never delivers them: set max_alerts: 0",
                notification.truncated
            );
            self.gate(Gate::told("payload", saw));
        }
        if self.explanation.refused.is_some() {
            return;
        }
        let text = ready::allow_list_text(&self.config);
        let allowed = ready::allow_list(&self.config);
        if let Ok(list) = &allowed {
            for problem in ready::unread_lines(&self.config, list) {
                self.gate(Gate::told("allow-list", problem));
            }
        }
        let gates = Gates::new(allowed, self.store.as_ref());
        let own = ProcessId::own().map(Process::from).unwrap_or_default();
        let looker = Looker {
            config: &self.config,
            store: self.store.as_ref(),
            notification,
            gates: &gates,
            list: text.as_deref().unwrap_or_default(),
            own,
            now: self.now,
        };
        let alerts = notification.alerts.iter();
        let explained: Vec<Explained> = alerts.map(|posted| looker.look(posted, key)).collect();
        self.explanation.alerts = explained;
    }
}

/// What it takes to look at an alert.
struct Looker<'a> {
    config: &'a Config,
    store: Result<&'a Store, &'a StateError>,
    notification: &'a Notification,
    gates: &'a Gates,
    /// The text of the allow-list.
    list: &'a str,
    own: Process,
    now: Time,
}

impl Looker<'_> {
    fn look(&self, posted: &Posted, key: Option<&str>) -> Explained {
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
                self.end(Some(&case), foreseen)
            }
            (Admission::Observed(name), Some(handler)) => {
                let case = self.case(posted, name, handler, &key);
                self.observed(&case, &mut gates)
            }
            // Nobody can take it away between the two.
            (_, None) => End::Unknown("the handler vanished".to_owned()),
        };
        Explained {
            alertname: alert.name().to_owned(),
            instance: alert.instance().to_owned(),
            fingerprint: alert.fingerprint.clone().unwrap_or_default(),
            key,
            gates,
            end,
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
                    let text = self.list.lines().nth(line.saturating_sub(1));
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

fn judged(name: &'static str, good: bool, saw: &str) -> Gate {
    let mark = if good { Mark::Passed } else { Mark::Stopped };
    Gate {
        name,
        mark,
        saw: saw.to_owned(),
    }
}

/// A stop, unless it is only that this account may not look.
fn told(name: &'static str, why: String) -> Gate {
    if is_hidden(&why) {
        Gate::unknown(name, why)
    } else {
        Gate::stopped(name, why)
    }
}

/// Where the configuration comes from.
fn configured() -> String {
    let path = settings::file();
    let shown = path.display();
    if files::is_there(&path) {
        shown.to_string()
    } else {
        format!("{shown} is not there: defaults, and the environment")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_known_by_its_first_line() {
        for request in [
            "POST / HTTP/1.1\r\n\r\n",
            "\r\nGET /x HTTP/1.0\n",
            "PUT / HTTP/9.9",
        ] {
            assert!(is_request(request.as_bytes()), "{request}");
        }
        for body in ["{\"a\":\"POST / HTTP/1.1\"}", "[]", "{\n", "nonsense", ""] {
            assert!(!is_request(body.as_bytes()), "{body}");
        }
    }
}
