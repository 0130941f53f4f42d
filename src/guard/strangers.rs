//! How much of a reactor's time goes to strangers: requests of sources that nobody has proved
//! himself from, and that lead to nothing. A waiting time says that there is too much when
//! everybody waits already; this says so while the queue is still short.
//!
//! - Nobody is dropped while a reactor sleeps for half of its time.
//! - What leads to nothing is seen from what proves who sent it: a registration is two requests,
//!   one of which does. So a storm of honest newcomers is no flood, however large, and a flood is
//!   one, however many honest phones there are beside it. Proofs come a round trip after what
//!   asked for them, so both are counted over about half a second.
//! - The share of strangers that is let in is set anew for each window, so that what leads to
//!   nothing takes no more time than it may. The others hear nothing: an answer would cost as much
//!   as what was saved, and who only pretends to be there does not hear it. Whoever means it sends
//!   again (RFC 3261 17.1.2.2), and some of all are let in always.

use std::time::Duration;

/// All of a share.
const WHOLE: u64 = 1 << 32;
/// At least so much of the strangers is let in: with all its retransmissions, every second one that
/// means it comes through whatever the flood.
const LEAST: u64 = WHOLE / 16;
/// Nobody is dropped below this share of busy time.
const BUSY: u64 = WHOLE / 2;
/// Fewer messages in a window say nothing.
const MESSAGES_MIN: u64 = 64;
/// What is dropped unread takes about a quarter of the time of what is answered.
const ANSWER_DROPS: u64 = 4;
/// Messages and proofs are counted over about so many windows.
const WINDOWS: u64 = 32;
/// A window so long is that of a reactor with nothing to do.
const IDLE: Duration = Duration::from_secs(1);

/// What a reactor did in a window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// How long it was.
    pub passed: Duration,
    /// For how much of that it did not sleep.
    pub busy: Duration,
    /// Messages that were answered, those among them that other shards handed over, and requests
    /// and keepalives of its own.
    pub handled: u64,
    /// Those that were neither answered nor handed over.
    pub dropped: u64,
    /// Requests that proved who sent them, of those that were answered.
    pub proved: u64,
}

/// What a message that was read has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// Nothing that leads to anything.
    Nothing,
    /// Who sent it, by what it had from before.
    Proof,
    /// Who sent it, by a challenge that it asked for just now: so does what asked for it.
    Answer,
}

/// Which share of strangers is let in at one shard.
#[derive(Clone, Debug)]
pub struct Strangers {
    /// The share of time that what leads to nothing may take, percent; 100 is no limit.
    time_percent: u32,
    /// Of 2^32.
    let_in: u64,
    /// It looks as if there were too many, so what comes is counted one by one.
    watching: bool,
    /// For so many windows on end.
    watched: u64,
    seen: Seen,
    /// Messages, and those that led to something, each window's a little less than the next one's.
    messages: u64,
    fruitful: u64,
}

/// What has come in this window, while that is counted.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Messages that were read, wherever they were answered.
    read: u64,
    /// Those of them that led to something.
    fruitful: u64,
    /// Strangers' messages that were let in.
    admitted: u64,
    /// And those that were not.
    dropped: u64,
}

impl Strangers {
    /// All are let in at first. `time_percent` as in [`crate::config::Overload`].
    #[must_use]
    pub fn new(time_percent: u32) -> Strangers {
        Strangers {
            time_percent,
            let_in: WHOLE,
            watching: false,
            watched: 0,
            seen: Seen::default(),
            messages: 0,
            fruitful: 0,
        }
    }

    /// Another limit from the next window on.
    pub fn configure(&mut self, time_percent: u32) {
        self.time_percent = time_percent;
        if time_percent >= 100 {
            *self = Strangers::new(time_percent);
        }
    }

    /// Whether what comes is to be shown. The one question there is while all is well.
    #[inline]
    #[must_use]
    pub fn is_watching(&self) -> bool {
        self.watching
    }

    /// The share that is let in, of 2^32.
    #[must_use]
    pub fn let_in(&self) -> u64 {
        self.let_in
    }

    /// Whether a stranger's message is let in. Asked only while watching.
    #[must_use]
    pub fn admit(&mut self, draw: u32) -> bool {
        let admitted = u64::from(draw) < self.let_in;
        *(if admitted { &mut self.seen.admitted } else { &mut self.seen.dropped }) += 1;
        admitted
    }

    /// A message from the network has been read. Told only while watching.
    pub fn saw(&mut self, shown: Shown) {
        self.seen.read += 1;
        self.seen.fruitful += match shown {
            Shown::Nothing => 0,
            Shown::Proof => 1,
            Shown::Answer => 2,
        };
    }

    /// A window is over: the share for the next one.
    #[cold]
    pub fn follow(&mut self, window: Window) {
        let seen = std::mem::take(&mut self.seen);
        let Window { passed, busy, handled, dropped, proved } = window;
        if self.time_percent >= 100 {
            return;
        }
        if passed >= IDLE || handled + dropped < MESSAGES_MIN {
            *self = Strangers::new(self.time_percent);
            return;
        }
        let busy = busy.min(passed).as_nanos() * u128::from(WHOLE) / passed.as_nanos().max(1);
        let busy = busy as u64;
        let limit = u64::from(self.time_percent) * WHOLE / 100;
        let units = handled + dropped / ANSWER_DROPS;
        if !self.watching {
            // Nobody counts who is a stranger, nor what is proved at other shards: of what was
            // answered here any may be in vain that was not proved here. Until it is counted it is
            // taken for good.
            self.remember(handled, handled);
            let in_vain = handled.saturating_sub(proved);
            self.watching = busy > BUSY && share_of(busy, in_vain, units) > limit;
            self.watched = 0;
            return;
        }
        self.remember(seen.read, seen.fruitful);
        let in_vain = self.messages.saturating_sub(self.fruitful);
        let strangers = seen.admitted.min(share_of(seen.read, in_vain, self.messages));
        let spent = share_of(busy, strangers, units.max(strangers));
        // By half in one window at most, since one window may mislead; back by an eighth.
        let wanted = match busy > BUSY {
            true => self.let_in.saturating_mul(limit) / spent.max(1),
            false => WHOLE,
        };
        let (less, more) = (self.let_in / 2, self.let_in + self.let_in / 8);
        self.let_in = wanted.clamp(less, more).clamp(LEAST, WHOLE);
        self.watched += 1;
        let is_calm = busy <= BUSY || spent <= limit / 2;
        self.watching = self.let_in < WHOLE || !is_calm || self.watched < WINDOWS;
    }

    fn remember(&mut self, messages: u64, fruitful: u64) {
        self.messages = self.messages - self.messages / WINDOWS + messages;
        self.fruitful = self.fruitful - self.fruitful / WINDOWS + fruitful;
    }
}

/// The part of `all` that `part` of `whole` is.
fn share_of(all: u64, part: u64, whole: u64) -> u64 {
    (u128::from(all) * u128::from(part.min(whole)) / u128::from(whole.max(1))) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    /// One that is told of what comes as a shard would tell it.
    struct Shard {
        rule: Strangers,
        draw: u32,
        /// Challenges of the windows before, which are answered so many windows later.
        challenged: std::collections::VecDeque<u64>,
    }

    impl Shard {
        fn new(percent: u32, round_trip_windows: usize) -> Shard {
            let challenged = std::iter::repeat_n(0, round_trip_windows).collect();
            Shard { rule: Strangers::new(percent), draw: 1, challenged }
        }

        /// Lets in what is to be of so many strangers.
        fn strangers(&mut self, count: u64) -> u64 {
            let mut admitted = 0;
            for _ in 0..count {
                self.draw = self.draw.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
                if !self.rule.is_watching() || self.rule.admit(self.draw) {
                    admitted += 1;
                    if self.rule.is_watching() {
                        self.rule.saw(Shown::Nothing);
                    }
                }
            }
            admitted
        }

        /// A window of 20 ms, in which a request is answered in 5 us and dropped in 1 us: a flood,
        /// refreshes, and phones that register from somewhere new. Returns how long the reactor was
        /// busy, and what it let in of the flood.
        fn window(&mut self, flood: u64, refreshes: u64, newcomers: u64) -> (Duration, u64) {
            let admitted = self.strangers(flood);
            let asked = self.strangers(newcomers);
            self.challenged.push_back(asked);
            let answers = self.challenged.pop_front().unwrap_or_default();
            if self.rule.is_watching() {
                (0..refreshes).for_each(|_| self.rule.saw(Shown::Proof));
                (0..answers).for_each(|_| self.rule.saw(Shown::Answer));
            }
            let handled = admitted + asked + refreshes + answers;
            let dropped = flood + newcomers - admitted - asked;
            let busy = Duration::from_micros(5 * handled + dropped).min(20 * MS);
            let proved = refreshes + answers;
            self.rule.follow(Window { passed: 20 * MS, busy, handled, dropped, proved });
            (busy, admitted)
        }
    }

    /// So many a second of each, for four seconds. Returns what share of strangers is let in at the
    /// end, the least there was, and over the last second the time that the flood's answers took
    /// and that the reactor was busy, percent.
    fn settled(flood: u64, refreshes: u64, newcomers: u64) -> (f64, f64, u64, u64) {
        let mut shard = Shard::new(25, 0);
        let (mut busy, mut answers, mut least) = (Duration::ZERO, 0, WHOLE);
        for window in 0..200 {
            let (worked, admitted) = shard.window(flood / 50, refreshes / 50, newcomers / 50);
            least = least.min(shard.rule.let_in());
            if window >= 150 {
                busy += worked;
                answers += admitted;
            }
        }
        let share = |of: u64| of as f64 / WHOLE as f64;
        (
            share(shard.rule.let_in()),
            share(least),
            5 * answers / 10_000,
            busy.as_micros() as u64 / 10_000,
        )
    }

    #[test]
    fn beside_a_flood_a_reactor_sleeps_for_half_of_its_time_or_gives_it_no_more_than_it_may() {
        let (_, _, flood_percent, busy_percent) = settled(200_000, 5_000, 0);
        assert!(flood_percent <= 35 && busy_percent <= 60, "{flood_percent} {busy_percent}");
        let (let_in, _, flood_percent, _) = settled(500_000, 5_000, 0);
        assert!(let_in < 0.2 && flood_percent <= 35, "{let_in} {flood_percent}");
        let (_, _, flood_percent, busy_percent) = settled(150_000, 50_000, 0);
        assert!(flood_percent <= 35 && busy_percent <= 75, "{flood_percent} {busy_percent}");
    }

    #[test]
    fn a_flood_as_large_as_the_refreshes_is_one_too() {
        let (_, _, flood_percent, _) = settled(80_000, 80_000, 0);
        assert!(flood_percent <= 35, "{flood_percent} of 40");
    }

    #[test]
    fn strangers_that_fit_are_all_let_in() {
        assert_eq!(settled(80_000, 0, 0).1, 1.0, "less than half of the time");
        assert_eq!(settled(1000, 100_000, 0).1, 1.0);
    }

    #[test]
    fn a_storm_of_registrations_is_no_flood() {
        assert_eq!(settled(0, 0, 90_000).1, 1.0);
        assert_eq!(settled(5_000, 0, 85_000).1, 1.0);
        // Nor where phones are far away: 100 and 300 ms. What asks before the first answers come
        // may look like one.
        for round_trip_windows in [5, 15] {
            let mut shard = Shard::new(25, round_trip_windows);
            for window in 0..200 {
                shard.window(0, 0, 1800);
                if window > 100 {
                    assert_eq!(shard.rule.let_in(), WHOLE, "{round_trip_windows} {window}");
                }
            }
        }
    }

    #[test]
    fn what_is_proved_at_other_shards_counts() {
        let mut rule = Strangers::new(25);
        let window = Window { passed: 20 * MS, busy: 20 * MS, handled: 2000, ..Window::default() };
        rule.follow(window);
        assert!(rule.is_watching(), "as far as it is known here");
        for _ in 0..100 {
            // Those that asked for a challenge are strangers; who answers one is handed over.
            for _ in 0..2000 {
                let _ = rule.admit(u32::MAX / 2);
                rule.saw(Shown::Nothing);
                rule.saw(Shown::Answer);
            }
            rule.follow(window);
        }
        assert_eq!(rule.let_in(), WHOLE);
    }

    #[test]
    fn what_leads_to_nothing_from_those_who_are_known_costs_strangers_nothing() {
        let mut rule = Strangers::new(25);
        let window = Window { passed: 20 * MS, busy: 20 * MS, handled: 4000, ..Window::default() };
        for _ in 0..50 {
            if rule.is_watching() {
                // OPTIONS of phones that have registered, and a few strangers.
                (0..4000).for_each(|_| rule.saw(Shown::Nothing));
                (0..10).for_each(|_| assert!(rule.admit(u32::MAX)));
            }
            rule.follow(window);
            assert_eq!(rule.let_in(), WHOLE);
        }
    }

    #[test]
    fn a_stall_is_no_flood_and_a_long_sleep_ends_one() {
        let mut rule = Strangers::new(25);
        let stall = Window { passed: 20 * MS, busy: 20 * MS, handled: 63, ..Window::default() };
        rule.follow(stall);
        assert!(!rule.is_watching());
        let mut shard = Shard::new(25, 0);
        (0..20).for_each(|_| _ = shard.window(8000, 0, 0));
        assert!(shard.rule.let_in() < WHOLE);
        let hour = Duration::from_secs(3600);
        shard.rule.follow(Window { passed: hour, busy: MS, handled: 1000, ..Window::default() });
        assert!(shard.rule.let_in() == WHOLE && !shard.rule.is_watching());
    }

    #[test]
    fn it_ends_with_the_flood_and_by_a_reload() {
        let mut shard = Shard::new(25, 0);
        (0..20).for_each(|_| _ = shard.window(8000, 0, 0));
        assert!(shard.rule.let_in() < WHOLE);
        // The load that is left is more than half of the time, and leads to something.
        (0..200).for_each(|_| _ = shard.window(0, 3000, 0));
        assert_eq!(shard.rule.let_in(), WHOLE);
        (0..20).for_each(|_| _ = shard.window(8000, 0, 0));
        shard.rule.configure(100);
        assert!(!shard.rule.is_watching());
        (0..5).for_each(|_| _ = shard.window(8000, 0, 0));
        assert!(!shard.rule.is_watching(), "no limit");
    }

    proptest! {
        #[test]
        fn some_are_always_let_in_and_the_share_is_never_more_than_whole(
            windows in prop::collection::vec(
                (0u64..50_000, 0u64..60_000, 0u64..100_000, 0u64..100_000), 1..60),
            percent in 1u32..=100,
        ) {
            let mut rule = Strangers::new(percent);
            for (passed, busy, handled, proved) in windows {
                if rule.is_watching() {
                    for draw in [0, u32::MAX / 2, u32::MAX] {
                        prop_assert!(rule.admit(draw) || draw != 0);
                    }
                    for nth in 0..handled % 512 {
                        let shown = [Shown::Nothing, Shown::Proof, Shown::Answer];
                        rule.saw(shown[((nth ^ proved) % 3) as usize]);
                    }
                }
                let (passed, busy) = (Duration::from_micros(passed), Duration::from_micros(busy));
                rule.follow(Window { passed, busy, handled, dropped: proved, proved });
                prop_assert!((LEAST..=WHOLE).contains(&rule.let_in()));
                prop_assert!(rule.is_watching() || rule.let_in() == WHOLE);
            }
        }
    }
}
