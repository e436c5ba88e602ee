//! The arguments of `tril eval`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tril::HeldOutPart;

use super::{ComputeArgs, DocumentArgs, WeightsArgs};

#[derive(Debug, Args)]
pub struct EvalArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// A text file, or a directory of them, each a document; - reads standard input; or the name of a corpus
    #[arg(value_name = "FILE|DIR|NAME", required_unless_present = "split")]
    pub file: Option<PathBuf>,
    /// Measure a part of the run's own text that it was not trained on, cut as its recipe says; FILE is needed only if the
    /// text has moved
    #[arg(long, value_name = "PART", conflicts_with_all = ["field", "separator", "glob"])]
    pub split: Option<SplitPart>,
    #[command(flatten)]
    pub documents: DocumentArgs,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub weights: WeightsArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// Parts of a text that are not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SplitPart {
    /// What the loss was measured on while training
    Validation,
    /// What training never read: the last data.test_fraction of the text
    Test,
}

impl SplitPart {
    /// What it is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::Test => "test",
        }
    }
}

impl From<SplitPart> for HeldOutPart {
    fn from(part: SplitPart) -> Self {
        match part {
            SplitPart::Validation => Self::Validation,
            SplitPart::Test => Self::Test,
        }
    }
}
