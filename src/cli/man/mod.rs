//! The manual: self-heal(8), self-heal.conf(5), self-heal-handler(7), made from the tables that the program itself
//! goes by. They are installed as files, so nothing of this is in the executable: `cargo run --example generate`
//! writes docs/man, and a test holds the files to it.

mod configuration;
mod handler;
mod program;
mod prose;
mod roff;

/// The day that the pages bear: the release's, or while it is not out, that of their last revision.
pub const DATE: &str = "2026-11-28";

/// Every page: its file's name, and its text.
pub fn pages() -> [(&'static str, String); 3] {
    [
        ("self-heal.8", program::page()),
        ("self-heal.conf.5", configuration::page()),
        ("self-heal-handler.7", handler::page()),
    ]
}

/// The first fenced block of this kind in a document: what is shown there is tested there.
fn block<'a>(document: &'a str, kind: &str) -> &'a str {
    let fence = format!("\n```{kind}\n");
    let (_, rest) = document.split_once(&fence).unwrap_or(("", ""));
    rest.split("\n```").next().unwrap_or(rest)
}

/// As a sentence: with its first letter in capitals, unless that is code, and a full stop.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_ascii_uppercase());
    let mut whole: String = first.into_iter().chain(letters).collect();
    if !whole.ends_with('.') {
        whole.push('.');
    }
    whole
}
