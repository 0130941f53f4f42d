//! L1: who watches registrations, and what they are told: the event package `reg` (RFC 3680) for
//! SUBSCRIBE and NOTIFY (RFC 6665). Requests, events of the registrar, answers and the time come
//! in; NOTIFYs leave, as bytes in the caller's buffer and the flow they go by.
//!
//! - [`request`]: what a SUBSCRIBE says; [`refusal`]: why it is refused; [`answer`]: what the
//!   answer to a NOTIFY says; [`identity`]: the tags and branches that name things on the wire
//! - [`table`]: the subscriptions of one shard, the only way in and out; [`settings`]: what they
//!   obey; `store`: where they are
//! - `subscription`: one of them; `dialog`: its texts; `transaction`: its NOTIFY on the way
//! - `changes`: what subscribers have not heard of; `document`: how it is told; `xml`: safely
//! - [`notify`]: the message around the document
//!
//! # What is told, and when
//! The first NOTIFY and that after each SUBSCRIBE say everything (state `full`), the others what
//! changed (`partial`). Refreshes are told too, because a watcher would take a contact whose
//! `expires` has run out for gone. Two NOTIFYs about changes are 5 s apart at least (RFC 3680
//! 4.10), and what happens in between stands in one, of each contact its last event. A contact
//! that is rejected is told to its own device at once: it must hear why before its connection is
//! closed.
//!
//! Who may watch whom, and whose request it is, `shard` decides.

pub mod answer;
mod changes;
mod dialog;
mod document;
pub mod identity;
pub mod notify;
pub mod refusal;
pub mod request;
pub mod settings;
mod store;
mod subscription;
pub mod table;
mod transaction;
mod xml;

pub use answer::Answer;
pub use changes::ContactEvent;
pub use identity::{Branch, LocalTag};
pub use notify::EndReason;
pub use refusal::Refusal;
pub use request::{Request, Subscribe};
pub use settings::{Counters, Settings};
pub use table::{Accepted, Notify, SubscriptionTable};
