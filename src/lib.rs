//! Aorta: a SIP registrar data plane for Linux carrier hosts.
//!
//! One process is N reactors, one pinned to each CPU. A reactor runs one shard: a slice of the
//! address-of-record hash space with its accounts and their bindings. All reactors listen on the
//! same UDP ports (SO_REUSEPORT), so a datagram arrives anywhere:
//!
//! ```text
//! kernel -> reactor r, a batch of datagrams
//!   sip        one pass, borrowed views, no allocation
//!   shard      faulty, foreign, other method: answered here
//!              no credentials: challenged here, a nonce needs no account
//!   owner      keyed hash of the canonical AOR
//!     mine  -> auth, registrar, the answer written into the send buffer
//!     other -> the mesh: copied into the ring r -> s, one wake a batch if s sleeps;
//!              s answers from its own socket, which has the same port
//! replies leave as one batch; timers run; counters are per shard
//! ```
//!
//! Connections (TCP, TLS, WebSocket) live on the reactor that accepted them. Their messages go the
//! same way; the answer of another shard comes back over the mesh. A shard tells the reactor which
//! connections its bindings live on, and the reactor tells it when one closes.
//!
//! What belongs to an account lives on one shard: nothing is locked, and nothing is shared but
//! the rings. The layers, bottom up; each may use only those above its line here:
//!
//! | layer | modules | what |
//! |---|---|---|
//! | | [`time`], [`limits`], [`flow`], [`config`] | values everybody may read |
//! | L0 | [`sip`] | bytes to borrowed views and back |
//! | L1 | [`guard`] | who may speak at all: networks, rates, scanners, blocks |
//! | L1 | [`auth`], [`nat`], [`registrar`] | rules: input and time in, answers and events out |
//! | L1 | [`reg_event`] | who watches registrations, and what they are told |
//! | L2 | [`shard`] | a datagram's way through the rules; who owns what; the mesh |
//! | L3 | [`reactor`] | the shell: sockets, clocks, glommio, io_uring, system calls |
//! | L4 | [`shield`] | what is blocked, dropped by the kernel |
//! | L4 | [`store`], [`cli`] | what outlives the process; the programs |
//!
//! L0 to L2 see no socket, clock, lock, log or randomness: all of it comes in as values, so the
//! whole registrar runs in a simulation as it runs on a carrier's host (`tests/tidy.rs` holds
//! this). The feature `host`, on unless somebody turns it off, is everything from L3 up but
//! what [`store`] reads without it.

pub mod config;
pub mod flow;
pub mod limits;
pub mod table;
pub mod time;

pub mod sip;

pub mod auth;
pub mod guard;
pub mod nat;
pub mod registrar;

pub mod reg_event;

pub mod shard;

#[cfg(feature = "host")]
pub mod reactor;

#[cfg(feature = "host")]
pub mod shield;

#[cfg(feature = "host")]
pub mod admin;

pub mod store;

#[cfg(feature = "host")]
pub mod cli;
