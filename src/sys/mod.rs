//! The machine, one module for each thing in the world. Effects only: what is to be done is decided
//! elsewhere and handed in.

#![allow(
    clippy::disallowed_methods,
    reason = "this is where the machine is touched"
)]

pub mod accounts;
mod apart;
pub mod catalog;
pub mod clock;
pub mod connection;
pub mod counters;
pub mod escalator;
pub mod files;
pub mod flocks;
pub mod handler;
pub mod history;
pub mod identity;
pub mod inherited;
pub mod interpreter;
pub mod leftovers;
pub mod listeners;
pub mod lock;
pub mod log;
pub mod mounts;
pub mod peer;
pub mod peer_owner;
pub mod process;
pub mod settings;
pub mod sight;
pub mod signals;
pub mod slots;
pub mod snapshot;
pub mod spool;
pub mod state;
pub mod sudo;
pub mod terminal;
pub mod token;
pub mod tool;
pub mod unfit;
pub mod units;
pub mod viewpoint;
