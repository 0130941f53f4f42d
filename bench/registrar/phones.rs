//! The phones of the bench: what each remembers, and its REGISTER of some 700 bytes with 14
//! headers, written outside the measured time.

use std::io::Write;
use std::net::SocketAddr;

use aorta::auth::digest::{Digest, HexDigest, QopAuth, ha1, ha2, response};
use aorta::auth::{HashName, NonceText};

pub const DOMAIN: &str = "example.com";
pub const REALM: &[u8] = DOMAIN.as_bytes();
const CNONCE: &[u8] = b"0a4f113b0a4f113b";
const URI: &[u8] = b"sip:example.com";

/// What a phone asks.
#[derive(Clone, Copy, PartialEq)]
pub enum Ask {
    /// A REGISTER of its contact with the credentials of its nonce.
    Refresh,
    /// A REGISTER without credentials.
    Unchallenged,
    /// As a refresh, with a password that is wrong.
    WrongPassword,
    /// As a refresh, for so short a time that it is refused.
    TooBrief,
    /// OPTIONS to the domain.
    Options,
}

/// One phone for each account u1 to uN.
pub struct Phones {
    states: Vec<State>,
    ha2: HexDigest,
    seed: u64,
}

#[derive(Clone)]
struct State {
    ha1: Digest,
    nonce: NonceText,
    nc: u32,
    cseq: u32,
}

impl Phones {
    pub fn new(count: usize) -> Phones {
        let state = |index: usize| {
            let (user, password) = (format!("u{}", index + 1), format!("p{}", index + 1));
            State {
                ha1: ha1(HashName::Md5, user.as_bytes(), REALM, password.as_bytes()),
                nonce: NonceText::plain([b'-'; 20]),
                nc: 0,
                cseq: 0,
            }
        };
        let ha2 = ha2(HashName::Md5, b"REGISTER", URI);
        Phones { states: (0..count).map(state).collect(), ha2, seed: 0x9e37_79b9_7f4a_7c15 }
    }

    pub fn len(&self) -> usize {
        self.states.len()
    }

    /// Any of them.
    pub fn random(&mut self) -> usize {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        (self.seed % self.states.len() as u64) as usize
    }

    /// Gives a phone the nonce of the 401 in `answer`.
    pub fn challenge(&mut self, phone: usize, answer: &[u8]) {
        let text = std::str::from_utf8(answer).expect("text");
        let nonce = text.split("nonce=\"").nth(1).expect("a challenge").as_bytes();
        self.give(phone, NonceText::plain(nonce[..20].try_into().expect("twenty characters")));
    }

    /// Gives a phone a nonce.
    pub fn give(&mut self, phone: usize, nonce: NonceText) {
        self.states[phone].nonce = nonce;
        self.states[phone].nc = 0;
    }

    /// The source all phones share: their nonces are bound to its address.
    pub fn source() -> SocketAddr {
        ([198, 51, 100, 7], 40_000).into()
    }

    /// Writes the next request of a phone to `out`, over what is there.
    pub fn write(&mut self, phone: usize, ask: Ask, out: &mut Vec<u8>) {
        let Phones { states, ha2, .. } = self;
        let state = &mut states[phone];
        state.cseq += 1;
        let (number, cseq) = (phone + 1, state.cseq);
        let method = if ask == Ask::Options { "OPTIONS" } else { "REGISTER" };
        out.clear();
        let mut put = |text: std::fmt::Arguments<'_>| {
            out.write_fmt(text).expect("a Vec takes everything");
        };
        let host = format!("10.{}.{}.{}:5060", number >> 16 & 255, number >> 8 & 255, number & 255);
        put(format_args!(
            "{method} sip:{DOMAIN} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {host};branch=z9hG4bK{number:08x}{cseq:08x};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:u{number}@{DOMAIN}>;tag={number:08x}\r\n\
             To: <sip:u{number}@{DOMAIN}>\r\n\
             Call-ID: {number:08x}-4b1e-9d0c-5a77c0ffee42\r\n\
             CSeq: {cseq} {method}\r\n\
             Contact: <sip:u{number}@{host};transport=udp>\r\n\
             Expires: {}\r\n\
             User-Agent: Acme Phone 5.12 (release)\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO\r\n\
             Allow-Events: talk, hold, conference\r\n\
             Supported: path, replaces\r\n",
            if ask == Ask::TooBrief { 30 } else { 3600 }
        ));
        if matches!(ask, Ask::Refresh | Ask::WrongPassword | Ask::TooBrief) {
            state.nc += 1;
            let nc = format!("{:08x}", state.nc);
            let qop = Some(QopAuth { nc: nc.as_bytes(), cnonce: CNONCE });
            let right = response(&state.ha1, state.nonce.as_bytes(), qop, ha2).hex();
            let hex = std::str::from_utf8(right.as_bytes()).expect("digits");
            let shown = if ask == Ask::WrongPassword { "0".repeat(hex.len()) } else { hex.into() };
            put(format_args!(
                "Authorization: Digest username=\"u{number}\", realm=\"{DOMAIN}\", nonce=\"{}\", \
                 uri=\"sip:{DOMAIN}\", response=\"{shown}\", algorithm=MD5, qop=auth, nc={nc}, \
                 cnonce=\"0a4f113b0a4f113b\"\r\n",
                std::str::from_utf8(state.nonce.as_bytes()).expect("characters")
            ));
        }
        put(format_args!("Content-Length: 0\r\n\r\n"));
    }
}
