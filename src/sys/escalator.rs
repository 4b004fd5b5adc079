//! Escalators: the programs of `HEAL_ESCALATE_DIR` that tell a person. Found, refused unless nobody but root and the
//! current account could have changed them, and started so that the outcome is on record even if whoever started
//! them is killed meanwhile. It does not judge an outcome.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::judge::delivery::EventName;
use crate::sys::handler::{self, Invocation, Running};
use crate::sys::spool::{Journal, Spool};
use crate::sys::{files, viewpoint};
use crate::wire::environment::PATH;
use crate::wire::spool::{self, ROOMS};

/// The longest name, in bytes: a mark has that much room.
const LONGEST: usize = 64;

/// Endings of what a package's upgrade leaves beside a program (dpkg, rpm): not to be run beside it.
const LEFTOVERS: [&str; 7] = [
    ".dpkg-dist",
    ".dpkg-new",
    ".dpkg-old",
    ".dpkg-tmp",
    ".rpmnew",
    ".rpmorig",
    ".rpmsave",
];

/// What runs an escalator, as text for sh(1): program, seconds, name of the attempt, journal. The journal is written by
/// this and not by its parent, so that it says what came of the attempt even if the parent is gone. A journal that
/// cannot be written stops nobody from being told. timeout(1) ends the escalator and what it started in its process
/// group.
const WRAPPER: &str = "\
printf '%-127s\\n' \"$3 started\" 1<>\"$4\"
timeout -k 5 \"$2\" \"$1\"
code=$?
printf '%-127s\\n' \"$3 $code\" 1<>\"$4\"
exit \"$code\"";

/// What is behind timeout(1): its `-k 5`, and time for the shell to say so.
const SLACK: Duration = Duration::from_secs(10);

/// How long the wrapper may take to end when even that did not help.
const GRACE: Duration = Duration::from_secs(1);

/// An escalator that may be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escalator {
    /// Its name, by which the spool knows it.
    pub name: String,
    /// Where it is found. Not where a link leads: an escalator looks for its configuration by the name it is run under.
    pub path: String,
}

/// What the folder holds, sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Those that may be run.
    pub ready: Vec<Escalator>,
    /// Those that must not be run, with the reason. Events wait for them.
    pub refused: Vec<(String, String)>,
    /// Those that the spool knows and the folder does not have any more. Events wait for them: a folder may be missing
    /// for a moment, or a file being replaced.
    pub gone: Vec<String>,
    /// Programs that cannot be escalators, one sentence each. Nothing waits for them.
    pub odd: Vec<String>,
}

impl Found {
    /// The names of those that events wait for.
    pub fn names(&self) -> Vec<String> {
        let ready = self.ready.iter().map(|escalator| &escalator.name);
        let refused = self.refused.iter().map(|(name, _)| name);
        ready.chain(refused).chain(&self.gone).cloned().collect()
    }
}

/// The escalators of the folder, and those that the spool of this state folder knows beside them.
///
/// # Errors
/// The folder or the spool cannot be read, in a sentence. Nothing is known of who is to be told then.
pub fn known(folder: &Path, state_dir: &Path) -> Result<Found, String> {
    let mut found = find(folder)?;
    let known = Spool::escalators(state_dir).map_err(|error| format!("spool: {error}"))?;
    let names = found.names();
    found.gone = known
        .into_iter()
        .filter(|name| !names.contains(name))
        .collect();
    Ok(found)
}

/// Looks for escalators: executable regular files, or links to such, with names of `[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}`.
/// Files that nobody may execute and leftovers of a package's upgrade are none. No folder: no escalator.
///
/// # Errors
/// The folder cannot be read or trusted, in a sentence. Nothing is known of who is to be told then.
pub fn find(folder: &Path) -> Result<Found, String> {
    match fs::symlink_metadata(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::default()),
        _ => files::trusted(folder)?,
    };
    let fail = |error: io::Error| format!("{}: {error}", folder.display());
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(fail)? {
        names.push(entry.map_err(fail)?.file_name());
    }
    names.sort();
    let mut found = Found::default();
    for name in names {
        let path = folder.join(&name);
        let Some(name) = name.to_str() else {
            found
                .odd
                .push(format!("{}: its name is no UTF-8", path.display()));
            continue;
        };
        let leftover = LEFTOVERS.iter().any(|ending| name.ends_with(ending));
        if name.starts_with('.') || leftover || !is_program(&path) {
            continue;
        }
        if !is_safe(name) {
            let why = "is no name for an escalator: letters, digits, _ . -, at most 64";
            found.odd.push(format!("{}: {why}", path.display()));
        } else if found.ready.len() + found.refused.len() == ROOMS {
            let why = format!(
                "{}: an event has room for {ROOMS} escalators",
                path.display()
            );
            found.odd.push(why);
        } else {
            match inspect(&path) {
                Ok(path) => found.ready.push(Escalator {
                    name: name.to_owned(),
                    path,
                }),
                Err(why) => found.refused.push((name.to_owned(), why)),
            }
        }
    }
    Ok(found)
}

/// What is meant to be run: a README is not, and a link that leads nowhere is.
fn is_program(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |meta| !meta.is_dir() && meta.mode() & 0o111 != 0)
}

fn is_safe(name: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    name.len() <= LONGEST
        && name.bytes().next().is_some_and(word)
        && name
            .bytes()
            .all(|byte| word(byte) || matches!(byte, b'.' | b'-'))
}

fn inspect(path: &Path) -> Result<String, String> {
    let real = files::trusted(path)?;
    let at = |why: &str| format!("{}: {why}", path.display());
    let meta = fs::metadata(&real).map_err(|error| at(&error.to_string()))?;
    if !meta.is_file() {
        return Err(at("is not a regular file"));
    }
    // execvp(3) gives it to the shell, which comes to its end: exit 0, and nobody was told.
    if meta.len() == 0 {
        return Err(at("is empty: copy it again"));
    }
    if meta.mode() & 0o6000 != 0 {
        return Err(at("has a set-id bit: escalators run as the healer"));
    }
    if !viewpoint::may_run(&real) {
        return Err(at("may not be executed by this account: chmod 0755"));
    }
    path.to_str()
        .map(str::to_owned)
        .ok_or_else(|| at("its path is no UTF-8"))
}

/// One attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// By whom.
    pub escalator: &'a Escalator,
    /// Of what.
    pub event: &'a EventName,
    /// Which one, from 1.
    pub number: u32,
    /// The event's JSON.
    pub json: &'a [u8],
    /// `HOME`.
    pub home: &'a str,
    /// `HEAL_CONF_DIR`.
    pub conf_dir: &'a str,
    /// How long the escalator may run, brought up to whole seconds.
    pub timeout: Duration,
    /// Where it prints to; nowhere if none.
    pub log: Option<&'a File>,
}

/// Starts an escalator under its journal's lock. It ends with the escalator's exit code.
///
/// # Errors
/// It does not run. The journal says `trying` at most.
pub fn start(attempt: &Attempt<'_>, journal: &Journal) -> io::Result<Running> {
    let seconds = attempt
        .timeout
        .as_millis()
        .div_ceil(1000)
        .max(1)
        .to_string();
    let path: PathBuf = journal.path().to_owned();
    let path = path
        .to_str()
        .ok_or_else(|| io::Error::other("HEAL_STATE_DIR is no UTF-8"))?;
    let env = [
        ("PATH", PATH),
        ("HOME", attempt.home),
        ("LANG", "C.UTF-8"),
        ("HEAL_CONF_DIR", attempt.conf_dir),
        ("HEAL_EVENT_ID", &attempt.event.to_string()),
        ("HEAL_ACTION", attempt.event.action().as_str()),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    journal.begin(attempt.event, attempt.number)?;
    let started = handler::start(&Invocation {
        program: Path::new("/bin/sh"),
        interpreter: None,
        args: &[
            "-c",
            WRAPPER,
            "self-heal-escalate",
            &attempt.escalator.path,
            &seconds,
            &spool::attempt(attempt.event, attempt.number),
            path,
        ],
        env: &env,
        stdin: attempt.json,
        log: attempt.log,
        locks: &[journal.descriptor()],
        timeout: attempt.timeout + SLACK,
        grace: GRACE,
        run_id: "",
    });
    Ok(started?)
}
