//! The ceiling of the datagram path: what a reactor costs over a bare recvmmsg/sendmmsg loop, for
//! each backend, with a plane that does nothing but answer 500 bytes to 700. First saturated by a
//! closed loop, then at partial load, where what counts is what waiting costs.
//!
//! Saturated by few peers with many requests each in flight, whose replies the reactor sends in
//! runs (segmentation offload) and the bare loop one by one, and by ever more peers with ever
//! fewer, down to one each, where there are no runs to find and looking for them must cost nothing.
//!
//! The runs of all servers are interleaved and the medians printed. `--quick` makes them short.
//! The generator has a core of its own where there is one; where it is the limit, the CPU time per
//! packet is the figure to read.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::io;
use std::mem;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aorta::reactor::{
    Backend, Plane, Reactors, Settings, allowed_cpus, io_uring_allowed, multishot_receive_allowed,
};
use aorta::shard::mesh::{default_slots, mesh};
use aorta::shard::{Datagram, Handled, ShardId};
use aorta::time::{Instant as Mono, Now};

const REQUEST_BYTES: usize = 700;
const REPLY_BYTES: usize = 500;
const BATCH: usize = 32;
/// Source sockets of the generator where they are few, and requests each keeps in flight under
/// saturation.
const FEW: usize = 64;
const WINDOW: usize = 16;
const BUFFER_BYTES: usize = 4 << 20;

#[derive(Clone, Copy, PartialEq)]
enum Server {
    Bare,
    Reactor(Backend),
}

#[derive(Clone, Copy)]
enum Load {
    Saturated { sources: usize, window: usize },
    PerSecond(u64),
}

/// One run.
#[derive(Clone, Copy)]
struct Outcome {
    replies_per_second: f64,
    cpu_ns_per_packet: f64,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let (rounds, length) =
        if quick { (2, Duration::from_millis(300)) } else { (5, Duration::from_millis(1500)) };
    let mut servers = vec![(Server::Bare, "bare recvmmsg/sendmmsg")];
    match io_uring_allowed() {
        Ok(()) => servers.push((Server::Reactor(Backend::Mmsg), "reactor, mmsg")),
        Err(error) => println!("SKIPPED: the reactors: {error}"),
    }
    match multishot_receive_allowed() {
        Ok(()) => servers.push((Server::Reactor(Backend::Uring), "reactor, uring")),
        Err(error) => println!("SKIPPED: the uring backend: {error}"),
    }
    let cpus = allowed_cpus();
    let (server_cpu, generator_cpu) = match cpus[..] {
        [first, second, ..] => (Some(first), Some(second)),
        _ => (None, None),
    };
    if generator_cpu.is_none() {
        println!("one CPU: server and generator share it, so the rates mean little");
    }
    println!(
        "{REQUEST_BYTES} bytes in, {REPLY_BYTES} out, {FEW} sources unless said otherwise, medians \
         of {rounds} runs of {length:?}"
    );
    for (load, title) in [
        (Load::Saturated { sources: FEW, window: WINDOW }, "saturated, 16 a peer"),
        (Load::Saturated { sources: 2 * FEW, window: 4 }, "saturated, 4 a peer"),
        (Load::Saturated { sources: 4 * FEW, window: 2 }, "saturated, 2 a peer"),
        (Load::Saturated { sources: 8 * FEW, window: 1 }, "saturated, 1 a peer"),
        (Load::PerSecond(20_000), "20 k/s"),
        (Load::PerSecond(100_000), "100 k/s"),
    ] {
        let mut outcomes = vec![Vec::new(); servers.len()];
        for _ in 0..rounds {
            for (&(server, _), outcomes) in servers.iter().zip(&mut outcomes) {
                outcomes.push(run(server, server_cpu, |to| {
                    // On a thread of its own: the main one must keep the affinity that the
                    // reactors are checked against.
                    thread::scope(|scope| {
                        let generator = scope.spawn(|| {
                            generator_cpu.into_iter().for_each(pin);
                            generate(to, load, length)
                        });
                        generator.join().expect("the generator ends")
                    })
                }));
            }
        }
        println!("\n{title:26} {:>8} {:>14} {:>14}", "k/s", "CPU ns/packet", "of the bare");
        let mut bare = f64::NAN;
        for (&(server, name), outcomes) in servers.iter().zip(&outcomes) {
            let rate = median(outcomes.iter().map(|outcome| outcome.replies_per_second));
            let cost = median(outcomes.iter().map(|outcome| outcome.cpu_ns_per_packet));
            if server == Server::Bare {
                bare = cost;
            }
            println!("{name:26} {:8.1} {cost:14.0} {:13.1}%", rate / 1e3, 100.0 * bare / cost);
        }
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn run(server: Server, cpu: Option<usize>, generate: impl Fn(SocketAddr) -> f64) -> Outcome {
    match server {
        Server::Bare => {
            let socket = bare_socket();
            let to = socket.local_addr().expect("a bound socket");
            let stop = Arc::new(AtomicBool::new(false));
            let thread = {
                let stop = Arc::clone(&stop);
                thread::spawn(move || {
                    cpu.into_iter().for_each(pin);
                    bare_loop(&socket, &stop)
                })
            };
            let replies_per_second = generate(to);
            stop.store(true, Ordering::Relaxed);
            let tally = thread.join().expect("the bare loop ends");
            Outcome { replies_per_second, cpu_ns_per_packet: tally.cpu_ns_per_packet() }
        }
        Server::Reactor(backend) => {
            let settings = Settings {
                listen: vec!["127.0.0.1:0".parse().expect("an address")],
                cpus: cpu.into_iter().collect(),
                backend,
                socket_buffer_bytes: BUFFER_BYTES,
                ..Settings::default()
            };
            let planes = vec![|_: ShardId| Echo(Tally::default())];
            let running = Reactors::start(settings, mesh(1, default_slots(1)), planes)
                .unwrap_or_else(|error| panic!("{error}"));
            let replies_per_second = generate(running.bound()[0].address);
            running.stop();
            let tally = running.join()[0].value;
            Outcome { replies_per_second, cpu_ns_per_packet: tally.cpu_ns_per_packet() }
        }
    }
}

/// CPU time of the server thread from its first packet on.
#[derive(Clone, Copy, Default)]
struct Tally {
    packets: u64,
    since_ns: u64,
    cpu_ns: u64,
}

impl Tally {
    fn packet(&mut self) {
        if self.packets == 0 {
            self.since_ns = thread_cpu_ns();
        }
        self.packets += 1;
    }

    fn end(mut self) -> Tally {
        self.cpu_ns = thread_cpu_ns() - self.since_ns;
        self
    }

    fn cpu_ns_per_packet(self) -> f64 {
        self.cpu_ns as f64 / self.packets as f64
    }
}

struct Echo(Tally);

impl Plane for Echo {
    type Final = Tally;
    type Control = ();
    type Reply = ();

    fn receive(&mut self, _: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        self.0.packet();
        out[..REPLY_BYTES].copy_from_slice(&datagram.bytes[..REPLY_BYTES]);
        Handled::Reply { to: datagram.source, len: REPLY_BYTES }
    }

    fn receive_handoff(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        self.receive(now, datagram, out)
    }

    fn turn(&mut self, _: Now) -> Option<Mono> {
        None
    }

    fn control(&mut self, _: Now, (): ()) {}

    fn finish(self, _: Now) -> Tally {
        self.0.end()
    }
}

fn bare_socket() -> UdpSocket {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    socket.set_recv_buffer_size(BUFFER_BYTES).expect("SO_RCVBUF");
    socket.set_send_buffer_size(BUFFER_BYTES).expect("SO_SNDBUF");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a port");
    socket.into()
}

fn bare_loop(socket: &UdpSocket, stop: &AtomicBool) -> Tally {
    let mut requests = Messages::new(2048, true);
    let mut replies = Messages::new(REPLY_BYTES, true);
    let mut tally = Tally::default();
    while !stop.load(Ordering::Relaxed) {
        let Some(taken) = requests.receive(socket.as_raw_fd()) else {
            wait_readable(socket.as_raw_fd());
            continue;
        };
        for slot in 0..taken {
            tally.packet();
            replies.answer(slot, &requests);
        }
        replies.send(socket.as_raw_fd(), taken);
    }
    tally.end()
}

/// Keeps the load up for `length` and returns the replies per second.
fn generate(to: SocketAddr, load: Load, length: Duration) -> f64 {
    let count = match load {
        Load::Saturated { sources, .. } => sources,
        Load::PerSecond(_) => FEW,
    };
    let sources: Vec<UdpSocket> = (0..count)
        .map(|_| {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            socket.connect(to).expect("a peer");
            socket
        })
        .collect();
    let mut requests = Messages::new(REQUEST_BYTES, false);
    let mut replies = Messages::new(2048, false);
    let start = Instant::now();
    let mut received = 0u64;
    match load {
        Load::Saturated { window, .. } => {
            let mut heard = start;
            sources.iter().for_each(|source| requests.send(source.as_raw_fd(), window));
            while start.elapsed() < length {
                let before = received;
                for source in &sources {
                    if let Some(taken) = replies.receive(source.as_raw_fd()) {
                        received += taken as u64;
                        requests.send(source.as_raw_fd(), taken);
                    }
                }
                if received > before {
                    heard = Instant::now();
                } else if heard.elapsed() > Duration::from_millis(50) {
                    // Everything in flight was lost: begin again.
                    heard = Instant::now();
                    sources.iter().for_each(|source| requests.send(source.as_raw_fd(), window));
                }
            }
        }
        Load::PerSecond(rate) => {
            let mut sent = 0u64;
            while start.elapsed() < length {
                let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
                // A generator that is behind must not stop listening.
                let due = due.min(sent + BATCH as u64);
                while sent < due {
                    requests.send(sources[sent as usize % FEW].as_raw_fd(), 1);
                    sent += 1;
                }
                let source = &sources[(sent as usize + FEW / 2) % FEW];
                received += replies.receive(source.as_raw_fd()).unwrap_or(0) as u64;
            }
        }
    }
    received as f64 / start.elapsed().as_secs_f64()
}

/// Buffers and headers of a batch.
struct Messages {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_in>,
    payload: Vec<u8>,
    bytes: usize,
}

impl Messages {
    fn new(bytes: usize, with_names: bool) -> Box<Messages> {
        // SAFETY: all-zero is valid for these plain structs of integers and null pointers.
        let (header, vector, name) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let mut messages = Box::new(Messages {
            headers: vec![header; BATCH],
            vectors: vec![vector; BATCH],
            names: vec![name; BATCH],
            payload: vec![b'x'; bytes * BATCH],
            bytes,
        });
        let parts = &mut *messages;
        for (slot, header) in parts.headers.iter_mut().enumerate() {
            let payload: &mut [u8] = &mut parts.payload[slot * bytes..][..bytes];
            parts.vectors[slot] =
                libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: bytes };
            header.msg_hdr.msg_iov = &raw mut parts.vectors[slot];
            header.msg_hdr.msg_iovlen = 1;
            if with_names {
                header.msg_hdr.msg_name = (&raw mut parts.names[slot]).cast();
                header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
            }
        }
        messages
    }

    fn receive(&mut self, socket: RawFd) -> Option<usize> {
        // SAFETY: every header points into vectors of fixed length that `self` owns.
        let taken = unsafe {
            libc::recvmmsg(
                socket,
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        usize::try_from(taken).ok()
    }

    /// Sends the first `count`; a short send is only a lower load.
    fn send(&mut self, socket: RawFd, count: usize) {
        // SAFETY: as above; `count` is at most the batch.
        let sent =
            unsafe { libc::sendmmsg(socket, self.headers.as_mut_ptr(), count as libc::c_uint, 0) };
        assert!(sent >= 0, "sendmmsg: {}", io::Error::last_os_error());
    }

    /// Makes message `slot` the reply to that of `requests`.
    fn answer(&mut self, slot: usize, requests: &Messages) {
        self.names[slot] = requests.names[slot];
        let request = &requests.payload[slot * requests.bytes..][..self.bytes];
        self.payload[slot * self.bytes..][..self.bytes].copy_from_slice(request);
    }
}

fn wait_readable(socket: RawFd) {
    let mut poll = libc::pollfd { fd: socket, events: libc::POLLIN, revents: 0 };
    // SAFETY: one `pollfd` that outlives the call. The timeout is for the stop flag alone.
    unsafe { libc::poll(&raw mut poll, 1, 100) };
}

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn pin(cpu: usize) {
    // SAFETY: all-zero is an empty set; `cpu` comes from this process's own set; the kernel only
    // reads it.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}
