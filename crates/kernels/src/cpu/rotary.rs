//! Rotary positions, forward and backward.

use std::mem::MaybeUninit;
use std::sync::Arc;

use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::operation::Operation;
use super::rows::{Rows, by_rows, written};
use super::simd::{Slot, map, vectorized};

/// Cosines and sines, `[seq_len, d_head / 2]` each.
#[derive(Debug, Clone)]
pub struct Rotary {
    pub cos: Arc<Vec<f32>>,
    pub sin: Arc<Vec<f32>>,
}

impl Operation<1> for Rotary {
    type Saved = ();

    const NAMES: [&'static str; 2] = ["rotations, forward", "rotations, backward"];

    fn forward(&self, [x]: &[FlexTensor; 1]) -> (FlexTensor, ()) {
        (self.turn(x, 1.0), ())
    }

    /// A rotation's transpose turns back.
    fn backward(&self, _: [FlexTensor; 1], (): (), gradient: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        [Some(self.turn(&gradient, -1.0))]
    }
}

impl Rotary {
    /// - x: `[batch_size, n_heads, seq_len, d_head]`
    fn turn(&self, x: &FlexTensor, direction: f32) -> FlexTensor {
        let x = Rows::new(x);
        let write = |out: &mut [_]| {
            by_rows(out, x.width(), |first_row, out| {
                vectorized(Turn { table: self, x: &x, direction, first_row, out });
            });
        };
        // SAFETY: it writes every number.
        unsafe { written(x.shape(), write) }
    }
}

struct Turn<'a> {
    table: &'a Rotary,
    x: &'a Rows,
    direction: f32,
    first_row: usize,
    out: &'a mut [MaybeUninit<f32>],
}

impl WithSimd for Turn<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let (seq_len, half) = (self.x.shape()[2], self.x.width() / 2);
        for (row, out) in self.out.chunks_exact_mut(2 * half).enumerate() {
            let row = self.first_row + row;
            let angles = row % seq_len * half..(row % seq_len + 1) * half;
            let (cos, sin) = (&self.table.cos[angles.clone()], &self.table.sin[angles]);
            turn(simd, self.direction, [cos, sin], self.x.row(row), out);
        }
    }
}

/// One row, by its position's cosines and sines.
#[inline(always)]
fn turn<S: Simd, T: Slot>(simd: S, direction: f32, [cos, sin]: [&[f32]; 2], x: &[f32], out: &mut [T]) {
    let half = cos.len();
    let direction = simd.splat_f32s(direction);
    let (first, second) = x.split_at(half);
    let (first_out, second_out) = out.split_at_mut(half);
    map!(simd, first_out, [first in first, second in second, cos in cos, sin in sin], {
        let sin = simd.mul_f32s(sin, direction);
        simd.sub_f32s(simd.mul_f32s(first, cos), simd.mul_f32s(second, sin))
    });
    map!(simd, second_out, [first in first, second in second, cos in cos, sin in sin], {
        let sin = simd.mul_f32s(sin, direction);
        simd.add_f32s(simd.mul_f32s(second, cos), simd.mul_f32s(first, sin))
    });
}

/// One row of consecutive numbers, turned by its position's cosines and sines.
pub struct TurnRow<'a> {
    pub table: [&'a [f32]; 2],
    pub x: &'a [f32],
    pub out: &'a mut [f32],
}

impl WithSimd for TurnRow<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        turn(simd, 1.0, self.table, self.x, self.out);
    }
}
