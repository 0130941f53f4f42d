//! Scans: the requests of well-known kits, each from a source of its own, and a walk through
//! numbers in order under a harmless name. Who asks a few times only, under the same harmless name,
//! is there to be answered: else silence would mean nothing.

use super::addresses::scanner;
use super::forge::{Forged, Method, domain, number_of};
use super::gun::{Gun, Pacer};
use super::options::AttackOptions;
use super::server::Server;
use crate::options::Error;
use crate::plan::{Nanos, SECOND};
use crate::wire::scan::Answer;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};

const CALL: &[u8] = b"scan-";
/// Requests of each kit.
const REQUESTS: u32 = 20;
/// Numbers that a walk goes through.
const STEPS: u32 = 200;
/// Requests of somebody harmless.
const HARMLESS: u32 = 3;
/// Requests a second of all of them together.
const RATE: f64 = 500.0;
/// How long answers are waited for after the last request.
const LINGER: Nanos = SECOND / 2;
/// A harmless User-Agent.
const PHONE: &[u8] = b"Linphone/5.2";

/// A kit as it shows itself.
struct Kit {
    name: &'static str,
    agent: &'static [u8],
    /// From and To, where they give it away.
    address: Option<&'static [u8]>,
}

impl Kit {
    const fn named(name: &'static str, agent: &'static [u8]) -> Kit {
        Kit { name, agent, address: None }
    }

    const fn disguised(name: &'static str, address: &'static [u8]) -> Kit {
        Kit { name, agent: PHONE, address: Some(address) }
    }
}

const KITS: [Kit; 7] = [
    Kit::named("friendly-scanner", b"friendly-scanner"),
    Kit::named("sipvicious", b"sipvicious"),
    Kit::disguised("sipvicious renamed", b"\"sipvicious\"<sip:100@1.1.1.1>"),
    Kit::named("VaxSIPUserAgent", b"VaxSIPUserAgent/3.1"),
    Kit::named("SIPScan", b"sipscan"),
    Kit::named("sipcli", b"sipcli/v1.8"),
    Kit::disguised("nmap", b"<sip:nm@nm>"),
];

/// What became of one kit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KitFigures {
    /// Requests it sent.
    pub sent: u32,
    /// Those that were answered.
    pub answered: u32,
}

/// What became of the scans.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScanFigures {
    /// Each kit, by its name.
    pub kits: BTreeMap<String, KitFigures>,
    /// The walk through numbers.
    pub walk: KitFigures,
    /// Somebody harmless.
    pub harmless: KitFigures,
    /// What the server did not answer, by reason, where it was asked.
    pub not_answered: BTreeMap<String, u64>,
}

impl ScanFigures {
    /// What did not hold. A server that answers no strangers at all has no harmless ones either;
    /// that is for whoever reads the figures.
    pub(super) fn failures(&self) -> Vec<String> {
        let heard = self.kits.iter().filter(|(_, kit)| kit.answered > 0);
        let mut all: Vec<String> = heard
            .map(|(name, kit)| format!("{name} got {} answers of {}", kit.answered, kit.sent))
            .collect();
        // The first steps are nobody's walk yet.
        if self.walk.answered > self.walk.sent / 4 {
            all.push(format!(
                "a walk through numbers got {} answers of {}",
                self.walk.answered, self.walk.sent
            ));
        }
        all
    }
}

/// One of those who ask, by the high half of the number in Call-ID.
struct Asking {
    figures: KitFigures,
    requests: u32,
}

/// Runs it.
pub(super) fn run(
    options: &AttackOptions,
    server: &Server,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(&str),
) -> Result<ScanFigures, Error> {
    progress("kits and a walk through numbers ...");
    let mut gun = Gun::new(options.remote()?)?;
    let before = server.metrics()?;
    let requests = KITS
        .iter()
        .map(|_| REQUESTS)
        .chain([STEPS, HARMLESS])
        .map(|requests| Asking { figures: KitFigures::default(), requests });
    let mut asking: Vec<Asking> = requests.collect();
    let mut pacer = Pacer::new(RATE);
    let mut over_at = None;
    while !stop.load(Ordering::Relaxed) && over_at.is_none_or(|end| pacer.elapsed() < end) {
        gun.receive(|_, datagram| take(&mut asking, datagram));
        if pacer.take(1) == 1 {
            // Whoever has most left goes on, so that all end together.
            let next = asking.iter_mut().enumerate().max_by_key(|(_, one)| {
                u64::from(one.requests - one.figures.sent) * 1000 / u64::from(one.requests)
            });
            match next {
                Some((who, one)) if one.figures.sent < one.requests => {
                    let step = one.figures.sent;
                    one.figures.sent += 1;
                    send(&mut gun, options, who as u32, step);
                    gun.flush();
                }
                _ => over_at = over_at.or(Some(pacer.elapsed() + LINGER)),
            }
        } else {
            gun.wait(pacer.pause(1));
        }
    }
    let harmless = asking.pop().map_or_else(KitFigures::default, |one| one.figures);
    let walk = asking.pop().map_or_else(KitFigures::default, |one| one.figures);
    let names = KITS.iter().map(|kit| kit.name.to_owned());
    let mut figures = ScanFigures {
        kits: names.zip(asking.iter().map(|one| one.figures)).collect(),
        walk,
        harmless,
        not_answered: BTreeMap::new(),
    };
    if let (Some(before), Some(after)) = (before, server.metrics()?) {
        figures.not_answered = super::flood::not_answered(&before, &after);
    }
    Ok(figures)
}

fn take(asking: &mut [Asking], datagram: &[u8]) {
    let Ok(answer) = Answer::scan(datagram) else { return };
    let Some(number) = number_of(answer.call_id, CALL) else { return };
    if let Some(one) = asking.get_mut((number >> 16) as usize) {
        one.figures.answered += u32::from(answer.status >= 200);
    }
}

/// Sends request `step` of one of them.
fn send(gun: &mut Gun, options: &AttackOptions, who: u32, step: u32) {
    let roster = &options.run.roster;
    let (agent, from) = match KITS.get(who as usize) {
        Some(kit) => (kit.agent, kit.address),
        None => (PHONE, None),
    };
    let is_walk = who as usize == KITS.len();
    let extension = format!("{}", 1000 + step);
    let user = if is_walk { extension.as_bytes() } else { roster.user(0) };
    // A walk tries names, kits mostly ask what is there.
    let method = match is_walk || step % 2 == 1 {
        true => Method::Register,
        false => Method::Options,
    };
    let request = Forged {
        method,
        domain: domain(roster, 0),
        user,
        agent,
        from,
        call: CALL,
        number: who << 16 | step,
        cseq: 1,
        credentials: None,
    };
    gun.send(scanner(who), |room| request.write(room));
}
