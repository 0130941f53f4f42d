//! What every request must have (RFC 3261 8.1.1), and typed views of the headers of a message.

use crate::sip::error::{Fault, ParseError, Part};
use crate::sip::header::authorization::{Credentials, CredentialsError};
use crate::sip::header::contact::{ContactError, Contacts};
use crate::sip::header::cseq::CSeq;
use crate::sip::header::from_to::FromTo;
use crate::sip::header::option_tag::OptionTags;
use crate::sip::header::route::Routes;
use crate::sip::header::via::Via;
use crate::sip::header::{HeaderName, call_id, expires, max_forwards, option_tag, route};
use crate::sip::message::{Message, StartLine};
use crate::sip::method::Method;
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
        let StartLine::Request { method, method_bytes, uri } = self.start_line() else {
            return Err(ParseError { part: Part::StartLine, fault: Fault::Mismatch });
        };
        let via = self.via()?;
        for name in SINGLE {
            if self.is_repeated(name) {
                return Err(ParseError::header(name, Fault::Repeated));
            }
        }
        let from = self.from()?;
        let to = self.to()?;
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

    /// User-Agent as it stood, if there is one.
    #[inline]
    #[must_use]
    pub fn user_agent(&self) -> Option<&'a [u8]> {
        self.first(HeaderName::UserAgent)
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

    #[inline]
    fn required<T>(
        &self,
        name: HeaderName,
        parse: impl FnOnce(&'a [u8]) -> Option<T>,
    ) -> Result<T, ParseError> {
        let value = self.first(name).ok_or(ParseError::header(name, Fault::Missing))?;
        parse(value).ok_or(ParseError::header(name, Fault::Malformed))
    }
}
