//! What `self-heal check` finds: one kind of thing that would bite later, where it is, why it bites, how to mend it.
//! The kinds are one table, which the documentation is held to.

use super::paint::{Paint, Tone};

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

/// The findings for a person: the worst first, each with its remedy below it.
pub fn render(findings: &[Finding], paint: Paint) -> String {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.kind.severity);
    let mut out = String::new();
    for finding in sorted {
        let tone = match finding.kind.severity {
            Severity::Error => Tone::Bad,
            Severity::Warning => Tone::Warning,
            Severity::Note => Tone::Faint,
        };
        let word = paint.text(tone, finding.kind.severity.as_str());
        let Finding {
            kind,
            place,
            what,
            mend,
        } = finding;
        out.push_str(&format!(
            "{word} {}: {place}: {what}\n  {mend}\n",
            kind.name
        ));
    }
    out
}
