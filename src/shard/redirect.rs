//! A redirect server (RFC 3261 8.3) over the registrations, where the configuration asks for one:
//! requests for users are answered with where they are. It keeps no state, so a retransmission is
//! answered again as it was, unless registrations have changed.
//!
//! - Nobody is asked who he is: whoever reaches it learns who exists and where he is. It is for
//!   trusted proxies and is off by default.
//! - Contacts stand in q order with q and the time they have left (RFC 3261 20.10), so that nobody
//!   keeps one for longer. Of several flows of one device the newest is given alone (RFC 5626 7).
//! - A Contact that is reached over a Path is given with it as a Route of its URI (RFC 3261
//!   19.1.1). That is the only way to say it; 19.1.5 lets the receiver refuse to obey, so the proxy
//!   must be one that does.
//! - A phone behind NAT is given by the Contact it registered. Only this server can reach it by the
//!   flow it came over.

use arrayvec::ArrayVec;

use crate::auth::accounts::{AccountId, AorKey};
use crate::limits::{AOR_BYTES_MAX, REDIRECT_CONTACTS_MAX};
use crate::registrar::gruu::{Gruu, InstanceText, Temporary};
use crate::registrar::{Aor, AorId, Binding, TokenError, Whom, flow_token};
use crate::shard::answer::Answer;
use crate::shard::core::Core;
use crate::shard::refused::RefuseReason;
use crate::shard::request::{Arrival, Request, answer_of};
use crate::shard::{Handled, ShardId};
use crate::sip::header::contact::QValue;
use crate::sip::uri::{Scheme, Uri};
use crate::sip::write::Response;
use crate::sip::writer::{Full, Writer};
use crate::sip::{HeaderName, Message, Method};
use crate::time::Now;

/// Whether a request of this method is redirected. "A redirect server MUST ignore any features that
/// are not understood (including unrecognized header fields, any unknown option tags in Require, or
/// even method names)" (RFC 3261 8.3). What belongs to something that was begun before is not.
pub(super) fn is_redirected(core: &Core, method: Method, uri: &Uri<'_>) -> bool {
    core.extensions.redirect
        && match method {
            Method::Register | Method::Ack | Method::Cancel | Method::Bye => false,
            // To a host alone it asks the server itself.
            Method::Options => uri.user.is_some(),
            _ => true,
        }
}

/// Whom a Request-URI names.
enum Target {
    /// An address-of-record: its hash, and whether it is one instance of it.
    Aor(AorKey, Option<AccountId>, Option<InstanceText>),
    /// The owner of a temporary GRUU of ours.
    Temporary(Temporary),
    /// Nobody.
    Nobody,
}

impl Target {
    fn of(core: &Core, uri: &Uri<'_>) -> Target {
        let Some(domain) = core.domains.at_host(uri.host) else { return Target::Nobody };
        let instance = match Gruu::of(uri) {
            Some(Gruu::Temporary(token)) => {
                return match Temporary::read(&core.tokens, token) {
                    Ok(temporary) => Target::Temporary(temporary),
                    Err(_) => Target::Nobody,
                };
            }
            Some(Gruu::Public(instance)) => Some(instance),
            // RFC 5627 5.4: what claims to be a GRUU and is none of ours is never taken for the
            // address-of-record: it was meant for one device, not for all of them.
            None if uri.gr().is_some() => return Target::Nobody,
            None => None,
        };
        let (mut buffer, mut renamed) = ([0; AOR_BYTES_MAX], [0; AOR_BYTES_MAX]);
        let parameters = core.extensions.user_parameters;
        let named = Aor::canonical(uri, parameters, &mut buffer).ok();
        match named.and_then(|aor| aor.in_domain(domain.name.as_bytes(), &mut renamed)) {
            Some(aor) => {
                let key = AorKey(core.ownership.hash(aor.text()));
                Target::Aor(key, core.accounts.find(key, aor.text()), instance)
            }
            None => Target::Nobody,
        }
    }

    fn owner(&self, core: &Core) -> ShardId {
        match self {
            Target::Aor(AorKey(hash), ..) => core.ownership.owner(*hash),
            Target::Temporary(temporary) if temporary.shard < core.ownership.shards() => {
                ShardId(temporary.shard)
            }
            Target::Temporary(_) | Target::Nobody => core.id,
        }
    }
}

/// The shard that can redirect a request, if it is to be redirected and names somebody.
#[cold]
pub(super) fn owner(core: &Core, message: Message<'_>) -> ShardId {
    let method = message.method().unwrap_or(Method::Other);
    match message.request_uri().and_then(|uri| Uri::parse(uri).ok()) {
        Some(uri) if is_redirected(core, method, &uri) => Target::of(core, &uri).owner(core),
        _ => core.id,
    }
}

/// Answers a request for a user.
#[cold]
pub(super) fn handle(
    core: &mut Core,
    arrival: Arrival<'_>,
    request: &Request<'_>,
    out: &mut [u8],
) -> Handled {
    let Request { message, head, identity, responder } = request;
    if let Some((status, reason)) = flow_refusal(core, *message) {
        return answer_of(core, responder, identity, out).refusing(reason).plain(status);
    }
    let (aor, whom) = match Target::of(core, &head.uri) {
        Target::Aor(_, Some(account), instance) => (AorId(account.0), Ok(instance)),
        Target::Temporary(temporary) if temporary.shard == core.id.0 => {
            (temporary.aor, Err(temporary.epoch))
        }
        Target::Aor(..) | Target::Temporary(_) | Target::Nobody => {
            let answer = answer_of(core, responder, identity, out);
            return answer.refusing(RefuseReason::UnknownUser).plain(404);
        }
    };
    let whom = match &whom {
        Ok(None) => Whom::Aor,
        Ok(Some(instance)) => Whom::Instance(instance),
        Err(epoch) => Whom::Epoch(*epoch),
    };
    let Core { registrar, counters, .. } = core;
    let mut targets: ArrayVec<&Binding, REDIRECT_CONTACTS_MAX> = ArrayVec::new();
    let found = registrar.lookup(aor, arrival.now, whom);
    let mut is_loop = false;
    for &(_, binding) in &found {
        // RFC 3261 8.3: "redirect servers MUST NOT redirect a request to a URI equal to the one in
        // the Request-URI".
        if Uri::parse(binding.contact()).is_ok_and(|contact| contact.equals(&head.uri)) {
            is_loop = true;
            continue;
        }
        // RFC 3261 8.1.3.4: from a SIPS URI only to SIPS URIs.
        let is_secure =
            binding.contact().get(..5).is_some_and(|s| s.eq_ignore_ascii_case(b"sips:"));
        let is_safe = is_secure || head.uri.scheme != Scheme::Sips;
        let is_other_flow = |other: &&Binding| match (other.instance(), binding.instance()) {
            (Some(a), Some(b)) => binding.reg_id().is_some() && a.is_same(b),
            _ => false,
        };
        if is_safe && !targets.iter().any(is_other_flow) && targets.try_push(binding).is_err() {
            break;
        }
    }
    if targets.is_empty() {
        // RFC 5627 5.4: a temporary GRUU ends with its registration, and names nobody then.
        let (status, reason) = match whom {
            Whom::Epoch(_) => (404, RefuseReason::UnknownUser),
            // RFC 3261 8.3: what leads to itself alone is rejected with 404.
            _ if is_loop => (404, RefuseReason::UnknownUser),
            Whom::Aor | Whom::Instance(_) => (480, RefuseReason::Unavailable),
        };
        let answer = Answer { responder, to_tag: identity.to_tag, out, counters };
        return answer.refusing(reason).plain(status);
    }
    counters.redirected += 1;
    let answer = Answer { responder, to_tag: identity.to_tag, out, counters };
    let fixed_s = core.extensions.static_expires_s;
    let any_answers = targets.iter().any(|binding| !registrar.is_put_last(binding));
    answer.with(302, |response| {
        targets.iter().try_for_each(|binding| {
            // Whoever follows a redirection goes by q (RFC 3261 8.1.3.4), not by the order.
            let is_last = any_answers && registrar.is_put_last(binding);
            let q = if is_last { Some(QValue(0)) } else { binding.q() };
            put_contact(response, binding, q, arrival.now, fixed_s)
        })
    })
}

/// RFC 5626 5.3: a request whose Route names a flow of ours goes down that flow or nowhere. Where
/// the flow is good, the redirection says the rest.
fn flow_refusal(core: &Core, message: Message<'_>) -> Option<(u16, RefuseReason)> {
    message.first(HeaderName::Route)?;
    let routes = message.routes(HeaderName::Route).ok()?;
    let route = routes.first().filter(|route| core.domains.serves_host(route.uri.host))?;
    match flow_token::decode(&core.tokens, route.uri.user?) {
        Err(TokenError::Malformed) => None,
        Err(TokenError::Forged) => Some((403, RefuseReason::FlowForged)),
        Ok((flow, _)) => {
            let id = flow.connection()?;
            let is_gone = !core.registrar.has_bindings_on(id);
            is_gone.then_some((430, RefuseReason::FlowGone))
        }
    }
}

fn put_contact(
    response: &mut Response<'_>,
    binding: &Binding,
    q: Option<QValue>,
    now: Now,
    fixed_s: u32,
) -> Result<(), Full> {
    response.header("Contact", |out| {
        let uri = binding.contact();
        out.put(b"<")?;
        out.text(uri)?;
        if !binding.path().is_empty() {
            out.put(if uri.contains(&b'?') { b"&Route=" } else { b"?Route=" })?;
            put_escaped(out, binding.path())?;
        }
        out.put(b">")?;
        if let Some(QValue(thousandths)) = q {
            let digit = |n: u16| b'0' + (n % 10) as u8;
            let t = thousandths.min(1000);
            out.put(&[b';', b'q', b'=', digit(t / 1000), b'.'])?;
            out.put(&[digit(t / 100), digit(t / 10), digit(t)])?;
        }
        out.put(b";expires=")?;
        let left_s = if binding.is_static() { fixed_s } else { binding.remaining_s(now.mono) };
        // Through its late margin it is still reachable; nobody is to remember it, though.
        out.number(left_s.max(1).into())
    })
}

/// `hvalue` of RFC 3261 25.1: what may not stand there in the clear is escaped.
fn put_escaped(out: &mut Writer<'_>, text: &[u8]) -> Result<(), Full> {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in text {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:".contains(&byte) {
            out.put(&[byte])?;
        } else {
            out.put(&[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])?;
        }
    }
    Ok(())
}
