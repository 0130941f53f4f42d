//! What a shard asks of the reactors beside the replies to messages.

use std::net::SocketAddr;

use crate::flow::Flow;

/// Something for a reactor to do that is not the reply to the message at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Send the first `len` bytes of the buffer.
    Send {
        /// Where to, for a datagram.
        to: SocketAddr,
        /// The way there.
        flow: Flow,
        /// How many bytes.
        len: usize,
    },
}
