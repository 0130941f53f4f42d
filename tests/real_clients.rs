//! Real phones and tools against the built server, over UDP, TCP and TLS, at one and at two
//! reactors: SIPp with its own digest code, sipsak and baresip register, refresh, replace each
//! other, and are refused with a wrong password. Owns no protocol knowledge of its own: what a
//! client must see stands in the SIPp scenarios beside this file, or is the client's own verdict.
//!
//! A tool that is not installed is skipped aloud; `AORTA_REQUIRE_CLIENTS=1` makes that a failure.
//! `AORTA_TEST_TARGET=[TRANSPORT:]ADDRESS:PORT` (udp unless said) points the clients at another
//! registrar that knows u1..u100 with passwords p1..p100 in example.com, one binding each, replaced
//! by the next; none is registered when the tests begin, and no two tests use one user.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

#[path = "common/certificate.rs"]
mod certificate;
#[path = "real_clients/process.rs"]
mod process;
#[path = "real_clients/server.rs"]
mod server;
#[path = "real_clients/tools.rs"]
mod tools;
#[path = "real_clients/tunnel.rs"]
mod tunnel;

use server::{EACH, STREAMS, Transport, each_server, each_server_at};
use tools::{Baresip, Sipp, readme_sipp, sipsak, sipsak_register};

/// One call of a scenario by account `number`, over each transport.
fn sipp(scenario: &str, number: u32, settings: &[&str]) {
    each_server("sipp", &EACH, settings, |target| Sipp::new(target, scenario, number).run());
}

#[test]
fn sipp_registers_refreshes_fetches_and_unregisters() {
    sipp("register", 11, &[]);
}

#[test]
fn sipp_with_a_wrong_password_is_challenged_again_and_registers_nothing() {
    each_server("sipp", &EACH, &[], |target| {
        Sipp::with_password(target, "wrong_password", 12, "not p12").run();
        Sipp::new(target, "fetch_empty", 12).run();
    });
}

#[test]
fn sipp_with_an_unknown_account_is_challenged_and_never_taken() {
    each_server("sipp", &EACH, &[], |target| Sipp::by(target, "unknown", "nobody", "p1").run());
}

#[test]
fn sipp_second_device_replaces_the_first() {
    sipp("replace", 13, &[]);
}

#[test]
fn sipp_second_device_is_refused_where_replacement_is_off() {
    sipp("refuse", 14, &["SS_ENDPOINT_REGISTER_REPLACE=Off"]);
}

#[test]
fn sipp_third_contact_is_refused_whole_where_replacement_is_off() {
    let settings = ["registrar.replace=never", "registrar.bindings_max=2"];
    sipp("refuse_several", 15, &settings);
}

#[test]
fn sipp_third_device_takes_the_place_of_the_oldest() {
    sipp("evict_oldest", 16, &["registrar.bindings_max=2"]);
}

#[test]
fn sipp_third_device_takes_the_oldest_place_where_every_binding_is_reachable() {
    let settings = ["registrar.bindings_max=2", "registrar.evict=unreachable_first"];
    sipp("evict_oldest", 17, &settings);
}

#[test]
fn sipp_keeps_several_contacts_and_removes_all_with_the_asterisk() {
    sipp("contacts", 18, &["registrar.bindings_max=4"]);
}

#[test]
fn sipp_adds_refreshes_and_removes_in_one_request() {
    sipp("mixed", 19, &["registrar.bindings_max=4"]);
}

#[test]
fn sipp_unregisters_several_and_then_all() {
    sipp("unregister_several", 20, &["registrar.bindings_max=4"]);
}

#[test]
fn sipp_with_a_wrong_asterisk_changes_nothing() {
    sipp("asterisk", 21, &[]);
}

#[test]
fn sipp_without_a_contact_asks_and_changes_nothing() {
    sipp("no_contact", 22, &[]);
}

#[test]
fn sipp_without_an_expiry_is_granted_the_default() {
    sipp("no_expires", 23, &["registrar.expires_default=300"]);
}

#[test]
fn sipp_asking_for_too_long_an_expiry_is_granted_the_maximum() {
    sipp("maximum", 24, &["SS_ENDPOINT_EXPIRE=200"]);
}

#[test]
fn sipp_asking_for_too_brief_an_expiry_is_told_the_minimum() {
    sipp("brief", 25, &["registrar.expires_min=60"]);
}

#[test]
fn sipp_asking_for_too_brief_an_expiry_is_granted_the_minimum_where_the_policy_raises() {
    sipp("raised", 26, &["registrar.expires_min=60", "registrar.expires_min_policy=raise"]);
}

#[test]
fn sipp_is_told_the_path_it_registered_over() {
    sipp("path", 27, &[]);
}

#[test]
fn sipp_with_a_path_it_does_not_support_is_refused_where_path_is_strict() {
    sipp("path_strict", 28, &["registrar.path=strict"]);
}

#[test]
fn sipp_is_told_the_service_route() {
    let route = "registrar.service_route=sip:one.example.com;lr,sip:two.example.com;lr";
    sipp("service_route", 29, &[route]);
}

#[test]
fn sipp_registers_under_any_user_agent() {
    sipp("user_agent", 30, &[]);
}

#[test]
fn sipp_registers_flows_of_one_device_over_a_connection() {
    each_server("sipp", &STREAMS, &["registrar.bindings_max=4"], |target| {
        Sipp::new(target, "outbound", 31).run();
    });
}

#[test]
fn sipp_is_given_gruus() {
    sipp("gruu", 32, &[]);
}

#[test]
fn sipp_registers_sixty_phones_from_sockets_of_their_own() {
    each_server("sipp", &EACH, &[], |target| Sipp::many(target, 41..=100).run());
}

#[test]
fn sipp_registers_over_ipv6() {
    each_server_at("[::1]", "sipp", &EACH, &[], |target| {
        Sipp::new(target, "register", 11).run();
    });
}

#[test]
fn sipp_as_the_readme_calls_it_registers() {
    let accounts = tools::Accounts::new("alice@example.com correct-horse\n");
    let setting = format!("serve.subscribers={}", accounts.path());
    each_server("sipp", &[Transport::Udp], &[&setting], readme_sipp);
}

#[test]
fn sipsak_registers_and_is_refused_with_a_wrong_password() {
    each_server("sipsak", &EACH, &[], |target| {
        let (taken, output) = sipsak_register(target, 1, &target.password(1), 7001);
        assert!(taken, "sipsak was refused:\n{output}");
        assert!(output.contains(":7001>;"), "its contact is not in the answer:\n{output}");
        let (taken, output) = sipsak_register(target, 2, "not p2", 7001);
        assert!(!taken, "a wrong password was taken:\n{output}");
        assert!(output.contains("401"), "refused without a challenge:\n{output}");
    });
}

#[test]
fn sipsak_asks_for_options_and_is_answered() {
    each_server("sipsak", &EACH, &[], |target| {
        let (answered, output) = sipsak(target, &["-s", "sip:example.com"]);
        assert!(answered, "OPTIONS was not answered with 200:\n{output}");
    });
}

#[test]
fn baresip_registers_and_unregisters() {
    each_server("baresip", &EACH, &[], |target| {
        let Some(mut phone) = Baresip::start(target, 3, &target.password(3)) else { return };
        let verdict = phone.verdict();
        assert!(verdict.contains("200 OK"), "baresip was refused: {verdict}");
        phone.hang_up();
    });
}

#[test]
fn baresip_registers_over_ipv6() {
    each_server_at("[::1]", "baresip", &EACH, &[], |target| {
        let Some(mut phone) = Baresip::start(target, 3, &target.password(3)) else { return };
        let verdict = phone.verdict();
        assert!(verdict.contains("200 OK"), "baresip was refused: {verdict}");
        phone.hang_up();
    });
}

#[test]
fn baresip_is_refused_with_a_wrong_password() {
    each_server("baresip", &EACH, &[], |target| {
        let Some(mut phone) = Baresip::start(target, 4, "wrong") else { return };
        let verdict = phone.verdict();
        // It tries on until its authentication session is over.
        let refused = verdict.contains("401") || verdict.contains("403");
        assert!(refused, "a wrong password was taken: {verdict}");
        phone.hang_up();
    });
}

#[test]
fn baresip_and_sipsak_replace_each_other() {
    each_server("baresip", &[Transport::Udp], &[], |target| {
        if !tools::installed("sipsak") {
            return;
        }
        let password = target.password(5);
        let (taken, output) = sipsak_register(target, 5, &password, 7001);
        assert!(taken, "sipsak was refused:\n{output}");

        let Some(mut phone) = Baresip::start(target, 5, &password) else { return };
        let verdict = phone.verdict();
        assert!(verdict.contains("[1 binding]"), "sipsak's binding is still there: {verdict}");

        let (taken, output) = sipsak_register(target, 5, &password, 7002);
        assert!(taken, "sipsak was refused:\n{output}");
        let answer = output.rsplit("SIP/2.0 200").next().unwrap_or_default();
        assert!(answer.contains(":7002>;"), "sipsak is not registered:\n{output}");
        assert!(!answer.contains("u5-0x"), "baresip's binding is still there:\n{output}");
        phone.hang_up();
    });
}
