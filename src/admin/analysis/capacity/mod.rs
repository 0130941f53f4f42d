//! `/api/v1/capacity`: what is asked of the host, what it could take, and how much of it is left.
//! Reading what the system says of memory is here; what follows from the readings is `track`'s.

mod track;

use std::fs;

use axum::extract::{RawQuery, State};
use axum::response::Response;

use super::super::api::{Api, json};
use super::super::operator::Role;
use super::super::problem::Problem;
use super::super::query::Query;
use super::super::routes::Routes;
use super::Terms;
use super::alerts::Reading;

pub(in crate::admin) use self::track::Capacity;
use self::track::{Ceilings, Track};

/// Growth by fewer registrations says nothing of what one takes.
const GROWN_MIN: u64 = 50_000;

/// What has been read, and what the process had in memory when that began.
#[derive(Debug, Default)]
pub(super) struct Watched {
    track: Track,
    first: Option<(u64, u64)>,
}

impl Watched {
    /// Takes a reading, and says what is known then.
    pub fn take(&mut self, reading: Reading, terms: &Terms) -> Capacity {
        let (bindings, resident) = (reading.bindings, resident());
        if let (None, Some(resident)) = (self.first, resident) {
            self.first = Some((bindings, resident));
        }
        let per_registration = self.first.zip(resident).and_then(|((before, had), has)| {
            let grown = bindings.checked_sub(before).filter(|grown| *grown >= GROWN_MIN)?;
            Some(has.saturating_sub(had) as f64 / grown as f64)
        });
        self.track.take(reading);
        self.track.view(&Ceilings {
            bindings: terms.bindings_max.map(Into::into),
            connections: terms.connections_max.map(Into::into),
            resident,
            available: available(),
            per_registration,
        })
    }
}

/// Bytes this process has in memory.
fn resident() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes it could have more: what the host has, or its control group, whichever is less.
fn available() -> Option<u64> {
    let host = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:");
    let group = fs::read_to_string("/proc/self/cgroup").ok();
    let group = group.as_deref().and_then(group_of).and_then(|group| {
        let read = |file| fs::read_to_string(format!("/sys/fs/cgroup{group}/{file}")).ok();
        left(&read("memory.max")?, &read("memory.current")?)
    });
    match (host, group) {
        (Some(host), Some(group)) => Some(host.min(group)),
        (host, group) => host.or(group),
    }
}

/// The bytes of a line such as `VmRSS:     1024 kB`.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let number: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    number.checked_mul(1024)
}

/// The path of the control group, of version 2.
fn group_of(text: &str) -> Option<&str> {
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    (path.starts_with('/') && !path.contains("..")).then_some(path.trim_end_matches('/'))
}

/// Bytes that a control group has left; `None` where it may have as many as there are.
fn left(max: &str, current: &str) -> Option<u64> {
    let (max, current): (u64, u64) = (max.trim().parse().ok()?, current.trim().parse().ok()?);
    Some(max.saturating_sub(current))
}

/// What is known now; `None` before the first reading.
pub(in crate::admin) fn capacity(api: &Api) -> Option<Capacity> {
    api.analysis.capacity.borrow().as_deref().cloned()
}

/// Its path.
pub(super) fn routes() -> Routes {
    Routes::new().get("/api/v1/capacity", Role::Read, show)
}

/// `GET /api/v1/capacity`
async fn show(State(api): State<Api>, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    Query::read(query.as_deref(), &[])?;
    let known = capacity(&api);
    known.map(|view| json(&view)).ok_or_else(|| Problem::unavailable("nothing was read yet"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        let status = "Name:\taorta\nVmHWM:\t    9000 kB\nVmRSS:\t    8000 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), Some(8_192_000));
        assert_eq!(kilobytes(status, "VmSwap:"), None);
        assert_eq!(kilobytes("VmRSS: x kB", "VmRSS:"), None);
        assert_eq!(
            group_of("1:name=x:/a\n0::/system.slice/aorta.service\n"),
            Some("/system.slice/aorta.service")
        );
        assert_eq!(group_of("0::/\n"), Some(""));
        assert_eq!(group_of("0::/../x\n"), None);
        assert_eq!(left("1000\n", "400\n"), Some(600));
        assert_eq!(left("max\n", "400\n"), None);
        assert!(resident().is_some_and(|bytes| bytes > 0));
    }

    #[test]
    fn what_a_registration_takes_is_said_once_there_were_many() {
        let mut watched = Watched::default();
        let reading = |bindings| Reading { bindings, ..Reading::default() };
        watched.take(reading(0), &Terms::default());
        assert_eq!(watched.take(reading(10), &Terms::default()).memory.per_registration, None);
        let (bindings, had) = watched.first.expect("the system says so");
        watched.first = Some((bindings, had.saturating_sub(50_000_000)));
        let memory = watched.take(reading(100_000), &Terms::default()).memory;
        assert!(memory.per_registration.is_some_and(|bytes| bytes > 100.0), "{memory:?}");
        assert!(memory.registrations_more.is_some());
    }
}
