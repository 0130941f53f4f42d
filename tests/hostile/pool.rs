//! The good messages that hostile ones are made of: requests of every kind, responses, the
//! torture files, and REGISTERs whose digests are right, which phones make anew all the time.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use super::checks::shard::{self, Digests};
use super::common::cluster::{Cluster, Options};
use super::common::{Challenge, Phone, Response};
use super::rng::Rng;

/// Phones; as many accounts, of which some have two.
const PHONES: usize = 16;
/// Accounts.
pub const ACCOUNTS: u32 = 12;
/// REGISTERs with right digests that are held at a time.
pub const REGISTERS: usize = 48;

/// A phone and where it stands.
struct Device {
    phone: Phone,
    home: SocketAddr,
    sha256: bool,
}

/// The pool.
pub struct Pool {
    /// Good messages, those of the phones first.
    pub messages: Vec<Vec<u8>>,
    /// Where each was made, or would be sent from.
    pub homes: Vec<SocketAddr>,
    devices: Vec<Device>,
    oldest: usize,
    /// REGISTERs of the phones that were sent unchanged, and the 200s they got.
    pub registers: u64,
    pub accepted: u64,
}

impl Pool {
    /// Fills a pool; the phones ask `cluster` for their challenges.
    pub fn new(rng: &mut Rng, cluster: &mut Cluster, digests: &mut Digests) -> Pool {
        let devices = (0..PHONES).map(|nth| {
            let number = nth as u32 % ACCOUNTS + 1;
            let home = if nth % 4 == 3 {
                format!("[2001:db8::{nth:x}]:5060")
            } else {
                format!("192.0.2.{}:5060", nth + 1)
            };
            let phone = Phone::new(number, &format!("d{nth}"), &home);
            let home = home.parse().expect("an address");
            Device { phone, home, sha256: nth % 2 == 1 }
        });
        let mut pool = Pool {
            messages: Vec::new(),
            homes: Vec::new(),
            devices: devices.collect(),
            oldest: 0,
            registers: 0,
            accepted: 0,
        };
        for _ in 0..REGISTERS {
            let (text, home) = pool.make(rng, cluster, digests);
            pool.messages.push(text.into_bytes());
            pool.homes.push(home);
        }
        for message in stock() {
            pool.messages.push(message);
            pool.homes.push("203.0.113.1:5060".parse().expect("an address"));
        }
        pool
    }

    /// A REGISTER takes the place of the oldest; half of them are sent as they are.
    pub fn renew(&mut self, rng: &mut Rng, cluster: &mut Cluster, digests: &mut Digests) {
        let (text, home) = self.make(rng, cluster, digests);
        if rng.once_in(2) {
            let sent = shard::give(cluster, digests, rng.below(8), home, text.as_bytes());
            self.registers += 1;
            self.accepted += u64::from(sent.is_some_and(|s| s.bytes.starts_with(b"SIP/2.0 200 ")));
        }
        self.messages[self.oldest].clear();
        self.messages[self.oldest].extend_from_slice(text.as_bytes());
        self.homes[self.oldest] = home;
        self.oldest = (self.oldest + 1) % REGISTERS;
    }

    fn make(
        &mut self,
        rng: &mut Rng,
        cluster: &mut Cluster,
        digests: &mut Digests,
    ) -> (String, SocketAddr) {
        let at = rng.below(PHONES);
        let Device { phone, home, sha256 } = &mut self.devices[at];
        // A nonce grows old, and what hostile messages left at an account may block a Call-ID.
        if phone.challenge.is_none() || rng.once_in(50) {
            phone.challenge = None;
            phone.call_id = format!("call-{:x}", rng.next());
            let asked = phone.register(60);
            let sent = shard::give(cluster, digests, at, *home, asked.as_bytes());
            let answer = Response::parse(&sent.expect("a challenge").bytes);
            let wanted = if *sha256 { "SHA-256" } else { "MD5" };
            phone.challenge = answer
                .all("www-authenticate")
                .map(Challenge::parse)
                .find(|challenge| challenge.algorithm == wanted);
            phone.nc = 0;
            assert!(phone.challenge.is_some(), "{wanted} is offered");
        }
        let contact = format!("<{}>", phone.contact);
        let uuid = format!("{contact};+sip.instance=\"<urn:uuid:{at}>\";reg-id=1;q=0.5");
        let text = match rng.below(8) {
            0 => phone.request(&[("Contact", "*"), ("Expires", "0")]),
            1 => phone.request(&[]),
            2 => phone.request(&[("Contact", &uuid), ("Supported", "path, outbound")]),
            3 => phone.request(&[("m", "<sip:a@192.0.2.77;transport=udp>;expires=90, sip:b@h")]),
            4 => phone.request(&[("Contact", &contact), ("Expires", "0")]),
            5 => phone.request(&[("Contact", &contact), ("Path", "<sip:p.example.com;lr>")]),
            _ => phone.register(60 + rng.below(4000) as u32),
        };
        digests.made(phone, &text);
        (text, *home)
    }
}

/// The domains, limits and algorithms of the clusters the pool is for.
pub fn options(shards: u8) -> Options {
    let mut options = Options { shards, accounts: ACCOUNTS, ..Options::default() };
    options.algorithms = aorta::config::Algorithms::BOTH;
    options.registrar.bindings_max = 3;
    options
}

/// Messages that need no password: the torture files, and what else a registrar meets.
fn stock() -> Vec<Vec<u8>> {
    let request = |line: &str, more: &str| {
        let method = line.split(' ').next().expect("a method");
        let text = format!(
            "{line} SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bKs;rport\r\n\
             Via: SIP/2.0/UDP 198.51.100.2;branch=z9hG4bKt;received=198.51.100.3, SIP/2.0/TCP h\r\n\
             Max-Forwards: 70\r\nFrom: \"S \\\"x\\\" T\" <sip:u1@example.com>;tag=f\r\n\
             To: <sip:u1@example.com>\r\nCall-ID: stock@example.com\r\nCSeq: 9 {method}\r\n\
             {more}Content-Length: 0\r\n\r\n"
        );
        text.into_bytes()
    };
    let contacts: String =
        (0..16).map(|n| format!("Contact: <sip:u1@192.0.2.{n}:{n}>;q=0.{n}\r\n")).collect();
    let response = "SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKs\r\n\
        From: <sip:u1@example.com>;tag=f\r\nTo: <sip:u1@example.com>;tag=t\r\n\
        Call-ID: stock@example.com\r\nCSeq: 9 REGISTER\r\nContent-Length: 0\r\n\r\n";
    let guessed = "Authorization: Digest username=\"u1\", realm=\"example.com\", \
        nonce=\"00000000000000000000\", uri=\"sip:example.com\", \
        response=\"00000000000000000000000000000000\", algorithm=MD5, qop=auth, nc=00000001, \
        cnonce=\"c\"\r\n";
    let mut messages = vec![
        request("REGISTER sip:example.com", "Contact: <sip:u1@192.0.2.9>\r\nExpires: 60\r\n"),
        request("REGISTER sip:example.com", guessed),
        request("REGISTER sips:EXAMPLE.com;a=b", &contacts),
        request("REGISTER sip:elsewhere.example.net", ""),
        request("OPTIONS sip:example.com", "Accept: application/sdp\r\n"),
        request("OPTIONS sip:u1@example.com;transport=udp?a=b", "Require: path\r\n"),
        request("INVITE sip:u1@example.com", "Contact: <sip:u2@192.0.2.9>\r\n"),
        request("ACK sip:u1@example.com", ""),
        request("CANCEL sip:u1@example.com", ""),
        request("BYE sip:u1@example.com", ""),
        request("MESSAGE tel:+15550100", ""),
        response.as_bytes().to_vec(),
        response.replace("200 OK", "401 Unauthorized").into_bytes(),
        b"\r\n\r\n".to_vec(),
        b"HELLO".to_vec(),
    ];
    let torture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/torture");
    let mut files: Vec<_> = fs::read_dir(torture)
        .expect("the torture files")
        .map(|entry| entry.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dat"))
        .collect();
    files.sort();
    messages.extend(files.iter().map(|path| fs::read(path).expect("a readable file")));
    messages
}
