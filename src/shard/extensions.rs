//! What the configuration turns on beside RFC 3261 itself, made ready once so that no request pays
//! for it.

use ipnet::IpNet;

use crate::config::{PathMode, Registrar, UserParameters};
use crate::sip::header::option_tag::OptionSet;

/// What is on.
#[derive(Clone, Debug)]
pub(super) struct Extensions {
    /// The option tags that may be required and are supported.
    pub supported: OptionSet,
    /// Their names, as Supported lists them.
    pub supported_text: String,
    /// The methods that are served, as Allow lists them (RFC 3261 20.5).
    pub allow: &'static str,
    /// What is done with Path.
    pub path: PathMode,
    /// Flow-Timer, and what `keep` is answered with, seconds; 0 leaves it to the phone.
    pub flow_timer_s: u32,
    /// `keep` is answered.
    pub keep: bool,
    /// A 200 has a Date.
    pub date: bool,
    /// Requests for users are redirected to their contacts.
    pub redirect: bool,
    /// Registrations can be watched (RFC 3680).
    pub reg_event: bool,
    /// Networks whose hosts may watch every address-of-record.
    pub watchers: Vec<IpNet>,
    /// What a contact that never expires is listed with, seconds: the longest a registration could
    /// have.
    pub static_expires_s: u32,
    /// What is done with parameters inside the user part of an address-of-record.
    pub user_parameters: UserParameters,
    /// The values of Service-Route, in brackets.
    pub service_route: Vec<Vec<u8>>,
}

impl From<&Registrar> for Extensions {
    fn from(config: &Registrar) -> Extensions {
        let tag = |is_on: bool, tag: OptionSet| if is_on { tag } else { OptionSet::NONE };
        let supported = tag(config.path != PathMode::Off, OptionSet::PATH)
            .and(tag(config.outbound, OptionSet::OUTBOUND))
            .and(tag(config.gruu, OptionSet::GRUU));
        Extensions {
            supported,
            supported_text: supported.names().collect::<Vec<_>>().join(", "),
            allow: match (config.redirect, config.reg_event) {
                (true, _) => "REGISTER, OPTIONS, INVITE, ACK, MESSAGE, SUBSCRIBE, REFER, PUBLISH",
                (false, true) => "REGISTER, OPTIONS, SUBSCRIBE",
                (false, false) => "REGISTER, OPTIONS",
            },
            path: config.path,
            flow_timer_s: config.flow_timer_s,
            keep: config.keep,
            date: config.date,
            redirect: config.redirect,
            reg_event: config.reg_event,
            watchers: config.watchers.clone(),
            static_expires_s: config.expires_max_s,
            user_parameters: config.user_parameters,
            service_route: config
                .service_route
                .iter()
                .map(|uri| format!("<{uri}>").into_bytes())
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_lists_what_is_on() {
        let of = |path, outbound, gruu| {
            let config = Registrar { path, outbound, gruu, ..Registrar::default() };
            Extensions::from(&config).supported_text
        };
        assert_eq!(of(PathMode::Lazy, true, true), "path, outbound, gruu");
        assert_eq!(of(PathMode::Strict, false, true), "path, gruu");
        assert_eq!(of(PathMode::Off, true, false), "outbound");
        assert_eq!(of(PathMode::Off, false, false), "");
    }
}
