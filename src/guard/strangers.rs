//! How much of a reactor's time goes to strangers: requests of sources that nobody has proved
//! himself from, and that lead to nothing. A waiting time says that there is too much when
//! everybody waits already; this says so while the queue is still short.
//!
//! - What leads to nothing is seen from what was answered: a registration is two requests, one of
//!   which proves who asks. So a storm of honest newcomers is no flood, however large, and a flood
//!   is one, however many honest phones there are beside it.
//! - The share of strangers that is let in is set anew for each window, so that what leads to
//!   nothing takes no more time than it may. The others hear nothing: an answer would cost as much
//!   as what was saved, and who only pretends to be there does not hear it. Whoever means it sends
//!   again (RFC 3261 17.1.2.2), and some of all are let in always.

use std::time::Duration;

/// All of a share.
const WHOLE: u64 = 1 << 32;
/// At least so much of the strangers is let in.
const LEAST: u64 = WHOLE / 64;
/// Fewer messages in a window say nothing.
const MESSAGES_MIN: u64 = 64;
/// What is dropped unread takes about a quarter of the time of what is answered.
const ANSWER_DROPS: u64 = 4;

/// What a reactor did in a window of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// How long it was.
    pub passed: Duration,
    /// For how much of that it did not sleep.
    pub busy: Duration,
    /// Requests that were answered, those among them that other shards handed over.
    pub answered: u64,
    /// How many they handed over.
    pub handed_over: u64,
    /// Requests that proved who sent them, of those that were answered.
    pub proved: u64,
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
    seen: Seen,
}

/// What has come in this window, while that is counted.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    /// Messages that were read, wherever they were answered.
    read: u64,
    /// Those of them that brought a fresh nonce that was given to their source.
    proven: u64,
    /// Strangers' messages that were let in.
    admitted: u64,
    /// And those that were not.
    dropped: u64,
}

impl Strangers {
    /// All are let in at first. `time_percent` as in [`crate::config::Overload`].
    #[must_use]
    pub fn new(time_percent: u32) -> Strangers {
        Strangers { time_percent, let_in: WHOLE, watching: false, seen: Seen::default() }
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
    pub fn saw(&mut self, is_proven: bool) {
        self.seen.read += 1;
        self.seen.proven += u64::from(is_proven);
    }

    /// A window is over: the share for the next one.
    #[cold]
    pub fn follow(&mut self, window: Window) {
        let seen = std::mem::take(&mut self.seen);
        if self.time_percent >= 100 {
            return;
        }
        let limit = u64::from(self.time_percent) * WHOLE / 100;
        if !self.watching {
            // Nobody counts who is a stranger, nor what is proved at other shards: of what was
            // answered here any may be in vain that was not proved here.
            let Window { answered, proved, .. } = window;
            let any = Seen { read: answered, proven: proved, admitted: answered, dropped: 0 };
            self.watching =
                answered >= MESSAGES_MIN && spent(Window { handed_over: 0, ..window }, any) > limit;
            return;
        }
        if seen.read + seen.dropped < MESSAGES_MIN {
            *self = Strangers::new(self.time_percent);
            return;
        }
        // By half in one window at most, since one window may mislead; back by an eighth.
        let spent = spent(window, seen);
        let wanted = self.let_in.saturating_mul(limit) / spent.max(1);
        let (less, more) = (self.let_in / 2, self.let_in + self.let_in / 8);
        self.let_in = wanted.clamp(less, more).clamp(LEAST, WHOLE);
        self.watching = self.let_in < WHOLE || spent > limit / 2;
    }
}

/// The share of a window's time that strangers took without leading to anything, of 2^32.
fn spent(Window { passed, busy, handed_over, .. }: Window, seen: Seen) -> u64 {
    let busy = busy.min(passed).as_nanos() * u128::from(WHOLE) / passed.as_nanos().max(1);
    // Each that proved who sent it may have had one before it that asked for the challenge.
    let in_vain = seen.read.saturating_sub(2 * seen.proven);
    let all = seen.read + handed_over + seen.dropped / ANSWER_DROPS;
    (u128::from(seen.admitted.min(in_vain)) * busy / u128::from(all.max(1))) as u64
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
    }

    impl Shard {
        fn new(percent: u32) -> Shard {
            Shard { rule: Strangers::new(percent), draw: 1 }
        }

        /// A window of 20 ms, in which a request is answered in 5 us and dropped in 1 us. Of the
        /// phones' requests so many percent prove who they are. Returns how long it was busy.
        fn window(&mut self, strangers: u64, phones: u64, proofs_percent: u64) -> Duration {
            let proved = phones * proofs_percent / 100;
            let mut admitted = 0;
            for _ in 0..strangers {
                self.draw = self.draw.wrapping_mul(0x9e37_79b1).wrapping_add(0x7f4a_7c15);
                if !self.rule.is_watching() || self.rule.admit(self.draw) {
                    admitted += 1;
                    if self.rule.is_watching() {
                        self.rule.saw(false);
                    }
                }
            }
            if self.rule.is_watching() {
                (0..phones).for_each(|nth| self.rule.saw(nth < proved));
            }
            let answered = admitted + phones;
            let busy = Duration::from_micros(5 * answered + (strangers - admitted)).min(20 * MS);
            self.rule.follow(Window { passed: 20 * MS, busy, answered, proved, handed_over: 0 });
            busy
        }
    }

    /// So many a second of both, for a while. Returns what share of strangers is let in at the end,
    /// and how busy the reactor is then, percent.
    fn settled(strangers: u64, phones: u64, proofs_percent: u64) -> (f64, u64) {
        let mut shard = Shard::new(25);
        let mut busy = Duration::ZERO;
        for _ in 0..200 {
            busy = shard.window(strangers / 50, phones / 50, proofs_percent);
        }
        (shard.rule.let_in() as f64 / WHOLE as f64, busy.as_micros() as u64 / 200)
    }

    #[test]
    fn a_flood_takes_no_more_time_than_it_may() {
        let (let_in, busy_percent) = settled(200_000, 5_000, 100);
        assert!((0.1..0.4).contains(&let_in), "{let_in}");
        assert!((25..60).contains(&busy_percent), "{busy_percent}");
        let (let_in, _) = settled(1_000_000, 5_000, 100);
        assert!(let_in <= 0.1, "{let_in}");
    }

    #[test]
    fn a_flood_is_one_beside_many_honest_phones_too() {
        let (let_in, busy_percent) = settled(150_000, 50_000, 100);
        assert!(let_in < 0.8, "{let_in}");
        assert!(busy_percent < 90, "{busy_percent}");
    }

    #[test]
    fn strangers_that_fit_are_all_let_in() {
        assert_eq!(settled(30_000, 0, 0).0, 1.0);
        assert_eq!(settled(1000, 100_000, 100).0, 1.0);
    }

    #[test]
    fn a_storm_of_registrations_is_no_flood() {
        // Each is challenged first: half of what comes proves who sent it.
        assert_eq!(settled(0, 200_000, 50).0, 1.0);
        assert_eq!(settled(5_000, 190_000, 50).0, 1.0);
    }

    #[test]
    fn what_is_proved_at_other_shards_counts() {
        let mut rule = Strangers::new(25);
        let window = Window { passed: 20 * MS, busy: 20 * MS, answered: 2000, ..Window::default() };
        rule.follow(window);
        assert!(rule.is_watching(), "as far as it is known here");
        for _ in 0..10 {
            // Those that asked for a challenge are strangers; who answers one is handed over.
            for _ in 0..2000 {
                assert!(rule.admit(u32::MAX));
                rule.saw(false);
                rule.saw(true);
            }
            rule.follow(window);
            assert!(!rule.is_watching() && rule.let_in() == WHOLE);
            rule.follow(window);
        }
    }

    #[test]
    fn what_leads_to_nothing_from_those_who_are_known_costs_strangers_nothing() {
        let mut rule = Strangers::new(25);
        let window = Window { passed: 20 * MS, busy: 20 * MS, answered: 4000, ..Window::default() };
        for _ in 0..50 {
            if rule.is_watching() {
                // OPTIONS of phones that have registered, and a few strangers.
                (0..4000).for_each(|_| rule.saw(false));
                (0..10).for_each(|_| assert!(rule.admit(u32::MAX)));
            }
            rule.follow(window);
            assert_eq!(rule.let_in(), WHOLE);
        }
    }

    #[test]
    fn a_stall_is_no_flood() {
        let mut rule = Strangers::new(25);
        let stall = Window { passed: 20 * MS, busy: 20 * MS, answered: 63, ..Window::default() };
        rule.follow(stall);
        assert!(!rule.is_watching());
    }

    #[test]
    fn it_ends_with_the_flood_and_by_a_reload() {
        let mut shard = Shard::new(25);
        (0..5).for_each(|_| _ = shard.window(4000, 0, 0));
        assert!(shard.rule.let_in() < WHOLE);
        shard.window(20, 20, 50);
        assert!(shard.rule.let_in() == WHOLE && !shard.rule.is_watching());
        (0..5).for_each(|_| _ = shard.window(4000, 0, 0));
        shard.rule.configure(100);
        assert!(!shard.rule.is_watching());
        (0..5).for_each(|_| _ = shard.window(4000, 0, 0));
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
            for (passed, busy, answered, proved) in windows {
                if rule.is_watching() {
                    for draw in [0, u32::MAX / 2, u32::MAX] {
                        prop_assert!(rule.admit(draw) || draw != 0);
                    }
                    (0..answered % 512).for_each(|nth| rule.saw(nth < proved % 512));
                }
                let (passed, busy) = (Duration::from_micros(passed), Duration::from_micros(busy));
                rule.follow(Window { passed, busy, answered, proved, handed_over: 0 });
                prop_assert!((LEAST..=WHOLE).contains(&rule.let_in()));
                prop_assert!(rule.is_watching() || rule.let_in() == WHOLE);
            }
        }
    }
}
