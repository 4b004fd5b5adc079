//! Whoever dies or goes away in the middle of a run, and whoever else holds the lock: no second run, no
//! count lost, no lock held for ever.

use std::fs::{self, File};
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill, killpg};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::stage::{
    Gate, Posting, STRANGER, alive, as_root, as_stranger, lines_with, pid_in, put_down, run,
    signals, through, until_gone,
};
use crate::support::{Alert, Answer, Sandbox, chmod, notification, request, rfc3339, until};

fn alert() -> Alert {
    Alert::firing("Down", "web-1:9113")
}

/// SIGTERM in a set of signals: bit 0 is signal 1.
const TERM: u64 = 1 << 14;

const INTERRUPTED: &str = "self_heal_runs_total{alertname=\"Down\",outcome=\"interrupted\"}";

/// A handler that waits at a gate, says that it is through, and ends with this line.
fn held(sandbox: &Sandbox, ending: &str) -> Gate {
    let gate = Gate::new(sandbox, "gate");
    let done = sandbox.path("done");
    let body = format!("{}echo done >>{}\n{ending}\n", gate.line(), done.display());
    sandbox.handler("Down", &body);
    gate
}

fn outcomes(sandbox: &Sandbox) -> Vec<String> {
    let history = sandbox.history();
    let results = history.iter().filter(|line| line["event"] == "result");
    results
        .map(|line| line["outcome"].as_str().unwrap().to_owned())
        .collect()
}

/// Waits until the lock file names this handler, which it does a moment after its start.
fn until_named(sandbox: &Sandbox, handler: i32) {
    let lock = sandbox.path("lock/heal-Down.lock");
    let session = format!("\"session\":{handler},");
    until("the holder is named", || {
        let note = fs::read_to_string(&lock).unwrap();
        note.contains(&session).then_some(())
    });
}

/// Posts until the verdict is another than `busy`.
fn until_not_busy(mut post: impl FnMut() -> Answer) -> Answer {
    until("the alert is no longer busy", || {
        let answer = post();
        (answer.verdicts() != ["busy"]).then_some(answer)
    })
}

#[test]
fn sigterm_in_mid_handler_lets_it_finish_and_starts_no_other() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let sandbox = Sandbox::new();
        let gate = held(&sandbox, "exit 0");
        sandbox.handler("Next", "exit 0\n");
        let next = Alert::firing("Next", "web-1");
        let posting = Posting::begin(&sandbox, &[&alert(), &next]);
        let handler = gate.wait_for(1);
        posting.signal(signal);
        assert!(alive(handler));
        gate.open();
        posting.answer().expect(503, &["healed", "busy"]);
        assert_eq!(sandbox.read("done"), "done\n");
        assert_eq!(outcomes(&sandbox), ["healed"]);
        assert_eq!(sandbox.runs("Next"), 0);
        sandbox.post(&alert()).expect(200, &["settling"]);
        sandbox.post(&next).expect(200, &["healed"]);
    }
}

#[test]
fn sigterm_reaches_the_listener_through_the_one_that_started_over() {
    let sandbox = Sandbox::new();
    let gate = held(&sandbox, "exit 0");
    sandbox.handler("Next", "exit 0\n");
    let next = Alert::firing("Next", "web-1");
    let caller = through(&sandbox, &["env", "--ignore-signal=CHLD"]);
    let posting = Posting::by(caller, &[&alert(), &next]);
    gate.wait_for(1);
    // The outer process reads what came before and after its rest, and passes the first on in between: once
    // a third one is taken, the first has been.
    for _ in 0..3 {
        posting.signal(Signal::SIGTERM);
        until("the signal is taken", || {
            (signals(posting.pid(), "ShdPnd") & TERM == 0).then_some(())
        });
    }
    gate.open();
    posting.answer().expect(503, &["healed", "busy"]);
}

/// A connection over TCP, as a spawner hands it over, and the client's end.
fn connected(sandbox: &Sandbox) -> (Child, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    let input = OwnedFd::from(server.try_clone().unwrap());
    let child = sandbox
        .command()
        .stdin(Stdio::from(input))
        .stdout(Stdio::from(OwnedFd::from(server)))
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    (child, client)
}

#[test]
fn a_sender_that_is_gone_in_mid_handler_changes_nothing() {
    enum Goes {
        Closing,
        Resetting,
        FromPipes,
    }
    for how in [Goes::Closing, Goes::Resetting, Goes::FromPipes] {
        let sandbox = Sandbox::new();
        let gate = held(&sandbox, "exit 0");
        match how {
            Goes::FromPipes => {
                let posting = Posting::begin(&sandbox, &[&alert()]);
                let handler = gate.wait_for(1);
                let leaving = std::thread::spawn(|| posting.abandon());
                assert!(alive(handler));
                gate.open();
                leaving.join().unwrap();
            }
            Goes::Closing | Goes::Resetting => {
                let (mut child, mut client) = connected(&sandbox);
                let body = notification(&[&alert()]).to_string();
                client.write_all(&request(&body)).unwrap();
                let handler = gate.wait_for(1);
                if matches!(how, Goes::Resetting) {
                    let at_once = nix::libc::linger {
                        l_onoff: 1,
                        l_linger: 0,
                    };
                    setsockopt(&client, sockopt::Linger, &at_once).unwrap();
                }
                drop(client);
                assert!(alive(handler));
                gate.open();
                child.wait().unwrap();
            }
        }
        assert_eq!(sandbox.read("done"), "done\n");
        assert_eq!(outcomes(&sandbox), ["healed"]);
        sandbox.post(&alert()).expect(200, &["settling"]);
    }
}

#[test]
fn after_kill_nine_the_handler_ends_its_work_and_no_second_run_starts_while_it_lives() {
    let sandbox = Sandbox::new();
    let gate = held(&sandbox, "[ \"$HEAL_ATTEMPT\" = 2 ]");
    let posting = Posting::begin(&sandbox, &[&alert()]);
    let handler = gate.wait_for(1);
    posting.kill();
    for _ in 0..3 {
        let answer = sandbox.post(&alert());
        answer.expect(503, &["busy"]);
        assert_eq!(answer.detail(), "its own run has not ended");
    }
    assert!(alive(handler));
    assert_eq!(sandbox.runs("Down"), 1);
    assert_eq!(sandbox.metric("self_heal_in_flight"), 1.0);

    gate.open();
    until_gone(handler);
    assert_eq!(sandbox.read("done"), "done\n");

    // The attempt counts; it is recorded as what it was: in the history, the metrics, the log, to a person.
    let answer = sandbox.post(&alert());
    answer.expect(200, &["healed"]);
    assert_eq!(answer.json()["results"][0]["attempt"], 2);
    assert_eq!(outcomes(&sandbox), ["interrupted", "healed"]);
    let history = sandbox.history();
    assert_eq!(history[0]["run_id"], history[1]["run_id"]);
    assert_ne!(history[1]["run_id"], history[2]["run_id"]);
    assert_eq!(sandbox.metric(INTERRUPTED), 1.0);
    let log = sandbox.log();
    assert_eq!(lines_with(&log, "[WARN] run_interrupted "), 1, "{log}");
    for told in ["[ERROR] escalation ", "[INFO] escalation_over "] {
        assert_eq!(lines_with(&log, told), 1, "{log}");
    }
    assert_eq!(sandbox.metric("self_heal_in_flight"), 0.0);
}

#[test]
fn interrupted_runs_open_the_breaker_like_failures() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "2");
    let gate = held(&sandbox, "exit 0");
    for run in 1..=2 {
        let posting = Posting::begin(&sandbox, &[&alert()]);
        let handler = gate.wait_for(run);
        posting.kill();
        killpg(Pid::from_raw(handler), Signal::SIGKILL).unwrap();
        let lock = File::open(sandbox.path("lock/heal-Down.lock")).unwrap();
        until("the lock is free", || lock.try_lock().ok());
    }
    let answer = sandbox.post(&alert());
    answer.expect(200, &["tripped"]);
    assert_eq!(sandbox.runs("Down"), 2);
    assert_eq!(outcomes(&sandbox), ["interrupted", "interrupted"]);
}

#[test]
fn resolved_in_mid_handler_of_a_killed_listener_is_not_counted() {
    let sandbox = Sandbox::new();
    let gate = held(&sandbox, "exit 0");
    let posting = Posting::begin(&sandbox, &[&alert()]);
    let handler = gate.wait_for(1);
    posting.kill();
    sandbox.post(&alert().resolved()).expect(200, &["resolved"]);
    gate.open();
    until_gone(handler);
    let again = alert().with("startsAt", json!(rfc3339(60)));
    let answer = sandbox.post(&again);
    answer.expect(200, &["healed"]);
    assert_eq!(answer.json()["results"][0]["attempt"], 1);
}

#[test]
fn a_lock_file_removed_under_a_live_run_lets_no_second_one_start() {
    let sandbox = Sandbox::new();
    let gate = held(&sandbox, "exit 0");
    let posting = Posting::begin(&sandbox, &[&alert()]);
    gate.wait_for(1);
    fs::remove_file(sandbox.path("lock/heal-Down.lock")).unwrap();
    let answer = sandbox.post(&alert());
    answer.expect(503, &["busy"]);
    assert_eq!(answer.detail(), "its own run has not ended");
    assert_eq!(gate.arrived().len(), 1);
    gate.open();
    posting.answer().expect(200, &["healed"]);
    sandbox.post(&alert()).expect(200, &["settling"]);
    assert_eq!(outcomes(&sandbox), ["healed"]);
}

/// The shortest life of an orphan: its deadline, no grace, and the margin of five seconds.
fn short_lived(sandbox: &Sandbox) {
    sandbox.set("HEAL_HANDLER_TIMEOUT", "1s");
    sandbox.set("HEAL_KILL_GRACE", "1s");
}

/// A command that leaves the run's session and closes what it inherited, as a proper daemon does.
fn daemon(pid_file: &str) -> String {
    format!(
        "perl -MPOSIX -e 'fork and exit; POSIX::setsid(); POSIX::close($_) for 3..63; \
         open F, \">\", \"{pid_file}\"; print F \"$$\\n\"; close F; exec \"sleep\", 1000'\n"
    )
}

#[test]
fn a_hung_orphan_is_ended_past_its_deadline_by_the_next_request() {
    let sandbox = Sandbox::new();
    short_lived(&sandbox);
    let at = |name: &str| sandbox.path(name).display().to_string();
    let hangs = format!(
        "[ \"$HEAL_ATTEMPT\" = 1 ] || exit 0\ntrap '' TERM\n{daemon}\
         setsid bash -c 'echo $$ >{straggler}; exec sleep 1000' &\n\
         sleep 1000 & echo $! >{child}\necho $$ >{leader}\nwhile :; do sleep 1000; done\n",
        daemon = daemon(&at("daemon")),
        straggler = at("straggler"),
        child = at("child"),
        leader = at("leader"),
    );
    sandbox.handler("Down", &hangs);
    let posting = Posting::begin(&sandbox, &[&alert()]);
    let run = ["leader", "child", "straggler"].map(|name| pid_in(&sandbox.path(name)));
    let daemon = pid_in(&sandbox.path("daemon"));
    until_named(&sandbox, run[0]);
    posting.kill();
    let answer = sandbox.post(&alert());
    answer.expect(503, &["busy"]);
    assert!(run.into_iter().all(alive), "not before its deadline");

    let answer = until_not_busy(|| sandbox.post(&alert()));
    answer.expect(200, &["healed"]);
    assert_eq!(answer.json()["results"][0]["attempt"], 2);
    for pid in run {
        assert!(!alive(pid), "{pid} is left of {run:?}");
    }
    assert!(alive(daemon), "what let go of the lock is left alone");
    put_down(daemon);
    assert_eq!(outcomes(&sandbox), ["interrupted", "healed"]);
    assert_eq!(lines_with(&sandbox.log(), "[ERROR] orphan_ended "), 1);
    assert_eq!(sandbox.metric(INTERRUPTED), 1.0);
}

#[test]
fn a_daemon_that_kept_the_descriptor_of_a_killed_listener_does_not_hold_the_lock_for_ever() {
    let sandbox = Sandbox::new();
    short_lived(&sandbox);
    let gate = Gate::new(&sandbox, "gate");
    let pid_file = sandbox.path("keeper").display().to_string();
    let starts = format!(
        "[ \"$HEAL_ATTEMPT\" = 1 ] || exit 0\n\
         setsid bash -c 'echo $$ >{pid_file}; exec sleep 1000' &\n{}",
        gate.line()
    );
    sandbox.handler("Down", &starts);
    let posting = Posting::begin(&sandbox, &[&alert()]);
    let keeper = pid_in(&sandbox.path("keeper"));
    let handler = gate.wait_for(1);
    posting.kill();
    gate.open();
    until_gone(handler);
    sandbox.post(&alert()).expect(503, &["busy"]);
    assert!(alive(keeper));
    until_not_busy(|| sandbox.post(&alert())).expect(200, &["healed"]);
    assert!(!alive(keeper));
    assert_eq!(outcomes(&sandbox), ["interrupted", "healed"]);
}

/// An operator at work under flock(1), in a session of his own.
struct Operator(Child);

impl Operator {
    fn begin(sandbox: &Sandbox) -> Operator {
        let lock = sandbox.path("lock/heal-Down.lock");
        let child = Command::new("setsid")
            .arg("flock")
            .arg(&lock)
            .args(["cat"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        until("the operator holds the lock", || {
            let file = File::open(&lock).ok()?;
            file.try_lock().is_err().then_some(())
        });
        Operator(child)
    }

    fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }

    fn end(mut self) {
        drop(self.0.stdin.take());
        assert!(self.0.wait().unwrap().success(), "he was not let finish");
    }
}

#[test]
fn lock_conflict_is_failure() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "1");
    sandbox.handler("Down", "echo \"$HEAL_ATTEMPT\"\n");
    let operator = Operator::begin(&sandbox);
    for _ in 0..3 {
        let answer = sandbox.post(&alert());
        answer.expect(503, &["busy"]);
        assert_eq!(answer.json()["results"][0]["attempt"], 0);
    }
    assert_eq!(sandbox.runs("Down"), 0);
    operator.end();
    sandbox.post(&alert()).expect(200, &["healed"]);
    assert_eq!(sandbox.read("log/Down.log"), "1\n");
}

#[test]
fn a_lock_that_is_freed_in_time_is_waited_for() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_LOCK_WAIT", "10m");
    sandbox.handler("Down", "exit 0\n");
    let operator = Operator::begin(&sandbox);
    let posting = Posting::that_waits(&sandbox, &alert());
    assert_eq!(sandbox.runs("Down"), 0);
    operator.end();
    posting.answer().expect(200, &["healed"]);
}

#[test]
fn sigterm_ends_the_wait_for_a_lock() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_LOCK_WAIT", "20s");
    sandbox.handler("Down", "exit 0\n");
    let operator = Operator::begin(&sandbox);
    let posting = Posting::that_waits(&sandbox, &alert());
    let children = format!("/proc/{0}/task/{0}/children", posting.pid());
    let traced: i32 = fs::read_to_string(children)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill(Pid::from_raw(traced), Signal::SIGTERM).unwrap();
    let answer = posting.answer();
    answer.expect(503, &["busy"]);
    assert_eq!(answer.detail(), "the listener was told to end");
    operator.end();
}

/// What a run that is long over wrote into the lock file, with this process as its handler.
fn leave_note(sandbox: &Sandbox, session: i32, session_started: u64) {
    let note = json!({
        "run_id": "1-1-1", "key": "0".repeat(64), "fingerprint": "", "pid": 1, "pid_started": 0,
        "session": session, "session_started": session_started, "deadline_ms": 1000,
    });
    fs::write(sandbox.path("lock/heal-Down.lock"), format!("{note}\n")).unwrap();
}

#[test]
fn a_stale_note_in_the_lock_file_never_harms_an_operator() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    let operator = Operator::begin(&sandbox);
    // The number of the run's session is his now; the time it began is not.
    for session in [operator.pid(), i32::MAX] {
        leave_note(&sandbox, session, 1);
        sandbox.post(&alert()).expect(503, &["busy"]);
        assert!(alive(operator.pid()));
    }
    operator.end();
    sandbox.post(&alert()).expect(200, &["healed"]);
}

#[test]
fn the_note_of_a_killed_run_never_harms_an_operator_who_came_after_it() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_HANDLER_TIMEOUT", "1s");
    sandbox.set("HEAL_KILL_GRACE", "0");
    let gate = held(&sandbox, "exit 0");
    let posting = Posting::begin(&sandbox, &[&alert()]);
    let handler = gate.wait_for(1);
    until_named(&sandbox, handler);
    posting.kill();
    gate.open();
    until_gone(handler);
    let operator = Operator::begin(&sandbox);
    let note: Value = serde_json::from_str(&sandbox.read("lock/heal-Down.lock")).unwrap();
    // The deadline, and the five seconds that a supervisor at work on it is left (heal/exclusion.rs).
    let overdue = note["deadline_ms"].as_i64().unwrap() + 5_000;
    until("the note is overdue", || {
        sandbox.post(&alert()).expect(503, &["busy"]);
        (self_heal::sys::clock::now().0 > overdue).then_some(())
    });
    sandbox.post(&alert()).expect(503, &["busy"]);
    assert!(!sandbox.log().contains("orphan_ended"), "{}", sandbox.log());
    assert!(alive(operator.pid()));
    operator.end();
    sandbox.post(&alert()).expect(200, &["healed"]);
}

/// A program with which the stranger's handler becomes root, as sudo does: a set-id copy of setpriv(1) that
/// only the stranger's group can reach. The line that starts `sleep` by it, and writes its number down.
pub fn root_child(sandbox: &Sandbox) -> String {
    as_root();
    let folder = sandbox.path("stair");
    fs::create_dir(&folder).unwrap();
    chmod(&folder, 0o710);
    std::os::unix::fs::chown(&folder, Some(0), Some(STRANGER)).unwrap();
    run(Command::new("install")
        .args(["-o", "root", "-m", "4711", "/usr/bin/setpriv"])
        .arg(folder.join("up")));
    format!(
        "{}/up --reuid=0 --regid=0 --clear-groups bash -c 'echo $$ >{}; exec sleep 1000' &\n",
        folder.display(),
        sandbox.path("pids/root").display()
    )
}

fn pids_for_the_stranger(sandbox: &Sandbox) {
    fs::create_dir(sandbox.path("pids")).unwrap();
    chmod(&sandbox.path("pids"), 0o777);
}

#[test]
fn a_root_child_of_a_timed_out_run_keeps_the_alert_busy_while_it_lives_and_tells_a_person_once() {
    let sandbox = Sandbox::new();
    short_lived(&sandbox);
    pids_for_the_stranger(&sandbox);
    let child = root_child(&sandbox);
    sandbox.handler(
        "Down",
        &format!("[ \"$HEAL_ATTEMPT\" = 1 ] || exit 0\n{child}wait\n"),
    );
    let post = || Posting::by(as_stranger(&sandbox), &[&alert()]).answer();
    post().expect(503, &["failed"]);
    let child = pid_in(&sandbox.path("pids/root"));
    assert!(alive(child));
    for _ in 0..2 {
        let answer = post();
        answer.expect(503, &["busy"]);
        assert!(answer.detail().contains(&child.to_string()));
    }
    let told = lines_with(&sandbox.log(), "reason=survivor");
    assert_eq!(told, 1, "{}", sandbox.log());
    assert_eq!(sandbox.runs("Down"), 1);
    put_down(child);
    post().expect(200, &["healed"]);
}

#[test]
fn a_root_child_of_an_orphan_keeps_the_alert_busy_while_it_lives_and_tells_a_person_once() {
    let sandbox = Sandbox::new();
    short_lived(&sandbox);
    pids_for_the_stranger(&sandbox);
    let child = root_child(&sandbox);
    let leader = sandbox.path("pids/leader").display().to_string();
    sandbox.handler(
        "Down",
        &format!("[ \"$HEAL_ATTEMPT\" = 1 ] || exit 0\n{child}echo $$ >{leader}; wait\n"),
    );
    let posting = Posting::by(as_stranger(&sandbox), &[&alert()]);
    let child = pid_in(&sandbox.path("pids/root"));
    let leader = pid_in(&sandbox.path("pids/leader"));
    until_named(&sandbox, leader);
    posting.kill();
    let post = || Posting::by(as_stranger(&sandbox), &[&alert()]).answer();
    until("the orphan is ended", || {
        post().expect(503, &["busy"]);
        (!alive(leader)).then_some(())
    });
    assert!(alive(child));
    for _ in 0..2 {
        post().expect(503, &["busy"]);
    }
    let told = lines_with(&sandbox.log(), "reason=survivor");
    assert_eq!(told, 1, "{}", sandbox.log());
    assert_eq!(sandbox.runs("Down"), 1);
    put_down(child);
    let answer = until_not_busy(post);
    answer.expect(200, &["healed"]);
    assert_eq!(answer.json()["results"][0]["attempt"], 2);
}
