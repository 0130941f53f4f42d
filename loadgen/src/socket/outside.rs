//! Sockets that stand for the outside of a NAT: each hears one port of every address of this host
//! and sends from whichever it is told (IP_PKTINFO), so that a few sockets are any number of
//! source addresses, and no privilege is needed. Arrivals carry the kernel's time stamp. Which
//! phone an address and port belong to is not known here.

use super::{BATCH, BUFFER_BYTES, FULL_WAITS_MAX, REQUEST_MAX, SendTrouble, set_option};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, RawFd};

/// Room for one arrival; what is longer is cut.
const ARRIVAL_BYTES: usize = 4096 + 128;
/// Room for the three control messages of an arrival.
const CONTROL_BYTES: usize = 128;
/// What SO_MEMINFO gives (linux/sock_diag.h): so many numbers, and where the drops stand.
const MEMINFO_WORDS: usize = 9;
const MEMINFO_DROPS: usize = 8;
const HEADER_BYTES: usize = size_of::<libc::cmsghdr>();

/// One outside port.
#[derive(Debug)]
pub struct Outside {
    socket: Socket,
    port: u16,
}

impl Outside {
    /// Opens a port of the kernel's choice on all IPv4 addresses.
    pub fn open() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        // Refusals are no failure: the default queue works, it only drops earlier.
        let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
        let _ = socket.set_send_buffer_size(BUFFER_BYTES);
        socket.bind(&SockAddr::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)))?;
        set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1)?;
        socket.set_nonblocking(true)?;
        let local = socket.local_addr()?.as_socket();
        let port = local.ok_or_else(|| io::Error::other("a UDP socket without an address"))?.port();
        Ok(Outside { socket, port })
    }

    /// Opens one whose datagrams the kernel drops, as far as it can, and counts.
    pub fn open_deaf() -> io::Result<Self> {
        let outside = Outside::open()?;
        // The kernel raises it to its least, which holds a datagram or two.
        outside.socket.set_recv_buffer_size(0)?;
        // Never fragmented, so they need no number of their own each (RFC 6864 4.1): that number is
        // a good part of the cost of a datagram to or from an address that was never used before.
        set_option(&outside.socket, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO)?;
        Ok(outside)
    }

    /// Datagrams that its full queue has dropped since it was opened; 0 where the kernel does not
    /// say.
    pub fn dropped(&self) -> u64 {
        let mut info = [0u32; MEMINFO_WORDS];
        let mut length = size_of_val(&info) as libc::socklen_t;
        // SAFETY: the kernel writes at most `length` bytes to `info`, which are what it has.
        let done = unsafe {
            libc::getsockopt(
                self.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_MEMINFO,
                info.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if done == 0 { info[MEMINFO_DROPS].into() } else { 0 }
    }

    /// Its number.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl AsRawFd for Outside {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// Whether this host may send from an address.
pub fn is_ours(address: Ipv4Addr) -> bool {
    std::net::UdpSocket::bind((address, 0)).is_ok()
}

/// A datagram that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival<'a> {
    /// The outside address it was sent to.
    pub to: Ipv4Addr,
    /// Who sent it.
    pub from: SocketAddrV4,
    /// When the kernel took it, nanoseconds of the wall clock; 0 where it does not say.
    pub stamp: u64,
    /// Datagrams that this socket's full queue has dropped so far.
    pub dropped: u32,
    /// What it holds.
    pub bytes: &'a [u8],
}

#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// Memory of a batch that all headers of a batch point into.
struct Slots {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    names: Box<[libc::sockaddr_in]>,
    controls: Box<[Control]>,
    buffer: Box<[u8]>,
    slot_bytes: usize,
}

impl Slots {
    fn new(slot_bytes: usize) -> Self {
        // SAFETY: all zeros is a valid mmsghdr and a valid sockaddr_in.
        let (header, name): (libc::mmsghdr, libc::sockaddr_in) = unsafe { std::mem::zeroed() };
        let iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Slots {
            headers: vec![header; BATCH].into_boxed_slice(),
            iovecs: vec![iovec; BATCH].into_boxed_slice(),
            names: vec![name; BATCH].into_boxed_slice(),
            controls: vec![Control([0; CONTROL_BYTES]); BATCH].into_boxed_slice(),
            buffer: vec![0; slot_bytes * BATCH].into_boxed_slice(),
            slot_bytes,
        }
    }

    /// Points the first headers at their slots: as many as there are lengths, each with that much
    /// of its slot and of its control.
    fn point(&mut self, lengths: impl Iterator<Item = usize>, control_bytes: usize) -> usize {
        let mut count = 0;
        for (slot, length) in lengths.enumerate() {
            let bytes = &mut self.buffer[slot * self.slot_bytes..][..length];
            let iovec = &mut self.iovecs[slot];
            *iovec = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
            let header = &mut self.headers[slot].msg_hdr;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut self.names[slot]).cast();
            header.msg_namelen = size_of::<libc::sockaddr_in>() as _;
            header.msg_control = (&raw mut self.controls[slot]).cast();
            header.msg_controllen = control_bytes as _;
            count += 1;
        }
        count
    }
}

/// A batch of datagrams that came in through one socket.
pub struct Arrivals {
    slots: Slots,
    count: usize,
}

impl Arrivals {
    /// An empty batch.
    pub fn new() -> Self {
        Arrivals { slots: Slots::new(ARRIVAL_BYTES), count: 0 }
    }

    /// Takes what is there, without waiting, and returns how many datagrams that were.
    pub fn receive(&mut self, outside: &Outside) -> io::Result<usize> {
        self.count = 0;
        let slots = self.slots.point(std::iter::repeat_n(ARRIVAL_BYTES, BATCH), CONTROL_BYTES);
        // SAFETY: the headers were just pointed at memory owned by `self`; the kernel writes no
        // more than the lengths they give, and only during the call.
        let count = unsafe {
            libc::recvmmsg(
                outside.as_raw_fd(),
                self.slots.headers.as_mut_ptr(),
                slots as libc::c_uint,
                libc::MSG_DONTWAIT as _,
                std::ptr::null_mut(),
            )
        };
        if count < 0 {
            return match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
                error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                error => Err(error),
            };
        }
        self.count = count as usize;
        Ok(self.count)
    }

    /// One datagram of the last batch.
    pub fn arrival(&self, number: usize) -> Arrival<'_> {
        assert!(number < self.count, "as many as were received");
        let (header, name) = (&self.slots.headers[number], &self.slots.names[number]);
        let length = (header.msg_len as usize).min(ARRIVAL_BYTES);
        let address = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        let mut arrival = Arrival {
            to: Ipv4Addr::UNSPECIFIED,
            from: SocketAddrV4::new(address, u16::from_be(name.sin_port)),
            stamp: 0,
            dropped: 0,
            bytes: &self.slots.buffer[number * ARRIVAL_BYTES..][..length],
        };
        let control_bytes = header.msg_hdr.msg_controllen.min(CONTROL_BYTES);
        let mut control = &self.slots.controls[number].0[..control_bytes];
        while let Some((level, kind, data, rest)) = message(control) {
            control = rest;
            match (level, kind) {
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    if let Some([a, b, c, d]) = data.get(8..12) {
                        arrival.to = Ipv4Addr::new(*a, *b, *c, *d);
                    }
                }
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let number = |at: usize| {
                        let bytes = data.get(at..at + 8)?.try_into().ok()?;
                        u64::try_from(i64::from_ne_bytes(bytes)).ok()
                    };
                    if let (Some(seconds), Some(nanos)) = (number(0), number(8)) {
                        arrival.stamp = seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
                    }
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => {
                    if let Some(Ok(bytes)) = data.get(..4).map(<[u8; 4]>::try_from) {
                        arrival.dropped = u32::from_ne_bytes(bytes);
                    }
                }
                _ => {}
            }
        }
        arrival
    }
}

impl Default for Arrivals {
    fn default() -> Self {
        Arrivals::new()
    }
}

/// The first control message: level, type, data and what follows it.
fn message(control: &[u8]) -> Option<(i32, i32, &[u8], &[u8])> {
    let word = size_of::<usize>();
    let length = usize::from_ne_bytes(control.get(..word)?.try_into().ok()?);
    let level = i32::from_ne_bytes(control.get(word..word + 4)?.try_into().ok()?);
    let kind = i32::from_ne_bytes(control.get(word + 4..word + 8)?.try_into().ok()?);
    let data = control.get(HEADER_BYTES..length)?;
    let rest = control.get(length.next_multiple_of(word)..).unwrap_or(b"");
    Some((level, kind, data, rest))
}

/// Bytes of the control message that names the address to send from.
const SEND_CONTROL_BYTES: usize =
    (HEADER_BYTES + size_of::<libc::in_pktinfo>()).next_multiple_of(size_of::<usize>());

/// A batch of datagrams to be sent through one socket, each from an address of its own.
pub struct Departures {
    slots: Slots,
    lengths: Vec<u16>,
}

impl Departures {
    /// An empty batch, all of it for one target.
    pub fn new(target: SocketAddrV4) -> Self {
        let mut slots = Slots::new(REQUEST_MAX);
        let address = SockAddr::from(SocketAddr::V4(target));
        // SAFETY: the storage holds a sockaddr_in, as its family says, and is read as one.
        let name = unsafe { *address.as_ptr().cast::<libc::sockaddr_in>() };
        slots.names.fill(name);
        Departures { slots, lengths: Vec::with_capacity(BATCH) }
    }

    /// Room for the next datagram; the batch must not be full.
    pub fn room(&mut self) -> &mut [u8] {
        let slot = self.lengths.len();
        &mut self.slots.buffer[slot * REQUEST_MAX..][..REQUEST_MAX]
    }

    /// Takes the datagram that was written into `room`, to be sent from this address.
    pub fn push(&mut self, length: usize, from: Ipv4Addr) {
        assert!(!self.is_full() && length <= REQUEST_MAX);
        let control = &mut self.slots.controls[self.lengths.len()].0;
        control.fill(0);
        let word = size_of::<usize>();
        let bytes = HEADER_BYTES + size_of::<libc::in_pktinfo>();
        control[..word].copy_from_slice(&bytes.to_ne_bytes());
        control[word..word + 4].copy_from_slice(&libc::IPPROTO_IP.to_ne_bytes());
        control[word + 4..word + 8].copy_from_slice(&libc::IP_PKTINFO.to_ne_bytes());
        // The address to send from lies after the interface, which is left to the route.
        control[HEADER_BYTES + 4..HEADER_BYTES + 8].copy_from_slice(&from.octets());
        self.lengths.push(length as u16);
    }

    /// Whether the batch has to be sent before another datagram.
    pub fn is_full(&self) -> bool {
        self.lengths.len() == BATCH
    }

    /// Sends the batch; it is empty afterwards, whatever happened.
    pub fn flush(&mut self, outside: &Outside) -> SendTrouble {
        let mut trouble = SendTrouble::default();
        let lengths = self.lengths.iter().map(|&length| usize::from(length));
        let count = self.slots.point(lengths, SEND_CONTROL_BYTES);
        let (mut place, mut waits) = (0, 0);
        while place < count {
            let rest = &mut self.slots.headers[place..count];
            // SAFETY: the headers were just pointed at memory owned by `self`, which is
            // initialised and which the kernel only reads (but for msg_len), during the call.
            let sent = unsafe {
                libc::sendmmsg(
                    outside.as_raw_fd(),
                    rest.as_mut_ptr(),
                    rest.len() as libc::c_uint,
                    libc::MSG_DONTWAIT as _,
                )
            };
            if sent > 0 {
                place += sent as usize;
                continue;
            }
            match io::Error::last_os_error().raw_os_error() {
                Some(libc::EINTR) => {}
                Some(libc::EAGAIN | libc::ENOBUFS) if waits < FULL_WAITS_MAX => {
                    waits += 1;
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                // Whatever stops this datagram need not stop the next.
                _ => {
                    trouble.dropped += 1;
                    place += 1;
                }
            }
        }
        self.lengths.clear();
        trouble
    }
}

#[cfg(test)]
mod tests {
    use super::super::Waiter;
    use super::*;
    use std::net::UdpSocket;
    use std::time::{Duration, SystemTime};

    #[test]
    fn one_socket_is_as_many_source_addresses_as_it_is_told() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(target) = server.local_addr().unwrap() else { unreachable!() };
        let outside = Outside::open().unwrap();
        let mut departures = Departures::new(target);
        let address = |number: u8| Ipv4Addr::new(127, 3, number, 9);
        for number in 0..BATCH as u8 {
            departures.room()[..2].copy_from_slice(&[number, 7]);
            departures.push(2, address(number));
        }
        assert!(departures.is_full());
        assert_eq!(departures.flush(&outside).dropped, 0);
        assert!(!departures.is_full());
        let before = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        let mut buffer = [0u8; 16];
        for number in 0..BATCH as u8 {
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            let expected = SocketAddrV4::new(address(number), outside.port());
            assert_eq!((&buffer[..length], from), (&[number, 7][..], expected.into()));
            server.send_to(&buffer[..length], from).unwrap();
        }
        let mut waiter = Waiter::new(std::slice::from_ref(&outside));
        waiter.wait(1_000_000_000);
        assert!(waiter.is_ready(0));
        let mut arrivals = Arrivals::new();
        assert_eq!(arrivals.receive(&outside).unwrap(), BATCH);
        for number in 0..BATCH {
            let arrival = arrivals.arrival(number);
            assert_eq!((arrival.to, arrival.from), (address(number as u8), target));
            assert_eq!((arrival.bytes, arrival.dropped), (&[number as u8, 7][..], 0));
            let at = Duration::from_nanos(arrival.stamp);
            assert!(at >= before && at <= SystemTime::UNIX_EPOCH.elapsed().unwrap());
        }
        assert_eq!(arrivals.receive(&outside).unwrap(), 0);
    }

    #[test]
    fn what_a_deaf_socket_is_sent_is_counted() {
        let mut outside = Outside::open_deaf().unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..100 {
            sender.send_to(&[7; 900], ("127.0.0.1", outside.port())).unwrap();
        }
        let mut arrivals = Arrivals::new();
        let read = arrivals.receive(&outside).unwrap() as u64;
        assert!(read < 10, "{read} were kept");
        assert_eq!(read + outside.dropped(), 100);
        outside = Outside::open().unwrap();
        assert_eq!(outside.dropped(), 0);
    }

    #[test]
    fn an_address_that_is_not_this_hosts_is_told_and_what_it_should_send_is_dropped() {
        assert!(is_ours(Ipv4Addr::new(127, 200, 1, 2)));
        let foreign = Ipv4Addr::new(192, 0, 2, 1);
        assert!(!is_ours(foreign));
        let outside = Outside::open().unwrap();
        let mut departures = Departures::new(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 9));
        departures.push(0, foreign);
        assert_eq!(departures.flush(&outside).dropped, 1);
    }

    #[test]
    fn control_messages_that_are_cut_short_end_the_reading() {
        assert_eq!(message(b""), None);
        assert_eq!(message(&[0xff; 16]), None);
        assert_eq!(message(&[0; 16]), None);
    }
}
