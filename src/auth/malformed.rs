//! Whether credentials can be checked at all, before anything is hashed: what must be there is
//! there, and nothing is so long that hashing it would be a weapon.

use crate::auth::digest::{HashName, QopAuth, is_hex};
use crate::limits::{CNONCE_BYTES_MAX, DIGEST_URI_BYTES_MAX, NONCE_BYTES_MAX};
use crate::sip::header::authorization::{Credentials, Qop};

/// The parameter that is missing, too long or meaningless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// `username` is empty.
    Username,
    /// `nonce` is empty or longer than [`NONCE_BYTES_MAX`].
    Nonce,
    /// `uri` is empty or longer than [`DIGEST_URI_BYTES_MAX`].
    Uri,
    /// `response` is not a hash of the algorithm in hexadecimal digits.
    Response,
    /// `qop` is not `auth`, or missing beside SHA-256.
    Qop,
    /// `qop=auth` without `nc`, or with one of 0 (RFC 7616 3.4).
    Nc,
    /// `qop=auth` without `cnonce` (RFC 7616 3.4), or it is longer than [`CNONCE_BYTES_MAX`].
    Cnonce,
}

impl Malformed {
    /// The parameter, as it stands in the header: for a reason phrase.
    #[must_use]
    pub fn parameter(self) -> &'static str {
        match self {
            Malformed::Username => "username",
            Malformed::Nonce => "nonce",
            Malformed::Uri => "uri",
            Malformed::Response => "response",
            Malformed::Qop => "qop",
            Malformed::Nc => "nc",
            Malformed::Cnonce => "cnonce",
        }
    }
}

/// What is wrong whatever the algorithm. Lengths are bounded before anything is hashed.
pub(super) fn malformed(credentials: &Credentials<'_>) -> Option<Malformed> {
    let within = |text: &[u8], max: usize| !text.is_empty() && text.len() <= max;
    if credentials.username.is_empty() {
        Some(Malformed::Username)
    } else if !within(credentials.nonce, NONCE_BYTES_MAX) {
        Some(Malformed::Nonce)
    } else if !within(credentials.uri, DIGEST_URI_BYTES_MAX) {
        Some(Malformed::Uri)
    } else if credentials.response.is_empty() {
        Some(Malformed::Response)
    } else {
        None
    }
}

/// What of the qop enters the digest, and the nonce count that is used up.
pub(super) fn proof<'a>(
    credentials: &Credentials<'a>,
    name: HashName,
) -> Result<(Option<QopAuth<'a>>, u32), Malformed> {
    let response = credentials.response;
    if response.len() != name.bytes() * 2 || !is_hex(response) {
        return Err(Malformed::Response);
    }
    match credentials.qop {
        Some(Qop::Auth) => {
            // "The first request sent in response to a given nonce value": counts begin at 1.
            let (nc, number) = credentials.nc.filter(|&(_, n)| n > 0).ok_or(Malformed::Nc)?;
            let cnonce = credentials
                .cnonce
                .filter(|cnonce| cnonce.len() <= CNONCE_BYTES_MAX)
                .ok_or(Malformed::Cnonce)?;
            Ok((Some(QopAuth { nc, cnonce }), number))
        }
        // RFC 2069 2.1.2: no qop, no counts. The nonce is used up at once.
        None if name == HashName::Md5 => Ok((None, 1)),
        None | Some(Qop::Other) => Err(Malformed::Qop),
    }
}
