//! The extensions of registration as a client meets them at the built server, over UDP and over
//! TCP: Path, Service-Route, Outbound, GRUU, keep, Date, and the redirect server.

// The shell's clock is allowed here: deadlines of sockets are real time.
#![allow(clippy::disallowed_methods)]

#[path = "client_contract/agent.rs"]
#[allow(dead_code, reason = "what it is told about its password is another file's")]
mod agent;
#[path = "streams/client.rs"]
#[allow(dead_code, reason = "only its TCP is used here")]
mod client;
mod common;
#[path = "client_contract/link.rs"]
#[allow(dead_code, reason = "another file looks at the server itself")]
mod link;
#[path = "common/serve.rs"]
mod serve;

use agent::Agent;
use common::Response;
use link::each_link;

const INSTANCE: &str = ";+sip.instance=\"<urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6>\"";
const SEVERAL: &str = "registrar.bindings_max=4";

/// Registers the agent's contact with these headers and parameters; it is challenged first if need
/// be.
fn register(agent: &mut Agent, params: &str, headers: &[(&str, &str)]) -> Response {
    let contact = format!("<{}>{params}", agent.phone.contact);
    let headers = [&[("Contact", contact.as_str()), ("Expires", "600")], headers].concat();
    let mut response = agent.once_with(&headers);
    if response.status == 401 && agent.phone.challenge.is_none() {
        assert!(agent.phone.take_challenge(&response));
        response = agent.once_with(&headers);
    }
    response
}

/// Asks with one more Via below its own, as behind a proxy; the agent must have been challenged.
fn behind_a_proxy(agent: &mut Agent, params: &str, headers: &[(&str, &str)]) -> Response {
    let contact = format!("<{}>{params}", agent.phone.contact);
    let headers = [&[("Contact", contact.as_str()), ("Expires", "600")], headers].concat();
    let request = agent.phone.request(&headers);
    let below = "Via: SIP/2.0/TCP phone.test;branch=z9hG4bKbelow\r\nMax-Forwards";
    agent.link.ask(&request.replacen("Max-Forwards", below, 1))
}

/// The values of a parameter of the listed contacts.
fn values(response: &Response, name: &str) -> Vec<String> {
    let start = format!(";{name}=\"");
    response
        .all("contact")
        .filter_map(|value| Some(value.split_once(&start)?.1.split_once('"')?.0.to_owned()))
        .collect()
}

/// The value of a list header, its lines joined as one.
fn list(response: &Response, name: &str) -> String {
    response.all(name).collect::<Vec<_>>().join(", ")
}

#[test]
fn rfc3327_5_3_the_path_is_answered_in_its_order_to_a_phone_that_supports_it() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 1, "a");
        let paths = [
            ("Path", "<sip:p1.test;lr>,<sip:p2.test;lr>"),
            ("Path", "<sip:p3.test;lr>"),
            ("Supported", "path"),
        ];
        let response = register(&mut agent, "", &paths);
        assert_eq!(response.status, 200, "{response:?}");
        assert_eq!(list(&response, "path"), "<sip:p1.test;lr>, <sip:p2.test;lr>, <sip:p3.test;lr>");
        assert!(list(&response, "supported").contains("path"));
    });
}

#[test]
fn rfc3327_5_3_a_phone_that_does_not_support_path_is_refused_only_where_it_is_strict() {
    let path = [("Path", "<sip:p1.test;lr>")];
    each_link(&["registrar.path=strict"], |place| {
        let mut agent = Agent::new(place, 2, "a");
        let response = register(&mut agent, "", &path);
        assert_eq!((response.status, list(&response, "unsupported")), (420, "path".into()));
        assert_eq!(agent.fetch().contacts(), []);
        assert_eq!(register(&mut agent, "", &[]).status, 200, "without a Path there is no fault");
    });
    each_link(&["registrar.path=lazy"], |place| {
        let mut agent = Agent::new(place, 2, "a");
        let response = register(&mut agent, "", &path);
        assert_eq!((response.status, response.header("path")), (200, None));
    });
    each_link(&["registrar.path=off"], |place| {
        let mut agent = Agent::new(place, 2, "a");
        let response = register(&mut agent, "", &[path[0], ("Supported", "path")]);
        assert_eq!((response.status, response.header("path")), (200, None));
        let response = register(&mut agent, "", &[("Require", "path")]);
        assert_eq!((response.status, list(&response, "unsupported")), (420, "path".into()));
    });
}

#[test]
fn rfc3608_6_3_the_service_route_comes_with_every_success_and_with_nothing_else() {
    let route = "registrar.service_route=sip:one.test;lr,sip:two.test;transport=tcp;lr";
    each_link(&[route], |place| {
        let mut agent = Agent::new(place, 3, "a");
        assert_eq!(agent.once(600).header("service-route"), None);
        let expected = "<sip:one.test;lr>, <sip:two.test;transport=tcp;lr>";
        for expires in [600, 600] {
            let response = agent.register(expires);
            assert_eq!((response.status, list(&response, "service-route")), (200, expected.into()));
        }
        assert_eq!(agent.once(5).status, 423);
        assert_eq!(agent.once(5).header("service-route"), None);
    });
}

#[test]
fn rfc5626_6_a_flow_is_taken_with_require_outbound_and_a_flow_timer() {
    each_link(&["registrar.flow_timer=77"], |place| {
        let mut agent = Agent::new(place, 4, "a");
        let params = format!("{INSTANCE};reg-id=1");
        let response = register(&mut agent, &params, &[("Supported", "path, outbound")]);
        assert_eq!(response.status, 200, "{response:?}");
        assert!(list(&response, "require").contains("outbound"), "{response:?}");
        assert_eq!(response.header("flow-timer"), Some("77"));
        assert!(response.header("contact").unwrap().contains(";reg-id=1"), "{response:?}");
    });
}

#[test]
fn rfc5626_6_without_support_or_instance_or_reg_id_there_is_no_outbound() {
    each_link(&[SEVERAL], |place| {
        let both = format!("{INSTANCE};reg-id=1");
        let cases = [
            (both.as_str(), &[][..]),
            (INSTANCE, &[("Supported", "outbound")]),
            (";reg-id=1", &[("Supported", "outbound")]),
        ];
        for (nth, (params, headers)) in cases.into_iter().enumerate() {
            let mut agent = Agent::new(place, 5 + nth as u32, "a");
            let response = register(&mut agent, params, headers);
            assert_eq!(response.status, 200, "{params} {response:?}");
            assert_eq!(response.header("flow-timer"), None, "{params}");
            assert!(!list(&response, "require").contains("outbound"), "{params}");
        }
    });
}

#[test]
fn rfc5626_6_a_device_keeps_several_flows_and_each_replaces_itself() {
    each_link(&[SEVERAL], |place| {
        let supported = [("Supported", "path, outbound")];
        let mut first = Agent::new(place, 8, "a");
        let response = register(&mut first, &format!("{INSTANCE};reg-id=1"), &supported);
        assert_eq!(response.status, 200);
        // The second flow, as from another network: the same device, another link and Call-ID.
        let mut second = Agent::new(place, 8, "b");
        let response = register(&mut second, &format!("{INSTANCE};reg-id=2"), &supported);
        assert_eq!((response.status, response.contacts().len()), (200, 2));
        // The first flow comes again over a new address.
        let mut again = Agent::new(place, 8, "c");
        let response = register(&mut again, &format!("{INSTANCE};reg-id=1"), &supported);
        let mut bound: Vec<String> = response.contacts().into_iter().map(|(uri, _)| uri).collect();
        bound.sort();
        let mut expected = vec![second.phone.contact.clone(), again.phone.contact.clone()];
        expected.sort();
        assert_eq!(bound, expected);
    });
}

#[test]
fn rfc5626_6_a_first_hop_that_keeps_no_flows_is_named_with_439() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 9, "a");
        assert!(agent.once(600).status == 401);
        let mut agent = Agent::new(place, 9, "b");
        let challenge = agent.once(600);
        assert!(agent.phone.take_challenge(&challenge));
        let params = format!("{INSTANCE};reg-id=1");
        let supported = ("Supported", "path, outbound");
        let lacking = [supported, ("Path", "<sip:edge.test;lr>")];
        let response = behind_a_proxy(&mut agent, &params, &lacking);
        assert_eq!(
            (response.status, response.reason.as_str()),
            (439, "First Hop Lacks Outbound Support")
        );
        assert_eq!(agent.fetch().contacts(), []);
        let keeping = [supported, ("Path", "<sip:token@edge.test;lr;ob>")];
        let response = behind_a_proxy(&mut agent, &params, &keeping);
        assert_eq!(response.status, 200, "{response:?}");
        assert!(list(&response, "require").contains("outbound"));
    });
}

#[test]
fn rfc5626_6_two_flows_in_one_request_are_refused() {
    each_link(&[SEVERAL], |place| {
        let mut agent = Agent::new(place, 10, "a");
        assert_eq!(agent.register(600).status, 200);
        let flow = |n: u32| format!("<sip:flow{n}@phones.test>{INSTANCE};reg-id={n}");
        let (one, two) = (flow(1), flow(2));
        let headers =
            [("Contact", one.as_str()), ("Contact", &two), ("Supported", "path, outbound")];
        assert_eq!(agent.once_with(&headers).status, 400);
        assert_eq!(agent.fetch().contacts().len(), 1);
    });
}

#[test]
fn rfc5627_5_2_a_device_that_supports_gruus_is_given_both_and_the_public_one_stays() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 11, "a");
        let supported = [("Supported", "gruu")];
        let first = register(&mut agent, INSTANCE, &supported);
        let second = register(&mut agent, INSTANCE, &supported);
        let expected = format!(
            "sip:{}@example.com;gr=urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6",
            agent.phone.user
        );
        assert_eq!(values(&first, "pub-gruu"), [expected.as_str()]);
        assert_eq!(values(&second, "pub-gruu"), [expected.as_str()]);
        // RFC 5627 5.4: each refresh mints another temporary one.
        let temporary = [values(&first, "temp-gruu"), values(&second, "temp-gruu")];
        assert_eq!((temporary[0].len(), temporary[1].len()), (1, 1));
        assert_ne!(temporary[0], temporary[1]);
        assert!(temporary[0][0].ends_with("@example.com;gr"), "{temporary:?}");
        assert!(!temporary[0][0].contains(&agent.phone.user), "it tells nobody who: {temporary:?}");
        assert!(values(&register(&mut agent, INSTANCE, &[]), "pub-gruu").is_empty());
    });
}

#[test]
fn rfc5627_5_1_a_contact_that_leads_back_to_the_user_is_refused() {
    each_link(&[], |place| {
        let mut agent = Agent::new(place, 12, "a");
        agent.phone.contact = format!("sip:{}@example.com", agent.phone.user);
        let response = register(&mut agent, INSTANCE, &[("Supported", "gruu")]);
        assert_eq!(response.status, 403, "{response:?}");
        assert_eq!(agent.fetch().contacts(), []);
    });
}

#[test]
fn rfc6223_4_4_keep_is_answered_with_an_interval_only_where_it_was_offered() {
    let asked = |agent: &mut Agent, keep: &str| {
        let request = agent.phone.register(600).replacen(";rport", &format!(";rport{keep}"), 1);
        let response = agent.link.ask(&request);
        (response.header("via").unwrap().to_owned(), response)
    };
    each_link(&["registrar.flow_timer=88"], |place| {
        let mut agent = Agent::new(place, 13, "a");
        assert_eq!(agent.register(600).status, 200);
        let (via, response) = asked(&mut agent, ";keep");
        assert_eq!(response.status, 200);
        assert!(via.contains(";keep=88"), "{via}");
        let (via, _) = asked(&mut agent, "");
        assert!(!via.contains("keep"), "{via}");
    });
    each_link(&["registrar.keep=off"], |place| {
        let mut agent = Agent::new(place, 13, "a");
        assert_eq!(agent.register(600).status, 200);
        let (via, _) = asked(&mut agent, ";keep");
        assert!(!via.contains("keep="), "{via}");
    });
}

#[test]
fn rfc3261_20_17_a_date_stands_in_the_200_where_it_is_switched_on() {
    each_link(&["registrar.date=on"], |place| {
        let response = Agent::new(place, 14, "a").register(600);
        let date = response.header("date").expect("a date");
        // Sat, 13 Nov 2010 23:29:00 GMT
        assert_eq!(date.len(), 29, "{date}");
        assert!(date.ends_with(" GMT"), "{date}");
    });
    each_link(&[], |place| {
        assert_eq!(Agent::new(place, 14, "a").register(600).header("date"), None);
    });
}

#[test]
fn rfc3261_8_3_users_are_redirected_to_their_contacts_in_the_order_of_q() {
    let settings = ["registrar.redirect=on", "registrar.bindings_max=3"];
    each_link(&settings, |place| {
        let mut agent = Agent::new(place, 15, "a");
        let invite = |agent: &mut Agent| {
            let user = agent.phone.user.clone();
            let request = agent.phone.request(&[]).replace("REGISTER sip:", "INVITE sip:");
            let request = request.replace("INVITE sip:", &format!("INVITE sip:{user}@"));
            agent.link.ask(&request.replace(" REGISTER", " INVITE"))
        };
        // RFC 3261 21.4.18: known, and nowhere.
        assert_eq!(invite(&mut agent).status, 480);
        agent.phone.challenge = None;
        let challenge = agent.once(600);
        assert!(agent.phone.take_challenge(&challenge));
        let contacts = [
            ("Contact", "<sip:low@phones.test>;q=0.2"),
            ("Contact", "<sip:high@phones.test>;q=0.9"),
            ("Contact", "<sip:middle@phones.test>;q=0.5"),
        ];
        assert_eq!(agent.once_with(&contacts).status, 200);
        let moved = invite(&mut agent);
        assert_eq!(moved.status, 302, "{moved:?}");
        let targets: Vec<String> = moved.contacts().into_iter().map(|(uri, _)| uri).collect();
        assert_eq!(
            targets,
            ["sip:high@phones.test", "sip:middle@phones.test", "sip:low@phones.test"]
        );
    });
}
