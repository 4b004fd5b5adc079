//! What several subjects need: requests that are under way, handlers that wait at a gate, processes to
//! watch, callers of every kind.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::statvfs::fstatvfs;
use nix::unistd::{Pid, geteuid};
use serde_json::Value;

use crate::support::{Alert, Answer, Sandbox, chmod, notification, request, until};

/// An account, and a group, that nothing else on the machine has.
pub const STRANGER: u32 = 61_743;

/// Some tests give files away, mount file systems or become another account.
pub fn as_root() {
    assert!(geteuid().is_root(), "this test has to be run as root");
}

/// A request whose answer is not there yet.
pub struct Posting(Child);

impl Posting {
    pub fn begin(sandbox: &Sandbox, alerts: &[&Alert]) -> Posting {
        Posting::by(sandbox.command(), alerts)
    }

    /// By this command, which the three pipes are added to.
    pub fn by(mut command: Command, alerts: &[&Alert]) -> Posting {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let body = notification(alerts).to_string();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(&request(&body)).unwrap();
        Posting(child)
    }

    /// By way of strace(1): back once it has tried a lock in vain, again and again.
    pub fn that_waits(sandbox: &Sandbox, alert: &Alert) -> Posting {
        let trace = sandbox.path("trace").display().to_string();
        let strace = ["strace", "-f", "-e", "trace=flock", "-o", &trace];
        let posting = Posting::by(through(sandbox, &strace), &[alert]);
        until("it tries the lock again and again", || {
            let trace = fs::read_to_string(&trace).ok()?;
            (lines_with(&trace, "EAGAIN") > 2).then_some(())
        });
        posting
    }

    pub fn pid(&self) -> i32 {
        self.0.id().try_into().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// KILL, and gone.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// The client goes away; the listener's end is waited for.
    pub fn abandon(mut self) {
        drop(self.0.stdout.take());
        drop(self.0.stderr.take());
        self.0.wait().unwrap();
    }

    pub fn answer(self) -> Answer {
        Answer::parse(&self.output().stdout)
    }

    pub fn output(self) -> Output {
        self.0.wait_with_output().unwrap()
    }
}

/// A place where a handler says that it has arrived, and waits until the gate is open. It is open, for
/// everybody, once the test lets go of the lock.
pub struct Gate {
    arrivals: PathBuf,
    bar: PathBuf,
    held: File,
}

impl Gate {
    /// `name` tells the gates of a sandbox apart.
    pub fn new(sandbox: &Sandbox, name: &str) -> Gate {
        let arrivals = sandbox.write(&format!("{name}.arrivals"), "");
        let bar = sandbox.write(&format!("{name}.gate"), "");
        for file in [&arrivals, &bar] {
            chmod(file, 0o666);
        }
        let held = File::open(&bar).unwrap();
        held.lock().unwrap();
        Gate {
            arrivals,
            bar,
            held,
        }
    }

    /// The line of a Bash handler that waits here; not for ever, so that a run too many ends its test.
    pub fn line(&self) -> String {
        format!(
            "echo $$ >>{}; flock --shared --timeout 30 {} true || exit 99\n",
            self.arrivals.display(),
            self.bar.display()
        )
    }

    /// The process ids of everybody who has ever arrived.
    pub fn arrived(&self) -> Vec<i32> {
        let text = fs::read_to_string(&self.arrivals).unwrap();
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| line.parse().unwrap()).collect()
    }

    /// Waits until so many have arrived; the last one's process id.
    pub fn wait_for(&self, count: usize) -> i32 {
        until("a handler arrives at its gate", || {
            self.arrived().get(count - 1).copied()
        })
    }

    pub fn open(&self) {
        self.held.unlock().unwrap();
    }
}

/// Whether a process runs; a zombie does not.
pub fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        let state = stat.rsplit_once(") ").unwrap().1.as_bytes()[0];
        !matches!(state, b'Z' | b'X')
    })
}

/// A set of signals in `/proc/PID/status`: proc(5).
pub fn signals(pid: i32, set: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let digits = status
        .lines()
        .find_map(|line| line.strip_prefix(set)?.strip_prefix(":\t"));
    u64::from_str_radix(digits.unwrap(), 16).unwrap()
}

pub fn until_gone(pid: i32) {
    until("a process ends", || (!alive(pid)).then_some(()));
}

/// KILL, unless it is gone.
pub fn put_down(pid: i32) {
    assert!(pid > 1);
    match kill(Pid::from_raw(pid), Signal::SIGKILL) {
        Ok(()) | Err(Errno::ESRCH) => until_gone(pid),
        Err(errno) => panic!("{pid}: {errno}"),
    }
}

/// The process id that a handler writes into a file, once it is there whole.
pub fn pid_in(path: &Path) -> i32 {
    until("a process id is written down", || {
        let text = fs::read_to_string(path).ok()?;
        text.strip_suffix('\n')?.parse().ok()
    })
}

/// The executable, started by way of these words, in the sandbox's environment.
pub fn through(sandbox: &Sandbox, words: &[&str]) -> Command {
    let direct = sandbox.command();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).arg(direct.get_program());
    command.args(direct.get_args()).env_clear();
    for (name, value) in direct.get_envs() {
        command.env(name, value.unwrap());
    }
    command
}

/// The executable, as an account that owns the sandbox's folders and nothing else.
pub fn as_stranger(sandbox: &Sandbox) -> Command {
    as_root();
    for folder in ["log", "lock", "state", "backup"] {
        let owner = format!("{STRANGER}:{STRANGER}");
        run(Command::new("chown")
            .args(["-R", &owner])
            .arg(sandbox.path(folder)));
    }
    // Wherever the build is, this account need not be able to go there.
    let program = sandbox.path("self-heal");
    if !program.exists() {
        install(sandbox.command().get_program().as_ref(), &program, "755");
    }
    let direct = sandbox.command();
    let mut command = Command::new("setpriv");
    command
        .args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")])
        .arg("--clear-groups")
        .arg(program)
        .args(direct.get_args())
        .env_clear();
    for (name, value) in direct.get_envs() {
        command.env(name, value.unwrap());
    }
    command
}

/// Copies a program. Another process does it, see [`Sandbox::script`].
pub fn install(from: &Path, to: &Path, mode: &str) {
    run(Command::new("install").args(["-m", mode]).args([from, to]));
}

/// Runs a tool that has to be there and to succeed; what it printed.
pub fn run(command: &mut Command) -> String {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// How many lines of a text contain this.
pub fn lines_with(text: &str, part: &str) -> usize {
    text.lines().filter(|line| line.contains(part)).count()
}

/// The sha256 of these bytes, by another program than the one under test.
pub fn sha256(bytes: &[u8]) -> String {
    let mut sum = Command::new("sha256sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    sum.stdin.take().unwrap().write_all(bytes).unwrap();
    let said = sum.wait_with_output().unwrap().stdout;
    String::from_utf8(said).unwrap()[..64].to_owned()
}

/// The history's lines, whole or not.
pub fn raw_history(sandbox: &Sandbox, name: &str) -> Vec<Vec<u8>> {
    let text = fs::read(sandbox.path(name)).unwrap();
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line).to_vec())
        .collect()
}

/// Each line that is whole names the digest of the one before; the first one, `prev`. A line that was cut stands for the one
/// before it in the file too. Returns the last's.
pub fn chained(lines: &[Vec<u8>], mut prev: String) -> String {
    assert!(!lines.is_empty());
    for (number, line) in lines.iter().enumerate() {
        let whole = serde_json::from_slice::<Value>(line);
        if let Ok(line) = &whole {
            assert_eq!(line["prev"], prev, "{line}");
        }
        prev = match whole {
            Err(_) if number > 0 => sha256(&[bytes(&prev), line.clone()].concat()),
            _ => sha256(line),
        };
    }
    prev
}

/// Bytes from their hex digits.
fn bytes(hex: &str) -> Vec<u8> {
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// Runs a test, named with its module, again in a mount namespace of its own, so that what it mounts is seen by
/// nobody else and goes with it. True: this is that process.
pub fn in_a_namespace_of_its_own(test: &str) -> bool {
    const MARK: &str = "SELF_HEAL_TEST_IN_NAMESPACE";
    as_root();
    if std::env::var_os(MARK).is_some() {
        return true;
    }
    let output = Command::new("unshare")
        .arg("--mount")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{complaint}"
    );
    false
}

pub fn mount_tmpfs(at: &Path, size: &str) {
    let options = format!("size={size},mode=755");
    run(Command::new("mount")
        .args(["-t", "tmpfs", "-o", &options, "none"])
        .arg(at));
}

/// Writes a file until the file system has no block left.
pub fn fill(file: &Path) {
    let mut file = File::create(file).unwrap();
    for size in [1 << 16, 1 << 10, 1] {
        let piece = vec![b'x'; size];
        loop {
            match file.write_all(&piece).and_then(|()| file.sync_data()) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => break,
                Err(error) => panic!("{error}"),
            }
        }
    }
    let left = fstatvfs(&file).unwrap().blocks_available();
    assert_eq!(left, 0, "blocks are left");
}
