//! Fuzz target: two URIs, one a line. What must hold stands in `checks/`.
#![no_main]

#[path = "../checks/mod.rs"]
mod checks;
#[path = "../../common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::uri::check(data));
