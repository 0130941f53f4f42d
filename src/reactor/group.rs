//! The reactors of a process as a whole: started together or not at all, stopped together, their
//! counters read from outside.

use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::queue::ArrayQueue;

use super::clock::Clock;
use super::control::{Controller, Orders, orders};
use super::counters::{Counters, SharedCounters};
use super::data_plane::{DataPlane, Shared};
use super::datagram::{Backend, DatagramPath, Outbox};
use super::error::StartError;
use super::executor::{Executor, TurnSignal, Turner, rings_lock};
use super::filter::FilteredSockets;
use super::hearsay::Hearsay;
use super::idle::Idle;
use super::laps::{Laps, Real};
use super::mmsg::Mmsg;
use super::plane::Plane;
use super::send::Sender;
use super::service_times::{ServiceTimes, SharedServiceTimes};
use super::socket::{Bound, Listener, bind_group};
use super::start_check::{
    cpus_allowed, files_allowed, io_uring_allowed, memlock_allowed, threads_allowed,
};
use super::steering::{self, Notes, Senders, Steering};
use super::stream::{self, Certificates, NewCertificates, StreamListener, Streams};
use super::uring::Uring;
use super::wake::Waker;
use super::work::Work;
use crate::config;
use crate::limits::LISTENERS_MAX;
use crate::shard::ShardId;
use crate::shard::mesh::Endpoint;
use crate::time::Instant;

/// Starts tasks beside the data plane of a reactor; called on its thread, inside its executor,
/// before the first datagram.
pub type TaskSpawner = Arc<dyn Fn(ShardId) + Send + Sync>;

/// What the reactors are started with.
#[derive(Clone)]
pub struct Settings {
    /// UDP addresses to listen on, at most [`LISTENERS_MAX`]; their order numbers the listeners.
    /// Port 0 takes any free one. Default: none.
    pub listen: Vec<SocketAddr>,
    /// Where connections are taken up, no UDP among them. Default: nowhere.
    pub listen_streams: Vec<config::Listen>,
    /// What connections obey.
    pub streams: config::Streams,
    /// What TLS listeners present. Default: none.
    pub certificates: Option<Certificates>,
    /// The CPU of each reactor; empty = not pinned. Default: empty.
    pub cpus: Vec<usize>,
    /// How datagrams are received. Default: recvmmsg.
    pub backend: Backend,
    /// Whether the kernel is taught which reactor each sender is to reach. Default: not.
    pub steering: config::Steering,
    /// Senders it remembers, some 100 bytes of its memory each. Default: 262,144.
    pub steered_sources: u32,
    /// Buffer asked for at each socket, in each direction, bytes; the kernel may grant less.
    /// Default: 4 MiB.
    pub socket_buffer_bytes: usize,
    /// How long a stop may go on answering what has arrived already; handoffs between reactors
    /// may take as long again. Default: 500 ms.
    pub drain_max: Duration,
    /// One batch in so many is timed stage by stage; 0: none. Default: 32.
    pub time_one_in: u32,
    /// Tasks beside the data plane. Default: none.
    pub tasks: Option<TaskSpawner>,
    /// The clock whose origin arrival times count from. Default: one that starts now.
    pub clock: Clock,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            listen: Vec::new(),
            listen_streams: Vec::new(),
            streams: config::Streams::default(),
            certificates: None,
            cpus: Vec::new(),
            backend: Backend::default(),
            steering: config::Steering::Off,
            steered_sources: config::Serve::default().steered_sources,
            socket_buffer_bytes: 4 << 20,
            drain_max: Duration::from_millis(500),
            time_one_in: 32,
            tasks: None,
            clock: Clock::start(),
        }
    }
}

/// What a reactor leaves behind.
#[derive(Debug)]
pub struct Finished<T> {
    /// Its shard.
    pub shard: ShardId,
    /// Its final counters.
    pub counters: Counters,
    /// How long messages took, as far as that was timed.
    pub service_times: ServiceTimes,
    /// Its plane's last word.
    pub value: T,
}

/// Starts reactors.
pub struct Reactors;

impl Reactors {
    /// Starts one reactor for each endpoint of `mesh`. Its plane is made by the closure of the
    /// same position, on the reactor's own thread, so that its memory is local to the core. Once
    /// this returns, every reactor serves.
    ///
    /// # Errors
    /// If anything at all is refused, nothing is left running, and the error is the first cause.
    ///
    /// # Panics
    /// If there are not as many closures as endpoints.
    pub fn start<P, F>(
        settings: Settings,
        mesh: Vec<Endpoint>,
        planes: Vec<F>,
    ) -> Result<Running<P>, StartError>
    where
        P: Plane,
        F: FnOnce(ShardId) -> P + Send + 'static,
    {
        assert_eq!(mesh.len(), planes.len(), "a plane for each reactor");
        check(&settings, mesh.len())?;
        let (mut sockets, mut stream_sockets, bound) = bind(&settings, mesh.len())?;
        let (steering, senders) =
            steering::attach(settings.steering, settings.steered_sources, &sockets, &bound)?;
        let filtered = FilteredSockets::new(sockets.iter().flatten().map(Listener::shared));
        let mut wakers = Vec::with_capacity(mesh.len());
        for _ in 0..mesh.len() {
            wakers.push(Waker::new()?);
        }
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            dry: AtomicUsize::new(0),
            counters: mesh.iter().map(|_| SharedCounters::new()).collect(),
            service_times: mesh
                .iter()
                .map(|_| Arc::new(SharedServiceTimes::new(settings.time_one_in > 0)))
                .collect(),
            wakers,
            drain_max: settings.drain_max,
        });

        let (report, reports) = mpsc::channel();
        let new_certificates: Vec<NewCertificates> =
            mesh.iter().map(|_| NewCertificates::new(ArrayQueue::new(1))).collect();
        let reactors = mesh.len();
        let mut running = Running {
            threads: Vec::new(),
            shared,
            bound,
            steering,
            filtered,
            new_certificates,
            controllers: Vec::new(),
        };
        let mut gates = Vec::with_capacity(mesh.len());
        for (number, (endpoint, make)) in mesh.into_iter().zip(planes).enumerate() {
            let (open, gate) = mpsc::channel();
            gates.push(open);
            let (controller, orders) = orders(running.shared.wakers[number].clone());
            running.controllers.push(controller);
            let seat = Seat {
                number,
                cpu: settings.cpus.get(number).copied(),
                reactors,
                listeners: std::mem::take(&mut sockets[number]),
                stream_listeners: std::mem::take(&mut stream_sockets[number]),
                new_certificates: Arc::clone(&running.new_certificates[number]),
                settings: settings.clone(),
                endpoint,
                senders: senders.clone(),
                orders,
                shared: Arc::clone(&running.shared),
                report: report.clone(),
                gate,
            };
            let thread = thread::Builder::new()
                .name(format!("reactor-{number}"))
                .spawn(move || seat.take(make))
                .map_err(|source| StartError::System { operation: "starting a thread", source })?;
            running.threads.push(thread);
        }
        drop(report);
        for _ in 0..running.threads.len() {
            // A reactor that panics ends the process, so each of them reports. An error closes the
            // gates unopened, and dropping `running` waits for the threads to leave.
            reports.recv().expect("every reactor reports")?;
        }
        for gate in gates {
            // The thread waits at its gate.
            gate.send(()).expect("a reactor left before it was let in");
        }
        Ok(running)
    }
}

fn check(settings: &Settings, reactors: usize) -> Result<(), StartError> {
    if settings.listen.is_empty() && settings.listen_streams.is_empty() {
        let what = "no address to listen on; give at least one, such as udp:0.0.0.0:5060";
        return Err(StartError::Settings(what.into()));
    }
    let asked = settings.listen.len() + settings.listen_streams.len();
    if asked > LISTENERS_MAX {
        return Err(StartError::Settings(format!(
            "{asked} addresses to listen on; leave at most {LISTENERS_MAX}, or listen on a wildcard"
        )));
    }
    if settings.certificates.is_none()
        && let Some(listen) = settings.listen_streams.iter().find(|l| l.transport.is_secure())
    {
        return Err(StartError::Settings(format!("{listen}: no certificate is loaded for it")));
    }
    if !settings.cpus.is_empty() {
        if settings.cpus.len() < reactors {
            return Err(StartError::CpusTooFew { cpus: settings.cpus.len(), reactors });
        }
        cpus_allowed(&settings.cpus)?;
    }
    memlock_allowed()?;
    let streams = !settings.listen_streams.is_empty();
    let connections = if streams { settings.streams.connections_max as usize } else { 0 };
    files_allowed(reactors, asked, connections)?;
    threads_allowed(reactors)?;
    let _lock = rings_lock();
    io_uring_allowed()
}

/// The sockets of each reactor, and what each address became.
type Sockets = (Vec<Vec<Listener>>, Vec<Vec<StreamListener>>, Vec<Bound>);

fn bind(settings: &Settings, reactors: usize) -> Result<Sockets, StartError> {
    let mut sockets: Vec<Vec<Listener>> = (0..reactors).map(|_| Vec::new()).collect();
    let mut streams: Vec<Vec<StreamListener>> = (0..reactors).map(|_| Vec::new()).collect();
    let mut bound = Vec::with_capacity(settings.listen.len() + settings.listen_streams.len());
    for &address in &settings.listen {
        let (group, became) = bind_group(address, reactors, settings.socket_buffer_bytes)?;
        bound.push(became);
        for (reactor, listener) in sockets.iter_mut().zip(group) {
            reactor.push(listener);
        }
    }
    for &config::Listen { transport, addr } in &settings.listen_streams {
        let (group, address) = StreamListener::bind_group(transport, addr, reactors)?;
        let (receive_buffer_bytes, send_buffer_bytes) = (0, 0);
        bound.push(Bound { transport, address, receive_buffer_bytes, send_buffer_bytes });
        for (reactor, listener) in streams.iter_mut().zip(group) {
            reactor.push(listener);
        }
    }
    Ok((sockets, streams, bound))
}

/// Everything a reactor thread is given.
struct Seat<P: Plane> {
    number: usize,
    cpu: Option<usize>,
    reactors: usize,
    listeners: Vec<Listener>,
    stream_listeners: Vec<StreamListener>,
    new_certificates: NewCertificates,
    settings: Settings,
    endpoint: Endpoint,
    senders: Option<Arc<Senders>>,
    orders: Orders<P>,
    shared: Arc<Shared>,
    report: mpsc::Sender<Result<(), StartError>>,
    gate: mpsc::Receiver<()>,
}

impl<P: Plane> Seat<P> {
    /// The life of a reactor thread; `None` if the start was called off.
    fn take(mut self, make: impl FnOnce(ShardId) -> P) -> Option<Finished<P::Final>> {
        let _loud = AbortOnPanic(self.number);
        let listeners = std::mem::take(&mut self.listeners);
        let sockets = listeners.iter().map(Listener::fd).collect();
        match self.settings.backend {
            Backend::Mmsg => self.serve(make, sockets, || Mmsg::new(listeners)),
            Backend::Uring => self.serve(make, sockets, || {
                let _lock = rings_lock();
                Uring::new(listeners)
            }),
        }
    }

    fn serve<D: DatagramPath>(
        mut self,
        make: impl FnOnce(ShardId) -> P,
        sockets: Vec<RawFd>,
        path: impl FnOnce() -> Result<D, StartError>,
    ) -> Option<Finished<P::Final>> {
        let shard = ShardId(self.number as u8);
        let prepared = Executor::new(self.number, self.cpu, self.settings.tasks.is_some())
            .and_then(|executor| {
                let path = path()?;
                let waker = &self.shared.wakers[self.number];
                let listeners = std::mem::take(&mut self.stream_listeners);
                let streams = match listeners.is_empty() {
                    true => None,
                    false => Some(Streams::new(
                        stream::Start {
                            shard,
                            reactors: self.reactors,
                            listeners,
                            certificates: self.settings.certificates.take(),
                            new_certificates: self.new_certificates,
                        },
                        &self.settings.streams,
                    )?),
                };
                let streams_fd = streams.as_ref().map(Streams::fd);
                let idle = Idle::new(&path.polled(), waker, streams_fd, executor.ring_fds())?;
                let tasks = match self.settings.tasks {
                    Some(spawn) => Some((spawn, TurnSignal::new()?)),
                    None => None,
                };
                Ok((executor, idle, path, Outbox::new()?, streams, tasks))
            });
        let (executor, idle, path, outbox, streams, tasks) = match prepared {
            Ok(parts) => parts,
            Err(error) => {
                // The starter may have left already, with the error of another reactor.
                let _ = self.report.send(Err(error));
                return None;
            }
        };
        let times = Arc::clone(&self.shared.service_times[self.number]);
        let timing = Real { clock: self.settings.clock, times: Arc::clone(&times) };
        let data_plane = DataPlane {
            shard,
            plane: make(shard),
            hot: ((1u64 << path.sources()) - 1) as u32,
            path,
            outbox,
            hearsay: Hearsay::new(self.reactors, sockets.clone()),
            sender: Sender::new(sockets),
            endpoint: self.endpoint,
            notes: self.senders.map(|senders| Notes::new(shard, senders)),
            streams,
            orders: self.orders,
            idle,
            clock: self.settings.clock,
            counters: Counters::default(),
            laps: Laps::new(timing, self.settings.time_one_in, u64::from(shard.0)),
            shared: self.shared,
            kernel_drops_due: Instant::ZERO,
            work: Work::default(),
        };
        let _ = self.report.send(Ok(()));
        drop(self.report);
        if self.gate.recv().is_err() {
            let _lock = rings_lock();
            drop((data_plane, executor));
            return None;
        }
        let (counters, value, path) = executor.run(serve(data_plane, tasks));
        let _lock = rings_lock();
        drop((path, executor));
        let service_times = times.read();
        Some(Finished { shard, counters, service_times, value })
    }
}

async fn serve<P: Plane, D: DatagramPath>(
    data_plane: DataPlane<P, D>,
    tasks: Option<(TaskSpawner, TurnSignal)>,
) -> (Counters, P::Final, D) {
    let Some((spawn, signal)) = tasks else { return data_plane.run(None).await };
    let turner = Turner::new(signal);
    spawn(data_plane.shard);
    // What the tasks ask for must be submitted before the first sleep.
    turner.turn().await;
    let finished = data_plane.run(Some(&turner)).await;
    turner.close().await;
    finished
}

/// A shard whose reactor is gone would drop its part of the phones in silence: the process ends
/// instead, and whoever supervises it starts it again.
struct AbortOnPanic(usize);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("reactor {} panicked: the process ends", self.0);
            std::process::abort();
        }
    }
}

/// Takes certificates for all reactors of a process.
#[derive(Clone)]
pub struct CertificateSlots(Vec<NewCertificates>);

impl CertificateSlots {
    /// Handshakes that begin from now on are served with these certificates; connections that are
    /// open keep theirs.
    pub fn replace(&self, certificates: &Certificates) {
        for reactor in &self.0 {
            // Taken up when the next connection comes; one that nobody has used is replaced.
            reactor.force_push(certificates.clone());
        }
    }
}

/// Reads the counters of all reactors of a process, from any thread, after their end too.
#[derive(Clone)]
pub struct Meter(Arc<Shared>);

impl Meter {
    /// The counters of each reactor as they were a few turns ago, or when it went to sleep.
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        self.0.counters.iter().map(SharedCounters::snapshot).collect()
    }

    /// How long messages took at each reactor, as far as that has been timed. This thread pays for
    /// it, no reactor: some 20 us each.
    #[must_use]
    pub fn service_times(&self) -> Vec<ServiceTimes> {
        self.0.service_times.iter().map(|times| times.read()).collect()
    }
}

/// Reactors that serve. Dropping it stops them and waits for them.
pub struct Running<P: Plane> {
    threads: Vec<JoinHandle<Option<Finished<P::Final>>>>,
    shared: Arc<Shared>,
    bound: Vec<Bound>,
    steering: Steering,
    filtered: FilteredSockets,
    new_certificates: Vec<NewCertificates>,
    controllers: Vec<Controller<P>>,
}

impl<P: Plane> Running<P> {
    /// What each listening address became: those of datagrams in the order of the settings, then
    /// those of connections.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// Whether the kernel is taught which reactor each sender is to reach.
    #[must_use]
    pub fn steering(&self) -> &Steering {
        &self.steering
    }

    /// The counters of each reactor as they were a few turns ago, or when it went to sleep.
    #[must_use]
    pub fn counters(&self) -> Vec<Counters> {
        self.meter().counters()
    }

    /// Reads the counters from wherever it is taken to.
    #[must_use]
    pub fn meter(&self) -> Meter {
        Meter(Arc::clone(&self.shared))
    }

    /// The UDP sockets of all reactors, for whoever changes their filters. They stay open as long
    /// as that is kept.
    #[must_use]
    pub fn filtered_sockets(&self) -> FilteredSockets {
        self.filtered.clone()
    }

    /// Gives orders to each reactor's plane, in the order of the shards.
    #[must_use]
    pub fn controllers(&self) -> &[Controller<P>] {
        &self.controllers
    }

    /// Wakes a reactor for a message left where its plane's [`Plane::turn`] finds it.
    ///
    /// # Panics
    /// If there is no such reactor.
    #[must_use]
    pub fn waker(&self, shard: ShardId) -> Waker {
        self.shared.wakers[usize::from(shard.0)].clone()
    }

    /// Where other certificates are put while the reactors serve.
    #[must_use]
    pub fn certificate_slots(&self) -> CertificateSlots {
        CertificateSlots(self.new_certificates.clone())
    }

    /// Asks all reactors to stop; they first answer what has arrived. Returns at once.
    pub fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.wake_all();
    }

    /// Waits for the reactors to stop and returns what each leaves behind, in their order.
    ///
    /// # Panics
    /// Never in practice: a reactor that panics has ended the process.
    #[must_use]
    pub fn join(mut self) -> Vec<Finished<P::Final>> {
        let threads = std::mem::take(&mut self.threads);
        threads
            .into_iter()
            .map(|thread| thread.join().ok().flatten().expect("a reactor ended by itself"))
            .collect()
    }
}

impl<P: Plane> Drop for Running<P> {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            // It has nobody left to tell; a panic has ended the process.
            let _ = thread.join();
        }
    }
}
