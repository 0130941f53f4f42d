//! The few of bpf(2)'s commands that steering needs: maps, and a program that uses them.

use std::fmt;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use super::program::Instruction;

/// What the kernel refused, and its reason.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) operation: &'static str,
    pub(super) source: io::Error,
    /// The last line of what its verifier said, where that spoke.
    pub(super) verifier: Option<String>,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.operation, self.source)?;
        match &self.verifier {
            Some(line) => write!(f, " ({line})"),
            None => Ok(()),
        }
    }
}

// Commands.
const MAP_CREATE: libc::c_long = 0;
const MAP_LOOKUP_ELEM: libc::c_long = 1;
const MAP_UPDATE_ELEM: libc::c_long = 2;
const PROG_LOAD: libc::c_long = 5;

/// Whether a value is put where there may be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(super) enum Put {
    /// Over what is there.
    Any = 0,
    /// Only where there is none.
    New = 1,
}

/// What a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum MapType {
    /// Forgets what was looked up the longest time ago (Linux 4.10).
    LruHash = 9,
    /// Sockets of SO_REUSEPORT groups; one that is closed leaves it by itself (Linux 4.19).
    ReuseportSockets = 20,
}

const PROG_TYPE_SK_REUSEPORT: u32 = 21;

/// A map of the kernel with keys of `K` bytes and values of `V`.
#[derive(Debug)]
pub(super) struct Map<const K: usize, const V: usize>(OwnedFd);

#[repr(C)]
struct MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
}

#[repr(C)]
struct MapElement {
    map_fd: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

impl<const K: usize, const V: usize> Map<K, V> {
    pub(super) fn new(kind: MapType, entries_max: u32) -> Result<Self, Refused> {
        let create = MapCreate {
            map_type: kind as u32,
            key_size: K as u32,
            value_size: V as u32,
            max_entries: entries_max,
            map_flags: 0,
        };
        let fd = bpf(MAP_CREATE, &create).map_err(refused("bpf(BPF_MAP_CREATE)"))?;
        // SAFETY: `fd` was just opened and belongs to nobody else.
        Ok(Map(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    pub(super) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }

    /// # Errors
    /// EEXIST where there is one and a new one was asked for.
    pub(super) fn put(&self, key: &[u8; K], value: &[u8; V], put: Put) -> io::Result<()> {
        let element = self.element(key, value.as_ptr() as u64, put as u64);
        bpf(MAP_UPDATE_ELEM, &element).map(drop)
    }

    /// The value of a key, if there is one. That it was looked up here does not keep it.
    pub(super) fn find(&self, key: &[u8; K]) -> io::Result<Option<[u8; V]>> {
        let mut value = [0; V];
        let element = self.element(key, value.as_mut_ptr() as u64, 0);
        match bpf(MAP_LOOKUP_ELEM, &element) {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn element(&self, key: &[u8; K], value: u64, flags: u64) -> MapElement {
        let key = key.as_ptr() as u64;
        MapElement { map_fd: self.fd() as u32, padding: 0, key, value, flags }
    }
}

/// Has the kernel check a program and take it.
pub(super) fn load(program: &[Instruction]) -> Result<OwnedFd, Refused> {
    const OPERATION: &str = "bpf(BPF_PROG_LOAD)";
    /// Of what the verifier says, asked for only when it has refused.
    const LOG_BYTES: usize = 64 << 10;
    let mut load = ProgLoad {
        prog_type: PROG_TYPE_SK_REUSEPORT,
        insn_cnt: program.len() as u32,
        insns: program.as_ptr() as u64,
        // It uses nothing that the kernel keeps for programs under the GPL.
        license: c"Apache-2.0".as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: 0,
    };
    let source = match bpf(PROG_LOAD, &load) {
        // SAFETY: `fd` was just opened and belongs to nobody else.
        Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        Err(error) => error,
    };
    let mut verifier = None;
    if matches!(source.raw_os_error(), Some(libc::EACCES | libc::EINVAL)) {
        let mut log = vec![0u8; LOG_BYTES];
        load.log_level = 1;
        load.log_size = LOG_BYTES as u32;
        load.log_buf = log.as_mut_ptr() as u64;
        if let Ok(fd) = bpf(PROG_LOAD, &load) {
            // SAFETY: as above.
            return Ok(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        let said = String::from_utf8_lossy(&log);
        let lines = said.trim_end_matches('\0').lines().map(str::trim);
        let mut lines = lines.filter(|line| !line.is_empty() && !line.starts_with("processed "));
        verifier = lines.next_back().map(str::to_owned);
    }
    Err(Refused { operation: OPERATION, source, verifier })
}

fn refused(operation: &'static str) -> impl FnOnce(io::Error) -> Refused {
    move |source| Refused { operation, source, verifier: None }
}

/// Carries out a command. The attributes are one of those above, whose pointers lead to as many
/// bytes as the command reads and writes there.
fn bpf<A>(command: libc::c_long, attributes: &A) -> io::Result<RawFd> {
    /// The verifier gives up when a signal comes, and one comes seldom.
    const TRIES_MAX: usize = 5;
    let mut tries = 0;
    loop {
        // SAFETY: the kernel reads `size_of::<A>()` bytes of `attributes`, and through its pointers
        // what the command says: instructions and a license, or a key and a value of the sizes
        // the map was made with, all of which their makers above keep alive across the call. It
        // writes to the value of a lookup and to the log alone, which are exclusively borrowed
        // there, through a pointer that was made for writing.
        let outcome = unsafe {
            libc::syscall(libc::SYS_bpf, command, attributes as *const A, size_of::<A>())
        };
        if outcome >= 0 {
            return Ok(outcome as RawFd);
        }
        let error = io::Error::last_os_error();
        tries += 1;
        if error.raw_os_error() != Some(libc::EAGAIN) || tries == TRIES_MAX {
            return Err(error);
        }
    }
}
