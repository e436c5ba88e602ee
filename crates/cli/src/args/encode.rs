//! `tril bench encode`: how fast a text becomes tokens.

use std::path::PathBuf;

use clap::Args;

use super::values::{seconds, whole};

#[derive(Debug, Args)]
pub struct EncodeBenchArgs {
    /// A text file, or the name of a corpus of one file
    #[arg(value_name = "FILE|NAME")]
    pub text: PathBuf,
    /// A tokenizer.json, or the directory of a run or of a checkpoint
    #[arg(value_name = "TOKENIZER")]
    pub tokenizer: PathBuf,
    /// How many seconds to measure, after once to warm up
    #[arg(long, value_name = "S", default_value_t = 5.0, value_parser = seconds)]
    pub seconds: f64,
    /// CPU threads [default: one per core]
    #[arg(long, value_name = "N", value_parser = whole::<u16>(1..=65_535))]
    pub threads: Option<u16>,
    /// Print one JSON object on one line
    #[arg(long)]
    pub json: bool,
}
