//! `tril cost`: what each token costs without a cache, with it, and with its text entering in chunks, and that the tokens
//! are the same.

mod plot;
mod table;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use tril_infer::SamplerConfig;
use tril_model::{GptConfig, files};
use tril_prove::Tolerance;
use tril_prove::cost::{CostOptions, CostReport, cost};
use tril_prove::work::{attention_flops, pass_flops};

use crate::args::CostArgs;
use crate::output::Form;
use crate::shown;
use crate::{open, runs};

/// Most new tokens where none are asked for: without a cache their cost grows with the square of the number.
const MOST_TOKENS: usize = 1024;

/// Windows that a text goes over where its context has no end: enough to see that the cost does not grow any more.
const WINDOWS: usize = 4;

/// Times that a route is taken at most, and after how many seconds not once more.
const RUNS: (usize, f64) = (5, 2.0);

/// Everything that is printed.
#[derive(Serialize)]
struct CostOutput {
    checkpoint: String,
    device: String,
    threads: usize,
    seed: u64,
    /// Tokens that a query sees; null if all.
    window: Option<usize>,
    /// Operations of one position's matrix products, which do not depend on where it stands.
    matrix_flops: u64,
    #[serde(flatten)]
    report: CostReport,
}

pub fn run(args: &CostArgs) -> Result<ExitCode> {
    if let Some(svg) = &args.svg {
        open::check_output("--svg", svg)?;
    }
    let device = open::device(&args.compute)?;
    let model = runs::model(&args.checkpoint, &device)?;
    let prompt = model.tokenizer().encode_prompt(args.prompt.as_deref().unwrap_or_default());
    let prompt = prompt.map_err(|error| error.in_text("the prompt"))?;
    let (config, path) = (model.config(), model.path());
    let options = CostOptions {
        max_tokens: args.max_tokens.map_or_else(|| max_tokens(config, prompt.len()), usize::from),
        sampler: SamplerConfig { temperature: 1.0, seed: args.seed, ..SamplerConfig::default() },
        prefill_chunk: args.prefill_chunk,
        tolerance: Tolerance::of(device.inner()),
        runs: RUNS.0,
        seconds: RUNS.1,
    };
    let report = cost(&**model.gpt(), &prompt, &options).with_context(|| path.display().to_string())?;
    let output = CostOutput {
        checkpoint: path.display().to_string(),
        device: device.to_string(),
        threads: rayon::current_num_threads(),
        seed: args.seed,
        window: config.window(),
        matrix_flops: pass_flops(config, 0, 1, 1) - attention_flops(config, 0, 1),
        report,
    };
    if let Some(svg) = &args.svg {
        files::write_file(svg, plot::render(&output)?.as_bytes())?;
    }
    Form::of(args.json).print(&output, |output, out| {
        table::write(output, out)?;
        args.svg.as_ref().map_or(Ok(()), |svg| writeln!(out, "\nplot  {}", shown::path(svg)))
    })?;
    Ok(if output.report.agree { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// As many tokens as the context lets follow a prompt, or as go over some windows.
fn max_tokens(config: &GptConfig, prompt: usize) -> usize {
    let contexts = config.context_limit().unwrap_or(WINDOWS * config.window);
    (contexts + 1).saturating_sub(prompt).clamp(1, MOST_TOKENS)
}
