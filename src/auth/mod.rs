//! L1: who a request comes from. Digest (RFC 7616, RFC 8760), nonces that need no memory, nonce
//! counts kept with the account, and the verdict over one set of credentials.
//!
//! Time, the nonce key and the accounts come in as arguments; verdicts leave as values. What is
//! answered to a verdict, who is suspended after too many of them, and where subscribers are read
//! from is decided elsewhere. A request's way through:
//!
//! 1. [`Gate::of`] the account: open, digest, or closed, behind which there is no account;
//! 2. where it is suspended for its source ([`Suspensions`]), no password is checked; otherwise
//!    [`NonceKeys::judge`] the nonce of its credentials, [`authenticate`] them;
//! 3. where they were wrong, or of no account, [`after_wrong_answer`] says 403 or another
//!    challenge, whose nonce carries the session on ([`NonceKeys::mint_in`]); any other challenge
//!    begins a session ([`NonceKeys::mint`]);
//! 4. where they were right, [`Judged::is_next_due`] says whether the 200 names the next nonce
//!    ([`write_next_nonce`]).

pub mod account;
pub mod accounts;
pub mod barred;
pub mod challenge;
pub mod check;
pub mod claim;
pub mod counts;
pub mod digest;
pub mod gate;
pub mod ha2;
pub mod malformed;
pub mod md5_lanes;
mod names;
pub mod nonce;
mod pool;
pub mod session;
pub mod suspension;
pub mod username;

pub use account::{Account, Ha1s};
pub use accounts::{AccountId, Accounts, AorKey, InsertError};
pub use challenge::{HeaderNames, strongest_first, write_next_nonce, write_value};
pub use check::{Check, Verdict, authenticate};
pub use digest::{Digest, HashName, HexDigest};
pub use gate::{Gate, is_named_by};
pub use ha2::Ha2Cache;
pub use malformed::Malformed;
pub use md5_lanes::Md5Lanes;
pub use nonce::{Judged, NonceId, NonceKey, NonceKeys, NonceSequence, NonceText};
pub use session::{AfterWrong, Session, SessionLimits, after_wrong_answer};
pub use suspension::{Standing, Suspensions};
pub use username::UsernameForm;
