//! Each verdict, and that nothing tells who exists.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::auth::account::Ha1s;
use crate::auth::accounts::AorKey;
use crate::auth::challenge::write_value;
use crate::auth::digest::{QopAuth, ha1, ha2, response};
use crate::auth::nonce::{NonceKey, NonceKeys, NonceSequence};
use crate::sip::header::authorization::{Algorithm, Qop};
use crate::sip::writer::Writer;

const NOW: UnixTime = UnixTime(1_790_000_000);
const LIFETIME: u32 = 3600;
const REALM: &[u8] = b"example.com";
const AOR: &[u8] = b"alice@example.com";
const URI: &[u8] = b"sip:example.com";

/// A phone's answer, owned; it computes its response itself.
struct Phone {
    username: &'static str,
    password: &'static str,
    algorithm: Algorithm,
    qop: Option<Qop>,
    nc: String,
    uri: Vec<u8>,
}

impl Phone {
    fn new(password: &'static str) -> Phone {
        Phone {
            username: "alice",
            password,
            algorithm: Algorithm::Md5,
            qop: Some(Qop::Auth),
            nc: "00000001".to_owned(),
            uri: URI.to_vec(),
        }
    }

    fn with_nc(nc: u32) -> Phone {
        Phone { nc: format!("{nc:08x}"), ..Phone::new("secret") }
    }

    fn response(&self, method: &[u8], nonce: &[u8]) -> String {
        let name = HashName::of(self.algorithm).unwrap_or(HashName::Md5);
        let ha1 = ha1(name, self.username.as_bytes(), REALM, self.password.as_bytes());
        let qop = self.qop.map(|_| QopAuth { nc: self.nc.as_bytes(), cnonce: b"c0ffee" });
        let right = response(&ha1, nonce, qop, &ha2(name, method, &self.uri));
        String::from_utf8(right.hex().as_bytes().to_vec()).unwrap()
    }

    fn credentials<'a>(&'a self, nonce: &'a [u8], response: &'a str) -> Credentials<'a> {
        Credentials {
            username: self.username.as_bytes(),
            realm: REALM,
            nonce,
            uri: &self.uri,
            response: response.as_bytes(),
            algorithm: self.algorithm,
            qop: self.qop,
            nc: self.qop.map(|_| (self.nc.as_bytes(), u32::from_str_radix(&self.nc, 16).unwrap())),
            cnonce: self.qop.map(|_| &b"c0ffee"[..]),
        }
    }
}

struct Shard {
    keys: NonceKeys,
    sequence: NonceSequence,
    accounts: Accounts,
    alice: AccountId,
    ha2s: Ha2Cache,
    now: UnixTime,
    offered: Algorithms,
}

fn source() -> IpAddr {
    "192.0.2.7".parse().unwrap()
}

impl Shard {
    fn new() -> Shard {
        let mut accounts = Accounts::new();
        let ha1s = Ha1s::from_password("alice@example.com", "secret", true);
        let alice = accounts.insert(AorKey(1), AOR, &ha1s).unwrap();
        Shard {
            keys: NonceKey::new(b"0123456789abcdef").into(),
            sequence: NonceSequence::default(),
            accounts,
            alice,
            ha2s: Ha2Cache::new(),
            now: NOW,
            offered: Algorithms::BOTH,
        }
    }

    fn nonce(&mut self) -> Vec<u8> {
        let place = self.sequence.next(self.now, 0);
        self.keys.mint(place, source(), REALM).as_bytes().to_vec()
    }

    fn check(&mut self, credentials: &Credentials<'_>, account: Option<AccountId>) -> Verdict {
        let judged = self.keys.judge(credentials.nonce, self.now, source(), REALM, LIFETIME);
        let check = Check {
            credentials,
            method: b"REGISTER",
            aor: AOR,
            realm: REALM,
            offered: self.offered,
            nonce: judged,
            nonce_lifetime_s: LIFETIME,
            bindings_max: 1,
            now: self.now,
        };
        authenticate(&check, &mut self.accounts, account, &mut self.ha2s)
    }

    fn answer(&mut self, phone: &Phone, nonce: &[u8]) -> Verdict {
        let response = phone.response(b"REGISTER", nonce);
        self.check(&phone.credentials(nonce, &response), Some(self.alice))
    }

    fn used(&self) -> usize {
        self.accounts[self.alice].counts().len()
    }
}

/// Nonce fresh, old, another source's or another key's; password right or wrong; account
/// known or not.
#[test]
fn verdict_for_every_phase_of_nonce_digest_and_account() {
    use Verdict::{Accepted, Stale, UnknownAccount, Wrong};

    let table = [
        // nonce, password, known account, unknown account
        ("fresh", "secret", Accepted, UnknownAccount),
        ("fresh", "guess", Wrong, UnknownAccount),
        ("old", "secret", Stale, UnknownAccount),
        ("old", "guess", Wrong, UnknownAccount),
        // What is foreign tells nobody about passwords.
        ("other source", "secret", Stale, Stale),
        ("other source", "guess", Stale, Stale),
        ("other key", "secret", Stale, Stale),
        ("other key", "guess", Stale, Stale),
        ("made up", "secret", Stale, Stale),
        ("made up", "guess", Stale, Stale),
    ];
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        for (kind, password, known, unknown) in table {
            let mut shard = Shard::new();
            let place = shard.sequence.next(NOW, 0);
            let nonce = match kind {
                "fresh" | "old" => shard.keys.mint(place, source(), REALM).as_bytes().to_vec(),
                "other source" => {
                    shard.keys.mint(place, "192.0.2.8".parse().unwrap(), REALM).as_bytes().to_vec()
                }
                "other key" => NonceKeys::from(NonceKey::new(&[7; 16]))
                    .mint(place, source(), REALM)
                    .as_bytes()
                    .to_vec(),
                _ => b"dcd98b7102dd2f0e8b11d0f600bfb0c093".to_vec(),
            };
            if kind == "old" {
                shard.now = UnixTime(NOW.0 + u64::from(LIFETIME) + 1);
            }
            let phone = Phone { algorithm, ..Phone::new(password) };
            let response = phone.response(b"REGISTER", &nonce);
            let credentials = phone.credentials(&nonce, &response);
            assert_eq!(shard.check(&credentials, None), unknown, "{kind} {password}");
            let verdict = shard.check(&credentials, Some(shard.alice));
            assert_eq!(verdict, known, "{kind} {password}");
            let moved = usize::from(verdict == Accepted);
            assert_eq!(shard.used(), moved, "counts after {kind} {password}");
        }
    }
}

#[test]
fn nonce_count_moves_only_after_the_digest_was_right() {
    let mut shard = Shard::new();
    let nonce = shard.nonce();
    let guess = Phone { password: "guess", ..Phone::with_nc(u32::MAX) };
    assert_eq!(shard.answer(&guess, &nonce), Verdict::Wrong);
    assert_eq!(shard.answer(&Phone::with_nc(1), &nonce), Verdict::Accepted);
    assert_eq!(shard.answer(&Phone::with_nc(2), &nonce), Verdict::Accepted);
}

#[test]
fn retransmission_is_replayed_and_reordered_counts_are_accepted() {
    let mut shard = Shard::new();
    let nonce = shard.nonce();
    for (nc, verdict) in [
        (1, Verdict::Accepted),
        (1, Verdict::Replayed),
        (3, Verdict::Accepted),
        (2, Verdict::Accepted),
        (2, Verdict::Replayed),
    ] {
        assert_eq!(shard.answer(&Phone::with_nc(nc), &nonce), verdict, "{nc}");
    }
    assert!(Verdict::Replayed.is_stale() && Verdict::Stale.is_stale());
    assert!(!Verdict::Accepted.is_stale());
    assert!(!Verdict::Wrong.is_stale());
}

#[test]
fn several_devices_of_one_account_do_not_disturb_each_other() {
    let mut shard = Shard::new();
    let nonces: Vec<_> = (0..4).map(|_| shard.nonce()).collect();
    for nc in 1..20 {
        for nonce in &nonces {
            assert_eq!(shard.answer(&Phone::with_nc(nc), nonce), Verdict::Accepted);
        }
    }
}

#[test]
fn challenge_and_answer_agree_over_the_wire() {
    let mut shard = Shard::new();
    let place = shard.sequence.next(NOW, 0);
    let minted = shard.keys.mint(place, source(), REALM);
    let mut buffer = [0; 512];
    let mut out = Writer::new(&mut buffer);
    write_value(&mut out, HashName::Sha256, REALM, &minted, false).unwrap();
    let challenge = std::str::from_utf8(out.written()).unwrap();
    let nonce = challenge.split("nonce=\"").nth(1).unwrap().split('"').next().unwrap();
    let phone = Phone { algorithm: Algorithm::Sha256, ..Phone::new("secret") };
    let response = phone.response(b"REGISTER", nonce.as_bytes());
    let header = format!(
        "Digest username=\"alice\", realm=\"example.com\", nonce=\"{nonce}\", \
         uri=\"sip:example.com\", response=\"{response}\", algorithm=SHA-256, qop=auth, \
         nc=00000001, cnonce=\"c0ffee\""
    );
    let credentials = Credentials::parse(header.as_bytes()).unwrap();
    assert_eq!(shard.check(&credentials, Some(shard.alice)), Verdict::Accepted);
}

/// However many a second: the order within the second counts.
#[test]
fn phone_that_wants_a_new_challenge_each_time_always_gets_in() {
    let mut shard = Shard::new();
    let first = shard.nonce();
    assert_eq!(shard.answer(&Phone::with_nc(1), &first), Verdict::Accepted);
    for _ in 0..100 {
        let nonce = shard.nonce();
        assert_eq!(shard.answer(&Phone::with_nc(1), &nonce), Verdict::Accepted);
    }
    assert_eq!(shard.answer(&Phone::with_nc(1), &first), Verdict::Stale);
    assert_eq!(shard.answer(&Phone::with_nc(2), &first), Verdict::Stale);
}

#[test]
fn rfc2069_credentials_use_up_their_nonce() {
    let mut shard = Shard::new();
    let nonce = shard.nonce();
    let phone = Phone { qop: None, ..Phone::new("secret") };
    assert_eq!(shard.answer(&phone, &nonce), Verdict::Accepted);
    assert_eq!(shard.answer(&phone, &nonce), Verdict::Replayed);
    let phone = Phone { algorithm: Algorithm::Sha256, ..phone };
    assert_eq!(shard.answer(&phone, &nonce), Verdict::Malformed(Malformed::Qop));
}

#[test]
fn both_forms_of_username_are_checked_and_anybody_elses_is_a_mismatch() {
    let mut shard = Shard::new();
    let nonce = shard.nonce();
    let whole = Phone { username: "alice@example.com", ..Phone::with_nc(1) };
    assert_eq!(shard.answer(&whole, &nonce), Verdict::Accepted);
    for username in ["bob", "Alice", "alice@example.net"] {
        let other = Phone { username, ..Phone::with_nc(2) };
        assert_eq!(shard.answer(&other, &nonce), Verdict::AccountMismatch);
        let response = other.response(b"REGISTER", &nonce);
        let verdict = shard.check(&other.credentials(&nonce, &response), None);
        assert_eq!(verdict, Verdict::AccountMismatch);
    }
}

#[test]
fn algorithm_that_was_not_offered_is_no_failure() {
    let mut shard = Shard::new();
    let nonce = shard.nonce();
    shard.offered = Algorithms::MD5;
    let phone = Phone { algorithm: Algorithm::Sha256, ..Phone::new("secret") };
    assert_eq!(shard.answer(&phone, &nonce), Verdict::AlgorithmNotOffered);
    shard.offered = Algorithms::SHA256;
    assert_eq!(shard.answer(&Phone::new("secret"), &nonce), Verdict::AlgorithmNotOffered);
    let phone = Phone { algorithm: Algorithm::Other, ..Phone::new("secret") };
    assert_eq!(shard.answer(&phone, &nonce), Verdict::AlgorithmNotOffered);
}

#[test]
fn account_without_a_secret_for_the_algorithm_looks_like_a_wrong_password() {
    let mut shard = Shard::new();
    let nonce = shard.nonce();
    let empty = shard.accounts.insert(AorKey(2), b"b@example.com", &Ha1s::default()).unwrap();
    for (algorithm, secret) in
        [(Algorithm::Md5, &[0x5a; 32][..16]), (Algorithm::Sha256, &[0x5a; 32])]
    {
        let name = HashName::of(algorithm).unwrap();
        let stand_in = match name {
            HashName::Md5 => Digest::md5(secret.try_into().unwrap()),
            HashName::Sha256 => Digest::sha256(secret.try_into().unwrap()),
        };
        let phone = Phone { algorithm, ..Phone::new("") };
        let qop = QopAuth { nc: phone.nc.as_bytes(), cnonce: b"c0ffee" };
        let right = response(&stand_in, &nonce, Some(qop), &ha2(name, b"REGISTER", URI));
        let text = String::from_utf8(right.hex().as_bytes().to_vec()).unwrap();
        let credentials = phone.credentials(&nonce, &text);
        let wrong = Verdict::Wrong;
        assert_eq!(shard.check(&credentials, Some(empty)), wrong);
        let unknown = Verdict::UnknownAccount;
        assert_eq!(shard.check(&credentials, None), unknown);
    }
}

#[test]
fn credentials_are_bound_to_their_method_and_digest_uri() {
    let mut shard = Shard::new();
    let nonce = shard.nonce();
    let phone = Phone::new("secret");
    let response = phone.response(b"INVITE", &nonce);
    let verdict = shard.check(&phone.credentials(&nonce, &response), Some(shard.alice));
    assert_eq!(verdict, Verdict::Wrong);
    let response = phone.response(b"REGISTER", &nonce);
    let moved = Credentials { uri: b"sip:example.org", ..phone.credentials(&nonce, &response) };
    assert_eq!(shard.check(&moved, Some(shard.alice)), Verdict::Wrong);
}

#[test]
fn any_digest_uri_of_a_phone_is_taken() {
    let mut shard = Shard::new();
    for uri in ["sip:example.com", "sip:alice@example.com", "sip:192.0.2.1:5060;lr", "x"] {
        let nonce = shard.nonce();
        let phone = Phone { uri: uri.into(), ..Phone::new("secret") };
        assert_eq!(shard.answer(&phone, &nonce), Verdict::Accepted, "{uri}");
    }
}

#[test]
fn credentials_of_another_realm_are_as_if_not_there() {
    let mut shard = Shard::new();
    let nonce = shard.nonce();
    let phone = Phone::new("secret");
    let response = phone.response(b"REGISTER", &nonce);
    let right = phone.credentials(&nonce, &response);
    let other = Credentials { realm: b"example.net", ..right };
    assert_eq!(shard.check(&other, Some(shard.alice)), Verdict::OtherRealm);
    let escaped = Credentials { realm: br"ex\ample.com", ..right };
    assert_eq!(shard.check(&escaped, Some(shard.alice)), Verdict::Accepted);
}

#[test]
fn malformed_credentials_name_the_parameter() {
    let mut shard = Shard::new();
    let nonce = shard.nonce();
    let phone = Phone::new("secret");
    let response = phone.response(b"REGISTER", &nonce);
    let right = phone.credentials(&nonce, &response);
    let long = [b'x'; 2048];
    let cases = [
        (Credentials { username: b"", ..right }, Malformed::Username),
        (Credentials { nonce: b"", ..right }, Malformed::Nonce),
        (Credentials { nonce: &long, ..right }, Malformed::Nonce),
        (Credentials { uri: b"", ..right }, Malformed::Uri),
        (Credentials { uri: &long, ..right }, Malformed::Uri),
        (Credentials { response: b"", ..right }, Malformed::Response),
        (Credentials { response: &long[..32], ..right }, Malformed::Response),
        (Credentials { response: &right.response[1..], ..right }, Malformed::Response),
        (Credentials { algorithm: Algorithm::Sha256, ..right }, Malformed::Response),
        (Credentials { qop: Some(Qop::Other), ..right }, Malformed::Qop),
        (Credentials { nc: None, ..right }, Malformed::Nc),
        (Credentials { nc: Some((b"00000000", 0)), ..right }, Malformed::Nc),
        (Credentials { cnonce: None, ..right }, Malformed::Cnonce),
        (Credentials { cnonce: Some(&long), ..right }, Malformed::Cnonce),
    ];
    for (credentials, which) in cases {
        let verdict = shard.check(&credentials, Some(shard.alice));
        assert_eq!(verdict, Verdict::Malformed(which));
        assert_eq!(shard.check(&credentials, None), verdict, "tells who exists");
    }
    assert_eq!(shard.check(&right, Some(shard.alice)), Verdict::Accepted);
    assert_eq!(Malformed::Cnonce.parameter(), "cnonce");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever the fields hold: no panic, never in, and nothing tells who exists.
    #[test]
    fn strangers_never_get_in_and_never_learn_who_exists(
        username in prop_oneof![
            Just(b"alice".to_vec()),
            prop::collection::vec(any::<u8>(), 0..20),
        ],
        nonce in prop_oneof![
            Just(None),
            prop::collection::vec(any::<u8>(), 0..300).prop_map(Some),
        ],
        uri in prop::collection::vec(any::<u8>(), 0..200),
        response in prop_oneof!["[0-9a-f]{32}", "[0-9a-fA-F]{64}", ".{0,70}"],
        algorithm in prop::sample::select(
            vec![Algorithm::Md5, Algorithm::Sha256, Algorithm::Other],
        ),
        qop in prop::sample::select(vec![None, Some(Qop::Auth), Some(Qop::Other)]),
        nc in prop::option::of(any::<u32>()),
        cnonce in prop::option::of(prop::collection::vec(any::<u8>(), 0..300)),
    ) {
        let mut shard = Shard::new();
        let ours = shard.nonce();
        let credentials = Credentials {
            username: &username,
            realm: REALM,
            nonce: nonce.as_deref().unwrap_or(&ours),
            uri: &uri,
            response: response.as_bytes(),
            algorithm,
            qop,
            nc: nc.map(|number| (&b"00000001"[..], number)),
            cnonce: cnonce.as_deref(),
        };
        let known = shard.check(&credentials, Some(shard.alice));
        let unknown = shard.check(&credentials, None);
        match known {
            Verdict::Accepted | Verdict::Replayed => prop_assert!(false),
            Verdict::Stale => prop_assert!(unknown == known && nonce.is_some()),
            Verdict::Wrong => {
                prop_assert_eq!(unknown, Verdict::UnknownAccount);
                prop_assert!(nonce.is_none());
            }
            other => prop_assert_eq!(unknown, other),
        }
        prop_assert_eq!(shard.used(), 0);
    }
}
