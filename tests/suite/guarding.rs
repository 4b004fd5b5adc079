//! What a failed handler changed is put back: the whole way, from the directive to the page.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use crate::stage::{Gate, Posting, put_down, until_gone};
use crate::support::{Alert, Sandbox, chmod, until};

fn nginx() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

/// A sandbox with a file, and a handler that changes it, makes another, and goes on with `rest`.
fn changes(rest: &str) -> (Sandbox, PathBuf) {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    let file = sandbox.write("etc/app.conf", "old\n");
    chmod(&file, 0o640);
    let (shown, made) = (
        file.display(),
        sandbox.path("etc/made").display().to_string(),
    );
    sandbox.handler(
        "NginxDown",
        &format!(
            "# self-heal: snapshot={shown} snapshot={made} timeout=2s\n\
             echo new >{shown}; chmod 666 {shown}; echo x >{made}\n{rest}"
        ),
    );
    (sandbox, file)
}

#[track_caller]
fn as_before(sandbox: &Sandbox) {
    assert_eq!(sandbox.read("etc/app.conf"), "old\n");
    let meta = fs::metadata(sandbox.path("etc/app.conf")).unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o640);
    assert!(!sandbox.path("etc/made").exists());
    let entries: Vec<_> = fs::read_dir(sandbox.path("etc")).unwrap().collect();
    assert_eq!(entries.len(), 1, "{entries:?}");
}

#[test]
fn every_ending_but_healed_and_not_now_is_undone() {
    for (ending, verdict) in [
        ("exit 1", "failed"),
        ("exit 2", "gave-up"),
        ("kill -KILL $$", "failed"),
        ("sleep 60", "failed"),
    ] {
        let (sandbox, file) = changes(ending);
        let before = fs::metadata(&file).unwrap();
        let answer = sandbox.post(&nginx());
        assert_eq!(answer.verdicts(), [verdict], "{}", answer.body);
        assert!(
            answer.detail().contains("put back (2 changed)"),
            "{}",
            answer.detail()
        );
        as_before(&sandbox);
        let after = fs::metadata(&file).unwrap();
        assert_eq!(
            (after.mtime(), after.mtime_nsec()),
            (before.mtime(), before.mtime_nsec())
        );
        assert!(
            sandbox.log().contains("[WARN] rolled_back"),
            "{}",
            sandbox.log()
        );
        let result = sandbox.history().pop().unwrap();
        assert_eq!(
            (&result["event"], &result["rollback"]),
            (&"result".into(), &"restored".into())
        );
    }
    for (ending, verdict) in [("exit 0", "healed"), ("exit 75", "deferred")] {
        let (sandbox, _) = changes(ending);
        let answer = sandbox.post(&nginx());
        assert_eq!(answer.verdicts(), [verdict], "{}", answer.body);
        assert_eq!(sandbox.read("etc/app.conf"), "new\n", "{ending}");
        assert!(sandbox.path("etc/made").exists(), "{ending}");
    }
}

#[test]
fn a_snapshot_is_where_the_documentation_says_and_is_kept() {
    let (sandbox, _) = changes("exit 0");
    sandbox.post(&nginx()).expect(200, &["healed"]);
    let mut names = fs::read_dir(sandbox.path("backup")).unwrap();
    let name = names
        .next()
        .unwrap()
        .unwrap()
        .file_name()
        .into_string()
        .unwrap();
    assert!(names.next().is_none());
    let (epoch, alertname) = name.split_once('-').unwrap();
    assert_eq!(alertname, "NginxDown");
    assert!(
        epoch.len() == 10 && epoch.bytes().all(|b| b.is_ascii_digit()),
        "{name}"
    );
    assert_eq!(sandbox.read(&format!("backup/{name}/files/0")), "old\n");
    let intent = &sandbox.history()[0];
    let folder = sandbox.path(&format!("backup/{name}"));
    assert_eq!(intent["snapshot"], folder.display().to_string().as_str());
}

#[test]
fn the_hook_runs_after_what_was_changed_is_back() {
    let (sandbox, file) = changes("exit 1");
    let seen = sandbox.path("seen").display().to_string();
    let text = format!(
        "#!/bin/bash\necho \"$1 $2 $3 $HEAL_ATTEMPT\" >{seen}; cat {} >>{seen}; echo hooked\n",
        file.display()
    );
    sandbox.script("handlers/NginxDown.restored", &text);
    sandbox.post(&nginx()).expect(503, &["failed"]);
    let alert = nginx();
    let expected = format!("web-1:9113 NginxDown {} 1\nold\n", alert.fingerprint());
    assert_eq!(sandbox.read("seen"), expected);
    assert!(sandbox.read("log/NginxDown.log").ends_with("hooked\n"));
    as_before(&sandbox);
    // A healed one needs no hook.
    fs::remove_file(sandbox.path("seen")).unwrap();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.post(&nginx()).expect(200, &["healed"]);
    assert!(!sandbox.path("seen").exists());
}

#[test]
fn a_hook_that_fails_or_hangs_is_a_page_with_the_folders_name() {
    for ending in ["exit 1", "sleep 60"] {
        let (sandbox, _) = changes("exit 1");
        sandbox.script(
            "handlers/NginxDown.restored",
            &format!("#!/bin/bash\n{ending}\n"),
        );
        let answer = sandbox.post(&nginx());
        answer.expect(200, &["tripped"]);
        as_before(&sandbox);
        assert_eq!(
            sandbox.paged(),
            [("trigger".to_owned(), "rollback".to_owned())]
        );
        let detail = sandbox.pages()[0]["detail"].as_str().unwrap().to_owned();
        let backup = sandbox.path("backup").display().to_string();
        assert!(
            detail.contains(&backup) && detail.contains("NginxDown.restored"),
            "{detail}"
        );
    }
}

#[test]
fn a_hook_that_others_could_change_makes_its_handler_unsafe() {
    let (sandbox, _) = changes("exit 1");
    let hook = sandbox.script("handlers/NginxDown.restored", "#!/bin/bash\n");
    chmod(&hook, 0o777);
    sandbox.post(&nginx()).expect(200, &["unsafe-handler"]);
    chmod(&hook, 0o644);
    sandbox.post(&nginx()).expect(200, &["unsafe-handler"]);
    sandbox.script(
        "handlers/NginxDown.restored",
        "#!/bin/bash\n# self-heal: timeout=1s\n",
    );
    let answer = sandbox.post(&nginx());
    answer.expect(200, &["unsafe-handler"]);
    assert!(
        answer.detail().contains("a hook has no directives"),
        "{}",
        answer.detail()
    );
    assert_eq!(sandbox.read("etc/app.conf"), "old\n");
}

#[test]
fn without_its_snapshot_a_handler_does_not_run() {
    let (sandbox, _) = changes("exit 0");
    fs::remove_dir_all(sandbox.path("backup")).unwrap();
    sandbox.write("backup", "no folder");
    let answer = sandbox.post(&nginx());
    answer.expect(503, &["error"]);
    assert!(answer.detail().contains("backup"), "{}", answer.detail());
    let ready = sandbox.get("/-/ready");
    assert_eq!(ready.code, 503);
    assert!(ready.body.contains("HEAL_BACKUP_DIR"), "{}", ready.body);
    assert_eq!(
        (
            sandbox.read("etc/app.conf").as_str(),
            sandbox.runs("NginxDown")
        ),
        ("old\n", 0)
    );
    // Not counted: with the folder back, it is the first attempt.
    fs::remove_file(sandbox.path("backup")).unwrap();
    fs::create_dir(sandbox.path("backup")).unwrap();
    chmod(&sandbox.path("backup"), 0o755);
    let answer = sandbox.post(&nginx());
    answer.expect(200, &["healed"]);
    assert_eq!(answer.json()["results"][0]["attempt"], 1);
}

#[test]
fn what_cannot_be_put_back_stops_the_alert_and_pages() {
    let (sandbox, _) = changes("rm -rf $HEAL_BACKUP_DIR/*; exit 1");
    let answer = sandbox.post(&nginx());
    answer.expect(200, &["tripped"]);
    assert!(
        answer.detail().contains("could not be put back"),
        "{}",
        answer.detail()
    );
    assert_eq!(
        sandbox.paged(),
        [("trigger".to_owned(), "rollback".to_owned())]
    );
    let page = &sandbox.pages()[0];
    assert_eq!(page["attempts"][0]["rollback"], "failed");
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    assert_eq!(sandbox.runs("NginxDown"), 1);
}

/// A run whose supervisor was killed after the handler had changed the file, and whose handler is gone too.
fn interrupted() -> (Sandbox, Gate) {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    let file = sandbox.write("etc/app.conf", "old\n");
    chmod(&file, 0o640);
    let (shown, made) = (
        file.display(),
        sandbox.path("etc/made").display().to_string(),
    );
    let gate = Gate::new(&sandbox, "changed");
    sandbox.handler(
        "NginxDown",
        &format!(
            "# self-heal: snapshot={shown} snapshot={made}\n\
             echo new >{shown}; chmod 666 {shown}; echo x >{made}\n{}",
            gate.line()
        ),
    );
    let posting = Posting::begin(&sandbox, &[&nginx()]);
    let handler = gate.wait_for(1);
    posting.kill();
    put_down(handler);
    until_gone(handler);
    gate.open();
    assert_eq!(sandbox.read("etc/app.conf"), "new\n");
    (sandbox, gate)
}

#[test]
fn an_interrupted_run_is_undone_by_whoever_finds_it_still_firing() {
    let (sandbox, _gate) = interrupted();
    let handler = sandbox.read("handlers/NginxDown.sh");
    let seen = sandbox.path("seen").display().to_string();
    let first = handler
        .lines()
        .find(|line| line.contains("snapshot="))
        .unwrap();
    sandbox.handler(
        "NginxDown",
        &format!(
            "{first}\ncat {} >{seen}\n",
            sandbox.path("etc/app.conf").display()
        ),
    );
    let answer = until("the lock is free", || {
        let answer = sandbox.post(&nginx());
        (answer.verdicts() != ["busy"]).then_some(answer)
    });
    answer.expect(200, &["healed"]);
    assert_eq!(sandbox.read("seen"), "old\n", "before the next run");
    as_before(&sandbox);
    assert_eq!(
        sandbox.paged()[0],
        ("trigger".to_owned(), "interrupted".to_owned())
    );
    assert_eq!(sandbox.pages()[0]["attempts"][0]["rollback"], "restored");
}

#[test]
fn an_interrupted_run_whose_episode_is_over_is_left_as_it_is_and_told() {
    let (sandbox, _gate) = interrupted();
    sandbox.post(&nginx().resolved()).expect(200, &["resolved"]);
    sandbox.handler("NginxDown", "exit 0\n");
    let again = nginx().with("startsAt", crate::support::rfc3339(5).into());
    let answer = until("the lock is free", || {
        let answer = sandbox.post(&again);
        (answer.verdicts() != ["busy"]).then_some(answer)
    });
    answer.expect(200, &["healed"]);
    assert_eq!(
        sandbox.read("etc/app.conf"),
        "new\n",
        "it may have cured what fired"
    );
    let log = sandbox.log();
    let line = log
        .lines()
        .find(|line| line.contains("[WARN] snapshot_kept"));
    let backup = sandbox.path("backup").display().to_string();
    assert!(line.is_some_and(|line| line.contains(&backup)), "{log}");
}

#[test]
fn the_hook_of_an_interrupted_run_that_fails_is_not_run_at_every_repeat() {
    let (sandbox, _gate) = interrupted();
    let reset = sandbox.operate(&["reset", "NginxDown", "web-1:9113"]);
    let said = String::from_utf8(reset.stdout).unwrap();
    assert!(
        said.contains("lost its supervisor"),
        "nothing goes on: {said}"
    );
    let hooks = sandbox.path("hooks").display().to_string();
    sandbox.script(
        "handlers/NginxDown.restored",
        &format!("#!/bin/bash\necho hooked >>{hooks}\nexit 1\n"),
    );
    let answer = until("the lock is free", || {
        let answer = sandbox.post(&nginx());
        (answer.verdicts() != ["busy"]).then_some(answer)
    });
    answer.expect(200, &["tripped"]);
    sandbox.post(&nginx()).expect(200, &["tripped"]);
    assert_eq!(sandbox.read("hooks"), "hooked\n");
    assert_eq!(sandbox.runs("NginxDown"), 1);
    as_before(&sandbox);
    assert_eq!(
        sandbox.paged(),
        [("trigger".to_owned(), "rollback".to_owned())]
    );
    let detail = sandbox.pages()[0]["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("NginxDown.restored"), "{detail}");
}

#[test]
fn an_interrupted_run_that_cannot_be_undone_runs_nothing_and_pages_once() {
    let (sandbox, _gate) = interrupted();
    let snapshot = fs::read_dir(sandbox.path("backup"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let copy = snapshot.path().join("files/0");
    let aside = sandbox.path("aside");
    fs::rename(&copy, &aside).unwrap();
    let answer = until("the lock is free", || {
        let answer = sandbox.post(&nginx());
        (answer.verdicts() != ["busy"]).then_some(answer)
    });
    answer.expect(503, &["error"]);
    sandbox.post(&nginx()).expect(503, &["error"]);
    assert_eq!(sandbox.runs("NginxDown"), 1);
    assert_eq!(
        sandbox.paged(),
        [("trigger".to_owned(), "rollback".to_owned())]
    );
    let detail = sandbox.pages()[0]["detail"].as_str().unwrap().to_owned();
    assert!(
        detail.contains(&snapshot.path().display().to_string()),
        "{detail}"
    );
    // Mended by hand, it goes on by itself.
    fs::rename(&aside, &copy).unwrap();
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.post(&nginx()).expect(200, &["healed"]);
    as_before(&sandbox);
    assert_eq!(
        sandbox.paged().last(),
        Some(&("resolve".to_owned(), "rollback".to_owned()))
    );
}

#[test]
fn a_run_that_resolved_overtook_is_undone_and_counts_nowhere() {
    let sandbox = Sandbox::new();
    sandbox.recorder();
    let file = sandbox.write("etc/app.conf", "old\n");
    chmod(&file, 0o640);
    let gate = Gate::new(&sandbox, "changed");
    let shown = file.display();
    sandbox.handler(
        "NginxDown",
        &format!(
            "# self-heal: snapshot={shown}\necho new >{shown}\n{}exit 1\n",
            gate.line()
        ),
    );
    let posting = Posting::begin(&sandbox, &[&nginx()]);
    gate.wait_for(1);
    sandbox.post(&nginx().resolved()).expect(200, &["resolved"]);
    gate.open();
    posting.answer().expect(200, &["resolved"]);
    as_before(&sandbox);
    assert_eq!(sandbox.paged(), []);
}

#[test]
fn runs_with_a_snapshot_go_one_at_a_time_whatever_their_lock() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("etc/app.conf", "old\n");
    let gate = Gate::new(&sandbox, "changed");
    sandbox.handler(
        "NginxDown",
        &format!(
            "# self-heal: lock=instance snapshot={0}\necho \"$1\" >{0}\n{1}\nexit 1\n",
            file.display(),
            gate.line()
        ),
    );
    let posting = Posting::begin(&sandbox, &[&nginx()]);
    gate.wait_for(1);
    // It would capture what the first has written, and put that back.
    let other = Alert::firing("NginxDown", "web-2:9113");
    sandbox.post(&other).expect(503, &["busy"]);
    gate.open();
    posting.answer().expect(503, &["failed"]);
    assert_eq!(sandbox.read("etc/app.conf"), "old\n");
}
