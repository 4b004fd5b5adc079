//! The rollback guard: what comes back and what stays, what is refused, who dies in the middle, and who would like
//! root to copy something else. The real cp, a real sudo, and a mount namespace where root's side finds its
//! configuration in /etc without changing this machine's.

mod attacks;
mod by_hand;
mod comes_back;
pub mod crash;
pub mod house;
mod shelf;
mod two_sides;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self_heal::judge::{AlertName, Time, run_id};
use self_heal::sys::snapshot::{self, Failed, Guarded, Restored};
use self_heal::wire::config::Keep;

use crate::stage::{as_root, run};
use crate::support::Sandbox;

const KEEP: Keep = Keep {
    most: 20,
    age: Duration::from_secs(30 * 86_400),
};

/// A run id that no other test has, of a run that begins now.
pub fn new_run(alertname: &str) -> String {
    run_at(now(), alertname)
}

fn run_at(started: Time, alertname: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    let name = AlertName::new(alertname).unwrap();
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    run_id::make(started, std::process::id().cast_signed(), number, &name)
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time(since.as_millis().try_into().unwrap())
}

/// The guard of one run over some paths of a sandbox, in this process: root is the only side.
struct Guard {
    backup: PathBuf,
    run: String,
    paths: Vec<PathBuf>,
}

impl Guard {
    fn new(sandbox: &Sandbox, paths: &[&Path]) -> Guard {
        as_root();
        Guard {
            backup: sandbox.path("backup"),
            run: new_run("Down"),
            paths: paths.iter().map(|path| path.to_path_buf()).collect(),
        }
    }

    fn guarded(&self) -> Guarded<'_> {
        Guarded {
            backup_dir: &self.backup,
            run_id: &self.run,
            paths: &self.paths,
        }
    }

    fn try_capture(&self) -> Result<Option<PathBuf>, String> {
        snapshot::capture(&self.guarded(), &KEEP, &|_| false)
    }

    fn capture(&self) -> PathBuf {
        self.try_capture().unwrap().unwrap()
    }

    fn try_restore(&self) -> Result<Restored, Failed> {
        snapshot::restore(&self.guarded())
    }

    /// How much was put back.
    fn restore(&self) -> usize {
        match self.try_restore().unwrap() {
            Restored::Done { changed, .. } => changed,
            Restored::Nothing => panic!("there is no snapshot of {}", self.run),
        }
    }
}

/// Everything that can be told of what is at and below a path by other programs than the one under test: names, types,
/// modes, owners, sizes, times to the nanosecond, targets, contents, access lists, extended attributes.
fn picture(path: &Path) -> String {
    if path.symlink_metadata().is_err() {
        return "nothing".to_owned();
    }
    // Sorted by bytes and made printable: names may be no text.
    let shell = "
        set -euo pipefail
        export LC_ALL=C
        cd \"$(dirname \"$1\")\"
        name=./$(basename \"$1\")
        {
          find \"$name\" -type d -printf '%p %y %m %U %G %T@\\n' -o -printf '%p %y %m %U %G %T@ %s %l\\n' | sort
          find \"$name\" -type f -exec sha256sum {} + | sort -k2
          find \"$name\" ! -type l -print0 | sort -z | xargs -0r getfacl --numeric --absolute-names
          getfattr --recursive --physical --no-dereference --match=- --dump --absolute-names \"$name\"
        } | cat -v";
    run(Command::new("bash")
        .args(["-c", shell, "picture"])
        .arg(path))
}

/// The numbers of the files at and below a path.
fn inodes(path: &Path) -> String {
    let shell = "find \"$1\" -printf '%P %i\\n' | LC_ALL=C sort | cat -v";
    run(Command::new("bash").args(["-c", shell, "inodes"]).arg(path))
}

/// Runs this in Bash, in a folder.
fn bash(folder: &Path, script: &str) {
    let script = format!("set -euo pipefail\n{script}");
    run(Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder));
}

/// The names in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// The commands of docs/rollback.md, with this sandbox's paths in the places of the real ones.
pub fn it_can_be_put_back_by_hand(script: &str) {
    let sandbox = Sandbox::new();
    bash(
        &sandbox.path(""),
        "mkdir -p etc/sites; echo old >etc/conf; chmod 640 etc/conf; chown 5:6 etc/conf
        echo old >etc/sites/one; ln -s one etc/sites/two; touch -d @7.000000008 etc/conf etc/sites",
    );
    let (conf, sites) = (sandbox.path("etc/conf"), sandbox.path("etc/sites"));
    let before = [&conf, &sites].map(|path| picture(path));
    let guard = Guard::new(&sandbox, &[&conf, &sites]);
    let folder = guard.capture();
    bash(
        &sandbox.path("etc"),
        "echo new >conf; chmod 600 conf; echo new >sites/one; rm sites/two; chmod 700 sites",
    );
    let mut script = script.to_owned();
    for (shown, real) in [
        ("/var/backups/self-heal/1764000000-NginxWorkers", &folder),
        ("/etc/nginx/nginx.conf", &conf),
        ("/etc/nginx/sites-enabled", &sites),
    ] {
        assert!(script.contains(shown), "{shown}");
        script = script.replace(shown, &real.display().to_string());
    }
    let script = format!("set -euo pipefail\n{script}");
    let said = run(Command::new("bash").args(["-c", &script]));
    let expected = format!(
        "files/0 {} 1\nfiles/1 {} 3\n",
        conf.display(),
        sites.display()
    );
    assert!(said.starts_with(&expected), "{said}");
    assert!(said.contains("Only in files/1: two"), "{said}");
    assert_eq!([&conf, &sites].map(|path| picture(path)), before);
}

/// What this executable does when another account is to act: see [`as_somebody`]. Its words come in the
/// environment: what to do, the program of root's side, the backup folder, the run, and the paths.
const TOLD: &str = "ROLLBACK_TOLD";

/// Not a test alone: this one is started again, by another account, to be the healer. Nobody told it anything: then
/// a run that guards nothing leaves nothing.
#[test]
fn nothing_guarded_is_nothing_captured() {
    let Some(words) = std::env::var_os(TOLD) else {
        let sandbox = Sandbox::new();
        let guard = Guard::new(&sandbox, &[]);
        assert_eq!(guard.try_capture(), Ok(None));
        assert_eq!(guard.try_restore(), Ok(Restored::Nothing));
        assert_eq!(names(&guard.backup), [""; 0]);
        return;
    };
    let mut words = words
        .as_bytes()
        .split(|byte| *byte == b'\n')
        .map(|word| PathBuf::from(OsStr::from_bytes(word)));
    let mut next = || words.next().unwrap();
    let (what, program, backup, run) = (next(), next(), next(), next());
    let paths: Vec<PathBuf> = words.collect();
    let program = || Ok(program.clone());
    let guarded = Guarded {
        backup_dir: &backup,
        run_id: run.to_str().unwrap(),
        paths: &paths,
    };
    let said = match what.to_str().unwrap() {
        "capture" => match snapshot::capture_with(&program, &guarded, &KEEP, &|_| false) {
            Ok(folder) => format!("captured {}", folder.unwrap().display()),
            Err(why) => format!("refused: {why}"),
        },
        "restore" => match snapshot::restore_with(&program, &guarded) {
            Ok(Restored::Done { changed, .. }) => format!("restored {changed}"),
            Ok(Restored::Nothing) => "nothing".to_owned(),
            Err(Failed { folder, why }) => format!("failed {}: {why}", folder.display()),
        },
        other => panic!("{other}"),
    };
    println!("SAID {said}");
}

/// This executable again, by way of these words (setpriv, nsenter, strace…), to capture or restore; what it said.
fn as_somebody(by: &[&str], copy: &Path, told: &[&str]) -> String {
    let mut command = Command::new(by[0]);
    command
        .args(&by[1..])
        .arg(copy)
        .args(["--exact", "rollback::nothing_guarded_is_nothing_captured"])
        .args(["--nocapture", "--test-threads=1"])
        .env(TOLD, told.join("\n"));
    let said = run(&mut command);
    let found = said.lines().find_map(|line| {
        let (_, words) = line.split_once("SAID ")?;
        Some(words.to_owned())
    });
    found.unwrap_or_else(|| panic!("{said}"))
}
