//! A training run: begun from a recipe and a text, or resumed from its directory, and gone on with to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tril_data::{Corpus, EncodedCorpus, TextEvent, TextSource};
use tril_model::{Gpt, checkpoint};
use tril_text::{TextBounds, Tokenizer};
use tril_train::{
    Evaluation, OpaqueFiles, RunDir, StepReport, TrainError, TrainObserver, TrainOutcome, TrainProgress, TrainState,
    Trainer, TrainingRun, TrainingText, learning_rate, load_raw_model,
};

use crate::beginning::{
    Beginning, bounds, check_validation, doubt_of_unknown, doubts_of_documents, sample, training_text,
};
use crate::fine_tuning::{Origin, check_fresh, tokenizer_for_training};
use crate::generate::GenerateRequest;
use crate::kept_samples::SampleKeeper;
use crate::recipe::Recipe;
use crate::{ComputeDevice, Error, Model};

/// A run that is ready to go on.
pub struct Training {
    run: TrainingRun,
    recipe: Recipe,
    tokenizer: Arc<Tokenizer>,
    corpus: EncodedCorpus,
    sample: GenerateRequest,
    doubts: Vec<String>,
}

/// What to do with what an earlier run has written and this one would take the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExistingRun {
    /// Refuse, so that nothing is lost.
    #[default]
    Keep,
    /// Remove it, once there is something in its place.
    Replace,
}

/// What changes when a run is resumed.
#[derive(Debug, Clone, Default)]
pub struct ResumeChanges {
    /// Fields of the recipe, as in `train.steps=2000`. The model's shape and the tokenizer cannot change.
    pub set: Vec<String>,
    /// Where the text is now, if it has moved. It must be the same text.
    pub source: Option<String>,
    /// The directory of a new run that goes on from a copy of the checkpoint, so that the run of the checkpoint stays as
    /// it is; otherwise it is that run that goes on.
    pub dir: Option<PathBuf>,
    /// What to do with later checkpoints than the one given, or with a run in `dir`.
    pub existing: ExistingRun,
}

/// An observer that shows nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl TrainObserver for Quiet {
    fn step(&mut self, _report: &StepReport, _tokens: usize, _seconds: f64) {}
    fn evaluation(&mut self, _step: u64, _evaluation: &Evaluation, _is_best: bool) {}
    fn model(&mut self, _step: u64, _model: &dyn Fn() -> Gpt) {}
}

impl Training {
    /// Begins a run on the text that the recipe names. Nothing is written before everything is known to be sound.
    ///
    /// - dir: where its files go
    ///
    /// # Errors
    /// [`Error`] for a recipe that no run can have, a text that cannot be read or is too short, or a directory that is
    /// taken.
    pub fn begin(
        recipe: Recipe,
        dir: impl AsRef<Path>,
        existing: ExistingRun,
        device: &ComputeDevice,
    ) -> Result<Self, Error> {
        Self::begin_watched(recipe, dir, existing, device, &mut |_| ())
    }

    /// As [`Training::begin`]; `watch` is told how far a large text is read and turned into tokens.
    ///
    /// # Errors
    /// As [`Training::begin`].
    pub fn begin_watched(
        recipe: Recipe,
        dir: impl AsRef<Path>,
        existing: ExistingRun,
        device: &ComputeDevice,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Self, Error> {
        // Said before the text is read, which may take long.
        check_beginning(&recipe, dir.as_ref(), existing)?;
        let source = recipe.data.open_source(watch)?;
        Self::begin_from(&source, recipe, dir.as_ref(), existing, device, watch)
    }

    /// Begins a run on a corpus that is in memory. To resume it, its text must be where `recipe.data.source` says.
    ///
    /// # Errors
    /// As [`Training::begin`].
    pub fn begin_on(
        corpus: &Corpus,
        recipe: Recipe,
        dir: impl AsRef<Path>,
        existing: ExistingRun,
        device: &ComputeDevice,
    ) -> Result<Self, Error> {
        check_beginning(&recipe, dir.as_ref(), existing)?;
        Self::begin_from(&corpus.into(), recipe, dir.as_ref(), existing, device, &mut |_| ())
    }

    fn begin_from(
        source: &TextSource,
        recipe: Recipe,
        dir: &Path,
        existing: ExistingRun,
        device: &ComputeDevice,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Self, Error> {
        Self::start(Beginning::of(source, recipe, device, watch)?, source, None, dir, existing)
    }

    /// Makes the directory of a run. Everything that could be refused has been by now: nothing of an earlier run is touched
    /// before.
    pub(crate) fn start(
        beginning: Beginning,
        source: &TextSource,
        origin: Option<&Origin>,
        dir: &Path,
        existing: ExistingRun,
    ) -> Result<Self, Error> {
        let doubts = beginning.doubts(source);
        let Beginning { recipe, trainer, training, text, tokenizer, bounds, sample } = beginning;
        let opaque = OpaqueFiles {
            tokenizer: tokenizer.to_json()?.into_bytes(),
            generation: Some(bounds.to_json()?.into_bytes()),
            origin: origin.map(Origin::to_json),
        };
        let dir = RunDir::create(dir, recipe.to_toml()?, opaque, existing == ExistingRun::Replace)?;
        let mut begun = Self::new(trainer, dir, recipe, training, text, tokenizer, sample, None);
        begun.doubts = doubts;
        Ok(begun)
    }

    /// Resumes a run at its last checkpoint, or at the given checkpoint of it: it ends in the same bits as if it had
    /// never stopped. Until it saves a checkpoint, the run's directory stays as it is.
    ///
    /// - path: the run's directory, or that of one of its checkpoints
    ///
    /// # Errors
    /// [`Error`] where there is no run, another process goes on with it, a file of it is damaged, its text is another, or
    /// a change cannot be.
    pub fn resume(path: impl AsRef<Path>, changes: &ResumeChanges, device: &ComputeDevice) -> Result<Self, Error> {
        Self::resume_watched(path, changes, device, &mut |_| ())
    }

    /// As [`Training::resume`]; `watch` is told how far a large text is read and turned into tokens.
    ///
    /// # Errors
    /// As [`Training::resume`].
    pub fn resume_watched(
        path: impl AsRef<Path>,
        changes: &ResumeChanges,
        device: &ComputeDevice,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Self, Error> {
        let replace = changes.existing == ExistingRun::Replace;
        if let Some(new) = &changes.dir {
            RunDir::check_free(new, replace)?;
        }
        let (mut dir, from) = RunDir::open(path.as_ref(), replace || changes.dir.is_some())?;
        let origin = from.join("config.toml").display().to_string();
        let stored = Recipe::parse(dir.recipe(), &origin)?;
        let mut recipe = stored.clone();
        recipe.set_all(&changes.set)?;
        if let Some(source) = &changes.source {
            recipe.data.source.clone_from(source);
        }
        recipe.train.check()?;
        recipe.optimizer.check()?;
        recipe.lora.check()?;
        let refuse = |message: String| Err(Error::CannotResume(message));
        if recipe.tokenizer != stored.tokenizer {
            return refuse("tokenizer.…: a run cannot change its tokenizer; begin a new run".into());
        }
        if recipe.optimizer.kind != stored.optimizer.kind {
            return refuse(
                "optimizer.kind: a run cannot change its optimizer, because the new one would have no state; begin a new run"
                    .into(),
            );
        }
        if recipe.lora != stored.lora {
            return refuse(
                "lora.…: a run cannot change which factors it trains; --from begins a new run from its weights".into(),
            );
        }
        if recipe.data.test_fraction != stored.data.test_fraction {
            return refuse(
                "data.test_fraction: a run cannot change what it keeps for a test, because it may have been chosen by it; begin a new run"
                    .into(),
            );
        }
        let gpt = checkpoint::load_model(&from, device.inner())?;
        if stored.model != *gpt.config() {
            return refuse(format!(
                "{origin}: its [model] does not match {} beside it; restore both from a copy",
                checkpoint::CONFIG
            ));
        }
        recipe.model = recipe.model.resolve()?;
        recipe.check_memory()?;
        if recipe.model != *gpt.config() {
            return refuse(format!(
                "model.…: the model of {} cannot change its shape; train a new one",
                from.display()
            ));
        }
        let tokenizer = Tokenizer::open(&from.join(checkpoint::TOKENIZER))?;
        let (tokens, vocab_size) = (tokenizer.vocab_size(), gpt.config().vocab_size);
        if tokens != vocab_size {
            return Err(Error::TokenizerMismatch { path: from, tokens, vocab_size });
        }
        let TrainState { optimizer, factors, progress } =
            RunDir::load(&from, &gpt, recipe.optimizer.kind, &recipe.lora, device.inner())?;
        let (gpt, average) = match load_raw_model(&from, &gpt, &stored.train, device.inner())? {
            Some(raw) => (raw, Some(gpt)),
            None => (gpt, None),
        };
        // What texts end with may have been learnt before this run's text.
        let origin = dir.opaque().origin.as_deref().map(Origin::from_json);
        let known_bounds = match (&origin, &dir.opaque().generation) {
            (Some(_), Some(json)) => Some(TextBounds::from_json(json, &from.join(checkpoint::GENERATION), &tokenizer)?),
            _ => None,
        };
        let tokenizer = match known_bounds {
            Some(bounds) => tokenizer_for_training(&tokenizer, bounds.eos_token_id, &from)?,
            None => tokenizer,
        };
        if recipe.train.steps < progress.step {
            return refuse(format!(
                "train.steps = {} is less than the {} steps that the run has taken: name a higher number to go on",
                recipe.train.steps, progress.step
            ));
        }
        let source = recipe.data.open_source(watch).map_err(|source| Error::TextMoved { source })?;
        let text = source.encode(&tokenizer, recipe.data.held_out(), watch)?;
        let training = training_text(&text, &recipe)?;
        if training.key() != progress.text_key {
            return Err(TrainError::OtherText.into());
        }
        check_validation(&text)?;
        let bounds = known_bounds.unwrap_or_else(|| bounds(&tokenizer, &text));
        let tokenizer = tokenizer.with_bounds(bounds)?;
        let sample = sample(&recipe, &tokenizer)?;
        let doubt = doubt_of_schedule(&stored, &recipe, progress.step);
        let mut trainer = Trainer::new(gpt, optimizer, progress.step, recipe.train.clone(), recipe.optimizer.clone())?;
        if let Some(factors) = factors {
            trainer = trainer.with_factors(factors)?;
        }
        if let Some(average) = average {
            trainer = trainer.with_average(average);
        }
        if let Some(new) = &changes.dir {
            dir = dir.branch(&from, &progress, new, replace)?;
        }
        dir.set_recipe(recipe.to_toml()?);
        dir.set_generation(bounds.to_json()?.into_bytes());
        let mut resumed = Self::new(trainer, dir, recipe, training, text, tokenizer, sample, Some(progress));
        let documents = doubts_of_documents(&source, &resumed.recipe, &resumed.tokenizer);
        resumed.doubts.extend(doubt.into_iter().chain(documents).chain(source.skipped().iter().cloned()));
        Ok(resumed)
    }

    #[expect(clippy::too_many_arguments, reason = "they are the fields, two of them taken apart")]
    fn new(
        trainer: Trainer,
        dir: RunDir,
        recipe: Recipe,
        training: TrainingText,
        corpus: EncodedCorpus,
        tokenizer: Tokenizer,
        sample: GenerateRequest,
        progress: Option<TrainProgress>,
    ) -> Self {
        let measured = recipe.train.evaluated(corpus.validation.ids.len());
        let bytes = corpus.validation.predicted_bytes_of(measured);
        let run = TrainingRun {
            trainer,
            dir,
            config: recipe.train.clone(),
            training,
            validation: corpus.validation.ids[..measured].to_vec(),
            validation_bytes: bytes.unwrap_or(corpus.validation.predicted_bytes),
            best: progress.and_then(|progress| progress.best),
            since_best: progress.map_or(0, |progress| progress.since_best),
        };
        let mut doubts = recipe.doubts();
        doubts.extend(doubt_of_unknown(&corpus));
        Self { run, recipe, tokenizer: Arc::new(tokenizer), corpus, sample, doubts }
    }

    /// Trains to the last step, or until `stop` is set, which lets the step at hand finish and saves. What the model writes at
    /// each evaluation is kept among the run's metrics.
    ///
    /// # Errors
    /// [`Error::Train`]; checkpoints written before stay as they are.
    pub fn train(&mut self, observer: &mut dyn TrainObserver, stop: &AtomicBool) -> Result<TrainOutcome, Error> {
        let (tokenizer, sample) = (Arc::clone(&self.tokenizer), self.sample.clone());
        let mut observer = SampleKeeper { inner: observer, tokenizer, sample };
        Ok(tril_train::train(&mut self.run, &mut observer, stop)?)
    }

    /// The recipe, with every field as it is used.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What is allowed and seldom meant about this run, each in a sentence: [`Recipe::doubts`], a schedule that a resumed run
    /// changes, files of a directory that were left out.
    pub fn doubts(&self) -> &[String] {
        &self.doubts
    }

    /// The text, in two sides.
    pub fn corpus(&self) -> &EncodedCorpus {
        &self.corpus
    }

    /// The tokenizer, made for the text.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The run's directory.
    pub fn dir(&self) -> &RunDir {
        &self.run.dir
    }

    /// The model that the run began from, where it did not begin with fresh weights.
    pub fn origin(&self) -> Option<Origin> {
        self.run.dir.opaque().origin.as_deref().and_then(Origin::from_json)
    }

    /// How many numbers are trained: all of the model, or those of low-rank factors.
    pub fn num_trained(&self) -> usize {
        self.run.trainer.num_trained()
    }

    /// Steps taken so far.
    pub fn step(&self) -> u64 {
        self.run.trainer.step_count()
    }

    /// Whether there is nothing left to do: all steps are taken, or evaluations have found no new best for as long as
    /// `train.patience` allows.
    pub fn is_done(&self) -> bool {
        self.step() >= self.recipe.train.steps || self.run.is_out_of_patience()
    }

    /// The model as it stands now.
    ///
    /// # Errors
    /// None that is not a fault of this library.
    pub fn model(&self) -> Result<Model, Error> {
        let path: PathBuf = self.run.dir.last().unwrap_or_else(|| self.run.dir.path().to_owned());
        Model::new(self.run.trainer.model(), Arc::clone(&self.tokenizer), path)
    }

    /// The sample that the recipe's `[sample]` section asks for.
    pub fn sample(&self) -> &GenerateRequest {
        &self.sample
    }
}

/// Refuses settings that no run can have, and a directory that is taken.
fn check_beginning(recipe: &Recipe, dir: &Path, existing: ExistingRun) -> Result<(), Error> {
    recipe.train.check()?;
    recipe.optimizer.check()?;
    check_fresh(&recipe.lora)?;
    Ok(RunDir::check_free(dir, existing == ExistingRun::Replace)?)
}

/// What to say where a run that goes on has another learning rate at its next step than it would have had.
fn doubt_of_schedule(stored: &Recipe, recipe: &Recipe, step: u64) -> Option<String> {
    let rate = |recipe: &Recipe| learning_rate(step + 1, recipe.train.steps, &recipe.optimizer);
    let (old, new) = (rate(stored), rate(recipe));
    let is_by_length = stored.optimizer == recipe.optimizer && old != new;
    is_by_length.then(|| {
        format!(
            "with train.steps = {} in place of {} the decay ends later, so the learning rate of step {} is {new:.3e} in place of {}; optimizer.decay_steps = {1} keeps the schedule",
            recipe.train.steps,
            stored.train.steps,
            step + 1,
            if old == 0.0 { "0".to_owned() } else { format!("{old:.3e}") }
        )
    })
}
