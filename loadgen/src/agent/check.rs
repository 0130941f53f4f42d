//! What may be wrong with an answer, and the check of the bindings a 200 lists
//! (RFC 3261 10.3 step 8). The agent says what was asked; nothing here is changed by it.

use crate::wire::scan::{Answer, Malformed};
use std::fmt;

macro_rules! wrongs {
    ($($(#[doc = $doc:literal])+ $name:ident => $key:literal, $text:literal;)+) => {
        /// Why an answer is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Wrong { $($(#[doc = $doc])+ $name,)+ }

        impl Wrong {
            /// Every reason, in order.
            pub const ALL: [Wrong; Wrong::COUNT] = [$(Wrong::$name,)+];
            /// Number of reasons.
            pub const COUNT: usize = [$($key,)+].len();

            /// Short name for machines.
            pub const fn key(self) -> &'static str {
                match self { $(Wrong::$name => $key,)+ }
            }
        }

        impl fmt::Display for Wrong {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(Wrong::$name => $text,)+ })
            }
        }
    };
}

wrongs! {
    /// It begins like an answer and cannot be read.
    Malformed => "malformed", "the answer cannot be read";
    /// Call-ID is not the request's (RFC 3261 8.2.6.2).
    CallId => "call_id", "the Call-ID is not the request's";
    /// CSeq is not the request's.
    CSeq => "cseq", "the CSeq is not the request's";
    /// The tag of From is not the request's.
    FromTag => "from_tag", "the From tag is not the request's";
    /// A final answer has no tag in To.
    ToTag => "to_tag", "the To header has no tag";
    /// A status that the scenario does not expect.
    Status => "status", "the status is not expected here";
    /// A REGISTER without credentials got a 200.
    Unchallenged => "unchallenged", "200 without asking for credentials";
    /// A wrong password got a 200.
    Accepted => "accepted", "200 to a wrong password";
    /// Right credentials were refused without `stale=true`.
    Refused => "refused", "right credentials are refused";
    /// A challenge is missing, has no supported algorithm, or only qop=auth-int.
    Challenge => "challenge", "no challenge in it that can be answered";
    /// The own contact is not among the bindings.
    ContactMissing => "contact_missing", "the own Contact is not listed";
    /// Another contact is listed where one binding is the limit.
    ContactForeign => "contact_foreign", "another device's Contact is listed beside the own";
    /// The own contact is still listed after it was removed.
    ContactStays => "contact_stays", "the removed Contact is still listed";
    /// The own contact has no expiry.
    ExpiresMissing => "expires_missing", "the own Contact has no expiry";
    /// The own contact is granted no time.
    ExpiresZero => "expires_zero", "the own Contact is granted no time";
    /// The own contact is granted more than was asked for.
    ExpiresTooLong => "expires_too_long", "the own Contact is granted more time than asked for";
    /// The answer to the challenge does not fit a datagram.
    TooLong => "too_long", "the challenge makes the next request too long";
}

impl From<Malformed> for Wrong {
    fn from(_: Malformed) -> Self {
        Wrong::Malformed
    }
}

/// The contact a phone registers, in the pieces it is written from.
#[derive(Debug, Clone, Copy)]
pub struct OwnContact<'a> {
    /// User part.
    pub user: &'a [u8],
    /// Follows the user part on an account's second device.
    pub suffix: &'a [u8],
    /// Host and port.
    pub host: &'a [u8],
}

impl OwnContact<'_> {
    /// Whether a listed URI is this contact. The server keeps what it was given, so bytes are
    /// compared; parameters it adds are allowed.
    pub fn is(&self, uri: &[u8]) -> bool {
        let rest = uri
            .strip_prefix(b"sip:")
            .and_then(|rest| rest.strip_prefix(self.user))
            .and_then(|rest| rest.strip_prefix(self.suffix))
            .and_then(|rest| rest.strip_prefix(b"@"))
            .and_then(|rest| rest.strip_prefix(self.host));
        matches!(rest, Some([] | [b';', ..]))
    }
}

/// Seconds granted to the own contact by a 200: listed, with 0 < expires <= asked
/// (RFC 3261 10.2.4); nothing else listed where `alone`.
pub fn granted(
    answer: &Answer<'_>,
    own: OwnContact<'_>,
    asked: u32,
    alone: bool,
) -> Result<u32, Wrong> {
    let mut granted = None;
    for contact in answer.contacts() {
        if own.is(contact.uri) {
            let expires = contact.expires().or(answer.expires).ok_or(Wrong::ExpiresMissing)?;
            granted = Some(expires);
        } else if alone {
            return Err(Wrong::ContactForeign);
        }
    }
    match granted {
        None => Err(Wrong::ContactMissing),
        Some(0) => Err(Wrong::ExpiresZero),
        Some(expires) if expires > asked => Err(Wrong::ExpiresTooLong),
        Some(expires) => Ok(expires),
    }
}

/// The own contact is gone from the bindings that a 200 lists.
pub fn removed(answer: &Answer<'_>, own: OwnContact<'_>) -> Result<(), Wrong> {
    match answer.contacts().any(|contact| own.is(contact.uri)) {
        true => Err(Wrong::ContactStays),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: OwnContact<'static> =
        OwnContact { user: b"u1", suffix: b"", host: b"127.0.0.1:4000" };

    fn check(headers: &str, alone: bool) -> Result<u32, Wrong> {
        let text = format!("SIP/2.0 200 OK\r\n{headers}\r\n");
        granted(&Answer::scan(text.as_bytes()).unwrap(), OWN, 300, alone)
    }

    #[test]
    fn rfc3261_10_2_4_the_expiry_is_the_parameter_or_the_header() {
        assert_eq!(check("Contact: <sip:u1@127.0.0.1:4000>;expires=300\r\n", true), Ok(300));
        let header = "Contact: <sip:u1@127.0.0.1:4000>\r\nExpires: 60\r\n";
        assert_eq!(check(header, true), Ok(60));
    }

    #[test]
    fn every_fault_of_the_listed_bindings_is_told() {
        for (headers, why) in [
            ("", Wrong::ContactMissing),
            ("Contact: <sip:u1@127.0.0.1:40001>;expires=60\r\n", Wrong::ContactMissing),
            ("Contact: <sip:u11@127.0.0.1:4000>;expires=60\r\n", Wrong::ContactMissing),
            ("Contact: <sip:u1@127.0.0.1:4000>\r\n", Wrong::ExpiresMissing),
            ("Contact: <sip:u1@127.0.0.1:4000>;expires=0\r\n", Wrong::ExpiresZero),
            ("Contact: <sip:u1@127.0.0.1:4000>;expires=301\r\n", Wrong::ExpiresTooLong),
        ] {
            assert_eq!(check(headers, false), Err(why), "{headers}");
        }
    }

    #[test]
    fn a_foreign_contact_is_wrong_only_where_the_limit_is_one() {
        let both = "Contact: <sip:u1@127.0.0.1:4000>;expires=60, <sip:u1@10.0.0.1>;expires=9\r\n";
        assert_eq!(check(both, false), Ok(60));
        assert_eq!(check(both, true), Err(Wrong::ContactForeign));
    }

    #[test]
    fn keys_are_distinct_and_in_order() {
        for (index, wrong) in Wrong::ALL.into_iter().enumerate() {
            assert_eq!(wrong as usize, index);
            assert!(Wrong::ALL[..index].iter().all(|other| other.key() != wrong.key()));
        }
    }
}
