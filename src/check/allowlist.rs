//! The allow-list: whether it is read at all, and entries that cannot mean what they say.

use std::io;

use super::{Desk, count, kinds};
use crate::judge::AlertName;
use crate::judge::allowlist::{Odd, Remark};
use crate::ready;
use crate::sys::sight::{self, Sight};

/// Looks at it.
pub(super) fn look(desk: &mut Desk, handlers: &[AlertName]) {
    let config = desk.config().clone();
    let path = config.allowed_instances.clone();
    let shown = path.display().to_string();
    let place = format!("HEAL_ALLOWED_INSTANCES: {shown}");
    let nothing = "nothing is allowed, and every alert is answered not-allowed";
    if sight::at(&path) == Sight::Hidden
        || matches!(sight::read(&path, 1), Err(error) if error.kind() == io::ErrorKind::PermissionDenied)
            && sight::allowed(&path, 0o4).is_ok()
    {
        return desk.unseen(place, "the allow-list may not be read by this account");
    }
    let who = desk.who.clone();
    let allowed = sight::allowed(&path, 0o4).map_err(|why| match sight::at(&path) {
        Sight::Missing => "it is not there".to_owned(),
        _ => format!("{who} {why}"),
    });
    let list = allowed.and_then(|()| ready::allow_list(&config).map_err(String::from));
    let list = match list {
        Ok(list) => list,
        Err(why) => {
            let mend =
                "root's, 0644, and so the folders on its way: see deploy/allowed-instances.txt";
            return desk.found(&kinds::ALLOW_LIST, place, format!("{why}: {nothing}"), mend);
        }
    };
    for problem in list.problems() {
        let what = format!("{}: the line allows nothing", problem.reason);
        desk.found(
            &kinds::ALLOW_LIST_LINE,
            format!("{shown}:{}", problem.line),
            what,
            "correct it: see docs/configuration.md",
        );
    }
    if list.is_empty() {
        desk.found(
            &kinds::ALLOW_LIST,
            place,
            format!("it is empty: {nothing}"),
            "name this machine's instances in it",
        );
    }
    let known: Vec<&str> = handlers.iter().map(AlertName::as_str).collect();
    for Remark { line, what } in list.review(&known) {
        remark(desk, format!("{shown}:{line}"), what);
    }
    desk.looked(
        "allow-list",
        format!(
            "{shown}: {}",
            count(list.len(), "entry").replace("entrys", "entries")
        ),
    );
}

fn remark(desk: &mut Desk, place: String, odd: Odd) {
    match odd {
        Odd::Everything => desk.found(
            &kinds::ALLOW_EVERYTHING,
            place,
            "it allows whatever comes, so a wrong route in Alertmanager has this machine healed for another one's alert",
            "name this machine's instances",
        ),
        Odd::Url => desk.found(
            &kinds::ALLOW_NEVER,
            place,
            "it is written as a URL, and no instance is: it allows nothing",
            "write it as the label instance has it, such as web-1:9113",
        ),
        Odd::Port => desk.found(
            &kinds::ALLOW_NEVER,
            place,
            "its port is none (1 to 65535): it allows nothing",
            "correct the port, or leave it out for every port of that host",
        ),
        Odd::NoHandler(names) => desk.found(
            &kinds::ALLOW_NO_HANDLER,
            place,
            format!("no handler is called {}: misspelled, or not installed", names.join(", ")),
            "spell it as the alert and its handler are, capital letters included, or remove it",
        ),
        Odd::Covered(by) => desk.found(
            &kinds::ALLOW_TWICE,
            place,
            format!("line {by} allows all of it already: whoever removes this line has changed nothing"),
            "remove one of the two",
        ),
    }
}
