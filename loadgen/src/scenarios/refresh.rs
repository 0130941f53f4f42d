//! `refresh`: a registrar's ordinary day. All users are registered outside the figures, then
//! each request carries the same nonce with the next nonce count, and is one registration.

use super::{Action, Shape};

pub(super) const SHAPE: Shape = Shape {
    name: "refresh",
    about: "registered users refresh with the same nonce and the next nonce count",
    warm_up: true,
    devices: 1,
    storm: false,
    alone: false,
    next: |_, _| Action::Refresh,
};
