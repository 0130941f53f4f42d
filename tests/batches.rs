//! A batch is answered as if its datagrams had come one by one: two clusters with the same secrets
//! get the same datagrams, one of them in batches. Answers, handoffs, events, counters and bindings
//! must be the same, byte for byte, from the network and from the rings.

mod common;

use std::net::SocketAddr;

use aorta::config::{AccountAuthentication, AccountPolicy, Algorithms};
use aorta::limits::BATCH_MAX;
use aorta::shard::Handled;
use common::batch::{give, handed_over};
use common::cluster::{Cluster, DOMAIN, Options};
use common::{Challenge, Phone, Response, hash};
use proptest::prelude::*;

const ACCOUNTS: u32 = 5;
/// Two devices for each account, so that they meet and push each other out.
const DEVICES: u32 = 2 * ACCOUNTS;

/// One datagram to come.
#[derive(Clone, Copy, Debug)]
enum Ask {
    Refresh,
    Unregister,
    Fetch,
    WrongPassword,
    /// A wrong password that was not tried before.
    Guess,
    /// A right answer over a cnonce of so many bytes.
    Cnonce(usize),
    WithoutCredentials,
    UnknownDomain,
    Options,
    /// The last one of the device again.
    Again,
    /// A refresh with one byte changed.
    Damaged(usize, u8),
    TwoTos,
    Keepalive,
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        6 => Just(Ask::Refresh),
        1 => Just(Ask::Unregister),
        1 => Just(Ask::Fetch),
        1 => Just(Ask::WrongPassword),
        3 => Just(Ask::Guess),
        2 => (0..240usize).prop_map(Ask::Cnonce),
        2 => Just(Ask::WithoutCredentials),
        1 => Just(Ask::UnknownDomain),
        1 => Just(Ask::Options),
        3 => Just(Ask::Again),
        3 => (0..800usize, any::<u8>()).prop_map(|(at, byte)| Ask::Damaged(at, byte)),
        1 => Just(Ask::TwoTos),
        1 => Just(Ask::Keepalive),
    ]
}

struct Device {
    phone: Phone,
    home: SocketAddr,
    last: Vec<u8>,
}

impl Device {
    fn new(number: u32) -> Device {
        let home: SocketAddr = format!("192.0.2.{}:5060", number + 1).parse().unwrap();
        let phone = Phone::new(number % ACCOUNTS + 1, &format!("d{number}"), &home.to_string());
        Device { phone, home, last: Vec::new() }
    }

    fn write(&mut self, ask: Ask) -> Vec<u8> {
        let phone = &mut self.phone;
        let text = match ask {
            Ask::Again if !self.last.is_empty() => return self.last.clone(),
            Ask::Refresh | Ask::Again | Ask::Damaged(..) => phone.register(600),
            Ask::Unregister => phone.register(0),
            Ask::Fetch => phone.request(&[]),
            Ask::WrongPassword => {
                let mut stranger = phone.clone();
                stranger.password = "guessed".into();
                stranger.call_id += "-stranger";
                stranger.register(600)
            }
            Ask::Guess => {
                phone.nc += 1;
                let mut stranger = phone.clone();
                stranger.password = format!("guess {}", phone.nc);
                stranger.call_id += "-stranger";
                stranger.register(600)
            }
            Ask::Cnonce(bytes) => {
                let challenge = phone.challenge.take();
                let text = phone.register(600);
                let Some(challenge) = challenge else { return text.into_bytes() };
                phone.nc += 1;
                let answer = answer_over(phone, &challenge, phone.nc, &"c".repeat(bytes));
                phone.challenge = Some(challenge);
                text.replace("\r\nContent-Length", &format!("\r\n{answer}\r\nContent-Length"))
            }
            Ask::WithoutCredentials => {
                let mut fresh = phone.clone();
                fresh.challenge = None;
                fresh.register(600)
            }
            Ask::UnknownDomain => phone.register(600).replace(DOMAIN, "example.net"),
            Ask::Options => format!(
                "OPTIONS sip:{DOMAIN} SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bKo\r\n\
                 From: <sip:a@{DOMAIN}>;tag=1\r\nTo: <sip:{DOMAIN}>\r\nCall-ID: o\r\n\
                 CSeq: 1 OPTIONS\r\n\r\n"
            ),
            Ask::TwoTos => phone.register(600).replace("\r\nCSeq", "\r\nTo: <sip:u1@h>\r\nCSeq"),
            Ask::Keepalive => "\r\n\r\n".into(),
        };
        let mut bytes = text.into_bytes();
        if let Ask::Damaged(at, byte) = ask {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        self.last.clone_from(&bytes);
        bytes
    }
}

/// The answer to a challenge over a cnonce of one's own choice.
fn answer_over(phone: &Phone, challenge: &Challenge, nc: u32, cnonce: &str) -> String {
    let Challenge { realm, nonce, algorithm, .. } = challenge;
    let Phone { user, password, domain, .. } = phone;
    let uri = format!("sip:{user}@{domain}");
    let ha1 = hash(algorithm, &format!("{user}:{realm}:{password}"));
    let ha2 = hash(algorithm, &format!("REGISTER:{uri}"));
    let response = hash(algorithm, &format!("{ha1}:{nonce}:{nc:08x}:{cnonce}:auth:{ha2}"));
    format!(
        "Authorization: Digest username=\"{user}\", realm=\"{realm}\", nonce=\"{nonce}\", \
         uri=\"{uri}\", response=\"{response}\", algorithm={algorithm}, qop=auth, nc={nc:08x}, \
         cnonce=\"{cnonce}\""
    )
}

/// One of the last account's two devices may register without a digest, the other not at all.
fn policy() -> AccountPolicy {
    AccountPolicy {
        authentication: AccountAuthentication::Network,
        allow: vec!["192.0.2.4".parse().unwrap()],
        ..AccountPolicy::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_batch_is_answered_as_its_datagrams_would_be_one_by_one(
        shards in 1..=3u8,
        tries in 1..=6u16,
        algorithms in prop_oneof![Just(Algorithms::MD5), Just(Algorithms::BOTH)],
        has_policy: bool,
        rounds in prop::collection::vec(
            prop::collection::vec((0..DEVICES as usize, ask()), 1..=BATCH_MAX + 8),
            1..5,
        ),
    ) {
        let mut options =
            Options { shards, accounts: ACCOUNTS - 1, algorithms, ..Options::default() };
        options.auth.suspension.registers_max = tries;
        if has_policy {
            options.policies.push((ACCOUNTS - 1, policy()));
        }
        let (mut single, mut batched) = (Cluster::new(&options), Cluster::new(&options));
        let mut devices: Vec<Device> = (0..DEVICES).map(Device::new).collect();
        for (number, Device { phone, home, .. }) in devices.iter_mut().enumerate() {
            let request = phone.register(600);
            let one = single.give(0, *home, request.as_bytes()).expect("a challenge");
            let other = batched.give(0, *home, request.as_bytes()).expect("a challenge");
            prop_assert_eq!(&one.bytes, &other.bytes);
            let challenged = Response::parse(&one.bytes);
            // Where there are two, every other device takes the one for MD5.
            let challenges: Vec<_> = challenged.all("www-authenticate").collect();
            let taken = challenges.iter().cycle().nth(number % 2);
            phone.challenge = taken.map(|value| Challenge::parse(value));
        }
        for round in rounds {
            let sent: Vec<_> = round
                .iter()
                .map(|&(device, ask)| (devices[device].home, devices[device].write(ask)))
                .collect();
            let one = give(&mut single, 0, &sent, false, 1);
            let all = give(&mut batched, 0, &sent, false, sent.len());
            prop_assert_eq!(&one, &all);
            for owner in 1..usize::from(shards) {
                let sent = handed_over(&all, &sent, owner);
                let one = give(&mut single, owner, &sent, true, 1);
                let all = give(&mut batched, owner, &sent, true, sent.len().max(1));
                prop_assert_eq!(&one, &all);
                prop_assert!(!all.handled.iter().any(|(h, _)| matches!(h, Handled::Handoff(_))));
            }
            for (one, other) in single.shards.iter().zip(&batched.shards) {
                prop_assert_eq!(one.counters(), other.counters());
            }
            for user in 1..=ACCOUNTS {
                let user = format!("u{user}");
                prop_assert_eq!(single.bound(&user), batched.bound(&user));
            }
            single.pass(std::time::Duration::from_secs(7));
            batched.pass(std::time::Duration::from_secs(7));
        }
    }
}

/// A request counts once, wherever it was received, and answers do not depend on where.
#[test]
fn a_fault_behind_credentials_is_answered_alike_by_every_shard() {
    let options = Options { shards: 3, ..Options::default() };
    for fault in [
        ("Call-ID: ", "X: "),
        ("CSeq: 2 REGISTER", "CSeq: 2 OPTIONS"),
        ("Max-Forwards: 70", "Max-Forwards: x"),
        ("REGISTER sip:example.com", "REGISTER tel:5"),
        ("User-Agent: ", "Require: tea\r\nUser-Agent: "),
        ("username=", "username=u1, username="),
        ("username=\"u3\"", "username=\"u4\""),
        ("realm=\"example.com\"", "realm=\"example.net\""),
        ("Contact: <", "Contact: <<"),
    ] {
        let answers = [0, 1, 2].map(|at| {
            let mut cluster = Cluster::new(&options);
            let home: SocketAddr = "192.0.2.9:5060".parse().unwrap();
            let mut phone = Phone::new(3, "d", "192.0.2.9:5060");
            let request = phone.register(600);
            let challenged = cluster.ask(0, home, &request).expect("a challenge");
            assert!(phone.take_challenge(&challenged));
            let request = phone.register(600);
            assert!(request.contains(fault.0), "{fault:?}");
            let answer = cluster.ask(at, home, &request.replacen(fault.0, fault.1, 1));
            let answer = answer.unwrap_or_else(|| panic!("{fault:?} is answered"));
            assert!(answer.status >= 400, "{fault:?}");
            let counted: u64 = cluster.shards.iter().map(|shard| shard.counters().requests).sum();
            (answer.status, answer.reason, answer.headers.len(), counted)
        });
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{fault:?}: {answers:?}");
    }
}
