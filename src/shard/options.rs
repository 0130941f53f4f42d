//! OPTIONS of our own to a binding (RFC 3261 11.1), outside any dialog: the probe of liveness, and
//! the keepalive whose answer comes from inside the NAT. Which one is due is `nat`'s; what its
//! answer means is `liveness`'s.

use arrayvec::ArrayVec;

use crate::limits::{AOR_BYTES_MAX, CONTACT_BYTES_MAX, PATHS_MAX};
use crate::nat::probe::{Branch, Purpose, TAG_BYTES};
use crate::registrar::Binding;
use crate::sip::Uri;
use crate::sip::header::route;
use crate::sip::write_request::{End, RequestFrame};
use crate::sip::writer::Full;

/// An OPTIONS to be written.
#[derive(Clone, Copy, Debug)]
pub struct Probe<'a> {
    /// Whom it asks.
    pub binding: &'a Binding,
    /// The canonical address-of-record of the binding, `user@domain`.
    pub aor: &'a [u8],
    /// Host and port that Via names: where an answer goes if the other side does without `rport`
    /// (RFC 3261 18.2.2).
    pub sent_by: &'a [u8],
    /// Which OPTIONS it is.
    pub branch: Branch,
}

/// Writes the request to the start of `out`, and gives its length. It goes by the flow of the
/// binding, behind a Path to the edge proxy that the binding was registered through, which finds
/// the rest of its way in Route (RFC 3327 5.3). Sent again it is written the same, byte by byte, as
/// long as its binding stays what it is.
///
/// # Errors
/// [`Full`].
pub fn write_probe(out: &mut [u8], probe: &Probe<'_>) -> Result<usize, Full> {
    let Probe { binding, aor, sent_by, branch } = *probe;
    let entries = match binding.path() {
        b"" => route::Routes::new(),
        text => route::parse([text]).unwrap_or_default(),
    };
    let mut bracketed = ArrayVec::<u8, { CONTACT_BYTES_MAX + 2 }>::new();
    let mut routes: ArrayVec<&[u8], { PATHS_MAX + 1 }> =
        entries.iter().map(|route| route.text).collect();
    let mut uri = request_uri(binding.contact());
    // RFC 3261 12.2.1.1, as of any route set: a first proxy without `lr` wants itself in the
    // Request-URI, and the target at the end of Route.
    if let Some(strict) = entries.first().filter(|first| first.uri.param(b"lr").is_none()) {
        bracketed.push(b'<');
        bracketed.try_extend_from_slice(uri).map_err(|_| Full)?;
        bracketed.try_push(b'>').map_err(|_| Full)?;
        uri = strict.uri.text;
        routes.remove(0);
        routes.push(&bracketed);
    }
    let domain = aor.rsplit(|&byte| byte == b'@').next().unwrap_or(aor);
    let mut from = ArrayVec::<u8, { AOR_BYTES_MAX + 4 }>::new();
    let mut to = from.clone();
    for (uri, rest) in [(&mut from, domain), (&mut to, aor)] {
        uri.try_extend_from_slice(b"sip:").map_err(|_| Full)?;
        uri.try_extend_from_slice(rest).map_err(|_| Full)?;
    }
    let tag = branch.tag_text();
    let mut call_id = [0; TAG_BYTES + 3];
    call_id[..3].copy_from_slice(match branch.purpose {
        Purpose::Probe => b"op-",
        Purpose::Keepalive => b"ka-",
    });
    call_id[3..].copy_from_slice(&tag);
    let frame = RequestFrame {
        method: "OPTIONS",
        uri,
        transport: binding.flow().transport(),
        sent_by,
        branch: &branch.text(),
        from: End { uri: &from, tag: Some(&tag) },
        to: End { uri: &to, tag: None },
        call_id: &call_id,
        cseq: branch.number,
        routes: &routes,
    };
    let mut request = frame.begin(out)?;
    // RFC 3261 11.1: it should be there. One that names nothing would be refused by some phones.
    request.header_text("Accept", b"application/sdp")?;
    request.finish()
}

/// A contact as a Request-URI, which may have no headers (RFC 3261 19.1.1).
fn request_uri(contact: &[u8]) -> &[u8] {
    match Uri::parse(contact) {
        Ok(uri) if !uri.headers.is_empty() => &contact[..contact.len() - uri.headers.len() - 1],
        _ => contact,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, StaticContact};
    use crate::nat::probe::{Endpoint, ProbeKey};
    use crate::registrar::{AorId, Registrar};
    use crate::sip::{Framing, HeaderTable, Parsed, parse};
    use crate::time::Now;

    fn written(contact: &str) -> String {
        let mut registrar = Registrar::new(config::Registrar::default(), [1, 2]);
        let contact = StaticContact { uri: contact.into(), q_milli: None };
        registrar.provide(Now::default(), AorId(0), &[contact], &mut Vec::new());
        let (_, binding) = registrar.bindings(AorId(0), Now::default()).next().unwrap();
        let endpoint = Endpoint { index: 1, generation: 1 };
        let probe = Probe {
            binding,
            aor: b"a@example.com",
            sent_by: b"192.0.2.1:5060",
            branch: ProbeKey::new(&[3; 16], 2).branch(Purpose::Probe, endpoint, 77),
        };
        let mut out = [0; 2048];
        let len = write_probe(&mut out, &probe).unwrap();
        for short in 0..len {
            assert_eq!(write_probe(&mut out[..short], &probe), Err(Full), "{short}");
        }
        let len = write_probe(&mut out, &probe).unwrap();
        String::from_utf8(out[..len].to_vec()).unwrap()
    }

    #[test]
    fn an_options_has_what_rfc_3261_8_1_1_and_11_1_demand() {
        let text = written("sip:gw@192.0.2.9:5080;transport=udp");
        let mut table = HeaderTable::new();
        let Parsed::Complete { message, .. } = parse(text.as_bytes(), Framing::Stream, &mut table)
        else {
            panic!("{text}")
        };
        let head = message.check_request().unwrap();
        assert_eq!(head.uri.text, b"sip:gw@192.0.2.9:5080;transport=udp");
        assert_eq!(head.to.uri.text, b"sip:a@example.com");
        assert_eq!((head.to.tag, head.max_forwards), (None, Some(70)));
        assert_eq!(head.from.uri.text, b"sip:example.com");
        assert_eq!((head.cseq.method, head.cseq.number), (&b"OPTIONS"[..], 77));
        let branch = Branch::parse(head.via.branch.unwrap()).unwrap();
        assert_eq!((branch.shard, branch.index, branch.number), (2, 1, 77));
        assert_eq!(head.from.tag, Some(&branch.tag_text()[..]));
        assert!(text.contains("\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch="), "{text}");
        assert!(text.contains(";rport\r\n") && text.contains("\r\nAccept: application/sdp\r\n"));
        assert!(!text.contains("Route:"));
    }

    #[test]
    fn the_headers_of_a_contact_are_no_part_of_the_request_uri_rfc_3261_19_1_1() {
        let text = written("sip:gw@h;x=1?Route=%3Csip:p%3E");
        assert!(text.starts_with("OPTIONS sip:gw@h;x=1 SIP/2.0\r\n"), "{text}");
    }

    #[test]
    fn sent_again_it_is_the_same_rfc_3261_17_1_2_2() {
        assert_eq!(written("sip:gw@h"), written("sip:gw@h"));
    }
}
