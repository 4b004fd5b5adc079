//! The sender's side of one connection: a TCP socket, a UNIX socket to a relay, or two pipes to the listener itself.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::wait::waitpid;
use nix::unistd::Pid;

use crate::support::{Alert, Answer, notification, read_all, request};

/// Far more than any answer takes: who waits longer hangs.
const HANGING: Duration = Duration::from_secs(60);

pub struct Client(Kind);

enum Kind {
    Tcp(TcpStream),
    Relayed(UnixStream),
    Piped(Child),
}

impl Client {
    pub fn tcp(port: u16) -> Client {
        Client(Kind::Tcp(TcpStream::connect(("127.0.0.1", port)).unwrap()))
    }

    /// Through a relay that listens here.
    pub fn relayed(path: &Path) -> Client {
        Client(Kind::Relayed(UnixStream::connect(path).unwrap()))
    }

    /// The listener itself.
    pub fn piped(mut command: Command) -> Client {
        let command = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Client(Kind::Piped(command.spawn().unwrap()))
    }

    /// The port of this end, where there is one.
    pub fn port(&self) -> Option<u16> {
        match &self.0 {
            Kind::Tcp(stream) => Some(stream.local_addr().unwrap().port()),
            _ => None,
        }
    }

    /// A listener that refuses early need not take everything.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = match &mut self.0 {
            Kind::Tcp(stream) => stream.write_all(bytes),
            Kind::Relayed(stream) => stream.write_all(bytes),
            Kind::Piped(child) => child.stdin.as_mut().unwrap().write_all(bytes),
        };
    }

    /// Nothing more will be sent, but an answer is waited for.
    pub fn half_close(&mut self) {
        match &mut self.0 {
            Kind::Tcp(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Kind::Relayed(stream) => stream.shutdown(Shutdown::Write).unwrap(),
            Kind::Piped(child) => drop(child.stdin.take()),
        }
    }

    /// Everything until the listener ends the connection; this side stays open for all that time.
    pub fn receive(&mut self) -> Vec<u8> {
        let from: Box<dyn Read + Send> = match &mut self.0 {
            Kind::Tcp(stream) => Box::new(stream.try_clone().unwrap()),
            Kind::Relayed(stream) => Box::new(stream.try_clone().unwrap()),
            Kind::Piped(child) => Box::new(child.stdout.take().unwrap()),
        };
        let (to, received) = mpsc::channel();
        thread::spawn(move || {
            let _ = to.send(read_all(from));
        });
        received
            .recv_timeout(HANGING)
            .expect("the connection does not end")
    }

    /// The answer to a notification of this alert.
    pub fn post(&mut self, alert: &Alert) -> Answer {
        self.ask(&request(&notification(&[alert]).to_string()))
    }

    /// The answer to these bytes, and nothing else on the connection: `Answer` compares the length.
    pub fn ask(&mut self, bytes: &[u8]) -> Answer {
        self.send(bytes);
        Answer::parse(&self.receive())
    }
}

impl Drop for Client {
    /// A client that goes does not wait for the listener, but somebody must, as a spawner does.
    fn drop(&mut self) {
        if let Kind::Piped(child) = &mut self.0 {
            let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
            drop((stdin, stdout));
            reap(child.id());
        }
    }
}

fn reap(pid: u32) {
    let pid = Pid::from_raw(pid.cast_signed());
    thread::spawn(move || waitpid(pid, None));
}
