//! The rollback guard: what a handler names by `snapshot=` is copied before it starts and put back when it fails. Two
//! sides do it. What this account may replace itself is done in this process; everything else by root's
//! side, the same executable under sudo, which takes nothing from here but a run id. It decides nothing about runs: when to
//! capture and when to restore comes from outside. It refuses to take half of what is asked for.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use nix::errno::Errno;
use nix::unistd::geteuid;

use crate::judge::run_id::RunId;
use crate::judge::{Time, run_id};
use crate::sys::{clock, tool, viewpoint};
use crate::wire::config::Keep;
use crate::wire::manifest::{ByRoot, Captured, Entry, Kind, MOST_ENTRIES, Manifest, PutBack, Took};

mod copies;
mod ground;
pub mod listing;
mod progress;
mod putting_back;
pub mod root;
mod shelf;

use ground::{Manner, Node, Side};
use progress::Progress;
use putting_back::Copies;
use shelf::{Shelf, Snapshot};

/// The most bytes of one snapshot.
const MOST_BYTES: u64 = 1 << 30;

/// How often files that change while they are copied are copied again.
const TRIES: u32 = 3;

/// A file changed twice within one tick of the kernel's clock has the same ctime (10 ms at 100 Hz); what changed
/// longer ago than this shows every later change.
const TICK: Duration = Duration::from_millis(20);

/// How often a file that was changed a moment ago is waited for.
const PATIENCE: u32 = 50;

/// The words before `guard` for root's side, as `deploy/sudoers.d/healer` has them.
const SUDO: &str = "/usr/bin/sudo";
const BOUNDED: [&str; 5] = ["-n", "/usr/bin/timeout", "-k", "5", "60"];

/// How long root's side is waited for: its own bound, and what sudo needs.
const ROOTS_BOUND: Duration = Duration::from_secs(80);

/// How the executable is found that root's side runs: by the name that sudoers(5) has.
pub type Program<'a> = &'a dyn Fn() -> io::Result<PathBuf>;

/// This executable.
fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// What is guarded: the paths of one run.
#[derive(Clone, Copy, Debug)]
pub struct Guarded<'a> {
    /// `HEAL_BACKUP_DIR`.
    pub backup_dir: &'a Path,
    /// The run: what [`run_id::make`] gives. It says which alert it is for, and when it began.
    pub run_id: &'a str,
    /// What its handler names by `snapshot=`.
    pub paths: &'a [PathBuf],
}

impl Guarded<'_> {
    fn run(&self) -> Result<RunId, String> {
        run_id::parse(self.run_id).ok_or_else(|| "that is no run id".to_owned())
    }
}

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Restored {
    /// There is no whole snapshot of this run: its handler was not started.
    Nothing,
    /// Everything is as it was.
    Done {
        /// The snapshot's folder.
        folder: PathBuf,
        /// How many files, links and folders were put back.
        changed: usize,
    },
}

/// A restore that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Where the copies are, for a person to put back by hand.
    pub folder: PathBuf,
    /// What was wrong.
    pub why: String,
}

/// Captures all paths and makes the copies durable; the snapshot's folder, or nothing if there is nothing to guard.
/// `unsettled` tells whether the end of a run is not known yet: its snapshot is kept.
///
/// # Errors
/// One sentence: nothing may run. Nothing half-way is left, unless this process was killed; the next capture for
/// the alert removes that.
pub fn capture(
    guarded: &Guarded<'_>,
    keep: &Keep,
    unsettled: &dyn Fn(&str) -> bool,
) -> Result<Option<PathBuf>, String> {
    capture_with(&own_program, guarded, keep, unsettled)
}

/// [`capture`], with root's side by the program that `program` names.
///
/// # Errors
/// As [`capture`].
pub fn capture_with(
    program: Program<'_>,
    guarded: &Guarded<'_>,
    keep: &Keep,
    unsettled: &dyn Fn(&str) -> bool,
) -> Result<Option<PathBuf>, String> {
    if guarded.paths.is_empty() {
        return Ok(None);
    }
    let run = guarded.run()?;
    let side = acting();
    let (own, others) = match side {
        Side::Root => (guarded.paths.to_vec(), Vec::new()),
        Side::Own(_) => guarded.paths.iter().cloned().partition(|path| ours(path)),
    };
    let shelf = Shelf::open(guarded.backup_dir, side)?;
    if shelf.find(guarded.run_id, &run)?.is_some() {
        return Err(format!("{} is captured already", guarded.run_id));
    }
    // Before root's side makes a copy that nobody would need.
    look_at(&own, side)?;
    // The own manifest comes last: it tells that both sides are whole.
    let by_root = if others.is_empty() {
        None
    } else {
        Some(ask_to_capture(program, guarded.run_id, &others)?)
    };
    let folder = take(&shelf, side, guarded.run_id, &run, &own, by_root)?;
    // What cannot be tidied up stands in nobody's way.
    let _ = shelf.clean(&run.alertname, keep, clock::now(), &folder, unsettled);
    Ok(Some(folder))
}

/// Puts back what was captured for this run. Doing it again changes nothing, and finishes what was interrupted.
///
/// # Errors
/// Something is not as it was, and a person has to look.
pub fn restore(guarded: &Guarded<'_>) -> Result<Restored, Failed> {
    restore_with(&own_program, guarded)
}

/// [`restore`], with root's side by the program that `program` names.
///
/// # Errors
/// As [`restore`].
pub fn restore_with(program: Program<'_>, guarded: &Guarded<'_>) -> Result<Restored, Failed> {
    let side = acting();
    let at = |folder: &Path| {
        let folder = folder.to_owned();
        move |why| Failed { folder, why }
    };
    let run = guarded.run().map_err(at(guarded.backup_dir))?;
    let shelf = Shelf::open(guarded.backup_dir, side).map_err(at(guarded.backup_dir))?;
    let found = shelf.find(guarded.run_id, &run);
    let Some(snapshot) = found.map_err(at(guarded.backup_dir))? else {
        return Ok(Restored::Nothing);
    };
    let folder = snapshot.folder.clone();
    if snapshot.restored {
        return Ok(Restored::Done { folder, changed: 0 });
    }
    snapshot.mark_begun();
    // Both sides, whatever comes of the first.
    let own = give_back(&snapshot, side).map_err(at(&folder));
    let roots = match &snapshot.manifest.by_root {
        None => Ok(0),
        Some(by_root) => ask_to_restore(program, guarded.run_id).map_err(at(&by_root.folder)),
    };
    let changed = own? + roots?;
    shelf.mark_restored(&snapshot).map_err(at(&folder))?;
    Ok(Restored::Done { folder, changed })
}

/// Whether snapshots could be taken at all, by the [`viewpoint`]'s account: the folder is one that nobody else could swap.
///
/// # Errors
/// One sentence, as [`capture`] would say it.
pub fn check(backup_dir: &Path) -> Result<(), String> {
    Shelf::open(backup_dir, viewing()).map(drop)
}

/// What would come of capturing paths, looked at without touching them.
#[derive(Debug, Default)]
pub struct Judged {
    /// Those that are for root's side.
    pub by_root: Vec<PathBuf>,
    /// Those that could not be captured, and why.
    pub refused: Vec<(PathBuf, String)>,
    /// Those that this process may not look at, and why.
    pub unseen: Vec<(PathBuf, String)>,
}

/// Judges each path as its side would when the [`viewpoint`]'s account captures it.
pub fn judge(paths: &[PathBuf]) -> Judged {
    let mut judged = Judged::default();
    let own = viewing();
    for path in paths {
        let side = if own == Side::Root || ours(path) {
            own
        } else {
            judged.by_root.push(path.clone());
            Side::Root
        };
        let Err(why) = look_at(std::slice::from_ref(path), side) else {
            continue;
        };
        // Where this process is the side that captures, the refusal is that side's as well.
        let forbidden = why.ends_with(&io::Error::from(Errno::EACCES).to_string());
        let list = if forbidden && side != acting() && acting() != Side::Root {
            &mut judged.unseen
        } else {
            &mut judged.refused
        };
        list.push((path.clone(), why));
    }
    judged
}

/// How this account asks root's side: the words behind `sudo -n`.
///
/// # Errors
/// This executable is not known by a name.
pub fn roots_words(what: &str, run_id: &str) -> io::Result<Vec<String>> {
    let own = own_program()?.to_string_lossy().into_owned();
    let bounded = BOUNDED.iter().skip(1).map(|word| (*word).to_owned());
    Ok(bounded
        .chain([own, "guard".to_owned(), what.to_owned(), run_id.to_owned()])
        .collect())
}

/// The folder of this run's snapshot, if there is one. What cannot be looked at is not there.
pub fn find(guarded: &Guarded<'_>) -> Option<PathBuf> {
    let run = guarded.run().ok()?;
    let shelf = Shelf::open(guarded.backup_dir, acting()).ok()?;
    let snapshot = shelf.find(guarded.run_id, &run).ok()??;
    Some(snapshot.folder)
}

/// The side that the [`viewpoint`]'s account would act on.
fn viewing() -> Side {
    match viewpoint::uid() {
        0 => Side::Root,
        own => Side::Own(own),
    }
}

fn acting() -> Side {
    match geteuid() {
        root if root.is_root() => Side::Root,
        own => Side::Own(own.as_raw()),
    }
}

/// Whether this account may make and remove names where the path is: else it is for root.
fn ours(path: &Path) -> bool {
    let mut above = path.ancestors().skip(1);
    let there = above.find(|folder| folder.symlink_metadata().is_ok());
    there.is_some_and(|folder| viewpoint::allows(folder, 0o3).is_ok())
}

/// What is at the paths, if it can be captured by this side.
fn look_at(paths: &[PathBuf], side: Side) -> Result<Vec<Vec<Node>>, String> {
    let mut trees = Vec::new();
    let (mut entries, mut bytes) = (0, 0_u64);
    for path in paths {
        let at = |why: String| format!("snapshot={}: {why}", path.display());
        let tree = if ground::way(path, side).map_err(at)? {
            writable(path, side).map_err(at)?;
            ground::walk(path, Manner::Judge(side)).map_err(at)?
        } else {
            Vec::new()
        };
        entries += tree.len();
        let files = tree.iter().filter(|node| node.kind == Some(Kind::File));
        bytes = files.fold(bytes, |sum, node| sum.saturating_add(node.print.size));
        if entries > MOST_ENTRIES || bytes > MOST_BYTES {
            let most = format!("{MOST_ENTRIES} files or {MOST_BYTES} bytes");
            return Err(at(format!("more than {most}: name fewer")));
        }
        trees.push(tree);
    }
    Ok(trees)
}

/// What could not be put back needs no copy: a folder may be read-only for root too.
fn writable(path: &Path, side: Side) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let uid = match side {
        Side::Root => 0,
        Side::Own(uid) => uid,
    };
    viewpoint::allows_to(uid, folder, 0o3).map_err(|errno| {
        let folder = folder.display();
        match errno {
            Errno::EROFS => format!(
                "{folder} is read-only here: the listener's unit needs ReadWritePaths=, see docs/rollback.md"
            ),
            errno => format!("{folder}: {errno}"),
        }
    })
}

/// Makes a whole snapshot of these paths, or none.
fn take(
    shelf: &Shelf,
    side: Side,
    id: &str,
    run: &RunId,
    paths: &[PathBuf],
    by_root: Option<ByRoot>,
) -> Result<PathBuf, String> {
    let blank = shelf.blank(run)?;
    let made = copy_all(&blank, side, paths).and_then(|trees| {
        let captured = paths.iter().zip(trees).map(|(path, tree)| Captured {
            path: path.clone(),
            entries: tree.into_iter().filter_map(entry).collect(),
        });
        let manifest = Manifest {
            run_id: id.to_owned(),
            alertname: run.alertname.clone(),
            captured: clock::now(),
            paths: captured.collect(),
            by_root,
        };
        shelf.finish(&blank, &manifest)
    });
    match made {
        Ok(()) => Ok(blank.folder),
        Err(why) => match shelf.discard(blank) {
            Ok(()) => Err(why),
            Err(left) => Err(format!("{why}; {left}")),
        },
    }
}

fn entry(node: Node) -> Option<Entry> {
    Some(Entry {
        kind: node.kind?,
        name: node.name,
        print: node.print,
    })
}

/// Copies the paths until nothing has changed meanwhile; what was there.
fn copy_all(blank: &shelf::Blank, side: Side, paths: &[PathBuf]) -> Result<Vec<Vec<Node>>, String> {
    for attempt in 1..=TRIES {
        let trees = look_at_rest(paths, side)?;
        let mut numbered = trees.iter().zip(paths).enumerate();
        let copied = numbered.try_for_each(|(number, (tree, path))| {
            copy_one(tree, path, &blank.copy(number), &blank.model(number))
        });
        let after = look_at(paths, side)?;
        if unchanged(&trees, &after) {
            return copied.map(|()| trees);
        }
        if attempt < TRIES {
            for number in 0..paths.len() {
                copies::remove(&blank.copy(number), side)?;
                copies::remove(&blank.model(number), side)?;
            }
        }
    }
    let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    let names = names.join(", ");
    Err(format!(
        "{names}: changes while it is copied: who writes there?"
    ))
}

fn unchanged(before: &[Vec<Node>], after: &[Vec<Node>]) -> bool {
    let same = |(one, other): (&Node, &Node)| one.name == other.name && one.print == other.print;
    let alike = |(one, other): (&Vec<Node>, &Vec<Node>)| {
        one.len() == other.len() && one.iter().zip(other).all(same)
    };
    before.iter().zip(after).all(alike)
}

fn copy_one(tree: &[Node], path: &Path, copy: &Path, model: &Path) -> Result<(), String> {
    let Some(top) = tree.first() else {
        return Ok(());
    };
    copies::copy(path, copy)?;
    copies::faithful(tree, copy)?;
    copies::sync(copy, tree)?;
    if top.kind == Some(Kind::Folder) {
        copies::model(copy, tree, model)?;
        let folders = tree.iter().filter(|node| node.kind == Some(Kind::Folder));
        let folders: Vec<Node> = folders.cloned().collect();
        copies::faithful(&folders, model)?;
        copies::sync(model, &folders)?;
    }
    Ok(())
}

/// What is at the paths, once none of it has changed within the last tick.
fn look_at_rest(paths: &[PathBuf], side: Side) -> Result<Vec<Vec<Node>>, String> {
    for _ in 0..PATIENCE {
        let now = clock::now();
        let trees = look_at(paths, side)?;
        let fresh = trees.iter().flatten().any(|node| {
            let (seconds, nanos) = node.print.ctime;
            let changed = Time(
                seconds
                    .saturating_mul(1000)
                    .saturating_add(nanos / 1_000_000),
            );
            // A change that seems to lie ahead is from before the clock was set back.
            changed.plus(TICK) >= now && changed <= now.plus(TICK)
        });
        if !fresh {
            return Ok(trees);
        }
        sleep(TICK);
    }
    look_at(paths, side)
}

/// Puts back every path of a snapshot; how many things were changed.
fn give_back(snapshot: &Snapshot, side: Side) -> Result<usize, String> {
    let temporary = format!(".self-heal-{}", run_id::stem(&snapshot.manifest.run_id));
    let mut progress = Progress::open(&snapshot.done());
    let mut changed = 0;
    let mut problems = Vec::new();
    for (number, captured) in snapshot.manifest.paths.iter().enumerate() {
        let copies = Copies {
            number,
            copy: &snapshot.copy(number),
            model: &snapshot.model(number),
        };
        // One that cannot be put back does not keep the others from it.
        match putting_back::put_back(captured, &copies, side, &temporary, &mut progress) {
            Ok(count) => changed += count,
            Err(why) => problems.push(why),
        }
    }
    if problems.is_empty() {
        return Ok(changed);
    }
    Err(problems.join("; "))
}

fn ask_to_capture(
    program: Program<'_>,
    run_id: &str,
    wanted: &[PathBuf],
) -> Result<ByRoot, String> {
    let answer = ask_root(program, "capture", run_id)?;
    let took = Took::parse(&answer).map_err(|why| format!("root's side answers oddly: {why}"))?;
    let missing: Vec<String> = wanted
        .iter()
        .filter(|path| !took.taken.contains(path))
        .map(|path| {
            let why = took.refused.iter().find(|(refused, _)| refused == path);
            let why = why.map_or("root does not take it", |(_, why)| why);
            format!("snapshot={}: {why}", path.display())
        })
        .collect();
    if !missing.is_empty() {
        return Err(missing.join("; "));
    }
    Ok(ByRoot {
        folder: took.folder,
        paths: took.taken,
    })
}

fn ask_to_restore(program: Program<'_>, run_id: &str) -> Result<usize, String> {
    let answer = ask_root(program, "restore", run_id)?;
    let back =
        PutBack::parse(&answer).map_err(|why| format!("root's side answers oddly: {why}"))?;
    Ok(back.changed)
}

fn ask_root(program: Program<'_>, what: &str, run_id: &str) -> Result<Vec<u8>, String> {
    let failed = |why: String| {
        format!("root's side, sudo guard {what}: {why} (docs/rollback.md, deploy/sudoers.d/healer)")
    };
    let own = program().map_err(|error: io::Error| failed(error.to_string()))?;
    let mut args: Vec<&OsStr> = BOUNDED.iter().map(OsStr::new).collect();
    args.push(own.as_os_str());
    args.extend(["guard", what, run_id].map(OsStr::new));
    tool::run(SUDO, &args, ROOTS_BOUND).map_err(failed)
}
