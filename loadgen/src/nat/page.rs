//! A run behind NATs as one page that needs nothing else: the verdict, the kinds of NAT, the
//! trickle of pings over time.

use super::figures::BUCKET;
use super::report::NatSummary;
use super::run::NatOutcome;
use crate::plan::SECOND;
use crate::report::chart::{Axis, Chart, Series};
use crate::report::html::{STYLE, escape};
use std::fmt::{self, Write as _};

/// Points of a line; of more buckets than that the least and the most of neighbours are drawn.
const POINTS_MAX: usize = 1500;

/// The whole page.
pub(super) fn page(outcome: &NatOutcome) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = render(&mut out, outcome);
    out
}

fn render(out: &mut String, outcome: &NatOutcome) -> fmt::Result {
    let NatSummary { run, nat } = NatSummary::from(outcome);
    let title = format!("nat against {}", escape(&run.target));
    let (class, verdict) = match outcome.is_clean() {
        true => ("good", "every registration could have been called at every moment"),
        false => ("bad", "FAILED"),
    };
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1><p class=\"{class}\">{verdict}</p>\
         <p>{} phones, {} behind each NAT, pinholes close after {} s; measured {:.2} s; lost {}, \
         wrong {}, could not be called {}{}</p><h2>By kind of NAT</h2><div class=\"wide\"><table>\
         <tr><th>mapping/refreshed by/ports</th><th>phones</th><th>pings</th><th>pinholes \
         closed</th><th>of phones</th><th>unreachable</th><th>longest, s</th><th>late</th></tr>",
        run.users,
        nat.phones_per_nat,
        nat.nat_timeout_seconds,
        nat.measured_seconds,
        run.lost,
        run.wrong,
        nat.failed_to_hold,
        if run.interrupted { ", interrupted" } else { "" }
    )?;
    for (name, kind) in &nat.kinds {
        write!(
            out,
            "<tr><td>{name}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td>\
             <td>{:.3}</td><td>{}</td></tr>",
            kind.phones,
            kind.pings,
            kind.closings,
            kind.closed_phones,
            kind.unreachable,
            kind.unreachable_seconds_max,
            kind.late
        )?;
    }
    write!(
        out,
        "</table></div><h2>Pings per 10 ms</h2><p>mean {:.2}, most {}, max/mean {:.3}; the longest \
         time without a packet {:.3} s</p>",
        nat.pings_per_10ms_mean,
        nat.pings_per_10ms_max,
        nat.pings_max_over_mean,
        nat.gap_seconds_max
    )?;
    let group = outcome.figures.buckets.len().div_ceil(POINTS_MAX).max(1);
    let points = |of: fn(&[u32]) -> u32| -> Vec<(f64, f64)> {
        let groups = outcome.figures.buckets.chunks(group).enumerate();
        let second = |number: usize| (number * group) as f64 * BUCKET as f64 / SECOND as f64;
        groups.map(|(number, counts)| (second(number), f64::from(of(counts)))).collect()
    };
    let least = |counts: &[u32]| counts.iter().copied().min().unwrap_or(0);
    let most = |counts: &[u32]| counts.iter().copied().max().unwrap_or(0);
    let mut series = vec![Series::new("most", "var(--a)", points(most))];
    if group > 1 {
        series.push(Series::new("least", "var(--c)", points(least)));
    }
    Chart { x: Axis::Seconds, y: Axis::Count, series }.render(out)?;
    out.push_str("</body></html>\n");
    Ok(())
}
