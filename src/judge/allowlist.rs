//! The allow-list: which instances may be healed at all, and of what. It compares text exactly, case
//! included (one spelling in the list, one in the alert; looser is riskier), resolves no name, and
//! refuses what it does not understand: a malformed line admits nothing, an empty list nobody.

mod review;

use std::collections::HashMap;

use super::alert::AlertName;
pub use review::{Odd, Remark};

/// The longest instance, and the longest entry, in bytes: twice a DNS name.
const LONGEST: usize = 512;

/// What `*` does not match: it stays within one label of a host name, one group of an address.
const SEPARATORS: [char; 2] = ['.', ':'];

/// A parsed allow-list.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    exact: HashMap<String, Vec<Rule>>,
    globs: Vec<(String, Rule)>,
    problems: Vec<Problem>,
}

/// A line that admits nothing because it is malformed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what is accepted, one sentence.
    pub reason: &'static str,
}

/// What a line says besides its pattern.
#[derive(Clone, Debug)]
struct Rule {
    line: usize,
    part: Part,
    /// Empty: every alertname.
    alertnames: Vec<String>,
}

/// What of an instance is compared with a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Whole,
    Host,
}

impl AllowList {
    /// Reads a list: one entry a line, blank lines, `#` comments (a whole line, or after a blank),
    /// CRLF and a byte order mark tolerated. An optional second column, a comma list of exact
    /// alertnames, narrows the entry. Never fails: see [`AllowList::problems`].
    pub fn parse(text: &str) -> AllowList {
        let mut list = AllowList::default();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in (1..).zip(text.lines()) {
            match entry(number, line) {
                Ok(None) => {}
                Ok(Some((pattern, rule))) if pattern.contains('*') => {
                    list.globs.push((pattern.to_owned(), rule))
                }
                Ok(Some((pattern, rule))) => {
                    list.exact.entry(pattern.to_owned()).or_default().push(rule)
                }
                Err(reason) => list.problems.push(Problem {
                    line: number,
                    reason,
                }),
            }
        }
        list
    }

    /// The first line, counted from 1, that admits this instance for this alertname.
    ///
    /// An entry with a port is compared with the whole instance, one without with its host. Never
    /// admitted: an instance without a host, longer than 512 bytes, with a blank or control character,
    /// or beginning with `-`, which a handler's tools could take for an option.
    pub fn admits(&self, instance: &str, alertname: &str) -> Option<usize> {
        let odd = |c: char| c.is_control() || c.is_whitespace();
        let host = split(instance).0;
        if host.is_empty()
            || instance.len() > LONGEST
            || instance.starts_with('-')
            || instance.contains(odd)
        {
            return None;
        }
        let text = |part| if part == Part::Whole { instance } else { host };
        let exact = [Part::Whole, Part::Host].into_iter().flat_map(|part| {
            let rules = self.exact.get(text(part)).into_iter().flatten();
            rules.filter(move |rule| rule.part == part)
        });
        let globs = self
            .globs
            .iter()
            .filter(|(pattern, rule)| glob(pattern, text(rule.part)));
        let admitting = exact.chain(globs.map(|(_, rule)| rule)).filter(|rule| {
            rule.alertnames.is_empty() || rule.alertnames.iter().any(|name| name == alertname)
        });
        admitting.map(|rule| rule.line).min()
    }

    /// The malformed lines, in order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether no line could ever admit anything.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.globs.is_empty()
    }
}

/// The pattern and the rule of a line, or nothing for a blank one.
fn entry(line: usize, text: &str) -> Result<Option<(&str, Rule)>, &'static str> {
    let mut columns = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let mut column = || columns.next().filter(|word| !word.starts_with('#'));
    let Some(pattern) = column() else {
        return Ok(None);
    };
    let mut alertnames = Vec::new();
    if let Some(names) = column() {
        if !names.split(',').all(|name| AlertName::new(name).is_some()) {
            return Err(
                "the second column must be alertnames of letters, digits, _ . - with commas and no blanks between",
            );
        }
        alertnames = names.split(',').map(str::to_owned).collect();
        if column().is_some() {
            return Err(
                "more than two columns: write an instance, then alertnames with commas and no blanks between",
            );
        }
    }
    if pattern.len() > LONGEST {
        return Err("longer than 512 bytes");
    }
    if pattern.starts_with('-') {
        return Err("an instance that begins with - is never allowed");
    }
    if pattern.contains(|c: char| c.is_control() || c.is_whitespace()) {
        return Err("a control character or an unusual blank in the entry");
    }
    if pattern.starts_with('[') && split(pattern).0 == pattern {
        return Err(
            "[ must enclose an IPv6 address, and only a port may follow: [::1] or [::1]:9100",
        );
    }
    match split(pattern) {
        ("", _) => Err("an entry needs a host before the port"),
        (host, None) => Ok(Some((
            host,
            Rule {
                line,
                part: Part::Host,
                alertnames,
            },
        ))),
        (_, Some(_)) => Ok(Some((
            pattern,
            Rule {
                line,
                part: Part::Whole,
                alertnames,
            },
        ))),
    }
}

/// Host and port. A port is one to five digits (in a pattern also `*`) after the only colon, or after
/// an IPv6 literal in brackets (RFC 3986 section 3.2.2), whose brackets are not part of the host. Text
/// of any other shape is all host: names, bare IPv6 literals, URLs.
fn split(text: &str) -> (&str, Option<&str>) {
    let address = |inner: &str| {
        inner.contains(':')
            && inner
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b":.*%_-".contains(&b))
    };
    let port = |text: &str| {
        (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'*')
    };
    if let Some((inner, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(digits) if address(inner) && port(digits) => (inner, Some(digits)),
            None if address(inner) && rest.is_empty() => (inner, None),
            _ => (text, None),
        };
    }
    match text.split_once(':') {
        Some((host, digits)) if port(digits) => (host, Some(digits)),
        _ => (text, None),
    }
}

/// Whether the pattern matches the whole text. `*` never matches a separator, so the separators of both
/// have to be the same in the same order, and what stands between them is matched piece by piece.
fn glob(pattern: &str, text: &str) -> bool {
    pattern.matches(SEPARATORS).eq(text.matches(SEPARATORS))
        && pattern
            .split(SEPARATORS)
            .zip(text.split(SEPARATORS))
            .all(|(pattern, text)| piece(pattern, text))
}

/// `*` as any run of characters. Taking each middle part where it first occurs leaves the most for the
/// rest, so nothing is ever tried twice: linear, whatever the pattern.
fn piece(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    let Some(mut text) = text
        .strip_prefix(head)
        .and_then(|text| text.strip_suffix(tail))
    else {
        return false;
    };
    for part in middle.split('*') {
        match text.split_once(part) {
            Some((_, after)) => text = after,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests;
