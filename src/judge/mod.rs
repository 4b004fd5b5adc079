//! The judgement: pure. It is told the time and what the machine found, and says what to do;
//! it opens no file, starts no process and reads no clock, so the same record, alert, limits
//! and now give the same decision.

pub mod admit;
pub mod alert;
pub mod allowlist;
pub mod decision;
pub mod delivery;
pub mod ending;
pub mod limits;
pub mod pages;
pub mod pauses;
pub mod record;
pub mod reset;
pub mod run_id;
pub mod standing;
pub mod storm;
pub mod time;
pub mod verdict;

pub use alert::{Alert, AlertName, Status};
pub use allowlist::AllowList;
pub use decision::{Answer, Decision, Ended, Force, Look, Note, Proposal, Why};
pub use ending::{Ending, Rollback};
pub use limits::{Limits, RunLimit};
pub use record::{Host, Record, Run};
pub use time::Time;
pub use verdict::Verdict;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
