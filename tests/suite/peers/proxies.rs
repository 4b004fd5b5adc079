//! Reverse proxies in front, as somebody configures them who has not read `deploy/tls/nginx.conf`: nginx and haproxy,
//! buffering or not, with HTTP/1.0 and 1.1, with connections that they would like to keep.

use std::fmt::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::thread;

use super::curl::{curl, curl_command};
use super::{House, alert, body, instance, padded, url};
use crate::chain::ask;
use crate::chain::process::{free_port, program};
use crate::spawners::daemon::Daemon;
use crate::spawners::processes;
use crate::support::until;

/// A proxy before a house, with a port for each of its manners.
struct Proxy {
    house: House,
    daemon: Daemon,
    manners: Vec<(&'static str, u16)>,
}

fn start(house: &House, name: &str, command: &Command, ports: &[u16]) -> Daemon {
    let output = house.sandbox().path(&format!("{name}.out"));
    let mut daemon = Daemon::start(command, &output);
    daemon.until("the proxy listens", || {
        let all = ports.iter().all(|port| processes::listening(*port));
        all.then_some(())
    });
    daemon
}

/// nginx 1.22 and its like: every manner is a server of its own.
fn nginx() -> Proxy {
    const MANNERS: [(&str, &str); 6] = [
        ("as it comes", ""),
        ("1.1", "proxy_http_version 1.1;"),
        ("1.0, unbuffered", "proxy_request_buffering off;"),
        (
            "1.1, unbuffered",
            "proxy_http_version 1.1; proxy_request_buffering off;",
        ),
        (
            "kept",
            "proxy_http_version 1.1; proxy_set_header Connection '';",
        ),
        (
            "kept, unbuffered both ways",
            "proxy_http_version 1.1; proxy_set_header Connection ''; proxy_request_buffering off; proxy_buffering off;",
        ),
    ];
    let house = House::new();
    let manners: Vec<_> = MANNERS
        .iter()
        .map(|(name, _)| (*name, free_port()))
        .collect();
    let mut servers = String::new();
    for ((_, port), (_, lines)) in manners.iter().zip(MANNERS) {
        write!(
            servers,
            "server {{ listen 127.0.0.1:{port}; client_max_body_size 0;\n\
             location / {{ proxy_pass http://listener; {lines} }} }}\n"
        )
        .unwrap();
    }
    let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|what| format!("{what}_temp_path tmp;\n"))
        .concat();
    let text = format!(
        "daemon off;\nuser root;\npid nginx.pid;\nerror_log error.log;\nworker_processes 1;\nevents {{}}\nhttp {{\n\
         access_log off;\n{folders}upstream listener {{ server 127.0.0.1:{}; keepalive 8; }}\n{servers}}}\n",
        house.place.port
    );
    let file = house.sandbox().write("nginx/nginx.conf", &text);
    let folder = file.parent().unwrap().display();
    let mut command = Command::new(program("nginx"));
    command
        .args([
            "-p",
            &format!("{folder}/"),
            "-e",
            &format!("{folder}/error.log"),
        ])
        .arg("-c")
        .arg(&file);
    let ports: Vec<u16> = manners.iter().map(|(_, port)| *port).collect();
    let daemon = start(&house, "nginx", &command, &ports);
    Proxy {
        house,
        daemon,
        manners,
    }
}

fn haproxy_command(file: &Path) -> Command {
    let mut command = Command::new(program("haproxy"));
    command.arg("-db").arg("-f").arg(file);
    command
}

const DEFAULTS: &str = "defaults\n mode http\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n timeout http-request 10s\n";

fn haproxy() -> Proxy {
    const MANNERS: [(&str, &str); 5] = [
        ("as it comes", ""),
        ("reuse always", "http-reuse always"),
        (
            "buffered, reuse aggressive",
            "option http-buffer-request\n http-reuse aggressive",
        ),
        ("close", "option httpclose\n http-reuse never"),
        (
            "server close",
            "option http-server-close\n option http-buffer-request",
        ),
    ];
    let house = House::new();
    let manners: Vec<_> = MANNERS
        .iter()
        .map(|(name, _)| (*name, free_port()))
        .collect();
    let mut text = DEFAULTS.to_owned();
    for (number, ((_, port), (_, lines))) in manners.iter().zip(MANNERS).enumerate() {
        let to = house.place.port;
        writeln!(
            text,
            "listen manner{number}\n bind 127.0.0.1:{port}\n {lines}\n server one 127.0.0.1:{to}"
        )
        .unwrap();
    }
    let file = house.sandbox().write("haproxy.cfg", &text);
    let ports: Vec<u16> = manners.iter().map(|(_, port)| *port).collect();
    let daemon = start(&house, "haproxy", &haproxy_command(&file), &ports);
    Proxy {
        house,
        daemon,
        manners,
    }
}

impl Proxy {
    /// What has to be so in every manner, with instances of that manner's own.
    fn behaves(self) {
        let house = &self.house;
        house.healer("Heals");
        house.sandbox().handler("Fails", "exit 1\n");
        for (number, (manner, port)) in self.manners.iter().enumerate() {
            eprintln!("{manner}");
            let first = 1000 * (number + 1);
            self.one_after_another_over_one_connection(*port, first);
            self.many_at_once(*port, first + 100);
            self.a_503_is_passed_on(*port, first);
            self.large_bodies(*port, first + 200);
            self.a_sender_that_leaves(*port, number);
            until("nothing is left of it", || {
                (house.serving() == 0).then_some(())
            });
        }
        drop(self.daemon);
        house.nothing_is_left();
    }

    /// The client keeps its connection to the proxy; the proxy would like to do so with the listener's.
    fn one_after_another_over_one_connection(&self, port: u16, first: usize) {
        const COUNT: usize = 5;
        let bodies: Vec<String> = (first..first + COUNT)
            .map(|number| body(&alert("Heals", number)))
            .collect();
        let url = url(port, "/");
        let mut options = Vec::new();
        for body in &bodies {
            options.extend([
                "--json",
                body,
                &url,
                "--write-out",
                "\n%{http_code}\n",
                "--next",
            ]);
        }
        options.pop();
        let text = String::from_utf8(curl(&options).stdout).unwrap();
        assert_eq!(
            text.matches(r#""verdict":"healed""#).count(),
            COUNT,
            "{text}"
        );
        self.ran(first, COUNT);
    }

    fn many_at_once(&self, port: u16, first: usize) {
        const COUNT: usize = 12;
        let answers = Mutex::new(Vec::new());
        thread::scope(|posts| {
            for number in first..first + COUNT {
                let answers = &answers;
                posts.spawn(move || {
                    let answer = ask::http(port, "POST", "/", &body(&alert("Heals", number)));
                    answers.lock().unwrap().push(answer.unwrap());
                });
            }
        });
        for (code, body) in answers.into_inner().unwrap() {
            assert_eq!(code, 200, "{body}");
            assert!(body.contains(r#""verdict":"healed""#), "{body}");
        }
        self.ran(first, COUNT);
    }

    /// As it is, with its Retry-After, and not asked again by the proxy.
    fn a_503_is_passed_on(&self, port: u16, number: usize) {
        let before = self.house.sandbox().runs("Fails");
        let body = body(&alert("Fails", number));
        let answer = curl(&["--include", "--json", &body, &url(port, "/")]);
        let text = String::from_utf8(answer.stdout).unwrap().to_lowercase();
        assert!(text.ends_with("\n503\n"), "{text}");
        assert!(text.contains("\r\nretry-after: 30\r\n"), "{text}");
        assert!(text.contains(r#""verdict":"failed""#), "{text}");
        assert_eq!(self.house.sandbox().runs("Fails"), before + 1);
    }

    fn large_bodies(&self, port: u16, first: usize) {
        let chunked: &[&str] = &["--header", "Transfer-Encoding: chunked"];
        let ways = [&[][..], chunked];
        for (number, way) in (first..).zip(ways) {
            for (blanks, wanted) in [(3 << 20, "200"), (6 << 20, "413")] {
                let text = padded(&alert("Heals", number), blanks);
                let file = self.house.sandbox().write("body.json", &text);
                let data = format!("@{}", file.display());
                let url = url(port, "/");
                let options = ["--header", "Expect:", "--json", &data, &url];
                let output = curl(&[way, &options].concat());
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(
                    text.ends_with(&format!("\n{wanted}\n")),
                    "{way:?} {output:?}"
                );
            }
        }
        self.ran(first, ways.len());
    }

    /// Its handler finishes, whoever is told.
    fn a_sender_that_leaves(&self, port: u16, number: usize) {
        let house = &self.house;
        let name = format!("Left{number}");
        let gate = house.gated(&name);
        let whole = body(&alert(&name, number));
        let mut leaving = curl_command(&["--json", &whole, &url(port, "/")])
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        gate.wait_for(1);
        leaving.kill().unwrap();
        leaving.wait().unwrap();
        gate.open();
        let ended = until("the outcome is recorded", || {
            let history = house.sandbox().history();
            let of =
                |line: &&serde_json::Value| line["event"] == "result" && line["alertname"] == *name;
            history.iter().find(of).cloned()
        });
        assert_eq!(ended["outcome"], "healed");
    }

    /// Each of these once, by the history.
    #[track_caller]
    fn ran(&self, first: usize, count: usize) {
        let ran = self.house.healed_once("Heals");
        for number in first..first + count {
            assert!(ran.contains(&instance(number)), "{number} of {ran:?}");
        }
    }
}

#[test]
fn nginx_passes_on_what_is_asked_and_answered_in_every_manner() {
    nginx().behaves();
}

#[test]
fn haproxy_passes_on_what_is_asked_and_answered_in_every_manner() {
    haproxy().behaves();
}

/// Its checks are requests like others: they see whether it lives, or whether it could heal, and cost no log line.
#[test]
fn haproxys_checks_follow_healthy_and_ready() {
    let house = House::new();
    house.healer("Heals");
    let [alive, able, stats] = [(); 3].map(|()| free_port());
    let to = house.place.port;
    let text = format!(
        "{DEFAULTS}\
         listen alive\n bind 127.0.0.1:{alive}\n option httpchk GET /-/healthy\n server one 127.0.0.1:{to} check inter 100\n\
         listen able\n bind 127.0.0.1:{able}\n option httpchk GET /-/ready\n http-check expect status 200\n \
         server one 127.0.0.1:{to} check inter 100\n\
         listen stats\n bind 127.0.0.1:{stats}\n stats enable\n stats uri /\n"
    );
    let file = house.sandbox().write("haproxy.cfg", &text);
    let daemon = start(
        &house,
        "haproxy",
        &haproxy_command(&file),
        &[alive, able, stats],
    );
    // haproxy's management guide, 9.1: proxy, server, … status, … and the outcome of the last check.
    let server = |proxy: &str, status: &str, check: &str| {
        let table = ask::get(stats, "/;csv").unwrap_or_default();
        let row = table
            .lines()
            .find(|row| row.starts_with(&format!("{proxy},one,")));
        row.is_some_and(|row| row.contains(&format!(",{status},")) && row.contains(check))
            .then_some(())
    };
    until("both are up", || {
        server("alive", "UP", "L7OK").and(server("able", "UP", "L7OK"))
    });
    let good = house.sandbox().read("self-heal.conf");
    house
        .sandbox()
        .write("self-heal.conf", &format!("{good}HEAL_NONSENSE=1\n"));
    until("it lives and could not heal", || {
        server("alive", "UP", "L7OK").and(server("able", "DOWN", "L7STS"))
    });
    // The proxy's own 503: the listener is not asked.
    let (code, said) = ask::http(able, "POST", "/", &body(&alert("Heals", 1))).unwrap();
    assert!(code == 503 && !said.contains("HEAL_NONSENSE"), "{said}");
    let (code, said) = ask::http(alive, "POST", "/", &body(&alert("Heals", 1))).unwrap();
    assert!(code == 503 && said.contains("HEAL_NONSENSE"), "{said}");
    house.sandbox().write("self-heal.conf", &good);
    until("it could heal again", || server("able", "UP", "L7OK"));
    let (code, said) = ask::http(able, "POST", "/", &body(&alert("Heals", 1))).unwrap();
    assert_eq!(code, 200, "{said}");
    assert_eq!(house.healed_once("Heals").len(), 1);
    let log = house.sandbox().log();
    assert!(!log.contains(" path=/-/healthy "), "{log}");
    drop(daemon);
    house.nothing_is_left();
}
