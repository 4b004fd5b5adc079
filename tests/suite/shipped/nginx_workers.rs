//! NginxWorkers: what its root part makes of an nginx.conf, and the whole of it with sudo, systemd and nginx.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use super::machine::{by_hand, post, with_handlers};
use super::{ended, handler};
use crate::chain::shipped::Shipped;
use crate::spawners::container::Container;
use crate::stage::{STRANGER, as_root, run};
use crate::support::{Alert, Sandbox, chmod, until};

const LIMITS: &str = "worker_connections 4096\n\n# files\nworker_rlimit_nofile 12288";

/// The root part in a sandbox, with an nginx.conf and limits.
struct Editor {
    sandbox: Sandbox,
    script: PathBuf,
    file: PathBuf,
}

impl Editor {
    fn new(text: &str, limits: &str) -> Editor {
        as_root();
        let sandbox = Sandbox::new();
        let limits = sandbox.write("limits", limits);
        let file = sandbox.write("nginx/nginx.conf", text);
        chmod(&sandbox.path("nginx"), 0o755);
        let script = Shipped::read("handlers/root/nginx-workers.sh")
            .with(
                "limits=/etc/self-heal/nginx-workers.conf",
                &format!("limits={}", limits.display()),
            )
            .with(
                "folder=/etc/nginx\n",
                &format!("folder={}\n", sandbox.path("nginx").display()),
            );
        let script = sandbox.script("nginx-workers.sh", script.text());
        Editor {
            sandbox,
            script,
            file,
        }
    }

    fn run(&self) -> Output {
        Command::new(&self.script)
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }
}

const PLAIN: &str = "user www-data;\nevents {\n\tworker_connections 768;\n}\nhttp { }\n";

#[test]
fn the_two_numbers_change_and_nothing_else() {
    for (before, after) in [
        (
            PLAIN,
            "user www-data;\nworker_rlimit_nofile 12288;\nevents {\n\tworker_connections 4096;\n}\nhttp { }\n",
        ),
        (
            "worker_rlimit_nofile 100;\n# worker_connections 1;\nevents{ # all of it\n  worker_connections  0768 ; # few\n}\n",
            "worker_rlimit_nofile 12288;\n# worker_connections 1;\nevents{ # all of it\n  worker_connections  4096 ; # few\n}\n",
        ),
        // Neither is lowered.
        (
            "events {\nworker_connections 8192;\n}\nworker_rlimit_nofile 20;\n",
            "events {\nworker_connections 8192;\n}\nworker_rlimit_nofile 12288;\n",
        ),
        (
            "worker_rlimit_nofile 99999;\nevents {\nworker_connections 8;\n}\n\n\n",
            "worker_rlimit_nofile 99999;\nevents {\nworker_connections 4096;\n}\n\n\n",
        ),
    ] {
        let editor = Editor::new(before, LIMITS);
        chmod(&editor.file, 0o640);
        std::os::unix::fs::chown(&editor.file, None, Some(STRANGER)).unwrap();
        let acl = ["setfacl", "-m", "u:nobody:r"];
        run(Command::new(acl[0]).args(&acl[1..]).arg(&editor.file));
        let access = |editor: &Editor| run(Command::new("getfacl").arg("-p").arg(&editor.file));
        let access_before = access(&editor);
        let said = ended(&editor.run(), 0);
        assert_eq!(editor.sandbox.read("nginx/nginx.conf"), after, "{said}");
        assert_eq!(access(&editor), access_before);
        let meta = fs::metadata(&editor.file).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (0, STRANGER));
        let names = fs::read_dir(editor.sandbox.path("nginx")).unwrap().count();
        assert_eq!(names, 1, "nothing is left beside it");
        // Again: nothing to do, nothing done.
        let inode = meta.ino();
        let again = ended(&editor.run(), 3);
        assert_eq!(again.lines().last(), said.lines().last());
        assert_eq!(fs::metadata(&editor.file).unwrap().ino(), inode);
    }
}

/// Refused with 2, a reason, and the file as it was: the same one, byte for byte.
#[track_caller]
fn refused(editor: &Editor, because: &str) {
    let before = (
        fs::read(&editor.file).ok(),
        fs::symlink_metadata(&editor.file)
            .map(|meta| meta.ino())
            .ok(),
    );
    let said = ended(&editor.run(), 2);
    assert!(said.starts_with("refused: "), "{said}");
    assert!(said.contains(because), "{because}: {said}");
    let after = (
        fs::read(&editor.file).ok(),
        fs::symlink_metadata(&editor.file)
            .map(|meta| meta.ino())
            .ok(),
    );
    assert_eq!(before, after);
}

#[test]
fn what_is_not_understood_is_refused() {
    for (text, because) in [
        ("events { worker_connections 768; }\n", "nginx.conf:1:"),
        ("events {\n}\n", "no line: worker_connections"),
        ("http {\n}\n", "events {"),
        ("", "no text of whole lines"),
        ("events {\nworker_connections 768;\n}", "whole lines"),
        ("events {\nworker_connections 768;\n}\n\0\n", "whole lines"),
        (
            "events {\r\nworker_connections 768;\r\n}\r\n# x\r\nworker_rlimit_nofile $x;\n",
            "nginx.conf:5:",
        ),
        ("events {\nworker_connections auto;\n}\n", "nginx.conf:2:"),
        ("events {\nworker_connections '768';\n}\n", "nginx.conf:2:"),
        ("events {\nworker_connections\n768;\n}\n", "nginx.conf:2:"),
        (
            "events {\nworker_connections 99999999999;\n}\n",
            "nginx.conf:2:",
        ),
        (
            "events {\nuse epoll; worker_connections 768;\n}\n",
            "nginx.conf:2:",
        ),
        (
            "events {\nworker_connections 7;\nworker_connections 8;\n}\n",
            "second time",
        ),
        (
            "events {\nworker_connections 7;\n}\nevents {\n}\n",
            "second events",
        ),
        (
            "worker_rlimit_nofile 7;\nworker_rlimit_nofile 7;\nevents {\nworker_connections 7;\n}\n",
            "second time",
        ),
    ] {
        refused(&Editor::new(text, LIMITS), because);
    }
}

#[test]
fn limits_out_of_range_are_refused() {
    for (limits, because) in [
        ("", "it takes both"),
        ("worker_connections 4096\n", "it takes both"),
        (
            "worker_connections 0\nworker_rlimit_nofile 9\n",
            "limits:1:",
        ),
        (
            "worker_connections -1\nworker_rlimit_nofile 9\n",
            "limits:1:",
        ),
        (
            "worker_connections 4096;\nworker_rlimit_nofile 9\n",
            "limits:1:",
        ),
        (
            "worker_connections 1 2\nworker_rlimit_nofile 9\n",
            "limits:1:",
        ),
        ("worker_connections $(id)\n", "limits:1:"),
        ("worker_connections a[$(id)]\n", "limits:1:"),
        ("worker_connections 1\nworker_connections 1\n", "limits:2:"),
        ("worker_processes 1\n", "limits:1:"),
        (
            "worker_connections 4096\nworker_rlimit_nofile 4095\n",
            "fewer open files",
        ),
        ("worker_connections 99999999\n", "limits:1:"),
    ] {
        refused(&Editor::new(PLAIN, limits), because);
    }
    let most: u64 = fs::read_to_string("/proc/sys/fs/nr_open")
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    if most < 9_999_999 {
        let limits = format!("worker_connections 1\nworker_rlimit_nofile {}\n", most + 1);
        refused(&Editor::new(PLAIN, &limits), "nr_open");
    }
}

#[test]
fn files_in_other_hands_are_refused() {
    type Trap = fn(&Editor);
    let traps: [(&str, Trap); 8] = [
        ("limits", |e| chmod(&e.sandbox.path("limits"), 0o666)),
        ("limits", |e| {
            std::os::unix::fs::chown(e.sandbox.path("limits"), Some(STRANGER), None).unwrap();
        }),
        ("limits", |e| {
            fs::remove_file(e.sandbox.path("limits")).unwrap()
        }),
        ("nginx has", |e| chmod(&e.sandbox.path("nginx"), 0o775)),
        ("nginx.conf", |e| chmod(&e.file, 0o664)),
        ("nginx.conf", |e| {
            std::os::unix::fs::chown(&e.file, Some(STRANGER), None).unwrap();
        }),
        ("nginx.conf", |e| {
            let elsewhere = e.sandbox.path("elsewhere");
            fs::rename(&e.file, &elsewhere).unwrap();
            symlink(&elsewhere, &e.file).unwrap();
        }),
        ("nginx.conf", |e| {
            fs::hard_link(&e.file, e.sandbox.path("second")).unwrap();
        }),
    ];
    for (because, trap) in traps {
        let editor = Editor::new(PLAIN, LIMITS);
        trap(&editor);
        refused(&editor, because);
    }
    let editor = Editor::new(PLAIN, LIMITS);
    let output = handler(&editor.script, &[]).output().unwrap();
    assert!(ended(&output, 2).contains("takes no argument"));
    assert_eq!(editor.sandbox.read("nginx/nginx.conf"), PLAIN);
}

/// What the caller's environment could do to a script: nothing is taken from it.
#[test]
fn nothing_of_the_callers_environment_is_taken() {
    let editor = Editor::new(PLAIN, LIMITS);
    let trap = editor.sandbox.write("trap", "exit 9\n");
    let output = Command::new(&editor.script)
        .env_clear()
        .env("BASH_ENV", &trap)
        .env("PATH", "/nonexistent")
        .env("BASH_FUNC_cp%%", "() { exit 9; }")
        .env("BASH_FUNC_printf%%", "() { exit 9; }")
        .output()
        .unwrap();
    ended(&output, 0);
}

/// What is asked about nginx.conf and whoever serves by it.
struct Seen {
    file: String,
    text: String,
    master: String,
}

fn look(machine: &Container) -> Seen {
    let page = machine.run(&[
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "http://127.0.0.1/",
    ]);
    assert!(page.contains("nginx"), "{page}");
    Seen {
        file: machine.run(&["stat", "-c", "%a %u %g %s %y", "/etc/nginx/nginx.conf"]),
        text: machine.run(&["cat", "/etc/nginx/nginx.conf"]),
        master: machine.property("nginx.service", "MainPID"),
    }
}

/// Waits until nginx's workers, and no others, may open so many files.
fn until_workers_have(machine: &Container, files: &str) {
    until("the workers have their limit", || {
        let limits = machine.bash(
            "for worker in $(</proc/$(systemctl show --value --property MainPID nginx)/task/*/children); do
               awk '/^Max open files/ { print $4 }' /proc/$worker/limits 2>/dev/null || true
             done | sort -u",
        );
        (limits.trim() == files).then_some(())
    });
}

#[test]
fn nginx_serves_with_the_new_limits_and_a_refused_edit_is_undone_by_copy_and_hook() {
    let machine = with_handlers();
    machine.run(&["cp", "-a", "/etc/nginx/nginx.conf", "/etc/nginx.conf.kept"]);
    let old = look(&machine);

    let alert = Alert::firing("NginxWorkers", "localhost:80");
    post(&machine, &alert, 200, "healed");
    let new = look(&machine);
    assert_eq!(
        new.text,
        old.text
            .replace("\tworker_connections 768;", "\tworker_connections 4096;")
            .replace("\nevents {", "\nworker_rlimit_nofile 12288;\nevents {")
    );
    assert_eq!(new.master, old.master, "a reload, no restart");
    until_workers_have(&machine, "12288");

    // Once more: the limits are as far as they go.
    let said = ended(&by_hand(&machine, "NginxWorkers.sh", &[]), 2);
    assert!(said.contains("already"), "{said}");
    assert_eq!(look(&machine).file, new.file);

    // The second worker_rlimit_nofile of an include is what nginx refuses, once the first is there.
    let restore = ["cp", "-a", "/etc/nginx.conf.kept", "/etc/nginx/nginx.conf"];
    machine.run(&restore);
    machine.install(
        "644",
        "/etc/nginx/modules-enabled/99-files.conf",
        "worker_rlimit_nofile 2048;\n",
    );
    machine.run(&["systemctl", "reload", "nginx.service"]);
    let said = ended(&by_hand(&machine, "NginxWorkers.sh", &[]), 2);
    assert!(said.contains("directive is duplicate"), "{said}");
    assert!(said.contains("nginx -t refuses the new limits"), "{said}");
    assert_eq!(look(&machine).text, new.text, "left for self-heal to undo");
    // As long as the file is refused, nginx is not told to read it.
    let said = ended(&by_hand(&machine, "NginxWorkers.restored", &[]), 1);
    assert!(said.contains("refuses the old file too"), "{said}");
    machine.run(&restore);
    let said = ended(&by_hand(&machine, "NginxWorkers.restored", &[]), 0);
    assert!(said.contains("nginx serves with the old file"), "{said}");
    let back = look(&machine);
    assert_eq!(
        (back.file, back.text, back.master),
        (old.file, old.text, old.master)
    );
    until_workers_have(&machine, "2048");

    // A file that is broken beforehand is somebody else's, and is left as it is.
    machine.install(
        "644",
        "/etc/nginx/modules-enabled/98-broken.conf",
        "no_such_setting;\n",
    );
    let before = look(&machine).file;
    let said = ended(&by_hand(&machine, "NginxWorkers.sh", &[]), 2);
    assert!(said.contains("before anything was changed"), "{said}");
    assert_eq!(look(&machine).file, before);

    // nginx that was stopped stays so; one that has failed is started.
    machine.run(&["rm", "/etc/nginx/modules-enabled/98-broken.conf"]);
    machine.run(&["systemctl", "stop", "nginx.service"]);
    ended(&by_hand(&machine, "NginxWorkers.sh", &[]), 1);
    let said = ended(&by_hand(&machine, "NginxWorkers.restored", &[]), 0);
    assert!(said.contains("left so"), "{said}");
    assert_eq!(machine.property("nginx.service", "ActiveState"), "inactive");
    machine.run(&["systemctl", "start", "nginx.service"]);
    machine.bash(
        "systemctl kill --signal=KILL nginx.service
         while [[ $(systemctl is-active nginx.service) != failed ]]; do sleep 0.05; done",
    );
    ended(&by_hand(&machine, "NginxWorkers.restored", &[]), 0);
    assert_eq!(machine.property("nginx.service", "ActiveState"), "active");
}

/// Posts the alert as an instance's of its own; what the listener and the hook left behind of it.
fn put_back(machine: &Container, instance: &str, code: u16, verdict: &str) -> Seen {
    let alert = Alert::firing("NginxWorkers", instance);
    post(machine, &alert, code, verdict);
    let said = machine.run(&["cat", "/var/log/self-heal/NginxWorkers.log"]);
    assert!(said.contains("nginx serves with the old file"), "{said}");
    look(machine)
}

#[test]
fn whatever_goes_wrong_self_heal_puts_the_old_file_back_and_nginx_serves_with_it() {
    let machine = with_handlers();
    // What a copy could lose: the mode, the group, times below a second.
    machine.bash(
        "chmod 640 /etc/nginx/nginx.conf
         chgrp www-data /etc/nginx/nginx.conf
         touch -d '2025-03-04 05:06:07.123456789' /etc/nginx/nginx.conf",
    );
    let include = "/etc/nginx/modules-enabled/99-files.conf";
    machine.install("644", include, "worker_rlimit_nofile 2048;\n");
    machine.run(&["systemctl", "reload", "nginx.service"]);
    until_workers_have(&machine, "2048");
    let old = look(&machine);

    // nginx -t refuses the second worker_rlimit_nofile.
    let back = put_back(&machine, "localhost:80", 200, "gave-up");
    assert_eq!((&back.file, &back.text), (&old.file, &old.text));
    assert_eq!(back.master, old.master);
    until_workers_have(&machine, "2048");

    // The edit is good, the reload fails: the hook starts nginx anew, with the old file.
    machine.run(&["rm", include]);
    machine.run(&["rm", "/var/log/self-heal/NginxWorkers.log"]);
    machine.install(
        "644",
        "/etc/systemd/system/nginx.service.d/no-reload.conf",
        "[Service]\nExecReload=\nExecReload=/bin/false\n",
    );
    machine.run(&["systemctl", "daemon-reload"]);
    let back = put_back(&machine, "127.0.0.1:80", 503, "failed");
    assert_eq!((&back.file, &back.text), (&old.file, &old.text));
    assert_ne!(back.master, old.master);

    // Nothing in the way: the new file stays.
    machine.run(&["rm", "/etc/systemd/system/nginx.service.d/no-reload.conf"]);
    machine.run(&["systemctl", "daemon-reload"]);
    post(
        &machine,
        &Alert::firing("NginxWorkers", "localhost:8080"),
        200,
        "healed",
    );
    assert!(look(&machine).text.contains("worker_connections 4096;"));
    until_workers_have(&machine, "12288");
}
