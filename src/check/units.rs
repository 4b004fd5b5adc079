//! The systemd units that serve: settings by which sudo fails, another account than the one whose state it is, what
//! they make read-only, and what they end with a connection. Only where systemd runs.

use std::collections::BTreeMap;
use std::path::Path;

use super::{Desk, Ready, kinds};
use crate::sys::{sight, units};
use crate::wire::finding::Kind;
use crate::wire::sudo;

/// The units as they are shipped: a listener of its own, and the one for each connection of the socket unit. Of a template
/// systemd tells by an instance.
const UNITS: [&str; 3] = [
    "self-heal.service",
    "self-heal.socket",
    "self-heal@check.service",
];

/// What keeps a program from getting more rights, where `User=` is set: all of them imply NoNewPrivileges= (systemd.exec(5)).
const IMPLIES: [&str; 15] = [
    "NoNewPrivileges",
    "PrivateDevices",
    "ProtectKernelTunables",
    "ProtectKernelModules",
    "ProtectKernelLogs",
    "ProtectClock",
    "ProtectHostname",
    "MemoryDenyWriteExecute",
    "RestrictRealtime",
    "RestrictSUIDSGID",
    "RestrictNamespaces",
    "LockPersonality",
    "DynamicUser",
    "SystemCallFilter",
    "SystemCallArchitectures",
];

/// Likewise; and what else is asked.
const MORE: [&str; 13] = [
    "RestrictAddressFamilies",
    "Id",
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "User",
    "KillMode",
    "CapabilityBoundingSet",
    "ProtectSystem",
    "ReadWritePaths",
    "StateDirectory",
    "LogsDirectory",
    "RuntimeDirectory",
];

type Unit = BTreeMap<String, String>;

/// Looks at them.
pub(super) fn look(desk: &mut Desk, handlers: &[Ready]) {
    if !units::booted() {
        return desk.looked("systemd", "does not run here");
    }
    let wanted: Vec<&str> = IMPLIES.into_iter().chain(MORE).collect();
    let text = match units::show(&UNITS, &wanted) {
        Ok(text) => text,
        Err(why) => return desk.unseen("systemd", why),
    };
    let units: Vec<Unit> = text.split("\n\n").map(parse).collect();
    let [listener, socket, connection] =
        UNITS.map(|name| units.iter().find(|unit| word(unit, "Id") == name));
    let serving = [
        listener.filter(|unit| in_use(unit)),
        connection.filter(|_| socket.is_some_and(in_use)),
    ];
    let serving: Vec<&Unit> = serving.into_iter().flatten().collect();
    let uses_sudo = handlers.iter().any(|ready| {
        let mut texts = ready.texts.iter();
        texts.any(|(_, bytes)| !sudo::calls(&String::from_utf8_lossy(bytes)).is_empty())
    });
    for unit in &serving {
        for (kind, what, mend) in judge(unit, &desk.who, desk.uid, uses_sudo) {
            desk.found(kind, shown(unit), what, mend);
        }
        read_only(desk, unit, handlers);
    }
    let names: Vec<String> = serving.iter().map(|unit| shown(unit)).collect();
    desk.looked(
        "systemd",
        if names.is_empty() {
            "runs, and neither self-heal.service nor self-heal.socket is active or enabled"
                .to_owned()
        } else {
            names.join(", ")
        },
    );
}

fn parse(text: &str) -> Unit {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs
        .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
        .collect()
}

fn word<'a>(unit: &'a Unit, key: &str) -> &'a str {
    unit.get(key).map_or("", String::as_str)
}

fn in_use(unit: &Unit) -> bool {
    word(unit, "LoadState") == "loaded"
        && (["active", "activating", "reloading"].contains(&word(unit, "ActiveState"))
            || ["enabled", "enabled-runtime"].contains(&word(unit, "UnitFileState")))
}

/// The template's name.
fn shown(unit: &Unit) -> String {
    word(unit, "Id").replace("@check.", "@.")
}

type Judged = (&'static Kind, String, String);

fn judge(unit: &Unit, who: &str, uid: u32, uses_sudo: bool) -> Vec<Judged> {
    let mut found: Vec<Judged> = Vec::new();
    let user = word(unit, "User");
    let by_number = user.parse() == Ok(uid);
    let user = if user.is_empty() { "root" } else { user };
    if user != who && !by_number {
        found.push((
            &kinds::UNIT_ACCOUNT,
            format!("it serves as {user}, and HEAL_STATE_DIR is {who}'s: every alert is answered error, and nothing runs"),
            format!("User={who}, or give the folders to {user}"),
        ));
    }
    let set = |name: &&&str| !["", "no", "~", "false"].contains(&word(unit, name));
    let also = ["RestrictAddressFamilies"];
    let mut without: Vec<String> = IMPLIES
        .iter()
        .chain(&also)
        .filter(set)
        .map(|name| format!("{name}="))
        .collect();
    let capabilities = unit.get("CapabilityBoundingSet");
    if capabilities.is_some_and(|set| !set.contains("cap_setuid") || !set.contains("cap_setgid")) {
        without.push("CapabilityBoundingSet=".to_owned());
    }
    if uses_sudo && user != "root" && !without.is_empty() {
        let names = without.join(", ");
        found.push((
            &kinds::UNIT_NO_SUDO,
            format!("with {names} no program that it starts gets more rights: sudo fails in every handler"),
            "remove them: a unit whose handlers use sudo cannot have them (docs/security.md)".to_owned(),
        ));
    }
    match word(unit, "KillMode") {
        "process" | "none" | "" => {}
        mode => found.push((
            &kinds::UNIT_KILLS,
            format!("KillMode={mode} ends a running handler, and a daemon that one has started, when the unit stops or its connection is over"),
            "KillMode=process, as in deploy/systemd".to_owned(),
        )),
    }
    found
}

fn read_only(desk: &mut Desk, unit: &Unit, handlers: &[Ready]) {
    let config = desk.config().clone();
    let ours = [
        &config.state_dir,
        &config.log_dir,
        &config.lock_dir,
        &config.backup_dir,
    ];
    // A folder of ours, or the folder where a file is put back.
    let ours = ours.map(|path| (path.clone(), path.clone()));
    let wanted = handlers
        .iter()
        .flat_map(|ready| &ready.handler.directives.snapshot);
    let wanted = wanted.map(|path| (path.clone(), path.parent().unwrap_or(path).to_owned()));
    let protect = word(unit, "ProtectSystem").to_owned();
    let writable = word(unit, "ReadWritePaths").split_whitespace();
    let writable: Vec<String> = writable.map(str::to_owned).collect();
    for (path, folder) in ours.into_iter().chain(wanted) {
        let real = sight::real(&path);
        if closed(&protect, &writable, &real) && !made_by(unit, &real) {
            let path = path.display();
            let what = format!(
                "ProtectSystem={protect} makes {path} read-only for whatever the unit starts, sudo included"
            );
            let mend = format!(
                "ReadWritePaths={} in the unit: see docs/rollback.md",
                folder.display()
            );
            desk.found(&kinds::UNIT_READ_ONLY, shown(unit), what, mend);
        }
    }
}

/// What `StateDirectory=` and its kin name stays writable (systemd.exec(5)).
fn made_by(unit: &Unit, path: &Path) -> bool {
    let kin = [
        ("StateDirectory", "/var/lib"),
        ("LogsDirectory", "/var/log"),
        ("RuntimeDirectory", "/run"),
    ];
    kin.iter().any(|(key, top)| {
        let mut names = word(unit, key).split_whitespace();
        names.any(|name| path.starts_with(Path::new(top).join(name)))
    })
}

/// ProtectSystem= (systemd.exec(5)): `strict` is everything, `full` has /etc beside /usr and the boot loader's.
fn closed(protect: &str, writable: &[String], path: &Path) -> bool {
    let below = |tops: &[&str]| tops.iter().any(|top| path.starts_with(top));
    let protected = match protect {
        "strict" => !below(&["/dev", "/proc", "/sys"]),
        "full" => below(&["/usr", "/boot", "/efi", "/etc"]),
        "yes" => below(&["/usr", "/boot", "/efi"]),
        _ => false,
    };
    protected
        && !writable
            .iter()
            .any(|open| path.starts_with(open.trim_start_matches(['-', '+'])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str = "Id=self-heal.service\nLoadState=loaded\nActiveState=active\nUser=healer\n\
        KillMode=process\nNoNewPrivileges=no\nPrivateDevices=no\nRestrictNamespaces=no\nSystemCallFilter=~\n\
        CapabilityBoundingSet=cap_chown cap_setgid cap_setuid\nProtectSystem=full\n";

    fn found(more: &str) -> Vec<(&'static str, String)> {
        let unit = parse(&format!("{SHIPPED}{more}"));
        let judged = judge(&unit, "healer", 990, true);
        judged
            .into_iter()
            .map(|(kind, what, _)| (kind.name, what))
            .collect()
    }

    #[test]
    fn the_shipped_unit_is_as_it_should_be() {
        assert_eq!(found(""), []);
        assert!(in_use(&parse(SHIPPED)));
        assert!(!in_use(&parse(&SHIPPED.replace("=active", "=inactive"))));
        assert_eq!(found("User=990\n"), []);
    }

    #[test]
    fn whatever_keeps_sudo_from_working_is_named() {
        for line in [
            "NoNewPrivileges=yes",
            "PrivateDevices=yes",
            "RestrictAddressFamilies=AF_INET AF_UNIX",
            "SystemCallFilter=read write",
            "RestrictNamespaces=yes",
            "CapabilityBoundingSet=",
            "CapabilityBoundingSet=cap_chown",
        ] {
            let found = found(&format!("{line}\n"));
            let name = line.split('=').next().unwrap();
            assert_eq!(found.len(), 1, "{line}");
            assert!(
                found[0].0 == "unit-no-sudo" && found[0].1.contains(name),
                "{found:?}"
            );
        }
        let unit = parse(&format!("{SHIPPED}NoNewPrivileges=yes\n"));
        assert!(
            judge(&unit, "healer", 990, false).is_empty(),
            "no handler uses sudo"
        );
    }

    #[test]
    fn another_account_and_another_way_to_end() {
        assert_eq!(found("User=www-data\n")[0].0, "unit-account");
        assert!(found("User=\n")[0].1.starts_with("it serves as root"));
        assert_eq!(found("KillMode=control-group\n")[0].0, "unit-kills");
    }

    #[test]
    fn what_protect_system_closes() {
        let conf = Path::new("/etc/nginx/nginx.conf");
        let open = ["-/etc/nginx".to_owned()];
        assert!(closed("full", &[], conf) && closed("strict", &[], conf));
        assert!(
            !closed("full", &open, conf) && !closed("yes", &[], conf) && !closed("no", &[], conf)
        );
        assert!(closed("strict", &[], Path::new("/var/lib/self-heal")));
        assert!(!closed("full", &[], Path::new("/var/lib/self-heal")));
    }
}
