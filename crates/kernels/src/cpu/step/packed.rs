//! Weights in fewer bytes as a step reads them: widened to the f32 that they stand for on their way into the same chain
//! of multiply-adds, so that the bits are those of the f32 matrix.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::numbers::PANEL;
use crate::cpu::gemm::SharedRows;
use crate::cpu::simd::{LANES, load, store, vectorized};
use crate::weights::{GROUP, WeightFormat, bf16, groups, int8, magnitude, scale, widened};

/// Vectors of a whole row of a panel.
const VECTORS: usize = PANEL / LANES;

/// A matrix in panels of columns, as [`Weight::Panels`](super::numbers::Weight::Panels), in fewer bytes.
#[derive(Debug, Clone)]
pub enum Packed {
    /// `[panels, d_input, PANEL]`.
    Bf16(Vec<u16>),
    /// Whole numbers, `[panels, d_input, PANEL]`, and their scales, `[panels, groups of d_input, PANEL]`.
    Int8(Vec<i8>, Vec<f32>),
}

impl Packed {
    /// A matrix whose numbers the format has; `None` where it holds others, which it could not give back.
    ///
    /// - rows: `[d_input, d_output]`
    pub fn new(format: WeightFormat, rows: &[f32], [d_input, d_output]: [usize; 2]) -> Option<Self> {
        let len = d_output.div_ceil(PANEL) * d_input * PANEL;
        let panels = (0..d_output).step_by(PANEL).map(|first| first..d_output.min(first + PANEL)).enumerate();
        match format {
            WeightFormat::F32 => None,
            WeightFormat::Bf16 => {
                let mut halves = vec![0; len];
                for (panel, columns) in panels {
                    for (p, row) in rows.chunks_exact(d_output).enumerate() {
                        let at = (panel * d_input + p) * PANEL;
                        for (half, x) in halves[at..].iter_mut().zip(&row[columns.clone()]) {
                            *half = bf16(*x);
                            if widened(*half).to_bits() != x.to_bits() {
                                return None;
                            }
                        }
                    }
                }
                Some(Self::Bf16(halves))
            }
            WeightFormat::Int8 => {
                let n_groups = d_input.div_ceil(GROUP);
                let mut numbers = vec![0; len];
                let mut scales = vec![0.0; d_output.div_ceil(PANEL) * n_groups * PANEL];
                for (panel, columns) in panels {
                    for (group, inner) in groups(d_input).enumerate() {
                        let row = |p: usize| &rows[p * d_output..][columns.clone()];
                        let scales = &mut scales[(panel * n_groups + group) * PANEL..][..columns.len()];
                        let mut largest = [0; PANEL];
                        for p in inner.clone() {
                            largest
                                .iter_mut()
                                .zip(row(p))
                                .for_each(|(largest, x)| *largest = magnitude(*x).max(*largest));
                        }
                        scales.iter_mut().zip(largest).for_each(|(scaled, largest)| *scaled = scale(largest));
                        for p in inner {
                            let numbers = &mut numbers[(panel * d_input + p) * PANEL..];
                            for ((number, x), scale) in numbers.iter_mut().zip(row(p)).zip(&*scales) {
                                *number = int8(*x, *scale);
                                if (f32::from(*number) * scale).to_bits() != x.to_bits() {
                                    return None;
                                }
                            }
                        }
                    }
                }
                Some(Self::Int8(numbers, scales))
            }
        }
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::Bf16(halves) => size_of_val(&halves[..]),
            Self::Int8(numbers, scales) => size_of_val(&numbers[..]) + size_of_val(&scales[..]),
        }
    }

    /// One panel of x·weight + bias.
    ///
    /// - x: `[rows, d_input]`; out: `[rows, d_output]`
    /// - columns: those of the panel
    /// - bias: of these columns
    ///
    /// # Safety
    /// Nothing else may use these columns of the result meanwhile.
    pub unsafe fn columns(
        &self,
        x: &[f32],
        d_input: usize,
        columns: Range<usize>,
        bias: Option<&[f32]>,
        out: &SharedRows<'_>,
    ) {
        let product = PanelProduct { x, d_input, columns, bias, out };
        let panel = product.columns.start / PANEL;
        let of_panel = |len: usize| panel * len..(panel + 1) * len;
        let len = d_input * PANEL;
        match self {
            Self::Bf16(halves) => product.run(Halves(&halves[of_panel(len)])),
            Self::Int8(numbers, scales) => {
                let scales = &scales[of_panel(d_input.div_ceil(GROUP) * PANEL)];
                product.run(Scaled { numbers: &numbers[of_panel(len)], scales });
            }
        }
    }
}

/// A panel's numbers in some format.
trait PanelNumbers: Copy {
    /// How many there are.
    fn len(self) -> usize;

    /// The scales of a vector of columns in a group.
    ///
    /// # Safety
    /// The panel must have the group.
    unsafe fn scales<S: Simd>(self, simd: S, group: usize, vector: usize) -> S::f32s;

    /// A vector of a row.
    ///
    /// # Safety
    /// The panel must have the row.
    unsafe fn widened<S: Simd>(self, simd: S, row: usize, vector: usize, scales: S::f32s) -> S::f32s;
}

#[derive(Debug, Clone, Copy)]
struct Halves<'a>(&'a [u16]);

#[derive(Debug, Clone, Copy)]
struct Scaled<'a> {
    numbers: &'a [i8],
    scales: &'a [f32],
}

impl PanelNumbers for Halves<'_> {
    fn len(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(self, simd: S, _group: usize, _vector: usize) -> S::f32s {
        simd.splat_f32s(1.0)
    }

    #[inline(always)]
    unsafe fn widened<S: Simd>(self, _simd: S, row: usize, vector: usize, _scales: S::f32s) -> S::f32s {
        // SAFETY: the caller's promise.
        unsafe { widen_bf16::<S>(self.0.as_ptr().add(row * PANEL + vector * LANES)) }
    }
}

impl PanelNumbers for Scaled<'_> {
    fn len(self) -> usize {
        self.numbers.len()
    }

    #[inline(always)]
    unsafe fn scales<S: Simd>(self, _simd: S, group: usize, vector: usize) -> S::f32s {
        // SAFETY: the caller's promise.
        unsafe { self.scales.as_ptr().add(group * PANEL + vector * LANES).cast::<S::f32s>().read_unaligned() }
    }

    #[inline(always)]
    unsafe fn widened<S: Simd>(self, simd: S, row: usize, vector: usize, scales: S::f32s) -> S::f32s {
        // SAFETY: the caller's promise.
        let numbers = unsafe { widen_int8::<S>(self.numbers.as_ptr().add(row * PANEL + vector * LANES)) };
        simd.mul_f32s(numbers, scales)
    }
}

/// Some rows by a panel.
struct PanelProduct<'a> {
    x: &'a [f32],
    d_input: usize,
    columns: Range<usize>,
    bias: Option<&'a [f32]>,
    out: &'a SharedRows<'a>,
}

impl PanelProduct<'_> {
    fn run<P: PanelNumbers>(self, numbers: P) {
        assert_eq!(numbers.len(), self.d_input * PANEL, "a panel of another size");
        vectorized(Widened { product: self, numbers });
    }

    /// R rows by V vectors of the panel's columns, from row `row` and vector `first` on.
    #[inline(always)]
    #[expect(clippy::needless_range_loop, reason = "indexed by constants once unrolled, where an iterator is not")]
    fn tile<S: Simd, P: PanelNumbers, const R: usize, const V: usize>(
        &self,
        simd: S,
        [row, first]: [usize; 2],
        numbers: P,
    ) {
        let Self { x, d_input: k, ref columns, bias, out } = *self;
        let width = columns.len();
        let lanes = |v: usize| (first + v) * LANES..width.min((first + v + 1) * LANES);
        assert!((row + R) * k <= x.len() && first + V <= VECTORS, "a tile past the rows or the panel");
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        if let Some(bias) = bias {
            for v in 0..V {
                let bias = load(simd, &bias[lanes(v)]);
                for r in 0..R {
                    sums[r][v] = bias;
                }
            }
        }
        for (group, inner) in groups(k).enumerate() {
            let mut scales = [simd.splat_f32s(0.0); V];
            for v in 0..V {
                // SAFETY: the panel has as many rows as `x` has columns, by the assertion in `run`.
                scales[v] = unsafe { numbers.scales(simd, group, first + v) };
            }
            for p in inner {
                let mut weights = [simd.splat_f32s(0.0); V];
                for v in 0..V {
                    // SAFETY: as above.
                    weights[v] = unsafe { numbers.widened(simd, p, first + v, scales[v]) };
                }
                for r in 0..R {
                    // SAFETY: by the assertion above.
                    let x = simd.splat_f32s(unsafe { *x.get_unchecked((row + r) * k + p) });
                    for v in 0..V {
                        sums[r][v] = simd.mul_add_f32s(x, weights[v], sums[r][v]);
                    }
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            // SAFETY: the promise of `Packed::columns`.
            let result = unsafe { out.columns(row + r, columns.clone()) };
            for (v, sum) in sums.iter().enumerate() {
                store(simd, &mut result[lanes(v)], *sum);
            }
        }
    }
}

/// Rows by a panel that is widened as it is read, anew for as many rows as registers have room for.
struct Widened<'a, P> {
    product: PanelProduct<'a>,
    numbers: P,
}

impl<P: PanelNumbers> WithSimd for Widened<'_, P> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { product, numbers } = self;
        let wide = S::REGISTER_COUNT >= 32;
        let most = if wide { 8 } else { 6 };
        let all = product.x.len() / product.d_input.max(1);
        let vectors = product.columns.len().div_ceil(LANES);
        // Parts of about one size: a part of few rows is no faster than one of many.
        let part = all.div_ceil(all.div_ceil(most).max(1)).max(1);
        for row in (0..all).step_by(part) {
            let rows = part.min(all - row);
            let together = vectors_together(wide, rows);
            for first in (0..vectors).step_by(together) {
                macro_rules! tile_of_that_size {
                    ($(($rows:literal, $vectors:literal))*) => {
                        match (rows, together.min(vectors - first)) {
                            $(($rows, $vectors) if $vectors <= vectors_together(wide, $rows) => {
                                product.tile::<S, P, $rows, $vectors>(simd, [row, first], numbers);
                            })*
                            (rows, vectors) => unreachable!("no tile of {rows} rows by {vectors} vectors"),
                        }
                    };
                }
                tile_of_that_size! {
                    (1, 1) (1, 2) (1, 3) (1, 4)
                    (2, 1) (2, 2) (2, 3) (2, 4)
                    (3, 1) (3, 2) (3, 3) (3, 4)
                    (4, 1) (4, 2) (4, 3) (4, 4)
                    (5, 1) (5, 2) (6, 1) (6, 2)
                    (7, 1) (7, 2) (8, 1) (8, 2)
                }
            }
        }
    }
}

/// Vectors of a row of a tile: as many as leave room in the registers for the sums of so many rows.
#[inline(always)]
const fn vectors_together(wide: bool, rows: usize) -> usize {
    match (wide, rows) {
        (true, 0..=4) | (false, 0..=1) => VECTORS,
        (true, _) | (false, 2) => 2,
        (false, _) => 1,
    }
}

/// Sixteen whole numbers as f32, which holds each of them exactly.
///
/// # Safety
/// There must be sixteen of them.
#[inline(always)]
unsafe fn widen_int8<S: Simd>(from: *const i8) -> S::f32s {
    const { assert!(S::F32_LANES == LANES, "kernels are written for sixteen lanes") };
    // SAFETY: the caller's promise; an instruction is only used where `S` stands for a set that has it, and vectors of
    // sixteen f32 are the same bytes in every type.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{
                _mm_loadl_epi64, _mm_loadu_si128, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm512_cvtepi8_epi32,
                _mm512_cvtepi32_ps,
            };
            if is_avx512::<S>() {
                let numbers = _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(from.cast())));
                return std::mem::transmute_copy(&numbers);
            }
            if is_avx2::<S>() {
                let lower = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.cast())));
                let upper = _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(from.add(LANES / 2).cast())));
                return std::mem::transmute_copy(&[lower, upper]);
            }
        }
        let numbers: [f32; LANES] = std::array::from_fn(|i| f32::from(*from.add(i)));
        std::mem::transmute_copy(&numbers)
    }
}

/// Sixteen upper halves of f32 as f32.
///
/// # Safety
/// There must be sixteen of them.
#[inline(always)]
unsafe fn widen_bf16<S: Simd>(from: *const u16) -> S::f32s {
    const { assert!(S::F32_LANES == LANES, "kernels are written for sixteen lanes") };
    // SAFETY: as in `widen_int8`.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{
                _mm_loadu_si128, _mm256_cvtepu16_epi32, _mm256_loadu_si256, _mm256_slli_epi32, _mm512_cvtepu16_epi32,
                _mm512_slli_epi32,
            };
            if is_avx512::<S>() {
                let halves = _mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(_mm256_loadu_si256(from.cast())));
                return std::mem::transmute_copy(&halves);
            }
            if is_avx2::<S>() {
                let lower = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.cast())));
                let upper = _mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(_mm_loadu_si128(from.add(LANES / 2).cast())));
                return std::mem::transmute_copy(&[lower, upper]);
            }
        }
        let numbers: [f32; LANES] = std::array::from_fn(|i| widened(*from.add(i)));
        std::mem::transmute_copy(&numbers)
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn is_avx512<S: Simd>() -> bool {
    std::any::TypeId::of::<S>() == std::any::TypeId::of::<pulp::x86::V4>()
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn is_avx2<S: Simd>() -> bool {
    std::any::TypeId::of::<S>() == std::any::TypeId::of::<pulp::x86::V3_512b>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::gemm::{Gemm, GemmInit, Matrix};

    /// x·weight + bias by the step's product, of a matrix that was rounded, and by the one product of f32.
    fn both(format: WeightFormat, [rows, d_input, d_output]: [usize; 3], with_bias: bool) -> [Vec<u32>; 2] {
        let number = |i: usize| ((i * 7919 % 1013) as f32 - 506.0) / 311.0;
        let x: Vec<f32> = (0..rows * d_input).map(number).collect();
        let mut weight: Vec<f32> = (0..d_input * d_output).map(|i| number(i + 5)).collect();
        let bias: Vec<f32> = (0..d_output).map(|i| number(i + 3)).collect();
        format.round(&mut weight, d_output);
        let packed = Packed::new(format, &weight, [d_input, d_output]).expect("its numbers are those of the format");
        let mut found = vec![f32::NAN; rows * d_output];
        let out = SharedRows::new(&mut found, d_output);
        for first in (0..d_output).step_by(PANEL) {
            let columns = first..d_output.min(first + PANEL);
            let bias = with_bias.then(|| &bias[columns.clone()]);
            // SAFETY: nobody else has the result.
            unsafe { packed.columns(&x, d_input, columns, bias, &out) };
        }
        let mut expected = vec![f32::NAN; rows * d_output];
        let start = if with_bias { GemmInit::Bias(&bias) } else { GemmInit::Zero };
        let (a, b) = (Matrix::row_major(&x, d_input), Matrix::row_major(&weight, d_output));
        Gemm { size: [rows, d_output, d_input], a, b, start }.into(&mut expected, d_output);
        [found, expected].map(|numbers| numbers.iter().map(|x| x.to_bits()).collect())
    }

    #[test]
    fn the_product_has_the_bits_of_the_f32_matrix_whatever_its_size() {
        for format in [WeightFormat::Bf16, WeightFormat::Int8] {
            for rows in [1, 2, 3, 4, 5, 6, 7, 8, 9, 41] {
                for d_input in [1, 31, 32, 33, 100] {
                    for d_output in [1, 16, 17, 47, 64, 65, 130] {
                        let [found, expected] = both(format, [rows, d_input, d_output], rows % 2 == 0);
                        assert_eq!(found, expected, "{format:?}: {rows} × {d_input} × {d_output}");
                    }
                }
            }
        }
    }

    #[test]
    fn a_matrix_with_other_numbers_than_the_format_has_is_not_packed() {
        let weight: Vec<f32> = (0..64 * 40).map(|i| (i as f32).sqrt()).collect();
        for format in [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8] {
            assert!(Packed::new(format, &weight, [64, 40]).is_none(), "{format:?}");
            let mut one_off = weight.clone();
            format.round(&mut one_off, 40);
            assert_eq!(Packed::new(format, &one_off, [64, 40]).is_some(), format != WeightFormat::F32);
            one_off[1234] = f32::from_bits(one_off[1234].to_bits() + 1);
            assert!(Packed::new(format, &one_off, [64, 40]).is_none(), "{format:?}: a last bit");
        }
    }
}
