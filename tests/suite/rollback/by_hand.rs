//! `self-heal snapshots` where there are two sides: root asks, the healer acts, and root's side is asked through sudo.

use super::house::{House, INSTALLED, said};
use super::{new_run, picture};
use crate::support::chmod;

#[test]
fn both_sides_are_shown_and_put_back() {
    let house = House::new();
    let roots = house.file("etc/main.conf", "old");
    let own = house.healers("own").join("file");
    house.healer_does(&format!("echo old >{}", own.display()));
    house.handler("Both", &[&roots, &own]);
    let path = |name: &str| house.sandbox.path(name).display().to_string();
    house.configure(&format!(
        "HEAL_LOG_DIR={}\nHEAL_LOCK_DIR={}\nHEAL_SYSLOG=off\n",
        path("log"),
        path("lock")
    ));
    let before = [&roots, &own].map(|path| picture(path));
    let run_id = new_run("Both");
    house.healer("capture", &run_id, &[&roots, &own]);
    std::fs::write(&roots, "new").unwrap();
    house.healer_does(&format!("echo new >{}", own.display()));

    let list = |by: &[String]| {
        let text = said(&house.run(by, &[INSTALLED, "snapshots", "list"])).unwrap();
        let row = text.lines().nth(1).unwrap().to_owned();
        assert_eq!(text.lines().count(), 2, "{text}");
        row.split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let paths = [
        format!("{},", own.display()),
        roots.display().to_string(),
        "(root's)".to_owned(),
    ];
    // Root sees what is in both, the healer its own.
    for (by, bytes) in [(house.inside(), "7"), (house.as_healer(), "4")] {
        let row = list(&by);
        assert_eq!(row[1..5], ["Both", "whole", bytes, &run_id]);
        assert_eq!(row[5..], paths);
    }
    let restore = || {
        said(&house.run(
            &house.inside(),
            &[INSTALLED, "snapshots", "restore", &run_id],
        ))
    };
    // Root's side cannot be reached: the healer's part is back, the rest is told.
    house.etc("sudoers.d/healer", "", 0o440);
    let why = restore().unwrap_err();
    assert!(
        why.contains("root's side, sudo guard restore") && why.contains("111"),
        "{why}"
    );
    assert_eq!(picture(&own), before[1]);
    assert_eq!(list(&house.inside())[2], "unfinished");
    let shipped = std::fs::read_to_string(
        std::path::Path::new(crate::support::PROJECT).join("deploy/sudoers.d/healer"),
    );
    house.etc("sudoers.d/healer", &shipped.unwrap(), 0o440);
    let told = restore().unwrap();
    assert!(
        told.starts_with(&format!("restored: {run_id}: 1 changed, from ")),
        "{told}"
    );
    assert_eq!([&roots, &own].map(|path| picture(path)), before);
    assert_eq!(list(&house.inside())[2], "restored");
    assert_eq!(list(&house.as_healer())[2], "restored");
    // Nothing of root's is left where the healer writes.
    let log = house.sandbox.path("log/listener.log");
    assert_eq!(
        std::os::unix::fs::MetadataExt::uid(&log.metadata().unwrap()),
        super::house::HEALER
    );
    chmod(&log, 0o640);
}
