//! What a restore gives back, and what it leaves alone.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Guard, bash, inodes, names, picture};
use crate::support::Sandbox;

/// A tree with everything that a folder of configuration files may hold.
const TREE: &str = "
    mkdir -m 750 conf conf/sites conf/empty conf/locked
    echo main >conf/main; echo one >conf/sites/one; echo two >conf/sites/two; echo key >conf/locked/key
    : >conf/nothing; head -c 200000 /dev/urandom >conf/large; ln -s sites/one conf/default; ln -s /nowhere conf/broken
    printf odd >$'conf/sites/o d\\n%\\xff'
    chmod 640 conf/main; chmod 4755 conf/sites/one; chmod 400 conf/locked/key
    chown 33:44 conf/main; chown 55:66 conf/sites/two; chown -h 77:88 conf/default; chgrp 99 conf/sites
    setfattr -n user.origin -v 'the package' conf/main; setfattr -n user.folder -v yes conf/sites
    setfacl -m u:1234:r conf/main; setfacl -m u:1234:rx conf/sites; setfacl -d -m g:4321:r conf/sites
    chmod 500 conf/locked
    touch -d '2011-12-13 14:15:16.171819201' conf/main conf/sites/one conf/empty
    touch -h -d '2001-02-03 04:05:06.070809010' conf/default
    touch -d '2021-02-03 04:05:06.070809010' conf/sites conf
";

fn tree(sandbox: &Sandbox) -> std::path::PathBuf {
    bash(&sandbox.path(""), TREE);
    sandbox.path("conf")
}

/// Each thing that a handler may have done, alone; then everything comes back and nothing else was touched.
const DAMAGES: &[(&str, &str)] = &[
    ("content", "echo other >conf/main"),
    ("content of the same length", "echo MAIN >conf/main"),
    (
        "content, with the old time",
        "cp -p conf/main t; echo MAIN >conf/main; touch -r t conf/main; rm t",
    ),
    ("replaced", "echo new >n; mv n conf/main"),
    ("emptied", ": >conf/large"),
    ("mode", "chmod 666 conf/main"),
    ("set-id bit", "chmod 755 conf/sites/one"),
    ("owner", "chown 0 conf/main"),
    ("group", "chgrp 0 conf/sites/two"),
    ("time", "touch conf/nothing"),
    (
        "attribute changed",
        "setfattr -n user.origin -v me conf/main",
    ),
    ("attribute removed", "setfattr -x user.origin conf/main"),
    ("attribute added", "setfattr -n user.new -v 1 conf/nothing"),
    ("access list", "setfacl -m u:1234:rw conf/main"),
    ("access list added", "setfacl -m u:7:rw conf/nothing"),
    ("access list removed", "setfacl -b conf/main"),
    ("folder's mode", "chmod 777 conf/sites"),
    ("folder's owner", "chown 5:5 conf/sites"),
    ("folder's time", "touch conf/empty"),
    ("folder's access list", "setfacl -m u:9:rwx conf/empty"),
    ("folder's access list removed", "setfacl -b conf/sites"),
    (
        "folder's default list added",
        "setfacl -d -m u:9:rwx conf/empty",
    ),
    (
        "folder's attribute removed",
        "setfattr -x user.folder conf/sites",
    ),
    ("everything open", "chmod -R 777 conf"),
    ("everything given away", "chown -R 7:7 conf"),
    ("file removed", "rm conf/main"),
    ("folder removed", "rm -r conf/sites"),
    ("locked folder removed", "rm -r conf/locked"),
    ("all removed", "rm -r conf"),
    ("moved away", "mv conf gone; mkdir conf"),
    ("file added", "echo x >conf/sites/new"),
    (
        "folder added",
        "mkdir -p conf/new/deep; echo x >conf/new/deep/x; chmod 0 conf/new",
    ),
    (
        "pipe and socket added",
        "mkfifo conf/pipe; mknod conf/zero c 1 5",
    ),
    ("link's target", "ln -sfn sites/two conf/default"),
    ("link becomes file", "rm conf/default; echo x >conf/default"),
    ("file becomes link", "ln -sf /etc/passwd conf/main"),
    (
        "file becomes folder",
        "rm conf/main; mkdir conf/main; echo x >conf/main/x",
    ),
    ("file becomes pipe", "rm conf/main; mkfifo conf/main"),
    (
        "folder becomes file",
        "rm -r conf/sites; echo x >conf/sites",
    ),
    (
        "folder becomes link",
        "mv conf/sites s; ln -s ../s conf/sites",
    ),
    ("all becomes file", "rm -r conf; echo x >conf"),
    ("all becomes link", "mv conf s; ln -s s conf"),
    ("renamed", "mv conf/sites/one conf/sites/three"),
    (
        "swapped",
        "mv conf/sites/one t; mv conf/sites/two conf/sites/one; mv t conf/sites/two",
    ),
    ("hard link made", "ln conf/main conf/second"),
];

#[test]
fn whatever_a_handler_did_is_undone() {
    for (what, damage) in DAMAGES {
        let sandbox = Sandbox::new();
        let conf = tree(&sandbox);
        let before = picture(&conf);
        let guard = Guard::new(&sandbox, &[&conf]);
        guard.capture();
        assert_eq!(
            picture(&conf),
            before,
            "{what}: the capture changed something"
        );
        bash(&sandbox.path(""), damage);
        assert_ne!(picture(&conf), before, "{what}: nothing was damaged");
        assert!(guard.restore() > 0, "{what}");
        assert_eq!(picture(&conf), before, "{what}");
        assert_eq!(guard.restore(), 0, "{what}: again");
        assert_eq!(picture(&conf), before, "{what}: again");
    }
}

#[test]
fn the_same_for_single_paths() {
    for (what, make, damage) in [
        (
            "a file",
            "echo old >x; chmod 604 x; setfacl -m u:5:r x",
            "echo new >x",
        ),
        ("a file removed", "echo old >x; chown 5:6 x", "rm x"),
        ("a link", "ln -s old x", "ln -sfn new x"),
        ("a link removed", "ln -s old x", "rm x"),
        (
            "a link becomes a folder",
            "ln -s old x",
            "rm x; mkdir x; touch x/y",
        ),
        ("an empty folder", "mkdir -m 700 x", "touch x/y"),
        ("absent, a file made", "true", "echo new >x"),
        ("absent, a link made", "true", "ln -s /etc/passwd x"),
        (
            "absent, a folder made",
            "true",
            "mkdir -p x/y/z; touch x/y/z/f; chmod 0 x/y",
        ),
        ("absent, a pipe made", "true", "mkfifo x"),
    ] {
        let sandbox = Sandbox::new();
        let place = sandbox.path("place");
        fs::create_dir(&place).unwrap();
        bash(&place, make);
        let (x, neighbour) = (place.join("x"), place.join("neighbour"));
        fs::write(&neighbour, "not guarded").unwrap();
        let before = picture(&x);
        let guard = Guard::new(&sandbox, &[&x]);
        guard.capture();
        bash(
            &place,
            &format!("{damage}\necho 'not guarded, changed' >neighbour"),
        );
        assert_ne!(picture(&x), before, "{what}");
        guard.restore();
        assert_eq!(picture(&x), before, "{what}");
        assert_eq!(
            fs::read_to_string(&neighbour).unwrap(),
            "not guarded, changed\n"
        );
        let left: Vec<String> = super::names(&place);
        let expected = if before == "nothing" {
            vec!["neighbour"]
        } else {
            vec!["neighbour", "x"]
        };
        assert_eq!(left, expected, "{what}");
    }
}

#[test]
fn what_is_absent_with_its_folder_stays_absent() {
    let sandbox = Sandbox::new();
    let x = sandbox.path("not/yet/x");
    let guard = Guard::new(&sandbox, &[&x]);
    guard.capture();
    assert_eq!(guard.restore(), 0);
    let guard = Guard::new(&sandbox, &[&x]);
    guard.capture();
    bash(
        &sandbox.path(""),
        "mkdir -p not/yet; echo new >not/yet/x; echo other >not/yet/y",
    );
    assert_eq!(guard.restore(), 1);
    assert_eq!(super::names(&sandbox.path("not/yet")), ["y"]);
}

#[test]
fn what_was_not_touched_keeps_its_inode() {
    let sandbox = Sandbox::new();
    let conf = tree(&sandbox);
    let before = inodes(&conf);
    let guard = Guard::new(&sandbox, &[&conf]);
    guard.capture();
    assert_eq!(guard.restore(), 0);
    assert_eq!(inodes(&conf), before);

    let guard = Guard::new(&sandbox, &[&conf]);
    guard.capture();
    fs::write(conf.join("main"), "other").unwrap();
    // The file; that its folder's times are as before is no change.
    assert_eq!(guard.restore(), 1);
    let without = |text: &str| -> String {
        text.lines()
            .filter(|line| !line.starts_with("main "))
            .collect()
    };
    assert_eq!(without(&inodes(&conf)), without(&before));
    assert_ne!(inodes(&conf), before);
}

#[test]
fn a_second_name_of_a_file_is_not_written_through() {
    let sandbox = Sandbox::new();
    let (x, y) = (sandbox.write("place/x", "old"), sandbox.path("place/y"));
    fs::hard_link(&x, &y).unwrap();
    let guard = Guard::new(&sandbox, &[&x]);
    guard.capture();
    // Through both names: it is one file.
    fs::write(&x, "new").unwrap();
    assert_eq!(guard.restore(), 1);
    assert_eq!(fs::read_to_string(&x).unwrap(), "old");
    assert_eq!(fs::read_to_string(&y).unwrap(), "new");
    assert_ne!(
        fs::metadata(&x).unwrap().ino(),
        fs::metadata(&y).unwrap().ino()
    );
}

#[test]
fn a_link_is_copied_as_a_link_and_its_target_left_alone() {
    let sandbox = Sandbox::new();
    let target = sandbox.write("target", "old");
    let link = sandbox.path("link");
    std::os::unix::fs::symlink(&target, &link).unwrap();
    let guard = Guard::new(&sandbox, &[&link]);
    let folder = guard.capture();
    assert!(
        fs::symlink_metadata(folder.join("files/0"))
            .unwrap()
            .is_symlink()
    );
    fs::write(&target, "new").unwrap();
    assert_eq!(guard.restore(), 0);
    assert_eq!(fs::read_to_string(&target).unwrap(), "new");
}

#[test]
fn several_paths_each_by_itself() {
    let sandbox = Sandbox::new();
    let conf = tree(&sandbox);
    let file = sandbox.write("place/file", "old");
    let absent = sandbox.path("place/absent");
    let before: Vec<String> = [&conf, &file, &absent].map(|path| picture(path)).into();
    let guard = Guard::new(&sandbox, &[&conf, &file, &absent]);
    guard.capture();
    bash(
        &sandbox.path(""),
        "rm -r conf; echo new >place/file; echo new >place/absent",
    );
    guard.restore();
    let after: Vec<String> = [&conf, &file, &absent].map(|path| picture(path)).into();
    assert_eq!(after, before);
}

#[test]
fn one_that_cannot_be_put_back_does_not_keep_the_others_from_it() {
    let sandbox = Sandbox::new();
    let (one, two) = (sandbox.write("a/one", "old"), sandbox.write("b/two", "old"));
    let guard = Guard::new(&sandbox, &[&one, &two]);
    let folder = guard.capture();
    bash(&sandbox.path(""), "rm -r a; echo new >b/two");
    let failed = guard.try_restore().unwrap_err();
    assert_eq!(failed.folder, folder);
    assert!(
        failed.why.contains("a/one: its folder is gone"),
        "{}",
        failed.why
    );
    assert_eq!(fs::read_to_string(&two).unwrap(), "old");
    // A person makes the folder, and it goes on.
    fs::create_dir(sandbox.path("a")).unwrap();
    assert!(guard.restore() > 0);
    assert_eq!(fs::read_to_string(Path::new(&one)).unwrap(), "old");
}

/// Folders and files that nobody may change, root included, as chattr(1) +i makes them. Within the tree of one path.
#[test]
fn one_entry_that_cannot_be_put_back_does_not_keep_the_others_from_it() {
    let sandbox = Sandbox::new();
    bash(
        &sandbox.path(""),
        "mkdir -p conf/{a,b,f,z} elsewhere; echo old | tee conf/{a,b,f,z}/{1,2,3} elsewhere/1; ln -s ../../elsewhere/1 conf/f/0",
    );
    let conf = sandbox.path("conf");
    let before = picture(&conf);
    let guard = Guard::new(&sandbox, &[&conf]);
    guard.capture();
    // b is a link that stays, f takes nothing but new names: what was copied there cannot be removed.
    bash(
        &conf,
        "echo new | tee {a,b,f,z}/{1,2,3}; ln -sfn gone f/0; touch a/made z/made; rm -r b; ln -s ../elsewhere b; chmod 700 z
        chattr +i a/2 a/made; chattr +a f; chattr +i .",
    );
    let failed = guard.try_restore();
    let elsewhere = fs::read_to_string(sandbox.path("elsewhere/1")).unwrap();
    let state = ["a/1", "a/2", "a/3", "f/1", "z/1", "z/2", "z/3"]
        .map(|name| fs::read_to_string(conf.join(name)).unwrap());
    let left = conf.join("z/made").exists();
    let mode = picture(&conf.join("z"));
    bash(&conf, "chattr -i . a/2 a/made; chattr -a f");
    let why = failed.unwrap_err().why;
    assert!(why.contains("Operation not permitted"), "{why}");
    assert!(why.contains(" more below "), "{why}");
    assert_eq!(
        state.map(|text| text.trim().to_owned()),
        ["old", "new", "old", "new", "old", "old", "old"],
        "{why}"
    );
    assert!(!left && mode.contains("z d 755"), "{mode}");
    assert_eq!(elsewhere, "old\n", "written through a link");
    // A person takes the attribute away, and it goes on.
    assert!(guard.restore() > 0);
    assert_eq!(picture(&conf), before);
    assert_eq!(names(&sandbox.path("elsewhere")), ["1"]);
}

#[test]
fn what_somebody_changes_after_a_restore_is_his() {
    let sandbox = Sandbox::new();
    let file = sandbox.write("place/file", "old");
    let guard = Guard::new(&sandbox, &[&file]);
    guard.capture();
    fs::write(&file, "new").unwrap();
    assert_eq!(guard.restore(), 1);
    fs::write(&file, "by hand").unwrap();
    assert_eq!(guard.restore(), 0);
    assert_eq!(fs::read_to_string(&file).unwrap(), "by hand");
}
