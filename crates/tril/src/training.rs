//! A training run: begun from a recipe and a text, or resumed from its directory, and gone on with to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tril_data::{Corpus, EncodedCorpus};
use tril_model::{Gpt, checkpoint};
use tril_text::{TextBounds, Tokenizer};
use tril_train::{
    BestCheckpoint, Evaluation, RunDir, StepReport, TextFiles, TrainError, TrainObserver, TrainOutcome, Trainer,
    TrainingRun, TrainingText, learning_rate,
};

use crate::beginning::{Beginning, check_validation, doubt_of_unknown, doubts_of_documents, sample};
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
        // Said before the text is read, which may take long.
        check_beginning(&recipe, dir.as_ref(), existing)?;
        let corpus = recipe.data.open()?;
        Self::begin_on(&corpus, recipe, dir, existing, device)
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
        let beginning = Beginning::of(corpus, recipe, device)?;
        let doubts = beginning.doubts(corpus);
        let Beginning { recipe, trainer, training, text, tokenizer, bounds, sample } = beginning;
        // Everything that could be refused has been by now: nothing of an earlier run is touched before.
        let replace = existing == ExistingRun::Replace;
        let generation = Some(bounds.to_json()?.into_bytes());
        let files = TextFiles { tokenizer: tokenizer.to_json()?.into_bytes(), generation };
        let dir = RunDir::create(dir.as_ref(), recipe.to_toml()?, files, replace)?;
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
        let (optimizer, progress) = RunDir::load(&from, &gpt, recipe.optimizer.kind, device.inner())?;
        if recipe.train.steps < progress.step {
            return refuse(format!(
                "train.steps = {} is less than the {} steps that the run has taken: name a higher number to go on",
                recipe.train.steps, progress.step
            ));
        }
        let corpus = recipe.data.open().map_err(|source| Error::TextMoved { source })?;
        let text = EncodedCorpus::new(&corpus, &tokenizer, recipe.data.validation_fraction)?;
        let training = TrainingText::new(text.train.ids.clone(), recipe.train.seq_len)?;
        if training.key() != progress.text_key {
            return Err(TrainError::OtherText.into());
        }
        check_validation(&text)?;
        let bounds = TextBounds::learnt(&tokenizer, &text.train.ids);
        let tokenizer = tokenizer.with_bounds(bounds)?;
        let sample = sample(&recipe, &tokenizer)?;
        let doubt = doubt_of_schedule(&stored, &recipe, progress.step);
        let trainer = Trainer::new(gpt, optimizer, progress.step, recipe.train.clone(), recipe.optimizer.clone())?;
        if let Some(new) = &changes.dir {
            dir = dir.branch(&from, &progress, new, replace)?;
        }
        dir.set_recipe(recipe.to_toml()?);
        dir.set_generation(bounds.to_json()?.into_bytes());
        let mut resumed = Self::new(trainer, dir, recipe, training, text, tokenizer, sample, progress.best);
        let documents = doubts_of_documents(&corpus, &resumed.recipe, &resumed.tokenizer);
        resumed.doubts.extend(doubt.into_iter().chain(documents).chain(corpus.skipped));
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
        best: Option<BestCheckpoint>,
    ) -> Self {
        let run = TrainingRun {
            trainer,
            dir,
            config: recipe.train.clone(),
            training,
            validation: corpus.validation.ids.clone(),
            validation_bytes: corpus.validation.predicted_bytes,
            best,
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

    /// Steps taken so far.
    pub fn step(&self) -> u64 {
        self.run.trainer.step_count()
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
    Ok(RunDir::check_free(dir, existing == ExistingRun::Replace)?)
}

/// What to say where a run that goes on has another learning rate at its next step than it would have had.
fn doubt_of_schedule(stored: &Recipe, recipe: &Recipe, step: u64) -> Option<String> {
    let rate = |recipe: &Recipe| learning_rate(step + 1, recipe.train.steps, &recipe.optimizer);
    let (old, new) = (rate(stored), rate(recipe));
    let is_by_length = stored.optimizer == recipe.optimizer && old != new;
    is_by_length.then(|| {
        format!(
            "with train.steps = {} in place of {} the decay ends later, so the learning rate of step {} is {new:.3e} and not {old:.3e}; optimizer.decay_steps = {1} keeps the schedule",
            recipe.train.steps,
            stored.train.steps,
            step + 1
        )
    })
}
