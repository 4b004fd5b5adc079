//! The keys: the one definition that parser, defaults and documentation come from. It holds no logic
//! beyond the range of each value.

use std::time::Duration;

use super::values::{choice, items, keep, limit, number, optional, path, size, span, user, yes};
use super::{Config, Syslog};
use crate::judge::RunLimit;
use crate::wire::net::Net;

/// One key of the configuration.
pub struct Key {
    /// Its name, in the file and in the environment.
    pub name: &'static str,
    /// The value it has when nobody sets it; where this is empty, an empty value is valid.
    pub default: &'static str,
    /// What it takes, with an example; continues "it takes".
    pub accepts: &'static str,
    /// What it is for: a sentence without its full stop.
    pub help: &'static str,
    /// Reads a value into its place; the error continues "KEY:".
    pub(super) set: fn(&mut Config, &str) -> Result<(), String>,
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);
const ZERO: Duration = Duration::ZERO;
const ABSOLUTE: &str = "an absolute path without .., such as /srv/self-heal";

/// Every key, in the order of the documentation.
pub const KEYS: &[Key] = &[
    Key {
        name: "HEAL_PORT",
        default: "9095",
        accepts: "a port from 1 to 65535, such as 9095",
        help: "The port that the start scripts listen on; the address is always 127.0.0.1",
        set: |c, v| put(&mut c.port, number(v, 1..=65_535)),
    },
    Key {
        name: "HEAL_HANDLER_DIR",
        default: "/opt/self-heal/handlers",
        accepts: ABSOLUTE,
        help: "The folder with one handler for each alertname",
        set: |c, v| put(&mut c.handler_dir, path(v)),
    },
    Key {
        name: "HEAL_ALLOWED_INSTANCES",
        default: "/opt/self-heal/allowed-instances.txt",
        accepts: ABSOLUTE,
        help: "The file that lists the instances which may be healed",
        set: |c, v| put(&mut c.allowed_instances, path(v)),
    },
    Key {
        name: "HEAL_LOG_DIR",
        default: "/var/log/self-heal",
        accepts: ABSOLUTE,
        help: "The folder for listener.log and the output of handlers",
        set: |c, v| put(&mut c.log_dir, path(v)),
    },
    Key {
        name: "HEAL_LOCK_DIR",
        default: "/var/lock/self-heal",
        accepts: ABSOLUTE,
        help: "The folder for the lock of each alert",
        set: |c, v| put(&mut c.lock_dir, path(v)),
    },
    Key {
        name: "HEAL_STATE_DIR",
        default: "/var/lib/self-heal",
        accepts: ABSOLUTE,
        help: "The folder for the record of each alert and the history",
        set: |c, v| put(&mut c.state_dir, path(v)),
    },
    Key {
        name: "HEAL_BACKUP_DIR",
        default: "/var/backups/self-heal",
        accepts: ABSOLUTE,
        help: "The folder for snapshots, and for backups of the handlers' own",
        set: |c, v| put(&mut c.backup_dir, path(v)),
    },
    Key {
        name: "HEAL_BACKUP_KEEP",
        default: "20,30d",
        accepts: "COUNT,DURATION, 1 to 1000 snapshots for 1m to 3650d, such as 20,30d",
        help: "Snapshots kept of each alertname, by count and by age, whichever ends first",
        set: |c, v| put(&mut c.backup_keep, keep(v)),
    },
    Key {
        name: "HEAL_ESCALATE_DIR",
        default: "/opt/self-heal/escalate.d",
        accepts: ABSOLUTE,
        help: "The folder of the programs that page a person",
        set: |c, v| put(&mut c.escalate_dir, path(v)),
    },
    Key {
        name: "HEAL_STATE",
        default: "file:",
        accepts: "file: for files in the state folder, or file: and another absolute folder, such as file:/srv/state",
        help: "Where the records are kept",
        set: |c, v| match v.strip_prefix("file:") {
            Some("") => Ok(()),
            Some(folder) => put(&mut c.state_dir, path(folder)),
            None => Err("not a kind of store that this build has; it has file:".to_owned()),
        },
    },
    Key {
        name: "HEAL_MAX_ATTEMPTS",
        default: "3",
        accepts: "a whole number from 1 to 100, such as 3",
        help: "Failures in a row, or heals in a row without effect, that open the breaker",
        set: |c, v| put(&mut c.limits.max_attempts, number(v, 1..=100)),
    },
    Key {
        name: "HEAL_ATTEMPT_WINDOW",
        default: "4h",
        accepts: "a duration from 1s to 30d, such as 4h",
        help: "How long a failure counts, and how long an opened breaker stays shut at first",
        set: |c, v| put(&mut c.limits.attempt_window, span(v, SECOND..=30 * DAY)),
    },
    Key {
        name: "HEAL_RETRY_DELAY",
        default: "30s",
        accepts: "a duration from 0 to 1d, such as 30s",
        help: "From a failure to the next attempt",
        set: |c, v| put(&mut c.limits.retry_delay, span(v, ZERO..=DAY)),
    },
    Key {
        name: "HEAL_SETTLE",
        default: "6m",
        accepts: "a duration from 0 to 7d, such as 6m; 0 turns it off",
        help: "How long a heal has to show its effect; longer than group_interval and the peers' wait",
        set: |c, v| put(&mut c.limits.settle, span(v, ZERO..=7 * DAY)),
    },
    Key {
        name: "HEAL_RUN_LIMITS",
        default: "6/4h,10/24h",
        accepts: "a comma list of RUNS/DURATION, 1 to 100 runs within 1s to 30d, such as 6/4h,10/24h",
        help: "Runs of one alert within each of these windows, whatever came of them",
        set: |c, v| {
            let limits = items(v, |v| limit(v, RunLimit::MOST, SECOND..=30 * DAY));
            put(&mut c.limits.run_limits, limits)
        },
    },
    Key {
        name: "HEAL_STORM_LIMIT",
        default: "30/10m",
        accepts: "RUNS/DURATION, 1 to 400 runs within 1s to 30d, such as 30/10m",
        help: "Runs of all handlers of this host within this window",
        set: |c, v| {
            put(
                &mut c.storm_limit,
                limit(v, RunLimit::MOST_HOST, SECOND..=30 * DAY),
            )
        },
    },
    Key {
        name: "HEAL_HANDLER_TIMEOUT",
        default: "4m",
        accepts: "a duration from 1s to 1d, such as 4m",
        help: "How long a handler may run before it is ended",
        set: |c, v| put(&mut c.handler_timeout, span(v, SECOND..=DAY)),
    },
    Key {
        name: "HEAL_KILL_GRACE",
        default: "10s",
        accepts: "a duration from 0 to 10m, such as 10s",
        help: "From the TERM signal at the timeout to KILL",
        set: |c, v| put(&mut c.kill_grace, span(v, ZERO..=10 * MINUTE)),
    },
    Key {
        name: "HEAL_LOCK_WAIT",
        default: "5s",
        accepts: "a duration from 0 to 10m, such as 5s",
        help: "How long a request waits, all in all, for locks and slots that others hold",
        set: |c, v| put(&mut c.lock_wait, span(v, ZERO..=10 * MINUTE)),
    },
    Key {
        name: "HEAL_MAX_CONCURRENT",
        default: "4",
        accepts: "a whole number from 1 to 256, such as 4",
        help: "Handlers running at once on this host",
        set: |c, v| put(&mut c.max_concurrent, number(v, 1..=256)),
    },
    Key {
        name: "HEAL_REQUEST_TIMEOUT",
        default: "10s",
        accepts: "a duration from 1s to 10m, such as 10s",
        help: "How long a request's head and body together may take to arrive",
        set: |c, v| put(&mut c.request_timeout, span(v, SECOND..=10 * MINUTE)),
    },
    Key {
        name: "HEAL_MAX_BODY",
        default: "4MiB",
        accepts: "a size from 1KiB to 64MiB, such as 4MiB, 512KiB or 1048576 for bytes",
        help: "The largest request body that is read",
        set: |c, v| put(&mut c.max_body, size(v, 1 << 10..=64 << 20)),
    },
    Key {
        name: "HEAL_OBSERVE",
        default: "no",
        accepts: "no or yes",
        help: "Whether to judge and record everything and run nothing, for a first week",
        set: |c, v| put(&mut c.observe, yes(v)),
    },
    Key {
        name: "HEAL_TOKEN_FILE",
        default: "",
        accepts: "an absolute path without .., such as /etc/self-heal/token, or nothing for no token",
        help: "The file with the bearer token or basic-auth password that senders must show",
        set: |c, v| put(&mut c.token_file, optional(v, |v| path(v).map(Some))),
    },
    Key {
        name: "HEAL_ALLOW_PEERS",
        default: "",
        accepts: "a comma list of addresses or prefixes, such as 192.0.2.7,2001:db8::/64, or nothing for loopback only",
        help: "The addresses that may connect; loopback always may",
        set: |c, v| put(&mut c.allow_peers, optional(v, |v| items(v, Net::parse))),
    },
    Key {
        name: "HEAL_ALLOW_USERS",
        default: "",
        accepts: "a comma list of user names or numeric ids, such as prometheus,0, or nothing for any user",
        help: "The local users whose connections are served",
        set: |c, v| put(&mut c.allow_users, optional(v, |v| items(v, user))),
    },
    Key {
        name: "HEAL_SYSLOG",
        default: "auto",
        accepts: "auto, on or off",
        help: "Whether log lines go to syslog too",
        set: |c, v| {
            let known = [
                ("auto", Syslog::Auto),
                ("on", Syslog::On),
                ("off", Syslog::Off),
            ];
            put(&mut c.syslog, choice(v, known))
        },
    },
    Key {
        name: "HEAL_UNSETTLED_STATUS",
        default: "503",
        accepts: "503, or 200 for senders that must never ask again",
        help: "The status of an answer that leaves an alert unsettled",
        set: |c, v| {
            put(
                &mut c.unsettled_status,
                choice(v, [("503", 503), ("200", 200)]),
            )
        },
    },
    Key {
        name: "HEAL_ALLOW_ROOT",
        default: "no",
        accepts: "no or yes",
        help: "Whether it may serve as root",
        set: |c, v| put(&mut c.allow_root, yes(v)),
    },
];

/// For an unknown key: the known one it was probably meant to be, as the end of a sentence.
pub(super) fn nearest(name: &str) -> String {
    let name = name.to_ascii_uppercase();
    let best = KEYS
        .iter()
        .map(|key| (distance(&name, key.name), key.name))
        .min();
    // Three slips: enough for a forgotten word ending, too few to turn one key into another.
    match best.filter(|(slips, _)| *slips <= 3) {
        Some((_, key)) => format!("; did you mean {key}?"),
        None => "; it is misspelled, or belongs to another version".to_owned(),
    }
}

/// How many letters have to be added, removed or replaced (Levenshtein, one row at a time).
pub(in crate::wire) fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut left = i + 1;
        let mut next = vec![left];
        for (y, pair) in b.bytes().zip(row.windows(2)) {
            if let [diagonal, above] = pair {
                left = (diagonal + usize::from(x != y))
                    .min(above + 1)
                    .min(left + 1);
                next.push(left);
            }
        }
        row = next;
    }
    row.last().copied().unwrap_or(a.len())
}

fn put<T>(place: &mut T, value: Result<T, String>) -> Result<(), String> {
    *place = value?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, slips) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "ab", 2),
            ("kitten", "sitting", 3),
            ("abc", "abc", 0),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(a, b), slips, "{a} {b}");
            assert_eq!(distance(b, a), slips, "{b} {a}");
        }
    }

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        assert_eq!(
            nearest("HEAL_ALLOW_INSTANCES"),
            "; did you mean HEAL_ALLOWED_INSTANCES?"
        );
        assert_eq!(nearest("heal_port"), "; did you mean HEAL_PORT?");
        assert!(!nearest("MAX_ALERTS_PER_POST").contains("did you mean"));
    }

    #[test]
    fn the_table_is_in_order() {
        for (i, key) in KEYS.iter().enumerate() {
            assert!(key.name.starts_with("HEAL_"), "{}", key.name);
            assert!(
                KEYS.iter().skip(i + 1).all(|other| other.name != key.name),
                "{} twice",
                key.name
            );
            assert!(
                !key.help.is_empty() && !key.help.ends_with('.') && !key.accepts.is_empty(),
                "{}",
                key.name
            );
        }
    }
}
