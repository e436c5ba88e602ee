//! `tril train`: from a recipe and a text to a checkpoint.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use burn::module::Module;
use burn::tensor::Device;
use tril_data::Corpus;
use tril_infer::{GenerateOptions, SamplerConfig};
use tril_model::{Gpt, GptConfig, Positions, checkpoint};
use tril_text::Tokenizer;
use tril_train::{
    BestCheckpoint, CheckpointHashes, Evaluation, RunDir, TrainError, TrainOutcome, Trainer, TrainingRun, TrainingText,
};

use crate::args::TrainArgs;
use crate::progress::{Progress, Samples};
use crate::recipe::{self, Recipe, SampleConfig};
use crate::sample::{Writer, prompt_ids};
use crate::text::{Floor, Text};
use crate::view::Filters;
use crate::{interrupt, open};

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let (device, device_name) = open::device(&args.compute)?;
    let Prepared { mut session, recipe, tokenizer, text, samples } = match &args.resume {
        Some(path) => resume(args, path, &device)?,
        None => begin(args, &device)?,
    };
    introduce(&session, &recipe, &text, &device_name);

    let stop = Arc::new(AtomicBool::new(false));
    let first_prompt = samples.prompt_ids.clone();
    let options = samples.options.clone();
    let mut progress = Progress::new(session.trainer.step_count(), recipe.train.steps, tokenizer.clone(), samples);
    let notice = "stopping after this step and saving; Ctrl-C again stops at once and loses it";
    interrupt::listen(&stop, Some(notice))?;
    let outcome = tril_train::train(&mut session, &mut progress, &stop);
    progress.finish();
    match outcome? {
        TrainOutcome::Stopped { step, checkpoint } => {
            let mut out = std::io::stdout().lock();
            writeln!(out, "stopped after step {step}, saved as {}", checkpoint.display())?;
            writeln!(out, "continue with: {} train --resume {}", open::program(), open::quoted(session.dir.path()))?;
            Ok(ExitCode::from(130))
        }
        TrainOutcome::Finished { evaluation, best } => {
            let mut out = std::io::stdout().lock();
            writeln!(out, "\n--- a sample of the trained model")?;
            write!(out, "{}", recipe.sample.prompt)?;
            let (gpt, filters) = (session.trainer.model(), Filters::default());
            let writer = Writer { gpt: &gpt, tokenizer: &tokenizer, filters: &filters, stop: &stop };
            writer.write_one(&first_prompt, &options, &mut out)?;
            writeln!(out, "\n---\n")?;
            write_losses(&mut out, &evaluation, best, &recipe, &text)?;
            write_hashes(&mut out, &session.dir)?;
            writeln!(out, "\nnext: {} sample {}", open::program(), open::quoted(session.dir.path()))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// How good the last model is, and what there is to compare it with.
fn write_losses(
    out: &mut impl Write,
    evaluation: &Evaluation,
    best: BestCheckpoint,
    recipe: &Recipe,
    text: &Text,
) -> std::io::Result<()> {
    let Evaluation { loss, perplexity, bits_per_byte, tokens, .. } = evaluation;
    writeln!(
        out,
        "validation loss  {loss:.4} nats a token (perplexity {perplexity:.2}, {bits_per_byte:.3} bits per byte)"
    )?;
    if best.step != recipe.train.steps {
        writeln!(out, "best             {:.4} at step {}", best.loss, best.step)?;
    }
    if let Some(Floor { nats_per_char, standard_error }) = text.floor {
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

/// A run that is ready to go.
struct Prepared {
    session: TrainingRun,
    recipe: Recipe,
    tokenizer: Tokenizer,
    text: Text,
    samples: Samples,
}

/// A new run.
fn begin(args: &TrainArgs, device: &Device) -> Result<Prepared> {
    let mut recipe = match &args.config {
        Some(path) => Recipe::open(path, &args.set)?,
        None => Recipe::parse(recipe::shipped(recipe::DEFAULT)?, "the default recipe", &args.set)?,
    };
    if let Some(data) = &args.data {
        recipe.data.source.clone_from(data);
    }
    recipe.train.check()?;
    recipe.optimizer.check()?;
    let name = args.config.as_deref().and_then(Path::file_stem).unwrap_or(recipe::DEFAULT.as_ref());
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(name));
    RunDir::check_free(&out, args.force)?;

    let corpus = Corpus::open(&recipe.data.source)?;
    let tokenizer = Tokenizer::build(&recipe.tokenizer, &corpus.texts())?;
    let text = Text::encode(&corpus, &tokenizer, recipe.data.validation_fraction)?;
    recipe.model = GptConfig { vocab_size: vocab_size(&recipe, &tokenizer)?, ..recipe.model }.resolve()?;
    let gpt = Gpt::new(recipe.model.clone(), recipe.train.seed, device)?;
    let trainer = Trainer::new(gpt, Default::default(), 0, recipe.train.clone(), recipe.optimizer.clone())?;
    let training = TrainingText::new(text.train.ids.clone(), recipe.train.seq_len)?;
    text.check_validation()?;
    let samples = samples(&recipe, &tokenizer)?;
    // Everything that could be refused has been by now: nothing of an earlier run is touched before.
    let dir = RunDir::create(&out, recipe.to_toml()?, tokenizer.to_json()?.into_bytes(), args.force)
        .context("the run's directory cannot be made; choose another `--out`")?;
    let session = session(trainer, dir, &recipe, training, &text, &tokenizer, None);
    Ok(Prepared { session, recipe, tokenizer, text, samples })
}

/// A run that goes on where its checkpoint stands.
fn resume(args: &TrainArgs, path: &Path, device: &Device) -> Result<Prepared> {
    let (mut dir, from) = RunDir::open(path)?;
    let origin = from.join("config.toml").display().to_string();
    let stored = Recipe::parse(dir.recipe(), &origin, &[])?;
    let mut recipe = Recipe::parse(dir.recipe(), &origin, &args.set)?;
    if let Some(data) = &args.data {
        recipe.data.source.clone_from(data);
    }
    recipe.train.check()?;
    recipe.optimizer.check()?;
    if recipe.tokenizer != stored.tokenizer {
        bail!("--set tokenizer.…: a run cannot change its tokenizer; begin a new run");
    }
    if recipe.optimizer.kind != stored.optimizer.kind {
        bail!(
            "--set optimizer.kind: a run cannot change its optimizer, whose state the other has not; begin a new run"
        );
    }
    let gpt = checkpoint::load_model(&from, device)?;
    if stored.model != *gpt.config() {
        bail!("{origin}: its [model] is not that of {} beside it; restore both from a copy", checkpoint::CONFIG);
    }
    recipe.model = recipe.model.resolve()?;
    if recipe.model != *gpt.config() {
        bail!("--set model.…: the model of {} cannot change its shape; train a new one", from.display());
    }
    let tokenizer = Tokenizer::open(&from.join(checkpoint::TOKENIZER))?;
    open::check_fit(&tokenizer, &gpt, &from)?;
    let (optimizer, progress) = RunDir::load(&from, &gpt, recipe.optimizer.kind, device)?;
    if recipe.train.steps < progress.step {
        bail!(
            "train.steps = {} is less than the {} steps that the run has taken: name a higher number to go on",
            recipe.train.steps,
            progress.step
        );
    }
    let corpus = Corpus::open(&recipe.data.source).context("the run's text; if it has moved, name it with `--data`")?;
    let text = Text::encode(&corpus, &tokenizer, recipe.data.validation_fraction)?;
    let training = TrainingText::new(text.train.ids.clone(), recipe.train.seq_len)?;
    if training.key() != progress.text_key {
        bail!(TrainError::OtherText);
    }
    text.check_validation()?;
    let samples = samples(&recipe, &tokenizer)?;
    let trainer = Trainer::new(gpt, optimizer, progress.step, recipe.train.clone(), recipe.optimizer.clone())?;
    dir.set_recipe(recipe.to_toml()?)?;
    dir.rewind(&progress)?;
    let session = session(trainer, dir, &recipe, training, &text, &tokenizer, progress.best);
    Ok(Prepared { session, recipe, tokenizer, text, samples })
}

fn session(
    trainer: Trainer,
    dir: RunDir,
    recipe: &Recipe,
    training: TrainingText,
    text: &Text,
    tokenizer: &Tokenizer,
    best: Option<tril_train::BestCheckpoint>,
) -> TrainingRun {
    let first = text.validation.ids.first().map_or(0, |id| tokenizer.byte_len(*id));
    TrainingRun {
        trainer,
        dir,
        config: recipe.train.clone(),
        training,
        validation: text.validation.ids.clone(),
        validation_bytes: text.validation.bytes.saturating_sub(first),
        best,
    }
}

fn vocab_size(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<usize> {
    let (asked, tokens) = (recipe.model.vocab_size, tokenizer.vocab_size());
    if asked != 0 && asked != tokens {
        bail!("model.vocab_size = {asked}, but the tokenizer has {tokens} tokens: set it to 0 to take the tokenizer's");
    }
    Ok(tokens)
}

fn samples(recipe: &Recipe, tokenizer: &Tokenizer) -> Result<Samples> {
    let config = &recipe.sample;
    let SampleConfig { temperature, top_k, seed, .. } = *config;
    let sampler = SamplerConfig { temperature, top_k, seed, ..SamplerConfig::default() };
    sampler.check(tokenizer.vocab_size()).context("[sample]")?;
    let prompt_ids = prompt_ids(tokenizer, &config.prompt).map_err(|error| error.in_text("[sample] prompt"))?;
    let options = GenerateOptions {
        sampler,
        max_tokens: config.max_tokens,
        stop_token: tokenizer.end_of_text(),
        ..GenerateOptions::default()
    };
    Ok(Samples { interval: config.interval, prompt: config.prompt.clone(), prompt_ids, options })
}

/// Says what is about to happen.
fn introduce(session: &TrainingRun, recipe: &Recipe, text: &Text, device_name: &str) {
    let Recipe { model, train, .. } = recipe;
    let positions = match model.positions {
        Positions::Learned => "learned positions",
        Positions::Rotary => "rotary positions",
    };
    let window = model.window().map_or(String::new(), |window| format!(", window {window}"));
    let parameters = session.trainer.model().num_params() as f64 / 1e6;
    let kind = format!("{:?}", recipe.tokenizer.kind).to_lowercase();
    note!("device   {device_name}");
    note!(
        "text     {}: {} tokens to train on, {} to validate on ({} {kind} tokens)",
        text.name,
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
    let step = session.trainer.step_count();
    let from = if step > 0 { format!(", from step {step}") } else { String::new() };
    note!("run      {}{from}\n", session.dir.path().display());
}
