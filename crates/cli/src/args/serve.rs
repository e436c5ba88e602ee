//! The arguments of `tril serve`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use tril::ChatFormat;

use super::values::{at_least_one, whole};
use super::{ComputeArgs, DraftArgs, WeightsArgs};

#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Directories of runs (their best checkpoints) or of checkpoints; clients call each by the last part of its path
    #[arg(value_name = "CHECKPOINT", required = true)]
    pub checkpoints: Vec<PathBuf>,
    /// The name or address to listen at; one that other machines can reach asks for --api-key-file
    #[arg(long, value_name = "HOST", default_value = "127.0.0.1")]
    pub host: String,
    /// The port to listen at; 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = 8080, value_parser = whole::<u16>(0..=65_535))]
    pub port: u16,
    /// Open the server's page in a browser
    #[arg(long)]
    pub open: bool,
    /// Where a checkpoint has no chat template, the template for each line of a user, as of `tril chat`
    #[arg(long, value_name = "TEMPLATE", default_value = "{}", value_parser = ChatFormat::parse, allow_hyphen_values = true)]
    pub format: ChatFormat,
    /// A file whose first line is the key that requests must bring, as Authorization: Bearer KEY
    #[arg(long, value_name = "FILE")]
    pub api_key_file: Option<PathBuf>,
    /// Take requests whose header Host has this name too; may be repeated
    #[arg(long, value_name = "NAME")]
    pub allow_host: Vec<String>,
    /// Let web pages of this origin, such as https://example.org, read answers; may be repeated; * is all
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    #[command(flatten)]
    pub weights: WeightsArgs,
    #[command(flatten)]
    pub compute: ComputeArgs,
    #[command(flatten)]
    pub draft: DraftArgs,
    #[command(flatten)]
    pub limits: LimitArgs,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// How many texts of a model to make at a time; this changes the speed and no text
    #[arg(long, value_name = "N", default_value = "16", value_parser = at_least_one)]
    pub max_batch: NonZeroUsize,
    /// How many requests of a model may wait; others are told to come back (429)
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = whole::<usize>(0..=100_000))]
    pub queue: usize,
    /// Tokens of a prompt
    #[arg(long, value_name = "N", default_value = "65536", value_parser = at_least_one)]
    pub max_prompt: NonZeroUsize,
    /// Seconds that a request may take, unless it asks for a stream without end
    #[arg(long, value_name = "S", default_value_t = 600, value_parser = whole::<u64>(1..=1_000_000))]
    pub max_time: u64,
    /// MiB of a request's body
    #[arg(long, value_name = "MIB", default_value_t = 4, value_parser = whole::<usize>(1..=1024))]
    pub max_body: usize,
    /// MiB of keys and values to keep of earlier texts of a model, so that what a prompt shares with one is not computed again;
    /// this changes the speed and no text
    #[arg(long, value_name = "MIB", default_value_t = 256, value_parser = whole::<u32>(0..=1_000_000))]
    pub prefix_cache: u32,
}
