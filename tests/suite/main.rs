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
mod chain;
mod clients;
mod commands;
mod crash;
mod crowd;
mod dashboards;
mod docs;
mod escalators;
mod fronts;
mod guarding;
mod handlers;
mod metrics;
mod observing;
mod paging;
mod predecessor;
mod regressions;
mod rollback;
mod shipped;
mod spawners;
mod spool;
mod stage;
mod stopping;
mod storage;
mod support;
mod transcripts;
mod walks;
