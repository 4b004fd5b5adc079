//! The listener under every program that can start it: whoever spawns it, a client sees the same.
//!
//! `checks` is the one body, `client` the sender's side, `programs` starts the spawners on this machine, `container`
//! a machine with a real systemd. Every check runs under every spawner, each as a test of its own.

mod checks;
pub mod client;
pub mod container;
pub mod daemon;
pub mod processes;
pub mod programs;
mod storm;
mod systemd;
mod units;
mod walks;

use serde_json::Value;

use client::Client;

/// A listener that is ready, wherever it runs.
pub trait Place {
    /// A new connection to it.
    fn connect(&self) -> Client;

    /// How its connections show in the history.
    fn peer(&self) -> Peer;

    /// Installs `NAME.sh` with this body of Bash.
    fn handler(&self, name: &str, body: &str);

    /// A file of the folder that handlers see as `HEAL_BACKUP_DIR`, if it is there.
    fn note(&self, name: &str) -> Option<String>;

    /// Writes such a file, empty.
    fn put(&self, name: &str);

    /// The listener's log.
    fn log(&self) -> String;

    /// The history's records.
    fn history(&self) -> Vec<Value>;

    /// What still runs or was not waited for, the spawner itself apart.
    fn left_behind(&self) -> Vec<String>;
}

/// What the listener can know of the other side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP socket: address and port.
    Socket,
    /// Somebody stands in between and tells the address.
    Declared,
    /// Pipes.
    Local,
}

/// Hands the names of all checks to a macro.
macro_rules! for_each_check {
    ($then:ident) => {
        $then! {
            heals_once_and_answers_that_and_nothing_else
            a_failed_handler_is_answered_503
            metrics_are_answered
            a_refused_large_body_still_gets_its_answer
            bytes_after_the_request_are_never_looked_at
            the_connection_is_closed_though_the_client_would_keep_it_and_a_daemon_lives
            a_client_that_half_closes_gets_its_answer
            two_at_once_are_healed_side_by_side
            the_handler_has_nothing_of_the_connection
            a_sender_that_leaves_does_not_disturb_the_handler
            nothing_is_left_behind
        }
    };
}
use for_each_check;

macro_rules! tests {
    ($($check:ident)*) => {
        $(
            #[test]
            fn $check() {
                super::checks::$check(&start());
            }
        )*
    };
}

/// A module for each spawner, with a test for each check.
macro_rules! under {
    ($($spawner:ident)*) => {
        $(
            mod $spawner {
                use super::programs::$spawner as start;

                super::for_each_check!(tests);
            }
        )*
    };
}

under! {
    socat_nofork
    socat_exec
    systemd_socket_activate
    openbsd_inetd
    xinetd
    pipes
    start_script
}
