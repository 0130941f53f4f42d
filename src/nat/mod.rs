//! L1: phones behind network address translation: how one is known, and when it is to be sent
//! something. Nothing here sends.
//!
//! - [`detect`]: is a phone behind NAT? [`networks`]: whose word goes before that;
//!   [`keepalive`]: who keeps the pinhole open, and how
//! - [`schedule`]: who is due for a message now; `ring`: where everybody's turn is in the cycle;
//!   `pace`: how many may go out
//! - [`liveness`]: who answers, [`silence`]: who keeps its word, [`ignored`]: who is not listened
//!   to for a while; [`probe`]: by what the answer to a probe is known; [`recent`]: who was sent
//!   something lately
//! - [`stun`]: answers to binding requests

pub mod detect;
pub mod ignored;
pub mod keepalive;
mod keyed;
pub mod liveness;
pub mod networks;
pub mod own;
mod pace;
pub mod probe;
pub mod recent;
mod ring;
pub mod schedule;
pub mod silence;
pub mod stun;

pub use detect::{Claims, Signs};
pub use keepalive::Keepalive;
pub use networks::Networks;
pub use own::OwnAddresses;
pub use probe::Endpoint;
pub use schedule::{Ceiling, Due, Rhythm, Schedule, Sent};
