//! The history read again: a line's meaning, which lines somebody asks for, and the instants he asks with. Lines of events
//! that it does not know are no mistake; what is no line at all is for the caller to count. It changes no byte of a line.

use std::borrow::Cow;
use std::ops::Deref;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};

use super::duration;
use super::quote::quote;
use super::timestamp;
use crate::judge::Time;

pub mod chain;
pub mod order;
pub mod runs;
pub mod summary;

/// What stands before an operator's name where a sender's address would.
pub const OPERATOR: &str = "operator:";

/// A text of a line, borrowed from it where nothing in it is escaped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// What a line says; what it does not say is empty. `event` may be a word that is not known here.
#[derive(Debug, Deserialize)]
pub struct Entry<'a> {
    /// When it was written, to the second.
    #[serde(deserialize_with = "instant_of")]
    pub at: Time,
    /// What it tells: `intent`, `observed`, `result`, `verified`, `ineffective`, `reset`.
    #[serde(borrow)]
    pub event: Text<'a>,
    /// The run.
    #[serde(borrow, default)]
    pub run_id: Text<'a>,
    /// Alertname.
    #[serde(borrow, default)]
    pub alertname: Text<'a>,
    /// Instance.
    #[serde(borrow, default)]
    pub instance: Text<'a>,
    /// The sender's fingerprint.
    #[serde(borrow, default)]
    pub fingerprint: Text<'a>,
    /// The attempt.
    #[serde(default)]
    pub attempt: u32,
    /// Who asked.
    #[serde(borrow, default)]
    pub peer: Text<'a>,
    /// Whether an operator's force got it past the breaker or a delay.
    #[serde(default)]
    pub forced: bool,
    /// Of a result: how it ended.
    #[serde(borrow, default)]
    pub outcome: Option<Text<'a>>,
    /// Of a result: how long the handler took.
    #[serde(default)]
    pub duration_ms: Option<u64>,
    /// Of a result: the verdict.
    #[serde(borrow, default)]
    pub verdict: Option<Text<'a>>,
    /// Of a result: what became of what it had changed.
    #[serde(borrow, default)]
    pub rollback: Option<Text<'a>>,
    /// Of an observed alert: what there would have been.
    #[serde(borrow, default)]
    pub would: Option<Text<'a>>,
    /// Of a verified heal: how long the alert lasted.
    #[serde(default)]
    pub lasted_ms: Option<u64>,
    /// Of ineffective heals: how many in a row.
    #[serde(default)]
    pub count: Option<u32>,
}

fn instant_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Time, D::Error> {
    let text = Text::deserialize(deserializer)?;
    timestamp::parse(&text).ok_or_else(|| D::Error::custom("`at` is no instant"))
}

impl<'a> Entry<'a> {
    /// A line, its newline left away; `None` when it is none of the history's.
    pub fn parse(line: &'a [u8]) -> Option<Entry<'a>> {
        // One look at all of it is cheaper than one at each text.
        let line = std::str::from_utf8(line).ok()?;
        serde_json::from_str(line).ok()
    }

    /// The operator who ran it by hand, and whether by force; empty for a sender.
    fn by(&self) -> String {
        match (self.peer.strip_prefix(OPERATOR), self.forced) {
            (None, _) => String::new(),
            (Some(who), false) => who.to_owned(),
            (Some(who), true) => format!("{who}, forced"),
        }
    }
}

/// Which lines, or runs, are asked for. Nothing set: all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Not earlier than this, to the second.
    pub since: Option<Time>,
    /// Earlier than this.
    pub until: Option<Time>,
    /// Of this alert.
    pub alertname: Option<String>,
    /// Of this instance, whole.
    pub instance: Option<String>,
    /// With this outcome, or of this event.
    pub outcome: Option<String>,
    /// Of this run.
    pub run: Option<String>,
}

impl Filter {
    /// Whether this stored line is asked for.
    pub fn takes(&self, entry: &Entry<'_>) -> bool {
        let word = |wanted: &String| {
            let outcome = entry
                .outcome
                .as_deref()
                .is_some_and(|word| *word == **wanted);
            outcome || *entry.event == **wanted
        };
        self.is_about(entry) && self.is_in_time(entry.at) && self.outcome.as_ref().is_none_or(word)
    }

    fn is_about(&self, entry: &Entry<'_>) -> bool {
        let same = |wanted: &Option<String>, text: &str| wanted.as_ref().is_none_or(|w| w == text);
        same(&self.alertname, &entry.alertname)
            && same(&self.instance, &entry.instance)
            && same(&self.run, &entry.run_id)
    }

    fn is_in_time(&self, at: Time) -> bool {
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }
}

/// An instant as an operator gives it: RFC 3339, a date (its first moment in UTC), or how long ago. Rounded down to the
/// second, as the history's own instants are.
///
/// # Errors
/// One sentence.
pub fn instant(text: &str, now: Time) -> Result<Time, String> {
    let ago = |span: std::time::Duration| {
        let ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        Time(now.0.saturating_sub(ms))
    };
    let exact = timestamp::parse(text).or_else(|| timestamp::parse(&format!("{text}T00:00:00Z")));
    let found = exact.or_else(|| duration::parse(text).ok().map(ago));
    let found = found.ok_or_else(|| {
        format!(
            "{} is no time: write 2026-11-22T12:00:00Z, a date such as 2026-11-22 (UTC), or how long ago, such as 2h",
            quote(text)
        )
    })?;
    Ok(Time(found.0.div_euclid(1000).saturating_mul(1000)))
}

/// A span for a person: as fine as it matters.
pub(crate) fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1_000, ms % 1_000 / 100),
        _ => duration::show(std::time::Duration::from_secs(ms / 1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_whatever_more_it_says() {
        let line = br#"{"at":"2026-03-04T05:06:07Z","event":"result","run_id":"r","alertname":"A","instance":"i\n","later":[{"x":1}],"attempt":2,"outcome":"healed","duration_ms":5,"peer":"operator:anna","forced":true,"prev":"0"}"#;
        let entry = Entry::parse(line).unwrap();
        assert_eq!(entry.at, Time(1_772_600_767_000));
        assert!(matches!(entry.alertname.0, Cow::Borrowed("A")));
        assert!(matches!(
            entry.outcome.as_ref().unwrap().0,
            Cow::Borrowed("healed")
        ));
        assert_eq!(
            (&*entry.instance, entry.attempt, entry.duration_ms),
            ("i\n", 2, Some(5))
        );
        assert_eq!(entry.by(), "anna, forced");
        let unknown = Entry::parse(br#"{"at":"2026-03-04T05:06:07Z","event":"later"}"#).unwrap();
        assert_eq!((&*unknown.event, &*unknown.run_id), ("later", ""));
        assert_eq!(unknown.by(), "");
        for bad in [
            &b""[..],
            b"{}",
            b"null",
            b"{\"at\":\"2026-03-04T05:06:07Z\"}",
            br#"{"at":"yesterday","event":"result"}"#,
            br#"{"at":"2026-03-04T05:06:07Z","event":"result","attempt":-1}"#,
            br#"{"at":"2026-03-04T05:06:07Z","event":"result","run_id":"r","#,
            b"{\"at\":\"2026-03-04T05:06:07Z\",\"event\":\"\xff\"}",
        ] {
            assert!(
                Entry::parse(bad).is_none(),
                "{}",
                String::from_utf8_lossy(bad)
            );
        }
    }

    #[test]
    fn an_operator_says_when() {
        let now = Time(1_772_600_767_123);
        for (text, ms) in [
            ("2026-03-04T05:06:07Z", 1_772_600_767_000),
            ("2026-03-04T07:06:07.9+02:00", 1_772_600_767_000),
            ("2026-03-04", 1_772_582_400_000),
            ("0", 1_772_600_767_000),
            ("2h", 1_772_593_567_000),
            ("1d", 1_772_514_367_000),
        ] {
            assert_eq!(instant(text, now), Ok(Time(ms)), "{text}");
        }
        for bad in [
            "",
            "yesterday",
            "2026-3-4",
            "2026-02-30",
            "2026-03-04 05:06:07",
            "-2h",
            "2",
        ] {
            assert!(instant(bad, now).unwrap_err().contains("2h"), "{bad}");
        }
    }

    #[test]
    fn a_filter_takes_what_is_asked_for() {
        let line = br#"{"at":"2026-03-04T05:06:07Z","event":"result","run_id":"r","alertname":"A","instance":"i","outcome":"failed"}"#;
        let entry = Entry::parse(line).unwrap();
        let at = entry.at.0;
        let all = Filter::default;
        let some = |text: &str| Some(text.to_owned());
        for (filter, taken) in [
            (all(), true),
            (
                Filter {
                    since: Some(Time(at)),
                    ..all()
                },
                true,
            ),
            (
                Filter {
                    since: Some(Time(at + 1)),
                    ..all()
                },
                false,
            ),
            (
                Filter {
                    until: Some(Time(at)),
                    ..all()
                },
                false,
            ),
            (
                Filter {
                    until: Some(Time(at + 1)),
                    ..all()
                },
                true,
            ),
            (
                Filter {
                    alertname: some("A"),
                    run: some("r"),
                    ..all()
                },
                true,
            ),
            (
                Filter {
                    alertname: some("a"),
                    ..all()
                },
                false,
            ),
            (
                Filter {
                    instance: some("i:1"),
                    ..all()
                },
                false,
            ),
            (
                Filter {
                    run: some("r2"),
                    ..all()
                },
                false,
            ),
            (
                Filter {
                    outcome: some("failed"),
                    ..all()
                },
                true,
            ),
            (
                Filter {
                    outcome: some("result"),
                    ..all()
                },
                true,
            ),
            (
                Filter {
                    outcome: some("healed"),
                    ..all()
                },
                false,
            ),
        ] {
            assert_eq!(filter.takes(&entry), taken, "{filter:?}");
        }
    }

    #[test]
    fn a_span_is_as_fine_as_it_matters() {
        for (ms, text) in [
            (0, "0ms"),
            (999, "999ms"),
            (1_000, "1.0s"),
            (59_999, "59.9s"),
            (60_000, "1m"),
            (90_061_001, "1d1h1m1s"),
        ] {
            assert_eq!(span(ms), text);
        }
    }
}
