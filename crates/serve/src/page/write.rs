//! A text as it is written: each token with its probability, what else could have come, and the draw.

use serde::{Deserialize, Serialize};
use tril::infer::GeneratedToken;
use tril::{FinishReason, GenerateOptions, Model, SamplerConfig, TextEventKind, Tokenizer};

use super::PageError;
use super::text::{PageToken, token};

/// Candidates that are named for each token.
const CANDIDATES: usize = 12;
/// Most tokens of a text.
const MAX_TOKENS: usize = 2000;

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WriteRequest {
    /// The text to continue; empty begins where a document does.
    pub prompt: String,
    /// Or the ids to continue, such as those of an earlier answer up to a token that is to be another.
    pub ids: Vec<u32>,
    /// Tokens to add at most, up to 2000.
    pub max_tokens: usize,
    /// 0 takes the most probable token.
    pub temperature: f64,
    /// Keeps the k most probable tokens; 0 keeps all.
    pub top_k: usize,
    /// Keeps the most probable tokens that have this probability together; 1 keeps all.
    pub top_p: f64,
    /// Names the draws.
    pub seed: u64,
}

impl Default for WriteRequest {
    fn default() -> Self {
        let (prompt, ids) = (String::new(), Vec::new());
        Self { prompt, ids, max_tokens: 120, temperature: 0.8, top_k: 0, top_p: 1.0, seed: 1337 }
    }
}

/// What happens to the text.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum WriteEvent {
    /// What is continued, first of all.
    Prompt {
        /// Its tokens.
        tokens: Vec<PageToken>,
        /// Its text.
        text: String,
    },
    /// One token more.
    Token(WrittenToken),
    /// This much more of the text is certain: a token may hold half a character.
    Text {
        /// The text.
        text: String,
    },
    /// There is no more of it.
    End {
        /// Why.
        reason: FinishReason,
        /// The token that ended it, which is no part of the text.
        token: Option<WrittenToken>,
    },
    /// It could not be gone on with.
    Error {
        /// Why.
        message: String,
    },
}

/// A token, and how it came about.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct WrittenToken {
    /// Its place in the text, the prompt included.
    pub position: usize,
    /// Its id.
    pub id: u32,
    /// Its text by itself.
    pub text: String,
    /// The probability that the model itself gives it, before temperature and filters.
    pub p: f64,
    /// ln of that.
    pub logprob: f64,
    /// Its part of [0, 1), where the tokens that were left lie side by side in order of id.
    pub cdf_interval: [f64; 2],
    /// The number that was drawn; null at temperature 0.
    pub uniform: Option<f64>,
    /// How many tokens the model saw.
    pub context: usize,
    /// The most probable of the tokens that were left after temperature and filters.
    pub candidates: Vec<DrawnFrom>,
    /// How many others were left.
    pub others: usize,
}

/// A token that could have come.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DrawnFrom {
    /// Its id.
    pub id: u32,
    /// Its text by itself.
    pub text: String,
    /// Its probability after temperature and filters.
    pub p: f64,
    /// Its part of [0, 1).
    pub cdf_interval: [f64; 2],
}

/// Writes a text, handing over what happens. It ends early when `send` returns false.
///
/// # Errors
/// [`PageError::Tril`] for a prompt that the tokenizer cannot write or settings that cannot be,
/// [`PageError::Request`] for too many tokens; what goes wrong later is an event.
pub fn write(model: &Model, asked: &WriteRequest, send: &mut dyn FnMut(WriteEvent) -> bool) -> Result<(), PageError> {
    if asked.max_tokens > MAX_TOKENS {
        let message =
            format!("max_tokens = {}: at most {MAX_TOKENS} here; `tril sample` has no limit", asked.max_tokens);
        return Err(PageError::Request(message));
    }
    let tokenizer = model.tokenizer();
    let mut request = model.request(asked.prompt.clone())?;
    if !asked.ids.is_empty() {
        tril::infer::check_ids(&asked.ids, model.config().vocab_size)?;
        request.prompt = tokenizer.decode(&asked.ids)?;
        request.prompt_ids.clone_from(&asked.ids);
    }
    let sampler = SamplerConfig {
        temperature: asked.temperature,
        top_k: asked.top_k,
        top_p: asked.top_p,
        seed: asked.seed,
        ..SamplerConfig::default()
    };
    let alternatives = model.config().vocab_size;
    request.options = GenerateOptions { sampler, max_tokens: asked.max_tokens, alternatives, ..request.options };
    let prompt = request.prompt_ids.iter().map(|id| token(tokenizer, *id)).collect();
    let text = request.prompt.clone();
    let mut generator = model.generator();
    generator.add(request)?;
    if !send(WriteEvent::Prompt { tokens: prompt, text }) {
        return Ok(());
    }
    for event in generator {
        let told = match event.map(|event| event.kind) {
            Ok(TextEventKind::Token(token)) => WriteEvent::Token(written(tokenizer, &token)),
            Ok(TextEventKind::Text(text)) => WriteEvent::Text { text },
            Ok(TextEventKind::Hidden(_)) => continue,
            Ok(TextEventKind::Finished(end)) => WriteEvent::End {
                reason: end.finish,
                token: end.stop_token.as_ref().map(|token| written(tokenizer, token)),
            },
            Err(error) => WriteEvent::Error { message: error.to_string() },
        };
        if !send(told) {
            return Ok(());
        }
    }
    Ok(())
}

fn written(tokenizer: &Tokenizer, token: &GeneratedToken) -> WrittenToken {
    let sampled = &token.sampled;
    let own = [sampled.cdf_interval.start, sampled.cdf_interval.end];
    // All that were left, in order of id, lie side by side.
    let mut left = token.alternatives.clone();
    left.sort_unstable_by_key(|(id, _)| *id);
    let mut begin = 0.0;
    let mut places = Vec::with_capacity(left.len());
    for (id, p) in left {
        let interval = if id == sampled.token { own } else { [begin, begin + p] };
        begin = interval[1];
        places.push((id, interval));
    }
    let place = |id: u32| places.binary_search_by_key(&id, |(id, _)| *id).map_or(own, |index| places[index].1);
    let named = token.alternatives.iter().enumerate();
    let named = named.filter(|(index, (id, _))| *index < CANDIDATES || *id == sampled.token);
    let candidates: Vec<DrawnFrom> = named
        .map(|(_, (id, p))| DrawnFrom { id: *id, text: tokenizer.token_text(*id), p: *p, cdf_interval: place(*id) })
        .collect();
    WrittenToken {
        position: token.position,
        id: sampled.token,
        text: tokenizer.token_text(sampled.token),
        p: libm::exp(sampled.logprob),
        logprob: sampled.logprob,
        cdf_interval: own,
        uniform: sampled.uniform,
        context: token.context,
        others: token.alternatives.len() - candidates.len(),
        candidates,
    }
}
