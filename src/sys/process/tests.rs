use super::*;
use crate::sys::signals::{Signals, again};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

/// A child that is killed and reaped when the test ends.
struct Sleeper(Child);

impl Sleeper {
    fn new(words: &[&str], run_id: &str) -> Sleeper {
        let (program, arguments) = words.split_first().unwrap();
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg("1000")
            .env("HEAL_RUN_ID", run_id);
        let sleeper = Sleeper(command.spawn().unwrap());
        // spawn() returns once execve was reached; setsid(1) still has its second one before it.
        eventually(|| {
            std::fs::read(format!("/proc/{}/comm", sleeper.id().pid)).unwrap() == b"sleep\n"
        });
        sleeper
    }

    fn id(&self) -> ProcessId {
        ProcessId::of(self.0.id().try_into().unwrap()).unwrap()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn eventually(condition: impl Fn() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < Duration::from_secs(20), "it never came");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_name_with_parentheses_and_spaces_does_not_shift_the_fields() {
    let line =
        b"4 (a) R 9 (\xff) ) S 7 8 9 0 -1 4194304 97 0 0 0 0 0 0 0 20 0 3 0 144682 3133440 382 18446744073709551615 1 1 0 0 0 0 0 65536 4096 0\n";
    let stat = Stat::parse(4, line).unwrap();
    assert_eq!(
        stat,
        Stat {
            id: ProcessId {
                pid: 4,
                started: 144_682
            },
            state: b'S',
            session: 9,
            ignored: 65536,
            parent: 7,
            threads: 3
        }
    );
    for broken in [&b"4 (a"[..], b"4 (a)", b"4 (a) S 1 2", b"", b")"] {
        assert_eq!(Stat::parse(4, broken), None);
    }
}

#[test]
fn a_process_is_alive_until_it_is_a_zombie_and_a_later_one_is_another() {
    let own = ProcessId::own().unwrap();
    assert!(own.alive());
    let earlier = ProcessId {
        started: own.started - 1,
        ..own
    };
    assert!(!earlier.alive());

    let mut sleeper = Sleeper::new(&["sleep"], "");
    let id = sleeper.id();
    assert!(id.alive());
    sleeper.0.kill().unwrap();
    // Not reaped: it stays in /proc.
    eventually(|| !id.alive());
    assert_eq!(ProcessId::of(id.pid).unwrap(), id);
    sleeper.0.wait().unwrap();
    assert!(!id.alive());
}

#[test]
fn a_run_is_its_session_its_run_id_and_their_descendants() {
    let run = format!("run-{}-a", getpid());
    let leader = Sleeper::new(&["setsid", "sleep"], &run);
    let strayed = Sleeper::new(&["setsid", "sleep"], &run);
    let longer = Sleeper::new(&["setsid", "sleep"], &format!("{run}b"));
    assert_eq!(
        belonging(&leader.id(), &run, None).unwrap(),
        [leader.id(), strayed.id()]
    );
    // By the session alone.
    assert_eq!(
        belonging(&longer.id(), "", None).unwrap(),
        [longer.id()],
        "an empty run id finds nobody"
    );
    // The number has come round: the session is another's. The run id still speaks.
    let earlier = ProcessId {
        started: leader.id().started - 1,
        ..leader.id()
    };
    assert_eq!(belonging(&earlier, "no such run", None).unwrap(), []);
    assert_eq!(
        belonging(&earlier, &run, None).unwrap(),
        [leader.id(), strayed.id()]
    );
}

#[test]
fn a_session_outlives_its_leader() {
    // In a process of its own: without a run id they would be stragglers to a timeout in another test.
    let name = "a_session_outlives_its_leader";
    if !again::inner() {
        again::run(&[], name, module_path!());
        return;
    }
    // Else the orphan would go to the process that runs the other tests, which is a subreaper.
    nix::sys::prctl::set_child_subreaper(true).unwrap();
    let mut leader = Command::new("setsid")
        .args([
            "env",
            "-i",
            "/bin/bash",
            "-c",
            "/bin/sleep 1000 & read -r; exit 0",
        ])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let pid = i32::try_from(leader.id()).unwrap();
    let session = ProcessId::of(pid).unwrap();
    eventually(|| belonging(&session, "", None).unwrap().len() == 2);
    let orphan = belonging(&session, "", None).unwrap()[1];
    drop(leader.stdin.take());
    leader.wait().unwrap();
    assert_eq!(belonging(&session, "", None).unwrap(), [orphan]);
    let later = ProcessId {
        started: orphan.started + 1,
        ..session
    };
    assert_eq!(
        belonging(&later, "", None).unwrap(),
        [],
        "older than the session"
    );
    let mut signals = Signals::block().unwrap();
    let targets = || belonging(&session, "", None);
    assert_eq!(
        end(targets, Duration::from_secs(60), &mut signals).unwrap(),
        []
    );
    assert!(!orphan.alive());
}

#[test]
fn neither_itself_nor_a_recycled_number_is_signalled() {
    let mut signals = Signals::block().unwrap();
    let own = ProcessId::own().unwrap();
    let sleeper = Sleeper::new(&["sleep"], "");
    let recycled = ProcessId {
        started: sleeper.id().started - 1,
        ..sleeper.id()
    };
    assert_eq!(own.signal(Signal::SIGKILL), Err(Errno::ESRCH));
    assert_eq!(recycled.signal(Signal::SIGKILL), Err(Errno::ESRCH));
    let _ = end(|| Ok(vec![recycled]), Duration::ZERO, &mut signals).unwrap();
    assert!(sleeper.id().alive());
}

#[test]
fn who_may_not_be_signalled_is_returned_as_survivor() {
    const VICTIM: &str = "SELF_HEAL_TEST_VICTIM";
    let name = "who_may_not_be_signalled_is_returned_as_survivor";
    if again::inner() {
        assert!(!nix::unistd::geteuid().is_root());
        let victim = std::env::var(VICTIM).unwrap().parse().unwrap();
        let victim = ProcessId::of(victim).unwrap();
        let mut signals = Signals::block().unwrap();
        let targets = || Ok(vec![victim]);
        let survivors = end(targets, Duration::from_millis(50), &mut signals).unwrap();
        assert_eq!(survivors, [victim]);
        return;
    }
    let root = nix::unistd::geteuid().is_root();
    if !root {
        // The process that started everything is root's.
        let mut again = again::command(&[], name, module_path!());
        // Its number is refused by name, so its oldest child in the table stands in.
        let victim = table()
            .unwrap()
            .into_iter()
            .map(|p| p.id)
            .filter(|id| kill(Pid::from_raw(id.pid), None) == Err(Errno::EPERM) && id.pid > 1)
            .min_by_key(|id| id.started)
            .expect("no process of another user to try it on");
        assert!(
            again
                .env(VICTIM, victim.pid.to_string())
                .status()
                .unwrap()
                .success()
        );
        return;
    }
    let sleeper = Sleeper::new(&["sleep"], "");
    // A copy that nobody can reach: the folders above this program may be shut to him.
    let copy = std::env::temp_dir().join(format!("self-heal-survivor-{}", getpid()));
    std::fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o755)).unwrap();
    let original = again::command(&[], name, module_path!());
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .args(original.get_args())
        .envs(
            original
                .get_envs()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .env(VICTIM, sleeper.id().pid.to_string())
        .output()
        .unwrap();
    std::fs::remove_file(&copy).unwrap();
    assert!(
        output.status.success(),
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(sleeper.id().alive());
}
