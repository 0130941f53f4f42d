//! Filters at real sockets on loopback: what is blocked never arrives, and what is not does.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use super::super::socket::bind_group;
use super::*;
use crate::guard::filter::program;

fn sockets(local: &str, count: usize) -> (FilteredSockets, Vec<UdpSocket>, SocketAddr) {
    let (listeners, bound) = bind_group(local.parse().unwrap(), count, 1 << 20).unwrap();
    let sockets: Vec<_> = listeners.iter().map(|listener| listener.shared()).collect();
    let readers = sockets.iter().map(|socket| UdpSocket::from(socket.try_clone().unwrap()));
    let readers: Vec<UdpSocket> = readers.collect();
    (FilteredSockets::new(sockets), readers, bound.address)
}

fn send(from: &str, to: SocketAddr, text: &str) {
    let local = SocketAddr::new(from.parse().unwrap(), 0);
    UdpSocket::bind(local).unwrap().send_to(text.as_bytes(), to).unwrap();
}

/// What has arrived at any of them up to a last datagram; loopback delivers before a send returns,
/// so nothing has to be awaited.
fn arrived(readers: &[UdpSocket]) -> Vec<String> {
    let mut texts = Vec::new();
    let mut buffer = [0; 100];
    for reader in readers {
        while let Ok(length) = reader.recv(&mut buffer) {
            texts.push(String::from_utf8_lossy(&buffer[..length]).into_owned());
        }
    }
    texts.sort();
    texts
}

fn nets(texts: &[&str]) -> Vec<Instruction> {
    let nets: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
    program(&nets, INSTRUCTIONS_MAX).unwrap()
}

#[test]
fn a_blocked_source_reaches_no_socket_of_the_group_until_the_filter_is_replaced_or_taken_away() {
    let (filtered, readers, at) = sockets("127.0.0.1:0", 3);
    filtered.replace(&nets(&["127.0.7.0/24", "127.0.9.9/32"])).unwrap();
    let before = filtered.drops();
    for number in 0..20 {
        send("127.0.7.200", at, &format!("blocked {number}"));
        send("127.0.9.9", at, "blocked");
    }
    send("127.0.8.1", at, "one");
    assert_eq!(arrived(&readers), ["one"]);
    assert_eq!(filtered.drops() - before, 40, "the kernel counts each");

    filtered.replace(&nets(&["127.0.8.1/32"])).unwrap();
    send("127.0.8.1", at, "blocked");
    send("127.0.7.200", at, "two");
    assert_eq!(arrived(&readers), ["two"]);

    filtered.replace(&[]).unwrap();
    send("127.0.8.1", at, "three");
    assert_eq!(arrived(&readers), ["three"]);
    filtered.replace(&[]).expect("there is none to be taken away, and that is no error");
}

#[test]
fn ipv6_and_mapped_addresses_of_ipv4_are_told_apart() {
    if UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: no IPv6 here");
        return;
    }
    let (filtered, readers, at) = sockets("[::1]:0", 1);
    filtered.replace(&nets(&["2001:db8::/32", "127.0.0.0/8"])).unwrap();
    send("::1", at, "one");
    assert_eq!(arrived(&readers), ["one"]);
    filtered.replace(&nets(&["::1/128"])).unwrap();
    send("::1", at, "blocked");
    assert_eq!(arrived(&readers), [""; 0]);

    // A socket of both families sees IPv4 as mapped addresses; its filter sees IPv4.
    let both = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).unwrap();
    both.set_only_v6(false).unwrap();
    both.set_nonblocking(true).unwrap();
    both.bind(&"[::]:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    let port = both.local_addr().unwrap().as_socket().unwrap().port();
    let both = Arc::new(both);
    let reader = [UdpSocket::from(both.try_clone().unwrap())];
    FilteredSockets::new([both]).replace(&nets(&["127.0.7.7/32"])).unwrap();
    let at = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), port);
    send("127.0.7.7", at, "blocked");
    send("127.0.7.8", at, "one");
    send("::1", SocketAddr::new("::1".parse().unwrap(), port), "two");
    assert_eq!(arrived(&reader), ["one", "two"]);
}

#[test]
fn a_program_the_kernel_refuses_changes_nothing() {
    let (filtered, readers, at) = sockets("127.0.0.1:0", 2);
    filtered.replace(&nets(&["127.0.7.7/32"])).unwrap();
    let jump_out = Instruction { code: 0x05, jt: 0, jf: 0, k: 9 };
    assert!(filtered.replace(&[jump_out]).is_err());
    let long = vec![Instruction { code: 0x06, jt: 0, jf: 0, k: 1 }; INSTRUCTIONS_MAX + 1];
    assert!(filtered.replace(&long).is_err());
    send("127.0.7.7", at, "blocked");
    assert_eq!(arrived(&readers), [""; 0]);
}

#[test]
fn the_longest_program_this_host_takes_is_found() {
    let longest = filter_instructions_allowed().unwrap();
    assert!((INSTRUCTIONS_MIN..=INSTRUCTIONS_MAX).contains(&longest), "{longest}");
}

#[test]
fn what_filters_drop_is_counted_in_the_namespace_too() {
    let (filtered, _readers, at) = sockets("127.0.0.1:0", 1);
    filtered.replace(&nets(&["127.0.7.7/32"])).unwrap();
    let before = datagrams_filtered().expect("the kernel says");
    (0..10).for_each(|_| send("127.0.7.7", at, "blocked"));
    assert!(datagrams_filtered().unwrap() >= before + 10);
}

#[test]
fn the_kernels_tables_are_read_by_their_names() {
    let v4 = "Ip: A B\nIp: 1 2\nUdp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors \
              SndbufErrors InCsumErrors IgnoredMulti MemErrors\nUdp: 1 2 100 3 60 5 7 8 9\n";
    assert_eq!(filtered_v4(v4), Some(24));
    assert_eq!(filtered_v4("Tcp: A\nTcp: 1\n"), None);
    let v6 = "Ip6InReceives\t4\nUdp6InErrors   \t10\nUdp6RcvbufErrors\t4\nUdpLite6InErrors\t99\n";
    assert_eq!((filtered_v6(v6), filtered_v6("")), (6, 0));
}
