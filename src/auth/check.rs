//! The verdict over one set of Digest credentials.
//!
//! What is decided where the RFCs leave a choice:
//! - The digest-uri need not be the Request-URI (RFC 7616 3.4.6 wants both to mean one resource):
//!   phones send the domain, the AOR, the proxy's address or the Contact there, and other
//!   registrars take them all. It enters the digest as it stood; method and nonce count bind the
//!   credentials to their request.
//! - Every challenge offers qop, yet MD5 credentials without it are taken from RFC 2069 phones.
//!   Their nonce is good once, as count 1. SHA-256 came after qop and is not taken without.
//! - Where the nonce is foreign, no password is looked at: the answer is a challenge with
//!   `stale=true` whatever the digest. RFC 7616 3.3 would have it only where the digest is right;
//!   then anybody could ask about any password, with nonces of his own making, and never fail.
//! - Whether an account exists shows in nothing: the same hashes are computed and the same is
//!   answered. Whose account it is (`username` against the AOR) is decided from the message alone.
//!
//! What is answered, and who is suspended after how many failures, is the caller's.

use crate::auth::accounts::{AccountId, Accounts};
use crate::auth::claim::{Answered, Claim};
use crate::auth::counts::Counted;
use crate::auth::digest::{Digest, HashName};
use crate::auth::ha2::Ha2Cache;
use crate::auth::malformed::{Malformed, malformed, proof};
use crate::auth::nonce::Judged;
use crate::auth::username::form_of;
use crate::config::Algorithms;
use crate::sip::header::authorization::Credentials;
use crate::sip::scan::unescaped_eq;
use crate::time::UnixTime;

/// One set of credentials and what they are held against.
#[derive(Clone, Copy, Debug)]
pub struct Check<'a> {
    /// As they stood in the request.
    pub credentials: &'a Credentials<'a>,
    /// Method of the request, as it stood.
    pub method: &'a [u8],
    /// Canonical address-of-record they must own: To of a REGISTER.
    pub aor: &'a [u8],
    /// Realm of the challenges: the domain.
    pub realm: &'a [u8],
    /// What the domain's challenges offer.
    pub offered: Algorithms,
    /// What the nonce of the credentials is worth ([`NonceKeys::judge`]), to the source of this
    /// request.
    ///
    /// [`NonceKeys::judge`]: crate::auth::nonce::NonceKeys::judge
    pub nonce: Judged,
    /// Age at which a nonce is old, seconds; the same that it was judged with.
    pub nonce_lifetime_s: u32,
    /// Limit of bindings of accounts that have none of their own.
    pub bindings_max: u8,
    /// Now.
    pub now: UnixTime,
}

/// What credentials are worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right, and not used before. The nonce count has moved.
    Accepted,
    /// Right, but their nonce count has been used: a retransmission if the request is known,
    /// otherwise challenged with `stale=true`.
    Replayed,
    /// Right, but the nonce is old or forgotten; or not looked at, because the nonce is not ours or
    /// another source's: challenged with `stale=true`.
    Stale,
    /// The digest is wrong, and the nonce was given to this very source, so it is this source that
    /// does not know the password: a failure, challenged anew.
    Wrong,
    /// There is no such account. To be counted and answered exactly as [`Verdict::Wrong`].
    UnknownAccount,
    /// The username names another account than the AOR: 403.
    AccountMismatch,
    /// For another realm: to be treated as if they were not there.
    OtherRealm,
    /// The algorithm is none that was offered: challenged anew, no failure.
    AlgorithmNotOffered,
    /// Not credentials that can be checked: 400.
    Malformed(Malformed),
}

impl Verdict {
    /// Whether the challenge that follows says `stale=true`.
    #[must_use]
    pub fn is_stale(self) -> bool {
        matches!(self, Verdict::Replayed | Verdict::Stale)
    }
}

/// Checks credentials. `account` is the account of the AOR, if there is one; its nonce counts move
/// only where the verdict is [`Verdict::Accepted`].
pub fn authenticate(
    check: &Check<'_>,
    accounts: &mut Accounts,
    account: Option<AccountId>,
    ha2s: &mut Ha2Cache,
) -> Verdict {
    match claim(check, accounts, account) {
        Ok(claim) => conclude(check, accounts, account, claim.answer(ha2s)),
        Err(verdict) => verdict,
    }
}

/// What of [`authenticate`] comes before the digest. It changes nothing, and so may be asked ahead
/// for all credentials of a batch.
///
/// # Errors
/// The verdict, where no digest is looked at.
#[inline]
pub fn claim<'a>(
    check: &Check<'a>,
    accounts: &Accounts,
    account: Option<AccountId>,
) -> Result<Claim<'a>, Verdict> {
    let credentials = check.credentials;
    if !unescaped_eq(credentials.realm, check.realm) {
        return Err(Verdict::OtherRealm);
    }
    if let Some(malformed) = malformed(credentials) {
        return Err(Verdict::Malformed(malformed));
    }
    let Some(form) = form_of(credentials.username, check.aor) else {
        return Err(Verdict::AccountMismatch);
    };
    let name = match HashName::of(credentials.algorithm) {
        Some(HashName::Md5) if check.offered.md5 => HashName::Md5,
        Some(HashName::Sha256) if check.offered.sha256 => HashName::Sha256,
        _ => return Err(Verdict::AlgorithmNotOffered),
    };
    let (qop, nc) = proof(credentials, name).map_err(Verdict::Malformed)?;
    if check.nonce == Judged::Foreign {
        return Err(Verdict::Stale);
    }

    // An account that is not there, or has no secret for this algorithm, costs the same hashes.
    // Nobody's digest over the stand-in is ever right: `known` decides together with it.
    let ha1 = account.and_then(|id| accounts.ha1(id, name, form));
    let &Credentials { uri, nonce, response, .. } = credentials;
    Ok(Claim {
        ha1: ha1.unwrap_or_else(|| stand_in(name)),
        known: ha1.is_some(),
        method: check.method,
        uri,
        nonce,
        qop,
        nc,
        response,
    })
}

/// What of [`authenticate`] comes after the digest.
#[inline]
pub fn conclude(
    check: &Check<'_>,
    accounts: &mut Accounts,
    account: Option<AccountId>,
    Answered { right, nc }: Answered,
) -> Verdict {
    let Some(id) = account else { return Verdict::UnknownAccount };
    if !right {
        return Verdict::Wrong;
    }
    let Judged::Fresh { id: nonce, .. } = check.nonce else { return Verdict::Stale };
    let counted =
        accounts[id].count(nonce, nc, check.now, check.nonce_lifetime_s, check.bindings_max);
    match counted {
        Counted::New => Verdict::Accepted,
        Counted::Replayed => Verdict::Replayed,
        Counted::Forgotten => Verdict::Stale,
    }
}

fn stand_in(name: HashName) -> Digest {
    match name {
        HashName::Md5 => Digest::md5(&[0x5a; 16]),
        HashName::Sha256 => Digest::sha256(&[0x5a; 32]),
    }
}

#[cfg(test)]
mod tests;
