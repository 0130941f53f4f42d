//! The guards of several shards together, with what they tell each other carried by hand.

use std::time::Duration;

use super::*;
use crate::guard::bucket::Rate;
use crate::guard::events::{Kinds, Wanted};
use crate::limits::BLACKLIST_MAX;

/// The guards of one process, and the way between them.
pub(super) struct Guards {
    pub(super) guards: Vec<Guard>,
    now: Now,
}

impl Guards {
    pub(super) fn new(shards: u8, config: &config::Guard, networks: &[Said]) -> Guards {
        let guard = |id| Guard::new(&[5; 16], (id, shards), config, networks);
        let now = Now { mono: Instant::from_secs(1000), ..Now::default() };
        let mut guards = Guards { guards: (0..shards).map(guard).collect(), now };
        guards.pass(Duration::ZERO);
        guards
    }

    pub(super) fn pass(&mut self, step: Duration) {
        self.now = self.now.after(step);
        for guard in &mut self.guards {
            guard.begin(self.now);
        }
    }

    /// Carries over what is to be told.
    pub(super) fn spread(&mut self) {
        // Twice: what is told may make its hearer tell something.
        for from in (0..self.guards.len()).chain(0..self.guards.len()) {
            while let Some((to, told)) = self.guards[from].poll_told() {
                for (number, guard) in self.guards.iter_mut().enumerate() {
                    let is_meant = match to {
                        To::Others => number != from,
                        To::Shard(shard) => number == usize::from(shard),
                    };
                    if is_meant {
                        guard.take(told);
                    }
                }
            }
        }
    }

    pub(super) fn admit(&mut self, at: usize, source: IpAddr, asked: Asked) -> Entry {
        let entry = self.guards[at].admit(source, asked);
        self.spread();
        entry
    }

    pub(super) fn is_open(&mut self, at: usize, source: IpAddr, asked: Asked) -> bool {
        self.admit(at, source, asked) == Entry::Open
    }

    pub(super) fn proved(&mut self, at: usize, source: IpAddr, account: u64) {
        self.guards[at].proved(source, account);
        self.spread();
    }

    fn offend(
        &mut self,
        at: usize,
        source: IpAddr,
        offence: Offence,
        account: u64,
        fakeable: bool,
    ) {
        self.guards[at].offend(source, offence, account, fakeable);
        self.spread();
    }
}

pub(super) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// A hash such as accounts have (SplitMix64).
pub(super) fn account(number: u64) -> u64 {
    let mut z = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

pub(super) fn defaults() -> config::Guard {
    config::Guard { sources_max: 1024, ..config::Guard::default() }
}

fn shown(guards: &Guards) -> Vec<(String, bool)> {
    let list = |guard: &Guard| -> Vec<(String, bool)> {
        guard.blocks(None, 100).map(|one| (one.network.to_string(), one.whole)).collect()
    };
    let first = list(&guards.guards[0]);
    assert!(guards.guards.iter().all(|guard| list(guard) == first), "all have the same list");
    first
}

#[test]
fn a_register_is_known_by_its_first_bytes() {
    for (bytes, asked) in [
        (&b"REGISTER sip:example.com SIP/2.0\r\n"[..], Asked::Register),
        (b"\r\n\r\nREGISTER sip:a SIP/2.0", Asked::Register),
        (b"register sip:a SIP/2.0", Asked::Request),
        (b"REGISTER", Asked::Request),
        (b"OPTIONS sip:a SIP/2.0", Asked::Request),
        (b"SIP/2.0 200 OK", Asked::Nothing),
        (b"\r\n\r\n", Asked::Nothing),
        (b"\0\0\0\0", Asked::Nothing),
        (b"", Asked::Nothing),
        (b"\0\x01\0\0\x21\x12\xa4\x42", Asked::Request),
    ] {
        assert_eq!(Asked::of(bytes), asked, "{}", bytes.escape_ascii());
    }
}

#[test]
fn an_unproven_source_has_its_rate_and_another_is_not_touched() {
    let mut guards = Guards::new(1, &defaults(), &[]);
    let (loud, quiet) = (ip("192.0.2.1"), ip("198.51.100.1"));
    let passed = (0..1000).filter(|_| guards.is_open(0, loud, Asked::Register)).count();
    assert_eq!(passed, 10);
    assert_eq!(guards.admit(0, loud, Asked::Register), Entry::IfProved(Silence::SourceRate));
    assert!(guards.is_open(0, quiet, Asked::Register));
    guards.pass(Duration::from_secs(1));
    let passed = (0..1000).filter(|_| guards.is_open(0, loud, Asked::Register)).count();
    assert_eq!(passed, 5);
    assert!(guards.is_open(0, loud, Asked::Nothing), "responses have no limit");
}

#[test]
fn neighbours_have_a_limit_together_and_proven_ones_are_not_held_to_it() {
    let mut guards = Guards::new(1, &defaults(), &[]);
    let neighbour = |n: u32| IpAddr::from((0xc000_0200 + n % 256).to_be_bytes());
    guards.proved(0, neighbour(7), account(1));
    let passed: usize = (0..2560)
        .filter(|&n| n % 256 != 7 && guards.is_open(0, neighbour(n), Asked::Register))
        .count();
    assert_eq!(passed, 100, "ten times ten");
    let refused = guards.admit(0, neighbour(8), Asked::Register);
    assert_eq!(refused, Entry::IfProved(Silence::PrefixRate));
    assert!(guards.is_open(0, neighbour(7), Asked::Register));
}

#[test]
fn a_spoofer_drains_neither_the_budget_of_proofs_nor_another_source() {
    let mut guards = Guards::new(1, &defaults(), &[]);
    let customer = ip("192.0.2.1");
    for _ in 0..100_000 {
        guards.admit(0, customer, Asked::Request);
    }
    assert_eq!(guards.admit(0, customer, Asked::Register), Entry::IfProved(Silence::SourceRate));
    let admitted = (0..1000).filter(|_| guards.guards[0].admit_proof(customer)).count();
    assert_eq!(admitted, 50);
}

/// The kernel spreads the flows of one source over all reactors.
#[test]
fn many_flows_get_less_than_twice_the_rate_of_one_on_any_number_of_shards() {
    for shards in [1u8, 2, 4, 16] {
        let mut guards = Guards::new(shards, &defaults(), &[]);
        let (source, mut passed) = (ip("192.0.2.1"), 0);
        for step in 0..60_000u64 {
            let at = (step % u64::from(shards)) as usize;
            passed += usize::from(guards.is_open(at, source, Asked::Register));
            guards.pass(Duration::from_millis(1));
        }
        let most = 2 * 5 * 60 + 4 * 10;
        assert!((300..=most).contains(&passed), "{passed} of {most} on {shards} shards");
    }
}

#[test]
fn an_office_that_has_proved_itself_comes_back_at_once_on_any_shard() {
    for shards in [1u8, 3] {
        let mut guards = Guards::new(shards, &defaults(), &[]);
        let office = ip("192.0.2.1");
        for phone in 0..500 {
            // Its accounts live on all shards, its flows arrive at all shards.
            guards.proved(phone % usize::from(shards), office, account(phone as u64));
        }
        // A quiet week-end later the power is back: all at once, each twice.
        guards.pass(Duration::from_secs(3 * 86_400));
        let mut refused = 0;
        for phone in 0..1000 {
            refused +=
                usize::from(!guards.is_open(phone % usize::from(shards), office, Asked::Register));
        }
        // The count of accounts is a sketch's, a fifth off at most places.
        assert!(refused < 250, "{refused} of 1000 refused on {shards} shards");
        let all = guards.guards.iter().map(|guard| guard.proven_accounts(office));
        let all: Vec<u16> = all.collect();
        assert!(all.iter().all(|&count| count == all[0] && (350..650).contains(&count)), "{all:?}");
    }
}

/// Phones as RFC 3261 17.1.2 has them: a request, sent again after 0.5, 1, 2 and then each 4 s.
#[test]
fn an_office_nobody_has_met_before_is_registered_within_seconds() {
    let mut guards = Guards::new(2, &defaults(), &[]);
    let office = ip("192.0.2.1");
    const PHONES: usize = 500;
    // When each phone sends next and how long it waits then; none once it is in.
    let mut due: Vec<Option<(u64, u64)>> = vec![Some((0, 500)); PHONES];
    let mut now_ms = 0;
    while due.iter().any(Option::is_some) {
        assert!(now_ms < 32_000, "{} phones gave up", due.iter().flatten().count());
        for (phone, due) in due.iter_mut().enumerate() {
            let Some((at, wait)) = *due else { continue };
            if at > now_ms {
                continue;
            }
            *due = Some((at + wait, (wait * 2).min(4000)));
            if !guards.is_open(phone % 2, office, Asked::Register) {
                continue;
            }
            // Challenged; the answer has a nonce.
            let shard = phone % 2;
            let open = guards.is_open(shard, office, Asked::Register)
                || guards.guards[shard].admit_proof(office);
            if open {
                guards.proved(phone % 2, office, account(phone as u64));
                *due = None;
            }
        }
        guards.pass(Duration::from_millis(100));
        now_ms += 100;
    }
    assert!(now_ms <= 16_000, "{now_ms} ms");
}

#[test]
fn a_flood_of_sources_pushes_out_no_proven_one_and_memory_is_that_of_the_start() {
    let mut guards = Guards::new(1, &defaults(), &[]);
    let customers: Vec<IpAddr> =
        (0..200u32).map(|n| (0x0a00_0000 + n).to_be_bytes().into()).collect();
    for (number, &customer) in customers.iter().enumerate() {
        guards.proved(0, customer, account(number as u64));
    }
    for number in 0..300_000u32 {
        guards.admit(0, IpAddr::from((0x4000_0000 + number * 7).to_be_bytes()), Asked::Register);
    }
    let known = customers.iter().filter(|&&customer| guards.guards[0].is_proven(customer)).count();
    assert_eq!(known, customers.len());
}

#[test]
fn networks_are_trusted_blocked_or_have_a_limit_of_their_own() {
    let rate = Rate { per_s: 2, burst: 3 };
    let config = config::Guard {
        trusted: vec!["10.0.0.0/8".parse().unwrap()],
        blocked: vec!["203.0.113.0/24".parse().unwrap()],
        ..defaults()
    };
    let gateway = Said { net: "192.0.2.0/24".parse().unwrap(), standing: None, limit: Some(rate) };
    for shards in [1u8, 2] {
        let mut guards = Guards::new(shards, &config, &[gateway]);
        assert!((0..1000).all(|_| guards.is_open(0, ip("10.1.2.3"), Asked::Register)));
        let blocked = guards.admit(0, ip("::ffff:203.0.113.9"), Asked::Nothing);
        assert_eq!(blocked, Entry::Silent(Silence::Network));
        let mut passed = 0;
        for n in 0..100u8 {
            let source = IpAddr::from([192, 0, 2, n]);
            passed += usize::from(guards.is_open(usize::from(n % shards), source, Asked::Register));
        }
        assert!((3..=6).contains(&passed), "{passed} of all its addresses on {shards} shards");
        let refused = guards.admit(0, ip("192.0.2.1"), Asked::Request);
        assert_eq!(refused, Entry::IfProved(Silence::NetworkRate));
    }
}

#[test]
fn loopback_is_left_alone_unless_asked_for() {
    let (mapped, v6) = (ip("::ffff:127.0.0.9"), ip("::1"));
    let mut left_alone = Guards::new(1, &defaults(), &[]);
    let mut held = Guards::new(1, &config::Guard { loopback: true, ..defaults() }, &[]);
    for source in [mapped, v6] {
        let open = (0..100).filter(|_| left_alone.is_open(0, source, Asked::Register)).count();
        assert_eq!(open, 100);
        let open = (0..100).filter(|_| held.is_open(0, source, Asked::Register)).count();
        assert_eq!(open, 10);
        for number in 0..100 {
            left_alone.offend(0, source, Offence::UnknownAccount, account(number), false);
            held.offend(0, source, Offence::UnknownAccount, account(number), false);
        }
    }
    assert_eq!(shown(&left_alone), []);
    assert_eq!(shown(&held).len(), 2);
    assert!(left_alone.guards[0].is_scanner(b"friendly-scanner"), "whoever it comes from");
}

#[test]
fn failures_on_many_accounts_block_a_source_on_every_shard_wherever_they_are_seen() {
    for shards in [1u8, 4] {
        let mut guards = Guards::new(shards, &defaults(), &[]);
        let guesser = ip("192.0.2.1");
        let mut tried = 0;
        while guards.is_open(0, guesser, Asked::Nothing) {
            let owner = tried % usize::from(shards);
            guards.offend(owner, guesser, Offence::UnknownAccount, account(tried as u64), false);
            tried += 1;
        }
        // Two of ten accounts may share a bit.
        assert!((10..=13).contains(&tried), "{tried} accounts on {shards} shards");
        assert_eq!(shown(&guards), [("192.0.2.1/32".to_owned(), true)]);
        for at in 0..usize::from(shards) {
            let entry = guards.admit(at, guesser, Asked::Register);
            assert_eq!(entry, Entry::Silent(Silence::Blocked));
        }
        guards.pass(Duration::from_secs(601));
        assert!(guards.is_open(0, guesser, Asked::Register), "a block ends by itself");
        assert_eq!(shown(&guards), []);
    }
}

#[test]
fn a_customer_cannot_be_blocked_or_slowed_by_what_others_send_in_his_name() {
    let mut guards = Guards::new(2, &defaults(), &[]);
    let customer = ip("192.0.2.1");
    guards.proved(0, customer, account(1));
    for number in 0..100_000u64 {
        guards.admit(0, customer, Asked::Request);
        guards.offend(0, customer, Offence::Scanner, 0, true);
        guards.offend(1, customer, Offence::WrongPassword, account(number), true);
        guards.offend(0, customer, Offence::Malformed, 0, true);
    }
    assert_eq!(shown(&guards), []);
    guards.pass(Duration::from_secs(10));
    assert!(guards.is_open(0, customer, Asked::Register));
}

#[test]
fn a_stranger_whose_name_was_abused_is_restrained_and_proves_himself_out_of_it() {
    let mut guards = Guards::new(2, &defaults(), &[]);
    let stranger = ip("192.0.2.1");
    for _ in 0..100 {
        guards.admit(0, stranger, Asked::Request);
        guards.offend(0, stranger, Offence::Scanner, 0, true);
    }
    assert_eq!(shown(&guards), [("192.0.2.1/32".to_owned(), false)]);
    let refused = guards.admit(0, stranger, Asked::Request);
    assert_eq!(refused, Entry::IfProved(Silence::Restrained));
    guards.pass(Duration::from_secs(2));
    assert!(guards.is_open(0, stranger, Asked::Register), "he can still ask for a challenge");
    assert!(guards.guards[0].admit_proof(stranger), "and answer it");
    guards.proved(1, stranger, account(1));
    assert_eq!(shown(&guards), []);
    assert!(guards.is_open(0, stranger, Asked::Request));
}

#[test]
fn what_a_page_sends_over_connections_restrains_an_office_at_most_and_a_success_ends_that() {
    for shards in [1u8, 3] {
        let mut guards = Guards::new(shards, &defaults(), &[]);
        for office in [ip("192.0.2.1"), ip("2001:db8::1")] {
            guards.proved(0, office, account(1));
            for nth in 0..100 {
                let at = nth % usize::from(shards);
                guards.offend(at, office, Offence::Scanner, 0, false);
                guards.offend(at, office, Offence::Malformed, 0, false);
            }
            let listed = shown(&guards);
            assert!(listed.len() == 1 && !listed[0].1, "{listed:?} on {shards} shards");
            for at in 0..usize::from(shards) {
                assert!(guards.guards[at].is_restrained(office));
                let admitted = (0..200).filter(|_| guards.guards[at].admit_proof(office)).count();
                assert_eq!(admitted, 70, "as many as ever");
            }
            // The same account as ever, wherever it is met.
            guards.proved(usize::from(shards) - 1, office, account(1));
            assert_eq!(shown(&guards), [], "on {shards} shards");
        }
    }
}

#[test]
fn a_success_speaks_for_its_source_once_a_minute_and_covers_up_for_no_guesser() {
    for shards in [1u8, 3] {
        let mut guards = Guards::new(shards, &defaults(), &[]);
        let (office, guesser) = (ip("192.0.2.1"), ip("192.0.2.2"));
        guards.proved(0, office, account(1));
        guards.proved(0, guesser, account(1));
        // Three wrong passwords each minute, and the phones refresh.
        for nth in 0..300 {
            let at = nth % usize::from(shards);
            guards.offend(at, office, Offence::WrongPassword, account(nth as u64), false);
            guards.pass(Duration::from_secs(20));
            guards.proved(at, office, account(1));
        }
        assert_eq!(shown(&guards), []);
        let tried = (1..1000u64).find(|&nth| {
            let at = nth as usize % usize::from(shards);
            guards.offend(at, guesser, Offence::UnknownAccount, account(nth), false);
            guards.proved(at, guesser, account(1));
            guards.pass(Duration::from_secs(1));
            !shown(&guards).is_empty()
        });
        assert!(tried.is_some_and(|tried| tried < 40), "{tried:?} on {shards} shards");
        assert_eq!(shown(&guards), [("192.0.2.2/32".to_owned(), true)]);
    }
}

#[test]
fn an_operator_blocks_for_good_and_lifts() {
    let mut guards = Guards::new(2, &defaults(), &[]);
    let source = ip("192.0.2.1");
    let version = guards.guards[0].blocks_version();
    for guard in &mut guards.guards {
        assert!(guard.block(source, None));
    }
    assert!(guards.guards[0].blocks_version() > version);
    guards.pass(Duration::from_secs(1 << 30));
    assert_eq!(guards.admit(1, source, Asked::Nothing), Entry::Silent(Silence::Blocked));
    assert!(guards.guards[1].is_blocked(guards.now.mono, source));
    for guard in &mut guards.guards {
        assert!(guard.lift(source) && !guard.lift(source));
    }
    assert!(guards.is_open(1, source, Asked::Request));
    let counted =
        |kind| -> u64 { guards.guards.iter().map(|guard| guard.journal().counted(kind)).sum() };
    assert_eq!(counted(SecurityKind::Blocked), 1, "by one of the shards for all");
    assert_eq!(counted(SecurityKind::Unblocked), 1);
}

#[test]
fn other_settings_hold_at_once_and_blocks_stay() {
    let mut guards = Guards::new(1, &defaults(), &[]);
    let (source, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
    guards.guards[0].block(other, Some(100));
    (0..100).for_each(|_| _ = guards.is_open(0, source, Asked::Register));
    guards.guards[0].configure(&config::Guard::off(), &[]);
    assert!((0..100).all(|_| guards.is_open(0, source, Asked::Register)));
    assert_eq!(guards.admit(0, other, Asked::Register), Entry::Silent(Silence::Blocked));
    guards.guards[0].configure(&defaults(), &[]);
    guards.pass(Duration::from_secs(1));
    let open = (0..100).filter(|_| guards.is_open(0, source, Asked::Register)).count();
    assert!((5..=10).contains(&open), "{open}");
}

#[test]
fn a_flood_over_the_limit_is_one_record_of_the_list_and_counted_whole() {
    let mut guards = Guards::new(1, &defaults(), &[]);
    for _ in 0..1000 {
        guards.guards[0].refused(ip("192.0.2.1"));
    }
    let journal = guards.guards[0].journal();
    assert_eq!(journal.counted(SecurityKind::RateLimited), 1000);
    let wanted = Wanted::default();
    assert_eq!(journal.newest(&wanted, None).count(), 1);
}

#[test]
fn a_block_that_makes_room_is_an_event_and_an_operators_makes_none_but_is_refused() {
    let mut guards = Guards::new(1, &defaults(), &[]);
    let guard = &mut guards.guards[0];
    let first = ip("192.0.2.1");
    guard.take(Told::Blocked {
        source: first,
        until: Instant::from_secs(9),
        whole: true,
        times: 1,
    });
    let last = BLACKLIST_MAX as u32;
    for number in 0..last {
        guard.restore_block(IpAddr::from((0x0a00_0000 + number).to_be_bytes()), Some(100));
    }
    assert_eq!(guard.journal().counted(SecurityKind::PushedOut), 1);
    let kinds = Kinds::NONE.with(SecurityKind::PushedOut);
    let wanted = Wanted { kinds, ..Wanted::default() };
    let listed: Vec<_> = guard.journal().newest(&wanted, None).map(|one| one.source).collect();
    assert_eq!(listed, [first]);
    assert!(!guard.block(first, None), "there are operators' blocks only");
    assert_eq!(guard.blocks_count(), BLACKLIST_MAX);
}
