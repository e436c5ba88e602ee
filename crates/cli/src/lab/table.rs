//! What `tril lab sums` and `tril lab parity` found, as a table.

use std::io::{Result, Write};

use tril_lab::{FormatReport, LabReport, TaskKind};

use crate::quantity::grouped;

/// Writes the table.
pub fn write(report: &LabReport, out: &mut impl Write) -> Result<()> {
    let model = &report.recipe.model;
    writeln!(
        out,
        "{}: {} parameters ({} layer{}, d_model {}), {} tokens a run, {} seed{}",
        report.task.name(),
        grouped(report.parameters as f64),
        model.n_layers,
        if model.n_layers == 1 { "" } else { "s" },
        model.d_model,
        grouped(report.tokens as f64),
        report.formats[0].runs.len(),
        if report.formats[0].runs.len() == 1 { "" } else { "s" },
    )?;
    writeln!(out)?;
    for format in &report.formats {
        writeln!(out, "{:<9} {}", format.format.name(), format.example)?;
    }
    writeln!(out)?;
    let lengths: Vec<usize> = report.formats[0].runs[0].lengths.iter().map(|score| score.length).collect();
    write!(out, "{:<9} {:>8} {:>6}", "", "problems", "loss")?;
    for length in &lengths {
        let heading = match report.task {
            TaskKind::Sums if *length == 1 => "1 digit".to_owned(),
            TaskKind::Sums => format!("{length} digits"),
            TaskKind::Parity => "right".to_owned(),
        };
        write!(out, " {heading:>14}")?;
    }
    writeln!(out)?;
    for format in &report.formats {
        let losses: Vec<f64> = format.runs.iter().map(|run| run.loss).collect();
        let problems: Vec<f64> = format.runs.iter().map(|run| run.problems as f64).collect();
        let problems = grouped(mean(&problems).round());
        write!(out, "{:<9} {problems:>8} {:>6.3}", format.format.name(), mean(&losses))?;
        for index in 0..lengths.len() {
            write!(out, " {:>14}", cell(format, index))?;
        }
        writeln!(out)?;
    }
    let asked: Vec<String> = report.formats[0].runs[0].lengths.iter().map(|score| score.asked.to_string()).collect();
    writeln!(out)?;
    writeln!(
        out,
        "in %: mean over the seeds (lowest–highest) of held-out problems answered rightly, {} asked a run;",
        asked.join(", ")
    )?;
    writeln!(out, "the model writes all that follows the =, always the most probable token")
}

/// Mean and range of one length over the seeds, in per cent.
fn cell(format: &FormatReport, index: usize) -> String {
    let shares: Vec<f64> = format.runs.iter().map(|run| 100.0 * run.lengths[index].accuracy()).collect();
    let (low, high) =
        (shares.iter().copied().fold(f64::INFINITY, f64::min), shares.iter().copied().fold(0.0, f64::max));
    if shares.len() == 1 { format!("{:.1}", shares[0]) } else { format!("{:.1} ({low:.0}–{high:.0})", mean(&shares)) }
}

/// The mean.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
