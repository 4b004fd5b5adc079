//! `self-heal guard capture|restore RUN`: root's side of the rollback guard, as sudo starts it.

use std::process::ExitCode;

use anyhow::anyhow;
use lexopt::{Arg, Parser};

use super::{Choice, Command, Misused, nothing_more, say};
use crate::guard::{self, Refusal};
use crate::wire::nearest;

const USAGE: &str = "it takes capture or restore, and a run id";

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "guard",
    about: "root's side of the rollback guard, started by the healer through sudo",
    usage: "capture|restore RUN",
    options: &[
        Choice {
            form: "capture RUN",
            about: "copy what this run's handler names by snapshot= and root may take",
        },
        Choice {
            form: "restore RUN",
            about: "put it back, once",
        },
    ],
    example: "sudo -n /usr/bin/timeout -k 5 60 /usr/local/bin/self-heal guard capture \
              19ab3f00c2d-4711-1.NginxWorkers",
    run,
};

/// Captures or restores.
fn run(mut args: Parser) -> anyhow::Result<ExitCode> {
    let (what, run) = (word(&mut args)?, word(&mut args)?);
    nothing_more(args)?;
    let done = match what.as_str() {
        "capture" => guard::capture(&run),
        "restore" => guard::restore(&run),
        other => {
            let near = nearest::hint(other, ["capture", "restore"]);
            Err(Refusal::Misused(format!("{USAGE}{near}")))
        }
    };
    match done {
        Ok(answer) => say(&answer),
        Err(Refusal::Misused(why)) => Err(Misused(why).into()),
        Err(Refusal::Failed(why)) => Err(anyhow!(why)),
    }
}

/// The next word, if it is one; what it is made of is looked at where it is used.
fn word(args: &mut Parser) -> anyhow::Result<String> {
    match args.next()? {
        Some(Arg::Value(word)) => {
            let word = word.into_string();
            Ok(word.map_err(|_| Misused(USAGE.to_owned()))?)
        }
        Some(other) => Err(other.unexpected().into()),
        None => Err(Misused(USAGE.to_owned()).into()),
    }
}
