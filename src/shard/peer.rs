//! Who the TLS client at the other end of a connection is, by the certificate it has proved
//! (RFC 5922 7): accounts and domains.

use crate::limits::PEER_BYTES_MAX;

/// The identities of a client's certificate, none of them empty: canonical `user@domain` or lower
/// case `domain`, one a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer<'a>(&'a [u8]);

impl<'a> Peer<'a> {
    /// What stands between two identities.
    pub const SEPARATOR: u8 = b'\n';

    /// The identities written in `text`.
    ///
    /// # Panics
    /// If it is longer than [`PEER_BYTES_MAX`].
    #[must_use]
    pub fn new(text: &'a [u8]) -> Peer<'a> {
        assert!(text.len() <= PEER_BYTES_MAX, "identities of {} bytes", text.len());
        Peer(text)
    }

    /// As they are written.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.0
    }

    /// The identities one by one.
    pub fn identities(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        self.0.split(|&byte| byte == Peer::SEPARATOR).filter(|identity| !identity.is_empty())
    }

    /// Whether this very identity is among them.
    #[must_use]
    pub fn has(&self, identity: &[u8]) -> bool {
        self.identities().any(|own| own == identity)
    }

    /// Whether the certificate vouches for an account, by its canonical AOR: it names the account
    /// itself (RFC 5922 7.1). A domain alone names a server of it, not one of its users.
    #[must_use]
    pub fn is_account(&self, aor: &[u8]) -> bool {
        aor.contains(&b'@') && self.has(aor)
    }

    /// Whether it names a domain as its own.
    #[must_use]
    pub fn is_domain(&self, domain: &[u8]) -> bool {
        !domain.contains(&b'@') && self.has(domain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_vouched_for_by_its_name_and_not_by_its_domain() {
        let peer = Peer::new(b"alice@example.com\nexample.org");
        assert_eq!(peer.identities().count(), 2);
        assert!(peer.is_account(b"alice@example.com"));
        assert!(!peer.is_account(b"bob@example.org"));
        assert!(!peer.is_account(b"example.org"));
        assert!(peer.is_domain(b"example.org"));
        assert!(!peer.is_domain(b"example.com"));
        assert!(!peer.is_domain(b"alice@example.com"));
    }

    #[test]
    fn nobody_is_nobody() {
        let nobody = Peer::new(b"");
        assert_eq!(nobody.identities().count(), 0);
        assert!(!nobody.is_account(b"") && !nobody.is_domain(b""));
    }
}
