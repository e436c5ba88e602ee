//! `tril eval`: the loss of a text under a checkpoint.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tril::{Corpus, DataConfig, Evaluation, Recipe, WeightFormat};
use tril_data::{DataError, DocumentFormat, Encoded, FileGlob, TextEvent, TextSource};
use tril_train::evaluate;

use crate::args::EvalArgs;
use crate::data::settle;
use crate::output::Form;
use crate::preparing::preparing;
use crate::shown;
use crate::{open, runs};

/// Windows evaluated at once.
const BATCH_SIZE: usize = 12;

/// Everything that is printed.
#[derive(Serialize)]
struct EvalOutput {
    #[serde(flatten)]
    evaluation: Evaluation,
    /// What weights were rounded to.
    weights: WeightFormat,
}

pub fn run(args: &EvalArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let model = runs::rounded_model(&args.checkpoint, args.weights.format(), &device)?;
    let (gpt, tokenizer, path) = (model.gpt(), model.tokenizer(), model.path());
    let mut data = DataConfig::default();
    open::set_documents(&mut data, &args.documents);
    if data.format().is_ok_and(|format| format == DocumentFormat::Files)
        && let Ok(Recipe { data: learnt, .. }) = Recipe::open(path.join("config.toml"))
        && learnt.format().is_ok_and(|format| format != DocumentFormat::Files)
    {
        let flags = open::document_flags(&learnt.field, &learnt.separator);
        note!("[this model has learnt documents; to measure them as training did, add{flags}]");
    }
    args.file.to_str().map_or(Ok(()), settle)?;
    let (format, glob) = (data.format().map_err(tril::Error::from)?, FileGlob::new(&data.glob)?);
    let (Encoded { ids, predicted_bytes, unknown, .. }, left_out) = preparing(|watch| {
        let source = open_source(&args.file, &format, glob.as_ref(), watch)?;
        Ok::<_, DataError>((source.encode_all(tokenizer, watch)?, source.skipped().to_vec()))
    })?;
    for left_out in left_out {
        note!("[{}]", shown::on_one_line(&left_out));
    }
    open::note_unknown(&args.file.to_string_lossy(), &unknown);
    if ids.len() > 1 && predicted_bytes == 0 {
        bail!("{}: no token of this checkpoint spells any of it, so there is nothing to measure", args.file.display());
    }
    let evaluation = evaluate(gpt, &ids, predicted_bytes, gpt.config().max_seq_len, BATCH_SIZE)
        .with_context(|| args.file.display().to_string())?;
    if !evaluation.loss.is_finite() {
        let loss = evaluation.loss;
        bail!("{}: the loss is {loss}: its weights are damaged or its training diverged; use another", path.display());
    }
    let weights = model.weights();
    Form::of(args.json).print(&EvalOutput { evaluation, weights }, |EvalOutput { evaluation, weights }, out| {
        writeln!(out, "{} under {}{}", shown::path(&args.file), shown::path(path), open::rounded(*weights))?;
        writeln!(out, "loss           {:.4} nats a token", evaluation.loss)?;
        writeln!(out, "perplexity     {:.3}", evaluation.perplexity)?;
        writeln!(out, "bits per byte  {:.4}", evaluation.bits_per_byte)?;
        writeln!(out, "over           {} tokens, {} bytes", evaluation.tokens, evaluation.bytes)
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The text of a path, or of a corpus that is named where there is no such path.
fn open_source(
    path: &Path,
    format: &DocumentFormat,
    glob: Option<&FileGlob>,
    watch: &mut dyn FnMut(TextEvent),
) -> Result<TextSource<'static>, DataError> {
    match path.to_str() {
        // A file is never taken for the embedded corpus here: what is measured is what was typed.
        Some(source) if source != "tales" || !path.exists() => TextSource::open(source, format, glob, 0.0, watch),
        _ => Ok(TextSource::Memory(Cow::Owned(Corpus::open_path(path, format, glob)?))),
    }
}
