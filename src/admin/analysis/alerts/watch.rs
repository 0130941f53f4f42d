//! One alert's way through its states: quiet, pending until it has lasted, firing, and resolved
//! once it has been over for the hold-off. Pure: the time comes in, what is to be told goes out.

use serde::Serialize;

/// The times that hold for it, seconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    pub pending_s: u64,
    pub hold_off_s: u64,
    pub repeat_s: Option<u64>,
}

/// How it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Quiet,
    /// Out of the ordinary since then, and not for long enough.
    Pending { since_s: u64 },
    /// Told at `told_s` last; over since `over_s`, if it is.
    Firing { since_s: u64, told_s: u64, over_s: Option<u64> },
}

/// As it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::admin) enum State {
    Quiet,
    Pending,
    Firing,
}

/// What is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Fired,
    /// It still fires.
    Repeated,
    Resolved,
}

impl Phase {
    pub fn state(self) -> State {
        match self {
            Phase::Quiet => State::Quiet,
            Phase::Pending { .. } => State::Pending,
            Phase::Firing { .. } => State::Firing,
        }
    }

    /// The next moment. `over` is whether it is out of the ordinary; `None`, whether is not known:
    /// nothing changes then. Nobody is told again of what was acknowledged.
    pub fn step(
        &mut self,
        now_s: u64,
        over: Option<bool>,
        times: Times,
        acknowledged: bool,
    ) -> Option<Change> {
        let over = over?;
        match self {
            Phase::Quiet if over => {
                *self = Phase::Pending { since_s: now_s };
                self.step(now_s, Some(true), times, acknowledged)
            }
            Phase::Quiet => None,
            Phase::Pending { .. } if !over => {
                *self = Phase::Quiet;
                None
            }
            Phase::Pending { since_s } => {
                let since_s = *since_s;
                (now_s.saturating_sub(since_s) >= times.pending_s).then(|| {
                    *self = Phase::Firing { since_s, told_s: now_s, over_s: None };
                    Change::Fired
                })
            }
            Phase::Firing { told_s, over_s, .. } if over => {
                *over_s = None;
                let is_due = |repeat_s| now_s.saturating_sub(*told_s) >= repeat_s;
                (times.repeat_s.is_some_and(is_due) && !acknowledged).then(|| {
                    *told_s = now_s;
                    Change::Repeated
                })
            }
            Phase::Firing { over_s, .. } => {
                let over_for = now_s.saturating_sub(*over_s.get_or_insert(now_s));
                (over_for >= times.hold_off_s).then(|| {
                    *self = Phase::Quiet;
                    Change::Resolved
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TIMES: Times = Times { pending_s: 30, hold_off_s: 60, repeat_s: Some(100) };

    /// What is told while these are the moments, ten seconds each.
    fn told(times: Times, moments: &str) -> String {
        let mut phase = Phase::default();
        let one = |(tick, moment): (usize, char)| {
            let over = match moment {
                'x' | 'a' => Some(true),
                '.' => Some(false),
                _ => None,
            };
            match phase.step(10 * tick as u64, over, times, moment == 'a') {
                None => '-',
                Some(Change::Fired) => 'F',
                Some(Change::Repeated) => 'A',
                Some(Change::Resolved) => 'R',
            }
        };
        moments.chars().enumerate().map(one).collect()
    }

    #[test]
    fn an_alert_waits_fires_and_is_resolved_after_its_hold_off() {
        assert_eq!(told(TIMES, "xx.xxx."), "-------", "never for long enough");
        assert_eq!(told(TIMES, "xxxxx......."), "---F-------R");
        // What comes back within the hold-off is the same alert.
        assert_eq!(told(TIMES, "xxxx....x......."), "---F-----------R");
        // What is not known changes nothing.
        assert_eq!(told(TIMES, "xx????x"), "------F");
        assert_eq!(told(TIMES, "xxxx?????????????"), "---F-------------");
    }

    #[test]
    fn an_alert_that_goes_on_is_told_again_unless_somebody_has_it() {
        assert_eq!(told(TIMES, "xxxxxxxxxxxxxxxxxxxxxxxx"), "---F---------A---------A");
        assert_eq!(told(TIMES, "xxxxaaaaaaaaaaaaaaaaaaaa"), "---F--------------------");
        let never = Times { repeat_s: None, ..TIMES };
        assert_eq!(told(never, "xxxxxxxxxxxxxxxxxxxxxxxx"), "---F--------------------");
        let at_once = Times { pending_s: 0, hold_off_s: 0, repeat_s: None };
        assert_eq!(told(at_once, "x.x."), "FRFR");
    }

    proptest! {
        #[test]
        fn firing_and_resolving_take_turns(
            moments in prop::collection::vec(prop::option::of(any::<bool>()), 0..300),
        ) {
            let (mut phase, mut fires) = (Phase::default(), false);
            for (tick, over) in moments.into_iter().enumerate() {
                match phase.step(10 * tick as u64, over, TIMES, false) {
                    Some(Change::Fired) => {
                        prop_assert!(!fires);
                        fires = true;
                    }
                    Some(Change::Resolved) => {
                        prop_assert!(fires);
                        fires = false;
                    }
                    Some(Change::Repeated) => prop_assert!(fires),
                    None => {}
                }
                prop_assert_eq!(fires, phase.state() == State::Firing);
            }
        }
    }
}
