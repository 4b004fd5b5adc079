//! The house is what src/lib.rs says it is: the table of who may use what, held to the code. Read from the
//! text of src/, comments, strings and tests apart; and every rule is shown to catch what it forbids.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::PROJECT;

/// What the modules below `who` may not name: paths of crates, of `std`, of this crate.
struct Rule {
    who: &'static [&'static str],
    never: &'static [&'static str],
    /// Within `never`, what is allowed all the same.
    but: &'static [&'static str],
}

/// Everything of `std` that touches the world.
const WORLD: [&str; 9] = [
    "std::env",
    "std::fs",
    "std::io",
    "std::net",
    "std::os",
    "std::process",
    "std::thread",
    "std::time::Instant",
    "std::time::SystemTime",
];

const RULES: &[Rule] = &[
    Rule {
        who: &["judge"],
        never: &WORLD,
        but: &[],
    },
    Rule {
        who: &["judge"],
        never: &[
            "crate::wire",
            "crate::sys",
            "crate::heal",
            "crate::serve",
            "crate::ready",
            "crate::scrape",
            "crate::deliver",
            "crate::paging",
            "crate::operator",
            "crate::check",
            "crate::guard",
            "crate::cli",
        ],
        but: &[],
    },
    Rule {
        who: &["wire"],
        never: &WORLD,
        but: &[],
    },
    Rule {
        who: &["wire"],
        never: &[
            "crate::sys",
            "crate::heal",
            "crate::serve",
            "crate::ready",
            "crate::scrape",
            "crate::deliver",
            "crate::paging",
            "crate::operator",
            "crate::check",
            "crate::guard",
            "crate::cli",
        ],
        but: &[],
    },
    Rule {
        who: &["sys"],
        never: &[
            "crate::wire::http",
            "crate::wire::notification",
            "crate::wire::report",
            "crate::heal",
            "crate::serve",
            "crate::ready",
            "crate::scrape",
            "crate::deliver",
            "crate::paging",
            "crate::operator",
            "crate::check",
            "crate::guard",
            "crate::cli",
        ],
        but: &[],
    },
    Rule {
        who: &[
            "heal", "serve", "ready", "scrape", "deliver", "paging", "operator", "check", "guard",
        ],
        never: &[
            "std::fs",
            "std::process",
            "std::os",
            "std::net",
            "std::env",
            "crate::cli",
        ],
        but: &["std::process::ExitCode"],
    },
    Rule {
        who: &[
            "judge", "wire", "heal", "serve", "ready", "scrape", "deliver", "paging", "operator",
            "check", "guard", "cli", "main", "lib",
        ],
        never: &["nix", "syslog", "libc"],
        but: &[],
    },
    Rule {
        who: &[
            "judge", "sys", "heal", "serve", "ready", "scrape", "deliver", "paging", "operator",
            "check", "guard", "cli", "main", "lib",
        ],
        never: &["granit_parser", "httparse", "serde", "serde_json", "sha2"],
        but: &[],
    },
    Rule {
        who: &[
            "judge", "wire", "sys", "heal", "serve", "ready", "scrape", "deliver", "paging",
            "operator", "check", "guard", "cli", "lib",
        ],
        never: &["dlmalloc"],
        but: &[],
    },
    Rule {
        who: &[
            "judge", "wire", "sys", "heal", "serve", "ready", "scrape", "deliver", "paging",
            "operator", "check", "guard", "main", "lib",
        ],
        never: &["anyhow", "lexopt"],
        but: &[],
    },
    // It judges nothing itself: what it runs, it runs through `serve`.
    Rule {
        who: &["cli"],
        never: &["crate::judge"],
        but: &[],
    },
];

/// `Path` asks the file system without any import.
const ASKING: [&str; 8] = [
    ".exists(",
    ".try_exists(",
    ".is_file(",
    ".is_dir(",
    ".metadata(",
    ".symlink_metadata(",
    ".canonicalize(",
    ".read_dir(",
];

/// These write to fd 1 or 2, or end the process: fd 1 is the connection's.
const MACROS: [&str; 8] = [
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "dbg!",
    "todo!",
    "unimplemented!",
    "panic!",
];

/// The most lines of code in one file; blank lines and comments do not count.
const LONGEST: usize = 800;

const DEPENDENCIES: [&str; 10] = [
    "anyhow",
    "dlmalloc",
    "granit-parser",
    "httparse",
    "lexopt",
    "nix",
    "serde",
    "serde_json",
    "sha2",
    "syslog",
];

#[test]
fn everybody_uses_only_what_the_table_allows() {
    let mut wrong = Vec::new();
    for (module, code) in product() {
        wrong.extend(violations(&module, &code));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_module_of_the_top_uses_one_that_uses_it() {
    let uses = uses(&product());
    assert!(
        uses["serve"].contains("heal") && uses["heal"].contains("judge"),
        "{uses:?}"
    );
    assert_eq!(cycle(&uses), None);
}

#[test]
fn the_table_names_every_module() {
    let map = fs::read_to_string(Path::new(PROJECT).join("src/lib.rs")).unwrap();
    let declared = map
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in declared {
        let row = map.lines().any(|line| {
            let first = line
                .strip_prefix("//! | ")
                .and_then(|row| row.split('|').next());
            first.is_some_and(|first| first.contains(&format!("`{module}`")))
        });
        assert!(row, "no row for {module} in the table of src/lib.rs");
        assert!(
            RULES.iter().any(|rule| rule.who.contains(&module)),
            "no rule for {module}"
        );
    }
}

#[test]
fn no_code_is_unsafe_and_the_compiler_sees_to_it() {
    let manifest = manifest();
    let lints = section(&manifest, "lints.rust");
    assert!(lints.contains(&"unsafe_code = \"forbid\""), "{lints:?}");
    // forbid cannot be lifted by an attribute; a generated or included file would be another crate.
    for (module, code) in product() {
        assert!(!code.contains("unsafe "), "{module}");
    }
}

#[test]
fn exactly_ten_packages_are_asked_for() {
    let manifest = manifest();
    let name = |line: &&str| line.split(['=', ' ']).next().unwrap().to_owned();
    let asked: Vec<String> = section(&manifest, "dependencies")
        .iter()
        .map(name)
        .collect();
    assert_eq!(asked, DEPENDENCIES);
    for other in [
        "build-dependencies",
        "target",
        "features",
        "patch",
        "workspace",
    ] {
        assert!(!manifest.contains(&format!("[{other}")), "[{other}]");
    }
    // Each with its reason beside it.
    for line in section(&manifest, "dependencies") {
        assert!(line.contains("# "), "no reason: {line}");
    }
}

#[test]
fn no_file_is_longer_than_anybody_reads() {
    for (path, text) in files() {
        let lines = code_lines(&text);
        assert!(
            lines <= LONGEST,
            "{} has {lines} lines of code",
            path.display()
        );
    }
}

#[test]
fn every_module_opens_with_what_it_is_for() {
    for (path, text) in files() {
        let tests = path.ends_with("tests.rs") || path.to_string_lossy().contains("/tests/");
        assert!(tests || text.starts_with("//! "), "{}", path.display());
    }
}

// The checker itself: fed with what it must not let pass.

#[test]
fn the_checker_sees_every_way_of_naming_a_thing() {
    for (module, code) in [
        ("judge", "use std::fs;"),
        ("judge", "use std::{fmt, fs::File};"),
        ("judge", "use std::io::{self, Write};"),
        ("judge::record", "fn f() { let _ = std::env::var(\"A\"); }"),
        (
            "judge",
            "fn now() -> u8 { ::std::time::SystemTime::now(); 1 }",
        ),
        ("judge", "use std::time; fn f() { time::Instant::now(); }"),
        ("judge", "use std as s; fn f() { s::fs::read(x); }"),
        ("judge", "use std::*;"),
        ("judge", "use std::time::*;"),
        ("judge", "use serde_json::Value;"),
        ("judge", "#[derive(serde::Serialize)] struct A;"),
        ("judge::alert", "use super::super::wire::records;"),
        ("judge", "use crate::{judge::Time, sys::clock};"),
        ("judge", "use crate::*;"),
        ("judge", "extern crate nix;"),
        ("wire::config", "fn f(p: &Path) -> bool { p.exists() }"),
        ("wire::net", "use std::net::IpAddr;"),
        ("wire", "use nix::libc;"),
        ("wire::http::body", "use crate::sys::log::Log;"),
        ("sys::log", "use crate::wire::report;"),
        ("sys::log", "use crate::wire; fn f() { wire::http::a(); }"),
        ("sys::log", "use crate::wire::*;"),
        ("sys", "use super::heal;"),
        ("sys", "use anyhow::Result;"),
        ("serve", "use lexopt::Parser;"),
        ("sys", "fn f() { sha2::Sha256::new(); }"),
        ("heal", "use std::fs;"),
        ("heal", "use std::process::Command;"),
        ("serve", "use std::process::{ExitCode, Command};"),
        ("serve", "use syslog::Facility;"),
        ("ready", "fn f() { let a = crate::cli::COMMANDS; }"),
        ("operator", "use crate::cli;"),
        ("operator", "use std::fs;"),
        ("wire", "use crate::operator;"),
        ("check", "use std::fs;"),
        ("check", "fn f(p: &Path) -> bool { p.exists() }"),
        ("sys", "use crate::check;"),
        ("ready", "fn f(p: &Path) { p\n.metadata(); }"),
        ("cli", "use crate::judge::Verdict;"),
        ("cli", "use httparse::Header;"),
        ("operator", "use granit_parser::Parser;"),
        ("sys", "fn f() { println!(\"x\"); }"),
    ] {
        assert!(
            !violations(module, &strip(code)).is_empty(),
            "{module}: {code}"
        );
    }
}

#[test]
fn the_checker_lets_pass_what_is_allowed() {
    for (module, code) in [
        ("judge", "use std::time::Duration; use super::time::Time;"),
        (
            "judge",
            "// use std::fs;\n/* std::io /* nested */ nix */ const A: &str = \"std::fs::read\";",
        ),
        (
            "judge",
            "/// `std::fs`\nconst A: char = '\"'; const B: &str = r#\"use nix; \"#;",
        ),
        (
            "judge",
            "#[cfg(test)]\nmod tests { use std::fs; fn f() { panic!(); } }\nfn g<'a>(x: &'a str) {}",
        ),
        ("judge", "#[cfg(test)] mod tests;"),
        (
            "wire",
            "use serde::Serialize; use core::net::IpAddr; use std::path::Path;",
        ),
        (
            "sys::state::file",
            "use std::fs; use super::twin; use nix::libc; use crate::wire::records::Kept;",
        ),
        (
            "sys::handler",
            "use super::process; fn f() { process::own(); }",
        ),
        (
            "serve",
            "use std::process::ExitCode; use crate::wire::{http, report};",
        ),
        (
            "cli",
            "use std::process::ExitCode; use anyhow::bail; use lexopt::Arg; use crate::serve;",
        ),
    ] {
        assert_eq!(
            violations(module, &strip(code)),
            [""; 0],
            "{module}: {code}"
        );
    }
}

#[test]
fn the_checker_sees_cycles_and_long_files() {
    let map = |pairs: &[(&str, &str)]| {
        let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (one, other) in pairs {
            uses.entry((*one).to_owned())
                .or_default()
                .insert((*other).to_owned());
        }
        uses
    };
    assert_eq!(cycle(&map(&[("a", "b"), ("b", "c"), ("a", "c")])), None);
    assert!(cycle(&map(&[("a", "b"), ("b", "c"), ("c", "a")])).is_some());
    let code = |text: &str| {
        vec![
            ("a::b".to_owned(), strip(text)),
            ("c".to_owned(), String::new()),
        ]
    };
    assert!(uses(&code("fn f() { crate::c::g(); }"))["a"].contains("c"));
    assert_eq!(code_lines("// a\n\n  /// b\nfn f() {}\n"), 1);
}

fn manifest() -> String {
    fs::read_to_string(Path::new(PROJECT).join("Cargo.toml")).unwrap()
}

/// The lines of a table of the manifest.
fn section<'a>(manifest: &'a str, name: &str) -> Vec<&'a str> {
    let (_, rest) = manifest.split_once(&format!("\n[{name}]\n")).unwrap();
    let end = rest.find("\n[").unwrap_or(rest.len());
    rest[..end]
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect()
}

/// Every file of src/, with its text.
pub fn files() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(PROJECT).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(found.len() > 50, "src/ was not found");
    found.sort();
    found
}

/// The code of every module, stripped, without the files that are tests.
fn product() -> Vec<(String, String)> {
    let src = Path::new(PROJECT).join("src");
    let all: Vec<(String, String)> = files()
        .into_iter()
        .map(|(path, text)| {
            let inside = path.strip_prefix(&src).unwrap().with_extension("");
            let name = inside.to_string_lossy().replace('/', "::");
            (name.strip_suffix("::mod").unwrap_or(&name).to_owned(), text)
        })
        .collect();
    // `#[cfg(test)] mod tests;` makes the file, and what is below it, a test.
    let mut tests = Vec::new();
    for (module, text) in &all {
        let declared = text.split("#[cfg(test)]").skip(1);
        for after in declared {
            let word = after
                .trim_start()
                .strip_prefix("pub(crate) ")
                .unwrap_or(after.trim_start());
            if let Some((name, _)) = word
                .strip_prefix("mod ")
                .and_then(|rest| rest.split_once(';'))
                && !name.contains('{')
            {
                tests.push(format!("{module}::{name}"));
            }
        }
    }
    assert!(tests.contains(&"judge::properties".to_owned()), "{tests:?}");
    let is_test = |module: &str| {
        tests
            .iter()
            .any(|test| module == test || module.starts_with(&format!("{test}::")))
    };
    all.into_iter()
        .filter(|(module, _)| !is_test(module))
        .map(|(module, text)| (module, strip(&text)))
        .collect()
}

/// What in this code breaks a rule, one sentence each.
fn violations(module: &str, code: &str) -> Vec<String> {
    let top = module.split("::").next().unwrap();
    let mut wrong = Vec::new();
    let paths = paths(module, code);
    for rule in RULES.iter().filter(|rule| rule.who.contains(&top)) {
        for path in &paths {
            let hit = rule.never.iter().any(|never| within(path, never))
                && !rule.but.iter().any(|but| within(path, but));
            if hit {
                wrong.push(format!("{module} names {path}"));
            }
        }
    }
    let squeezed: String = code.split_whitespace().collect();
    if top != "sys" {
        wrong.extend(
            ASKING
                .iter()
                .filter(|call| squeezed.contains(*call))
                .map(|call| format!("{module} calls {call}")),
        );
    }
    wrong.extend(
        MACROS
            .iter()
            .filter(|name| {
                words(code)
                    .windows(2)
                    .any(|w| format!("{}{}", w[0], w[1]) == **name)
            })
            .map(|name| format!("{module} calls {name}")),
    );
    wrong
}

/// Whether a path names something in `place`; a glob names everything below its prefix.
fn within(path: &str, place: &str) -> bool {
    let below = |one: &str, other: &str| one == other || one.starts_with(&format!("{other}::"));
    match path.strip_suffix("::*") {
        Some(prefix) => below(prefix, place) || below(place, prefix),
        None => below(path, place),
    }
}

/// Which modules of the top name which others.
fn uses(product: &[(String, String)]) -> BTreeMap<String, BTreeSet<String>> {
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (module, code) in product {
        let top = module.split("::").next().unwrap();
        for path in paths(module, code) {
            let other = path
                .strip_prefix("crate::")
                .and_then(|rest| rest.split("::").next());
            if let Some(other) = other.filter(|other| *other != top) {
                uses.entry(top.to_owned())
                    .or_default()
                    .insert(other.to_owned());
            }
        }
    }
    uses
}

/// A module that uses itself by way of others.
fn cycle(uses: &BTreeMap<String, BTreeSet<String>>) -> Option<String> {
    uses.keys()
        .find(|start| {
            let mut seen = BTreeSet::new();
            let mut next: Vec<&String> = uses[*start].iter().collect();
            while let Some(module) = next.pop() {
                if seen.insert(module) {
                    next.extend(uses.get(module).into_iter().flatten());
                }
            }
            seen.contains(start)
        })
        .cloned()
}

/// Every path that the code names, whole: imports unfolded, `self`, `super` and imported names replaced.
fn paths(module: &str, code: &str) -> BTreeSet<String> {
    let words = words(code);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut named: BTreeMap<String, String> = BTreeMap::new();
    let mut found = BTreeSet::new();
    let mut rest = words.as_slice();
    let mut inline = Vec::new();
    while let Some((first, after)) = rest.split_first() {
        if *first == "use" || (*first == "crate" && inline.last() == Some(&"extern")) {
            let end = after
                .iter()
                .position(|word| *word == ";")
                .unwrap_or(after.len());
            let mut trees = &after[..end];
            tree("", &mut trees, &mut |path, alias| {
                let whole = whole(module, &path);
                named.insert(alias, whole.clone());
                found.insert(whole);
            });
            rest = after.get(end..).unwrap_or_default();
        } else {
            inline.push(*first);
            rest = after;
        }
    }
    let mut i = 0;
    while i < inline.len() {
        let mut path = String::new();
        while i < inline.len() && is_name(inline[i]) {
            path.push_str(inline[i]);
            i += 1;
            if inline.get(i) == Some(&"::") && inline.get(i + 1).is_some_and(|next| is_name(next)) {
                path.push_str("::");
                i += 1;
            } else {
                break;
            }
        }
        if path.contains("::") {
            let first = path.split("::").next().unwrap();
            let full = match named.get(first) {
                Some(whole) => path.replacen(first, whole, 1),
                None => whole(module, &path),
            };
            found.insert(full);
        }
        i += 1;
    }
    found
}

/// Unfolds one `use` tree; the words are consumed.
fn tree(prefix: &str, words: &mut &[&str], each: &mut dyn FnMut(String, String)) {
    let mut path = prefix.to_owned();
    let join = |path: &mut String, word: &str| {
        if !path.is_empty() {
            path.push_str("::");
        }
        path.push_str(word);
    };
    while let Some((word, rest)) = words.split_first() {
        *words = rest;
        match *word {
            "::" => {}
            "{" => {
                while words.first().is_some_and(|word| *word != "}") {
                    tree(&path, words, each);
                    if words.first() == Some(&",") {
                        *words = &words[1..];
                    }
                }
                *words = words.get(1..).unwrap_or_default();
                return;
            }
            "self" if !prefix.is_empty() => {}
            word => join(&mut path, word),
        }
        match words {
            ["::", ..] => {}
            ["as", alias, rest @ ..] => {
                each(path, (*alias).to_owned());
                *words = rest;
                return;
            }
            _ => {
                // A leading `::` is followed by more.
                if *word != "::" {
                    let alias = path.rsplit("::").next().unwrap().to_owned();
                    each(path, alias);
                    return;
                }
            }
        }
    }
}

/// The path from the crate's root, or from the root of all crates.
fn whole(module: &str, path: &str) -> String {
    let mut place: Vec<&str> = match module {
        "lib" | "main" => Vec::new(),
        module => module.split("::").collect(),
    };
    let mut relative = false;
    let mut rest = path;
    loop {
        let (first, after) = rest.split_once("::").unwrap_or((rest, ""));
        match first {
            "self" => relative = true,
            "super" => {
                relative = true;
                place.pop();
            }
            _ => break,
        }
        rest = after;
    }
    if relative {
        let mut parts = vec!["crate"];
        parts.extend(place);
        parts.extend(Some(rest).filter(|rest| !rest.is_empty()));
        return parts.join("::");
    }
    rest.replacen(
        "self_heal::",
        "crate::",
        usize::from(rest.starts_with("self_heal::")),
    )
}

fn is_name(word: &str) -> bool {
    word == "*" || word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
}

/// Names, `::`, and every other character by itself.
fn words(code: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut joined = false;
    for c in code.chars() {
        let part = c.is_alphanumeric() || c == '_';
        match words.last_mut() {
            Some(word) if part && joined => word.push(c),
            Some(word) if c == ':' && word == ":" && !joined => word.push(c),
            _ if c.is_whitespace() => {
                joined = false;
                continue;
            }
            _ => words.push(c.to_string()),
        }
        joined = part;
    }
    words
}

/// The code without comments, with empty strings, without inline test modules.
pub fn strip(text: &str) -> String {
    let code = without_text(text);
    let mut out = String::new();
    let mut rest = code.as_str();
    while let Some((before, after)) = rest.split_once("#[cfg(test)]") {
        out.push_str(before);
        let open = after.find(['{', ';']).unwrap_or(after.len());
        let item = &after[open..];
        let mut depth = 0_i32;
        let end = item.char_indices().find(|(_, c)| {
            depth += i32::from(*c == '{') - i32::from(*c == '}');
            depth == 0
        });
        rest = end.map_or("", |(end, _)| &item[end + 1..]);
    }
    out + rest
}

/// Comments become a blank, strings and characters empty ones.
fn without_text(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let skip = if rest.starts_with("//") {
            out.push(' ');
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            out.push(' ');
            comment(rest)
        } else if let Some(quoted) =
            raw_string(rest).filter(|_| !out.ends_with(|c: char| c.is_alphanumeric() || c == '_'))
        {
            out.push_str("\"\"");
            quoted
        } else if c == '"' {
            out.push_str("\"\"");
            quoted(rest, '"')
        } else if c == '\'' && character(rest) {
            out.push_str("\"\"");
            quoted(rest, '\'')
        } else {
            out.push(c);
            c.len_utf8()
        };
        rest = &rest[skip..];
    }
    out
}

fn comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text[at..];
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of `r"…"`, `r#"…"#` and their byte and C kin, if one begins here.
fn raw_string(text: &str) -> Option<usize> {
    let after = text
        .strip_prefix("br")
        .or_else(|| text.strip_prefix("cr"))
        .or_else(|| text.strip_prefix('r'))?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    let body = after[hashes..].strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = body.find(&close)?;
    Some(text.len() - body.len() + end + close.len())
}

fn quoted(text: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == mark {
            return at + 1;
        }
    }
    text.len()
}

/// Whether a quote begins a character and not a lifetime.
fn character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        _ => chars.next() == Some('\''),
    }
}

fn code_lines(text: &str) -> usize {
    let code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    text.lines().filter(code).count()
}
