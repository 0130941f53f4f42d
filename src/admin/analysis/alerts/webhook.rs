//! Posts what is told of alerts: one message after the other, each tried again for about a minute.
//! What waits is bounded, and what there is no room for is counted; nothing waits for the other end
//! but this.
//!
//! Where a secret is set, a message carries `Aorta-Signature: t=SECONDS,v1=HEX`: HMAC-SHA256 of the
//! seconds since the epoch, a dot and the body, under the secret. Over TLS the other end must show
//! a certificate for its name that `alerts.webhook_ca`, or the system, vouches for.

use std::fmt;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, USER_AGENT};
use axum::http::{Method, Request};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::sync::mpsc::Receiver;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::super::super::api::Api;
use super::super::super::plain::one_line;
use crate::config::{AlertRules, Webhook};
use crate::reactor::Clock;

/// Messages that wait.
pub(super) const WAITING_MAX: usize = 64;
/// The longest one try may take.
const TRY_MAX: Duration = Duration::from_secs(10);
/// Waits between tries.
const WAITS_S: [u64; 5] = [1, 2, 4, 8, 16];
/// Longest secret, bytes.
const SECRET_BYTES_MAX: usize = 4096;
/// Where systems keep the certificates they trust.
const SYSTEM_CAS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// What became of messages.
#[derive(Debug, Default)]
pub(in crate::admin) struct Posted {
    pub posted: AtomicU64,
    pub failed: AtomicU64,
    pub shed: AtomicU64,
}

/// Why a webhook cannot be used, or a message was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn refused(what: &str, why: impl fmt::Display) -> Refused {
    Refused(format!("{what}: {why}"))
}

/// Checks what a webhook needs without asking the other end: its secret and certificates.
///
/// # Errors
/// One line with what is wrong.
pub fn check(rules: &AlertRules) -> Result<(), String> {
    let Some(webhook) = &rules.webhook else { return Ok(()) };
    secret(rules.webhook_secret_file.as_deref()).map_err(|error| error.to_string())?;
    if webhook.secure {
        config(rules.webhook_ca.as_deref()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn secret(file: Option<&Path>) -> Result<Option<Vec<u8>>, Refused> {
    let Some(file) = file else { return Ok(None) };
    let what = format!("alerts.webhook_secret_file: {}", file.display());
    if !fs::metadata(file).map_err(|error| refused(&what, error))?.is_file() {
        return Err(refused(&what, "it is no regular file"));
    }
    let mut bytes = Vec::new();
    // With its line end, and a byte more to see that it is too long.
    let bytes_max = SECRET_BYTES_MAX as u64 + 3;
    fs::File::open(file)
        .and_then(|file| file.take(bytes_max).read_to_end(&mut bytes))
        .map_err(|error| refused(&what, error))?;
    let bytes = bytes.trim_ascii_end().to_vec();
    match bytes.len() {
        0 => Err(refused(&what, "there is no secret in it")),
        len if len > SECRET_BYTES_MAX => Err(refused(&what, "it is too long for a secret")),
        _ => Ok(Some(bytes)),
    }
}

fn config(ca: Option<&Path>) -> Result<Arc<ClientConfig>, Refused> {
    let file = match ca {
        Some(file) => file.to_owned(),
        None => SYSTEM_CAS
            .iter()
            .map(PathBuf::from)
            .find(|file| file.exists())
            .ok_or_else(|| refused("alerts.webhook_ca", "the system has no certificates"))?,
    };
    let what = format!("alerts.webhook_ca: {}", file.display());
    let read = CertificateDer::pem_file_iter(&file).map_err(|error| refused(&what, error))?;
    let mut roots = RootCertStore::empty();
    // Bundles of systems have a few that nobody can read.
    let (added, _) = roots.add_parsable_certificates(read.filter_map(Result::ok));
    if added == 0 {
        return Err(refused(&what, "no certificate in it"));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused(&what, error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Posts what comes, for as long as something may come.
pub(super) async fn post(api: Api, mut messages: Receiver<Vec<u8>>) {
    let mut complained = false;
    while let Some(message) = messages.recv().await {
        let rules = api.analysis.terms().analysis.alerts;
        let counts = &api.analysis.alerts.posted;
        match deliver(&rules, message).await {
            Ok(()) => {
                counts.posted.fetch_add(1, Ordering::Relaxed);
                complained = false;
            }
            Err(why) => {
                counts.failed.fetch_add(1, Ordering::Relaxed);
                // Once, until one is taken again.
                if !std::mem::replace(&mut complained, true) {
                    let line = format!("alerts.webhook: an alert was not taken: {why}");
                    (api.told)(&one_line(&line));
                }
            }
        }
    }
}

/// Posts one message, several times if need be.
async fn deliver(rules: &AlertRules, message: Vec<u8>) -> Result<(), Refused> {
    let Some(webhook) = &rules.webhook else { return Ok(()) };
    let (ca, file) = (rules.webhook_ca.clone(), rules.webhook_secret_file.clone());
    let secure = webhook.secure;
    let read = spawn_blocking(move || {
        let config = secure.then(|| config(ca.as_deref())).transpose()?;
        Ok((config, secret(file.as_deref())?))
    });
    let read: Result<_, Refused> = read.await.map_err(|error| refused("reading", error))?;
    let (config, secret) = read?;
    let body = Bytes::from(message);
    let mut waits = WAITS_S.into_iter();
    loop {
        let tried = attempt(webhook, config.clone(), secret.as_deref(), body.clone());
        let done = timeout(TRY_MAX, tried).await;
        let why = match done.unwrap_or_else(|_| Err(refused("no answer", "in time"))) {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        let Some(wait) = waits.next() else { return Err(why) };
        sleep(Duration::from_secs(wait)).await;
    }
}

/// One try.
async fn attempt(
    webhook: &Webhook,
    config: Option<Arc<ClientConfig>>,
    secret: Option<&[u8]>,
    body: Bytes,
) -> Result<(), Refused> {
    let at = webhook.authority();
    let stream = TcpStream::connect((webhook.host.as_str(), webhook.port)).await;
    let stream = stream.map_err(|error| refused(&at, error))?;
    let Some(config) = config else {
        return exchange(TokioIo::new(stream), webhook, secret, body).await;
    };
    let name = ServerName::try_from(webhook.host.clone()).map_err(|error| refused(&at, error))?;
    let stream = TlsConnector::from(config).connect(name, stream).await;
    let stream = stream.map_err(|error| refused(&at, error))?;
    exchange(TokioIo::new(stream), webhook, secret, body).await
}

async fn exchange(
    stream: impl Read + Write + Unpin + Send + 'static,
    webhook: &Webhook,
    secret: Option<&[u8]>,
    body: Bytes,
) -> Result<(), Refused> {
    let at = webhook.authority();
    let mut request = Request::builder()
        .method(Method::POST)
        .uri(webhook.path.as_str())
        .header(HOST, &at)
        .header(USER_AGENT, concat!("Aorta/", env!("CARGO_PKG_VERSION")))
        .header(CONTENT_TYPE, "application/json")
        .header(CONTENT_LENGTH, body.len());
    if let Some(secret) = secret {
        let now_s = Clock::start().now().wall.0;
        request = request.header("aorta-signature", signature(secret, now_s, &body));
    }
    let request = request.body(Full::new(body)).map_err(|error| refused(&at, error))?;
    let shaken = http1::handshake(stream).await;
    let (mut sender, connection) = shaken.map_err(|error| refused(&at, error))?;
    let driver = tokio::spawn(connection);
    let answered = sender.send_request(request).await;
    driver.abort();
    let status = answered.map_err(|error| refused(&at, error))?.status();
    if status.is_success() { Ok(()) } else { Err(refused(&at, format!("it answers {status}"))) }
}

/// `t=SECONDS,v1=HEX`
fn signature(secret: &[u8], now_s: u64, body: &[u8]) -> String {
    use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key};
    let mut context = Context::with_key(&Key::new(HMAC_SHA256, secret));
    context.update(now_s.to_string().as_bytes());
    context.update(b".");
    context.update(body);
    let hex: String = context.sign().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("t={now_s},v1={hex}")
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn the_signature_is_the_hmac_of_time_and_body() {
        // By `printf '1793491200.{}' | openssl dgst -sha256 -hmac key`.
        let expected =
            "t=1793491200,v1=3cff5d2a92c091658790ff7f3ba545ec152604fd40c2543f45322ae81e81953e";
        assert_eq!(signature(b"key", 1_793_491_200, b"{}"), expected);
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
    }

    /// Reads a request with `{}` in its body and answers it; `None` where none comes.
    fn answer(mut stream: impl Read + Write, status: &str) -> Option<String> {
        let (mut text, mut piece) = (String::new(), [0; 4096]);
        while !text.ends_with("{}") {
            match stream.read(&mut piece) {
                Ok(read) if read > 0 => text.push_str(std::str::from_utf8(&piece[..read]).ok()?),
                _ => return None,
            }
        }
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).ok()?;
        stream.flush().ok()?;
        Some(text)
    }

    #[test]
    fn a_message_is_tried_again_until_it_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            ["503 Later", "200 OK"].map(|status| answer(listener.accept().unwrap().0, status))
        });
        let webhook = Webhook::read(&format!("http://127.0.0.1:{port}/hook"));
        let rules = AlertRules { webhook, ..AlertRules::default() };
        assert_eq!(runtime().block_on(deliver(&rules, b"{}".to_vec())), Ok(()));
        let heard = server.join().unwrap().map(|text| text.expect("a request"));
        assert!(heard[1].starts_with("POST /hook HTTP/1.1\r\n"), "{heard:?}");
        assert!(heard[1].contains("content-type: application/json\r\n"), "{heard:?}");
        assert!(!heard[1].contains("aorta-signature"), "there is no secret");
    }

    #[test]
    fn a_certificate_that_nobody_vouches_for_is_not_spoken_to() {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let room = std::env::temp_dir().join(format!("aorta-webhook-{}", std::process::id()));
        fs::create_dir_all(&room).unwrap();
        let (good, wrong) = (room.join("good.pem"), room.join("wrong.pem"));
        fs::write(&good, made.cert.pem()).unwrap();
        fs::write(&wrong, other.cert.pem()).unwrap();
        fs::write(room.join("secret"), "s3cret\n").unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.unwrap())
            .unwrap();
        let (tls, listener) = (Arc::new(tls), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = listener.local_addr().unwrap().port();
        let server = thread::spawn(move || {
            let one = |_| {
                let (stream, _) = listener.accept().unwrap();
                let connection = rustls::ServerConnection::new(Arc::clone(&tls)).unwrap();
                answer(rustls::StreamOwned::new(connection, stream), "204 Taken")
            };
            (0..3).map(one).collect::<Vec<_>>()
        });
        let secret = secret(Some(&room.join("secret"))).unwrap();
        let tried = |ca: &Path, host: &str| {
            let webhook = Webhook { secure: true, host: host.into(), port, path: "/hook".into() };
            let config = Some(config(Some(ca)).unwrap());
            let body = Bytes::from_static(b"{}");
            runtime().block_on(attempt(&webhook, config, secret.as_deref(), body))
        };
        assert!(tried(&wrong, "127.0.0.1").is_err(), "another's certificate, another name");
        assert!(tried(&good, "127.0.0.1").is_err(), "another name");
        assert_eq!(tried(&good, "localhost"), Ok(()));
        let heard = server.join().unwrap();
        assert_eq!((&heard[0], &heard[1]), (&None, &None), "nothing was said to the others");
        assert!(heard[2].as_ref().is_some_and(|text| text.contains("aorta-signature: t=")));
        let _ = fs::remove_dir_all(room);
    }

    #[test]
    fn what_a_webhook_needs_is_checked_before_it_is_needed() {
        let webhook = Webhook::read("https://a.example.com");
        let missing = AlertRules {
            webhook: webhook.clone(),
            webhook_ca: Some("/nowhere/ca.pem".into()),
            ..AlertRules::default()
        };
        assert!(check(&missing).unwrap_err().starts_with("alerts.webhook_ca: /nowhere/ca.pem: "));
        let missing = AlertRules {
            webhook,
            webhook_secret_file: Some("/nowhere/secret".into()),
            ..AlertRules::default()
        };
        assert!(check(&missing).unwrap_err().starts_with("alerts.webhook_secret_file: "));
        assert_eq!(check(&AlertRules::default()), Ok(()));
    }
}
