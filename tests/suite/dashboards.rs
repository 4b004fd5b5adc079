//! The shipped dashboard: every query asks for what a scrape shows, by labels that it has, in PromQL; no panel lies on
//! another, and each says what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use self_heal::wire::exposition;
use serde_json::{Value, json};

use crate::docs;
use crate::support::{PROJECT, Sandbox};

/// Metrics of others that it shows: Prometheus makes `up` for each target.
const FOREIGN: [&str; 1] = ["up"];

/// Labels that a target gives, whatever the metric.
const OF_THE_TARGET: [&str; 2] = ["instance", "job"];

/// Families that no panel shows, on purpose.
const NOT_SHOWN: [&str; 0] = [];

fn dashboard() -> Value {
    let path = Path::new(PROJECT).join("deploy/grafana/self-heal.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("no list: {value}"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}"))
}

fn panels(dashboard: &Value) -> (Vec<&Value>, Vec<&Value>) {
    list(&dashboard["panels"])
        .iter()
        .partition(|panel| panel["type"] == "row")
}

/// Every query, with the dashboard's variables in the form that Grafana gives them.
pub fn expressions() -> Vec<(String, String)> {
    let dashboard = dashboard();
    let (_, panels) = panels(&dashboard);
    let mut found = Vec::new();
    for panel in panels {
        for target in list(&panel["targets"]) {
            let expression = text(&target["expr"])
                .replace("$__rate_interval", "5m")
                .replace("$__range", "24h")
                .replace("$instance", ".*")
                .replace("$alertname", "NginxDown|.*");
            assert!(!expression.contains('$'), "{expression}");
            found.push((text(&panel["title"]).to_owned(), expression));
        }
    }
    found
}

/// Every metric with its labels, as the page of the metrics has them.
fn metrics() -> BTreeMap<String, BTreeSet<String>> {
    let word = |cell: &str| cell.trim_matches('`').to_owned();
    let mut known = BTreeMap::new();
    for row in docs::table("| metric | type | labels | what |") {
        let labels: BTreeSet<String> = row[2]
            .split(", ")
            .filter(|label| !label.is_empty())
            .map(word)
            .collect();
        if row[1] == "histogram" {
            for end in ["bucket", "sum", "count"] {
                let mut labels = labels.clone();
                labels.extend((end == "bucket").then(|| "le".to_owned()));
                known.insert(format!("{}_{end}", word(&row[0])), labels);
            }
        } else {
            known.insert(word(&row[0]), labels);
        }
    }
    assert!(known.len() > exposition::FAMILIES.len());
    known
}

/// The words of an expression, with what follows each; what stands in quotes is left out.
fn words(expression: &str) -> Vec<(String, String)> {
    let mut bare = String::new();
    for (number, part) in expression.split('"').enumerate() {
        bare.push_str(if number % 2 == 0 { part } else { "\"\"" });
    }
    let part_of_one = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = bare.as_str();
    while let Some(start) = rest.find(part_of_one) {
        rest = &rest[start..];
        let end = rest.find(|c| !part_of_one(c)).unwrap_or(rest.len());
        found.push((rest[..end].to_owned(), rest[end..].to_owned()));
        rest = &rest[end..];
    }
    found
}

/// The labels in the braces or brackets that follow.
fn labels(after: &str, open: char, close: char) -> Vec<String> {
    let Some(inner) = after.trim_start().strip_prefix(open) else {
        return Vec::new();
    };
    let inner = inner.split(close).next().unwrap();
    let names = inner
        .split(',')
        .map(|one| one.split(['=', '!', '~']).next().unwrap().trim());
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_query_asks_for_metrics_and_labels_that_are_there() {
    let known = metrics();
    let mut shown = BTreeSet::new();
    for (title, expression) in expressions() {
        let mut here = BTreeSet::new();
        let mut grouped = Vec::new();
        for (word, after) in words(&expression) {
            if word == "by" || word == "on" {
                grouped.extend(labels(&after, '(', ')'));
            }
            if !word.starts_with("self_heal_") && !FOREIGN.contains(&word.as_str()) {
                continue;
            }
            let own = known.get(&word).cloned().unwrap_or_default();
            assert!(
                known.contains_key(&word) || FOREIGN.contains(&word.as_str()),
                "{title}: {word}"
            );
            for label in labels(&after, '{', '}') {
                let target = OF_THE_TARGET.contains(&label.as_str());
                assert!(
                    target || own.contains(&label),
                    "{title}: {word} has no {label}"
                );
            }
            here.extend(own);
            shown.insert(word);
        }
        for label in grouped {
            let target = OF_THE_TARGET.contains(&label.as_str());
            assert!(
                target || here.contains(&label),
                "{title}: by {label}: {expression}"
            );
        }
    }
    for family in exposition::FAMILIES {
        let by = |name: &String| name.starts_with(family.name);
        let left_out = NOT_SHOWN.contains(&family.name);
        assert_eq!(shown.iter().any(by), !left_out, "{}", family.name);
    }
}

/// promtool reads rules, and JSON is YAML.
fn accepted(expressions: &[String]) -> bool {
    let sandbox = Sandbox::new();
    let rules: Vec<Value> = expressions
        .iter()
        .enumerate()
        .map(
            |(number, expression)| json!({"record": format!("panel:{number}"), "expr": expression}),
        )
        .collect();
    let file = json!({"groups": [{"name": "dashboard", "rules": rules}]});
    let file = sandbox.write("rules.yml", &file.to_string());
    let output = Command::new("promtool")
        .args(["check", "rules"])
        .arg(file)
        .output()
        .unwrap();
    output.status.success()
}

#[test]
fn every_query_is_promql() {
    let expressions: Vec<String> = expressions().into_iter().map(|(_, it)| it).collect();
    assert!(expressions.len() > 20);
    for expression in &expressions {
        assert!(accepted(std::slice::from_ref(expression)), "{expression}");
    }
    assert!(!accepted(&["sum(self_heal_paused".to_owned()]));
}

#[test]
fn every_panel_has_its_place_and_says_what_to_do() {
    let dashboard = dashboard();
    assert!(dashboard["schemaVersion"].as_u64().unwrap() >= 39);
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in list(&dashboard["panels"]) {
        let title = text(&panel["title"]);
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{title}");
        let place = |name: &str| panel["gridPos"][name].as_u64().unwrap();
        assert!(
            place("w") > 0 && place("h") > 0 && place("x") + place("w") <= 24,
            "{title}"
        );
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(cells.insert((x, y)), "{title} lies on another");
            }
        }
    }
    let (rows, panels) = panels(&dashboard);
    assert_eq!(rows.len(), 4);
    for panel in panels {
        let title = text(&panel["title"]);
        assert!(text(&panel["description"]).len() > 40, "{title}");
        let defaults = &panel["fieldConfig"]["defaults"];
        assert!(!text(&defaults["unit"]).is_empty(), "{title}");
        assert!(
            !list(&defaults["thresholds"]["steps"]).is_empty(),
            "{title}"
        );
        let mut names = BTreeSet::new();
        for target in list(&panel["targets"]) {
            assert!(names.insert(text(&target["refId"])), "{title}");
            assert_eq!(target["datasource"]["uid"], "${datasource}", "{title}");
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{title}");
    }
}

#[test]
fn its_variables_are_those_that_its_queries_use() {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"]["list"]);
    let names: Vec<&str> = variables.iter().map(|one| text(&one["name"])).collect();
    assert_eq!(names, ["datasource", "instance", "alertname"]);
    let known = metrics();
    for variable in &variables[1..] {
        assert_eq!(variable["datasource"]["uid"], "${datasource}");
        let query = text(&variable["query"]["query"]);
        let inner = query
            .strip_prefix("label_values(")
            .unwrap()
            .strip_suffix(')');
        let (metric, label) = inner.unwrap().split_once(", ").unwrap();
        assert_eq!(label, text(&variable["name"]));
        let own = &known[metric];
        assert!(
            own.contains(label) || OF_THE_TARGET.contains(&label),
            "{query}"
        );
    }
    let all = dashboard.to_string();
    for name in ["$instance", "$alertname"] {
        assert!(all.contains(name), "{name}");
    }
}
