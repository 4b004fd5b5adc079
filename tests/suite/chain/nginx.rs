//! nginx in the sandbox, and the shipped handler that restarts it.

use std::fs;
use std::process::Command;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::ask;
use super::process::program;
use super::shipped::Shipped;
use super::stack::Chain;

impl Chain {
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

    pub fn configure_nginx(&self) {
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

    pub fn nginx_command(&self) -> String {
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
}
