//! Flow tokens (RFC 5626 5.2): a flow written into a URI of ours, so that a request that comes
//! back with it can be sent down that flow without anything having been kept of it.
//!
//! What the caller makes of them (RFC 5626 5.3.1): a text that is [`TokenError::Malformed`] is no
//! flow token and the request is routed as any other, or refused with 400; one that is
//! [`TokenError::Forged`] is refused with 403; one that is good but whose connection has closed,
//! or whose connection's peer is not the source it names, with 430. A flow over datagrams cannot
//! fail in this way.

use std::net::SocketAddr;

use crate::flow::Flow;
use crate::registrar::compact_flow::{CompactFlow, FLOW_BYTES};
use crate::registrar::source::{SOURCE_BYTES, Source};
use crate::registrar::token::{Purpose, TokenError, TokenKeys, text_len};

const PAYLOAD_BYTES: usize = FLOW_BYTES + SOURCE_BYTES;

/// Length of a flow token; letters, digits, `-` and `_`, which a user part of a URI may hold.
pub const FLOW_TOKEN_BYTES: usize = text_len(PAYLOAD_BYTES);

/// The token of a flow and the address at its other end.
#[must_use]
pub fn encode(keys: &TokenKeys, flow: Flow, source: SocketAddr) -> [u8; FLOW_TOKEN_BYTES] {
    let mut payload = [0; PAYLOAD_BYTES];
    payload[..FLOW_BYTES].copy_from_slice(&CompactFlow::from(flow).to_bytes());
    payload[FLOW_BYTES..].copy_from_slice(&Source::from(source).to_bytes());
    let mut text = [0; FLOW_TOKEN_BYTES];
    keys.write(Purpose::Flow, payload, &mut text);
    text
}

/// The flow a token stands for and the address at its other end.
///
/// # Errors
/// It was not made by [`encode`] with these keys.
pub fn decode(keys: &TokenKeys, text: &[u8]) -> Result<(Flow, SocketAddr), TokenError> {
    let payload: [u8; PAYLOAD_BYTES] = keys.read(Purpose::Flow, text)?;
    let (mut flow, mut source) = ([0; FLOW_BYTES], [0; SOURCE_BYTES]);
    flow.copy_from_slice(&payload[..FLOW_BYTES]);
    source.copy_from_slice(&payload[FLOW_BYTES..]);
    let flow = CompactFlow::from_bytes(flow).ok_or(TokenError::Forged)?;
    Ok((flow.flow(), Source::from_bytes(source).into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{ConnectionId, Transport};

    #[test]
    fn a_flow_comes_back_with_its_source() {
        let keys = TokenKeys::new([3; 32]);
        let id = ConnectionId { reactor: 5, slot: 70_000, generation: 9 };
        let flows = [
            Flow::Datagram { listener: 2, local_ip: None },
            Flow::Datagram { listener: 2, local_ip: Some("2001:db8::7".parse().unwrap()) },
            Flow::Connection { id, transport: Transport::Wss },
        ];
        for flow in flows {
            for source in ["192.0.2.1:5060", "[2001:db8::1]:40000"] {
                let source = source.parse().unwrap();
                let text = encode(&keys, flow, source);
                assert_eq!(decode(&keys, &text), Ok((flow, source)));
            }
        }
    }

    #[test]
    fn a_token_does_not_show_the_address_it_holds_and_any_change_is_seen() {
        let keys = TokenKeys::new([3; 32]);
        let flow = Flow::Datagram { listener: 0, local_ip: None };
        let first = encode(&keys, flow, "192.0.2.1:5060".parse().unwrap());
        let second = encode(&keys, flow, "192.0.2.2:5060".parse().unwrap());
        let equal = first.iter().zip(&second).filter(|(a, b)| a == b).count();
        assert!(equal < FLOW_TOKEN_BYTES / 4, "{equal} characters are equal");
        for at in 0..FLOW_TOKEN_BYTES {
            let mut text = first;
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(decode(&keys, &text), Err(TokenError::Forged));
        }
        assert_eq!(decode(&keys, &first[1..]), Err(TokenError::Malformed));
    }
}
