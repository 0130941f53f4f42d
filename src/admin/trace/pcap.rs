//! The messages of a trace as a capture file (pcapng), for tools that read those. No packet was
//! captured, so headers of IP and UDP or TCP are made up around each message, with addresses, ports
//! and checksums as they would be; each block has a comment with what became of the message.
//!
//! What came over TLS or WebSocket stands there in the clear, as datagrams between the same
//! addresses: as TCP it would be taken for what it was on the wire.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use super::desk::Kept;
use super::row::outcome;
use crate::flow::Transport;

/// Packets that begin with an IP header of whichever version.
const LINKTYPE_RAW: u16 = 101;
/// What says in which order the bytes of a number stand.
const BYTE_ORDER: u32 = 0x1A2B_3C4D;
const SECTION: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const PACKET: u32 = 6;
const OPTION_END: u16 = 0;
const OPTION_COMMENT: u16 = 1;
const OPTION_APPLICATION: u16 = 4;
const UDP: u8 = 17;
const TCP: u8 = 6;
const UDP_HEADER_BYTES: usize = 8;
const TCP_HEADER_BYTES: usize = 20;
/// Data that belongs to what was before, and is to be passed on.
const TCP_FLAGS: u8 = 0x18;

/// A file with these messages.
pub(super) fn file(messages: &[Arc<Kept>]) -> Vec<u8> {
    let mut out = Vec::new();
    block(&mut out, SECTION, |body| {
        body.extend(BYTE_ORDER.to_le_bytes());
        body.extend([1, 0, 0, 0]);
        body.extend(u64::MAX.to_le_bytes());
        option(body, OPTION_APPLICATION, b"aorta");
        option(body, OPTION_END, b"");
    });
    block(&mut out, INTERFACE, |body| {
        body.extend(LINKTYPE_RAW.to_le_bytes());
        body.extend([0; 2]);
        body.extend(0_u32.to_le_bytes());
    });
    let mut sent = HashMap::new();
    for message in messages {
        let (packet, whole) = packet(message, &mut sent);
        let traced = &message.traced;
        let at_us = traced.at.0.saturating_mul(1_000_000) + u64::from(traced.at_us);
        block(&mut out, PACKET, |body| {
            body.extend(0_u32.to_le_bytes());
            body.extend(((at_us >> 32) as u32).to_le_bytes());
            body.extend((at_us as u32).to_le_bytes());
            body.extend((packet.len() as u32).to_le_bytes());
            body.extend((whole as u32).to_le_bytes());
            body.extend(&packet);
            pad(body);
            option(body, OPTION_COMMENT, comment(message).as_bytes());
            option(body, OPTION_END, b"");
        });
    }
    out
}

/// A block of pcapng: its length stands before and behind it.
fn block(out: &mut Vec<u8>, kind: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    write(&mut body);
    pad(&mut body);
    let len = (body.len() as u32 + 12).to_le_bytes();
    out.extend(kind.to_le_bytes());
    out.extend(len);
    out.extend(&body);
    out.extend(len);
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    body.extend(code.to_le_bytes());
    body.extend((value.len() as u16).to_le_bytes());
    body.extend(value);
    pad(body);
}

/// To the next multiple of four bytes.
fn pad(body: &mut Vec<u8>) {
    body.resize(body.len().next_multiple_of(4), 0);
}

/// What became of a message, in a few words.
fn comment(message: &Kept) -> String {
    let traced = &message.traced;
    let (outcome, status, reason) = outcome(traced.fate);
    let mut text = format!("{} shard {}", traced.transport, message.shard);
    for word in [outcome, reason].into_iter().flatten() {
        text.push(' ');
        text.push_str(word);
    }
    if let Some(status) = status {
        text.push_str(&format!(" {status}"));
    }
    text
}

/// A message with made-up headers, and how long it would be if it were whole. `sent` has how many
/// bytes went from one address to another so far.
fn packet(message: &Kept, sent: &mut HashMap<(SocketAddr, SocketAddr), u32>) -> (Vec<u8>, usize) {
    let (from, to) = one_family(message.ends());
    let payload = &message.traced.bytes;
    let (protocol, header) = match message.traced.transport {
        Transport::Tcp => (TCP, TCP_HEADER_BYTES),
        _ => (UDP, UDP_HEADER_BYTES),
    };
    let ip_header = if from.is_ipv4() { 20 } else { 40 };
    let room = usize::from(u16::MAX) - ip_header - header;
    let whole = message.traced.len.min(room);
    let payload = &payload[..payload.len().min(whole)];
    let mut segment = Vec::with_capacity(header + payload.len());
    segment.extend(from.port().to_be_bytes());
    segment.extend(to.port().to_be_bytes());
    if protocol == UDP {
        segment.extend(((header + whole) as u16).to_be_bytes());
        segment.extend([0; 2]);
    } else {
        let acknowledged = sent.get(&(to, from)).copied().unwrap_or(1);
        let sequence = sent.entry((from, to)).or_insert(1);
        segment.extend(sequence.to_be_bytes());
        *sequence = sequence.wrapping_add(whole as u32);
        segment.extend(acknowledged.to_be_bytes());
        segment.extend([5 << 4, TCP_FLAGS, 0xff, 0xff, 0, 0, 0, 0]);
    }
    segment.extend(payload);
    // Over what is not all there no checksum can be right; 0 says that there is none.
    if payload.len() == whole {
        let at = if protocol == UDP { 6 } else { 16 };
        let sum = transport_checksum(from.ip(), to.ip(), protocol, &segment);
        segment[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    }
    let len = header + whole;
    let mut packet = ip(from.ip(), to.ip(), protocol, len);
    packet.extend(&segment);
    (packet, ip_header + len)
}

/// Both addresses in one family: what is unspecified takes that of the other.
fn one_family((from, to): (SocketAddr, SocketAddr)) -> (SocketAddr, SocketAddr) {
    if from.is_ipv4() == to.is_ipv4() {
        return (from, to);
    }
    let six = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => {
            SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port())
        }
        IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), address.port()),
        IpAddr::V6(_) => address,
    };
    (six(from), six(to))
}

/// The header of an IP packet with `len` bytes behind it (RFC 791 3.1, RFC 8200 3).
fn ip(from: IpAddr, to: IpAddr, protocol: u8, len: usize) -> Vec<u8> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut header = vec![0x45, 0];
            header.extend((20 + len as u16).to_be_bytes());
            header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
            header.extend(from.octets());
            header.extend(to.octets());
            let sum = checksum(&[&header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
            header
        }
        (from, to) => {
            let mut header = vec![0x60, 0, 0, 0];
            header.extend((len as u16).to_be_bytes());
            header.extend([protocol, 64]);
            header.extend(octets_v6(from));
            header.extend(octets_v6(to));
            header
        }
    }
}

fn octets_v6(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The checksum of UDP or TCP, over the pseudo header too (RFC 768, RFC 9293 3.1, RFC 8200 8.1).
fn transport_checksum(from: IpAddr, to: IpAddr, protocol: u8, segment: &[u8]) -> u16 {
    let mut pseudo = Vec::with_capacity(40);
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            pseudo.extend(from.octets());
            pseudo.extend(to.octets());
        }
        (from, to) => {
            pseudo.extend(octets_v6(from));
            pseudo.extend(octets_v6(to));
        }
    }
    // The forms of both families come to the same sum.
    pseudo.extend((segment.len() as u32).to_be_bytes());
    pseudo.extend([0, 0, 0, protocol]);
    match checksum(&[&pseudo, segment]) {
        0 if protocol == UDP => 0xffff,
        sum => sum,
    }
}

/// The Internet checksum (RFC 1071) of pieces, all but the last of even length.
fn checksum(pieces: &[&[u8]]) -> u16 {
    let words = pieces.iter().flat_map(|piece| piece.chunks(2));
    let word = |pair: &[u8]| u64::from(u16::from_be_bytes([pair[0], *pair.get(1).unwrap_or(&0)]));
    let mut sum: u64 = words.map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::counters::DropReason;
    use crate::shard::trace::{Direction, Fate, Traced};
    use crate::time::UnixTime;

    const SIP: &[u8] = b"OPTIONS sip:a@b SIP/2.0\r\nCSeq: 1 OPTIONS\r\n\r\n";

    fn kept(transport: Transport, remote: &str, local: &str, bytes: &[u8]) -> Arc<Kept> {
        Arc::new(Kept {
            shard: 3,
            local: local.parse().unwrap(),
            traced: Traced {
                traces: Default::default(),
                at: UnixTime(1_800_000_000),
                at_us: 123_456,
                direction: Direction::In,
                remote: remote.parse().unwrap(),
                local: None,
                transport,
                fate: Some(Fate::Dropped(DropReason::Scanner)),
                len: bytes.len(),
                bytes: bytes.into(),
            },
        })
    }

    fn u16_of(bytes: &[u8], at: usize) -> u16 {
        u16::from_be_bytes(bytes[at..at + 2].try_into().unwrap())
    }

    fn u32_le(bytes: &[u8], at: usize) -> usize {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
    }

    /// Reads blocks back: their kinds and bodies.
    fn blocks(mut file: &[u8]) -> Vec<(u32, &[u8])> {
        let mut blocks = Vec::new();
        while !file.is_empty() {
            let len = u32_le(file, 4);
            assert!(len.is_multiple_of(4) && len >= 12 && len <= file.len());
            assert_eq!(u32_le(file, len - 4), len, "both lengths agree");
            blocks.push((u32_le(file, 0) as u32, &file[8..len - 4]));
            file = &file[len..];
        }
        blocks
    }

    /// The packet of a block, its length on the wire and its comment.
    fn read(body: &[u8]) -> (&[u8], usize, String) {
        let at_us = ((u32_le(body, 4) as u64) << 32) | u32_le(body, 8) as u64;
        assert_eq!(at_us, 1_800_000_000_123_456);
        let (captured, whole) = (u32_le(body, 12), u32_le(body, 16));
        let options = 20 + captured.next_multiple_of(4);
        let len = u16::from_le_bytes(body[options + 2..options + 4].try_into().unwrap());
        assert_eq!(body[options], 1);
        let comment = &body[options + 4..options + 4 + usize::from(len)];
        (&body[20..20 + captured], whole, String::from_utf8(comment.to_vec()).unwrap())
    }

    /// Sums that are right come to nothing.
    fn assert_sums(packet: &[u8]) {
        let six = packet[0] >> 4 == 6;
        let (protocol, addresses, rest) = match six {
            true => (packet[6], &packet[8..40], &packet[40..]),
            false => {
                assert_eq!(checksum(&[&packet[..20]]), 0);
                (packet[9], &packet[12..20], &packet[20..])
            }
        };
        let len =
            if six { usize::from(u16_of(packet, 4)) } else { usize::from(u16_of(packet, 2)) - 20 };
        assert_eq!(len, rest.len());
        let end = [&(rest.len() as u32).to_be_bytes()[..], &[0, 0, 0, protocol]].concat();
        assert_eq!(checksum(&[addresses, &end, rest]), 0);
    }

    #[test]
    fn a_file_reads_back_with_addresses_times_payload_and_right_checksums() {
        let odd = [SIP, b"x"].concat();
        let messages = [
            kept(Transport::Udp, "192.0.2.7:5066", "192.0.2.1:5060", SIP),
            kept(Transport::Tls, "[2001:db8::7]:5066", "[2001:db8::1]:5061", &odd),
            kept(Transport::Ws, "[2001:db8::7]:1", "0.0.0.0:0", SIP),
        ];
        let file = file(&messages);
        let blocks = blocks(&file);
        let kinds: Vec<u32> = blocks.iter().map(|&(kind, _)| kind).collect();
        assert_eq!(kinds, [SECTION, INTERFACE, PACKET, PACKET, PACKET]);
        for (message, (_, body)) in messages.iter().zip(&blocks[2..]) {
            let (packet, whole, comment) = read(body);
            assert_eq!(whole, packet.len());
            assert!(packet.ends_with(&message.traced.bytes));
            assert!(comment.ends_with("shard 3 dropped scanner"), "{comment}");
            assert_sums(packet);
        }
        let (packet, ..) = read(blocks[2].1);
        assert_eq!(packet[12..20], [192, 0, 2, 7, 192, 0, 2, 1]);
        assert_eq!((u16_of(packet, 20), u16_of(packet, 22)), (5066, 5060));
        assert_eq!(usize::from(u16_of(packet, 24)), 8 + SIP.len());
    }

    #[test]
    fn messages_of_one_connection_follow_each_other() {
        let one = kept(Transport::Tcp, "192.0.2.7:5066", "192.0.2.1:5060", SIP);
        let mut answer = Kept::clone(&one);
        answer.traced.direction = Direction::Out;
        let file = file(&[Arc::clone(&one), answer.into(), one]);
        let blocks = blocks(&file);
        let numbers: Vec<(u32, u32)> = blocks[2..]
            .iter()
            .map(|(_, body)| {
                let (packet, ..) = read(body);
                assert_sums(packet);
                let number =
                    |at: usize| u32::from_be_bytes(packet[20 + at..24 + at].try_into().unwrap());
                (number(4), number(8))
            })
            .collect();
        let len = SIP.len() as u32;
        assert_eq!(numbers, [(1, 1), (1, 1 + len), (1 + len, 1 + len)]);
    }

    #[test]
    fn a_message_that_was_cut_says_how_long_it_was() {
        let mut long = Kept::clone(&kept(Transport::Udp, "192.0.2.7:1", "192.0.2.1:2", SIP));
        for (len, expected) in [(9000, 9000 + 28), (65_535, 65_535)] {
            long.traced.len = len;
            let file = file(&[Arc::new(long.clone())]);
            let blocks = blocks(&file);
            let (packet, whole, _) = read(blocks[2].1);
            assert_eq!((whole, packet.len()), (expected, 28 + SIP.len()));
            assert_eq!(usize::from(u16_of(packet, 2)), expected);
            assert_eq!(u16_of(packet, 26), 0, "no checksum");
        }
    }

    #[test]
    fn a_checksum_is_that_of_rfc_1071() {
        assert_eq!(checksum(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
        assert_eq!(checksum(&[&[]]), 0xffff);
    }
}
