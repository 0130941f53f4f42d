//! What is done about phones behind network address translation: how one is known, and how its
//! pinhole is kept open.

use std::fmt;

use super::words::words;

/// How phones behind NAT are known and kept reachable. Per network
/// ([`Network`](super::Network)) and per account ([`AccountPolicy`](super::AccountPolicy)) other
/// words may hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Nat {
    /// Which signs of a REGISTER speak for NAT. Default contact, private_contact and via.
    pub tests: NatTests,
    /// SS_SIP_NAT_KEEP_ALIVE_MESSAGE: what is sent to a phone behind NAT so that its pinhole stays
    /// open. Default the text `HELLO`.
    pub message: KeepaliveMessage,
    /// How often, and how many at a time.
    pub pace: KeepalivePace,
}

/// When keepalives are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepalivePace {
    /// SS_SIP_NAT_KEEP_ALIVE_PERIOD: no pinhole goes longer than this without a packet, seconds,
    /// 10-86400 and below `Registrar::nat_expires_max_s`. Default 30.
    pub period_s: u32,
    /// SS_SIP_NAT_KEEP_ALIVE_SEND_ONE_TIME: messages of the whole process within one
    /// `send_interval_ms`, 1-10000. Where that could not cover everybody within the period, the
    /// pace rises. Default 3000.
    pub send_one_time: u32,
    /// SS_SIP_NAT_KEEP_ALIVE_SEND_INTERVAL: milliseconds, 1-10000. Default 500.
    pub send_interval_ms: u32,
}

impl Default for KeepalivePace {
    fn default() -> Self {
        KeepalivePace { period_s: 30, send_one_time: 3000, send_interval_ms: 500 }
    }
}

/// A set of signs that speak for NAT. A phone is behind NAT if one of those in the set is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatTests {
    /// A Contact names an address that is not the source.
    pub contact: bool,
    /// A Contact names a private address, and the source is not private.
    pub private_contact: bool,
    /// A Contact names the source with another port.
    pub contact_port: bool,
    /// The Via asks for `rport` and names an address that is not the source.
    pub via: bool,
    /// The Via asks for `rport` and names the source with another port.
    pub via_port: bool,
    /// The Via asks for `rport` (RFC 3581 3: clients do that where NAT is possible).
    pub rport: bool,
}

impl NatTests {
    /// No sign at all: nobody is behind NAT unless a network or an account says so.
    pub const NONE: NatTests = NatTests {
        contact: false,
        private_contact: false,
        contact_port: false,
        via: false,
        via_port: false,
        rport: false,
    };

    /// The names of all signs, in the order they print.
    pub const NAMES: [&'static str; 6] =
        ["contact", "private_contact", "contact_port", "via", "via_port", "rport"];

    /// The sign of that name, in any case.
    pub(super) fn sign_mut(&mut self, name: &str) -> Option<&mut bool> {
        let at = NatTests::NAMES.iter().position(|known| name.eq_ignore_ascii_case(known))?;
        let NatTests { contact, private_contact, contact_port, via, via_port, rport } = self;
        [contact, private_contact, contact_port, via, via_port, rport].into_iter().nth(at)
    }
}

impl Default for NatTests {
    fn default() -> Self {
        NatTests { contact: true, private_contact: true, via: true, ..NatTests::NONE }
    }
}

impl fmt::Display for NatTests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let &NatTests { contact, private_contact, contact_port, via, via_port, rport } = self;
        let set = [contact, private_contact, contact_port, via, via_port, rport];
        let names = NatTests::NAMES.iter().zip(set).filter(|(_, is_in)| *is_in);
        let names: Vec<&str> = names.map(|(name, _)| *name).collect();
        f.write_str(&names.join(", "))
    }
}

/// What keeps a pinhole open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeepaliveMessage {
    /// Nothing is sent.
    Off,
    /// This payload, 1 to [`KEEPALIVE_BYTES_MAX`](crate::limits::KEEPALIVE_BYTES_MAX) bytes.
    Raw(Box<[u8]>),
    /// An empty line.
    Crlf,
    /// A STUN binding indication (RFC 5389 3), which nobody answers.
    Stun,
    /// An OPTIONS, whose answer comes from inside.
    Options,
}

impl KeepaliveMessage {
    /// The payload of raw keepalives unless another is set.
    pub const PAYLOAD: &'static [u8] = b"HELLO";

    /// Its form.
    #[must_use]
    pub const fn form(&self) -> KeepaliveForm {
        match self {
            KeepaliveMessage::Off => KeepaliveForm::Off,
            KeepaliveMessage::Raw(_) => KeepaliveForm::Raw,
            KeepaliveMessage::Crlf => KeepaliveForm::Crlf,
            KeepaliveMessage::Stun => KeepaliveForm::Stun,
            KeepaliveMessage::Options => KeepaliveForm::Options,
        }
    }

    /// What a raw keepalive says, also where this is none and a network or an account asks for one.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        match self {
            KeepaliveMessage::Raw(payload) => payload,
            _ => KeepaliveMessage::PAYLOAD,
        }
    }
}

impl Default for KeepaliveMessage {
    fn default() -> Self {
        KeepaliveMessage::Raw(KeepaliveMessage::PAYLOAD.into())
    }
}

impl fmt::Display for KeepaliveMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeepaliveMessage::Off => Ok(()),
            KeepaliveMessage::Raw(payload) => f.write_str(&String::from_utf8_lossy(payload)),
            other => f.write_str(other.form().word()),
        }
    }
}

words! {
    /// What a keepalive is, without its payload. `Default` is [`KeepaliveForm::Off`].
    pub enum KeepaliveForm: "off, raw, CRLF, STUN or OPTIONS" {
        /// There is none.
        #[default]
        Off = "off",
        /// A payload without meaning.
        Raw = "raw",
        /// An empty line.
        Crlf = "CRLF",
        /// A STUN binding indication.
        Stun = "STUN",
        /// An OPTIONS.
        Options = "OPTIONS",
    }
}

impl KeepaliveForm {
    /// What is read where one may also say nothing, for refusals and tables.
    pub const EXPECTED_OR_DEFAULT: &'static str = "default, off, raw, CRLF, STUN or OPTIONS";

    /// `default` says nothing, and gives `Some(None)`; `None` for any text that is no word.
    #[must_use]
    pub fn from_word_or_default(text: &str) -> Option<Option<KeepaliveForm>> {
        if text.eq_ignore_ascii_case("default") {
            return Some(None);
        }
        KeepaliveForm::from_word(text).map(Some)
    }
}

words! {
    /// Whether phones are behind NAT, where that is said beforehand.
    pub enum NatOverride: "auto, always or never" {
        /// As the signs of the REGISTER show.
        #[default]
        Auto = "auto",
        /// They are, whatever the signs.
        Always = "always",
        /// They are not, whatever the signs.
        Never = "never",
    }
}

impl NatOverride {
    /// What is read where one may also say nothing, for refusals and tables.
    pub const EXPECTED_OR_DEFAULT: &'static str = "default, auto, always or never";

    /// `default` says nothing, and gives `Some(None)`; `None` for any text that is no word.
    #[must_use]
    pub fn from_word_or_default(text: &str) -> Option<Option<NatOverride>> {
        if text.eq_ignore_ascii_case("default") {
            return Some(None);
        }
        NatOverride::from_word(text).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sign_is_found_by_its_name_and_prints_as_it() {
        for name in NatTests::NAMES {
            let mut tests = NatTests::NONE;
            *tests.sign_mut(&name.to_uppercase()).unwrap() = true;
            assert_eq!(tests.to_string(), name);
            assert_ne!(tests, NatTests::NONE);
        }
        assert!(NatTests::NONE.clone().sign_mut("cotact").is_none());
        assert_eq!(NatTests::NONE.to_string(), "");
    }

    #[test]
    fn a_raw_form_has_a_payload_whatever_the_message_is() {
        assert_eq!(KeepaliveMessage::Off.payload(), b"HELLO");
        assert_eq!(KeepaliveMessage::Raw((*b"x").into()).payload(), b"x");
        assert_eq!(KeepaliveForm::from_word_or_default("Default"), Some(None));
        let stun = Some(Some(KeepaliveForm::Stun));
        assert_eq!(KeepaliveForm::from_word_or_default("stun"), stun);
        assert_eq!(KeepaliveForm::from_word_or_default(""), None);
    }
}
