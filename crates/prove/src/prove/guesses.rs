//! Claim 1 for passes that check guesses: right ones are kept, wrong ones are taken out again.

use tril_infer::{InferError, MAX_GUESSES};

use super::compare::Comparison;
use super::model_runner::{ModelRunner, Rows};
use super::text::{Draws, Segment};
use super::{ModelUnderTest, ProofId};

/// The proof on one segment.
pub(super) struct Guesses<'a, S: ModelUnderTest> {
    pub runner: &'a ModelRunner<'a, S>,
    pub segment: Segment<'a>,
    /// The logits of the parallel pass.
    pub parallel: &'a Rows,
    pub seed: u64,
}

impl<S: ModelUnderTest> Guesses<'_, S> {
    /// The segment from end to end by passes over the last token and some guesses, of which the first are right and the
    /// others wrong, beside a sequence of other tokens that has passes of another length.
    pub fn checked(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let (model, ids) = (self.runner.model, self.segment.ids);
        let vocab_size = model.config().vocab_size;
        let mut draws = Draws::new(self.seed, ProofId::Guessed, self.segment, vocab_size);
        let others = draws.tokens_other_than(ids);
        let mut caches = vec![model.new_cache(), model.new_cache()];
        let (mut position, mut beside) = (0, 0);
        for pass in 0.. {
            if position == ids.len() {
                break;
            }
            let most = MAX_GUESSES.min(ids.len() - position - 1);
            // None and as many as there may be, too.
            let guesses = if pass % 5 == 4 { most } else { draws.number_up_to(most) };
            let guesses = model.reserve(&mut caches[0], guesses + 1).saturating_sub(1);
            let right = draws.number_up_to(guesses);
            let (kept, ahead) = (position + 1 + right, position + 1 + guesses);
            let wrong = draws.tokens_other_than(&ids[kept..ahead]);
            let chunk = [&ids[position..kept], &wrong].concat();
            if beside == others.len() {
                (caches[1], beside) = (model.new_cache(), 0);
            }
            let company = &others[beside..others.len().min(beside + 1 + pass % 3)];
            let lengths = [chunk.len(), company.len()];
            let rows = model.extend(&[&chunk[..], company].concat(), &lengths, &mut caches)?;
            beside += company.len();
            comparison.case();
            for (place, row) in (position..kept).zip(rows.chunks_exact(vocab_size)) {
                comparison.compare(self.segment.start + place, self.parallel.row(place), row);
            }
            let is_back = model.rewind(&mut caches[0], kept);
            if !is_back || model.position(&caches[0]) != kept {
                comparison.fail(format!("a cache with {guesses} guesses cannot be taken back to position {kept}"));
                return Ok(());
            }
            position = kept;
        }
        Ok(())
    }
}
