//! Fuzz target: datagrams, a byte 255 between them, to the shards of a process. What must hold
//! stands in `checks/`.
#![no_main]

#[path = "../checks/mod.rs"]
mod checks;
#[path = "../../common/mod.rs"]
mod common;

libfuzzer_sys::fuzz_target!(|data: &[u8]| checks::shard::check(data));
