//! The certificates of TLS listeners at start and reload: what cannot be used is refused before
//! anything has changed.

use super::Failure;
use super::reload::Prepare;
use crate::config::Settings;
use crate::reactor::{CertificateSlots, Certificates};

/// What TLS listeners present, where there are any, or where it is named all the same.
///
/// # Errors
/// One line with the setting, the file and what is wrong with it.
pub fn load(settings: &Settings) -> Result<Option<Certificates>, Failure> {
    let secure = settings.serve.listen.iter().any(|listen| listen.transport.is_secure());
    let tls = &settings.streams.tls;
    if !secure && tls.certificate.is_none() && tls.key.is_none() {
        return Ok(None);
    }
    let loaded = Certificates::load(tls);
    loaded.map(Some).map_err(|error| Failure::new(error.to_string()))
}

/// Reads them again at each reload; handshakes that begin from then on are served with them.
pub fn prepare(slots: CertificateSlots) -> Prepare {
    Box::new(move |settings| {
        let loaded = load(settings)?;
        let slots = slots.clone();
        Ok(Box::new(move || {
            if let Some(certificates) = loaded {
                slots.replace(&certificates);
            }
        }))
    })
}
