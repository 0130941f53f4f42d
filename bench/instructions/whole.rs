//! A whole shard without its sockets, at ten thousand registered phones: datagrams in, answers out,
//! batch by batch, and the keepalives that fall due.

use std::net::SocketAddr;
use std::time::Duration;

use aorta::auth::NonceSequence;
use aorta::limits::{BATCH_MAX, RESPONSE_BYTES_MAX};
use aorta::shard::control::Control;
use aorta::shard::history::Recording;
use aorta::shard::owner::Ownership;
use aorta::shard::{Datagram, Handled, ListenerId, Outlet, Shard, ShardId};
use aorta::time::{Instant, Now, UnixTime};
use arrayvec::ArrayVec;

use super::phones::{Ask, Phones, REALM};
use super::set_up::{guard, keys, shard};
use super::{Primitive, Round};

const BATCH: u32 = BATCH_MAX as u32;

pub const PRIMITIVES: &[Primitive] = &[
    Primitive { name: "shard-refresh", rounds: 12, operations: BATCH, prepare: refresh },
    Primitive {
        name: "shard-refresh-recorded",
        rounds: 12,
        operations: BATCH,
        prepare: refresh_recorded,
    },
    Primitive { name: "shard-challenge", rounds: 12, operations: BATCH, prepare: challenge },
    Primitive { name: "shard-options", rounds: 12, operations: BATCH, prepare: options },
    Primitive { name: "shard-keepalive", rounds: 30, operations: KEEPALIVES, prepare: keepalive },
];

/// Room for the answer to each message of a batch, as in a reactor.
const REPLY_BYTES: usize = 1024;
const PHONES: usize = 10_007;
const STEP: usize = 6113;
/// Keepalives of a tenth of a second, a period being 30 seconds.
const KEEPALIVES: u32 = (PHONES / 300) as u32;

/// Counts the answers that begin as they must.
struct Answers<'a> {
    out: &'a mut [u8],
    status: &'a [u8],
    count: usize,
}

impl Outlet for Answers<'_> {
    fn room(&mut self) -> &mut [u8] {
        &mut self.out[self.count * REPLY_BYTES..]
    }

    fn handled(&mut self, _: &Datagram<'_>, handled: Handled) {
        let Handled::Reply { len, .. } = handled else { panic!("an answer to each") };
        let answer = &self.out[self.count * REPLY_BYTES..][..len];
        assert!(answer[b"SIP/2.0 ".len()..].starts_with(self.status) && len <= REPLY_BYTES);
        self.count += 1;
    }
}

struct Office {
    shard: Shard,
    phones: Phones,
    now: Now,
    out: Vec<u8>,
}

impl Office {
    /// Everybody has registered once.
    fn open() -> Office {
        let (keys, ownership) = (keys(), Ownership::new([5; 16], 1));
        let now =
            Now { mono: Instant::from_secs(100), wall: UnixTime(1_800_000_000), ..Now::default() };
        let mut phones = Phones::new(PHONES);
        let mut sequence = NonceSequence::default();
        for phone in 0..PHONES {
            let place = sequence.next(now.wall, now.wall_us);
            phones.give(phone, keys.nonce.mint(place, Phones::source().ip(), REALM));
        }
        let shard = shard(ShardId(0), ownership, keys, guard(), PHONES);
        let out = vec![0; BATCH_MAX * REPLY_BYTES + RESPONSE_BYTES_MAX];
        let mut office = Office { shard, phones, now, out };
        for first in (0..PHONES).step_by(BATCH_MAX) {
            let batch = office.write(Ask::Refresh, first..PHONES.min(first + BATCH_MAX));
            office.receive(&batch, b"200");
        }
        assert_eq!(office.shard.counters().registered, PHONES as u64);
        office
    }

    /// What these phones ask, in an order of no meaning.
    fn write(&mut self, ask: Ask, numbers: std::ops::Range<usize>) -> Vec<Request> {
        let phones = &mut self.phones;
        numbers
            .map(|number| {
                let (phone, mut bytes) = (number * STEP % PHONES, Vec::new());
                phones.write(phone, ask, &mut bytes);
                // Behind one NAT each phone has its own port.
                let source = SocketAddr::new(Phones::source().ip(), 20_000 + phone as u16);
                Request { source, bytes }
            })
            .collect()
    }

    fn receive(&mut self, batch: &[Request], status: &[u8]) {
        let Office { shard, now, out, .. } = self;
        *now = now.after(Duration::from_micros(50));
        let datagrams: ArrayVec<_, BATCH_MAX> = batch
            .iter()
            .map(|Request { source, bytes }| Datagram {
                source: *source,
                listener: ListenerId(0),
                local_ip: None,
                received_at: now.mono,
                bytes,
                link: None,
            })
            .collect();
        let mut answers = Answers { out, status, count: 0 };
        shard.receive_batch(*now, &datagrams, &mut answers);
        assert_eq!(answers.count, batch.len());
        let _ = shard.turn(*now);
    }
}

struct Request {
    source: SocketAddr,
    bytes: Vec<u8>,
}

fn run(rounds: u32, ask: Ask, status: &'static [u8]) -> Round {
    run_in(Office::open(), rounds, ask, status)
}

fn run_in(mut office: Office, rounds: u32, ask: Ask, status: &'static [u8]) -> Round {
    let batches: Vec<Vec<Request>> = (0..rounds as usize)
        .map(|round| office.write(ask, round * BATCH_MAX..(round + 1) * BATCH_MAX))
        .collect();
    let mut next = 0;
    Box::new(move || {
        office.receive(&batches[next], status);
        next += 1;
    })
}

fn refresh(rounds: u32) -> Round {
    run(rounds, Ask::Refresh, b"200")
}

/// The same while somebody collects what happens.
fn refresh_recorded(rounds: u32) -> Round {
    let mut office = Office::open();
    let recording = Recording { bytes_max: 1 << 20, refresh_every_s: Some(86_400) };
    let now = office.now;
    office.shard.control(now, Control::RecordHistory(Some(recording)));
    run_in(office, rounds, Ask::Refresh, b"200")
}

fn challenge(rounds: u32) -> Round {
    run(rounds, Ask::Unchallenged, b"401")
}

fn options(rounds: u32) -> Round {
    run(rounds, Ask::Options, b"200")
}

fn keepalive(rounds: u32) -> Round {
    let Office { mut shard, mut now, mut out, .. } = Office::open();
    let (mut turns, mut sent) = (0, 0);
    Box::new(move || {
        for _ in 0..100 {
            now = now.after(Duration::from_millis(1));
            let _ = shard.turn(now);
            while shard.poll_order(&mut out).is_some() {
                sent += 1;
            }
        }
        turns += 1;
        if turns == rounds {
            assert!(sent > turns * KEEPALIVES / 2, "{sent} in {turns} turns");
        }
    })
}
