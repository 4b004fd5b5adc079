//! The history's lines: one JSON object each, bound to the one before by its sha256.

use serde::Serialize;

use super::records::hex_digest;
use super::timestamp::rfc3339;
use crate::judge::Time;

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

/// What the next line has to begin with and to name, given the end of the file. A last line without
/// its newline was cut: it is ended, and stays in the chain as what it is.
pub fn after(tail: &[u8]) -> (&'static str, String) {
    let (glue, whole) = match tail.strip_suffix(b"\n") {
        Some(whole) => ("", whole),
        None => ("\n", tail),
    };
    let last = whole.rsplit(|byte| *byte == b'\n').next().unwrap_or(whole);
    (glue, hex_digest(last))
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert_eq!(after(first.as_bytes()), ("", digest(first.as_bytes())));
        let two = format!("{first}{first}");
        assert_eq!(after(two.as_bytes()), ("", digest(first.as_bytes())));
        let cut = &two.as_bytes()[..two.len() - 5];
        assert_eq!(
            after(cut),
            ("\n", hex_digest(&first.as_bytes()[..first.len() - 5]))
        );
    }
}
