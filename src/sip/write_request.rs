//! Writes requests into a buffer of the caller (RFC 3261 8.1.1, 12.2.1.1): NOTIFY, OPTIONS, BYE.
//! Which dialog, which branch and where to is the caller's business.

use crate::flow::Transport;
use crate::sip::header::event::Event;
use crate::sip::header::subscription_state::SubscriptionState;
use crate::sip::writer::{Full, Writer};

/// Hops a request of ours may take (RFC 3261 8.1.1.6).
pub const MAX_FORWARDS: u64 = 70;

/// One end of a request: a URI without brackets, and its tag.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// The URI.
    pub uri: &'a [u8],
    /// The tag; none of To outside a dialog.
    pub tag: Option<&'a [u8]>,
}

/// What every request has.
#[derive(Clone, Copy, Debug)]
pub struct RequestFrame<'a> {
    /// The method.
    pub method: &'static str,
    /// Request-URI: the remote target.
    pub uri: &'a [u8],
    /// What carries it.
    pub transport: Transport,
    /// Host and port that Via names; an IPv6 reference has brackets.
    pub sent_by: &'a [u8],
    /// `branch`, its magic included (RFC 3261 8.1.1.7).
    pub branch: &'a [u8],
    /// From.
    pub from: End<'a>,
    /// To.
    pub to: End<'a>,
    /// Call-ID.
    pub call_id: &'a [u8],
    /// Number of CSeq.
    pub cseq: u32,
    /// Route set, in order, each entry with its brackets and parameters; the first routes loosely.
    pub routes: &'a [&'a [u8]],
}

impl RequestFrame<'_> {
    /// Begins the request: request line, Via with `rport` (RFC 3581 3), Max-Forwards, Route, From,
    /// To, Call-ID, CSeq. Texts may come from the network; nothing of them begins a line.
    ///
    /// # Errors
    /// [`Full`], as of every writer below.
    pub fn begin<'b>(&self, buf: &'b mut [u8]) -> Result<Request<'b>, Full> {
        let mut out = Writer::new(buf);
        out.put(self.method.as_bytes())?;
        out.put(b" ")?;
        out.text(self.uri)?;
        out.put(b" SIP/2.0\r\nVia: SIP/2.0/")?;
        out.put(self.transport.via().as_bytes())?;
        out.put(b" ")?;
        out.text(self.sent_by)?;
        out.put(b";branch=")?;
        out.text(self.branch)?;
        out.put(b";rport\r\n")?;
        let mut request = Request { out };
        request.header_number("Max-Forwards", MAX_FORWARDS)?;
        for route in self.routes {
            request.header_text("Route", route)?;
        }
        request.header("From", |out| put_end(out, &self.from))?;
        request.header("To", |out| put_end(out, &self.to))?;
        request.header_text("Call-ID", self.call_id)?;
        request.header("CSeq", |out| {
            out.number(self.cseq.into())?;
            out.put(b" ")?;
            out.put(self.method.as_bytes())
        })?;
        Ok(request)
    }
}

fn put_end(out: &mut Writer<'_>, end: &End<'_>) -> Result<(), Full> {
    out.put(b"<")?;
    out.text(end.uri)?;
    out.put(b">")?;
    if let Some(tag) = end.tag {
        out.put(b";tag=")?;
        out.text(tag)?;
    }
    Ok(())
}

/// A request whose frame is written.
#[derive(Debug)]
pub struct Request<'b> {
    out: Writer<'b>,
}

impl<'b> Request<'b> {
    /// Appends a header whose value `value` writes.
    ///
    /// # Errors
    /// [`Full`].
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
    pub fn header_text(&mut self, name: &str, value: &[u8]) -> Result<(), Full> {
        self.header(name, |out| out.text(value))
    }

    /// Appends a header with a number.
    ///
    /// # Errors
    /// [`Full`].
    pub fn header_number(&mut self, name: &str, value: u64) -> Result<(), Full> {
        self.header(name, |out| out.number(value))
    }

    /// Appends a Contact with a URI and no parameters: where requests of this dialog are to go.
    ///
    /// # Errors
    /// [`Full`].
    pub fn contact(&mut self, uri: &[u8]) -> Result<(), Full> {
        self.header("Contact", |out| {
            out.put(b"<")?;
            out.text(uri)?;
            out.put(b">")
        })
    }

    /// Appends Event and Subscription-State, which every NOTIFY has (RFC 6665 4.2.2).
    ///
    /// # Errors
    /// [`Full`].
    pub fn subscription(
        &mut self,
        event: &Event<'_>,
        state: &SubscriptionState,
    ) -> Result<(), Full> {
        self.header("Event", |out| event.write_to(out))?;
        self.header("Subscription-State", |out| state.write_to(out))
    }

    /// Ends the request without a body, and gives its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn finish(mut self) -> Result<usize, Full> {
        self.out.put(b"Content-Length: 0\r\n\r\n")?;
        Ok(self.out.len())
    }

    /// Ends the request with a body that `body` writes, and gives its length.
    ///
    /// # Errors
    /// [`Full`].
    pub fn finish_with(
        mut self,
        content_type: &str,
        body: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
    ) -> Result<usize, Full> {
        self.header_text("Content-Type", content_type.as_bytes())?;
        self.out.body(body)?;
        Ok(self.out.len())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sip::header::subscription_state::Reason;
    use crate::sip::parse::{Framing, Parsed, parse};
    use crate::sip::table::HeaderTable;

    const FRAME: RequestFrame<'static> = RequestFrame {
        method: "NOTIFY",
        uri: b"sip:a@192.0.2.7:5070",
        transport: Transport::Udp,
        sent_by: b"[2001:db8::1]:5060",
        branch: b"z9hG4bKn1",
        from: End { uri: b"sip:a@example.com", tag: Some(b"ours") },
        to: End { uri: b"sip:w@example.com", tag: Some(b"theirs") },
        call_id: b"c@d",
        cseq: 4,
        routes: &[b"<sip:p1;lr>", b"\"x\" <sip:p2;lr>"],
    };

    fn notify(buf: &mut [u8]) -> Result<usize, Full> {
        let mut request = FRAME.begin(buf)?;
        request.contact(b"sip:192.0.2.1:5060")?;
        let event = Event { package: b"reg", id: Some(b"7"), params: b"" };
        request.subscription(&event, &SubscriptionState::terminated(Reason::Timeout))?;
        request.finish_with("application/reginfo+xml", |out| out.put(b"<reginfo/>"))
    }

    #[test]
    fn a_notify_has_what_rfc_3261_8_1_1_and_rfc_6665_4_2_2_demand() {
        let mut buf = [0; 1024];
        let len = notify(&mut buf).unwrap();
        assert_eq!(
            std::str::from_utf8(&buf[..len]).unwrap(),
            "NOTIFY sip:a@192.0.2.7:5070 SIP/2.0\r\n\
             Via: SIP/2.0/UDP [2001:db8::1]:5060;branch=z9hG4bKn1;rport\r\nMax-Forwards: 70\r\n\
             Route: <sip:p1;lr>\r\nRoute: \"x\" <sip:p2;lr>\r\n\
             From: <sip:a@example.com>;tag=ours\r\n\
             To: <sip:w@example.com>;tag=theirs\r\nCall-ID: c@d\r\nCSeq: 4 NOTIFY\r\n\
             Contact: <sip:192.0.2.1:5060>\r\nEvent: reg;id=7\r\n\
             Subscription-State: terminated;reason=timeout\r\n\
             Content-Type: application/reginfo+xml\r\nContent-Length: 10\r\n\r\n<reginfo/>"
        );
    }

    #[test]
    fn outside_a_dialog_to_has_no_tag_and_there_may_be_no_body() {
        let to = End { uri: b"sip:a@192.0.2.7", tag: None };
        let frame = RequestFrame { method: "OPTIONS", to, routes: &[], ..FRAME };
        let mut buf = [0; 1024];
        let len = frame.begin(&mut buf).and_then(Request::finish).unwrap();
        let mut table = HeaderTable::new();
        let parsed = parse(&buf[..len], Framing::Stream, &mut table);
        let Parsed::Complete { message, consumed } = parsed else { panic!("{parsed:?}") };
        assert_eq!(consumed, len);
        let head = message.check_request().unwrap();
        assert_eq!((head.to.tag, head.max_forwards), (None, Some(70)));
        assert!(head.via.has_rfc3261_branch());
    }

    #[test]
    fn a_buffer_that_is_too_small_is_full_at_every_length() {
        let whole = notify(&mut [0; 1024]).unwrap();
        for len in 0..whole {
            assert_eq!(notify(&mut vec![0; len]), Err(Full), "{len}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

        /// Whatever a dialog remembers from the network: the request has the lines it should have.
        #[test]
        fn nothing_written_begins_a_line(
            texts in prop::collection::vec("[a:<>\"; \0]{0,6}(\r?\n[ \t]?[a<>;=]{0,6}){0,2}", 4),
        ) {
            let frame = RequestFrame {
                uri: texts[0].as_bytes(),
                call_id: texts[1].as_bytes(),
                to: End { uri: texts[2].as_bytes(), tag: Some(texts[3].as_bytes()) },
                routes: &[],
                ..FRAME
            };
            let mut buf = [0; 1024];
            let len = frame.begin(&mut buf).and_then(Request::finish).unwrap();
            let lines: Vec<_> = buf[..len].split(|&b| b == b'\n').collect();
            let starts = ["NOTIFY ", "Via: ", "Max-Forwards: ", "From: ", "To: ", "Call-ID: ",
                "CSeq: ", "Content-Length: ", "\r", ""];
            prop_assert_eq!(lines.len(), starts.len());
            for (line, start) in lines.iter().zip(starts) {
                prop_assert!(line.starts_with(start.as_bytes()));
            }
        }
    }
}
