//! The `[train]`, `[optimizer]` and `[lora]` sections of a recipe.

use serde::{Deserialize, Serialize};
use tril_model::memory::{KeptActivations, KeptWeights};

use crate::TrainError;

/// The most tokens that an evaluation is limited to; beyond that it is all of them or fewer.
pub const MAX_EVAL_TOKENS: usize = 4_000_000;

/// How long to train, on what batches, and how often to look up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Optimizer steps; 0 saves the model as it begins.
    pub steps: u64,
    /// Rows of the effective batch: windows of text that one step learns from.
    pub batch_size: usize,
    /// Tokens that a row predicts.
    pub seq_len: usize,
    /// Pieces that the batch is computed in, as many at a time as there are cores; a divisor of `batch_size`. The
    /// gradient is the same within rounding, whatever the number: each parameter's within 5e-6 of its largest element
    /// (`tests/learning.rs`). It does not depend on the number of cores at all.
    pub micro_batches: usize,
    /// Probability of dropping an activation, in [0, 1).
    pub dropout: f64,
    /// Names all random draws of the run.
    pub seed: u64,
    /// Steps between evaluations on the validation text; the last step is always evaluated.
    pub eval_interval: u64,
    /// So many tokens of the validation text are measured, from its beginning; 0 for all of them. At most
    /// [`MAX_EVAL_TOKENS`].
    pub eval_tokens: usize,
    /// Tokens of the windows that these are measured in, each of which starts with an empty context; 0 takes `seq_len`.
    pub eval_seq_len: usize,
    /// Steps between checkpoints; the last step always makes one, and so does every new best.
    pub checkpoint_interval: u64,
    /// Evaluations without a new best after which the run ends before its last step; 0 never ends it so.
    pub patience: u64,
    /// How much of the average of weights each step keeps, in [0, 1); it is the average that is measured, saved and sampled.
    /// 0 has none, and the weights themselves are.
    pub ema_decay: f64,
    /// Whether the activations of one block alone are kept for the backward pass, which computes each block again: less
    /// memory for about a third more time, and on the CPU the same bits.
    pub gradient_checkpointing: bool,
    /// Steps whose losses and gradient norms are read at once from a device that is not the CPU: each reading waits for all
    /// that the device has been asked for. None is left out; on the CPU they cost nothing, and are there at each step.
    pub fetch_interval: u64,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            steps: 2000,
            batch_size: 12,
            seq_len: 64,
            micro_batches: 1,
            dropout: 0.0,
            seed: 1337,
            eval_interval: 250,
            eval_tokens: 1_000_000,
            eval_seq_len: 0,
            checkpoint_interval: 500,
            patience: 0,
            ema_decay: 0.0,
            gradient_checkpointing: false,
            fetch_interval: 10,
        }
    }
}

/// Low-rank factors, which are trained in place of the matrices of blocks, beside frozen parameters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Columns of A and rows of B; 0 has no factors, and trains all parameters.
    pub rank: usize,
    /// A·B enters times alpha / rank; 0 is the rank, and so a factor of 1 (arXiv:2106.09685 sets alpha to the first rank that
    /// is tried, and tunes the learning rate instead).
    pub alpha: f64,
}

impl LoraConfig {
    /// Whether there are factors.
    pub fn is_used(&self) -> bool {
        self.rank > 0
    }

    /// What A·B is multiplied by.
    pub fn scale(&self) -> f64 {
        if self.alpha == 0.0 { 1.0 } else { self.alpha / self.rank as f64 }
    }

    /// # Errors
    /// [`TrainError::Config`] names the field, its value and what it could be.
    pub fn check(&self) -> Result<(), TrainError> {
        within("lora.alpha", self.alpha, 0.0..f64::INFINITY)?;
        if self.rank == 0 && self.alpha != 0.0 {
            return Err(TrainError::Config(format!(
                "lora.alpha = {} without a lora.rank, so there are no factors to scale: set both, or neither",
                self.alpha
            )));
        }
        Ok(())
    }
}

/// What turns gradients into steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OptimizerKind {
    /// AdamW for all parameters.
    Adamw,
    /// Muon for the matrices of blocks; AdamW for embeddings, the head, gains and biases.
    Muon,
}

/// The way from the highest learning rate to the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decay {
    /// Half a cosine.
    Cosine,
    /// A straight line.
    Linear,
}

/// The optimizer and the course of its learning rates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimizerConfig {
    /// Which parameters AdamW trains, and which Muon.
    pub kind: OptimizerKind,
    /// AdamW's highest learning rate, reached at the end of the warm-up.
    pub learning_rate: f64,
    /// The lowest, reached at `decay_steps` and kept from there.
    pub min_learning_rate: f64,
    /// Muon's highest learning rate: the root-mean-square change of an element is about this over √(the matrix's longer
    /// side). It rises and falls in proportion to AdamW's.
    #[serde(alias = "matrix_learning_rate")]
    pub muon_learning_rate: f64,
    /// Steps of linear warm-up.
    pub warmup_steps: u64,
    /// The way from the highest rate to the lowest.
    pub decay: Decay,
    /// The last step at the highest rate; 0 is the end of the warm-up. Where the decay would end before, there is none.
    pub decay_start: u64,
    /// The step at which the decay reaches its floor; 0 is the last step.
    pub decay_steps: u64,
    /// Muon: how much of the running mean of gradients is kept from step to step.
    pub momentum: f64,
    /// Muon: the same before the first step, from where it rises in a straight line.
    pub momentum_start: f64,
    /// Muon: steps until `momentum` is reached.
    pub momentum_warmup_steps: u64,
    /// Decay of the running mean of gradients.
    pub beta1: f64,
    /// Decay of the running mean of squared gradients.
    pub beta2: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
    /// Decoupled weight decay, on matrices only (embeddings included; gains and biases not).
    pub weight_decay: f64,
    /// Gradients are scaled down to this norm over all parameters together, before either optimizer sees them; 0 never
    /// scales. Muon's steps have the same size whatever the scale, so there it only weighs a step's gradient in the mean.
    pub max_grad_norm: f64,
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::Adamw,
            learning_rate: 1e-3,
            min_learning_rate: 1e-4,
            muon_learning_rate: 0.02,
            warmup_steps: 100,
            decay: Decay::Cosine,
            decay_start: 0,
            decay_steps: 0,
            momentum: 0.95,
            momentum_start: 0.85,
            momentum_warmup_steps: 200,
            beta1: 0.9,
            beta2: 0.99,
            eps: 1e-8,
            weight_decay: 0.1,
            max_grad_norm: 1.0,
        }
    }
}

impl TrainConfig {
    /// How many tokens of a validation text of `tokens` are read to be measured: the first predicts and is not predicted.
    pub fn evaluated(&self, tokens: usize) -> usize {
        if self.eval_tokens == 0 { tokens } else { tokens.min(self.eval_tokens + 1) }
    }

    /// Tokens of the windows that a loss is measured in.
    pub fn measured_seq_len(&self) -> usize {
        if self.eval_seq_len == 0 { self.seq_len } else { self.eval_seq_len }
    }

    /// Rows that are measured at a time, so that they hold about as many tokens as a training batch.
    pub fn measured_rows(&self) -> usize {
        (self.batch_size * self.seq_len).div_ceil(self.measured_seq_len()).min(self.batch_size)
    }

    /// Whether an average of weights takes the place of the weights that are trained.
    pub fn averages_weights(&self) -> bool {
        self.ema_decay > 0.0
    }

    /// Which copies of weights are kept.
    pub fn kept_weights(&self) -> KeptWeights {
        if self.averages_weights() { KeptWeights::WithAverage } else { KeptWeights::Trained }
    }

    /// What a pass keeps for its backward pass.
    pub fn kept_activations(&self) -> KeptActivations {
        if self.gradient_checkpointing { KeptActivations::OfOneBlock } else { KeptActivations::All }
    }

    /// # Errors
    /// [`TrainError::Config`] names the field, its value and what it could be.
    pub fn check(&self) -> Result<(), TrainError> {
        let positive = [
            ("batch_size", self.batch_size as u64),
            ("seq_len", self.seq_len as u64),
            ("micro_batches", self.micro_batches as u64),
            ("eval_interval", self.eval_interval),
            ("checkpoint_interval", self.checkpoint_interval),
            ("fetch_interval", self.fetch_interval),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(TrainError::Config(format!("train.{name} = 0: it must be at least 1")));
        }
        if self.eval_tokens > MAX_EVAL_TOKENS {
            return Err(TrainError::Config(format!(
                "train.eval_tokens = {}: it must be at most {MAX_EVAL_TOKENS}, or 0 for the whole validation text",
                self.eval_tokens
            )));
        }
        if !self.batch_size.is_multiple_of(self.micro_batches) {
            return Err(TrainError::Config(format!(
                "train.micro_batches = {} does not divide train.batch_size = {}",
                self.micro_batches, self.batch_size
            )));
        }
        within("train.dropout", self.dropout, 0.0..1.0)?;
        within("train.ema_decay", self.ema_decay, 0.0..1.0)
    }
}

impl OptimizerConfig {
    /// # Errors
    /// [`TrainError::Config`] names the field, its value and what it could be.
    pub fn check(&self) -> Result<(), TrainError> {
        within("optimizer.learning_rate", self.learning_rate, 0.0..f64::INFINITY)?;
        within("optimizer.min_learning_rate", self.min_learning_rate, 0.0..f64::INFINITY)?;
        if self.min_learning_rate > self.learning_rate {
            return Err(TrainError::Config(format!(
                "optimizer.min_learning_rate = {} is above optimizer.learning_rate = {}: the rate decays from the second to the first",
                self.min_learning_rate, self.learning_rate
            )));
        }
        within("optimizer.muon_learning_rate", self.muon_learning_rate, 0.0..f64::INFINITY)?;
        if self.decay_start != 0 && self.decay_start < self.warmup_steps {
            return Err(TrainError::Config(format!(
                "optimizer.decay_start = {} is before the warm-up's end, optimizer.warmup_steps = {}: raise the first or lower the second",
                self.decay_start, self.warmup_steps
            )));
        }
        if self.decay_steps != 0 && self.decay_steps <= self.decay_start.max(self.warmup_steps) {
            return Err(TrainError::Config(format!(
                "optimizer.decay_steps = {} is not after optimizer.decay_start = {} and optimizer.warmup_steps = {}, so the rate would never come down: raise the first, or set it to 0 for the run's last step",
                self.decay_steps, self.decay_start, self.warmup_steps
            )));
        }
        within("optimizer.momentum", self.momentum, 0.0..1.0)?;
        within("optimizer.momentum_start", self.momentum_start, 0.0..1.0)?;
        within("optimizer.beta1", self.beta1, 0.0..1.0)?;
        within("optimizer.beta2", self.beta2, 0.0..1.0)?;
        within("optimizer.eps", self.eps, f64::MIN_POSITIVE..f64::INFINITY)?;
        within("optimizer.weight_decay", self.weight_decay, 0.0..f64::INFINITY)?;
        within("optimizer.max_grad_norm", self.max_grad_norm, 0.0..f64::INFINITY)
    }
}

fn within(name: &str, value: f64, range: std::ops::Range<f64>) -> Result<(), TrainError> {
    if range.contains(&value) {
        return Ok(());
    }
    let bounds = match (range.start, range.end) {
        (0.0, f64::INFINITY) => "0 or a positive number".to_owned(),
        (_, f64::INFINITY) => "a positive number".to_owned(),
        (start, end) => format!("at least {start} and less than {end}"),
    };
    Err(TrainError::Config(format!("{name} = {value}: it must be {bounds}")))
}
