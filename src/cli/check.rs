//! `self-heal check`.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use lexopt::Arg::Long;
use lexopt::Parser;

use super::{Choice, Command, NO, say};
use crate::check;
use crate::sys::terminal;
use crate::wire::finding::Severity;
use crate::wire::paint::Paint;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "check",
    about: "look for everything that would bite later; changes nothing",
    usage: "[--json]",
    options: &[Choice {
        form: "--json",
        about: "one object on one line, for a program",
    }],
    example: "sudo self-heal check",
    run,
};

fn run(mut args: Parser) -> Result<ExitCode> {
    let mut json = false;
    while let Some(arg) = args.next()? {
        match arg {
            Long("json") => json = true,
            other => return Err(other.unexpected().into()),
        }
    }
    let report = check::check().report;
    let colours = terminal::wants_colours();
    say(&if json {
        report.to_json().map_err(|why| anyhow!(why))?
    } else {
        report.to_text(Paint { colours })
    })?;
    let errors = report.count(Severity::Error);
    Ok(ExitCode::from(if errors == 0 { 0 } else { NO }))
}
