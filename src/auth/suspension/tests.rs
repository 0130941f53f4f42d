//! Who is suspended, for how long, and that nobody else is; against a model that remembers
//! everything.

use std::collections::{HashMap, HashSet};
use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;

const START: Instant = Instant::from_secs(1_000_000);

fn suspensions() -> Suspensions {
    Suspensions::new(b"0123456789abcdef", 1)
}

fn source(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, number))
}

fn at(seconds: u64) -> Instant {
    START + Duration::from_secs(seconds)
}

fn limits() -> config::Suspension {
    config::Suspension::default()
}

/// A wrong answer to REGISTER, different for each number.
fn guess(number: u64) -> [u8; 8] {
    number.to_be_bytes()
}

struct World {
    suspensions: Suspensions,
    limits: config::Suspension,
    now: Instant,
    answers: u64,
}

impl World {
    fn new(limits: config::Suspension) -> World {
        World { suspensions: suspensions(), limits, now: START, answers: 0 }
    }

    fn fail_with(&mut self, aor: u64, from: u8, is_register: bool) -> Failed {
        self.answers += 1;
        let failure = Failure {
            aor: AorKey(aor),
            source: source(from),
            known: true,
            is_register,
            nonce: b"nonce",
            response: &guess(self.answers),
        };
        self.suspensions.failed(self.now, &failure, &self.limits)
    }

    fn fail(&mut self, aor: u64, from: u8) -> Option<Suspended> {
        self.fail_with(aor, from, true).begun
    }

    fn fail_quietly(&mut self, aor: u64, from: u8) {
        self.fail(aor, from);
    }

    fn standing(&self, aor: u64, from: u8) -> Standing {
        self.suspensions.standing(AorKey(aor), source(from))
    }

    fn is_suspended(&self, aor: u64, from: u8) -> bool {
        self.standing(aor, from) == Standing::Suspended
    }

    fn succeed(&mut self, aor: u64, from: u8) {
        if let Standing::Failed(mark) = self.standing(aor, from) {
            self.suspensions.succeeded(mark);
        }
    }

    fn pass(&mut self, seconds: u64) -> Vec<Suspended> {
        self.now = self.now + Duration::from_secs(seconds);
        std::iter::from_fn(|| self.suspensions.poll_elapsed(self.now)).collect()
    }
}

#[test]
fn the_set_number_of_failures_suspends_the_account_for_that_source_alone() {
    let mut world = World::new(limits());
    for _ in 0..5 {
        assert_eq!(world.fail(1, 7), None);
        assert!(!world.is_suspended(1, 7));
    }
    let begun = world.fail(1, 7).expect("the sixth");
    assert_eq!((begun.aor, begun.source, begun.known), (AorKey(1), source(7), true));
    assert_eq!(begun.until, at(180));
    assert!(world.is_suspended(1, 7));
    assert_eq!(world.standing(1, 8), Standing::Clear, "the owner, from elsewhere");
    assert_eq!(world.standing(2, 7), Standing::Clear, "the neighbour behind the same address");
}

/// Whoever has one address of a /64 has them all, and no more tries for it.
#[test]
fn addresses_of_one_slash_64_share_their_tries_and_those_of_two_do_not() {
    let mut suspensions = suspensions();
    let ip = |text: &str| text.parse::<IpAddr>().unwrap();
    let guess_from = |suspensions: &mut Suspensions, source: IpAddr, number: u64| {
        let failure = Failure {
            aor: AorKey(1),
            source,
            known: true,
            is_register: true,
            nonce: b"nonce",
            response: &guess(number),
        };
        suspensions.failed(START, &failure, &limits()).begun
    };
    let neighbours = ["2001:db8:0:1::1", "2001:db8:0:1::2", "2001:db8:0:1:f00d:1:2:3"].map(ip);
    let elsewhere = ip("2001:db8:0:2::1");
    for number in 0..5 {
        assert_eq!(guess_from(&mut suspensions, neighbours[number as usize % 3], number), None);
        assert_eq!(guess_from(&mut suspensions, elsewhere, 100 + number), None);
        suspensions.lift(AorKey(1), ip("2001:db8:0:2::ffff"));
    }
    let begun = guess_from(&mut suspensions, neighbours[2], 5).expect("the sixth of them");
    assert_eq!(begun.source, ip("2001:db8:0:1::"));
    for source in neighbours.into_iter().chain([ip("2001:db8:0:1:9::9")]) {
        assert_eq!(suspensions.standing(AorKey(1), source), Standing::Suspended);
    }
    assert_eq!(suspensions.standing(AorKey(1), elsewhere), Standing::Clear);
    let listed: Vec<IpAddr> = suspensions.list(None).map(|(_, one)| one.source).collect();
    assert_eq!(listed, [ip("2001:db8:0:1::")]);
    assert!(suspensions.lift(AorKey(1), neighbours[1]).is_some() && suspensions.is_empty());
}

#[test]
fn a_success_sets_the_count_to_zero() {
    let mut world = World::new(limits());
    for _ in 0..10 {
        for _ in 0..5 {
            assert_eq!(world.fail(1, 7), None);
        }
        world.succeed(1, 7);
        assert!(world.suspensions.is_empty());
    }
}

#[test]
fn a_suspension_ends_with_its_time_and_nothing_of_it_is_left() {
    let mut world = World::new(limits());
    (0..6).for_each(|_| world.fail_quietly(1, 7));
    assert_eq!(world.suspensions.next_deadline(), Some(at(180)));
    assert_eq!(world.pass(179), []);
    assert!(world.is_suspended(1, 7));
    // What is tried meanwhile neither counts nor prolongs.
    assert_eq!(world.fail_with(1, 7, true), Failed::default());
    let ended = world.pass(1);
    assert_eq!(ended.len(), 1);
    assert_eq!((ended[0].aor, ended[0].source), (AorKey(1), source(7)));
    assert_eq!(world.suspensions.next_deadline(), None);
    for _ in 0..5 {
        assert_eq!(world.fail(1, 7), None);
    }
    assert!(world.fail(1, 7).is_some());
}

#[test]
fn whichever_family_trips_first_suspends_and_the_longer_holds_where_both_do() {
    let set = |checks_max, checks_time_s, registers_max, registers_time_s| config::Suspension {
        checks_max,
        checks_time_s,
        registers: true,
        registers_max,
        registers_time_s,
    };
    for (limits, tries, cause, time) in [
        (set(3, 60, 5, 300), 3, Cause::Checks, 60),
        (set(5, 60, 3, 300), 3, Cause::Registers, 300),
        (set(3, 60, 3, 300), 3, Cause::Registers, 300),
        (set(3, 600, 3, 300), 3, Cause::Checks, 600),
        (set(0, 600, 2, 300), 2, Cause::Registers, 300),
        (config::Suspension { registers: false, ..set(4, 600, 2, 300) }, 4, Cause::Checks, 600),
        (set(1, 60, 1, 60), 1, Cause::Registers, 60),
    ] {
        let mut world = World::new(limits.clone());
        for _ in 1..tries {
            assert_eq!(world.fail(1, 7), None, "{limits:?}");
        }
        let begun = world.fail(1, 7).unwrap_or_else(|| panic!("{limits:?}"));
        assert_eq!((begun.cause, begun.until), (cause, at(time)), "{limits:?}");
    }
}

#[test]
fn other_methods_count_for_the_family_of_all_methods_alone() {
    let mut world = World::new(config::Suspension { registers_max: 2, ..limits() });
    for _ in 0..4 {
        assert_eq!(world.fail_with(1, 7, false).begun, None);
    }
    assert_eq!(world.fail(1, 7), None, "the first REGISTER, the fifth in all");
    assert_eq!(world.fail_with(1, 7, false).begun.map(|s| s.cause), Some(Cause::Checks));
}

#[test]
fn where_nothing_is_to_be_suspended_nothing_is_remembered() {
    let off = config::Suspension { checks_max: 0, registers: false, ..limits() };
    let mut world = World::new(off);
    (0..1000).for_each(|_| assert_eq!(world.fail(1, 7), None));
    assert_eq!((world.suspensions.bytes_held(), world.suspensions.is_empty()), (0, true));
    // REGISTER alone counts: another method is nothing to remember.
    let mut world = World::new(config::Suspension { checks_max: 0, ..limits() });
    (0..1000).for_each(|_| assert_eq!(world.fail_with(1, 7, false), Failed::default()));
    assert!(world.suspensions.is_empty());
}

#[test]
fn an_answer_sent_again_counts_once_and_the_same_to_another_nonce_counts() {
    let mut suspensions = suspensions();
    let mut fail = |nonce: &[u8], response: &[u8]| {
        let failure = Failure {
            aor: AorKey(1),
            source: source(7),
            known: true,
            is_register: true,
            nonce,
            response,
        };
        suspensions.failed(START, &failure, &limits()).begun.is_some()
    };
    for _ in 0..50 {
        // Two requests under way at once, each retransmitted.
        assert!(!fail(b"n1", b"r1") && !fail(b"n1", b"r2") && !fail(b"n2", b"r1"));
    }
    assert!(!fail(b"n3", b"r") && !fail(b"n4", b"r"));
    assert!(fail(b"n5", b"r"));
}

#[test]
fn an_ipv4_address_is_one_source_also_as_part_of_ipv6() {
    let mut world = World::new(limits());
    (0..6).for_each(|_| world.fail_quietly(1, 7));
    let mapped = "::ffff:192.0.2.7".parse().unwrap();
    assert_eq!(world.suspensions.standing(AorKey(1), mapped), Standing::Suspended);
    assert_eq!(world.suspensions.lift(AorKey(1), mapped).map(|s| s.source), Some(source(7)));
}

#[test]
fn an_operator_lists_suspensions_by_the_page_and_lifts_them() {
    let mut world = World::new(limits());
    for aor in 0..10 {
        (0..6).for_each(|_| world.fail_quietly(aor, 7));
        world.pass(1);
    }
    let (mut listed, mut after) = (Vec::new(), None);
    loop {
        let page: Vec<_> = world.suspensions.list(after).take(3).collect();
        let Some(&(last, _)) = page.last() else { break };
        after = Some(last);
        listed.extend(page.iter().map(|(_, suspended)| suspended.aor.0));
    }
    assert_eq!(listed, (0..10).collect::<Vec<_>>(), "in the order they end");
    assert!(world.suspensions.lift(AorKey(3), source(8)).is_none());
    assert!(world.suspensions.lift(AorKey(3), source(7)).is_some());
    assert!(!world.is_suspended(3, 7) && world.is_suspended(4, 7));
    assert_eq!(world.suspensions.len(), 9);
    let (cursor, _) = world.suspensions.list(None).next().unwrap();
    assert!(world.suspensions.lift_at(cursor).is_some());
    assert_eq!(world.suspensions.lift_at(cursor), None);
    // A lift also forgets failures that have led to nothing yet.
    (0..5).for_each(|_| world.fail_quietly(3, 7));
    assert_eq!(world.suspensions.lift(AorKey(3), source(7)), None);
    (0..5).for_each(|_| assert_eq!(world.fail(3, 7), None));
}

#[test]
fn any_number_of_failures_takes_no_more_memory() {
    let mut suspensions = Suspensions::new(b"0123456789abcdef", 8);
    let (mut held, mut failures) = (0, 0_u64);
    for number in 0..200_000_u32 {
        let failure = Failure {
            aor: AorKey(u64::from(number % 50)),
            source: IpAddr::V4(Ipv4Addr::from_bits(number / 50)),
            known: number % 2 == 0,
            is_register: true,
            nonce: b"nonce",
            response: &guess(failures),
        };
        failures += 1;
        suspensions.failed(START, &failure, &limits());
        if number == 150_000 {
            held = suspensions.bytes_held();
        }
    }
    assert_eq!(suspensions.bytes_held(), held);
    assert!(held < 2 << 20, "{held}");
    assert_eq!(suspensions.table.taken(), 2 * suspensions.table.capacity());
}

#[derive(Clone, Debug)]
enum Deed {
    Fail { aor: u64, from: u8, is_register: bool, answer: u64 },
    Succeed { aor: u64, from: u8 },
    Lift { aor: u64, from: u8 },
    Pass(u64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let who = || (0..3_u64, 0..3_u8);
    prop_oneof![
        10 => (who(), any::<bool>(), 0..60_u64).prop_map(|((aor, from), is_register, answer)| {
            Deed::Fail { aor, from, is_register, answer }
        }),
        2 => who().prop_map(|(aor, from)| Deed::Succeed { aor, from }),
        1 => who().prop_map(|(aor, from)| Deed::Lift { aor, from }),
        2 => (1..120_u64).prop_map(Deed::Pass),
    ]
}

/// What the rules say, with a memory for everything.
#[derive(Default)]
struct Record {
    checks: u32,
    registers: u32,
    answers: HashSet<u64>,
    until: Option<u64>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn agrees_with_a_memory_of_everything(
        deeds in prop::collection::vec(deed(), 1..200),
        checks_max in 0..6_u16,
        registers in any::<bool>(),
        registers_max in 1..6_u16,
    ) {
        let limits = config::Suspension {
            checks_max, registers, registers_max, checks_time_s: 60, registers_time_s: 100,
        };
        let mut world = World::new(limits.clone());
        let mut model: HashMap<(u64, u8), Record> = HashMap::new();
        let mut second = 0;
        for deed in deeds {
            match deed {
                Deed::Pass(seconds) => {
                    second += seconds;
                    let ended = world.pass(seconds).len();
                    let before = model.len();
                    model.retain(|_, record| record.until.is_none_or(|until| until > second));
                    prop_assert_eq!(ended, before - model.len());
                }
                Deed::Succeed { aor, from } => {
                    world.succeed(aor, from);
                    model.retain(|who, record| *who != (aor, from) || record.until.is_some());
                }
                Deed::Lift { aor, from } => {
                    let lifted = world.suspensions.lift(AorKey(aor), source(from)).is_some();
                    let record = model.remove(&(aor, from));
                    prop_assert_eq!(lifted, record.is_some_and(|record| record.until.is_some()));
                }
                Deed::Fail { aor, from, is_register, answer } => {
                    let failure = Failure {
                        aor: AorKey(aor),
                        source: source(from),
                        known: aor != 0,
                        is_register,
                        nonce: b"nonce",
                        response: &guess(answer),
                    };
                    let begun = world.suspensions.failed(world.now, &failure, &limits).begun;
                    if checks_max == 0 && !(registers && is_register) {
                        prop_assert_eq!(begun, None);
                        continue;
                    }
                    let record = model.entry((aor, from)).or_default();
                    if record.until.is_none() && record.answers.insert(answer) {
                        record.checks += 1;
                        record.registers += u32::from(is_register);
                        let checks = checks_max > 0 && record.checks >= checks_max.into();
                        let by_registers = registers && record.registers >= registers_max.into();
                        record.until = match (checks, by_registers) {
                            (_, true) => Some(second + 100),
                            (true, false) => Some(second + 60),
                            (false, false) => None,
                        };
                        prop_assert_eq!(begun.map(|b| b.until), record.until.map(at));
                        prop_assert_eq!(begun.is_none_or(|b| b.known == (aor != 0)), true);
                    } else {
                        prop_assert_eq!(begun, None);
                    }
                }
            }
            for aor in 0..3 {
                for from in 0..3 {
                    let suspended = model.get(&(aor, from)).is_some_and(|r| r.until.is_some());
                    prop_assert_eq!(world.is_suspended(aor, from), suspended);
                }
            }
            prop_assert_eq!(
                world.suspensions.len(),
                model.values().filter(|record| record.until.is_some()).count()
            );
        }
    }
}
