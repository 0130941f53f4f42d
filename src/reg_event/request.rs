//! What a SUBSCRIBE says (RFC 6665 4.2.1, RFC 3680 4): event package, accepted types, duration,
//! the dialog it belongs to or asks for. Whose registrations it is about, and whether its sender
//! may see them, is the shard's to say.

use std::net::SocketAddr;

use crate::flow::Flow;
use crate::limits::{
    CALL_ID_BYTES_MAX, CONTACT_BYTES_MAX, EVENT_ID_BYTES_MAX, ROUTE_SET_BYTES_MAX, TAG_BYTES_MAX,
};
use crate::reg_event::identity::LocalTag;
use crate::reg_event::refusal::Refusal;
use crate::registrar::AorId;
use crate::sip::header::contact::Contacts;
use crate::sip::header::route::Routes;
use crate::sip::scan::Class;
use crate::sip::uri::Scheme;
use crate::sip::{HeaderName, Message, RequestHead};

/// The event package (RFC 3680 4.1), as Event and Allow-Events have it.
pub const PACKAGE: &str = "reg";
/// Its documents (RFC 3680 4.5).
pub const CONTENT_TYPE: &str = "application/reginfo+xml";

/// A SUBSCRIBE with all that is known about it.
#[derive(Clone, Debug)]
pub struct Subscribe<'a> {
    /// What it says.
    pub request: Request<'a>,
    /// Whose registrations it is about.
    pub aor: AorId,
    /// The same as canonical text, `user@domain`.
    pub aor_text: &'a [u8],
    /// Whether its sender may see them: the account itself, or a watcher (RFC 3680 4.6).
    pub permitted: bool,
    /// The tag its answer has in To, unless there is one: a keyed hash of its identifiers, so
    /// that a retransmission has the same.
    pub local_tag: LocalTag,
    /// `host` or `host:port` by which the subscriber reaches this process: goes into Contact and
    /// Via.
    pub local: &'a [u8],
    /// Who sent it: NOTIFYs go there.
    pub source: SocketAddr,
    /// The way they go.
    pub flow: Flow,
}

/// What a SUBSCRIBE says of itself, read and found good.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Call-ID.
    pub call_id: &'a [u8],
    /// CSeq number.
    pub cseq: u32,
    /// URI of From.
    pub from_uri: &'a [u8],
    /// Tag of From; empty where an old client left it out.
    pub from_tag: &'a [u8],
    /// URI of To.
    pub to_uri: &'a [u8],
    /// Tag of To: it belongs to a dialog.
    pub to_tag: Option<&'a [u8]>,
    /// URI of Contact: where requests of the dialog go (RFC 3261 12.1.1).
    pub target: Option<&'a [u8]>,
    /// Record-Route, the route set of the dialog (RFC 3261 12.1.1).
    pub routes: Routes<'a>,
    /// `id` of Event, which NOTIFYs repeat; empty: none.
    pub event_id: &'a [u8],
    /// Expires, seconds; 0 ends the subscription.
    pub expires_s: Option<u32>,
}

impl<'a> Request<'a> {
    /// Reads a SUBSCRIBE whose head was found good.
    ///
    /// # Errors
    /// [`Refusal`], in this order: the package, the types, then the headers of the dialog.
    pub fn read(message: Message<'a>, head: &RequestHead<'a>) -> Result<Request<'a>, Refusal> {
        let event_id = read_event(message)?;
        if !accepts_reginfo(message)? {
            return Err(Refusal::NotAcceptable);
        }
        let request = Request {
            call_id: head.call_id,
            cseq: head.cseq.number,
            from_uri: head.from.uri.text,
            from_tag: head.from.tag.unwrap_or_default(),
            to_uri: head.to.uri.text,
            to_tag: head.to.tag,
            target: read_target(message)?,
            routes: message
                .routes(HeaderName::RecordRoute)
                .map_err(|_| Refusal::Malformed("Record-Route"))?,
            event_id,
            expires_s: message.expires(),
        };
        request.check_lengths()?;
        // RFC 3261 12.1.1: without a Contact there is no dialog to make.
        if request.to_tag.is_none() && request.target.is_none() {
            return Err(Refusal::Missing("Contact"));
        }
        Ok(request)
    }

    fn check_lengths(&self) -> Result<(), Refusal> {
        let routes = self.routes.iter().map(|route| route.text.len() + 1).sum::<usize>();
        let lengths = [
            (self.call_id.len(), CALL_ID_BYTES_MAX, "Call-ID"),
            (self.from_uri.len(), CONTACT_BYTES_MAX, "From"),
            (self.from_tag.len(), TAG_BYTES_MAX, "From"),
            (self.to_uri.len(), CONTACT_BYTES_MAX, "To"),
            (self.target.map_or(0, <[u8]>::len), CONTACT_BYTES_MAX, "Contact"),
            (routes, ROUTE_SET_BYTES_MAX, "Record-Route"),
            (self.event_id.len(), EVENT_ID_BYTES_MAX, "Event"),
        ];
        let long = lengths.into_iter().find(|&(length, max, _)| length > max);
        long.map_or(Ok(()), |(_, _, header)| Err(Refusal::TooLong(header)))
    }
}

/// The `id` of Event (RFC 6665 8.2.1), which must name our package.
fn read_event(message: Message<'_>) -> Result<&[u8], Refusal> {
    const EVENT: Refusal = Refusal::Malformed("Event");
    // One without Event means PINT, which a notifier may refuse with 489 (RFC 6665 4.2.3).
    let event = message.event().map_err(|_| EVENT)?.ok_or(Refusal::BadEvent)?;
    if event.package != PACKAGE.as_bytes() {
        return Err(Refusal::BadEvent);
    }
    let id = event.id.unwrap_or_default();
    // A NOTIFY repeats it, so it must be what the grammar says: a token.
    if Class::TOKEN.span(id) == id.len() { Ok(id) } else { Err(EVENT) }
}

/// RFC 3680 4.5: without Accept the type is understood, with one it must be listed.
fn accepts_reginfo(message: Message<'_>) -> Result<bool, Refusal> {
    let (kind, subtype) = CONTENT_TYPE.split_once('/').unwrap_or_default();
    let accepts = message.accepts(kind, subtype);
    Ok(accepts.map_err(|_| Refusal::Malformed("Accept"))?.unwrap_or(true))
}

/// The one URI of Contact, which must be SIP (RFC 3261 12.1.1).
fn read_target(message: Message<'_>) -> Result<Option<&[u8]>, Refusal> {
    const CONTACT: Refusal = Refusal::Malformed("Contact");
    let mut contacts = Contacts::new();
    message.contacts(&mut contacts).map_err(|_| CONTACT)?;
    match contacts.as_slice() {
        _ if contacts.is_wildcard() => Err(CONTACT),
        [] => Ok(None),
        [contact] if matches!(contact.uri.scheme, Scheme::Sip | Scheme::Sips) => {
            Ok(Some(contact.uri.text))
        }
        _ => Err(CONTACT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::{Framing, HeaderTable, Parsed, parse};

    const GOOD: &str = "SUBSCRIBE sip:a@example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4b\r\n\
        From: \"A\" <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: c@d\r\n\
        CSeq: 3 SUBSCRIBE\r\nMax-Forwards: 70\r\nExpires: 600\r\nEvent: reg;id=7\r\n\
        Accept: application/reginfo+xml\r\nContact: <sip:a@192.0.2.1:5070>\r\n\
        Record-Route: <sip:p2;lr>, <sip:p1;lr>\r\nContent-Length: 0\r\n\r\n";

    fn read<T>(text: &str, look: impl FnOnce(Result<Request<'_>, Refusal>) -> T) -> T {
        let mut table = HeaderTable::new();
        match parse(text.as_bytes(), Framing::Datagram, &mut table) {
            Parsed::Complete { message, .. } => {
                let head = message.check_request().expect("a good head");
                look(Request::read(message, &head))
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn with(from: &str, to: &str) -> Result<(), Refusal> {
        assert!(GOOD.contains(from), "{from}");
        read(&GOOD.replacen(from, to, 1), |request| request.map(|_| ()))
    }

    #[test]
    fn every_part_of_a_good_subscribe() {
        read(GOOD, |request| {
            let request = request.unwrap();
            assert_eq!((request.call_id, request.cseq), (&b"c@d"[..], 3));
            assert_eq!(
                (request.from_uri, request.from_tag),
                (&b"sip:a@example.com"[..], &b"1"[..])
            );
            assert_eq!((request.to_uri, request.to_tag), (&b"sip:a@example.com"[..], None));
            assert_eq!(request.target, Some(&b"sip:a@192.0.2.1:5070"[..]));
            assert!(
                request.routes.iter().map(|r| r.text).eq([&b"<sip:p2;lr>"[..], b"<sip:p1;lr>"])
            );
            assert_eq!((request.event_id, request.expires_s), (&b"7"[..], Some(600)));
        });
    }

    #[test]
    fn another_package_or_none_is_a_bad_event_rfc_6665_4_2_1_1() {
        for event in ["Event: presence", "Event: reg.winfo", "Event: REG", "o: dialog", "X: reg"] {
            assert_eq!(with("Event: reg;id=7", event), Err(Refusal::BadEvent), "{event}");
        }
        for event in ["o: reg", "EVENT:reg ; x=\"y\"", "Event: reg;ID=a"] {
            assert_eq!(with("Event: reg;id=7", event), Ok(()), "{event}");
        }
        for event in [
            "Event:",
            "Event: reg;",
            "Event: reg x",
            "Event: reg;id",
            "Event: reg;id=a;id=b",
            "Event: reg;id=\"a b\"",
            "Event: reg, presence",
            "Event: reg\r\nEvent: reg",
        ] {
            let found = with("Event: reg;id=7", event);
            assert_eq!(found, Err(Refusal::Malformed("Event")), "{event}");
        }
    }

    #[test]
    fn accept_must_list_reginfo_where_it_stands_rfc_3680_4_5() {
        let accept = |line: &str| with("Accept: application/reginfo+xml", line);
        for line in [
            "X: y",
            "Accept: */*",
            "Accept: application/*;q=0.5",
            "Accept: text/plain;x=\"a,b\" , Application/RegInfo+XML",
            "Accept: text/plain\r\nAccept: application/reginfo+xml;q=0.01",
        ] {
            assert_eq!(accept(line), Ok(()), "{line}");
        }
        for line in [
            "Accept:",
            "Accept: text/*",
            "Accept: application/pidf+xml",
            "Accept: application/reginfo+xml;q=0",
            "Accept: application/reginfo+xml;q=0.000",
        ] {
            assert_eq!(accept(line), Err(Refusal::NotAcceptable), "{line}");
        }
        for line in ["Accept: x", "Accept: a/", "Accept: /b", "Accept: a/b c/d", "Accept: ,"] {
            assert_eq!(accept(line), Err(Refusal::Malformed("Accept")), "{line}");
        }
    }

    #[test]
    fn the_contact_is_one_sip_uri_rfc_3261_12_1_1() {
        let contact = |line: &str| with("Contact: <sip:a@192.0.2.1:5070>", line);
        assert_eq!(contact("X: y"), Err(Refusal::Missing("Contact")));
        for line in [
            "Contact: *",
            "Contact: <tel:+1>",
            "Contact: <sip:a@h>, <sip:b@h>",
            "Contact: <sip:a@h",
            "m: <sip:a@h>\r\nm: <sip:b@h>",
        ] {
            assert_eq!(contact(line), Err(Refusal::Malformed("Contact")), "{line}");
        }
        assert_eq!(contact("m: sips:a@h;x=y"), Ok(()));
        let inside = GOOD
            .replace("To: <sip:a@example.com>", "To: <sip:a@example.com>;tag=9")
            .replace("Contact:", "X:");
        read(&inside, |request| assert_eq!(request.unwrap().target, None));
    }

    #[test]
    fn what_is_stored_has_a_longest_length() {
        let long = |max: usize| "x".repeat(max + 1);
        for (from, to, header) in [
            ("c@d", long(CALL_ID_BYTES_MAX), "Call-ID"),
            ("tag=1", format!("tag={}", long(TAG_BYTES_MAX)), "From"),
            ("id=7", format!("id={}", long(EVENT_ID_BYTES_MAX)), "Event"),
            ("sip:a@192.0.2.1:5070", format!("sip:{}@h", long(CONTACT_BYTES_MAX)), "Contact"),
            ("sip:p2", format!("sip:{}@h", long(ROUTE_SET_BYTES_MAX)), "Record-Route"),
            ("To: <sip:a@", format!("To: <sip:{}@", long(CONTACT_BYTES_MAX)), "To"),
        ] {
            assert_eq!(with(from, &to), Err(Refusal::TooLong(header)));
        }
        assert_eq!(with("<sip:p2;lr>", "sip:p2;lr"), Err(Refusal::Malformed("Record-Route")));
    }
}
