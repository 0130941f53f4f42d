//! A certificate authority, and what it has signed, as files the server reads.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::string::Ia5String;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SanType};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, RootCertStore};

/// An authority and a directory of its files.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    directory: PathBuf,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let directory =
            std::env::temp_dir().join(format!("aorta-streams-{}-{name}", std::process::id()));
        fs::create_dir_all(&directory).expect("a directory");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let own = params.self_signed(&key).expect("a certificate");
        let authority = Authority {
            certificate: own.der().clone(),
            issuer: Issuer::new(params, key),
            directory,
        };
        fs::write(authority.path("ca.pem"), own.pem()).expect("written");
        authority.issue_server();
        authority
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }

    /// Writes a new certificate of the server, in place of the one before.
    pub fn issue_server(&self) -> CertificateDer<'static> {
        let params = CertificateParams::new(vec!["sip.example.com".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &self.issuer).expect("signed");
        fs::write(self.path("server.pem"), signed.pem()).expect("written");
        fs::write(self.path("server.key"), key.serialize_pem()).expect("written");
        signed.der().clone()
    }

    /// Makes the server's certificate unreadable.
    pub fn spoil_server(&self) {
        fs::write(self.path("server.pem"), "nothing").expect("written");
    }

    /// A `--set` for each file, and for what clients are asked.
    pub fn settings(&self, client_auth: &str) -> Vec<String> {
        let file = |key: &str, name: &str| format!("{key}={}", self.path(name).display());
        let mut settings =
            vec![file("tls.certificate", "server.pem"), file("tls.key", "server.key")];
        if client_auth != "off" {
            settings.push(file("tls.client_ca", "ca.pem"));
            settings.push(format!("tls.client_auth={client_auth}"));
        }
        settings.into_iter().flat_map(|set| ["--set".to_owned(), set]).collect()
    }

    /// What a client trusts, and who it is: the SIP URI its certificate names.
    pub fn client(&self, identity: Option<&str>) -> Arc<ClientConfig> {
        self.config(self, identity)
    }

    /// A client that trusts this authority, and whose own certificate is another's.
    pub fn client_signed_by(&self, signer: &Authority, identity: &str) -> Arc<ClientConfig> {
        self.config(signer, Some(identity))
    }

    fn config(&self, signer: &Authority, identity: Option<&str>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("an authority");
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let Some(uri) = identity else { return Arc::new(builder.with_no_client_auth()) };
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(Ia5String::try_from(uri).expect("a URI"))];
        let key = KeyPair::generate().expect("a key");
        let signed = params.signed_by(&key, &signer.issuer).expect("signed");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = builder.with_client_auth_cert(vec![signed.der().clone()], key);
        Arc::new(config.expect("a key that goes with it"))
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        // Best effort: it is a temporary directory.
        let _ = fs::remove_dir_all(&self.directory);
    }
}
