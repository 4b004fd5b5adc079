//! The parts of the chain, each a real program in the sandbox with the shipped configuration: started, asked, ended.

use std::cell::RefCell;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::alertmanager::Alertmanager;
use super::ask;
use super::process::{command, end_groups_with, flag, free_port, program};
use super::shipped::Shipped;
use crate::support::{PROGRAM, PROJECT, Sandbox};

/// How much of a part's log a failed test shows, in lines.
const SHOWN: usize = 80;

/// The machine of one test. Everything that runs in it ends with it.
pub struct Chain {
    parts: RefCell<Vec<(Child, PathBuf)>>,
    pub ports: Ports,
    pub sandbox: Sandbox,
}

/// Where the parts listen, on the loopback.
pub struct Ports {
    pub nginx: u16,
    pub listener: u16,
    pub prometheus: u16,
    pub node: u16,
    pub mailbox: u16,
}

impl Chain {
    /// The listener, with the shipped start script, handlers and allow-list. nginx is not running.
    pub fn new() -> Chain {
        let chain = Chain {
            parts: RefCell::default(),
            ports: Ports {
                nginx: free_port(),
                listener: free_port(),
                prometheus: free_port(),
                node: free_port(),
                mailbox: free_port(),
            },
            sandbox: Sandbox::new(),
        };
        let sandbox = &chain.sandbox;
        sandbox.write(
            "allowed.txt",
            Shipped::read("deploy/allowed-instances.txt").text(),
        );
        sandbox.set("HEAL_PORT", &chain.ports.listener.to_string());
        fs::create_dir(sandbox.path("parts")).unwrap();
        chain.configure_nginx();
        chain.install_nginx_handler(&format!("{};", chain.nginx_command()));
        sandbox.script(
            "handlers/ServiceDown.sh",
            Shipped::read("handlers/ServiceDown.sh").text(),
        );
        chain.listen();
        chain
    }

    fn listen(&self) {
        let program_link = self.sandbox.path("self-heal");
        std::os::unix::fs::symlink(PROGRAM, &program_link).unwrap();
        program("socat");
        let mut listener = command("/bin/bash".as_ref());
        listener
            .arg(format!("{PROJECT}/deploy/webhook-listener.sh"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
            .env("HEAL_CONF", self.sandbox.path("self-heal.conf"))
            .env("SELF_HEAL_BIN", program_link);
        self.start("listener", listener);
        let port = self.ports.listener;
        let (code, body) = self.wait("the listener is up", || {
            ask::http(port, "GET", "/-/ready", "").ok()
        });
        assert_eq!(code, 200, "{body}");
    }

    /// Prometheus with the shipped rules, scraping and evaluating every second, posting to this Alertmanager. An
    /// alert fires after two seconds, NodeDown, which inhibits the others, after one.
    pub fn start_prometheus(&self, alertmanager: &Alertmanager) {
        let ports = &self.ports;
        let configuration = Shipped::read("deploy/prometheus/prometheus.yml")
            .with("\n  scrape_interval: 15s\n", "\n  scrape_interval: 1s\n")
            .with("evaluation_interval: 15s\n", "evaluation_interval: 1s\n")
            .with(
                "\n    scrape_interval: 30s\n",
                "\n    scrape_interval: 1s\n",
            )
            .with(
                "'127.0.0.1:9093'",
                &format!("'127.0.0.1:{}'", alertmanager.port),
            )
            .with("'localhost:9100'", &format!("'localhost:{}'", ports.node))
            .with("'localhost:80'", &format!("'localhost:{}'", ports.nginx))
            .with(
                "'127.0.0.1:9095'",
                &format!("'127.0.0.1:{}'", ports.listener),
            );
        let examples = Shipped::read("deploy/prometheus/heal-examples.rules.yml")
            .with_each(4, "for: 2m\n", "for: 2s\n")
            .with("for: 1m\n", "for: 1s\n");
        let rules = Shipped::read("deploy/prometheus/self-heal.rules.yml")
            // How long a missed scrape is bridged: so much later an open breaker's alert ends.
            .with("self_heal_breakers_open[2m]", "self_heal_breakers_open[5s]");
        let file = self
            .sandbox
            .write("prometheus/prometheus.yml", configuration.text());
        self.sandbox
            .write("prometheus/heal-examples.rules.yml", examples.text());
        self.sandbox
            .write("prometheus/self-heal.rules.yml", rules.text());
        let mut prometheus = command(&program("prometheus"));
        prometheus
            .arg(flag("config.file", file.display()))
            .arg(flag(
                "storage.tsdb.path",
                self.sandbox.path("prometheus/data").display(),
            ))
            .arg(flag(
                "web.listen-address",
                format!("127.0.0.1:{}", ports.prometheus),
            ));
        self.start("prometheus", prometheus);
        self.wait("Prometheus is up", || {
            ask::get(ports.prometheus, "/-/ready")
        });
    }

    /// The value of an expression in Prometheus.
    pub fn prometheus(&self, expression: &str) -> Option<f64> {
        ask::query(self.ports.prometheus, expression)
    }

    /// Whether it can be evaluated there, to whatever result.
    pub fn evaluates(&self, expression: &str) -> bool {
        ask::answer(self.ports.prometheus, expression).is_some()
    }

    /// The groups of rules that it has loaded, sorted.
    pub fn rules(&self) -> Vec<String> {
        let answer = ask::get(self.ports.prometheus, "/api/v1/rules").unwrap();
        let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
        let groups = answer["data"]["groups"].as_array().unwrap();
        let name = |group: &serde_json::Value| group["name"].as_str().unwrap().to_owned();
        let mut names: Vec<String> = groups.iter().map(name).collect();
        names.sort();
        names
    }

    /// Starts a part in a process group of its own; its process and its log.
    pub fn start(&self, name: &str, mut command: Command) -> (Pid, PathBuf) {
        let log = self.sandbox.path(&format!("parts/{name}.log"));
        let file = fs::File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        let pid = Pid::from_raw(child.id().cast_signed());
        self.parts.borrow_mut().push((child, log.clone()));
        (pid, log)
    }

    /// Waits until `condition` yields something; fails after a minute and a half, or when a part has ended.
    pub fn wait<T>(&self, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_secs(90);
        loop {
            if let Some(found) = condition() {
                return found;
            }
            for (child, log) in self.parts.borrow_mut().iter_mut() {
                let ended = child.try_wait().unwrap();
                assert!(ended.is_none(), "{ended:?}, its log is {}", log.display());
            }
            assert!(Instant::now() < deadline, "never came true: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The verdicts on an instance's alerts, in order, by the listener's log.
    pub fn verdicts(&self, instance: &str) -> Vec<String> {
        let log = self.sandbox.log();
        let of = |line: &&str| line.contains(&format!(" instance={instance} "));
        let verdict = |line: &str| {
            Some(
                line.split_once("] alert verdict=")?
                    .1
                    .split_once(' ')?
                    .0
                    .to_owned(),
            )
        };
        log.lines().filter(of).filter_map(verdict).collect()
    }

    /// The codes of all answers to notifications, in order, by the listener's log.
    pub fn answers(&self) -> Vec<u16> {
        let log = self.sandbox.log();
        let code = |line: &str| {
            let (_, rest) = line
                .split_once("] request ")?
                .1
                .split_once(" path=/ code=")?;
            rest.get(..3)?.parse().ok()
        };
        log.lines().filter_map(code).collect()
    }

    /// Waits for this verdict on an instance's alert.
    pub fn wait_for_verdict(&self, verdict: &str, instance: &str) {
        self.wait(&format!("{verdict} for {instance}"), || {
            self.verdicts(instance)
                .iter()
                .any(|v| v == verdict)
                .then_some(())
        });
    }

    /// The runs of the history as `intent INSTANCE`, `result INSTANCE OUTCOME`.
    pub fn history(&self) -> Vec<String> {
        let run =
            |line: &&serde_json::Value| line["event"] == "intent" || line["event"] == "result";
        let shown = |line: &serde_json::Value| {
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("event"), text("instance"), text("outcome"))
                .trim_end()
                .to_owned()
        };
        let history = self.sandbox.history();
        history.iter().filter(run).map(shown).collect()
    }

    fn show(&self) {
        let parts = self.parts.borrow();
        let logs = parts.iter().map(|(_, log)| log.clone());
        let own = [
            "log/listener.log",
            "log/NginxDown.log",
            "state/history.jsonl",
            "nginx/error.log",
        ];
        for path in logs.chain(own.map(|name| self.sandbox.path(name))) {
            let text = fs::read_to_string(&path).unwrap_or_else(|error| error.to_string());
            let lines: Vec<&str> = text.lines().collect();
            let from = lines.len().saturating_sub(SHOWN);
            eprintln!("--- {}\n{}", path.display(), lines[from..].join("\n"));
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show();
        }
        for (child, _) in self.parts.get_mut() {
            let _ = killpg(Pid::from_raw(child.id().cast_signed()), Signal::SIGKILL);
            let _ = child.wait();
        }
        // Handlers and nginx lead sessions of their own; no other process has the sandbox's path in its arguments.
        let folder = self.sandbox.path("");
        while end_groups_with(&folder.display().to_string()) {}
    }
}
