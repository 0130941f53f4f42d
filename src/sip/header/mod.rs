//! One file per header that is interpreted. Every view is parsed from a header's value, strictly;
//! a header nobody interprets is never looked into.

pub mod accept;
pub mod address;
pub mod authorization;
pub mod call_id;
pub mod contact;
pub mod cseq;
pub mod date;
pub mod event;
pub mod expires;
pub mod from_to;
pub mod max_forwards;
pub mod media_type;
pub mod name;
pub mod option_tag;
pub mod retry_after;
pub mod route;
pub mod subscription_state;
pub mod via;

pub use name::HeaderName;
