//! Socket addresses and control messages (packet information, segment size) as the kernel lays
//! them out, read and written byte by byte, so that no pointer is needed.

use std::iter;
use std::mem::size_of;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Room for a `sockaddr_in` or a `sockaddr_in6`.
pub(super) const NAME_BYTES: usize = size_of::<libc::sockaddr_in6>();
/// Room for one IP_PKTINFO or IPV6_PKTINFO control message.
pub(super) const CONTROL_BYTES: usize =
    CONTROL_HEADER_BYTES + align(size_of::<libc::in6_pktinfo>());
/// Room for what a socket whose datagrams come joined adds: UDP_GRO, and packet information.
pub(super) const JOINED_CONTROL_BYTES: usize =
    CONTROL_HEADER_BYTES + align(size_of::<libc::c_int>()) + CONTROL_BYTES;
/// Room for one UDP_SEGMENT control message.
const SEGMENT_CONTROL_BYTES: usize = CONTROL_HEADER_BYTES + align(size_of::<u16>());

const CONTROL_HEADER_BYTES: usize = align(size_of::<libc::cmsghdr>());
const LENGTH_BYTES: usize = size_of::<usize>();

/// Control messages are aligned like `size_t` (cmsg(3), CMSG_ALIGN).
const fn align(len: usize) -> usize {
    len.next_multiple_of(size_of::<usize>())
}

/// A socket address as `msg_name` points to it.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Name(pub(super) [u8; NAME_BYTES]);

/// The control messages of a send as `msg_control` points to them.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_BYTES + SEGMENT_CONTROL_BYTES]);

impl Name {
    pub(super) const EMPTY: Name = Name([0; NAME_BYTES]);

    /// Writes `address` and returns its length.
    pub(super) fn write(&mut self, address: SocketAddr) -> usize {
        let bytes = &mut self.0;
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        match address {
            SocketAddr::V4(v4) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                bytes[8..16].fill(0);
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                bytes[..2].copy_from_slice(&(libc::AF_INET6 as u16).to_ne_bytes());
                bytes[4..8].fill(0);
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                NAME_BYTES
            }
        }
    }
}

/// The address in `bytes`, if it is one of the two families that are listened on.
pub(super) fn read_name(bytes: &[u8]) -> Option<SocketAddr> {
    let family = i32::from(u16::from_ne_bytes(array(bytes, 0)?));
    let port = u16::from_be_bytes(array(bytes, 2)?);
    match family {
        libc::AF_INET => {
            let ip = Ipv4Addr::from(array::<4>(bytes, 4)?);
            Some(SocketAddrV4::new(ip, port).into())
        }
        libc::AF_INET6 => {
            let ip = Ipv6Addr::from(array::<16>(bytes, 8)?);
            let scope_id = u32::from_ne_bytes(array(bytes, 24)?);
            Some(SocketAddrV6::new(ip, port, 0, scope_id).into())
        }
        _ => None,
    }
}

impl Control {
    pub(super) const EMPTY: Control = Control([0; CONTROL_BYTES + SEGMENT_CONTROL_BYTES]);

    /// Writes the control messages that make a datagram leave from `ip`, and that have it cut into
    /// datagrams of `segment_bytes`; returns their length, 0 where neither is asked for.
    pub(super) fn write(&mut self, ip: Option<IpAddr>, segment_bytes: Option<u16>) -> usize {
        let mut len = 0;
        match ip {
            None => {}
            // struct in_pktinfo: interface, local address to send from, header destination.
            Some(IpAddr::V4(v4)) => {
                let mut info = [0; size_of::<libc::in_pktinfo>()];
                info[4..8].copy_from_slice(&v4.octets());
                len += self.put(len, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            // struct in6_pktinfo: address, interface.
            Some(IpAddr::V6(v6)) => {
                let mut info = [0; size_of::<libc::in6_pktinfo>()];
                let (address, interface) = without_interface(v6);
                info[..16].copy_from_slice(&address.octets());
                info[16..20].copy_from_slice(&interface.to_ne_bytes());
                len += self.put(len, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
        if let Some(bytes) = segment_bytes {
            len += self.put(len, libc::SOL_UDP, libc::UDP_SEGMENT, &bytes.to_ne_bytes());
        }
        len
    }

    /// Writes one control message at `at`; returns the length it takes, padding included.
    fn put(&mut self, at: usize, level: libc::c_int, kind: libc::c_int, data: &[u8]) -> usize {
        let whole = CONTROL_HEADER_BYTES + align(data.len());
        let message = &mut self.0[at..at + whole];
        message.fill(0);
        message[..LENGTH_BYTES].copy_from_slice(&(CONTROL_HEADER_BYTES + data.len()).to_ne_bytes());
        message[LENGTH_BYTES..][..4].copy_from_slice(&level.to_ne_bytes());
        message[LENGTH_BYTES + 4..][..4].copy_from_slice(&kind.to_ne_bytes());
        message[CONTROL_HEADER_BYTES..][..data.len()].copy_from_slice(data);
        whole
    }
}

/// The local address a reply must leave from, by the packet information among the control
/// messages; `None` where there is none or it is no unicast address.
pub(super) fn read_local_ip(control: &[u8]) -> Option<IpAddr> {
    messages(control).find_map(|(level, kind, data)| match (level, kind) {
        // The second field, not the third: for a broadcast it is the address of the interface.
        (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
            let ip = Ipv4Addr::from(array::<4>(data, 4)?);
            (!ip.is_unspecified() && !ip.is_multicast()).then_some(ip.into())
        }
        (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
            let ip = Ipv6Addr::from(array::<16>(data, 0)?);
            let interface = u32::from_ne_bytes(array(data, 16)?);
            let unicast = !ip.is_unspecified() && !ip.is_multicast();
            unicast.then(|| with_interface(ip, interface).into())
        }
        _ => None,
    })
}

/// A link-local address means nothing without its interface. That is kept in bytes which are always
/// zero in such an address (RFC 4291 2.5.6), so that a local address stays one address everywhere
/// above; a phone that has reached us by its global address on the same link is answered so too.
const INTERFACE_AT: std::ops::Range<usize> = 4..8;

fn with_interface(ip: Ipv6Addr, interface: u32) -> Ipv6Addr {
    let mut octets = ip.octets();
    if ip.is_unicast_link_local() {
        octets[INTERFACE_AT].copy_from_slice(&interface.to_be_bytes());
    }
    octets.into()
}

/// The address itself and its interface, 0 where any will do.
fn without_interface(ip: Ipv6Addr) -> (Ipv6Addr, u32) {
    let mut octets = ip.octets();
    if !ip.is_unicast_link_local() {
        return (ip, 0);
    }
    let interface = u32::from_be_bytes(octets[INTERFACE_AT].try_into().expect("four bytes"));
    octets[INTERFACE_AT].fill(0);
    (octets.into(), interface)
}

/// The length of the datagrams that were joined, of which only the last may be shorter; `None`
/// where the control messages tell of none.
pub(super) fn read_segment_bytes(control: &[u8]) -> Option<usize> {
    messages(control).find_map(|(level, kind, data)| {
        let is_size = (level, kind) == (libc::SOL_UDP, libc::UDP_GRO);
        let size = is_size.then(|| array(data, 0).map(i32::from_ne_bytes))??;
        usize::try_from(size).ok().filter(|&size| size > 0)
    })
}

/// Whether the extended error among the control messages (ip(7), `sock_extended_err`) is an ICMP
/// error by which a destination is out of reach.
pub(super) fn read_unreachable(control: &[u8]) -> bool {
    messages(control).any(|(level, kind, data)| {
        let is_error = matches!(
            (level, kind),
            (libc::IPPROTO_IP, libc::IP_RECVERR) | (libc::IPPROTO_IPV6, libc::IPV6_RECVERR)
        );
        // ee_errno of four bytes, then ee_origin, ee_type, ee_code.
        is_error && data.get(4..7).is_some_and(|error| is_unreachable(error[0], error[1], error[2]))
    })
}

fn is_unreachable(origin: u8, kind: u8, code: u8) -> bool {
    match (origin, kind, code) {
        // RFC 792: destination unreachable for any reason but the length of the datagram, or time
        // exceeded on the way.
        (libc::SO_EE_ORIGIN_ICMP, 3, code) => code != 4,
        (libc::SO_EE_ORIGIN_ICMP, 11, 0) => true,
        // RFC 4443 3.1 and 3.3: the same.
        (libc::SO_EE_ORIGIN_ICMP6, 1, _) | (libc::SO_EE_ORIGIN_ICMP6, 3, 0) => true,
        _ => false,
    }
}

/// Level, kind and data of each control message, up to the first that cannot be.
fn messages(mut control: &[u8]) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
    iter::from_fn(move || {
        let len = usize::from_ne_bytes(array(control, 0)?);
        if len < CONTROL_HEADER_BYTES || len > control.len() {
            return None;
        }
        let level = i32::from_ne_bytes(array(control, LENGTH_BYTES)?);
        let kind = i32::from_ne_bytes(array(control, LENGTH_BYTES + 4)?);
        let data = &control[CONTROL_HEADER_BYTES..len];
        control = control.get(align(len)..).unwrap_or_default();
        Some((level, kind, data))
    })
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_round_trip() {
        for text in ["127.0.0.2:5060", "[2001:db8::1]:5061", "[fe80::1%3]:65535"] {
            let address: SocketAddr = text.parse().unwrap();
            let mut name = Name::EMPTY;
            let len = name.write(address);
            assert_eq!(read_name(&name.0[..len]), Some(address));
        }
    }

    #[test]
    fn only_icmp_errors_that_mean_out_of_reach_are_taken_for_that() {
        let (v4, v6) = (libc::SO_EE_ORIGIN_ICMP, libc::SO_EE_ORIGIN_ICMP6);
        for (origin, kind, code) in [(v4, 3, 0), (v4, 3, 3), (v4, 3, 13), (v6, 1, 4), (v6, 3, 0)] {
            assert!(is_unreachable(origin, kind, code), "{origin} {kind} {code}");
        }
        // Too long for the path, a broken header, a redirect, an error of this host.
        let others =
            [(v4, 3, 4), (v4, 12, 0), (v4, 5, 0), (v6, 2, 0), (v6, 4, 0), (1, 3, 3), (0, 0, 0)];
        for (origin, kind, code) in others {
            assert!(!is_unreachable(origin, kind, code), "{origin} {kind} {code}");
        }
        let mut control = Control::EMPTY;
        let error = [111, 0, 0, 0, v4, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let len = control.put(0, libc::IPPROTO_IP, libc::IP_RECVERR, &error);
        assert!(read_unreachable(&control.0[..len]));
        assert!(!read_unreachable(&control.0[..len - 12]), "cut short");
        assert!(!read_unreachable(&[]));
    }

    #[test]
    fn names_of_other_families_or_too_short_are_none() {
        assert_eq!(read_name(&[]), None);
        assert_eq!(read_name(&(libc::AF_UNIX as u16).to_ne_bytes()), None);
        let mut name = Name::EMPTY;
        let len = name.write("[::1]:1".parse().unwrap());
        for short in 0..len {
            assert_eq!(read_name(&name.0[..short]), None, "{short}");
        }
    }

    #[test]
    fn packet_information_survives_the_round_trip() {
        for text in ["127.0.0.2", "2001:db8::7"] {
            let ip: IpAddr = text.parse().unwrap();
            let mut control = Control::EMPTY;
            let len = control.write(Some(ip), None);
            assert_eq!(read_local_ip(&control.0[..len]), Some(ip));
            for short in 0..CONTROL_HEADER_BYTES {
                assert_eq!(read_local_ip(&control.0[..short]), None, "{short}");
            }
        }
    }

    #[test]
    fn a_link_local_address_keeps_its_interface() {
        let mut control = Control::EMPTY;
        let ip: Ipv6Addr = "fe80::1".parse().unwrap();
        let len = control.write(Some(with_interface(ip, 7).into()), None);
        // As the kernel reads it: the address itself, and the interface beside it.
        let info = &control.0[CONTROL_HEADER_BYTES..];
        assert_eq!(info[..16], ip.octets());
        assert_eq!(info[16..20], 7u32.to_ne_bytes());
        let read = read_local_ip(&control.0[..len]);
        assert_eq!(read, Some(with_interface(ip, 7).into()));
        assert_ne!(read, Some(with_interface(ip, 8).into()));
        // Every other address is what it is, wherever it was reached.
        let global: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(without_interface(with_interface(global, 7)), (global, 0));
    }

    #[test]
    fn a_segment_size_goes_beside_packet_information_or_alone() {
        for (ip, at) in [(None, 0), ("127.0.0.2".parse().ok(), 32), ("::2".parse().ok(), 40)] {
            let mut control = Control([0xff; Control::EMPTY.0.len()]);
            let len = control.write(ip, Some(500));
            assert_eq!((len, read_local_ip(&control.0[..len])), (at + SEGMENT_CONTROL_BYTES, ip));
            let message = &control.0[at..len];
            assert_eq!(usize::from_ne_bytes(array(message, 0).unwrap()), CONTROL_HEADER_BYTES + 2);
            assert_eq!(i32::from_ne_bytes(array(message, 8).unwrap()), libc::SOL_UDP);
            assert_eq!(i32::from_ne_bytes(array(message, 12).unwrap()), libc::UDP_SEGMENT);
            assert_eq!(u16::from_ne_bytes(array(message, 16).unwrap()), 500);
        }
        assert_eq!(Control::EMPTY.clone().write(None, None), 0);
    }

    #[test]
    fn a_multicast_destination_is_no_address_to_reply_from() {
        let mut control = Control::EMPTY;
        let len = control.write("ff02::1".parse().ok(), None);
        assert_eq!(read_local_ip(&control.0[..len]), None);
    }

    #[test]
    fn the_length_of_joined_datagrams_is_found_before_packet_information() {
        let mut control = [0; JOINED_CONTROL_BYTES];
        let mut info = Control::EMPTY;
        let ip = "2001:db8::7".parse().ok();
        let info_len = info.write(ip, None);
        let at = JOINED_CONTROL_BYTES - CONTROL_BYTES;
        control[at..at + info_len].copy_from_slice(&info.0[..info_len]);
        control[..8].copy_from_slice(&(CONTROL_HEADER_BYTES + 4).to_ne_bytes());
        control[8..12].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
        control[12..16].copy_from_slice(&libc::UDP_GRO.to_ne_bytes());
        for (size, read) in [(500, Some(500)), (0, None), (-1, None)] {
            control[16..20].copy_from_slice(&i32::to_ne_bytes(size));
            assert_eq!((read_segment_bytes(&control), read_local_ip(&control)), (read, ip));
        }
        assert_eq!(read_segment_bytes(&info.0[..info_len]), None);
    }

    #[test]
    fn hostile_control_lengths_end_the_walk() {
        let mut control = Control::EMPTY;
        let len = control.write("127.0.0.1".parse().ok(), None);
        for bad in [0, 1, CONTROL_HEADER_BYTES - 1, len + 1, usize::MAX] {
            control.0[..LENGTH_BYTES].copy_from_slice(&bad.to_ne_bytes());
            assert_eq!(read_local_ip(&control.0[..len]), None, "{bad}");
        }
    }
}
