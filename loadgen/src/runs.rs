//! Which requests of a burst leave as one message that the kernel or the card cuts apart
//! (UDP_SEGMENT), and which datagrams one received buffer holds (UDP_GRO), with the control
//! messages that say so. No system calls.

use std::iter::repeat_n;
use std::ops::Range;

/// Longest request that leaves in a run, bytes: what fits the smallest MTU of IPv6 (RFC 8200 5).
/// Longer ones go alone, so that they may be sent as IP fragments.
const SEGMENT_BYTES_MAX: usize = 1280 - 40 - 8;

/// The requests of one burst in the order they leave, and the runs they leave in.
#[derive(Debug, Default)]
pub struct Burst {
    keys: Vec<u32>,
    runs: Vec<u8>,
}

impl Burst {
    /// Arranges at most 256 requests of these lengths. With offload the longer ones go first, and
    /// those of one length as one run; only the last of a run may be shorter. Without, each goes
    /// alone, in its place.
    pub fn arrange(&mut self, lengths: &[u16], offload: bool) {
        self.keys.clear();
        self.runs.clear();
        if !offload {
            self.keys.extend(0..lengths.len() as u32);
            self.runs.resize(lengths.len(), 1);
            return;
        }
        let key = |(slot, &length): (usize, &u16)| u32::from(!length) << 8 | slot as u32;
        self.keys.extend(lengths.iter().enumerate().map(key));
        self.keys.sort_unstable();
        let mut open_head = None;
        for &key in &self.keys {
            let length = !((key >> 8) as u16);
            match (open_head, self.runs.last_mut()) {
                (Some(head), Some(run)) if length > 0 => {
                    *run += 1;
                    open_head = (length == head).then_some(head);
                }
                _ => {
                    self.runs.push(1);
                    let fits = (1..=SEGMENT_BYTES_MAX).contains(&usize::from(length));
                    open_head = fits.then_some(length);
                }
            }
        }
    }

    /// The slot of the request at one place.
    #[inline]
    pub fn slot(&self, place: usize) -> usize {
        (self.keys[place] & 0xff) as usize
    }

    /// The lengths of the runs.
    pub fn runs(&self) -> &[u8] {
        &self.runs
    }

    /// Makes singles of the runs from number `run` on.
    pub fn take_apart(&mut self, run: usize) {
        let requests = self.runs.drain(run..).map(usize::from).sum();
        self.runs.extend(repeat_n(1, requests));
    }
}

/// Where the datagrams of a buffer with `length` bytes lie, each `segment` long but the last. A
/// segment of 0 means that there is one.
pub fn segments(length: usize, segment: usize) -> impl Iterator<Item = Range<usize>> {
    let segment = if segment == 0 { length.max(1) } else { segment };
    let count = length.div_ceil(segment).max(1);
    (0..count).map(move |number| number * segment..length.min((number + 1) * segment))
}

/// Room for one control message with a number, as the kernel lays it out.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Control([u8; CONTROL_BYTES]);

const CONTROL_HEADER_BYTES: usize = size_of::<libc::cmsghdr>();
/// Its length.
pub const CONTROL_BYTES: usize = (CONTROL_HEADER_BYTES + 4).next_multiple_of(size_of::<usize>());

impl Control {
    /// No message.
    pub const EMPTY: Control = Control([0; CONTROL_BYTES]);

    /// The message that has a datagram cut into segments of this many bytes.
    pub fn segment_bytes(bytes: u16) -> Self {
        let mut control = [0; CONTROL_BYTES];
        let (length, kind) = control.split_at_mut(size_of::<usize>());
        length.copy_from_slice(&(CONTROL_HEADER_BYTES + 2).to_ne_bytes());
        kind[..4].copy_from_slice(&libc::SOL_UDP.to_ne_bytes());
        kind[4..8].copy_from_slice(&libc::UDP_SEGMENT.to_ne_bytes());
        kind[8..10].copy_from_slice(&bytes.to_ne_bytes());
        Control(control)
    }

    /// The size of the segments that were joined, from the first `length` bytes; 0 for none.
    pub fn joined_bytes(&self, length: usize) -> usize {
        let number = |at: usize| {
            let bytes = self.0[..length.min(CONTROL_BYTES)].get(at..at + 4)?;
            bytes.try_into().ok().map(i32::from_ne_bytes)
        };
        let kind = size_of::<usize>();
        if (number(kind), number(kind + 4)) != (Some(libc::SOL_UDP), Some(libc::UDP_GRO)) {
            return 0;
        }
        number(CONTROL_HEADER_BYTES).and_then(|size| size.try_into().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arranged(lengths: &[u16], offload: bool) -> Vec<Vec<usize>> {
        let mut burst = Burst::default();
        burst.arrange(&[7; 9], true);
        burst.arrange(lengths, offload);
        let mut place = 0;
        let mut run = |&run: &u8| {
            place += usize::from(run);
            (place - usize::from(run)..place).map(|place| burst.slot(place)).collect()
        };
        burst.runs().iter().map(&mut run).collect()
    }

    #[test]
    fn requests_of_one_length_are_a_run_and_keep_their_order() {
        assert_eq!(arranged(&[600; 4], true), [[0, 1, 2, 3]]);
        assert_eq!(arranged(&[600, 601, 600, 601], true), [vec![1, 3, 0], vec![2]]);
        assert_eq!(arranged(&[602, 601, 600], true), [vec![0, 1], vec![2]]);
    }

    #[test]
    fn what_may_need_fragments_or_is_empty_goes_alone() {
        assert_eq!(arranged(&[1233, 1233, 1232, 1232], true), [vec![0], vec![1], vec![2, 3]]);
        assert_eq!(arranged(&[0, 0, 5], true), [[2], [0], [1]]);
    }

    #[test]
    fn without_offload_everything_goes_alone_in_its_place() {
        assert_eq!(arranged(&[600, 700, 600], false), [[0], [1], [2]]);
    }

    #[test]
    fn a_refused_run_and_what_follows_goes_alone() {
        let mut burst = Burst::default();
        burst.arrange(&[9, 9, 5, 5, 5, 3], true);
        assert_eq!(burst.runs(), [3, 3]);
        burst.take_apart(1);
        assert_eq!(burst.runs(), [3, 1, 1, 1]);
    }

    #[test]
    fn a_buffer_is_split_by_its_segment_size() {
        let split = |length, segment| {
            segments(length, segment).map(|one| (one.start, one.end)).collect::<Vec<_>>()
        };
        assert_eq!(split(10, 4), [(0, 4), (4, 8), (8, 10)]);
        assert_eq!(split(8, 4), [(0, 4), (4, 8)]);
        assert_eq!(split(10, 0), [(0, 10)]);
        assert_eq!(split(3, 4), [(0, 3)]);
        assert_eq!((split(0, 0), split(0, 4)), (vec![(0, 0)], vec![(0, 0)]));
    }

    #[test]
    fn the_size_of_joined_datagrams_is_read_from_udp_gro_alone() {
        let mut control = Control::segment_bytes(9);
        control.0[CONTROL_HEADER_BYTES..][..4].copy_from_slice(&500i32.to_ne_bytes());
        assert_eq!(control.joined_bytes(CONTROL_BYTES), 0);
        let kind = size_of::<usize>() + 4;
        control.0[kind..kind + 4].copy_from_slice(&libc::UDP_GRO.to_ne_bytes());
        assert_eq!(control.joined_bytes(CONTROL_BYTES), 500);
        for short in 0..CONTROL_HEADER_BYTES + 4 {
            assert_eq!(control.joined_bytes(short), 0, "{short}");
        }
    }
}
