//! What an account, a domain or a network is allowed, over the whole shard: policies of accounts,
//! ways to prove who one is, authentication sessions, aliases, the cap behind NAT, flapping.

mod common;
#[path = "common/desk.rs"]
mod desk;

use std::net::SocketAddr;

use aorta::config::{
    AccountAuthentication, AccountPolicy, Auth, ChallengeCode, Flapping, Registrar, Replace,
    StaticContact, UserParameters,
};
use aorta::flow::{ConnectionId, Transport};
use aorta::shard::refused::RefuseReason;
use aorta::shard::{Link, Peer};
use common::cluster::Options;
use common::{Phone, Response};
use desk::{Desk, each_way, registrar};

fn policy(policy: AccountPolicy) -> Options {
    Options { policies: vec![(1, policy)], ..registrar(Registrar::default()) }
}

fn authentication(authentication: AccountAuthentication) -> Options {
    let allow = vec!["198.51.100.0/24".parse().unwrap()];
    policy(AccountPolicy { authentication, allow, ..AccountPolicy::default() })
}

fn inside() -> SocketAddr {
    "198.51.100.9:5060".parse().unwrap()
}

fn outside() -> SocketAddr {
    "203.0.113.9:5060".parse().unwrap()
}

fn phone(number: u32) -> Phone {
    Phone::new(number, "a", "a.phones.test:5070")
}

/// Registers from `source`, with the password if it is asked for.
fn log_in(desk: &mut Desk, phone: &mut Phone, source: SocketAddr) -> Response {
    phone.challenge = None;
    let request = phone.register(600);
    let response = desk.ask_from(source, &request);
    if !phone.take_challenge(&response) {
        return response;
    }
    let request = phone.register(600);
    desk.ask_from(source, &request)
}

#[test]
fn an_account_has_its_own_range_limit_and_replacing() {
    let own = AccountPolicy {
        expires_min_s: Some(30),
        expires_max_s: Some(90),
        bindings_max: Some(2),
        replace: Some(Replace::Never),
        ..AccountPolicy::default()
    };
    each_way(&policy(own), |desk| {
        let mut a = desk.phone(1, "a");
        assert_eq!(desk.ask(&a.register(29)).header("min-expires"), Some("30"));
        assert_eq!(desk.ask(&a.register(600)).contacts()[0].1, 90);
        desk.registered(1, "b", 60);
        let mut c = desk.phone(1, "c");
        assert_eq!(desk.ask(&c.register(60)).status, 503);
        // Others are as the configuration says.
        desk.registered(2, "a", 600);
        desk.registered(2, "b", 600);
        assert_eq!(desk.bound(2).len(), 1);
        assert_eq!(desk.bound(1).len(), 2);
    });
}

#[test]
fn static_contacts_are_listed_and_no_register_touches_them() {
    let fixed = StaticContact { uri: "sip:gw@192.0.2.99".into(), q_milli: None };
    let own = AccountPolicy { static_contacts: vec![fixed], ..AccountPolicy::default() };
    each_way(&policy(own), |desk| {
        let mut phone = desk.phone(1, "a");
        let all = [("sip:gw@192.0.2.99".to_owned(), 3600), (phone.contact.clone(), 600)];
        assert_eq!(desk.ask(&phone.register(600)).contacts(), all);
        let wildcard = phone.request(&[("Contact", "*"), ("Expires", "0")]);
        assert_eq!(desk.ask(&wildcard).contacts(), all[..1]);
        desk.pass(100_000);
        assert_eq!(desk.bound(1).len(), 1);
    });
}

#[test]
fn by_network_no_password_is_asked_inside_and_none_helps_outside() {
    each_way(&authentication(AccountAuthentication::Network), |desk| {
        let mut phone = phone(1);
        let response = log_in(desk, &mut phone, inside());
        assert_eq!((response.status, phone.challenge.is_none()), (200, true));
        assert_eq!(desk.counters().admitted, 1);
        assert_eq!(log_in(desk, &mut phone, outside()).status, 401);
        assert!(phone.challenge.is_some(), "as for an account that does not exist");
    });
}

#[test]
fn by_both_the_password_counts_inside_only() {
    each_way(&authentication(AccountAuthentication::Both), |desk| {
        let mut phone = phone(1);
        let response = log_in(desk, &mut phone, inside());
        assert_eq!((response.status, phone.challenge.is_some()), (200, true));
        assert_eq!(log_in(desk, &mut phone, outside()).status, 401);
    });
}

#[test]
fn by_either_the_network_or_the_password_does() {
    each_way(&authentication(AccountAuthentication::Either), |desk| {
        let mut phone = phone(1);
        let response = log_in(desk, &mut phone, inside());
        assert_eq!((response.status, phone.challenge.is_none()), (200, true));
        let response = log_in(desk, &mut phone, outside());
        assert_eq!((response.status, phone.challenge.is_some()), (200, true));
        // Who has no network of his own shows his password, wherever he is.
        let mut other = Phone::new(2, "a", "a.phones.test");
        assert_eq!(log_in(desk, &mut other, inside()).status, 200);
        assert!(other.challenge.is_some());
    });
}

#[test]
fn rfc5922_a_client_certificate_that_names_the_account_is_proof_enough() {
    each_way(&registrar(Registrar::default()), |desk| {
        let id = ConnectionId { reactor: 0, slot: 1, generation: 1 };
        let link = |peer| Link {
            id,
            transport: Transport::Tls,
            authenticated: false,
            peer: Peer::new(peer),
        };
        let table: [(&[u8], u16); 4] =
            [(b"u1@example.com", 200), (b"u2@example.com", 401), (b"example.com", 401), (b"", 401)];
        for (peer, status) in table {
            let request = phone(1).register(600).replacen("SIP/2.0/UDP", "SIP/2.0/TLS", 1);
            let sent = desk.send_over(link(peer), inside(), &request).expect("an answer");
            assert_eq!(Response::parse(&sent.bytes).status, status, "{peer:?}");
        }
    });
}

#[test]
fn so_many_wrong_answers_end_a_session_with_403() {
    let auth = Auth { retry_max: 3, ..Auth::default() };
    let options = Options { auth, ..registrar(Registrar::default()) };
    each_way(&options, |desk| {
        // An account that does not exist has sessions like one that does.
        for number in [1, 999] {
            let mut phone = phone(number);
            phone.password = "wrong".into();
            let mut statuses = Vec::new();
            for _ in 0..4 {
                let response = desk.ask(&phone.register(600));
                phone.take_challenge(&response);
                statuses.push(response.status);
            }
            assert_eq!(statuses, [401, 401, 401, 403], "u{number}");
            // Nobody is locked out: the right password is right.
            if number == 1 {
                phone.password = "p1".into();
                assert_eq!(desk.ask(&phone.register(600)).status, 200);
            }
        }
        assert_eq!(desk.counters().refused(RefuseReason::TooManyTries), 2);
    });
}

#[test]
fn a_session_that_took_too_long_begins_anew() {
    let auth = Auth { retry_max: 2, session_timeout_s: 10, ..Auth::default() };
    let options = Options { auth, ..registrar(Registrar::default()) };
    each_way(&options, |desk| {
        let mut phone = phone(1);
        phone.password = "wrong".into();
        for _ in 0..5 {
            let response = desk.ask(&phone.register(600));
            assert_eq!(response.status, 401);
            phone.take_challenge(&response);
            desk.pass(11);
        }
    });
}

#[test]
fn rfc3261_s22_3_challenges_are_407_where_that_is_set() {
    let auth = Auth {
        challenge_code: ChallengeCode::ProxyAuthenticationRequired,
        nonce_lifetime_s: 1000,
        ..Auth::default()
    };
    let options = Options { auth, ..registrar(Registrar::default()) };
    each_way(&options, |desk| {
        let mut phone = phone(1);
        let response = desk.ask(&phone.register(600));
        assert_eq!((response.status, response.header("www-authenticate")), (407, None));
        let value = response.header("proxy-authenticate").expect("a challenge");
        phone.challenge = Some(common::Challenge::parse(value));
        // Credentials in the other header are for somebody else.
        assert_eq!(desk.ask(&phone.register(600)).status, 407);
        let proxy = |request: String| request.replacen("Authorization:", "Proxy-Authorization:", 1);
        assert_eq!(desk.ask(&proxy(phone.register(600))).status, 200);
        desk.pass(501);
        let response = desk.ask(&proxy(phone.register(600)));
        assert!(response.header("proxy-authentication-info").is_some());
    });
}

#[test]
fn rfc7616_s3_5_past_half_its_life_a_nonce_is_followed_by_the_next() {
    each_way(&registrar(Registrar::default()), |desk| {
        let mut phone = desk.phone(1, "a");
        assert_eq!(desk.ask(&phone.register(600)).header("authentication-info"), None);
        desk.pass(1801);
        let response = desk.ask(&phone.register(600));
        let info = response.header("authentication-info").expect("the next nonce").to_owned();
        let next = info.strip_prefix("nextnonce=\"").unwrap().strip_suffix('"').unwrap();
        phone.challenge.as_mut().unwrap().nonce = next.into();
        phone.nc = 0;
        desk.pass(1900);
        assert_eq!(desk.ask(&phone.register(600)).status, 200, "the old one would be stale");
    });
    let auth = Auth { next_nonce: false, ..Auth::default() };
    each_way(&Options { auth, ..registrar(Registrar::default()) }, |desk| {
        let mut phone = desk.phone(1, "a");
        desk.pass(1801);
        assert_eq!(desk.ask(&phone.register(600)).header("authentication-info"), None);
    });
}

#[test]
fn an_alias_names_the_domains_own_accounts_on_every_shard() {
    let aliases = vec!["sip.example.com".into(), "192.0.2.1".into()];
    let options = Options { aliases, ..registrar(Registrar::default()) };
    each_way(&options, |desk| {
        for (number, host) in [(1, "sip.example.com"), (2, "SIP.Example.COM."), (3, "192.0.2.1")] {
            let mut phone = phone(number);
            let other = |request: String| {
                request.replace("@example.com", &format!("@{host}")).replacen(
                    "sip:example.com",
                    &format!("sip:{host}"),
                    1,
                )
            };
            let response = desk.ask(&other(phone.register(600)));
            assert_eq!(response.status, 401, "{host}");
            phone.take_challenge(&response);
            assert_eq!(phone.challenge.as_ref().unwrap().realm, "example.com");
            assert_eq!(desk.ask(&other(phone.register(600))).status, 200, "{host}");
            assert_eq!(desk.bound(number).len(), 1);
            // By whichever name, it is one binding.
            assert_eq!(desk.ask(&phone.register(600)).contacts().len(), 1);
            assert_eq!(desk.bound(number).len(), 1);
        }
        assert_eq!(desk.counters().registered, 3);
    });
}

#[test]
fn user_parameters_are_part_of_the_user_or_not() {
    for (user_parameters, status) in [(UserParameters::Strip, 200), (UserParameters::Keep, 403)] {
        let options = registrar(Registrar { user_parameters, ..Registrar::default() });
        each_way(&options, |desk| {
            let mut phone = desk.phone(1, "a");
            let request = phone.register(600).replace("sip:u1@", "sip:u1;ext=7@");
            let response = desk.ask(&request);
            // As part of the user they name somebody else than the credentials do.
            assert_eq!(response.status, status);
        });
    }
}

#[test]
fn behind_nat_the_shorter_cap_holds() {
    each_way(&registrar(Registrar::default()), |desk| {
        let mut phone = desk.phone(1, "a");
        phone.contact = "sip:u1@192.168.0.7:5060".into();
        assert_eq!(desk.ask(&phone.register(3600)).contacts()[0].1, 300);
        // A phone on a private network whose private address is its source is not behind NAT.
        let lan: SocketAddr = "192.168.0.7:5060".parse().unwrap();
        let mut phone = Phone::new(2, "a", "192.168.0.7:5060");
        let response = desk.ask_from(lan, &phone.register(3600));
        phone.take_challenge(&response);
        let response = desk.ask_from(lan, &phone.register(3600));
        assert_eq!(response.contacts()[0].1, 3600);
        assert_eq!(desk.counters().behind_nat, 1);
    });
}

#[test]
fn behind_a_proxy_nat_is_seen_where_the_proxy_saw_it() {
    each_way(&registrar(Registrar::default()), |desk| {
        for (number, received, granted) in [(1, ";received=203.0.113.1", 300), (2, "", 3600)] {
            let mut phone = desk.phone(number, "a");
            phone.contact = format!("sip:u{number}@192.168.0.7:5060");
            let via = format!(
                "Via: SIP/2.0/UDP p.test;branch=z9hG4bKp;rport\r\n\
                 Via: SIP/2.0/UDP 192.168.0.7;branch=z9hG4bKa{received}\r\nX-Via: "
            );
            let request = phone.register(3600).replacen("Via: ", &via, 1);
            assert_eq!(desk.ask(&request).contacts()[0].1, granted, "{received}");
        }
    });
}

#[test]
fn devices_that_keep_kicking_each_other_are_damped_by_choice() {
    let flapping = Flapping { window_s: 60, kicks: 3, damping_s: 120 };
    let options = registrar(Registrar { flapping, ..Registrar::default() });
    each_way(&options, |desk| {
        let (mut a, mut b) = (desk.phone(1, "a"), desk.phone(1, "b"));
        let mut statuses = Vec::new();
        for _ in 0..4 {
            for phone in [&mut a, &mut b] {
                let response = desk.ask(&phone.register(600));
                if response.status == 503 {
                    assert!(response.header("retry-after").is_some());
                }
                statuses.push(response.status);
                desk.pass(1);
            }
        }
        assert!(statuses.contains(&503), "{statuses:?}");
        assert!(desk.counters().flapping >= 1);
        assert_eq!(desk.bound(1).len(), 1);
    });
}

#[test]
fn a_gateway_is_let_in_from_its_address_and_port_alone() {
    let gateway = policy(AccountPolicy {
        authentication: AccountAuthentication::Network,
        allow: vec!["198.51.100.9:5060".parse().unwrap()],
        ..AccountPolicy::default()
    });
    each_way(&gateway, |desk| {
        let mut phone = phone(1);
        assert_eq!(desk.ask_from(inside(), &phone.register(600)).status, 200);
        for other in ["198.51.100.9:5061", "198.51.100.8:5060"] {
            // The right password is none, there.
            let refused = log_in(desk, &mut phone, other.parse().unwrap());
            assert_eq!(refused.status, 401, "{other}");
        }
    });
}
