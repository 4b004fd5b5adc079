//! self-heal.conf(5): the keys, the syntax, the allow-list.

use super::roff::Page;
use super::{DATE, block};
use crate::sys::settings;
use crate::wire::config::KEYS;

/// Where the examples stand, each tested there.
const DOCUMENT: &str = include_str!("../../../docs/configuration.md");

pub(super) fn page() -> String {
    let mut page = Page::new("self-heal.conf", 5, DATE, "configuration of self-heal");
    page.section("SYNOPSIS");
    page.paragraph(&format!("`{}`", settings::DEFAULT));
    page.section("DESCRIPTION");
    page.paragraph(
        "Read anew for every connection; `HEAL_CONF` names another file. Everything has a default that works, and the \
         file may be missing. It must belong to root or the account that serves and be writable by nobody else, with \
         every folder above it.",
    );
    page.paragraph(
        "All or nothing: an unknown key, or one value that cannot be understood, and every notification is answered 503 \
         with file and line, and no handler runs. An environment variable of a key's name wins over the file. A \
         handler's directives (`self-heal-handler`(7)) win over both for that handler.",
    );
    page.section("SYNTAX");
    page.paragraph(
        "`KEY=VALUE` lines, in the part of the syntax that a shell and `EnvironmentFile=` of systemd read alike. Lines that \
         begin with `#` are comments. No blanks around `=`, no `export`, no `$`, backquote or `\\` outside single quotes, \
         no line that goes on on the next. Quotes stand around the whole value or not at all. A key stands once.",
    );
    page.paragraph(
        "Durations are whole numbers with `d`, `h`, `m`, `s`, `ms`, the longest first: `30s`, `1h30m`. `0` alone needs no \
         unit.",
    );
    page.section("KEYS");
    for key in KEYS {
        let default = match key.default {
            "" => "nothing".to_owned(),
            default => format!("`{default}`"),
        };
        let text = format!(
            "{}. It takes {}. Default: {default}.",
            key.help, key.accepts
        );
        page.entry(key.name, &text);
    }
    page.section("ALLOW-LIST");
    page.paragraph(
        "The file that `HEAL_ALLOWED_INSTANCES` names has one instance a line; `#` begins a comment. An entry with a port is \
         the whole instance, one without is its host on any port. `*` is any run of characters but `.` and `:`. A second \
         column, a comma list of alertnames, narrows an entry. A list that is empty, cannot be read or may be changed by \
         others allows nothing; an instance that is empty or begins with `-` is never allowed.",
    );
    page.section("FILES");
    page.path(settings::DEFAULT, "This file.");
    for key in KEYS
        .iter()
        .filter(|key| key.name == "HEAL_ALLOWED_INSTANCES")
    {
        page.path(key.default, "The allow-list.");
    }
    page.section("EXAMPLES");
    page.paragraph("A configuration:");
    page.example(block(DOCUMENT, "conf"));
    page.paragraph("An allow-list:");
    page.example(block(DOCUMENT, "allow-list"));
    page.section("SEE ALSO");
    page.paragraph("`self-heal`(8), `self-heal-handler`(7), `systemd.exec`(5)");
    page.text()
}
