//! L4: what operators and their machines see of a running registrar, over HTTP. It lives on a
//! thread of its own and reaches the shards by orders alone ([`Control`](crate::shard::control));
//! the data plane knows nothing of it.
//!
//! - `server`: the thread, its listener and its connections, each bounded; `tls`: the certificate
//!   shown; `patience`: writes that get nowhere end; `access`: what stands in front of a path;
//!   `body`: that of a request; `problem`: how a refusal reads (RFC 9457)
//! - `operator`: who asks, with which role; `identity`: accounts, sessions, tokens; `routes`: paths
//!   with what each needs; `audit`: what operators did
//! - `api`: which path is whose; `shards`: orders, and the wait for their replies
//! - `query`: pages and cursors as text; `filters`: which registrations are wanted, as text;
//!   `search`: pages and counts of those; `registrations`: list, count, show, unregister; `row`: a
//!   binding as JSON; `moment`: times as text; `plain`: text that is safe to show
//! - `bulk`: taking out all that a filter finds; `export`: those as a file, made while it is read
//!   (`pieces`); `stream`: what changes, told while somebody listens
//! - `rpc`: the commands of Kamailio's location table; `rpc_contact`: a binding under its keys
//! - `health`: whether it lives and is ready
//! - `suspensions`: who is suspended, and lifting that; `blacklist`: which sources are blocked,
//!   blocking more of them, and lifting that; `keep`: what of that outlives the process
//! - `security`: what has happened, with aggregation; `trace`: what is dropped while somebody
//!   looks; `pages`: lists put together from all shards
//! - `shield`: what of it the kernel drops, and by which means
//! - `parameters`: what is set, and setting it
//! - `analysis`: which devices are registered, from where, over what; what is out of the ordinary;
//!   how much more could come
//! - `latency`: how long messages take, stage by stage; `hgrm`: that as a percentile file
//! - `history`: what happened to registrations, and which were refused; `trends`: how many there
//!   were over time
//! - `metrics`: every counter as text for Prometheus
//! - `ui`: pages for people, made of all that
//! - [`client`]: the other end, for `aorta ctl`
//!
//! What a person is to read on a terminal is not made here; nor is anything kept.

mod access;
mod analysis;
mod api;
mod audit;
mod blacklist;
mod body;
mod bulk;
pub mod client;
mod export;
mod filters;
mod health;
mod hgrm;
mod history;
mod identity;
mod keep;
mod latency;
mod metrics;
mod moment;
mod operator;
mod pages;
mod parameters;
mod patience;
#[cfg(test)]
mod permissions_tests;
mod pieces;
mod plain;
mod problem;
mod query;
mod registrations;
mod routes;
mod row;
mod rpc;
mod rpc_contact;
mod search;
mod security;
mod server;
mod shards;
mod shield;
mod stream;
mod suspensions;
mod tls;
mod trace;
mod trends;
mod ui;

pub use self::access::{Token, TokenError};
pub use self::analysis::{Places, PlacesError, Settings as AnalysisSettings, Terms, check_webhook};
pub use self::api::Tell;
pub use self::audit::{AuditSettings, Broken, Record, Verified, Verifier, VerifyError};
pub use self::identity::Policy;
pub use self::keep::{BlockChange, Keep, Kept};
pub use self::latency::Row as LatencyRow;
pub use self::moment::rfc3339;
pub use self::operator::Role;
pub use self::parameters::{
    ParameterDesk, ParameterDone, ParameterOrder, ParameterRefused, ParameterReply, ParameterRow,
};
pub use self::plain::one_line;
pub use self::query::PAGE_ROWS_MAX;
pub use self::security::Row as SecurityRow;
pub use self::server::{Admin, AdminError, Limits, Reins, Settings};
pub use self::shards::Shards;
pub use self::tls::Certificate;
