//! The parts of the chain, each a real program in the sandbox with the shipped configuration: started, asked, ended.

use std::cell::RefCell;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, getpgid, getpgrp};

use super::ask;
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
        chain.install_nginx_handler(&format!("{}; ", chain.nginx_command()));
        sandbox.script(
            "handlers/ServiceDown.sh",
            Shipped::read("handlers/ServiceDown.sh").text(),
        );
        chain.listen();
        chain
    }

    /// The shipped NginxDown.sh, with these commands where it asks systemd for a restart. Here is no systemd: nginx
    /// is the sandbox's own, and its unit has failed.
    pub fn install_nginx_handler(&self, restart: &str) {
        let command = self.nginx_command();
        let script = Shipped::read("handlers/NginxDown.sh")
            .with("port=80\n", &format!("port={}\n", self.ports.nginx))
            .with(
                "/usr/bin/systemctl show --property=\"$1\" --value nginx.service;",
                "case $1 in LoadState) echo loaded ;; *) echo failed ;; esac;",
            )
            .with(
                "/usr/bin/systemctl is-system-running || true;",
                "echo running;",
            )
            .with(
                "sudo -n /usr/bin/timeout -k 5 30 /usr/sbin/nginx -t;",
                &format!("/usr/bin/timeout -k 5 30 {command} -t;"),
            )
            .with(
                "sudo -n /usr/bin/timeout -k 5 10 /usr/bin/systemctl reset-failed nginx.service;",
                "true;",
            )
            .with(
                "sudo -n /usr/bin/timeout -k 5 60 /usr/bin/systemctl restart nginx.service;",
                restart,
            );
        self.sandbox.script("handlers/NginxDown.sh", script.text());
    }

    /// NginxDown.sh waits in its restart until `release`.
    pub fn hold_nginx_handler(&self) {
        let hold = self.sandbox.write("hold", "");
        let hold = hold.display();
        let command = self.nginx_command();
        self.install_nginx_handler(&format!(
            "while [[ -e {hold} ]]; do sleep 0.02; done; {command};"
        ));
    }

    pub fn release(&self) {
        fs::remove_file(self.sandbox.path("hold")).unwrap();
    }

    fn configure_nginx(&self) {
        let shipped = Shipped::read("deploy/prometheus/prometheus.yml");
        let place = shipped.after("#   location = /up ");
        let port = self.ports.nginx;
        let folders: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|what| format!("{what}_temp_path tmp;\n"))
            .concat();
        self.sandbox.write(
            "nginx/nginx.conf",
            &format!(
                "pid nginx.pid;\nerror_log error.log;\nworker_processes 1;\nevents {{}}\nhttp {{\naccess_log off;\n{folders}\
                 server {{\nlisten 127.0.0.1:{port};\nlocation = /up {place}\n}}\n}}\n"
            ),
        );
    }

    fn nginx_command(&self) -> String {
        let dir = self.sandbox.path("nginx");
        let dir = dir.display();
        let nginx = program("nginx").display().to_string();
        format!("{nginx} -p {dir}/ -e {dir}/error.log -c {dir}/nginx.conf")
    }

    pub fn start_nginx(&self) {
        let command = self.nginx_command();
        let started = Command::new("/bin/sh").args(["-c", &command]).status();
        assert!(started.unwrap().success(), "{command}");
        self.wait("nginx answers", || self.nginx_answers().then_some(()));
    }

    pub fn nginx_answers(&self) -> bool {
        ask::get(self.ports.nginx, "/up").as_deref() == Some("nginx_answers 1\n")
    }

    /// Its master process, by its pid file.
    pub fn nginx_pid(&self) -> i32 {
        self.sandbox.read("nginx/nginx.pid").trim().parse().unwrap()
    }

    /// Master and workers at once, without a word. nginx is a daemon: its master leads a session of its own.
    pub fn kill_nginx(&self) {
        killpg(Pid::from_raw(self.nginx_pid()), Signal::SIGKILL).unwrap();
        self.wait("nginx is dead", || (!self.nginx_answers()).then_some(()));
    }

    fn listen(&self) {
        let program_link = self.sandbox.path("self-heal");
        std::os::unix::fs::symlink(PROGRAM, &program_link).unwrap();
        program("socat");
        let mut listener = part("/bin/bash".as_ref());
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
            .with("'127.0.0.1:9093'", &local(alertmanager.port))
            .with("'localhost:9100'", &format!("'localhost:{}'", ports.node))
            .with("'localhost:80'", &format!("'localhost:{}'", ports.nginx))
            .with("'127.0.0.1:9095'", &local(ports.listener));
        let rules = Shipped::read("deploy/prometheus/self-heal-rules.yml")
            .with_each(2, "for: 2m\n", "for: 2s\n")
            .with("for: 1m\n", "for: 1s\n");
        let file = self
            .sandbox
            .write("prometheus/prometheus.yml", configuration.text());
        self.sandbox
            .write("prometheus/self-heal-rules.yml", rules.text());
        let mut prometheus = part(&program("prometheus"));
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

    pub fn start_alertmanager(&self, routes: &Routes) -> Alertmanager {
        self.alertmanager(
            "alertmanager",
            routes,
            &[flag("cluster.listen-address", "")],
        )
    }

    /// Two that know each other. The second notifies when the first has not told of its success for a second.
    pub fn start_alertmanager_pair(&self, routes: &Routes) -> [Alertmanager; 2] {
        let gossip = [free_port(), free_port()];
        let [first, second] = gossip.map(|port| format!("127.0.0.1:{port}"));
        let pair =
            [("first", &first, &second), ("second", &second, &first)].map(|(name, own, other)| {
                let flags = [
                    flag("cluster.listen-address", own),
                    flag("cluster.peer", other),
                    flag("cluster.peer-timeout", "1s"),
                    flag("cluster.settle-timeout", "1s"),
                    flag("cluster.gossip-interval", "50ms"),
                    flag("cluster.reconnect-interval", "200ms"),
                ];
                self.alertmanager(name, routes, &flags)
            });
        for one in &pair {
            self.wait("the pair has found itself", || {
                (one.peers() == 2).then_some(())
            });
        }
        pair
    }

    /// An Alertmanager with the shipped routes. What it does is seen in its log, hence debug.
    fn alertmanager(&self, name: &str, routes: &Routes, flags: &[String]) -> Alertmanager {
        let file = self.sandbox.write(
            &format!("{name}/alertmanager.yml"),
            routes.configuration(self).text(),
        );
        let port = free_port();
        let mut command = part(&program("prometheus-alertmanager"));
        command
            .arg(flag("config.file", file.display()))
            .arg(flag("storage.path", self.sandbox.path(name).display()))
            .arg(flag("web.listen-address", format!("127.0.0.1:{port}")))
            .arg(flag("log.level", "debug"))
            .args(flags);
        let (pid, log) = self.start(name, command);
        self.wait("Alertmanager is up", || ask::get(port, "/-/ready"));
        Alertmanager { port, pid, log }
    }

    /// Starts a part in a process group of its own; its process and its log.
    fn start(&self, name: &str, mut command: Command) -> (Pid, PathBuf) {
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

    /// The events of the history as `intent INSTANCE`, `result INSTANCE OUTCOME`.
    pub fn history(&self) -> Vec<String> {
        let shown = |line: &serde_json::Value| {
            let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
            format!("{} {} {}", text("event"), text("instance"), text("outcome"))
                .trim_end()
                .to_owned()
        };
        self.sandbox.history().iter().map(shown).collect()
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

/// Kills the process groups of those whose arguments hold this text; whether there were any.
fn end_groups_with(text: &str) -> bool {
    let mut any = false;
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let Ok(group) = getpgid(Some(Pid::from_raw(pid))) else {
            continue;
        };
        if group != getpgrp() && String::from_utf8_lossy(&arguments).contains(text) {
            any |= killpg(group, Signal::SIGKILL).is_ok();
        }
    }
    any
}

/// What differs between tests in the shipped routes.
pub struct Routes {
    /// Where the listener, or whoever passes on to it, is.
    pub to: u16,
    /// The delay of the person's route.
    pub person_after: &'static str,
    /// The group and the cut of self-heal's route, as shipped or not.
    pub group_by: &'static str,
    pub max_alerts: u32,
}

impl Routes {
    pub fn shipped(chain: &Chain) -> Routes {
        Routes {
            to: chain.ports.listener,
            person_after: "15m",
            group_by: "['...']",
            max_alerts: 0,
        }
    }

    /// The shipped file with seconds for its minutes; repeat_interval stays.
    fn configuration(&self, chain: &Chain) -> Shipped {
        let (person_after, group_by) = (self.person_after, self.group_by);
        Shipped::read("deploy/alertmanager/alertmanager.yml")
            .with(
                "smtp_smarthost: 127.0.0.1:25\n",
                &format!("smtp_smarthost: 127.0.0.1:{}\n", chain.ports.mailbox),
            )
            .with(
                "http://127.0.0.1:9095/",
                &format!("http://127.0.0.1:{}/", self.to),
            )
            .with(
                "  group_wait: 30s\n  group_interval: 5m\n",
                "  group_wait: 1s\n  group_interval: 1s\n",
            )
            .with(
                "      group_wait: 15m\n      group_interval: 5m\n",
                &format!("      group_wait: {person_after}\n      group_interval: 1s\n"),
            )
            .with("      group_wait: 10s\n", "      group_wait: 1s\n")
            .with("      group_interval: 1m\n", "      group_interval: 1s\n")
            .with("max_alerts: 0\n", &format!("max_alerts: {}\n", self.max_alerts))
            .with(
                "one unit's failure keeps its neighbours' notification from being done.\n      group_by: ['...']\n",
                &format!("\n      group_by: {group_by}\n"),
            )
    }
}

/// A running Alertmanager.
pub struct Alertmanager {
    port: u16,
    pid: Pid,
    log: PathBuf,
}

impl Alertmanager {
    /// Posts alerts as Prometheus does.
    pub fn post(&self, alerts: &serde_json::Value) {
        let (code, body) =
            ask::http(self.port, "POST", "/api/v2/alerts", &alerts.to_string()).unwrap();
        assert_eq!(code, 200, "{body}");
    }

    pub fn reload_by_signal(&self) {
        kill(self.pid, Signal::SIGHUP).unwrap();
    }

    pub fn reload_by_post(&self) {
        let (code, body) = ask::http(self.port, "POST", "/-/reload", "").unwrap();
        assert_eq!(code, 200, "{body}");
    }

    /// So many lines of its log hold this.
    pub fn said(&self, text: &str) -> usize {
        self.log_lines(&[text])
    }

    /// So many lines of its log hold all of these.
    pub fn log_lines(&self, texts: &[&str]) -> usize {
        let log = fs::read_to_string(&self.log).unwrap();
        let holds = |line: &&str| texts.iter().all(|text| line.contains(text));
        log.lines().filter(holds).count()
    }

    /// The sum of a metric's series for an integration, whatever their other labels.
    pub fn metric(&self, name: &str, integration: &str) -> u64 {
        let text = ask::get(self.port, "/metrics").unwrap();
        let of = |line: &&str| {
            line.starts_with(&format!("{name}{{"))
                && line.contains(&format!("integration=\"{integration}\""))
        };
        let values = text
            .lines()
            .filter(of)
            .filter_map(|line| line.rsplit_once(' '));
        values
            .map(|(_, value)| value.parse::<f64>().unwrap() as u64)
            .sum()
    }

    /// Whether the alert of an instance is inhibited; none if there is no such alert.
    pub fn inhibited(&self, instance: &str) -> Option<bool> {
        let alerts: serde_json::Value =
            serde_json::from_str(&ask::get(self.port, "/api/v2/alerts")?).ok()?;
        let of = |alert: &&serde_json::Value| alert["labels"]["instance"] == instance;
        let alert = alerts.as_array()?.iter().find(of)?;
        Some(!alert["status"]["inhibitedBy"].as_array()?.is_empty())
    }

    fn peers(&self) -> usize {
        let status = ask::get(self.port, "/api/v2/status").unwrap_or_default();
        let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
        status["cluster"]["peers"].as_array().map_or(0, Vec::len)
    }
}

/// A flag of Prometheus and its kin.
fn flag(name: &str, value: impl std::fmt::Display) -> String {
    format!("--{name}={value}")
}

fn local(port: u16) -> String {
    format!("'127.0.0.1:{port}'")
}

/// A command that does not outlive the tests, even if they are killed.
fn part(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Where a program is; a test without it is a failure.
fn program(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = folders
        .map(|folder| Path::new(folder).join(name))
        .into_iter()
        .find(|path| path.exists());
    found.unwrap_or_else(|| panic!("{name} is missing: tests/run.sh packages installs it"))
}

/// A port nobody listens on, of those that no connection gets by chance (ip_local_port_range begins at 32768).
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id().wrapping_mul(61) as u16;
    loop {
        let next = first.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 20_000 + next % 12_000;
        let address = ("127.0.0.1", port);
        if std::net::TcpListener::bind(address).is_ok()
            && std::net::UdpSocket::bind(address).is_ok()
        {
            return port;
        }
    }
}
