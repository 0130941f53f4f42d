//! History: what a shard records of registrations, what is kept of it, and what operators see.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

mod common;
#[path = "common/desk.rs"]
mod desk;

#[path = "common/http.rs"]
mod http;
#[path = "common/office.rs"]
mod office;
#[path = "common/serve.rs"]
mod serve;

#[path = "history/kept.rs"]
mod kept;
#[path = "history/rows.rs"]
mod rows;
