//! What `self-heal explain` says: the gates of a request and of each alert in it, what each met there, and what would
//! come of it. For a person, or as JSON whose form is documented. It knows nothing that it was not told.

use std::collections::BTreeMap;

use serde::Serialize;

use super::duration;
use super::meaning::remedy;
use super::paint::{Paint, Tone};
use super::quote::{json, printable, shell};
use crate::judge::Verdict;

/// What became of whoever came to a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Mark {
    /// It got past.
    #[serde(rename = "ok")]
    Passed,
    /// It was stopped.
    #[serde(rename = "stop")]
    Stopped,
    /// Worth knowing; nobody is stopped.
    #[serde(rename = "note")]
    Told,
    /// This account may not look.
    Unknown,
}

impl Mark {
    fn shown(self) -> (Tone, &'static str) {
        match self {
            Mark::Passed => (Tone::Good, "ok"),
            Mark::Stopped => (Tone::Bad, "stop"),
            Mark::Told => (Tone::Faint, "-"),
            Mark::Unknown => (Tone::Warning, "?"),
        }
    }
}

/// One gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gate {
    /// Its name.
    #[serde(rename = "gate")]
    pub name: &'static str,
    /// What became of it there.
    pub mark: Mark,
    /// What was seen there, in words; any text.
    pub saw: String,
}

impl Gate {
    /// One that was passed.
    pub fn passed(name: &'static str, saw: impl Into<String>) -> Gate {
        let (mark, saw) = (Mark::Passed, saw.into());
        Gate { name, mark, saw }
    }

    /// One that stops.
    pub fn stopped(name: &'static str, saw: impl Into<String>) -> Gate {
        let (mark, saw) = (Mark::Stopped, saw.into());
        Gate { name, mark, saw }
    }

    /// Something worth knowing.
    pub fn told(name: &'static str, saw: impl Into<String>) -> Gate {
        let (mark, saw) = (Mark::Told, saw.into());
        Gate { name, mark, saw }
    }

    /// One that this account cannot tell of.
    pub fn unknown(name: &'static str, saw: impl Into<String>) -> Gate {
        let (mark, saw) = (Mark::Unknown, saw.into());
        Gate { name, mark, saw }
    }
}

/// What a run would be made of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Of how many attempts in a row it would be one.
    pub max_attempts: u32,
    /// The command line, word by word.
    pub command: Vec<String>,
    /// The folder it works in.
    pub directory: String,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// What the environment lacks, and why.
    pub left_out: BTreeMap<String, &'static str>,
    /// How many bytes it can read.
    pub input_bytes: usize,
    /// Where its output goes.
    pub log: String,
    /// The lock's files: exclusive, or the first one shared where there are two.
    pub locks: Vec<String>,
    /// How long it may run.
    pub timeout_ms: u64,
    /// From TERM to KILL.
    pub grace_ms: u64,
    /// What is copied before, and put back if it fails.
    pub snapshot: Vec<String>,
}

/// What would come of an alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// Its handler would run.
    Run(u32, Box<Plan>),
    /// It would be answered: verdict, attempt, and why.
    Answer(Verdict, u32, String),
    /// This account cannot tell, and why.
    Unknown(String),
}

/// One alert.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explained {
    /// The label, as sent.
    pub alertname: String,
    /// The label, as sent.
    pub instance: String,
    /// As sent; empty when there is none.
    pub fingerprint: String,
    /// The key of its record.
    pub key: String,
    /// Its gates.
    pub gates: Vec<Gate>,
    /// What would come of it.
    pub end: End,
    /// What to do about it, where that is not what its verdict says.
    pub cure: Option<&'static str>,
}

impl Explained {
    /// Whether it is as a healer wants it: it would run, or it is over.
    pub fn well(&self) -> bool {
        matches!(self.end, End::Run(..) | End::Answer(Verdict::Resolved, ..))
    }

    /// The verdict; `run`, or `unknown`, where there is none yet.
    fn would(&self) -> &'static str {
        match &self.end {
            End::Run(..) => "run",
            End::Answer(verdict, ..) => verdict.as_str(),
            End::Unknown(_) => "unknown",
        }
    }
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What the whole request meets.
    pub gates: Vec<Gate>,
    /// The status code that refuses it, before any alert is judged.
    pub refused: Option<u16>,
    /// Its alerts, in payload order.
    pub alerts: Vec<Explained>,
    /// The status code of an answer with an unsettled alert.
    pub unsettled_status: u16,
}

#[derive(Serialize)]
struct Shape<'a> {
    gates: &'a [Gate],
    status: Option<u16>,
    alerts: Vec<AlertShape<'a>>,
}

#[derive(Serialize)]
struct AlertShape<'a> {
    alertname: &'a str,
    instance: &'a str,
    fingerprint: &'a str,
    key: &'a str,
    gates: &'a [Gate],
    would: &'static str,
    settled: Option<bool>,
    attempt: u32,
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<&'a Plan>,
}

impl Explanation {
    /// Whether every alert would run or is over, and there is one.
    pub fn well(&self) -> bool {
        self.refused.is_none() && !self.alerts.is_empty() && self.alerts.iter().all(Explained::well)
    }

    /// The status code of the answer, as far as it is known: what a handler comes to is not.
    fn status(&self) -> Option<u16> {
        if self.refused.is_some() {
            return self.refused;
        }
        let verdicts = self.alerts.iter().map(|alert| match &alert.end {
            End::Answer(verdict, ..) => Some(*verdict),
            _ => None,
        });
        let verdicts: Option<Vec<Verdict>> = verdicts.collect();
        let settled = verdicts?.into_iter().all(Verdict::settled);
        Some(if settled { 200 } else { self.unsettled_status })
    }

    /// As one JSON object on one line.
    pub fn to_json(&self) -> String {
        let alert = |alert: &'_ Explained| {
            let (settled, attempt, detail, run) = match &alert.end {
                End::Run(attempt, plan) => (None, *attempt, "", Some(&**plan)),
                End::Answer(verdict, attempt, detail) => {
                    (Some(verdict.settled()), *attempt, detail.as_str(), None)
                }
                End::Unknown(why) => (None, 0, why.as_str(), None),
            };
            (settled, attempt, detail.to_owned(), run.cloned())
        };
        let ends: Vec<_> = self.alerts.iter().map(alert).collect();
        let alerts = self.alerts.iter().zip(&ends);
        let shape = Shape {
            gates: &self.gates,
            status: self.status(),
            alerts: alerts
                .map(|(alert, (settled, attempt, detail, run))| AlertShape {
                    alertname: &alert.alertname,
                    instance: &alert.instance,
                    fingerprint: &alert.fingerprint,
                    key: &alert.key,
                    gates: &alert.gates,
                    would: alert.would(),
                    settled: *settled,
                    attempt: *attempt,
                    detail,
                    run: run.as_ref(),
                })
                .collect(),
        };
        let text = serde_json::to_string(&shape).unwrap_or_default();
        format!("{}\n", json(&text))
    }

    /// For a person: one line a gate, then what would come of it.
    pub fn render(&self, paint: Paint) -> String {
        let mut out = paint.text(Tone::Strong, "before any alert");
        out.push('\n');
        out.push_str(&gates(&self.gates, paint));
        for alert in &self.alerts {
            let title = format!("{} on {}", shown(&alert.alertname), shown(&alert.instance));
            out.push_str(&format!("\n{}\n", paint.text(Tone::Strong, &title)));
            out.push_str(&gates(&alert.gates, paint));
            out.push_str(&end(alert, paint));
        }
        if let Some(status) = self.status() {
            let words = match (self.refused, status) {
                (Some(_), _) => "nothing of it is judged",
                (None, 200) => "the sender is done",
                (None, _) => "the sender asks again",
            };
            let tone = if status < 300 {
                Tone::Good
            } else {
                Tone::Warning
            };
            let code = paint.text(tone, &status.to_string());
            out.push_str(&format!("\nthe answer would be {code}: {words}\n"));
        }
        out
    }
}

fn shown(label: &str) -> String {
    match label {
        "" => "(none)".to_owned(),
        label => printable(label),
    }
}

fn gates(gates: &[Gate], paint: Paint) -> String {
    let rows: Vec<Vec<(Tone, String)>> = gates
        .iter()
        .map(|gate| {
            let (tone, mark) = gate.mark.shown();
            vec![
                (tone, mark.to_owned()),
                (Tone::Plain, gate.name.to_owned()),
                (Tone::Plain, printable(&gate.saw)),
            ]
        })
        .collect();
    paint.columns("  ", &rows)
}

fn end(alert: &Explained, paint: Paint) -> String {
    match &alert.end {
        End::Run(attempt, plan) => {
            let words = format!("would run attempt {attempt} of {}", plan.max_attempts);
            format!(
                "  {}\n{}",
                paint.text(Tone::Good, &words),
                plan.render(paint)
            )
        }
        End::Answer(verdict, _, detail) => {
            let settled = if verdict.settled() {
                "settled"
            } else {
                "unsettled"
            };
            let tone = match verdict {
                Verdict::Resolved => Tone::Good,
                verdict if verdict.settled() => Tone::Warning,
                _ => Tone::Bad,
            };
            let words = paint.text(tone, &format!("would answer {}", verdict.as_str()));
            format!(
                "  {words} ({settled}): {}\n  what to do: {}\n",
                printable(detail),
                alert.cure.map_or_else(|| remedy(*verdict), str::to_owned)
            )
        }
        End::Unknown(why) => {
            let words = paint.text(Tone::Warning, "cannot be told by this account");
            format!(
                "  {words}: {}\n  what to do: ask with sudo\n",
                printable(why)
            )
        }
    }
}

impl Plan {
    fn render(&self, paint: Paint) -> String {
        let words: Vec<String> = self.command.iter().map(|word| shell(word)).collect();
        let span = |ms| duration::show(std::time::Duration::from_millis(ms));
        let mut rows = vec![
            ("command", words.join(" ")),
            ("directory", printable(&self.directory)),
            (
                "input",
                format!(
                    "{} bytes: the notification with this alert",
                    self.input_bytes
                ),
            ),
            ("output", printable(&self.log)),
        ];
        for (at, lock) in self.locks.iter().enumerate() {
            let shared = at + 1 < self.locks.len();
            let how = if shared { " (shared)" } else { "" };
            rows.push(("lock", format!("{}{how}", printable(lock))));
        }
        let (timeout, grace) = (span(self.timeout_ms), span(self.grace_ms));
        rows.push((
            "timeout",
            format!("{timeout}, then TERM, then KILL after {grace}"),
        ));
        let snapshot = self
            .snapshot
            .iter()
            .map(|path| ("snapshot", printable(path)));
        rows.extend(snapshot);
        let variables = self.environment.iter();
        rows.extend(
            variables.map(|(name, value)| ("environment", format!("{name}={}", shell(value)))),
        );
        let left_out = self.left_out.iter();
        rows.extend(
            left_out.map(|(name, why)| ("left out", format!("{} ({why})", printable(name)))),
        );
        let mut last = "";
        let rows: Vec<Vec<(Tone, String)>> = rows
            .into_iter()
            .map(|(name, value)| {
                let head = if name == std::mem::replace(&mut last, name) {
                    ""
                } else {
                    name
                };
                vec![(Tone::Faint, head.to_owned()), (Tone::Plain, value)]
            })
            .collect();
        paint.columns("    ", &rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explanation(end: End) -> Explanation {
        Explanation {
            gates: vec![Gate::passed("configuration", "/c")],
            refused: None,
            alerts: vec![Explained {
                alertname: "A".into(),
                instance: "i\n".into(),
                fingerprint: String::new(),
                key: "k".into(),
                gates: vec![Gate::told("limit", "x")],
                end,
                cure: None,
            }],
            unsettled_status: 503,
        }
    }

    #[test]
    fn an_answer_is_told_with_its_remedy_and_its_status() {
        for (verdict, status, well) in [
            (Verdict::Resolved, 200, true),
            (Verdict::NotAllowed, 200, false),
            (Verdict::Busy, 503, false),
        ] {
            let explanation = explanation(End::Answer(verdict, 0, "why".into()));
            assert_eq!(explanation.status(), Some(status));
            assert_eq!(explanation.well(), well);
            let text = explanation.render(Paint::default());
            let line = format!("would answer {} (", verdict.as_str());
            assert!(
                text.contains(&line) && text.contains(&remedy(verdict)),
                "{text}"
            );
            assert!(text.contains("\nA on i\\n\n  -  limit  x\n"), "{text}");
            let json = explanation.to_json();
            assert!(
                json.contains(&format!("\"would\":\"{}\"", verdict.as_str())),
                "{json}"
            );
        }
        assert_eq!(explanation(End::Unknown("w".into())).status(), None);
        assert_eq!(Explanation::default().status(), Some(200));
        assert!(!Explanation::default().well());
    }

    #[test]
    fn a_run_is_told_in_words_of_a_shell() {
        let plan = Plan {
            max_attempts: 3,
            command: vec!["/h".into(), "a b".into()],
            environment: BTreeMap::from([("A".to_owned(), "it's".to_owned())]),
            locks: vec!["/one".into(), "/two".into()],
            timeout_ms: 61_000,
            ..Plan::default()
        };
        let explanation = explanation(End::Run(2, Box::new(plan)));
        let text = explanation.render(Paint::default());
        for line in [
            "  would run attempt 2 of 3",
            "    command      /h 'a b'",
            "    lock         /one (shared)",
            "                 /two",
            "    timeout      1m1s, then TERM, then KILL after 0s",
            "    environment  A='it'\\''s'",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(explanation.well() && explanation.status().is_none());
    }
}
