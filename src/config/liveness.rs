//! When a phone that has gone without a word is noticed, and what follows.

use super::words::words;

/// The online check: OPTIONS to every phone that can be asked, outside any dialog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness {
    /// Each phone is asked once in this time, seconds, 10-3600; `None` asks nobody. Default 90.
    pub interval_s: Option<u32>,
    /// How long an answer is waited for, seconds, 1-32. Default 8.
    pub timeout_s: u32,
    /// Checks without an answer, one after the other, that make a phone unreachable, 1-10.
    /// Default 3.
    pub misses: u8,
    /// Which answers count. Default [`LivenessAnswer::Any`].
    pub answer: LivenessAnswer,
    /// What becomes of a phone that is unreachable. Default [`Unreachable::Keep`].
    pub unreachable: Unreachable,
    /// How long REGISTERs of an endpoint are ignored that has never answered a check, seconds,
    /// 0-86400; 0 ignores none. Default 0.
    pub ignore_silent_s: u32,
}

impl Default for Liveness {
    fn default() -> Self {
        Liveness {
            interval_s: Some(90),
            timeout_s: 8,
            misses: 3,
            answer: LivenessAnswer::Any,
            unreachable: Unreachable::Keep,
            ignore_silent_s: 0,
        }
    }
}

words! {
    /// Which answers to an OPTIONS show that a phone is there.
    pub enum LivenessAnswer: "any or success" {
        /// Any SIP answer, refusals too.
        #[default]
        Any = "any",
        /// A 2xx.
        Success = "success",
    }
}

words! {
    /// What becomes of a binding whose phone does not answer.
    pub enum Unreachable: "keep, deprioritise or remove" {
        /// It stays as it is.
        #[default]
        Keep = "keep",
        /// It is listed behind those that can be reached.
        Deprioritise = "deprioritise" | "deprioritize",
        /// It leaves.
        Remove = "remove",
    }
}
