//! Everything that is tested from outside: the real executable in a folder of its own, bytes in, bytes
//! out, files after.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that does not understand what it sees should stop there"
)]

mod access;
mod basics;
mod clients;
mod support;
mod transcripts;
