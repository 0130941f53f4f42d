//! What a REGISTER shows of the way to its phone: whether that is behind NAT, whether its address
//! is proven, and who keeps its pinhole open. The signs are [`nat`](crate::nat)'s; what an account
//! or a network says of its phones counts before them, in that order.

use crate::config::{AccountPolicy, NatOverride};
use crate::flow::Transport;
use crate::limits::REGISTER_VIAS_MAX;
use crate::nat::silence::silence_max_s;
use crate::nat::{Claims, Keepalive, Signs};
use crate::shard::core::Core;
use crate::shard::counters::Counters;
use crate::shard::negotiate::Negotiated;
use crate::shard::request::{Arrival, Request};
use crate::sip::HeaderName;
use crate::sip::header::contact::Contact;
use crate::sip::header::via::{self, Keep};

/// The way to a phone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Way {
    /// It leads through a NAT.
    pub behind_nat: bool,
    /// The source has shown that it receives what is sent there: an address that has not is never
    /// sent what its owner did not ask for.
    pub proven: bool,
    /// Who keeps it open.
    pub keepalive: Keepalive,
    /// How often a phone that pings is to do so, seconds; 0 leaves the time to it.
    pub flow_timer_s: u32,
    /// It is asked to (RFC 6223 4.4), with what it registers.
    pub asks_keep: bool,
    /// A Contact names no address, so that only the source is left.
    unspecified_contact: bool,
    /// It would be kept open if the source were proven.
    unproven: bool,
}

impl Way {
    /// How long a phone that pings may be silent on its connection, seconds; 0: as long as any.
    pub fn silence_max_s(&self) -> u32 {
        match self.keepalive == Keepalive::Theirs && self.flow_timer_s > 0 {
            true => silence_max_s(self.flow_timer_s),
            false => 0,
        }
    }

    /// Counts what was seen.
    #[inline]
    pub fn count(&self, counters: &mut Counters) {
        counters.behind_nat += u64::from(self.behind_nat);
        counters.contact_unspecified += u64::from(self.unspecified_contact);
        counters.keepalive_unproven += u64::from(self.unproven);
    }
}

/// What is known of a REGISTER beside its text.
pub(super) struct Known<'a> {
    /// What holds for its account alone.
    pub policy: Option<&'a AccountPolicy>,
    /// It was let in by a digest over a nonce that was given to its source.
    pub by_digest: bool,
    /// What was agreed on.
    pub agreed: Negotiated,
    /// An edge proxy wrote a Path that is stored.
    pub has_path: bool,
}

/// Looks at a REGISTER with these contacts.
#[inline]
pub(super) fn way_back(
    core: &Core,
    arrival: &Arrival<'_>,
    request: &Request<'_>,
    contacts: &[Contact<'_>],
    known: &Known<'_>,
) -> Way {
    let Request { message, head, .. } = request;
    let datagram = arrival.datagram;
    let transport = datagram.transport();
    let is_direct = head.via.rest.is_empty() && !message.is_repeated(HeaderName::Via);
    let source = datagram.source.ip();
    let said = known.policy.and_then(|policy| policy.nat);
    let said = said.or_else(|| core.networks.say(source, |network| network.nat));
    let said = said.unwrap_or_default();
    let signs = match is_direct {
        true => Signs::of(&Claims {
            source: datagram.source,
            is_datagram: transport == Transport::Udp,
            via: &head.via,
            contacts,
        }),
        false => behind_proxies(request, contacts),
    };
    let behind_nat = match said {
        NatOverride::Auto => signs.is_behind_nat(&core.nat.tests),
        NatOverride::Always => true,
        NatOverride::Never => false,
    };
    let mut way = Way {
        behind_nat,
        proven: known.by_digest || transport.is_connection(),
        keepalive: Keepalive::None,
        flow_timer_s: core.flow_timer_s(transport, behind_nat && is_direct),
        // Asked of the one who sent it here.
        asks_keep: core.extensions.keep && head.via.keep == Keep::Offered,
        unspecified_contact: signs.unspecified_contact,
        unproven: false,
    };
    // What lies behind an edge proxy is the edge's to keep open (RFC 5626 5.1, RFC 3327 5.3).
    if !is_direct || known.has_path || contacts.is_empty() {
        return way;
    }
    let flow_timer = known.agreed.outbound && core.extensions.flow_timer_s > 0;
    let keepalive = if way.asks_keep || flow_timer {
        Keepalive::Theirs
    } else if behind_nat || (is_web(transport) && said != NatOverride::Never) {
        let form = known.policy.and_then(|policy| policy.keepalive);
        Keepalive::of(form.or_else(|| core.networks.say(source, |network| network.keepalive)))
    } else {
        return way;
    };
    if way.proven {
        way.keepalive = keepalive;
    } else {
        way.unproven = keepalive != Keepalive::None;
    }
    way
}

/// Whether a transport is a browser's: such a client never knows its address (RFC 7118 5), so it
/// shows no sign, and its connection is the only way to it.
fn is_web(transport: Transport) -> bool {
    matches!(transport, Transport::Ws | Transport::Wss)
}

/// As the first of the proxies saw it.
#[cold]
fn behind_proxies(request: &Request<'_>, contacts: &[Contact<'_>]) -> Signs {
    let vias = via::all(request.message.all(HeaderName::Via)).take(REGISTER_VIAS_MAX);
    match vias.last().flatten() {
        Some(lowest) => Signs::through_proxies(&lowest, contacts),
        None => Signs::default(),
    }
}

impl Core {
    /// How often a phone that pings is to do so, seconds; 0 leaves the time to it. Over UDP a NAT
    /// forgets as fast as our own keepalives reckon with (RFC 5626 4.4.2), whatever is enough for a
    /// connection.
    pub fn flow_timer_s(&self, transport: Transport, behind_nat: bool) -> u32 {
        let configured = self.extensions.flow_timer_s;
        match behind_nat && transport == Transport::Udp {
            true => configured.min(self.nat.pace.period_s),
            false => configured,
        }
    }
}
