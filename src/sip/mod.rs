//! L0: bytes to borrowed views and back. No state, no clock, no allocation.
//!
//! [`parse::parse`] divides a message into start line, header table and body in one pass. What
//! a header means is read from its value when somebody asks ([`Message`], [`header`]).
//! [`mod@write`] writes responses into the caller's buffer, [`write_request`] requests. [`frame`]
//! divides streams.

pub mod cursor;
pub mod error;
pub mod frame;
pub mod header;
pub mod hex;
pub mod message;
pub mod method;
pub mod parse;
pub mod request;
pub mod response;
pub mod scan;
pub mod status;
pub mod table;
pub mod uri;
pub mod write;
pub mod write_request;
pub mod writer;

pub use error::{Fault, ParseError, Part};
pub use header::HeaderName;
pub use message::{Message, StartLine};
pub use method::Method;
pub use parse::{Framing, Parsed, parse};
pub use request::RequestHead;
pub use response::ResponseHead;
pub use table::HeaderTable;
pub use uri::Uri;
