//! The rules every request meets before anybody asks what it wants (RFC 3261 8.2), and the
//! answers to all methods but REGISTER.

use crate::limits::COPIED_BYTES_MAX;
use crate::reg_event::request::PACKAGE;
use crate::shard::answer::Answer;
use crate::shard::batch::{Addressed, Unaddressed};
use crate::shard::core::Core;
use crate::shard::counters::DropReason;
use crate::shard::extensions::Extensions;
use crate::shard::identity::Identity;
use crate::shard::refused::RefuseReason;
use crate::shard::stages::{Stage, Watch};
use crate::shard::{Datagram, Handled, redirect, register, responses, silence, subscribe};
use crate::sip::header::option_tag::OptionSet;
use crate::sip::uri::Scheme;
use crate::sip::write::{Full, Responder, Response};
use crate::sip::{HeaderName, Message, Method, ParseError, RequestHead};
use crate::time::Now;

/// What reached this shard, and how.
#[derive(Clone, Copy)]
pub(super) struct Arrival<'a> {
    pub now: Now,
    pub datagram: &'a Datagram<'a>,
    /// Another shard received it and found that this one owns its AOR.
    pub handed_over: bool,
    pub watch: Watch<'a>,
}

/// A request whose head is good, and what every answer to it has in common.
pub(super) struct Request<'a> {
    pub message: Message<'a>,
    pub head: RequestHead<'a>,
    pub identity: Identity,
    pub responder: Responder<'a>,
}

/// Answers a well-formed message, or says where it belongs.
///
/// A REGISTER with credentials belongs to the shard that owns its AOR, whatever else is right or
/// wrong about it: that shard reads it whole and answers as any other would, so it is handed over
/// before more than its To has been looked into. Whether its nonce is one of ours is asked there as
/// well: asking twice would cost each honest phone more than the ring costs each flood, since a
/// datagram with a To and an Authorization of its own choice was always worth a handoff.
#[inline]
pub(super) fn handle<'a>(
    core: &mut Core,
    arrival: Arrival<'a>,
    message: Message<'a>,
    addressed: &Result<Addressed<'a>, Unaddressed>,
    out: &mut [u8],
) -> Handled {
    match message.method() {
        None => {
            return responses::take(core, arrival, message);
        }
        Some(Method::Ack) => {
            core.counters.drop(DropReason::Ack);
            return Handled::Nothing;
        }
        Some(_) => {}
    }
    let owner = match addressed {
        Ok(Addressed { key: Some(key), .. }) => core.ownership.owner(key.0),
        _ if silence::is_kept(core) => match silence::owner(core, &arrival, message) {
            Some(owner) => owner,
            None => return silence::keep(core, &arrival, DropReason::Unauthorized),
        },
        _ if core.extensions.redirect => redirect::owner(core, message),
        _ => core.id,
    };
    if owner != core.id {
        if arrival.handed_over {
            // The one that handed it over asked the same question. Shards can only disagree while
            // other aliases, say, have reached some of them; what is repeated finds its way.
            core.counters.drop(DropReason::Unowned);
            return Handled::Nothing;
        }
        core.counters.handoffs_out += 1;
        return Handled::Handoff(owner);
    }
    if silence::is_kept(core)
        && let Some(reason) = silence::unheard(core, &arrival, message, addressed)
    {
        if let (DropReason::Unauthorized, Ok(addressed)) = (reason, addressed) {
            core.tell_unheard(&arrival, message, addressed);
        }
        return silence::keep(core, &arrival, reason);
    }
    let to = addressed.as_ref().ok().map(|addressed| addressed.to);
    let head = match message.check_request_to(to) {
        Ok(head) => head,
        Err(error) => return refuse_faulty(core, arrival, error, Some(message), out),
    };
    core.counters.requests += 1;
    let identity = Identity::of(&head, &core.keys.identity);
    let mut responder = Responder::new(message, &head, arrival.datagram.source);
    responder.over_connection = arrival.datagram.link.is_some();
    let request = Request { message, head, identity, responder };
    let Request { head, identity, responder, .. } = &request;
    let checked = check(core, arrival, message, head);
    arrival.watch.lap(Stage::Parse);
    match checked {
        Ok(()) if head.method == Method::Register => {
            register::handle(core, arrival, &request, addressed, out)
        }
        Ok(()) if subscribe::is_watching(core, message, head.method) => {
            subscribe::handle(core, arrival, &request, addressed, out)
        }
        Ok(()) if redirect::is_redirected(core, head.method, &head.uri) => {
            redirect::handle(core, arrival, &request, out)
        }
        Ok(()) => {
            let Core { extensions, counters, .. } = core;
            let answer = Answer { responder, to_tag: identity.to_tag, out, counters };
            answer.with(200, |response| capabilities(response, extensions))
        }
        Err(refusal) => {
            let Core { extensions, counters, .. } = core;
            let answer = Answer { responder, to_tag: identity.to_tag, out, counters };
            refusal.answer(message, extensions, answer)
        }
    }
}

/// Why a request is refused before anybody asks what it wants.
enum Refusal {
    /// The status says it all.
    Status(u16, RefuseReason),
    /// The method is not served; Allow lists those that are (RFC 3261 21.4.6).
    Method(u16),
    /// The top Via cannot have come by the transport it arrived by.
    ViaTransport,
    /// It requires extensions that are not among these (RFC 3261 8.2.2.3).
    Extensions(OptionSet),
    /// Its body is compressed (RFC 3261 8.2.3).
    EncodedBody,
    /// A header that can be read only by those who need it.
    Fault(ParseError),
}

/// The rules, in the order of RFC 3261 8.2: the method comes first, then the headers.
fn check(
    core: &mut Core,
    arrival: Arrival<'_>,
    message: Message<'_>,
    head: &RequestHead<'_>,
) -> Result<(), Refusal> {
    let watching = subscribe::is_watching(core, message, head.method);
    let redirected = !watching && redirect::is_redirected(core, head.method, &head.uri);
    match head.method {
        // REGISTER makes no dialog, so a tag in its To means nothing (RFC 3261 10.2).
        Method::Register => {}
        Method::Options if head.to.tag.is_none() => {}
        // Its dialog is looked for by those who keep it.
        Method::Subscribe if watching => {}
        // There are no calls and no transactions that could be cancelled (RFC 3261 9.2, 15.1.2).
        Method::Cancel | Method::Bye => return Err(NO_DIALOG),
        _ if head.to.tag.is_none() && redirected => {}
        // RFC 3261 21.5.2
        Method::Other => return Err(Refusal::Method(501)),
        // Inside a dialog nobody here has (RFC 3261 12.2.2).
        _ if head.to.tag.is_some() => return Err(NO_DIALOG),
        _ => return Err(Refusal::Method(405)),
    }
    if arrival.datagram.bytes.len() > COPIED_BYTES_MAX && is_dear_to_copy(message) {
        return Err(Refusal::Status(513, RefuseReason::TooLarge));
    }
    // RFC 3261 8.2.2.1
    if !matches!(head.uri.scheme, Scheme::Sip | Scheme::Sips) {
        return Err(Refusal::Status(416, RefuseReason::UriScheme));
    }
    let ours = core.domains.serves_host(head.uri.host);
    // A proxy would pass these on; where that is not done, the hop before was the last
    // (RFC 3261 16.3 step 3).
    let is_users = head.method == Method::Options && head.uri.user.is_some();
    let passes_on = !ours || (is_users && !redirected);
    if passes_on && head.max_forwards == Some(0) {
        return Err(Refusal::Status(483, RefuseReason::Hops));
    }
    if !ours {
        // Not this registrar's, and nothing is relayed (RFC 3261 10.3 step 1).
        return Err(Refusal::Status(404, RefuseReason::ForeignDomain));
    }
    // Proxy-Require is for proxies; and a redirect server ignores what it does not understand.
    if message.first(HeaderName::Require).is_some() && !redirected {
        let supported = match head.method {
            Method::Register => core.extensions.supported,
            // The extensions that are supported are all about registrations.
            _ => OptionSet::NONE,
        };
        match message.option_tags(HeaderName::Require) {
            Ok(tags) if supported.lacking(&tags).next().is_none() => {}
            Ok(_) => return Err(Refusal::Extensions(supported)),
            Err(error) => return Err(Refusal::Fault(error)),
        }
    }
    // Other bodies mean nothing to what is served and are not looked at.
    if message.has_encoded_body() && !redirected {
        return Err(Refusal::EncodedBody);
    }
    // Last, so that what RFC 4475 says of messages made for another transport holds for them.
    if !head.via.can_come_by(arrival.datagram.transport()) {
        return Err(Refusal::ViaTransport);
    }
    Ok(())
}

const NO_DIALOG: Refusal = Refusal::Status(481, RefuseReason::NoDialog);

/// Whether what a response copies is longer than [`COPIED_BYTES_MAX`].
fn is_dear_to_copy(message: Message<'_>) -> bool {
    let copied =
        [HeaderName::Via, HeaderName::From, HeaderName::To, HeaderName::CallId, HeaderName::CSeq];
    let bytes = |name| message.all(name).map(<[u8]>::len).sum::<usize>();
    copied.into_iter().map(bytes).sum::<usize>() > COPIED_BYTES_MAX
}

impl Refusal {
    #[cold]
    fn answer(self, message: Message<'_>, extensions: &Extensions, answer: Answer<'_>) -> Handled {
        match self {
            Refusal::Status(status, reason) => answer.refusing(reason).plain(status),
            Refusal::Method(status) => answer
                .refusing(RefuseReason::Method)
                .with(status, |r| r.header_text("Allow", extensions.allow.as_bytes())),
            Refusal::ViaTransport => answer.refusing(RefuseReason::ViaTransport).phrased(
                400,
                &["Transport Does Not Match Via"],
                |_| Ok(()),
            ),
            Refusal::EncodedBody => answer
                .refusing(RefuseReason::EncodedBody)
                .with(415, |r| r.header_text("Accept-Encoding", b"identity")),
            Refusal::Extensions(supported) => {
                answer.refusing(RefuseReason::Extension).with(420, |response| {
                    let tags = message.option_tags(HeaderName::Require).unwrap_or_default();
                    response.header("Unsupported", |out| {
                        for (nth, tag) in supported.lacking(&tags).enumerate() {
                            out.put(if nth == 0 { b"" } else { b", " })?;
                            out.text(tag)?;
                        }
                        Ok(())
                    })
                })
            }
            Refusal::Fault(error) => refuse(answer, error),
        }
    }
}

/// What a 200 to OPTIONS says (RFC 3261 11.2). No method takes a body.
fn capabilities(response: &mut Response<'_>, extensions: &Extensions) -> Result<(), Full> {
    response.header_text("Allow", extensions.allow.as_bytes())?;
    if extensions.reg_event {
        // RFC 6665 4.4.4
        response.header_text("Allow-Events", PACKAGE.as_bytes())?;
    }
    response.header_text("Accept", b"")?;
    response.header_text("Accept-Encoding", b"identity")?;
    response.header_text("Accept-Language", b"en")?;
    response.header_text("Supported", extensions.supported_text.as_bytes())
}

/// Refuses a message with a fault, if it is a request that an answer could reach.
#[cold]
pub(super) fn refuse_faulty<'a>(
    core: &mut Core,
    arrival: Arrival<'a>,
    error: ParseError,
    message: Option<Message<'a>>,
    out: &mut [u8],
) -> Handled {
    core.tell_malformed(&arrival);
    let Some(message) = message else {
        core.counters.drop(DropReason::Unparseable);
        return Handled::Nothing;
    };
    let reason = match message.method() {
        None => Some(DropReason::StrayResponse),
        Some(Method::Ack) => Some(DropReason::Ack),
        Some(_) => None,
    };
    let responder = Responder::of_faulty(message, arrival.datagram.source);
    let responder = responder.map(|mut responder| {
        responder.over_connection = arrival.datagram.link.is_some();
        responder
    });
    match (reason, responder) {
        (None, Some(responder)) => {
            let identity = Identity::of_bytes(arrival.datagram.bytes, &core.keys.identity);
            refuse(answer_of(core, &responder, &identity, out), error)
        }
        (reason, _) => {
            core.counters.drop(reason.unwrap_or(DropReason::NoReturnPath));
            Handled::Nothing
        }
    }
}

/// Refuses with the status and the phrase of a fault.
#[cold]
pub(super) fn refuse(answer: Answer<'_>, error: ParseError) -> Handled {
    let reason = match error.status() {
        505 => RefuseReason::Version,
        513 => RefuseReason::TooLarge,
        _ => RefuseReason::Malformed,
    };
    answer.refusing(reason).phrased(error.status(), &error.phrase(), |_| Ok(()))
}

/// The answer to a request.
pub(super) fn answer_of<'a>(
    core: &'a mut Core,
    responder: &'a Responder<'a>,
    identity: &Identity,
    out: &'a mut [u8],
) -> Answer<'a> {
    Answer { responder, to_tag: identity.to_tag, out, counters: &mut core.counters }
}
