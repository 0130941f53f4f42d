//! Sends the replies of a batch with sendmmsg: replies of one length to one peer as one message
//! that the kernel or the card cuts apart ([`super::runs`]). What becomes of those that are not
//! taken is decided by [`super::push_back`].

use std::io;
use std::mem;
use std::ops::Range;
use std::os::fd::RawFd;
use std::ptr;

use super::address::{Control, Name};
use super::counters::Counters;
use super::datagram::{Outbox, Transmit};
use super::push_back::{Offload, Wire, send_in_order};
use super::runs::Order;
use crate::limits::BATCH_MAX;

/// How long one try waits for room, milliseconds: long enough for a card to drain a ring, short
/// enough that receiving goes on.
const NO_ROOM_WAIT_MS: libc::c_int = 1;

/// Sends by a set of sockets, batch by batch.
pub(super) struct Sender {
    sockets: Vec<(RawFd, Offload)>,
    messages: Messages,
    order: Order,
    runs: Vec<u8>,
    /// Sockets at which sending met an error, a bit each.
    errors: u32,
}

/// The message headers of one send, built anew for each, and what they point to.
struct Messages {
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    names: Vec<Name>,
    controls: Vec<Control>,
}

impl Sender {
    /// Sends by these sockets, numbered as the listeners are. They must outlive the sender.
    pub(super) fn new(sockets: Vec<RawFd>) -> Sender {
        // SAFETY: all-zero is a valid `mmsghdr` (null pointers, zero lengths).
        let header: libc::mmsghdr = unsafe { mem::zeroed() };
        let vector = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let with_offload = |socket| (socket, Offload::new(knows_segments(socket)));
        Sender {
            sockets: sockets.into_iter().map(with_offload).collect(),
            messages: Messages {
                headers: vec![header; BATCH_MAX],
                vectors: vec![vector; BATCH_MAX],
                names: vec![Name::EMPTY; BATCH_MAX],
                controls: vec![Control::EMPTY; BATCH_MAX],
            },
            order: Order::new(),
            runs: Vec::with_capacity(BATCH_MAX),
            errors: 0,
        }
    }

    /// The sockets at which sending has met an error since the last call, a bit each.
    pub(super) fn take_errors(&mut self) -> u32 {
        mem::take(&mut self.errors)
    }

    /// Sends what waits in the outbox, one batch per socket, and empties it.
    pub(super) fn flush(&mut self, outbox: &mut Outbox, counters: &mut Counters) {
        let Sender { sockets, messages, order, runs, errors } = self;
        let count = outbox.transmits().len();
        order.arrange(outbox.transmits());
        let mut from = 0;
        while from < count {
            let places = order.of_listener(from);
            from = places.end;
            let listener = outbox.transmits()[order.reply(places.start)].listener;
            let Some((socket, offload)) = sockets.get_mut(usize::from(listener.0)) else {
                counters.send_failed += places.len() as u64;
                continue;
            };
            order.split(places.clone(), offload.begin_batch(), runs);
            let mut batch = Batch {
                socket: *socket,
                messages,
                order,
                start: places.start,
                outbox,
                datagrams: 0,
                bytes: 0,
                met_error: false,
            };
            send_in_order(runs, offload, counters, &mut batch);
            counters.datagrams_out += batch.datagrams;
            counters.bytes_out += batch.bytes;
            *errors |= u32::from(batch.met_error) << listener.0;
        }
        outbox.clear();
    }
}

/// The replies of one batch that leave by one socket.
struct Batch<'a> {
    socket: RawFd,
    messages: &'a mut Messages,
    order: &'a Order,
    /// The place of the first of them.
    start: usize,
    outbox: &'a Outbox,
    datagrams: u64,
    bytes: u64,
    /// Something was not taken: an error may wait at the socket.
    met_error: bool,
}

impl Batch<'_> {
    fn reply(&self, number: usize) -> &Transmit {
        &self.outbox.transmits()[self.order.reply(self.start + number)]
    }
}

impl Wire for Batch<'_> {
    fn send(&mut self, first: usize, runs: &[u8]) -> io::Result<usize> {
        let mut next = first;
        for (message, &run) in runs.iter().enumerate() {
            let replies = next..next + usize::from(run);
            for number in replies.clone() {
                let reply = self.reply(number);
                self.messages.vectors[number] =
                    libc::iovec { iov_base: self.outbox.pointer(reply).cast(), iov_len: reply.len };
            }
            let &Transmit { to, local_ip, len, .. } = self.reply(next);
            let segment_bytes = (run > 1).then_some(len as u16);
            let Messages { headers, vectors, names, controls } = &mut *self.messages;
            let header = &mut headers[message].msg_hdr;
            header.msg_namelen = names[message].write(to) as libc::socklen_t;
            header.msg_name = (&raw mut names[message]).cast();
            header.msg_iov = (&raw mut vectors[replies.clone()]).cast();
            header.msg_iovlen = replies.len() as _;
            header.msg_controllen = controls[message].write(local_ip, segment_bytes) as _;
            header.msg_control = match header.msg_controllen {
                0 => ptr::null_mut(),
                _ => (&raw mut controls[message]).cast(),
            };
            next = replies.end;
        }
        let taken = sendmmsg(self.socket, &mut self.messages.headers[..runs.len()]);
        // A message that meets the error of an earlier one ends the batch and takes the error with
        // it; nobody is told but by the short count.
        self.met_error |= taken.as_ref().map_or(true, |&taken| taken < runs.len());
        taken
    }

    fn wait_for_room(&mut self) {
        let mut poll = libc::pollfd { fd: self.socket, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one `pollfd` that outlives the call. Its result does not matter: the next try
        // says more.
        unsafe { libc::poll(&raw mut poll, 1, NO_ROOM_WAIT_MS) };
    }

    fn sent(&mut self, replies: Range<usize>) {
        self.datagrams += replies.len() as u64;
        self.bytes += replies.map(|number| self.reply(number).len as u64).sum::<u64>();
    }
}

fn sendmmsg(socket: RawFd, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: each header was just pointed at a name, control messages, vectors and payloads that
    // live in vectors of fixed length and in the outbox, none of which moves before the call
    // returns; the kernel only reads them and writes `msg_len`.
    let sent = unsafe {
        libc::sendmmsg(
            socket,
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Whether the kernel knows UDP_SEGMENT. One that does not would overlook the control message and
/// send a run as a single datagram.
fn knows_segments(socket: RawFd) -> bool {
    let mut bytes: libc::c_int = 0;
    let mut len = size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `bytes`, which are what it has.
    let outcome = unsafe {
        libc::getsockopt(
            socket,
            libc::SOL_UDP,
            libc::UDP_SEGMENT,
            (&raw mut bytes).cast(),
            &raw mut len,
        )
    };
    outcome == 0
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, SocketAddr, UdpSocket};
    use std::os::fd::AsRawFd;
    use std::time::Duration;

    use super::*;
    use crate::shard::{Datagram, ListenerId};
    use crate::time::Instant;

    /// A socket to send from and the outbox; the replies name listener 0.
    struct Bench {
        socket: UdpSocket,
        sender: Sender,
        outbox: Outbox,
        counters: Counters,
    }

    impl Bench {
        /// `None`, said aloud, where the address family or segmentation is missing.
        fn new(bind: &str) -> Option<Bench> {
            let Ok(socket) = UdpSocket::bind(bind) else {
                eprintln!("SKIPPED: {bind} cannot be bound here");
                return None;
            };
            if !knows_segments(socket.as_raw_fd()) {
                eprintln!("SKIPPED: the kernel has no UDP_SEGMENT");
                return None;
            }
            let sender = Sender::new(vec![socket.as_raw_fd()]);
            let outbox = Outbox::new().unwrap();
            Some(Bench { socket, sender, outbox, counters: Counters::default() })
        }

        fn queue(&mut self, to: SocketAddr, local_ip: Option<IpAddr>, payload: &[u8]) {
            let datagram = Datagram {
                source: to,
                listener: ListenerId(0),
                local_ip,
                received_at: Instant::from_nanos(0),
                bytes: b"",
                link: None,
            };
            self.outbox.slot()[..payload.len()].copy_from_slice(payload);
            self.outbox.queue(&datagram, to, payload.len());
        }

        fn flush(&mut self) {
            self.sender.flush(&mut self.outbox, &mut self.counters);
        }
    }

    fn peer(bind: &str) -> UdpSocket {
        let socket = UdpSocket::bind(bind).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    /// Takes `count` datagrams, which must be all there are, and where the last came from.
    fn hear(socket: &UdpSocket, count: usize) -> (Vec<Vec<u8>>, SocketAddr) {
        let mut buffer = vec![0; 65_536];
        let mut heard = Vec::new();
        let mut last = socket.local_addr().unwrap();
        for _ in 0..count {
            let (len, from) = socket.recv_from(&mut buffer).expect("a datagram");
            heard.push(buffer[..len].to_vec());
            last = from;
        }
        socket.set_nonblocking(true).unwrap();
        assert!(socket.recv_from(&mut buffer).is_err(), "no more than was sent");
        (heard, last)
    }

    fn payload(number: usize, len: usize) -> Vec<u8> {
        let mut payload: Vec<u8> = (0..len).map(|at| (number * 7 + at) as u8).collect();
        payload[0] = number as u8;
        payload
    }

    #[test]
    fn runs_arrive_as_the_datagrams_they_were_queued_as() {
        for (bind, to) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0")] {
            let lens: [&[usize]; 5] = [
                &[500; BATCH_MAX],
                &[500, 501, 499, 500, 501, 1, 1],
                &[600, 600, 100],
                &[1232, 1232, 1233, 1233, 1, 2, 3],
                // Above the MTU of loopback, not to speak of Ethernet: fragments, each alone.
                &[2000, 2000, 65_507, 2000, 65_000],
            ];
            for lens in lens {
                let Some(mut bench) = Bench::new(bind) else { return };
                let peer = peer(to);
                let to = peer.local_addr().unwrap();
                let mut expected = Vec::new();
                for (number, &len) in lens.iter().enumerate() {
                    expected.push(payload(number, len));
                    bench.queue(to, None, &expected[number]);
                }
                bench.flush();
                let (mut heard, from) = hear(&peer, lens.len());
                assert_eq!(from, bench.socket.local_addr().unwrap());
                heard.sort();
                expected.sort();
                assert!(heard == expected, "{lens:?} arrive whole, each once");
                let Counters { datagrams_out, bytes_out, .. } = bench.counters;
                assert_eq!(datagrams_out, lens.len() as u64);
                assert_eq!(bytes_out, lens.iter().sum::<usize>() as u64);
                assert_eq!(bench.counters.runs_refused, 0);
                assert_eq!(bench.counters.runs_out > 0, lens[0] <= 1232);
            }
        }
    }

    #[test]
    fn equal_replies_to_one_peer_keep_their_order_and_are_one_message() {
        let Some(mut bench) = Bench::new("127.0.0.1:0") else { return };
        let peer = peer("127.0.0.1:0");
        for number in 0..BATCH_MAX {
            bench.queue(peer.local_addr().unwrap(), None, &payload(number, 400));
        }
        bench.flush();
        let (heard, _) = hear(&peer, BATCH_MAX);
        assert!(heard.iter().enumerate().all(|(number, one)| *one == payload(number, 400)));
        assert_eq!((bench.counters.runs_out, bench.counters.datagrams_out), (1, BATCH_MAX as u64));
    }

    #[test]
    fn peers_that_take_turns_each_get_their_own() {
        let Some(mut bench) = Bench::new("127.0.0.1:0") else { return };
        let peers: Vec<_> = (0..5).map(|_| peer("127.0.0.1:0")).collect();
        for number in 0..30 {
            let to = peers[number % 5].local_addr().unwrap();
            bench.queue(to, None, &payload(number, 300 + number % 3));
        }
        bench.flush();
        for (index, peer) in peers.iter().enumerate() {
            let (heard, _) = hear(peer, 6);
            let mut numbers: Vec<_> = heard.iter().map(|one| usize::from(one[0])).collect();
            numbers.sort_unstable();
            assert!(numbers.iter().copied().eq((0..6).map(|turn| turn * 5 + index)));
            for (number, one) in numbers.iter().map(|&n| (n, payload(n, 300 + n % 3))) {
                assert!(heard.contains(&one), "{number}");
            }
        }
        assert_eq!(bench.counters.datagrams_out, 30);
        assert!(bench.counters.runs_out >= 10);
    }

    #[test]
    fn a_run_leaves_a_wildcard_from_the_address_that_was_asked() {
        for (bind, locals, to) in [
            ("0.0.0.0:0", &["127.0.0.3", "127.0.0.4"][..], "127.0.0.1:0"),
            ("[::]:0", &["::1"], "[::1]:0"),
        ] {
            let Some(mut bench) = Bench::new(bind) else { return };
            let port = bench.socket.local_addr().unwrap().port();
            for local in locals {
                let peer = peer(to);
                for number in 0..8 {
                    let to = peer.local_addr().unwrap();
                    bench.queue(to, Some(local.parse().unwrap()), &payload(number, 100));
                }
                bench.flush();
                let (_, from) = hear(&peer, 8);
                assert_eq!(from, SocketAddr::new(local.parse().unwrap(), port));
            }
            assert_eq!(bench.counters.runs_out, locals.len() as u64);
        }
    }

    #[test]
    fn a_socket_that_cannot_segment_sends_every_reply_all_the_same() {
        let Some(mut bench) = Bench::new("127.0.0.1:0") else { return };
        // The kernel refuses segments without checksums: EINVAL or EIO, as it is minded.
        let off: libc::c_int = 1;
        // SAFETY: the kernel reads one `c_int` that outlives the call.
        let outcome = unsafe {
            libc::setsockopt(
                bench.socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_NO_CHECK,
                (&raw const off).cast(),
                size_of_val(&off) as libc::socklen_t,
            )
        };
        assert_eq!(outcome, 0);
        let peer = peer("127.0.0.1:0");
        let to = peer.local_addr().unwrap();
        for number in 0..8 {
            bench.queue(to, None, &payload(number, 200 + number / 4));
        }
        bench.flush();
        let (heard, _) = hear(&peer, 8);
        assert_eq!(heard.len(), 8);
        let Counters { datagrams_out, runs_out, runs_refused, send_failed, .. } = bench.counters;
        assert_eq!((datagrams_out, runs_out, send_failed), (8, 0, 0));
        assert!(runs_refused > 0);
    }

    #[test]
    fn a_peer_that_is_gone_costs_the_others_nothing() {
        let Some(mut bench) = Bench::new("127.0.0.1:0") else { return };
        let there = peer("127.0.0.1:0");
        let gone = peer("127.0.0.1:0").local_addr().unwrap();
        for number in 0..16 {
            let to = if number % 2 == 0 { gone } else { there.local_addr().unwrap() };
            bench.queue(to, None, &payload(number, 250));
        }
        bench.flush();
        assert_eq!(hear(&there, 8).0.len(), 8);
        assert_eq!(bench.counters.datagrams_out, 16);
    }
}
