//! The metrics without a listener: what `self-heal metrics` shows is what a scrape shows, promtool has nothing to say
//! about it, and the file for node_exporter is there whole or not at all.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::json;

use crate::stage::{STRANGER, as_root, as_stranger, install, run};
use crate::support::{Alert, PROGRAM, Sandbox, chmod, feed, notification};

/// What is shown, after promtool (and its lint) found nothing in it.
fn shown(sandbox: &Sandbox) -> String {
    let output = sandbox.operate(&["metrics"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(output.stderr.is_empty(), "{output:?}");
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    let judged = feed(promtool, &output.stdout);
    let said = [judged.stdout, judged.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, ["", ""], "{text}");
    assert!(judged.status.success(), "{text}");
    text
}

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|l| l == line), "{line}\nnot in\n{text}");
}

#[track_caller]
fn refused(output: &Output, code: i32, parts: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "{output:?}");
    for part in parts {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
}

/// Everything below a folder, with its content's length.
fn below(folder: PathBuf) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        found.push((entry.path(), meta.len()));
        if meta.is_dir() {
            found.extend(below(entry.path()));
        }
    }
    found.sort();
    found
}

#[test]
fn an_empty_host_has_its_totals_and_nothing_is_made_there() {
    let sandbox = Sandbox::new();
    let text = shown(&sandbox);
    for gauge in [
        "in_flight",
        "paused",
        "escalations_pending",
        "escalations_refused",
    ] {
        has(&text, &format!("self_heal_{gauge} 0"));
    }
    has(&text, "self_heal_verified_total 0");
    assert!(!text.contains("self_heal_breakers_open{"), "{text}");
    for folder in ["state", "log", "lock"] {
        assert_eq!(below(sandbox.path(folder)), [], "{folder}");
    }
}

#[test]
fn a_busy_host_shows_what_a_scrape_of_it_shows() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "2");
    sandbox.set("HEAL_SETTLE", "0");
    sandbox.set("HEAL_STORM_LIMIT", "6/10m");
    sandbox.handler("Healed", "exit 0\n");
    sandbox.handler("GaveUp", "exit 2\n");
    sandbox.handler("Failed", "exit 1\n");
    sandbox.handler("Deferred", "exit 75\n");
    sandbox.handler("Killed", "kill -KILL $$\n");
    sandbox.handler("Hangs", "# self-heal: timeout=1s\nexec sleep 60\n");
    sandbox.handler("Paused", "exit 0\n");
    chmod(&sandbox.handler("Unsafe", "exit 0\n"), 0o777);
    // One page that its escalator takes nothing of for good, one that it may take later.
    let body = "#!/bin/bash\n[[ $(</dev/stdin) == *GaveUp* ]] && exit 100\nexit 1\n";
    sandbox.script("escalate.d/moody", body);
    let paused = sandbox.operate(&["pause", "--alert", "Paused", "--reason", "a test"]);
    assert!(paused.status.success(), "{paused:?}");

    let post = |name: &str| sandbox.post(&Alert::firing(name, "web-1"));
    let healed = Alert::firing("Healed", "web-1");
    sandbox.post(&healed).expect(200, &["healed"]);
    sandbox.post(&healed.resolved()).expect(200, &["resolved"]);
    post("GaveUp").expect(200, &["gave-up"]);
    post("Failed").expect(503, &["failed"]);
    post("Failed").expect(200, &["tripped"]);
    post("Deferred").expect(503, &["deferred"]);
    post("Killed").expect(503, &["failed"]);
    post("Hangs").expect(503, &["failed"]);
    post("Killed").expect(503, &["storm"]);
    post("Paused").expect(200, &["paused"]);
    post("Unsafe").expect(200, &["unsafe-handler"]);
    post("NoSuchHandler").expect(200, &["no-handler"]);
    sandbox
        .post(&Alert::firing("Healed", "other"))
        .expect(200, &["not-allowed"]);
    let mut cut = notification(&[&healed.resolved()]);
    cut["truncatedAlerts"] = json!(3);
    sandbox.post_body(&cut.to_string());
    assert_eq!(sandbox.post_body("[]").code, 400);
    assert_eq!(sandbox.get("/elsewhere").code, 404);
    // The log cannot be written.
    fs::rename(sandbox.path("log"), sandbox.path("log-before")).unwrap();
    sandbox.write("log", "");
    post("NoSuchHandler").expect(200, &["no-handler"]);

    let before = below(sandbox.path("state"));
    let text = shown(&sandbox);
    assert_eq!(below(sandbox.path("state")), before);
    // The scrape counts itself when it has been answered.
    assert_eq!(sandbox.get("/metrics").body, text);
    for (line, value) in [
        (r#"alerts_total{alertname="Killed",verdict="storm"}"#, 1),
        (r#"alerts_total{alertname="-",verdict="no-handler"}"#, 2),
        (r#"runs_total{alertname="Healed",outcome="healed"}"#, 1),
        (r#"runs_total{alertname="GaveUp",outcome="gave-up"}"#, 1),
        (r#"runs_total{alertname="Failed",outcome="failed"}"#, 2),
        (r#"runs_total{alertname="Hangs",outcome="timeout"}"#, 1),
        (r#"handler_duration_seconds_count{alertname="Failed"}"#, 2),
        ("verified_total", 1),
        (r#"breakers_open{alertname="GaveUp"}"#, 1),
        (r#"breakers_open{alertname="Failed"}"#, 1),
        ("escalations_refused", 1),
        ("paused", 1),
        ("truncated_alerts_total", 3),
        (r#"requests_total{code="400"}"#, 1),
        (r#"requests_total{code="404"}"#, 1),
    ] {
        has(&text, &format!("self_heal_{line} {value}"));
    }
    let value = |name: &str| -> u64 {
        let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap();
        line.trim().parse().unwrap()
    };
    assert!(value("self_heal_channel_failures_total ") > 0, "{text}");
    // Waiting: of the breaker, the storm and the cut; and the refused one.
    let pending = value("self_heal_escalations_pending ");
    assert!(pending > value("self_heal_escalations_refused "), "{text}");
}

#[test]
fn names_that_nobody_chose_well_stay_out_of_the_labels() {
    let sandbox = Sandbox::new();
    sandbox.handler("a.b-c_D", "exit 0\n");
    for name in [
        "a.b-c_D",
        "x\"} 1\nself_heal_paused 99\n",
        "x\\",
        "\u{1b}[31m",
        "../../etc/passwd",
        "\u{202e}",
        "",
        &"n".repeat(4096),
    ] {
        let answer = sandbox.post(&Alert::firing(name, "web-1"));
        assert_eq!(answer.code, 200, "{}", answer.body);
    }
    // What the healer's account may leave among its counters.
    for name in ["-x", "a\"b", "a\nb", ".hidden"] {
        sandbox.write(&format!("state/metrics/{name}"), r#"{"verified":9}"#);
    }
    let odd = r#"{"verdicts":{"a\"} 1\nself_heal_paused 99\n\\":1}}"#;
    sandbox.write("state/metrics/Odd", odd);
    let text = shown(&sandbox);
    has(
        &text,
        r#"self_heal_alerts_total{alertname="a.b-c_D",verdict="healed"} 1"#,
    );
    has(
        &text,
        r#"self_heal_alerts_total{alertname="-",verdict="no-handler"} 7"#,
    );
    has(&text, "self_heal_paused 0");
    has(&text, "self_heal_verified_total 0");
    assert_eq!(text.matches("\nself_heal_paused ").count(), 1, "{text}");
}

#[test]
fn the_textfile_is_replaced_in_one_step_and_readable_by_all() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("textfiles")).unwrap();
    let file = sandbox.path("textfiles/self-heal.prom");
    let write = || {
        let mut command = Command::new("bash");
        command
            .args(["-c", "umask 077; exec \"$@\"", "bash", PROGRAM])
            .args(["metrics", "--textfile"])
            .arg(&file)
            .env_clear()
            .env("HEAL_CONF", sandbox.path("self-heal.conf"));
        let output = command.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert!(output.stdout.is_empty() && output.stderr.is_empty());
    };
    write();
    let first = fs::read_to_string(&file).unwrap();
    let mut reader = File::open(&file).unwrap();
    let meta = reader.metadata().unwrap();
    assert_eq!(meta.permissions().mode() & 0o7777, 0o644);
    let listed = || -> Vec<_> {
        let entries = fs::read_dir(sandbox.path("textfiles")).unwrap();
        entries.map(|entry| entry.unwrap().file_name()).collect()
    };
    assert_eq!(listed(), ["self-heal.prom"]);

    sandbox.handler("NginxDown", "exit 0\n");
    sandbox.post(&Alert::firing("NginxDown", "web-1"));
    write();
    // Whoever had it open reads the old one to its end.
    let mut old = String::new();
    reader.read_to_string(&mut old).unwrap();
    assert_eq!(old, first);
    let second = fs::read_to_string(&file).unwrap();
    has(
        &second,
        r#"self_heal_runs_total{alertname="NginxDown",outcome="healed"} 1"#,
    );
    assert_eq!(second, shown(&sandbox));
    assert_ne!(fs::metadata(&file).unwrap().ino(), meta.ino());
    assert_eq!(listed(), ["self-heal.prom"]);
}

#[test]
fn a_textfile_that_would_help_nobody_is_refused_and_the_old_one_stays() {
    let sandbox = Sandbox::new();
    for name in ["self-heal.txt", "self-heal", "self-heal.prom.bak", ".prom"] {
        let file = sandbox.path(name).display().to_string();
        let output = sandbox.operate(&["metrics", "--textfile", &file]);
        refused(&output, 100, &["--textfile", name, "end in .prom"]);
        assert!(!sandbox.path(name).exists());
    }
    let twice = ["metrics", "--textfile", "a.prom", "--textfile", "b.prom"];
    refused(
        &sandbox.operate(&twice),
        100,
        &["--textfile is given twice"],
    );

    let file = sandbox.path("nowhere/self-heal.prom").display().to_string();
    let output = sandbox.operate(&["metrics", "--textfile", &file]);
    refused(&output, 111, &[&file, "No such file", "has to be there"]);

    // The state cannot be read: better an old file, whose age tells, than a new one that says nothing.
    let file = sandbox
        .write("self-heal.prom", "old\n")
        .display()
        .to_string();
    sandbox.write("state/records", "");
    let output = sandbox.operate(&["metrics", "--textfile", &file]);
    refused(
        &output,
        111,
        &["HEAL_STATE_DIR", "state/records", "Not a directory"],
    );
    assert_eq!(sandbox.read("self-heal.prom"), "old\n");
}

#[test]
fn a_state_folder_that_is_not_there_is_not_an_idle_host() {
    let sandbox = Sandbox::new();
    fs::remove_dir(sandbox.path("state")).unwrap();
    let output = sandbox.operate(&["metrics"]);
    refused(
        &output,
        111,
        &[
            "HEAL_STATE_DIR",
            "state",
            "No such file",
            "made by the account",
        ],
    );
    assert!(!sandbox.path("state").exists());
    sandbox.set("HEAL_MAX_ATTEMPTS", "many");
    let output = sandbox.operate(&["metrics"]);
    refused(&output, 100, &["self-heal.conf:", "HEAL_MAX_ATTEMPTS"]);
}

/// A state folder of the healer's with something to show, and a folder of root's for textfiles.
fn two_accounts() -> Sandbox {
    as_root();
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 2\n");
    sandbox
        .post(&Alert::firing("NginxDown", "web-1"))
        .expect(200, &["gave-up"]);
    as_stranger(&sandbox);
    chmod(&sandbox.path("state"), 0o700);
    fs::create_dir(sandbox.path("textfiles")).unwrap();
    chmod(&sandbox.path("textfiles"), 0o755);
    sandbox
}

/// This command by way of setpriv(1), with these of its options.
fn by_way_of(sandbox: &Sandbox, options: &[&str], words: &[&str]) -> Output {
    let program = sandbox.path("self-heal");
    install(PROGRAM.as_ref(), &program, "755");
    let mut command = Command::new("setpriv");
    command
        .args(options)
        .arg(program)
        .args(words)
        .env_clear()
        .env("HEAL_CONF", sandbox.path("self-heal.conf"));
    command.output().unwrap()
}

#[test]
fn root_reads_what_the_healer_may_read_and_writes_where_root_may() {
    let sandbox = two_accounts();
    let file = sandbox.path("textfiles/self-heal.prom");
    let words = ["metrics", "--textfile", file.to_str().unwrap()];
    // With the capabilities of the unit and no other.
    let unit = fs::read_to_string(format!(
        "{}/deploy/systemd/self-heal-metrics.service",
        crate::support::PROJECT
    ));
    assert!(
        unit.unwrap()
            .contains("\nCapabilityBoundingSet=CAP_SETUID CAP_SETGID\n")
    );
    let bounded = ["--bounding-set", "-all,+setuid,+setgid", "--no-new-privs"];
    let output = by_way_of(&sandbox, &bounded, &words);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let meta = fs::metadata(&file).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o644));
    let text = fs::read_to_string(&file).unwrap();
    has(&text, r#"self_heal_breakers_open{alertname="NginxDown"} 1"#);

    // A link of the healer's leads root nowhere that the healer may not go.
    let secret = sandbox.path("root-only");
    fs::create_dir(&secret).unwrap();
    fs::write(secret.join("Secret"), r#"{"verified":7}"#).unwrap();
    chmod(&secret, 0o700);
    fs::rename(sandbox.path("state/metrics"), sandbox.path("state/moved")).unwrap();
    symlink(&secret, sandbox.path("state/metrics")).unwrap();
    for options in [&bounded[..], &["--no-new-privs"]] {
        let output = by_way_of(&sandbox, options, &words);
        refused(
            &output,
            111,
            &["HEAL_STATE_DIR", "metrics", "Permission denied"],
        );
    }
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn another_account_is_told_who_may_read_it() {
    let sandbox = two_accounts();
    let other = (STRANGER + 1).to_string();
    let options = ["--reuid", &other, "--regid", &other, "--clear-groups"];
    let output = by_way_of(&sandbox, &options, &["metrics"]);
    refused(
        &output,
        111,
        &[
            "HEAL_STATE_DIR",
            "Permission denied",
            "that account and root",
        ],
    );
    // The healer may, and may not write where root alone may.
    let healer = STRANGER.to_string();
    let options = ["--reuid", &healer, "--regid", &healer, "--clear-groups"];
    let output = by_way_of(&sandbox, &options, &["metrics"]);
    assert!(output.status.success(), "{output:?}");
    let file = sandbox.path("textfiles/self-heal.prom");
    let words = ["metrics", "--textfile", file.to_str().unwrap()];
    let output = by_way_of(&sandbox, &options, &words);
    refused(&output, 111, &["--textfile", "Permission denied"]);
    run(Command::new("test").arg("!").arg("-e").arg(&file));
}

#[test]
fn what_only_a_group_of_roots_may_read_is_not_read_for_the_healer() {
    const GROUP: u32 = 4242;
    let sandbox = two_accounts();
    let groups = ["--groups", &GROUP.to_string()];
    let output = by_way_of(&sandbox, &groups, &["metrics"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let records = sandbox.path("state/records");
    std::os::unix::fs::chown(&records, Some(0), Some(GROUP)).unwrap();
    chmod(&records, 0o750);
    let output = by_way_of(&sandbox, &groups, &["metrics"]);
    refused(&output, 111, &["state/records", "Permission denied"]);
}
