//! The configuration: its file, its values, and values that fight one another.

use std::time::Duration;

use super::{Desk, count, kinds};
use crate::judge::{Limits, RunLimit};
use crate::sys::accounts::Accounts;
use crate::sys::sight::Sight;
use crate::sys::{files, identity, sight, token};
use crate::wire::config::nearest;
use crate::wire::duration::show;

/// The most problems that are listed; what has more is another file.
const LISTED: usize = 50;

/// Alertmanager's default `group_interval`, which is also how long it waits for an answer, and its `--cluster.peer-timeout`,
/// by which the second of a pair comes later (docs/alertmanager.md).
pub(super) const GROUP_INTERVAL: Duration = Duration::from_secs(5 * 60);
const PEERS_WAIT: Duration = Duration::from_secs(15);

/// Looks at it.
pub(super) fn look(desk: &mut Desk) {
    file(desk);
    let problems = desk.surveyed.survey.problems.clone();
    let unlisted = problems.len().saturating_sub(LISTED);
    for problem in problems.into_iter().take(LISTED) {
        desk.found(
            &kinds::SETTINGS,
            problem.place,
            format!(
                "{}: until then every request is answered 503, and nothing runs",
                problem.what
            ),
            "correct it; what follows here was looked at with the value that would count without it",
        );
    }
    if unlisted > 0 {
        let place = desk.surveyed.path.display().to_string();
        let what = format!(
            "and {}: is it another file?",
            count(unlisted, "more problem")
        );
        desk.found(&kinds::SETTINGS, place, what, "correct those above first");
    }
    environment(desk);
    let limits = desk.config().limits.clone();
    let place = desk.surveyed.survey.place("HEAL_RUN_LIMITS");
    fights(desk, &limits, &place);
    times(desk);
    access(desk);
    words(desk);
    let set = desk.surveyed.survey.set.len();
    let file = desk.surveyed.path.display().to_string();
    let known = match &desk.surveyed.read {
        Ok(true) => format!("{file}: {} set", count(set, "key")),
        Ok(false) => format!(
            "no {file}: {} set, the rest are defaults",
            count(set, "key")
        ),
        Err(_) => format!("{file} was not read: defaults"),
    };
    desk.looked("configuration", known);
}

fn file(desk: &mut Desk) {
    let path = desk.surveyed.path.clone();
    let forbidden = |why: &String| why.ends_with("Permission denied (os error 13)");
    if desk.surveyed.read.as_ref().is_err_and(forbidden) && desk.uid != identity::uid() {
        let what = "this account may not read it: what follows is about the defaults";
        return desk.unseen(path.display().to_string(), what);
    }
    let what = match (&desk.surveyed.read, desk.surveyed.named) {
        (Ok(true), _) => files::trusted(&path)
            .err()
            .or_else(|| sight::allowed(&path, 0o4).err()),
        (Ok(false), true) => Some("HEAL_CONF names it, and it is not there".to_owned()),
        (Ok(false), false) => None,
        (Err(why), _) => Some(format!("cannot be read: {why}")),
    };
    if let Some(why) = what {
        let who = desk.who.clone();
        desk.at(
            &kinds::SETTINGS_FILE,
            &path,
            format!("{why}: every request is answered 503"),
            format!("chown root: it, chmod 0644 it, and see that {who} can get there"),
        );
    }
}

fn environment(desk: &mut Desk) {
    for name in desk.surveyed.unknown.clone() {
        let what = format!(
            "it is set, and no key of self-heal's is called so{}",
            nearest(&name)
        );
        let mend = "unset it where the listener is started, or correct its name";
        desk.found(
            &kinds::UNKNOWN_VARIABLE,
            format!("environment: {name}"),
            what,
            mend,
        );
    }
    for setting in desk.surveyed.survey.set.clone() {
        if let Some(line) = setting.outranked {
            let key = setting.key;
            let what = format!(
                "the environment of this command sets {key} to something else, and the environment wins"
            );
            let mend = "keep one of them; the listener's environment may be another one than this command's";
            desk.found(&kinds::OUTRANKED, line, what, mend);
        }
    }
}

/// Limits that keep each other from counting.
pub(super) fn fights(desk: &mut Desk, limits: &Limits, place: &str) {
    for what in fighting(limits) {
        let mend = "raise the one or lower the other: see docs/configuration.md";
        desk.found(&kinds::LIMITS_FIGHT, place, what, mend);
    }
}

fn fighting(limits: &Limits) -> Vec<String> {
    let attempts = limits.max_attempts;
    let mut found = Vec::new();
    for RunLimit { runs, window } in &limits.run_limits {
        // So many runs are over before the window moves on, if they fail at once.
        let soonest = limits.retry_delay.saturating_mul(*runs);
        if *runs < attempts && soonest < *window {
            found.push(format!(
                "{runs} runs within {} are over before HEAL_MAX_ATTEMPTS={attempts} can be reached: the breaker opens for too many runs, and resolved does not close it",
                show(*window)
            ));
        }
    }
    let spread = limits
        .retry_delay
        .saturating_mul(attempts.saturating_sub(1));
    if attempts > 1 && spread >= limits.attempt_window {
        found.push(format!(
            "{attempts} attempts with HEAL_RETRY_DELAY={} between them do not fit into HEAL_ATTEMPT_WINDOW={}: failures are forgotten before the breaker can open",
            show(limits.retry_delay),
            show(limits.attempt_window)
        ));
    }
    found
}

fn times(desk: &mut Desk) {
    let config = desk.config().clone();
    let settle = config.limits.settle;
    if !settle.is_zero() && settle < GROUP_INTERVAL + PEERS_WAIT {
        let place = desk.surveyed.survey.place("HEAL_SETTLE");
        let what = format!(
            "HEAL_SETTLE={} is shorter than Alertmanager's default group_interval (5m) and its peers' wait (15s): a heal that worked may count as ineffective before resolved can come",
            show(settle)
        );
        let mend = "right if your group_interval is shorter still; else 6m or more";
        desk.found(&kinds::SETTLE_SHORT, place, what, mend);
    }
    let longest = config.handler_timeout + config.kill_grace + config.lock_wait;
    if longest > GROUP_INTERVAL {
        let place = desk.surveyed.survey.place("HEAL_HANDLER_TIMEOUT");
        let what = format!(
            "HEAL_HANDLER_TIMEOUT, HEAL_KILL_GRACE and HEAL_LOCK_WAIT together are {}",
            show(longest)
        );
        sender_gone(desk, &place, &what);
    }
}

/// The handler goes on, and the answer is lost.
pub(super) fn sender_gone(desk: &mut Desk, place: &str, what: &str) {
    let what = format!(
        "{what}, longer than Alertmanager waits by default (group_interval, 5m): it hangs up, asks again, and is told busy until the handler has ended"
    );
    let mend =
        "nothing, if it has to take that long; else a shorter timeout, or a longer group_interval";
    desk.found(&kinds::SENDER_GONE, place, what, mend);
}

fn access(desk: &mut Desk) {
    let config = desk.config().clone();
    if let Some(path) = &config.token_file {
        match sight::at(path) {
            Sight::Hidden => desk.unseen(
                path.display().to_string(),
                "the token file may not be looked at by this account",
            ),
            _ => token_file(desk, path),
        }
    }
    if !config.allow_users.is_empty() {
        match Accounts::read() {
            Err(error) => desk.found(
                &kinds::ALLOW_USERS,
                "/etc/passwd",
                format!("cannot be read: {error}: every request is answered 503"),
                "chmod 0644 /etc/passwd",
            ),
            Ok(accounts) => {
                let place = desk.surveyed.survey.place("HEAL_ALLOW_USERS");
                let unknown = config
                    .allow_users
                    .iter()
                    .filter(|name| accounts.uid(name).is_none());
                for name in unknown {
                    let what = format!(
                        "HEAL_ALLOW_USERS: no account {name} in /etc/passwd: every request is answered 503"
                    );
                    let mend = "correct the name, or give the account's number";
                    desk.found(&kinds::ALLOW_USERS, place.clone(), what, mend);
                }
            }
        }
    }
    if !config.allow_peers.is_empty() && config.token_file.is_none() {
        let place = desk.surveyed.survey.place("HEAL_ALLOW_PEERS");
        let what = "HEAL_ALLOW_PEERS lets other machines in, and HEAL_TOKEN_FILE names no token: whoever has such an address may have services restarted";
        let mend = "set HEAL_TOKEN_FILE: see docs/security.md";
        desk.found(&kinds::OPEN_PEERS, place, what, mend);
    }
}

fn token_file(desk: &mut Desk, path: &std::path::Path) {
    let who = desk.who.clone();
    let mend = format!("root:{who} 0640 and one line in it: see docs/security.md");
    if let Err(why) = sight::allowed(path, 0o4) {
        let what = format!("HEAL_TOKEN_FILE: {who} {why}: every request is answered 503");
        return desk.at(&kinds::TOKEN, path, what, mend);
    }
    match sight::read(path, 1) {
        Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            desk.unseen(
                path.display().to_string(),
                "the token file may not be read by this account",
            );
        }
        _ => {
            if let Err(why) = token::load(path) {
                let what = format!("HEAL_TOKEN_FILE: {why}: every request is answered 503");
                desk.at(&kinds::TOKEN, path, what, mend);
            }
        }
    }
}

fn words(desk: &mut Desk) {
    let config = desk.config().clone();
    if config.observe {
        let place = desk.surveyed.survey.place("HEAL_OBSERVE");
        let what = "HEAL_OBSERVE=yes: everything is judged and recorded, and nothing is run";
        let mend = "HEAL_OBSERVE=no once the first week is over: see docs/operations.md";
        desk.found(&kinds::OBSERVING, place, what, mend);
    }
    if config.unsettled_status == 200 {
        let place = desk.surveyed.survey.place("HEAL_UNSETTLED_STATUS");
        let what = "HEAL_UNSETTLED_STATUS=200: a sender is never told to ask again, so what failed or was busy is not tried again before its repeat_interval";
        let mend = "503, unless the sender cannot bear it";
        desk.found(&kinds::ALWAYS_200, place, what, mend);
    }
    if config.allow_root {
        let place = desk.surveyed.survey.place("HEAL_ALLOW_ROOT");
        let what = "HEAL_ALLOW_ROOT=yes: whoever gets at the listener, or at a handler, gets root";
        let mend = "an account of its own, as deploy/sysusers.d/self-heal.conf makes it, and sudo for what needs root";
        desk.found(&kinds::ROOT_ALLOWED, place, what, mend);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(attempts: u32, delay: u64, window: u64, runs: &[(u32, u64)]) -> Limits {
        let second = Duration::from_secs;
        Limits {
            max_attempts: attempts,
            attempt_window: second(window),
            retry_delay: second(delay),
            settle: second(360),
            run_limits: runs
                .iter()
                .map(|(runs, window)| RunLimit {
                    runs: *runs,
                    window: second(*window),
                })
                .collect(),
        }
    }

    #[test]
    fn limits_that_leave_each_other_room_do_not_fight() {
        for fine in [
            limits(3, 30, 14_400, &[(6, 14_400), (10, 86_400)]),
            // A short window that the delay keeps clear.
            limits(3, 30, 14_400, &[(2, 60)]),
            limits(1, 86_400, 60, &[]),
        ] {
            assert_eq!(fighting(&fine), [""; 0], "{fine:?}");
        }
    }

    #[test]
    fn limits_that_do_not_are_named() {
        let found = fighting(&limits(5, 30, 14_400, &[(4, 14_400), (10, 86_400)]));
        assert_eq!(found.len(), 1);
        assert!(
            found[0].starts_with("4 runs within 4h are over before"),
            "{found:?}"
        );
        let found = fighting(&limits(3, 7200, 14_400, &[]));
        assert!(
            found[0].starts_with("3 attempts with HEAL_RETRY_DELAY=2h"),
            "{found:?}"
        );
    }
}
