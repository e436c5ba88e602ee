//! `tril data`: what is known of texts.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{DocumentArgs, values};

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// List the corpora that are known by name
    List(ListArgs),
    /// Download a corpus, or what is missing of it
    Fetch(FetchArgs),
    /// Count what a text is made of, and propose how to train on it
    Stats(StatsArgs),
    /// List what is kept of large texts, or remove it
    Cache(CacheArgs),
}

#[derive(Debug, Args)]
pub struct CacheArgs {
    /// Remove what is kept of texts; it is made anew when it is needed
    #[arg(long)]
    pub clear: bool,
    /// Remove the corpora that were fetched too
    #[arg(long, requires = "clear")]
    pub corpora: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct ListArgs {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct FetchArgs {
    /// The names of corpora, which `tril data list` lists
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,
    /// How long a source may keep silent before it is asked again
    #[arg(long, value_name = "S", default_value_t = 30.0, value_parser = values::seconds)]
    pub timeout: f64,
}

#[derive(Debug, Args)]
pub struct StatsArgs {
    /// A text file, a directory of them, - for standard input, or the name of a corpus
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
