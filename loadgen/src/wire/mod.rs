//! The bytes of SIP as the generator needs them: a writer for requests, a scanner for answers, a
//! reader of challenges, an eye for what a server sends unasked. Written apart from the registrar's
//! own parser on purpose: the one is the check of the other.

pub mod challenge;
pub mod scan;
pub mod unasked;
pub mod write;
