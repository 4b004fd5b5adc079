//! An alert as the judgement sees it, and the one gate that turns its name into something
//! that may stand in a path.

use std::collections::BTreeMap;
use std::fmt;

use super::time::Time;

/// What the sender says of one alert. Only this per-alert status is trusted: the status of a
/// whole notification is computed after truncation (Alertmanager notify/webhook/webhook.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// The condition holds.
    Firing,
    /// The condition no longer holds, or nobody has said so for a while.
    Resolved,
}

/// One alert of a notification. Text is as the sender wrote it: unbounded, any UTF-8, NUL included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alert {
    /// Firing or resolved.
    pub status: Status,
    /// Labels, among them `alertname` and `instance`; either may be missing.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it began, by the sender's clock; `None` when the sender does not say.
    pub starts_at: Option<Time>,
    /// When it ended, by the sender's clock; `None` while it fires (RFC 3339 year 1 on the wire).
    pub ends_at: Option<Time>,
    /// Link to what raised it; may be empty.
    pub generator_url: String,
    /// The sender's own identity for the label set; `None` when it sent none or an unusable one.
    pub fingerprint: Option<String>,
}

impl Alert {
    /// The label `alertname`, raw; empty when it is missing.
    pub fn name(&self) -> &str {
        self.labels.get("alertname").map_or("", String::as_str)
    }

    /// The label `instance`, raw; empty when it is missing.
    pub fn instance(&self) -> &str {
        self.labels.get("instance").map_or("", String::as_str)
    }
}

/// An alertname that may stand in a file's name: `[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertName(String);

impl AlertName {
    /// The name, if every character of it is safe.
    pub fn new(raw: &str) -> Option<AlertName> {
        let mut bytes = raw.bytes();
        let first = bytes.next()?;
        let head = first.is_ascii_alphanumeric() || first == b'_';
        let tail = bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
        (head && tail && raw.len() <= 128).then(|| AlertName(raw.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AlertName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The beginning of a text, of at most `most` bytes, cut between characters.
pub fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len()))
        .rev()
        .find(|i| text.is_char_boundary(*i));
    text.get(..end.unwrap_or(0)).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_names_pass() {
        for good in ["A", "NginxDown", "_x", "0", "a.b-c_d", &"a".repeat(128)] {
            assert!(AlertName::new(good).is_some(), "{good}");
        }
        for bad in [
            "",
            ".",
            "..",
            "-x",
            "a/b",
            "../x",
            "a b",
            "é",
            "a\0",
            "a\n",
            &"a".repeat(129),
        ] {
            assert!(AlertName::new(bad).is_none(), "{bad}");
        }
    }
}
