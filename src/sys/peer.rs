//! Who is on the other side of the connection, and whether that address may talk to us. The kernel is
//! asked first; what a spawner says in the environment counts only where fd 0 is no internet socket and
//! the kernel cannot know. Every doubt ends in [`Peer::Unknown`], which is never permitted.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockaddrLike, SockaddrStorage, getpeername, getsockname};

use crate::wire::net::{Net, unbracketed};

/// The other side. IPv4-mapped IPv6 addresses are given as the IPv4 addresses they mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A pipe, a file, or a UNIX socket whose spawner declares no address: somebody on this machine.
    Local,
    /// An internet socket, by getpeername(2).
    Inet(SocketAddr),
    /// No internet socket, but the spawner says for whom it stands in between.
    Declared(IpAddr),
    /// It cannot be told, and why.
    Unknown(String),
    /// The kernel had no memory to say it: the same question may be answered the next time.
    Unsaid(String),
}

/// Whether that peer may talk to us: this machine always, others if an entry holds them, the unknown never.
pub fn permitted(peer: &Peer, allowed: &[Net]) -> bool {
    let addr = match peer {
        Peer::Local => return true,
        Peer::Inet(addr) => addr.ip(),
        Peer::Declared(addr) => *addr,
        Peer::Unknown(_) | Peer::Unsaid(_) => return false,
    };
    addr.to_canonical().is_loopback() || allowed.iter().any(|net| net.contains(addr))
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Local => f.write_str("local"),
            Peer::Inet(addr) => addr.fmt(f),
            Peer::Declared(addr) => addr.fmt(f),
            Peer::Unknown(why) | Peer::Unsaid(why) => write!(f, "unknown ({why})"),
        }
    }
}

/// The peer of `input`, with the environment that the spawner gave.
pub(super) fn of(
    input: BorrowedFd<'_>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> Peer {
    let family = match getsockname::<SockaddrStorage>(input.as_raw_fd()) {
        Ok(own) => own.family(),
        Err(Errno::ENOTSOCK) => return declared(environment).unwrap_or(Peer::Local),
        Err(errno) => return unasked("getsockname", errno),
    };
    match family {
        Some(AddressFamily::Inet | AddressFamily::Inet6) => match address(input, Side::Theirs) {
            Ok(addr) => Peer::Inet(addr),
            // ENOTCONN: the client reset the connection before we looked.
            Err(errno) => unasked("getpeername", errno),
        },
        Some(AddressFamily::Unix) => declared(environment).unwrap_or(Peer::Local),
        other => declared(environment)
            .unwrap_or_else(|| Peer::Unknown(format!("a socket of family {other:?}"))),
    }
}

fn unasked(call: &str, errno: Errno) -> Peer {
    let why = format!("{call}: {errno}");
    match errno {
        Errno::ENOBUFS | Errno::ENOMEM => Peer::Unsaid(why),
        _ => Peer::Unknown(why),
    }
}

/// Which end of a socket.
#[derive(Clone, Copy)]
pub(super) enum Side {
    Ours,
    Theirs,
}

/// The address of one end of an internet socket; `EAFNOSUPPORT` for any other socket.
pub(super) fn address(socket: BorrowedFd<'_>, side: Side) -> nix::Result<SocketAddr> {
    let raw = socket.as_raw_fd();
    let found: SockaddrStorage = match side {
        Side::Ours => getsockname(raw)?,
        Side::Theirs => getpeername(raw)?,
    };
    if let Some(v4) = found.as_sockaddr_in() {
        Ok(SocketAddr::V4((*v4).into()))
    } else if let Some(v6) = found.as_sockaddr_in6() {
        Ok(canonical(SocketAddr::V6((*v6).into())))
    } else {
        Err(Errno::EAFNOSUPPORT)
    }
}

/// The address with an IPv4-mapped one written as IPv4; a scope is kept where there is one.
pub(super) fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        IpAddr::V4(v4) => SocketAddr::from((v4, addr.port())),
        IpAddr::V6(_) => addr,
    }
}

/// xinetd, systemd (systemd.exec(5)), and the tcpserver family with inetutils' inetd.
const DECLARED_BY: [&str; 3] = ["REMOTE_HOST", "REMOTE_ADDR", "TCPREMOTEIP"];

/// What the spawner declares. All that is declared has to be one and the same address: two that differ
/// come from two spawners, and nobody can tell which of them is ours.
fn declared(environment: impl Iterator<Item = (OsString, OsString)>) -> Option<Peer> {
    let mut known: Option<IpAddr> = None;
    for (name, value) in environment {
        if !declares(&name) || unix_peer(&value) {
            continue;
        }
        let parsed = value
            .to_str()
            .and_then(|text| unbracketed(text).parse::<IpAddr>().ok());
        let Some(addr) = parsed.map(|addr| addr.to_canonical()) else {
            return Some(Peer::Unknown(format!(
                "{}={} is no address",
                name.display(),
                value.display()
            )));
        };
        match known {
            Some(other) if other != addr => {
                return Some(Peer::Unknown(format!("declared as {other} and as {addr}")));
            }
            _ => known = Some(addr),
        }
    }
    known.map(Peer::Declared)
}

/// `SOCAT_PEERADDR`, under whatever name socat was started: its prefix follows `-lp` (socat(1)).
fn declares(name: &OsStr) -> bool {
    name.to_str()
        .is_some_and(|name| DECLARED_BY.contains(&name) || name.ends_with("_PEERADDR"))
}

/// Nothing, or what socat says of a client on a UNIX socket: `<anon>`, or the path it is bound to.
fn unix_peer(value: &OsStr) -> bool {
    value.is_empty() || value == "<anon>" || value.as_encoded_bytes().starts_with(b"/")
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::Linger;

    use super::*;

    fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        let owned: Vec<_> = pairs
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)))
            .collect();
        owned.into_iter()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn accepted(at: &str, from: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(at).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((from, port)).unwrap();
        (client, listener.accept().unwrap().0)
    }

    #[test]
    fn the_kernel_knows_an_internet_peer_and_the_environment_is_not_asked() {
        for (at, from) in [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1")] {
            let (client, server) = accepted(at, from);
            let peer = of(server.as_fd(), env(&[("SOCAT_PEERADDR", "203.0.113.9")]));
            assert_eq!(peer, Peer::Inet(client.local_addr().unwrap()), "{at}");
            assert!(permitted(&peer, &[]));
        }
    }

    #[test]
    fn a_connection_that_was_reset_has_no_peer() {
        let (client, mut server) = accepted("127.0.0.1:0", "127.0.0.1");
        let now = nix::libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&client, Linger, &now).unwrap();
        drop(client);
        // The reset has arrived when reading says so.
        let read = std::io::Read::read(&mut server, &mut [0]);
        assert_eq!(
            read.unwrap_err().kind(),
            std::io::ErrorKind::ConnectionReset
        );
        let peer = of(server.as_fd(), env(&[("REMOTE_ADDR", "127.0.0.1")]));
        assert!(
            matches!(&peer, Peer::Unknown(why) if why.contains("ENOTCONN")),
            "{peer}"
        );
        assert!(!permitted(&peer, &[Net::parse("0.0.0.0/0").unwrap()]));
    }

    #[test]
    fn pipes_files_and_unix_sockets_are_local_unless_declared() {
        let (reading, _writing) = std::io::pipe().unwrap();
        let (left, _right) = UnixStream::pair().unwrap();
        let file = std::fs::File::open("/dev/null").unwrap();
        for fd in [reading.as_fd(), left.as_fd(), file.as_fd()] {
            assert_eq!(of(fd, env(&[("PATH", "10.0.0.1")])), Peer::Local);
            let peer = of(fd, env(&[("SOCAT_PEERADDR", "203.0.113.9")]));
            assert_eq!(peer, Peer::Declared(ip("203.0.113.9")));
        }
    }

    #[test]
    fn every_spawner_declares_in_its_own_way() {
        for (name, value, meant) in [
            ("SOCAT_PEERADDR", "127.0.0.1", "127.0.0.1"),
            (
                "SOCAT_PEERADDR",
                "[0000:0000:0000:0000:0000:0000:0000:0001]",
                "::1",
            ),
            (
                "SOCAT_PEERADDR",
                "[0000:0000:0000:0000:0000:ffff:7f00:0001]",
                "127.0.0.1",
            ),
            ("HEALER_PEERADDR", "10.0.0.1", "10.0.0.1"),
            ("REMOTE_HOST", "::ffff:10.0.0.1", "10.0.0.1"),
            ("REMOTE_ADDR", "2001:db8::1", "2001:db8::1"),
            ("TCPREMOTEIP", "192.0.2.1", "192.0.2.1"),
        ] {
            let expected = Some(Peer::Declared(ip(meant)));
            assert_eq!(declared(env(&[(name, value)])), expected, "{name}={value}");
        }
    }

    #[test]
    fn socat_on_a_unix_socket_declares_nobody() {
        for value in ["", "<anon>", "/run/client.sock"] {
            assert_eq!(declared(env(&[("SOCAT_PEERADDR", value)])), None, "{value}");
        }
    }

    #[test]
    fn a_declaration_that_cannot_be_read_or_contradicts_itself_is_refused() {
        for doubtful in [
            &[("SOCAT_PEERADDR", "localhost")][..],
            &[("REMOTE_ADDR", "127.0.0.1:80")],
            &[("REMOTE_HOST", "127.0.0.1"), ("REMOTE_ADDR", "10.0.0.1")],
            &[("TCPREMOTEIP", "127.0.0.1"), ("SOCAT_PEERADDR", "example")],
        ] {
            let peer = declared(env(doubtful)).unwrap();
            assert!(matches!(peer, Peer::Unknown(_)), "{doubtful:?}: {peer}");
            assert!(!permitted(&peer, &[Net::parse("::/0").unwrap()]));
        }
        let agreeing = [
            ("REMOTE_HOST", "10.0.0.1"),
            ("REMOTE_ADDR", "::ffff:10.0.0.1"),
        ];
        assert_eq!(
            declared(env(&agreeing)),
            Some(Peer::Declared(ip("10.0.0.1")))
        );
    }

    #[test]
    fn loopback_always_others_when_listed() {
        let listed = [Net::parse("10.0.0.0/8").unwrap()];
        for (addr, bare, with_list) in [
            ("127.0.0.1", true, true),
            ("127.255.0.9", true, true),
            ("::1", true, true),
            ("::ffff:127.0.0.1", true, true),
            ("10.1.2.3", false, true),
            ("192.0.2.1", false, false),
            ("::2", false, false),
            ("0.0.0.0", false, false),
        ] {
            for peer in [
                Peer::Declared(ip(addr)),
                Peer::Inet(SocketAddr::new(ip(addr), 1)),
            ] {
                assert_eq!(permitted(&peer, &[]), bare, "{addr}");
                assert_eq!(permitted(&peer, &listed), with_list, "{addr}");
            }
        }
    }
}
