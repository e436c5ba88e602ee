//! Whether a text is what a model, settings and draws give: what was made one token at a time is checked in one parallel
//! pass a context. Ids and settings go in, a report comes out.

mod contexts;
mod grade;
mod judge;

use std::ops::Range;

use serde::Serialize;
use tril_model::Gpt;

use tril_infer::{FinishReason, GenerateOptions, GeneratedToken, InferError, Overflow, SampledToken, check_prompt};

use crate::Tolerance;
use contexts::contexts;
pub use grade::{BareText, Mismatch, TextGrade, grade};
use judge::Judge;

/// What is said of how a text came about.
#[derive(Debug, Clone)]
pub struct Transcript {
    /// The tokens that were there before.
    pub prompt: Vec<u32>,
    /// How it is said to have been made; cache and alternatives make no difference.
    pub options: GenerateOptions,
    /// The new tokens.
    pub tokens: Vec<TokenClaim>,
    /// Why there are no more.
    pub finish: FinishReason,
    /// How the stop token was drawn, if it came.
    pub stop: Option<TokenClaim>,
}

/// What is said of one token. Nothing of it is trusted.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenClaim {
    /// The token, and how it is said to have been drawn.
    #[serde(flatten)]
    pub sampled: SampledToken,
}

impl From<SampledToken> for TokenClaim {
    fn from(sampled: SampledToken) -> Self {
        Self { sampled }
    }
}

impl From<&GeneratedToken> for TokenClaim {
    fn from(token: &GeneratedToken) -> Self {
        token.sampled.clone().into()
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verification {
    /// Tokens that were looked at, the stop token among them.
    pub checked: usize,
    /// Those of them that rounding may explain: the draw lies as near to the edge of a share as logits may differ, or a
    /// filter has its border there.
    pub undecided: usize,
    /// Those of them that cannot have come from this model, these settings and these draws.
    pub failed: usize,
    /// Tokens after one that the model does not have, or for which there was no room.
    pub unchecked: usize,
    /// Contexts that had to be computed: one, unless old tokens left it.
    pub contexts: usize,
    /// The largest difference of a log-probability.
    pub max_logprob_difference: f64,
    /// The first token that failed.
    pub first_failure: Option<Failure>,
    /// Why the text cannot have ended where it does, if it cannot.
    pub ending: Option<String>,
}

/// A token that cannot have come like this.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// Which of the new tokens, from 0; the stop token comes after the last.
    pub index: usize,
    /// Its absolute position.
    pub position: usize,
    /// What is wrong.
    pub fault: Fault,
    /// What is said.
    pub claim: TokenClaim,
    /// What the model gives, if it was asked.
    pub expected: Option<SampledToken>,
    /// The log-probability and the share of the token that is said to have come; no share if filters drop it.
    pub given: Option<(f64, Option<Range<f64>>)>,
}

/// What can be wrong with a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fault {
    /// The model has no such token.
    UnknownToken,
    /// It ends a text, and so is no part of one; or the token at the end is not the one that ends a text.
    StopToken,
    /// The context was full before it.
    NoRoom,
    /// The draw is not the one that seed, sample and position name.
    Uniform,
    /// The draw lies in another token's share.
    Token,
    /// Its share of [0, 1) is another.
    CdfInterval,
    /// Its log-probability is another.
    Logprob,
}

/// What a check comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Every token is the one that model, settings and draws give.
    Pass,
    /// Nothing is wrong, but rounding leaves a token undecided, or there is no token.
    Undecided,
    /// Something is wrong.
    Fail,
}

impl Verification {
    /// What the check comes to.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self { failed: 1.., .. } | Self { unchecked: 1.., .. } | Self { ending: Some(_), .. } => Verdict::Fail,
            Self { checked: 0, .. } | Self { undecided: 1.., .. } => Verdict::Undecided,
            _ => Verdict::Pass,
        }
    }
}

/// Checks a transcript: each token's draw, log-probability and share are computed again, and so is what follows from
/// them.
///
/// Under [`Tolerance::EqualBits`] all of it must be the same to the last bit. Under [`Tolerance::Within`] logits may differ by
/// that share of the largest absolute logit at their position (of 1, if all are smaller), and everything else by what
/// follows from that; draws do not depend on logits and must be the same.
///
/// # Errors
/// [`InferError`] for an empty prompt, an id of the prompt or a stop token outside the vocabulary, bad options, [`InferError::Device`]
/// and [`InferError::BadLogits`]. A transcript that does not hold is no error; the report says so.
pub fn verify(gpt: &Gpt, transcript: &Transcript, tolerance: Tolerance) -> Result<Verification, InferError> {
    let config = gpt.config();
    let Transcript { prompt, options, tokens, stop, .. } = transcript;
    options.sampler.check(config.vocab_size)?;
    check_prompt(prompt, config.vocab_size)?;
    if let Some(id) = options.stop_token.filter(|id| *id as usize >= config.vocab_size) {
        return Err(InferError::UnknownToken { id, vocab_size: config.vocab_size });
    }
    let claims: Vec<&TokenClaim> = tokens.iter().chain(stop).collect();
    let limit = config.context_limit();
    let room = match (options.on_overflow, limit) {
        (Overflow::Stop, Some(limit)) => (limit + 1).saturating_sub(prompt.len()),
        _ => usize::MAX,
    };
    let unknown = claims.iter().position(|claim| claim.sampled.token as usize >= config.vocab_size);
    let known = unknown.unwrap_or(claims.len()).min(room);
    let mut ids = prompt.clone();
    ids.extend(claims[..known].iter().map(|claim| claim.sampled.token));
    let contexts = contexts(prompt.len()..ids.len(), limit.filter(|_| options.on_overflow == Overflow::Recompute));
    let judge = Judge { options, ids: &ids, tolerance };
    let mut report = Verification {
        checked: 0,
        undecided: 0,
        failed: 0,
        unchecked: claims.len() - known,
        contexts: contexts.len(),
        max_logprob_difference: 0.0,
        first_failure: None,
        ending: transcript.fault_of_ending(limit),
    };
    for context in &contexts {
        for (position, judged) in context.judge(gpt, &ids, |position, logits| {
            let index = position - prompt.len();
            judge.judge(claims[index], position, logits, index == tokens.len())
        })? {
            report.add(position - prompt.len(), position, judged);
        }
    }
    if let Some(claim) = claims.get(known) {
        let fault = if unknown == Some(known) { Fault::UnknownToken } else { Fault::NoRoom };
        let (claim, position) = ((*claim).clone(), prompt.len() + known);
        let failure = Failure { index: known, position, fault, claim, expected: None, given: None };
        report.first_failure.get_or_insert(failure);
    }
    Ok(report)
}

/// What one token turned out to be.
struct Judged<'a> {
    claim: &'a TokenClaim,
    verdict: TokenVerdict,
    expected: SampledToken,
    logprob: f64,
    interval: Option<Range<f64>>,
}

/// How a token's check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TokenVerdict {
    Holds,
    Undecided,
    Fails(Fault),
}

impl Verification {
    fn add(&mut self, index: usize, position: usize, judged: Judged<'_>) {
        let Judged { claim, verdict, expected, logprob, interval } = judged;
        self.checked += 1;
        let difference = (claim.sampled.logprob - logprob).abs();
        self.max_logprob_difference = self.max_logprob_difference.max(difference);
        match verdict {
            TokenVerdict::Holds => {}
            TokenVerdict::Undecided => self.undecided += 1,
            TokenVerdict::Fails(fault) => {
                self.failed += 1;
                self.first_failure.get_or_insert_with(|| {
                    let (expected, given) = (Some(expected), Some((logprob, interval)));
                    Failure { index, position, fault, claim: claim.clone(), expected, given }
                });
            }
        }
    }
}

impl Transcript {
    /// Why it cannot have ended as it is said to have, if it cannot.
    fn fault_of_ending(&self, limit: Option<usize>) -> Option<String> {
        let (count, most) = (self.tokens.len(), self.options.max_tokens);
        let length = self.prompt.len() + count;
        let is_full = self.options.on_overflow == Overflow::Stop && limit.is_some_and(|limit| length > limit);
        if count > most {
            return Some(format!("there are {count} tokens, more than the {most} that were asked for"));
        }
        if self.stop.is_some() != (self.finish == FinishReason::EndOfText) {
            return Some("an end of text has a last draw, of the token that ends it, and no other end has".into());
        }
        match self.finish {
            FinishReason::MaxTokens if count < most => Some(format!(
                "it is recorded as ending with the last of {most} tokens, and has {count}: the rest is missing, or the end is wrong"
            )),
            FinishReason::EndOfText if count == most => {
                Some(format!("it has all of {most} tokens: there was no step left for the token that ends a text"))
            }
            FinishReason::EndOfText if self.options.stop_token.is_none() => {
                Some("it is recorded as ending with an end-of-text token, but names no such token".into())
            }
            FinishReason::ContextFull if !is_full || count == most => Some(format!(
                "it is recorded as ending because the context was full, but {length} tokens do not fill it"
            )),
            _ => None,
        }
    }
}
