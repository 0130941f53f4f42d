//! Who makes room at a limit of one binding: the whole table of {same instance, other instance, no
//! instance} x {same Call-ID, new Call-ID} x {same address, new address} x {replace always, never,
//! unless in call without and with a call}, and what outbound adds to it.

use aorta::config::{Registrar as Config, Replace};
use aorta::limits::FLOWS_PER_DEVICE_MAX;
use aorta::registrar::{AorId, Contacts, Event, LeaveReason, Limits, Refusal, Register, Registrar};
use aorta::sip::header::contact::Contact;
use aorta::sip::uri::Uri;
use aorta::time::Now;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Instance {
    Same,
    Other,
    Absent,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// A second binding beside the first.
    Added,
    Refreshed,
    Retargeted,
    Kicked,
    Refused,
}

use Instance::{Absent, Other, Same};
use Outcome::{Added, Kicked, Refreshed, Refused, Retargeted};

const SAME: bool = true;
const NEW: bool = false;

/// What is set, and whether the first phone has a call.
const POLICIES: [(Replace, bool); 4] = [
    (Replace::Always, false),
    (Replace::Never, false),
    (Replace::UnlessInCall, false),
    (Replace::UnlessInCall, true),
];

/// The same under every policy: no other device has to go.
const fn always(outcome: Outcome) -> [Outcome; 4] {
    [outcome; 4]
}

const BY_POLICY: [Outcome; 4] = [Kicked, Refused, Kicked, Refused];

/// Instance, Call-ID, address; the outcome under each policy; why.
const TABLE: [(Instance, bool, bool, [Outcome; 4], &str); 12] = [
    (Same, SAME, SAME, always(Refreshed), "the contact is the same: RFC 3261 10.3 step 7"),
    (Same, SAME, NEW, always(Retargeted), "the same device after its address changed"),
    (Same, NEW, SAME, always(Refreshed), "the device rebooted; the contact is the same"),
    (Same, NEW, NEW, always(Retargeted), "the device rebooted and got another address"),
    (Other, SAME, SAME, always(Refreshed), "without outbound the contact alone names a binding"),
    (Other, SAME, NEW, BY_POLICY, "another instance is another device, whatever its Call-ID"),
    (Other, NEW, SAME, always(Refreshed), "without outbound the contact alone names a binding"),
    (Other, NEW, NEW, BY_POLICY, "another device"),
    (Absent, SAME, SAME, always(Refreshed), "the contact is the same"),
    (Absent, SAME, NEW, always(Retargeted), "one Call-ID with a higher CSeq is one device"),
    (Absent, NEW, SAME, always(Refreshed), "the device rebooted; the contact is the same"),
    (Absent, NEW, NEW, BY_POLICY, "nothing says that it is the same device"),
];

#[derive(Clone, Copy)]
struct Phone<'a> {
    instance: Option<&'a [u8]>,
    reg_id: Option<u32>,
    call_id: &'a [u8],
    cseq: u32,
    user_agent: &'a [u8],
    address: &'a str,
    outbound: bool,
    limits: Limits,
}

const FIRST: &str = "sip:u@192.0.2.1";
const SECOND: &str = "sip:u@192.0.2.2";

const PLAIN: Phone<'static> = Phone {
    instance: None,
    reg_id: None,
    call_id: b"c1",
    cseq: 5,
    user_agent: b"Phone/1",
    address: FIRST,
    outbound: false,
    limits: Limits { expires_min_s: None, expires_max_s: None, bindings_max: None, replace: None },
};

/// One flow of a device under outbound.
const FLOW: Phone<'static> =
    Phone { instance: Some(b"<urn:uuid:1>"), reg_id: Some(1), outbound: true, ..PLAIN };

fn register(
    registrar: &mut Registrar,
    phone: &Phone<'_>,
    events: &mut Vec<Event>,
) -> Result<(), Refusal> {
    let contact = Contact {
        uri: Uri::parse(phone.address.as_bytes()).unwrap(),
        q: None,
        expires: None,
        instance: phone.instance,
        reg_id: phone.reg_id,
        params: b"",
    };
    let request = Register {
        aor: AorId(0),
        call_id: phone.call_id,
        cseq: phone.cseq,
        contacts: Contacts::List(&[contact]),
        expires: Some(600),
        user_agent: phone.user_agent,
        source: ([192, 0, 2, 1], 5060).into(),
        fingerprint: u64::from(phone.call_id[1]) << 32 | u64::from(phone.cseq),
        outbound: phone.outbound,
        limits: phone.limits,
        ..Register::default()
    };
    registrar.register(Now::default(), &request, events).map(|_| ())
}

/// What the second phone's REGISTER does to the first one's binding, in either form of it.
fn outcome_with(rule: (Replace, bool), first: &Phone<'_>, second: &Phone<'_>) -> Outcome {
    let outcome = outcome_in(false, rule, first, second);
    assert_eq!(outcome_in(true, rule, first, second), outcome, "in the compact form");
    outcome
}

fn outcome_in(
    compact: bool,
    (replace, in_call): (Replace, bool),
    first: &Phone<'_>,
    second: &Phone<'_>,
) -> Outcome {
    let config = Config { replace, bindings_max: 1, compact, ..Config::default() };
    let mut registrar = Registrar::new(config, [3, 4]);
    register(&mut registrar, first, &mut Vec::new()).unwrap();
    let name = registrar.location().bindings(AorId(0)).next().unwrap().0;
    registrar.set_in_call(name, in_call);
    let mut events = Vec::new();
    let answer = register(&mut registrar, second, &mut events);
    let stored: Vec<_> = registrar
        .location()
        .bindings(AorId(0))
        .map(|(id, binding)| (id == name, binding.contact() == second.address.as_bytes()))
        .collect();
    match (answer, &events[..]) {
        (Ok(()), [Event::Registered { .. }]) => {
            assert_eq!(stored.len(), 2);
            Added
        }
        (Ok(()), [Event::Refreshed { .. }]) => {
            assert_eq!(stored, [(true, true)]);
            Refreshed
        }
        (Ok(()), [Event::Retargeted { old, .. }]) => {
            assert_eq!(old.contact(), first.address.as_bytes());
            assert_eq!(stored, [(true, true)], "the binding keeps its name");
            Retargeted
        }
        (Ok(()), [Event::Left { binding, reason, .. }, Event::Registered { .. }]) => {
            assert_eq!((*binding, *reason), (name, LeaveReason::Kicked));
            assert_eq!(stored, [(false, true)]);
            Kicked
        }
        (Err(Refusal::TooManyBindings { retry_after_s }), []) => {
            assert!((60..90).contains(&retry_after_s), "{retry_after_s}");
            let unchanged = (true, first.address == second.address);
            assert_eq!(stored, [unchanged], "a refusal changes nothing");
            Refused
        }
        other => panic!("{other:?}"),
    }
}

fn outcomes(first: &Phone<'_>, second: &Phone<'_>) -> [Outcome; 4] {
    POLICIES.map(|policy| outcome_with(policy, first, second))
}

#[test]
fn the_device_decides_not_the_call_id() {
    for (instance, call_id, address, expected, why) in TABLE {
        let first = Phone {
            instance: (instance != Absent).then_some(&b"<urn:uuid:1>"[..]),
            cseq: 1,
            ..PLAIN
        };
        let second = Phone {
            instance: match instance {
                Same => first.instance,
                Other => Some(b"<urn:uuid:2>"),
                Absent => None,
            },
            call_id: if call_id == SAME { b"c1" } else { b"c2" },
            cseq: 2,
            address: if address == SAME { FIRST } else { SECOND },
            ..first
        };
        assert_eq!(outcomes(&first, &second), expected, "{instance:?} {call_id} {address}: {why}");
    }
}

#[test]
fn the_policy_of_the_account_goes_before_the_configured_one() {
    let second = Phone { call_id: b"c2", address: SECOND, ..PLAIN };
    let with = |replace| Limits { replace: Some(replace), ..Limits::default() };
    let never = Phone { limits: with(Replace::Never), ..second };
    assert_eq!(outcomes(&PLAIN, &never), [Refused; 4]);
    let always = Phone { limits: with(Replace::Always), ..second };
    assert_eq!(outcomes(&PLAIN, &always), [Kicked; 4]);
    let two = Phone { limits: Limits { bindings_max: Some(2), ..Limits::default() }, ..second };
    assert_eq!(outcomes(&PLAIN, &two), [Added; 4]);
}

#[test]
fn without_an_instance_another_user_agent_is_another_device() {
    let second = Phone { cseq: 6, address: SECOND, user_agent: b"Phone/2", ..PLAIN };
    assert_eq!(outcomes(&PLAIN, &second), BY_POLICY);
}

#[test]
fn without_an_instance_a_cseq_that_is_not_higher_is_another_device() {
    let second = Phone { cseq: 4, address: SECOND, ..PLAIN };
    assert_eq!(outcomes(&PLAIN, &second), BY_POLICY);
}

#[test]
fn an_instance_in_another_spelling_is_the_same_device() {
    let first = Phone { instance: Some(b"<urn:uuid:00ab>"), ..PLAIN };
    let second =
        Phone { instance: Some(b"<URN:UUID:00AB>"), call_id: b"c2", address: SECOND, ..PLAIN };
    assert_eq!(outcomes(&first, &second), [Retargeted; 4]);
}

#[test]
fn without_outbound_reg_id_means_nothing() {
    let first = Phone { outbound: false, ..FLOW };
    let second = Phone { reg_id: Some(2), cseq: 6, address: SECOND, ..first };
    assert_eq!(outcomes(&first, &second), [Retargeted; 4]);
    let same = Phone { reg_id: Some(2), cseq: 6, ..first };
    assert_eq!(outcomes(&first, &same), [Refreshed; 4]);
}

/// RFC 5626 6: instance and reg-id name the binding, and the flows of one device are one device.
const FLOWS: [(Instance, bool, bool, [Outcome; 4], &str); 8] = [
    (Same, SAME, SAME, always(Refreshed), "the same flow again"),
    (Same, SAME, NEW, always(Retargeted), "the same flow by another address"),
    (Same, NEW, SAME, always(Added), "a second flow of the device, which counts once"),
    (Same, NEW, NEW, always(Added), "a second flow of the device, which counts once"),
    (Other, SAME, SAME, BY_POLICY, "behind two NATs two devices may have one address"),
    (Other, SAME, NEW, BY_POLICY, "another device"),
    (Other, NEW, SAME, BY_POLICY, "behind two NATs two devices may have one address"),
    (Other, NEW, NEW, BY_POLICY, "another device"),
];

#[test]
fn under_outbound_the_flows_of_a_device_do_not_kick_each_other() {
    for (instance, reg_id, address, expected, why) in FLOWS {
        for call_id in [b"c1", b"c2"] {
            let second = Phone {
                instance: if instance == Same { FLOW.instance } else { Some(b"<urn:uuid:2>") },
                reg_id: Some(if reg_id == SAME { 1 } else { 2 }),
                call_id,
                cseq: 6,
                address: if address == SAME { FIRST } else { SECOND },
                ..FLOW
            };
            let row = (instance, reg_id, address, call_id);
            assert_eq!(outcomes(&FLOW, &second), expected, "{row:?}: {why}");
        }
    }
}

#[test]
fn a_device_that_takes_up_outbound_or_gives_it_up_is_still_the_same() {
    let ordinary = Phone { reg_id: None, outbound: false, cseq: 6, address: SECOND, ..FLOW };
    assert_eq!(outcomes(&FLOW, &ordinary), [Retargeted; 4]);
    assert_eq!(outcomes(&ordinary, &Phone { cseq: 7, ..FLOW }), [Retargeted; 4]);
}

#[test]
fn a_device_is_kicked_with_all_its_flows_and_is_in_a_call_with_any_of_them() {
    for (replace, kicked) in [(Replace::Always, true), (Replace::UnlessInCall, false)] {
        let config = Config { replace, ..Config::default() };
        let mut registrar = Registrar::new(config, [3, 4]);
        register(&mut registrar, &FLOW, &mut Vec::new()).unwrap();
        let second = Phone { reg_id: Some(2), cseq: 6, ..FLOW };
        register(&mut registrar, &second, &mut Vec::new()).unwrap();
        let flow = registrar.location().bindings(AorId(0)).nth(1).unwrap().0;
        registrar.set_in_call(flow, true);
        let other = Phone { instance: Some(b"<urn:uuid:2>"), call_id: b"c9", ..FLOW };
        let mut events = Vec::new();
        let answer = register(&mut registrar, &other, &mut events);
        assert_eq!(answer.is_ok(), kicked);
        let left =
            |event: &&Event| matches!(event, Event::Left { reason: LeaveReason::Kicked, .. });
        assert_eq!(events.iter().filter(left).count(), if kicked { 2 } else { 0 });
    }
}

#[test]
fn what_a_device_leaves_behind_when_it_gives_outbound_up_goes_also_where_none_is_replaced() {
    let config = Config { replace: Replace::Never, ..Config::default() };
    let mut registrar = Registrar::new(config, [3, 4]);
    for reg_id in 1..=2 {
        let flow = Phone { reg_id: Some(reg_id), cseq: 5 + reg_id, ..FLOW };
        register(&mut registrar, &flow, &mut Vec::new()).unwrap();
    }
    let ordinary = Phone { reg_id: None, outbound: false, call_id: b"c2", address: SECOND, ..FLOW };
    register(&mut registrar, &ordinary, &mut Vec::new()).unwrap();
    let left: Vec<_> =
        registrar.location().bindings(AorId(0)).map(|(_, b)| b.contact().to_vec()).collect();
    assert_eq!(left, [SECOND.as_bytes()]);
}

#[test]
fn one_flow_too_many_takes_over_the_oldest_of_its_device() {
    let mut registrar = Registrar::new(Config::default(), [3, 4]);
    for reg_id in 1..=FLOWS_PER_DEVICE_MAX as u32 + 1 {
        let flow = Phone { reg_id: Some(reg_id), cseq: 5 + reg_id, ..FLOW };
        register(&mut registrar, &flow, &mut Vec::new()).unwrap();
    }
    let mut reg_ids: Vec<_> =
        registrar.location().bindings(AorId(0)).map(|(_, b)| b.reg_id().unwrap()).collect();
    reg_ids.sort_unstable();
    let expected: Vec<u32> = (2..=FLOWS_PER_DEVICE_MAX as u32 + 1).collect();
    assert_eq!(reg_ids, expected);
}

#[test]
fn nobody_gets_over_the_limit_by_giving_outbound_up_for_one_flow_after_the_other() {
    let mut registrar = Registrar::new(Config::default(), [3, 4]);
    for round in 0..10 {
        for reg_id in 1..=2 {
            let cseq = 10 * (round + 1) + reg_id;
            let flow = Phone { reg_id: Some(reg_id), cseq, ..FLOW };
            register(&mut registrar, &flow, &mut Vec::new()).unwrap();
        }
        // The same contact, which was a flow, and no instance that would tell whose it is.
        let cseq = 10 * (round + 1) + 5;
        let plain = Phone { reg_id: None, instance: None, outbound: false, cseq, ..FLOW };
        register(&mut registrar, &plain, &mut Vec::new()).unwrap();
        assert_eq!(registrar.location().count(AorId(0)), 1, "round {round}");
    }
}

#[test]
fn nobody_gets_over_the_limit_of_flows_by_making_flows_of_ordinary_bindings() {
    let config = Config { bindings_max: 2, ..Config::default() };
    let mut registrar = Registrar::new(config, [3, 4]);
    let addresses: Vec<String> =
        (0..20).map(|number| format!("sip:alice@192.0.2.9:{}", 6000 + number)).collect();
    for (number, address) in (1..).zip(&addresses) {
        let plain =
            Phone { reg_id: None, instance: None, outbound: false, cseq: 10 * number, ..FLOW };
        let plain = Phone { address, ..plain };
        register(&mut registrar, &plain, &mut Vec::new()).unwrap();
        let flow = Phone { reg_id: Some(number), cseq: 10 * number + 1, address, ..FLOW };
        register(&mut registrar, &flow, &mut Vec::new()).unwrap();
        let count = registrar.location().count(AorId(0));
        assert!(count <= FLOWS_PER_DEVICE_MAX, "{count} bindings of one device");
    }
    assert_eq!(registrar.location().count(AorId(0)), FLOWS_PER_DEVICE_MAX);
}

#[test]
fn a_delayed_request_of_the_same_instance_does_not_bring_its_old_address_back() {
    let mut registrar = Registrar::new(Config::default(), [3, 4]);
    let moved = Phone { instance: Some(b"<urn:uuid:1>"), cseq: 6, address: SECOND, ..PLAIN };
    register(&mut registrar, &moved, &mut Vec::new()).unwrap();
    let delayed = Phone { cseq: 5, address: FIRST, ..moved };
    let mut events = Vec::new();
    assert_eq!(register(&mut registrar, &delayed, &mut events), Err(Refusal::StaleCSeq));
    assert!(events.is_empty());
}
