//! The NOTIFY request (RFC 6665 4.2.2) around its document: the request line and headers that the
//! dialog gives (RFC 3261 12.2.1.1), Event and Subscription-State.

use crate::flow::Transport;
use crate::limits::{
    CALL_ID_BYTES_MAX, CONTACT_BYTES_MAX, EVENT_ID_BYTES_MAX, LOCAL_BYTES_MAX,
    NOTIFY_ROOM_BYTES_MIN, ROUTE_SET_BYTES_MAX, TAG_BYTES_MAX,
};
use crate::reg_event::dialog::Dialog;
use crate::reg_event::document;
use crate::reg_event::identity::Branch;
use crate::reg_event::request::{CONTENT_TYPE, PACKAGE};
use crate::reg_event::xml::GROWTH_MAX;
use crate::sip::header::route;
use crate::sip::writer::{Full, Writer};

/// Why a subscription is over (RFC 6665 4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndReason {
    /// It ended as asked, or was not refreshed in time.
    Timeout,
    /// The address-of-record is no more.
    NoResource,
    /// Somebody else serves it now: the subscriber may come back at once.
    Deactivated,
    /// The subscriber may come back later.
    Probation,
    /// Nobody could be asked whether it is allowed.
    GiveUp,
    /// It is allowed no longer.
    Rejected,
}

impl EndReason {
    /// As Subscription-State has it; metrics use the same word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            EndReason::Timeout => "timeout",
            EndReason::NoResource => "noresource",
            EndReason::Deactivated => "deactivated",
            EndReason::Probation => "probation",
            EndReason::GiveUp => "giveup",
            EndReason::Rejected => "rejected",
        }
    }
}

/// Subscription-State (RFC 6665 8.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Active { expires_s: u32 },
    Terminated(EndReason),
}

/// What the headers say beside the dialog.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub branch: Branch,
    pub transport: Transport,
    pub state: State,
}

/// Digits of the largest Content-Length.
const LENGTH_DIGITS: usize = 5;
const END: &[u8] = b"\r\n\r\n";

const _: () = assert!(
    2 * (ROUTE_SET_BYTES_MAX + CONTACT_BYTES_MAX)
        + 2 * CONTACT_BYTES_MAX
        + 2 * LOCAL_BYTES_MAX
        + CALL_ID_BYTES_MAX
        + TAG_BYTES_MAX
        + EVENT_ID_BYTES_MAX
        + 1024
        + document::FRAME_BYTES_MAX
        + GROWTH_MAX * (CONTACT_BYTES_MAX + CALL_ID_BYTES_MAX + crate::limits::INSTANCE_BYTES_MAX)
        + 512
        <= NOTIFY_ROOM_BYTES_MIN,
    "every dialog and one contact fit"
);

/// Writes a NOTIFY to the start of `out`, with the body that `body` writes; gives its length and
/// what `body` gave beside that of the body.
///
/// # Errors
/// [`Full`].
pub(super) fn write<T>(
    out: &mut [u8],
    dialog: &Dialog,
    head: &Head,
    body: impl FnOnce(&mut [u8]) -> Result<(usize, T), Full>,
) -> Result<(usize, T), Full> {
    let mut writer = Writer::new(out);
    put_head(&mut writer, dialog, head)?;
    writer.put(b"Content-Length: ")?;
    let at = writer.len();
    // The body is written behind room for the longest number, and moved up to the real one.
    let body_at = at + LENGTH_DIGITS + END.len();
    let (len, beside) = body(out.get_mut(body_at..).ok_or(Full)?)?;
    let mut number = Writer::new(&mut out[at..]);
    number.number(len as u64)?;
    number.put(END)?;
    let end = at + number.len();
    debug_assert!(end <= body_at, "{len} bytes of body");
    out.copy_within(body_at..body_at + len, end);
    Ok((end + len, beside))
}

fn put_head(out: &mut Writer<'_>, dialog: &Dialog, head: &Head) -> Result<(), Full> {
    let routes = match dialog.routes() {
        b"" => route::Routes::new(),
        text => route::parse([text]).unwrap_or_default(),
    };
    // RFC 3261 12.2.1.1: a first proxy without `lr` wants itself in the Request-URI, and the
    // remote target at the end of Route.
    let strict = routes.first().filter(|first| first.uri.param(b"lr").is_none());
    out.put(b"NOTIFY ")?;
    out.text(strict.map_or(dialog.target(), |first| first.uri.text))?;
    out.put(b" SIP/2.0\r\nVia: SIP/2.0/")?;
    out.put(head.transport.via().as_bytes())?;
    out.put(b" ")?;
    out.text(dialog.local())?;
    out.put(b";branch=")?;
    out.put(&head.branch.text())?;
    // RFC 3581: the answer comes back to the very port this leaves from.
    out.put(b";rport\r\nMax-Forwards: 70\r\n")?;
    for route in routes.iter().skip(usize::from(strict.is_some())) {
        out.put(b"Route: ")?;
        out.text(route.text)?;
        out.put(b"\r\n")?;
    }
    if strict.is_some() {
        out.put(b"Route: <")?;
        out.text(dialog.target())?;
        out.put(b">\r\n")?;
    }
    out.put(b"From: <")?;
    out.text(dialog.local_uri())?;
    out.put(b">;tag=")?;
    out.put(&head.branch.tag.text())?;
    out.put(b"\r\nTo: <")?;
    out.text(dialog.remote_uri())?;
    out.put(b">")?;
    if !dialog.remote_tag().is_empty() {
        out.put(b";tag=")?;
        out.text(dialog.remote_tag())?;
    }
    out.put(b"\r\nCall-ID: ")?;
    out.text(dialog.call_id())?;
    out.put(b"\r\nCSeq: ")?;
    out.number(head.branch.cseq.into())?;
    out.put(b" NOTIFY\r\nContact: ")?;
    put_contact(out, dialog.local(), head.transport)?;
    out.put(b"\r\nEvent: ")?;
    out.put(PACKAGE.as_bytes())?;
    if !dialog.event_id().is_empty() {
        out.put(b";id=")?;
        out.text(dialog.event_id())?;
    }
    out.put(b"\r\nSubscription-State: ")?;
    match head.state {
        State::Active { expires_s } => {
            out.put(b"active;expires=")?;
            out.number(expires_s.into())?;
        }
        State::Terminated(reason) => {
            out.put(b"terminated;reason=")?;
            out.put(reason.word().as_bytes())?;
        }
    }
    out.put(b"\r\nContent-Type: ")?;
    out.put(CONTENT_TYPE.as_bytes())?;
    out.put(b"\r\n")
}

/// Writes the value of our Contact: where requests of the dialog go (RFC 3261 12.1.1), by the
/// transport it began with. The 200 to a SUBSCRIBE has the same.
///
/// # Errors
/// [`Full`].
pub fn put_contact(out: &mut Writer<'_>, local: &[u8], transport: Transport) -> Result<(), Full> {
    out.put(b"<sip:")?;
    out.text(local)?;
    if transport != Transport::Udp {
        out.put(b";transport=")?;
        // `wss` is no value of it: RFC 7118 5.2.3 has `ws` for both.
        let word = if transport == Transport::Wss { "ws" } else { transport.word() };
        out.put(word.as_bytes())?;
    }
    out.put(b">")
}
