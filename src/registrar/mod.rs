//! L1: the registrar core of one shard. A request, an operator's word or the time comes in, with
//! the clocks as values; answers and events leave as values (LIFECYCLE.md draws the states).
//!
//! - [`aor`]: which address-of-record a To URI names
//! - [`request`]: what is asked and answered; [`event`]: what happened
//! - [`register`]: the registrar, the only way in and out for bindings
//! - `plan`: the rules of RFC 3261 10.3 and of replacing; `grant`: how long a contact may stay
//! - [`location`]: where bindings live; [`binding`]: one of them, byte by byte; [`source`]: where
//!   it came from; [`wheel`]: when it ends
//!
//! Who may register for an AOR is `auth`'s, which shard owns it `shard`'s.

pub mod aor;
pub mod binding;
pub mod event;
mod grant;
pub mod location;
mod plan;
pub mod register;
pub mod request;
pub mod source;
pub mod wheel;

pub use aor::{Aor, AorError};
pub use binding::{Binding, BindingId};
pub use event::{Event, LeaveReason};
pub use location::{AorId, Location};
pub use register::{Expired, Registrar, Which};
pub use request::{Accepted, Contacts, Listed, Refusal, Register};
