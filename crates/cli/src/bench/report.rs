//! What `tril bench` prints: a few lines, or one JSON object on one line.

use std::io::Write;

use serde::Serialize;
use tril::WeightFormat;
use tril_prove::bench::{BenchLimit, BenchRate, BenchReport};

use crate::open;
use crate::quantity::grouped;

/// Everything that is printed.
#[derive(Debug, Serialize)]
pub struct BenchOutput {
    /// A preset's name or a recipe's path.
    pub of: String,
    pub device: String,
    pub threads: usize,
    /// What weights were rounded to.
    pub weights: WeightFormat,
    #[serde(flatten)]
    pub report: BenchReport,
}

impl BenchOutput {
    /// The lines for people.
    pub fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Self { of, device, weights, report, .. } = self;
        let BenchReport { params, n_layers, d_model, vocab_size, batch_size, seq_len, repetitions, .. } = report;
        let (label, tok_s, repeated) = match report.rate {
            BenchRate::Train(rate) => {
                let pieces = match report.micro_batches {
                    None | Some(1) => String::new(),
                    Some(pieces) => format!(" in {pieces} pieces"),
                };
                ("training", rate, format!("steps of {batch_size} × {seq_len} tokens{pieces}"))
            }
            BenchRate::Decode(rate) if *batch_size == 1 => ("decoding", rate, format!("texts of {seq_len} tokens")),
            BenchRate::Decode(rate) => ("decoding", rate, format!("batches of {batch_size} texts of {seq_len} tokens")),
            BenchRate::Prefill(rate) => ("prefill", rate, format!("prompts of {seq_len} tokens")),
        };
        let million = *params as f64 / 1e6;
        writeln!(
            out,
            "{of}: {n_layers} layers, d {d_model}, {vocab_size} tokens, {million:.2} M parameters; {device}{}",
            open::rounded(*weights)
        )?;
        let [low, high] = report.middle_half_tok_s.map(grouped);
        writeln!(
            out,
            "{label:<12} {:>9} tokens/s  median of {repetitions} {repeated}; the middle half {low} to {high}",
            grouped(tok_s)
        )?;
        match report.limit {
            BenchLimit::Gemm { gflop_s, gemm_gflop_s, gemm_share } => {
                let percent = 100.0 * gemm_share;
                writeln!(
                    out,
                    "arithmetic   {gflop_s:>9.1} GFLOP/s   {percent:.0} % of the {gemm_gflop_s:.0} of a large matrix product"
                )?;
            }
            BenchLimit::Read { read_gb_s, memory_gb_s: Some(memory), memory_share: Some(share) } => {
                let percent = 100.0 * share;
                writeln!(
                    out,
                    "reading      {read_gb_s:>9.1} GB/s      {percent:.0} % of the {memory:.1} of memory (above 100 % where weights stay in the CPU's cache)"
                )?;
            }
            BenchLimit::Read { read_gb_s, .. } => writeln!(out, "reading      {read_gb_s:>9.1} GB/s")?,
        }
        match report.peak_memory_bytes {
            Some(bytes) => writeln!(out, "peak memory  {:>9.1} MiB", bytes as f64 / f64::from(1 << 20)),
            None => writeln!(out, "peak memory        n/a"),
        }
    }
}
