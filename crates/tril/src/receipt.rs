//! The receipt of generated texts: a file that says how each token came about, so that anyone with the checkpoint can
//! check it.

mod check;
mod layout;
mod recorder;
mod strict;

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tril_infer::{CacheMode, FinishReason, GenerateOptions, GeneratedToken, Overflow, SampledToken, SamplerConfig};
use tril_model::{ModelError, WeightFormat, files};
use tril_prove::{TokenClaim, Transcript};
use tril_text::{TextError, Tokenizer, text_from_bytes};

pub use check::{ReceiptCheck, SampleCheck};
pub use recorder::ReceiptRecorder;

use crate::generate::GeneratedText;
use crate::{ComputeDevice, Error};

/// The version that is written of texts by weights as they are. Version 1, which has other names for two fields of a
/// token, is read too.
const VERSION: u32 = 2;

/// The version that is written of texts by rounded weights: it says what they were rounded to. Programs that know no
/// such weights refuse it by its number.
const ROUNDED_VERSION: u32 = 3;

/// Some texts, and all that they depend on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Receipt {
    /// Version of the format; its name says what kind of file this is.
    tril_receipt: u32,
    /// Version of the program.
    pub tril: String,
    /// Where the checkpoint was. Its weights are told by their hash.
    pub checkpoint: String,
    /// SHA-256 of `model.safetensors`.
    pub model_sha256: String,
    /// What the weights were rounded to before anything was computed with them; absent where they were not.
    #[serde(default, skip_serializing_if = "is_f32")]
    pub weights: WeightFormat,
    /// What the texts were computed on.
    pub machine: Machine,
    /// The stop texts of all samples.
    pub stop_texts: Vec<String>,
    /// What was continued, and how.
    pub prompts: Vec<ReceiptPrompt>,
}

/// The samples of one prompt by one sampler.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptPrompt {
    /// What was continued.
    pub prompt: PromptText,
    /// How samples were made.
    pub settings: ReceiptSettings,
    /// What followed.
    pub samples: Vec<ReceiptSample>,
}

/// What something was computed on, as far as bits may depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// Such as `cpu` or `cuda:1`.
    pub device: String,
    /// Architecture and operating system.
    pub platform: String,
    /// Of the CPU, if it was the device.
    pub instruction_set: Option<String>,
}

/// How samples were made: the fields of [`GenerateOptions`] that one sample has in common with the next.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "they are those of GenerateOptions")]
pub struct ReceiptSettings {
    pub sampler: SamplerConfig,
    pub max_tokens: usize,
    pub stop_token: Option<u32>,
    pub cache: CacheMode,
    pub on_overflow: Overflow,
}

/// A prompt as text and as tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptText {
    /// The text, with special tokens by their names.
    pub text: String,
    /// The tokens.
    pub tokens: Vec<PromptToken>,
    /// Whether the tokens were given, and are not those that the text encodes to; absent where they are.
    #[serde(default, skip_serializing_if = "is_false")]
    pub given_as_tokens: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_f32(weights: &WeightFormat) -> bool {
    *weights == WeightFormat::F32
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// One token of a prompt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptToken {
    /// Its id.
    pub id: u32,
    /// By itself, for readers.
    pub text: String,
}

/// One continuation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptSample {
    /// Which of the seed's samples.
    pub sample_index: u64,
    /// The text of all its tokens, those of a stop text too.
    pub text: String,
    /// Why there is no more of it.
    pub finish: FinishReason,
    /// The text at which it stopped.
    pub stop_text: Option<String>,
    /// How the token that ended it was drawn.
    pub stop: Option<ReceiptToken>,
    /// Its tokens.
    pub tokens: Vec<ReceiptToken>,
}

/// One new token: a [`SampledToken`] that readers can read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReceiptToken {
    /// Its id.
    pub id: u32,
    /// By itself, for readers.
    pub text: String,
    /// See [`SampledToken::logprob`].
    pub logprob: f64,
    /// See [`SampledToken::cdf_interval`].
    #[serde(alias = "share")]
    pub cdf_interval: [f64; 2],
    /// See [`SampledToken::uniform`].
    #[serde(alias = "draw")]
    pub uniform: Option<f64>,
}

/// Why a file is no receipt that can be read.
#[derive(Debug, thiserror::Error)]
pub enum ReceiptError {
    /// It is not UTF-8, or cannot be read at all.
    #[error(transparent)]
    Text(#[from] TextError),
    /// It is something else.
    #[error("{name} is not a receipt: {detail}")]
    NoReceipt {
        /// The file.
        name: String,
        /// What it lacks.
        detail: String,
    },
    /// It is of a release that this one does not know.
    #[error(
        "{name} is a receipt of version {version}, and this program reads up to {ROUNDED_VERSION}; use another release"
    )]
    Version {
        /// The file.
        name: String,
        /// Its version.
        version: Value,
    },
    /// Part of it is missing or cannot be.
    #[error("{name} is a damaged receipt: {source}; restore it or make it again")]
    Damaged {
        /// The file.
        name: String,
        /// Where, and what is wrong there.
        source: serde_json::Error,
    },
    /// Texts with different stop texts cannot share a receipt.
    #[error("all texts of a receipt have the same stop texts; write one receipt for each set")]
    StopTexts,
}

impl Receipt {
    /// Reads one.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, ReceiptError> {
        let path: PathBuf = path.as_ref().to_owned();
        let text = std::fs::read(&path).map_err(|source| TextError::Unreadable { path: path.clone(), source })?;
        let text = text_from_bytes(text, &path)?;
        Self::parse(&text, &path.display().to_string())
    }

    /// Reads one from its text, or from an answer of `tril serve` that holds one; `name` is what errors call it.
    ///
    /// # Errors
    /// [`ReceiptError`].
    pub fn parse(text: &str, name: &str) -> Result<Self, ReceiptError> {
        let name = name.to_owned();
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => return Err(ReceiptError::NoReceipt { name, detail: error.to_string() }),
        };
        match value.get("tril_receipt") {
            // What a server answered, with the receipt in it.
            None if value["receipt"].get("tril_receipt").is_some() => {
                strict::check_unique(text).map_err(|source| ReceiptError::Damaged { name: name.clone(), source })?;
                Self::parse(&value["receipt"].to_string(), &name)
            }
            None => Err(ReceiptError::NoReceipt { name, detail: "it has no field tril_receipt".into() }),
            Some(version) if ![1, VERSION, ROUNDED_VERSION].iter().any(|known| version == known) => {
                Err(ReceiptError::Version { name, version: version.clone() })
            }
            // From the text again, whose lines the error tells.
            Some(_) => {
                let receipt = strict::from_str(text).and_then(|receipt: Self| {
                    receipt.check_weights()?;
                    receipt.check_samples()?;
                    Ok(receipt)
                });
                receipt.map_err(|source| ReceiptError::Damaged { name, source })
            }
        }
    }

    /// Refuses rounded weights in a version that has none, whose readers would take them for weights as they are, and none in
    /// the version that says them.
    fn check_weights(&self) -> Result<(), serde_json::Error> {
        let Self { tril_receipt: version, weights, .. } = self;
        match (is_f32(weights), *version == ROUNDED_VERSION) {
            (true, false) | (false, true) => Ok(()),
            (false, false) => Err(serde_json::Error::custom(format!("unknown field `weights` in version {version}"))),
            (true, true) => Err(serde_json::Error::custom(format!("no rounded `weights` in version {version}"))),
        }
    }

    /// Refuses a sample that is there twice, of which one could be the true one.
    fn check_samples(&self) -> Result<(), serde_json::Error> {
        let mut seen = HashSet::new();
        for (number, ReceiptPrompt { prompt, settings, .. }, sample) in self.samples() {
            if !seen.insert((prompt.key(settings)?, sample.sample_index)) {
                let sample = sample.sample_index;
                return Err(serde_json::Error::custom(format!("prompt {number} has its sample {sample} twice")));
            }
        }
        Ok(())
    }

    /// Writes it, so that the file holds all of it or what it held before.
    ///
    /// # Errors
    /// [`Error::Model`] if the file cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let unwritable = |source: serde_json::Error| ModelError::Io {
            action: "write",
            path: path.as_ref().to_owned(),
            source: source.into(),
        };
        let bytes = layout::to_bytes(self).map_err(unwritable)?;
        Ok(files::write_file(path.as_ref(), &bytes)?)
    }

    /// All samples, each with its prompt, and which of the prompts that is.
    pub fn samples(&self) -> impl Iterator<Item = (usize, &ReceiptPrompt, &ReceiptSample)> {
        let prompts = self.prompts.iter().enumerate();
        prompts.flat_map(|(number, prompt)| prompt.samples.iter().map(move |sample| (number, prompt, sample)))
    }
}

impl Machine {
    /// This one, with a device of it.
    pub fn of(device: &ComputeDevice) -> Self {
        Self {
            device: device.choice().to_string(),
            platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            instruction_set: device.instruction_set().map(str::to_owned),
        }
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, platform, instruction_set } = self;
        write!(f, "{device}, {platform}")?;
        instruction_set.as_ref().map_or(Ok(()), |set| write!(f, ", {set}"))
    }
}

impl ReceiptSample {
    fn new(
        sample_index: u64,
        before: &[u32],
        tokens: &[GeneratedToken],
        finished: &GeneratedText,
        tokenizer: &Tokenizer,
    ) -> Result<Self, TextError> {
        let ids: Vec<u32> = tokens.iter().map(|token| token.sampled.token).collect();
        Ok(Self {
            sample_index,
            text: tokenizer.decode_after(before, &ids)?,
            finish: finished.finish,
            stop_text: finished.stop_text.clone(),
            stop: finished.stop_token.as_ref().map(|token| ReceiptToken::new(&token.sampled, tokenizer)),
            tokens: tokens.iter().map(|token| ReceiptToken::new(&token.sampled, tokenizer)).collect(),
        })
    }
}

impl ReceiptSettings {
    fn of(options: &GenerateOptions) -> Self {
        let GenerateOptions { sampler, max_tokens, stop_token, cache, on_overflow, .. } = options.clone();
        Self { sampler, max_tokens, stop_token, cache, on_overflow }
    }
}

impl ReceiptPrompt {
    /// What is said of one of its samples, without text.
    pub fn transcript(&self, sample: &ReceiptSample) -> Transcript {
        let ReceiptSettings { sampler, max_tokens, stop_token, cache, on_overflow } = self.settings.clone();
        let sample_index = sample.sample_index;
        Transcript {
            prompt: self.prompt.ids(),
            options: GenerateOptions {
                sampler,
                sample_index,
                max_tokens,
                stop_token,
                cache,
                on_overflow,
                alternatives: 0,
                top_logprobs: 0,
            },
            tokens: sample.tokens.iter().map(TokenClaim::from).collect(),
            finish: sample.finish,
            stop: sample.stop.as_ref().map(TokenClaim::from),
        }
    }
}

impl PromptText {
    fn new(text: &str, ids: &[u32], tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let token = |id: &u32| PromptToken { id: *id, text: tokenizer.token_text(*id) };
        let tokens = ids.iter().map(token).collect();
        if tokenizer.encode_prompt(text).is_ok_and(|encoded| encoded == ids) {
            return Ok(Self { text: text.to_owned(), tokens, given_as_tokens: false });
        }
        Ok(Self { text: tokenizer.decode_with_special(ids)?, tokens, given_as_tokens: true })
    }

    /// Whether the text is that of the tokens.
    fn is_sound(&self, tokenizer: &Tokenizer) -> bool {
        if self.given_as_tokens {
            return tokenizer.decode_with_special(&self.ids()).is_ok_and(|text| text == self.text);
        }
        tokenizer.encode_prompt(&self.text).is_ok_and(|ids| ids == self.ids())
    }

    /// What tells the samples of this prompt by these settings from others.
    fn key(&self, settings: &ReceiptSettings) -> Result<String, serde_json::Error> {
        serde_json::to_string(&(self.ids(), settings))
    }

    /// The ids alone.
    pub fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }
}

impl ReceiptToken {
    fn new(sampled: &SampledToken, tokenizer: &Tokenizer) -> Self {
        let SampledToken { token: id, logprob, cdf_interval, uniform } = sampled.clone();
        let text = tokenizer.token_text(id);
        Self { id, text, logprob, cdf_interval: [cdf_interval.start, cdf_interval.end], uniform }
    }
}

impl From<&ReceiptToken> for TokenClaim {
    fn from(token: &ReceiptToken) -> Self {
        let ReceiptToken { id, logprob, cdf_interval: [begin, end], uniform, .. } = *token;
        SampledToken { token: id, logprob, cdf_interval: begin..end, uniform }.into()
    }
}
