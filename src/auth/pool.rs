//! Values of one size that come and go, each at a place that stays its own while it is there.

use crate::table::Chunks;

/// Values whose vacated places are taken again.
pub(super) struct Pool<T> {
    places: Chunks<T>,
    vacant: Chunks<u32>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Pool { places: Chunks::default(), vacant: Chunks::default() }
    }
}

impl<T> Pool<T> {
    /// Keeps a value. Returns its place.
    pub(super) fn insert(&mut self, value: T) -> u32 {
        match self.vacant.pop() {
            Some(at) => {
                self.places[at as usize] = value;
                at
            }
            None => {
                self.places.push(value);
                u32::try_from(self.places.len() - 1).expect("fewer than 2^32 accounts")
            }
        }
    }

    /// The value at a place.
    pub(super) fn at(&self, place: u32) -> &T {
        &self.places[place as usize]
    }

    /// Vacates a place; `blank` stands there until the next value does.
    pub(super) fn remove(&mut self, place: u32, blank: T) {
        self.places[place as usize] = blank;
        self.vacant.push(place);
    }

    /// Bytes held, free room included.
    pub(super) fn bytes_held(&self) -> usize {
        self.places.bytes_held() + self.vacant.bytes_held()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vacated_place_is_taken_again_and_keeps_nothing_of_its_last_value() {
        let mut pool = Pool::default();
        let (one, two) = (pool.insert(1), pool.insert(2));
        pool.remove(one, 0);
        assert_eq!((*pool.at(one), *pool.at(two)), (0, 2));
        assert_eq!(pool.insert(3), one);
        assert_eq!(pool.insert(4), 2);
        assert_eq!((*pool.at(one), *pool.at(two)), (3, 2));
    }
}
