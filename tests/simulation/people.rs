//! What the people of the world do: phones with their timers, moods and moves, and the attacker.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use crate::ask::{Meaning, Owed, Wire};
use crate::attacker::noise;
use crate::common::Response;
use crate::handset::{Aim, Handset, Next};
use crate::world::{ACCOUNTS, Event, World};

/// Challenges and 500s, in a row, to a phone that does as it is told. Where answers are lost and
/// others of its account come between, a retransmission is no longer known and challenged anew.
const REFUSED_IN_A_ROW_MAX: u32 = 9;
/// What is longer comes several at a time, so that it fills a ring.
const FLOOD_BYTES: usize = 10_000;

impl World {
    pub fn populate(&mut self) {
        for account in 1..=ACCOUNTS {
            let devices = *self.chance.pick(&[1, 1, 2, 3]);
            for device in 1..=devices {
                let number = self.phones.len() as u32;
                // Every third is in the office, behind one address.
                let source = if number.is_multiple_of(3) {
                    format!("198.51.100.1:{}", 40_000 + number)
                } else {
                    format!("192.0.2.{}:5060", number + 1)
                };
                let source: SocketAddr = source.parse().unwrap();
                let phone = Handset::new(account, device, source, &mut self.chance);
                self.at_home.insert(source, self.phones.len());
                self.phones.push(phone);
                let first = self.chance.millis(0, 5_000);
                self.after(first, Event::Act { phone: number as usize, transactions: 0 });
            }
        }
        self.after(Duration::from_secs(1), Event::Timers);
        self.after(Duration::from_secs(2), Event::Attack);
        if self.plan.restarts {
            let first = self.chance.millis(60_000, 200_000);
            self.after(first, Event::Restart);
        }
        self.after(Duration::from_secs(self.plan.minutes * 60), Event::Settle);
    }

    pub fn begin(&mut self, phone: usize, aim: Aim) {
        let handset = &mut self.phones[phone];
        let (bytes, ask) = handset.begin(aim, &mut self.chance);
        let wire = Wire { source: handset.source, bytes: Rc::clone(&bytes) };
        let number = handset.transactions;
        self.note(|| format!("phone {phone} {aim:?} {} from {}", ask.key, wire.source));
        let meaning = Meaning { owed: Owed::Always, ask: Some(ask), forged_in: None };
        self.meanings.insert(bytes, Rc::new(meaning));
        self.attacker.overhear(&wire);
        self.send(wire);
        let delay = Handset::timer(1).expect("one is not the last");
        self.after(delay, Event::Resend { phone, number });
    }

    pub fn resend(&mut self, phone: usize, number: u64) {
        let handset = &mut self.phones[phone];
        let Some(transaction) = handset.transaction.as_mut().filter(|t| t.number == number) else {
            return;
        };
        match Handset::timer(transaction.sends + 1) {
            Some(delay) => {
                transaction.sends += 1;
                let wire = Wire { source: handset.source, bytes: Rc::clone(&transaction.bytes) };
                self.send(wire);
                self.after(delay, Event::Resend { phone, number });
            }
            None => {
                handset.transaction = None;
                let (delay, transactions) = (self.chance.millis(500, 10_000), handset.transactions);
                self.after(delay, Event::Act { phone, transactions });
            }
        }
    }

    pub fn act(&mut self, phone: usize) {
        self.phones[phone].refused_in_a_row = 0;
        if self.settling {
            return self.begin(phone, Aim::Register);
        }
        match self.chance.below(100) {
            0..6 => self.phones[phone].reboot(&mut self.chance),
            6..12 => self.move_house(phone),
            12..17 => self.phones[phone].change_contact(&mut self.chance),
            17..22 => {
                let (text, owed) = noise(&mut self.chance);
                let bytes: Rc<[u8]> = text.into_bytes().into();
                let meaning = Meaning { owed, ask: None, forged_in: None };
                self.meanings.insert(Rc::clone(&bytes), Rc::new(meaning));
                self.send(Wire { source: self.phones[phone].source, bytes });
            }
            _ => {}
        }
        let aim = self.phones[phone].mood(&mut self.chance);
        self.begin(phone, aim);
    }

    /// Its NAT forgets it, or it goes elsewhere: what is under way to the old address is lost.
    pub fn move_house(&mut self, phone: usize) {
        let old = self.phones[phone].source;
        self.at_home.remove(&old);
        let port = 20_000 + self.chance.below(40_000) as u16;
        let new = if self.chance.percent(60) {
            SocketAddr::new(old.ip(), port)
        } else {
            SocketAddr::from(([192, 0, 2, 100 + phone as u8], port))
        };
        self.phones[phone].source = new;
        self.at_home.insert(new, phone);
    }

    pub fn deliver(&mut self, to: SocketAddr, bytes: &[u8]) {
        // Answers to what was damaged on purpose may be damaged too.
        if std::str::from_utf8(bytes).is_err() {
            return;
        }
        if to == self.attacker.source {
            return self.attacker.on_response(&Response::parse(bytes));
        }
        let Some(&phone) = self.at_home.get(&to) else { return };
        let handset = &mut self.phones[phone];
        let response = Response::parse(bytes);
        let next = handset.on_response(&response, &mut self.chance);
        if next != Next::Ignore {
            self.check_progress(phone, &response, REFUSED_IN_A_ROW_MAX);
        }
        match next {
            Next::Ignore => {}
            Next::Send(aim) => self.begin(phone, aim),
            Next::Rest(delay) => {
                let done = self.settling && self.phones[phone].registered;
                let transactions = self.phones[phone].transactions;
                if !done {
                    let most = if self.settling { Duration::from_secs(5) } else { delay };
                    self.after(delay.min(most), Event::Act { phone, transactions });
                }
            }
        }
    }

    pub fn attack(&mut self) {
        let floods = self.plan.overload && !self.settling;
        let (meanings, shadow) = (&self.meanings, &self.shadow);
        let blow = self.attacker.strike(
            self.process.number,
            ACCOUNTS,
            floods,
            |wire| {
                let ask = meanings.get(&wire.bytes).and_then(|meaning| meaning.ask.as_ref());
                ask.is_some_and(|ask| shadow.has_used(ask))
            },
            &mut self.chance,
        );
        if let Some(blow) = blow {
            if let Some(meaning) = blow.meaning {
                // What it damages may by chance be what somebody else has sent.
                let meaning = Rc::new(meaning);
                self.meanings.entry(Rc::clone(&blow.wire.bytes)).or_insert(meaning);
            }
            if blow.wire.bytes.len() > FLOOD_BYTES {
                for _ in 0..4 {
                    self.after(Duration::ZERO, Event::Arrive(blow.wire.clone()));
                }
            } else {
                self.send(blow.wire);
            }
        }
        let next = self.chance.millis(1, self.plan.attack_ms_max);
        self.after(next, Event::Attack);
    }
}
