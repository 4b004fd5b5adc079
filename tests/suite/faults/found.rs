//! What the faults have found, each at its own call: the sample may pass it by.

use super::Stage;
use super::scenes::{DRAINS, FIRST, HEAL, PUTS_BACK, Scene, TRIPS};
use crate::tracing::{Call, Fault};

/// Strikes the first call of this name, and with this in its line, that comes after a line with that in it.
fn strike(scene: &Scene, after: &str, name: &str, part: &str, fault: Fault) {
    let stage = Stage::new(scene);
    let mut calls = stage
        .calls
        .iter()
        .skip_while(|call| !call.line.contains(after));
    let wanted = |call: &&Call| call.name == name && call.line.contains(part);
    let call = calls
        .find(wanted)
        .unwrap_or_else(|| panic!("no {name} {part}"));
    assert!(stage.strike(call, fault), "{call:?}");
}

/// It was `not-allowed` and 200: nobody would have asked again.
#[test]
fn an_allow_list_that_the_machine_does_not_give_out_has_the_sender_ask_again() {
    for error in ["EIO", "EMFILE"] {
        strike(&HEAL, "", "openat", "/allowed.txt", Fault::Fail(error));
    }
}

/// It was `unsafe-handler` and 200.
#[test]
fn a_handler_that_the_machine_does_not_give_out_has_the_sender_ask_again() {
    strike(&HEAL, "", "openat", "/Down.sh", Fault::FailOn("EMFILE"));
    strike(&HEAL, "", "statx", "/Down.sh", Fault::Fail("EIO"));
    strike(&HEAL, "", "access", "/Down.sh", Fault::Fail("EIO"));
}

/// It was 403.
#[test]
fn a_peer_that_the_kernel_has_no_memory_to_name_is_asked_to_come_again() {
    strike(&HEAL, "", "getsockname", "", Fault::Fail("ENOBUFS"));
}

/// The attempt was taken back, and the handler had a second one of one.
#[test]
fn a_handler_that_ran_for_a_moment_stays_counted() {
    let at = "/proc/";
    for fault in [Fault::Fail("EIO"), Fault::FailOn("EMFILE")] {
        strike(&TRIPS, "clone3(", "openat", at, fault);
    }
}

/// It asked for ever, at full speed, with the lock held.
#[test]
fn a_file_left_aside_that_cannot_be_removed_is_an_error() {
    strike(&FIRST, "", "unlink", "/.new-", Fault::FailOn("EIO"));
}

/// The history was taken for a forged one.
#[test]
fn a_line_that_the_head_of_the_history_does_not_name_is_not_there() {
    strike(
        &HEAL,
        "history.head",
        "pwrite64",
        ", 64, 0)",
        Fault::FailOn("ENOSPC"),
    );
}

/// A single error put the page aside until a person saw to it, and its end was never told.
#[test]
fn a_page_is_put_aside_for_what_stays_wrong() {
    for error in ["EIO", "EACCES"] {
        strike(&DRAINS, "", "openat", "/spool/pending/", Fault::Fail(error));
    }
}

/// It left a folder for each try, and none was free for the rest of the second.
#[test]
fn a_folder_for_a_snapshot_that_cannot_be_locked_does_not_stay() {
    strike(&PUTS_BACK, "/backup/", "flock", "", Fault::FailOn("ENOLCK"));
}
