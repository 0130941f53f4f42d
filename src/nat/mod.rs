//! L1: phones behind network address translation: how one is known, and when it is to be sent
//! something. Nothing here sends.
//!
//! - [`detect`]: is a phone behind NAT?
//! - [`schedule`]: who is due for a message now; `ring`: where everybody's turn is in the cycle;
//!   `pace`: how many may go out
//! - [`probe`]: by what the answer to a probe is known

pub mod detect;
mod pace;
pub mod probe;
mod ring;
pub mod schedule;

pub use detect::{Claims, Signs};
pub use probe::Endpoint;
pub use schedule::{Ceiling, Due, Rhythm, Schedule, Sent};
