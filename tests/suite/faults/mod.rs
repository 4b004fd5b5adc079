//! A fault at every system call of one process: it is killed there; the call fails there, once, with each error that
//! fits it; it fails from there on. After each, what must hold whatever happens is looked at, and whoever comes next
//! finishes the work. A sample of them, the same each time; all of them with `SELF_HEAL_FAULTS=all`, which prints how
//! many there were.

use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::support::{Sandbox, feed};
use crate::tracing::{Call, Fault, behind, calls, came_to_pass, strace, strace_with};

mod errors;
mod found;
mod guard;
mod scenes;
mod sound;

use scenes::Scene;

/// How many faults of each kind the sample has, of each scene.
const SAMPLE: usize = 14;

/// How many calls before the one meant a fault is tried at, if it does not come to pass there.
const EARLIER: usize = 8;

/// The most failures that are shown.
const SHOWN: usize = 12;

/// Everything that a scene changes.
const CHANGED: [&str; 7] = ["log", "lock", "state", "backup", "place", "seen", "pages"];

#[test]
fn the_first_request_of_a_host() {
    over(&scenes::FIRST);
}

#[test]
fn a_heal() {
    over(&scenes::HEAL);
}

#[test]
fn a_failure_that_opens_the_breaker_and_tells_a_person() {
    over(&scenes::TRIPS);
}

#[test]
fn a_failure_whose_changes_are_put_back() {
    over(&scenes::PUTS_BACK);
}

#[test]
fn a_resolved_that_ends_a_page() {
    over(&scenes::RESOLVES);
}

#[test]
fn a_drain() {
    over(&scenes::DRAINS);
}

#[test]
fn a_run_by_hand() {
    over(&scenes::BY_HAND);
}

/// A kind of fault at one of the calls.
type Point<'a> = (&'a Call, Fault);

/// Whether all of them are asked for.
fn all() -> bool {
    std::env::var_os("SELF_HEAL_FAULTS").is_some_and(|word| word == "all")
}

/// The faults of each kind, by kind: kills, failures, failures that last.
fn points(calls: &[Call]) -> [Vec<Point<'_>>; 3] {
    let fail = |call: &Call| errors::of(&call.name, &call.line);
    let kills = calls.iter().map(|call| (call, Fault::Kill)).collect();
    let failures = calls
        .iter()
        .flat_map(|call| fail(call).iter().map(move |e| (call, Fault::Fail(e))))
        .collect();
    let lasting = calls
        .iter()
        .filter_map(|call| Some((call, Fault::FailOn(errors::lasting(&call.name)?))))
        .collect();
    [kills, failures, lasting]
}

/// All of them, or so many, spread evenly.
fn sample<T: Copy>(points: &[T]) -> Vec<T> {
    if all() {
        return points.to_vec();
    }
    let step = (points.len() / SAMPLE).max(1);
    // Not from the first one on: whatever repeats would be met at the same place each time.
    points
        .iter()
        .copied()
        .skip(step / 2)
        .step_by(step)
        .collect()
}

/// How many faults there were, and what came of them.
#[derive(Default)]
struct Tally {
    calls: usize,
    tried: [usize; 3],
    hit: [usize; 3],
    wrong: Vec<String>,
}

impl Tally {
    /// Goes through the points; `act` says whether the fault came to pass.
    fn go(name: &str, calls: &[Call], act: &mut dyn FnMut(&Call, Fault) -> bool) {
        let mut tally = Tally {
            calls: calls.len(),
            ..Tally::default()
        };
        for (kind, points) in points(calls).iter().enumerate() {
            for (call, fault) in sample(points) {
                // Whoever waits for a shorter time this time makes fewer calls: then an earlier one is struck.
                let mut nearest = (call.nth.saturating_sub(EARLIER)..call.nth).rev().map(|n| {
                    let nth = n + 1;
                    Call {
                        nth,
                        ..call.clone()
                    }
                });
                let tried =
                    catch_unwind(AssertUnwindSafe(|| nearest.any(|call| act(&call, fault))));
                tally.tried[kind] += 1;
                match tried {
                    Ok(hit) => tally.hit[kind] += usize::from(hit),
                    Err(why) => {
                        tally.hit[kind] += 1;
                        let why = why
                            .downcast_ref::<String>()
                            .cloned()
                            .or_else(|| why.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                            .unwrap_or_default();
                        let at = format!("{}#{}", call.name, call.nth);
                        tally
                            .wrong
                            .push(format!("{at} {fault:?}: {}\n  {why}", call.line));
                    }
                }
            }
        }
        tally.told(name);
    }

    fn told(&self, name: &str) {
        let [kills, failures, lasting] = self.hit;
        let line = format!(
            "faults: {name}: {} calls, {kills} kills, {failures} failures, {lasting} lasting failures, {} wrong\n",
            self.calls,
            self.wrong.len()
        );
        if all() {
            // Not print!, which a test that passes keeps to itself.
            std::io::stderr().write_all(line.as_bytes()).unwrap();
        }
        let shown = &self.wrong[..self.wrong.len().min(SHOWN)];
        if let Some(file) = std::env::var_os("SELF_HEAL_FAULTS_REPORT") {
            let mut file = fs::File::options()
                .append(true)
                .create(true)
                .open(file)
                .unwrap();
            writeln!(file, "{line}{}", self.wrong.join("\n")).unwrap();
        }
        assert!(self.wrong.is_empty(), "{line}{}", shown.join("\n"));
        for (tried, hit) in self.tried.iter().zip(self.hit) {
            // What is called in waiting alone may not be called at all.
            assert!(hit * 10 >= tried * 9 && *tried > 0, "{line}of {tried}");
        }
    }
}

/// Goes through a scene.
fn over(scene: &Scene) {
    let stage = Stage::new(scene);
    Tally::go(scene.name, &stage.calls, &mut |call, fault| {
        stage.strike(call, fault)
    });
}

/// A scene in a sandbox, as it is before each fault.
struct Stage<'a> {
    scene: &'a Scene,
    sandbox: Sandbox,
    trace: PathBuf,
    /// What the process calls where nothing strikes.
    calls: Vec<Call>,
}

impl Stage<'_> {
    fn new(scene: &Scene) -> Stage<'_> {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.path("seen")).unwrap();
        fs::create_dir(sandbox.path("place")).unwrap();
        sandbox.recorder();
        (scene.prepare)(&sandbox);
        for name in CHANGED {
            copy(&sandbox.path(name), &sandbox.path("saved").join(name));
        }
        let mut stage = Stage {
            trace: sandbox.path("trace"),
            scene,
            sandbox,
            calls: Vec::new(),
        };
        let output = stage.act(&strace(&stage.trace, None));
        stage.calls = calls(&fs::read_to_string(&stage.trace).unwrap());
        (scene.look)(&stage.sandbox, &output, None);
        if !scene.from_the_start {
            // What comes before the configuration is read is the same for every request.
            let read = |call: &Call| call.line.contains("/self-heal.conf");
            let first = stage.calls.iter().position(read).unwrap();
            stage.calls.drain(..first);
        }
        stage
    }

    /// Everything as before, the process with a fault, and the look at what came of it. Whether the fault came to pass.
    fn strike(&self, call: &Call, fault: Fault) -> bool {
        let saved = self.sandbox.path("saved");
        for name in CHANGED {
            remove(&self.sandbox.path(name));
            copy(&saved.join(name), &self.sandbox.path(name));
        }
        let output = self.act(&strace_with(&self.trace, (&call.name, call.nth), fault));
        let text = fs::read_to_string(&self.trace).unwrap();
        sound::mended(&self.sandbox, fault);
        (self.scene.look)(&self.sandbox, &output, Some(fault));
        came_to_pass(&text, fault)
    }

    fn act(&self, words: &[String]) -> Output {
        let (command, input) = (self.scene.act)(&self.sandbox);
        // What spins for ever is ended, and counts as wrong.
        let mut all = ["prlimit", "--cpu=10:20"].map(str::to_owned).to_vec();
        all.extend_from_slice(words);
        feed(behind(&all, &command), &input)
    }
}

fn remove(path: &Path) {
    if path.is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

/// A file, or a folder and everything in it, with modes.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        copy(&entry.path(), &to.join(entry.file_name()));
    }
    fs::set_permissions(to, fs::metadata(from).unwrap().permissions()).unwrap();
}
