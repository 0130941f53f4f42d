//! STUN (RFC 5389) as far as a SIP port needs it: the binding requests by which phones keep their
//! pinhole open and learn that it has changed (RFC 5626 4.4.2 and 8), and the indication by which
//! we keep it open for them. No authentication, no other method; knows bytes, sends nothing.

use std::net::{IpAddr, SocketAddr};

/// What every STUN message since RFC 5389 carries behind its type and length.
const COOKIE: u32 = 0x2112_a442;
/// Bytes of the header.
pub const HEADER_BYTES: usize = 20;
/// Bytes of a transaction ID.
pub const TRANSACTION_BYTES: usize = 12;
/// Longest answer: a refusal that names as many attributes as one does.
pub const ANSWER_BYTES_MAX: usize = HEADER_BYTES + 4 + ERROR_BYTES + 4 + 2 * UNKNOWN_ATTRIBUTES_MAX;

/// Message types: method Binding with each class (RFC 5389 6).
const BINDING_REQUEST: u16 = 0x0001;
const BINDING_INDICATION: u16 = 0x0011;
const BINDING_SUCCESS: u16 = 0x0101;
const BINDING_ERROR: u16 = 0x0111;

const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// Attributes below this must be understood (RFC 5389 15).
const OPTIONAL_FROM: u16 = 0x8000;
/// Attributes that must be understood and that RFC 5389 18.2 knows. None of them has a meaning in
/// a binding request here: "known-but-unexpected attributes" are ignored (RFC 5389 7.3).
const KNOWN: [u16; 8] = [
    0x0001, // MAPPED-ADDRESS
    0x0006, // USERNAME
    0x0008, // MESSAGE-INTEGRITY
    ERROR_CODE,
    UNKNOWN_ATTRIBUTES,
    0x0014, // REALM
    0x0015, // NONCE
    XOR_MAPPED_ADDRESS,
];
/// Attributes a refusal names at most. A refusal is never longer than what it refuses by more than
/// a few bytes, so that it amplifies nothing.
const UNKNOWN_ATTRIBUTES_MAX: usize = 16;

/// The value of ERROR-CODE: two zero bytes, class and number, the reason, and zeros up to a
/// multiple of four.
const UNKNOWN_ATTRIBUTE_ERROR: [u8; ERROR_BYTES] = *b"\0\0\x04\x14Unknown Attribute\0\0\0";
const ERROR_BYTES: usize = 24;
/// How much of it counts (RFC 5389 15: the length is that before padding).
const ERROR_LENGTH: u16 = 21;

/// What a STUN message is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// With the address it came from, in the first `len` bytes of the buffer.
    Mapped {
        /// Bytes written.
        len: usize,
    },
    /// With 420: it wants something understood that is not known here (RFC 5389 7.3.1).
    UnknownAttribute {
        /// Bytes written.
        len: usize,
    },
    /// Not at all: an indication, a response, another method, or broken.
    Nothing,
}

/// Whether a datagram on a SIP port is STUN. The first byte of a SIP message is a letter, that of a
/// STUN message 0 or 1 (RFC 5626 8).
#[inline]
#[must_use]
pub fn is_stun(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|&first| first < 2) && has_cookie(datagram)
}

/// Whether STUN is a request of some method: the class bits are both clear (RFC 5389 6).
#[must_use]
pub fn is_request(datagram: &[u8]) -> bool {
    is_stun(datagram) && datagram[0] & 1 == 0 && datagram[1] & 0x10 == 0
}

fn has_cookie(datagram: &[u8]) -> bool {
    datagram.len() >= HEADER_BYTES && datagram[4..8] == COOKIE.to_be_bytes()
}

/// Answers a datagram that [`is_stun`] from `source`. The answer goes back to it, by the way it
/// came. `out` has room for [`ANSWER_BYTES_MAX`] bytes.
///
/// # Panics
/// If `out` has not.
pub fn answer(datagram: &[u8], source: SocketAddr, out: &mut [u8]) -> Answer {
    let Some((header, attributes)) = datagram.split_first_chunk::<HEADER_BYTES>() else {
        return Answer::Nothing;
    };
    let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
    // RFC 5389 7.3: what fails a check is silently discarded.
    if !is_stun(datagram)
        || u16::from_be_bytes([header[0], header[1]]) != BINDING_REQUEST
        || length != attributes.len()
        || !length.is_multiple_of(4)
    {
        return Answer::Nothing;
    }
    let mut unknown = [0; UNKNOWN_ATTRIBUTES_MAX];
    let Some(unknown) = unknown_attributes(attributes, &mut unknown) else {
        return Answer::Nothing;
    };
    let mut out = Message { out, len: HEADER_BYTES };
    if unknown.is_empty() {
        out.attribute(XOR_MAPPED_ADDRESS, |out| out.xor_address(source, &header[4..]));
        return Answer::Mapped { len: out.finish(BINDING_SUCCESS, header) };
    }
    out.attribute(ERROR_CODE, |out| out.put(&UNKNOWN_ATTRIBUTE_ERROR));
    out.out[HEADER_BYTES + 2..HEADER_BYTES + 4].copy_from_slice(&ERROR_LENGTH.to_be_bytes());
    out.attribute(UNKNOWN_ATTRIBUTES, |out| {
        unknown.iter().for_each(|kind| out.put(&kind.to_be_bytes()));
    });
    out.pad();
    Answer::UnknownAttribute { len: out.finish(BINDING_ERROR, header) }
}

/// A binding indication, which opens a pinhole and is not answered (RFC 5389 2). Some twenty bytes
/// that no STUN client takes for an answer to itself.
#[must_use]
pub fn binding_indication(transaction: [u8; TRANSACTION_BYTES]) -> [u8; HEADER_BYTES] {
    let mut message = [0; HEADER_BYTES];
    message[..2].copy_from_slice(&BINDING_INDICATION.to_be_bytes());
    message[4..8].copy_from_slice(&COOKIE.to_be_bytes());
    message[8..].copy_from_slice(&transaction);
    message
}

/// The attributes that would have to be understood and are not, as many as can be named. `None` if
/// one of them runs over the end.
fn unknown_attributes<'a>(
    mut attributes: &[u8],
    unknown: &'a mut [u16; UNKNOWN_ATTRIBUTES_MAX],
) -> Option<&'a [u16]> {
    let mut count = 0;
    while !attributes.is_empty() {
        let (head, rest) = attributes.split_first_chunk::<4>()?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let length = usize::from(u16::from_be_bytes([head[2], head[3]])).next_multiple_of(4);
        attributes = rest.get(length..)?;
        if kind < OPTIONAL_FROM && !KNOWN.contains(&kind) && count < unknown.len() {
            unknown[count] = kind;
            count += 1;
        }
    }
    Some(&unknown[..count])
}

/// A message as it is written, its attributes first.
struct Message<'a> {
    out: &'a mut [u8],
    len: usize,
}

impl Message<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.out[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn pad(&mut self) {
        while !self.len.is_multiple_of(4) {
            self.put(&[0]);
        }
    }

    /// Writes an attribute; its length is that of what `value` writes.
    fn attribute(&mut self, kind: u16, value: impl FnOnce(&mut Self)) {
        self.put(&kind.to_be_bytes());
        self.put(&[0, 0]);
        let at = self.len;
        value(self);
        let length = (self.len - at) as u16;
        self.out[at - 2..at].copy_from_slice(&length.to_be_bytes());
    }

    /// RFC 5389 15.2: the address under the cookie, an IPv6 address under the cookie and the
    /// transaction ID. `mask` is both, so no NAT that rewrites addresses in payloads finds it.
    fn xor_address(&mut self, address: SocketAddr, mask: &[u8]) {
        let port = address.port() ^ (COOKIE >> 16) as u16;
        let masked = |octet: (&u8, &u8)| octet.0 ^ octet.1;
        match address.ip().to_canonical() {
            IpAddr::V4(ip) => {
                self.put(&[0, 1]);
                self.put(&port.to_be_bytes());
                ip.octets().iter().zip(mask).map(masked).for_each(|octet| self.put(&[octet]));
            }
            IpAddr::V6(ip) => {
                self.put(&[0, 2]);
                self.put(&port.to_be_bytes());
                ip.octets().iter().zip(mask).map(masked).for_each(|octet| self.put(&[octet]));
            }
        }
    }

    /// Puts the header in front: the type, the length, and what the request had behind those.
    fn finish(self, kind: u16, request: &[u8; HEADER_BYTES]) -> usize {
        let Message { out, len } = self;
        out[..2].copy_from_slice(&kind.to_be_bytes());
        out[2..4].copy_from_slice(&((len - HEADER_BYTES) as u16).to_be_bytes());
        out[4..HEADER_BYTES].copy_from_slice(&request[4..]);
        len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRANSACTION: [u8; 12] =
        [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];

    fn message(kind: u16, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = Vec::new();
        for (kind, value) in attributes {
            body.extend_from_slice(&kind.to_be_bytes());
            body.extend_from_slice(&(value.len() as u16).to_be_bytes());
            body.extend_from_slice(value);
            body.resize(body.len().next_multiple_of(4), 0x20);
        }
        let mut message = kind.to_be_bytes().to_vec();
        message.extend_from_slice(&(body.len() as u16).to_be_bytes());
        message.extend_from_slice(&COOKIE.to_be_bytes());
        message.extend_from_slice(&TRANSACTION);
        message.extend_from_slice(&body);
        message
    }

    fn answered(datagram: &[u8], source: &str) -> (Answer, Vec<u8>) {
        let mut out = [0xee; ANSWER_BYTES_MAX];
        let answer = answer(datagram, source.parse().unwrap(), &mut out);
        let len = match answer {
            Answer::Mapped { len } | Answer::UnknownAttribute { len } => len,
            Answer::Nothing => 0,
        };
        assert!(out[len..].iter().all(|&byte| byte == 0xee), "nothing is written behind the end");
        (answer, out[..len].to_vec())
    }

    #[test]
    fn the_addresses_of_rfc_5769_are_masked_as_there() {
        // RFC 5769 2.2: 192.0.2.1 port 32853.
        let (answer, bytes) = answered(&message(BINDING_REQUEST, &[]), "192.0.2.1:32853");
        assert_eq!(answer, Answer::Mapped { len: 32 });
        assert_eq!(bytes[..8], [0x01, 0x01, 0x00, 0x0c, 0x21, 0x12, 0xa4, 0x42]);
        assert_eq!(bytes[8..20], TRANSACTION);
        let mapped = [0x00, 0x20, 0x00, 0x08, 0x00, 0x01, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43];
        assert_eq!(bytes[20..], mapped);
        // RFC 5769 2.3: 2001:db8:1234:5678:11:2233:4455:6677 port 32853.
        let source = "[2001:db8:1234:5678:11:2233:4455:6677]:32853";
        let (answer, bytes) = answered(&message(BINDING_REQUEST, &[]), source);
        assert_eq!(answer, Answer::Mapped { len: 44 });
        let mapped = [
            0x00, 0x20, 0x00, 0x14, 0x00, 0x02, 0xa1, 0x47, 0x01, 0x13, 0xa9, 0xfa, 0xa5, 0xd3,
            0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9,
        ];
        assert_eq!(bytes[20..], mapped);
    }

    #[test]
    fn attributes_that_are_optional_or_known_do_not_matter() {
        let request = message(
            BINDING_REQUEST,
            &[(0x8022, b"a phone"), (0x0006, b"user"), (0x8028, &[1, 2, 3, 4])],
        );
        assert!(matches!(answered(&request, "10.0.0.1:5060").0, Answer::Mapped { len: 32 }));
    }

    #[test]
    fn unknown_attributes_that_must_be_understood_are_named_in_a_420() {
        // CHANGE-REQUEST of RFC 5780, and one nobody knows.
        let request =
            message(BINDING_REQUEST, &[(0x0003, &[0; 4]), (0x8022, b"x"), (0x7fff, b"odd")]);
        let (answer, bytes) = answered(&request, "10.0.0.1:5060");
        assert_eq!(answer, Answer::UnknownAttribute { len: 56 });
        assert_eq!(bytes[..4], [0x01, 0x11, 0, 36]);
        assert_eq!(bytes[8..20], TRANSACTION);
        assert_eq!(bytes[20..28], [0, 9, 0, 21, 0, 0, 4, 20]);
        assert_eq!(bytes[28..48], *b"Unknown Attribute\0\0\0");
        assert_eq!(bytes[48..], [0, 0x0a, 0, 4, 0, 3, 0x7f, 0xff]);
        // An odd number of them is padded, and the length is that before.
        let one = answered(&message(BINDING_REQUEST, &[(0x0003, b"")]), "10.0.0.1:5060").1;
        assert_eq!(one[48..], [0, 0x0a, 0, 2, 0, 3, 0, 0]);
        assert_eq!(one[2..4], [0, 36]);
    }

    #[test]
    fn a_refusal_amplifies_little_however_much_is_unknown() {
        let many = vec![(0x0003, &b""[..]); 1000];
        let (_, bytes) = answered(&message(BINDING_REQUEST, &many), "10.0.0.1:5060");
        assert_eq!(bytes.len(), ANSWER_BYTES_MAX);
        for count in 1..20 {
            let request = message(BINDING_REQUEST, &many[..count]);
            let refusal = answered(&request, "10.0.0.1:5060").1;
            assert!(refusal.len() <= request.len() + 32);
        }
    }

    #[test]
    fn indications_responses_and_other_methods_are_swallowed() {
        for kind in [BINDING_INDICATION, BINDING_SUCCESS, BINDING_ERROR, 0x0003, 0x0111, 0x0002] {
            let datagram = message(kind, &[]);
            assert!(is_stun(&datagram));
            assert_eq!(answered(&datagram, "10.0.0.1:5060").0, Answer::Nothing);
        }
        let indication = binding_indication(TRANSACTION);
        assert_eq!(indication[..], message(BINDING_INDICATION, &[]));
        assert_eq!(answered(&indication, "10.0.0.1:5060").0, Answer::Nothing);
    }

    #[test]
    fn what_is_cut_short_or_lies_about_its_length_is_swallowed() {
        let whole = message(BINDING_REQUEST, &[(0x8022, b"12345678")]);
        for len in 0..whole.len() {
            assert_eq!(answered(&whole[..len], "10.0.0.1:5060").0, Answer::Nothing);
        }
        let mut long = whole.clone();
        long.push(0);
        assert_eq!(answered(&long, "10.0.0.1:5060").0, Answer::Nothing);
        // An attribute that runs over the end.
        let mut over = whole.clone();
        over[23] = 9;
        assert_eq!(answered(&over, "10.0.0.1:5060").0, Answer::Nothing);
        // Without the cookie it is no STUN of ours: classic STUN is swallowed as what it is, noise.
        let mut classic = whole;
        classic[4] ^= 1;
        assert!(!is_stun(&classic));
        assert_eq!(answered(&classic, "10.0.0.1:5060").0, Answer::Nothing);
    }

    #[test]
    fn sip_and_the_keepalives_of_phones_are_no_stun() {
        for datagram in
            [&b"REGISTER sip:example.com SIP/2.0\r\n"[..], b"\0\0\0\0", b"\r\n\r\n", b""]
        {
            assert!(!is_stun(datagram));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn whatever_comes_the_answer_is_whole_and_short(
            tail in prop::collection::vec(any::<u8>(), 0..200),
            length in any::<Option<u16>>(),
            kind in prop_oneof![Just(BINDING_REQUEST), any::<u16>()],
            v6 in any::<bool>(),
        ) {
            let mut datagram = message(kind, &[]);
            datagram.extend_from_slice(&tail);
            let length = length.unwrap_or(tail.len() as u16);
            datagram[2..4].copy_from_slice(&length.to_be_bytes());
            let source = if v6 { "[2001:db8::1]:9" } else { "192.0.2.1:9" };
            let (_, bytes) = answered(&datagram, source);
            prop_assert!(bytes.len() <= ANSWER_BYTES_MAX);
            if !bytes.is_empty() {
                let length = usize::from(u16::from_be_bytes([bytes[2], bytes[3]]));
                prop_assert_eq!(length, bytes.len() - HEADER_BYTES);
                prop_assert_eq!(&bytes[4..20], &datagram[4..20]);
                prop_assert!(is_stun(&bytes));
                // Two servers that hear each other's answers stay silent.
                prop_assert_eq!(answered(&bytes, source).0, Answer::Nothing);
            }
        }
    }
}
