//! Claim 1: one masked pass computes what any way of going step by step computes.

use super::compare::Comparison;
use super::model_runner::{ModelRunner, Rows};
use super::text::{Draws, Segment};
use super::{ModelUnderTest, ProofId};
use tril_infer::InferError;

/// Steps taken after a prefill, and tokens that follow an edit.
const TAIL: usize = 6;

/// Chunk sizes tried on a segment.
const SIZES: usize = 12;

/// The proofs of claim 1 on one segment.
pub(super) struct CacheEquivalence<'a, S: ModelUnderTest> {
    pub runner: &'a ModelRunner<'a, S>,
    pub segment: Segment<'a>,
    /// The logits of the parallel pass.
    pub parallel: &'a Rows,
    /// How many cases there is time for.
    pub cases: usize,
    pub seed: u64,
}

impl<S: ModelUnderTest> CacheEquivalence<'_, S> {
    /// The last logits of prefixes, each computed from nothing.
    pub fn recomputed(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        for position in self.below(comparison.id(), self.len()) {
            let prefix = self.runner.parallel(&[&self.segment.ids[..=position]])?;
            comparison.case();
            self.compare(comparison, position, prefix.row(position));
        }
        Ok(())
    }

    /// Every position by a step of its own.
    pub fn cached(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let mut cache = self.runner.model.new_cache();
        for (position, id) in self.segment.ids.iter().enumerate() {
            let step = self.runner.chunk(&[&[*id]], &mut cache)?;
            comparison.case();
            self.compare(comparison, position, step.row(0));
        }
        Ok(())
    }

    /// Every position by the step that the generator takes.
    pub fn generated(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let model = self.runner.model;
        let mut cache = model.new_cache();
        for (position, id) in self.segment.ids.iter().enumerate() {
            let logits = model.last_logits(&[*id], Some(&mut cache))?;
            comparison.case();
            self.compare(comparison, position, &logits);
        }
        Ok(())
    }

    /// A prefill of each length, and the steps that follow.
    pub fn prefilled(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        for length in self.below(comparison.id(), self.len() - 1).into_iter().map(|below| below + 1) {
            let end = (length + TAIL).min(self.len());
            self.feed(comparison, &self.segment.ids[..end], &[length, 1], 0)?;
        }
        Ok(())
    }

    /// Chunks of each size.
    pub fn chunked(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let sizes = self.len() - 1; // 2 to len
        let count = self.cases.min(SIZES);
        for size in self.draws(comparison.id()).below(sizes, count, &[sizes - 1, 0, 1, 14, 62, sizes / 2]) {
            self.feed(comparison, self.segment.ids, &[size + 2], 0)?;
        }
        Ok(())
    }

    /// Past the window, where the cache gives up old positions, in chunks shorter and longer than what it holds.
    pub fn ring(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let Some(window) = self.runner.model.config().window() else {
            comparison.absent("the model has no window: its cache keeps everything");
            return Ok(());
        };
        let held = self.held(window);
        if self.len() <= held {
            comparison.absent(format!("no piece goes beyond the {held} positions it holds"));
            return Ok(());
        }
        let w = window;
        let feeds: [&[usize]; 9] = [
            &[w, 1],
            &[w + 1],
            &[(w - 1).max(1)],
            &[2 * w],
            &[2 * w + 1],
            &[2 * w - 1, 1, 1, w],
            &[1, 3 * w, 1, 1, 2],
            &[w / 2 + 1, w],
            &[3],
        ];
        for lengths in feeds {
            self.feed(comparison, self.segment.ids, lengths, window)?;
        }
        Ok(())
    }

    /// A cache taken back, then fed with other tokens than those it saw.
    pub fn rewound(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        comparison.absent("the cache has given up what it would need to go back");
        let model = self.runner.model;
        let mut draws = self.draws(comparison.id());
        let count = (self.cases / 8).clamp(1, 6);
        let window = model.config().window;
        let edges = [self.len() - 2, (2 * window).saturating_sub(1), window];
        for fed in draws.below(self.len() - 1, count, &edges).into_iter().map(|below| below + 2) {
            let mut full = model.new_cache();
            self.runner.chunks(&self.segment.ids[..fed], &[fed.saturating_sub(TAIL).max(1), 1], &mut full)?;
            for back_to in draws.below(fed, 5, &[fed - 1, fed / 2, fed.saturating_sub(3)]) {
                let mut cache = full.clone();
                if !model.rewind(&mut cache, back_to) {
                    let window = model.config().window();
                    if window.is_none_or(|window| fed <= self.held(window)) {
                        comparison
                            .fail(format!("a cache that has given nothing up refuses to go from {fed} to {back_to}"));
                    }
                    continue;
                }
                let found = model.position(&cache);
                if found != back_to {
                    comparison.fail(format!("taken back to position {back_to}, the cache stands at {found}"));
                    return Ok(());
                }
                let end = (back_to + TAIL).min(self.len());
                let others = draws.tokens_other_than(&self.segment.ids[back_to..end]);
                let edited = [&self.segment.ids[..back_to], &others].concat();
                let expected = self.runner.parallel(&[&edited])?;
                let rows = self.runner.chunks(&others, &[TAIL / 2, 1], &mut cache)?;
                comparison.case();
                for row in 0..rows.len() {
                    let position = back_to + row;
                    comparison.compare(self.segment.start + position, expected.row(position), rows.row(row));
                }
            }
        }
        Ok(())
    }

    /// One case: a fresh cache is fed in chunks, and positions from `first` on are compared.
    fn feed(
        &self,
        comparison: &mut Comparison,
        ids: &[u32],
        lengths: &[usize],
        first: usize,
    ) -> Result<(), InferError> {
        let rows = self.runner.chunks(ids, lengths, &mut self.runner.model.new_cache())?;
        comparison.case();
        for position in first..rows.len() {
            self.compare(comparison, position, rows.row(position));
        }
        Ok(())
    }

    /// Positions that a cache with a window holds before it gives up the oldest.
    fn held(&self, window: usize) -> usize {
        let limit = self.runner.model.config().context_limit().unwrap_or(usize::MAX);
        (2 * window).min(limit)
    }

    fn compare(&self, comparison: &mut Comparison, position: usize, found: &[f32]) {
        comparison.compare(self.segment.start + position, self.parallel.row(position), found);
    }

    fn len(&self) -> usize {
        self.segment.ids.len()
    }

    fn draws(&self, id: ProofId) -> Draws {
        Draws::new(self.seed, id, self.segment, self.runner.model.config().vocab_size)
    }

    /// Sampled numbers below `end`, with both ends and the places around the window's border among them.
    fn below(&self, id: ProofId, end: usize) -> Vec<usize> {
        let window = self.runner.model.config().window;
        let edges = [end.saturating_sub(1), 0, window, window.saturating_sub(1), 2 * window, 1];
        self.draws(id).below(end, self.cases, &edges)
    }
}
