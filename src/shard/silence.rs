//! Who hears nothing (SS_REPLY_UNAUTHORIZED Off): accounts that do not exist, sources that nobody
//! knows, and accounts whose own list of networks excludes the source. Whoever scans finds no
//! server, except by the names of accounts that exist: those are challenged wherever they are
//! claimed, since phones move. The limit of REGISTERs per source bounds how many can be tried.
//!
//! - A REGISTER, or a SUBSCRIBE, is heard where its account exists and may come from there.
//! - Any other request is heard where From names an account with a live binding from that address,
//!   whose shard therefore has to look; over a connection that has passed authentication; from
//!   trusted networks and those of `registrar.watchers`. Redirections are for these networks alone.
//! - STUN is answered where an account has proved itself from that address.
//! - A connection of somebody who is not heard closes, unless somebody else uses it.

use crate::auth::accounts::AorKey;
use crate::auth::gate::Gate;
use crate::auth::suspension::Standing;
use crate::limits::AOR_BYTES_MAX;
use crate::registrar::AorId;
use crate::shard::authorize::gate;
use crate::shard::batch::{Addressed, Unaddressed, canonical};
use crate::shard::core::Core;
use crate::shard::counters::DropReason;
use crate::shard::request::Arrival;
use crate::shard::subscribe::{is_watching, watches_all};
use crate::shard::{Handled, ShardId, redirect};
use crate::sip::uri::Uri;
use crate::sip::{Message, Method};

/// Whether the answer depends on who asks.
#[inline]
pub(super) fn is_kept(core: &Core) -> bool {
    !core.auth.reply_unauthorized
}

/// Whether the sender of something is known whatever it says.
pub(super) fn knows(core: &Core, arrival: &Arrival<'_>) -> bool {
    let link = arrival.datagram.link;
    link.is_some_and(|link| link.authenticated || !link.peer.text().is_empty())
        || is_of_network(core, arrival)
}

/// Whether the configuration knows the network it comes from.
fn is_of_network(core: &Core, arrival: &Arrival<'_>) -> bool {
    let source = arrival.datagram.source.ip();
    watches_all(core, source) || core.guard.is_trusted(source)
}

/// Whether what is no message and asks for an answer (STUN) has one: where an account has proved
/// itself from that address lately, or whoever is there is known anyway.
#[cold]
pub(super) fn answers_pings(core: &Core, arrival: &Arrival<'_>) -> bool {
    !is_kept(core) || core.guard.is_proven(arrival.datagram.source.ip()) || knows(core, arrival)
}

/// The shard that can say whether a request for nobody's registration is heard, where silence is
/// kept. Nobody can where From names no account of a served domain.
#[cold]
pub(super) fn owner(core: &Core, arrival: &Arrival<'_>, message: Message<'_>) -> Option<ShardId> {
    if knows(core, arrival) {
        return Some(match core.extensions.redirect {
            true => redirect::owner(core, message),
            false => core.id,
        });
    }
    sender(core, message).map(|(_, owner, _)| owner)
}

/// Why a request of this shard is not heard, where silence is kept and it is not.
#[cold]
pub(super) fn unheard(
    core: &Core,
    arrival: &Arrival<'_>,
    message: Message<'_>,
    addressed: &Result<Addressed<'_>, Unaddressed>,
) -> Option<DropReason> {
    let needs_no_password = message.method() == Some(Method::Subscribe)
        && watches_all(core, arrival.datagram.source.ip());
    if let Ok(addressed) = addressed
        && !needs_no_password
        && is_suspended(core, arrival, addressed)
    {
        return Some(DropReason::Suspended);
    }
    (!hears(core, arrival, message, addressed)).then_some(DropReason::Unauthorized)
}

fn hears(
    core: &Core,
    arrival: &Arrival<'_>,
    message: Message<'_>,
    addressed: &Result<Addressed<'_>, Unaddressed>,
) -> bool {
    let source = arrival.datagram.source.ip();
    let method = message.method().unwrap_or(Method::Other);
    let is_asked_who = method == Method::Register || is_watching(core, message, method);
    if is_asked_who {
        let watches = method == Method::Subscribe && watches_all(core, source);
        return watches
            || addressed.as_ref().is_ok_and(|addressed| {
                addressed.account.is_some() && gate(core, arrival, addressed) != Gate::Closed
            });
    }
    let uri = message.request_uri().and_then(|uri| Uri::parse(uri).ok());
    if uri.is_some_and(|uri| redirect::is_redirected(core, method, &uri)) {
        return is_of_network(core, arrival);
    }
    if knows(core, arrival) {
        return true;
    }
    let sender = sender(core, message).and_then(|(_, _, account)| account);
    sender.is_some_and(|aor| {
        let mut bindings = core.registrar.bindings(aor, arrival.now);
        bindings.any(|(_, binding)| {
            !binding.is_static() && binding.source().ip().to_canonical() == source.to_canonical()
        })
    })
}

/// Says nothing, and closes the connection that it was said over.
#[cold]
pub(super) fn keep(core: &mut Core, arrival: &Arrival<'_>, reason: DropReason) -> Handled {
    core.counters.drop(reason);
    if let Some(link) = arrival.datagram.link {
        core.flows.shut(link.id);
    }
    Handled::Nothing
}

/// Whoever needs no password is never suspended.
fn is_suspended(core: &Core, arrival: &Arrival<'_>, addressed: &Addressed<'_>) -> bool {
    addressed.key.is_some_and(|key| {
        addressed.account.is_some()
            && gate(core, arrival, addressed) == Gate::Digest
            && core.suspensions.standing(key, arrival.datagram.source.ip()) == Standing::Suspended
    })
}

/// Whom From names: the hash, its shard, and the account if it is one of this shard.
fn sender(core: &Core, message: Message<'_>) -> Option<(AorKey, ShardId, Option<AorId>)> {
    let from = message.from().ok()?;
    let (mut buffer, mut renamed) = ([0; AOR_BYTES_MAX], [0; AOR_BYTES_MAX]);
    let (aor, _) = canonical(core, &from.uri, &mut buffer, &mut renamed).ok()?;
    let key = AorKey(core.ownership.hash(aor.text()));
    let account = core.accounts.find(key, aor.text()).map(|account| AorId(account.0));
    Some((key, core.ownership.owner(key.0), account))
}
