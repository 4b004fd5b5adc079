use super::*;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);

fn error(script: &str) -> String {
    parse(script.as_bytes()).unwrap_err()
}

#[test]
fn all_of_them() {
    let script = "#!/bin/bash\n# Restarts nginx.\n#\n# self-heal: timeout=120s lock=instance settle=10m\n\n\
                  #self-heal: max-attempts=2\n  #\t self-heal:retry-delay=1m\r\nset -eu\n# a comment\necho self-heal: x\n";
    let expected = Directives {
        mode: None,
        compat: None,
        snapshot: Vec::new(),
        timeout: Some(2 * MINUTE),
        lock: Some(LockScope::Instance),
        settle: Some(10 * MINUTE),
        max_attempts: Some(2),
        retry_delay: Some(MINUTE),
    };
    assert_eq!(parse(script.as_bytes()), Ok(expected));
    assert_eq!(
        parse(b"# self-heal: lock=alert").unwrap().lock,
        Some(LockScope::Alert)
    );
}

#[test]
fn none_is_fine() {
    for script in [
        "",
        "#!/bin/sh\n",
        "#!/bin/sh\necho\n",
        "echo\n",
        "\n\n",
        "# self-healing: yes\n",
        "## self-heal: x\n",
        "# see self-heal: x\n",
    ] {
        assert_eq!(
            parse(script.as_bytes()),
            Ok(Directives::default()),
            "{script}"
        );
    }
}

#[test]
fn a_program_has_none_whatever_text_is_in_it() {
    let elf = b"\x7fELF\x02\x01\x01\x00\x00\n# self-heal: nonsense\n";
    assert_eq!(parse(elf), Ok(Directives::default()));
    assert!(
        parse(b"#!/bin/sh\0\n# self-heal: nonsense\n").is_err(),
        "a script stays a script"
    );
    assert!(parse(b"\n# self-heal: nonsense\n").is_err());
}

#[test]
fn other_bytes_in_a_script_do_not_matter() {
    let script = b"#!/bin/sh\n# caf\xe9\n# self-heal: timeout=5s\nexit 0\n\xff\xfe\0payload\n";
    assert_eq!(parse(script).unwrap().timeout, Some(Duration::from_secs(5)));
    assert_eq!(
        parse(b"# self-heal: timeout=5s\xff\n").unwrap_err(),
        "line 1: a directive line must be UTF-8"
    );
}

#[test]
fn unknown_or_malformed_is_loud() {
    for (text, reason) in [
        (
            "timout=5s",
            "line 2: `timout` is no directive; there are timeout, ",
        ),
        ("mode=dry", "line 2: mode: `dry` is not observe"),
        ("mode=observe mode=observe", "line 2: mode is given twice"),
        (
            "snapshot=etc/x",
            "line 2: snapshot: `etc/x` is not an absolute path",
        ),
        ("snapshot=/", "line 2: snapshot: `/` is not a plain path"),
        (
            "snapshot=/etc/../x",
            "line 2: snapshot: `/etc/../x` is not a plain path",
        ),
        (
            "snapshot=/etc/x/",
            "line 2: snapshot: `/etc/x/` is not a plain path",
        ),
        (
            "snapshot=/a snapshot=/a/b",
            "line 2: snapshot: `/a/b` and `/a` hold one another",
        ),
        (
            "snapshot=/a/b snapshot=/a",
            "line 2: snapshot: `/a` and `/a/b` hold one another",
        ),
        ("Timeout=5s", "line 2: `Timeout` is no directive"),
        ("", "line 2: no directive after"),
        ("timeout", "line 2: `timeout` is not key=value"),
        ("timeout = 5s", "line 2: `timeout` is not key=value"),
        ("timeout=", "line 2: timeout: `` is not a duration"),
        ("timeout=5", "line 2: timeout: `5` is not a duration"),
        (
            "timeout=5s, lock=alert",
            "line 2: timeout: `5s,` is not a duration",
        ),
        ("timeout=5s timeout=5s", "line 2: timeout is given twice"),
        (
            "lock=host",
            "line 2: lock: `host` is neither alert nor instance",
        ),
        (
            "max-attempts=+3",
            "line 2: max-attempts: `+3` is not a whole number from 1 to 100",
        ),
        ("restarts nginx", "line 2: `restarts` is not key=value"),
    ] {
        let error = error(&format!("#!/bin/sh\n# self-heal: {text}\n"));
        assert!(error.starts_with(reason), "{error}");
    }
    assert_eq!(
        error("# self-heal: lock=alert\n\n# self-heal: lock=alert\n"),
        "line 3: lock is given twice"
    );
}

#[test]
fn snapshots_add_up_in_order() {
    let text =
        b"# self-heal: snapshot=/a/b mode=observe\n# self-heal: snapshot=/a/bc snapshot=/x\n";
    let directives = parse(text).unwrap();
    assert_eq!(directives.mode, Some(Mode::Observe));
    assert_eq!(
        directives.snapshot,
        ["/a/b", "/a/bc", "/x"].map(PathBuf::from)
    );
    let many: String = (0..33).map(|n| format!("snapshot=/a{n} ")).collect();
    let error = error(&format!("# self-heal: {many}\n"));
    assert!(error.ends_with("more than 32 paths"), "{error}");
}

#[test]
fn near_misses_of_the_mark_are_loud() {
    for line in [
        "# Self-Heal: timeout=5s",
        "# self-heal : timeout=5s",
        "# self_heal: timeout=5s",
        "#SELF-HEAL:timeout=5s",
    ] {
        assert!(error(line).contains("spelled exactly so"), "{line}");
    }
}

#[test]
fn ranges() {
    for good in [
        "timeout=1s",
        "timeout=24h",
        "settle=0",
        "settle=7d",
        "max-attempts=1",
        "max-attempts=100",
        "retry-delay=0s",
        "retry-delay=1d",
    ] {
        assert!(
            parse(format!("# self-heal: {good}").as_bytes()).is_ok(),
            "{good}"
        );
    }
    for bad in [
        "timeout=0",
        "timeout=999ms",
        "timeout=24h1ms",
        "settle=7d1s",
        "max-attempts=0",
        "max-attempts=101",
        "retry-delay=25h",
    ] {
        let error = error(&format!("# self-heal: {bad}"));
        assert!(error.contains(" to "), "{error}");
    }
}

#[test]
fn a_directive_after_the_first_command_is_loud() {
    for script in [
        "#!/bin/sh\nset -e\n# self-heal: timeout=5s\n",
        "x=1\n   #self-heal: timeout=5s",
        "a\n# SELF-HEAL: x",
    ] {
        let error = error(script);
        assert!(
            error.ends_with("move it to the comments at the top"),
            "{error}"
        );
    }
    assert!(error("#!/bin/sh\n:\n\n# self-heal: lock=alert\n").starts_with("line 4: "));
}

#[test]
fn the_overlay_replaces_only_what_is_asked_for() {
    let base = Limits {
        max_attempts: 3,
        attempt_window: 240 * MINUTE,
        retry_delay: MINUTE,
        settle: 6 * MINUTE,
        run_limits: Vec::new(),
    };
    assert_eq!(Directives::default().overlay(&base), base);
    let asked = parse(b"# self-heal: settle=0 max-attempts=7 retry-delay=5s").unwrap();
    let expected = Limits {
        max_attempts: 7,
        settle: Duration::ZERO,
        retry_delay: Duration::from_secs(5),
        ..base.clone()
    };
    assert_eq!(asked.overlay(&base), expected);
}

proptest! {
    #[test]
    fn what_is_written_is_read(secs in 1_u64..=86_400, attempts in 1_u32..=100) {
        let timeout = Duration::from_secs(secs);
        let script = format!("#!/bin/sh\n# self-heal: timeout={}\n# self-heal: max-attempts={attempts}\n", duration::show(timeout));
        let read = parse(script.as_bytes()).unwrap();
        prop_assert_eq!((read.timeout, read.max_attempts), (Some(timeout), Some(attempts)));
    }

    #[test]
    fn any_file_is_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = parse(&bytes);
        let _ = parse(&[b"# self-heal:".as_slice(), &bytes].concat());
    }
}
