//! What has to hold for every input, one body a target. `tests/fuzz` hands them what libFuzzer finds; the suite hands them
//! fixed mutations of the seeds. A body takes bytes, returns nothing, and panics where something does not hold.

mod allowlist;
mod configuration;
mod directives;
mod history;
mod holder;
mod lint;
mod manifest;
mod pauses;
mod payload;
mod pieces;
mod record;
mod request;
mod seeds;
mod spool;
mod times;
mod words;

pub use pieces::Chance;

/// A body, and what it begins with.
#[derive(Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub body: fn(&[u8]),
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target, in the order of docs/proof.md.
pub const TARGETS: [Target; 14] = [
    Target {
        name: "request",
        body: request::body,
        seeds: seeds::request,
    },
    Target {
        name: "payload",
        body: payload::body,
        seeds: seeds::payload,
    },
    Target {
        name: "directives",
        body: directives::body,
        seeds: seeds::directives,
    },
    Target {
        name: "configuration",
        body: configuration::body,
        seeds: seeds::configuration,
    },
    Target {
        name: "allowlist",
        body: allowlist::body,
        seeds: seeds::allowlist,
    },
    Target {
        name: "record",
        body: record::body,
        seeds: seeds::record,
    },
    Target {
        name: "pauses",
        body: pauses::body,
        seeds: seeds::pauses,
    },
    Target {
        name: "history",
        body: history::body,
        seeds: seeds::history,
    },
    Target {
        name: "spool",
        body: spool::body,
        seeds: seeds::spool,
    },
    Target {
        name: "manifest",
        body: manifest::body,
        seeds: seeds::manifest,
    },
    Target {
        name: "holder",
        body: holder::body,
        seeds: seeds::holder,
    },
    Target {
        name: "times",
        body: times::body,
        seeds: seeds::times,
    },
    Target {
        name: "words",
        body: words::body,
        seeds: seeds::words,
    },
    Target {
        name: "lint",
        body: lint::body,
        seeds: seeds::lint,
    },
];

/// The target of this name.
pub fn target(name: &str) -> Target {
    let found = TARGETS.into_iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("no target {name}"))
}

/// A sentence for a person: one line, nothing that a terminal obeys, and not a payload in it.
fn sentence(text: &str) {
    assert!(!text.is_empty() && text.len() < 1000, "{text:?}");
    assert!(!text.contains(char::is_control), "{text:?}");
}
