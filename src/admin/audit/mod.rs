//! What operators did, in words that stand for something: an [`Action`] has a verb of a closed set,
//! what it was done to, what more there is to say, and how it ended.

mod action;

pub(crate) use self::action::{Action, Verb};
