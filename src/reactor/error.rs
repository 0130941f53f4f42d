//! Why the reactors did not start: one clear line each, with the operation and the remedy. What
//! happens once they run is counted, see [`super::counters`].

use std::fmt;
use std::io;
use std::net::SocketAddr;

use crate::flow::Transport;

/// What kept the process from serving. `Display` is one line that ends with the remedy.
#[derive(Debug)]
pub enum StartError {
    /// No listening address, no reactor, or more of either than the limits allow.
    Settings(String),
    /// Another socket, of this or another process, is bound to the port.
    PortTaken {
        /// What was to be carried there.
        transport: Transport,
        /// The address asked for.
        address: SocketAddr,
    },
    /// Ports below 1024 need a capability.
    PortNotPermitted {
        /// What was to be carried there.
        transport: Transport,
        /// The address asked for.
        address: SocketAddr,
    },
    /// No interface of this host has the address.
    AddressNotAvailable {
        /// What was to be carried there.
        transport: Transport,
        /// The address asked for.
        address: SocketAddr,
    },
    /// Any other refusal of a socket operation.
    Socket {
        /// The system call or option that failed.
        operation: &'static str,
        /// What was to be carried there.
        transport: Transport,
        /// The address asked for.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// io_uring is switched off by `kernel.io_uring_disabled`.
    IoUringDisabled {
        /// The value of the sysctl: 1 = only for its group, 2 = for everybody.
        level: u32,
    },
    /// io_uring is refused by a seccomp filter, as containers install, or a security module.
    IoUringForbidden,
    /// The kernel has no io_uring, or not enough of it.
    IoUringMissing {
        /// The operation that was refused.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The memlock limit is below what the rings need.
    Memlock {
        /// The soft limit, bytes.
        limit_bytes: u64,
        /// What is needed, bytes.
        needed_bytes: u64,
    },
    /// The kernel refuses what steering needs, and it must be.
    Steering(String),
    /// The certificates of TLS listeners cannot be used.
    Certificates(String),
    /// The hard limit of open files is below what the reactors need.
    OpenFiles {
        /// The hard limit.
        limit: u64,
        /// What is needed.
        needed: u64,
    },
    /// The threads of the reactors cannot all be started.
    Threads {
        /// What is needed.
        needed: usize,
        /// What the kernel said.
        source: io::Error,
    },
    /// A CPU to pin to does not exist or is not allowed to this process.
    CpuNotAllowed {
        /// The CPU asked for.
        cpu: usize,
        /// The CPUs this process may use.
        allowed: Vec<usize>,
    },
    /// Fewer CPUs were listed than reactors asked for.
    CpusTooFew {
        /// CPUs listed.
        cpus: usize,
        /// Reactors asked for.
        reactors: usize,
    },
    /// The executor of a reactor could not be made.
    Executor {
        /// The reactor.
        reactor: usize,
        /// What the runtime said.
        reason: String,
    },
    /// Any other refusal by the operating system.
    System {
        /// What was attempted.
        operation: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
}

impl StartError {
    /// Files a failed socket operation under the cause that has its own remedy, if there is one.
    pub(super) fn from_socket(
        operation: &'static str,
        transport: Transport,
        address: SocketAddr,
        source: io::Error,
    ) -> Self {
        match source.raw_os_error() {
            Some(libc::EADDRINUSE) => StartError::PortTaken { transport, address },
            Some(libc::EACCES | libc::EPERM) if operation == "bind" => {
                StartError::PortNotPermitted { transport, address }
            }
            Some(libc::EADDRNOTAVAIL) => StartError::AddressNotAvailable { transport, address },
            _ => StartError::Socket { operation, transport, address, source },
        }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::Settings(what) | StartError::Certificates(what) => write!(f, "{what}"),
            StartError::Steering(why) => {
                write!(f, "phones cannot be steered to the reactor of their account: {why}")
            }
            StartError::PortTaken { transport, address } => write!(
                f,
                "{transport} {address}: the port is taken by another socket; stop the other server \
                 (`ss -{}lpn 'sport = :{}'` names it) or listen on another port",
                if transport.is_connection() { 't' } else { 'u' },
                address.port()
            ),
            StartError::PortNotPermitted { transport, address } => write!(
                f,
                "{transport} {address}: no permission to bind; ports below 1024 need \
                 CAP_NET_BIND_SERVICE (`setcap cap_net_bind_service=+ep` or \
                 AmbientCapabilities= in the unit), others a security policy that allows it"
            ),
            StartError::AddressNotAvailable { transport, address } => write!(
                f,
                "{transport} {address}: no interface has this address; give one that `ip address` \
                 lists, a wildcard, or set net.ipv4.ip_nonlocal_bind=1 for a floating address"
            ),
            StartError::Socket { operation, transport, address, source } => {
                write!(f, "{transport} {address}: {operation} failed: {source}; ")?;
                match source.raw_os_error() {
                    Some(libc::EMFILE | libc::ENFILE) => {
                        write!(f, "raise the limit of open files (`ulimit -n`, LimitNOFILE=)")
                    }
                    Some(libc::EAFNOSUPPORT) => write!(
                        f,
                        "this kernel lacks the address family: enable it or do not listen on it"
                    ),
                    Some(libc::ENOPROTOOPT) => write!(f, "Linux 4.6 or later is needed"),
                    _ => write!(f, "check the address and the limits of this process"),
                }
            }
            StartError::IoUringDisabled { level } => write!(
                f,
                "io_uring is switched off (kernel.io_uring_disabled = {level}); allow it with \
                 `sysctl -w kernel.io_uring_disabled=0`{}",
                if *level == 1 {
                    ", or put the user into the group of kernel.io_uring_group"
                } else {
                    ""
                }
            ),
            StartError::IoUringForbidden => write!(
                f,
                "io_uring is forbidden to this process, most likely by a container's seccomp \
                 profile; allow io_uring_setup, io_uring_enter and io_uring_register in it"
            ),
            StartError::IoUringMissing { operation, source } => write!(
                f,
                "io_uring: {operation} failed: {source}; run Linux 5.8 or later (6.0 or later \
                 for the uring datagram backend) or choose the mmsg backend"
            ),
            StartError::Memlock { limit_bytes, needed_bytes } => write!(
                f,
                "the memlock limit is {} KiB and the rings need {} KiB; raise it with \
                 `ulimit -l`, LimitMEMLOCK= in the unit or --ulimit memlock= of the container",
                limit_bytes / 1024,
                needed_bytes.div_ceil(1024)
            ),
            StartError::OpenFiles { limit, needed } => write!(
                f,
                "the limit of open files is {limit} and {needed} are needed; raise it with \
                 `ulimit -n`, LimitNOFILE= in the unit or --ulimit nofile= of the container, or \
                 run fewer reactors"
            ),
            StartError::Threads { needed, source } => write!(
                f,
                "{needed} threads are needed and cannot be started: {source}; raise the limit \
                 with `ulimit -u`, TasksMax= in the unit or --pids-limit of the container, or run \
                 fewer reactors"
            ),
            StartError::CpuNotAllowed { cpu, allowed } => write!(
                f,
                "CPU {cpu} is not one this process may use; choose among {}, or widen its \
                 affinity (taskset, AllowedCPUs=, --cpuset-cpus)",
                CpuList(allowed)
            ),
            StartError::CpusTooFew { cpus, reactors } => write!(
                f,
                "{reactors} reactors cannot be pinned to {cpus} CPUs; list at least as many CPUs \
                 as reactors or run fewer reactors"
            ),
            StartError::Executor { reactor, reason } => write!(
                f,
                "reactor {reactor}: its executor could not be made: {reason}; check the memlock \
                 limit, the limit of open files and that io_uring is allowed"
            ),
            StartError::System { operation, source } => write!(
                f,
                "{operation} failed: {source}; check the limits of this process (open files, \
                 processes, memory)"
            ),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            StartError::Socket { source, .. }
            | StartError::IoUringMissing { source, .. }
            | StartError::Threads { source, .. }
            | StartError::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// CPUs as people write them: `0-3,8`.
struct CpuList<'a>(&'a [usize]);

impl fmt::Display for CpuList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        let mut separator = "";
        while let Some(&first) = rest.first() {
            let run = rest.iter().zip(first..).take_while(|&(&cpu, want)| cpu == want).count();
            write!(f, "{separator}{first}")?;
            if run > 1 {
                write!(f, "-{}", rest[run - 1])?;
            }
            rest = &rest[run..];
            separator = ",";
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_refusal_has_its_own_remedy() {
        let address: SocketAddr = "192.0.2.1:506".parse().unwrap();
        let line = |errno| {
            let source = io::Error::from_raw_os_error(errno);
            StartError::from_socket("bind", Transport::Udp, address, source).to_string()
        };
        assert!(line(libc::EADDRINUSE).contains("taken"), "{}", line(libc::EADDRINUSE));
        assert!(line(libc::EACCES).contains("CAP_NET_BIND_SERVICE"), "{}", line(libc::EACCES));
        assert!(line(libc::EADDRNOTAVAIL).contains("no interface has"));
        assert!(line(libc::EMFILE).contains("LimitNOFILE"));
    }

    #[test]
    fn every_line_is_one_line() {
        let address: SocketAddr = "[::1]:5060".parse().unwrap();
        let transport = Transport::Tls;
        let eio = || io::Error::from_raw_os_error(libc::EIO);
        for error in [
            StartError::Settings("no listening address".into()),
            StartError::PortTaken { transport, address },
            StartError::PortNotPermitted { transport, address },
            StartError::AddressNotAvailable { transport, address },
            StartError::Socket { operation: "bind", transport, address, source: eio() },
            StartError::IoUringDisabled { level: 1 },
            StartError::IoUringForbidden,
            StartError::IoUringMissing { operation: "io_uring_setup", source: eio() },
            StartError::Memlock { limit_bytes: 65_536, needed_bytes: 524_288 },
            StartError::CpuNotAllowed { cpu: 9, allowed: vec![0, 1] },
            StartError::CpusTooFew { cpus: 1, reactors: 2 },
            StartError::Executor { reactor: 0, reason: "refused".into() },
            StartError::System { operation: "eventfd", source: eio() },
        ] {
            let line = error.to_string();
            assert!(!line.contains('\n') && !line.contains("  "), "{line}");
        }
    }

    #[test]
    fn cpus_are_listed_as_ranges() {
        assert_eq!(CpuList(&[0, 1, 2, 5, 8, 9]).to_string(), "0-2,5,8-9");
    }
}
