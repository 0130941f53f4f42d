//! SUBSCRIBE to the registrations of an address-of-record: who may watch, and which shard it is
//! for. What watchers are told is [`reg_event`](crate::reg_event)'s.

use std::net::IpAddr;

use arrayvec::ArrayVec;

use crate::limits::LOCAL_BYTES_MAX;
use crate::reg_event::{self, LocalTag, Refusal, Subscribe, notify, request as package};
use crate::registrar::AorId;
use crate::shard::Handled;
use crate::shard::authorize::{self, Caller, challenge, identify};
use crate::shard::batch::{Addressed, Unaddressed};
use crate::shard::core::Core;
use crate::shard::refused::RefuseReason;
use crate::shard::request::{Arrival, Request, answer_of};
use crate::sip::writer::{Full, Writer};
use crate::sip::{HeaderName, Message, Method, Uri};

/// A SUBSCRIBE that is for this registrar.
pub(super) fn handle<'a>(
    core: &mut Core,
    arrival: Arrival<'a>,
    request: &Request<'a>,
    addressed: &Result<Addressed<'a>, Unaddressed>,
    out: &mut [u8],
) -> Handled {
    let Request { message, head, identity, responder } = request;
    let addressed = match authorize::addressed(core, request, addressed, out) {
        Ok(addressed) => addressed,
        Err(handled) => return handled,
    };
    let Arrival { now, datagram, .. } = arrival;
    let asked = match reg_event::Request::read(*message, head) {
        Ok(asked) => asked,
        Err(refusal) => return refuse(core, refusal, request, out),
    };
    let caller = match watches_all(core, datagram.source.ip()) {
        true => {
            authorize::authenticated(core, &arrival);
            addressed.account.map(Caller::trusted)
        }
        false => match identify(core, &arrival, request, addressed, out) {
            Ok(caller) => Some(caller),
            Err(handled) => return handled,
        },
    };
    // Only a watcher can meet an account that is not there: others are challenged.
    let Some(Caller { account, replayed, .. }) = caller else {
        let answer = answer_of(core, responder, identity, out);
        return answer.refusing(RefuseReason::UnknownUser).plain(404);
    };
    let Some(local) = local_of(&head.uri) else {
        return refuse(core, Refusal::TooLong("Request-URI"), request, out);
    };
    let flow = datagram.flow();
    let transport = flow.transport();
    let subscribe = Subscribe {
        request: asked,
        aor: AorId(account.0),
        aor_text: addressed.aor.text(),
        permitted: true,
        local_tag: LocalTag::parse(&identity.to_tag).expect("a To tag is the hex of one"),
        local: &local,
        source: datagram.source,
        flow,
    };
    if replayed && !core.subscriptions.is_repeated(&subscribe) {
        // Its nonce count was used by another request (RFC 7616 3.4.5: a new challenge).
        core.counters.stale += 1;
        return challenge(core, &arrival, addressed, request, true, out);
    }
    match core.subscriptions.subscribe(now, &subscribe) {
        Ok(accepted) => {
            core.counters.retransmissions += u64::from(accepted.retransmission);
            core.counters.subscribed += u64::from(!accepted.retransmission);
            answer_of(core, responder, identity, out).with(200, |response| {
                // RFC 3261 12.1.1: the dialog's route set, as it came.
                for route in message.all(HeaderName::RecordRoute) {
                    response.header_text("Record-Route", route)?;
                }
                response.header("Contact", |out| notify::put_contact(out, &local, transport))?;
                response.header_number("Expires", accepted.expires_s.into())
            })
        }
        Err(refusal) => refuse(core, refusal, request, out),
    }
}

/// Whether a message is a SUBSCRIBE that is answered here. Where users are redirected, those to
/// other packages are theirs.
pub(super) fn is_watching(core: &Core, message: Message<'_>, method: Method) -> bool {
    method == Method::Subscribe
        && core.extensions.reg_event
        && (!core.extensions.redirect
            || message.event().ok().flatten().is_some_and(|event| {
                event.package.eq_ignore_ascii_case(package::PACKAGE.as_bytes())
            }))
}

/// Whether a source may watch every address-of-record (RFC 3680 4.6).
pub(super) fn watches_all(core: &Core, source: IpAddr) -> bool {
    let source = source.to_canonical();
    core.extensions.watchers.iter().any(|network| network.contains(&source))
}

/// How the sender of a request reaches this process: the host and port it asked for. They come
/// back to us in requests of the dialog, and name a domain that is served.
fn local_of(uri: &Uri<'_>) -> Option<ArrayVec<u8, LOCAL_BYTES_MAX>> {
    let mut buffer = [0; LOCAL_BYTES_MAX];
    let mut out = Writer::new(&mut buffer);
    let mut put = || {
        out.put(uri.host)?;
        if let Some(port) = uri.port {
            out.put(b":")?;
            out.number(port.into())?;
        }
        Ok::<(), Full>(())
    };
    put().ok()?;
    out.written().try_into().ok()
}

#[cold]
fn refuse(core: &mut Core, refusal: Refusal, request: &Request<'_>, out: &mut [u8]) -> Handled {
    core.counters.subscriptions_refused += 1;
    let answer = answer_of(core, &request.responder, &request.identity, out);
    let answer = answer.refusing(match refusal {
        Refusal::BadEvent => RefuseReason::BadEvent,
        Refusal::NotAcceptable => RefuseReason::NotAcceptable,
        Refusal::Forbidden => RefuseReason::AccountMismatch,
        Refusal::UnknownDialog => RefuseReason::NoDialog,
        Refusal::StaleCSeq => RefuseReason::SubscriptionOrder,
        Refusal::Merged => RefuseReason::Merged,
        Refusal::IntervalTooBrief { .. } => RefuseReason::SubscriptionTooBrief,
        Refusal::TooManySubscriptions { .. } => RefuseReason::TooManySubscriptions,
        Refusal::Missing(_) | Refusal::Malformed(_) => RefuseReason::Malformed,
        Refusal::TooLong(_) => RefuseReason::TooLong,
    });
    answer.phrased(refusal.status(), &refusal.phrase(), |response| match refusal {
        // RFC 6665 8.3.2
        Refusal::BadEvent => response.header_text("Allow-Events", package::PACKAGE.as_bytes()),
        Refusal::NotAcceptable => response.header_text("Accept", package::CONTENT_TYPE.as_bytes()),
        Refusal::IntervalTooBrief { min_expires_s } => {
            response.header_number("Min-Expires", min_expires_s.into())
        }
        Refusal::TooManySubscriptions { retry_after_s } => {
            response.header_number("Retry-After", retry_after_s.into())
        }
        _ => Ok(()),
    })
}
