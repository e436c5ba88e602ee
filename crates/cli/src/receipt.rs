//! The receipt of a sample: a file that says how each token came about, so that `tril verify` can check it.

mod layout;

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tril_infer::{CacheMode, Finish, GenerateOptions, Overflow, SamplerConfig, Step};
use tril_model::checkpoint;
use tril_prove::{TokenClaim, Transcript};
use tril_text::Tokenizer;

use crate::ending::Ending;
use crate::open;
use crate::sample::{Job, Told, Written};

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

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
    pub machine: Machine,
    pub stop_texts: Vec<String>,
    pub prompts: Vec<Continued>,
}

/// The samples of one prompt by one sampler.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Continued {
    pub prompt: Prompt,
    pub settings: Settings,
    pub samples: Vec<Sample>,
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

/// How samples were made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub sampler: SamplerConfig,
    pub max_tokens: usize,
    pub stop_token: Option<u32>,
    pub cache: CacheMode,
    pub on_overflow: Overflow,
}

/// What was continued.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prompt {
    pub text: String,
    pub tokens: Vec<PromptToken>,
}

/// One of its tokens.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PromptToken {
    pub id: u32,
    /// By itself, for readers.
    pub text: String,
}

/// One continuation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    pub sample_index: u64,
    /// The text of all its tokens, those of a stop text too.
    pub text: String,
    pub finish: EndedBy,
    /// The text at which it stopped.
    pub stop_text: Option<String>,
    /// How the token that ended it was drawn.
    pub stop: Option<Token>,
    pub tokens: Vec<Token>,
}

/// Why there is no more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndedBy {
    MaxTokens,
    EndOfText,
    ContextFull,
    StopText,
    Interrupted,
}

/// One new token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    pub id: u32,
    /// By itself, for readers.
    pub text: String,
    pub logprob: f64,
    pub share: [f64; 2],
    pub draw: Option<f64>,
}

/// Takes down what happens to texts while they are made.
pub struct Recorder<'a> {
    tokenizer: &'a Tokenizer,
    tokens: Vec<Vec<Token>>,
    ends: Vec<Option<Written>>,
}

impl<'a> Recorder<'a> {
    /// For so many texts.
    pub fn new(tokenizer: &'a Tokenizer, texts: usize) -> Self {
        Self { tokenizer, tokens: vec![Vec::new(); texts], ends: vec![None; texts] }
    }

    pub fn tell(&mut self, number: usize, what: &Told<'_>) {
        match what {
            Told::Step(step) => self.tokens[number].push(Token::new(step, self.tokenizer)),
            Told::Piece(_) | Told::Never => {}
            Told::End(written) => self.ends[number] = Some(written.clone()),
        }
    }

    /// Writes the receipt of these texts, each with its prompt, so that the file holds all of it or what it held before.
    pub fn write<'b>(
        self,
        file: &Path,
        checkpoint: &Path,
        machine: Machine,
        stop_texts: &[String],
        texts: impl Iterator<Item = (&'b str, &'b Job)>,
    ) -> Result<()> {
        let mut prompts: Vec<Continued> = Vec::new();
        let mut last: Option<(&str, GenerateOptions)> = None;
        for (((text, job), tokens), end) in texts.zip(self.tokens).zip(self.ends) {
            let Some(end) = end else { continue };
            let of_all = GenerateOptions { sample_index: 0, ..job.options.clone() };
            if last.as_ref() != Some(&(text, of_all.clone())) {
                let prompt = Prompt::new(text, &job.ids, self.tokenizer);
                prompts.push(Continued { prompt, settings: Settings::of(&job.options), samples: Vec::new() });
                last = Some((text, of_all));
            }
            let sample = Sample::new(job.options.sample_index, tokens, &end, self.tokenizer)?;
            if let Some(continued) = prompts.last_mut() {
                continued.samples.push(sample);
            }
        }
        let receipt = Receipt {
            tril_receipt: VERSION,
            tril: env!("CARGO_PKG_VERSION").to_owned(),
            checkpoint: checkpoint.display().to_string(),
            model_sha256: tril_train::model_sha256(checkpoint)?,
            machine,
            stop_texts: stop_texts.to_vec(),
            prompts,
        };
        Ok(checkpoint::write_file(file, &layout::to_bytes(&receipt)?)?)
    }
}

impl Receipt {
    /// Reads one.
    ///
    /// # Errors
    /// If the file is no receipt, or one of another version.
    pub fn read(path: &Path) -> Result<Self> {
        let name = if path == Path::new("-") { "standard input".into() } else { path.display().to_string() };
        let text = open::text(path)?;
        let no_receipt = || format!("{name} is no receipt; `tril sample --receipt FILE` writes one");
        let value: Value = serde_json::from_str(&text).with_context(no_receipt)?;
        match value.get("tril_receipt") {
            None => bail!("{}: it has no field tril_receipt", no_receipt()),
            Some(version) if *version != VERSION => {
                bail!(
                    "{name} is a receipt of version {version}, and this is a program for version {VERSION}; use another release"
                )
            }
            Some(_) => {}
        }
        // From the text again, whose lines the error tells.
        serde_json::from_str(&text).with_context(|| format!("{name} is a damaged receipt; restore it or make it again"))
    }
}

impl Receipt {
    /// All samples, each with its prompt, and which of the prompts that is.
    pub fn samples(&self) -> impl Iterator<Item = (usize, &Continued, &Sample)> {
        let prompts = self.prompts.iter().enumerate();
        prompts.flat_map(|(number, continued)| continued.samples.iter().map(move |sample| (number, continued, sample)))
    }
}

impl Machine {
    /// This one, with the device that was opened by the name that [`open::device`] gave it.
    pub fn this(device: &Device, device_name: &str) -> Self {
        let choice = device_name.split(", ").next().unwrap_or_default();
        let set = tril_kernels::is_cpu(device).then(|| tril_kernels::instruction_set().ok()).flatten();
        Self {
            device: choice.to_owned(),
            platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
            instruction_set: set.map(str::to_owned),
        }
    }

    /// Whether results of both must be the same bits.
    pub fn computes_as(&self, other: &Self) -> bool {
        self.instruction_set.is_some() && self == other
    }
}

impl std::fmt::Display for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { device, platform, instruction_set } = self;
        write!(f, "{device}, {platform}")?;
        instruction_set.as_ref().map_or(Ok(()), |set| write!(f, ", {set}"))
    }
}

impl Sample {
    /// What was written, and of what tokens.
    pub fn new(sample_index: u64, tokens: Vec<Token>, written: &Written, tokenizer: &Tokenizer) -> Result<Self> {
        let (finish, stop_text) = match &written.ending {
            Ending::Finish(Finish::MaxTokens) => (EndedBy::MaxTokens, None),
            Ending::Finish(Finish::EndOfText) => (EndedBy::EndOfText, None),
            Ending::Finish(Finish::ContextFull) => (EndedBy::ContextFull, None),
            Ending::StopText(text) => (EndedBy::StopText, Some(text.clone())),
            Ending::Interrupted => (EndedBy::Interrupted, None),
        };
        let stop = written.stop.as_ref().map(|step| Token::new(step, tokenizer));
        let ids: Vec<u32> = tokens.iter().map(|token| token.id).collect();
        Ok(Self { sample_index, text: tokenizer.decode(&ids)?, finish, stop_text, stop, tokens })
    }
}

impl Settings {
    fn of(options: &GenerateOptions) -> Self {
        let GenerateOptions { sampler, max_tokens, stop_token, cache, on_overflow, .. } = options.clone();
        Self { sampler, max_tokens, stop_token, cache, on_overflow }
    }
}

impl Continued {
    /// What is said of one of its samples, without text.
    pub fn transcript(&self, sample: &Sample) -> Transcript {
        let Settings { sampler, max_tokens, stop_token, cache, on_overflow } = self.settings.clone();
        Transcript {
            prompt: self.prompt.ids(),
            options: GenerateOptions {
                sampler,
                sample_index: sample.sample_index,
                max_tokens,
                stop_token,
                cache,
                on_overflow,
                alternatives: 0,
            },
            tokens: sample.tokens.iter().map(TokenClaim::from).collect(),
            finish: match sample.finish {
                EndedBy::MaxTokens => Some(Finish::MaxTokens),
                EndedBy::EndOfText => Some(Finish::EndOfText),
                EndedBy::ContextFull => Some(Finish::ContextFull),
                EndedBy::StopText | EndedBy::Interrupted => None,
            },
            stop: sample.stop.as_ref().map(TokenClaim::from),
        }
    }
}

impl Prompt {
    pub fn new(text: &str, ids: &[u32], tokenizer: &Tokenizer) -> Self {
        let token = |id: &u32| PromptToken { id: *id, text: tokenizer.token_text(*id) };
        Self { text: text.to_owned(), tokens: ids.iter().map(token).collect() }
    }

    pub fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }
}

impl Token {
    pub fn new(step: &Step, tokenizer: &Tokenizer) -> Self {
        let Step { token, logprob, share, draw, .. } = step;
        let text = tokenizer.token_text(*token);
        Self { id: *token, text, logprob: *logprob, share: [share.start, share.end], draw: *draw }
    }
}

impl From<&Token> for TokenClaim {
    fn from(token: &Token) -> Self {
        let Token { id, logprob, share: [begin, end], draw, .. } = token;
        Self { token: *id, logprob: *logprob, share: *begin..*end, draw: *draw }
    }
}
