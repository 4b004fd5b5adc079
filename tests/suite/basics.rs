//! The plainest uses.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::process::Stdio;

use crate::stage::{Posting, as_root, run, sha256, through};
use crate::support::{Alert, Answer, Sandbox, notification, request};

#[test]
fn a_firing_alert_is_healed_once() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "echo \"$@\"\n");
    let alert = Alert::firing("NginxDown", "web-1:9113");
    sandbox.post(&alert).expect(200, &["healed"]);
    sandbox.post(&alert).expect(200, &["settling"]);
    let said = sandbox.read("log/NginxDown.log");
    assert_eq!(
        said,
        format!("web-1:9113 NginxDown {}\n", alert.fingerprint())
    );
}

/// As many hexadecimal digits of a sha256 as an instance's lock file has in its name.
fn digits(instance: &str) -> String {
    sha256(instance.as_bytes())[..16].to_owned()
}

fn hold(sandbox: &Sandbox, name: &str) -> File {
    let lock = File::create(sandbox.path("lock").join(name)).unwrap();
    lock.lock().unwrap();
    lock
}

#[test]
fn what_needs_no_run_is_answered_while_an_operator_holds_the_lock() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_LOCK_WAIT", "10m");
    sandbox.set("HEAL_RETRY_DELAY", "1h");
    sandbox.handler("Heals", "exit 0\n");
    sandbox.handler("Fails", "exit 1\n");
    sandbox.handler("GivesUp", "exit 2\n");
    let alerts = ["Heals", "Fails", "GivesUp"].map(|name| Alert::firing(name, "web-1"));
    for alert in &alerts {
        sandbox.post(alert);
    }
    let _locks = ["Heals", "Fails", "GivesUp"].map(|n| hold(&sandbox, &format!("heal-{n}.lock")));
    sandbox.post(&alerts[0]).expect(200, &["settling"]);
    sandbox.post(&alerts[1]).expect(503, &["waiting"]);
    sandbox.post(&alerts[2]).expect(200, &["tripped"]);
}

#[test]
fn an_answer_without_a_run_writes_no_record() {
    let sandbox = Sandbox::new();
    sandbox.handler("GivesUp", "exit 2\n");
    let alert = Alert::firing("GivesUp", "web-1");
    sandbox.post(&alert).expect(200, &["gave-up"]);
    let records = || -> Vec<(Vec<u8>, std::time::SystemTime)> {
        let folder = fs::read_dir(sandbox.path("state/records")).unwrap();
        let files = folder.map(|entry| entry.unwrap().path());
        files
            .chain([sandbox.path("state/host")])
            .map(|path| {
                (
                    fs::read(&path).unwrap(),
                    fs::metadata(&path).unwrap().modified().unwrap(),
                )
            })
            .collect()
    };
    let before = records();
    assert_eq!(before.len(), 2);
    sandbox.post(&alert).expect(200, &["tripped"]);
    sandbox
        .post(&Alert::firing("GivesUp", "elsewhere"))
        .expect(200, &["not-allowed"]);
    assert!(records() == before);
}

#[test]
fn the_lock_of_an_instance_has_its_documented_name() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "# self-heal: lock=instance\nexit 0\n");
    let _lock = hold(&sandbox, &format!("heal-Down@{}.lock", digits("web-1")));
    sandbox
        .post(&Alert::firing("Down", "web-1"))
        .expect(503, &["busy"]);
    sandbox
        .post(&Alert::firing("Down", "web-2"))
        .expect(200, &["healed"]);
}

#[test]
fn a_handler_that_cannot_be_started_is_an_error_and_counts_nowhere() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_STORM_LIMIT", "1/10m");
    sandbox.script("handlers/Down.sh", "#!/nowhere/interpreter\n");
    let alert = Alert::firing("Down", "web-1");
    let answer = sandbox.post(&alert);
    answer.expect(503, &["error"]);
    assert!(
        answer.detail().contains("could not be started"),
        "{}",
        answer.body
    );
    let outcome = "self_heal_runs_total{alertname=\"Down\",outcome=\"not-started\"}";
    assert_eq!(sandbox.metric(outcome), 1.0);
    sandbox.handler("Down", "exit 0\n");
    let answer = sandbox.post(&alert);
    answer.expect(200, &["healed"]);
    assert_eq!(answer.json()["results"][0]["attempt"], 1);
}

#[test]
fn no_text_of_a_sender_becomes_a_label_of_the_metrics() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    for name in ["Stranger", "odd name", "../Down"] {
        sandbox
            .post(&Alert::firing(name, "web-1"))
            .expect(200, &["no-handler"]);
        sandbox
            .post(&Alert::firing(name, "web-1").resolved())
            .expect(200, &["resolved"]);
    }
    let text = sandbox.get("/metrics").body;
    assert!(
        !text.contains("Stranger") && !text.contains("odd"),
        "{text}"
    );
    assert_eq!(
        sandbox.metric("self_heal_alerts_total{alertname=\"-\",verdict=\"no-handler\"}"),
        3.0
    );
    assert_eq!(
        sandbox.metric("self_heal_alerts_total{alertname=\"-\",verdict=\"resolved\"}"),
        3.0
    );
}

#[test]
fn a_handler_whose_log_cannot_be_opened_heals_all_the_same() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "echo said\n");
    fs::create_dir(sandbox.path("log/Down.log")).unwrap();
    sandbox
        .post(&Alert::firing("Down", "web-1"))
        .expect(200, &["healed"]);
    assert!(
        sandbox.log().contains("handler_log_failed"),
        "{}",
        sandbox.log()
    );
    assert_eq!(sandbox.metric("self_heal_channel_failures_total"), 1.0);
}

#[test]
fn standard_error_that_nobody_reads_holds_nothing_up() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    let (reader, mut writer) = std::io::pipe().unwrap();
    nix::fcntl::fcntl(
        &writer,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK),
    )
    .unwrap();
    while writer.write(&[b'x'; 4096]).is_ok() {}
    nix::fcntl::fcntl(
        &writer,
        nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::empty()),
    )
    .unwrap();
    let body = notification(&[&Alert::firing("Down", "web-1")]).to_string();
    let mut child = sandbox
        .command()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(writer)
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(&request(&body))
        .unwrap();
    let output = child.wait_with_output().unwrap();
    Answer::parse(&output.stdout).expect(200, &["healed"]);
    assert!(
        sandbox.log().contains("log_failed channel=stderr"),
        "{}",
        sandbox.log()
    );
    drop(reader);
}

/// The executable where `/dev` is this folder, so that what is `log` there is the machine's syslog.
fn with_dev(sandbox: &Sandbox) -> std::process::Command {
    as_root();
    let dev = sandbox.path("dev");
    run(std::process::Command::new("mknod")
        .arg(dev.join("null"))
        .args(["c", "1", "3"]));
    let script = format!(
        "mount --make-rprivate / && mount --bind {} /dev && exec \"$0\" \"$@\"",
        dev.display()
    );
    through(sandbox, &["unshare", "--mount", "sh", "-c", &script])
}

#[test]
fn syslog_gets_the_lines_of_the_log_with_their_tag() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    fs::create_dir(sandbox.path("dev")).unwrap();
    let syslog = UnixDatagram::bind(sandbox.path("dev/log")).unwrap();
    syslog.set_nonblocking(true).unwrap();
    let heard = |setting: &str, alert: &Alert| -> String {
        sandbox.set("HEAL_SYSLOG", setting);
        let _ = fs::remove_file(sandbox.path("dev/null"));
        Posting::by(with_dev(&sandbox), &[alert]).answer();
        let mut text = String::new();
        let mut datagram = [0; 8192];
        while let Ok(length) = syslog.recv(&mut datagram) {
            text += &String::from_utf8_lossy(&datagram[..length]);
            text.push('\n');
        }
        text
    };
    let said = heard("on", &Alert::firing("Down", "web-1"));
    assert!(said.contains(" self-heal["), "{said}");
    for line in sandbox.log().lines() {
        let (_, message) = line.split_once(' ').unwrap();
        assert!(said.contains(message), "{message} not in {said}");
    }
    assert_eq!(heard("off", &Alert::firing("Down", "web-2")), "");
}

#[test]
fn a_syslog_that_was_asked_for_and_is_not_there_is_said_and_holds_nothing_up() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    sandbox.set("HEAL_SYSLOG", "on");
    fs::create_dir(sandbox.path("dev")).unwrap();
    let answer = Posting::by(with_dev(&sandbox), &[&Alert::firing("Down", "web-1")]).answer();
    answer.expect(200, &["healed"]);
    assert!(
        sandbox.log().contains("log_failed channel=syslog"),
        "{}",
        sandbox.log()
    );
}
