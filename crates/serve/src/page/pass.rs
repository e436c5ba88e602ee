//! One parallel pass over a text: where each head looks, what each layer would predict if it were the last, and how probable
//! the model finds each token.

use serde::Serialize;
use tril::Model;
use tril::infer::{Distribution, logprob};

use super::look::{Looked, Wanted, distribution, fingerprint, look, numbers, probability};
use super::text::{Candidate, PageText, candidates};
use super::{PageError, page_text};

/// Candidates that are named for each position.
const CANDIDATES: usize = 5;
/// The same for each layer of the logit lens.
const LENS_CANDIDATES: usize = 3;

/// A text, seen by a model in one pass.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Pass {
    /// The text.
    #[serde(flatten)]
    pub text: PageText,
    /// Tokens that a query sees, itself among them; null if all before it.
    pub window: Option<usize>,
    /// A row for each position.
    pub rows: Vec<TokenSeen>,
    /// The residual stream through the output head, before the first block, between two, and after the last.
    pub lens: Vec<LensLayer>,
    /// The attention of each head, layer by layer.
    pub attention: Vec<HeadWeights>,
}

/// One position: the token there, and what the model says comes next.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TokenSeen {
    /// ln p of the token, given those before it; null for the first.
    pub logprob: Option<f64>,
    /// 1 + the number of tokens that the model held more probable; null for the first.
    pub rank: Option<usize>,
    /// −Σ p ln p of what comes next, in nats.
    pub entropy: f64,
    /// What comes next, the most probable first.
    pub next: Vec<Candidate>,
    /// The first 16 hexadecimal digits of the SHA-256 of this position's logits as little-endian f32.
    pub logits: String,
}

/// What the model would say after some of its layers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LensLayer {
    /// How many blocks have been at work.
    pub after: usize,
    /// A row for each position.
    pub rows: Vec<LensRow>,
}

/// The same at one position.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LensRow {
    /// What would come next, the most probable first.
    pub next: Vec<Candidate>,
    /// The probability of the token that does come next; null for the last position.
    pub target: Option<f64>,
}

/// Where one head looks.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HeadWeights {
    /// The block, from 0.
    pub layer: usize,
    /// The query head in it, from 0.
    pub head: usize,
    /// For each query, the weights of all positions: those after it are there, and exactly 0.
    pub weights: Vec<Vec<f32>>,
}

/// Looks at a text.
///
/// # Errors
/// As [`page_text`]; [`PageError::Tril`] for a damaged model.
pub fn pass(model: &Model, text: &str) -> Result<Pass, PageError> {
    let text = page_text(model, text)?;
    let ids = text.ids();
    let gpt = model.gpt();
    let Looked { residuals, heads, logits } = look(gpt, &ids, None, &[], Wanted::Everything)?;
    let vocab_size = model.config().vocab_size;
    let rows: Vec<&[f32]> = logits.chunks_exact(vocab_size).collect();
    let mut seen = Vec::with_capacity(ids.len());
    for (position, row) in rows.iter().enumerate() {
        let before = position.checked_sub(1).map(|before| rows[before]);
        let distribution = distribution(row, position + 1)?;
        seen.push(TokenSeen {
            logprob: before.map(|before| logprob(before, ids[position])),
            rank: before.map(|before| rank(before, ids[position])),
            entropy: entropy(&distribution),
            next: candidates(model.tokenizer(), distribution.top(CANDIDATES)),
            logits: fingerprint(row),
        });
    }
    let mut lens = Vec::new();
    for (after, residual) in residuals.into_iter().enumerate() {
        let logits = numbers(gpt.logit_lens(residual))?;
        let row = |(position, row): (usize, &[f32])| -> Result<LensRow, PageError> {
            let next = distribution(row, position + 1)?.top(LENS_CANDIDATES);
            let target = ids.get(position + 1).map(|id| probability(row, *id));
            Ok(LensRow { next: candidates(model.tokenizer(), next), target })
        };
        let rows = logits.chunks_exact(vocab_size).enumerate().map(row).collect::<Result<_, _>>()?;
        lens.push(LensLayer { after, rows });
    }
    let attention =
        heads.into_iter().map(|found| HeadWeights { layer: found.layer, head: found.head, weights: found.rows });
    Ok(Pass { window: model.config().window(), rows: seen, lens, attention: attention.collect(), text })
}

/// 1 + how many ids come before `id` in order of descending logit, then ascending id.
fn rank(row: &[f32], id: u32) -> usize {
    let (own, id) = (row[id as usize], id as usize);
    1 + row.iter().enumerate().filter(|(other, logit)| **logit > own || (**logit == own && *other < id)).count()
}

/// −Σ p ln p, in nats.
fn entropy(distribution: &Distribution) -> f64 {
    distribution.tokens().map(|(_, p)| -p * libm::log(p)).sum::<f64>().max(0.0)
}
