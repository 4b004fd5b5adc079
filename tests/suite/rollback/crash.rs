//! The crash table: killed at every system call that changes a file, once each. Afterwards every file is whole, as it
//! was before or as it is to be, and doing it again finishes the work.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::house::{House, INSTALLED};
use super::{bash, names, new_run, picture};

/// What changes a file, a name or its attributes, and what makes that last.
const CALLS: &str = "mkdir,mkdirat,rmdir,unlink,unlinkat,rename,renameat,renameat2,link,linkat,symlink,symlinkat,\
    write,pwrite64,copy_file_range,ioctl,ftruncate,fallocate,fsync,fdatasync,chmod,fchmod,fchmodat,?fchmodat2,\
    chown,fchown,lchown,fchownat,utimensat,setxattr,lsetxattr,fsetxattr,removexattr,fremovexattr,flock";

/// The tree before, and what the handler makes of it.
const OLD: &str = "mkdir -p conf/sub conf/gone
    echo old >conf/changed; echo same >conf/same; echo old >conf/removed; echo old >conf/sub/deep; echo old >conf/gone/x
    ln -s old conf/link; echo old >conf/turned
    setfattr -n user.a -v b conf/changed; setfacl -m u:5:r conf/sub/deep; chown 5:6 conf/removed
    touch -d @7.000000008 conf/sub conf";
const NEW: &str =
    "echo newer >conf/changed; rm conf/removed; echo newer >conf/sub/deep; rm -r conf/gone
    ln -sfn newer conf/link; rm conf/turned; mkdir conf/turned; echo newer >conf/turned/x
    echo newer >conf/made; mkdir conf/made.d; echo newer >conf/made.d/x; chmod 700 conf/sub";

/// The content of every file, and the target of every link, by name.
pub fn contents(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(path) = open.pop() {
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            open.extend(
                fs::read_dir(&path)
                    .unwrap()
                    .map(|entry| entry.unwrap().path()),
            );
        } else if meta.is_symlink() {
            let target = fs::read_link(&path).unwrap().display().to_string();
            found.insert(path, format!("-> {target}"));
        } else {
            found.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// Root's side under strace, killed at the `n`th of these calls. With `children`, cp is killed at its own `n`th, instead
/// or too. Whether it came to its end.
fn killed_at(house: &House, call: &str, n: u32, children: bool, what: &str, run: &str) -> bool {
    let trace = house.sandbox.path("trace");
    let shown = trace.display().to_string();
    let calls = format!("trace={call}");
    let inject = format!("inject={call}:signal=KILL:when={n}");
    let mut words = vec!["strace", "-o", &shown, "-e", &calls, "-e", &inject];
    words.extend(children.then_some("-f"));
    words.extend([INSTALLED, "guard", what, run]);
    let output = house.run(&house.inside(), &words);
    let trace = fs::read_to_string(trace).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let ended = !trace.contains("killed by SIGKILL");
    assert!(!ended || output.status.success(), "{output:?}\n{trace}");
    ended
}

/// Goes through the table: each call's first, second… until nothing is killed any more, because there are no more of
/// them. `killed` gets the call, which one, and whether cp may be killed; it says whether nobody was.
fn at_each_call(killed: impl Fn(&str, u32, bool) -> bool) {
    for children in [false, true] {
        let mut kills = 0;
        for call in CALLS.split(',') {
            let mut n = 1;
            while !killed(call, n, children) {
                n += 1;
                assert!(n < 500, "{call} has no end");
            }
            kills += n - 1;
        }
        assert!(kills > 25, "killed only {kills} times");
    }
}

pub struct Scene {
    pub house: House,
    pub conf: PathBuf,
    pub single: PathBuf,
    pub absent: PathBuf,
}

impl Scene {
    pub fn new() -> Scene {
        let house = House::new();
        let place = |name: &str| house.sandbox.path("place").join(name);
        fs::create_dir(house.sandbox.path("place")).unwrap();
        let (conf, single, absent) = (place("conf"), place("single"), place("absent"));
        house.handler("Down", &[&conf, &single, &absent]);
        Scene {
            house,
            conf,
            single,
            absent,
        }
    }

    pub fn place(&self) -> PathBuf {
        self.house.sandbox.path("place")
    }

    pub fn old(&self) {
        bash(&self.place(), &format!("rm -rf *\n{OLD}\necho old >single"));
    }

    pub fn new_state(&self) {
        bash(
            &self.place(),
            &format!("{NEW}\necho newer >single; echo newer >absent"),
        );
    }

    pub fn picture(&self) -> [String; 3] {
        [&self.conf, &self.single, &self.absent].map(|path| picture(path))
    }

    /// Every file is as in one of the two states; nothing else is there but a temporary name.
    pub fn whole(
        &self,
        old: &BTreeMap<PathBuf, String>,
        new: &BTreeMap<PathBuf, String>,
        at: &str,
    ) {
        for (path, text) in contents(&self.place()) {
            let name = path.file_name().unwrap().to_str().unwrap();
            let known = old.get(&path) == Some(&text) || new.get(&path) == Some(&text);
            assert!(
                known || name.starts_with(".self-heal-"),
                "{at}: {} {text:?}",
                path.display()
            );
        }
        for (path, text) in old {
            if new.get(path) == Some(text) {
                assert_eq!(
                    contents(&self.place()).get(path),
                    Some(text),
                    "{at}: {}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn a_restore_killed_anywhere_is_finished_by_the_next() {
    let scene = Scene::new();
    at_each_call(|call, n, children| {
        let at = format!("killed at {call} {n}");
        scene.old();
        let before = scene.picture();
        let old = contents(&scene.place());
        let run_id = new_run("Down");
        scene.house.capture(&run_id);
        scene.new_state();
        let new = contents(&scene.place());
        let ended = killed_at(&scene.house, call, n, children, "restore", &run_id);
        scene.whole(&old, &new, &at);
        scene.house.guard("restore", &run_id).unwrap();
        assert_eq!(scene.picture(), before, "{at}");
        assert_eq!(names(&scene.place()), ["conf", "single"], "{at}");
        ended
    });
}

#[test]
fn a_capture_killed_anywhere_leaves_the_files_alone_and_no_half_snapshot() {
    let scene = Scene::new();
    scene.old();
    let before = scene.picture();
    let backup = scene.house.sandbox.path("backup");
    at_each_call(|call, n, children| {
        let at = format!("killed at {call} {n}");
        let run_id = new_run("Down");
        let ended = killed_at(&scene.house, call, n, children, "capture", &run_id);
        assert_eq!(scene.picture(), before, "{at}");
        let whole = |name: &String| backup.join(name).join("manifest.json").exists();
        if names(&backup).iter().any(whole) {
            // Whole is whole: it can be put back.
            scene.new_state();
            scene.house.guard("restore", &run_id).unwrap();
            assert_eq!(scene.picture(), before, "{at}");
        } else {
            let why = scene.house.guard("restore", &run_id).unwrap_err();
            assert!(why.contains("root has no snapshot of"), "{at}: {why}");
        }
        // The next one clears away what the killed one left.
        scene.house.capture(&new_run("Down"));
        let left = names(&backup);
        assert!(left.iter().all(whole), "{at}: {left:?}");
        for name in left {
            fs::remove_dir_all(backup.join(name)).unwrap();
        }
        ended
    });
}

/// A bound that is too short for the whole tree: each restore goes on where the last one was stopped, and what
/// somebody has changed since then is put back again.
#[test]
fn a_restore_that_is_always_stopped_comes_to_its_end() {
    let house = House::new();
    let conf = house.sandbox.path("conf");
    bash(
        &house.sandbox.path(""),
        "mkdir -p conf/sub; for n in {1..8}; do echo old >conf/$n; echo old >conf/sub/$n; done; ln -s 1 conf/link",
    );
    house.handler("Down", &[&conf]);
    let before = picture(&conf);
    let run_id = new_run("Down");
    let folder = house.capture(&run_id).folder;
    bash(
        &conf,
        "for f in * sub/*; do test -d $f || { rm $f; echo newer >$f; }; done",
    );
    let renames = "?rename,?renameat,?renameat2";
    let mut at_work = 1;
    while !killed_at(&house, renames, 6, false, "restore", &run_id) {
        let lines = fs::read_to_string(folder.join("done")).unwrap();
        assert_eq!(lines.lines().count(), 5 * at_work, "{lines}");
        if at_work == 1 {
            // One that was back already, and half a line.
            fs::write(conf.join("1"), "changed since").unwrap();
            fs::write(folder.join("done"), lines + "0 1 2").unwrap();
        }
        at_work += 1;
        assert!(at_work < 9, "it begins from the start each time");
    }
    // 17 things and one again, five at a time.
    assert_eq!(at_work, 4);
    assert_eq!(picture(&conf), before);
    assert!(folder.join("restored").exists());
}

/// A restore that never has the time for everything gets there all the same.
#[test]
fn a_restore_that_is_cut_short_goes_on_from_there() {
    const FILES: usize = 12;
    let scene = Scene::new();
    let place = scene.place();
    let write = |word: &str| {
        let script =
            format!("mkdir -p conf; for n in {{1..{FILES}}}; do echo {word} >conf/$n; done");
        bash(&place, &script);
    };
    write("old");
    let before = scene.picture();
    let run_id = new_run("Down");
    scene.house.capture(&run_id);
    write("newer");
    let at_its_ninth = killed_at(&scene.house, "rename", 9, false, "restore", &run_id);
    assert!(!at_its_ninth);
    let trace = scene.house.sandbox.path("trace").display().to_string();
    let words = [
        "strace",
        "-o",
        &trace,
        "-e",
        "trace=rename",
        INSTALLED,
        "guard",
        "restore",
        &run_id,
    ];
    let output = scene.house.run(&scene.house.inside(), &words);
    assert!(output.status.success(), "{output:?}");
    let renames = fs::read_to_string(&trace)
        .unwrap()
        .matches("rename(")
        .count();
    assert_eq!(renames, FILES - 8);
    assert_eq!(scene.picture(), before);
    assert_eq!(names(&place), ["conf"]);
}
