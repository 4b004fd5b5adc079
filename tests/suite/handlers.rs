//! What a handler is started with, whoever the caller is; which files are handlers; what comes of how
//! they end.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::process::Command;

use serde_json::{Value, json};

use crate::stage::{
    Gate, Posting, alive, as_root, as_stranger, install, lines_with, pid_in, put_down, run,
    through, until_gone,
};
use crate::support::{Alert, Answer, Sandbox, chmod, notification, until};

/// Callers that leave behind what would harm a handler: words in front of the executable.
const CALLERS: [(&str, &str); 8] = [
    ("a plain one", r#"exec "$@""#),
    (
        "descriptors 3 to 9 open",
        r#"exec 3</ 4</dev/null 5>/dev/null 6</etc/passwd 7<&0 8>&1 9>&2; exec "$@""#,
    ),
    ("standard error closed", r#"exec 2>&-; exec "$@""#),
    ("mode mask 0", r#"umask 0; exec "$@""#),
    (
        "ignored signals",
        r#"exec env --ignore-signal=PIPE --ignore-signal=CHLD --ignore-signal=TERM --ignore-signal=INT "$@""#,
    ),
    ("blocked signals", r#"exec env --block-signal "$@""#),
    (
        // The one that is free is the dynamic loader's.
        "sixteen descriptors, one of them free",
        r#"ulimit -n 16; exec 3</ 4</ 5</ 6</ 7</ 8</ 9</ 10</ 11</ 12</ 13</ 14</; exec "$@""#,
    ),
    (
        "all of it",
        r#"umask 0; ulimit -n 16; exec 2>&- 3</ 4</ 5</ 6</ 7</ 8</ 9</; cd "$TRAPS"
        exec env --ignore-signal=PIPE --ignore-signal=CHLD --block-signal "$@""#,
    ),
];

/// The executable by way of a caller, with an environment that would run code, or break words apart, in
/// whatever passes it on to a shell.
fn hostile(sandbox: &Sandbox, caller: &str) -> Command {
    let trap = sandbox.write(
        "traps/rc",
        &format!("touch {}\n", sandbox.path("sprung").display()),
    );
    let trap = trap.display();
    let traps = [
        "LD_PRELOAD=/nonexistent/evil.so".to_owned(),
        "LD_LIBRARY_PATH=/nonexistent".to_owned(),
        format!("BASH_ENV={trap}"),
        format!("ENV={trap}"),
        "IFS=/".to_owned(),
        "PS4=$(false)".to_owned(),
        "SHELLOPTS=xtrace".to_owned(),
        format!("BASH_FUNC_echo%%=() {{ . {trap}; }}"),
        "CDPATH=/nonexistent".to_owned(),
        "PATH=/nonexistent".to_owned(),
        "LC_ALL=xx".to_owned(),
        "HEAL_LABEL_planted=1".to_owned(),
        "HEAL_RUN_ID=planted".to_owned(),
    ];
    let mut words = vec!["/bin/bash", "-c", caller, "-", "/usr/bin/env"];
    words.extend(traps.iter().map(String::as_str));
    let mut command = through(sandbox, &words);
    command.env("TRAPS", sandbox.path("traps"));
    command
}

fn with_every_caller(handler: &str, check: impl Fn(&Sandbox, &str)) {
    for (caller, words) in CALLERS {
        let sandbox = Sandbox::new();
        sandbox.write("said", "");
        let said = sandbox.path("said").display().to_string();
        sandbox.handler("Shown", &handler.replace("SAID", &said));
        let answer = Posting::by(hostile(&sandbox, words), &[&shown()]).answer();
        assert_eq!(answer.verdicts(), ["healed"], "{caller}: {}", answer.body);
        check(&sandbox, caller);
        assert!(!sandbox.path("sprung").exists(), "{caller}: code ran");
        assert_eq!(sandbox.read("log/Shown.log"), "", "{caller}: noise");
    }
}

fn shown() -> Alert {
    Alert::firing("Shown", "web-1:9113")
        .label("job name", "a b")
        .label("PATH", "/evil")
        .label("collides.x", "1")
        .label("collides_x", "2")
        .with("startsAt", json!("2026-11-22T12:00:00Z"))
}

#[test]
fn the_environment_is_exactly_the_documented_one_whoever_calls() {
    with_every_caller("cat /proc/$$/environ >SAID\n", |sandbox, caller| {
        let said = sandbox.read("said");
        let said: BTreeMap<&str, &str> = said
            .split_terminator('\0')
            .map(|variable| variable.split_once('=').unwrap())
            .collect();
        let run = sandbox.history()[0]["run_id"].as_str().unwrap().to_owned();
        let passwd = fs::read_to_string("/etc/passwd").unwrap();
        let own = nix::unistd::getuid().to_string();
        let home = passwd
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields[2] == own)
            .map_or("/".to_owned(), |fields| fields[5].to_owned());
        let backup = sandbox.path("backup").display().to_string();
        let fingerprint = shown().fingerprint().to_owned();
        let deadline = said["HEAL_DEADLINE"];
        let expected = BTreeMap::from([
            (
                "PATH",
                "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            ),
            ("HOME", &home),
            ("LANG", "C.UTF-8"),
            ("HEAL_ALERTNAME", "Shown"),
            ("HEAL_INSTANCE", "web-1:9113"),
            ("HEAL_FINGERPRINT", &fingerprint),
            ("HEAL_ATTEMPT", "1"),
            ("HEAL_MAX_ATTEMPTS", "3"),
            ("HEAL_STARTS_AT", "2026-11-22T12:00:00Z"),
            ("HEAL_DEADLINE", deadline),
            ("HEAL_RECEIVER", "self-heal"),
            ("HEAL_GROUP_KEY", "{}/{heal=\"true\"}:{}"),
            ("HEAL_EXTERNAL_URL", "http://am:9093"),
            ("HEAL_GENERATOR_URL", "http://prom:9090/graph"),
            ("HEAL_BACKUP_DIR", &backup),
            ("HEAL_RUN_ID", &run),
            ("HEAL_LABEL_alertname", "Shown"),
            ("HEAL_LABEL_instance", "web-1:9113"),
            ("HEAL_LABEL_heal", "true"),
            ("HEAL_LABEL_job_name", "a b"),
            ("HEAL_LABEL_PATH", "/evil"),
            ("HEAL_ANNOTATION_summary", "it is down"),
        ]);
        assert_eq!(said, expected, "{caller}");
        let deadline: u64 = deadline.parse().unwrap();
        let now = fs::metadata(sandbox.path("said")).unwrap();
        let now = now.modified().unwrap();
        let now = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(
            (now + 180..=now + 240).contains(&deadline),
            "{caller}: {deadline} at {now}"
        );
        let dropped = lines_with(&sandbox.log(), "environment_left_out");
        assert_eq!(dropped, 2, "{caller}: both that collide are named");
    });
}

#[test]
fn descriptors_are_the_three_and_the_lock_whoever_calls() {
    let list = "find /proc/$$/fd -type l -printf '%f %l\\n' >>SAID\n";
    with_every_caller(list, |sandbox, caller| {
        let said = sandbox.read("said");
        let script = sandbox.path("handlers/Shown.sh").display().to_string();
        let mut open: Vec<(u32, &str)> = said
            .lines()
            .map(|line| line.split_once(' ').unwrap())
            // Bash's own.
            .filter(|(_, target)| *target != script)
            .map(|(number, target)| (number.parse().unwrap(), target))
            .collect();
        open.sort_unstable();
        let log = sandbox.path("log/Shown.log").display().to_string();
        let lock = sandbox.path("lock/heal-Shown.lock").display().to_string();
        let targets: Vec<&str> = open.iter().map(|(_, target)| *target).collect();
        assert_eq!(
            targets,
            ["/memfd:alert (deleted)", &log, &log, &lock],
            "{caller}"
        );
        let numbers: Vec<u32> = open.iter().take(3).map(|(number, _)| *number).collect();
        assert_eq!(numbers, [0, 1, 2], "{caller}");
    });
}

#[test]
fn signals_mask_session_and_folder_are_fresh_whoever_calls() {
    let look = "umask >SAID; pwd >>SAID; echo $$ >>SAID; read -ra stat </proc/$$/stat\n\
        echo \"${stat[4]} ${stat[5]}\" >>SAID; exec grep -E '^Sig(Blk|Ign):' /proc/self/status >>SAID\n";
    with_every_caller(look, |sandbox, caller| {
        let said = sandbox.read("said");
        let lines: Vec<&str> = said.lines().collect();
        let pid = lines[2];
        assert_eq!(lines[..2], ["0022", "/"], "{caller}");
        assert_eq!(
            lines[3],
            format!("{pid} {pid}"),
            "{caller}: group and session"
        );
        for (line, name) in lines[4..].iter().zip(["SigBlk:\t", "SigIgn:\t"]) {
            let signals = u64::from_str_radix(line.strip_prefix(name).unwrap(), 16).unwrap();
            // 32 and 33 are the C library's own, and no program can set them: nptl(7).
            assert_eq!(signals & !(0b11 << 31), 0, "{caller}: {line}");
        }
    });
}

#[test]
fn exit_codes_arrive_whoever_calls() {
    for (caller, words) in CALLERS {
        let sandbox = Sandbox::new();
        sandbox.handler("Shown", "exit 7\n");
        let answer = Posting::by(hostile(&sandbox, words), &[&shown()]).answer();
        answer.expect(503, &["failed"]);
        assert_eq!(answer.detail(), "handler exit 7", "{caller}");
    }
}

#[test]
fn with_standard_input_closed_nothing_is_asked_and_nothing_runs() {
    let sandbox = Sandbox::new();
    let output = through(&sandbox, &["/bin/bash", "-c", r#"exec "$@" <&-"#, "-"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
    assert_eq!(sandbox.history(), [] as [Value; 0]);
}

#[test]
fn with_standard_output_closed_the_alert_is_healed_all_the_same() {
    let sandbox = Sandbox::new();
    sandbox.handler("Shown", "echo heard\n");
    let command = through(&sandbox, &["/bin/bash", "-c", r#"exec "$@" >&-"#, "-"]);
    let output = Posting::by(command, &[&shown()]).output();
    assert_eq!(output.stdout, b"");
    assert_eq!(sandbox.history()[1]["outcome"], "healed");
    assert_eq!(sandbox.read("log/Shown.log"), "heard\n");
}

#[test]
fn the_arguments_are_instance_alertname_fingerprint() {
    let sandbox = Sandbox::new();
    sandbox.handler("Shown", "printf '<%s>' \"$#\" \"$@\"\n");
    let instance = "web-1$(touch<x)';*\"\\";
    let alert = Alert::firing("Shown", instance);
    sandbox.post(&alert).expect(200, &["healed"]);
    let expected = format!("<3><{instance}><Shown><{}>", alert.fingerprint());
    assert_eq!(sandbox.read("log/Shown.log"), expected);
}

#[test]
fn standard_input_is_the_whole_alert_with_its_group_and_can_be_read_again() {
    let sandbox = Sandbox::new();
    let twice = "local $/; my $a = <STDIN>; seek(STDIN, 0, 0) or die; my $b = <STDIN>;\n\
        print $a; exit($a eq $b && length $a ? 0 : 9);\n";
    sandbox.script(
        "handlers/Shown.sh",
        &format!("#!/usr/bin/perl\nuse strict;\n{twice}"),
    );
    let alert = shown().with("unknownField", json!({"kept": [1, 2.50, null]}));
    let other = Alert::firing("Other", "web-2");
    let answer = sandbox.post_all(&[&alert, &other]);
    answer.expect(200, &["healed", "no-handler"]);
    let mut expected = notification(&[]);
    expected.as_object_mut().unwrap().remove("alerts");
    expected["alert"] = alert.json().clone();
    let said: Value = serde_json::from_str(&sandbox.read("log/Shown.log")).unwrap();
    assert_eq!(said, expected);
}

#[test]
fn a_megabyte_of_alert_that_nobody_reads_blocks_nothing() {
    let sandbox = Sandbox::new();
    sandbox.handler("Shown", "exec true\n");
    let large = shown().with("annotations", json!({"text": "x".repeat(1 << 20)}));
    sandbox.post(&large).expect(200, &["healed"]);
}

#[test]
fn both_outputs_are_appended_to_the_handlers_log() {
    let sandbox = Sandbox::new();
    sandbox.handler("Shown", "echo one; echo two >&2; exit 1\n");
    for _ in 0..2 {
        sandbox.post(&shown()).expect(503, &["failed"]);
    }
    assert_eq!(sandbox.read("log/Shown.log"), "one\ntwo\none\ntwo\n");
}

#[test]
fn shebang_ignored() {
    let sandbox = Sandbox::new();
    sandbox.script(
        "handlers/Snake.sh",
        "#!/usr/bin/env python3\nimport sys\nprint('python', sys.argv[1])\n",
    );
    let alert = Alert::firing("Snake", "web-1");
    sandbox.post(&alert).expect(200, &["healed"]);
    assert_eq!(sandbox.read("log/Snake.log"), "python web-1\n");
}

#[test]
fn without_a_shebang_bash_runs_it() {
    let sandbox = Sandbox::new();
    sandbox.script(
        "handlers/Plain.sh",
        "[[ $BASH && ${a[0]-x} ]] && echo \"$BASH $2\"\n",
    );
    let alert = Alert::firing("Plain", "web-1");
    sandbox.post(&alert).expect(200, &["healed"]);
    assert_eq!(sandbox.read("log/Plain.log"), "/bin/bash Plain\n");
}

#[test]
fn programs_and_scripts_without_an_ending_are_handlers_and_the_script_with_one_comes_first() {
    let sandbox = Sandbox::new();
    let place = |name: &str| sandbox.path(&format!("handlers/{name}"));
    install("/bin/true".as_ref(), &place("Works"), "755");
    install("/bin/false".as_ref(), &place("Fails"), "755");
    install("/bin/false".as_ref(), &place("Both"), "755");
    sandbox.handler("Both", "exit 0\n");
    sandbox.script("handlers/Pearl", "#!/usr/bin/perl\nexit 75;\n");
    for (name, code, verdict) in [
        ("Works", 200, "healed"),
        ("Fails", 503, "failed"),
        ("Both", 200, "healed"),
        ("Pearl", 503, "deferred"),
    ] {
        let alert = Alert::firing(name, "web-1");
        sandbox.post(&alert).expect(code, &[verdict]);
    }
}

#[test]
fn one_file_does_not_answer_to_two_names() {
    let sandbox = Sandbox::new();
    let ran = sandbox.path("ran").display().to_string();
    sandbox.handler("Real", &format!("touch {ran}\n"));
    sandbox.script(
        "handlers/Real.restored",
        &format!("#!/bin/bash\ntouch {ran}\n"),
    );
    for name in ["Real.sh", "Real.restored"] {
        let alert = Alert::firing(name, "web-1");
        sandbox.post(&alert).expect(200, &["no-handler"]);
    }
    assert!(!sandbox.path("ran").exists());
}

#[test]
fn each_ending_has_its_verdict_and_its_code() {
    let cases = [
        ("exit 0", 200, "healed", "handler exit 0", "healed"),
        (
            "exit 2",
            200,
            "gave-up",
            "handler exit 2; breaker opened: the handler asked for a person (exit 2)",
            "gave-up",
        ),
        ("exit 75", 503, "deferred", "handler exit 75", "deferred"),
        ("exit 1", 503, "failed", "handler exit 1", "failed"),
        ("exit 255", 503, "failed", "handler exit 255", "failed"),
        (
            "kill -SEGV $$",
            503,
            "failed",
            "handler ended by signal 11",
            "signal",
        ),
        (
            "kill -KILL $$",
            503,
            "failed",
            "handler ended by signal 9",
            "signal",
        ),
    ];
    for (body, code, verdict, detail, outcome) in cases {
        for always in [false, true] {
            let sandbox = Sandbox::new();
            if always {
                sandbox.set("HEAL_UNSETTLED_STATUS", "200");
            }
            sandbox.handler("Ends", &format!("{body}\n"));
            let answer = sandbox.post(&Alert::firing("Ends", "web-1"));
            answer.expect(if always { 200 } else { code }, &[verdict]);
            let result = &answer.json()["results"][0];
            assert_eq!(result["detail"], detail, "{body}");
            assert_eq!(result["settled"], code == 200, "{body}");
            assert_eq!(result["attempt"], 1, "{body}");
            let retry = answer
                .header("retry-after")
                .map(|value| value.parse::<u32>().unwrap());
            assert_eq!(retry.is_some(), answer.code == 503, "{body}");
            let line = sandbox.history().pop().unwrap();
            assert_eq!(line["outcome"], outcome, "{body}");
            assert_eq!(line["verdict"], verdict, "{body}");
            let series =
                format!("self_heal_runs_total{{alertname=\"Ends\",outcome=\"{outcome}\"}}");
            assert_eq!(sandbox.metric(&series), 1.0, "{body}");
        }
    }
}

#[test]
fn exit_two_opens_the_breaker_at_once_and_tells_a_person_once() {
    let sandbox = Sandbox::new();
    sandbox.handler("Ends", "exit 2\n");
    let alert = Alert::firing("Ends", "web-1");
    sandbox.post(&alert).expect(200, &["gave-up"]);
    sandbox.post(&alert).expect(200, &["tripped"]);
    sandbox.post(&alert).expect(200, &["tripped"]);
    assert_eq!(sandbox.runs("Ends"), 1);
    let told = lines_with(&sandbox.log(), "[ERROR] escalation ");
    assert_eq!(told, 1, "{}", sandbox.log());
}

#[test]
fn exit_seventy_five_counts_nowhere() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_MAX_ATTEMPTS", "1");
    sandbox.set("HEAL_RUN_LIMITS", "1/1h");
    sandbox.set("HEAL_STORM_LIMIT", "1/1h");
    sandbox.handler("Ends", "echo \"$HEAL_ATTEMPT\"; exit 75\n");
    for _ in 0..3 {
        let answer = sandbox.post(&Alert::firing("Ends", "web-1"));
        answer.expect(503, &["deferred"]);
    }
    assert_eq!(sandbox.read("log/Ends.log"), "1\n1\n1\n");
}

/// A handler that runs past its timeout and leaves processes behind everywhere.
fn scattering(sandbox: &Sandbox, preamble: &str) {
    let at = |name: &str| sandbox.path(name).display().to_string();
    let body = format!(
        "# self-heal: timeout=1s\n{preamble}\n\
         sleep 1000 & echo $! >{group}\n\
         setsid bash -c 'echo $$ >{session}; exec sleep 1000' &\n\
         (setsid env -i bash -c 'echo $$ >{orphan}; exec sleep 1000' &)\n\
         echo $$ >{leader}\nwhile :; do sleep 1000; done\n",
        group = at("group"),
        session = at("session"),
        orphan = at("orphan"),
        leader = at("leader"),
    );
    sandbox.handler("Hangs", &body);
}

fn nothing_is_left(sandbox: &Sandbox) {
    for name in ["group", "session", "orphan", "leader"] {
        // Killed it was; to be gone, a busy machine may take its time.
        until_gone(pid_in(&sandbox.path(name)));
    }
}

#[test]
fn no_timeout() {
    let sandbox = Sandbox::new();
    scattering(&sandbox, "");
    let answer = sandbox.post(&Alert::firing("Hangs", "web-1"));
    answer.expect(503, &["failed"]);
    assert_eq!(answer.detail(), "handler ended past its timeout");
    assert_eq!(sandbox.history()[1]["outcome"], "timeout");
    nothing_is_left(&sandbox);
}

#[test]
fn a_handler_that_ignores_term_is_killed_after_the_grace() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_KILL_GRACE", "1s");
    scattering(&sandbox, "trap '' TERM");
    let answer = sandbox.post(&Alert::firing("Hangs", "web-1"));
    answer.expect(503, &["failed"]);
    nothing_is_left(&sandbox);
}

#[test]
fn term_comes_first_and_the_handler_may_clean_up() {
    let sandbox = Sandbox::new();
    let tidy = format!(
        "trap 'sleep 0.5; touch {}; exit 0' TERM",
        sandbox.path("tidied").display()
    );
    sandbox.set("HEAL_KILL_GRACE", "1m");
    scattering(&sandbox, &tidy);
    let answer = sandbox.post(&Alert::firing("Hangs", "web-1"));
    // Exit 0 upon being told to end is no heal.
    answer.expect(503, &["failed"]);
    assert_eq!(answer.detail(), "handler ended past its timeout");
    assert!(sandbox.path("tidied").exists());
    nothing_is_left(&sandbox);
}

#[test]
fn daemon_keeps_lock() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_SETTLE", "0");
    let pids = sandbox.path("pids").display().to_string();
    sandbox.handler(
        "Starts",
        &format!("setsid sleep 1000 & echo $! >>{pids}; sleep 1000 & echo $! >>{pids}\n"),
    );
    let alert = Alert::firing("Starts", "web-1");
    sandbox.post(&alert).expect(200, &["healed"]);
    let pids: Vec<i32> = sandbox
        .read("pids")
        .lines()
        .map(|pid| pid.parse().unwrap())
        .collect();
    let lock = sandbox.path("lock/heal-Starts.lock");
    for pid in &pids {
        assert!(alive(*pid), "what a handler starts lives on");
        let open = run(Command::new("find")
            .args([&format!("/proc/{pid}/fd"), "-lname"])
            .arg(&lock));
        assert_ne!(open, "", "it holds the descriptor, or nothing is tested");
    }
    run(Command::new("flock").arg("-n").arg(&lock).arg("true"));
    sandbox.post(&alert).expect(200, &["healed"]);
    assert!(pids.iter().all(|pid| alive(*pid)));
    for pid in sandbox.read("pids").lines() {
        put_down(pid.parse().unwrap());
    }
}

/// One way to make a handler unsafe, and a word of the reason given.
type Spoil = (fn(&Sandbox), &'static str);

/// Each is refused as `unsafe-handler`, 200, with its reason in the answer, in the log and in `/-/ready`;
/// nothing runs.
fn are_refused(cases: &[Spoil]) {
    for (spoil, reason) in cases {
        let sandbox = Sandbox::new();
        let ran = sandbox.path("ran").display().to_string();
        sandbox.handler("Open", &format!("touch {ran}\n"));
        assert_eq!(sandbox.get("/-/ready").code, 200, "{reason}: to begin with");
        spoil(&sandbox);
        let answer = sandbox.post(&Alert::firing("Open", "web-1"));
        answer.expect(200, &["unsafe-handler"]);
        assert!(
            answer.detail().contains(reason),
            "{reason}: {}",
            answer.body
        );
        assert!(!sandbox.path("ran").exists(), "{reason}");
        assert_eq!(lines_with(&sandbox.log(), "[ERROR] alert "), 1, "{reason}");
        let ready = sandbox.get("/-/ready");
        assert_eq!(ready.code, 503, "{reason}: {}", ready.body);
        assert!(ready.body.contains(reason), "{reason}: {}", ready.body);
    }
}

/// Replaces the handler by one with these lines on top.
fn topped(sandbox: &Sandbox, lines: &str) {
    let ran = sandbox.path("ran").display().to_string();
    sandbox.handler("Open", &format!("{lines}\ntouch {ran}\n"));
}

#[test]
fn a_handler_that_others_could_change_is_unsafe() {
    are_refused(&[
        (
            |s| chmod(&s.path("handlers/Open.sh"), 0o775),
            "Open.sh is writable by group or others (mode 0775)",
        ),
        (
            |s| chmod(&s.path("handlers/Open.sh"), 0o757),
            "Open.sh is writable by group or others (mode 0757)",
        ),
        (
            |s| chmod(&s.path("handlers"), 0o775),
            "handlers is writable by group or others",
        ),
        (
            |s| {
                fs::create_dir(s.path("handlers/deep")).unwrap();
                chmod(&s.path("handlers/deep"), 0o777);
                fs::rename(s.path("handlers/Open.sh"), s.path("handlers/deep/x")).unwrap();
                symlink("deep/x", s.path("handlers/Open.sh")).unwrap();
            },
            "deep is writable by group or others",
        ),
    ]);
}

#[test]
fn a_folder_on_the_way_that_others_may_write_to_makes_a_handler_unsafe() {
    let sandbox = Sandbox::new();
    sandbox.handler("Open", "true\n");
    fs::create_dir(sandbox.path("way")).unwrap();
    fs::rename(sandbox.path("handlers"), sandbox.path("way/handlers")).unwrap();
    let moved = sandbox.path("way/handlers").display().to_string();
    sandbox.set("HEAL_HANDLER_DIR", &moved);
    chmod(&sandbox.path("way"), 0o757);
    let answer = sandbox.post(&Alert::firing("Open", "web-1"));
    answer.expect(200, &["unsafe-handler"]);
    assert!(
        answer.detail().contains("way is writable"),
        "{}",
        answer.body
    );
    chmod(&sandbox.path("way"), 0o755);
    let answer = sandbox.post(&Alert::firing("Open", "web-1"));
    answer.expect(200, &["healed"]);
}

#[test]
fn a_handler_of_another_account_is_unsafe() {
    as_root();
    are_refused(&[
        (
            |s| {
                let file = s.path("handlers/Open.sh");
                std::os::unix::fs::chown(file, Some(65534), None).unwrap();
            },
            "belongs to uid 65534",
        ),
        (
            |s| {
                std::os::unix::fs::chown(s.path("handlers"), Some(65534), None).unwrap();
            },
            "belongs to uid 65534",
        ),
    ]);
    // An ordinary account trusts root and itself.
    let sandbox = Sandbox::new();
    let alert = Alert::firing("Open", "web-1");
    sandbox.handler("Open", "id -u\n");
    let answer = Posting::by(as_stranger(&sandbox), &[&alert]).answer();
    answer.expect(200, &["healed"]);
    assert_eq!(sandbox.read("log/Open.log"), "61743\n");
    std::os::unix::fs::chown(sandbox.path("handlers/Open.sh"), Some(65534), None).unwrap();
    let answer = Posting::by(as_stranger(&sandbox), &[&alert]).answer();
    answer.expect(200, &["unsafe-handler"]);
}

#[test]
fn what_is_no_proper_file_is_unsafe() {
    are_refused(&[
        (
            |s| chmod(&s.path("handlers/Open.sh"), 0o644),
            "is not executable",
        ),
        (
            |s| chmod(&s.path("handlers/Open.sh"), 0o4755),
            "has a set-id bit",
        ),
        (
            |s| chmod(&s.path("handlers/Open.sh"), 0o2755),
            "has a set-id bit",
        ),
        (
            |s| {
                s.script("handlers/Open.sh", "");
            },
            "is empty",
        ),
        (
            |s| {
                fs::rename(s.path("handlers/Open.sh"), s.path("elsewhere")).unwrap();
                symlink("../elsewhere", s.path("handlers/Open.sh")).unwrap();
            },
            "leads out of the handler folder",
        ),
        (
            |s| {
                fs::remove_file(s.path("handlers/Open.sh")).unwrap();
                symlink("/nonexistent", s.path("handlers/Open.sh")).unwrap();
            },
            "No such file",
        ),
    ]);
}

#[test]
fn a_folder_in_place_of_a_handler_is_unsafe() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("handlers/Open.sh")).unwrap();
    chmod(&sandbox.path("handlers/Open.sh"), 0o755);
    let answer = sandbox.post(&Alert::firing("Open", "web-1"));
    answer.expect(200, &["unsafe-handler"]);
    assert!(
        answer.detail().contains("is not a regular file"),
        "{}",
        answer.body
    );
}

#[test]
fn directives_are_never_ignored_silently() {
    are_refused(&[
        (
            |s| topped(s, "# self-heal: timeout=soon"),
            "line 2: timeout",
        ),
        (|s| topped(s, "# self-heal: timeout=0"), "line 2: timeout"),
        (|s| topped(s, "# self-heal: tiemout=5s"), "tiemout"),
        (|s| topped(s, "# self-heal: lock"), "key=value"),
        (|s| topped(s, "# self-heal: lock=host"), "lock"),
        (|s| topped(s, "# self-heal:"), "no directive"),
        (|s| topped(s, "#Self-Heal: lock=alert"), "spelled exactly"),
        (
            |s| topped(s, "# self-heal: settle=1m\n# self-heal: settle=1m"),
            "line 3: settle is given twice",
        ),
        (
            |s| topped(s, "set -e\n# self-heal: timeout=5s"),
            "line 3: a self-heal directive after the first command",
        ),
        (|s| topped(s, "# self-heal: max-attempts=0"), "max-attempts"),
    ]);
}

#[test]
fn a_link_that_stays_in_the_folder_is_followed() {
    let sandbox = Sandbox::new();
    sandbox.handler("Real", "echo \"$0 $HEAL_ALERTNAME\"\n");
    symlink("Real.sh", sandbox.path("handlers/Alias.sh")).unwrap();
    let alert = Alert::firing("Alias", "web-1");
    sandbox.post(&alert).expect(200, &["healed"]);
    let real = sandbox.path("handlers/Real.sh");
    assert_eq!(
        sandbox.read("log/Alias.log"),
        format!("{} Alias\n", real.display())
    );
}

/// Two alerts of one name, the second posted while the first one's handler waits: what the second
/// gets. With a free lock it waits at the gate as well.
fn second_of_two(directive: &str, instances: [&str; 2]) -> (Answer, usize) {
    let sandbox = Sandbox::new();
    let gate = Gate::new(&sandbox, "gate");
    sandbox.handler("Pair", &format!("{directive}\n{}", gate.line()));
    let [one, other] = instances.map(|instance| Alert::firing("Pair", instance));
    let other = other.with("fingerprint", json!("00000000000000ff"));
    let first = Posting::begin(&sandbox, &[&one]);
    gate.wait_for(1);
    let second = Posting::begin(&sandbox, &[&other]);
    // It arrives as well, or it is refused.
    until("the second one arrives or is refused", || {
        let refused = lines_with(&sandbox.log(), "verdict=busy") == 1;
        (refused || gate.arrived().len() == 2).then_some(())
    });
    let together = gate.arrived().len();
    gate.open();
    first.answer().expect(200, &["healed"]);
    let answer = second.answer();
    if together == 1 {
        sandbox.post(&other).expect(200, &["healed"]);
    }
    (answer, together)
}

#[test]
fn two_instances_of_one_alertname_run_one_after_another() {
    let (answer, together) = second_of_two("", ["web-1", "web-2"]);
    assert_eq!(together, 1);
    answer.expect(503, &["busy"]);
}

#[test]
fn with_lock_instance_two_instances_run_at_once() {
    let (answer, together) = second_of_two("# self-heal: lock=instance", ["web-1", "web-2"]);
    assert_eq!(together, 2);
    answer.expect(200, &["healed"]);
}

#[test]
fn with_lock_instance_one_instance_has_one_run_at_a_time() {
    let (answer, together) = second_of_two("# self-heal: lock=instance", ["web-1", "web-1"]);
    assert_eq!(together, 1);
    answer.expect(503, &["busy"]);
}

#[test]
fn whoever_holds_the_lock_of_the_alertname_holds_every_instance_back() {
    let sandbox = Sandbox::new();
    sandbox.handler("Pair", "# self-heal: lock=instance\n");
    let held = File::create(sandbox.path("lock/heal-Pair.lock")).unwrap();
    held.lock().unwrap();
    let alert = Alert::firing("Pair", "web-1");
    sandbox.post(&alert).expect(503, &["busy"]);
    held.unlock().unwrap();
    sandbox.post(&alert).expect(200, &["healed"]);
}

#[test]
fn the_directive_timeout_wins_over_the_configuration() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_HANDLER_TIMEOUT", "24h");
    sandbox.handler("Own", "# self-heal: timeout=1s\nexec sleep 1000\n");
    let answer = sandbox.post(&Alert::firing("Own", "web-1"));
    answer.expect(503, &["failed"]);
    assert_eq!(sandbox.history()[0]["timeout_ms"], 1000);
}

#[test]
fn the_directive_settle_wins_over_the_configuration() {
    let sandbox = Sandbox::new();
    sandbox.set("HEAL_SETTLE", "1h");
    sandbox.handler("Own", "# self-heal: settle=0\n");
    sandbox.handler("Usual", "true\n");
    for (name, second) in [("Own", "healed"), ("Usual", "settling")] {
        let alert = Alert::firing(name, "web-1");
        sandbox.post(&alert).expect(200, &["healed"]);
        sandbox.post(&alert).expect(200, &[second]);
    }
}

#[test]
fn the_directives_max_attempts_and_retry_delay_win_over_the_configuration() {
    let sandbox = Sandbox::new();
    let fails = "echo \"$HEAL_MAX_ATTEMPTS\"; exit 1\n";
    sandbox.handler("Once", &format!("# self-heal: max-attempts=1\n{fails}"));
    sandbox.handler(
        "Slow",
        &format!("#\n\n#   self-heal:  retry-delay=1h\tmax-attempts=2\n{fails}"),
    );
    sandbox.handler("Usual", fails);
    for (name, said, verdicts) in [
        ("Once", "1\n", [(200, "tripped"), (200, "tripped")]),
        ("Slow", "2\n", [(503, "failed"), (503, "waiting")]),
        ("Usual", "3\n3\n", [(503, "failed"), (503, "failed")]),
    ] {
        for (code, verdict) in verdicts {
            let alert = Alert::firing(name, "web-1");
            sandbox.post(&alert).expect(code, &[verdict]);
        }
        assert_eq!(sandbox.read(&format!("log/{name}.log")), said);
    }
}
