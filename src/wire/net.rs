//! Address prefixes as a configuration writes them (`10.0.0.0/8`, `fd00::/8`, `192.0.2.7`), as values:
//! nothing here opens a socket or asks a resolver, and names of hosts are refused.

use std::fmt;

// From core, which has addresses and no sockets.
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address prefix in the notation of RFC 4632 section 3.1 and RFC 4291 section 2.3. An IPv4-mapped
/// one (`::ffff:10.0.0.0/104`) is the IPv4 prefix it means, so an IPv6 prefix never holds an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Net {
    addr: IpAddr,
    bits: u8,
}

impl Net {
    /// Reads `ADDRESS` or `ADDRESS/BITS`, the address optionally in brackets.
    ///
    /// # Errors
    /// One sentence: no address, a length beyond 32 or 128, or bits set behind the prefix (`10.1.2.3/8`),
    /// where nobody can tell which half is the slip.
    pub fn parse(text: &str) -> Result<Net, String> {
        let (host, length) = match text.split_once('/') {
            Some((host, length)) => (host, Some(length)),
            None => (text, None),
        };
        let raw = unbracketed(host)
            .parse::<IpAddr>()
            .map_err(|_| format!("{text:?} is no IP address or prefix such as 10.0.0.0/8"))?;
        let width = width(raw);
        let bits = match length {
            None => width,
            Some(digits) => decimal(digits)
                .filter(|bits| *bits <= width)
                .ok_or_else(|| {
                    format!("{text:?}: the prefix length must be 0 to {width}, not {digits:?}")
                })?,
        };
        let masked = mask(raw, bits);
        if masked != raw {
            return Err(format!(
                "{text:?} has bits set behind its prefix: write {masked}/{bits} or {raw}"
            ));
        }
        // A mapped prefix that passed the check above is at least 96 bits long, or all zeros.
        let addr = raw.to_canonical();
        Ok(match (raw, addr) {
            (IpAddr::V6(_), IpAddr::V4(_)) => Net {
                addr,
                bits: bits.saturating_sub(96),
            },
            _ => Net { addr, bits },
        })
    }

    /// Whether `addr`, an IPv4-mapped one taken as the IPv4 address it means, lies within the prefix.
    pub fn contains(&self, addr: IpAddr) -> bool {
        let addr = addr.to_canonical();
        addr.is_ipv4() == self.addr.is_ipv4() && mask(addr, self.bits) == self.addr
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.bits)
    }
}

/// The text without the brackets that surround an IPv6 address in URLs and in socat's variables.
pub fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[')
        .and_then(|inner| inner.strip_suffix(']'))
        .unwrap_or(text)
}

/// Digits alone: `u8::from_str` would take `+8` too.
fn decimal(digits: &str) -> Option<u8> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

fn width(addr: IpAddr) -> u8 {
    if addr.is_ipv4() { 32 } else { 128 }
}

/// The address with everything behind its first `bits` bits cleared.
fn mask(addr: IpAddr, bits: u8) -> IpAddr {
    // A shift by the whole width is none in Rust: it means "keep nothing".
    let cleared = u32::from(width(addr).saturating_sub(bits));
    match addr {
        IpAddr::V4(v4) => {
            let keep = u32::MAX.checked_shl(cleared).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & keep))
        }
        IpAddr::V6(v6) => {
            let keep = u128::MAX.checked_shl(cleared).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & keep))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        Net::parse(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_prefix_holds_its_addresses_and_no_others() {
        for (prefix, within, without) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.8"),
            ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
            ("0.0.0.0/0", "203.0.113.9", "2001:db8::1"),
            ("::/0", "2001:db8::1", "203.0.113.9"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("[2001:db8::]/33", "2001:db8:7fff::1", "2001:db8:8000::1"),
        ] {
            assert!(net(prefix).contains(ip(within)), "{prefix} {within}");
            assert!(!net(prefix).contains(ip(without)), "{prefix} {without}");
        }
    }

    #[test]
    fn mapped_addresses_are_the_ipv4_ones() {
        assert!(net("10.0.0.0/8").contains(ip("::ffff:10.1.2.3")));
        assert_eq!(net("::ffff:10.0.0.0/104"), net("10.0.0.0/8"));
        assert_eq!(net("::ffff:192.0.2.7"), net("192.0.2.7"));
        assert!(!net("::/0").contains(ip("::ffff:10.1.2.3")));
    }

    #[test]
    fn what_is_no_prefix_is_refused() {
        for bad in [
            "",
            "/8",
            "localhost",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0.0/ 8",
            "10.1.2.3/8",
            "::1/129",
            "fe80::1%eth0",
            "[::1",
            "::ffff:10.0.0.0/95",
        ] {
            assert!(Net::parse(bad).is_err(), "{bad:?}");
        }
        assert!(Net::parse("10.1.2.3/8").unwrap_err().contains("10.0.0.0/8"));
    }

    #[test]
    fn it_is_shown_as_it_is_meant() {
        assert_eq!(net("::ffff:10.0.0.0/104").to_string(), "10.0.0.0/8");
        assert_eq!(net("::1").to_string(), "::1/128");
    }
}
