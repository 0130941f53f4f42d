//! What a datagram of a blocked source costs the server, beside what a bare loop pays to receive
//! one and drop it: in turns, three times, and the median of each. Both receive the same datagrams,
//! as fast as they can be sent.

use super::addresses::BLOCKED;
use super::forge::{Forged, Method, domain};
use super::gun::Gun;
use super::options::AttackOptions;
use super::server::Server;
use crate::options::Error;
use crate::socket::{Port, Received, Waiter, thread_cpu};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ROUNDS: usize = 3;
/// How long what was sent is given to be taken.
const SETTLE: Duration = Duration::from_millis(200);
const BLOCKED_METRIC: &str = "aorta_not_answered_total{reason=\"source_blocked\"}";

/// What became of a blocked source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BlockedFigures {
    /// Datagrams it sent.
    pub sent: u64,
    /// Those that were answered.
    pub answered: u64,
    /// Those that the server counted as dropped for their source.
    pub dropped: u64,
    /// Nanoseconds of the server's CPU for each of those, the median of the rounds; none where its
    /// process is not known.
    pub server_ns: Option<f64>,
    /// Nanoseconds that a bare loop paid for each.
    pub bare_ns: f64,
    /// By how much the server may exceed that.
    pub ns_max: f64,
}

impl BlockedFigures {
    /// What did not hold.
    pub(super) fn failures(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.answered > 0 {
            all.push(format!("a blocked source got {} answers", self.answered));
        }
        if self.dropped == 0 {
            all.push("no datagram of a blocked source came to be dropped".to_owned());
        }
        if let Some(server_ns) = self.server_ns.filter(|ns| *ns > self.bare_ns + self.ns_max) {
            all.push(format!(
                "a datagram of a blocked source costs {server_ns:.0} ns, a bare loop pays {:.0} ns",
                self.bare_ns
            ));
        }
        all
    }
}

/// Runs it.
pub(super) fn run(
    options: &AttackOptions,
    server: &Server,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<BlockedFigures, Error> {
    let target = options.remote()?;
    server.block(IpAddr::V4(BLOCKED))?;
    let ran = rounds(options, target, server, stop, progress);
    let lifted = server.lift(IpAddr::V4(BLOCKED));
    let figures = ran?;
    lifted.map(|()| figures)
}

fn rounds(
    options: &AttackOptions,
    target: SocketAddrV4,
    server: &Server,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<BlockedFigures, Error> {
    let mut gun = Gun::new(target)?;
    let (mut costs, mut bare) = (Vec::new(), Vec::new());
    let (mut answered, mut dropped) = (0, 0);
    for round in 1..=ROUNDS {
        progress(&format!("a blocked source, round {round} of {ROUNDS} ..."));
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let before = (server.metrics()?.unwrap_or_default(), server.cpu());
        shoot(&mut gun, options, stop);
        std::thread::sleep(SETTLE);
        let cpu = server.cpu();
        let after = server.metrics()?.unwrap_or_default();
        gun.receive(|_, _| answered += 1);
        let count = after.since(&before.0, BLOCKED_METRIC);
        dropped += count;
        if let (Some(before), Some(after)) = (before.1, cpu)
            && count > 0
        {
            costs.push(after.saturating_sub(before) as f64 / count as f64);
        }
        bare.push(bare_loop(options, stop)?);
    }
    Ok(BlockedFigures {
        sent: gun.sent,
        answered,
        dropped,
        server_ns: (!costs.is_empty()).then(|| median(costs)),
        bare_ns: if bare.is_empty() { 0.0 } else { median(bare) },
        ns_max: options.blocked_ns_max,
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Sends one round from the blocked source.
fn shoot(gun: &mut Gun, options: &AttackOptions, stop: &AtomicBool) {
    let roster = &options.run.roster;
    let mut request = Forged {
        method: Method::Register,
        domain: domain(roster, 0),
        user: roster.user(0),
        agent: b"Linphone/5.2",
        from: None,
        call: b"blocked-",
        number: 0,
        cseq: 1,
        credentials: None,
    };
    while request.number < options.blocked && !stop.load(Ordering::Relaxed) {
        gun.send(BLOCKED, |room| request.write(room));
        request.number += 1;
    }
    gun.flush();
}

/// What a loop that receives and does nothing else pays for the same, nanoseconds each.
fn bare_loop(options: &AttackOptions, stop: &AtomicBool) -> Result<f64, Error> {
    let failed = |error| Error::System {
        operation: "a socket for the bare loop".to_owned(),
        error,
        remedy: "a higher `ulimit -n`",
    };
    // Neither knows the other's port before both have one, so the loop is bound first.
    let free = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(failed)?;
    let SocketAddr::V4(home) = free.local_addr().map_err(failed)? else {
        return Err(Error::Thread);
    };
    drop(free);
    let mut gun = Gun::new(home)?;
    let from = SocketAddr::from((BLOCKED, gun.port()));
    let port = Port::open_at(home.into(), from).map_err(failed)?;
    let sent = AtomicBool::new(false);
    let (count, cpu) = std::thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&port, &sent));
        shoot(&mut gun, options, stop);
        std::thread::sleep(SETTLE);
        sent.store(true, Ordering::Relaxed);
        receiving.join().map_err(|_| Error::Thread)
    })?;
    Ok(cpu as f64 / f64::max(count as f64, 1.0))
}

/// Receives until all is sent. Returns how many came and what CPU time that took.
fn receive(port: &Port, sent: &AtomicBool) -> (u64, u64) {
    let mut received = Received::new();
    let mut waiter = Waiter::new(std::slice::from_ref(port));
    let begun = thread_cpu();
    let mut count = 0;
    while !sent.load(Ordering::Relaxed) {
        match received.receive(port) {
            Ok(came @ 1..) => count += came as u64,
            _ => waiter.wait(10_000_000),
        }
    }
    (count, thread_cpu() - begun)
}
