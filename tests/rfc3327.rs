//! RFC 3327 over the whole shard: what becomes of a Path, by mode.

mod common;
#[path = "common/desk.rs"]
mod desk;

use aorta::config::{PathMode, Registrar};
use aorta::registrar::AorId;
use aorta::shard::refused::RefuseReason;
use common::{Phone, Response};
use desk::{Desk, each_way, registrar};

const PROXY: &str = "<sip:p1.example.net;lr>, <sip:p2.example.net;lr>";

fn mode(path: PathMode) -> common::cluster::Options {
    registrar(Registrar { path, ..Registrar::default() })
}

fn register(phone: &mut Phone, more: &[(&str, &str)]) -> String {
    let contact = format!("<{}>", phone.contact);
    let mut headers = vec![("Contact", contact.as_str()), ("Expires", "600")];
    headers.extend_from_slice(more);
    phone.request(&headers)
}

/// The Paths stored for account `u1`.
fn stored(desk: &Desk) -> Vec<String> {
    let mut paths = Vec::new();
    for shard in &desk.cluster.shards {
        let Some(account) = shard.find_account(b"u1@example.com") else { continue };
        for (_, binding) in shard.registrar().bindings(AorId(account.0), desk.cluster.now) {
            paths.push(String::from_utf8(binding.path().to_vec()).unwrap());
        }
    }
    paths
}

fn paths(response: &Response) -> Vec<String> {
    response.all("path").map(str::to_owned).collect()
}

#[test]
fn s5_3_a_path_is_stored_and_answered_to_a_phone_that_supports_it() {
    each_way(&mode(PathMode::Lazy), |desk| {
        let mut phone = desk.phone(1, "a");
        let more = [("Supported", "path"), ("Path", PROXY)];
        let response = desk.ask(&register(&mut phone, &more));
        assert_eq!((response.status, paths(&response)), (200, vec![PROXY.to_owned()]));
        assert_eq!(response.header("supported"), Some("path, outbound, gruu"));
        assert_eq!(stored(desk), [PROXY]);
    });
}

#[test]
fn s5_3_several_path_headers_are_one_list_in_order() {
    each_way(&mode(PathMode::Lazy), |desk| {
        let mut phone = desk.phone(1, "a");
        let more = [
            ("Supported", "path"),
            ("Path", "<sip:p1.example.net;lr>"),
            ("Path", "<sip:p2.example.net;lr>"),
        ];
        assert_eq!(paths(&desk.ask(&register(&mut phone, &more))), [PROXY]);
        assert_eq!(stored(desk), [PROXY]);
        // A refresh by another way takes the other way.
        let more = [("Supported", "path"), ("Path", "<sip:p3.example.net;lr>")];
        desk.ask(&register(&mut phone, &more));
        assert_eq!(stored(desk), ["<sip:p3.example.net;lr>"]);
    });
}

#[test]
fn lazy_stores_the_path_of_a_phone_that_does_not_support_it_and_answers_none() {
    each_way(&mode(PathMode::Lazy), |desk| {
        let mut phone = desk.phone(1, "a");
        let response = desk.ask(&register(&mut phone, &[("Path", PROXY)]));
        assert_eq!((response.status, paths(&response)), (200, vec![]));
        assert_eq!(stored(desk), [PROXY]);
    });
}

#[test]
fn strict_refuses_the_path_of_a_phone_that_does_not_support_it() {
    each_way(&mode(PathMode::Strict), |desk| {
        let mut phone = desk.phone(1, "a");
        let response = desk.ask(&register(&mut phone, &[("Path", PROXY)]));
        assert_eq!((response.status, response.header("unsupported")), (420, Some("path")));
        assert_eq!(desk.bound(1), []);
        assert_eq!(desk.counters().refused(RefuseReason::PathUnsupported), 1);
        let more = [("Supported", "path"), ("Path", PROXY)];
        assert_eq!(desk.ask(&register(&mut phone, &more)).status, 200);
        assert_eq!(
            desk.ask(&register(&mut phone, &[])).status,
            200,
            "without a Path none is meant"
        );
    });
}

#[test]
fn off_knows_no_path() {
    each_way(&mode(PathMode::Off), |desk| {
        let mut phone = desk.phone(1, "a");
        let more = [("Supported", "path"), ("Path", PROXY)];
        let response = desk.ask(&register(&mut phone, &more));
        assert_eq!((response.status, paths(&response)), (200, vec![]));
        assert_eq!(response.header("supported"), Some("outbound, gruu"));
        assert_eq!(stored(desk), [""]);
        let response = desk.ask(&register(&mut phone, &[("Require", "path")]));
        assert_eq!((response.status, response.header("unsupported")), (420, Some("path")));
    });
}

#[test]
fn s4_require_path_is_met() {
    each_way(&mode(PathMode::Lazy), |desk| {
        let mut phone = desk.phone(1, "a");
        let more = [("Require", "path, gruu"), ("Path", PROXY)];
        assert_eq!(paths(&desk.ask(&register(&mut phone, &more))), [PROXY]);
        let response = desk.ask(&register(&mut phone, &[("Require", "path, precondition")]));
        assert_eq!((response.status, response.header("unsupported")), (420, Some("precondition")));
    });
}

#[test]
fn a_path_that_cannot_be_read_or_kept_is_refused_and_changes_nothing() {
    each_way(&mode(PathMode::Lazy), |desk| {
        let mut phone = desk.phone(1, "a");
        let long = format!("<sip:{}.example.net;lr>", "p".repeat(600));
        let many = vec!["<sip:p.example.net;lr>"; 40].join(", ");
        for bad in ["sip:p1.example.net;lr", "<sip:p1", "", &long, &many] {
            let response = desk.ask(&register(&mut phone, &[("Path", bad)]));
            assert_eq!(response.status / 100, 4, "{bad}: {}", response.reason);
        }
        assert_eq!(desk.bound(1), []);
    });
}

#[test]
fn a_plain_refresh_is_told_of_no_extension() {
    each_way(&mode(PathMode::Lazy), |desk| {
        let mut phone = desk.phone(1, "a");
        let response = desk.ask(&register(&mut phone, &[]));
        for name in ["path", "supported", "require", "flow-timer", "service-route", "date"] {
            assert_eq!(response.header(name), None);
        }
    });
}
