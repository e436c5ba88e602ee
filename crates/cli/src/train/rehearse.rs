//! `tril train --dry-run`: what a run would be, and how long it would take.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use tril::{ComputeDevice, Recipe, Rehearsal};

use super::{Inputs, fine_tune, kept_for_test, recipe};
use crate::args::TrainArgs;
use crate::output::line_writer;
use crate::preparing::preparing;
use crate::shown::{self, on_one_line};
use crate::{data, quantity, runs};

/// Prints it; nothing is written to the disk.
pub fn run(args: &TrainArgs, device: &ComputeDevice) -> Result<ExitCode> {
    let inputs = Inputs::of(args);
    let out = args.out.clone().unwrap_or_else(|| runs::for_new(&inputs.name).0);
    let rehearsal = match &args.fine_tune.from {
        Some(from) => {
            let model = runs::model(from, device)?;
            let tuning = fine_tune::of(args, &inputs, &model)?;
            data::settle(&tuning.source()?)?;
            preparing(|watch| tuning.rehearse_watched(watch))?
        }
        None => {
            let recipe = recipe(args, &inputs)?;
            data::settle(&recipe.data.source)?;
            preparing(|watch| Rehearsal::watched(recipe, device, watch))?
        }
    };
    let Rehearsal {
        recipe,
        text,
        train_tokens,
        validation_tokens,
        params,
        trained_params,
        memory_bytes,
        passes,
        seconds,
        doubts,
        ..
    } = rehearsal;
    let mut lines = line_writer();
    let Recipe { model, train, .. } = &recipe;
    writeln!(lines, "device   {device}")?;
    writeln!(
        lines,
        "text     {}: {train_tokens} tokens to train on, {validation_tokens} to validate on{}",
        on_one_line(&text),
        kept_for_test(&recipe)
    )?;
    match args.fine_tune.from {
        Some(_) => writeln!(lines, "tokens   {}, as the model has them", model.vocab_size)?,
        None => {
            let kind = format!("{:?}", recipe.tokenizer.kind).to_lowercase();
            writeln!(lines, "tokens   {} of kind {kind}", model.vocab_size)?;
        }
    }
    writeln!(lines, "model    {:.2} M parameters", params as f64 / 1e6)?;
    if recipe.lora.is_used() {
        writeln!(lines, "trained  {}", fine_tune::factors(&recipe, trained_params))?;
    }
    let steps = quantity::counted(train.steps, "step");
    writeln!(
        lines,
        "train    {steps} of {} × {} tokens: {passes:.1} passes over the text",
        train.batch_size, train.seq_len
    )?;
    writeln!(lines, "memory   {} at least", quantity::bytes(memory_bytes))?;
    writeln!(lines, "time     about {}", quantity::duration(seconds))?;
    for doubt in &doubts {
        writeln!(lines, "note     {doubt}")?;
    }
    writeln!(lines, "run      {} (nothing is written there yet)", shown::path(&out))?;
    lines.flush()?;
    Ok(ExitCode::SUCCESS)
}
