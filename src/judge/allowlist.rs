//! The allow-list: which instances may be healed at all, and of what. It compares text exactly, case
//! included (one spelling in the list, one in the alert; looser is riskier), resolves no name, and
//! refuses what it does not understand: a malformed line admits nothing, an empty list nobody.

mod review;

use super::alert::AlertName;
pub use review::{Odd, Remark};

/// The longest instance, and the longest entry, in bytes: twice a DNS name.
const LONGEST: usize = 512;

/// Bytes of a line, as a rule: room is made for so many entries.
const USUAL: usize = 16;

/// What `*` does not match: it stays within one label of a host name, one group of an address.
const SEPARATORS: [char; 2] = ['.', ':'];

/// A parsed allow-list: its text, and where the entries stand in it, in their order. Ten thousand entries are read for each
/// request, so an entry costs a look at its bytes and nothing of its own.
#[derive(Clone, Debug, Default)]
pub struct AllowList {
    text: String,
    entries: Vec<Entry>,
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

/// An entry.
#[derive(Clone, Copy, Debug)]
struct Entry {
    line: u32,
    part: Part,
    /// Whether the pattern has a `*` in it.
    glob: bool,
    pattern: Span,
    /// The alertnames, with commas between; empty: every alertname.
    alertnames: Span,
}

/// A piece of the list's text.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    start: u32,
    length: u32,
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
        AllowList::read(text.to_owned())
    }

    /// The same, of a text that it keeps.
    pub fn read(text: String) -> AllowList {
        let (mut entries, mut problems) = (Vec::with_capacity(text.len() / USUAL), Vec::new());
        let span = |piece: &str| Span {
            start: number(piece.as_ptr().addr() - text.as_ptr().addr()),
            length: number(piece.len()),
        };
        let list = text.strip_prefix('\u{feff}').unwrap_or(&text);
        for (line, whole) in (1..).zip(list.lines()) {
            let read = match plain(whole) {
                Some((part, glob)) => Ok(Some((whole, part, glob, ""))),
                None => entry(whole),
            };
            match read {
                Ok(None) => {}
                Ok(Some((pattern, part, glob, alertnames))) => entries.push(Entry {
                    line: number(line),
                    part,
                    glob,
                    pattern: span(pattern),
                    alertnames: if alertnames.is_empty() {
                        Span::default()
                    } else {
                        span(alertnames)
                    },
                }),
                Err(reason) => problems.push(Problem { line, reason }),
            }
        }
        AllowList {
            text,
            entries,
            problems,
        }
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
        let matches = |entry: &&Entry| {
            let (pattern, text) = (entry.pattern, text(entry.part));
            if entry.glob {
                glob(self.text(pattern), text)
            } else {
                pattern.length as usize == text.len() && self.text(pattern) == text
            }
        };
        let names = |entry: &&Entry| {
            let mut names = self.alertnames(entry).peekable();
            names.peek().is_none() || names.any(|name| name == alertname)
        };
        let admitting = self.entries.iter().filter(matches).find(names);
        admitting.map(|entry| entry.line as usize)
    }

    fn text(&self, span: Span) -> &str {
        let (start, length) = (span.start as usize, span.length as usize);
        self.text
            .get(start..start.saturating_add(length))
            .unwrap_or_default()
    }

    fn alertnames(&self, entry: &Entry) -> impl Iterator<Item = &str> {
        let names = self.text(entry.alertnames).split(',');
        names.filter(|name| !name.is_empty())
    }

    /// The malformed lines, in order.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether no line could ever admit anything.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

/// A number of lines or bytes of a list, which is far shorter than what no longer fits.
fn number(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// What a line is compared with, and whether it has a `*` in it, if it is a name or a pattern of names with or without a
/// port, and nothing else; `None` for any other line, right or wrong.
fn plain(line: &str) -> Option<(Part, bool)> {
    if line.is_empty() || line.len() > LONGEST || line.starts_with(['-', ':']) {
        return None;
    }
    // One look at each byte: most lines of a long list are of this kind.
    let (mut colon, mut glob) = (None, false);
    for (at, byte) in line.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' => {}
            b'*' => glob = true,
            b':' => colon = colon.or(Some(at)),
            _ => return None,
        }
    }
    let behind = colon.and_then(|at| line.get(at + 1..));
    let part = match behind {
        Some(behind) if is_port(behind) => Part::Whole,
        _ => Part::Host,
    };
    Some((part, glob))
}

/// The pattern of a line, what it is compared with, whether there is a `*` in it, and the alertnames; nothing for a blank
/// one.
type Read<'a> = Option<(&'a str, Part, bool, &'a str)>;

fn entry(text: &str) -> Result<Read<'_>, &'static str> {
    let mut columns = text.split([' ', '\t']).filter(|word| !word.is_empty());
    let mut column = || columns.next().filter(|word| !word.starts_with('#'));
    let Some(pattern) = column() else {
        return Ok(None);
    };
    let alertnames = column().unwrap_or_default();
    if !alertnames.is_empty() {
        if !alertnames
            .split(',')
            .all(|name| AlertName::new(name).is_some())
        {
            return Err(
                "the second column must be alertnames of letters, digits, _ . - with commas and no blanks between",
            );
        }
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
    let (pattern, part) = match split(pattern) {
        ("", _) => return Err("an entry needs a host before the port"),
        (host, None) => (host, Part::Host),
        (_, Some(_)) => (pattern, Part::Whole),
    };
    Ok(Some((pattern, part, pattern.contains('*'), alertnames)))
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
    if let Some((inner, rest)) = text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return match rest.strip_prefix(':') {
            Some(digits) if address(inner) && is_port(digits) => (inner, Some(digits)),
            None if address(inner) && rest.is_empty() => (inner, None),
            _ => (text, None),
        };
    }
    match text.split_once(':') {
        Some((host, digits)) if is_port(digits) => (host, Some(digits)),
        _ => (text, None),
    }
}

/// A port, or a pattern of one.
fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit() || b == b'*')
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
