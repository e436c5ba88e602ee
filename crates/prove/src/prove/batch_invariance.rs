//! Claim 2: neither the sequences beside one nor the number of threads changes a logit.

use rayon::ThreadPool;

use super::compare::Comparison;
use super::model_runner::{ModelRunner, Rows};
use super::text::{Draws, Segment};
use super::{ModelUnderTest, ProofId};
use tril_infer::InferError;

/// Sequences in a batch.
const BATCH: usize = 4;

/// Steps taken with the cache after the prefill.
const STEPS: usize = 24;

/// The proofs of claim 2 on one segment.
pub(super) struct BatchInvariance<'a, S: ModelUnderTest> {
    pub runner: &'a ModelRunner<'a, S>,
    pub segment: Segment<'a>,
    /// The logits of the segment alone.
    pub parallel: &'a Rows,
    pub seed: u64,
}

impl<S: ModelUnderTest> BatchInvariance<'_, S> {
    /// The segment in each row of a batch; beside it its own first half, made as long with other tokens, and sequences
    /// that have nothing in common with it.
    pub fn batched(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let len = self.len();
        let half = len.div_ceil(2);
        for row in 0..BATCH {
            let beside = (row + 1) % BATCH;
            let mut batch = self.batch(comparison.id(), row);
            batch[beside][..half].copy_from_slice(&self.segment.ids[..half]);
            let together = self.runner.parallel(&slices(&batch, 0..len))?;
            comparison.case();
            for position in 0..len {
                self.compare(comparison, position, together.row(row * len + position));
            }
            for position in 0..half {
                self.compare(comparison, position, together.row(beside * len + position));
            }
        }
        Ok(())
    }

    /// The same with the cache: a prefill, then steps.
    pub fn batched_cached(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let model = self.runner.model;
        let prefill = self.prefill();
        let chunks = [prefill].into_iter().chain(std::iter::repeat_n(1, self.len() - prefill));
        let mut cache = model.new_cache();
        let alone = self.runner.chunks(self.segment.ids, &[prefill, 1], &mut cache)?;
        for row in 0..BATCH {
            let batch = self.batch(comparison.id(), row);
            let mut cache = model.batch_cache(BATCH);
            let mut start = 0;
            for chunk in chunks.clone() {
                let together = self.runner.chunk(&slices(&batch, start..start + chunk), &mut cache)?;
                for index in 0..chunk {
                    let position = start + index;
                    let found = together.row(row * chunk + index);
                    comparison.compare(self.segment.start + position, alone.row(position), found);
                }
                start += chunk;
            }
            comparison.case();
        }
        Ok(())
    }

    /// The segment in each row of a batch whose other sequences stand at positions of their own, come later and leave
    /// earlier.
    pub fn ragged(&self, comparison: &mut Comparison) -> Result<(), InferError> {
        let model = self.runner.model;
        let (prefill, vocab_size) = (self.prefill(), model.config().vocab_size);
        for row in 0..BATCH {
            let batch = self.batch(comparison.id(), row);
            let mut caches = Vec::new();
            for (number, ids) in batch.iter().enumerate() {
                let mut cache = model.new_cache();
                let held = if number == row { prefill } else { prefill * number / BATCH };
                if held > 0 {
                    model.last_logits(&ids[..held], Some(&mut cache))?;
                }
                caches.push(Some(cache));
            }
            for (step, position) in (prefill..self.len()).enumerate() {
                // The segment always, the others by turns: each is away for one step of three.
                let present: Vec<usize> = (0..BATCH).filter(|n| *n == row || (step + n) % (BATCH - 1) > 0).collect();
                let mut taken: Vec<_> = present.iter().filter_map(|number| caches[*number].take()).collect();
                let ids: Vec<u32> =
                    present.iter().zip(&taken).map(|(number, cache)| batch[*number][model.position(cache)]).collect();
                let logits = model.decode(&ids, &mut taken)?;
                for (number, cache) in present.iter().zip(taken) {
                    caches[*number] = Some(cache);
                }
                let place = present.iter().position(|number| *number == row).unwrap_or(0);
                self.compare(comparison, position, &logits[place * vocab_size..(place + 1) * vocab_size]);
            }
            comparison.case();
        }
        Ok(())
    }

    /// The parallel pass and the cache on each number of threads, against the threads that the caller has.
    pub fn threads(&self, comparison: &mut Comparison, pools: &[ThreadPool]) -> Result<(), InferError> {
        let by_cache = || {
            let mut cache = self.runner.model.new_cache();
            self.runner.chunks(self.segment.ids, &[self.prefill(), 1], &mut cache)
        };
        let expected = by_cache()?;
        for pool in pools {
            if self.segment.start == 0 {
                comparison.case();
            }
            let (parallel, cached) =
                pool.install(|| Ok::<_, InferError>((self.runner.parallel(&[self.segment.ids])?, by_cache()?)))?;
            for position in 0..self.len() {
                self.compare(comparison, position, parallel.row(position));
                comparison.compare(self.segment.start + position, expected.row(position), cached.row(position));
            }
        }
        Ok(())
    }

    /// Sequences of other tokens, and the segment in this row.
    fn batch(&self, id: ProofId, row: usize) -> Vec<Vec<u32>> {
        let mut draws = Draws::new(self.seed, id, self.segment, self.runner.model.config().vocab_size);
        let mut batch: Vec<_> = (0..BATCH).map(|_| draws.tokens_other_than(self.segment.ids)).collect();
        batch[row] = self.segment.ids.to_vec();
        batch
    }

    fn compare(&self, comparison: &mut Comparison, position: usize, found: &[f32]) {
        comparison.compare(self.segment.start + position, self.parallel.row(position), found);
    }

    fn prefill(&self) -> usize {
        self.len() - STEPS.min(self.len() / 2)
    }

    fn len(&self) -> usize {
        self.segment.ids.len()
    }
}

fn slices(batch: &[Vec<u32>], range: std::ops::Range<usize>) -> Vec<&[u32]> {
    batch.iter().map(|ids| &ids[range.clone()]).collect()
}
