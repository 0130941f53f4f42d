//! What traces see, to a Homer collector: one datagram a message in the Homer Encapsulation
//! Protocol, version 3 ("HEP3"). They are sent from the thread of the interface and wait for
//! nobody: what the socket does not take at once is shed, and counted.
//!
//! A packet is `HEP3`, its length, and chunks: vendor (0, the protocol's own), type, length of the
//! chunk with its head, value; numbers are big-endian.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};

use super::desk::Kept;
use super::row::call_id;
use crate::flow::Transport;

const MAGIC: &[u8; 4] = b"HEP3";
const VENDOR: u16 = 0;
const FAMILY: u16 = 1;
const PROTOCOL: u16 = 2;
const IPV4_SOURCE: u16 = 3;
const IPV4_DESTINATION: u16 = 4;
const IPV6_SOURCE: u16 = 5;
const IPV6_DESTINATION: u16 = 6;
const SOURCE_PORT: u16 = 7;
const DESTINATION_PORT: u16 = 8;
const SECONDS: u16 = 9;
const MICROSECONDS: u16 = 10;
const CONTENT: u16 = 11;
const CAPTURE_ID: u16 = 12;
const PASSWORD: u16 = 14;
const PAYLOAD: u16 = 15;
const CORRELATION: u16 = 17;

const FAMILY_IPV4: u8 = 2;
const FAMILY_IPV6: u8 = 10;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_UDP: u8 = 17;
const CONTENT_SIP: u8 = 1;
/// Longest Call-ID that is sent along; a longer one is in the message all the same.
const CORRELATION_BYTES_MAX: usize = 256;

/// Where to, and as whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Settings {
    /// The collector.
    pub collector: SocketAddr,
    /// The number the collector knows this sender by.
    pub capture_id: u32,
    /// What the collector asks for; empty for nothing.
    pub password: String,
    /// Also without a trace, all that failed: what was dropped, and what was refused for good.
    pub failures: bool,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { collector, capture_id, failures, .. } = self;
        write!(f, "{collector} as {capture_id}, failures: {failures}")
    }
}

/// What was sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in super::super) struct Counts {
    /// Messages sent to the collector.
    pub sent: u64,
    /// Messages that the socket did not take.
    pub shed: u64,
}

/// The way to a collector.
pub(super) struct Hep {
    settings: Settings,
    /// `None`: the system gave none; everything is shed then.
    socket: Option<UdpSocket>,
    sent: AtomicU64,
    shed: AtomicU64,
}

impl Hep {
    /// Opens it.
    pub fn new(settings: &Settings) -> Hep {
        let socket = open(settings.collector).ok();
        let (sent, shed) = (AtomicU64::new(0), AtomicU64::new(0));
        Hep { settings: settings.clone(), socket, sent, shed }
    }

    /// Sends a message, if that is possible at once.
    pub fn give(&self, message: &Kept) {
        let packet = packet(&self.settings, message);
        let sent = self.socket.as_ref().is_some_and(|socket| {
            // An error may be the collector's refusal of what was sent before.
            socket.send(&packet).or_else(|_| socket.send(&packet)).is_ok()
        });
        let count = if sent { &self.sent } else { &self.shed };
        count.fetch_add(1, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        let [sent, shed] = [&self.sent, &self.shed].map(|count| count.load(Ordering::Relaxed));
        Counts { sent, shed }
    }
}

fn open(collector: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match collector.is_ipv4() {
        true => [0; 4].into(),
        false => [0_u16; 8].into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(collector)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// A message as the collector takes it.
fn packet(settings: &Settings, message: &Kept) -> Vec<u8> {
    let traced = &message.traced;
    let (from, to) = message.ends();
    let mut out = Vec::with_capacity(traced.bytes.len() + 256);
    out.extend(MAGIC);
    out.extend([0; 2]);
    match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            chunk(&mut out, FAMILY, &[FAMILY_IPV4]);
            chunk(&mut out, IPV4_SOURCE, &from.octets());
            chunk(&mut out, IPV4_DESTINATION, &to.octets());
        }
        (from, to) => {
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            chunk(&mut out, FAMILY, &[FAMILY_IPV6]);
            chunk(&mut out, IPV6_SOURCE, &octets(from));
            chunk(&mut out, IPV6_DESTINATION, &octets(to));
        }
    }
    let protocol = match traced.transport {
        Transport::Udp => PROTOCOL_UDP,
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => PROTOCOL_TCP,
    };
    chunk(&mut out, PROTOCOL, &[protocol]);
    chunk(&mut out, SOURCE_PORT, &from.port().to_be_bytes());
    chunk(&mut out, DESTINATION_PORT, &to.port().to_be_bytes());
    // The protocol's seconds end in 2106.
    chunk(&mut out, SECONDS, &(traced.at.0 as u32).to_be_bytes());
    chunk(&mut out, MICROSECONDS, &traced.at_us.to_be_bytes());
    chunk(&mut out, CONTENT, &[CONTENT_SIP]);
    chunk(&mut out, CAPTURE_ID, &settings.capture_id.to_be_bytes());
    if !settings.password.is_empty() {
        chunk(&mut out, PASSWORD, settings.password.as_bytes());
    }
    if let Some(id) = call_id(&traced.bytes).filter(|id| id.len() <= CORRELATION_BYTES_MAX) {
        chunk(&mut out, CORRELATION, &id);
    }
    chunk(&mut out, PAYLOAD, &traced.bytes);
    let len = (out.len() as u16).to_be_bytes();
    out[4..6].copy_from_slice(&len);
    out
}

fn chunk(out: &mut Vec<u8>, kind: u16, value: &[u8]) {
    out.extend(VENDOR.to_be_bytes());
    out.extend(kind.to_be_bytes());
    out.extend((value.len() as u16 + 6).to_be_bytes());
    out.extend(value);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::shard::trace::{Direction, Traced};
    use crate::time::UnixTime;

    const SIP: &[u8] =
        b"OPTIONS sip:a@b SIP/2.0\r\nCall-ID: c1@x\r\nCSeq: 1 OPTIONS\r\nFrom: <sip:a@b>;tag=1\r\n\
          To: <sip:a@b>\r\nVia: SIP/2.0/UDP x;branch=z9hG4bK1\r\nMax-Forwards: 1\r\n\r\n";

    fn kept(remote: &str, local: &str, transport: Transport) -> Kept {
        Kept {
            shard: 0,
            local: local.parse().unwrap(),
            traced: Traced {
                traces: Default::default(),
                at: UnixTime(0x6b49_d200),
                at_us: 123_456,
                direction: Direction::Out,
                remote: remote.parse().unwrap(),
                local: None,
                transport,
                fate: None,
                len: SIP.len(),
                bytes: SIP.into(),
            },
        }
    }

    fn settings(collector: SocketAddr) -> Settings {
        Settings { collector, capture_id: 2001, password: "secret".into(), failures: false }
    }

    /// Takes a packet apart.
    fn chunks(packet: &[u8]) -> BTreeMap<u16, Vec<u8>> {
        assert_eq!(&packet[..4], MAGIC);
        let number = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
        assert_eq!(number(4), packet.len());
        let (mut at, mut chunks) = (6, BTreeMap::new());
        while at < packet.len() {
            assert_eq!(number(at), 0, "the protocol's own");
            let (kind, len) = (number(at + 2) as u16, number(at + 4));
            assert!(chunks.insert(kind, packet[at + 6..at + len].to_vec()).is_none());
            at += len;
        }
        chunks
    }

    #[test]
    fn a_collector_is_sent_each_chunk_as_it_expects_it() {
        let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
        collector.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let hep = Hep::new(&settings(collector.local_addr().unwrap()));
        hep.give(&kept("192.0.2.7:5066", "192.0.2.1:5060", Transport::Udp));
        let mut buffer = [0; 2000];
        let len = collector.recv(&mut buffer).expect("a datagram");
        let chunks = chunks(&buffer[..len]);
        let expected: &[(u16, &[u8])] = &[
            (1, &[2]),
            (2, &[17]),
            (3, &[192, 0, 2, 1]),
            (4, &[192, 0, 2, 7]),
            (7, &[0x13, 0xc4]),
            (8, &[0x13, 0xca]),
            (9, &[0x6b, 0x49, 0xd2, 0]),
            (10, &[0, 1, 0xe2, 0x40]),
            (11, &[1]),
            (12, &[0, 0, 7, 0xd1]),
            (14, b"secret"),
            (15, SIP),
            (17, b"c1@x"),
        ];
        let expected: BTreeMap<u16, Vec<u8>> =
            expected.iter().map(|(kind, value)| (*kind, value.to_vec())).collect();
        assert_eq!(chunks, expected);
        assert_eq!(hep.counts(), Counts { sent: 1, shed: 0 });
    }

    #[test]
    fn addresses_of_ipv6_have_chunks_of_their_own_and_streams_are_tcp() {
        let open =
            Settings { password: String::new(), ..settings("192.0.2.9:9060".parse().unwrap()) };
        let message = kept("[2001:db8::7]:5066", "0.0.0.0:0", Transport::Wss);
        let chunks = chunks(&packet(&open, &message));
        assert_eq!((&chunks[&1], &chunks[&2]), (&vec![10], &vec![6]));
        assert_eq!((chunks[&5].len(), chunks[&6][..2].to_vec()), (16, vec![0x20, 0x01]));
        assert!(!chunks.contains_key(&3) && !chunks.contains_key(&14));
    }

    #[test]
    fn without_a_socket_everything_is_shed_and_counted() {
        let hep = Hep { socket: None, ..Hep::new(&settings("127.0.0.1:9".parse().unwrap())) };
        hep.give(&kept("192.0.2.7:1", "192.0.2.1:2", Transport::Udp));
        assert_eq!(hep.counts(), Counts { sent: 0, shed: 1 });
    }

    #[test]
    fn a_password_is_not_written_anywhere() {
        assert!(!format!("{:?}", settings("192.0.2.9:1".parse().unwrap())).contains("secret"));
    }
}
