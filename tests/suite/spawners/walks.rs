//! What concerns one spawner only.

use nix::sys::signal::Signal;

use super::Place;
use super::checks::{firing, records, say, wait_for};
use super::programs::{impatient_socat_exec, openbsd_inetd, start_script, xinetd};
use crate::support::{notification, request, until};

/// socat without nofork gives up half a second after the client's last byte, and sends SIGTERM.
#[test]
fn a_socat_that_loses_patience_does_not_interrupt_the_handler() {
    let place = impatient_socat_exec();
    place.handler("Slow", &format!("{}{}", say("slow"), wait_for("go-on")));
    let mut client = place.connect();
    client.send(&request(&notification(&[&firing("Slow")]).to_string()));
    until("the handler runs", || place.note("slow"));
    client.half_close();
    assert_eq!(client.receive(), b"", "socat gave the connection up");
    place.put("go-on");
    let result = until("the outcome is recorded", || {
        records(&place, "result", "Slow").pop()
    });
    assert_eq!(result["verdict"], "healed", "{result}");
    until("all are gone", || {
        place.left_behind().is_empty().then_some(())
    });
}

#[test]
fn stopping_the_start_script_leaves_handler_answer_and_outcome() {
    let mut place = start_script();
    place.handler(
        "Stopped",
        &format!("{}{}", say("stopped"), wait_for("go-on")),
    );
    let mut client = place.connect();
    client.send(&request(&notification(&[&firing("Stopped")]).to_string()));
    until("the handler runs", || place.note("stopped"));
    let daemon = place.daemon.as_mut().unwrap();
    daemon.signal(Signal::SIGTERM);
    daemon.ended();
    place.put("go-on");
    let answer = crate::support::Answer::parse(&client.receive());
    answer.expect(200, &["healed"]);
    assert_eq!(records(&place, "result", "Stopped").len(), 1);
}

/// `logs_into_the_response`: the listener logs to fd 2 unless that is the connection, as these two have it.
#[test]
fn where_standard_error_is_the_connection_a_log_line_goes_to_the_file_only() {
    for place in [openbsd_inetd(), xinetd()] {
        // Said before there is a log file to say it in, so it would go to fd 2.
        place.sandbox.set("HEAL_NONSENSE", "1");
        let answer = place.connect().post(&firing("Misconfigured"));
        assert_eq!(answer.code, 503);
        assert!(answer.body.contains("HEAL_NONSENSE"), "{}", answer.body);
    }
}
