//! A flood of newcomers beside honest phones, through a queue in front of the shards: what each
//! answer costs is a number here, and the clock is a variable, so it is the same on any machine.

mod common;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use aorta::config::{Guard, Overload};
use aorta::shard::counters::DropReason;
use aorta::shard::refused::RefuseReason;

use common::cluster::{Cluster, Options};
use common::{Phone, Response};

/// What a message costs a reactor, by what becomes of it. The proportions are those of a real one.
const ANSWERED: Duration = Duration::from_micros(200);
const SENT_AWAY: Duration = Duration::from_micros(120);
const DROPPED: Duration = Duration::from_micros(40);
/// What its socket holds.
const QUEUE_MAX: usize = 2000;
/// Retransmission of a lost request: T1 of RFC 3261.
const T1: Duration = Duration::from_millis(500);
/// Newcomers a millisecond and reactor: twice what it can answer.
const FLOOD_PER_MS: u32 = 10;
const HONEST: u32 = 60;

struct Queued {
    arrived: Duration,
    /// Which honest phone; the flood has none.
    phone: Option<usize>,
    source: SocketAddr,
    request: String,
}

/// An honest phone: it has a nonce, or gets one, and registers again and again.
struct Honest {
    phone: Phone,
    /// It is there before the flood.
    early: bool,
    source: SocketAddr,
    /// Its request under way, and when that was sent first and last.
    request: Option<(String, Duration, Duration)>,
    next: Duration,
    answered: Vec<Duration>,
    registered: u32,
}

#[derive(Default)]
struct Line {
    queue: VecDeque<Queued>,
    lost: u64,
    taken: u64,
    busy_until: Duration,
    measured: Duration,
}

struct World {
    cluster: Cluster,
    lines: Vec<Line>,
    phones: Vec<Honest>,
    now: Duration,
    flooded: u32,
}

impl World {
    fn new(shards: u8, overload: Overload) -> World {
        let guard = Guard { overload, ..Guard::off() };
        let options = Options { shards, guard, accounts: HONEST, ..Options::default() };
        let phones = (1..=HONEST).map(|number| Honest {
            phone: Phone::new(number, "honest", &format!("198.51.100.{number}:5060")),
            early: number.is_multiple_of(2),
            source: format!("198.51.100.{number}:5060").parse().unwrap(),
            request: None,
            // Half are there when the flood begins, the others come while it lasts.
            next: Duration::from_millis(u64::from(number) * 3 + u64::from(number % 2) * 1500),
            answered: Vec::new(),
            registered: 0,
        });
        World {
            cluster: Cluster::new(&options),
            lines: (0..shards).map(|_| Line::default()).collect(),
            phones: phones.collect(),
            now: Duration::ZERO,
            flooded: 0,
        }
    }

    fn send(&mut self, phone: Option<usize>, source: SocketAddr, request: String) {
        let arrived = self.now;
        // As the kernel spreads flows over sockets.
        let at = (usize::from(source.port()) + phone.unwrap_or_default()) % self.lines.len();
        let line = &mut self.lines[at];
        if line.queue.len() == QUEUE_MAX {
            line.lost += 1;
            return;
        }
        line.queue.push_back(Queued { arrived, phone, source, request });
    }

    fn flood(&mut self) {
        for _ in 0..FLOOD_PER_MS * self.lines.len() as u32 {
            self.flooded += 1;
            let number = self.flooded;
            let [_, a, b, c] = number.to_be_bytes();
            let source = SocketAddr::new([100, a, b, c].into(), 1024 + (number % 60_000) as u16);
            let mut stranger = Phone::new(1 + number % HONEST, "flood", "203.0.113.1:5060");
            stranger.call_id = format!("flood-{number}");
            self.send(None, source, stranger.register(60));
        }
    }

    fn phones_act(&mut self) {
        for at in 0..self.phones.len() {
            let honest = &mut self.phones[at];
            let request = match &mut honest.request {
                Some((request, _, last)) if self.now >= *last + T1 => {
                    *last = self.now;
                    request.clone()
                }
                None if self.now >= honest.next => {
                    let request = honest.phone.register(600);
                    honest.request = Some((request.clone(), self.now, self.now));
                    request
                }
                _ => continue,
            };
            self.send(Some(at), self.phones[at].source, request);
        }
    }

    fn take(&mut self, at: usize) {
        while self.lines[at].busy_until <= self.now {
            let Some(Queued { arrived, phone, source, request }) = self.lines[at].queue.pop_front()
            else {
                self.lines[at].busy_until = self.now;
                return;
            };
            let sent = self.cluster.give(at, source, request.as_bytes());
            let answer = sent.map(|sent| Response::parse(&sent.bytes));
            let cost = match &answer {
                None => DROPPED,
                Some(answer) if answer.status == 503 => SENT_AWAY,
                Some(_) => ANSWERED,
            };
            let line = &mut self.lines[at];
            line.busy_until += cost;
            line.taken += 1;
            if self.now >= line.measured + Duration::from_millis(1) && line.queue.len() > 32 {
                // As a reactor tells it: the wait, and what is lost as a long one.
                let lost = line.lost as f64 / (line.lost + line.taken) as f64;
                let waited = self.now - arrived + T1.mul_f64(lost);
                (line.lost, line.taken, line.measured) = (0, 0, self.now);
                let now = self.cluster.now;
                self.cluster.shards[at].waited(now, waited);
            }
            if let (Some(phone), Some(answer)) = (phone, answer) {
                self.hear(phone, &request, &answer);
            }
        }
    }

    fn hear(&mut self, at: usize, asked: &str, answer: &Response) {
        let honest = &mut self.phones[at];
        let Some((request, first, _)) = &honest.request else { return };
        if request != asked {
            return;
        }
        honest.answered.push(self.now - *first);
        honest.request = None;
        match answer.status {
            401 => {
                assert!(honest.phone.take_challenge(answer));
                honest.next = self.now;
            }
            200 => {
                honest.registered += 1;
                honest.next = self.now + Duration::from_millis(300);
            }
            503 => {
                let seconds: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                honest.next = self.now + Duration::from_secs(seconds);
            }
            other => panic!("{other}"),
        }
    }

    /// The flood lasts for so long, after half a second without.
    fn run(&mut self, seconds: u64) {
        for ms in 0..500 + seconds * 1000 {
            if ms >= 500 {
                self.flood();
            }
            self.phones_act();
            for at in 0..self.lines.len() {
                self.take(at);
            }
            self.now += Duration::from_millis(1);
            self.cluster.now = self.cluster.now.after(Duration::from_millis(1));
        }
    }

    /// Phones that were there before the flood, or came while it lasted.
    fn phones(&self, early: bool) -> impl Iterator<Item = &Honest> {
        self.phones.iter().filter(move |honest| honest.early == early)
    }

    /// The 99th percentile of what those that were there before waited for answers, or still do.
    fn p99(&self) -> Duration {
        let waited = |honest: &Honest| {
            let waits = honest.request.as_ref().map(|(_, first, _)| self.now - *first);
            honest.answered.iter().copied().chain(waits).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = self.phones(true).flat_map(waited).collect();
        all.sort_unstable();
        all[all.len() * 99 / 100]
    }
}

#[test]
fn honest_phones_get_through_a_flood_of_newcomers() {
    for shards in [1, 2] {
        let soon = Overload { wait_newcomers_ms: 10, wait_known_ms: 80, ..Overload::default() };
        let mut world = World::new(shards, soon);
        world.run(3);
        // A refresh each 300 ms, while it lasts.
        let fewest = world.phones(true).map(|honest| honest.registered).min();
        assert!(fewest >= Some(8), "{fewest:?} refreshes");
        assert!(world.p99() < Duration::from_millis(100), "{shards}: {:?}", world.p99());
        // Whoever is challenged is registered in the end, and once he is, he stays.
        for honest in world.phones(false).filter(|honest| honest.phone.challenge.is_some()) {
            assert!(honest.registered > 0, "{}", honest.phone.user);
        }
        let refused = |shard: &aorta::shard::Shard| {
            let counters = shard.counters();
            let silent = counters.dropped(DropReason::OverloadNewcomer);
            silent + counters.refused(RefuseReason::OverloadNewcomer)
        };
        assert!(world.cluster.shards.iter().all(|shard| refused(shard) > 5_000));
    }
}

#[test]
fn without_admission_the_same_flood_drowns_them() {
    for shards in [1, 2] {
        let mut world = World::new(shards, Overload::off());
        world.run(3);
        assert!(world.p99() > Duration::from_millis(400), "{shards}: {:?}", world.p99());
        let fewest = world.phones(true).map(|honest| honest.registered).min();
        assert!(fewest < Some(8), "{fewest:?} refreshes");
    }
}
