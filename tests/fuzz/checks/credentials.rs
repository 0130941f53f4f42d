//! Credentials that were made without the password are never right, whatever they say.

use aorta::auth::account::Ha1s;
use aorta::auth::accounts::{Accounts, AorKey};
use aorta::auth::check::{Check, Verdict, authenticate};
use aorta::auth::ha2::Ha2Cache;
use aorta::auth::nonce::{NonceKey, NonceKeys, NonceSequence};
use aorta::config::Algorithms;
use aorta::sip::header::authorization::Credentials;
use aorta::time::UnixTime;

use crate::common::hash;

const AOR: &[u8] = b"u1@example.com";
const REALM: &[u8] = b"example.com";
const NOW: UnixTime = UnixTime(1_800_000_000);
const LIFETIME_S: u32 = 3600;

/// The fuzz target: the value of an Authorization header.
pub fn check(bytes: &[u8]) {
    let Ok(credentials) = Credentials::parse(bytes) else { return };
    // The password follows from all the bytes, so that a fuzzer that watches the comparison
    // learns nothing: to use what it saw, it has to change the bytes.
    let password = hash("SHA-256", &format!("not to be guessed {}", bytes.escape_ascii()));
    let ha1s = Ha1s::from_password("u1@example.com", &password, true);
    let mut accounts = Accounts::new();
    let account = accounts.insert(AorKey(1), AOR, &ha1s).expect("the first account");
    let keys = NonceKeys::from(NonceKey::new(&[7; 16]));
    let source = "192.0.2.7".parse().expect("an address");
    // Any nonce is taken for one of ours, fresh and given to this source.
    let ours = keys.mint(NonceSequence::default().next(NOW, 0), source, REALM);
    let judged = keys.judge(ours.as_bytes(), NOW, source, REALM, LIFETIME_S);
    for offered in [Algorithms::MD5, Algorithms::BOTH] {
        let check = Check {
            credentials: &credentials,
            method: b"REGISTER",
            aor: AOR,
            realm: REALM,
            offered,
            nonce: judged,
            nonce_lifetime_s: LIFETIME_S,
            bindings_max: 1,
            now: NOW,
        };
        for known in [Some(account), None] {
            let verdict = authenticate(&check, &mut accounts, known, &mut Ha2Cache::new());
            let right = matches!(verdict, Verdict::Accepted | Verdict::Replayed | Verdict::Stale);
            assert!(!right, "{verdict:?} for {}", bytes.escape_ascii());
        }
    }
    assert!(accounts[account].counts().is_empty(), "a nonce count moved");
}
