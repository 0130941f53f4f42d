//! Operators' orders about registrations: look at one address-of-record, take bindings out. Each
//! order does a bounded amount of work, so that traffic never waits long behind one. Finding them
//! is `search`'s.
//!
//! An address-of-record is given as an operator writes it. Any shard makes it canonical, with the
//! domains and the settings it obeys at that moment, and says which shard has it: whoever asks
//! need not know them.

use crate::auth::accounts::{AccountId, AorKey};
use crate::limits::{AOR_BYTES_MAX, FIND_TEXT_BYTES_MAX};
use crate::nat::liveness::{self, RoundTrip};
use crate::registrar::{AorError, AorId, Binding, BindingId, LeaveReason, Wanted, Which};
use crate::shard::ShardId;
use crate::shard::batch::{Unaddressed, canonical};
use crate::shard::core::Core;
use crate::sip::uri::Uri;
use crate::time::Now;

/// One binding, as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registration {
    /// Whose: canonical, `user@domain`.
    pub aor: Box<[u8]>,
    /// What its shard calls it.
    pub id: BindingId,
    /// Everything it has.
    pub binding: Binding,
    /// What probes have shown; `None`: it was never probed.
    pub liveness: Option<liveness::State>,
    /// The round trip to it, once one was measured.
    pub round_trip: Option<RoundTrip>,
}

/// An account with the bindings it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Its canonical address-of-record, `user@domain`.
    pub aor: Box<[u8]>,
    /// Its bindings, the oldest first.
    pub registrations: Vec<Registration>,
    /// When that was so.
    pub now: Now,
}

/// Which bindings of an address-of-record are to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// All of them.
    All,
    /// Those of this contact, by RFC 3261 19.1.4.
    Contact(Box<[u8]>),
    /// This one, of that shard.
    Binding(ShardId, BindingId),
}

/// What an operator took out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unregistered {
    /// Whose: canonical, `user@domain`.
    pub aor: Box<[u8]>,
    /// The bindings that left, as they were.
    pub registrations: Vec<Registration>,
    /// Bindings that were chosen and stay, since the account's configuration provides them.
    pub provided: usize,
    /// When that was done.
    pub now: Now,
}

/// Why an address-of-record is not found here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfound {
    /// That shard has it, if anybody.
    Owner(ShardId),
    /// It is no address-of-record.
    Malformed,
    /// Its domain is not served.
    Domain,
    /// There is no such account.
    Account,
}

impl Core {
    /// One account and its bindings.
    pub(super) fn show_registrations(&self, now: Now, aor: &[u8]) -> Result<Shown, Unfound> {
        let account = self.account_of(aor)?;
        let found = self.registrar.bindings(AorId(account.0), now);
        let registrations = found.map(|(id, binding)| self.registration(id, binding)).collect();
        Ok(Shown { aor: self.accounts.aor(account).into(), registrations, now })
    }

    /// Takes bindings of one account out.
    pub(super) fn force_unregister(
        &mut self,
        now: Now,
        aor: &[u8],
        chosen: &Chosen,
    ) -> Result<Unregistered, Unfound> {
        let account = self.account_of(aor)?;
        let contact = match chosen {
            Chosen::Contact(text) => Some(Uri::parse(text)),
            Chosen::All | Chosen::Binding(..) => None,
        };
        let is_chosen = |id: BindingId, binding: &Binding| match (chosen, &contact) {
            (Chosen::Binding(shard, one), _) => *shard == self.id && id == *one,
            (Chosen::Contact(_), Some(Ok(uri))) => Wanted::Contact(uri).matches(binding),
            (Chosen::Contact(_), _) => false,
            (Chosen::All, _) => true,
        };
        let found = self.registrar.bindings(AorId(account.0), now);
        let (provided, leaving): (Vec<_>, Vec<_>) = found
            .filter(|(id, binding)| is_chosen(*id, binding))
            .partition(|(_, binding)| binding.is_static());
        let provided = provided.len();
        let registrations: Vec<Registration> =
            leaving.into_iter().map(|(id, binding)| self.registration(id, binding)).collect();
        for Registration { id, .. } in &registrations {
            self.registrar.unregister(
                AorId(account.0),
                Which::One(*id),
                LeaveReason::ForcedUnregister,
                &mut self.events,
            );
        }
        Ok(Unregistered { aor: self.accounts.aor(account).into(), registrations, provided, now })
    }

    pub(super) fn registration(&self, id: BindingId, binding: &Binding) -> Registration {
        let aor = self.accounts.aor(AccountId(binding.aor().0)).into();
        Registration {
            aor,
            id,
            binding: binding.clone(),
            liveness: self.probing.state(id),
            round_trip: self.probing.round_trip(id),
        }
    }

    /// The account an operator means.
    pub(super) fn account_of(&self, text: &[u8]) -> Result<AccountId, Unfound> {
        let aor = self.own_aor(text)?;
        let key = AorKey(self.ownership.hash(&aor));
        self.accounts.find(key, &aor).ok_or(Unfound::Account)
    }

    /// The canonical address-of-record an operator means, if it would be this shard's; it need not
    /// exist. It is written `sip:user@domain` or `user@domain`; where one domain is served, `user`
    /// too.
    pub(super) fn own_aor(&self, text: &[u8]) -> Result<Box<[u8]>, Unfound> {
        if text.len() > FIND_TEXT_BYTES_MAX {
            return Err(Unfound::Malformed);
        }
        let mut written = Vec::with_capacity(text.len() + "sip:".len());
        if !has_scheme(text) {
            written.extend_from_slice(b"sip:");
        }
        written.extend_from_slice(text);
        if !text.contains(&b'@') {
            let Some(only) = self.domains.only() else { return Err(Unfound::Malformed) };
            written.push(b'@');
            written.extend_from_slice(only.name.as_bytes());
        }
        let uri = Uri::parse(&written).map_err(|_| Unfound::Malformed)?;
        let (mut buffer, mut renamed) = ([0; AOR_BYTES_MAX], [0; AOR_BYTES_MAX]);
        let (aor, _) =
            canonical(self, &uri, &mut buffer, &mut renamed).map_err(|error| match error {
                Unaddressed::Domain => Unfound::Domain,
                // Longer than any account's.
                Unaddressed::Aor(AorError::TooLong) => Unfound::Account,
                Unaddressed::Aor(_) | Unaddressed::To => Unfound::Malformed,
            })?;
        let owner = self.ownership.owner(self.ownership.hash(aor.text()));
        if owner == self.id { Ok(aor.text().into()) } else { Err(Unfound::Owner(owner)) }
    }
}

/// Whether a text begins with `sip:` or `sips:`.
fn has_scheme(text: &[u8]) -> bool {
    [&b"sip:"[..], b"sips:"]
        .iter()
        .any(|scheme| text.get(..scheme.len()).is_some_and(|t| t.eq_ignore_ascii_case(scheme)))
}
