//! Which account a `username` names: that of the address-of-record, or none.
//!
//! The address-of-record is canonical: its user part is escaped where a URI needs it. A username
//! is plain text in a quoted string. So the two are compared by what they stand for, byte for
//! byte, upper and lower case apart.

use crate::sip::scan::{hex_value, unescape};

/// How credentials name the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsernameForm {
    /// `user`
    User,
    /// `user@domain`
    Aor,
}

/// How `username`, as it stood between its quotes, names the canonical `aor`; `None` if it names
/// somebody else.
#[must_use]
pub fn form_of(username: &[u8], aor: &[u8]) -> Option<UsernameForm> {
    let (user, domain) = split(aor)?;
    if username == user && !user.contains(&b'%') {
        return Some(UsernameForm::User);
    }
    let named = unescape(username);
    if named.clone().eq(plain_user(user)) {
        return Some(UsernameForm::User);
    }
    let whole = plain_user(user).chain([b'@']).chain(domain.iter().copied());
    named.eq(whole).then_some(UsernameForm::Aor)
}

/// User part and domain of a canonical address-of-record.
#[must_use]
pub fn split(aor: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = memchr::memchr(b'@', aor)?;
    Some((&aor[..at], &aor[at + 1..]))
}

/// The bytes a user part stands for (RFC 3261 19.1.2, `escaped`). What is no escape stands for
/// itself.
pub fn plain_user(user: &[u8]) -> impl Iterator<Item = u8> + Clone + '_ {
    let mut rest = user;
    std::iter::from_fn(move || {
        let (&first, tail) = rest.split_first()?;
        if first == b'%'
            && let [high, low, after @ ..] = tail
            && let (Some(high), Some(low)) = (hex_value(*high), hex_value(*low))
        {
            rest = after;
            return Some(high << 4 | low);
        }
        rest = tail;
        Some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(username: &str, aor: &str) -> Option<UsernameForm> {
        form_of(username.as_bytes(), aor.as_bytes())
    }

    #[test]
    fn user_alone_and_whole_aor_name_the_account() {
        assert_eq!(form("alice", "alice@example.com"), Some(UsernameForm::User));
        assert_eq!(form("alice@example.com", "alice@example.com"), Some(UsernameForm::Aor));
    }

    #[test]
    fn anybody_else_is_not_the_account() {
        let others = [
            "",
            "Alice",
            "alic",
            "alicee",
            "bob",
            "alice@",
            "alice@example.net",
            "@example.com",
            "alice@example.com@example.com",
            "alice@EXAMPLE.com",
            "sip:alice@example.com",
        ];
        for other in others {
            assert_eq!(form(other, "alice@example.com"), None, "{other}");
        }
        assert_eq!(form("", "example.com"), None);
    }

    #[test]
    fn escapes_of_both_sides_are_undone_first() {
        assert_eq!(form(r"al\ice", "alice@example.com"), Some(UsernameForm::User));
        assert_eq!(form("#31 a", "%2331%20a@example.com"), Some(UsernameForm::User));
        assert_eq!(form(r#"a\"b"#, "a%22b@example.com"), Some(UsernameForm::User));
        assert_eq!(form("#1@example.com", "%231@example.com"), Some(UsernameForm::Aor));
        assert_eq!(form("%231", "%231@example.com"), None);
        assert_eq!(form("a%20b", "a%2520b@example.com"), Some(UsernameForm::User));
    }
}
