//! What `tril bench` prints: a few lines, or one JSON object on one line.

use std::io::Write;

use serde::Serialize;
use tril::WeightFormat;
use tril_prove::bench::{BenchLimit, BenchPart, BenchProfile, BenchRate, BenchReport};

use crate::open;
use crate::quantity::{counted, grouped};

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
            "{of}: {}, d {d_model}, {vocab_size} tokens, {million:.2} M parameters; {device}{}",
            counted(*n_layers, "layer"),
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
            Some(bytes) => writeln!(out, "peak memory  {:>9.1} MiB", bytes as f64 / f64::from(1 << 20))?,
            None => writeln!(out, "peak memory        n/a")?,
        }
        report.profile.as_ref().map_or(Ok(()), |profile| self.write_profile(profile, out))
    }

    /// Where the time of a step, of a token or of a prompt went.
    fn write_profile(&self, profile: &BenchProfile, out: &mut impl Write) -> std::io::Result<()> {
        let (unit, count) = match self.report.rate {
            BenchRate::Train(_) => ("a step", 1),
            BenchRate::Decode(_) => ("a token", self.report.seq_len),
            BenchRate::Prefill(_) => ("a prompt", 1),
        };
        let workers = counted(profile.workers, "worker");
        writeln!(out, "\n{:<30} {:>10} {:>12} {:>8}", format!("{unit}, {workers}"), "calls", "µs", "share")?;
        for BenchPart { name, calls, seconds, share } in &profile.parts {
            let each = 1.0 / count as f64;
            let (calls, time) = (calls * each, seconds * 1e6 * each);
            let calls = if *name == BenchProfile::REST { String::new() } else { format!("{calls:.1}") };
            writeln!(out, "{name:<30} {calls:>10} {time:>12.1} {:>6.1} %", 100.0 * share)?;
        }
        Ok(())
    }
}
