//! The shipped units under a real systemd: one service that runs socat, or a unit for each connection.

use super::Place;
use super::checks::{self, firing, records, say, wait_for};
use super::container::{Container, SHIPPED};
use super::{for_each_check, units};
use crate::support::{Alert, Answer, PROJECT, notification, request, until};

const SERVICE: &str = "self-heal.service";
const SOCKET: &str = "self-heal.socket";
const CONNECTIONS: &str = "self-heal@*.service";

macro_rules! all {
    ($($check:ident)*) => {
        [$((stringify!($check), checks::$check as fn(&dyn Place))),*]
    };
}

/// Everything that holds under every spawner.
fn every_check(place: &Container) {
    for (name, check) in for_each_check!(all) {
        eprintln!("{name}");
        check(place);
    }
}

#[test]
fn the_service_serves_as_every_spawner_does() {
    let machine = Container::with(SERVICE);
    every_check(&machine);
    assert_eq!(machine.property(SERVICE, "NRestarts"), "0");
}

#[test]
fn the_socket_serves_as_every_spawner_does() {
    let machine = Container::with(SOCKET);
    every_check(&machine);
    assert_eq!(machine.property(SOCKET, "Backlog"), "4096");
    // Instances that ended badly are forgotten too.
    let units = machine.run(&[
        "systemctl",
        "list-units",
        "--all",
        "--plain",
        "--no-legend",
        CONNECTIONS,
    ]);
    assert_eq!(units, "");
}

/// The whole chain on one machine: nginx is killed, its alert is posted, sudo restarts it, the journal tells it.
fn nginx_is_healed(unit: &str, journal: &str) {
    let machine = Container::with(unit);
    let killed = machine.property("nginx.service", "MainPID");
    machine.run(&["systemctl", "kill", "--signal=KILL", "nginx.service"]);
    until("nginx is dead", || {
        (machine.property("nginx.service", "ActiveState") != "active").then_some(())
    });
    let answer = machine
        .connect()
        .post(&Alert::firing("NginxDown", "localhost:80"));
    let handler = machine.run(&["cat", "/var/log/self-heal/NginxDown.log"]);
    assert_eq!(answer.code, 200, "{} {handler}", answer.body);
    answer.expect(200, &["healed"]);
    assert_eq!(machine.property("nginx.service", "ActiveState"), "active");
    assert_ne!(machine.property("nginx.service", "MainPID"), killed);
    let page = machine.run(&[
        "curl",
        "--silent",
        "--show-error",
        "--fail",
        "http://127.0.0.1/",
    ]);
    assert!(page.contains("nginx"), "{page}");
    assert!(
        handler.contains("healed: nginx answers after a restart"),
        "{handler}"
    );
    let lines = machine.run(&["journalctl", "--sync"]) + &machine.journal(journal);
    for event in ["run_start", "run_end"] {
        let seen = lines
            .lines()
            .filter(|line| line.contains(&format!("] {event} ")));
        assert_eq!(seen.count(), 1, "{event} in {lines}");
    }
}

#[test]
fn under_the_service_nginx_is_up_again_by_sudo_and_the_journal_tells_it() {
    nginx_is_healed(SERVICE, SERVICE);
}

#[test]
fn under_the_socket_nginx_is_up_again_by_sudo_and_the_journal_tells_it() {
    nginx_is_healed(SOCKET, CONNECTIONS);
}

/// A handler at work while `meanwhile` is done to its units: it ends its work, its outcome is recorded, and even
/// the sender gets its answer.
fn in_mid_handler(machine: &Container, alertname: &str, meanwhile: impl FnOnce()) {
    let body = format!("{}{}{}", say(alertname), wait_for("go-on"), say("went-on"));
    machine.handler(alertname, &body);
    let mut client = machine.connect();
    client.send(&request(&notification(&[&firing(alertname)]).to_string()));
    until("the handler runs", || machine.note(alertname));
    meanwhile();
    assert_eq!(records(machine, "result", alertname).len(), 0);
    assert_eq!(machine.note("went-on"), None);
    machine.put("go-on");
    Answer::parse(&client.receive()).expect(200, &["healed"]);
    let result = records(machine, "result", alertname).pop().unwrap();
    assert_eq!(result["verdict"], "healed", "{result}");
    until("nothing is left", || {
        machine.left_behind().is_empty().then_some(())
    });
}

fn healthy(machine: &Container) -> u16 {
    let answer = machine
        .connect()
        .ask(b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
    answer.code
}

#[test]
fn a_restart_of_the_service_in_mid_handler_leaves_handler_answer_and_outcome() {
    let machine = Container::with(SERVICE);
    in_mid_handler(&machine, "Restarted", || {
        let before = machine.property(SERVICE, "MainPID");
        machine.run(&["systemctl", "daemon-reload"]);
        machine.run(&["systemctl", "restart", SERVICE]);
        assert_ne!(machine.property(SERVICE, "MainPID"), before);
        until("it answers anew", || {
            (machine.property(SERVICE, "ActiveState") == "active").then_some(())
        });
        machine.until_listening(true);
        assert_eq!(healthy(&machine), 200);
    });
}

#[test]
fn a_stop_of_the_service_in_mid_handler_leaves_handler_answer_and_outcome() {
    let machine = Container::with(SERVICE);
    in_mid_handler(&machine, "Stopped", || {
        machine.run(&["systemctl", "stop", SERVICE]);
        assert_eq!(machine.property(SERVICE, "Result"), "success");
        machine.until_listening(false);
    });
}

#[test]
fn a_restart_of_the_socket_in_mid_handler_leaves_handler_answer_and_outcome() {
    let machine = Container::with(SOCKET);
    in_mid_handler(&machine, "Restarted", || {
        machine.run(&["systemctl", "daemon-reload"]);
        machine.run(&["systemctl", "restart", SOCKET]);
        assert_eq!(healthy(&machine), 200);
    });
}

/// The instance itself is told to stop: it takes its time.
#[test]
fn a_stop_of_the_connection_in_mid_handler_waits_for_the_handler() {
    let machine = Container::with(SOCKET);
    in_mid_handler(&machine, "Stopped", || {
        machine.run(&["systemctl", "stop", SOCKET]);
        machine.run(&["systemctl", "stop", "--no-block", CONNECTIONS]);
        until("it is stopping", || {
            let units = machine.run(&[
                "systemctl",
                "list-units",
                "--plain",
                "--no-legend",
                CONNECTIONS,
            ]);
            units.contains(" stop-sigterm ").then_some(())
        });
        machine.until_listening(false);
    });
}

/// More than `MaxConnections=`, and more in two seconds than systemd bears by default.
#[test]
fn more_connections_than_the_socket_takes_are_refused_and_later_ones_served() {
    let machine = Container::with(SOCKET);
    machine.bash(
        "for ((n = 0; n < 400; n++)); do exec {fd}<>/dev/tcp/127.0.0.1/9095; done
         seen() { systemctl show --value --property \"$1\" self-heal.socket; }
         for ((tries = 0; tries < 200; tries++)); do
           if (($(seen NAccepted) >= 256 && $(seen NRefused) > 0)); then exit 0; fi
           sleep 0.1
         done
         systemctl status self-heal.socket >&2
         exit 1",
    );
    assert_eq!(machine.property(SOCKET, "ActiveState"), "active");
    until("the connections are over", || {
        (machine.property(SOCKET, "NConnections") == "0").then_some(())
    });
    machine.handler("Later", "exit 0\n");
    machine
        .connect()
        .post(&firing("Later"))
        .expect(200, &["healed"]);
    units::a_storm_of_posts_heals_each_once(&machine);
    assert_eq!(machine.property(SOCKET, "ActiveState"), "active");
    until("the connections are over", || {
        (machine.property(SOCKET, "NConnections") == "0").then_some(())
    });
}

/// Either, never both: starting one stops the other.
#[test]
fn socket_and_service_take_the_port_from_each_other() {
    let machine = Container::with(SERVICE);
    for (started, stopped) in [(SOCKET, SERVICE), (SERVICE, SOCKET)] {
        machine.run(&["systemctl", "start", started]);
        machine.until_listening(true);
        assert_eq!(machine.property(started, "ActiveState"), "active");
        assert_eq!(machine.property(stopped, "ActiveState"), "inactive");
        assert_eq!(healthy(&machine), 200);
    }
}

/// What a dead listener owes, the unit puts into the spool and delivers; a page in the spool starts it.
#[test]
fn a_page_is_delivered_by_the_drain_units() {
    const DRAIN: &str = "self-heal-drain.service";
    let machine = Container::with(SERVICE);
    machine.handler("Broken", "exit 2\n");
    let recorder = "#!/bin/bash\nid -un >>/var/lib/self-heal/recorded\n";
    machine.install("0755", "/opt/self-heal/escalate.d/recorder", recorder);
    let recorded = || machine.bash("cat /var/lib/self-heal/recorded 2>/dev/null || true");
    let post = |instance: &str| {
        let alert = firing("Broken").with("fingerprint", instance.into());
        machine.connect().post(&alert)
    };

    machine.bash("touch /var/lib/self-heal/spool");
    post("one").expect(503, &["error"]);
    machine.bash("rm /var/lib/self-heal/spool");
    assert_eq!(recorded(), "");
    machine.run(&["systemctl", "start", DRAIN]);
    assert_eq!(recorded(), "healer\n");
    assert_eq!(machine.property(DRAIN, "Result"), "success");

    machine.run(&[
        "systemctl",
        "start",
        "self-heal-drain.path",
        "self-heal-drain.timer",
    ]);
    let before = machine.property(DRAIN, "InvocationID");
    post("two").expect(200, &["gave-up"]);
    until("the page starts the unit", || {
        (machine.property(DRAIN, "InvocationID") != before).then_some(())
    });
    until("it is delivered, once", || {
        (recorded() == "healer\nhealer\n").then_some(())
    });
    for unit in ["self-heal-drain.path", "self-heal-drain.timer"] {
        assert_eq!(machine.property(unit, "ActiveState"), "active");
    }
    machine.run(&["systemctl", "start", DRAIN]);
    assert_eq!(recorded(), "healer\nhealer\n");
}

/// Root's, with the healer's eyes, in its sandbox; the healer can do nothing to the file.
#[test]
fn the_metrics_are_put_where_node_exporter_finds_them() {
    const METRICS: &str = "self-heal-metrics.service";
    const FILE: &str = "/var/lib/prometheus/node-exporter/self-heal.prom";
    let machine = Container::with(SERVICE);
    for unit in [METRICS, "self-heal-metrics.timer"] {
        let text = std::fs::read_to_string(format!("{PROJECT}/deploy/systemd/{unit}")).unwrap();
        machine.install("0644", &format!("/etc/systemd/system/{unit}"), &text);
    }
    units::the_scores_are_those_of_the_page(&machine);
    machine.bash("mkdir -p -m 755 /var/lib/prometheus/node-exporter");
    machine.run(&["systemctl", "daemon-reload"]);
    machine.handler("Broken", "exit 2\n");
    let broken = firing("Broken");
    machine.connect().post(&broken).expect(200, &["gave-up"]);

    machine.run(&["systemctl", "start", METRICS]);
    assert_eq!(machine.property(METRICS, "Result"), "success");
    let stat = machine.bash(&format!("stat -c '%U %a' {FILE}"));
    assert_eq!(stat, "root 644\n");
    let text = machine.bash(&format!("cat {FILE}"));
    let line = "self_heal_breakers_open{alertname=\"Broken\"} 1";
    assert!(text.lines().any(|l| l == line), "{text}");

    // The timer turns again by itself.
    let before = machine.property(METRICS, "InvocationID");
    machine.bash(
        "sed -i 's/^OnBootSec=.*/OnActiveSec=1s/' /etc/systemd/system/self-heal-metrics.timer",
    );
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "start", "self-heal-metrics.timer"]);
    until("the timer starts the unit", || {
        (machine.property(METRICS, "InvocationID") != before).then_some(())
    });
}

/// What README tells an operator to install is what these containers run: the same file, place and mode.
#[test]
fn readme_installs_what_the_containers_run() {
    let readme = std::fs::read_to_string(format!("{PROJECT}/README.md")).unwrap();
    let mut seen = 0;
    for line in readme.lines().filter(|line| line.starts_with("install ")) {
        // `-D` makes the folder as well.
        let words: Vec<&str> = line.split(' ').filter(|word| *word != "-D").collect();
        let [_, _, mode, from, to] = words[..] else {
            panic!("{line}");
        };
        if from == "target/release/self-heal" {
            continue;
        }
        let mode = u32::from_str_radix(mode, 8).unwrap();
        let here = (from, to.trim_start_matches('/'), mode);
        assert!(SHIPPED.contains(&here), "{line}");
        seen += 1;
    }
    assert_eq!(
        seen,
        SHIPPED.len() - 2,
        "all but the socket and its template"
    );
}
