//! A load generator for SIP registrars, as a library: think wrk2 with SIP.
//!
//! ```text
//! plan        intended send times, made before the run
//! scenarios   what a phone does next
//! agent       the phones of one thread, sans IO: bytes and time in, requests and figures out
//! drive       one thread: sockets <-> agents, by the plan
//! run         all threads of a run, intervals added up
//! report      table, summary, histogram files, HTML page
//! nat         the same phones behind modelled NATs: are they reachable all the time?
//! attack      floods, guesses and scans beside honest phones: do these notice?
//! ```
//! `wire` (writer and scanner of SIP), `digest`, `roster` (accounts), `record` (counters and
//! histograms) and `runs` (datagrams that travel as one message) serve them; `socket` alone makes
//! system calls. Nothing here uses the registrar's own code: the generator is an independent check
//! of it.
//!
//! Latency counts from the *intended* send time, so that a server that stalls is charged for
//! every request that waited, sent or not; the uncorrected histogram, from the actual send, is
//! kept beside it.
//!
//! ```no_run
//! use aorta_load::{Options, Pace, Roster, Scenario, report, run};
//! use std::sync::atomic::AtomicBool;
//!
//! let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, 1000)?;
//! let mut options = Options::new(Scenario::REGISTER, "127.0.0.1:5060".parse().unwrap(), roster);
//! options.pace = Pace::Rate(20_000.0);
//! let outcome = run(&options, &AtomicBool::new(false), &mut |_| {})?;
//! print!("{}", report::table(&outcome));
//! # Ok::<(), aorta_load::Error>(())
//! ```

pub mod agent;
pub mod attack;
pub mod digest;
mod drive;
pub mod nat;
pub mod options;
pub mod plan;
pub mod record;
pub mod report;
pub mod roster;
mod run;
mod runs;
pub mod scenarios;
pub mod socket;
pub mod wire;

/// The registrar that the tests of a program share with those of the library.
#[cfg(test)]
#[path = "../tests/stub/mod.rs"]
mod stub;

pub use digest::Algorithm;
pub use options::{AlgorithmChoice, Error, Options, Pace};
pub use report::summary::Summary;
pub use roster::{Roster, RosterError};
pub use run::{Outcome, Progress, Second, run};
pub use scenarios::{Scenario, Weights};
