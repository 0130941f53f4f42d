//! L1: phones behind network address translation: how one is known. Nothing here sends.

pub mod detect;
pub mod ignored;
mod keyed;
pub mod liveness;
pub mod networks;
mod pace;
pub mod probe;
pub mod recent;
mod ring;
pub mod schedule;
pub mod silence;
pub mod stun;

pub use detect::{Claims, Signs};
pub use networks::Networks;
