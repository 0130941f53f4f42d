//! L2: what one shard does with a datagram, who owns which address-of-record, and how datagrams
//! get from one shard to another.

mod alert;
mod answer;
mod authorize;
mod batch;
pub mod blocks;
pub mod control;
mod core;
mod counted;
pub mod counters;
mod domains;
pub mod events;
mod extensions;
pub mod filter;
mod flows;
mod guard;
pub mod history;
mod identity;
mod keepalive;
mod keys;
pub mod kick;
mod listening;
mod listing;
mod liveness;
pub mod mesh;
mod nat;
mod negotiate;
pub mod options;
mod overload;
pub mod owner;
mod peer;
mod ping;
pub mod pinholes;
mod places;
mod presented;
pub mod put;
mod redirect;
pub mod refused;
mod register;
pub mod registrations;
mod request;
mod responses;
pub mod round_trips;
pub mod search;
mod silence;
pub mod stages;
mod subscribe;
pub mod suspend;
pub mod tally;
pub mod trace;
mod view;

use std::net::{IpAddr, SocketAddr};

pub use self::batch::Outlet;
pub use self::core::{Setup, Shard};
pub use self::flows::Order;
#[cfg(feature = "host")]
pub(crate) use self::guard::said as networks_said;
pub use self::keys::Keys;
pub use self::peer::Peer;

use crate::flow::{ConnectionId, Flow, Transport};
use crate::time::Instant;

/// One shard of the AOR hash space; also the number of the reactor that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardId(pub u8);

/// One listening address of the process, the same on every reactor: the reply to a datagram that
/// came in on it leaves from the answering reactor's own socket of the same number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u8);

/// The connection a message came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link<'a> {
    /// Which one.
    pub id: ConnectionId,
    /// What it carries.
    pub transport: Transport,
    /// A request that came by it before has passed authentication.
    pub authenticated: bool,
    /// Who the client is by its certificate; nobody without one.
    pub peer: Peer<'a>,
}

/// A message as it came from the network, or from the shard that received it: a datagram, or one
/// message of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Datagram<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// Where it came in.
    pub listener: ListenerId,
    /// The local address it was sent to, known only where the listener is bound to a wildcard:
    /// the reply must leave from it.
    pub local_ip: Option<IpAddr>,
    /// When the batch it came in was received.
    pub received_at: Instant,
    /// The payload.
    pub bytes: &'a [u8],
    /// The connection it came by, if it is no datagram. The answer goes back over it, whatever
    /// `listener` and `local_ip` say (RFC 3261 18.2.2).
    pub link: Option<Link<'a>>,
}

impl Datagram<'_> {
    /// What carried it.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.link.map_or(Transport::Udp, |link| link.transport)
    }

    /// The way back to its sender.
    #[must_use]
    pub fn flow(&self) -> Flow {
        match self.link {
            Some(Link { id, transport, .. }) => Flow::Connection { id, transport },
            None => Flow::Datagram { listener: self.listener.0, local_ip: self.local_ip },
        }
    }
}

/// What became of a datagram. Replies leave by its listener, from its `local_ip`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// The first `len` bytes of the buffer go to `to`.
    Reply {
        /// Destination by RFC 3261 18.2.2 and RFC 3581 4.
        to: SocketAddr,
        /// Length of the response.
        len: usize,
    },
    /// Another shard owns the AOR: hand it the datagram.
    Handoff(ShardId),
    /// Nothing is sent; the reason is counted.
    Nothing,
}
