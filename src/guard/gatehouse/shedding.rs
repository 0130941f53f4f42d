//! Who is shed: what a message has shown by its source, and the rules that decide by it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Asked, Guard, LISTED_EVERY};
use crate::config;
use crate::guard::admission::{Admission, Class};
use crate::guard::events::SecurityKind;
use crate::guard::networks::{Networks, Said, Standing};
use crate::guard::strangers::Strangers;

impl Guard {
    /// Who is let in when more comes than can be answered.
    #[inline]
    #[must_use]
    pub fn admission(&self) -> &Admission {
        &self.admission
    }

    /// The same, to tell it what was measured and to ask it.
    #[inline]
    pub fn admission_mut(&mut self) -> &mut Admission {
        &mut self.admission
    }

    /// Which strangers are let in while they take too much time.
    #[inline]
    #[must_use]
    pub fn strangers(&self) -> &Strangers {
        &self.strangers
    }

    /// The same, to tell it what was measured and to ask it.
    #[inline]
    pub fn strangers_mut(&mut self) -> &mut Strangers {
        &mut self.strangers
    }

    /// Whether `source` is nobody's: no account has proved itself from it lately, none is let in
    /// from there without a digest, no network of it is trusted or has a limit of its own, and
    /// limits hold for it at all.
    #[must_use]
    pub fn is_stranger(&self, source: IpAddr) -> bool {
        !self.is_exempt(source)
            && !self.is_proven(source)
            && !self.needs_no_digest(source)
            && self.networks.of(source.to_canonical()).limit.is_none()
    }

    /// The networks from which some account is let in without a digest.
    pub fn let_in_from(&mut self, networks: &[IpNet]) {
        let said = |&net: &_| Said { net, standing: Some(Standing::Trusted), limit: None };
        self.let_in_from = Networks::new(&networks.iter().map(said).collect::<Vec<_>>());
    }

    /// Whether some account is let in from `source` without a digest.
    #[must_use]
    pub fn needs_no_digest(&self, source: IpAddr) -> bool {
        self.let_in_from.of(source.to_canonical()).standing == Standing::Trusted
    }

    /// What a message has shown by its source alone.
    #[must_use]
    pub fn class_of(&self, source: IpAddr, asked: Asked) -> Class {
        let proven = asked == Asked::Register && self.is_proven(source);
        if proven || self.is_trusted(source) { Class::Known } else { Class::Newcomer }
    }

    /// A message was shed.
    #[cold]
    pub fn shed(&mut self, source: IpAddr) {
        self.journal.count(SecurityKind::Overload);
        if self.journal.counted(SecurityKind::Overload) % LISTED_EVERY == 1 {
            // It is counted already.
            self.journal.list(self.wall, SecurityKind::Overload, source, b"", b"");
        }
    }
}

/// Percent.
pub(super) fn time_of_strangers(config: &config::Guard) -> u32 {
    if config.overload.admission { config.overload.strangers_percent } else { 100 }
}
