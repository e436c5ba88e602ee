//! A block of rows and columns of a product, on one thread.

use std::cell::RefCell;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::super::simd::LANES;
use super::pack::{Scratch, group_columns, pack};
use super::tile::{Operand, Panel, most_rows, tile};
use super::{Gemm, GemmInit, Target};

/// Rows from which on a panel is no wider than the tallest tile allows.
const LONG_PANEL_ROWS: usize = 4;

/// Rows from which on it pays to copy a panel of the right matrix together before use.
const PACKING_ROWS: usize = 40;

/// Columns of the result from which on it can pay to copy a transposed left matrix together, too.
const GROUPING_COLUMNS: usize = 128;

/// Steps of the sum that are then in work together.
const STEPS: usize = 512;

// The smallest first-level cache in use, 32 KiB: bytes of a line, sets, lines of a set.
const LINE: usize = 64;
const SETS: usize = 64;
const WAYS: usize = 8;

/// See [`super`].
pub struct Part<'a> {
    pub product: Gemm<'a>,
    pub rows: Range<usize>,
    pub columns: Range<usize>,
    pub c: Target,
}

const EMPTY: [Scratch; 2] = [Scratch::new(), Scratch::new()];

thread_local! {
    /// The copies of the left matrix and of a panel of the right one.
    static SCRATCH: RefCell<[Scratch; 2]> = const { RefCell::new(EMPTY) };
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let wide = S::REGISTER_COUNT >= 32;
        if self.rows.len() < PACKING_ROWS && self.product.b.column_stride == 1 {
            self.few_rows(simd, wide);
        } else {
            // Not inside `SCRATCH.with`: vector instructions are inlined here, and into no closure of its.
            let [mut left, mut right] = SCRATCH.replace(EMPTY);
            self.many_rows(simd, wide, &mut left, &mut right);
            SCRATCH.set([left, right]);
        }
    }
}

impl Part<'_> {
    /// Rows of the right matrix are read where they lie.
    #[inline(always)]
    fn few_rows<S: Simd>(self, simd: S, wide: bool) {
        let Gemm { size: [_, _, k], b, start, .. } = self.product;
        let mut column = self.columns.start;
        while column < self.columns.end {
            let left = self.columns.end - column;
            let vectors = panel_vectors(wide, left, self.rows.len() < LONG_PANEL_ROWS);
            let stride = vectors * LANES;
            let panel = Panel { first_column: column, width: left.min(stride), vectors };
            // What a ragged panel reads past its columns is not stored, but the last rows may end with the matrix.
            let usable = (b.data.len() + b.row_stride).saturating_sub(column + stride) / b.row_stride.max(1);
            let direct = k.min(usable);
            if direct > 0 || k == 0 {
                let data = b.data.get(column..).unwrap_or_default();
                self.panel(simd, wide, panel, 0..direct, Operand { data, step: b.row_stride, stride: 1 }, start);
            }
            if direct < k {
                let [left, mut right] = SCRATCH.replace(EMPTY);
                let packed = right.room((k - direct) * stride);
                pack(&b, direct..k, column..column + panel.width, stride, packed);
                let start = if direct > 0 { GemmInit::Add } else { start };
                self.panel(simd, wide, panel, direct..k, Operand { data: packed, step: stride, stride: 1 }, start);
                SCRATCH.set([left, right]);
            }
            column += panel.width;
        }
    }

    /// A panel of the right matrix at a time is copied together, and stays in a near cache while all rows use it. So are the
    /// rows of a left matrix that lies transposed, as each of their numbers is in a cache line of its own: in blocks of the
    /// sum, which go on where the last one ended.
    #[inline(always)]
    fn many_rows<S: Simd>(self, simd: S, wide: bool, left_room: &mut Scratch, right_room: &mut Scratch) {
        let Gemm { size: [_, _, k], a, b, start } = self.product;
        let is_transposed = a.row_stride == 1 && a.column_stride != 1;
        let is_grouped = is_transposed && k > lines_kept(a.column_stride) && self.columns.len() >= GROUPING_COLUMNS;
        let block = if is_grouped { STEPS } else { k.max(1) };
        let tallest = most_rows(wide, tall_vectors(wide));
        for first in (0..k.max(1)).step_by(block) {
            let inner = first..k.min(first + block);
            let start = if first > 0 { GemmInit::Add } else { start };
            // A little longer than its numbers, so that the first lines of all groups do not meet in one set of the cache.
            let group = tallest * inner.len() + LANES;
            let groups = if is_grouped { self.rows.len().div_ceil(tallest) } else { 0 };
            let grouped = left_room.room(groups * group);
            if is_grouped {
                let rows = &a.data[inner.start * a.column_stride + self.rows.start..];
                let size = [self.rows.len(), inner.len()];
                match tallest {
                    6 => group_columns::<6>(rows, a.column_stride, size, group, grouped),
                    8 => group_columns::<8>(rows, a.column_stride, size, group, grouped),
                    other => unreachable!("no tile is {other} rows high"),
                }
            }
            let mut column = self.columns.start;
            while column < self.columns.end {
                let left = self.columns.end - column;
                let vectors = panel_vectors(wide, left, false);
                let stride = vectors * LANES;
                let panel = Panel { first_column: column, width: left.min(stride), vectors };
                let packed = right_room.room(inner.len() * stride);
                pack(&b, inner.clone(), column..column + panel.width, stride, packed);
                let b = Operand { data: packed, step: stride, stride: 1 };
                if is_grouped {
                    for (i, row) in self.rows.clone().step_by(tallest).enumerate() {
                        let rows = tallest.min(self.rows.end - row);
                        let a = Operand { data: &grouped[i * group..], step: tallest, stride: 1 };
                        // SAFETY: the part's own rows and columns.
                        unsafe { tile(simd, wide, [row, rows, inner.len()], panel, a, b, start, self.c) };
                    }
                } else {
                    self.panel(simd, wide, panel, inner.clone(), b, start);
                }
                column += panel.width;
            }
        }
    }

    /// A panel of the result, with the left matrix where it lies.
    #[inline(always)]
    fn panel<S: Simd>(
        &self,
        simd: S,
        wide: bool,
        panel: Panel,
        inner: Range<usize>,
        b: Operand<'_>,
        start: GemmInit<'_>,
    ) {
        let a = self.product.a;
        let most = most_rows(wide, panel.vectors);
        for row in self.rows.clone().step_by(most) {
            let rows = most.min(self.rows.end - row);
            let data = a.data.get(row * a.row_stride + inner.start * a.column_stride..).unwrap_or_default();
            let a = Operand { data, step: a.column_stride, stride: a.row_stride };
            // SAFETY: the part's own rows and columns.
            unsafe { tile(simd, wide, [row, rows, inner.len()], panel, a, b, start, self.c) };
        }
    }
}

/// How many lines, `stride` numbers apart, a first-level cache keeps: as many as there is room for in the sets that they fall
/// into. The rows of a tile share one for each step of the sum, and if all are kept, the next rows find them there.
fn lines_kept(stride: usize) -> usize {
    let way = LINE * SETS;
    let bytes = stride * size_of::<f32>();
    let apart = LINE.max(1 << bytes.trailing_zeros().min(way.trailing_zeros()));
    way / apart * WAYS
}

/// Vectors of the widest of the tall tiles.
#[inline(always)]
fn tall_vectors(wide: bool) -> usize {
    if wide { 3 } else { 1 }
}

/// Vectors of the next panel where `left` columns are left.
#[inline(always)]
fn panel_vectors(wide: bool, left: usize, few_rows: bool) -> usize {
    let most = tall_vectors(wide);
    // Those of few rows.
    let long = if wide { [8, 4] } else { [4, 4] };
    match left.div_ceil(LANES) {
        // Few rows wait for the right matrix, which is read the faster the more of each of its rows is taken at once.
        _ if few_rows && left >= long[0] * LANES => long[0],
        _ if few_rows && left >= long[1] * LANES => long[1],
        // Two halves are faster than a full panel and a narrow rest.
        vectors if vectors == most + 1 => vectors.div_ceil(2),
        vectors => vectors.min(most),
    }
}
