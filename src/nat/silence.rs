//! Phones that have agreed to be heard from (RFC 5626 4.4, RFC 6223) and registered over UDP: when
//! was each source heard last, and which have broken their word? Whatever many bindings are at one
//! source, one keepalive is for all of them.

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::nat::keyed::Keyed;
use crate::nat::probe::Endpoint;
use crate::table::wheel::{self, Token, Wheel};
use crate::table::{Chunks, Index, Sparse};
use crate::time::Instant;

const NIL: u32 = u32::MAX;
/// Links of a chunk, in bits: 64 KiB.
const LINK_BITS: u32 = if cfg!(test) { 3 } else { 12 };

/// How long a phone may be silent that was told to be heard from every `told_s` seconds: a tenth
/// more, and at least 10 s more.
#[must_use]
pub const fn silence_max_s(told_s: u32) -> u32 {
    let tenth = told_s / 10;
    told_s.saturating_add(if tenth > 10 { tenth } else { 10 })
}

/// What became of an endpoint's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has been silent for longer than agreed.
    Silent,
    /// It is heard from again.
    Heard,
}

/// One step of [`Silence::poll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// What became of the source of this endpoint.
    Told(Endpoint, Verdict),
    /// Bookkeeping; call again.
    Moved,
    /// Nothing is due.
    Idle,
}

#[derive(Debug)]
struct Source {
    address: SocketAddr,
    heard_s: u32,
    silence_max_s: u32,
    /// Its endpoints, chained.
    first: u32,
    /// The next of them to be told `verdict`.
    cursor: u32,
    verdict: Option<Verdict>,
    silent: bool,
    /// Odd while somebody is here.
    generation: u32,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    source: u32,
    next: u32,
    previous: u32,
    generation: u32,
}

const UNLINKED: Link = Link { source: NIL, next: NIL, previous: NIL, generation: 0 };

/// The sources that are listened for.
#[derive(Debug)]
pub struct Silence {
    key: Keyed,
    by_address: Index,
    sources: Chunks<Source>,
    vacant: Chunks<u32>,
    /// By the number of the endpoint's slot.
    links: Sparse<Link, LINK_BITS>,
    /// When to look at a source again.
    looks: Wheel,
    /// Sources whose endpoints are being told: source, generation.
    telling: VecDeque<(u32, u32)>,
}

/// An address as it is compared: without what only a socket needs.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn second(now: Instant) -> u32 {
    u32::try_from(now.as_secs()).unwrap_or(u32::MAX)
}

impl Silence {
    /// Listening for nobody. `secret` is the process's, and serves other ends as well.
    #[must_use]
    pub fn new(secret: &[u8; 16]) -> Silence {
        Silence {
            key: Keyed::new(secret, "sources listened for"),
            by_address: Index::default(),
            sources: Chunks::default(),
            vacant: Chunks::default(),
            links: Sparse::with_blank(UNLINKED),
            looks: Wheel::default(),
            telling: VecDeque::new(),
        }
    }

    /// Whether nobody is listened for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// Sources that are listened for.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.by_address.len()
    }

    /// The number of the source at an address.
    fn number(&self, address: SocketAddr) -> Option<u32> {
        let is_it = |number: u32| self.sources[number as usize].address == address;
        self.by_address.find(self.key.address(address), is_it)
    }

    /// An endpoint has registered from `address`, and will be heard from at least every
    /// `silence_max_s` seconds. That it registered is the first sign.
    pub fn put(
        &mut self,
        now: Instant,
        endpoint: Endpoint,
        address: SocketAddr,
        silence_max_s: u32,
    ) {
        let address = plain(address);
        let number = self.number(address);
        if let Some(link) = self.link(endpoint)
            && Some(link.source) == number
        {
            self.sources[link.source as usize].silence_max_s = silence_max_s;
            self.heard(now, address);
            return;
        }
        self.unlink(endpoint.index);
        // A source without endpoints has gone, so it is looked for only now.
        let number = match self.number(address) {
            Some(number) => number,
            None => self.open(now, address, silence_max_s),
        };
        let index = endpoint.index as usize;
        let source = &mut self.sources[number as usize];
        source.silence_max_s = silence_max_s;
        let next = std::mem::replace(&mut source.first, endpoint.index);
        let generation = endpoint.generation;
        *self.links.put(index) = Link { source: number, next, previous: NIL, generation };
        if next != NIL {
            self.links[next as usize].previous = endpoint.index;
        }
        self.heard(now, address);
    }

    fn open(&mut self, now: Instant, address: SocketAddr, silence_max_s: u32) -> u32 {
        let number = match self.vacant.pop() {
            Some(number) => number,
            None => {
                self.sources.push(Source {
                    address,
                    heard_s: 0,
                    silence_max_s: 0,
                    first: NIL,
                    cursor: NIL,
                    verdict: None,
                    silent: false,
                    generation: 0,
                });
                self.sources.len() as u32 - 1
            }
        };
        let source = &mut self.sources[number as usize];
        *source = Source {
            address,
            heard_s: second(now),
            silence_max_s,
            first: NIL,
            cursor: NIL,
            verdict: None,
            silent: false,
            generation: source.generation.wrapping_add(1),
        };
        let Silence { key, by_address, sources, .. } = self;
        let hash = |number: u32| key.address(sources[number as usize].address);
        by_address.insert(key.address(address), number, hash);
        self.look_at(number);
        number
    }

    fn look_at(&mut self, number: u32) {
        let source = &self.sources[number as usize];
        // A second more: both ends are whole seconds, rounded down.
        let due = source.heard_s.saturating_add(source.silence_max_s).saturating_add(1);
        self.looks.arm(Token { index: number, generation: source.generation }, due);
    }

    fn link(&self, endpoint: Endpoint) -> Option<Link> {
        let link = *self.links.at(endpoint.index as usize);
        (link.source != NIL && link.generation == endpoint.generation).then_some(link)
    }

    /// The endpoint has gone, or has agreed to nothing any more.
    pub fn remove(&mut self, endpoint: Endpoint) {
        if self.link(endpoint).is_some() {
            self.unlink(endpoint.index);
        }
    }

    fn unlink(&mut self, index: u32) {
        let Some(link) = self.links.get_mut(index as usize).filter(|link| link.source != NIL)
        else {
            return;
        };
        let Link { source: number, next, previous, .. } = std::mem::replace(link, UNLINKED);
        let source = &mut self.sources[number as usize];
        if source.cursor == index {
            source.cursor = next;
        }
        if next != NIL {
            self.links[next as usize].previous = previous;
        }
        if previous != NIL {
            self.links[previous as usize].next = next;
            return;
        }
        source.first = next;
        if next == NIL {
            source.generation = source.generation.wrapping_add(1);
            let address = source.address;
            self.by_address.remove(self.key.address(address), number);
            self.vacant.push(number);
        }
    }

    /// A keepalive has come from `address`. Returns whether anybody there is listened for.
    pub fn heard(&mut self, now: Instant, address: SocketAddr) -> bool {
        let Some(number) = self.number(plain(address)) else { return false };
        let source = &mut self.sources[number as usize];
        source.heard_s = source.heard_s.max(second(now));
        if source.silent {
            source.silent = false;
            self.look_at(number);
            self.tell(number, Verdict::Heard);
        }
        true
    }

    fn tell(&mut self, number: u32, verdict: Verdict) {
        let source = &mut self.sources[number as usize];
        source.cursor = source.first;
        if source.verdict.replace(verdict).is_none() {
            self.telling.push_back((number, source.generation));
        }
    }

    /// Whether the endpoint is listened for and has kept its word so far.
    #[must_use]
    pub fn keeps_word(&self, endpoint: Endpoint) -> bool {
        self.link(endpoint).is_some_and(|link| !self.sources[link.source as usize].silent)
    }

    /// One step: a source looked at, or one endpoint told what became of its source.
    pub fn poll(&mut self, now: Instant) -> Step {
        if let Some(&(number, generation)) = self.telling.front() {
            let source = &mut self.sources[number as usize];
            if source.generation != generation {
                self.telling.pop_front();
                return Step::Moved;
            }
            let (index, verdict) = (source.cursor, source.verdict);
            let (Some(verdict), true) = (verdict, index != NIL) else {
                source.verdict = None;
                self.telling.pop_front();
                return Step::Moved;
            };
            let link = self.links[index as usize];
            source.cursor = link.next;
            return Step::Told(Endpoint { index, generation: link.generation }, verdict);
        }
        let now_s = second(now);
        let Token { index: number, generation } = match self.looks.poll(now_s) {
            wheel::Step::Idle => return Step::Idle,
            wheel::Step::Moved => return Step::Moved,
            wheel::Step::Due(token) => token,
        };
        let source = &mut self.sources[number as usize];
        if source.generation != generation || source.silent {
            return Step::Moved;
        }
        if now_s <= source.heard_s.saturating_add(source.silence_max_s) {
            self.look_at(number);
            return Step::Moved;
        }
        source.silent = true;
        self.tell(number, Verdict::Silent);
        Step::Moved
    }

    /// When [`Silence::poll`] next has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        if !self.telling.is_empty() {
            return Some(Instant::ZERO);
        }
        self.looks.next_deadline().map(|second| Instant::from_secs(second.into()))
    }

    /// Walks every chain.
    ///
    /// # Panics
    /// If one is broken, which is a bug of ours.
    pub fn check_invariants(&self) {
        let mut chained = 0;
        for number in self.by_address.iter() {
            let source = &self.sources[number as usize];
            let address = source.address;
            assert_eq!(self.number(address), Some(number));
            assert_eq!(source.generation % 2, 1, "{address} is here");
            assert_ne!(source.first, NIL, "{address} has somebody");
            let (mut at, mut before) = (source.first, NIL);
            while at != NIL {
                let link = self.links[at as usize];
                assert_eq!((link.source, link.previous), (number, before));
                chained += 1;
                assert!(chained <= self.links.numbers_end(), "the chain of {address} ends");
                (before, at) = (at, link.next);
            }
            let is_looked_at =
                self.looks.deadline(number).is_some_and(|(_, of)| of == source.generation);
            assert_eq!(is_looked_at, !source.silent, "looks at {address}");
        }
        assert_eq!(self.links.iter().filter(|(_, link)| link.source != NIL).count(), chained);
        assert_eq!(self.by_address.len() + self.vacant.len(), self.sources.len());
    }
}

#[cfg(test)]
mod tests;
