//! Arguments of `tril sample`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tril_infer::Overflow;

use super::values::{self, whole};
use super::{ComputeArgs, DraftArgs, SamplingArgs, WeightsArgs};

/// What to do when the context is full.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OnOverflow {
    /// Drop the oldest half, recompute the rest, and say so
    Recompute,
    /// End the text there
    Stop,
}

impl From<OnOverflow> for Overflow {
    fn from(on_overflow: OnOverflow) -> Self {
        match on_overflow {
            OnOverflow::Recompute => Self::Recompute,
            OnOverflow::Stop => Self::Stop,
        }
    }
}

#[derive(Debug, Args)]
pub struct SampleArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// Text to continue, as with --prompt
    #[arg(value_name = "PROMPT", value_parser = tril::unescape, conflicts_with_all = ["prompt", "prompt_file", "prompts"])]
    pub text: Option<String>,
    /// Text to continue; - reads it from standard input. In all texts of a command line \n is a newline, \t a tab and \\ a
    /// backslash
    #[arg(short, long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true, conflicts_with = "prompt_file")]
    pub prompt: Option<String>,
    /// A file with the text to continue
    #[arg(long, value_name = "FILE")]
    pub prompt_file: Option<PathBuf>,
    /// A file with one prompt per line, continued as one batch; of a .jsonl file, one JSON object per line; - reads
    /// standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "prompt_file"])]
    pub prompts: Option<PathBuf>,
    /// Print one JSON object per line. --prompts may be such lines too: {"prompt": "There was"}, with an id, seed, sample,
    /// max_tokens, temperature or any other sampling setting of its own
    #[arg(long)]
    pub jsonl: bool,
    /// How many texts to generate at a time; this changes the speed and nothing else
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = whole::<u16>(1..=65_535))]
    pub batch_size: u16,
    /// Generate at most this many tokens; inf goes on until Ctrl-C
    #[arg(short = 'n', long, value_name = "N|inf", default_value = "500", value_parser = values::max_tokens)]
    pub max_tokens: usize,
    /// Go on past the end of a text: the token that ends one is a token like others
    #[arg(long)]
    pub ignore_eos: bool,
    /// What to do when the context is full; with rotary positions and a window it never is
    #[arg(long, value_name = "WHAT", default_value = "recompute")]
    pub on_overflow: OnOverflow,
    /// Stop where TEXT appears after the prompt, and leave it out; may be repeated
    #[arg(long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true)]
    pub stop: Vec<String>,
    /// Hide everything from START to END; it is still generated and counted; may be repeated
    #[arg(long, num_args = 2, value_names = ["START", "END"], value_parser = tril::unescape, allow_hyphen_values = true)]
    pub hide: Vec<String>,
    /// How many samples
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u64>(1..=u64::MAX))]
    pub num_samples: u64,
    /// Index of the first sample to make: --sample-index 2 is the third of --num-samples 3
    #[arg(long, value_name = "I", default_value_t = 0, value_parser = whole::<u64>(0..=u64::MAX))]
    pub sample_index: u64,
    /// Recompute the whole context at every step instead of caching keys and values
    #[arg(long)]
    pub no_cache: bool,
    /// Print how each token is made instead of the text: context, forward pass, probabilities, draw, the text so far
    #[arg(long, conflicts_with_all = ["jsonl", "hide"])]
    pub trace: bool,
    /// Write a JSON file that records how each token was made, for `tril verify`; an existing file is replaced
    #[arg(long, value_name = "FILE")]
    pub receipt: Option<PathBuf>,
    #[command(flatten)]
    pub weights: WeightsArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub draft: DraftArgs,
    #[command(flatten)]
    pub sampling: SamplingArgs,
}
