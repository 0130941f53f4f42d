//! One file per header that is interpreted. Every view is parsed from a header's value, strictly;
//! a header nobody interprets is never looked into.

pub mod address;
pub mod authorization;
pub mod call_id;
pub mod contact;
pub mod cseq;
pub mod expires;
pub mod from_to;
pub mod max_forwards;
pub mod name;
pub mod option_tag;
pub mod route;
pub mod via;

pub use name::HeaderName;
