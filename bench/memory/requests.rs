//! The REGISTER of any phone, made from its number alone, so that ten million need no memory:
//! a contact of some 45 bytes, a Call-ID of 36, an instance of 47 and one of 64 user agents.

use std::io::Write;
use std::net::SocketAddr;

use aorta::auth::digest::{HexDigest, QopAuth, ha1, ha2, response};
use aorta::auth::{HashName, NonceText};

use super::phones::{DOMAIN, REALM};

const CNONCE: &[u8] = b"0a4f113b0a4f113b";
const URI: &[u8] = b"sip:example.com";

/// What all phones have in common.
pub struct Requests {
    nonce: NonceText,
    /// How often each phone may have asked; a phone that asked less often leaves some out.
    round: u32,
    ha2: HexDigest,
}

/// Any of `count`, by its place in an order no cache could follow.
pub fn shuffled(nth: usize, count: usize) -> usize {
    // Prime, so that everybody comes once.
    (nth as u64 * 611_953 % count as u64) as usize
}

impl Requests {
    pub fn new(nonce: NonceText) -> Requests {
        Requests { nonce, round: 1, ha2: ha2(HashName::Md5, b"REGISTER", URI) }
    }

    /// From now on all ask with the next CSeq and nonce count.
    pub fn next_round(&mut self) {
        self.round += 1;
    }

    /// All have this nonce from now on.
    pub fn renew(&mut self, nonce: NonceText) {
        self.nonce = nonce;
    }

    /// The address whose nonce it is; behind it each phone has a port.
    pub fn source(phone: usize) -> SocketAddr {
        ([198, 51, 100, 7], 1024 + (phone % 64_000) as u16).into()
    }

    /// Writes the REGISTER of a phone to `out`, over what is there.
    pub fn write(&self, phone: usize, out: &mut Vec<u8>) {
        let (user, cseq) = (phone + 1, self.round);
        let ha1 =
            ha1(HashName::Md5, format!("u{user}").as_bytes(), REALM, format!("p{user}").as_bytes());
        let nc = format!("{cseq:08x}");
        let qop = Some(QopAuth { nc: nc.as_bytes(), cnonce: CNONCE });
        let right = response(&ha1, self.nonce.as_bytes(), qop, &self.ha2).hex();
        let text = |bytes| std::str::from_utf8(bytes).expect("characters");
        let (digits, nonce) = (text(right.as_bytes()), text(self.nonce.as_bytes()));
        let [_, a, b, c] = (phone as u32).to_be_bytes();
        let (make, model) = (["Acme", "Brand", "Corde", "Dring"][phone % 4], phone / 4 % 16);
        out.clear();
        write!(
            out,
            "REGISTER sip:{DOMAIN} SIP/2.0\r\n\
             Via: SIP/2.0/UDP 10.{a}.{b}.{c}:5060;branch=z9hG4bK{user:08x}{cseq:08x};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:u{user}@{DOMAIN}>;tag={user:08x}\r\n\
             To: <sip:u{user}@{DOMAIN}>\r\n\
             Call-ID: {user:08x}-0c31-4b1e-9d0c-5a77c0ffee42\r\n\
             CSeq: {cseq} REGISTER\r\n\
             Contact: <sip:u{user}@10.{a}.{b}.{c}:5060;transport=udp>\
             ;+sip.instance=\"<urn:uuid:{user:08x}-0c31-4000-8000-000a95a0e128>\"\r\n\
             Expires: 3600\r\n\
             User-Agent: {make} Phone {model:02} 5.12.{:03}\r\n\
             Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO\r\n\
             Supported: path, replaces\r\n\
             Authorization: Digest username=\"u{user}\", realm=\"{DOMAIN}\", nonce=\"{nonce}\", \
             uri=\"sip:{DOMAIN}\", response=\"{digits}\", algorithm=MD5, qop=auth, nc={nc}, \
             cnonce=\"0a4f113b0a4f113b\"\r\n\
             Content-Length: 0\r\n\r\n",
            model * 7
        )
        .expect("a Vec takes everything");
    }
}
