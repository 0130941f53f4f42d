//! The certificates of TLS listeners at start and reload: what cannot be read is refused before
//! anything has changed.

use std::fs::File;

use super::Failure;
use super::reload::Apply;
use crate::config::{Settings, Tls};

/// Looks whether every file that is named can be opened. Nothing is left to apply.
///
/// # Errors
/// One line with the setting, the file and what the system said.
pub fn prepare(settings: &Settings) -> Result<Apply, Failure> {
    let Tls { certificate, key, client_ca, .. } = &settings.streams.tls;
    let named = [("tls.certificate", certificate), ("tls.key", key), ("tls.client_ca", client_ca)];
    for (setting, path) in named {
        let Some(path) = path else { continue };
        File::open(path).map_err(|error| {
            Failure::new(format!("{setting}: cannot read {}: {error}", path.display()))
        })?;
    }
    Ok(Box::new(|| ()))
}
