//! The guards of a process under any sequence of requests, offences, proofs and time: who is
//! trusted is never stopped, a customer is never blocked for what others send in his name, nobody
//! unproven gets more than all shards together allow, every shard has the same list, and nobody is
//! shed before those who have shown less.

use std::net::IpAddr;
use std::time::Duration;

use aorta::config;
use aorta::guard::{Admitted, Asked, Class, Entry, Guard, Offence, Silence, To};
use aorta::time::{Instant, Now};

const OFFENCES: [Offence; 7] = [
    Offence::WrongPassword,
    Offence::UnknownAccount,
    Offence::AccountMismatch,
    Offence::Malformed,
    Offence::Scanner,
    Offence::Walk,
    Offence::Handshake,
];
const ASKED: [Asked; 3] = [Asked::Register, Asked::Request, Asked::Nothing];
/// Steps of one input.
const STEPS_MAX: usize = 512;
const TRUSTED: usize = 0;
const BLOCKED: usize = 1;
const LOOPBACK: usize = 2;
const CUSTOMER: usize = 3;

struct World {
    guards: Vec<Guard>,
    now: Now,
    people: [IpAddr; 8],
    /// Requests of each that were let in.
    let_in: [u64; 8],
    /// Somebody has proved himself from there, or it was restrained and then freed.
    proven: [bool; 8],
}

/// The fuzz target: the number of shards, then steps of four bytes.
pub fn check(bytes: &[u8]) {
    let Some((&shards, steps)) = bytes.split_first() else { return };
    let mut world = World::new(1 + shards % 4);
    for step in steps.chunks_exact(4).take(STEPS_MAX) {
        let &[what, who, at, much] = step else { unreachable!("chunks of four") };
        world.step(what, usize::from(who % 8), usize::from(at), much);
    }
    world.check_limits();
    world.check_customer();
}

impl World {
    fn new(shards: u8) -> World {
        let config = config::Guard {
            trusted: vec!["10.0.0.0/8".parse().expect("a network")],
            blocked: vec!["203.0.113.0/24".parse().expect("a network")],
            sources_max: 1024,
            ..config::Guard::default()
        };
        let now = Now { mono: Instant::from_secs(1000), ..Now::default() };
        let guard = |id| Guard::new(&[7; 16], (id, shards), &config, &[]);
        let people = [
            "10.0.0.1",
            "203.0.113.1",
            "127.0.0.1",
            "192.0.2.1",
            "198.51.100.1",
            "198.51.100.2",
            "2001:db8::1",
            "2001:db8:0:1::1",
        ];
        let mut world = World {
            guards: (0..shards).map(guard).collect(),
            now,
            people: people.map(|text| text.parse().expect("an address")),
            let_in: [0; 8],
            proven: [false; 8],
        };
        world.pass(0);
        world.guards[0].proved(world.people[CUSTOMER], 1);
        world.proven[CUSTOMER] = true;
        world.spread();
        world
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now.after(Duration::from_millis(ms));
        self.guards.iter_mut().for_each(|guard| guard.begin(self.now));
    }

    /// What comes has waited so long at one of them, and more comes. Nobody is shed before those
    /// who have shown less, and the customer has shown more than a stranger.
    fn wait(&mut self, at: usize, waited_ms: u64) {
        self.pass(2);
        let (now, customer) = (self.now, self.people[CUSTOMER]);
        let guard = &mut self.guards[at];
        assert_eq!(guard.class_of(customer, Asked::Register), Class::Known);
        let admission = guard.admission_mut();
        admission.follow(now.mono, Duration::from_millis(waited_ms));
        let draw = admission.draw(at);
        let ranks = Class::ALL.map(|class| match admission.admit(class, draw) {
            Admitted::Yes => 0,
            Admitted::Later => 1,
            Admitted::Dropped => 2,
        });
        admission.end_batch(1);
        assert!(ranks.is_sorted(), "{ranks:?}");
        assert!(admission.is_shedding() || ranks == [0; 3]);
    }

    fn spread(&mut self) {
        for _ in 0..3 {
            for from in 0..self.guards.len() {
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
    }

    fn step(&mut self, what: u8, who: usize, at: usize, much: u8) {
        let (at, source) = (at % self.guards.len(), self.people[who]);
        let account = u64::from(much).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        match what % 8 {
            0..=2 => {
                for _ in 0..=much {
                    self.ask(who, at, ASKED[usize::from(what % 8)]);
                }
            }
            3 if much.is_multiple_of(2) => self.pass(u64::from(much) * 100),
            3 => self.wait(at, u64::from(much) * 8),
            4 => {
                let offence = OFFENCES[usize::from(much) % OFFENCES.len()];
                self.guards[at].offend(source, offence, account, true);
            }
            // What only the sender himself can do; a customer does not.
            5 if who != CUSTOMER => {
                let offence = OFFENCES[usize::from(much) % OFFENCES.len()];
                self.guards[at].offend(source, offence, account, false);
            }
            6 => {
                self.guards[at].proved(source, account);
                self.proven[who] = true;
            }
            7 if who > CUSTOMER => {
                for guard in &mut self.guards {
                    match much % 3 {
                        0 => guard.lift(source),
                        1 => guard.block(source, None),
                        _ => guard.block(source, Some(much.into())),
                    };
                }
            }
            _ => {
                for number in 0..u32::from(much) * 8 {
                    let source = IpAddr::from((0x4000_0000 + number * 0x101).to_be_bytes());
                    let _ = self.guards[at].admit(source, Asked::Register);
                }
            }
        }
        self.spread();
        self.check_lists();
    }

    fn ask(&mut self, who: usize, at: usize, asked: Asked) {
        let entry = self.guards[at].admit(self.people[who], asked);
        self.spread();
        match (who, entry) {
            (TRUSTED | LOOPBACK, entry) => assert_eq!(entry, Entry::Open),
            (BLOCKED, entry) => assert_eq!(entry, Entry::Silent(Silence::Network)),
            (CUSTOMER, entry) => {
                let within = matches!(entry, Entry::Open | Entry::IfProved(Silence::SourceRate));
                assert!(within, "{entry:?}");
            }
            _ => {}
        }
        self.let_in[who] += u64::from(entry == Entry::Open && asked != Asked::Nothing);
    }

    /// Twice the rate and some bursts at most, however many flows a source has.
    fn check_limits(&self) {
        let seconds = self.now.mono.as_secs() - 1000 + 1;
        let config = config::Guard::default();
        let (rate, burst) =
            (u64::from(config.rate_per_s.expect("a rate")), u64::from(config.burst));
        // A source that is pushed out of its set by a flood begins anew, which a flood here hardly
        // does.
        let most = 2 * rate * seconds + 4 * burst;
        for who in CUSTOMER + 1..8 {
            let (let_in, proven) = (self.let_in[who], self.proven[who]);
            assert!(proven || let_in <= most, "{let_in} of {most} requests of {who}");
        }
    }

    /// Whatever was done in his name, the customer is served some seconds later, and with a nonce
    /// of his at once.
    fn check_customer(&mut self) {
        let customer = self.people[CUSTOMER];
        for guard in &mut self.guards {
            assert!(guard.is_proven(customer));
        }
        self.pass(10_000);
        assert_eq!(self.guards[0].admit(customer, Asked::Register), Entry::Open);
        assert!(self.guards[0].admit_proof(customer));
    }

    fn check_lists(&self) {
        let list = |guard: &Guard| {
            guard
                .blocks(None, 100)
                .map(|one| (one.network, one.whole, one.until))
                .collect::<Vec<_>>()
        };
        let first = list(&self.guards[0]);
        for guard in &self.guards {
            assert_eq!(list(guard), first);
        }
        let customer = self.people[CUSTOMER];
        assert!(first.iter().all(|(network, ..)| !network.contains(&customer)));
    }
}
