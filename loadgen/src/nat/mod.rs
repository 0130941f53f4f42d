//! Phones behind NATs: do the server's keepalives hold every pinhole from REGISTER to expiry?
//!
//! ```text
//! options    what is to be run: kinds of NAT, timeout, the server's period
//! gateways   the model: which outside address and port is whose, what keeps it open
//! ledger     what a closed pinhole means: could every registration have been called?
//! phones     the phones of one thread behind their gateways, sans IO
//! drive      one thread: outside sockets <-> phones
//! run        all threads, figures added up
//! report     table, summary, files; the page is `page`'s
//! ```
//! Each NAT has an address of its own and a socket is one port of all of them, so the server sees
//! an address and port for each phone, while a few sockets serve a million.

mod drive;
pub mod figures;
pub mod gateways;
pub mod ledger;
pub mod options;
mod page;
pub mod phones;
pub mod report;
mod run;

pub use gateways::{Kind, Mapping, Ports, Refresh};
pub use options::{Choice, NatOptions};
pub use run::{NatOutcome, NatProgress, run};

/// The scenario's name.
pub const NAME: &str = "nat";
/// One line that says what it does.
pub const ABOUT: &str =
    "phones behind NATs register and fall silent: do the server's keepalives hold every pinhole?";
