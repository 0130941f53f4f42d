//! The numbers of entries, and the hash by which an account is found.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Bits behind the milliseconds that tell entries of one of them apart.
const SEQUENCE_BITS: u32 = 20;
/// The latest time that is told from later ones: beyond the year 200,000.
const MS_MAX: u64 = (1 << (63 - SEQUENCE_BITS)) - 1;

/// The first number of a time, milliseconds since the epoch.
pub(super) fn first_of(at_ms: u64) -> i64 {
    (at_ms.min(MS_MAX) << SEQUENCE_BITS) as i64
}

/// The number of an entry: the `nth` that was ever written.
pub(super) fn of(at_ms: u64, nth: u64) -> i64 {
    first_of(at_ms) | (nth & ((1 << SEQUENCE_BITS) - 1)) as i64
}

/// The time of an entry.
pub(super) fn time_of(id: i64) -> u64 {
    u64::try_from(id).unwrap_or_default() >> SEQUENCE_BITS
}

/// The hash of the user part of an address-of-record, or of a user alone. It is in the file, so it
/// never changes; what collides is told apart by its name.
pub(super) fn key_of(aor: &str) -> i64 {
    let user = aor.split_once('@').map_or(aor, |(user, _)| user);
    let mut hasher = SipHasher13::new_with_keys(0, 0);
    hasher.write(user.as_bytes());
    hasher.finish().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_in_the_order_of_time() {
        let times = [0, 1, 1_800_000_000_000, 1_800_000_000_001, MS_MAX];
        let ids = times.map(|at| of(at, 7));
        assert!(ids.is_sorted() && ids[0] >= 0);
        assert_eq!(ids.map(time_of), times);
        assert!(first_of(5) <= of(5, u64::MAX) && of(5, u64::MAX) < first_of(6));
        assert_eq!(first_of(u64::MAX), first_of(MS_MAX));
        assert_eq!(time_of(-1), 0);
    }

    #[test]
    fn an_account_is_found_with_its_domain_and_without() {
        assert_eq!(key_of("u1@example.com"), key_of("u1"));
        assert_ne!(key_of("u1"), key_of("u2"));
        // It is in files that are there.
        assert_eq!(key_of("u1"), -4_451_083_703_263_366_595);
    }
}
