//! Socket filters as the server uses them: a program in front of each UDP socket, as long as the
//! kernel takes it, and what it drops as near as the kernel tells.

use std::io;

use ipnet::IpNet;

use super::counts::Counts;
use super::rules::Drops;
use crate::guard::filter::{INSTRUCTIONS_MAX, program_of_most};
use crate::reactor::{FilteredSockets, datagrams_filtered};

/// Below this many instructions a program is not worth having.
const INSTRUCTIONS_MIN: usize = 16;

/// The filters of the UDP sockets.
pub(super) struct Filter {
    sockets: FilteredSockets,
    attached: bool,
    /// Longest program the kernel has not refused for its length.
    instructions_max: usize,
    /// What the namespace and the sockets had dropped when it was last looked.
    seen: Option<(u64, u64)>,
}

impl Filter {
    pub(super) fn new(sockets: FilteredSockets) -> Filter {
        Filter { sockets, attached: false, instructions_max: INSTRUCTIONS_MAX, seen: None }
    }

    /// Lets them hold this, as far as there is room.
    pub(super) fn hold(&mut self, wanted: &Drops, is_new: bool, counts: &Counts) -> io::Result<()> {
        self.count(counts);
        if !is_new {
            return Ok(());
        }
        let mut nets: Vec<_> = wanted.iter().map(|(net, dropped)| (dropped.worth, *net)).collect();
        if nets.is_empty() {
            self.withdraw(counts);
            return Ok(());
        }
        nets.sort_unstable_by(|one, other| other.cmp(one));
        let nets: Vec<IpNet> = nets.into_iter().map(|(_, net)| net).collect();
        loop {
            let (program, kept) = program_of_most(&nets, self.instructions_max);
            let outcome = self.sockets.replace(&program);
            match outcome {
                Ok(()) => {
                    self.begin_to_count();
                    Counts::add(&counts.filter_programs, 1);
                    Counts::set(&counts.filter_instructions, program.len());
                    Counts::set(&counts.held, kept);
                    Counts::set(&counts.left_out, nets.len() - kept);
                    return Ok(());
                }
                // net.core.optmem_max has room for a shorter one.
                Err(error) => {
                    Counts::add(&counts.filter_refused, 1);
                    if self.instructions_max / 2 < INSTRUCTIONS_MIN {
                        self.withdraw(counts);
                        self.instructions_max = INSTRUCTIONS_MAX;
                        return Err(error);
                    }
                    self.instructions_max /= 2;
                }
            }
        }
    }

    fn begin_to_count(&mut self) {
        self.attached = true;
        if self.seen.is_none() {
            self.seen = datagrams_filtered().map(|filtered| (filtered, self.sockets.drops()));
        }
    }

    /// Of what the namespace has refused for no other reason, no more than these sockets dropped.
    fn count(&mut self, counts: &Counts) {
        let (true, Some((filtered, drops))) = (self.attached, self.seen) else { return };
        let Some(filtered_now) = datagrams_filtered() else { return };
        let drops_now = self.sockets.drops();
        let more = filtered_now.saturating_sub(filtered).min(drops_now.saturating_sub(drops));
        Counts::add(&counts.filter_dropped, more);
        self.seen = Some((filtered_now, drops_now));
    }

    pub(super) fn withdraw(&mut self, counts: &Counts) {
        if self.attached {
            self.count(counts);
            // A socket that refuses this is closed already.
            let _ = self.sockets.replace(&[]);
            Counts::set(&counts.filter_instructions, 0);
            Counts::set(&counts.held, 0);
            (self.attached, self.seen) = (false, None);
        }
    }
}
