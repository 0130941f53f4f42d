//! Who goes for a request over the limit, in the naive way: try, count, look again.

use std::collections::HashSet;

use aorta::config::{Evict, Registrar as Config, Replace};
use aorta::limits::FLOWS_PER_DEVICE_MAX;
use aorta::registrar::{LeaveReason, Refusal};
use aorta::time::Instant;

use super::Request;
use super::reference::{Stored, Tentative, ordered};

impl Tentative {
    fn is_new(&self) -> bool {
        self.before.is_none() && !self.gone
    }

    /// It was a binding already, of another device.
    fn changes_device(&self) -> bool {
        let was = |before: &Stored| before.device() != self.now.device();
        self.touched && !self.gone && self.before.as_ref().is_some_and(was)
    }

    fn may_go(&self) -> bool {
        !self.touched && !self.gone
    }
}

fn devices<'a>(all: impl Iterator<Item = &'a Tentative>) -> usize {
    let (flows, others): (Vec<_>, Vec<_>) =
        all.filter(|t| !t.gone).map(|t| t.now.device()).partition(Option::is_some);
    flows.into_iter().collect::<HashSet<_>>().len() + others.len()
}

/// Makes room, and says who goes and why.
pub fn make(
    config: &Config,
    now: Instant,
    request: &Request,
    all: &mut [Tentative],
    touched: &mut [usize],
) -> Result<Vec<(usize, LeaveReason)>, Refusal> {
    let limit = usize::from(request.bindings_max.unwrap_or(config.bindings_max));
    let refused = Err(Refusal::TooManyBindings { retry_after_s: config.retry_after_s });
    let mut evicted = Vec::new();
    if !all.iter().any(|t| t.is_new() || t.changes_device()) {
        return Ok(evicted);
    }
    for at in 0..all.len() {
        let device = all[at].now.device();
        let own = |t: &Tentative| !t.gone && t.now.device() == device;
        if device.is_none()
            || !(all[at].is_new() || all[at].changes_device())
            || all.iter().filter(|t| own(t)).count() <= FLOWS_PER_DEVICE_MAX
        {
            continue;
        }
        let Some(oldest) = all.iter().position(|t| own(t) && t.may_go()) else { return refused };
        if all[at].is_new() {
            take_over(request, all, touched, at, oldest)?;
        } else {
            all[oldest].gone = true;
            evicted.push((oldest, LeaveReason::Kicked));
        }
    }
    let known: Vec<_> =
        all.iter().filter_map(|t| t.before.as_ref()).filter_map(Stored::device).collect();
    let new_device =
        |t: &Tentative| t.is_new() && t.now.device().is_none_or(|device| !known.contains(&device));
    let splits = |t: &Tentative| {
        let was = t.before.as_ref().and_then(Stored::device);
        let stays = |other: &Tentative| !other.gone && other.now.device() == was;
        was.is_some() && t.changes_device() && all.iter().any(stays)
    };
    if !all.iter().any(|t| new_device(t) || splits(t)) {
        return Ok(evicted);
    }
    if devices(all.iter().filter(|t| t.touched)) > limit {
        return refused;
    }
    for at in 0..all.len() {
        if devices(all.iter()) > limit && new_device(&all[at]) {
            let own = all.iter().position(|t| t.may_go() && own_device(&t.now, &all[at].now));
            if let Some(own) = own {
                take_over(request, all, touched, at, own)?;
            }
        }
    }
    while devices(all.iter()) > limit {
        if let Some(late) = all.iter().position(|t| t.may_go() && t.now.is_late(now)) {
            all[late].gone = true;
            evicted.push((late, LeaveReason::Expired));
            continue;
        }
        let chosen = left_behind(all)
            .or_else(|| by_policy(config, request.replace.unwrap_or(config.replace), all));
        let Some(chosen) = chosen else { return refused };
        let device = all[chosen].now.device();
        for (at, t) in all.iter_mut().enumerate() {
            if t.may_go() && (at == chosen || device.is_some() && t.now.device() == device) {
                t.gone = true;
                evicted.push((at, LeaveReason::Kicked));
            }
        }
    }
    Ok(evicted)
}

/// Bindings whose going would make room at all.
fn fair(all: &[Tentative]) -> Vec<usize> {
    let kept: Vec<_> =
        all.iter().filter(|t| t.touched && !t.gone).filter_map(|t| t.now.device()).collect();
    let is_kept = |t: &Tentative| t.now.device().is_some_and(|device| kept.contains(&device));
    (0..all.len()).filter(|&at| all[at].may_go() && !is_kept(&all[at])).collect()
}

/// What a device has left behind that comes without outbound.
fn left_behind(all: &[Tentative]) -> Option<usize> {
    let lower = |t: &Tentative| t.now.instance.map(str::to_lowercase);
    fair(all).into_iter().find(|&at| {
        let own = |t: &Tentative| t.touched && !t.gone && lower(t) == lower(&all[at]);
        all[at].now.device().is_some() && all.iter().any(own)
    })
}

fn by_policy(config: &Config, replace: Replace, all: &[Tentative]) -> Option<usize> {
    let in_call = |at: usize| {
        let device = all[at].now.device();
        let own = |other: &Stored| device.is_some() && other.device() == device;
        let flows = all.iter().filter_map(|t| t.before.as_ref()).filter(|&other| own(other));
        all[at].now.in_call || flows.into_iter().any(|other| other.in_call)
    };
    let mut may = fair(all);
    match replace {
        Replace::Never => may.clear(),
        Replace::Always => {}
        Replace::UnlessInCall => may.retain(|&at| !in_call(at)),
    }
    let silent = may.iter().copied().find(|&at| all[at].now.unreachable);
    silent.filter(|_| config.evict == Evict::UnreachableFirst).or(may.first().copied())
}

/// The new binding at `at` becomes the binding at `old`.
fn take_over(
    request: &Request,
    all: &mut [Tentative],
    touched: &mut [usize],
    at: usize,
    old: usize,
) -> Result<(), Refusal> {
    ordered(request, &all[old].now)?;
    let new = all[at].now.clone();
    all[old].becomes(&new);
    all[at].gone = true;
    all[at].touched = false;
    let place = touched.iter().position(|&touched| touched == at).unwrap();
    touched[place] = old;
    Ok(())
}

fn own_device(old: &Stored, new: &Stored) -> bool {
    if old.device().is_some() && new.device().is_some() {
        return old.device() == new.device();
    }
    if old.address == new.address {
        return true;
    }
    if let (Some(old), Some(new)) = (old.instance, new.instance) {
        return old.eq_ignore_ascii_case(new);
    }
    old.call_id == new.call_id && new.cseq > old.cseq && old.user_agent == new.user_agent
}
