//! Writing a receipt down while texts are made.

use std::collections::{BTreeMap, HashMap};

use tril_infer::GeneratedToken;
use tril_model::ModelError;

use super::{
    Machine, PromptText, ROUNDED_VERSION, Receipt, ReceiptError, ReceiptPrompt, ReceiptSample, ReceiptSettings,
    VERSION, is_f32,
};
use crate::generate::{GenerateRequest, GeneratedText, TextEvent, TextEventKind};
use crate::{ComputeDevice, Error, Model};

/// Takes down what happens to texts while they are made.
#[derive(Debug, Default)]
pub struct ReceiptRecorder {
    /// By the number of the request.
    texts: BTreeMap<usize, Recorded>,
}

/// A text that is being taken down.
#[derive(Debug)]
struct Recorded {
    request: GenerateRequest,
    tokens: Vec<GeneratedToken>,
    finished: Option<GeneratedText>,
}

impl ReceiptRecorder {
    /// Announces a request by the number that a generator gave it, before its first event. Receipts list texts in the
    /// order of these numbers.
    ///
    /// # Errors
    /// [`ReceiptError::StopTexts`].
    pub fn add(&mut self, number: usize, request: &GenerateRequest) -> Result<(), ReceiptError> {
        if self.texts.values().next().is_some_and(|first| first.request.stop != request.stop) {
            return Err(ReceiptError::StopTexts);
        }
        let request = GenerateRequest { prefix_cache: None, ..request.clone() };
        self.texts.insert(number, Recorded { request, tokens: Vec::new(), finished: None });
        Ok(())
    }

    /// Takes an event down.
    pub fn record(&mut self, event: &TextEvent) {
        let Some(text) = self.texts.get_mut(&event.request) else { return };
        match &event.kind {
            TextEventKind::Token(token) => {
                text.tokens.push(GeneratedToken { alternatives: vec![], top_logprobs: vec![], ..(**token).clone() })
            }
            TextEventKind::Text(_) | TextEventKind::Hidden(_) => {}
            TextEventKind::Finished(finished) => {
                text.finished = Some(GeneratedText { prefix_cache: None, ..(**finished).clone() });
            }
        }
    }

    /// The receipt of the texts that have finished.
    ///
    /// - device: what they were computed on
    ///
    /// # Errors
    /// [`Error::Train`] if the checkpoint's weights cannot be read again for their hash; [`Error::Text`].
    pub fn into_receipt(self, model: &Model, device: &ComputeDevice) -> Result<Receipt, Error> {
        let model_sha256 = tril_train::model_sha256(model.path())?;
        self.into_receipt_of(model, model_sha256, device)
    }

    /// The same where the hash of the weights is known: for a model that was opened some time ago, and whose checkpoint may
    /// have been replaced since.
    ///
    /// - model_sha256: SHA-256 of the `model.safetensors` that `model` was read from
    ///
    /// # Errors
    /// [`Error::Text`].
    pub fn into_receipt_of(
        self,
        model: &Model,
        model_sha256: String,
        device: &ComputeDevice,
    ) -> Result<Receipt, Error> {
        let stop_texts = self.texts.values().next().map_or(&[][..], |text| text.request.stop.texts()).to_vec();
        let tokenizer = model.tokenizer();
        let mut prompts: Vec<ReceiptPrompt> = Vec::new();
        let mut places = HashMap::new();
        for Recorded { request, tokens, finished } in self.texts.values() {
            let Some(finished) = finished else { continue };
            let prompt = PromptText::new(&request.prompt, &request.prompt_ids, tokenizer)?;
            let settings = ReceiptSettings::of(&request.options);
            let (index, before) = (request.options.sample_index, &request.prompt_ids);
            let sample = ReceiptSample::new(index, before, tokens, finished, tokenizer)?;
            let unwritable =
                |source: serde_json::Error| ModelError::Serialize { what: "settings", source: source.into() };
            let key = prompt.key(&settings).map_err(unwritable)?;
            let place = *places.entry(key).or_insert_with(|| {
                prompts.push(ReceiptPrompt { prompt, settings, samples: vec![] });
                prompts.len() - 1
            });
            let samples = &mut prompts[place].samples;
            // The same sample again is the same text, unless one of the two was cut.
            match samples.iter_mut().find(|other| other.sample_index == sample.sample_index) {
                Some(other) if other.tokens.len() < sample.tokens.len() => *other = sample,
                Some(_) => {}
                None => samples.push(sample),
            }
        }
        Ok(Receipt {
            tril_receipt: if is_f32(&model.weights()) { VERSION } else { ROUNDED_VERSION },
            tril: env!("CARGO_PKG_VERSION").to_owned(),
            checkpoint: model.path().display().to_string(),
            model_sha256,
            weights: model.weights(),
            machine: Machine::of(device),
            stop_texts,
            prompts,
        })
    }
}
