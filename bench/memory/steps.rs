//! How long each step of a long work took, in CPU time of this thread: what other processes take
//! of the machine is no pause of ours. What a hypervisor takes is still in it, so a single step far
//! above all others, elsewhere in each run, is its.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

const WORST: usize = 4;

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// The steps of one work so far.
#[derive(Default)]
pub struct Steps {
    total: Duration,
    count: usize,
    /// The longest, longest first, and which steps they were.
    worst: Vec<(usize, Duration)>,
}

impl Steps {
    /// Does one step.
    pub fn step<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let start = cpu_time();
        let result = work();
        let took = cpu_time() - start;
        self.total += took;
        self.worst.push((self.count, took));
        self.worst.sort_by_key(|&(_, time)| std::cmp::Reverse(time));
        self.worst.truncate(WORST);
        self.count += 1;
        result
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
