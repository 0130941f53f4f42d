//! The names of accounts, one after the other in chunks: two dozen bytes each instead of an
//! allocation.

use crate::limits::AOR_BYTES_MAX;
use crate::table::Chunks;

/// A name lies within one chunk, so that growing never moves or copies the names there are.
const CHUNK_BITS: u32 = 16;
const CHUNK_BYTES: usize = 1 << CHUNK_BITS;
const CHUNKS_MAX: usize = 1 << (32 - CHUNK_BITS);

const _: () = assert!(AOR_BYTES_MAX <= CHUNK_BYTES);

/// A place is the chunk's number and the offset in it.
#[derive(Default)]
pub(super) struct Names {
    chunks: Vec<Vec<u8>>,
    /// Vacated places by the length of the name that was there: names of a length are many, so a
    /// place is soon taken again, and none is ever cut up.
    vacant: Vec<Chunks<u32>>,
}

impl Names {
    /// Keeps a name. Returns its place, or `None` if 4 GiB are full.
    pub(super) fn insert(&mut self, name: &[u8]) -> Option<u32> {
        if let Some(at) = self.vacant.get_mut(name.len()).and_then(Chunks::pop) {
            let (chunk, start) = place(at);
            self.chunks[chunk][start..start + name.len()].copy_from_slice(name);
            return Some(at);
        }
        if self.chunks.last().is_none_or(|chunk| CHUNK_BYTES - chunk.len() < name.len()) {
            if self.chunks.len() == CHUNKS_MAX {
                return None;
            }
            self.chunks.push(Vec::with_capacity(CHUNK_BYTES));
        }
        let number = self.chunks.len() - 1;
        let chunk = &mut self.chunks[number];
        let at = (number << CHUNK_BITS | chunk.len()) as u32;
        chunk.extend_from_slice(name);
        Some(at)
    }

    /// Vacates the place of a name.
    pub(super) fn remove(&mut self, at: u32, len: u8) {
        let len = usize::from(len);
        if self.vacant.len() <= len {
            self.vacant.resize_with(len + 1, Chunks::default);
        }
        self.vacant[len].push(at);
    }

    /// The name at a place.
    #[inline]
    pub(super) fn text(&self, at: u32, len: u8) -> &[u8] {
        let (chunk, start) = place(at);
        &self.chunks[chunk][start..start + usize::from(len)]
    }

    /// Bytes held, free room included.
    pub(super) fn bytes_held(&self) -> usize {
        let vacant: usize = self.vacant.iter().map(Chunks::bytes_held).sum();
        self.chunks.len() * CHUNK_BYTES + vacant
    }

    #[cfg(test)]
    pub(super) fn chunks(&self) -> usize {
        self.chunks.len()
    }
}

fn place(at: u32) -> (usize, usize) {
    ((at >> CHUNK_BITS) as usize, at as usize & (CHUNK_BYTES - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_come_and_go_take_no_more_room() {
        let mut names = Names::default();
        let kept = names.insert(b"kept@example.com").unwrap();
        for round in 0..50_000 {
            let name = format!("{round:0>20}@example.com");
            let at = names.insert(name.as_bytes()).unwrap();
            assert_eq!(names.text(at, name.len() as u8), name.as_bytes());
            names.remove(at, name.len() as u8);
        }
        assert_eq!(names.chunks(), 1);
        assert_eq!(names.text(kept, 16), b"kept@example.com");
    }
}
