//! A folder of its own for each test, the executable in it, and words to ask it with.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The executable under test: cargo's, or the one that `SELF_HEAL_PROGRAM` named when this was built, such as what
/// `deploy/build-release.sh` makes.
pub const PROGRAM: &str = match option_env!("SELF_HEAL_PROGRAM") {
    Some(program) => program,
    None => env!("CARGO_BIN_EXE_self-heal"),
};

/// The project's folder.
pub const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

/// A folder with everything that self-heal needs, gone when the test ends. Its configuration starts with short
/// times where a test would wait, and allows the instances that begin with `web-` or `db-`.
pub struct Sandbox {
    dir: PathBuf,
    settings: RefCell<BTreeMap<String, String>>,
    keep: Cell<bool>,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        Sandbox::within(&std::env::temp_dir())
    }

    /// In this folder, for tests that bring a file system of their own.
    pub fn within(parent: &Path) -> Sandbox {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = parent.join(format!("self-heal-test-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        chmod(&dir, 0o755);
        for folder in ["handlers", "log", "lock", "state", "backup", "escalate.d"] {
            fs::create_dir(dir.join(folder)).unwrap();
            chmod(&dir.join(folder), 0o755);
        }
        let sandbox = Sandbox {
            dir,
            settings: RefCell::default(),
            keep: Cell::new(false),
        };
        sandbox.write("allowed.txt", "web-*\ndb-*\n");
        for (key, value) in [
            (
                "HEAL_HANDLER_DIR",
                sandbox.path("handlers").display().to_string(),
            ),
            (
                "HEAL_ALLOWED_INSTANCES",
                sandbox.path("allowed.txt").display().to_string(),
            ),
            ("HEAL_LOG_DIR", sandbox.path("log").display().to_string()),
            ("HEAL_LOCK_DIR", sandbox.path("lock").display().to_string()),
            (
                "HEAL_STATE_DIR",
                sandbox.path("state").display().to_string(),
            ),
            (
                "HEAL_BACKUP_DIR",
                sandbox.path("backup").display().to_string(),
            ),
            (
                "HEAL_ESCALATE_DIR",
                sandbox.path("escalate.d").display().to_string(),
            ),
            ("HEAL_ALLOW_ROOT", "yes".to_owned()),
            ("HEAL_SYSLOG", "off".to_owned()),
            ("HEAL_RETRY_DELAY", "0".to_owned()),
            ("HEAL_LOCK_WAIT", "200ms".to_owned()),
        ] {
            sandbox.set(key, &value);
        }
        sandbox
    }

    /// Keeps the folder after the test, for looking at it while writing one.
    #[allow(dead_code)]
    pub fn keep(&self) {
        self.keep.set(true);
        eprintln!("kept: {}", self.dir.display());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// A file of the sandbox, mode 0644, its folders made.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        chmod(&path, 0o644);
        path
    }

    /// `NAME.sh`: a Bash handler with this body, mode 0755.
    pub fn handler(&self, name: &str, body: &str) -> PathBuf {
        self.script(
            &format!("handlers/{name}.sh"),
            &format!("#!/bin/bash\n{body}"),
        )
    }

    /// An executable file of the sandbox. Written by another process: a child that some other test forks
    /// at this moment must not hold it open for writing, or it could not be executed (ETXTBSY).
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        let mut install = Command::new("install")
            .args(["-m", "755", "/dev/stdin"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        install
            .stdin
            .take()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
        assert!(install.wait().unwrap().success());
        path
    }

    /// Sets a key of the configuration file.
    pub fn set(&self, key: &str, value: &str) {
        self.settings
            .borrow_mut()
            .insert(key.to_owned(), value.to_owned());
        let lines: String = self
            .settings
            .borrow()
            .iter()
            .map(|(k, v)| format!("{k}={v}\n"))
            .collect();
        self.write("self-heal.conf", &lines);
    }

    /// The executable with the sandbox's configuration and no other environment.
    pub fn command(&self) -> Command {
        self.command_of(&["serve"])
    }

    /// Likewise, with another command.
    pub fn command_of(&self, words: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(words)
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HEAL_CONF", self.path("self-heal.conf"));
        command
    }

    /// Runs a command of the operator's to its end.
    pub fn operate(&self, words: &[&str]) -> Output {
        let mut command = self.command_of(words);
        command.stdin(Stdio::null()).output().unwrap()
    }

    /// An escalator that writes down what it is given.
    pub fn recorder(&self) {
        self.write("pages", "");
        let pages = self.path("pages");
        let body = format!(
            "#!/bin/bash\nevent=$(</dev/stdin)\nprintf '%s\\n' \"$event\" >>{}\n",
            pages.display()
        );
        self.script("escalate.d/recorder", &body);
    }

    /// What the recorder has been given, in order.
    pub fn pages(&self) -> Vec<Value> {
        self.read("pages")
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Their actions and reasons.
    pub fn paged(&self) -> Vec<(String, String)> {
        let word = |page: &Value, name: &str| page[name].as_str().unwrap().to_owned();
        let pages = self.pages();
        pages
            .iter()
            .map(|page| (word(page, "action"), word(page, "reason")))
            .collect()
    }

    /// Starts the executable on three pipes.
    pub fn spawn(&self) -> Child {
        self.command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// These bytes on a pipe, then its end; what came back.
    pub fn feed(&self, bytes: &[u8]) -> Output {
        feed(self.command(), bytes)
    }

    /// One alert, as Alertmanager posts it.
    pub fn post(&self, alert: &Alert) -> Answer {
        self.post_all(&[alert])
    }

    pub fn post_all(&self, alerts: &[&Alert]) -> Answer {
        self.post_body(&notification(alerts).to_string())
    }

    pub fn post_body(&self, body: &str) -> Answer {
        Answer::parse(&self.feed(&request(body)).stdout)
    }

    pub fn get(&self, path: &str) -> Answer {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
        Answer::parse(&self.feed(request.as_bytes()).stdout)
    }

    /// The listener's log; empty while there is none.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log/listener.log")).unwrap_or_default()
    }

    /// The history's records.
    pub fn history(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.path("state/history.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// How often this handler was started, by the history.
    pub fn runs(&self, alertname: &str) -> usize {
        let of = |line: &&Value| line["event"] == "intent" && line["alertname"] == alertname;
        self.history().iter().filter(of).count()
    }

    /// A metric's value as the scrape shows it, by its name and labels as printed; 0 if it is not there.
    pub fn metric(&self, series: &str) -> f64 {
        let text = self.get("/metrics").body;
        let value = text
            .lines()
            .find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        value.map_or(0.0, |value| value.parse().unwrap())
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if !self.keep.get() && !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.dir);
        } else {
            eprintln!("left for you: {}", self.dir.display());
        }
    }
}

/// These bytes on a pipe to this command, then their end; what came back.
pub fn feed(mut command: Command, bytes: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A process that refuses early does not read the rest.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    child.wait_with_output().unwrap()
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// An alert as Alertmanager sends it. It began ten minutes ago unless told otherwise.
#[derive(Clone)]
pub struct Alert(Value);

impl Alert {
    pub fn firing(alertname: &str, instance: &str) -> Alert {
        Alert(json!({
            "status": "firing",
            "labels": {"alertname": alertname, "heal": "true", "instance": instance},
            "annotations": {"summary": "it is down"},
            "startsAt": rfc3339(-600),
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://prom:9090/graph",
            "fingerprint": fingerprint(alertname, instance),
        }))
    }

    /// The same alert, over since now.
    pub fn resolved(&self) -> Alert {
        let mut alert = self.clone();
        alert.0["status"] = json!("resolved");
        alert.0["endsAt"] = json!(rfc3339(0));
        alert
    }

    /// The same alert with this field changed.
    pub fn with(&self, field: &str, value: Value) -> Alert {
        let mut alert = self.clone();
        alert.0[field] = value;
        alert
    }

    /// The same alert with one more label; the fingerprint stays.
    pub fn label(&self, name: &str, value: &str) -> Alert {
        let mut alert = self.clone();
        alert.0["labels"][name] = json!(value);
        alert
    }

    pub fn fingerprint(&self) -> &str {
        self.0["fingerprint"].as_str().unwrap()
    }

    pub fn json(&self) -> &Value {
        &self.0
    }
}

/// A stand-in for Alertmanager's fingerprint: 16 hex digits that depend on name and instance.
fn fingerprint(alertname: &str, instance: &str) -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in alertname.bytes().chain([0xff]).chain(instance.bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    format!("{hash:016x}")
}

/// Now and so many seconds, as RFC 3339 in UTC.
pub fn rfc3339(seconds: i64) -> String {
    let now = std::time::SystemTime::now();
    let since = now
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_millis() as i64;
    self_heal::wire::timestamp::rfc3339(self_heal::judge::Time(since + seconds * 1000))
}

/// Alertmanager's message around these alerts.
pub fn notification(alerts: &[&Alert]) -> Value {
    let alerts: Vec<&Value> = alerts.iter().map(|alert| &alert.0).collect();
    json!({
        "receiver": "self-heal",
        "status": "firing",
        "alerts": alerts,
        "groupLabels": {},
        "commonLabels": {},
        "commonAnnotations": {},
        "externalURL": "http://am:9093",
        "version": "4",
        "groupKey": "{}/{heal=\"true\"}:{}",
        "truncatedAlerts": 0,
    })
}

/// The bytes that Alertmanager writes around a body.
pub fn request(body: &str) -> Vec<u8> {
    format!(
        "POST / HTTP/1.1\r\nHost: 127.0.0.1:9095\r\nUser-Agent: Alertmanager/0.25.0\r\n\
         Content-Length: {}\r\nContent-Type: application/json\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// A response, checked for the form that every one has.
#[derive(Debug)]
pub struct Answer {
    pub code: u16,
    pub head: String,
    pub body: String,
}

impl Answer {
    pub fn parse(bytes: &[u8]) -> Answer {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text
            .split_once("\r\n\r\n")
            .unwrap_or_else(|| panic!("no response: {text:?}"));
        let code = head
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3))
            .unwrap();
        let answer = Answer {
            code: code.parse().unwrap(),
            head: head.to_owned(),
            body: body.to_owned(),
        };
        assert_eq!(answer.header("connection"), Some("close"), "{text}");
        assert_eq!(
            answer.header("content-length"),
            Some(&*body.len().to_string()),
            "{text}"
        );
        answer
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(": ")?;
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// The verdicts, in order.
    pub fn verdicts(&self) -> Vec<String> {
        let results = self.json()["results"].clone();
        let results = results
            .as_array()
            .unwrap_or_else(|| panic!("no results: {}", self.body));
        results
            .iter()
            .map(|result| result["verdict"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Asserts the code and the verdicts.
    #[track_caller]
    pub fn expect(&self, code: u16, verdicts: &[&str]) {
        assert_eq!(self.code, code, "{}", self.body);
        assert_eq!(self.verdicts(), verdicts, "{}", self.body);
    }

    /// The detail of the first result.
    pub fn detail(&self) -> String {
        self.json()["results"][0]["detail"]
            .as_str()
            .unwrap()
            .to_owned()
    }
}

/// Waits until `condition` yields something, looking often; fails after half a minute.
pub fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "never came true: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything up to the end.
pub fn read_all(mut from: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

impl Sandbox {
    /// Starts the executable on a TCP connection of its own, as inetd does; our end of it.
    pub fn dial(&self) -> (TcpStream, Child) {
        let (client, server) = connection();
        (client, self.serve_on(server))
    }

    /// Starts the executable on this end of a connection.
    pub fn serve_on(&self, server: TcpStream) -> Child {
        let server = OwnedFd::from(server);
        let mut command = self.command();
        command
            .stdin(server.try_clone().unwrap())
            .stdout(server)
            .stderr(Stdio::null());
        command.spawn().unwrap()
    }
}

/// Both ends of a TCP connection over loopback.
pub fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}
