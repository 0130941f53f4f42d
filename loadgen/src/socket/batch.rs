//! Datagrams received and sent many at a time through connected sockets, where the kernel can as
//! runs that it cuts apart or has joined. Which requests make a run is said elsewhere.

use super::{FULL_WAITS_MAX, Port};
use crate::runs::{Burst, CONTROL_BYTES, Control, segments};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;

/// Datagrams in a batch: more costs more than it saves.
pub const BATCH: usize = 32;
/// Longest request.
pub const REQUEST_MAX: usize = 3072;
/// Room for what one message brings: a run of answers, where the kernel joins them, else one.
const ANSWERS_MAX: usize = 65_536;

/// Memory of a batch: headers, what they point to, and one buffer, slot by slot.
struct Slots {
    headers: Box<[libc::mmsghdr]>,
    iovecs: Box<[libc::iovec]>,
    controls: Box<[Control]>,
    buffer: Box<[u8]>,
    slot_bytes: usize,
}

impl Slots {
    fn new(slot_bytes: usize) -> Self {
        // SAFETY: all zeros is a valid mmsghdr: null pointers and zero lengths.
        let header: libc::mmsghdr = unsafe { std::mem::zeroed() };
        let iovec = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Slots {
            headers: vec![header; BATCH].into_boxed_slice(),
            iovecs: vec![iovec; BATCH].into_boxed_slice(),
            controls: vec![Control::EMPTY; BATCH].into_boxed_slice(),
            buffer: vec![0u8; slot_bytes * BATCH].into_boxed_slice(),
            slot_bytes,
        }
    }

    fn slot(&self, slot: usize) -> &[u8] {
        &self.buffer[slot * self.slot_bytes..][..self.slot_bytes]
    }

    fn slot_mut(&mut self, slot: usize) -> &mut [u8] {
        &mut self.buffer[slot * self.slot_bytes..][..self.slot_bytes]
    }
}

/// A batch of datagrams that came in.
pub struct Received {
    slots: Slots,
    /// Slot of each datagram, and where it lies in it.
    datagrams: Vec<(usize, Range<usize>)>,
}

impl Received {
    /// An empty batch.
    pub fn new() -> Self {
        // Slots a power of two apart would fight for the same few sets of the cache.
        let slots = Slots::new(ANSWERS_MAX + 128);
        Received { slots, datagrams: Vec::with_capacity(BATCH) }
    }

    /// Takes what is there, without waiting, and returns how many datagrams that were. A pending
    /// ICMP error is an `Err` and is taken with it.
    pub fn receive(&mut self, port: &Port) -> io::Result<usize> {
        self.datagrams.clear();
        let Slots { headers, iovecs, controls, buffer, slot_bytes } = &mut self.slots;
        let parts = headers.iter_mut().zip(&mut *iovecs).zip(&mut *controls);
        for (((header, iovec), control), slot) in parts.zip(buffer.chunks_exact_mut(*slot_bytes)) {
            *iovec = libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: slot.len() };
            header.msg_hdr.msg_iov = iovec;
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = (&raw mut *control).cast();
            header.msg_hdr.msg_controllen = CONTROL_BYTES as _;
        }
        // SAFETY: the headers describe BATCH slots of memory owned by `self`; the kernel writes
        // no more than iov_len bytes into each and msg_controllen beside it, and only during the
        // call.
        let count = unsafe {
            libc::recvmmsg(
                port.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                BATCH as libc::c_uint,
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
        for (slot, header) in headers[..count as usize].iter().enumerate() {
            let length = (header.msg_len as usize).min(*slot_bytes);
            let joined = controls[slot].joined_bytes(header.msg_hdr.msg_controllen as _);
            self.datagrams.extend(segments(length, joined).map(|range| (slot, range)));
        }
        Ok(self.datagrams.len())
    }

    /// One datagram of the last batch.
    pub fn datagram(&self, number: usize) -> &[u8] {
        let (slot, range) = &self.datagrams[number];
        &self.slots.slot(*slot)[range.clone()]
    }
}

impl Default for Received {
    fn default() -> Self {
        Received::new()
    }
}

/// What the kernel did not take.
#[derive(Debug, Default, Clone, Copy)]
pub struct SendTrouble {
    /// Datagrams given up.
    pub dropped: u64,
    /// ICMP errors met; the datagram that met one is sent again.
    pub unreachable: u64,
}

/// A batch of datagrams to be sent through one socket.
pub struct Outgoing {
    slots: Slots,
    lengths: Vec<u16>,
    burst: Burst,
    /// No run has been refused: all go to one target, so one refusal speaks for all.
    runs_taken: bool,
}

impl Outgoing {
    /// An empty batch.
    pub fn new() -> Self {
        Outgoing {
            slots: Slots::new(REQUEST_MAX),
            lengths: Vec::with_capacity(BATCH),
            burst: Burst::default(),
            runs_taken: true,
        }
    }

    /// Room for the next datagram; the batch must not be full.
    pub fn room(&mut self) -> &mut [u8] {
        self.slots.slot_mut(self.lengths.len())
    }

    /// Takes the datagram that was written into `room`.
    pub fn push(&mut self, length: usize) {
        assert!(!self.is_full() && length <= REQUEST_MAX);
        self.lengths.push(length as u16);
    }

    /// Whether the batch has to be sent before another datagram.
    pub fn is_full(&self) -> bool {
        self.lengths.len() == BATCH
    }

    /// Sends the batch; it is empty afterwards, whatever happened.
    pub fn flush(&mut self, port: &Port) -> SendTrouble {
        let mut trouble = SendTrouble::default();
        if self.lengths.is_empty() {
            return trouble;
        }
        self.burst.arrange(&self.lengths, port.segments && self.runs_taken);
        let (mut run, mut place) = (0, 0);
        let mut waits = 0;
        while run < self.burst.runs().len() {
            let error = match self.send(port, run, place) {
                Ok(sent) if sent > 0 => {
                    let taken = &self.burst.runs()[run..run + sent];
                    place += taken.iter().copied().map(usize::from).sum::<usize>();
                    run += sent;
                    continue;
                }
                Ok(_) => None,
                Err(error) => error.raw_os_error(),
            };
            match error {
                Some(libc::EINTR) => {}
                Some(libc::ECONNREFUSED) if trouble.unreachable < 2 * BATCH as u64 => {
                    trouble.unreachable += 1;
                }
                Some(libc::EAGAIN | libc::ENOBUFS) if waits < FULL_WAITS_MAX => {
                    waits += 1;
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                error if self.burst.runs()[run] > 1 => {
                    // An error of the target's or of room says nothing about runs.
                    let rest = [libc::ECONNREFUSED, libc::EAGAIN, libc::ENOBUFS].map(Some);
                    self.runs_taken &= rest.contains(&error);
                    self.burst.take_apart(run);
                }
                // Whatever stops this datagram need not stop the next.
                _ => {
                    trouble.dropped += 1;
                    run += 1;
                    place += 1;
                }
            }
        }
        self.lengths.clear();
        trouble
    }

    /// Sends the runs from number `run` on, whose first request has this place. Returns how many
    /// went out.
    fn send(&mut self, port: &Port, run: usize, mut place: usize) -> io::Result<usize> {
        let runs = &self.burst.runs()[run..];
        let Slots { headers, iovecs, controls, buffer, slot_bytes } = &mut self.slots;
        let mut iovecs = iovecs.iter_mut();
        for ((&run, header), control) in runs.iter().zip(&mut *headers).zip(controls) {
            let header = &mut header.msg_hdr;
            let head = self.lengths[self.burst.slot(place)];
            let parts = iovecs.into_slice();
            let (parts, rest) = parts.split_at_mut(run.into());
            iovecs = rest.iter_mut();
            for part in &mut *parts {
                let slot = self.burst.slot(place);
                let bytes = &mut buffer[slot * *slot_bytes..][..self.lengths[slot].into()];
                *part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
                place += 1;
            }
            header.msg_iov = parts.as_mut_ptr();
            header.msg_iovlen = parts.len() as _;
            if run > 1 {
                *control = Control::segment_bytes(head);
                header.msg_control = (&raw mut *control).cast();
                header.msg_controllen = CONTROL_BYTES as _;
            } else {
                header.msg_control = std::ptr::null_mut();
                header.msg_controllen = 0;
            }
        }
        // SAFETY: the headers were just pointed at memory owned by `self`, which is initialised
        // and which the kernel only reads (but for msg_len), during the call.
        let sent = unsafe {
            libc::sendmmsg(
                port.socket.as_raw_fd(),
                headers.as_mut_ptr(),
                runs.len() as libc::c_uint,
                libc::MSG_DONTWAIT as _,
            )
        };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }
}

impl Default for Outgoing {
    fn default() -> Self {
        Outgoing::new()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Waiter, set_option};
    use super::*;
    use socket2::SockAddr;
    use std::net::UdpSocket;

    #[test]
    fn batches_go_out_and_come_back_in_order() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = Port::open(server.local_addr().unwrap(), None, false).unwrap();
        let mut outgoing = Outgoing::new();
        for number in 0..BATCH as u8 {
            outgoing.room()[..2].copy_from_slice(&[number, 7]);
            outgoing.push(2);
        }
        assert!(outgoing.is_full());
        let trouble = outgoing.flush(&port);
        assert_eq!((trouble.dropped, trouble.unreachable), (0, 0));
        assert!(!outgoing.is_full());
        let mut buffer = [0u8; 16];
        for number in 0..BATCH as u8 {
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            assert_eq!((&buffer[..length], from), (&[number, 7][..], port.local()));
            server.send_to(&buffer[..length], from).unwrap();
        }
        let mut waiter = Waiter::new(std::slice::from_ref(&port));
        waiter.wait(1_000_000_000);
        assert!(waiter.is_ready(0));
        let mut received = Received::new();
        assert_eq!(received.receive(&port).unwrap(), BATCH);
        for number in 0..BATCH {
            assert_eq!(received.datagram(number), [number as u8, 7]);
        }
        assert_eq!(received.receive(&port).unwrap(), 0);
    }

    /// What a plain socket hears of requests of these lengths, each filled with its number.
    fn heard(lengths: &[usize], outgoing: &mut Outgoing, port: &Port, server: &UdpSocket) {
        for (number, &length) in lengths.iter().enumerate() {
            outgoing.room()[..length].fill(number as u8);
            outgoing.push(length);
        }
        let trouble = outgoing.flush(port);
        assert_eq!((trouble.dropped, trouble.unreachable), (0, 0));
        let mut buffer = [0u8; REQUEST_MAX];
        let mut seen = vec![false; lengths.len()];
        for _ in lengths {
            let (length, from) = server.recv_from(&mut buffer).unwrap();
            let number = usize::from(buffer[0]);
            assert_eq!((length, from), (lengths[number], port.local()));
            assert!(buffer[..length].iter().all(|&byte| usize::from(byte) == number));
            assert!(!std::mem::replace(&mut seen[number], true), "{number} came twice");
        }
    }

    #[test]
    fn runs_arrive_as_the_requests_they_were() {
        for any in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(server) = UdpSocket::bind(any) else {
                eprintln!("SKIPPED: {any} cannot be bound here");
                continue;
            };
            let port = Port::open(server.local_addr().unwrap(), None, true).unwrap();
            let mut outgoing = Outgoing::new();
            heard(&[600; BATCH], &mut outgoing, &port, &server);
            heard(&[600, 601, 599, 600, 601, 1, 1], &mut outgoing, &port, &server);
            heard(&[2000, 1232, 1232, 3072, 2000], &mut outgoing, &port, &server);
            assert!(outgoing.runs_taken);
        }
    }

    #[test]
    fn a_socket_that_cannot_segment_sends_every_request_all_the_same() {
        let server = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = Port::open(server.local_addr().unwrap(), None, true).unwrap();
        if !port.segments {
            eprintln!("SKIPPED: the kernel has no UDP_SEGMENT");
            return;
        }
        // The kernel refuses segments without checksums.
        set_option(&port.socket, libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
        let mut outgoing = Outgoing::new();
        heard(&[600, 601, 600, 601, 600], &mut outgoing, &port, &server);
        assert!(!outgoing.runs_taken);
        heard(&[600; 3], &mut outgoing, &port, &server);
    }

    #[test]
    fn joined_datagrams_are_taken_apart_again() {
        // Two ports that talk to each other: one sends runs, the other has them joined.
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = Port::open(nobody.local_addr().unwrap(), None, true).unwrap();
        let from = Port::open(to.local(), None, true).unwrap();
        to.socket.connect(&SockAddr::from(from.local())).unwrap();
        let mut outgoing = Outgoing::new();
        let lengths = [500, 500, 500, 400, 300, 300, 1300, 1300];
        for (number, &length) in lengths.iter().enumerate() {
            outgoing.room()[..length].fill(number as u8);
            outgoing.push(length);
        }
        outgoing.flush(&from);
        let mut waiter = Waiter::new(std::slice::from_ref(&to));
        waiter.wait(1_000_000_000);
        let mut received = Received::new();
        assert_eq!(received.receive(&to).unwrap(), lengths.len());
        let mut seen: Vec<_> = (0..lengths.len())
            .map(|number| received.datagram(number))
            .map(|datagram| (usize::from(datagram[0]), datagram.len()))
            .collect();
        seen.sort_unstable();
        assert!(seen.into_iter().eq(lengths.into_iter().enumerate()));
        assert_eq!(received.receive(&to).unwrap(), 0);
    }

    #[test]
    fn an_unreachable_target_is_counted_and_the_datagram_sent_again() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let port = Port::open(gone, None, true).unwrap();
        let mut outgoing = Outgoing::new();
        let mut unreachable = 0;
        for _ in 0..4 {
            outgoing.room()[0] = 1;
            outgoing.push(1);
            let trouble = outgoing.flush(&port);
            assert_eq!(trouble.dropped, 0);
            unreachable += trouble.unreachable;
        }
        assert!(unreachable > 0);
    }
}
