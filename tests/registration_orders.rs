//! Operators' orders to shards about registrations: whoever is asked, the same is found; each order
//! is bounded; what was taken out is gone at once.

mod common;
#[path = "common/desk.rs"]
mod desk;

use std::collections::BTreeSet;

use aorta::config::{AccountPolicy, Registrar, StaticContact};
use aorta::limits::FIND_ROWS_MAX;
use aorta::registrar::Binding;
use aorta::shard::ShardId;
use aorta::shard::control::{Control, Reply};
use aorta::shard::registrations::{Chosen, Find, Page, Registration, Shown, Unfound, Unregistered};
use common::cluster::Options;
use desk::{Desk, bindings_max, each_way, registrar, source};

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("text")
}

/// Gives an order that names an account to shard `at`, then to whichever that one names.
fn order(desk: &mut Desk, at: usize, order: Control) -> Reply {
    let now = desk.cluster.now;
    let reply = desk.cluster.shards[at].control(now, order.clone());
    match reply {
        Reply::Shown(Err(Unfound::Owner(owner)))
        | Reply::Unregistered(Err(Unfound::Owner(owner))) => {
            assert_ne!(usize::from(owner.0), at, "nobody sends to himself");
            desk.cluster.shards[usize::from(owner.0)].control(now, order)
        }
        reply => reply,
    }
}

fn show(desk: &mut Desk, at: usize, aor: &str) -> Result<Shown, Unfound> {
    match order(desk, at, Control::Show(aor.as_bytes().into())) {
        Reply::Shown(shown) => shown,
        other => panic!("{other:?}"),
    }
}

fn unregister(desk: &mut Desk, aor: &str, chosen: Chosen) -> Result<Unregistered, Unfound> {
    match order(desk, 0, Control::Unregister(aor.as_bytes().into(), chosen)) {
        Reply::Unregistered(done) => done,
        other => panic!("{other:?}"),
    }
}

/// Every binding of every shard that is wanted, page by page, each page checked to be bounded.
fn find(desk: &mut Desk, wanted: &Find) -> Vec<Registration> {
    let now = desk.cluster.now;
    let mut all = Vec::new();
    for shard in &mut desk.cluster.shards {
        let mut from = Some(0);
        while let Some(at) = from {
            let reply = shard.control(now, Control::Find(Find { from: at, ..wanted.clone() }));
            let Reply::Found(Page { registrations, next, .. }) = reply else {
                panic!("{reply:?}");
            };
            assert!(registrations.len() <= FIND_ROWS_MAX);
            assert!(next.is_none_or(|next| next > at), "pages go on");
            all.extend(registrations);
            from = next;
        }
    }
    all
}

fn aors(found: &[Registration]) -> BTreeSet<String> {
    found.iter().map(|one| text(&one.aor)).collect()
}

fn by_source(network: &str) -> Find {
    Find { source: Some(network.parse().unwrap()), ..Find::default() }
}

fn by_contact(contact: &str) -> Find {
    Find { contact: Some(contact.as_bytes().into()), ..Find::default() }
}

#[test]
fn every_shard_knows_whose_an_address_of_record_is_however_it_is_written() {
    let options = Options { aliases: vec!["alias.test".into()], ..bindings_max(2) };
    each_way(&options, |desk| {
        desk.registered(3, "desk", 600);
        for written in [
            "u3@example.com",
            "sip:u3@example.com",
            "SIP:u3@EXAMPLE.com:5060;transport=tcp",
            "sips:%753@alias.test",
            "u3",
        ] {
            for at in 0..desk.cluster.shards.len() {
                let shown = show(desk, at, written).unwrap();
                assert_eq!(text(&shown.aor), "u3@example.com", "{written}");
                assert_eq!(shown.registrations.len(), 1);
                let Registration { aor, binding, .. } = &shown.registrations[0];
                assert_eq!(text(aor), "u3@example.com");
                assert_eq!(text(binding.contact()), "sip:u3@desk.phones.test:5070");
                assert_eq!(binding.source(), source());
            }
        }
        assert_eq!(show(desk, 0, "u4").unwrap().registrations, []);
        assert_eq!(show(desk, 0, "u99"), Err(Unfound::Account));
        assert_eq!(show(desk, 0, "u3@example.org"), Err(Unfound::Domain));
        for malformed in ["", "@", "sip:", "u3@exa mple.com", "tel:+1555", "<sip:u3@example.com>"] {
            assert!(
                matches!(show(desk, 0, malformed), Err(Unfound::Malformed | Unfound::Account)),
                "{malformed}"
            );
        }
        assert_eq!(show(desk, 0, &"u".repeat(100_000)), Err(Unfound::Malformed));
    });
}

#[test]
fn bindings_are_found_by_source_network_and_by_contact() {
    each_way(&bindings_max(2), |desk| {
        for number in 1..=6 {
            let mut phone = desk.phone(number, "desk");
            let from = format!("198.51.100.{number}:5060").parse().unwrap();
            // The nonce is bound to the address the phone was challenged at.
            phone.challenge = None;
            let challenge = desk.ask_from(from, &phone.register(600));
            assert!(phone.take_challenge(&challenge));
            assert_eq!(desk.ask_from(from, &phone.register(600)).status, 200);
        }
        assert_eq!(find(desk, &Find::default()).len(), 6);
        assert_eq!(
            aors(&find(desk, &by_source("198.51.100.3/32"))),
            ["u3@example.com".into()].into()
        );
        assert_eq!(find(desk, &by_source("198.51.100.0/30")).len(), 3);
        assert_eq!(find(desk, &by_source("192.0.2.0/24")).len(), 0);
        assert_eq!(find(desk, &by_source("::/0")).len(), 0);
        // Equal by RFC 3261 19.1.4, not by bytes.
        for contact in ["sip:u5@desk.phones.test:5070", "sip:%755@DESK.phones.test:5070"] {
            assert_eq!(aors(&find(desk, &by_contact(contact))), ["u5@example.com".into()].into());
        }
        for contact in ["sip:u5@desk.phones.test", "sip:U5@desk.phones.test:5070", "u5", ""] {
            assert_eq!(find(desk, &by_contact(contact)), [], "{contact}");
        }
        let both = Find {
            contact: by_contact("sip:u5@desk.phones.test:5070").contact,
            ..by_source("198.51.100.6/32")
        };
        assert_eq!(find(desk, &both), []);
    });
}

#[test]
fn pages_together_have_every_binding_once() {
    let options = Options { accounts: 400, ..bindings_max(1) };
    each_way(&options, |desk| {
        for number in 1..=400 {
            desk.registered(number, "desk", 600);
        }
        let found = find(desk, &Find::default());
        assert_eq!(found.len(), 400);
        assert_eq!(aors(&found).len(), 400);
        assert_eq!(
            found.iter().map(|one| text(one.binding.contact())).collect::<BTreeSet<_>>().len(),
            400
        );
    });
}

#[test]
fn what_is_over_is_not_found_and_what_is_late_is() {
    let mut options = bindings_max(1);
    options.registrar = Registrar { late_margin_s: 30, ..options.registrar };
    each_way(&options, |desk| {
        desk.registered(1, "desk", 60);
        desk.pass(75);
        let late = |found: &[Registration], now| {
            found.iter().filter(|one| Binding::is_late(&one.binding, now)).count()
        };
        let found = find(desk, &Find::default());
        assert_eq!((found.len(), late(&found, desk.cluster.now.mono)), (1, 1));
        desk.pass(60);
        assert_eq!(find(desk, &Find::default()), []);
        assert_eq!(show(desk, 0, "u1").unwrap().registrations, []);
    });
}

#[test]
fn an_operator_takes_out_all_bindings_those_of_a_contact_or_one() {
    each_way(&bindings_max(4), |desk| {
        for device in ["a", "b", "c", "d"] {
            desk.registered(7, device, 600);
        }
        let contacts =
            |desk: &Desk| desk.bound(7).into_iter().map(|(uri, _)| uri).collect::<Vec<_>>();
        assert_eq!(contacts(desk).len(), 4);

        let b = Chosen::Contact(b"sip:u7@B.phones.test:5070".as_slice().into());
        let done = unregister(desk, "u7", b.clone()).unwrap();
        assert_eq!((text(&done.aor), done.registrations.len()), ("u7@example.com".into(), 1));
        assert_eq!(text(done.registrations[0].binding.contact()), "sip:u7@b.phones.test:5070");
        assert!(!contacts(desk).contains(&"sip:u7@b.phones.test:5070".to_owned()));
        assert_eq!(unregister(desk, "u7", b).unwrap().registrations, [], "gone already");

        let owner = |desk: &mut Desk, aor: &str| {
            let asked = Control::Locate(aor.as_bytes().into());
            let now = desk.cluster.now;
            match desk.cluster.shards[0].control(now, asked) {
                Reply::Located(Err(Unfound::Owner(owner))) => owner,
                Reply::Located(Ok(_)) => ShardId(0),
                other => panic!("{other:?}"),
            }
        };
        let c = show(desk, 0, "u7").unwrap().registrations[1].clone();
        let one = Chosen::Binding(owner(desk, "u7"), c.id);
        let gone = unregister(desk, "u7", one.clone()).unwrap();
        assert_eq!(gone.registrations, std::slice::from_ref(&c));
        assert_eq!(unregister(desk, "u7", one.clone()).unwrap().registrations, []);
        // The slot is another's now, and the name is never used again.
        desk.registered(7, "e", 600);
        assert_eq!(unregister(desk, "u7", one).unwrap().registrations, []);
        // Nor does the name of one account's binding take another's out.
        desk.registered(8, "a", 600);
        let other = show(desk, 0, "u8").unwrap().registrations[0].id;
        let other = Chosen::Binding(owner(desk, "u8"), other);
        assert_eq!(unregister(desk, "u7", other).unwrap().registrations, []);

        assert_eq!(unregister(desk, "u7", Chosen::All).unwrap().registrations.len(), 3);
        assert_eq!(show(desk, 0, "u7").unwrap().registrations, []);
        assert_eq!(desk.bound(8).len(), 1, "nobody else's");
        assert_eq!(desk.counters().removed, 5);
        assert_eq!(unregister(desk, "u99", Chosen::All), Err(Unfound::Account));
    });
}

#[test]
fn a_phone_that_was_taken_out_registers_again() {
    each_way(&bindings_max(1), |desk| {
        let mut phone = desk.registered(2, "desk", 600);
        unregister(desk, "u2", Chosen::All).unwrap();
        assert_eq!(desk.bound(2), []);
        assert_eq!(desk.ask(&phone.register(600)).status, 200);
        assert_eq!(desk.bound(2).len(), 1);
    });
}

#[test]
fn what_an_account_provides_stays_and_is_told() {
    let provided = StaticContact { uri: "sip:gateway@192.0.2.200".into(), q_milli: None };
    let policy = AccountPolicy { static_contacts: vec![provided], ..AccountPolicy::default() };
    let options = Options { policies: vec![(1, policy)], ..registrar(Registrar::default()) };
    each_way(&options, |desk| {
        desk.registered(1, "desk", 600);
        let done = unregister(desk, "u1", Chosen::All).unwrap();
        assert_eq!((done.registrations.len(), done.provided), (1, 1));
        let left = show(desk, 0, "u1").unwrap().registrations;
        assert_eq!(left.len(), 1);
        assert!(left[0].binding.is_static());
        // It came from nowhere, so it is found by no source.
        assert_eq!(find(desk, &by_source("0.0.0.0/0")), []);
        assert_eq!(find(desk, &by_contact("sip:gateway@192.0.2.200")).len(), 1);
    });
}

#[test]
fn counters_and_levels_are_those_of_the_shard() {
    each_way(&bindings_max(2), |desk| {
        for device in ["a", "b"] {
            desk.registered(1, device, 600);
        }
        desk.registered(2, "a", 600);
        let now = desk.cluster.now;
        let (mut accounts, mut bindings, mut bound, mut registered) = (0, 0, 0, 0);
        for shard in &mut desk.cluster.shards {
            let Reply::Counted(tally) = shard.control(now, Control::Count) else { panic!() };
            assert_eq!(tally.counters, *shard.counters());
            accounts += tally.levels.accounts;
            bindings += tally.levels.bindings;
            bound += tally.levels.aors_bound;
            registered += tally.counters.registered;
        }
        assert_eq!((accounts, bindings, bound, registered), (20, 3, 2, 3));
    });
}
