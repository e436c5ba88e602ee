//! Copies of the two matrices, laid out as tiles read them: from end to end.

use std::ops::Range;

use super::super::simd::LANES;
use super::Matrix;
use super::tile::prefetch;

/// Room for a copy, on the bounds of cache lines, kept so that its memory is not faulted in anew for each product.
#[derive(Debug)]
pub struct Scratch(Vec<Line>);

/// A cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LANES]);

impl Scratch {
    /// No room yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// Room for `len` numbers, which hold whatever they held.
    pub fn room(&mut self, len: usize) -> &mut [f32] {
        let lines = len.div_ceil(LANES);
        if self.0.len() < lines {
            self.0.resize(lines, Line([0.0; LANES]));
        }
        // SAFETY: lines are numbers one after another, without gaps.
        let all = unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast::<f32>(), self.0.len() * LANES) };
        &mut all[..len]
    }
}

/// Copies rows `inner` of some columns of the right matrix into rows of `stride` numbers, zeros after their own.
#[inline(always)]
pub fn pack(b: &Matrix<'_>, inner: Range<usize>, columns: Range<usize>, stride: usize, packed: &mut [f32]) {
    let (width, len) = (columns.len(), inner.len());
    assert!(width <= stride && packed.len() >= len * stride, "a panel ends past its copy");
    if len == 0 || width == 0 {
        return;
    }
    let from = &b.data[inner.start * b.row_stride + columns.start * b.column_stride..];
    assert!((len - 1) * b.row_stride + (width - 1) * b.column_stride < from.len(), "a matrix ends past its data");
    match (b.column_stride, width == stride, stride) {
        (1, true, 16) => copy_rows::<16>(from, b.row_stride, len, packed),
        (1, true, 32) => copy_rows::<32>(from, b.row_stride, len, packed),
        (1, true, 48) => copy_rows::<48>(from, b.row_stride, len, packed),
        (1, ..) => {
            for (row, packed) in packed.chunks_exact_mut(stride).take(len).enumerate() {
                packed[..width].copy_from_slice(&from[row * b.row_stride..][..width]);
                packed[width..].fill(0.0);
            }
        }
        _ => turn(from, b, [len, width], stride, packed),
    }
}

/// Copies `len` rows of N numbers, which lie `step` apart, one after another. N is known when it is compiled, so that no
/// function is called for a row.
#[inline(always)]
fn copy_rows<const N: usize>(from: &[f32], step: usize, len: usize, to: &mut [f32]) {
    assert!((len - 1) * step + N <= from.len() && len * N <= to.len(), "a panel ends past its copy");
    for row in 0..len {
        let from = from.as_ptr().wrapping_add(row * step);
        // The same row of the next panel.
        prefetch::<1>(from.wrapping_add(N));
        // SAFETY: by the assertion.
        unsafe { *to.as_mut_ptr().add(row * N).cast::<[f32; N]>() = *from.cast::<[f32; N]>() };
    }
}

/// Copies a panel whose columns lie far apart, in blocks of four by four where its rows lie side by side.
#[inline(always)]
fn turn(from: &[f32], b: &Matrix<'_>, [len, width]: [usize; 2], stride: usize, packed: &mut [f32]) {
    let Matrix { row_stride, column_stride, .. } = *b;
    let by_four = if row_stride == 1 { [len - len % 4, width - width % 4] } else { [0, 0] };
    // SAFETY: by the assertions of `pack`.
    unsafe {
        let (from, to) = (from.as_ptr(), packed.as_mut_ptr());
        let one = |p: usize, j: usize| *to.add(p * stride + j) = *from.add(p * row_stride + j * column_stride);
        for j in (0..by_four[1]).step_by(4) {
            for p in (0..by_four[0]).step_by(4) {
                transpose(from.add(p + j * column_stride), column_stride, to.add(p * stride + j), stride);
            }
            for p in by_four[0]..len {
                (j..j + 4).for_each(|j| one(p, j));
            }
        }
        for p in 0..len {
            (by_four[1]..width).for_each(|j| one(p, j));
            (width..stride).for_each(|j| *to.add(p * stride + j) = 0.0);
        }
    }
}

/// Writes a block of four by four with rows and columns exchanged.
///
/// # Safety
/// Four numbers must lie at each of four strides, to be read and to be written.
#[inline(always)]
unsafe fn transpose(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    // SAFETY: the caller's promise; every x86-64 processor has these instructions.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        use std::arch::x86_64::{_MM_TRANSPOSE4_PS, _mm_loadu_ps, _mm_storeu_ps};
        let mut a = _mm_loadu_ps(from);
        let mut b = _mm_loadu_ps(from.add(from_stride));
        let mut c = _mm_loadu_ps(from.add(2 * from_stride));
        let mut d = _mm_loadu_ps(from.add(3 * from_stride));
        _MM_TRANSPOSE4_PS(&mut a, &mut b, &mut c, &mut d);
        _mm_storeu_ps(to, a);
        _mm_storeu_ps(to.add(to_stride), b);
        _mm_storeu_ps(to.add(2 * to_stride), c);
        _mm_storeu_ps(to.add(3 * to_stride), d);
    }
    #[cfg(not(target_arch = "x86_64"))]
    for i in 0..4 {
        for j in 0..4 {
            // SAFETY: the caller's promise.
            unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
        }
    }
}

/// Copies the columns of `len` rows, which lie `step` apart, in groups of N: a group's parts of all rows one after another,
/// a group every `stride`.
#[inline(always)]
pub fn group_columns<const N: usize>(
    from: &[f32],
    step: usize,
    [columns, len]: [usize; 2],
    stride: usize,
    to: &mut [f32],
) {
    assert!(len > 0 && (len - 1) * step + columns <= from.len(), "a matrix ends past its data");
    assert!(len * N <= stride && columns.div_ceil(N) * stride <= to.len(), "a block ends past its copy");
    let whole = columns / N;
    for row in 0..len {
        // SAFETY: by the assertions.
        unsafe {
            let (from, to) = (from.as_ptr().add(row * step), to.as_mut_ptr().add(row * N));
            for group in 0..whole {
                *to.add(group * stride).cast::<[f32; N]>() = *from.add(group * N).cast::<[f32; N]>();
            }
            for column in whole * N..columns {
                *to.add(whole * stride + column - whole * N) = *from.add(column);
            }
        }
    }
}
