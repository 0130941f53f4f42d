//! Writes responses into a buffer of the caller (RFC 3261 8.2.6, 18.2, RFC 3581): what is copied
//! from the request, what is added to it, and where the response goes.

use std::net::SocketAddr;

use crate::sip::cursor::Cursor;
use crate::sip::header::HeaderName;
use crate::sip::header::address::take_param;
use crate::sip::header::contact::QValue;
use crate::sip::header::from_to::FromTo;
use crate::sip::header::via::{Rport, Via};
use crate::sip::message::Message;
use crate::sip::request::RequestHead;
use crate::sip::status;
pub use crate::sip::writer::{Full, Writer};

/// What all responses to one request have in common.
#[derive(Clone, Copy, Debug)]
pub struct Responder<'a> {
    message: Message<'a>,
    source: SocketAddr,
    via: Option<Via<'a>>,
    to_has_tag: bool,
    /// The request came over a connection: its responses go back over the same one (RFC 3261
    /// 18.2.2), to the very source. Default: false.
    pub over_connection: bool,
}

impl<'a> Responder<'a> {
    /// Answers a request whose head was found good.
    #[inline]
    #[must_use]
    pub fn new(message: Message<'a>, head: &RequestHead<'a>, source: SocketAddr) -> Self {
        Responder {
            message,
            source,
            via: Some(head.via),
            to_has_tag: head.to.tag.is_some(),
            over_connection: false,
        }
    }

    /// Answers a request that has faults, if it may be answered at all
    /// ([`Message::is_answerable`]). Headers it lacks the response lacks too (RFC 4475 3.3.1).
    #[must_use]
    pub fn of_faulty(message: Message<'a>, source: SocketAddr) -> Option<Self> {
        let tag = |value| FromTo::parse(value).and_then(|to| to.tag);
        message.is_answerable().then(|| Responder {
            message,
            source,
            via: message.first(HeaderName::Via).and_then(Via::parse_first),
            to_has_tag: message.first(HeaderName::To).and_then(tag).is_some(),
            over_connection: false,
        })
    }

    /// Where the responses go; see [`Via::response_to`]. A top Via that cannot be read asks for
    /// nothing that could be obeyed: the answer goes back to the very source.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        match self.via {
            Some(via) if !self.over_connection => via.response_to(self.source),
            _ => self.source,
        }
    }

    /// Begins a response with the phrase its RFC gives `status`: status line, and what is copied
    /// from the request (RFC 3261 8.2.6.2): the Via values in order, the top one with `received`
    /// and `rport`, From, To with `to_tag` unless it has a tag or `to_tag` is empty, Call-ID and
    /// CSeq.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn begin<'b>(
        &self,
        buf: &'b mut [u8],
        status: u16,
        to_tag: &[u8],
    ) -> Result<Response<'b>, Full> {
        self.begin_with_phrase(buf, status, &[status::reason(status)], to_tag)
    }

    /// The same with a phrase of its own, its pieces written one behind the other.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn begin_with_phrase<'b>(
        &self,
        buf: &'b mut [u8],
        status: u16,
        phrase: &[&str],
        to_tag: &[u8],
    ) -> Result<Response<'b>, Full> {
        debug_assert!((100..=699).contains(&status));
        let mut out = Writer::new(buf);
        out.put(b"SIP/2.0 ")?;
        out.number(u64::from(status))?;
        out.put(b" ")?;
        for piece in phrase {
            out.text(piece.as_bytes())?;
        }
        out.put(b"\r\n")?;
        let mut vias = self.message.all(HeaderName::Via);
        if let Some(top) = vias.next() {
            out.put(b"Via: ")?;
            match &self.via {
                Some(via) => self.put_top_via(&mut out, via)?,
                None => out.text(top)?,
            }
            out.put(b"\r\n")?;
        }
        for value in vias {
            put_header(&mut out, b"Via: ", value)?;
        }
        if let Some(from) = self.message.first(HeaderName::From) {
            put_header(&mut out, b"From: ", from)?;
        }
        if let Some(to) = self.message.first(HeaderName::To) {
            out.put(b"To: ")?;
            out.text(to)?;
            if !self.to_has_tag && !to_tag.is_empty() {
                out.put(b";tag=")?;
                out.text(to_tag)?;
            }
            out.put(b"\r\n")?;
        }
        if let Some(call_id) = self.message.first(HeaderName::CallId) {
            put_header(&mut out, b"Call-ID: ", call_id)?;
        }
        if let Some(cseq) = self.message.first(HeaderName::CSeq) {
            put_header(&mut out, b"CSeq: ", cseq)?;
        }
        Ok(Response { out })
    }

    /// RFC 3261 18.2.1 and RFC 3581 4: `received` where sent-by is not the source address, and
    /// always beside `rport`, which gets the source port. What the client put into the two itself
    /// is replaced.
    #[inline]
    fn put_top_via(&self, out: &mut Writer<'_>, via: &Via<'_>) -> Result<(), Full> {
        out.text(via.head)?;
        let mut cursor = Cursor::new(via.params);
        while !cursor.is_end() {
            let start = cursor.at();
            let Some(param) = take_param(&mut cursor) else { break };
            if !param.is(b"received") && !param.is(b"rport") {
                out.put(b";")?;
                out.text(cursor.since(start))?;
            }
            cursor.eat_spaced(b';');
        }
        let source = self.source.ip().to_canonical();
        if via.rport != Rport::Absent || !via.is_sent_by(source) {
            out.put(b";received=")?;
            out.ip(source)?;
        }
        if via.rport != Rport::Absent {
            out.put(b";rport=")?;
            out.number(u64::from(self.source.port()))?;
        }
        out.text(via.rest)
    }
}

#[inline]
fn put_header(out: &mut Writer<'_>, name_colon: &[u8], value: &[u8]) -> Result<(), Full> {
    out.put(name_colon)?;
    out.text(value)?;
    out.put(b"\r\n")
}

/// A binding as a 200 to REGISTER lists it (RFC 3261 10.3 step 8).
#[derive(Clone, Copy, Debug)]
pub struct ContactLine<'a> {
    /// Contact URI, without brackets.
    pub uri: &'a [u8],
    /// Seconds left.
    pub expires: u32,
    /// Its q-value, if it came with one.
    pub q: Option<QValue>,
    /// `+sip.instance` as [`crate::sip::header::contact::Contact::instance`] gave it.
    pub instance: Option<&'a [u8]>,
    /// `reg-id`.
    pub reg_id: Option<u32>,
}

/// A response whose status line and copied headers are written.
#[derive(Debug)]
pub struct Response<'b> {
    out: Writer<'b>,
}

impl<'b> Response<'b> {
    /// Appends a header whose value `value` writes.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn header(
        &mut self,
        name: &str,
        value: impl FnOnce(&mut Writer<'b>) -> Result<(), Full>,
    ) -> Result<(), Full> {
        self.out.put(name.as_bytes())?;
        self.out.put(b": ")?;
        value(&mut self.out)?;
        self.out.put(b"\r\n")
    }

    /// Appends a header with a text, which may come from the network.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn header_text(&mut self, name: &str, value: &[u8]) -> Result<(), Full> {
        self.header(name, |out| out.text(value))
    }

    /// Appends a header with a number.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn header_number(&mut self, name: &str, value: u64) -> Result<(), Full> {
        self.header(name, |out| out.number(value))
    }

    /// Appends a Contact header.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn contact(&mut self, line: &ContactLine<'_>) -> Result<(), Full> {
        self.header("Contact", |out| {
            out.put(b"<")?;
            out.text(line.uri)?;
            out.put(b">;expires=")?;
            out.number(u64::from(line.expires))?;
            if let Some(QValue(thousandths)) = line.q {
                let t = thousandths.min(1000);
                let digit = |n: u16| b'0' + (n % 10) as u8;
                out.put(b";q=")?;
                out.put(&[digit(t / 1000), b'.', digit(t / 100), digit(t / 10), digit(t)])?;
            }
            if let Some(instance) = line.instance {
                out.put(b";+sip.instance=\"")?;
                out.text(instance)?;
                out.put(b"\"")?;
            }
            if let Some(reg_id) = line.reg_id {
                out.put(b";reg-id=")?;
                out.number(u64::from(reg_id))?;
            }
            Ok(())
        })
    }

    /// Ends the response, without a body, and gives its length.
    ///
    /// # Errors
    /// [`Full`].
    #[inline]
    pub fn finish(mut self) -> Result<usize, Full> {
        self.out.put(b"Content-Length: 0\r\n\r\n")?;
        Ok(self.out.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sip::parse::{Framing, Parsed, parse};
    use crate::sip::table::HeaderTable;
    use proptest::prelude::*;

    const SOURCE: &str = "198.51.100.7:40000";

    fn request(via: &str, to: &str) -> String {
        format!(
            "REGISTER sip:example.com SIP/2.0\r\nVia: {via}\r\nv: SIP/2.0/TCP b, SIP/2.0/TCP c\r\n\
             Max-Forwards: 70\r\nf: <sip:a@example.com>;tag=1\r\nTo: {to}\r\ni: x@y\r\n\
             CSeq: 7\r\n REGISTER\r\nSubject: s\r\n\r\n"
        )
    }

    fn answer(text: &str, source: &str, to_tag: &str) -> String {
        let mut table = HeaderTable::new();
        let Parsed::Complete { message, .. } =
            parse(text.as_bytes(), Framing::Datagram, &mut table)
        else {
            panic!("{text}")
        };
        let source = source.parse().unwrap();
        let responder = match message.check_request() {
            Ok(head) => Responder::new(message, &head, source),
            Err(_) => Responder::of_faulty(message, source).expect("answerable"),
        };
        let mut buf = [0u8; 2048];
        let response = responder.begin(&mut buf, 200, to_tag.as_bytes()).unwrap();
        let len = response.finish().unwrap();
        String::from_utf8(buf[..len].to_vec()).unwrap()
    }

    fn top_via(via: &str, source: &str) -> String {
        let text = answer(&request(via, "<sip:a@h>"), source, "t");
        text.lines().nth(1).unwrap().strip_prefix("Via: ").unwrap().to_string()
    }

    #[test]
    fn a_response_copies_what_rfc_3261_8_2_6_2_names_and_nothing_else() {
        let text = answer(
            &request("SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa", "\"A\"\r\n <sip:a@h>"),
            SOURCE,
            "tt",
        );
        assert_eq!(
            text,
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 198.51.100.7;branch=z9hG4bKa\r\n\
             Via: SIP/2.0/TCP b, SIP/2.0/TCP c\r\nFrom: <sip:a@example.com>;tag=1\r\n\
             To: \"A\" <sip:a@h>;tag=tt\r\nCall-ID: x@y\r\nCSeq: 7 REGISTER\r\n\
             Content-Length: 0\r\n\r\n"
        );
    }

    #[test]
    fn a_to_tag_is_added_only_where_there_is_none() {
        let via = "SIP/2.0/UDP h";
        assert!(answer(&request(via, "sip:a@h"), SOURCE, "n").contains("To: sip:a@h;tag=n\r\n"));
        assert!(answer(&request(via, "<sip:a@h>;tag=o"), SOURCE, "n").contains(">;tag=o\r\n"));
        assert!(answer(&request(via, "<sip:a@h;tag=o>"), SOURCE, "n").contains("o>;tag=n\r\n"));
        assert!(answer(&request(via, "<sip:a@h>"), SOURCE, "").contains("To: <sip:a@h>\r\n"));
    }

    #[test]
    fn rport_gets_the_source_port_and_received_stands_beside_it_rfc_3581_4() {
        assert_eq!(
            top_via("SIP/2.0/UDP 198.51.100.7:5070;rport;branch=z", SOURCE),
            "SIP/2.0/UDP 198.51.100.7:5070;branch=z;received=198.51.100.7;rport=40000"
        );
        assert_eq!(
            top_via("SIP/2.0/UDP 10.0.0.1;RPORT=1;Received=10.1.1.1;branch=z;x=\"a;b\"", SOURCE),
            "SIP/2.0/UDP 10.0.0.1;branch=z;x=\"a;b\";received=198.51.100.7;rport=40000"
        );
    }

    #[test]
    fn received_is_added_where_sent_by_is_not_the_source_rfc_3261_18_2_1() {
        assert_eq!(
            top_via("SIP/2.0/UDP 10.0.0.1;branch=z", SOURCE),
            "SIP/2.0/UDP 10.0.0.1;branch=z;received=198.51.100.7"
        );
        assert_eq!(
            top_via("SIP/2.0/UDP host.example:5070", SOURCE),
            "SIP/2.0/UDP host.example:5070;received=198.51.100.7"
        );
        let same = "SIP/2.0/UDP 198.51.100.7:9;branch=z";
        assert_eq!(top_via(same, SOURCE), same);
        assert_eq!(
            top_via("SIP/2.0/UDP 198.51.100.7;received=1.2.3.4", SOURCE),
            "SIP/2.0/UDP 198.51.100.7"
        );
    }

    #[test]
    fn ipv6_sources_stand_without_brackets_and_mapped_ones_as_ipv4() {
        assert_eq!(
            top_via("SIP/2.0/UDP [2001:db8::2]:5060;rport", "[2001:db8::1]:6000"),
            "SIP/2.0/UDP [2001:db8::2]:5060;received=2001:db8::1;rport=6000"
        );
        let same = "SIP/2.0/UDP [2001:DB8:0::1]";
        assert_eq!(top_via(same, "[2001:db8::1]:6000"), same);
        assert_eq!(
            top_via("SIP/2.0/UDP h;rport", "[::ffff:192.0.2.9]:7"),
            "SIP/2.0/UDP h;received=192.0.2.9;rport=7"
        );
        assert_eq!(
            top_via("SIP/2.0/UDP 192.0.2.9", "[::ffff:192.0.2.9]:7"),
            "SIP/2.0/UDP 192.0.2.9"
        );
    }

    #[test]
    fn values_behind_the_top_one_in_its_header_stay_as_they_are() {
        assert_eq!(
            top_via("SIP/2.0/UDP a;rport , SIP/2.0/UDP b;rport", SOURCE),
            "SIP/2.0/UDP a;received=198.51.100.7;rport=40000, SIP/2.0/UDP b;rport"
        );
    }

    #[test]
    fn a_via_that_cannot_be_read_is_copied_and_answered_to_its_source() {
        let text = request("SIP/2.0/UDP 192.0.2.15;;,;,,", "<sip:a@h>");
        assert!(answer(&text, SOURCE, "t").contains("\r\nVia: SIP/2.0/UDP 192.0.2.15;;,;,,\r\n"));
        let mut table = HeaderTable::new();
        let Parsed::Complete { message, .. } =
            parse(text.as_bytes(), Framing::Datagram, &mut table)
        else {
            panic!()
        };
        let source = SOURCE.parse().unwrap();
        assert_eq!(Responder::of_faulty(message, source).unwrap().destination(), source);
    }

    #[test]
    fn an_ack_a_response_and_a_request_without_via_are_never_answered() {
        for text in [
            "ACK sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h\r\n\r\n",
            "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP h\r\n\r\n",
            "OPTIONS sip:h SIP/2.0\r\nTo: <sip:h>\r\n\r\n",
        ] {
            let mut table = HeaderTable::new();
            let Parsed::Complete { message, .. } =
                parse(text.as_bytes(), Framing::Datagram, &mut table)
            else {
                panic!("{text}")
            };
            assert!(Responder::of_faulty(message, SOURCE.parse().unwrap()).is_none(), "{text}");
        }
    }

    #[test]
    fn further_headers_numbers_phrases_and_contacts() {
        let text = request("SIP/2.0/UDP 198.51.100.7", "<sip:a@h>;tag=x");
        let mut table = HeaderTable::new();
        let Parsed::Complete { message, .. } =
            parse(text.as_bytes(), Framing::Datagram, &mut table)
        else {
            panic!()
        };
        let responder = Responder::of_faulty(message, SOURCE.parse().unwrap()).unwrap();
        let mut buf = [0u8; 1024];
        let mut r = responder.begin_with_phrase(&mut buf, 400, &["Missing ", "CSeq"], b"").unwrap();
        r.header("WWW-Authenticate", |w| {
            w.put(b"Digest realm=")?;
            w.quoted(b"a\"b\\c\r\n\x01")
        })
        .unwrap();
        r.header_number("Min-Expires", u64::MAX).unwrap();
        r.header_text("Path", b"<sip:p>,\r\n\t<sip:q>").unwrap();
        let mut line = ContactLine {
            uri: b"sip:a@192.0.2.1",
            expires: 60,
            q: Some(QValue(305)),
            instance: Some(b"<urn:uuid:1>"),
            reg_id: Some(1),
        };
        r.contact(&line).unwrap();
        (line.q, line.instance, line.reg_id) = (None, None, None);
        r.contact(&line).unwrap();
        let len = r.finish().unwrap();
        let text = String::from_utf8(buf[..len].to_vec()).unwrap();
        assert!(text.starts_with("SIP/2.0 400 Missing CSeq\r\n"));
        assert!(text.ends_with(
            "WWW-Authenticate: Digest realm=\"a\\\"b\\\\c  \\\x01\"\r\n\
             Min-Expires: 18446744073709551615\r\nPath: <sip:p>, <sip:q>\r\n\
             Contact: <sip:a@192.0.2.1>;expires=60;q=0.305;+sip.instance=\"<urn:uuid:1>\";\
             reg-id=1\r\n\
             Contact: <sip:a@192.0.2.1>;expires=60\r\nContent-Length: 0\r\n\r\n"
        ));
    }

    #[test]
    fn a_buffer_that_is_too_small_is_full_at_every_length() {
        let text = request("SIP/2.0/UDP [::1];rport", "<sip:a@h>");
        let mut table = HeaderTable::new();
        let Parsed::Complete { message, .. } =
            parse(text.as_bytes(), Framing::Datagram, &mut table)
        else {
            panic!()
        };
        let responder = Responder::of_faulty(message, "[::2]:9".parse().unwrap()).unwrap();
        let write = |buf: &mut [u8]| responder.begin(buf, 200, b"t").and_then(Response::finish);
        let whole = write(&mut [0u8; 1024]).unwrap();
        for len in 0..whole {
            assert_eq!(write(&mut vec![0u8; len]), Err(Full));
        }
        assert_eq!(write(&mut vec![0u8; whole]), Ok(whole));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        /// Whatever stands in the copied headers, the response has the lines it should have.
        #[test]
        fn nothing_copied_begins_a_line(
            values in proptest::collection::vec(
                "[a:<>\";, \\\\\0]{0,8}((\r\n|\n)[ \t][a<>;=\"]{0,6}){0,2}", 4,
            ),
        ) {
            let text = format!(
                "OPTIONS sip:h SIP/2.0\r\nVia: SIP/2.0/UDP h;{}\r\nFrom: {}\r\nTo: {}\r\n\
                 Call-ID: {}\r\nCSeq: 1 OPTIONS\r\n\r\n",
                values[0], values[1], values[2], values[3]
            );
            let mut table = HeaderTable::new();
            let Parsed::Complete { message, .. } =
                parse(text.as_bytes(), Framing::Datagram, &mut table) else { panic!("{text}") };
            let responder = Responder::of_faulty(message, SOURCE.parse().unwrap()).unwrap();
            let mut buf = [0u8; 1024];
            let len = responder.begin(&mut buf, 400, b"t").and_then(Response::finish).unwrap();
            let lines: Vec<_> = buf[..len].split(|&b| b == b'\n').collect();
            let starts = [&b"SIP/2.0 400 "[..], b"Via: ", b"From: ", b"To: ", b"Call-ID: ",
                b"CSeq: ", b"Content-Length: ", b"\r"];
            prop_assert_eq!(lines.len(), starts.len() + 1);
            for (line, start) in lines.iter().zip(starts) {
                prop_assert!(line.starts_with(start));
                prop_assert!(line.iter().filter(|&&b| b == b'\r').count() == 1);
            }
        }
    }
}
