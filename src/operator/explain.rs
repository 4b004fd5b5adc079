//! `self-heal explain`: what would come of a payload, or of an alert that an operator names. It goes through the very
//! gates, rules and parts of a run that `serve` goes through, as the account that serves would meet them, and does
//! nothing: it opens no log, makes no file, takes no lock.

use super::Refused;
use super::subject::{Named, Subject};
use crate::heal::{Gates, is_hidden};
use crate::judge::Time;
use crate::judge::record::Process;
use crate::ready;
use crate::serve::NOT_AS_ROOT;
use crate::serve::access::Access;
use crate::sys::process::ProcessId;
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{clock, files, identity, settings, token, viewpoint};
use crate::wire::config::{self, Config};
use crate::wire::explanation::{Explained, Explanation, Gate, Mark};
use crate::wire::http::{self, Head, Progress, Reader, Refusal, Request, Status};
use crate::wire::notification::{self, Notification};

mod alert;

use alert::Looker;

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
/// What is asked for is no payload and no alert; or root may not become the account that serves.
pub fn explain(question: &Question) -> Result<Explanation, Refused> {
    settings::become_viewer().map_err(Refused::Failed)?;
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
        let config = match settings::load() {
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
            format!("{account}, the owner of {}", config.state_dir.display())
        } else {
            let folder = config.state_dir.display();
            format!("{account}, who asks: there is no {folder} yet")
        };
        if viewpoint::uid() == 0 && !config.allow_root {
            gates.push(Gate::stopped("account", format!("{whose}: {NOT_AS_ROOT}")));
        } else {
            gates.push(Gate::passed("account", whose));
        }
        if gates.iter().any(|gate| gate.mark == Mark::Stopped) {
            refused = Some(Status::ServiceUnavailable503.code());
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
                    "is no notification: there is no alert in it",
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
                self.explanation.refused = Some(Status::ServiceUnavailable503.code());
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
                let refusal = Refusal::new(Status::BadRequest400, why);
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
        let Named { notification, key } =
            subject.named(&records, super::run::RECEIVER, self.now)?;
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
            list: text.as_deref().ok(),
            own,
            now: self.now,
        };
        let alerts = notification.alerts.iter();
        let explained: Vec<Explained> = alerts.map(|posted| looker.look(posted, key)).collect();
        self.explanation.alerts = explained;
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
