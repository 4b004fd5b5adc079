//! Faults that were found by reading and attacking, each with the test that would have found it.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;

use crate::crash::root_child;
use crate::stage::{Gate, Posting, alive, as_root, as_stranger, pid_in, put_down, until_gone};
use crate::support::{Alert, Sandbox, until};

fn alert() -> Alert {
    Alert::firing("Down", "web-1:9113")
}

/// A sandbox whose runs are overdue as soon as they are orphaned: one second, and the five that a supervisor at work
/// on it is left (heal/exclusion.rs).
fn short_lived() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_HANDLER_TIMEOUT", "1s");
    sandbox.set("HEAL_KILL_GRACE", "0");
    sandbox
}

/// When the run that the lock file names is overdue.
fn overdue(sandbox: &Sandbox) -> i64 {
    let lock = sandbox.path("lock/heal-Down.lock");
    let deadline = until("the lock file names the run", || {
        let note: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&lock).ok()?).ok()?;
        (note["session"] != -1).then(|| note["deadline_ms"].as_i64())?
    });
    deadline + 5_000
}

fn wait_until_overdue(at: i64) {
    until("the run is overdue", || {
        (self_heal::sys::clock::now().0 > at).then_some(())
    });
}

#[test]
fn a_service_that_let_go_of_the_lock_outlives_its_dead_supervisor() {
    let sandbox = short_lived();
    let pids = sandbox.path("service");
    let gate = Gate::new(&sandbox, "gate");
    // The service stays in the handler's session, and has closed what it does not know, as daemons do.
    sandbox.handler(
        "Down",
        &format!(
            "sleep 1000 </dev/null >/dev/null 2>&1 {{7..40}}>&- & echo $! >{0}\n{1}\n",
            pids.display(),
            gate.line()
        )
        .replace(
            "{7..40}>&-",
            &(3..40)
                .map(|fd| format!("{fd}>&-"))
                .collect::<Vec<_>>()
                .join(" "),
        ),
    );
    let posting = Posting::begin(&sandbox, &[&alert()]);
    gate.wait_for(1);
    let service = pid_in(&pids);
    let overdue = overdue(&sandbox);
    posting.kill();
    gate.open();
    until("the handler has let go of the lock", || {
        let lock = File::open(sandbox.path("lock/heal-Down.lock")).unwrap();
        lock.try_lock().ok()
    });
    wait_until_overdue(overdue);
    // Somebody else holds the lock now, and the file still names the dead run.
    let lock = File::open(sandbox.path("lock/heal-Down.lock")).unwrap();
    lock.lock().unwrap();
    sandbox.post(&alert()).expect(503, &["busy"]);
    assert!(alive(service), "{}", sandbox.log());
    assert!(!sandbox.log().contains("orphan_ended"), "{}", sandbox.log());
    put_down(service);
}

#[test]
fn a_daemon_that_left_the_session_and_its_environment_and_kept_the_lock_is_ended() {
    let sandbox = short_lived();
    let pids = sandbox.path("daemon");
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler(
        "Down",
        &format!(
            "[ \"$HEAL_ATTEMPT\" = 1 ] || exit 0\n\
             env -i setsid bash -c 'echo $$ >{0}; exec sleep 1000' &\n{1}\n",
            pids.display(),
            gate.line()
        ),
    );
    let posting = Posting::begin(&sandbox, &[&alert()]);
    let handler = gate.wait_for(1);
    let daemon = pid_in(&pids);
    let overdue = overdue(&sandbox);
    posting.kill();
    gate.open();
    until_gone(handler);
    sandbox.post(&alert()).expect(503, &["busy"]);
    assert!(alive(daemon), "not before its time");
    wait_until_overdue(overdue);
    sandbox.post(&alert()).expect(200, &["healed"]);
    assert!(!alive(daemon));
    assert!(sandbox.log().contains("orphan_ended"), "{}", sandbox.log());
}

#[test]
fn a_handler_whose_supervisor_died_and_whose_lock_was_removed_is_not_joined_by_another() {
    let sandbox = Sandbox::new();
    // As /var/lock is on Debian: the folder is reached by way of a link.
    std::os::unix::fs::symlink(sandbox.path("lock"), sandbox.path("way")).unwrap();
    sandbox.set("HEAL_LOCK_DIR", sandbox.path("way").to_str().unwrap());
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("Down", &format!("{}\n", gate.line()));
    let posting = Posting::begin(&sandbox, &[&alert()]);
    let handler = gate.wait_for(1);
    overdue(&sandbox);
    posting.kill();
    fs::remove_file(sandbox.path("lock/heal-Down.lock")).unwrap();
    sandbox.post(&alert()).expect(503, &["busy"]);
    sandbox.post(&alert()).expect(503, &["busy"]);
    assert_eq!(gate.arrived(), [handler]);
    gate.open();
    until_gone(handler);
    sandbox.post(&alert()).expect(200, &["healed"]);
}

#[test]
fn an_ending_is_kept_when_the_hosts_record_is_out_of_reach() {
    let sandbox = Sandbox::new();
    let host = sandbox.path("state/host");
    // The reservation cannot be given back: a folder stands where the host's record was.
    let body = format!(
        "[ -f {0} ] && rm {0} && mkdir {0}; exit 75\n",
        host.display()
    );
    sandbox.handler("Down", &body);
    sandbox.post(&alert()).expect(503, &["deferred"]);
    assert!(
        sandbox.log().contains("not_given_back"),
        "{}",
        sandbox.log()
    );
    fs::remove_dir(&host).unwrap();
    sandbox.handler("Down", "exit 0\n");
    let answer = sandbox.post(&alert());
    answer.expect(200, &["healed"]);
    assert_eq!(
        answer.json()["results"][0]["attempt"],
        1,
        "a deferral counts nowhere"
    );
    assert!(!sandbox.log().contains("run_interrupted"));
}

#[test]
fn the_note_of_a_dead_run_outlasts_a_request_that_finds_no_slot() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_CONCURRENT", "1");
    sandbox.handler(
        "Down",
        "[ \"$HEAL_ATTEMPT\" = 1 ] && kill -KILL $PPID; exit 0\n",
    );
    // The handler kills its supervisor: no answer, and nobody settles the run.
    let bytes = Posting::begin(&sandbox, &[&alert()]).output().stdout;
    assert!(bytes.is_empty());
    let lock = sandbox.path("lock/heal-Down.lock");
    let note = until("the lock is free", || {
        File::open(&lock).ok()?.try_lock().ok()?;
        fs::read_to_string(&lock).ok()
    });
    let slot = File::open(sandbox.path("lock/slot-0.lock")).unwrap();
    until("the slot is free", || slot.try_lock().ok());
    sandbox.post(&alert()).expect(503, &["busy"]);
    assert_eq!(fs::read_to_string(&lock).unwrap(), note);
    drop(slot);
    sandbox.post(&alert()).expect(200, &["healed"]);
    assert_eq!(fs::read_to_string(&lock).unwrap(), "");
}

#[test]
fn locks_of_instances_leave_no_file_behind() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "# self-heal: lock=instance\nexit 0\n");
    for number in 0..3 {
        sandbox
            .post(&Alert::firing("Down", &format!("web-{number}")))
            .expect(200, &["healed"]);
    }
    let files: Vec<_> = fs::read_dir(sandbox.path("lock"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains('@'))
        .collect();
    assert!(files.is_empty(), "{files:?}");
}

#[test]
fn a_wrong_configuration_tells_a_listed_peer_to_ask_again() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_ALLOW_PEERS", "192.0.2.0/24");
    sandbox.handler("Down", "exit 0\n");
    let ask = || {
        let mut command = sandbox.command();
        command.env("SOCAT_PEERADDR", "192.0.2.7");
        Posting::by(command, &[&alert()]).answer()
    };
    sandbox.set("HEAL_SETTLE", "soon");
    let answer = ask();
    assert_eq!(answer.code, 503, "{}", answer.body);
    assert_eq!(sandbox.runs("Down"), 0);
    sandbox.set("HEAL_SETTLE", "6m");
    ask().expect(200, &["healed"]);
}

#[test]
fn lines_of_the_allow_list_that_cannot_be_read_are_named() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    sandbox.write("allowed.txt", "web-*\ndb-1 Down, Up\n");
    sandbox
        .post(&Alert::firing("Down", "db-1"))
        .expect(200, &["not-allowed"]);
    assert!(sandbox.log().contains("allowed.txt:2"), "{}", sandbox.log());
    let ready = sandbox.get("/-/ready");
    assert_eq!(ready.code, 503);
    assert!(ready.body.contains("allowed.txt:2"), "{}", ready.body);
    fs::remove_file(sandbox.path("allowed.txt")).unwrap();
    let answer = sandbox.post(&alert());
    answer.expect(200, &["not-allowed"]);
    assert!(
        answer.detail().contains("the allow-list cannot be used"),
        "{}",
        answer.body
    );
}

#[test]
fn a_refused_start_as_root_leaves_nothing_of_roots_behind() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_ALLOW_ROOT", "no");
    let answer = sandbox.post(&alert());
    if nix::unistd::geteuid().is_root() {
        assert_eq!(answer.code, 503);
        assert!(!sandbox.path("log/listener.log").exists());
    } else {
        assert_eq!(answer.code, 200, "{}", answer.body);
    }
}

#[test]
fn an_empty_name_of_the_configuration_is_none() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command();
    command
        .env("HEAL_CONF", "")
        .env("HEAL_STATE_DIR", sandbox.path("state"));
    let answer = Posting::by(command, &[&alert()]).answer();
    assert!(!answer.body.contains("HEAL_CONF"), "{}", answer.body);
}

#[test]
fn a_readme_among_the_handlers_is_no_handler() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    sandbox.write("handlers/README.md", "Read me.\n");
    assert_eq!(
        sandbox.get("/-/ready").code,
        200,
        "{}",
        sandbox.get("/-/ready").body
    );
    let folder = sandbox.path("handlers");
    fs::remove_dir_all(&folder).unwrap();
    let answer = sandbox.post(&alert());
    answer.expect(200, &["unsafe-handler"]);
    assert!(
        answer.detail().contains("HEAL_HANDLER_DIR"),
        "{}",
        answer.body
    );
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, fs::Permissions::from_mode(0o755)).unwrap();
    sandbox.post(&alert()).expect(200, &["no-handler"]);
}

#[test]
fn a_damaged_record_of_the_host_is_said_by_whoever_finds_it() {
    let sandbox = Sandbox::new();
    sandbox.handler("Down", "exit 0\n");
    sandbox.post(&alert()).expect(200, &["healed"]);
    fs::write(sandbox.path("state/host"), "x".repeat(16_384)).unwrap();
    let ready = sandbox.get("/-/ready");
    assert_eq!(ready.code, 503);
    assert!(
        ready.body.contains("the host's record was damaged"),
        "{}",
        ready.body
    );
    assert!(
        sandbox.log().contains("[ERROR] record_damaged"),
        "{}",
        sandbox.log()
    );
}

#[test]
fn a_note_of_another_alerts_dead_run_is_dealt_with_before_it_is_written_over() {
    as_root();
    let sandbox = short_lived();
    fs::create_dir(sandbox.path("pids")).unwrap();
    fs::set_permissions(sandbox.path("pids"), fs::Permissions::from_mode(0o777)).unwrap();
    // As sudo does, it closes what it does not know, the lock among it.
    let closed: String = (3..40).map(|fd| format!(" {fd}>&-")).collect();
    let child = root_child(&sandbox).replace(" &\n", &format!("{closed} &\n"));
    let leader = sandbox.path("pids/leader").display().to_string();
    let body = format!(
        "[ \"$1 $HEAL_ATTEMPT\" = 'web-1:9113 1' ] || exit 0\n{child}echo $$ >{leader}; wait\n"
    );
    sandbox.handler("Down", &body);
    let posting = Posting::by(as_stranger(&sandbox), &[&alert()]);
    let child = pid_in(&sandbox.path("pids/root"));
    let leader = pid_in(&sandbox.path("pids/leader"));
    overdue(&sandbox);
    posting.kill();
    put_down(leader);
    let other = Alert::firing("Down", "web-2:9113");
    let post = |alert: &Alert| Posting::by(as_stranger(&sandbox), &[alert]).answer();
    until("the other instance is healed", || {
        (post(&other).verdicts() == ["healed"]).then_some(())
    });
    post(&alert()).expect(503, &["busy"]);
    assert!(alive(child));
    put_down(child);
    post(&alert()).expect(200, &["healed"]);
}
