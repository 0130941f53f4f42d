//! The registrar against a naive reference of RFC 3261 10.3 and the replace policy: random
//! sequences of requests, operator's orders and time, compared after every step in what is stored,
//! what is answered and what is told.

use std::collections::HashMap;
use std::time::Duration;

use aorta::config::{Registrar as Config, Replace};
use aorta::registrar::{
    AorId, Binding, BindingId, Contacts, Event, LeaveReason, Limits, Register, Registrar, Which,
};
use aorta::sip::header::contact::{Contact, QValue};
use aorta::sip::uri::Uri;
use aorta::time::{Instant, Now, UnixTime};
use proptest::prelude::*;

#[path = "location_model/draw.rs"]
mod draw;
#[path = "location_model/reference.rs"]
mod reference;
#[path = "location_model/room.rs"]
mod room;

use draw::*;
use reference::{Reference, Told, left};

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
    replace: Option<Replace>,
    outbound: bool,
    behind_nat: bool,
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
    Mark {
        aor: u32,
        nth: usize,
        reachable: bool,
        in_call: bool,
    },
}

// ---- the comparison -----------------------------------------------------------------------

const KEY: [u64; 2] = [1, 2];

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
            registrar: Registrar::new(config.clone(), KEY),
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
            Op::Mark { aor, nth, reachable, in_call } => {
                let stored = &mut self.reference.aors[*aor as usize];
                if let Some(marked) = stored.get_mut(*nth) {
                    (marked.unreachable, marked.in_call) = (!reachable, *in_call);
                    let id = self.registrar.location().bindings(AorId(*aor)).nth(*nth).unwrap().0;
                    self.registrar.set_reachable(id, *reachable);
                    self.registrar.set_in_call(id, *in_call);
                }
            }
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
            source: ([192, 0, 2, 1], request.port).into(),
            fingerprint: request.fingerprint,
            limits: Limits {
                bindings_max: request.bindings_max,
                replace: request.replace,
                ..Limits::default()
            },
            outbound: request.outbound,
            behind_nat: request.behind_nat,
            ..Register::default()
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
            .filter_map(|stored| {
                let remaining =
                    stored.expires_at.saturating_sub(second).min(u64::from(stored.granted)) as u32;
                // 64*T1 is 32 s, and the second of the change may have been nearly over.
                let may_repeat = self.now.mono <= Instant::from_secs(stored.changed_s + 33);
                let of_this = stored.fingerprint == request.fingerprint && may_repeat;
                let expires_s = if of_this { stored.granted } else { remaining };
                let row =
                    (stored.serial, stored.contact.to_owned(), expires_s, stored.q.map(QValue));
                (of_this || !stored.is_late(self.now.mono)).then_some(row)
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
            let margin = Duration::from_secs(u64::from(self.config.late_margin_s));
            assert!(self.promised[&serial] + margin <= self.now.mono, "nothing ends early");
            let aor = self.reference.aors.iter_mut().find(|a| a.iter().any(|s| s.serial == serial));
            aor.expect("told once").retain(|stored| stored.serial != serial);
        }
        if !expired.more {
            for stored in self.reference.aors.iter().flatten() {
                let margin = u64::from(self.config.late_margin_s);
                let late = self.promised[&stored.serial] + Duration::from_secs(1 + margin);
                assert!(late > self.now.mono, "nothing stays on");
            }
            assert!(self.registrar.next_deadline().is_none_or(|at| at > self.now.mono));
        }
        let first = self.reference.aors.iter().flatten().map(|stored| stored.expires_at).min();
        if let Some(first) = first.map(|at| at + u64::from(self.config.late_margin_s)) {
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
            .filter(|event| !matches!(event, Event::Flapping { .. }))
            .map(|event| match event {
                Event::Flapping { .. } => unreachable!("filtered out"),
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
                    let instance = b.instance().map(|instance| text(&instance.text()));
                    assert_eq!(b.call_id().text().is_none(), self.config.compact);
                    let is = |call_id: &&str| b.call_id().is(call_id.as_bytes(), KEY);
                    let call_id =
                        (*CALL_IDS.iter().find(|call_id| is(call_id)).unwrap()).to_owned();
                    (
                        (self.serial_of[&id], text(b.contact()), instance),
                        (b.reg_id(), b.q().map(|q| q.0), call_id, b.cseq()),
                        (text(b.user_agent()), b.granted_s(), b.expires_at().as_secs()),
                        (b.fingerprint(), b.source().port(), b.is_reachable(), b.is_in_call()),
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
                        (s.fingerprint, s.port, !s.unreachable, s.in_call),
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
