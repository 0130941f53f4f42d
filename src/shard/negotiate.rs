//! What a REGISTER and this registrar agree on beside RFC 3261 itself: Path (RFC 3327), flows of
//! one device (RFC 5626) and GRUUs (RFC 5627). A phone that says nothing of them agrees on nothing.

use arrayvec::ArrayVec;

use crate::config::PathMode;
use crate::limits::PATH_BYTES_MAX;
use crate::registrar::Aor;
use crate::registrar::gruu::Gruu;
use crate::shard::extensions::Extensions;
use crate::sip::header::contact::Contact;
use crate::sip::header::option_tag::OptionSet;
use crate::sip::header::route::first_hop_has_ob;
use crate::sip::{HeaderName, Message, ParseError, RequestHead};

/// The values of Path joined with commas, to be stored; empty without one.
pub(super) type Path = ArrayVec<u8, PATH_BYTES_MAX>;

/// What was agreed on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Negotiated {
    /// Path is answered: the phone supports it.
    pub echoes_path: bool,
    /// Instance and reg-id name the binding.
    pub outbound: bool,
    /// The phone sent the request here itself: no proxy wrote a Via.
    pub is_first_hop: bool,
    /// The phone is given GRUUs.
    pub gruu: bool,
    /// The phone said what it supports, so it is told what is supported here.
    pub tells: bool,
}

/// Why there is no agreement, and the request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disagreed {
    /// Path cannot be read.
    Fault(ParseError),
    /// Path is longer than [`PATH_BYTES_MAX`].
    PathTooLong,
    /// A proxy wrote a Path, and the phone would not understand it: 420.
    PathUnsupported,
    /// The first proxy keeps no flows: 439.
    FirstHopLacksOutbound,
    /// Two flows in one request: 400.
    SeveralFlows,
    /// A Contact leads back to the address-of-record: 403.
    ContactLoops,
}

/// Finds what a REGISTER with these contacts agrees on, and fills in its Path.
///
/// # Errors
/// See [`Disagreed`].
#[inline]
pub(super) fn negotiate(
    extensions: &Extensions,
    message: Message<'_>,
    head: &RequestHead<'_>,
    aor: &Aor<'_>,
    contacts: &[Contact<'_>],
    joined: &mut Path,
) -> Result<Negotiated, Disagreed> {
    let has = |name| message.first(name).is_some();
    if !has(HeaderName::Supported) && !has(HeaderName::Path) && !has(HeaderName::Require) {
        return Ok(Negotiated::default());
    }
    negotiate_extensions(extensions, message, head, aor, contacts, joined)
}

fn negotiate_extensions(
    extensions: &Extensions,
    message: Message<'_>,
    head: &RequestHead<'_>,
    aor: &Aor<'_>,
    contacts: &[Contact<'_>],
    joined: &mut Path,
) -> Result<Negotiated, Disagreed> {
    // What it requires it supports as well.
    let said = message.options(HeaderName::Supported).and(message.options(HeaderName::Require));
    let both = |tag| said.has(tag) && extensions.supported.has(tag);
    let mut negotiated = Negotiated {
        echoes_path: both(OptionSet::PATH),
        gruu: both(OptionSet::GRUU),
        is_first_hop: head.via.rest.is_empty() && !message.is_repeated(HeaderName::Via),
        tells: message.first(HeaderName::Supported).is_some(),
        ..Negotiated::default()
    };
    let mut first_hop_has_ob = false;
    if message.first(HeaderName::Path).is_some() && extensions.path != PathMode::Off {
        first_hop_has_ob = join_path(extensions, message, said, joined)?;
    }

    let stays = |contact: &&Contact<'_>| contact.expires.or(message.expires()) != Some(0);
    let is_flow = |contact: &&Contact<'_>| contact.instance.is_some() && contact.reg_id.is_some();
    if both(OptionSet::OUTBOUND) && contacts.iter().any(|contact| is_flow(&contact)) {
        // RFC 5626 6: the flow is the first hop's, which must be one that keeps it.
        if !negotiated.is_first_hop && !first_hop_has_ob {
            return Err(Disagreed::FirstHopLacksOutbound);
        }
        // RFC 5626 6: a request comes by one flow.
        if contacts.iter().filter(is_flow).filter(stays).count() > 1 {
            return Err(Disagreed::SeveralFlows);
        }
        negotiated.outbound = true;
    }
    // RFC 5627 5.1: a GRUU that led to itself would never reach a phone.
    let loops = |contact: &Contact<'_>| {
        let is_user = contact.uri.user == Some(aor.user())
            && contact.uri.host.eq_ignore_ascii_case(aor.domain());
        let is_gruu =
            contact.uri.host.eq_ignore_ascii_case(aor.domain()) && Gruu::of(&contact.uri).is_some();
        is_gruu || (is_user && contact.uri.port.is_none())
    };
    if negotiated.gruu && contacts.iter().filter(stays).any(loops) {
        return Err(Disagreed::ContactLoops);
    }
    Ok(negotiated)
}

/// Reads Path, joins its values, and returns whether the first hop keeps flows. The list of its
/// entries is large, and few phones have one.
#[cold]
#[inline(never)]
fn join_path(
    extensions: &Extensions,
    message: Message<'_>,
    said: OptionSet,
    joined: &mut Path,
) -> Result<bool, Disagreed> {
    let path = message.routes(HeaderName::Path).map_err(Disagreed::Fault)?;
    if extensions.path == PathMode::Strict && !said.has(OptionSet::PATH) {
        // RFC 3327 5.3: by policy a phone that would not understand its Path is not registered.
        return Err(Disagreed::PathUnsupported);
    }
    for (nth, route) in path.iter().enumerate() {
        let comma: &[u8] = if nth == 0 { b"" } else { b", " };
        // A fold is a space (RFC 3261 7.3.1).
        let unfolded = route.text.split(|byte| matches!(byte, b'\r' | b'\n'));
        std::iter::once(comma)
            .chain(unfolded)
            .try_for_each(|piece| joined.try_extend_from_slice(piece))
            .map_err(|_| Disagreed::PathTooLong)?;
    }
    Ok(first_hop_has_ob(&path))
}
