//! A configuration is understood whole or not at all, and the file and the environment mean the same by the same value.

use std::collections::BTreeMap;
use std::ffi::OsString;

use self_heal::judge::RunLimit;
use self_heal::wire::config::{self, Config, KEYS};

pub fn body(data: &[u8]) {
    let file = Some(("/etc/c", data));
    let survey = config::survey(file, |_| None);
    in_range(&survey.config);
    for problem in &survey.problems {
        super::sentence(&problem.what);
        assert!(
            problem.place == "/etc/c" || problem.place.starts_with("/etc/c:"),
            "{problem:?}"
        );
    }
    let loaded = config::load(file, |_| None);
    match &loaded {
        Ok(loaded) => {
            assert!(survey.problems.is_empty());
            assert_eq!(*loaded, survey.config);
        }
        Err(problems) => {
            assert!(!survey.problems.is_empty() && problems.len() <= 51);
            return;
        }
    }
    let Some(lines) = plain(data) else { return };
    let environment = |name: &str| lines.get(name).map(OsString::from);
    assert_eq!(config::load(None, environment), loaded);
    // The environment wins, and the same value is no contradiction.
    let both = config::survey(file, environment);
    assert_eq!(both.config, survey.config);
    assert!(both.set.iter().all(|setting| setting.outranked.is_none()));
    let others = config::load(file, |name| {
        let key = KEYS.iter().find(|key| key.name == name);
        let free = lines.contains_key(name) && !name.starts_with("HEAL_STATE");
        key.filter(|key| free && !key.default.is_empty())
            .map(|key| OsString::from(key.default))
    });
    assert!(others.is_ok(), "{others:?}");
}

/// The assignments, where every line is a plain one.
fn plain(data: &[u8]) -> Option<BTreeMap<&str, &str>> {
    let text = std::str::from_utf8(data).ok()?;
    let mut found = BTreeMap::new();
    for line in text.split('\n') {
        let line = line.trim_matches([' ', '\t']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=')?;
        if value.contains(['"', '\'']) {
            return None;
        }
        found.insert(key, value);
    }
    Some(found)
}

fn in_range(config: &Config) {
    assert!((1..=100).contains(&config.limits.max_attempts));
    assert!(!config.limits.run_limits.is_empty());
    for limit in &config.limits.run_limits {
        assert!((1..=RunLimit::MOST).contains(&limit.runs) && !limit.window.is_zero());
    }
    assert!((1..=RunLimit::MOST_HOST).contains(&config.storm_limit.runs));
    assert!(!config.limits.attempt_window.is_zero() && !config.handler_timeout.is_zero());
    assert!((1..=256).contains(&config.max_concurrent));
    assert!((1 << 10..=64 << 20).contains(&config.max_body));
    assert!([200, 503].contains(&config.unsettled_status));
    assert!(config.port != 0);
    for path in [
        &config.handler_dir,
        &config.allowed_instances,
        &config.log_dir,
        &config.lock_dir,
        &config.state_dir,
        &config.backup_dir,
        &config.escalate_dir,
    ] {
        assert!(
            path.is_absolute() && !path.to_string_lossy().contains(char::is_control),
            "{path:?}"
        );
    }
}
