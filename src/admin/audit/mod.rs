//! What operators did, in words that stand for something, kept so that nobody can change it without
//! that being seen.
//!
//! - `action`: an [`Action`] has a verb of a closed set, what it was done to, what more there is to
//!   say, and how it ended; `record`: its line, chained by hashes to the one before
//! - `desk`: the thread that writes; `aggregate`: refusals counted together; `file`: the files
//! - `page`, `list`: what is asked of it; [`verify`](Verifier): whether it is whole
//!
//! Who may do what is not decided here.

mod action;
mod aggregate;
mod desk;
mod file;
mod list;
mod page;
mod record;
mod verify;

pub(in crate::admin) use self::action::{Action, Verb};
pub use self::desk::AuditSettings;
pub(in crate::admin) use self::desk::{Audit, Left};
pub(in crate::admin) use self::list::routes;
pub use self::record::Record;
pub use self::verify::{Broken, Verified, Verifier, VerifyError};
#[allow(unused_imports, reason = "a page that shows the audit asks by these")]
pub(in crate::admin) use self::{
    list::read,
    page::{Page, Wanted},
};
