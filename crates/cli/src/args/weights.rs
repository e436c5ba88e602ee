//! What weights are rounded to, the same for every command that computes with a checkpoint.

use clap::{Args, ValueEnum};
use tril::WeightFormat;

#[derive(Debug, Clone, Copy, Args)]
pub struct WeightsArgs {
    /// What a weight of a block or of the head is rounded to. On the CPU a token of text is made by reading all of them once,
    /// so fewer bytes are faster
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t = Weights::F32)]
    pub weights: Weights,
}

/// Formats of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Weights {
    /// Four bytes, as they are
    F32,
    /// Two bytes: the upper half
    Bf16,
    /// A byte, times a scale for each 32
    Int8,
}

impl From<Weights> for WeightFormat {
    fn from(weights: Weights) -> Self {
        match weights {
            Weights::F32 => Self::F32,
            Weights::Bf16 => Self::Bf16,
            Weights::Int8 => Self::Int8,
        }
    }
}

impl WeightsArgs {
    /// What the command line asks for.
    pub fn format(self) -> WeightFormat {
        self.weights.into()
    }
}
