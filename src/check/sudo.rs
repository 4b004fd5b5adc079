//! sudo: whether the commands that handlers and their hooks give to it, and the rollback guard's own, would be run
//! without a password. It is asked, and runs none of them.

use super::{Desk, Ready, count, kinds};
use crate::sys::snapshot;
use crate::sys::sudo::{self, Asked};
use crate::wire::sudo::{Call, Command, asks_for_a_password, calls};

/// The most commands that are asked about.
const MOST: usize = 300;

/// A command: options that say as whom, words, and where it is first used.
struct Used {
    options: Vec<String>,
    words: Vec<String>,
    place: String,
}

/// Looks at it.
pub(super) fn look(desk: &mut Desk, handlers: &[Ready]) {
    let (mut used, unclear) = commands(handlers);
    used.extend(guard(desk, handlers));
    for (place, text) in unclear {
        let what = format!(
            "`{text}` is put together as the handler runs: whether sudo allows it cannot be told"
        );
        let mend = format!(
            "try it as sudo itself would be asked: sudo -l -U {} COMMAND",
            desk.who
        );
        desk.found(&kinds::SUDO_UNCLEAR, place, what, mend);
    }
    if used.is_empty() {
        return desk.looked(
            "sudo",
            "no handler uses it with a command that is written out",
        );
    }
    if desk.uid == 0 {
        return desk.looked("sudo", "not asked: root serves");
    }
    if !sudo::installed() {
        let place = used
            .first()
            .map_or_else(String::new, |used| used.place.clone());
        let what = format!(
            "there is no {}, and handlers use it: what they do as root fails",
            sudo::PROGRAM
        );
        desk.found(&kinds::SUDO_MISSING, place, what, "apt-get install sudo");
        return;
    }
    let Some(asked) = Asked::viewer(&desk.who) else {
        let what = format!(
            "what sudo allows {} cannot be asked by this account",
            desk.who
        );
        return desk.unseen("sudo", what);
    };
    if sudo::no_new_privileges() && !crate::sys::identity::is_root() {
        return desk.unseen(
            "sudo",
            "this command was itself started without the right to use sudo (NoNewPrivs)",
        );
    }
    ask(desk, &asked, used);
}

/// What is written out, and what is not.
fn commands(handlers: &[Ready]) -> (Vec<Used>, Vec<(String, String)>) {
    let mut used: Vec<Used> = Vec::new();
    let mut unclear = Vec::new();
    for (path, bytes) in handlers.iter().flat_map(|ready| &ready.texts) {
        if bytes.contains(&0) {
            continue;
        }
        for Call { line, command } in calls(&String::from_utf8_lossy(bytes)) {
            let place = format!("{}:{line}", path.display());
            match command {
                Command::Plain(options, words) => {
                    let same = |other: &Used| other.options == options && other.words == words;
                    if !used.iter().any(same) {
                        used.push(Used {
                            options,
                            words,
                            place,
                        });
                    }
                }
                Command::Unclear(text) => unclear.push((place, text)),
            }
        }
    }
    (used, unclear)
}

/// The two commands by which the healer asks root's side, where it has to.
fn guard(desk: &Desk, handlers: &[Ready]) -> Vec<Used> {
    let roots = handlers.iter().find(|ready| {
        let wanted = &ready.handler.directives.snapshot;
        desk.uid != 0 && !snapshot::judge(wanted).by_root.is_empty()
    });
    let mut used = Vec::new();
    if let Some(ready) = roots {
        for what in ["capture", "restore"] {
            // A run id as the program makes them.
            let run = format!("19ab3f00c2d-4711-1.{}", ready.name);
            if let Ok(words) = snapshot::roots_words(what, &run) {
                let place = format!("{}: snapshot=", ready.path.display());
                used.push(Used {
                    options: Vec::new(),
                    words,
                    place,
                });
            }
        }
    }
    used
}

fn ask(desk: &mut Desk, asked: &Asked, used: Vec<Used>) {
    let who = desk.who.clone();
    let rules = asked.rules().unwrap_or_default();
    let mut allowed = 0;
    let all = used.len();
    for Used {
        options,
        words,
        place,
    } in used.into_iter().take(MOST)
    {
        let command = words.join(" ");
        let mend = format!(
            "a line of sudoers with NOPASSWD, word for word: see deploy/sudoers.d/healer; try sudo -l -U {who} {command}"
        );
        match asked.allows(&options, &words) {
            Ok(Ok(())) if asks_for_a_password(&rules, &command) => {
                let what = format!(
                    "sudo asks {who} for a password before `{command}`, and nobody is there to give it"
                );
                desk.found(&kinds::SUDO_PASSWORD, place, what, mend);
            }
            Ok(Ok(())) => allowed += 1,
            Ok(Err(why)) => {
                let why = if why.is_empty() {
                    String::new()
                } else {
                    format!(" ({why})")
                };
                let what = format!(
                    "sudo does not allow {who} `{command}`{why}: what the handler does as root fails"
                );
                desk.found(&kinds::SUDO_REFUSED, place, what, mend);
            }
            Err(why) => desk.unseen(
                place,
                format!("sudo could not be asked about `{command}`: {why}"),
            ),
        }
    }
    desk.looked(
        "sudo",
        format!("{} of {} allowed {who}", allowed, count(all, "command")),
    );
}
