//! What watchers know against what the registrar has: random registrations, departures, losses
//! and time, each watcher a model that applies the documents it receives (RFC 3680 5.2).

use std::collections::BTreeMap;
use std::time::Duration;

use aorta::flow::Transport;
use aorta::registrar::{LeaveReason, Which};
use proptest::prelude::*;

#[path = "reg_event_core/document.rs"]
mod document;
#[path = "reg_event_core/world.rs"]
mod world;

use document::Watcher;
use world::{AOR, Phone, Sent, Subscriber, World};

const WATCHERS: usize = 4;

#[derive(Clone, Debug)]
enum Op {
    Register { contact: usize, device: usize, expires: u32 },
    UnregisterAll { device: usize },
    ForceOut { nth: Option<usize> },
    Subscribe { watcher: usize, expires: u32 },
    Move { watcher: usize, port: u16 },
    Close { watcher: usize },
    Wait { millis: u64 },
    Deaf { watcher: usize, deaf: bool },
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (0..6usize, 0..4usize, prop_oneof![Just(0u32), 60..200u32])
            .prop_map(|(contact, device, expires)| Op::Register { contact, device, expires }),
        1 => (0..4usize).prop_map(|device| Op::UnregisterAll { device }),
        1 => proptest::option::of(0..3usize).prop_map(|nth| Op::ForceOut { nth }),
        4 => (0..WATCHERS, prop_oneof![Just(0u32), 60..400u32])
            .prop_map(|(watcher, expires)| Op::Subscribe { watcher, expires }),
        1 => (0..WATCHERS, 1000..2000u16).prop_map(|(watcher, port)| Op::Move { watcher, port }),
        1 => (0..WATCHERS).prop_map(|watcher| Op::Close { watcher }),
        6 => prop_oneof![0..3000u64, 0..20_000u64, 0..100_000u64]
            .prop_map(|millis| Op::Wait { millis }),
        2 => (0..WATCHERS, any::<bool>()).prop_map(|(watcher, deaf)| Op::Deaf { watcher, deaf }),
    ]
}

/// A watcher and its line, which may be dead for a while.
struct Line {
    subscriber: Subscriber,
    knows: Watcher,
    deaf: bool,
    dialogs: u32,
}

impl Line {
    fn new(nth: usize) -> Line {
        let mut line = Line {
            subscriber: Subscriber::new("x", "192.0.2.1:1"),
            knows: Watcher::default(),
            deaf: false,
            dialogs: 0,
        };
        line.begin(nth);
        line
    }

    /// A subscriber with a dialog yet to come. Two of them sit where phones register from.
    fn begin(&mut self, nth: usize) {
        self.dialogs += 1;
        let name = format!("w{nth}d{}", self.dialogs);
        let subscriber = Subscriber::new(&name, &format!("192.0.2.{nth}:5060"));
        self.subscriber = match nth % 2 {
            0 => subscriber,
            _ => subscriber.on_connection(nth as u32 * 100 + self.dialogs, Transport::Tcp),
        };
        self.knows = Watcher::default();
    }
}

struct Play {
    world: World,
    lines: Vec<Line>,
    /// Per dialog: when its last NOTIFY left, and its CSeq.
    last: BTreeMap<String, (Duration, u32)>,
}

impl Play {
    fn hear(&mut self, sent: &Sent) {
        let Play { world, lines, last } = self;
        hear(world, lines, last, sent);
    }

    fn wait(&mut self, millis: u64) {
        let Play { world, lines, last } = self;
        let step = Duration::from_millis(millis);
        world.pass_with(step, |world, sent| hear(world, lines, last, sent));
    }

    fn settle(&mut self) {
        for sent in self.world.poll() {
            self.hear(&sent);
        }
    }
}

fn hear(
    world: &mut World,
    lines: &mut [Line],
    last: &mut BTreeMap<String, (Duration, u32)>,
    sent: &Sent,
) {
    let notification = &sent.notification;
    let call_id = notification.header("Call-ID").to_owned();
    let cseq = notification.cseq();
    if let Some(&(at, before)) = last.get(&call_id) {
        assert!(cseq == before || cseq == before + 1, "NOTIFYs are numbered one by one");
        let document = &notification.document;
        let rejected =
            document.contacts.iter().any(|contact| contact.attribute("event") == "rejected");
        let paced = cseq == before || document.full || rejected;
        assert!(paced || sent.at - at >= Duration::from_secs(5), "{:?} after {at:?}", sent.at);
    }
    if last.get(&call_id).is_none_or(|&(_, before)| before != cseq) {
        last.insert(call_id.clone(), (sent.at, cseq));
    }
    let line = lines.iter_mut().find(|line| line.subscriber.call_id == call_id);
    match line {
        Some(line) if line.deaf => {}
        Some(line) => {
            assert_eq!((sent.to, sent.flow), (line.subscriber.source, line.subscriber.flow));
            line.knows.take(&notification.document);
            world.answer(sent, 200);
        }
        None => world.answer(sent, 481),
    }
}

fn contact(nth: usize) -> String {
    format!("sip:a@host{nth}.example;x=&&")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    #[test]
    fn watchers_know_what_the_registrar_has(
        bindings_max in 1..5u8,
        ops in proptest::collection::vec(op(), 1..60),
    ) {
        let mut play = Play {
            world: World::new(bindings_max),
            lines: (0..WATCHERS).map(Line::new).collect(),
            last: BTreeMap::new(),
        };
        for op in ops {
            match op {
                Op::Register { contact: nth, device, expires } => {
                    let source = format!("192.0.2.{device}:5060");
                    let uri = contact(nth);
                    let instance = format!(";+sip.instance=\"<urn:x:{device}>\"");
                    let call_id = format!("call{device}");
                    let phone = Phone {
                        call_id: &call_id, params: &instance, ..Phone::new(&uri, &source)
                    };
                    play.world.register(&phone, expires);
                }
                Op::UnregisterAll { device } => {
                    let call_id = format!("call{device}");
                    let phone = Phone { call_id: &call_id, ..Phone::new("", "192.0.2.9:1") };
                    play.world.unregister_all(&phone);
                }
                Op::ForceOut { nth } => {
                    let registrar = &play.world.registrar;
                    let which = nth.map(|nth| registrar.location().bindings(AOR).nth(nth));
                    let which = match which {
                        None => Which::All,
                        Some(Some((id, _))) => Which::One(id),
                        Some(None) => continue,
                    };
                    play.world.force_out(which, LeaveReason::ForcedUnregister);
                }
                Op::Subscribe { watcher, expires } => {
                    let subscriber = &mut play.lines[watcher].subscriber;
                    if play.world.subscribe(subscriber, Some(expires)).is_err() {
                        // It ended while nobody listened: the watcher begins anew.
                        play.lines[watcher].begin(watcher);
                        let subscriber = &mut play.lines[watcher].subscriber;
                        play.world.subscribe(subscriber, Some(expires)).unwrap();
                    }
                }
                Op::Move { watcher, port } => {
                    let subscriber = &mut play.lines[watcher].subscriber;
                    let before = subscriber.source;
                    subscriber.source.set_port(port);
                    if play.world.subscribe(subscriber, Some(300)).is_err() {
                        play.lines[watcher].subscriber.source = before;
                    }
                }
                Op::Close { watcher } => {
                    if let Some(id) = play.lines[watcher].subscriber.flow.connection() {
                        play.world.table.flow_closed(id);
                        play.lines[watcher].begin(watcher);
                    }
                }
                Op::Wait { millis } => play.wait(millis),
                // Over a connection nothing is lost unless it closes.
                Op::Deaf { watcher, deaf } => {
                    let line = &mut play.lines[watcher];
                    line.deaf = deaf && line.subscriber.flow.connection().is_none();
                }
            }
            play.settle();
            play.world.table.check_invariants();
        }
        // Everybody listens again; after the pace, and with time to repeat what was lost, all who
        // still subscribe know exactly what there is.
        for line in &mut play.lines {
            line.deaf = false;
        }
        play.wait(12_000);
        let mut there: Vec<_> = play.world.registrar.bindings(AOR, play.world.now)
            .map(|(_, b)| (
                String::from_utf8(b.contact().to_vec()).unwrap(),
                String::from_utf8(b.call_id().text().unwrap().to_vec()).unwrap(),
                b.cseq().to_string(),
            ))
            .collect();
        there.sort();
        for nth in 0..WATCHERS {
            let mut probe = play.lines[nth].subscriber.clone();
            if probe.to_tag.is_none() || play.world.subscribe(&mut probe, Some(300)).is_err() {
                continue;
            }
            let mut known: Vec<_> = play.lines[nth].knows.contacts.values()
                .map(|c| (
                    c.uri.clone(),
                    c.attribute("callid").to_owned(),
                    c.attribute("cseq").to_owned(),
                ))
                .collect();
            known.sort();
            prop_assert_eq!(&known, &there, "watcher {}", nth);
        }
        // What ended is gone without a trace.
        play.wait(100_000_000);
        prop_assert!(play.world.table.is_empty());
        play.world.table.check_invariants();
    }

    #[test]
    fn documents_are_well_formed_whatever_bytes_a_contact_has(
        uri in proptest::collection::vec(any::<u8>(), 1..80),
        user in proptest::collection::vec(0x21..0xffu8, 1..40),
        call_id in proptest::collection::vec(any::<u8>(), 0..40),
        instance in "[^\"\\\\\r\n]{0,40}",
    ) {
        let mut world = World::new(64);
        let call_id = String::from_utf8_lossy(&call_id).into_owned();
        let params = format!(";+sip.instance=\"{instance}\"");
        let phone = Phone::new("", "192.0.2.1:5060");
        let phone = Phone { call_id: &call_id, params: &params, ..phone };
        let user = [b"sip:", &user[..], b"@192.0.2.1;a=b&c"].concat();
        let mut accepted = Vec::new();
        for uri in [&uri[..], &user, b"sip:a@h;x=%00&y=&&amp;'"] {
            if world.register_bytes(uri, &phone, 600) {
                accepted.push(String::from_utf8_lossy(uri).into_owned());
            }
        }
        world.subscribe(&mut Subscriber::new("w", "192.0.2.9:1"), Some(600)).unwrap();
        let document = world.one_heard().notification.document;
        let read: Vec<_> = document.contacts.iter().map(|c| c.uri.clone()).collect();
        prop_assert_eq!(read, accepted);
        if let Some(contact) = document.contacts.first().filter(|_| !instance.is_empty()) {
            let clean: String = instance.chars().map(|c| match c {
                '\t' => c,
                '\0'..'\x20' | '\u{FFFE}' | '\u{FFFF}' => '\u{FFFD}',
                _ => c,
            }).collect();
            let instance = contact.params.get("+sip.instance").cloned();
            prop_assert_eq!(instance, Some(format!("\"{clean}\"")));
        }
    }
}
