//! Secrets made here: 256 random bits as text, shown once and kept as a hash.

use std::fmt::Write as _;

/// A secret. Its text is for whoever it is given to.
pub(in crate::admin) struct Secret(String);

impl Secret {
    /// # Errors
    /// The kernel gives no random bytes.
    pub fn new() -> Result<Secret, String> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
        let mut text = String::with_capacity(64);
        for byte in bytes {
            // A string takes everything.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(Secret(text))
    }

    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Without what would help anybody.
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// A code that a person types off a screen: 80 bits in four groups, without letters that look like
/// digits.
///
/// # Errors
/// The kernel gives no random bytes.
pub(super) fn code() -> Result<String, String> {
    const LETTERS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| format!("no random bytes: {error}"))?;
    let letters = bytes.map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
    Ok(groups.join("-"))
}

/// What was typed, as [`code`] writes it, with or without what separates the groups.
pub(super) fn typed_code(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_a_code_is_taken_as_it_was_typed() {
        let (one, two) = (Secret::new().unwrap(), Secret::new().unwrap());
        assert_eq!(one.text().len(), 64);
        assert_ne!(one.text(), two.text());
        assert_eq!(format!("{one:?}"), "Secret");
        let code = code().unwrap();
        assert_eq!((code.len(), code.matches('-').count()), (19, 3));
        let sloppy = format!(" {} ", code.to_lowercase().replace('-', " "));
        assert_eq!(typed_code(&sloppy), typed_code(&code));
    }
}
