//! Fuzz target: the text of a configuration file. What must hold stands in `checks/`.
#![no_main]

#[path = "../checks/mod.rs"]
mod checks;
#[path = "../../common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::config::check(data));
