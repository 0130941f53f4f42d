//! The compact form of a binding: what is kept as a hash serves every rule as the text did.

use aorta::limits::AGENTS_MAX;

use super::*;

#[test]
fn in_the_compact_form_the_order_of_cseq_and_retransmissions_are_known_as_ever() {
    let mut desk = Desk::new(Config { compact: true, ..Config::default() });
    let contacts = [contact(A)];
    desk.send(&request(&contacts, "c1", 5)).unwrap();
    let (_, binding) = desk.registrar.location().bindings(AOR).next().unwrap();
    assert_eq!(binding.call_id().text(), None, "only its hash is kept");
    let late = Register { fingerprint: 99, ..request(&contacts, "c1", 4) };
    assert_eq!(desk.send(&late), Err(Refusal::StaleCSeq));
    assert!(desk.registrar.is_retransmission(&request(&contacts, "c1", 5)));
    // Another Call-ID begins to count anew (RFC 3261 10.3 step 7).
    desk.send(&request(&contacts, "c2", 1)).unwrap();
    assert_eq!(desk.send(&request(&contacts, "c2", 1)).map(|rows| rows.len()), Ok(1));
}

#[test]
fn a_form_that_is_changed_while_it_runs_holds_from_the_next_register_of_each_phone_on() {
    let mut desk = Desk::new(Config { compact: true, ..Config::default() });
    let contacts = [contact(A)];
    desk.send(&request(&contacts, "c1", 1)).unwrap();
    desk.registrar.configure(Config { expires_spread_percent: 0, ..Config::default() });
    let stale = Register { fingerprint: 98, ..request(&contacts, "c1", 1) };
    assert_eq!(desk.send(&stale), Err(Refusal::StaleCSeq), "the hash is still known");
    desk.send(&request(&contacts, "c1", 2)).unwrap();
    let (_, binding) = desk.registrar.location().bindings(AOR).next().unwrap();
    assert_eq!(binding.call_id().text().as_deref(), Some(&b"c1"[..]));
}

#[test]
fn a_phone_is_known_by_its_agent_also_where_the_table_of_agents_is_full() {
    for compact in [false, true] {
        let mut desk = Desk::new(Config { compact, ..Config::default() });
        let contacts = [contact(A)];
        // Hostile accounts think of an agent each.
        for number in 0..AGENTS_MAX as u32 + 10 {
            let agent = format!("Agent {number}");
            let call_id = format!("c{number}");
            let register = Register {
                aor: AorId(number + 10),
                user_agent: agent.as_bytes(),
                ..request(&contacts, &call_id, 1)
            };
            desk.send(&register).unwrap();
        }
        assert_eq!(desk.registrar.agents_shared(), AGENTS_MAX);
        assert_eq!(desk.registrar.agents_not_shared(), 10);
        let agent = b"Late 1".as_slice();
        let first = Register { user_agent: agent, ..request(&contacts, "cx", 1) };
        desk.send(&first).unwrap();
        let (_, binding) = desk.registrar.location().bindings(AOR).next().unwrap();
        assert_eq!(binding.user_agent(), if compact { b"" } else { agent });
        let moved = [contact(B)];
        // The same Call-ID with a higher CSeq and the same agent is the same phone, another is not.
        desk.send(&Register { user_agent: agent, ..request(&moved, "cx", 2) }).unwrap();
        assert!(matches!(desk.events[..], [Event::Retargeted { .. }]), "{:?}", desk.events);
        desk.send(&Register { user_agent: b"Late 2", ..request(&contacts, "cx", 3) }).unwrap();
        assert!(matches!(desk.events[..], [Event::Left { .. }, Event::Registered { .. }]));
    }
}
