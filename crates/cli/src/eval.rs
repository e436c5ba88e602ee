//! `tril eval`: the loss of a text under a checkpoint.

use std::borrow::Cow;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tril::{Corpus, DataConfig, Evaluation, HeldOutText, Model, Recipe, Tokenizer, WeightFormat};
use tril_data::{DataError, DocumentFormat, Encoded, FileGlob, TextEvent, TextSource};
use tril_train::evaluate;

use crate::args::{EvalArgs, SplitPart};
use crate::data::settle;
use crate::output::Form;
use crate::preparing::preparing;
use crate::quantity::counted;
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
    /// The part of the run's own text that was measured, where it was one.
    #[serde(skip_serializing_if = "Option::is_none")]
    split: Option<&'static str>,
}

pub fn run(args: &EvalArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let model = runs::rounded_model(&args.checkpoint, args.weights.format(), &device)?;
    let (gpt, tokenizer, path) = (model.gpt(), model.tokenizer(), model.path());
    let MeasuredText { name, encoded, left_out } = match (args.split, &args.file) {
        (Some(part), file) => held_out(&model, part, file.as_deref())?,
        (None, Some(file)) => whole(args, file, tokenizer, path)?,
        (None, None) => bail!("give a text to measure, or --split validation or test for a part of the run's own"),
    };
    for left_out in left_out {
        note!("[{}]", shown::on_one_line(&left_out));
    }
    let Encoded { ids, predicted_bytes, unknown, .. } = encoded;
    open::note_unknown(&name, &unknown);
    if ids.len() > 1 && predicted_bytes == 0 {
        bail!("{name}: no token of this checkpoint spells any of it, so there is nothing to measure");
    }
    let evaluation =
        evaluate(gpt, &ids, predicted_bytes, gpt.config().max_seq_len, BATCH_SIZE).with_context(|| name.clone())?;
    if !evaluation.loss.is_finite() {
        let loss = evaluation.loss;
        bail!("{}: the loss is {loss}: its weights are damaged or its training diverged; use another", path.display());
    }
    let (weights, split) = (model.weights(), args.split.map(SplitPart::name));
    Form::of(args.json).print(&EvalOutput { evaluation, weights, split }, |output, out| {
        let EvalOutput { evaluation, weights, split } = output;
        let part = split.map_or(String::new(), |part| format!("the {part} part of "));
        let name = shown::on_one_line(&name);
        writeln!(out, "{part}{name} under {}{}", shown::path(path), open::rounded(*weights))?;
        writeln!(out, "loss           {:.4} nats a token", evaluation.loss)?;
        writeln!(out, "perplexity     {:.3}", evaluation.perplexity)?;
        writeln!(out, "bits per byte  {:.4}", evaluation.bits_per_byte)?;
        let [tokens, bytes] = [counted(evaluation.tokens, "token"), counted(evaluation.bytes, "byte")];
        writeln!(out, "over           {tokens}, {bytes}")
    })?;
    Ok(ExitCode::SUCCESS)
}

/// A text that is to be measured.
struct MeasuredText {
    name: String,
    encoded: Encoded,
    /// What a directory holds and was left out.
    left_out: Vec<String>,
}

/// A part of the text that the run of a checkpoint was trained on.
fn held_out(model: &Model, part: SplitPart, file: Option<&Path>) -> Result<MeasuredText> {
    let source = file.map(|file| file.to_str().with_context(|| format!("{}: its name is no UTF-8", file.display())));
    let source = source.transpose()?;
    source.map_or(Ok(()), settle)?;
    let text = preparing(|watch| HeldOutText::of(model, part.into(), source, watch))?;
    let HeldOutText { name, encoded, skipped } = text;
    Ok(MeasuredText { name, encoded, left_out: skipped })
}

/// All of a text.
fn whole(args: &EvalArgs, file: &Path, tokenizer: &Tokenizer, path: &Path) -> Result<MeasuredText> {
    let mut data = DataConfig::default();
    open::set_documents(&mut data, &args.documents);
    if data.format().is_ok_and(|format| format == DocumentFormat::Files)
        && let Ok(Recipe { data: learnt, .. }) = Recipe::open(path.join("config.toml"))
        && learnt.format().is_ok_and(|format| format != DocumentFormat::Files)
    {
        let flags = open::document_flags(&learnt.field, &learnt.separator);
        note!("[this model has learnt documents; to measure them as training did, add{flags}]");
    }
    file.to_str().map_or(Ok(()), settle)?;
    let (format, glob) = (data.format().map_err(tril::Error::from)?, FileGlob::new(&data.glob)?);
    let (encoded, left_out) = preparing(|watch| {
        let source = open_source(file, &format, glob.as_ref(), watch)?;
        Ok::<_, DataError>((source.encode_all(tokenizer, watch)?, source.skipped().to_vec()))
    })?;
    Ok(MeasuredText { name: file.display().to_string(), encoded, left_out })
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
