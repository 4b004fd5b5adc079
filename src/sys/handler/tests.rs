use super::*;
use crate::sys::signals::again;
use std::cell::Cell;
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

const LONG: Duration = Duration::from_secs(60);

/// One run in a folder of its own, with the log that the handler appends to.
struct Scene {
    folder: PathBuf,
    log: File,
    env: Vec<(String, String)>,
    run_id: String,
    stdin: Vec<u8>,
    timeout: Duration,
    grace: Duration,
    signals: Signals,
    session: Cell<Option<ProcessId>>,
}

impl Scene {
    fn new() -> Scene {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let run_id = format!("test-{}-{number}", getpid());
        let folder = std::env::temp_dir().join(format!("self-heal-{run_id}"));
        std::fs::create_dir(&folder).unwrap();
        let log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(folder.join("log"))
            .unwrap();
        Scene {
            folder,
            log,
            env: vec![
                ("PATH".into(), "/usr/bin:/bin".into()),
                ("HEAL_RUN_ID".into(), run_id.clone()),
            ],
            run_id,
            stdin: b"{}".to_vec(),
            timeout: LONG,
            grace: LONG,
            signals: Signals::block().unwrap(),
            session: Cell::new(None),
        }
    }

    /// Writes a handler that bash runs: without a shebang it is never executed itself, and a copy of this process in
    /// another test's thread that still has it open for writing does no harm (ETXTBSY).
    fn script(&self, text: &str) -> PathBuf {
        let path = self.folder.join("Handler.sh");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn start_program(
        &self,
        program: &Path,
        interpreter: Option<&Path>,
        args: [&str; 3],
        log: Option<&File>,
        locks: &[BorrowedFd<'_>],
    ) -> io::Result<Running> {
        let running = start(&Invocation {
            program,
            interpreter,
            args: &args,
            env: &self.env,
            stdin: &self.stdin,
            log,
            locks,
            timeout: self.timeout,
            grace: self.grace,
            run_id: &self.run_id,
        })?;
        self.session.set(Some(running.session()));
        Ok(running)
    }

    fn start(&self, text: &str) -> Running {
        let script = self.script(text);
        let args = ["web-1:9100", "NginxDown", "0123"];
        self.start_program(&script, interpreter(b""), args, Some(&self.log), &[])
            .unwrap()
    }

    fn run(&mut self, text: &str) -> Ended {
        self.start(text).wait(&mut self.signals).unwrap()
    }

    /// Runs an installed program, so that no shell stands between what was set and what is seen.
    fn run_program(&mut self, program: &str, args: [&str; 3], locks: &[BorrowedFd<'_>]) -> Ended {
        self.start_program(Path::new(program), None, args, Some(&self.log), locks)
            .unwrap()
            .wait(&mut self.signals)
            .unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap()
    }

    /// Waits for a condition, not for a time.
    fn until(&self, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < LONG, "it never came: {}", self.log());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn until_ready(&self) {
        self.until(|| self.log().contains("ready\n"));
    }

    /// The processes whose numbers the handler logged, as `pid=N`.
    fn noted(&self) -> Vec<ProcessId> {
        self.log()
            .lines()
            .filter_map(|line| line.strip_prefix("pid="))
            .map(|number| ProcessId::of(number.parse().unwrap()).unwrap())
            .collect()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // A test that failed leaves nothing running.
        if let Some(session) = self.session.get() {
            let targets = || process::belonging(&session, &self.run_id, None);
            let _ = process::end(targets, Duration::ZERO, &mut self.signals);
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn a_look_waits_for_nothing_and_ends_what_is_past_its_timeout() {
    let mut scene = Scene::new();
    scene.grace = Duration::ZERO;
    let running = scene.start("exit 7");
    scene.until(|| matches!(running.poll(&mut Signals::block().unwrap()), Ok(Some(ended)) if ended.exit == Exit::Code(7)));

    let child = scene.folder.join("child");
    let text = format!(
        "trap '' TERM; sleep 1000 & echo $! >{}; wait",
        child.display()
    );
    let mut running = scene.start(&text);
    assert_eq!(running.poll(&mut scene.signals).unwrap(), None);
    scene.until(|| std::fs::read_to_string(&child).is_ok_and(|text| text.ends_with('\n')));
    running.timeout = Duration::ZERO;
    let ended = running.poll(&mut scene.signals).unwrap().unwrap();
    assert_eq!((ended.exit, ended.survivors), (Exit::TimedOut, Vec::new()));
    let child = std::fs::read_to_string(&child)
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    scene.until(|| !ProcessId::of(child).is_ok_and(|child| child.alive()));
}

#[test]
fn the_exit_code_is_told() {
    for code in [0, 1, 2, 75, 255] {
        let ended = Scene::new().run(&format!("exit {code}"));
        assert_eq!(ended.exit, Exit::Code(code));
        assert_eq!(ended.survivors, []);
        assert!(ended.elapsed > Duration::ZERO && ended.elapsed < LONG);
    }
}

#[test]
fn the_fatal_signal_is_told() {
    assert_eq!(Scene::new().run("kill -KILL $$").exit, Exit::Signal(9));
    assert_eq!(Scene::new().run("kill -RTMIN $$").exit, Exit::Signal(0));
}

#[test]
fn it_is_called_with_three_words_and_its_own_path_and_its_output_is_appended() {
    let mut scene = Scene::new();
    scene.log.write_all(b"before\n").unwrap();
    let ended =
        scene.run(r#"[[ $# == 3 ]] || exit 9; echo "$0|$1|$2|$3"; echo complaint >&2; pwd -P >&2"#);
    assert_eq!(ended.exit, Exit::Code(0));
    let path = scene.folder.join("Handler.sh");
    let wanted = format!(
        "before\n{}|web-1:9100|NginxDown|0123\ncomplaint\n",
        path.display()
    );
    assert!(scene.log().starts_with(&wanted), "{}", scene.log());
}

#[test]
fn a_handler_with_a_shebang_runs_as_it_says() {
    let mut scene = Scene::new();
    let source = scene.script("#!/bin/sh\nreadlink /proc/$$/exe; exit 3\n");
    // Copied by another process: none of ours ever has it open for writing.
    let handler = scene.folder.join("Handler");
    assert!(
        Command::new("install")
            .args(["-m", "755"])
            .args([&source, &handler])
            .status()
            .unwrap()
            .success()
    );
    let ended = scene.run_program(handler.to_str().unwrap(), ["a", "b", "c"], &[]);
    assert_eq!(ended.exit, Exit::Code(3));
    let shell = std::fs::canonicalize("/bin/sh").unwrap();
    assert_eq!(scene.log(), format!("{}\n", shell.display()));
}

#[test]
fn only_a_shebang_or_an_elf_program_runs_itself() {
    assert_eq!(interpreter(b"#!/usr/bin/env python3\n"), None);
    assert_eq!(interpreter(b"\x7fELF\x02\x01"), None);
    for text in [
        &b""[..],
        b"#",
        b"# self-heal: timeout=1s\n",
        b"\x7fEL",
        b" #!/bin/sh",
    ] {
        assert_eq!(interpreter(text), Some(Path::new("/bin/bash")));
    }
}

#[test]
fn past_its_timeout_a_handler_that_ignores_term_is_killed() {
    let mut scene = Scene::new();
    scene.timeout = Duration::ZERO;
    scene.grace = Duration::from_millis(300);
    let running = scene.start("trap '' TERM; echo ready; while :; do sleep 0.01; done");
    let session = running.session();
    assert!(session.alive());
    scene.until_ready();
    let ended = running.wait(&mut scene.signals).unwrap();
    assert_eq!(ended.exit, Exit::TimedOut);
    assert_eq!(ended.survivors, []);
    assert!(ended.elapsed >= scene.grace);
    // Dead and reaped.
    assert!(ProcessId::of(session.pid).map_or(true, |later| later != session));
}

#[test]
fn the_timeout_is_kept() {
    let mut scene = Scene::new();
    scene.timeout = Duration::from_millis(200);
    let ended = scene.run("sleep 1000");
    assert_eq!(ended.exit, Exit::TimedOut);
    assert!(ended.elapsed >= scene.timeout && ended.elapsed < LONG);
}

#[test]
fn an_exit_of_zero_after_it_was_told_to_end_is_a_timeout() {
    let mut scene = Scene::new();
    scene.timeout = Duration::ZERO;
    let running =
        scene.start("trap 'echo told; exit 0' TERM; echo ready; while :; do sleep 0.01; done");
    scene.until_ready();
    let ended = running.wait(&mut scene.signals).unwrap();
    assert_eq!(ended.exit, Exit::TimedOut);
    assert!(ended.elapsed < LONG, "the grace is not waited out");
    // In between the shell reports that its command died of the signal.
    assert!(scene.log().ends_with("told\n"), "{}", scene.log());
}

#[test]
fn the_shell_is_told_before_its_command_so_it_does_not_go_on() {
    let mut scene = Scene::new();
    scene.timeout = Duration::ZERO;
    let running = scene.start("echo ready; sleep 1000; echo went on");
    scene.until_ready();
    let ended = running.wait(&mut scene.signals).unwrap();
    assert_eq!(ended.exit, Exit::TimedOut);
    assert_eq!(scene.log(), "ready\n");
}

#[test]
fn past_the_timeout_stragglers_that_left_the_session_are_ended_too() {
    // In a process of its own: one straggler is nobody's in particular, and the first timeout to come takes it.
    let name = "past_the_timeout_stragglers_that_left_the_session_are_ended_too";
    if !again::inner() {
        again::run(&[], name, module_path!());
        return;
    }
    let mut scene = Scene::new();
    scene.timeout = Duration::ZERO;
    // In order: a new session; a new session after a double fork; the same with nothing left in its environment; a
    // child that ignores TERM.
    let running = scene.start(
        r#"
        setsid bash -c 'echo pid=$$; exec sleep 1000' &
        ( setsid bash -c 'echo pid=$$; exec sleep 1000' & )
        ( setsid env -i /bin/bash -c 'echo pid=$$; exec /bin/sleep 1000' & )
        bash -c 'trap "" TERM; echo pid=$$; exec sleep 1000' &
        until [[ $(grep -c ^pid= /proc/$$/fd/1) == 4 ]]; do sleep 0.01; done
        echo ready
        sleep 1000
        "#,
    );
    scene.until_ready();
    let stragglers = scene.noted();
    assert!(stragglers.iter().all(ProcessId::alive));
    scene.grace = Duration::from_millis(200);
    let running = Running {
        grace: scene.grace,
        ..running
    };
    let ended = running.wait(&mut scene.signals).unwrap();
    assert_eq!(ended.exit, Exit::TimedOut);
    assert_eq!(ended.survivors, []);
    assert_eq!(stragglers.len(), 4);
    assert!(!stragglers.iter().any(ProcessId::alive));
}

#[test]
fn a_timeout_does_not_touch_what_an_earlier_run_left_running() {
    let mut earlier = Scene::new();
    let daemon = "( setsid bash -c 'echo pid=$$; echo ready; exec sleep 1000' & )\n\
                  until grep -q ready /proc/$$/fd/1; do sleep 0.01; done";
    assert_eq!(earlier.run(daemon).exit, Exit::Code(0));
    let mut scene = Scene::new();
    scene.timeout = Duration::ZERO;
    assert_eq!(scene.run("sleep 1000").exit, Exit::TimedOut);
    let daemons = earlier.noted();
    assert_eq!(daemons.len(), 1);
    assert!(daemons[0].alive());
}

#[test]
fn after_an_ending_of_its_own_nothing_is_ended_or_waited_for() {
    let mut scene = Scene::new();
    let ended = scene.run("sleep 1000 & echo pid=$!; setsid sleep 1000 & echo pid=$!; exit 0");
    assert_eq!(ended.exit, Exit::Code(0));
    assert_eq!(ended.survivors, []);
    assert!(ended.elapsed < LONG);
    let left = scene.noted();
    assert_eq!(left.len(), 2);
    assert!(left.iter().all(ProcessId::alive));
}

#[test]
fn a_stopped_handler_is_woken_to_be_told() {
    let mut scene = Scene::new();
    scene.timeout = Duration::ZERO;
    let running = scene.start("trap 'echo told; exit' TERM; kill -STOP $$; sleep 1000");
    let session = running.session();
    scene.until(|| Stat::of(session.pid).unwrap().state == b'T');
    let ended = running.wait(&mut scene.signals).unwrap();
    assert_eq!(ended.exit, Exit::TimedOut);
    assert!(ended.elapsed < LONG);
    assert_eq!(scene.log(), "told\n");
}

#[test]
fn a_termination_of_the_listener_does_not_interrupt_the_handler() {
    let mut scene = Scene::new();
    let running = scene.start("read -r word < /proc/self/fd/0; sleep 0.2; exit 7");
    nix::sys::signal::raise(Signal::SIGTERM).unwrap();
    assert_eq!(
        running.wait(&mut scene.signals).unwrap().exit,
        Exit::Code(7)
    );
    assert!(scene.signals.terminated());
}

#[test]
fn it_leads_its_own_session_and_group() {
    let mut scene = Scene::new();
    let ended = scene.run(
        "read -r _ _ _ _ group session _ </proc/$$/stat; [[ $group == $$ && $session == $$ ]]",
    );
    assert_eq!(ended.exit, Exit::Code(0));
}

#[test]
fn it_has_the_standard_descriptors_and_the_locks_and_no_other() {
    let name = "it_has_the_standard_descriptors_and_the_locks_and_no_other";
    if !again::inner() {
        let hostile =
            "exec 3</dev/null 4</dev/null 7</dev/null 9</dev/null 200</dev/null; exec \"$@\"";
        again::run(&["bash", "-c", hostile, "-"], name, module_path!());
        return;
    }
    crate::sys::inherited::close_inherited().unwrap();
    let mut scene = Scene::new();
    let lock = File::create(scene.folder.join("lock")).unwrap();
    let other = File::create(scene.folder.join("other")).unwrap();
    let locks = [lock.as_fd(), other.as_fd()];
    let ended = scene.run_program("/bin/ls", ["-l", "--", "/proc/self/fd/"], &locks);
    assert_eq!(ended.exit, Exit::Code(0));
    let log = scene.log();
    let mut open: Vec<(RawFd, &str)> = log
        .lines()
        .filter_map(|line| line.split_once(" -> "))
        .map(|(left, target)| (left.rsplit(' ').next().unwrap().parse().unwrap(), target))
        .collect();
    open.sort_unstable();
    // The one that ls reads the folder by.
    open.retain(|(_, target)| !target.starts_with("/proc/"));
    let path = |name: &str| scene.folder.join(name).display().to_string();
    let mut wanted = vec![
        (0, "/memfd:alert (deleted)".to_owned()),
        (1, path("log")),
        (2, path("log")),
        (lock.as_raw_fd(), path("lock")),
        (other.as_raw_fd(), path("other")),
    ];
    wanted.sort_unstable();
    let open: Vec<(RawFd, String)> = open.into_iter().map(|(n, t)| (n, t.to_owned())).collect();
    assert_eq!(open, wanted);
}

#[test]
fn without_a_log_its_output_goes_nowhere() {
    let mut scene = Scene::new();
    let script =
        scene.script("echo x; [[ /dev/stdout -ef /dev/null && /dev/stderr -ef /dev/null ]]");
    let ended = scene
        .start_program(&script, interpreter(b""), ["a", "b", "c"], None, &[])
        .unwrap()
        .wait(&mut scene.signals)
        .unwrap();
    assert_eq!(ended.exit, Exit::Code(0));
    assert_eq!(scene.log(), "");
}

#[test]
fn signal_dispositions_and_mask_are_the_default_ones() {
    let name = "signal_dispositions_and_mask_are_the_default_ones";
    if !again::inner() {
        let caller = [
            "env",
            "--ignore-signal=PIPE,INT,HUP,USR1",
            "--block-signal=TERM,USR2,CHLD",
        ];
        again::run(&caller, name, module_path!());
        return;
    }
    let mut scene = Scene::new();
    // Not grep, which catches SIGSEGV.
    let ended = scene.run_program(
        "/bin/cat",
        ["/proc/self/status", "/dev/null", "/dev/null"],
        &[],
    );
    assert_eq!(ended.exit, Exit::Code(0));
    let log = scene.log();
    for field in ["SigBlk:", "SigIgn:", "SigCgt:"] {
        let value = log.lines().find_map(|line| line.strip_prefix(field));
        let signals = u64::from_str_radix(value.unwrap().trim(), 16).unwrap();
        // 32 to 34 belong to the C library: posix_spawn ignores its own ones, and hides them from signal sets.
        assert_eq!(signals & !(0b111 << 31), 0, "{field} {signals:x}");
    }
}

#[test]
fn its_input_is_the_whole_alert_and_can_be_read_again() {
    let mut scene = Scene::new();
    scene.stdin = vec![b'x'; 300_000];
    let ended = scene.run("wc -c; wc -c < /dev/stdin; exec 3</dev/stdin; tail -c 4 <&3");
    assert_eq!(ended.exit, Exit::Code(0));
    assert_eq!(scene.log(), "300000\n300000\nxxxx");
    // Seeking back on the descriptor itself: sed -n 1q leaves the offset after what it used, on a file only.
    let mut scene = Scene::new();
    scene.stdin = b"one\ntwo\n".to_vec();
    scene.run("sed -nu 1p >/dev/null; sed -n 1p /dev/stdin");
    assert_eq!(scene.log(), "one\n");
}

#[test]
fn its_environment_is_exactly_what_it_was_given() {
    let mut scene = Scene::new();
    scene
        .env
        .push(("HEAL_LABEL_ODD".into(), "a=b \n\u{1f525}'\"$(id)".into()));
    let ended = scene.run_program(
        "/bin/cat",
        ["/proc/self/environ", "/dev/null", "/dev/null"],
        &[],
    );
    assert_eq!(ended.exit, Exit::Code(0));
    let wanted: String = scene
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}\0"))
        .collect();
    assert_eq!(scene.log(), wanted);
}

#[test]
fn mask_and_folder_are_set_for_it_and_few_descriptors_are_enough() {
    let name = "mask_and_folder_are_set_for_it_and_few_descriptors_are_enough";
    if !again::inner() {
        let hostile = "umask 0; cd /usr; ulimit -n 16; exec \"$@\"";
        again::run(&["bash", "-c", hostile, "-"], name, module_path!());
        return;
    }
    setup_process().unwrap();
    let mut scene = Scene::new();
    let lock = File::create(scene.folder.join("lock")).unwrap();
    let script = scene.script("umask; pwd -P; ulimit -n; sleep 1000");
    scene.timeout = Duration::ZERO;
    let running = scene
        .start_program(
            &script,
            interpreter(b""),
            ["a", "b", "c"],
            Some(&scene.log),
            &[lock.as_fd()],
        )
        .unwrap();
    scene.until(|| scene.log() == "0022\n/\n16\n");
    // Ending a run reads /proc, which takes descriptors too.
    let ended = running.wait(&mut scene.signals).unwrap();
    assert_eq!(ended.exit, Exit::TimedOut);
    assert_eq!(ended.survivors, []);
}

#[test]
fn what_cannot_be_started_is_an_error_that_says_why() {
    let mut scene = Scene::new();
    let attempt = |scene: &Scene, program: &Path, arg: &str| {
        scene
            .start_program(program, None, [arg, "b", "c"], Some(&scene.log), &[])
            .map(|running| running.session())
            .unwrap_err()
    };
    let missing = scene.folder.join("Missing.sh");
    let error = attempt(&scene, &missing, "a");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(
        error.to_string(),
        format!(
            "cannot start {}: it, or the interpreter in its first line, does not exist",
            missing.display()
        )
    );

    let script = scene.script("exit 0");
    let error = attempt(&scene, &script, "a");
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);

    let mode = |path: &Path| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    };
    mode(&script);
    let busy = OpenOptions::new().append(true).open(&script).unwrap();
    let error = attempt(&scene, &script, "a");
    drop(busy);
    // Kernels 6.11 and 6.12 let a file that is open for writing be executed; this one is no program either.
    assert!(
        error.to_string().contains("open for writing")
            || error.to_string().contains("no interpreter"),
        "{error}"
    );
    // Another test's thread may be about to start a handler with our descriptor still open: until that is over.
    scene.until(|| {
        let error = attempt(&scene, &script, "a");
        error.to_string().contains("names no interpreter")
    });
    std::fs::write(&script, "#!/nowhere/interpreter\n").unwrap();
    scene.until(|| attempt(&scene, &script, "a").kind() == io::ErrorKind::NotFound);

    let program = Path::new("/bin/true");
    let error = attempt(&scene, program, "nul\0");
    assert_eq!(error.to_string(), "an argument holds a NUL byte");
    assert_eq!(
        attempt(&scene, Path::new("bin/true"), "a").kind(),
        io::ErrorKind::InvalidInput
    );
    scene.env.push(("A=B".into(), "c".into()));
    assert_eq!(
        attempt(&scene, program, "a").kind(),
        io::ErrorKind::InvalidInput
    );
    scene.env.pop();
    scene.env.push(("HUGE".into(), "x".repeat(200_000)));
    let error = attempt(&scene, program, "a");
    assert_eq!(error.kind(), io::ErrorKind::ArgumentListTooLong);
    assert!(error.to_string().contains("drop or shorten"), "{error}");
}
