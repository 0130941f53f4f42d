//! The phones: what each of them wants, what it sends, how it takes an answer. They see nothing of
//! the server but what it sends them.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::ask::Ask;
use crate::chance::Chance;
use crate::common::{Phone, Response};

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    /// To be reachable.
    Register,
    /// The same, without saying for how long.
    RegisterUnlimited,
    /// For less than the registrar grants.
    RegisterBriefly,
    /// With a second contact.
    RegisterTwo,
    Unregister,
    Wildcard,
    /// `*` as RFC 3261 10.2.2 forbids it.
    BadWildcard,
    Fetch,
}

/// One device.
pub struct Handset {
    pub phone: Phone,
    pub source: SocketAddr,
    /// It knows the password.
    pub honest: bool,
    /// It starts nonce counts anew now and then.
    miscounts: bool,
    expires: u32,
    second_contact: String,
    pub transaction: Option<Transaction>,
    /// Numbers transactions, so that a timer of an old one is known.
    pub transactions: u64,
    /// Challenges and 500s in a row, to one aim.
    pub refused_in_a_row: u32,
    /// A 200 for its own contact came since this was last cleared.
    pub registered: bool,
}

/// A request under way (RFC 3261 17.1.2).
pub struct Transaction {
    pub number: u64,
    pub aim: Aim,
    pub bytes: Rc<[u8]>,
    call_id: String,
    cseq: u32,
    /// With what delimits it.
    branch: String,
    pub sends: u32,
}

/// What a phone does next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: what came is not for it.
    Ignore,
    Send(Aim),
    Rest(Duration),
}

/// A phone with a wrong password asks so often before it rests.
const TRIES_MAX: u32 = 3;

impl Handset {
    pub fn new(account: u32, device: u32, source: SocketAddr, chance: &mut Chance) -> Handset {
        let host = format!("10.0.0.{}:5060", 1 + chance.below(6));
        let mut phone = Phone::new(account, &format!("d{device}"), &host);
        let instance = format!("urn:uuid:{account:08}-0000-1000-8000-{device:012}");
        phone.contact_params = match chance.below(4) {
            0 => format!(";+sip.instance=\"<{instance}>\""),
            1 => format!(";+sip.instance=\"<{instance}>\";reg-id=1"),
            _ => String::new(),
        };
        let honest = !chance.percent(12);
        if !honest {
            phone.password = "guessed".into();
        }
        Handset {
            second_contact: format!("sip:u{account}@10.0.1.{device}:5060"),
            phone,
            source,
            honest,
            miscounts: chance.percent(20),
            expires: *chance.pick(&[60, 60, 90, 120, 300, 4000]),
            transaction: None,
            transactions: 0,
            refused_in_a_row: 0,
            registered: false,
        }
    }

    /// Begins a transaction. Whatever was under way is forgotten.
    pub fn begin(&mut self, aim: Aim, chance: &mut Chance) -> (Rc<[u8]>, Ask) {
        if self.miscounts && chance.percent(30) {
            self.phone.nc = 0;
        }
        let Phone { contact, contact_params, .. } = &self.phone;
        let own = format!("<{contact}>{contact_params}");
        let second = format!("<{}>;expires=90", self.second_contact);
        let expires = self.expires.to_string();
        let own: &[(&str, &str)] = match aim {
            Aim::Register => &[("Contact", &own), ("Expires", &expires)],
            Aim::RegisterUnlimited => &[("Contact", &own)],
            Aim::RegisterBriefly => &[("Contact", &own), ("Expires", "7")],
            Aim::RegisterTwo => &[("Contact", &own), ("Contact", &second), ("Expires", &expires)],
            Aim::Unregister => &[("Contact", &own), ("Expires", "0")],
            Aim::Wildcard => &[("Contact", "*"), ("Expires", "0")],
            Aim::BadWildcard => &[("Contact", "*"), ("Expires", "60")],
            Aim::Fetch => &[],
        };
        let mut headers = own.to_vec();
        if contact_params.contains(";reg-id=") {
            headers.push(("Supported", "path, outbound"));
        }
        let text = self.phone.request(&headers);
        let ask = Ask::read(&text, self.honest);
        let bytes: Rc<[u8]> = text.into_bytes().into();
        self.transactions += 1;
        self.transaction = Some(Transaction {
            number: self.transactions,
            aim,
            bytes: Rc::clone(&bytes),
            call_id: ask.call_id.clone(),
            cseq: ask.cseq,
            branch: format!("branch={};", ask.key.split(' ').nth(2).expect("a branch")),
            sends: 1,
        });
        (bytes, ask)
    }

    /// Timer E and timer F (RFC 3261 17.1.2.2): how long until the next send after `sends` of them,
    /// or `None` when it is time to give up.
    pub fn timer(sends: u32) -> Option<Duration> {
        const E: [u64; 4] = [500, 1000, 2000, 4000];
        // 0.5 + 1 + 2 + 7 * 4 s are within the 32 s of timer F.
        (sends <= 10).then(|| Duration::from_millis(E[(sends as usize - 1).min(3)]))
    }

    /// Takes a response.
    pub fn on_response(&mut self, response: &Response, chance: &mut Chance) -> Next {
        let is_mine = self.transaction.as_ref().is_some_and(|transaction| {
            response.header("call-id") == Some(&transaction.call_id)
                && response.header("cseq") == Some(&format!("{} REGISTER", transaction.cseq))
                && response.header("via").is_some_and(|via| via.contains(&transaction.branch))
        });
        let Some(Transaction { aim, .. }) = self.transaction.take_if(|_| is_mine) else {
            return Next::Ignore;
        };
        self.refused_in_a_row += 1;
        match response.status {
            200 => {
                self.refused_in_a_row = 0;
                let listed = response.contacts();
                let own = listed.iter().find(|(contact, _)| *contact == self.phone.contact);
                match (aim, own) {
                    (Aim::Unregister | Aim::Wildcard, _) | (_, None) => {
                        Next::Rest(chance.millis(100, 20_000))
                    }
                    (_, Some(&(_, expires))) => {
                        self.registered |= aim != Aim::Fetch;
                        let expires_ms = u64::from(expires) * 1000;
                        // Now and then it comes too late, and has been unreachable.
                        Next::Rest(chance.millis(expires_ms / 4, expires_ms * 11 / 10))
                    }
                }
            }
            401 => {
                assert!(self.phone.take_challenge(response), "a 401 has a challenge");
                if !self.honest && self.refused_in_a_row >= TRIES_MAX {
                    self.refused_in_a_row = 0;
                    return Next::Rest(chance.millis(5_000, 60_000));
                }
                Next::Send(aim)
            }
            423 => {
                self.refused_in_a_row = 0;
                let least = response.header("min-expires").expect("a 423 says what is least");
                self.expires = self.expires.max(least.parse().unwrap());
                Next::Send(Aim::Register)
            }
            // Another of its requests has overtaken this one, or it has forgotten where it was.
            500 => {
                if self.refused_in_a_row > 2 {
                    self.phone.call_id.push('n');
                }
                Next::Send(Aim::Register)
            }
            // Full is full: that is no fault of the phone's.
            503 => {
                self.refused_in_a_row = 0;
                let after = response.header("retry-after").expect("a 503 says when to come back");
                Next::Rest(Duration::from_secs(after.parse().unwrap()))
            }
            _ => Next::Rest(chance.millis(100, 5_000)),
        }
    }

    /// Its power went: it begins anew, and forgets its challenge.
    pub fn reboot(&mut self, chance: &mut Chance) {
        self.phone.cseq = chance.below(3) as u32;
        // Some take up the old Call-ID with a CSeq that is too low, against RFC 3261 10.2.
        if !chance.percent(20) {
            self.phone.call_id = format!("{:x}-{}", chance.next(), self.phone.user);
        }
        self.phone.challenge = None;
        self.phone.nc = 0;
        self.transaction = None;
    }

    /// Its network gave it another address.
    pub fn change_contact(&mut self, chance: &mut Chance) {
        let user = &self.phone.user;
        let port = *chance.pick(&[5060, 5070]);
        self.phone.contact = format!("sip:{user}@10.0.0.{}:{port}", 1 + chance.below(6));
    }

    /// What it feels like doing next.
    pub fn mood(&mut self, chance: &mut Chance) -> Aim {
        match chance.below(100) {
            0..3 => Aim::Unregister,
            3..5 => Aim::Wildcard,
            5..7 => Aim::BadWildcard,
            7..12 => Aim::Fetch,
            12..15 => Aim::RegisterBriefly,
            15..18 => Aim::RegisterTwo,
            18..21 => Aim::RegisterUnlimited,
            _ => Aim::Register,
        }
    }
}
