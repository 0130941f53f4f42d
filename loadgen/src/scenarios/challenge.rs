//! `challenge`: what a flood without credentials costs the server. Each REGISTER is over with the
//! challenge, which must be one that could be answered and is not; a 200 is wrong.

use super::{Action, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "challenge",
    about: "REGISTER without credentials, again and again: each challenge is the end of it",
    warm_up: false,
    devices: 1,
    storm: false,
    alone: false,
    next: |_, _| Action::Challenge,
};
