//! `self-heal check`.

use std::process::ExitCode;

use anyhow::{Result, anyhow};
use lexopt::Arg::Long;
use lexopt::{Parser, ValueExt};

use super::{Choice, Command, Misused, NO, once, say};
use crate::check::{self, Files};
use crate::sys::terminal;
use crate::wire::finding::Severity;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "check",
    about: "look for everything that would bite later; changes nothing",
    usage: "[--alertmanager FILE [--receiver NAME]] [--rules FILE] [--json]",
    options: &[
        Choice {
            form: "--alertmanager FILE",
            about: "this configuration of Alertmanager too: receivers, routes, times, inhibition",
        },
        Choice {
            form: "--receiver NAME",
            about: "the receiver there that posts to self-heal, where HEAL_PORT does not tell",
        },
        Choice {
            form: "--rules FILE",
            about: "these rules of Prometheus too; may be repeated",
        },
        Choice {
            form: "--json",
            about: "one object on one line, for a program",
        },
    ],
    example: "sudo self-heal check --alertmanager /etc/prometheus/alertmanager.yml",
    run,
};

fn run(mut args: Parser) -> Result<ExitCode> {
    let (mut json, mut files) = (false, Files::default());
    let (mut alertmanager, mut receiver) = (None, None);
    while let Some(arg) = args.next()? {
        match arg {
            Long("alertmanager") => once(&mut alertmanager, "--alertmanager", &mut args)?,
            Long("receiver") => once(&mut receiver, "--receiver", &mut args)?,
            Long("rules") => files.rules.push(args.value()?.string()?),
            Long("json") => json = true,
            other => return Err(other.unexpected().into()),
        }
    }
    if receiver.is_some() && alertmanager.is_none() {
        let why = "--receiver goes with --alertmanager FILE: it is one of that file's";
        return Err(Misused(why.to_owned()).into());
    }
    files.alertmanager = alertmanager;
    files.receiver = receiver;
    let report = check::check(&files).map_err(Misused)?;
    say(&if json {
        report.to_json().map_err(|why| anyhow!(why))?
    } else {
        report.to_text(terminal::paint())
    })?;
    let errors = report.count(Severity::Error);
    Ok(ExitCode::from(if errors == 0 { 0 } else { NO }))
}
