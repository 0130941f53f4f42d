//! What tells one transaction from another: a keyed hash of the request's own identifiers.

use std::hash::Hasher;

use siphasher::sip128::{Hasher128, SipHasher13};

use crate::sip::RequestHead;

/// Length of a To tag, bytes.
pub const TO_TAG_BYTES: usize = 16;

/// Derived from the identifiers of a request: a retransmission has the same, nothing else has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Never 0.
    pub fingerprint: u64,
    /// RFC 3261 8.2.6.2 wants a tag in To, 19.3 wants at least 32 random bits in it, and a
    /// stateless server must give a retransmission the same one (8.2.7): so it is a keyed hash.
    pub to_tag: [u8; TO_TAG_BYTES],
}

impl Identity {
    /// The identity of a request.
    #[inline]
    #[must_use]
    pub fn of(head: &RequestHead<'_>, key: &[u8; 16]) -> Identity {
        Identity::from_parts(
            key,
            head.call_id,
            head.cseq.number,
            head.via.branch.unwrap_or_default(),
            head.from.tag.unwrap_or_default(),
        )
    }

    /// Of a request too faulty to be read: the bytes of the message stand for its identifiers.
    #[cold]
    #[must_use]
    pub fn of_bytes(bytes: &[u8], key: &[u8; 16]) -> Identity {
        Identity::from_parts(key, bytes, 0, b"", b"")
    }

    #[inline]
    fn from_parts(key: &[u8; 16], call_id: &[u8], cseq: u32, branch: &[u8], tag: &[u8]) -> Self {
        let mut hasher = SipHasher13::new_with_key(key);
        // The lengths keep one field from running into the next.
        hasher
            .write_u64(call_id.len() as u64 ^ (branch.len() as u64) << 20 ^ u64::from(cseq) << 32);
        hasher.write_u64(tag.len() as u64 ^ (branch.len() as u64) << 32);
        hasher.write(call_id);
        hasher.write(branch);
        hasher.write(tag);
        let hash = hasher.finish128();
        Identity { fingerprint: hash.h1.max(1), to_tag: hex(hash.h2) }
    }
}

#[inline]
fn hex(number: u64) -> [u8; TO_TAG_BYTES] {
    let mut text = [0; TO_TAG_BYTES];
    for (pair, byte) in text.chunks_exact_mut(2).zip(number.to_be_bytes()) {
        pair[0] = b"0123456789abcdef"[usize::from(byte >> 4)];
        pair[1] = b"0123456789abcdef"[usize::from(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_identifier_counts_and_none_runs_into_the_next() {
        let base: (&[u8], u32, &[u8], &[u8]) = (b"call", 7, b"branch", b"tag");
        let of = |key: u8, (call_id, cseq, branch, tag): (&[u8], u32, &[u8], &[u8])| {
            Identity::from_parts(&[key; 16], call_id, cseq, branch, tag)
        };
        let one = of(1, base);
        assert_eq!(one, of(1, base));
        let others = [
            of(2, base),
            of(1, (b"call2", 7, b"branch", b"tag")),
            of(1, (b"call", 8, b"branch", b"tag")),
            of(1, (b"call", 7, b"branc", b"htag")),
            of(1, (b"callb", 7, b"ranch", b"tag")),
            of(1, (b"call", 7, b"branch", b"")),
            Identity::of_bytes(b"call", &[1; 16]),
        ];
        for other in others {
            assert_ne!(one.fingerprint, other.fingerprint);
            assert_ne!(one.to_tag, other.to_tag);
        }
        assert!(one.to_tag.iter().all(u8::is_ascii_hexdigit));
    }

    #[test]
    fn hex_is_big_endian_with_leading_zeros() {
        assert_eq!(&hex(0x0123_4567_89ab_cdef), b"0123456789abcdef");
        assert_eq!(&hex(1), b"0000000000000001");
    }
}
