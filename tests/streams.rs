//! Connections to the built server on loopback: TCP, TLS and WebSocket, on one reactor and on two,
//! with clients that are honest, slow, silent or hostile.

// The shell's clock is allowed here: deadlines of processes are real time.
#![allow(clippy::disallowed_methods)]

#[path = "streams/authority.rs"]
mod authority;
#[allow(dead_code, reason = "each test binary uses its own part of this module")]
#[path = "streams/client.rs"]
mod client;
mod common;
#[path = "common/serve.rs"]
mod serve;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};

use authority::Authority;
use client::{Client, frame, options};
use common::Phone;
use serve::{Server, Wire};

const TRANSPORTS: [&str; 4] = ["tcp", "tls", "ws", "wss"];

/// A server on so many reactors that listens by UDP first, then by each of `transports`.
fn start(reactors: usize, transports: &[&str], more: &[&str]) -> Option<Server> {
    let mut arguments = vec!["--reactors".to_owned(), reactors.to_string()];
    for transport in [&["udp"], transports].concat() {
        arguments.extend(["--listen".to_owned(), format!("{transport}:127.0.0.1:0")]);
    }
    arguments.extend(more.iter().map(ToString::to_string));
    Server::start(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One that serves TCP alone beside UDP.
fn start_tcp(reactors: usize, more: &[&str]) -> Option<Server> {
    start(reactors, &["tcp"], more)
}

fn tcp(server: &Server) -> SocketAddr {
    server.targets[1]
}

/// What is registered for a phone, asked over UDP.
fn bindings(server: &Server, number: u32) -> Vec<String> {
    let wire = Wire::to(server.target());
    let mut phone = Phone::new(number, "looking", &wire.local().to_string());
    let challenge = wire.ask(&phone.request(&[]));
    assert!(phone.take_challenge(&challenge));
    let response = wire.ask(&phone.request(&[]));
    assert_eq!(response.status, 200);
    response.contacts().into_iter().map(|(uri, _)| uri).collect()
}

/// Asks until there are so many.
fn await_bindings(server: &Server, number: u32, count: usize) {
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while bindings(server, number).len() != count {
        assert!(std::time::Instant::now() < give_up, "never {count} bindings of u{number}");
    }
}

#[test]
fn phones_register_over_every_transport_on_one_reactor_and_on_two() {
    for reactors in [1, 2] {
        let authority = Authority::new(&format!("register-{reactors}"));
        let settings = authority.settings("off");
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let Some(server) = start(reactors, &TRANSPORTS, &settings) else { return };
        let trust = authority.client(None);
        let mut clients = Vec::new();
        for (nth, transport) in TRANSPORTS.iter().enumerate() {
            // Enough accounts for each reactor to own some.
            for number in 0..8 {
                let number = 1 + nth as u32 * 8 + number;
                let to = server.targets[1 + nth];
                let mut client = Client::connect(transport, to, Some(&trust)).unwrap();
                let mut phone = Phone::new(number, transport, "phone.test");
                let response = client.register(&mut phone, 600);
                assert_eq!(response.status, 200, "{transport} {response:?}");
                assert_eq!(response.contacts()[0].0, phone.contact);
                let via = response.header("via").unwrap();
                assert!(via.contains(&format!("SIP/2.0/{}", transport.to_uppercase())), "{via}");
                assert_eq!(client.register(&mut phone, 300).status, 200);
                clients.push(client);
            }
        }
        drop(clients);
        for number in 1..=32 {
            await_bindings(&server, number, 0);
        }
        let counters = server.stop();
        for transport in TRANSPORTS {
            assert_eq!(counters.of(&format!("opened_{transport}")), 8);
        }
        assert_eq!(counters.of("closed_by_peer"), 32);
        assert_eq!(counters.of("messages_in"), 32 * 3);
        assert_eq!(counters.of("removed"), 32, "a flow takes its bindings with it");
        if reactors == 2 {
            assert!(counters.of("handoffs_out") > 0 && counters.of("delivered") > 0);
        }
    }
}

#[test]
fn a_message_may_come_byte_by_byte_and_fifty_at_once() {
    for reactors in [1, 2] {
        let Some(server) = start_tcp(reactors, &[]) else { return };
        let mut client = Client::tcp(tcp(&server));
        for byte in options(1).replace("UDP", "TCP").bytes() {
            client.raw(&[byte]).unwrap();
        }
        assert_eq!(client.receive().status, 200);
        let fifty: String = (100..150).map(options).collect();
        client.request(&fifty);
        for cseq in 100..150 {
            let response = client.receive();
            assert_eq!(
                (response.status, response.header("cseq").unwrap()),
                (200, &*format!("{cseq} OPTIONS"))
            );
        }
        assert_eq!(server.stop().of("messages_in"), 51);
    }
}

#[test]
fn requests_of_many_accounts_on_one_connection_are_all_answered() {
    let Some(server) = start_tcp(2, &[]) else { return };
    let mut client = Client::tcp(tcp(&server));
    let mut phones: Vec<Phone> = (1..=60).map(|n| Phone::new(n, "gateway", "gw.test")).collect();
    for round in 0..3 {
        let all: String = phones.iter_mut().map(|phone| phone.register(600)).collect();
        client.request(&all);
        for _ in 0..phones.len() {
            // Answers of different shards may overtake each other.
            let response = client.receive();
            assert_eq!(response.status, if round == 0 { 401 } else { 200 }, "{response:?}");
            let call_id = response.header("call-id").unwrap();
            let phone = phones.iter_mut().find(|phone| phone.call_id == call_id).unwrap();
            phone.take_challenge(&response);
        }
    }
    drop(client);
    await_bindings(&server, 60, 0);
    let counters = server.stop();
    assert_eq!(counters.of("removed"), 60);
    assert!(counters.of("delivered") > 0);
}

#[test]
fn a_double_crlf_is_answered_with_one_rfc_5626_4_4_1() {
    let Some(server) = start(1, &["tcp", "ws"], &[]) else { return };
    let mut client = Client::tcp(server.targets[1]);
    client.raw(b"\r\n\r\n").unwrap();
    assert_eq!(client.until(b"\r\n").unwrap(), b"\r\n");
    assert_eq!(client.ask(&options(1)).status, 200);
    let mut web = Client::connect("ws", server.targets[2], None).unwrap();
    web.send(b"\r\n\r\n");
    assert_eq!(web.frame().unwrap(), (1, b"\r\n".to_vec()));
    web.raw(&frame(9, b"beat")).unwrap();
    assert_eq!(web.frame().unwrap(), (10, b"beat".to_vec()));
    web.raw(&frame(8, &1000u16.to_be_bytes())).unwrap();
    assert_eq!(web.frame().unwrap(), (8, 1000u16.to_be_bytes().to_vec()));
    web.closed();
    assert_eq!(server.stop().of("pongs"), 3);
}

#[test]
fn what_cannot_be_framed_is_refused_and_closed() {
    let Some(server) = start_tcp(1, &[]) else { return };
    let mut client = Client::tcp(tcp(&server));
    let response = client.ask(&options(1).replace("Content-Length: 0\r\n", ""));
    assert_eq!((response.status, &*response.reason), (400, "Missing Content-Length"));
    client.closed();

    // Two megabytes, sent by a client that reads only afterwards.
    let mut client = Client::tcp(tcp(&server));
    let large = options(2).replace("Content-Length: 0", "Content-Length: 2000000");
    client.request(&large);
    // The server may close before all of it is taken.
    let _ = client.raw(&vec![b'x'; 2_000_000]);
    assert_eq!(client.try_receive().map(|response| response.status).unwrap_or(513), 513);
    client.closed();

    let mut client = Client::tcp(tcp(&server));
    client.request(&large);
    assert_eq!(client.receive().status, 513);
    client.closed();

    for garbage in [&b"\x16\x03\x01\x02\x00"[..], b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"\0\0\0\0"]
    {
        let mut client = Client::tcp(tcp(&server));
        client.raw(garbage).unwrap();
        assert_eq!(client.closed(), b"");
    }
    let counters = server.stop();
    assert_eq!(counters.answered(513), 2);
    assert_eq!(counters.of("closed_faulty"), 3);
    assert_eq!(counters.of("closed_garbage"), 3);
}

#[test]
fn a_via_of_another_transport_is_refused() {
    let Some(server) = start(1, &["tcp", "ws"], &[]) else { return };
    let mut client = Client::tcp(server.targets[1]);
    client.send(options(1).as_bytes());
    let response = client.receive();
    assert_eq!((response.status, &*response.reason), (400, "Transport Does Not Match Via"));
    assert_eq!(client.ask(&options(2)).status, 200, "the stream goes on");
    // Behind a proxy that ends TLS the phone says WSS.
    let mut web = Client::connect("ws", server.targets[2], None).unwrap();
    web.send(options(3).replace("UDP", "WSS").as_bytes());
    assert_eq!(web.receive().status, 200);
    let wire = Wire::to(server.target());
    assert_eq!(wire.ask(&options(4).replace("UDP", "TCP")).status, 400);
}

#[test]
fn answers_ignore_what_the_via_says_about_ports_rfc_3261_18_2_2() {
    let Some(server) = start_tcp(1, &[]) else { return };
    let mut client = Client::tcp(tcp(&server));
    let odd = options(1).replace("phone.test;", "phone.test:0;").replace(";rport", "");
    assert_eq!(client.ask(&odd).status, 200);
}

#[test]
fn clients_that_do_not_come_to_the_point_are_closed() {
    let limits =
        ["--set", "streams.first_byte_timeout=1", "--set", "streams.authentication_timeout=2"];
    let authority = Authority::new("deadlines");
    let settings = authority.settings("off");
    let mut more: Vec<&str> = settings.iter().map(String::as_str).collect();
    more.extend(limits);
    let Some(server) = start(1, &["tcp", "tls", "ws"], &more) else { return };
    // All at once, so that the time is waited for once.
    let mut silent = Client::tcp(server.targets[1]);
    let mut no_handshake = Client::tcp(server.targets[2]);
    let mut no_upgrade = Client::tcp(server.targets[3]);
    let mut half = Client::tcp(server.targets[1]);
    half.request(&options(1)[..50]);
    let mut healthy = Client::tcp(server.targets[1]);
    assert_eq!(healthy.ask(&options(1)).status, 200);
    let mut phone = Phone::new(1, "stays", "phone.test");
    let mut stays = Client::tcp(server.targets[1]);
    assert_eq!(stays.register(&mut phone, 600).status, 200);
    for client in [&mut silent, &mut no_handshake, &mut no_upgrade, &mut half, &mut healthy] {
        assert_eq!(client.closed(), b"");
    }
    assert_eq!(stays.register(&mut phone, 600).status, 200);
    let counters = server.stop();
    assert_eq!(counters.of("closed_silent"), 3);
    assert_eq!(counters.of("closed_unfinished"), 1);
    assert_eq!(counters.of("closed_unauthenticated"), 1);
    assert_eq!(counters.of("closed_at_stop"), 1);
}

#[test]
fn a_phone_that_breaks_its_word_to_be_heard_from_is_closed_and_one_that_keeps_it_is_not() {
    // Told to be heard from each second, it may be silent for ten seconds more.
    let Some(server) = start_tcp(2, &["--set", "registrar.flow_timer=1"]) else { return };
    let [silent, mut keeps] = [1, 2].map(|number| {
        let mut client = Client::tcp(tcp(&server));
        let mut phone = Phone::new(number, "agrees", "agrees.test");
        let offered = |phone: &mut Phone| phone.register(600).replacen(";rport", ";rport;keep", 1);
        let challenge = client.ask(&offered(&mut phone));
        assert!(phone.take_challenge(&challenge));
        let granted = client.ask(&offered(&mut phone));
        assert_eq!(granted.status, 200);
        assert!(granted.header("via").is_some_and(|via| via.contains(";keep=1")), "{granted:?}");
        client
    });
    silent.socket.set_read_timeout(Some(std::time::Duration::from_secs(2))).unwrap();
    let closed = loop {
        match (&*silent.socket).read(&mut [0; 16]) {
            Ok(count) => break count,
            Err(_) => keeps.raw(b"\r\n\r\n").expect("its connection is open"),
        }
    };
    assert_eq!(closed, 0, "nothing is said to whoever does not listen");
    // What came meanwhile answers its pings.
    keeps.request(&options(9));
    keeps.until(b"SIP/2.0 200 ").expect("its connection is open");
    let counters = server.stop();
    assert_eq!(counters.of("closed_unheard"), 1);
    assert!(counters.of("pongs") >= 4, "{counters:?}");
}

#[test]
fn a_client_that_does_not_read_is_not_read_from_and_holds_nobody_up() {
    let Some(server) = start_tcp(1, &[]) else { return };
    let mut greedy = Client::tcp(tcp(&server));
    greedy.socket.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    // More than the buffers of both ends hold: the server stops taking it.
    let flood = options(1).replace("UDP", "TCP").repeat(500);
    let mut sent = 0;
    let blocked = loop {
        match (&*greedy.socket).write(&flood.as_bytes()[sent % flood.len()..]) {
            Ok(bytes) => sent += bytes,
            Err(_) => break true,
        }
        if sent > 200 << 20 {
            break false;
        }
    };
    assert!(blocked, "200 MB were taken from a client that reads nothing");
    let mut other = Client::tcp(tcp(&server));
    assert_eq!(other.ask(&options(2)).status, 200);
    assert_eq!(bindings(&server, 1).len(), 0);
    // Once it reads, it gets its answers.
    for _ in 0..sent / options(1).len() {
        assert_eq!(greedy.receive().status, 200);
    }
}

#[test]
fn a_kicked_binding_closes_its_connection_and_no_other() {
    for reactors in [1, 2] {
        let Some(server) = start_tcp(reactors, &[]) else { return };
        // Eight accounts: with two reactors, some connections are not on the shard of the account.
        for number in 1..=8 {
            let mut old = Client::tcp(tcp(&server));
            let mut phone = Phone::new(number, "old", "old.test");
            assert_eq!(old.register(&mut phone, 600).status, 200);
            let mut new = Client::tcp(tcp(&server));
            let mut phone = Phone::new(number, "new", "new.test");
            assert_eq!(new.register(&mut phone, 600).status, 200);
            old.closed();
            assert_eq!(new.register(&mut phone, 600).status, 200);
        }
        // Two accounts on one connection: it stays while one of them needs it.
        let mut shared = Client::tcp(tcp(&server));
        let mut one = Phone::new(11, "one", "shared.test");
        let mut two = Phone::new(12, "two", "shared.test");
        assert_eq!(shared.register(&mut one, 600).status, 200);
        assert_eq!(shared.register(&mut two, 600).status, 200);
        let mut new = Client::tcp(tcp(&server));
        let mut phone = Phone::new(11, "new", "new.test");
        assert_eq!(new.register(&mut phone, 600).status, 200);
        assert_eq!(shared.register(&mut two, 600).status, 200);
        // The same device again, over another connection: moved, not kicked.
        let mut elsewhere = Client::tcp(tcp(&server));
        assert_eq!(elsewhere.register(&mut two, 600).status, 200);
        drop(shared);
        assert_eq!(elsewhere.register(&mut two, 600).status, 200);
        assert_eq!(bindings(&server, 12).len(), 1);
        let counters = server.stop();
        assert_eq!(counters.of("closed_kicked"), 8);
    }
}

#[test]
fn certificates_are_read_again_by_sighup_and_a_bad_one_changes_nothing() {
    let authority = Authority::new("reload");
    let settings = authority.settings("off");
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let Some(mut server) = start(2, &["tls"], &settings) else { return };
    let trust = authority.client(None);
    let mut old = Client::connect("tls", server.targets[1], Some(&trust)).unwrap();
    assert_eq!(old.ask(&options(1)).status, 200);

    let shown = |server: &Server| {
        let mut socket = std::net::TcpStream::connect(server.targets[1]).unwrap();
        let name = rustls::pki_types::ServerName::try_from("sip.example.com").unwrap();
        let mut session = rustls::ClientConnection::new(authority.client(None), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket).unwrap();
        }
        session.peer_certificates().unwrap()[0].clone()
    };
    let new = authority.issue_server();
    assert_ne!(shown(&server), new);
    server.process.signal("HUP");
    server.process.wait_for(|line| line.contains("SIGHUP")).expect("a line about it");
    // Every reactor uses it; which one a connection meets is the kernel's choice.
    for _ in 0..8 {
        assert_eq!(shown(&server), new);
    }
    assert_eq!(old.ask(&options(2)).status, 200, "open connections go on");

    authority.spoil_server();
    server.process.signal("HUP");
    server.process.wait_for(|line| line.contains("nothing changed")).expect("a line about it");
    assert_eq!(shown(&server), new);
}

#[test]
fn client_certificates_are_demanded_and_judged() {
    let authority = Authority::new("clients");
    let stranger = Authority::new("strangers");
    let settings = authority.settings("require");
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let Some(server) = start(2, &["tls"], &settings) else { return };
    let mut phone = Phone::new(1, "known", "phone.test");
    let known = authority.client(Some("sip:u1@example.com"));
    let mut client = Client::connect("tls", server.targets[1], Some(&known)).unwrap();
    assert_eq!(client.register(&mut phone, 600).status, 200);

    // It trusts the server, and shows a certificate of somebody else's authority.
    let forged = authority.client_signed_by(&stranger, "sip:u1@example.com");
    for config in [authority.client(None), forged] {
        let mut client = Client::connect("tls", server.targets[1], Some(&config)).unwrap();
        // With TLS 1.3 the refusal comes with the first answer that is waited for.
        let request = options(1).replace("UDP", "TLS");
        let refused = client.raw(request.as_bytes()).is_err() || client.try_receive().is_err();
        assert!(refused);
    }
    assert_eq!(server.stop().of("closed_tls"), 2);
}

#[test]
fn there_are_no_more_connections_than_may_be() {
    let limits =
        ["--set", "streams.connections_max=20", "--set", "streams.connections_per_source_max=15"];
    let Some(server) = start_tcp(1, &limits) else { return };
    let mut clients: Vec<Client> = (0..15).map(|_| Client::tcp(tcp(&server))).collect();
    for client in &mut clients {
        assert_eq!(client.ask(&options(1)).status, 200);
    }
    let mut refused = Client::tcp(tcp(&server));
    assert_eq!(refused.closed(), b"");
    // One goes, one may come.
    let gone = clients.pop().unwrap();
    gone.socket.shutdown(Shutdown::Both).unwrap();
    drop(gone);
    let give_up = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let mut client = Client::tcp(tcp(&server));
        client.request(&options(2));
        if client.try_receive().is_ok() {
            break;
        }
        assert!(std::time::Instant::now() < give_up);
    }
    assert!(server.stop().of("refused_per_source") >= 1);
}

#[test]
fn start_up_names_what_is_wrong_with_the_listeners() {
    let refused = |arguments: &[&str]| {
        let mut all = vec!["serve", "--test-accounts", "1"];
        all.extend(arguments);
        let mut process = serve::Process::start(&all);
        assert!(process.wait_for(|line| line == "ready").is_none(), "{arguments:?} started");
        process.err.join("\n")
    };
    let line = refused(&["--listen", "tls:127.0.0.1:0"]);
    assert!(line.contains("needs tls.certificate"), "{line}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let line = refused(&["--listen", &format!("tcp:{address}")]);
    assert!(line.contains("taken by another socket") && line.contains("ss -tlpn"), "{line}");
    let most = ["--listen", "tcp:127.0.0.1:0", "--set", "streams.connections_max=10000000"];
    let line = refused(&most);
    assert!(line.contains("open files"), "{line}");
}

#[test]
fn tcp_is_served_over_ipv6_and_without_udp() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("SKIPPED: no [::1] here");
        return;
    }
    let Some(server) = Server::start(&["--reactors", "2", "--listen", "tcp:[::1]:0"]) else {
        return;
    };
    let mut client = Client::tcp(server.target());
    let mut phone = Phone::new(1, "six", "[2001:db8::1]:5060");
    let response = client.register(&mut phone, 600);
    assert_eq!(response.status, 200);
    assert!(response.header("via").unwrap().contains("received=::1"), "{response:?}");
}

/// A link-local address of this host, a global one of the same interface, and its number.
fn addresses_of_one_link() -> Option<(std::net::Ipv6Addr, std::net::Ipv6Addr, u32)> {
    let table = std::fs::read_to_string("/proc/net/if_inet6").ok()?;
    let rows: Vec<(std::net::Ipv6Addr, u32)> = table
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace();
            let bits = u128::from_str_radix(words.next()?, 16).ok()?;
            Some((bits.into(), u32::from_str_radix(words.next()?, 16).ok()?))
        })
        .collect();
    let link = rows.iter().find(|(ip, _)| ip.is_unicast_link_local())?;
    let other = |(ip, number): &&(std::net::Ipv6Addr, u32)| {
        *number == link.1 && !ip.is_unicast_link_local()
    };
    Some((link.0, rows.iter().find(other)?.0, link.1))
}

#[test]
fn a_phone_with_a_global_address_reaches_the_link_local_one() {
    let Some((link_local, global, number)) = addresses_of_one_link() else {
        eprintln!("SKIPPED: no interface has a link-local and another IPv6 address");
        return;
    };
    let Some(server) = Server::start(&["--listen", "udp:[::]:0", "--listen", "tcp:[::]:0"]) else {
        return;
    };
    let to = |nth: usize| {
        let port = server.targets[nth].port();
        SocketAddr::V6(std::net::SocketAddrV6::new(link_local, port, 0, number))
    };
    let socket = std::net::UdpSocket::bind((global, 0)).unwrap();
    socket.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    // Connected: an answer from any other address would not be heard.
    socket.connect(to(0)).unwrap();
    socket.send(options(1).as_bytes()).unwrap();
    let mut answer = [0; 2000];
    let length = socket.recv(&mut answer).expect("an answer");
    assert!(answer[..length].starts_with(b"SIP/2.0 200 "));
    assert_eq!(Client::tcp(to(1)).ask(&options(2)).status, 200);
}

#[test]
fn datagrams_longer_than_any_packet_come_and_go_whole() {
    let Some(server) = start_tcp(1, &[]) else { return };
    let wire = Wire::to(server.target());
    for length in [1400, 1501, 9000, 60_000] {
        let filler = format!("X-Filler: {}\r\n", "f".repeat(190));
        let count = length / filler.len();
        let text = options(1)
            .replace("Content-Length", &(filler.repeat(count.min(110)) + "Content-Length"));
        // What the headers cannot fill, a body does.
        let body = "b".repeat(length.saturating_sub(text.len()));
        let text =
            text.replace("Content-Length: 0", &format!("Content-Length: {}", body.len())) + &body;
        assert!(text.len() >= length);
        assert_eq!(wire.ask(&text).status, 200, "{length}");
    }
}

#[test]
fn a_thousand_connections_at_once() {
    many("tcp", 1000, 2, 200);
}

/// What an idle connection costs. By hand, where 16,000 open files are allowed:
/// `AORTA_IDLE_CONNECTIONS=15000 cargo test --release --test streams memory -- --nocapture`.
#[test]
fn memory_of_idle_connections_stays_within_its_bound() {
    let count = std::env::var("AORTA_IDLE_CONNECTIONS").ok().and_then(|count| count.parse().ok());
    for (transport, bytes_max) in [("tcp", 2048), ("ws", 2048), ("tls", 16_384)] {
        // Of a few hundred the pages that are touched anyway weigh too much to say more.
        let slack = if count.is_some() { 1 } else { 4 };
        let bytes = many(transport, count.unwrap_or(300), 1, 2);
        eprintln!("{bytes} bytes of user space for each idle connection over {transport}");
        assert!(bytes <= bytes_max * slack, "{transport}: {bytes}");
    }
}

/// Opens so many connections, speaks on some of them, and returns what each costs the server.
fn many(transport: &str, count: usize, reactors: usize, speaking: usize) -> usize {
    let authority = Authority::new(&format!("many-{transport}-{count}"));
    let trust = authority.client(None);
    let settings = authority.settings("off");
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let max = (count + 100).to_string();
    let (all, source) = (
        format!("streams.connections_max={max}"),
        format!("streams.connections_per_source_max={max}"),
    );
    let slow =
        ["--set", "streams.first_byte_timeout=600", "--set", "streams.authentication_timeout=600"];
    let limits = [&["--set", &all, "--set", &source][..], &slow, &settings].concat();
    let Some(server) = start(reactors, &[transport], &limits) else { return 0 };
    let connect = || Client::connect(transport, server.targets[1], Some(&trust)).unwrap();
    let mut first = connect();
    assert_eq!(first.ask(&options(1)).status, 200);
    let before = resident_bytes(&server);
    let mut clients: Vec<Client> = Vec::with_capacity(count);
    for nth in 0..count {
        let mut client = connect();
        // Each has spoken once: its buffers were taken and given back.
        assert_eq!(client.ask(&options(nth as u32)).status, 200);
        clients.push(client);
    }
    let after = resident_bytes(&server);
    for client in clients.iter_mut().take(speaking) {
        assert_eq!(client.ask(&options(7)).status, 200);
    }
    drop(clients);
    let counters = server.stop();
    assert_eq!(counters.of(&format!("opened_{transport}")), count as u64 + 1);
    after.saturating_sub(before) / count
}

/// Resident memory of the server.
fn resident_bytes(server: &Server) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
