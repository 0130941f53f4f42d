//! Writes what strangers send: REGISTER and OPTIONS, with credentials or without, under any
//! User-Agent and any names. It keeps no state: whoever reads the answer tells by its Call-ID
//! which request it was.

use crate::digest::{self, Algorithm};
use crate::roster::Roster;
use crate::wire::challenge::Challenge;
use crate::wire::write::{Writer, hex8, parse_hex8};

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// To be registered.
    Register,
    /// What the server can do.
    Options,
}

impl Method {
    const fn name(self) -> &'static [u8] {
        match self {
            Method::Register => b"REGISTER",
            Method::Options => b"OPTIONS",
        }
    }
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub struct Forged<'a> {
    /// What is asked.
    pub method: Method,
    /// Of which domain.
    pub domain: &'a [u8],
    /// Of which user.
    pub user: &'a [u8],
    /// What says that it is: empty for none.
    pub agent: &'a [u8],
    /// The address in From and To, where it is not the user's own: `name <uri>`.
    pub from: Option<&'a [u8]>,
    /// What stands before the number in Call-ID.
    pub call: &'a [u8],
    /// Which of all requests with that it is.
    pub number: u32,
    /// Which of those with the same number.
    pub cseq: u32,
    /// Its credentials.
    pub credentials: Option<Credentials<'a>>,
}

/// An answer to a challenge.
#[derive(Debug, Clone, Copy)]
pub struct Credentials<'a> {
    /// The challenge.
    pub challenge: Challenge<'a>,
    /// Which of several answers to it.
    pub count: u32,
    /// The password that is tried.
    pub password: &'a [u8],
}

impl Forged<'_> {
    /// Writes it; `None` where the buffer is too small.
    pub fn write(&self, buffer: &mut [u8]) -> Option<usize> {
        let Forged { method, domain, user, agent, from, call, number, cseq, credentials } = *self;
        let mut out = Writer::new(buffer);
        let mut put = |pieces: &[&[u8]]| pieces.iter().for_each(|piece| out.put(piece));
        let number = hex8(number);
        let digits = hex8(cseq);
        put(&[method.name(), b" sip:", domain, b" SIP/2.0\r\n"]);
        put(&[b"Via: SIP/2.0/UDP stranger.invalid:5060;rport;branch=z9hG4bK", call]);
        put(&[&number, &digits, b"\r\nMax-Forwards: 70\r\nFrom: "]);
        let address = |put: &mut dyn FnMut(&[&[u8]])| match from {
            Some(from) => put(&[from]),
            None => put(&[b"<sip:", user, b"@", domain, b">"]),
        };
        address(&mut put);
        put(&[b";tag=", &number, b"\r\nTo: "]);
        address(&mut put);
        put(&[b"\r\nCall-ID: ", call, &number, b"\r\nCSeq: "]);
        out.put_decimal(cseq);
        let mut put = |pieces: &[&[u8]]| pieces.iter().for_each(|piece| out.put(piece));
        put(&[b" ", method.name(), b"\r\n"]);
        if !agent.is_empty() {
            put(&[b"User-Agent: ", agent, b"\r\n"]);
        }
        if method == Method::Register {
            put(&[b"Contact: <sip:", user, b"@stranger.invalid:5060>\r\nExpires: 60\r\n"]);
        }
        if let Some(credentials) = credentials {
            credentials.write(self, &mut put);
        }
        put(&[b"Content-Length: 0\r\n\r\n"]);
        out.finish()
    }
}

impl Credentials<'_> {
    fn write(&self, request: &Forged<'_>, put: &mut dyn FnMut(&[&[u8]])) {
        let Credentials { challenge, count, password } = *self;
        let algorithm = challenge.algorithm.unwrap_or(Algorithm::Md5);
        let ha1 = digest::ha1(algorithm, request.user, challenge.realm, password);
        let uri = [b"sip:", request.domain].concat();
        let ha2 = digest::ha2(algorithm, request.method.name(), &uri);
        let (nc, cnonce) = (hex8(count), *b"0a4f113b");
        let counted = challenge.qop_auth.then_some((nc, cnonce));
        let response =
            digest::response(algorithm, ha1.as_bytes(), challenge.nonce, counted, ha2.as_bytes());
        put(&[b"Authorization: Digest username=\"", request.user, b"\", realm=\""]);
        put(&[challenge.realm, b"\", nonce=\"", challenge.nonce, b"\", uri=\"", &uri]);
        put(&[b"\", response=\"", response.as_bytes(), b"\", algorithm="]);
        put(&[algorithm.token().as_bytes()]);
        if challenge.qop_auth {
            put(&[b", qop=auth, nc=", &nc, b", cnonce=\"", &cnonce, b"\""]);
        }
        if !challenge.opaque.is_empty() {
            put(&[b", opaque=\"", challenge.opaque, b"\""]);
        }
        put(&[b"\r\n"]);
    }
}

/// The number in a Call-ID, where it is one of those that begin so.
pub fn number_of(call_id: &[u8], call: &[u8]) -> Option<u32> {
    parse_hex8(call_id.strip_prefix(call)?)
}

/// The domain of an account.
pub(super) fn domain(roster: &Roster, account: u32) -> &[u8] {
    roster.domains()[roster.domain(account)].as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forged<'a>() -> Forged<'a> {
        Forged {
            method: Method::Register,
            domain: b"example.com",
            user: b"u1",
            agent: b"friendly-scanner",
            from: None,
            call: b"test-",
            number: 0xabc,
            cseq: 7,
            credentials: None,
        }
    }

    fn text(forged: &Forged<'_>) -> String {
        let mut buffer = [0; 2048];
        let length = forged.write(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    }

    #[test]
    fn a_stranger_is_written_as_told() {
        let register = text(&forged());
        assert!(register.starts_with("REGISTER sip:example.com SIP/2.0\r\nVia: SIP/2.0/UDP "));
        assert!(register.contains("\r\nFrom: <sip:u1@example.com>;tag=00000abc\r\nTo: <sip:u1@e"));
        assert!(register.contains("\r\nCall-ID: test-00000abc\r\nCSeq: 7 REGISTER\r\n"));
        assert!(register.contains("\r\nUser-Agent: friendly-scanner\r\nContact: <sip:u1@"));
        assert!(register.ends_with("\r\nContent-Length: 0\r\n\r\n"));
        let from: &[u8] = b"\"sipvicious\" <sip:100@1.1.1.1>";
        let options = text(&Forged { method: Method::Options, from: Some(from), ..forged() });
        assert!(options.contains("\r\nFrom: \"sipvicious\" <sip:100@1.1.1.1>;tag="), "{options}");
        assert!(!options.contains("Contact") && !options.contains("Expires"));
        assert_eq!(number_of(b"test-00000abc", b"test-"), Some(0xabc));
        assert_eq!(number_of(b"test-00000abc", b"other-"), None);
        assert_eq!(forged().write(&mut [0; 100]), None, "never cut short");
    }

    #[test]
    fn credentials_are_the_digest_of_their_parts() {
        let value = b"Digest realm=\"example.com\", nonce=\"n\", qop=\"auth\", opaque=\"o\"";
        let challenge = Challenge::parse(value).unwrap();
        let credentials = Some(Credentials { challenge, count: 2, password: b"p1" });
        let text = text(&Forged { credentials, ..forged() });
        let ha1 = digest::ha1(Algorithm::Md5, b"u1", b"example.com", b"p1");
        let ha2 = digest::ha2(Algorithm::Md5, b"REGISTER", b"sip:example.com");
        let whole = [ha1.as_bytes(), b":n:00000002:0a4f113b:auth:", ha2.as_bytes()].concat();
        let hash = Algorithm::Md5.hash(&whole);
        let response = std::str::from_utf8(hash.as_bytes()).unwrap();
        let expected = format!("response=\"{response}\", algorithm=MD5, qop=auth, nc=00000002, ");
        assert!(text.contains(&expected) && text.contains(", opaque=\"o\"\r\n"), "{text}");
    }
}
