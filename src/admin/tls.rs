//! The certificate the interface shows, read from files. Read anew it is a new value, which
//! connections that come later are shown; those that are open keep theirs.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Everything handshakes need, ready for use. Cheap to clone.
#[derive(Clone)]
pub struct Certificate(pub(super) Arc<ServerConfig>);

/// Without what would help anybody.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

impl Certificate {
    /// Reads a chain and its key, PEM, and checks that they go together.
    ///
    /// # Errors
    /// One line with the setting, the file and what is wrong with it.
    pub fn load(certificate: &Path, key: &Path) -> Result<Certificate, String> {
        let refused = |setting: &str, file: &Path, what: &dyn fmt::Display| {
            format!("{setting}: cannot use {}: {what}", file.display())
        };
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .and_then(
                |chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) },
            )
            .map_err(|error| {
                let what = format!("expected certificates in PEM that this user may read: {error}");
                refused("admin.certificate", certificate, &what)
            })?;
        let private = PrivateKeyDer::from_pem_file(key).map_err(|error| {
            let what = format!("expected one private key in PEM that this user may read: {error}");
            refused("admin.key", key, &what)
        })?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, private));
        let mut config = config.map_err(|error| {
            let what = format!("{error}; it must be that of {}", certificate.display());
            refused("admin.key", key, &what)
        })?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Certificate(Arc::new(config)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_used_is_named_with_its_setting() {
        let nowhere = Path::new("nowhere/c.pem");
        let line = Certificate::load(nowhere, nowhere).unwrap_err();
        assert!(line.starts_with("admin.certificate: cannot use nowhere/c.pem: "), "{line}");
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let line = Certificate::load(&file, &file).unwrap_err();
        assert!(line.contains("expected certificates in PEM"), "{line}");
    }
}
