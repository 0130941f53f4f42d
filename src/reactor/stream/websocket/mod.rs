//! SIP over WebSocket (RFC 7118): the opening handshake and the frames, both on bytes alone.

pub(super) mod frames;
pub(super) mod handshake;
