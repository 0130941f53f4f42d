//! L4: the kernel's share of the shield. Sources that are blocked whole are dropped before they
//! reach a reactor: by nftables, which a program of its own changes, or by a filter in front of
//! each socket.
//!
//! - `follow`: the thread that follows the guard's list; `rules`: what of it the kernel may drop;
//!   `counts`: what became of it
//! - `by_nftables`, `by_filter`: the two means
//! - `line`: what the server and `aorta-nft` say to each other; `link`, `mirror`: the server's end
//! - [`daemon`]: `aorta-nft` itself, which alone holds the privilege; `door`: whom it lets in;
//!   `sets`: what it was told; [`nft`]: running nftables' own program; `table`: the table it works
//!   in
//!
//! Whom to block is the guard's to say. Nothing here is on the way of a datagram.

mod by_filter;
mod by_nftables;
pub mod counts;
pub mod daemon;
mod door;
mod follow;
pub mod line;
mod link;
mod mirror;
pub mod nft;
mod rules;
pub mod sets;
mod table;

pub use self::follow::{Shield, ShieldDesk, Tell};
pub use self::link::{LinkError, helper_listens};
pub use self::table::table;
