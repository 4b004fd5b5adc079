//! Writes the manual into docs/man: `cargo run --example generate`, after a change to a command, a key, a directive or a
//! verdict.

use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/man");
    for (name, text) in self_heal::cli::man::pages() {
        #[expect(clippy::disallowed_methods, reason = "no part of the program")]
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
