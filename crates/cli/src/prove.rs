//! `tril prove`: what holds of a checkpoint whichever way it is asked, as a table or as JSON.

mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use tril_infer::{GenerateOptions, Generator, InferError};
use tril_model::Gpt;
use tril_prove::{ProofOutcome, ProofReport, ProveOptions, prove};
use tril_text::Tokenizer;

use crate::args::ProveArgs;
use crate::open;
use crate::sample::prompt_ids;

/// Length of a text that the model writes itself: three windows or contexts, within these.
const OWN_TEXT: (usize, usize) = (96, 4096);

/// Everything that is printed.
#[derive(Serialize)]
struct Finding {
    checkpoint: PathBuf,
    device: String,
    threads: usize,
    /// Where the text comes from.
    text: String,
    /// No proof failed.
    pass: bool,
    #[serde(flatten)]
    report: ProofReport,
}

pub fn run(args: &ProveArgs) -> Result<ExitCode> {
    let (device, device_name) = open::device(&args.compute)?;
    let open::Checkpoint { gpt, tokenizer, path } = open::checkpoint(&args.checkpoint, &device)?;
    let begin = Instant::now();
    let (text, ids) = text(args, &gpt, &tokenizer)?;
    let report = prove(&gpt, &ids, &ProveOptions::for_device(&device)).with_context(|| text.clone())?;
    let failed = report.count(ProofOutcome::Fail) > 0;
    let finding = Finding {
        checkpoint: path,
        device: device_name,
        threads: rayon::current_num_threads(),
        text,
        pass: !failed,
        report,
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&finding)?)?;
    } else {
        table::write(&finding, &mut out)?;
    }
    note!("[proved in {:.1} s]", begin.elapsed().as_secs_f64());
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The text to prove on: where it comes from, and its ids.
fn text(args: &ProveArgs, gpt: &Gpt, tokenizer: &Tokenizer) -> Result<(String, Vec<u32>)> {
    let (name, text) = match (&args.text, &args.prompt) {
        (Some(path), _) => (path.to_string_lossy().into_owned(), open::text(path)?),
        (None, Some(prompt)) => ("the prompt".to_owned(), prompt.clone()),
        (None, None) => return own_text(gpt, tokenizer),
    };
    let ids = tokenizer.encode(&text).map_err(|error| error.in_text(&name))?;
    Ok((name, ids))
}

/// A text that the model writes itself, from where a document would begin. One that cannot write, because its logits
/// are no numbers, is given tokens in order of id instead; the proofs will say what is wrong with it.
fn own_text(gpt: &Gpt, tokenizer: &Tokenizer) -> Result<(String, Vec<u32>)> {
    let config = gpt.config();
    let length = (3 * config.window().unwrap_or(config.max_seq_len)).clamp(OWN_TEXT.0, OWN_TEXT.1);
    let mut ids = prompt_ids(tokenizer, "")?;
    let options = GenerateOptions { max_tokens: length.saturating_sub(ids.len()), ..GenerateOptions::default() };
    let written: Result<Vec<_>, InferError> = Generator::new(gpt, &ids, options)?.collect();
    match written {
        Ok(steps) => {
            ids.extend(steps.iter().map(|step| step.token));
            Ok(("a text that the model wrote".to_owned(), ids))
        }
        Err(InferError::BadLogits { .. }) => {
            let ids = (0..length).map(|index| (index % config.vocab_size) as u32).collect();
            Ok(("all tokens in turn, for the model cannot write".to_owned(), ids))
        }
        Err(error) => Err(error.into()),
    }
}
