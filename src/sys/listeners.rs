//! Who listens on a TCP port of this machine, as the kernel's own tables have it (proc_net_tcp(5)): those of this
//! process's network namespace.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The state of a socket that listens.
const LISTENS: &str = "0A";

/// The local addresses on which somebody listens on this port.
///
/// # Errors
/// The tables cannot be read.
pub fn on(port: u16) -> io::Result<BTreeSet<IpAddr>> {
    let mut found = addresses(&std::fs::read_to_string("/proc/net/tcp")?, port);
    match std::fs::read_to_string("/proc/net/tcp6") {
        Ok(table) => found.extend(addresses(&table, port)),
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(found)
}

/// Whether an address is this machine's own, also as IPv6 writes an IPv4 one (RFC 4291 section 2.5.5.2).
pub fn is_loopback(address: &IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn addresses(table: &str, port: u16) -> BTreeSet<IpAddr> {
    let lines = table.lines().skip(1);
    lines
        .filter_map(|line| {
            let mut fields = line.split_ascii_whitespace().skip(1);
            let (local, _, state) = (fields.next()?, fields.next()?, fields.next()?);
            let (address, number) = local.split_once(':')?;
            let here = u16::from_str_radix(number, 16) == Ok(port) && state == LISTENS;
            here.then(|| parse(address)).flatten()
        })
        .collect()
}

/// Words of 32 bits as this machine has them in memory, which is in the network's order.
fn parse(digits: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..digits.len()).step_by(8) {
        let word = u32::from_str_radix(digits.get(at..at + 8)?, 16).ok()?;
        bytes.extend(word.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?).into()),
        16 => Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn one_that_listens_is_found_and_others_are_not() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = here.local_addr().unwrap().port();
        let found = on(port).unwrap();
        assert_eq!(found, BTreeSet::from(["127.0.0.1".parse().unwrap()]));
        drop(here);
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn the_table_is_read_as_it_is_written() {
        let table = "  sl  local_address rem_address   st\n\
            0: 0100007F:2387 00000000:0000 0A 00000000:00000000\n\
            1: 00000000:2388 00000000:0000 0A 00000000:00000000\n\
            2: 0100007F:2387 0100007F:C001 01 00000000:00000000\n\
            3: torn\n";
        let four = |text: &str| BTreeSet::from([text.parse::<IpAddr>().unwrap()]);
        assert_eq!(addresses(table, 0x2387), four("127.0.0.1"));
        assert_eq!(addresses(table, 0x2388), four("0.0.0.0"));
        let table = "head\n 0: 0000000000000000FFFF00000100007F:2387 0:0 0A\n\
            1: 00000000000000000000000001000000:2387 0:0 0A\n\
            2: 00000000000000000000000000000000:2388 0:0 0A\n";
        let found = addresses(table, 0x2387);
        assert!(
            found.len() == 2 && found.iter().all(is_loopback),
            "{found:?}"
        );
        assert!(!addresses(table, 0x2388).iter().any(is_loopback));
    }
}
