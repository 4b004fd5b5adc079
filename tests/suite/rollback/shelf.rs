//! What is refused, and leaves nothing half-way; what is kept, and for how long.

use std::fs;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use self_heal::judge::Time;
use self_heal::sys::snapshot::{self, Guarded, Restored};
use self_heal::wire::config::Keep;
use serde_json::Value;

use super::{Guard, KEEP, bash, names, new_run, now, run_at};
use crate::stage::{STRANGER, in_a_namespace_of_its_own, run};
use crate::support::{PROJECT, Sandbox, chmod};

/// A test of what is free again as soon as its last holder lets go, an unmounted folder or a lock, has a process of its
/// own: what another thread has just forked keeps a copy of every descriptor until it becomes another program.
fn alone(test: &str) -> bool {
    in_a_namespace_of_its_own(&format!("rollback::shelf::{test}"))
}

#[track_caller]
fn refused(guard: &Guard, words: &str) {
    let why = guard.try_capture().unwrap_err();
    assert!(why.contains(words), "{why}");
    assert_eq!(names(&guard.backup), [""; 0], "something was left");
    assert_eq!(guard.try_restore(), Ok(Restored::Nothing));
}

#[test]
fn what_cannot_be_given_back_is_not_taken() {
    if !alone("what_cannot_be_given_back_is_not_taken") {
        return;
    }
    for (script, words) in [
        ("mkdir x; mkfifo x/pipe", "x/pipe: is no regular file"),
        ("mkfifo x", "place/x: is no regular file"),
        ("mknod x c 1 3", "place/x: is no regular file"),
        (
            "mkdir -m 775 x",
            "place/x: is writable by group or others (mode 0775)",
        ),
        (
            "mkdir -p x/y; chmod 757 x/y",
            "x/y: is writable by group or others (mode 0757)",
        ),
        (
            "mkdir x; setfacl -m u:5:rwx x",
            "place/x: is writable by group or others",
        ),
        ("mkdir x; chown 5 x", "place/x: belongs to uid 5"),
        (
            "echo a >x; chmod 775 .",
            "place: is writable by group or others",
        ),
        (
            "echo a >x; chmod 1777 .",
            "place: is writable by group or others",
        ),
        ("chmod 1777 .", "place: is writable by group or others"),
        ("echo a >x; chown 5 .", "place: belongs to uid 5"),
        ("mkdir x; touch x/{0..10000}", "more than 10000 files"),
        (
            "truncate -s 1073741825 x",
            "more than 10000 files or 1073741824 bytes",
        ),
        (
            "mkdir x; truncate -s 700M x/a x/b",
            "more than 10000 files or 1073741824 bytes",
        ),
        ("mkdir x", "on another file system"),
    ] {
        let sandbox = Sandbox::new();
        let place = sandbox.path("place");
        fs::create_dir(&place).unwrap();
        chmod(&place, 0o755);
        bash(&place, script);
        let guard = Guard::new(&sandbox, &[&place.join("x")]);
        if words == "on another file system" {
            let inner = place.join("x/mounted");
            fs::create_dir(&inner).unwrap();
            run(Command::new("mount")
                .args(["-t", "tmpfs", "tmpfs"])
                .arg(&inner));
            refused(&guard, words);
            run(Command::new("umount").arg(&inner));
        } else {
            refused(&guard, words);
        }
    }
}

#[test]
fn a_link_or_a_file_on_the_way_is_named() {
    let sandbox = Sandbox::new();
    let real = sandbox.write("real/x", "old");
    std::os::unix::fs::symlink(real.parent().unwrap(), sandbox.path("way")).unwrap();
    let words = "way: is a symbolic link: name the place it leads to";
    refused(&Guard::new(&sandbox, &[&sandbox.path("way/x")]), words);
    let words = "real/x: is not a folder";
    refused(&Guard::new(&sandbox, &[&real.join("y")]), words);
}

#[test]
fn one_bad_path_among_good_ones_and_nothing_is_taken() {
    let sandbox = Sandbox::new();
    let good = sandbox.write("good", "old");
    let bad = sandbox.path("bad");
    mkfifo(&bad, Mode::S_IRWXU).unwrap();
    refused(
        &Guard::new(&sandbox, &[&good, &bad]),
        "bad: is no regular file",
    );
}

#[test]
fn a_read_only_folder_is_found_out_before_the_handler_starts() {
    if !alone("a_read_only_folder_is_found_out_before_the_handler_starts") {
        return;
    }
    let sandbox = Sandbox::new();
    let folder = sandbox.path("folder");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("x"), "old").unwrap();
    let mount = |options: &str| {
        run(Command::new("mount")
            .args(["-o", options])
            .args([&folder, &folder]));
    };
    mount("bind");
    mount("bind,remount,ro");
    let guard = Guard::new(&sandbox, &[&folder.join("x")]);
    refused(
        &guard,
        "is read-only here: the listener's unit needs ReadWritePaths=",
    );
    run(Command::new("umount").arg(&folder));
    guard.capture();
}

#[test]
fn a_full_backup_folder_takes_nothing_half_way() {
    if !alone("a_full_backup_folder_takes_nothing_half_way") {
        return;
    }
    let sandbox = Sandbox::new();
    let file = sandbox.path("x");
    fs::write(&file, vec![7; 3_000_000]).unwrap();
    let guard = Guard::new(&sandbox, &[&file]);
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m,mode=700", "tmpfs"])
        .arg(&guard.backup));
    refused(&guard, "No space left on device");
    run(Command::new("umount").arg(&guard.backup));
}

#[test]
fn no_backup_folder_or_one_that_others_can_change() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("x", "old");
    let mut guard = Guard::new(&sandbox, &[&file]);
    for (script, words) in [
        (
            "chmod 777 backup",
            "backup: is writable by others and not sticky: chmod 1770",
        ),
        (
            "chmod 770 backup",
            "backup: is writable by others and not sticky: chmod 1770",
        ),
        (
            "chmod 700 backup; chown 5 backup",
            "backup: is no folder, or belongs to uid 5",
        ),
    ] {
        bash(&sandbox.path(""), script);
        let why = guard.try_capture().unwrap_err();
        assert!(why.contains(words), "{why}");
        assert_eq!(names(&guard.backup), [""; 0]);
        let failed = guard.try_restore().unwrap_err();
        assert!(failed.why.contains(words), "{}", failed.why);
    }
    bash(&sandbox.path(""), "chown 0:5 backup; chmod 1770 backup");
    guard.capture();
    guard.backup = sandbox.path("elsewhere");
    assert!(
        guard
            .try_capture()
            .unwrap_err()
            .contains("elsewhere: No such file")
    );
}

#[test]
fn a_run_is_captured_once() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("x", "old");
    let guard = Guard::new(&sandbox, &[&file]);
    guard.capture();
    fs::write(&file, "new").unwrap();
    assert!(
        guard
            .try_capture()
            .unwrap_err()
            .contains("is captured already")
    );
    assert_eq!(guard.restore(), 1);
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn a_snapshot_says_what_it_is_and_is_nobody_elses() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("x", "old");
    let guard = Guard::new(&sandbox, &[&file, &sandbox.path("absent")]);
    let folder = guard.capture();
    let name = folder.file_name().unwrap().to_str().unwrap();
    let seconds = name.strip_suffix("-Down").unwrap();
    assert!((now().0 / 1000 - seconds.parse::<i64>().unwrap()) < 60);
    assert_eq!(names(&folder), ["files", "folders", "manifest.json"]);
    let mode = run(Command::new("stat")
        .args(["-c", "%a"])
        .args([&folder, &folder.join("manifest.json")]));
    assert_eq!(mode, "700\n600\n");
    let manifest: Value =
        serde_json::from_slice(&fs::read(folder.join("manifest.json")).unwrap()).unwrap();
    assert_eq!(manifest["run_id"], guard.run);
    assert_eq!(manifest["alertname"], "Down");
    assert_eq!(manifest["paths"][0]["entries"][0]["kind"], "file");
    assert_eq!(manifest["paths"][1]["entries"], Value::Array(Vec::new()));
    // What the page says is needed stays until it is back.
    bash(&sandbox.path(""), "mv backup/*/files/0 aside; rm x");
    guard.try_restore().unwrap_err();
    assert_eq!(
        names(&folder),
        ["done", "failed", "files", "folders", "manifest.json"]
    );
    let mut shown = shown_in(&folder);
    bash(&sandbox.path(""), "mv aside $(echo backup/*/files)/0");
    guard.restore();
    assert_eq!(
        names(&folder),
        ["done", "files", "folders", "manifest.json", "restored"]
    );
    // The page says the same.
    let page = fs::read_to_string(Path::new(PROJECT).join("docs/rollback.md")).unwrap();
    let (_, table) = page
        .split_once("| in the folder | mode | what |\n|---|---|---|\n")
        .unwrap();
    let mut rows: Vec<String> = table
        .lines()
        .take_while(|line| line.starts_with("| "))
        .map(|line| line.split('|').skip(1).take(2).collect())
        .collect();
    rows.sort();
    shown.extend(shown_in(&folder));
    shown.sort();
    shown.dedup();
    assert_eq!(rows, shown);
}

/// What is in a snapshot's folder, as the page has it.
fn shown_in(folder: &Path) -> Vec<String> {
    let top = ["-mindepth", "1", "-maxdepth", "1"];
    let shown = run(Command::new("find")
        .arg(folder)
        .args(top)
        .args(["-type", "d", "-printf", " `%f/`  0%m \n"])
        .args(["-o", "-printf", " `%f`  0%m \n"]));
    shown.lines().map(str::to_owned).collect()
}

#[test]
fn two_runs_of_one_second_have_two_folders() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("x", "old");
    let mut one = Guard::new(&sandbox, &[&file]);
    let mut two = Guard::new(&sandbox, &[&file]);
    one.run = run_at(Time(7_001), "Down");
    two.run = run_at(Time(7_002), "Down");
    one.capture();
    fs::write(&file, "newer").unwrap();
    two.capture();
    assert_eq!(names(&one.backup), ["7-Down", "7-Down~2"]);
    fs::write(&file, "newest").unwrap();
    two.restore();
    assert_eq!(fs::read_to_string(&file).unwrap(), "newer");
    one.restore();
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
}

/// A file that is written all the time is copied whole or not at all.
#[test]
fn a_file_that_changes_while_it_is_copied() {
    let sandbox = Sandbox::new();
    let file = sandbox.path("x");
    // Large enough that no copy is over before the next write.
    let block = |byte: u8| vec![byte; 8_000_000];
    fs::write(&file, block(b'a')).unwrap();
    let guard = Guard::new(&sandbox, &[&file]);
    let stop = AtomicBool::new(false);
    let why = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut open = fs::File::options().write(true).open(&file).unwrap();
            for byte in (b'a'..=b'z').cycle() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                open.rewind().unwrap();
                open.write_all(&block(byte)).unwrap();
            }
        });
        let captured = guard.try_capture();
        stop.store(true, Ordering::Relaxed);
        captured.unwrap_err()
    });
    assert!(
        why.contains("x: changes while it is copied: who writes there?"),
        "{why}"
    );
    assert_eq!(names(&guard.backup), [""; 0]);
    // It rests: now it is taken.
    guard.capture();
}

/// A shelf with snapshots of these ages and names, one run each; the runs.
fn filled(sandbox: &Sandbox, snapshots: &[(&str, u64)]) -> Vec<String> {
    let file = sandbox.write("x", "old");
    let runs = snapshots.iter().map(|(alertname, age)| {
        let run = new_run(alertname);
        let guarded = Guarded {
            backup_dir: &sandbox.path("backup"),
            run_id: &run,
            paths: std::slice::from_ref(&file),
        };
        let folder = snapshot::capture(&guarded, &KEEP, &|_| true)
            .unwrap()
            .unwrap();
        aged(&folder, Duration::from_secs(*age));
        run
    });
    runs.collect()
}

/// Makes a snapshot older than it is.
fn aged(folder: &Path, by: Duration) {
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let captured = manifest["captured"].as_i64().unwrap() - i64::try_from(by.as_millis()).unwrap();
    manifest["captured"] = captured.into();
    fs::write(&path, manifest.to_string()).unwrap();
}

/// The runs whose snapshots are there.
fn kept(backup: &Path) -> Vec<String> {
    let mut runs: Vec<String> = names(backup)
        .iter()
        .filter_map(|name| fs::read(backup.join(name).join("manifest.json")).ok())
        .map(|json| {
            let manifest: Value = serde_json::from_slice(&json).unwrap();
            manifest["run_id"].as_str().unwrap().to_owned()
        })
        .collect();
    runs.sort();
    runs
}

fn sorted(runs: &[&String]) -> Vec<String> {
    let mut runs: Vec<String> = runs.iter().map(|run| (*run).clone()).collect();
    runs.sort();
    runs
}

/// Captures once more, with this retention.
fn once_more(sandbox: &Sandbox, alertname: &str, keep: Keep, unsettled: &[&String]) -> String {
    let run = new_run(alertname);
    let guarded = Guarded {
        backup_dir: &sandbox.path("backup"),
        run_id: &run,
        paths: &[sandbox.path("x")],
    };
    let unsettled = |run: &str| unsettled.iter().any(|other| *other == run);
    snapshot::capture(&guarded, &keep, &unsettled).unwrap();
    run
}

const DAY: u64 = 86_400;

#[test]
fn so_many_are_kept_and_not_those_of_unsettled_runs() {
    if !alone("so_many_are_kept_and_not_those_of_unsettled_runs") {
        return;
    }
    let sandbox = Sandbox::new();
    let runs = filled(
        &sandbox,
        &[("A", 50), ("A", 40), ("A", 30), ("A", 20), ("A", 10)],
    );
    let keep = Keep {
        most: 3,
        age: Duration::from_secs(DAY),
    };
    let new = once_more(&sandbox, "A", keep, &[&runs[0]]);
    let expected = sorted(&[&runs[0], &runs[3], &runs[4], &new]);
    assert_eq!(kept(&sandbox.path("backup")), expected);
    // Settled by now: it goes.
    let newer = once_more(&sandbox, "A", keep, &[]);
    assert_eq!(
        kept(&sandbox.path("backup")),
        sorted(&[&runs[4], &new, &newer])
    );
}

/// It may be the only good copy.
#[test]
fn one_that_could_not_be_put_back_stays_until_somebody_has_seen_to_it() {
    if !alone("one_that_could_not_be_put_back_stays_until_somebody_has_seen_to_it") {
        return;
    }
    let sandbox = Sandbox::new();
    let (x, conf) = (sandbox.path("x"), sandbox.path("conf"));
    bash(
        &sandbox.path(""),
        "mkdir conf; touch x conf/a conf/b conf/c",
    );
    let guard = Guard {
        run: new_run("A"),
        ..Guard::new(&sandbox, &[&x, &conf])
    };
    let folder = guard.capture();
    let script = "rm conf/a conf/c; echo newer >conf/b; chattr +i conf/b";
    bash(&sandbox.path(""), script);
    let failed = guard.try_restore().unwrap_err();
    assert!(failed.why.contains("conf/b"), "{failed:?}");
    // What stands beside it is back.
    assert_eq!(names(&conf), ["a", "b", "c"]);
    let keep = Keep { most: 1, ..KEEP };
    once_more(&sandbox, "A", keep, &[]);
    once_more(&sandbox, "A", keep, &[]);
    assert!(folder.join("manifest.json").exists());
    bash(&sandbox.path(""), "chattr -i conf/b");
    // The file, and the folder it is in.
    assert_eq!(guard.restore(), 2);
    once_more(&sandbox, "A", keep, &[]);
    assert!(!folder.exists());
}

#[test]
fn old_ones_go_and_not_those_of_unsettled_runs() {
    if !alone("old_ones_go_and_not_those_of_unsettled_runs") {
        return;
    }
    let sandbox = Sandbox::new();
    let runs = filled(
        &sandbox,
        &[
            ("A", 3 * DAY),
            ("A", 2 * DAY),
            ("A", DAY - 60),
            ("A", DAY + 60),
        ],
    );
    let keep = Keep {
        most: 100,
        age: Duration::from_secs(DAY),
    };
    let new = once_more(&sandbox, "A", keep, &[&runs[1]]);
    let expected = sorted(&[&runs[1], &runs[2], &new]);
    assert_eq!(kept(&sandbox.path("backup")), expected);
}

/// The page names that folder, and there is no other copy.
#[test]
fn what_could_not_be_put_back_is_kept_until_it_is() {
    if !alone("what_could_not_be_put_back_is_kept_until_it_is") {
        return;
    }
    let sandbox = Sandbox::new();
    let file = sandbox.write("place/x", "old");
    let guard = Guard::new(&sandbox, &[&file]);
    let folder = guard.capture();
    aged(&folder, Duration::from_secs(9 * DAY));
    bash(&sandbox.path(""), "mv place away; echo old >x");
    guard.try_restore().unwrap_err();
    let keep = Keep {
        most: 1,
        age: Duration::from_secs(DAY),
    };
    once_more(&sandbox, "Down", keep, &[]);
    assert!(kept(&guard.backup).contains(&guard.run));
    // By hand, as docs/rollback.md has it.
    fs::write(folder.join("restored"), "").unwrap();
    let last = once_more(&sandbox, "Down", keep, &[]);
    assert_eq!(kept(&guard.backup), [last]);
}

#[test]
fn the_last_one_is_kept_even_if_the_clock_says_otherwise() {
    if !alone("the_last_one_is_kept_even_if_the_clock_says_otherwise") {
        return;
    }
    let sandbox = Sandbox::new();
    let runs = filled(&sandbox, &[("A", 0), ("A", 0)]);
    for name in names(&sandbox.path("backup")) {
        // Captured before the clock was set back by a year.
        let folder = sandbox.path("backup").join(name);
        let path = folder.join("manifest.json");
        let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        manifest["captured"] = (now().0 + 365 * 86_400_000).into();
        fs::write(&path, manifest.to_string()).unwrap();
    }
    let keep = Keep {
        most: 1,
        age: Duration::from_secs(DAY),
    };
    let new = once_more(&sandbox, "A", keep, &[]);
    let kept = kept(&sandbox.path("backup"));
    assert!(
        kept.contains(&new) && kept.len() == 2,
        "{kept:?} of {runs:?}"
    );
}

#[test]
fn another_alerts_snapshots_and_other_peoples_files_stay() {
    if !alone("another_alerts_snapshots_and_other_peoples_files_stay") {
        return;
    }
    let sandbox = Sandbox::new();
    let alerts = ["A", "A-1", "1-A", "A.b", "A-1.b", "a", "A_1"];
    let old: Vec<(&str, u64)> = alerts.iter().map(|name| (*name, 9 * DAY)).collect();
    let runs = filled(&sandbox, &old);
    let backup = sandbox.path("backup");
    bash(
        &backup,
        "mkdir 5-A 6-A~x A 7-A; echo mine >5-A/mine; echo x >8-A; ln -s 5-A 9-A; echo x >nginx.conf",
    );
    bash(
        &backup,
        &format!("mkdir -m 700 10-A; chown {STRANGER} 10-A; chmod 700 5-A 6-A~x A"),
    );
    let keep = Keep {
        most: 1,
        age: Duration::from_secs(DAY),
    };
    let new = once_more(&sandbox, "A", keep, &[]);
    let mut expected: Vec<&String> = runs.iter().skip(1).collect();
    expected.push(&new);
    assert_eq!(kept(&backup), sorted(&expected));
    for name in [
        "5-A/mine",
        "6-A~x",
        "A",
        "7-A",
        "8-A",
        "9-A",
        "10-A",
        "nginx.conf",
    ] {
        assert!(backup.join(name).symlink_metadata().is_ok(), "{name}");
    }
}

#[test]
fn what_a_killed_capture_left_goes_and_one_at_work_stays() {
    if !alone("what_a_killed_capture_left_goes_and_one_at_work_stays") {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write("x", "old");
    let backup = sandbox.path("backup");
    bash(
        &backup,
        "umask 77; mkdir -p 5-A/files/0/deep 6-A/files 7-A; echo x >5-A/files/0/deep/x; echo x >6-A/manifest.new; echo x >7-A/done; touch 7-A/failed",
    );
    bash(&backup, "chmod 0 5-A/files/0/deep");
    let working = fs::File::open(backup.join("6-A")).unwrap();
    working.lock().unwrap();
    once_more(&sandbox, "A", KEEP, &[]);
    let left = || -> Vec<String> {
        let short = |name: &String| name.len() < 8;
        names(&backup).into_iter().filter(short).collect()
    };
    assert_eq!(left(), ["6-A"]);
    drop(working);
    once_more(&sandbox, "A", KEEP, &[]);
    assert_eq!(left(), [""; 0]);
}

#[test]
fn a_snapshot_that_is_put_back_right_now_stays() {
    if !alone("a_snapshot_that_is_put_back_right_now_stays") {
        return;
    }
    let sandbox = Sandbox::new();
    let runs = filled(&sandbox, &[("A", 9 * DAY)]);
    let backup = sandbox.path("backup");
    let folder: PathBuf = backup.join(&names(&backup)[0]);
    let working = fs::File::open(&folder).unwrap();
    working.lock().unwrap();
    let keep = Keep {
        most: 1,
        age: Duration::from_secs(DAY),
    };
    let new = once_more(&sandbox, "A", keep, &[]);
    assert_eq!(kept(&backup), sorted(&[&runs[0], &new]));
    drop(working);
    let newer = once_more(&sandbox, "A", keep, &[]);
    assert_eq!(kept(&backup), [newer]);
}

#[test]
fn a_name_that_is_no_text_comes_back_too() {
    let sandbox = Sandbox::new();
    let conf = sandbox.path("conf");
    bash(
        &sandbox.path(""),
        "mkdir conf; echo x >$'conf/\\xff\\n\\t'; echo y >conf/$'..\\x01'",
    );
    let before = super::picture(&conf);
    let guard = Guard::new(&sandbox, &[&conf]);
    guard.capture();
    bash(&conf, "rm *; touch other");
    guard.restore();
    assert_eq!(super::picture(&conf), before);
}
