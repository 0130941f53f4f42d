//! What a blocked source's datagram costs: received and dropped by a bare recvmmsg loop, by the
//! whole server (its guard drops it unread), dropped by a filter at the socket, and dropped by
//! nftables, where this may make a network namespace. On loopback the sender's system call
//! carries the datagram up to the socket, so both sides count: the time of the sender's calls, and
//! the CPU time of the receiver.
//!
//! All in one run, interleaved, medians; the ratios are what to read. `--quick` makes it short.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock")]

use std::mem;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aorta::config;
use aorta::guard::filter::{INSTRUCTIONS_MAX, program};
use aorta::guard::{Asked, Entry, Guard};
use aorta::reactor::{FilteredSockets, Plane, Reactors, Settings, allowed_cpus, io_uring_allowed};
use aorta::shard::mesh::{default_slots, mesh};
use aorta::shard::{Datagram, Handled, ShardId};
use aorta::time::{Instant as Mono, Now};

const BATCH: usize = 32;
const BUFFER_BYTES: usize = 4 << 20;
const BYTES: usize = 500;
/// Datagrams under way at most: the receiver's buffer takes them all.
const WINDOW: u64 = 1024;
const BLOCKED: Ipv4Addr = Ipv4Addr::new(127, 0, 9, 1);
/// Blocked sources beside the one that sends.
const OTHERS: u32 = 1000;
/// Set in the run that is within a network namespace of its own.
const INSIDE: &str = "AORTA_BENCH_INSIDE";

/// Nanoseconds for one datagram.
#[derive(Clone, Copy)]
struct Cost {
    sender: f64,
    receiver: f64,
}

impl Cost {
    fn both(self) -> f64 {
        self.sender + self.receiver
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Way {
    Bare,
    Server,
    Filter,
    Nftables,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    if std::env::var_os(INSIDE).is_none() && within_a_namespace() {
        return;
    }
    let mut ways = vec![(Way::Bare, "bare recvmmsg, dropped")];
    match io_uring_allowed() {
        Ok(()) => ways.push((Way::Server, "reactor, dropped by the guard")),
        Err(error) => println!("SKIPPED: the reactor: {error}"),
    }
    ways.push((Way::Filter, "socket filter"));
    match std::env::var_os(INSIDE) {
        Some(_) => ways.push((Way::Nftables, "nftables")),
        None => println!("SKIPPED: nftables: no network namespace with nft here"),
    }
    let (rounds, length) =
        if quick { (3, Duration::from_millis(200)) } else { (7, Duration::from_millis(700)) };
    let mut costs = vec![Vec::new(); ways.len()];
    for _ in 0..rounds {
        for (&(way, _), costs) in ways.iter().zip(&mut costs) {
            costs.push(run(way, length));
        }
    }
    println!("\n{BYTES} bytes, {OTHERS} other sources blocked, medians of {rounds} runs");
    println!(
        "{:32} {:>8} {:>9} {:>7} {:>8}",
        "ns a datagram", "sender", "receiver", "both", "of bare"
    );
    let mut bare = f64::NAN;
    for (&(way, name), costs) in ways.iter().zip(&costs) {
        let of = |part: fn(&Cost) -> f64| median(costs.iter().map(part));
        let (sender, receiver, both) = (of(|c| c.sender), of(|c| c.receiver), of(|c| c.both()));
        if way == Way::Bare {
            bare = both;
        }
        let ratio = 100.0 * both / bare;
        println!("{name:32} {sender:8.0} {receiver:9.0} {both:7.0} {ratio:7.1}%");
    }
}

/// Runs this program once more in a network namespace with loopback up and nft at hand.
fn within_a_namespace() -> bool {
    let Ok(program) = std::env::current_exe() else { return false };
    let ready = "ip link set lo up && nft list ruleset";
    for way in ["-n", "-Urn"] {
        let mut command = Command::new("unshare");
        command.args([way, "sh", "-c", ready]).stdout(Stdio::null()).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            let run = "ip link set lo up; exec \"$0\" \"$@\"";
            let status = Command::new("unshare")
                .args([way, "sh", "-c", run])
                .arg(program)
                .args(std::env::args().skip(1))
                .env(INSIDE, "1")
                .status();
            return status.is_ok_and(|status| status.success());
        }
    }
    false
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn others() -> impl Iterator<Item = IpAddr> {
    (0..OTHERS).map(|number| Ipv4Addr::from_bits(0x0b00_0000 + number * 77).into())
}

fn nft(text: &str) {
    let status = Command::new("nft").arg(text).status();
    assert!(status.is_ok_and(|status| status.success()), "nft {text}");
}

fn run(way: Way, length: Duration) -> Cost {
    let taken = Arc::new(AtomicU64::new(0));
    let receiver_cpu = allowed_cpus().first().copied();
    let settings = Settings {
        listen: vec!["127.0.0.1:0".parse().expect("an address")],
        cpus: receiver_cpu.into_iter().collect(),
        ..Settings::default()
    };
    match way {
        Way::Bare => {
            let socket = bare_socket();
            let to = socket.local_addr().expect("bound");
            let stop = Arc::new(AtomicBool::new(false));
            let thread = {
                let (taken, stop) = (Arc::clone(&taken), Arc::clone(&stop));
                thread::spawn(move || {
                    receiver_cpu.into_iter().for_each(pin);
                    bare_loop(&socket, &taken, &stop)
                })
            };
            let (sender, sent) = send(to, length, Some(&taken));
            stop.store(true, Ordering::Relaxed);
            // One more wakes it from its last wait.
            let _ = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.send_to(b"", to));
            let cpu_ns = thread.join().expect("the loop ends");
            Cost { sender, receiver: cpu_ns as f64 / sent as f64 }
        }
        _ => {
            let counted = Arc::clone(&taken);
            let plane = move |_: ShardId| {
                let mut guard = Guard::new(&[7; 16], (0, 1), &on_loopback(), &[]);
                guard.begin(Now::default());
                others().chain([BLOCKED.into()]).for_each(|source| {
                    guard.block(source, None);
                });
                Guarded { guard, counted, since_ns: 0 }
            };
            let running = Reactors::start(settings, mesh(1, default_slots(1)), vec![plane])
                .unwrap_or_else(|error| panic!("{error}"));
            let sockets: FilteredSockets = running.filtered_sockets();
            let to = running.bound()[0].address;
            let port = to.port();
            match way {
                Way::Filter => {
                    let nets: Vec<_> =
                        others().chain([BLOCKED.into()]).map(ipnet::IpNet::from).collect();
                    let program = program(&nets, INSTRUCTIONS_MAX).expect("it fits");
                    sockets.replace(&program).expect("the kernel takes it");
                }
                Way::Nftables => {
                    let sources: Vec<String> =
                        others().chain([BLOCKED.into()]).map(|source| source.to_string()).collect();
                    nft(&format!(
                        "table inet bench {{ set blocked {{ type ipv4_addr; flags timeout; \
                         elements = {{ {} }}; }}; chain pre {{ type filter hook prerouting \
                         priority raw; udp dport {port} ip saddr @blocked counter drop; }}; }}",
                        sources.join(", ")
                    ));
                }
                _ => {}
            }
            let window = (way == Way::Server).then_some(&*taken);
            let (sender, sent) = send(to, length, window);
            running.stop();
            let cpu_ns = running.join()[0].value;
            if way == Way::Nftables {
                nft("delete table inet bench");
            }
            assert!(window.is_some() || taken.load(Ordering::Relaxed) == 0, "it was dropped");
            Cost { sender, receiver: cpu_ns as f64 / sent as f64 }
        }
    }
}

fn on_loopback() -> config::Guard {
    config::Guard { loopback: true, ..config::Guard::default() }
}

/// The guard and nothing behind it.
struct Guarded {
    guard: Guard,
    counted: Arc<AtomicU64>,
    since_ns: u64,
}

impl Plane for Guarded {
    type Final = u64;
    type Control = ();
    type Reply = ();

    fn receive(&mut self, now: Now, datagram: &Datagram<'_>, _: &mut [u8]) -> Handled {
        if self.since_ns == 0 {
            self.since_ns = thread_cpu_ns();
        }
        self.guard.begin(now);
        let entry = self.guard.admit(datagram.source.ip(), Asked::of(datagram.bytes));
        assert!(matches!(entry, Entry::Silent(_)));
        self.counted.fetch_add(1, Ordering::Relaxed);
        Handled::Nothing
    }

    fn receive_handoff(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        self.receive(now, datagram, out)
    }

    fn turn(&mut self, _: Now) -> Option<Mono> {
        None
    }

    fn control(&mut self, _: Now, (): ()) {}

    fn finish(self, _: Now) -> u64 {
        if self.since_ns == 0 { 0 } else { thread_cpu_ns() - self.since_ns }
    }
}

fn bare_socket() -> UdpSocket {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::DGRAM, None).expect("a socket");
    socket.set_recv_buffer_size(BUFFER_BYTES).expect("SO_RCVBUF");
    let any: SocketAddr = "127.0.0.1:0".parse().expect("an address");
    socket.bind(&any.into()).expect("a port");
    socket.into()
}

/// Receives and forgets; the CPU time from the first datagram on.
fn bare_loop(socket: &UdpSocket, taken: &AtomicU64, stop: &AtomicBool) -> u64 {
    let mut buffers = vec![[0u8; 2048]; BATCH];
    let mut names = vec![[0u8; 28]; BATCH];
    let mut vectors: Vec<libc::iovec> = buffers
        .iter_mut()
        .map(|buffer| libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() })
        .collect();
    let mut messages: Vec<libc::mmsghdr> = vectors
        .iter_mut()
        .zip(&mut names)
        .map(|(vector, name)| {
            // SAFETY: all-zero is a valid `mmsghdr` (null pointers, zero lengths).
            let mut message: libc::mmsghdr = unsafe { mem::zeroed() };
            message.msg_hdr.msg_name = name.as_mut_ptr().cast();
            message.msg_hdr.msg_namelen = name.len() as u32;
            message.msg_hdr.msg_iov = vector;
            message.msg_hdr.msg_iovlen = 1;
            message
        })
        .collect();
    let mut since_ns = 0;
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: every header points at a buffer and a name that outlive the call.
        let received = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                messages.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_WAITFORONE,
                std::ptr::null_mut(),
            )
        };
        if since_ns == 0 {
            since_ns = thread_cpu_ns();
        }
        taken.fetch_add(received.max(0) as u64, Ordering::Relaxed);
    }
    thread_cpu_ns() - since_ns
}

/// Sends from the blocked source; the nanoseconds its system calls take for each datagram, and how
/// many there were. With a window it waits for the receiver between calls.
fn send(to: SocketAddr, length: Duration, window: Option<&AtomicU64>) -> (f64, u64) {
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            allowed_cpus().get(1).copied().into_iter().for_each(pin);
            let socket = UdpSocket::bind((BLOCKED, 0)).expect("a port");
            socket.connect(to).expect("a route");
            let mut text = b"REGISTER sip:example.com SIP/2.0\r\n".to_vec();
            text.resize(BYTES, b'x');
            let mut vector =
                libc::iovec { iov_base: text.as_mut_ptr().cast(), iov_len: text.len() };
            // SAFETY: all-zero is a valid `mmsghdr` (null pointers, zero lengths).
            let mut messages: [libc::mmsghdr; BATCH] = unsafe { mem::zeroed() };
            for message in &mut messages {
                message.msg_hdr.msg_iov = &raw mut vector;
                message.msg_hdr.msg_iovlen = 1;
            }
            let begun = Instant::now();
            let (mut in_calls, mut sent) = (Duration::ZERO, 0u64);
            while begun.elapsed() < length {
                if let Some(taken) = window
                    && sent >= taken.load(Ordering::Relaxed) + WINDOW
                {
                    std::hint::spin_loop();
                    continue;
                }
                let call = Instant::now();
                // SAFETY: the headers point at one vector that outlives the call, which reads it.
                let taken = unsafe {
                    libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), BATCH as u32, 0)
                };
                in_calls += call.elapsed();
                sent += taken.max(0) as u64;
            }
            (in_calls.as_nanos() as f64 / sent as f64, sent)
        });
        sender.join().expect("the sender ends")
    })
}

fn pin(cpu: usize) {
    // SAFETY: all-zero is a valid, empty set, and `cpu` is one of those allowed.
    unsafe {
        let mut set: libc::cpu_set_t = mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of_val(&set), &raw const set);
    }
}

fn thread_cpu_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one `timespec`.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
