//! What TLS listeners present and demand, read from files. Read anew it is a new value, which
//! connections that come later use; those that are open keep theirs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::{ClientAuth, Tls};

/// Why the certificates cannot be used: one line, with the file and the remedy.
#[derive(Debug)]
pub struct TlsError {
    /// The setting that names the file, or lacks one.
    key: &'static str,
    file: Option<PathBuf>,
    what: String,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => {
                write!(f, "{}: cannot read {}: {}", self.key, file.display(), self.what)
            }
            None => write!(f, "{}: {}", self.key, self.what),
        }
    }
}

impl std::error::Error for TlsError {}

const CERTIFICATE: &str = "tls.certificate";
const KEY: &str = "tls.key";
const CLIENT_CA: &str = "tls.client_ca";

/// Everything handshakes need, ready for use. Cheap to clone.
#[derive(Clone)]
pub struct Certificates {
    /// For SIP straight over TLS.
    pub(in super::super) sip: Arc<ServerConfig>,
    /// For WebSocket, which is HTTP until it is upgraded.
    pub(in super::super) web: Arc<ServerConfig>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificates { .. }")
    }
}

impl Certificates {
    /// Reads the files of `settings` and checks that they go together.
    ///
    /// # Errors
    /// [`TlsError`]; what was in use stays so.
    pub fn load(settings: &Tls) -> Result<Certificates, TlsError> {
        let missing = |key, what: &str| TlsError { key, file: None, what: what.into() };
        let (Some(certificate), Some(key)) = (&settings.certificate, &settings.key) else {
            let key = if settings.certificate.is_none() { CERTIFICATE } else { KEY };
            return Err(missing(
                key,
                "TLS needs a certificate and its key; name both as PEM files",
            ));
        };
        let chain = read_certificates(CERTIFICATE, certificate)?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            let hint = "expected one private key in PEM that this user may read";
            refused(KEY, key, &error, hint)
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| missing(CERTIFICATE, &error.to_string()))?;
        let builder = match settings.client_auth {
            ClientAuth::Off => builder.with_no_client_auth(),
            asked => {
                let Some(file) = &settings.client_ca else {
                    return Err(missing(
                        CLIENT_CA,
                        "client certificates are asked for, but no authority is named that could \
                         have signed them",
                    ));
                };
                let mut roots = RootCertStore::empty();
                for authority in read_certificates(CLIENT_CA, file)? {
                    roots.add(authority).map_err(|error| TlsError {
                        key: CLIENT_CA,
                        file: Some(file.clone()),
                        what: format!("no certificate of an authority: {error}"),
                    })?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                let verifier = match asked {
                    ClientAuth::Require => verifier,
                    _ => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| TlsError {
                    key: CLIENT_CA,
                    file: Some(file.clone()),
                    what: error.to_string(),
                })?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut sip = builder.with_single_cert(chain, private).map_err(|error| TlsError {
            key: KEY,
            file: Some(key.clone()),
            what: format!("{error}; it must be that of {}", certificate.display()),
        })?;
        // A storm of phones that come back resumes without a signature each, on any reactor.
        sip.ticketer = aws_lc_rs::Ticketer::new()
            .map_err(|error| missing(CERTIFICATE, &format!("no session tickets: {error}")))?;
        sip.send_tls13_tickets = 1;
        let mut web = sip.clone();
        web.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Certificates { sip: Arc::new(sip), web: Arc::new(web) })
    }
}

fn read_certificates(
    key: &'static str,
    file: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let hint = "expected certificates in PEM that this user may read";
    let read = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| refused(key, file, &error, hint))?;
    if read.is_empty() {
        return Err(refused(key, file, &pem::Error::NoItemsFound, hint));
    }
    Ok(read)
}

fn refused(key: &'static str, file: &Path, error: &pem::Error, hint: &str) -> TlsError {
    let what = match error {
        pem::Error::Io(error) => format!("{error}; {hint}"),
        pem::Error::NoItemsFound => format!("nothing of the kind in it; {hint}"),
        other => format!("{other:?}; {hint}"),
    };
    TlsError { key, file: Some(file.into()), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(certificate: &str, key: &str) -> Tls {
        let path = |name: &str| (!name.is_empty()).then(|| PathBuf::from(name));
        Tls { certificate: path(certificate), key: path(key), ..Tls::default() }
    }

    #[test]
    fn what_is_missing_is_named() {
        let line = |tls: Tls| Certificates::load(&tls).unwrap_err().to_string();
        assert!(line(settings("", "k.pem")).starts_with("tls.certificate: "));
        assert!(line(settings("c.pem", "")).starts_with("tls.key: "));
        let line = line(settings("/nowhere/c.pem", "/nowhere/k.pem"));
        assert!(line.starts_with("tls.certificate: cannot read /nowhere/c.pem: No such file"));
    }

    #[test]
    fn a_file_of_something_else_is_refused() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let line = Certificates::load(&settings(file, file)).unwrap_err().to_string();
        assert!(line.contains("nothing of the kind in it"), "{line}");
    }
}
