//! Names that travel: the tag that names a subscription to its subscriber, and the branch that
//! names a NOTIFY to whichever shard its answer comes to.

use crate::sip::hex;

/// Length of a local tag as text, bytes.
pub const LOCAL_TAG_BYTES: usize = 16;

/// Our tag of a dialog (RFC 3261 12.1.1): a keyed hash of the SUBSCRIBE that made it, as the To
/// tag of its 200 has it in hex. So a retransmission finds the dialog of the first one, and nobody
/// outside can guess it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LocalTag(pub u64);

impl LocalTag {
    /// Reads 16 digits of lower-case hex; anything else is no tag of ours.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<LocalTag> {
        let digits: &[u8; LOCAL_TAG_BYTES] = text.try_into().ok()?;
        hex::parse(digits).map(LocalTag)
    }

    /// As it stands in a message.
    #[must_use]
    pub fn text(self) -> [u8; LOCAL_TAG_BYTES] {
        let mut text = [0; LOCAL_TAG_BYTES];
        hex::put(&mut text, self.0);
        text
    }
}

/// The magic of RFC 3261 8.1.1.7 and what tells our branches from others'.
pub const PREFIX: &[u8] = b"z9hG4bK-re-";
const SHARD_DIGITS: usize = 2;
const CSEQ_DIGITS: usize = 8;
const BRANCH_BYTES: usize = PREFIX.len() + SHARD_DIGITS + LOCAL_TAG_BYTES + CSEQ_DIGITS;

/// The branch of a NOTIFY (RFC 3261 8.1.1.7): the shard that sent it, the subscription, and which
/// of its NOTIFYs. It is as hard to guess as the tag in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Branch {
    /// Number of the shard that sent it, and that its answer must be given to.
    pub shard: u8,
    /// The subscription.
    pub tag: LocalTag,
    /// CSeq number of the NOTIFY.
    pub cseq: u32,
}

impl Branch {
    /// Reads the branch of a response's top Via. `None`: not one of ours.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Branch> {
        let rest = text.strip_prefix(PREFIX)?;
        let (shard, rest) = rest.split_at_checked(SHARD_DIGITS)?;
        let (tag, cseq) = rest.split_at_checked(LOCAL_TAG_BYTES)?;
        if cseq.len() != CSEQ_DIGITS {
            return None;
        }
        Some(Branch {
            shard: hex::parse(shard)? as u8,
            tag: LocalTag::parse(tag)?,
            cseq: hex::parse(cseq)? as u32,
        })
    }

    /// As it stands in Via.
    #[must_use]
    pub fn text(self) -> [u8; BRANCH_BYTES] {
        let mut text = [0; BRANCH_BYTES];
        let (prefix, rest) = text.split_at_mut(PREFIX.len());
        let (shard, rest) = rest.split_at_mut(SHARD_DIGITS);
        let (tag, cseq) = rest.split_at_mut(LOCAL_TAG_BYTES);
        prefix.copy_from_slice(PREFIX);
        hex::put(shard, self.shard.into());
        hex::put(tag, self.tag.0);
        hex::put(cseq, self.cseq.into());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn other_branches_and_tags_are_not_ours() {
        let ours = Branch { shard: 127, tag: LocalTag(0xab), cseq: 1 }.text();
        assert_eq!(&ours, b"z9hG4bK-re-7f00000000000000ab00000001");
        for at in 0..ours.len() {
            let mut other = ours;
            other[at] = b'~';
            assert_eq!(Branch::parse(&other), None);
            assert_eq!(Branch::parse(&ours[..at]), None);
        }
        assert_eq!(Branch::parse(&[&ours[..], b"0"].concat()), None);
        for text in [&b""[..], b"00000000000000AB", b"000000000000000", b"00000000000000001"] {
            assert_eq!(LocalTag::parse(text), None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(shard: u8, tag: u64, cseq: u32) {
            let branch = Branch { shard, tag: LocalTag(tag), cseq };
            prop_assert_eq!(Branch::parse(&branch.text()), Some(branch));
            prop_assert_eq!(LocalTag::parse(&branch.tag.text()), Some(branch.tag));
        }
    }
}
