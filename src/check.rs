//! What would bite later: `self-heal check`. It looks at everything that a heal, and the telling of it, will need, with
//! the rights of the account that serves, whoever asks; it changes nothing and makes nothing. What it may not look at
//! it says.

use std::io;
use std::path::{Path, PathBuf};

use crate::judge::AlertName;
use crate::sys::settings::{self, Surveyed};
use crate::sys::sight::{self, Sight};
use crate::sys::{catalog, files, identity, viewpoint};
use crate::wire::config::Config;
use crate::wire::directives::Directives;
use crate::wire::finding::{Finding, Kind, Report};
use crate::wire::lint::{self, Text};

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
pub static KINDS: &[&[&Kind]] = &[kinds::ALL, lint::KINDS];

/// Other people's files that are looked at too.
#[derive(Clone, Debug, Default)]
pub struct Files {
    /// Alertmanager's configuration.
    pub alertmanager: Option<String>,
    /// The receiver in it that posts here, where the port does not tell.
    pub receiver: Option<String>,
    /// Files of Prometheus' rules.
    pub rules: Vec<String>,
}

/// The largest of them, in bytes.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Looks at this machine, and at these files.
///
/// # Errors
/// One of the files cannot be read: a sentence.
pub fn check(others: &Files) -> Result<Report, String> {
    // Before this process becomes somebody who may read less.
    let alertmanager = others.alertmanager.as_deref().map(read).transpose()?;
    let rules = others.rules.iter().map(|file| read(file));
    let rules = rules.collect::<Result<Vec<_>, _>>()?;
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
    let owner = telling.as_deref();
    folders::look(&mut desk);
    let found = by_owner(&mut desk, owner, handlers::look);
    let (handlers, names) = found.unwrap_or_default();
    by_owner(&mut desk, owner, |desk| allowlist::look(desk, &names));
    sudo::look(&mut desk, &handlers);
    units::look(&mut desk, &handlers);
    by_owner(&mut desk, owner, escalators::look);
    by_owner(&mut desk, owner, state::look);
    outside::look(&mut desk);
    if alertmanager.is_some() || !rules.is_empty() {
        let found = lint(
            &desk,
            &handlers,
            &names,
            others,
            alertmanager.as_ref(),
            &rules,
        );
        desk.report.findings.extend(found);
        for (name, _) in alertmanager.iter().chain(&rules) {
            desk.report.looked("file", name.as_str());
        }
    }
    Ok(desk.report)
}

/// Looks with that account's rights over files and no more, for root too: whoever owns these folders may have put links
/// there. Nothing, if that cannot be done, which is said.
fn by_owner<T>(
    desk: &mut Desk,
    owner: Option<&Path>,
    look: impl FnOnce(&mut Desk) -> T,
) -> Option<T> {
    let Some(owner) = owner else {
        return Some(look(desk));
    };
    match identity::as_owner_of(owner, || look(desk)) {
        Ok(found) => Some(found),
        Err(why) => {
            desk.unseen(owner.display().to_string(), why);
            None
        }
    }
}

/// What the lints find in these files, beside the handlers here.
fn lint(
    desk: &Desk,
    ready: &[Ready],
    names: &[AlertName],
    others: &Files,
    alertmanager: Option<&(String, String)>,
    rules: &[(String, String)],
) -> Vec<Finding> {
    let config = desk.config();
    let plain = Directives::default();
    let handler = |name: &AlertName| {
        let ready = ready.iter().find(|ready| ready.name == *name);
        let directives = ready.map_or(&plain, |ready| &ready.handler.directives);
        lint::Handler::new(name.as_str(), directives, config)
    };
    // No handler at all is a finding of its own, or a folder that nobody could look into.
    let known = (!names.is_empty()).then(|| names.iter().map(handler).collect());
    let mut context = lint::Context::new(config, known);
    context.receiver = others.receiver.as_deref();
    let rules: Vec<Text<'_>> = rules.iter().map(text).collect();
    lint::lint(alertmanager.map(text), &rules, &context)
}

/// A file by its name, and what is in it.
fn read(name: &str) -> Result<(String, String), String> {
    let bytes = files::read_bytes(Path::new(name), LARGEST);
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other));
    text.map(|text| (name.to_owned(), text))
        .map_err(|error| format!("{name}: {error}"))
}

fn text((name, text): &(String, String)) -> Text<'_> {
    Text { name, text }
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
