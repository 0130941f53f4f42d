//! Nonces: whose they are, for how long, in which order, and what of a session they carry.

use proptest::prelude::*;

use super::*;

const NOW: UnixTime = UnixTime(1_790_000_000);
const REALM: &[u8] = b"example.com";
const LIFETIME: u32 = 3600;

fn keys() -> NonceKeys {
    NonceKey::new(b"0123456789abcdef").into()
}

fn source() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

fn minted() -> NonceText {
    keys().mint(NonceSequence::default().next(NOW, 0), source(), REALM)
}

fn judge(text: &[u8], now: UnixTime) -> Judged {
    keys().judge(text, now, source(), REALM, LIFETIME)
}

fn later(seconds: u64) -> UnixTime {
    UnixTime(NOW.0 + seconds)
}

#[test]
fn own_nonce_is_fresh_until_its_lifetime_has_passed() {
    let nonce = minted();
    assert!(matches!(judge(nonce.as_bytes(), NOW), Judged::Fresh { issued: NOW, .. }));
    assert!(matches!(judge(nonce.as_bytes(), later(3600)), Judged::Fresh { issued: NOW, .. }));
    assert!(matches!(judge(nonce.as_bytes(), later(3601)), Judged::Old { issued: NOW, .. }));
    assert!(matches!(judge(nonce.as_bytes(), UnixTime(u64::MAX)), Judged::Old { .. }));
}

#[test]
fn nonce_from_the_future_is_foreign_beyond_the_skew_of_siblings() {
    let nonce = minted();
    assert!(matches!(judge(nonce.as_bytes(), UnixTime(NOW.0 - 10)), Judged::Fresh { .. }));
    assert_eq!(judge(nonce.as_bytes(), UnixTime(NOW.0 - 11)), Judged::Foreign);
}

#[test]
fn nonce_of_another_source_or_realm_is_foreign() {
    let nonce = minted();
    let other = "192.0.2.8".parse().unwrap();
    assert_eq!(keys().judge(nonce.as_bytes(), NOW, other, REALM, LIFETIME), Judged::Foreign);
    assert_eq!(
        keys().judge(nonce.as_bytes(), NOW, source(), b"example.net", LIFETIME),
        Judged::Foreign
    );
    let v6 = "2001:db8::7".parse().unwrap();
    assert_eq!(keys().judge(nonce.as_bytes(), NOW, v6, REALM, LIFETIME), Judged::Foreign);
}

#[test]
fn v4_mapped_source_is_the_v4_source() {
    let mapped = "::ffff:192.0.2.7".parse().unwrap();
    let judged = keys().judge(minted().as_bytes(), NOW, mapped, REALM, LIFETIME);
    assert!(matches!(judged, Judged::Fresh { .. }));
}

#[test]
fn previous_key_is_accepted_and_any_other_is_foreign() {
    let next = NonceKey::new(b"fedcba9876543210");
    let rotated = NonceKeys { current: next, previous: Some(keys().current) };
    let judged = rotated.judge(minted().as_bytes(), NOW, source(), REALM, LIFETIME);
    assert!(matches!(judged, Judged::Fresh { .. }));
    let forgotten = NonceKeys::from(next);
    let judged = forgotten.judge(minted().as_bytes(), NOW, source(), REALM, LIFETIME);
    assert_eq!(judged, Judged::Foreign);
    let place = NonceSequence::default().next(NOW, 0);
    assert_eq!(
        rotated.mint(place, source(), REALM),
        NonceKeys::from(next).mint(place, source(), REALM)
    );
}

#[test]
fn every_changed_character_makes_a_nonce_foreign() {
    let place = NonceSequence::default().next(NOW, 0);
    let tried = keys().mint_in(Session { wrong: 2, began: NOW }, place, source(), REALM);
    for nonce in [minted(), tried] {
        for at in 0..nonce.as_bytes().len() {
            for other in 0..=255 {
                let mut text = nonce.as_bytes().to_vec();
                if text[at] != other {
                    text[at] = other;
                    assert_eq!(judge(&text, NOW), Judged::Foreign, "{other:#x} at {at}");
                }
            }
        }
        for end in 0..nonce.as_bytes().len() {
            assert_eq!(judge(&nonce.as_bytes()[..end], NOW), Judged::Foreign);
        }
    }
}

#[test]
fn a_nonce_carries_the_wrong_answers_and_the_beginning_of_its_session() {
    for (wrong, age) in [(1, 0), (6, 9), (999, 3600), (u16::MAX, u64::from(u32::MAX))] {
        let place = NonceSequence::default().next(NOW, 5);
        let began = UnixTime(NOW.0.saturating_sub(age));
        let nonce = keys().mint_in(Session { wrong, began }, place, source(), REALM);
        assert_eq!(nonce.as_bytes().len(), 24);
        let Judged::Fresh { id, issued, session } = judge(nonce.as_bytes(), NOW) else { panic!() };
        assert_eq!((issued, id.issued()), (NOW, NOW));
        assert_eq!(session.wrong, wrong.min(1023));
        assert_eq!(session.began.0, NOW.0 - age.min(AGE_MAX));
        // The same place in the same order, whatever the session.
        let plain = keys().mint(place, source(), REALM);
        let Judged::Fresh { id: plain, .. } = judge(plain.as_bytes(), NOW) else { panic!() };
        assert_eq!(id.0 >> 12, plain.0 >> 12);
    }
}

#[test]
fn a_session_without_a_wrong_answer_is_one_that_begins_with_the_nonce() {
    let place = NonceSequence::default().next(NOW, 0);
    let session = Session { wrong: 0, began: UnixTime(NOW.0 - 5) };
    let nonce = keys().mint_in(session, place, source(), REALM);
    assert_eq!(nonce, keys().mint(place, source(), REALM));
    assert_eq!(judge(nonce.as_bytes(), NOW).session(), Some(Session::begin(NOW)));
    assert_eq!(judge(b"x", NOW).session(), None);
}

#[test]
fn rfc7616_3_5_the_next_nonce_is_due_past_half_of_the_lifetime() {
    let due = |judged: Judged, after| judged.is_next_due(later(after), LIFETIME);
    let fresh = judge(minted().as_bytes(), NOW);
    assert!(!due(fresh, 0) && !due(fresh, 1800) && due(fresh, 1801) && due(fresh, 3600));
    assert!(!due(judge(minted().as_bytes(), later(3601)), 3601));
    assert!(!due(Judged::Foreign, 1801));
}

#[test]
fn interleaved_sequences_give_no_place_twice() {
    let mut sequences = [0, 1, 2].map(|nth| NonceSequence::interleaved(nth, 3));
    let mut seen = std::collections::HashSet::new();
    for (second, us) in [(0, 0), (0, 1), (0, 500), (0, 999_999), (1, 0), (1, 7)] {
        for _ in 0..100 {
            for sequence in &mut sequences {
                let place = sequence.next(later(second), us);
                assert!(place.number >= us);
                assert!(seen.insert((place.time, place.number)), "{place:?}");
            }
        }
    }
}

#[test]
fn nonces_of_one_second_differ_and_stay_in_order() {
    let mut sequence = NonceSequence::default();
    let mut last = NonceId::default();
    for second in [0, 0, 0, 1, 1, 0, 1, 2, 40, 31, 40] {
        let now = later(second);
        let nonce = keys().mint(sequence.next(now, 0), source(), REALM);
        let Judged::Fresh { id, .. } = judge(nonce.as_bytes(), now) else { panic!("not fresh") };
        assert!(id > last, "{second}");
        last = id;
    }
}

#[test]
fn nonces_of_all_shards_are_in_the_order_of_the_clock() {
    let mut busy = NonceSequence::interleaved(0, 2);
    let mut idle = NonceSequence::interleaved(1, 2);
    let id = |place| {
        let nonce = keys().mint(place, source(), REALM);
        let Judged::Fresh { id, .. } = judge(nonce.as_bytes(), NOW) else { panic!("not fresh") };
        id
    };
    for us in (0..400_000).step_by(1000) {
        let from_busy = (0..100).map(|_| id(busy.next(NOW, us))).next_back();
        // A shard that mints its first nonce of the second now is not behind the busy one.
        assert!(Some(id(idle.next(NOW, us + 200))) > from_busy, "{us}");
    }
    // The end of the second neither wraps nor runs into the next.
    let last = id(busy.next(NOW, 999_999));
    assert!((0..100_000).map(|_| id(busy.next(NOW, 999_999))).is_sorted());
    assert!(id(busy.next(later(0), 999_999)) > last);
    assert!(NonceId::first_of(later(1)) > id(busy.next(NOW, 999_999)));
}

#[test]
fn clock_stepped_far_back_is_obeyed() {
    let mut sequence = NonceSequence::default();
    sequence.next(later(3600), 0);
    let nonce = keys().mint(sequence.next(NOW, 0), source(), REALM);
    assert!(matches!(judge(nonce.as_bytes(), NOW), Judged::Fresh { issued: NOW, .. }));
}

#[test]
fn first_of_a_second_is_before_its_nonces_and_after_all_earlier() {
    let Judged::Fresh { id, .. } = judge(minted().as_bytes(), NOW) else { panic!("not fresh") };
    assert!(NonceId::first_of(NOW) <= id);
    assert!(NonceId::first_of(later(1)) > id);
}

/// The format outlives the process: another program with the key reads it.
#[test]
fn format_is_stable() {
    let place = NoncePlace { time: 0x6ab1_3b80, number: 0x1_2345 };
    let text = keys().mint(place, source(), REALM);
    let raw = decode::<PLAIN_RAW_BYTES>(text.as_bytes()).unwrap();
    assert_eq!(raw[..7], [0x6a, 0xb1, 0x3b, 0x80, 0x01, 0x23, 0x45]);
    let mut input = Vec::new();
    input.extend_from_slice(&0x006a_b13b_8001_2345_u64.to_le_bytes());
    input.extend_from_slice(&0_u64.to_le_bytes());
    input.extend_from_slice(&0x0000_ffff_c000_0207_u64.to_le_bytes());
    input.extend_from_slice(REALM);
    let whole = SipHasher24::new_with_key(b"0123456789abcdef").hash(&input);
    assert_eq!(raw[7..], whole.h1.to_be_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn base64_round_trips(raw: [u8; SESSION_RAW_BYTES]) {
        let mut text = [0; SESSION_TEXT_BYTES];
        encode(&raw, &mut text);
        prop_assert_eq!(decode(&text), Some(raw));
    }

    #[test]
    fn any_bytes_are_foreign(text in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(judge(&text, NOW), Judged::Foreign);
    }

    #[test]
    fn well_formed_strangers_are_foreign(raw: [u8; SESSION_RAW_BYTES]) {
        let mut text = [0; SESSION_TEXT_BYTES];
        encode(&raw, &mut text);
        prop_assert_eq!(judge(&text, NOW), Judged::Foreign);
        prop_assert_eq!(judge(&text[..PLAIN_TEXT_BYTES], NOW), Judged::Foreign);
    }
}
