//! What a run behind NATs is to do, as plain values.

use super::gateways::{Kind, Mapping, Ports, Refresh, Shape};
use crate::options::{Error, Options, Pace};
use crate::plan::Nanos;
use crate::scenarios::Scenario;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::time::Duration;

/// Most phones: each takes about 400 bytes, its passwords and challenge included.
pub const PHONES_MAX: u32 = 2_000_000;
/// Longest time that is measured: each 10 ms has a counter of its own.
const SECONDS_MAX: u64 = 86_400;
/// The first address of loopback that stands for a NAT.
const LOOPBACK_FIRST: u32 = 0x7f01_0000;

/// One of two, or both in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice<T> {
    /// All gateways are of this one.
    Only(T),
    /// Gateways are of both in turn.
    Mixed,
}

impl<T: PartialEq> Choice<T> {
    fn has(&self, one: &T) -> bool {
        match self {
            Choice::Only(only) => only == one,
            Choice::Mixed => true,
        }
    }
}

/// Everything a run behind NATs needs to know beside what every run does. Start from
/// `NatOptions::new` and change what differs.
#[derive(Debug, Clone)]
pub struct NatOptions {
    /// What every run needs; its scenario, devices and weights have no meaning here.
    pub run: Options,
    /// How long a pinhole stays open without a packet that counts.
    pub timeout: Duration,
    /// The server's keepalive period: what no pinhole should go longer without a packet.
    pub period: Duration,
    /// Who reaches a phone.
    pub mapping: Choice<Mapping>,
    /// What keeps a pinhole open.
    pub refresh: Choice<Refresh>,
    /// What port follows.
    pub ports: Choice<Ports>,
    /// Phones behind one NAT.
    pub phones: u32,
    /// Whether phones answer OPTIONS.
    pub answer: bool,
}

impl NatOptions {
    /// The defaults: both mappings, refreshed by both directions, ports that change, 8 phones
    /// behind a NAT; pinholes close after 32 s where the server's period is 30 s.
    pub fn new(target: SocketAddr, roster: crate::Roster) -> Self {
        let mut run = Options::new(Scenario::REGISTER, target, roster);
        run.duration = Duration::from_secs(70);
        run.offload = false;
        NatOptions {
            run,
            timeout: Duration::from_secs(32),
            period: Duration::from_secs(30),
            mapping: Choice::Mixed,
            refresh: Choice::Only(Refresh::Both),
            ports: Choice::Only(Ports::Change),
            phones: 8,
            answer: true,
        }
    }

    /// The kinds of NAT there are.
    pub fn kinds(&self) -> Vec<Kind> {
        let wanted = |kind: &Kind| {
            self.mapping.has(&kind.mapping)
                && self.refresh.has(&kind.refresh)
                && self.ports.has(&kind.ports)
        };
        Kind::all().filter(wanted).collect()
    }

    /// The target, where it is one that a run behind NATs can have.
    pub fn remote(&self) -> Result<SocketAddrV4, Error> {
        match self.run.target {
            SocketAddr::V4(target) => Ok(target),
            SocketAddr::V6(target) => Err(Error::Option(format!(
                "nat models IPv4 NATs: the target {target} is not of IPv4"
            ))),
        }
    }

    /// Phones of the thread that has most.
    fn phones_of_thread(&self) -> u32 {
        self.run.roster.len().div_ceil(self.run.threads.max(1) as u32)
    }

    /// What the gateways of a thread are like.
    pub(super) fn shape(&self, remote: SocketAddrV4) -> Shape {
        Shape {
            kinds: self.kinds(),
            timeout: Nanos::try_from(self.timeout.as_nanos()).unwrap_or(Nanos::MAX / 4),
            phones: self.phones,
            ports: self.run.sockets as u32,
            remote,
        }
    }

    /// The outside addresses of the gateways.
    pub(super) fn addresses(&self) -> Result<Addresses, Error> {
        let remote = self.remote()?;
        let gateways = self.phones_of_thread().div_ceil(self.phones);
        if !self.run.sources.is_empty() {
            let mut all = Vec::with_capacity(self.run.sources.len());
            for source in &self.run.sources {
                match source {
                    std::net::IpAddr::V4(address) => all.push(u32::from(*address)),
                    std::net::IpAddr::V6(address) => {
                        return Err(Error::Option(format!("source {address} is not of IPv4")));
                    }
                }
            }
            all.sort_unstable();
            all.dedup();
            if all.len() < gateways as usize {
                return Err(Error::Option(format!(
                    "{} source addresses for {gateways} NATs: name more with --source, or put more \
                     than {} phones behind one",
                    all.len(),
                    self.phones
                )));
            }
            all.truncate(gateways as usize);
            return Ok(Addresses::Listed(all));
        }
        if !remote.ip().is_loopback() {
            return Err(Error::Option(format!(
                "the target {remote} is not on loopback: name the {gateways} addresses of the \
                 NATs with --source"
            )));
        }
        Ok(Addresses::Loopback(gateways))
    }

    /// Refuses what cannot be run, with the range that can.
    pub fn check(&self) -> Result<(), Error> {
        self.run.check()?;
        self.remote()?;
        let wrong = |why: String| Err(Error::Option(why));
        let users = self.run.roster.len();
        if users > PHONES_MAX {
            return wrong(format!("{users} phones behind NATs: at most {PHONES_MAX}"));
        }
        if self.phones == 0 || self.phones as usize >= self.run.sockets {
            return wrong(format!(
                "{} phones behind a NAT of {} ports: 1 to {}, or more --sockets",
                self.phones,
                self.run.sockets,
                self.run.sockets - 1
            ));
        }
        if self.run.sockets > usize::from(u16::MAX) {
            return wrong(format!("{} ports of a NAT: at most {}", self.run.sockets, u16::MAX));
        }
        for (what, value) in [("NAT timeout", self.timeout), ("period", self.period)] {
            if value < Duration::from_millis(10) || value > Duration::from_secs(86_400) {
                return wrong(format!("a {what} of {value:?}: 10 ms to a day"));
            }
        }
        if self.run.duration > Duration::from_secs(SECONDS_MAX) {
            return wrong(format!("nat measures at most {SECONDS_MAX} s"));
        }
        if let Pace::Rate(rate) = self.run.pace
            && f64::from(users) / rate > 86_400.0
        {
            return wrong(format!("at {rate} a second {users} phones take more than a day"));
        }
        self.addresses().map(|_| ())
    }
}

/// The outside addresses of the gateways, by number; all threads use the same, on ports of their
/// own.
#[derive(Debug, Clone)]
pub(super) enum Addresses {
    /// So many from 127.1.0.0 on.
    Loopback(u32),
    /// These, in order.
    Listed(Vec<u32>),
}

impl Addresses {
    pub(super) fn address(&self, gateway: u32) -> Ipv4Addr {
        match self {
            Addresses::Loopback(_) => Ipv4Addr::from(LOOPBACK_FIRST + gateway),
            Addresses::Listed(all) => Ipv4Addr::from(all[gateway as usize]),
        }
    }

    pub(super) fn gateway(&self, address: Ipv4Addr) -> Option<u32> {
        let address = u32::from(address);
        match self {
            Addresses::Loopback(count) => {
                address.checked_sub(LOOPBACK_FIRST).filter(|gateway| gateway < count)
            }
            Addresses::Listed(all) => all.binary_search(&address).ok().map(|place| place as u32),
        }
    }

    /// The first and the last.
    pub(super) fn ends(&self) -> [Ipv4Addr; 2] {
        let count = match self {
            Addresses::Loopback(count) => *count,
            Addresses::Listed(all) => all.len() as u32,
        };
        [self.address(0), self.address(count.saturating_sub(1))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Roster;

    fn options(target: &str, users: u32) -> NatOptions {
        let roster = Roster::numbered("u{n}", "p{n}", "example.com", 1, users).unwrap();
        NatOptions::new(target.parse().unwrap(), roster)
    }

    #[test]
    fn kinds_are_what_was_chosen() {
        let mut options = options("127.0.0.1:5060", 10);
        let kinds = |options: &NatOptions| -> Vec<String> {
            options.kinds().iter().map(ToString::to_string).collect()
        };
        assert_eq!(kinds(&options), ["independent/both/change", "symmetric/both/change"]);
        options.mapping = Choice::Only(Mapping::Symmetric);
        options.refresh = Choice::Mixed;
        options.ports = Choice::Only(Ports::Keep);
        assert_eq!(kinds(&options), ["symmetric/both/keep", "symmetric/outbound/keep"]);
    }

    #[test]
    fn addresses_go_both_ways_and_foreign_ones_are_nobodys() {
        let mut options = options("127.0.0.1:5060", 4001);
        let loopback = options.addresses().unwrap();
        assert_eq!(loopback.ends(), [Ipv4Addr::new(127, 1, 0, 0), Ipv4Addr::new(127, 1, 1, 244)]);
        options.run.sources = ["127.0.0.9", "127.0.0.3"].map(|one| one.parse().unwrap()).into();
        assert!(options.addresses().is_err(), "two addresses for 501 NATs");
        options.phones = 4000;
        options.run.sockets = 4001;
        let listed = options.addresses().unwrap();
        for (addresses, count) in [(loopback, 501), (listed, 2)] {
            for gateway in 0..count {
                assert_eq!(addresses.gateway(addresses.address(gateway)), Some(gateway));
            }
            assert_eq!(addresses.gateway(Ipv4Addr::new(127, 1, 9, 0)), None);
            assert_eq!(addresses.gateway(Ipv4Addr::new(10, 0, 0, 1)), None);
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        assert!(options("127.0.0.1:5060", 10).check().is_ok());
        type Change = fn(&mut NatOptions);
        let changes: [Change; 8] = [
            |options| options.run.target = "[::1]:5060".parse().unwrap(),
            |options| options.run.target = "192.0.2.1:5060".parse().unwrap(),
            |options| options.phones = 0,
            |options| options.phones = 32,
            |options| options.timeout = Duration::ZERO,
            |options| options.period = Duration::from_secs(86_401),
            |options| options.run.duration = Duration::from_secs(86_401),
            |options| options.run.pace = Pace::Rate(0.0001),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            let mut options = options("127.0.0.1:5060", 10);
            change(&mut options);
            assert!(matches!(options.check(), Err(Error::Option(_))), "{number}");
        }
    }
}
