//! The world outside: who listens on the port, and the clock.

use core::net::{IpAddr, SocketAddr};

use super::{Desk, kinds};
use crate::judge::Time;
use crate::sys::{clock, listeners, units};

/// 2024-01-01 00:00:00 UTC, in ms since 1970: older than this program.
const NOT_BEFORE: Time = Time(1_704_067_200_000);

/// Looks at it.
pub(super) fn look(desk: &mut Desk) {
    port(desk);
    let now = clock::now();
    if now < NOT_BEFORE {
        let what = "the clock says it is before 2024: attempts and windows are counted by it, and alerts seem to lie in the future";
        desk.found(
            &kinds::CLOCK_WRONG,
            "clock",
            what,
            "set it: timedatectl set-ntp true",
        );
    }
    match units::clock_synchronised() {
        Some(true) => desk.looked("clock", "kept right by the network's"),
        Some(false) => {
            let what = "nothing keeps the clock right: when it is set back, waits are longer than they should be";
            desk.found(
                &kinds::CLOCK_FREE,
                "clock",
                what,
                "timedatectl set-ntp true, or chrony",
            );
            desk.looked("clock", "not kept right");
        }
        None => desk.looked("clock", "who keeps it right is not known here"),
    }
}

fn port(desk: &mut Desk) {
    let port = desk.config().port;
    let place = desk.surveyed.survey.place("HEAL_PORT");
    let found = match listeners::on(port) {
        Ok(found) => found,
        Err(error) => return desk.unseen("/proc/net/tcp", error.to_string()),
    };
    for address in found
        .iter()
        .filter(|address| !listeners::is_loopback(address))
    {
        let what = format!(
            "somebody listens on {}: other machines reach it, and what reaches it can have services restarted",
            shown(address, port)
        );
        let mend = "bind 127.0.0.1, as deploy/webhook-listener.sh does; for other machines see docs/security.md";
        desk.found(&kinds::PORT_OPEN, place.clone(), what, mend);
    }
    if found.is_empty() {
        let what = format!("nobody listens on port {port}");
        let mend = "systemctl enable --now self-heal.service, or another spawner of deploy/";
        desk.found(&kinds::PORT_SILENT, place, what, mend);
    }
    let at: Vec<String> = found.iter().map(|address| shown(address, port)).collect();
    desk.looked(
        "port",
        if at.is_empty() {
            format!("{port}: silent")
        } else {
            at.join(", ")
        },
    );
}

fn shown(address: &IpAddr, port: u16) -> String {
    SocketAddr::new(*address, port).to_string()
}
