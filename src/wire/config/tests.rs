use super::*;
use crate::wire::duration;
use proptest::prelude::*;

const FILE: &str = "/etc/self-heal/self-heal.conf";

fn nothing(_: &str) -> Option<OsString> {
    None
}

fn file(text: &str) -> Result<Config, Vec<String>> {
    load(Some((FILE, text.as_bytes())), nothing)
}

fn env(key: &str, value: &str) -> Result<Config, Vec<String>> {
    load(None, |name| (name == key).then(|| value.into()))
}

fn defaults() -> Config {
    load(None, nothing).unwrap()
}

#[test]
fn the_defaults_are_those_of_the_table() {
    let minute = Duration::from_secs(60);
    let hour = 60 * minute;
    let c = defaults();
    assert_eq!(
        (c.port, c.max_concurrent, c.max_body, c.unsettled_status),
        (9095, 4, 4 << 20, 503)
    );
    assert_eq!(c.handler_dir, PathBuf::from("/opt/self-heal/handlers"));
    assert_eq!(c.state_dir, PathBuf::from("/var/lib/self-heal"));
    assert_eq!(
        (c.limits.max_attempts, c.limits.attempt_window),
        (3, 4 * hour)
    );
    assert_eq!(
        (c.limits.retry_delay, c.limits.settle),
        (minute / 2, 6 * minute)
    );
    let runs = |runs, window| RunLimit { runs, window };
    assert_eq!(
        c.limits.run_limits,
        [runs(6, 4 * hour), runs(10, 24 * hour)]
    );
    assert_eq!(c.storm_limit, runs(30, 10 * minute));
    assert_eq!((c.handler_timeout, c.kill_grace), (4 * minute, minute / 6));
    assert_eq!((c.lock_wait, c.request_timeout), (minute / 12, minute / 6));
    assert_eq!(
        (c.token_file, c.allow_users.len(), c.allow_peers.len()),
        (None, 0, 0)
    );
    assert_eq!((c.syslog, c.allow_root), (Syslog::Auto, false));
    let age = 30 * 24 * hour;
    assert_eq!((c.observe, c.backup_keep), (false, Keep { most: 20, age }));
}

#[test]
fn the_environment_outranks_the_file_and_the_file_the_default() {
    let text = "# mine\nHEAL_PORT=9100\n\nHEAL_SETTLE='0'\nHEAL_LOG_DIR=\"/srv/my logs\"\n";
    let c = file(text).unwrap();
    assert_eq!((c.port, c.limits.settle), (9100, Duration::ZERO));
    assert_eq!(c.log_dir, PathBuf::from("/srv/my logs"));
    let c = load(Some((FILE, text.as_bytes())), |name| {
        (name == "HEAL_PORT").then(|| "9200".into())
    })
    .unwrap();
    assert_eq!((c.port, c.limits.settle), (9200, Duration::ZERO));
}

#[test]
fn every_key_is_read_from_both_places() {
    for (key, value) in [
        ("HEAL_PORT", "1"),
        ("HEAL_HANDLER_DIR", "/x"),
        ("HEAL_ALLOWED_INSTANCES", "/x"),
        ("HEAL_LOG_DIR", "/x"),
        ("HEAL_LOCK_DIR", "/x"),
        ("HEAL_STATE_DIR", "/x"),
        ("HEAL_BACKUP_DIR", "/x"),
        ("HEAL_BACKUP_KEEP", "1,1m"),
        ("HEAL_ESCALATE_DIR", "/x"),
        ("HEAL_OBSERVE", "yes"),
        ("HEAL_STATE", "file:/x"),
        ("HEAL_MAX_ATTEMPTS", "5"),
        ("HEAL_ATTEMPT_WINDOW", "1h"),
        ("HEAL_RETRY_DELAY", "0"),
        ("HEAL_SETTLE", "0"),
        ("HEAL_RUN_LIMITS", "1/1s"),
        ("HEAL_STORM_LIMIT", "400/1d"),
        ("HEAL_HANDLER_TIMEOUT", "1s"),
        ("HEAL_KILL_GRACE", "0"),
        ("HEAL_LOCK_WAIT", "0"),
        ("HEAL_MAX_CONCURRENT", "256"),
        ("HEAL_REQUEST_TIMEOUT", "1s"),
        ("HEAL_MAX_BODY", "64MiB"),
        ("HEAL_TOKEN_FILE", "/x"),
        ("HEAL_ALLOW_PEERS", "192.0.2.7"),
        ("HEAL_ALLOW_USERS", "root,12"),
        ("HEAL_SYSLOG", "off"),
        ("HEAL_UNSETTLED_STATUS", "200"),
        ("HEAL_ALLOW_ROOT", "yes"),
    ] {
        let by_env = env(key, value).unwrap();
        assert_ne!(by_env, defaults(), "{key} changes something");
        assert_eq!(file(&format!("{key}={value}\n")).unwrap(), by_env, "{key}");
    }
    assert_eq!(KEYS.len(), 29, "a new key belongs into the list above");
}

#[test]
fn out_of_range_or_malformed_is_one_sentence_with_place_key_and_example() {
    for (key, value) in [
        ("HEAL_PORT", "0"),
        ("HEAL_PORT", "http"),
        ("HEAL_HANDLER_DIR", "handlers"),
        ("HEAL_LOG_DIR", "/a/../b"),
        ("HEAL_BACKUP_KEEP", "20"),
        ("HEAL_OBSERVE", "true"),
        ("HEAL_MAX_ATTEMPTS", "101"),
        ("HEAL_ATTEMPT_WINDOW", "31d"),
        ("HEAL_ATTEMPT_WINDOW", "0"),
        ("HEAL_SETTLE", "8d"),
        ("HEAL_RETRY_DELAY", "30"),
        ("HEAL_RUN_LIMITS", "101/4h"),
        ("HEAL_RUN_LIMITS", "6/4h,"),
        ("HEAL_STORM_LIMIT", "401/1h"),
        ("HEAL_STORM_LIMIT", "1/1h,2/2h"),
        ("HEAL_HANDLER_TIMEOUT", "25h"),
        ("HEAL_KILL_GRACE", "11m"),
        ("HEAL_LOCK_WAIT", "11m"),
        ("HEAL_MAX_CONCURRENT", "257"),
        ("HEAL_REQUEST_TIMEOUT", "11m"),
        ("HEAL_MAX_BODY", "1023"),
        ("HEAL_MAX_BODY", "4MB"),
        ("HEAL_TOKEN_FILE", "token"),
        ("HEAL_ALLOW_PEERS", "localhost"),
        ("HEAL_ALLOW_USERS", "a,,b"),
        ("HEAL_SYSLOG", "yes"),
        ("HEAL_UNSETTLED_STATUS", "500"),
        ("HEAL_ALLOW_ROOT", "true"),
        ("HEAL_STATE", "redis://:secret@h"),
        ("HEAL_STATE", "file:x"),
        ("HEAL_STATE", "/x"),
        ("HEAL_PORT", "9095\n"),
        ("HEAL_LOG_DIR", "/a\u{1b}[2J"),
    ] {
        let accepts = KEYS.iter().find(|k| k.name == key).unwrap().accepts;
        let problems = env(key, value).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(
            problems[0].starts_with(&format!("environment: {key}: ")),
            "{problems:?}"
        );
        assert!(
            problems[0].ends_with(accepts) && !problems[0].contains(char::is_control),
            "{problems:?}"
        );
        assert!(!problems[0].contains("secret"), "{problems:?}");
        if !value.contains(char::is_control) {
            let in_file = file(&format!("\n{key}='{value}'\n")).unwrap_err();
            assert_eq!(
                in_file,
                [problems[0].replace("environment", "/etc/self-heal/self-heal.conf:2")]
            );
        }
    }
}

#[test]
fn lists_keep_their_order() {
    let c =
        file("HEAL_ALLOW_PEERS=192.0.2.7,2001:db8::/64\nHEAL_ALLOW_USERS=prometheus,0\n").unwrap();
    assert_eq!(
        c.allow_peers,
        [
            Net::parse("192.0.2.7").unwrap(),
            Net::parse("2001:db8::/64").unwrap()
        ]
    );
    assert_eq!(c.allow_users, ["prometheus", "0"]);
}

#[test]
fn empty_is_an_error_unless_it_is_the_default() {
    for key in KEYS {
        let by_env = env(key.name, "");
        if key.default.is_empty() {
            assert_eq!(by_env.unwrap(), defaults());
        } else {
            assert!(
                by_env.unwrap_err()[0]
                    .starts_with(&format!("environment: {}: empty; it takes ", key.name))
            );
        }
        assert_eq!(
            file(&format!("{}=", key.name)).is_ok(),
            key.default.is_empty()
        );
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = "HEAL_PORT=x\nHEAL_SETLE=1m\n;\nHEAL_SYSLOG=on\nHEAL_SYSLOG=off\nSHELL=/bin/sh\n";
    let problems = load(Some((FILE, text.as_bytes())), |name| {
        (name == "HEAL_MAX_BODY").then(|| "1".into())
    })
    .unwrap_err();
    let told = |needle: &str| problems.iter().any(|p| p.starts_with(needle));
    assert!(
        told("/etc/self-heal/self-heal.conf:1: HEAL_PORT: `x` is not a whole number"),
        "{problems:?}"
    );
    assert!(
        told(
            "/etc/self-heal/self-heal.conf:2: unknown key `HEAL_SETLE`; did you mean HEAL_SETTLE?"
        ),
        "{problems:?}"
    );
    assert!(
        told("/etc/self-heal/self-heal.conf:3: begin comments with #"),
        "{problems:?}"
    );
    assert!(
        told("/etc/self-heal/self-heal.conf:5: HEAL_SYSLOG is already set at line 4"),
        "{problems:?}"
    );
    assert!(
        told("/etc/self-heal/self-heal.conf:6: unknown key `SHELL`"),
        "{problems:?}"
    );
    assert!(told("environment: HEAL_MAX_BODY: "), "{problems:?}");
    assert_eq!(problems.len(), 6);
}

#[test]
fn a_file_that_is_something_else_does_not_flood() {
    let problems = file(&"what\n".repeat(1000)).unwrap_err();
    assert_eq!(
        (problems.len(), problems[50].as_str()),
        (51, "and 950 more problems")
    );
}

#[test]
fn a_wrong_value_in_the_file_is_wrong_even_if_the_environment_outranks_it() {
    let problems = load(Some((FILE, b"HEAL_PORT=x")), |name| {
        (name == "HEAL_PORT").then(|| "1".into())
    })
    .unwrap_err();
    assert_eq!(problems.len(), 1);
}

#[test]
fn keys_of_no_version_are_unknown_in_the_file_and_nobodys_business_in_the_environment() {
    assert!(file("HEAL_NONSENSE=1").is_err());
    assert!(file("heal_port=1").unwrap_err()[0].contains("did you mean HEAL_PORT?"));
    assert!(env("HEAL_NONSENSE", "1").is_ok());
}

#[cfg(unix)]
#[test]
fn what_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let bytes = || OsString::from_vec(b"/a\xff".to_vec());
    let problems = load(None, |name| (name == "HEAL_LOG_DIR").then(bytes)).unwrap_err();
    assert!(
        problems[0].starts_with("environment: HEAL_LOG_DIR: not UTF-8; it takes "),
        "{problems:?}"
    );
    let problems = load(Some((FILE, b"HEAL_PORT=1\n# caf\xe9\n")), nothing).unwrap_err();
    assert_eq!(problems, ["/etc/self-heal/self-heal.conf:2: not UTF-8"]);
}

#[test]
fn the_state_folder_has_two_names_that_must_agree() {
    let folder = |text: &str| file(text).map(|c| c.state_dir);
    assert_eq!(folder("HEAL_STATE=file:"), Ok("/var/lib/self-heal".into()));
    assert_eq!(
        folder("HEAL_STATE=file:\nHEAL_STATE_DIR=/a"),
        Ok("/a".into())
    );
    assert_eq!(folder("HEAL_STATE=file:/a"), Ok("/a".into()));
    assert_eq!(
        folder("HEAL_STATE=file:/a\nHEAL_STATE_DIR=/a/"),
        Ok("/a".into())
    );
    let problems = folder("HEAL_STATE=file:/a\nHEAL_STATE_DIR=/b").unwrap_err();
    assert!(
        problems[0].contains(":1: HEAL_STATE: names another folder than HEAL_STATE_DIR"),
        "{problems:?}"
    );
    let reset = load(Some((FILE, b"HEAL_STATE=file:/a")), |n| {
        (n == "HEAL_STATE").then(|| "file:".into())
    })
    .unwrap();
    assert_eq!(reset.state_dir, PathBuf::from("/var/lib/self-heal"));
}

proptest! {
    #[test]
    fn durations_counts_and_paths_come_back_from_both_places(
        window in 1_u64..=2_592_000,
        settle in 0_u64..=604_800_000,
        limits in proptest::collection::vec((1_u32..=100, 1_u64..=2_592_000), 1..6),
        port in 1_u16..,
        body in 1024_usize..=64 << 20,
        path in "(/[^/'\\p{C}\\p{Z}.]{1,8}){1,4}",
    ) {
        let show = |(runs, secs): &(u32, u64)| format!("{runs}/{}", duration::show(Duration::from_secs(*secs)));
        let values = [
            ("HEAL_ATTEMPT_WINDOW", duration::show(Duration::from_secs(window))),
            ("HEAL_SETTLE", duration::show(Duration::from_millis(settle))),
            ("HEAL_RUN_LIMITS", limits.iter().map(show).collect::<Vec<_>>().join(",")),
            ("HEAL_PORT", port.to_string()),
            ("HEAL_MAX_BODY", body.to_string()),
            ("HEAL_LOG_DIR", path.clone()),
        ];
        let by_env = load(None, |name| values.iter().find(|(key, _)| *key == name).map(|(_, v)| v.into())).unwrap();
        let text: String = values.iter().map(|(key, value)| format!("{key}='{value}'\n")).collect();
        prop_assert_eq!(&file(&text).unwrap(), &by_env);
        prop_assert_eq!(by_env.limits.attempt_window, Duration::from_secs(window));
        prop_assert_eq!(by_env.limits.settle, Duration::from_millis(settle));
        let read: Vec<_> = by_env.limits.run_limits.iter().map(|l| (l.runs, l.window.as_secs())).collect();
        prop_assert_eq!(read, limits);
        prop_assert_eq!((by_env.port, by_env.max_body), (port, body));
        prop_assert_eq!(by_env.log_dir, PathBuf::from(path));
    }

    #[test]
    fn any_file_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = load(Some((FILE, &bytes)), nothing);
    }
}
