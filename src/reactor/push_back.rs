//! Decides what becomes of the replies that the kernel does not take: which are tried again, which
//! run is taken apart, which are given up. It knows no socket, so that push-back, which loopback
//! never shows, is tested like anything else.

use std::io;
use std::iter::repeat_n;
use std::ops::Range;

use super::counters::Counters;

/// How often in a row a batch is tried again when the kernel has no room, before it is shed.
pub(super) const NO_ROOM_TRIES_MAX: u32 = 4;
/// How often one message is tried that meets what may be the errors of others. While many
/// destinations are out of reach, one more may come in between two tries.
const PENDING_TRIES_MAX: u32 = 3;
/// After so many runs refused in a row, none is tried for a while. One peer with a narrow path must
/// not cost the others their runs; a kernel that takes none shall not be asked each time.
const REFUSED_IN_A_ROW_MAX: u32 = 64;
/// How many batches that while is: one refusal more for so many costs nothing. Not for ever: anyone
/// who gets himself answers while it is quiet, over a path he made narrow, decides what comes last.
const REST_BATCHES: u32 = 4096;

/// What carries the replies of one batch: a socket, or the script of a test.
pub(super) trait Wire {
    /// Sends runs of these lengths, of which the first begins at reply `first`. Answers how many
    /// runs from its start went out, or the error that the first of them met.
    fn send(&mut self, first: usize, runs: &[u8]) -> io::Result<usize>;

    /// Called between tries when the kernel is out of room.
    fn wait_for_room(&mut self);

    /// Hears which replies went out.
    fn sent(&mut self, replies: Range<usize>);
}

/// Whether a socket's replies leave in runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offload {
    known: bool,
    refused_in_a_row: u32,
    /// Batches until runs are tried again, the one at hand included.
    rest: u32,
}

impl Offload {
    /// `known`: the kernel knows runs at all.
    pub(super) fn new(known: bool) -> Offload {
        Offload { known, refused_in_a_row: 0, rest: 0 }
    }

    /// Begins a batch; returns whether its replies leave in runs.
    pub(super) fn begin_batch(&mut self) -> bool {
        self.rest = self.rest.saturating_sub(1);
        self.is_on()
    }

    fn is_on(self) -> bool {
        self.known && self.rest == 0
    }

    fn on_taken(&mut self) {
        self.refused_in_a_row = 0;
    }

    fn on_refused(&mut self, errno: i32) {
        // The device, or the transformation in front of it (IPsec), cannot: nor will it soon.
        let cannot = matches!(errno, libc::EIO | libc::EOPNOTSUPP);
        self.refused_in_a_row = (self.refused_in_a_row + 1).min(REFUSED_IN_A_ROW_MAX);
        if cannot || self.refused_in_a_row == REFUSED_IN_A_ROW_MAX {
            self.rest = REST_BATCHES;
        }
    }
}

/// Sends the replies of `runs` in order, each at most once. A run that is refused is taken apart
/// at once, and each of its replies meets its own fate, as if there were no runs. `runs` has room
/// for as many as there are replies.
pub(super) fn send_in_order(
    runs: &mut Vec<u8>,
    offload: &mut Offload,
    counters: &mut Counters,
    wire: &mut impl Wire,
) {
    let count: usize = runs.iter().copied().map(usize::from).sum();
    let (mut at, mut first) = (0, 0);
    let mut head_tries = 0;
    let mut no_room = 0;
    while at < runs.len() {
        let errno = match wire.send(first, &runs[at..]) {
            // The kernel says 0 only for an empty batch; were it to, we must not turn for ever.
            Ok(0) => 0,
            Ok(taken) => {
                let taken = taken.min(runs.len() - at);
                let mut replies = 0;
                for &run in &runs[at..at + taken] {
                    replies += usize::from(run);
                    if run > 1 {
                        counters.runs_out += 1;
                        offload.on_taken();
                    }
                }
                wire.sent(first..first + replies);
                at += taken;
                first += replies;
                head_tries = 0;
                no_room = 0;
                continue;
            }
            Err(error) => error.raw_os_error().unwrap_or(0),
        };
        let is_run = runs[at] > 1;
        match errno {
            // ENOMEM is how a cgroup's limit on socket memory shows.
            libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM | libc::EINTR => {
                no_room += 1;
                if no_room >= NO_ROOM_TRIES_MAX {
                    counters.send_shed += (count - first) as u64;
                    return;
                }
                // A run wants its memory in one piece; its replies may find theirs.
                if is_run && matches!(errno, libc::ENOBUFS | libc::ENOMEM) {
                    take_apart(runs, at, counters);
                }
                wire.wait_for_room();
                continue;
            }
            // Most likely the echo of an earlier datagram, whoever it went to: the kernel reports
            // a pending error once, at the next call. This message deserves its own try.
            _ if may_be_pending(errno) && head_tries + 1 < PENDING_TRIES_MAX => {
                head_tries += 1;
                counters.send_pending_errors += 1;
                continue;
            }
            _ => head_tries = 0,
        }
        if is_run {
            if matches!(errno, libc::EIO | libc::EOPNOTSUPP | libc::EINVAL | libc::EMSGSIZE) {
                offload.on_refused(errno);
            }
            take_apart(runs, at, counters);
            if !offload.is_on() {
                runs.truncate(at);
                runs.resize(at + count - first, 1);
            }
            continue;
        }
        match errno {
            _ if may_be_pending(errno) => counters.send_unreachable += 1,
            libc::EPERM | libc::EACCES => counters.send_forbidden += 1,
            libc::EMSGSIZE => counters.send_too_long += 1,
            _ => counters.send_failed += 1,
        }
        at += 1;
        first += 1;
        no_room = 0;
    }
}

/// Whether the error may be that of an earlier datagram, as ICMP brought it.
fn may_be_pending(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNREFUSED
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::ENETDOWN
            | libc::ECONNRESET
            | libc::EPROTO
            | libc::ENOPROTOOPT
    )
}

/// Makes singles of the run at `at`.
fn take_apart(runs: &mut Vec<u8>, at: usize, counters: &mut Counters) {
    counters.runs_refused += 1;
    let replies = usize::from(runs[at]);
    runs.splice(at..=at, repeat_n(1, replies));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers by a script; afterwards everything is taken.
    struct Script<'a> {
        answers: std::slice::Iter<'a, Result<usize, i32>>,
        /// Runs as they were offered, with their first reply.
        asked: Vec<(usize, Vec<u8>)>,
        went: Vec<usize>,
        waits: usize,
    }

    impl Wire for Script<'_> {
        fn send(&mut self, first: usize, runs: &[u8]) -> io::Result<usize> {
            self.asked.push((first, runs.to_vec()));
            match self.answers.next() {
                None => Ok(runs.len()),
                Some(Ok(taken)) => Ok(*taken),
                Some(Err(errno)) => Err(io::Error::from_raw_os_error(*errno)),
            }
        }

        fn wait_for_room(&mut self) {
            self.waits += 1;
        }

        fn sent(&mut self, replies: Range<usize>) {
            self.went.extend(replies);
        }
    }

    struct Ended {
        asked: Vec<(usize, Vec<u8>)>,
        went: Vec<usize>,
        waits: usize,
        counters: Counters,
        offload: Offload,
    }

    fn run_runs(runs: &[u8], answers: &[Result<usize, i32>]) -> Ended {
        let mut counters = Counters::default();
        let mut offload = Offload::new(true);
        let mut wire =
            Script { answers: answers.iter(), asked: Vec::new(), went: Vec::new(), waits: 0 };
        send_in_order(&mut runs.to_vec(), &mut offload, &mut counters, &mut wire);
        let Script { asked, went, waits, .. } = wire;
        Ended { asked, went, waits, counters, offload }
    }

    /// The same with singles alone: what was sent, how often room was awaited, and the counters.
    fn run(count: usize, answers: &[Result<usize, i32>]) -> (Vec<usize>, usize, Counters) {
        let ended = run_runs(&vec![1; count], answers);
        assert!(ended.offload.is_on(), "singles say nothing about runs");
        (ended.went, ended.waits, ended.counters)
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
    fn a_destination_that_fails_each_time_is_skipped_and_counted() {
        let errors = [Err(libc::EHOSTUNREACH); PENDING_TRIES_MAX as usize];
        let (went, _, counters) = run(3, &errors);
        assert_eq!(went, [1, 2]);
        assert_eq!((counters.send_pending_errors, counters.send_unreachable), (2, 1));
    }

    #[test]
    fn each_datagram_has_its_own_tries() {
        let refused = Err(libc::ECONNREFUSED);
        let (went, _, counters) = run(2, &[refused, refused, Ok(1), refused, refused, Ok(1)]);
        assert_eq!(went, [0, 1]);
        assert_eq!((counters.send_pending_errors, counters.send_unreachable), (4, 0));
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

    #[test]
    fn runs_and_singles_go_out_together() {
        let ended = run_runs(&[3, 1, 2], &[]);
        assert_eq!(ended.asked, [(0, vec![3, 1, 2])]);
        assert_eq!(ended.went, [0, 1, 2, 3, 4, 5]);
        assert_eq!(ended.counters, Counters { runs_out: 2, ..Counters::default() });
    }

    #[test]
    fn a_short_send_of_runs_goes_on_with_the_next_run() {
        let ended = run_runs(&[3, 1, 2], &[Ok(1), Ok(1)]);
        assert_eq!(ended.asked, [(0, vec![3, 1, 2]), (3, vec![1, 2]), (4, vec![2])]);
        assert_eq!(ended.went, [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_refused_run_goes_out_one_by_one_without_loss() {
        for errno in [libc::EINVAL, libc::EMSGSIZE, libc::EPERM, libc::EFAULT] {
            let ended = run_runs(&[1, 3, 2], &[Ok(1), Err(errno)]);
            assert_eq!(ended.asked[1..], [(1, vec![3, 2]), (1, vec![1, 1, 1, 2])]);
            assert_eq!(ended.went, [0, 1, 2, 3, 4, 5]);
            let expected = Counters { runs_out: 1, runs_refused: 1, ..Counters::default() };
            assert_eq!((ended.counters, ended.offload), (expected, Offload::new(true)));
        }
    }

    #[test]
    fn a_device_that_cannot_segment_gets_singles_at_once() {
        for errno in [libc::EIO, libc::EOPNOTSUPP] {
            let ended = run_runs(&[2, 3, 1, 4], &[Ok(1), Err(errno)]);
            assert_eq!(ended.asked[2], (2, vec![1; 8]));
            assert!(ended.went.into_iter().eq(0..10));
            assert!(!ended.offload.is_on());
            assert_eq!((ended.counters.runs_out, ended.counters.runs_refused), (1, 1));
        }
    }

    #[test]
    fn runs_that_are_always_refused_end_but_one_peer_does_not_end_them() {
        let mut offload = Offload::new(true);
        for _ in 0..10 {
            (1..REFUSED_IN_A_ROW_MAX).for_each(|_| offload.on_refused(libc::EMSGSIZE));
            assert!(offload.is_on());
            offload.on_taken();
        }
        (0..REFUSED_IN_A_ROW_MAX).for_each(|_| offload.on_refused(libc::EINVAL));
        assert!(!offload.is_on());
    }

    #[test]
    fn runs_are_tried_again_after_a_rest_and_one_refusal_renews_it() {
        let mut offload = Offload::new(true);
        let resting = |offload: &mut Offload| (1..).find(|_| offload.begin_batch());
        (0..REFUSED_IN_A_ROW_MAX).for_each(|_| offload.on_refused(libc::EMSGSIZE));
        assert_eq!(resting(&mut offload), Some(REST_BATCHES));
        offload.on_refused(libc::EMSGSIZE);
        assert_eq!(resting(&mut offload), Some(REST_BATCHES));
        offload.on_taken();
        offload.on_refused(libc::EMSGSIZE);
        assert!(offload.begin_batch());
        assert!(!Offload::new(false).begin_batch(), "a kernel that knows no runs gets none");
    }

    #[test]
    fn a_pending_error_at_a_run_costs_nobody_a_reply_and_leaves_it_whole() {
        let ended = run_runs(&[3, 2], &[Err(libc::ECONNREFUSED)]);
        assert_eq!(ended.asked, [(0, vec![3, 2]), (0, vec![3, 2])]);
        assert_eq!(ended.went, [0, 1, 2, 3, 4]);
        let expected = Counters { send_pending_errors: 1, runs_out: 2, ..Counters::default() };
        assert_eq!((ended.counters, ended.offload), (expected, Offload::new(true)));
    }

    #[test]
    fn each_reply_of_a_run_has_its_own_tries() {
        let refused = Err(libc::ECONNREFUSED);
        // Three times for the run, once for its first reply, three times for its second.
        let script = [[refused; 4].as_slice(), &[Ok(1)], &[refused; 3]].concat();
        let ended = run_runs(&[3, 2], &script);
        assert_eq!(ended.went, [0, 2, 3, 4]);
        assert_eq!(ended.counters.send_unreachable, 1);
        assert_eq!(ended.counters.runs_refused, 1);
        assert!(ended.offload.is_on());
    }

    #[test]
    fn a_forbidden_peer_loses_its_run_alone_and_each_reply_is_counted() {
        let forbidden = Err(libc::EPERM);
        let ended = run_runs(&[2, 2], &[forbidden, forbidden, forbidden]);
        assert_eq!(ended.went, [2, 3]);
        assert_eq!((ended.counters.send_forbidden, ended.counters.runs_out), (2, 1));
    }

    #[test]
    fn a_run_without_memory_is_taken_apart_and_one_without_room_waits_whole() {
        let ended = run_runs(&[3], &[Err(libc::ENOBUFS)]);
        assert_eq!(ended.asked, [(0, vec![3]), (0, vec![1, 1, 1])]);
        assert_eq!((ended.went, ended.waits), (vec![0, 1, 2], 1));
        let ended = run_runs(&[3], &[Err(libc::EAGAIN)]);
        assert_eq!(ended.asked, [(0, vec![3]), (0, vec![3])]);
        assert_eq!((ended.went, ended.waits), (vec![0, 1, 2], 1));
    }

    #[test]
    fn lasting_push_back_counts_the_replies_of_runs() {
        let script = [[Ok(1)].as_slice(), &[Err(libc::EAGAIN); 64]].concat();
        let ended = run_runs(&[2, 3, 1], &script);
        assert_eq!((ended.went, ended.counters.send_shed), (vec![0, 1], 4));
        assert_eq!(ended.waits, NO_ROOM_TRIES_MAX as usize - 1);
    }
}
