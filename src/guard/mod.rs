//! L1: who may speak at all. Before anything of a message is read its source decides: networks,
//! blocks, limits of rate. After it is read, signatures of scanners do. What comes of requests,
//! proofs and failures, is told to the guard and changes what its source may.
//!
//! Each shard has a guard, for what its own sockets receive. Its tables are of fixed size whatever
//! number of sources speaks. What guards tell each other, and why, is [`told`]'s; the messages
//! travel as values, like everything here: no socket, no clock, no lock.
//!
//! | module | what |
//! |---|---|
//! | [`networks`] | trusted and blocked networks, networks with limits of their own |
//! | [`bucket`], [`budget`] | token buckets; those of one source, and its share on one shard |
//! | [`table`], [`sketch`], [`sources`] | what is remembered of sources, in fixed memory |
//! | [`vouches`] | which sources each account has proved itself from |
//! | [`scanner`] | words of scanners, walks through numbers |
//! | [`score`], [`blacklist`] | what offences weigh, who is blocked for how long |
//! | [`admission`] | who is shed when more comes than can be answered |
//! | [`strangers`] | how much time those may take who never prove themselves |
//! | [`events`], [`journal`] | the vocabulary of security events, and their list |
//! | [`patterns`], [`alert`] | many events that mean something together |
//! | [`filter`] | blocked networks as a program of the kernel's packet filter |
//! | [`gatehouse`] | all of it together: the guard |

pub mod address;
pub mod admission;
pub mod alert;
pub mod blacklist;
pub mod bucket;
pub mod budget;
pub mod events;
pub mod filter;
pub mod gatehouse;
pub mod journal;
pub mod networks;
pub mod patterns;
pub mod scanner;
pub mod score;
pub mod sketch;
pub mod sources;
pub mod strangers;
pub mod table;
pub mod told;
pub mod vouches;

pub use admission::{Admission, Admitted, Class};
pub use blacklist::Blocked;
pub use events::{Kinds, SecurityKind, SecurityRecord};
pub use gatehouse::{Asked, Entry, Guard, Silence};
pub use score::Offence;
pub use strangers::{Shown, Strangers, Window};
pub use told::{To, Told};
