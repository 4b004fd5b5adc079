//! The crash table: killed before each system call that changes the spool, whoever comes next finds everything whole,
//! sends what is to be sent, and nothing twice.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::ExitStatusExt;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::stage::{Gate, alive, run};
use crate::support::until;
use crate::tracing::{Fault, behind, strace, strace_with};

/// Every call by which a process changes the spool, or what another one may find of it.
const CALLS: [&str; 17] = [
    "mkdir",
    "openat",
    "write",
    "pwrite64",
    "ftruncate",
    "fdatasync",
    "fsync",
    "flock",
    "rename",
    "renameat",
    "renameat2",
    "unlink",
    "unlinkat",
    "clone",
    "clone3",
    "vfork",
    "wait4",
];

/// The points at which a command can be killed: each of these calls, and which one of its kind it is. A file that is
/// only read is opened without consequences.
fn points(trace: &Path, threads: bool, command: &Command) -> Vec<(&'static str, usize)> {
    // A name that strace(1) does not know on this machine is passed over with `?`.
    let calls = CALLS.map(|call| format!("?{call}")).join(",");
    let words = followed(strace(trace, Some(&calls)), threads);
    let output = behind(&words, command).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(trace).unwrap();
    let of = |line: &str| match threads {
        true => line.split_once(' ').unwrap().0.to_owned(),
        false => String::new(),
    };
    // Each thread is counted by itself; one of them is at the spool.
    let at_it = text
        .lines()
        .find(|line| line.contains("/state/spool"))
        .map(of);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut points = Vec::new();
    for line in text.lines().filter(|line| Some(of(line)) == at_it) {
        let line = line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ');
        let call = CALLS
            .into_iter()
            .find(|call| line.starts_with(&format!("{call}(")));
        let Some(call) = call else { continue };
        let count = counts.entry(call).or_default();
        *count += 1;
        if call != "openat" || line.contains("O_CREAT") {
            points.push((call, *count));
        }
    }
    points
}

/// strace(1) follows the threads, if there are any.
fn followed(mut words: Vec<String>, threads: bool) -> Vec<String> {
    words.extend(threads.then(|| "-f".to_owned()));
    words
}

/// Runs a command and kills it just before the nth of these calls. Whether that came to pass.
fn killed_before(point: (&str, usize), threads: bool, command: &Command) -> bool {
    let words = strace_with(Path::new("/dev/null"), point, Fault::Kill);
    let output = behind(&followed(words, threads), command).output().unwrap();
    output.status.signal() == Some(9) || output.status.code() == Some(128 + 9)
}

/// One incident that is over, one that goes on, and an escalator's whole way with them.
fn stage() -> (Yard, Vec<EventName>) {
    let yard = Yard::new();
    yard.escalator("mail", "exit 0");
    yard.escalator("pager", "exit 0");
    let names = vec![
        yard.trigger(THEN, "web-1"),
        yard.trigger(THEN + 1, "web-2"),
        yard.resolve(THEN + 2, "web-1"),
    ];
    (yard, names)
}

#[test]
fn killed_anywhere_a_delivery_is_made_once() {
    killed_anywhere(|_| None);
}

/// With spare files missing that nobody may make, a removed event becomes one.
#[test]
fn killed_anywhere_while_files_are_used_again_a_delivery_is_made_once() {
    killed_anywhere(|yard| {
        let path = yard.path("state/spool/spare");
        let folder = File::open(&path).unwrap();
        folder.lock().unwrap();
        (10..15).for_each(|n| fs::remove_file(path.join(n.to_string())).unwrap());
        Some(folder)
    });
}

fn killed_anywhere(prepare: impl Fn(&Yard) -> Option<File>) {
    let (yard, _) = stage();
    let held = prepare(&yard);
    let recycles = held.is_some();
    let points = points(&yard.path("trace"), false, &yard.command(&[]));
    let removal = if recycles { "fsync" } else { "unlink" };
    for call in [
        "pwrite64",
        "fdatasync",
        "fsync",
        "rename",
        "flock",
        "wait4",
        removal,
    ] {
        assert!(points.contains(&(call, 2)), "{call}: {points:?}");
    }
    let mut killed = 0;
    for point in &points {
        let (yard, names) = stage();
        let held = prepare(&yard);
        // How many are left: with another thread's child holding the folder's lock for a moment, an opening makes none.
        let left = yard.names("spare").len();
        let at = format!("{point:?}");
        killed += usize::from(killed_before(*point, false, &yard.command(&[])));
        everything_arrives_once(&yard, &names, &at);
        let spare = yard.names("spare");
        let whole = spare.iter().all(|name| name.parse::<u8>().is_ok());
        // Two events are over.
        let count = if held.is_some() { left + 2 } else { 16 };
        assert!(whole && spare.len() == count, "{at}: {spare:?}");
    }
    // Two deliverers do not wait equally often for what they started.
    let all = points.len();
    assert!(killed * 10 > all * 9, "{killed} of {all}");
}

/// Drains until nothing waits; what was under way ends first.
#[track_caller]
fn everything_arrives_once(yard: &Yard, names: &[EventName], at: &str) {
    until(&format!("killed before {at}: the spool is drained"), || {
        (yard.drain(&[]).status.code() == Some(0)).then_some(())
    });
    let mut wanted: Vec<String> = names.iter().map(EventName::to_string).collect();
    for escalator in ["mail", "pager"] {
        let mut calls = yard.calls(escalator);
        let resolve = calls.iter().position(|call| *call == wanted[2]);
        let trigger = calls.iter().position(|call| *call == wanted[0]);
        assert!(trigger < resolve, "{at}: {calls:?}");
        calls.sort();
        assert_eq!(calls, wanted, "{at}: {escalator}");
    }
    assert_eq!(yard.names("told"), [wanted.remove(1)], "{at}");
    for folder in ["pending", "failed", "damaged"] {
        assert_eq!(yard.names(folder), [""; 0], "{at}: {folder}");
    }
}

const PUTS: &str = "SELF_HEAL_TEST_PUTS";

/// The process that puts events, for the test that kills it. It is this test, started once more.
fn putting(test: &str, state: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            &format!("spool::crash::{test}"),
            "--nocapture",
            "--test-threads=1",
        ])
        .env("PATH", "/usr/bin:/bin")
        .env(PUTS, state);
    command
}

#[test]
fn killed_anywhere_a_put_has_happened_or_has_not() {
    let name = name(THEN, Action::Trigger, "web-1");
    let put = |state: &Path| {
        let spool = Spool::open(state).unwrap();
        let lock = spool.lock().unwrap();
        lock.put(&name, &json(&name, "web-1"))
    };
    if let Some(state) = std::env::var_os(PUTS) {
        put(Path::new(&state)).unwrap();
        return;
    }
    let test = "killed_anywhere_a_put_has_happened_or_has_not";
    // Into a spool that is not there yet, into a spare file, and without one.
    for spares in ["no spool", "spares", "no spare"] {
        let prepare = || {
            let yard = Yard::new();
            match spares {
                "no spool" => {}
                "spares" => drop(yard.spool()),
                _ => {
                    drop(yard.spool());
                    // A folder that is no file stands in each one's place.
                    for n in 0..16 {
                        let path = yard.path("state/spool/spare").join(n.to_string());
                        fs::remove_file(&path).unwrap();
                        fs::create_dir(&path).unwrap();
                    }
                }
            }
            yard
        };
        let yard = prepare();
        let points = points(&yard.path("trace"), true, &putting(test, &yard.state()));
        let mut killed = 0;
        for point in &points {
            let yard = prepare();
            let at = format!("{spares}: {point:?}");
            killed += usize::from(killed_before(*point, true, &putting(test, &yard.state())));
            let pending = yard.path("state/spool/pending");
            if pending.exists() && !names_in(&pending).is_empty() {
                let bytes = fs::read(pending.join(name.to_string())).unwrap();
                assert!(bytes[4096..].starts_with(&json(&name, "web-1")), "{at}");
            }
            // It is put once more, because whoever was killed did not strike the page.
            put(&yard.state()).unwrap();
            assert_eq!(yard.names("pending"), [name.to_string()], "{at}");
            yard.escalator("pager", "exit 0");
            yard.drains(&[], 0);
            assert_eq!(yard.calls("pager"), [name.to_string()], "{at}");
            assert!(yard.names("damaged").is_empty(), "{at}");
        }
        assert!(points.len() >= 4, "{spares}: {points:?}");
        assert!(
            killed * 10 > points.len() * 9,
            "{spares}: {killed} of {}",
            points.len()
        );
    }
}

#[test]
fn killed_while_the_escalator_runs_its_answer_counts() {
    for (answer, folder, code) in [
        ("exit 0", "told", 0),
        ("exit 100", "failed", 1),
        ("exit 1", "pending", 1),
    ] {
        let yard = Yard::new();
        let gate = Gate::new(&yard.sandbox, "gate");
        yard.escalator("pager", &format!("{}{answer}", gate.line()));
        let name = yard.trigger(THEN, "web-1");
        let mut drain = yard.command(&[]).stderr(Stdio::null()).spawn().unwrap();
        let escalator = gate.wait_for(1);
        drain.kill().unwrap();
        drain.wait().unwrap();
        // It goes on, and nobody else starts another one.
        assert!(alive(escalator), "{answer}");
        assert!(yard.drains(&[], 1).contains("1 pending"));
        assert_eq!(yard.calls("pager").len(), 1);
        gate.open();
        let journal = yard.path("state/spool/escalators/pager");
        until("the escalator's lock is free", || {
            File::open(&journal).unwrap().try_lock().ok()
        });
        yard.drains(&[], code);
        assert_eq!(yard.calls("pager"), [name.to_string()], "{answer}");
        assert_eq!(yard.names(folder), [name.to_string()], "{answer}");
    }
}

#[test]
fn killed_with_its_wrapper_an_attempt_counts_as_failed() {
    let yard = Yard::new();
    let gate = Gate::new(&yard.sandbox, "gate");
    yard.escalator("pager", &gate.line());
    let name = yard.trigger(THEN, "web-1");
    let mut drain = yard.command(&[]).stderr(Stdio::null()).spawn().unwrap();
    let escalator = gate.wait_for(1);
    let session = run(Command::new("ps").args(["-o", "sid=", "-p", &escalator.to_string()]));
    drain.kill().unwrap();
    drain.wait().unwrap();
    let wrapper: i32 = session.trim().parse().unwrap();
    kill(Pid::from_raw(wrapper), Signal::SIGKILL).unwrap();
    // As long as the escalator itself lives, it holds the lock.
    assert!(yard.drains(&[], 1).contains("1 pending"));
    assert_eq!(yard.calls("pager").len(), 1);
    gate.open();
    let line = format!(
        "escalation_retry event={name} action=trigger escalator=pager attempt=1 exit=unknown"
    );
    until("its ending is noted as unknown", || {
        yard.drain(&[]);
        yard.log().contains(&line).then_some(())
    });
    assert_eq!(yard.calls("pager").len(), 1);
    // It is sent again: a page twice is better than none.
    yard.drains(&["--retry", &name.to_string()], 0);
    yard.drains(&[], 0);
    assert_eq!(yard.calls("pager").len(), 2);
}

#[test]
fn an_attempt_that_was_only_announced_is_made_at_once() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 0");
    let name = yard.trigger(THEN, "web-1");
    let journal = yard.spool().journal("pager").unwrap().unwrap();
    journal.begin(&name, 1).unwrap();
    drop(journal);
    yard.drains(&[], 0);
    assert_eq!(yard.calls("pager"), [name.to_string()]);
    assert!(yard.log().contains("attempt=1"));
}

#[test]
fn an_answer_that_is_found_twice_counts_once() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 1");
    let name = yard.trigger(THEN, "web-1");
    yard.drains(&[], 1);
    let journal = yard.path("state/spool/escalators/pager");
    let again = format!("{:<127}\n", format!("{name} 1 1"));
    fs::write(&journal, &again).unwrap();
    yard.drains(&[], 1);
    assert!(yard.drains(&["--list"], 1).contains(" pager=retry:1@"));
    // One that nobody has counted yet does count.
    fs::write(&journal, again.replace(" 1 1 ", " 2 0 ")).unwrap();
    yard.drains(&[], 0);
    assert_eq!(yard.names("told"), [name.to_string()]);
    assert_eq!(yard.calls("pager").len(), 1);
}

#[test]
fn what_was_put_is_there_whenever_it_is_put_again() {
    let yard = Yard::new();
    yard.escalator("pager", "exit 0");
    let name = yard.trigger(THEN, "web-1");
    yard.trigger(THEN, "web-1");
    assert_eq!(yard.names("pending"), [name.to_string()]);
    yard.drains(&[], 0);
    // Delivered, and not to be delivered again: whoever owed it was killed before he struck it.
    yard.trigger(THEN, "web-1");
    assert!(yard.spool().lock().unwrap().contains(&name).unwrap());
    yard.drains(&[], 0);
    assert_eq!(yard.calls("pager").len(), 1);
}

#[test]
fn what_is_no_event_is_not_put() {
    let yard = Yard::new();
    let spool = yard.spool();
    let name = name(THEN, Action::Trigger, "web-1");
    let lock = spool.lock().unwrap();
    for bad in [&json(&name, "web-2")[..], b"{}", b""] {
        let error = lock.put(&name, bad).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
    }
    drop(lock);
    assert_eq!(Spool::waiting(&yard.state()).unwrap().pending, 0);
}

#[test]
fn a_put_is_durable_before_it_returns() {
    let test = "a_put_is_durable_before_it_returns";
    let name = name(THEN, Action::Trigger, "web-1");
    if let Some(state) = std::env::var_os(PUTS) {
        let spool = Spool::open(Path::new(&state)).unwrap();
        spool
            .lock()
            .unwrap()
            .put(&name, &json(&name, "web-1"))
            .unwrap();
        return;
    }
    let yard = Yard::new();
    yard.spool();
    let trace = yard.path("trace").display().to_string();
    let calls = "trace=pwrite64,fdatasync,fsync,rename";
    let putting = putting(test, &yard.state());
    let mut strace = Command::new("strace");
    strace.args(["-f", "-y", "-o", &trace, "-e", calls]);
    strace
        .arg(putting.get_program())
        .args(putting.get_args())
        .env(PUTS, yard.state());
    assert!(strace.output().unwrap().status.success());
    let text = yard.sandbox.read("trace");
    let mine: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("/spool/"))
        .collect();
    let calls: Vec<&str> = mine
        .iter()
        .map(|line| {
            line.split_once(' ')
                .unwrap()
                .1
                .trim()
                .split('(')
                .next()
                .unwrap()
        })
        .collect();
    assert_eq!(
        calls,
        ["pwrite64", "fdatasync", "rename", "fsync"],
        "{text}"
    );
    assert!(
        mine[2].contains("/spare/0") && mine[2].contains(&format!("/pending/{name}")),
        "{text}"
    );
    assert!(mine[3].contains("/spool/pending>"), "{text}");
}
