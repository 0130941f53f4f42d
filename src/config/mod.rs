//! Configuration as plain structs with documented defaults and units; the layers below only see
//! these values. Names, aliases and ranges are [`parameters`]', the values together and their
//! origins [`settings`]', the text of one value [`value`]'s, that of a file [`mod@file`]'s. Nothing
//! here opens a file: text comes in as an argument.

pub mod file;
pub mod parameter;
pub mod parameters;
pub mod refusal;
pub mod settings;
pub mod value;

mod account;
mod admin;
mod alerts;
mod analysis;
mod auth;
mod describe;
mod guard;
mod history;
mod kinds;
mod liveness;
mod nat;
mod nearest;
mod network;
mod overload;
mod registrar;
mod serve;
mod shield;
mod streams;
mod words;

pub use account::{AccountAuthentication, AccountPolicy, AllowedSource, StaticContact};
pub use admin::Admin;
pub use alerts::{AlertRules, Webhook};
pub use analysis::Analysis;
pub use auth::{Algorithms, Auth, ChallengeCode, Domain, Suspension};
pub use describe::Described;
pub use file::load;
pub use guard::{Alerts, Guard};
pub use history::History;
pub use liveness::{Liveness, LivenessAnswer, Unreachable};
pub use nat::{KeepaliveForm, KeepaliveMessage, KeepalivePace, Nat, NatOverride, NatTests};
pub(crate) use nearest::nearest;
pub use network::Network;
pub use overload::Overload;
pub use refusal::{Origin, Refusal};
pub use registrar::{
    Evict, Flapping, MinExpiresPolicy, PathMode, Registrar, Replace, UserParameters,
};
pub use serve::{Backend, Listen, SIP_PORT, Serve, Steering, default_port};
pub use settings::Settings;
pub use shield::{Kernel, Shield};
pub use streams::{ClientAuth, Streams, Tls, WebSocket};
