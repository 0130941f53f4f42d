//! What is usual of a number that goes on for ever: a smoothed level, and how far the number
//! usually is from it. A value far off moves neither by more than a few usual distances, so an
//! outage is not learned at once; and nothing is usual before the number has been steady for a
//! while, so neither a start nor a million phones coming back are out of the ordinary.
//!
//! No time of day is known to it: what changes over hours is followed, what changes within minutes
//! is what stands out.

/// One value is taken in so long, seconds.
pub(super) const TICK_S: u64 = 10;
/// Values that must have been steady before anything is usual: a quarter of an hour.
const SETTLED: u32 = 90;
/// Until then, the level is about the mean of so many values; from then on, of half an hour's.
const QUICK: f64 = 12.0;
const SLOW: f64 = 180.0;
/// Steady is what stays so close to its level, of it, or as close as chance keeps what is counted.
const STEADY: f64 = 0.05;
/// Usual distances that are chance.
const BY_CHANCE: f64 = 3.0;
/// The usual distance is never thought less than this, of the level.
const DISTANCE_MIN: f64 = 0.005;
/// What is out of the ordinary for four hours is how things are.
const ACCEPTED: u32 = 1440;

/// What is usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Usual {
    pub level: f64,
    pub distance: f64,
}

impl Usual {
    /// How far from the level a value may be for its distance to be chance, at `percent` of the
    /// level or more.
    pub fn margin(&self, percent: f64) -> f64 {
        (self.level * percent / 100.0).max(4.0 * self.distance)
    }
}

/// Follows a number.
#[derive(Clone, Debug, Default)]
pub(super) struct Baseline {
    level: Option<f64>,
    distance: f64,
    /// Steady values in a row, until it is settled.
    steady: u32,
    /// Values in a row that were out of the ordinary.
    strange: u32,
}

impl Baseline {
    /// What was usual before this value; `None` until that is known.
    pub fn usual(&self) -> Option<Usual> {
        let level = self.level.filter(|_| self.steady >= SETTLED)?;
        Some(Usual { level, distance: self.distance(level) })
    }

    fn distance(&self, level: f64) -> f64 {
        self.distance.max(level * DISTANCE_MIN).max(scatter(level))
    }

    /// Takes the next value. While somebody finds it `strange`, it is not learned, for a few hours.
    pub fn take(&mut self, value: f64, strange: bool) {
        let Some(level) = self.level else {
            self.level = Some(value);
            return;
        };
        let distance = self.distance(level);
        let off = value - level;
        if self.steady < SETTLED {
            let is_steady = off.abs() <= (level * STEADY).max(BY_CHANCE * scatter(level));
            self.steady = if is_steady { self.steady + 1 } else { 0 };
            self.level = Some(level + off / QUICK);
            self.distance += (off.abs() - self.distance) / QUICK;
            return;
        }
        self.strange = if strange { self.strange + 1 } else { 0 };
        if self.strange >= ACCEPTED {
            *self = Baseline { level: Some(value), ..Baseline::default() };
        } else if !strange {
            let within = off.clamp(-BY_CHANCE * distance, BY_CHANCE * distance);
            self.level = Some(level + within / SLOW);
            self.distance += (within.abs() - self.distance) / SLOW;
        }
    }
}

/// Counted things scatter by the root of their number even where nothing changes.
fn scatter(level: f64) -> f64 {
    level.max(1.0).sqrt()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds values until the end of them, and says how often one was below or above the margin.
    fn alarms(values: impl IntoIterator<Item = f64>, percent: f64) -> (u32, u32) {
        let (mut baseline, mut below, mut above) = (Baseline::default(), 0, 0);
        for value in values {
            let off = baseline.usual().map_or(0.0, |usual| {
                let margin = usual.margin(percent);
                if value < usual.level - margin {
                    -1.0
                } else if value > usual.level + margin {
                    1.0
                } else {
                    0.0
                }
            });
            below += u32::from(off < 0.0);
            above += u32::from(off > 0.0);
            baseline.take(value, off != 0.0);
        }
        (below, above)
    }

    fn steady(value: f64, ticks: usize) -> impl Iterator<Item = f64> {
        std::iter::repeat_n(value, ticks)
    }

    #[test]
    fn a_cold_start_is_not_out_of_the_ordinary() {
        // A million phones come back evenly over an hour, then stay.
        let ramp = (0..360).map(|tick| f64::from(tick) * 1e6 / 360.0);
        assert_eq!(alarms(ramp.chain(steady(1e6, 2000)), 20.0), (0, 0));
        // All within a minute, after nobody for ten.
        let storm = steady(0.0, 60).chain((0..6).map(|tick| f64::from(tick) * 1e6 / 6.0));
        assert_eq!(alarms(storm.chain(steady(1e6, 2000)), 20.0), (0, 0));
    }

    #[test]
    fn a_sudden_fall_and_rise_stand_out_until_they_are_over() {
        let fall = steady(1e6, 300).chain(steady(7e5, 60)).chain(steady(1e6, 60));
        assert_eq!(alarms(fall, 20.0), (60, 0));
        let rise = steady(1e6, 300).chain(steady(1.6e6, 30)).chain(steady(1e6, 60));
        assert_eq!(alarms(rise, 50.0), (0, 30));
        // A small one is none.
        let little = steady(1e6, 300).chain(steady(9e5, 60));
        assert_eq!(alarms(little, 20.0), (0, 0));
    }

    #[test]
    fn what_lasts_for_hours_is_how_things_are() {
        let (below, above) = alarms(steady(1e6, 300).chain(steady(5e5, 4000)), 20.0);
        assert_eq!((below, above), (ACCEPTED, 0));
    }

    #[test]
    fn a_day_that_comes_and_goes_is_followed() {
        // Between 600 thousand at night and a million at noon, over three days.
        let day = |tick: u32| {
            let angle = f64::from(tick) / 8640.0 * std::f64::consts::TAU;
            8e5 - 2e5 * angle.cos()
        };
        assert_eq!(alarms((0..3 * 8640).map(day), 20.0), (0, 0));
    }

    #[test]
    fn chance_alone_is_not_out_of_the_ordinary() {
        // Counts about 64 scatter by 8; a linear generator draws from -16 to 16.
        let mut state = 1_u64;
        let noisy = (0..20_000).map(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            64.0 + ((state >> 33) % 33) as f64 - 16.0
        });
        assert_eq!(alarms(noisy, 20.0), (0, 0));
    }

    proptest! {
        #[test]
        fn whatever_comes_the_level_stays_between_the_extremes(
            values in prop::collection::vec(0.0f64..1e7, 1..400),
            strange in any::<bool>(),
        ) {
            let mut baseline = Baseline::default();
            for value in &values {
                baseline.take(*value, strange);
            }
            let level = baseline.level.unwrap();
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(least, most), value| {
                (least.min(*value), most.max(*value))
            });
            prop_assert!(level >= least - 1e-6 && level <= most + 1e-6);
            prop_assert!(baseline.distance(level).is_finite());
        }
    }
}
