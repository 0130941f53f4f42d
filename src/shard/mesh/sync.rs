//! The atomics the mesh is built on: std's, or loom's where `cfg(aorta_loom)` has every
//! interleaving of them tried.

#[cfg(not(aorta_loom))]
pub(super) use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};

#[cfg(aorta_loom)]
pub(super) use loom::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering, fence},
};
