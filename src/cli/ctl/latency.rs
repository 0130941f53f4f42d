//! `aorta ctl latency`: how long messages take, stage by stage.

use axum::http::Method;

use super::{Desk, list, not_ours, with_query};
use crate::admin::LatencyRow;
use crate::cli::Failure;
use crate::cli::args::LatencyArgs;
use crate::cli::latency::table_of;
use crate::cli::say::{note, print};

const PATH: &str = "/api/v1/latency";

/// Shows it.
pub fn run(desk: &Desk, args: &LatencyArgs) -> Result<(), Failure> {
    let query = [
        ("shard", args.shard.as_deref()),
        ("stage", args.stage.as_deref()),
        ("window", args.last.then_some("last")),
        ("format", args.hgrm.then_some("hgrm")),
    ];
    let path = with_query(PATH, &query);
    if desk.json || args.hgrm {
        return print(desk.text(&Method::GET, &path)?.trim_end());
    }
    let page = desk.value(&Method::GET, &path)?;
    let rows: Result<Vec<LatencyRow>, _> =
        list(&page, "items").iter().cloned().map(serde_json::from_value).collect();
    let rows = rows.map_err(|_| not_ours())?;
    // All together are the one there is.
    let single = rows.iter().all(|row| matches!(row.shard, None | Some(0)));
    let twice = |row: &LatencyRow| single && args.shard.is_none() && row.shard.is_some();
    let rows: Vec<LatencyRow> = rows.into_iter().filter(|row| !twice(row)).collect();
    if rows.iter().all(|row| row.count == 0) {
        note("nothing was timed (serve.latency_sampling says how much is)");
        return Ok(());
    }
    for line in table_of(&rows) {
        print(line)?;
    }
    Ok(())
}
