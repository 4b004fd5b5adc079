//! One descriptor of the connection, read and written against a deadline. The descriptor blocks and stays
//! so; what must not block is done by a flag of the call (sockets) or by asking poll(2) first (the rest).

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::libc::PIPE_BUF;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, Shutdown, recv, send, shutdown};
use nix::sys::stat::{FileStat, SFlag, fstat};

use super::Read;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Socket,
    Pipe,
    /// Files and devices.
    Other,
}

/// One direction, or both where they are copies of one socket.
#[derive(Debug)]
pub(super) struct End {
    pub(super) fd: OwnedFd,
    pub(super) kind: Kind,
}

impl End {
    pub(super) fn new(fd: OwnedFd) -> io::Result<End> {
        let kind = match file_type(&fstat(&fd)?) {
            SFlag::S_IFSOCK => Kind::Socket,
            SFlag::S_IFIFO => Kind::Pipe,
            _ => Kind::Other,
        };
        Ok(End { fd, kind })
    }

    pub(super) fn read(&mut self, buf: &mut [u8], deadline: Instant) -> io::Result<Read> {
        if buf.is_empty() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        loop {
            if Instant::now() >= deadline {
                return Ok(Read::TimedOut);
            }
            match self.receive(buf, deadline) {
                Ok(0) => return Ok(Read::End),
                Ok(length) => return Ok(Read::Bytes(length)),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    self.wait(PollFlags::POLLIN, deadline)?;
                }
                // ETIMEDOUT: the kernel gave the client up (TCP_USER_TIMEOUT, keepalive).
                Err(Errno::ECONNRESET | Errno::EPIPE | Errno::ENOTCONN | Errno::ETIMEDOUT) => {
                    return Ok(Read::Reset);
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], deadline: Instant) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            match self.transmit(rest, deadline) {
                Ok(length) => rest = rest.get(length..).unwrap_or_default(),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if !self.wait(PollFlags::POLLOUT, deadline)? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(())
    }

    /// One read that does not block, even though the descriptor does.
    fn receive(&self, buf: &mut [u8], deadline: Instant) -> nix::Result<usize> {
        if self.kind == Kind::Socket {
            return recv(self.fd.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT);
        }
        if self.wait(PollFlags::POLLIN, deadline)? {
            nix::unistd::read(&self.fd, buf)
        } else {
            Err(Errno::EAGAIN)
        }
    }

    /// One write that does not block. A pipe that is ready takes `PIPE_BUF` bytes at once (pipe(7)); it
    /// might block on one byte more.
    fn transmit(&self, bytes: &[u8], deadline: Instant) -> nix::Result<usize> {
        if self.kind == Kind::Socket {
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            return send(self.fd.as_raw_fd(), bytes, flags);
        }
        let portion = bytes.get(..PIPE_BUF).unwrap_or(bytes);
        if self.wait(PollFlags::POLLOUT, deadline)? {
            nix::unistd::write(&self.fd, portion)
        } else {
            Err(Errno::EAGAIN)
        }
    }

    /// Whether the descriptor becomes ready, which errors and a hang-up make it too, before the deadline.
    fn wait(&self, events: PollFlags, deadline: Instant) -> nix::Result<bool> {
        loop {
            // Rounded up: a remainder below poll's millisecond must not become a busy loop.
            let left =
                deadline.saturating_duration_since(Instant::now()) + Duration::from_nanos(999_999);
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
            match poll(&mut [PollFd::new(self.fd.as_fd(), events)], timeout) {
                Ok(0) if Instant::now() >= deadline => return Ok(false),
                Ok(0) | Err(Errno::EINTR) => {}
                Ok(_) => return Ok(true),
                Err(errno) => return Err(errno),
            }
        }
    }

    pub(super) fn drain(&mut self, bytes: u64, deadline: Instant) {
        if bytes == 0 {
            return;
        }
        let mut waste = vec![0; 4 << 10];
        let mut left = bytes;
        while let Ok(Read::Bytes(length)) = self.read(&mut waste, deadline) {
            left = left.saturating_sub(length as u64);
            if left == 0 {
                return;
            }
        }
    }

    /// Errors mean that there is nothing left to shut.
    pub(super) fn shut(&self, how: Shutdown) {
        if self.kind == Kind::Socket {
            let _ = shutdown(self.fd.as_raw_fd(), how);
        }
    }
}

/// The file's type, one of the `S_IF` values.
pub(super) fn file_type(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT
}

#[cfg(test)]
mod tests {
    use std::io::{Write as _, pipe};
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;

    use super::*;

    /// A TCP socket, a UNIX socket, and the other ends.
    fn sockets() -> (TcpStream, UnixStream, [End; 2]) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let server = listener.accept().unwrap().0;
        let (local, other) = UnixStream::pair().unwrap();
        let ends = [server.into(), local.into()].map(|fd| End::new(fd).unwrap());
        (client, other, ends)
    }

    #[test]
    fn a_silent_client_times_out_on_a_blocking_descriptor() {
        let (_tcp, _unix, [server, local]) = sockets();
        let (input, _request) = pipe().unwrap();
        for mut end in [server, local, End::new(input.into()).unwrap()] {
            let start = Instant::now();
            let read = end.read(&mut [0; 8], start + Duration::from_millis(60));
            assert_eq!(read.unwrap(), Read::TimedOut);
            let took = start.elapsed();
            assert!(took >= Duration::from_millis(60), "{took:?}");
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    }

    #[test]
    fn after_the_deadline_nothing_is_read_though_it_is_there() {
        let (mut client, _unix, [mut server, _]) = sockets();
        client.write_all(b"drip").unwrap();
        let later = Instant::now() + Duration::from_secs(5);
        assert_eq!(server.read(&mut [0; 1], later).unwrap(), Read::Bytes(1));
        let read = server.read(&mut [0; 1], Instant::now());
        assert_eq!(read.unwrap(), Read::TimedOut);
    }

    #[test]
    fn an_empty_buffer_is_not_taken_for_the_end() {
        let (_tcp, _unix, [mut server, _]) = sockets();
        let later = Instant::now() + Duration::from_secs(5);
        assert!(server.read(&mut [], later).is_err());
    }

    #[test]
    fn a_client_that_never_reads_costs_the_deadline() {
        let (_tcp, _unix, [server, local]) = sockets();
        let (_answer, output) = pipe().unwrap();
        // More than the largest socket buffers hold (tcp_wmem and tcp_rmem end at 4 and 6 MiB by default).
        let flood = vec![0; 64 << 20];
        for mut end in [server, local, End::new(output.into()).unwrap()] {
            let start = Instant::now();
            let error = end.write(&flood, start + Duration::from_millis(200));
            assert_eq!(error.unwrap_err().kind(), io::ErrorKind::TimedOut);
            assert!(start.elapsed() < Duration::from_secs(5));
        }
    }

    #[test]
    fn a_reader_of_a_pipe_that_left_is_an_error_and_no_signal() {
        let (answer, output) = pipe().unwrap();
        drop(answer);
        let later = Instant::now() + Duration::from_secs(5);
        let error = End::new(output.into()).unwrap().write(b"answer", later);
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
