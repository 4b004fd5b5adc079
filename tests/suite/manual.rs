//! The manual pages: what docs/man holds is what the tables say, and the formatters that people have take it without
//! complaint.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use self_heal::cli::{COMMANDS, EXIT_CODES, man};
use self_heal::wire::config::KEYS;
use self_heal::wire::directives::DIRECTIVES;
use self_heal::wire::environment::VARIABLES;
use self_heal::wire::meaning;

use crate::support::{PROJECT, Sandbox};

fn folder() -> PathBuf {
    Path::new(PROJECT).join("docs/man")
}

fn tool(name: &str, args: &[&str], page: &Path) -> Output {
    Command::new(name)
        .args(args)
        .arg(page)
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("LC_ALL", "C.UTF-8")
        .env("MANWIDTH", "80")
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{name}: {e}: tests/run.sh packages installs it"))
}

/// What man(1) finds wrong with a page (groff's warnings).
fn warnings(page: &Path) -> String {
    let args = ["--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z"];
    let output = tool("man", &args, page);
    String::from_utf8(output.stderr).unwrap()
}

/// What mandoc(1) finds wrong with it.
fn lint(page: &Path) -> String {
    let output = tool("mandoc", &["-T", "lint", "-W", "warning"], page);
    String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap()
}

/// The page as a person reads it, blanks and line ends alike.
fn rendered(page: &str) -> String {
    let output = tool("man", &["-l"], &folder().join(page));
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_files_are_what_the_tables_say() {
    let mut names = Vec::new();
    for (name, text) in man::pages() {
        let file = fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(
            file == text,
            "docs/man/{name} is not what the tables say: cargo run --example generate"
        );
        assert!(text.is_ascii(), "{name}");
        names.push(name.to_owned());
    }
    let found = fs::read_dir(folder()).unwrap();
    let mut found: Vec<String> = found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    found.sort();
    names.sort();
    assert_eq!(found, names);
}

#[test]
fn the_formatters_have_nothing_to_complain_about() {
    for (name, _) in man::pages() {
        let page = folder().join(name);
        assert_eq!(warnings(&page), "", "{name}");
        assert_eq!(lint(&page), "", "{name}");
    }
}

#[test]
fn the_formatters_would_complain() {
    let sandbox = Sandbox::new();
    let (_, text) = &man::pages()[0];
    let broken = text.replacen(".SH EXIT STATUS", ".SX EXIT STATUS", 1);
    let page = sandbox.write("broken.8", &broken);
    assert_ne!(warnings(&page), "");
    assert_ne!(lint(&page), "");
}

#[test]
fn a_reader_finds_every_word_that_he_may_look_up() {
    let page = rendered("self-heal.8");
    for command in COMMANDS {
        let usage = format!("self-heal {} {}", command.name, command.usage);
        assert!(page.contains(usage.trim_end()), "{usage}");
        let about = command.about[1..].replace('…', "...");
        assert!(page.contains(&about), "{about}");
        for choice in command.options {
            assert!(page.contains(choice.form), "{}", choice.form);
        }
    }
    for (code, when) in EXIT_CODES {
        assert!(
            page.contains(&format!(" {code} {}", capital(when).replace('`', ""))),
            "{code}"
        );
    }
    for (word, settled, _) in meaning::verdicts() {
        let settled = if settled { "Settled." } else { "Unsettled." };
        assert!(page.contains(&format!(" {word} {settled} ")), "{word}");
    }

    let page = rendered("self-heal.conf.5");
    for key in KEYS {
        let text = format!(" {} {}. It takes {}", key.name, key.help, key.accepts);
        assert!(page.contains(&text), "{text}");
    }
    assert!(page.contains("HEAL_RUN_LIMITS='6/4h,10/24h'"), "{page}");
    assert!(page.contains("db-*.example.org"), "{page}");

    let page = rendered("self-heal-handler.7");
    for variable in VARIABLES {
        assert!(
            page.contains(&format!(" {} ", variable.name)),
            "{}",
            variable.name
        );
    }
    for directive in DIRECTIVES {
        let text = format!(" {} {}", directive.example, capital(directive.meaning));
        assert!(page.contains(&text.replace('`', "")), "{text}");
    }
    for ended in meaning::ENDINGS {
        let text = format!("{} {}", ended.ending, capital(ended.means));
        assert!(page.contains(&text.replace('`', "")), "{text}");
    }
    assert!(page.contains("if works; then healed"), "{page}");
}

fn capital(text: &str) -> String {
    let first = text[..1].to_uppercase();
    first + &text[1..]
}

/// The pages of a release bear its day.
#[test]
fn the_date_is_the_releases() {
    let changes = fs::read_to_string(Path::new(PROJECT).join("CHANGELOG.md")).unwrap();
    let version = env!("CARGO_PKG_VERSION");
    let heading = format!("## [{version}] - ");
    let released = changes.lines().find_map(|line| line.strip_prefix(&heading));
    match released {
        Some(day) => assert_eq!(day, man::DATE),
        None => assert!(changes.contains("## Unreleased\n")),
    }
    let digits = man::DATE.split('-').map(str::len).collect::<Vec<_>>();
    assert_eq!(digits, [4, 2, 2]);
}
