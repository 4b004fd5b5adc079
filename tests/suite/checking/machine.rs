//! A booted machine with the shipped files: nothing to find but what nobody installed, and what a changed unit breaks.

use serde_json::Value;

use crate::shipped::machine::with_handlers;
use crate::spawners::container::Container;

fn kinds(machine: &Container) -> Vec<String> {
    let output = machine.try_run(&["/usr/local/bin/self-heal", "check", "--json"]);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let findings = report["findings"].as_array().unwrap();
    let shown = |f: &Value| {
        format!(
            "{} {}",
            f["kind"].as_str().unwrap(),
            f["place"].as_str().unwrap()
        )
    };
    let mut kinds: Vec<String> = findings
        .iter()
        .filter(|f| {
            !super::MACHINE.contains(&f["kind"].as_str().unwrap()) && f["severity"] != "note"
        })
        .map(shown)
        .collect();
    kinds.sort();
    kinds
}

#[test]
fn the_shipped_machine_is_as_it_should_be_until_its_unit_is_hardened() {
    let machine = with_handlers();
    let nobody = "no-escalator HEAL_ESCALATE_DIR: /opt/self-heal/escalate.d";
    assert_eq!(kinds(&machine), [nobody]);
    machine.install(
        "644",
        "/etc/systemd/system/self-heal.service.d/hard.conf",
        "[Service]\nPrivateDevices=yes\nKillMode=mixed\nProtectSystem=strict\nUser=www-data\n",
    );
    machine.run(&["systemctl", "daemon-reload"]);
    let unit = "self-heal.service";
    let found = kinds(&machine);
    for kind in [
        "unit-account",
        "unit-kills",
        "unit-no-sudo",
        "unit-read-only",
    ] {
        assert!(
            found.contains(&format!("{kind} {unit}")),
            "{kind}: {found:?}"
        );
    }
}
