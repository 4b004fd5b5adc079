//! Byte transcripts: `tests/data/NAME.http` is what a client sends, `NAME.want` what it gets, to the byte. In a
//! `.want` the three characters `{…}` stand for any run of characters within a line, and nothing else does. A `.want` that
//! begins with `100 Continue` means that the interim answer comes if, and only if, the client waits for it. An
//! empty `.want` is no answer at all. The client keeps its side open, save for the names that begin with `cut_`.
//!
//! How often a handler has to run follows from the `.want`: once for each `healed` in it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::support::{Answer, PROJECT, Sandbox, request};

const INTERIM: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

const ANYTHING: &str = "{…}";

/// The handlers of every transcript and sample; each leaves a line in `marks` when it runs.
const HANDLERS: [&str; 3] = ["NginxDown", "DbDown", "EdgeProxyDown"];

#[test]
fn every_transcript_is_answered_to_the_byte_however_its_bytes_arrive() {
    let seed = seed();
    println!("HEAL_TEST_SEED={seed}");
    let names: Vec<String> = stems("http").into_iter().collect();
    let left = Mutex::new(names.into_iter());
    let failures = Mutex::new(String::new());
    let work = || {
        while let Some(name) = { left.lock().unwrap().next() } {
            let transcript = Transcript::read(&name);
            for manner in [Manner::Whole, Manner::SingleBytes, Manner::Pieces(seed)] {
                if let Err(why) = transcript.play(manner) {
                    let mut failures = failures.lock().unwrap();
                    writeln!(failures, "{name}, {manner:?}: {why}\n").unwrap();
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(work);
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn every_request_has_its_answer_beside_it_and_every_sample_its_test() {
    let requests = stems("http");
    assert!(requests.len() > 200, "the data are not there");
    assert_eq!(requests, stems("want"), "a .http without .want, or so");
    let tested: BTreeSet<String> = SAMPLES.iter().map(|s| s.name.to_owned()).collect();
    assert_eq!(stems("json"), tested, "a sample without a test, or so");
}

/// A body that some sender really posts, and what has to come of it.
struct Sample {
    name: &'static str,
    code: u16,
    verdicts: &'static [&'static str],
}

const SAMPLES: [Sample; 11] = [
    Sample::settled("am_firing_0.25", &["healed"]),
    Sample::settled("am_firing_0.34", &["healed"]),
    Sample::settled("am_mixed_0.28", &["resolved", "healed"]),
    Sample::settled("am_no_alertname", &["no-handler"]),
    Sample::settled("am_resolved", &["resolved"]),
    Sample::settled("am_truncated_status_lies", &["resolved"]),
    // The names hold a blank: no safe file name.
    Sample::settled("am_utf8_0.27plus", &["no-handler"]),
    Sample::settled("grafana", &["no-handler"]),
    Sample::settled("grafana_values_null", &["no-handler"]),
    Sample::settled("mimir", &["healed"]),
    Sample {
        name: "NOT_webhook_vmalert_to_api_v2",
        code: 400,
        verdicts: &[],
    },
];

impl Sample {
    const fn settled(name: &'static str, verdicts: &'static [&'static str]) -> Sample {
        Sample {
            name,
            code: 200,
            verdicts,
        }
    }
}

#[test]
fn every_sample_gets_its_verdicts() {
    for sample in &SAMPLES {
        let sandbox = sandbox();
        // A handler that a name with a blank could reach, were it taken for a name.
        for unsafe_name in ["Pod Crash", "Latency p99"] {
            marking_handler(&sandbox, unsafe_name);
        }
        let answer = post_sample(&sandbox, sample.name);
        assert_eq!(answer.code, sample.code, "{}: {answer:?}", sample.name);
        if sample.code == 200 {
            assert_eq!(answer.verdicts(), sample.verdicts, "{}", sample.name);
        }
        let healed = sample.verdicts.iter().filter(|v| **v == "healed").count();
        assert_eq!(marks(&sandbox), healed, "{}", sample.name);
    }
}

#[test]
fn grafana_is_heard_when_its_rule_has_a_safe_name() {
    let sandbox = sandbox();
    marking_handler(&sandbox, "LatencyP99");
    let body = data("grafana.json").replace("Latency p99", "LatencyP99");
    sandbox.post_body(&body).expect(200, &["healed"]);
    assert_eq!(marks(&sandbox), 1);
    assert!(!sandbox.log().contains("unknown payload version"));
}

#[test]
fn alerts_that_the_sender_cut_off_are_loud() {
    let sandbox = sandbox();
    let answer = post_sample(&sandbox, "am_truncated_status_lies");
    assert_eq!(answer.json()["truncated"], 3, "{answer:?}");
    let log = sandbox.log();
    let said = log
        .lines()
        .any(|line| line.contains("[ERROR] truncated alerts=3") && line.contains("max_alerts"));
    assert!(said, "{log}");
    assert_eq!(sandbox.metric("self_heal_truncated_alerts_total"), 3.0);

    post_sample(&sandbox, "am_resolved");
    assert_eq!(sandbox.metric("self_heal_truncated_alerts_total"), 3.0);
}

#[test]
fn a_payload_version_that_nobody_knows_is_heard_with_a_warning() {
    for (version, warned) in [("4", false), ("1", false), ("5", true), ("", true)] {
        let sandbox = sandbox();
        let version = format!(r#""version":"{version}""#);
        let body = data("am_firing_0.25.json").replace(r#""version":"4""#, &version);
        sandbox.post_body(&body).expect(200, &["healed"]);
        let log = sandbox.log();
        let warning = log
            .lines()
            .any(|line| line.contains("[WARN] payload ") && line.contains("version"));
        assert_eq!(warning, warned, "{version}: {log}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Manner {
    /// In one write.
    Whole,
    /// Each byte on its own.
    SingleBytes,
    /// In pieces of random lengths, by this seed.
    Pieces(u64),
}

struct Transcript {
    name: String,
    request: Vec<u8>,
    want: Vec<u8>,
}

impl Transcript {
    fn read(name: &str) -> Transcript {
        let bytes = |extension| fs::read(folder().join(format!("{name}.{extension}"))).unwrap();
        Transcript {
            name: name.to_owned(),
            request: bytes("http"),
            want: bytes("want"),
        }
    }

    /// In a fresh sandbox: the answer, the number of handler runs, and a clean exit.
    fn play(&self, manner: Manner) -> Result<(), String> {
        let sandbox = sandbox();
        let got = self.exchange(&sandbox, manner)?;
        let want = self.want(manner, &got);
        let (want, got) = (show(&want), show(&got));
        if !matches(&want, &got) {
            return Err(format!("\nwant {want}\n got {got}"));
        }
        let healed = want.matches(r#""verdict":"healed""#).count();
        match marks(&sandbox) {
            marks if marks == healed => Ok(()),
            marks => Err(format!("{marks} handlers ran instead of {healed}")),
        }
    }

    fn exchange(&self, sandbox: &Sandbox, manner: Manner) -> Result<Vec<u8>, String> {
        let (mut client, server) = manner.connection();
        let mut child = {
            let mut command = sandbox.command();
            command
                .stdin(Stdio::from(server.try_clone().unwrap()))
                .stdout(Stdio::from(server))
                .stderr(Stdio::null());
            command.spawn().unwrap()
        };
        for piece in self.pieces(manner) {
            // Whoever refuses early reads the rest only for a while.
            if client.write_all(piece).is_err() {
                break;
            }
        }
        if self.name.starts_with("cut_") {
            client.shutdown(Shutdown::Write).unwrap();
        }
        let got = read_messages(&mut client).map_err(|error| error.to_string());
        drop(client);
        let status = child.wait().unwrap();
        if !status.success() {
            return Err(format!("it ended with {status}"));
        }
        got
    }

    fn pieces(&self, manner: Manner) -> Vec<&[u8]> {
        match manner {
            // A message of no bytes would be an end.
            _ if self.request.is_empty() => Vec::new(),
            Manner::Whole => vec![&self.request],
            Manner::SingleBytes => self.request.chunks(1).collect(),
            Manner::Pieces(seed) => {
                let mut random = Random::new(seed, &self.name);
                let mut rest = self.request.as_slice();
                let mut pieces = Vec::new();
                while !rest.is_empty() {
                    let most = if random.below(2) == 0 { 4 } else { 400 };
                    let (piece, tail) = rest.split_at(rest.len().min(1 + random.below(most)));
                    pieces.push(piece);
                    rest = tail;
                }
                pieces
            }
        }
    }

    /// What this manner has to get. A body that comes together with the head is not waited for; whether a random
    /// piece brings some of it along is left to chance.
    fn want(&self, manner: Manner, got: &[u8]) -> Vec<u8> {
        let interim = match manner {
            Manner::Whole => false,
            Manner::SingleBytes => true,
            Manner::Pieces(_) => got.starts_with(INTERIM),
        };
        match self.want.strip_prefix(INTERIM) {
            Some(answer) if !interim => answer.to_vec(),
            _ => self.want.clone(),
        }
    }
}

impl Manner {
    /// `SOCK_SEQPACKET` keeps the boundaries of what is written, so that the executable really reads the pieces
    /// one by one; it would cut a message that is longer than a read.
    fn connection(self) -> (UnixStream, OwnedFd) {
        let kind = match self {
            Manner::Whole => SockType::Stream,
            Manner::SingleBytes | Manner::Pieces(_) => SockType::SeqPacket,
        };
        let (client, server) =
            socketpair(AddressFamily::Unix, kind, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let client = UnixStream::from(client);
        // To fail instead of hanging; far above the time that a whole request may take.
        client
            .set_read_timeout(Some(Duration::from_secs(60)))
            .unwrap();
        (client, server)
    }
}

/// Everything up to the end. A message is read whole or its rest is lost, so the buffer is larger than any answer.
fn read_messages(client: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; 1 << 20];
    let mut got = Vec::new();
    loop {
        match client.read(&mut buffer)? {
            0 => return Ok(got),
            length => got.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Whether this is what the pattern wants: `{…}` is any run of characters but a line's end.
fn matches(want: &str, got: &str) -> bool {
    let Some((before, rest)) = want.split_once(ANYTHING) else {
        return want == got;
    };
    let Some(tail) = got.strip_prefix(before) else {
        return false;
    };
    let line = tail.find(['\r', '\n']).unwrap_or(tail.len());
    (0..=line).any(|at| tail.is_char_boundary(at) && matches(rest, &tail[at..]))
}

#[test]
fn a_placeholder_stays_within_its_line() {
    assert!(matches("a {…} c", "a b c") && matches("{…}", "") && matches("a{…}{…}", "abc"));
    assert!(!matches("a {…} c", "a b\r\n c") && !matches("a{…}", "b") && !matches("{…}c", "cd"));
}

fn show(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.write("allowed.txt", "web-*\ndb-*\nweb1\nedge-07.lan\nedge-07\n");
    sandbox.set("HEAL_MAX_BODY", "4KiB");
    for name in HANDLERS {
        marking_handler(&sandbox, name);
    }
    sandbox
}

fn marking_handler(sandbox: &Sandbox, name: &str) {
    let marks = sandbox.path("marks");
    sandbox.handler(name, &format!("echo \"$2\" >>{}\n", marks.display()));
}

/// How many handlers ran.
fn marks(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.path("marks")).map_or(0, |text| text.lines().count())
}

fn post_sample(sandbox: &Sandbox, name: &str) -> Answer {
    let bytes = request(&data(&format!("{name}.json")));
    Answer::parse(&sandbox.feed(&bytes).stdout)
}

fn data(file: &str) -> String {
    fs::read_to_string(folder().join(file)).unwrap()
}

fn folder() -> PathBuf {
    Path::new(PROJECT).join("tests/data")
}

/// The names of the files with this extension, without it.
fn stems(extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder()).unwrap();
    files
        .filter_map(|file| {
            let name = file.unwrap().file_name().into_string().unwrap();
            let stem = name.strip_suffix(extension)?.strip_suffix('.')?;
            Some(stem.to_owned())
        })
        .collect()
}

/// `HEAL_TEST_SEED` plays an earlier run's pieces again.
fn seed() -> u64 {
    match std::env::var("HEAL_TEST_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => {
            let now = std::time::SystemTime::now();
            let since = now.duration_since(std::time::UNIX_EPOCH).unwrap();
            since.as_micros() as u64
        }
    }
}

/// splitmix64: a few random numbers that a seed and a name bring back.
struct Random(u64);

impl Random {
    fn new(seed: u64, name: &str) -> Random {
        Random(name.bytes().fold(seed, |state, byte| {
            state.wrapping_mul(31).wrapping_add(byte.into())
        }))
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}
