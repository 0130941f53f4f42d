//! Nonces that carry their own proof: minted and judged with a key and nothing remembered, on any
//! shard and on every sibling that shares the key.
//!
//! Fifteen bytes, in URL-safe base64 without padding, twenty characters:
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | Unix time of issue, seconds, big-endian (to the year 2106) |
//! | 4, upper half | tries of the authentication session, 0 until sessions are counted |
//! | 4, lower half, to 6 | number within the second, 20 bits, big-endian |
//! | 7-14 | SipHash-2-4-128 over bytes 0-6, the source address and the realm, its first half |
//!
//! Twenty characters keep the text that MD5 sees, with a cnonce of up to 18, within two blocks.
//! The number within the second makes nonces of one second differ. It follows the clock, a
//! microsecond at least for each nonce, and so puts the nonces of all shards in order, which is
//! what lets an account forget old ones safely ([`counts`](crate::auth::counts)). No key number
//! travels along: there are two keys at most, and trying the other costs a few nanoseconds.

use std::hash::Hasher;
use std::hint::black_box;
use std::net::IpAddr;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::limits::CLOCK_SKEW_S_MAX;
use crate::time::UnixTime;

/// Characters of a nonce.
pub const NONCE_TEXT_BYTES: usize = 20;
const RAW_BYTES: usize = 15;
const HEAD_BYTES: usize = 7;
const NUMBER_BITS: u32 = 20;
const NUMBER_MAX: u32 = (1 << NUMBER_BITS) - 1;
const _: () = assert!(NUMBER_MAX > 1_000_000, "every microsecond of a second has its number");

/// A nonce as it stands in a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NonceText(pub [u8; NONCE_TEXT_BYTES]);

impl NonceText {
    /// The characters.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Which nonce of an account this is. Ordered by issue: by time, then by the number within the
/// second. The low bits are some of its MAC, so that nonces of different sources, or of siblings
/// that number alike, differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NonceId(u64);

impl NonceId {
    /// The least id a nonce issued at or after `time` can have.
    #[must_use]
    pub fn first_of(time: UnixTime) -> NonceId {
        NonceId(time.0.min(u64::from(u32::MAX)) << 32)
    }

    /// When it was issued.
    #[must_use]
    pub fn issued(self) -> UnixTime {
        UnixTime(self.0 >> 32)
    }

    fn new(head: u64, mac: u64) -> NonceId {
        let time = head >> 24;
        let number = head & u64::from(NUMBER_MAX);
        NonceId(time << 32 | number << 12 | mac >> 52)
    }
}

/// What a nonce is worth at a time, to a source, in a realm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// Ours, given to this very source, young enough.
    Fresh {
        /// When it was issued.
        issued: UnixTime,
        /// What its counts are kept under.
        id: NonceId,
    },
    /// Ours, given to this very source, past its lifetime.
    Old {
        /// When it was issued.
        issued: UnixTime,
    },
    /// Of another key, another source, another realm or the future, or no nonce at all.
    Foreign,
}

/// A key that nonces are minted and judged with. It outlives a restart and is shared by siblings,
/// so it comes from outside.
#[derive(Clone, Copy)]
pub struct NonceKey {
    state: SipHasher24,
}

impl NonceKey {
    /// The key of 16 secret, uniformly random bytes.
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> NonceKey {
        NonceKey { state: SipHasher24::new_with_key(secret) }
    }

    /// First half of the MAC over the head of a nonce, the source and the realm. Head and address
    /// have fixed lengths and the realm comes last, so no two inputs read the same.
    fn mac(&self, head: u64, source: IpAddr, realm: &[u8]) -> u64 {
        // A socket of both families shows IPv4 peers as v4-mapped addresses; they are the same.
        let address = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let address = u128::from(address);
        let mut hasher = self.state;
        hasher.write_u64(head);
        hasher.write_u64((address >> 64) as u64);
        hasher.write_u64(address as u64);
        hasher.write(realm);
        hasher.finish128().h1
    }
}

/// The keys in force: one mints, and the one before it is still accepted.
#[derive(Clone, Copy)]
pub struct NonceKeys {
    /// Mints, and is accepted.
    pub current: NonceKey,
    /// Still accepted, after a change of keys.
    pub previous: Option<NonceKey>,
}

impl From<NonceKey> for NonceKeys {
    fn from(current: NonceKey) -> Self {
        NonceKeys { current, previous: None }
    }
}

/// Numbers the nonces of one minting shard: each call gives a later place than the call before,
/// and than calls on other shards some microseconds before.
#[derive(Clone, Copy, Debug)]
pub struct NonceSequence {
    time: u32,
    number: u32,
    first: u32,
    step: u32,
}

/// The sequence of a shard that mints alone.
impl Default for NonceSequence {
    fn default() -> Self {
        NonceSequence::interleaved(0, 1)
    }
}

/// A place in a [`NonceSequence`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoncePlace {
    time: u32,
    number: u32,
}

impl NonceSequence {
    /// The `nth` of `of` sequences that share a key and give no place twice: two phones behind one
    /// address, challenged in one microsecond by two shards, must not get one nonce. So each takes
    /// only numbers that leave `nth` over when divided by `of`.
    #[must_use]
    pub fn interleaved(nth: u8, of: u8) -> Self {
        debug_assert!(nth < of, "{nth} of {of}");
        NonceSequence { time: 0, number: u32::from(nth), first: u32::from(nth), step: of.into() }
    }

    /// The next place at `now`, `now_us` microseconds into its second.
    ///
    /// A clock stepped back by no more than [`CLOCK_SKEW_S_MAX`] is waited for, so that the order
    /// holds; past that the new time is obeyed, because nonces from further ahead would not be
    /// accepted. All sequences together give a million places a second and, ahead of the clock, up
    /// to 2^20; past that the last one is given again, and two nonces for one source may be the
    /// same: should they meet on one account, the second phone is challenged anew.
    pub fn next(&mut self, now: UnixTime, now_us: u32) -> NoncePlace {
        let now = now.0 as u32;
        // A new second reads as one far behind, and begins a new count as well.
        if self.time.wrapping_sub(now) > CLOCK_SKEW_S_MAX {
            *self = NonceSequence { time: now, number: self.first, ..*self };
        }
        if self.time == now {
            let behind = now_us.saturating_sub(self.number);
            self.number += behind.div_ceil(self.step) * self.step;
        }
        let last = NUMBER_MAX - (NUMBER_MAX - self.first) % self.step;
        let place = NoncePlace { time: self.time, number: self.number.min(last) };
        self.number = (place.number + self.step).min(last);
        place
    }
}

impl NonceKeys {
    /// A nonce for one source and realm. Two calls with the same place, source and realm give the
    /// same nonce.
    #[must_use]
    pub fn mint(&self, place: NoncePlace, source: IpAddr, realm: &[u8]) -> NonceText {
        self.mint_raw(u64::from(place.time) << 24 | u64::from(place.number), source, realm)
    }

    /// `head` is bytes 0-6 of the nonce as one number.
    fn mint_raw(&self, head: u64, source: IpAddr, realm: &[u8]) -> NonceText {
        let mac = self.current.mac(head, source, realm);
        let mut raw = [0; RAW_BYTES];
        raw[..HEAD_BYTES].copy_from_slice(&head.to_be_bytes()[1..]);
        raw[HEAD_BYTES..].copy_from_slice(&mac.to_be_bytes());
        NonceText(encode(&raw))
    }

    /// What `text` is worth now. `lifetime_s` is the age, in seconds, past which it is old.
    #[must_use]
    pub fn judge(
        &self,
        text: &[u8],
        now: UnixTime,
        source: IpAddr,
        realm: &[u8],
        lifetime_s: u32,
    ) -> Judged {
        let Some(raw) = decode(text) else { return Judged::Foreign };
        let [t0, t1, t2, t3, n0, n1, n2, claimed @ ..] = raw;
        let head = u64::from_be_bytes([0, t0, t1, t2, t3, n0, n1, n2]);
        let claimed = u64::from_be_bytes(claimed);
        let proves = |key: &NonceKey| same(key.mac(head, source, realm), claimed);
        if !proves(&self.current) && !self.previous.as_ref().is_some_and(proves) {
            return Judged::Foreign;
        }
        let issued = UnixTime(head >> 24);
        if issued.0 > now.0.saturating_add(u64::from(CLOCK_SKEW_S_MAX)) {
            Judged::Foreign
        } else if now.0.saturating_sub(issued.0) > u64::from(lifetime_s) {
            Judged::Old { issued }
        } else {
            Judged::Fresh { issued, id: NonceId::new(head, claimed) }
        }
    }
}

/// Equality that takes the same time wherever the two differ.
fn same(a: u64, b: u64) -> bool {
    black_box(a ^ b) == 0
}

static ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Value of a base64 character, 0xff for every other byte.
static VALUES: [u8; 256] = {
    let mut values = [0xff; 256];
    let mut value = 0;
    while value < 64 {
        values[ALPHABET[value] as usize] = value as u8;
        value += 1;
    }
    values
};

fn encode(raw: &[u8; RAW_BYTES]) -> [u8; NONCE_TEXT_BYTES] {
    let mut text = [0; NONCE_TEXT_BYTES];
    for (four, three) in text.chunks_exact_mut(4).zip(raw.chunks_exact(3)) {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for (at, character) in four.iter_mut().enumerate() {
            *character = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
        }
    }
    text
}

fn decode(text: &[u8]) -> Option<[u8; RAW_BYTES]> {
    let text: &[u8; NONCE_TEXT_BYTES] = text.try_into().ok()?;
    let mut raw = [0; RAW_BYTES];
    let mut worst = 0;
    for (three, four) in raw.chunks_exact_mut(3).zip(text.chunks_exact(4)) {
        let mut bits = 0;
        for &character in four {
            let value = VALUES[usize::from(character)];
            worst |= value;
            bits = bits << 6 | u32::from(value & 63);
        }
        three.copy_from_slice(&bits.to_be_bytes()[1..]);
    }
    (worst < 64).then_some(raw)
}

#[cfg(test)]
mod tests;
