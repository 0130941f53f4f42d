//! The NOTIFY request (RFC 6665 4.2.2) around its document: what the dialog gives (RFC 3261
//! 12.2.1.1), Event and Subscription-State.

use arrayvec::ArrayVec;

use crate::flow::Transport;
use crate::limits::{
    CALL_ID_BYTES_MAX, CONTACT_BYTES_MAX, EVENT_ID_BYTES_MAX, GRUU_BYTES_MAX, INSTANCE_BYTES_MAX,
    LOCAL_BYTES_MAX, NOTIFY_ROOM_BYTES_MIN, PATHS_MAX, ROUTE_SET_BYTES_MAX, TAG_BYTES_MAX,
};
use crate::reg_event::dialog::Dialog;
use crate::reg_event::document;
use crate::reg_event::identity::Branch;
use crate::reg_event::request::{CONTENT_TYPE, PACKAGE};
use crate::reg_event::xml::GROWTH_MAX;
use crate::sip::header::event::Event;
use crate::sip::header::route;
pub use crate::sip::header::subscription_state::Reason as EndReason;
use crate::sip::header::subscription_state::SubscriptionState;
use crate::sip::write_request::{End, RequestFrame};
use crate::sip::writer::{Full, Writer};

/// What the headers say beside the dialog.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub branch: Branch,
    pub transport: Transport,
    pub state: SubscriptionState,
}

/// A dialog has its route set and its target twice at most: in the Request-URI and in Route.
const _: () = assert!(
    2 * (ROUTE_SET_BYTES_MAX + CONTACT_BYTES_MAX)
        + 2 * CONTACT_BYTES_MAX
        + 2 * LOCAL_BYTES_MAX
        + CALL_ID_BYTES_MAX
        + TAG_BYTES_MAX
        + EVENT_ID_BYTES_MAX
        + 1024
        + document::FRAME_BYTES_MAX
        + GROWTH_MAX
            * (CONTACT_BYTES_MAX + CALL_ID_BYTES_MAX + INSTANCE_BYTES_MAX + GRUU_BYTES_MAX)
        + 512
        <= NOTIFY_ROOM_BYTES_MIN,
    "every dialog and one contact fit"
);

/// Writes a NOTIFY to the start of `out`, with the body that `body` writes; gives its length.
///
/// # Errors
/// [`Full`].
pub(super) fn write(
    out: &mut [u8],
    dialog: &Dialog,
    head: &Head,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<usize, Full> {
    let entries = match dialog.routes() {
        b"" => route::Routes::new(),
        text => route::parse([text]).unwrap_or_default(),
    };
    let mut bracketed = ArrayVec::<u8, { CONTACT_BYTES_MAX + 2 }>::new();
    let mut routes: ArrayVec<&[u8], { PATHS_MAX + 1 }> =
        entries.iter().map(|route| route.text).collect();
    let mut uri = dialog.target();
    // RFC 3261 12.2.1.1: a first proxy without `lr` wants itself in the Request-URI, and the
    // remote target at the end of Route.
    if let Some(strict) = entries.first().filter(|first| first.uri.param(b"lr").is_none()) {
        bracketed.push(b'<');
        bracketed.try_extend_from_slice(uri).map_err(|_| Full)?;
        bracketed.try_push(b'>').map_err(|_| Full)?;
        uri = strict.uri.text;
        routes.remove(0);
        routes.push(&bracketed);
    }
    let tag = head.branch.tag.text();
    let frame = RequestFrame {
        method: "NOTIFY",
        uri,
        transport: head.transport,
        sent_by: dialog.local(),
        branch: &head.branch.text(),
        from: End { uri: dialog.local_uri(), tag: Some(&tag) },
        to: End {
            uri: dialog.remote_uri(),
            tag: Some(dialog.remote_tag()).filter(|tag| !tag.is_empty()),
        },
        call_id: dialog.call_id(),
        cseq: head.branch.cseq,
        routes: &routes,
    };
    let mut request = frame.begin(out)?;
    request.header("Contact", |out| put_contact(out, dialog.local(), head.transport))?;
    let id = Some(dialog.event_id()).filter(|id| !id.is_empty());
    let event = Event { package: PACKAGE.as_bytes(), id, params: b"" };
    request.subscription(&event, &head.state)?;
    request.finish_with(CONTENT_TYPE, body)
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
