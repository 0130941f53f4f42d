//! Numbers as lower-case hex of a fixed width, as they stand in tags and branches of ours.

/// Reads lower-case digits, at most 16. `None`: something else is among them.
#[must_use]
pub fn parse(digits: &[u8]) -> Option<u64> {
    if digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u64::from(value))
    })
}

/// Fills `text` with the lowest digits of `number`, leading zeros included.
pub fn put(text: &mut [u8], mut number: u64) {
    for digit in text.iter_mut().rev() {
        *digit = b"0123456789abcdef"[(number & 15) as usize];
        number >>= 4;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read_back_and_nothing_else_is_read() {
        for number in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let mut text = [0; 16];
            put(&mut text, number);
            assert_eq!(parse(&text), Some(number));
        }
        let mut short = [0; 2];
        put(&mut short, 0x1ab);
        assert_eq!(&short, b"ab");
        for text in [&b"A"[..], b"g", b" 1", b"00000000000000000"] {
            assert_eq!(parse(text), None);
        }
    }
}
