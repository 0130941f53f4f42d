//! A million phones behind NAT, each at an address of its own, kept open by one reactor over a real
//! socket: how even the flow is, how late, whether anybody is missed, and what it costs beside a
//! bare sendmmsg loop that sends as many such datagrams to the same addresses in the same run.
//! Then the same while REGISTERs come as fast as they are answered.
//!
//! `--quick` takes a tenth of the phones and a third of the period, which is nearly the same flow
//! for each phone. Beside other work on the machine the figures say little.
#![allow(clippy::disallowed_methods, reason = "a bench reads the clock and waits")]

#[path = "registrar/phones.rs"]
#[allow(dead_code, reason = "the registrar's bench asks for more")]
mod phones;

use std::mem;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aorta::auth::Ha1s;
use aorta::auth::nonce::NonceKey;
use aorta::config::{self, Algorithms, Domain, KeepaliveMessage, KeepalivePace, Nat};
use aorta::limits::RESPONSE_BYTES_MAX;
use aorta::reactor::{Clock, Plane, Reactors, Settings, allowed_cpus, io_uring_allowed};
use aorta::shard::control::{Configuration, Control};
use aorta::shard::mesh::{default_slots, mesh};
use aorta::shard::owner::Ownership;
use aorta::shard::pinholes::Pinholes;
use aorta::shard::stages::Watch;
use aorta::shard::{Datagram, Handled, Keys, ListenerId, Order, Outlet, Setup, Shard, ShardId};
use aorta::time::{Instant as Mono, Now};
use phones::{Ask, DOMAIN, Phones};

#[global_allocator]
static ALLOCATOR: aorta::reactor::HugePages = aorta::reactor::HugePages;

const BATCH: usize = 32;
const BUCKET: Duration = Duration::from_millis(10);
/// What is asked for.
const PEAK_MAX: f64 = 1.2;
const LATE_US_MAX: u64 = 100_000;
const LATE_LOADED_US_MAX: u64 = 250_000;
const CPU_PERCENT_MAX: f64 = 3.0;

#[derive(Clone, Copy)]
struct Scale {
    phones: usize,
    period_s: u32,
}

fn main() {
    if let Err(error) = io_uring_allowed() {
        println!("SKIPPED: the reactors: {error}");
        return;
    }
    let quick = std::env::args().any(|argument| argument == "--quick");
    let scale = match quick {
        true => Scale { phones: 100_000, period_s: 10 },
        false => Scale { phones: 1_000_000, period_s: 30 },
    };
    let cpus = allowed_cpus();
    let (server_cpu, other_cpu) = (cpus[0], cpus.get(1).copied().unwrap_or(cpus[0]));
    println!("{} phones, period {} s", scale.phones, scale.period_s);

    in_process(scale, server_cpu);
    let ear = Ear::open(other_cpu);
    let bench = start(scale, server_cpu, ear.port);
    let period = Duration::from_secs(scale.period_s.into());
    let calm = measure(&bench, &ear, period);
    let rate = calm.sent as f64 / period.as_secs_f64();
    let pinned = server_cpu;
    let (tight, paced) =
        (bare(scale, ear.port, pinned, None), bare(scale, ear.port, pinned, Some(rate)));
    println!("\n{:<44} {:>12}", "keepalives a second", rate as u64);
    let cost = calm.cpu_ns as f64 / calm.sent as f64;
    println!("{:<44} {cost:>9.0} ns", "CPU of the reactor for each");
    println!("{:<44} {paced:>9.0} ns", "of a bare sendmmsg loop at that rate");
    println!("{:<44} {tight:>9.0} ns", "of a bare sendmmsg loop without a pause");
    let own = |bare: f64| (cost - bare) * rate / 1e7;
    verdict("beyond the loop at that rate, % of a core", own(paced), CPU_PERCENT_MAX);
    verdict("beyond the loop without a pause, % of a core", own(tight), CPU_PERCENT_MAX);
    verdict("max/mean over 10 ms, as received", calm.peak, PEAK_MAX);
    verdict("latest, us", calm.late_max_us as f64, LATE_US_MAX as f64);
    println!("{:<44} {:>12}", "late p50, us", calm.late_p50_us);
    println!("{:<44} {:>12}", "late p99, us", calm.late_p99_us);
    verdict("missed", calm.missed as f64, 0.0);

    let stop = Arc::new(AtomicBool::new(false));
    let flood = flood_of(&bench, other_cpu, &stop);
    let loaded = measure(&bench, &ear, period);
    stop.store(true, Ordering::Relaxed);
    let answers = flood.join().expect("the flood ends");
    println!("\nbeside {answers:.0} answers a second");
    verdict("late p99, us", loaded.late_p99_us as f64, LATE_LOADED_US_MAX as f64);
    println!("{:<44} {:>12}", "latest, us", loaded.late_max_us);
    verdict("missed", loaded.missed as f64, 0.0);

    // Who has a turn loses it when it comes: in a period from now, nobody has any.
    read(&bench, Some(Arc::new(configuration(scale, KeepaliveMessage::Off))));
    thread::sleep(period + Duration::from_secs(1));
    let stop = Arc::new(AtomicBool::new(false));
    let flood = flood_of(&bench, other_cpu, &stop);
    let silent = measure(&bench, &ear, period / 2);
    stop.store(true, Ordering::Relaxed);
    let undisturbed = flood.join().expect("the flood ends");
    assert_eq!(silent.sent, 0, "keepalives are off");
    println!("\n{:<44} {undisturbed:>12.0}", "answers a second without keepalives");
    let sent = loaded.sent as f64 / period.as_secs_f64();
    verdict("answers fewer for each keepalive", (undisturbed - answers) / sent, 1.0);
    bench.running.stop();
    drop(bench.running.join());
}

/// What a keepalive costs us without the kernel: the turns of one period at a virtual clock, a
/// millisecond at a time, with nothing between that would keep the caches warm.
fn in_process(scale: Scale, cpu: usize) {
    let run = move || {
        pin(cpu);
        let mut shard = shard(ShardId(0), scale);
        let mut now = Now { mono: Mono::from_secs(1000), ..Now::default() };
        register_all(&mut shard, scale, 5060, now);
        let mut out = vec![0; RESPONSE_BYTES_MAX];
        let mut period = |now: &mut Now| {
            for _ in 0..scale.period_s * 1000 {
                *now = now.after(Duration::from_millis(1));
                let _ = shard.turn(*now);
                while let Some(order) = shard.poll_order(&mut out) {
                    std::hint::black_box((order, &out));
                }
            }
            shard.counters().keepalives.total().sent
        };
        let before = period(&mut now);
        let from_ns = thread_cpu_ns();
        let sent = period(&mut now) - before;
        let cpu_ns = thread_cpu_ns() - from_ns;
        println!("{:<44} {:>9.0} ns", "in process, each keepalive", cpu_ns as f64 / sent as f64);
        let busy = cpu_ns as f64 / (f64::from(scale.period_s) * 1e7);
        verdict("in process, % of a core", busy, CPU_PERCENT_MAX);
    };
    thread::spawn(run).join().expect("the shard does its turns");
}

fn verdict(name: &str, value: f64, limit: f64) {
    let held = if value <= limit { "held" } else { "EXCEEDED" };
    println!("{name:<44} {value:>12.2}    limit {limit}, {held}");
}

/// Where phone `index` is, as the server sees it.
fn source(index: usize, port: u16) -> SocketAddr {
    let address = u32::from(Ipv4Addr::new(127, 1, 0, 0)) + index as u32;
    (Ipv4Addr::from_bits(address), port).into()
}

/// Everybody's ear: one socket that takes what is sent to any of them.
struct Ear {
    port: u16,
    origin: SystemTime,
    buckets: Arc<Vec<AtomicU64>>,
}

impl Ear {
    const BUCKETS: usize = 100_000;

    fn open(cpu: usize) -> Ear {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
        let port = socket.local_addr().expect("an address").port();
        let view = socket2::SockRef::from(&socket);
        view.set_recv_buffer_size(8 << 20).expect("SO_RCVBUF");
        // The ear may be late, the clock of the kernel not.
        set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1);
        let buckets: Vec<AtomicU64> = (0..Ear::BUCKETS).map(|_| AtomicU64::new(0)).collect();
        let ear = Ear { port, origin: SystemTime::now(), buckets: Arc::new(buckets) };
        let (buckets, origin) = (Arc::clone(&ear.buckets), ear.origin);
        thread::spawn(move || {
            pin(cpu);
            loop {
                // Whoever waits in the kernel is woken by each datagram, at the sender's cost: no
                // phone is on this machine otherwise.
                let Some(arrival) = next_arrival(&socket) else {
                    thread::sleep(Duration::from_millis(1));
                    continue;
                };
                let at = UNIX_EPOCH + arrival;
                let since = at.duration_since(origin).unwrap_or_default();
                let bucket = since.as_millis() / BUCKET.as_millis();
                if let Some(count) = buckets.get(bucket as usize) {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        ear
    }

    fn bucket(&self) -> usize {
        let since = self.origin.elapsed().unwrap_or_default();
        (since.as_millis() / BUCKET.as_millis()) as usize
    }

    /// The fullest bucket by the mean.
    fn peak(&self, from: usize, to: usize) -> f64 {
        let counts = self.buckets[from..to].iter().map(|count| count.load(Ordering::Relaxed));
        let (sum, most) = counts.fold((0, 0), |(sum, most), one| (sum + one, one.max(most)));
        most as f64 * (to - from) as f64 / sum as f64
    }
}

fn set_option(socket: &UdpSocket, level: libc::c_int, option: libc::c_int, value: libc::c_int) {
    // SAFETY: the kernel reads one `c_int` that outlives the call.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    assert_eq!(outcome, 0, "option {option}");
}

/// Takes a datagram, if there is one, and says when it came, since the epoch.
fn next_arrival(socket: &UdpSocket) -> Option<Duration> {
    let mut payload = [0u8; 64];
    let mut control = [0u64; 16];
    let mut vector = libc::iovec { iov_base: payload.as_mut_ptr().cast(), iov_len: payload.len() };
    // SAFETY: all-zero is a valid `msghdr`; it is pointed at buffers that outlive the call, with
    // their lengths. What the kernel leaves in `control` is read by the macros made for that, and
    // a time stamp is a `timespec`.
    unsafe {
        let mut header: libc::msghdr = mem::zeroed();
        header.msg_iov = &raw mut vector;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control) as _;
        if libc::recvmsg(socket.as_raw_fd(), &raw mut header, libc::MSG_DONTWAIT) < 0 {
            let error = std::io::Error::last_os_error();
            assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "recvmsg: {error}");
            return None;
        }
        let message = libc::CMSG_FIRSTHDR(&raw const header);
        assert!(!message.is_null(), "a time stamp");
        assert_eq!((*message).cmsg_type, libc::SCM_TIMESTAMPNS);
        let time: libc::timespec =
            libc::CMSG_DATA(message).cast::<libc::timespec>().read_unaligned();
        Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
    }
}

struct Bench {
    running: aorta::reactor::Running<Measured>,
    to: SocketAddr,
}

/// A shard that says how much of the CPU its thread has had.
struct Measured(Shard);

#[derive(Clone)]
struct Reading {
    cpu_ns: u64,
    pinholes: Pinholes,
}

impl Plane for Measured {
    type Final = ();
    type Control = Option<Arc<Configuration>>;
    type Reply = Reading;

    fn receive(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        self.0.receive(now, datagram, out)
    }

    fn receive_handoff(&mut self, now: Now, datagram: &Datagram<'_>, out: &mut [u8]) -> Handled {
        self.0.receive_handoff(now, datagram, out)
    }

    fn receive_batch(
        &mut self,
        now: Now,
        datagrams: &[Datagram<'_>],
        watch: Watch<'_>,
        outlet: &mut impl Outlet,
    ) {
        self.0.receive_batch_timed(now, datagrams, watch, outlet);
    }

    fn turn(&mut self, now: Now) -> Option<Mono> {
        self.0.turn(now)
    }

    fn poll_order(&mut self, out: &mut [u8]) -> Option<Order> {
        self.0.poll_order(out)
    }

    fn control(&mut self, now: Now, configuration: Option<Arc<Configuration>>) -> Reading {
        if let Some(configuration) = configuration {
            self.0.control(now, Control::Configure(configuration));
        }
        Reading { cpu_ns: thread_cpu_ns(), pinholes: self.0.counters().keepalives.total() }
    }

    fn finish(self, _: Now) {}
}

/// What happened within a period.
struct Figures {
    sent: u64,
    missed: u64,
    cpu_ns: u64,
    peak: f64,
    late_p50_us: u64,
    late_p99_us: u64,
    late_max_us: u64,
}

/// Reads the figures, and sets another configuration.
fn read(bench: &Bench, configuration: Option<Arc<Configuration>>) -> Reading {
    let controller = &bench.running.controllers()[0];
    let pending = controller.give(configuration).expect("the reactor runs");
    pending.wait(Duration::from_secs(10)).expect("the reactor answers")
}

fn measure(bench: &Bench, ear: &Ear, time: Duration) -> Figures {
    let (before, from) = (read(bench, None), ear.bucket() + 1);
    thread::sleep(time);
    let (after, to) = (read(bench, None), ear.bucket());
    let mut late = after.pinholes.late_us().clone();
    late.subtract(before.pinholes.late_us()).expect("counters only grow");
    Figures {
        sent: after.pinholes.sent - before.pinholes.sent,
        missed: after.pinholes.missed - before.pinholes.missed,
        cpu_ns: after.cpu_ns - before.cpu_ns,
        peak: ear.peak(from, to),
        late_p50_us: late.value_at_quantile(0.5),
        late_p99_us: late.value_at_quantile(0.99),
        late_max_us: late.value_at_quantile(1.0),
    }
}

/// A reactor whose shard has registered everybody, each from an address of its own.
fn start(scale: Scale, cpu: usize, port: u16) -> Bench {
    let clock = Clock::start();
    let settings = Settings {
        listen: vec!["0.0.0.0:0".parse().expect("an address")],
        cpus: vec![cpu],
        clock,
        ..Settings::default()
    };
    let plane = move |id: ShardId| {
        // Everybody registers at one moment that is still to come, however long it takes.
        let mut shard = shard(id, scale);
        let begun = Instant::now();
        let ahead = Duration::from_secs(2 + 30 * scale.phones as u64 / 1_000_000);
        let now = clock.now().after(ahead);
        register_all(&mut shard, scale, port, now);
        println!("registered in {:.1} s", begun.elapsed().as_secs_f64());
        while clock.now().mono < now.mono {
            thread::sleep(Duration::from_millis(1));
        }
        Measured(shard)
    };
    let running = Reactors::start(settings, mesh(1, default_slots(1)), vec![plane])
        .unwrap_or_else(|error| panic!("{error}"));
    let to = (Ipv4Addr::LOCALHOST, running.bound()[0].address.port()).into();
    // The first cycle: caches, pages, and those who were near to their turn.
    thread::sleep(Duration::from_secs(3));
    Bench { running, to }
}

fn configuration(scale: Scale, message: KeepaliveMessage) -> Configuration {
    let pace = KeepalivePace { period_s: scale.period_s, ..KeepalivePace::default() };
    Configuration {
        registrar: config::Registrar::default(),
        auth: config::Auth::default(),
        guard: config::Guard::off(),
        nat: Nat { pace, message, ..Nat::default() },
        liveness: config::Liveness { interval_s: None, ..config::Liveness::default() },
        networks: Vec::new(),
        domains: vec![Domain {
            name: DOMAIN.into(),
            algorithms: Algorithms::MD5,
            aliases: Vec::new(),
        }],
    }
}

fn shard(id: ShardId, scale: Scale) -> Shard {
    let configuration = configuration(scale, Nat::default().message);
    let Configuration { registrar, auth, guard, nat, liveness, networks, domains } = configuration;
    let mut shard = Shard::new(Setup {
        id,
        ownership: Ownership::new([5; 16], 1),
        keys: Keys { nonce: NonceKey::new(&[1; 16]).into(), identity: [2; 16], spread: [3, 4] },
        registrar,
        auth,
        guard,
        nat,
        liveness,
        networks,
        domains,
    });
    shard.reserve(scale.phones);
    for number in 1..=scale.phones {
        let aor = format!("u{number}@{DOMAIN}");
        let ha1s = Ha1s::from_password(&aor, &format!("p{number}"), false);
        shard.insert_account(aor.as_bytes(), &ha1s).expect("distinct names");
    }
    shard
}

fn register_all(shard: &mut Shard, scale: Scale, port: u16, now: Now) {
    let mut phones = Phones::new(scale.phones);
    let (mut request, mut out) = (Vec::new(), vec![0; RESPONSE_BYTES_MAX]);
    for phone in 0..scale.phones {
        for ask in [Ask::Unchallenged, Ask::Refresh] {
            phones.write(phone, ask, &mut request);
            let datagram = Datagram {
                source: source(phone, port),
                listener: ListenerId(0),
                local_ip: None,
                received_at: now.mono,
                bytes: &request,
                link: None,
            };
            match shard.receive(now, &datagram, &mut out) {
                Handled::Reply { len, .. } if ask == Ask::Unchallenged => {
                    phones.challenge(phone, &out[..len]);
                }
                Handled::Reply { .. } => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(shard.counters().registered, scale.phones as u64);
}

/// CPU time of each datagram of a bare sendmmsg loop, at a rate or without a pause. Its datagrams
/// may be fragmented on their way, as those of a registrar: that costs each an identification.
fn bare(scale: Scale, port: u16, cpu: usize, rate: Option<f64>) -> f64 {
    let run = move || {
        pin(cpu);
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
        set_option(&socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DONT);
        let mut batch = Batch::new();
        let total = scale.phones.min(300_000);
        let (begun, from_ns) = (Instant::now(), thread_cpu_ns());
        let mut sent = 0;
        while sent < total {
            let due = match rate {
                None => sent + BATCH,
                Some(rate) => (begun.elapsed().as_secs_f64() * rate) as usize,
            };
            while sent < due.min(total) {
                let count = BATCH.min(due.min(total) - sent);
                // In an order that no cache foresees, as turns have none.
                let place = |number: usize| (sent + number) * 611_953 % scale.phones;
                sent += batch.send(&socket, count, |number| source(place(number), port));
            }
            if rate.is_some() {
                thread::sleep(Duration::from_millis(1));
            }
        }
        (thread_cpu_ns() - from_ns) as f64 / total as f64
    };
    thread::spawn(run).join().expect("the bare loop ends")
}

/// One batch of HELLOs.
struct Batch {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<libc::sockaddr_in>,
    payload: [u8; 5],
}

impl Batch {
    fn new() -> Box<Batch> {
        // SAFETY: all-zero is valid for these plain structs of integers and null pointers.
        let (header, vector, name) = unsafe { (mem::zeroed(), mem::zeroed(), mem::zeroed()) };
        let mut batch = Box::new(Batch {
            headers: vec![header; BATCH],
            vectors: vec![vector; BATCH],
            names: vec![name; BATCH],
            payload: *b"HELLO",
        });
        let parts = &mut *batch;
        for (slot, header) in parts.headers.iter_mut().enumerate() {
            parts.vectors[slot] = libc::iovec {
                iov_base: parts.payload.as_mut_ptr().cast(),
                iov_len: parts.payload.len(),
            };
            header.msg_hdr.msg_iov = &raw mut parts.vectors[slot];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_name = (&raw mut parts.names[slot]).cast();
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
        }
        batch
    }

    fn send(
        &mut self,
        socket: &UdpSocket,
        count: usize,
        to: impl Fn(usize) -> SocketAddr,
    ) -> usize {
        for (number, name) in self.names.iter_mut().take(count).enumerate() {
            let SocketAddr::V4(to) = to(number) else { unreachable!("phones are at IPv4") };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = to.port().to_be();
            name.sin_addr.s_addr = u32::from(*to.ip()).to_be();
        }
        // SAFETY: every header points into vectors of fixed length that `self` owns, and into its
        // payload, which lives as long; `count` is at most the batch.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(sent).unwrap_or(0)
    }
}

/// REGISTERs as fast as they are answered, until told to stop. Returns the answers a second.
/// REGISTERs as many as are answered; their number a second, when it has been stopped.
fn flood_of(bench: &Bench, cpu: usize, stop: &Arc<AtomicBool>) -> thread::JoinHandle<f64> {
    let (to, stop) = (bench.to, Arc::clone(stop));
    thread::spawn(move || {
        pin(cpu);
        let sockets: Vec<UdpSocket> = (0..16)
            .map(|_| {
                let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
                socket.connect(to).expect("a peer");
                socket.set_nonblocking(true).expect("O_NONBLOCK");
                socket
            })
            .collect();
        let mut phones = Phones::new(1000);
        let mut request = Vec::new();
        let mut buffer = [0; 4096];
        let mut send = |socket: &UdpSocket| {
            let phone = phones.random();
            phones.write(phone, Ask::Unchallenged, &mut request);
            // What does not fit is sent again when something is heard.
            let _ = socket.send(&request);
        };
        let begun = Instant::now();
        let mut answers = 0u64;
        sockets.iter().for_each(|socket| (0..64).for_each(|_| send(socket)));
        while !stop.load(Ordering::Relaxed) {
            let before = answers;
            for socket in &sockets {
                while socket.recv(&mut buffer).is_ok() {
                    answers += 1;
                    send(socket);
                }
            }
            if answers == before {
                sockets.iter().for_each(&mut send);
            }
        }
        answers as f64 / begun.elapsed().as_secs_f64()
    })
}

fn thread_cpu_ns() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn pin(cpu: usize) {
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).expect("a CPU of this process");
}
