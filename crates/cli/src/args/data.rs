//! `tril data`: what is known of texts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::DocumentArgs;

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Count what a text is made of, and propose how to train on it
    Stats(StatsArgs),
}

#[derive(Debug, Args)]
pub struct StatsArgs {
    /// A text file, a directory of them, - for standard input, or the name of an embedded corpus (tales)
    #[arg(value_name = "FILE|DIR|NAME")]
    pub source: String,
    #[command(flatten)]
    pub documents: DocumentArgs,
    /// Count the tokens of this one too: a tokenizer.json, or the directory of a run or of a checkpoint
    #[arg(long, value_name = "FILE|DIR")]
    pub tokenizer: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}
