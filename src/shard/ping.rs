//! What phones send to keep their pinhole open, and is no SIP: line ends, NULs or some other few
//! bytes (RFC 5626 3.5.1 and practice), STUN (RFC 5626 4.4.2). It is known by its first bytes and
//! never parsed. When our own keepalives are due is not decided here.

use crate::nat::stun;
use crate::shard::counters::{Counters, DropReason};
use crate::shard::{Datagram, Handled};
use crate::sip::{Fault, Part};

/// Datagrams up to this long are keepalives whatever they say: no SIP message is so short.
const KEEPALIVE_BYTES_MAX: usize = 4;

/// A datagram that is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ping {
    /// Line ends, or a few bytes.
    Bytes,
    /// STUN.
    Stun,
}

impl Ping {
    /// What a datagram is, if it is no message. A frame of a connection is never one here: streams
    /// know their own.
    #[inline]
    pub fn of(datagram: &Datagram<'_>) -> Option<Ping> {
        let bytes = datagram.bytes;
        // A message begins with a letter; line ends in front of it are rare.
        let is_message = bytes.len() > KEEPALIVE_BYTES_MAX && bytes[0] > b'\r';
        if is_message || datagram.link.is_some() { None } else { Ping::of_bytes(bytes) }
    }

    #[cold]
    fn of_bytes(bytes: &[u8]) -> Option<Ping> {
        if stun::is_stun(bytes) {
            return Some(Ping::Stun);
        }
        let is_short = bytes.len() <= KEEPALIVE_BYTES_MAX;
        (is_short || bytes.iter().all(|byte| b"\r\n".contains(byte))).then_some(Ping::Bytes)
    }

    /// Answers it, or does not, and counts that.
    #[cold]
    pub fn take(self, datagram: &Datagram<'_>, out: &mut [u8], counters: &mut Counters) -> Handled {
        let to = datagram.source;
        match self {
            Ping::Stun if to.port() != 0 => match stun::answer(datagram.bytes, to, out) {
                stun::Answer::Mapped { len } => {
                    counters.stun_answered += 1;
                    return Handled::Reply { to, len };
                }
                stun::Answer::UnknownAttribute { len } => {
                    counters.stun_refused += 1;
                    return Handled::Reply { to, len };
                }
                stun::Answer::Nothing => counters.drop(DropReason::Stun),
            },
            // A datagram cannot be sent to port 0; only a forged one came from there.
            Ping::Stun => counters.drop(DropReason::NoReturnPath),
            Ping::Bytes => counters.drop(DropReason::Keepalive),
        }
        Handled::Nothing
    }

    /// Whether its sender means to be heard: STUN that asks nothing does not show that.
    pub fn is_from_a_phone(self, datagram: &Datagram<'_>) -> bool {
        self == Ping::Bytes || stun::is_request(datagram.bytes)
    }
}

/// Phones keep their pinhole open with line ends, NULs or some other four bytes (RFC 5626 3.5.1
/// and practice); none of that is a faulty message.
#[cold]
pub(super) fn is_keepalive(bytes: &[u8], part: Part, fault: Fault) -> bool {
    bytes.len() <= KEEPALIVE_BYTES_MAX || (part == Part::Message && fault == Fault::Empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard::ListenerId;
    use crate::time::Instant;

    fn datagram(bytes: &[u8]) -> Datagram<'_> {
        Datagram {
            source: "192.0.2.1:5060".parse().unwrap(),
            listener: ListenerId(0),
            local_ip: None,
            received_at: Instant::ZERO,
            bytes,
            link: None,
        }
    }

    #[test]
    fn line_ends_and_a_few_bytes_are_swallowed_and_anything_longer_is_parsed() {
        let mut counters = Counters::default();
        let pings: [&[u8]; 8] = [
            b"",
            b"\0",
            b"\0\0\0\0",
            b"\r\n\r\n",
            b"jaK\0",
            b"ping",
            b"\r\n\r\n\r\n\r\n",
            b"\n\n\n\n\n\n",
        ];
        for bytes in pings {
            let datagram = datagram(bytes);
            let ping = Ping::of(&datagram).expect("a keepalive");
            assert_eq!(ping, Ping::Bytes);
            assert_eq!(ping.take(&datagram, &mut [], &mut counters), Handled::Nothing);
            assert!(ping.is_from_a_phone(&datagram));
        }
        assert_eq!(counters.dropped(DropReason::Keepalive), pings.len() as u64);
        let messages: [&[u8]; 5] = [
            b"HELLO",
            b"\0\0\0\0\0",
            b"\r\nOPTIONS sip:a SIP/2.0",
            b"\x01\x01noise",
            b"\r\n\r\n\r ",
        ];
        for bytes in messages {
            assert_eq!(Ping::of(&datagram(bytes)), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_binding_request_is_answered_to_where_it_came_from_and_an_indication_is_not() {
        let mut counters = Counters::default();
        let mut bytes = stun::binding_indication([7; 12]);
        let mut out = [0; 600];
        let indication = datagram(&bytes);
        let ping = Ping::of(&indication).expect("STUN");
        assert_eq!(ping.take(&indication, &mut out, &mut counters), Handled::Nothing);
        assert!(!ping.is_from_a_phone(&indication));
        bytes[1] = 1;
        let request = datagram(&bytes);
        let reply = Handled::Reply { to: request.source, len: 32 };
        assert_eq!(ping.take(&request, &mut out, &mut counters), reply);
        assert!(ping.is_from_a_phone(&request));
        // Nobody can be answered at port 0.
        let forged = Datagram { source: "192.0.2.1:0".parse().unwrap(), ..request };
        assert_eq!(ping.take(&forged, &mut out, &mut counters), Handled::Nothing);
        assert_eq!((counters.stun_answered, counters.dropped(DropReason::Stun)), (1, 1));
        assert_eq!(counters.dropped(DropReason::NoReturnPath), 1);
    }

    #[test]
    fn an_unknown_attribute_is_refused_and_counted_apart() {
        let mut counters = Counters::default();
        let mut bytes = stun::binding_indication([7; 12]).to_vec();
        bytes[1] = 1;
        bytes[3] = 4;
        bytes.extend_from_slice(&[0, 3, 0, 0]);
        let mut out = [0; 600];
        let handled = Ping::Stun.take(&datagram(&bytes), &mut out, &mut counters);
        assert!(matches!(handled, Handled::Reply { .. }));
        assert_eq!((counters.stun_refused, counters.stun_answered), (1, 0));
    }
}
