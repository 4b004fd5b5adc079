//! DiskFull on small file systems of its own, with every kind of file that must not go; and once with sudo, journald
//! and apt in a container.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use super::machine::{by_hand, post, with_handlers};
use super::{ended, handler};
use crate::chain::shipped::Shipped;
use crate::stage::{STRANGER, fill, in_a_namespace_of_its_own, mount_tmpfs, run};
use crate::support::{Alert, Sandbox, chmod};

/// Where the disk is. Above it is nothing but root's: /tmp, where a sandbox is, would not do.
const DISK: &str = "/mnt/disk";

/// A disk of 16 MiB, and both parts of the handler made to look at it. journalctl and apt-get are stand-ins that say
/// in `called` that they were called, then do what the test gives them to do.
struct Disk {
    sandbox: Sandbox,
    handler: PathBuf,
    root_part: PathBuf,
    list: PathBuf,
}

impl Disk {
    fn ext4() -> Disk {
        let disk = Disk::unmounted();
        let image = disk.sandbox.path("image");
        File::create(&image).unwrap().set_len(16 << 20).unwrap();
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(&image));
        run(Command::new("mount")
            .args(["-o", "loop"])
            .arg(&image)
            .arg(DISK));
        disk.furnished()
    }

    fn tmpfs() -> Disk {
        let disk = Disk::unmounted();
        mount_tmpfs(DISK.as_ref(), "16m");
        disk.furnished()
    }

    fn unmounted() -> Disk {
        mount_tmpfs("/mnt".as_ref(), "1m");
        fs::create_dir(DISK).unwrap();
        let sandbox = Sandbox::new();
        let list = sandbox.write("list", "");
        let here = |name: &str| sandbox.path(name).display().to_string();
        let [called, lock, list_path] = ["called", "dpkg-lock", "list"].map(here);
        sandbox.write("dpkg-lock", "");
        for tool in ["journalctl", "apt-get"] {
            let text = format!(
                "#!/bin/bash\necho {tool} \"$@\" >>{called}\n. {}-does\n",
                here(tool)
            );
            sandbox.script(tool, &text);
            sandbox.write(&format!("{tool}-does"), "");
        }
        let root_part = Shipped::read("handlers/root/disk-full.sh")
            .with(
                "list=/etc/self-heal/disk-full.conf",
                &format!("list={list_path}"),
            )
            .with(
                "journal=/var/log/journal",
                &format!("journal={DISK}/journal"),
            )
            .with(
                "archives=/var/cache/apt/archives",
                &format!("archives={DISK}/archives"),
            )
            .with(
                "dumps=/var/lib/systemd/coredump",
                &format!("dumps={DISK}/dumps"),
            )
            .with("/usr/bin/journalctl", &here("journalctl"))
            .with("/usr/bin/apt-get", &here("apt-get"));
        let root_part = sandbox.script("disk-full.sh", root_part.text());
        let script = Shipped::read("handlers/DiskFull.sh")
            .with(
                "list=/etc/self-heal/disk-full.conf",
                &format!("list={list_path}"),
            )
            .with("/var/lib/dpkg/lock-frontend", &lock)
            .with_each(
                4,
                "sudo -n /usr/bin/timeout -k 5 180 /opt/self-heal/root/disk-full.sh",
                &format!("/usr/bin/timeout -k 5 180 {}", root_part.display()),
            );
        let handler = sandbox.script("handlers/DiskFull.sh", script.text());
        Disk {
            sandbox,
            handler,
            root_part,
            list,
        }
    }

    fn furnished(self) -> Disk {
        for folder in ["log", "journal", "archives", "dumps"] {
            fs::create_dir(Path::new(DISK).join(folder)).unwrap();
        }
        self.list(&format!(
            "# a list\nmount {DISK} 50\njournal 16\nlogs {DISK}/log 7\napt\ncoredumps 3\n"
        ));
        self
    }

    fn list(&self, text: &str) {
        self.sandbox.write("list", text);
    }

    /// What a stand-in does, in Bash.
    fn does(&self, tool: &str, script: &str) {
        self.sandbox.write(&format!("{tool}-does"), script);
    }

    fn called(&self) -> String {
        fs::read_to_string(self.sandbox.path("called")).unwrap_or_default()
    }

    fn root_part(&self, measure: &str) -> Output {
        Command::new(&self.root_part)
            .arg(measure)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn heal(&self) -> Output {
        handler(&self.handler, &[("mountpoint", DISK)])
            .output()
            .unwrap()
    }
}

/// A file of so many bytes below the disk, last written so many days ago; its length on disk in bytes.
fn put(name: &str, bytes: usize, days: u32) -> u64 {
    let path = Path::new(DISK).join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, vec![b'x'; bytes]).unwrap();
    age(&path, days);
    File::open(&path).unwrap().sync_all().unwrap();
    fs::metadata(&path).unwrap().blocks() * 512
}

fn age(path: &Path, days: u32) {
    run(Command::new("touch")
        .args(["--no-dereference", "-d", &format!("{days} days ago")])
        .arg("--")
        .arg(path));
}

/// Everything below a folder, by its path from there.
fn names(folder: &Path) -> BTreeSet<String> {
    let found = Command::new("find")
        .arg(folder)
        .args(["-mindepth", "1", "-printf", "%P\\0"])
        .output()
        .unwrap();
    let found = String::from_utf8_lossy(&found.stdout);
    found.split_terminator('\0').map(str::to_owned).collect()
}

fn freed(said: &str) -> u64 {
    let mut lines = said.lines().filter_map(|line| line.strip_prefix("freed "));
    lines
        .next()
        .unwrap_or_else(|| panic!("{said}"))
        .parse()
        .unwrap()
}

const OLD: [&str; 13] = [
    "app.log.1",
    "app.log.12",
    "app.log.2.gz",
    "app.log-20261101",
    "app.log-20261101.xz",
    "deep/er/still.bz2",
    "deep/er/still.zst",
    "a name with blanks .gz",
    "line\nbreak.gz",
    "-rf.gz",
    "-delete.1",
    "'\"$(touch ran);`x`*?[a]\\.gz",
    "\u{1b}[31m\u{fffd}.gz",
];

fn only_old_rotated_logs_go(test: &str, disk: fn() -> Disk) {
    if !in_a_namespace_of_its_own(&format!("shipped::disk_full::{test}")) {
        return;
    }
    let disk = disk();
    let log = Path::new(DISK).join("log");
    put("ballast", 9 << 20, 0);
    let expected: u64 = OLD
        .iter()
        .map(|name| put(&format!("log/{name}"), 20_000, 8))
        .sum();
    let not_utf8 = OsStr::from_bytes(b"\xff\xfe.gz");
    fs::write(log.join(not_utf8), "").unwrap();
    age(&log.join(not_utf8), 8);

    // Young, live, of other names, however old.
    for (name, days) in [
        ("young.log.1", 6),
        ("young.gz", 0),
        ("app.log", 100),
        ("syslog", 100),
        ("app.log.old", 100),
        ("app.log.1.conf", 100),
        ("app-2026110", 100),
        (".gz.keep", 100),
        ("1", 100),
    ] {
        put(&format!("log/{name}"), 5_000, days);
    }
    // With a second name, outside or inside.
    put("outside/kept.gz", 5_000, 100);
    fs::hard_link(Path::new(DISK).join("outside/kept.gz"), log.join("hard.gz")).unwrap();
    put("log/twice.gz", 5_000, 100);
    fs::hard_link(log.join("twice.gz"), log.join("twice.1")).unwrap();
    // Links to files and folders, in the folder and out of it, and to nowhere.
    put("outside/folder/victim.gz", 5_000, 100);
    for (target, name) in [
        ("../outside/folder/victim.gz", "soft.gz"),
        ("../outside/folder", "folder.gz"),
        ("../outside/folder", "folder"),
        ("/nonexistent", "nowhere.1"),
        ("..", "up"),
    ] {
        symlink(target, log.join(name)).unwrap();
        age(&log.join(name), 100);
    }
    // No plain files.
    mkfifo(&log.join("pipe.gz"), Mode::S_IRWXU).unwrap();
    age(&log.join("pipe.gz"), 100);
    put("log/folder.1/inside", 5_000, 100);
    age(&log.join("folder.1"), 100);
    // Another file system.
    fs::create_dir(log.join("other")).unwrap();
    mount_tmpfs(&log.join("other"), "1m");
    put("log/other/elsewhere.gz", 5_000, 100);
    // Somebody still has it open.
    put("log/held.log.1", 5_000, 100);
    let held = File::open(log.join("held.log.1")).unwrap();

    let before = names(DISK.as_ref());
    // In need of nothing, it does nothing.
    disk.list(&format!("mount {DISK} 99\nlogs {DISK}/log 7\n"));
    assert_eq!(freed(&ended(&disk.root_part("logs"), 0)), 0);
    assert_eq!(names(DISK.as_ref()), before);

    disk.list(&format!("mount {DISK} 1\nlogs {DISK}/log 7\n"));
    let free = || {
        let stat = nix::sys::statvfs::statvfs(DISK).unwrap();
        stat.blocks_free() * stat.fragment_size()
    };
    let free_before = free();
    let said = ended(&disk.root_part("logs"), 0);
    let gone: BTreeSet<String> = before.difference(&names(DISK.as_ref())).cloned().collect();
    let mut wanted: BTreeSet<String> = OLD.iter().map(|name| format!("log/{name}")).collect();
    wanted.insert(format!("log/{}", not_utf8.to_string_lossy()));
    assert_eq!(gone, wanted);
    assert_eq!(freed(&said), expected);
    assert_eq!(free() - free_before, expected);
    assert!(said.contains("14 files"), "{said}");

    // Let go of, it goes.
    drop(held);
    assert!(freed(&ended(&disk.root_part("logs"), 0)) >= 5_000);
    assert!(!log.join("held.log.1").exists());
    assert_eq!(disk.called(), "");
}

#[test]
fn on_ext4_only_old_rotated_logs_go() {
    only_old_rotated_logs_go("on_ext4_only_old_rotated_logs_go", Disk::ext4);
}

#[test]
fn on_tmpfs_only_old_rotated_logs_go() {
    only_old_rotated_logs_go("on_tmpfs_only_old_rotated_logs_go", Disk::tmpfs);
}

#[test]
fn folders_that_are_not_in_roots_hands_are_left_alone() {
    let name = "shipped::disk_full::folders_that_are_not_in_roots_hands_are_left_alone";
    if !in_a_namespace_of_its_own(name) {
        return;
    }
    let disk = Disk::tmpfs();
    let at = |name: &str| Path::new(DISK).join(name);
    put("ballast", 9 << 20, 0);
    for folder in ["log", "theirs/log", "open/log", "sticky/log"] {
        put(&format!("{folder}/old.gz"), 5_000, 100);
    }
    std::os::unix::fs::chown(at("theirs"), Some(STRANGER), None).unwrap();
    chmod(&at("open"), 0o775);
    chmod(&at("sticky"), 0o1777);
    symlink("log", at("link")).unwrap();
    symlink(".", at("around")).unwrap();
    put("file", 1, 100);
    let before = names(DISK.as_ref());
    for folder in [
        format!("{DISK}/theirs/log"),
        format!("{DISK}/open/log"),
        format!("{DISK}/sticky/log"),
        format!("{DISK}/link"),
        format!("{DISK}/around/log"),
        format!("{DISK}/log/"),
        format!("{DISK}//log"),
        format!("{DISK}/./log"),
        format!("{DISK}/log/../log"),
        format!("{DISK}/*"),
        format!("{DISK}/file"),
        format!("{DISK}/nonexistent"),
        "/".to_owned(),
        "/mnt".to_owned(),
        "//".to_owned(),
    ] {
        disk.list(&format!("mount {DISK} 1\nlogs {folder} 7\n"));
        let said = ended(&disk.root_part("logs"), 1);
        assert!(said.contains("not a real folder in root's hands"), "{said}");
        assert_eq!(freed(&said), 0);
        assert_eq!(names(DISK.as_ref()), before, "{folder}");
    }
    // On a file system that is on no list.
    put("../other/log/old.gz", 5_000, 100);
    disk.list(&format!("mount {DISK} 1\nlogs /mnt/other/log 7\n"));
    let said = ended(&disk.root_part("logs"), 0);
    assert!(said.contains("left alone"), "{said}");
    assert!(Path::new("/mnt/other/log/old.gz").exists());
    // A folder that is left alone keeps no other from being looked at.
    disk.list(&format!(
        "mount {DISK} 1\nlogs {DISK}/nonexistent 7\nlogs {DISK}/log 7\n"
    ));
    let said = ended(&disk.root_part("logs"), 1);
    assert!(
        freed(&said) >= 5_000 && !at("log/old.gz").exists(),
        "{said}"
    );
}

#[test]
fn a_file_that_cannot_be_deleted_is_a_failure_and_stops_no_other() {
    let name = "shipped::disk_full::a_file_that_cannot_be_deleted_is_a_failure_and_stops_no_other";
    if !in_a_namespace_of_its_own(name) {
        return;
    }
    let disk = Disk::ext4();
    put("ballast", 9 << 20, 0);
    put("log/fixed.gz", 5_000, 100);
    let other = put("log/other.gz", 5_000, 100);
    let fixed = Path::new(DISK).join("log/fixed.gz");
    run(Command::new("chattr").arg("+i").arg(&fixed));
    let said = ended(&disk.root_part("logs"), 1);
    assert_eq!(freed(&said), other, "{said}");
    assert!(said.contains("fixed.gz"), "{said}");
    assert!(fixed.exists());
    run(Command::new("chattr").arg("-i").arg(&fixed));
}

#[test]
fn measures_go_in_order_until_the_target_is_reached() {
    let name = "shipped::disk_full::measures_go_in_order_until_the_target_is_reached";
    if !in_a_namespace_of_its_own(name) {
        return;
    }
    let disk = Disk::tmpfs();
    disk.does("journalctl", "rm /mnt/disk/journal/archived");
    disk.does("apt-get", "rm /mnt/disk/archives/*");
    let fill_up = |ballast: usize| {
        put("ballast", ballast, 0);
        put("journal/archived", 1 << 20, 0);
        put("journal/system", 1 << 20, 0);
        put("log/old.gz", 1 << 20, 8);
        put("archives/one.deb", 1 << 20, 0);
        put("dumps/core.old", 1 << 20, 8);
        put("dumps/core.new", 1 << 20, 1);
        put("dumps/other", 1 << 20, 100);
        let _ = fs::remove_file(disk.sandbox.path("called"));
    };
    let left = |name: &str| Path::new(DISK).join(name).exists();
    let mib = 1 << 20;
    // Of 16 MiB may 8 be used. Without ballast there are 7: nothing to do.
    fill_up(0);
    let said = ended(&disk.heal(), 0);
    assert!(said.contains("nothing done"), "{said}");
    assert_eq!(disk.called(), "");

    fill_up(2 * mib);
    let said = ended(&disk.heal(), 0);
    assert!(
        said.contains("healed: 1048576 bytes freed, /mnt/disk went from 57 % to 50 %"),
        "{said}"
    );
    assert_eq!(disk.called(), "journalctl --quiet --vacuum-size=16M\n");
    assert!(left("log/old.gz") && left("archives/one.deb") && left("journal/system"));

    fill_up(3 * mib);
    let said = ended(&disk.heal(), 0);
    assert!(said.contains("healed: 2097152 bytes freed"), "{said}");
    assert!(!left("log/old.gz") && left("archives/one.deb"));

    fill_up(4 * mib);
    let said = ended(&disk.heal(), 0);
    assert!(said.contains("healed: 3145728 bytes freed"), "{said}");
    assert_eq!(
        disk.called(),
        "journalctl --quiet --vacuum-size=16M\napt-get --quiet clean\n"
    );
    assert!(!left("archives/one.deb") && left("dumps/core.old"));

    fill_up(5 * mib);
    let said = ended(&disk.heal(), 0);
    assert!(said.contains("healed: 4194304 bytes freed"), "{said}");
    assert!(!left("dumps/core.old") && left("dumps/core.new") && left("dumps/other"));
    for measure in ["journal", "logs", "apt", "coredumps"] {
        assert!(
            said.contains(&format!("{measure}: 1048576 bytes freed, exit 0")),
            "{said}"
        );
    }

    // Not to be reached: a person.
    fill_up(6 * mib);
    let said = ended(&disk.heal(), 2);
    assert!(
        said.contains("4194304 bytes freed, /mnt/disk is at 57 % and should be at 50 %"),
        "{said}"
    );

    // A measure that fails stops no other; reached is reached.
    disk.does("journalctl", "exit 1");
    fill_up(4 * mib);
    let said = ended(&disk.heal(), 0);
    assert!(said.contains("healed: 3145728 bytes freed"), "{said}");
    assert!(said.contains("journal: 0 bytes freed, exit 1"), "{said}");
    fill_up(6 * mib);
    let said = ended(&disk.heal(), 1);
    assert!(said.contains("did not work: journal"), "{said}");
    assert!(said.contains("3145728 bytes freed"), "{said}");
    disk.does("journalctl", "rm /mnt/disk/journal/archived");

    // Packages are being installed: their archives stay, and what is missing may yet come.
    let lock = File::options()
        .write(true)
        .open(disk.sandbox.path("dpkg-lock"))
        .unwrap();
    let whole = nix::libc::flock {
        l_type: nix::libc::F_WRLCK.try_into().unwrap(),
        l_whence: 0,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(&lock, FcntlArg::F_SETLK(&whole)).unwrap();
    fill_up(6 * mib);
    let said = ended(&disk.heal(), 75);
    assert!(said.contains("packages are being installed"), "{said}");
    assert!(left("archives/one.deb") && !disk.called().contains("apt-get"));
    drop(lock);

    // What the list does not name is not done.
    disk.list(&format!("mount {DISK} 50\n"));
    fill_up(6 * mib);
    let said = ended(&disk.heal(), 2);
    assert!(said.contains("needed: 0 bytes freed"), "{said}");
    assert_eq!(disk.called(), "");
    assert!(left("log/old.gz") && left("dumps/core.old"));
}

#[test]
fn a_disk_that_is_full_to_the_last_block_is_freed_without_writing_a_file() {
    let name =
        "shipped::disk_full::a_disk_that_is_full_to_the_last_block_is_freed_without_writing_a_file";
    if !in_a_namespace_of_its_own(name) {
        return;
    }
    for disk in [Disk::ext4, Disk::tmpfs] {
        let disk = disk();
        let on_disk = |name: &str| Path::new(DISK).join(name);
        put("log/old.gz", 9 << 20, 8);
        fs::create_dir(on_disk("tmp")).unwrap();
        let log = File::create(on_disk("log/DiskFull.log")).unwrap();
        fill(&on_disk("ballast"));
        // Its log and its folder for temporary files are on the full disk; strace(1) writes elsewhere.
        let trace = disk.sandbox.path("trace");
        let direct = handler(&disk.handler, &[("mountpoint", DISK)]);
        let mut command = Command::new("strace");
        command
            .args(["-f", "-e", "trace=open,openat,creat,write", "-o"])
            .arg(&trace)
            .arg(direct.get_program())
            .args(direct.get_args())
            .env_clear()
            .env("TMPDIR", on_disk("tmp"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .stdin(Stdio::null());
        for (name, value) in direct.get_envs() {
            command.env(name, value.unwrap());
        }
        let status = command.status().unwrap();
        drop(command);
        let trace = fs::read_to_string(trace).unwrap();
        assert_eq!(status.code(), Some(0), "{trace}");
        assert!(trace.contains("ENOSPC"), "its words find no room at first");
        let called = disk.sandbox.path("called").display().to_string();
        let made: Vec<&str> = trace
            .lines()
            .filter(|line| {
                line.contains("O_CREAT")
                    && !line.contains("\"/dev/null\"")
                    && !line.contains(&called)
            })
            .collect();
        assert_eq!(made, [""; 0]);
        assert!(!on_disk("log/old.gz").exists());
        let said = fs::read_to_string(on_disk("log/DiskFull.log")).unwrap();
        assert!(said.contains("healed: "), "{said}");
        run(Command::new("umount").arg(DISK));
        run(Command::new("umount").arg("/mnt"));
    }
}

#[test]
fn the_label_is_compared_and_nothing_else() {
    let name = "shipped::disk_full::the_label_is_compared_and_nothing_else";
    if !in_a_namespace_of_its_own(name) {
        return;
    }
    let disk = Disk::tmpfs();
    put("ballast", 9 << 20, 0);
    put("log/old.gz", 1 << 20, 100);
    let touch = format!("$(touch {DISK}/ran)");
    let index = format!("a[{touch}]");
    for label in [
        "",
        "*",
        "/",
        "-f",
        "--help",
        "/mnt",
        "/mnt/disk/",
        "/mnt/disk/log",
        "/mnt/./disk",
        "mount",
        "#",
        "/mnt/disk 50",
        "/mnt/disk\n",
        &touch,
        &index,
    ] {
        let output = handler(&disk.handler, &[("mountpoint", label)])
            .output()
            .unwrap();
        let said = ended(&output, 2);
        assert!(
            said.contains("the label mountpoint is on no line"),
            "{label}: {said}"
        );
        assert!(
            label.len() < 2 || label == "mount" || !said.contains(label),
            "{label} is repeated: {said}"
        );
    }
    ended(&handler(&disk.handler, &[]).output().unwrap(), 2);
    // A folder of that name where nothing is mounted: what lies below is another file system's.
    disk.list(&format!("mount {DISK}/log 1\nlogs {DISK}/log 7\n"));
    let mount = format!("{DISK}/log");
    let output = handler(&disk.handler, &[("mountpoint", &mount)])
        .output()
        .unwrap();
    assert!(ended(&output, 2).contains("is not mounted"));
    assert!(Path::new(DISK).join("log/old.gz").exists());
    assert!(!Path::new(DISK).join("ran").exists());
    assert_eq!(disk.called(), "");
}

#[test]
fn a_list_that_is_wrong_or_not_roots_deletes_nothing() {
    let name = "shipped::disk_full::a_list_that_is_wrong_or_not_roots_deletes_nothing";
    if !in_a_namespace_of_its_own(name) {
        return;
    }
    let disk = Disk::tmpfs();
    put("ballast", 9 << 20, 0);
    put("log/old.gz", 1 << 20, 100);
    for line in [
        "logs /var/log",
        "logs /var/log 0",
        "logs /var/log -1",
        "logs /var/log 7 8",
        "logs var/log 7",
        "logs /var/log a[$(id)]",
        "logs /var/log 99999",
        "journal",
        "journal 0",
        "journal 200M",
        "journal 1 2",
        "apt clean",
        "coredumps",
        "coredumps x",
        "mount /",
        "mount / 0",
        "mount / 100",
        "mount / 85 x",
        "mount tmp 85",
        "temporary /tmp 1",
        "LOGS /var/log 7",
    ] {
        disk.list(&format!("mount {DISK} 50\nlogs {DISK}/log 7\n{line}"));
        let said = ended(&disk.root_part("logs"), 2);
        assert!(said.contains("list:3: not understood"), "{line}: {said}");
        let said = ended(&disk.heal(), 2);
        assert!(said.contains("refuses"), "{line}: {said}");
    }
    disk.list(&format!("mount {DISK} 50\nlogs {DISK}/log 7"));
    let spoiled: [fn(&Path); 4] = [
        |list| chmod(list, 0o664),
        |list| std::os::unix::fs::chown(list, Some(STRANGER), None).unwrap(),
        |list| {
            let text = fs::read(list).unwrap();
            fs::write(list.with_extension("real"), text).unwrap();
            fs::remove_file(list).unwrap();
            symlink(list.with_extension("real"), list).unwrap();
        },
        |list| fs::remove_file(list).unwrap(),
    ];
    for spoil in spoiled {
        let _ = fs::remove_file(&disk.list);
        disk.list(&format!("mount {DISK} 50\nlogs {DISK}/log 7"));
        std::os::unix::fs::chown(&disk.list, Some(0), None).unwrap();
        spoil(&disk.list);
        for output in [disk.root_part("logs"), disk.heal()] {
            let said = ended(&output, 2);
            assert!(said.contains("writable by nobody else"), "{said}");
        }
    }
    for words in [
        &[][..],
        &["all"],
        &["logs", "logs"],
        &["--help"],
        &[""],
        &["logs /"],
    ] {
        let output = Command::new(&disk.root_part)
            .args(words)
            .env_clear()
            .output()
            .unwrap();
        assert!(ended(&output, 2).contains("it takes one word"));
    }
    assert!(Path::new(DISK).join("log/old.gz").exists());
    assert_eq!(disk.called(), "");
}

#[test]
fn sudo_journald_and_apt_free_a_full_log_disk() {
    let machine = with_handlers();
    // The logs move to a small disk of their own, and the journal with them.
    machine.bash(
        "mount -t tmpfs -o size=192m,mode=755 none /var/log
         systemd-tmpfiles --create /etc/tmpfiles.d/self-heal.conf
         mkdir -p /var/log/journal
         journalctl --flush
         for round in 1 2 3; do
           head -c 6000000 /dev/urandom | base64 -w 999 | systemd-cat
           journalctl --sync
           journalctl --rotate
         done
         mount -t tmpfs -o size=8m,mode=755 none /var/cache/apt
         mkdir -p /var/cache/apt/archives/partial /var/lib/systemd/coredump
         head -c 3000000 /dev/zero >/var/cache/apt/archives/some.deb
         mount -t tmpfs -o size=8m,mode=755 none /var/lib/systemd/coredump
         head -c 3000000 /dev/zero >/var/lib/systemd/coredump/core.old
         touch -d '4 days ago' /var/lib/systemd/coredump/core.old
         for name in app.log app.log.1 app.log.2.gz young.log.1; do head -c 1000000 /dev/zero >/var/log/$name; done
         touch -d '100 days ago' /var/log/app.log /var/log/app.log.1 /var/log/app.log.2.gz
         fallocate -l 110M /var/log/ballast",
    );
    let list = "mount /var/log 50\nmount /var/cache/apt 1\nmount /var/lib/systemd/coredump 1\njournal 1\nlogs /var/log 7\napt\ncoredumps 3\n";
    let place = "/etc/self-heal/disk-full.conf";
    machine.install("644", place, list);
    let label = [("mountpoint", "/var/log")];
    let said = ended(&by_hand(&machine, "DiskFull.sh", &label), 2);
    for measure in ["journal", "logs", "apt", "coredumps"] {
        assert!(said.contains(&format!(" {measure}: ")), "{said}");
    }
    assert!(!said.contains(" exit 1,"), "{said}");
    assert!(
        said.contains("logs: 2") && said.contains("2 files"),
        "{said}"
    );
    let journal = said.split(" journal: ").nth(1).unwrap();
    let journal: u64 = journal.split(' ').next().unwrap().parse().unwrap();
    assert!(journal > 0, "{said}");
    let there = machine.bash("cd /var/log; ls -d app.log* young.log.1 ballast");
    assert_eq!(there, "app.log\nballast\nyoung.log.1\n");

    // By the listener, within its sandbox.
    machine.bash(
        "truncate -s 80M /var/log/ballast
         fallocate -l 10M /var/log/big.gz
         touch -d '100 days ago' /var/log/big.gz",
    );
    let alert = Alert::firing("DiskFull", "localhost:9100").label("mountpoint", "/var/log");
    post(&machine, &alert, 200, "healed");
    assert!(
        !machine
            .try_run(&["test", "-e", "/var/log/big.gz"])
            .status
            .success()
    );
}
