//! The stages a message goes through, and the seam by which the shell times them. Nothing here
//! reads a clock: a shard says when a stage is over, and whoever wants to know looks at the time.

/// A stage of the service of a message. Together they are the whole of it: what lies between two
/// stages counts with the later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// From the call that takes a batch to its datagrams, source and length known: the kernel's
    /// copying is the most of it. Over a connection, reading and decrypting; of what another shard
    /// received, taking it from the ring.
    Receive,
    /// Networks, rates, scanners, blacklist, admission: who may speak at all.
    Guard,
    /// Lines, headers, the address-of-record, and the rules that hold for every request
    /// (RFC 3261 8.2).
    Parse,
    /// Credentials, nonce and digest, and the challenge to those who bring none.
    Auth,
    /// Account and bindings looked up, what is asked for done, the answer written, or the message
    /// left in the ring to its owner.
    Core,
    /// The call that gives the answers to the kernel. Over a connection, encrypting and writing.
    Send,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Stage; 6] =
        [Stage::Receive, Stage::Guard, Stage::Parse, Stage::Auth, Stage::Core, Stage::Send];

    /// Its name in metrics and tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Stage::Receive => "receive",
            Stage::Guard => "guard",
            Stage::Parse => "parse",
            Stage::Auth => "auth",
            Stage::Core => "core",
            Stage::Send => "send",
        }
    }
}

/// Whoever times a batch.
pub trait Stopwatch {
    /// What has been done since the lap before was of this stage.
    fn lap(&self, stage: Stage);
}

/// The stopwatch of the batch at hand, or none: most batches are not timed.
#[derive(Clone, Copy, Default)]
pub struct Watch<'a>(Option<&'a dyn Stopwatch>);

impl<'a> Watch<'a> {
    /// Nobody times.
    pub const NONE: Watch<'static> = Watch(None);

    /// Times with `stopwatch`.
    pub fn by(stopwatch: &'a dyn Stopwatch) -> Watch<'a> {
        Watch(Some(stopwatch))
    }

    /// What has been done since the lap before was of this stage.
    #[inline]
    pub fn lap(self, stage: Stage) {
        if let Some(stopwatch) = self.0 {
            stopwatch.lap(stage);
        }
    }
}
