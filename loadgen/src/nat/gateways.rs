//! The NATs in front of one thread's phones, as a model: which outside address and port stand for
//! a phone, what keeps that pinhole open, what comes through it. A pinhole needs no timer: whether
//! it had closed is found when the next packet meets it. No socket, no clock; what a closed
//! pinhole means for a call is not known here.

use crate::plan::Nanos;
use std::fmt;
use std::net::SocketAddrV4;
use std::str::FromStr;

/// Neighbouring gateways whose phones use the same port, so that bursts leave in one system call.
const NEIGHBOURS: u32 = 64;
const NOBODY: u32 = u32::MAX;

/// What a mapping is for, and who may send to it (RFC 4787 4.1, 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mapping {
    /// Endpoint-independent: whoever sends to the outside address reaches the phone.
    Independent,
    /// Symmetric, address and port-dependent: only whom the phone has sent to reaches it.
    Symmetric,
}

/// What restarts a pinhole's timeout (RFC 4787 4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refresh {
    /// A packet in either direction.
    Both,
    /// Only what the phone sends (REQ-6 without its option).
    Outbound,
}

/// The outside port of a pinhole that is opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ports {
    /// The one it had.
    Keep,
    /// Another one.
    Change,
}

macro_rules! words {
    ($($kind:ident: $($name:ident => $word:literal),+;)+) => {$(
        impl $kind {
            /// As it is given on the command line.
            pub const fn word(self) -> &'static str {
                match self { $($kind::$name => $word,)+ }
            }
        }

        impl FromStr for $kind {
            type Err = ();

            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok($kind::$name),)+ _ => Err(()) }
            }
        }
    )+};
}

words! {
    Mapping: Independent => "independent", Symmetric => "symmetric";
    Refresh: Both => "both", Outbound => "outbound";
    Ports: Keep => "keep", Change => "change";
}

/// How a NAT behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// Who reaches the phone.
    pub mapping: Mapping,
    /// What keeps the pinhole open.
    pub refresh: Refresh,
    /// What follows when it was not.
    pub ports: Ports,
}

impl Kind {
    /// Number of kinds.
    pub const COUNT: usize = 8;

    /// All of them, in the order of `index`.
    pub fn all() -> impl Iterator<Item = Kind> {
        [Mapping::Independent, Mapping::Symmetric].into_iter().flat_map(|mapping| {
            [Refresh::Both, Refresh::Outbound].into_iter().flat_map(move |refresh| {
                [Ports::Keep, Ports::Change].into_iter().map(move |ports| Kind {
                    mapping,
                    refresh,
                    ports,
                })
            })
        })
    }

    /// Its place among all.
    #[inline]
    pub const fn index(self) -> usize {
        (self.mapping as usize) << 2 | (self.refresh as usize) << 1 | self.ports as usize
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.mapping.word(), self.refresh.word(), self.ports.word())
    }
}

/// What a thread's gateways are like.
#[derive(Debug, Clone)]
pub struct Shape {
    /// Kinds that the gateways are in turn; not empty.
    pub kinds: Vec<Kind>,
    /// How long a pinhole stays open without a packet that counts.
    pub timeout: Nanos,
    /// Phones behind one gateway.
    pub phones: u32,
    /// Outside ports of one gateway: more than phones.
    pub ports: u32,
    /// Where the phones send.
    pub remote: SocketAddrV4,
}

impl Shape {
    /// Gateways that this many phones need.
    pub fn gateways(&self, phones: u32) -> u32 {
        phones.div_ceil(self.phones)
    }
}

/// An outside address and port, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outlet {
    /// Number of the gateway, which has one address.
    pub gateway: u32,
    /// Number of the port.
    pub port: u32,
}

/// What an outbound packet did to the phone's pinhole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Passed {
    /// It was open.
    Open,
    /// It is the phone's first.
    First,
    /// It had closed, at that time, and is open again.
    Again(Nanos),
}

/// What became of an inbound packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inbound {
    /// It reached this phone.
    Reached(u32),
    /// This phone's pinhole had closed, at that time.
    Closed(u32, Nanos),
    /// The sender may not use this phone's pinhole.
    Filtered(u32),
    /// Nobody's pinhole.
    Nobody,
}

#[derive(Debug, Clone, Copy)]
struct Pinhole {
    refreshed: Nanos,
    port: u16,
    used: bool,
}

/// The gateways of one thread and the pinholes of its phones.
#[derive(Debug)]
pub struct Gateways {
    shape: Shape,
    count: u32,
    /// By gateway and port: whose it is.
    owners: Vec<u32>,
    pinholes: Vec<Pinhole>,
}

impl Gateways {
    /// The gateways of this many phones; nothing is open.
    pub fn new(shape: Shape, phones: u32) -> Self {
        assert!(!shape.kinds.is_empty() && shape.phones > 0 && shape.ports > shape.phones);
        let count = shape.gateways(phones);
        let pinhole = Pinhole { refreshed: 0, port: 0, used: false };
        Gateways {
            owners: vec![NOBODY; count as usize * shape.ports as usize],
            pinholes: vec![pinhole; phones as usize],
            count,
            shape,
        }
    }

    /// Where the phones send.
    pub fn remote(&self) -> SocketAddrV4 {
        self.shape.remote
    }

    /// How the gateway of a phone behaves.
    #[inline]
    pub fn kind(&self, phone: u32) -> Kind {
        self.kind_of(phone % self.count)
    }

    fn kind_of(&self, gateway: u32) -> Kind {
        self.shape.kinds[gateway as usize % self.shape.kinds.len()]
    }

    /// The outside of a phone's pinhole, open or not.
    pub fn outlet(&self, phone: u32) -> Outlet {
        let port = self.pinholes[phone as usize].port.into();
        Outlet { gateway: phone % self.count, port }
    }

    /// When the pinhole of a phone closes, or has closed; `None` where it never had one.
    pub fn closes_at(&self, phone: u32) -> Option<Nanos> {
        let pinhole = &self.pinholes[phone as usize];
        pinhole.used.then(|| pinhole.refreshed.saturating_add(self.shape.timeout))
    }

    /// A phone sends a packet at `now`; it leaves by `outlet`.
    pub fn outbound(&mut self, phone: u32, now: Nanos) -> Passed {
        let gateway = phone % self.count;
        let passed = match self.closes_at(phone) {
            None => {
                // Within a gateway all are different; among neighbours they are the same.
                let groups = self.shape.ports / self.shape.phones;
                let group = gateway / NEIGHBOURS % groups;
                let first = phone / self.count + group * self.shape.phones;
                self.take(phone, gateway, first);
                Passed::First
            }
            Some(end) if now <= end => Passed::Open,
            Some(end) => {
                let port = u32::from(self.pinholes[phone as usize].port);
                if self.kind_of(gateway).ports == Ports::Change {
                    self.take(phone, gateway, port + 1);
                    *self.owner(gateway, port) = NOBODY;
                }
                Passed::Again(end)
            }
        };
        let pinhole = &mut self.pinholes[phone as usize];
        pinhole.refreshed = pinhole.refreshed.max(now);
        pinhole.used = true;
        passed
    }

    /// Gives a phone the first port from `from` on that is nobody's.
    fn take(&mut self, phone: u32, gateway: u32, from: u32) {
        let ports = self.shape.ports;
        let free = (from..from + ports).map(|port| port % ports);
        let free = free.into_iter().find(|&port| *self.owner(gateway, port) == NOBODY);
        let free = free.expect("a gateway has more ports than phones");
        *self.owner(gateway, free) = phone;
        self.pinholes[phone as usize].port = free as u16;
    }

    fn owner(&mut self, gateway: u32, port: u32) -> &mut u32 {
        &mut self.owners[gateway as usize * self.shape.ports as usize + port as usize]
    }

    /// A packet of `from` comes to an outside address and port at `at`.
    pub fn inbound(&mut self, to: Outlet, from: SocketAddrV4, at: Nanos) -> Inbound {
        if to.gateway >= self.count || to.port >= self.shape.ports {
            return Inbound::Nobody;
        }
        let phone = *self.owner(to.gateway, to.port);
        if phone == NOBODY {
            return Inbound::Nobody;
        }
        let kind = self.kind_of(to.gateway);
        let pinhole = &mut self.pinholes[phone as usize];
        let end = pinhole.refreshed.saturating_add(self.shape.timeout);
        if at > end {
            return Inbound::Closed(phone, end);
        }
        if kind.mapping == Mapping::Symmetric && from != self.shape.remote {
            return Inbound::Filtered(phone);
        }
        if kind.refresh == Refresh::Both {
            pinhole.refreshed = pinhole.refreshed.max(at);
        }
        Inbound::Reached(phone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::SECOND;
    use std::net::Ipv4Addr;

    const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5060);
    const OTHER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 5070);

    fn gateways(kind: Kind, phones: u32) -> Gateways {
        let shape =
            Shape { kinds: vec![kind], timeout: 30 * SECOND, phones: 4, ports: 8, remote: SERVER };
        Gateways::new(shape, phones)
    }

    fn kind(mapping: Mapping, refresh: Refresh, ports: Ports) -> Kind {
        Kind { mapping, refresh, ports }
    }

    #[test]
    fn every_kind_has_a_place_of_its_own() {
        assert!(Kind::all().enumerate().all(|(place, kind)| kind.index() == place));
        assert_eq!(Kind::all().count(), Kind::COUNT);
        for kind in Kind::all() {
            let words = kind.to_string();
            let words: Vec<_> = words.split('/').collect();
            assert_eq!(words[0].parse(), Ok(kind.mapping));
            assert_eq!(words[1].parse(), Ok(kind.refresh));
            assert_eq!(words[2].parse(), Ok(kind.ports));
        }
    }

    #[test]
    fn no_two_phones_share_an_outside_address_and_port() {
        for phones in [1, 3, 4, 5, 1001] {
            let mut gateways =
                gateways(kind(Mapping::Symmetric, Refresh::Both, Ports::Change), phones);
            let mut seen = std::collections::HashSet::new();
            for phone in 0..phones {
                assert_eq!(gateways.outbound(phone, SECOND), Passed::First);
                let outlet = gateways.outlet(phone);
                assert!(seen.insert((outlet.gateway, outlet.port)), "{phone} of {phones}");
                assert_eq!(gateways.inbound(outlet, SERVER, SECOND), Inbound::Reached(phone));
            }
        }
    }

    #[test]
    fn rfc4787_4_3_inbound_packets_keep_a_pinhole_open_only_where_they_may() {
        for refresh in [Refresh::Both, Refresh::Outbound] {
            let mut gateways = gateways(kind(Mapping::Independent, refresh, Ports::Keep), 1);
            gateways.outbound(0, SECOND);
            let outlet = gateways.outlet(0);
            assert_eq!(gateways.inbound(outlet, SERVER, 31 * SECOND), Inbound::Reached(0));
            let later = gateways.inbound(outlet, SERVER, 31 * SECOND + 1);
            match refresh {
                Refresh::Both => assert_eq!(later, Inbound::Reached(0)),
                Refresh::Outbound => assert_eq!(later, Inbound::Closed(0, 31 * SECOND)),
            }
            assert_eq!(
                gateways.outbound(0, 40 * SECOND),
                match refresh {
                    Refresh::Both => Passed::Open,
                    Refresh::Outbound => Passed::Again(31 * SECOND),
                }
            );
        }
    }

    #[test]
    fn rfc4787_5_a_symmetric_nat_lets_nobody_else_in() {
        for mapping in [Mapping::Independent, Mapping::Symmetric] {
            let mut gateways = gateways(kind(mapping, Refresh::Both, Ports::Keep), 1);
            gateways.outbound(0, SECOND);
            let outlet = gateways.outlet(0);
            let expected = match mapping {
                Mapping::Independent => Inbound::Reached(0),
                Mapping::Symmetric => Inbound::Filtered(0),
            };
            assert_eq!(gateways.inbound(outlet, OTHER, 2 * SECOND), expected);
            // What was filtered keeps nothing open.
            let open = gateways.inbound(outlet, SERVER, 32 * SECOND);
            assert_eq!(open == Inbound::Reached(0), mapping == Mapping::Independent);
        }
    }

    #[test]
    fn a_pinhole_that_opens_again_has_another_port_where_ports_change() {
        let mut gateways = gateways(kind(Mapping::Symmetric, Refresh::Both, Ports::Change), 4);
        for phone in 0..4 {
            gateways.outbound(phone, SECOND);
        }
        let before = gateways.outlet(2);
        assert_eq!(gateways.outbound(2, 32 * SECOND), Passed::Again(31 * SECOND));
        let after = gateways.outlet(2);
        assert!(after.gateway == before.gateway && after.port != before.port);
        assert_eq!(gateways.inbound(before, SERVER, 32 * SECOND), Inbound::Nobody);
        assert_eq!(gateways.inbound(after, SERVER, 32 * SECOND), Inbound::Reached(2));
        // Port by port until the first ones come round again, never another phone's.
        for round in 2..40 {
            gateways.outbound(2, round * 40 * SECOND);
            let outlet = gateways.outlet(2);
            assert!([0, 1, 3].iter().all(|&other| gateways.outlet(other) != outlet), "{round}");
        }
    }

    #[test]
    fn what_is_no_outlet_is_nobodys() {
        let mut gateways = gateways(kind(Mapping::Independent, Refresh::Both, Ports::Keep), 1);
        for to in [(0, 0), (0, 7), (0, 8), (1, 0), (u32::MAX, u32::MAX)] {
            let to = Outlet { gateway: to.0, port: to.1 };
            assert_eq!(gateways.inbound(to, SERVER, SECOND), Inbound::Nobody);
        }
    }
}
