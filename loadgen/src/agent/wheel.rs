//! A timing wheel of agent numbers. Entries are never taken out: an agent remembers for which
//! tick it is armed, and an entry of another tick is nothing. So a timer costs nothing to stop.

use crate::plan::Nanos;

/// Length of a tick.
pub const TICK: Nanos = 4_000_000;
const SLOTS: u64 = 16_384;

/// The wheel; its horizon is 65 seconds, later ticks are cut to that and looked at again then.
#[derive(Debug)]
pub struct Wheel {
    slots: Vec<Vec<u32>>,
    /// Next tick to be drained.
    cursor: u64,
    entries: usize,
}

impl Wheel {
    /// An empty wheel at time zero.
    pub fn new() -> Self {
        Wheel { slots: vec![Vec::new(); SLOTS as usize], cursor: 1, entries: 0 }
    }

    /// The first tick that is not before `at`, within the horizon.
    #[inline]
    pub fn tick_of(&self, at: Nanos) -> u64 {
        at.div_ceil(TICK).clamp(self.cursor, self.cursor + SLOTS - 1)
    }

    /// Puts an agent on a tick that `tick_of` gave.
    #[inline]
    pub fn insert(&mut self, agent: u32, tick: u64) {
        debug_assert!((self.cursor..self.cursor + SLOTS).contains(&tick));
        self.slots[(tick % SLOTS) as usize].push(agent);
        self.entries += 1;
    }

    /// Takes one entry whose tick has come, with that tick.
    #[inline]
    pub fn pop(&mut self, now: Nanos) -> Option<(u32, u64)> {
        let current = now / TICK;
        while self.cursor <= current {
            if self.entries == 0 {
                self.cursor = current + 1;
                return None;
            }
            if let Some(agent) = self.slots[(self.cursor % SLOTS) as usize].pop() {
                self.entries -= 1;
                return Some((agent, self.cursor));
            }
            self.cursor += 1;
        }
        None
    }

    /// When the next entry is due, looking ahead no further than `limit` from `now`.
    pub fn next(&self, now: Nanos, limit: Nanos) -> Nanos {
        let end = now + limit;
        if self.entries == 0 {
            return end;
        }
        (self.cursor..=end / TICK)
            .find(|tick| !self.slots[(tick % SLOTS) as usize].is_empty())
            .map_or(end, |tick| (tick * TICK).min(end))
    }
}

impl Default for Wheel {
    fn default() -> Self {
        Wheel::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_come_when_their_tick_has_come_and_not_before() {
        let mut wheel = Wheel::new();
        for (agent, at) in [(1, 10_000_000), (2, 500_000_000), (3, 12_000_000)] {
            let tick = wheel.tick_of(at);
            wheel.insert(agent, tick);
        }
        assert_eq!(wheel.pop(9_999_999), None);
        assert_eq!(wheel.next(9_999_999, 100_000_000), 12_000_000);
        let mut due = vec![wheel.pop(12_000_000).unwrap().0, wheel.pop(12_000_000).unwrap().0];
        due.sort_unstable();
        assert_eq!(due, [1, 3]);
        assert_eq!(wheel.pop(499_000_000), None);
        assert_eq!(wheel.pop(500_000_000).unwrap().0, 2);
        assert_eq!(wheel.pop(u64::MAX / 2), None);
    }

    #[test]
    fn what_is_past_or_beyond_the_horizon_is_still_kept() {
        let mut wheel = Wheel::new();
        assert_eq!(wheel.pop(1_000_000_000), None);
        let past = wheel.tick_of(0);
        wheel.insert(1, past);
        let far = wheel.tick_of(1_000_000_000_000);
        wheel.insert(2, far);
        assert_eq!(wheel.pop(1_000_000_000 + TICK).unwrap().0, 1);
        assert_eq!(wheel.pop(2_000_000_000), None);
        assert_eq!(wheel.pop(70_000_000_000).unwrap().0, 2);
    }
}
