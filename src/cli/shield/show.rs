//! `aorta shield show`: what is dropped and how much it was, as nftables and a running registrar
//! say it.

use std::process::ExitCode;

use axum::http::Method;
use serde_json::{Map, Value, json};

use super::{PATH, desk};
use crate::admin::one_line;
use crate::cli::Failure;
use crate::cli::args::ShieldArgs;
use crate::cli::say::print;
use crate::shield::nft::Nft;
use crate::shield::sets::{BLOCKED_SETS, TABLE};

/// What nftables holds of ours.
#[derive(Default)]
struct Table {
    /// Elements of each set, by its name.
    sets: Map<String, Value>,
    /// Packets and bytes of each counter, by its name.
    counters: Map<String, Value>,
    /// Blocked networks and the seconds each has left.
    blocked: Vec<(String, Option<u64>)>,
}

/// Shows it.
pub(super) fn run(args: &ShieldArgs, limit: usize) -> Result<ExitCode, Failure> {
    let (table, why_not) = match read_table(args) {
        Ok(table) => (Some(table), None),
        Err(why) => (None, Some(why)),
    };
    let server = desk(args)?.map(|desk| desk.value(&Method::GET, PATH)).transpose()?;
    if args.json {
        let nftables = table.map(|Table { sets, counters, blocked }| {
            let one = |(network, left_s): &(String, Option<u64>)| {
                json!({ "network": network, "remaining_s": left_s })
            };
            let blocked: Vec<_> = blocked.iter().take(limit).map(one).collect();
            json!({ "sets": sets, "counters": counters, "blocked": blocked })
        });
        print(json!({ "nftables": nftables, "why_not": why_not, "server": server }))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(why) = why_not {
        print(format_args!("nftables: {why}"))?;
    }
    if let Some(Table { sets, counters, blocked }) = table {
        print(format_args!("nftables: table {TABLE}"))?;
        for (name, count) in &sets {
            print(format_args!("  {:28}  {count} elements", one_line(name)))?;
        }
        for (name, counter) in &counters {
            let number = |of: &str| counter.get(of).and_then(Value::as_u64).unwrap_or_default();
            let (packets, bytes) = (number("packets"), number("bytes"));
            print(format_args!("  {:28}  {packets} packets, {bytes} bytes", one_line(name)))?;
        }
        for (network, left_s) in blocked.iter().take(limit) {
            let left = left_s.map_or_else(|| "until lifted".to_owned(), |left| format!("{left} s"));
            print(format_args!("  blocked {:28}  {left}", one_line(network)))?;
        }
        if blocked.len() > limit {
            print(format_args!("  and {} more (--limit N)", blocked.len() - limit))?;
        }
    }
    if let Some(Value::Object(state)) = server {
        print("registrar:")?;
        for (name, value) in &state {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            print(format_args!("  {:28}  {}", one_line(name), one_line(&value)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_table(args: &ShieldArgs) -> Result<Table, String> {
    let nft = Nft::find(args.nft.as_deref()).map_err(|error| error.to_string())?;
    let listed = nft.run(&["-j", "list", "table", "inet", "aorta"], "");
    let listed = listed.map_err(|error| match error.is_absent() {
        true => format!("there is no table {TABLE}; `aorta shield apply` loads it"),
        false => error.to_string(),
    })?;
    let listed: Value = serde_json::from_str(&listed).map_err(|_| "nft said no JSON".to_owned())?;
    Ok(table_of(&listed))
}

/// What is in the listing of `nft -j` (libnftables-json(5)).
fn table_of(listed: &Value) -> Table {
    let mut table = Table::default();
    let objects = listed.get("nftables").and_then(Value::as_array);
    for object in objects.map_or(&[][..], Vec::as_slice) {
        if let Some(counter) = object.get("counter") {
            let name = counter.get("name").and_then(Value::as_str).unwrap_or_default();
            let numbers =
                json!({ "packets": counter.get("packets"), "bytes": counter.get("bytes") });
            table.counters.insert(name.to_owned(), numbers);
        }
        if let Some(set) = object.get("set") {
            let name = set.get("name").and_then(Value::as_str).unwrap_or_default();
            let elements = set.get("elem").and_then(Value::as_array);
            let elements = elements.map_or(&[][..], Vec::as_slice);
            table.sets.insert(name.to_owned(), elements.len().into());
            if BLOCKED_SETS.contains(&name) {
                let host = if name == BLOCKED_SETS[1] { "/64" } else { "" };
                table.blocked.extend(elements.iter().map(|element| blocked(element, host)));
            }
        }
    }
    table
}

/// An element, with what it has left in seconds.
fn blocked(element: &Value, host: &str) -> (String, Option<u64>) {
    let timed = element.get("elem");
    let left_s = timed.and_then(|timed| timed.get("expires")).and_then(Value::as_u64);
    let value = timed.and_then(|timed| timed.get("val")).unwrap_or(element);
    let text = match (value, value.get("prefix"), value.get("range")) {
        (Value::String(address), ..) => format!("{address}{host}"),
        (_, Some(prefix), _) => {
            let address = prefix.get("addr").and_then(Value::as_str).unwrap_or_default();
            let length = prefix.get("len").and_then(Value::as_u64).unwrap_or_default();
            format!("{address}/{length}")
        }
        (.., Some(range)) => {
            let ends = range.as_array().map_or(&[][..], Vec::as_slice);
            let ends: Vec<&str> = ends.iter().filter_map(Value::as_str).collect();
            ends.join("-")
        }
        _ => value.to_string(),
    };
    (text, left_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_of_nft_is_read() {
        let listed = json!({ "nftables": [
            { "metainfo": { "version": "1.0.6" } },
            { "counter": { "name": "blocked", "packets": 7, "bytes": 700, "handle": 3 } },
            { "set": { "name": "blocked4", "elem": [
                { "elem": { "val": "192.0.2.7", "timeout": 600, "expires": 599 } },
                "192.0.2.8",
            ] } },
            { "set": { "name": "blocked6", "elem": ["2001:db8::"] } },
            { "set": { "name": "blocked4_nets", "elem": [
                { "prefix": { "addr": "10.0.0.0", "len": 8 } },
                { "range": ["192.0.2.1", "192.0.2.2"] },
            ] } },
            { "set": { "name": "trusted4" } },
            { "chain": { "name": "rates" } },
        ] });
        let table = table_of(&listed);
        let blocked = [
            ("192.0.2.7".to_owned(), Some(599)),
            ("192.0.2.8".to_owned(), None),
            ("2001:db8::/64".to_owned(), None),
            ("10.0.0.0/8".to_owned(), None),
            ("192.0.2.1-192.0.2.2".to_owned(), None),
        ];
        assert_eq!(table.blocked, blocked);
        assert_eq!(table.sets["blocked4"], 2);
        assert_eq!(table.sets["trusted4"], 0);
        assert_eq!(table.counters["blocked"]["packets"], 7);
        assert!(table_of(&json!(null)).sets.is_empty());
    }
}
