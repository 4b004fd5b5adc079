//! strace(1) over one process: what it calls, that process killed at one of its calls, or one of them made to fail.
//! strace counts each call by its name, and each thread by itself: strace(1), `when=`.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

/// A system call of a process: which one of its name, from 1, and how strace shows it.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    pub nth: usize,
    pub line: String,
}

/// What is done to a process at a call, which itself does not happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// KILL.
    Kill,
    /// The call fails with this error, once.
    Fail(&'static str),
    /// It fails with this error, and so does every later one of its name.
    FailOn(&'static str),
}

/// strace(1) as words before a command: it writes to this file, and shows these calls alone if any are named.
pub fn strace(file: &Path, calls: Option<&str>) -> Vec<String> {
    let mut words = vec!["strace".to_owned(), "-o".to_owned()];
    words.push(file.display().to_string());
    if let Some(calls) = calls {
        words.extend(["-e".to_owned(), format!("trace={calls}")]);
    }
    words
}

/// Likewise, with this done to the process at that call.
pub fn strace_with(file: &Path, (name, nth): (&str, usize), fault: Fault) -> Vec<String> {
    let mut words = strace(file, Some(name));
    let what = match fault {
        Fault::Kill => format!("inject={name}:signal=KILL:when={nth}"),
        Fault::Fail(error) => format!("inject={name}:error={error}:when={nth}"),
        Fault::FailOn(error) => format!("inject={name}:error={error}:when={nth}+"),
    };
    words.extend(["-e".to_owned(), what]);
    words
}

/// Whether what was to be done came to pass, by what strace wrote: a process does not always call equally often.
pub fn came_to_pass(trace: &str, fault: Fault) -> bool {
    match fault {
        Fault::Kill => trace.contains("+++ killed by SIGKILL +++"),
        Fault::Fail(_) | Fault::FailOn(_) => trace.contains(" (INJECTED)"),
    }
}

/// The calls in what strace wrote of one process, in order.
pub fn calls(trace: &str) -> Vec<Call> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for line in trace.lines() {
        let Some((name, _)) = line.split_once('(') else {
            continue;
        };
        let is_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if name.is_empty() || !name.bytes().all(is_name) {
            continue;
        }
        let nth = counts.entry(name).or_default();
        *nth += 1;
        found.push(Call {
            name: name.to_owned(),
            nth: *nth,
            line: line.to_owned(),
        });
    }
    found
}

/// A command behind these words, in its own environment.
pub fn behind(words: &[String], command: &Command) -> Command {
    let mut wrapped = Command::new(&words[0]);
    wrapped.args(&words[1..]).arg(command.get_program());
    wrapped.args(command.get_args());
    wrapped.env_clear().stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        wrapped.env(name, value.unwrap());
    }
    wrapped
}
