//! RFC 7616 and RFC 8760 over the whole shard: what is challenged, which answers are accepted, when
//! a challenge says stale, and that nothing tells an account that exists from one that does not.

mod common;
#[path = "common/desk.rs"]
mod desk;

use std::net::SocketAddr;

use aorta::config::{Algorithms, Auth, Suspension};
use aorta::shard::refused::RefuseReason;
use common::cluster::Options;
use common::{Challenge, Phone, Response};
use desk::{Desk, each_way, listed, source};

const NONCE_LIFETIME_S: u32 = 3600;

fn challenges(response: &Response) -> Vec<Challenge> {
    assert_eq!((response.status, response.reason.as_str()), (401, "Unauthorized"));
    response.all("www-authenticate").map(Challenge::parse).collect()
}

fn assert_challenged(response: &Response, stale: bool) {
    for challenge in challenges(response) {
        assert_eq!(challenge.stale, stale, "{challenge:?}");
    }
}

/// Where a phone got its nonce from.
#[derive(Clone, Copy, Debug, PartialEq)]
enum NonceOf {
    /// This registrar, now, for this very source.
    Fresh,
    /// The same, past its lifetime.
    Old,
    /// This registrar, for somebody else.
    AnotherSource,
    /// A registrar with another key.
    AnotherKey,
    /// Nobody.
    MadeUp,
}

const NONCES: [NonceOf; 5] =
    [NonceOf::Fresh, NonceOf::Old, NonceOf::AnotherSource, NonceOf::AnotherKey, NonceOf::MadeUp];

impl NonceOf {
    /// Gives the phone a challenge with such a nonce.
    fn give(self, desk: &mut Desk, phone: &mut Phone) {
        let mut stranger = Phone::new(9, "stranger", "stranger.test:5070");
        let ask = stranger.register(60);
        let response = match self {
            NonceOf::Fresh | NonceOf::Old | NonceOf::MadeUp => desk.ask(&ask),
            NonceOf::AnotherSource => desk.ask_from("203.0.113.9:40000".parse().unwrap(), &ask),
            NonceOf::AnotherKey => {
                let options = Options { seed: 99, ..Options::default() };
                let mut elsewhere = common::cluster::Cluster::new(&options);
                elsewhere.ask(0, source(), &ask).expect("an answer")
            }
        };
        assert!(phone.take_challenge(&response));
        match self {
            NonceOf::Old => desk.pass(u64::from(NONCE_LIFETIME_S) + 1),
            NonceOf::MadeUp => {
                phone.challenge.as_mut().unwrap().nonce = "dcd98b7102dd2f0e8b11".into();
            }
            _ => {}
        }
    }
}

#[test]
fn s3_3_a_challenge_has_realm_nonce_algorithm_and_qop_and_no_stale() {
    each_way(&Options::default(), |desk| {
        let mut phone = Phone::new(3, "a", "a.test:5070");
        let response = desk.ask(&phone.register(60));
        let value = response.header("www-authenticate").unwrap();
        let challenge = Challenge::parse(value);
        assert_eq!(
            (challenge.realm.as_str(), challenge.algorithm.as_str()),
            ("example.com", "MD5")
        );
        assert!(!value.contains("stale"), "{value}");
        assert_eq!(response.all("www-authenticate").count(), 1);
        // Every 401 has a nonce of its own.
        let again = challenges(&desk.ask(&phone.register(60)));
        assert_ne!(again[0].nonce, challenge.nonce);
    });
}

#[test]
fn rfc8760_s2_4_the_strongest_algorithm_is_topmost_and_a_phone_may_pick_either() {
    each_way(&Options { algorithms: Algorithms::BOTH, ..Options::default() }, |desk| {
        for pick in 0..2 {
            let mut phone = Phone::new(3, ["a", "b"][pick], "a.test:5070");
            let offered = challenges(&desk.ask(&phone.register(60)));
            let names: Vec<&str> = offered.iter().map(|each| each.algorithm.as_str()).collect();
            assert_eq!(names, ["SHA-256", "MD5"]);
            phone.challenge = Some(offered[pick].clone());
            assert_eq!(desk.ask(&phone.register(60)).status, 200, "{}", names[pick]);
            assert_eq!(desk.ask(&phone.register(60)).status, 200, "{}", names[pick]);
        }
        // An answer is right for its own algorithm alone.
        let mut phone = Phone::new(3, "c", "a.test:5070");
        let offered = challenges(&desk.ask(&phone.register(60)));
        phone.challenge = Some(offered[0].clone());
        let crossed = phone.register(60).replace("algorithm=SHA-256", "algorithm=MD5");
        assert_eq!(desk.ask(&crossed).status, 400, "64 digits are no MD5");
    });
}

#[test]
fn rfc8760_s2_4_an_algorithm_that_was_not_offered_is_challenged_anew_and_is_no_failure() {
    each_way(&Options { algorithms: Algorithms::SHA256, ..Options::default() }, |desk| {
        for other in ["MD5", "SHA-512-256", "MD5-sess", "nonsense"] {
            let mut phone = Phone::new(3, "a", "a.test:5070");
            let offered = challenges(&desk.ask(&phone.register(60)));
            assert_eq!(offered.len(), 1);
            phone.challenge = Some(Challenge { algorithm: "MD5".into(), ..offered[0].clone() });
            let answer = phone.register(60).replace("algorithm=MD5", &format!("algorithm={other}"));
            assert_challenged(&desk.ask(&answer), false);
        }
        assert_eq!((desk.counters().bad_password, desk.counters().foreign_nonce), (0, 0));
    });
}

#[test]
fn s3_3_stale_where_the_digest_was_right_or_the_nonce_is_foreign_and_nothing_was_looked_at() {
    each_way(&Options::default(), |desk| {
        for nonce in NONCES {
            for right in [true, false] {
                for known in [true, false] {
                    let mut phone = Phone::new(3, "a", "a.test:5070");
                    if !known {
                        phone.user = "u99".into();
                        phone.password = "p99".into();
                    }
                    if !right {
                        phone.password = "guess".into();
                    }
                    nonce.give(desk, &mut phone);
                    let before = desk.counters();
                    let response = desk.ask(&phone.register(60));
                    let after = desk.counters();
                    let case = format!("{nonce:?}, right: {right}, known: {known}");
                    // Only a wrong answer to a nonce given to this very source is a failure.
                    let bound = matches!(nonce, NonceOf::Fresh | NonceOf::Old);
                    let accepted = right && known && nonce == NonceOf::Fresh;
                    if accepted {
                        assert_eq!(response.status, 200, "{case}");
                    } else {
                        assert_eq!(response.status, 401, "{case}");
                        // Of what is foreign, nobody learns which passwords are right.
                        assert_challenged(&response, !bound || right && known);
                    }
                    let moved = [
                        after.authenticated - before.authenticated,
                        after.stale - before.stale,
                        after.bad_password - before.bad_password,
                        after.foreign_nonce - before.foreign_nonce,
                        after.unknown_account - before.unknown_account,
                    ];
                    let expected = [
                        accepted,
                        !bound || right && known && !accepted,
                        !right && known && bound,
                        !bound,
                        !known && bound,
                    ];
                    assert_eq!(moved, expected.map(u64::from), "{case}");
                    assert_eq!(desk.bound(3).len(), usize::from(accepted), "{case}");
                    desk.pass(61);
                }
            }
        }
    });
}

#[test]
fn s3_3_a_nonce_is_fresh_to_the_last_second_of_its_lifetime() {
    let auth = Auth { nonce_lifetime_s: 30, ..Auth::default() };
    each_way(&Options { auth, ..Options::default() }, |desk| {
        let mut phone = desk.phone(3, "a");
        desk.pass(30);
        assert_eq!(desk.ask(&phone.register(60)).status, 200);
        desk.pass(1);
        let response = desk.ask(&phone.register(60));
        assert_challenged(&response, true);
        assert!(phone.take_challenge(&response));
        assert_eq!(desk.ask(&phone.register(60)).status, 200);
    });
}

#[test]
fn s3_4_a_nonce_count_that_was_used_by_another_request_is_stale_and_changes_nothing() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        for expires in [300, 0] {
            phone.nc = 0;
            assert_challenged(&desk.ask(&phone.register(expires)), true);
            assert_eq!(desk.bound(3), listed(&phone, 600));
        }
        assert_eq!(desk.counters().stale, 2);
        // Of credentials overheard somebody can make nothing, but the phone goes on.
        phone.nc = 1;
        assert_eq!(desk.ask(&phone.register(300)).status, 200);
    });
}

#[test]
fn s3_4_nonce_counts_out_of_order_are_accepted_once_each() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        for (nc, accepted) in [(4, true), (2, true), (3, true), (2, false), (4, false), (90, true)]
        {
            phone.nc = nc - 1;
            let response = desk.ask(&phone.register(600));
            assert_eq!(response.status, if accepted { 200 } else { 401 }, "{nc}");
        }
    });
}

#[test]
fn s3_4_a_wrong_answer_does_not_use_up_a_nonce_count() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.phone(3, "a");
        let mut attacker = phone.clone();
        attacker.password = "guess".into();
        attacker.call_id = "attack".into();
        attacker.nc = u32::MAX - 1;
        assert_challenged(&desk.ask(&attacker.register(60)), false);
        attacker.nc = 0;
        assert_challenged(&desk.ask(&attacker.register(60)), false);
        assert_eq!(desk.ask(&phone.register(60)).status, 200);
    });
}

#[test]
fn s3_4_the_username_may_be_the_user_or_the_whole_address_of_record() {
    each_way(&Options { algorithms: Algorithms::BOTH, ..Options::default() }, |desk| {
        for pick in 0..2 {
            let mut phone = Phone::new(3, ["a", "b"][pick], "a.test:5070");
            let offered = challenges(&desk.ask(&phone.register(60)));
            let mut name = phone.clone();
            name.user = "u3@example.com".into();
            let credentials = name.credentials(&offered[pick], 1);
            let contact = format!("<{}>", phone.contact);
            let request = phone.request(&[("Contact", &contact), ("Authorization", &credentials)]);
            assert_eq!(desk.ask(&request).status, 200, "{credentials}");
        }
    });
}

#[test]
fn rfc3261_s10_3_step_4_the_username_of_somebody_else_is_forbidden() {
    each_way(&Options::default(), |desk| {
        let victim = desk.registered(3, "a", 600);
        let mut thief = desk.phone(4, "b");
        // Right password, right digest, somebody else's address-of-record.
        let request = thief.register(60).replace("To: <sip:u4@", "To: <sip:u3@");
        let response = desk.ask(&request);
        assert_eq!((response.status, response.reason.as_str()), (403, "Forbidden"));
        assert!(response.header("www-authenticate").is_none());
        assert_eq!(desk.bound(3), listed(&victim, 600));
        assert_eq!(desk.counters().refused(RefuseReason::AccountMismatch), 1);
    });
}

#[test]
fn rfc3261_s22_4_credentials_of_another_realm_are_as_if_they_were_not_there() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.phone(3, "a");
        let good = phone.authorization().unwrap();
        let foreign = good.replace("realm=\"example.com\"", "realm=\"other.test\"");
        phone.challenge = None;
        let contact = ("Contact", "<sip:u3@a.phones.test:5070>");
        assert_challenged(
            &desk.ask(&phone.request(&[contact, ("Authorization", &foreign)])),
            false,
        );
        // Beside those of this realm they do not disturb (22.3).
        let both = [("Authorization", &*foreign), contact, ("Authorization", &*good)];
        assert_eq!(desk.ask(&phone.request(&both)).status, 200);
        let other_scheme = [contact, ("Authorization", "Bearer abcdef")];
        assert_challenged(&desk.ask(&phone.request(&other_scheme)), false);
    });
}

#[test]
fn rfc3261_s21_4_1_credentials_that_cannot_be_checked_get_400_naming_the_header() {
    each_way(&Options::default(), |desk| {
        let cases = [
            ("nc=00000001", "nc=0000000g", "Malformed Authorization"),
            (", nc=00000001", "", "Malformed Authorization"),
            (", cnonce=\"0a4f113b\"", "", "Malformed Authorization"),
            ("qop=auth,", "qop=auth-int,", "Malformed Authorization qop"),
            ("response=\"", "response=\"0", "Malformed Authorization response"),
            ("uri=\"sip:example.com\"", "uri=\"\"", "Malformed Authorization uri"),
        ];
        for (from, to, phrase) in cases {
            let mut phone = desk.phone(3, "a");
            let good = phone.register(60);
            let faulty = good.replace(from, to);
            assert_ne!(faulty, good, "{from}");
            let response = desk.ask(&faulty);
            assert_eq!((response.status, response.reason.as_str()), (400, phrase), "{to}");
        }
        assert_eq!(desk.bound(3), []);
    });
}

/// RFC 2069 phones: no qop, so their nonce is good once.
#[test]
fn rfc2069_an_answer_without_qop_is_accepted_once_with_md5() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.phone(3, "a");
        let challenge = phone.challenge.take().unwrap();
        let ha1 = common::hash("MD5", "u3:example.com:p3");
        let ha2 = common::hash("MD5", "REGISTER:sip:example.com");
        let response = common::hash("MD5", &format!("{ha1}:{}:{ha2}", challenge.nonce));
        let credentials = format!(
            "Digest username=\"u3\", realm=\"example.com\", nonce=\"{}\", \
             uri=\"sip:example.com\", response=\"{response}\"",
            challenge.nonce
        );
        let contact = ("Contact", "<sip:u3@a.phones.test:5070>");
        let headers = [contact, ("Authorization", &*credentials)];
        assert_eq!(desk.ask(&phone.request(&headers)).status, 200);
        assert_challenged(&desk.ask(&phone.request(&headers)), true);
    });
}

/// The answer without what differs in any two answers: nonce, To tag, and the name asked for.
fn plain(desk: &mut Desk, from: SocketAddr, request: &str, user: &str) -> String {
    let sent = desk.send_from(from, request).expect("an answer");
    let text = String::from_utf8(sent.bytes).expect("text");
    let response = Response::parse(text.as_bytes());
    let mut text = text.replace(&format!("sip:{user}@"), "sip:USER@");
    text = text.replace(response.to_tag().expect("a tag"), "TAG");
    for challenge in response.all("www-authenticate").map(Challenge::parse) {
        let len = challenge.nonce.len();
        assert!(matches!(len, 20 | 24), "alone, or with a session: {len}");
        text = text.replace(&challenge.nonce, &format!("NONCE of {len}"));
    }
    text
}

#[test]
fn an_account_that_does_not_exist_is_answered_like_one_that_does() {
    type Change = fn(&str) -> String;
    let changes: [(&str, Change); 10] = [
        ("as it is", |text| text.to_owned()),
        ("another realm", |text| text.replace("realm=\"example.com\"", "realm=\"x.test\"")),
        ("another user's name", |text| text.replace("username=\"", "username=\"x")),
        ("an algorithm not offered", |text| text.replace("=MD5", "=SHA-512-256")),
        ("malformed credentials", |text| text.replace("nc=", "n c=")),
        ("no nc", |text| text.replace("nc=0", "nd=0")),
        ("qop=auth-int", |text| text.replace("qop=auth", "qop=auth-int")),
        ("a response too short", |text| text.replace("response=\"", "response=\"\", r=\"")),
        ("a malformed contact", |text| text.replace("Contact: <sip:", "Contact: <sip:@")),
        ("a request to remove", |text| text.replace("Expires: 60", "Expires: 0")),
    ];
    // A success in between would set one of the two back.
    let suspension = Suspension { checks_max: 0, registers: false, ..Suspension::default() };
    let auth = Auth { suspension, ..Auth::default() };
    for algorithms in [Algorithms::MD5, Algorithms::BOTH] {
        let options = Options { algorithms, auth: auth.clone(), ..Options::default() };
        each_way(&options, |desk| {
            desk.registered(7, "a", 600);
            for nonce in NONCES.map(Some).into_iter().chain([None]) {
                for (name, change) in changes {
                    // u7 exists and is registered, x7 does not exist.
                    let [known, unknown] = ["u7", "x7"].map(|user| {
                        let mut phone = Phone::new(7, "probe", "probe.test:5070");
                        phone.user = user.into();
                        phone.password = "guess".into();
                        if let Some(nonce) = nonce {
                            nonce.give(desk, &mut phone);
                        }
                        plain(desk, source(), &change(&phone.register(60)), user)
                    });
                    assert_eq!(known, unknown, "{nonce:?}, {name}");
                    let ours = matches!(nonce, None | Some(NonceOf::Fresh | NonceOf::Old));
                    assert!(!ours || !known.contains("stale"), "{known}");
                    assert!(!known.starts_with("SIP/2.0 200 "), "{known}");
                }
            }
        });
    }
}

/// 3GPP TS 24.229 5.1.1.2: the first REGISTER names the user and answers nothing. The headers that
/// come along with it are for the proxies of its network.
#[test]
fn what_an_ims_phone_sends_first_is_challenged_and_no_fault() {
    each_way(&Options::default(), |desk| {
        let mut phone = Phone::new(3, "ims", "ims.phones.test:5070");
        let first = |algorithm: &str| {
            format!(
                "Digest username=\"u3@example.com\", realm=\"example.com\", nonce=\"\", \
                 uri=\"sip:example.com\", response=\"\"{algorithm}, integrity-protected=\"no\""
            )
        };
        for algorithm in ["", ", algorithm=MD5", ", algorithm=AKAv1-MD5"] {
            let request = phone.request(&[
                ("Contact", "<sip:u3@ims.phones.test:5070>"),
                ("P-Access-Network-Info", "3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=2080100010001"),
                ("Security-Client", "ipsec-3gpp; alg=hmac-md5-96; spi-c=1; spi-s=2"),
                ("Authorization", &first(algorithm)),
            ]);
            assert_challenged(&desk.ask(&request), false);
        }
        let counters = desk.counters();
        assert_eq!((counters.challenged, counters.bad_password), (3, 0));
        assert_eq!(counters.refused.iter().sum::<u64>(), 0);
        let challenged = desk.ask(&phone.register(600));
        assert!(phone.take_challenge(&challenged));
        assert_eq!(desk.ask(&phone.register(600)).status, 200);
    });
}

/// RFC 3261 22.3: a request may answer several challenges; each realm finds its own.
#[test]
fn rfc3261_s22_3_of_several_authorization_headers_the_realms_own_counts() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.phone(3, "a");
        let challenge = phone.challenge.take().unwrap();
        let own = phone.credentials(&challenge, 1);
        let other = own.replacen("realm=\"example.com\"", "realm=\"proxy.test\"", 1);
        let unknown = own.replacen("algorithm=MD5", "algorithm=SHA-512-256", 1);
        let contact = format!("<{}>", phone.contact);
        let request = phone.request(&[
            ("Contact", &contact),
            ("Authorization", "Basic dTM6cDM="),
            ("Authorization", &other),
            ("Authorization", "Digest unreadable"),
            ("Authorization", &unknown),
            ("Authorization", &own),
        ]);
        assert_eq!(desk.ask(&request).status, 200);
    });
}
