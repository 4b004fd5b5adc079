//! The configuration: defaults, then the file's lines, then the environment. It is all or nothing: one
//! value that cannot be understood and there is no configuration, because a healer that runs with half
//! of its limits is worse than one that does not run. It collects every problem, reads nothing itself,
//! and has no default but those in [`KEYS`], which go the same way as an operator's values.

mod keys;
mod lines;
mod values;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::net::Net;
use super::quote::quote;
use crate::judge::{Limits, RunLimit};
pub use keys::{KEYS, Key};

/// The place of a value that no file has.
const ENVIRONMENT: &str = "environment";

/// More problems than this are counted, not listed: the file is something else altogether.
const LISTED: usize = 50;

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `HEAL_PORT`: for the start scripts; this program never binds it.
    pub port: u16,
    /// `HEAL_HANDLER_DIR`: absolute.
    pub handler_dir: PathBuf,
    /// `HEAL_ALLOWED_INSTANCES`: the allow-list's file, absolute.
    pub allowed_instances: PathBuf,
    /// `HEAL_LOG_DIR`: absolute.
    pub log_dir: PathBuf,
    /// `HEAL_LOCK_DIR`: absolute.
    pub lock_dir: PathBuf,
    /// `HEAL_STATE_DIR`, or the folder that `HEAL_STATE` names: absolute.
    pub state_dir: PathBuf,
    /// `HEAL_BACKUP_DIR`: absolute; snapshots, and what handlers keep there themselves.
    pub backup_dir: PathBuf,
    /// `HEAL_BACKUP_KEEP`.
    pub backup_keep: Keep,
    /// `HEAL_ESCALATE_DIR`: absolute.
    pub escalate_dir: PathBuf,
    /// `HEAL_OBSERVE`: judge and record everything, run nothing.
    pub observe: bool,
    /// `HEAL_MAX_ATTEMPTS`, `HEAL_ATTEMPT_WINDOW`, `HEAL_RETRY_DELAY`, `HEAL_SETTLE`,
    /// `HEAL_RUN_LIMITS`: the limits of every alert whose handler does not ask for others.
    pub limits: Limits,
    /// `HEAL_STORM_LIMIT`: runs of the whole host; up to [`RunLimit::MOST_HOST`].
    pub storm_limit: RunLimit,
    /// `HEAL_HANDLER_TIMEOUT`: 1s to 24h.
    pub handler_timeout: Duration,
    /// `HEAL_KILL_GRACE`: between TERM and KILL; 0 to 10m.
    pub kill_grace: Duration,
    /// `HEAL_LOCK_WAIT`: one budget for a whole request; 0 to 10m.
    pub lock_wait: Duration,
    /// `HEAL_MAX_CONCURRENT`: handlers at once on this host; 1 to 256.
    pub max_concurrent: u32,
    /// `HEAL_REQUEST_TIMEOUT`: for head and body together; 1s to 10m.
    pub request_timeout: Duration,
    /// `HEAL_MAX_BODY`: bytes; 1 KiB to 64 MiB.
    pub max_body: usize,
    /// `HEAL_TOKEN_FILE`: absolute; `None` asks for no token.
    pub token_file: Option<PathBuf>,
    /// `HEAL_ALLOW_PEERS`: who may connect besides loopback.
    pub allow_peers: Vec<Net>,
    /// `HEAL_ALLOW_USERS`: names or numeric ids; empty lets any local user connect.
    pub allow_users: Vec<String>,
    /// `HEAL_SYSLOG`.
    pub syslog: Syslog,
    /// `HEAL_UNSETTLED_STATUS`: 503 or 200.
    pub unsettled_status: u16,
    /// `HEAL_ALLOW_ROOT`: whether it may serve as root.
    pub allow_root: bool,
}

/// How many snapshots of one alert are kept, and for how long; whichever ends first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// By count: 1 to 1000.
    pub most: u32,
    /// By age: 1m to 3650d.
    pub age: Duration,
}

/// Whether the log goes to syslog too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syslog {
    /// If there is one.
    Auto,
    /// Yes; that there is none is worth a complaint.
    On,
    /// No.
    Off,
}

/// Reads the configuration from a file's path and content, if there is one, and the environment.
///
/// # Errors
/// Every problem found, each one sentence: `path:line:` or `environment:`, the key, what is wrong, what
/// it takes and an example. A value is wrong wherever it stands, even if another one outranks it.
pub fn load(
    file: Option<(&str, &[u8])>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Config, Vec<String>> {
    let survey = survey(file, env);
    let mut problems: Vec<String> = survey.problems.iter().map(Problem::sentence).collect();
    if problems.is_empty() {
        return Ok(survey.config);
    }
    let unlisted = problems.len().saturating_sub(LISTED);
    problems.truncate(LISTED);
    if unlisted > 0 {
        problems.push(format!("and {unlisted} more problems"));
    }
    Err(problems)
}

/// A configuration looked at rather than used.
#[derive(Debug)]
pub struct Survey {
    /// What it comes to, with the default, or the file's value, in the place of each one that is not understood.
    pub config: Config,
    /// Everything that is wrong with it: then [`load`] gives nothing.
    pub problems: Vec<Problem>,
    /// What somebody set, in the order of [`KEYS`].
    pub set: Vec<Setting>,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `path:line` or `environment`.
    pub place: String,
    /// The rest of the sentence.
    pub what: String,
}

impl Problem {
    fn sentence(&self) -> String {
        format!("{}: {}", self.place, self.what)
    }
}

/// A key that somebody set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name.
    pub key: &'static str,
    /// Where the value stands that counts: `path:line` or `environment`.
    pub place: String,
    /// Where in the file another value stands that does not count.
    pub outranked: Option<String>,
}

impl Survey {
    /// Where a key's value is from, for a person: its place, or that it is the default.
    pub fn place(&self, key: &str) -> String {
        let set = self.set.iter().find(|setting| setting.key == key);
        set.map_or_else(
            || format!("{key} (default)"),
            |setting| setting.place.clone(),
        )
    }
}

/// As [`load`], going on past every problem.
pub fn survey(file: Option<(&str, &[u8])>, env: impl Fn(&str) -> Option<OsString>) -> Survey {
    let mut problems = Vec::new();
    let mut lines = file.map_or_else(BTreeMap::new, |(path, bytes)| {
        from_file(path, bytes, &mut problems)
    });

    let (mut config, mut tried) = (Config::blank(), Config::blank());
    let mut given = BTreeMap::new();
    let mut set: Vec<Setting> = Vec::new();
    for key in KEYS {
        let mut winner = None;
        let from_env = env(key.name).map(|value| Given {
            place: ENVIRONMENT.to_owned(),
            value: value.into_string(),
        });
        for source in lines.remove(key.name).into_iter().chain(from_env) {
            match source.check(key, &mut tried) {
                Ok(value) => {
                    let place = source.place.clone();
                    let before = given.insert(key.name, (source.place, value.clone()));
                    let outranked = before.filter(|(_, other)| *other != value);
                    set.retain(|setting| setting.key != key.name);
                    set.push(Setting {
                        key: key.name,
                        place,
                        outranked: outranked.map(|(place, _)| place),
                    });
                    winner = Some(value);
                }
                Err(problem) => problems.push(problem),
            }
        }
        let value = winner.as_deref().unwrap_or(key.default);
        if let Err(reason) = (key.set)(&mut config, value) {
            problems.push(Problem {
                place: key.name.to_owned(),
                what: reason,
            });
        }
    }
    problems.extend(two_state_folders(&config, &given));
    Survey {
        config,
        problems,
        set,
    }
}

/// For a name that is no key: the key that was probably meant, as the end of a sentence.
pub fn nearest(name: &str) -> String {
    keys::nearest(name)
}

/// The configuration when nobody gives one.
pub fn defaults() -> Config {
    load(None, |_| None).unwrap_or_else(|_| Config::blank())
}

/// A value somebody gave, and where.
struct Given {
    /// `path:line` or `environment`.
    place: String,
    /// `Err` when it is not UTF-8.
    value: Result<String, OsString>,
}

impl Given {
    /// The value, if the key takes it; `tried` is a configuration to try that with.
    fn check(&self, key: &Key, tried: &mut Config) -> Result<String, Problem> {
        let checked = match &self.value {
            Err(_) => Err("not UTF-8".to_owned()),
            Ok(text) if text.contains(char::is_control) => {
                Err("a control character in the value".to_owned())
            }
            Ok(text) if text.is_empty() && !key.default.is_empty() => Err("empty".to_owned()),
            Ok(text) => (key.set)(tried, text).map(|()| text.clone()),
        };
        checked.map_err(|reason| Problem {
            place: self.place.clone(),
            what: format!("{}: {reason}; it takes {}", key.name, key.accepts),
        })
    }
}

fn from_file(
    path: &str,
    bytes: &[u8],
    problems: &mut Vec<Problem>,
) -> BTreeMap<&'static str, Given> {
    let mut found: BTreeMap<&str, (usize, Given)> = BTreeMap::new();
    for (number, line) in (1_usize..).zip(bytes.split(|b| *b == b'\n')) {
        let place = || format!("{path}:{number}");
        let (name, value) = match lines::read(line) {
            Ok(None) => continue,
            Ok(Some(assignment)) => assignment,
            Err(reason) => {
                problems.push(Problem {
                    place: place(),
                    what: reason,
                });
                continue;
            }
        };
        let Some(key) = KEYS.iter().find(|key| key.name == name) else {
            problems.push(Problem {
                place: place(),
                what: format!("unknown key {}{}", quote(name), nearest(name)),
            });
            continue;
        };
        if let Some((first, _)) = found.get(key.name) {
            problems.push(Problem {
                place: place(),
                what: format!("{name} is already set at line {first}; keep one of them"),
            });
            continue;
        }
        found.insert(
            key.name,
            (
                number,
                Given {
                    place: place(),
                    value: Ok(value.to_owned()),
                },
            ),
        );
    }
    found
        .into_iter()
        .map(|(name, (_, given))| (name, given))
        .collect()
}

/// `HEAL_STATE=file:/path` is another way to set the state folder, so both must say the same.
fn two_state_folders(config: &Config, given: &BTreeMap<&str, (String, String)>) -> Option<Problem> {
    let (place, folder) = given.get("HEAL_STATE_DIR")?;
    let (other, _) = given.get("HEAL_STATE")?;
    (Path::new(folder) != config.state_dir).then(|| Problem {
        place: other.clone(),
        what: format!("HEAL_STATE: names another folder than HEAL_STATE_DIR does ({place}); set one of them, or HEAL_STATE=file:"),
    })
}

impl Config {
    /// No configuration at all: something to fill in, key by key.
    fn blank() -> Config {
        let none = RunLimit {
            runs: 0,
            window: Duration::ZERO,
        };
        Config {
            port: 0,
            handler_dir: PathBuf::new(),
            allowed_instances: PathBuf::new(),
            log_dir: PathBuf::new(),
            lock_dir: PathBuf::new(),
            state_dir: PathBuf::new(),
            backup_dir: PathBuf::new(),
            backup_keep: Keep {
                most: 0,
                age: Duration::ZERO,
            },
            escalate_dir: PathBuf::new(),
            observe: false,
            limits: Limits {
                max_attempts: 0,
                attempt_window: Duration::ZERO,
                retry_delay: Duration::ZERO,
                settle: Duration::ZERO,
                run_limits: Vec::new(),
            },
            storm_limit: none,
            handler_timeout: Duration::ZERO,
            kill_grace: Duration::ZERO,
            lock_wait: Duration::ZERO,
            max_concurrent: 0,
            request_timeout: Duration::ZERO,
            max_body: 0,
            token_file: None,
            allow_peers: Vec::new(),
            allow_users: Vec::new(),
            syslog: Syslog::Off,
            unsettled_status: 0,
            allow_root: false,
        }
    }
}

#[cfg(test)]
mod tests;
