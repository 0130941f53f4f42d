//! The thread, its listener and its connections. Everything has its limit, so that whoever reaches
//! the port can waste a share of the connections for a while and nothing else.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower_service::Service;

use super::access::Token;
use super::analysis::{self, Analysis, Places, PlacesError, Terms};
use super::api::{Api, Inner, Tell, router};
use super::audit::{Audit, AuditSettings};
use super::identity::{Identity, Policy};
use super::keep::Keep;
use super::latency::keep_windows;
use super::operator::From;
use super::parameters::{ParameterDesk, ParameterRow, Parameters};
use super::patience::Patience;
use super::shards::Shards;
use super::stream::Station;
use super::tls::Certificate;
use super::ui::Looks;
use super::{bulk, export};
use crate::time::UnixTime;

/// Longest head of a request, bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Header fields of one request.
const HEADERS_MAX: usize = 64;
/// Wait after the system had no descriptor left for a connection.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// What the interface starts with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// What opens it beside passwords. Without it, and before anybody has a password, only this
    /// host is served.
    pub token: Option<Token>,
    /// How much of everything.
    pub limits: Limits,
    /// What the wall clock shows.
    pub started: UnixTime,
    /// What is made of what is registered.
    pub analysis: analysis::Settings,
    /// Where operators are kept; in memory without.
    pub data: Option<PathBuf>,
    /// Where the audit is kept, and how much of it.
    pub audit: AuditSettings,
    /// What holds for whoever comes.
    pub policy: Policy,
    /// What it shows; plain HTTP without.
    pub certificate: Option<Certificate>,
}

impl Settings {
    /// Without a token, everything in memory and every limit as it is unless said otherwise.
    #[must_use]
    pub fn new(listen: SocketAddr, started: UnixTime) -> Settings {
        Settings {
            listen,
            token: None,
            limits: Limits::default(),
            started,
            data: None,
            audit: AuditSettings::default(),
            policy: Policy::default(),
            certificate: None,
            analysis: analysis::Settings::default(),
        }
    }
}

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections_max: usize,
    /// Of those, from one address.
    pub per_source_max: usize,
    /// From the beginning of a connection, or the end of the answer before, to the end of the head
    /// of a request.
    pub head_max: Duration,
    /// The longest a request may take.
    pub request_max: Duration,
    /// The longest a client may leave an answer unread.
    pub write_max: Duration,
    /// The longest a connection may last.
    pub connection_max: Duration,
    /// How long a stop waits for what is under way.
    pub drain_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections_max: 64,
            per_source_max: 32,
            head_max: Duration::from_secs(10),
            request_max: Duration::from_secs(10),
            write_max: Duration::from_secs(10),
            connection_max: Duration::from_secs(600),
            drain_max: Duration::from_secs(1),
        }
    }
}

/// Why it does not start.
#[derive(Debug)]
pub enum AdminError {
    /// What is kept of operators, or the audit, cannot be used: why.
    Kept(String),
    /// An operation of the system failed.
    System {
        /// What was tried.
        operation: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AdminError::Kept(why) => f.write_str(why),
            AdminError::System { operation, address, source } => {
                write!(f, "--admin {address}: {operation}: {source}")
            }
        }
    }
}

impl std::error::Error for AdminError {}

macro_rules! counts {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// What the interface counts.
        #[derive(Debug, Default)]
        pub(super) struct Counts {
            $($(#[doc = $doc])+ pub $name: AtomicU64,)+
        }

        impl Counts {
            /// Name, meaning and number of each.
            pub fn described(
                &self,
            ) -> impl Iterator<Item = (&'static str, &'static str, &AtomicU64)> {
                [$((stringify!($name), concat!($($doc),+), &self.$name),)+].into_iter()
            }
        }
    };
}

counts! {
    /// Connections to this interface.
    connections,
    /// Connections turned away because there were as many as there may be.
    refused_connections_max,
    /// Connections turned away because their source had as many as it may have.
    refused_per_source,
    /// Connections closed because their network may not reach this interface.
    refused_network,
    /// Connections on which no TLS session came to be.
    refused_handshakes,
    /// Connections that could not be taken up.
    accept_errors,
    /// Connections that broke, or were closed because their client took too long.
    broken,
    /// Requests to this interface.
    requests,
    /// Requests without the right to ask.
    denied,
}

/// What of an interface that serves can be changed from outside. Copies change the same.
#[derive(Clone)]
pub struct Reins(Api);

impl Reins {
    /// Has it show these parameters from now on.
    pub fn show_parameters(&self, rows: Vec<ParameterRow>) {
        self.0.parameters.show(rows);
    }

    /// Has it give orders about parameters to this desk.
    pub fn open_parameters(&self, desk: ParameterDesk) {
        self.0.parameters.open(desk);
    }

    /// Has it show another certificate to connections that come from now on. Whether it shows one
    /// at all is decided at the start: that it does.
    pub fn present(&self, certificate: Certificate) -> bool {
        let shown = self.0.certificate.as_ref();
        shown.map(|shown| drop(shown.send_replace(certificate))).is_some()
    }

    /// Has it obey another policy from now on; connections that are open stay so.
    pub fn obey(&self, policy: Policy) {
        self.0.identity.obey(policy);
    }

    /// Reads databases of places for the analysis, those alone that are not as they were.
    ///
    /// # Errors
    /// [`PlacesError`]; nothing has changed then.
    pub fn places(&self, files: &[PathBuf]) -> Result<Places, PlacesError> {
        self.0.analysis.places().again(files)
    }

    /// Has the analysis obey other terms from now on, with these databases.
    pub fn analyse(&self, terms: Terms, places: Places) {
        self.0.analysis.obey(terms, places);
    }
}

/// The interface, serving. Dropping it stops it.
pub struct Admin {
    address: SocketAddr,
    reins: Reins,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl Admin {
    /// Starts it on a thread of its own. `told` takes a line about each thing an operator does;
    /// `keep` keeps what of it is to outlive the process, if anything does.
    ///
    /// # Errors
    /// [`AdminError`]; nothing is left running then.
    pub fn start(
        settings: Settings,
        shards: Shards,
        told: Tell,
        keep: Option<Keep>,
    ) -> Result<Admin, AdminError> {
        let Settings { listen, token, limits, started, data, audit, policy, .. } = settings;
        let Settings { analysis, certificate, .. } = settings;
        let failed =
            |operation| move |source| AdminError::System { operation, address: listen, source };
        let listener = StdListener::bind(listen).map_err(failed("listening"))?;
        listener.set_nonblocking(true).map_err(failed("listening"))?;
        let address = listener.local_addr().map_err(failed("listening"))?;
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .build()
            .map_err(failed("making a runtime"))?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).map_err(failed("listening"))?
        };
        let counts = Arc::new(Counts::default());
        let (windows, last_window) = watch::channel(None);
        let (stop, stopped) = watch::channel(false);
        let secure = certificate.is_some();
        let served_at = format!("{}://{}", scheme(secure), on_this_host(address));
        let identity = Identity::new(data, token, secure, policy, Arc::clone(&told));
        let identity = identity.map_err(AdminError::Kept)?;
        identity.say_setup(&served_at).map_err(AdminError::Kept)?;
        let in_audit = |error| AdminError::Kept(format!("cannot open the audit: {error}"));
        let audit = Audit::start(&audit, Arc::clone(&told)).map_err(in_audit)?;
        let api = Api::new(Inner {
            shards,
            identity,
            audit,
            parameters: Parameters::default(),
            certificate: certificate.map(|certificate| watch::channel(certificate).0),
            served_at,
            request_max: limits.request_max,
            started,
            counts: Arc::clone(&counts),
            told,
            keep,
            last_window,
            analysis: Analysis::new(analysis),
            traces: AtomicU64::new(0),
            looks: Looks::default(),
            unregistrations: bulk::desk(),
            exports: export::turns(),
            station: Station::default(),
            stopping: stopped.clone(),
            checks: Vec::new(),
        });
        let reins = Reins(api.clone());
        let server =
            Server { router: router(api.clone()), api: api.clone(), limits, counts, stopped };
        let thread = thread::Builder::new()
            .name("admin".into())
            .spawn(move || {
                let _keeper = runtime.spawn(keep_windows(api.clone(), windows));
                let _analysis = runtime.spawn(analysis::run(api));
                runtime.block_on(server.serve(listener));
            })
            .map_err(failed("starting a thread"))?;
        Ok(Admin { address, reins, stop, thread: Some(thread) })
    }

    /// Whether whoever is on this host comes in without anything to show.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.reins.0.identity.is_open_here()
    }

    /// `https`, or `http` where it shows no certificate.
    #[must_use]
    pub fn scheme(&self) -> &'static str {
        scheme(self.reins.0.certificate.is_some())
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What can be changed of it while it serves.
    #[must_use]
    pub fn reins(&self) -> Reins {
        self.reins.clone()
    }

    /// Stops it: what is under way is answered first, within its limit.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take() {
            // It has nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// What serves connections.
struct Server {
    router: Router,
    api: Api,
    limits: Limits,
    counts: Arc<Counts>,
    stopped: watch::Receiver<bool>,
}

impl Server {
    async fn serve(self, listener: TcpListener) {
        let mut stopped = self.stopped.clone();
        let mut connections = JoinSet::new();
        let mut sources: HashMap<Id, IpAddr> = HashMap::new();
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => break,
                Some(ended) = connections.join_next_with_id() => {
                    let id = match ended {
                        Ok((id, ())) => id,
                        Err(panicked) => panicked.id(),
                    };
                    sources.remove(&id);
                }
                accepted = listener.accept() => match accepted {
                    Ok((stream, from)) => {
                        let source = from.ip().to_canonical();
                        if !self.api.identity.may_connect(source) {
                            // Not a byte: what is here is nobody's business there.
                            self.counts.refused_network.fetch_add(1, Ordering::Relaxed);
                        } else if self.has_room(&sources, source) {
                            let task = connections.spawn(self.connection(stream, from));
                            sources.insert(task.id(), source);
                        } else if self.api.certificate.is_none() {
                            turn_away(&stream);
                        }
                    }
                    Err(_) => {
                        self.counts.accept_errors.fetch_add(1, Ordering::Relaxed);
                        sleep(ACCEPT_AGAIN).await;
                    }
                },
            }
        }
        drop(listener);
        let all_gone = async { while connections.join_next().await.is_some() {} };
        // Whoever is not done by then is cut off as the set goes.
        let _ = timeout(self.limits.drain_max, all_gone).await;
    }

    fn has_room(&self, sources: &HashMap<Id, IpAddr>, source: IpAddr) -> bool {
        let counts = &self.counts;
        counts.connections.fetch_add(1, Ordering::Relaxed);
        if sources.len() >= self.limits.connections_max {
            counts.refused_connections_max.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        let of_source = sources.values().filter(|other| **other == source).count();
        if of_source >= self.limits.per_source_max {
            counts.refused_per_source.fetch_add(1, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// One connection, to its end.
    fn connection(&self, stream: TcpStream, from: SocketAddr) -> impl Future<Output = ()> + use<> {
        let Limits { head_max, write_max, connection_max, .. } = self.limits;
        let (router, counts) = (self.router.clone(), Arc::clone(&self.counts));
        let stopped = self.stopped.clone();
        let certificate = self.api.certificate.as_ref().map(|shown| shown.borrow().clone());
        async move {
            // An answer is one write; there is nothing to wait for.
            let _ = stream.set_nodelay(true);
            let stream = Patience::new(stream, write_max);
            let one = Connection { router, from, head_max, connection_max, stopped };
            let ended = match certificate {
                None => one.serve(stream).await,
                Some(Certificate(config)) => {
                    let handshake = TlsAcceptor::from(config).accept(stream);
                    match timeout(head_max, handshake).await {
                        Ok(Ok(stream)) => one.serve(stream).await,
                        _ => {
                            counts.refused_handshakes.fetch_add(1, Ordering::Relaxed);
                            return;
                        }
                    }
                }
            };
            if !ended {
                counts.broken.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// One connection, and what it is served by.
struct Connection {
    router: Router,
    from: SocketAddr,
    head_max: Duration,
    connection_max: Duration,
    stopped: watch::Receiver<bool>,
}

impl Connection {
    /// Serves it to its end. Returns whether that was a good one.
    async fn serve(self, stream: impl AsyncRead + AsyncWrite + Unpin) -> bool {
        let Connection { router, from, head_max, connection_max, mut stopped } = self;
        let service = service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(From(from));
            router.clone().call(request)
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(head_max)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            _ = stopped.wait_for(|stop| *stop) => None,
            () = sleep(connection_max) => None,
        };
        match ended {
            Some(ended) => ended.is_ok(),
            None => {
                // The request under way is the last.
                connection.as_mut().graceful_shutdown();
                timeout(head_max, connection).await.is_ok_and(|ended| ended.is_ok())
            }
        }
    }
}

/// What a browser on this host puts into its address bar.
fn on_this_host(listen: SocketAddr) -> String {
    if listen.ip().to_canonical().is_loopback() {
        return listen.to_string();
    }
    format!("localhost:{}", listen.port())
}

const fn scheme(secure: bool) -> &'static str {
    if secure { "https" } else { "http" }
}

/// As much of an answer as can be given without waiting.
fn turn_away(stream: &TcpStream) {
    let _ = stream.try_write(
        b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
          Content-Length: 0\r\n\r\n",
    );
}
