//! What a generator of texts tells.

use tril_infer::{FinishReason, GeneratedToken, PrefixCache};
use tril_model::KvCache;

use crate::Error;

/// What happens to a request.
#[derive(Debug)]
pub struct TextEvent<C = KvCache> {
    /// Which, as [`TextGenerator::add`](crate::TextGenerator::add) numbered it.
    pub request: usize,
    /// What.
    pub kind: TextEventKind<C>,
}

/// What happens to a text.
#[derive(Debug)]
pub enum TextEventKind<C = KvCache> {
    /// It has one token more.
    Token(Box<GeneratedToken>),
    /// This much more of it is certain, and to be shown.
    Text(String),
    /// This much more of it is certain, and not to be shown.
    Hidden(String),
    /// There is no more of it.
    Finished(Box<GeneratedText<C>>),
}

/// A text that is finished: what is known of it as a whole.
#[derive(Debug, Clone)]
pub struct GeneratedText<C = KvCache> {
    /// Why there is no more of it.
    pub finish: FinishReason,
    /// The stop text that appeared, where one did.
    pub stop_text: Option<String>,
    /// How the token that ended it was drawn, where one did. It is not among the tokens.
    pub stop_token: Option<GeneratedToken>,
    /// How many tokens it took, those of a stop text among them.
    pub tokens: usize,
    /// How many of them stand in hidden parts.
    pub hidden_tokens: usize,
    /// Sum of ln of the model's own probability of these tokens.
    pub logprob: f64,
    /// What can be continued later, if there was a cache.
    pub prefix_cache: Option<PrefixCache<C>>,
}

/// A finished text with all that it consists of.
#[derive(Debug, Clone)]
pub struct Completion<C = KvCache> {
    /// What is shown of it, without the prompt.
    pub text: String,
    /// Its tokens, each with how it came about.
    pub tokens: Vec<GeneratedToken>,
    /// The rest.
    pub generated: GeneratedText<C>,
}

/// Why a request failed. The others go on.
#[derive(Debug, thiserror::Error)]
#[error("{source}")]
pub struct RequestError {
    /// Which, as [`TextGenerator::add`](crate::TextGenerator::add) numbered it.
    pub request: usize,
    /// What went wrong.
    pub source: Error,
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        error.source
    }
}
