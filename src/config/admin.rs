//! Who may reach the admin interface, how long a login lasts, and what is kept of it. Where it
//! listens is [`Serve`](super::Serve)'s.

use std::path::PathBuf;

use ipnet::IpNet;

/// What the admin interface obeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Networks that may reach it beside this host, at most 64; empty is all of them. Default
    /// empty.
    pub allow: Vec<IpNet>,
    /// The certificate chain it shows, PEM; a relative path starts at the working directory.
    /// Default none: plain HTTP.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM. Default none.
    pub key: Option<PathBuf>,
    /// A session without a request ends after so many seconds, 60-86400. Default 1800.
    pub session_idle_s: u32,
    /// Any session ends after so many seconds, 300-604800. Default 43200.
    pub session_max_s: u32,
    /// Characters of the shortest password that is taken, 8-128. Default 12.
    pub password_min: u32,
    /// Wrong passwords for one name from one source before it waits, 1-100. Default 5.
    pub login_failures: u32,
    /// The size of an audit file before the next is begun, bytes, 65536-134217728. Default 10 MiB.
    pub audit_bytes: u32,
    /// How many full audit files are kept, 1-1000. Default 20.
    pub audit_files: u16,
}

impl Default for Admin {
    fn default() -> Self {
        Admin {
            allow: Vec::new(),
            certificate: None,
            key: None,
            session_idle_s: 1800,
            session_max_s: 43_200,
            password_min: 12,
            login_failures: 5,
            audit_bytes: 10 << 20,
            audit_files: 20,
        }
    }
}
