//! A message as it was divided: start line, header fields, body. What the headers mean is read
//! from [`Message`] by those who need it; see [`crate::sip::request`].

use crate::sip::header::HeaderName;
use crate::sip::method::Method;
use crate::sip::table::HeaderTable;

/// Start line of a message, as it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartLine<'a> {
    /// Request line.
    Request {
        /// The method.
        method: Method,
        /// Its name as it stood.
        method_bytes: &'a [u8],
        /// Request-URI, not looked into yet; empty if the line was malformed.
        uri: &'a [u8],
    },
    /// Status line.
    Response {
        /// 100-699; 0 if the line was malformed.
        status: u16,
        /// Reason phrase.
        reason: &'a [u8],
    },
}

/// A header field, as it stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'a> {
    /// Which one, if it is one that is interpreted.
    pub name: HeaderName,
    /// Its name as it stood.
    pub name_bytes: &'a [u8],
    /// Its value without white space at the ends. Where it is folded, the folds stand in it
    /// (CRLF and white space, which count as one space).
    pub value: &'a [u8],
}

/// A message: borrowed from the bytes it was read from and the table it was read into.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) table: &'a HeaderTable,
    pub(super) start: StartLine<'a>,
    pub(super) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The start line.
    #[inline]
    #[must_use]
    pub const fn start_line(&self) -> StartLine<'a> {
        self.start
    }

    /// Whether this is a request.
    #[inline]
    #[must_use]
    pub const fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// Method of a request, `None` for a response.
    #[inline]
    #[must_use]
    pub const fn method(&self) -> Option<Method> {
        match self.start {
            StartLine::Request { method, .. } => Some(method),
            StartLine::Response { .. } => None,
        }
    }

    /// Request-URI of a request as it stood, `None` for a response.
    #[inline]
    #[must_use]
    pub const fn request_uri(&self) -> Option<&'a [u8]> {
        match self.start {
            StartLine::Request { uri, .. } => Some(uri),
            StartLine::Response { .. } => None,
        }
    }

    /// Status of a response, `None` for a request.
    #[inline]
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self.start {
            StartLine::Response { status, .. } => Some(status),
            StartLine::Request { .. } => None,
        }
    }

    /// Whether this may be answered at all, well or malformed: a request with a Via to send the
    /// answer by, and no ACK, which no response goes to (RFC 3261 17).
    #[inline]
    #[must_use]
    pub fn is_answerable(&self) -> bool {
        self.method().is_some_and(|m| m != Method::Ack) && self.first(HeaderName::Via).is_some()
    }

    /// The body.
    #[inline]
    #[must_use]
    pub const fn body(&self) -> &'a [u8] {
        self.body
    }

    /// Value of the first field of this name; none for [`HeaderName::Other`].
    #[inline]
    #[must_use]
    pub fn first(&self, name: HeaderName) -> Option<&'a [u8]> {
        self.value(self.table.first(name)?)
    }

    /// Whether more than one field of this name stands there.
    #[inline]
    #[must_use]
    pub fn is_repeated(&self, name: HeaderName) -> bool {
        self.table.repeated().has(name)
    }

    /// Values of all fields of this name, in order; none for [`HeaderName::Other`].
    #[inline]
    pub fn all(&self, name: HeaderName) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let message = *self;
        let mut at = self.table.first(name);
        std::iter::from_fn(move || {
            let here = at?;
            at = message.table.next(here);
            message.value(here)
        })
    }

    /// All fields, in order.
    pub fn headers(&self) -> impl Iterator<Item = Header<'a>> + use<'a> {
        let message = *self;
        (0..self.table.len()).filter_map(move |at| {
            let field = message.table.field(at)?;
            let name_bytes = message.bytes.get(field.name_at..field.name_at + field.name_len)?;
            Some(Header { name: field.name, name_bytes, value: message.value(at)? })
        })
    }

    #[inline]
    fn value(&self, at: usize) -> Option<&'a [u8]> {
        let field = self.table.field(at)?;
        self.bytes.get(field.value_at..field.value_at + field.value_len)
    }
}
