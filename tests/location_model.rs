//! The registrar against a naive reference of RFC 3261 10.3 and the replace policy: random
//! sequences of requests, operator's orders and time, compared after every step in what is stored,
//! what is answered and what is told.

use std::collections::HashMap;
use std::time::Duration;

use aorta::config::{MinExpiresPolicy, Registrar as Config, Replace};
use aorta::registrar::{
    AorId, Binding, BindingId, Contacts, Event, LeaveReason, Refusal, Register, Registrar, Which,
};
use aorta::sip::header::contact::{Contact, QValue};
use aorta::sip::uri::Uri;
use aorta::time::{Instant, Now, UnixTime};
use proptest::prelude::*;

#[path = "location_model/draw.rs"]
mod draw;

use draw::*;

#[derive(Clone, Debug)]
struct Address {
    number: usize,
    spelling: usize,
    expires: Option<u32>,
    instance: Option<usize>,
    reg_id: Option<u32>,
    q: Option<u16>,
}

#[derive(Clone, Debug)]
struct Request {
    aor: u32,
    call_id: usize,
    cseq: u32,
    user_agent: usize,
    expires: Option<u32>,
    wildcard: bool,
    contacts: Vec<Address>,
    bindings_max: Option<u8>,
    port: u16,
    fingerprint: u64,
}

#[derive(Clone, Debug)]
enum Op {
    Register(Request),
    /// The request that many before is sent again, bit by bit.
    Again(usize),
    Wait {
        millis: u64,
    },
    Expire {
        budget: usize,
    },
    Unregister {
        aor: u32,
        nth: Option<usize>,
    },
}

// ---- the reference ------------------------------------------------------------------------

#[derive(Clone, Debug, PartialEq)]
struct Stored {
    serial: usize,
    address: usize,
    contact: &'static str,
    instance: Option<&'static str>,
    reg_id: Option<u32>,
    q: Option<u16>,
    call_id: &'static str,
    cseq: u32,
    user_agent: &'static str,
    granted: u32,
    changed_s: u64,
    expires_at: u64,
    fingerprint: u64,
    port: u16,
}

#[derive(Clone, Debug, PartialEq)]
enum Told {
    Registered(usize),
    Refreshed { serial: usize, moved: bool },
    Retargeted { serial: usize, from: &'static str },
    Left { serial: usize, contact: &'static str, reason: LeaveReason },
}

#[derive(Default)]
struct Reference {
    aors: Vec<Vec<Stored>>,
    accepted: Vec<u64>,
    serials: usize,
}

/// A binding while a request is worked on.
#[derive(Clone)]
struct Tentative {
    now: Stored,
    before: Option<Stored>,
    touched: bool,
    gone: bool,
}

impl Reference {
    fn retransmission(&self, request: &Request) -> bool {
        if request.contacts.is_empty() && !request.wildcard {
            return false;
        }
        if self.accepted[request.aor as usize] == request.fingerprint {
            return true;
        }
        let found = |address: &Address| {
            let stored = &self.aors[request.aor as usize];
            same_as(address, stored.iter()).map(|at| stored[at].fingerprint)
        };
        let goes = |address: &&Address| address.expires.or(request.expires) == Some(0);
        let (going, staying): (Vec<_>, Vec<_>) = request.contacts.iter().partition(goes);
        !request.wildcard
            && !staying.is_empty()
            && staying.iter().all(|address| found(address) == Some(request.fingerprint))
            && going.iter().all(|address| found(address).is_none())
    }

    fn register(
        &mut self,
        config: &Config,
        now: Instant,
        request: &Request,
        told: &mut Vec<Told>,
    ) -> Result<bool, Refusal> {
        let aor = request.aor as usize;
        self.aors[aor].retain(|stored| {
            let over = stored.expires_at <= now.as_secs();
            if over {
                told.push(left(stored, LeaveReason::Expired));
            }
            !over
        });
        if self.retransmission(request) {
            return Ok(true);
        }
        let ordered = |stored: &Stored| {
            if stored.call_id == CALL_IDS[request.call_id] && stored.cseq >= request.cseq {
                Err(Refusal::StaleCSeq)
            } else {
                Ok(())
            }
        };
        if request.wildcard {
            if request.expires != Some(0) {
                return Err(Refusal::WildcardExpires);
            }
            self.aors[aor].iter().try_for_each(ordered)?;
            for stored in self.aors[aor].drain(..) {
                told.push(left(&stored, LeaveReason::Unregistered));
            }
            self.accepted[aor] = request.fingerprint;
            return Ok(false);
        }
        if request.contacts.is_empty() {
            return Ok(false);
        }

        let mut all: Vec<Tentative> = self.aors[aor]
            .iter()
            .map(|stored| Tentative {
                now: stored.clone(),
                before: Some(stored.clone()),
                touched: false,
                gone: false,
            })
            .collect();
        let mut touched: Vec<usize> = Vec::new();
        for address in &request.contacts {
            let granted = match address.expires.or(request.expires) {
                Some(0) => 0,
                Some(asked) if asked < config.expires_min_s => match config.expires_min_policy {
                    MinExpiresPolicy::Refuse => {
                        let min_expires_s = config.expires_min_s;
                        return Err(Refusal::IntervalTooBrief { min_expires_s });
                    }
                    MinExpiresPolicy::Raise => config.expires_min_s,
                },
                asked => asked.unwrap_or(config.expires_max_s).min(config.expires_max_s),
            };
            let mut order = touched.clone();
            order.extend((0..all.len()).filter(|&at| !all[at].touched));
            let found = same_as(address, order.iter().map(|&at| &all[at].now)).map(|at| order[at]);
            let stored = self.stored(request, address, granted, now);
            match found {
                Some(at) => {
                    if !all[at].touched {
                        ordered(&all[at].now)?;
                        touched.push(at);
                    }
                    let serial = all[at].now.serial;
                    all[at].now = Stored { serial, ..stored };
                    all[at].touched = true;
                    all[at].gone = granted == 0;
                }
                None => {
                    touched.push(all.len());
                    let gone = granted == 0;
                    all.push(Tentative { now: stored, before: None, touched: true, gone });
                }
            }
        }

        let limit = usize::from(request.bindings_max.unwrap_or(config.bindings_max));
        let is_new = |t: &Tentative| t.before.is_none() && !t.gone;
        let refused = Err(Refusal::TooManyBindings { retry_after_s: config.retry_after_s });
        let mut kicked = Vec::new();
        if all.iter().any(is_new) {
            if all.iter().filter(|t| t.touched && !t.gone).count() > limit {
                return refused;
            }
            for at in 0..all.len() {
                let over = all.iter().filter(|t| !t.gone).count() > limit;
                if !over || !is_new(&all[at]) {
                    continue;
                }
                let new = all[at].now.clone();
                let own =
                    all.iter().position(|t| !t.touched && !t.gone && own_device(&t.now, &new));
                if let Some(own) = own {
                    ordered(&all[own].now)?;
                    let serial = all[own].now.serial;
                    all[own].now = Stored { serial, ..new };
                    all[own].touched = true;
                    all[at].gone = true;
                    all[at].touched = false;
                    let place = touched.iter().position(|&touched| touched == at).unwrap();
                    touched[place] = own;
                }
            }
            while all.iter().filter(|t| !t.gone).count() > limit {
                if config.replace == Replace::Never {
                    return refused;
                }
                let oldest = all.iter().position(|t| !t.touched && !t.gone).unwrap();
                all[oldest].gone = true;
                kicked.push(oldest);
            }
        }

        for &at in &kicked {
            told.push(left(&all[at].now, LeaveReason::Kicked));
        }
        for &at in touched.iter().filter(|&&at| all[at].gone) {
            if let Some(before) = &all[at].before {
                told.push(left(before, LeaveReason::Unregistered));
            }
        }
        for &at in &touched {
            if all[at].gone {
                continue;
            }
            let serial = all[at].now.serial;
            told.push(match &all[at].before {
                None => {
                    self.serials += 1;
                    all[at].now.serial = self.serials;
                    Told::Registered(self.serials)
                }
                Some(before) if before.address == all[at].now.address => {
                    Told::Refreshed { serial, moved: before.port != request.port }
                }
                Some(before) => Told::Retargeted { serial, from: before.contact },
            });
        }
        let mut stays: Vec<Stored> =
            all.iter().filter(|t| t.before.is_some() && !t.gone).map(|t| t.now.clone()).collect();
        let new = touched.iter().map(|&at| &all[at]).filter(|t| is_new(t));
        stays.extend(new.map(|t| t.now.clone()));
        self.aors[aor] = stays;
        self.accepted[aor] = request.fingerprint;
        Ok(false)
    }

    fn stored(&self, request: &Request, address: &Address, granted: u32, now: Instant) -> Stored {
        Stored {
            serial: 0,
            address: address.number,
            contact: ADDRESSES[address.number][address.spelling],
            instance: address.instance.map(|at| INSTANCES[at]),
            reg_id: address.reg_id,
            q: address.q,
            call_id: CALL_IDS[request.call_id],
            cseq: request.cseq,
            user_agent: USER_AGENTS[request.user_agent],
            granted,
            changed_s: now.as_secs(),
            expires_at: now.as_nanos().div_ceil(1_000_000_000) + u64::from(granted),
            fingerprint: request.fingerprint,
            port: request.port,
        }
    }
}

fn left(stored: &Stored, reason: LeaveReason) -> Told {
    Told::Left { serial: stored.serial, contact: stored.contact, reason }
}

fn same_as<'a>(address: &Address, all: impl Iterator<Item = &'a Stored> + Clone) -> Option<usize> {
    let instance = address.instance.map(|at| INSTANCES[at]);
    let has_flow = instance.is_some() && address.reg_id.is_some();
    let by_flow = |stored: &Stored| {
        has_flow && stored.instance == instance && stored.reg_id == address.reg_id
    };
    let by_contact = |stored: &Stored| {
        let both = has_flow && stored.instance.is_some() && stored.reg_id.is_some();
        !both && stored.address == address.number
    };
    all.clone().position(by_flow).or_else(|| all.clone().position(by_contact))
}

fn own_device(old: &Stored, new: &Stored) -> bool {
    if old.address == new.address {
        return true;
    }
    if old.instance.is_some() && new.instance.is_some() {
        return old.instance == new.instance && old.reg_id == new.reg_id;
    }
    old.call_id == new.call_id && new.cseq > old.cseq && old.user_agent == new.user_agent
}

// ---- the comparison -----------------------------------------------------------------------

struct Compared {
    config: Config,
    registrar: Registrar,
    reference: Reference,
    serial_of: HashMap<BindingId, usize>,
    promised: HashMap<usize, Instant>,
    now: Now,
    sent: Vec<Request>,
}

impl Compared {
    fn new(config: Config) -> Compared {
        Compared {
            registrar: Registrar::new(config.clone(), [1, 2]),
            config,
            reference: Reference {
                aors: vec![Vec::new(); AORS as usize],
                accepted: vec![0; AORS as usize],
                serials: 0,
            },
            serial_of: HashMap::new(),
            promised: HashMap::new(),
            now: Now {
                mono: Instant::from_nanos(7_300_000_000),
                wall: UnixTime(1_700_000_000),
                wall_us: 0,
            },
            sent: Vec::new(),
        }
    }

    fn step(&mut self, op: &Op) {
        match op {
            Op::Register(request) => {
                let fingerprint = self.sent.len() as u64 + 1;
                let request = Request { fingerprint, ..request.clone() };
                self.register(&request);
                self.sent.push(request);
            }
            Op::Again(back) => {
                if let Some(at) = self.sent.len().checked_sub(back + 1) {
                    let request = self.sent[at].clone();
                    self.register(&request);
                }
            }
            Op::Wait { millis } => self.now = self.now.after(Duration::from_millis(*millis)),
            Op::Expire { budget } => self.expire(*budget),
            Op::Unregister { aor, nth } => self.unregister(AorId(*aor), *nth),
        }
        self.compare_stored();
    }

    fn register(&mut self, request: &Request) {
        let contacts: Vec<Contact<'_>> = request
            .contacts
            .iter()
            .map(|address| Contact {
                uri: Uri::parse(ADDRESSES[address.number][address.spelling].as_bytes()).unwrap(),
                q: address.q.map(QValue),
                expires: address.expires,
                instance: address.instance.map(|at| INSTANCES[at].as_bytes()),
                reg_id: address.reg_id,
                params: b"",
            })
            .collect();
        let register = Register {
            aor: AorId(request.aor),
            call_id: CALL_IDS[request.call_id].as_bytes(),
            cseq: request.cseq,
            contacts: match request.wildcard {
                true => Contacts::Wildcard,
                false => Contacts::List(&contacts),
            },
            expires: request.expires,
            user_agent: USER_AGENTS[request.user_agent].as_bytes(),
            path: b"",
            source: ([192, 0, 2, 1], request.port).into(),
            listener: 0,
            local_ip: None,
            fingerprint: request.fingerprint,
            bindings_max: request.bindings_max,
        };
        let mut events = Vec::new();
        let answer = self.registrar.register(self.now, &register, &mut events);
        let mut told = Vec::new();
        let expected = self.reference.register(&self.config, self.now.mono, request, &mut told);
        assert_eq!(answer.map(|accepted| accepted.retransmission), expected, "{request:?}");
        assert_eq!(self.translate(events), told, "{request:?}");

        let Ok(accepted) = answer else { return };
        let listed: Vec<_> = self
            .registrar
            .answer(&accepted)
            .map(|listed| {
                let contact = String::from_utf8(listed.contact.to_vec()).unwrap();
                (self.serial_of[&listed.binding], contact, listed.expires_s, listed.q)
            })
            .collect();
        let second = self.now.mono.as_secs();
        let expected: Vec<_> = self.reference.aors[request.aor as usize]
            .iter()
            .map(|stored| {
                let remaining = (stored.expires_at - second).min(u64::from(stored.granted)) as u32;
                // 64*T1 is 32 s, and the second of the change may have been nearly over.
                let may_repeat = self.now.mono <= Instant::from_secs(stored.changed_s + 33);
                let of_this = stored.fingerprint == request.fingerprint && may_repeat;
                let expires_s = if of_this { stored.granted } else { remaining };
                (stored.serial, stored.contact.to_owned(), expires_s, stored.q.map(QValue))
            })
            .collect();
        assert_eq!(listed, expected, "{request:?}");
        let count = |wanted: fn(&Told) -> bool| told.iter().filter(|&told| wanted(told)).count();
        let reason = |told: &Told| match told {
            Told::Left { reason, .. } => Some(*reason),
            _ => None,
        };
        let departed = |why| told.iter().filter(|&told| reason(told) == Some(why)).count();
        assert_eq!(usize::from(accepted.added), count(|t| matches!(t, Told::Registered(_))));
        assert_eq!(usize::from(accepted.refreshed), count(|t| matches!(t, Told::Refreshed { .. })));
        assert_eq!(
            usize::from(accepted.retargeted),
            count(|t| matches!(t, Told::Retargeted { .. }))
        );
        assert_eq!(usize::from(accepted.removed), departed(LeaveReason::Unregistered));
        assert_eq!(usize::from(accepted.kicked), departed(LeaveReason::Kicked));
        for told in told {
            let serial = match told {
                Told::Registered(serial)
                | Told::Refreshed { serial, .. }
                | Told::Retargeted { serial, .. } => serial,
                Told::Left { .. } => continue,
            };
            let stored = self.reference.aors.iter().flatten().find(|s| s.serial == serial);
            let granted = Duration::from_secs(u64::from(stored.unwrap().granted));
            self.promised.insert(serial, self.now.mono + granted);
        }
    }

    fn expire(&mut self, budget: usize) {
        let mut events = Vec::new();
        let expired = self.registrar.expire(self.now, budget, &mut events);
        assert!(expired.left <= budget);
        assert_eq!(expired.left, events.len());
        for told in self.translate(events) {
            let Told::Left { serial, reason: LeaveReason::Expired, .. } = told else {
                panic!("{told:?} from expiry");
            };
            assert!(self.promised[&serial] <= self.now.mono, "nothing ends early");
            let aor = self.reference.aors.iter_mut().find(|a| a.iter().any(|s| s.serial == serial));
            aor.expect("told once").retain(|stored| stored.serial != serial);
        }
        if !expired.more {
            for stored in self.reference.aors.iter().flatten() {
                let late = self.promised[&stored.serial] + Duration::from_secs(1);
                assert!(late > self.now.mono, "nothing stays on");
            }
            assert!(self.registrar.next_deadline().is_none_or(|at| at > self.now.mono));
        }
        let first = self.reference.aors.iter().flatten().map(|stored| stored.expires_at).min();
        if let Some(first) = first {
            let next = self.registrar.next_deadline().expect("something is armed");
            assert!(next <= Instant::from_secs(first).max(self.now.mono), "woken in time");
        }
    }

    fn unregister(&mut self, aor: AorId, nth: Option<usize>) {
        let stored = &mut self.reference.aors[aor.0 as usize];
        let (which, expected) = match nth {
            None => (Which::All, std::mem::take(stored)),
            Some(nth) if stored.is_empty() => {
                (Which::One(BindingId { index: nth as u32, generation: 2 }), Vec::new())
            }
            Some(nth) => {
                let nth = nth % stored.len();
                let id = self.registrar.location().bindings(aor).nth(nth).unwrap().0;
                (Which::One(id), vec![stored.remove(nth)])
            }
        };
        let mut events = Vec::new();
        let reason = LeaveReason::ForcedUnregister;
        let count = self.registrar.unregister(aor, which, reason, &mut events);
        let expected: Vec<Told> = expected.iter().map(|stored| left(stored, reason)).collect();
        assert_eq!(self.translate(events), expected);
        assert_eq!(count, expected.len());
    }

    fn translate(&mut self, events: Vec<Event>) -> Vec<Told> {
        let address = |binding: &Binding| {
            let text = std::str::from_utf8(binding.contact()).unwrap();
            *ADDRESSES.iter().flatten().find(|&&known| known == text).expect("a known contact")
        };
        events
            .into_iter()
            .map(|event| match event {
                Event::Registered { binding, .. } => {
                    let serial = self.serial_of.len() + 1;
                    assert!(self.serial_of.insert(binding, serial).is_none(), "a new name");
                    Told::Registered(serial)
                }
                Event::Refreshed { binding, moved, .. } => {
                    Told::Refreshed { serial: self.serial_of[&binding], moved }
                }
                Event::Retargeted { binding, old, .. } => {
                    Told::Retargeted { serial: self.serial_of[&binding], from: address(&old) }
                }
                Event::Left { binding, old, reason, .. } => {
                    Told::Left { serial: self.serial_of[&binding], contact: address(&old), reason }
                }
            })
            .collect()
    }

    fn compare_stored(&self) {
        self.registrar.location().check_invariants();
        let mut bindings = 0;
        for (aor, expected) in self.reference.aors.iter().enumerate() {
            let text = |text: &[u8]| String::from_utf8(text.to_vec()).unwrap();
            let stored: Vec<_> = self
                .registrar
                .location()
                .bindings(AorId(aor as u32))
                .map(|(id, b)| {
                    (
                        (self.serial_of[&id], text(b.contact()), b.instance().map(text)),
                        (b.reg_id(), b.q().map(|q| q.0), text(b.call_id()), b.cseq()),
                        (text(b.user_agent()), b.granted_s(), b.expires_at().as_secs()),
                        (b.fingerprint(), b.source().port()),
                    )
                })
                .collect();
            let expected: Vec<_> = expected
                .iter()
                .map(|s| {
                    (
                        (s.serial, s.contact.to_owned(), s.instance.map(str::to_owned)),
                        (s.reg_id, s.q, s.call_id.to_owned(), s.cseq),
                        (s.user_agent.to_owned(), s.granted, s.expires_at),
                        (s.fingerprint, s.port),
                    )
                })
                .collect();
            assert_eq!(stored, expected);
            bindings += expected.len();
        }
        assert_eq!(self.registrar.location().bindings_count(), bindings);
        let bound = self.reference.aors.iter().filter(|aor| !aor.is_empty()).count();
        assert_eq!(self.registrar.location().aors_bound_count(), bound);
    }
}

proptest! {
    #[test]
    fn the_registrar_does_what_the_reference_does(
        config in config(),
        ops in proptest::collection::vec(op(), 1..80),
    ) {
        let mut compared = Compared::new(config);
        for op in &ops {
            compared.step(op);
        }
    }
}
