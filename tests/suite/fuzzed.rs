//! The bodies of the fuzzing targets (`tests/fuzz`), each with some thousands of inputs that are the same every time.

use std::fs;
use std::path::{Path, PathBuf};

use crate::docs::{page, table, word};
use crate::support::PROJECT;

#[path = "fuzzed/bodies/mod.rs"]
mod bodies;
mod mutation;

pub use bodies::Chance;
use bodies::{TARGETS, Target};

/// How many mutations each body gets, beside its seeds.
const INPUTS: usize = 1_500;

fn play(name: &str) {
    let Target { body, seeds, .. } = bodies::target(name);
    let seeds = seeds();
    assert!(seeds.len() > 1, "{name} has {} seeds", seeds.len());
    let mut chance = Chance::new(20_261_122);
    seeds.iter().for_each(|seed| body(seed));
    for number in 0..INPUTS {
        let input = mutation::mutated(&seeds, &mut chance);
        let held = std::panic::catch_unwind(|| body(&input));
        assert!(
            held.is_ok(),
            "input {number} of {name}: {}",
            input.escape_ascii()
        );
    }
}

macro_rules! targets {
    ($($name:ident)+) => {
        $(#[test]
        fn $name() {
            play(stringify!($name));
        })+

        const PLAYED: &[&str] = &[$(stringify!($name)),+];
    };
}

targets! {
    request payload directives configuration allowlist record pauses history spool manifest holder times words lint
}

#[test]
fn every_target_is_played_here_and_fuzzed_there() {
    let known = TARGETS.map(|target| target.name);
    assert_eq!(PLAYED, known);
    let folder = Path::new(PROJECT).join("tests/fuzz");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let bins = manifest
        .lines()
        .filter_map(|line| line.strip_prefix("name = \""));
    let bins: Vec<&str> = bins
        .skip(1)
        .filter_map(|line| line.strip_suffix('"'))
        .collect();
    assert_eq!(bins, known);
    for name in known {
        let file = folder.join(format!("fuzz_targets/{name}.rs"));
        let text = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        assert!(text.contains(&format!("target(\"{name}\")")), "{name}");
    }
    let rows = table("| target | executions | time | coverage | found |");
    let documented: Vec<String> = rows.iter().map(|row| word(&row[0])).collect();
    assert_eq!(documented, known);
    assert!(page("proof.md").contains("tests/fuzz/run"));
}

/// For `tests/fuzz/run`: the seeds as files, a folder a target.
#[test]
#[ignore = "writes the seeds to SELF_HEAL_CORPUS"]
fn write_the_seeds() {
    let corpus = PathBuf::from(std::env::var_os("SELF_HEAL_CORPUS").expect("SELF_HEAL_CORPUS"));
    for target in TARGETS {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder).unwrap();
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:03}")), seed).unwrap();
        }
    }
}
