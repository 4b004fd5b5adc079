//! `self-heal metrics`.

use std::process::ExitCode;

use anyhow::Result;
use lexopt::Arg::Long;
use lexopt::Parser;

use super::{Choice, Command, once, tell};
use crate::operator;
use crate::serve::VERSION;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "metrics",
    about: "show what a scrape of /metrics shows, or write it for node_exporter; nothing else is changed",
    usage: "[--textfile FILE]",
    options: &[Choice {
        form: "--textfile FILE",
        about: "put it into this file in one step; its name ends in .prom, for node_exporter's textfile collector",
    }],
    example: "self-heal metrics --textfile /var/lib/prometheus/node-exporter/self-heal.prom",
    run,
};

fn run(mut args: Parser) -> Result<ExitCode> {
    let mut textfile = None;
    while let Some(arg) = args.next()? {
        match arg {
            Long("textfile") => once(&mut textfile, "--textfile", &mut args)?,
            other => return Err(other.unexpected().into()),
        }
    }
    tell(operator::metrics::metrics(textfile.as_deref(), VERSION))
}
