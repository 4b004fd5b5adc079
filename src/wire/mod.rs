//! Bytes and meaning: parsing and printing of everything that crosses the program's edge or outlives a
//! process. No file is opened, no clock is read, nothing is decided.

pub mod base64;
pub mod chronicle;
pub mod config;
pub mod counters;
pub mod directives;
pub mod duration;
pub mod environment;
pub mod event;
pub mod explanation;
pub mod exposition;
pub mod finding;
pub mod history;
pub mod holder;
pub mod http;
pub mod json;
pub mod lint;
pub mod logline;
pub mod manifest;
pub mod meaning;
pub mod nearest;
pub mod net;
pub mod notification;
pub mod paint;
pub mod pauses;
pub(crate) mod quote;
pub mod records;
pub mod report;
pub mod shebang;
pub mod shelved;
pub mod spool;
pub mod status;
pub mod sudo;
pub mod timestamp;
pub mod token;
