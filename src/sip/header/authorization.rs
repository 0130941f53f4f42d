//! Digest credentials of Authorization and Proxy-Authorization (RFC 3261 20.7, RFC 7616 3.4).

/// Digest algorithm named in credentials or a challenge (RFC 8760 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `MD5`, also meant where none is named.
    Md5,
    /// `SHA-256`.
    Sha256,
    /// Any other; never offered, so never right.
    Other,
}

/// `qop` of the credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qop {
    /// `qop=auth`.
    Auth,
    /// Any other value.
    Other,
}

/// Digest credentials, quoted strings still escaped as they stood (quotes taken off).
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// `username`.
    pub username: &'a [u8],
    /// `realm`.
    pub realm: &'a [u8],
    /// `nonce`.
    pub nonce: &'a [u8],
    /// `uri`.
    pub uri: &'a [u8],
    /// `response`: as it stood; 32 or 64 hex digits if it is any good.
    pub response: &'a [u8],
    /// `algorithm`.
    pub algorithm: Algorithm,
    /// `qop`, absent for an RFC 2069 client.
    pub qop: Option<Qop>,
    /// `nc` as it stood (8 hex digits enter the digest as text) and as a number.
    pub nc: Option<(&'a [u8], u32)>,
    /// `cnonce`.
    pub cnonce: Option<&'a [u8]>,
}
