//! The command line: one table of commands, its help, and what an ending means as an exit code. Without a
//! command it serves, unless fd 0 is a terminal: nobody types HTTP.

mod drain;
mod guard;
mod help;
mod history;
mod pause;
mod reset;
mod resume;
mod snapshots;

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use lexopt::{Arg, Parser, ValueExt};

use crate::operator::{Refused, Said};
use crate::serve::{self, BROKEN, MISUSED, VERSION};

/// The exit code of a command that went well and whose answer is no: nothing matched, nothing was to do.
pub const NO: u8 = 1;

/// A command: all that its help says, and what runs it.
#[derive(Clone, Copy)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// What stands behind its name, as a usage line shows it; empty if nothing may.
    pub usage: &'static str,
    /// Its options.
    pub options: &'static [Choice],
    /// A command line that does something sensible.
    pub example: &'static str,
    run: fn(Parser) -> anyhow::Result<ExitCode>,
}

/// An option, or an argument, of a command.
#[derive(Clone, Copy)]
pub struct Choice {
    /// As it is given: `--for TIME`.
    pub form: &'static str,
    /// What it takes and what it does, in one line.
    pub about: &'static str,
}

/// Every command.
pub const COMMANDS: &[Command] = &[
    Command {
        name: "serve",
        about: "answer the one HTTP request on standard input (the default when that is no terminal)",
        usage: "",
        options: &[],
        example: "socat TCP-LISTEN:9095,bind=127.0.0.1,reuseaddr,fork,backlog=4096,max-children=64 \
                  EXEC:\"/usr/local/bin/self-heal serve\",nofork",
        run: |args| {
            nothing_more(args)?;
            Ok(serve::serve())
        },
    },
    pause::COMMAND,
    resume::COMMAND,
    reset::COMMAND,
    history::COMMAND,
    snapshots::COMMAND,
    Command {
        name: "drain",
        about: "deliver the pages that wait in the spool",
        usage: "[--list | --retry EVENT | --discard EVENT | --forget ESCALATOR]",
        options: &[
            Choice {
                form: "--list",
                about: "show every event instead, one a line, and where each escalator is with it",
            },
            Choice {
                form: "--retry EVENT",
                about: "have an event tried again that was refused for good, or that waits for its next attempt",
            },
            Choice {
                form: "--discard EVENT",
                about: "do not deliver an event to whoever does not have it yet",
            },
            Choice {
                form: "--forget ESCALATOR",
                about: "do not wait any more for an escalator that was removed",
            },
        ],
        example: "self-heal drain --list",
        run: drain::run,
    },
    Command {
        name: "help",
        about: "show the commands, or one of them",
        usage: "[COMMAND]",
        options: &[Choice {
            form: "COMMAND",
            about: "what it does, its options and an example",
        }],
        example: "self-heal help serve",
        run: help::run,
    },
    Command {
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
        run: guard::run,
    },
    Command {
        name: "version",
        about: "show the version",
        usage: "",
        options: &[],
        example: "self-heal version",
        run: |args| {
            nothing_more(args)?;
            say(&format!("self-heal {VERSION}\n"))
        },
    },
];

/// Wrong usage or configuration, in a sentence: exit code 100. What `lexopt` refuses is taken for the same;
/// every other error of a command is the machine's: 111.
#[derive(Debug)]
pub(super) struct Misused(pub(super) String);

impl std::fmt::Display for Misused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misused {}

/// Runs the command that the arguments name.
pub fn main() -> ExitCode {
    let mut args = Parser::from_env();
    let (command, ended) = match chosen(&mut args) {
        Ok(command) => (Some(command), (command.run)(args)),
        Err(error) => (None, Err(error)),
    };
    let ended = ended.or_else(|error| match command {
        Some(command) if asks_for_help(&error) => say(&help::of(command)),
        _ => Err(error),
    });
    ended.unwrap_or_else(|error| complain(command, &error))
}

/// The command that the first argument names.
fn chosen(args: &mut Parser) -> anyhow::Result<&'static Command> {
    let word = match args.next()? {
        None if std::io::stdin().is_terminal() => "help".to_owned(),
        None => "serve".to_owned(),
        Some(Arg::Short('h') | Arg::Long("help")) => "help".to_owned(),
        Some(Arg::Short('V') | Arg::Long("version")) => "version".to_owned(),
        Some(Arg::Value(word)) => word.to_string_lossy().into_owned(),
        Some(other) => return Err(other.unexpected().into()),
    };
    Ok(named(&word)?)
}

fn named(word: &str) -> Result<&'static Command, Misused> {
    let found = COMMANDS.iter().find(|command| command.name == word);
    found.ok_or_else(|| Misused(format!("there is no command {word:?}")))
}

/// No command has an option of these names, so each of them refuses it, in whatever place it stands.
fn asks_for_help(error: &anyhow::Error) -> bool {
    matches!(
        error.downcast_ref(),
        Some(lexopt::Error::UnexpectedOption(option)) if option == "--help" || option == "-h"
    )
}

/// Says why a command failed; the exit code for it.
fn complain(command: Option<&Command>, error: &anyhow::Error) -> ExitCode {
    let (before, hint) = match command {
        Some(Command { name, .. }) => (format!(" {name}"), format!("self-heal help {name}")),
        None => (String::new(), "self-heal help".to_owned()),
    };
    let misused = error.is::<Misused>() || error.is::<lexopt::Error>();
    let (after, code) = if misused {
        (format!(" (see: {hint})"), MISUSED)
    } else {
        (String::new(), BROKEN)
    };
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "self-heal{before}: {error:#}{after}");
    ExitCode::from(code)
}

/// For commands without arguments, and behind the last one.
fn nothing_more(mut args: Parser) -> anyhow::Result<()> {
    match args.next()? {
        Some(arg) => Err(arg.unexpected().into()),
        None => Ok(()),
    }
}

/// Takes the value of an option that may be given once.
fn once(value: &mut Option<String>, option: &str, args: &mut Parser) -> anyhow::Result<()> {
    let text = args.value()?.string()?;
    match value.replace(text) {
        None => Ok(()),
        Some(_) => Err(Misused(format!("{option} is given twice")).into()),
    }
}

/// Shows what an operator's command came to.
fn tell(came: Result<Said, Refused>) -> anyhow::Result<ExitCode> {
    let said = match came {
        Ok(said) => said,
        Err(Refused::Misused(why)) => return Err(Misused(why).into()),
        Err(failed) => return Err(failed.into()),
    };
    for warning in &said.warnings {
        // The answer matters more.
        let _ = writeln!(std::io::stderr(), "self-heal: {warning}");
    }
    say(&said.text)?;
    Ok(ExitCode::from(if said.done { 0 } else { NO }))
}

/// Writes this to standard output.
fn say(text: &str) -> anyhow::Result<ExitCode> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .context("cannot write to standard output")?;
    Ok(ExitCode::SUCCESS)
}
