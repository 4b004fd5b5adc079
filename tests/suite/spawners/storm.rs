//! `backlog_of_five`: a burst of alerts is many connections at once, and socat's own backlog drops them.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::Place;
use super::client::Client;
use super::programs::{Local, openbsd_inetd, start_script_with};
use crate::support::{Alert, PROJECT};

const AT_ONCE: usize = 50;

/// All of them are taken while the spawner does not even look.
fn connections_wait_for_the_spawner(place: &Local) {
    let daemon = place.daemon.as_ref().unwrap();
    daemon.signal(Signal::SIGSTOP);
    let address = SocketAddr::from(([127, 0, 0, 1], place.port));
    let waiting: Vec<_> = (0..AT_ONCE)
        .map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(5)))
        .collect();
    daemon.signal(Signal::SIGCONT);
    let taken = waiting.iter().filter(|stream| stream.is_ok()).count();
    assert_eq!(taken, AT_ONCE);
}

#[test]
fn backlog_of_five_fifty_connections_wait_for_the_start_script() {
    connections_wait_for_the_spawner(&start_script_with(&[]));
}

#[test]
fn backlog_of_five_fifty_connections_wait_for_inetd() {
    connections_wait_for_the_spawner(&openbsd_inetd());
}

#[test]
fn backlog_of_five_fifty_posts_at_once_are_all_answered_and_healed_once() {
    let place = start_script_with(&[("HEAL_STORM_LIMIT", "400/10m"), ("HEAL_LOCK_WAIT", "1m")]);
    place.sandbox.handler(
        "Storm",
        "# self-heal: lock=instance\necho \"$1\" >>\"$HEAL_BACKUP_DIR/ran\"\n",
    );
    let instances: Vec<String> = (0..AT_ONCE)
        .map(|n| format!("localhost:{}", 1000 + n))
        .collect();
    thread::scope(|posts| {
        for instance in &instances {
            let port = place.port;
            posts.spawn(move || {
                let answer = Client::tcp(port).post(&Alert::firing("Storm", instance));
                answer.expect(200, &["healed"]);
            });
        }
    });
    let ran = place.note("ran").unwrap();
    let mut ran: Vec<&str> = ran.lines().collect();
    ran.sort_unstable();
    assert_eq!(ran, instances);
}

/// Every file below `deploy`, its lines without the comments.
fn shipped_lines() -> Vec<(PathBuf, String)> {
    let mut folders = vec![Path::new(PROJECT).join("deploy")];
    let mut lines = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let said = text
                    .lines()
                    .filter(|line| !line.trim_start().starts_with('#'));
                lines.extend(said.map(|line| (path.clone(), line.to_owned())));
            }
        }
    }
    lines
}

#[test]
fn backlog_of_five_every_shipped_socat_and_socket_has_a_backlog_of_4096() {
    let lines = shipped_lines();
    let mut found = Vec::new();
    for (path, line) in &lines {
        for word in line.split([' ', '"', '\'']) {
            // The quickstart's own socat is the service that it breaks; its listener is the start script.
            if word.contains("LISTEN:") && !path.ends_with("quickstart.sh") {
                assert!(word.contains(",backlog=4096"), "{}: {line}", path.display());
                found.push("socat");
            }
        }
        if line.starts_with("[Socket]") {
            let backlog = (path.clone(), "Backlog=4096".to_owned());
            assert!(lines.contains(&backlog), "{}", path.display());
            found.push("socket");
        }
    }
    assert!(
        found.contains(&"socat") && found.contains(&"socket"),
        "{found:?}"
    );
}
