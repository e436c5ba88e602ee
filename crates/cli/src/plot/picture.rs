//! Runs as a picture: losses, learning rate, gradient norm, tokens a second.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use tril_serve::page::TrainingRun;

use super::short;

/// Width and height in pixels.
const SIZE: (u32, u32) = (1000, 640);
/// The part of the height that the losses take.
const LOSSES: u32 = 400;

/// The reader's own; no font is needed to draw.
const FONT: &str = "sans-serif";

/// One colour a run, told apart without seeing hues too (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(120, 120, 120),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Points with a name in the legend.
struct Curve {
    name: String,
    colour: RGBAColor,
    points: Vec<(f64, f64)>,
    is_marked: bool,
}

/// The picture as SVG.
pub fn render(runs: &[TrainingRun]) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        let (upper, lower) = area.split_vertically(LOSSES);
        diagram(&upper, "loss, nats a token", &losses(runs))?;
        let (left, rest) = lower.split_horizontally(SIZE.0 / 3);
        let (middle, right) = rest.split_horizontally(SIZE.0 / 3);
        let one = |of: fn(&TrainingRun) -> &Vec<f64>| -> Vec<Curve> {
            runs.iter().enumerate().map(|(index, run)| curve(run, index, of(run))).collect()
        };
        diagram(&left, "learning rate", &one(|run| &run.learning_rate))?;
        diagram(&middle, "gradient norm", &one(|run| &run.grad_norm))?;
        diagram(&right, "tokens a second", &one(|run| &run.tokens_per_second))?;
        area.present().map_err(drawing)?;
    }
    Ok(svg)
}

fn colour(run: usize) -> RGBColor {
    COLOURS[run % COLOURS.len()]
}

fn curve(run: &TrainingRun, index: usize, values: &[f64]) -> Curve {
    let points = run.step.iter().zip(values).map(|(step, value)| (*step as f64, *value)).collect();
    Curve { name: String::new(), colour: colour(index).mix(0.8), points, is_marked: false }
}

fn losses(runs: &[TrainingRun]) -> Vec<Curve> {
    let mut curves = Vec::new();
    for (index, run) in runs.iter().enumerate() {
        let training = curve(run, index, &run.loss);
        curves.push(Curve { name: format!("{}, training", run.name), colour: colour(index).mix(0.4), ..training });
        let points = run.evaluations.iter().map(|point| (point.step as f64, point.loss)).collect();
        let name = format!("{}, held out", run.name);
        curves.push(Curve { name, colour: colour(index).mix(1.0), points, is_marked: true });
        if let (Some(floor), Some(first), Some(last)) = (run.floor, run.step.first(), run.step.last()) {
            let points = vec![(*first as f64, floor), (*last as f64, floor)];
            curves.push(Curve { name: "floor".into(), colour: BLACK.mix(0.5), points, is_marked: false });
        }
    }
    curves
}

fn diagram(area: &Area<'_>, title: &str, curves: &[Curve]) -> Result<()> {
    let points = || curves.iter().flat_map(|curve| &curve.points).filter(|(_, y)| y.is_finite());
    let right = points().fold(1.0, |right: f64, point| right.max(point.0));
    let low = points().fold(f64::INFINITY, |low, point| low.min(point.1));
    let high = points().fold(f64::NEG_INFINITY, |high, point| high.max(point.1));
    let (low, high) = if low <= high { (low, high) } else { (0.0, 1.0) };
    let margin = 0.05 * (high - low).max(1e-12);
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(10)
        .x_label_area_size(34)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..right, (low - margin).max(0.0_f64.min(low))..high + margin)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("step")
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|step| format!("{step:.0}"))
        .y_label_formatter(&|value| if *value == 0.0 { "0".to_owned() } else { short(*value) })
        .label_style((FONT, 14))
        .draw()
        .map_err(drawing)?;
    for curve in curves {
        let shown: Vec<(f64, f64)> = curve.points.iter().copied().filter(|(_, y)| y.is_finite()).collect();
        let colour = curve.colour;
        if curve.is_marked {
            let dots = shown.iter().map(|point| Circle::new(*point, 4, colour.filled()));
            chart.draw_series(dots).map_err(drawing)?;
        }
        let drawn = chart.draw_series(LineSeries::new(shown, colour.stroke_width(2))).map_err(drawing)?;
        if !curve.name.is_empty() {
            drawn
                .label(curve.name.clone())
                .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
    }
    if curves.iter().any(|curve| !curve.name.is_empty()) {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .background_style(WHITE.mix(0.8))
            .label_font((FONT, 14))
            .draw()
            .map_err(drawing)?;
    }
    Ok(())
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot could not be drawn: {error}")
}
