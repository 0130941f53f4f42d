//! The registrar's core at ten thousand bindings: a refresh, another phone of the same account that
//! takes its place, and bindings whose time is over.

use std::hint::black_box;
use std::time::Duration;

use aorta::config::Registrar as Config;
use aorta::limits::{BATCH_MAX, EXPIRIES_PER_TURN_MAX};
use aorta::registrar::{AorId, Contacts, Event, Register, Registrar};
use aorta::sip::header::contact::Contact;
use aorta::sip::uri::Uri;
use aorta::time::{Instant, Now};

use super::{Primitive, Round};

const BATCH: u32 = BATCH_MAX as u32;

pub const PRIMITIVES: &[Primitive] = &[
    Primitive { name: "refresh-binding", rounds: 20, operations: BATCH, prepare: refresh },
    Primitive { name: "replace-binding", rounds: 20, operations: BATCH, prepare: replace },
    Primitive { name: "expire-binding", rounds: 300, operations: EACH_SECOND, prepare: expire },
];

/// Prime, as is the step through them: every account is met once, in no order.
const ACCOUNTS: u32 = 10_007;
const STEP: u32 = 6113;
/// Bindings that end in one second.
const EACH_SECOND: u32 = 16;

/// The texts of one phone's REGISTER.
struct Texts {
    aor: AorId,
    contact: String,
    call_id: String,
    instance: String,
}

impl Texts {
    /// Another `device` is another phone of the same account.
    fn of(aor: u32, device: u32) -> Texts {
        let (high, low) = (aor >> 8, aor & 255);
        Texts {
            aor: AorId(aor),
            contact: format!("sip:u{aor:06}@10.{device}.{high}.{low}:5060;transport=udp"),
            call_id: format!("{aor:08x}-{device:04x}-4b1e-9d0c-5a77c0ffee42"),
            instance: format!("<urn:uuid:{aor:08x}-{device:04x}-4000-8000-000a95a0e128>"),
        }
    }
}

struct Table {
    registrar: Registrar,
    now: Now,
    events: Vec<Event>,
    cseq: u32,
}

impl Table {
    fn empty() -> Table {
        // Every time ends when it is said to.
        let config = Config { expires_spread_percent: 0, ..Config::default() };
        let mut registrar = Registrar::new(config, [7, 8]);
        registrar.reserve(ACCOUNTS as usize, ACCOUNTS as usize);
        let now = Now { mono: Instant::from_secs(100), ..Now::default() };
        Table { registrar, now, events: Vec::with_capacity(EXPIRIES_PER_TURN_MAX), cseq: 0 }
    }

    /// One phone for each account.
    fn full() -> Table {
        let mut table = Table::empty();
        for number in 0..ACCOUNTS {
            table.register(&[Texts::of(number * STEP % ACCOUNTS, 0)]);
        }
        table
    }

    /// One batch, warmed first as a shard does it.
    fn register(&mut self, batch: &[Texts]) {
        let Table { registrar, now, events, cseq } = self;
        events.clear();
        *cseq += 1;
        *now = now.after(Duration::from_micros(50));
        let aors: arrayvec::ArrayVec<AorId, BATCH_MAX> =
            batch.iter().map(|texts| texts.aor).collect();
        black_box(registrar.warm(&aors));
        for texts in batch {
            let uri = Uri::parse(texts.contact.as_bytes()).expect("a good URI");
            let instance = Some(texts.instance.as_bytes());
            let contact =
                [Contact { uri, q: None, expires: None, instance, reg_id: None, params: b"" }];
            let request = Register {
                aor: texts.aor,
                call_id: texts.call_id.as_bytes(),
                cseq: *cseq,
                contacts: Contacts::List(&contact),
                expires: Some(3600),
                user_agent: b"Acme Phone 5.12 (release)",
                source: ([198, 51, 100, 7], 40_000).into(),
                fingerprint: u64::from(*cseq) << 32 | u64::from(texts.aor.0) | 1 << 63,
                ..Register::default()
            };
            let accepted = registrar.register(*now, &request, events).expect("accepted");
            for listed in registrar.answer(&accepted) {
                black_box(listed);
            }
        }
    }
}

/// Batches from everybody in turn, each from the phone that `device` names by the batch's number.
fn batches(rounds: u32, device: fn(u32) -> u32) -> Vec<Vec<Texts>> {
    let text = |number: u32| Texts::of(number * STEP % ACCOUNTS, device(number / BATCH));
    (0..rounds).map(|round| (round * BATCH..(round + 1) * BATCH).map(text).collect()).collect()
}

fn refresh(rounds: u32) -> Round {
    run(Table::full(), batches(rounds, |_| 0))
}

fn replace(rounds: u32) -> Round {
    run(Table::full(), batches(rounds, |_| 1))
}

fn run(mut table: Table, batches: Vec<Vec<Texts>>) -> Round {
    let mut next = 0;
    // Late enough that deadlines move on, as in life, and early enough that none has come.
    table.now = table.now.after(Duration::from_secs(600));
    Box::new(move || {
        table.register(&batches[next]);
        next += 1;
        assert_eq!(table.registrar.location().bindings_count(), ACCOUNTS as usize);
    })
}

fn expire(rounds: u32) -> Round {
    let mut table = Table::empty();
    let began = table.now;
    assert!(rounds * EACH_SECOND <= ACCOUNTS);
    for number in 0..rounds * EACH_SECOND {
        table.now = began.after(Duration::from_secs((number / EACH_SECOND).into()));
        table.register(&[Texts::of(number * STEP % ACCOUNTS, 0)]);
    }
    // The first to come is the first to go, when its time and the margin after it are over.
    let location = table.registrar.location();
    let (_, first) = location.bindings(AorId(0)).next().expect("it is there");
    let mut now = Now { mono: first.forgotten_at(), ..began };
    let mut left = rounds * EACH_SECOND;
    Box::new(move || {
        table.events.clear();
        let Table { registrar, events, .. } = &mut table;
        while registrar.expire(now, EXPIRIES_PER_TURN_MAX, events).more {}
        now = now.after(Duration::from_secs(1));
        left -= EACH_SECOND;
        assert_eq!(table.registrar.location().bindings_count(), left as usize);
    })
}
