//! Everything that is tested from outside: the real executable in a folder of its own, bytes in, bytes
//! out, files after.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that does not understand what it sees should stop there"
)]

mod access;
mod architecture;
mod basics;
mod benches;
mod by_hand;
mod chain;
mod checking;
mod chronicle;
mod clients;
mod commands;
mod completing;
mod crash;
mod crowd;
mod dashboards;
mod docs;
mod escalators;
mod examples;
mod explaining;
mod faults;
mod fronts;
mod fuzzed;
mod guarding;
mod handlers;
mod hostile;
mod linting;
mod manual;
mod metrics;
mod migration;
mod model;
mod observing;
mod pages;
mod paging;
mod peers;
mod predecessor;
mod regressions;
mod rollback;
mod runbook;
mod shelved;
mod shipped;
mod spawners;
mod spool;
mod stage;
mod status;
mod stopping;
mod storage;
mod support;
mod tracing;
mod transcripts;
mod upkeep;
mod walks;
