//! A binding under the keys of Kamailio's location table. What Aorta has no such thing for is as
//! Kamailio shows what is not there.

use serde_json::{Value, json};

use super::api::Api;
use super::moment::wall;
use super::query::binding_name;
use crate::flow::Flow;
use crate::nat::Keepalive;
use crate::registrar::Binding;
use crate::shard::ShardId;
use crate::shard::registrations::Registration;
use crate::time::Now;

const NOT_SET: &str = "[not set]";
/// Every method: which of them a phone allows is not kept.
const ALL_METHODS: u32 = u32::MAX;

/// One contact.
pub(super) fn contact(api: &Api, shard: ShardId, now: Now, one: &Registration) -> Value {
    let Registration { id, binding, round_trip, .. } = one;
    let refreshed_at = wall(now, binding.refreshed_at()).0;
    let round_trip_us = round_trip.map_or(0, |trip| trip.last.as_micros() as u64);
    json!({"Contact": {
        "Address": text(binding.contact()),
        "Expires": expires(now, binding),
        "Q": binding.q().map_or(json!(-1), |q| json!(f64::from(q.0) / 1000.0)),
        "Call-ID": text(&binding.call_id().text().unwrap_or_default()),
        "CSeq": binding.cseq(),
        "User-Agent": text(binding.user_agent()),
        "Received": received(binding),
        "Path": text(binding.path()),
        // Nothing is written behind.
        "State": "CS_NEW",
        // Flags are a script's; there is none.
        "Flags": 0,
        "CFlags": 0,
        "Socket": socket(api, binding),
        "Methods": ALL_METHODS,
        "Ruid": binding_name(shard, *id),
        "Instance": binding.instance().map_or_else(|| text(b""), |instance| text(&instance.text())),
        "Reg-Id": binding.reg_id().unwrap_or_default(),
        "Server-Id": 0,
        "Tcpconn-Id": connection(binding),
        "Keepalive": u8::from(binding.keepalive() != Keepalive::None),
        "Last-Keepalive": refreshed_at,
        "KA-Roundtrip": round_trip_us,
        "Last-Modified": refreshed_at,
    }})
}

fn text(bytes: &[u8]) -> String {
    match bytes {
        [] => NOT_SET.to_owned(),
        bytes => String::from_utf8_lossy(bytes).into_owned(),
    }
}

fn expires(now: Now, binding: &Binding) -> Value {
    if binding.is_static() {
        "permanent".into()
    } else if binding.is_late(now.mono) {
        "expired".into()
    } else {
        binding.remaining_s(now.mono).into()
    }
}

/// Where it really is, if a NAT is between.
fn received(binding: &Binding) -> String {
    if binding.is_static() || !binding.is_behind_nat() {
        return NOT_SET.to_owned();
    }
    let transport = binding.flow().transport();
    match transport.is_connection() {
        true => format!("sip:{};transport={}", binding.source(), transport.word()),
        false => format!("sip:{}", binding.source()),
    }
}

/// The local address requests leave from, where it is known: that of datagrams.
fn socket(api: &Api, binding: &Binding) -> String {
    match binding.flow() {
        Flow::Datagram { listener, local_ip } if !binding.is_static() => {
            let local = api.shards.listener(listener).map(|mut address| {
                address.set_ip(local_ip.unwrap_or(address.ip()));
                format!("udp:{address}")
            });
            local.unwrap_or_else(|| NOT_SET.to_owned())
        }
        _ => NOT_SET.to_owned(),
    }
}

/// The connection it came by, as one number: its reactor above its place there.
fn connection(binding: &Binding) -> i64 {
    match binding.flow() {
        Flow::Connection { id, .. } => i64::from(id.reactor) << 32 | i64::from(id.slot),
        Flow::Datagram { .. } => -1,
    }
}
