//! The log's three channels: `HEAL_LOG_DIR/listener.log`, syslog, and fd 2 where that is not the
//! connection. A channel that fails is said on the others and never stands in the way of anything.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use syslog::{Facility, Formatter3164, Logger, LoggerBackend};

use crate::sys::{clock, files};
use crate::wire::config::Syslog;
use crate::wire::logline::{self, Level};

/// An open log.
pub struct Log {
    file: Option<File>,
    stderr: bool,
    syslog: Channel,
    /// Channels that failed, for `/-/ready`.
    pub failures: Vec<String>,
}

enum Channel {
    Off,
    Unopened,
    Open(Logger<LoggerBackend, Formatter3164>),
}

impl Log {
    /// A log that only fd 2 carries, if `stderr`: until there is a configuration.
    pub fn early(stderr: bool) -> Log {
        Log {
            file: None,
            stderr,
            syslog: Channel::Unopened,
            failures: Vec::new(),
        }
    }

    /// Opens the file, made where it is missing. Opened once per connection, so plain rotation loses nothing.
    pub fn open(folder: &Path, stderr: bool, syslog: Syslog) -> Log {
        let mut log = Log {
            file: None,
            stderr,
            syslog: if wanted(syslog) {
                Channel::Unopened
            } else {
                Channel::Off
            },
            failures: Vec::new(),
        };
        let path = folder.join("listener.log");
        let opened = files::make_folder(folder, 0o750).and_then(|()| files::open_log(&path));
        match opened {
            Ok(file) => log.file = Some(file),
            Err(error) => log.failed(&path.display().to_string(), &error.to_string()),
        }
        log
    }

    /// Something that was done.
    pub fn info(&mut self, event: &str, values: &[(&str, &str)]) {
        self.write(Level::Info, event, values);
    }

    /// Something that was not done, or looks wrong.
    pub fn warn(&mut self, event: &str, values: &[(&str, &str)]) {
        self.write(Level::Warn, event, values);
    }

    /// Something that a person has to look at.
    pub fn error(&mut self, event: &str, values: &[(&str, &str)]) {
        self.write(Level::Error, event, values);
    }

    fn write(&mut self, level: Level, event: &str, values: &[(&str, &str)]) {
        let line = logline::line(clock::now(), level, event, values);
        if let Some(mut file) = self.file.take() {
            match file.write(line.as_bytes()) {
                Ok(n) if n == line.len() => self.file = Some(file),
                Ok(_) => self.failed("listener.log", "a line was cut: is the file system full?"),
                Err(error) => self.failed("listener.log", &error.to_string()),
            }
        }
        self.elsewhere(level, &line, &logline::message(level, event, values));
    }

    fn elsewhere(&mut self, level: Level, line: &str, message: &str) {
        if self.stderr {
            self.send_to_stderr(line);
        }
        self.send_to_syslog(level, message);
    }

    fn failed(&mut self, channel: &str, why: &str) {
        self.failures.push(format!("log {channel}: {why}"));
        let values = [("channel", channel), ("error", why)];
        let line = logline::line(clock::now(), Level::Error, "log_failed", &values);
        let message = logline::message(Level::Error, "log_failed", &values);
        self.elsewhere(Level::Error, &line, &message);
    }

    /// A pipe that nobody empties must not hold a heal up: with room for one line, which is shorter than PIPE_BUF, a
    /// write does not wait (pipe(7)).
    fn send_to_stderr(&mut self, line: &str) {
        let stderr = std::io::stderr();
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        let room = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        if !room || stderr.lock().write_all(line.as_bytes()).is_err() {
            self.stderr = false;
            self.failures
                .push("log stderr: a line could not be written".to_owned());
        }
    }

    fn send_to_syslog(&mut self, level: Level, message: &str) {
        if matches!(self.syslog, Channel::Unopened) {
            self.syslog = connect().map_or(Channel::Off, Channel::Open);
        }
        let Channel::Open(logger) = &mut self.syslog else {
            return;
        };
        let sent = match level {
            Level::Info => logger.info(message),
            Level::Warn => logger.warning(message),
            Level::Error => logger.err(message),
        };
        if sent.is_err() {
            self.syslog = Channel::Off;
            self.failures
                .push("log syslog: a line could not be sent".to_owned());
        }
    }
}

/// `auto` leaves syslog out where fd 2 is the journal already (systemd.exec(5), JOURNAL_STREAM).
fn wanted(syslog: Syslog) -> bool {
    match syslog {
        Syslog::On => true,
        Syslog::Off => false,
        Syslog::Auto => !stderr_is_journal(),
    }
}

fn stderr_is_journal() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else {
        return false;
    };
    let Ok(meta) = std::fs::metadata("/proc/self/fd/2") else {
        return false;
    };
    stream == format!("{}:{}", meta.dev(), meta.ino())
}

/// Connects to the local syslog. Its socket must not block: with a wedged reader a full queue would hold
/// the heal up (unix(7), datagrams are reliable and block).
fn connect() -> Option<Logger<LoggerBackend, Formatter3164>> {
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: "self-heal".to_owned(),
        pid: std::process::id(),
    };
    let logger = syslog::unix(formatter).ok()?;
    match &logger.backend {
        LoggerBackend::Unix(socket) => socket.set_nonblocking(true).ok()?,
        LoggerBackend::UnixStream(stream) => stream.get_ref().set_nonblocking(true).ok()?,
        _ => return None,
    }
    Some(logger)
}
