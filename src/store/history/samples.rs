//! Numbers over time: what is measured every ten seconds, and how many such measurements become one
//! of a minute or an hour. Arithmetic alone: what measures is [`collect`](super::collect), what
//! keeps it [`trend`](super::trend).

use crate::time::UnixTime;

/// What a number of a sample is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nature {
    /// So many there are: a mean over time has a meaning.
    Level,
    /// So many there were since the sample before: a sum over time has a meaning, and a rate.
    Count,
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])+ $metric:ident = $word:literal $nature:ident,)+) => {
        /// What is measured.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Metric { $($(#[doc = $doc])+ $metric),+ }

        impl Metric {
            /// All of them, in the order of their numbers.
            pub const ALL: &'static [Metric] = &[$(Metric::$metric),+];

            /// Its word in lists and filters.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Metric::$metric => $word),+ }
            }

            /// What it is.
            #[must_use]
            pub const fn nature(self) -> Nature {
                match self { $(Metric::$metric => Nature::$nature),+ }
            }

            /// What it means.
            #[must_use]
            pub const fn about(self) -> &'static str {
                match self { $(Metric::$metric => concat!($($doc),+)),+ }
            }
        }
    };
}

// What is kept has these numbers: new metrics go behind the others.
metrics! {
    /// Registrations there are.
    Registrations = "registrations" Level,
    /// Accounts that have one.
    Accounts = "accounts" Level,
    /// Connections that have one.
    Connections = "connections" Level,
    /// Suspensions that hold.
    Suspensions = "suspensions" Level,
    /// Sources that are blocked or restrained.
    Blocked = "blocked" Level,
    /// Memory of the process, bytes.
    Memory = "memory_bytes" Level,
    /// The longest that what comes waits at a reactor, microseconds.
    Waiting = "waiting_us" Level,
    /// Half of the messages took no longer, nanoseconds.
    P50 = "p50_ns" Level,
    /// 99 in a hundred messages took no longer, nanoseconds.
    P99 = "p99_ns" Level,
    /// Requests of the shard that had most of them.
    BusiestShard = "busiest_shard" Level,
    /// Requests.
    Requests = "requests" Count,
    /// Bindings that came.
    Registered = "registered" Count,
    /// Bindings that were refreshed, or moved.
    Refreshed = "refreshed" Count,
    /// Bindings that their owners removed.
    Unregistered = "unregistered" Count,
    /// Bindings whose time ran out.
    Expired = "expired" Count,
    /// Bindings whose place another device took.
    Replaced = "replaced" Count,
    /// Bindings that left otherwise: by an operator, with their account, connection or phone.
    Removed = "removed" Count,
    /// Challenges.
    Challenged = "challenged" Count,
    /// Wrong passwords.
    BadPassword = "bad_password" Count,
    /// Credentials for accounts that do not exist.
    UnknownAccount = "unknown_account" Count,
    /// Requests refused for another fault.
    Refused = "refused" Count,
    /// Requests turned away because too much came.
    Overloaded = "overloaded" Count,
    /// Messages dropped without an answer, but for keepalives.
    Dropped = "dropped" Count,
    /// Suspensions that began.
    Suspended = "suspended" Count,
    /// Devices found to keep taking each other's place.
    Flapping = "flapping" Count,
    /// Phones found not to answer.
    Unreachable = "unreachable" Count,
}

impl Metric {
    /// The metric of that word.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Metric> {
        Metric::ALL.iter().copied().find(|metric| metric.name() == name)
    }
}

/// Metrics there are.
pub const METRICS: usize = Metric::ALL.len();

/// What was measured over one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The ten seconds it is counted to: those it lies in for the most part.
    pub at: UnixTime,
    /// How long it was, milliseconds.
    pub covered_ms: u32,
    /// The numbers by [`Metric`]; `None` where nothing could be measured.
    pub values: [Option<u64>; METRICS],
    /// Registrations and requests of each shard.
    pub shards: Vec<ShardSample>,
}

/// What was measured at one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSample {
    /// Registrations there are.
    pub registrations: u64,
    /// Requests since the sample before.
    pub requests: u64,
}

impl Sample {
    /// The number of a metric.
    #[must_use]
    pub fn of(&self, metric: Metric) -> Option<u64> {
        self.values[metric as usize]
    }
}

/// The numbers of one metric over some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// Samples that had one.
    pub samples: u64,
    /// All of them together.
    pub sum: u64,
    /// The least.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

impl Cell {
    /// What one sample says.
    #[must_use]
    pub fn of(value: Option<u64>) -> Cell {
        value.map_or_else(Cell::default, |value| Cell {
            samples: 1,
            sum: value,
            min: value,
            max: value,
        })
    }

    /// The mean of the samples.
    #[must_use]
    pub fn mean(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.sum as f64 / self.samples as f64)
    }

    /// Takes another in.
    pub fn add(&mut self, other: &Cell) {
        if other.samples == 0 {
            return;
        }
        if self.samples == 0 {
            *self = *other;
            return;
        }
        self.samples = self.samples.saturating_add(other.samples);
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }
}

/// All metrics over one step of time: a sample, or many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    /// Samples taken in.
    pub samples: u64,
    /// How long they were together, milliseconds.
    pub covered_ms: u64,
    /// The numbers by [`Metric`].
    pub cells: [Cell; METRICS],
}

impl Default for Point {
    fn default() -> Self {
        Point { samples: 0, covered_ms: 0, cells: [Cell::default(); METRICS] }
    }
}

impl From<&Sample> for Point {
    fn from(sample: &Sample) -> Point {
        Point {
            samples: 1,
            covered_ms: sample.covered_ms.into(),
            cells: sample.values.map(Cell::of),
        }
    }
}

/// Longest form of a number.
const VARINT_BYTES_MAX: usize = 10;

impl Point {
    /// Takes another in.
    pub fn add(&mut self, other: &Point) {
        self.samples = self.samples.saturating_add(other.samples);
        self.covered_ms = self.covered_ms.saturating_add(other.covered_ms);
        self.cells.iter_mut().zip(&other.cells).for_each(|(cell, other)| cell.add(other));
    }

    /// The numbers of a metric.
    #[must_use]
    pub fn of(&self, metric: Metric) -> Cell {
        self.cells[metric as usize]
    }

    /// So many a second, of what is counted.
    #[must_use]
    pub fn rate(&self, metric: Metric) -> Option<f64> {
        let cell = self.of(metric);
        let is_known = cell.samples > 0 && self.covered_ms > 0;
        is_known.then(|| cell.sum as f64 * 1000.0 / self.covered_ms as f64)
    }

    /// As many a second there were in the sample that had most.
    #[must_use]
    pub fn rate_max(&self, metric: Metric) -> Option<f64> {
        let cell = self.of(metric);
        let mean_ms = self.covered_ms as f64 / self.samples.max(1) as f64;
        (cell.samples > 0 && mean_ms > 0.0).then(|| cell.max as f64 * 1000.0 / mean_ms)
    }

    /// As it is kept: numbers of seven bits a byte, four for each metric.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(METRICS * 8);
        write(&mut bytes, self.samples);
        write(&mut bytes, self.covered_ms);
        for cell in &self.cells {
            write(&mut bytes, cell.samples);
            if cell.samples > 0 {
                write(&mut bytes, cell.sum);
                write(&mut bytes, cell.min);
                write(&mut bytes, cell.max);
            }
        }
        bytes
    }

    /// What [`Point::to_bytes`] wrote, by this version or an older one that knew fewer metrics.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Point> {
        let mut point =
            Point { samples: read(&mut bytes)?, covered_ms: read(&mut bytes)?, ..Point::default() };
        for cell in &mut point.cells {
            if bytes.is_empty() {
                break;
            }
            cell.samples = read(&mut bytes)?;
            if cell.samples > 0 {
                cell.sum = read(&mut bytes)?;
                cell.min = read(&mut bytes)?;
                cell.max = read(&mut bytes)?;
            }
        }
        Some(point)
    }
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}

fn read(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for nth in 0..VARINT_BYTES_MAX {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f).checked_shl(7 * nth as u32)?;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample(values: [Option<u64>; METRICS], covered_ms: u32) -> Sample {
        Sample { at: UnixTime(0), covered_ms, values, shards: Vec::new() }
    }

    #[test]
    fn every_metric_has_a_word_of_its_own() {
        for (number, metric) in Metric::ALL.iter().enumerate() {
            assert_eq!(*metric as usize, number);
            assert_eq!(Metric::from_name(metric.name()), Some(*metric));
        }
        assert_eq!(Metric::from_name("x"), None);
    }

    #[test]
    fn rates_are_by_the_time_that_was_measured() {
        let mut values = [None; METRICS];
        values[Metric::Requests as usize] = Some(500);
        values[Metric::Registrations as usize] = Some(40);
        let mut point = Point::from(&sample(values, 10_000));
        assert_eq!(point.rate(Metric::Requests), Some(50.0));
        assert_eq!(point.rate(Metric::Expired), None, "not measured is not none");
        values[Metric::Requests as usize] = Some(1500);
        values[Metric::Registrations as usize] = Some(60);
        point.add(&Point::from(&sample(values, 10_000)));
        assert_eq!(point.rate(Metric::Requests), Some(100.0));
        assert_eq!(point.rate_max(Metric::Requests), Some(150.0));
        assert_eq!(point.of(Metric::Registrations).mean(), Some(50.0));
    }

    fn any_values() -> impl Strategy<Value = Vec<Option<u64>>> {
        proptest::collection::vec(proptest::option::of(0..1_u64 << 50), METRICS)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// However samples are put together, first into minutes and those into hours, or one by
        /// one, their sum, mean, least and largest stay what they are.
        #[test]
        fn putting_together_preserves_sum_mean_least_and_largest(
            samples in proptest::collection::vec((any_values(), 1..60_000_u32), 1..40),
            groups in 1..10_usize,
        ) {
            let samples: Vec<Sample> = samples
                .into_iter()
                .map(|(values, ms)| sample(values.try_into().unwrap(), ms))
                .collect();
            let mut whole = Point::default();
            for group in samples.chunks(groups) {
                let mut part = Point::default();
                group.iter().for_each(|one| part.add(&Point::from(one)));
                let kept = Point::from_bytes(&part.to_bytes());
                prop_assert_eq!(kept.as_ref(), Some(&part), "kept and read again");
                whole.add(&part);
            }
            prop_assert_eq!(whole.samples, samples.len() as u64);
            let covered: u64 = samples.iter().map(|one| u64::from(one.covered_ms)).sum();
            prop_assert_eq!(whole.covered_ms, covered);
            for &metric in Metric::ALL {
                let values: Vec<u64> = samples.iter().filter_map(|one| one.of(metric)).collect();
                let cell = whole.of(metric);
                prop_assert_eq!(cell.samples, values.len() as u64);
                prop_assert_eq!(cell.sum, values.iter().sum::<u64>());
                if let (Some(min), Some(max)) = (values.iter().min(), values.iter().max()) {
                    prop_assert_eq!((cell.min, cell.max), (*min, *max));
                    let mean = values.iter().sum::<u64>() as f64 / values.len() as f64;
                    prop_assert!((cell.mean().unwrap() - mean).abs() < 1e-6 * (1.0 + mean));
                } else {
                    prop_assert_eq!(cell.mean(), None);
                }
            }
        }

        #[test]
        fn whatever_bytes_there_are_reading_ends(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let _ = Point::from_bytes(&bytes);
        }
    }

    #[test]
    fn a_point_of_an_older_version_is_read() {
        let mut values = [Some(7); METRICS];
        values[METRICS - 1] = None;
        let point = Point::from(&sample(values, 10_000));
        let mut bytes = point.to_bytes();
        assert_eq!(bytes.pop(), Some(0));
        assert_eq!(Point::from_bytes(&bytes), Some(point));
    }
}
