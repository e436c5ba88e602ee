//! `tril train`: from a recipe and a text to a checkpoint.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Result, anyhow, bail};
use burn::module::Module;
use tril::{
    ComputeDevice, DEFAULT_RECIPE, Evaluation, ExistingRun, Recipe, RecipeError, ResumeChanges, TextEventKind,
    TrainOutcome, Training,
};
use tril_data::LossFloor;
use tril_model::Positions;
use tril_train::{BestCheckpoint, CheckpointHashes, RunDir};

use crate::args::TrainArgs;
use crate::progress::Progress;
use crate::shown::{self, TextWriter, on_one_line};
use crate::{interrupt, open};

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let mut training = match &args.resume {
        Some(path) => resume(args, path, &device)?,
        None => begin(args, &device)?,
    };
    introduce(&training, &device)?;

    let stop = Arc::new(AtomicBool::new(false));
    let mut progress = Progress::new(&training);
    let notice = "stopping after this step and saving; a second Ctrl-C (or SIGTERM, SIGHUP) stops at once and loses it";
    interrupt::listen(&stop, Some(notice))?;
    let outcome = training.train(&mut progress, &stop);
    progress.finish();
    match outcome? {
        TrainOutcome::Stopped { step, checkpoint } => {
            let mut out = TextWriter::plain(std::io::stdout().lock());
            let dir = open::quoted(training.dir().path());
            writeln!(out, "stopped after step {step}, saved as {}", shown::path(&checkpoint))?;
            writeln!(out, "continue with: {} train --resume {dir}", open::program())?;
            Ok(ExitCode::from(130))
        }
        TrainOutcome::Finished { evaluation, best } => {
            let mut out = TextWriter::plain(std::io::stdout().lock());
            writeln!(out, "\n--- a sample of the trained model")?;
            write_sample(&training, &stop, &mut out)?;
            writeln!(out, "\n---\n")?;
            write_losses(&mut out, &evaluation, best, &training)?;
            write_hashes(&mut out, training.dir())?;
            writeln!(out, "\nnext: {} sample {}", open::program(), open::quoted(training.dir().path()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Writes the recipe's sample as it comes.
fn write_sample(training: &Training, stop: &AtomicBool, out: &mut impl Write) -> Result<()> {
    let mut generator = training.model()?.generator();
    generator.add(training.sample().clone())?;
    write!(out, "{}", training.sample().prompt)?;
    while let Some(event) = generator.next() {
        if let TextEventKind::Text(piece) = event.map_err(tril::Error::from)?.kind {
            write!(out, "{piece}")?;
            out.flush()?;
        }
        if stop.load(Ordering::Relaxed) {
            generator.interrupt_all();
        }
    }
    Ok(())
}

/// How good the last model is, and what there is to compare it with.
fn write_losses(
    out: &mut impl Write,
    evaluation: &Evaluation,
    best: BestCheckpoint,
    training: &Training,
) -> std::io::Result<()> {
    let (recipe, text) = (training.recipe(), training.corpus());
    let Evaluation { loss, perplexity, bits_per_byte, tokens, .. } = evaluation;
    writeln!(
        out,
        "validation loss  {loss:.4} nats a token (perplexity {perplexity:.2}, {bits_per_byte:.3} bits per byte)"
    )?;
    if best.step != recipe.train.steps {
        writeln!(out, "best             {:.4} at step {}", best.loss, best.step)?;
    }
    if let Some(LossFloor { nats_per_char, standard_error }) = text.floor {
        let per_char = loss * *tokens as f64 / text.validation.chars as f64;
        writeln!(out, "                 {per_char:.4} nats a character")?;
        writeln!(
            out,
            "floor            {nats_per_char:.4} ± {standard_error:.4} nats a character: the stories' own grammar"
        )?;
    }
    Ok(())
}

/// SHA-256 of the last checkpoint's weights and moments, and of the best one's weights if they are others.
fn write_hashes(out: &mut impl Write, dir: &RunDir) -> Result<()> {
    let Some(last) = dir.last() else { return Ok(()) };
    let best = dir.best().filter(|best| *best != last);
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let CheckpointHashes { model, optimizer } = CheckpointHashes::of(&last)?;
    let which = if best.is_some() { ", the last" } else { "" };
    writeln!(out, "sha256           {model}  {}/model.safetensors{which}", name(&last))?;
    writeln!(out, "                 {optimizer}  {}/optimizer.safetensors{which}", name(&last))?;
    if let Some(best) = best {
        let CheckpointHashes { model, .. } = CheckpointHashes::of(&best)?;
        writeln!(
            out,
            "                 {model}  {}/model.safetensors, the best: sample, eval and prove read it",
            name(&best)
        )?;
    }
    Ok(())
}

/// A new run.
fn begin(args: &TrainArgs, device: &ComputeDevice) -> Result<Training> {
    let mut recipe = match &args.config {
        Some(path) => Recipe::open(path).map_err(tril::Error::from)?,
        None => Recipe::shipped(DEFAULT_RECIPE)?,
    };
    open::set_fields(&mut recipe, &args.set)?;
    if let Some(data) = &args.data {
        recipe.data.source.clone_from(data);
    }
    open::set_documents(&mut recipe.data, &args.documents);
    let name = args.config.as_deref().and_then(Path::file_stem).unwrap_or(DEFAULT_RECIPE.as_ref());
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(name));
    let existing = if args.force { ExistingRun::Replace } else { ExistingRun::Keep };
    Ok(Training::begin(recipe, &out, existing, device)?)
}

/// A run that goes on where its checkpoint stands.
fn resume(args: &TrainArgs, path: &Path, device: &ComputeDevice) -> Result<Training> {
    let existing = if args.force { ExistingRun::Replace } else { ExistingRun::Keep };
    if args.documents.field.is_some() || args.documents.separator.is_some() {
        bail!("--resume: a run keeps its documents; --field and --separator are for a new run");
    }
    let changes = ResumeChanges { set: args.set.clone(), source: args.data.clone(), dir: args.out.clone(), existing };
    Training::resume(path, &changes, device).map_err(|error| match error {
        tril::Error::Recipe(RecipeError::Field { ref origin, .. }) if args.set.contains(origin) => {
            anyhow!("--set {error}")
        }
        error => error.into(),
    })
}

/// Says what is about to happen.
fn introduce(training: &Training, device: &ComputeDevice) -> Result<()> {
    let (recipe, text) = (training.recipe(), training.corpus());
    let Recipe { model, train, .. } = recipe;
    let positions = match model.positions {
        Positions::Learned => "learned positions",
        Positions::Rotary => "rotary positions",
    };
    let window = model.window().map_or(String::new(), |window| format!(", window {window}"));
    let parameters = training.model()?.gpt().num_params() as f64 / 1e6;
    let kind = format!("{:?}", recipe.tokenizer.kind).to_lowercase();
    note!("device   {device}");
    note!(
        "text     {}: {} tokens to train on, {} to validate on ({} {kind} tokens)",
        on_one_line(&text.name),
        text.train.ids.len(),
        text.validation.ids.len(),
        model.vocab_size
    );
    note!(
        "model    {parameters:.2} M parameters: {} layers, d_model {}, {} heads, {positions}{window}",
        model.n_layers,
        model.d_model,
        model.n_heads
    );
    note!("train    {} steps of {} × {} tokens, seed {}", train.steps, train.batch_size, train.seq_len, train.seed);
    for doubt in training.doubts() {
        note!("note     {doubt}");
    }
    let step = training.step();
    let from = if step > 0 { format!(", from step {step}") } else { String::new() };
    note!("run      {}{from}\n", shown::path(training.dir().path()));
    Ok(())
}
