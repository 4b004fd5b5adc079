//! What runs, by /proc.

use std::fs;

/// Every process's number.
pub fn all() -> Vec<i32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}

/// The processes whose command line or environment has this text in it, and what they are called.
pub fn mentioning(text: &str) -> Vec<(i32, String)> {
    all()
        .into_iter()
        .filter_map(|pid| {
            let command = read(pid, "cmdline");
            let found = command.contains(text) || read(pid, "environ").contains(text);
            found.then(|| (pid, format!("{pid} {}", command.replace('\0', " "))))
        })
        .collect()
}

/// The children of a process, the dead ones that nobody waited for too.
pub fn children(parent: i32) -> Vec<i32> {
    let is_child = |pid: &i32| {
        let stat = read(*pid, "stat");
        // proc_pid_stat(5): the name may hold anything, so the fields are counted from its last parenthesis.
        let fields = stat.rsplit_once(") ").map(|(_, fields)| fields);
        let found = fields.and_then(|fields| fields.split(' ').nth(1));
        found == Some(&*parent.to_string())
    };
    all().into_iter().filter(is_child).collect()
}

/// The process's name; empty if it is gone.
pub fn name(pid: i32) -> String {
    read(pid, "comm").trim().to_owned()
}

fn read(pid: i32, file: &str) -> String {
    let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whether somebody on this machine listens on this port of 127.0.0.1.
pub fn listening(port: u16) -> bool {
    let local = format!(" 0100007F:{port:04X} 00000000:0000 0A ");
    fs::read_to_string("/proc/net/tcp")
        .unwrap()
        .contains(&local)
}
