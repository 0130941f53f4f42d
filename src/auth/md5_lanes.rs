//! MD5 (RFC 1321) of several short messages side by side. One message is a chain in which each
//! step waits for the one before; eight of them fill the time in between, and the vector registers
//! that every x86-64 has. Plain arithmetic over arrays, which the compiler turns into vectors.
//! Knows nothing of what is hashed; one message alone and messages of any length are the
//! [`md5`] crate's.

use arrayvec::ArrayVec;
use md5::{Digest as _, Md5};

use crate::limits::BATCH_MAX;

/// Messages hashed at once.
const LANES: usize = 8;
/// Of these, as many are in one vector.
const WIDTH: usize = LANES / 2;
/// Fewer messages than these are faster one after the other.
const LANES_MIN: usize = 3;
const BLOCK: usize = 64;
/// Blocks of the longest message, padding included. A response over a nonce of ours has two, with
/// a long cnonce three.
const BLOCKS_MAX: usize = 4;
/// What follows every message: one byte at least, and its length (RFC 1321 3.1, 3.2).
const PADDING_BYTES_MIN: usize = 9;
/// Longest message that is taken, bytes.
pub const MESSAGE_BYTES_MAX: usize = BLOCKS_MAX * BLOCK - PADDING_BYTES_MIN;

/// Messages that wait for each other, as many as a batch has datagrams. 8 KiB, made once.
pub struct Md5Lanes {
    messages: Box<[Message; BATCH_MAX]>,
    count: usize,
}

/// A message with its padding behind it.
#[derive(Clone, Copy)]
struct Message {
    bytes: [u8; BLOCKS_MAX * BLOCK],
    len: usize,
}

impl Message {
    const EMPTY: Message = Message { bytes: [0; BLOCKS_MAX * BLOCK], len: 0 };

    fn blocks(&self) -> usize {
        (self.len + PADDING_BYTES_MIN).div_ceil(BLOCK)
    }

    /// RFC 1321 3.1 and 3.2: a one bit, zeros, and the length in bits in the last eight bytes.
    fn pad(&mut self) {
        let end = self.blocks() * BLOCK - 8;
        self.bytes[self.len] = 0x80;
        self.bytes[self.len + 1..end].fill(0);
        self.bytes[end..end + 8].copy_from_slice(&(self.len as u64 * 8).to_le_bytes());
    }

    fn text(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Default for Md5Lanes {
    fn default() -> Self {
        Md5Lanes::new()
    }
}

impl Md5Lanes {
    /// Without a message.
    #[must_use]
    pub fn new() -> Md5Lanes {
        Md5Lanes { messages: Box::new([Message::EMPTY; BATCH_MAX]), count: 0 }
    }

    /// Takes the message that `parts` make one after the other, and says the how manieth it is.
    /// None if it is longer than [`MESSAGE_BYTES_MAX`], or [`BATCH_MAX`] are waiting.
    #[must_use]
    pub fn push(&mut self, parts: &[&[u8]]) -> Option<usize> {
        let nth = self.count;
        let message = self.messages.get_mut(nth)?;
        let mut len = 0;
        for part in parts {
            let end = len + part.len();
            if end > MESSAGE_BYTES_MAX {
                return None;
            }
            message.bytes[len..end].copy_from_slice(part);
            len = end;
        }
        message.len = len;
        self.count += 1;
        Some(nth)
    }

    /// The hashes of all messages that were taken, in their order. None is waiting then.
    pub fn hash(&mut self) -> ArrayVec<[u8; 16], BATCH_MAX> {
        let mut hashes = ArrayVec::new();
        for group in self.messages[..self.count].chunks_mut(LANES) {
            if group.len() < LANES_MIN {
                hashes.extend(group.iter().map(|message| Md5::digest(message.text()).into()));
            } else {
                group.iter_mut().for_each(Message::pad);
                hashes.extend(hash_lanes(group).into_iter().take(group.len()));
            }
        }
        self.count = 0;
        hashes
    }
}

/// One value of each lane.
type Lanes = [u32; LANES];

/// The hashes of up to [`LANES`] padded messages. The other lanes hold nothing of use.
fn hash_lanes(messages: &[Message]) -> [[u8; 16]; LANES] {
    let mut state = INITIAL.map(|word| [word; LANES]);
    let blocks = messages.iter().map(Message::blocks).max().unwrap_or(0);
    for nth in 0..blocks {
        let mut words = [[0; LANES]; 16];
        for (lane, message) in messages.iter().enumerate() {
            let block = &message.bytes[nth * BLOCK..][..BLOCK];
            for (word, bytes) in words.iter_mut().zip(block.as_chunks::<4>().0) {
                word[lane] = u32::from_le_bytes(*bytes);
            }
        }
        let before = state;
        compress(&mut state, &words);
        // What is behind the end of a shorter message is no part of it.
        for (lane, message) in messages.iter().enumerate().filter(|(_, m)| m.blocks() <= nth) {
            debug_assert!(message.blocks() < blocks);
            for (word, before) in state.iter_mut().zip(&before) {
                word[lane] = before[lane];
            }
        }
    }
    std::array::from_fn(|lane| {
        let mut hash = [0; 16];
        for (bytes, word) in hash.as_chunks_mut::<4>().0.iter_mut().zip(&state) {
            *bytes = word[lane].to_le_bytes();
        }
        hash
    })
}

/// A, B, C and D of RFC 1321 3.3.
const INITIAL: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// The additive constants of RFC 1321 3.4: the integer part of 2^32 |sin(i)|, i from 1 in radians.
static SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501,
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821,
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8,
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a,
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70,
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665,
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1,
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// Sixteen steps, one after the other: a loop might not be taken apart, and then nothing of it
/// becomes vectors.
macro_rules! sixteen {
    ($step:ident) => {
        sixteen!($step: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($step:ident: $($nth:literal)*) => {
        $($step!($nth);)*
    };
}

/// RFC 1321 3.4 for one block of each lane. The vectors come from the loop over the lanes: its body
/// is the whole compression of two of them, and `WIDTH` turns of it happen at once.
#[inline(always)]
fn compress(state: &mut [Lanes; 4], words: &[Lanes; 16]) {
    let [a, b, c, d] = state;
    for lane in 0..WIDTH {
        let both = [lane, lane + WIDTH];
        let before = both.map(|lane| [a[lane], b[lane], c[lane], d[lane]]);
        let mut now = before;
        macro_rules! step {
            ($round:literal, $nth:literal, $word:expr, $turns:expr, $mix:expr) => {
                for (now, lane) in now.iter_mut().zip(both) {
                    let word = words[$word % 16][lane].wrapping_add(SINES[$round * 16 + $nth]);
                    *now = step(*now, $mix, word, $turns[$nth % 4]);
                }
            };
        }
        macro_rules! first {
            ($nth:literal) => {
                step!(0, $nth, $nth, [7, 12, 17, 22], |x, y, z| x & y | !x & z)
            };
        }
        macro_rules! second {
            ($nth:literal) => {
                step!(1, $nth, 5 * $nth + 1, [5, 9, 14, 20], |x, y, z| x & z | y & !z)
            };
        }
        macro_rules! third {
            ($nth:literal) => {
                step!(2, $nth, 3 * $nth + 5, [4, 11, 16, 23], |x, y, z| x ^ y ^ z)
            };
        }
        macro_rules! fourth {
            ($nth:literal) => {
                step!(3, $nth, 7 * $nth, [6, 10, 15, 21], |x, y, z| y ^ (x | !z))
            };
        }
        sixteen!(first);
        sixteen!(second);
        sixteen!(third);
        sixteen!(fourth);
        for ((now, before), lane) in now.into_iter().zip(before).zip(both) {
            a[lane] = before[0].wrapping_add(now[0]);
            b[lane] = before[1].wrapping_add(now[1]);
            c[lane] = before[2].wrapping_add(now[2]);
            d[lane] = before[3].wrapping_add(now[3]);
        }
    }
}

/// One step: a takes the place of b, and the others move on.
#[inline(always)]
fn step(
    [a, b, c, d]: [u32; 4],
    mix: impl Fn(u32, u32, u32) -> u32,
    word: u32,
    turns: u32,
) -> [u32; 4] {
    let sum = a.wrapping_add(word).wrapping_add(mix(b, c, d));
    [d, b.wrapping_add(sum.rotate_left(turns)), b, c]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::digest::parse_hex;

    #[test]
    fn rfc1321_a5_test_suite_side_by_side() {
        let suite: [(&str, &str); 7] = [
            ("", "d41d8cd98f00b204e9800998ecf8427e"),
            ("a", "0cc175b9c0f1b6a831c399e269772661"),
            ("abc", "900150983cd24fb0d6963f7d28e17f72"),
            ("message digest", "f96b697d7cb7938d525a2f31aaf161d0"),
            ("abcdefghijklmnopqrstuvwxyz", "c3fcd3d76192e4007dfb496cca67e13b"),
            (
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789",
                "d174ab98d277d9f5a5611c2c9f419d9f",
            ),
            (
                "12345678901234567890123456789012345678901234567890123456789012345678901234567890",
                "57edf4a22be3c955ac49da2e2107b67a",
            ),
        ];
        let mut lanes = Md5Lanes::new();
        for (nth, (text, _)) in suite.iter().enumerate() {
            assert_eq!(lanes.push(&[text.as_bytes()]), Some(nth));
        }
        let right: Vec<_> = suite.iter().map(|(_, hash)| parse_hex(hash.as_bytes())).collect();
        let hashes: Vec<_> = lanes.hash().into_iter().map(Some).collect();
        assert_eq!(hashes, right);
    }

    #[test]
    fn every_length_up_to_the_longest_is_hashed_beside_others() {
        let text: Vec<u8> = (0..=255).collect();
        let mut lanes = Md5Lanes::new();
        for len in 0..=MESSAGE_BYTES_MAX {
            let shorter = MESSAGE_BYTES_MAX - len;
            for taken in [&text[..len], &text[..shorter], b"", &text[..len]] {
                assert!(lanes.push(&[taken]).is_some());
            }
            let hashes = lanes.hash();
            let right = |text: &[u8]| <[u8; 16]>::from(Md5::digest(text));
            let expected = [&text[..len], &text[..shorter], b"", &text[..len]].map(right);
            assert_eq!(hashes.as_slice(), expected, "{len}");
        }
        assert_eq!(lanes.push(&[&text[..MESSAGE_BYTES_MAX], b"x"]), None);
    }

    #[test]
    fn a_message_that_is_not_taken_leaves_the_others_as_they_were() {
        let mut lanes = Md5Lanes::new();
        for _ in 0..BATCH_MAX - 1 {
            assert!(lanes.push(&[b"ab", b"c"]).is_some());
            assert_eq!(lanes.push(&[b"ab", &[0; MESSAGE_BYTES_MAX]]), None);
        }
        assert_eq!(lanes.push(&[b"abc"]), Some(BATCH_MAX - 1));
        assert_eq!(lanes.push(&[b"abc"]), None, "no more than a batch");
        let right: [u8; 16] = Md5::digest(b"abc").into();
        assert_eq!(lanes.hash().as_slice(), [right; BATCH_MAX]);
        assert!(lanes.hash().is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// One memory for all of them, as in a shard: what a longer message has left behind is no
        /// part of the next.
        #[test]
        fn any_mixture_of_messages_is_hashed_as_each_alone(
            batches in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..BATCH_MAX),
                1..4,
            ),
        ) {
            let mut lanes = Md5Lanes::new();
            for batch in &batches {
                let mut taken = Vec::new();
                for message in batch {
                    let (head, tail) = message.split_at(message.len() / 3);
                    match lanes.push(&[head, tail]) {
                        Some(nth) => {
                            prop_assert_eq!(nth, taken.len());
                            taken.push(<[u8; 16]>::from(Md5::digest(message)));
                        }
                        None => prop_assert!(message.len() > MESSAGE_BYTES_MAX),
                    }
                }
                let hashes = lanes.hash();
                prop_assert_eq!(hashes.as_slice(), taken);
            }
        }
    }
}
