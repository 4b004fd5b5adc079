//! Alertmanager with the shipped routes: started, posted to, asked.

use std::fs;
use std::path::PathBuf;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::ask;
use super::process::{command, flag, free_port, program};
use super::shipped::Shipped;
use super::stack::Chain;

impl Chain {
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
        let mut alertmanager = command(&program("prometheus-alertmanager"));
        alertmanager
            .arg(flag("config.file", file.display()))
            .arg(flag("storage.path", self.sandbox.path(name).display()))
            .arg(flag("web.listen-address", format!("127.0.0.1:{port}")))
            .arg(flag("log.level", "debug"))
            .args(flags);
        let (pid, log) = self.start(name, alertmanager);
        self.wait("Alertmanager is up", || ask::get(port, "/-/ready"));
        Alertmanager { port, pid, log }
    }
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
    pub port: u16,
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
