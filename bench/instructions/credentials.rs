//! Who it is: minting and judging a nonce, the digest, and the whole verdict about a REGISTER.

use std::hint::black_box;

use aorta::auth::digest::{HexDigest, QopAuth, ha1, ha2, response};
use aorta::auth::{
    Accounts, AorKey, Check, Ha1s, Ha2Cache, HashName, Judged, NonceSequence, NonceText, Verdict,
    authenticate,
};
use aorta::config::Algorithms;
use aorta::sip::header::authorization::{Algorithm, Credentials, Qop};
use aorta::time::UnixTime;

use super::phones::{Phones, REALM};
use super::set_up::keys;
use super::{Primitive, Round};

pub const PRIMITIVES: &[Primitive] = &[
    Primitive { name: "mint-nonce", rounds: 500, operations: 1, prepare: mint_nonce },
    Primitive { name: "judge-nonce", rounds: 500, operations: 1, prepare: judge_nonce },
    Primitive { name: "check-digest", rounds: 200, operations: 1, prepare: check_digest },
    Primitive { name: "authenticate", rounds: 200, operations: 1, prepare: whole_verdict },
];

const NOW: UnixTime = UnixTime(1_790_000_000);
const URI: &[u8] = b"sip:example.com";
const CNONCE: &[u8] = b"0a4f113b0a4f113b";
const LIFETIME_S: u32 = 3600;

fn nonce() -> NonceText {
    let place = NonceSequence::default().next(NOW, 0);
    keys().nonce.mint(place, Phones::source().ip(), REALM)
}

fn mint_nonce(_: u32) -> Round {
    let (keys, mut sequence) = (keys().nonce, NonceSequence::default());
    Box::new(move || {
        let place = sequence.next(black_box(NOW), 0);
        black_box(keys.mint(place, Phones::source().ip(), black_box(REALM)));
    })
}

fn judge_nonce(_: u32) -> Round {
    let (keys, nonce) = (keys().nonce, nonce());
    Box::new(move || {
        let text = black_box(nonce.as_bytes());
        let judged = keys.judge(text, NOW, Phones::source().ip(), REALM, LIFETIME_S);
        assert!(matches!(judged, Judged::Fresh { .. }));
    })
}

/// MD5 with a stored HA1 and an HA2 that is remembered.
fn check_digest(_: u32) -> Round {
    let (nonce, mut ha2s) = (nonce(), Ha2Cache::new());
    let secret = ha1(HashName::Md5, b"alice", REALM, b"secret");
    let qop = Some(QopAuth { nc: b"00000001", cnonce: CNONCE });
    let a2 = ha2(HashName::Md5, b"REGISTER", URI);
    let right = response(&secret, nonce.as_bytes(), qop, &a2).hex();
    Box::new(move || {
        let a2 = ha2s.ha2(HashName::Md5, b"REGISTER", black_box(URI));
        let expected = response(&secret, black_box(nonce.as_bytes()), qop, &a2);
        assert!(expected.matches_hex(right.as_bytes()));
    })
}

/// One count of a nonce, which is good once.
struct Counted {
    nc: u32,
    nc_text: String,
    right: HexDigest,
}

/// Nonce judged, digest checked, count moved.
fn whole_verdict(rounds: u32) -> Round {
    let (keys, nonce, mut ha2s) = (keys().nonce, nonce(), Ha2Cache::new());
    let mut accounts = Accounts::new();
    let ha1s = Ha1s::from_password("alice@example.com", "secret", false);
    let alice = accounts.insert(AorKey(1), b"alice@example.com", &ha1s).expect("room");
    let secret = ha1(HashName::Md5, b"alice", REALM, b"secret");
    let a2 = ha2(HashName::Md5, b"REGISTER", URI);
    let counted: Vec<Counted> = (1..=rounds)
        .map(|nc| {
            let nc_text = format!("{nc:08x}");
            let qop = Some(QopAuth { nc: nc_text.as_bytes(), cnonce: CNONCE });
            let right = response(&secret, nonce.as_bytes(), qop, &a2).hex();
            Counted { nc, nc_text, right }
        })
        .collect();
    let mut next = 0;
    Box::new(move || {
        let Counted { nc, nc_text, right } = &counted[next];
        next += 1;
        let credentials = Credentials {
            username: b"alice",
            realm: REALM,
            nonce: nonce.as_bytes(),
            uri: URI,
            response: right.as_bytes(),
            algorithm: Algorithm::Md5,
            qop: Some(Qop::Auth),
            nc: Some((nc_text.as_bytes(), *nc)),
            cnonce: Some(CNONCE),
        };
        let source = Phones::source().ip();
        let check = Check {
            credentials: black_box(&credentials),
            method: b"REGISTER",
            aor: b"alice@example.com",
            realm: REALM,
            offered: Algorithms::MD5,
            nonce: keys.judge(nonce.as_bytes(), NOW, source, REALM, LIFETIME_S),
            nonce_lifetime_s: LIFETIME_S,
            bindings_max: 1,
            now: NOW,
        };
        let verdict = authenticate(&check, &mut accounts, Some(alice), &mut ha2s);
        assert_eq!(verdict, Verdict::Accepted);
    })
}
