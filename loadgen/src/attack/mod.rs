//! Attacks on a registrar, with honest phones beside them: does the defence hold, and do the
//! honest notice?
//!
//! ```text
//! options    what is to be run: phases, rates, what the server's settings promise
//! addresses  which part of 127.0.0.0/8 plays which role
//! forge      what strangers send: REGISTER and OPTIONS, with credentials or without
//! gun        one socket that sends from any of those addresses, by a pace or as fast as it can
//! server     what the server says of itself: its metrics, its memory, its CPU time
//! flood      requests without credentials beside honest refreshes
//! guess      passwords tried at accounts whose owners register meanwhile
//! scan       the requests of well-known kits, and a walk through numbers
//! crowd      ever new sources, and ever new failures: is memory flat?
//! blocked    what a datagram of a blocked source costs, beside a bare loop that drops it
//! run        the phases one after the other
//! report     table, summary, files; the page is `page`'s
//! ```
//! Nothing here leaves the host: the target must be on IPv4 loopback, every address of which is
//! this host's own. A server treats loopback as it treats others only where it is told to.

mod addresses;
mod blocked;
mod crowd;
mod flood;
pub mod forge;
mod guess;
mod gun;
pub mod options;
mod page;
pub mod report;
mod run;
mod scan;
pub mod server;

pub use blocked::BlockedFigures;
pub use crowd::{FailureFigures, SourceFigures};
pub use flood::FloodFigures;
pub use guess::GuessFigures;
pub use options::{AttackOptions, Phase};
pub use run::{AttackOutcome, run};
pub use scan::{KitFigures, ScanFigures};

/// The scenario's name.
pub const NAME: &str = "attack";
/// One line that says what it does.
pub const ABOUT: &str =
    "floods, guesses, scans beside honest phones on loopback: does the defence hold?";
