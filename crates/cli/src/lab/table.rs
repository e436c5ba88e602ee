//! What `tril lab sums` and `tril lab parity` found, as a table: a column a format, a row a length.

use std::io::{Result, Write};

use tril_lab::{FormatReport, LabReport, TaskKind};

use crate::folded::stdout_width;
use crate::quantity::{counted, grouped};

/// Columns of the name of a row, and of a cell.
const ROW: usize = 10;
const CELL: usize = 15;

/// Writes the table; where the terminal is too narrow for it, a list a format.
pub fn write(report: &LabReport, out: &mut impl Write) -> Result<()> {
    let model = &report.recipe.model;
    let runs = &report.formats[0].runs;
    writeln!(
        out,
        "{}: {} parameters ({}, d_model {}), {} tokens a run, {}",
        report.task.name(),
        grouped(report.parameters as f64),
        counted(model.n_layers as u64, "layer"),
        model.d_model,
        grouped(report.tokens as f64),
        counted(runs.len() as u64, "seed"),
    )?;
    writeln!(out)?;
    let longest = report.formats.iter().map(|format| format.format.name().len()).fold(8, usize::max);
    for format in &report.formats {
        writeln!(out, "{:<longest$}  {}", format.format.name(), format.example)?;
    }
    writeln!(out)?;
    let width = ROW + (CELL + 1) * report.formats.len();
    if stdout_width().is_none_or(|columns| width <= columns) {
        write_columns(report, out)?;
    } else {
        write_lists(report, out)?;
    }
    let asked: Vec<String> = runs[0].lengths.iter().map(|score| score.asked.to_string()).collect();
    let range = if runs.len() == 1 { "" } else { "mean of the seeds (lowest–highest), " };
    writeln!(out, "\nin %: {range}of {} held-out problems a run;", asked.join(", "))?;
    writeln!(out, "the model writes all that follows the =, always the most probable token")
}

fn write_columns(report: &LabReport, out: &mut impl Write) -> Result<()> {
    let mut row = |name: &str, cell: &dyn Fn(&FormatReport) -> String| -> Result<()> {
        write!(out, "{name:<ROW$}")?;
        report.formats.iter().try_for_each(|format| write!(out, " {:>CELL$}", cell(format)))?;
        writeln!(out)
    };
    row("", &|format| format.format.name().to_owned())?;
    row("problems", &problems)?;
    row("loss", &loss)?;
    for index in 0..report.formats[0].runs[0].lengths.len() {
        row(&length_name(report, index), &|format| share(format, index))?;
    }
    Ok(())
}

fn write_lists(report: &LabReport, out: &mut impl Write) -> Result<()> {
    for (number, format) in report.formats.iter().enumerate() {
        if number > 0 {
            writeln!(out)?;
        }
        writeln!(out, "{}", format.format.name())?;
        writeln!(out, "  {:<ROW$} {}", "problems", problems(format))?;
        writeln!(out, "  {:<ROW$} {}", "loss", loss(format))?;
        for index in 0..format.runs[0].lengths.len() {
            writeln!(out, "  {:<ROW$} {}", length_name(report, index), share(format, index))?;
        }
    }
    Ok(())
}

/// Such as `3 digits`.
fn length_name(report: &LabReport, index: usize) -> String {
    match report.task {
        TaskKind::Sums => counted(report.formats[0].runs[0].lengths[index].length as u64, "digit"),
        TaskKind::Parity => "right".to_owned(),
    }
}

/// Problems that a run learnt from.
fn problems(format: &FormatReport) -> String {
    grouped(mean(&format.runs.iter().map(|run| run.problems as f64).collect::<Vec<_>>()).round())
}

fn loss(format: &FormatReport) -> String {
    format!("{:.3}", mean(&format.runs.iter().map(|run| run.loss).collect::<Vec<_>>()))
}

/// Mean and range of one length over the seeds, in per cent.
fn share(format: &FormatReport, index: usize) -> String {
    let shares: Vec<f64> = format.runs.iter().map(|run| 100.0 * run.lengths[index].accuracy()).collect();
    let (low, high) =
        (shares.iter().copied().fold(f64::INFINITY, f64::min), shares.iter().copied().fold(0.0, f64::max));
    if shares.len() == 1 { format!("{:.1}", shares[0]) } else { format!("{:.1} ({low:.0}–{high:.0})", mean(&shares)) }
}

/// The mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
