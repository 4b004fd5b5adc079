//! What the shipped units promise beside serving: a storm of posts, their exposure, lines in syslog, and what a drop-in
//! has to open for the rollback guard.

use std::fmt::Write as _;
use std::fs::File;
use std::process::Command;

use super::Place;
use super::checks::records;
use super::container::Container;
use crate::docs;
use crate::support::{Alert, PROJECT, notification, until};

const SERVICE: &str = "self-heal.service";
const SOCKET: &str = "self-heal.socket";

/// As curl's configuration file has it (curl(1), `--config`): one transfer for each of these alerts.
fn transfers(numbers: &[usize]) -> String {
    let mut text = String::new();
    for number in numbers {
        let alert = Alert::firing("Storm", &format!("localhost:{number}"));
        let body = notification(&[&alert]).to_string().replace('\\', "\\\\");
        let body = body.replace('"', "\\\"");
        writeln!(
            text,
            "next\nsilent\nurl = \"http://127.0.0.1:9095/\"\njson = \"{body}\"\noutput = /dev/null\n\
             write-out = \"{number} %{{http_code}}\\n\""
        )
        .unwrap();
    }
    text
}

/// More posts at once than the socket takes connections: whoever is turned away, or told to come again, comes again.
pub fn a_storm_of_posts_heals_each_once(machine: &Container) {
    // curl's own limit for what it does side by side.
    const AT_ONCE: usize = 300;
    machine.handler("Storm", "# self-heal: lock=instance\nexit 0\n");
    machine.bash("echo HEAL_STORM_LIMIT=400/1s >>/etc/self-heal/self-heal.conf");
    let mut left: Vec<usize> = (1..=AT_ONCE).collect();
    let mut rounds = 0;
    while !left.is_empty() {
        rounds += 1;
        assert!(rounds < 100, "{} are never healed", left.len());
        machine.install("644", "/root/storm", &transfers(&left));
        let said = machine.bash(
            "curl --parallel --parallel-immediate --parallel-max 300 --config /root/storm || true",
        );
        for line in said.lines() {
            let (number, code) = line.split_once(' ').unwrap();
            assert!(["000", "200", "503"].contains(&code), "{line}");
            let number: usize = number.parse().unwrap();
            left.retain(|other| code != "200" || *other != number);
        }
    }
    let runs = records(machine, "intent", "Storm");
    assert_eq!(runs.len(), AT_ONCE, "in {rounds} rounds");
    println!(
        "{AT_ONCE} posts at once: {rounds} rounds, {} refused, each healed once",
        machine.property(SOCKET, "NRefused")
    );
}

/// The version that the page's scores are of: others weigh otherwise.
const SCORED: &str = "systemd 252 ";

pub fn the_scores_are_those_of_the_page(machine: &Container) {
    let units = [
        SERVICE,
        "self-heal@1.service",
        "self-heal-drain.service",
        "self-heal-metrics.service",
    ];
    let scores = units.map(|unit| {
        let said = machine.run(&["systemd-analyze", "security", "--no-pager", unit]);
        let (_, overall) = said.rsplit_once("Overall exposure level for ").unwrap();
        let (_, score) = overall.split_once(": ").unwrap();
        let shown = unit.replace("@1", "@");
        vec![
            format!("`{shown}`"),
            score.split(' ').next().unwrap().to_owned(),
        ]
    });
    let version = machine.run(&["systemctl", "--version"]);
    println!("{}{scores:?}", version.lines().next().unwrap());
    if version.starts_with(SCORED) {
        assert_eq!(docs::table("| unit | exposure |"), scores);
    }
}

/// Under systemd a line goes to the journal by way of fd 2, once; to syslog as well only where that is asked for.
#[test]
fn a_run_is_told_to_the_journal_once_and_to_syslog_when_that_is_on() {
    let machine = Container::with(SERVICE);
    let told = || {
        machine.bash(
            "journalctl --sync
             journalctl --quiet --output=cat --identifier=self-heal _TRANSPORT=syslog",
        )
    };
    let unit = || machine.journal(SERVICE).matches("run_end ").count();
    machine.handler("Told", "exit 0\n");
    let post = |instance: &str| {
        let alert = Alert::firing("Told", instance);
        machine.connect().post(&alert).expect(200, &["healed"]);
    };
    post("localhost:1");
    until("the journal has it", || (unit() == 1).then_some(()));
    assert_eq!(told(), "");

    machine.bash("echo HEAL_SYSLOG=on >>/etc/self-heal/self-heal.conf");
    post("localhost:2");
    let lines = told();
    assert_eq!(lines.matches("run_start ").count(), 1, "{lines}");
    assert_eq!(lines.matches("run_end ").count(), 1, "{lines}");
    assert!(lines.contains("instance=localhost:2"), "{lines}");
    assert!(!lines.contains("instance=localhost:1"), "{lines}");
}

/// docs/rollback.md: under the service /etc is read-only for root's side too, until a drop-in opens a part of it; under
/// the socket's units it never was.
#[test]
fn the_guard_needs_the_drop_in_for_etc_and_says_so_before_the_handler_runs() {
    let machine = Container::with(SERVICE);
    machine.bash("mkdir -m 755 /etc/nginx/guarded; echo old >/etc/nginx/guarded/file");
    machine.handler(
        "Edits",
        "# self-heal: snapshot=/etc/nginx/guarded/file\ntouch /var/backups/self-heal/ran-\"${1#*:}\"\nexit 2\n",
    );
    let post = |instance: &str| machine.connect().post(&Alert::firing("Edits", instance));

    let refused = post("localhost:1");
    refused.expect(503, &["error"]);
    assert!(
        refused.detail().contains("ReadWritePaths="),
        "{}",
        refused.body
    );
    assert_eq!(machine.note("ran-1"), None, "it ran nevertheless");

    let page = docs::page("rollback.md");
    let line = "`ReadWritePaths=/etc/nginx`";
    assert!(page.contains("`systemctl edit self-heal.service`") && page.contains(line));
    // What `systemctl edit` writes (systemctl(1)).
    machine.install(
        "644",
        "/etc/systemd/system/self-heal.service.d/override.conf",
        &format!("[Service]\n{}\n", line.trim_matches('`')),
    );
    machine.run(&["systemctl", "daemon-reload"]);
    machine.run(&["systemctl", "restart", SERVICE]);
    machine.until_listening(true);
    let taken = post("localhost:2");
    taken.expect(200, &["gave-up"]);
    assert!(machine.note("ran-2").is_some());
    assert!(machine.log().contains("] snapshot_taken "));
    // The rest of /etc is as closed as before.
    let service = machine.property(SERVICE, "MainPID");
    let mounts = machine.run(&["cat", &format!("/proc/{service}/mounts")]);
    let options = |at: &str| {
        let line = mounts
            .lines()
            .rfind(|line| line.split(' ').nth(1) == Some(at));
        line.unwrap().split(' ').nth(3).unwrap().to_owned()
    };
    assert!(options("/etc").starts_with("ro"), "{mounts}");
    assert!(options("/etc/nginx").starts_with("rw"), "{mounts}");

    machine.run(&["systemctl", "start", SOCKET]);
    machine.until_listening(true);
    post("localhost:3").expect(200, &["gave-up"]);
    assert!(machine.note("ran-3").is_some());
}

/// A machine that cannot boot one is told why in words: here, one whose root may do nothing to namespaces, and an
/// account that is not root.
#[test]
fn a_machine_that_cannot_boot_a_container_is_told_so() {
    crate::stage::as_root();
    let script = format!("{PROJECT}/tests/container.sh");
    let boot = [
        "boot",
        "none",
        "/nonexistent",
        "/nonexistent",
        "/nonexistent",
    ];
    for (restriction, reason) in [
        (
            &["--bounding-set=-sys_admin"][..],
            "cannot boot a container: no namespaces",
        ),
        (
            &["--reuid=61743", "--regid=61743", "--clear-groups"],
            "needs root",
        ),
    ] {
        let output = Command::new("setpriv")
            .args(restriction)
            .args(["bash", "-s", "--"])
            .args(boot)
            // That account need not be able to go where it is.
            .stdin(File::open(&script).unwrap())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            said.starts_with("container: ") && said.contains(reason),
            "{said}"
        );
    }
}
