//! What a lock file says of its holder: one JSON object on one line. Best effort: it helps whoever finds
//! the lock taken, and nothing depends on its being there.

use serde::{Deserialize, Serialize};

use crate::judge::Time;
use crate::judge::record::Process;

/// The holder of an alert's lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The run's id.
    pub run_id: String,
    /// The record's key.
    pub key: String,
    /// The sender's fingerprint, for people; may be empty.
    pub fingerprint: String,
    /// The process that supervises the run.
    pub supervisor: Process,
    /// The handler: leader of its own session.
    pub session: Process,
    /// When the handler is past its timeout and its grace.
    pub deadline: Time,
}

#[derive(Serialize, Deserialize)]
struct Shape {
    run_id: String,
    key: String,
    fingerprint: String,
    pid: i32,
    pid_started: u64,
    session: i32,
    session_started: u64,
    deadline_ms: i64,
}

impl Holder {
    /// As a line.
    pub fn to_line(&self) -> Result<String, serde_json::Error> {
        let mut line = serde_json::to_string(&Shape {
            run_id: self.run_id.clone(),
            key: self.key.clone(),
            fingerprint: self.fingerprint.clone(),
            pid: self.supervisor.pid,
            pid_started: self.supervisor.started,
            session: self.session.pid,
            session_started: self.session.started,
            deadline_ms: self.deadline.0,
        })?;
        line.push('\n');
        Ok(line)
    }

    /// From a line; `None` when it is not whole. The key becomes a file's name: it is 64 hex digits.
    pub fn from_line(line: &str) -> Option<Holder> {
        let shape: Shape = serde_json::from_str(line.strip_suffix('\n')?).ok()?;
        if shape.key.len() != 64 || !shape.key.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        Some(Holder {
            run_id: shape.run_id,
            key: shape.key,
            fingerprint: shape.fingerprint,
            supervisor: Process {
                pid: shape.pid,
                started: shape.pid_started,
            },
            session: Process {
                pid: shape.session,
                started: shape.session_started,
            },
            deadline: Time(shape.deadline_ms),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_holder_survives_the_journey_whole_or_not_at_all() {
        let holder = Holder {
            run_id: "r".into(),
            key: "0f".repeat(32),
            fingerprint: "f\n".into(),
            supervisor: Process { pid: 1, started: 2 },
            session: Process { pid: 3, started: 4 },
            deadline: Time(5),
        };
        let line = holder.to_line().unwrap();
        assert_eq!(line.lines().count(), 1);
        assert_eq!(Holder::from_line(&line), Some(holder));
        for cut in 0..line.len() {
            assert_eq!(Holder::from_line(&line[..cut]), None);
        }
    }
}
