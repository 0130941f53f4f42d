//! Writes responses into a buffer of the caller (RFC 3261 8.2.6, 18.2, RFC 3581): what is copied
//! from the request, what is added to it, and where the response goes.

use std::net::SocketAddr;

use crate::sip::cursor::Cursor;
use crate::sip::header::HeaderName;
use crate::sip::header::address::take_param;
use crate::sip::header::contact::QValue;
use crate::sip::header::date;
use crate::sip::header::from_to::FromTo;
use crate::sip::header::via::{Keep, Rport, Via};
use crate::sip::message::Message;
use crate::sip::request::RequestHead;
use crate::sip::scan::eq_in_any_case;
use crate::sip::status;
pub use crate::sip::writer::{Full, Writer};
use crate::time::UnixTime;

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
    keep_s: Option<u32>,
}

impl<'a> Responder<'a> {
    /// Answers a request whose head was found good.
    #[inline]
    #[must_use]
    pub fn new(message: Message<'a>, head: &RequestHead<'a>, source: SocketAddr) -> Self {
        let to_has_tag = head.to.tag.is_some();
        Responder {
            message,
            source,
            via: Some(head.via),
            to_has_tag,
            over_connection: false,
            keep_s: None,
        }
    }

    /// Asks the client for a keepalive at least every `seconds`, if it offers any with `keep` in
    /// its Via (RFC 6223 4.4); 0 leaves the time to it.
    #[must_use]
    pub fn asking_keep(self, seconds: u32) -> Self {
        Responder { keep_s: Some(seconds), ..self }
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
            keep_s: None,
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
    ///
    /// On a connection too: `received` is for every transport, and there is no harm in telling a
    /// client its port.
    #[inline]
    fn put_top_via(&self, out: &mut Writer<'_>, via: &Via<'_>) -> Result<(), Full> {
        out.text(via.head)?;
        let keep_s = self.keep_s.filter(|_| via.keep == Keep::Offered);
        let kept = match via.rport {
            _ if via.received.is_some() || keep_s.is_some() => None,
            Rport::Absent => Some(via.params),
            Rport::Requested | Rport::Filled(_) => without_rport(via.params),
        };
        match kept {
            Some([]) => {}
            Some(kept) => {
                out.put(b";")?;
                out.text(kept)?;
            }
            None => put_via_params(out, via.params, keep_s)?,
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

/// Parameters of a Via without an `rport` that has no value and stands first or last, as most
/// phones write it; `None` where it stands otherwise.
#[inline]
fn without_rport(params: &[u8]) -> Option<&[u8]> {
    const LEN: usize = ";rport".len();
    if let Some((kept, last)) = params.split_last_chunk::<LEN>()
        && eq_in_any_case(last, b";rport")
    {
        return Some(kept);
    }
    match params.split_first_chunk::<LEN>() {
        Some((first, kept)) if eq_in_any_case(first, b"rport;") => Some(kept),
        _ => None,
    }
}

/// Writes parameters of a Via one by one, those that are replaced left out.
#[inline(never)]
fn put_via_params(out: &mut Writer<'_>, params: &[u8], keep_s: Option<u32>) -> Result<(), Full> {
    let mut cursor = Cursor::new(params);
    while !cursor.is_end() {
        let start = cursor.at();
        let Some(param) = take_param(&mut cursor) else { break };
        if keep_s.is_some() && param.is(b"keep") {
            out.put(b";keep=")?;
            out.number(keep_s.unwrap_or_default().into())?;
        } else if !param.is(b"received") && !param.is(b"rport") {
            out.put(b";")?;
            out.text(cursor.since(start))?;
        }
        cursor.eat_spaced(b';');
    }
    Ok(())
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
    /// Public GRUU (RFC 5627 5.1), a URI.
    pub pub_gruu: Option<&'a [u8]>,
    /// Newest temporary GRUU (RFC 5627 5.2), a URI.
    pub temp_gruu: Option<&'a [u8]>,
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
            // An instance is still escaped as it came; a URI holds nothing that needs it.
            for (name, text) in [
                (&b";pub-gruu=\""[..], line.pub_gruu),
                (b";temp-gruu=\"", line.temp_gruu),
                (b";+sip.instance=\"", line.instance),
            ] {
                if let Some(text) = text {
                    out.put(name)?;
                    out.text(text)?;
                    out.put(b"\"")?;
                }
            }
            if let Some(reg_id) = line.reg_id {
                out.put(b";reg-id=")?;
                out.number(u64::from(reg_id))?;
            }
            Ok(())
        })
    }

    /// Appends one header for each of `values`, in order: Path as it came (RFC 3327 5.3),
    /// Service-Route as it is set (RFC 3608 6.3).
    ///
    /// # Errors
    /// [`Full`].
    pub fn header_each<'v>(
        &mut self,
        name: &str,
        values: impl IntoIterator<Item = &'v [u8]>,
    ) -> Result<(), Full> {
        values.into_iter().try_for_each(|value| self.header_text(name, value))
    }

    /// Room left in the buffer, bytes.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.out.remaining()
    }

    /// Appends Date (RFC 3261 20.17).
    ///
    /// # Errors
    /// [`Full`].
    pub fn date(&mut self, now: UnixTime) -> Result<(), Full> {
        self.header("Date", |out| date::write(out, now))
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
mod tests;
