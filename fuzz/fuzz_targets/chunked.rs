//! See `sidecore_tests::fuzz_targets::chunked`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidecore_tests::fuzz_targets::chunked(data));
