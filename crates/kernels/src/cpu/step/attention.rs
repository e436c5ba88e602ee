//! Attention of one new position by one key/value head, over the keys and values that are kept.

use super::numbers::Norm;
use crate::cpu::attention::Softmax;
use crate::cpu::gemm::{Gemm, GemmInit, Matrix};
use crate::cpu::rotary::TurnRow;
use crate::cpu::simd::vectorized;

/// A key/value head, and the queries that share it.
pub struct AttentionStep<'a> {
    /// Of each query, and of the key, where they are normalised.
    pub norms: Option<&'a [Norm; 2]>,
    /// Cosines and sines of the position, `[d_head / 2]` each.
    pub rotary: Option<[&'a [f32]; 2]>,
    /// Keys that a query sees, its own among them, where that is bounded.
    pub window: Option<usize>,
    /// `[queries, d_head]`.
    pub queries: &'a [f32],
    /// `[d_head]`.
    pub key: &'a [f32],
    /// `[d_head]`.
    pub value: &'a [f32],
    /// What is kept, `[d_head, capacity]`.
    pub keys: &'a mut [f32],
    /// What is kept, `[capacity, d_head]`.
    pub values: &'a mut [f32],
    /// Positions that are kept, before this one.
    pub held: usize,
    /// What the queries take, `[queries, d_head]`.
    pub out: &'a mut [f32],
}

/// Memory of a [`AttentionStep`], the same for all that a thread takes.
#[derive(Default)]
pub struct AttentionScratch {
    normed: Vec<f32>,  // [d_head]
    key: Vec<f32>,     // [d_head]
    queries: Vec<f32>, // [queries, d_head]
    scores: Vec<f32>,  // [queries, keys seen]
}

impl AttentionStep<'_> {
    /// The new key and value are kept, and the queries take what they see.
    pub fn run(self, scratch: &mut AttentionScratch) {
        let Self { norms, rotary, window, queries, key, value, keys, values, held, out } = self;
        let d_head = key.len();
        let (capacity, count) = (keys.len() / d_head, queries.len() / d_head);
        let AttentionScratch { normed, key: turned_key, queries: turned_queries, scores } = scratch;
        normed.resize(d_head, 0.0);
        let mut prepare = |norm: Option<&Norm>, x: &[f32], out: &mut [f32]| match (norm, rotary) {
            (None, None) => out.copy_from_slice(x),
            (Some(norm), None) => norm.rows(x, d_head, out),
            (None, Some(table)) => vectorized(TurnRow { table, x, out }),
            (Some(norm), Some(table)) => {
                norm.rows(x, d_head, normed);
                vectorized(TurnRow { table, x: normed, out });
            }
        };
        turned_key.resize(d_head, 0.0);
        prepare(norms.map(|[_, norm]| norm), key, turned_key);
        for (i, number) in turned_key.iter().enumerate() {
            keys[i * capacity + held] = *number;
        }
        values[held * d_head..(held + 1) * d_head].copy_from_slice(value);
        turned_queries.resize(queries.len(), 0.0);
        let scale = (d_head as f32).sqrt().recip();
        for (query, turned) in queries.chunks_exact(d_head).zip(turned_queries.chunks_exact_mut(d_head)) {
            prepare(norms.map(|[norm, _]| norm), query, turned);
            turned.iter_mut().for_each(|x| *x *= scale);
        }
        let first = window.map_or(0, |window| (held + 1).saturating_sub(window));
        let seen = held + 1 - first;
        scores.resize(count * seen, 0.0);
        Gemm {
            size: [count, seen, d_head],
            a: Matrix::row_major(turned_queries, d_head),
            b: Matrix { data: &keys[first..], row_stride: capacity, column_stride: 1 },
            start: GemmInit::Zero,
        }
        .into(scores, seen);
        scores.chunks_exact_mut(seen).for_each(|row| vectorized(Softmax(row)));
        Gemm {
            size: [count, d_head, seen],
            a: Matrix::row_major(scores, seen),
            b: Matrix::row_major(&values[first * d_head..], d_head),
            start: GemmInit::Zero,
        }
        .into(out, d_head);
    }
}
