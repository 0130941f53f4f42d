//! Where a message came from and where one can be sent back: transports, connections, flows
//! (RFC 5626 2), and who stands behind an address. Values only: sockets and streams are the
//! reactor's.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What carries SIP messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Datagrams (RFC 3261 18).
    #[default]
    Udp,
    /// A byte stream (RFC 3261 18).
    Tcp,
    /// A byte stream under TLS (RFC 3261 26.2.1).
    Tls,
    /// WebSocket messages (RFC 7118).
    Ws,
    /// WebSocket messages under TLS (RFC 7118).
    Wss,
}

impl Transport {
    /// Every transport, for tables.
    pub const ALL: [Transport; 5] =
        [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss];

    /// Whether messages come over a connection that can close.
    #[must_use]
    pub const fn is_connection(self) -> bool {
        !matches!(self, Transport::Udp)
    }

    /// Whether nobody on the way can read along.
    #[must_use]
    pub const fn is_secure(self) -> bool {
        matches!(self, Transport::Tls | Transport::Wss)
    }

    /// As it stands in a Via's sent-protocol (RFC 3261 20.42, RFC 7118 5.2).
    #[must_use]
    pub const fn via(self) -> &'static str {
        match self {
            Transport::Udp => "UDP",
            Transport::Tcp => "TCP",
            Transport::Tls => "TLS",
            Transport::Ws => "WS",
            Transport::Wss => "WSS",
        }
    }

    /// As it stands in a listening address, a URI parameter, a metric.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Ws => "ws",
            Transport::Wss => "wss",
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Names a connection for as long as it is open; a later tenant of its slot has another
/// generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    /// The reactor that accepted it, and alone reads and writes it.
    pub reactor: u8,
    /// Its slot there.
    pub slot: u32,
    /// Which tenant of the slot.
    pub generation: u32,
}

/// The way back to the sender of a message (RFC 5626 2), beside its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// A datagram socket: the listener's number, the same on every reactor, and the local address
    /// the message was sent to, known only where the listener is bound to a wildcard.
    Datagram {
        /// Number of the listener.
        listener: u8,
        /// The address replies leave from.
        local_ip: Option<IpAddr>,
    },
    /// A connection.
    Connection {
        /// Which one.
        id: ConnectionId,
        /// What it carries.
        transport: Transport,
    },
}

impl Flow {
    /// What carries it.
    #[must_use]
    pub const fn transport(&self) -> Transport {
        match self {
            Flow::Datagram { .. } => Transport::Udp,
            Flow::Connection { transport, .. } => *transport,
        }
    }

    /// The connection, if it is one.
    #[must_use]
    pub const fn connection(&self) -> Option<ConnectionId> {
        match self {
            Flow::Datagram { .. } => None,
            Flow::Connection { id, .. } => Some(*id),
        }
    }
}

/// What stands for a source where failures and offences are counted and blocks set: itself, or its
/// /64, since whoever has one address of IPv6 has them all.
#[must_use]
pub fn culprit(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(v6) => prefix_64(v6).into(),
    }
}

/// The network that `culprit` stands for.
#[must_use]
pub fn network(culprit: IpAddr) -> IpNet {
    match culprit {
        IpAddr::V4(v4) => Ipv4Net::from(v4).into(),
        IpAddr::V6(v6) => Ipv6Net::new_assert(v6, 64).into(),
    }
}

/// The first address of the /64 an address is in.
#[must_use]
pub fn prefix_64(v6: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_datagrams_need_no_connection_and_only_tls_is_secure() {
        for transport in Transport::ALL {
            assert_eq!(transport.is_connection(), transport.via() != "UDP");
            assert_eq!(transport.is_secure(), ["TLS", "WSS"].contains(&transport.via()));
            assert!(transport.word().eq_ignore_ascii_case(transport.via()));
        }
    }

    #[test]
    fn a_flow_knows_its_transport_and_connection() {
        let id = ConnectionId { reactor: 1, slot: 2, generation: 3 };
        let stream = Flow::Connection { id, transport: Transport::Wss };
        assert_eq!((stream.transport(), stream.connection()), (Transport::Wss, Some(id)));
        let datagram = Flow::Datagram { listener: 0, local_ip: None };
        assert_eq!((datagram.transport(), datagram.connection()), (Transport::Udp, None));
    }
}
