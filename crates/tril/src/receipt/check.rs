//! Whether a receipt says how its checkpoint would have made these texts.

use serde::Serialize;
use tril_infer::{FinishReason, InferError};
use tril_model::WeightFormat;
use tril_prove::{Tolerance, Verdict, Verification, verify};
use tril_text::{StopTexts, TextStream, Tokenizer};

use super::{Machine, Receipt, ReceiptPrompt, ReceiptSample, ReceiptSettings};
use crate::{ComputeDevice, Error, Model};

/// What a check of a receipt found.
#[derive(Debug, Clone, Serialize)]
pub struct ReceiptCheck {
    /// The worst verdict on a sample.
    pub verdict: Verdict,
    /// What the samples were made on, as the receipt states it; nothing shows that.
    pub made_on: Machine,
    /// What they were checked on.
    pub checked_on: Machine,
    /// What the weights were rounded to, as the receipt says, and were for the check.
    pub weights: WeightFormat,
    /// How far what the receipt says may be from what was computed.
    pub tolerance: Tolerance,
    /// What is wrong with all samples, so that no token was looked at.
    pub fault: Option<String>,
    /// In the order of [`Receipt::samples`].
    pub samples: Vec<SampleCheck>,
}

/// What a check of one sample found.
#[derive(Debug, Clone, Serialize)]
pub struct SampleCheck {
    /// Which of the receipt's prompts it continues, from 0.
    pub prompt: usize,
    /// Which of the seed's samples it is.
    pub sample_index: u64,
    /// How many tokens it has.
    pub tokens: usize,
    /// Why it is said to have ended.
    pub finish: FinishReason,
    /// What the check of it comes to.
    pub verdict: Verdict,
    /// What is wrong with the text, and not with the ids.
    pub text: Option<String>,
    /// What was found about the ids.
    #[serde(flatten)]
    pub verification: Verification,
}

impl Receipt {
    /// Checks every token: that it is what the checkpoint, the settings and its draw give, with the weights rounded as the
    /// receipt says: a model that was not rounded is for the check.
    ///
    /// - tolerance: how far numbers may be apart, for whoever checks to decide: the CPU gives the same bits again, other
    ///   devices do not
    ///
    /// # Errors
    /// [`Error`] for settings that no sampler can have, for a device that fails, and [`Error::Rounded`] for a model that was
    /// rounded otherwise. A receipt that does not hold is no
    /// error; the result says so.
    pub fn check(&self, model: &Model, device: &ComputeDevice, tolerance: Tolerance) -> Result<ReceiptCheck, Error> {
        let model = &model.clone().with_weights(self.weights)?;
        let (checked_on, weights) = (Machine::of(device), self.weights);
        let vocab_size = model.config().vocab_size;
        for ReceiptSettings { sampler, stop_token, .. } in self.prompts.iter().map(|continued| &continued.settings) {
            sampler.check(vocab_size)?;
            if let Some(id) = stop_token.filter(|id| *id as usize >= vocab_size) {
                let allowed = format!("a token of this model: an id from 0 to {}", vocab_size - 1);
                return Err(InferError::Setting { field: "stop_token", value: id.to_string(), allowed }.into());
            }
        }
        let fault = self.fault_of_all(model)?;
        let mut samples = Vec::new();
        if fault.is_none() {
            let stops = StopTexts::new(&self.stop_texts)?;
            for (prompt, continued, sample) in self.samples() {
                let verification = verify(model.gpt(), &continued.transcript(sample), tolerance)?;
                let text = fault_of_text(sample, &continued.prompt.ids(), &stops, model.tokenizer());
                let verdict = if text.is_some() { Verdict::Fail } else { verification.verdict() };
                let (tokens, &ReceiptSample { sample_index, finish, .. }) = (sample.tokens.len(), sample);
                samples.push(SampleCheck { prompt, sample_index, tokens, finish, verdict, text, verification });
            }
        }
        let worst = samples.iter().map(|sample| sample.verdict).max();
        let verdict = if fault.is_some() { Verdict::Fail } else { worst.unwrap_or(Verdict::Fail) };
        let made_on = self.machine.clone();
        Ok(ReceiptCheck { verdict, made_on, checked_on, weights, tolerance, fault, samples })
    }

    /// What is wrong with what all samples share.
    fn fault_of_all(&self, model: &Model) -> Result<Option<String>, Error> {
        let tokenizer = model.tokenizer();
        let found = tril_train::model_sha256(model.path())?;
        if found != self.model_sha256 {
            let (said, from) = (&self.model_sha256, &self.checkpoint);
            return Ok(Some(format!(
                "different weights: the receipt names {from} with SHA-256 {said}; this checkpoint has {found}"
            )));
        }
        if self.samples().next().is_none() {
            return Ok(Some("there is no sample in it".to_owned()));
        }
        for ReceiptPrompt { prompt, settings, .. } in &self.prompts {
            if let Some(id) = settings.stop_token.filter(|id| Some(*id) != tokenizer.end_of_text()) {
                let text = tokenizer.token_text(id);
                return Ok(Some(format!(
                    "it ends texts at token {id}, {text:?}, which ends no text of this checkpoint"
                )));
            }
            if !prompt.is_sound(tokenizer) {
                let text = &prompt.text;
                return Ok(Some(format!(
                    "the prompt {text:?} does not encode to its tokens with this checkpoint's tokenizer"
                )));
            }
        }
        let wrong = |(id, text): (u32, &String)| (*text != tokenizer.token_text(id)).then(|| (id, text.clone()));
        let prompts = self.prompts.iter().flat_map(|continued| &continued.prompt.tokens);
        let samples = self.samples().flat_map(|(_, _, sample)| sample.tokens.iter().chain(&sample.stop));
        let mut all = prompts.map(|token| (token.id, &token.text)).chain(samples.map(|token| (token.id, &token.text)));
        // A token that the vocabulary lacks is told with its place, by what checks the ids.
        let known = |id: u32| (id as usize) < tokenizer.vocab_size();
        Ok(all.find_map(|token| wrong(token).filter(|(id, _)| known(*id))).map(|(id, text)| {
            format!("token {id} is {:?} in this checkpoint's tokenizer, not {text:?}", tokenizer.token_text(id))
        }))
    }
}

/// What is wrong with a sample's text or with the stop text that is said to have ended it.
fn fault_of_text(sample: &ReceiptSample, before: &[u32], stops: &StopTexts, tokenizer: &Tokenizer) -> Option<String> {
    let ids: Vec<u32> = sample.tokens.iter().map(|token| token.id).collect();
    // What the vocabulary lacks is found by the check of the ids.
    let text = tokenizer.decode_after(before, &ids).ok()?;
    if text != sample.text {
        return Some("its text does not match its tokens".to_owned());
    }
    let (stop, at_end) =
        first_stop(before, &ids, stops, tokenizer)?.map_or((None, true), |(stop, left)| (Some(stop), left == 0));
    let (stop, said) = (stop.as_deref(), sample.stop_text.as_deref());
    match (sample.finish, stop) {
        (FinishReason::StopText, stop) if stop != said => Some(format!(
            "it is recorded as stopped at {:?}, which is not the stop text in it",
            said.unwrap_or_default()
        )),
        (FinishReason::StopText, None) => Some("it is recorded as stopped at a stop text, but names none".to_owned()),
        (FinishReason::StopText, Some(stop)) if !at_end => Some(format!("it continues after its stop text {stop:?}")),
        (FinishReason::StopText, Some(_)) => None,
        (_, Some(stop)) => Some(format!("it contains the stop text {stop:?}, but is not recorded as stopped there")),
        (_, None) => said.map(|said| format!("it is recorded as stopped at {said:?} and for another reason too")),
    }
}

/// The stop text that appears first, as where texts are generated, and how many tokens come after it. None if the tokens
/// have no text.
fn first_stop(
    before: &[u32],
    ids: &[u32],
    stops: &StopTexts,
    tokenizer: &Tokenizer,
) -> Option<Option<(String, usize)>> {
    let (mut text, mut watch) = (TextStream::after(tokenizer, before).ok()?, stops.watch());
    for (place, id) in ids.iter().enumerate() {
        let Some(piece) = text.push(*id).ok()? else { continue };
        if let Some(stop) = watch.push(&piece).stop {
            return Some(Some((stop, ids.len() - place - 1)));
        }
    }
    Some(watch.push(&text.finish().ok()?).stop.map(|stop| (stop, 0)))
}
