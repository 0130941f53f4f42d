//! L0: bytes to borrowed views and back. No state, no clock, no allocation.

pub mod header;
pub mod message;
pub mod scan;
pub mod uri;
pub mod write;

pub use message::{HeaderTable, Message, Method, ParseError, Parsed};
pub use uri::Uri;
