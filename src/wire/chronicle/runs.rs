//! Runs, one line each for a person: what a run's intent, its result and what was found out afterwards say together. A
//! run that began before what is asked for, and ended within, is known by its result alone.

use std::borrow::Cow;
use std::collections::HashMap;

use super::{Entry, Filter, span};
use crate::judge::Time;
use crate::wire::paint::{Paint, Tone};
use crate::wire::quote::shown;
use crate::wire::timestamp::rfc3339;

/// The outcome of a run that has not ended.
pub const RUNNING: &str = "running";

/// The outcome of a run without a result that nobody supervises any more.
pub const UNKNOWN: &str = "unknown";

/// The outcome of an alert that was only judged.
const OBSERVED: &str = "observed";

/// An instant as it is shown.
const INSTANT: &str = "2026-11-22T12:00:00Z";

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
    pub alertname: String,
    /// Instance.
    pub instance: String,
    /// The sender's fingerprint; may be empty.
    pub fingerprint: String,
    /// Its id; empty for an alert that was only judged.
    pub run_id: String,
    attempt: u32,
    outcome: String,
    verdict: String,
    duration_ms: Option<u64>,
    rollback: String,
    afterwards: String,
    by: String,
}

impl Seen {
    fn of(entry: &Entry<'_>) -> Seen {
        Seen {
            at: entry.at,
            alertname: (*entry.alertname).to_owned(),
            instance: (*entry.instance).to_owned(),
            fingerprint: (*entry.fingerprint).to_owned(),
            run_id: (*entry.run_id).to_owned(),
            attempt: entry.attempt,
            by: entry.by(),
            ..Seen::default()
        }
    }

    fn end(&mut self, entry: &Entry<'_>) {
        self.outcome = Entry::or_empty(entry.outcome.as_ref());
        self.verdict = Entry::or_empty(entry.verdict.as_ref());
        self.duration_ms = entry.duration_ms;
        self.rollback = Entry::or_empty(entry.rollback.as_ref());
    }

    fn observe(&mut self, entry: &Entry<'_>) {
        OBSERVED.clone_into(&mut self.outcome);
        let would = Entry::or_empty(entry.would.as_ref());
        self.verdict = match would.split(':').next().unwrap_or_default() {
            "run" => "would run".to_owned(),
            verdict => format!("would be {verdict}"),
        };
    }

    fn learn(&mut self, entry: &Entry<'_>) {
        self.afterwards = match (&*entry.event, entry.lasted_ms) {
            ("verified", Some(ms)) => format!("verified after {}", span(ms)),
            (event, _) => event.to_owned(),
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
        self.outcome == outcome || self.afterwards.split(' ').next() == Some(outcome)
    }

    fn cells(&self) -> [(Tone, Cow<'_, str>); HEADINGS.len()] {
        let plain = |text| (Tone::Plain, Cow::Owned(text));
        let outcome = match self.outcome.as_str() {
            "healed" => Tone::Good,
            "deferred" | RUNNING | UNKNOWN => Tone::Warning,
            OBSERVED => Tone::Plain,
            _ => Tone::Bad,
        };
        let verdict = match self.verdict.as_str() {
            "tripped" | "gave-up" | "error" => Tone::Bad,
            _ => Tone::Plain,
        };
        let rollback = match self.rollback.as_str() {
            "failed" => Tone::Bad,
            _ => Tone::Warning,
        };
        let afterwards = match self.afterwards.as_str() {
            "ineffective" => Tone::Warning,
            _ => Tone::Good,
        };
        [
            plain(rfc3339(self.at)),
            (Tone::Plain, shown(&self.alertname)),
            (Tone::Plain, shown(&self.instance)),
            plain(self.attempt.to_string()),
            (outcome, shown(&self.outcome)),
            (verdict, shown(&self.verdict)),
            plain(self.duration_ms.map_or_else(String::new, span)),
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
        let width = |text: &str| shown(text).chars().count();
        [
            INSTANT.len(),
            width(&self.alertname),
            width(&self.instance),
            self.attempt.to_string().len(),
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

/// The runs that are asked for, in the order in which they began.
#[derive(Debug, Default)]
pub struct Runs {
    seen: Vec<Seen>,
    by_id: HashMap<String, usize>,
}

impl Runs {
    /// Takes a line in; the run that it has changed, if that is asked for so far. The outcome is looked at in the end.
    pub fn add(&mut self, entry: &Entry<'_>, filter: &Filter) -> Option<&Seen> {
        let known = self.by_id.get(&*entry.run_id).copied();
        let known = known.filter(|_| !entry.run_id.is_empty());
        let number = match (&*entry.event, known) {
            ("result" | "verified" | "ineffective", Some(number)) => number,
            ("intent" | "observed" | "result", _) => {
                if !filter.is_about(entry) || !filter.is_in_time(entry.at) {
                    return None;
                }
                self.seen.push(Seen::of(entry));
                let number = self.seen.len() - 1;
                if !entry.run_id.is_empty() {
                    self.by_id.insert((*entry.run_id).to_owned(), number);
                }
                number
            }
            _ => return None,
        };
        let run = self.seen.get_mut(number)?;
        match &*entry.event {
            "result" => run.end(entry),
            "observed" => run.observe(entry),
            "verified" | "ineffective" => run.learn(entry),
            _ => {}
        }
        self.seen.get(number)
    }

    /// Names the outcome of those without a result, and lets go of all whose outcome is not asked for.
    pub fn settle(&mut self, filter: &Filter, runs: &mut dyn FnMut(&Seen) -> bool) {
        for run in self.seen.iter_mut().filter(|run| run.is_open()) {
            let word = if runs(run) { RUNNING } else { UNKNOWN };
            word.clone_into(&mut run.outcome);
        }
        if filter.outcome.is_some() {
            self.seen.retain(|run| run.is_asked_for(filter));
            let ids = self.seen.iter().enumerate();
            self.by_id = ids
                .map(|(number, run)| (run.run_id.clone(), number))
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
}

impl Table {
    /// Columns as wide as these runs need. With `all` every column is there, else those in which something stands.
    pub fn for_runs(paint: Paint, runs: &[Seen], all: bool) -> Table {
        let mut table = Table {
            paint,
            widths: [0; HEADINGS.len()],
            shown: [false; HEADINGS.len()],
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

    fn row(&self, cells: &[(Tone, Cow<'_, str>)]) -> String {
        let mut line = String::new();
        let columns = cells.iter().zip(self.widths).zip(self.shown);
        let shown = columns.filter(|(_, shown)| *shown);
        let cells = shown.map(|(((tone, text), width), _)| (*tone, &**text, width));
        self.paint.row(cells, &mut line);
        line
    }

    /// The headings' line.
    pub fn head(&self) -> String {
        self.row(&HEADINGS.map(|heading| (Tone::Strong, Cow::Borrowed(heading))))
    }

    /// A run's line.
    pub fn line(&mut self, run: &Seen) -> String {
        self.widen(run.widths());
        self.row(&run.cells())
    }

    /// The line of a run that is followed: it runs, if it has no result yet.
    pub fn line_as_it_comes(&mut self, run: &Seen) -> String {
        if !run.is_open() {
            return self.line(run);
        }
        let outcome = RUNNING.to_owned();
        self.line(&Seen {
            outcome,
            ..run.clone()
        })
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
        runs.settle(filter, &mut |run| run.run_id == "1-1-3.A");
        let mut table = Table::for_runs(Paint::default(), runs.all(), false);
        let lines: Vec<String> = runs.all().iter().map(|run| table.line(run)).collect();
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
