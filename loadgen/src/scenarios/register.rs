//! `register`: every registration from the beginning, without credentials, challenged and
//! answered: two requests each. The dearest way to register, and what a restart looks like.

use super::{Action, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "register",
    about: "REGISTER, challenge, REGISTER with digest, 200; one registration is that pair",
    warm_up: false,
    devices: 1,
    storm: false,
    alone: false,
    next: |_, _| Action::Register,
};
