//! `tril import`, `export` and `info`: models of other tools.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use tril::{DataType, ExportFormat};

use super::whole;

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// A Hugging Face directory or a GGUF file
    #[arg(value_name = "DIR|FILE")]
    pub from: PathBuf,
    /// The directory of the new checkpoint
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// Keep a context of at most N tokens, to bound the cache; of a model with rotary positions
    #[arg(long, value_name = "N", value_parser = whole::<u32>(1..=u64::from(u32::MAX)))]
    pub max_seq_len: Option<u32>,
    /// Replace what an earlier import or export has written there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct ExportArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint
    #[arg(value_name = "CHECKPOINT")]
    pub checkpoint: PathBuf,
    /// A directory for hf and llama2c, a file for gguf
    #[arg(value_name = "OUT")]
    pub out: PathBuf,
    /// The tool to write it for: hf is transformers, gguf is llama.cpp
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: FormatArg,
    /// How numbers are stored; hf has no q8_0, llama2c has f32 alone
    #[arg(long, value_name = "TYPE", value_enum, default_value_t = TypeArg::F32)]
    pub dtype: TypeArg,
    /// Let an exact GELU become the tanh approximation that llama.cpp computes
    #[arg(long)]
    pub approximate_gelu: bool,
    /// Replace what an earlier import or export has written there
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct InfoArgs {
    /// The directory of a run (its best checkpoint) or of a checkpoint, a Hugging Face directory or a GGUF file
    #[arg(value_name = "CHECKPOINT|DIR|FILE")]
    pub checkpoint: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// What a model is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FormatArg {
    /// A directory for transformers
    Hf,
    /// A file for llama.cpp
    Gguf,
    /// A directory for run.c of llama2.c
    Llama2c,
}

impl From<FormatArg> for ExportFormat {
    fn from(format: FormatArg) -> Self {
        match format {
            FormatArg::Hf => Self::Hf,
            FormatArg::Gguf => Self::Gguf,
            FormatArg::Llama2c => Self::Llama2c,
        }
    }
}

/// How numbers are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum TypeArg {
    #[value(name = "f32")]
    F32,
    #[value(name = "f16")]
    F16,
    #[value(name = "bf16")]
    Bf16,
    #[value(name = "q8_0")]
    Q8,
}

impl From<TypeArg> for DataType {
    fn from(data_type: TypeArg) -> Self {
        match data_type {
            TypeArg::F32 => Self::F32,
            TypeArg::F16 => Self::F16,
            TypeArg::Bf16 => Self::Bf16,
            TypeArg::Q8 => Self::Q8_0,
        }
    }
}
