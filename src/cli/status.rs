//! `self-heal status`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use lexopt::Arg::Long;
use lexopt::Parser;

use super::{Choice, Command, refusal, say};
use crate::operator::status::{self, Form};
use crate::sys::terminal;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "status",
    about: "show what is given up, running, waiting and healed, the pauses and the pages",
    usage: "[--json] [--watch]",
    options: &[
        Choice {
            form: "--json",
            about: "as one JSON object on one line",
        },
        Choice {
            form: "--watch",
            about: "again every two seconds, until interrupted",
        },
    ],
    example: "self-heal status --watch",
    run,
};

/// How long `--watch` shows the same.
const PERIOD: Duration = Duration::from_secs(2);

/// Puts the cursor into the first corner and wipes the screen (ECMA-48, CUP and ED).
const WIPE: &str = "\u{1b}[H\u{1b}[2J";

fn run(mut args: Parser) -> Result<ExitCode> {
    let (mut json, mut watch) = (false, false);
    while let Some(arg) = args.next()? {
        match arg {
            Long("json") => json = true,
            Long("watch") => watch = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let form = if json {
        Form::Json
    } else {
        Form::Text(terminal::paint())
    };
    let wipe = if watch && !json && terminal::is_terminal() {
        WIPE
    } else {
        ""
    };
    loop {
        let text = status::status(form).map_err(refusal)?;
        let shown = say(&format!("{wipe}{text}"))?;
        if !watch {
            return Ok(shown);
        }
        std::thread::sleep(PERIOD);
    }
}
