//! The sizes at which the experiments show what they are to show, on two cores and in some minutes.

use tril::Recipe;
use tril_model::{GptConfig, MlpKind, NormKind, Positions};
use tril_train::{Decay, OptimizerConfig, OptimizerKind, TrainConfig};

use crate::{Experiment, Format, TaskKind};

impl TaskKind {
    /// Model, batches and optimizer.
    pub fn recipe(self) -> Recipe {
        let (n_layers, d_model) = match self {
            Self::Parity => (1, 64),
            Self::Sums => (2, 96),
        };
        Recipe {
            model: GptConfig {
                n_layers,
                n_heads: 4,
                d_model,
                positions: Positions::Learned,
                norm: NormKind::Rms,
                mlp: MlpKind::Relu2,
                qk_norm: true,
                ..GptConfig::default()
            },
            train: TrainConfig { batch_size: 64, micro_batches: 4, ..TrainConfig::default() },
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
        let (formats, tokens) = match kind {
            TaskKind::Parity => (vec![Format::Direct, Format::Filler, Format::Worked], 1_000_000),
            TaskKind::Sums => (vec![Format::Direct, Format::Filler, Format::Reversed, Format::Worked], 2_000_000),
        };
        let seeds = vec![1337, 1338, 1339];
        Self { kind, formats, seeds, tokens, recipe: kind.recipe(), scorings: 8, held_out: 200, held_out_before: 50 }
    }

    /// The same in less than a minute: fewer tokens, one seed.
    pub fn quick(kind: TaskKind) -> Self {
        let full = Self::new(kind);
        let tokens = full.tokens / 2;
        Self { seeds: vec![1337], tokens, held_out: 100, scorings: 4, ..full }
    }
}
