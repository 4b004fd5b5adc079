//! wrk and ab: as many requests as they can make, each on a connection that they would keep.

use std::process::{Command, Output};

use serde_json::Value;

use super::House;
use crate::chain::process::program;

fn ended(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let said = String::from_utf8(stdout).unwrap();
    let complaint = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{said}{complaint}");
    said
}

#[test]
fn wrk_gets_an_answer_to_every_request() {
    let house = House::new();
    house.healer("Pressed");
    let script = house.sandbox().write("wrk.lua", include_str!("wrk.lua"));
    for path in ["/-/healthy", "/"] {
        let said = ended(
            Command::new(program("wrk"))
                .args(["-t2", "-c16", "-d2s", "--timeout", "60s", "-s"])
                .arg(&script)
                .arg(house.url(path)),
        );
        let summary = said.lines().find(|line| line.starts_with('{')).unwrap();
        let summary: Value = serde_json::from_str(summary).unwrap();
        assert_eq!(summary["errors"], 0, "{said}");
        let requests = summary["requests"].as_u64().unwrap() as usize;
        assert!(requests > 0, "{said}");
        if path == "/" {
            // The last of each connection had no answer yet when the time was over.
            house.nothing_is_left();
            let ran = house.healed_once("Pressed").len();
            assert!(
                (requests..=requests + 16).contains(&ran),
                "{requests} {ran}"
            );
        }
    }
    house.nothing_is_left();
    house.every_place_is_free();
}

#[test]
fn ab_would_keep_its_connections_and_gets_new_ones() {
    let house = House::new();
    house.healer("Pressed");
    let alert = super::body(&super::alert("Pressed", 1));
    let file = house.sandbox().write("body.json", &alert);
    let post = ["-T", "application/json", "-p", file.to_str().unwrap()];
    for (path, options) in [("/-/healthy", &[][..]), ("/", &post)] {
        let said = ended(
            Command::new(program("ab"))
                .args(["-q", "-k", "-l", "-n", "200", "-c", "20"])
                .args(options)
                .arg(house.url(path)),
        );
        let count = |what: &str| {
            let line = said.lines().find_map(|line| line.strip_prefix(what));
            line.map(|count| count.trim().parse::<u32>().unwrap())
        };
        assert_eq!(count("Complete requests:"), Some(200), "{said}");
        assert_eq!(count("Failed requests:"), Some(0), "{said}");
        assert_eq!(count("Keep-Alive requests:"), Some(0), "{said}");
        assert_eq!(count("Non-2xx responses:"), None, "{said}");
    }
    assert_eq!(house.healed_once("Pressed").len(), 1);
    house.nothing_is_left();
}
