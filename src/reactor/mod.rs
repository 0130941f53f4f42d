//! L3, the shell: sockets, clocks, the runtime, system calls. The only layer that knows them; what
//! to answer is the [`Plane`]'s.
//!
//! One reactor is one thread, pinned to a core: it owns a socket of each listening address, the
//! connections that came to it, one end of the mesh, and a shard.
//! [`Reactors::start`] starts them all or none.

mod address;
mod arena;
mod clock;
mod control;
mod counters;
mod data_plane;
mod datagram;
mod error;
mod executor;
mod filter;
mod group;
mod hearsay;
mod huge_pages;
mod icmp;
mod idle;
mod interfaces;
mod laps;
mod mmsg;
mod peer;
mod plane;
mod push_back;
mod ready_tables;
mod runs;
mod send;
mod service_times;
mod signals;
mod socket;
mod start_check;
mod steering;
mod stream;
mod told;
mod uring;
mod waiting;
mod wake;
mod work;

pub use self::clock::Clock;
pub use self::control::{ControlError, Controller, Pending};
pub use self::counters::Counters;
pub use self::datagram::Backend;
pub use self::error::StartError;
pub use self::filter::{FilteredSockets, datagrams_filtered, filter_instructions_allowed};
pub use self::group::{
    CertificateSlots, Finished, Meter, Reactors, Running, Settings, TaskSpawner,
};
pub use self::huge_pages::HugePages;
pub use self::interfaces::Interfaces;
pub use self::peer::{bind_for_group, own_user, peer_user};
pub use self::plane::Plane;
pub use self::ready_tables::{keep_tables_ready, tables_ready};
pub use self::service_times::{SERVICE_NS_MAX, ServiceTimes, Span};
pub use self::signals::{Signal, Signals};
pub use self::socket::{Bound, interface_number};
pub use self::start_check::{
    MEMLOCK_BYTES_MIN, allowed_cpus, connections_allowed, cpus_allowed, io_uring_allowed,
    memlock_allowed, multishot_receive_allowed,
};
pub use self::steering::{Steering, steering_allowed};
pub use self::stream::{Certificates, TlsError};
pub use self::wake::Waker;

#[cfg(test)]
mod deadline_tests;
#[cfg(test)]
mod hearsay_tests;
#[cfg(test)]
mod ping_tests;
#[cfg(test)]
mod sleep_tests;
#[cfg(test)]
mod tests;
