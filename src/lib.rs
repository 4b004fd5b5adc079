//! self-heal answers one Alertmanager webhook per process and runs, at most once and under a lock, the
//! remediation handler that an alert names.
//!
//! Read in this order: [`serve`] is one connection, [`heal`] is one alert, [`judge`] holds the rules. What a person
//! has to know goes through [`paging`] into the spool, and by [`deliver`] out of it. Around
//! them, [`wire`] turns bytes into meaning without touching anything, and [`sys`] touches the machine
//! without deciding anything.
//!
//! | | may use | never |
//! |---|---|---|
//! | `judge` | plain `std` | files, processes, environment, network, clocks, `nix`, `serde_json`, `wire`, `sys`, `cli` |
//! | `wire` | `judge`, `granit-parser`, `httparse`, `serde`, `serde_json`, `sha2` | files, processes, environment, network, clocks, `nix`, `sys`, `cli` |
//! | `sys` | `judge`'s types, `wire`'s records, `nix`, `syslog`, `std` | `wire::{http, notification, report}`, `heal`, `serve`, `deliver`, `paging`, `operator`, `check`, `guard`, `cli` |
//! | `heal`, `serve`, `ready`, `scrape`, `paging`, `deliver`, `operator`, `check`, `guard` | all three | raw files and processes |
//! | `cli` | everything above, `anyhow`, `lexopt` | judging anything itself |
//!
//! A test holds this table to the code.

pub mod check;
pub mod cli;
pub mod deliver;
pub mod guard;
pub mod heal;
pub mod judge;
pub mod operator;
pub mod paging;
pub mod ready;
pub mod scrape;
pub mod serve;
pub mod sys;
pub mod wire;
