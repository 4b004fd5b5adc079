//! One log line: `2026-11-22T12:00:00Z [LEVEL] event key=value…`. Every value passes the one place
//! that makes it printable, so nothing a sender writes can forge a line or move a terminal's cursor.

use std::fmt::Write;

use super::timestamp::rfc3339;
use crate::judge::Time;

/// How grave a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What was done.
    Info,
    /// What was not done, or looks wrong.
    Warn,
    /// What a person has to look at.
    Error,
}

impl Level {
    /// As in the line.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Info => "INFO",
            Level::Warn => "WARN",
            Level::Error => "ERROR",
        }
    }
}

/// The longest value shown, in bytes of output. A line of a dozen values stays below PIPE_BUF (4096 bytes,
/// pipe(7)), so that it is written whole or not at all into a pipe too.
const LONGEST: usize = 256;

/// The line, newline included.
pub fn line(at: Time, level: Level, event: &str, values: &[(&str, &str)]) -> String {
    let mut line = format!("{} {}", rfc3339(at), message(level, event, values));
    line.push('\n');
    line
}

/// The line without its time and newline.
pub fn message(level: Level, event: &str, values: &[(&str, &str)]) -> String {
    let mut text = format!("[{}] {event}", level.as_str());
    if !values.is_empty() {
        text.push(' ');
        text.push_str(&pairs(values));
    }
    text
}

/// `key=value…` with one space between, each value made printable.
pub fn pairs(values: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for (key, value) in values {
        if !text.is_empty() {
            text.push(' ');
        }
        text.push_str(key);
        text.push('=');
        push_value(&mut text, value);
    }
    text
}

/// Printable ASCII as it is, everything else escaped; quoted where a space, a quote, an equals sign or
/// nothing at all would leave doubt about where the value ends.
fn push_value(text: &mut String, value: &str) {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '=');
    if !value.is_empty() && value.len() <= LONGEST && value.chars().all(plain) {
        text.push_str(value);
        return;
    }
    let start = text.len();
    text.push('"');
    for c in value.chars() {
        if text.len() - start > LONGEST {
            text.push_str("...");
            break;
        }
        match c {
            '"' => text.push_str("\\\""),
            '\\' => text.push_str("\\\\"),
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            c if c == ' ' || c.is_ascii_graphic() => text.push(c),
            c => {
                // Writing to a String cannot fail.
                let _ = write!(text, "\\u{{{:x}}}", u32::from(c));
            }
        }
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_quoted_where_they_must_be() {
        let values = [
            ("a", "x"),
            ("b", ""),
            ("c", "x y"),
            ("d", "k=v"),
            ("e", "é\u{1b}[2J\n\"\\"),
        ];
        assert_eq!(
            line(Time(0), Level::Warn, "event", &values),
            "1970-01-01T00:00:00Z [WARN] event a=x b=\"\" c=\"x y\" d=\"k=v\" \
             e=\"\\u{e9}\\u{1b}[2J\\n\\\"\\\\\"\n"
        );
    }

    proptest! {
        #[test]
        fn no_value_forges_anything(value in any::<String>()) {
            let line = line(Time(0), Level::Info, "event", &[("key", &value), ("end", "1")]);
            prop_assert_eq!(line.matches('\n').count(), 1);
            prop_assert!(line.trim_end().bytes().all(|b| b == b' ' || b.is_ascii_graphic()));
            prop_assert!(line.ends_with(" end=1\n"));
            prop_assert!(line.len() < 400);
        }
    }
}
