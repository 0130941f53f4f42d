//! What operators set and what lives longer than a request: the late margin, static contacts,
//! flows that close, GRUUs, flapping devices, and the looks from outside.

use std::time::Duration;

use aorta::config::{Evict, Flapping, Registrar as Config, Replace, StaticContact};
use aorta::flow::{ConnectionId, Flow, Transport};
use aorta::limits::{EXPIRIES_PER_TURN_MAX, PATH_BYTES_MAX, STATIC_CONTACTS_MAX};
use aorta::registrar::gruu::{Gruu, GruuText, Temporary, write_public};
use aorta::registrar::{
    AorId, BindingId, Contacts, Event, LeaveReason, Listed, Refusal, Register, Registrar,
    TokenKeys, Wanted, Which, Whom,
};
use aorta::sip::header::contact::{Contact, QValue};
use aorta::sip::uri::Uri;
use aorta::time::Now;

#[path = "registrar_policies/compact.rs"]
mod compact;

const AOR: AorId = AorId(2);
const A: &str = "sip:u@192.0.2.1";
const B: &str = "sip:u@192.0.2.2";
const C: &str = "sip:u@192.0.2.3";
const ONE: Option<&[u8]> = Some(b"<urn:uuid:1>");
const TWO: Option<&[u8]> = Some(b"<urn:uuid:2>");

fn contact(uri: &str) -> Contact<'_> {
    let uri = Uri::parse(uri.as_bytes()).unwrap();
    Contact { uri, q: None, expires: None, instance: None, reg_id: None, params: b"" }
}

fn of<'a>(instance: Option<&'a [u8]>, uri: &'a str) -> Contact<'a> {
    Contact { instance, ..contact(uri) }
}

fn request<'a>(contacts: &'a [Contact<'a>], call_id: &'a str, cseq: u32) -> Register<'a> {
    Register {
        aor: AOR,
        call_id: call_id.as_bytes(),
        cseq,
        contacts: Contacts::List(contacts),
        expires: Some(600),
        source: ([192, 0, 2, 9], 5060).into(),
        fingerprint: u64::from(cseq) << 32 | u64::from(call_id.as_bytes()[1]),
        ..Register::default()
    }
}

fn tcp(slot: u32) -> Flow {
    Flow::Connection {
        id: ConnectionId { reactor: 1, slot, generation: 7 },
        transport: Transport::Tcp,
    }
}

struct Desk {
    registrar: Registrar,
    now: Now,
    events: Vec<Event>,
}

impl Desk {
    fn new(config: Config) -> Desk {
        let config = Config { expires_spread_percent: 0, ..config };
        Desk { registrar: Registrar::new(config, [5, 6]), now: Now::default(), events: Vec::new() }
    }

    fn with_bindings_max(bindings_max: u8) -> Desk {
        Desk::new(Config { bindings_max, ..Config::default() })
    }

    fn listed(&mut self, request: &Register<'_>) -> Result<Vec<Listed<'_>>, Refusal> {
        self.events.clear();
        let accepted = self.registrar.register(self.now, request, &mut self.events)?;
        Ok(self.registrar.answer(&accepted).collect())
    }

    fn send(&mut self, request: &Register<'_>) -> Result<Vec<(String, u32)>, Refusal> {
        let text = |contact: &[u8]| String::from_utf8(contact.to_vec()).unwrap();
        let listed = self.listed(request)?;
        Ok(listed.iter().map(|listed| (text(listed.contact), listed.expires_s)).collect())
    }

    fn wait(&mut self, seconds: u64) {
        self.now = self.now.after(Duration::from_secs(seconds));
    }

    fn expire(&mut self) -> usize {
        self.events.clear();
        self.registrar.expire(self.now, 100, &mut self.events).left
    }

    fn provide(&mut self, contacts: &[StaticContact]) -> usize {
        self.events.clear();
        self.registrar.provide(self.now, AOR, contacts, &mut self.events)
    }

    fn reached(&self, whom: Whom<'_>) -> Vec<String> {
        let targets = self.registrar.lookup(AOR, self.now, whom);
        targets.iter().map(|(_, b)| String::from_utf8(b.contact().to_vec()).unwrap()).collect()
    }

    fn first(&self) -> BindingId {
        self.registrar.location().bindings(AOR).next().expect("a binding").0
    }
}

fn rows(rows: &[(&str, u32)]) -> Vec<(String, u32)> {
    rows.iter().map(|&(contact, expires)| (contact.to_owned(), expires)).collect()
}

// ---- the late margin ------------------------------------------------------------------------

#[test]
fn through_the_late_margin_a_binding_is_reached_but_no_longer_listed() {
    let mut desk = Desk::with_bindings_max(5);
    desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
    desk.wait(604);
    assert_eq!(desk.expire(), 0);
    assert_eq!(desk.reached(Whom::Aor), [A]);
    assert_eq!(desk.send(&request(&[contact(B)], "c2", 1)), Ok(rows(&[(B, 600)])));
    desk.wait(1);
    assert_eq!(desk.reached(Whom::Aor), [B]);
    assert_eq!(desk.expire(), 1);
    assert!(matches!(desk.events[..], [Event::Left { reason: LeaveReason::Expired, .. }]));
}

#[test]
fn a_refresh_within_the_late_margin_is_a_refresh_and_keeps_to_the_order_of_cseq() {
    let mut desk = Desk::new(Config::default());
    desk.send(&request(&[contact(A)], "c1", 5)).unwrap();
    desk.wait(603);
    assert_eq!(desk.send(&request(&[contact(A)], "c1", 5 - 1)), Err(Refusal::StaleCSeq));
    assert_eq!(desk.send(&request(&[contact(A)], "c1", 6)), Ok(rows(&[(A, 600)])));
    assert!(matches!(desk.events[..], [Event::Refreshed { .. }]));
}

#[test]
fn what_only_its_late_margin_keeps_makes_room_before_anybody_is_kicked_or_refused() {
    for replace in [Replace::Always, Replace::Never] {
        let mut desk = Desk::new(Config { replace, ..Config::default() });
        desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
        desk.wait(602);
        assert_eq!(desk.send(&request(&[contact(B)], "c2", 1)), Ok(rows(&[(B, 600)])));
        assert!(matches!(
            desk.events[..],
            [Event::Left { reason: LeaveReason::Expired, .. }, Event::Registered { .. }]
        ));
    }
}

#[test]
fn a_margin_that_is_changed_holds_from_the_next_registration_on() {
    let mut desk = Desk::new(Config::default());
    desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
    let longer = Config { late_margin_s: 300, expires_spread_percent: 0, ..Config::default() };
    desk.registrar.configure(longer);
    desk.wait(605);
    assert_eq!(desk.expire(), 1);
    desk.send(&request(&[contact(A)], "c1", 2)).unwrap();
    desk.wait(899);
    assert_eq!(desk.expire(), 0);
    desk.wait(1);
    assert_eq!(desk.expire(), 1);
}

// ---- order of requests, Path ----------------------------------------------------------------

#[test]
fn rfc3261_10_3_a_phone_that_rebooted_may_count_from_the_start_and_a_delayed_request_may_not() {
    let mut desk = Desk::new(Config::default());
    desk.send(&request(&[contact(A)], "c1", 4711)).unwrap();
    desk.send(&request(&[contact(A)], "c2", 1)).unwrap();
    assert!(matches!(desk.events[..], [Event::Refreshed { .. }]));
    let contacts = [contact(A)];
    let delayed = Register { fingerprint: 9, ..request(&contacts, "c2", 1) };
    assert_eq!(desk.send(&delayed).map_err(Refusal::status), Err(500));
}

#[test]
fn rfc3327_5_3_a_refresh_replaces_the_path() {
    let mut desk = Desk::new(Config::default());
    let contacts = [contact(A)];
    for (cseq, path) in
        [(1, &b"<sip:edge1;lr>"[..]), (2, b"<sip:edge2;lr>,<sip:edge3;lr>"), (3, b"")]
    {
        desk.send(&Register { path, ..request(&contacts, "c1", cseq) }).unwrap();
        let (_, binding) = desk.registrar.bindings(AOR, desk.now).next().unwrap();
        assert_eq!(binding.path(), path);
    }
    let path = [b'p'; PATH_BYTES_MAX + 1];
    let longer = Register { path: &path, ..request(&contacts, "c1", 4) };
    assert_eq!(desk.send(&longer), Err(Refusal::PathTooLong));
}

// ---- who goes first -------------------------------------------------------------------------

#[test]
fn an_unreachable_binding_goes_before_an_older_one_where_that_is_set() {
    for (evict, gone) in [(Evict::Oldest, A), (Evict::UnreachableFirst, B)] {
        let mut desk = Desk::new(Config { evict, bindings_max: 2, ..Config::default() });
        desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
        desk.send(&request(&[contact(B)], "c2", 1)).unwrap();
        let second = desk.registrar.location().bindings(AOR).nth(1).unwrap().0;
        desk.registrar.set_reachable(second, false);
        desk.send(&request(&[contact(C)], "c3", 1)).unwrap();
        assert!(!desk.reached(Whom::Aor).contains(&gone.to_owned()), "{evict:?}");
    }
}

#[test]
fn a_refresh_makes_a_binding_reachable_again() {
    let mut desk = Desk::new(Config::default());
    desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
    let id = desk.first();
    desk.registrar.set_reachable(id, false);
    desk.send(&request(&[contact(A)], "c1", 2)).unwrap();
    assert!(desk.registrar.location().binding(id).unwrap().is_reachable());
}

// ---- static contacts ------------------------------------------------------------------------

fn fixed(uri: &str, q_milli: Option<u16>) -> StaticContact {
    StaticContact { uri: uri.to_owned(), q_milli }
}

#[test]
fn a_static_contact_is_reached_and_listed_has_no_end_and_no_place_under_the_limit() {
    let mut desk = Desk::new(Config::default());
    assert_eq!(desk.provide(&[fixed(C, Some(500))]), 1);
    assert_eq!(desk.send(&request(&[contact(A)], "c1", 1)), Ok(rows(&[(C, 3600), (A, 600)])));
    assert!(matches!(desk.events[..], [Event::Registered { .. }]));
    desk.send(&request(&[contact(B)], "c2", 1)).unwrap();
    assert_eq!(desk.reached(Whom::Aor), [B, C], "the device was kicked");
    desk.wait(1_000_000);
    assert_eq!(desk.expire(), 1);
    assert_eq!(desk.reached(Whom::Aor), [C]);
}

#[test]
fn no_request_changes_a_static_contact_not_even_one_of_the_same_uri() {
    let mut desk = Desk::new(Config::default());
    desk.provide(&[fixed(A, None)]);
    desk.send(&request(&[contact(A)], "c1", 1)).unwrap();
    assert_eq!(desk.reached(Whom::Aor), [A], "it is tried once");
    let contacts = [contact(A)];
    let gone = Register { expires: Some(0), ..request(&contacts, "c1", 2) };
    assert_eq!(desk.send(&gone), Ok(rows(&[(A, 3600)])));
    let all = Register { contacts: Contacts::Wildcard, expires: Some(0), ..request(&[], "c1", 3) };
    assert_eq!(desk.send(&all), Ok(rows(&[(A, 3600)])));
    assert!(desk.events.is_empty());
    let id = desk.first();
    for which in [Which::All, Which::One(id)] {
        let reason = LeaveReason::ForcedUnregister;
        assert_eq!(desk.registrar.unregister(AOR, which, reason, &mut desk.events), 0);
    }
}

#[test]
fn static_contacts_follow_the_account_and_go_with_it() {
    let mut desk = Desk::new(Config::default());
    assert_eq!(desk.provide(&[fixed(A, None), fixed(B, None)]), 2);
    assert_eq!(desk.provide(&[fixed(A, None), fixed(B, None)]), 0, "nothing has changed");
    assert_eq!(desk.provide(&[fixed(B, None), fixed(C, Some(100))]), 2);
    assert!(matches!(
        desk.events[..],
        [Event::Left { reason: LeaveReason::ForcedUnregister, .. }, Event::Registered { .. }]
    ));
    assert_eq!(desk.reached(Whom::Aor), [B, C]);
    let many: Vec<_> =
        (0..20).map(|number| fixed(&format!("sip:u@192.0.2.{number}"), None)).collect();
    desk.provide(&many);
    assert_eq!(desk.reached(Whom::Aor).len(), STATIC_CONTACTS_MAX);
    let reason = LeaveReason::AccountRemoved;
    let left = desk.registrar.unregister(AOR, Which::All, reason, &mut desk.events);
    assert_eq!(left, STATIC_CONTACTS_MAX);
    assert_eq!(desk.registrar.location().bindings_count(), 0);
}

// ---- flows ----------------------------------------------------------------------------------

#[test]
fn rfc5626_6_a_flow_that_closes_takes_its_bindings_along_and_no_others() {
    let mut desk = Desk::with_bindings_max(5);
    let (a, b, c) = ([contact(A)], [contact(B)], [contact(C)]);
    desk.send(&Register { flow: tcp(1), ..request(&a, "c1", 1) }).unwrap();
    desk.send(&Register { flow: tcp(1), aor: AorId(0), ..request(&a, "c1", 1) }).unwrap();
    desk.send(&Register { flow: tcp(2), ..request(&b, "c2", 1) }).unwrap();
    let path = b"<sip:edge;lr>";
    desk.send(&Register { flow: tcp(1), path, ..request(&c, "c3", 1) }).unwrap();
    let closed = tcp(1).connection().unwrap();
    let mut events = Vec::new();
    assert_eq!(desk.registrar.close_flow(desk.now, closed, &mut events), 2);
    let flow_closed =
        |event: &Event| matches!(event, Event::Left { reason: LeaveReason::FlowClosed, .. });
    assert!(events.iter().all(flow_closed));
    assert_eq!(desk.reached(Whom::Aor).len(), 2, "another flow, and one behind an edge proxy");
    assert_eq!(desk.registrar.close_flow(desk.now, closed, &mut events), 0);
    let younger = ConnectionId { generation: 8, ..tcp(2).connection().unwrap() };
    assert_eq!(desk.registrar.close_flow(desk.now, younger, &mut events), 0);
}

#[test]
fn a_connection_with_very_many_bindings_closes_in_bounded_turns() {
    let mut desk = Desk::new(Config::default());
    let contacts = [contact(A)];
    let bindings = EXPIRIES_PER_TURN_MAX as u32 + 10;
    for aor in 0..bindings {
        let aor = AorId(aor);
        desk.send(&Register { flow: tcp(1), aor, ..request(&contacts, "c1", 1) }).unwrap();
    }
    let closed = tcp(1).connection().unwrap();
    let left = desk.registrar.close_flow(desk.now, closed, &mut desk.events);
    assert_eq!(left, EXPIRIES_PER_TURN_MAX);
    assert!(desk.registrar.next_deadline().is_some_and(|at| at <= desk.now.mono));
    assert_eq!(desk.expire(), 10);
    assert_eq!(desk.registrar.location().bindings_count(), 0);
    assert_eq!(desk.registrar.location().connections_bound_count(), 0);
    assert!(desk.registrar.next_deadline().is_none_or(|at| at > desk.now.mono));
}

#[test]
fn events_say_which_flow_a_binding_had_until_now() {
    let mut desk = Desk::new(Config::default());
    let (a, b) = ([of(ONE, A)], [of(ONE, B)]);
    let send = |desk: &mut Desk, contacts: &[Contact<'_>], flow, cseq| {
        desk.send(&Register { flow, ..request(contacts, "c1", cseq) }).unwrap();
        desk.events.pop().expect("an event")
    };
    let datagram = Flow::Datagram { listener: 0, local_ip: None };
    assert!(matches!(send(&mut desk, &a, datagram, 1), Event::Registered { .. }));
    let refreshed = |event: Event| match event {
        Event::Refreshed { moved, old_flow, .. } => (moved, old_flow),
        other => panic!("{other:?}"),
    };
    assert_eq!(refreshed(send(&mut desk, &a, datagram, 2)), (false, None));
    assert_eq!(refreshed(send(&mut desk, &a, tcp(1), 3)), (true, Some(datagram)));
    assert_eq!(refreshed(send(&mut desk, &a, tcp(1), 4)), (false, None));
    assert_eq!(refreshed(send(&mut desk, &a, tcp(2), 5)), (true, Some(tcp(1))));
    let Event::Retargeted { old, .. } = send(&mut desk, &b, tcp(3), 6) else { panic!() };
    assert_eq!(old.flow(), tcp(2));
    // The chains have followed all along.
    for (slot, left) in [(1, 0), (2, 0), (3, 1)] {
        let closed = tcp(slot).connection().unwrap();
        let mut events = Vec::new();
        assert_eq!(desk.registrar.close_flow(desk.now, closed, &mut events), left);
    }
}

#[test]
fn bindings_come_to_a_connection_and_leave_it_in_any_order() {
    let mut desk = Desk::with_bindings_max(10);
    let uris: Vec<String> = (1..=6).map(|n| format!("sip:u@192.0.2.{n}")).collect();
    for (cseq, uri) in (1..).zip(&uris) {
        desk.send(&Register { flow: tcp(1), ..request(&[contact(uri)], "c1", cseq) }).unwrap();
    }
    // The last, one in the middle and the first leave, by three ways; checks run after each.
    let mut ids: Vec<BindingId> =
        desk.registrar.location().bindings(AOR).map(|(id, _)| id).collect();
    let reason = LeaveReason::ForcedUnregister;
    desk.registrar.unregister(AOR, Which::One(ids.remove(5)), reason, &mut desk.events);
    let gone = [contact(&uris[2])];
    desk.send(&Register { expires: Some(0), ..request(&gone, "c1", 10) }).unwrap();
    let moved = [contact(&uris[0])];
    desk.send(&Register { flow: tcp(2), ..request(&moved, "c1", 11) }).unwrap();
    desk.registrar.location().check_invariants();
    let closed = tcp(1).connection().unwrap();
    assert_eq!(desk.registrar.close_flow(desk.now, closed, &mut desk.events), 3);
}

// ---- GRUUs ----------------------------------------------------------------------------------

fn keys() -> TokenKeys {
    TokenKeys::new([4; 32])
}

/// What the 200 to a request gives the instance of its first contact.
fn gruus(desk: &mut Desk, request: &Register<'_>) -> (String, Temporary) {
    let listed = desk.listed(request).unwrap()[0];
    let text = |text: &GruuText| String::from_utf8(text.to_vec()).unwrap();
    let mut out = GruuText::new();
    assert!(listed.pub_gruu);
    write_public(b"u@example.com", false, &listed.instance.unwrap().text(), &mut out).unwrap();
    let public = text(&out);
    let mint = listed.temp_gruu.expect("a temporary GRUU");
    mint.write_to(&keys(), 0, b"example.com", false, &mut out).unwrap();
    let temporary = text(&out);
    let uri = Uri::parse(temporary.as_bytes()).unwrap();
    let Some(Gruu::Temporary(token)) = Gruu::of(&uri) else { panic!("{temporary}") };
    (public, Temporary::read(&keys(), token).unwrap())
}

fn ask<'a>(contacts: &'a [Contact<'a>], call_id: &'a str, cseq: u32) -> Register<'a> {
    Register { gruu: true, outbound: true, ..request(contacts, call_id, cseq) }
}

#[test]
fn rfc5627_a_public_gruu_leads_to_its_instance_alone() {
    let mut desk = Desk::with_bindings_max(5);
    let (public, _) = gruus(&mut desk, &ask(&[of(ONE, A)], "c1", 1));
    assert_eq!(public, "sip:u@example.com;gr=urn:uuid:1");
    desk.send(&ask(&[of(TWO, B)], "c2", 1)).unwrap();
    let Some(Gruu::Public(instance)) = Gruu::of(&Uri::parse(public.as_bytes()).unwrap()) else {
        panic!("{public}");
    };
    assert_eq!(desk.reached(Whom::Instance(&instance)), [A]);
    assert_eq!(desk.reached(Whom::Instance(b"<URN:UUID:2>")), [B]);
    assert!(desk.reached(Whom::Instance(b"<urn:uuid:3>")).is_empty());
}

#[test]
fn rfc5627_3_1_2_temporary_gruus_hold_under_one_call_id_and_no_longer() {
    let mut desk = Desk::with_bindings_max(5);
    let (_, first) = gruus(&mut desk, &ask(&[of(ONE, A)], "c1", 1));
    let (_, second) = gruus(&mut desk, &ask(&[of(ONE, A)], "c1", 2));
    assert_eq!((first.aor, first.epoch), (AOR, second.epoch));
    assert_eq!(desk.reached(Whom::Epoch(first.epoch)), [A]);
    // Another Call-ID voids them, whether or not it asks for GRUUs.
    desk.send(&request(&[of(ONE, A)], "c2", 1)).unwrap();
    assert!(desk.reached(Whom::Epoch(first.epoch)).is_empty());
    let (_, third) = gruus(&mut desk, &ask(&[of(ONE, A)], "c2", 2));
    assert_eq!(desk.reached(Whom::Epoch(third.epoch)), [A]);
}

#[test]
fn rfc5627_3_1_2_temporary_gruus_die_with_the_last_binding_of_the_instance() {
    let mut desk = Desk::with_bindings_max(5);
    let flow = |reg_id| Contact { reg_id: Some(reg_id), ..of(ONE, A) };
    let (_, first) = gruus(&mut desk, &ask(&[flow(1)], "c1", 1));
    desk.send(&ask(&[flow(2)], "c3", 1)).unwrap();
    desk.send(&Register { expires: Some(0), ..ask(&[flow(1)], "c1", 2) }).unwrap();
    assert_eq!(desk.reached(Whom::Epoch(first.epoch)), [A], "the other flow is still there");
    desk.send(&Register { expires: Some(0), ..ask(&[flow(2)], "c3", 2) }).unwrap();
    desk.send(&ask(&[flow(1)], "c1", 3)).unwrap();
    assert!(desk.reached(Whom::Epoch(first.epoch)).is_empty());
    assert!(desk.reached(Whom::Epoch(0)).is_empty(), "0 stands for none");
}

#[test]
fn a_device_that_takes_over_the_contact_of_another_is_not_reached_by_its_gruus() {
    let mut desk = Desk::new(Config::default());
    let (_, first) = gruus(&mut desk, &ask(&[of(ONE, A)], "c1", 1));
    let (_, second) = gruus(&mut desk, &ask(&[of(TWO, A)], "c1", 2));
    assert!(desk.reached(Whom::Epoch(first.epoch)).is_empty());
    assert_eq!(desk.reached(Whom::Epoch(second.epoch)), [A]);
    desk.send(&request(&[contact(A)], "c1", 3)).unwrap();
    assert!(desk.reached(Whom::Epoch(second.epoch)).is_empty());
}

#[test]
fn rfc5627_5_1_without_support_or_instance_no_gruu_is_given() {
    let mut desk = Desk::with_bindings_max(5);
    let ordinary = desk.listed(&request(&[of(ONE, A)], "c1", 1)).unwrap()[0];
    assert_eq!((ordinary.pub_gruu, ordinary.temp_gruu), (false, None));
    let nameless = desk.listed(&ask(&[contact(B)], "c2", 1)).unwrap();
    assert!(nameless[0].pub_gruu, "the instance that was there before");
    assert_eq!((nameless[1].pub_gruu, nameless[1].temp_gruu), (false, None));
}

#[test]
fn a_retransmission_is_given_the_same_temporary_gruu_and_the_next_request_another() {
    let mut desk = Desk::new(Config::default());
    let contacts = [of(ONE, A)];
    let first = desk.listed(&ask(&contacts, "c1", 1)).unwrap()[0].temp_gruu;
    assert_eq!(desk.listed(&ask(&contacts, "c1", 1)).unwrap()[0].temp_gruu, first);
    assert_ne!(desk.listed(&ask(&contacts, "c1", 2)).unwrap()[0].temp_gruu, first);
}

// ---- flapping -------------------------------------------------------------------------------

#[test]
fn two_devices_that_keep_kicking_each_other_are_told_of_and_nobody_waits_by_default() {
    let mut desk = Desk::new(Config::default());
    let mut told = Vec::new();
    for turn in 1..=12 {
        let (instance, uri, call_id) = if turn % 2 == 1 { (ONE, A, "c1") } else { (TWO, B, "c2") };
        desk.send(&request(&[of(instance, uri)], call_id, turn)).unwrap();
        if let Some(Event::Flapping { aor: AOR, kicks }) = desk.events.last() {
            told.push((turn, *kicks));
        }
        desk.wait(1);
    }
    assert_eq!(told, [(5, 4)], "the first REGISTER kicked nobody");
}

#[test]
fn where_damping_is_set_the_newcomer_of_a_flapping_pair_waits_while_the_incumbent_lives() {
    let flapping = Flapping { damping_s: 30, ..Flapping::default() };
    let mut desk = Desk::new(Config { flapping, ..Config::default() });
    for turn in 1..=5 {
        let (instance, uri, call_id) = if turn % 2 == 1 { (ONE, A, "c1") } else { (TWO, B, "c2") };
        desk.send(&request(&[of(instance, uri)], call_id, turn)).unwrap();
    }
    desk.wait(10);
    let loser = [of(TWO, B)];
    let refused = Err(Refusal::TooManyBindings { retry_after_s: 20 });
    assert_eq!(desk.send(&request(&loser, "c2", 6)), refused);
    // The incumbent refreshes as it likes.
    desk.send(&request(&[of(ONE, A)], "c1", 7)).unwrap();
    let incumbent = [of(ONE, A)];
    desk.send(&Register { expires: Some(0), ..request(&incumbent, "c1", 8) }).unwrap();
    assert!(desk.send(&request(&loser, "c2", 9)).is_ok(), "the place is free");
}

#[test]
fn damping_ends_by_itself() {
    let flapping = Flapping { damping_s: 30, ..Flapping::default() };
    let mut desk = Desk::new(Config { flapping, ..Config::default() });
    for turn in 1..=5 {
        let (instance, uri, call_id) = if turn % 2 == 1 { (ONE, A, "c1") } else { (TWO, B, "c2") };
        desk.send(&request(&[of(instance, uri)], call_id, turn)).unwrap();
    }
    assert!(desk.send(&request(&[of(TWO, B)], "c2", 6)).is_err());
    assert!(desk.send(&request(&[of(Some(b"<urn:uuid:3>"), C)], "c3", 6)).is_ok());
    desk.wait(30);
    assert!(desk.send(&request(&[of(TWO, B)], "c2", 7)).is_ok());
}

// ---- looks from outside ---------------------------------------------------------------------

#[test]
fn rfc3261_16_6_targets_come_by_q_and_then_the_latest_first() {
    let mut desk = Desk::with_bindings_max(9);
    let q = |uri, q| Contact { q: Some(QValue(q)), ..contact(uri) };
    for (turn, contact) in (1..).zip([
        q("sip:u@h1", 300),
        contact("sip:u@h2"),
        q("sip:u@h3", 300),
        contact("sip:u@h4"),
    ]) {
        desk.send(&request(&[contact], "c1", turn)).unwrap();
        desk.wait(1);
    }
    desk.provide(&[fixed("sip:u@h5", Some(300)), fixed("sip:u@h6", Some(0))]);
    let expected = ["sip:u@h4", "sip:u@h2", "sip:u@h5", "sip:u@h3", "sip:u@h1", "sip:u@h6"];
    assert_eq!(desk.reached(Whom::Aor), expected);
    desk.wait(1);
    desk.send(&request(&[q("sip:u@h1", 300)], "c1", 9)).unwrap();
    assert_eq!(desk.reached(Whom::Aor)[2], "sip:u@h1", "refreshed last");
}

#[test]
fn bindings_are_found_by_contact_and_by_source_page_by_page() {
    let mut desk = Desk::new(Config::default());
    for number in 0..50u8 {
        let uri = format!("sip:u{}@192.0.2.1", number % 10);
        let source = ([198, 51, 100, number % 5], u16::from(number)).into();
        let contacts = [contact(&uri)];
        let aor = AorId(number.into());
        let register = Register { aor, source, ..request(&contacts, "c1", 1) };
        desk.send(&register).unwrap();
    }
    desk.registrar.unregister(
        AorId(3),
        Which::All,
        LeaveReason::ForcedUnregister,
        &mut desk.events,
    );
    let found = |wanted: Wanted<'_>| {
        let (mut aors, mut from) = (Vec::new(), Some(0));
        while let Some(at) = from {
            let (page, next) = desk.registrar.find(desk.now, wanted, at, 7);
            let page: Vec<u32> = page.map(|(_, binding)| binding.aor().0).collect();
            assert!(page.len() <= 7);
            aors.extend(page);
            from = next;
        }
        aors
    };
    assert_eq!(found(Wanted::Any).len(), 49);
    let uri = Uri::parse(b"sip:u3@192.0.2.1").unwrap();
    assert_eq!(found(Wanted::Contact(&uri)), [13, 23, 33, 43]);
    assert_eq!(found(Wanted::Source("198.51.100.2:7".parse().unwrap())), [7]);
    assert_eq!(found(Wanted::SourceIp("198.51.100.2".parse().unwrap())).len(), 10);
    assert_eq!(desk.registrar.find(desk.now, Wanted::Any, u32::MAX, 7).1, None);
}
