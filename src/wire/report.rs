//! The answer to a notification, and its reasons in words.

use serde::Serialize;

use super::duration;
use super::timestamp::rfc3339;
use crate::judge::alert::cut;
use crate::judge::pauses::Pause;
use crate::judge::record::Reason;
use crate::judge::{Ending, Limits, Record, Rollback, Time, Verdict, Why};

/// What came of one alert.
#[derive(Clone, Debug)]
pub struct Report {
    /// The label, as sent.
    pub alertname: String,
    /// The label, as sent.
    pub instance: String,
    /// As sent; empty when there was none.
    pub fingerprint: String,
    /// The verdict.
    pub verdict: Verdict,
    /// The attempt, from 1; 0 when there was none.
    pub attempt: u32,
    /// Why, in words.
    pub detail: String,
}

#[derive(Serialize)]
struct Body<'a> {
    results: Vec<Line<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    truncated: u64,
}

#[derive(Serialize)]
struct Line<'a> {
    alertname: &'a str,
    instance: &'a str,
    fingerprint: &'a str,
    verdict: &'a str,
    settled: bool,
    attempt: u32,
    detail: &'a str,
}

/// The longest text of a sender that is sent back, in bytes: his log shows the answer.
const LONGEST: usize = 256;

/// The body of the answer: one JSON object on one line. `truncated` is how many alerts the sender cut off.
pub fn body(reports: &[Report], truncated: u64) -> String {
    let results = reports
        .iter()
        .map(|report| Line {
            alertname: cut(&report.alertname, LONGEST),
            instance: cut(&report.instance, LONGEST),
            fingerprint: &report.fingerprint,
            verdict: report.verdict.as_str(),
            settled: report.verdict.settled(),
            attempt: report.attempt,
            detail: &report.detail,
        })
        .collect();
    let mut text = serde_json::to_string(&Body { results, truncated }).unwrap_or_default();
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Healthy {
    healthy: bool,
}

/// The body of `GET /-/healthy`.
pub fn healthy() -> String {
    let mut text = serde_json::to_string(&Healthy { healthy: true }).unwrap_or_default();
    text.push('\n');
    text
}

#[derive(Serialize)]
struct Ready<'a> {
    ready: bool,
    problems: &'a [String],
}

/// The body of `GET /-/ready`: ready unless there are problems.
pub fn ready(problems: &[String]) -> String {
    let body = Ready {
        ready: problems.is_empty(),
        problems,
    };
    let mut text = serde_json::to_string(&body).unwrap_or_default();
    text.push('\n');
    text
}

/// The reason in words, for the answer and the log.
pub fn words(why: Why) -> String {
    match why {
        Why::Damaged(until) => {
            format!(
                "its record was damaged and kept aside; nothing runs until {}",
                rfc3339(until)
            )
        }
        Why::Survivor(process) => {
            format!(
                "process {} of an earlier run is alive and may not be ended",
                process.pid
            )
        }
        Why::InFlight => "its own run has not ended".to_owned(),
        Why::LateCopy(until) => {
            format!(
                "resolved came a moment ago; a late copy until {}",
                rfc3339(until)
            )
        }
        Why::Settling(until) => format!("healed; takes effect until {}", rfc3339(until)),
        Why::Open(reason, until) => {
            format!(
                "breaker open ({}); one attempt from {}",
                reason.as_str(),
                rfc3339(until)
            )
        }
        Why::Opened(reason) => format!("breaker opened: {}", opening(reason)),
        Why::RetryDelay(until) => format!("next attempt from {}", rfc3339(until)),
        Why::Ended(ending) => ended(ending),
        Why::Tripped(ending, reason) => {
            format!("{}; breaker opened: {}", ended(ending), opening(reason))
        }
        Why::EndedAfterResolved(ending) => {
            format!("{}; resolved came while it ran", ended(ending))
        }
        Why::StaleResolved => "ended before the known episode began; ignored".to_owned(),
        Why::Over => "the sender says it is over".to_owned(),
    }
}

/// Why a breaker opened or a person is told, in words.
pub fn opening(reason: Reason) -> &'static str {
    match reason {
        Reason::Failures => "as many failures in a row as there are attempts",
        Reason::Ineffective => "the handler exits 0 and the alert goes on firing",
        Reason::GaveUp => "the handler asked for a person (exit 2)",
        Reason::RunLimits => "more runs than the run limits allow",
        Reason::Deferrals => "deferred (exit 75), and not healed, for a whole attempt window",
        Reason::Interrupted => "a run lost its supervisor",
        Reason::Survivor => "a process of a run past its timeout may not be ended",
        Reason::Rollback => "what a failed handler changed could not be put back",
        Reason::Storm => "the host's limit on runs is reached",
        Reason::Truncated => "the sender cut alerts off",
    }
}

/// How a run ended, in words.
pub fn ended(ending: Ending) -> String {
    match ending {
        Ending::Exit(code) => format!("handler exit {code}"),
        Ending::Signal(number) => format!("handler ended by signal {number}"),
        Ending::TimedOut => "handler ended past its timeout".to_owned(),
        Ending::NotStarted => "handler could not be started".to_owned(),
        Ending::Lost => "how the handler ended is not known".to_owned(),
    }
}

/// What became of what a run had changed, as history and pages name it.
pub fn rollback(rollback: Rollback) -> Option<&'static str> {
    match rollback {
        Rollback::None => None,
        Rollback::Done => Some("restored"),
        Rollback::Failed => Some("failed"),
    }
}

/// What a record holds, in words.
pub fn standing(record: &Record, limits: &Limits, now: Time) -> String {
    if *record == Record::default() {
        return "never seen".to_owned();
    }
    let mut parts = Vec::new();
    match &record.episode {
        Some(episode) => match episode.closed_at {
            Some(at) => parts.push(format!("resolved at {}", rfc3339(at))),
            None => parts.push(format!("firing since {}", rfc3339(episode.starts_at))),
        },
        None => parts.push("nothing has run".to_owned()),
    }
    let counts = |end: &&Time| now.since(**end) < limits.attempt_window;
    let failed = record.failures.iter().filter(counts).count();
    if failed > 0 {
        parts.push(format!("{failed} of {} failures", limits.max_attempts));
    }
    if record.ineffective > 0 {
        let (count, most) = (record.ineffective, limits.max_attempts);
        parts.push(format!("{count} of {most} heals without effect"));
    }
    for limit in &limits.run_limits {
        let within = |start: &&Time| now.since(**start) < limit.window;
        let count = record.runs.iter().filter(within).count();
        if count > 0 {
            let window = duration::show(limit.window);
            parts.push(format!("{count} of {} runs within {window}", limit.runs));
        }
    }
    if let Some(breaker) = record.breaker.as_ref().filter(|_| record.breaker_open()) {
        let state = if breaker.half_open {
            "half-open"
        } else {
            "open"
        };
        let (reason, since) = (breaker.reason.as_str(), rfc3339(breaker.since));
        parts.push(format!("breaker {state} ({reason}) since {since}"));
    }
    if let Some(at) = record.healed_at {
        parts.push(format!("healed at {}, not verified", rfc3339(at)));
    }
    if let Some(at) = record.retry_from {
        parts.push(format!("last failed or deferred at {}", rfc3339(at)));
    }
    if let Some(run) = &record.in_flight {
        parts.push(format!("a run in flight since {}", rfc3339(run.started)));
    }
    if let Some(since) = record.unknown_since {
        parts.push(format!("was damaged, found at {}", rfc3339(since)));
    }
    parts.join("; ")
}

/// A storm in words: no more runs until then.
pub fn storm(until: Time) -> String {
    let until = rfc3339(until);
    format!("the host's run limit is reached; frees at {until}")
}

/// A pause in words.
pub fn pause(pause: &Pause) -> String {
    format!(
        "paused by {} until {}: {}",
        pause.who,
        rfc3339(pause.until),
        pause.why
    )
}

/// The outcome of a run as the metrics and the history name it.
pub fn outcome(ending: Ending) -> &'static str {
    match ending {
        Ending::Exit(0) => "healed",
        Ending::Exit(2) => "gave-up",
        Ending::Exit(75) => "deferred",
        Ending::Exit(_) => "failed",
        Ending::Signal(_) => "signal",
        Ending::TimedOut => "timeout",
        Ending::NotStarted => "not-started",
        Ending::Lost => "lost",
    }
}

fn is_zero(count: &u64) -> bool {
    *count == 0
}
