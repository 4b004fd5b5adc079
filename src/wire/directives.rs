//! A handler's directives: comment lines near its top, in the manner of shellcheck's,
//! `# self-heal: timeout=120s lock=instance`. Nothing is ever ignored silently: an unknown directive, a
//! malformed one or one in the wrong place makes the whole handler unusable.

use std::path::PathBuf;
use std::time::Duration;

use super::duration;
use super::quote::quote;
use crate::judge::Limits;

/// The word that makes a comment a directive line.
const MARK: &str = "self-heal";

/// How much of a file that does not begin as a script is looked at for a NUL byte, which marks a
/// program: any ELF header has one within its first 16 bytes (elf(5)).
const LOOKED_AT: usize = 512;

/// How many paths a handler may have put back.
const MOST_PATHS: usize = 32;

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

/// What a handler asks for; `None` leaves the configuration's value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directives {
    /// `timeout`: 1s to 24h.
    pub timeout: Option<Duration>,
    /// `lock`: `alert` or `instance`.
    pub lock: Option<LockScope>,
    /// `settle`: 0 to 7d.
    pub settle: Option<Duration>,
    /// `max-attempts`: 1 to 100.
    pub max_attempts: Option<u32>,
    /// `retry-delay`: 0 to 24h.
    pub retry_delay: Option<Duration>,
    /// `mode`.
    pub mode: Option<Mode>,
    /// `compat`: whose variables the handler gets beside its own.
    pub compat: Option<Compat>,
    /// `snapshot`, in the order given: absolute, normal paths, none of them inside another one, at most 32.
    pub snapshot: Vec<PathBuf>,
}

/// What a handler wants of its alerts beside healing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Judge and record everything, run nothing.
    Observe,
}

/// Another program's ways that a handler was written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compat {
    /// prometheus-am-executor: the variables `AMX_*`, for the one alert.
    Amx,
}

/// A directive, for documentation.
#[derive(Clone, Copy, Debug)]
pub struct Directive {
    /// The word before `=`.
    pub name: &'static str,
    /// As it is written.
    pub example: &'static str,
    /// Which values, in words.
    pub takes: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// Every directive, in the order of the documentation.
pub const DIRECTIVES: [Directive; 8] = [
    Directive {
        name: "timeout",
        example: "timeout=120s",
        takes: "1s to 1d",
        meaning: "how long it may run",
    },
    Directive {
        name: "lock",
        example: "lock=instance",
        takes: "`alert`, `instance`",
        meaning: "which runs exclude each other; `alert` by default",
    },
    Directive {
        name: "settle",
        example: "settle=10m",
        takes: "0 to 7d",
        meaning: "how long a heal has to show its effect",
    },
    Directive {
        name: "max-attempts",
        example: "max-attempts=2",
        takes: "1 to 100",
        meaning: "failures, or heals without effect, that open the breaker",
    },
    Directive {
        name: "retry-delay",
        example: "retry-delay=1m",
        takes: "0 to 1d",
        meaning: "from a failure to the next attempt",
    },
    Directive {
        name: "mode",
        example: "mode=observe",
        takes: "`observe`",
        meaning: "everything is judged and recorded, nothing is run",
    },
    Directive {
        name: "compat",
        example: "compat=amx",
        takes: "`amx`",
        meaning: "it gets the variables `AMX_*` of prometheus-am-executor too, for its one alert",
    },
    Directive {
        name: "snapshot",
        example: "snapshot=/etc/nginx/nginx.conf",
        takes: "an absolute path; may be repeated, up to 32 times",
        meaning: "the file or folder is put back as it was when the handler fails",
    },
];

/// Which runs of one handler exclude each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockScope {
    /// All of them.
    Alert,
    /// Those for the same instance.
    Instance,
}

impl Directives {
    /// The limits with this handler's own in place.
    pub fn overlay(&self, limits: &Limits) -> Limits {
        Limits {
            max_attempts: self.max_attempts.unwrap_or(limits.max_attempts),
            settle: self.settle.unwrap_or(limits.settle),
            retry_delay: self.retry_delay.unwrap_or(limits.retry_delay),
            ..limits.clone()
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        match key {
            "timeout" => put(&mut self.timeout, key, span(value, SECOND..=DAY)),
            "lock" => put(&mut self.lock, key, scope(value)),
            "settle" => put(&mut self.settle, key, span(value, Duration::ZERO..=7 * DAY)),
            "max-attempts" => put(&mut self.max_attempts, key, count(value)),
            "retry-delay" => put(
                &mut self.retry_delay,
                key,
                span(value, Duration::ZERO..=DAY),
            ),
            "mode" => put(&mut self.mode, key, mode(value)),
            "compat" => put(&mut self.compat, key, compat(value)),
            "snapshot" => self.add_snapshot(value),
            _ => Err(format!(
                "{} is no directive; there are {}",
                quote(key),
                DIRECTIVES.map(|directive| directive.name).join(", ")
            )),
        }
    }
}

impl Directives {
    fn add_snapshot(&mut self, text: &str) -> Result<(), String> {
        let path = normal(text).map_err(|e| format!("snapshot: {e}"))?;
        let touching =
            |other: &&PathBuf| path.starts_with(other.as_path()) || other.starts_with(&path);
        if let Some(other) = self.snapshot.iter().find(touching) {
            return Err(format!(
                "snapshot: {} and {} hold one another",
                quote(text),
                quote(&other.to_string_lossy())
            ));
        }
        if self.snapshot.len() >= MOST_PATHS {
            return Err(format!("snapshot: more than {MOST_PATHS} paths"));
        }
        self.snapshot.push(path);
        Ok(())
    }
}

/// Reads the directives of a handler's file.
///
/// They stand in the leading block: the blank and comment lines before the first other line. A program
/// (a file that does not begin with `#` and has a NUL byte near its start) has none.
///
/// # Errors
/// `line 3: …`: what is wrong and what is accepted.
pub fn parse(script: &[u8]) -> Result<Directives, String> {
    let mut directives = Directives::default();
    if !script.starts_with(b"#") && script.iter().take(LOOKED_AT).any(|b| *b == 0) {
        return Ok(directives);
    }
    let mut leading = true;
    for (number, line) in (1_usize..).zip(script.split(|b| *b == b'\n')) {
        let line = line.trim_ascii();
        leading = leading && (line.is_empty() || line.starts_with(b"#"));
        if let Some(text) = directive(line) {
            let text = if leading {
                text
            } else {
                Err(OUT_OF_PLACE.to_owned())
            };
            text.and_then(|text| read(&mut directives, &text))
                .map_err(|e| format!("line {number}: {e}"))?;
        }
    }
    Ok(directives)
}

const OUT_OF_PLACE: &str = "a self-heal directive after the first command has no effect: move it to the comments at the top";

/// What follows the mark, if the line is a comment that means to be a directive.
fn directive(line: &[u8]) -> Option<Result<String, String>> {
    let comment = line.strip_prefix(b"#")?.trim_ascii_start();
    let (mark, rest) = comment.split_at_checked(MARK.len())?;
    let close = mark.eq_ignore_ascii_case(MARK.as_bytes()) || mark == b"self_heal";
    let text = rest
        .trim_ascii_start()
        .strip_prefix(b":")
        .filter(|_| close)?;
    if mark != MARK.as_bytes() || !rest.starts_with(b":") {
        return Some(Err(
            "a directive line begins with `# self-heal:`, spelled exactly so".to_owned(),
        ));
    }
    Some(String::from_utf8(text.to_vec()).map_err(|_| "a directive line must be UTF-8".to_owned()))
}

fn read(directives: &mut Directives, text: &str) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err(
            "no directive after `self-heal:`; write key=value, such as timeout=120s".to_owned(),
        );
    }
    for word in text.split_whitespace() {
        let Some((key, value)) = word.split_once('=') else {
            return Err(format!(
                "{} is not key=value, such as timeout=120s",
                quote(word)
            ));
        };
        directives.set(key, value)?;
    }
    Ok(())
}

fn put<T>(slot: &mut Option<T>, key: &str, value: Result<T, String>) -> Result<(), String> {
    let value = value.map_err(|e| format!("{key}: {e}"))?;
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(format!("{key} is given twice")),
    }
}

fn span(text: &str, range: std::ops::RangeInclusive<Duration>) -> Result<Duration, String> {
    let span = duration::parse(text)?;
    if range.contains(&span) {
        return Ok(span);
    }
    let (least, most) = (duration::show(*range.start()), duration::show(*range.end()));
    Err(format!("{} is outside {least} to {most}", quote(text)))
}

fn scope(text: &str) -> Result<LockScope, String> {
    match text {
        "alert" => Ok(LockScope::Alert),
        "instance" => Ok(LockScope::Instance),
        _ => Err(format!("{} is neither alert nor instance", quote(text))),
    }
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "observe" => Ok(Mode::Observe),
        _ => Err(format!("{} is not observe", quote(text))),
    }
}

fn compat(text: &str) -> Result<Compat, String> {
    match text {
        "amx" => Ok(Compat::Amx),
        _ => Err(format!("{} is not amx", quote(text))),
    }
}

/// An absolute path that is spelled in the one normal way: what it names can be told by reading it.
fn normal(text: &str) -> Result<PathBuf, String> {
    let Some(inner) = text.strip_prefix('/') else {
        return Err(format!("{} is not an absolute path", quote(text)));
    };
    if inner.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!(
            "{} is not a plain path to a file or folder: no /, //, /./, /../ or / at the end",
            quote(text)
        ));
    }
    if text.contains(char::is_control) {
        return Err("a control character in the path".to_owned());
    }
    Ok(PathBuf::from(text))
}

fn count(text: &str) -> Result<u32, String> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text
        .parse()
        .ok()
        .filter(|n| digits && (1..=100).contains(n));
    number.ok_or_else(|| format!("{} is not a whole number from 1 to 100", quote(text)))
}

#[cfg(test)]
mod tests;
