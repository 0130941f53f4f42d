//! How long and how many, over the whole shard: shortest and longest registration, the spread of
//! expiries, the limit of bindings and who makes room for whom (SS_ENDPOINT_REGISTER_REPLACE).

mod common;
#[path = "common/desk.rs"]
mod desk;

use aorta::config::{MinExpiresPolicy, Registrar, Replace};
use common::cluster::Options;
use common::{Phone, Response};
use desk::{Desk, bindings_max, each_way, listed, registrar};

fn off(bindings_max: u8) -> Options {
    registrar(Registrar {
        replace: Replace::Never,
        bindings_max,
        retry_after_s: 37,
        ..Registrar::default()
    })
}

fn assert_granted(response: &Response, phone: &Phone, seconds: u32) {
    assert_eq!((response.status, response.contacts()), (200, listed(phone, seconds)));
}

fn assert_over_the_limit(response: &Response) {
    assert_eq!((response.status, response.reason.as_str()), (503, "Too Many Bindings"));
    assert_eq!(response.header("retry-after"), Some("37"));
    assert_eq!(response.contacts(), []);
}

/// Events of the registrar so far: added, refreshed, re-targeted, kicked, unregistered.
fn events(desk: &Desk) -> [u64; 5] {
    let counters = desk.counters();
    [
        counters.registered,
        counters.refreshed,
        counters.retargeted,
        counters.kicked,
        counters.unregistered,
    ]
}

#[test]
fn s10_3_step_7_too_brief_gets_423_with_min_expires() {
    let options = registrar(Registrar { expires_min_s: 90, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.registered(3, "a", 90);
        for asked in [1, 89] {
            let response = desk.ask(&phone.register(asked));
            let outcome = (response.status, response.reason.as_str());
            assert_eq!(outcome, (423, "Interval Too Brief"), "{asked}");
            assert_eq!(response.header("min-expires"), Some("90"));
        }
        assert_eq!(desk.bound(3), listed(&phone, 90));
        // What Min-Expires says is granted, and removing is never too brief.
        assert_granted(&desk.ask(&phone.register(90)), &phone, 90);
        assert_eq!(desk.ask(&phone.register(0)).status, 200);
        assert_eq!(desk.counters().interval_too_brief, 2);
    });
}

#[test]
fn s10_3_step_7_too_brief_is_raised_where_the_policy_says_so() {
    let options = registrar(Registrar {
        expires_min_s: 90,
        expires_min_policy: MinExpiresPolicy::Raise,
        ..Registrar::default()
    });
    each_way(&options, |desk| {
        let mut phone = desk.phone(3, "a");
        assert_granted(&desk.ask(&phone.register(1)), &phone, 90);
    });
}

#[test]
fn s10_3_step_7_the_longest_registration_is_what_is_granted_at_most_and_by_default() {
    let options = registrar(Registrar { expires_max_s: 1200, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.phone(3, "a");
        for asked in [1201, 4_294_967_295] {
            assert_granted(&desk.ask(&phone.register(asked)), &phone, 1200);
        }
        let contact = format!("<{}>", phone.contact);
        assert_granted(&desk.ask(&phone.request(&[("Contact", &contact)])), &phone, 1200);
        // 20.19: what is malformed counts as 3600.
        let odd = phone.request(&[("Contact", &contact), ("Expires", "soon")]);
        assert_granted(&desk.ask(&odd), &phone, 1200);
        let odd = phone.request(&[("Contact", &format!("{contact};expires=soon"))]);
        assert_granted(&desk.ask(&odd), &phone, 1200);
    });
}

#[test]
fn the_spread_shortens_within_its_share_and_never_below_the_minimum() {
    for percent in [10, 50] {
        let registrar = Registrar { expires_spread_percent: percent, ..Registrar::default() };
        each_way(&Options { registrar, ..Options::default() }, |desk| {
            let mut granted_of_3600 = Vec::new();
            for number in 1..=20 {
                let mut phone = desk.phone(number, "a");
                for asked in [60, 61, 3600, 86_400] {
                    let request = phone.register(asked);
                    let first = desk.ask(&request);
                    let granted = first.contacts()[0].1;
                    let full = asked.min(3600);
                    assert!(granted <= full && granted >= 60, "{granted} of {asked}");
                    assert!(
                        granted >= full * u32::from(100 - percent) / 100,
                        "{granted} of {full}"
                    );
                    assert_eq!(desk.ask(&request).contacts(), first.contacts(), "sent again");
                    if asked == 3600 {
                        granted_of_3600.push(granted);
                    }
                }
            }
            granted_of_3600.sort_unstable();
            granted_of_3600.dedup();
            assert!(granted_of_3600.len() > 10, "{granted_of_3600:?}");
        });
    }
}

#[test]
fn replace_on_the_second_device_kicks_the_first_and_is_listed_alone() {
    each_way(&Options::default(), |desk| {
        let first = desk.registered(3, "a", 600);
        let other = desk.registered(4, "a", 600);
        let mut second = desk.phone(3, "b");
        assert_granted(&desk.ask(&second.register(300)), &second, 300);
        assert_eq!(desk.bound(3), listed(&second, 300));
        assert_eq!(desk.bound(4), listed(&other, 600), "{} is another account", first.contact);
        assert_eq!(events(desk), [3, 0, 0, 1, 0]);
    });
}

#[test]
fn replace_on_the_oldest_binding_goes_first() {
    each_way(&bindings_max(2), |desk| {
        let mut a = desk.registered(3, "a", 600);
        desk.pass(1);
        let b = desk.registered(3, "b", 600);
        desk.pass(1);
        // A refresh makes nobody younger.
        assert_eq!(desk.ask(&a.register(600)).status, 200);
        desk.pass(1);
        let c = desk.registered(3, "c", 600);
        assert_eq!(desk.bound(3), [listed(&b, 598), listed(&c, 600)].concat());
        assert_eq!(events(desk), [3, 1, 0, 1, 0]);
    });
}

#[test]
fn replace_on_more_contacts_than_the_limit_in_one_request_are_refused() {
    each_way(&bindings_max(2), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let contacts = "<sip:u3@one.test>, <sip:u3@two.test>, <sip:u3@three.test>";
        let response = desk.ask(&phone.request(&[("Contact", contacts)]));
        assert_eq!((response.status, response.header("retry-after")), (503, Some("60")));
        assert_eq!(desk.bound(3), listed(&phone, 600));
        assert_eq!(events(desk), [1, 0, 0, 0, 0]);
    });
}

#[test]
fn replace_off_the_second_device_is_refused_until_the_first_has_gone() {
    each_way(&off(1), |desk| {
        let mut first = desk.registered(3, "a", 60);
        let mut second = desk.phone(3, "b");
        assert_over_the_limit(&desk.ask(&second.register(300)));
        assert_eq!(desk.bound(3), listed(&first, 60));
        // The limit stops nobody who is in.
        assert_granted(&desk.ask(&first.register(60)), &first, 60);
        desk.pass(59);
        assert_over_the_limit(&desk.ask(&second.register(300)));
        desk.pass(1);
        assert_granted(&desk.ask(&second.register(300)), &second, 300);
        assert_over_the_limit(&desk.ask(&first.register(60)));
        assert_eq!(desk.ask(&second.register(0)).status, 200);
        assert_granted(&desk.ask(&first.register(60)), &first, 60);
        assert_eq!(desk.counters().too_many_bindings, 3);
        assert_eq!(desk.counters().kicked, 0);
    });
}

#[test]
fn replace_off_a_request_that_removes_one_and_adds_one_fits() {
    each_way(&off(1), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let swap = format!("<{}>;expires=0, <sip:u3@next.test>;expires=300", phone.contact);
        let response = desk.ask(&phone.request(&[("Contact", &swap)]));
        assert_eq!(response.status, 200);
        assert_eq!(desk.bound(3), [("sip:u3@next.test".to_owned(), 300)]);
    });
}

/// RFC 5626: instance and reg-id name the device, wherever it is.
#[test]
fn the_same_instance_from_a_new_address_is_retargeted_not_kicked() {
    let instance = ";+sip.instance=\"<urn:uuid:00000000-0000-1000-8000-000a95a0e128>\"";
    for options in [Options::default(), off(1)] {
        for reg_id in ["", ";reg-id=1"] {
            each_way(&options, |desk| {
                let params = format!("{instance}{reg_id}");
                let mut before = desk.phone(3, "a");
                before.contact_params.clone_from(&params);
                assert_eq!(desk.ask(&before.register(600)).status, 200);
                let mut after = desk.phone(3, "b");
                after.contact_params.clone_from(&params);
                let response = desk.ask(&after.register(300));
                assert_granted(&response, &after, 300);
                let value = response.header("contact").unwrap();
                assert!(value.contains("+sip.instance=\"<urn:uuid:"), "{value}");
                assert_eq!(desk.bound(3), listed(&after, 300));
                assert_eq!(events(desk), [1, 0, 1, 0, 0]);
            });
        }
    }
}

/// A phone without an instance that came back by DHCP: same Call-ID, higher CSeq, same
/// User-Agent.
#[test]
fn the_same_call_id_and_user_agent_from_a_new_address_is_retargeted() {
    each_way(&off(1), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        phone.contact = "sip:u3@new-lease.test".into();
        assert_granted(&desk.ask(&phone.register(300)), &phone, 300);
        assert_eq!(events(desk), [1, 0, 1, 0, 0]);
        // Another User-Agent is another device, which has to wait.
        phone.contact = "sip:u3@third.test".into();
        phone.user_agent = "Another/1".into();
        assert_over_the_limit(&desk.ask(&phone.register(300)));
    });
}

#[test]
fn contacts_that_fit_under_the_limit_are_never_merged_by_call_id() {
    each_way(&bindings_max(2), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        let first = listed(&phone, 600);
        phone.contact = "sip:u3@second.test".into();
        assert_eq!(desk.ask(&phone.register(600)).status, 200);
        assert_eq!(desk.bound(3), [first, listed(&phone, 600)].concat());
        assert_eq!(events(desk), [2, 0, 0, 0, 0]);
    });
}

/// RFC 3261 19.1.4: the same contact though not the same bytes.
#[test]
fn an_equal_contact_uri_is_a_refresh_however_it_is_written() {
    each_way(&Options::default(), |desk| {
        let mut phone = desk.registered(3, "a", 600);
        for same in ["SIP:u3@A.PHONES.test:5070", "sip:%753@a.phones.test:5070"] {
            phone.contact = same.into();
            assert_eq!(desk.ask(&phone.register(600)).status, 200);
        }
        assert_eq!(events(desk), [1, 2, 0, 0, 0]);
        for (device, other) in [("b", "sip:u3@a.phones.test"), ("c", "sip:U3@a.phones.test:5070")] {
            let mut device = desk.phone(3, device);
            device.contact = other.into();
            assert_eq!(desk.ask(&device.register(600)).status, 200);
        }
        assert_eq!(desk.counters().kicked, 2);
    });
}
