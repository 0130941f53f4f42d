//! A UUID in its usual spelling (RFC 9562 4), 36 characters, as the 16 bytes it stands for: what
//! phones choose for their instance, and many for their Call-IDs. Only what comes back exactly as
//! it was is taken, so all letters have to be of one case.

/// Characters of the spelling.
pub(super) const TEXT_BYTES: usize = 36;
/// Bytes it stands for.
pub(super) const BYTES: usize = 16;

/// The case of its letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letters {
    /// `a` to `f`; also where there is no letter at all.
    Lower,
    /// `A` to `F`.
    Upper,
}

impl Letters {
    /// How far the letters are from where they would follow the digits.
    const fn gap(self) -> u8 {
        match self {
            Letters::Lower => b'a' - b'9' - 1,
            Letters::Upper => b'A' - b'9' - 1,
        }
    }
}

/// Where the groups begin in the spelling and among the digits, and how long they are.
const GROUPS: [(usize, usize, usize); 5] =
    [(0, 0, 8), (9, 8, 4), (14, 12, 4), (19, 16, 4), (24, 20, 12)];
const DASHES: [usize; 4] = [8, 13, 18, 23];

/// The character of a number below 16.
#[inline]
fn character(number: u8, letters: Letters) -> u8 {
    let gap = if number > 9 { letters.gap() } else { 0 };
    number.wrapping_add(b'0').wrapping_add(gap)
}

/// The bytes a spelling stands for, if its letters are all of this case. The loops are over arrays
/// of fixed length and have no way out, so that the compiler makes them work on all digits at once.
#[inline]
pub(super) fn pack(text: &[u8; TEXT_BYTES], letters: Letters) -> Option<[u8; BYTES]> {
    if DASHES.iter().any(|&at| text[at] != b'-') {
        return None;
    }
    let mut digits = [0u8; 2 * BYTES];
    for (from, to, len) in GROUPS {
        digits[to..to + len].copy_from_slice(&text[from..from + len]);
    }
    let mut numbers = [0u8; 2 * BYTES];
    let mut wrong = 0;
    for (number, &digit) in numbers.iter_mut().zip(&digits) {
        // Letters have bit 6 and begin with 1 there.
        *number = (digit & 15).wrapping_add((digit >> 6).wrapping_mul(9));
        wrong |= *number & 0xf0 | (character(*number, letters) ^ digit);
    }
    let mut bytes = [0; BYTES];
    for (byte, pair) in bytes.iter_mut().zip(numbers.as_chunks::<2>().0) {
        *byte = pair[0] << 4 | pair[1];
    }
    (wrong == 0).then_some(bytes)
}

/// The bytes a spelling stands for, and how it was spelled.
#[inline]
pub(super) fn pack_either(text: &[u8; TEXT_BYTES]) -> Option<([u8; BYTES], Letters)> {
    match pack(text, Letters::Lower) {
        Some(bytes) => Some((bytes, Letters::Lower)),
        None => pack(text, Letters::Upper).map(|bytes| (bytes, Letters::Upper)),
    }
}

/// What [`pack`] made these bytes of.
#[inline]
pub(super) fn unpack(bytes: &[u8; BYTES], letters: Letters) -> [u8; TEXT_BYTES] {
    let mut digits = [0; 2 * BYTES];
    for (pair, &byte) in digits.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [byte >> 4, byte & 15];
    }
    for digit in &mut digits {
        *digit = character(*digit, letters);
    }
    let mut text = [b'-'; TEXT_BYTES];
    for (to, from, len) in GROUPS {
        text[to..to + len].copy_from_slice(&digits[from..from + len]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TEXT: &[u8; TEXT_BYTES] = b"00112233-4455-6677-8899-aabbccddeeff";

    #[test]
    fn stands_for_the_bytes_that_its_digits_say() {
        let bytes = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        assert_eq!(pack_either(TEXT), Some((bytes, Letters::Lower)));
        let upper = TEXT.map(|byte| byte.to_ascii_uppercase());
        assert_eq!(pack_either(&upper), Some((bytes, Letters::Upper)));
        assert_eq!(unpack(&bytes, Letters::Lower), *TEXT);
    }

    #[test]
    fn any_byte_at_any_place_is_taken_if_it_comes_back_and_only_then() {
        for at in 0..TEXT_BYTES {
            for byte in 0..=u8::MAX {
                let mut text = *TEXT;
                text[at] = byte;
                let is_dash = DASHES.contains(&at);
                let fits = if is_dash {
                    byte == b'-'
                } else {
                    byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)
                };
                let packed = pack(&text, Letters::Lower);
                assert_eq!(packed.is_some(), fits, "{byte:#x} at {at}");
                if let Some(bytes) = packed {
                    assert_eq!(unpack(&bytes, Letters::Lower), text);
                }
            }
        }
    }

    #[test]
    fn letters_of_both_cases_are_not_taken() {
        let mut text = *TEXT;
        text[35] = b'F';
        assert_eq!(pack_either(&text), None);
    }

    proptest! {
        #[test]
        fn bytes_come_back_in_either_case(bytes in any::<[u8; BYTES]>(), upper in any::<bool>()) {
            let letters = if upper { Letters::Upper } else { Letters::Lower };
            prop_assert_eq!(pack(&unpack(&bytes, letters), letters), Some(bytes));
        }
    }
}
