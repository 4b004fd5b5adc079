//! self-heal(8): the commands, exit codes, verdicts.

use super::prose::ENTRIES;
use super::roff::Page;
use super::{DATE, sentence};
use crate::cli::groups::GROUPS;
use crate::cli::{Command, EXIT_CODES, named};
use crate::sys::settings;
use crate::wire::{config, meaning};

/// Variables beside the keys of the configuration.
const ENVIRONMENT: [(&str, &str); 4] = [
    (
        "HEAL_CONF",
        "The absolute path of the configuration file, instead of /etc/self-heal/self-heal.conf. That file may not be \
         missing.",
    ),
    (
        "SOCAT_PEERADDR, REMOTE_HOST, REMOTE_ADDR, TCPREMOTEIP",
        "Set by socat, inetd, xinetd and tcpserver: the peer's address, asked for `HEAL_ALLOW_PEERS` where standard \
         input is no internet socket.",
    ),
    (
        "SUDO_USER",
        "Set by sudo: who is named in log and pauses when root pauses, resumes, resets or drains.",
    ),
    (
        "NO_COLOR, TERM",
        "Commands that show colours on a terminal show none where `NO_COLOR` is set or `TERM` is `dumb` or missing.",
    ),
];

pub(super) fn page() -> String {
    let about = "run the remediation handler for an Alertmanager alert, once";
    let mut page = Page::new("self-heal", 8, DATE, about);
    page.section("SYNOPSIS");
    for command in placed() {
        page.synopsis(&format!("self-heal {}", command.name), command.usage);
    }
    page.section("DESCRIPTION");
    page.paragraph(
        "Alertmanager posts a webhook; socat, a systemd socket unit, inetd, xinetd or tcpserver starts `self-heal` for \
         that one connection. It judges each alert: resolved? the instance on the allow-list? a handler of that name, \
         and a safe one? paused? the lock free? attempts left? Then it runs `HEAL_HANDLER_DIR/`alertname`.sh`, answers, \
         and is gone. Whatever is uncertain runs nothing.",
    );
    page.paragraph(
        "A handler runs under a lock that flock(1) understands, never twice at once, and with a timeout. Every attempt is \
         counted on disk before it starts. As many failures in a row as there are attempts, heals that change nothing, \
         or too many runs open a breaker, and a person is paged once; `resolved` closes both. What a failed handler \
         changed is put back.",
    );
    page.paragraph(
        "The same program is the operator's command line. Keys in capitals are those of `self-heal.conf`(5); \
         `self-heal-handler`(7) says how to write a handler.",
    );
    page.section("COMMANDS");
    for (title, names) in GROUPS.iter().filter(|(_, names)| !names.is_empty()) {
        page.subsection(title);
        for command in names.iter().filter_map(|name| named(name).ok()) {
            described(&mut page, command);
        }
    }
    page.section("EXIT STATUS");
    for (code, when) in EXIT_CODES {
        page.entry(&code.to_string(), &sentence(when));
    }
    page.section("VERDICTS");
    page.paragraph(
        "Each alert of a request gets one, the same in the answer, the log, the history and the metrics. An unsettled one \
         makes the answer 503.",
    );
    for (word, settled, meaning) in meaning::verdicts() {
        let settled = if settled { "Settled" } else { "Unsettled" };
        let when = sentence(meaning.when);
        let text = format!("{settled}. {when} What to do: {}.", meaning.cure);
        page.entry(word, &text);
    }
    page.section("ENVIRONMENT");
    page.paragraph(
        "Every key of `self-heal.conf`(5) may be a variable, and then wins over the file. Besides:",
    );
    for (names, text) in ENVIRONMENT {
        page.entry(names, text);
    }
    page.section("FILES");
    page.path(
        settings::DEFAULT,
        "The configuration; see `self-heal.conf`(5).",
    );
    for key in config::KEYS
        .iter()
        .filter(|key| key.default.starts_with('/'))
    {
        page.path(key.default, &format!("{} (`{}`).", key.help, key.name));
    }
    page.section("SEE ALSO");
    page.paragraph(
        "`self-heal.conf`(5), `self-heal-handler`(7), `flock`(1), `socat`(1), `sudo`(8), `systemd.socket`(5)",
    );
    page.text()
}

/// The commands as help has them.
fn placed() -> impl Iterator<Item = &'static Command> {
    let names = GROUPS.iter().flat_map(|(_, names)| *names);
    names.filter_map(|name| named(name).ok())
}

fn described(page: &mut Page, command: &Command) {
    page.item(
        &format!("{} {}", command.name, command.usage),
        &sentence(command.about),
    );
    page.within(|page| {
        let entries = ENTRIES.iter().filter(|entry| entry.command == command.name);
        for entry in entries.clone() {
            for text in entry.text {
                page.paragraph(text);
            }
        }
        for choice in command.options {
            page.item(choice.form, &sentence(choice.about));
        }
        let more = entries.flat_map(|entry| entry.examples);
        let all: Vec<&str> = [command.example].into_iter().chain(more.copied()).collect();
        page.paragraph("For example:");
        page.example(&all.join("\n"));
    });
}
