//! A real healer, a real sudo: what each side takes, and what neither does.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::process::Command;

use serde_json::{Value, json};

use super::house::{HEALER, House, INSTALLED};
use super::{bash, names, new_run, picture};
use crate::stage::run;
use crate::support::{Alert, Answer, feed, notification, request};

#[test]
fn each_side_takes_its_own_and_both_come_back() {
    let house = House::new();
    let roots = house.file("etc/main.conf", "old");
    let own = house.healers("own");
    bash(
        &own,
        "mkdir -m 500 conf; echo old >conf/x; setfacl -m u:5:r conf/x; touch -d @5.123456789 conf",
    );
    bash(&own, &format!("chown -R {HEALER}:{HEALER} ."));
    let own = own.join("conf");
    house.handler("Both", &[&roots, &own]);
    let before = [&roots, &own].map(|path| picture(path));
    let run_id = new_run("Both");
    let captured = house.healer("capture", &run_id, &[&roots, &own]);
    let folders = names(&house.sandbox.path("backup"));
    assert_eq!(folders.len(), 2, "{captured}");
    let owner = |name: &String| {
        let path = house.sandbox.path("backup").join(name);
        run(Command::new("stat").args(["-c", "%u %a"]).arg(path))
    };
    // Root's came first: the healer's manifest says that both are whole.
    assert_eq!(owner(&folders[0]), "0 700\n");
    assert_eq!(owner(&folders[1]), format!("{HEALER} 700\n"));
    assert!(captured.ends_with(&folders[1]), "{captured}");

    bash(
        &house.sandbox.path(""),
        "echo new >etc/main.conf; rm -r own/conf; mkdir own/conf",
    );
    bash(&house.sandbox.path(""), &format!("chown {HEALER} own/conf"));
    assert_eq!(house.healer("restore", &run_id, &[]), "restored 3");
    assert_eq!([&roots, &own].map(|path| picture(path)), before);
    assert_eq!(house.healer("restore", &run_id, &[]), "restored 0");
}

/// The real executable as the healer, from the alert to the answer. The handler changes a file of root's by a sudoers
/// line of its own.
#[test]
fn from_the_alert_to_the_old_file() {
    let house = House::new();
    let roots = house.file("etc/main.conf", "old");
    let before = picture(&roots);
    let breaks = house.sandbox.script(
        "breaks",
        &format!(
            "#!/bin/bash\necho new >{0}; chmod 600 {0}\n",
            roots.display()
        ),
    );
    let line = format!(
        "Defaults !fqdn\nhealer ALL = (root) NOPASSWD: {}\n",
        breaks.display()
    );
    house.etc("sudoers.d/breaks", &line, 0o440);
    let handler = format!(
        "# self-heal: snapshot={}\nsudo -n {} || exit 75\ncat {}\nexit 1\n",
        roots.display(),
        breaks.display(),
        roots.display()
    );
    house.sandbox.handler("Down", &handler);
    // Mode 600 by then: that the handler cannot read it shows that it was changed.
    let path = |name: &str| house.sandbox.path(name).display().to_string();
    house.configure(&format!(
        "HEAL_ALLOWED_INSTANCES={}\nHEAL_LOG_DIR={}\nHEAL_LOCK_DIR={}\nHEAL_SYSLOG=off\nHEAL_ESCALATE_DIR={}\n",
        path("allowed.txt"),
        path("log"),
        path("lock"),
        path("escalate.d"),
    ));
    let mut by = house.as_healer();
    by.push(INSTALLED.to_owned());
    let body = notification(&[&Alert::firing("Down", "web-1")]).to_string();
    let output = feed(house.command(&by, &["serve"]), &request(&body));
    let answer = Answer::parse(&output.stdout);
    let log = house.sandbox.read("log/Down.log");
    answer.expect(503, &["failed"]);
    assert!(
        answer.detail().contains("put back (1 changed)"),
        "{}: {log}",
        answer.detail()
    );
    assert!(
        log.contains("Permission denied"),
        "the handler changed nothing: {log}"
    );
    assert_eq!(picture(&roots), before);
    let folders = names(&house.sandbox.path("backup"));
    assert_eq!(folders.len(), 2, "{folders:?}");
}

#[test]
fn root_alone_takes_what_is_only_roots() {
    let house = House::new();
    let roots = house.file("etc/main.conf", "old");
    house.handler("Down", &[&roots]);
    let run_id = new_run("Down");
    house.healer("capture", &run_id, &[&roots]);
    fs::write(&roots, "new").unwrap();
    assert_eq!(house.healer("restore", &run_id, &[]), "restored 1");
    assert_eq!(fs::read_to_string(&roots).unwrap(), "old");
}

#[test]
fn what_nobody_may_take_keeps_the_handler_from_running_and_leaves_nothing() {
    let house = House::new();
    let roots = house.file("etc/main.conf", "old");
    let strangers = house.file("strangers/file", "old");
    chown(strangers.parent().unwrap(), Some(5), Some(5)).unwrap();
    let own = house.healers("own").join("file");
    fs::write(&own, "root's, in the healer's folder").unwrap();
    let backup = house.sandbox.path("backup");
    for (paths, words) in [
        (vec![&strangers], "strangers: belongs to uid 5"),
        (vec![&roots, &strangers], "strangers: belongs to uid 5"),
        (vec![&own], "own/file: belongs to uid 0"),
        (vec![&own, &roots], "own/file: belongs to uid 0"),
    ] {
        let paths: Vec<_> = paths.into_iter().map(|path| path.as_path()).collect();
        house.handler("Down", &paths);
        let run_id = new_run("Down");
        let said = house.healer("capture", &run_id, &paths);
        assert!(
            said.starts_with("refused: ") && said.contains(words),
            "{said}"
        );
        assert_eq!(house.healer("restore", &run_id, &[]), "nothing");
        // What root took is whole and of no use: retention takes it.
        for name in names(&backup) {
            let whole = backup.join(&name).join("manifest.json");
            assert!(whole.exists(), "{name} is half of one");
        }
    }
}

#[test]
fn without_sudoers_the_reason_says_where_to_look() {
    let house = House::new();
    let roots = house.file("etc/main.conf", "old");
    house.handler("Down", &[&roots]);
    house.etc("sudoers.d/healer", "", 0o440);
    let said = house.healer("capture", &new_run("Down"), &[&roots]);
    assert!(
        said.starts_with("refused: root's side, sudo guard capture: "),
        "{said}"
    );
    assert!(said.contains("password is required"), "{said}");
    assert!(said.contains("deploy/sudoers.d/healer"), "{said}");
    assert_eq!(names(&house.sandbox.path("backup")), [""; 0]);
}

#[test]
fn a_snapshot_of_roots_that_vanished_is_a_failure() {
    let house = House::new();
    let roots = house.file("etc/main.conf", "old");
    house.handler("Down", &[&roots]);
    let run_id = new_run("Down");
    house.healer("capture", &run_id, &[&roots]);
    let folder = &names(&house.sandbox.path("backup"))[0];
    let folder = house.sandbox.path("backup").join(folder);
    fs::remove_dir_all(&folder).unwrap();
    let said = house.healer("restore", &run_id, &[]);
    assert!(
        said.starts_with(&format!("failed {}: ", folder.display())),
        "{said}"
    );
    assert!(said.contains("root has no snapshot of"), "{said}");
}

/// The healer's own side died after root had taken its part: the handler was never started, so nothing is put back.
#[test]
fn roots_part_alone_is_no_snapshot_of_a_run() {
    let house = House::new();
    let roots = house.file("etc/main.conf", "old");
    house.handler("Down", &[&roots]);
    let run_id = new_run("Down");
    house.sudo_guard("capture", &run_id).unwrap();
    fs::write(&roots, "by hand").unwrap();
    assert_eq!(house.healer("restore", &run_id, &[]), "nothing");
    assert_eq!(fs::read_to_string(&roots).unwrap(), "by hand");
}

/// The run is settled, `reset` and forgotten, and root's side has the only copy.
#[test]
fn both_sides_keep_what_could_not_be_put_back() {
    let house = House::new();
    house.configure("HEAL_BACKUP_KEEP=1,30d\n");
    // Where root cannot tell what is in flight, it keeps everything.
    let state = house.sandbox.path("state");
    chown(&state, Some(0), Some(0)).unwrap();
    self_heal::sys::state::file::Store::open(&state).unwrap();
    bash(&state, &format!("chown -R {HEALER}:{HEALER} ."));
    let roots = house.file("etc/main.conf", "old");
    house.handler("Down", &[&roots]);
    let failed = new_run("Down");
    house.healer("capture", &failed, &[&roots]);
    bash(&house.sandbox.path(""), "mv etc away");
    let said = house.healer("restore", &failed, &[]);
    assert!(said.contains("main.conf: its folder is gone"), "{said}");
    bash(
        &house.sandbox.path(""),
        "mv away etc; echo newer >etc/main.conf",
    );
    let backup = house.sandbox.path("backup");
    let folders = names(&backup);
    for name in &folders {
        assert!(backup.join(name).join("failed").exists(), "{name}");
    }
    let roots_own = || -> Vec<String> {
        let own = |name: &String| fs::metadata(backup.join(name)).unwrap().uid() == 0;
        names(&backup).into_iter().filter(own).collect()
    };
    for _ in 0..3 {
        house.healer("capture", &new_run("Down"), &[&roots]);
    }
    let kept = roots_own();
    assert!(kept.len() == 2 && kept.contains(&folders[0]), "{kept:?}");
    assert_eq!(house.healer("restore", &failed, &[]), "restored 1");
    house.healer("capture", &new_run("Down"), &[&roots]);
    let kept = roots_own();
    assert!(kept.len() == 1 && !kept.contains(&folders[0]), "{kept:?}");
}

#[test]
fn root_keeps_what_the_records_call_in_flight() {
    let house = House::new();
    let roots = house.file("etc/main.conf", "old");
    house.configure("HEAL_BACKUP_KEEP=1,30d\n");
    house.handler("Down", &[&roots]);
    let runs: Vec<String> = (0..3).map(|_| new_run("Down")).collect();
    house.capture(&runs[0]);
    // A record as the healer writes it, with the first run in flight.
    chown(house.sandbox.path("state"), Some(0), Some(0)).unwrap();
    let mut store = self_heal::sys::state::file::Store::open(&house.sandbox.path("state")).unwrap();
    let key = "0".repeat(64);
    let in_flight = self_heal::judge::Run {
        id: runs[0].clone(),
        attempt: 1,
        started: super::now(),
        deadline: super::now(),
        probe: false,
        supervisor: self_heal::judge::record::Process { pid: 1, started: 1 },
    };
    let mut change = |record: &self_heal::judge::Record| self_heal::judge::Record {
        in_flight: Some(in_flight.clone()),
        ..record.clone()
    };
    store.update(&key, super::now(), &mut change).unwrap();
    let state = house.sandbox.path("state");
    bash(&state, &format!("chown -R {HEALER}:{HEALER} ."));
    house.capture(&runs[1]);
    let third = house.capture(&runs[2]);
    let kept: Vec<String> = names(&house.sandbox.path("backup"))
        .iter()
        .map(|name| {
            let path = house
                .sandbox
                .path("backup")
                .join(name)
                .join("manifest.json");
            let manifest: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
            manifest["run_id"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert!(
        kept.contains(&runs[0]) && kept.contains(&runs[2]),
        "{kept:?}"
    );
    assert_eq!(json!(third.taken), json!([roots]));
}

#[test]
fn the_command_explains_itself() {
    let house = House::new();
    let inside = house.inside();
    for (words, code, part) in [
        (
            vec!["guard"],
            100,
            "it takes capture or restore, and a run id",
        ),
        (
            vec!["guard", "capture"],
            100,
            "it takes capture or restore, and a run id",
        ),
        (
            vec!["guard", "copy", "1-1-1.A"],
            100,
            "it takes capture or restore, and a run id",
        ),
        (vec!["guard", "capture", "x"], 100, "that is no run id"),
        (
            vec!["guard", "capture", "1-1-1.A", "x"],
            100,
            "unexpected argument \"x\"",
        ),
        (
            vec!["guard", "capture", "--force", "1-1-1.A"],
            100,
            "--force",
        ),
        (
            vec!["guard", "capture", "1-1-1.A"],
            111,
            "has no handler for A",
        ),
        (
            vec!["guard", "restore", "1-1-1.A"],
            111,
            "root has no snapshot of 1-1-1.A",
        ),
    ] {
        let words: Vec<&str> = std::iter::once(INSTALLED).chain(words).collect();
        let output = house.run(&inside, &words);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {complaint}");
        assert!(complaint.contains(part), "{words:?}: {complaint}");
        assert!(output.stdout.is_empty());
    }
    let output = house.run(
        &house.as_healer(),
        &[INSTALLED, "guard", "capture", "1-1-1.A"],
    );
    assert_eq!(output.status.code(), Some(100));
    assert!(String::from_utf8_lossy(&output.stderr).contains("this is for root"));
}
