//! One binding as it stands in answers. Names end in their units; what is not there is `null`.

use std::time::Duration;

use serde::Serialize;

use super::filters::UNREGISTERED;
use super::moment::{rfc3339, wall};
use super::query::binding_name;
use super::shards::Shards;
use crate::flow::Flow;
use crate::registrar::Binding;
use crate::shard::ShardId;
use crate::shard::filter::Status;
use crate::shard::registrations::Registration;
use crate::time::Now;

/// A binding, or an account that has none: then only its names are there.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Row {
    /// Whose: `sip:user@domain`.
    pub aor: String,
    /// The user part of that.
    pub number: String,
    /// The account: `user@domain`.
    pub account: String,
    /// The domain of that.
    pub domain: String,
    /// Its name: never used again while the process lives.
    pub binding: Option<String>,
    /// The Contact URI as the phone gave it.
    pub contact: Option<String>,
    /// Address and port its last REGISTER came from.
    pub received: Option<String>,
    /// That address alone.
    pub source_ip: Option<String>,
    pub transport: Option<&'static str>,
    /// The way to it: the local address of datagrams, or the connection.
    pub flow: Option<String>,
    pub granted_s: Option<u32>,
    pub remaining_s: Option<u32>,
    /// What was granted is over; it is kept a little longer for a late refresh.
    pub late: bool,
    pub registered_at: Option<String>,
    pub refreshed_at: Option<String>,
    pub user_agent: Option<String>,
    pub nat: bool,
    /// `registered`, `expiring` (a tenth of what was granted is left at most, or it is late),
    /// `unreachable`, or `unregistered`.
    pub status: &'static str,
    pub reachable: bool,
    /// OPTIONS it has not answered, in a row; none if it was never asked.
    pub probes_missed: Option<u8>,
    /// The round trip to it, smoothed, and the last one.
    pub round_trip_ms: Option<f64>,
    pub round_trip_last_ms: Option<f64>,
    pub in_call: bool,
    pub path: Option<String>,
    pub instance: Option<String>,
    pub reg_id: Option<u32>,
    pub q: Option<f32>,
    pub call_id: Option<String>,
    pub cseq: Option<u32>,
    /// The account has it without registering.
    pub provided: bool,
    pub shard: u8,
}

/// What phones send need not be UTF-8.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn some_text(bytes: &[u8]) -> Option<String> {
    (!bytes.is_empty()).then(|| text(bytes))
}

/// To the microsecond.
fn millis(time: Duration) -> f64 {
    time.as_micros() as f64 / 1000.0
}

impl Row {
    pub fn new(shards: &Shards, shard: ShardId, now: Now, registration: &Registration) -> Row {
        let Registration { aor, id, binding, liveness, round_trip } = registration;
        // What an account provides came from nowhere, by no way, and has no end.
        let came = !binding.is_static();
        let source = binding.source();
        Row {
            binding: Some(binding_name(shard, *id)),
            contact: Some(text(binding.contact())),
            received: came.then(|| source.to_string()),
            source_ip: came.then(|| source.ip().to_string()),
            transport: came.then(|| binding.flow().transport().word()),
            flow: came.then(|| flow(shards, binding)),
            granted_s: came.then(|| binding.granted_s()),
            remaining_s: came.then(|| binding.remaining_s(now.mono)),
            late: came && binding.is_late(now.mono),
            registered_at: Some(rfc3339(wall(now, binding.registered_at()))),
            refreshed_at: Some(rfc3339(wall(now, binding.refreshed_at()))),
            user_agent: some_text(binding.user_agent()),
            nat: binding.is_behind_nat(),
            status: Status::of(binding, now.mono).word(),
            reachable: binding.is_reachable(),
            probes_missed: liveness.map(|state| state.misses),
            round_trip_ms: round_trip.map(|trip| millis(trip.smoothed)),
            round_trip_last_ms: round_trip.map(|trip| millis(trip.last)),
            in_call: binding.is_in_call(),
            path: some_text(binding.path()),
            instance: binding.instance().map(|instance| text(&instance.text())),
            reg_id: binding.reg_id(),
            q: binding.q().map(|q| f32::from(q.0) / 1000.0),
            call_id: binding.call_id().text().and_then(|call_id| some_text(&call_id)),
            cseq: came.then(|| binding.cseq()),
            provided: binding.is_static(),
            ..Row::absent(shard, aor)
        }
    }

    /// An account without a binding.
    pub fn absent(ShardId(shard): ShardId, aor: &[u8]) -> Row {
        let account = text(aor);
        let (number, domain) = account.rsplit_once('@').unwrap_or((&account, ""));
        Row {
            aor: format!("sip:{account}"),
            number: number.to_owned(),
            domain: domain.to_owned(),
            account,
            binding: None,
            contact: None,
            received: None,
            source_ip: None,
            transport: None,
            flow: None,
            granted_s: None,
            remaining_s: None,
            late: false,
            registered_at: None,
            refreshed_at: None,
            user_agent: None,
            nat: false,
            status: UNREGISTERED,
            reachable: false,
            probes_missed: None,
            round_trip_ms: None,
            round_trip_last_ms: None,
            in_call: false,
            path: None,
            instance: None,
            reg_id: None,
            q: None,
            call_id: None,
            cseq: None,
            provided: false,
            shard,
        }
    }

    pub fn rows<'a>(
        shards: &Shards,
        shard: ShardId,
        now: Now,
        registrations: impl IntoIterator<Item = &'a Registration>,
    ) -> Vec<Row> {
        registrations.into_iter().map(|one| Row::new(shards, shard, now, one)).collect()
    }
}

/// `udp:192.0.2.1:5060`: sent from there; `tcp:0-17-3`: by that connection of reactor 0.
fn flow(shards: &Shards, binding: &Binding) -> String {
    match binding.flow() {
        Flow::Datagram { listener, local_ip } => {
            let local = shards.listener(listener).map(|mut address| {
                address.set_ip(local_ip.unwrap_or(address.ip()));
                address
            });
            match local {
                Some(address) => format!("udp:{address}"),
                None => format!("udp:{listener}"),
            }
        }
        Flow::Connection { id, transport } => {
            format!("{transport}:{}-{}-{}", id.reactor, id.slot, id.generation)
        }
    }
}
