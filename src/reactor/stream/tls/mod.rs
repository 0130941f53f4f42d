//! TLS beneath SIP and WebSocket (RFC 3261 26.3, RFC 5922): certificates from files, who a client
//! is by its certificate, and the session of one connection, on bytes alone.

mod certificates;
mod identity;
mod session;

pub use self::certificates::{Certificates, TlsError};
pub(super) use self::session::{Failed, Session};
