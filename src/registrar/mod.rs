//! L1: the registrar core of one shard. A request, an operator's word or the time comes in, with
//! the clocks as values; answers and events leave as values (LIFECYCLE.md draws the states).
//!
//! - [`aor`]: which address-of-record a To URI names
//! - [`request`]: what is asked and answered; [`event`]: what happened
//! - [`register`]: the registrar, the only way in for bindings; [`departures`]: the only way out;
//!   [`lookup`]: where somebody can be reached, and whose a contact or an address is
//! - `plan`: the rules of RFC 3261 10.3; `same`: which binding a contact means; `room`: who makes
//!   room at the limit; `grant`: how long a contact may stay; `flapping`: who keeps kicking whom
//! - [`location`]: where bindings live; [`binding`]: one of them; `packed`: its strings, byte by
//!   byte; [`names`] and `uuid`: those that are shorter than they look; `agents`: those that many
//!   share; [`source`] and `compact_flow`: where it came from and how; `connections`: which live on
//!   a connection; [`wheel`]: when they end
//! - [`token`]: texts only we can read; [`flow_token`] (RFC 5626) and [`gruu`] (RFC 5627) made of
//!   them
//!
//! Who may register for an AOR is `auth`'s, which shard owns it `shard`'s.

mod agents;
pub mod aor;
pub mod binding;
mod compact_flow;
mod connections;
pub mod departures;
pub mod event;
mod flapping;
pub mod flow_token;
mod grant;
pub mod gruu;
pub mod location;
pub mod lookup;
pub mod names;
mod packed;
mod plan;
pub mod register;
pub mod request;
mod room;
mod same;
pub mod source;
pub mod token;
mod uuid;
pub use crate::table::wheel;

pub use aor::{Aor, AorError};
pub use binding::{Binding, BindingId};
pub use departures::{Expired, Which};
pub use event::{Event, LeaveReason};
pub use location::{AorId, Location};
pub use lookup::{Targets, Wanted, Whom};
pub use names::{CallId, Instance};
pub use register::Registrar;
pub use request::{Accepted, Contacts, Limits, Listed, Refusal, Register};
pub use token::{TokenError, TokenKeys};
