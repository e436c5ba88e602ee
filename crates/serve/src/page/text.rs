//! A text as the page shows it: tokens with their ids, and no more of them than can be drawn.

use serde::Serialize;
use tril::model::GptConfig;
use tril::{GenerateOptions, Model, SamplerConfig, Tokenizer};

use super::PageError;

/// Most tokens of a text, whatever the model.
const MAX_TOKENS: usize = 128;
/// Most attention weights, over all heads.
const MAX_WEIGHTS: usize = 600_000;
/// Most logits that the logit lens makes.
const MAX_LOGITS: usize = 1 << 24;
/// Tokens of the text that a model writes for its page.
const OWN_TOKENS: usize = 40;
/// The seed of that text.
const OWN_SEED: u64 = 1337;

/// A token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageToken {
    /// Its id.
    pub id: u32,
    /// Its text by itself; bytes that are no character are written as `<0xE6>`.
    pub text: String,
}

/// A token that a model may choose, with the probability that it has.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Candidate {
    /// Its id.
    pub id: u32,
    /// Its text by itself.
    pub text: String,
    /// Its probability, from 0 to 1.
    pub p: f64,
}

/// A text in tokens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PageText {
    /// The tokens, the end of another text before them where the vocabulary has one, as in training.
    pub tokens: Vec<PageToken>,
    /// Tokens at its end that were left out, because the page shows [`max_tokens`] of them.
    pub left_out: usize,
}

impl PageText {
    /// The ids alone.
    pub fn ids(&self) -> Vec<u32> {
        self.tokens.iter().map(|token| token.id).collect()
    }
}

/// The most tokens of a text that the page shows of a model: a context, and fewer where there are many heads or a large
/// vocabulary.
pub fn max_tokens(config: &GptConfig) -> usize {
    let by_weights = (MAX_WEIGHTS / (config.n_layers * config.n_heads)).isqrt();
    let by_logits = MAX_LOGITS / (config.vocab_size * (config.n_layers + 1));
    config.max_seq_len.min(MAX_TOKENS).min(by_weights).min(by_logits).max(2)
}

/// The tokens of a text.
///
/// # Errors
/// [`PageError::Tril`] for what the tokenizer cannot write, [`PageError::Request`] for fewer than two tokens.
pub fn page_text(model: &Model, text: &str) -> Result<PageText, PageError> {
    let tokenizer = model.tokenizer();
    let encoded = tokenizer.encode(text).map_err(|error| error.in_text("the text"))?;
    let mut ids: Vec<u32> = tokenizer.end_of_text().into_iter().chain(encoded).collect();
    if ids.len() < 2 {
        return Err(PageError::Request("the text is too short: give at least two tokens".into()));
    }
    let left_out = ids.len().saturating_sub(max_tokens(model.config()));
    ids.truncate(ids.len() - left_out);
    Ok(PageText { tokens: ids.into_iter().map(|id| token(tokenizer, id)).collect(), left_out })
}

/// A text that the model writes where nobody gives one, always the same.
///
/// # Errors
/// [`PageError::Tril`] for a model that cannot write.
pub fn own_text(model: &Model) -> Result<String, PageError> {
    let mut request = model.request("")?;
    let sampler = SamplerConfig { temperature: 0.8, seed: OWN_SEED, ..SamplerConfig::default() };
    let max_tokens = OWN_TOKENS.min(max_tokens(model.config()) - 1);
    request.options = GenerateOptions { sampler, max_tokens, stop_token: None, ..request.options };
    Ok(model.generate(request)?.text)
}

pub(super) fn token(tokenizer: &Tokenizer, id: u32) -> PageToken {
    PageToken { id, text: tokenizer.token_text(id) }
}

pub(super) fn candidates(tokenizer: &Tokenizer, found: Vec<(u32, f64)>) -> Vec<Candidate> {
    found.into_iter().map(|(id, p)| Candidate { id, text: tokenizer.token_text(id), p }).collect()
}
