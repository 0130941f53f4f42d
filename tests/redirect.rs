//! The redirect server (RFC 3261 8.3) over the whole shard.

mod common;
#[path = "common/desk.rs"]
mod desk;

use aorta::config::{AccountPolicy, Registrar, StaticContact};
use common::cluster::Options;
use common::{Phone, Response};
use desk::{Desk, each_way, registrar};

fn on() -> Options {
    registrar(Registrar { redirect: true, bindings_max: 4, ..Registrar::default() })
}

fn request(method: &str, uri: &str, more: &str) -> String {
    format!(
        "{method} {uri} SIP/2.0\r\n\
         Via: SIP/2.0/UDP proxy.test;branch=z9hG4bK{method};rport\r\n\
         Max-Forwards: 70\r\n\
         From: <sip:caller@example.net>;tag=1\r\n\
         To: <{uri}>\r\n\
         Call-ID: {method}-call\r\n\
         CSeq: 7 {method}\r\n\
         {more}Content-Length: 0\r\n\r\n"
    )
}

fn invite(desk: &mut Desk, uri: &str) -> Response {
    desk.ask(&request("INVITE", uri, ""))
}

fn contacts(response: &Response) -> Vec<&str> {
    response.all("contact").collect()
}

fn register(desk: &mut Desk, phone: &mut Phone, contact: &str, more: &[(&str, &str)]) -> Response {
    let mut headers = vec![("Contact", contact), ("Expires", "600")];
    headers.extend_from_slice(more);
    let request = phone.request(&headers);
    let response = desk.ask(&request);
    assert_eq!(response.status, 200, "{}", response.reason);
    response
}

#[test]
fn s21_3_3_a_registered_user_is_where_his_contacts_are_in_q_order() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        let list =
            "<sip:u1@low.test>;q=0.2, <sip:u1@high.test;transport=tcp>;q=0.9, <sip:u1@plain.test>";
        register(desk, &mut phone, list, &[]);
        desk.pass(100);
        let response = invite(desk, "sip:u1@example.com");
        assert_eq!((response.status, response.reason.as_str()), (302, "Moved Temporarily"));
        let expected = [
            "<sip:u1@plain.test>;expires=500",
            "<sip:u1@high.test;transport=tcp>;q=0.900;expires=500",
            "<sip:u1@low.test>;q=0.200;expires=500",
        ];
        assert_eq!(contacts(&response), expected);
        assert_eq!(desk.counters().redirected, 1);
    });
}

#[test]
fn a_retransmission_is_answered_alike_and_its_ack_is_absorbed() {
    each_way(&on(), |desk| {
        desk.registered(1, "a", 600);
        let text = request("INVITE", "sip:u1@example.com", "");
        assert_eq!(desk.text(&text), desk.text(&text));
        let ack = request("ACK", "sip:u1@example.com", "");
        assert_eq!(desk.send_from(desk::source(), &ack), None);
        assert_eq!(desk.ask(&request("CANCEL", "sip:u1@example.com", "")).status, 481);
    });
}

#[test]
fn s21_4_5_unknown_is_404_and_s21_4_18_nowhere_is_480() {
    each_way(&on(), |desk| {
        assert_eq!(invite(desk, "sip:nobody@example.com").status, 404);
        assert_eq!(invite(desk, "sip:u1@example.com").status, 480);
        assert_eq!(invite(desk, "sip:u1@elsewhere.test").status, 404);
        assert_eq!(invite(desk, "sip:example.com").status, 404);
        assert_eq!(invite(desk, "tel:+1").status, 416);
        let mut phone = desk.registered(1, "a", 600);
        assert_eq!(invite(desk, "sip:u1@example.com").status, 302);
        desk.ask(&phone.register(0));
        assert_eq!(invite(desk, "sip:u1@example.com").status, 480);
    });
}

#[test]
fn s8_3_other_requests_unknown_methods_and_unknown_extensions_are_redirected() {
    each_way(&on(), |desk| {
        desk.registered(1, "a", 600);
        for method in ["MESSAGE", "REFER", "OPTIONS", "INFO", "FROBNICATE"] {
            let text = request(method, "sip:u1@example.com", "Require: teleport\r\n");
            assert_eq!(desk.ask(&text).status, 302, "{method}");
        }
        // To the host itself, or inside a dialog, is another matter.
        assert_eq!(desk.ask(&request("OPTIONS", "sip:example.com", "")).status, 200);
        let inside = request("INVITE", "sip:u1@example.com", "");
        let inside =
            inside.replacen("To: <sip:u1@example.com>", "To: <sip:u1@example.com>;tag=x", 1);
        assert_eq!(desk.ask(&inside).status, 481);
        assert_eq!(desk.ask(&request("BYE", "sip:u1@example.com", "")).status, 481);
    });
}

#[test]
fn rfc3327_a_path_goes_along_as_a_route_of_the_contact() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        let path = ("Path", "<sip:p1.example.net;lr>");
        register(desk, &mut phone, "<sip:u1@a.test>", &[path]);
        let response = invite(desk, "sip:u1@example.com");
        let expected = ["<sip:u1@a.test?Route=%3Csip:p1.example.net%3Blr%3E>;expires=600"];
        assert_eq!(contacts(&response), expected);
    });
}

#[test]
fn rfc5626_s7_of_the_flows_of_one_device_the_newest_is_given() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        for reg_id in [1, 2] {
            let contact = format!(
                "<sip:u1@flow{reg_id}.test>;+sip.instance=\"<urn:uuid:1>\";reg-id={reg_id}"
            );
            register(desk, &mut phone, &contact, &[("Supported", "outbound")]);
            desk.pass(10);
        }
        let response = invite(desk, "sip:u1@example.com");
        assert_eq!(contacts(&response), ["<sip:u1@flow2.test>;expires=590"]);
    });
}

#[test]
fn rfc5627_s6_a_gruu_leads_to_its_instance_alone() {
    each_way(&on(), |desk| {
        let gruu = ("Supported", "gruu");
        let mut phone = desk.phone(1, "a");
        let one = "<sip:u1@one.test>;+sip.instance=\"<urn:uuid:1>\"";
        let response = register(desk, &mut phone, one, &[gruu]);
        let contact = response.header("contact").unwrap().to_owned();
        let temporary = contact.split_once("temp-gruu=\"").unwrap().1.split_once('"').unwrap().0;
        let mut other = desk.phone(1, "b");
        register(desk, &mut other, "<sip:u1@two.test>;+sip.instance=\"<urn:uuid:2>\"", &[gruu]);
        assert_eq!(contacts(&invite(desk, "sip:u1@example.com")).len(), 2);
        for uri in ["sip:u1@example.com;gr=urn:uuid:1", temporary] {
            assert_eq!(contacts(&invite(desk, uri)), ["<sip:u1@one.test>;expires=600"], "{uri}");
        }
        // One that was never given, and one of an instance that is gone.
        assert_eq!(invite(desk, "sip:tgruu.AAAA@example.com;gr").status, 404);
        register(desk, &mut phone, &format!("{one};expires=0"), &[]);
        assert_eq!(invite(desk, "sip:u1@example.com;gr=urn:uuid:1").status, 480);
        assert_eq!(invite(desk, temporary).status, 404);
    });
}

#[test]
fn rfc5627_s5_4_a_gruu_that_cannot_be_read_is_not_taken_for_the_address_of_record() {
    each_way(&on(), |desk| {
        desk.registered(1, "a", 600);
        let long = format!("sip:u1@example.com;gr={}", "a".repeat(2000));
        for uri in ["sip:u1@example.com;gr", "sip:tgruu.@example.com;gr", &long] {
            let response = invite(desk, uri);
            assert_eq!((response.status, contacts(&response).len()), (404, 0), "{uri:.60}");
        }
        assert_eq!(invite(desk, "sip:u1@example.com").status, 302);
    });
}

#[test]
fn s8_3_a_request_is_never_redirected_to_its_own_uri() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        register(desk, &mut phone, "<sip:u1@EXAMPLE.com>", &[]);
        assert_eq!(invite(desk, "sip:u1@example.com").status, 404);
        register(desk, &mut phone, "<sip:u1@a.test>", &[]);
        let response = invite(desk, "sip:u1@example.com");
        assert_eq!(contacts(&response), ["<sip:u1@a.test>;expires=600"]);
        // A contact that only looks like it is another URI: it names a port (19.1.4).
        register(desk, &mut phone, "<sip:u1@example.com:5070>", &[]);
        assert_eq!(contacts(&invite(desk, "sip:u1@example.com")).len(), 2);
    });
}

#[test]
fn s8_1_3_4_a_sips_uri_leads_to_sips_uris_only() {
    each_way(&on(), |desk| {
        let mut phone = desk.phone(1, "a");
        register(desk, &mut phone, "<sip:u1@a.test>", &[]);
        assert_eq!(invite(desk, "sips:u1@example.com").status, 480);
        register(desk, &mut phone, "<sips:u1@a.test>", &[]);
        let response = invite(desk, "sips:u1@example.com");
        assert_eq!(contacts(&response), ["<sips:u1@a.test>;expires=600"]);
    });
}

#[test]
fn an_alias_or_the_only_domains_address_names_the_same_users() {
    let options = Options { aliases: vec!["sip.example.com".into()], ..on() };
    each_way(&options, |desk| {
        desk.registered(1, "a", 600);
        for uri in ["sip:u1@SIP.example.com", "sip:%751@example.com.", "sip:u1@192.0.2.1:5060"] {
            assert_eq!(invite(desk, uri).status, 302, "{uri}");
        }
    });
}

#[test]
fn a_static_contact_is_given_without_any_registration() {
    let fixed = StaticContact { uri: "sip:gw@192.0.2.99".into(), q_milli: Some(500) };
    let policy = AccountPolicy { static_contacts: vec![fixed], ..AccountPolicy::default() };
    let options = Options { policies: vec![(1, policy)], ..on() };
    each_way(&options, |desk| {
        let response = invite(desk, "sip:u1@example.com");
        assert_eq!(contacts(&response), ["<sip:gw@192.0.2.99>;q=0.500;expires=3600"]);
    });
}

#[test]
fn off_nothing_is_redirected() {
    each_way(&registrar(Registrar::default()), |desk| {
        desk.registered(1, "a", 600);
        let response = invite(desk, "sip:u1@example.com");
        assert_eq!(response.status, 405);
        assert!(response.header("allow").unwrap().starts_with("REGISTER, OPTIONS"));
    });
}
