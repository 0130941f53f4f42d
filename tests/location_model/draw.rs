//! What the model test draws from: names, addresses in several spellings, requests, settings.

use super::{Address, Op, Request};
use aorta::config::{Evict, MinExpiresPolicy, Registrar as Config, Replace};
use proptest::prelude::*;

pub const AORS: u32 = 3;
pub const CALL_IDS: [&str; 3] = ["c1@a", "c2@a", "6fe14d03-0c31-4b1e-9d0c-5a77c0ffee42@b"];
pub const USER_AGENTS: [&str; 3] = ["", "Phone/1", "Phone/2"];
/// The third is the first in another spelling, and so is the last of the one before it.
pub const INSTANCES: [&str; 5] = [
    "<urn:uuid:1a>",
    "<urn:uuid:2>",
    "<URN:UUID:1A>",
    "<urn:uuid:6fe14d03-0c31-4b1e-9d0c-5a77c0ffee42>",
    "<urn:uuid:6FE14D03-0C31-4b1e-9D0C-5A77C0FFEE42>",
];
/// Each row is one address in two spellings, equal by RFC 3261 19.1.4.
pub const ADDRESSES: [[&str; 2]; 5] = [
    ["sip:u@host1.example", "sip:u@HOST1.example"],
    ["sip:u@host2.example:5070", "sip:%75@host2.example:5070"],
    ["sip:u@host3.example;transport=tcp", "sip:u@host3.example;Transport=TCP"],
    ["sip:v@host1.example", "sip:v@Host1.Example"],
    ["sips:u@host1.example", "sips:u@HOST1.EXAMPLE"],
];

// ---- what is tried ------------------------------------------------------------------------

pub fn expires() -> impl Strategy<Value = Option<u32>> {
    prop_oneof![
        3 => Just(None),
        2 => Just(Some(0)),
        6 => prop_oneof![Just(60), Just(90), Just(600), Just(u32::MAX)].prop_map(Some),
        1 => Just(Some(30)),
    ]
}

pub fn address() -> impl Strategy<Value = Address> {
    let instance = prop_oneof![2 => Just(None), 3 => (0..INSTANCES.len()).prop_map(Some)];
    let reg_id = prop_oneof![3 => Just(None), 2 => (1..7u32).prop_map(Some)];
    let q = proptest::option::of(0..=1000u16);
    (0..ADDRESSES.len(), 0..2usize, expires(), instance, reg_id, q).prop_map(
        |(number, spelling, expires, instance, reg_id, q)| Address {
            number,
            spelling,
            expires,
            instance,
            reg_id,
            q,
        },
    )
}

pub fn request() -> impl Strategy<Value = Request> {
    let contacts = prop_oneof![
        1 => Just(Vec::new()),
        12 => proptest::collection::vec(address(), 1),
        5 => proptest::collection::vec(address(), 2..4),
    ];
    let wildcard = proptest::bool::weighted(0.05);
    let bindings_max = prop_oneof![9 => Just(None), 1 => (1..4u8).prop_map(Some)];
    let who = (0..AORS, 0..CALL_IDS.len(), 1..40u32, 0..USER_AGENTS.len());
    let flags = (any::<bool>(), proptest::bool::weighted(0.2), 5060..5062u16);
    let replace = proptest::option::weighted(0.2, replace());
    (who, expires(), wildcard, contacts, (bindings_max, replace), flags).prop_map(
        |(who, expires, wildcard, contacts, (bindings_max, replace), flags)| {
            let (aor, call_id, cseq, user_agent) = who;
            let (outbound, behind_nat, port) = flags;
            let expires = if wildcard && cseq % 8 != 0 { Some(0) } else { expires };
            let fingerprint = 0;
            Request {
                aor,
                call_id,
                cseq,
                user_agent,
                expires,
                wildcard,
                contacts: if wildcard { Vec::new() } else { contacts },
                bindings_max,
                replace,
                outbound,
                behind_nat,
                port,
                fingerprint,
            }
        },
    )
}

pub fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        20 => request().prop_map(Op::Register),
        4 => (0..4usize).prop_map(Op::Again),
        3 => (0..5_000u64).prop_map(|millis| Op::Wait { millis }),
        2 => (0..700_000u64).prop_map(|millis| Op::Wait { millis }),
        3 => prop_oneof![0..3usize, Just(256)].prop_map(|budget| Op::Expire { budget }),
        1 => (0..AORS, proptest::option::of(0..4usize))
            .prop_map(|(aor, nth)| Op::Unregister { aor, nth }),
        3 => (0..AORS, 0..4usize, any::<bool>(), any::<bool>())
            .prop_map(|(aor, nth, reachable, in_call)| Op::Mark { aor, nth, reachable, in_call }),
    ]
}

pub fn replace() -> impl Strategy<Value = Replace> {
    prop_oneof![Just(Replace::Always), Just(Replace::Never), Just(Replace::UnlessInCall)]
}

pub fn config() -> impl Strategy<Value = Config> {
    let limit = prop_oneof![Just(1u8), Just(2), Just(5)];
    let margin = prop_oneof![Just(0u32), Just(5), Just(300)];
    let bools = (any::<bool>(), any::<bool>(), any::<bool>());
    (limit, replace(), bools, margin).prop_map(
        |(bindings_max, replace, (raise, oldest, compact), late_margin_s)| Config {
            compact,
            replace,
            bindings_max,
            evict: if oldest { Evict::Oldest } else { Evict::UnreachableFirst },
            expires_spread_percent: 0,
            retry_after_jitter_percent: 0,
            late_margin_s,
            expires_min_policy: match raise {
                true => MinExpiresPolicy::Raise,
                false => MinExpiresPolicy::Refuse,
            },
            ..Config::default()
        },
    )
}
