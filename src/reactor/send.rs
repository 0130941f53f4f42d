//! Sends the replies of a batch with sendmmsg, and decides what becomes of those that the kernel
//! does not take. The decision knows no socket, so that push-back, which loopback never shows, is
//! tested like anything else.

use std::io;
use std::mem::{self, size_of};
use std::ops::Range;
use std::os::fd::RawFd;
use std::ptr;

use super::address::{Control, Name};
use super::counters::Counters;
use super::datagram::Outbox;
use crate::limits::BATCH_MAX;

/// How often in a row a batch is tried again when the kernel has no room, before it is shed.
const NO_ROOM_TRIES_MAX: u32 = 4;
/// How long one of these tries waits for room, milliseconds: long enough for a card to drain a
/// ring, short enough that receiving goes on.
const NO_ROOM_WAIT_MS: libc::c_int = 1;

/// Sends messages `0..count` in order, each at most once. `send` takes a range and answers how
/// many from its start went out, or the error that the first of them met; `wait_for_room` is
/// called between tries when the kernel is out of buffers. `sent` hears
/// which went out.
fn send_in_order(
    count: usize,
    counters: &mut Counters,
    mut send: impl FnMut(Range<usize>) -> io::Result<usize>,
    mut wait_for_room: impl FnMut(),
    mut sent: impl FnMut(Range<usize>),
) {
    let mut at = 0;
    let mut head_tried = false;
    let mut no_room = 0;
    while at < count {
        let errno = match send(at..count) {
            // The kernel says 0 only for an empty batch; were it to, we must not turn for ever.
            Ok(0) => libc::EIO,
            Ok(taken) => {
                let taken = taken.min(count - at);
                sent(at..at + taken);
                at += taken;
                head_tried = false;
                no_room = 0;
                continue;
            }
            Err(error) => error.raw_os_error().unwrap_or(libc::EIO),
        };
        match errno {
            // ENOMEM is how a cgroup's limit on socket memory shows.
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR => {
                no_room += 1;
                if no_room >= NO_ROOM_TRIES_MAX {
                    counters.send_shed += (count - at) as u64;
                    return;
                }
                wait_for_room();
                continue;
            }
            // Most likely the echo of an earlier datagram, whoever it went to: the kernel reports
            // a pending error once, at the next call. This datagram deserves its own try.
            libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ECONNRESET
            | libc::EPROTO
            | libc::ENOPROTOOPT => {
                if !head_tried {
                    head_tried = true;
                    counters.send_pending_errors += 1;
                    continue;
                }
                counters.send_unreachable += 1;
            }
            libc::EPERM | libc::EACCES => counters.send_forbidden += 1,
            libc::EMSGSIZE => counters.send_too_long += 1,
            _ => counters.send_failed += 1,
        }
        at += 1;
        head_tried = false;
        no_room = 0;
    }
}

/// The message headers of one batch, built anew for each.
pub(super) struct Sender {
    sockets: Vec<RawFd>,
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
        Sender {
            sockets,
            headers: vec![header; BATCH_MAX],
            vectors: vec![vector; BATCH_MAX],
            names: vec![Name::EMPTY; BATCH_MAX],
            controls: vec![Control::EMPTY; BATCH_MAX],
        }
    }

    /// Sends what waits in the outbox, one batch per socket, and empties it.
    pub(super) fn flush(&mut self, outbox: &mut Outbox, counters: &mut Counters) {
        let mut left = outbox.transmits().len();
        for listener in 0..self.sockets.len() {
            if left == 0 {
                break;
            }
            left -= self.flush_listener(listener, outbox, counters);
        }
        counters.send_failed += left as u64;
        outbox.clear();
    }

    fn flush_listener(
        &mut self,
        listener: usize,
        outbox: &Outbox,
        counters: &mut Counters,
    ) -> usize {
        let mut count = 0;
        for transmit in outbox.transmits() {
            if usize::from(transmit.listener.0) != listener {
                continue;
            }
            self.vectors[count] =
                libc::iovec { iov_base: outbox.pointer(transmit).cast(), iov_len: transmit.len };
            let name_len = self.names[count].write(transmit.to);
            let header = &mut self.headers[count].msg_hdr;
            header.msg_name = (&raw mut self.names[count]).cast();
            header.msg_namelen = name_len as libc::socklen_t;
            header.msg_iov = &raw mut self.vectors[count];
            header.msg_iovlen = 1;
            if let Some(ip) = transmit.local_ip {
                header.msg_controllen = self.controls[count].write(ip) as _;
                header.msg_control = (&raw mut self.controls[count]).cast();
            } else {
                header.msg_controllen = 0;
                header.msg_control = ptr::null_mut();
            }
            count += 1;
        }
        if count == 0 {
            return 0;
        }
        let socket = self.sockets[listener];
        let headers = &mut self.headers[..count];
        let vectors = &self.vectors;
        let (mut datagrams, mut bytes) = (0, 0);
        send_in_order(
            count,
            counters,
            |range| sendmmsg(socket, &mut headers[range]),
            || wait_for_room(socket),
            |range| {
                datagrams += range.len() as u64;
                bytes += vectors[range].iter().map(|v| v.iov_len as u64).sum::<u64>();
            },
        );
        counters.datagrams_out += datagrams;
        counters.bytes_out += bytes;
        count
    }
}

fn sendmmsg(socket: RawFd, headers: &mut [libc::mmsghdr]) -> io::Result<usize> {
    // SAFETY: each header was just pointed at a name, a control message, a vector and a payload
    // that live in vectors of fixed length and in the outbox, none of which moves before the call
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

fn wait_for_room(socket: RawFd) {
    let mut poll = libc::pollfd { fd: socket, events: libc::POLLOUT, revents: 0 };
    // SAFETY: one `pollfd` that outlives the call. Its result does not matter: the next try says
    // more.
    unsafe { libc::poll(&raw mut poll, 1, NO_ROOM_WAIT_MS) };
}

const _: () = assert!(size_of::<libc::mmsghdr>() >= size_of::<libc::msghdr>());

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a script of answers; afterwards everything is taken. Returns what was sent, how often
    /// room was awaited, and the counters.
    fn run(count: usize, script: &[Result<usize, i32>]) -> (Vec<usize>, usize, Counters) {
        let mut counters = Counters::default();
        let mut script = script.iter();
        let mut went = Vec::new();
        let mut waits = 0;
        send_in_order(
            count,
            &mut counters,
            |range| match script.next() {
                None => Ok(range.len()),
                Some(Ok(taken)) => Ok(*taken),
                Some(Err(errno)) => Err(io::Error::from_raw_os_error(*errno)),
            },
            || waits += 1,
            |range| went.extend(range),
        );
        (went, waits, counters)
    }

    #[test]
    fn a_short_send_goes_on_from_its_offset() {
        let (went, _, counters) = run(5, &[Ok(2), Ok(1)]);
        assert_eq!(went, [0, 1, 2, 3, 4]);
        assert_eq!(counters, Counters::default());
    }

    #[test]
    fn a_pending_error_costs_nobody_a_reply() {
        for errno in [libc::ECONNREFUSED, libc::EHOSTUNREACH, libc::ENETUNREACH] {
            let (went, _, counters) = run(3, &[Ok(1), Err(errno)]);
            assert_eq!(went, [0, 1, 2]);
            assert_eq!((counters.send_pending_errors, counters.send_unreachable), (1, 0));
        }
    }

    #[test]
    fn a_destination_that_fails_twice_is_skipped_and_counted() {
        let errors = [Err(libc::EHOSTUNREACH), Err(libc::EHOSTUNREACH)];
        let (went, _, counters) = run(3, &errors);
        assert_eq!(went, [1, 2]);
        assert_eq!((counters.send_pending_errors, counters.send_unreachable), (1, 1));
    }

    #[test]
    fn each_datagram_has_its_own_second_try() {
        let refused = Err(libc::ECONNREFUSED);
        let (went, _, counters) = run(2, &[refused, Ok(1), refused, Ok(1)]);
        assert_eq!(went, [0, 1]);
        assert_eq!((counters.send_pending_errors, counters.send_unreachable), (2, 0));
    }

    #[test]
    fn errors_of_one_datagram_skip_it_alone_and_are_counted_by_kind() {
        let script = [Err(libc::EPERM), Err(libc::EMSGSIZE), Err(libc::EINVAL), Ok(0)];
        let (went, _, counters) = run(5, &script);
        assert_eq!(went, [4]);
        assert_eq!(
            (counters.send_forbidden, counters.send_too_long, counters.send_failed),
            (1, 1, 2)
        );
    }

    #[test]
    fn a_moment_without_room_is_waited_out() {
        for errno in [libc::EAGAIN, libc::ENOBUFS] {
            let (went, waits, counters) = run(4, &[Ok(1), Err(errno), Err(errno), Ok(1)]);
            assert_eq!(went, [0, 1, 2, 3]);
            assert_eq!((waits, counters.send_shed), (2, 0));
        }
    }

    #[test]
    fn lasting_push_back_sheds_the_rest_after_a_bounded_wait() {
        let script = [[Ok(2)].as_slice(), &[Err(libc::ENOBUFS); 64]].concat();
        let (went, waits, counters) = run(5, &script);
        assert_eq!(went, [0, 1]);
        assert_eq!(counters.send_shed, 3);
        assert_eq!(waits, NO_ROOM_TRIES_MAX as usize - 1);
    }

    #[test]
    fn progress_renews_the_patience() {
        let push_back = [Err(libc::EAGAIN); NO_ROOM_TRIES_MAX as usize - 1];
        let script = [push_back.as_slice(), &[Ok(1)], &push_back, &[Ok(1)]].concat();
        let (went, _, counters) = run(2, &script);
        assert_eq!(went, [0, 1]);
        assert_eq!(counters.send_shed, 0);
    }

    #[test]
    fn a_count_larger_than_asked_for_is_cut() {
        let (went, _, _) = run(2, &[Ok(100)]);
        assert_eq!(went, [0, 1]);
    }
}
