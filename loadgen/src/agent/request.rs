//! Writes the requests of the phones. What phones share (start line, User-Agent, local
//! address) is rendered once; a request is those pieces with the few fields that differ put
//! between. The same state writes the same bytes, so a retransmission needs no copy kept.

use crate::digest::{self, Algorithm};
use crate::roster::Roster;
use crate::scenarios::Action;
use crate::wire::write::{Writer, hex8, parse_hex8};
use std::net::SocketAddr;

/// A local socket as requests name it.
#[derive(Debug)]
pub struct Line {
    via: Vec<u8>,
    /// `address:port`, in brackets for IPv6.
    pub host: Vec<u8>,
}

impl Line {
    /// The pieces for one local address.
    pub fn new(local: SocketAddr) -> Self {
        // Without an IPv6 scope, which means nothing to the other side.
        let host = SocketAddr::new(local.ip(), local.port()).to_string();
        Line {
            via: format!("Via: SIP/2.0/UDP {host};rport;branch=z9hG4bK").into_bytes(),
            host: host.into_bytes(),
        }
    }
}

/// Phones as they are sold: name, methods, extensions, whether they send an instance
/// (RFC 5626 4.1), whether they write the expiry into Contact or into a header of its own.
const CLASSES: [(&str, &str, &str, bool, bool); 12] = [
    (
        "Yealink SIP-T46U 108.86.0.45",
        "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, REFER, UPDATE",
        "",
        false,
        false,
    ),
    (
        "Grandstream GXP2170 1.0.11.64",
        "INVITE, ACK, OPTIONS, CANCEL, BYE, SUBSCRIBE, NOTIFY, INFO, REFER, UPDATE",
        "path",
        true,
        false,
    ),
    (
        "snomD785/10.1.184.15",
        "INVITE, ACK, CANCEL, BYE, REFER, OPTIONS, NOTIFY, SUBSCRIBE, PRACK, MESSAGE, INFO, UPDATE",
        "path, gruu",
        true,
        false,
    ),
    (
        "PolycomVVX-VVX_411-UA/5.9.7.3480",
        "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, SUBSCRIBE, NOTIFY, PRACK, UPDATE, REFER",
        "",
        false,
        true,
    ),
    (
        "Cisco/SPA525G2-7.6.2c",
        "ACK, BYE, CANCEL, INFO, INVITE, NOTIFY, OPTIONS, REFER",
        "replaces",
        false,
        true,
    ),
    (
        "Linphone-Desktop/5.2.4 (SDK 5.3.40)",
        "INVITE, ACK, CANCEL, OPTIONS, BYE, REFER, NOTIFY, MESSAGE, SUBSCRIBE, INFO, PRACK, UPDATE",
        "replaces, outbound, gruu, path",
        true,
        false,
    ),
    (
        "MicroSIP/3.21.4",
        "PRACK, INVITE, ACK, BYE, CANCEL, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER, MESSAGE, OPTIONS",
        "",
        false,
        false,
    ),
    (
        "Zoiper v2.10.20.2",
        "INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, MESSAGE, OPTIONS, INFO, SUBSCRIBE",
        "",
        false,
        true,
    ),
    (
        "FPBX-16.0.40(18.20.2)",
        "OPTIONS, REGISTER, SUBSCRIBE, NOTIFY, PUBLISH, INVITE, ACK, BYE, CANCEL, UPDATE, PRACK, \
         MESSAGE, REFER",
        "",
        false,
        false,
    ),
    (
        "Fanvil X6U 2.4.12",
        "INVITE, ACK, OPTIONS, BYE, CANCEL, REFER, NOTIFY, INFO, PRACK, SUBSCRIBE, MESSAGE, UPDATE",
        "",
        false,
        false,
    ),
    (
        "Gigaset N510 IP PRO/42.258.00",
        "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, REFER, SUBSCRIBE, NOTIFY",
        "replaces",
        false,
        true,
    ),
    (
        "baresip v3.10.1 (x86_64/Linux)",
        "INVITE, ACK, BYE, CANCEL, OPTIONS, NOTIFY, SUBSCRIBE, INFO, MESSAGE, UPDATE, REFER",
        "gruu",
        true,
        true,
    ),
];

#[derive(Debug)]
struct Class {
    tail: Vec<u8>,
    instance: bool,
    expires_in_contact: bool,
}

#[derive(Debug)]
struct Domain {
    register: Vec<u8>,
    options: Vec<u8>,
    /// `@domain>`
    at: Vec<u8>,
    uri: Vec<u8>,
    ha2: [digest::Hex; 2],
    realm: Vec<u8>,
    generation: u32,
}

/// Which credentials a request carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials {
    /// None.
    Absent,
    /// Those of the account.
    Right,
    /// Those of the account with another password.
    Wrong,
}

/// The challenge an agent answers, kept in one allocation that is used again.
#[derive(Debug)]
pub struct Held {
    text: Vec<u8>,
    nonce: u16,
    algorithm: Algorithm,
    qop: bool,
    proxy: bool,
}

impl Held {
    /// No challenge yet.
    pub const NONE: Held =
        Held { text: Vec::new(), nonce: 0, algorithm: Algorithm::Md5, qop: false, proxy: false };

    /// Whether there is a challenge to answer.
    pub fn is_some(&self) -> bool {
        self.nonce > 0
    }

    /// Forgets it.
    pub fn forget(&mut self) {
        self.nonce = 0;
    }

    /// Keeps a challenge whose values were bounded when it was read.
    pub fn keep(
        &mut self,
        nonce: &[u8],
        opaque: &[u8],
        algorithm: Algorithm,
        qop: bool,
        proxy: bool,
    ) {
        self.text.clear();
        self.text.extend_from_slice(nonce);
        self.text.extend_from_slice(opaque);
        self.nonce = nonce.len() as u16;
        (self.algorithm, self.qop, self.proxy) = (algorithm, qop, proxy);
    }
}

/// All that differs from request to request.
pub struct Request<'a> {
    /// Number of the agent in this thread.
    pub agent: u32,
    /// Number of its request.
    pub sequence: u32,
    /// Number of its account.
    pub account: u32,
    /// 0, or 1 for an account's second device.
    pub device: u32,
    /// What it is doing.
    pub action: Action,
    /// What it shows.
    pub credentials: Credentials,
    /// CSeq number.
    pub cseq: u32,
    /// Nonce count.
    pub nonce_count: u32,
    /// The challenge it answers.
    pub held: &'a Held,
    /// The socket it uses.
    pub line: &'a Line,
}

/// Everything that requests are made of and that does not change with each.
#[derive(Debug)]
pub struct Stationery {
    /// The accounts.
    pub roster: Roster,
    key: [u32; 3],
    key_digits: [[u8; 8]; 3],
    domains: Vec<Domain>,
    classes: Vec<Class>,
    md5: Vec<[u8; 32]>,
    sha256: Vec<[u8; 64]>,
    generations: Vec<u32>,
    expires: u32,
    always_instance: bool,
}

const ALGORITHMS: [Algorithm; 2] = [Algorithm::Md5, Algorithm::Sha256];

impl Stationery {
    /// Renders what is shared and computes HA1 for every account, with the domain as realm.
    /// `key` sets this thread's identifiers apart from all others.
    pub fn new(
        roster: Roster,
        key: [u32; 3],
        expires: u32,
        algorithms: &[Algorithm],
        always_instance: bool,
    ) -> Self {
        let domain = |name: &String| Domain {
            register: format!("REGISTER sip:{name} SIP/2.0\r\n").into_bytes(),
            options: format!("OPTIONS sip:{name} SIP/2.0\r\n").into_bytes(),
            at: format!("@{name}>").into_bytes(),
            uri: format!("sip:{name}").into_bytes(),
            ha2: ALGORITHMS.map(|algorithm| {
                digest::ha2(algorithm, b"REGISTER", format!("sip:{name}").as_bytes())
            }),
            realm: name.clone().into_bytes(),
            generation: 0,
        };
        let class = |&(agent, allow, supported, instance, expires_in_contact): &_| {
            let supported = match supported {
                "" => String::new(),
                extensions => format!("Supported: {extensions}\r\n"),
            };
            let tail = format!("User-Agent: {agent}\r\nAllow: {allow}\r\n{supported}").into_bytes();
            Class { tail, instance, expires_in_contact }
        };
        let count = roster.len() as usize;
        let mut stationery = Stationery {
            domains: roster.domains().iter().map(domain).collect(),
            classes: CLASSES.iter().map(class).collect(),
            key,
            key_digits: key.map(hex8),
            md5: vec![[0; 32]; if algorithms.contains(&Algorithm::Md5) { count } else { 0 }],
            sha256: vec![[0; 64]; if algorithms.contains(&Algorithm::Sha256) { count } else { 0 }],
            generations: vec![0; count],
            expires,
            always_instance,
            roster,
        };
        for account in 0..count as u32 {
            stationery.compute_ha1(account);
        }
        stationery
    }

    fn compute_ha1(&mut self, account: u32) {
        let index = account as usize;
        let domain = &self.domains[self.roster.domain(account)];
        let (user, password) = (self.roster.user(account), self.roster.password(account));
        if let Some(place) = self.md5.get_mut(index) {
            let ha1 = digest::ha1(Algorithm::Md5, user, &domain.realm, password);
            place.copy_from_slice(ha1.as_bytes());
        }
        if let Some(place) = self.sha256.get_mut(index) {
            let ha1 = digest::ha1(Algorithm::Sha256, user, &domain.realm, password);
            place.copy_from_slice(ha1.as_bytes());
        }
        self.generations[index] = domain.generation;
    }

    /// Takes note of the realm of a challenge; HA1 is computed again where it is another.
    pub fn challenged(&mut self, account: u32, realm: &[u8]) {
        let domain = &mut self.domains[self.roster.domain(account)];
        if domain.realm != realm {
            domain.realm = realm.to_vec();
            domain.generation = domain.generation.wrapping_add(1);
        }
        if self.generations[account as usize] != domain.generation {
            self.compute_ha1(account);
        }
    }

    /// Bytes of a request in `buffer`, or `None` where they do not fit.
    pub fn write(&self, request: &Request<'_>, buffer: &mut [u8]) -> Option<usize> {
        let mut out = Writer::new(buffer);
        let user = self.roster.user(request.account);
        let domain = &self.domains[self.roster.domain(request.account)];
        let class = &self.classes[self.class(request.agent)];
        let options = request.action == Action::Options;

        out.put(if options { &domain.options } else { &domain.register });
        out.put(&request.line.via);
        out.put_hex(request.agent);
        out.put_hex(request.sequence);
        out.put(&self.key_digits[0]);
        out.put(b"\r\nMax-Forwards: 70\r\nFrom: <sip:");
        out.put(user);
        out.put(&domain.at);
        out.put(b";tag=");
        out.put(&self.tag_of(request.agent));
        if options {
            out.put(b"\r\nTo: <");
            out.put(&domain.uri);
            out.put(b">");
        } else {
            out.put(b"\r\nTo: <sip:");
            out.put(user);
            out.put(&domain.at);
        }
        out.put(b"\r\nCall-ID: ");
        out.put_hex(request.agent);
        out.put(&self.key_digits[1]);
        out.put(&self.key_digits[2]);
        out.put(b"\r\nCSeq: ");
        out.put_decimal(request.cseq);
        out.put(if options { b" OPTIONS\r\n" } else { b" REGISTER\r\n" });
        if request.action != Action::Fetch {
            self.put_contact(&mut out, request, user, class);
        }
        out.put(&class.tail);
        if request.credentials != Credentials::Absent {
            self.put_credentials(&mut out, request, user, domain);
        }
        out.put(b"Content-Length: 0\r\n\r\n");
        out.finish()
    }

    fn put_contact(&self, out: &mut Writer<'_>, request: &Request<'_>, user: &[u8], class: &Class) {
        out.put(b"Contact: <sip:");
        out.put(user);
        out.put(suffix(request.device));
        out.put(b"@");
        out.put(&request.line.host);
        out.put(b">");
        if class.instance || self.always_instance {
            // A version 4 UUID that names the agent.
            out.put(b";+sip.instance=\"<urn:uuid:");
            out.put_hex(request.agent);
            out.put(b"-");
            out.put(&self.key_digits[1][..4]);
            out.put(b"-4");
            out.put(&self.key_digits[1][5..]);
            out.put(b"-8");
            out.put(&self.key_digits[2][..3]);
            out.put(b"-");
            out.put(&self.key_digits[0]);
            out.put(&self.key_digits[2][4..]);
            out.put(b">\"");
        }
        if request.action == Action::Options {
            out.put(b"\r\n");
            return;
        }
        out.put(if class.expires_in_contact { b";expires=" } else { b"\r\nExpires: " });
        out.put_decimal(if request.action == Action::Unregister { 0 } else { self.expires });
        out.put(b"\r\n");
    }

    fn put_credentials(
        &self,
        out: &mut Writer<'_>,
        request: &Request<'_>,
        user: &[u8],
        domain: &Domain,
    ) {
        let held = request.held;
        let (nonce, opaque) = held.text.split_at(usize::from(held.nonce));
        let count = held.qop.then(|| {
            let cnonce = self.key[2] ^ request.sequence.wrapping_mul(0x9e37_79b1) ^ request.agent;
            (hex8(request.nonce_count), hex8(cnonce))
        });
        let mut ha1 = [0u8; 64];
        let stored: &[u8] = match held.algorithm {
            Algorithm::Md5 => &self.md5[request.account as usize],
            Algorithm::Sha256 => &self.sha256[request.account as usize],
        };
        let ha1 = &mut ha1[..stored.len()];
        ha1.copy_from_slice(stored);
        if request.credentials == Credentials::Wrong {
            // What another password would give is as good as any other digits.
            ha1.reverse();
            ha1[0] = if ha1[0] == b'0' { b'1' } else { b'0' };
        }
        let ha2 = domain.ha2[held.algorithm as usize].as_bytes();
        let response = digest::response(held.algorithm, ha1, nonce, count, ha2);

        out.put(if held.proxy { b"Proxy-Authorization: " } else { b"Authorization: " });
        out.put(b"Digest username=\"");
        out.put(user);
        out.put(b"\", realm=\"");
        out.put(&domain.realm);
        out.put(b"\", nonce=\"");
        out.put(nonce);
        out.put(b"\", uri=\"");
        out.put(&domain.uri);
        out.put(b"\", response=\"");
        out.put(response.as_bytes());
        out.put(b"\", algorithm=");
        out.put(held.algorithm.token().as_bytes());
        if !opaque.is_empty() {
            out.put(b", opaque=\"");
            out.put(opaque);
            out.put(b"\"");
        }
        if let Some((nc, cnonce)) = count {
            out.put(b", cnonce=\"");
            out.put(&cnonce);
            out.put(b"\", qop=auth, nc=");
            out.put(&nc);
        }
        out.put(b"\r\n");
    }

    fn class(&self, agent: u32) -> usize {
        (agent.wrapping_mul(0x9e37_79b1) >> 8) as usize % self.classes.len()
    }

    fn tag_of(&self, agent: u32) -> [u8; 8] {
        hex8(agent.wrapping_mul(0x9e37_79b1) ^ self.key[1])
    }

    /// Agent and request number of a branch that this thread wrote.
    #[inline]
    pub fn read_branch(&self, branch: &[u8]) -> Option<(u32, u32)> {
        let digits = branch.strip_prefix(b"z9hG4bK")?;
        if digits.len() != 24 || digits[16..] != self.key_digits[0] {
            return None;
        }
        Some((parse_hex8(&digits[..8])?, parse_hex8(&digits[8..16])?))
    }

    /// The tag of what the phones of this thread answer.
    pub fn own_tag(&self) -> &[u8] {
        &self.key_digits[1]
    }

    /// Whether a Call-ID is this agent's.
    #[inline]
    pub fn is_call_id(&self, agent: u32, call_id: &[u8]) -> bool {
        call_id.len() == 24
            && call_id[..8] == hex8(agent)
            && call_id[8..16] == self.key_digits[1]
            && call_id[16..] == self.key_digits[2]
    }

    /// Whether a From tag is this agent's.
    #[inline]
    pub fn is_from_tag(&self, agent: u32, tag: &[u8]) -> bool {
        tag == self.tag_of(agent)
    }
}

/// What follows the user in the contact of an account's second device.
pub fn suffix(device: u32) -> &'static [u8] {
    if device == 0 { b"" } else { b".2" }
}
