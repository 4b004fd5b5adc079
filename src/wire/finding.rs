//! What `self-heal check` finds: one kind of thing that would bite later, where it is, why it bites, how to mend it.
//! The kinds are one table, which the documentation is held to.

use serde::Serialize;

use super::paint::{Paint, Tone};
use super::quote::{json, printable};

/// How much a finding matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Something does not work, or works against its purpose.
    Error,
    /// It works today and bites one day.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    /// The word used outside the program.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// A kind of finding.
#[derive(Debug)]
pub struct Kind {
    /// Its name, stable: `max-alerts`.
    pub name: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is looked for, for the documentation: a sentence without its full stop.
    pub about: &'static str,
}

/// One finding.
#[derive(Clone, Debug)]
pub struct Finding {
    /// What kind of thing.
    pub kind: &'static Kind,
    /// Where: `file:line`, a path, a variable.
    pub place: String,
    /// What is there, and why it bites. One sentence.
    pub what: String,
    /// How to mend it. One sentence, or a command.
    pub mend: String,
}

/// Something that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// What sort of thing.
    pub at: &'static str,
    /// Which, and how it is, in short.
    pub what: String,
}

/// Everything that was looked at, and what was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In the order in which it was looked at.
    pub looked_at: Vec<Looked>,
    /// In no order that matters.
    pub findings: Vec<Finding>,
}

impl Report {
    /// Notes that something was looked at.
    pub fn looked(&mut self, at: &'static str, what: impl Into<String>) {
        let what = what.into();
        self.looked_at.push(Looked { at, what });
    }

    /// Adds a finding.
    pub fn found(
        &mut self,
        kind: &'static Kind,
        place: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.findings.push(Finding {
            kind,
            place: place.into(),
            what: what.into(),
            mend: mend.into(),
        });
    }

    /// How many findings matter this much.
    pub fn count(&self, severity: Severity) -> usize {
        let of = |finding: &&Finding| finding.kind.severity == severity;
        self.findings.iter().filter(of).count()
    }

    /// For a person: the findings, what was looked at, and how many there are of each severity.
    pub fn to_text(&self, paint: Paint) -> String {
        let mut out = render(&self.findings, paint);
        if !self.looked_at.is_empty() {
            out.push_str(&paint.text(Tone::Strong, "looked at"));
            out.push('\n');
        }
        let rows = self.looked_at.iter().map(|looked| {
            let what = (Tone::Plain, printable(&looked.what));
            vec![(Tone::Faint, looked.at.to_owned()), what]
        });
        out.push_str(&paint.columns("  ", &rows.collect::<Vec<_>>()));
        let count = |severity: Severity| match self.count(severity) {
            1 => format!("1 {}", severity.as_str()),
            count => format!("{count} {}s", severity.as_str()),
        };
        let [errors, warnings, notes] =
            [Severity::Error, Severity::Warning, Severity::Note].map(count);
        out.push_str(&format!("{errors}, {warnings}, {notes}\n"));
        out
    }

    /// For a program: one object on one line.
    ///
    /// # Errors
    /// Never, as far as is known: `serde_json` does not promise it.
    pub fn to_json(&self) -> Result<String, String> {
        let shown = |finding: &&Finding| FindingJson {
            severity: finding.kind.severity.as_str(),
            kind: finding.kind.name,
            place: finding.place.clone(),
            what: finding.what.clone(),
            mend: finding.mend.clone(),
        };
        let report = ReportJson {
            findings: sorted(&self.findings).iter().map(shown).collect(),
            looked_at: &self.looked_at,
            errors: self.count(Severity::Error),
            warnings: self.count(Severity::Warning),
            notes: self.count(Severity::Note),
        };
        let line = serde_json::to_string(&report).map_err(|error| error.to_string())?;
        Ok(format!("{}\n", json(&line)))
    }
}

#[derive(Serialize)]
struct ReportJson<'a> {
    findings: Vec<FindingJson>,
    looked_at: &'a [Looked],
    errors: usize,
    warnings: usize,
    notes: usize,
}

#[derive(Serialize)]
struct FindingJson {
    severity: &'static str,
    kind: &'static str,
    place: String,
    what: String,
    mend: String,
}

/// The worst first; else as they came.
fn sorted(findings: &[Finding]) -> Vec<&Finding> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.kind.severity);
    sorted
}

/// The findings for a person: the worst first, each with its remedy below it.
pub fn render(findings: &[Finding], paint: Paint) -> String {
    let mut out = String::new();
    for finding in sorted(findings) {
        let tone = match finding.kind.severity {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Warning,
            Severity::Note => Tone::Faint,
        };
        let word = paint.text(tone, finding.kind.severity.as_str());
        let place = paint.text(Tone::Strong, &printable(&finding.place));
        let (what, mend) = (printable(&finding.what), printable(&finding.mend));
        let name = finding.kind.name;
        out.push_str(&format!("{word} {name}: {place}: {what}\n  {mend}\n"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAD: Kind = Kind {
        name: "bad",
        severity: Severity::Error,
        about: "badness",
    };
    const ODD: Kind = Kind {
        name: "odd",
        severity: Severity::Note,
        about: "oddity",
    };

    fn report() -> Report {
        let mut report = Report::default();
        report.looked("files", "2: a, b\u{1b}");
        report.found(&ODD, "/a", "is odd", "let it be");
        report.found(&BAD, "/b:3", "is \"bad\"\n", "mend it");
        report
    }

    #[test]
    fn the_worst_comes_first_and_nothing_moves_the_cursor() {
        let text = report().to_text(Paint::default());
        assert_eq!(
            text,
            "error bad: /b:3: is \"bad\"\\n\n  mend it\nnote odd: /a: is odd\n  let it be\n\
             looked at\n  files  2: a, b\\u{1b}\n1 error, 0 warnings, 1 note\n"
        );
        let coloured = report().to_text(Paint { colours: true });
        assert!(
            coloured.starts_with("\u{1b}[31merror\u{1b}[0m bad: "),
            "{coloured}"
        );
    }

    #[test]
    fn a_program_gets_one_line() {
        assert_eq!(
            report().to_json().unwrap(),
            "{\"findings\":[{\"severity\":\"error\",\"kind\":\"bad\",\"place\":\"/b:3\",\
             \"what\":\"is \\\"bad\\\"\\n\",\"mend\":\"mend it\"},\
             {\"severity\":\"note\",\"kind\":\"odd\",\"place\":\"/a\",\"what\":\"is odd\",\"mend\":\"let it be\"}],\
             \"looked_at\":[{\"at\":\"files\",\"what\":\"2: a, b\\u001b\"}],\"errors\":1,\"warnings\":0,\"notes\":1}\n"
        );
        let none = Report::default().to_text(Paint::default());
        assert_eq!(none, "0 errors, 0 warnings, 0 notes\n");
    }
}
