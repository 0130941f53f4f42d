//! Tables that grow without a pause: each operation on one moves no more than a bounded number of
//! entries, however many are there. They hold values and find them; what the values mean is the
//! owner's.
//!
//! | table | grows by | moves at most |
//! |---|---|---|
//! | [`Chunks`] | a whole chunk, 4 MiB | 64 KiB, while it is small |
//! | [`Sparse`] | the chunk that is asked for | as above |
//! | [`Index`] | one bucket at a time | the dozen numbers of one bucket |
//!
//! [`wheel`] tells when which entry of a table is due, by the number of its place.
//!
//! A vector that doubles copies everything it has, and a hash table that grows hashes everything
//! anew: at ten million entries that takes from ten milliseconds to a second, during which a shard
//! answers nobody.

pub mod chunks;
pub mod index;
pub mod sparse;
pub mod wheel;

pub use self::chunks::{CHUNK_BYTES, Chunks};
pub use self::index::Index;
pub use self::sparse::Sparse;
