//! RFC 5627 over the whole shard: who is given GRUUs, and what they are.

mod common;
#[path = "common/desk.rs"]
mod desk;

use aorta::config::Registrar;
use common::cluster::Options;
use common::{Phone, Response};
use desk::{each_way, registrar};

const URN: &str = "urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF";

fn on() -> Options {
    registrar(Registrar::default())
}

fn register(phone: &mut Phone, contact: &str, more: &[(&str, &str)]) -> String {
    let mut headers = vec![("Contact", contact), ("Expires", "600")];
    headers.extend_from_slice(more);
    phone.request(&headers)
}

fn own(phone: &Phone) -> String {
    format!("<{}>;+sip.instance=\"<{URN}>\"", phone.contact)
}

fn parameter(response: &Response, name: &str) -> Option<String> {
    let contact = response.header("contact")?;
    let (_, rest) = contact.split_once(&format!(";{name}=\""))?;
    Some(rest.split_once('"')?.0.to_owned())
}

const GRUU: (&str, &str) = ("Supported", "gruu");

#[test]
fn s5_3_an_instance_that_supports_gruu_is_given_both() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        let contact = own(&phone);
        let response = desk.ask(&register(&mut phone, &contact, &[GRUU]));
        assert_eq!(response.status, 200);
        let public = parameter(&response, "pub-gruu").unwrap();
        assert_eq!(public, format!("sip:u1@example.com;gr={URN}"));
        let first = parameter(&response, "temp-gruu").unwrap();
        assert!(first.starts_with("sip:tgruu.") && first.ends_with("@example.com;gr"), "{first}");
        // RFC 5627 3.1.2: another one with each registration, and the public one stays.
        let response = desk.ask(&register(&mut phone, &contact, &[GRUU]));
        assert_eq!(parameter(&response, "pub-gruu").unwrap(), public);
        assert_ne!(parameter(&response, "temp-gruu").unwrap(), first);
    });
}

#[test]
fn a_retransmission_is_given_the_same() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        let contact = own(&phone);
        let request = register(&mut phone, &contact, &[GRUU]);
        let (one, two) = (desk.ask(&request), desk.ask(&request));
        assert_eq!(parameter(&one, "temp-gruu"), parameter(&two, "temp-gruu"));
    });
}

#[test]
fn who_does_not_ask_or_has_no_instance_is_given_none() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        let (with, without) = (own(&phone), format!("<{}>", phone.contact));
        for request in [register(&mut phone, &with, &[]), register(&mut phone, &without, &[GRUU])] {
            let response = desk.ask(&request);
            assert_eq!(response.status, 200);
            assert_eq!(parameter(&response, "pub-gruu"), None);
            assert_eq!(parameter(&response, "temp-gruu"), None);
        }
    });
}

#[test]
fn s5_1_a_contact_that_leads_back_to_the_aor_is_refused() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        let bad = [
            format!("<sip:u1@example.com>;+sip.instance=\"<{URN}>\""),
            format!("<sip:u1@example.com;gr={URN}>;+sip.instance=\"<{URN}>\""),
        ];
        for contact in bad {
            assert_eq!(desk.ask(&register(&mut phone, &contact, &[GRUU])).status, 403, "{contact}");
        }
        assert_eq!(desk.bound(1), []);
    });
}

#[test]
fn off_means_off() {
    let options = registrar(Registrar { gruu: false, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.phone(1, "a");
        let contact = own(&phone);
        let response = desk.ask(&register(&mut phone, &contact, &[GRUU]));
        assert_eq!((response.status, parameter(&response, "pub-gruu")), (200, None));
        let response = desk.ask(&register(&mut phone, &contact, &[("Require", "gruu")]));
        assert_eq!((response.status, response.header("unsupported")), (420, Some("gruu")));
    });
}

#[test]
fn sixty_four_instances_with_the_longest_contacts_are_listed_whole() {
    let options = registrar(Registrar { bindings_max: 64, ..Registrar::default() });
    each_way(&options, |desk| {
        let mut phone = desk.phone(1, "a");
        let mut response = None;
        for number in 10..74 {
            let host = format!("{}.test", "h".repeat(500));
            let urn = format!("urn:x:{}{number}", "%".repeat(118));
            let contact = format!("<sip:{number}@{}>;+sip.instance=\"<{urn}>\"", &host[5..]);
            response = Some(desk.ask(&register(&mut phone, &contact, &[GRUU])));
        }
        let response = response.unwrap();
        assert_eq!((response.status, response.contacts().len()), (200, 64));
        assert!(parameter(&response, "pub-gruu").is_some(), "the first has room");
    });
}
