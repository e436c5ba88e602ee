//! The matrix product. Each element is one chain of fused multiply-adds in ascending order of the inner index, begun at
//! its start value, so its bits depend on its own row and column alone: not on how many rows there are, how they are
//! tiled, packed or spread over threads, nor on the width of the registers.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::simd::{LANES, load, store, vectorized};
use super::spin_pool;

/// Multiply-adds below which splitting a product over threads costs more than it saves.
const PARALLEL_WORK: usize = 1 << 20;

/// The same where threads stand by.
const SPIN_POOL_WORK: usize = 1 << 15;

/// Rows from which on a panel is no wider than the tallest tile allows.
const LONG_PANEL_ROWS: usize = 4;

/// Rows from which on it pays to copy a panel of the right matrix together before use.
const PACKING_ROWS: usize = 40;

/// A matrix in memory; element (i, j) is at `i · row_stride + j · column_stride`.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    pub data: &'a [f32],
    pub row_stride: usize,
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// Rows one after another.
    pub fn row_major(data: &'a [f32], columns: usize) -> Self {
        Self { data, row_stride: columns, column_stride: 1 }
    }

    /// The same numbers with rows and columns exchanged.
    pub fn transposed(self) -> Self {
        Self { data: self.data, row_stride: self.column_stride, column_stride: self.row_stride }
    }

    fn check(&self, rows: usize, columns: usize) {
        let last = (rows.max(1) - 1) * self.row_stride + (columns.max(1) - 1) * self.column_stride;
        assert!(rows == 0 || columns == 0 || last < self.data.len(), "a {rows} × {columns} matrix ends past its data");
    }
}

/// What each sum begins with.
#[derive(Debug, Clone, Copy)]
pub enum GemmInit<'a> {
    Zero,
    /// One value a column.
    Bias(&'a [f32]),
    /// What the result holds already.
    Add,
}

/// A product to be computed: `[m, k]` by `[k, n]`.
#[derive(Debug, Clone, Copy)]
pub struct Gemm<'a> {
    pub size: [usize; 3],
    pub a: Matrix<'a>,
    pub b: Matrix<'a>,
    pub start: GemmInit<'a>,
}

impl Gemm<'_> {
    /// Computes it into `c`, `[m, n]` with `stride` elements from row to row, on the threads of the current pool.
    pub fn into(self, c: &mut [f32], stride: usize) {
        let [m, n, k] = self.size;
        if m == 0 || n == 0 {
            return;
        }
        self.check(c.len(), stride);
        let threads = spin_pool::threads();
        let c = Target { data: c.as_mut_ptr(), stride };
        let least = if spin_pool::is_active() { SPIN_POOL_WORK } else { PARALLEL_WORK };
        if threads == 1 || m * n * k < least {
            self.part(0..m, 0..n, c);
        } else if m >= 8 * threads {
            let share = m.div_ceil(threads).next_multiple_of(8);
            spin_pool::for_each(partition(m, share), |rows| self.part(rows, 0..n, c));
        } else {
            // Two pieces a thread, for one that comes late.
            let share = n.div_ceil(2 * threads).next_multiple_of(LANES);
            spin_pool::for_each(partition(n, share), |columns| self.part(0..m, columns, c));
        }
    }

    /// Computes it into the columns from `first` on of rows that others compute other columns of, on this thread.
    ///
    /// # Safety
    /// Nothing else may use these columns of the result meanwhile.
    pub unsafe fn into_columns(self, c: &SharedRows<'_>, first: usize) {
        let [m, n, _] = self.size;
        if m == 0 || n == 0 {
            return;
        }
        assert!(first + n <= c.width, "columns from {first} to {} of {}", first + n, c.width);
        self.check(c.len - first, c.width);
        self.part(0..m, 0..n, Target { data: c.data.wrapping_add(first), stride: c.width });
    }

    fn check(&self, result_len: usize, stride: usize) {
        let [m, n, k] = self.size;
        self.a.check(m, k);
        self.b.check(k, n);
        assert!(n <= stride && (m - 1) * stride + n <= result_len, "the result is too small for {m} × {n}");
        if let GemmInit::Bias(bias) = self.start {
            assert_eq!(bias.len(), n, "one bias a column");
        }
    }

    fn part(&self, rows: Range<usize>, columns: Range<usize>, c: Target) {
        vectorized(Part { product: *self, rows, columns, c });
    }
}

/// Cuts 0 to `len` into pieces.
fn partition(len: usize, share: usize) -> Vec<Range<usize>> {
    (0..len).step_by(share).map(|first| first..len.min(first + share)).collect()
}

/// Where results go. Parts of a product write to different elements of it.
#[derive(Debug, Clone, Copy)]
struct Target {
    data: *mut f32,
    stride: usize,
}

// SAFETY: `Gemm::into` holds the only reference to the memory while parts run, and gives each part rows and columns
// of its own.
unsafe impl Send for Target {}
// SAFETY: as above.
unsafe impl Sync for Target {}

/// Rows that several threads write to, each to columns of its own.
#[derive(Debug)]
pub struct SharedRows<'a> {
    data: *mut f32,
    len: usize,
    width: usize,
    owner: PhantomData<&'a mut [f32]>,
}

// SAFETY: whoever uses its memory promises that nobody else uses the same part of it.
unsafe impl Send for SharedRows<'_> {}
// SAFETY: as above.
unsafe impl Sync for SharedRows<'_> {}

impl<'a> SharedRows<'a> {
    /// Rows of `width` numbers, one after another.
    pub fn new(rows: &'a mut [f32], width: usize) -> Self {
        Self { data: rows.as_mut_ptr(), len: rows.len(), width, owner: PhantomData }
    }

    /// Some columns of a row, to be read and written.
    ///
    /// # Safety
    /// Nothing else may use them meanwhile.
    #[expect(clippy::mut_from_ref, reason = "the caller promises that nobody else has them")]
    pub unsafe fn columns(&self, row: usize, columns: Range<usize>) -> &mut [f32] {
        assert!(columns.end <= self.width && (row + 1) * self.width <= self.len, "columns {columns:?} of row {row}");
        // SAFETY: within the rows, and nobody else has them, by the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.data.add(row * self.width + columns.start), columns.len()) }
    }
}

/// A block of rows and columns of a product, computed on one thread.
struct Part<'a> {
    product: Gemm<'a>,
    rows: Range<usize>,
    columns: Range<usize>,
    c: Target,
}

impl WithSimd for Part<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Gemm { size: [_, _, k], b, .. } = self.product;
        let wide = S::REGISTER_COUNT >= 32;
        let few = b.column_stride == 1 && self.rows.len() < PACKING_ROWS;
        let mut column = self.columns.start;
        while column < self.columns.end {
            let left = self.columns.end - column;
            let vectors = panel_vectors(wide, left, few && self.rows.len() < LONG_PANEL_ROWS);
            let stride = vectors * LANES;
            let panel = Panel { first_column: column, width: left.min(stride) };
            // Rows of the right matrix that can be used where they lie: what a ragged panel reads past its columns is
            // not stored, but the last row may end with the matrix.
            let direct = if few {
                let usable = (b.data.len() + b.row_stride).saturating_sub(column + stride) / b.row_stride.max(1);
                k.min(usable)
            } else {
                0
            };
            if direct > 0 || k == 0 {
                let data = b.data.get(column..).unwrap_or_default();
                self.panel(simd, wide, vectors, panel, 0..direct, data, b.row_stride);
            }
            if direct < k {
                // Not inside `SCRATCH.with`: vector instructions are inlined here, and into no closure of its.
                let mut packed = SCRATCH.take();
                packed.resize((k - direct) * stride, 0.0);
                pack(&b, direct..k, panel, stride, &mut packed);
                self.panel(simd, wide, vectors, panel, direct..k, &packed, stride);
                SCRATCH.set(packed);
            }
            column += panel.width;
        }
    }
}

thread_local! {
    /// The packed panel, kept so that its memory is not faulted in anew for each product.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Calls a macro with all tiles whose sums stay in registers: (whether there are 32 registers, as in AVX-512, and not
/// 16; vectors in a row of the tile): rows of the tile. Widths of four vectors and more are for few rows.
macro_rules! tiles {
    ($macro:ident) => {
        $macro! {
            (true, 1): 1 2 3 4 5 6 7 8;
            (true, 2): 1 2 3 4 5 6 7 8;
            (true, 3): 1 2 3 4 5 6 7 8;
            (true, 4): 1 2 3;
            (true, 8): 1 2 3;
            (false, 1): 1 2 3 4 5 6;
            (false, 4): 1;
        }
    };
}

macro_rules! sizes_of_tiles {
    ($(($wide:literal, $vectors:literal): $($rows:literal)*;)*) => {
        [$((($wide, $vectors), [$($rows),*].len())),*]
    };
}

/// Each width of a tile with its most rows.
const TILES: [((bool, usize), usize); 7] = tiles!(sizes_of_tiles);

/// Rows of the tallest tile of so many vectors.
#[inline(always)]
fn most_rows(wide: bool, vectors: usize) -> usize {
    TILES.iter().find(|(width, _)| *width == (wide, vectors)).map_or(0, |(_, rows)| *rows)
}

/// Vectors of the next panel where `left` columns are left.
#[inline(always)]
fn panel_vectors(wide: bool, left: usize, few_rows: bool) -> usize {
    // The widest of the tall tiles, and those of few rows.
    let (most, long) = if wide { (3, [8, 4]) } else { (1, [4, 4]) };
    match left.div_ceil(LANES) {
        // Few rows wait for the right matrix, which is read the faster the more of each of its rows is taken at once.
        _ if few_rows && left >= long[0] * LANES => long[0],
        _ if few_rows && left >= long[1] * LANES => long[1],
        // Two halves are faster than a full panel and a narrow rest.
        vectors if vectors == most + 1 => vectors.div_ceil(2),
        vectors => vectors.min(most),
    }
}

/// Columns of the right matrix that are in work together.
#[derive(Debug, Clone, Copy)]
struct Panel {
    first_column: usize,
    width: usize,
}

/// Copies rows `inner` of a panel into rows of `stride` elements, zeros after its own.
#[inline(always)]
fn pack(b: &Matrix<'_>, inner: Range<usize>, panel: Panel, stride: usize, packed: &mut [f32]) {
    let Panel { first_column, width } = panel;
    if b.column_stride == 1 {
        for (p, row) in inner.zip(packed.chunks_exact_mut(stride)) {
            let from = p * b.row_stride + first_column;
            prefetch::<3>(b.data.as_ptr().wrapping_add(from + width));
            row[..width].copy_from_slice(&b.data[from..from + width]);
            row[width..].fill(0.0);
        }
        return;
    }
    if width < stride {
        packed.fill(0.0);
    }
    assert!(width <= stride && packed.len() >= inner.len() * stride, "a panel ends past its copy");
    // A block of the copy at a time: the columns that are read and the rows that are written stay in the cache.
    for first in inner.clone().step_by(LANES) {
        let rows = LANES.min(inner.end - first);
        for j in 0..width {
            let from = &b.data[(first_column + j) * b.column_stride + first * b.row_stride..];
            assert!((rows - 1) * b.row_stride < from.len(), "a matrix ends past its data");
            for p in 0..rows {
                let to = (first - inner.start + p) * stride + j;
                // SAFETY: by the assertions above.
                unsafe { *packed.get_unchecked_mut(to) = *from.get_unchecked(p * b.row_stride) };
            }
        }
    }
}

impl Part<'_> {
    #[inline(always)]
    #[expect(clippy::too_many_arguments, reason = "inlined; each is a register")]
    fn panel<S: Simd>(
        &self,
        simd: S,
        wide: bool,
        vectors: usize,
        panel: Panel,
        inner: Range<usize>,
        b: &[f32],
        b_stride: usize,
    ) {
        let mut row = self.rows.start;
        while row < self.rows.end {
            let rows = (self.rows.end - row).min(most_rows(wide, vectors));
            macro_rules! tile_of_that_size {
                ($(($wide:literal, $vectors:literal): $($rows:literal)*;)*) => {
                    match (wide, vectors, rows) {
                        $($(($wide, $vectors, $rows) => {
                            self.tile::<S, $rows, $vectors>(simd, row, panel, inner.clone(), b, b_stride);
                        })*)*
                        _ => unreachable!("no tile of {rows} rows by {vectors} vectors"),
                    }
                };
            }
            tiles!(tile_of_that_size);
            row += rows;
        }
    }

    /// R rows by V vectors of the result.
    #[inline(always)]
    fn tile<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        row: usize,
        panel: Panel,
        inner: Range<usize>,
        b: &[f32],
        b_stride: usize,
    ) {
        let Gemm { a, start, .. } = self.product;
        let k = inner.len();
        let Panel { first_column, width } = panel;
        // The part of each vector that is in the matrix; full but for a ragged last one.
        let lanes = |v: usize| width.min((v + 1) * LANES) - v * LANES;
        let result = |r: usize, v: usize| {
            let offset = (row + r) * self.c.stride + first_column + v * LANES;
            // SAFETY: within the result by the check in `Gemm::into`, and in this part's rows and columns alone.
            unsafe { std::slice::from_raw_parts_mut(self.c.data.add(offset), lanes(v)) }
        };
        let mut sums = [[simd.splat_f32s(0.0); V]; R];
        match if inner.start > 0 { GemmInit::Add } else { start } {
            GemmInit::Zero => {}
            GemmInit::Bias(bias) => {
                for v in 0..V {
                    let from = first_column + v * LANES;
                    let values = load(simd, &bias[from..from + lanes(v)]);
                    for row in &mut sums {
                        row[v] = values;
                    }
                }
            }
            GemmInit::Add => {
                for (r, sums) in sums.iter_mut().enumerate() {
                    for (v, sum) in sums.iter_mut().enumerate() {
                        *sum = load(simd, result(r, v));
                    }
                }
            }
        }
        if k > 0 {
            assert!((k - 1) * b_stride + V * LANES <= b.len(), "a panel ends past its data");
        }
        // SAFETY: both matrices hold the elements read there, by the assertion above and `Matrix::check`.
        let sums = unsafe {
            let a_first = a.data[row * a.row_stride + inner.start * a.column_stride..].as_ptr();
            microkernel(simd, k, [a_first, b.as_ptr()], [a.row_stride, a.column_stride, b_stride], sums)
        };
        for (r, sums) in sums.iter().enumerate() {
            for (v, sum) in sums.iter().enumerate() {
                store(simd, result(r, v), *sum);
            }
        }
    }
}

/// Takes R × V vectors of sums through k steps. Of its own, so that the sums are only ever indexed by constants and stay
/// in registers.
///
/// # Safety
/// `a` must hold R rows and k columns at the first two strides, `b` k rows of V vectors at the third.
#[expect(clippy::needless_range_loop, reason = "indexed by constants once unrolled, where an iterator is not")]
#[inline(always)]
unsafe fn microkernel<S: Simd, const R: usize, const V: usize>(
    simd: S,
    k: usize,
    [a, b]: [*const f32; 2],
    [row_stride, column_stride, b_stride]: [usize; 3],
    start: [[S::f32s; V]; R],
) -> [[S::f32s; V]; R] {
    let mut sums = start;
    for p in 0..k {
        if V <= 3 && b_stride > V * LANES {
            // The same row of the next panel, which is far from this one in memory.
            prefetch::<V>(b.wrapping_add(p * b_stride + V * LANES));
        }
        // SAFETY: the caller's promise.
        unsafe {
            let mut row = [simd.splat_f32s(0.0); V];
            for v in 0..V {
                row[v] = b.add(p * b_stride + v * LANES).cast::<S::f32s>().read_unaligned();
            }
            for r in 0..R {
                let x = simd.splat_f32s(*a.add(r * row_stride + p * column_stride));
                for v in 0..V {
                    sums[r][v] = simd.mul_add_f32s(x, row[v], sums[r][v]);
                }
            }
        }
    }
    sums
}

/// Asks for V vectors ahead of their use. Any address will do: nothing is read if there is nothing.
#[inline(always)]
fn prefetch<const V: usize>(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    for v in 0..V {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it changes nothing but what the caches hold, and every x86-64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(v * LANES).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}
