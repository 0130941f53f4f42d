//! The User-Agent texts of a shard's phones: a million phones have some hundred of them, so each
//! is kept once. There is room for a bounded number; a text that finds none stands in its binding,
//! as does whatever hostile phones think of. One that no binding has any more makes room.

use std::sync::Arc;

use crate::limits::AGENTS_MAX;
use crate::registrar::names::hash_of;
use crate::table::Index;

/// Places that are looked at for one that nobody needs any more.
const LOOKS: usize = 8;

/// A User-Agent that bindings share.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Agent {
    text: Box<[u8]>,
    hash: u64,
}

impl Agent {
    pub fn text(&self) -> &[u8] {
        &self.text
    }
}

/// The table.
#[derive(Debug)]
pub(super) struct Agents {
    key: [u64; 2],
    by_hash: Index,
    places: Vec<Arc<Agent>>,
    /// Where the search for a place goes on.
    hand: usize,
    refused: u64,
}

impl Agents {
    /// An empty table; nobody outside knows `key`.
    pub fn new(key: [u64; 2]) -> Agents {
        Agents { key, by_hash: Index::default(), places: Vec::new(), hand: 0, refused: 0 }
    }

    /// Texts that are kept for all bindings that have them.
    pub fn count(&self) -> usize {
        self.places.len()
    }

    /// How often there was no room for one.
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// The text as all share it; `None` for an empty one, and where there is no room.
    pub fn share(&mut self, text: &[u8]) -> Option<Arc<Agent>> {
        if text.is_empty() {
            return None;
        }
        let hash = hash_of(text, self.key);
        let places = &self.places;
        if let Some(at) = self.by_hash.find(hash, |at| *places[at as usize].text == *text) {
            return Some(Arc::clone(&self.places[at as usize]));
        }
        self.add(text, hash)
    }

    #[cold]
    fn add(&mut self, text: &[u8], hash: u64) -> Option<Arc<Agent>> {
        let at = if self.places.len() < AGENTS_MAX {
            self.places.len()
        } else {
            let mut near = (0..LOOKS).map(|ahead| (self.hand + ahead) % AGENTS_MAX);
            let found = near.find(|&at| Arc::strong_count(&self.places[at]) == 1);
            self.hand = (found.unwrap_or(self.hand + LOOKS - 1) + 1) % AGENTS_MAX;
            let Some(at) = found else {
                self.refused += 1;
                return None;
            };
            let was_there = self.by_hash.remove(self.places[at].hash, at as u32);
            debug_assert!(was_there, "what has a place is found");
            at
        };
        let agent = Arc::new(Agent { text: text.into(), hash });
        match self.places.get_mut(at) {
            Some(place) => *place = Arc::clone(&agent),
            None => self.places.push(Arc::clone(&agent)),
        }
        let places = &self.places;
        self.by_hash.insert(hash, at as u32, |at| places[at as usize].hash);
        Some(agent)
    }
}

const _: () = assert!(AGENTS_MAX > LOOKS && AGENTS_MAX < u32::MAX as usize);

#[cfg(test)]
mod tests {
    use super::*;

    fn text(number: usize) -> Vec<u8> {
        format!("Phone {number}").into_bytes()
    }

    #[test]
    fn equal_texts_are_one_and_none_is_none() {
        let mut agents = Agents::new([1, 2]);
        let (a, b) = (agents.share(b"Acme 1").unwrap(), agents.share(b"Acme 1").unwrap());
        assert!(Arc::ptr_eq(&a, &b));
        assert_eq!(agents.share(b"Acme 2").unwrap().text(), b"Acme 2");
        assert_eq!(agents.share(b""), None);
        assert_eq!((agents.count(), agents.refused()), (2, 0));
    }

    #[test]
    fn a_full_table_refuses_and_counts_until_one_is_needed_no_more() {
        let mut agents = Agents::new([1, 2]);
        let mut kept: Vec<_> =
            (0..AGENTS_MAX).map(|number| agents.share(&text(number)).unwrap()).collect();
        for number in 0..100 {
            assert_eq!(agents.share(&text(AGENTS_MAX + number)), None);
        }
        assert_eq!((agents.count(), agents.refused()), (AGENTS_MAX, 100));
        let gone = kept.swap_remove(77);
        drop(gone);
        // A bounded look each time, until the hand has been everywhere.
        let tries = AGENTS_MAX.div_ceil(LOOKS) + 1;
        let found = (0..tries).find_map(|_| agents.share(b"late comer"));
        assert_eq!(found.unwrap().text(), b"late comer");
        assert_eq!(agents.count(), AGENTS_MAX);
        for agent in &kept {
            assert!(Arc::ptr_eq(agent, &agents.share(agent.text()).unwrap()));
        }
        assert_eq!(agents.share(&text(77)), None, "its place was taken");
    }
}
