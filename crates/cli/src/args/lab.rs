//! The command line of `tril lab`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use tril_lab::Format;

use super::ComputeArgs;
use super::values::whole;

#[derive(Debug, Subcommand)]
pub enum LabCommand {
    /// Train models to add, with the working written out, without it, with dots in its place, and backwards
    Sums(TrainLabArgs),
    /// Train models to find the parity of a hidden subset of bits, with the working, without it, and with dots
    Parity(TrainLabArgs),
    /// Take one row of training apart into the problems that it holds, and compute them both ways
    Batch(BatchLabArgs),
    /// Change the working of a model that `lab sums` or `lab parity` saved, and see what becomes of its answer
    Probe(ProbeLabArgs),
    /// Show where each head looks, or train a model without the mask
    Mask(MaskLabArgs),
    /// Measure how far back each head looks and how sharply, and find an induction head
    Routes(RoutesLabArgs),
    /// Train models to add with and without mistakes that are taken back, and see which of them mends one
    Wait(WaitLabArgs),
}

/// What stands between a question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    /// Nothing
    Direct,
    /// As many dots as the working has characters
    Filler,
    /// Nothing, and the lowest digit of each number comes first
    Reversed,
    /// Nothing, and the lowest digit of the answer alone comes first; not compared unless it is named
    AnswerReversed,
    /// The working
    Worked,
}

impl From<FormatName> for Format {
    fn from(name: FormatName) -> Self {
        match name {
            FormatName::Direct => Self::Direct,
            FormatName::Filler => Self::Filler,
            FormatName::Reversed => Self::Reversed,
            FormatName::AnswerReversed => Self::AnswerReversed,
            FormatName::Worked => Self::Worked,
        }
    }
}

#[derive(Debug, Args)]
pub struct TrainLabArgs {
    /// Fewer tokens, one seed: a first impression in about a minute
    #[arg(long)]
    pub quick: bool,
    /// Formats to compare [default: direct, filler, worked, and for sums reversed]
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub formats: Vec<FormatName>,
    /// Runs of each format, with the seeds 1337, 1338 and so on [default: 3]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=100))]
    pub seeds: Option<u16>,
    /// Tokens that each run learns from, the same for all formats
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=1_000_000_000))]
    pub tokens: Option<u64>,
    /// Set a field of the recipe, such as model.n_layers=3; may be repeated
    #[arg(long, value_name = "SECTION.FIELD=VALUE")]
    pub set: Vec<String>,
    /// Keep the models: each becomes a checkpoint in this directory, such as sums-worked-1337
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace what an earlier experiment has left there of the same name
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Draw the accuracies
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub struct WaitLabArgs {
    /// Fewer tokens, one seed: a first impression in about a minute
    #[arg(long)]
    pub quick: bool,
    /// Runs of each of the two, with the seeds 1337, 1338 and so on [default: 3]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=100))]
    pub seeds: Option<u16>,
    /// Tokens that each run learns from
    #[arg(long, value_name = "N", value_parser = whole::<u64>(1..=1_000_000_000))]
    pub tokens: Option<u64>,
    /// Held-out problems of each length that a model is asked, in each of five ways
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = whole::<u16>(1..=10_000))]
    pub problems: u16,
    /// Set a field of the recipe, such as model.n_layers=3; may be repeated
    #[arg(long, value_name = "SECTION.FIELD=VALUE")]
    pub set: Vec<String>,
    /// Keep the models: each becomes a checkpoint in this directory, such as sums-mended-1337
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Replace what an earlier experiment has left there of the same name
    #[arg(long, requires = "out")]
    pub force: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub struct BatchLabArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// The row's text; an end of text stands before it and after it, where the vocabulary has one
    #[arg(value_name = "TEXT", default_value = "I love coding", value_parser = tril::unescape)]
    pub text: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub struct ProbeLabArgs {
    /// A checkpoint that `tril lab sums --out DIR` or `tril lab parity --out DIR` saved, of the format worked or filler
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// A problem of its task, such as 487+275, or 20 bits
    #[arg(value_name = "PROBLEM")]
    pub problem: String,
    /// Held-out problems of each length on which wrong workings are counted
    #[arg(long, value_name = "N", default_value_t = 40, value_parser = whole::<u16>(1..=10_000))]
    pub problems: u16,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub struct MaskLabArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT", required_unless_present = "remove", conflicts_with_all = ["remove", "steps"])]
    pub checkpoint: Option<PathBuf>,
    /// The text on which heads are shown
    #[arg(long, value_name = "TEXT", default_value = "Once there was a cat. Once there was", value_parser = tril::unescape)]
    #[arg(allow_hyphen_values = true, conflicts_with = "remove")]
    pub text: String,
    /// Train two small models on the embedded stories, one with the mask and one without, and let both write
    #[arg(long)]
    pub remove: bool,
    /// Steps that each of the two is trained
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = whole::<u64>(1..=1_000_000))]
    pub steps: u64,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub struct RoutesLabArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT", required_unless_present = "train", conflicts_with_all = ["train", "steps"])]
    pub checkpoint: Option<PathBuf>,
    /// Train a model of two layers on random letters that come again, and look at that
    #[arg(long)]
    pub train: bool,
    /// Steps that it is trained
    #[arg(long, value_name = "N", default_value_t = 1500, value_parser = whole::<u64>(1..=1_000_000))]
    pub steps: u64,
    /// The text on which heads are measured [default: one that the model writes]
    #[arg(long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true)]
    pub text: Option<String>,
    /// The phrase that is said twice
    #[arg(long, value_name = "TEXT", default_value = "backgrounds", value_parser = tril::unescape)]
    #[arg(allow_hyphen_values = true)]
    pub phrase: String,
    /// Draw entropy by position and weight by distance
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub compute: ComputeArgs,
}
