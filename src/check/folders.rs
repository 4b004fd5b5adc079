//! Folders: whether they are there, whose they are, whether the account that serves can work in them, and what their
//! file systems promise.

use std::io;
use std::path::{Path, PathBuf};

use super::{Desk, count, kinds};
use crate::sys::mounts::{self, Manner};
use crate::sys::sight::{self, Sight};
use crate::sys::{files, viewpoint};

/// What the program writes to in the state folder, as docs/operations.md has it.
const OURS: [&str; 8] = [
    "records",
    "host",
    "pauses",
    "reserve",
    "spool",
    "metrics",
    "history.jsonl",
    "history.head",
];

/// A folder that the configuration names.
struct Folder {
    key: &'static str,
    path: PathBuf,
    /// What the account that serves has to be allowed: bits of `rwx`.
    want: u32,
    /// Whether it is refused when others could change it.
    trusted: bool,
    /// Whether the program makes it.
    made: bool,
}

/// Looks at them.
pub(super) fn look(desk: &mut Desk) {
    let config = desk.config().clone();
    let folder = |key, path: &Path, want, trusted, made| Folder {
        key,
        path: path.to_owned(),
        want,
        trusted,
        made,
    };
    let folders = [
        folder("HEAL_STATE_DIR", &config.state_dir, 0o7, true, true),
        folder("HEAL_LOG_DIR", &config.log_dir, 0o3, false, true),
        folder("HEAL_LOCK_DIR", &config.lock_dir, 0o3, true, true),
        folder("HEAL_HANDLER_DIR", &config.handler_dir, 0o5, true, false),
    ];
    let mut seen = Vec::new();
    for folder in &folders {
        if one(desk, folder) {
            promises(desk, folder);
            seen.push(folder.key);
        }
    }
    desk.looked(
        "folders",
        if seen.is_empty() {
            "none is there".to_owned()
        } else {
            seen.join(", ")
        },
    );
    let state = |path: &Path| {
        let first = path.iter().next().and_then(|name| name.to_str());
        first.is_some_and(|name| OURS.contains(&name))
    };
    let ending = |ending: &'static str| {
        move |path: &Path| {
            path.extension()
                .is_some_and(|extension| extension == ending)
        }
    };
    let looked_at = files_of_ours(desk, "HEAL_STATE_DIR", &config.state_dir, &state)
        + files_of_ours(desk, "HEAL_LOG_DIR", &config.log_dir, &ending("log"))
        + files_of_ours(desk, "HEAL_LOCK_DIR", &config.lock_dir, &ending("lock"));
    desk.looked("files in them", looked_at.to_string());
}

/// Whether it could be looked into.
fn one(desk: &mut Desk, folder: &Folder) -> bool {
    let Folder { key, path, .. } = folder;
    let place = format!("{key}: {}", path.display());
    match sight::at(path) {
        Sight::Hidden => {
            let what = match sight::barrier(path).filter(|_| viewpoint::uid() == desk.uid) {
                Some(step) => format!("this account may not look beyond {}", step.display()),
                None => "this account may not look at it".to_owned(),
            };
            desk.unseen(place, what);
            return false;
        }
        Sight::Missing => {
            missing(desk, folder, place);
            return false;
        }
        Sight::Odd(why) => {
            desk.found(&kinds::FOLDER_CLOSED, place, why, "make it a folder");
            return false;
        }
        Sight::There(thing) if !thing.folder => {
            let what = "it is no folder: nothing can be kept there";
            desk.found(
                &kinds::FOLDER_CLOSED,
                place,
                what,
                "name another path, or make a folder of it",
            );
            return false;
        }
        Sight::There(_) => {}
    }
    if folder.trusted
        && let Err(why) = files::trusted(path)
    {
        let what =
            format!("{why}: whoever may write there decides what runs, or what is remembered");
        desk.found(
            &kinds::FOLDER_UNSAFE,
            place.clone(),
            what,
            "chown and chmod as in deploy/tmpfiles.d/self-heal.conf",
        );
    }
    let who = desk.who.clone();
    let closed = match sight::barrier(&sight::real(path)) {
        Some(step) => Some(format!("{who} may not pass {}", step.display())),
        None => sight::allowed(path, folder.want)
            .err()
            .map(|why| format!("{who} {why}")),
    };
    if let Some(why) = closed {
        let mend = format!(
            "chown or chmod it for {who}, as in deploy/tmpfiles.d/self-heal.conf; a read-only mount has to be mounted otherwise"
        );
        desk.found(
            &kinds::FOLDER_CLOSED,
            place,
            format!("{why}: {}", follows(key)),
            mend,
        );
    }
    true
}

/// What follows where a folder cannot be used.
fn follows(key: &str) -> &'static str {
    match key {
        "HEAL_LOG_DIR" => "heals go on, and nothing of them is logged",
        "HEAL_HANDLER_DIR" => "every alert is answered unsafe-handler",
        _ => "every alert is answered error, and nothing runs",
    }
}

fn missing(desk: &mut Desk, folder: &Folder, place: String) {
    let Folder {
        key, path, made, ..
    } = folder;
    let parent = path.parent().unwrap_or(Path::new("/"));
    let to_come = *made
        && *key != "HEAL_STATE_DIR"
        && matches!(sight::at(parent), Sight::There(thing) if thing.folder)
        && sight::allowed(parent, 0o3).is_ok();
    let who = desk.who.clone();
    if to_come {
        let what = format!("it is not there; the first request makes it, as {who}");
        let mend = "nothing; or make it now, with deploy/tmpfiles.d/self-heal.conf";
        return desk.found(&kinds::FOLDER_TO_COME, place, what, mend);
    }
    let what = match *key {
        "HEAL_STATE_DIR" => "it is not there: nothing can be remembered, so nothing runs; and whose it should be cannot be told".to_owned(),
        key if *made => format!("it is not there, and {who} may not make it: {}", follows(key)),
        key => format!("it is not there: {}", follows(key)),
    };
    desk.found(
        &kinds::FOLDER_MISSING,
        place,
        what,
        "systemd-tmpfiles --create deploy/tmpfiles.d/self-heal.conf, or mkdir and chown",
    );
}

fn promises(desk: &mut Desk, folder: &Folder) {
    let Folder { key, path, .. } = folder;
    let place = format!("{key}: {}", path.display());
    let Some(ground) = mounts::at(path) else {
        return;
    };
    let written = folder.want & 0o2 != 0;
    if written && files::full(path) {
        let what = "its file system has no free block: heals go on, log and history do not";
        desk.found(&kinds::FOLDER_FULL, place.clone(), what, "make room there");
    } else if written && ground.no_inode {
        let what = "its file system has no free inode: no record, lock or page can be made";
        desk.found(
            &kinds::FOLDER_FULL,
            place.clone(),
            what,
            "remove files there; df -i shows how many",
        );
    }
    if *key == "HEAL_HANDLER_DIR" && ground.no_exec {
        let what = "its file system is mounted noexec: no handler of this folder can be started";
        desk.found(
            &kinds::NO_EXEC,
            place,
            what,
            "mount it with exec, or move the handlers",
        );
        return;
    }
    let Some((manner, name)) = ground.manner else {
        return;
    };
    match (manner, *key) {
        (Manner::CopiesOnWrite, "HEAL_STATE_DIR") => {
            let what = format!(
                "it lies on {name}, where writing in place takes new blocks: on a full disk records cannot be changed, and the handler that would free it does not run"
            );
            desk.found(
                &kinds::COPY_ON_WRITE,
                place,
                what,
                "another file system for the state folder, or a quota that keeps room for it",
            );
        }
        (Manner::Network, "HEAL_STATE_DIR" | "HEAL_LOCK_DIR") => {
            let what = format!(
                "it lies on {name}: flock(2) may not hold there, a hanging server stops every heal, and two hosts must not share it"
            );
            desk.found(
                &kinds::NETWORK_DISK,
                place,
                what,
                "a file system of this machine's own",
            );
        }
        (Manner::Memory, "HEAL_STATE_DIR") => {
            let what =
                format!("it lies on {name}: a reboot forgets every breaker, attempt and page");
            desk.found(
                &kinds::LOST_AT_BOOT,
                place,
                what,
                "a folder on a disk, such as /var/lib/self-heal",
            );
        }
        _ => {}
    }
}

/// How many were looked at.
fn files_of_ours(
    desk: &mut Desk,
    key: &'static str,
    folder: &Path,
    ours: &dyn Fn(&Path) -> bool,
) -> usize {
    let (closed, looked_at) = match sight::unwritable(folder, ours) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            if sight::at(folder) != Sight::Hidden {
                let place = format!("{key}: {}", folder.display());
                desk.unseen(place, "this account may not look into it");
            }
            return 0;
        }
        // It is not there, or no folder: that is said already.
        Err(_) => return 0,
    };
    if let Some(first) = closed.first() {
        let who = desk.who.clone();
        let others = match closed.len() {
            1 => String::new(),
            more => format!(", and {}", count(more - 1, "other")),
        };
        let what = format!(
            "{who} may not write to it{others}: {}",
            match key {
                "HEAL_LOG_DIR" => "what belongs there is lost",
                _ => "what it is for cannot be recorded, and may not run",
            }
        );
        let mend = format!("chown -R {who}: {}", folder.display());
        desk.at(&kinds::FILE_CLOSED, first, what, mend);
    }
    looked_at
}
