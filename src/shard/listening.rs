//! The addresses this process takes datagrams at, as its own requests name them.

use std::net::SocketAddr;

use arrayvec::ArrayVec;

use crate::flow::Flow;
use crate::limits::AOR_BYTES_MAX;
use crate::sip::writer::{Full, Writer};

/// Host and port of a Via of ours.
pub(super) type SentBy = ArrayVec<u8, SENT_BY_BYTES_MAX>;

/// A domain with a port, or an address with one.
const SENT_BY_BYTES_MAX: usize = AOR_BYTES_MAX + 8;

/// The UDP addresses, by the number of their listener. Empty as long as nobody has said.
#[derive(Clone, Debug, Default)]
pub(super) struct Listening(Vec<SocketAddr>);

impl Listening {
    /// These, with their ports resolved.
    pub fn new(addresses: Vec<SocketAddr>) -> Listening {
        Listening(addresses)
    }

    /// Them all, by the number of their listener.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.0
    }

    /// What the Via of a request names that leaves by `flow`: where its answer goes if the other
    /// side does without `rport` (RFC 3261 18.2.2). A connection has its own way back, and an
    /// address that is not known is not named: then the domain of the address-of-record stands
    /// there.
    pub fn sent_by(&self, flow: &Flow, aor: &[u8]) -> SentBy {
        let domain = aor.rsplit(|&byte| byte == b'@').next().unwrap_or(aor);
        let mut buffer = [0; SENT_BY_BYTES_MAX];
        let mut out = Writer::new(&mut buffer);
        let written = match *flow {
            Flow::Connection { .. } => out.put(domain),
            Flow::Datagram { listener, local_ip } => self.put(listener, local_ip, domain, &mut out),
        };
        let mut sent_by = SentBy::new();
        if written.is_ok() {
            sent_by.extend(out.written().iter().copied());
        }
        sent_by
    }

    fn put(
        &self,
        listener: u8,
        local_ip: Option<std::net::IpAddr>,
        domain: &[u8],
        out: &mut Writer<'_>,
    ) -> Result<(), Full> {
        let Some(bound) = self.0.get(usize::from(listener)) else { return out.put(domain) };
        let ip = local_ip.unwrap_or(bound.ip()).to_canonical();
        if ip.is_unspecified() {
            out.put(domain)?;
            out.put(b":")?;
            return out.number(bound.port().into());
        }
        out.host_port(SocketAddr::new(ip, bound.port()))
    }

    /// The listener whose socket can send to an address that nobody has sent from.
    pub fn flow_to(&self, to: SocketAddr) -> Option<Flow> {
        let can = |own: &SocketAddr| {
            let same = own.is_ipv4() == to.is_ipv4();
            // From loopback only loopback is reached.
            same && (own.ip().is_unspecified() || own.ip().is_loopback() == to.ip().is_loopback())
        };
        let listener = self.0.iter().position(can)?;
        Some(Flow::Datagram { listener: u8::try_from(listener).ok()?, local_ip: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listening(addresses: &[&str]) -> Listening {
        Listening::new(addresses.iter().map(|address| address.parse().unwrap()).collect())
    }

    fn sent_by(listening: &Listening, listener: u8, local_ip: Option<&str>) -> String {
        let local_ip = local_ip.map(|ip| ip.parse().unwrap());
        let flow = Flow::Datagram { listener, local_ip };
        String::from_utf8(listening.sent_by(&flow, b"a@example.com").to_vec()).unwrap()
    }

    #[test]
    fn a_via_names_the_address_its_answer_can_be_sent_to_rfc_3261_18_2_2() {
        let listening = listening(&["192.0.2.1:5060", "0.0.0.0:5070", "[::]:5080"]);
        assert_eq!(sent_by(&listening, 0, None), "192.0.2.1:5060");
        assert_eq!(sent_by(&listening, 1, Some("192.0.2.9")), "192.0.2.9:5070");
        assert_eq!(sent_by(&listening, 1, None), "example.com:5070");
        assert_eq!(sent_by(&listening, 2, Some("2001:db8::1")), "[2001:db8::1]:5080");
        assert_eq!(sent_by(&listening, 2, Some("::ffff:192.0.2.9")), "192.0.2.9:5080");
        assert_eq!(sent_by(&listening, 3, None), "example.com");
    }

    #[test]
    fn who_never_sent_anything_is_asked_from_a_socket_that_can() {
        let listening = listening(&["127.0.0.1:5060", "[2001:db8::1]:5060", "192.0.2.1:5062"]);
        let by = |to: &str| match listening.flow_to(to.parse().unwrap()) {
            Some(Flow::Datagram { listener, .. }) => Some(listener),
            _ => None,
        };
        assert_eq!(by("127.0.0.1:9"), Some(0));
        assert_eq!(by("192.0.2.7:9"), Some(2));
        assert_eq!(by("[2001:db8::7]:9"), Some(1));
        assert_eq!(by("[::1]:9"), None);
    }
}
