//! The log's three channels: `HEAL_LOG_DIR/listener.log`, syslog, and fd 2 where that is not the
//! connection. A channel that fails is said on the others and never stands in the way of anything.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
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
    failed: Vec<&'static str>,
    /// What could not be written, for `/-/ready` and the count.
    pub failures: Vec<String>,
}

/// Where the local syslog listens (syslog(3), _PATH_LOG).
const SYSLOG: &str = "/dev/log";

/// The name of the file as a channel.
const FILE: &str = "listener.log";

enum Channel {
    Off,
    /// Opened with the first line; `wanted` where the operator asked for it.
    Unopened {
        wanted: bool,
    },
    Open(Logger<LoggerBackend, Formatter3164>),
}

impl Log {
    /// A log that only fd 2 carries, if `stderr`: until there is a configuration.
    pub fn early(stderr: bool) -> Log {
        Log {
            file: None,
            stderr,
            syslog: Channel::Unopened { wanted: false },
            failed: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Opens the file, made where it is missing. Opened once per connection, so plain rotation loses nothing.
    pub fn open(folder: &Path, stderr: bool, syslog: Syslog) -> Log {
        let mut log = Log {
            file: None,
            stderr,
            syslog: channel(syslog),
            failed: Vec::new(),
            failures: Vec::new(),
        };
        let path = folder.join("listener.log");
        let opened = match files::open_log(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                files::make_folder(folder, 0o750).and_then(|()| files::open_log(&path))
            }
            other => other,
        };
        match opened {
            Ok(file) => log.file = Some(file),
            Err(error) => log.failed(FILE, &format!("HEAL_LOG_DIR {}: {error}", folder.display())),
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
        self.send_to_file(&line);
        self.send_to_stderr(&line);
        self.send_to_syslog(level, &logline::message(level, event, values));
    }

    /// Says on the other channels that one failed, once; that one is tried again with every line, because a full
    /// disk may be what the handler frees.
    fn failed(&mut self, channel: &'static str, why: &str) {
        let first = !self.failed.contains(&channel);
        self.failed.push(channel);
        self.failures.push(format!("log {channel}: {why}"));
        if first {
            self.error("log_failed", &[("channel", channel), ("error", why)]);
        }
    }

    fn send_to_file(&mut self, line: &str) {
        let Some(file) = &mut self.file else { return };
        match file.write(line.as_bytes()) {
            Ok(n) if n == line.len() => {}
            Ok(_) => self.failed(FILE, "a line was cut: is the file system full?"),
            Err(error) => self.failed(FILE, &error.to_string()),
        }
    }

    /// A pipe that nobody empties must not hold a heal up: with room for one line, which is shorter than PIPE_BUF, a
    /// write does not wait (pipe(7)).
    fn send_to_stderr(&mut self, line: &str) {
        if !self.stderr {
            return;
        }
        let stderr = std::io::stderr();
        let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
        let room = poll(&mut ready, PollTimeout::ZERO).is_ok_and(|ready| ready > 0);
        if !room || stderr.lock().write_all(line.as_bytes()).is_err() {
            self.stderr = false;
            self.failed("stderr", "a line could not be written");
        }
    }

    fn send_to_syslog(&mut self, level: Level, message: &str) {
        if let Channel::Unopened { wanted } = self.syslog {
            match connect() {
                Ok(logger) => self.syslog = Channel::Open(logger),
                Err(why) => {
                    self.syslog = Channel::Off;
                    if wanted {
                        self.failed("syslog", &why);
                    }
                }
            }
        }
        let Channel::Open(logger) = &mut self.syslog else {
            return;
        };
        let sent = match level {
            Level::Info => logger.info(message),
            Level::Warn => logger.warning(message),
            Level::Error => logger.err(message),
        };
        if let Err(error) = sent {
            self.syslog = Channel::Off;
            self.failed("syslog", &error.to_string());
        }
    }
}

/// `auto` leaves syslog out where fd 2 is the journal already (systemd.exec(5), JOURNAL_STREAM).
fn channel(syslog: Syslog) -> Channel {
    match syslog {
        Syslog::On => Channel::Unopened { wanted: true },
        Syslog::Auto if !stderr_is_journal() => Channel::Unopened { wanted: false },
        Syslog::Auto | Syslog::Off => Channel::Off,
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

/// Connects to the local syslog. Its socket must not block, neither at connecting nor later: with a wedged
/// reader a full queue would hold the heal up (unix(7), datagrams are reliable and block).
fn connect() -> Result<Logger<LoggerBackend, Formatter3164>, String> {
    let formatter = Formatter3164 {
        facility: Facility::LOG_DAEMON,
        hostname: None,
        process: "self-heal".to_owned(),
        pid: std::process::id(),
    };
    let socket = UnixDatagram::unbound().map_err(|error| error.to_string())?;
    socket
        .set_nonblocking(true)
        .map_err(|error| error.to_string())?;
    socket
        .connect(SYSLOG)
        .map_err(|error| format!("{SYSLOG}: {error}"))?;
    Ok(Logger {
        formatter,
        backend: LoggerBackend::Unix(socket),
    })
}
