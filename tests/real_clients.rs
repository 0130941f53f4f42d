//! Real phones and tools against the built server, at one and at two reactors: SIPp with its own
//! digest code, sipsak and baresip register, refresh, replace each other, and are refused with a
//! wrong password. Owns no protocol knowledge of its own: what a client must see stands in the
//! SIPp scenarios beside this file, or is the client's own verdict.
//!
//! A tool that is not installed is skipped aloud; `AORTA_REQUIRE_CLIENTS=1` makes that a failure.
//! `AORTA_TEST_TARGET=HOST:PORT` points the clients at another registrar that knows u1..u100 with
//! passwords p1..p100 in example.com, one binding each, replaced by the next; none is registered
//! when the tests begin, and no two tests use one user.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

#[path = "real_clients/process.rs"]
mod process;
#[path = "real_clients/server.rs"]
mod server;
#[path = "real_clients/tools.rs"]
mod tools;

use server::each_server;
use tools::{Baresip, Sipp, sipsak, sipsak_register};

#[test]
fn sipp_registers_refreshes_fetches_and_unregisters() {
    each_server("sipp", &[], |target| Sipp::new(target, "register", "u11", "p11").run());
}

#[test]
fn sipp_with_a_wrong_password_is_challenged_again_and_registers_nothing() {
    each_server("sipp", &[], |target| {
        Sipp::new(target, "wrong_password", "u12", "not p12").run();
        Sipp::new(target, "fetch_empty", "u12", "p12").run();
    });
}

#[test]
fn sipp_second_device_replaces_the_first() {
    each_server("sipp", &[], |target| Sipp::new(target, "replace", "u13", "p13").run());
}

#[test]
fn sipp_second_device_is_refused_where_replacement_is_off() {
    each_server("sipp", &["SS_ENDPOINT_REGISTER_REPLACE=Off"], |target| {
        Sipp::new(target, "refuse", "u14", "p14").run();
    });
}

#[test]
fn sipp_keeps_several_contacts_and_removes_all_with_the_asterisk() {
    each_server("sipp", &["registrar.bindings_max=4"], |target| {
        Sipp::new(target, "contacts", "u15", "p15").run();
    });
}

#[test]
fn sipp_asking_for_too_brief_an_expiry_is_told_the_minimum() {
    each_server("sipp", &["registrar.expires_min=60"], |target| {
        Sipp::new(target, "brief", "u16", "p16").run();
    });
}

#[test]
fn sipp_registers_sixty_phones_from_sockets_of_their_own() {
    each_server("sipp", &[], |target| Sipp::many(target, 41..=100).run());
}

#[test]
fn sipsak_registers_and_is_refused_with_a_wrong_password() {
    each_server("sipsak", &[], |target| {
        let (taken, output) = sipsak_register(target, "u21", "p21", 7001);
        assert!(taken, "sipsak was refused:\n{output}");
        assert!(output.contains(":7001>;"), "its contact is not in the answer:\n{output}");
        let (taken, output) = sipsak_register(target, "u22", "not p22", 7001);
        assert!(!taken, "a wrong password was taken:\n{output}");
        assert!(output.contains("401"), "refused without a challenge:\n{output}");
    });
}

#[test]
fn sipsak_asks_for_options_and_is_answered() {
    each_server("sipsak", &[], |target| {
        let (answered, output) = sipsak(target, &["-s", "sip:example.com"]);
        assert!(answered, "OPTIONS was not answered with 200:\n{output}");
    });
}

#[test]
fn baresip_registers_and_unregisters() {
    each_server("baresip", &[], |target| {
        let Some(mut phone) = Baresip::start(target, "u31", "p31") else { return };
        let verdict = phone.verdict();
        assert!(verdict.contains("200 OK"), "baresip was refused: {verdict}");
        phone.hang_up();
    });
}

#[test]
fn baresip_is_refused_with_a_wrong_password() {
    each_server("baresip", &[], |target| {
        let Some(mut phone) = Baresip::start(target, "u32", "wrong") else { return };
        let verdict = phone.verdict();
        // It tries on until its authentication session is over.
        let refused = verdict.contains("401") || verdict.contains("403");
        assert!(refused, "a wrong password was taken: {verdict}");
        phone.hang_up();
    });
}

#[test]
fn baresip_and_sipsak_replace_each_other() {
    each_server("baresip", &[], |target| {
        if !tools::installed("sipsak") {
            return;
        }
        let (taken, output) = sipsak_register(target, "u33", "p33", 7001);
        assert!(taken, "sipsak was refused:\n{output}");

        let Some(mut phone) = Baresip::start(target, "u33", "p33") else { return };
        let verdict = phone.verdict();
        assert!(verdict.contains("[1 binding]"), "sipsak's binding is still there: {verdict}");

        let (taken, output) = sipsak_register(target, "u33", "p33", 7002);
        assert!(taken, "sipsak was refused:\n{output}");
        let answer = output.rsplit("SIP/2.0 200").next().unwrap_or_default();
        assert!(answer.contains(":7002>;"), "sipsak is not registered:\n{output}");
        assert!(!answer.contains("u33-0x"), "baresip's binding is still there:\n{output}");
        phone.hang_up();
    });
}
