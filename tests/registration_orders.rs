//! Operators' orders to shards about registrations: whoever is asked, the same is found; each order
//! is bounded; what was taken out is gone at once.

mod common;
#[path = "common/desk.rs"]
mod desk;

use std::collections::BTreeSet;

use aorta::config::{AccountPolicy, Registrar, StaticContact};
use aorta::flow::Transport;
use aorta::limits::FIND_ROWS_MAX;
use aorta::registrar::Binding;
use aorta::shard::ShardId;
use aorta::shard::control::{Control, Reply};
use aorta::shard::filter::{Filter, Number, Seconds, Status, Words};
use aorta::shard::registrations::{Chosen, Registration, Shown, Unfound, Unregistered};
use aorta::shard::search::{Find, Page};
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

fn wanted(filter: Filter) -> Find {
    Find { filter: filter.into(), ..Find::default() }
}

fn by_source(network: &str) -> Find {
    wanted(Filter { sources: vec![network.parse().unwrap()], ..Filter::default() })
}

fn by_contact(contact: &str) -> Find {
    wanted(Filter { contact: Some(contact.as_bytes().into()), ..Filter::default() })
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
        let both = wanted(Filter {
            contact: by_contact("sip:u5@desk.phones.test:5070").filter.contact.clone(),
            ..Filter::clone(&by_source("198.51.100.6/32").filter)
        });
        assert_eq!(find(desk, &both), []);
    });
}

/// Everybody's bindings that match, as a page would have them one row at a time, and as a count.
fn numbers(desk: &mut Desk, filter: Filter) -> Vec<u32> {
    let one_by_one = Find { rows_max: 1, ..wanted(filter.clone()) };
    let mut found: Vec<u32> = find(desk, &one_by_one)
        .iter()
        .map(|one| text(&one.aor)[1..].split('@').next().unwrap().parse().unwrap())
        .collect();
    found.sort_unstable();
    let counting = Find { rows_max: 0, ..wanted(filter) };
    let now = desk.cluster.now;
    let mut count = 0;
    for shard in &mut desk.cluster.shards {
        let mut from = Some(0);
        while let Some(at) = from {
            let order = Control::Find(Find { from: at, ..counting.clone() });
            let Reply::Found(page) = shard.control(now, order) else { panic!("another reply") };
            assert_eq!(page.registrations, []);
            count += page.matched;
            from = page.next;
        }
    }
    assert_eq!(found.len() as u64, count, "what is listed is what is counted");
    found
}

#[test]
fn filters_find_what_they_name_and_all_of_them_have_to_match() {
    let options = Options { accounts: 40, ..bindings_max(2) };
    each_way(&options, |desk| {
        for number in 1..=20 {
            let mut phone = desk.phone(number, "desk");
            phone.user_agent =
                if number % 2 == 0 { "Yealink SIP-T46U 1.2" } else { "Other" }.into();
            assert_eq!(desk.ask(&phone.register(if number <= 5 { 60 } else { 600 })).status, 200);
        }
        desk.registered(7, "second", 600);
        let any = Filter::default;
        let number = |text: &str, is_prefix| Number { text: text.as_bytes().into(), is_prefix };
        let numbered = |list: &[Number]| Filter { numbers: list.to_vec(), ..any() };
        assert_eq!(numbers(desk, numbered(&[number("u7", false)])), [7, 7]);
        assert_eq!(
            numbers(desk, numbered(&[number("u1", true)])),
            [1, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19]
        );
        assert_eq!(numbers(desk, numbered(&[number("u2", true), number("u3", false)])), [2, 3, 20]);
        let agent = |part: &str| Filter { user_agent: Some(part.as_bytes().into()), ..any() };
        assert_eq!(numbers(desk, agent("sip-t46u")), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20]);
        assert_eq!(numbers(desk, agent("t46x")), [0; 0]);
        let both = Filter { numbers: vec![number("u1", true)], ..agent("yealink") };
        assert_eq!(numbers(desk, both), [10, 12, 14, 16, 18]);
        let domain = |name: &str| Filter { domains: vec![name.as_bytes().into()], ..any() };
        assert_eq!(numbers(desk, domain("example.com")).len(), 21);
        assert_eq!(numbers(desk, domain("example.org")), [0; 0]);
        assert_eq!(numbers(desk, Filter { behind_nat: Some(true), ..any() }), [0; 0]);
        let mut transports = Words::default();
        transports.add_transport(Transport::Tcp);
        assert_eq!(numbers(desk, Filter { transports, ..any() }), [0; 0]);
        transports.add_transport(Transport::Udp);
        assert_eq!(numbers(desk, Filter { transports, ..any() }).len(), 21);

        desk.pass(55);
        desk.registered(20, "young", 600);
        let of = |status| {
            let mut statuses = Words::default();
            statuses.add_status(status);
            Filter { statuses, ..any() }
        };
        assert_eq!(numbers(desk, of(Status::Expiring)), [1, 2, 3, 4, 5]);
        assert_eq!(numbers(desk, of(Status::Registered)).len(), 17);
        assert_eq!(numbers(desk, of(Status::Unreachable)), [0; 0]);
        let young = Filter { registered_s: Seconds { min: 0, max: 10 }, ..any() };
        assert_eq!(numbers(desk, young), [20]);
        let old = Filter { refreshed_s: Seconds { min: 50, max: 60 }, ..agent("yealink") };
        assert_eq!(numbers(desk, old).len(), 10);
    });
}

#[test]
fn accounts_without_a_binding_are_found_by_name() {
    let options = Options { accounts: 12, ..bindings_max(1) };
    each_way(&options, |desk| {
        for number in [1, 2, 3, 11] {
            desk.registered(number, "desk", 60);
        }
        let absent = |desk: &mut Desk, numbers: Vec<Number>| {
            let filter = Filter { numbers, absent: true, ..Filter::default() };
            let now = desk.cluster.now;
            let mut all = BTreeSet::new();
            for shard in &mut desk.cluster.shards {
                let mut from = Some(0);
                while let Some(at) = from {
                    let find =
                        Find { from: at, rows_max: 2, filter: filter.clone().into(), names: false };
                    let reply = shard.control(now, Control::Find(find));
                    let Reply::Found(page) = reply else { panic!("{reply:?}") };
                    assert!(page.absent.len() <= 2 && page.registrations.is_empty());
                    assert_eq!(page.places.len(), page.absent.len());
                    all.extend(page.absent.iter().map(|aor| text(aor)));
                    from = page.next;
                }
            }
            all
        };
        assert_eq!(absent(desk, vec![]).len(), 8);
        let beginning = Number { text: b"u1".as_slice().into(), is_prefix: true };
        let expected = ["u10@example.com".to_owned(), "u12@example.com".to_owned()];
        assert_eq!(absent(desk, vec![beginning]), expected.into());
        desk.pass(61);
        assert_eq!(absent(desk, vec![]).len(), 12, "what is over is no registration");
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
