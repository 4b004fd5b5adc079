//! TLS with client certificates in front of the listener, by the shipped files and the real programs: socat's
//! OPENSSL-LISTEN, nginx, and Alertmanager as the sender. Whoever has no certificate of ours starts nothing.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::json;

use crate::chain::ask;
use crate::chain::process::{command, flag, free_port, program};
use crate::chain::shipped::Shipped;
use crate::stage::{Gate, as_root, run};
use crate::support::{Alert, PROGRAM, PROJECT, Sandbox, chmod, notification, until};

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// A listener behind a front, with certificates for both sides. Ends with the test.
struct Front {
    sandbox: Sandbox,
    port: u16,
    parts: Vec<Child>,
}

/// Who posts.
#[derive(Clone, Copy, Default)]
struct Sender {
    /// Whose certificate he shows, if any.
    certificate: Option<&'static str>,
    /// And whether the token.
    token: bool,
}

const OURS: Sender = Sender {
    certificate: Some("client"),
    token: false,
};

impl Front {
    fn new() -> Front {
        let sandbox = Sandbox::new();
        let program = sandbox.path("self-heal");
        std::os::unix::fs::symlink(PROGRAM, program).unwrap();
        certificates(&sandbox.path("tls"));
        Front {
            sandbox,
            port: free_port(),
            parts: Vec::new(),
        }
    }

    /// The shipped tls-listener.sh, on this address.
    fn socat(bind: &str) -> Front {
        let mut front = Front::new();
        let mut listener = command("/bin/bash".as_ref());
        listener
            .arg(format!("{PROJECT}/deploy/tls/tls-listener.sh"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HEAL_CONF", front.sandbox.path("self-heal.conf"))
            .env("SELF_HEAL_BIN", front.sandbox.path("self-heal"))
            .env("SELF_HEAL_TLS_BIND", bind)
            .env("SELF_HEAL_TLS_PORT", front.port.to_string())
            .env("SELF_HEAL_TLS_DIR", front.sandbox.path("tls"));
        program("socat");
        front.start("socat", listener);
        let address = format!("{bind}:{}", front.port);
        front.up(&address);
        front
    }

    /// The shipped nginx.conf before the shipped webhook-listener.sh.
    fn nginx() -> Front {
        let mut front = Front::new();
        let behind = free_port();
        front.sandbox.set("HEAL_PORT", &behind.to_string());
        let mut listener = command("/bin/bash".as_ref());
        listener
            .arg(format!("{PROJECT}/deploy/webhook-listener.sh"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HEAL_CONF", front.sandbox.path("self-heal.conf"))
            .env("SELF_HEAL_BIN", front.sandbox.path("self-heal"));
        front.start("listener", listener);
        front.up(&format!("127.0.0.1:{behind}"));

        let tls = front.sandbox.path("tls").display().to_string();
        let site = Shipped::read("deploy/tls/nginx.conf")
            .with_each(3, "/etc/self-heal/tls/", &format!("{tls}/"))
            .with(
                "listen 9443 ssl",
                &format!("listen 127.0.0.1:{} ssl", front.port),
            )
            .with(
                "http://127.0.0.1:9095;",
                &format!("http://127.0.0.1:{behind};"),
            );
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path tmp;\n"))
            .concat();
        let text = format!(
            "daemon off;\nuser www-data;\npid nginx.pid;\nerror_log error.log;\nworker_processes 1;\nevents {{}}\n\
             http {{\naccess_log access.log;\n{folders}{}\n}}\n",
            site.text()
        );
        front.sandbox.write("nginx/nginx.conf", &text);
        let dir = front.sandbox.path("nginx").display().to_string();
        let mut nginx = command(&program("nginx"));
        nginx.args(["-p", &format!("{dir}/"), "-e", &format!("{dir}/error.log")]);
        nginx.args(["-c", &format!("{dir}/nginx.conf")]);
        front.start("nginx", nginx);
        front.up(&format!("127.0.0.1:{}", front.port));
        front
    }

    fn start(&mut self, name: &str, mut command: Command) {
        let log = File::create(self.sandbox.path(&format!("{name}.out"))).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .process_group(0)
            .spawn();
        self.parts.push(child.unwrap());
    }

    fn up(&mut self, address: &str) {
        until("it listens", || {
            for part in &mut self.parts {
                assert_eq!(part.try_wait().unwrap(), None, "it ended");
            }
            TcpStream::connect(address).ok()
        });
    }

    /// curl(1) with what a sender has, to this target on this host.
    fn curl(&self, sender: Sender, host: &str, target: &str) -> Command {
        let tls = |name: String| self.sandbox.path("tls").join(name);
        let mut curl = Command::new(program("curl"));
        curl.args([
            "--silent",
            "--show-error",
            "--max-time",
            "60",
            "--write-out",
        ])
        .args(["\n%{http_code}", "--cacert"])
        .arg(tls("ca.pem".to_owned()))
        .arg(format!("https://{host}:{}{target}", self.port));
        if let Some(name) = sender.certificate {
            curl.arg("--cert").arg(tls(format!("{name}.pem")));
            curl.arg("--key").arg(tls(format!("{name}.key")));
        }
        if sender.token {
            curl.args(["--header", &format!("Authorization: Bearer {TOKEN}")]);
        }
        curl
    }

    /// curl(1) that posts an alert.
    fn posting(&self, host: &str, sender: Sender, alert: &Alert) -> Command {
        let mut curl = self.curl(sender, host, "/");
        let json = [
            "--header",
            "Content-Type: application/json",
            "--data-binary",
            "@-",
        ];
        let body = self
            .sandbox
            .write("body", &notification(&[alert]).to_string());
        curl.args(json).stdin(File::open(body).unwrap());
        curl
    }

    /// Posts an alert: code and body; a code of 0 is no answer at all.
    fn post_to(&self, host: &str, sender: Sender, alert: &Alert) -> (u16, String) {
        answer(self.posting(host, sender, alert).output().unwrap())
    }

    fn post(&self, sender: Sender, alert: &Alert) -> (u16, String) {
        self.post_to("localhost", sender, alert)
    }

    /// Nobody without a certificate of ours gets anything run, nor so much as a process started.
    fn lets_nobody_else_in(&self, refusals: &[u16]) {
        let alert = Alert::firing("NginxDown", "web-1");
        for certificate in [None, Some("stranger"), Some("expired"), Some("self-signed")] {
            for token in [false, true] {
                let sender = Sender { certificate, token };
                let (code, body) = self.post(sender, &alert);
                assert!(refusals.contains(&code), "{certificate:?}: {code} {body}");
                assert!(!body.contains("verdict"), "{certificate:?}: {body}");
            }
        }
        // Without TLS.
        let plain = ask::http(self.port, "POST", "/", &notification(&[&alert]).to_string());
        assert!(plain.is_err() || plain.unwrap().0 == 400);
        assert_eq!(self.sandbox.runs("NginxDown"), 0);
        assert_eq!(self.sandbox.log(), "", "nobody was let in");
    }

    /// With the certificate an alert is healed, verified, and a large request arrives whole.
    fn heals(&self, sender: Sender) {
        let alert = Alert::firing("NginxDown", "web-1");
        let (code, body) = self.post(sender, &alert);
        assert_eq!(code, 200, "{body}");
        assert!(body.contains(r#""verdict":"healed""#), "{body}");
        let large = Alert::firing("NginxDown", "db-1").label("text", &"x".repeat(100_000));
        let (code, body) = self.post(sender, &large);
        assert_eq!(code, 200, "{body}");
        let (code, body) = self.post(sender, &alert.resolved());
        assert_eq!(code, 200, "{body}");
        assert!(body.contains(r#""verdict":"resolved""#), "{body}");
        let (code, body) = answer(self.curl(sender, "localhost", "/metrics").output().unwrap());
        assert_eq!(code, 200);
        assert!(body.contains("\nself_heal_verified_total 1\n"), "{body}");
        assert_eq!(self.sandbox.runs("NginxDown"), 2);
    }

    /// A sender that hangs up in mid-handler: the handler finishes, and its outcome is recorded.
    fn a_sender_that_leaves_disturbs_nothing(&self, sender: Sender) {
        let gate = Gate::new(&self.sandbox, "Slow");
        self.sandbox.handler("Slow", &gate.line());
        let alert = Alert::firing("Slow", "web-1");
        let mut curl = self.posting("localhost", sender, &alert);
        curl.stdout(Stdio::null());
        let mut child = curl.spawn().unwrap();
        gate.wait_for(1);
        child.kill().unwrap();
        child.wait().unwrap();
        // Meanwhile it is not started again.
        let (code, body) = self.post(sender, &alert);
        assert_eq!(code, 503, "{body}");
        assert!(body.contains(r#""verdict":"busy""#), "{body}");
        gate.open();
        until("its outcome is recorded", || {
            let history = self.sandbox.history();
            let mut results = history.iter().filter(|line| line["event"] == "result");
            results
                .any(|line| line["outcome"] == "healed")
                .then_some(())
        });
        assert_eq!(self.sandbox.runs("Slow"), 1);
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        if thread::panicking() {
            for name in ["socat.out", "nginx/error.log", "log/listener.log"] {
                let said = fs::read_to_string(self.sandbox.path(name)).unwrap_or_default();
                eprintln!("--- {name}\n{said}");
            }
        }
        for part in &mut self.parts {
            let _ = killpg(Pid::from_raw(part.id().cast_signed()), Signal::SIGKILL);
            let _ = part.wait();
        }
    }
}

fn answer(output: Output) -> (u16, String) {
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), body.to_owned())
}

/// An authority of ours with a certificate for the listener, one for a client, and one that is over; another authority
/// with one for a stranger; and one that somebody signed himself.
fn certificates(folder: &Path) {
    fs::create_dir(folder).unwrap();
    let openssl = |words: &[&str]| {
        let mut openssl = Command::new(program("openssl"));
        run(openssl.args(words).current_dir(folder));
    };
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let authority = |name: &str| {
        let (pem, private, subject) = (
            format!("{name}.pem"),
            format!("{name}.key"),
            format!("/CN={name}"),
        );
        let made = [
            "req", "-x509", "-days", "2", "-subj", &subject, "-keyout", &private,
        ];
        openssl(&[&made[..], &["-out", &pem], &key].concat());
    };
    let signed = |name: &str, by: &str, subject: &str, days: &str, extension: &str| {
        let file = |end: &str| format!("{name}.{end}");
        let (request, private, pem) = (file("csr"), file("key"), file("pem"));
        let asked = [
            "req", "-subj", subject, "-keyout", &private, "-out", &request,
        ];
        openssl(&[&asked[..], &key].concat());
        fs::write(folder.join(file("ext")), extension).unwrap();
        let (ca, ca_key) = (format!("{by}.pem"), format!("{by}.key"));
        openssl(&[
            "x509",
            "-req",
            "-in",
            &request,
            "-out",
            &pem,
            "-days",
            days,
            "-CA",
            &ca,
            "-CAkey",
            &ca_key,
            "-CAcreateserial",
            "-extfile",
            &file("ext"),
        ]);
    };
    for name in ["ca", "others", "self-signed"] {
        authority(name);
    }
    let server =
        "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:198.51.100.7\nextendedKeyUsage=serverAuth\n";
    signed("server", "ca", "/CN=localhost", "2", server);
    let client = "extendedKeyUsage=clientAuth\n";
    signed("client", "ca", "/CN=alertmanager", "2", client);
    signed("expired", "ca", "/CN=alertmanager", "-1", client);
    signed("stranger", "others", "/CN=alertmanager", "2", client);
    // Everything in it says that it comes from here.
    let pretends = "extendedKeyUsage=clientAuth\n\
         subjectAltName=DNS:127.0.0.1,IP:127.0.0.1,otherName:1.2.3.4;UTF8:SOCAT_PEERADDR=127.0.0.1\n";
    let subject = "/CN=127.0.0.1/O=SOCAT_PEERADDR=127.0.0.1/OU=x\\\nSOCAT_PEERADDR=127.0.0.1";
    signed("pretender", "ca", subject, "2", pretends);
    fs::copy(folder.join("ca.pem"), folder.join("clients.pem")).unwrap();
    chmod(&folder.join("server.key"), 0o640);
}

#[test]
fn socat_lets_in_whom_our_authority_knows_and_nobody_else() {
    let front = Front::socat("127.0.0.1");
    front.sandbox.handler("NginxDown", "exit 0\n");
    front.lets_nobody_else_in(&[0]);
    front.heals(OURS);
    front.a_sender_that_leaves_disturbs_nothing(OURS);
}

#[test]
fn nginx_lets_in_whom_our_authority_knows_and_nobody_else() {
    as_root();
    let front = Front::nginx();
    front.sandbox.handler("NginxDown", "exit 0\n");
    front.lets_nobody_else_in(&[0, 400]);
    front.heals(OURS);
    front.a_sender_that_leaves_disturbs_nothing(OURS);
}

/// The certificate is one lock, the token another, and the port on the loopback is for nginx's account alone.
#[test]
fn behind_nginx_token_and_account_still_count() {
    as_root();
    let front = Front::nginx();
    front.sandbox.handler("NginxDown", "exit 0\n");
    let token = front.sandbox.write("token", &format!("{TOKEN}\n"));
    chmod(&token, 0o600);
    front
        .sandbox
        .set("HEAL_TOKEN_FILE", &token.display().to_string());
    let alert = Alert::firing("NginxDown", "web-1");
    assert_eq!(front.post(OURS, &alert).0, 401);
    front.sandbox.set("HEAL_ALLOW_USERS", "www-data");
    let with_token = Sender {
        token: true,
        ..OURS
    };
    let behind: u16 = front
        .sandbox
        .read("self-heal.conf")
        .lines()
        .find_map(|line| line.strip_prefix("HEAL_PORT="))
        .unwrap()
        .parse()
        .unwrap();
    let past_nginx = ask::http(behind, "POST", "/", &notification(&[&alert]).to_string()).unwrap();
    assert_eq!(past_nginx.0, 403, "{}", past_nginx.1);
    assert_eq!(front.sandbox.runs("NginxDown"), 0);
    front.heals(with_token);
}

/// Who connects and says nothing is let go of, and a handler may take longer than that.
#[test]
fn socat_waits_for_no_handshake_for_ever() {
    let front = Front::socat("127.0.0.1");
    let silent = TcpStream::connect(("127.0.0.1", front.port)).unwrap();
    silent
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let gate = Gate::new(&front.sandbox, "Slow");
    front.sandbox.handler("Slow", &gate.line());
    let mut curl = front.posting("localhost", OURS, &Alert::firing("Slow", "web-1"));
    let curl = curl.stdout(Stdio::piped()).spawn().unwrap();
    gate.wait_for(1);
    // Its end, and not a timeout of ours: 0 bytes.
    assert_eq!((&silent).read(&mut [0; 1]).unwrap(), 0);
    gate.open();
    let (code, body) = answer(curl.wait_with_output().unwrap());
    assert_eq!(code, 200, "{body}");
    assert!(body.contains("healed"), "{body}");
}

/// Runs itself again in a network of its own, where this machine has an address that is not loopback's.
#[test]
fn through_socat_the_peer_is_who_connects_whatever_the_certificate_says() {
    const INNER: &str = "HEAL_TEST_TLS_IN_ITS_OWN_NETWORK";
    if std::env::var_os(INNER).is_some() {
        return peers_through_socat();
    }
    as_root();
    let itself = std::env::current_exe().unwrap();
    let output = Command::new("unshare")
        .args(["--net", "sh", "-c"])
        .arg("ip link set lo up && ip address add 198.51.100.7/32 dev lo && exec \"$@\"")
        .args(["-".as_ref(), itself.as_os_str()])
        .args(["--exact", "--nocapture"])
        .arg("fronts::through_socat_the_peer_is_who_connects_whatever_the_certificate_says")
        .env(INNER, "yes")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn peers_through_socat() {
    let front = Front::socat("198.51.100.7");
    front.sandbox.handler("NginxDown", "env\nexit 0\n");
    let alert = Alert::firing("NginxDown", "web-1");
    let pretender = Sender {
        certificate: Some("pretender"),
        token: false,
    };
    for sender in [OURS, pretender] {
        let (code, body) = front.post_to("198.51.100.7", sender, &alert);
        assert_eq!(code, 403, "{body}");
    }
    assert_eq!(front.sandbox.runs("NginxDown"), 0);
    front.sandbox.set("HEAL_ALLOW_PEERS", "198.51.100.0/24");
    let (code, body) = front.post_to("198.51.100.7", pretender, &alert);
    assert_eq!(code, 200, "{body}");
    until("the request is in the log", || {
        let log = front.sandbox.log();
        log.contains("request peer=198.51.100.7 path=/ code=200")
            .then_some(())
    });
    // Nothing of the certificate gets as far as a handler.
    let handler = front.sandbox.read("log/NginxDown.log");
    assert!(
        !handler.contains("SOCAT") && handler.contains("HEAL_INSTANCE=web-1"),
        "{handler}"
    );
    // Whose connection it is cannot be asked through socat.
    front.sandbox.set("HEAL_ALLOW_USERS", "root");
    let (code, _) = front.post_to("198.51.100.7", OURS, &alert);
    assert_eq!(code, 403);
}

/// The sender's side: a real Alertmanager with the shipped configuration, to each of the two.
#[test]
fn alertmanager_posts_through_both() {
    as_root();
    for mut front in [Front::socat("127.0.0.1"), Front::nginx()] {
        front.sandbox.handler("NginxDown", "exit 0\n");
        let tls = front.sandbox.path("tls").display().to_string();
        let configuration = Shipped::read("deploy/tls/alertmanager.yml")
            .with(
                "heal.example.org:9443",
                &format!("localhost:{}", front.port),
            )
            .with(
                "/etc/alertmanager/self-heal/ca.pem",
                &format!("{tls}/ca.pem"),
            )
            .with(
                "/etc/alertmanager/self-heal/client.pem",
                &format!("{tls}/client.pem"),
            )
            .with(
                "/etc/alertmanager/self-heal/client.key",
                &format!("{tls}/client.key"),
            )
            .with(
                "  receiver: self-heal\n",
                "  receiver: self-heal\n  group_wait: 0s\n",
            );
        let file: PathBuf = front
            .sandbox
            .write("alertmanager.yml", configuration.text());
        let port = free_port();
        let mut alertmanager = command(&program("prometheus-alertmanager"));
        alertmanager
            .arg(flag("config.file", file.display()))
            .arg(flag("storage.path", front.sandbox.path("am").display()))
            .arg(flag("web.listen-address", format!("127.0.0.1:{port}")))
            .arg(flag("cluster.listen-address", ""));
        front.start("alertmanager", alertmanager);
        front.up(&format!("127.0.0.1:{port}"));
        until("it is ready", || ask::get(port, "/-/ready"));
        let alerts = json!([{"labels": {"alertname": "NginxDown", "instance": "web-1"}}]);
        let posted = ask::http(port, "POST", "/api/v2/alerts", &alerts.to_string());
        assert_eq!(posted.unwrap().0, 200);
        until("it is healed", || {
            front.sandbox.log().contains("verdict=healed").then_some(())
        });
        until("Alertmanager has heard of it", || {
            let text = ask::get(port, "/metrics")?;
            let line = "alertmanager_notification_requests_total{integration=\"webhook\"} 1";
            text.contains(line).then_some(())
        });
    }
}
