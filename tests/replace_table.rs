//! Who makes room at a limit of one binding: the whole table of {same instance, other instance, no
//! instance} x {same Call-ID, new Call-ID} x {same address, new address} x {replace On, Off}.

use aorta::config::{Registrar as Config, Replace};
use aorta::registrar::{AorId, Contacts, Event, LeaveReason, Refusal, Register, Registrar};
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
    Refreshed,
    Retargeted,
    Kicked,
    Refused,
}

use Instance::{Absent, Other, Same};
use Outcome::{Kicked, Refreshed, Refused, Retargeted};

const SAME: bool = true;
const NEW: bool = false;

/// Instance, Call-ID, address, then the outcome with replace On and with replace Off.
const TABLE: [(Instance, bool, bool, Outcome, Outcome); 12] = [
    (Same, SAME, SAME, Refreshed, Refreshed),
    (Same, SAME, NEW, Retargeted, Retargeted),
    (Same, NEW, SAME, Refreshed, Refreshed),
    (Same, NEW, NEW, Retargeted, Retargeted),
    (Other, SAME, SAME, Refreshed, Refreshed),
    (Other, SAME, NEW, Kicked, Refused),
    (Other, NEW, SAME, Refreshed, Refreshed),
    (Other, NEW, NEW, Kicked, Refused),
    (Absent, SAME, SAME, Refreshed, Refreshed),
    (Absent, SAME, NEW, Retargeted, Retargeted),
    (Absent, NEW, SAME, Refreshed, Refreshed),
    (Absent, NEW, NEW, Kicked, Refused),
];

struct Phone<'a> {
    instance: Option<&'a [u8]>,
    reg_id: Option<u32>,
    call_id: &'a [u8],
    cseq: u32,
    user_agent: &'a [u8],
    address: &'a str,
}

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
        path: b"",
        source: ([192, 0, 2, 1], 5060).into(),
        listener: 0,
        local_ip: None,
        fingerprint: u64::from(phone.cseq),
        bindings_max: None,
    };
    registrar.register(Now::default(), &request, events).map(|_| ())
}

const FIRST: &str = "sip:u@192.0.2.1";
const SECOND: &str = "sip:u@192.0.2.2";

/// What the second phone's REGISTER does to the first one's binding.
fn outcome(replace: bool, first: &Phone<'_>, second: &Phone<'_>) -> Outcome {
    let replace = if replace { Replace::Always } else { Replace::Never };
    let config = Config { replace, bindings_max: 1, ..Config::default() };
    let mut registrar = Registrar::new(config, [3, 4]);
    register(&mut registrar, first, &mut Vec::new()).unwrap();
    let name = registrar.location().bindings(AorId(0)).next().unwrap().0;
    let mut events = Vec::new();
    let answer = register(&mut registrar, second, &mut events);
    let stored: Vec<_> = registrar
        .location()
        .bindings(AorId(0))
        .map(|(id, binding)| (id == name, binding.contact() == second.address.as_bytes()))
        .collect();
    match (answer, &events[..]) {
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
        (Err(Refusal::TooManyBindings { .. }), []) => {
            assert_eq!(stored, [(true, false)], "a refusal changes nothing");
            Refused
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_device_decides_not_the_call_id() {
    for (instance, call_id, address, with_replace, without) in TABLE {
        for (replace, expected) in [(true, with_replace), (false, without)] {
            let first = Phone {
                instance: (instance != Absent).then_some(&b"<urn:uuid:1>"[..]),
                reg_id: None,
                call_id: b"c1",
                cseq: 1,
                user_agent: b"Phone/1",
                address: FIRST,
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
            let row = (instance, call_id, address, replace);
            assert_eq!(outcome(replace, &first, &second), expected, "{row:?}");
        }
    }
}

const PLAIN: Phone<'static> = Phone {
    instance: None,
    reg_id: None,
    call_id: b"c1",
    cseq: 5,
    user_agent: b"Phone/1",
    address: FIRST,
};

#[test]
fn without_an_instance_another_user_agent_is_another_device() {
    let second = Phone { cseq: 6, address: SECOND, user_agent: b"Phone/2", ..PLAIN };
    assert_eq!(outcome(true, &PLAIN, &second), Kicked);
    assert_eq!(outcome(false, &PLAIN, &second), Refused);
}

#[test]
fn without_an_instance_a_cseq_that_is_not_higher_is_another_device() {
    let second = Phone { cseq: 4, address: SECOND, ..PLAIN };
    assert_eq!(outcome(true, &PLAIN, &second), Kicked);
    assert_eq!(outcome(false, &PLAIN, &second), Refused);
}

#[test]
fn the_same_instance_under_another_reg_id_is_another_binding() {
    let first = Phone { instance: Some(b"<urn:uuid:1>"), reg_id: Some(1), ..PLAIN };
    let second = Phone { reg_id: Some(2), cseq: 6, address: SECOND, ..first };
    assert_eq!(outcome(true, &first, &second), Kicked);
    assert_eq!(outcome(false, &first, &second), Refused);
    let absent = Phone { reg_id: None, cseq: 6, address: SECOND, ..first };
    assert_eq!(outcome(true, &first, &absent), Kicked);
}

#[test]
fn a_second_flow_of_one_contact_at_the_limit_is_never_a_replacement() {
    let first = Phone { instance: Some(b"<urn:uuid:1>"), reg_id: Some(1), ..PLAIN };
    let second = Phone { reg_id: Some(2), cseq: 6, ..first };
    assert_eq!(outcome(true, &first, &second), Refreshed);
    assert_eq!(outcome(false, &first, &second), Refreshed);
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
