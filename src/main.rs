//! The executable.

fn main() -> std::process::ExitCode {
    self_heal::cli::main()
}
