//! Who is told when healing fails: the escalators, the files that they need, and the pages that wait.

use std::path::Path;

use super::{Desk, count, kinds, scripts};
use crate::deliver;
use crate::ready;
use crate::sys::escalator::{self, Escalator};
use crate::sys::sight::{self, Sight};
use crate::sys::{interpreter, mounts, settings};

/// The largest escalator that is read for its text, and the most files of the configuration's folder.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Looks at them.
pub(super) fn look(desk: &mut Desk) {
    let config = desk.config().clone();
    let folder = config.escalate_dir.clone();
    let place = format!("HEAL_ESCALATE_DIR: {}", folder.display());
    if sight::at(&folder) == Sight::Hidden {
        desk.unseen(place.clone(), "this account may not look at it");
        return pages(desk);
    }
    // What the spool knows may be hidden from this account; the folder tells the rest.
    let found = escalator::known(&folder, &config.state_dir).or_else(|_| escalator::find(&folder));
    let found = match found {
        Ok(found) => found,
        Err(why) => {
            let what = format!("{why}: no page is sent");
            desk.found(
                &kinds::ESCALATOR_REFUSED,
                place,
                what,
                "root's, 0755: deploy/tmpfiles.d/self-heal.conf makes it so",
            );
            return pages(desk);
        }
    };
    if found.names().is_empty() {
        let what = "there is no escalator: when healing fails, nobody is told but the log";
        desk.found(
            &kinds::NO_ESCALATOR,
            place.clone(),
            what,
            "install one: see docs/escalation.md",
        );
    }
    for (name, why) in &found.refused {
        let place = folder.join(name).display().to_string();
        let why = why.strip_prefix(&format!("{place}: ")).unwrap_or(why);
        let what = format!("{why}: it is not run, and pages wait for it");
        desk.found(
            &kinds::ESCALATOR_REFUSED,
            place,
            what,
            "root's, 0755, and so the folders on its way",
        );
    }
    for name in &found.gone {
        let what = format!("escalator {name} is gone, and pages wait for it");
        let mend = format!("put it back, or self-heal drain --forget {name}");
        desk.found(&kinds::ESCALATOR_GONE, place.clone(), what, mend);
    }
    for why in &found.odd {
        let (place, what) = why.split_once(": ").unwrap_or((place.as_str(), why));
        desk.found(
            &kinds::ESCALATOR_ODD,
            place,
            format!("{what}: it is never run"),
            "rename it, or remove it",
        );
    }
    for escalator in &found.ready {
        one(desk, escalator);
    }
    if !found.ready.is_empty() && mounts::at(&folder).is_some_and(|ground| ground.no_exec) {
        let what = "its file system is mounted noexec: no escalator of this folder can be started";
        desk.found(
            &kinds::NO_EXEC,
            place,
            what,
            "mount it with exec, or move the escalators",
        );
    }
    let names: Vec<&str> = found
        .ready
        .iter()
        .map(|escalator| escalator.name.as_str())
        .collect();
    desk.looked(
        "escalators",
        match names.len() {
            0 => "none that may be run".to_owned(),
            number => format!("{number}: {}", names.join(", ")),
        },
    );
    pages(desk);
}

fn one(desk: &mut Desk, escalator: &Escalator) {
    let path = Path::new(&escalator.path);
    let Ok(bytes) = sight::read(path, LARGEST) else {
        return desk.unseen(escalator.path.clone(), "its text was not read");
    };
    scripts::look(desk, path, &bytes);
    for (line, text) in (1..).zip(String::from_utf8_lossy(&bytes).lines()) {
        // As the shipped escalators say it: need PROGRAM PACKAGE.
        let mut words = text.split_ascii_whitespace();
        let (need, program, package) = (words.next(), words.next(), words.next());
        if let (Some("need"), Some(program), Some(package), None) =
            (need, program, package, words.next())
            && !interpreter::on_path(program)
        {
            let what = format!("it needs {program}, which is not installed: no page is delivered");
            let place = format!("{}:{line}", escalator.path);
            desk.found(
                &kinds::PROGRAM_MISSING,
                place,
                what,
                format!("apt-get install {package}"),
            );
        }
    }
    let folder = settings::folder();
    let ours = format!("{}.", escalator.name);
    for name in sight::names(&folder).unwrap_or_default() {
        if let Some(ending) = name
            .strip_prefix(&ours)
            .filter(|ending| ENDINGS.contains(ending))
        {
            setting(desk, &folder.join(&name), ending == "key");
        }
    }
}

/// What the files of the shipped escalators are called behind their name: docs/escalation.md.
const ENDINGS: [&str; 6] = ["key", "url", "timeout", "to", "from", "sendmail"];

/// What the escalator will ask of its file, before it uses it.
fn setting(desk: &mut Desk, path: &Path, secret: bool) {
    let who = desk.who.clone();
    let why = match sight::at(path) {
        Sight::Hidden => {
            return desk.unseen(
                path.display().to_string(),
                "this account may not look at it",
            );
        }
        Sight::There(thing) if !thing.file => "it is no regular file".to_owned(),
        Sight::There(thing) if thing.uid != 0 && thing.uid != desk.uid => {
            format!("it belongs to uid {}, neither root nor {who}", thing.uid)
        }
        Sight::There(thing) if thing.mode & 0o022 != 0 => {
            format!("others may write to it (mode {:04o})", thing.mode)
        }
        Sight::There(thing) if secret && thing.mode & 0o007 != 0 => {
            format!("others may read it (mode {:04o})", thing.mode)
        }
        Sight::There(_) => match sight::allowed(path, 0o4) {
            Ok(()) => return,
            Err(why) => format!("{who} {why}"),
        },
        Sight::Missing | Sight::Odd(_) => "it leads nowhere".to_owned(),
    };
    let mend = format!("chown root:{who}, chmod 0640: see docs/escalation.md");
    desk.at(
        &kinds::ESCALATOR_SECRET,
        path,
        format!("{why}: no page is delivered"),
        mend,
    );
}

fn pages(desk: &mut Desk) {
    let config = desk.config().clone();
    let spool = config.state_dir.join("spool");
    let waiting = match deliver::waiting(&config) {
        Ok(waiting) => waiting,
        Err(why) => {
            // A state folder that cannot be looked into was said already.
            if sight::names(&config.state_dir).is_ok() {
                desk.unseen(spool.display().to_string(), why);
            }
            return;
        }
    };
    for (number, what) in ready::stuck(&waiting) {
        let what = format!("pages {what}: {number}");
        let mend = "self-heal drain --list, then --retry or --discard";
        desk.at(&kinds::PAGES_STUCK, &spool, what, mend);
    }
    if waiting.pending > 0 {
        let what = format!(
            "{} not delivered to every escalator yet",
            count(waiting.pending, "page is").replace("page iss", "pages are")
        );
        desk.at(
            &kinds::PAGES_WAITING,
            &spool,
            what,
            "self-heal drain --list says why, and self-heal drain tries now",
        );
    }
    desk.looked(
        "pages",
        format!(
            "{} waiting, {} refused for good, {} damaged",
            waiting.pending, waiting.failed, waiting.damaged
        ),
    );
}
