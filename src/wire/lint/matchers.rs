//! Label matchers of routes and inhibitions, and what can be known of an alert from them: yes, no, or unknown. A
//! regular expression that is more than words and `.*` is unknown, never guessed.

use super::yaml::Node;

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Is,
    IsNot,
    Like,
    Unlike,
}

/// One comparison, of a label that may be missing: then its value is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Matcher {
    pub(super) label: String,
    pub(super) op: Op,
    pub(super) value: String,
}

impl Matcher {
    pub(super) fn is(label: &str, value: &str) -> Matcher {
        Matcher {
            label: label.to_owned(),
            op: Op::Is,
            value: value.to_owned(),
        }
    }

    /// Whether a label of this value passes.
    pub(super) fn passes(&self, value: &str) -> Option<bool> {
        match self.op {
            Op::Is => Some(self.value == value),
            Op::IsNot => Some(self.value != value),
            Op::Like => like(&self.value, value),
            Op::Unlike => like(&self.value, value).map(|like| !like),
        }
    }

    fn contradicts(&self, other: &Matcher) -> bool {
        let opposite = matches!(
            (self.op, other.op),
            (Op::Is, Op::IsNot)
                | (Op::IsNot, Op::Is)
                | (Op::Like, Op::Unlike)
                | (Op::Unlike, Op::Like)
        );
        opposite && self.label == other.label && self.value == other.value
    }

    /// The values that pass, where they can be listed.
    fn values(&self) -> Option<Vec<&str>> {
        match self.op {
            Op::Is => Some(vec![&self.value]),
            Op::Like => {
                let words: Vec<&str> = alternatives(&self.value)?.collect();
                let plain = |word: &&str| !word.contains(|c| SPECIAL.contains(c));
                words.iter().all(plain).then_some(words)
            }
            _ => None,
        }
    }
}

/// Whether an alert of which `facts` are true passes one matcher.
fn follows(matcher: &Matcher, facts: &[Matcher]) -> Option<bool> {
    let about = || facts.iter().filter(|fact| fact.label == matcher.label);
    if about().any(|fact| fact == matcher) {
        return Some(true);
    }
    if about().any(|fact| fact.contradicts(matcher)) {
        return Some(false);
    }
    about().find_map(|fact| {
        let values = fact.values()?;
        let mut answers = values.iter().map(|value| matcher.passes(value));
        let first = answers.next()??;
        answers.all(|answer| answer == Some(first)).then_some(first)
    })
}

/// Whether an alert of which `facts` are true passes all of these.
pub(super) fn follow(matchers: &[Matcher], facts: &[Matcher]) -> Option<bool> {
    let mut all = Some(true);
    for matcher in matchers {
        match follows(matcher, facts) {
            Some(false) => return Some(false),
            None => all = None,
            Some(true) => {}
        }
    }
    all
}

/// Whether these make sure that the label is there.
pub(super) fn demand(label: &str, matchers: &[Matcher]) -> bool {
    matchers
        .iter()
        .any(|matcher| matcher.label == label && matcher.passes("") == Some(false))
}

/// The matchers of a node: those of the map `exact`, of the map `like`, and of the list `listed`.
/// `None` where one of them cannot be read, or there are too many: then nothing is known.
pub(super) fn of(node: &Node, exact: &str, like: &str, listed: &str) -> Option<Vec<Matcher>> {
    let mut found = Vec::new();
    for (key, op) in [(exact, Op::Is), (like, Op::Like)] {
        let Some(entry) = node.get(key) else { continue };
        for (label, entry) in entry.node.map()? {
            found.push(Matcher {
                label: label.clone(),
                op,
                value: entry.node.text().unwrap_or("").to_owned(),
            });
        }
    }
    for item in node.items(listed) {
        found.extend(parse(item.text()?)?);
    }
    (found.len() <= MOST).then_some(found)
}

/// Matchers of one route.
const MOST: usize = 100;

/// `{a="b",c!~"d"}`, braces and quotes optional (alertmanager `pkg/labels/parse.go`, `matcher/parse`).
pub(super) fn parse(text: &str) -> Option<Vec<Matcher>> {
    let text = text.trim();
    let text = text.strip_prefix('{').unwrap_or(text);
    let text = text.strip_suffix('}').unwrap_or(text);
    let mut found = Vec::new();
    for part in split(text) {
        if !part.trim().is_empty() {
            found.push(one(part.trim())?);
        }
    }
    Some(found)
}

/// At the commas outside quotes.
fn split(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut quoted, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !escaped => quoted = !quoted,
            ',' if !quoted => {
                parts.push(text.get(start..at).unwrap_or(""));
                start = at + 1;
            }
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    parts.push(text.get(start..).unwrap_or(""));
    parts
}

fn one(text: &str) -> Option<Matcher> {
    let (label, rest) = match text.strip_prefix('"') {
        Some(inner) => {
            let (label, rest) = inner.split_once('"')?;
            (label, rest.trim_start())
        }
        None => text.split_at_checked(text.find(['=', '!'])?)?,
    };
    let (op, value) = [
        ("=~", Op::Like),
        ("!~", Op::Unlike),
        ("!=", Op::IsNot),
        ("=", Op::Is),
    ]
    .iter()
    .find_map(|(sign, op)| Some((*op, rest.strip_prefix(sign)?)))?;
    let label = label.trim();
    (!label.is_empty()).then(|| Matcher {
        label: label.to_owned(),
        op,
        value: unquoted(value.trim()),
    })
}

fn unquoted(text: &str) -> String {
    let inner = text
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        .unwrap_or(text);
    let mut out = String::new();
    let mut letters = inner.chars();
    while let Some(c) = letters.next() {
        match (c, letters.clone().next()) {
            ('\\', Some(next @ ('"' | '\\'))) => {
                out.push(next);
                letters.next();
            }
            ('\\', Some('n')) => {
                out.push('\n');
                letters.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// What has a meaning in a regular expression.
const SPECIAL: &str = "\\.+*?()|[]{}^$";

/// The alternatives of an anchored expression without other groups than one around all.
fn alternatives(pattern: &str) -> Option<std::str::Split<'_, char>> {
    let bare = pattern.strip_prefix('^').unwrap_or(pattern);
    let bare = bare.strip_suffix('$').unwrap_or(bare);
    let bare = bare
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
        .map_or(bare, |rest| rest.strip_prefix("?:").unwrap_or(rest));
    (!bare.contains(['(', ')', '[', '{', '^', '$'])).then(|| bare.split('|'))
}

/// Whether an anchored regular expression matches; unknown where it is more than words, `.`-escapes, `.*` and `.+`.
pub(super) fn like(pattern: &str, value: &str) -> Option<bool> {
    let mut unknown = false;
    for alternative in alternatives(pattern)? {
        match pieces(alternative).map(|pieces| fits(&pieces, value)) {
            Some(true) => return Some(true),
            Some(false) => {}
            None => unknown = true,
        }
    }
    (!unknown).then_some(false)
}

enum Piece {
    Letters(String),
    /// Any, at least so many bytes.
    Any(usize),
}

/// At most two wildcards, so that trying them all is cheap.
fn pieces(pattern: &str) -> Option<Vec<Piece>> {
    let mut found = vec![Piece::Letters(String::new())];
    let mut letters = pattern.chars();
    let mut wild = 0;
    while let Some(c) = letters.next() {
        let plain = match c {
            '\\' => letters.next().filter(|c| !c.is_ascii_alphanumeric())?,
            '.' => {
                let least = match letters.next()? {
                    '*' => 0,
                    '+' => 1,
                    _ => return None,
                };
                wild += 1;
                found.extend([Piece::Any(least), Piece::Letters(String::new())]);
                continue;
            }
            c if SPECIAL.contains(c) => return None,
            c => c,
        };
        // A quantifier behind a letter is more than words.
        if letters.clone().next().is_some_and(|c| "*+?".contains(c)) {
            return None;
        }
        if let Some(Piece::Letters(text)) = found.last_mut() {
            text.push(plain);
        }
    }
    (wild <= 2).then_some(found)
}

fn fits(pieces: &[Piece], value: &str) -> bool {
    match pieces.split_first() {
        None => value.is_empty(),
        Some((Piece::Letters(text), rest)) => value
            .strip_prefix(text.as_str())
            .is_some_and(|value| fits(rest, value)),
        Some((Piece::Any(least), rest)) => value
            .char_indices()
            .map(|(at, _)| at)
            .chain([value.len()])
            .filter(|at| at >= least)
            .any(|at| value.get(at..).is_some_and(|value| fits(rest, value))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Vec<Matcher> {
        parse(text).unwrap()
    }

    #[test]
    fn every_spelling_of_a_matcher() {
        for text in [
            r#"heal="true""#,
            "heal=true",
            r#"{heal="true"}"#,
            r#" heal = "true" , "#,
            r#""heal"="true""#,
        ] {
            assert_eq!(
                parse(text),
                Some(vec![Matcher::is("heal", "true")]),
                "{text}"
            );
        }
        assert_eq!(facts(r#"a="b,\"c",d!~"e|f""#).len(), 2);
        assert_eq!(facts(r#"a="b,\"c""#), [Matcher::is("a", "b,\"c")]);
        assert_eq!(parse("heal"), None);
        assert_eq!(parse("=x"), None);
    }

    #[test]
    fn simple_expressions_are_known_and_others_are_not() {
        for (pattern, value, answer) in [
            ("a|b", "b", Some(true)),
            ("a|b", "ab", Some(false)),
            ("(a|b)", "a", Some(true)),
            ("^(?:a|b)$", "b", Some(true)),
            (".*", "", Some(true)),
            (".+", "", Some(false)),
            ("Nginx.*", "NginxDown", Some(true)),
            (".*Down", "NginxUp", Some(false)),
            (r"a\.b", "a.b", Some(true)),
            (r"a\.b", "axb", Some(false)),
            ("", "", Some(true)),
            ("[ab]", "a", None),
            ("ab?", "a", None),
            ("a.b", "axb", None),
            (r"\d", "1", None),
            ("a|[b]", "a", None),
            ("a(b|c)", "ab", None),
        ] {
            assert_eq!(like(pattern, value), answer, "{pattern} {value}");
        }
    }

    #[test]
    fn what_follows_from_facts() {
        for (matchers, known, answer) in [
            (r#"heal="true""#, r#"heal="true""#, Some(true)),
            (r#"heal="true""#, r#"heal="false""#, Some(false)),
            (r#"heal="true""#, r#"severity="x""#, None),
            (r#"heal!="true""#, r#"heal="true""#, Some(false)),
            (r#"severity=~"a|b""#, r#"severity="a""#, Some(true)),
            (r#"severity="a""#, r#"severity=~"a|b""#, None),
            (r#"severity=~"a|b|c""#, r#"severity=~"a|b""#, Some(true)),
            (r#"severity="c""#, r#"severity=~"a|b""#, Some(false)),
            (r#"x=~"[a]""#, r#"x=~"[a]""#, Some(true)),
            (r#"x!~"[a]""#, r#"x=~"[a]""#, Some(false)),
            (r#"x!="""#, r#"x=~"a|b""#, Some(true)),
            ("", "", Some(true)),
        ] {
            assert_eq!(
                follow(&facts(matchers), &facts(known)),
                answer,
                "{matchers} {known}"
            );
        }
        assert!(demand("host", &facts(r#"host!="""#)));
        assert!(demand("host", &facts(r#"host=~".+""#)));
        assert!(!demand("host", &facts(r#"host=~".*",job="x""#)));
    }
}
