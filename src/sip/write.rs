//! Writes messages into a buffer of the caller.
