//! Completion: what is offered, and that bash, zsh and fish put it into the line, colons, brackets and all.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::{Alert, PROGRAM, PROJECT, Sandbox, chmod};

const SHELLS: [(&str, &str); 3] = [
    ("bash", "self-heal.bash"),
    ("zsh", "_self-heal"),
    ("fish", "self-heal.fish"),
];

/// Handlers, and records of what they were run for.
fn healed() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("allowed.txt", "web-*\n[fd00::7]:9100\n");
    for (name, instance) in [
        ("NginxDown", "web-1:9113"),
        ("NginxDown", "web-$(id)"),
        ("NginxDown", "web-;id"),
        ("DiskFull", "[fd00::7]:9100"),
    ] {
        sandbox.handler(name, "exit 0\n");
        let answer = sandbox.post(&Alert::firing(name, instance));
        answer.expect(200, &["healed"]);
    }
    sandbox
}

fn offered(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let output = sandbox.operate(&[&["completions", "for"], words].concat());
    assert_eq!(output.status.code(), Some(0), "{words:?}: {output:?}");
    assert!(output.stderr.is_empty(), "{words:?}: {output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn the_shipped_scripts_are_what_is_printed() {
    let sandbox = Sandbox::new();
    for (shell, file) in SHELLS {
        let output = sandbox.operate(&["completions", shell]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let shipped = fs::read(Path::new(PROJECT).join("deploy/completions").join(file)).unwrap();
        assert!(output.stdout == shipped, "{shell}");
    }
    for (args, why) in [
        (&["completions"][..], "say for which shell: bash, zsh, fish"),
        (
            &["completions", "tcsh"],
            "no script for \"tcsh\"; say for which shell: bash, zsh, fish",
        ),
        (
            &["completions", "bash", "zsh"],
            "unexpected argument \"zsh\"",
        ),
    ] {
        let output = sandbox.operate(args);
        assert_eq!(output.status.code(), Some(100), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        let line = format!("self-heal completions: {why} (see: self-heal help completions)\n");
        assert_eq!(said, line);
    }
}

#[test]
fn names_of_this_machine_are_offered_and_none_that_a_shell_would_run() {
    let sandbox = healed();
    assert_eq!(
        offered(&sandbox, &["pause", "--alert", ""]),
        ["DiskFull", "NginxDown"]
    );
    let outcomes = offered(&sandbox, &["history", "--outcome", ""]);
    for word in [
        "healed", "gave-up", "timeout", "observed", "verified", "running", "reset",
    ] {
        let found = outcomes
            .iter()
            .find(|line| line.starts_with(&format!("{word}\t")));
        assert!(found.is_some(), "{word}: {outcomes:?}");
    }
    assert_eq!(offered(&sandbox, &["reset", "N"]), ["NginxDown"]);
    assert_eq!(
        offered(&sandbox, &["reset", "NginxDown", ""]),
        ["web-1:9113"]
    );
    assert_eq!(
        offered(&sandbox, &["pause", "--instance", ""]),
        ["[fd00::7]:9100", "web-1:9113"]
    );
    let keys = offered(&sandbox, &["reset", "--key", ""]);
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert!(
        keys.iter()
            .any(|line| line.ends_with("\tNginxDown on web-1:9113")),
        "{keys:?}"
    );
    assert_eq!(
        offered(&sandbox, &["dr"]),
        ["drain\tdeliver the pages that wait in the spool"]
    );
    assert!(offered(&sandbox, &["drain", "--retry", ""]).is_empty());
    sandbox.recorder();
    sandbox.handler("NginxDown", "exit 2\n");
    sandbox.set("HEAL_SETTLE", "0");
    let again = sandbox.post(&Alert::firing("NginxDown", "web-2"));
    again.expect(200, &["gave-up"]);
    let events = offered(&sandbox, &["drain", "--retry", ""]);
    assert_eq!(events.len(), 1, "{events:?}");
    assert!(events[0].contains("-t-"), "{events:?}");
    assert_eq!(offered(&sandbox, &["drain", "--forget", ""]), ["recorder"]);
}

#[test]
fn nothing_is_offered_where_nothing_can_be_known_and_nothing_is_made() {
    let sandbox = Sandbox::new();
    fs::remove_dir(sandbox.path("state")).unwrap();
    sandbox.handler("NginxDown", "exit 0\n");
    assert_eq!(offered(&sandbox, &["reset", ""]), ["NginxDown"]);
    for words in [
        &["reset", "NginxDown", ""][..],
        &["reset", "--key", ""],
        &["drain", "--retry", ""],
        &["drain", "--forget", ""],
    ] {
        assert!(offered(&sandbox, words).is_empty(), "{words:?}");
    }
    assert!(!sandbox.path("state").exists());
    sandbox.set("HEAL_NONSENSE", "1");
    assert!(offered(&sandbox, &["reset", ""]).is_empty());
    assert!(!offered(&sandbox, &["re"]).is_empty());
}

/// A user without rights is offered the handlers, and nothing that only the healer may read.
#[test]
fn a_stranger_is_offered_what_he_may_read() {
    let sandbox = healed();
    chmod(&sandbox.path("state"), 0o700);
    let program = sandbox.path("self-heal");
    fs::copy(PROGRAM, &program).unwrap();
    let ask = |words: &[&str]| -> Output {
        let output = Command::new(&program)
            .args(["completions", "for"])
            .args(words)
            .env_clear()
            .env("HEAL_CONF", sandbox.path("self-heal.conf"))
            .uid(65534)
            .gid(65534)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        output
    };
    assert_eq!(ask(&["reset", ""]).stdout, b"DiskFull\nNginxDown\n");
    assert_eq!(ask(&["reset", "NginxDown", ""]).stdout, b"");
}

/// A shell at a terminal. The lines that it runs show what `self-heal` would have been given.
struct Typist {
    shell: Child,
    heard: Vec<u8>,
}

const PROMPT: &str = "READY> ";

/// Stands for the program in the line; what completes calls the real one.
const SHOW: &str = r#"self-heal() { printf '<%s>' "$@"; echo; }"#;

impl Typist {
    fn at(sandbox: &Sandbox, shell: &str, setup: &[&str]) -> Typist {
        let bin = sandbox.path("bin");
        fs::create_dir_all(&bin).unwrap();
        std::os::unix::fs::symlink(PROGRAM, bin.join("self-heal")).unwrap();
        // A shell that waits for something else than the test thinks is ended.
        let mut command = Command::new("timeout");
        command
            .args(["120", "script", "-q", "-e", "-c", shell, "/dev/null"])
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", sandbox.path(""))
            .env("HEAL_CONF", sandbox.path("self-heal.conf"))
            .env("TERM", "dumb")
            .env("LC_ALL", "C.UTF-8")
            .current_dir(sandbox.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let shell = command.spawn().unwrap();
        let mut typist = Typist {
            shell,
            heard: Vec::new(),
        };
        // In pieces, so that the line that sets the prompt is not taken for it.
        typist.send("PS1='RE''ADY> '\n");
        typist.until(PROMPT);
        for line in setup.iter().chain(&[SHOW]) {
            typist.run(line);
        }
        typist
    }

    fn send(&mut self, text: &str) {
        let stdin = self.shell.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Reads until this is heard, or the shell has ended; what was heard up to there.
    fn until(&mut self, mark: &str) -> String {
        let mut byte = [0];
        loop {
            let text = String::from_utf8_lossy(&self.heard).into_owned();
            if text.ends_with(mark) {
                self.heard.clear();
                return text;
            }
            let more = self.shell.stdout.as_mut().unwrap().read(&mut byte).unwrap();
            assert!(more == 1, "the shell ended: {text}");
            self.heard.extend(byte);
        }
    }

    fn run(&mut self, line: &str) -> String {
        self.send(&format!("{line}\n"));
        self.until(PROMPT)
    }

    /// The words that the line has after a tab.
    #[track_caller]
    fn completes(&mut self, typed: &str, words: &[&str]) {
        let said = self.run(&format!("{typed}\t"));
        let want: String = words.iter().map(|word| format!("<{word}>")).collect();
        assert!(
            said.lines().any(|line| line.trim_end() == want),
            "{typed}: {want} is not in {said:?}"
        );
    }
}

impl Drop for Typist {
    fn drop(&mut self) {
        // timeout(1) passes it on, and script(1) ends its shell.
        let _ = kill(Pid::from_raw(self.shell.id() as i32), Signal::SIGTERM);
        let _ = self.shell.wait();
    }
}

/// What every shell puts into the line.
fn typed_in(shell: &mut Typist) {
    shell.completes("self-heal dr", &["drain"]);
    shell.completes("self-heal drain --li", &["drain", "--list"]);
    shell.completes("self-heal pause --al", &["pause", "--alert"]);
    shell.completes(
        "self-heal pause --reason 'new certificates' --alert Ngi",
        &[
            "pause",
            "--reason",
            "new certificates",
            "--alert",
            "NginxDown",
        ],
    );
    shell.completes(
        "self-heal resume --alert=Ngi",
        &["resume", "--alert=NginxDown"],
    );
    shell.completes("self-heal help vers", &["help", "version"]);
    for typed in ["", "w", "web-1:", "web-1:91"] {
        let line = format!("self-heal reset NginxDown {typed}");
        shell.completes(&line, &["reset", "NginxDown", "web-1:9113"]);
    }
    shell.completes(
        "self-heal reset DiskFull ",
        &["reset", "DiskFull", "[fd00::7]:9100"],
    );
    shell.completes("self-heal reset Nothing x", &["reset", "Nothing", "x"]);
}

#[test]
fn bash_completes_at_a_terminal() {
    let sandbox = healed();
    let script = format!(". {PROJECT}/deploy/completions/self-heal.bash");
    let setup = ["bind 'set enable-bracketed-paste off'", &script];
    let mut bash = Typist::at(&sandbox, "bash --norc --noprofile -i", &setup);
    assert!(
        bash.run("complete -p self-heal")
            .contains("complete -F _self_heal self-heal")
    );
    typed_in(&mut bash);
    bash.completes(
        "self-heal pause --instance=web-1:",
        &["pause", "--instance=web-1:9113"],
    );
    // Words that readline does not break at colons.
    bash.run("COMP_WORDBREAKS=${COMP_WORDBREAKS//[:=]}");
    typed_in(&mut bash);
}

#[test]
fn zsh_completes_at_a_terminal() {
    let sandbox = healed();
    let path = format!("fpath=({PROJECT}/deploy/completions $fpath)");
    let setup = [
        "unsetopt prompt_cr prompt_sp",
        &path,
        "autoload -Uz compinit",
        "compinit -u -D",
    ];
    let mut zsh = Typist::at(&sandbox, "zsh -f -i", &setup);
    typed_in(&mut zsh);
    zsh.completes(
        "self-heal pause --instance=web-1:",
        &["pause", "--instance=web-1:9113"],
    );
}

#[test]
fn fish_completes() {
    let sandbox = healed();
    let bin = sandbox.path("bin");
    fs::create_dir(&bin).unwrap();
    std::os::unix::fs::symlink(PROGRAM, bin.join("self-heal")).unwrap();
    let complete = |line: &str| {
        let output = Command::new("fish")
            .args(["--no-config", "-c"])
            .arg(format!(
                "source {PROJECT}/deploy/completions/self-heal.fish; complete -C '{line}'"
            ))
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .env("HOME", sandbox.path(""))
            .env("HEAL_CONF", sandbox.path("self-heal.conf"))
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|e| panic!("fish: {e}: tests/run.sh packages installs it"));
        assert!(output.stderr.is_empty(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let words = text.lines().map(|line| line.split('\t').next().unwrap());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(complete("self-heal dr"), ["drain"]);
    assert_eq!(complete("self-heal drain --li"), ["--list"]);
    assert_eq!(complete("self-heal pause --alert N"), ["NginxDown"]);
    assert_eq!(
        complete("self-heal resume --alert=N"),
        ["--alert=NginxDown"]
    );
    assert_eq!(complete("self-heal reset NginxDown "), ["web-1:9113"]);
    assert_eq!(complete("self-heal reset NginxDown web-1:"), ["web-1:9113"]);
    assert_eq!(complete("self-heal reset DiskFull "), ["[fd00::7]:9100"]);
    assert_eq!(complete("self-heal nonsense "), [""; 0]);
}

#[test]
fn the_scripts_are_scripts_of_their_shells() {
    for (shell, file) in SHELLS {
        let checked = Command::new(shell)
            .arg("-n")
            .arg(Path::new(PROJECT).join("deploy/completions").join(file))
            .output()
            .unwrap_or_else(|e| panic!("{shell}: {e}: tests/run.sh packages installs it"));
        assert!(
            checked.status.success() && checked.stderr.is_empty(),
            "{shell}: {checked:?}"
        );
    }
}
