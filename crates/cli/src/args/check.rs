//! The command lines of `tril prove` and `tril verify`.

use std::path::PathBuf;

use clap::Args;

use super::values::{self, whole};
use super::{ComputeArgs, OnOverflow, SamplingArgs, WeightsArgs};

#[derive(Debug, Args)]
pub struct ProveArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT", required_unless_present = "recipe", conflicts_with = "recipe")]
    pub checkpoint: Option<PathBuf>,
    /// A file with the text to prove it on; - reads standard input; or the name of a corpus of one file [default: the model
    /// writes one]
    #[arg(long, value_name = "FILE|NAME", conflicts_with = "prompt")]
    pub text: Option<PathBuf>,
    /// The text to prove it on
    #[arg(long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Instead: train a shipped recipe, such as tales (a minute) or smoke (a second), and say whether this machine ends in
    /// the same bits as those that were tried before it; nothing is kept
    #[arg(long, value_name = "NAME", conflicts_with_all = ["text", "prompt", "weights"])]
    pub recipe: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub weights: WeightsArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

/// What a receipt says itself.
const OF_BARE_TEXTS: [&str; 20] = [
    "text",
    "ids",
    "prompt",
    "sample_index",
    "ignore_eos",
    "on_overflow",
    "weights",
    "repetition_penalty",
    "presence_penalty",
    "frequency_penalty",
    "penalty_last_n",
    "logit_bias",
    "ban",
    "ban_id",
    "temperature",
    "top_k",
    "typical_p",
    "top_p",
    "min_p",
    "seed",
];

#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// What `tril sample --receipt` wrote, or an answer of `tril serve` with a receipt in it; - reads standard input
    #[arg(value_name = "RECEIPT", required_unless_present_any = ["text", "ids"], conflicts_with_all = OF_BARE_TEXTS)]
    pub receipt: Option<PathBuf>,
    /// Instead of a receipt: a text as `tril sample` prints it, prompt and all; - reads standard input
    #[arg(long, value_name = "FILE", conflicts_with = "ids")]
    pub text: Option<PathBuf>,
    /// Instead of a receipt: the ids of the new tokens, a list in JSON or with blanks between them; - reads standard input
    #[arg(long, value_name = "FILE")]
    pub ids: Option<PathBuf>,
    /// Allow logits to differ by this share of the largest, as between two devices; the CPU gives the same bits again
    #[arg(long, value_name = "SHARE", value_parser = values::share_of_logits)]
    pub tolerance: Option<f64>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub bare: BareArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
}

/// How a text without a receipt is said to have been made; sampling settings beside.
#[derive(Debug, Args)]
#[command(next_help_heading = "With --text or --ids: how it is said to have been made")]
pub struct BareArgs {
    /// What was continued [default: where a document begins]
    #[arg(short, long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Which of the seed's samples it is
    #[arg(long, value_name = "I", default_value_t = 0, value_parser = whole::<u64>(0..=u64::MAX))]
    pub sample_index: u64,
    /// It went on past the end of a text
    #[arg(long)]
    pub ignore_eos: bool,
    /// What was done when the context was full
    #[arg(long, value_name = "WHAT", default_value = "recompute")]
    pub on_overflow: OnOverflow,
    #[command(flatten)]
    pub weights: WeightsArgs,
}
