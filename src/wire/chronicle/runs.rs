//! Runs, one line each for a person: what a run's intent, its result and what was found out afterwards say together. A
//! run that began before what is asked for, and ended within, is known by its result alone.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt::Write as _;
use std::rc::Rc;

use super::{Entry, Filter, Text, span};
use crate::judge::Time;
use crate::wire::meaning::ENDINGS;
use crate::wire::paint::{Paint, Tone};
use crate::wire::quote::shown;
use crate::wire::timestamp;

/// The outcome of a run that has not ended.
pub const RUNNING: &str = "running";

/// The outcome of a run without a result that nobody supervises any more.
pub const UNKNOWN: &str = "unknown";

/// The outcome of an alert that was only judged.
const OBSERVED: &str = "observed";

/// The event, and the outcome, of a line that tells of no run but of an operator who had one's counts forgotten.
const RESET: &str = "reset";

/// An instant as it is shown.
const INSTANT: &str = "2026-11-22T12:00:00Z";

/// The words that runs can be asked for by, and what each means: how they ended, or what was found out afterwards.
pub fn outcomes() -> impl Iterator<Item = (&'static str, &'static str)> {
    let ended = ENDINGS.iter().map(|ended| (ended.outcome, ended.means));
    ended.chain([
        (OBSERVED, "an alert was judged and only told"),
        (RESET, "an operator had forgotten what counted against it"),
        (RUNNING, "it has not ended"),
        (UNKNOWN, "it has no result, and nobody supervises it"),
        ("verified", "healed, and resolved came"),
        ("ineffective", "healed, and the alert went on firing"),
    ])
}

const HEADINGS: [&str; 11] = [
    "TIME",
    "ALERT",
    "INSTANCE",
    "ATTEMPT",
    "OUTCOME",
    "VERDICT",
    "TOOK",
    "ROLLBACK",
    "AFTERWARDS",
    "BY",
    "RUN",
];

/// One run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// When it began; where only its end is known, when that was recorded.
    pub at: Time,
    /// Alertname.
    pub alertname: Rc<str>,
    /// Instance.
    pub instance: Rc<str>,
    /// The sender's fingerprint; may be empty.
    pub fingerprint: Rc<str>,
    /// Its id; empty for an alert that was only judged.
    pub run_id: Rc<str>,
    attempt: u32,
    outcome: Rc<str>,
    verdict: Rc<str>,
    duration_ms: Option<u64>,
    rollback: Rc<str>,
    afterwards: Rc<str>,
    by: Rc<str>,
}

/// Texts, each kept once: a long history says the same few words again and again, and making and freeing a copy of each
/// would take longer than reading it.
#[derive(Debug, Default)]
struct Texts {
    known: HashSet<Rc<str>>,
    nothing: Rc<str>,
}

impl Texts {
    /// The text, kept. It is most likely that of the run before.
    fn keep(&mut self, text: &str, before: Option<&Rc<str>>) -> Rc<str> {
        if text.is_empty() {
            return Rc::clone(&self.nothing);
        }
        if let Some(before) = before.filter(|before| ***before == *text) {
            return Rc::clone(before);
        }
        if let Some(known) = self.known.get(text) {
            return Rc::clone(known);
        }
        let kept: Rc<str> = text.into();
        self.known.insert(Rc::clone(&kept));
        kept
    }
}

impl Seen {
    fn of(entry: &Entry<'_>, texts: &mut Texts, before: Option<&Seen>) -> Seen {
        let nothing = Rc::clone(&texts.nothing);
        let mut keep = |text: &str, of: fn(&Seen) -> &Rc<str>| texts.keep(text, before.map(of));
        Seen {
            at: entry.at,
            alertname: keep(&entry.alertname, |seen| &seen.alertname),
            instance: keep(&entry.instance, |seen| &seen.instance),
            fingerprint: keep(&entry.fingerprint, |seen| &seen.fingerprint),
            run_id: (*entry.run_id).into(),
            attempt: entry.attempt,
            outcome: Rc::clone(&nothing),
            verdict: Rc::clone(&nothing),
            duration_ms: None,
            rollback: Rc::clone(&nothing),
            afterwards: nothing,
            by: keep(&entry.by(), |seen| &seen.by),
        }
    }

    fn end(&mut self, entry: &Entry<'_>, texts: &mut Texts) {
        let mut keep = |text: Option<&Text<'_>>| texts.keep(text.map_or("", |text| text), None);
        self.outcome = keep(entry.outcome.as_ref());
        self.verdict = keep(entry.verdict.as_ref());
        self.rollback = keep(entry.rollback.as_ref());
        self.duration_ms = entry.duration_ms;
    }

    fn observe(&mut self, entry: &Entry<'_>, texts: &mut Texts) {
        self.outcome = texts.keep(OBSERVED, None);
        let would = entry.would.as_deref().unwrap_or_default();
        self.verdict = match would.split(':').next().unwrap_or_default() {
            "run" => texts.keep("would run", None),
            verdict => texts.keep(&format!("would be {verdict}"), None),
        };
    }

    fn learn(&mut self, entry: &Entry<'_>, texts: &mut Texts) {
        self.afterwards = match (&*entry.event, entry.lasted_ms) {
            ("verified", Some(ms)) => texts.keep(&format!("verified after {}", span(ms)), None),
            (event, _) => texts.keep(event, None),
        };
    }

    /// Whether its result is missing.
    pub fn is_open(&self) -> bool {
        self.outcome.is_empty()
    }

    /// Whether its outcome is asked for, so far as it is known.
    pub fn is_asked_for(&self, filter: &Filter) -> bool {
        let running = self.is_open();
        let takes = |word: &String| self.takes(word) || running && word == RUNNING;
        filter.outcome.as_ref().is_none_or(takes)
    }

    fn takes(&self, outcome: &str) -> bool {
        *self.outcome == *outcome || self.afterwards.split(' ').next() == Some(outcome)
    }

    /// Its cells; those that have to be made are put together in `made`.
    fn cells<'a>(&'a self, made: &'a mut String) -> [(Tone, Cow<'a, str>); HEADINGS.len()] {
        made.clear();
        timestamp::write(self.at, made);
        let at = made.len();
        // Nothing fails in a text.
        let _ = write!(made, "{}", self.attempt);
        let attempt = made.len();
        if let Some(ms) = self.duration_ms {
            made.push_str(&span(ms));
        }
        let made = |from: usize, to: usize| {
            let text = made.get(from..to.min(made.len())).unwrap_or_default();
            (Tone::Plain, Cow::Borrowed(text))
        };
        let outcome = match &*self.outcome {
            "healed" => Tone::Good,
            "deferred" | RUNNING | UNKNOWN => Tone::Warning,
            OBSERVED | RESET => Tone::Plain,
            _ => Tone::Bad,
        };
        let verdict = match &*self.verdict {
            "tripped" | "gave-up" | "error" => Tone::Bad,
            _ => Tone::Plain,
        };
        let rollback = match &*self.rollback {
            "failed" => Tone::Bad,
            _ => Tone::Warning,
        };
        let afterwards = match &*self.afterwards {
            "ineffective" => Tone::Warning,
            _ => Tone::Good,
        };
        [
            made(0, at),
            (Tone::Plain, shown(&self.alertname)),
            (Tone::Plain, shown(&self.instance)),
            made(at, attempt),
            (outcome, shown(&self.outcome)),
            (verdict, shown(&self.verdict)),
            made(attempt, usize::MAX),
            (rollback, shown(&self.rollback)),
            (afterwards, shown(&self.afterwards)),
            (Tone::Plain, shown(&self.by)),
            (Tone::Faint, shown(&self.run_id)),
        ]
    }
}

impl Seen {
    /// How wide its cells are.
    fn widths(&self) -> [usize; HEADINGS.len()] {
        [
            INSTANT.len(),
            width(&self.alertname),
            width(&self.instance),
            digits(self.attempt),
            width(&self.outcome),
            width(&self.verdict),
            self.duration_ms.map_or(0, |ms| span(ms).len()),
            width(&self.rollback),
            width(&self.afterwards),
            width(&self.by),
            width(&self.run_id),
        ]
    }
}

fn width(text: &str) -> usize {
    match shown(text) {
        Cow::Borrowed(text) => text.len(),
        Cow::Owned(text) => text.chars().count(),
    }
}

fn digits(number: u32) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

/// The runs that are asked for, in the order in which they began.
#[derive(Debug, Default)]
pub struct Runs {
    seen: Vec<Seen>,
    by_id: HashMap<Rc<str>, usize>,
    texts: Texts,
}

impl Runs {
    /// Takes a line in; the run that it has changed, if that is asked for so far. The outcome is looked at in the end.
    pub fn add(&mut self, entry: &Entry<'_>, filter: &Filter) -> Option<&Seen> {
        let number = match &*entry.event {
            "intent" | "observed" | RESET => self.begin(entry, filter)?,
            "result" => match self.known(&entry.run_id) {
                Some(number) => number,
                None => self.begin(entry, filter)?,
            },
            "verified" | "ineffective" => self.known(&entry.run_id)?,
            _ => return None,
        };
        let (run, texts) = (self.seen.get_mut(number)?, &mut self.texts);
        match &*entry.event {
            "result" => run.end(entry, texts),
            "observed" => run.observe(entry, texts),
            RESET => run.outcome = texts.keep(RESET, None),
            "verified" | "ineffective" => run.learn(entry, texts),
            _ => {}
        }
        self.seen.get(number)
    }

    /// The run of this id: most likely the one that began last.
    fn known(&self, id: &str) -> Option<usize> {
        if id.is_empty() {
            return None;
        }
        let last = self.seen.last().filter(|run| *run.run_id == *id);
        match last {
            Some(_) => self.seen.len().checked_sub(1),
            None => self.by_id.get(id).copied(),
        }
    }

    fn begin(&mut self, entry: &Entry<'_>, filter: &Filter) -> Option<usize> {
        if !filter.is_about(entry) || !filter.is_in_time(entry.at) {
            return None;
        }
        let run = Seen::of(entry, &mut self.texts, self.seen.last());
        let number = self.seen.len();
        if !run.run_id.is_empty() {
            self.by_id.insert(Rc::clone(&run.run_id), number);
        }
        self.seen.push(run);
        Some(number)
    }

    /// Names the outcome of those without a result, and lets go of all whose outcome is not asked for.
    pub fn settle(&mut self, filter: &Filter, runs: &mut dyn FnMut(&Seen) -> bool) {
        for run in self.seen.iter_mut().filter(|run| run.is_open()) {
            let word = if runs(run) { RUNNING } else { UNKNOWN };
            run.outcome = self.texts.keep(word, None);
        }
        if filter.outcome.is_some() {
            self.seen.retain(|run| run.is_asked_for(filter));
            let ids = self.seen.iter().enumerate();
            self.by_id = ids
                .map(|(number, run)| (Rc::clone(&run.run_id), number))
                .collect();
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Seen] {
        &self.seen
    }
}

/// Runs as a table whose columns only get wider: for lines that are not all there yet.
#[derive(Debug)]
pub struct Table {
    paint: Paint,
    /// Of every column.
    widths: [usize; HEADINGS.len()],
    /// Whether the column is shown.
    shown: [bool; HEADINGS.len()],
    /// The line that was shown last.
    line: String,
    /// What had to be made for it.
    made: String,
}

impl Table {
    /// Columns as wide as these runs need. With `all` every column is there, else those in which something stands.
    pub fn for_runs(paint: Paint, runs: &[Seen], all: bool) -> Table {
        let mut table = Table {
            paint,
            widths: [0; HEADINGS.len()],
            shown: [false; HEADINGS.len()],
            line: String::new(),
            made: String::new(),
        };
        for run in runs {
            table.widen(run.widths());
        }
        table.shown = table.widths.map(|width| all || width > 0);
        table.widen(HEADINGS.map(str::len));
        table
    }

    fn widen(&mut self, widths: [usize; HEADINGS.len()]) {
        for (mine, other) in self.widths.iter_mut().zip(widths) {
            *mine = (*mine).max(other);
        }
    }

    fn row(&self, cells: &[(Tone, Cow<'_, str>)], line: &mut String) {
        let columns = cells.iter().zip(self.widths).zip(self.shown);
        let shown = columns.filter(|(_, shown)| *shown);
        let cells = shown.map(|(((tone, text), width), _)| (*tone, &**text, width));
        self.paint.row(cells, line);
    }

    /// The headings' line.
    pub fn head(&self) -> String {
        let headings = HEADINGS.map(|heading| (Tone::Strong, Cow::Borrowed(heading)));
        let mut line = String::new();
        self.row(&headings, &mut line);
        line
    }

    /// The line of one of the runs that the table is made for.
    pub fn line(&mut self, run: &Seen) -> &str {
        let (mut line, mut made) = (
            std::mem::take(&mut self.line),
            std::mem::take(&mut self.made),
        );
        line.clear();
        self.row(&run.cells(&mut made), &mut line);
        (self.line, self.made) = (line, made);
        &self.line
    }

    /// The line of a run that is followed: it runs, if it has no result yet.
    pub fn line_as_it_comes(&mut self, run: &Seen) -> &str {
        let outcome = match run.is_open() {
            true => RUNNING.into(),
            false => Rc::clone(&run.outcome),
        };
        let run = Seen {
            outcome,
            ..run.clone()
        };
        self.widen(run.widths());
        self.line(&run)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: [&str; 7] = [
        r#"{"at":"2026-03-04T05:06:07Z","event":"intent","run_id":"1-1-1.A","alertname":"A","instance":"web-1","attempt":1}"#,
        r#"{"at":"2026-03-04T05:06:09Z","event":"result","run_id":"1-1-1.A","alertname":"A","instance":"web-1","attempt":1,"outcome":"failed","duration_ms":2100,"verdict":"failed","rollback":"restored"}"#,
        r#"{"at":"2026-03-04T05:07:00Z","event":"intent","run_id":"1-1-2.A","alertname":"A","instance":"web-1","attempt":2,"peer":"operator:anna"}"#,
        r#"{"at":"2026-03-04T05:07:01Z","event":"result","run_id":"1-1-2.A","alertname":"A","instance":"web-1","attempt":2,"outcome":"healed","duration_ms":7,"verdict":"healed"}"#,
        r#"{"at":"2026-03-04T05:08:00Z","event":"observed","run_id":"","alertname":"Other","instance":"\u001b[2J","attempt":0,"would":"tripped: the breaker is open"}"#,
        r#"{"at":"2026-03-04T05:09:00Z","event":"verified","run_id":"1-1-2.A","alertname":"A","instance":"web-1","attempt":2,"lasted_ms":61000}"#,
        r#"{"at":"2026-03-04T05:10:00Z","event":"intent","run_id":"1-1-3.A","alertname":"A","instance":"web-1","attempt":1}"#,
    ];

    fn shown(lines: &[&str], filter: &Filter) -> String {
        let mut runs = Runs::default();
        for line in lines {
            runs.add(&Entry::parse(line.as_bytes()).unwrap(), filter);
        }
        runs.settle(filter, &mut |run| &*run.run_id == "1-1-3.A");
        let mut table = Table::for_runs(Paint::default(), runs.all(), false);
        let lines: Vec<String> = runs
            .all()
            .iter()
            .map(|run| table.line(run).to_owned())
            .collect();
        table.head() + &lines.concat()
    }

    #[test]
    fn one_line_a_run() {
        assert_eq!(
            shown(&LINES, &Filter::default()),
            "\
TIME                  ALERT  INSTANCE   ATTEMPT  OUTCOME   VERDICT           TOOK  ROLLBACK  AFTERWARDS           BY    RUN
2026-03-04T05:06:07Z  A      web-1      1        failed    failed            2.1s  restored                             1-1-1.A
2026-03-04T05:07:00Z  A      web-1      2        healed    healed            7ms             verified after 1m1s  anna  1-1-2.A
2026-03-04T05:08:00Z  Other  \\u{1b}[2J  0        observed  would be tripped
2026-03-04T05:10:00Z  A      web-1      1        running                                                                1-1-3.A
"
        );
    }

    #[test]
    fn what_is_asked_for_decides() {
        let filter = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            let text = shown(&LINES, &filter);
            let lines = text
                .lines()
                .skip(1)
                .map(|line| line.rsplit(' ').next().unwrap().to_owned());
            lines.collect::<Vec<_>>()
        };
        assert_eq!(
            filter(|f| f.outcome = Some("verified".to_owned())),
            ["1-1-2.A"]
        );
        assert_eq!(
            filter(|f| f.outcome = Some("running".to_owned())),
            ["1-1-3.A"]
        );
        assert_eq!(
            filter(|f| f.outcome = Some("failed".to_owned())),
            ["1-1-1.A"]
        );
        assert_eq!(filter(|f| f.run = Some("1-1-1.A".to_owned())), ["1-1-1.A"]);
        assert_eq!(
            filter(|f| f.alertname = Some("Other".to_owned())),
            ["tripped"]
        );
        // It began before and ended within; it began within and ended after.
        let second = |text: &str| super::super::instant(text, Time(0)).ok();
        let since = Filter {
            since: second("2026-03-04T05:06:08Z"),
            until: second("2026-03-04T05:07:01Z"),
            ..Filter::default()
        };
        let text = shown(&LINES, &since);
        let lines: Vec<&str> = text.lines().skip(1).collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(
            lines[0].starts_with("2026-03-04T05:06:09Z") && lines[0].contains("restored"),
            "{text}"
        );
        assert!(lines[1].contains("healed"), "{text}");
    }
}
