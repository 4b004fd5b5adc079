//! self-heal-handler(7): what a handler is given, and what its exit code means.

use super::roff::Page;
use super::{DATE, block, sentence};
use crate::wire::directives::DIRECTIVES;
use crate::wire::environment::VARIABLES;
use crate::wire::meaning::ENDINGS;

/// Where the example stands, and is tested.
const DOCUMENT: &str = include_str!("../../../docs/handlers.md");

pub(super) fn page() -> String {
    let about = "programs that self-heal runs for an alert";
    let mut page = Page::new("self-heal-handler", 7, DATE, about);
    page.section("SYNOPSIS");
    page.synopsis(
        "HEAL_HANDLER_DIR/alertname.sh",
        "INSTANCE ALERTNAME FINGERPRINT",
    );
    page.synopsis(
        "HEAL_HANDLER_DIR/alertname.restored",
        "INSTANCE ALERTNAME FINGERPRINT",
    );
    page.section("DESCRIPTION");
    page.paragraph(
        "A handler is one executable, named after its alert: with `.sh`, or without an ending for a program in any \
         language. It does one thing to this machine, checks that it worked, and says so by its exit code.",
    );
    page.paragraph(
        "The name is letters, digits, `_`, `.` and `-`, at most 128, the first a letter, digit or `_`. The file and every \
         folder above it belong to root or the account that serves and are writable by nobody else, or nothing runs and \
         the verdict is `unsafe-handler`.",
    );
    page.paragraph(
        "It is run without a terminal, in `/`, in a session of its own, with the file mode mask 022 and default signals. A \
         first line `#!` says what runs it; without one it is /bin/bash. Standard input is the whole notification as one \
         JSON object, with this alert as its last member `alert`. Standard output and error are appended to \
         `HEAL_LOG_DIR/`alertname`.log`. It holds its lock, a file that flock(1) understands, until it exits.",
    );
    page.paragraph(
        "At its timeout every process of the run gets TERM, after `HEAL_KILL_GRACE` KILL. Nothing else interrupts it.",
    );
    page.paragraph(
        "What a handler names by `snapshot=` is copied before it starts and put back when it fails. A program \
         alertname`.restored` runs after that, with the same arguments and environment, to make a service take the old \
         file.",
    );
    page.section("EXIT STATUS");
    for ended in ENDINGS {
        let text = format!(
            "{} Verdict: {}. In metrics and history: `{}`.",
            sentence(ended.means),
            ended.verdict,
            ended.outcome
        );
        page.point(ended.ending, &text);
    }
    page.section("ENVIRONMENT");
    page.paragraph("Built from nothing; no variable is inherited.");
    for variable in VARIABLES {
        page.entry(variable.name, &sentence(variable.value));
    }
    page.point(
        "`HEAL_LABEL_`name, `HEAL_ANNOTATION_`name",
        "Every label and annotation. What is no letter or digit of a name is `_`. Two names that are the same then are \
         both left out, and so is a value above 64 KiB.",
    );
    page.section("DIRECTIVES");
    page.paragraph(
        "Comment lines `# self-heal: key=value ...` before the first command; several lines add up. They win over the \
         configuration for this handler. One that is unknown, malformed, given twice (but `snapshot`) or out of place \
         makes the handler `unsafe-handler`. A compiled program has none.",
    );
    for directive in DIRECTIVES {
        let text = format!(
            "{} It takes {}.",
            sentence(directive.meaning),
            directive.takes
        );
        page.entry(directive.example, &text);
    }
    page.section("NOTES");
    page.paragraph(
        "Look first: if it works already, exit 0 and change nothing. Check the effect at the end. Put no text of the alert \
         into a path, an option or a shell word: map it to what may be touched. Do not retry in a loop, sleep until the \
         alert resolves, or exit 0 to be quiet. Commands for root go through `sudo -n`, whole command lines of sudoers, \
         each within `timeout`(1).",
    );
    page.section("EXAMPLES");
    page.example(block(DOCUMENT, "bash handler AppDown"));
    page.section("SEE ALSO");
    page.paragraph(
        "`self-heal`(8), `self-heal.conf`(5), `bash`(1), `flock`(1), `sudoers`(5), `timeout`(1)",
    );
    page.text()
}
