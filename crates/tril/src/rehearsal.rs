//! What a run would be, before there is one: its sizes, and how long its steps take here.

use std::time::Instant;

use burn::module::Module;
use tril_data::{TextEvent, TextSource};
use tril_train::TrainConfig;

use crate::beginning::Beginning;
use crate::{ComputeDevice, Error, Recipe};

/// Steps before time is measured: the first ones find memory.
const WARM_UP: usize = 2;
/// Seconds after which no further step is begun.
const SECONDS: f64 = 2.0;
/// A forward pass over a token takes this part of a training step's time for it: the backward pass is twice the work.
const EVALUATION: f64 = 1.0 / 3.0;

/// What is known of a run that has not begun. Nothing was written for it.
#[derive(Debug, Clone)]
pub struct Rehearsal {
    /// The recipe, with every field as it would be used.
    pub recipe: Recipe,
    /// What the text is called.
    pub text: String,
    /// Tokens to train on.
    pub train_tokens: usize,
    /// Tokens to validate on.
    pub validation_tokens: usize,
    /// Numbers that the model is made of.
    pub params: usize,
    /// Numbers that would be learnt: as many, or those of low-rank factors.
    pub trained_params: usize,
    /// The least memory that a step takes, in bytes.
    pub memory_bytes: u64,
    /// How often all steps go over the training text.
    pub passes: f64,
    /// Seconds that a step takes, the mean of some.
    pub seconds_per_step: f64,
    /// About how many seconds the run would take, evaluations included.
    pub seconds: f64,
    /// As [`crate::Training::doubts`].
    pub doubts: Vec<String>,
}

impl Rehearsal {
    /// Prepares a run and takes some steps of it, for two seconds or so.
    ///
    /// # Errors
    /// As [`crate::Training::begin`], but for a directory: there is none.
    pub fn of(recipe: Recipe, device: &ComputeDevice) -> Result<Self, Error> {
        Self::watched(recipe, device, &mut |_| ())
    }

    /// As [`Rehearsal::of`]; `watch` is told how far a large text is read.
    ///
    /// # Errors
    /// As [`Rehearsal::of`].
    pub fn watched(recipe: Recipe, device: &ComputeDevice, watch: &mut dyn FnMut(TextEvent)) -> Result<Self, Error> {
        recipe.train.check()?;
        recipe.optimizer.check()?;
        let source = recipe.data.open_source(watch)?;
        Self::of_beginning(Beginning::of(&source, recipe, device, watch)?, &source)
    }

    pub(crate) fn of_beginning(mut beginning: Beginning, source: &TextSource) -> Result<Self, Error> {
        let doubts = beginning.doubts(source);
        let params = beginning.trainer.model().num_params();
        let trained_params = beginning.trainer.num_trained();
        let seconds_per_step = time_steps(&mut beginning)?;
        let Beginning { recipe, text, .. } = beginning;
        let TrainConfig { steps, batch_size, seq_len, eval_interval, .. } = recipe.train;
        let (train_tokens, validation_tokens) = (text.train.ids.len(), text.validation.ids.len());
        let evaluated = recipe.train.evaluated(validation_tokens);
        let per_step = (batch_size * seq_len) as f64;
        let evaluations = steps.div_ceil(eval_interval) as f64;
        let of_evaluation = EVALUATION * seconds_per_step / per_step * evaluated as f64;
        let bytes = recipe.training_bytes();
        Ok(Self {
            text: text.name,
            train_tokens,
            validation_tokens,
            params,
            trained_params,
            memory_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
            passes: steps as f64 * per_step / train_tokens as f64,
            seconds_per_step,
            seconds: steps as f64 * seconds_per_step + evaluations * of_evaluation,
            doubts,
            recipe,
        })
    }
}

/// Seconds that a step takes, the mean of as many as fit.
fn time_steps(beginning: &mut Beginning) -> Result<f64, Error> {
    let Beginning { trainer, training, .. } = beginning;
    for _ in 0..WARM_UP {
        trainer.step(training)?;
    }
    let (begin, mut steps) = (Instant::now(), 0u32);
    loop {
        trainer.step(training)?;
        steps += 1;
        let seconds = begin.elapsed().as_secs_f64();
        if seconds >= SECONDS {
            return Ok(seconds / f64::from(steps));
        }
    }
}
