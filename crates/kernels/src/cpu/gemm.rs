//! The matrix product. Each element is one chain of fused multiply-adds in ascending order of the inner index, begun at
//! its start value, so its bits depend on its own row and column alone: not on how many rows there are, how they are
//! tiled, packed or spread over threads, nor on the width of the registers.

mod pack;
mod part;
mod tile;

use std::marker::PhantomData;
use std::ops::Range;

use super::simd::{LANES, vectorized};
use super::spin_pool;
use part::Part;

/// Multiply-adds below which splitting a product over threads costs more than it saves.
const PARALLEL_WORK: usize = 1 << 20;

/// The same where threads stand by.
const SPIN_POOL_WORK: usize = 1 << 15;

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
        let [m, n, _] = self.size;
        if m == 0 || n == 0 {
            return;
        }
        self.check(c.len(), stride);
        self.on_threads(Target { data: c.as_mut_ptr(), stride });
    }

    /// Computes it into a new matrix, `[m, n]`, whose memory is written once.
    pub fn to_vec(self) -> Vec<f32> {
        let [m, n, _] = self.size;
        assert!(!matches!(self.start, GemmInit::Add), "a new matrix holds nothing to be added to");
        let mut c = Vec::with_capacity(m * n);
        if m * n > 0 {
            self.check(m * n, n);
            self.on_threads(Target { data: c.as_mut_ptr(), stride: n });
        }
        // SAFETY: every element of every part has been written.
        unsafe { c.set_len(m * n) };
        c
    }

    fn on_threads(self, c: Target) {
        let [m, n, k] = self.size;
        let threads = spin_pool::threads();
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
