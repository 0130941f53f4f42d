//! L4: what outlives the process or comes from outside it. Runs on threads of its own, or before
//! the shards begin; never on a reactor.

pub mod blocks;
#[cfg(feature = "host")]
pub mod history;
pub mod keys;
pub mod overrides;
pub mod security_log;
pub mod subscribers;

pub mod account_options;

pub use account_options::WrongOption;
pub use security_log::SecurityLog;
pub use subscribers::{LoadError, Subscriber, load, test_accounts};
