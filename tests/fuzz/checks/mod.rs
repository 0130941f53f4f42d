//! What must hold whatever the bytes are: one `check` for each fuzz target, which panics where it
//! does not. Plain functions, so that the seeded run of `tests/hostile.rs` and the targets share
//! them. Every program uses its own part.
#![allow(dead_code, reason = "each program uses its own part of this module")]

pub mod config;
pub mod credentials;
pub mod guard;
pub mod naive;
pub mod parse;
pub mod reply;
pub mod shard;
pub mod subscribers;
pub mod uri;
