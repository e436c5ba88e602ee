//! The report of `tril cost` as a picture: operations and time of a token over the length of the context, on a logarithmic
//! scale, since without a cache they are hundreds of times what they are with it.

use anyhow::{Result, anyhow};
use plotters::prelude::*;
use tril_prove::cost::RouteCost;

use super::CostOutput;
use super::table::{LETTERS, Quantity};
use crate::quantity::grouped;

/// Width and height in pixels, of which each of the two diagrams takes one half.
const SIZE: (u32, u32) = (1000, 420);

/// One colour a route, told apart without seeing hues too (Okabe and Ito).
const COLOURS: [RGBColor; 3] = [RGBColor(213, 94, 0), RGBColor(0, 114, 178), RGBColor(0, 158, 115)];

/// The reader's own; no font is needed to draw. Sizes are 1.24 times those in pixels, as the library counts them.
const FONT: &str = "sans-serif";

/// How far the scale goes beyond the highest value, so that the legend stands above the curves.
const ROOM_FOR_LEGEND: f64 = 15.0;

const NAMES: [&str; 3] = ["without a cache", "with the cache", "prefill in chunks, then the cache"];

/// The picture as SVG.
pub fn render(finding: &CostOutput) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        let title = format!("{} on {}", finding.checkpoint, finding.device);
        let area = area.titled(&title, (FONT, 20)).map_err(drawing)?;
        let (left, right) = area.split_horizontally(SIZE.0 / 2);
        diagram(finding, Quantity::Flops, "floating-point operations", &left)?;
        diagram(finding, Quantity::Seconds, "time", &right)?;
        area.present().map_err(drawing)?;
    }
    Ok(svg)
}

fn diagram(
    finding: &CostOutput,
    quantity: Quantity,
    title: &str,
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
) -> Result<()> {
    let report = &finding.report;
    let contexts = report.prompt_tokens + report.new_tokens - 1;
    let unit = quantity.unit(finding.matrix_flops as f64);
    let lines: Vec<Vec<(f64, f64)>> = report.routes.iter().map(|route| line(route, quantity, unit.factor)).collect();
    let values = || lines.iter().flatten().map(|(_, value)| *value).filter(|value| *value > 0.0);
    let (lowest, highest) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
    // A machine whose clock saw no time pass has nothing to draw.
    let (lowest, highest) =
        if lowest < highest { (lowest, highest) } else { (highest.max(1e-9) / 2.0, highest.max(1e-9)) };
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{title}, {} a token", unit.name), (FONT, 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..(contexts + 1) as f64, (lowest / 1.3..highest * ROOM_FOR_LEGEND).log_scale())
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("tokens of context")
        .x_labels(8)
        .y_labels(6)
        .x_label_formatter(&|context| format!("{context:.0}"))
        .y_label_formatter(&|value| label(*value))
        .label_style((FONT, 15))
        .draw()
        .map_err(drawing)?;
    let labelled = LETTERS.iter().zip(NAMES).zip(COLOURS).zip(lines);
    for (((letter, name), colour), line) in labelled {
        chart
            .draw_series(LineSeries::new(line, colour.stroke_width(2)))
            .map_err(drawing)?
            .label(format!("{letter}  {name}"))
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 15))
        .draw()
        .map_err(drawing)
}

/// A power of ten, such as 1,000 or 0.01.
fn label(value: f64) -> String {
    if value >= 1.0 { grouped(value) } else { format!("{value:.6}").trim_end_matches('0').to_owned() }
}

/// A route as points; a pass of several tokens gives each the same share and is drawn from its first to its last.
fn line(route: &RouteCost, quantity: Quantity, factor: f64) -> Vec<(f64, f64)> {
    let points = route.passes.iter().flat_map(|pass| {
        let share = quantity.of(pass) / pass.tokens as f64 / factor;
        let ends = [pass.position + 1, pass.position + pass.tokens];
        ends.into_iter().take(pass.tokens.min(2)).map(move |context| (context as f64, share))
    });
    points.collect()
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot could not be drawn: {error}")
}
