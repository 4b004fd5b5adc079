//! The executable.

/// The C library's own costs a connection more than its handler does where that library is musl, which maps and unmaps
/// single pages (docs/performance.md); this one grows by 64 KiB and gives nothing back before the end.
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> std::process::ExitCode {
    self_heal::cli::main()
}
