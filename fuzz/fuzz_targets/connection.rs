//! See `sidecore_tests::fuzz_targets::connection`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| sidecore_tests::fuzz_targets::connection(data));
