//! `tril lab`: experiments on small models, as tables, pictures and JSON.

mod batch;
mod mask;
mod plot;
mod probe;
mod routes;
mod routes_plot;
mod table;
mod train;
mod wait;

use std::io::IsTerminal;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};
use tril::{ExistingFiles, Model};
use tril_lab::{KeptModels, LabError, TaskKind};
use unicode_width::UnicodeWidthChar;

use crate::args::LabCommand;
use crate::shown::on_one_line;

pub fn run(command: &LabCommand) -> Result<ExitCode> {
    match command {
        LabCommand::Sums(args) => train::run(TaskKind::Sums, args),
        LabCommand::Parity(args) => train::run(TaskKind::Parity, args),
        LabCommand::Batch(args) => batch::run(args),
        LabCommand::Probe(args) => probe::run(args),
        LabCommand::Mask(args) => mask::run(args),
        LabCommand::Routes(args) => routes::run(args),
        LabCommand::Wait(args) => wait::run(args),
    }
}

/// The ids of a text with the end of another before it, as in training, where the vocabulary has an end.
fn after_the_end(model: &Model, text: &str, name: &str) -> Result<Vec<u32>> {
    let ids = model.tokenizer().encode(text).map_err(|error| error.in_text(name))?;
    Ok(model.tokenizer().end_of_text().into_iter().chain(ids).collect())
}

/// The tokens by themselves.
fn token_texts(model: &Model, ids: &[u32]) -> Vec<String> {
    ids.iter().map(|id| model.tokenizer().token_text(*id)).collect()
}

/// A token in so many columns, cut if it is longer.
fn cell(token: &str, width: usize) -> String {
    let mut cell = String::new();
    let mut used = 0;
    for character in on_one_line(token).chars() {
        let columns = character.width().unwrap_or(0);
        if used + columns > width {
            break;
        }
        cell.push(character);
        used += columns;
    }
    cell + &" ".repeat(width - used)
}

/// Steps of training on stderr, where that is a terminal.
fn bar(steps: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:16} {pos}/{len} {eta} left {wide_msg}");
    ProgressBar::new(steps).with_style(style.unwrap_or(ProgressStyle::default_bar()).progress_chars("━╸─"))
}

/// Where models are kept, and whether they may replace those of an earlier experiment.
fn kept(out: Option<&Path>, force: bool) -> Option<KeptModels<'_>> {
    let existing = if force { ExistingFiles::Replace } else { ExistingFiles::Keep };
    out.map(|dir| KeptModels { dir, existing })
}

/// An error of the layers below is told as theirs.
fn told(error: LabError) -> anyhow::Error {
    match error {
        LabError::Tril(error) => error.into(),
        error => error.into(),
    }
}
