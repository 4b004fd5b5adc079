//! The history's lines: one JSON object each, bound to the one before by its sha256.

use serde::Serialize;

use super::chronicle::chain;
use super::records::{hex, hex_digest};
use super::timestamp::rfc3339;
use crate::judge::{Alert, Status, Time};

/// What the first line of all names as the one before it.
pub const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What a line tells.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event<'a> {
    /// A handler is about to start; its attempt is counted.
    Intent {
        /// The run.
        #[serde(flatten)]
        run: RunLine<'a>,
        /// Its path.
        handler: &'a str,
        /// Its sha256, of the bytes that were judged safe.
        handler_sha256: &'a str,
        /// Milliseconds.
        timeout_ms: u64,
        /// The folder of the snapshot, if one was taken.
        #[serde(skip_serializing_if = "Option::is_none")]
        snapshot: Option<&'a str>,
    },
    /// An alert was judged and only told.
    Observed {
        /// The run that would have been; it has no id.
        #[serde(flatten)]
        run: RunLine<'a>,
        /// The handler's path.
        handler: &'a str,
        /// Its sha256, of the bytes that were judged safe.
        handler_sha256: &'a str,
        /// `run`, or the verdict there would have been, and why.
        would: &'a str,
        /// The command line, quoted for a shell.
        command: &'a str,
    },
    /// A run ended, or was found to have lost its supervisor.
    Result {
        /// The run.
        #[serde(flatten)]
        run: RunLine<'a>,
        /// The handler's sha256; absent for an interrupted run, whose intent has it.
        #[serde(skip_serializing_if = "Option::is_none")]
        handler_sha256: Option<&'a str>,
        /// The exit code; absent when a signal or the timeout ended it.
        #[serde(skip_serializing_if = "Option::is_none")]
        exit: Option<i32>,
        /// How it ended, as in the metrics: `healed`, `failed`, `timeout`…
        outcome: &'a str,
        /// Milliseconds; absent when nobody measured.
        #[serde(skip_serializing_if = "Option::is_none")]
        duration_ms: Option<u64>,
        /// The verdict; absent for an interrupted run.
        #[serde(skip_serializing_if = "Option::is_none")]
        verdict: Option<&'a str>,
        /// `restored` or `failed`, where something was to be put back.
        #[serde(skip_serializing_if = "Option::is_none")]
        rollback: Option<&'a str>,
    },
    /// `resolved` confirmed a heal.
    Verified {
        /// The run that healed.
        #[serde(flatten)]
        run: RunLine<'a>,
        /// How long the alert lasted, see [`lasted`].
        #[serde(skip_serializing_if = "Option::is_none")]
        lasted_ms: Option<u64>,
    },
    /// A heal changed nothing: the alert went on firing past the settle time.
    Ineffective {
        /// The run that said healed.
        #[serde(flatten)]
        run: RunLine<'a>,
        /// So many in a row.
        count: u32,
    },
    /// An operator had forgotten what counted against an alert.
    Reset {
        /// Alertname, as recorded; may be empty, where the record was damaged.
        alertname: &'a str,
        /// Instance, as recorded.
        instance: &'a str,
        /// The key of its record.
        key: &'a str,
        /// Who: `operator:` and a name.
        peer: &'a str,
        /// What was forgotten, in words.
        forgotten: &'a str,
    },
}

/// What every line says of its run.
#[derive(Clone, Debug, Serialize)]
pub struct RunLine<'a> {
    /// The run's id.
    pub run_id: &'a str,
    /// Alertname.
    pub alertname: &'a str,
    /// Instance.
    pub instance: &'a str,
    /// The sender's fingerprint; may be empty.
    pub fingerprint: &'a str,
    /// The sender's group key, cut to 1 KiB.
    pub group_key: &'a str,
    /// Who asked.
    pub peer: &'a str,
    /// The attempt, from 1.
    pub attempt: u32,
    /// Whether an operator's force got it past the breaker or a delay; absent where not.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub forced: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    at: String,
    #[serde(flatten)]
    event: &'a Event<'a>,
    prev: &'a str,
}

/// How long an alert lasted, in milliseconds: from its start to its end, both by the sender's clock; to `now` where the
/// sender does not say that it ended, because only a resolved alert's end is one. Never negative; unknown without a start.
pub fn lasted(alert: &Alert, now: Time) -> Option<u64> {
    let resolved = alert.status == Status::Resolved;
    let end = alert.ends_at.filter(|_| resolved).unwrap_or(now);
    let span = end.since(alert.starts_at?);
    Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

/// The line, newline included, bound to the one whose digest is `prev`.
pub fn line(at: Time, event: &Event<'_>, prev: &str) -> Result<String, serde_json::Error> {
    let mut line = serde_json::to_string(&Line {
        at: rfc3339(at),
        event,
        prev,
    })?;
    line.push('\n');
    Ok(line)
}

/// The digest that the next line names; of the line without its newline.
pub fn digest(line: &[u8]) -> String {
    hex_digest(line.strip_suffix(b"\n").unwrap_or(line))
}

/// What the next line has to begin with and to name, given the end of the file; `None` where more of it has to be seen. A
/// last line without its newline was cut: it is ended, and stays in the chain as what it is.
pub fn after(tail: &[u8], from_the_start: bool) -> Option<(&'static str, String)> {
    let glue = if tail.ends_with(b"\n") { "" } else { "\n" };
    let last = chain::last(tail, from_the_start)?;
    Some((glue, hex(&last.digest)))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn an_alert_lasts_from_its_start_to_its_end_or_to_now() {
        let alert = |status, starts_at: Option<i64>, ends_at: Option<i64>| Alert {
            status,
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            starts_at: starts_at.map(Time),
            ends_at: ends_at.map(Time),
            generator_url: String::new(),
            fingerprint: None,
        };
        let now = Time(50_000);
        for (status, starts_at, ends_at, lasted_ms) in [
            (Status::Resolved, Some(1_000), Some(9_000), Some(8_000)),
            (Status::Resolved, Some(1_000), None, Some(49_000)),
            (Status::Resolved, Some(9_000), Some(1_000), Some(0)),
            (Status::Resolved, Some(60_000), None, Some(0)),
            (Status::Resolved, None, Some(9_000), None),
            // Some senders say until when a firing alert is good.
            (Status::Firing, Some(1_000), Some(900_000), Some(49_000)),
        ] {
            assert_eq!(lasted(&alert(status, starts_at, ends_at), now), lasted_ms);
        }
    }

    #[test]
    fn a_line_names_the_digest_of_the_one_before() {
        let run = RunLine {
            run_id: "r",
            alertname: "A",
            instance: "i\n",
            fingerprint: "",
            group_key: "{}",
            peer: "local",
            attempt: 1,
            forced: false,
        };
        let event = Event::Result {
            run,
            handler_sha256: None,
            exit: Some(0),
            outcome: "healed",
            duration_ms: Some(5),
            verdict: Some("healed"),
            rollback: None,
        };
        let first = line(Time(0), &event, GENESIS).unwrap();
        assert!(first.starts_with(r#"{"at":"1970-01-01T00:00:00Z","event":"result","run_id":"r""#));
        assert!(first.ends_with(&format!("\"prev\":\"{GENESIS}\"}}\n")));
        let known = Some(("", digest(first.as_bytes())));
        assert_eq!(after(first.as_bytes(), true), known);
        let two = format!("{first}{first}");
        assert_eq!(after(two.as_bytes(), true), known);
        // Of the line before it the end is enough.
        assert_eq!(after(&two.as_bytes()[9..], false), known);
        assert_eq!(after(&first.as_bytes()[9..], false), None);
        // A cut line stands for the whole one before it too.
        let cut = &two.as_bytes()[..two.len() - 5];
        let whole = chain::link(first.trim_end().as_bytes(), None);
        let both = chain::link(&first.as_bytes()[..first.len() - 5], Some(&whole));
        assert_eq!(after(cut, true), Some(("\n", hex(&both.digest))));
        assert_eq!(after(&cut[9..], false), None);
        let three = format!("{first}{}", String::from_utf8_lossy(cut));
        assert_eq!(after(&three.as_bytes()[9..], false), after(cut, true));
    }
}
