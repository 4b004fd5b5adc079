//! So much of PromQL as tells whether an expression's result still has the label `instance`, how far it looks back,
//! and which metrics it names. What it does not understand is unknown; whether the expression is right is promtool's
//! business. (promql/engine.go `resultMetric`, promql/parser/lex.go)

use std::time::Duration;

use super::span;

/// Whether a result has the label `instance`, as far as that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Instance {
    Kept,
    Dropped,
    Unknown,
    /// No vector: it takes the labels of what it is combined with.
    Number,
}

/// What is read of an expression.
#[derive(Debug)]
pub(super) struct Expression<'a> {
    pub(super) instance: Instance,
    /// The longest look back by a function that stays high for as long.
    pub(super) window: Option<Duration>,
    /// Metrics with what stands in their braces.
    pub(super) metrics: Vec<(&'a str, &'a str)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Number,
    Text(&'a str),
    Braces(&'a str),
    Range(&'a str),
    Sign(&'a str),
}

const LABEL: &str = "instance";

/// Expressions within one another; deeper ones are unknown.
const DEEPEST: usize = 64;

const SIGNS: [&str; 18] = [
    "==", "!=", ">=", "<=", ">", "<", "+", "-", "*", "/", "%", "^", "(", ")", ",", "@", "=", ":",
];

const AGGREGATIONS: [&str; 12] = [
    "sum",
    "avg",
    "min",
    "max",
    "count",
    "stddev",
    "stdvar",
    "group",
    "quantile",
    "count_values",
    "bottomk",
    "topk",
];

/// These pick series and leave them their labels.
const PICKING: [&str; 4] = ["topk", "bottomk", "limitk", "limit_ratio"];

/// These stay above a limit for their whole range after what they count is over.
const LOOKING_BACK: [&str; 9] = [
    "increase",
    "rate",
    "delta",
    "changes",
    "resets",
    "sum_over_time",
    "count_over_time",
    "max_over_time",
    "avg_over_time",
];

/// Words that are no metrics.
const KEYWORDS: [&str; 13] = [
    "and",
    "or",
    "unless",
    "atan2",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "bool",
    "offset",
    "inf",
];

/// Reads an expression.
pub(super) fn read(text: &str) -> Expression<'_> {
    let Some(tokens) = tokens(text) else {
        return Expression {
            instance: Instance::Unknown,
            window: None,
            metrics: Vec::new(),
        };
    };
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        depth: 0,
    };
    let whole = parser.binary(0).filter(|_| parser.at == tokens.len());
    Expression {
        instance: whole.unwrap_or(Instance::Unknown),
        window: window(&tokens),
        metrics: metrics(&tokens),
    }
}

fn metrics<'a>(tokens: &[Token<'a>]) -> Vec<(&'a str, &'a str)> {
    let next = |at: usize| tokens.get(at + 1);
    let metric = |(at, token): (usize, &Token<'a>)| match token {
        Token::Word(word) if !KEYWORDS.contains(word) => match next(at) {
            Some(Token::Sign("(")) => None,
            Some(Token::Braces(inside)) => Some((*word, *inside)),
            _ => Some((*word, "")),
        },
        _ => None,
    };
    tokens.iter().enumerate().filter_map(metric).collect()
}

/// `max_over_time(…) < 1` clears at once; only what is compared with `>` stays: so any `<` and nothing is said.
fn window(tokens: &[Token<'_>]) -> Option<Duration> {
    let falling = |token: &Token<'_>| {
        matches!(
            token,
            Token::Sign("<" | "<=" | "==") | Token::Word("unless" | "absent")
        )
    };
    if tokens.iter().any(falling) {
        return None;
    }
    let (mut open, mut longest) = (None, None);
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            Token::Sign("(") => {
                depth += 1;
                let before = at.checked_sub(1).and_then(|before| tokens.get(before));
                if let Some(Token::Word(word)) = before
                    && LOOKING_BACK.contains(word)
                {
                    open = open.or(Some(depth));
                }
            }
            Token::Sign(")") => {
                if open == Some(depth) {
                    open = None;
                }
                depth = depth.saturating_sub(1);
            }
            Token::Range(range) if open.is_some() => {
                let range = range.split(':').next().unwrap_or("");
                longest = longest.max(span::prometheus(range.trim()));
            }
            _ => {}
        }
    }
    longest
}

fn tokens(text: &str) -> Option<Vec<Token<'_>>> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = match c {
            c if c.is_whitespace() => {
                rest = rest.trim_start();
                continue;
            }
            '#' => {
                rest = rest.split_once('\n').map_or("", |(_, after)| after);
                continue;
            }
            '"' | '\'' | '`' => quoted(rest)?,
            '{' => closed(rest, '}')?,
            '[' => closed(rest, ']')?,
            c if is_word(c) || c == '.' => {
                rest.find(|c| !is_word(c) && c != '.').unwrap_or(rest.len())
            }
            _ => SIGNS.iter().find(|sign| rest.starts_with(**sign))?.len(),
        };
        let (token, after) = rest.split_at_checked(length)?;
        let inside = || token.get(1..length.saturating_sub(1)).unwrap_or("");
        found.push(match c {
            '"' | '\'' | '`' => Token::Text(inside()),
            '{' => Token::Braces(inside()),
            '[' => Token::Range(inside()),
            c if c.is_ascii_digit() || c == '.' => Token::Number,
            c if is_word(c) => Token::Word(token),
            _ => Token::Sign(token),
        });
        rest = after;
    }
    Some(found)
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == ':'
}

/// The length of a string at the beginning, quotes included.
fn quoted(text: &str) -> Option<usize> {
    let mut letters = text.char_indices();
    let (_, quote) = letters.next()?;
    let mut escaped = false;
    for (at, c) in letters {
        if c == quote && !escaped {
            return Some(at + 1);
        }
        escaped = c == '\\' && !escaped && quote != '`';
    }
    None
}

/// The length of what a bracket at the beginning encloses, strings respected.
fn closed(text: &str, end: char) -> Option<usize> {
    let mut at = 1;
    loop {
        let rest = text.get(at..)?;
        match rest.chars().next()? {
            c if c == end => return Some(at + 1),
            '"' | '\'' | '`' => at += quoted(rest)?,
            c => at += c.len_utf8(),
        }
    }
}

struct Parser<'t, 'a> {
    tokens: &'t [Token<'a>],
    at: usize,
    depth: usize,
}

/// `on (…)` or `ignoring (…)`, and whose labels win.
#[derive(Default)]
struct Matching<'a> {
    on: Option<Vec<&'a str>>,
    ignoring: Option<Vec<&'a str>>,
    left: Option<Vec<&'a str>>,
    right: Option<Vec<&'a str>>,
}

impl<'a> Parser<'_, 'a> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.at).copied()
    }

    fn next(&mut self) -> Option<Token<'a>> {
        let token = self.peek()?;
        self.at += 1;
        Some(token)
    }

    fn take(&mut self, token: Token<'_>) -> bool {
        let here = self.peek() == Some(token);
        self.at += usize::from(here);
        here
    }

    /// An operator that binds at least so tightly, and how tightly it binds.
    fn operator(&self, least: u8) -> Option<(&'a str, u8)> {
        let (Token::Sign(word) | Token::Word(word)) = self.peek()? else {
            return None;
        };
        let binds = match word {
            "or" => 0,
            "and" | "unless" => 1,
            "==" | "!=" | ">" | "<" | ">=" | "<=" => 2,
            "+" | "-" => 3,
            "*" | "/" | "%" | "atan2" => 4,
            "^" => 5,
            _ => return None,
        };
        (binds >= least).then_some((word, binds))
    }

    fn binary(&mut self, least: u8) -> Option<Instance> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return None;
        }
        let mut left = self.unary()?;
        while let Some((operator, binds)) = self.operator(least) {
            self.at += 1;
            let matching = self.matching()?;
            let right = self.binary(binds + 1)?;
            left = combined(operator, left, right, &matching);
        }
        self.depth -= 1;
        Some(left)
    }

    fn matching(&mut self) -> Option<Matching<'a>> {
        let mut found = Matching::default();
        self.take(Token::Word("bool"));
        loop {
            let place = match self.peek() {
                Some(Token::Word("on")) => &mut found.on,
                Some(Token::Word("ignoring")) => &mut found.ignoring,
                Some(Token::Word("group_left")) => &mut found.left,
                Some(Token::Word("group_right")) => &mut found.right,
                _ => return Some(found),
            };
            self.at += 1;
            *place = Some(match self.peek() {
                Some(Token::Sign("(")) => self.names()?,
                _ => Vec::new(),
            });
        }
    }

    /// `(a, b)`
    fn names(&mut self) -> Option<Vec<&'a str>> {
        let mut names = Vec::new();
        if !self.take(Token::Sign("(")) {
            return None;
        }
        loop {
            match self.next()? {
                Token::Sign(")") => return Some(names),
                Token::Word(name) | Token::Text(name) => names.push(name),
                Token::Sign(",") => {}
                _ => return None,
            }
        }
    }

    fn unary(&mut self) -> Option<Instance> {
        while self.take(Token::Sign("-")) || self.take(Token::Sign("+")) {}
        let value = self.primary()?;
        loop {
            match self.peek() {
                Some(Token::Range(_)) => self.at += 1,
                Some(Token::Word("offset")) => {
                    self.at += 1;
                    self.take(Token::Sign("-"));
                    self.at += 1;
                }
                Some(Token::Sign("@")) => {
                    self.at += 2;
                    if self.peek() == Some(Token::Sign("(")) {
                        self.names()?;
                    }
                }
                _ => return Some(value),
            }
        }
    }

    fn primary(&mut self) -> Option<Instance> {
        match self.next()? {
            Token::Number | Token::Text(_) => Some(Instance::Number),
            Token::Word(word)
                if word.eq_ignore_ascii_case("inf") || word.eq_ignore_ascii_case("nan") =>
            {
                Some(Instance::Number)
            }
            Token::Sign("(") => {
                let value = self.binary(0)?;
                self.take(Token::Sign(")")).then_some(value)
            }
            Token::Braces(_) => Some(Instance::Kept),
            Token::Word(word) => match self.peek() {
                Some(Token::Sign("(") | Token::Word("by" | "without"))
                    if AGGREGATIONS.contains(&word) || PICKING.contains(&word) =>
                {
                    self.aggregation(word)
                }
                Some(Token::Sign("(")) => self.function(word),
                next => {
                    if let Some(Token::Braces(_)) = next {
                        self.at += 1;
                    }
                    // A recording rule's result has the labels that its own expression leaves it.
                    Some(match word.contains(':') {
                        true => Instance::Unknown,
                        false => Instance::Kept,
                    })
                }
            },
            _ => None,
        }
    }

    fn aggregation(&mut self, word: &str) -> Option<Instance> {
        let before = self.grouping()?;
        let inside = self.arguments()?.pop()?;
        let grouping = match before {
            Some(grouping) => Some(grouping),
            None => self.grouping()?,
        };
        if PICKING.contains(&word) {
            return Some(inside);
        }
        Some(match grouping {
            Some((true, names)) if names.contains(&LABEL) => inside,
            Some((false, names)) if !names.contains(&LABEL) => inside,
            _ => Instance::Dropped,
        })
    }

    /// `by (…)`, which is true, or `without (…)`.
    fn grouping(&mut self) -> Option<Option<(bool, Vec<&'a str>)>> {
        let by = match self.peek() {
            Some(Token::Word("by")) => true,
            Some(Token::Word("without")) => false,
            _ => return Some(None),
        };
        self.at += 1;
        Some(Some((by, self.names()?)))
    }

    fn function(&mut self, word: &str) -> Option<Instance> {
        let start = self.at;
        let arguments = self.arguments()?;
        let inside = self.tokens.get(start..self.at).unwrap_or_default();
        let names_it = || {
            inside.iter().any(|token| {
                matches!(token, Token::Braces(text) if text.contains(LABEL))
                    || *token == Token::Text(LABEL)
            })
        };
        Some(match word {
            "absent" | "absent_over_time" if names_it() => Instance::Kept,
            "absent" | "absent_over_time" | "vector" => Instance::Dropped,
            "label_replace" | "label_join" if names_it() => Instance::Kept,
            "scalar" => Instance::Number,
            _ => arguments.into_iter().fold(Instance::Number, both),
        })
    }

    /// `(a, b)`, each an expression.
    fn arguments(&mut self) -> Option<Vec<Instance>> {
        let mut found = Vec::new();
        if !self.take(Token::Sign("(")) {
            return None;
        }
        while !self.take(Token::Sign(")")) {
            found.push(self.binary(0)?);
            self.take(Token::Sign(","));
        }
        Some(found)
    }
}

fn both(one: Instance, other: Instance) -> Instance {
    match (one, other) {
        (Instance::Dropped, _) | (_, Instance::Dropped) => Instance::Dropped,
        (Instance::Unknown, _) | (_, Instance::Unknown) => Instance::Unknown,
        (Instance::Number, other) => other,
        _ => Instance::Kept,
    }
}

fn combined(operator: &str, left: Instance, right: Instance, by: &Matching<'_>) -> Instance {
    let has = |names: &Option<Vec<&str>>| names.as_ref().is_some_and(|n| n.contains(&LABEL));
    match (operator, left, right) {
        ("or", ..) => both(left, right),
        ("and" | "unless", ..) => left,
        (_, Instance::Number, other) | (_, other, Instance::Number) => other,
        _ if has(&by.left) || has(&by.right) => Instance::Kept,
        _ if by.left.is_some() => left,
        _ if by.right.is_some() => right,
        _ if by.on.is_some() && !has(&by.on) => Instance::Dropped,
        _ if has(&by.ignoring) => Instance::Dropped,
        _ => left,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_the_label() {
        use Instance::{Dropped, Kept, Number, Unknown};
        for (text, want) in [
            ("up == 0", Kept),
            ("up{job=\"a\"} == 0 or nginx_up == 0", Kept),
            ("sum(rate(x[5m])) > 1", Dropped),
            ("sum by (instance) (x) > 1", Kept),
            ("sum(x) by (job, instance)", Kept),
            ("sum without (cpu) (x)", Kept),
            ("sum without (instance) (x)", Dropped),
            ("count(up) by (job)", Dropped),
            ("topk(3, x)", Kept),
            ("topk(1, sum by (job) (x))", Dropped),
            ("x and on (host) count by (host) (y == 1) > 1", Kept),
            ("x / on (host) y > 0.9", Dropped),
            ("x / on (instance) y > 0.9", Kept),
            ("x * on (host) group_left (version) y", Kept),
            ("y * on (host) group_right x", Kept),
            (
                "sum by (host) (y) * on (host) group_left (instance) x",
                Kept,
            ),
            ("x / ignoring (instance) y", Dropped),
            (
                "1 - avg by (instance) (rate(cpu{mode=\"idle\"}[5m])) > 0.9",
                Kept,
            ),
            (
                "histogram_quantile(0.9, sum by (le) (rate(b[5m]))) > 1",
                Dropped,
            ),
            ("absent(up{job=\"x\"})", Dropped),
            ("absent(up{instance=\"a:1\"})", Kept),
            (
                "label_replace(sum by (host) (x), \"instance\", \"$1\", \"host\", \"(.*)\")",
                Kept,
            ),
            ("job:errors:rate5m > 1", Unknown),
            ("sum(job:errors:rate5m) > 1", Dropped),
            ("(x offset 5m) > 0 and x @ start() > 1", Kept),
            ("max_over_time(x[1h:5m] offset -1m)", Kept),
            ("vector(1)", Dropped),
            ("time() - x > 60", Kept),
            ("x > bool 1", Kept),
            ("{__name__=~\"a.*\"} > 0 # sum(x)", Kept),
            ("-x ^ 2", Kept),
            ("1 + 1", Number),
            ("x ++", Unknown),
            ("sum(", Unknown),
            ("x{a=\"}\"} > 0", Kept),
            ("é", Unknown),
        ] {
            assert_eq!(read(text).instance, want, "{text}");
        }
        let deep = format!("{}x{}", "(".repeat(100_000), ")".repeat(100_000));
        assert_eq!(read(&deep).instance, Unknown);
    }

    #[test]
    fn how_far_it_looks_back() {
        for (text, want) in [
            ("increase(x[5m]) > 0", Some(300)),
            (
                "sum by (instance) (rate(x[1h])) > 1 and rate(y[10m]) > 0",
                Some(3600),
            ),
            ("max_over_time(x[1h]) < 10", None),
            ("predict_linear(x[6h], 3600) > 0", None),
            ("max_over_time(rate(x[5m])[30m:1m]) > 0", Some(1800)),
            ("up == 0", None),
        ] {
            assert_eq!(read(text).window, want.map(Duration::from_secs), "{text}");
        }
    }

    #[test]
    fn the_metrics_it_names() {
        let found = read("up{job=\"a\"} == 0 or absent(b) and on (host) sum by (c) (d)").metrics;
        for metric in [("up", "job=\"a\""), ("b", ""), ("d", "")] {
            assert!(found.contains(&metric), "{found:?}");
        }
    }
}
