//! L1: phones behind network address translation: how one is known. Nothing here sends.

pub mod detect;
pub mod probe;
pub mod stun;

pub use detect::{Claims, Signs};
