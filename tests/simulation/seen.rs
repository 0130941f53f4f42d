//! What has come about in a run.

/// What has come about, so that a test can tell that it has tested something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    pub accepted: u64,
    pub repeated: u64,
    pub stale: u64,
    pub refused: u64,
    pub handoffs: u64,
    pub shed: u64,
    pub kicked: u64,
    pub expired: u64,
    pub restarts: u64,
}

impl std::ops::AddAssign for Seen {
    fn add_assign(&mut self, other: Seen) {
        self.accepted += other.accepted;
        self.repeated += other.repeated;
        self.stale += other.stale;
        self.refused += other.refused;
        self.handoffs += other.handoffs;
        self.shed += other.shed;
        self.kicked += other.kicked;
        self.expired += other.expired;
        self.restarts += other.restarts;
    }
}
