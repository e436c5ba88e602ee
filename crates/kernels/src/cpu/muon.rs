//! One step of Muon for one matrix, its polynomials taken in the space of the smaller side.
//!
//! With X the matrix, its rows the shorter side, and A = X·Xᵀ, each Newton–Schulz step multiplies X by a polynomial of A
//! from the left, and A by that polynomial's square. All of these commute and are symmetric, so the steps need products
//! of the shorter side's size alone, and little more than half of their elements; X itself enters at the beginning and
//! at the end.

use burn::backend::flex::FlexTensor;
use pulp::{Simd, WithSimd};

use super::gemm::{Gemm, GemmInit, Matrix};
use super::rows::own;
use super::simd::{map, sum, update, vectorized};
use crate::optimizer_steps::{MuonStep, NEWTON_SCHULZ};

/// Columns of a symmetric product that are computed together: a panel of the matrix product.
const PANEL: usize = 48;

/// Updates weight and momentum where they lie, or in copies where something else holds them too.
pub fn muon(step: &MuonStep, tensors: [FlexTensor; 2], gradient: &FlexTensor, widths: &[usize]) -> [FlexTensor; 2] {
    let mut tensors = tensors.map(own);
    let gradient = own(gradient.clone());
    {
        let columns: usize = widths.iter().sum();
        let [weight, momentum] = tensors.each_mut().map(|tensor| tensor.storage_mut::<f32>());
        let gradient = gradient.storage::<f32>();
        assert!(weight.len() == gradient.len() && momentum.len() == gradient.len(), "a matrix and its gradient differ");
        let rows = weight.len() / columns;
        let mut direction = vec![0.0; gradient.len()];
        vectorized(Direction { beta: step.momentum, momentum, gradient, out: &mut direction });
        let mut change = vec![0.0; gradient.len()];
        let mut first = 0;
        for width in widths {
            orthogonalize(&mut direction[first..], [rows, *width], columns, &mut change[first..]);
            let scale = (step.rate * step.scale([rows, *width])) as f32;
            for (weight, change) in weight.chunks_exact_mut(columns).zip(change.chunks_exact(columns)) {
                let range = first..first + width;
                let keep = (1.0 - step.decay) as f32;
                vectorized(Apply { weight: &mut weight[range.clone()], change: &change[range], keep, scale });
            }
            first += width;
        }
    }
    tensors
}

/// Writes about the nearest matrix with orthogonal rows or columns into `out`; both have `stride` elements a row.
fn orthogonalize(data: &mut [f32], [rows, columns]: [usize; 2], stride: usize, out: &mut [f32]) {
    let factor = 1.0 / (norm(data, [rows, columns], stride) + MuonStep::EPS);
    data.chunks_mut(stride).take(rows).for_each(|row| scale(&mut row[..columns], factor));
    let x = Matrix { data, row_stride: stride, column_stride: 1 };
    let (side, inner) = (rows.min(columns), rows.max(columns));
    let flat = if rows <= columns { x } else { x.transposed() }; // [side, inner]
    let mut gram = symmetric(flat, flat.transposed(), side, inner);
    let mut squared = square(&gram, &gram, side);
    // What should divide X divides what is made of it: A, A² and at last the product of all polynomials.
    let bound = norm(&squared, [side, side], side).sqrt() + MuonStep::EPS;
    scale(&mut gram, 1.0 / bound);
    scale(&mut squared, 1.0 / (bound * bound));
    let mut total = Vec::new();
    for (index, [a, b, c]) in NEWTON_SCHULZ.into_iter().enumerate() {
        if index > 0 {
            squared = square(&gram, &gram, side);
        }
        let mut polynomial = squared.clone();
        vectorized(Combine { out: &mut polynomial, gram: &gram, factors: [c as f32, b as f32] });
        polynomial.iter_mut().step_by(side + 1).for_each(|element| *element += a as f32);
        if index + 1 < NEWTON_SCHULZ.len() {
            gram = square(&square(&gram, &polynomial, side), &polynomial, side);
        }
        total = if index == 0 { polynomial } else { square(&polynomial, &total, side) };
    }
    scale(&mut total, 1.0 / bound.sqrt());
    let total = Matrix::row_major(&total, side);
    let (a, b) = if rows <= columns { (total, x) } else { (x, total) };
    Gemm { size: [rows, columns, side], a, b, start: GemmInit::Zero }.into(out, stride);
}

/// The Frobenius norm of a matrix with `stride` elements a row; a row is added up in f32, the rows in f64.
fn norm(data: &[f32], [rows, columns]: [usize; 2], stride: usize) -> f64 {
    let squares = |row: &[f32]| f64::from(vectorized(SumOfSquares(&row[..columns])));
    data.chunks(stride).take(rows).map(squares).sum::<f64>().sqrt()
}

fn scale(values: &mut [f32], factor: f64) {
    vectorized(Scale { values, factor: factor as f32 });
}

/// The product of two symmetric matrices that commute, `[side, side]`, which is symmetric too.
fn square(a: &[f32], b: &[f32], side: usize) -> Vec<f32> {
    symmetric(Matrix::row_major(a, side), Matrix::row_major(b, side), side, side)
}

/// A product that is symmetric: the lower triangle is computed and copied to the upper.
///
/// - a: `[side, inner]`; b: `[inner, side]`
fn symmetric(a: Matrix<'_>, b: Matrix<'_>, side: usize, inner: usize) -> Vec<f32> {
    let mut out = vec![0.0; side * side];
    for first in (0..side).step_by(PANEL) {
        let width = PANEL.min(side - first);
        Gemm {
            size: [side - first, width, inner],
            a: Matrix { data: &a.data[first * a.row_stride..], ..a },
            b: Matrix { data: &b.data[first * b.column_stride..], ..b },
            start: GemmInit::Zero,
        }
        .into(&mut out[first * side + first..], side);
        for row in first + width..side {
            for column in first..first + width {
                out[column * side + row] = out[row * side + column];
            }
        }
    }
    out
}

struct Scale<'a> {
    values: &'a mut [f32],
    factor: f32,
}

impl WithSimd for Scale<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let factor = simd.splat_f32s(self.factor);
        update!(simd, self.values, old, [], simd.mul_f32s(old, factor));
    }
}

/// The running mean of gradients, and Nesterov's look ahead from it.
struct Direction<'a> {
    beta: f64,
    momentum: &'a mut [f32],
    gradient: &'a [f32],
    out: &'a mut [f32],
}

impl WithSimd for Direction<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [beta, rest] = [self.beta, 1.0 - self.beta].map(|x| simd.splat_f32s(x as f32));
        update!(simd, self.momentum, m, [g in self.gradient], {
            simd.mul_add_f32s(g, rest, simd.mul_f32s(m, beta))
        });
        map!(simd, self.out, [m in self.momentum, g in self.gradient], {
            simd.mul_add_f32s(g, rest, simd.mul_f32s(m, beta))
        });
    }
}

struct SumOfSquares<'a>(&'a [f32]);

impl WithSimd for SumOfSquares<'_> {
    type Output = f32;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> f32 {
        sum!(simd, [x in self.0], simd.mul_f32s(x, x))
    }
}

/// `out · factors[0] + gram · factors[1]`.
struct Combine<'a> {
    out: &'a mut [f32],
    gram: &'a [f32],
    factors: [f32; 2],
}

impl WithSimd for Combine<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [c, b] = self.factors.map(|factor| simd.splat_f32s(factor));
        update!(simd, self.out, square, [gram in self.gram], {
            simd.mul_add_f32s(square, c, simd.mul_f32s(gram, b))
        });
    }
}

struct Apply<'a> {
    weight: &'a mut [f32],
    change: &'a [f32],
    keep: f32,
    scale: f32,
}

impl WithSimd for Apply<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let [keep, scale] = [self.keep, self.scale].map(|x| simd.splat_f32s(x));
        update!(simd, self.weight, weight, [change in self.change], {
            simd.sub_f32s(simd.mul_f32s(weight, keep), simd.mul_f32s(change, scale))
        });
    }
}
