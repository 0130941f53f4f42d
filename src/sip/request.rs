//! What every request must have (RFC 3261 8.1.1), and typed views of the headers of a message.

use crate::sip::error::{Fault, ParseError, Part};
use crate::sip::header::authorization::{Credentials, CredentialsError};
use crate::sip::header::contact::{ContactError, Contacts};
use crate::sip::header::cseq::CSeq;
use crate::sip::header::event::Event;
use crate::sip::header::from_to::FromTo;
use crate::sip::header::option_tag::{OptionSet, OptionTags};
use crate::sip::header::route::Routes;
use crate::sip::header::via::Via;
use crate::sip::header::{HeaderName, accept, call_id, expires, max_forwards, option_tag, route};
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
use crate::sip::table::NameSet;
use crate::sip::uri::Uri;

/// The headers without which a request cannot be processed, read and found good.
#[derive(Clone, Copy, Debug)]
pub struct RequestHead<'a> {
    /// Method.
    pub method: Method,
    /// Its name as it stood.
    pub method_bytes: &'a [u8],
    /// Request-URI; of any scheme.
    pub uri: Uri<'a>,
    /// The topmost Via value. Those below belong to others and are not looked into.
    pub via: Via<'a>,
    /// From.
    pub from: FromTo<'a>,
    /// To.
    pub to: FromTo<'a>,
    /// Call-ID.
    pub call_id: &'a [u8],
    /// CSeq; its method is that of the request.
    pub cseq: CSeq<'a>,
    /// Max-Forwards, which RFC 2543 clients leave out.
    pub max_forwards: Option<u8>,
}

/// Headers that may stand once (RFC 3261 7.3.1, table 2). Which of two would be obeyed is
/// anybody's guess, so neither is (RFC 4475 3.3.8).
const SINGLE: [HeaderName; 8] = [
    HeaderName::From,
    HeaderName::To,
    HeaderName::CallId,
    HeaderName::CSeq,
    HeaderName::MaxForwards,
    HeaderName::Expires,
    HeaderName::ContentType,
    HeaderName::ContentLength,
];

impl<'a> Message<'a> {
    /// Reads what RFC 3261 8.1.1 demands of a request.
    ///
    /// # Errors
    /// The first header that is missing, repeated or malformed, in the order Via, From, To,
    /// Call-ID, CSeq, Max-Forwards; the Request-URI; a CSeq of another method than the request
    /// line (RFC 3261 8.1.1.5). For a response: its start line.
    #[inline]
    pub fn check_request(&self) -> Result<RequestHead<'a>, ParseError> {
        self.check_request_to(None)
    }

    /// The same, for those who have read To already and give what they found.
    ///
    /// # Errors
    /// See [`Message::check_request`].
    #[inline]
    pub fn check_request_to(&self, to: Option<FromTo<'a>>) -> Result<RequestHead<'a>, ParseError> {
        let StartLine::Request { method, method_bytes, uri } = self.start_line() else {
            return Err(ParseError { part: Part::StartLine, fault: Fault::Mismatch });
        };
        let via = self.via()?;
        if !self.table.repeated().is_disjoint(NameSet::of(&SINGLE)) {
            let twice = SINGLE.into_iter().find(|&name| self.is_repeated(name));
            let name = twice.unwrap_or(HeaderName::Other);
            return Err(ParseError::header(name, Fault::Repeated));
        }
        let known = to.as_ref().map(|to| &to.uri);
        let from = self.required(HeaderName::From, |value| FromTo::parse_beside(value, known))?;
        let to = match to {
            Some(to) => to,
            None => self.to()?,
        };
        let call_id = self.call_id()?;
        let cseq = self.cseq()?;
        let max_forwards = self.max_forwards()?;
        let uri = Uri::parse(uri)
            .map_err(|_| ParseError { part: Part::RequestUri, fault: Fault::Malformed })?;
        if cseq.method != method_bytes {
            return Err(ParseError::header(HeaderName::CSeq, Fault::Mismatch));
        }
        Ok(RequestHead { method, method_bytes, uri, via, from, to, call_id, cseq, max_forwards })
    }

    /// The topmost Via value.
    ///
    /// # Errors
    /// It is missing or malformed.
    #[inline]
    pub fn via(&self) -> Result<Via<'a>, ParseError> {
        self.required(HeaderName::Via, Via::parse_first)
    }

    /// From.
    ///
    /// # Errors
    /// It is missing or malformed.
    #[inline]
    pub fn from(&self) -> Result<FromTo<'a>, ParseError> {
        self.required(HeaderName::From, FromTo::parse)
    }

    /// To.
    ///
    /// # Errors
    /// It is missing or malformed.
    #[inline]
    pub fn to(&self) -> Result<FromTo<'a>, ParseError> {
        self.required(HeaderName::To, FromTo::parse)
    }

    /// Call-ID.
    ///
    /// # Errors
    /// It is missing or malformed.
    #[inline]
    pub fn call_id(&self) -> Result<&'a [u8], ParseError> {
        self.required(HeaderName::CallId, call_id::parse)
    }

    /// CSeq.
    ///
    /// # Errors
    /// It is missing or malformed.
    #[inline]
    pub fn cseq(&self) -> Result<CSeq<'a>, ParseError> {
        self.required(HeaderName::CSeq, CSeq::parse)
    }

    /// Max-Forwards, if there is one.
    ///
    /// # Errors
    /// It is malformed.
    #[inline]
    pub fn max_forwards(&self) -> Result<Option<u8>, ParseError> {
        match self.first(HeaderName::MaxForwards) {
            None => Ok(None),
            Some(value) => match max_forwards::parse(value) {
                None => Err(ParseError::header(HeaderName::MaxForwards, Fault::Malformed)),
                hops => Ok(hops),
            },
        }
    }

    /// Expires, seconds, if there is one; see [`expires::parse`].
    #[inline]
    #[must_use]
    pub fn expires(&self) -> Option<u32> {
        self.first(HeaderName::Expires).map(expires::parse)
    }

    /// Fills `contacts` from all Contact headers.
    ///
    /// # Errors
    /// What is wrong with them.
    #[inline]
    pub fn contacts(&self, contacts: &mut Contacts<'a>) -> Result<(), ContactError> {
        contacts.parse(self.all(HeaderName::Contact))
    }

    /// Digest credentials for `realm`: those of Authorization, or of Proxy-Authorization where
    /// `header` says so.
    ///
    /// # Errors
    /// See [`Credentials::for_realm`].
    #[inline]
    pub fn credentials(
        &self,
        header: HeaderName,
        realm: &[u8],
    ) -> Result<Option<Credentials<'a>>, CredentialsError> {
        debug_assert!(matches!(header, HeaderName::Authorization | HeaderName::ProxyAuthorization));
        Credentials::for_realm(self.all(header), realm)
    }

    /// Option tags of Require, Proxy-Require or Supported; empty if there is no such header.
    ///
    /// # Errors
    /// The header and whether it is malformed or has too many.
    #[inline]
    pub fn option_tags(&self, header: HeaderName) -> Result<OptionTags<'a>, ParseError> {
        option_tag::parse(self.all(header)).map_err(|fault| ParseError::header(header, fault))
    }

    /// Entries of Path or Route, in order; empty if there is no such header.
    ///
    /// # Errors
    /// The header and whether it is malformed or has too many.
    #[inline]
    pub fn routes(&self, header: HeaderName) -> Result<Routes<'a>, ParseError> {
        route::parse(self.all(header)).map_err(|fault| ParseError::header(header, fault))
    }

    /// User-Agent as it stood, if there is one. One with control bytes, or that is not UTF-8, is
    /// as if it were not there: it is shown to people and programs, and a malformed header that
    /// nobody needs is ignored (RFC 3261 8.2.2).
    #[inline]
    #[must_use]
    pub fn user_agent(&self) -> Option<&'a [u8]> {
        let is_text = |value: &&[u8]| {
            // Without a way out in the middle, so that many bytes are looked at together.
            let printable = value.iter().fold(true, |printable, &b| {
                let white = (b == b'\t') | (b == b'\r') | (b == b'\n');
                printable & ((b >= b' ') | white) & (b != 0x7f)
            });
            printable && (value.is_ascii() || std::str::from_utf8(value).is_ok())
        };
        self.first(HeaderName::UserAgent).filter(is_text)
    }

    /// Content-Type as it stood, if there is one.
    #[must_use]
    pub fn content_type(&self) -> Option<&'a [u8]> {
        self.first(HeaderName::ContentType)
    }

    /// Content-Encoding as it stood, if there is one that says more than `identity`.
    #[must_use]
    pub fn content_encoding(&self) -> Option<&'a [u8]> {
        self.first(HeaderName::ContentEncoding).filter(|v| !v.eq_ignore_ascii_case(b"identity"))
    }

    /// Whether there is a body, and it is compressed or otherwise encoded: nothing here undoes
    /// that, so it is refused with 415 and Accept-Encoding (RFC 3261 8.2.3).
    #[inline]
    #[must_use]
    pub fn has_encoded_body(&self) -> bool {
        !self.body.is_empty()
            && self
                .all(HeaderName::ContentEncoding)
                .any(|coding| !coding.eq_ignore_ascii_case(b"identity"))
    }

    /// The known option tags of Supported or Require; what cannot be read supports nothing.
    #[must_use]
    pub fn options(&self, header: HeaderName) -> OptionSet {
        option_tag::set(self.all(header)).unwrap_or(OptionSet::NONE)
    }

    /// Event, if there is one.
    ///
    /// # Errors
    /// It is malformed, or there are two.
    pub fn event(&self) -> Result<Option<Event<'a>>, ParseError> {
        if self.is_repeated(HeaderName::Event) {
            return Err(ParseError::header(HeaderName::Event, Fault::Repeated));
        }
        match self.first(HeaderName::Event) {
            None => Ok(None),
            Some(value) => match Event::parse(value) {
                None => Err(ParseError::header(HeaderName::Event, Fault::Malformed)),
                event => Ok(event),
            },
        }
    }

    /// Whether bodies of `kind/subtype` are accepted, `None` where there is no Accept to say so;
    /// see [`accept::accepts`].
    ///
    /// # Errors
    /// Accept is malformed.
    pub fn accepts(&self, kind: &str, subtype: &str) -> Result<Option<bool>, ParseError> {
        if self.first(HeaderName::Accept).is_none() {
            return Ok(None);
        }
        accept::accepts(self.all(HeaderName::Accept), kind, subtype)
            .map(Some)
            .map_err(|fault| ParseError::header(HeaderName::Accept, fault))
    }

    #[inline(always)]
    fn required<T>(
        &self,
        name: HeaderName,
        parse: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, ParseError> {
        let value = self.first(name).ok_or(ParseError::header(name, Fault::Missing))?;
        parse(value).ok_or(ParseError::header(name, Fault::Malformed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse::{Framing, Parsed, parse};
    use crate::sip::table::HeaderTable;

    const GOOD: &str = "REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKx\r\n\
        From: <sip:a@example.com>;tag=1\r\nTo: <sip:a@example.com>\r\nCall-ID: c@d\r\n\
        CSeq: 3 REGISTER\r\nMax-Forwards: 70\r\nExpires: 60\r\nSupported: path, outbound\r\n\
        Require: x\r\nPath: <sip:p;lr>\r\nUser-Agent: ua/1\r\nContent-Type: a/b\r\n\
        Contact: <sip:a@192.0.2.1>\r\nm: <sip:b@192.0.2.1>\r\n\
        Authorization: Digest username=\"a\",realm=\"r\",nonce=\"n\",uri=\"u\",response=\"x\"\r\n\
        Content-Length: 0\r\n\r\n";

    fn with<T>(text: &str, look: impl FnOnce(Message<'_>) -> T) -> T {
        let mut table = HeaderTable::new();
        match parse(text.as_bytes(), Framing::Datagram, &mut table) {
            Parsed::Complete { message, .. } => look(message),
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn fault(from: &str, to: &str) -> (Part, Fault) {
        assert!(GOOD.contains(from));
        with(&GOOD.replacen(from, to, 1), |m| {
            let e = m.check_request().expect_err(to);
            (e.part, e.fault)
        })
    }

    #[test]
    fn every_view_of_a_good_request() {
        with(GOOD, |m| {
            let head = m.check_request().unwrap();
            assert_eq!((head.method, head.method_bytes), (Method::Register, &b"REGISTER"[..]));
            assert_eq!((head.uri.host, head.via.host), (&b"example.com"[..], &b"h"[..]));
            assert_eq!((head.from.tag, head.to.tag), (Some(&b"1"[..]), None));
            assert_eq!((head.call_id, head.cseq.number), (&b"c@d"[..], 3));
            assert_eq!((head.max_forwards, m.expires()), (Some(70), Some(60)));
            let mut contacts = Contacts::new();
            m.contacts(&mut contacts).unwrap();
            assert_eq!(contacts.as_slice().len(), 2);
            let found = m.credentials(HeaderName::Authorization, b"r").unwrap();
            assert_eq!(found.unwrap().username, b"a");
            assert!(m.credentials(HeaderName::ProxyAuthorization, b"r").unwrap().is_none());
            let tags = m.option_tags(HeaderName::Supported).unwrap();
            assert_eq!(tags[..], [&b"path"[..], b"outbound"]);
            assert_eq!(m.option_tags(HeaderName::Require).unwrap()[..], [&b"x"[..]]);
            assert!(m.option_tags(HeaderName::ProxyRequire).unwrap().is_empty());
            assert_eq!(m.routes(HeaderName::Path).unwrap()[0].text, b"<sip:p;lr>");
            assert!(m.routes(HeaderName::Route).unwrap().is_empty());
            assert_eq!(m.user_agent(), Some(&b"ua/1"[..]));
            assert_eq!((m.content_type(), m.content_encoding()), (Some(&b"a/b"[..]), None));
        });
    }

    #[test]
    fn a_missing_header_is_named_rfc_3261_8_1_1() {
        for name in ["Via", "From", "To", "Call-ID", "CSeq"] {
            let known = HeaderName::of(name.as_bytes());
            let found = fault(&format!("\r\n{name}: "), "\r\nX: ");
            assert_eq!(found, (Part::Header(known), Fault::Missing));
        }
        // Max-Forwards is let be missing, for RFC 2543 clients (RFC 3261 16.3).
        with(&GOOD.replace("Max-Forwards", "X"), |m| {
            assert_eq!(m.check_request().unwrap().max_forwards, None);
        });
    }

    #[test]
    fn a_header_that_stands_once_is_named_if_it_stands_twice() {
        for name in SINGLE {
            let line = with(GOOD, |m| {
                format!("{}: {}", name.as_str(), String::from_utf8_lossy(m.first(name).unwrap()))
            });
            let found = fault("User-Agent: ua/1", &line);
            assert_eq!(found, (Part::Header(name), Fault::Repeated), "{line}");
        }
    }

    #[test]
    fn a_malformed_header_is_named() {
        for (from, to, name) in [
            ("SIP/2.0/UDP h;", "SIP/2.0/UDP ;", HeaderName::Via),
            ("<sip:a@example.com>;tag=1", "a, b <sip:h>", HeaderName::From),
            ("To: <sip:a@example.com>", "To: \"x <sip:h>", HeaderName::To),
            ("c@d", "c d", HeaderName::CallId),
            ("CSeq: 3 REGISTER", "CSeq: x REGISTER", HeaderName::CSeq),
            ("Max-Forwards: 70", "Max-Forwards: 256", HeaderName::MaxForwards),
        ] {
            assert_eq!(fault(from, to), (Part::Header(name), Fault::Malformed), "{to}");
        }
        let found = fault("sip:example.com SIP", "<sip:example.com> SIP");
        assert_eq!(found, (Part::RequestUri, Fault::Malformed));
    }

    #[test]
    fn the_cseq_method_is_that_of_the_request_line_rfc_3261_8_1_1_5() {
        let found = fault("CSeq: 3 REGISTER", "CSeq: 3 register");
        assert_eq!(found, (Part::Header(HeaderName::CSeq), Fault::Mismatch));
    }

    #[test]
    fn faults_of_the_other_views_name_their_header() {
        with(&GOOD.replace("<sip:p;lr>", "sip:p"), |m| {
            let e = m.routes(HeaderName::Path).unwrap_err();
            assert_eq!(e, ParseError::header(HeaderName::Path, Fault::Malformed));
        });
        with(&GOOD.replace("Require: x", "Require: x;"), |m| {
            let e = m.option_tags(HeaderName::Require).unwrap_err();
            assert_eq!(e, ParseError::header(HeaderName::Require, Fault::Malformed));
        });
    }

    #[test]
    fn a_response_is_no_request() {
        with("SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\n\r\n", |m| {
            assert_eq!(m.check_request().unwrap_err().part, Part::StartLine);
        });
    }

    #[test]
    fn rfc3261_8_2_3_only_a_body_can_be_encoded() {
        let encoded = |lines: &str, body: &str| {
            let text = format!("A b SIP/2.0\r\n{lines}\r\n{body}");
            let mut table = HeaderTable::new();
            match parse(text.as_bytes(), Framing::Datagram, &mut table) {
                Parsed::Complete { message, .. } => message.has_encoded_body(),
                other => panic!("{other:?}"),
            }
        };
        assert!(encoded("Content-Encoding: gzip\r\n", "x"));
        assert!(encoded("e: identity\r\ne: deflate\r\n", "x"));
        assert!(encoded("e: identity, gzip\r\n", "x"));
        assert!(!encoded("e: gzip\r\n", ""));
        assert!(!encoded("e: Identity\r\n", "x"));
        assert!(!encoded("", "x"));
    }

    #[test]
    fn rfc3261_8_2_2_a_user_agent_that_is_no_text_is_ignored() {
        let of = |value: &[u8]| {
            let text = [b"A b SIP/2.0\r\nUser-Agent: ", value, b"\r\n\r\n"].concat();
            let mut table = HeaderTable::new();
            match parse(&text, Framing::Datagram, &mut table) {
                Parsed::Complete { message, .. } => message.user_agent().map(<[u8]>::to_vec),
                other => panic!("{other:?}"),
            }
        };
        for good in ["Phone/1.0 (x)", "Ph\u{f6}ne", "a\r\n\tb"] {
            assert_eq!(of(good.as_bytes()).as_deref(), Some(good.as_bytes()));
        }
        for bad in [&b"a\0b"[..], b"a\x1bb", b"\x7f", b"\xff", b"a\xc3"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn options_events_and_accepted_types_are_read_from_all_their_headers() {
        let look = |lines: &str, check: &dyn Fn(Message<'_>)| {
            let text = format!("SUBSCRIBE b SIP/2.0\r\n{lines}\r\n");
            let mut table = HeaderTable::new();
            match parse(text.as_bytes(), Framing::Datagram, &mut table) {
                Parsed::Complete { message, .. } => check(message),
                other => panic!("{other:?}"),
            }
        };
        look("k: path\r\nSupported: x, GRUU\r\no: reg;id=1\r\nAccept: text/x, a/b\r\n", &|m| {
            let both = OptionSet::PATH.and(OptionSet::GRUU);
            assert_eq!(m.options(HeaderName::Supported), both);
            assert_eq!(m.options(HeaderName::Require), OptionSet::NONE);
            assert_eq!(m.event().unwrap().unwrap().id, Some(&b"1"[..]));
            assert_eq!(m.accepts("a", "b"), Ok(Some(true)));
            assert_eq!(m.accepts("a", "c"), Ok(Some(false)));
        });
        look("", &|m| {
            assert!(m.event().unwrap().is_none());
            assert_eq!(m.accepts("a", "b"), Ok(None));
        });
        look("k: a b\r\no: ;\r\nAccept: x\r\n", &|m| {
            assert_eq!(m.options(HeaderName::Supported), OptionSet::NONE);
            assert_eq!(m.event().unwrap_err().fault, Fault::Malformed);
            assert_eq!(m.accepts("a", "b").unwrap_err().fault, Fault::Malformed);
        });
        look("o: reg\r\nEvent: reg\r\n", &|m| {
            assert_eq!(m.event().unwrap_err().fault, Fault::Repeated);
        });
    }
}
