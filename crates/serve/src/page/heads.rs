//! Each head switched off in turn, and what that does to the prediction of every token.

use serde::Serialize;
use tril::Model;
use tril::infer::logprob;
use tril::model::HeadId;

use super::look::{Wanted, distribution, look};
use super::text::{Candidate, PageText, candidates};
use super::{PageError, page_text};

/// A text with all heads, and without each of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadsOff {
    /// The text.
    #[serde(flatten)]
    pub text: PageText,
    /// Mean loss over the tokens but the first, in nats, with all heads.
    pub loss: f64,
    /// ln p of each token with all heads; null for the first.
    pub logprobs: Vec<Option<f64>>,
    /// The most probable next token at each position, with all heads.
    pub best: Vec<Candidate>,
    /// The same without one head, for each of them.
    pub heads: Vec<HeadOff>,
}

/// A text without one head.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadOff {
    /// The block, from 0.
    pub layer: usize,
    /// The query head in it, from 0.
    pub head: usize,
    /// Mean loss over the tokens but the first, in nats.
    pub loss: f64,
    /// ln p of each token; null for the first.
    pub logprobs: Vec<Option<f64>>,
    /// The most probable next token at each position.
    pub best: Vec<Candidate>,
}

/// A loss, ln p of each token, and what would come next.
type Predicted = (f64, Vec<Option<f64>>, Vec<Candidate>);

/// Runs the text once for each head.
///
/// # Errors
/// As [`page_text`]; [`PageError::Tril`] for a damaged model.
pub fn heads(model: &Model, text: &str) -> Result<HeadsOff, PageError> {
    let text = page_text(model, text)?;
    let ids = text.ids();
    let config = model.config();
    let run = |disabled: &[HeadId]| -> Result<Predicted, PageError> {
        let logits = look(model.gpt(), &ids, None, disabled, Wanted::Logits)?.logits;
        let rows: Vec<&[f32]> = logits.chunks_exact(config.vocab_size).collect();
        let of = |position: usize| position.checked_sub(1).map(|before| logprob(rows[before], ids[position]));
        let logprobs: Vec<Option<f64>> = (0..ids.len()).map(of).collect();
        let loss = 0.0 - logprobs.iter().flatten().sum::<f64>() / (ids.len() - 1) as f64;
        let best = rows.iter().enumerate().map(|(position, row)| Ok(distribution(row, position + 1)?.top(1)));
        let best = best.collect::<Result<Vec<_>, PageError>>()?.concat();
        Ok((loss, logprobs, candidates(model.tokenizer(), best)))
    };
    let (loss, logprobs, best) = run(&[])?;
    let mut heads = Vec::new();
    for (layer, head) in (0..config.n_layers).flat_map(|layer| (0..config.n_heads).map(move |head| (layer, head))) {
        let (loss, logprobs, best) = run(&[HeadId { layer, head }])?;
        heads.push(HeadOff { layer, head, loss, logprobs, best });
    }
    Ok(HeadsOff { text, loss, logprobs, best, heads })
}
