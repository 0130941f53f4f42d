//! Nonces that carry their own proof: minted and judged with a key and nothing remembered, on any
//! shard and on every sibling that shares the key.
//!
//! Fifteen bytes, in URL-safe base64 without padding, twenty characters:
//!
//! | bytes | what |
//! |---|---|
//! | 0-3 | Unix time of issue, seconds, big-endian (to the year 2106) |
//! | 4, upper half | form: 0 |
//! | 4, lower half, to 6 | number within the second, 20 bits, big-endian |
//! | 7-14 | SipHash-2-4-128 over bytes 0-6, the source address and the realm, its first half |
//!
//! Twenty characters keep the text that MD5 sees, with a cnonce of up to 18, within two blocks. A
//! nonce given for a wrong answer has form 1 and three bytes more, which are hashed behind bytes
//! 0-6: they carry the [`Session`] on, and make twenty-four characters.
//!
//! | bytes | what |
//! |---|---|
//! | 7-9 | wrong answers (10 bits), age of the session at issue in seconds (14 bits), big-endian |
//! | 10-17 | SipHash as above |
//!
//! The number within the second makes nonces of one second differ. It follows the clock, a
//! microsecond at least for each nonce, and so puts the nonces of all shards in order, which is
//! what lets an account forget old ones safely ([`counts`](crate::auth::counts)). No key number
//! travels along: there are two keys at most, and trying the other costs a few nanoseconds.

use std::fmt;
use std::hash::Hasher;
use std::hint::black_box;
use std::net::IpAddr;

use siphasher::sip128::{Hasher128, SipHasher24};

use crate::auth::session::Session;
use crate::limits::CLOCK_SKEW_S_MAX;
use crate::time::UnixTime;

/// Characters of the longest nonce.
pub const NONCE_TEXT_BYTES: usize = SESSION_TEXT_BYTES;
/// Characters of a nonce that begins a session.
const PLAIN_TEXT_BYTES: usize = PLAIN_RAW_BYTES / 3 * 4;
const SESSION_TEXT_BYTES: usize = SESSION_RAW_BYTES / 3 * 4;
const HEAD_BYTES: usize = 7;
const MAC_BYTES: usize = 8;
const PLAIN_RAW_BYTES: usize = HEAD_BYTES + MAC_BYTES;
const SESSION_RAW_BYTES: usize = HEAD_BYTES + 3 + MAC_BYTES;
/// Where the form stands in a head, and the form that carries a session.
const FORM_SHIFT: u32 = 20;
const FORM_SESSION: u64 = 1;
const AGE_BITS: u32 = 14;
const AGE_MAX: u64 = (1 << AGE_BITS) - 1;
const WRONG_MAX: u16 = (1 << (24 - AGE_BITS)) - 1;
const NUMBER_BITS: u32 = 20;
const NUMBER_MAX: u32 = (1 << NUMBER_BITS) - 1;
const _: () = assert!(PLAIN_RAW_BYTES.is_multiple_of(3) && SESSION_RAW_BYTES.is_multiple_of(3));
const _: () = assert!(NUMBER_BITS <= FORM_SHIFT);
const _: () = assert!(NUMBER_MAX > 1_000_000, "every microsecond of a second has its number");

/// A nonce as it stands in a challenge, twenty or twenty-four characters.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct NonceText {
    text: [u8; NONCE_TEXT_BYTES],
    len: u8,
}

impl NonceText {
    /// A nonce of twenty characters.
    #[must_use]
    pub fn plain(characters: [u8; PLAIN_TEXT_BYTES]) -> NonceText {
        NonceText::of(&characters)
    }

    fn of(characters: &[u8]) -> NonceText {
        let mut text = [0; NONCE_TEXT_BYTES];
        text[..characters.len()].copy_from_slice(characters);
        NonceText { text, len: characters.len() as u8 }
    }

    /// The characters.
    #[inline]
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text[..usize::from(self.len)]
    }
}

impl fmt::Debug for NonceText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NonceText({})", self.as_bytes().escape_ascii())
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
        /// The authentication session it belongs to.
        session: Session,
    },
    /// Ours, given to this very source, past its lifetime.
    Old {
        /// When it was issued.
        issued: UnixTime,
        /// The authentication session it belongs to.
        session: Session,
    },
    /// Of another key, another source, another realm or the future, or no nonce at all.
    Foreign,
}

impl Judged {
    /// The authentication session it belongs to; none if it is not ours.
    #[must_use]
    pub const fn session(&self) -> Option<Session> {
        match self {
            Judged::Fresh { session, .. } | Judged::Old { session, .. } => Some(*session),
            Judged::Foreign => None,
        }
    }

    /// Whether a success with it should name the next one (RFC 7616 3.5): it is past half of its
    /// lifetime, so the phone's next request but one may meet `stale=true`.
    #[must_use]
    pub const fn is_next_due(&self, now: UnixTime, lifetime_s: u32) -> bool {
        match self {
            Judged::Fresh { issued, .. } => now.0.saturating_sub(issued.0) * 2 > lifetime_s as u64,
            _ => false,
        }
    }
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

    /// First half of the MAC over the head of a nonce, what it carries of a session, the source
    /// and the realm. The head tells whether a session follows, head, session and address have
    /// fixed lengths and the realm comes last, so no two inputs read the same.
    fn mac(&self, head: u64, session: Option<u32>, source: IpAddr, realm: &[u8]) -> u64 {
        // A socket of both families shows IPv4 peers as v4-mapped addresses; they are the same.
        let address = match source {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        let address = u128::from(address);
        let mut hasher = self.state;
        hasher.write_u64(head);
        if let Some(session) = session {
            hasher.write_u64(session.into());
        }
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
    /// A nonce for one source and realm that begins a session. Two calls with the same place,
    /// source and realm give the same nonce.
    #[must_use]
    pub fn mint(&self, place: NoncePlace, source: IpAddr, realm: &[u8]) -> NonceText {
        let head = place.head();
        let mac = self.current.mac(head, None, source, realm);
        let mut raw = [0; PLAIN_RAW_BYTES];
        raw[..HEAD_BYTES].copy_from_slice(&head.to_be_bytes()[1..]);
        raw[HEAD_BYTES..].copy_from_slice(&mac.to_be_bytes());
        let mut text = [0; PLAIN_TEXT_BYTES];
        encode(&raw, &mut text);
        NonceText::of(&text)
    }

    /// A nonce that carries `session` on. One without a wrong answer needs no carrying: the nonce
    /// then begins a session of its own.
    #[must_use]
    pub fn mint_in(
        &self,
        session: Session,
        place: NoncePlace,
        source: IpAddr,
        realm: &[u8],
    ) -> NonceText {
        if session.wrong == 0 {
            return self.mint(place, source, realm);
        }
        let head = place.head() | FORM_SESSION << FORM_SHIFT;
        let age = u64::from(place.time).saturating_sub(session.began.0).min(AGE_MAX);
        let carried = u32::from(session.wrong.min(WRONG_MAX)) << AGE_BITS | age as u32;
        let mac = self.current.mac(head, Some(carried), source, realm);
        let mut raw = [0; SESSION_RAW_BYTES];
        let (before, claimed) = raw.split_at_mut(HEAD_BYTES + 3);
        before[..HEAD_BYTES].copy_from_slice(&head.to_be_bytes()[1..]);
        before[HEAD_BYTES..].copy_from_slice(&carried.to_be_bytes()[1..]);
        claimed.copy_from_slice(&mac.to_be_bytes());
        let mut text = [0; SESSION_TEXT_BYTES];
        encode(&raw, &mut text);
        NonceText::of(&text)
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
        let Some(claim) = Claim::read(text) else { return Judged::Foreign };
        let Claim { head, carried, mac } = claim;
        let proves = |key: &NonceKey| same(key.mac(head, carried, source, realm), mac);
        if !proves(&self.current) && !self.previous.as_ref().is_some_and(proves) {
            return Judged::Foreign;
        }
        let issued = UnixTime(head >> 24);
        let session = match carried {
            None => Session::begin(issued),
            Some(carried) => Session {
                wrong: (carried >> AGE_BITS) as u16,
                began: UnixTime(issued.0.saturating_sub(u64::from(carried) & AGE_MAX)),
            },
        };
        if issued.0 > now.0.saturating_add(u64::from(CLOCK_SKEW_S_MAX)) {
            Judged::Foreign
        } else if now.0.saturating_sub(issued.0) > u64::from(lifetime_s) {
            Judged::Old { issued, session }
        } else {
            Judged::Fresh { issued, id: NonceId::new(head, mac), session }
        }
    }
}

impl NoncePlace {
    /// Bytes 0-6 of a plain nonce as one number.
    fn head(self) -> u64 {
        u64::from(self.time) << 24 | u64::from(self.number)
    }
}

/// What a nonce says of itself, not proved yet.
struct Claim {
    head: u64,
    carried: Option<u32>,
    mac: u64,
}

impl Claim {
    /// Reads either form; none if the form is not that of the length.
    fn read(text: &[u8]) -> Option<Claim> {
        let (head, carried, mac) = match text.len() {
            PLAIN_TEXT_BYTES => {
                let [t0, t1, t2, t3, n0, n1, n2, mac @ ..] = decode::<PLAIN_RAW_BYTES>(text)?;
                (u64::from_be_bytes([0, t0, t1, t2, t3, n0, n1, n2]), None, mac)
            }
            SESSION_TEXT_BYTES => {
                let [t0, t1, t2, t3, n0, n1, n2, s0, s1, s2, mac @ ..] =
                    decode::<SESSION_RAW_BYTES>(text)?;
                let carried = u32::from_be_bytes([0, s0, s1, s2]);
                (u64::from_be_bytes([0, t0, t1, t2, t3, n0, n1, n2]), Some(carried), mac)
            }
            _ => return None,
        };
        let form = head >> FORM_SHIFT & 0xf;
        (form == u64::from(carried.is_some()) * FORM_SESSION).then_some(Claim {
            head,
            carried,
            mac: u64::from_be_bytes(mac),
        })
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

/// Three bytes become four characters.
fn encode(raw: &[u8], text: &mut [u8]) {
    for (four, three) in text.chunks_exact_mut(4).zip(raw.chunks_exact(3)) {
        let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
        for (at, character) in four.iter_mut().enumerate() {
            *character = ALPHABET[(bits >> (18 - 6 * at)) as usize & 63];
        }
    }
}

/// Reads `N` bytes, a multiple of three, from a text of the length they have.
fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    debug_assert!(text.len() == N / 3 * 4);
    let mut raw = [0; N];
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
