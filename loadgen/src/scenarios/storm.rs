//! `storm`: a region's power comes back. Every phone registers at once, retransmits by the
//! timers of RFC 3261 17.1.2.2 and gives up after 64*T1; the run ends when all are through.

use super::{Action, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "storm",
    about: "everybody registers at once, retransmitting by RFC timers, until all are in or gave up",
    warm_up: false,
    devices: 1,
    storm: true,
    alone: false,
    next: |_, _| Action::Register,
};
