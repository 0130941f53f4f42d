//! Values by number, where most numbers have none or the numbers come in any order: a blank stands
//! wherever nothing was put. Whoever is far ahead of the others costs a chunk, and no filling of
//! what lies between.
//!
//! A blank that is all zero, of integers or arrays of them, costs nothing to fill a chunk with: the
//! kernel hands out zeroed memory page by page as it is touched. Other blanks want small chunks.

use std::ops;

use crate::table::chunks::COPIED_BYTES_MAX;

/// Values by number, in chunks of `1 << BITS`.
#[derive(Clone, Debug)]
pub struct Sparse<T, const BITS: u32> {
    /// A chunk nobody has put anything into is empty.
    chunks: Vec<Box<[T]>>,
    blank: T,
}

/// Entries of the first chunk before it doubles.
const FIRST: usize = 16;

impl<T: Clone + Default, const BITS: u32> Default for Sparse<T, BITS> {
    fn default() -> Self {
        Sparse { chunks: Vec::new(), blank: T::default() }
    }
}

impl<T: Clone, const BITS: u32> Sparse<T, BITS> {
    /// A table with this blank.
    #[must_use]
    pub fn with_blank(blank: T) -> Self {
        Sparse { chunks: Vec::new(), blank }
    }

    const WHOLE: usize = 1 << BITS;
    const MASK: usize = Self::WHOLE - 1;

    /// The value of a number, or the blank.
    #[inline]
    #[must_use]
    pub fn at(&self, number: usize) -> &T {
        let value =
            self.chunks.get(number >> BITS).and_then(|chunk| chunk.get(number & Self::MASK));
        value.unwrap_or(&self.blank)
    }

    /// The value of a number, where there may be one.
    #[inline]
    #[must_use]
    pub fn get_mut(&mut self, number: usize) -> Option<&mut T> {
        self.chunks.get_mut(number >> BITS)?.get_mut(number & Self::MASK)
    }

    /// The value of a number, to be changed; a place is made for it.
    #[inline]
    pub fn put(&mut self, number: usize) -> &mut T {
        let (chunk, place) = (number >> BITS, number & Self::MASK);
        if self.chunks.get(chunk).is_none_or(|chunk| chunk.len() <= place) {
            self.open(chunk, place);
        }
        &mut self.chunks[chunk][place]
    }

    /// Makes a place. All chunks but the first come whole; that one once it is no longer small.
    #[cold]
    #[inline(never)]
    fn open(&mut self, chunk: usize, place: usize) {
        if self.chunks.len() <= chunk {
            self.chunks.resize_with(chunk + 1, Box::default);
        }
        let doubled = (place + 1).next_power_of_two().max(FIRST);
        let is_small = chunk == 0 && doubled * size_of::<T>() <= COPIED_BYTES_MAX;
        let places = if is_small { doubled.min(Self::WHOLE) } else { Self::WHOLE };
        let mut larger = vec![self.blank.clone(); places].into_boxed_slice();
        let chunk = &mut self.chunks[chunk];
        for (new, old) in larger.iter_mut().zip(chunk.iter_mut()) {
            std::mem::swap(new, old);
        }
        *chunk = larger;
    }

    /// Makes room for the numbers `0..numbers` ahead of time, as far as growing to them would have
    /// to move any: in the first chunk, and in the list of chunks. Whole chunks come when they are
    /// needed, best from where they are kept ready.
    pub fn reserve_total(&mut self, numbers: usize) {
        let chunks = numbers.div_ceil(Self::WHOLE);
        self.chunks.reserve(chunks.saturating_sub(self.chunks.len()));
        if numbers > 0 && self.chunks.first().is_none_or(|chunk| chunk.is_empty()) {
            self.open(0, (numbers - 1).min(Self::MASK));
        }
    }

    /// One more than the largest number that may have a value.
    #[must_use]
    pub fn numbers_end(&self) -> usize {
        match self.chunks.last() {
            Some(last) => (self.chunks.len() - 1) * Self::WHOLE + last.len(),
            None => 0,
        }
    }

    /// Every number that may have a value with what it has, in order.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &T)> {
        self.chunks.iter().enumerate().flat_map(|(chunk, values)| {
            values.iter().enumerate().map(move |(nth, value)| (chunk * Self::WHOLE + nth, value))
        })
    }

    /// Bytes held; those of a zeroed chunk may not be resident.
    #[must_use]
    pub fn bytes_held(&self) -> usize {
        let values: usize = self.chunks.iter().map(|chunk| chunk.len()).sum();
        values * size_of::<T>() + self.chunks.capacity() * size_of::<Box<[T]>>()
    }
}

impl<T: Clone, const BITS: u32> ops::Index<usize> for Sparse<T, BITS> {
    type Output = T;

    #[inline]
    fn index(&self, number: usize) -> &T {
        self.at(number)
    }
}

/// As in a vector, a number for which no place was made is a mistake.
impl<T: Clone, const BITS: u32> ops::IndexMut<usize> for Sparse<T, BITS> {
    #[inline]
    fn index_mut(&mut self, number: usize) -> &mut T {
        &mut self.chunks[number >> BITS][number & Self::MASK]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_far_ahead_costs_one_chunk() {
        let mut sparse: Sparse<[u32; 2], 4> = Sparse::default();
        sparse.put(1000)[0] = 7;
        assert_eq!((sparse.at(1000)[0], sparse.at(999)[0], sparse.at(5000)[0]), (7, 0, 0));
        assert_eq!(sparse.iter().count(), 16);
        assert_eq!(sparse.numbers_end(), 1008);
        sparse.put(3)[1] = 9;
        assert_eq!(*sparse.at(3), [0, 9]);
        assert!(sparse.get_mut(40).is_none());
    }

    #[test]
    fn with_room_ahead_of_time_not_even_the_first_chunk_moves_and_it_is_blank() {
        let mut sparse: Sparse<[u32; 2], 8> = Sparse::default();
        sparse.reserve_total(1000);
        assert!((0..256).all(|number| *sparse.at(number) == [0, 0]));
        let first = std::ptr::from_ref(sparse.at(0));
        (0..1000).for_each(|number| sparse.put(number)[0] = 1);
        assert!(std::ptr::eq(first, sparse.at(0)));
        sparse.reserve_total(2000);
        assert!((0..1000).all(|number| *sparse.at(number) == [1, 0]));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn agrees_with_a_map(puts in prop::collection::vec((0..200usize, any::<u32>()), 0..100)) {
            let mut sparse: Sparse<u32, 3> = Sparse::default();
            let mut model = BTreeMap::new();
            for (number, value) in puts {
                *sparse.put(number) = value;
                model.insert(number, value);
                prop_assert!(sparse.numbers_end() > number);
            }
            for number in 0..220 {
                prop_assert_eq!(*sparse.at(number), model.get(&number).copied().unwrap_or(0));
            }
            prop_assert_eq!(
                sparse.iter().filter(|(_, value)| **value != 0).count(),
                model.values().filter(|value| **value != 0).count()
            );
        }
    }
}
