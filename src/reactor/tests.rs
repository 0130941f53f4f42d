//! Reactors with a plane that echoes, on loopback: the same script for both backends and for one
//! reactor and several.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::shard::mesh::{default_slots, mesh};
use crate::shard::{Datagram, Handled, ShardId};
use crate::time::{Instant, Now};

/// Answers `<shard>:<payload>`, or hands over what the rule says another shard owns.
pub(super) struct Echo {
    shard: ShardId,
    owner: fn(ShardId, &[u8]) -> ShardId,
    received: u64,
    /// A deadline that is always so far away.
    deadline_after: Option<Duration>,
}

impl Echo {
    fn answer(&mut self, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        self.received += 1;
        let reply = [&[b'0' + self.shard.0, b':'], datagram.bytes].concat();
        let len = reply.len().min(out.len());
        out[..len].copy_from_slice(&reply[..len]);
        Handled::Reply { to: datagram.source, len }
    }
}

impl Plane for Echo {
    type Final = u64;
    type Control = ();
    type Reply = ();

    fn receive(&mut self, _now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        assert!(!datagram.bytes.is_empty());
        match (self.owner)(self.shard, datagram.bytes) {
            owner if owner == self.shard => self.answer(datagram, out),
            owner => Handled::Handoff(owner),
        }
    }

    fn receive_handoff(&mut self, _now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        self.answer(datagram, out)
    }

    fn turn(&mut self, now: Now) -> Option<Instant> {
        self.deadline_after.map(|wait| now.mono + wait)
    }

    fn control(&mut self, _: Now, (): ()) {}

    fn finish(self, _now: Now) -> u64 {
        self.received
    }
}

pub(super) fn mine(shard: ShardId, _: &[u8]) -> ShardId {
    shard
}

pub(super) fn settings(backend: Backend, listen: &[&str]) -> Settings {
    Settings {
        listen: listen.iter().map(|address| address.parse().unwrap()).collect(),
        backend,
        ..Settings::default()
    }
}

pub(super) fn start_with(
    settings: Settings,
    reactors: usize,
    owner: fn(ShardId, &[u8]) -> ShardId,
    deadline_after: Option<Duration>,
) -> Result<Running<Echo>, StartError> {
    let echo = move |shard| Echo { shard, owner, received: 0, deadline_after };
    Reactors::start(settings, mesh(reactors, default_slots(reactors)), vec![echo; reactors])
}

/// The backends this host permits; the other is skipped aloud.
pub(super) fn backends() -> Vec<Backend> {
    let _lock = executor::rings_lock();
    if let Err(error) = io_uring_allowed() {
        eprintln!("SKIPPED: reactors need io_uring: {error}");
        return Vec::new();
    }
    if let Err(error) = multishot_receive_allowed() {
        eprintln!("SKIPPED for the uring backend: {error}");
        return vec![Backend::Mmsg];
    }
    vec![Backend::Mmsg, Backend::Uring]
}

/// Whether this host has an IPv6 loopback; what needs it is skipped aloud.
fn has_ipv6() -> bool {
    let has = UdpSocket::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("SKIPPED for IPv6: no [::1] here");
    }
    has
}

pub(super) fn client(local: &str) -> UdpSocket {
    let socket = UdpSocket::bind((local.parse::<IpAddr>().unwrap(), 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    socket
}

/// A socket that keeps its port from everybody and hears only one who never speaks: whoever else
/// sends there is told by ICMP that nobody listens.
pub(super) fn deaf(local: &str) -> UdpSocket {
    let socket = client(local);
    socket.connect((local.parse::<IpAddr>().unwrap(), 1)).unwrap();
    socket
}

/// Awaits one datagram. A ring that was closed on this thread may interrupt the call.
pub(super) fn hear(socket: &UdpSocket, buffer: &mut [u8]) -> (usize, SocketAddr) {
    loop {
        match socket.recv_from(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            outcome => return outcome.expect("an answer"),
        }
    }
}

/// Sends and awaits one answer, which must come from where it was sent; returns its first byte.
pub(super) fn ask(socket: &UdpSocket, to: SocketAddr, payload: &[u8]) -> u8 {
    socket.send_to(payload, to).unwrap();
    let mut buffer = vec![0; 65_536];
    let (len, from) = hear(socket, &mut buffer);
    assert_eq!(from, to, "the answer leaves from the address the request came to");
    assert_eq!(&buffer[2..len], payload);
    buffer[0]
}

#[test]
fn every_datagram_is_answered_by_one_and_by_several_reactors() {
    for backend in backends() {
        for reactors in [1, 3] {
            let locals = if has_ipv6() { &["127.0.0.1", "::1"][..] } else { &["127.0.0.1"] };
            let mut settings = settings(backend, &[]);
            settings.listen =
                locals.iter().map(|local| SocketAddr::new(local.parse().unwrap(), 0)).collect();
            let running = start_with(settings, reactors, mine, None).unwrap();
            for (bound, local) in running.bound().iter().zip(locals) {
                for number in 0..40u32 {
                    ask(&client(local), bound.address, &number.to_be_bytes());
                }
            }
            running.stop();
            let finished = running.join();
            assert_eq!(finished.len(), reactors);
            let mut sum = Counters::default();
            finished.iter().for_each(|one| sum += one.counters);
            let asked = 40 * locals.len() as u64;
            assert_eq!(finished.iter().map(|one| one.value).sum::<u64>(), asked);
            assert_eq!((sum.datagrams_in, sum.bytes_in), (asked, 4 * asked));
            assert_eq!((sum.datagrams_out, sum.bytes_out), (asked, 6 * asked));
            assert_eq!(sum.handoffs_out, 0);
        }
    }
}

#[test]
fn a_wildcard_answers_from_the_address_it_was_asked_at() {
    for backend in backends() {
        let ipv6 = has_ipv6();
        let listen = if ipv6 { &["0.0.0.0:0", "[::]:0"][..] } else { &["0.0.0.0:0"] };
        let running = start_with(settings(backend, listen), 1, mine, None).unwrap();
        let port = running.bound()[0].address.port();
        for to in ["127.0.0.1", "127.0.0.2", "127.8.9.10"] {
            ask(&client("127.0.0.1"), SocketAddr::new(to.parse().unwrap(), port), b"here?");
        }
        if ipv6 {
            let port = running.bound()[1].address.port();
            ask(&client("::1"), SocketAddr::new("::1".parse().unwrap(), port), b"and here?");
        }
    }
}

#[test]
fn the_owner_answers_what_another_shard_received_from_the_same_port() {
    // The payload names its owner.
    fn named(_: ShardId, payload: &[u8]) -> ShardId {
        ShardId(payload[0] - b'0')
    }
    for backend in backends() {
        // A wildcard as well: the local address must survive the handoff.
        for listen in ["127.0.0.1:0", "0.0.0.0:0"] {
            let running = start_with(settings(backend, &[listen]), 2, named, None).unwrap();
            let port = running.bound()[0].address.port();
            let to = SocketAddr::new("127.0.0.1".parse().unwrap(), port);
            for number in 0..32u8 {
                let owner = b'0' + number % 2;
                assert_eq!(ask(&client("127.0.0.1"), to, &[owner, number]), owner);
            }
            running.stop();
            let mut sum = Counters::default();
            running.join().iter().for_each(|one| sum += one.counters);
            assert_eq!(sum.datagrams_in, 32);
            // Which socket the kernel chooses is a hash of the ports; that it always guessed the
            // owner is one chance in four thousand million.
            assert!(sum.handoffs_out > 0);
            assert_eq!(sum.handoffs_out, sum.handoffs_in);
            assert_eq!((sum.handoffs_shed, sum.datagrams_out), (0, 32));
        }
    }
}

#[test]
fn empty_datagrams_are_counted_and_the_longest_arrive_whole() {
    for backend in backends() {
        let running = start_with(settings(backend, &["127.0.0.1:0"]), 1, mine, None).unwrap();
        let to = running.bound()[0].address;
        let socket = client("127.0.0.1");
        socket.send_to(b"", to).unwrap();
        socket.send_to(&[b'x'; 65_507], to).unwrap();
        let mut buffer = vec![0; 65_536];
        let (len, _) = hear(&socket, &mut buffer);
        assert_eq!(len, crate::limits::RESPONSE_BYTES_MAX);
        running.stop();
        let counters = running.join()[0].counters;
        assert_eq!((counters.datagrams_in, counters.empty, counters.truncated), (2, 1, 0));
        assert_eq!((counters.bytes_in, counters.datagrams_out), (65_507, 1));
    }
}

#[test]
fn truncated_datagrams_are_dropped_and_counted() {
    use super::datagram::DatagramPath;
    fn script(mut path: impl DatagramPath, to: SocketAddr) {
        let socket = client("127.0.0.1");
        for len in [100, 101, 5000, 7] {
            socket.send_to(&vec![b'x'; len], to).unwrap();
        }
        let mut counters = Counters::default();
        let mut seen = Vec::new();
        let clock = Clock::start();
        for _ in 0..1000 {
            path.receive(0, &clock, &mut counters, &mut |_, datagrams, _| {
                seen.extend(datagrams.iter().map(|datagram| datagram.bytes.len()));
            });
            if counters.datagrams_in == 4 {
                break;
            }
            std::thread::yield_now();
        }
        assert_eq!(seen, [100, 7]);
        assert_eq!((counters.truncated, counters.bytes_in), (2, 107));
    }
    let bind = || socket::bind_group("127.0.0.1:0".parse().unwrap(), 1, 1 << 20).unwrap();
    for backend in backends() {
        let (listeners, bound) = bind();
        match backend {
            Backend::Mmsg => {
                script(mmsg::Mmsg::with_payload(listeners, 100).unwrap(), bound.address);
            }
            Backend::Uring => {
                script(uring::Uring::with_payload(listeners, 100).unwrap(), bound.address);
            }
        }
    }
}

#[test]
fn a_flood_beyond_the_provided_buffers_is_taken_in_full() {
    use super::datagram::DatagramPath;
    fn script(mut path: impl DatagramPath, to: SocketAddr) {
        let socket = client("127.0.0.1");
        let mut counters = Counters::default();
        let clock = Clock::start();
        let mut seen = Vec::new();
        for round in 0..3u32 {
            // Far more than there are buffers, without a receive between: the multishot receive
            // ends for want of buffers and must be armed again.
            for number in 0..400u32 {
                socket.send_to(&(round * 400 + number).to_be_bytes(), to).unwrap();
            }
            // A receive that takes nothing says that there is nothing, on which the drain relies.
            let mut taken = 1;
            while taken > 0 {
                taken = path.receive(0, &clock, &mut counters, &mut |_, datagrams, _| {
                    let number = |datagram: &Datagram<'_>| datagram.bytes.try_into().unwrap();
                    seen.extend(datagrams.iter().map(number).map(u32::from_be_bytes));
                });
            }
        }
        assert!(seen.iter().copied().eq(0..1200), "all of them, in order: {}", seen.len());
        assert_eq!(counters.receive_errors, 0);
    }
    for backend in backends() {
        let address = "127.0.0.1:0".parse().unwrap();
        let (listeners, bound) = socket::bind_group(address, 1, 4 << 20).unwrap();
        match backend {
            Backend::Mmsg => script(mmsg::Mmsg::new(listeners).unwrap(), bound.address),
            Backend::Uring => script(uring::Uring::new(listeners).unwrap(), bound.address),
        }
    }
}

#[test]
fn many_sockets_that_share_the_buffers_are_drained_until_a_receive_takes_nothing() {
    use super::datagram::DatagramPath;
    const SOCKETS: usize = 8;
    const EACH: u64 = 60;
    fn script(mut path: impl DatagramPath, bound: &[SocketAddr]) {
        let socket = client("127.0.0.1");
        for to in bound {
            for _ in 0..EACH {
                socket.send_to(b"x", to).unwrap();
            }
        }
        let (mut counters, clock) = (Counters::default(), Clock::start());
        let all = path.sources();
        let mut receive = |source| path.receive(source, &clock, &mut counters, &mut |_, _, _| ());
        while (0..all).map(&mut receive).sum::<usize>() > 0 {}
        assert_eq!(counters.datagrams_in, EACH * SOCKETS as u64);
    }
    for backend in backends() {
        let (mut listeners, mut bound) = (Vec::new(), Vec::new());
        for _ in 0..SOCKETS {
            let (more, at) =
                socket::bind_group("127.0.0.1:0".parse().unwrap(), 1, 1 << 20).unwrap();
            listeners.extend(more);
            bound.push(at.address);
        }
        match backend {
            Backend::Mmsg => script(mmsg::Mmsg::new(listeners).unwrap(), &bound),
            Backend::Uring => script(uring::Uring::new(listeners).unwrap(), &bound),
        }
    }
}

#[test]
fn a_stranger_on_the_port_calls_the_whole_start_off() {
    for backend in backends() {
        let running = start_with(settings(backend, &["127.0.0.1:0"]), 2, mine, None).unwrap();
        let taken = running.bound()[0].address;
        let second = Settings {
            listen: vec!["127.0.0.1:0".parse().unwrap(), taken],
            ..settings(backend, &[])
        };
        let error = start_with(second, 2, mine, None).err().expect("a refusal");
        assert!(
            matches!(error, StartError::PortTaken { address, .. } if address == taken),
            "{error}"
        );
        ask(&client("127.0.0.1"), taken, b"still there?");
    }
}

#[test]
fn a_stop_leaves_the_port_free_for_the_next_server() {
    for backend in backends() {
        // No other test has sockets at this address, to which the port might go in between.
        let mut taken = settings(backend, &["127.0.0.5:0"]);
        for _ in 0..8 {
            let running = start_with(taken.clone(), 2, mine, None).unwrap();
            taken.listen = vec![running.bound()[0].address];
            ask(&client("127.0.0.1"), taken.listen[0], b"one of several");
            running.stop();
            assert_eq!(running.join().len(), 2);
        }
    }
}

#[test]
fn settings_that_cannot_be_are_refused_before_anything_starts() {
    let refusal = |settings| start_with(settings, 2, mine, None).err().unwrap();
    let error = refusal(settings(Backend::Mmsg, &[]));
    assert!(matches!(error, StartError::Settings(_)), "{error}");
    let many = ["127.0.0.1:0"; crate::limits::LISTENERS_MAX + 1];
    let error = refusal(settings(Backend::Mmsg, &many));
    assert!(matches!(error, StartError::Settings(_)), "{error}");
    let listen = settings(Backend::Mmsg, &["127.0.0.1:0"]);
    let error = refusal(Settings { cpus: vec![allowed_cpus()[0]], ..listen.clone() });
    assert!(matches!(error, StartError::CpusTooFew { cpus: 1, reactors: 2 }), "{error}");
    let error = refusal(Settings { cpus: vec![allowed_cpus()[0], 100_000], ..listen });
    assert!(matches!(error, StartError::CpuNotAllowed { cpu: 100_000, .. }), "{error}");
}

#[test]
fn reactors_can_be_pinned() {
    for backend in backends() {
        let cpu = allowed_cpus()[0];
        let settings = Settings { cpus: vec![cpu, cpu], ..settings(backend, &["127.0.0.1:0"]) };
        let running = start_with(settings, 2, mine, None).unwrap();
        ask(&client("127.0.0.1"), running.bound()[0].address, b"pinned?");
    }
}

#[test]
fn a_stop_answers_what_has_arrived() {
    /// Answers nothing until it is told that everything is sent, so that the stop finds the
    /// sockets full.
    struct Slow {
        echo: Echo,
        sent: Arc<AtomicU64>,
    }
    impl Plane for Slow {
        type Final = u64;
        type Control = ();
        type Reply = ();
        fn receive(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
            while self.sent.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            self.echo.receive(now, datagram, out)
        }
        fn receive_handoff(
            &mut self,
            now: Now,
            datagram: &Datagram<'_>,
            out: &mut [u8],
        ) -> Handled {
            self.echo.receive_handoff(now, datagram, out)
        }
        fn turn(&mut self, now: Now) -> Option<Instant> {
            self.echo.turn(now)
        }
        fn control(&mut self, _: Now, (): ()) {}
        fn finish(self, now: Now) -> u64 {
            self.echo.finish(now)
        }
    }
    fn other(shard: ShardId, _: &[u8]) -> ShardId {
        ShardId(1 - shard.0)
    }
    for backend in backends() {
        let sent = Arc::new(AtomicU64::new(0));
        let slow = |_| {
            let sent = Arc::clone(&sent);
            move |shard| {
                let echo = Echo { shard, owner: other, received: 0, deadline_after: None };
                Slow { echo, sent }
            }
        };
        // Generous: the drain ends when all is done, not when the time is up.
        let settings =
            Settings { drain_max: Duration::from_secs(20), ..settings(backend, &["127.0.0.1:0"]) };
        let planes = [0, 1].map(slow).into();
        let running = Reactors::start(settings, mesh(2, default_slots(2)), planes).unwrap();
        let to = running.bound()[0].address;
        let clients: Vec<_> = (0..20).map(|_| client("127.0.0.1")).collect();
        for client in &clients {
            for number in 0..10u8 {
                client.send_to(&[number], to).unwrap();
            }
        }
        running.stop();
        sent.store(1, Ordering::Release);
        let finished = running.join();
        assert_eq!(finished.iter().map(|one| one.value).sum::<u64>(), 200);
        for client in &clients {
            for _ in 0..10 {
                let mut buffer = [0; 16];
                let (len, from) = hear(client, &mut buffer);
                assert_eq!((len, from), (3, to));
            }
        }
    }
}
