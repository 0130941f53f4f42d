//! The other end of the interface, for `aorta ctl`: one request at a time, each on a connection of
//! its own, and a bounded answer.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

use axum::http::header::{ACCEPT, AUTHORIZATION, HOST};
use axum::http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Longest answer, bytes: the longest page with every text at its limit is a tenth of it.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Where the interface is, and what opens it.
pub struct Client {
    at: String,
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
    /// One that asks at `at`, `HOST:PORT`.
    ///
    /// # Errors
    /// The system gives it no descriptors.
    pub fn new(at: &str, token: Option<String>) -> std::io::Result<Client> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Client { at: at.to_owned(), token, runtime })
    }

    /// Asks, and returns the body of the answer.
    ///
    /// # Errors
    /// [`ClientError`]; an answer that is no success is one.
    pub fn ask(&self, method: &Method, path_and_query: &str) -> Result<Vec<u8>, ClientError> {
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
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| unreachable(format!("it cannot be asked that way: {error}")))?;
        let asked = self.runtime.block_on(async {
            match timeout(ANSWER_MAX, exchange(&addresses, request)).await {
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

async fn exchange(
    addresses: &[SocketAddr],
    request: Request<Empty<Bytes>>,
) -> Result<(StatusCode, Vec<u8>), String> {
    let text = |error: &dyn fmt::Display| error.to_string();
    let stream = TcpStream::connect(addresses).await.map_err(|error| text(&error))?;
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
