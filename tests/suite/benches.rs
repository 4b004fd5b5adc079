//! The bench works, on few requests: how fast anything is, no test judges.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{PROGRAM, PROJECT, Sandbox};

/// A script of `tests/bench`, for this executable.
fn bench(script: &str, words: &[&str]) -> Output {
    Command::new(Path::new(PROJECT).join("tests/bench").join(script))
        .args(words)
        .output()
        .unwrap()
}

fn said(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
fn every_part_measures_and_what_it_measured_is_shown_written_and_drawn() {
    let sandbox = Sandbox::new();
    let figures = sandbox.path("figures.json").display().to_string();
    let document = sandbox.path("performance.md").display().to_string();
    let page = Path::new(PROJECT).join("docs/performance.md");
    fs::copy(page, &document).unwrap();
    let program = format!("debug={PROGRAM}");
    let words = ["--quick", "--rivals", "socat", "--program", &program];
    let written = ["--json", &figures, "--update", &document];
    let output = bench("run", &[&words[..], &written].concat());
    assert!(output.status.success(), "{}", said(&output));

    let shown = said(&output);
    let text = fs::read_to_string(&document).unwrap();
    for words in [
        "One request after another",
        "So many at once",
        "One connection without a spawner",
        "One durable update",
        "How it grows",
        "x glibc floor",
    ] {
        assert!(shown.contains(words), "{words}: {shown}");
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(text.contains("| socat | self-heal, debug | "), "{text}");

    let result: Value = serde_json::from_str(&fs::read_to_string(&figures).unwrap()).unwrap();
    let rows = |part: &str| result[part].as_array().unwrap().clone();
    for row in rows("sequential") {
        assert!(row["p50"].as_f64().unwrap() > 0.0 && row["cpu"].as_f64().unwrap() > 0.0);
    }
    for row in rows("storm") {
        assert_eq!(
            (&row["answered"], &row["ran"]),
            (&row["asked"], &row["asked"])
        );
        assert_eq!(row["twice"], 0);
    }
    assert!(rows("growth").len() > 4);

    let pictures = sandbox.path("").display().to_string();
    let output = bench("plot", &[&figures, &pictures]);
    assert!(output.status.success(), "{}", said(&output));
    for name in ["latency", "storm", "growth"] {
        assert!(
            sandbox
                .read(&format!("performance-{name}.svg"))
                .ends_with("</svg>\n")
        );
    }
}

#[test]
fn what_heals_nothing_is_not_measured() {
    let program = "true=/bin/true";
    let output = bench("run", &["--quick", "--only", "once", "--program", program]);
    assert!(!output.status.success());
    assert!(
        said(&output).contains("/bin/true does not heal"),
        "{}",
        said(&output)
    );
}

#[test]
fn every_call_of_a_request_has_a_name() {
    let output = bench("where", &["--program", PROGRAM, "--all"]);
    let shown = said(&output);
    assert!(output.status.success(), "{shown}");
    for group in [
        "start-up",
        "configuration",
        "record",
        "history",
        "spawn",
        "log",
    ] {
        let line = format!("\n{group:34}");
        assert!(shown.contains(&line), "{group}: {shown}");
    }
}
