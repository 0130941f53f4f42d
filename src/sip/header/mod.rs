//! One file per header that is interpreted. Every view is parsed from a header's value, strictly;
//! a header nobody interprets is never looked into.

pub mod address;
pub mod authorization;
pub mod contact;
