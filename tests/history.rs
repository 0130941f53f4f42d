//! History: what a shard records of registrations, what is kept of it, and what operators see.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/desk.rs"]
mod desk;

#[path = "history/rows.rs"]
mod rows;
