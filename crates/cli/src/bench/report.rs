//! What `tril bench` prints: a few lines, or one JSON object on one line.

use std::io::Write;

use serde::Serialize;

use super::subject::Subject;
use crate::quantity::grouped;

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub struct Report {
    /// A preset's name or a recipe's path.
    pub of: String,
    pub device: String,
    pub threads: usize,
    /// Numbers that are learnt.
    pub params: usize,
    pub n_layers: usize,
    pub d_model: usize,
    pub vocab_size: usize,
    /// Rows that go together.
    pub batch_size: usize,
    /// Pieces that these are computed in; training only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub micro_batches: Option<usize>,
    /// Tokens of a row.
    pub seq_len: usize,
    #[serde(flatten)]
    pub rate: Rate,
    /// The rates, in tokens a second, that the middle half of the repetitions lie between.
    pub middle_half_tok_s: [f64; 2],
    /// Repetitions that count.
    pub repetitions: usize,
    #[serde(flatten)]
    pub limit: Limit,
    /// The most memory that the process held, in bytes; null where the system does not tell.
    pub peak_memory_bytes: Option<u64>,
}

/// Tokens a second, the median of all repetitions.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum Rate {
    #[serde(rename = "train_tok_s")]
    Train(f64),
    #[serde(rename = "decode_tok_s")]
    Decode(f64),
    #[serde(rename = "prefill_tok_s")]
    Prefill(f64),
}

/// What holds the rate down in the end, and how near it is.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(untagged)]
pub enum Limit {
    /// Arithmetic, in 10⁹ operations a second: the model's, and a large matrix product's.
    Gemm { gflop_s: f64, gemm_gflop_s: f64, gemm_share: f64 },
    /// Reading, in 10⁹ bytes a second: weights and cache, and plain memory; null where that was not measured. The share
    /// is above 1 where weights stay in the processor's cache.
    Read { read_gb_s: f64, memory_gb_s: Option<f64>, memory_share: Option<f64> },
}

impl Limit {
    /// From operations a second.
    pub fn gemm(used: f64, machine: f64) -> Self {
        Self::Gemm { gflop_s: used / 1e9, gemm_gflop_s: machine / 1e9, gemm_share: used / machine }
    }

    /// From bytes a second.
    pub fn read(used: f64, machine: Option<f64>) -> Self {
        let share = machine.map(|machine| used / machine);
        Self::Read { read_gb_s: used / 1e9, memory_gb_s: machine.map(|machine| machine / 1e9), memory_share: share }
    }
}

impl Report {
    /// The lines for people.
    pub fn write(&self, subject: &Subject, out: &mut impl Write) -> std::io::Result<()> {
        let Self { of, device, params, n_layers, d_model, vocab_size, batch_size, seq_len, repetitions, .. } = self;
        let (label, tok_s, repeated) = match self.rate {
            Rate::Train(rate) => {
                let pieces = match subject.train.micro_batches {
                    1 => String::new(),
                    pieces => format!(" in {pieces} pieces"),
                };
                ("training", rate, format!("steps of {batch_size} × {seq_len} tokens{pieces}"))
            }
            Rate::Decode(rate) if *batch_size == 1 => ("decoding", rate, format!("texts of {seq_len} tokens")),
            Rate::Decode(rate) => ("decoding", rate, format!("batches of {batch_size} texts of {seq_len} tokens")),
            Rate::Prefill(rate) => ("prefill", rate, format!("prompts of {seq_len} tokens")),
        };
        let million = *params as f64 / 1e6;
        writeln!(
            out,
            "{of}: {n_layers} layers, d {d_model}, {vocab_size} tokens, {million:.2} M parameters; {device}"
        )?;
        let [low, high] = self.middle_half_tok_s.map(grouped);
        writeln!(
            out,
            "{label:<12} {:>9} tokens/s  median of {repetitions} {repeated}; the middle half {low} to {high}",
            grouped(tok_s)
        )?;
        match self.limit {
            Limit::Gemm { gflop_s, gemm_gflop_s, gemm_share } => {
                let percent = 100.0 * gemm_share;
                writeln!(
                    out,
                    "arithmetic   {gflop_s:>9.1} GFLOP/s   {percent:.0} % of the {gemm_gflop_s:.0} of a large matrix product"
                )?;
            }
            Limit::Read { read_gb_s, memory_gb_s: Some(memory), memory_share: Some(share) } => {
                let percent = 100.0 * share;
                writeln!(
                    out,
                    "reading      {read_gb_s:>9.1} GB/s      {percent:.0} % of the {memory:.1} of memory (above 100 % where weights stay in the CPU's cache)"
                )?;
            }
            Limit::Read { read_gb_s, .. } => writeln!(out, "reading      {read_gb_s:>9.1} GB/s")?,
        }
        match self.peak_memory_bytes {
            Some(bytes) => writeln!(out, "peak memory  {:>9.1} MiB", bytes as f64 / f64::from(1 << 20)),
            None => writeln!(out, "peak memory        n/a"),
        }
    }
}
