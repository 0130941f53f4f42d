//! RFC 3261 section 10 at the registrar core, one rule a test; what RFC 5626 adds to matching is
//! at the end.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use aorta::config::{Registrar as Config, Replace};
use aorta::registrar::{
    AorId, Contacts, Event, LeaveReason, Limits, Refusal, Register, Registrar, Which,
};
use aorta::sip::header::contact::{Contact, QValue};
use aorta::sip::uri::Uri;
use aorta::time::Now;

const AOR: AorId = AorId(4);
const A: &str = "sip:u@192.0.2.1:5060";
const B: &str = "sip:u@192.0.2.2:5060";
const C: &str = "sip:u@192.0.2.3:5060";

fn contact(uri: &str) -> Contact<'_> {
    let uri = Uri::parse(uri.as_bytes()).unwrap();
    Contact { uri, q: None, expires: None, instance: None, reg_id: None, params: b"" }
}

fn with_expires(uri: &str, seconds: u32) -> Contact<'_> {
    Contact { expires: Some(seconds), ..contact(uri) }
}

fn request<'a>(contacts: &'a [Contact<'a>], call_id: &'a str, cseq: u32) -> Register<'a> {
    Register {
        aor: AOR,
        call_id: call_id.as_bytes(),
        cseq,
        contacts: Contacts::List(contacts),
        expires: None,
        user_agent: b"Phone/1",
        source: ([192, 0, 2, 9], 5060).into(),
        fingerprint: fingerprint(call_id, cseq),
        ..Register::default()
    }
}

/// Equal for equal Call-ID and CSeq, as if every request had the one branch.
fn fingerprint(call_id: &str, cseq: u32) -> u64 {
    let mut hasher = DefaultHasher::new();
    (call_id, cseq).hash(&mut hasher);
    hasher.finish()
}

struct Desk {
    registrar: Registrar,
    now: Now,
    events: Vec<Event>,
}

impl Desk {
    fn new() -> Desk {
        Desk::with(Config {
            bindings_max: 5,
            expires_spread_percent: 0,
            late_margin_s: 0,
            ..Config::default()
        })
    }

    fn with(config: Config) -> Desk {
        Desk { registrar: Registrar::new(config, [5, 6]), now: Now::default(), events: Vec::new() }
    }

    /// The contacts and expiries that the 200 lists.
    fn send(&mut self, request: &Register<'_>) -> Result<Vec<(String, u32)>, Refusal> {
        self.events.clear();
        let accepted = self.registrar.register(self.now, request, &mut self.events)?;
        let text = |contact: &[u8]| String::from_utf8(contact.to_vec()).unwrap();
        let listed = self.registrar.answer(&accepted);
        Ok(listed.map(|listed| (text(listed.contact), listed.expires_s)).collect())
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn stored(&self) -> Vec<(String, u32)> {
        let text = |contact: &[u8]| String::from_utf8(contact.to_vec()).unwrap();
        let bindings = self.registrar.bindings(AOR, self.now);
        bindings.map(|(_, b)| (text(b.contact()), b.remaining_s(self.now.mono))).collect()
    }
}

fn rows(rows: &[(&str, u32)]) -> Vec<(String, u32)> {
    rows.iter().map(|&(contact, expires)| (contact.to_owned(), expires)).collect()
}

#[test]
fn s10_2_1_adding_bindings_of_several_contacts_in_one_request() {
    let mut desk = Desk::new();
    let contacts = [with_expires(A, 600), with_expires(B, 120)];
    assert_eq!(desk.send(&request(&contacts, "c1", 1)), Ok(rows(&[(A, 600), (B, 120)])));
    assert!(matches!(desk.events[..], [Event::Registered { .. }, Event::Registered { .. }]));
}

#[test]
fn s10_2_1_1_the_contact_parameter_goes_before_the_expires_header() {
    let mut desk = Desk::new();
    let contacts = [with_expires(A, 120), contact(B)];
    let register = Register { expires: Some(600), ..request(&contacts, "c1", 1) };
    assert_eq!(desk.send(&register), Ok(rows(&[(A, 120), (B, 600)])));
}

#[test]
fn s10_2_1_2_preferences_among_contacts_are_kept_and_listed() {
    let mut desk = Desk::new();
    let contacts = [Contact { q: Some(QValue(700)), ..contact(A) }, contact(B)];
    let accepted =
        desk.registrar.register(desk.now, &request(&contacts, "c1", 1), &mut desk.events).unwrap();
    let listed: Vec<_> = desk.registrar.answer(&accepted).map(|listed| listed.q).collect();
    assert_eq!(listed, [Some(QValue(700)), None]);
}

#[test]
fn s10_2_2_expires_zero_removes_that_contact_alone() {
    let mut desk = Desk::new();
    desk.send(&request(&[contact(A), contact(B)], "c1", 1)).unwrap();
    assert_eq!(desk.send(&request(&[with_expires(A, 0)], "c1", 2)), Ok(rows(&[(B, 3600)])));
    assert!(matches!(desk.events[..], [Event::Left { reason: LeaveReason::Unregistered, .. }]));
}

#[test]
fn s10_2_2_removing_what_is_not_there_succeeds() {
    let mut desk = Desk::new();
    assert_eq!(desk.send(&request(&[with_expires(A, 0)], "c1", 1)), Ok(rows(&[])));
    assert!(desk.events.is_empty());
}

#[test]
fn s10_2_2_the_wildcard_removes_every_binding() {
    let mut desk = Desk::new();
    desk.send(&request(&[contact(A), contact(B)], "c1", 1)).unwrap();
    let wildcard =
        Register { contacts: Contacts::Wildcard, expires: Some(0), ..request(&[], "c2", 1) };
    assert_eq!(desk.send(&wildcard), Ok(rows(&[])));
    assert_eq!(desk.events.len(), 2);
}

#[test]
fn s10_2_3_a_request_without_contacts_fetches_and_changes_nothing() {
    let mut desk = Desk::new();
    desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
    desk.wait(600);
    let fetch = Register { contacts: Contacts::Fetch, ..request(&[], "c9", 1) };
    assert_eq!(desk.send(&fetch), Ok(rows(&[(A, 3000)])));
    assert!(desk.events.is_empty());
    let gone = [with_expires(A, 0)];
    let removal = request(&gone, "c1", 2);
    desk.send(&removal).unwrap();
    desk.send(&fetch).unwrap();
    assert!(desk.registrar.is_retransmission(&removal), "a fetch is not the last change");
}

#[test]
fn s10_2_4_a_refresh_extends_the_binding_it_finds() {
    let mut desk = Desk::new();
    desk.send(&request(&[with_expires(A, 600)], "c1", 1)).unwrap();
    desk.wait(300);
    assert_eq!(desk.send(&request(&[with_expires(A, 600)], "c1", 2)), Ok(rows(&[(A, 600)])));
    assert!(matches!(desk.events[..], [Event::Refreshed { moved: false, .. }]));
    desk.wait(599);
    desk.registrar.expire(desk.now, 10, &mut desk.events);
    assert_eq!(desk.stored(), rows(&[(A, 1)]));
}

#[test]
fn s10_3_step_6_the_wildcard_needs_expires_zero() {
    let mut desk = Desk::new();
    desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
    for expires in [None, Some(1), Some(3600)] {
        let wildcard = Register { contacts: Contacts::Wildcard, expires, ..request(&[], "c2", 1) };
        assert_eq!(desk.send(&wildcard), Err(Refusal::WildcardExpires));
    }
    assert_eq!(Refusal::WildcardExpires.status(), 400);
    assert_eq!(desk.stored(), rows(&[(A, 3600)]));
}

#[test]
fn s10_3_step_6_the_wildcard_obeys_the_order_of_every_binding_or_removes_none() {
    let mut desk = Desk::new();
    desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
    desk.send(&request(&[contact(B)], "c2", 9)).unwrap();
    let wildcard =
        Register { contacts: Contacts::Wildcard, expires: Some(0), ..request(&[], "c2", 8) };
    assert_eq!(desk.send(&wildcard), Err(Refusal::StaleCSeq));
    assert_eq!(desk.stored().len(), 2);
}

#[test]
fn s10_3_step_7_without_any_expires_the_default_is_granted() {
    let mut desk = Desk::new();
    assert_eq!(desk.send(&request(&[contact(A)], "c1", 1)), Ok(rows(&[(A, 3600)])));
}

#[test]
fn s10_3_step_7_a_longer_expiry_than_the_maximum_is_cut() {
    let mut desk = Desk::new();
    let contacts = [with_expires(A, u32::MAX)];
    assert_eq!(desk.send(&request(&contacts, "c1", 1)), Ok(rows(&[(A, 3600)])));
}

#[test]
fn s10_3_step_7_a_shorter_expiry_than_the_minimum_is_423_for_the_whole_request() {
    let mut desk = Desk::new();
    let contacts = [with_expires(A, 600), with_expires(B, 59)];
    let refusal = desk.send(&request(&contacts, "c1", 1)).unwrap_err();
    assert_eq!(refusal, Refusal::IntervalTooBrief { min_expires_s: 60 });
    assert_eq!(refusal.status(), 423);
    assert_eq!(desk.stored(), rows(&[]));
}

#[test]
fn s10_3_step_7_contacts_are_compared_by_19_1_4() {
    let mut desk = Desk::new();
    desk.send(&request(&[contact("sip:u@phone.example;transport=udp")], "c1", 1)).unwrap();
    let again = [contact("sip:%75@PHONE.example;Transport=UDP")];
    assert_eq!(desk.send(&request(&again, "c2", 1)).unwrap().len(), 1);
    assert!(matches!(desk.events[..], [Event::Refreshed { .. }]));
    let port = [contact("sip:u@phone.example:5060;transport=udp")];
    assert_eq!(desk.send(&request(&port, "c2", 2)).unwrap().len(), 2, "an explicit port differs");
}

#[test]
fn s10_3_step_7_another_call_id_updates_whatever_its_cseq() {
    let mut desk = Desk::new();
    desk.send(&request(&[with_expires(A, 600)], "c1", 100)).unwrap();
    assert_eq!(desk.send(&request(&[with_expires(A, 120)], "c2", 1)), Ok(rows(&[(A, 120)])));
}

#[test]
fn s10_3_step_7_the_same_call_id_needs_a_higher_cseq() {
    let mut desk = Desk::new();
    desk.send(&request(&[with_expires(A, 600)], "c1", 5)).unwrap();
    for expires in [0, 120] {
        // Another branch, so this is no retransmission.
        let stale = Register { fingerprint: 99, ..request(&[], "c1", 5) };
        let contacts = [with_expires(A, expires)];
        let stale = Register { contacts: Contacts::List(&contacts), ..stale };
        assert_eq!(desk.send(&stale), Err(Refusal::StaleCSeq));
        assert_eq!(desk.send(&request(&contacts, "c1", 4)), Err(Refusal::StaleCSeq));
    }
    assert_eq!(Refusal::StaleCSeq.status(), 500);
    assert_eq!(desk.stored(), rows(&[(A, 600)]));
}

#[test]
fn s10_3_step_7_one_contact_that_fails_fails_the_request() {
    let mut desk = Desk::new();
    desk.send(&request(&[with_expires(A, 600)], "c1", 5)).unwrap();
    desk.send(&request(&[with_expires(B, 600)], "c2", 5)).unwrap();
    let contacts = [with_expires(C, 600), with_expires(B, 0), with_expires(A, 60)];
    assert_eq!(desk.send(&request(&contacts, "c1", 4)), Err(Refusal::StaleCSeq));
    assert!(desk.events.is_empty());
    assert_eq!(desk.stored(), rows(&[(A, 600), (B, 600)]));
}

#[test]
fn s10_3_step_7_a_contact_that_stands_twice_is_one_and_its_last_word_counts() {
    let mut desk = Desk::new();
    let contacts = [with_expires(A, 600), with_expires(A, 120)];
    assert_eq!(desk.send(&request(&contacts, "c1", 1)), Ok(rows(&[(A, 120)])));
    let contacts = [with_expires(A, 600), with_expires(A, 0)];
    assert_eq!(desk.send(&request(&contacts, "c1", 2)), Ok(rows(&[])));
    let contacts = [with_expires(A, 0), with_expires(A, 600)];
    assert_eq!(desk.send(&request(&contacts, "c1", 3)), Ok(rows(&[(A, 600)])));
}

#[test]
fn s10_3_step_8_the_answer_lists_every_binding_with_its_expiry() {
    let mut desk = Desk::new();
    desk.send(&request(&[with_expires(A, 600)], "c1", 1)).unwrap();
    desk.wait(100);
    let answer = desk.send(&request(&[with_expires(B, 120)], "c2", 1));
    assert_eq!(answer, Ok(rows(&[(A, 500), (B, 120)])));
}

#[test]
fn s10_3_a_retransmission_is_answered_the_same_and_changes_nothing() {
    let mut desk = Desk::new();
    let contacts = [with_expires(A, 600)];
    let register = request(&contacts, "c1", 1);
    let answer = desk.send(&register);
    desk.wait(16);
    assert!(desk.registrar.is_retransmission(&register));
    assert_eq!(desk.send(&register), answer, "the granted expiry again, not what is left");
    assert!(desk.events.is_empty());
    assert_eq!(desk.stored(), rows(&[(A, 584)]));
}

#[test]
fn s17_1_2_2_after_64_t1_nothing_is_a_retransmission_and_the_answer_says_what_is_left() {
    let mut desk = Desk::new();
    let contacts = [with_expires(A, 600)];
    let register = request(&contacts, "c1", 1);
    desk.send(&register).unwrap();
    desk.wait(300);
    assert_eq!(desk.send(&register), Ok(rows(&[(A, 300)])), "never more than is kept");
    assert_eq!(desk.stored(), rows(&[(A, 300)]));
}

#[test]
fn s10_3_a_retransmission_is_known_after_another_device_has_registered() {
    let mut desk = Desk::new();
    let contacts = [with_expires(A, 600)];
    desk.send(&request(&contacts, "c1", 1)).unwrap();
    desk.send(&request(&[with_expires(B, 120)], "c2", 1)).unwrap();
    let answer = desk.send(&request(&contacts, "c1", 1));
    assert_eq!(answer, Ok(rows(&[(A, 600), (B, 120)])));
    assert!(desk.events.is_empty());
}

#[test]
fn s10_3_a_removal_that_is_retransmitted_is_still_a_success() {
    let mut desk = Desk::new();
    desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
    let contacts = [with_expires(A, 0)];
    assert_eq!(desk.send(&request(&contacts, "c1", 2)), Ok(rows(&[])));
    assert_eq!(desk.send(&request(&contacts, "c1", 2)), Ok(rows(&[])));
    let wildcard =
        Register { contacts: Contacts::Wildcard, expires: Some(0), ..request(&[], "c1", 3) };
    assert_eq!(desk.send(&wildcard), Ok(rows(&[])));
    assert_eq!(desk.send(&wildcard), Ok(rows(&[])));
}

#[test]
fn s10_3_a_binding_ends_when_nobody_refreshes_it() {
    let mut desk = Desk::new();
    desk.send(&request(&[with_expires(A, 60)], "c1", 1)).unwrap();
    desk.wait(59);
    desk.events.clear();
    assert_eq!(desk.registrar.expire(desk.now, 10, &mut desk.events).left, 0);
    desk.wait(1);
    assert_eq!(desk.registrar.expire(desk.now, 10, &mut desk.events).left, 1);
    assert!(matches!(desk.events[..], [Event::Left { reason: LeaveReason::Expired, .. }]));
    assert_eq!(desk.registrar.next_deadline(), None);
}

#[test]
fn s10_3_a_request_does_not_meet_a_binding_whose_time_is_over() {
    let mut desk = Desk::new();
    desk.send(&request(&[with_expires(A, 60)], "c1", 5)).unwrap();
    desk.wait(60);
    // A lower CSeq of the same Call-ID: there is no binding any more that it could be behind.
    assert_eq!(desk.send(&request(&[with_expires(A, 60)], "c1", 1)), Ok(rows(&[(A, 60)])));
    assert!(matches!(
        desk.events[..],
        [Event::Left { reason: LeaveReason::Expired, .. }, Event::Registered { .. }]
    ));
}

#[test]
fn a_contact_that_is_not_sip_is_refused() {
    let mut desk = Desk::new();
    for uri in ["tel:+15551234", "mailto:u@example.com"] {
        let refusal = desk.send(&request(&[contact(A), contact(uri)], "c1", 1)).unwrap_err();
        assert_eq!((refusal, refusal.status()), (Refusal::ContactScheme, 400));
    }
    assert_eq!(desk.stored(), rows(&[]));
}

#[test]
fn what_is_too_long_to_store_is_refused_and_a_user_agent_is_cut() {
    let mut desk = Desk::new();
    let long = format!("sip:u@192.0.2.1;x={}", "y".repeat(600));
    assert_eq!(desk.send(&request(&[contact(&long)], "c1", 1)), Err(Refusal::ContactTooLong));
    let contacts = [contact(A)];
    let call_id = "c".repeat(257);
    assert_eq!(desk.send(&request(&contacts, &call_id, 1)), Err(Refusal::CallIdTooLong));
    let path = [b'p'; 513];
    let register = Register { path: &path, ..request(&contacts, "c1", 1) };
    assert_eq!(desk.send(&register), Err(Refusal::PathTooLong));
    let instance = [b'i'; 129];
    let with_instance = [Contact { instance: Some(&instance), ..contact(A) }];
    assert_eq!(desk.send(&request(&with_instance, "c1", 1)), Err(Refusal::InstanceTooLong));
    let many = [contact(A); 17];
    assert_eq!(desk.send(&request(&many, "c1", 1)), Err(Refusal::TooManyContacts));
    assert_eq!(desk.stored(), rows(&[]));
    let register = Register { user_agent: &[b'u'; 500], ..request(&contacts, "c1", 1) };
    desk.send(&register).unwrap();
    let (_, binding) = desk.registrar.bindings(AOR, desk.now).next().unwrap();
    assert_eq!(binding.user_agent(), [b'u'; 128]);
}

#[test]
fn more_contacts_than_the_limit_in_one_request_are_refused() {
    let mut desk = Desk::with(Config { bindings_max: 2, ..Config::default() });
    let contacts = [contact(A), contact(B), contact(C)];
    let refusal = desk.send(&request(&contacts, "c1", 1)).unwrap_err();
    assert_eq!(refusal, Refusal::TooManyBindings { retry_after_s: 60 });
    assert_eq!(refusal.status(), 503);
    assert_eq!(desk.stored(), rows(&[]));
}

#[test]
fn the_oldest_goes_when_the_limit_is_reached() {
    let mut desk = Desk::with(Config { bindings_max: 2, ..Config::default() });
    for (uri, call_id) in [(A, "c1"), (B, "c2")] {
        desk.send(&request(&[contact(uri)], call_id, 1)).unwrap();
    }
    // Refreshing the oldest does not make it younger.
    desk.send(&request(&[contact(A)], "c1", 2)).unwrap();
    desk.send(&request(&[contact(C)], "c3", 1)).unwrap();
    let contacts: Vec<_> = desk.stored().into_iter().map(|(contact, _)| contact).collect();
    assert_eq!(contacts, [B, C]);
}

#[test]
fn one_call_id_does_not_merge_contacts_that_fit_under_the_limit() {
    let mut desk = Desk::new();
    desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
    desk.send(&request(&[contact(B)], "c1", 2)).unwrap();
    assert_eq!(desk.stored().len(), 2);
}

#[test]
fn a_lowered_limit_leaves_refreshes_alone_and_holds_for_the_next_new_binding() {
    let config = Config { bindings_max: 3, expires_spread_percent: 0, ..Config::default() };
    let mut desk = Desk::with(config.clone());
    for (uri, call_id) in [(A, "c1"), (B, "c2"), (C, "c3")] {
        desk.send(&request(&[contact(uri)], call_id, 1)).unwrap();
    }
    desk.registrar.configure(Config { bindings_max: 1, ..config });
    assert_eq!(desk.send(&request(&[contact(B)], "c2", 2)).unwrap().len(), 3);
    let answer = desk.send(&request(&[contact("sip:u@192.0.2.4")], "c4", 1));
    assert_eq!(answer, Ok(rows(&[("sip:u@192.0.2.4", 3600)])));
}

#[test]
fn the_limit_of_the_account_goes_before_the_configured_one() {
    let mut desk = Desk::with(Config { replace: Replace::Never, ..Config::default() });
    for (number, uri) in [A, B, C].into_iter().enumerate() {
        let contacts = [contact(uri)];
        let call_id = format!("c{number}");
        let limits = Limits { bindings_max: Some(2), ..Limits::default() };
        let register = Register { limits, ..request(&contacts, &call_id, 1) };
        assert_eq!(desk.send(&register).is_ok(), number < 2);
    }
}

#[test]
fn an_operator_takes_out_one_binding_or_all_of_one_aor_and_of_no_other() {
    let mut desk = Desk::new();
    desk.send(&request(&[contact(A), contact(B)], "c1", 1)).unwrap();
    let ids: Vec<_> = desk.registrar.bindings(AOR, desk.now).map(|(id, _)| id).collect();
    let reason = LeaveReason::ForcedUnregister;
    let mut events = Vec::new();
    let registrar = &mut desk.registrar;
    assert_eq!(registrar.unregister(AorId(0), Which::One(ids[0]), reason, &mut events), 0);
    assert_eq!(registrar.unregister(AOR, Which::One(ids[0]), reason, &mut events), 1);
    assert_eq!(registrar.unregister(AOR, Which::One(ids[0]), reason, &mut events), 0);
    assert_eq!(registrar.unregister(AOR, Which::All, reason, &mut events), 1);
    assert_eq!(events.len(), 2);
}

#[test]
fn what_an_account_was_answered_is_forgotten_with_the_account() {
    let contacts = [with_expires(A, 600)];
    let register = request(&contacts, "c1", 1);
    for (reason, known) in
        [(LeaveReason::ForcedUnregister, true), (LeaveReason::AccountRemoved, false)]
    {
        let mut desk = Desk::new();
        desk.send(&register).unwrap();
        desk.registrar.unregister(AOR, Which::All, reason, &mut desk.events);
        assert_eq!(desk.registrar.is_retransmission(&register), known, "{reason:?}");
    }
}

#[test]
fn a_refresh_from_another_source_says_that_the_flow_has_moved() {
    let mut desk = Desk::new();
    let contacts = [contact(A)];
    desk.send(&request(&contacts, "c1", 1)).unwrap();
    let source = ([198, 51, 100, 7], 40_000).into();
    desk.send(&Register { source, ..request(&contacts, "c1", 2) }).unwrap();
    assert!(matches!(desk.events[..], [Event::Refreshed { moved: true, .. }]));
    let (_, binding) = desk.registrar.bindings(AOR, desk.now).next().unwrap();
    assert_eq!(binding.source(), source);
}

fn outbound<'a>(contacts: &'a [Contact<'a>], call_id: &'a str, cseq: u32) -> Register<'a> {
    Register { outbound: true, ..request(contacts, call_id, cseq) }
}

fn flow(uri: &str, reg_id: u32) -> Contact<'_> {
    Contact { instance: Some(b"<urn:uuid:1>"), reg_id: Some(reg_id), ..contact(uri) }
}

#[test]
fn rfc5626_6_instance_and_reg_id_name_the_binding_even_under_another_uri() {
    let mut desk = Desk::new();
    desk.send(&outbound(&[flow(A, 1)], "c1", 1)).unwrap();
    assert_eq!(desk.send(&outbound(&[flow(B, 1)], "c2", 1)), Ok(rows(&[(B, 3600)])));
    assert!(matches!(desk.events[..], [Event::Retargeted { .. }]));
}

#[test]
fn rfc5626_6_one_uri_over_two_flows_is_two_bindings() {
    let mut desk = Desk::new();
    desk.send(&outbound(&[flow(A, 1)], "c1", 1)).unwrap();
    assert_eq!(desk.send(&outbound(&[flow(A, 2)], "c2", 1)).unwrap().len(), 2);
}

#[test]
fn rfc5626_6_the_flow_goes_before_the_uri() {
    let mut desk = Desk::new();
    desk.send(&outbound(&[contact(A), flow(B, 1)], "c1", 1)).unwrap();
    desk.send(&outbound(&[flow(A, 1)], "c2", 1)).unwrap();
    let flows: Vec<_> =
        desk.registrar.bindings(AOR, desk.now).map(|(_, binding)| binding.reg_id()).collect();
    assert_eq!(flows, [None, Some(1)]);
}
