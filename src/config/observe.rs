//! What is shown of a running registrar beyond its admin interface: its log, and what traces see,
//! to a collector.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::words::words;

/// Where and how it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observe {
    /// How lines of the log are written. Default [`LogFormat::Text`].
    pub log_format: LogFormat,
    /// The HEP3 collector that traced messages are sent to, by UDP. Default none.
    pub hep: Option<SocketAddr>,
    /// The number it knows this process by. Default 2001.
    pub hep_capture_id: u32,
    /// The file with the password it asks for; a relative path starts at the working directory.
    /// Default none.
    pub hep_password_file: Option<PathBuf>,
    /// Whether it is sent what was dropped or refused for good without a trace too. Default no.
    pub hep_failures: bool,
}

impl Default for Observe {
    fn default() -> Self {
        Observe {
            log_format: LogFormat::default(),
            hep: None,
            hep_capture_id: 2001,
            hep_password_file: None,
            hep_failures: false,
        }
    }
}

words! {
    /// How lines of the log are written.
    pub enum LogFormat: "text or json" {
        /// For people.
        #[default]
        Text = "text",
        /// An object of JSON each.
        Json = "json",
    }
}
