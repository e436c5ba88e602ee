//! Arguments of `tril train` for runs that begin from a model, and for what a run says of itself.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tril_train::{LoraConfig, MetricsFormat};

/// Where weights come from, and which of them are trained.
#[derive(Debug, Args)]
pub struct FineTuneArgs {
    /// Begin a new run from the weights and the tokenizer of a run (its best checkpoint), of a checkpoint or of a directory
    /// in Hugging Face layout
    #[arg(long, value_name = "CHECKPOINT", conflicts_with = "resume")]
    pub from: Option<PathBuf>,
    /// With --from: train factors of this rank, added to the matrices of blocks times ALPHA / RANK [default: ALPHA = RANK], and
    /// leave all else as it is (LoRA)
    #[arg(long, value_name = "RANK[,ALPHA]", value_parser = lora)]
    pub lora: Option<LoraConfig>,
}

impl FineTuneArgs {
    /// As fields of a recipe.
    pub fn fields(&self) -> Vec<String> {
        let fields =
            self.lora.map(|LoraConfig { rank, alpha }| [format!("lora.rank={rank}"), format!("lora.alpha={alpha}")]);
        fields.into_iter().flatten().collect()
    }
}

/// What a run says of itself beside `metrics.jsonl`.
#[derive(Debug, Args)]
pub struct TrainOutputArgs {
    /// Write the metrics in another form too, beside metrics.jsonl; may be repeated. A resumed run goes on with the files that
    /// are there
    #[arg(long, value_name = "FORMAT")]
    pub log: Vec<LogFormat>,
    /// Print the SHA-256 of what was trained at the end
    #[arg(short, long)]
    pub verbose: bool,
}

/// A form of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// metrics.csv, a table
    Csv,
    /// events.out.tfevents.tril, for TensorBoard
    Tensorboard,
}

impl From<LogFormat> for MetricsFormat {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Csv => Self::Csv,
            LogFormat::Tensorboard => Self::TensorBoard,
        }
    }
}

/// `8` or `8,16`.
fn lora(text: &str) -> Result<LoraConfig, String> {
    let wrong = || format!("`{text}` is no rank, such as 8, and no rank with its alpha, such as 8,16");
    let (rank, alpha) = text.split_once(',').map_or((text, None), |(rank, alpha)| (rank, Some(alpha)));
    let rank: usize = rank.trim().parse().map_err(|_| wrong())?;
    let alpha: Option<f64> = alpha.map(|alpha| alpha.trim().parse().map_err(|_| wrong())).transpose()?;
    let is_sound = rank > 0 && alpha.is_none_or(|alpha| alpha.is_finite() && alpha > 0.0);
    if is_sound {
        Ok(LoraConfig { rank, alpha: alpha.unwrap_or_default() })
    } else {
        Err(format!("{}, both above 0", wrong()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_comes_with_its_alpha_or_without() {
        assert_eq!(lora("8"), Ok(LoraConfig { rank: 8, alpha: 0.0 }));
        assert_eq!(lora("8, 0.5"), Ok(LoraConfig { rank: 8, alpha: 0.5 }));
        for text in ["", "0", "-1", "8,", "8,0", "8,-1", "8,nan", "8,inf", "8,16,2", "1.5", "eight"] {
            assert!(lora(text).expect_err(text).contains("rank"), "{text}");
        }
    }
}
