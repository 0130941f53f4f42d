//! The name under which an OPTIONS of ours travels: the branch of its Via (RFC 3261 8.1.1.7). It
//! says which shard sent it, to whom and which one it was, and carries a keyed hash of that, so
//! that nobody can answer a request that he has not seen.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::sip::hex;

/// Who is asked: a slot of the shard's table of bindings, and which of its tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    /// Number of the slot.
    pub index: u32,
    /// Which tenant of the slot; never 0.
    pub generation: u32,
}

/// What an OPTIONS is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// To learn whether the endpoint is there: it is sent again until it is answered or given up.
    Probe,
    /// To keep a pinhole open: nobody waits for the answer.
    Keepalive,
}

/// Which OPTIONS, as it can be read from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Branch {
    /// What it is for.
    pub purpose: Purpose,
    /// Number of the shard that sent it, and that its answer must be given to.
    pub shard: u8,
    /// The slot that was asked.
    pub index: u32,
    /// Which OPTIONS to it; the CSeq number too.
    pub number: u32,
    /// What proves that it is one of ours.
    pub tag: u64,
}

/// What the branch of a probe begins with.
pub const PROBE_PREFIX: &[u8] = b"z9hG4bK-op-";
/// What the branch of a keepalive begins with.
pub const KEEPALIVE_PREFIX: &[u8] = b"z9hG4bK-ka-";
const PREFIX_BYTES: usize = PROBE_PREFIX.len();
const SHARD_DIGITS: usize = 2;
const WORD_DIGITS: usize = 8;
/// Length of a tag as text, bytes.
pub const TAG_BYTES: usize = 16;
/// Length of a branch as text, bytes.
pub const BRANCH_BYTES: usize = PREFIX_BYTES + SHARD_DIGITS + 2 * WORD_DIGITS + TAG_BYTES;

const _: () = assert!(PROBE_PREFIX.len() == KEEPALIVE_PREFIX.len());

/// The largest CSeq number (RFC 3261 8.1.1.5).
pub const NUMBER_MAX: u32 = (1 << 31) - 1;

impl Branch {
    /// Reads the branch of a response's top Via. `None`: not of an OPTIONS of ours.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Branch> {
        let (prefix, rest) = text.split_at_checked(PREFIX_BYTES)?;
        let purpose = match prefix {
            PROBE_PREFIX => Purpose::Probe,
            KEEPALIVE_PREFIX => Purpose::Keepalive,
            _ => return None,
        };
        let (shard, rest) = rest.split_at_checked(SHARD_DIGITS)?;
        let (index, rest) = rest.split_at_checked(WORD_DIGITS)?;
        let (number, tag) = rest.split_at_checked(WORD_DIGITS)?;
        if tag.len() != TAG_BYTES {
            return None;
        }
        Some(Branch {
            purpose,
            shard: hex::parse(shard)? as u8,
            index: hex::parse(index)? as u32,
            number: hex::parse(number)? as u32,
            tag: hex::parse(tag)?,
        })
    }

    /// As it stands in Via.
    #[must_use]
    pub fn text(&self) -> [u8; BRANCH_BYTES] {
        let mut text = [0; BRANCH_BYTES];
        let (prefix, rest) = text.split_at_mut(PREFIX_BYTES);
        let (shard, rest) = rest.split_at_mut(SHARD_DIGITS);
        let (index, rest) = rest.split_at_mut(WORD_DIGITS);
        let (number, tag) = rest.split_at_mut(WORD_DIGITS);
        prefix.copy_from_slice(match self.purpose {
            Purpose::Probe => PROBE_PREFIX,
            Purpose::Keepalive => KEEPALIVE_PREFIX,
        });
        hex::put(shard, self.shard.into());
        hex::put(index, self.index.into());
        hex::put(number, self.number.into());
        hex::put(tag, self.tag);
        text
    }

    /// Its tag as text: what From and Call-ID of the OPTIONS are made of.
    #[must_use]
    pub fn tag_text(&self) -> [u8; TAG_BYTES] {
        let mut text = [0; TAG_BYTES];
        hex::put(&mut text, self.tag);
        text
    }
}

/// The key of the tags of one shard.
#[derive(Clone)]
pub struct ProbeKey {
    shard: u8,
    key: [u8; 16],
}

impl ProbeKey {
    /// Derived from a `secret` of the process, which serves other ends as well.
    #[must_use]
    pub fn new(secret: &[u8; 16], shard: u8) -> ProbeKey {
        let mut key = [0; 16];
        for (number, half) in (0..).zip(key.chunks_exact_mut(8)) {
            let mut hasher = SipHasher24::new_with_key(secret);
            hasher.write(b"OPTIONS of our own");
            hasher.write_u8(number);
            half.copy_from_slice(&hasher.finish().to_le_bytes());
        }
        ProbeKey { shard, key }
    }

    /// The branch of an OPTIONS.
    #[must_use]
    pub fn branch(&self, purpose: Purpose, endpoint: Endpoint, number: u32) -> Branch {
        let Endpoint { index, generation } = endpoint;
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write_u8(purpose as u8);
        hasher.write_u8(self.shard);
        hasher.write_u32(index);
        hasher.write_u32(generation);
        hasher.write_u32(number);
        Branch { purpose, shard: self.shard, index, number, tag: hasher.finish() }
    }

    /// Whether a branch is one that was made here for this endpoint.
    #[must_use]
    pub fn made(&self, branch: &Branch, endpoint: Endpoint) -> bool {
        self.branch(branch.purpose, endpoint, branch.number) == *branch
    }
}

impl std::fmt::Debug for ProbeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProbeKey").field("shard", &self.shard).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ENDPOINT: Endpoint = Endpoint { index: 9, generation: 3 };

    #[test]
    fn other_branches_are_not_ours() {
        let branch =
            Branch { purpose: Purpose::Probe, shard: 127, index: 10, number: 11, tag: 0xab };
        let text = branch.text();
        assert_eq!(&text, b"z9hG4bK-op-7f0000000a0000000b00000000000000ab");
        for at in 0..text.len() {
            let mut other = text;
            other[at] = b'~';
            assert_eq!(Branch::parse(&other), None, "{at}");
            assert_eq!(Branch::parse(&text[..at]), None, "{at}");
        }
        assert_eq!(Branch::parse(&[&text[..], b"0"].concat()), None);
        assert_eq!(Branch::parse(b"z9hG4bK-re-7f00000000000000ab00000001"), None);
    }

    #[test]
    fn a_tag_holds_for_one_request_to_one_tenant_and_one_key() {
        let key = ProbeKey::new(&[1; 16], 2);
        let branch = key.branch(Purpose::Probe, ENDPOINT, 7);
        assert!(key.made(&branch, ENDPOINT));
        let others = [
            (Branch { number: 8, ..branch }, ENDPOINT),
            (Branch { tag: branch.tag ^ 1, ..branch }, ENDPOINT),
            (Branch { purpose: Purpose::Keepalive, ..branch }, ENDPOINT),
            (Branch { index: 8, ..branch }, Endpoint { index: 8, ..ENDPOINT }),
            (branch, Endpoint { generation: 5, ..ENDPOINT }),
        ];
        for (other, endpoint) in others {
            assert!(!key.made(&other, endpoint), "{other:?}");
        }
        assert!(!ProbeKey::new(&[1; 16], 3).made(&branch, ENDPOINT));
        assert!(!ProbeKey::new(&[2; 16], 2).made(&branch, ENDPOINT));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            keepalive: bool, shard: u8, index: u32, number: u32, tag: u64,
        ) {
            let purpose = if keepalive { Purpose::Keepalive } else { Purpose::Probe };
            let branch = Branch { purpose, shard, index, number, tag };
            prop_assert_eq!(Branch::parse(&branch.text()), Some(branch));
        }
    }
}
