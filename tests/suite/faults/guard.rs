//! Root's side of the rollback guard: what it said is true, whatever happened to it, and the next one finishes.

use std::fs;
use std::process::Output;

use self_heal::wire::manifest::Took;

use super::Tally;
use crate::rollback::crash::{Scene, contents};
use crate::rollback::house::INSTALLED;
use crate::rollback::{names, new_run};
use crate::tracing::{calls, came_to_pass, strace, strace_with};

/// Root's side behind these words.
fn guard(scene: &Scene, words: &[String], what: &str, run: &str) -> Output {
    let mut words: Vec<&str> = words.iter().map(String::as_str).collect();
    words.extend([INSTALLED, "guard", what, run]);
    scene.house.run(&scene.house.inside(), &words)
}

#[test]
fn a_restore_of_root() {
    let scene = Scene::new();
    let trace = scene.house.sandbox.path("trace");
    let prepare = || {
        scene.old();
        let old = (scene.picture(), contents(&scene.place()));
        let run = new_run("Down");
        scene.house.capture(&run);
        scene.new_state();
        (run, old)
    };
    let (run, _) = prepare();
    let output = guard(&scene, &strace(&trace, None), "restore", &run);
    assert!(output.status.success(), "{output:?}");
    let found = calls(&fs::read_to_string(&trace).unwrap());
    Tally::go("guard restore", &found, &mut |call, fault| {
        let (run, (before, old)) = prepare();
        let new = contents(&scene.place());
        let words = strace_with(&trace, (&call.name, call.nth), fault);
        let output = guard(&scene, &words, "restore", &run);
        if output.status.success() {
            assert_eq!(scene.picture(), before, "it said that all is back");
        }
        scene.whole(&old, &new, "after it");
        scene.house.guard("restore", &run).unwrap();
        assert_eq!(scene.picture(), before);
        assert_eq!(names(&scene.place()), ["conf", "single"]);
        came_to_pass(&fs::read_to_string(&trace).unwrap(), fault)
    });
}

#[test]
fn a_capture_of_root() {
    let scene = Scene::new();
    let trace = scene.house.sandbox.path("trace");
    let backup = scene.house.sandbox.path("backup");
    scene.old();
    let run = new_run("Down");
    let output = guard(&scene, &strace(&trace, None), "capture", &run);
    assert!(output.status.success(), "{output:?}");
    let found = calls(&fs::read_to_string(&trace).unwrap());
    let whole = |name: &String| backup.join(name).join("manifest.json").exists();
    Tally::go("guard capture", &found, &mut |call, fault| {
        for name in names(&backup) {
            fs::remove_dir_all(backup.join(name)).unwrap();
        }
        scene.old();
        let before = scene.picture();
        let run = new_run("Down");
        let words = strace_with(&trace, (&call.name, call.nth), fault);
        let output = guard(&scene, &words, "capture", &run);
        assert_eq!(scene.picture(), before, "it touched what it copies");
        scene.new_state();
        let restored = scene.house.guard("restore", &run);
        if output.status.success() {
            // What it took comes back; what it refused, it said: then no handler is started.
            let took = Took::parse(&output.stdout).unwrap();
            let paths = [&scene.conf, &scene.single, &scene.absent];
            restored.unwrap();
            let after = scene.picture();
            for (number, path) in paths.into_iter().enumerate() {
                let refused = took.refused.iter().any(|(refused, _)| refused == path);
                assert!(took.taken.contains(path) != refused, "{took:?}");
                assert!(refused || after[number] == before[number], "{took:?}");
            }
        }
        // The next one clears away what is left of it.
        scene.house.capture(&new_run("Down"));
        let left = names(&backup);
        assert!(left.iter().all(whole), "{left:?}");
        came_to_pass(&fs::read_to_string(&trace).unwrap(), fault)
    });
}
