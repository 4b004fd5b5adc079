//! Why a command failed, in one line on standard error: which command, what is wrong, what was probably meant, where
//! its help is.

use std::io::Write;
use std::process::ExitCode;

use super::{COMMANDS, Choice, Command, Misused};
use crate::serve::{BROKEN, MISUSED};
use crate::wire::nearest;
use crate::wire::quote::printable;

/// Says why a command failed; the exit code for it.
pub(super) fn complain(command: Option<&Command>, error: &anyhow::Error) -> ExitCode {
    let (before, hint) = match command {
        Some(Command { name, .. }) => (format!(" {name}"), format!("self-heal help {name}")),
        None => (String::new(), "self-heal help".to_owned()),
    };
    let usage = error.downcast_ref::<lexopt::Error>();
    let why = usage.map_or_else(|| format!("{error:#}"), |usage| wrong(command, usage));
    let (after, code) = if usage.is_some() || error.is::<Misused>() {
        (format!(" (see: {hint})"), MISUSED)
    } else {
        (String::new(), BROKEN)
    };
    // Nobody is left to tell if this fails.
    let _ = writeln!(std::io::stderr(), "self-heal{before}: {why}{after}");
    ExitCode::from(code)
}

/// What is wrong with the arguments, and what was probably meant.
fn wrong(command: Option<&Command>, error: &lexopt::Error) -> String {
    let options: Vec<&str> = match command {
        Some(command) => command.option_names().collect(),
        None => Vec::new(),
    };
    let near = match error {
        lexopt::Error::UnexpectedOption(option) => Some(match command {
            None => of_a_command(option),
            Some(_) => nearest::hint(option, options.iter().copied()),
        }),
        // An option without its dashes.
        lexopt::Error::UnexpectedArgument(word) => {
            let dashed = format!("--{}", word.to_string_lossy());
            Some(nearest::hint(&dashed, options.iter().copied()))
        }
        lexopt::Error::MissingValue {
            option: Some(option),
        } => command
            .and_then(|command| command.option(option))
            .map(takes),
        _ => None,
    };
    format!("{}{}", plain(&error.to_string()), near.unwrap_or_default())
}

/// Before any command there are few options, and one of a command's may be meant.
fn of_a_command(option: &str) -> String {
    let has = |command: &&Command| command.option(option).is_some();
    match COMMANDS.iter().find(has) {
        Some(Command { name, .. }) => {
            format!("; options stand behind their command: self-heal {name} {option}")
        }
        None => {
            let all = COMMANDS.iter().flat_map(Command::option_names);
            let mut all: Vec<&str> = all.chain(["--version"]).collect();
            all.sort_unstable();
            all.dedup();
            nearest::hint(option, all)
        }
    }
}

/// What an option takes.
fn takes(choice: &Choice) -> String {
    let words: Vec<&str> = choice.words().collect();
    format!("; it takes {}: {}", words.join(" "), choice.about)
}

/// Without what could move a terminal's cursor. A backslash is one of the escapes that are there already.
fn plain(text: &str) -> String {
    let parts: Vec<String> = text.split('\\').map(printable).collect();
    parts.join("\\")
}
