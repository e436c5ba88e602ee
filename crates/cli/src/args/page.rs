//! The command lines of `tril report` and `tril plot`.

use std::path::PathBuf;

use clap::Args;

use super::ComputeArgs;

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// The file to write; it opens in any browser and needs no network
    #[arg(value_name = "OUT.html")]
    pub out: PathBuf,
    /// A file with the text to look at; - reads standard input [default: the model writes one]
    #[arg(long, value_name = "FILE", conflicts_with = "prompt")]
    pub text: Option<PathBuf>,
    /// The text to look at
    #[arg(long, value_name = "TEXT", value_parser = tril::unescape, allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Draw the training of another run over that of the checkpoint; may be repeated
    #[arg(long, value_name = "RUN")]
    pub run: Vec<PathBuf>,
    /// A checkpoint that `tril lab sums --out DIR` or `tril lab parity --out DIR` saved, of the format worked: adds a chain
    /// of thought, shown and hidden
    #[arg(long, value_name = "CHECKPOINT")]
    pub working: Option<PathBuf>,
    #[command(flatten)]
    pub compute: ComputeArgs,
}

#[derive(Debug, Args)]
pub struct PlotArgs {
    /// Directories of runs, also of one that still goes on
    #[arg(value_name = "RUN", required = true)]
    pub runs: Vec<PathBuf>,
    /// Draw into a file instead: losses, learning rate, gradient norm, tokens a second
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
