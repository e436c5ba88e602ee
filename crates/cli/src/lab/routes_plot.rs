//! What `tril lab routes` found, as a picture: entropy by position, weight by distance.

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::routes::{RoutesOutput, distance_name};

/// Width and height in pixels.
const SIZE: (u32, u32) = (1000, 420);

/// The reader's own; no font is needed to draw.
const FONT: &str = "sans-serif";

/// A colour for each layer (Okabe and Ito); heads of one differ in how light they are.
const COLOURS: [RGBColor; 5] = [
    RGBColor(213, 94, 0),
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(120, 120, 120),
];

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// The picture as SVG.
pub fn render(output: &RoutesOutput) -> Result<String> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(drawing)?;
        let area = area.titled(&format!("heads of {}", output.checkpoint), (FONT, 20)).map_err(drawing)?;
        let (left, right) = area.split_horizontally(SIZE.0 / 2);
        let heads = &output.report.heads;
        let entropy = heads.iter().map(|head| head.entropy.iter().enumerate().map(|(x, y)| (x as f64, *y)).collect());
        diagram(output, &left, "entropy of each head, bits", "position", &entropy.collect::<Vec<_>>(), &|x| {
            format!("{x:.0}")
        })?;
        let distance =
            heads.iter().map(|head| head.by_distance.iter().enumerate().map(|(x, y)| (x as f64, 100.0 * y)).collect());
        diagram(output, &right, "weight of each head, %", "tokens back", &distance.collect::<Vec<_>>(), &|x| {
            let group = x.round();
            let is_group = (x - group).abs() < 1e-6 && (0.0..tril_lab::DISTANCES.len() as f64).contains(&group);
            if is_group { distance_name(group as usize) } else { String::new() }
        })?;
        area.present().map_err(drawing)?;
    }
    Ok(svg)
}

fn diagram(
    output: &RoutesOutput,
    area: &Area<'_>,
    title: &str,
    x_name: &str,
    lines: &[Vec<(f64, f64)>],
    x_label: &dyn Fn(f64) -> String,
) -> Result<()> {
    let points = || lines.iter().flatten();
    let (right, top) = points().fold((1.0, 0.0), |(x, y): (f64, f64), point| (x.max(point.0), y.max(point.1)));
    let mut chart = ChartBuilder::on(area)
        .caption(title, (FONT, 18))
        .margin(12)
        .x_label_area_size(44)
        .y_label_area_size(52)
        .build_cartesian_2d(0.0..right, 0.0..1.05 * top.max(1e-9))
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(x_name)
        .x_labels(7)
        .y_labels(6)
        .x_label_formatter(&|x| x_label(*x))
        .label_style((FONT, 15))
        .draw()
        .map_err(drawing)?;
    for (head, line) in output.report.heads.iter().zip(lines) {
        let colour = COLOURS[head.layer % COLOURS.len()].mix(1.0 / (1.0 + 0.6 * head.head as f64));
        chart
            .draw_series(LineSeries::new(line.iter().copied(), colour.stroke_width(2)))
            .map_err(drawing)?
            .label(format!("{}.{}", head.layer, head.head))
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 13))
        .draw()
        .map_err(drawing)
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("the plot could not be drawn: {error}")
}
