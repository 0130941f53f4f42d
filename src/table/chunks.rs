//! A vector in chunks: what is in it never moves, except while it is shorter than one chunk.

use std::ops;

/// Bytes of a whole chunk: as much as huge pages are asked for.
pub const CHUNK_BYTES: usize = 4 << 20;
/// The first chunk doubles up to so much, and then comes whole: most tables are small, and copying
/// more than that would be a pause.
pub(super) const COPIED_BYTES_MAX: usize = 64 << 10;

/// In tests so little that every table there has many chunks.
const BYTES: usize = if cfg!(test) { 1 << 10 } else { CHUNK_BYTES };

/// Values in a vector that grows by chunks.
#[derive(Clone, Debug)]
pub struct Chunks<T> {
    /// All but the last one are full; whole chunks that were emptied again stay.
    chunks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Default for Chunks<T> {
    fn default() -> Self {
        Chunks { chunks: Vec::new(), len: 0 }
    }
}

impl<T> Chunks<T> {
    /// Entries of a chunk, in bits.
    const BITS: u32 = if size_of::<T>() < BYTES { (BYTES / size_of::<T>()).ilog2() } else { 0 };
    const MASK: usize = (1 << Self::BITS) - 1;

    /// Values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room ahead of time, as far as growing to `values` would have to move any: in the first
    /// chunk, and in the list of chunks. Whole chunks come when they are needed, best from where
    /// they are kept ready.
    pub fn reserve_total(&mut self, values: usize) {
        let per_chunk = 1 << Self::BITS;
        let chunks = values.div_ceil(per_chunk);
        self.chunks.reserve(chunks.saturating_sub(self.chunks.len()));
        let wanted = values.min(per_chunk);
        match self.chunks.first_mut() {
            Some(first) => first.reserve_exact(wanted.saturating_sub(first.len())),
            None if wanted > 0 => self.chunks.push(Vec::with_capacity(wanted)),
            None => {}
        }
    }

    /// Adds a value behind the others.
    pub fn push(&mut self, value: T) {
        let number = self.len >> Self::BITS;
        if number == self.chunks.len() {
            // The first grows as vectors do: most tables are small.
            let whole = if number == 0 { 0 } else { 1 << Self::BITS };
            self.chunks.push(Vec::with_capacity(whole));
        }
        let chunk = &mut self.chunks[number];
        if chunk.len() == chunk.capacity() && chunk.len() * size_of::<T>() >= COPIED_BYTES_MAX {
            chunk.reserve_exact((1 << Self::BITS) - chunk.len());
        }
        chunk.push(value);
        self.len += 1;
    }

    /// Takes the last value.
    pub fn pop(&mut self) -> Option<T> {
        let last = self.len.checked_sub(1)?;
        let value = self.chunks[last >> Self::BITS].pop();
        self.len = last;
        value
    }

    /// The value at a place.
    #[inline]
    #[must_use]
    pub fn get(&self, at: usize) -> Option<&T> {
        self.chunks.get(at >> Self::BITS)?.get(at & Self::MASK)
    }

    /// The value at a place, to be changed.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, at: usize) -> Option<&mut T> {
        self.chunks.get_mut(at >> Self::BITS)?.get_mut(at & Self::MASK)
    }

    /// All values in order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten()
    }

    /// The values of some places in order, as many of them as there are.
    pub fn range(&self, places: ops::Range<usize>) -> impl Iterator<Item = &T> {
        let end = places.end.min(self.len);
        (places.start.min(end)..end).map(|at| &self[at])
    }

    /// Bytes held, free room included.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        let values: usize = self.chunks.iter().map(Vec::capacity).sum();
        values * size_of::<T>() + self.chunks.capacity() * size_of::<Vec<T>>()
    }
}

impl<T> ops::Index<usize> for Chunks<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.chunks[at >> Self::BITS][at & Self::MASK]
    }
}

impl<T> ops::IndexMut<usize> for Chunks<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.chunks[at >> Self::BITS][at & Self::MASK]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Large = [u64; 16];

    const PER_CHUNK: usize = BYTES / size_of::<Large>();

    fn large(number: usize) -> Large {
        [number as u64; 16]
    }

    #[test]
    fn holds_what_a_vector_holds_across_its_chunks() {
        let count = 2 * PER_CHUNK + 9;
        let mut chunks = Chunks::default();
        for number in 0..count {
            assert_eq!(chunks.len(), number);
            chunks.push(large(number));
        }
        assert!((0..count).all(|number| chunks[number] == large(number)));
        assert!(chunks.get(count).is_none() && chunks.get(1 << 40).is_none());
        assert_eq!(chunks.iter().count(), count);
        let around = PER_CHUNK - 2..PER_CHUNK + 2;
        let of: Vec<usize> = chunks.range(around.clone()).map(|value| value[0] as usize).collect();
        assert_eq!(of, around.collect::<Vec<_>>());
        assert_eq!(chunks.range(count - 1..count + 99).count(), 1);
        chunks[PER_CHUNK + 1] = large(7);
        assert_eq!(chunks.get_mut(PER_CHUNK + 1), Some(&mut large(7)));
        while let Some(last) = chunks.pop() {
            let len = chunks.len();
            assert_eq!(last[1], if len == PER_CHUNK + 1 { 7 } else { len as u64 });
        }
        chunks.push(large(1));
        assert_eq!((chunks.len(), &chunks[0]), (1, &large(1)));
    }

    #[test]
    fn nothing_moves_once_the_first_chunk_is_whole() {
        let mut chunks = Chunks::default();
        (0..PER_CHUNK).for_each(|number| chunks.push(large(number)));
        let place = |chunks: &Chunks<Large>, at: usize| std::ptr::from_ref(&chunks[at]);
        let places: Vec<_> = (0..PER_CHUNK).map(|at| place(&chunks, at)).collect();
        (0..2 * PER_CHUNK).for_each(|number| chunks.push(large(number)));
        assert!(places.iter().enumerate().all(|(at, &before)| place(&chunks, at) == before));
    }

    #[test]
    fn with_room_ahead_of_time_not_even_the_first_chunk_moves() {
        let mut chunks = Chunks::default();
        chunks.reserve_total(PER_CHUNK + 20);
        chunks.push(large(0));
        let first = std::ptr::from_ref(&chunks[0]);
        (1..PER_CHUNK + 20).for_each(|number| chunks.push(large(number)));
        assert!(std::ptr::eq(first, &raw const chunks[0]));
        assert!((0..PER_CHUNK + 20).all(|number| chunks[number] == large(number)));
    }
}
