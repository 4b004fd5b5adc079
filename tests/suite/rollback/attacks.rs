//! The healer's account is in other hands: what it can make of root's side. Every attack of docs/rollback.md.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use super::house::{HEALER, House, INSTALLED, said, swap_for_link};
use super::{bash, names, new_run, picture};
use crate::stage::run;
use crate::support::chmod;

const SUDO: [&str; 8] = [
    "sudo",
    "-n",
    "/usr/bin/timeout",
    "-k",
    "5",
    "60",
    INSTALLED,
    "guard",
];

/// What no capture or restore may bring into the healer's hands or under its control.
fn victim(house: &House) -> PathBuf {
    let victim = house.file("victim/secret", "of root");
    chmod(&victim, 0o600);
    victim
}

/// Root's snapshots.
fn roots(house: &House) -> Vec<PathBuf> {
    let backup = house.sandbox.path("backup");
    let all = names(&backup).into_iter().map(|name| backup.join(name));
    all.filter(|path| fs::symlink_metadata(path).unwrap().is_dir())
        .filter(|path| run(Command::new("stat").args(["-c", "%u"]).arg(path)) == "0\n")
        .collect()
}

#[test]
fn sudo_lets_nothing_but_a_run_id_through() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.handler("Down", &[&file]);
    let good = new_run("Down");
    let by = house.as_healer();
    let attempt = |words: &[&str]| said(&house.run(&by, words));
    let guard = |words: &[&str]| attempt(&[&SUDO[..], words].concat());
    let with_newline = format!("{good}\nx");
    let with_space = format!("{good} x");
    let long = format!("1-1-1.{}", "a".repeat(129));
    for bad in [
        "",
        "x",
        "../x",
        "1-1-1.",
        "1-1-1./etc/passwd",
        "1-1-1.A/B",
        "1-1-1.A;id",
        "1-1-1.$(id)",
        "1-1-1.-A",
        "-1-1-1.A",
        "--help",
        "1-1-1.A*",
        "1-1-1.é",
        "1-1.A",
        "G-1-1.A",
        "1 1 1.A",
        "1234567890123-1-1.A",
        &with_newline,
        &with_space,
        &long,
    ] {
        for what in ["capture", "restore"] {
            let why = guard(&[what, bad]).unwrap_err();
            assert!(
                why.contains("a password is required"),
                "{what} {bad:?}: {why}"
            );
        }
    }
    for words in [
        &["capture"][..],
        &["capture", &good, "x"],
        &["capture", "--", &good],
        &["capture", "--help"],
        &["-h"],
        &["copy", &good],
    ] {
        let why = guard(words).unwrap_err();
        assert!(why.contains("a password is required"), "{words:?}: {why}");
    }
    let bounded = |bound: &'static str| {
        [
            "sudo",
            "-n",
            "/usr/bin/timeout",
            "-k",
            "5",
            bound,
            INSTALLED,
        ]
    };
    for words in [
        [&bounded("600")[..], &["guard", "capture", &good]].concat(),
        [&bounded("60")[..], &["serve"]].concat(),
        vec!["sudo", "-n", INSTALLED, "guard", "capture", &good],
        [&["sudo", "-n", "-u", "#5"], &SUDO[2..], &["capture", &good]].concat(),
        [
            &["sudo", "-n", "HEAL_CONF=/x"],
            &SUDO[2..],
            &["capture", &good],
        ]
        .concat(),
        [
            &["sudo", "-n", "LD_PRELOAD=/x"],
            &SUDO[2..],
            &["capture", &good],
        ]
        .concat(),
        [&["sudo", "-n", "-E"], &SUDO[2..], &["capture", &good]].concat(),
    ] {
        assert!(attempt(&words).is_err(), "{words:?}");
    }
    assert_eq!(names(&house.sandbox.path("backup")), [""; 0]);
    // And it does let that through.
    guard(&["capture", &good]).unwrap();
    assert_eq!(roots(&house).len(), 1);
}

#[test]
fn ids_that_look_like_one_to_sudo_and_are_none() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.handler("Down", &[&file]);
    for bad in [
        "01-1-1.Down",
        "1-01-1.Down",
        "1-1-9999999999.Down",
        "1-9999999999-1.Down",
    ] {
        for what in ["capture", "restore"] {
            let why = house.sudo_guard(what, bad).unwrap_err();
            assert!(why.contains("that is no run id"), "{bad}: {why}");
        }
    }
    assert_eq!(names(&house.sandbox.path("backup")), [""; 0]);
}

#[test]
fn no_variable_of_the_callers_counts() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.handler("Down", &[&file]);
    let victim = victim(&house);
    // A configuration, handlers and a shelf of the attacker's.
    let evil = house.healers("evil");
    let evil_handler = evil.join("Down.sh");
    fs::write(
        &evil_handler,
        format!("#!/bin/sh\n# self-heal: snapshot={}\n", victim.display()),
    )
    .unwrap();
    chmod(&evil_handler, 0o755);
    bash(&evil, "mkdir -m 700 shelf");
    let conf = format!(
        "HEAL_HANDLER_DIR={0}\nHEAL_BACKUP_DIR={0}/shelf\n",
        evil.display()
    );
    fs::write(evil.join("conf"), conf).unwrap();
    bash(&evil, &format!("chown -R {HEALER}:{HEALER} ."));
    let hostile = |command: &mut Command| {
        command
            .env("HEAL_CONF", evil.join("conf"))
            .env("HEAL_HANDLER_DIR", &evil)
            .env("HEAL_BACKUP_DIR", evil.join("shelf"))
            .env("HEAL_STATE_DIR", &evil)
            .env("HEAL_BACKUP_KEEP", "nonsense")
            .env("TMPDIR", &evil)
            .env("PATH", &evil)
            .env("LD_PRELOAD", evil.join("x.so"))
            .env("HOME", &evil);
        command.output().unwrap()
    };
    // Through sudo, and as if sudo had let all of it through.
    let words = |run: &str| -> Vec<String> {
        let words = [&["/usr/bin/sudo"], &SUDO[1..], &["capture", run]].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    for by in [house.as_healer(), house.inside()] {
        let run_id = new_run("Down");
        let words = words(&run_id);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let words = if by == house.inside() {
            vec![INSTALLED, "guard", "capture", &run_id]
        } else {
            words
        };
        let by: Vec<String> = by.iter().map(|word| absolute(word)).collect();
        let took = said(&hostile(&mut house.command(&by, &words))).unwrap();
        let took: Value = serde_json::from_str(&took).unwrap();
        assert_eq!(took["taken"], serde_json::json!([file]));
    }
    assert_eq!(names(&evil.join("shelf")), [""; 0]);
    assert_eq!(roots(&house).len(), 2);
}

/// The tools before the command are found whatever PATH the command gets.
fn absolute(word: &str) -> String {
    match word {
        "nsenter" | "setpriv" => format!("/usr/bin/{word}"),
        other => other.to_owned(),
    }
}

#[test]
fn a_handler_that_the_healer_could_change_names_nothing() {
    let house = House::new();
    let victim = victim(&house);
    let handler = house.handler("Down", &[&victim]);
    let folder = handler.parent().unwrap().to_owned();
    let restore = |_: &House| {
        chown(&folder, Some(0), Some(0)).unwrap();
        chmod(&folder, 0o755);
        house.handler("Down", &[&victim]);
        chown(&handler, Some(0), Some(0)).unwrap();
    };
    let spoil: [(&str, &dyn Fn()); 6] = [
        ("belongs to uid", &|| {
            chown(&handler, Some(HEALER), None).unwrap()
        }),
        ("is writable by group", &|| chmod(&handler, 0o775)),
        ("is writable by group", &|| chmod(&handler, 0o757)),
        ("belongs to uid", &|| {
            chown(&folder, Some(HEALER), None).unwrap()
        }),
        ("is writable by group", &|| chmod(&folder, 0o777)),
        ("belongs to uid", &|| {
            let own = house.sandbox.path("own");
            let _ = fs::create_dir(&own);
            fs::copy(&handler, own.join("Down.sh")).unwrap();
            chown(&own, Some(HEALER), None).unwrap();
            chown(own.join("Down.sh"), Some(HEALER), None).unwrap();
            swap_for_link(&handler, &own.join("Down.sh"));
        }),
    ];
    for (words, spoil) in spoil {
        spoil();
        let why = house.guard("capture", &new_run("Down")).unwrap_err();
        assert!(why.contains(words), "{why}");
        let _ = fs::remove_file(&handler);
        restore(&house);
    }
    assert_eq!(names(&house.sandbox.path("backup")), [""; 0]);
    house.capture(&new_run("Down"));
}

#[test]
fn odd_paths_in_a_directive_make_the_handler_unusable() {
    let house = House::new();
    let x = house.file("etc/x", "old");
    let etc = x.parent().unwrap().display().to_string();
    for path in [
        format!("{etc}/../victim/secret"),
        format!("{etc}/./x"),
        format!("{etc}//x"),
        format!("{etc}/x/"),
        "/".to_owned(),
        "etc/x".to_owned(),
        "..".to_owned(),
        "$HOME".to_owned(),
        format!("{etc}/x snapshot={etc}/x"),
    ] {
        house.handler("Down", &[Path::new(&path)]);
        let why = house.guard("capture", &new_run("Down")).unwrap_err();
        assert!(why.contains("snapshot"), "{path}: {why}");
    }
    house.handler("Down", &[]);
    let why = house.guard("capture", &new_run("Down")).unwrap_err();
    assert!(why.contains("names nothing by snapshot="), "{why}");
    assert_eq!(names(&house.sandbox.path("backup")), [""; 0]);
}

#[test]
fn another_alerts_run_id_reaches_that_alerts_files_only() {
    let house = House::new();
    let (one, two) = (house.file("etc/one", "old"), house.file("etc/two", "old"));
    house.handler("One", &[&one]);
    house.handler("One.Two", &[&two]);
    let took = house.capture(&new_run("One.Two"));
    assert_eq!(took.taken, [two]);
    let took = house.capture(&new_run("One"));
    assert_eq!(took.taken, [one]);
    assert!(
        house
            .guard("capture", &new_run("Two"))
            .unwrap_err()
            .contains("has no handler for Two")
    );
}

#[test]
fn ground_that_is_not_roots_is_refused_by_name() {
    let house = House::new();
    let victim = victim(&house);
    let own = house.healers("own");
    bash(&own, "mkdir inner; echo x >inner/file; chown -R 0:0 inner");
    symlink(victim.parent().unwrap(), own.join("link")).unwrap();
    symlink(victim.parent().unwrap(), house.sandbox.path("roots-link")).unwrap();
    let tree = house.file("etc/tree/inner/file", "old");
    let tree = tree.parent().unwrap().parent().unwrap().to_owned();
    chown(tree.join("inner"), Some(HEALER), None).unwrap();
    let open = house.file("etc/open/file", "old");
    chmod(open.parent().unwrap(), 0o1777);
    for (path, words) in [
        (own.join("inner/file"), "own: belongs to uid"),
        (own.join("link/secret"), "own: belongs to uid"),
        (own.join("nothing"), "own: belongs to uid"),
        (own.join("no/such/place"), "own: belongs to uid"),
        (own.clone(), "own: belongs to uid"),
        (
            house.sandbox.path("roots-link/secret"),
            "roots-link: is a symbolic link",
        ),
        (tree, "tree/inner: belongs to uid"),
        (
            open.clone(),
            "open: is writable by group or others (mode 1777)",
        ),
        (
            open.with_file_name("new"),
            "open: is writable by group or others (mode 1777)",
        ),
        (PathBuf::from("/proc/1/mem"), "/proc"),
        (PathBuf::from("/dev/null"), "/dev/null: is no regular file"),
    ] {
        house.handler("Down", &[&path]);
        let why = house.guard("capture", &new_run("Down")).unwrap_err();
        assert!(why.contains(words), "{}: {why}", path.display());
    }
    assert_eq!(names(&house.sandbox.path("backup")), [""; 0]);
}

/// The healer swaps a folder of its own for a link to root's, without end, while root is asked to copy from it.
#[test]
fn a_link_swapped_in_at_any_moment_is_not_followed() {
    let house = House::new();
    let victim = victim(&house);
    let own = house.healers("own");
    house.handler("Down", &[&own.join("way/secret")]);
    let script = format!(
        "cd {}; mkdir way; echo mine >way/secret; ln -s {} link
        until test -e stop; do mv way d; mv link way; mv way link; mv d way; done",
        own.display(),
        victim.parent().unwrap().display()
    );
    let mut swapping = house
        .command(&house.as_healer(), &["bash", "-c", &script])
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    for _ in 0..30 {
        assert!(house.guard("capture", &new_run("Down")).is_err());
    }
    fs::write(own.join("stop"), "").unwrap();
    swapping.wait().unwrap();
    assert_eq!(names(&house.sandbox.path("backup")), [""; 0]);
}

/// A handler with rights of root's opened what was captured, and the healer was quick.
#[test]
fn links_planted_in_an_opened_tree_are_not_followed_by_the_restore() {
    let house = House::new();
    let victim = victim(&house);
    let folder = house.file("etc/tree/inner/file", "old");
    let tree = folder.parent().unwrap().parent().unwrap().to_owned();
    let before = picture(&tree);
    let victims = picture(victim.parent().unwrap());
    for (opening, planting) in [
        ("chmod -R 777 .", "rm inner/file; ln -s {victim} inner/file"),
        ("chmod -R 777 .", "mv inner x; ln -s {folder} inner"),
        (
            "chmod -R 777 .",
            "mv inner x; ln -s {folder} inner; ln {tree}/x/file more; mkfifo pipe",
        ),
        ("chown -R {healer} .", "rm -r inner; ln -s {folder} inner"),
        (
            "chown -R {healer} .; setfacl -R -m u:{healer}:rwx .",
            "rm -r inner; mkdir -p inner/file/deep; chmod 0 inner",
        ),
        ("rm -r inner; ln -s {folder} inner", "true"),
    ] {
        house.handler("Down", &[&tree]);
        let fill = |text: &str| {
            text.replace("{victim}", &victim.display().to_string())
                .replace("{folder}", &victim.parent().unwrap().display().to_string())
                .replace("{tree}", &tree.display().to_string())
                .replace("{healer}", &HEALER.to_string())
        };
        let run_id = new_run("Down");
        house.capture(&run_id);
        bash(&tree, &fill(opening));
        let planted = house.healer_does(&format!("cd {}; {}", tree.display(), fill(planting)));
        assert!(planted.status.success(), "{planting}: {planted:?}");
        house.guard("restore", &run_id).unwrap();
        assert_eq!(picture(&tree), before, "{planting}");
        assert_eq!(picture(victim.parent().unwrap()), victims, "{planting}");
    }
}

/// The folders above what was captured must still be root's: else the way itself could lead anywhere.
#[test]
fn a_way_that_is_no_longer_roots_is_refused_by_the_restore() {
    let house = House::new();
    let victim = victim(&house);
    let file = house.file("etc/conf/secret", "old");
    let folder = file.parent().unwrap().to_owned();
    house.handler("Down", &[&file]);
    let run_id = new_run("Down");
    house.capture(&run_id);
    fs::write(&file, "new").unwrap();
    let undone = || {
        let _ = fs::remove_file(&folder).or_else(|_| fs::remove_dir_all(&folder));
        fs::create_dir(&folder).unwrap();
        fs::write(&file, "new").unwrap();
    };
    for (words, spoil) in [
        ("conf: belongs to uid", format!("chown {HEALER} conf")),
        ("conf: is writable by group", "chmod 777 conf".to_owned()),
        (
            "conf: is a symbolic link",
            format!(
                "rm -r conf; ln -s {} conf",
                victim.parent().unwrap().display()
            ),
        ),
    ] {
        bash(folder.parent().unwrap(), &spoil);
        let why = house.guard("restore", &run_id).unwrap_err();
        assert!(why.contains(words), "{why}");
        undone();
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "of root");
    house.guard("restore", &run_id).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn a_planted_snapshot_is_not_put_back() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.handler("Down", &[&file]);
    let run_id = new_run("Down");
    let folder = house.capture(&run_id).folder;
    let backup = house.sandbox.path("backup");
    fs::write(&file, "by the administrator").unwrap();

    // The healer can neither read nor touch nor rename what is root's.
    for script in [
        format!("cat {}/manifest.json", folder.display()),
        format!("echo x >{}/files/0", folder.display()),
        format!("mv {} {}/other", folder.display(), backup.display()),
        format!("rm -rf {}", folder.display()),
    ] {
        assert!(!house.healer_does(&script).status.success(), "{script}");
    }
    // The same bytes, forged, as the healer's: a folder, and a link to one.
    let forged = |name: &str, owner: u32| {
        let place = backup.join(name);
        run(Command::new("cp").arg("-a").args([&folder, &place]));
        fs::write(place.join("files/0"), "forged").unwrap();
        run(Command::new("chown")
            .args(["-R", &owner.to_string()])
            .arg(&place));
        place
    };
    let aside = house.sandbox.path("aside");
    fs::rename(&folder, &aside).unwrap();
    let name = folder.file_name().unwrap().to_str().unwrap();
    run(Command::new("cp").arg("-a").args([&aside, &folder]));
    let place = forged(&format!("{name}~2"), HEALER);
    fs::remove_dir_all(&folder).unwrap();
    fs::rename(&place, &folder).unwrap();
    let link = backup.join(format!("{name}~3"));
    symlink(&aside, &link).unwrap();
    let why = house.guard("restore", &run_id).unwrap_err();
    assert!(why.contains("root has no snapshot of"), "{why}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "by the administrator");
}

#[test]
fn a_snapshot_of_another_run_under_this_ones_name_is_not_put_back() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.handler("Down", &[&file]);
    let older = house.capture(&new_run("Down")).folder;
    let run_id = new_run("Down");
    let newer = house.capture(&run_id).folder;
    fs::remove_dir_all(&newer).unwrap();
    // Root's own, but of another run: as a restored backup of the machine could have it.
    fs::rename(&older, &newer).unwrap();
    fs::write(&file, "by the administrator").unwrap();
    assert!(
        house
            .guard("restore", &run_id)
            .unwrap_err()
            .contains("root has no snapshot of")
    );
    // Its manifest is damaged: nothing is guessed.
    fs::write(newer.join("manifest.json"), "{}").unwrap();
    assert!(
        house
            .guard("restore", &run_id)
            .unwrap_err()
            .contains("manifest.json: ")
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "by the administrator");
}

#[test]
fn a_shelf_that_the_healer_could_change_is_no_shelf() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.handler("Down", &[&file]);
    let run_id = new_run("Down");
    house.capture(&run_id);
    fs::write(&file, "new").unwrap();
    let backup = house.sandbox.path("backup");
    let own = house.healers("own");
    symlink(&backup, own.join("shelf")).unwrap();
    let spoilt = |words: &str| {
        for (what, run) in [("capture", new_run("Down")), ("restore", run_id.clone())] {
            let why = house.guard(what, &run).unwrap_err();
            assert!(why.contains(words), "{what}: {why}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
    };
    chown(&backup, Some(HEALER), None).unwrap();
    spoilt("or belongs to uid");
    chown(&backup, Some(0), None).unwrap();
    chmod(&backup, 0o770);
    spoilt("is writable by others and not sticky");
    chmod(&backup, 0o1770);
    house.configure(&format!("#\nHEAL_LOG_DIR={}\n", own.display()));
    let conf = format!(
        "HEAL_HANDLER_DIR={}\nHEAL_BACKUP_DIR={}/shelf\n",
        house.sandbox.path("handlers").display(),
        own.display()
    );
    house.etc("self-heal/self-heal.conf", &conf, 0o644);
    spoilt("own belongs to uid");
    house.configure("");
    house.guard("restore", &run_id).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
}

#[test]
fn a_configuration_that_the_healer_could_change_is_none() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.handler("Down", &[&file]);
    house.etc("self-heal/self-heal.conf", "HEAL_HANDLER_DIR=/x\n", 0o666);
    let why = house.guard("capture", &new_run("Down")).unwrap_err();
    assert!(
        why.contains("self-heal.conf is writable by group or others"),
        "{why}"
    );
}

#[test]
fn the_same_run_is_put_back_once() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.handler("Down", &[&file]);
    let run_id = new_run("Down");
    house.capture(&run_id);
    // Not captured again either: that would be the handler's version.
    fs::write(&file, "by the handler").unwrap();
    assert!(
        house
            .guard("capture", &run_id)
            .unwrap_err()
            .contains("is captured already")
    );
    house.guard("restore", &run_id).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    fs::write(&file, "by the administrator").unwrap();
    assert!(
        house
            .sudo_guard("restore", &run_id)
            .unwrap()
            .contains("\"changed\":0")
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "by the administrator");
}

#[test]
fn an_old_snapshot_is_for_a_person() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.handler("Down", &[&file]);
    let run_id = new_run("Down");
    let folder = house.capture(&run_id).folder;
    let path = folder.join("manifest.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    manifest["captured"] = (manifest["captured"].as_i64().unwrap() - 2 * 86_400_000 - 1).into();
    fs::write(&path, manifest.to_string()).unwrap();
    fs::write(&file, "by the administrator").unwrap();
    let why = house.guard("restore", &run_id).unwrap_err();
    assert!(
        why.contains("is older than two days: a person has to put it back"),
        "{why}"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "by the administrator");
}

#[test]
fn a_hard_link_into_roots_folder_is_neither_written_through_nor_a_way_out() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    let second = house.healers("own").join("second");
    fs::hard_link(&file, &second).unwrap();
    house.handler("Down", &[&file]);
    let run_id = new_run("Down");
    house.capture(&run_id);
    fs::write(&file, "new").unwrap();
    house.guard("restore", &run_id).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "old");
    assert_eq!(fs::read_to_string(&second).unwrap(), "new");
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
        0o644
    );
}

/// What the healer may have put in the place of its records: root neither opens it nor waits for it.
#[test]
fn planted_records_do_nothing_to_root() {
    let house = House::new();
    let file = house.file("etc/x", "old");
    house.configure("HEAL_BACKUP_KEEP=1,30d\n");
    house.handler("Down", &[&file]);
    let state = house.sandbox.path("state");
    let secret = house.sandbox.path("secret");
    fs::create_dir(&secret).unwrap();
    chmod(&secret, 0o700);
    mkfifo(&secret.join("pipe"), Mode::S_IRWXU).unwrap();
    let plant = |script: &str| {
        let script = format!("cd {}; rm -rf records reserve; {script}", state.display());
        assert!(house.healer_does(&script).status.success(), "{script}");
    };
    for script in [
        "mkdir records; mkfifo records/pipe; ln -s /dev/zero records/zero; ln -s /dev/watchdog records/dog",
        "mkdir records; head -c 100000 /dev/urandom >records/noise; mkdir records/folder",
        &format!("ln -s {} records", secret.display()),
        "ln -s /dev records",
        "mkfifo records",
        "mkfifo reserve; mkdir records",
        "ln -s /dev/watchdog reserve; mkdir records",
        "true",
    ] {
        plant(script);
        let began = Instant::now();
        let run_id = new_run("Down");
        let trace = house.sandbox.path("trace");
        let shown = trace.display().to_string();
        let words = [
            "strace",
            "-o",
            &shown,
            "-e",
            "trace=openat,open,setresuid",
            INSTALLED,
        ];
        let words = [&words[..], &["guard", "capture", &run_id]].concat();
        said(&house.run(&house.inside(), &words)).unwrap();
        assert!(began.elapsed() < Duration::from_secs(20), "{script}");
        // Between the two changes of rights, and nowhere else, the state folder is read.
        let trace = fs::read_to_string(&trace).unwrap();
        let place = state.display().to_string();
        let mut rights = "root";
        for line in trace.lines() {
            if line.starts_with("setresuid(") {
                rights = if line.contains(&HEALER.to_string()) {
                    "healer"
                } else {
                    "root"
                };
            }
            assert!(
                !line.contains(&place) || rights == "healer",
                "{script}: {line}"
            );
        }
        assert!(trace.contains(&place), "{script}: {trace}");
        assert_eq!(rights, "root", "{trace}");
    }
}

#[test]
fn limits_that_the_healer_sets_leave_every_file_whole() {
    let house = House::new();
    let (old, new) = ("old\n".repeat(20_000), "new\n".repeat(20_000));
    let file = house.file("etc/x", &old);
    house.handler("Down", &[&file]);
    for limit in [
        "umask 777",
        "ulimit -f 1",
        "ulimit -f 40",
        "ulimit -n 6",
        "ulimit -t 0",
        "ulimit -v 2000",
    ] {
        let sudo = |what: &str, run: &str| {
            let words = SUDO.join(" ");
            house.healer_does(&format!(
                "{limit} 2>/dev/null; exec {words} {what} {run} </dev/null"
            ))
        };
        fs::write(&file, &old).unwrap();
        let run_id = new_run("Down");
        let captured = sudo("capture", &run_id).status.success();
        for folder in roots(&house) {
            let whole = folder.join("manifest.json").exists();
            assert!(whole || !captured, "{limit}: {}", folder.display());
        }
        if !captured {
            // Whatever was left, it is not taken for a snapshot.
            assert!(house.guard("restore", &run_id).is_err(), "{limit}");
            continue;
        }
        fs::write(&file, &new).unwrap();
        let restored = sudo("restore", &run_id).status.success();
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text == old || text == new && !restored,
            "{limit}: {} bytes",
            text.len()
        );
        house.guard("restore", &run_id).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), old, "{limit}");
        assert_eq!(
            fs::metadata(&file).unwrap().permissions().mode() & 0o7777,
            0o644
        );
    }
}
