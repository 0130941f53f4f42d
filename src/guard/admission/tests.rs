//! Waiting times go in, shares come out; the rules hold for any waiting time.

use proptest::prelude::*;

use super::*;

const MS: u64 = 1_000_000;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(1_000_000_000 + ms * MS)
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// One that has been told this waiting time for a second, a word a millisecond; as many requests
/// of each class come in every one.
fn settled(settings: Overload, waited: Duration, come: [u32; 3]) -> Admission {
    let mut admission = Admission::new(settings, 7);
    for step in 0..1000 {
        admission.follow(at(step), waited);
        come_in(&mut admission, come);
    }
    admission
}

fn come_in(admission: &mut Admission, come: [u32; 3]) {
    for (class, times) in Class::ALL.into_iter().zip(come) {
        for nth in 0..times {
            let draw = admission.draw(nth as usize);
            let _ = admission.admit(class, draw);
        }
    }
    admission.end_batch(100);
}

/// Waiting times of the tests' own, whatever the defaults are.
const SETTINGS: Overload = Overload {
    admission: true,
    wait_newcomers_ms: 10,
    wait_known_ms: 80,
    wait_proven_ms: 200,
    strangers_percent: 100,
    retry_after_s: 4,
};

/// As many of each as make every class worth shedding.
const EVEN: [u32; 3] = [3, 0, 1];

fn shares(admission: &Admission) -> [u64; 3] {
    Class::ALL.map(|class| admission.shed(class).shed)
}

#[test]
fn nobody_is_shed_while_nothing_waits() {
    let admission = settled(SETTINGS, ms(9), EVEN);
    assert!(!admission.is_shedding());
    assert_eq!(shares(&admission), [0; 3]);
}

#[test]
fn newcomers_go_first_then_the_known_then_those_with_a_nonce() {
    const ALL: u64 = 1 << 32;
    let at = |waited| settled(SETTINGS, ms(waited), EVEN);
    let [proven, known, newcomers] = shares(&at(20));
    assert_eq!((proven, known), (0, 0));
    assert!(newcomers > ALL / 3 && newcomers < ALL / 2, "{newcomers}");
    assert_eq!(shares(&at(79))[..2], [0, 0]);
    let [proven, known, newcomers] = shares(&at(180));
    assert_eq!((proven, newcomers), (0, ALL));
    assert!(known > ALL / 3 && known < ALL * 2 / 3, "{known}");
    assert_eq!(shares(&at(900)), [ALL; 3]);
}

#[test]
fn where_not_even_a_refusal_is_affordable_nothing_is_said() {
    let dropped = |waited| settled(SETTINGS, ms(waited), EVEN).shed(Class::Newcomer);
    assert_eq!(dropped(40).dropped, 0);
    assert!(dropped(60).dropped.abs_diff(1 << 31) < 1 << 26, "{:?}", dropped(60));
    assert_eq!(dropped(90), Shed { shed: 1 << 32, dropped: 1 << 32 });
}

#[test]
fn a_draw_is_admitted_told_to_wait_or_dropped_by_the_shares() {
    let mut admission = settled(SETTINGS, ms(60), EVEN);
    let Shed { shed, dropped } = admission.shed(Class::Newcomer);
    assert!(dropped > 0 && shed == 1 << 32);
    assert_eq!(admission.admit(Class::Newcomer, 0), Admitted::Dropped);
    assert_eq!(admission.admit(Class::Newcomer, dropped as u32), Admitted::Later);
    assert_eq!(admission.admit(Class::Newcomer, u32::MAX), Admitted::Later);
    assert_eq!(admission.admit(Class::Known, 0), Admitted::Yes);
    assert!(admission.drops(Class::Newcomer, 0));
    assert!(!admission.drops(Class::Newcomer, u32::MAX));
    assert!(!admission.drops(Class::Proven, 0));
}

#[test]
fn the_share_that_is_let_in_is_what_was_asked_for() {
    let mut admission = settled(SETTINGS, ms(20), EVEN);
    let shed = admission.shed(Class::Newcomer).shed;
    let mut refused = 0u64;
    for batch in 0..1000 {
        for nth in 0..32 {
            let draw = admission.draw(nth);
            refused += u64::from(admission.admit(Class::Newcomer, draw) != Admitted::Yes);
        }
        admission.end_batch(32);
        assert!(batch < 1000);
    }
    let expected = (shed * 32_000) >> 32;
    assert!(refused.abs_diff(expected) < 500, "{refused} of 32000, expected {expected}");
}

#[test]
fn to_shed_a_few_helps_nobody() {
    let flood = settled(SETTINGS, ms(900), [1, 1, 50]);
    assert_eq!(shares(&flood), [0, 0, 1 << 32], "a flood of newcomers costs newcomers alone");
    let [proven, known, _] = shares(&settled(SETTINGS, ms(900), [1, 19, 20]));
    assert_eq!((proven, known), (0, 1 << 32), "who is known goes where the known are the load");
}

#[test]
fn shedding_goes_on_until_the_queue_is_half_as_long_and_ends_then() {
    let mut admission = settled(SETTINGS, ms(11), EVEN);
    assert!(admission.is_shedding());
    let mut clock = 1000;
    let mut tell = |admission: &mut Admission, waited_us: u64| {
        for _ in 0..500 {
            admission.follow(at(clock), Duration::from_micros(waited_us));
            clock += 1;
        }
        admission.is_shedding()
    };
    assert!(tell(&mut admission, 6000), "between half and whole: as before");
    assert!(!tell(&mut admission, 4900));
    assert!(!tell(&mut admission, 9900), "between half and whole: as before");
    assert!(tell(&mut admission, 10_200));
}

#[test]
fn without_word_nothing_waits() {
    let mut admission = settled(SETTINGS, ms(900), EVEN);
    admission.begin(at(1001));
    assert!(admission.is_shedding(), "word is not late yet");
    for step in 0..400 {
        admission.begin(at(1010 + step));
    }
    assert!(!admission.is_shedding());
    assert_eq!(admission.waiting(), Duration::ZERO);
    let mut admission = settled(SETTINGS, ms(900), EVEN);
    admission.begin(at(60_000));
    assert_eq!(admission.waiting(), Duration::ZERO, "after a long silence at once");
}

#[test]
fn one_hiccup_sheds_nobody() {
    let mut admission = Admission::new(SETTINGS, 7);
    admission.follow(at(0), ms(25));
    assert!(!admission.is_shedding());
    assert!(admission.waiting() < ms(10));
}

#[test]
fn switched_off_it_sheds_nobody_and_forgets() {
    let off = settled(Overload::off(), ms(10_000), EVEN);
    assert!(!off.is_shedding());
    let mut admission = settled(SETTINGS, ms(900), EVEN);
    admission.configure(Overload::off());
    assert!(!admission.is_shedding());
    assert_eq!(shares(&admission), [0; 3]);
    assert_eq!(admission.waiting(), Duration::ZERO);
}

#[test]
fn those_sent_away_come_back_spread_over_twice_the_least_time() {
    let mut admission = Admission::new(SETTINGS, 7);
    let mut counts = [0u32; 20];
    for _ in 0..1000 {
        for nth in 0..32 {
            counts[admission.retry_after_s(admission.draw(nth)) as usize] += 1;
        }
        admission.end_batch(32);
    }
    assert_eq!(counts.iter().position(|&count| count > 0), Some(4));
    assert_eq!(counts.iter().rposition(|&count| count > 0), Some(12));
    let even = 32_000 / 9;
    assert!(counts[4..=12].iter().all(|&count| count.abs_diff(even) < even / 5), "{counts:?}");
}

fn any_settings() -> impl Strategy<Value = Overload> {
    prop::array::uniform3(1u32..=10_000).prop_map(|mut waits| {
        waits.sort_unstable();
        let [wait_newcomers_ms, wait_known_ms, wait_proven_ms] = waits;
        Overload { wait_newcomers_ms, wait_known_ms, wait_proven_ms, ..SETTINGS }
    })
}

proptest! {
    #[test]
    fn whatever_waits_nobody_is_shed_before_those_who_have_shown_less(
        settings in any_settings(),
        waits in prop::collection::vec((0u64..40_000, 0u64..300), 1..40),
        come in prop::array::uniform3(0u32..20),
        draws in prop::collection::vec(any::<u32>(), 1..8),
    ) {
        let mut admission = Admission::new(settings, 1);
        let mut clock = 0;
        for (waited, passed) in waits {
            clock += passed;
            admission.begin(at(clock));
            admission.follow(at(clock), ms(waited));
            come_in(&mut admission, come);
            let [proven, known, newcomers] = Class::ALL.map(|class| admission.shed(class));
            for (more, less) in [(proven, known), (known, newcomers)] {
                prop_assert!(more.shed <= less.shed && more.dropped <= less.dropped);
            }
            for shed in [proven, known, newcomers] {
                prop_assert!(shed.dropped <= shed.shed && shed.shed <= 1 << 32);
            }
            prop_assert_eq!(admission.is_shedding(), shares(&admission).iter().any(|&s| s > 0));
            for &draw in &draws {
                let rank = |admitted| match admitted {
                    Admitted::Yes => 0,
                    Admitted::Later => 1,
                    Admitted::Dropped => 2,
                };
                let [a, b, c] = Class::ALL.map(|class| rank(admission.admit(class, draw)));
                prop_assert!(a <= b && b <= c, "{} {} {}", a, b, c);
            }
        }
    }

    #[test]
    fn the_longer_the_wait_the_fewer_newcomers(
        settings in any_settings(),
        waits in prop::array::uniform2(0u64..40_000),
    ) {
        let [shorter, longer] = [waits[0].min(waits[1]), waits[0].max(waits[1])];
        let shed = |waited| settled(settings, ms(waited), [0, 0, 1]).shed(Class::Newcomer);
        let (less, more) = (shed(shorter), shed(longer));
        prop_assert!(less.shed <= more.shed && less.dropped <= more.dropped);
    }

    #[test]
    fn a_wait_that_stays_between_half_and_whole_changes_nothing(
        settings in any_settings(),
        begun: bool,
        waits in prop::collection::vec(0u64..=1000, 1..200),
    ) {
        let begin_us = u64::from(settings.wait_newcomers_ms) * 1000;
        let first = if begun { begin_us * 3 / 2 } else { 0 };
        let mut admission = settled(settings, Duration::from_micros(first), [0, 0, 1]);
        prop_assert_eq!(admission.is_shedding(), begun);
        for (step, part) in (1000..).zip(waits) {
            // Above half, up to the whole.
            let waited_us = begin_us / 2 + 1 + part * (begin_us - begin_us / 2 - 1) / 1000;
            admission.follow(at(step), Duration::from_micros(waited_us));
            prop_assert_eq!(admission.is_shedding(), begun, "at {} us", waited_us);
        }
    }

    #[test]
    fn what_is_followed_is_never_beyond_what_was_measured(
        waits in prop::collection::vec((0u64..5000, 0u64..500), 1..100),
    ) {
        let mut admission = Admission::new(SETTINGS, 3);
        let (mut clock, mut longest) = (0, 0);
        for (waited, passed) in waits {
            clock += passed;
            longest = longest.max(waited);
            admission.begin(at(clock));
            admission.follow(at(clock), ms(waited));
            prop_assert!(admission.waiting() <= ms(longest));
        }
    }
}
