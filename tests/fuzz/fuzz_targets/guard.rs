//! Fuzz target: steps of requests, offences, proofs and time for the guards of a process. What must
//! hold stands in `checks/`.
#![no_main]

#[path = "../checks/mod.rs"]
mod checks;
#[path = "../../common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::guard::check(data));
