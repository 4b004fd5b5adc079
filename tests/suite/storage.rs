//! Records, log and history on disks that are damaged, full, read-only or somebody else's.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::sys::statvfs::statvfs;
use serde_json::{Value, json};

use crate::stage::{
    self, Gate, Posting, as_root, as_stranger, chained, fill, lines_with, mount_tmpfs, raw_history,
    run, sha256, through,
};
use crate::stopping::ask;
use crate::support::{Alert, Answer, Sandbox, chmod, feed, notification, until};

fn alert() -> Alert {
    Alert::firing("Down", "web-1:9113")
}

fn record_of(sandbox: &Sandbox, alert: &Alert) -> PathBuf {
    let key = sha256(alert.fingerprint().as_bytes());
    sandbox.path("state/records").join(key)
}

fn attempt(answer: &Answer) -> u64 {
    answer.json()["results"][0]["attempt"].as_u64().unwrap()
}

#[test]
fn the_attempt_is_on_record_before_the_handler_starts() {
    let sandbox = Sandbox::new();
    let record = record_of(&sandbox, &alert());
    let body = format!(
        "cat {} >{}; echo \"$HEAL_RUN_ID\"; exit 1\n",
        record.display(),
        sandbox.path("seen").display()
    );
    sandbox.handler("Down", &body);
    for attempt in 1..=2 {
        sandbox.post(&alert()).expect(503, &["failed"]);
        let run = sandbox.read("log/Down.log");
        let run = run.lines().last().unwrap();
        let seen = String::from_utf8_lossy(&fs::read(sandbox.path("seen")).unwrap()).into_owned();
        let copy = seen
            .lines()
            .find(|line| line.contains(run))
            .unwrap_or_else(|| panic!("nothing of run {run} in {seen}"));
        let json = copy.split_at(copy.find('{').unwrap()).1;
        let json: Value = serde_json::from_str(json).unwrap();
        assert_eq!(json["in_flight"]["id"], run);
        assert_eq!(json["in_flight"]["attempt"], attempt);
        assert_eq!(json["runs"].as_array().unwrap().len(), attempt);
    }
}

/// What strace(1) shows of one request: the calls that make things durable, and those that start programs.
fn traced(sandbox: &Sandbox) -> String {
    let trace = sandbox.path("trace");
    let shown = trace.display().to_string();
    let calls = "trace=fsync,fdatasync,execve";
    let words = ["strace", "-f", "-y", "-e", calls, "-o", &shown];
    let answer = Posting::by(through(sandbox, &words), &[&alert()]).answer();
    answer.expect(503, &["failed"]);
    fs::read_to_string(trace).unwrap()
}

#[test]
fn the_attempt_is_durable_before_the_handler_starts_and_the_ending_after_it() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 1\n");
    let record = record_of(&sandbox, &alert()).display().to_string();
    let folder = sandbox.path("state/records").display().to_string();
    let handler = sandbox.path("handlers/Down.sh").display().to_string();
    let synced = |text: &str, path: &str| {
        text.lines()
            .any(|line| line.contains("sync(") && line.contains(path) && line.ends_with(" = 0"))
    };
    let halves = |trace: &str| {
        let (before, after) = trace.split_once(&format!("execve(\"{handler}\"")).unwrap();
        (before.to_owned(), after.to_owned())
    };
    // The first time the file is new, so its folder counts as well.
    let (before, after) = halves(&traced(&sandbox));
    let made = synced(&before, &format!("{folder}/.new-"));
    assert!(made && synced(&before, &format!("{folder}>")), "{before}");
    assert!(synced(&after, &record), "{after}");
    let (before, after) = halves(&traced(&sandbox));
    assert!(synced(&before, &record), "{before}");
    assert!(synced(&after, &record), "{after}");
}

/// The room for one of a record's two copies.
const COPY: u64 = 8192;

/// Damages the record file of an alert beyond reading, given another alert's.
type Damage = fn(&Path, &Path);

const DAMAGES: [(&str, Damage); 6] = [
    ("garbage", |record, _| {
        fs::write(record, "\u{fffd}garbage\n".repeat(1000)).unwrap();
    }),
    ("cut short", |record, _| {
        File::options()
            .write(true)
            .open(record)
            .unwrap()
            .set_len(40)
            .unwrap();
    }),
    ("emptied", |record, _| {
        File::create(record).unwrap();
    }),
    ("zeros", |record, _| {
        fs::write(record, vec![0; 2 * COPY as usize]).unwrap();
    }),
    ("another alert's", |record, other| {
        fs::copy(other, record).unwrap();
    }),
    ("a byte changed in both copies", |record, _| {
        for copy in [0, 1] {
            flip(record, copy);
        }
    }),
];

/// Changes one byte in the middle of a copy's text.
fn flip(record: &Path, copy: u64) {
    let file = File::options().read(true).write(true).open(record).unwrap();
    let mut byte = [0];
    let place = copy * COPY + 150;
    file.read_exact_at(&mut byte, place).unwrap();
    assert_ne!(byte, [0], "nothing is written there");
    file.write_all_at(&[byte[0] ^ 1], place).unwrap();
}

#[test]
fn a_damaged_record_is_kept_aside_and_named_and_nothing_runs() {
    for (damage, spoil) in DAMAGES {
        let sandbox = Sandbox::new();
        sandbox.set("HEAL_SETTLE", "0");
        sandbox.handler("Down", "exit 0\n");
        sandbox.handler("Other", "exit 0\n");
        let other = Alert::firing("Other", "web-1");
        sandbox.post(&alert()).expect(200, &["healed"]);
        sandbox.post(&other).expect(200, &["healed"]);
        let record = record_of(&sandbox, &alert());
        spoil(&record, &record_of(&sandbox, &other));
        let damaged = fs::read(&record).unwrap();

        for _ in 0..3 {
            let answer = sandbox.post(&alert());
            answer.expect(503, &["error"]);
            assert!(answer.detail().contains("damaged"), "{damage}");
        }
        assert_eq!(sandbox.runs("Down"), 1, "{damage}");
        let kept: Vec<_> = fs::read_dir(sandbox.path("state/damaged"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(kept.len(), 1, "{damage}: {kept:?}");
        assert_eq!(fs::read(&kept[0]).unwrap(), damaged, "{damage}");
        let named = format!(
            "[ERROR] record_damaged alertname=Down instance=web-1:9113 kept={}",
            kept[0].display()
        );
        assert_eq!(lines_with(&sandbox.log(), &named), 1, "{damage}");
        // It is this alert's alone.
        sandbox.post(&other).expect(200, &["healed"]);
    }
}

#[test]
fn a_damaged_record_counts_as_unknown_until_the_attempt_window_has_passed() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_ATTEMPT_WINDOW", "1s");
    sandbox.handler("Down", "exit 0\n");
    fs::create_dir_all(sandbox.path("state/records")).unwrap();
    fs::write(record_of(&sandbox, &alert()), "garbage").unwrap();
    sandbox.post(&alert()).expect(503, &["error"]);
    let answer = until("the window passes", || {
        let answer = sandbox.post(&alert());
        (answer.verdicts() != ["error"]).then_some(answer)
    });
    answer.expect(200, &["healed"]);
    assert_eq!(attempt(&answer), 1);
}

#[test]
fn a_damaged_record_of_the_host_is_a_storm() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    fs::write(sandbox.path("state/host"), "garbage").unwrap();
    sandbox.post(&alert()).expect(503, &["storm"]);
    assert_eq!(sandbox.runs("Down"), 0);
    assert_eq!(lines_with(&sandbox.log(), "record_damaged"), 1);
}

#[test]
fn with_one_copy_damaged_the_other_counts() {
    // Two updates a run: the first wrote copy 0, the second copy 1.
    let run_and_flip = |copy| {
        let sandbox = Sandbox::new();
        sandbox.handler("Down", "exit 0\n");
        sandbox.post(&alert()).expect(200, &["healed"]);
        flip(&record_of(&sandbox, &alert()), copy);
        (sandbox.post(&alert()), sandbox)
    };
    let (answer, _sandbox) = run_and_flip(0);
    answer.expect(200, &["settling"]);
    // The ending is forgotten, and the run is not: it counts as interrupted.
    let (answer, sandbox) = run_and_flip(1);
    answer.expect(200, &["healed"]);
    assert_eq!(attempt(&answer), 2);
    assert!(!sandbox.path("state/damaged").exists());
}

#[test]
fn folders_never_made() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    for name in ["state", "lock", "log"] {
        fs::remove_dir(sandbox.path(name)).unwrap();
    }
    let loose = through(&sandbox, &["bash", "-c", "umask 0; exec \"$@\"", "-"]);
    Posting::by(loose, &[&alert()])
        .answer()
        .expect(200, &["healed"]);
    for (name, mode) in [
        ("state", 0o40700),
        ("lock", 0o40700),
        ("log", 0o40750),
        ("state/records", 0o40700),
        ("state/metrics", 0o40700),
        ("state/history.jsonl", 0o100640),
        ("log/listener.log", 0o100640),
        ("log/Down.log", 0o100640),
        ("lock/heal-Down.lock", 0o100600),
    ] {
        let found = fs::metadata(sandbox.path(name)).unwrap().mode();
        assert_eq!(found, mode, "{name}: {found:o}");
    }
    let record = record_of(&sandbox, &alert());
    assert_eq!(fs::metadata(record).unwrap().mode(), 0o100600);

    // What is above them is the administrator's.
    let absent = sandbox.path("absent/state").display().to_string();
    sandbox.set("HEAL_STATE_DIR", &absent);
    let answer = sandbox.post(&alert());
    assert_eq!(answer.code, 503);
    assert!(answer.body.contains(&absent), "{}", answer.body);
}

/// Nothing runs, the answer is 503, and `/-/ready` says why in these words.
fn stops_everything(sandbox: &Sandbox, because: &str, command: impl Fn() -> Command) {
    let ran = sandbox.path("ran");
    sandbox.handler("Down", &format!("touch {}\n", ran.display()));
    let answer = Posting::by(command(), &[&alert()]).answer();
    assert_eq!(answer.code, 503, "{because}: {}", answer.body);
    assert!(answer.header("retry-after").is_some());
    assert!(!ran.exists(), "{because}");
    let ready = ready(command());
    assert_eq!(ready.code, 503, "{because}: {}", ready.body);
    assert!(ready.body.contains(because), "{because}: {}", ready.body);
}

fn ready(command: Command) -> Answer {
    Answer::parse(&got(command, "/-/ready").stdout)
}

fn got(command: Command, path: &str) -> std::process::Output {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    feed(command, request.as_bytes())
}

#[test]
fn a_state_or_lock_folder_that_others_may_write_to_stops_everything() {
    for name in ["state", "lock"] {
        for mode in [0o777, 0o775, 0o1777] {
            let sandbox = Sandbox::new();
            chmod(&sandbox.path(name), mode);
            let because = format!("{name} is writable by group or others");
            stops_everything(&sandbox, &because, || sandbox.command());
        }
    }
}

#[test]
fn a_state_or_lock_folder_of_another_account_stops_everything() {
    as_root();
    for name in ["state", "lock"] {
        let sandbox = Sandbox::new();
        std::os::unix::fs::chown(sandbox.path(name), Some(65534), None).unwrap();
        let because = format!("{name} belongs to uid 65534");
        stops_everything(&sandbox, &because, || sandbox.command());
    }
}

#[test]
fn a_state_or_lock_folder_that_cannot_be_written_stops_everything() {
    for name in ["state", "lock"] {
        let sandbox = Sandbox::new();
        let path = sandbox.path(name);
        let because = path.display().to_string();
        stops_everything(&sandbox, &because, || {
            let command = as_stranger(&sandbox);
            std::os::unix::fs::chown(&path, Some(0), Some(0)).unwrap();
            command
        });
    }
}

#[test]
fn an_unsettled_status_of_200_hides_no_broken_state_from_whoever_asks() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_UNSETTLED_STATUS", "200");
    sandbox.handler("Down", "exit 0\n");
    chmod(&sandbox.path("state"), 0o777);
    sandbox.post(&alert()).expect(200, &["error"]);
    assert_eq!(sandbox.get("/-/ready").code, 503);
    assert!(!sandbox.path("log/Down.log").exists(), "nothing ran");
}

fn in_a_namespace_of_its_own(test: &str) -> bool {
    stage::in_a_namespace_of_its_own(&format!("storage::{test}"))
}

#[test]
fn a_read_only_state_folder_stops_everything() {
    if !in_a_namespace_of_its_own("a_read_only_state_folder_stops_everything") {
        return;
    }
    for warm in [false, true] {
        let sandbox = Sandbox::new();
        if warm {
            sandbox.set("HEAL_SETTLE", "0");
            sandbox.handler("Down", "exit 0\n");
            sandbox.post(&alert()).expect(200, &["healed"]);
        }
        let state = sandbox.path("state");
        run(Command::new("mount").arg("--bind").args([&state, &state]));
        run(Command::new("mount")
            .args(["-o", "remount,ro,bind"])
            .arg(&state));
        stops_everything(&sandbox, "Read-only file system", || sandbox.command());
        run(Command::new("umount").arg(&state));
    }
}

#[test]
fn a_full_log_folder_stops_no_heal_and_is_told_everywhere_else() {
    if !in_a_namespace_of_its_own("a_full_log_folder_stops_no_heal_and_is_told_everywhere_else") {
        return;
    }
    let sandbox = Sandbox::new();
    let ran = sandbox.path("ran");
    // A handler may not care whether what it says is written.
    let body = format!("echo hello; touch {}\n", ran.display());
    sandbox.handler("Down", &body);
    sandbox.handler("Other", "exit 0\n");
    mount_tmpfs(&sandbox.path("log"), "64k");
    fill(&sandbox.path("log/filler"));

    let output = Posting::begin(&sandbox, &[&alert()]).output();
    Answer::parse(&output.stdout).expect(200, &["healed"]);
    assert!(ran.exists());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(lines_with(&said, "[ERROR] log_failed ") >= 1, "{said}");
    assert_eq!(lines_with(&said, "verdict=healed"), 2, "{said}");
    assert_eq!(sandbox.history()[1]["outcome"], "healed");
    let failures = sandbox.metric("self_heal_channel_failures_total");
    assert!(failures >= 1.0, "{failures}");
    let ready = ready(sandbox.command());
    assert_eq!(ready.code, 503, "{}", ready.body);
    assert!(ready.body.contains("log"), "{}", ready.body);

    fs::remove_file(sandbox.path("log/filler")).unwrap();
    assert_eq!(sandbox.get("/-/ready").code, 200);
    sandbox
        .post(&Alert::firing("Other", "web-1"))
        .expect(200, &["healed"]);
    assert!(sandbox.log().contains("alertname=Other"));
}

#[test]
fn a_log_folder_that_cannot_be_used_stops_no_heal_and_is_told_everywhere_else() {
    let sandbox = Sandbox::new();
    fs::remove_dir(sandbox.path("log")).unwrap();
    sandbox.write("log", "in the way");
    sandbox.handler("Down", "exit 0\n");
    let output = Posting::begin(&sandbox, &[&alert()]).output();
    Answer::parse(&output.stdout).expect(200, &["healed"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(lines_with(&said, "[ERROR] log_failed ") >= 1, "{said}");
    assert!(sandbox.metric("self_heal_channel_failures_total") >= 1.0);
    let ready = ready(sandbox.command());
    assert_eq!(ready.code, 503);
    assert!(ready.body.contains("listener.log"), "{}", ready.body);
}

#[test]
fn a_history_that_cannot_be_written_stops_no_heal_and_is_told_everywhere_else() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("state/history.jsonl")).unwrap();
    sandbox.handler("Down", "exit 0\n");
    sandbox.post(&alert()).expect(200, &["healed"]);
    // The beginning and the end of the run.
    assert_eq!(lines_with(&sandbox.log(), "[ERROR] history_failed "), 2);
    assert_eq!(sandbox.metric("self_heal_channel_failures_total"), 2.0);
    let ready = ready(sandbox.command());
    assert_eq!(ready.code, 503, "{}", ready.body);
    assert!(ready.body.contains("history"), "{}", ready.body);
}

#[test]
fn metrics_that_cannot_be_written_stop_no_heal_and_are_told_everywhere_else() {
    let sandbox = Sandbox::new();
    sandbox.write("state/metrics", "in the way");
    sandbox.handler("Down", "exit 0\n");
    sandbox.post(&alert()).expect(200, &["healed"]);
    assert!(lines_with(&sandbox.log(), "[ERROR] metrics_failed ") >= 1);
    let ready = ready(sandbox.command());
    assert_eq!(ready.code, 503);
    assert!(ready.body.contains("metrics"), "{}", ready.body);
}

/// State, log and locks on a file system without a free block: first attempts of new alerts are counted all
/// the same, and a handler can free space.
fn first_attempts_on_a_full_disk(mount_point: &Path) {
    let sandbox = Sandbox::within(mount_point);
    let filler = sandbox.path("filler");
    sandbox.handler("Warm", "exit 0\n");
    sandbox.handler("First", "echo \"$HEAL_ATTEMPT\"; exit 1\n");
    let frees = format!("rm {}\n", filler.display());
    sandbox.handler("Second", &frees);
    let [warm, first, second] =
        ["Warm", "First", "Second"].map(|name| Alert::firing(name, "web-1"));
    sandbox.post(&warm).expect(200, &["healed"]);
    fill(&filler);

    for expected in 1..=2 {
        let answer = sandbox.post(&first);
        answer.expect(503, &["failed"]);
        assert_eq!(attempt(&answer), expected, "it was counted");
    }
    // A known alert is judged as ever.
    sandbox.post(&warm).expect(200, &["settling"]);
    let record = record_of(&sandbox, &first);
    assert!(!record.exists(), "there was room: nothing is tested");
    let left = statvfs(&sandbox.path("state")).unwrap().blocks_available();
    assert_eq!(left, 0, "there was room: nothing is tested");

    sandbox.post(&second).expect(200, &["healed"]);
    assert!(!filler.exists());
    assert!(record_of(&sandbox, &second).exists(), "it has moved");
    sandbox.post(&second).expect(200, &["settling"]);
    // The third failure in a row: none of those on the full disk is forgotten.
    let answer = sandbox.post(&first);
    answer.expect(200, &["tripped"]);
    assert_eq!(attempt(&answer), 3);
    assert!(record.exists(), "it has moved");
    sandbox.post(&first).expect(200, &["tripped"]);
    let index = fs::read(sandbox.path("state/reserve")).unwrap();
    assert!(
        index[..4096].iter().all(|byte| *byte == 0),
        "the reserve is free again"
    );
}

#[test]
fn a_full_ext4_file_system_counts_first_attempts_and_lets_a_handler_free_space() {
    let name = "a_full_ext4_file_system_counts_first_attempts_and_lets_a_handler_free_space";
    if !in_a_namespace_of_its_own(name) {
        return;
    }
    for block in ["1024", "4096"] {
        let outer = Sandbox::new();
        let image = outer.path("image");
        File::create(&image).unwrap().set_len(32 << 20).unwrap();
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0", "-b", block])
            .arg(&image));
        let mount_point = outer.path("mounted");
        fs::create_dir(&mount_point).unwrap();
        run(Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &mount_point]));
        first_attempts_on_a_full_disk(&mount_point);
        run(Command::new("umount").arg(&mount_point));
    }
}

#[test]
fn a_full_tmpfs_counts_first_attempts_and_lets_a_handler_free_space() {
    let name = "a_full_tmpfs_counts_first_attempts_and_lets_a_handler_free_space";
    if !in_a_namespace_of_its_own(name) {
        return;
    }
    let outer = Sandbox::new();
    let mount_point = outer.path("mounted");
    fs::create_dir(&mount_point).unwrap();
    mount_tmpfs(&mount_point, "4m");
    first_attempts_on_a_full_disk(&mount_point);
    run(Command::new("umount").arg(&mount_point));
}

#[test]
fn a_full_disk_stops_no_operator() {
    if !in_a_namespace_of_its_own("a_full_disk_stops_no_operator") {
        return;
    }
    for made_ahead in [true, false] {
        let outer = Sandbox::new();
        let mount_point = outer.path("mounted");
        fs::create_dir(&mount_point).unwrap();
        mount_tmpfs(&mount_point, "4m");
        let sandbox = Sandbox::within(&mount_point);
        sandbox.handler("Down", "exit 2\n");
        sandbox.post(&alert()).expect(200, &["gave-up"]);
        if !made_ahead {
            fs::remove_file(sandbox.path("state/pauses")).unwrap();
        }
        fill(&sandbox.path("filler"));
        assert_eq!(sandbox.path("state/pauses").exists(), made_ahead);

        let done = |args: &[&str], first: &str| {
            let came = ask(&sandbox, args);
            assert_eq!(came.code, 0, "{came:?}");
            assert_eq!(came.out.lines().next(), Some(first), "{came:?}");
        };
        let words = "everything until TIME, by anna: x";
        done(&["pause", "--reason", "x"], &format!("paused: {words}"));
        sandbox.post(&alert()).expect(200, &["paused"]);
        assert_eq!(sandbox.metric("self_heal_paused"), 1.0);
        done(&["resume"], &format!("resumed: {words}"));
        sandbox.post(&alert()).expect(200, &["tripped"]);
        done(
            &["reset", "Down", "web-1:9113"],
            "reset: Down on web-1:9113: breaker closed (gave-up), 1 failure, 1 counted run, \
             the retry delay, page ends (gave-up)",
        );
        sandbox.post(&alert()).expect(200, &["gave-up"]);
        let left = statvfs(&sandbox.path("state")).unwrap().blocks_available();
        assert_eq!(left, 0, "there was room: nothing is tested");
        run(Command::new("umount").arg(&mount_point));
    }
}

#[test]
fn the_history_is_a_chain_over_rotations_and_torn_lines() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 1\n");
    sandbox.set("HEAL_MAX_ATTEMPTS", "100");
    sandbox.set("HEAL_RUN_LIMITS", "100/1h");
    let post = || sandbox.post(&alert()).expect(503, &["failed"]);
    let history = sandbox.path("state/history.jsonl");
    post();
    post();
    let first = raw_history(&sandbox, "state/history.jsonl");
    assert_eq!(first.len(), 4);
    let end = chained(&first, "0".repeat(64));

    fs::rename(&history, sandbox.path("state/history.jsonl.1")).unwrap();
    post();
    let second = raw_history(&sandbox, "state/history.jsonl");
    assert_eq!(second.len(), 2);
    chained(&second, end.clone());

    // The machine lost power in the middle of a write.
    let length = fs::metadata(&history).unwrap().len();
    let file = File::options().write(true).open(&history).unwrap();
    file.set_len(length - 9).unwrap();
    post();
    let third = raw_history(&sandbox, "state/history.jsonl");
    assert_eq!(third.len(), 4, "the torn line stays what it is");
    assert_eq!(third[1], second[1][..second[1].len() - 8]);
    chained(&third, end);

    // As logrotate's copytruncate does.
    let end = chained(&third[third.len() - 1..], {
        let last: Value = serde_json::from_slice(&third[third.len() - 1]).unwrap();
        last["prev"].as_str().unwrap().to_owned()
    });
    file.set_len(0).unwrap();
    post();
    chained(&raw_history(&sandbox, "state/history.jsonl"), end);
}

#[test]
fn the_history_tells_both_ends_of_a_run() {
    let sandbox = Sandbox::new();
    let handler = sandbox.handler("Down", "exit 3\n");
    sandbox.post(&alert()).expect(503, &["failed"]);
    let history = sandbox.history();
    let digest = sha256(&fs::read(&handler).unwrap());
    let common = json!({
        "alertname": "Down", "instance": "web-1:9113", "fingerprint": alert().fingerprint(),
        "group_key": "{}/{heal=\"true\"}:{}", "peer": "local", "attempt": 1,
        "run_id": history[0]["run_id"],
    });
    for (name, value) in common.as_object().unwrap() {
        assert_eq!(history[0][name], *value, "{name}");
        assert_eq!(history[1][name], *value, "{name}");
    }
    assert_eq!(history[0]["event"], "intent");
    assert_eq!(history[0]["handler"], json!(handler));
    assert_eq!(history[0]["handler_sha256"], digest);
    assert_eq!(history[0]["timeout_ms"], 240_000);
    assert_eq!(history[1]["event"], "result");
    assert_eq!(history[1]["exit"], 3);
    assert_eq!(history[1]["outcome"], "failed");
    assert_eq!(history[1]["verdict"], "failed");
    assert!(history[1]["duration_ms"].is_u64());
}

#[test]
fn unescaped_log() {
    let sandbox = Sandbox::new();
    sandbox.write("allowed.txt", "*\n");
    sandbox.handler("Down", "exit 1\n");
    let forged =
        "x\r\n2026-11-22T12:00:00Z [ERROR] forged a=\"b\" \u{1b}[2J\u{7}\u{85}\u{2028}\u{202e}é";
    let nameless = Alert::firing(forged, "web-1");
    let placeless = Alert::firing("Down", forged);
    let long = Alert::firing("Down", &"\u{1b}".repeat(10_000));
    let answer = sandbox.post_all(&[&nameless, &placeless, &long]);
    assert_eq!(answer.verdicts()[0], "no-handler");
    let hostile = "{\u{1b}]0;x\u{7}\n[ERROR] forged";
    let mut body = notification(&[&alert()]);
    body["groupKey"] = json!(hostile);
    body["version"] = json!(hostile);
    body["truncatedAlerts"] = json!(1);
    sandbox.post_body(&body.to_string());

    let log = sandbox.log();
    assert!(
        log.contains(r"x\r\n2026-11-22T12:00:00Z [ERROR] forged a=\"),
        "{log}"
    );
    assert!(
        log.contains(r"\u{1b}[2J\u{7}\u{85}\u{2028}\u{202e}\u{e9}"),
        "{log}"
    );
    assert!(log.ends_with('\n'));
    for line in log.lines() {
        let printable = |byte| byte == b' ' || u8::is_ascii_graphic(&byte);
        assert!(line.bytes().all(printable), "{line:?}");
        assert!(line.len() < 4096, "{line}");
        let (time, rest) = line.split_once(' ').unwrap();
        assert_eq!(time.len(), "2026-11-22T12:00:00Z".len(), "{line}");
        let (level, rest) = rest.split_once(' ').unwrap();
        assert!(["[INFO]", "[WARN]", "[ERROR]"].contains(&level), "{line}");
        let event = rest.split(' ').next().unwrap();
        assert_ne!(event, "forged", "{line}");
        assert!(
            event
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{line}"
        );
    }
}

/// Takes the log away in mid-handler, as logrotate does, and looks for every line afterwards.
fn rotated(rotate: fn(&Path, &Path)) {
    let sandbox = Sandbox::new();
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("Down", &format!("echo before\n{}echo after\n", gate.line()));
    let posting = Posting::begin(&sandbox, &[&alert()]);
    gate.wait_for(1);
    for name in ["listener", "Down"] {
        let path = |ending| sandbox.path(&format!("log/{name}.log{ending}"));
        rotate(&path(""), &path(".1"));
    }
    gate.open();
    posting.answer().expect(200, &["healed"]);
    sandbox.post(&alert()).expect(200, &["settling"]);
    let whole = |name: &str| {
        let new = fs::read_to_string(sandbox.path(&format!("log/{name}.log")));
        sandbox.read(&format!("log/{name}.log.1")) + &new.unwrap_or_default()
    };
    assert_eq!(whole("Down"), "before\nafter\n");
    let log = whole("listener");
    for (event, count) in [
        ("[INFO] run_start ", 1),
        ("[INFO] run_end ", 1),
        ("[INFO] alert verdict=healed ", 1),
        ("[INFO] alert verdict=settling ", 1),
        ("[INFO] request ", 2),
    ] {
        assert_eq!(lines_with(&log, event), count, "{event}: {log}");
    }
    assert_eq!(log.lines().count(), 6, "{log}");
    assert!(!log.contains('\0'));
    assert_eq!(lines_with(&sandbox.log(), "verdict=settling"), 1);
}

#[test]
fn rotation_loses_lines() {
    rotated(|log, old| fs::rename(log, old).unwrap());
    rotated(|log, old| {
        fs::copy(log, old).unwrap();
        File::options()
            .write(true)
            .open(log)
            .unwrap()
            .set_len(0)
            .unwrap();
    });
}
