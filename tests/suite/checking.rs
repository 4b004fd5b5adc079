//! `self-heal check`: a house as it should be, each fault in turn, and who asks. Nothing is changed by looking.

mod faults;
mod machine;
mod sudoers;

use std::collections::BTreeMap;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::stage::{STRANGER, as_root, install};
use crate::support::{PROGRAM, Sandbox, chmod};

/// What depends on the machine that the tests run on, and not on the house.
const MACHINE: [&str; 4] = [
    "lost-at-boot",
    "copy-on-write",
    "network-disk",
    "clock-free",
];

/// Everything in its place, served by an account that owns its state, logs and locks; root owns the rest.
struct Home {
    sandbox: Sandbox,
    /// Somebody who listens where the listener should.
    _listener: TcpListener,
}

impl Home {
    fn new() -> Home {
        as_root();
        let sandbox = Sandbox::new();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        sandbox.set("HEAL_PORT", &port.to_string());
        sandbox.set("HEAL_ALLOW_ROOT", "no");
        sandbox.write("allowed.txt", "web-1\ndb-1:9100 Down\n");
        sandbox.handler("Down", "exit 0\n");
        sandbox.recorder();
        for folder in ["state", "log", "lock"] {
            give(&sandbox.path(folder));
        }
        Home {
            sandbox,
            _listener: listener,
        }
    }

    /// A file below one of the account's folders, the account's own.
    fn own(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.sandbox.path(name);
        let mut made = Vec::new();
        let mut folder = path.parent().unwrap();
        while !folder.exists() {
            made.push(folder.to_owned());
            folder = folder.parent().unwrap();
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        made.push(path.clone());
        for path in made {
            give(&path);
            let mode = if path.is_dir() { 0o700 } else { 0o600 };
            chmod(&path, mode);
        }
        path
    }

    /// One more line of the configuration; its number.
    fn line(&self, line: &str) -> usize {
        let text = format!("{}{line}\n", self.sandbox.read("self-heal.conf"));
        self.sandbox.write("self-heal.conf", &text);
        text.lines().count()
    }

    fn root(&self) -> Command {
        self.command(&[])
    }

    /// By the account of this number.
    fn by(&self, uid: u32) -> Command {
        self.command(&[
            "setpriv",
            &format!("--reuid={uid}"),
            &format!("--regid={uid}"),
            "--clear-groups",
        ])
    }

    fn command(&self, by: &[&str]) -> Command {
        let program = self.sandbox.path("self-heal");
        if !program.exists() {
            install(PROGRAM.as_ref(), &program, "755");
        }
        let program = program.display().to_string();
        let words = [by, &[&*program]].concat();
        let mut command = Command::new(words[0]);
        command
            .args(&words[1..])
            .env_clear()
            .env("HEAL_CONF", self.sandbox.path("self-heal.conf"))
            .stdin(Stdio::null());
        command
    }

    /// What root finds, as `kind place`, the sandbox as `DIR`.
    fn found(&self) -> Vec<String> {
        self.found_by(self.root())
    }

    fn found_by(&self, mut command: Command) -> Vec<String> {
        let report = json(&command.args(["check", "--json"]).output().unwrap());
        let findings = report["findings"].as_array().unwrap();
        let mut found = Vec::new();
        for finding in findings {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            assert!(
                !text("what").is_empty() && !text("mend").is_empty(),
                "{finding}"
            );
            if !MACHINE.contains(&&*text("kind")) {
                found.push(self.nameless(&format!("{} {}", text("kind"), text("place"))));
            }
        }
        found
    }

    /// The text with the sandbox as `DIR`.
    fn nameless(&self, text: &str) -> String {
        let dir = self.sandbox.path("").display().to_string();
        let port = self._listener.local_addr().unwrap().port().to_string();
        text.replace(dir.trim_end_matches('/'), "DIR")
            .replace(&port, "PORT")
    }

    /// Every file and folder with all that looking could change, the time of reading apart.
    fn picture(&self) -> BTreeMap<PathBuf, String> {
        let mut picture = BTreeMap::new();
        let mut open = vec![self.sandbox.path("")];
        while let Some(path) = open.pop() {
            let meta = fs::symlink_metadata(&path).unwrap();
            let content = if meta.is_dir() {
                open.extend(
                    fs::read_dir(&path)
                        .unwrap()
                        .map(|entry| entry.unwrap().path()),
                );
                String::new()
            } else {
                String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned()
            };
            let times = (
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime(),
                meta.ctime_nsec(),
            );
            let all = (meta.ino(), meta.permissions().mode(), meta.uid(), times);
            picture.insert(path, format!("{all:?} {content}"));
        }
        picture
    }
}

fn give(path: &Path) {
    chown(path, Some(STRANGER), Some(STRANGER)).unwrap();
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(text.ends_with("}\n") && text.lines().count() == 1, "{text}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn a_house_as_it_should_be_has_nothing_to_find_whoever_asks() {
    let home = Home::new();
    assert_eq!(home.found(), [""; 0]);
    assert_eq!(home.found_by(home.by(STRANGER)), [""; 0]);
    // Folders that others may look at.
    assert_eq!(home.found_by(home.by(STRANGER + 7)), [""; 0]);
    // After a run there is more to look at.
    let mut serve = home.by(STRANGER);
    serve.arg("serve");
    let alert = crate::support::Alert::firing("Down", "web-1");
    let body = crate::support::notification(&[&alert]).to_string();
    let answer = crate::support::feed(serve, &crate::support::request(&body));
    crate::support::Answer::parse(&answer.stdout).expect(200, &["healed"]);
    assert_eq!(home.found(), [""; 0]);
    assert_eq!(home.found_by(home.by(STRANGER)), [""; 0]);
}

#[test]
fn what_may_not_be_looked_at_is_said() {
    let home = Home::new();
    for folder in ["state", "log", "lock"] {
        chmod(&home.sandbox.path(folder), 0o700);
    }
    let handler = home.sandbox.path("handlers/Down.sh");
    let token = home.own("token", b"0123456789abcdef0123456789abcdef\n");
    home.sandbox
        .set("HEAL_TOKEN_FILE", &token.display().to_string());
    give(&handler);
    chmod(&handler, 0o700);
    assert_eq!(home.found(), [""; 0]);
    assert_eq!(home.found_by(home.by(STRANGER)), [""; 0]);
    let mut found = home.found_by(home.by(STRANGER + 7));
    found.sort();
    assert_eq!(
        found,
        [
            "unseen DIR/handlers/Down.sh",
            "unseen DIR/token",
            "unseen HEAL_LOCK_DIR: DIR/lock",
            "unseen HEAL_LOG_DIR: DIR/log",
            "unseen HEAL_STATE_DIR: DIR/state",
        ]
    );
}

#[test]
fn a_configuration_that_may_not_be_read_is_a_note_or_an_error_by_who_asks() {
    let home = Home::new();
    let conf = home.sandbox.path("self-heal.conf");
    chown(&conf, Some(0), Some(0)).unwrap();
    chmod(&conf, 0o600);
    let file = "settings-file DIR/self-heal.conf".to_owned();
    assert_eq!(home.found(), [&*file], "the account that serves may not");
    assert!(home.found_by(home.by(STRANGER)).contains(&file));
}

#[test]
fn looking_changes_and_makes_nothing() {
    let home = Home::new();
    home.own("state/metrics/-", b"{\"channel_failures\":3}\n");
    home.own("state/records/0123", b"torn");
    home.own("state/pauses", b"torn");
    home.own("log/listener.log", b"");
    home.sandbox.handler("Broken", "if\n");
    drop(home.root());
    let before = home.picture();
    for command in [home.root(), home.by(STRANGER), home.by(STRANGER + 7)] {
        home.found_by(command);
        assert_eq!(home.picture(), before);
    }
}

#[test]
fn an_empty_host_is_told_what_is_missing() {
    let home = Home::new();
    for folder in ["handlers", "log", "lock", "state", "backup", "escalate.d"] {
        fs::remove_dir_all(home.sandbox.path(folder)).unwrap();
    }
    fs::remove_file(home.sandbox.path("allowed.txt")).unwrap();
    drop(home.root());
    let before = home.picture();
    let output = home.root().arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = home.nameless(&String::from_utf8(output.stdout).unwrap());
    for said in [
        "error folder-missing: HEAL_STATE_DIR: DIR/state: ",
        "error folder-missing: HEAL_HANDLER_DIR: DIR/handlers: ",
        "error allow-list: HEAL_ALLOWED_INSTANCES: DIR/allowed.txt: it is not there: ",
        "warning no-escalator: ",
        "  serves as      not known, since no folder of its own is seen; judged as root\n",
    ] {
        assert!(text.contains(said), "{said}: {text}");
    }
    assert_eq!(home.picture(), before);
}

#[test]
fn a_mixed_house_reads_like_this() {
    let home = Home::new();
    let number = home.line("HEAL_SETLE=6m");
    home.sandbox.write("allowed.txt", "web-*\nweb-1\n*\n");
    home.sandbox
        .handler("Broken", "# self-heal: tiemout=3\nexit 0\n");
    fs::remove_file(home.sandbox.path("escalate.d/recorder")).unwrap();
    let output = home.root().arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = home.nameless(&String::from_utf8(output.stdout).unwrap());
    let machine = |line: &&str| !line.starts_with("  clock ") && !line.starts_with("  systemd ");
    let text: Vec<&str> = text.lines().filter(machine).collect();
    let expected = format!(
        "\
error settings: DIR/self-heal.conf:{number}: unknown key `HEAL_SETLE`; did you mean HEAL_SETTLE?: until then every request is answered 503, and nothing runs
  correct it; what follows here was looked at with the value that would count without it
error directive: DIR/handlers/Broken.sh:2: `tiemout` is no directive; there are timeout, lock, settle, max-attempts, retry-delay, mode, compat, snapshot: every alert for it is answered unsafe-handler, and nothing runs
  correct the line: see docs/handlers.md
warning allow-everything: DIR/allowed.txt:3: it allows whatever comes, so a wrong route in Alertmanager has this machine healed for another one's alert
  name this machine's instances
warning no-escalator: HEAL_ESCALATE_DIR: DIR/escalate.d: there is no escalator: when healing fails, nobody is told but the log
  install one: see docs/escalation.md
note allow-twice: DIR/allowed.txt:1: line 3 allows all of it already: whoever removes this line has changed nothing
  remove one of the two
note allow-twice: DIR/allowed.txt:2: line 1 allows all of it already: whoever removes this line has changed nothing
  remove one of the two
looked at
  configuration  DIR/self-heal.conf: 12 keys set
  serves as      uid {STRANGER}, who owns DIR/state
  folders        HEAL_STATE_DIR, HEAL_LOG_DIR, HEAL_LOCK_DIR, HEAL_HANDLER_DIR
  files in them  0
  handlers       2 in DIR/handlers: Broken, Down
  allow-list     DIR/allowed.txt: 3 entries
  sudo           no handler uses it with a command that is written out
  escalators     none that may be run
  pages          0 waiting, 0 refused for good, 0 damaged
  records        0
  port           127.0.0.1:PORT
2 errors, 2 warnings, 2 notes"
    );
    let expected: Vec<&str> = expected.lines().collect();
    assert_eq!(text, expected);
}

/// The page's example is of this house, its folders where they are by default.
pub fn the_page_shows_what_is_found(transcript: &str) {
    let home = Home::new();
    home.sandbox.write("allowed.txt", "*\n");
    home.sandbox
        .handler("Broken", "# self-heal: tiemout=3\nexit 0\n");
    let output = home.root().arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let mut text = home.nameless(&String::from_utf8(output.stdout).unwrap());
    for (here, there) in [
        ("DIR/handlers", "/opt/self-heal/handlers"),
        ("DIR/allowed.txt", "/opt/self-heal/allowed-instances.txt"),
        ("DIR/self-heal.conf", "/etc/self-heal/self-heal.conf"),
        ("DIR/state", "/var/lib/self-heal"),
        (&format!("uid {STRANGER}"), "healer"),
        (":PORT", ":9095"),
    ] {
        text = text.replace(here, there);
    }
    let lines = |text: &str| -> Vec<String> {
        let machine =
            |line: &&str| !line.starts_with("  clock ") && !line.starts_with("  systemd ");
        text.lines().filter(machine).map(str::to_owned).collect()
    };
    let said = transcript.strip_prefix("# self-heal check\n").unwrap();
    assert_eq!(lines(&text), lines(said));
}

#[test]
fn a_program_gets_one_object_with_these_members() {
    let home = Home::new();
    home.line("HEAL_SETLE=6m");
    home.sandbox.set("HEAL_OBSERVE", "yes");
    home.line("HEAL_SETLE=6m");
    let output = home.root().args(["check", "--json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report = json(&output);
    let members =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    assert_eq!(
        members(&report),
        ["errors", "findings", "looked_at", "notes", "warnings"]
    );
    let findings = report["findings"].as_array().unwrap();
    for finding in findings {
        assert_eq!(
            members(finding),
            ["kind", "mend", "place", "severity", "what"]
        );
    }
    assert_eq!(findings[0]["kind"], "settings");
    assert_eq!(findings[0]["severity"], "error");
    assert_eq!(report["errors"], 1);
    let looked_at = report["looked_at"].as_array().unwrap();
    assert!(
        looked_at
            .iter()
            .all(|looked| members(looked) == ["at", "what"])
    );
    assert_eq!(looked_at[0]["at"], "configuration");
}

#[test]
fn warnings_and_notes_are_no_failure_and_wrong_usage_is_one() {
    let home = Home::new();
    home.sandbox.set("HEAL_OBSERVE", "yes");
    home.sandbox.set("HEAL_ALLOW_PEERS", "192.0.2.7");
    let output = home.root().arg("check").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("note observing: ") && text.contains("warning open-peers: "),
        "{text}"
    );
    for wrong in [&["check", "now"][..], &["check", "--colour"]] {
        let output = home.root().args(wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(100), "{output:?}");
    }
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let status = home
        .root()
        .arg("check")
        .stdout(full)
        .stderr(Stdio::null())
        .status();
    assert_eq!(status.unwrap().code(), Some(111));
}

#[test]
fn other_peoples_files_are_looked_at_where_they_are_named() {
    let home = Home::new();
    let shipped = |name: &str| {
        let path = Path::new(crate::support::PROJECT).join("deploy").join(name);
        fs::read_to_string(path).unwrap()
    };
    let port = home._listener.local_addr().unwrap().port().to_string();
    let good = shipped("alertmanager/alertmanager.yml").replace("9095", &port);
    let file = home.sandbox.write("alertmanager.yml", &good);
    let file = file.to_str().unwrap();
    let rules = home.sandbox.write(
        "heal.rules.yml",
        "groups:\n- name: a\n  rules:\n  - alert: Dwon\n    expr: up == 0\n    for: 5m\n    \
         labels: {heal: \"true\"}\n    annotations: {summary: x}\n",
    );
    let rules = rules.to_str().unwrap();
    let mut asked = home.root();
    asked.args(["check", "--json", "--alertmanager", file, "--rules", rules]);
    let output = asked.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let report = json(&output);
    let of = |kind: &str| {
        let findings = report["findings"].as_array().unwrap();
        let found = findings.iter().find(|finding| finding["kind"] == kind);
        found
            .unwrap_or_else(|| panic!("no {kind}: {report}"))
            .clone()
    };
    let unhandled = of("no-handler");
    assert_eq!(unhandled["place"], format!("{rules}:4"), "{unhandled}");

    let bad = good.replace("max_alerts: 0", "max_alerts: 1");
    assert_ne!(bad, good);
    home.sandbox.write("alertmanager.yml", &bad);
    let output = home
        .root()
        .args(["check", "--alertmanager", file])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("error max-alerts: "), "{text}");

    for (args, why) in [
        (&["--alertmanager", "/nowhere.yml"][..], "/nowhere.yml: "),
        (&["--receiver", "x"], "--receiver goes with --alertmanager"),
    ] {
        let output = home.root().arg("check").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(100), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(why), "{said}");
    }
}
