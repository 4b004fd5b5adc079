//! The connection that the spawner left on fds 0 and 1, of whatever kind: a TCP socket, a UNIX socket
//! pair, two pipes, files. It moves bytes against a deadline and ends the connection so that the answer
//! arrives; it knows nothing of HTTP, and never sets `O_NONBLOCK`, because the open file is shared with
//! the spawner.

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::socket::Shutdown;
use nix::sys::stat::{FileStat, SFlag, fstat};
use nix::unistd::{dup2_stderr, dup2_stdin, dup2_stdout};

mod end;

use end::{End, Kind, file_type};

use super::peer::{self, Peer, Side};
use super::peer_owner;

/// One client, from its first byte to the end of the answer.
#[derive(Debug)]
pub struct Connection {
    input: End,
    output: End,
}

/// What came of an attempt to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The client will send no more.
    End,
    /// The deadline passed.
    TimedOut,
    /// The client is gone without a farewell.
    Reset,
}

/// What the client may have sent that nobody has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    /// Nothing that belongs to the request: it was read whole.
    Nothing,
    /// The rest of a request that was answered before its end.
    Rest,
}

impl Connection {
    /// Takes fds 0 and 1 over: they move to private close-on-exec descriptors, and `/dev/null` takes their
    /// places, and that of fd 2 where it is the connection as well. From here on no message, no panic and
    /// no child process can reach the client by accident. To be called once, and only by a process that
    /// will not execute itself anew.
    ///
    /// # Errors
    /// No descriptor left, or no `/dev/null`: the connection is then lost and the process should end.
    pub fn inherited() -> io::Result<Connection> {
        let loud = stderr_is_connection();
        let input = End::new(io::stdin().as_fd().try_clone_to_owned()?)?;
        let output = End::new(io::stdout().as_fd().try_clone_to_owned()?)?;
        let null = File::options().read(true).write(true).open("/dev/null")?;
        dup2_stdin(&null)?;
        dup2_stdout(&null)?;
        if loud {
            dup2_stderr(&null)?;
        }
        Ok(Connection { input, output })
    }

    /// Who is on the other side, by the kernel or, failing that, by the spawner's environment.
    pub fn peer(&self) -> Peer {
        peer::of(self.input.fd.as_fd(), std::env::vars_os())
    }

    /// The uid that holds the client's end, for a client on this machine; see [`peer_owner::owner`].
    /// `None`: nobody on this machine, no internet socket, or the connection ended meanwhile.
    ///
    /// # Errors
    /// The kernel could not be asked.
    pub fn owner(&self) -> io::Result<Option<u32>> {
        let Some((peer, local)) = self.addresses() else {
            return Ok(None);
        };
        let uid = peer_owner::owner(peer, local)?;
        // A client that resets the connection frees its port for somebody else's: only while our end
        // still stands can the answer have been about this client.
        Ok(uid.filter(|_| self.addresses() == Some((peer, local))))
    }

    /// Theirs and ours.
    fn addresses(&self) -> Option<(SocketAddr, SocketAddr)> {
        let socket = self.input.fd.as_fd();
        let peer = peer::address(socket, Side::Theirs).ok()?;
        let local = peer::address(socket, Side::Ours).ok()?;
        Some((peer, local))
    }

    /// Reads what there is, waiting for it until `deadline`. After the deadline nothing is read, even if
    /// it is there: a client that drips bytes gains no time by them.
    ///
    /// # Errors
    /// Anything but a client's going away.
    pub fn read(&mut self, buf: &mut [u8], deadline: Instant) -> io::Result<Read> {
        self.input.read(buf, deadline)
    }

    /// Writes all of `bytes`. A client that never reads costs at most the time until `deadline`; what the
    /// kernel takes at once is written even after it.
    ///
    /// # Errors
    /// `TimedOut`, or the client is gone (`BrokenPipe`, `ConnectionReset`). SIGPIPE is taken to be
    /// ignored, as Rust's runtime leaves it.
    pub fn write(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        self.output.write(bytes, deadline)
    }

    /// Ends the connection: the end of the answer first, then whatever the client still sends is read and
    /// thrown away within bounds, then both directions are shut. Shut, not merely closed: systemd, inetd
    /// and a daemon that a handler started may hold copies of the descriptor (shutdown(2)).
    ///
    /// Reading on matters because closing a socket with unread bytes makes Linux send a reset, which
    /// destroys the answer on its way (RFC 9112 section 9.6). A client that closes once it has the answer,
    /// as all do that were told `Connection: close`, is never waited for longer than that takes.
    ///
    /// Everything else is to be done before: a socat that stands in between (`EXEC` without `nofork`)
    /// sends SIGTERM as soon as the answer has ended.
    pub fn finish(self, unread: Unread) {
        let Connection { mut input, output } = self;
        output.shut(Shutdown::Write);
        // A pipe has no other way to say that the answer is complete.
        drop(output);
        let (bytes, time) = match (input.kind, unread) {
            (Kind::Socket | Kind::Pipe, Unread::Rest) => REST,
            (Kind::Socket, Unread::Nothing) => STRAY,
            // Closing a pipe or a file takes nothing from what was written into another one.
            (Kind::Pipe, Unread::Nothing) | (Kind::Other, _) => (0, Duration::ZERO),
        };
        input.drain(bytes, Instant::now() + time);
        input.shut(Shutdown::Both);
    }
}

/// Whether fd 2 leads where the answer goes or the request comes from: inetd and xinetd put the socket
/// there, and `>file 2>&1` the answer's file. A terminal or `/dev/null` on both is no such case: nobody
/// parses an answer there. After [`Connection::inherited`] it is always false.
pub fn stderr_is_connection() -> bool {
    let Ok(stderr) = fstat(io::stderr()) else {
        return false;
    };
    let same = |other: nix::Result<FileStat>| {
        other.is_ok_and(|other| (other.st_dev, other.st_ino) == (stderr.st_dev, stderr.st_ino))
    };
    file_type(&stderr) != SFlag::S_IFCHR && (same(fstat(io::stdin())) || same(fstat(io::stdout())))
}

/// Reading on after a refusal. 2 s as Apache waits for a silent client (`SECONDS_TO_LINGER`); the bytes
/// are many times the largest body that loopback brings in that time from a sender worth answering.
const REST: (u64, Duration) = (64 << 20, Duration::from_secs(2));

/// Reading on after a whole request: stray pipelined bytes, and the client's closing, which takes well
/// under a millisecond on loopback and a round trip elsewhere.
const STRAY: (u64, Duration) = (1 << 20, Duration::from_millis(200));

#[cfg(test)]
mod tests {
    use std::io::{PipeReader, PipeWriter, Read as _, Write as _, pipe};
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use nix::sys::socket::setsockopt;
    use nix::sys::socket::sockopt::Linger;
    use nix::unistd::geteuid;

    use super::*;

    fn connection(input: impl Into<OwnedFd>, output: impl Into<OwnedFd>) -> Connection {
        Connection {
            input: End::new(input.into()).unwrap(),
            output: End::new(output.into()).unwrap(),
        }
    }

    fn tcp() -> (TcpStream, Connection) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        (client, connection(server.try_clone().unwrap(), server))
    }

    fn unix() -> (UnixStream, Connection) {
        let (client, server) = UnixStream::pair().unwrap();
        (client, connection(server.try_clone().unwrap(), server))
    }

    fn pipes() -> (PipeWriter, PipeReader, Connection) {
        let (input, request) = pipe().unwrap();
        let (answer, output) = pipe().unwrap();
        (request, answer, connection(input, output))
    }

    fn within(milliseconds: u64) -> Instant {
        Instant::now() + Duration::from_millis(milliseconds)
    }

    fn reset(client: &TcpStream) {
        let now = nix::libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(client, Linger, &now).unwrap();
    }

    /// A request goes in, the answer comes out and ends, for sockets of both kinds.
    fn exchange(mut client: impl io::Read + io::Write, mut server: Connection) {
        client.write_all(b"request").unwrap();
        let mut buf = [0; 64];
        assert_eq!(server.read(&mut buf, within(5000)).unwrap(), Read::Bytes(7));
        assert_eq!(&buf[..7], b"request");
        server.write(b"answer", within(5000)).unwrap();
        let end = thread::spawn(move || server.finish(Unread::Nothing));
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "answer");
        drop(client);
        end.join().unwrap();
    }

    #[test]
    fn sockets_carry_a_request_and_an_answer() {
        let (client, server) = tcp();
        exchange(client, server);
        let (client, server) = unix();
        exchange(client, server);
    }

    #[test]
    fn pipes_carry_a_request_and_an_answer() {
        let (mut request, mut answer, mut server) = pipes();
        request.write_all(b"request").unwrap();
        drop(request);
        let mut buf = [0; 64];
        assert_eq!(server.read(&mut buf, within(5000)).unwrap(), Read::Bytes(7));
        assert_eq!(server.read(&mut buf, within(5000)).unwrap(), Read::End);
        server.write(b"answer", within(5000)).unwrap();
        server.finish(Unread::Nothing);
        let mut text = String::new();
        answer.read_to_string(&mut text).unwrap();
        assert_eq!(text, "answer");
    }

    #[test]
    fn a_client_that_resets_is_told_from_one_that_ends() {
        let (client, mut server) = tcp();
        reset(&client);
        drop(client);
        assert_eq!(server.read(&mut [0; 8], within(5000)).unwrap(), Read::Reset);
        assert_eq!(server.owner().unwrap(), None);
        let error = server.write(b"answer", within(5000)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
        server.finish(Unread::Rest);

        let (client, mut server) = tcp();
        client.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(server.read(&mut [0; 8], within(5000)).unwrap(), Read::End);
    }

    #[test]
    fn a_large_answer_reaches_a_slow_reader_of_a_pipe_whole() {
        let (_request, mut answer, mut piped) = pipes();
        let large: Vec<u8> = (0..300_001u32).map(|n| n as u8).collect();
        let expected = large.clone();
        let reader = thread::spawn(move || {
            let mut got = Vec::new();
            answer.read_to_end(&mut got).unwrap();
            got
        });
        piped.write(&large, within(20_000)).unwrap();
        piped.finish(Unread::Nothing);
        assert!(reader.join().unwrap() == expected);
    }

    /// The client reads nothing before it has sent everything, as Alertmanager's does with 6 MB.
    #[test]
    fn a_refused_body_of_6_mb_still_gets_its_answer() {
        let (tcp_client, tcp_server) = tcp();
        let (unix_client, unix_server) = unix();
        fn refuse<C: io::Read + io::Write + Send + 'static>(mut client: C, mut server: Connection) {
            let sender = thread::spawn(move || {
                client.write_all(&vec![b'x'; 6 << 20]).unwrap();
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                answer
            });
            assert_eq!(
                server.read(&mut [0; 1], within(5000)).unwrap(),
                Read::Bytes(1)
            );
            server.write(b"413", within(5000)).unwrap();
            server.finish(Unread::Rest);
            assert_eq!(sender.join().unwrap(), "413");
        }
        refuse(tcp_client, tcp_server);
        refuse(unix_client, unix_server);
    }

    /// Loopback TCP would forgive a reset after the end of the answer; a UNIX socket gives it to the reader.
    #[test]
    fn pipelined_bytes_do_not_destroy_the_answer() {
        fn pipeline(mut client: impl io::Read + io::Write, mut server: Connection) {
            client.write_all(b"request").unwrap();
            client.write_all(&[b'x'; 50_000]).unwrap();
            let read = server.read(&mut [0; 7], within(5000));
            assert_eq!(read.unwrap(), Read::Bytes(7));
            server.write(b"answer", within(5000)).unwrap();
            let start = Instant::now();
            server.finish(Unread::Nothing);
            assert!(start.elapsed() < REST.1, "a client that stays open is left");
            let mut answer = String::new();
            client.read_to_string(&mut answer).unwrap();
            assert_eq!(answer, "answer");
        }
        let (client, server) = tcp();
        pipeline(client, server);
        let (client, server) = unix();
        pipeline(client, server);
    }

    #[test]
    fn a_copy_of_the_descriptor_elsewhere_does_not_keep_the_client_waiting() {
        let (mut client, server) = tcp();
        let kept = server.input.fd.try_clone().unwrap();
        let end = thread::spawn(move || server.finish(Unread::Nothing));
        assert_eq!(client.read(&mut [0; 8]).unwrap(), 0);
        end.join().unwrap();
        drop(kept);
    }

    #[test]
    fn finishing_is_bounded_in_time_and_bytes_and_quick_for_a_client_that_closes() {
        let (client, server) = tcp();
        let start = Instant::now();
        server.finish(Unread::Rest);
        assert!(
            start.elapsed() >= REST.1,
            "silent, but perhaps still sending"
        );
        assert!(start.elapsed() < REST.1 + Duration::from_secs(5));
        drop(client);

        let (client, server) = tcp();
        drop(client);
        let start = Instant::now();
        server.finish(Unread::Rest);
        assert!(start.elapsed() < REST.1);

        let (mut client, mut server) = unix();
        let sender = thread::spawn(move || while client.write_all(&[0; 65536]).is_ok() {});
        server.input.drain(1 << 20, within(60_000));
        server.finish(Unread::Nothing);
        sender.join().unwrap();
    }

    #[test]
    fn the_owner_is_known_while_the_connection_stands() {
        let (client, server) = tcp();
        assert_eq!(server.owner().unwrap(), Some(geteuid().as_raw()));
        assert_eq!(server.peer(), Peer::Inet(client.local_addr().unwrap()));
        let (_other, local) = unix();
        assert_eq!(local.owner().unwrap(), None);
        let (_request, _answer, piped) = pipes();
        assert_eq!(piped.owner().unwrap(), None);
    }
}
