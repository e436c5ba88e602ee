//! One task in several formats: for each a model is trained from nothing on equally many tokens, and asked what it has
//! not seen. Model, loop, loss, seeds and tokens are the same; only the text differs.

mod asking;

use std::path::PathBuf;
use std::sync::Arc;

use burn::module::Module;
use serde::{Deserialize, Serialize};
use tril::{ComputeDevice, Recipe, Tokenizer};
use tril_model::{Gpt, GptConfig};
use tril_text::{TokenizerConfig, TokenizerKind};
use tril_train::{StepReport, Trainer, TrainingText};

use crate::{Format, KeptModels, LabError, LabModelInfo, Layout, Side, Task};
use asking::score_lengths;
pub use asking::{ask, is_right, request};

/// The loss of a run is the mean over this share of its steps, at the end: one batch alone varies too much.
const LAST_STEPS: u64 = 20;

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The kind of problems.
    pub kind: TaskKind,
    /// The formats, in the order in which they are reported.
    pub formats: Vec<Format>,
    /// Each names first weights, training problems and the hidden subset of a run; each format has one run for each.
    pub seeds: Vec<u64>,
    /// Tokens that each run learns from, rounded down to whole steps.
    pub tokens: u64,
    /// Model, batches and optimizer. Its number of steps follows from `tokens`, its vocabulary from the formats.
    pub recipe: Recipe,
    /// How often a run is scored, the last time at its end.
    pub scorings: u64,
    /// Held-out problems of each length at the end of a run.
    pub held_out: usize,
    /// The same before the end.
    pub held_out_before: usize,
}

/// A task, but for what a seed decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// See [`Task::Parity`].
    Parity,
    /// See [`Task::Sums`].
    Sums,
}

/// Sees an experiment as it goes.
pub trait LabObserver {
    /// A run begins.
    fn begin(&mut self, format: Format, seed: u64, steps: u64);
    /// It has taken a step.
    fn step(&mut self, report: &StepReport);
    /// It has been scored.
    fn scored(&mut self, score: &CurvePoint);
}

/// A model at the end of its run.
pub(crate) struct TrainedModel<'a> {
    pub info: &'a LabModelInfo,
    pub gpt: &'a Gpt,
    pub tokenizer: &'a Arc<Tokenizer>,
}

/// What came of an experiment.
#[derive(Debug, Clone, Serialize)]
pub struct LabReport {
    /// What was to be learnt.
    pub task: TaskKind,
    /// Tokens that each run learnt from.
    pub tokens: u64,
    /// Parameters of each model.
    pub parameters: usize,
    /// The recipe, as it was used.
    pub recipe: Recipe,
    /// A row for each format.
    pub formats: Vec<FormatReport>,
}

/// What came of one format.
#[derive(Debug, Clone, Serialize)]
pub struct FormatReport {
    /// Which.
    pub format: Format,
    /// A document in it.
    pub example: String,
    /// A run for each seed.
    pub runs: Vec<RunReport>,
}

/// One model.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// Its seed.
    pub seed: u64,
    /// Problems that it learnt from: in a format with longer texts they are fewer, where they stand one after another.
    pub problems: u64,
    /// Mean loss over the last twentieth of the steps, in nats a token.
    pub loss: f64,
    /// Held-out problems answered rightly at the end, by length.
    pub lengths: Vec<LengthScore>,
    /// Accuracy over the course of training.
    pub curve: Vec<CurvePoint>,
    /// Where it was saved.
    pub checkpoint: Option<PathBuf>,
}

/// Problems of one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct LengthScore {
    /// As [`Problem::length`](crate::Problem::length).
    pub length: usize,
    /// Answered rightly.
    pub correct: usize,
    /// Asked.
    pub asked: usize,
}

/// Accuracy after some training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct CurvePoint {
    /// Tokens learnt from.
    pub tokens: u64,
    /// Mean over the lengths of the share answered rightly.
    pub accuracy: f64,
}

impl TaskKind {
    /// The task that a seed has.
    pub fn task(self, seed: u64) -> Task {
        match self {
            Self::Parity => Task::parity(seed),
            Self::Sums => Task::Sums,
        }
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Parity => "parity",
            Self::Sums => "sums",
        }
    }
}

/// The vocabulary of formats that are compared: their characters, and end of text.
///
/// # Errors
/// [`LabError::Tril`], which a fixed vocabulary does not give.
pub fn tokenizer(formats: &[Format]) -> Result<Arc<Tokenizer>, LabError> {
    let config = TokenizerConfig { kind: TokenizerKind::Char, end_of_text: true, ..TokenizerConfig::default() };
    let longest = formats.iter().map(|format| format.alphabet()).max_by_key(|alphabet| alphabet.len());
    Ok(Arc::new(Tokenizer::build(&config, &[longest.unwrap_or_default()])?))
}

impl Experiment {
    /// Trains and scores all models, those of one seed one after another.
    ///
    /// - out: where each model is saved as a checkpoint
    ///
    /// # Errors
    /// [`LabError`] for settings that no run can have, and what ends a run.
    pub fn run(
        &self,
        out: Option<KeptModels<'_>>,
        device: &ComputeDevice,
        observer: &mut dyn LabObserver,
    ) -> Result<LabReport, LabError> {
        self.run_and_see(out, device, observer, &mut |_| Ok(()))
    }

    /// The same, and each model is seen once it has been scored.
    pub(crate) fn run_and_see(
        &self,
        out: Option<KeptModels<'_>>,
        device: &ComputeDevice,
        observer: &mut dyn LabObserver,
        see: &mut dyn FnMut(&TrainedModel<'_>) -> Result<(), LabError>,
    ) -> Result<LabReport, LabError> {
        let tokenizer = tokenizer(&self.formats)?;
        let recipe = self.resolved(&tokenizer)?;
        let info = |format: Format, seed: u64| LabModelInfo { task: self.kind.task(seed), format, seed };
        for (format, seed) in self.formats.iter().flat_map(|format| self.seeds.iter().map(move |seed| (*format, *seed)))
        {
            out.map_or(Ok(()), |out| out.check(&info(format, seed)))?;
        }
        let mut parameters = 0;
        let mut formats: Vec<FormatReport> = Vec::new();
        for format in &self.formats {
            let mut runs = Vec::new();
            for seed in &self.seeds {
                let info = info(*format, *seed);
                let (run, gpt) = self.run_one(&info, &recipe, &tokenizer, device, observer)?;
                parameters = gpt.num_params();
                see(&TrainedModel { info: &info, gpt: &gpt, tokenizer: &tokenizer })?;
                let checkpoint = match out {
                    Some(out) => Some(out.save(&info, &gpt, &tokenizer)?),
                    None => None,
                };
                runs.push(RunReport { checkpoint, ..run });
            }
            let task = self.kind.task(self.seeds[0]);
            let example = task.held_out(0, *task.lengths().last().unwrap_or(&1).min(&3), 1);
            formats.push(FormatReport {
                format: *format,
                example: example.first().map(|problem| format.document(problem)).unwrap_or_default(),
                runs,
            });
        }
        let tokens = recipe.train.steps * step_tokens(&recipe);
        Ok(LabReport { task: self.kind, tokens, parameters, recipe, formats })
    }

    /// The recipe with the vocabulary and the steps filled in.
    fn resolved(&self, tokenizer: &Tokenizer) -> Result<Recipe, LabError> {
        let mut recipe = self.recipe.clone();
        recipe.train.check()?;
        if self.kind != TaskKind::Sums && self.formats.contains(&Format::Mended) {
            return Err(LabError::Setting(
                "only the steps of sums can be mended: a parity has none to take back".into(),
            ));
        }
        let reversed = [Format::Reversed, Format::AnswerReversed];
        if self.kind != TaskKind::Sums && self.formats.iter().any(|format| reversed.contains(format)) {
            return Err(LabError::Setting("only the digits of sums can be reversed: a parity has one digit".into()));
        }
        if let Some((_, twice)) =
            self.formats.iter().enumerate().find(|(index, format)| self.formats[..*index].contains(format))
        {
            return Err(LabError::Setting(format!("the format {} is named twice: name it once", twice.name())));
        }
        recipe.train.steps = self.tokens / step_tokens(&recipe);
        if recipe.train.steps == 0 || self.seeds.is_empty() || self.formats.is_empty() {
            let least = step_tokens(&recipe);
            return Err(LabError::Setting(format!(
                "{} tokens, {} seeds, {} formats: a run has at least one step, of {least} tokens, and there is at least one",
                self.tokens,
                self.seeds.len(),
                self.formats.len()
            )));
        }
        recipe.model = GptConfig { vocab_size: tokenizer.vocab_size(), ..recipe.model }.resolve()?;
        recipe.check_memory()?;
        Ok(recipe)
    }

    /// Trains and scores one model.
    fn run_one(
        &self,
        info: &LabModelInfo,
        recipe: &Recipe,
        tokenizer: &Arc<Tokenizer>,
        device: &ComputeDevice,
        observer: &mut dyn LabObserver,
    ) -> Result<(RunReport, Gpt), LabError> {
        let (text, problems) = training_text(info, recipe, tokenizer)?;
        let gpt = Gpt::new(recipe.model.clone(), info.seed, device.inner())?;
        let train = tril_train::TrainConfig { seed: info.seed, ..recipe.train.clone() };
        let steps = train.steps;
        let mut trainer = Trainer::new(gpt, Default::default(), 0, train, recipe.optimizer.clone())?;
        observer.begin(info.format, info.seed, steps);
        let (mut curve, mut lengths, mut losses) = (Vec::new(), Vec::new(), Vec::new());
        for step in 1..=steps {
            let report = trainer.step(&text)?;
            observer.step(&report);
            if step + steps.div_ceil(LAST_STEPS) > steps {
                losses.push(report.loss);
            }
            // Evenly spaced, the last at the end.
            if step * self.scorings / steps > (step - 1) * self.scorings / steps {
                let count = if step == steps { self.held_out } else { self.held_out_before };
                lengths = score_lengths(&trainer.model(), tokenizer, info, count)?;
                let point = CurvePoint { tokens: step * step_tokens(recipe), accuracy: accuracy(&lengths) };
                observer.scored(&point);
                curve.push(point);
            }
        }
        let loss = losses.iter().sum::<f64>() / losses.len() as f64;
        Ok((RunReport { seed: info.seed, problems, loss, lengths, curve, checkpoint: None }, trainer.model()))
    }
}

/// Target tokens of a step.
fn step_tokens(recipe: &Recipe) -> u64 {
    (recipe.train.batch_size * recipe.train.seq_len) as u64
}

/// What a run learns from, and how many problems that is.
///
/// A row that is one document is filled up with ends of text to the length of the longest and one more.
fn training_text(info: &LabModelInfo, recipe: &Recipe, tokenizer: &Tokenizer) -> Result<(TrainingText, u64), LabError> {
    let (seq_len, rows) = (recipe.train.seq_len, recipe.train.steps * recipe.train.batch_size as u64);
    let (end, needed) = (tokenizer.end_of_text().unwrap_or_default(), (rows as usize + 1) * seq_len);
    let document = |number: u64| {
        let problem = info.task.problem(info.seed, Side::Training, number);
        tokenizer.encode(&info.format.document(&problem))
    };
    let mut ids = Vec::with_capacity(needed);
    let mut problems = 0;
    match info.task.layout() {
        Layout::Stream => {
            while ids.len() < needed {
                ids.push(end);
                ids.extend(document(problems)?);
                problems += 1;
            }
            ids.truncate(needed);
        }
        Layout::Rows => {
            // Windows begin at an offset that the seed names: the rows are put there.
            let blank = TrainingText::new(vec![end; needed], seq_len)?;
            let offset = blank.window_start(info.seed, 1, 0, 1) % seq_len;
            ids.resize(needed, end);
            for row in 0..rows {
                let document = document(row)?;
                let begin = offset + row as usize * seq_len;
                ids[begin..begin + document.len()].copy_from_slice(&document);
            }
            problems = rows;
        }
    }
    Ok((TrainingText::new(ids, seq_len)?, problems))
}

/// Mean over the lengths.
pub fn accuracy(lengths: &[LengthScore]) -> f64 {
    let shares = lengths.iter().filter(|score| score.asked > 0).map(LengthScore::accuracy);
    let (sum, count) = shares.fold((0.0, 0), |(sum, count), share| (sum + share, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

impl LengthScore {
    /// The share answered rightly.
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.asked as f64
    }
}
