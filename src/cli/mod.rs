//! The command line: one table of commands. Without a command it serves, unless fd 0 is a terminal:
//! nobody types HTTP.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::serve::{self, MISUSED, VERSION};

/// A command.
#[derive(Clone, Copy)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    run: fn() -> anyhow::Result<ExitCode>,
}

/// Every command.
pub const COMMANDS: [Command; 3] = [
    Command {
        name: "serve",
        about: "answer the one HTTP request on standard input (the default when that is no terminal)",
        run: || Ok(serve::serve()),
    },
    Command {
        name: "help",
        about: "show this",
        run: help,
    },
    Command {
        name: "version",
        about: "show the version",
        run: version,
    },
];

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "self-heal: {error:#}");
            ExitCode::from(MISUSED)
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let Some(word) = words.next() else {
        return if std::io::stdin().is_terminal() {
            help()
        } else {
            Ok(serve::serve())
        };
    };
    let name = alias(&word)
        .with_context(|| format!("no command {}: see self-heal help", word.display()))?;
    if let Some(extra) = words.next() {
        bail!("{name} takes no argument, got {}", extra.display());
    }
    let command = COMMANDS.iter().find(|command| command.name == name);
    match command {
        Some(command) => (command.run)(),
        None => bail!("no command {name}: see self-heal help"),
    }
}

fn alias(word: &OsString) -> Option<&str> {
    Some(match word.to_str()? {
        "-h" | "--help" => "help",
        "-V" | "--version" => "version",
        word => word,
    })
}

fn help() -> anyhow::Result<ExitCode> {
    let mut text = format!("self-heal {VERSION}: runs the remediation handler for an alert\n\n");
    for command in COMMANDS {
        text.push_str(&format!(
            "  self-heal {:<8} {}\n",
            command.name, command.about
        ));
    }
    text.push_str(
        "\nserve is started once per connection by socat, a systemd socket unit or inetd:\n  \
         socat TCP-LISTEN:9095,bind=127.0.0.1,reuseaddr,fork,backlog=4096,max-children=64 \
         EXEC:\"/usr/local/bin/self-heal serve\",nofork\n\n\
         Exit codes: 0, 100 wrong usage or configuration, 111 the machine failed.\n",
    );
    say(&text)
}

fn version() -> anyhow::Result<ExitCode> {
    say(&format!("self-heal {VERSION}\n"))
}

fn say(text: &str) -> anyhow::Result<ExitCode> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}
