//! The user whose process holds the other end of a TCP connection within this machine, asked of the
//! kernel for exactly that socket (sock_diag(7), `linux/inet_diag.h`): no dump, no walk through `/proc`.
//! It never guesses: a socket without a holder, or an answer about another socket, is nobody's.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::libc::{AF_INET, AF_INET6, IPPROTO_TCP, NLM_F_REQUEST, NLMSG_ERROR};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recvfrom, send,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::peer::canonical;

/// The uid that owns the socket whose own address is `peer` and whose other end is `local`.
///
/// `None`: no such socket on this machine (in this network namespace, and not bound to a device), its
/// process has closed it already (inode 0: the kernel would report uid 0, which is not root's doing), or
/// the kernel lacks `tcp_diag`. An IPv4 connection held by an IPv6 socket is found on either side. In a
/// user namespace a uid without a mapping reads as the overflow uid, 65534.
///
/// The addresses may have been taken over by another connection if ours has ended: whoever asks has to
/// see its own connection still standing afterwards, as [`super::connection::Connection::owner`] does.
///
/// # Errors
/// Netlink refused or did not answer within a second.
pub fn owner(peer: SocketAddr, local: SocketAddr) -> io::Result<Option<u32>> {
    let (peer, local) = (canonical(peer), canonical(local));
    if peer.is_ipv4() != local.is_ipv4() {
        return Ok(None);
    }
    let asked = Identity::new(peer, local);
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkSockDiag,
    )?;
    // The kernel answers within send(2) itself; the limit is for a kernel that does not answer at all.
    setsockopt(&netlink, ReceiveTimeout, &TimeVal::seconds(1))?;
    send(
        netlink.as_raw_fd(),
        &request(&asked, scope(peer)),
        MsgFlags::empty(),
    )?;
    let mut buffer = [0; 1024];
    let answer = receive(&netlink, &mut buffer)?;
    match parse(answer) {
        Some(Answer::Found {
            identity,
            uid,
            inode,
        }) if identity == asked && inode != 0 => Ok(Some(uid)),
        Some(Answer::Found { .. } | Answer::Refused(Errno::ENOENT)) => Ok(None),
        Some(Answer::Refused(errno)) => Err(errno.into()),
        None => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "sock_diag gave an answer that cannot be read",
        )),
    }
}

/// A socket by its two ends, seen from itself; IPv6 scope and flow label are left out.
#[derive(Debug, PartialEq, Eq)]
struct Identity {
    source: SocketAddr,
    destination: SocketAddr,
}

impl Identity {
    fn new(source: SocketAddr, destination: SocketAddr) -> Identity {
        Identity {
            source: SocketAddr::new(source.ip(), source.port()),
            destination: SocketAddr::new(destination.ip(), destination.port()),
        }
    }
}

enum Answer {
    Found {
        identity: Identity,
        uid: u32,
        inode: u32,
    },
    Refused(Errno),
}

/// `linux/sock_diag.h`; netlink numbers its messages in host order.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// One question a socket, so any number will do.
const SEQUENCE: u32 = 1;
/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
const REQUEST_LENGTH: u32 = 16 + 56;
/// `struct nlmsghdr` and `struct inet_diag_msg`.
const ANSWER_LENGTH: usize = 16 + 72;

fn request(asked: &Identity, interface: u32) -> Vec<u8> {
    let family = if asked.source.is_ipv4() {
        AF_INET
    } else {
        AF_INET6
    };
    let mut bytes = Vec::with_capacity(REQUEST_LENGTH as usize);
    // struct nlmsghdr: length, type, flags, sequence, port (0: ours to choose)
    bytes.extend(REQUEST_LENGTH.to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend((NLM_F_REQUEST as u16).to_ne_bytes());
    bytes.extend(SEQUENCE.to_ne_bytes());
    bytes.extend(0u32.to_ne_bytes());
    // struct inet_diag_req_v2: family, protocol, extensions, padding, states (all)
    bytes.extend([family as u8, IPPROTO_TCP as u8, 0, 0]);
    bytes.extend(u32::MAX.to_ne_bytes());
    // struct inet_diag_sockid: ports and addresses in network order, interface, no cookie
    bytes.extend(asked.source.port().to_be_bytes());
    bytes.extend(asked.destination.port().to_be_bytes());
    bytes.extend(wide(asked.source.ip()));
    bytes.extend(wide(asked.destination.ip()));
    bytes.extend(interface.to_ne_bytes());
    bytes.extend([0xff; 8]);
    bytes
}

/// The address in the 16 bytes that either family has in the structure.
fn wide(addr: IpAddr) -> [u8; 16] {
    match addr {
        IpAddr::V6(v6) => v6.octets(),
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]
        }
    }
}

/// The interface of a link-local address, 0 for all others.
fn scope(addr: SocketAddr) -> u32 {
    match addr {
        SocketAddr::V4(_) => 0,
        SocketAddr::V6(v6) => v6.scope_id(),
    }
}

/// One message from the kernel (port 0); what anybody else might have sent is passed over.
fn receive<'a>(netlink: &OwnedFd, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
    let length = loop {
        match recvfrom::<NetlinkAddr>(netlink.as_raw_fd(), buffer) {
            Ok((length, Some(sender))) if sender.pid() == 0 => break length,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => return Err(io::ErrorKind::TimedOut.into()),
            Err(errno) => return Err(errno.into()),
        }
    };
    Ok(buffer.get(..length).unwrap_or_default())
}

fn parse(bytes: &[u8]) -> Option<Answer> {
    let length = usize::try_from(word(bytes, 0)?).ok()?;
    if length > bytes.len() || word(bytes, 8)? != SEQUENCE {
        return None;
    }
    let kind = u16::from_ne_bytes(array(bytes, 4)?);
    if i32::from(kind) == NLMSG_ERROR {
        let code = i32::from_ne_bytes(array(bytes, 16)?);
        return Some(Answer::Refused(Errno::from_raw(code.checked_neg()?)));
    }
    if kind != SOCK_DIAG_BY_FAMILY || length < ANSWER_LENGTH {
        return None;
    }
    let family = i32::from(*bytes.get(16)?);
    let end = |port, addr| {
        let port = u16::from_be_bytes(array(bytes, port)?);
        let octets: [u8; 16] = array(bytes, addr)?;
        let ip = match family {
            AF_INET => IpAddr::from(array::<4>(&octets, 0)?),
            AF_INET6 => IpAddr::V6(Ipv6Addr::from(octets)).to_canonical(),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    };
    let identity = Identity {
        source: end(20, 24)?,
        destination: end(22, 40)?,
    };
    Some(Answer::Found {
        identity,
        uid: word(bytes, 80)?,
        inode: word(bytes, 84)?,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::process::{Command, Stdio};

    use nix::unistd::geteuid;

    use super::*;

    fn connected(at: &str, to: &str) -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(at).unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect((to, port)).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn owner_of(server: &TcpStream) -> Option<u32> {
        owner(server.peer_addr().unwrap(), server.local_addr().unwrap()).unwrap()
    }

    #[test]
    fn our_own_connection_is_ours_whatever_the_families() {
        for (at, to) in [
            ("127.0.0.1:0", "127.0.0.1"),
            ("127.0.0.1:0", "::ffff:127.0.0.1"),
            ("[::]:0", "127.0.0.1"),
            ("[::]:0", "::ffff:127.0.0.1"),
            ("[::1]:0", "::1"),
        ] {
            let (_client, server) = connected(at, to);
            assert_eq!(owner_of(&server), Some(geteuid().as_raw()), "{at} {to}");
        }
    }

    #[test]
    fn a_half_closed_socket_still_has_its_owner() {
        let (client, mut server) = connected("127.0.0.1:0", "127.0.0.1");
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        assert_eq!(owner_of(&server), Some(geteuid().as_raw()));
    }

    #[test]
    fn a_socket_that_its_process_closed_is_nobodys() {
        let (client, mut server) = connected("127.0.0.1:0", "127.0.0.1");
        drop(client);
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        assert_eq!(owner_of(&server), None);
    }

    #[test]
    fn what_does_not_exist_is_nobodys() {
        let (_client, server) = connected("127.0.0.1:0", "127.0.0.1");
        let (peer, local) = (server.peer_addr().unwrap(), server.local_addr().unwrap());
        let elsewhere: SocketAddr = "203.0.113.9:4711".parse().unwrap();
        assert_eq!(owner(elsewhere, local).unwrap(), None);
        assert_eq!(owner(peer, elsewhere).unwrap(), None);
        assert_eq!(owner(peer, "[::1]:80".parse().unwrap()).unwrap(), None);
    }

    /// The kernel's exact look-up falls back to a listener on the source address; that is not the peer.
    #[test]
    fn a_listener_on_the_peers_address_is_not_the_peer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let nowhere: SocketAddr = "127.0.0.1:9".parse().unwrap();
        assert_eq!(
            owner(listener.local_addr().unwrap(), nowhere).unwrap(),
            None
        );
    }

    #[test]
    fn another_users_connection_is_theirs() {
        if !geteuid().is_root() {
            // Only root can become another user; the tests above hold for everybody.
            return;
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let script = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo up && read end");
        let mut child = Command::new("setpriv")
            .args([
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "bash",
                "-c",
                &script,
            ])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert_eq!(line, "up\n");
        let (mut server, _) = listener.accept().unwrap();
        assert_eq!(owner_of(&server), Some(65534));
        child.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(child.wait().unwrap().success());
        assert_eq!(server.read(&mut [0]).unwrap(), 0);
        assert_eq!(owner_of(&server), None);
    }

    #[test]
    fn torn_and_foreign_answers_are_not_read() {
        let asked = Identity {
            source: "127.0.0.1:1".parse().unwrap(),
            destination: "127.0.0.1:2".parse().unwrap(),
        };
        let mut bytes = request(&asked, 0);
        bytes.resize(ANSWER_LENGTH, 0);
        bytes[..4].copy_from_slice(&(ANSWER_LENGTH as u32).to_ne_bytes());
        bytes[16] = 77;
        assert!(parse(&bytes).is_none(), "unknown family");
        bytes[16] = AF_INET as u8;
        assert!(parse(&bytes).is_some());
        for cut in 0..ANSWER_LENGTH {
            assert!(parse(&bytes[..cut]).is_none(), "{cut}");
        }
        bytes[8] ^= 1;
        assert!(parse(&bytes).is_none(), "another question's answer");
    }
}
