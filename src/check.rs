//! What would bite later: `self-heal check`. It looks at everything that a heal, and the telling of it, will need, with
//! the rights of the account that serves, whoever asks; it changes nothing and makes nothing. What it may not look at
//! it says.

use std::path::{Path, PathBuf};

use crate::judge::AlertName;
use crate::sys::settings::{self, Surveyed};
use crate::sys::sight::{self, Sight};
use crate::sys::{catalog, identity, viewpoint};
use crate::wire::config::Config;
use crate::wire::directives::Directives;
use crate::wire::finding::{Kind, Report};

mod account;
mod allowlist;
mod configuration;
mod escalators;
mod folders;
mod handlers;
mod kinds;
mod outside;
mod scripts;
mod state;
mod sudo;
mod units;

/// Every kind of finding, by who finds it.
pub static KINDS: &[&[&Kind]] = &[kinds::ALL];

/// What was found, and what a lint of other people's files has to be compared with.
#[derive(Debug)]
pub struct Checked {
    /// The findings; those of other lints are added to them.
    pub report: Report,
    /// The configuration; where it is not understood, with the values that would count without that.
    pub config: Config,
    /// The handlers that may be run, with what they ask for.
    pub handlers: Vec<(AlertName, Directives)>,
}

/// Looks at this machine.
pub fn check() -> Checked {
    let surveyed = settings::survey();
    let config = &surveyed.survey.config;
    // Before anything is judged. Where the state folder tells nothing, another one of the same account's does.
    let folders = [&config.state_dir, &config.log_dir, &config.lock_dir];
    let telling = folders
        .into_iter()
        .find(|folder| matches!(sight::at(folder), Sight::There(_)));
    let telling = telling.cloned();
    if let Some(folder) = &telling {
        viewpoint::take_owners_of(folder);
    }
    let mut desk = Desk::new(surveyed);
    configuration::look(&mut desk);
    account::look(&mut desk, telling.as_deref());
    folders::look(&mut desk);
    let (handlers, names) = handlers::look(&mut desk);
    allowlist::look(&mut desk, &names);
    sudo::look(&mut desk, &handlers);
    units::look(&mut desk, &handlers);
    escalators::look(&mut desk);
    state::look(&mut desk);
    outside::look(&mut desk);
    let handlers = handlers.into_iter();
    Checked {
        handlers: handlers
            .map(|ready| (ready.name, ready.handler.directives))
            .collect(),
        config: desk.surveyed.survey.config,
        report: desk.report,
    }
}

/// What every part of it has in hand.
struct Desk {
    surveyed: Surveyed,
    /// The account that serves, by name.
    who: String,
    /// Its number.
    uid: u32,
    report: Report,
}

impl Desk {
    fn new(surveyed: Surveyed) -> Desk {
        let uid = viewpoint::uid();
        Desk {
            surveyed,
            who: identity::name_of(uid),
            uid,
            report: Report::default(),
        }
    }

    fn config(&self) -> &Config {
        &self.surveyed.survey.config
    }

    /// A finding.
    fn found(
        &mut self,
        kind: &'static Kind,
        place: impl Into<String>,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.report.found(kind, place, what, mend);
    }

    /// A finding at a path.
    fn at(
        &mut self,
        kind: &'static Kind,
        path: &Path,
        what: impl Into<String>,
        mend: impl Into<String>,
    ) {
        self.report
            .found(kind, path.display().to_string(), what, mend);
    }

    /// That something was looked at.
    fn looked(&mut self, at: &'static str, what: impl Into<String>) {
        self.report.looked(at, what);
    }

    /// That this account may not look at something.
    fn unseen(&mut self, place: impl Into<String>, what: impl Into<String>) {
        let mend = format!(
            "ask again as root, or as {}: sudo self-heal check",
            self.who
        );
        self.report.found(&kinds::UNSEEN, place, what, mend);
    }
}

/// A handler that may be run, as far as others want to know.
struct Ready {
    name: AlertName,
    /// Its file.
    path: PathBuf,
    /// What it is.
    handler: catalog::Handler,
    /// Its bytes, and those of its hook, with the file's path: scripts only.
    texts: Vec<(PathBuf, Vec<u8>)>,
}

/// Text with a number of things: `1 file`, `2 files`.
fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}
