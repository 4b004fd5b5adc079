//! The handlers: every name of their folder, as the listener would look it up, and what will only show when one is
//! started.

use std::io;
use std::path::{Path, PathBuf};

use super::{Desk, Ready, configuration, count, kinds, scripts};
use crate::judge::AlertName;
use crate::sys::catalog::{self, Lookup};
use crate::sys::sight::{self, Sight};
use crate::sys::{settings, snapshot};
use crate::wire::duration::show;

/// The largest script that is read for its text.
const LARGEST: u64 = 4 * 1024 * 1024;

/// Looks at them; those that may be run, and the names of all.
pub(super) fn look(desk: &mut Desk) -> (Vec<Ready>, Vec<AlertName>) {
    let folder = desk.config().handler_dir.clone();
    let shown = folder.display().to_string();
    let names = match sight::names(&folder) {
        Ok(names) => names,
        Err(error) => {
            if error.kind() == io::ErrorKind::PermissionDenied
                && sight::at(&folder) != Sight::Hidden
            {
                desk.unseen(
                    format!("HEAL_HANDLER_DIR: {shown}"),
                    "this account may not look into it",
                );
            }
            desk.looked("handlers", format!("none was seen in {shown}"));
            return (Vec::new(), Vec::new());
        }
    };
    for name in &names {
        odd(desk, &folder, name, &names);
    }
    let mut ready = Vec::new();
    let known = catalog::names(&folder).unwrap_or_default();
    for name in &known {
        if let Some(handler) = one(desk, &folder, name) {
            ready.push(handler);
        }
    }
    if known.is_empty() {
        desk.found(
            &kinds::NO_HANDLERS,
            format!("HEAL_HANDLER_DIR: {shown}"),
            "there is no handler: every alert is answered no-handler",
            "install one: see docs/handlers.md",
        );
    }
    snapshots(desk, &ready);
    let names: Vec<&str> = known.iter().map(AlertName::as_str).collect();
    desk.looked(
        "handlers",
        format!("{} in {shown}: {}", known.len(), names.join(", ")),
    );
    (ready, known)
}

/// What no alert will ever find.
fn odd(desk: &mut Desk, folder: &Path, file: &str, all: &[String]) {
    let path = folder.join(file);
    let Sight::There(thing) = sight::at(&path) else {
        return;
    };
    if thing.folder {
        return;
    }
    let runs = thing.mode & 0o111 != 0;
    if let Some(name) = file.strip_suffix(".restored") {
        let handler = |other: &String| *other == format!("{name}.sh") || other == name;
        if !all.iter().any(handler) {
            desk.at(
                &kinds::HOOK_ALONE,
                &path,
                format!("there is no handler {name}: it never runs"),
                "install the handler, or remove the hook",
            );
        }
        return;
    }
    let name = file.strip_suffix(".sh").unwrap_or(file);
    if AlertName::new(name).is_none() {
        if runs || file.ends_with(".sh") {
            desk.at(
                &kinds::HANDLER_NAME,
                &path,
                "no alert can have this name: it never runs",
                "a name of letters, digits, _ . -, not beginning with . or -, as the rule has it",
            );
        }
        return;
    }
    if file.ends_with(".sh") {
        return;
    }
    if runs && all.contains(&format!("{file}.sh")) {
        desk.at(
            &kinds::HANDLER_SHADOWED,
            &path,
            format!("{file}.sh stands beside it and comes first: this one never runs"),
            "remove one of them",
        );
    }
    let head = if runs {
        Ok(Vec::new())
    } else {
        sight::read(&path, LARGEST)
    };
    if head.is_ok_and(|head| head.starts_with(b"#!") || head.starts_with(b"\x7fELF")) {
        desk.at(
            &kinds::HANDLER_IDLE,
            &path,
            format!("it is a program that may not be executed: an alert {file} is answered unsafe-handler"),
            "chmod 0755, or move it elsewhere",
        );
    }
}

fn one(desk: &mut Desk, folder: &Path, name: &AlertName) -> Option<Ready> {
    let script = folder.join(format!("{name}.sh"));
    let path = match sight::itself(&script) {
        Sight::There(_) => script,
        _ => folder.join(name.as_str()),
    };
    let handler = match catalog::find(folder, name) {
        Lookup::Ready(handler) => handler,
        Lookup::Missing => return None,
        Lookup::Unsafe(why) | Lookup::Unknown(why) => {
            refused(desk, &path, &why);
            return None;
        }
    };
    let mut texts = Vec::new();
    let hook = handler.restored.as_ref().map(|hook| hook.path.clone());
    for path in [Some(path.clone()), hook].into_iter().flatten() {
        match sight::read(&path, LARGEST) {
            Ok(bytes) => {
                scripts::look(desk, &path, &bytes);
                texts.push((path, bytes));
            }
            Err(error) => desk.unseen(
                path.display().to_string(),
                format!("its text was not read: {error}"),
            ),
        }
    }
    let directives = &handler.directives;
    let config = desk.config().clone();
    let shown = path.display().to_string();
    if let Some(timeout) = directives.timeout
        && timeout > configuration::GROUP_INTERVAL
    {
        configuration::sender_gone(desk, &shown, &format!("its timeout is {}", show(timeout)));
    }
    if directives.max_attempts.is_some() || directives.retry_delay.is_some() {
        configuration::fights(desk, &directives.overlay(&config.limits), &shown);
    }
    Some(Ready {
        name: name.clone(),
        path,
        handler,
        texts,
    })
}

/// The catalog's reason, with its line in the place.
fn refused(desk: &mut Desk, path: &Path, why: &str) {
    let shown = path.display().to_string();
    // This account's own lack of rights says nothing about the one that serves.
    let forbidden = why.ends_with("Permission denied (os error 13)");
    if forbidden && desk.uid != crate::sys::identity::uid() && sight::allowed(path, 0o4).is_ok() {
        return desk.unseen(shown, "the handler may not be read by this account");
    }
    // Its own path is the finding's place; of a folder on its way the whole path is said.
    let rest = why.strip_prefix(&shown).unwrap_or(why);
    let rest = [": ", " "].iter().find_map(|gap| rest.strip_prefix(gap));
    let rest = rest.unwrap_or(why);
    let line = rest
        .strip_prefix("line ")
        .and_then(|rest| rest.split_once(": "));
    if let Some((number, what)) = line {
        let what =
            format!("{what}: every alert for it is answered unsafe-handler, and nothing runs");
        let mend = "correct the line: see docs/handlers.md";
        return desk.found(&kinds::DIRECTIVE, format!("{shown}:{number}"), what, mend);
    }
    let what = format!("{rest}: every alert for it is answered unsafe-handler, and nothing runs");
    let mend = "root's, 0755, and so the folders on its way: install -m 0755 FILE there";
    desk.found(&kinds::HANDLER_UNSAFE, shown, what, mend);
}

/// Whether what handlers name by `snapshot=` can be captured.
fn snapshots(desk: &mut Desk, ready: &[Ready]) {
    let guarded: Vec<&Ready> = ready
        .iter()
        .filter(|ready| !ready.handler.directives.snapshot.is_empty())
        .collect();
    if guarded.is_empty() {
        return;
    }
    let backup = desk.config().backup_dir.clone();
    match sight::at(&backup) {
        Sight::Hidden => desk.unseen(
            format!("HEAL_BACKUP_DIR: {}", backup.display()),
            "this account may not look at it",
        ),
        _ => backup_folder(desk, &backup),
    }
    let mut paths = 0;
    for ready in guarded {
        let wanted = &ready.handler.directives.snapshot;
        paths += wanted.len();
        let judged = snapshot::judge(wanted);
        let place = ready.path.display().to_string();
        for (path, why) in judged.refused {
            let why = why
                .strip_prefix(&format!("snapshot={}: ", path.display()))
                .unwrap_or(&why);
            let what = format!(
                "snapshot={}: {why}: the handler is answered error, and does not run",
                path.display()
            );
            desk.found(
                &kinds::SNAPSHOT_PATH,
                place.clone(),
                what,
                "see docs/rollback.md for what can be captured",
            );
        }
        for (path, why) in judged.unseen {
            desk.unseen(place.clone(), format!("snapshot={}: {why}", path.display()));
        }
        if !judged.by_root.is_empty() {
            roots_own(desk, ready, &judged.by_root);
        }
    }
    desk.looked(
        "snapshots",
        format!("{} to be captured", count(paths, "path")),
    );
}

fn backup_folder(desk: &mut Desk, backup: &Path) {
    let who = desk.who.clone();
    let why = snapshot::check(backup).err().or_else(|| {
        let why = sight::allowed(backup, 0o3).err()?;
        Some(format!("{who} {why}"))
    });
    if let Some(why) = why {
        let place = format!("HEAL_BACKUP_DIR: {}", backup.display());
        let why = why.strip_prefix("HEAL_BACKUP_DIR: ").unwrap_or(&why);
        let why = why
            .strip_prefix(&format!("{}: ", backup.display()))
            .unwrap_or(why);
        let what = format!("{why}: handlers with snapshot= do not run");
        desk.found(
            &kinds::BACKUP_FOLDER,
            place,
            what,
            "root's, with the healer's group, 1770: deploy/tmpfiles.d/self-heal.conf makes it so",
        );
    }
}

/// Root's side captures for a handler of root's, by the one configuration file that root knows.
fn roots_own(desk: &mut Desk, ready: &Ready, paths: &[PathBuf]) {
    let names: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    let names = names.join(", ");
    let roots = |path: &Path| !matches!(sight::at(path), Sight::There(thing) if thing.uid != 0);
    let folder = desk.config().handler_dir.clone();
    let place = ready.path.display().to_string();
    if !roots(&ready.path) || !roots(&folder) {
        let what = format!(
            "snapshot={names} is for root's side, which takes a handler of root's alone, in a folder of root's"
        );
        desk.found(
            &kinds::SNAPSHOT_PATH,
            place.clone(),
            what,
            "chown root: both: see docs/rollback.md",
        );
    }
    if desk.surveyed.path != Path::new(settings::DEFAULT) {
        let what = format!(
            "snapshot={names} is for root's side, which reads {} and no other configuration",
            settings::DEFAULT
        );
        desk.found(
            &kinds::SNAPSHOT_PATH,
            place,
            what,
            "move the configuration there: see docs/rollback.md",
        );
    }
}
