//! ProcessCount with sudo and a real systemd.

use super::ended;
use super::machine::{by_hand, post, with_handlers};
use crate::spawners::container::Container;
use crate::support::Alert;

const UNIT: &str = "/etc/systemd/system/worker@.service";

fn running(machine: &Container) -> String {
    let listed = machine.run(&[
        "systemctl",
        "list-units",
        "--plain",
        "--no-legend",
        "--state=active",
        "worker@*.service",
    ]);
    let names = listed.lines().map(|line| {
        let unit = line.split(' ').next().unwrap();
        unit.strip_prefix("worker@")
            .unwrap()
            .strip_suffix(".service")
            .unwrap()
    });
    names.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn scale(machine: &Container, direction: &str, code: i32) -> String {
    let labels = [("service", "worker"), ("scale", direction)];
    ended(&by_hand(machine, "ProcessCount.sh", &labels), code)
}

#[test]
fn instances_come_and_go_within_the_bounds_of_the_list() {
    let machine = with_handlers();
    machine.install("644", UNIT, "[Service]\nExecStart=/bin/sleep infinity\n");
    machine.run(&["systemctl", "daemon-reload"]);

    // Below the least: by the listener, with its sandbox, and sudo's own lines.
    let alert = Alert::firing("ProcessCount", "localhost:9100").label("service", "worker");
    post(&machine, &alert.label("scale", "up"), 200, "healed");
    assert_eq!(running(&machine), "1");

    // A gap is filled first; the last step is no step beyond the bound.
    machine.run(&["systemctl", "start", "worker@3.service"]);
    scale(&machine, "up", 0);
    assert_eq!(running(&machine), "1 2 3");
    let list = std::fs::read_to_string(format!(
        "{}/deploy/process-count.conf",
        crate::support::PROJECT
    ))
    .unwrap();
    let place = "/etc/self-heal/process-count.conf";
    machine.install("644", place, &list.replace("    4    1\n", "    4    3\n"));
    let said = scale(&machine, "up", 0);
    assert!(said.contains("3 before, 4 now"), "{said}");
    assert_eq!(running(&machine), "1 2 3 4");
    let said = scale(&machine, "up", 2);
    assert!(said.contains("4 of at most 4"), "{said}");

    // Down by the step, the highest first, and not below the least.
    scale(&machine, "down", 0);
    assert_eq!(running(&machine), "1");
    let said = scale(&machine, "down", 2);
    assert!(said.contains("1 of at least 1"), "{said}");
    assert_eq!(running(&machine), "1");

    // Somebody's own instance counts, and is never touched.
    machine.run(&["systemctl", "start", "worker@mine.service"]);
    machine.install(
        "644",
        place,
        &list.replace("1    4    1\n", "0    2    1\n"),
    );
    let said = scale(&machine, "up", 2);
    assert!(said.contains("2 of at most 2"), "{said}");
    scale(&machine, "down", 0);
    assert_eq!(running(&machine), "mine");
    let said = scale(&machine, "down", 2);
    assert!(said.contains("instances besides 1 to 2"), "{said}");
    assert_eq!(running(&machine), "mine");
    machine.run(&["systemctl", "stop", "worker@mine.service"]);

    // More than sudoers names is more than this account can do.
    machine.install(
        "644",
        place,
        &list.replace("1    4    1\n", "5    9    9\n"),
    );
    let said = scale(&machine, "up", 1);
    assert!(said.contains("worker@5.service was not started"), "{said}");
    assert_eq!(running(&machine), "1 2 3 4");
}

#[test]
fn what_does_not_stay_up_or_is_not_meant_to_run_is_no_success() {
    let machine = with_handlers();
    // Crashes at once, and systemd will not start it for ever: the limit is met by hand.
    machine.install(
        "644",
        UNIT,
        "[Unit]\nStartLimitBurst=1\nStartLimitIntervalSec=1h\n[Service]\nExecStart=/bin/sh -c 'sleep 0.2; exit 1'\n",
    );
    machine.run(&["systemctl", "daemon-reload"]);
    for _ in 0..2 {
        let said = scale(&machine, "up", 1);
        assert!(said.contains("worker@1.service does not stay up"), "{said}");
    }
    // Mended: the failed one is forgotten, started, and no other.
    machine.install("644", UNIT, "[Service]\nExecStart=/bin/sleep infinity\n");
    machine.run(&["systemctl", "daemon-reload"]);
    scale(&machine, "up", 0);
    assert_eq!(running(&machine), "1");

    machine.run(&["systemctl", "mask", "--runtime", "worker@2.service"]);
    let said = scale(&machine, "up", 2);
    assert!(said.contains("masked"), "{said}");
    assert_eq!(running(&machine), "1");
    machine.run(&["systemctl", "unmask", "--runtime", "worker@2.service"]);

    // Somebody is at it.
    machine.install(
        "644",
        "/etc/systemd/system/worker@2.service.d/slow.conf",
        "[Service]\nExecStartPre=/bin/sleep 60\n",
    );
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "start", "--no-block", "worker@2.service"]);
    let said = scale(&machine, "up", 75);
    assert!(said.contains("worker@2.service is being started"), "{said}");
    machine.run(&["systemctl", "stop", "worker@2.service"]);

    // No line, no word, nobody's text: a person.
    for labels in [
        &[][..],
        &[("service", "worker")],
        &[("scale", "up")],
        &[("service", "worker"), ("scale", "sideways")],
        &[("service", "worker"), ("scale", "")],
        &[("service", ""), ("scale", "up")],
        &[("service", "*"), ("scale", "up")],
        &[("service", "worker@"), ("scale", "up")],
        &[("service", "worker@1.service"), ("scale", "up")],
        &[("service", "#"), ("scale", "up")],
        &[("service", "$(touch /tmp/ran)"), ("scale", "up")],
        &[
            ("service", "a[$(touch /tmp/ran)]"),
            ("scale", "a[$(touch /tmp/ran)]"),
        ],
    ] {
        ended(&by_hand(&machine, "ProcessCount.sh", labels), 2);
    }
    assert_eq!(running(&machine), "1");
    assert!(
        !machine
            .try_run(&["test", "-e", "/tmp/ran"])
            .status
            .success()
    );

    // A list that is wrong anywhere before its line, or anybody's to write, is no list.
    let place = "/etc/self-heal/process-count.conf";
    for (mode, list, because) in [
        ("644", "x x@ 1 2\nworker worker@ 1 4 1\n", "conf:1:"),
        ("644", "worker worker 1 4 1\n", "conf:1:"),
        ("644", "worker *@ 1 4 1\n", "conf:1:"),
        ("644", "worker --now@ 1 4 1\n", "conf:1:"),
        ("644", "worker worker@ 4 1 1\n", "conf:1:"),
        ("644", "worker worker@ 1 4 0\n", "conf:1:"),
        ("644", "worker worker@ 1 100 1\n", "conf:1:"),
        ("644", "worker worker@ 1 4 1 more\n", "conf:1:"),
        (
            "644",
            "worker worker@ 1 4 1\nworker other@ 1 4 1\n",
            "conf:2:",
        ),
        ("644", "worker worker@ 1 a[$(id)] 1\n", "conf:1:"),
        ("666", "worker worker@ 1 4 1\n", "writable by nobody else"),
    ] {
        machine.install(mode, place, list);
        let said = scale(&machine, "up", 2);
        assert!(said.contains(because), "{list}: {said}");
    }
    machine.install("644", place, "worker worker@ 1 4 1");
    machine.run(&["chown", "healer", place]);
    assert!(scale(&machine, "up", 2).contains("writable by nobody else"));
    assert_eq!(running(&machine), "1");
}
