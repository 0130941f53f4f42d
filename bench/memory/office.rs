//! One shard and its phones, driven as a reactor drives it: batches of datagrams, turns, orders
//! from outside, and what the shard wants sent.

use std::time::{Duration, Instant as Clock};

use arrayvec::ArrayVec;

use aorta::auth::{Ha1s, NonceSequence};
use aorta::config;
use aorta::limits::{BATCH_MAX, RESPONSE_BYTES_MAX};
use aorta::shard::control::{Control, Reply};
use aorta::shard::owner::Ownership;
use aorta::shard::registrations::Chosen;
use aorta::shard::{Datagram, Handled, ListenerId, Outlet, Setup, Shard, ShardId};
use aorta::time::{Instant, Now, UnixTime};

use super::phones::{DOMAIN, REALM};
use super::requests::{Requests, shuffled};
use super::set_up::{domains, guard, keys};
use super::steps::Steps;

/// Room that a batch of replies has, as in a reactor.
const REPLY_BYTES: usize = 1024;
/// Batches of one round of refreshes.
const BATCHES: usize = 1000;

/// A shard that grew from nothing, its phones, and the time.
pub struct Office {
    shard: Shard,
    requests: Requests,
    phones: usize,
    now: Now,
    /// Requests of one batch, each in a buffer of its own, as the kernel fills them.
    batch: Vec<(usize, Vec<u8>)>,
    out: Vec<u8>,
    nonces: NonceSequence,
    seed: u64,
}

/// Counts the answers that say 200.
struct Answers<'a> {
    out: &'a mut [u8],
    count: usize,
}

impl Outlet for Answers<'_> {
    fn room(&mut self) -> &mut [u8] {
        &mut self.out[self.count * REPLY_BYTES..]
    }

    fn handled(&mut self, _: &Datagram<'_>, handled: Handled) {
        let Handled::Reply { len, .. } = handled else { panic!("an answer to each") };
        let answer = &self.out[self.count * REPLY_BYTES..][..len];
        let shown = String::from_utf8_lossy(answer);
        assert!(answer.starts_with(b"SIP/2.0 200 ") && len <= REPLY_BYTES, "{shown}");
        self.count += 1;
    }
}

impl Office {
    /// Loads the accounts u1 to uN into a shard that was told nothing of how many there will be:
    /// how long that took in all, hashing the passwords included, and its steps of 32. Bindings
    /// will be in the `compact` form, or not.
    pub fn load(phones: usize, compact: bool) -> (Office, Duration, Steps) {
        let now =
            Now { mono: Instant::from_secs(100), wall: UnixTime(1_800_000_000), ..Now::default() };
        let (keys, ownership) = (keys(), Ownership::new([5; 16], 1));
        let mut nonces = NonceSequence::default();
        let place = nonces.next(now.wall, now.wall_us);
        let nonce = keys.nonce.mint(place, Requests::source(0).ip(), REALM);
        let mut shard = Shard::new(Setup {
            id: ShardId(0),
            ownership,
            keys,
            registrar: config::Registrar { compact, ..config::Registrar::default() },
            auth: config::Auth::default(),
            guard: guard(),
            nat: config::Nat::default(),
            liveness: config::Liveness::default(),
            networks: Vec::new(),
            domains: domains(),
        });
        let start = Clock::now();
        let mut steps = Steps::default();
        for first in (0..phones).step_by(BATCH_MAX) {
            let accounts: ArrayVec<(String, Ha1s), BATCH_MAX> = (first
                ..phones.min(first + BATCH_MAX))
                .map(|phone| {
                    let aor = format!("u{}@{DOMAIN}", phone + 1);
                    let ha1s = Ha1s::from_password(&aor, &format!("p{}", phone + 1), false);
                    (aor, ha1s)
                })
                .collect();
            steps.step(|| {
                for (aor, ha1s) in &accounts {
                    shard.insert_account(aor.as_bytes(), ha1s).expect("distinct names");
                }
            });
        }
        let took = start.elapsed();
        let office = Office {
            shard,
            requests: Requests::new(nonce),
            phones,
            now,
            batch: (0..BATCH_MAX).map(|_| (0, Vec::new())).collect(),
            out: vec![0; BATCH_MAX * REPLY_BYTES + RESPONSE_BYTES_MAX],
            nonces,
            seed: 0x9e37_79b9_7f4a_7c15,
        };
        (office, took, steps.finished())
    }

    /// Bindings there are.
    pub fn bindings(&self) -> usize {
        self.shard.registrar().location().bindings_count()
    }

    /// Registers every phone once, in steps of a batch.
    pub fn register_all(&mut self) -> Steps {
        let mut steps = Steps::default();
        for first in (0..self.phones).step_by(BATCH_MAX) {
            let count = BATCH_MAX.min(self.phones - first);
            for nth in 0..count {
                self.write(nth, shuffled(first + nth, self.phones));
            }
            self.receive(count, &mut steps);
        }
        self.requests.next_round();
        steps.finished()
    }

    /// Refreshes from phones at random, in batches: nanoseconds of each, the median.
    pub fn refresh_ns(&mut self) -> f64 {
        let mut times: Vec<f64> = Vec::with_capacity(BATCHES);
        let mut steps = Steps::default();
        for _ in 0..BATCHES {
            for nth in 0..BATCH_MAX {
                self.seed ^= self.seed << 13;
                self.seed ^= self.seed >> 7;
                self.seed ^= self.seed << 17;
                self.write(nth, (self.seed % self.phones as u64) as usize);
            }
            // Who comes twice in a round has a nonce count of each.
            self.requests.next_round();
            let start = Clock::now();
            self.receive(BATCH_MAX, &mut steps);
            times.push(start.elapsed().as_nanos() as f64 / BATCH_MAX as f64);
        }
        times.sort_by(f64::total_cmp);
        times[times.len() / 2]
    }

    fn write(&mut self, nth: usize, phone: usize) {
        self.batch[nth].0 = phone;
        self.requests.write(phone, &mut self.batch[nth].1);
    }

    /// Sends the first `count` requests as one batch, and does what a reactor does then.
    fn receive(&mut self, count: usize, steps: &mut Steps) {
        let Office { shard, batch, now, out, .. } = self;
        *now = now.after(Duration::from_micros(50));
        let datagrams: ArrayVec<_, BATCH_MAX> = batch[..count]
            .iter()
            .map(|(phone, bytes)| Datagram {
                source: Requests::source(*phone),
                listener: ListenerId(0),
                local_ip: None,
                received_at: now.mono,
                bytes,
                link: None,
            })
            .collect();
        let mut answers = Answers { out, count: 0 };
        steps.step(|| {
            shard.receive_batch(*now, &datagrams, &mut answers);
            shard.turn(*now);
        });
        assert_eq!(answers.count, count, "one answer each");
        while shard.poll_order(out).is_some() {}
    }

    /// The time of every binding is over at once.
    pub fn expire_all(&mut self) -> Steps {
        self.now = self.now.after(Duration::from_secs(3 * 3600));
        let mut steps = Steps::default();
        let Office { shard, now, out, .. } = self;
        while shard.registrar().location().bindings_count() > 0 {
            steps.step(|| shard.turn(*now));
            for _ in 0..BATCH_MAX {
                let _ = shard.poll_order(out);
            }
        }
        // The nonce is old by now.
        let place = self.nonces.next(self.now.wall, self.now.wall_us);
        self.requests.renew(keys().nonce.mint(place, Requests::source(0).ip(), REALM));
        steps.finished()
    }

    /// An operator takes out everybody, one by one.
    pub fn kick_all(&mut self) -> Steps {
        let mut steps = Steps::default();
        for nth in 0..self.phones {
            let phone = shuffled(nth, self.phones);
            let aor = format!("u{}@{DOMAIN}", phone + 1).into_bytes().into_boxed_slice();
            let Office { shard, now, out, .. } = self;
            let order = Control::Unregister(aor, Chosen::All);
            let reply = steps.step(|| shard.control(*now, order));
            assert!(matches!(reply, Reply::Unregistered(Ok(_))), "{reply:?}");
            let _ = shard.poll_order(out);
        }
        assert_eq!(self.bindings(), 0, "all are gone");
        steps.finished()
    }

    /// Every account goes, with whatever it has.
    pub fn remove_all(&mut self) -> Steps {
        let mut steps = Steps::default();
        steps.step(|| self.shard.control(self.now, Control::BeginAccounts));
        loop {
            let reply = steps.step(|| self.shard.control(self.now, Control::EndAccounts));
            let Reply::Accounts(changed) = reply else { panic!("{reply:?}") };
            if !changed.more {
                return steps.finished();
            }
        }
    }
}
