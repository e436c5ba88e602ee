//! The second product of attention, in which each query has an end of its own.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::gemm::{Gemm, GemmInit, Matrix};
use super::super::simd::{LANES, load, store, vectorized};
use super::{Heads, Scores};

/// Queries that take keys at the ends of what they see each by itself.
const SINGLE: usize = 8;

/// Adds each query's values up, weighed by its probabilities, in order of position. Queries take the keys that all of them
/// see together, and the others at both ends in two halves, and those again, down to a few queries.
pub struct WeightedSum<'a> {
    pub heads: &'a Heads,
    pub batch: usize,
    pub head: usize,
    /// The first query that `probs` and `out` have a row of.
    pub first_query: usize,
    pub probs: Scores,
    /// `[block, d_head]`, a row every `stride`.
    pub out: &'a mut [f32],
    pub stride: usize,
}

impl WeightedSum<'_> {
    /// Adds to the rows of some queries.
    pub fn add_all(&mut self, queries: Range<usize>) {
        let shared = self.heads.seen(queries.end - 1).start..self.heads.seen(queries.start).end;
        if shared.is_empty() {
            let (first, second) = halves(&queries);
            self.add_all(first);
            self.add_all(second);
            return;
        }
        self.before(queries.clone(), shared.start);
        self.after(queries, shared.start);
    }

    /// The keys before `end`, up to which all of them see, that some of the queries see.
    fn before(&mut self, queries: Range<usize>, end: usize) {
        let shared = self.heads.seen(queries.end - 1).start;
        if self.heads.seen(queries.start).start < shared {
            if queries.len() <= SINGLE {
                self.one_by_one(queries.clone(), 0..shared);
            } else {
                let (first, second) = halves(&queries);
                self.before(first, shared);
                self.before(second, shared);
            }
        }
        self.add(queries, shared..end);
    }

    /// The keys from `start` on, from where all of them see, that some of the queries see.
    fn after(&mut self, queries: Range<usize>, start: usize) {
        let shared = self.heads.seen(queries.start).end.max(start);
        self.add(queries.clone(), start..shared);
        if shared < self.heads.seen(queries.end - 1).end {
            if queries.len() <= SINGLE {
                self.one_by_one(queries, shared..usize::MAX);
            } else {
                let (first, second) = halves(&queries);
                self.after(first, shared);
                self.after(second, shared);
            }
        }
    }

    /// What each of the queries sees of some keys.
    fn one_by_one(&mut self, queries: Range<usize>, keys: Range<usize>) {
        vectorized(OneByOne { sum: self, queries, keys });
    }

    /// Keys that all of the queries see.
    fn add(&mut self, queries: Range<usize>, keys: Range<usize>) {
        if keys.is_empty() {
            return;
        }
        let Self { heads, batch, head, first_query, ref probs, stride, .. } = *self;
        let from = (queries.start - first_query) * probs.width + keys.start - probs.first;
        Gemm {
            size: [queries.len(), heads.d_head, keys.len()],
            a: Matrix { data: &probs.values[from..], row_stride: probs.width, column_stride: 1 },
            b: Heads::matrix(&heads.v, batch, heads.kv_head(head), keys.start),
            start: GemmInit::Add,
        }
        .into(&mut self.out[(queries.start - first_query) * stride..], stride);
    }
}

struct OneByOne<'a, 'b> {
    sum: &'a mut WeightedSum<'b>,
    queries: Range<usize>,
    keys: Range<usize>,
}

impl WithSimd for OneByOne<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { sum, queries, keys } = self;
        let WeightedSum { heads, batch, head, first_query, ref probs, ref mut out, stride } = *sum;
        let values = Heads::matrix(&heads.v, batch, heads.kv_head(head), 0);
        for query in queries {
            let seen = heads.seen(query);
            let seen = keys.start.max(seen.start)..keys.end.min(seen.end);
            let weights = &probs.values[(query - first_query) * probs.width..][..probs.width];
            let out = &mut out[(query - first_query) * stride..][..heads.d_head];
            for (part, out) in out.chunks_mut(LANES).enumerate() {
                let mut total = load(simd, out);
                for key in seen.clone() {
                    let value = &values.data[key * values.row_stride + part * LANES..][..out.len()];
                    let weight = simd.splat_f32s(weights[key - probs.first]);
                    total = simd.mul_add_f32s(weight, load(simd, value), total);
                }
                store(simd, out, total);
            }
        }
    }
}

/// Two halves of several queries.
fn halves(queries: &Range<usize>) -> (Range<usize>, Range<usize>) {
    let middle = queries.start + queries.len() / 2;
    (queries.start..middle, middle..queries.end)
}
