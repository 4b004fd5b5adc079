//! What an escalator is given, what its answer means, and who is waited for.

use std::os::unix::fs::symlink;
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::stage::{Gate, lines_with, pid_in, until_gone};
use crate::support::until;

const DAY: i64 = 86_400_000;

#[test]
fn an_escalator_has_the_event_on_its_standard_input_and_nothing_else_of_ours() {
    let yard = Yard::new();
    let seen = yard.path("seen");
    fs::create_dir(&seen).unwrap();
    let body = format!(
        "cd {}; cat >stdin; cat /proc/$$/environ | tr '\\0' '\\n' | sort >environ; echo $# >args\n\
         ls -l /proc/$$/fd >fds; cat /proc/self/fdinfo/0 >/dev/null; umask >umask; grep Sig /proc/self/status >signals\n\
         echo hello; echo again >&2",
        seen.display()
    );
    yard.escalator("pager", &body);
    let name = yard.trigger(THEN, "web-1");
    yard.drains(&[], 0);
    let read = |file: &str| fs::read_to_string(seen.join(file)).unwrap();
    assert_eq!(read("stdin").as_bytes(), json(&name, "web-1"));
    assert_eq!(read("args"), "0\n");
    assert_eq!(read("umask").trim(), "0022");
    let environ = read("environ");
    let variables: Vec<&str> = environ
        .lines()
        .filter(|line| {
            !["PWD=", "OLDPWD=", "SHLVL=", "_="]
                .iter()
                .any(|own| line.starts_with(own))
        })
        .collect();
    let folder = yard.path("").display().to_string();
    assert_eq!(
        variables,
        [
            "HEAL_ACTION=trigger",
            &format!("HEAL_CONF_DIR={}", folder.trim_end_matches('/')),
            &format!("HEAL_EVENT_ID={name}"),
            "HOME=/root",
            "LANG=C.UTF-8",
            "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ]
    );
    // Its own three, its journal's lock, and what bash opens for itself.
    let fds = read("fds");
    assert_eq!(lines_with(&fds, " -> "), 5, "{fds}");
    assert_eq!(lines_with(&fds, "state/spool/escalators/pager"), 1, "{fds}");
    assert_eq!(lines_with(&fds, " 255 -> "), 1, "{fds}");
    assert_eq!(lines_with(&read("signals"), "SigBlk:\t0000000000000000"), 1);
    assert_eq!(yard.sandbox.read("log/escalate.log"), "hello\nagain\n");
}

#[test]
fn every_answer_is_taken_for_what_it_is() {
    for (body, folder, event, exit) in [
        ("exit 0", "told", "escalation_delivered", ""),
        ("exit 100", "failed", "escalation_failed", "exit=100"),
        ("exit 1", "pending", "escalation_retry", "exit=1"),
        ("exit 75", "pending", "escalation_retry", "exit=75"),
        ("exit 124", "pending", "escalation_retry", "exit=timeout"),
        ("kill -TERM $$", "pending", "escalation_retry", "exit=143"),
        ("kill -KILL $$", "pending", "escalation_retry", "exit=137"),
    ] {
        let yard = Yard::new();
        yard.escalator("pager", body);
        let name = yard.trigger(THEN, "web-1");
        yard.drains(&[], i32::from(folder != "told"));
        assert_eq!(yard.names(folder), [name.to_string()], "{body}");
        let line = format!("{event} event={name} action=trigger escalator=pager attempt=1 {exit}");
        let log = yard.log();
        assert_eq!(lines_with(&log, line.trim_end()), 1, "{body}: {log}");
        // What waits for its next attempt is not tried at once, and what was refused is not tried again.
        yard.drains(&[], i32::from(folder != "told"));
        assert_eq!(yard.calls("pager").len(), 1, "{body}");
    }
}

#[test]
fn a_file_without_an_interpreter_line_is_run_by_the_shell() {
    let yard = Yard::new();
    let ran = yard.path("ran");
    let text = format!("touch {}\n", ran.display());
    yard.sandbox.script("escalate.d/plain", &text);
    yard.trigger(THEN, "web-1");
    yard.drains(&[], 0);
    assert!(ran.exists());
}

#[test]
fn a_resolve_removes_everything_of_its_incident_and_the_file_is_spare_again() {
    let yard = Yard::new();
    yard.escalator("mail", "exit 0");
    yard.escalator("pager", "exit 0");
    let trigger = yard.trigger(THEN, "web-1");
    let other = yard.trigger(THEN, "web-2");
    yard.drains(&[], 0);
    assert_eq!(yard.names("told").len(), 2);
    let resolve = yard.resolve(THEN + 1, "web-1");
    yard.drains(&[], 0);
    assert_eq!(yard.names("told"), [other.to_string()]);
    assert!(yard.names("pending").is_empty() && yard.names("failed").is_empty());
    for escalator in ["mail", "pager"] {
        let calls = yard.calls(escalator);
        let mine = calls.iter().filter(|call| **call != other.to_string());
        assert_eq!(
            mine.collect::<Vec<_>>(),
            [&trigger.to_string(), &resolve.to_string()]
        );
    }
    assert_eq!(yard.names("spare").len(), 16);
    // What a recycled file held before is not seen again.
    let next = yard.trigger(THEN + 2, "web-3");
    yard.drains(&[], 0);
    assert!(yard.calls("pager").contains(&next.to_string()));
}

#[test]
fn a_page_is_struck_from_its_record_before_its_event_is_removed() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 0");
    let trigger = yard.trigger(THEN, "web-1");
    yard.round(THEN, &SOON);
    let resolve = yard.resolve(THEN + 1, "web-1");

    let mut asked = Vec::new();
    let refuse = &mut |name: &EventName, key: &str| {
        asked.push((name.clone(), key.to_owned()));
        Err("the record cannot be written".to_owned())
    };
    yard.round_with(THEN, &SOON, refuse).unwrap();
    assert_eq!(asked, [(trigger.clone(), "web-1".to_owned())]);
    assert_eq!(yard.names("told"), [trigger.to_string()]);
    assert_eq!(yard.names("pending"), [resolve.to_string()]);
    assert_eq!(lines_with(&yard.log(), "[ERROR] escalation_not_struck"), 1);

    let mut struck = Vec::new();
    let strike = &mut |name: &EventName, _: &str| {
        assert!(
            yard.path("state/spool/pending")
                .join(resolve.to_string())
                .exists()
        );
        struck.push(name.clone());
        Ok(())
    };
    yard.round_with(THEN, &SOON, strike).unwrap();
    assert_eq!(struck, [trigger, resolve]);
    assert!(yard.names("told").is_empty() && yard.names("pending").is_empty());
    assert_eq!(yard.calls("pager").len(), 2);
}

#[test]
fn one_that_hangs_is_ended_and_holds_nobody_up() {
    let yard = Yard::new();
    // The one that hangs is the first of the folder, and its child is in its process group.
    let body = format!(
        "sleep 1000 & echo $! >{}; wait",
        yard.path("hangs.child").display()
    );
    yard.escalator("a-hangs", &body);
    yard.escalator("b-works", "exit 0");
    let names: Vec<EventName> = (0..5)
        .map(|n| yard.trigger(THEN + n, &format!("web-{n}")))
        .collect();
    let began = Instant::now();
    let bound = Bound {
        attempt: Duration::from_secs(1),
        start: Duration::MAX,
    };
    let round = yard.round(THEN + 10, &bound);
    assert_eq!(
        yard.calls("b-works"),
        names.iter().map(EventName::to_string).collect::<Vec<_>>()
    );
    // It was tried three times, and left alone for this round.
    assert_eq!((round.delivered, yard.calls("a-hangs").len()), (5, 3));
    assert!(
        began.elapsed() < Duration::from_secs(20),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(
        lines_with(&yard.log(), "escalator=a-hangs attempt=1 exit=timeout"),
        3
    );
    until_gone(pid_in(&yard.path("hangs.child")));
}

#[test]
fn a_connection_starts_no_attempt_after_its_bound() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 0");
    for n in 0..4 {
        yard.trigger(THEN + n, &format!("web-{n}"));
    }
    // Each look at the clock is six seconds later than the one before.
    let config = yard.config();
    let mut log = Log::open(&config.log_dir, false, config.syslog);
    let mut signals = Signals::block().unwrap();
    let clock = Cell::new(THEN);
    let clock = || Time(clock.replace(clock.get() + 6000));
    let strike = &mut |_: &EventName, _: &str| Ok(());
    let bound = &Bound::CONNECTION;
    let round = deliver::deliver(&config, &mut log, &mut signals, &clock, bound, strike).unwrap();
    assert_eq!((round.attempts, yard.calls("pager").len()), (1, 1));
    assert_eq!(yard.names("pending").len(), 3);
}

#[test]
fn after_sigterm_the_running_attempt_is_recorded_and_no_other_starts() {
    let yard = Yard::new();
    let gate = Gate::new(&yard.sandbox, "gate");
    yard.escalator("pager", &gate.line());
    let names = [yard.trigger(THEN, "web-1"), yard.trigger(THEN + 1, "web-2")];
    let mut drain = yard.command(&[]).stderr(Stdio::null()).spawn().unwrap();
    gate.wait_for(1);
    kill(
        Pid::from_raw(drain.id().try_into().unwrap()),
        Signal::SIGTERM,
    )
    .unwrap();
    gate.open();
    assert_eq!(drain.wait().unwrap().code(), Some(1));
    assert_eq!(yard.calls("pager"), [names[0].to_string()]);
    assert_eq!(yard.names("told"), [names[0].to_string()]);
    assert_eq!(yard.names("pending"), [names[1].to_string()]);
}

#[test]
fn two_at_once_send_nothing_twice() {
    let yard = Yard::new();
    yard.escalator("mail", "exit 0");
    yard.escalator("pager", "exit 0");
    for n in 0..12 {
        yard.trigger(THEN + n, &format!("web-{n}"));
    }
    let spawn = || {
        yard.command(&[])
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    let drains: Vec<_> = (0..6).map(|_| spawn()).collect();
    for mut drain in drains {
        assert!(matches!(drain.wait().unwrap().code(), Some(0 | 1)));
    }
    yard.drains(&[], 0);
    for escalator in ["mail", "pager"] {
        let mut calls = yard.calls(escalator);
        calls.sort();
        calls.dedup();
        assert_eq!(
            (calls.len(), yard.calls(escalator).len()),
            (12, 12),
            "{escalator}"
        );
    }
    assert_eq!(yard.names("told").len(), 12);
}

#[test]
fn what_an_escalator_leaves_running_does_not_hold_the_next_event_up() {
    let yard = Yard::new();
    let pid = yard.path("daemon.pid");
    let body = format!("setsid sleep 1000 & echo $! >{}", pid.display());
    yard.escalator("pager", &body);
    yard.trigger(THEN, "web-1");
    yard.drains(&[], 0);
    let daemon = pid_in(&pid);
    yard.trigger(THEN + 1, "web-2");
    yard.drains(&[], 0);
    assert_eq!(yard.calls("pager").len(), 2);
    crate::stage::put_down(daemon);
    crate::stage::put_down(pid_in(&pid));
}

#[test]
fn without_anybody_to_tell_a_trigger_waits_for_its_resolve_and_is_said_loudly() {
    for folder in ["missing", "empty"] {
        let yard = Yard::new();
        if folder == "missing" {
            fs::remove_dir(yard.path("escalate.d")).unwrap();
        }
        let name = yard.trigger(THEN, "web-1");
        yard.drains(&[], 0);
        assert_eq!(yard.names("told"), [name.to_string()]);
        assert_eq!(
            lines_with(&yard.log(), "[WARN] escalation_untold event="),
            1
        );
        // Whoever comes later is not told of what is old, nor of its end.
        fs::create_dir_all(yard.path("escalate.d")).unwrap();
        chmod(&yard.path("escalate.d"), 0o755);
        yard.escalator("pager", "exit 0");
        yard.resolve(THEN + 1, "web-1");
        yard.drains(&[], 0);
        assert!(yard.calls("pager").is_empty() && yard.names("told").is_empty());
    }
}

#[test]
fn an_escalator_that_others_could_change_is_not_run_and_waited_for() {
    let yard = Yard::new();
    yard.escalator("good", "exit 0");
    yard.escalator("open", "exit 0");
    chmod(&yard.path("escalate.d/open"), 0o777);
    yard.escalator("setid", "exit 0");
    chmod(&yard.path("escalate.d/setid"), 0o4755);
    symlink("/nowhere/at/all", yard.path("escalate.d/dangling")).unwrap();
    let other = yard.sandbox.script("elsewhere", "#!/bin/sh\nexit 0\n");
    std::os::unix::fs::chown(&other, Some(65534), None).unwrap();
    symlink(&other, yard.path("escalate.d/foreign")).unwrap();
    let name = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    assert_eq!(yard.calls("good"), [name.to_string()]);
    assert!(yard.calls("open").is_empty() && yard.calls("setid").is_empty());
    assert_eq!(yard.names("pending"), [name.to_string()]);
    let log = yard.log();
    for escalator in ["open", "setid", "dangling", "foreign"] {
        let line = format!("[ERROR] escalator_unsafe escalator={escalator} why=");
        assert!(lines_with(&log, &line) >= 1, "{log}");
    }
    // Mended, or gone.
    chmod(&yard.path("escalate.d/open"), 0o755);
    for gone in ["setid", "dangling", "foreign"] {
        fs::remove_file(yard.path("escalate.d").join(gone)).unwrap();
    }
    yard.drains(&[], 0);
    assert_eq!((yard.calls("open").len(), yard.calls("good").len()), (1, 1));
}

#[test]
fn what_is_no_escalator_is_not_run_and_not_waited_for() {
    let yard = Yard::new();
    yard.escalator("real", "exit 0");
    let real = yard.sandbox.script("real-one", "#!/bin/sh\nexit 0\n");
    symlink(&real, yard.path("escalate.d/linked")).unwrap();
    yard.sandbox.write("escalate.d/README", "not a program\n");
    for odd in [
        ".hidden",
        "pager.dpkg-old",
        "pager.rpmsave",
        "pager~",
        "with space",
    ] {
        yard.escalator(odd, "exit 1");
    }
    fs::create_dir(yard.path("escalate.d/folder")).unwrap();
    yard.trigger(THEN, "web-1");
    yard.drains(&[], 0);
    assert_eq!(yard.calls("real").len(), 1);
    assert_eq!(yard.names("escalators"), ["linked", "real"]);
    for odd in [
        ".hidden",
        "pager.dpkg-old",
        "pager.rpmsave",
        "pager~",
        "with space",
    ] {
        assert!(yard.calls(odd).is_empty(), "{odd}");
    }
    // Those that look as if they were meant to be one are named.
    assert_eq!(lines_with(&yard.log(), "is no name for an escalator"), 2);
}

#[test]
fn a_folder_that_cannot_be_trusted_or_read_loses_nothing() {
    for spoil in ["writable", "a file"] {
        let yard = Yard::new();
        yard.escalator("pager", "exit 0");
        let trigger = yard.trigger(THEN, "web-1");
        let resolve = yard.resolve(THEN + 1, "web-1");
        let folder = yard.path("escalate.d");
        match spoil {
            "writable" => chmod(&folder, 0o777),
            _ => {
                fs::rename(&folder, yard.path("away")).unwrap();
                yard.sandbox.write("escalate.d", "");
            }
        }
        let output = yard.drain(&[]);
        assert_eq!(output.status.code(), Some(111), "{spoil}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("HEAL_ESCALATE_DIR"));
        assert_eq!(
            lines_with(&yard.log(), "[ERROR] escalators_unusable"),
            1,
            "{spoil}"
        );
        assert_eq!(
            yard.names("pending"),
            [trigger.to_string(), resolve.to_string()]
        );
        assert!(yard.calls("pager").is_empty());
    }
}

#[test]
fn an_escalator_that_is_gone_is_waited_for_until_an_operator_forgets_it() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 0");
    yard.escalator("broken", "exit 1");
    let name = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    assert!(
        yard.drains(&["--forget", "broken"], 1)
            .contains("remove it there first")
    );
    fs::remove_file(yard.path("escalate.d/broken")).unwrap();
    yard.drains(&[], 1);
    assert_eq!(yard.names("pending"), [name.to_string()]);
    assert!(
        yard.log()
            .contains("[ERROR] escalator_gone escalator=broken")
    );
    let ready = yard.sandbox.get("/-/ready");
    assert_eq!(ready.code, 503);
    assert!(
        ready.body.contains("drain --forget broken"),
        "{}",
        ready.body
    );
    assert!(yard.drains(&["--list"], 1).contains("broken=retry"));
    assert!(
        yard.drains(&["--forget", "nobody"], 1)
            .contains("knows no escalator")
    );
    yard.drains(&["--forget", "broken"], 0);
    assert_eq!(yard.names("told"), [name.to_string()]);
    assert!(
        yard.log()
            .contains("[WARN] escalator_forgotten escalator=broken by=")
    );
    yard.drains(&[], 0);
    assert_eq!(yard.calls("pager").len(), 1);
}

#[test]
fn a_folder_that_is_missing_for_a_moment_loses_no_page() {
    let yard = Yard::new();
    yard.escalator("pager", &format!("[ -e {} ]", yard.path("up").display()));
    let name = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    fs::rename(yard.path("escalate.d"), yard.path("off")).unwrap();
    yard.drains(&[], 1);
    fs::create_dir(yard.path("escalate.d")).unwrap();
    chmod(&yard.path("escalate.d"), 0o755);
    yard.drains(&[], 1);
    fs::remove_dir(yard.path("escalate.d")).unwrap();
    fs::rename(yard.path("off"), yard.path("escalate.d")).unwrap();
    // As install(1) does: there, and not yet executable.
    chmod(&yard.path("escalate.d/pager"), 0o600);
    yard.drains(&[], 1);
    chmod(&yard.path("escalate.d/pager"), 0o755);
    fs::write(yard.path("up"), "").unwrap();
    yard.drains(&["--retry", &name.to_string()], 0);
    yard.drains(&[], 0);
    assert_eq!(yard.calls("pager").last(), Some(&name.to_string()));
}

#[test]
fn a_clock_that_was_set_back_delays_nothing() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 1");
    yard.trigger(THEN, "web-1");
    yard.round(THEN + 400 * DAY, &SOON);
    assert_eq!(yard.calls("pager").len(), 1);
    yard.round(THEN, &SOON);
    assert_eq!(yard.calls("pager").len(), 2);
    // And from there on it waits as ever.
    yard.round(THEN + 1000, &SOON);
    assert_eq!(yard.calls("pager").len(), 2);
}

#[test]
fn what_is_damaged_is_kept_aside_and_holds_nothing_up() {
    type Damage = fn(&Path);
    let damages: [(&str, Damage); 7] = [
        ("empty", |file| drop(fs::File::create(file).unwrap())),
        ("garbage", |file| {
            fs::write(file, vec![b'x'; 65536]).unwrap()
        }),
        ("zeros", |file| fs::write(file, vec![0; 65536]).unwrap()),
        ("cut short", |file| {
            fs::File::options()
                .write(true)
                .open(file)
                .unwrap()
                .set_len(4100)
                .unwrap();
        }),
        ("another byte", |file| {
            let mut bytes = fs::read(file).unwrap();
            bytes[4110] ^= 1;
            fs::write(file, bytes).unwrap();
        }),
        ("another event's", |file| {
            let spare = file.with_file_name(name(THEN + 1, Action::Trigger, "web-2").to_string());
            fs::copy(spare, file).map(drop).unwrap();
        }),
        ("a folder", |file| {
            fs::remove_file(file).unwrap();
            fs::create_dir(file).unwrap();
        }),
    ];
    for (what, damage) in damages {
        let yard = Yard::new();
        yard.escalator("pager", "exit 0");
        let spoiled = yard.trigger(THEN, "web-1");
        let good = yard.trigger(THEN + 1, "web-2");
        let file = yard.path("state/spool/pending").join(spoiled.to_string());
        damage(&file);
        let before = fs::read(&file).ok();
        yard.drains(&[], 1);
        assert_eq!(yard.calls("pager"), [good.to_string()], "{what}");
        let kept = yard.names("damaged");
        assert!(
            kept.len() == 1 && kept[0].starts_with(&spoiled.to_string()),
            "{what}: {kept:?}"
        );
        let kept = yard.path("state/spool/damaged").join(&kept[0]);
        assert_eq!(fs::read(&kept).ok(), before, "{what}");
        let line = format!(
            "[ERROR] event_damaged event={spoiled} kept={}",
            kept.display()
        );
        assert_eq!(lines_with(&yard.log(), &line), 1, "{what}: {}", yard.log());
        // It is the operator's now.
        assert!(yard.drains(&[], 1).contains("1 damaged"), "{what}");
    }
}

#[test]
fn a_mark_that_is_damaged_counts_as_none() {
    let yard = Yard::new();
    yard.escalator("mail", "exit 1");
    yard.escalator("pager", "exit 0");
    let name = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    let file = yard.path("state/spool/pending").join(name.to_string());
    let mut bytes = fs::read(&file).unwrap();
    let mark = bytes
        .windows(10)
        .position(|text| text == b"pager deli")
        .unwrap();
    bytes[mark] ^= 1;
    fs::write(&file, bytes).unwrap();
    yard.drains(&[], 1);
    // A page twice is better than none.
    assert_eq!(
        (yard.calls("pager").len(), yard.calls("mail").len()),
        (2, 1)
    );
}

#[test]
fn nothing_is_looked_at_when_nothing_waits() {
    let yard = Yard::new();
    assert!(Spool::idle(&yard.state()), "no spool yet");
    yard.spool();
    assert!(Spool::idle(&yard.state()));
    yard.trigger(THEN, "web-1");
    assert!(!Spool::idle(&yard.state()));
    yard.drains(&[], 0);
    assert!(Spool::idle(&yard.state()));
}

#[test]
fn the_log_of_escalators_is_missed_by_nobody() {
    let yard = Yard::new();
    yard.escalator("pager", "echo x");
    fs::create_dir(yard.path("log/escalate.log")).unwrap();
    yard.trigger(THEN, "web-1");
    yard.drains(&[], 0);
    assert_eq!(yard.calls("pager").len(), 1);
    assert_eq!(lines_with(&yard.log(), "[ERROR] escalate_log_failed"), 1);
}

#[test]
fn every_file_and_folder_of_the_spool_is_its_owners_alone() {
    use std::os::unix::fs::MetadataExt;
    let yard = Yard::new();
    yard.escalator("pager", "exit 1");
    yard.trigger(THEN, "web-1");
    let mut loose = Command::new("bash");
    loose.args([
        "-c",
        "umask 0; exec \"$@\"",
        "-",
        crate::support::PROGRAM,
        "drain",
    ]);
    loose
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("HEAL_CONF", yard.path("self-heal.conf"));
    until("it ran", || loose.output().ok());
    let top = yard.path("state/spool");
    let mut seen = 0;
    let mut next = vec![top];
    while let Some(path) = next.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.mode() & 0o7777, wanted, "{}", path.display());
        seen += 1;
        if meta.is_dir() {
            next.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        }
    }
    assert!(seen > 24, "{seen}");
}
