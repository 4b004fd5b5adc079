//! What a scrape shows: the counters and gauges as they are, for `GET /metrics` and the command line. It reads, takes no
//! lock of a handler's, and makes nothing.

use crate::deliver;
use crate::sys::state::StateError;
use crate::sys::state::file::Store;
use crate::sys::{clock, counters};
use crate::wire::config::Config;
use crate::wire::exposition::{self, Gauges};

/// The metrics as text, of this version of the program.
///
/// # Errors
/// What cannot be read, in a sentence.
pub fn exposition(config: &Config, store: &Store, version: &str) -> Result<String, String> {
    let failed = |error: StateError| error.to_string();
    let records = store.list().map_err(failed)?;
    let host = store.host().map_err(failed)?;
    let waiting = deliver::waiting(config)?;
    let counters = counters::all(&config.state_dir).map_err(|error| format!("metrics: {error}"))?;
    let mut gauges = Gauges {
        // Pauses that cannot be read hold everything back.
        paused: store
            .pauses()
            .map_or(1, |pauses| pauses.current(clock::now()).count() as u64),
        ..Gauges::default()
    };
    for (_, record) in &records {
        if record.breaker_open() {
            *gauges
                .breakers_open
                .entry(record.alertname.clone())
                .or_default() += 1;
        }
        gauges.in_flight += u64::from(record.in_flight.is_some());
        gauges.escalations_pending += record.owed.len() as u64;
    }
    gauges.escalations_pending += host.map_or(0, |host| host.owed.len()) as u64;
    gauges.escalations_pending += waiting.all() as u64;
    gauges.escalations_refused = (waiting.failed + waiting.damaged) as u64;
    Ok(exposition::render(&counters, &gauges, version))
}
