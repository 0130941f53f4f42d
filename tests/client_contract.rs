//! What good clients rely on, from the client's side: a scripted user agent against the built
//! server over UDP and over TCP, at two reactors. What needs a clock that is turned by hand is at
//! a registrar without reactors.

// The shell's clock is allowed here: deadlines of sockets are real time.
#![allow(clippy::disallowed_methods)]

#[path = "client_contract/agent.rs"]
mod agent;
#[path = "client_contract/challenged.rs"]
mod challenged;
#[path = "streams/client.rs"]
#[allow(dead_code, reason = "only its TCP is used here")]
mod client;
mod common;
#[path = "common/desk.rs"]
mod desk;
#[path = "client_contract/link.rs"]
mod link;
#[path = "common/serve.rs"]
mod serve;

use agent::Agent;
use common::{Challenge, Response};
use link::{Place, each_link};

const FIXED_EXPIRY: &str = "registrar.expires_spread=0";

/// An agent that has registered.
fn registered(place: &Place<'_>, number: u32, device: &str) -> Agent {
    let mut agent = Agent::new(place, number, device);
    let response = agent.register(600);
    assert_eq!(response.status, 200, "{response:?}");
    agent
}

fn uris(response: &Response) -> Vec<String> {
    response.contacts().into_iter().map(|(uri, _)| uri).collect()
}

fn challenges(response: &Response) -> Vec<Challenge> {
    response.all("www-authenticate").map(Challenge::parse).collect()
}

// --- 423 ----------------------------------------------------------------------------------------

#[test]
fn rfc3261_10_2_8_a_client_that_obeys_min_expires_is_registered_at_the_next_request() {
    each_link(&["registrar.expires_min=90"], |place| {
        let mut agent = Agent::new(place, 1, "a");
        let response = agent.register(10);
        assert_eq!(agent.statuses, [401, 423, 200]);
        assert_eq!(response.contacts(), [(agent.phone.contact.clone(), 90)]);
    });
}

#[test]
fn rfc3261_10_2_8_a_client_that_ignores_min_expires_is_refused_each_time_and_keeps_what_it_has() {
    each_link(&["registrar.expires_min=90"], |place| {
        let mut agent = registered(place, 2, "a");
        agent.obeys_minimum = false;
        for _ in 0..3 {
            let response = agent.register(10);
            assert_eq!((response.status, response.header("min-expires")), (423, Some("90")));
            assert!(response.to_tag().is_some());
        }
        // Each refusal used up a CSeq and a nonce count, and no more.
        let bound = agent.fetch().contacts();
        assert_eq!(bound.len(), 1);
        assert!(bound[0].1 > 500, "{bound:?}");
        assert_eq!(agent.prompts, 0);
    });
}

// --- phones made for IMS ------------------------------------------------------------------------

#[test]
fn ts24229_5_1_1_2_an_ims_phone_announces_itself_before_it_is_challenged() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 20, "a");
        let user = agent.phone.user.clone();
        let contact = format!(
            "<{}>;+sip.instance=\"<urn:gsma:imei:90420156-025763-0>\"",
            agent.phone.contact
        );
        let announced = format!(
            "Digest username=\"{user}@example.com\", realm=\"example.com\", nonce=\"\", \
             uri=\"sip:example.com\", response=\"\""
        );
        let access = "3GPP-E-UTRAN-FDD; utran-cell-id-3gpp=2620112340000001";
        let security = "ipsec-3gpp; alg=hmac-sha-1-96; ealg=null; spi-c=1; spi-s=2; port-c=3; \
                        port-s=4";
        let common = [
            ("Contact", contact.as_str()),
            ("Expires", "600"),
            ("P-Access-Network-Info", access),
            ("P-Visited-Network-ID", "\"visited.example.net\""),
            ("P-Preferred-Identity", "<sip:somebody@example.com>"),
            ("Security-Client", security),
            ("Security-Verify", security),
            // For proxies, and none of a registrar's business.
            ("Proxy-Require", "sec-agree"),
            ("Supported", "path, gruu, sec-agree, 100rel, timer"),
        ];
        let first = agent.once_with(&[&common[..], &[("Authorization", &announced)]].concat());
        assert_eq!(first.status, 401);
        let challenge = challenges(&first).remove(0);
        assert!(!challenge.stale, "nothing was answered yet");
        let answer = agent.phone.credentials(&challenge, 1) + ", integrity-protected=\"no\"";
        let taken = agent.once_with(&[&common[..], &[("Authorization", &answer)]].concat());
        assert_eq!(taken.status, 200, "{taken:?}");
        assert_eq!(uris(&taken), [agent.phone.contact.as_str()]);
    });
}

#[test]
fn rfc3261_8_2_2_3_what_a_client_requires_and_nobody_knows_is_named() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 21, "a");
        let response = agent.once_with(&[("Require", "sec-agree, path"), ("Require", "x-own")]);
        assert_eq!(response.status, 420);
        let unsupported: Vec<&str> =
            response.all("unsupported").flat_map(|value| value.split(", ")).collect();
        assert_eq!(unsupported, ["sec-agree", "x-own"]);
    });
}

// --- refusals that pass -------------------------------------------------------------------------

#[test]
fn rfc3261_20_33_a_client_told_to_come_back_later_finds_room_once_there_is_some() {
    let settings = ["registrar.replace=never", "registrar.retry_after=40"];
    each_link(&settings, |place| {
        let mut first = registered(place, 22, "a");
        let mut second = Agent::new(place, 22, "b");
        let refused = second.register(600);
        assert_eq!(refused.status, 503);
        let after: u32 = refused.header("retry-after").expect("when").parse().expect("seconds");
        assert!((40..=60).contains(&after), "{after}");
        assert_eq!(second.prompts, 0, "it is no question of the password");
        assert_eq!(first.register(0).status, 200);
        assert_eq!(second.register(600).status, 200);
    });
}

// --- the contacts of a 200 ----------------------------------------------------------------------

#[test]
fn rfc3261_10_2_4_a_client_finds_its_own_contact_and_expiry_among_those_of_others() {
    each_link(&["registrar.bindings_max=3", FIXED_EXPIRY], |place| {
        let mut devices: Vec<Agent> =
            ["a", "b", "c"].iter().map(|device| Agent::new(place, 23, device)).collect();
        for (nth, device) in devices.iter_mut().enumerate() {
            let expires = 200 + 100 * nth as u32;
            let response = device.register(expires);
            assert_eq!(response.status, 200);
            assert_eq!(response.contacts().len(), nth + 1, "all of them are listed");
            let own = response.contacts().into_iter().find(|(uri, _)| *uri == device.phone.contact);
            assert_eq!(own, Some((device.phone.contact.clone(), expires)));
        }
        // The order is the same each time and for each of them, so that two answers compare.
        let order = uris(&devices[0].fetch());
        for device in &mut devices {
            assert_eq!(uris(&device.fetch()), order);
            assert_eq!(uris(&device.register(600)), order);
        }
    });
}

#[test]
fn rfc3261_10_2_1_1_the_expires_of_a_contact_counts_before_the_header() {
    each_link(&["registrar.bindings_max=3", FIXED_EXPIRY], |place| {
        let mut agent = registered(place, 24, "a");
        let one = format!("<{}>;expires=200", agent.phone.contact);
        let two = "<sip:second@phones.test>";
        let headers = [("Contact", one.as_str()), ("Contact", two), ("Expires", "400")];
        let response = agent.once_with(&headers);
        let mut granted: Vec<u32> = response.contacts().into_iter().map(|(_, s)| s).collect();
        granted.sort_unstable();
        assert_eq!(granted, [200, 400]);
        // Taken away by its own parameter, whatever the header says.
        let gone = format!("<{}>;expires=0", agent.phone.contact);
        let response = agent.once_with(&[("Contact", &gone), ("Expires", "400")]);
        assert_eq!(uris(&response), ["sip:second@phones.test"]);
    });
}

// --- forms --------------------------------------------------------------------------------------

/// A request with each header name as `name` writes it.
fn renamed(request: &str, name: impl Fn(&str) -> String) -> String {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    let mut text = lines.next().unwrap().to_owned();
    for line in lines {
        let (header, value) = line.split_once(':').unwrap();
        text += &format!("\r\n{}:{value}", name(header));
    }
    text + "\r\n\r\n" + body
}

#[test]
fn rfc3261_7_3_3_a_client_may_write_every_header_in_its_compact_form() {
    let compact = |name: &str| {
        let forms = [
            ("Via", "v"),
            ("From", "f"),
            ("To", "t"),
            ("Call-ID", "i"),
            ("Contact", "m"),
            ("Content-Length", "l"),
            ("Supported", "k"),
        ];
        let form = forms.iter().find(|(long, _)| *long == name);
        form.map_or(name, |(_, short)| short).to_owned()
    };
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 25, "a");
        let response = agent.link.ask(&renamed(&agent.phone.register(600), compact));
        assert_eq!(response.status, 401);
        assert!(agent.phone.take_challenge(&response));
        let contact = format!("<{}>", agent.phone.contact);
        let request = agent.phone.request(&[("Contact", &contact), ("Supported", "path")]);
        let response = agent.link.ask(&renamed(&request, compact));
        assert_eq!((response.status, uris(&response)), (200, vec![agent.phone.contact.clone()]));
    });
}

#[test]
fn rfc3261_7_3_1_a_client_may_write_everything_but_the_method_in_lower_case() {
    each_link(&[], |place| {
        let lower = |link: &link::Link, request: &str| {
            let request = renamed(&link.with_via(request), str::to_ascii_lowercase);
            let request = request.replace("SIP/2.0", "sip/2.0").replace("Digest", "digest");
            request.replace("/UDP", "/udp").replace("/TCP", "/tcp").replace("=MD5", "=md5")
        };
        let mut agent = Agent::new(place, 26, "a");
        let request = lower(&agent.link, &agent.phone.register(600));
        let response = Response::parse(&agent.link.exchange(&request));
        assert_eq!(response.status, 401);
        assert!(agent.phone.take_challenge(&response));
        let request = lower(&agent.link, &agent.phone.register(600));
        let response = Response::parse(&agent.link.exchange(&request));
        assert_eq!((response.status, uris(&response)), (200, vec![agent.phone.contact.clone()]));
    });
}

// --- the transaction ----------------------------------------------------------------------------

/// An answer without what no two challenges share.
fn without_nonce(answer: &[u8]) -> String {
    let text = String::from_utf8(answer.to_vec()).expect("an answer is text");
    match text.split_once(" nonce=\"") {
        Some((before, rest)) => format!("{before}{}", rest.split_once('"').unwrap().1),
        None => text,
    }
}

#[test]
fn rfc3261_8_2_7_a_retransmission_is_answered_with_the_same_bytes() {
    each_link(&["registrar.bindings_max=2"], |place| {
        let mut agent = Agent::new(place, 27, "a");
        let mut ask_thrice = |request: &str| {
            let request = agent.link.with_via(request);
            let first = agent.link.exchange(&request);
            for _ in 0..2 {
                let again = agent.link.exchange(&request);
                assert_eq!(without_nonce(&again), without_nonce(&first));
            }
            Response::parse(&first)
        };
        let challenged = ask_thrice(&agent.phone.register(600));
        assert_eq!(challenged.status, 401);
        // Each challenge is as good as the others: the first is answered here, as by a client whose
        // retransmissions crossed it on the way.
        assert!(agent.phone.take_challenge(&challenged));
        assert_eq!(ask_thrice(&agent.phone.register(600)).status, 200);
        assert_eq!(ask_thrice(&agent.phone.register(10)).status, 423);
        assert_eq!(ask_thrice(&agent.phone.register(300)).status, 200);
        assert_eq!(ask_thrice(&agent.phone.register(0)).status, 200);
    });
}

#[test]
fn rfc3261_8_2_6_2_every_answer_has_the_requests_headers_and_a_to_tag_of_its_own() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 28, "a");
        let via = agent.link.via();
        let vias = [
            format!("SIP/2.0/{via} edge.test:5062;branch=z9hG4bKtop;rport"),
            "SIP/2.0/TLS phone.test;branch=z9hG4bKphone;x=\"a,b\"".to_owned(),
        ];
        let mut tags = Vec::new();
        for expires in ["600", "10", "600"] {
            let contact = format!("<{}>", agent.phone.contact);
            let request = agent.phone.request(&[("Contact", &contact), ("Expires", expires)]);
            let own = request.lines().find(|line| line.starts_with("Via: ")).unwrap();
            let branch = agent.phone.cseq.to_string();
            let top = vias[0].replace("z9hG4bKtop", &format!("z9hG4bKtop{branch}"));
            let request = request.replace(own, &format!("Via: {top}\r\nVia: {}", vias[1]));
            let response = Response::parse(&agent.link.exchange(&request));

            let answered: Vec<&str> = response.all("via").collect();
            assert_eq!(answered.len(), 2);
            // RFC 3581 4: rport is filled in, and received beside it.
            assert!(answered[0].starts_with(top.strip_suffix(";rport").unwrap()));
            assert!(answered[0].contains(";received=127.0.0.1"), "{answered:?}");
            assert!(answered[0].contains(";rport="), "{answered:?}");
            assert_eq!(answered[1], vias[1]);
            for name in ["From", "Call-ID", "CSeq"] {
                let line = format!("{name}: {}", response.header(&name.to_lowercase()).unwrap());
                assert!(request.contains(&line), "{line}");
            }
            let to = response.header("to").unwrap();
            assert!(to.starts_with(&format!("<sip:{}@example.com>;tag=", agent.phone.user)));
            tags.push(response.to_tag().unwrap().to_owned());
            if response.status == 401 {
                assert!(agent.phone.take_challenge(&response));
            }
        }
        assert!(tags.iter().all(|tag| tag.len() >= 8), "RFC 3261 19.3: {tags:?}");
    });
}

#[test]
fn rfc3261_10_3_the_answer_says_what_the_registrar_can_do() {
    each_link(&[], |place| {
        let mut agent = registered(place, 29, "a");
        let request = agent.phone.request(&[]);
        // What is served does not depend on who asks, and needs no password.
        let options = request.replace("REGISTER", "OPTIONS");
        let answer = agent.link.ask(&options);
        assert_eq!(answer.status, 200);
        let allow = answer.header("allow").expect("what may be asked");
        assert!(allow.contains("REGISTER") && allow.contains("OPTIONS"), "{allow}");
        let supported = answer.header("supported").expect("the extensions served");
        for option in ["path", "outbound", "gruu"] {
            assert!(supported.split(", ").any(|named| named == option), "{option}: {supported}");
        }
        let unknown = request.replace("REGISTER", "MESSAGE");
        let answer = agent.link.ask(&unknown);
        assert_eq!(answer.status, 405);
        assert_eq!(answer.header("allow"), Some(allow));
    });
}
