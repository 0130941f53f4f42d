//! How long each step of a long work took, in CPU time of this thread: what other processes take
//! of the machine is no pause of ours. What a hypervisor takes is still in it, so a single step far
//! above all others, elsewhere in each run, is its.

use std::time::Duration;

use super::machine::faults;

use rustix::time::{ClockId, clock_gettime};

const WORST: usize = 4;
/// How many steps were longer is counted for each of these.
pub const LONG_US: [u64; 5] = [250, 500, 1000, 2000, 5000];

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The steps of one work so far.
pub struct Steps {
    total: Duration,
    count: usize,
    /// The longest, longest first, and which steps they were.
    worst: Vec<(usize, Duration)>,
    long: [usize; LONG_US.len()],
    /// Pages that were not there when this thread touched them.
    faults: u64,
    faults_before: u64,
}

impl Default for Steps {
    fn default() -> Self {
        Steps {
            total: Duration::ZERO,
            count: 0,
            worst: Vec::new(),
            long: [0; LONG_US.len()],
            faults: 0,
            faults_before: faults(),
        }
    }
}

impl Steps {
    /// Does one step.
    pub fn step<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let start = cpu_time();
        let result = work();
        let took = cpu_time() - start;
        self.total += took;
        if self.worst.len() < WORST || self.worst.last().is_some_and(|&(_, time)| time < took) {
            self.worst.push((self.count, took));
            self.worst.sort_by_key(|&(_, time)| std::cmp::Reverse(time));
            self.worst.truncate(WORST);
        }
        for (long, &us) in self.long.iter_mut().zip(&LONG_US) {
            *long += usize::from(took > Duration::from_micros(us));
        }
        self.count += 1;
        result
    }

    /// The work is done.
    pub fn finished(self) -> Steps {
        Steps { faults: faults() - self.faults_before, ..self }
    }

    /// Steps that were longer than each of [`LONG_US`], of how many, and the faults of all.
    pub fn long(&self) -> ([usize; LONG_US.len()], usize, u64) {
        (self.long, self.count, self.faults)
    }

    pub fn longest(&self) -> Duration {
        self.worst.first().map_or(Duration::ZERO, |&(_, time)| time)
    }

    pub fn total(&self) -> Duration {
        self.total
    }

    pub fn worst(&self) -> impl Iterator<Item = (usize, Duration)> {
        self.worst.iter().copied()
    }
}
