//! The lints of Alertmanager's configuration and of Prometheus' rules, on whole files: those that are shipped have
//! nothing to say, the samples of tests/data/lint have exactly what is written beside them, and each sample is one
//! that Alertmanager and Prometheus themselves would load.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use self_heal::wire::config;
use self_heal::wire::directives::Directives;
use self_heal::wire::finding::Finding;
use self_heal::wire::lint::{Context, Handler, LINTS, Text, lint};

use crate::support::PROJECT;

/// A handler for each name, as the defaults have it.
fn context<'a>(handlers: &[&str]) -> Context<'a> {
    let config = config::defaults();
    let handler = |name: &&str| Handler::new(name, &Directives::default(), &config);
    Context::new(&config, Some(handlers.iter().map(handler).collect()))
}

const SHIPPED: [&str; 5] = [
    "DiskFull",
    "NginxDown",
    "NginxWorkers",
    "ProcessCount",
    "ServiceDown",
];

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn shipped(path: &str) -> String {
    read(&Path::new(PROJECT).join(path))
}

/// `file:line kind`, one a line.
fn told(findings: &[Finding]) -> String {
    let line = |finding: &Finding| format!("{} {}\n", finding.place, finding.kind.name);
    findings.iter().map(line).collect()
}

#[test]
fn the_shipped_files_have_nothing_to_say() {
    let alertmanager = shipped("deploy/alertmanager/alertmanager.yml");
    let healed = shipped("deploy/prometheus/heal-examples.rules.yml");
    let own = shipped("deploy/prometheus/self-heal.rules.yml");
    let alertmanager = Text {
        name: "alertmanager.yml",
        text: &alertmanager,
    };
    let rules = [
        ("heal-examples.rules.yml", &healed),
        ("self-heal.rules.yml", &own),
    ]
    .map(|(name, text)| Text { name, text });
    let context = context(&SHIPPED);
    for (alertmanager, rules) in [
        (Some(alertmanager), &rules[..]),
        (Some(alertmanager), &[]),
        (None, &rules),
    ] {
        let findings = lint(alertmanager, rules, &context);
        assert!(findings.is_empty(), "{findings:#?}");
    }
    let prometheus = shipped("deploy/prometheus/prometheus.yml");
    let other = Text {
        name: "prometheus.yml",
        text: &prometheus,
    };
    assert_eq!(
        told(&lint(None, &[other], &context)),
        "prometheus.yml:1 other-file\n"
    );
}

/// The names of the samples: NAME.want beside NAME.alertmanager.yml, NAME.rules.yml or both.
fn samples() -> Vec<String> {
    let folder = fs::read_dir(data()).unwrap();
    let names = folder.filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        Some(name.strip_suffix(".want")?.to_owned())
    });
    let mut names: Vec<String> = names.collect();
    names.sort();
    assert!(names.len() >= 10, "{names:?}");
    names
}

fn data() -> PathBuf {
    Path::new(PROJECT).join("tests/data/lint")
}

fn sample(name: &str, kind: &str) -> Option<(PathBuf, String)> {
    let path = data().join(format!("{name}.{kind}.yml"));
    path.exists().then(|| (path.clone(), read(&path)))
}

/// The handlers of a sample, and what is to be found.
fn wanted(name: &str) -> (Vec<String>, String) {
    let text = read(&data().join(format!("{name}.want")));
    let (first, rest) = text.split_once('\n').unwrap();
    let handlers = first.strip_prefix("# handlers:").unwrap();
    let handlers = handlers.split_whitespace().map(str::to_owned).collect();
    (handlers, rest.to_owned())
}

fn found(name: &str) -> Vec<Finding> {
    let (handlers, _) = wanted(name);
    let handlers: Vec<&str> = handlers.iter().map(String::as_str).collect();
    let alertmanager = sample(name, "alertmanager");
    let rules = sample(name, "rules");
    assert!(alertmanager.is_some() || rules.is_some(), "{name}");
    let alertmanager = alertmanager.as_ref().map(|(_, text)| Text {
        name: "alertmanager.yml",
        text,
    });
    let rules = rules.as_ref().map(|(_, text)| Text {
        name: "rules.yml",
        text,
    });
    lint(alertmanager, rules.as_slice(), &context(&handlers))
}

#[test]
fn each_sample_has_what_is_written_beside_it_and_nothing_else() {
    let mut wrong = Vec::new();
    for name in samples() {
        let (_, want) = wanted(&name);
        let findings = found(&name);
        if told(&findings) != want {
            wrong.push(format!("{name}:\n{}", told(&findings)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_kind_is_found_in_a_sample_or_a_unit_test() {
    let units = shipped("src/wire/lint/tests.rs");
    let seen: BTreeSet<&str> = samples()
        .iter()
        .flat_map(|name| found(name))
        .map(|finding| finding.kind.name)
        .collect();
    for lint in LINTS {
        let name = lint.kind.name;
        assert!(
            seen.contains(name) || units.contains(&format!(" {name}\"")),
            "nothing shows {name}"
        );
    }
}

/// Runs a checker on a file; what it says if it refuses.
fn refused(program: &str, arguments: &[&str], path: &Path) -> Option<String> {
    let output = Command::new(program)
        .args(arguments)
        .arg(path)
        .output()
        .unwrap_or_else(|e| panic!("{program} (tests/run.sh packages) is needed: {e}"));
    let said = [output.stdout, output.stderr].concat();
    (!output.status.success()).then(|| String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn the_samples_are_what_alertmanager_and_prometheus_load() {
    for name in samples() {
        let broken = name.starts_with("broken");
        if let Some((path, _)) = sample(&name, "alertmanager") {
            let said = refused("amtool", &["check-config"], &path);
            assert_eq!(said.is_some(), broken, "{name}: {said:?}");
        }
        if let Some((path, _)) = sample(&name, "rules") {
            let said = refused("promtool", &["check", "rules"], &path);
            assert_eq!(said.is_some(), broken, "{name}: {said:?}");
        }
    }
}

/// What one reads, the other has to read: the forms of YAML that people write in these files.
#[test]
fn yaml_is_read_as_alertmanager_reads_it() {
    let folder = std::env::temp_dir().join(format!("self-heal-yaml-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("alertmanager.yml");
    let head = "route:\n  receiver: a\n";
    let webhook = "webhook_configs: [{url: 'http://127.0.0.1:9095/'}]";
    let context = context(&[]);
    for (text, fine) in [
        (format!("{head}receivers: [{{name: a, {webhook}}}]\n"), true),
        (
            format!("---\n{head}receivers:\n- name: a\n  {webhook}\n...\n"),
            true,
        ),
        (
            format!(
                "{head}  routes:\n  - matchers: [heal=\"true\"]\n    receiver: a\nreceivers:\n- name: a\n"
            ),
            true,
        ),
        (
            format!(
                "{head}  routes:\n  - matchers:\n    - heal = \"true\"\n    - x=~\"a|b\"\nreceivers:\n- name: a\n"
            ),
            true,
        ),
        (
            format!(
                "{head}  group_by:\n  - alertname\n  - instance\nreceivers:\n-   name:   a   # b\n"
            ),
            true,
        ),
        (
            format!("{head}x: &x {{a: b}}\nreceivers: [{{name: a}}]\n"),
            false,
        ),
        (
            format!(
                "{head}  routes:\n  - &r\n    match: {{a: b}}\n  - <<: *r\n    receiver: a\nreceivers: [{{name: a}}]\n"
            ),
            true,
        ),
        (
            format!("{head}  receiver: b\nreceivers: [{{name: a}}]\n"),
            false,
        ),
        (format!("{head}receivers:\n- name: |-\n    a\n"), true),
        (format!("{head}receivers:\n- name: >-\n    a\n"), true),
        (format!("{head}receivers:\n- name: \"\\x61\"\n"), true),
        (format!("{head}receivers:\t# tab\n- name:\ta\n"), true),
        (format!("{head}receivers:\n\t- name: a\n"), false),
        (
            format!("{head}  group_by: [\n'a',\n'b'\n]\nreceivers: [\n{{name: a}}\n]\n"),
            true,
        ),
        (
            format!(
                "{head}receivers:\n- name: \"a\"\n  email_configs: []\n  webhook_configs: []\n"
            ),
            true,
        ),
        (format!("{head}receivers: *nowhere\n"), false),
        (format!("{head}receivers: [{{name: a}}\n"), false),
        (format!("\u{feff}{head}receivers: [{{name: a}}]\n"), true),
        (
            format!("{head}receivers: [{{name: a}}]\n").replace('\n', "\r\n"),
            true,
        ),
        (
            format!("{head}receivers: [{{name: a}}]\n---\nsecond: document\n"),
            true,
        ),
        (
            format!("{head}receivers:\n- name: a\n- name: 'b: c'\n- name: d#e\n"),
            true,
        ),
        (
            "route: {receiver: a}\nreceivers: [{'name': 'a'}]".to_owned(),
            true,
        ),
    ] {
        fs::write(&path, &text).unwrap();
        let said = refused("amtool", &["check-config"], &path);
        assert_eq!(said.is_none(), fine, "{text}\n{said:?}");
        let file = Text {
            name: "a",
            text: &text,
        };
        let findings = lint(Some(file), &[], &context);
        let broken = findings
            .iter()
            .any(|finding| finding.kind.name == "broken-yaml");
        // Alertmanager refuses unknown keys as well; that is its own business.
        let unknown = text.contains("x: &x");
        assert_eq!(broken, !fine && !unknown, "{text}\n{findings:#?}");
    }
    fs::remove_dir_all(&folder).unwrap();
}
