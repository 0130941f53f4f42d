//! Admission by measured waiting time: when a reactor's queue grows, who is answered, who is sent
//! away with a time to come back, and who is left without an answer. What the waiting time is
//! measured by is the shell's; who is of which class is asked of the guard and of the nonce.
//!
//! - The share of a class that is shed grows with the waiting time, smoothly, so that the queue
//!   settles where as much is let in as can be answered. Each class begins where the one below it
//!   is long gone, so nobody is shed before those who have shown less.
//! - Being shed means 503 with Retry-After, which ends the sender's transaction: it repeats nothing
//!   until then. Past the time where a whole class is shed that is not affordable any more either,
//!   and a growing share is dropped unread; its senders repeat by their timers, ever more slowly.
//! - To shed a class that is but a small part of what comes would help nobody. So where a flood of
//!   newcomers alone is more than can even be dropped, the others are still let in.
//! - A class that has begun to be shed is shed until the waiting time is down to half of where it
//!   began.

use std::time::Duration;

use crate::config::Overload;
use crate::time::Instant;

/// What a request has shown, those who have shown most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// It carries a fresh nonce that was given to its source: it was challenged, and here is the
    /// answer. Or its connection is authenticated.
    Proven,
    /// It carries an old one, or asks to register from where somebody has proved himself lately,
    /// or comes from a network that is trusted.
    Known,
    /// Anything else.
    Newcomer,
}

impl Class {
    /// All of them, in order.
    pub const ALL: [Class; 3] = [Class::Proven, Class::Known, Class::Newcomer];
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// It is answered.
    Yes,
    /// It is told to come back later.
    Later,
    /// It hears nothing.
    Dropped,
}

/// A class is shed whole at so many times the waiting time at which it begins to be shed, and
/// dropped whole at twice as many.
const WHOLE: u64 = 4;
/// The reactor measures as often as it needs to while a queue is full, and not at all where none
/// is: without word for so long, nothing waits.
const WORD_WITHIN: Duration = Duration::from_millis(5);
/// The waiting time is followed over about so long where it grows, and where it falls.
const RISE: Duration = Duration::from_millis(10);
const FALL: Duration = Duration::from_millis(30);
/// After so long without word nothing is left of it.
const FORGOTTEN: Duration = Duration::from_millis(200);
/// Classes that are together less than this share of what comes are not shed, and in full where
/// they are twice as much; of 2^16.
const FEW: u64 = 1 << 14;
/// What has come is counted over about so many requests.
const ARRIVALS: u32 = 4096;
/// Fewer than these say nothing about shares.
const ARRIVALS_MIN: u32 = 64;

/// Which share of a class is shed, and which of it without an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    /// Of 2^32; those without an answer included.
    pub shed: u64,
    /// Of 2^32.
    pub dropped: u64,
}

/// Who is let in at one shard.
#[derive(Clone, Debug)]
pub struct Admission {
    settings: Overload,
    /// The waiting time as it is followed, nanoseconds.
    waiting_ns: u64,
    measured: Instant,
    /// Whether a class is being shed; its place is the number of the class, as below.
    shedding: [bool; 3],
    shed: [Shed; 3],
    arrived: [u32; 3],
    draws: u64,
}

impl Admission {
    /// One that has measured nothing yet. `seed` is secret, so that nobody can foresee who is let
    /// in.
    #[must_use]
    pub fn new(settings: Overload, seed: u64) -> Admission {
        Admission {
            settings,
            waiting_ns: 0,
            measured: Instant::ZERO,
            shedding: [false; 3],
            shed: [Shed::default(); 3],
            arrived: [0; 3],
            draws: seed,
        }
    }

    /// Other settings from the next measurement on.
    pub fn configure(&mut self, settings: Overload) {
        self.settings = settings;
        if !settings.admission {
            *self = Admission::new(settings, self.draws);
        }
    }

    /// Whether anybody is being shed. The one question there is while all is well.
    #[inline]
    #[must_use]
    pub fn is_shedding(&self) -> bool {
        self.shedding[Class::Newcomer as usize]
    }

    /// The waiting time as it is followed.
    #[must_use]
    pub fn waiting(&self) -> Duration {
        Duration::from_nanos(self.waiting_ns)
    }

    /// Which share of a class is shed now.
    #[must_use]
    pub fn shed(&self, class: Class) -> Shed {
        self.shed[class as usize]
    }

    /// Time goes by: where the reactor has said nothing for a while, nothing waits.
    #[inline]
    pub fn begin(&mut self, now: Instant) {
        if self.waiting_ns != 0 && now.saturating_since(self.measured) > WORD_WITHIN {
            self.follow(now, Duration::ZERO);
        }
    }

    /// The reactor has measured how long what it took last had waited.
    #[cold]
    pub fn follow(&mut self, now: Instant, waited: Duration) {
        if !self.settings.admission {
            return;
        }
        let waited = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX).min(WAITING_MAX_NS);
        let passed = now.saturating_since(self.measured);
        self.measured = now;
        // A first order filter over the time that has passed. One measurement after a long silence
        // says nothing about all of it.
        let share = |passed: Duration, over: Duration, distance: u64| {
            let (passed, over) = (passed.as_nanos(), over.as_nanos());
            (u128::from(distance) * passed / (over + passed)) as u64
        };
        if waited > self.waiting_ns {
            self.waiting_ns += share(passed.min(WORD_WITHIN), RISE, waited - self.waiting_ns);
        } else if passed < FORGOTTEN {
            self.waiting_ns -= share(passed, FALL, self.waiting_ns - waited);
        } else {
            self.waiting_ns = waited;
        }
        // Falling by shares never ends.
        if waited == 0 && self.waiting_ns < NOTHING_NS {
            self.waiting_ns = 0;
        }
        self.decide();
    }

    /// From the waiting time to shares.
    fn decide(&mut self) {
        let begins = [
            self.settings.wait_proven_ms,
            self.settings.wait_known_ms,
            self.settings.wait_newcomers_ms,
        ];
        for (class, begin_ms) in begins.into_iter().enumerate() {
            let begin = u64::from(begin_ms) * 1_000_000;
            let shedding = &mut self.shedding[class];
            *shedding = self.waiting_ns > if *shedding { begin / 2 } else { begin };
            self.shed[class] = match *shedding {
                true => share_of(self.waiting_ns, begin).times(self.weight(class)),
                false => Shed::default(),
            };
        }
        if !self.is_shedding() {
            self.arrived = [0; 3];
        } else if self.arrived.iter().sum::<u32>() > ARRIVALS {
            self.arrived.iter_mut().for_each(|count| *count /= 2);
        }
    }

    /// How much it helps to shed a class and those above it, of 2^16: whether they are many.
    fn weight(&self, class: usize) -> u64 {
        let all: u32 = self.arrived.iter().sum();
        if class == Class::Newcomer as usize {
            return 1 << 16;
        }
        if all < ARRIVALS_MIN {
            return 0;
        }
        let these: u32 = self.arrived[..=class].iter().sum();
        let share = (u64::from(these) << 16) / u64::from(all);
        (share.saturating_sub(FEW) * ((1 << 16) / FEW)).min(1 << 16)
    }

    /// The draw of the `nth` message of the batch at hand.
    #[inline]
    #[must_use]
    pub fn draw(&self, nth: usize) -> u32 {
        mix(self.draws.wrapping_add(nth as u64)) as u32
    }

    /// A batch of so many messages is over: the next has other draws.
    pub fn end_batch(&mut self, messages: usize) {
        self.draws = self.draws.wrapping_add(messages as u64);
    }

    /// Whether a message that nobody has read yet is dropped as it is.
    #[must_use]
    pub fn drops(&mut self, class: Class, draw: u32) -> bool {
        let dropped = u64::from(draw) < self.shed[class as usize].dropped;
        self.arrived[class as usize] += u32::from(dropped);
        dropped
    }

    /// What becomes of a message.
    #[must_use]
    pub fn admit(&mut self, class: Class, draw: u32) -> Admitted {
        self.arrived[class as usize] += 1;
        let Shed { shed, dropped } = self.shed[class as usize];
        match u64::from(draw) {
            draw if draw < dropped => Admitted::Dropped,
            draw if draw < shed => Admitted::Later,
            _ => Admitted::Yes,
        }
    }

    /// When to come back, seconds: drawn evenly from once to three times what is configured, so
    /// that those who are sent away together do not return together.
    #[must_use]
    pub fn retry_after_s(&self, draw: u32) -> u32 {
        let least = u64::from(self.settings.retry_after_s);
        // Another number than the one that was drawn before.
        let drawn = mix(self.draws ^ (u64::from(draw) << 32)) >> 32;
        (least + ((drawn * (2 * least + 1)) >> 32)) as u32
    }
}

/// Longer than anything is worth waiting.
const WAITING_MAX_NS: u64 = 3600 * 1_000_000_000;
/// Too short to matter.
const NOTHING_NS: u64 = 100_000;

/// The share that is shed at a waiting time, where shedding begins at `begin`: none at half of it,
/// to which it goes on once it has begun, all at [`WHOLE`] times as much.
fn share_of(waiting: u64, begin: u64) -> Shed {
    let (least, whole) = (begin / 2, WHOLE * begin);
    let part = |above: u64, span: u64| -> u64 {
        ((u128::from(above.min(span)) << 32) / u128::from(span.max(1))) as u64
    };
    Shed {
        shed: part(waiting.saturating_sub(least), whole - least),
        dropped: part(waiting.saturating_sub(whole), whole),
    }
}

impl Shed {
    /// Less of it; `weight` is of 2^16.
    fn times(self, weight: u64) -> Shed {
        Shed { shed: (self.shed * weight) >> 16, dropped: (self.dropped * weight) >> 16 }
    }
}

/// Evenly spread bits from a number (splitmix64).
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
