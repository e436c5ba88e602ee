//! One token replaced by another: what changes after it, and what does not change before it, to the bit.

use serde::Serialize;
use tril::Model;
use tril::infer::Distribution;

use super::look::{Looked, Wanted, distribution, fingerprint, look, numbers};
use super::steps::Equality;
use super::text::{Candidate, PageText, PageToken, candidates, token};
use super::{PageError, page_text};

/// A text with one other token. The tokens as they were are those of the pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Change {
    /// Where the token is replaced.
    pub position: usize,
    /// What takes its place.
    pub replacement: PageToken,
    /// All logits before that position, compared.
    pub before: Equality,
    /// What each position predicts afterwards.
    pub rows: Vec<ChangedRow>,
    /// The residual stream before the first block, between two, and after the last.
    pub residuals: Vec<ChangedResidual>,
}

/// One position's logits.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedRow {
    /// The first 16 hexadecimal digits of the SHA-256 of the logits as little-endian f32, after the change.
    pub logits: String,
    /// How many of the logits have other bits.
    pub different: usize,
    /// The largest absolute difference of a logit.
    pub max_difference: f32,
    /// Half of Σ |p − q| over the vocabulary: how much probability moved, from 0 to 1.
    pub moved: f64,
    /// The most probable next token after the change.
    pub best: Candidate,
}

/// The residual stream at one height, at each position.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangedResidual {
    /// How many blocks have been at work.
    pub after: usize,
    /// How many of each position's numbers have other bits.
    pub different: Vec<usize>,
    /// The largest absolute difference at each position.
    pub max_difference: Vec<f32>,
}

/// Replaces the token at a position.
///
/// # Errors
/// As [`page_text`]; [`PageError::Request`] for a position outside the text or an id outside the vocabulary.
pub fn change(model: &Model, text: &str, position: usize, replacement: u32) -> Result<Change, PageError> {
    let text = page_text(model, text)?;
    let before = look(model.gpt(), &text.ids(), None, &[], Wanted::Residuals)?;
    changed(model, &text, &before, position, replacement)
}

/// The id of a text that is one token.
///
/// # Errors
/// [`PageError::Request`] for a text that is none or several.
pub(super) fn single_token(model: &Model, text: &str) -> Result<u32, PageError> {
    let ids = model.tokenizer().encode(text).map_err(|error| error.in_text("the replacement"))?;
    match ids[..] {
        [id] => Ok(id),
        _ => Err(PageError::Request(format!("{text:?} is {} tokens: give a text that is one", ids.len()))),
    }
}

/// The same where the pass over the text as it was is known.
pub(super) fn changed(
    model: &Model,
    text: &PageText,
    before: &Looked,
    position: usize,
    replacement: u32,
) -> Result<Change, PageError> {
    let config = model.config();
    let mut ids = text.ids();
    if position >= ids.len() {
        return Err(PageError::Request(format!("position {position}: the text has {} tokens", ids.len())));
    }
    if replacement as usize >= config.vocab_size {
        return Err(PageError::Request(format!("id {replacement}: the vocabulary has {} tokens", config.vocab_size)));
    }
    ids[position] = replacement;
    let after = look(model.gpt(), &ids, None, &[], Wanted::Residuals)?;
    let mut unchanged = Equality::default();
    let mut rows = Vec::with_capacity(ids.len());
    let pairs = before.logits.chunks_exact(config.vocab_size).zip(after.logits.chunks_exact(config.vocab_size));
    for (place, (was, is)) in pairs.enumerate() {
        let mut found = Equality::default();
        found.add(was, is);
        if place < position {
            unchanged.add(was, is);
        }
        let now = distribution(is, place + 1)?;
        let best = candidates(model.tokenizer(), now.top(1)).into_iter().next();
        rows.push(ChangedRow {
            logits: fingerprint(is),
            different: found.different,
            max_difference: found.max_difference,
            moved: moved(&distribution(was, place + 1)?, &now, config.vocab_size),
            best: best.ok_or_else(|| PageError::Request("a distribution without a token".into()))?,
        });
    }
    let mut residuals = Vec::new();
    for (height, (was, is)) in before.residuals.iter().zip(after.residuals).enumerate() {
        let (was, is) = (numbers(was.clone())?, numbers(is)?);
        let compared = was.chunks_exact(config.d_model).zip(is.chunks_exact(config.d_model)).map(|(was, is)| {
            let mut found = Equality::default();
            found.add(was, is);
            found
        });
        let compared: Vec<Equality> = compared.collect();
        residuals.push(ChangedResidual {
            after: height,
            different: compared.iter().map(|found| found.different).collect(),
            max_difference: compared.iter().map(|found| found.max_difference).collect(),
        });
    }
    let replacement = token(model.tokenizer(), replacement);
    Ok(Change { position, replacement, before: unchanged, rows, residuals })
}

/// Half of Σ |p − q|.
fn moved(was: &Distribution, is: &Distribution, vocab_size: usize) -> f64 {
    let mut difference = vec![0.0; vocab_size];
    was.tokens().for_each(|(id, p)| difference[id as usize] += p);
    is.tokens().for_each(|(id, p)| difference[id as usize] -= p);
    difference.iter().map(|p: &f64| p.abs()).sum::<f64>() / 2.0
}
