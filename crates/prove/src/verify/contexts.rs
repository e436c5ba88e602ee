//! The contexts that a text was made in, each from where its oldest token stands to where old tokens left it, and the
//! logits of each by one parallel pass.

use std::ops::Range;

use rayon::prelude::*;
use tril_model::{ForwardContext, Gpt};

use tril_infer::{InferError, context_start};

/// Positions that one pass goes over; a longer context goes through the cache in pieces of this size, which changes
/// nothing but memory.
const PASS: usize = 2048;

/// Logits that are held at once.
const MAX_LOGITS: usize = 1 << 22;

/// Tokens that were predicted in one context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Absolute position of its oldest token.
    start: usize,
    /// Absolute positions of the tokens that it predicted.
    predicted: Range<usize>,
}

/// The contexts of tokens at these absolute positions, in a model that sees at most `limit` tokens.
pub fn contexts(positions: Range<usize>, limit: Option<usize>) -> Vec<Context> {
    let mut contexts: Vec<Context> = Vec::new();
    let mut start = 0;
    for position in positions {
        start = limit.map_or(0, |limit| context_start(start, position, limit));
        match contexts.last_mut() {
            Some(context) if context.start == start => context.predicted.end = position + 1,
            _ => contexts.push(Context { start, predicted: position..position + 1 }),
        }
    }
    contexts
}

impl Context {
    /// What `judge` makes of each predicted token's position and logits, `[vocab_size]`, in order.
    ///
    /// - ids: the whole text
    pub fn judge<T: Send>(
        &self,
        gpt: &Gpt,
        ids: &[u32],
        judge: impl Fn(usize, &[f32]) -> Result<T, InferError> + Sync,
    ) -> Result<Vec<(usize, T)>, InferError> {
        let vocab_size = gpt.config().vocab_size;
        let rows = (MAX_LOGITS / vocab_size).max(1);
        let seen = &ids[self.start..self.predicted.end - 1];
        let mut cache = (seen.len() > PASS).then(|| gpt.new_cache(1));
        let mut judged = Vec::with_capacity(self.predicted.len());
        for (number, piece) in seen.chunks(PASS).enumerate() {
            let pass = cache.as_mut().map_or_else(ForwardContext::default, ForwardContext::cached);
            let hidden = gpt.hidden(gpt.inputs(piece, 1), pass); // [1, piece, d_model]
            // Row i of the piece predicts the token one place after the piece's token i.
            let first = self.start + number * PASS + 1;
            let mut position = first.max(self.predicted.start);
            while position < first + piece.len() {
                let count = rows.min(first + piece.len() - position);
                let logits = gpt.unembed(hidden.clone().narrow(1, position - first, count)); // [1, count, vocab_size]
                let logits = logits.try_into_vec_as::<f32>().map_err(InferError::device)?;
                let one = |(row, logits): (usize, &[f32])| Ok((position + row, judge(position + row, logits)?));
                let more: Result<Vec<_>, InferError> = logits.par_chunks(vocab_size).enumerate().map(one).collect();
                judged.extend(more?);
                position += count;
            }
        }
        Ok(judged)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(start: usize, predicted: Range<usize>) -> Context {
        Context { start, predicted }
    }

    #[test]
    fn a_context_without_end_is_one() {
        assert_eq!(contexts(3..1000, None), [context(0, 3..1000)]);
        assert_eq!(contexts(3..3, None), []);
    }

    #[test]
    fn the_oldest_half_leaves_a_full_context() {
        // 8 tokens fit: the one at position 8 follows from them, the one at 9 from those from 4 on.
        assert_eq!(contexts(2..14, Some(8)), [context(0, 2..9), context(4, 9..13), context(8, 13..14)]);
        assert_eq!(contexts(21..23, Some(8)), [context(16, 21..23)], "as often as it takes");
        assert_eq!(contexts(1..4, Some(1)), [context(0, 1..2), context(1, 2..3), context(2, 3..4)]);
    }
}
