//! `tril plot`: how runs went, as lines in a terminal or as a picture. The page's view of training draws the same numbers.

pub mod braille;
mod picture;
pub mod spark;

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use console::Term;
use serde::Serialize;
use tril_model::files;
use tril_serve::page::{self, PageError, TrainingRun};

use crate::args::PlotArgs;
use crate::output::Form;
use crate::quantity::significant;
use crate::shown;
use crate::{open, runs};
use braille::{Canvas, Line};

/// Columns of a plot where there is no terminal.
const COLUMNS: usize = 78;
/// Widest plot in columns, and its height in lines.
const SIZE: (usize, usize) = (110, 14);

/// Everything that is printed.
#[derive(Serialize)]
struct PlotOutput {
    runs: Vec<TrainingRun>,
}

pub fn run(args: &PlotArgs) -> Result<ExitCode> {
    if let Some(svg) = &args.svg {
        open::check_output("--svg", svg)?;
    }
    let dirs = args.runs.iter().map(|run| runs::existing(run)).collect::<Result<Vec<_>>>()?;
    let found = page::training(&dirs).map_err(|error| match error {
        PageError::Tril(error) => anyhow::Error::from(error),
        error => error.into(),
    })?;
    let output = PlotOutput { runs: found };
    if let Some(svg) = &args.svg {
        files::write_file(svg, picture::render(&output.runs)?.as_bytes())?;
    }
    Form::of(args.json).print(&output, |output, out| match &args.svg {
        Some(svg) => writeln!(out, "plot  {}", shown::path(svg)),
        None => write(&output.runs, out),
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The losses as a plot, and a line of numbers for each run.
fn write(runs: &[TrainingRun], out: &mut impl Write) -> std::io::Result<()> {
    let term = Term::stdout();
    let columns = if term.is_term() { usize::from(term.size().1).saturating_sub(2) } else { COLUMNS };
    let columns = columns.clamp(40, SIZE.0);
    let mut lines: Vec<Line> = Vec::new();
    for run in runs {
        lines.push(Line::of(&run.step, &run.loss));
        let (steps, losses): (Vec<u64>, Vec<f64>) =
            run.evaluations.iter().map(|point| (point.step, point.loss)).unzip();
        lines.push(Line::dots(&steps, &losses));
        if let (Some(floor), Some(first), Some(last)) = (run.floor, run.step.first(), run.step.last()) {
            lines.push(Line::dashed([*first, *last], floor));
        }
    }
    writeln!(out, "loss, nats a token")?;
    write!(out, "{}", Canvas::new(columns, SIZE.1).draw(&lines))?;
    writeln!(
        out,
        "line: training, ◆: held out{}",
        if runs.iter().any(|run| run.floor.is_some()) { ", dashes: floor" } else { "" }
    )?;
    for run in runs {
        writeln!(out)?;
        writeln!(out, "{}", shown::on_one_line(&run.name))?;
        let last = |values: &[f64]| values.last().map_or("-".to_owned(), |value| short(*value));
        let spark = |values: &[f64]| spark::sparkline(values, 32);
        writeln!(out, "  training loss    {}  {}", spark(&run.loss), last(&run.loss))?;
        if let Some(end) = run.evaluations.last() {
            let losses: Vec<f64> = run.evaluations.iter().map(|point| point.loss).collect();
            let best = run.evaluations.iter().min_by(|a, b| a.loss.total_cmp(&b.loss)).unwrap_or(end);
            let at = if best.step == end.step {
                String::new()
            } else {
                format!(", best {:.4} at step {}", best.loss, best.step)
            };
            writeln!(out, "  held-out loss    {}  {:.4}{at}", spark(&losses), end.loss)?;
        }
        if let Some(floor) = run.floor {
            writeln!(out, "  floor            {floor:.4}")?;
        }
        writeln!(out, "  learning rate    {}  {}", spark(&run.learning_rate), last(&run.learning_rate))?;
        writeln!(out, "  gradient norm    {}  {}", spark(&run.grad_norm), last(&run.grad_norm))?;
        writeln!(out, "  tokens a second  {}  {}", spark(&run.tokens_per_second), last(&run.tokens_per_second))?;
    }
    Ok(())
}

/// A number with three digits, however small.
pub fn short(value: f64) -> String {
    match value {
        0.0 => "0".to_owned(),
        value if value.abs() < 0.01 => format!("{value:.2e}"),
        value => significant(value),
    }
}
