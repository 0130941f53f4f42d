//! The addresses of this host's interfaces, as the kernel lists them at the moment.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ptr;

/// What the interfaces of a host are reached at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interfaces {
    /// Their own addresses.
    pub addresses: Vec<IpAddr>,
    /// Where all hosts of a network they are on are reached at once.
    pub broadcasts: Vec<IpAddr>,
}

impl Interfaces {
    /// Those there are now.
    ///
    /// # Errors
    /// The kernel does not list them.
    pub fn now() -> io::Result<Interfaces> {
        let mut list = List(ptr::null_mut());
        // SAFETY: the call writes one pointer, to where it may.
        if unsafe { libc::getifaddrs(&raw mut list.0) } != 0 {
            return Err(io::Error::last_os_error());
        }
        let mut all = Interfaces::default();
        let mut at = list.0;
        while !at.is_null() {
            // SAFETY: `at` is not null, so it is an entry of the list, which lives until the end of
            // this function and is not written to.
            let entry = unsafe { &*at };
            // SAFETY: the addresses of an entry are null or live as long as the list.
            let address = unsafe { read(entry.ifa_addr) };
            all.addresses.extend(address);
            if entry.ifa_flags & libc::IFF_BROADCAST as u32 != 0 {
                // SAFETY: as above; with that flag the union holds a broadcast address.
                let broadcast = unsafe { read(entry.ifa_ifu) };
                // An interface without a network says so with an address of zeros, or its own.
                let told = |ip: &IpAddr| !ip.is_unspecified() && Some(*ip) != address;
                all.broadcasts.extend(broadcast.filter(|ip| ip.is_ipv4()).filter(told));
            }
            at = entry.ifa_next;
        }
        Ok(all)
    }
}

/// Frees the kernel's list at the end.
struct List(*mut libc::ifaddrs);

impl Drop for List {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: it came from `getifaddrs`, and nothing of it is used any more.
            unsafe { libc::freeifaddrs(self.0) };
        }
    }
}

/// The address, if it is one of IP.
///
/// # Safety
/// `address` is null, or points to a socket address of the length its family has.
unsafe fn read(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: by the contract it can be read as far as its family.
    let family = i32::from(unsafe { ptr::addr_of!((*address).sa_family).read_unaligned() });
    match family {
        libc::AF_INET => {
            // SAFETY: by the contract a whole `sockaddr_in` is there.
            let v4 = unsafe { address.cast::<libc::sockaddr_in>().read_unaligned() };
            Some(Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes()).into())
        }
        libc::AF_INET6 => {
            // SAFETY: by the contract a whole `sockaddr_in6` is there.
            let v6 = unsafe { address.cast::<libc::sockaddr_in6>().read_unaligned() };
            Some(Ipv6Addr::from(v6.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;

    #[test]
    fn the_address_a_socket_sends_from_is_among_them() {
        let interfaces = Interfaces::now().unwrap();
        assert!(interfaces.addresses.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
        // Nothing is sent; a host without a route has nothing to show.
        if socket.connect("192.0.2.1:9").is_ok() {
            let local = socket.local_addr().unwrap().ip();
            assert!(interfaces.addresses.contains(&local), "{local} in {interfaces:?}");
        }
    }

    #[test]
    fn a_broadcast_address_is_no_hosts() {
        let Interfaces { addresses, broadcasts } = Interfaces::now().unwrap();
        assert!(broadcasts.iter().all(|ip| !addresses.contains(ip)));
    }
}
