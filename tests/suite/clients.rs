//! Clients that do not behave, and those that expect more than one answer, over real TCP: the accepted socket is
//! fds 0 and 1 of the executable, as inetd and socat's `nofork` hand it over. After each of them nothing is left
//! behind and the next request works.

use std::fs;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::libc::linger;
use nix::sys::socket::sockopt::{Linger, RcvBuf, SndBuf, TcpMaxSeg};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, connect, setsockopt, socket,
};

use crate::support::{Alert, Answer, Sandbox, notification, read_all, request, until};

#[test]
fn a_client_that_resets_before_it_asks_costs_nothing() {
    for sent in [&b""[..], b"POST / HTTP/1.1\r\nHost: h\r\nContent-Le"] {
        let sandbox = healing_sandbox();
        let (mut client, server) = connection();
        let child = serve(&sandbox, server);
        client.write_all(sent).unwrap();
        reset(client);
        ended(child);
        assert_eq!(marks(&sandbox), 0);
        nothing_is_left(&sandbox);
    }
}

#[test]
fn a_client_that_resets_in_mid_body_starts_no_handler() {
    let sandbox = healing_sandbox();
    let (mut client, server) = connection();
    let child = serve(&sandbox, server);
    let whole = request(&notification(&[&alert()]).to_string());
    client.write_all(&whole[..whole.len() - 1]).unwrap();
    reset(client);
    ended(child);
    assert_eq!(marks(&sandbox), 0);
    nothing_is_left(&sandbox);
}

#[test]
fn a_client_that_resets_in_mid_handler_interrupts_nothing() {
    let sandbox = Sandbox::new();
    let held = Held::handler(&sandbox);
    let (mut client, server) = connection();
    let child = serve(&sandbox, server);
    ask(&mut client);
    held.started(&sandbox);
    reset(client);
    held.release();
    ended(child);
    assert_eq!(marks(&sandbox), 1, "the handler reached its end");
    let result = sandbox.history().pop().unwrap();
    assert_eq!(
        (&result["event"], &result["verdict"]),
        (&"result".into(), &"healed".into())
    );
    sandbox.post(&alert()).expect(200, &["settling"]);
    no_lock_is_held(&sandbox);
    no_process_is_left(&sandbox);
}

#[test]
fn a_client_that_sends_nothing_is_told_so_in_time() {
    for (sent, close) in [
        ("", false),
        ("GET /metrics HTTP/1.1\r\n", false),
        ("", true),
    ] {
        let sandbox = healing_sandbox();
        sandbox.set("HEAL_REQUEST_TIMEOUT", "1s");
        let (mut client, server) = connection();
        let child = serve(&sandbox, server);
        client.write_all(sent.as_bytes()).unwrap();
        if close {
            client.shutdown(Shutdown::Write).unwrap();
            assert_eq!(read_all(&client), b"", "nothing asked, nothing answered");
        } else {
            assert_eq!(Answer::parse(&read_all(&client)).code, 408);
        }
        drop(client);
        ended(child);
        nothing_is_left(&sandbox);
    }
}

#[test]
fn a_client_that_sends_byte_by_byte_gains_no_time_by_it() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nX-Slow: ".to_owned();
    let body = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n{".to_owned();
    for beginning in [head, body] {
        let sandbox = healing_sandbox();
        sandbox.set("HEAL_REQUEST_TIMEOUT", "1s");
        let (mut client, server) = connection();
        let child = serve(&sandbox, server);
        client.write_all(beginning.as_bytes()).unwrap();
        let mut dripping = client.try_clone().unwrap();
        // Nobody waits here for anything: this is the pace of the client, until the connection is shut.
        let drip = thread::spawn(move || {
            while dripping.write_all(b"a").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        });
        assert_eq!(Answer::parse(&read_all(&client)).code, 408);
        ended(child);
        drip.join().unwrap();
        assert_eq!(marks(&sandbox), 0);
        drop(client);
        nothing_is_left(&sandbox);
    }
}

#[test]
fn a_client_that_never_reads_costs_the_deadline_and_no_more() {
    let sandbox = healing_sandbox();
    // Time enough to read half a megabyte on a busy machine.
    sandbox.set("HEAL_REQUEST_TIMEOUT", "3s");
    // The last of many: what was judged counts, whoever reads it.
    let strangers: Vec<Alert> = (0..2000)
        .map(|n| Alert::firing("NginxDown", &format!("elsewhere-{n}")))
        .collect();
    let mut alerts: Vec<&Alert> = strangers.iter().collect();
    let known = alert();
    alerts.push(&known);
    let (mut client, server) = narrow_connection();
    let child = serve(&sandbox, server);
    let whole = request(&notification(&alerts).to_string());
    client.write_all(&whole).unwrap();
    ended(child);
    let log = sandbox.log();
    assert!(log.contains("answer_not_read"), "{log}");
    assert_eq!(marks(&sandbox), 1);
    sandbox.post(&known).expect(200, &["settling"]);
    drop(client);
    no_lock_is_held(&sandbox);
    no_process_is_left(&sandbox);
}

#[test]
fn a_client_that_half_closes_gets_its_answer() {
    let sandbox = Sandbox::new();
    let held = Held::handler(&sandbox);
    let (mut client, server) = connection();
    let child = serve(&sandbox, server);
    ask(&mut client);
    client.shutdown(Shutdown::Write).unwrap();
    held.started(&sandbox);
    held.release();
    Answer::parse(&read_all(&client)).expect(200, &["healed"]);
    drop(client);
    ended(child);
    no_lock_is_held(&sandbox);
    no_process_is_left(&sandbox);
}

/// A Go client writes everything before it looks at an answer; a reset on the way would destroy the 413.
#[test]
fn a_body_of_6_mb_above_the_limit_gets_its_413_and_no_reset() {
    const SIZE: usize = 6 << 20;
    let sandbox = healing_sandbox();
    sandbox.set("HEAL_MAX_BODY", "64KiB");
    let body = vec![b' '; SIZE];
    let head = "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\n";
    let by_length = format!("{head}Content-Length: {SIZE}\r\n\r\n");
    let in_chunks = format!("{head}Transfer-Encoding: chunked\r\n\r\n{SIZE:x}\r\n");
    for head in [by_length, in_chunks] {
        // Of eight such answers a server that closes at once loses about half.
        for _ in 0..8 {
            let (mut client, server) = connection();
            let child = serve(&sandbox, server);
            client.write_all(head.as_bytes()).unwrap();
            client.write_all(&body).unwrap();
            assert_eq!(Answer::parse(&read_all(&client)).code, 413);
            drop(client);
            ended(child);
        }
    }
    nothing_is_left(&sandbox);
}

#[test]
fn a_client_that_waits_for_100_continue_is_told_to_go_on() {
    let sandbox = healing_sandbox();
    let inetd = Inetd::start(&sandbox);
    let mut body = notification(&[&alert()]).to_string();
    body.push_str(&" ".repeat(2 << 20));
    let file = sandbox.write("body.json", &body);
    // Without the interim answer curl would wait longer than it may take.
    let said = curl(
        &inetd.url("/"),
        &[
            "--verbose",
            "--expect100-timeout",
            "120",
            "--max-time",
            "60",
            "--header",
            "Expect: 100-continue",
            "--header",
            "Content-Type: application/json",
            "--data-binary",
            &format!("@{}", file.display()),
            "--write-out",
            "\n%{http_code} %{size_upload}",
        ],
    );
    let (out, trace) = texts(&said);
    assert!(trace.contains("< HTTP/1.1 100 Continue"), "{trace}");
    assert!(
        out.ends_with(&format!("\n200 {}", body.len())),
        "{out} {trace}"
    );
    assert!(out.contains(r#""verdict":"healed""#), "{out}");
    drop(inetd);
    no_lock_is_held(&sandbox);
    no_process_is_left(&sandbox);
}

#[test]
fn a_body_that_is_refused_anyway_is_not_asked_for() {
    let sandbox = healing_sandbox();
    sandbox.set("HEAL_MAX_BODY", "64KiB");
    let inetd = Inetd::start(&sandbox);
    let file = sandbox.write("body.json", &" ".repeat(2 << 20));
    let said = curl(
        &inetd.url("/"),
        &[
            "--verbose",
            "--expect100-timeout",
            "120",
            "--max-time",
            "60",
            "--header",
            "Expect: 100-continue",
            "--header",
            "Content-Type: application/json",
            "--data-binary",
            &format!("@{}", file.display()),
            "--write-out",
            "\n%{http_code} %{size_upload}",
        ],
    );
    let (out, trace) = texts(&said);
    assert!(out.ends_with("\n413 0"), "{out} {trace}");
    assert!(!trace.contains("100 Continue"), "{trace}");
    drop(inetd);
    nothing_is_left(&sandbox);
}

#[test]
fn a_client_that_would_keep_the_connection_gets_a_new_one_each_time() {
    let sandbox = healing_sandbox();
    let inetd = Inetd::start(&sandbox);
    let second = inetd.url("/-/ready");
    let options = [
        &second,
        "--header",
        "Connection: keep-alive",
        "--max-time",
        "60",
        "--write-out",
        "%{http_code} %{num_connects}\n",
    ];
    let (out, trace) = texts(&curl(&inetd.url("/-/healthy"), &options));
    assert_eq!(out.matches("200 1\n").count(), 2, "{out} {trace}");
    assert_eq!(inetd.connections(), 2);
    drop(inetd);
    nothing_is_left(&sandbox);
}

/// systemd holds a copy of the connection while a unit with `Accept=yes` runs, so closing is not enough.
#[test]
fn kept_connection() {
    let sandbox = healing_sandbox();
    let (mut client, server) = connection();
    let kept = server.try_clone().unwrap();
    let child = serve(&sandbox, server);
    ask(&mut client);
    // To its end, which only shutdown(2) can bring about here.
    let answer = Answer::parse(&read_all(&client));
    answer.expect(200, &["healed"]);
    assert_eq!(answer.header("connection"), Some("close"));
    drop(client);
    ended(child);
    let error = (&kept).write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::BrokenPipe);
    no_lock_is_held(&sandbox);
    no_process_is_left(&sandbox);
}

/// A client and the server's end of its connection. The client's reads fail rather than hang.
pub fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    accepted(
        &listener,
        TcpStream::connect(listener.local_addr().unwrap()).unwrap(),
    )
}

fn accepted(listener: &TcpListener, client: TcpStream) -> (TcpStream, TcpStream) {
    let patience = Some(Duration::from_secs(60));
    client.set_read_timeout(patience).unwrap();
    client.set_write_timeout(patience).unwrap();
    (client, listener.accept().unwrap().0)
}

/// A connection that holds next to nothing of an answer: the sizes have to be set before the windows are agreed on
/// (tcp(7)). `segment` is the most that comes at once, where that matters.
pub fn narrow(to: SockaddrIn, segment: Option<u32>) -> TcpStream {
    let client = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .unwrap();
    setsockopt(&client, RcvBuf, &4096).unwrap();
    if let Some(segment) = segment {
        setsockopt(&client, TcpMaxSeg, &segment).unwrap();
    }
    connect(client.as_raw_fd(), &to).unwrap();
    TcpStream::from(client)
}

/// Both ends of one that nobody reads.
fn narrow_connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
        panic!("an IPv4 address was asked for");
    };
    let (client, server) = accepted(&listener, narrow(SockaddrIn::from(address), None));
    setsockopt(&server, SndBuf, &4096).unwrap();
    (client, server)
}

/// The executable on this connection, which is its alone from now on.
pub fn serve(sandbox: &Sandbox, server: TcpStream) -> Child {
    serve_by(sandbox.command(), server)
}

/// The same by this command.
pub fn serve_by(mut command: Command, server: TcpStream) -> Child {
    command
        .stdin(OwnedFd::from(server.try_clone().unwrap()))
        .stdout(OwnedFd::from(server))
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Its end, which has to come, and without a complaint.
fn ended(mut child: Child) {
    let status = until("the process ends", || child.try_wait().unwrap());
    assert!(status.success(), "{status}");
}

/// Closes so that the other side gets a reset at once.
fn reset(client: TcpStream) {
    let at_once = linger {
        l_onoff: 1,
        l_linger: 0,
    };
    setsockopt(&client, Linger, &at_once).unwrap();
}

fn alert() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

fn ask(client: &mut TcpStream) {
    client
        .write_all(&request(&notification(&[&alert()]).to_string()))
        .unwrap();
}

/// With a handler that leaves a mark.
fn healing_sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", &mark(&sandbox));
    sandbox
}

fn mark(sandbox: &Sandbox) -> String {
    format!("echo \"$2\" >>{}\n", sandbox.path("marks").display())
}

/// How many handlers reached their end.
fn marks(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.path("marks")).map_or(0, |text| text.lines().count())
}

/// A handler that waits for the test.
struct Held {
    fifo: PathBuf,
}

impl Held {
    fn handler(sandbox: &Sandbox) -> Held {
        let fifo = sandbox.path("go");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let begun = sandbox.path("begun").display().to_string();
        let body = format!(
            "touch {begun}\nread -r _ <{}\n{}",
            fifo.display(),
            mark(sandbox)
        );
        sandbox.handler("NginxDown", &body);
        Held { fifo }
    }

    fn started(&self, sandbox: &Sandbox) {
        until("the handler starts", || {
            sandbox.path("begun").exists().then_some(())
        });
    }

    fn release(&self) {
        fs::write(&self.fifo, "go\n").unwrap();
    }
}

/// No process, no lock, and the next request is served.
fn nothing_is_left(sandbox: &Sandbox) {
    no_process_is_left(sandbox);
    no_lock_is_held(sandbox);
    sandbox.set("HEAL_REQUEST_TIMEOUT", "30s");
    sandbox
        .post(&Alert::firing("NginxDown", "web-next:9113"))
        .expect(200, &["healed"]);
}

/// Listeners and handlers alike carry a path of the sandbox in their environment.
fn no_process_is_left(sandbox: &Sandbox) {
    // A slash, because one sandbox's name may begin with another's.
    let sign = format!("{}/", sandbox.path("").display()).replace("//", "/");
    until("no process is left", || {
        let mut processes = fs::read_dir("/proc").unwrap();
        let left = processes.any(|process| {
            let environment = fs::read(process.unwrap().path().join("environ"));
            String::from_utf8_lossy(&environment.unwrap_or_default()).contains(&sign)
        });
        (!left).then_some(())
    });
}

fn no_lock_is_held(sandbox: &Sandbox) {
    for lock in fs::read_dir(sandbox.path("lock")).unwrap() {
        let path = lock.unwrap().path();
        let taken = Command::new("flock")
            .args(["--nonblock"])
            .arg(&path)
            .arg("true")
            .status()
            .expect("flock(1) is needed: package util-linux");
        assert!(taken.success(), "{} is held", path.display());
    }
}

fn curl(url: &str, options: &[&str]) -> Output {
    Command::new("curl")
        .args(["--silent", "--show-error", "--noproxy", "*", url])
        .args(options)
        .output()
        .expect("curl is needed: package curl")
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

/// A spawner on a port of its own: one process for each connection, until it is dropped.
pub struct Inetd {
    address: SocketAddr,
    stopping: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    spawner: Option<JoinHandle<()>>,
}

impl Inetd {
    pub fn start(sandbox: &Sandbox) -> Inetd {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stopping = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let (stop, count) = (Arc::clone(&stopping), Arc::clone(&served));
        let mut command = sandbox.command();
        command.stderr(Stdio::null());
        let spawner = thread::spawn(move || {
            let mut children = Vec::new();
            loop {
                let (server, _) = listener.accept().unwrap();
                if stop.load(Ordering::SeqCst) {
                    break;
                }
                count.fetch_add(1, Ordering::SeqCst);
                command
                    .stdin(OwnedFd::from(server.try_clone().unwrap()))
                    .stdout(OwnedFd::from(server));
                children.push(command.spawn().unwrap());
                // The command would keep the connection until the next one comes.
                command.stdin(Stdio::null()).stdout(Stdio::null());
            }
            children.into_iter().for_each(ended);
        });
        Inetd {
            address,
            stopping,
            served,
            spawner: Some(spawner),
        }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn connections(&self) -> usize {
        self.served.load(Ordering::SeqCst)
    }
}

impl Drop for Inetd {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the spawner.
        let _ = TcpStream::connect(self.address);
        let joined = self.spawner.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(
                matches!(joined, Some(Ok(()))),
                "a connection was not served"
            );
        }
    }
}
