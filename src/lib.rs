//! Aorta, a SIP registrar data plane.

pub mod config;
pub mod limits;
pub mod time;

pub mod sip;

pub mod auth;
pub mod registrar;

pub mod shard;

pub mod reactor;

pub mod store;

pub mod cli;
