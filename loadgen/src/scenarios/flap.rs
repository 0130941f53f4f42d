//! `flap`: two devices with one account take turns, each with its own contact, Call-ID and
//! instance, so that every registration replaces the other's binding. Where the server allows
//! one binding, a 200 that still lists the other device is wrong.

use super::{Action, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "flap",
    about: "two devices of one account take turns: every registration replaces a binding",
    warm_up: true,
    devices: 2,
    storm: false,
    alone: true,
    next: |_, _| Action::Refresh,
};
