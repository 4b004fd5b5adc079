//! The documentation is held to the code: every word that somebody may look up is in one table, and no table has
//! a word that does not exist; links lead somewhere; what looks like a command or a configuration is one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self_heal::judge::record::{Process, Reason};
use self_heal::judge::{Alert as Judged, AllowList, Ending, Run, Status, Time, Verdict};
use self_heal::wire::environment::{self, Context};
use self_heal::wire::shelved::State;
use self_heal::wire::{config, directives, exposition, meaning, notification, report};
use self_heal::{check, cli, serve};

use crate::stopping::{ask, timeless};
use crate::support::{Alert, PROJECT, Sandbox};
use crate::{
    architecture, checking, chronicle, escalators, examples, migration, pages, rollback, shelved,
};

pub const PAGES: &[&str] = &[
    "alertmanager.md",
    "architecture.md",
    "check.md",
    "configuration.md",
    "decisions.md",
    "dependencies.md",
    "escalation.md",
    "handlers.md",
    "migration.md",
    "operations.md",
    "performance.md",
    "predecessor.md",
    "proof.md",
    "rollback.md",
    "runbook.md",
    "security.md",
    "spool.md",
    "threat-model.md",
    "verdicts.md",
];

pub fn page(name: &str) -> String {
    let path = Path::new(PROJECT).join("docs").join(name);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The cells of the tables with this head, over all pages: a table stands in one place.
pub fn table(head: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    for name in PAGES {
        let text = page(name);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line != head {
                continue;
            }
            assert!(lines.next().unwrap().starts_with("|---|"), "{name}: {head}");
            let rows = lines.by_ref().take_while(|line| line.starts_with("| "));
            found.push((name, rows.map(cells).collect::<Vec<_>>()));
        }
    }
    assert!(!found.is_empty(), "no table {head}");
    let place = found[0].0;
    assert!(
        found.iter().all(|(name, _)| *name == place),
        "{head} stands in several pages"
    );
    found.into_iter().flat_map(|(_, rows)| rows).collect()
}

fn cells(row: &str) -> Vec<String> {
    let inner = row.strip_prefix("| ").unwrap().strip_suffix('|').unwrap();
    // Within a cell a bar is written `\|`.
    inner
        .replace("\\|", "\0")
        .split('|')
        .map(|cell| cell.trim().replace('\0', "|"))
        .collect()
}

/// The word between the backquotes of a cell.
pub fn word(cell: &str) -> String {
    let bare = cell
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'));
    bare.unwrap_or_else(|| panic!("{cell} is not one `word`"))
        .to_owned()
}

fn words(rows: &[Vec<String>]) -> Vec<String> {
    rows.iter().map(|row| word(&row[0])).collect()
}

fn set<S: Into<String>>(words: impl IntoIterator<Item = S>) -> BTreeSet<String> {
    words.into_iter().map(Into::into).collect()
}

/// The text without where its links lead.
fn unlinked(cell: &str) -> String {
    let mut parts = cell.split("](");
    let mut text = parts.next().unwrap().to_owned();
    for part in parts {
        let open = text.rfind('[').unwrap();
        text.remove(open);
        text.push_str(part.split_once(')').unwrap().1);
    }
    text
}

#[test]
fn every_verdict_is_documented_and_no_other() {
    let rows = table("| verdict | settled | when | what to do |");
    assert_eq!(words(&rows), Verdict::ALL.map(Verdict::as_str));
    for (row, verdict) in rows.iter().zip(Verdict::ALL) {
        assert_eq!(
            row[1],
            if verdict.settled() { "yes" } else { "no" },
            "{row:?}"
        );
    }
    for (row, (_, _, meaning)) in rows.iter().zip(meaning::verdicts()) {
        assert_eq!(unlinked(&row[2]), meaning.when, "{row:?}");
        assert_eq!(unlinked(&row[3]), meaning.cure, "{row:?}");
    }
    // Reserved is what nothing in the program gives.
    let given = |verdict: &str| {
        architecture::files().iter().any(|(path, text)| {
            !path.starts_with(Path::new(PROJECT).join("src/judge"))
                && architecture::strip(text).contains(&format!("Verdict::{verdict}"))
        })
    };
    for (verdict, name) in [("paused", "Paused"), ("observed", "Observed")] {
        let row = rows
            .iter()
            .find(|row| row[0] == format!("`{verdict}`"))
            .unwrap();
        assert_eq!(row[2].starts_with("reserved"), !given(name), "{row:?}");
    }
    assert!(given("UnsafeHandler"));
}

#[test]
fn every_member_of_an_explanation_is_documented_and_no_other() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let words = [
        "explain",
        "--json",
        "--alert",
        "NginxDown",
        "--instance",
        "web-1",
    ];
    let output = sandbox.operate(&words);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut members = Vec::new();
    let mut list = |prefix: &str, value: &serde_json::Value| {
        let names = value.as_object().unwrap().keys();
        members.extend(names.map(|name| format!("{prefix}{name}")));
    };
    list("", &told);
    list("gates[].", &told["gates"][0]);
    list("alerts[].", &told["alerts"][0]);
    list("alerts[].run.", &told["alerts"][0]["run"]);
    members.sort();
    let mut documented = words_of_explanations();
    documented.sort();
    assert_eq!(documented, members);
}

fn words_of_explanations() -> Vec<String> {
    words(&table("| member of an explanation | what |"))
}

#[test]
fn every_configuration_key_is_documented_as_it_is_and_no_other() {
    let rows = table("| key | default | it takes | what for |");
    let expected: Vec<Vec<String>> = config::KEYS
        .iter()
        .map(|key| {
            let default = match key.default {
                "" => "none".to_owned(),
                default => format!("`{default}`"),
            };
            vec![
                format!("`{}`", key.name),
                default,
                key.accepts.to_owned(),
                key.help.to_owned(),
            ]
        })
        .collect();
    assert_eq!(rows, expected);
}

#[test]
fn every_kind_of_finding_is_documented_as_it_is_and_no_other() {
    let rows = table("| kind | severity | what it looks for | why it bites, how to mend it |");
    let kinds = check::KINDS.iter().flat_map(|kinds| kinds.iter());
    let expected: Vec<[String; 3]> = kinds
        .map(|kind| {
            let name = format!("`{}`", kind.name);
            [
                name,
                kind.severity.as_str().to_owned(),
                kind.about.to_owned(),
            ]
        })
        .collect();
    let found: Vec<[String; 3]> = rows
        .iter()
        .map(|row| {
            assert!(row.len() >= 4 && !row[3].is_empty(), "{row:?}");
            [row[0].clone(), row[1].clone(), row[2].clone()]
        })
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_shipped_configuration_file_has_every_key_with_its_default() {
    let shipped = fs::read_to_string(Path::new(PROJECT).join("deploy/self-heal.conf")).unwrap();
    for key in config::KEYS {
        let mut lines = shipped
            .lines()
            .filter_map(|line| line.strip_prefix('#')?.split_once('='));
        let (_, value) = lines
            .find(|(name, _)| *name == key.name)
            .unwrap_or_else(|| panic!("{} is not in deploy/self-heal.conf", key.name));
        assert!(
            value == key.default || key.default.is_empty(),
            "{} = {value}",
            key.name
        );
    }
    assert!(config::load(Some(("c", shipped.as_bytes())), |_| None).is_ok());
    let uncommented = shipped.replace("#HEAL_", "HEAL_");
    assert_eq!(
        config::load(Some(("c", uncommented.as_bytes())), |_| None).err(),
        None
    );
}

#[test]
fn every_directive_is_documented_and_no_other() {
    let rows = table("| directive | example | takes | meaning |");
    let known = directives::DIRECTIVES.map(|directive| {
        let code = |text| format!("`{text}`");
        let words = [directive.takes, directive.meaning].map(str::to_owned);
        [[code(directive.name), code(directive.example)], words].concat()
    });
    assert_eq!(rows, known);
    for row in &rows {
        let example = word(&row[1]);
        assert!(
            example.starts_with(&format!("{}=", word(&row[0]))),
            "{row:?}"
        );
        let parsed = directives::parse(format!("# self-heal: {example}\n").as_bytes());
        assert_ne!(parsed, Ok(directives::Directives::default()), "{row:?}");
        assert!(parsed.is_ok(), "{row:?}");
    }
}

#[test]
fn every_variable_of_a_handler_is_documented_and_no_other() {
    let alert = Judged {
        status: Status::Firing,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        starts_at: None,
        ends_at: None,
        generator_url: String::new(),
        fingerprint: None,
    };
    let run = Run {
        id: String::new(),
        attempt: 1,
        started: Time(0),
        deadline: Time(0),
        probe: false,
        supervisor: Process::default(),
    };
    let label = BTreeMap::from([("name".to_owned(), String::new())]);
    let mut notification = notification::parse(br#"{"alerts":[]}"#).unwrap();
    notification.group_labels.clone_from(&label);
    let names = |alert: &Judged, compat| {
        let context = Context {
            home: "/",
            backup_dir: "/",
            max_attempts: 3,
            notification: &notification,
            compat,
        };
        let variables = environment::build(alert, &run, &context).variables;
        variables.into_iter().map(|(name, _)| name)
    };
    let plain: Vec<String> = names(&alert, None).collect();
    let rows = table("| variable | value |");
    assert_eq!(words(&rows), plain);
    let known = environment::VARIABLES.map(|v| [format!("`{}`", v.name), v.value.to_owned()]);
    assert_eq!(rows, known);
    assert!(page("handlers.md").contains("`HEAL_LABEL_<name>`"));
    let labelled = Judged {
        labels: label.clone(),
        annotations: label,
        ..alert
    };
    let amx =
        names(&labelled, Some(directives::Compat::Amx)).filter(|name| name.starts_with("AMX"));
    let amx: Vec<String> = amx.map(|name| name.replace("_name", "_<name>")).collect();
    assert_eq!(words(&table("| variable of am-executor | value |")), amx);
}

#[test]
fn every_ending_of_a_handler_is_documented_with_its_outcome() {
    let rows = table("| ending | means | verdict | outcome in metrics and history |");
    let outcome = |ending: &str| {
        let row = rows
            .iter()
            .find(|row| row[0] == ending)
            .unwrap_or_else(|| panic!("{ending}"));
        word(&row[3])
    };
    for (shown, ending) in [
        ("`0`", Ending::Exit(0)),
        ("`2`", Ending::Exit(2)),
        ("`75`", Ending::Exit(75)),
        ("any other code", Ending::Exit(1)),
        ("a signal", Ending::Signal(9)),
        ("past its timeout", Ending::TimedOut),
        ("never started", Ending::NotStarted),
        ("cannot be known", Ending::Lost),
    ] {
        assert_eq!(outcome(shown), report::outcome(ending), "{shown}");
    }
    assert_eq!(outcome("its supervisor died"), "interrupted");
    let known = meaning::ENDINGS.map(|ended| {
        let outcome = format!("`{}`", ended.outcome);
        [ended.ending, ended.means, ended.verdict, &outcome].map(str::to_owned)
    });
    assert_eq!(rows, known);
}

#[test]
fn every_reason_of_a_page_is_documented_and_no_other() {
    let mut rows = words(&table("| reason | opens when | closes |"));
    rows.extend(words(&table("| reason | told when | over |")));
    let mut known = set(Reason::ALL.map(Reason::as_str));
    known.extend(set(["storm", "truncated"]));
    assert_eq!(rows.len(), known.len());
    assert_eq!(set(rows), known);
}

#[test]
fn every_line_of_the_history_is_documented_and_no_other() {
    let text = fs::read_to_string(Path::new(PROJECT).join("src/wire/history.rs")).unwrap();
    let (_, events) = text.split_once("pub enum Event<'a> {").unwrap();
    let (events, _) = events.split_once("\n}\n").unwrap();
    let variants = events.lines().filter_map(|line| {
        let name = line.strip_prefix("    ")?.strip_suffix(" {")?;
        name.starts_with(char::is_uppercase)
            .then(|| name.to_lowercase())
    });
    let rows = words(&table("| line of the history | written | with |"));
    assert_eq!(set(rows.clone()), variants.collect());
    assert_eq!(rows.len(), 6);
}

#[test]
fn every_state_of_a_snapshot_is_documented_and_no_other() {
    let rows = words(&table("| state | what |"));
    assert_eq!(set(rows), set(State::ALL.map(State::as_str)));
}

#[test]
fn every_status_code_that_is_given_is_documented_and_no_other() {
    let files = architecture::files();
    let of = |ending: &str| {
        files
            .iter()
            .find(|(path, _)| path.ends_with(ending))
            .unwrap()
    };
    let mut given = BTreeSet::new();
    for line in of("wire/http/response.rs").1.lines() {
        let Some((name, rest)) = line
            .trim()
            .strip_prefix("Status::")
            .and_then(|l| l.split_once(" => ("))
        else {
            continue;
        };
        let elsewhere = files
            .iter()
            .filter(|(path, _)| !path.ends_with("wire/http/response.rs"));
        let used = elsewhere
            .map(|(_, text)| architecture::strip(text))
            .any(|code| code.contains(&format!("Status::{name}")));
        if used {
            given.insert(rest[..3].to_owned());
        }
    }
    assert!(given.contains("503"), "{given:?}");
    let rows = table("| code | when |");
    let codes = rows
        .iter()
        .map(|row| word(&row[0]))
        .filter(|code| code.len() == 3 && code.as_str() >= "200");
    assert_eq!(codes.collect::<BTreeSet<_>>(), given);
}

#[test]
fn every_metric_is_documented_and_no_other() {
    let rows = table("| metric | type | labels | what |");
    let shown: Vec<_> = rows
        .iter()
        .map(|row| (word(&row[0]), row[1].clone()))
        .collect();
    let known = exposition::FAMILIES.map(|family| (family.name.to_owned(), family.kind.to_owned()));
    assert_eq!(shown, known);
}

#[test]
fn the_labels_of_the_metrics_are_those_of_a_scrape() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 2\n");
    sandbox.post(&Alert::firing("NginxDown", "web-1"));
    let scrape = sandbox.get("/metrics").body;
    for row in table("| metric | type | labels | what |") {
        let name = word(&row[0]);
        let line = scrape
            .lines()
            .find(|line| !line.starts_with('#') && line.starts_with(&name))
            .unwrap_or_else(|| panic!("{name} is not in\n{scrape}"));
        let labels = line
            .split_once('{')
            .map_or("", |(_, rest)| rest.split_once('}').unwrap().0);
        let labels: Vec<&str> = labels
            .split(',')
            .filter_map(|label| label.split_once('='))
            .map(|(name, _)| name)
            .filter(|name| *name != "le")
            .collect();
        let shown: Vec<String> = row[2]
            .split(", ")
            .filter(|label| !label.is_empty())
            .map(word)
            .collect();
        assert_eq!(shown, labels, "{name}");
    }
}

#[test]
fn every_rule_about_the_healer_is_documented_and_no_other() {
    let path = Path::new(PROJECT).join("deploy/prometheus/self-heal.rules.yml");
    let rules = fs::read_to_string(path).unwrap();
    let names = rules
        .lines()
        .filter_map(|line| line.strip_prefix("      - alert: "));
    let documented = words(&table("| rule | fires | what to do |"));
    assert_eq!(documented, names.collect::<Vec<_>>());
}

#[test]
fn every_exit_code_is_documented_and_no_other() {
    let known = cli::EXIT_CODES.map(|(code, when)| [format!("`{code}`"), when.to_owned()]);
    assert_eq!(table("| exit code | when |"), known);
    let codes = cli::EXIT_CODES.map(|(code, _)| code);
    assert_eq!(codes, [0, cli::NO, serve::MISUSED, serve::BROKEN]);
}

#[test]
fn every_command_is_documented_and_no_other() {
    let rows = table("| command | what it does |");
    let known: Vec<[String; 2]> = cli::COMMANDS
        .iter()
        .map(|command| {
            let line = format!("self-heal {} {}", command.name, command.usage);
            [format!("`{}`", line.trim_end()), command.about.to_owned()]
        })
        .collect();
    assert_eq!(rows, known);
}

#[test]
fn every_event_of_the_log_is_documented_and_no_other() {
    let rows = table("| event | level | what |");
    let documented = words(&rows);
    let mut written: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in architecture::files() {
        for (event, level) in events(&path, &text) {
            written.entry(event).or_default().insert(level);
        }
    }
    assert_eq!(
        documented.len(),
        set(documented.clone()).len(),
        "twice in the table"
    );
    assert_eq!(set(documented), set(written.keys().cloned()));
    for row in rows {
        let levels = set(row[1].split(", ").map(str::to_lowercase));
        let known = &written[&word(&row[0])];
        // One that is chosen on the way: the table says which.
        let chosen = known.contains("chosen");
        assert!(chosen || levels == *known, "{row:?}: {known:?}");
    }
}

/// The events that a file writes, with their level: the first argument of the log's three methods, of what
/// says that a channel failed, and the first of the tuples that two functions choose from.
fn events(path: &Path, text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let inside = path.ends_with("sys/log.rs");
    for (call, level) in [
        (".info(", "info"),
        (".warn(", "warn"),
        (".error(", "error"),
        ("channel_failed(", "error"),
        ("Level::Error, ", "error"),
    ] {
        for (at, _) in text.match_indices(call) {
            let rest = text[at + call.len()..].trim_start();
            match rest.strip_prefix('"').and_then(|rest| rest.split_once('"')) {
                Some((event, _)) => found.push((event.to_owned(), level.to_owned())),
                None if call == "Level::Error, "
                    || rest.starts_with("&mut")
                    || rest.starts_with("&self") => {}
                None if inside || !rest.starts_with("event") => {}
                None => {
                    let (_, function) = text[..at].rsplit_once("fn ").unwrap();
                    let function = function.split(['(', '<']).next().unwrap();
                    assert!(
                        ["note", "hand_over", "channel_failed"].contains(&function),
                        "{}: {function} chooses an event",
                        path.display()
                    );
                }
            }
        }
    }
    if path.starts_with(Path::new(PROJECT).join("src/heal")) || path.ends_with("heal.rs") {
        for after in text.split("=> ").skip(1) {
            let tuple = after
                .trim_start_matches(['{', ' ', '\n'])
                .strip_prefix('(')
                .unwrap_or("")
                .trim_start();
            if let Some((event, rest)) = tuple
                .strip_prefix('"')
                .and_then(|rest| rest.split_once('"'))
                && rest.starts_with(',')
            {
                found.push((event.to_owned(), "chosen".to_owned()));
            }
        }
    }
    let event =
        |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    found.retain(|(word, _)| event(word));
    found
}

#[test]
fn every_file_that_is_left_is_documented_with_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let sandbox = Sandbox::new();
    for folder in ["log", "lock", "state"] {
        fs::remove_dir(sandbox.path(folder)).unwrap();
    }
    // An instance's lock file is there while it is held.
    let look = format!(
        "# self-heal: lock=instance\nstat -c '%a %n' {}/heal-NginxDown@*\nexit 1\n",
        sandbox.path("lock").display()
    );
    sandbox.handler("NginxDown", &look);
    let alert = Alert::firing("NginxDown", "web-1");
    sandbox.post(&alert).expect(503, &["failed"]);
    let record = fs::read_dir(sandbox.path("state/records"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    assert_eq!(record.metadata().unwrap().len(), 2 * 8192);
    fs::write(record.path(), "x").unwrap();
    sandbox.post(&alert).expect(503, &["error"]);
    let mut rows: BTreeMap<String, String> = BTreeMap::new();
    for row in table("| path | mode | what |") {
        rows.insert(word(&row[0]), row[1].clone());
    }
    let held = sandbox.read("log/NginxDown.log");
    let (mode, held) = held.trim_end().split_once(' ').unwrap();
    let held = shape("HEAL_LOCK_DIR", held.rsplit('/').next().unwrap(), false);
    assert_eq!(rows.get(&held), Some(&format!("0{mode}")), "{held}");
    let mut seen = BTreeSet::from([held]);
    let tops = [
        ("log", "HEAL_LOG_DIR"),
        ("lock", "HEAL_LOCK_DIR"),
        ("state", "HEAL_STATE_DIR"),
    ];
    for (folder, key) in tops {
        for (path, meta) in everything_below(&sandbox.path(folder)) {
            let inside = path
                .strip_prefix(sandbox.path(folder))
                .unwrap()
                .to_string_lossy()
                .into_owned();
            // What is in it is the page's own table.
            if inside.starts_with("spool/") {
                continue;
            }
            let row = match rows.get(&shape(key, &inside, meta.is_dir())) {
                Some(mode) => mode,
                None => panic!(
                    "{key}/{inside} is not in the table: {}",
                    shape(key, &inside, meta.is_dir())
                ),
            };
            assert_eq!(
                format!("{:04o}", meta.permissions().mode() & 0o7777),
                *row,
                "{key}/{inside}"
            );
            seen.insert(shape(key, &inside, meta.is_dir()));
        }
    }
    assert_eq!(seen, rows.into_keys().collect());
}

/// A path as the table writes it.
fn shape(key: &str, inside: &str, folder: bool) -> String {
    let hex = |text: &str| text.len() >= 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let parts: Vec<String> = inside
        .split('/')
        .map(|part| {
            let part = part.replace("NginxDown", "<alertname>");
            let part = if part == "-" {
                "<alertname>".to_owned()
            } else {
                part
            };
            if let Some(number) = part
                .strip_prefix("slot-")
                .and_then(|rest| rest.strip_suffix(".lock"))
            {
                assert!(number.bytes().all(|b| b.is_ascii_digit()));
                return "slot-<n>.lock".to_owned();
            }
            match (part.split_once('-'), part.split_once('@')) {
                _ if hex(&part) => "<key>".to_owned(),
                (Some((one, _)), _) if hex(one) => "<key>-<ms>".to_owned(),
                (_, Some((one, _))) => format!("{one}@<hex>.lock"),
                _ => part,
            }
        })
        .collect();
    let slash = if folder && !inside.is_empty() {
        "/"
    } else {
        ""
    };
    format!("{key}/{}{slash}", parts.join("/"))
}

fn everything_below(folder: &Path) -> Vec<(PathBuf, fs::Metadata)> {
    let mut found = vec![(folder.to_owned(), fs::symlink_metadata(folder).unwrap())];
    let mut next = vec![folder.to_owned()];
    while let Some(folder) = next.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let meta = entry.metadata().unwrap();
            if meta.is_dir() {
                next.push(entry.path());
            }
            found.push((entry.path(), meta));
        }
    }
    found
}

#[test]
fn every_page_is_known_and_every_link_leads_somewhere() {
    let found = fs::read_dir(Path::new(PROJECT).join("docs")).unwrap();
    let found: BTreeSet<String> = found
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md"))
        .collect();
    assert_eq!(found, set(PAGES.iter().copied()));
    let mut links = 0;
    for name in PAGES {
        for target in page(name)
            .split("](")
            .skip(1)
            .map(|rest| rest.split(')').next().unwrap())
        {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { *name } else { file };
            let path = Path::new(PROJECT).join("docs").join(file);
            assert!(path.exists(), "{name}: {target}");
            if !anchor.is_empty() {
                let anchors: Vec<String> = page(file)
                    .lines()
                    .filter_map(|line| line.strip_prefix("## "))
                    .map(slug)
                    .collect();
                assert!(
                    anchors.contains(&anchor.to_owned()),
                    "{name}: {target} is none of {anchors:?}"
                );
            }
            links += 1;
        }
    }
    assert!(links > 5);
}

/// A heading as GitHub links to it.
fn slug(heading: &str) -> String {
    let kept = heading.to_lowercase().replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

/// The files that the pages name exist.
#[test]
fn every_file_of_the_project_that_is_named_exists() {
    let mut named = 0;
    for name in PAGES {
        for code in page(name).split('`').skip(1).step_by(2) {
            let project = ["src/", "deploy/", "handlers/", "tests/", "docs/"]
                .iter()
                .any(|top| code.starts_with(top));
            if project && !code.contains([' ', '<', '\n', '*']) {
                assert!(Path::new(PROJECT).join(code).exists(), "{name}: {code}");
                named += 1;
            }
        }
    }
    assert!(named > 10);
}

/// Every fenced block: its first line behind the fence, and its text.
pub fn blocks() -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    for name in PAGES {
        let text = page(name);
        let mut parts = text.split("\n```");
        parts.next();
        while let Some(block) = parts.next() {
            let (kind, body) = block.split_once('\n').unwrap();
            found.push((*name, kind.to_owned(), format!("{body}\n")));
            parts
                .next()
                .unwrap_or_else(|| panic!("{name}: a block is not closed"));
        }
    }
    found
}

#[test]
fn a_block_is_an_illustration_or_somebody_runs_it() {
    let mut kinds = BTreeSet::new();
    for (name, kind, body) in blocks() {
        match kind.as_str() {
            // Illustrations.
            "console" | "text" => assert!(!body.contains("#!/"), "{name}"),
            // Held to Alertmanager's timing by the walks.
            "text success" | "text failures" | "text no-effect" | "text timeline" => {}
            "conf" => {
                let read = config::load(Some((name, body.as_bytes())), |_| None);
                assert!(read.is_ok(), "{read:?}");
            }
            "allow-list" => {
                let list = AllowList::parse(&body);
                assert!(list.problems().is_empty(), "{:?}", list.problems());
                assert!(
                    list.admits("db-7.example.org:1", "X").is_some()
                        && list.admits("[fd00::8]:9100", "X").is_some()
                );
                assert!(list.admits("web-2.example.org:9113", "X").is_none());
            }
            "yaml" => {
                let shipped = fs::read_to_string(
                    Path::new(PROJECT).join("deploy/alertmanager/alertmanager.yml"),
                )
                .unwrap();
                let shipped: Vec<&str> = shipped
                    .lines()
                    .filter(|line| !line.trim().starts_with('#'))
                    .collect();
                assert!(
                    shipped.join("\n").contains(body.trim_end()),
                    "{name}: not in the shipped configuration:\n{body}"
                );
            }
            "bash folders" => pages::the_folders_are_shown(&body),
            "bash compare" => migration::the_day_is_compared(&body),
            // Run by `upkeep`.
            "bash backup" | "bash restore" | "bash upgrade" | "bash token" | "bash token on" => {}
            "console stopping" => a_pause_answers_as_on_the_page(&body),
            "console checking" => checking::the_page_shows_what_is_found(&body),
            "console resetting" => a_reset_answers_as_on_the_page(&body),
            "console explaining" => an_explanation_is_as_on_the_page(&body),
            "console by-hand" => a_run_by_hand_is_as_on_the_page(&body),
            "console history" => chronicle::it_is_as_on_the_page(&body),
            "console shelf" => shelved::it_is_as_on_the_page(&body),
            "bash try" => escalators::page::trying_works(&body),
            "bash by-hand" => rollback::it_can_be_put_back_by_hand(&body),
            "bash escalator" => escalators::page::the_example_works(&body),
            _ => match kind.strip_prefix("bash handler ") {
                Some(handler) => examples::the_handler_works(handler),
                None => panic!("{name}: nobody knows what a block of {kind:?} is"),
            },
        }
        kinds.insert(kind);
    }
    for kind in [
        "conf",
        "allow-list",
        "yaml",
        "text timeline",
        "bash folders",
        "bash compare",
        "bash handler AppDown",
        "console stopping",
        "console resetting",
        "console explaining",
        "console by-hand",
        "console checking",
        "console history",
        "console shelf",
        "bash try",
        "bash by-hand",
        "bash escalator",
    ] {
        assert!(kinds.contains(kind), "{kind}");
    }
}

/// Plays a transcript: each line behind `# ` is a command, what follows is what it says. Instants apart.
fn play(sandbox: &Sandbox, transcript: &str, mut before: impl FnMut(&str)) {
    let mut commands = 0;
    for part in transcript.split("# self-heal ").skip(1) {
        let (line, said) = part.split_once('\n').unwrap();
        before(line);
        let words = Command::new("bash")
            .args(["-c", &format!("printf '%s\\n' {line}")])
            .output()
            .unwrap();
        let words = String::from_utf8(words.stdout).unwrap();
        let words: Vec<&str> = words.lines().collect();
        let came = ask(sandbox, &words);
        assert_eq!(came.out, timeless(said), "{line}");
        assert_eq!(came.err, "", "{line}");
        commands += 1;
    }
    assert!(commands > 1);
}

/// Plays a transcript of commands that name files, on a host as the documentation has it.
fn play_on_a_host(sandbox: &Sandbox, transcript: &str, mut before: impl FnMut(&str)) {
    let digest = |text: &str| -> String {
        let mut parts = text.split(", sha256 ");
        let first = parts.next().unwrap().to_owned();
        let rest =
            parts.map(|rest| rest.trim_start_matches(|c: char| c.is_ascii_hexdigit() || c == '…'));
        rest.fold(first, |text, rest| format!("{text}, sha256 …{rest}"))
    };
    let mut commands = 0;
    for part in transcript.split("# self-heal ").skip(1) {
        let (line, said) = part.split_once('\n').unwrap();
        before(line);
        let words: Vec<&str> = line.split(' ').collect();
        let came = ask(sandbox, &words);
        let mut shown = format!("{}{}", came.err, came.out);
        for (here, there) in [
            ("DIR/self-heal.conf", "/etc/self-heal/self-heal.conf"),
            ("DIR/handlers", "/opt/self-heal/handlers"),
            ("DIR/allowed.txt", "/opt/self-heal/allowed-instances.txt"),
            ("DIR/log", "/var/log/self-heal"),
            ("DIR/lock", "/var/lock/self-heal"),
            ("DIR/state", "/var/lib/self-heal"),
            ("account        root,", "account        healer,"),
        ] {
            shown = shown.replace(here, there);
        }
        assert_eq!(digest(&shown), digest(&timeless(said)), "{line}");
        commands += 1;
    }
    assert!(commands > 1);
}

/// A breaker that the alert of the documentation has opened.
fn given_up() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("allowed.txt", "web-1:9113   NginxDown,NginxWorkers\n");
    sandbox.set("HEAL_RETRY_DELAY", "30s");
    sandbox.handler("NginxDown", "exit 2\n");
    let alert = Alert::firing("NginxDown", "web-1:9113");
    let alert = alert.with("fingerprint", "b2cf8126af425ee7".into());
    sandbox.post(&alert).expect(200, &["gave-up"]);
    sandbox
}

fn an_explanation_is_as_on_the_page(transcript: &str) {
    play_on_a_host(&given_up(), transcript, |_| {});
}

fn a_run_by_hand_is_as_on_the_page(transcript: &str) {
    let sandbox = given_up();
    sandbox.handler("NginxDown", "echo nginx answers; exit 0\n");
    play_on_a_host(&sandbox, transcript, |_| {});
}

fn a_pause_answers_as_on_the_page(transcript: &str) {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 0\n");
    let alert = Alert::firing("NginxDown", "web-1:9113");
    play(&sandbox, transcript, |line| {
        if line == "resume --alert NginxDown" {
            sandbox.post(&alert).expect(200, &["paused"]);
        }
    });
    sandbox.post(&alert).expect(200, &["healed"]);
}

fn a_reset_answers_as_on_the_page(transcript: &str) {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 2\n");
    let alert = Alert::firing("NginxDown", "web-1:9113");
    sandbox.post(&alert).expect(200, &["gave-up"]);
    sandbox.post(&alert).expect(200, &["tripped"]);
    play(&sandbox, transcript, |_| {});
    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.post(&alert).expect(200, &["healed"]);
}

#[test]
fn the_ten_packages_are_documented_with_what_they_pull_in() {
    let lock = fs::read_to_string(Path::new(PROJECT).join("Cargo.lock")).unwrap();
    let packages: Vec<&str> = lock.split("[[package]]\n").skip(1).collect();
    let count = packages.len();
    assert!(
        page("dependencies.md").contains(&format!("`Cargo.lock` names {count} packages")),
        "{count}"
    );
    let of = |name: &str| {
        let head = format!("name = \"{name}\"\n");
        let package = packages.iter().find(|package| package.starts_with(&head));
        *package.unwrap_or_else(|| panic!("{name} is not in Cargo.lock"))
    };
    let manifest = fs::read_to_string(Path::new(PROJECT).join("Cargo.toml")).unwrap();
    let (_, asked) = manifest.split_once("\n[dependencies]\n").unwrap();
    let asked = asked
        .split("\n[")
        .next()
        .unwrap()
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| line.split([' ', '=']).next().unwrap());
    let rows = table("| package | where | why | pulls in |");
    assert_eq!(words(&rows), asked.collect::<Vec<_>>());
    for row in &rows {
        let pulls: Vec<&str> = row[3].split('`').skip(1).step_by(2).collect();
        assert!(pulls.iter().all(|name| !of(name).is_empty()));
        let wanted = of(&word(&row[0]));
        let direct = wanted
            .split_once("dependencies = [")
            .map_or("", |(_, rest)| rest.split(']').next().unwrap());
        for name in direct.split('"').skip(1).step_by(2) {
            let elsewhere = ["windows-link", "windows-sys", "cfg_aliases", "autocfg"]
                .contains(&name)
                || rows.iter().any(|row| word(&row[0]) == name);
            assert!(elsewhere || pulls.contains(&name), "{}: {name}", row[0]);
        }
    }
}

#[test]
fn the_repository_speaks_of_no_machine_and_no_registry() {
    // In pieces, so that this file is no exception to its own rule.
    let hosts = [
        ["crates", "io"],
        ["npmjs", "org"],
        ["npmjs", "com"],
        ["pypi", "org"],
        ["pythonhosted", "org"],
        ["rubygems", "org"],
        ["proxy.golang", "org"],
        ["jfrog", "io"],
        ["docker", "io"],
    ];
    let hosts = hosts.map(|[name, top]| format!("{name}.{top}"));
    let places = [["/wo", "rk/"], ["/ro", "ot/."]].map(|parts| parts.concat());
    let mut seen = 0;
    for path in tracked(Path::new(PROJECT)) {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        seen += 1;
        // The lock file names the one default registry with each package, and no other source.
        if path.ends_with("Cargo.lock") {
            let mut sources = text.lines().filter(|line| line.starts_with("source = "));
            let first = sources.next().unwrap();
            assert!(sources.all(|source| source == first) && first.contains("rust-lang"));
            continue;
        }
        for word in hosts.iter().chain(&places) {
            assert!(!text.contains(word.as_str()), "{}: {word}", path.display());
        }
    }
    assert!(seen > 100, "{seen}");
}

/// The files of the project, build results and the history of changes apart.
fn tracked(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name == "target" || name == ".git" || name == "proptest-regressions" {
            continue;
        }
        if path.is_dir() {
            found.extend(tracked(&path));
        } else {
            found.push(path);
        }
    }
    found
}
