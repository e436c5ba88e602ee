//! Causal attention, forward and backward. A query's softmax and its output are taken over the keys that it sees and no
//! others; in the backward pass the others add exact zeros, as long as numbers are finite. No table of all scores is
//! kept: the backward pass computes them again, a block of queries at a time.
//!
//! A score is one chain of fused multiply-adds over d_head; an output is one over the keys in order of position. A
//! query's bits depend on what it sees alone: not on how many queries stand beside it or where keys lie in memory.

mod weighted_sum;

use std::ops::Range;

use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::gemm::{Gemm, GemmInit, Matrix};
use super::operation::Operation;
use super::rows::{Rows, tensor};
use super::simd::{exp, max, sum, update, vectorized};
use super::spin_pool;
use weighted_sum::WeightedSum;

/// Queries in work together.
const BLOCK: usize = 32;

/// Multiply-adds below which splitting heads over threads costs more than it saves.
const PARALLEL_WORK: usize = 1 << 17;

/// The same where threads stand by.
const SPIN_POOL_WORK: usize = 1 << 15;

/// softmax(q·kᵀ/√d_head)·v over the keys that each query may see; see [`crate::causal_attention`] for the shapes.
#[derive(Debug, Clone)]
pub struct CausalAttention {
    pub window: Option<usize>,
    /// Factors for the probabilities, `[batch_size, n_heads, q_len, k_len]`.
    pub dropout: Option<FlexTensor>,
}

/// The inputs, and what their sizes are.
struct Heads {
    q: Rows,
    k: Rows,
    v: Rows,
    dropout: Option<Rows>,
    batch_size: usize,
    n_heads: usize,
    n_kv_heads: usize,
    q_len: usize,
    k_len: usize,
    d_head: usize,
    window: usize,
}

impl Heads {
    fn new(attention: &CausalAttention, [q, k, v]: &[FlexTensor; 3]) -> Self {
        // A cache keeps keys with positions side by side.
        let (q, k, v) = (Rows::new(q), Rows::strided(k), Rows::new(v));
        let dropout = attention.dropout.as_ref().map(Rows::consecutive);
        let ([batch_size, n_heads, q_len, d_head], [_, n_kv_heads, k_len, _]) = (axes(&q), axes(&k));
        let window = attention.window.unwrap_or(usize::MAX);
        Self { q, k, v, dropout, batch_size, n_heads, n_kv_heads, q_len, k_len, d_head, window }
    }

    /// The keys that query number `query` sees.
    fn seen(&self, query: usize) -> Range<usize> {
        let end = self.k_len - self.q_len + query + 1;
        end.saturating_sub(self.window)..end
    }

    /// Blocks of queries.
    fn blocks(&self) -> impl Iterator<Item = Range<usize>> {
        let q_len = self.q_len;
        (0..q_len).step_by(BLOCK).map(move |first| first..q_len.min(first + BLOCK))
    }

    /// The key/value head that a query head uses.
    fn kv_head(&self, head: usize) -> usize {
        head / (self.n_heads / self.n_kv_heads)
    }

    /// A head's rows as a matrix, `[len, d_head]`.
    fn matrix<'a>(rows: &'a Rows, batch: usize, head: usize, first: usize) -> Matrix<'a> {
        Matrix { data: rows.from([batch, head, first, 0]), row_stride: rows.stride(2), column_stride: rows.stride(3) }
    }

    /// A block's queries, scaled by 1/√d_head, `[block, d_head]`.
    fn scaled_queries(&self, batch: usize, head: usize, block: &Range<usize>) -> Vec<f32> {
        let scale = (self.d_head as f32).sqrt().recip();
        let mut scaled = Vec::with_capacity(block.len() * self.d_head);
        for query in block.clone() {
            scaled.extend(self.q.from([batch, head, query])[..self.d_head].iter().map(|x| x * scale));
        }
        scaled
    }

    /// Probabilities of a block, `[block, k_len − first]` from key `first`; zero where a query does not see.
    fn probabilities(&self, batch: usize, head: usize, scaled: &[f32], block: &Range<usize>) -> Scores {
        let first = self.seen(block.start).start;
        let width = self.seen(block.end - 1).end - first;
        let mut values = Gemm {
            size: [block.len(), width, self.d_head],
            a: Matrix::row_major(scaled, self.d_head),
            b: Self::matrix(&self.k, batch, self.kv_head(head), first).transposed(),
            start: GemmInit::Zero,
        }
        .to_vec();
        for (row, query) in values.chunks_exact_mut(width).zip(block.clone()) {
            let seen = self.seen(query);
            row[..seen.start - first].fill(0.0);
            row[seen.end - first..].fill(0.0);
            vectorized(Softmax(&mut row[seen.start - first..seen.end - first]));
        }
        Scores { first, width, values }
    }

    /// Dropout factors of a query, from key `first` on.
    fn factors(&self, batch: usize, head: usize, query: usize, first: usize, width: usize) -> Option<&[f32]> {
        self.dropout.as_ref().map(|factors| &factors.from([batch, head, query, first])[..width])
    }

    /// Multiplies a block's probabilities, or their gradients, with the dropout factors.
    fn apply_dropout(&self, batch: usize, head: usize, block: &Range<usize>, scores: &mut Scores) {
        if self.dropout.is_none() {
            return;
        }
        let Scores { first, width, .. } = *scores;
        for (row, query) in scores.values.chunks_exact_mut(width).zip(block.clone()) {
            if let Some(factors) = self.factors(batch, head, query, first, width) {
                row.iter_mut().zip(factors).for_each(|(value, factor)| *value *= factor);
            }
        }
    }

    /// Whether to share the heads out over threads.
    fn in_parallel(&self) -> bool {
        let least = if spin_pool::is_active() { SPIN_POOL_WORK } else { PARALLEL_WORK };
        spin_pool::threads() > 1 && self.batch_size * self.n_heads * self.q_len * self.k_len * self.d_head >= least
    }
}

/// A block of scores from key `first` on.
#[derive(Clone)]
struct Scores {
    first: usize,
    width: usize,
    values: Vec<f32>,
}

/// Turns a row of scores into probabilities.
pub struct Softmax<'a>(pub &'a mut [f32]);

impl WithSimd for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let row = self.0;
        let maxima = simd.splat_f32s(max(simd, row));
        update!(simd, row, x, [], exp(simd, simd.sub_f32s(x, maxima)));
        let share = simd.splat_f32s(1.0 / sum!(simd, [x in row], x));
        update!(simd, row, x, [], simd.mul_f32s(x, share));
    }
}

impl Operation<3> for CausalAttention {
    type Saved = ();

    const NAMES: [&'static str; 2] = ["attention, forward", "attention, backward"];

    fn forward(&self, inputs: &[FlexTensor; 3]) -> (FlexTensor, ()) {
        let heads = Heads::new(self, inputs);
        let Heads { batch_size, n_heads, q_len, d_head, .. } = heads;
        // Heads side by side in each position's row, as the next product reads them.
        let width = n_heads * d_head;
        let mut out = vec![0.0; batch_size * q_len * width];
        // What is shared out: a block of queries with all its heads, or a lone query's heads, each a slice of the result.
        let of_heads = if q_len == 1 { 1 } else { n_heads };
        let units = out.chunks_mut((q_len * width).max(1)).enumerate().flat_map(|(batch, out)| {
            let parts = out.chunks_mut(BLOCK.min(q_len) * of_heads * d_head).enumerate();
            parts.map(move |(part, out)| if q_len == 1 { (batch, 0, part, out) } else { (batch, part * BLOCK, 0, out) })
        });
        let one = |(batch, first, head, out): (usize, usize, usize, &mut [f32])| {
            for part in 0..of_heads {
                let block = first..q_len.min(first + BLOCK);
                forward_block(&heads, batch, head + part, &block, &mut out[part * d_head..]);
            }
        };
        if heads.in_parallel() {
            spin_pool::for_each(units.collect(), one);
        } else {
            units.for_each(one);
        }
        (tensor(out, &[batch_size, q_len, n_heads, d_head]).transpose(1, 2), ())
    }

    fn backward(
        &self,
        inputs: [FlexTensor; 3],
        (): (),
        gradient: FlexTensor,
        _wanted: [bool; 3],
    ) -> [Option<FlexTensor>; 3] {
        let heads = Heads::new(self, &inputs);
        let gradient = Rows::new(&gradient);
        let Heads { batch_size, n_heads, n_kv_heads, q_len, k_len, d_head, .. } = heads;
        let [mut dq, mut dk, mut dv] =
            [n_heads * q_len, n_kv_heads * k_len, n_kv_heads * k_len].map(|rows| vec![0.0; batch_size * rows * d_head]);
        let parts = dq.chunks_mut(n_heads * q_len * d_head).zip(dk.chunks_mut(n_kv_heads * k_len * d_head));
        let parts = parts.zip(dv.chunks_mut(n_kv_heads * k_len * d_head)).enumerate();
        type Part<'a> = (usize, ((&'a mut [f32], &'a mut [f32]), &'a mut [f32]));
        let one = |(batch, ((dq, dk), dv)): Part<'_>| backward_row(&heads, &gradient, batch, [dq, dk, dv]);
        if heads.in_parallel() {
            spin_pool::for_each(parts.collect(), one);
        } else {
            parts.for_each(one);
        }
        let queries = tensor(dq, &[batch_size, q_len, n_heads, d_head]).transpose(1, 2);
        let [keys, values] = [dk, dv].map(|d| tensor(d, &[batch_size, k_len, n_kv_heads, d_head]).transpose(1, 2));
        [Some(queries), Some(keys), Some(values)]
    }
}

/// The probabilities by which [`CausalAttention`] weighs values: the same numbers, made by the same code.
///
/// - q: `[batch_size, n_heads, q_len, d_head]`; k: `[batch_size, n_kv_heads, k_len, d_head]`
/// - returns: `[batch_size, n_heads, q_len, k_len]`, with exactly zero where a query does not see
pub fn attention_probs(q: &FlexTensor, k: &FlexTensor, window: Option<usize>) -> FlexTensor {
    let attention = CausalAttention { window, dropout: None };
    let heads = Heads::new(&attention, &[q.clone(), k.clone(), k.clone()]);
    let Heads { batch_size, n_heads, q_len, k_len, .. } = heads;
    let mut out = vec![0.0; batch_size * n_heads * q_len * k_len];
    for (index, out) in out.chunks_mut((q_len * k_len).max(1)).enumerate() {
        let (batch, head) = (index / n_heads, index % n_heads);
        for block in heads.blocks() {
            let scaled = heads.scaled_queries(batch, head, &block);
            let Scores { first, width, values } = heads.probabilities(batch, head, &scaled, &block);
            for (row, query) in values.chunks_exact(width).zip(block) {
                out[query * k_len + first..][..width].copy_from_slice(row);
            }
        }
    }
    tensor(out, &[batch_size, n_heads, q_len, k_len])
}

fn axes(rows: &Rows) -> [usize; 4] {
    <[usize; 4]>::try_from(rows.shape()).expect("queries, keys and values have four axes")
}

/// One head of a block of queries.
///
/// - out: `[block, d_head]`, a row every `n_heads · d_head`
fn forward_block(heads: &Heads, batch: usize, head: usize, block: &Range<usize>, out: &mut [f32]) {
    let stride = heads.n_heads * heads.d_head;
    let scaled = heads.scaled_queries(batch, head, block);
    let mut probs = heads.probabilities(batch, head, &scaled, block);
    heads.apply_dropout(batch, head, block, &mut probs);
    WeightedSum { heads, batch, head, first_query: block.start, probs, out, stride }.add_all(block.clone());
}

/// Adds up the gradients of one row of the batch.
///
/// - dq: `[q_len, n_heads, d_head]`; dk, dv: `[k_len, n_kv_heads, d_head]`
fn backward_row(heads: &Heads, gradient: &Rows, batch: usize, [dq, dk, dv]: [&mut [f32]; 3]) {
    let Heads { d_head, n_heads, n_kv_heads, .. } = *heads;
    let (q_stride, kv_stride) = (n_heads * d_head, n_kv_heads * d_head);
    let scale = (d_head as f32).sqrt().recip();
    for head in 0..n_heads {
        let kv_head = heads.kv_head(head);
        for block in heads.blocks() {
            let scaled = heads.scaled_queries(batch, head, &block);
            let probs = heads.probabilities(batch, head, &scaled, &block);
            let Scores { first, width, .. } = probs;
            let out_gradient = Heads::matrix(gradient, batch, head, block.start);
            let kv_from = first * kv_stride + kv_head * d_head;
            let dropped = heads.dropout.is_some().then(|| {
                let mut dropped = probs.clone();
                heads.apply_dropout(batch, head, &block, &mut dropped);
                dropped
            });
            // dv += probsᵀ · d out
            Gemm {
                size: [width, d_head, block.len()],
                a: Matrix::row_major(&dropped.as_ref().unwrap_or(&probs).values, width).transposed(),
                b: out_gradient,
                start: GemmInit::Add,
            }
            .into(&mut dv[kv_from..], kv_stride);
            // d probs = d out · vᵀ
            let slopes = Gemm {
                size: [block.len(), width, d_head],
                a: out_gradient,
                b: Heads::matrix(&heads.v, batch, kv_head, first).transposed(),
                start: GemmInit::Zero,
            }
            .to_vec();
            let mut slopes = Scores { first, width, values: slopes };
            heads.apply_dropout(batch, head, &block, &mut slopes);
            // d scores = probs · (d probs − Σ probs · d probs)
            for (slopes, probs) in slopes.values.chunks_exact_mut(width).zip(probs.values.chunks_exact(width)) {
                vectorized(ScoreGradient { probs, slopes });
            }
            // dk += d scoresᵀ · q / √d_head
            Gemm {
                size: [width, d_head, block.len()],
                a: Matrix::row_major(&slopes.values, width).transposed(),
                b: Matrix::row_major(&scaled, d_head),
                start: GemmInit::Add,
            }
            .into(&mut dk[kv_from..], kv_stride);
            // dq = d scores · k / √d_head
            slopes.values.iter_mut().for_each(|slope| *slope *= scale);
            Gemm {
                size: [block.len(), d_head, width],
                a: Matrix::row_major(&slopes.values, width),
                b: Heads::matrix(&heads.k, batch, kv_head, first),
                start: GemmInit::Zero,
            }
            .into(&mut dq[block.start * q_stride + head * d_head..], q_stride);
        }
    }
}

struct ScoreGradient<'a> {
    probs: &'a [f32],
    slopes: &'a mut [f32],
}

impl WithSimd for ScoreGradient<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { probs, slopes } = self;
        let mean = simd.splat_f32s(sum!(simd, [p in probs, slope in slopes], simd.mul_f32s(p, slope)));
        update!(simd, slopes, slope, [p in probs], simd.mul_f32s(p, simd.sub_f32s(slope, mean)));
    }
}
