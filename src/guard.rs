//! Root's side of the rollback guard, from a run id to its answer: `self-heal guard`. It is started by the healer through
//! sudo, so it trusts nothing that it gets from there: it reads the configuration file and no environment, takes what to
//! copy from a handler of root's, and refuses everything else.

use crate::judge::run_id::{self, RunId};
use crate::sys::catalog::{self, Lookup};
use crate::sys::snapshot::{Guarded, root};
use crate::sys::{identity, settings};
use crate::wire::config::Config;

/// Why nothing was done, or not all of it.
#[derive(Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The command or the configuration is wrong.
    Misused(String),
    /// What was asked for cannot be done.
    Failed(String),
}

/// Captures what the handler of this run names and root may take; the answer, one line.
///
/// # Errors
/// [`Refusal`]; no snapshot was made, unless only the answer could not be given.
pub fn capture(run: &str) -> Result<String, Refusal> {
    let (id, config) = begin(run)?;
    let handler = match catalog::find(&config.handler_dir, &id.alertname) {
        Lookup::Ready(handler) => handler,
        Lookup::Unsafe(why) | Lookup::Unknown(why) => return Err(Refusal::Failed(why)),
        Lookup::Missing => {
            let folder = config.handler_dir.display();
            let why = format!("{folder} has no handler for {}", id.alertname);
            return Err(Refusal::Failed(why));
        }
    };
    let guarded = Guarded {
        backup_dir: &config.backup_dir,
        run_id: run,
        paths: &handler.directives.snapshot,
    };
    root::capture(&guarded, &config.backup_keep, &config.state_dir)
        .and_then(|took| took.to_line())
        .map_err(Refusal::Failed)
}

/// Puts back what was captured for this run; the answer, one line.
///
/// # Errors
/// [`Refusal`].
pub fn restore(run: &str) -> Result<String, Refusal> {
    let (_, config) = begin(run)?;
    let guarded = Guarded {
        backup_dir: &config.backup_dir,
        run_id: run,
        paths: &[],
    };
    root::restore(&guarded)
        .and_then(|back| back.to_line())
        .map_err(Refusal::Failed)
}

fn begin(run: &str) -> Result<(RunId, Config), Refusal> {
    let misused = |why: &str| Refusal::Misused(why.to_owned());
    if !identity::is_root() {
        return Err(misused("this is for root, by deploy/sudoers.d/healer"));
    }
    let id = run_id::parse(run).ok_or_else(|| {
        misused("that is no run id: the healer gives one, TIME-PID-NUMBER.ALERTNAME")
    })?;
    let config = settings::load_file().map_err(|problems| misused(&problems.join("; ")))?;
    Ok((id, config))
}
