//! A server of two reactors and the phones it serves, over loopback.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use aorta::config;
use aorta::reactor::{Reactors, Running, Settings, Steering, allowed_cpus};
use aorta::shard::mesh::{default_slots, mesh};
use aorta::shard::owner::Ownership;
use aorta::shard::{Shard, ShardId};

use super::phones::{Ask, DOMAIN, Phones};
use super::set_up::{guard, keys, shard};

const REACTORS: usize = 2;
const SEED: [u8; 16] = [5; 16];
const ACCOUNTS: usize = 20_000;
/// Sockets of the phones.
const SOURCES: usize = 256;
/// Accounts of one socket, all of them of one owner.
const ACCOUNTS_OF_A_SOURCE: usize = 32;
/// Requests under way: enough that no reactor runs dry, far fewer than a socket's buffer holds.
const WINDOW: usize = 128;
/// A lost datagram ends the run: nothing may be lost here.
const PATIENCE: Duration = Duration::from_secs(5);

/// Which of its requests a reactor does not own.
#[derive(Clone, Copy, PartialEq)]
pub enum Foreign {
    /// So many percent of the sources send for accounts of the reactor that the kernel's hash does
    /// not give them to.
    Share(usize),
    /// Accounts as they come.
    AsItComes,
}

/// What was measured in one window.
pub struct Figures {
    /// Of both reactors, for each request.
    pub cpu_ns: f64,
    /// The share of requests that were handed over.
    pub foreign: f64,
    pub per_second: f64,
}

/// One socket, and the phones behind it.
struct Source {
    socket: UdpSocket,
    /// Numbers in [`Phones`].
    phones: Vec<usize>,
    next: usize,
}

pub struct Office {
    running: Running<Shard>,
    /// Threads of the reactors, by their numbers in /proc.
    threads: Vec<String>,
    phones: Phones,
    sources: Vec<Source>,
    turn: usize,
    buffer: Vec<u8>,
}

impl Office {
    pub fn open(steering: config::Steering, foreign: Foreign) -> Office {
        let ownership = Ownership::new(SEED, REACTORS as u8);
        let cpus = allowed_cpus();
        let settings = Settings {
            listen: vec!["127.0.0.1:0".parse().expect("an address")],
            cpus: if cpus.len() >= REACTORS { cpus } else { Vec::new() },
            steering,
            ..Settings::default()
        };
        let before = threads();
        let planes = vec![
            |id: ShardId| {
                shard(id, Ownership::new(SEED, REACTORS as u8), keys(), guard(), ACCOUNTS)
            };
            REACTORS
        ];
        let running = Reactors::start(settings, mesh(REACTORS, default_slots(REACTORS)), planes)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(*running.steering() == Steering::On, steering == config::Steering::On);
        let threads = threads().into_iter().filter(|one| !before.contains(one)).collect();
        let to = running.bound()[0].address;
        // Of each owner, in turn.
        let mut owned: [VecDeque<usize>; REACTORS] = Default::default();
        for phone in 0..ACCOUNTS {
            let aor = format!("u{}@{DOMAIN}", phone + 1);
            owned[usize::from(ownership.owner(ownership.hash(aor.as_bytes())).0)].push_back(phone);
        }
        let mut buffer = vec![0; 2048];
        let mut phones = Phones::new(ACCOUNTS);
        let sources = (0..SOURCES)
            .map(|nth| {
                let socket = connected(to);
                let receiver = receiver(&running, &socket, &mut phones, &mut buffer);
                let owner = match foreign {
                    // Every so manieth, evenly.
                    Foreign::Share(percent) => {
                        let is_foreign = nth * percent / 100 != (nth + 1) * percent / 100;
                        receiver ^ usize::from(is_foreign)
                    }
                    Foreign::AsItComes => nth % REACTORS,
                };
                let phones = owned[owner].drain(..ACCOUNTS_OF_A_SOURCE).collect();
                Source { socket, phones, next: 0 }
            })
            .collect();
        Office { running, threads, phones, sources, turn: 0, buffer }
    }

    /// Challenges and registers every phone, and has each refresh once.
    pub fn warm_up(&mut self) {
        let Office { phones, sources, buffer, .. } = self;
        let mut request = Vec::new();
        for source in sources {
            for &phone in &source.phones {
                phones.write(phone, Ask::Unchallenged, &mut request);
                let len = source.ask(&request, buffer);
                phones.challenge(phone, &buffer[..len]);
                for _ in 0..2 {
                    phones.write(phone, Ask::Refresh, &mut request);
                    let len = source.ask(&request, buffer);
                    assert_ok(&buffer[..len]);
                }
            }
        }
    }

    /// Refreshes for so long, with [`WINDOW`] of them under way.
    pub fn run(&mut self, window: Duration) -> Figures {
        let (cpu_before, foreign_before) = self.settled();
        let began = Instant::now();
        let mut request = Vec::new();
        let mut sent = 0;
        let mut under_way = VecDeque::with_capacity(WINDOW);
        loop {
            if began.elapsed() < window {
                let at = self.turn % SOURCES;
                self.turn += 1;
                let source = &mut self.sources[at];
                let phone = source.phones[source.next % ACCOUNTS_OF_A_SOURCE];
                source.next += 1;
                self.phones.write(phone, Ask::Refresh, &mut request);
                source.socket.send(&request).expect("loopback takes it");
                under_way.push_back(at);
                sent += 1;
                if under_way.len() < WINDOW {
                    continue;
                }
            }
            let Some(at) = under_way.pop_front() else { break };
            let len = self.sources[at].hear(&mut self.buffer);
            assert_ok(&self.buffer[..len]);
        }
        let took = began.elapsed();
        let (cpu, foreign) = self.settled();
        let requests = f64::from(sent);
        Figures {
            cpu_ns: (cpu - cpu_before) as f64 / requests,
            foreign: (foreign - foreign_before) as f64 / requests,
            per_second: requests / took.as_secs_f64(),
        }
    }

    /// CPU time of the reactors and what they have handed over, once both sleep.
    fn settled(&self) -> (u64, u64) {
        let mut last = None;
        loop {
            let sum = self.running.counters().iter().map(|one| one.handoffs_out).sum();
            let now = (self.threads.iter().map(|thread| cpu_ns(thread)).sum(), sum);
            if last == Some(now) {
                return now;
            }
            last = Some(now);
            // A bench may wait; counters are published when a reactor goes to sleep.
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    /// Ends it; what steering counted.
    pub fn close(self) -> String {
        self.running.stop();
        let mut sum = aorta::reactor::Counters::default();
        self.running.join().iter().for_each(|one| sum += one.counters);
        assert_eq!((sum.handoffs_shed, sum.send_failed, sum.kernel_drops), (0, 0, 0), "{sum:?}");
        let named = aorta::reactor::Counters::NAMES.into_iter().zip(sum.values());
        let said = named.filter(|(name, count)| name.starts_with("steering_") && *count > 0);
        said.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }
}

impl Source {
    fn ask(&self, request: &[u8], buffer: &mut [u8]) -> usize {
        self.socket.send(request).expect("loopback takes it");
        self.hear(buffer)
    }

    fn hear(&self, buffer: &mut [u8]) -> usize {
        hear(&self.socket, buffer)
    }
}

fn connected(to: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.connect(to).expect("loopback");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    socket
}

fn hear(socket: &UdpSocket, buffer: &mut [u8]) -> usize {
    loop {
        match socket.recv(buffer) {
            Ok(len) => return len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("no answer: {error}"),
        }
    }
}

fn assert_ok(answer: &[u8]) {
    assert!(answer.starts_with(b"SIP/2.0 200 "), "{}", String::from_utf8_lossy(answer));
}

/// The reactor that the kernel gives what this socket sends.
fn receiver(
    running: &Running<Shard>,
    socket: &UdpSocket,
    phones: &mut Phones,
    buffer: &mut [u8],
) -> usize {
    let received = || running.counters().iter().map(|one| one.datagrams_in).collect::<Vec<_>>();
    let before = received();
    let mut request = Vec::new();
    // No owner is asked for it.
    phones.write(0, Ask::Unchallenged, &mut request);
    socket.send(&request).expect("loopback takes it");
    hear(socket, buffer);
    let waiting = Instant::now();
    while waiting.elapsed() < PATIENCE {
        let now = received();
        if let Some(reactor) = (0..REACTORS).find(|&nth| now[nth] > before[nth]) {
            return reactor;
        }
        // It publishes its counters when it goes to sleep.
        std::thread::yield_now();
    }
    panic!("nobody has received it");
}

/// The threads of reactors in this process.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux").flatten();
    let paths = tasks.map(|task| task.path().display().to_string());
    paths
        .filter(|path| {
            let name = std::fs::read_to_string(format!("{path}/comm"));
            name.is_ok_and(|name| name.starts_with("reactor-"))
        })
        .collect()
}

/// CPU time of a thread so far, as the scheduler counts it.
fn cpu_ns(thread: &str) -> u64 {
    let schedstat = std::fs::read_to_string(format!("{thread}/schedstat")).expect("it runs");
    let ran = schedstat.split(' ').next().and_then(|ns| ns.parse().ok());
    ran.expect("a kernel with schedstat")
}
