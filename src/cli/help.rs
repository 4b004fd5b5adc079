//! `self-heal help [COMMAND]`: what the table of commands says, for people.

use std::process::ExitCode;

use lexopt::{Arg, Parser};

use super::groups::GROUPS;
use super::{Choice, Command, EXIT_CODES, named, nothing_more, say};
use crate::serve::VERSION;

/// The widest line that is broken: a command line that is to be copied stays whole.
const WIDTH: usize = 100;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "help",
    about: "show the commands, or one of them",
    usage: "[COMMAND]",
    options: &[Choice {
        form: "COMMAND",
        about: "what it does, its options and an example",
    }],
    example: "self-heal help serve",
    run,
};

/// Shows all commands, or the one that is asked for.
fn run(mut args: Parser) -> anyhow::Result<ExitCode> {
    let command = match args.next()? {
        None => return say(&all()),
        Some(Arg::Value(word)) => named(&word.to_string_lossy())?,
        Some(other) => return Err(other.unexpected().into()),
    };
    nothing_more(args)?;
    say(&of(command))
}

fn all() -> String {
    let mut text = format!("self-heal {VERSION}: runs the remediation handler for an alert\n");
    let commands =
        |names: &'static [&'static str]| names.iter().filter_map(|name| named(name).ok());
    let names = GROUPS.iter().flat_map(|(_, names)| *names);
    let width = names.map(|name| name.len()).max().unwrap_or(0);
    for (title, names) in GROUPS.iter().filter(|(_, names)| !names.is_empty()) {
        text.push_str(&format!("\n{title}\n"));
        for Command { name, about, .. } in commands(names) {
            row(&mut text, name, width, about);
        }
    }
    text.push_str(
        "\nself-heal help COMMAND shows a command's options and an example.\n\
         man 8 self-heal, man 5 self-heal.conf and man 7 self-heal-handler say the rest.\n\nExit codes\n",
    );
    let codes = EXIT_CODES.map(|(code, when)| (code.to_string(), when));
    for (code, when) in codes {
        row(&mut text, &code, "111".len(), when);
    }
    text
}

/// One command's help.
pub(super) fn of(command: &Command) -> String {
    let Command {
        name,
        about,
        usage,
        options,
        example,
        ..
    } = command;
    let mut text = String::new();
    wrap(&mut text, &format!("self-heal {name}: "), about);
    text.push('\n');
    let before = format!("  self-heal {name} ");
    wrap(&mut text, &before, usage);
    let width = options.iter().map(|choice| choice.form.len()).max();
    if let Some(width) = width {
        text.push('\n');
        for choice in *options {
            row(&mut text, choice.form, width, choice.about);
        }
    }
    text.push_str(&format!("\nFor example:\n  {example}\n"));
    text
}

/// A word, in a column of this width, and what is said about it.
fn row(text: &mut String, word: &str, width: usize, about: &str) {
    wrap(text, &format!("  {word:<width$}  "), about);
}

/// One line; where it would be too wide, it goes on below where it began.
fn wrap(text: &mut String, before: &str, words: &str) {
    let mut line = before.to_owned();
    let mut begun = false;
    for word in words.split(' ') {
        if begun && line.len() + 1 + word.len() > WIDTH {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(before.len());
            begun = false;
        }
        if begun {
            line.push(' ');
        }
        line.push_str(word);
        begun = true;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}
