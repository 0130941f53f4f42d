//! What the kernel makes of the program; skipped aloud where it may not be loaded.

use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::reactor::counters::Counters;
use crate::reactor::socket::bind_group;
use crate::shard::ShardId;
use crate::time::Instant;

const SOURCES: u32 = 1024;

/// The groups of two reactors at these addresses.
struct Two {
    sockets: Vec<Vec<Listener>>,
    bound: Vec<Bound>,
}

impl Two {
    fn at(addresses: &[&str]) -> Two {
        let mut two = Two { sockets: vec![Vec::new(), Vec::new()], bound: Vec::new() };
        for address in addresses {
            let (group, bound) = bind_group(address.parse().unwrap(), 2, 1 << 16).unwrap();
            two.bound.push(bound);
            two.sockets.iter_mut().zip(group).for_each(|(reactor, one)| reactor.push(one));
        }
        two
    }

    /// With the program in front; `None`, said aloud, where that is not allowed here.
    fn steered(&self) -> Option<Arc<Senders>> {
        match attach(config::Steering::Auto, SOURCES, &self.sockets, &self.bound).unwrap() {
            (Steering::On, senders) => senders,
            (Steering::Refused(why), None) => {
                eprintln!("SKIPPED: {why}");
                None
            }
            other => panic!("{other:?}"),
        }
    }

    /// Which of them has what `client` sends to a listener.
    fn receiver(&self, client: &UdpSocket, listener: usize) -> usize {
        client.send_to(b"x", self.bound[listener].address).unwrap();
        // Over loopback it is there when the call returns.
        let mut buffer = [std::mem::MaybeUninit::uninit(); 8];
        let taken = |reactor: &usize| {
            self.sockets[*reactor]
                .get(listener)
                .is_some_and(|one| one.shared().recv(&mut buffer).is_ok())
        };
        (0..2).find(taken).expect("one of them has it")
    }
}

fn clients(ip: &str) -> Vec<UdpSocket> {
    (0..16).map(|_| UdpSocket::bind(format!("{ip}:0")).unwrap()).collect()
}

fn note(senders: &Senders, client: &UdpSocket, reactor: u32) {
    let key = program::key(client.local_addr().unwrap());
    senders.0.put(&key, &program::value(reactor, 0), Put::Any).unwrap();
}

#[test]
fn a_known_sender_meets_the_reactor_that_was_noted_over_both_families() {
    let ipv6 = UdpSocket::bind("[::1]:0").is_ok();
    let locals = if ipv6 { &["127.0.0.1", "[::1]"][..] } else { &["127.0.0.1"] };
    if !ipv6 {
        eprintln!("SKIPPED for IPv6: no [::1] here");
    }
    let addresses: Vec<String> = locals.iter().map(|local| format!("{local}:0")).collect();
    let two = Two::at(&addresses.iter().map(String::as_str).collect::<Vec<_>>());
    let Some(senders) = two.steered() else { return };
    for (listener, local) in locals.iter().enumerate() {
        for client in clients(local) {
            let chosen = two.receiver(&client, listener);
            assert_eq!(two.receiver(&client, listener), chosen, "the hash is steady");
            for reactor in [1, 0] {
                note(&senders, &client, reactor);
                assert_eq!(two.receiver(&client, listener), reactor as usize);
            }
        }
    }
}

#[test]
fn one_entry_holds_at_every_listener_and_for_no_other_port() {
    let two = Two::at(&["127.0.0.1:0", "0.0.0.0:0"]);
    let Some(senders) = two.steered() else { return };
    let to_wildcard = |client: &UdpSocket| {
        let port = two.bound[1].address.port();
        let to: SocketAddr = ([127, 0, 0, 1], port).into();
        client.send_to(b"x", to).unwrap();
        let mut buffer = [std::mem::MaybeUninit::uninit(); 8];
        (0..2).find(|&n: &usize| two.sockets[n][1].shared().recv(&mut buffer).is_ok()).unwrap()
    };
    let clients = clients("127.0.0.1");
    let others: Vec<usize> = clients[1..].iter().map(|other| two.receiver(other, 0)).collect();
    for reactor in [0, 1] {
        note(&senders, &clients[0], reactor);
        assert_eq!(two.receiver(&clients[0], 0), reactor as usize);
        assert_eq!(to_wildcard(&clients[0]), reactor as usize);
    }
    let after: Vec<usize> = clients[1..].iter().map(|other| two.receiver(other, 0)).collect();
    assert_eq!(after, others, "who is not known goes where the hash says");
}

#[test]
fn an_entry_of_a_socket_that_is_gone_or_never_was_leaves_the_choice_to_the_hash() {
    let mut two = Two::at(&["127.0.0.1:0"]);
    let Some(senders) = two.steered() else { return };
    let clients = clients("127.0.0.1");
    for client in &clients {
        let chosen = two.receiver(client, 0);
        note(&senders, client, 77);
        assert_eq!(two.receiver(client, 0), chosen);
        note(&senders, client, 1);
        assert_eq!(two.receiver(client, 0), 1);
    }
    two.sockets[1].clear();
    for client in &clients {
        assert_eq!(two.receiver(client, 0), 0, "nothing is lost at a socket that was closed");
    }
}

#[test]
fn the_table_is_bounded_and_keeps_who_sends() {
    let two = Two::at(&["127.0.0.1:0"]);
    let Some(senders) = two.steered() else { return };
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let chosen = two.receiver(&client, 0);
    let other = 1 - chosen;
    note(&senders, &client, other as u32);
    let (mut found, mut asked) = (0, 0);
    for number in 0..8 * SOURCES {
        let octets = number.to_be_bytes();
        let stranger = SocketAddr::from(([10, octets[1], octets[2], octets[3]], 5060));
        senders.0.put(&program::key(stranger), &program::value(0, 0), Put::Any).unwrap();
        if number % 16 == 0 {
            found += u32::from(two.receiver(&client, 0) == other);
            asked += 1;
        }
    }
    // The kernel's order of last use is not exact.
    assert!(found * 10 >= asked * 9, "{found} of {asked}");
}

#[test]
fn a_sender_of_two_owners_stays_with_the_first_until_its_entry_is_old() {
    let two = Two::at(&["127.0.0.1:0"]);
    let Some(senders) = two.steered() else { return };
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    let source = client.local_addr().unwrap();
    let mut reactors =
        [0, 1].map(|number| (Notes::new(ShardId(number), senders.clone()), Counters::default()));
    let mut note = |reactor: usize, at_s: u64| {
        let (notes, counters) = &mut reactors[reactor];
        notes.note(Instant::from_secs(at_s), source, counters);
        let Counters { steering_noted, steering_moved, steering_shared, .. } = *counters;
        (steering_noted, steering_moved, steering_shared)
    };
    assert_eq!(note(0, 100), (1, 0, 0));
    assert_eq!(note(1, 101), (0, 0, 1));
    assert_eq!(two.receiver(&client, 0), 0);
    // Message after message costs nothing; the next look is one in ten seconds.
    assert_eq!(note(1, 105), (0, 0, 1));
    assert_eq!(note(0, 105), (1, 0, 0));
    assert_eq!(note(1, 111), (0, 0, 2));
    assert_eq!(two.receiver(&client, 0), 0);
    // Somebody else has the address now.
    assert_eq!(note(1, 700), (0, 1, 2));
    assert_eq!(two.receiver(&client, 0), 1);
    assert_eq!(note(0, 701), (1, 0, 1));
}

#[test]
fn more_senders_than_the_budget_are_counted_and_noted_later() {
    let two = Two::at(&["127.0.0.1:0"]);
    let Some(senders) = two.steered() else { return };
    let mut notes = Notes::new(ShardId(0), senders);
    let mut counters = Counters::default();
    let now = Instant::from_secs(50);
    for port in 1..=2000u16 {
        notes.note(now, ([10, 0, 0, 1], port).into(), &mut counters);
    }
    assert!(counters.steering_noted > 0 && counters.steering_shed > 0, "{counters:?}");
    assert_eq!(counters.steering_noted + counters.steering_shed, 2000);
    let shed = ([10, 0, 0, 1], 2000).into();
    notes.note(now + Duration::from_secs(1), shed, &mut counters);
    assert_eq!(counters.steering_noted + counters.steering_shed, 2001);
    assert_eq!(counters.steering_failed, 0);
}

#[test]
fn what_would_be_allowed_is_what_is_done() {
    let two = Two::at(&["127.0.0.1:0"]);
    assert_eq!(steering_allowed().is_ok(), two.steered().is_some());
}

#[test]
fn one_reactor_and_no_datagrams_are_not_steered() {
    let two = Two::at(&["127.0.0.1:0"]);
    for (asked, sockets) in [
        (config::Steering::On, &two.sockets[..1]),
        (config::Steering::On, &[Vec::new(), Vec::new()][..]),
        (config::Steering::Off, &two.sockets[..]),
    ] {
        let (steering, senders) = attach(asked, SOURCES, sockets, &two.bound).unwrap();
        assert!(steering == Steering::Off && senders.is_none());
    }
}

#[test]
fn a_refusal_is_one_line_with_what_helps_and_ends_the_start_only_where_it_must_be() {
    let two = Two::at(&["127.0.0.1:0"]);
    // No kernel has room for as many.
    let sources_max = u32::MAX;
    let (steering, senders) =
        attach(config::Steering::Auto, sources_max, &two.sockets, &two.bound).unwrap();
    let Steering::Refused(line) = steering else { panic!("{steering:?}") };
    assert!(senders.is_none());
    assert!(line.starts_with("bpf(BPF_MAP_CREATE): ") && !line.contains('\n'), "{line}");
    let error = attach(config::Steering::On, sources_max, &two.sockets, &two.bound).unwrap_err();
    assert!(error.to_string().ends_with(&line), "{error}");
    let forbidden = Refused {
        operation: "bpf(BPF_MAP_CREATE)",
        source: io::Error::from_raw_os_error(libc::EPERM),
        verifier: None,
    };
    assert!(explained(&forbidden).contains("CAP_BPF"));
}
