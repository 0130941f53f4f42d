//! The other end of the interface, for `aorta ctl`: one request at a time, each on a connection of
//! its own, and a bounded answer.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use axum::http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest answer, bytes: the longest page with every text at its limit is a tenth of it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the interface is, and what opens it.
pub struct Client {
    at: String,
    /// For TLS, where that is asked for.
    tls: Option<Arc<ClientConfig>>,
    token: Option<String>,
    runtime: Runtime,
}

/// Why there is no good answer.
#[derive(Debug)]
pub enum ClientError {
    /// It could not be asked.
    Unreachable {
        /// Where it was sought.
        at: String,
        /// Why.
        why: String,
    },
    /// It was asked and refused.
    Refused {
        /// The status.
        status: u16,
        /// Why, in its words.
        detail: String,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Unreachable { at, why } => write!(
                f,
                "{at}: {why}; is `aorta serve` running there with --admin? (--admin HOST:PORT or \
                 AORTA_ADMIN say where to ask)"
            ),
            ClientError::Refused { status: 401, detail } => {
                write!(f, "{detail} (--token, --token-file or AORTA_ADMIN_TOKEN)")
            }
            ClientError::Refused { detail, .. } => f.write_str(detail),
        }
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// One that asks at `at`: `HOST:PORT`, `http://HOST:PORT` or `https://HOST:PORT`. Over TLS the
    /// certificate must come from an authority in `authorities`, PEM, or from one this host trusts.
    ///
    /// # Errors
    /// One line: the system gives it no descriptors, or there is no authority to trust.
    pub fn new(
        at: &str,
        token: Option<String>,
        authorities: Option<&Path>,
    ) -> Result<Client, String> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build();
        let runtime = runtime.map_err(|error| format!("the system refuses a socket: {error}"))?;
        let at = at.trim_end_matches('/');
        let (at, tls) = match (at.strip_prefix("https://"), at.strip_prefix("http://")) {
            (Some(at), _) => (at, Some(tls(authorities)?)),
            (None, Some(at)) => (at, None),
            (None, None) => (at, None),
        };
        Ok(Client { at: at.to_owned(), tls, token, runtime })
    }

    /// Asks, and returns the body of the answer.
    ///
    /// # Errors
    /// [`ClientError`]; an answer that is no success is one.
    pub fn ask(&self, method: &Method, path_and_query: &str) -> Result<Vec<u8>, ClientError> {
        self.send(method, path_and_query, None, &[])
    }

    /// The same with a body, as JSON, and further header fields.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn send(
        &self,
        method: &Method,
        path_and_query: &str,
        body: Option<&serde_json::Value>,
        fields: &[(&'static str, &str)],
    ) -> Result<Vec<u8>, ClientError> {
        let unreachable = |why: String| ClientError::Unreachable { at: self.at.clone(), why };
        let addresses: Vec<SocketAddr> = match self.at.to_socket_addrs() {
            Ok(addresses) => addresses.collect(),
            Err(error) => return Err(unreachable(error.to_string())),
        };
        let mut request = Request::builder()
            .method(method)
            .uri(path_and_query)
            .header(HOST, &self.at)
            .header(ACCEPT, "*/*");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let body = body.map(serde_json::Value::to_string).unwrap_or_default();
        let request = request
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| unreachable(format!("it cannot be asked that way: {error}")))?;
        let asked = self.runtime.block_on(async {
            let asked = connect(&addresses, self.tls.clone(), &self.at, request);
            match timeout(ANSWER_MAX, asked).await {
                Ok(answered) => answered,
                Err(_) => Err("no answer in time".to_owned()),
            }
        });
        let (status, body) = asked.map_err(unreachable)?;
        if status.is_success() {
            return Ok(body);
        }
        Err(ClientError::Refused { status: status.as_u16(), detail: detail(status, &body) })
    }
}

/// Where systems keep the authorities they trust.
const TRUSTED: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A client that trusts the authorities in this file, or those of this host.
fn tls(authorities: Option<&Path>) -> Result<Arc<ClientConfig>, String> {
    let of_host = || TRUSTED.iter().map(Path::new).find(|file| file.exists());
    let file =
        authorities.or_else(of_host).ok_or("--cacert: no authority to trust is known here")?;
    let failed = |what: String| format!("--cacert {}: {what}", file.display());
    let read = CertificateDer::pem_file_iter(file).map_err(|error| failed(error.to_string()))?;
    let mut roots = RootCertStore::empty();
    for one in read {
        let one = one.map_err(|error| failed(error.to_string()))?;
        // Of a host's bundle some may be of a kind that is not known here.
        let added = roots.add(one);
        if authorities.is_some() {
            added.map_err(|error| failed(error.to_string()))?;
        }
    }
    if roots.is_empty() {
        return Err(failed("there is no certificate in it".to_owned()));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| failed(error.to_string()))?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

/// Connects, over TLS where there is a configuration for it, and asks.
async fn connect(
    addresses: &[SocketAddr],
    tls: Option<Arc<ClientConfig>>,
    at: &str,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Vec<u8>), String> {
    let text = |error: &dyn fmt::Display| error.to_string();
    let stream = TcpStream::connect(addresses).await.map_err(|error| text(&error))?;
    let Some(config) = tls else { return exchange(stream, request).await };
    let host = at.rsplit_once(':').map_or(at, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).map_err(|error| text(&error))?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    exchange(stream.map_err(|error| text(&error))?, request).await
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Vec<u8>), String> {
    let text = |error: &dyn fmt::Display| error.to_string();
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| text(&error))?;
    // Ends when the sender goes.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| text(&error))?;
    let status = response.status();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    driver.abort();
    Ok((status, body.map_err(|error| text(&error))?.to_bytes().into()))
}

/// The detail of a problem (RFC 9457); of any other body its beginning.
fn detail(status: StatusCode, body: &[u8]) -> String {
    let problem: Option<serde_json::Value> = serde_json::from_slice(body).ok();
    let detail = problem.as_ref().and_then(|problem| problem.get("detail")?.as_str());
    match detail {
        Some(detail) => detail.to_owned(),
        None => format!("it answers {status}, which is not for `aorta ctl`"),
    }
}
