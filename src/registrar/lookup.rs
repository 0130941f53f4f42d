//! Where somebody can be reached, in the order to try; and whose a contact or an address is. The
//! first is one AOR's and cheap. The second has no index, since it is asked by people and not by
//! packets: it goes through the table in pages of bounded length.

use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};

use arrayvec::ArrayVec;
use ipnet::IpNet;

use crate::registrar::binding::{Binding, BindingId};
use crate::registrar::location::{AorId, STORED_MAX};
use crate::registrar::names::Instance;
use crate::registrar::register::Registrar;
use crate::registrar::same::has_uri;
use crate::sip::header::contact::QValue;
use crate::sip::uri::Uri;
use crate::time::Now;

/// Which bindings of an AOR a request is for.
#[derive(Clone, Copy, Debug)]
pub enum Whom<'a> {
    /// All of them.
    Aor,
    /// Those of one instance, with its angle brackets: a public GRUU (RFC 5627 4.1).
    Instance(&'a [u8]),
    /// Those of the instance whose temporary GRUUs carry this epoch, if there still is one.
    Epoch(u32),
}

/// Bindings in the order to try.
pub type Targets<'a> = ArrayVec<(BindingId, &'a Binding), STORED_MAX>;

/// What is looked for among all bindings.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Every binding.
    Any,
    /// Bindings of this contact, by RFC 3261 19.1.4.
    Contact(&'a Uri<'a>),
    /// Bindings whose last REGISTER came from this address and port.
    Source(SocketAddr),
    /// Bindings whose last REGISTER came from this address.
    SourceIp(IpAddr),
    /// Bindings whose last REGISTER came from this network. An IPv4 address that stands in an IPv6
    /// one is taken for itself.
    SourceNetwork(IpNet),
}

impl Wanted<'_> {
    /// Whether a binding is.
    #[must_use]
    pub fn matches(&self, binding: &Binding) -> bool {
        match *self {
            Wanted::Any => true,
            Wanted::Contact(uri) => may_have_user(binding, uri) && has_uri(binding, uri),
            // What an account provides came from nowhere.
            Wanted::Source(source) => !binding.is_static() && binding.source() == source,
            Wanted::SourceIp(ip) => !binding.is_static() && binding.source().ip() == ip,
            Wanted::SourceNetwork(network) => {
                !binding.is_static() && network.contains(&binding.source().ip().to_canonical())
            }
        }
    }
}

/// False only if the binding's contact has another user part than `uri`, which needs no look at
/// the rest of it: without escapes, users are the same if their bytes are (RFC 3261 19.1.4).
fn may_have_user(binding: &Binding, uri: &Uri<'_>) -> bool {
    let contact = binding.contact();
    let Some(user) = uri.user.filter(|user| !user.contains(&b'%')) else { return true };
    let Some(colon) = contact.iter().take("sips:".len()).position(|&byte| byte == b':') else {
        return true;
    };
    contact[colon + 1..].starts_with(user) || contact.contains(&b'%')
}

impl Registrar {
    /// Where an AOR can be reached at `now`, the oldest binding first; through its late margin a
    /// binding still can.
    pub fn bindings(&self, aor: AorId, now: Now) -> impl Iterator<Item = (BindingId, &Binding)> {
        self.location().bindings(aor).filter(move |(_, binding)| !binding.is_expired(now.mono))
    }

    /// Where a request for an AOR goes, in the order to try: by q, where none given is 1 (RFC 3261
    /// 16.6 step 5 and 20.10), then the one that was refreshed last; where that is set, whoever
    /// does not answer comes behind all that do. A static contact that is registered as well is
    /// listed once.
    #[must_use]
    pub fn lookup(&self, aor: AorId, now: Now, whom: Whom<'_>) -> Targets<'_> {
        let mut of_epoch = None;
        if let Whom::Epoch(epoch) = whom {
            let found =
                self.bindings(aor, now).find(|(_, b)| b.gruu_epoch() == epoch && epoch != 0);
            of_epoch = found.and_then(|(_, binding)| binding.instance());
            if of_epoch.is_none() {
                return Targets::new();
            }
        }
        let instance = match whom {
            Whom::Aor => None,
            Whom::Instance(instance) => Some(Instance::Text(instance)),
            Whom::Epoch(_) => of_epoch,
        };
        let is_meant = |binding: &Binding| {
            instance.is_none_or(|wanted| {
                binding.instance().is_some_and(|instance| instance.is_same(wanted))
            })
        };
        let is_registered = |provided: &Binding| {
            let mut others = self.bindings(aor, now).filter(|(_, other)| !other.is_static());
            others.any(|(_, other)| other.contact() == provided.contact())
        };
        let mut targets: Targets<'_> = self
            .bindings(aor, now)
            .filter(|(_, b)| is_meant(b) && !(b.is_static() && is_registered(b)))
            .collect();
        // The order they came is turned round first, and a stable sort keeps it among equals.
        targets.reverse();
        targets.sort_by_key(|(_, binding)| {
            let is_last = self.is_put_last(binding);
            Reverse((!is_last, binding.q().unwrap_or(QValue(1000)), binding.refreshed_at()))
        });
        targets
    }

    /// Lists whoever is known not to answer behind all others, or does not.
    pub fn put_unreachable_last(&mut self, is_set: bool) {
        self.unreachable_last = is_set;
    }

    /// Whether a binding is listed behind those that answer.
    #[must_use]
    pub fn is_put_last(&self, binding: &Binding) -> bool {
        self.unreachable_last && !binding.is_reachable()
    }

    /// One page of all bindings that are `wanted`, from slot `from` on: those in up to `slots`
    /// slots, and the slot the next page begins with, if there is one. A first page begins at 0.
    /// What comes or goes between two pages may be missed; nothing is given twice under one name.
    pub fn find<'a>(
        &'a self,
        now: Now,
        wanted: Wanted<'a>,
        from: u32,
        slots: usize,
    ) -> (impl Iterator<Item = (BindingId, &'a Binding)>, Option<u32>) {
        let (page, next) = self.location().scan(from, slots);
        let page = page
            .filter(move |(_, binding)| !binding.is_expired(now.mono) && wanted.matches(binding));
        (page, next)
    }
}
