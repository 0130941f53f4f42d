//! RFC 3261 10.2 and 10.3 over the whole shard, from the datagram to the answer: with
//! authentication, at one shard and at three, whichever shard the datagram arrives at. The rules
//! of the core alone are tested beside it (`rfc3261_section10.rs`).

mod common;
#[path = "common/desk.rs"]
mod desk;

use std::time::Duration;

use aorta::limits::{
    CALL_ID_BYTES_MAX, CONTACT_BYTES_MAX, CONTACTS_MAX, COPIED_BYTES_MAX, INSTANCE_BYTES_MAX,
};
use common::cluster::Options;
use common::{Challenge, Phone, Response};
use desk::{bindings_max, each_way, listed, registrar, source};

fn outcome(response: &Response) -> (u16, &str) {
    (response.status, &response.reason)
}

/// A 200 that lists exactly these contacts.
fn assert_lists(response: &Response, contacts: &[(String, u32)]) {
    assert_eq!(outcome(response), (200, "OK"));
    assert_eq!(response.contacts(), contacts);
}

#[test]
fn s10_2_a_registration_is_challenged_answered_and_listed_with_its_expiry() {
    each_way(&Options::default(), |desk| {
        let mut phone = Phone::new(3, "a", "a.phones.test:5070");
        let challenged = desk.ask(&phone.register(600));
        assert_eq!(outcome(&challenged), (401, "Unauthorized"));
        assert_eq!(challenged.contacts(), []);
        assert_eq!(desk.bound(3), [], "nothing is bound to who has not proved who he is");
        assert!(phone.take_challenge(&challenged));
        let accepted = desk.ask(&phone.register(600));
        assert_lists(&accepted, &listed(&phone, 600));
        assert!(accepted.header("www-authenticate").is_none());
        assert_eq!(accepted.header("cseq"), Some("2 REGISTER"));
        assert_eq!(accepted.header("call-id"), Some(phone.call_id.as_str()));
        assert_eq!(accepted.to_tag().map(str::len), Some(16));
        assert_eq!(desk.bound(3), listed(&phone, 600));
        assert_eq!((desk.counters().registered, desk.counters().challenged), (1, 1));
    });
}

#[test]
fn s10_2_every_account_is_found_whichever_shard_owns_it() {
    each_way(&Options::default(), |desk| {
        for number in 1..=20 {
            let phone = desk.registered(number, "a", 600);
            assert_eq!(desk.bound(number), listed(&phone, 600));
        }
        let held: Vec<usize> =
            desk.cluster.shards.iter().map(|s| s.registrar().location().bindings_count()).collect();
        assert_eq!(held.iter().sum::<usize>(), 20);
        assert!(held.iter().all(|&count| count > 0), "each shard owns some: {held:?}");
    });
}

#[test]
fn s10_2_4_a_refresh_with_the_next_nonce_count_extends_the_binding() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        desk.pass(500);
        assert_eq!(desk.bound(3), listed(&phone, 100));
        assert_lists(&desk.ask(&phone.register(600)), &listed(&phone, 600));
        desk.pass(599);
        assert_eq!(desk.bound(3), listed(&phone, 1));
        let counters = desk.counters();
        assert_eq!((counters.registered, counters.refreshed, counters.kicked), (1, 1, 0));
        assert_eq!(counters.challenged, 1, "one challenge serves for the nonce's life");
    });
}

#[test]
fn s10_2_2_expires_0_removes_the_contact() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        assert_lists(&desk.ask(&phone.register(0)), &[]);
        assert_eq!(desk.bound(3), []);
        assert_eq!(desk.counters().unregistered, 1);
        // What is gone already can be removed again, by a new request.
        assert_lists(&desk.ask(&phone.register(0)), &[]);
    });
}

#[test]
fn s10_2_2_the_wildcard_removes_all_bindings_of_all_devices() {
    each_way(&bindings_max(3), |desk| {
        desk.registered(3, "a", 600);
        let mut phone = desk.registered(3, "b", 600);
        let other = desk.registered(4, "a", 600);
        assert_eq!(desk.bound(3).len(), 2);
        let wildcard = phone.request(&[("Contact", "*"), ("Expires", "0")]);
        assert_lists(&desk.ask(&wildcard), &[]);
        assert_eq!(desk.bound(3), []);
        assert_eq!(desk.bound(4), listed(&other, 600), "of this address-of-record only");
        assert_eq!(desk.counters().unregistered, 2);
    });
}

#[test]
fn s10_3_step_6_a_wildcard_with_anything_but_expires_0_alone_is_refused() {
    each_way(&bindings_max(3), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let cases: [(&[(&str, &str)], &str); 4] = [
            (&[("Contact", "*")], "Contact * Needs Expires 0"),
            (&[("Contact", "*"), ("Expires", "60")], "Contact * Needs Expires 0"),
            (&[("Contact", "*, <sip:u3@b.test>"), ("Expires", "0")], "Contact * Not Alone"),
            (
                &[("Contact", "<sip:u3@b.test>"), ("m", "*"), ("Expires", "0")],
                "Contact * Not Alone",
            ),
        ];
        for (headers, phrase) in cases {
            assert_eq!(outcome(&desk.ask(&phone.request(headers))), (400, phrase), "{headers:?}");
            assert_eq!(desk.bound(3), listed(&phone, 600), "{headers:?}");
        }
    });
}

/// Both get nonces of one second for one address, minted by whichever shard they arrived at.
#[test]
fn s22_4_two_devices_behind_one_address_do_not_use_up_each_others_nonce() {
    each_way(&bindings_max(4), |desk| {
        let mut phones = ["a", "b", "c", "d"].map(|device| desk.phone(3, device));
        let nonces: std::collections::HashSet<String> =
            phones.iter().map(|phone| phone.challenge.clone().unwrap().nonce).collect();
        assert_eq!(nonces.len(), phones.len(), "{nonces:?}");
        for phone in &mut phones {
            assert_eq!(desk.ask(&phone.register(600)).status, 200, "{}", phone.user_agent);
        }
        assert_eq!(desk.counters().stale, 0);
    });
}

#[test]
fn s10_2_3_a_register_without_contact_fetches_the_bindings() {
    each_way(&bindings_max(3), |desk| {
        let a = desk.registered(3, "a", 600);
        desk.pass(100);
        let mut b = desk.registered(3, "b", 600);
        let both = [listed(&a, 500), listed(&b, 600)].concat();
        assert_lists(&desk.ask(&b.request(&[])), &both);
        // Also with an Expires that has nothing to refer to.
        assert_lists(&desk.ask(&b.request(&[("Expires", "0")])), &both);
        assert_eq!(desk.bound(3), both);
        assert_eq!(desk.counters().registered, 2);
    });
}

#[test]
fn s10_3_step_7_a_cseq_that_is_not_higher_within_a_call_id_is_refused() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        phone.cseq = 9;
        assert_eq!(desk.ask(&phone.register(300)).status, 200);
        for cseq in [8, 1] {
            phone.cseq = cseq - 1;
            for expires in [600, 0] {
                phone.cseq = cseq - 1;
                let refused = desk.ask(&phone.register(expires));
                assert_eq!(outcome(&refused), (500, "CSeq Out Of Order"), "{cseq} {expires}");
            }
            phone.cseq = cseq - 1;
            let wildcard = phone.request(&[("Contact", "*"), ("Expires", "0")]);
            assert_eq!(desk.ask(&wildcard).status, 500);
        }
        // The same number in another request of that Call-ID is no retransmission.
        phone.cseq = 9;
        assert_eq!(desk.ask(&phone.register(600)).status, 500);
        assert_eq!(desk.bound(3), listed(&phone, 300), "what is refused changes nothing");
        assert_eq!(desk.counters().stale_cseq, 7);
    });
}

#[test]
fn s10_3_step_7_another_call_id_begins_anew() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        phone.cseq = 70_000;
        assert_eq!(desk.ask(&phone.register(600)).status, 200);
        phone.call_id = "after-a-reboot".into();
        phone.cseq = 0;
        assert_lists(&desk.ask(&phone.register(300)), &listed(&phone, 300));
        assert_eq!(desk.counters().refreshed, 2);
    });
}

/// Its nonce count has been used by the first copy, so each is a replay to the digest's rules.
#[test]
fn s17_2_2_a_retransmission_gets_the_same_answer_and_changes_nothing() {
    let spread = Options {
        registrar: aorta::config::Registrar { bindings_max: 3, ..Default::default() },
        ..Options::default()
    };
    each_way(&spread, |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let two = format!("<{}>;q=0.5, <sip:u3@second.test>;expires=120", phone.contact);
        let requests = [
            phone.register(900),
            phone.request(&[("Contact", &two), ("Expires", "600")]),
            phone.register(0),
            phone.request(&[("Contact", "*"), ("Expires", "0")]),
        ];
        for request in requests {
            let first = desk.text(&request);
            assert!(first.starts_with("SIP/2.0 200 "), "{first}");
            let before = (desk.bound(3), desk.counters());
            for _ in 0..3 {
                assert_eq!(desk.text(&request), first);
            }
            let after = (desk.bound(3), desk.counters());
            assert_eq!(after.0, before.0);
            assert_eq!(after.1.retransmissions, before.1.retransmissions + 3);
            for ((name, now), (_, then)) in after.1.named().zip(before.1.named()) {
                let traffic = ["requests", "handoffs_in", "handoffs_out", "retransmissions"];
                assert!(traffic.contains(&name) || now == then, "{name}: {then} -> {now}");
            }
        }
    });
}

#[test]
fn s17_2_2_a_retransmission_of_a_late_answer_lists_what_was_granted_then() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.phone(3, "a");
        let request = phone.register(600);
        let first = desk.text(&request);
        desk.pass(4);
        assert_eq!(desk.text(&request), first);
        assert_eq!(desk.bound(3), listed(&phone, 596), "it does not extend the binding");
    });
}

#[test]
fn s17_2_2_a_retransmitted_fetch_or_refusal_is_answered_as_before() {
    let off =
        aorta::config::Registrar { replace: aorta::config::Replace::Never, ..Default::default() };
    each_way(&registrar(off), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let mut newcomer = desk.phone(3, "b");
        let brief = phone.register(30);
        let fetch = phone.request(&[]);
        let late = {
            phone.cseq -= 3;
            phone.register(600)
        };
        let over = newcomer.register(600);
        let faulty = newcomer.request(&[("Contact", "<sip:u3@[::1>")]);
        for (request, status) in
            [(&brief, "423"), (&fetch, "200"), (&late, "500"), (&over, "503"), (&faulty, "400")]
        {
            let first = desk.text(request);
            assert!(first.starts_with(&format!("SIP/2.0 {status} ")), "{first}");
            let before = desk.bound(3);
            assert_eq!(desk.text(request), first);
            assert_eq!(desk.bound(3), before);
        }
        // Room was made since: the refused request is no longer what it was, and too old to act
        // upon, whoever sends it. A new one is welcome.
        assert_eq!(desk.ask(&over).status, 503, "still the last that was answered");
        phone.cseq += 10;
        assert_eq!(desk.ask(&phone.register(0)).status, 200);
        let replayed = desk.ask(&over);
        assert_eq!(replayed.status, 401);
        assert!(Challenge::parse(replayed.header("www-authenticate").unwrap()).stale);
        assert_eq!(desk.bound(3), []);
        assert_eq!(desk.ask(&newcomer.register(600)).status, 200);
    });
}

#[test]
fn s10_3_step_7_one_bad_contact_of_three_and_nothing_is_changed() {
    each_way(&bindings_max(5), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let good = "<sip:u3@one.test>;expires=300";
        let removal = format!("<{}>;expires=0", phone.contact);
        let long = format!("<sip:u3@{}>", "x".repeat(CONTACT_BYTES_MAX));
        let bad = [
            ("<sip:u3@[::1>", 400, "Malformed Contact"),
            ("<tel:+15550100>", 400, "Contact Not SIP"),
            ("<mailto:u3@example.com>", 400, "Contact Not SIP"),
            ("<sip:u3@two.test>;expires=30", 423, "Interval Too Brief"),
            (&long, 400, "Contact Too Long"),
        ];
        for (bad, status, phrase) in bad {
            for order in [[good, &removal, bad], [bad, good, &removal], [&removal, bad, good]] {
                let request = phone.request(&[("Contact", &order.join(", "))]);
                assert_eq!(outcome(&desk.ask(&request)), (status, phrase), "{order:?}");
                assert_eq!(desk.bound(3), listed(&phone, 600), "{order:?}");
            }
        }
        assert_eq!((desk.counters().registered, desk.counters().unregistered), (1, 0));
    });
}

#[test]
fn s10_2_1_2_several_contacts_and_their_preferences_are_kept() {
    each_way(&bindings_max(3), |desk| {
        let mut phone = desk.phone(3, "a");
        let value = "<sip:u3@one.test>;q=0.7;expires=300, \"Desk\" <sip:u3@two.test:5071>;q=1.0";
        let request =
            phone.request(&[("Contact", value), ("m", "sip:u3@three.test"), ("Expires", "120")]);
        let response = desk.ask(&request);
        let expected = [
            ("sip:u3@one.test".to_owned(), 300),
            ("sip:u3@two.test:5071".to_owned(), 120),
            ("sip:u3@three.test".to_owned(), 120),
        ];
        assert_lists(&response, &expected);
        let values: Vec<&str> = response.all("contact").collect();
        assert!(values[0].contains(";q=0.7"), "{values:?}");
        assert!(values[1].contains(";q=1"), "{values:?}");
        assert!(!values[2].contains(";q="), "{values:?}");
        // A fetch of another device shows the same.
        let mut other = desk.phone(3, "b");
        let fetched = desk.ask(&other.request(&[]));
        assert_eq!(fetched.all("contact").collect::<Vec<_>>(), values);
    });
}

#[test]
fn s10_3_step_5_to_names_the_account_by_its_address_of_record_alone() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let same = [
            "<sip:u3@example.com:5066>",
            "<sip:u3@example.com;transport=udp;user=phone>",
            "<sip:u3@example.com?Subject=x>",
            "<sip:u3@EXAMPLE.com>",
            "<sip:%753@example.com>",
            "<sip:u%33@example.com>",
            "<sips:u3@example.com>",
            "\"Three, \\\"the\\\" third\" <sip:u3@example.com>;x=y",
            "sip:u3@example.com",
        ];
        for to in same {
            let request =
                phone.request(&[]).replace("To: <sip:u3@example.com>", &format!("To: {to}"));
            assert_lists(&desk.ask(&request), &listed(&phone, 600));
        }
        // The user is compared with case (19.1.4), so this is somebody else.
        let request = phone.request(&[]).replace("To: <sip:u3@", "To: <sip:U3@");
        assert_eq!(outcome(&desk.ask(&request)), (403, "Forbidden"));
    });
}

#[test]
fn s10_3_step_5_what_is_no_address_of_record_here_gets_404() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.phone(3, "a");
        let cases = [
            ("<sip:u3@elsewhere.test>", "Not Found"),
            ("<sip:u3@sub.example.com>", "Not Found"),
            ("<sip:example.com>", "To Without User"),
            ("<tel:+15550100>", "To Not SIP"),
        ];
        for (to, phrase) in cases {
            let request =
                phone.register(60).replace("To: <sip:u3@example.com>", &format!("To: {to}"));
            assert_eq!(outcome(&desk.ask(&request)), (404, phrase), "{to}");
        }
        let foreign = phone.register(60).replace("REGISTER sip:example.com", "REGISTER sip:x.test");
        assert_eq!(desk.ask(&foreign).status, 404);
        assert_eq!(desk.bound(3), []);
    });
}

#[test]
fn s21_4_1_a_malformed_header_is_named_before_anybody_is_challenged() {
    each_way(&Options::default(), |desk| {
        let phone = Phone::new(3, "a", "a.phones.test:5070");
        let cases = [
            ("To: <sip:u3@example.com>", "To: <sip:u3@exa mple.com>", "Malformed To"),
            ("To: <sip:u3@example.com>", "To: <sip:u%3@example.com>", "Malformed To"),
            ("From: <sip:u3@", "From: <sip:u3 @", "Malformed From"),
            ("CSeq: 1 REGISTER", "CSeq: 1 OPTIONS", "Method Does Not Match CSeq"),
            ("Call-ID: a-3-call-id", "Call-ID: ", "Malformed Call-ID"),
            ("Call-ID: ", "Call-ID: another\r\nCall-ID: ", "Repeated Call-ID"),
            ("Expires: 600", "Authorization: Digest username", "Malformed Authorization"),
        ];
        for (from, to, phrase) in cases {
            let good = phone.clone().register(600);
            let faulty = good.replacen(from, to, 1);
            assert_ne!(faulty, good, "{from}");
            assert_eq!(outcome(&desk.ask(&faulty)), (400, phrase), "{to}");
        }
        assert_eq!(desk.counters().challenged, 0);
    });
}

#[test]
fn s21_4_1_a_malformed_contact_is_named_to_those_alone_who_may_register_it() {
    each_way(&Options::default(), |desk| {
        let many = vec!["<sip:u3@one.test>"; CONTACTS_MAX + 1].join(", ");
        let long = format!("<sip:u3@{}>", "x".repeat(CONTACT_BYTES_MAX));
        let cases = [
            ("<sip:u3@one.test", "Malformed Contact"),
            ("<>", "Malformed Contact"),
            ("<sip:u3@one.test>,", "Malformed Contact"),
            ("<tel:+15550100>", "Contact Not SIP"),
            (&many, "Too Many Values In Contact"),
            (&long, "Contact Too Long"),
        ];
        for (contact, phrase) in cases {
            let mut phone = Phone::new(3, "a", "a.phones.test:5070");
            let response = desk.ask(&phone.request(&[("Contact", contact)]));
            assert_eq!(response.status, 401, "{contact}");
            assert!(phone.take_challenge(&response));
            let response = desk.ask(&phone.request(&[("Contact", contact)]));
            assert_eq!(outcome(&response), (400, phrase), "{contact}");
        }
        assert_eq!(desk.bound(3), []);
    });
}

#[test]
fn limits_whatever_is_accepted_can_be_answered() {
    each_way(&bindings_max(64), |desk| {
        let mut phone = desk.phone(3, "a");
        let mut bound = Vec::new();
        while bound.len() < 64 {
            let contacts: Vec<String> = (0..CONTACTS_MAX)
                .map(|_| {
                    let host = format!("{:03}{}", bound.len(), "h".repeat(CONTACT_BYTES_MAX - 10));
                    bound.push(format!("sip:u3@{host}"));
                    let uri = bound.last().unwrap();
                    let instance = "i".repeat(INSTANCE_BYTES_MAX - 5);
                    let instance = format!("<{:03}{instance}>", bound.len());
                    format!("<{uri}>;q=0.123;+sip.instance=\"{instance}\";reg-id={}", bound.len())
                })
                .collect();
            let contacts = contacts.join(", ");
            let request = phone.request(&[("Contact", &contacts), ("Expires", "3600")]);
            let response = desk.ask(&request);
            let listed: Vec<String> = response.contacts().into_iter().map(|(uri, _)| uri).collect();
            assert_eq!((response.status, &listed), (200, &bound));
        }
        // The longest head that is copied still leaves room for all of them.
        let via = |bytes: usize| {
            let one = "Via: SIP/2.0/UDP relay.test;branch=z9hG4bK-";
            format!("{one}{}\r\nMax-Forwards", "v".repeat(bytes - one.len()))
        };
        let fetch = phone.request(&[]).replacen("Max-Forwards", &via(COPIED_BYTES_MAX - 300), 1);
        let response = desk.ask(&fetch);
        assert_eq!((response.status, response.contacts().len()), (200, 64));
        // Past that a request is refused, and changes nothing.
        let removal = phone.request(&[("Contact", "*"), ("Expires", "0")]);
        let response = desk.ask(&removal.replacen("Max-Forwards", &via(COPIED_BYTES_MAX + 9), 1));
        assert_eq!(response.status, 513);
        assert_eq!(desk.bound(3).len(), 64);
    });
}

#[test]
fn limits_what_just_fits_is_taken_and_one_byte_more_is_refused() {
    each_way(&bindings_max(64), |desk| {
        let mut phone = desk.phone(3, "a");
        let contacts = |count: usize| {
            let each = (0..count).map(|n| format!("<sip:u3@h{n}.test>"));
            each.collect::<Vec<_>>().join(", ")
        };
        let most = phone.request(&[("Contact", &contacts(CONTACTS_MAX)), ("Expires", "60")]);
        assert_eq!(desk.ask(&most).contacts().len(), CONTACTS_MAX);
        let contact = |length: usize| {
            let text = format!("sip:u3@{}", "x".repeat(length - "sip:u3@".len()));
            format!("<{text}>")
        };
        let longest = phone.request(&[("Contact", &contact(CONTACT_BYTES_MAX))]);
        assert_eq!(outcome(&desk.ask(&longest)), (200, "OK"));
        let longer = phone.request(&[("Contact", &contact(CONTACT_BYTES_MAX + 1))]);
        assert_eq!(outcome(&desk.ask(&longer)), (400, "Contact Too Long"));
        phone.call_id = "c".repeat(CALL_ID_BYTES_MAX);
        assert_eq!(desk.ask(&phone.register(60)).status, 200);
        phone.call_id.push('c');
        assert_eq!(outcome(&desk.ask(&phone.register(60))), (400, "Call-ID Too Long"));
    });
}

#[test]
fn s10_3_a_binding_is_there_for_the_granted_time_and_not_a_second_longer() {
    each_way(&Options::default(), |desk| {
        let phone = desk.registered(3, "a", 60);
        desk.cluster.pass(Duration::from_millis(59_999));
        assert_eq!(desk.bound(3), listed(&phone, 1));
        desk.cluster.pass(Duration::from_millis(1));
        assert_eq!(desk.bound(3), []);
        assert_eq!(desk.counters().expired, 1, "it leaves by the wheel, nobody has to ask");
        let mut phone = desk.phone(3, "b");
        assert_lists(&desk.ask(&phone.request(&[])), &[]);
        assert_eq!(desk.counters().expired, 1);
    });
}

#[test]
fn s10_3_step_8_the_flow_does_not_matter_the_account_does() {
    each_way(&Options::default(), |desk| {
        // A phone whose NAT gives it another port keeps its nonce; one at another address is
        // challenged again, and its password is not doubted.
        let mut phone = desk.registered(3, "a", 600);
        let moved = (source().ip(), 50_111).into();
        assert_lists(&desk.ask_from(moved, &phone.register(600)), &listed(&phone, 600));
        let elsewhere = "203.0.113.9:40000".parse().unwrap();
        let response = desk.ask_from(elsewhere, &phone.register(600));
        assert_eq!(response.status, 401);
        assert!(phone.take_challenge(&response));
        assert!(phone.challenge.as_ref().unwrap().stale);
        assert_lists(&desk.ask_from(elsewhere, &phone.register(600)), &listed(&phone, 600));
        assert_eq!(desk.counters().refreshed, 2);
        assert_eq!(desk.counters().bad_password, 0);
    });
}
