//! A handler's directives are understood whole or refused with their line; what is understood can be written down again.

use std::path::{Component, Path};
use std::time::Duration;

use self_heal::judge::{Limits, RunLimit};
use self_heal::wire::directives::{self, Compat, Directives, LockScope, Mode};
use self_heal::wire::{duration, shebang};

pub fn body(data: &[u8]) {
    // What else is read of a script.
    shebang::interpreter(data);
    shebang::carriage_return(data);
    self_heal::wire::sudo::calls(&String::from_utf8_lossy(data));
    let read = match directives::parse(data) {
        Ok(read) => read,
        Err(reason) => {
            super::sentence(&reason);
            let rest = reason.strip_prefix("line ").unwrap();
            let number: usize = rest.split_once(": ").unwrap().0.parse().unwrap();
            let lines = data.split(|b| *b == b'\n').count();
            assert!((1..=lines).contains(&number), "{reason}");
            return;
        }
    };
    in_range(&read);
    let script = format!("#!/bin/sh\n\n{}exit 0\n", written(&read));
    assert_eq!(
        directives::parse(script.as_bytes()),
        Ok(read.clone()),
        "{script}"
    );
    let limits = Limits {
        max_attempts: 7,
        attempt_window: Duration::from_secs(7),
        retry_delay: Duration::from_secs(7),
        settle: Duration::from_secs(7),
        run_limits: vec![RunLimit {
            runs: 7,
            window: Duration::from_secs(7),
        }],
    };
    let over = read.overlay(&limits);
    assert_eq!(over.max_attempts, read.max_attempts.unwrap_or(7));
    assert_eq!(
        (over.attempt_window, over.run_limits),
        (limits.attempt_window, limits.run_limits)
    );
}

fn in_range(read: &Directives) {
    const DAY: Duration = Duration::from_secs(86_400);
    let within = |span: Option<Duration>, least: u64, most: Duration| {
        span.is_none_or(|span| (Duration::from_secs(least)..=most).contains(&span))
    };
    assert!(within(read.timeout, 1, DAY));
    assert!(within(read.settle, 0, 7 * DAY));
    assert!(within(read.retry_delay, 0, DAY));
    assert!(
        read.max_attempts
            .is_none_or(|count| (1..=100).contains(&count))
    );
    assert!(read.snapshot.len() <= 32);
    for (at, path) in read.snapshot.iter().enumerate() {
        let normal =
            |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        assert!(
            path.is_absolute() && path != Path::new("/") && path.components().all(normal),
            "{path:?}"
        );
        let again: std::path::PathBuf = path.components().collect();
        assert_eq!(again.as_os_str(), path.as_os_str());
        for other in read.snapshot.iter().skip(at + 1) {
            assert!(
                !path.starts_with(other) && !other.starts_with(path),
                "{path:?} {other:?}"
            );
        }
    }
}

fn written(read: &Directives) -> String {
    let mut words = Vec::new();
    for (key, span) in [
        ("timeout", read.timeout),
        ("settle", read.settle),
        ("retry-delay", read.retry_delay),
    ] {
        words.extend(span.map(|span| format!("{key}={}", duration::show(span))));
    }
    words.extend(
        read.max_attempts
            .map(|count| format!("max-attempts={count}")),
    );
    words.extend(read.lock.map(|lock| match lock {
        LockScope::Alert => "lock=alert".to_owned(),
        LockScope::Instance => "lock=instance".to_owned(),
    }));
    words.extend(read.mode.map(|Mode::Observe| "mode=observe".to_owned()));
    words.extend(read.compat.map(|Compat::Amx| "compat=amx".to_owned()));
    words.extend(
        read.snapshot
            .iter()
            .map(|path| format!("snapshot={}", path.display())),
    );
    words
        .iter()
        .map(|word| format!("# self-heal: {word}\n"))
        .collect()
}
