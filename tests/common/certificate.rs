//! The certificate of a server under test, made for the run, and clients that trust it and nothing
//! else. No key is ever in the repository.
#![allow(dead_code, reason = "each test binary uses its own part of this module")]

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

/// A self-signed certificate for the domain and for loopback, and its key, as files.
#[derive(Clone)]
pub struct Certificate {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// For clients that trust it.
    pub config: Arc<ClientConfig>,
}

impl Certificate {
    /// Makes one in `dir`.
    pub fn make(dir: &Path) -> Certificate {
        let names = ["example.com", "sip.example.com", "localhost", "127.0.0.1", "::1"];
        let made = rcgen::generate_simple_self_signed(names.map(String::from)).expect("a key pair");
        fs::create_dir_all(dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
        let (certificate, key) = (dir.join("certificate.pem"), dir.join("key.pem"));
        fs::write(&certificate, made.cert.pem()).expect("the folder is ours");
        fs::write(&key, made.signing_key.serialize_pem()).expect("the folder is ours");
        let mut roots = RootCertStore::empty();
        let der = rustls::pki_types::CertificateDer::from_pem_slice(made.cert.pem().as_bytes());
        roots.add(der.expect("as it was written")).expect("a certificate");
        let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Certificate { certificate, key, config: Arc::new(config) }
    }

    /// One in a folder of its own below the build's.
    pub fn for_test(name: &str) -> Certificate {
        let dir = format!("certificate-{name}-{}", std::process::id());
        Certificate::make(&Path::new(env!("CARGO_TARGET_TMPDIR")).join(dir))
    }

    /// What a server is told about it.
    pub fn settings(&self) -> [String; 2] {
        [
            format!("tls.certificate={}", self.certificate.display()),
            format!("tls.key={}", self.key.display()),
        ]
    }

    /// A client's session towards a server at that address; the address is what is verified.
    pub fn client(&self, ip: IpAddr) -> ClientConnection {
        let name = ServerName::IpAddress(ip.into());
        ClientConnection::new(self.config.clone(), name).expect("a client")
    }
}
