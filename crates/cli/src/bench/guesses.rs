//! `tril bench guesses`: what passes over more and fewer positions of a sequence take, as guesses are checked.

use std::io::Write;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tril::{ComputeDevice, WeightFormat};
use tril_prove::bench::{GuessReport, PassTime, bench_guesses};

use super::subject::Subject;
use crate::args::BenchOptions;
use crate::open;
use crate::output::Form;
use crate::quantity::counted;

/// Everything that is printed.
#[derive(Debug, Serialize)]
struct GuessOutput {
    of: String,
    device: String,
    threads: usize,
    weights: WeightFormat,
    #[serde(flatten)]
    report: GuessReport,
}

/// Measures on each number of threads in turn.
pub fn run(
    batch_size: usize,
    options: &BenchOptions,
    subject: &Subject,
    counts: &[usize],
    device: &ComputeDevice,
) -> Result<()> {
    if options.profile {
        bail!("--profile: passes over several positions are not taken apart; use bench decode --profile");
    }
    for threads in counts {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(*threads).build().context("--threads")?;
        let report = pool.install(|| bench_guesses(&subject.shape, batch_size, options.seconds, device.inner()))?;
        let output = GuessOutput {
            of: subject.name.clone(),
            device: device.to_string(),
            threads: *threads,
            weights: options.weights.format(),
            report,
        };
        Form::of(options.json).print(&output, GuessOutput::write)?;
    }
    Ok(())
}

impl GuessOutput {
    /// The lines for people.
    fn write(&self, out: &mut impl Write) -> std::io::Result<()> {
        let Self { of, device, threads, weights, report } = self;
        let GuessReport { params, batch_size, held, repetitions, assumed_cost, passes, .. } = report;
        let million = *params as f64 / 1e6;
        let sequences = counted(*batch_size, "sequence");
        writeln!(out, "{of}: {million:.2} M parameters; {device}{}", open::rounded(*weights))?;
        let threads = counted(*threads, "thread");
        writeln!(out, "{threads}, {sequences} of {held} tokens, median of {repetitions} passes each")?;
        writeln!(out, "\npositions  guesses       µs   one more costs")?;
        for PassTime { positions, seconds, cost } in passes {
            let cost = cost.map_or(String::new(), |cost| format!("{cost:.2} of a pass"));
            writeln!(out, "{positions:>9} {:>8} {:>8.1}   {cost}", positions - 1, seconds * 1e6)?;
        }
        writeln!(out, "\n--draft takes one more to cost {assumed_cost:.2} of a pass")
    }
}
