//! Who may ask, and what a wrong configuration answers: refused with the reason, and no handler run.

use std::fs;
use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::process::Command;
use std::time::Duration;

use nix::unistd::{User, geteuid};

use crate::clients::{Inetd, connection, serve, serve_by};
use crate::support::{
    Alert, Answer, PROGRAM, Sandbox, chmod, feed, notification, read_all, request,
};

const TOKEN: &str = "5f0c6f3b9d1e4a7788aa";

/// `user:TOKEN`
const BASIC: &str = "dXNlcjo1ZjBjNmYzYjlkMWU0YTc3ODhhYQ==";

/// `TOKEN:` and `user:TOKEN0`
const WRONG_BASIC: [&str; 2] = [
    "NWYwYzZmM2I5ZDFlNGE3Nzg4YWE6",
    "dXNlcjo1ZjBjNmYzYjlkMWU0YTc3ODhhYTA=",
];

#[test]
fn the_token_opens_as_bearer_and_as_password() {
    for authorization in [format!("Bearer {TOKEN}"), format!("Basic {BASIC}")] {
        let sandbox = guarded_sandbox();
        let answer = post_with(&sandbox, &format!("Authorization: {authorization}\r\n"));
        answer.expect(200, &["healed"]);
        assert_eq!(marks(&sandbox), 1);
        let page = get_with(
            &sandbox,
            "/metrics",
            &format!("Authorization: {authorization}\r\n"),
        );
        assert_eq!(page.code, 200);
        no_secret_shows(&sandbox, &[answer, page]);
    }
}

#[test]
fn nothing_else_opens_and_the_body_is_not_asked_for() {
    let wrong = [
        String::new(),
        format!("Authorization: Bearer {TOKEN}0\r\n"),
        format!("Authorization: Bearer {}\r\n", &TOKEN[1..]),
        format!("Authorization: {TOKEN}\r\n"),
        format!("Authorization: Digest {TOKEN}\r\n"),
        format!("Authorization: Basic {}\r\n", WRONG_BASIC[0]),
        format!("Authorization: Basic {}\r\n", WRONG_BASIC[1]),
        format!("X-Authorization: Bearer {TOKEN}\r\n"),
    ];
    for fields in wrong {
        let sandbox = guarded_sandbox();
        // The client has not sent its body yet: Expect is not answered with 100, or this would be no answer.
        let head = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\nExpect: 100-continue\r\n{fields}\r\n"
        );
        let answer = Answer::parse(&sandbox.feed(head.as_bytes()).stdout);
        let answers = [
            answer,
            post_with(&sandbox, &fields),
            get_with(&sandbox, "/metrics", &fields),
            get_with(&sandbox, "/-/ready", &fields),
            get_with(&sandbox, "/", &fields),
        ];
        for answer in &answers {
            assert_eq!(answer.code, 401, "{fields}{answer:?}");
            for scheme in ["Bearer", "Basic"] {
                let offer = format!("WWW-Authenticate: {scheme} ");
                assert!(answer.head.contains(&offer), "{answer:?}");
            }
        }
        assert_eq!(marks(&sandbox), 0, "{fields}");
        no_secret_shows(&sandbox, &answers);
        let healthy = get_with(&sandbox, "/-/healthy", &fields);
        assert_eq!(
            (healthy.code, &*healthy.body),
            (200, "{\"healthy\":true}\n")
        );
    }
}

#[test]
fn a_token_that_others_may_read_is_no_token() {
    for mode in [0o644, 0o604, 0o666] {
        let sandbox = guarded_sandbox();
        chmod(&sandbox.path("token"), mode);
        let authorized = format!("Authorization: Bearer {TOKEN}\r\n");
        let output = sandbox.feed(&with_fields(&authorized));
        assert_eq!(output.status.code(), Some(100));
        let answer = Answer::parse(&output.stdout);
        refused_for(
            &answer,
            &[
                "HEAL_TOKEN_FILE",
                "token",
                &format!("{mode:04o}"),
                "chmod 0600",
            ],
        );
        assert_eq!(marks(&sandbox), 0);
        assert_eq!(sandbox.get("/-/healthy").code, 200);
        no_secret_shows(&sandbox, &[answer]);

        chmod(&sandbox.path("token"), 0o600);
        post_with(&sandbox, &authorized).expect(200, &["healed"]);
    }
}

#[test]
fn a_token_file_that_is_not_there_or_empty_opens_nothing() {
    for text in [
        None,
        Some(""),
        Some("short"),
        Some("two words of some length\n"),
    ] {
        let sandbox = guarded_sandbox();
        match text {
            Some(text) => fs::write(sandbox.path("token"), text).unwrap(),
            None => fs::remove_file(sandbox.path("token")).unwrap(),
        }
        for fields in [
            "",
            "Authorization: Bearer \r\n",
            "Authorization: Bearer short\r\n",
        ] {
            refused_for(&post_with(&sandbox, fields), &["HEAL_TOKEN_FILE"]);
        }
        assert_eq!(marks(&sandbox), 0);
    }
}

#[test]
fn a_browser_is_refused_even_with_the_token() {
    let sandbox = guarded_sandbox();
    let fields = format!("Authorization: Bearer {TOKEN}\r\nOrigin: https://example.com\r\n");
    assert_eq!(post_with(&sandbox, &fields).code, 403);
    // Not 401, which would make the browser ask its user for a password.
    assert_eq!(post_with(&sandbox, "Origin: null\r\n").code, 403);
    assert_eq!(marks(&sandbox), 0);
}

#[test]
fn a_peer_that_the_spawner_declares_is_judged_by_the_list() {
    for (variable, value, listed, code) in [
        ("SOCAT_PEERADDR", "203.0.113.9", "", 403),
        ("HEALER_PEERADDR", "203.0.113.9", "", 403),
        ("REMOTE_HOST", "203.0.113.9", "", 403),
        ("REMOTE_ADDR", "2001:db8::9", "", 403),
        ("TCPREMOTEIP", "203.0.113.9", "", 403),
        ("REMOTE_HOST", "localhost", "", 403),
        ("SOCAT_PEERADDR", "203.0.113.9", "203.0.114.0/24", 403),
        ("SOCAT_PEERADDR", "203.0.113.9", "203.0.113.0/24", 200),
        (
            "REMOTE_ADDR",
            "2001:db8::9",
            "203.0.113.9,2001:db8::/32",
            200,
        ),
        ("SOCAT_PEERADDR", "127.0.0.1", "", 200),
        ("SOCAT_PEERADDR", "127.0.0.1", "203.0.113.9", 200),
        ("REMOTE_ADDR", "::ffff:127.0.0.1", "", 200),
    ] {
        let sandbox = marking_sandbox();
        if !listed.is_empty() {
            sandbox.set("HEAL_ALLOW_PEERS", listed);
        }
        let mut command = sandbox.command();
        command.env(variable, value);
        let answer = Answer::parse(&feed(command, &good_request()).stdout);
        assert_eq!(answer.code, code, "{variable}={value} {listed} {answer:?}");
        assert_eq!(marks(&sandbox), usize::from(code == 200));
        if code == 403 {
            assert!(answer.body.contains("HEAL_ALLOW_PEERS"), "{answer:?}");
        }
    }
}

#[test]
fn two_spawners_that_declare_different_peers_are_believed_neither() {
    let sandbox = marking_sandbox();
    sandbox.set("HEAL_ALLOW_PEERS", "0.0.0.0/0");
    let mut command = sandbox.command();
    command
        .env("SOCAT_PEERADDR", "127.0.0.1")
        .env("REMOTE_ADDR", "203.0.113.9");
    let answer = Answer::parse(&feed(command, &good_request()).stdout);
    assert_eq!((answer.code, marks(&sandbox)), (403, 0));
}

#[test]
fn the_kernel_outranks_what_the_environment_declares() {
    let sandbox = marking_sandbox();
    let (client, server) = connection();
    let mut command = sandbox.command();
    command.env("REMOTE_ADDR", "203.0.113.9");
    let mut child = serve_by(command, server);
    ask(&client).expect(200, &["healed"]);
    drop(client);
    assert!(child.wait().unwrap().success());
}

/// Runs itself again in a network of its own, where this machine has an address that is not loopback's.
#[test]
fn a_peer_from_elsewhere_is_refused_unless_listed() {
    const INNER: &str = "HEAL_TEST_IN_ITS_OWN_NETWORK";
    if std::env::var_os(INNER).is_some() {
        return peers_from_elsewhere();
    }
    if !geteuid().is_root() {
        // Only root can make a network whose files are still trusted; what is declared is judged for everybody.
        return;
    }
    let itself = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c"])
        .arg("ip link set lo up && ip address add 198.51.100.7/32 dev lo && exec \"$@\"")
        .args(["-".as_ref(), itself.as_os_str()])
        .args(["--exact", "--nocapture"])
        .arg("access::a_peer_from_elsewhere_is_refused_unless_listed")
        .env(INNER, "yes")
        .output()
        .expect("unshare(1) and ip(8) are needed: packages util-linux, iproute2");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn peers_from_elsewhere() {
    for (listed, code) in [
        ("", 403),
        ("198.51.100.8", 403),
        ("198.51.100.7", 200),
        ("198.51.100.0/24", 200),
    ] {
        let sandbox = marking_sandbox();
        if !listed.is_empty() {
            sandbox.set("HEAL_ALLOW_PEERS", listed);
        }
        for at in ["198.51.100.7", "0.0.0.0"] {
            let listener = TcpListener::bind((at, 0)).unwrap();
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect(("198.51.100.7", port)).unwrap();
            let server = listener.accept().unwrap().0;
            // What a spawner declares does not make a stranger local.
            let mut command = sandbox.command();
            command.env("SOCAT_PEERADDR", "127.0.0.1");
            let mut child = serve_by(command, server);
            let healthy = "GET /-/healthy HTTP/1.1\r\nHost: h\r\n\r\n";
            let answer = exchange(&client, healthy.as_bytes());
            assert_eq!(answer.code, code, "{listed} {at} {answer:?}");
            drop(client);
            assert!(child.wait().unwrap().success());
        }
        let listener = TcpListener::bind("198.51.100.7:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let mut child = serve(&sandbox, listener.accept().unwrap().0);
        let answer = ask(&client);
        drop(client);
        assert!(child.wait().unwrap().success());
        assert_eq!(answer.code, code, "{listed} {answer:?}");
        assert_eq!(marks(&sandbox), usize::from(code == 200), "{listed}");
    }
}

#[test]
fn a_listed_user_may_ask_and_another_may_not() {
    let own = geteuid().as_raw();
    let ours = User::from_uid(geteuid()).unwrap().unwrap().name;
    let other = if own == 65534 { "daemon" } else { "nobody" };
    for (listed, code) in [
        (own.to_string(), 200),
        (ours.clone(), 200),
        (format!("{other},{ours}"), 200),
        (other.to_owned(), 403),
    ] {
        let sandbox = marking_sandbox();
        sandbox.set("HEAL_ALLOW_USERS", &listed);
        let (client, server) = connection();
        let mut child = serve(&sandbox, server);
        let answer = ask(&client);
        assert_eq!(answer.code, code, "{listed} {answer:?}");
        assert_eq!(marks(&sandbox), usize::from(code == 200), "{listed}");
        drop(client);
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn another_users_connection_counts_as_theirs() {
    if !geteuid().is_root() {
        // Only root can become another user; the test above holds for everybody.
        return;
    }
    for (listed, code) in [("nobody", 200), ("root", 403), ("daemon", 403)] {
        let sandbox = marking_sandbox();
        sandbox.set("HEAL_ALLOW_USERS", listed);
        let inetd = Inetd::start(&sandbox);
        let body = sandbox.write("body.json", &good_body());
        let output = Command::new("setpriv")
            .args([
                "--reuid=nobody",
                "--regid=nogroup",
                "--clear-groups",
                "curl",
            ])
            .args([
                "--silent",
                "--show-error",
                "--noproxy",
                "*",
                "--max-time",
                "60",
            ])
            .args(["--header", "Content-Type: application/json"])
            .args(["--write-out", "\n%{http_code}", "--data-binary"])
            .arg(format!("@{}", body.display()))
            .arg(inetd.url("/"))
            .output()
            .expect("setpriv(1) and curl are needed: packages util-linux, curl");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(said.ends_with(&format!("\n{code}")), "{listed}: {output:?}");
        assert_eq!(marks(&sandbox), usize::from(code == 200), "{listed}");
    }
}

#[test]
fn a_pipe_and_a_client_that_left_have_no_user() {
    let sandbox = marking_sandbox();
    sandbox.set("HEAL_ALLOW_USERS", &geteuid().to_string());
    let answer = sandbox.post(&alert());
    assert_eq!((answer.code, marks(&sandbox)), (403, 0));
    assert!(answer.body.contains("HEAL_ALLOW_USERS"), "{answer:?}");

    let (mut client, server) = connection();
    client.write_all(&good_request()).unwrap();
    drop(client);
    assert!(serve(&sandbox, server).wait().unwrap().success());
    assert_eq!(marks(&sandbox), 0);
}

#[test]
fn a_user_that_is_not_there_is_a_wrong_configuration() {
    let sandbox = marking_sandbox();
    sandbox.set("HEAL_ALLOW_USERS", "no-such-account");
    let output = sandbox.feed(&good_request());
    assert_eq!(output.status.code(), Some(100));
    refused_for(
        &Answer::parse(&output.stdout),
        &["HEAL_ALLOW_USERS", "no-such-account"],
    );
    assert_eq!(marks(&sandbox), 0);
}

#[test]
fn root_does_not_serve_unless_it_is_allowed_to() {
    let sandbox = marking_sandbox();
    sandbox.set("HEAL_ALLOW_ROOT", "no");
    if geteuid().is_root() {
        let output = sandbox.feed(&good_request());
        assert_eq!(output.status.code(), Some(100));
        refused_for(&Answer::parse(&output.stdout), &["root", "HEAL_ALLOW_ROOT"]);
        assert_eq!(marks(&sandbox), 0);
        let ready = sandbox.get("/-/ready");
        assert_eq!(ready.code, 503);
        assert!(ready.body.contains("HEAL_ALLOW_ROOT"), "{ready:?}");
        assert_eq!(sandbox.get("/-/healthy").code, 200);
    }
    // As any other account it serves.
    let answer = Answer::parse(&feed(as_an_ordinary_user(&sandbox), &good_request()).stdout);
    answer.expect(200, &["healed"]);
}

/// The executable as somebody who is not root; the sandbox becomes theirs.
fn as_an_ordinary_user(sandbox: &Sandbox) -> Command {
    if !geteuid().is_root() {
        return sandbox.command();
    }
    let nobody = User::from_name("nobody").unwrap().unwrap();
    for folder in ["", "log", "lock", "state", "backup"] {
        let owner = (Some(nobody.uid.as_raw()), Some(nobody.gid.as_raw()));
        chown(sandbox.path(folder), owner.0, owner.1).unwrap();
    }
    // Where root built it, others may not be able to reach it.
    let program = sandbox.path("self-heal");
    let copied = Command::new("install")
        .args(["-m", "755", PROGRAM])
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid=nobody", "--regid=nogroup", "--clear-groups"])
        .arg(program)
        .arg("serve")
        .env_clear()
        .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
        .env("HEAL_CONF", sandbox.path("self-heal.conf"));
    command
}

#[test]
fn a_wrong_value_is_said_with_its_line_and_nothing_is_run() {
    let sandbox = marking_sandbox();
    sandbox.set("HEAL_MAX_ATTEMPTS", "many");
    let place = line_of(&sandbox, "HEAL_MAX_ATTEMPTS");
    let output = sandbox.feed(&good_request());
    assert_eq!(output.status.code(), Some(100));
    let answer = Answer::parse(&output.stdout);
    refused_for(&answer, &["nothing is run", &place, "HEAL_MAX_ATTEMPTS"]);
    assert!(
        String::from_utf8_lossy(&output.stderr).contains(&place),
        "{output:?}"
    );
    assert_eq!(marks(&sandbox), 0);
    assert_eq!(sandbox.get("/metrics").code, 503);

    let ready = sandbox.get("/-/ready");
    assert_eq!(ready.code, 503);
    assert_eq!(ready.json()["ready"], false);
    assert!(
        ready.json()["problems"][0]
            .as_str()
            .unwrap()
            .starts_with(&place)
    );
    let healthy = sandbox.get("/-/healthy");
    assert_eq!(
        (healthy.code, &*healthy.body),
        (200, "{\"healthy\":true}\n")
    );

    // Alertmanager asks again, and finds it mended.
    sandbox.set("HEAL_MAX_ATTEMPTS", "3");
    let output = sandbox.feed(&good_request());
    assert_eq!(output.status.code(), Some(0));
    Answer::parse(&output.stdout).expect(200, &["healed"]);
    assert_eq!(sandbox.get("/-/ready").code, 200);
}

#[test]
fn an_unknown_key_of_the_file_is_an_error_and_every_problem_is_listed() {
    let sandbox = marking_sandbox();
    sandbox.set("HEAL_HANDLER_TIMEOUTS", "4m");
    sandbox.set("HEAL_MODE", "fast");
    let unknown = line_of(&sandbox, "HEAL_HANDLER_TIMEOUTS");
    let malformed = line_of(&sandbox, "HEAL_MODE");
    let answer = sandbox.post(&alert());
    refused_for(&answer, &["and 1 more", "/-/ready"]);
    let ready = sandbox.get("/-/ready");
    let text = ready.json()["problems"].to_string();
    for part in [
        &*unknown,
        "HEAL_HANDLER_TIMEOUTS",
        "HEAL_HANDLER_TIMEOUT",
        &malformed,
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert_eq!(ready.json()["problems"].as_array().unwrap().len(), 2);
    assert_eq!(marks(&sandbox), 0);
}

#[test]
fn a_file_that_is_named_and_not_there_is_an_error() {
    let sandbox = marking_sandbox();
    let missing = sandbox.path("other.conf");
    let mut command = sandbox.command();
    command.env("HEAL_CONF", &missing);
    let output = feed(command, &good_request());
    assert_eq!(output.status.code(), Some(100));
    refused_for(
        &Answer::parse(&output.stdout),
        &[&missing.to_string_lossy()],
    );
    assert_eq!(marks(&sandbox), 0);
}

#[test]
fn the_environment_wins_over_the_file() {
    let sandbox = Sandbox::new();
    sandbox.handler("NginxDown", "exit 1\n");
    let status_under = |value: Option<&str>| {
        let mut command = sandbox.command();
        if let Some(value) = value {
            command.env("HEAL_UNSETTLED_STATUS", value);
        }
        let answer = Answer::parse(&feed(command, &good_request()).stdout);
        answer.expect(answer.code, &["failed"]);
        answer.code
    };
    assert_eq!(status_under(None), 503);
    sandbox.set("HEAL_UNSETTLED_STATUS", "503");
    assert_eq!(status_under(Some("200")), 200);
}

#[test]
fn a_wrong_value_in_the_environment_is_an_error_and_hides_none_of_the_file() {
    let sandbox = marking_sandbox();
    let mut command = sandbox.command();
    command.env("HEAL_SETTLE", "soon");
    let output = feed(command, &good_request());
    assert_eq!(output.status.code(), Some(100));
    refused_for(
        &Answer::parse(&output.stdout),
        &["environment", "HEAL_SETTLE"],
    );

    sandbox.set("HEAL_SETTLE", "soon");
    let place = line_of(&sandbox, "HEAL_SETTLE");
    let mut command = sandbox.command();
    command.env("HEAL_SETTLE", "6m");
    let answer = Answer::parse(&feed(command, &good_request()).stdout);
    refused_for(&answer, &[&place]);
    assert_eq!(marks(&sandbox), 0);
}

#[test]
fn an_unknown_variable_of_the_environment_is_ignored() {
    let sandbox = marking_sandbox();
    let mut command = sandbox.command();
    command.env("HEAL_HANDLER_TIMEOUTS", "4m");
    let output = feed(command, &good_request());
    assert_eq!(output.status.code(), Some(0));
    Answer::parse(&output.stdout).expect(200, &["healed"]);
}

fn alert() -> Alert {
    Alert::firing("NginxDown", "web-1:9113")
}

fn good_body() -> String {
    notification(&[&alert()]).to_string()
}

fn good_request() -> Vec<u8> {
    request(&good_body())
}

/// The good request with these field lines more.
fn with_fields(fields: &str) -> Vec<u8> {
    let text = String::from_utf8(good_request()).unwrap();
    let (line, rest) = text.split_once("\r\n").unwrap();
    format!("{line}\r\n{fields}{rest}").into_bytes()
}

fn post_with(sandbox: &Sandbox, fields: &str) -> Answer {
    Answer::parse(&sandbox.feed(&with_fields(fields)).stdout)
}

fn get_with(sandbox: &Sandbox, path: &str, fields: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    Answer::parse(&sandbox.feed(request.as_bytes()).stdout)
}

/// The good request over this connection.
fn ask(client: &TcpStream) -> Answer {
    exchange(client, &good_request())
}

fn exchange(mut client: &TcpStream, request: &[u8]) -> Answer {
    client
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    client.write_all(request).unwrap();
    Answer::parse(&read_all(client))
}

/// With a handler that leaves a mark.
fn marking_sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.handler(
        "NginxDown",
        &format!("echo ran >>{}\n", sandbox.path("marks").display()),
    );
    sandbox
}

fn guarded_sandbox() -> Sandbox {
    let sandbox = marking_sandbox();
    let token = sandbox.write("token", &format!("{TOKEN}\n"));
    chmod(&token, 0o600);
    sandbox.set("HEAL_TOKEN_FILE", &token.display().to_string());
    sandbox
}

/// How many handlers ran.
fn marks(sandbox: &Sandbox) -> usize {
    fs::read_to_string(sandbox.path("marks")).map_or(0, |text| text.lines().count())
}

/// `path:line` of this key in the configuration file.
fn line_of(sandbox: &Sandbox, key: &str) -> String {
    let text = sandbox.read("self-heal.conf");
    let assignment = format!("{key}=");
    let index = text.lines().position(|line| line.starts_with(&assignment));
    let path = sandbox.path("self-heal.conf");
    format!("{}:{}:", path.display(), index.unwrap() + 1)
}

/// Asserts a 503 that asks to come again and gives these parts of the reason.
#[track_caller]
fn refused_for(answer: &Answer, parts: &[&str]) {
    assert_eq!(answer.code, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some(), "{answer:?}");
    let reason = answer.json()["error"].as_str().unwrap().to_owned();
    for part in parts {
        assert!(reason.contains(part), "{part} in {reason}");
    }
}

fn no_secret_shows(sandbox: &Sandbox, answers: &[Answer]) {
    let secret = &TOKEN[1..];
    assert!(!sandbox.log().contains(secret));
    for answer in answers {
        assert!(!answer.head.contains(secret) && !answer.body.contains(secret));
    }
}
