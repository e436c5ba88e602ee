//! What `tril lab sums` and `tril lab parity` found, as a picture: accuracy by length, and over the course of training.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use tril_lab::{Format, LabReport, RunReport, TaskKind};

use super::table::mean;
use crate::quantity::counted;

/// Width and height in pixels.
const SIZE: (u32, u32) = (1000, 420);

/// The reader's own; no font is needed to draw.
const FONT: &str = "sans-serif";

/// One colour a format, told apart without seeing hues too (Okabe and Ito).
fn colour(format: Format) -> RGBColor {
    match format {
        Format::Direct => RGBColor(213, 94, 0),
        Format::Filler => RGBColor(120, 120, 120),
        Format::Reversed => RGBColor(0, 158, 115),
        Format::AnswerReversed => RGBColor(230, 159, 0),
        Format::Worked => RGBColor(0, 114, 178),
        Format::Mended => RGBColor(204, 121, 167),
    }
}

/// A line: its format, and for each x the share of each seed.
type Line = (Format, Vec<(f64, Vec<f64>)>);

/// The picture as SVG.
pub fn render(report: &LabReport) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        let seeds = report.formats[0].runs.len();
        let seeds = counted(seeds as u64, "seed");
        let title = format!("{}: held-out problems answered rightly, {seeds} a format", report.task.name());
        let area = area.titled(&title, (FONT, 20)).map_err(drawing)?;
        let over_training =
            lines(report, |run| run.curve.iter().map(|point| (point.tokens as f64 / 1e6, point.accuracy)).collect());
        // Where few lines pass.
        let early = SeriesLabelPosition::UpperLeft;
        match report.task {
            TaskKind::Parity => diagram(&area, "over training", "million tokens learnt from", &over_training, early)?,
            TaskKind::Sums => {
                let by_length = lines(report, |run| {
                    run.lengths.iter().map(|score| (score.length as f64, score.accuracy())).collect()
                });
                let (left, right) = area.split_horizontally(SIZE.0 / 2);
                diagram(&left, "at the end", "digits of each number", &by_length, SeriesLabelPosition::MiddleRight)?;
                diagram(
                    &right,
                    "over training, mean of the lengths",
                    "million tokens learnt from",
                    &over_training,
                    early,
                )?;
            }
        }
        area.present().map_err(drawing)?;
    }
    Ok(svg)
}

/// The lines of all formats; all runs of a format have the same x.
fn lines(report: &LabReport, points: impl Fn(&RunReport) -> Vec<(f64, f64)>) -> Vec<Line> {
    let line = |format: &tril_lab::FormatReport| {
        let mut line: Vec<(f64, Vec<f64>)> = Vec::new();
        for run in &format.runs {
            for (index, (x, share)) in points(run).into_iter().enumerate() {
                match line.get_mut(index) {
                    Some((_, shares)) => shares.push(share),
                    None => line.push((x, vec![share])),
                }
            }
        }
        (format.format, line)
    };
    report.formats.iter().map(line).collect()
}

fn diagram(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    x_name: &str,
    lines: &[Line],
    legend: SeriesLabelPosition,
) -> Result<()> {
    let xs: Vec<f64> = lines.iter().flat_map(|(_, line)| line.iter().map(|(x, _)| *x)).collect();
    let (low, high) = (xs.iter().copied().fold(f64::INFINITY, f64::min), xs.iter().copied().fold(0.0, f64::max));
    let margin = if high > low { 0.04 * (high - low) } else { 0.5 };
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(low - margin..high + margin, -0.02..1.05)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(x_name)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|x| {
            let text = format!("{x:.3}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        })
        .y_label_formatter(&|share| format!("{:.0} %", 100.0 * share))
        .label_style((FONT, 15))
        .draw()
        .map_err(drawing)?;
    for (format, line) in lines {
        let colour = colour(*format);
        let means = line.iter().map(|(x, shares)| (*x, mean(shares)));
        chart
            .draw_series(LineSeries::new(means, colour.stroke_width(2)))
            .map_err(drawing)?
            .label(format.name())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
        // Each seed is a dot.
        let dots = line.iter().flat_map(|(x, shares)| shares.iter().map(move |share| (*x, *share)));
        chart.draw_series(dots.map(|point| Circle::new(point, 3, colour.filled()))).map_err(drawing)?;
    }
    chart
        .configure_series_labels()
        .position(legend)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 15))
        .draw()
        .map_err(drawing)
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot could not be drawn: {error}")
}
