//! `/api/v1/traces`: what comes in and goes out, dropped or answered, while somebody looks. The
//! shards show it ([`shard::trace`](crate::shard::trace)) and forget it once it is taken; here it
//! is kept for those who look, each message once however many traces are about it.
//!
//! - [`desk`]: the traces there are, and what each has kept; `work`: beginning and ending them, and
//!   the task that takes what shards saw
//! - `asked`: what a trace is to be about, from a query; `routes`: the paths
//! - `row`: a message as JSON and as text; `events`: the same as server-sent events
//! - [`pcap`]: the messages as a capture file; [`hep`]: the same to a Homer collector

mod asked;
mod desk;
mod events;
pub mod hep;
mod pcap;
mod routes;
mod row;
mod work;

pub(super) use self::desk::Desk;
pub use self::desk::Tracing;
pub(super) use self::routes::routes;
pub(super) use self::work::collect;
