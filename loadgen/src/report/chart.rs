//! Line charts as SVG text: axes, grid, one polyline for each series. It knows nothing of what
//! is drawn.

use std::fmt::{self, Write as _};

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 34.0;

/// How an axis is divided and named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// Values are nines: 1 is 90 %, 2 is 99 %.
    Percentile,
    /// Seconds from 0.
    Seconds,
    /// Numbers from 0.
    Count,
    /// Microseconds, in decades.
    LogMicroseconds,
}

/// One line of a chart.
#[derive(Debug)]
pub struct Series {
    name: &'static str,
    colour: &'static str,
    points: Vec<(f64, f64)>,
}

impl Series {
    /// A line through points in the axes' units.
    pub fn new(name: &'static str, colour: &'static str, points: Vec<(f64, f64)>) -> Self {
        Series { name, colour, points }
    }
}

/// A chart of one or more lines.
#[derive(Debug)]
pub struct Chart {
    /// Horizontal axis.
    pub x: Axis,
    /// Vertical axis.
    pub y: Axis,
    /// The lines; empty ones are left out.
    pub series: Vec<Series>,
}

/// An axis fitted to its values: what it shows, and its marks.
struct Scale {
    low: f64,
    high: f64,
    marks: Vec<(f64, String)>,
}

impl Chart {
    /// Appends the chart.
    pub fn render(&self, out: &mut String) -> fmt::Result {
        let drawn: Vec<_> = self.series.iter().filter(|series| !series.points.is_empty()).collect();
        if drawn.is_empty() {
            out.push_str("<p class=\"soft\">nothing was measured</p>");
            return Ok(());
        }
        let points = || drawn.iter().flat_map(|series| series.points.iter());
        let x = scale(self.x, points().map(|point| point.0));
        let y = scale(self.y, points().map(|point| point.1));
        let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
        let place_x = |value: f64| {
            let part = (position(self.x, value) - x.low) / (x.high - x.low);
            LEFT + part.clamp(0.0, 1.0) * (right - LEFT)
        };
        let place_y = |value: f64| {
            let part = (position(self.y, value) - y.low) / (y.high - y.low);
            bottom - part.clamp(0.0, 1.0) * (bottom - TOP)
        };
        write!(out, "<div class=\"wide\"><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">")?;
        for (value, text) in &y.marks {
            let at = place_y(*value);
            write!(
                out,
                "<line x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\" \
                 stroke=\"var(--rule)\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}\
                 </text>",
                LEFT - 6.0,
                at + 4.0
            )?;
        }
        for (value, text) in &x.marks {
            let at = place_x(*value);
            write!(
                out,
                "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" \
                 stroke=\"var(--rule)\"/><text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">\
                 {text}</text>",
                bottom + 18.0
            )?;
        }
        for (number, series) in drawn.iter().enumerate() {
            write!(
                out,
                "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.8\" points=\"",
                series.colour
            )?;
            for (px, py) in &series.points {
                write!(out, "{:.1},{:.1} ", place_x(*px), place_y(*py))?;
            }
            out.push_str("\"/>");
            // A single point makes no line.
            if let [(px, py)] = series.points[..] {
                write!(
                    out,
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{}\"/>",
                    place_x(px),
                    place_y(py),
                    series.colour
                )?;
            }
            let at = LEFT + number as f64 * 190.0;
            write!(
                out,
                "<rect x=\"{at}\" y=\"6\" width=\"14\" height=\"4\" fill=\"{}\"/>\
                 <text x=\"{}\" y=\"13\">{}</text>",
                series.colour,
                at + 20.0,
                series.name
            )?;
        }
        out.push_str("</svg></div>");
        Ok(())
    }
}

/// Where a value lies on its axis before that is fitted to the picture.
fn position(axis: Axis, value: f64) -> f64 {
    match axis {
        Axis::LogMicroseconds => value.max(1.0).log10(),
        _ => value,
    }
}

fn scale(axis: Axis, values: impl Iterator<Item = f64>) -> Scale {
    let (low, high) =
        values.fold((f64::MAX, 0f64), |(low, high), value| (low.min(value), high.max(value)));
    match axis {
        Axis::Percentile => {
            let marks = (0..=high as u32).map(|nines| (f64::from(nines), percent(nines)));
            Scale { low: 0.0, high: high.max(1.0), marks: marks.collect() }
        }
        Axis::Seconds | Axis::Count => {
            let step = round_step(high / 6.0);
            let count = (high / step).ceil().max(1.0);
            let marks = (0..=count as u32)
                .map(|number| f64::from(number) * step)
                .map(|value| (value, number(value)));
            Scale { low: 0.0, high: count * step, marks: marks.collect() }
        }
        Axis::LogMicroseconds => {
            let low = position(axis, low).floor();
            let high = position(axis, high).ceil().max(low + 1.0);
            let marks = (low as i32..=high as i32)
                .map(|decade| 10f64.powi(decade))
                .map(|value| (value, duration(value)));
            Scale { low, high, marks: marks.collect() }
        }
    }
}

/// The next of 1, 2, 5, 10, 20 ... that is not less.
fn round_step(least: f64) -> f64 {
    let decade = 10f64.powf(least.max(1.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * decade);
    steps.into_iter().find(|step| *step >= least).unwrap_or(10.0 * decade)
}

fn percent(nines: u32) -> String {
    match nines {
        0 => "0 %".to_owned(),
        1 => "90 %".to_owned(),
        2 => "99 %".to_owned(),
        more => format!("99.{} %", "9".repeat(more as usize - 2)),
    }
}

fn number(value: f64) -> String {
    match value {
        million if million >= 1e6 => format!("{} M", million / 1e6),
        thousand if thousand >= 1e4 => format!("{} k", thousand / 1e3),
        small => format!("{small}"),
    }
}

fn duration(microseconds: f64) -> String {
    match microseconds {
        seconds if seconds >= 1e6 => format!("{} s", seconds / 1e6),
        milliseconds if milliseconds >= 1e3 => format!("{} ms", milliseconds / 1e3),
        small => format!("{small} us"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_cover_their_values_and_are_divided_evenly() {
        let count = scale(Axis::Count, [3.0, 47_000.0].into_iter());
        assert_eq!(count.high, 50_000.0);
        assert_eq!(count.marks.last().unwrap().1, "50 k");
        let log = scale(Axis::LogMicroseconds, [31.0, 8_000.0].into_iter());
        let names: Vec<_> = log.marks.iter().map(|mark| mark.1.as_str()).collect();
        assert_eq!(names, ["10 us", "100 us", "1 ms", "10 ms"]);
        let nines = scale(Axis::Percentile, [0.0, 3.7].into_iter());
        assert_eq!(nines.marks.last().unwrap().1, "99.9 %");
    }

    #[test]
    fn a_chart_of_nothing_and_of_one_point_can_be_drawn() {
        for points in [vec![], vec![(0.5, 0.0)], vec![(0.5, 1e9)]] {
            let empty = points.is_empty();
            let series = vec![Series::new("one", "red", points)];
            let mut out = String::new();
            Chart { x: Axis::Seconds, y: Axis::LogMicroseconds, series }.render(&mut out).unwrap();
            assert_eq!(out.contains("<svg"), !empty);
            assert!(!out.contains("NaN") && !out.contains("inf"), "{out}");
        }
    }
}
