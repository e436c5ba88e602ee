//! `tril verify`: whether a receipt says how its checkpoint would have made these texts, as a table or as JSON.

mod table;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;
use tril_prove::Tolerance;
use tril_prove::{Verification, verify};
use tril_text::{StopTexts, TextStream, Tokenizer};

use crate::args::VerifyArgs;
use crate::open;
use crate::receipt::{Continued, EndedBy, Machine, Receipt, Sample};
use crate::sample::prompt_ids;
use crate::shown::quoted;

/// Share of the largest logit by which logits may differ from one machine to another.
const TOLERANCE: f64 = 1e-3;

/// Everything that is printed.
#[derive(Serialize)]
struct Finding {
    checkpoint: PathBuf,
    device: String,
    receipt: String,
    /// Nothing is wrong.
    pass: bool,
    /// What the samples were made on, and what they are checked on.
    made_on: Machine,
    checked_on: Machine,
    demand: Tolerance,
    /// What is wrong with all samples, so that no token was looked at.
    fault: Option<String>,
    samples: Vec<Checked>,
}

/// A sample, and what was found.
#[derive(Serialize)]
struct Checked {
    /// Which of the receipt's prompts it continues, from 0.
    prompt: usize,
    sample_index: u64,
    tokens: usize,
    finish: EndedBy,
    pass: bool,
    /// What is wrong with the text, and not with the ids.
    text: Option<String>,
    #[serde(flatten)]
    verification: Verification,
}

pub fn run(args: &VerifyArgs) -> Result<ExitCode> {
    let receipt = Receipt::read(&args.receipt)?;
    let (device, device_name) = open::device(&args.compute)?;
    let open::Checkpoint { gpt, tokenizer, path } = open::checkpoint(&args.checkpoint, &device)?;
    let begin = Instant::now();
    let checked_on = Machine::this(&device, &device_name);
    let demand = match checked_on.computes_as(&receipt.machine) {
        true => Tolerance::EqualBits,
        false => Tolerance::Within(TOLERANCE),
    };
    let is_stdin = args.receipt == Path::new("-");
    let name = if is_stdin { "standard input".to_owned() } else { args.receipt.display().to_string() };
    let fault = fault_of_all(&receipt, &path, &tokenizer)?;
    let mut samples = Vec::new();
    if fault.is_none() {
        let stops = StopTexts::new(&receipt.stop_texts).with_context(|| name.clone())?;
        for (prompt, continued, sample) in receipt.samples() {
            let transcript = continued.transcript(sample);
            let verification = verify(&gpt, &transcript, demand).with_context(|| name.clone())?;
            let text = fault_of_text(sample, &stops, &tokenizer);
            let pass = verification.passes() && text.is_none();
            let (tokens, &Sample { sample_index, finish, .. }) = (sample.tokens.len(), sample);
            samples.push(Checked { prompt, sample_index, tokens, finish, pass, text, verification });
        }
    }
    let pass = fault.is_none() && samples.iter().all(|sample| sample.pass);
    let finding = Finding {
        checkpoint: path,
        device: device_name,
        receipt: name,
        pass,
        made_on: receipt.machine.clone(),
        checked_on,
        demand,
        fault,
        samples,
    };
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string(&finding)?)?;
    } else {
        table::write(&finding, &receipt, &tokenizer, &mut out)?;
    }
    note!("[verified in {:.2} s]", begin.elapsed().as_secs_f64());
    Ok(if pass { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong with what all samples share.
fn fault_of_all(receipt: &Receipt, checkpoint: &Path, tokenizer: &Tokenizer) -> Result<Option<String>> {
    let found = tril_train::model_sha256(checkpoint)?;
    if found != receipt.model_sha256 {
        let (said, from) = (&receipt.model_sha256, &receipt.checkpoint);
        return Ok(Some(format!(
            "other weights: the receipt is of {from}, whose SHA-256 is {said}; the one here is {found}"
        )));
    }
    if receipt.samples().next().is_none() {
        return Ok(Some("there is no sample in it".to_owned()));
    }
    for Continued { prompt, .. } in &receipt.prompts {
        if prompt_ids(tokenizer, &prompt.text).ok() != Some(prompt.ids()) {
            let text = quoted(&prompt.text);
            return Ok(Some(format!("the prompt {text} does not give its tokens by this checkpoint's tokenizer")));
        }
    }
    let wrong = |(id, text): (u32, &String)| (*text != tokenizer.token_text(id)).then(|| (id, text.clone()));
    let prompts = receipt.prompts.iter().flat_map(|continued| &continued.prompt.tokens);
    let samples = receipt.samples().flat_map(|(_, _, sample)| sample.tokens.iter().chain(&sample.stop));
    let mut all = prompts.map(|token| (token.id, &token.text)).chain(samples.map(|token| (token.id, &token.text)));
    // A token that the vocabulary lacks is told with its place, by what checks the ids.
    let known = |id: u32| (id as usize) < tokenizer.vocab_size();
    Ok(all.find_map(|token| wrong(token).filter(|(id, _)| known(*id))).map(|(id, text)| {
        format!("token {id} is {:?} in this checkpoint's tokenizer, and not {text:?}", tokenizer.token_text(id))
    }))
}

/// What is wrong with a sample's text or with the stop text that is said to have ended it.
fn fault_of_text(sample: &Sample, stops: &StopTexts, tokenizer: &Tokenizer) -> Option<String> {
    let ids: Vec<u32> = sample.tokens.iter().map(|token| token.id).collect();
    // What the vocabulary lacks is found by the check of the ids.
    let text = tokenizer.decode(&ids).ok()?;
    if text != sample.text {
        return Some("its text is not that of its tokens".to_owned());
    }
    let (stop, at_end) =
        first_stop(&ids, stops, tokenizer)?.map_or((None, true), |(stop, left)| (Some(stop), left == 0));
    let said = sample.stop_text.as_deref();
    match (sample.finish, stop) {
        (EndedBy::StopText, stop) if stop != said => Some(format!(
            "it is said to have stopped at {:?}, which is not the stop text in it",
            said.unwrap_or_default()
        )),
        (EndedBy::StopText, None) => Some("it is said to have stopped at a stop text, and none is named".to_owned()),
        (EndedBy::StopText, Some(stop)) if !at_end => Some(format!("it goes on after its stop text {stop:?}")),
        (EndedBy::StopText, Some(_)) => None,
        (_, Some(stop)) => Some(format!("the stop text {stop:?} is in it, and it is not said to have stopped there")),
        (_, None) => said.map(|said| format!("it is said to have stopped at {said:?} and for another reason too")),
    }
}

/// The stop text that appears first, as in `tril sample`, and how many tokens come after it. None if the tokens have no
/// text.
fn first_stop<'a>(ids: &[u32], stops: &'a StopTexts, tokenizer: &Tokenizer) -> Option<Option<(&'a str, usize)>> {
    let (mut text, mut watch) = (TextStream::new(tokenizer), stops.watch());
    for (place, id) in ids.iter().enumerate() {
        let Some(piece) = text.push(*id).ok()? else { continue };
        if let Some(stop) = watch.push(&piece).stop {
            return Some(Some((stop, ids.len() - place - 1)));
        }
    }
    Some(watch.push(&text.finish().ok()?).stop.map(|stop| (stop, 0)))
}
