//! One account as its shard keeps it, and the secrets an account is made from. The table that
//! holds accounts, their names and the rarer secrets is [`accounts`](crate::auth::accounts).

use std::fmt;

use arrayvec::ArrayVec;

use crate::auth::counts::{self, Counted, Counts};
use crate::auth::digest::{HashName, ha1};
use crate::auth::nonce::NonceId;
use crate::auth::username::{plain_user, split};
use crate::limits::{AOR_BYTES_MAX, BINDINGS_MAX};
use crate::time::UnixTime;

/// HA1 values of one form of username.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Ha1Pair {
    /// For MD5, if the account may use it.
    pub md5: Option<[u8; 16]>,
    /// For SHA-256, if the account may use it.
    pub sha256: Option<[u8; 32]>,
}

/// All HA1 values of an account. The username is hashed into HA1, so each form of it that phones
/// send needs its own.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Ha1s {
    /// With the username `user`.
    pub by_user: Ha1Pair,
    /// With the username `user@domain`. Where one is missing, `by_user` stands in.
    pub by_aor: Ha1Pair,
}

impl Ha1s {
    /// HA1s of a clear password; those for SHA-256 only if asked. `user_at_domain` is a canonical
    /// address-of-record, its domain the realm.
    #[must_use]
    pub fn from_password(user_at_domain: &str, password: &str, with_sha256: bool) -> Ha1s {
        let aor = user_at_domain.as_bytes();
        let (user, domain) = split(aor).unwrap_or((aor, b""));
        // Phones send the plain name, also where a URI has to escape it.
        let user: ArrayVec<u8, AOR_BYTES_MAX> = plain_user(user).take(AOR_BYTES_MAX).collect();
        let mut whole = user.clone();
        let room = whole.remaining_capacity();
        whole.extend(b"@".iter().chain(domain).copied().take(room));
        let pair = |username: &[u8]| {
            let ha1 = |name| ha1(name, username, domain, password.as_bytes());
            let md5 = ha1(HashName::Md5).as_bytes().try_into().ok();
            let sha256 =
                with_sha256.then(|| ha1(HashName::Sha256).as_bytes().try_into().ok()).flatten();
            Ha1Pair { md5, sha256 }
        };
        Ha1s { by_user: pair(&user), by_aor: pair(&whole) }
    }

    /// Whether there is none at all: such an account can never log in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Ha1s::default()
    }
}

/// Which values are there, never what they are: an HA1 is as good as the password.
impl fmt::Debug for Ha1s {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ha1s")
            .field("md5", &self.by_user.md5.is_some())
            .field("sha256", &self.by_user.sha256.is_some())
            .field("md5_by_aor", &self.by_aor.md5.is_some())
            .field("sha256_by_aor", &self.by_aor.sha256.is_some())
            .finish()
    }
}

/// A secret that is not there.
pub(super) const NONE: u32 = u32::MAX;

/// One account, in one cache line. What most accounts need is here; longer secrets are found by
/// their place in the table.
#[repr(align(64))]
pub struct Account {
    pub(super) ha1_md5: [u8; 16],
    counts: Counts,
    /// Place of the name.
    pub(super) text_at: u32,
    /// Place of the MD5 HA1 of the username `user@domain`, or [`NONE`].
    pub(super) md5_by_aor: u32,
    /// Place of the first SHA-256 HA1, if there is any.
    pub(super) sha256: u32,
    pub(super) text_len: u8,
    pub(super) has_md5: bool,
    pub(super) has_sha256: Sha256Held,
    /// The account's own limit of bindings, 0 where it has none, and [`POLICY`].
    own: u8,
}

/// Set where the table of policies has one for this account.
const POLICY: u8 = 0x80;

const _: () = assert!(BINDINGS_MAX < POLICY as usize);

/// Which SHA-256 HA1s stand at an account's place for them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sha256Held {
    None,
    ByUser,
    ByAor,
    /// That of the user first.
    Both,
}

impl Account {
    /// One without secrets.
    pub(super) fn new(text_at: u32, text_len: u8) -> Account {
        Account {
            ha1_md5: [0; 16],
            counts: Counts::default(),
            text_at,
            md5_by_aor: NONE,
            sha256: NONE,
            text_len,
            has_md5: false,
            has_sha256: Sha256Held::None,
            own: 0,
        }
    }

    /// What stands where no account is.
    pub(super) fn vacant() -> Account {
        Account::new(0, 0)
    }

    /// Whether no account is here: each that is has a name.
    pub(super) fn is_vacant(&self) -> bool {
        self.text_len == 0
    }

    pub(super) fn has_policy(&self) -> bool {
        self.own & POLICY != 0
    }

    pub(super) fn set_policy(&mut self, there: bool) {
        self.own = self.own & !POLICY | if there { POLICY } else { 0 };
    }

    /// The account's own limit of bindings, if it has one.
    #[must_use]
    pub fn bindings_max(&self) -> Option<u8> {
        Some(self.own & !POLICY).filter(|&own| own != 0)
    }

    /// Gives the account a limit of bindings of its own, or takes it away. Zero is none.
    pub fn set_bindings_max(&mut self, bindings_max: Option<u8>) {
        debug_assert!(usize::from(bindings_max.unwrap_or(0)) <= BINDINGS_MAX);
        self.own = self.own & POLICY | bindings_max.unwrap_or(0) & !POLICY;
    }

    /// The nonces it remembers.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Uses a nonce count ([`Counts::count`]); `bindings_max` holds where the account has no limit
    /// of its own.
    pub fn count(
        &mut self,
        id: NonceId,
        nc: u32,
        now: UnixTime,
        lifetime_s: u32,
        bindings_max: u8,
    ) -> Counted {
        let capacity = counts::capacity(self.bindings_max().unwrap_or(bindings_max));
        self.counts.count(id, nc, now, lifetime_s, capacity)
    }
}

const _: () = assert!(size_of::<Account>() == 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ha1_of_a_password_takes_the_domain_as_realm() {
        let ha1s = Ha1s::from_password("Mufasa@testrealm.host.com", "Circle Of Life", true);
        let md5 = ha1(HashName::Md5, b"Mufasa", b"testrealm.host.com", b"Circle Of Life");
        assert_eq!(ha1s.by_user.md5.unwrap(), md5.as_bytes());
        let by_aor = ha1(
            HashName::Sha256,
            b"Mufasa@testrealm.host.com",
            b"testrealm.host.com",
            b"Circle Of Life",
        );
        assert_eq!(ha1s.by_aor.sha256.unwrap(), by_aor.as_bytes());
        let plain = Ha1s::from_password("a@b", "p", false);
        assert_eq!((plain.by_user.sha256, plain.by_aor.sha256), (None, None));
    }

    #[test]
    fn ha1_of_an_escaped_user_takes_the_plain_name() {
        let ha1s = Ha1s::from_password("%231@b", "p", false);
        let by_user = ha1(HashName::Md5, b"#1", b"b", b"p");
        let by_aor = ha1(HashName::Md5, b"#1@b", b"b", b"p");
        assert_eq!(ha1s.by_user.md5.unwrap(), by_user.as_bytes());
        assert_eq!(ha1s.by_aor.md5.unwrap(), by_aor.as_bytes());
    }

    #[test]
    fn debug_output_has_no_secret() {
        let ha1s = Ha1s::from_password("a@b", "p", false);
        assert_eq!(
            format!("{ha1s:?}"),
            "Ha1s { md5: true, sha256: false, md5_by_aor: true, sha256_by_aor: false }"
        );
    }

    #[test]
    fn own_limit_of_bindings_decides_how_many_nonces_are_kept() {
        let now = UnixTime(1_790_000_000);
        let mut account = Account::new(0, 1);
        account.set_bindings_max(Some(5));
        for number in 0..20 {
            account.count(NonceId::first_of(UnixTime(now.0 + number)), 1, now, 3600, 1);
        }
        assert_eq!(account.counts().len(), 10);
        account.set_bindings_max(None);
        assert_eq!(account.bindings_max(), None);
    }
}
