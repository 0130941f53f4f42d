//! GRUUs (RFC 5627): URIs that lead to one instance of an address-of-record. The public one says
//! which (`sip:u@example.com;gr=urn:uuid:...`); a temporary one says nothing to anybody but us
//! (`sip:tgruu.<token>@example.com;gr`).
//!
//! A temporary GRUU is minted with each REGISTER, and all of them hold while the instance stays
//! registered under its Call-ID (RFC 5627 3.1.2). Nothing is kept of them: a token names the AOR
//! and an epoch, and the bindings of the instance carry the epoch that holds. The epoch changes
//! with the Call-ID and dies with the last binding of the instance.

use arrayvec::ArrayVec;

use crate::limits::{GRUU_BYTES_MAX, INSTANCE_BYTES_MAX};
use crate::registrar::location::AorId;
use crate::registrar::token::{Purpose, TokenError, TokenKeys, text_len};
use crate::sip::uri::{Scheme, Uri};

/// A GRUU as text.
pub type GruuText = ArrayVec<u8, GRUU_BYTES_MAX>;
/// An instance with its angle brackets.
pub type InstanceText = ArrayVec<u8, INSTANCE_BYTES_MAX>;

const PAYLOAD_BYTES: usize = 16;
const TOKEN_BYTES: usize = text_len(PAYLOAD_BYTES);
const PREFIX: &[u8] = b"tgruu.";

/// What a temporary GRUU is made from. Each REGISTER that asks for GRUUs is given another one; its
/// retransmissions are given the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mint {
    pub(super) aor: AorId,
    pub(super) epoch: u32,
    pub(super) salt: u64,
}

/// What a temporary GRUU leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Temporary {
    /// The shard that minted it, and alone can resolve it.
    pub shard: u8,
    /// Whose it is.
    pub aor: AorId,
    /// What the bindings it leads to carry ([`Binding::gruu_epoch`](super::Binding::gruu_epoch)).
    pub epoch: u32,
}

/// A request-URI that is a GRUU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gruu<'a> {
    /// The URI without its parameters is the AOR, and this is the instance.
    Public(InstanceText),
    /// What stands between the prefix and the `@`.
    Temporary(&'a [u8]),
}

fn put(out: &mut GruuText, text: &[u8]) -> Option<()> {
    out.try_extend_from_slice(text).ok()
}

fn put_scheme(out: &mut GruuText, secure: bool) -> Option<()> {
    out.clear();
    put(out, if secure { b"sips:" } else { b"sip:" })
}

/// Writes the public GRUU of an instance; `aor` is canonical, `user@host`, and `secure` says that
/// its contact is a SIPS URI. `None` if it is too long for any buffer: no GRUU then.
#[must_use]
pub fn write_public(aor: &[u8], secure: bool, instance: &[u8], out: &mut GruuText) -> Option<()> {
    put_scheme(out, secure)?;
    put(out, aor)?;
    put(out, b";gr=")?;
    let urn = instance.strip_prefix(b"<").and_then(|urn| urn.strip_suffix(b">"));
    for &byte in urn.unwrap_or(instance) {
        if stands_in_a_parameter(byte) {
            out.try_push(byte).ok()?;
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            put(out, &[b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]])?;
        }
    }
    Some(())
}

/// RFC 3261 25.1 `paramchar` without escapes.
fn stands_in_a_parameter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()[]/:&+$".contains(&byte)
}

impl Mint {
    /// Writes the temporary GRUU; `shard` is the one that minted it, `domain` the AOR's. `None` if
    /// the domain is too long for any buffer.
    #[must_use]
    pub fn write_to(
        &self,
        keys: &TokenKeys,
        shard: u8,
        domain: &[u8],
        secure: bool,
        out: &mut GruuText,
    ) -> Option<()> {
        let mut payload = [0; PAYLOAD_BYTES];
        payload[..8].copy_from_slice(&self.salt.to_le_bytes());
        payload[7] = shard;
        payload[8..12].copy_from_slice(&self.aor.0.to_le_bytes());
        payload[12..].copy_from_slice(&self.epoch.to_le_bytes());
        let mut token = [0; TOKEN_BYTES];
        keys.write(Purpose::TemporaryGruu, payload, &mut token);
        put_scheme(out, secure)?;
        for part in [PREFIX, &token, b"@", domain, b";gr"] {
            put(out, part)?;
        }
        Some(())
    }
}

impl Temporary {
    /// Reads the token of a temporary GRUU. Whether it still holds the bindings of its AOR say.
    ///
    /// # Errors
    /// It was not minted with these keys: 404, as for any URI that names nobody.
    pub fn read(keys: &TokenKeys, token: &[u8]) -> Result<Temporary, TokenError> {
        let payload: [u8; PAYLOAD_BYTES] = keys.read(Purpose::TemporaryGruu, token)?;
        let word = |at: usize| {
            let mut word = [0; 4];
            word.copy_from_slice(&payload[at..at + 4]);
            u32::from_le_bytes(word)
        };
        Ok(Temporary { shard: payload[7], aor: AorId(word(8)), epoch: word(12) })
    }
}

impl<'a> Gruu<'a> {
    /// What kind of GRUU a URI is: `gr` with a value is a public one, without one a temporary one
    /// (RFC 5627 4.1). `None`: it is none, or none of ours.
    #[must_use]
    pub fn of(uri: &Uri<'a>) -> Option<Gruu<'a>> {
        if !matches!(uri.scheme, Scheme::Sip | Scheme::Sips) {
            return None;
        }
        match uri.param(b"gr")? {
            b"" => uri.user?.strip_prefix(PREFIX).map(Gruu::Temporary),
            escaped => unescaped(escaped).map(Gruu::Public),
        }
    }
}

fn unescaped(text: &[u8]) -> Option<InstanceText> {
    let mut out = InstanceText::new();
    out.push(b'<');
    let mut rest = text.iter();
    while let Some(&byte) = rest.next() {
        let byte = if byte == b'%' {
            let mut digit = || rest.next().and_then(|&digit| char::from(digit).to_digit(16));
            (digit()? << 4 | digit()?) as u8
        } else {
            byte
        };
        out.try_push(byte).ok()?;
    }
    out.try_push(b'>').ok()?;
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINT: Mint = Mint { aor: AorId(0x0102_0304), epoch: 77, salt: u64::MAX };

    fn keys() -> TokenKeys {
        TokenKeys::new([9; 32])
    }

    fn temporary(mint: Mint) -> String {
        let mut out = GruuText::new();
        mint.write_to(&keys(), 3, b"example.com", false, &mut out).unwrap();
        String::from_utf8(out.to_vec()).unwrap()
    }

    #[test]
    fn a_public_gruu_is_the_aor_with_the_instance() {
        let mut out = GruuText::new();
        let instance = b"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>";
        write_public(b"callee@example.com", true, instance, &mut out).unwrap();
        let expected = b"sips:callee@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6";
        assert_eq!(&out[..], &expected[..]);
        let uri = Uri::parse(&out).unwrap();
        assert_eq!(Gruu::of(&uri), Some(Gruu::Public(instance[..].try_into().unwrap())));
    }

    #[test]
    fn a_temporary_gruu_leads_back_and_shows_nothing() {
        let text = temporary(MINT);
        let uri = Uri::parse(text.as_bytes()).unwrap();
        let Some(Gruu::Temporary(token)) = Gruu::of(&uri) else { panic!("{text}") };
        let expected = Temporary { shard: 3, aor: MINT.aor, epoch: 77 };
        assert_eq!(Temporary::read(&keys(), token), Ok(expected));
        let forged = Temporary::read(&TokenKeys::new([8; 32]), token);
        assert_eq!(forged, Err(TokenError::Forged));
        // Two of one instance have nothing in common but the frame around their tokens.
        let other = temporary(Mint { salt: 5, ..MINT });
        let equal = text.bytes().zip(other.bytes()).filter(|(a, b)| a == b).count();
        assert!(equal <= text.len() - TOKEN_BYTES + TOKEN_BYTES / 4, "{text} {other}");
        assert_eq!(temporary(MINT), text, "a retransmission is given the same");
    }

    #[test]
    fn other_uris_are_no_gruus() {
        for text in ["sip:u@h", "sip:u@h;gr", "sip:h;gr", "tel:+1;gr", "sip:tgruu@h;gr"] {
            assert_eq!(Gruu::of(&Uri::parse(text.as_bytes()).unwrap()), None, "{text}");
        }
        let long = format!("sip:u@h;gr={}", "a".repeat(INSTANCE_BYTES_MAX));
        assert_eq!(Gruu::of(&Uri::parse(long.as_bytes()).unwrap()), None);
    }

    #[test]
    fn what_is_too_long_is_given_none() {
        let mut out = GruuText::new();
        assert_eq!(write_public(&[b'a'; GRUU_BYTES_MAX], false, b"<urn:x:y>", &mut out), None);
        let domain = [b'a'; GRUU_BYTES_MAX];
        assert_eq!(MINT.write_to(&keys(), 0, &domain, false, &mut out), None);
    }

    proptest! {
        #[test]
        fn every_instance_comes_back_from_its_public_gruu(
            urn in proptest::collection::vec(any::<u8>(), 1..=INSTANCE_BYTES_MAX - 2),
        ) {
            let instance = [b"<", &urn[..], b">"].concat();
            let mut out = GruuText::new();
            write_public(b"u@example.com", false, &instance, &mut out).unwrap();
            let uri = Uri::parse(&out).unwrap();
            prop_assert_eq!(Gruu::of(&uri), Some(Gruu::Public(instance[..].try_into().unwrap())));
        }
    }
}
