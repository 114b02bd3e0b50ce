// SPDX-License-Identifier: Apache-2.0
//! Pictures of a report, as plain SVG text: bars for times, lines for what grows with a number of containers.

use crate::report::{Curve, Report, Row};

const FONT: &str = "font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\"";
const INK: &str = "#1f2933";
const FAINT: &str = "#7b8794";
const GRID: &str = "#e4e7eb";

/// Kelp stands out; the floor and the peers are told apart by their own muted colours, the same in every picture.
fn colour(subject: &str) -> &'static str {
    match subject.split(' ').next().unwrap_or("") {
        "kelp" | "kelp-runtime" | "kelp-shim" => "#0b7a5b",
        "floor" => "#b8c0c8",
        "crun" => "#6b8fb8",
        "runc" => "#c9a25a",
        "youki" => "#b07f9b",
        "podman" => "#a97155",
        _ => "#8d99a6",
    }
}

fn text(x: f64, y: f64, size: u32, fill: &str, anchor: &str, words: &str) -> String {
    let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{fill}\" text-anchor=\"{anchor}\" {FONT}>{words}</text>\n"
    )
}

fn heavy(x: f64, y: f64, size: u32, words: &str) -> String {
    text(x, y, size, INK, "start", words).replace("<text ", "<text font-weight=\"600\" ")
}

fn line(x1: f64, y1: f64, x2: f64, y2: f64, stroke: &str, width: f64) -> String {
    format!(
        "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{stroke}\" stroke-width=\"{width}\"/>\n"
    )
}

fn sheet(width: f64, height: f64, title: &str, body: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" role=\"img\">\n\
         <title>{title}</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

/// Every picture this report has data for: file name, SVG.
pub(crate) fn all(report: &Report) -> Vec<(String, String)> {
    let times: Vec<&str> = report
        .scenarios()
        .into_iter()
        .filter(|s| !s.contains("at once") && report.rows_of(s).any(|r| r.unit == "ms" && r.summary.is_some()))
        .collect();
    let sizes = with_unit(report, "MB");
    let mut pictures = Vec::new();
    let mut add = |name: &str, svg: Option<String>| pictures.extend(svg.map(|s| (name.to_owned(), s)));
    add(
        "latency.svg",
        bars(
            report,
            &times,
            "How long it takes",
            "median; the thin line spans p10 to p90; shorter is better; ×: against the first of each group",
        ),
    );
    add("throughput.svg", throughput(report));
    add(
        "size.svg",
        bars(report, &sizes, "How much it takes", "megabytes; shorter is better; ×: against the first of each group"),
    );
    for (name, title) in [
        ("create-alive.svg", "create against containers alive"),
        ("memory.svg", "resident memory against detached containers"),
    ] {
        let curves: Vec<&Curve> = report.curves.iter().filter(|c| c.scenario == title).collect();
        add(name, lines(title, &curves));
    }
    pictures
}

fn with_unit<'a>(report: &'a Report, unit: &str) -> Vec<&'a str> {
    report
        .scenarios()
        .into_iter()
        .filter(|s| report.rows_of(s).any(|r| r.unit == unit && r.summary.is_some()))
        .collect()
}

/// How many containers a second start in a crowd, from the time of the slowest.
fn throughput(report: &Report) -> Option<String> {
    let mut derived = Report::default();
    for row in report.rows.iter().filter(|r| r.scenario.ends_with("at once: the slowest")) {
        let Some(count) = row.scenario.split(' ').next().and_then(|n| n.parse::<f64>().ok()) else { continue };
        let mut row = row.clone();
        row.scenario = row.scenario.replace(": the slowest", "");
        row.unit = "starts/s".into();
        if let Some(s) = &mut row.summary {
            (s.median, s.p10, s.p90) = (count * 1e3 / s.median, count * 1e3 / s.p90, count * 1e3 / s.p10);
        }
        derived.rows.push(row);
    }
    let scenarios: Vec<String> = derived.scenarios().into_iter().map(str::to_owned).collect();
    let scenarios: Vec<&str> = scenarios.iter().map(String::as_str).collect();
    bars(
        &derived,
        &scenarios,
        "How many containers start in a second",
        "all started at the same moment; longer is better; ×: against the first of each group",
    )
}

const LEFT: f64 = 140.0;
const BAR: f64 = 20.0;
const WIDTH: f64 = 760.0;

fn bars(report: &Report, scenarios: &[&str], title: &str, subtitle: &str) -> Option<String> {
    if scenarios.is_empty() {
        return None;
    }
    let mut body = heavy(20.0, 32.0, 18, title) + &text(20.0, 52.0, 12, FAINT, "start", subtitle);
    let mut y = 84.0;
    for scenario in scenarios {
        body += &heavy(20.0, y, 13, scenario);
        y += 10.0;
        let rows: Vec<&Row> = report.rows_of(scenario).filter(|r| r.summary.is_some()).collect();
        body += &panel(&rows, &mut y);
        y += 24.0;
    }
    Some(sheet(WIDTH, y, title, &body))
}

fn panel(rows: &[&Row], y: &mut f64) -> String {
    let longest = rows.iter().filter_map(|r| r.summary).map(|s| s.p90).fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let scale = (WIDTH - LEFT - 150.0) / longest;
    let base = rows.first().and_then(|r| r.summary).map(|s| s.median);
    let mut body = String::new();
    for row in rows {
        let Some(s) = row.summary else { continue };
        let (middle, end) = (*y + BAR / 2.0, LEFT + s.median * scale);
        body += &text(LEFT - 8.0, middle + 4.0, 12, INK, "end", &row.subject);
        body += &format!(
            "<rect x=\"{LEFT}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{}\" rx=\"2\" fill=\"{}\"/>\n",
            *y + 2.0,
            (s.median * scale).max(1.0),
            BAR - 4.0,
            colour(&row.subject)
        );
        body += &line(LEFT + s.p10 * scale, middle, LEFT + s.p90 * scale, middle, INK, 1.0);
        let ratio = base.filter(|b| *b > 0.0).map_or(String::new(), |b| format!(" · {:.2} ×", s.median / b));
        let label = format!("{} {}{ratio}", short(s.median), row.unit);
        body += &text(end.max(LEFT + s.p90 * scale) + 8.0, middle + 4.0, 12, INK, "start", &label);
        *y += BAR;
    }
    body
}

/// Three significant digits.
fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

const TOP: f64 = 70.0;
const HEIGHT: f64 = 380.0;
const RIGHT: f64 = WIDTH - 130.0;
const BOTTOM: f64 = HEIGHT - 46.0;
const AXIS: f64 = 64.0;

/// A round number of which about five fit into `most`.
fn step(most: f64) -> f64 {
    let rough = most / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|m| m * power).into_iter().find(|s| *s >= rough).unwrap_or(rough)
}

fn lines(title: &str, curves: &[&Curve]) -> Option<String> {
    let points = || curves.iter().flat_map(|c| &c.points);
    let (x_most, y_most) = points().fold((0.0, 0.0), |(x, y): (f64, f64), p| (x.max(p.0), y.max(p.1)));
    let first = curves.first().filter(|_| x_most > 0.0 && y_most > 0.0)?;
    let (x_step, y_step) = (step(x_most), step(y_most));
    let y_top = (y_most / y_step).ceil() * y_step;
    let at = |p: &(f64, f64)| (AXIS + p.0 / x_most * (RIGHT - AXIS), BOTTOM - p.1 / y_top * (BOTTOM - TOP));
    let capital = title[..1].to_uppercase() + &title[1..];
    let mut body = heavy(20.0, 32.0, 18, &capital) + &text(20.0, 52.0, 12, FAINT, "start", &first.y);
    body += &text((AXIS + RIGHT) / 2.0, HEIGHT - 12.0, 12, FAINT, "middle", &first.x);
    for tick in ticks(y_top, y_step) {
        let (_, y) = at(&(0.0, tick));
        body += &line(AXIS, y, RIGHT, y, GRID, 1.0);
        body += &text(AXIS - 8.0, y + 4.0, 11, FAINT, "end", &short_tick(tick));
    }
    for tick in ticks(x_most, x_step) {
        let (x, _) = at(&(tick, 0.0));
        body += &text(x, BOTTOM + 18.0, 11, FAINT, "middle", &short_tick(tick));
    }
    let mut labels: Vec<(f64, f64, &Curve)> = Vec::new();
    for curve in curves {
        let path: Vec<String> = curve.points.iter().map(at).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
        let stroke = colour(&curve.subject);
        body += &format!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{stroke}\" stroke-width=\"2\"/>\n",
            path.join(" ")
        );
        labels.extend(curve.points.last().map(at).map(|(x, y)| (x, y, *curve)));
    }
    body += &end_labels(labels);
    Some(sheet(WIDTH, HEIGHT, title, &body))
}

/// The name and the last value of each curve at its end, moved apart where they would overlap.
fn end_labels(mut labels: Vec<(f64, f64, &Curve)>) -> String {
    labels.sort_by(|a, b| a.1.total_cmp(&b.1));
    let mut body = String::new();
    let mut lowest = f64::MIN;
    for (x, y, curve) in labels {
        let y = y.max(lowest + 14.0);
        lowest = y;
        let value = curve.points.last().map_or(0.0, |p| p.1);
        let words = format!("{} {}", curve.subject, short(value));
        body += &text(x + 8.0, y + 4.0, 12, colour(&curve.subject), "start", &words);
    }
    body
}

fn ticks(most: f64, step: f64) -> impl Iterator<Item = f64> {
    (0..=20).map(move |n| f64::from(n) * step).take_while(move |t| *t <= most * 1.0001)
}

fn short_tick(value: f64) -> String {
    format!("{value:.2}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_round() {
        assert_eq!([step(1000.0), step(37.0), step(0.4)], [200.0, 10.0, 0.1]);
    }

    #[test]
    fn a_report_without_figures_has_no_pictures() {
        assert!(all(&Report::default()).is_empty());
    }
}
