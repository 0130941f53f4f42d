//! The naive reference of RFC 3261 10.3: every binding in a list, every request worked on a copy.

use aorta::config::{MinExpiresPolicy, Registrar as Config};
use aorta::registrar::{LeaveReason, Refusal};
use aorta::time::Instant;

use super::draw::*;
use super::{Address, Request, room};

#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub serial: usize,
    pub address: usize,
    pub contact: &'static str,
    pub instance: Option<&'static str>,
    pub reg_id: Option<u32>,
    pub q: Option<u16>,
    pub call_id: &'static str,
    pub cseq: u32,
    pub user_agent: &'static str,
    pub granted: u32,
    pub changed_s: u64,
    pub expires_at: u64,
    pub fingerprint: u64,
    pub port: u16,
    pub unreachable: bool,
    pub in_call: bool,
}

impl Stored {
    /// Which device it is a flow of.
    pub fn device(&self) -> Option<String> {
        self.reg_id.and(self.instance).map(str::to_lowercase)
    }

    pub fn is_late(&self, now: Instant) -> bool {
        self.expires_at <= now.as_secs()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    Registered(usize),
    Refreshed { serial: usize, moved: bool },
    Retargeted { serial: usize, from: &'static str },
    Left { serial: usize, contact: &'static str, reason: LeaveReason },
}

#[derive(Default)]
pub struct Reference {
    pub aors: Vec<Vec<Stored>>,
    pub accepted: Vec<u64>,
    pub serials: usize,
}

/// A binding while a request is worked on.
#[derive(Clone)]
pub struct Tentative {
    pub now: Stored,
    pub before: Option<Stored>,
    pub touched: bool,
    pub gone: bool,
}

impl Reference {
    pub fn retransmission(&self, request: &Request) -> bool {
        if request.contacts.is_empty() && !request.wildcard {
            return false;
        }
        if self.accepted[request.aor as usize] == request.fingerprint {
            return true;
        }
        let found = |address: &Address| {
            let stored = &self.aors[request.aor as usize];
            same_as(request, address, stored.iter()).map(|at| stored[at].fingerprint)
        };
        let goes = |address: &&Address| address.expires.or(request.expires) == Some(0);
        let (going, staying): (Vec<_>, Vec<_>) = request.contacts.iter().partition(goes);
        !request.wildcard
            && !staying.is_empty()
            && staying.iter().all(|address| found(address) == Some(request.fingerprint))
            && going.iter().all(|address| found(address).is_none())
    }

    pub fn register(
        &mut self,
        config: &Config,
        now: Instant,
        request: &Request,
        told: &mut Vec<Told>,
    ) -> Result<bool, Refusal> {
        let aor = request.aor as usize;
        self.aors[aor].retain(|stored| {
            let margin = u64::from(config.late_margin_s);
            let over = stored.expires_at + margin <= now.as_secs();
            if over {
                told.push(left(stored, LeaveReason::Expired));
            }
            !over
        });
        if self.retransmission(request) {
            return Ok(true);
        }
        let ordered = |stored: &Stored| ordered(request, stored);
        if request.wildcard {
            if request.expires != Some(0) {
                return Err(Refusal::WildcardExpires);
            }
            self.aors[aor].iter().try_for_each(ordered)?;
            for stored in self.aors[aor].drain(..) {
                told.push(left(&stored, LeaveReason::Unregistered));
            }
            self.accepted[aor] = request.fingerprint;
            return Ok(false);
        }
        if request.contacts.is_empty() {
            return Ok(false);
        }

        let mut all: Vec<Tentative> = self.aors[aor]
            .iter()
            .map(|stored| Tentative {
                now: stored.clone(),
                before: Some(stored.clone()),
                touched: false,
                gone: false,
            })
            .collect();
        let mut touched: Vec<usize> = Vec::new();
        let longest = match request.behind_nat {
            true => config.expires_max_s.min(config.nat_expires_max_s),
            false => config.expires_max_s,
        };
        for address in &request.contacts {
            let granted = match address.expires.or(request.expires) {
                Some(0) => 0,
                Some(asked) if asked < config.expires_min_s => match config.expires_min_policy {
                    MinExpiresPolicy::Refuse => {
                        let min_expires_s = config.expires_min_s;
                        return Err(Refusal::IntervalTooBrief { min_expires_s });
                    }
                    MinExpiresPolicy::Raise => config.expires_min_s,
                },
                asked => asked.unwrap_or(longest).min(longest),
            };
            let mut order = touched.clone();
            order.extend((0..all.len()).filter(|&at| !all[at].touched));
            let found =
                same_as(request, address, order.iter().map(|&at| &all[at].now)).map(|at| order[at]);
            let stored = self.stored(request, address, granted, now);
            match found {
                Some(at) => {
                    if !all[at].touched {
                        ordered(&all[at].now)?;
                        touched.push(at);
                    }
                    all[at].becomes(&stored);
                    all[at].gone = granted == 0;
                }
                None => {
                    touched.push(all.len());
                    let gone = granted == 0;
                    all.push(Tentative { now: stored, before: None, touched: true, gone });
                }
            }
        }

        for (at, reason) in room::make(config, now, request, &mut all, &mut touched)? {
            told.push(left(&all[at].now, reason));
        }
        for &at in touched.iter().filter(|&&at| all[at].gone) {
            if let Some(before) = &all[at].before {
                told.push(left(before, LeaveReason::Unregistered));
            }
        }
        for &at in &touched {
            if all[at].gone {
                continue;
            }
            let serial = all[at].now.serial;
            told.push(match &all[at].before {
                None => {
                    self.serials += 1;
                    all[at].now.serial = self.serials;
                    Told::Registered(self.serials)
                }
                Some(before) if before.address == all[at].now.address => {
                    Told::Refreshed { serial, moved: before.port != request.port }
                }
                Some(before) => Told::Retargeted { serial, from: before.contact },
            });
        }
        let mut stays: Vec<Stored> =
            all.iter().filter(|t| t.before.is_some() && !t.gone).map(|t| t.now.clone()).collect();
        let new = touched.iter().map(|&at| &all[at]).filter(|t| t.before.is_none() && !t.gone);
        stays.extend(new.map(|t| t.now.clone()));
        self.aors[aor] = stays;
        self.accepted[aor] = request.fingerprint;
        Ok(false)
    }

    pub fn stored(
        &self,
        request: &Request,
        address: &Address,
        granted: u32,
        now: Instant,
    ) -> Stored {
        Stored {
            serial: 0,
            address: address.number,
            contact: ADDRESSES[address.number][address.spelling],
            instance: address.instance.map(|at| INSTANCES[at]),
            reg_id: key(request, address).and(address.reg_id),
            q: address.q,
            call_id: CALL_IDS[request.call_id],
            cseq: request.cseq,
            user_agent: USER_AGENTS[request.user_agent],
            granted,
            changed_s: now.as_secs(),
            expires_at: now.as_nanos().div_ceil(1_000_000_000) + u64::from(granted),
            fingerprint: request.fingerprint,
            port: request.port,
            unreachable: false,
            in_call: false,
        }
    }
}

impl Tentative {
    /// A refresh or a new contact keeps the name and the calls.
    pub fn becomes(&mut self, new: &Stored) {
        let Stored { serial, in_call, .. } = self.now;
        self.now = Stored { serial, in_call, ..new.clone() };
        self.touched = true;
    }
}

/// RFC 3261 10.3 steps 6 and 7.
pub fn ordered(request: &Request, stored: &Stored) -> Result<(), Refusal> {
    if stored.call_id == CALL_IDS[request.call_id] && stored.cseq >= request.cseq {
        Err(Refusal::StaleCSeq)
    } else {
        Ok(())
    }
}

/// What names the binding under outbound.
pub fn key(request: &Request, address: &Address) -> Option<(String, u32)> {
    let instance = address.instance.filter(|_| request.outbound)?;
    Some((INSTANCES[instance].to_lowercase(), address.reg_id?))
}

pub fn left(stored: &Stored, reason: LeaveReason) -> Told {
    Told::Left { serial: stored.serial, contact: stored.contact, reason }
}

pub fn same_as<'a>(
    request: &Request,
    address: &Address,
    all: impl Iterator<Item = &'a Stored> + Clone,
) -> Option<usize> {
    let wanted = key(request, address);
    let by_flow =
        |stored: &Stored| wanted.is_some() && stored.device().zip(stored.reg_id) == wanted;
    let by_contact = |stored: &Stored| {
        let both = wanted.is_some() && stored.device().is_some();
        !both && stored.address == address.number
    };
    all.clone().position(by_flow).or_else(|| all.clone().position(by_contact))
}
