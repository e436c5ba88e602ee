//! `tril prove`: what holds of a checkpoint whichever way it is asked, as a table or as JSON; and
//! whether a recipe ends in the bits it is known to end in.

mod closing;
mod recipe;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde::Serialize;
use tril::{Model, WeightFormat};
use tril_prove::{OwnText, ProofOutcome, ProofReport, ProveOptions, TextOrigin, prove};

use crate::args::ProveArgs;
use crate::output::{Form, UNDECIDED};
use crate::{open, runs};

/// Everything that is printed.
#[derive(Serialize)]
struct ProveOutput {
    checkpoint: PathBuf,
    device: String,
    threads: usize,
    /// What weights were rounded to.
    weights: WeightFormat,
    /// Where the text comes from.
    text: String,
    /// No proof failed, and none was left open.
    pass: bool,
    #[serde(flatten)]
    report: ProofReport,
}

pub fn run(args: &ProveArgs) -> Result<ExitCode> {
    let device = open::device(&args.compute)?;
    let checkpoint = match (&args.recipe, &args.checkpoint) {
        (Some(name), _) => return recipe::run(name, Form::of(args.json), &device),
        (None, Some(checkpoint)) => checkpoint,
        (None, None) => bail!("name a checkpoint, or a recipe with --recipe"),
    };
    let model = runs::rounded_model(checkpoint, args.weights.format(), &device)?;
    let begin = Instant::now();
    let (text, ids) = text(args, &model)?;
    let report =
        prove(&**model.gpt(), &ids, &ProveOptions::for_device(device.inner())).with_context(|| text.clone())?;
    let (failed, open) = (report.count(ProofOutcome::Fail) > 0, report.count(ProofOutcome::Open) > 0);
    let output = ProveOutput {
        checkpoint: model.path().to_owned(),
        device: device.to_string(),
        threads: rayon::current_num_threads(),
        weights: model.weights(),
        text,
        pass: !failed && !open,
        report,
    };
    Form::of(args.json).print(&output, table::write)?;
    note!("[proved in {:.1} s]", begin.elapsed().as_secs_f64());
    Ok(match (failed, open) {
        (true, _) => ExitCode::FAILURE,
        (false, true) => ExitCode::from(UNDECIDED),
        (false, false) => ExitCode::SUCCESS,
    })
}

/// The text to prove on: where it comes from, and its ids.
fn text(args: &ProveArgs, model: &Model) -> Result<(String, Vec<u32>)> {
    let (name, text) = match (&args.text, &args.prompt) {
        (Some(path), _) => (path.to_string_lossy().into_owned(), open::text(path)?),
        (None, Some(prompt)) => ("the prompt".to_owned(), prompt.clone()),
        (None, None) => {
            let text = OwnText::write(&**model.gpt(), &model.tokenizer().encode_prompt("")?)?;
            let name = match text.origin {
                TextOrigin::Model => "a text that the model wrote",
                TextOrigin::AllTokens => "every token in turn, because the model cannot generate",
            };
            return Ok((name.to_owned(), text.ids));
        }
    };
    let ids = model.tokenizer().encode(&text).map_err(|error| error.in_text(&name))?;
    Ok((name, ids))
}
