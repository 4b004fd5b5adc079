//! `self-heal completions`: the scripts that shells load, and what those scripts ask. They know no command and no
//! option: at each key they ask the program that is installed, so they cannot fall behind it.

mod suggest;
mod values;

use std::process::ExitCode;

use lexopt::{Arg, Parser};

use super::{Choice, Command, Misused, nothing_more, say};
use crate::wire::nearest;
use suggest::Suggestion;

/// The command.
pub(super) const COMMAND: Command = Command {
    name: "completions",
    about: "print the script that lets a shell complete commands, options and values",
    usage: "bash|zsh|fish|for WORD...",
    options: &[
        Choice {
            form: "bash",
            about: "for /usr/local/share/bash-completion/completions/self-heal",
        },
        Choice {
            form: "zsh",
            about: "for /usr/local/share/zsh/site-functions/_self-heal",
        },
        Choice {
            form: "fish",
            about: "for /etc/fish/completions/self-heal.fish",
        },
        Choice {
            form: "for WORD...",
            about: "what could stand for the last of these words, one a line: the scripts ask this",
        },
    ],
    example: "self-heal completions bash >/usr/local/share/bash-completion/completions/self-heal",
    run,
};

/// The shells, with their scripts.
const SCRIPTS: [(&str, &str); 3] = [
    (
        "bash",
        include_str!("../../../deploy/completions/self-heal.bash"),
    ),
    (
        "zsh",
        include_str!("../../../deploy/completions/_self-heal"),
    ),
    (
        "fish",
        include_str!("../../../deploy/completions/self-heal.fish"),
    ),
];

fn run(mut args: Parser) -> anyhow::Result<ExitCode> {
    let word = match args.next()? {
        Some(Arg::Value(word)) => word.to_string_lossy().into_owned(),
        Some(other) => return Err(other.unexpected().into()),
        None => return Err(Misused(which()).into()),
    };
    if word == "for" {
        // As they are: options among them are somebody else's.
        let words = args
            .raw_args()?
            .map(|word| word.to_string_lossy().into_owned());
        let words: Vec<String> = words.collect();
        return say(&answer(suggest::last(&words, &values::known)));
    }
    let found = SCRIPTS.iter().find(|(shell, _)| *shell == word);
    let (_, script) = found.ok_or_else(|| {
        let mut near = nearest::hint(&word, SCRIPTS.map(|(shell, _)| shell));
        // All of them are named already.
        if near.contains(" or ") {
            near.clear();
        }
        Misused(format!("no script for {word:?}; {}{near}", which()))
    })?;
    nothing_more(args)?;
    say(script)
}

fn which() -> String {
    format!(
        "say for which shell: {}",
        SCRIPTS.map(|(shell, _)| shell).join(", ")
    )
}

/// What the scripts read: a candidate a line, what it is behind a tab; or that the shell knows the files better.
fn answer(suggestion: Suggestion) -> String {
    match suggestion {
        Suggestion::Files => ":files\n".to_owned(),
        Suggestion::Folders => ":folders\n".to_owned(),
        Suggestion::Words(lines) => lines.iter().map(|line| format!("{line}\n")).collect(),
    }
}
