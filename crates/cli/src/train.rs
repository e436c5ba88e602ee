//! `tril train`: from a recipe and a text to a checkpoint.

mod fine_tune;
mod log;
mod rehearse;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, anyhow, bail};
use burn::module::Module;
use tril::{
    ComputeDevice, DEFAULT_RECIPE, Evaluation, ExistingRun, Origin, Recipe, RecipeError, ResumeChanges,
    SHIPPED_RECIPES, TextEventKind, TrainOutcome, Training,
};
use tril_data::{KnownCorpus, LossFloor};
use tril_model::Positions;
use tril_train::{BestCheckpoint, CheckpointHashes, RunDir, TrainConfig};

use crate::args::{DocumentArgs, TrainArgs};
use crate::output::line_writer;
use crate::preparing::preparing;
use crate::progress::Progress;
use crate::shown::{self, TextWriter, on_one_line};
use crate::style::{BEST, PROMPT, on_stdout};
use crate::wrapped::Wrapped;
use crate::{data, interrupt, open, quantity, runs};
use log::Log;

pub fn run(args: &TrainArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    if args.dry_run {
        return rehearse::run(args, &device);
    }
    let mut training = match &args.resume {
        Some(path) => resume(args, path, &device)?,
        None => begin(args, &device)?,
    };
    introduce(&training, &device)?;
    let is_done = args.resume.is_some() && training.is_done();
    if is_done {
        tell_how_to_go_on(&training);
    }
    let begin = Instant::now();

    let stop = Arc::new(AtomicBool::new(false));
    let mut progress = Log::new(Progress::new(&training), &training, &args.report.log)?;
    let notice = "stopping after this step and saving; a second Ctrl-C (or SIGTERM, SIGHUP) stops at once and loses it";
    let _listening = interrupt::listen(&stop, Some(notice))?;
    let outcome = training.train(&mut progress, &stop);
    progress.finish();
    let outcome = outcome?;
    let ending = match &outcome {
        TrainOutcome::NoProgress { step, best, .. } => Some(out_of_patience(&training, *step, *best)),
        _ => None,
    };
    match outcome {
        TrainOutcome::Stopped { step, checkpoint } => {
            let mut out = line_writer();
            let dir = open::quoted(training.dir().path());
            writeln!(out, "stopped after step {step}, saved as {}", shown::path(&checkpoint))?;
            writeln!(out, "continue with: {} train --resume {dir}", open::program())?;
            Ok(ExitCode::from(130))
        }
        TrainOutcome::Finished { evaluation, best } | TrainOutcome::NoProgress { evaluation, best, .. } => {
            let seconds = begin.elapsed().as_secs_f64();
            if !is_done {
                let mut out = TextWriter::plain(Wrapped::stdout());
                writeln!(out, "\n--- a sample of the trained model")?;
                write_sample(&training, &stop, &mut out)?;
                writeln!(out, "\n---\n")?;
            }
            let mut out = line_writer();
            write_losses(&mut out, &evaluation, best, &training)?;
            if let Some(ending) = ending {
                writeln!(out, "{ending}")?;
            }
            if !is_done {
                // No result tells the time, so it goes to the terminal alone.
                out.flush()?;
                note!("time             {}", quantity::duration(seconds));
            }
            let dir = training.dir();
            writeln!(out, "run              {}", shown::path(dir.path()))?;
            if args.report.verbose {
                write_hashes(&mut out, dir)?;
            }
            writeln!(out, "\nnext: {} sample {}", open::program(), open::quoted(dir.path()))?;
            out.flush()?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// Why a run ended before its last step.
fn out_of_patience(training: &Training, step: u64, best: BestCheckpoint) -> String {
    let TrainConfig { steps, patience, .. } = training.recipe().train;
    let evaluations = quantity::counted(patience, "evaluation");
    format!("stopped          after step {step} of {steps}: no better in {evaluations} since step {}", best.step)
}

/// Says that there is nothing left to do, and what to type to do more.
fn tell_how_to_go_on(training: &Training) {
    let (dir, steps) = (open::quoted(training.dir().path()), training.recipe().train.steps);
    if training.step() < steps {
        note!("[the run has found nothing better for as long as train.patience lets it; to go on to its last step:]");
        note!("[{} train --resume {dir} --set train.patience=0]\n", open::program());
        return;
    }
    let more = (2 * steps).max(1);
    note!("[the run has taken all its {}; to train longer:]", quantity::counted(steps, "step"));
    note!("[{} train --resume {dir} --steps {more}]\n", open::program());
}

/// Writes the recipe's sample as it comes.
fn write_sample(training: &Training, stop: &AtomicBool, out: &mut TextWriter<impl Write>) -> Result<()> {
    let mut generator = training.model()?.generator();
    generator.add(training.sample().clone())?;
    out.styled(on_stdout(PROMPT), &training.sample().prompt)?;
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

/// How good the best model is, what that means, and what there is to compare it with.
fn write_losses(
    out: &mut TextWriter<impl Write>,
    last: &Evaluation,
    best: BestCheckpoint,
    training: &Training,
) -> std::io::Result<()> {
    let (text, vocab_size) = (training.corpus(), training.recipe().model.vocab_size);
    // All evaluations are over the same tokens and bytes.
    let (loss, perplexity) = (best.loss, libm::exp(best.loss));
    let bits_per_byte = if last.loss > 0.0 { last.bits_per_byte * loss / last.loss } else { last.bits_per_byte };
    write!(out, "validation loss  ")?;
    out.styled(on_stdout(BEST), &format!("{loss:.4} nats a token"))?;
    writeln!(out, " (perplexity {perplexity:.2}, {bits_per_byte:.3} bits per byte)")?;
    if perplexity < vocab_size as f64 {
        writeln!(out, "that is          as if guessing among {perplexity:.1} tokens, out of {vocab_size}")?;
    } else {
        writeln!(out, "that is          no better than guessing blindly among all {vocab_size} tokens")?;
    }
    if best.step != training.step() {
        let (at, end, last) = (best.step, training.step(), last.loss);
        writeln!(out, "best             at step {at}; {last:.4} at step {end}, the last")?;
    }
    if let Some(LossFloor { nats_per_char, standard_error }) = text.floor {
        let per_char = loss * last.tokens as f64 / text.validation.chars as f64;
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
    writeln!(out, "sha256 of {}{which}:\n  {model} weights\n  {optimizer} optimizer", name(&last))?;
    if let Some(best) = best {
        let CheckpointHashes { model, .. } = CheckpointHashes::of(&best)?;
        writeln!(out, "sha256 of {}, the best, which sample, eval and prove read:\n  {model} weights", name(&best))?;
    }
    Ok(())
}

/// What a new run is made of: the recipe that is named, the text, and the name of the run.
struct Inputs<'a> {
    recipe: Option<&'a Path>,
    data: Option<String>,
    name: PathBuf,
}

impl<'a> Inputs<'a> {
    fn of(args: &'a TrainArgs) -> Self {
        let (recipe, data) = match &args.config {
            Some(path) if args.data.is_none() && (is_text(path) || is_corpus(path)) => {
                (None, Some(path.to_string_lossy().into_owned()))
            }
            config => (config.as_deref(), args.data.clone()),
        };
        let of_data = data.as_deref().map(|data| if data == "-" { "stdin" } else { data });
        let of_data = of_data.map(Path::new).and_then(Path::file_stem);
        let name = recipe.and_then(Path::file_stem).or(of_data).unwrap_or(DEFAULT_RECIPE.as_ref()).into();
        Self { recipe, data, name }
    }
}

/// The recipe of a run with fresh weights.
fn recipe(args: &TrainArgs, inputs: &Inputs<'_>) -> Result<Recipe> {
    let mut recipe = match inputs.recipe {
        Some(path) => Recipe::open(path).map_err(tril::Error::from)?,
        None => Recipe::shipped(DEFAULT_RECIPE)?,
    };
    if let Some(lora) = &args.fine_tune.lora {
        bail!("--lora {}: low-rank factors are added to a model that has learnt something; --from names it", lora.rank);
    }
    open::set_fields(&mut recipe, &args.fields())?;
    if let Some(data) = &inputs.data {
        recipe.data.source.clone_from(data);
    }
    open::set_documents(&mut recipe.data, &args.documents);
    Ok(recipe)
}

/// What a run's text has that it does not read, for the end of a line; nothing where there is none.
fn kept_for_test(recipe: &Recipe) -> String {
    let fraction = recipe.data.test_fraction;
    if fraction == 0.0 {
        String::new()
    } else {
        format!(", the last {} % kept for a test", (1e5 * fraction).round() / 1e3)
    }
}

/// A new run.
fn begin(args: &TrainArgs, device: &ComputeDevice) -> Result<Training> {
    let inputs = Inputs::of(args);
    let name = &inputs.name;
    let existing = if args.force { ExistingRun::Replace } else { ExistingRun::Keep };
    let (out, taken) = match &args.out {
        Some(out) => (out.clone(), None),
        None if args.force => (runs::default_of(name), None),
        None => runs::for_new(name),
    };
    let training = match &args.fine_tune.from {
        Some(from) => {
            let model = runs::model(from, device)?;
            let tuning = fine_tune::of(args, &inputs, &model)?;
            data::settle(&tuning.source()?)?;
            preparing(|watch| tuning.begin_watched(&out, existing, watch))?
        }
        None => {
            let recipe = recipe(args, &inputs)?;
            data::settle(&recipe.data.source)?;
            preparing(|watch| Training::begin_watched(recipe, &out, existing, device, watch))?
        }
    };
    if let Some(taken) = taken {
        let resume = format!("{} train --resume {}", open::program(), open::quoted(&taken));
        note!(
            "[{} is taken, so this run goes to {}; to go on with that one: {resume}]",
            shown::path(&taken),
            shown::path(&out)
        );
    }
    Ok(training)
}

/// A file or directory that is there and no recipe: neither the name of a shipped one nor a TOML file.
fn is_text(path: &Path) -> bool {
    let is_shipped = SHIPPED_RECIPES.iter().any(|(name, _)| path.as_os_str() == *name);
    let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
    !is_shipped && !is_toml && path.exists()
}

/// The name of a corpus, and of no recipe.
fn is_corpus(path: &Path) -> bool {
    let is_shipped = SHIPPED_RECIPES.iter().any(|(name, _)| path.as_os_str() == *name);
    !is_shipped && path.to_str().is_some_and(|name| KnownCorpus::find(name).is_ok_and(|corpus| corpus.is_some()))
}

/// A run that goes on where its checkpoint stands.
fn resume(args: &TrainArgs, path: &Path, device: &ComputeDevice) -> Result<Training> {
    let existing = if args.force { ExistingRun::Replace } else { ExistingRun::Keep };
    let DocumentArgs { field, separator, glob } = &args.documents;
    if [field, separator, glob].into_iter().any(Option::is_some) {
        bail!("--resume: a run keeps its documents; --field, --separator and --glob are for a new run");
    }
    args.data.as_deref().map_or(Ok(()), data::settle)?;
    let changes = ResumeChanges { set: args.fields(), source: args.data.clone(), dir: args.out.clone(), existing };
    let resumed = preparing(|watch| Training::resume_watched(path, &changes, device, watch));
    resumed.map_err(|error| match error {
        tril::Error::Recipe(RecipeError::Field { ref origin, .. }) if args.fields().contains(origin) => {
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
        Positions::Learned => "learned",
        Positions::Rotary => "rotary",
    };
    let window = model.window().map_or(String::new(), |window| format!(", window {window}"));
    let parameters = training.model()?.gpt().num_params() as f64 / 1e6;
    let kind = format!("{:?}", recipe.tokenizer.kind).to_lowercase();
    note!("device   {device}");
    let held_out = text.validation.ids.len();
    let measured = train.evaluated(held_out);
    let limit =
        if measured < held_out { format!(" (the first {} are measured)", train.eval_tokens) } else { String::new() };
    note!(
        "text     {}: {} tokens to train on, {held_out} to validate on{limit}{}",
        on_one_line(&text.name),
        text.train.ids.len(),
        kept_for_test(recipe),
    );
    match training.origin() {
        Some(_) => note!("tokens   {}, as the model has them", model.vocab_size),
        None => note!("tokens   {} of kind {kind}", model.vocab_size),
    }
    note!(
        "model    {parameters:.2} M parameters: {}, d_model {}, {}, {positions}{window}",
        quantity::counted(model.n_layers, "layer"),
        model.d_model,
        quantity::counted(model.n_heads, "head"),
    );
    if let Some(Origin { path, weights_sha256, .. }) = training.origin() {
        note!("from     {} (weights {})", shown::path(&path), weights_sha256.get(..12).unwrap_or(&weights_sha256));
    }
    if recipe.lora.is_used() {
        note!("trained  {}", fine_tune::factors(recipe, training.num_trained()));
    }
    let steps = quantity::counted(train.steps, "step");
    note!("train    {steps} of {} × {} tokens, seed {}", train.batch_size, train.seq_len, train.seed);
    for doubt in training.doubts() {
        note!("note     {doubt}");
    }
    let step = training.step();
    let from = if step > 0 { format!(", from step {step}") } else { String::new() };
    note!("run      {}{from}\n", shown::path(training.dir().path()));
    Ok(())
}
