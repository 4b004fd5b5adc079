//! What the guides claim, held to what there is: every test that a page names exists; the tables of folders, of
//! hardening, of alerts, problems and errors have what the files and the code have, and nothing else.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::docs::{PAGES, page, table};
use crate::support::{PROJECT, Sandbox, chmod};
use crate::{architecture, stage};

fn project(path: &str) -> String {
    let path = Path::new(PROJECT).join(path);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The code spans of a text, fenced blocks apart.
fn spans(text: &str) -> Vec<String> {
    let mut prose = String::new();
    for (number, part) in text.split("\n```").enumerate() {
        prose.push_str(if number % 2 == 0 { part } else { "\n" });
    }
    let code = prose.split('`').skip(1).step_by(2);
    code.map(str::to_owned).collect()
}

/// The words between backquotes in a cell.
fn words(cell: &str) -> Vec<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

/// Every test of the suite as it is named on its command line: `module::name`.
fn tests_of_the_suite() -> BTreeSet<String> {
    fn collect(folder: &Path, module: &str, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            let inner = match (module, stem.as_str()) {
                (_, "mod" | "main") => module.to_owned(),
                ("", _) => stem,
                _ => format!("{module}::{stem}"),
            };
            if path.is_dir() {
                collect(&path, &inner, found);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                for rest in text.split("#[test]\n").skip(1) {
                    let (_, rest) = rest.split_once("fn ").unwrap();
                    let name = rest.split('(').next().unwrap();
                    found.insert(format!("{inner}::{name}"));
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    collect(&Path::new(PROJECT).join("tests/suite"), "", &mut found);
    found
}

#[test]
fn every_test_that_a_page_names_exists() {
    let tests = tests_of_the_suite();
    assert!(tests.contains("pages::every_test_that_a_page_names_exists"));
    assert!(tests.len() > 500, "{}", tests.len());
    let modules: BTreeSet<&str> = tests
        .iter()
        .map(|test| test.split("::").next().unwrap())
        .collect();
    let mut named = 0;
    for name in PAGES {
        for span in spans(&page(name)) {
            let test = span
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"_:".contains(&b));
            let Some((module, _)) = span.split_once("::").filter(|_| test) else {
                continue;
            };
            if modules.contains(module) {
                assert!(tests.contains(&span), "{name}: there is no test {span}");
                named += 1;
            }
        }
    }
    assert!(named > 80, "{named}");
}

#[test]
fn every_attack_has_a_test() {
    let rows = table("| attack | expectation | what holds it | test |");
    let tests = tests_of_the_suite();
    for row in &rows {
        let named = words(&row[3]);
        assert!(
            !named.is_empty() && named.iter().all(|test| tests.contains(test)),
            "{row:?}"
        );
        assert!(row[..3].iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
    let attacks: BTreeSet<&String> = rows.iter().map(|row| &row[0]).collect();
    assert_eq!(attacks.len(), rows.len());
}

/// Path, mode, `owner:group` of each folder.
fn folders() -> Vec<(String, String, String)> {
    let rows = table("| folder | mode | owner | what |");
    let word = |cell: &String| words(cell).remove(0);
    rows.iter()
        .map(|row| (word(&row[0]), row[1].clone(), word(&row[2])))
        .collect()
}

#[test]
fn the_folders_of_the_guide_are_those_that_are_made() {
    let text = project("deploy/tmpfiles.d/self-heal.conf");
    let lines = text.lines().filter_map(|line| line.strip_prefix("d "));
    let made: Vec<_> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let owner = format!("{}:{}", fields[2], fields[3]);
            (fields[0].to_owned(), fields[1].to_owned(), owner)
        })
        .collect();
    assert_eq!(folders(), made);
}

/// The block that shows them, in a tree where they are as the table has them.
pub fn the_folders_are_shown(script: &str) {
    let sandbox = Sandbox::new();
    let top = sandbox.path("machine").display().to_string();
    let mut script = script.to_owned();
    let mut expected = Vec::new();
    for (path, mode, _) in folders().iter().rev() {
        let here = format!("{top}{path}");
        fs::create_dir_all(&here).unwrap();
        let bits = u32::from_str_radix(mode, 8).unwrap();
        chmod(Path::new(&here), bits);
        assert_eq!(
            fs::metadata(&here).unwrap().permissions().mode() & 0o7777,
            bits
        );
        // Whole words: a folder stands before those in it.
        for end in [" ", "\n"] {
            script = script.replace(&format!(" {path}{end}"), &format!(" {here}{end}"));
        }
        expected.push(format!("{mode} {here}"));
    }
    let said = stage::run(Command::new("bash").args(["-euc", &script]));
    let shown: BTreeSet<String> = said
        .lines()
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            format!("{} {}", fields[0], fields[2])
        })
        .collect();
    assert_eq!(shown, expected.into_iter().collect());
}

#[test]
fn the_hardening_of_the_guide_is_that_of_the_unit() {
    let unit = project("deploy/systemd/self-heal.service");
    let (_, left_out) = unit.split_once("# --- Left out").unwrap();
    let (_, breaking) = left_out.split_once("# NoNewPrivileges=").unwrap();
    let breaking = breaking.split("CapabilityBoundingSet=").next().unwrap();
    let mut listed: BTreeSet<String> = breaking
        .split([' ', '\n', '(', ')', ':', ',', '#'])
        .filter(|word| word.ends_with('=') && *word != "User=")
        .map(str::to_owned)
        .collect();
    listed.insert("NoNewPrivileges=".to_owned());
    let mut breaks = BTreeSet::new();
    for row in table("| setting | with sudo in handlers | what it does here |") {
        match row[1].as_str() {
            "breaks sudo" => breaks.extend(words(&row[0])),
            "breaks sudo when empty" => assert_eq!(words(&row[0]), ["CapabilityBoundingSet="]),
            "works" => {
                for setting in words(&row[0]) {
                    assert!(
                        !unit.contains(&format!("\n{setting}")),
                        "{setting} is shipped"
                    );
                }
            }
            "works, shipped" => {
                for setting in words(&row[0]) {
                    assert!(
                        unit.contains(&format!("\n{setting}")),
                        "{setting} is not shipped"
                    );
                }
            }
            other => panic!("{other}"),
        }
    }
    // `NoNewPrivileges=yes` is what the unit's comment advises without sudo.
    listed.retain(|word| !word.ends_with("=yes"));
    assert_eq!(breaks, listed);
}

#[test]
fn every_alert_of_the_healers_own_has_its_cure() {
    let rules = Path::new(PROJECT).join("deploy/prometheus/self-heal.rules.yml");
    let rules = fs::read_to_string(rules).unwrap();
    let alerts = rules.split("\n      - alert: ").skip(1);
    let own: BTreeSet<String> = alerts
        .filter(|alert| alert.starts_with("SelfHeal"))
        .map(|alert| alert.lines().next().unwrap().to_owned())
        .collect();
    assert!(own.len() >= 7);
    let rows = table("| alert | means | first | cure |");
    let shown: BTreeSet<String> = rows.iter().map(|row| words(&row[0]).remove(0)).collect();
    assert_eq!(shown, own);
}

#[test]
fn every_detail_of_an_error_is_what_the_code_says() {
    let sources: String = architecture::files()
        .into_iter()
        .map(|(_, text)| text)
        .collect();
    let rows = table("| detail | means | cure |");
    for row in &rows {
        for detail in words(&row[0]) {
            assert!(sources.contains(detail.as_str()), "{detail}");
        }
    }
    // And what the code says has its row: the reasons of a state that cannot be used, of `heal` and of `paging`.
    let shown: Vec<String> = rows.iter().flat_map(|row| words(&row[0])).collect();
    let covered = |text: &str| shown.iter().any(|detail| text.contains(detail.trim_end()));
    let mut asked = 0;
    for (path, text) in architecture::files() {
        let heal = path.to_str().unwrap().contains("src/heal");
        for rest in text
            .split("Outcome::error(format!(")
            .skip(1)
            .filter(|_| heal)
        {
            let said = rest.trim_start().strip_prefix('"').unwrap();
            let said = said.split('"').next().unwrap();
            assert!(covered(said), "{}: {said}", path.display());
            asked += 1;
        }
    }
    assert!(asked >= 5, "{asked}");
}
