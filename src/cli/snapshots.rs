//! `self-heal snapshots`.

use std::process::ExitCode;

use anyhow::Result;
use lexopt::Arg::{Long, Value};
use lexopt::{Parser, ValueExt};

use super::{Choice, Command, Misused, once, tell};
use crate::operator::snapshots;
use crate::wire::nearest;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "snapshots",
    about: "show what was copied before handlers ran, or put one run's copies back",
    usage: "list [--alert NAME] [--json] | restore RUN",
    options: &[
        Choice {
            form: "list",
            about: "every snapshot, newest first; as root those of both sides",
        },
        Choice {
            form: "--alert NAME",
            about: "this alert's alone",
        },
        Choice {
            form: "--json",
            about: "an object a line",
        },
        Choice {
            form: "restore RUN",
            about: "put back what this run's handler changed, once, and run its hook",
        },
    ],
    example: "self-heal snapshots list --alert NginxWorkers",
    run,
};

fn run(mut args: Parser) -> Result<ExitCode> {
    let (mut words, mut alert, mut json) = (Vec::new(), None, false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("alert") => once(&mut alert, "--alert", &mut args)?,
            Long("json") => json = true,
            Value(word) if words.len() < 2 => words.push(word.string()?),
            other => return Err(other.unexpected().into()),
        }
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let told = match words.as_slice() {
        ["list"] => snapshots::list(alert.as_deref(), json),
        ["restore", run] if alert.is_none() && !json => snapshots::restore(run),
        _ => {
            let near = match words.first() {
                Some(&("list" | "restore")) | None => String::new(),
                Some(word) => nearest::hint(word, ["list", "restore"]),
            };
            let why = "say what: list, with --alert and --json if you like, or restore and a run";
            return Err(Misused(format!("{why}{near}")).into());
        }
    };
    tell(told)
}
