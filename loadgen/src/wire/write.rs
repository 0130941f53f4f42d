//! Appends pieces of a request to a caller's buffer. It knows no header and never allocates;
//! what does not fit is remembered and told at the end instead of being sent cut short.

/// A cursor over a buffer that is being filled.
pub struct Writer<'a> {
    buffer: &'a mut [u8],
    at: usize,
    overflow: bool,
}

const HEX: &[u8; 16] = b"0123456789abcdef";

impl<'a> Writer<'a> {
    /// Begins at the start of `buffer`.
    pub fn new(buffer: &'a mut [u8]) -> Self {
        Writer { buffer, at: 0, overflow: false }
    }

    /// Appends bytes as they are.
    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        match self.buffer.get_mut(self.at..self.at + bytes.len()) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.at += bytes.len();
            }
            None => self.overflow = true,
        }
    }

    /// Appends eight lower-case hexadecimal digits.
    #[inline]
    pub fn put_hex(&mut self, value: u32) {
        self.put(&hex8(value));
    }

    /// Appends a decimal number without leading zeros.
    #[inline]
    pub fn put_decimal(&mut self, mut value: u32) {
        let mut digits = [0u8; 10];
        let mut from = digits.len();
        loop {
            from -= 1;
            digits[from] = b'0' + (value % 10) as u8;
            value /= 10;
            if value == 0 {
                break;
            }
        }
        self.put(&digits[from..]);
    }

    /// Bytes written, or `None` where the buffer was too small.
    pub fn finish(self) -> Option<usize> {
        (!self.overflow).then_some(self.at)
    }
}

/// Eight lower-case hexadecimal digits of a number.
#[inline]
pub fn hex8(value: u32) -> [u8; 8] {
    let mut digits = [0u8; 8];
    for (place, digit) in digits.iter_mut().enumerate() {
        *digit = HEX[(value >> (28 - 4 * place)) as usize & 15];
    }
    digits
}

/// The number that eight hexadecimal digits stand for; `None` for anything else.
#[inline]
pub fn parse_hex8(digits: &[u8]) -> Option<u32> {
    if digits.len() != 8 {
        return None;
    }
    let mut value = 0u32;
    for &digit in digits {
        let nibble = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u32::from(nibble);
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_from_their_hex_digits() {
        for value in [0, 1, 0x0123_4567, 0x89ab_cdef, u32::MAX] {
            assert_eq!(parse_hex8(&hex8(value)), Some(value));
        }
        assert_eq!(parse_hex8(b"1234567"), None);
        assert_eq!(parse_hex8(b"1234567G"), None);
    }

    #[test]
    fn decimals_have_no_leading_zero() {
        let mut buffer = [0u8; 32];
        let mut writer = Writer::new(&mut buffer);
        writer.put_decimal(0);
        writer.put(b" ");
        writer.put_decimal(4_294_967_295);
        let length = writer.finish().unwrap();
        assert_eq!(&buffer[..length], b"0 4294967295");
    }

    #[test]
    fn what_does_not_fit_is_told() {
        let mut buffer = [0u8; 4];
        let mut writer = Writer::new(&mut buffer);
        writer.put(b"abc");
        writer.put(b"de");
        assert_eq!(writer.finish(), None);
    }
}
