//! The suite's bodies, for libFuzzer. They stand in `tests/suite/fuzzed/bodies`, where an ordinary test plays them too.

#[path = "../../suite/fuzzed/bodies/mod.rs"]
#[allow(dead_code)]
pub mod bodies;

pub use libfuzzer_sys::fuzz_target;

/// A target: its body, looked up once.
#[macro_export]
macro_rules! target {
    ($target:expr) => {
        static BODY: std::sync::LazyLock<fn(&[u8])> = std::sync::LazyLock::new(|| $target.body);
        $crate::fuzz_target!(|data: &[u8]| BODY(data));
    };
}
