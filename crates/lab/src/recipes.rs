//! The sizes at which the experiments show what they are to show, on two cores and in some minutes.

use tril::Recipe;
use tril_model::{GptConfig, MlpKind, NormKind, Positions};
use tril_train::{Decay, OptimizerConfig, OptimizerKind, TrainConfig};

use crate::{Experiment, Format, PARITY_BITS, PARITY_SUBSET, TaskKind};

/// What both have.
fn base() -> GptConfig {
    GptConfig { n_heads: 4, norm: NormKind::Rms, mlp: MlpKind::Relu2, qk_norm: true, ..GptConfig::default() }
}

impl TaskKind {
    /// Model, batches and optimizer.
    pub fn recipe(self) -> Recipe {
        let (model, train) = match self {
            Self::Parity => (
                GptConfig { max_seq_len: 40, n_layers: 1, d_model: 64, positions: Positions::Learned, ..base() },
                // A row is a document: 20 bits, `=[`, six partial parities, `]`, the answer and an end of text.
                TrainConfig { batch_size: 64, seq_len: PARITY_BITS + PARITY_SUBSET + 5, ..TrainConfig::default() },
            ),
            Self::Sums => (
                GptConfig {
                    max_seq_len: 128,
                    n_layers: 2,
                    d_model: 96,
                    positions: Positions::Rotary,
                    // Near places are told apart more sharply than with Llama's base.
                    rope_theta: 100.0,
                    ..base()
                },
                // Of so few tokens, larger batches would make too few steps.
                TrainConfig { batch_size: 8, seq_len: 128, ..TrainConfig::default() },
            ),
        };
        Recipe {
            model,
            train: TrainConfig { micro_batches: 4, ..train },
            optimizer: OptimizerConfig {
                kind: OptimizerKind::Muon,
                learning_rate: 5e-3,
                min_learning_rate: 0.0,
                muon_learning_rate: 0.02,
                warmup_steps: 20,
                decay: Decay::Linear,
                weight_decay: 0.0,
                ..OptimizerConfig::default()
            },
            ..Recipe::default()
        }
    }
}

impl Experiment {
    /// The experiment at its full size.
    pub fn new(kind: TaskKind) -> Self {
        let formats = match kind {
            TaskKind::Parity => vec![Format::Direct, Format::Filler, Format::Worked],
            TaskKind::Sums => vec![Format::Direct, Format::Filler, Format::Reversed, Format::Worked],
        };
        let (seeds, tokens) = (vec![1337, 1338, 1339], 1_000_000);
        Self { kind, formats, seeds, tokens, recipe: kind.recipe(), scorings: 6, held_out: 100, held_out_before: 30 }
    }

    /// The same in less than a minute: fewer tokens, one seed.
    pub fn quick(kind: TaskKind) -> Self {
        let full = Self::new(kind);
        let tokens = match kind {
            TaskKind::Parity => 500_000,
            TaskKind::Sums => 800_000,
        };
        Self { seeds: vec![1337], tokens, held_out: 50, scorings: 3, ..full }
    }
}

/// How a model of two layers is trained in some minutes to show one thing: batches of 16 rows, Muon for its matrices.
pub(crate) fn short_training(steps: u64, seq_len: usize) -> (TrainConfig, OptimizerConfig) {
    let train = TrainConfig { steps, batch_size: 16, seq_len, micro_batches: 4, ..TrainConfig::default() };
    let optimizer = OptimizerConfig {
        kind: OptimizerKind::Muon,
        learning_rate: 5e-3,
        min_learning_rate: 0.0,
        warmup_steps: 10,
        decay: Decay::Linear,
        weight_decay: 0.0,
        ..OptimizerConfig::default()
    };
    (train, optimizer)
}
