//! The command line itself: what is a command, what is refused, with which words and exit code.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::{Command, Output, Stdio};

use self_heal::cli::{COMMANDS, EXIT_CODES};

use crate::support::{Answer, PROGRAM, Sandbox, feed};

fn ask(args: &[&str]) -> Output {
    Command::new(PROGRAM)
        .args(args)
        .env_clear()
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn out(args: &[&str]) -> String {
    let output = ask(args);
    assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[track_caller]
fn refused(args: &[&str], why: &str) {
    let output = ask(args);
    assert_eq!(output.status.code(), Some(100), "{args:?}: {output:?}");
    assert!(output.stdout.is_empty(), "{args:?}: {output:?}");
    assert_eq!(String::from_utf8(output.stderr).unwrap(), why, "{args:?}");
}

/// The text of help with each row that goes on below itself on one line.
fn unwrapped(help: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for line in help.lines() {
        match lines.last_mut() {
            Some(last) if line.starts_with("     ") => {
                last.push(' ');
                last.push_str(line.trim_start());
            }
            _ => lines.push(line.to_owned()),
        }
    }
    lines
}

#[test]
fn help_names_every_command_and_every_exit_code() {
    let help = out(&["help"]);
    let lines = unwrapped(&help);
    for command in COMMANDS {
        let row = format!("  {} ", command.name);
        let mut rows = lines.iter().filter(|line| line.starts_with(&row));
        assert!(rows.next().unwrap().ends_with(command.about), "{help}");
        assert_eq!(rows.next(), None, "{help}");
    }
    for (code, when) in EXIT_CODES {
        let row = format!("  {code:<3}  {when}");
        assert!(lines.contains(&row), "{help}");
    }
    for line in help.lines() {
        assert!(line.len() <= 100 && line.trim_end() == line, "{line}");
    }
    for same in ["--help", "-h"] {
        assert_eq!(out(&[same]), help, "{same}");
    }
}

#[test]
fn every_command_has_help_of_its_own_in_every_way_of_asking() {
    for command in COMMANDS {
        let help = out(&["help", command.name]);
        assert_eq!(out(&[command.name, "--help"]), help);
        assert_eq!(out(&[command.name, "-h"]), help);
        let usage = format!("self-heal {} {}", command.name, command.usage);
        let lines = unwrapped(&help);
        assert_eq!(
            lines[0],
            format!("self-heal {}: {}", command.name, command.about)
        );
        assert_eq!(lines[2], format!("  {}", usage.trim_end()));
        for option in command.options {
            let row = format!("  {}", option.form);
            assert!(
                lines
                    .iter()
                    .any(|line| line.starts_with(&row) && line.ends_with(option.about)),
                "{help}"
            );
            // What the usage line shows is explained, and nothing else is.
            let name = option.form.split(' ').next().unwrap();
            assert!(command.usage.contains(name), "{help}");
        }
        for word in command.usage.split(['[', ']', ' ', '|']) {
            let known = |form: &str| form.split(' ').any(|part| part == word);
            let explained = command.options.iter().any(|option| known(option.form));
            assert!(word.is_empty() || explained, "{word}: {help}");
        }
        assert_eq!(lines[lines.len() - 2], "For example:");
        assert_eq!(lines[lines.len() - 1], format!("  {}", command.example));
        assert!(
            command
                .example
                .contains(&format!("self-heal {}", command.name))
        );
        assert!(!command.about.is_empty() && !command.about.ends_with('.'));
        // A command line that is to be copied stays whole.
        let broken = help.lines().filter(|line| !line.contains(command.example));
        for line in broken {
            assert!(line.len() <= 100 && line.trim_end() == line, "{line}");
        }
    }
}

#[test]
fn a_slip_is_answered_with_what_was_probably_meant() {
    for (args, why) in [
        (
            &["drian"][..],
            "self-heal: there is no command \"drian\"; did you mean drain? (see: self-heal help)\n",
        ),
        (
            &["re"],
            "self-heal: there is no command \"re\"; did you mean resume or reset? (see: self-heal help)\n",
        ),
        (
            &["help", "verson"],
            "self-heal help: there is no command \"verson\"; did you mean version? (see: self-heal help help)\n",
        ),
        (
            &["--verison"],
            "self-heal: invalid option '--verison'; did you mean --version? (see: self-heal help)\n",
        ),
        (
            &["pause", "--alrt", "x"],
            "self-heal pause: invalid option '--alrt'; did you mean --alert? (see: self-heal help pause)\n",
        ),
        (
            &["pause", "--re=x"],
            "self-heal pause: invalid option '--re'; did you mean --reason? (see: self-heal help pause)\n",
        ),
        (
            &["version", "--hlep"],
            "self-heal version: invalid option '--hlep'; did you mean --help? (see: self-heal help version)\n",
        ),
        (
            &["drain", "list"],
            "self-heal drain: unexpected argument \"list\"; did you mean --list? (see: self-heal help drain)\n",
        ),
        (
            &["status", "jsn"],
            "self-heal status: unexpected argument \"jsn\"; did you mean --json? (see: self-heal help status)\n",
        ),
        (
            &["--jsn"],
            "self-heal: invalid option '--jsn'; did you mean --json? (see: self-heal help)\n",
        ),
        (
            &["--json", "status"],
            "self-heal: invalid option '--json'; options stand behind their command: self-heal status --json (see: self-heal help)\n",
        ),
        (
            &["snapshots", "lst"],
            "self-heal snapshots: say what: list, with --alert and --json if you like, or restore and a run; did you mean list? (see: self-heal help snapshots)\n",
        ),
        (
            &["completions", "basg"],
            "self-heal completions: no script for \"basg\"; say for which shell: bash, zsh, fish; did you mean bash? (see: self-heal help completions)\n",
        ),
        (
            &["guard", "captur", "1-1-1.A"],
            "self-heal guard: it takes capture or restore, and a run id; did you mean capture? (see: self-heal help guard)\n",
        ),
        (
            &["drain", "--retry"],
            "self-heal drain: missing argument for option '--retry'; it takes EVENT: have an event tried again that was refused for good, or that waits for its next attempt (see: self-heal help drain)\n",
        ),
        (
            &["drain", "--\u{1b}[31m"],
            "self-heal drain: invalid option '--\\u{1b}[31m' (see: self-heal help drain)\n",
        ),
    ] {
        refused(args, why);
    }
}

#[test]
fn the_version_is_shown() {
    let version = format!("self-heal {}\n", env!("CARGO_PKG_VERSION"));
    for way in ["version", "--version", "-V"] {
        assert_eq!(out(&[way]), version);
    }
}

#[test]
fn what_is_no_command_line_is_refused_with_its_reason() {
    for (args, why) in [
        (
            &["no-command"][..],
            "self-heal: there is no command \"no-command\" (see: self-heal help)\n",
        ),
        (
            &[""],
            "self-heal: there is no command \"\" (see: self-heal help)\n",
        ),
        (
            &["a\u{1b}[31m\n"],
            "self-heal: there is no command \"a\\u{1b}[31m\\n\" (see: self-heal help)\n",
        ),
        (
            &["--frobnicate"],
            "self-heal: invalid option '--frobnicate' (see: self-heal help)\n",
        ),
        (
            &["--help=serve"],
            "self-heal help: unexpected argument for option '--help': \"serve\" (see: self-heal help help)\n",
        ),
        (
            &["serve", "now"],
            "self-heal serve: unexpected argument \"now\" (see: self-heal help serve)\n",
        ),
        (
            &["serve", "--port", "1"],
            "self-heal serve: invalid option '--port' (see: self-heal help serve)\n",
        ),
        (
            &["version", "-x"],
            "self-heal version: invalid option '-x' (see: self-heal help version)\n",
        ),
        (
            &["help", "no-command"],
            "self-heal help: there is no command \"no-command\" (see: self-heal help help)\n",
        ),
        (
            &["help", "serve", "version"],
            "self-heal help: unexpected argument \"version\" (see: self-heal help help)\n",
        ),
    ] {
        refused(args, why);
    }
}

#[test]
fn an_argument_that_is_no_text_is_refused() {
    let odd = OsString::from_vec(vec![b'x', 0xff]);
    for before in [&[][..], &["help"], &["version"]] {
        let output = Command::new(PROGRAM)
            .args(before)
            .arg(&odd)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(100), "{output:?}");
    }
}

#[test]
fn an_answer_that_cannot_be_written_is_the_machines_failure() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = Command::new(PROGRAM)
        .arg("version")
        .stdout(full)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(111), "{output:?}");
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "self-heal version: cannot write to standard output: No space left on device (os error 28)\n"
    );
}

#[test]
fn without_a_command_it_serves_what_is_on_standard_input() {
    let sandbox = Sandbox::new();
    for args in [&[][..], &["serve"], &["--", "serve"]] {
        let mut command = Command::new(PROGRAM);
        command
            .args(args)
            .env_clear()
            .env("HEAL_CONF", sandbox.path("self-heal.conf"));
        let output = feed(command, b"GET /-/healthy HTTP/1.1\r\nHost: x\r\n\r\n");
        assert_eq!(Answer::parse(&output.stdout).code, 200, "{args:?}");
    }
}
