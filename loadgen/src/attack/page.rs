//! An attack as one page that needs nothing else: the verdict, each phase in figures, the honest
//! phones' latency over the seconds of the flood.

use super::report::sections;
use super::run::AttackOutcome;
use crate::report::chart::{Axis, Chart, Series};
use crate::report::html::{STYLE, escape};
use crate::report::microseconds;
use std::fmt::{self, Write as _};

/// The whole page.
pub(super) fn page(outcome: &AttackOutcome) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = render(&mut out, outcome);
    out
}

fn render(out: &mut String, outcome: &AttackOutcome) -> fmt::Result {
    let title = format!("attack against {}", escape(&outcome.run.target.to_string()));
    let failed = outcome.failed();
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>"
    )?;
    match failed.is_empty() {
        true => out.push_str("<p class=\"good\">everything held</p>"),
        false => out.push_str("<p class=\"bad\">FAILED</p>"),
    }
    for sentence in &failed {
        write!(out, "<p class=\"bad\">{}</p>", escape(sentence))?;
    }
    if outcome.run.interrupted {
        out.push_str("<p>interrupted</p>");
    }
    for (name, lines) in sections(outcome) {
        write!(out, "<h2>{name}</h2><div class=\"wide\"><table>")?;
        for (what, value) in lines {
            write!(out, "<tr><td>{}</td><td>{}</td></tr>", escape(&what), escape(&value))?;
        }
        out.push_str("</table></div>");
    }
    if outcome.flood.is_some() {
        out.push_str("<h2>The honest, second by second</h2><p>the flood begins half-way</p>");
        let points = |quantile: f64| -> Vec<(f64, f64)> {
            let seconds = outcome.run.timeline.iter().enumerate();
            let of = |one: &crate::run::Second| microseconds(&one.latencies.corrected, quantile);
            seconds.map(|(number, one)| (number as f64 + 1.0, of(one))).collect()
        };
        Chart {
            x: Axis::Seconds,
            y: Axis::LogMicroseconds,
            series: vec![
                Series::new("p50", "var(--c)", points(0.5)),
                Series::new("p99", "var(--a)", points(0.99)),
            ],
        }
        .render(out)?;
    }
    out.push_str("</body></html>\n");
    Ok(())
}
