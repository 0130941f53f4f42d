//! What connections obey: TCP, TLS, WebSocket.

use std::path::PathBuf;

use super::words::words;

/// Limits and deadlines of connections, and what TLS and WebSocket need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Streams {
    /// Connections of the whole process, 1-10000000; each reactor takes its share. Default 100000.
    pub connections_max: u32,
    /// Connections from one source address, 1-10000000; an office of many phones is one address.
    /// Default 2000.
    pub connections_per_source_max: u32,
    /// From the accepted connection to the first byte of SIP, the handshakes of TLS and WebSocket
    /// included, seconds, 1-3600. Default 10.
    pub first_byte_timeout_s: u32,
    /// From the accepted connection to a request that passed authentication, seconds, 1-3600.
    /// Default 30.
    pub authentication_timeout_s: u32,
    /// Silence after which a connection is closed, seconds, 10-172800. Longer than a registration,
    /// or the flow of a phone that sends no keepalive ends before its refresh. Default 4000.
    pub idle_timeout_s: u32,
    /// Longest message, bytes, 1300-65535. Default 65535.
    pub message_bytes_max: u32,
    /// Bytes that may wait for a reader who is slow before the connection is closed, bytes,
    /// 65536-16777216. Default 262144.
    pub write_queue_bytes_max: u32,
    /// Certificates.
    pub tls: Tls,
    /// Who may open a WebSocket.
    pub websocket: WebSocket,
}

impl Default for Streams {
    fn default() -> Self {
        Streams {
            connections_max: 100_000,
            connections_per_source_max: 2000,
            first_byte_timeout_s: 10,
            authentication_timeout_s: 30,
            idle_timeout_s: 4000,
            message_bytes_max: 65_535,
            write_queue_bytes_max: 256 << 10,
            tls: Tls::default(),
            websocket: WebSocket::default(),
        }
    }
}

/// What TLS listeners need. Paths that are relative start at the working directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// The server's certificate chain, PEM. Default none: no TLS or WSS listener then.
    pub certificate: Option<PathBuf>,
    /// Its private key, PEM. Default none.
    pub key: Option<PathBuf>,
    /// Certificates of the authorities clients may be signed by, PEM. Default none.
    pub client_ca: Option<PathBuf>,
    /// Whether clients are asked for a certificate. Default [`ClientAuth::Off`].
    pub client_auth: ClientAuth,
}

/// What WebSocket listeners obey (RFC 7118). Any request path is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebSocket {
    /// Origins that may connect (RFC 6455 4.2.2), such as `https://phone.example.com`, in lower
    /// case, at most [`ORIGINS_MAX`](crate::limits::ORIGINS_MAX); empty takes any. Default empty.
    pub origins: Vec<String>,
}

words! {
    /// Whether a TLS client is asked for a certificate.
    pub enum ClientAuth: "off, request or require" {
        /// It is not asked.
        #[default]
        Off = "off",
        /// It is asked; one that has none is served all the same.
        Request = "request",
        /// The handshake fails without one.
        Require = "require",
    }
}
