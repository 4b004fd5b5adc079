//! A real sudo with real rules, asked by root, by the healer, and by somebody else.

use std::fs;
use std::os::unix::fs::chown;
use std::path::Path;

use serde_json::Value;

use crate::rollback::house::{HEALER, House, INSTALLED};
use crate::support::chmod;

/// A house with everything that is not sudo's in its place.
fn house(more: &str) -> House {
    let house = House::new();
    let sandbox = &house.sandbox;
    let path = |name| sandbox.path(name).display().to_string();
    sandbox.write("allowed.txt", "web-1\n");
    sandbox.recorder();
    house.configure(&format!(
        "HEAL_LOG_DIR={}\nHEAL_LOCK_DIR={}\nHEAL_ALLOWED_INSTANCES={}\nHEAL_ESCALATE_DIR={}\n{more}",
        path("log"),
        path("lock"),
        path("allowed.txt"),
        path("escalate.d")
    ));
    house
}

/// What is found by whoever it is, apart from what the machine is to blame for, as `kind place` and the rest.
fn found(house: &House, by: &[String]) -> Vec<(String, String)> {
    let output = house.run(by, &[INSTALLED, "check", "--json"]);
    let report: Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|e| panic!("{e}: {output:?}"));
    let dir = house.sandbox.path("").display().to_string();
    let mut found = Vec::new();
    for finding in report["findings"].as_array().unwrap() {
        let text = |key: &str| finding[key].as_str().unwrap().replace(&dir, "");
        if !super::MACHINE.contains(&&*text("kind")) && text("kind") != "port-silent" {
            found.push((format!("{} {}", text("kind"), text("place")), text("what")));
        }
    }
    found
}

fn names(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(name, _)| &**name).collect()
}

#[test]
fn what_sudo_allows_refuses_and_wants_a_password_for() {
    let house = house("");
    let by = [house.inside(), house.as_healer()];
    house.sandbox.handler(
        "Fine",
        "sudo -n /usr/bin/timeout -k 5 30 /usr/sbin/nginx -t\n",
    );
    for by in &by {
        assert_eq!(names(&found(&house, by)), [""; 0]);
    }
    house.sandbox.handler(
        "Fine",
        "sudo -n /usr/bin/timeout -k 5 31 /usr/sbin/nginx -t\n",
    );
    house
        .sandbox
        .handler("Other", "true\nsudo -n /usr/bin/id -u\n");
    house.etc("sudoers.d/zz", "healer ALL = (root) /usr/bin/id\n", 0o440);
    for by in &by {
        let found = found(&house, by);
        assert_eq!(
            names(&found),
            [
                "sudo-refused handlers/Fine.sh:2",
                "sudo-password handlers/Other.sh:3"
            ]
        );
        assert!(
            found[0]
                .1
                .contains("`/usr/bin/timeout -k 5 31 /usr/sbin/nginx -t`"),
            "{found:?}"
        );
    }
    house.sandbox.handler("Fine", "exit 0\n");
    house.etc(
        "sudoers.d/zz",
        "healer ALL = (root) /usr/bin/id -u\n",
        0o440,
    );
    for by in &by {
        assert_eq!(
            names(&found(&house, by)),
            ["sudo-password handlers/Other.sh:3"]
        );
    }
    // Somebody else may not ask.
    let mut other = house.inside();
    let somebody = HEALER + 1;
    other.extend([
        "setpriv".to_owned(),
        format!("--reuid={somebody}"),
        format!("--regid={somebody}"),
        "--clear-groups".to_owned(),
    ]);
    assert_eq!(names(&found(&house, &other)), ["unseen sudo"]);
    // Nor may whoever can get no more rights; root needs none.
    let mut healer = house.as_healer();
    healer.push("--no-new-privs".to_owned());
    assert_eq!(names(&found(&house, &healer)), ["unseen sudo"]);
    let gone = house.run(
        &house.inside(),
        &["mount", "--bind", "/dev/null", "/usr/bin/sudo"],
    );
    assert!(gone.status.success());
    assert_eq!(
        names(&found(&house, &house.inside())),
        ["sudo-missing handlers/Other.sh:3"]
    );
}

#[test]
fn the_rollback_guard_needs_its_two_lines_and_a_handler_of_roots() {
    let house = house("");
    let roots = house.file("etc/main.conf", "old");
    let path = house.handler("Guarded", &[&roots]);
    for by in [house.inside(), house.as_healer()] {
        assert_eq!(names(&found(&house, &by)), [""; 0]);
    }
    let rules =
        fs::read_to_string(Path::new(crate::support::PROJECT).join("deploy/sudoers.d/healer"))
            .unwrap();
    house.etc(
        "sudoers.d/healer",
        &rules.replace("guard restore", "guard return"),
        0o440,
    );
    let found_now = found(&house, &house.inside());
    assert_eq!(
        names(&found_now),
        ["sudo-refused handlers/Guarded.sh: snapshot="]
    );
    assert!(found_now[0].1.contains("guard restore"), "{found_now:?}");
    house.etc("sudoers.d/healer", &rules, 0o440);
    chown(&path, Some(HEALER), Some(HEALER)).unwrap();
    assert_eq!(
        names(&found(&house, &house.inside())),
        ["snapshot-path handlers/Guarded.sh"]
    );
    chown(&path, Some(0), Some(0)).unwrap();
    chmod(roots.parent().unwrap(), 0o777);
    assert_eq!(
        names(&found(&house, &house.inside())),
        ["snapshot-path handlers/Guarded.sh"]
    );
}
