//! The flow a REGISTER came by, in 18 bytes or, as a binding keeps it (`packed`), in two and as
//! many as its kind needs. A connection
//! leaves room for the two links that chain the bindings of one connection (`connections`), so
//! that index costs a binding over datagrams nothing.

use std::net::IpAddr;

use crate::flow::{ConnectionId, Flow, Transport};

const DATAGRAM: u8 = 0;
const DATAGRAM_TO_V4: u8 = 1;
const DATAGRAM_TO_V6: u8 = 2;
const TCP: u8 = 3;
const TLS: u8 = 4;
const WS: u8 = 5;
const WSS: u8 = 6;

/// End of a chain.
pub(super) const NIL: u32 = u32::MAX;

/// A [`Flow`] without padding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct CompactFlow {
    kind: u8,
    /// Of the listener or of the reactor.
    number: u8,
    /// The local address; or slot, generation and the links of a connection.
    bytes: [u8; 16],
}

impl Default for CompactFlow {
    fn default() -> Self {
        CompactFlow { kind: DATAGRAM, number: 0, bytes: [0; 16] }
    }
}

impl From<Flow> for CompactFlow {
    #[inline]
    fn from(flow: Flow) -> Self {
        match flow {
            Flow::Datagram { listener, local_ip } => {
                let mut bytes = [0; 16];
                let kind = match local_ip {
                    None => DATAGRAM,
                    Some(IpAddr::V4(ip)) => {
                        bytes[..4].copy_from_slice(&ip.octets());
                        DATAGRAM_TO_V4
                    }
                    Some(IpAddr::V6(ip)) => {
                        bytes = ip.octets();
                        DATAGRAM_TO_V6
                    }
                };
                CompactFlow { kind, number: listener, bytes }
            }
            Flow::Connection { id, transport } => {
                let kind = match transport {
                    // A connection never carries datagrams; were one said to, it is a stream.
                    Transport::Udp | Transport::Tcp => TCP,
                    Transport::Tls => TLS,
                    Transport::Ws => WS,
                    Transport::Wss => WSS,
                };
                let mut flow = CompactFlow { kind, number: id.reactor, bytes: [0xff; 16] };
                flow.set_word(SLOT, id.slot);
                flow.set_word(GENERATION, id.generation);
                flow
            }
        }
    }
}

const SLOT: usize = 0;
const GENERATION: usize = 4;
/// Where the links of a chain stand among the bytes of a connection.
pub(super) const NEXT: usize = 8;
pub(super) const PREVIOUS: usize = 12;

impl CompactFlow {
    fn word(&self, at: usize) -> u32 {
        let mut word = [0; 4];
        word.copy_from_slice(&self.bytes[at..at + 4]);
        u32::from_le_bytes(word)
    }

    fn set_word(&mut self, at: usize, word: u32) {
        self.bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
    }

    pub fn is_connection(&self) -> bool {
        Self::is_kind_of_connection(self.kind)
    }

    /// Whether flows of a kind are connections.
    pub fn is_kind_of_connection(kind: u8) -> bool {
        kind >= TCP
    }

    /// Kind and number.
    pub fn head(&self) -> (u8, u8) {
        (self.kind, self.number)
    }

    /// How many bytes a flow of a kind needs beside its head.
    pub fn packed_len(kind: u8) -> usize {
        match kind {
            DATAGRAM => 0,
            DATAGRAM_TO_V4 => 4,
            _ => 16,
        }
    }

    /// Those bytes.
    pub fn packed(&self) -> &[u8] {
        &self.bytes[..Self::packed_len(self.kind)]
    }

    /// The flow of a head and of the bytes [`CompactFlow::packed`] gave.
    pub fn unpack(kind: u8, number: u8, packed: &[u8]) -> CompactFlow {
        let mut flow = CompactFlow { kind, number, bytes: [0; 16] };
        // In lengths the compiler knows: a call to copy four bytes costs more than they.
        match *packed {
            [] => {}
            [a, b, c, d] => flow.bytes[..4].copy_from_slice(&[a, b, c, d]),
            ref long => flow.bytes[..long.len()].copy_from_slice(long),
        }
        flow
    }

    pub fn connection(&self) -> Option<ConnectionId> {
        self.is_connection().then(|| ConnectionId {
            reactor: self.number,
            slot: self.word(SLOT),
            generation: self.word(GENERATION),
        })
    }

    pub fn flow(&self) -> Flow {
        let transport = match self.kind {
            TCP => Transport::Tcp,
            TLS => Transport::Tls,
            WS => Transport::Ws,
            WSS => Transport::Wss,
            _ => {
                let [a, b, c, d, ..] = self.bytes;
                let local_ip = match self.kind {
                    DATAGRAM_TO_V4 => Some(IpAddr::from([a, b, c, d])),
                    DATAGRAM_TO_V6 => Some(IpAddr::from(self.bytes)),
                    _ => None,
                };
                return Flow::Datagram { listener: self.number, local_ip };
            }
        };
        let id = ConnectionId {
            reactor: self.number,
            slot: self.word(SLOT),
            generation: self.word(GENERATION),
        };
        Flow::Connection { id, transport }
    }

    /// Whether both are one flow; links do not count.
    #[inline]
    pub fn is_same(&self, other: &CompactFlow) -> bool {
        let head = self.kind == other.kind && self.number == other.number;
        if self.is_connection() {
            head && self.bytes[..NEXT] == other.bytes[..NEXT]
        } else {
            head && self.bytes == other.bytes
        }
    }

    /// The next and the previous slot of the chain of its connection.
    pub fn links(&self) -> (u32, u32) {
        debug_assert!(self.is_connection());
        (self.word(NEXT), self.word(PREVIOUS))
    }

    /// The bytes that say which flow it is, for a token (RFC 5626 5.2).
    pub fn to_bytes(self) -> [u8; FLOW_BYTES] {
        let mut out = [0; FLOW_BYTES];
        out[0] = self.kind;
        out[1] = self.number;
        out[2..].copy_from_slice(&self.bytes);
        if self.is_connection() {
            out[2 + NEXT..].fill(0);
        }
        out
    }

    /// Reads what [`CompactFlow::to_bytes`] wrote; `None` if it cannot have.
    pub fn from_bytes(bytes: [u8; FLOW_BYTES]) -> Option<CompactFlow> {
        let mut flow = CompactFlow { kind: bytes[0], number: bytes[1], bytes: [0; 16] };
        flow.bytes.copy_from_slice(&bytes[2..]);
        (flow.kind <= WSS).then_some(flow)
    }
}

/// Bytes of a flow.
pub(super) const FLOW_BYTES: usize = 18;

const _: () = assert!(size_of::<CompactFlow>() == FLOW_BYTES);

impl std::fmt::Debug for CompactFlow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.flow().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flows() -> Vec<Flow> {
        let ips = [None, Some("192.0.2.1"), Some("2001:db8::1"), Some("::ffff:192.0.2.1")];
        let mut flows: Vec<Flow> = ips
            .into_iter()
            .map(|ip| Flow::Datagram { listener: 3, local_ip: ip.map(|ip| ip.parse().unwrap()) })
            .collect();
        for transport in [Transport::Tcp, Transport::Tls, Transport::Ws, Transport::Wss] {
            let id = ConnectionId { reactor: 127, slot: 0xdead_beef, generation: u32::MAX };
            flows.push(Flow::Connection { id, transport });
        }
        flows
    }

    #[test]
    fn every_kind_of_flow_comes_back_as_it_was_and_is_none_of_the_others() {
        let all = flows();
        for (at, &flow) in all.iter().enumerate() {
            let compact = CompactFlow::from(flow);
            assert_eq!(compact.flow(), flow);
            assert_eq!(compact.connection(), flow.connection());
            let read = CompactFlow::from_bytes(compact.to_bytes()).unwrap();
            assert_eq!(read.flow(), flow);
            for (other, &flow) in all.iter().enumerate() {
                assert_eq!(compact.is_same(&flow.into()), at == other);
            }
        }
    }

    #[test]
    fn links_are_no_part_of_the_flow() {
        let flow = flows().pop().unwrap();
        let plain = CompactFlow::from(flow);
        let mut chained = plain;
        chained.set_word(NEXT, 7);
        chained.set_word(PREVIOUS, 9);
        assert_eq!(plain.links(), (NIL, NIL));
        assert_eq!(chained.links(), (7, 9));
        assert!(chained.is_same(&plain));
        assert_eq!(chained.to_bytes(), plain.to_bytes());
        assert_eq!(chained.flow(), flow);
    }

    #[test]
    fn bytes_that_no_flow_has_are_refused() {
        assert!(CompactFlow::from_bytes([0xff; FLOW_BYTES]).is_none());
    }
}
