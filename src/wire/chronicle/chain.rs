//! The history's chain, walked: each line names the sha256 of the one before it, `history.head` the last one's. It says where
//! that first does not hold, and what a crash leaves is no break: a line without its end that the next append ended
//! and named. It cannot know a history that somebody wrote anew from some line to the end, head and all.

use super::super::{history::GENESIS, records};
use super::order::LIVE;

/// A sha256.
pub type Digest = [u8; 32];

/// The name of the file that holds the digest of the last line.
pub const HEAD: &str = "history.head";

/// How many lines that are not whole are named.
const NAMED: usize = 5;

/// What binds a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// Its own digest.
    pub digest: Digest,
    /// The one it names; `None` where the line is no whole record.
    pub prev: Option<Digest>,
}

/// The lines of one file.
#[derive(Clone, Debug, Default)]
pub struct Part {
    /// The file's name.
    pub name: String,
    /// Its lines in their order.
    pub links: Vec<Link>,
}

/// What `history.head` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// There is no such file.
    Missing,
    /// Something else than a digest.
    Damaged,
    /// The digest of the last line.
    Of(Digest),
}

/// Where a line stands; line 0 is the file as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file's name.
    pub file: String,
    /// From 1.
    pub line: usize,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// What the walk came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Walked {
    /// All lines.
    pub lines: usize,
    /// The files with lines in them.
    pub files: usize,
    /// The lines before the first broken record; all, if there is none.
    pub good: usize,
    /// The first broken record, and what is wrong.
    pub broken: Option<(Place, String)>,
    /// What is no break and has to be said, a sentence each.
    pub notes: Vec<String>,
}

/// What binds this line, its newline left away, behind that one of the same file. A line that was cut names none; so its
/// digest is that of the one before it and its own bytes, and whoever names it vouches for both.
pub fn link(line: &[u8], before: Option<&Link>) -> Link {
    let prev = prev(line);
    let digest = match before.filter(|_| prev.is_none()) {
        Some(before) => records::digest(&[&before.digest, line].concat()),
        None => records::digest(line),
    };
    Link { digest, prev }
}

/// What binds the last line of a file, by the file's end; `None` where more of it has to be seen: every line since the
/// last whole one.
pub fn last(end: &[u8], from_the_start: bool) -> Option<Link> {
    let lines = end.strip_suffix(b"\n").unwrap_or(end);
    let mut lines = lines.rsplit(|byte| *byte == b'\n').peekable();
    let (mut last, mut cut) = (None, Vec::new());
    while let Some(line) = lines.next() {
        // The first one may be the end of a line alone.
        if lines.peek().is_none() && !from_the_start {
            return None;
        }
        if prev(line).is_some() {
            last = Some(link(line, None));
            break;
        }
        cut.push(line);
    }
    for line in cut.into_iter().rev() {
        last = Some(link(line, last.as_ref()));
    }
    last
}

/// The digest in 64 lower-case hex digits.
pub fn digest(hex: &[u8]) -> Option<Digest> {
    let nibble = |byte: &u8| match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut found = Digest::default();
    let mut digits = hex.iter();
    for byte in &mut found {
        *byte = nibble(digits.next()?)? << 4 | nibble(digits.next()?)?;
    }
    digits.next().is_none().then_some(found)
}

/// What a whole line names as the one before it. Its shape is enough: what the rest of it says is what its digest is for.
pub fn prev(line: &[u8]) -> Option<Digest> {
    let rest = line.strip_prefix(br#"{"at":""#)?.strip_suffix(br#""}"#)?;
    let (before, hex) = rest.split_at_checked(rest.len().checked_sub(64)?)?;
    before.ends_with(br#","prev":""#).then(|| digest(hex))?
}

impl Head {
    /// From the file's bytes, if there is one.
    pub fn parse(bytes: Option<&[u8]>) -> Head {
        match bytes {
            None => Head::Missing,
            Some(bytes) => digest(bytes).map_or(Head::Damaged, Head::Of),
        }
    }
}

/// All lines of all files, one behind the other.
struct Lines<'a> {
    parts: Vec<&'a Part>,
    count: usize,
}

impl<'a> Lines<'a> {
    fn of(parts: &'a [Part]) -> Lines<'a> {
        let parts: Vec<&Part> = parts.iter().filter(|part| !part.links.is_empty()).collect();
        let count = parts.iter().map(|part| part.links.len()).sum();
        Lines { parts, count }
    }

    fn all(&self) -> impl Iterator<Item = &'a Link> {
        self.parts.iter().flat_map(|part| &part.links)
    }

    fn get(&self, number: usize) -> Option<(Place, &'a Link)> {
        let mut line = number;
        for part in &self.parts {
            if let Some(link) = part.links.get(line) {
                let file = part.name.clone();
                return Some((
                    Place {
                        file,
                        line: line + 1,
                    },
                    link,
                ));
            }
            line -= part.links.len();
        }
        None
    }

    fn place(&self, number: usize) -> Place {
        let file = LIVE.to_owned();
        self.get(number)
            .map_or(Place { file, line: 0 }, |(place, _)| place)
    }

    fn position(&self, digest: Digest) -> Option<usize> {
        self.all().position(|link| link.digest == digest)
    }
}

/// Walks the files, oldest first.
pub fn walk(parts: &[Part], head: Head) -> Walked {
    let lines = Lines::of(parts);
    let mut walked = Walked {
        lines: lines.count,
        files: lines.parts.len(),
        ..Walked::default()
    };
    let torn = torn(&lines);
    let found = broken(&lines, head).or_else(|| head_broken(&lines, head, &mut walked.notes));
    walked.good = found.as_ref().map_or(lines.count, |(number, _, _)| *number);
    walked.broken = found.map(|(_, place, why)| (place, why));
    walked.notes.extend(beginning(&lines));
    walked.notes.extend(torn);
    walked
}

type Broken = (usize, Place, String);

/// The first pair of lines of which the second does not name the first.
fn broken(lines: &Lines<'_>, head: Head) -> Option<Broken> {
    let mut before: Option<Digest> = None;
    for (number, link) in lines.all().enumerate() {
        if let (Some(before), Some(prev)) = (before, link.prev)
            && before != prev
        {
            return Some(judged(lines, head, number, prev));
        }
        before = Some(link.digest);
    }
    None
}

/// What may be wrong where line `number` names `prev`, which is not the line before it.
fn judged(lines: &Lines<'_>, head: Head, number: usize, prev: Digest) -> Broken {
    let before = lines.place(number.saturating_sub(1));
    let place = lines.place(number);
    if Some(prev) == digest(GENESIS.as_bytes()) {
        let why =
            format!("begins a new history: it names no line before it, and {before} is there");
        return (number, place, why);
    }
    if let Some(other) = lines.position(prev) {
        let crash = before.file != place.file && other + 2 == number;
        let other = lines.place(other);
        let crash = if crash {
            "; a crash right before a rotation leaves that too"
        } else {
            ""
        };
        let why = format!(
            "is out of its place: it names {other} as the line before it, not {before}{crash}"
        );
        return (number, place, why);
    }
    let own = lines.get(number).map(|(_, link)| link.digest);
    let named = match lines.get(number + 1) {
        Some((_, next)) => next.prev,
        None => match head {
            Head::Of(digest) => Some(digest),
            _ => None,
        },
    };
    if named.is_some() && named != own {
        let why = format!(
            "was changed: it does not name {before} as the line before it, and is not named by what follows"
        );
        return (number, place, why);
    }
    if before.file != place.file {
        let why = format!(
            "the line before it is not there: {before} is another one; a file or lines between are missing, or {before} was changed"
        );
        return (number, place, why);
    }
    let why = format!(
        "was changed, or lines behind it are missing: {place} names another one as the line before it"
    );
    (number - 1, before, why)
}

/// What is wrong between the last line and `history.head`.
fn head_broken(lines: &Lines<'_>, head: Head, notes: &mut Vec<String>) -> Option<Broken> {
    let whole = |why: &str| {
        let file = HEAD.to_owned();
        Some((lines.count, Place { file, line: 0 }, why.to_owned()))
    };
    let Some(number) = lines.count.checked_sub(1) else {
        return match head {
            Head::Of(_) => whole("names a line, and there is none left"),
            Head::Missing | Head::Damaged => None,
        };
    };
    let (place, last) = lines.get(number)?;
    let digest = match head {
        Head::Of(digest) => digest,
        // The first append of all makes it before the line, and fills it afterwards.
        _ if number == 0 => {
            notes.push(format!(
                "{HEAD} is not filled yet: {place} is vouched for by nobody"
            ));
            return None;
        }
        Head::Missing => return whole("is missing: the last line is vouched for by nobody"),
        Head::Damaged => return whole("holds no digest: the last line is vouched for by nobody"),
    };
    if digest == last.digest {
        return None;
    }
    let before = number.checked_sub(1).and_then(|n| lines.get(n));
    let cut = last.prev.is_none() && before.is_some_and(|(_, link)| link.digest == digest);
    if cut || last.prev == Some(digest) {
        notes.push(format!(
            "{HEAD} names the line before {place}, as a crash between the two leaves it"
        ));
        return None;
    }
    if let Some(known) = lines.position(digest) {
        let why = format!(
            "is behind {}, which {HEAD} names as the last line",
            lines.place(known)
        );
        return Some((known + 1, lines.place(known + 1), why));
    }
    let why = format!(
        "was changed, or lines behind it are missing: {HEAD} names another one as the last line"
    );
    Some((number, place, why))
}

/// How the oldest file begins.
fn beginning(lines: &Lines<'_>) -> Option<String> {
    let (place, first) = lines.get(0)?;
    match first.prev {
        Some(prev) if Some(prev) == digest(GENESIS.as_bytes()) => None,
        Some(_) => Some(format!(
            "{place} names a line before it: earlier files are gone"
        )),
        None => Some(format!(
            "{place} is cut: whether there were earlier files is not known"
        )),
    }
}

/// The lines that are no whole records.
fn torn(lines: &Lines<'_>) -> Option<String> {
    let cut = lines
        .all()
        .enumerate()
        .filter(|(_, link)| link.prev.is_none());
    let numbers: Vec<usize> = cut.map(|(number, _)| number).collect();
    let names: Vec<String> = numbers
        .iter()
        .take(NAMED)
        .map(|n| lines.place(*n).to_string())
        .collect();
    let more = match numbers.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let names = names.join(", ");
    match numbers.len() {
        0 => None,
        1 => Some(format!(
            "1 line is no whole record, as a crash leaves it: {names}"
        )),
        count => Some(format!(
            "{count} lines are no whole records, as a crash leaves them: {names}{more}"
        )),
    }
}

#[cfg(test)]
mod tests;
