//! What admission obeys when more comes than can be answered: at which waiting time who is shed.

/// Requests are shed by how long what comes has to wait in a reactor's queue. Those who have shown
/// least go first: newcomers, then those who are known, and last of all those who carry a fresh
/// nonce that was given to their source. The share of a class that is shed grows from the waiting
/// time at which it begins to four times that, where all of it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overload {
    /// Whether anybody is shed. Default true.
    pub admission: bool,
    /// Newcomers are shed from this waiting time on, milliseconds, 1-10000. Default 100.
    pub wait_newcomers_ms: u32,
    /// The same for registrations from where somebody has proved himself, and for nonces that are
    /// old. Not below that of newcomers. Default 200.
    pub wait_known_ms: u32,
    /// The same for what carries a fresh nonce that was given to its source. Not below that of the
    /// known. Default 400.
    pub wait_proven_ms: u32,
    /// Requests that lead to nothing, of sources that nobody has proved himself from, may take this
    /// share of a reactor's time, percent, 1-100; what is more is dropped unread. 100: no limit.
    /// Default 10.
    pub strangers_percent: u32,
    /// Who is shed with an answer is told to come back after this time at least, and after three
    /// times as long at most; seconds, 1-600. Default 4.
    pub retry_after_s: u32,
}

impl Default for Overload {
    fn default() -> Self {
        Overload {
            admission: true,
            wait_newcomers_ms: 100,
            wait_known_ms: 200,
            wait_proven_ms: 400,
            strangers_percent: 10,
            retry_after_s: 4,
        }
    }
}

impl Overload {
    /// One that sheds nobody.
    #[must_use]
    pub fn off() -> Overload {
        Overload { admission: false, ..Overload::default() }
    }
}
