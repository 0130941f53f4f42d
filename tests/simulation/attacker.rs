//! Somebody on the path who hears what phones send and can send from any address, but knows no
//! password. Its requests are told apart by [`Meaning::forged_in`].

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::ask::{Ask, Meaning, Owed, Wire};
use crate::chance::Chance;
use crate::common::{Challenge, Phone, Response};

/// Datagrams it remembers.
const CAPTURED_MAX: usize = 200;

pub struct Attacker {
    pub source: SocketAddr,
    captured: VecDeque<Wire>,
    challenge: Option<Challenge>,
    /// Its own requests so far; keeps them apart.
    count: u32,
}

/// Something to send, and what the simulation has to know about it.
pub struct Blow {
    pub wire: Wire,
    /// `None` for what is known already, since it was only captured.
    pub meaning: Option<Meaning>,
}

impl Attacker {
    pub fn new() -> Attacker {
        Attacker {
            source: "203.0.113.66:5060".parse().unwrap(),
            captured: VecDeque::new(),
            challenge: None,
            count: 0,
        }
    }

    /// Hears a datagram of a phone.
    pub fn overhear(&mut self, wire: &Wire) {
        if self.captured.len() == CAPTURED_MAX {
            self.captured.pop_front();
        }
        self.captured.push_back(wire.clone());
    }

    /// Takes an answer to one of its own requests.
    pub fn on_response(&mut self, response: &Response) {
        if let Some(value) = response.header("www-authenticate") {
            self.challenge = Some(Challenge::parse(value));
        }
    }

    /// Strikes. `is_used` says which captured request's nonce count the server has seen in this
    /// life: whoever is quicker than the phone itself can alter what no digest covers, and against
    /// that no registrar can do anything.
    pub fn strike(
        &mut self,
        process: u32,
        accounts: u32,
        floods: bool,
        is_used: impl Fn(&Wire) -> bool,
        chance: &mut Chance,
    ) -> Option<Blow> {
        let own = self.source;
        let captured = |chance: &mut Chance, captured: &VecDeque<Wire>| {
            (!captured.is_empty()).then(|| captured[chance.below(captured.len())].clone())
        };
        let forged = |source, text: String, ask: Option<Ask>, owed| {
            let wire = Wire { source, bytes: text.into_bytes().into() };
            let meaning = Meaning { owed, ask, forged_in: Some(process) };
            Some(Blow { wire, meaning: Some(meaning) })
        };
        match chance.below(if floods { 100 } else { 95 }) {
            // What was captured, from where it came and from its own address.
            0..25 => Some(Blow { wire: captured(chance, &self.captured)?, meaning: None }),
            25..40 => {
                let bytes = Rc::clone(&captured(chance, &self.captured)?.bytes);
                Some(Blow { wire: Wire { source: own, bytes }, meaning: None })
            }
            // The same credentials, and something else of its own.
            40..60 => {
                let wire = captured(chance, &self.captured).filter(is_used)?;
                let text = std::str::from_utf8(&wire.bytes).ok()?;
                let altered = alter(text, chance)?;
                let ask = Ask::read(&altered, true);
                let source = if chance.percent(70) { wire.source } else { own };
                forged(source, altered, Some(ask), Owed::Always)
            }
            60..70 => {
                let wire = captured(chance, &self.captured).filter(is_used)?;
                let mut bytes = wire.bytes.to_vec();
                damage(&mut bytes, chance);
                let meaning = Meaning { owed: Owed::Unknown, ask: None, forged_in: Some(process) };
                let wire = Wire { source: wire.source, bytes: bytes.into() };
                Some(Blow { wire, meaning: Some(meaning) })
            }
            // A REGISTER of its own for somebody else's address, or for nobody's.
            70..88 => {
                let text = self.forge(accounts, chance);
                let ask = Ask::read(&text, false);
                let spoofed = captured(chance, &self.captured).map_or(own, |wire| wire.source);
                let source = if chance.percent(50) { own } else { spoofed };
                forged(source, text, Some(ask), Owed::Always)
            }
            88..95 => {
                let spoofed = captured(chance, &self.captured).map_or(own, |wire| wire.source);
                let (text, owed) = noise(chance);
                forged(spoofed, text, None, owed)
            }
            // So long that two of them fill a ring.
            _ => {
                let pad = format!("X-Pad: {}\r\nContent-Length", "a".repeat(60_000));
                self.challenge.get_or_insert_with(made_up);
                let text = self.forge(accounts, chance).replace("Content-Length", &pad);
                let ask = Ask::read(&text, false);
                forged(own, text, Some(ask), Owed::Always)
            }
        }
    }

    fn forge(&mut self, accounts: u32, chance: &mut Chance) -> String {
        self.count += 1;
        let victim = 1 + chance.below(accounts as usize + 3) as u32;
        let mut phone = Phone::new(victim, &format!("forged{}", self.count), "203.0.113.66:5060");
        phone.password = "guess".into();
        phone.challenge.clone_from(&self.challenge);
        phone.nc = chance.below(100) as u32;
        match chance.below(4) {
            0 => phone.request(&[("Contact", "*"), ("Expires", "0")]),
            1 => phone.request(&[]),
            2 => phone.register(0),
            _ => phone.register(3600),
        }
    }
}

fn made_up() -> Challenge {
    Challenge {
        realm: "example.com".into(),
        nonce: "AAAAAAAAAAAAAAAAAAAA".into(),
        algorithm: "MD5".into(),
        stale: false,
    }
}

/// Changes what the digest does not cover.
fn alter(text: &str, chance: &mut Chance) -> Option<String> {
    let (before, rest) = text.split_once("\r\nContact: ")?;
    let after = &rest[rest.find("\r\n")?..];
    let contact = *chance.pick(&[
        "<sip:thief@203.0.113.66:5060>",
        "<sip:thief@203.0.113.66:5060>;expires=300",
        "*",
    ]);
    let mut altered = format!("{before}\r\nContact: {contact}{after}");
    if contact == "*" || chance.percent(20) {
        let at = altered.find("\r\nExpires: ")?;
        let end = at + 2 + altered[at + 2..].find("\r\n")?;
        altered.replace_range(at..end, "\r\nExpires: 0");
    }
    if chance.percent(60) {
        altered = altered.replacen("branch=z9hG4bK", "branch=z9hG4bKx", 1);
    }
    if chance.percent(60) {
        altered = altered.replacen("\r\nCSeq: ", "\r\nCSeq: 9", 1);
    }
    // Now and then only the Contact is another.
    let one_contact = altered.matches("\r\nContact: ").count() == 1;
    one_contact.then_some(altered)
}

fn damage(bytes: &mut Vec<u8>, chance: &mut Chance) {
    if chance.percent(30) {
        bytes.truncate(chance.below(bytes.len()));
        return;
    }
    for _ in 0..=chance.below(3) {
        let at = chance.below(bytes.len());
        bytes[at] ^= 1 << chance.below(8);
    }
}

/// What no request is, and an OPTIONS among it.
pub fn noise(chance: &mut Chance) -> (String, Owed) {
    let number = chance.next();
    let headers = |method: &str| {
        format!(
            "Via: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bK{number:x};rport\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:u1@example.com>;tag=n{number:x}\r\n\
             To: <sip:u1@example.com>\r\n\
             Call-ID: {number:x}\r\n\
             CSeq: 1 {method}\r\n\
             Content-Length: 0\r\n\r\n"
        )
    };
    match chance.below(6) {
        0 => ("\r\n\r\n".into(), Owed::Never),
        1 => (format!("{number:x} what is this\r\n\r\n"), Owed::Never),
        2 => (format!("ACK sip:u1@example.com SIP/2.0\r\n{}", headers("ACK")), Owed::Never),
        3 => (format!("SIP/2.0 200 OK\r\n{}", headers("REGISTER")), Owed::Never),
        4 => (format!("SIP/2.0 401 No\r\n{}", headers("OPTIONS")), Owed::Never),
        _ => (format!("OPTIONS sip:example.com SIP/2.0\r\n{}", headers("OPTIONS")), Owed::Always),
    }
}
