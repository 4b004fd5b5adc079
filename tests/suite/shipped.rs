//! The shipped handlers that change more than a service's state: started as self-heal starts them, on real file
//! systems, a real nginx and a real systemd.

mod disk_full;
pub mod machine;
mod nginx_workers;
mod process_count;

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A handler with the environment it gets: nothing of the caller's, and these labels.
fn handler(script: &Path, labels: &[(&str, &str)]) -> Command {
    let name = script.file_stem().unwrap();
    let mut command = Command::new(script);
    command
        .args(["localhost:9100".as_ref(), name, "b2cf8126af425ee7".as_ref()])
        .env_clear()
        .env(
            "PATH",
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        )
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null());
    for (name, value) in labels {
        command.env(format!("HEAL_LABEL_{name}"), value);
    }
    command
}

/// Asserts how it ended; what it said.
#[track_caller]
fn ended(output: &Output, code: i32) -> String {
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}
