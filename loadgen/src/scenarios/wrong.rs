//! `wrong`: bad passwords. 401, 407 and 403 are expected, a 200 is wrong. A server that
//! suspends or blocks the source stays silent or answers 403 at once: the first counts as lost.

use super::{Action, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "wrong",
    about: "bad passwords: 401, 407 or 403 is right, a 200 is wrong",
    warm_up: false,
    devices: 1,
    storm: false,
    alone: false,
    next: |_, _| Action::WrongPassword,
};
