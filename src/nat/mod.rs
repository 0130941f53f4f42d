//! L1: phones behind network address translation: how one is known. Nothing here sends.

pub mod detect;
pub mod ignored;
mod keyed;
pub mod liveness;
pub mod networks;
pub mod probe;
pub mod recent;
pub mod silence;
pub mod stun;

pub use detect::{Claims, Signs};
pub use networks::Networks;
