//! `tril eval`: the loss of a text under a checkpoint.

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use tril_train::evaluate;

use crate::args::EvalArgs;
use crate::output::Form;
use crate::shown;
use crate::{open, runs};

/// Windows evaluated at once.
const BATCH_SIZE: usize = 12;

pub fn run(args: &EvalArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let model = runs::model(&args.checkpoint, &device)?;
    let (gpt, tokenizer, path) = (model.gpt(), model.tokenizer(), model.path());
    let text = open::text(&args.file)?;
    let ids = tokenizer.encode(&text).map_err(|error| error.in_text(&args.file.to_string_lossy()))?;
    let bytes = tokenizer.predicted_bytes(text.len(), &ids);
    let evaluation = evaluate(gpt, &ids, bytes, gpt.config().max_seq_len, BATCH_SIZE)
        .with_context(|| args.file.display().to_string())?;
    if !evaluation.loss.is_finite() {
        let loss = evaluation.loss;
        bail!("{}: the loss is {loss}: its weights are damaged or its training diverged; use another", path.display());
    }
    Form::of(args.json).print(&evaluation, |evaluation, out| {
        writeln!(out, "{} under {}", shown::path(&args.file), shown::path(path))?;
        writeln!(out, "loss           {:.4} nats a token", evaluation.loss)?;
        writeln!(out, "perplexity     {:.3}", evaluation.perplexity)?;
        writeln!(out, "bits per byte  {:.4}", evaluation.bits_per_byte)?;
        writeln!(out, "over           {} tokens, {} bytes", evaluation.tokens, evaluation.bytes)
    })?;
    Ok(ExitCode::SUCCESS)
}
