//! Via (RFC 3261 20.42, RFC 3581) and where a response goes.

use std::net::{IpAddr, SocketAddr};

use crate::flow;
use crate::sip::cursor::Cursor;
use crate::sip::header::address::{Param, params, take_params};
use crate::sip::scan::{Class, decimal};
use crate::sip::uri::{host_ip, split_host};

/// Port that a sent-by without one means (RFC 3261 18.1.1).
pub const SENT_BY_PORT_DEFAULT: u16 = 5060;

/// What a branch of an RFC 3261 client begins with (8.1.1.7).
pub const BRANCH_MAGIC: &[u8] = b"z9hG4bK";

/// Transport of a sent-protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// `UDP`
    Udp,
    /// `TCP`
    Tcp,
    /// `TLS`
    Tls,
    /// `SCTP`
    Sctp,
    /// `WS` (RFC 7118)
    Ws,
    /// `WSS` (RFC 7118)
    Wss,
    /// Any other token (RFC 4475 3.1.1.10).
    Other,
}

/// `rport` of a Via (RFC 3581 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rport {
    /// Not there: the client wants its answer at the sent-by port.
    Absent,
    /// There without a value: the client asks for symmetric routing.
    Requested,
    /// There with a value, as a server fills it in.
    Filled(u16),
}

/// `keep` of a Via (RFC 6223 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Not there.
    Absent,
    /// There without a value: the sender would send keepalives if this hop asks for them.
    Offered,
    /// There with a value: a server has asked for one at least every so many seconds; 0 leaves
    /// the time to the client.
    Asked(u32),
}

/// One value of a Via header.
#[derive(Clone, Copy, Debug)]
pub struct Via<'a> {
    /// Sent-protocol and sent-by as they stood, without the parameters.
    pub head: &'a [u8],
    /// Transport the request was sent by, or says it was.
    pub transport: Transport,
    /// Host of sent-by; an IPv6 reference keeps its brackets.
    pub host: &'a [u8],
    /// Port of sent-by.
    pub port: Option<u16>,
    /// `branch`.
    pub branch: Option<&'a [u8]>,
    /// `received`.
    pub received: Option<IpAddr>,
    /// `rport`.
    pub rport: Rport,
    /// `keep`.
    pub keep: Keep,
    /// `alias`: the sender would have requests sent back over the very connection (RFC 5923 5).
    pub alias: bool,
    /// `maddr`, as it stood.
    pub maddr: Option<&'a [u8]>,
    /// `ttl`.
    pub ttl: Option<u8>,
    /// All parameters as they stood, without the leading `;`.
    pub params: &'a [u8],
    /// What follows in the same header, from its comma on; empty where this is the last value.
    pub rest: &'a [u8],
}

impl<'a> Via<'a> {
    /// Reads the first value of a Via header.
    #[inline]
    #[must_use]
    pub fn parse_first(value: &'a [u8]) -> Option<Via<'a>> {
        Via::take(&mut Cursor::new(value))
    }

    /// Reads one value up to the end or to a comma, which is left.
    #[inline]
    #[must_use]
    pub fn take(cursor: &mut Cursor<'a>) -> Option<Via<'a>> {
        cursor.lws();
        let start = cursor.at();
        let transport = take_sent_protocol(cursor)?;
        let (host, rest) = split_host(cursor.rest()).ok()?;
        *cursor = cursor.past(cursor.rest().len() - rest.len());
        let mut head = cursor.since(start);
        let port = if cursor.eat_spaced(b':') {
            let port = decimal(cursor.take(Class::DIGIT), u32::from(u16::MAX))?;
            head = cursor.since(start);
            Some(u16::try_from(port).ok()?)
        } else {
            None
        };
        let mut via = Via {
            head,
            transport,
            host,
            port,
            branch: None,
            received: None,
            rport: Rport::Absent,
            keep: Keep::Absent,
            alias: false,
            maddr: None,
            ttl: None,
            params: &[],
            rest: &[],
        };
        via.params = take_params(cursor, |param| via.take_param(param))?;
        via.rest = cursor.rest();
        Some(via)
    }

    /// Parameters may stand once each (RFC 3261 7.3.1); those nobody interprets are let pass.
    #[inline]
    fn take_param(&mut self, param: Param<'a>) -> Option<()> {
        let value = param.value;
        let first = match param.name.len() {
            6 if param.is(b"branch") => self.branch.replace(value?).is_none(),
            5 if param.is(b"rport") => {
                let rport = match value {
                    None => Rport::Requested,
                    Some(digits) => {
                        let port = decimal(digits, u32::from(u16::MAX))?;
                        Rport::Filled(u16::try_from(port).ok()?)
                    }
                };
                std::mem::replace(&mut self.rport, rport) == Rport::Absent
            }
            8 if param.is(b"received") => self.received.replace(parse_ip(value?)?).is_none(),
            4 if param.is(b"keep") => {
                let keep = match value {
                    None => Keep::Offered,
                    Some(digits) => Keep::Asked(decimal(digits, u32::MAX)?),
                };
                std::mem::replace(&mut self.keep, keep) == Keep::Absent
            }
            // RFC 5923 9.1 gives it no value; one that is there means nothing.
            5 if param.is(b"alias") => !std::mem::replace(&mut self.alias, true),
            5 if param.is(b"maddr") => {
                let (maddr, rest) = split_host(value?).ok()?;
                rest.is_empty() && self.maddr.replace(maddr).is_none()
            }
            3 if param.is(b"ttl") => {
                let ttl = u8::try_from(decimal(value?, u32::from(u8::MAX))?).ok()?;
                self.ttl.replace(ttl).is_none()
            }
            _ => true,
        };
        first.then_some(())
    }

    /// The parameters one by one.
    pub fn params(&self) -> impl Iterator<Item = Param<'a>> + use<'a> {
        params(self.params)
    }

    /// Whether the branch identifies the transaction by itself (RFC 3261 17.2.3). One that is
    /// nothing but the magic does not (RFC 4475 3.2.1).
    #[must_use]
    pub fn has_rfc3261_branch(&self) -> bool {
        self.branch.is_some_and(|b| {
            b.len() > BRANCH_MAGIC.len()
                && b[..BRANCH_MAGIC.len()].eq_ignore_ascii_case(BRANCH_MAGIC)
        })
    }

    /// Where the response to a request from `source` goes, for datagrams: the source address, at
    /// the source port if rport asks for it (RFC 3581 4), else at the port of sent-by (RFC 3261
    /// 18.2.2, where `received` is the source address whenever it differs from sent-by).
    ///
    /// `maddr` is never followed, though 18.2.2 puts it first: a multicast answer is of no use to
    /// a registrar, and a forged one would make it throw its answers at somebody else.
    #[inline]
    #[must_use]
    pub fn response_to(&self, source: SocketAddr) -> SocketAddr {
        match self.rport {
            Rport::Absent => {
                let mut to = source;
                to.set_port(self.port.unwrap_or(SENT_BY_PORT_DEFAULT));
                to
            }
            _ => source,
        }
    }

    /// Whether the sent-protocol can be that of the transport the request arrived by: the client
    /// puts there what it uses (RFC 3261 18.1.1). One that names another is confused, or has been
    /// relayed by something that is no SIP element, and where its answer would go is anybody's
    /// guess. TLS may have ended in front of this server, though, and browsers write WS for both
    /// kinds of WebSocket.
    #[inline]
    #[must_use]
    pub fn can_come_by(&self, arrival: flow::Transport) -> bool {
        use flow::Transport as Arrival;
        match self.transport {
            Transport::Udp => arrival == Arrival::Udp,
            Transport::Tcp => arrival == Arrival::Tcp,
            Transport::Tls => matches!(arrival, Arrival::Tls | Arrival::Tcp),
            Transport::Ws | Transport::Wss => matches!(arrival, Arrival::Ws | Arrival::Wss),
            Transport::Sctp | Transport::Other => false,
        }
    }

    /// Whether sent-by names the very address the request came from.
    #[inline]
    #[must_use]
    pub fn is_sent_by(&self, source: IpAddr) -> bool {
        host_ip(self.host) == Some(source)
    }
}

/// All values of the Via headers with these values, up to the first malformed one, which is
/// `None` and the last.
pub fn all<'a>(values: impl Iterator<Item = &'a [u8]>) -> impl Iterator<Item = Option<Via<'a>>> {
    let mut broken = false;
    values
        .flat_map(|value| {
            let mut cursor = Some(Cursor::new(value));
            std::iter::from_fn(move || {
                let at = cursor.as_mut()?;
                let via = Via::take(at);
                let more = via.is_some() && at.eat_spaced(b',');
                if !more {
                    cursor = None;
                }
                Some(via)
            })
        })
        .take_while(move |via| !std::mem::replace(&mut broken, via.is_none()))
}

/// `protocol-name SLASH protocol-version SLASH transport LWS`. Any tokens will do: a request of
/// another version is to be answered with 505, by this very Via.
#[inline]
fn take_sent_protocol(cursor: &mut Cursor<'_>) -> Option<Transport> {
    // The spelling nearly everybody uses needs no second look.
    let rest = cursor.rest();
    if rest.starts_with(b"SIP/2.0/UDP ") {
        *cursor = cursor.past(b"SIP/2.0/UDP ".len());
        cursor.lws();
        return Some(Transport::Udp);
    }
    let name = cursor.take(Class::TOKEN);
    if name.is_empty() || !cursor.eat_spaced(b'/') {
        return None;
    }
    let version = cursor.take(Class::TOKEN);
    if version.is_empty() || !cursor.eat_spaced(b'/') {
        return None;
    }
    let transport = match cursor.take(Class::TOKEN) {
        b"" => return None,
        t if t.eq_ignore_ascii_case(b"UDP") => Transport::Udp,
        t if t.eq_ignore_ascii_case(b"TCP") => Transport::Tcp,
        t if t.eq_ignore_ascii_case(b"TLS") => Transport::Tls,
        t if t.eq_ignore_ascii_case(b"SCTP") => Transport::Sctp,
        t if t.eq_ignore_ascii_case(b"WS") => Transport::Ws,
        t if t.eq_ignore_ascii_case(b"WSS") => Transport::Wss,
        _ => Transport::Other,
    };
    if !Class::LWS.has(cursor.peek()?) {
        return None;
    }
    cursor.lws();
    Some(transport)
}

/// `received`: an IPv6 address stands bare by RFC 3261, in brackets by many (RFC 5118 4.5).
fn parse_ip(text: &[u8]) -> Option<IpAddr> {
    if let Some(ip) = host_ip(text) {
        return Some(ip);
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn via(value: &str) -> Via<'_> {
        Via::parse_first(value.as_bytes()).unwrap_or_else(|| panic!("{value}"))
    }

    #[test]
    fn parts_are_found_where_rfc_3261_20_42_puts_them() {
        let v = via("SIP/2.0/UDP erlang.bell.com:5080;received=192.0.2.207;rport=99\
                     ;branch=z9hG4bK87asdks7;maddr=h.example;ttl=16;x");
        assert_eq!(v.head, b"SIP/2.0/UDP erlang.bell.com:5080");
        assert_eq!(
            (v.transport, v.host, v.port),
            (Transport::Udp, &b"erlang.bell.com"[..], Some(5080))
        );
        assert_eq!(v.branch, Some(&b"z9hG4bK87asdks7"[..]));
        assert_eq!(v.received, "192.0.2.207".parse().ok());
        assert_eq!((v.rport, v.ttl), (Rport::Filled(99), Some(16)));
        assert_eq!(v.maddr, Some(&b"h.example"[..]));
        assert!(v.has_rfc3261_branch());
        assert!(!via("SIP/2.0/UDP h;branch=z9hG4bK").has_rfc3261_branch());
        assert!(!via("SIP/2.0/UDP h;branch=390skdjuw").has_rfc3261_branch());
        assert!(!via("SIP/2.0/UDP h").has_rfc3261_branch());
    }

    #[test]
    fn rfc6223_4_keep_is_offered_without_a_value_and_asked_for_with_one() {
        assert_eq!(via("SIP/2.0/UDP h").keep, Keep::Absent);
        assert_eq!(via("SIP/2.0/UDP h;KEEP;rport").keep, Keep::Offered);
        assert_eq!(via("SIP/2.0/UDP h;keep=30").keep, Keep::Asked(30));
        assert_eq!(via("SIP/2.0/UDP h;keep=4294967295").keep, Keep::Asked(u32::MAX));
    }

    #[test]
    fn rfc5923_5_alias_stands_without_a_value() {
        assert!(via("SIP/2.0/TLS h;branch=z9hG4bKx;alias").alias);
        assert!(!via("SIP/2.0/TLS h;branch=alias").alias);
    }

    #[test]
    fn rfc3261_18_1_1_the_sent_protocol_is_one_the_request_can_have_come_by() {
        let table = [
            ("UDP", "udp"),
            ("TCP", "tcp"),
            ("TLS", "tls tcp"),
            ("WS", "ws wss"),
            ("WSS", "ws wss"),
            ("SCTP", ""),
            ("TLS-SCTP", ""),
            ("x", ""),
        ];
        for (named, ways) in table {
            for arrival in flow::Transport::ALL {
                let can = ways.split(' ').any(|way| way == arrival.word());
                for named in [named.to_owned(), named.to_lowercase()] {
                    let via = format!("SIP/2.0/{named} h");
                    let via = Via::parse_first(via.as_bytes()).unwrap();
                    assert_eq!(via.can_come_by(arrival), can, "{named} by {arrival}");
                }
            }
        }
    }

    #[test]
    fn white_space_may_stand_around_slash_colon_and_equal() {
        let v = via(
            "SIP  / 2.0\r\n / TCP     spindle.example.com  :\t5070 ;\r\n branch  =   z9hG4bK9 ",
        );
        assert_eq!((v.transport, v.port), (Transport::Tcp, Some(5070)));
        assert_eq!(v.branch, Some(&b"z9hG4bK9"[..]));
    }

    #[test]
    fn values_of_one_header_are_divided_at_commas() {
        let text = b"SIP/2.0/TLS a;x=\",\" , SIP/2.0/WSS b, SIP/2.0/UNKNOWN c:1";
        let v = Via::parse_first(text).unwrap();
        assert_eq!(v.rest, &b", SIP/2.0/WSS b, SIP/2.0/UNKNOWN c:1"[..]);
        let hosts: Vec<_> =
            all([&text[..], b"SIP/2.0/UDP d"].into_iter()).map(|v| v.unwrap().host).collect();
        assert_eq!(hosts, [b"a", b"b", b"c", b"d"]);
        let broken: Vec<_> = all([&b"SIP/2.0/UDP a,x"[..], b"SIP/2.0/UDP b"].into_iter())
            .map(|v| v.is_some())
            .collect();
        assert_eq!(broken, [true, false]);
    }

    #[test]
    fn ipv6_sent_by_and_received_of_rfc_5118() {
        let v = via("SIP/2.0/UDP [2001:db8::9:1]:5070;received=[2001:db8::9:255];branch=x");
        assert_eq!((v.host, v.port), (&b"[2001:db8::9:1]"[..], Some(5070)));
        assert_eq!(v.received, "2001:db8::9:255".parse().ok());
        assert_eq!(via("SIP/2.0/UDP h;received=2001:db8::1").received, "2001:db8::1".parse().ok());
    }

    #[test]
    fn malformed_values_are_refused() {
        for bad in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 UDP h",
            "/2.0/UDP h",
            "SIP//UDP h",
            "SIP/2.0/ h",
            "SIP/2.0/UDP  ;branch=x",
            "SIP/2.0/UDP h:",
            "SIP/2.0/UDP h:x",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP 192.0.2.15;;,;,,",
            "SIP/2.0/UDP h;rport=x",
            "SIP/2.0/UDP h;rport=65536",
            "SIP/2.0/UDP h;ttl=256",
            "SIP/2.0/UDP h;received=x",
            "SIP/2.0/UDP h;branch",
            "SIP/2.0/UDP h;branch=a;branch=b",
            "SIP/2.0/UDP h;rport;rport",
            "SIP/2.0/UDP h;keep;keep=3",
            "SIP/2.0/UDP h;keep=x",
            "SIP/2.0/UDP h;keep=4294967296",
            "SIP/2.0/TCP h;alias;alias",
            "SIP/2.0/UDP h x",
            "SIP/2.0/UDP h;maddr=a/b",
            "SIP/2.0/UDP [::1",
            "SIP/2.0/UDPh",
        ] {
            assert!(Via::parse_first(bad.as_bytes()).is_none(), "{bad}");
        }
    }

    #[test]
    fn responses_go_to_the_source_by_rfc_3261_18_2_2_and_rfc_3581_4() {
        let source: SocketAddr = "198.51.100.7:40000".parse().unwrap();
        let to = |v: &str| via(v).response_to(source).to_string();
        assert_eq!(to("SIP/2.0/UDP 10.0.0.1:5070;rport"), "198.51.100.7:40000");
        assert_eq!(to("SIP/2.0/UDP 10.0.0.1:5070;rport=1"), "198.51.100.7:40000");
        assert_eq!(to("SIP/2.0/UDP 10.0.0.1:5070"), "198.51.100.7:5070");
        assert_eq!(to("SIP/2.0/UDP 10.0.0.1"), "198.51.100.7:5060");
        // A client's own received, and maddr, move nothing.
        assert_eq!(to("SIP/2.0/UDP a;received=10.9.9.9;maddr=10.8.8.8"), "198.51.100.7:5060");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read_back(
            transport in 0usize..6, host in "[a-z][a-z0-9.]{0,6}[a-z]",
            port in proptest::option::of(any::<u16>()),
            branch in "[a-zA-Z0-9.-]{1,12}",
            rport in proptest::option::of(proptest::option::of(any::<u16>())),
            gap in "( |\r\n\t)?",
        ) {
            prop_assume!(!host.contains(".."));
            let name = ["UDP", "tcp", "TLS", "SCTP", "WS", "wss"][transport];
            let mut text = format!("SIP{gap}/{gap}2.0/{name} {gap}{host}");
            if let Some(p) = port {
                text += &format!("{gap}:{gap}{p}");
            }
            text += &format!("{gap};branch{gap}={gap}{branch}");
            let expected = match rport {
                None => Rport::Absent,
                Some(None) => { text += ";rport"; Rport::Requested }
                Some(Some(p)) => { text += &format!(";RPORT={p}"); Rport::Filled(p) }
            };
            let v = via(&text);
            let transports = [Transport::Udp, Transport::Tcp, Transport::Tls, Transport::Sctp,
                Transport::Ws, Transport::Wss];
            prop_assert_eq!(v.transport, transports[transport]);
            prop_assert_eq!((v.host, v.port, v.rport), (host.as_bytes(), port, expected));
            prop_assert_eq!(v.branch, Some(branch.as_bytes()));
        }

        #[test]
        fn any_bytes_are_read_or_refused_without_panic(
            value in any::<Vec<u8>>(), text in "[SIP/2.0U ,;:=a\\[\\]]{0,40}",
        ) {
            let _ = all([&value[..], text.as_bytes()].into_iter()).count();
            let _ = Via::parse_first(format!("SIP/2.0/UDP {text}").as_bytes());
        }
    }
}
