//! What in Alertmanager's configuration and in Prometheus' rules would make self-heal deaf, hasty or unheard. It
//! reads text and touches nothing; it does not repeat what `amtool check-config` and `promtool check rules` say, and
//! where a thing cannot be known it is silent: a false alarm is worse than a miss.
//!
//! Sources: alertmanager `dispatch/route.go` (inheritance, order), `dispatch/dispatch.go` (times), `notify/` (what
//! counts as notified), `inhibit/inhibit.go`; docs/alertmanager.md has the reasons in our terms.

mod alertmanager;
mod alerts;
mod inhibit;
mod kinds;
mod matchers;
mod promql;
mod receivers;
mod routes;
mod rules;
mod span;
mod times;
mod yaml;

use std::time::Duration;

use super::config::Config;
use super::directives::Directives;
use super::finding::Finding;
use super::quote::printable;
pub use kinds::{KINDS, LINTS, Lint};

/// `--cluster.peer-timeout` of Alertmanager, for one peer.
const PEER_TIMEOUT: Duration = Duration::from_secs(15);

/// A file, as it is named and what is in it.
#[derive(Clone, Copy, Debug)]
pub struct Text<'a> {
    /// Its name, for `file:line`.
    pub name: &'a str,
    /// What is in it.
    pub text: &'a str,
}

/// What the files are compared with.
#[derive(Clone, Debug)]
pub struct Context<'a> {
    /// `HEAL_PORT`: what a receiver of ours posts to.
    pub port: u16,
    /// The receiver to look at, where the port does not tell.
    pub receiver: Option<&'a str>,
    /// The handlers here; `None` where they could not be read.
    pub handlers: Option<Vec<Handler>>,
    /// What holds for an alert whose handler asks for nothing.
    pub usual: Limits,
    /// `HEAL_KILL_GRACE`.
    pub kill_grace: Duration,
    /// `HEAL_LOCK_WAIT`.
    pub lock_wait: Duration,
    /// `HEAL_ATTEMPT_WINDOW`.
    pub attempt_window: Duration,
    /// How long the last Alertmanager of a cluster waits for its peers.
    pub peers_wait: Duration,
    /// Whether `HEAL_TOKEN_FILE` is set.
    pub token: bool,
    /// Whether `HEAL_ALLOW_PEERS` is set.
    pub peers: bool,
    /// `HEAL_UNSETTLED_STATUS`.
    pub unsettled_status: u16,
}

/// The numbers that a handler's directives may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long it may run.
    pub timeout: Duration,
    /// How long a heal has to show its effect; zero turns that off.
    pub settle: Duration,
    /// From a failure to the next attempt.
    pub retry_delay: Duration,
    /// Failures, or heals without effect, that open the breaker.
    pub max_attempts: u32,
}

/// A handler: the alert it is for, and its effective numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// The alert's name.
    pub name: String,
    /// Configuration and directives together.
    pub limits: Limits,
}

impl Handler {
    /// The handler of this name under this configuration.
    pub fn new(name: &str, directives: &Directives, config: &Config) -> Handler {
        let limits = directives.overlay(&config.limits);
        Handler {
            name: name.to_owned(),
            limits: Limits {
                timeout: directives.timeout.unwrap_or(config.handler_timeout),
                settle: limits.settle,
                retry_delay: limits.retry_delay,
                max_attempts: limits.max_attempts,
            },
        }
    }
}

impl<'a> Context<'a> {
    /// What this configuration and these handlers say; a pair of Alertmanagers is assumed.
    pub fn new(config: &Config, handlers: Option<Vec<Handler>>) -> Context<'a> {
        Context {
            port: config.port,
            receiver: None,
            handlers,
            usual: Handler::new("", &Directives::default(), config).limits,
            kill_grace: config.kill_grace,
            lock_wait: config.lock_wait,
            attempt_window: config.limits.attempt_window,
            peers_wait: PEER_TIMEOUT,
            token: config.token_file.is_some(),
            peers: !config.allow_peers.is_empty(),
            unsettled_status: config.unsettled_status,
        }
    }

    fn handler(&self, alert: &str) -> Option<&Handler> {
        let handlers = self.handlers.as_deref().unwrap_or(&[]);
        handlers.iter().find(|handler| handler.name == alert)
    }

    /// What holds for an alert of this name.
    fn limits(&self, alert: &str) -> Limits {
        self.handler(alert)
            .map_or(self.usual, |handler| handler.limits)
    }
}

/// Everything found in Alertmanager's configuration, if it is given, and in these files of rules: in their order.
pub fn lint(
    alertmanager: Option<Text<'_>>,
    rules: &[Text<'_>],
    context: &Context<'_>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let documents: Vec<(&str, Option<yaml::Document>)> = rules
        .iter()
        .map(|file| (file.name, read(file, &mut findings)))
        .collect();
    let mut alerts = Vec::new();
    // What is missing is known only where every file could be read.
    let mut whole = true;
    for (name, document) in &documents {
        let found = document
            .as_ref()
            .map(|document| rules::read(document, name));
        match found {
            Some(Some(found)) => alerts.extend(found),
            Some(None) => {
                let what = "no `groups`: no file of rules".to_owned();
                Report::new(name, &mut findings).add(&kinds::OTHER_FILE, 1, what);
                whole = false;
            }
            None => whole = false,
        }
    }
    let mut routing = None;
    if let Some(file) = alertmanager {
        let document = read(&file, &mut findings);
        let mut report = Report::new(file.name, &mut findings);
        if let Some(document) = document {
            routing = alertmanager::lint(&document, &alerts, context, &mut report);
        }
    }
    let of_rules = rules::Files {
        first: rules.first().map(|file| file.name).filter(|_| whole),
        alerts: &alerts,
    };
    rules::lint(&of_rules, routing.as_ref(), context, &mut findings);
    findings
}

fn read(file: &Text<'_>, findings: &mut Vec<Finding>) -> Option<yaml::Document> {
    let mut report = Report::new(file.name, findings);
    // A byte order mark is no part of what it marks.
    let text = file.text.strip_prefix('\u{feff}').unwrap_or(file.text);
    match yaml::read(text) {
        Ok(document) => {
            if let Some(line) = document.second {
                report.add(
                    &kinds::MORE_DOCUMENTS,
                    line,
                    "a second document begins here".to_owned(),
                );
            }
            Some(document)
        }
        Err(broken) => {
            report.add(&kinds::BROKEN_YAML, broken.line, printable(&broken.why));
            None
        }
    }
}

/// More of one kind are not told: whoever has a hundred of them has one cause.
const MOST_OF_A_KIND: usize = 100;

/// Where findings of one file go.
struct Report<'a> {
    file: &'a str,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Report<'a> {
    fn new(file: &'a str, findings: &'a mut Vec<Finding>) -> Report<'a> {
        Report { file, findings }
    }

    fn add(&mut self, lint: &'static Lint, line: usize, what: String) {
        self.mend(lint, line, what, lint.mend.to_owned());
    }

    /// With a remedy of its own. What several routes inherit from one line is said once.
    fn mend(&mut self, lint: &'static Lint, line: usize, what: String, mend: String) {
        let finding = Finding {
            kind: &lint.kind,
            place: format!("{}:{line}", printable(self.file)),
            what: format!("{what}: {}", lint.why),
            mend,
        };
        let alike = || {
            let alike = |other: &&Finding| std::ptr::eq(other.kind, finding.kind);
            self.findings.iter().filter(alike)
        };
        let known = alike().any(|other| other.place == finding.place && other.what == finding.what);
        if !known && alike().count() < MOST_OF_A_KIND {
            self.findings.push(finding);
        }
    }
}

/// The first few names, each quoted.
fn named<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 3;
    let all: Vec<&str> = names.collect();
    let shown: Vec<String> = all
        .iter()
        .take(SHOWN)
        .map(|name| super::quote::quote(name))
        .collect();
    match all.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Of an alert; longer ones were no slip of the pen.
const LONGEST_NAME: usize = 128;

/// For a name that is not there: the one that was probably meant.
fn nearest<'n>(name: &str, others: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    if name.len() > LONGEST_NAME {
        return None;
    }
    let lower = name.to_ascii_lowercase();
    let slips = |other: &str| super::nearest::distance(&lower, &other.to_ascii_lowercase());
    let best = others.map(|other| (slips(other), other)).min()?;
    // Two slips, and fewer than half of the name.
    (best.0 <= 2 && best.0 * 2 < name.len()).then_some(best.1)
}

#[cfg(test)]
mod tests;
