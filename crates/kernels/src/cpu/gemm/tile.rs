//! Tiles: some rows by some vectors of a result, whose sums stay in registers from the first step of a block to its last.

use pulp::Simd;

use super::super::simd::{LANES, load, store};
use super::{GemmInit, Target};

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
pub fn most_rows(wide: bool, vectors: usize) -> usize {
    TILES.iter().find(|(width, _)| *width == (wide, vectors)).map_or(0, |(_, rows)| *rows)
}

/// Columns of the right matrix that are in work together: so many of the result from `first_column` on.
#[derive(Debug, Clone, Copy)]
pub struct Panel {
    pub first_column: usize,
    pub width: usize,
    pub vectors: usize,
}

/// One of the two matrices as tiles read it: element (p, i) at `p · step + i · stride`, where p counts along the sum.
#[derive(Debug, Clone, Copy)]
pub struct Operand<'a> {
    pub data: &'a [f32],
    pub step: usize,
    pub stride: usize,
}

/// `rows` rows of a result by the columns of a panel, over `k` steps of the sum.
///
/// # Safety
/// The result must have them, and nothing else may use them meanwhile.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined; each is a register")]
pub unsafe fn tile<S: Simd>(
    simd: S,
    wide: bool,
    [row, rows, k]: [usize; 3],
    panel: Panel,
    a: Operand<'_>,
    b: Operand<'_>,
    start: GemmInit<'_>,
    c: Target,
) {
    if k > 0 {
        let last = (k - 1) * b.step + panel.vectors * LANES;
        assert!(last <= b.data.len(), "a panel ends past its data");
        assert!((k - 1) * a.step + (rows - 1) * a.stride < a.data.len(), "rows end past their data");
    }
    macro_rules! tile_of_that_size {
        ($(($wide:literal, $vectors:literal): $($rows:literal)*;)*) => {
            match (wide, panel.vectors, rows) {
                // SAFETY: the caller's promise, and the assertions above.
                $($(($wide, $vectors, $rows) => unsafe { sized::<S, $rows, $vectors>(simd, row, k, panel, a, b, start, c) },)*)*
                _ => unreachable!("no tile of {rows} rows by {} vectors", panel.vectors),
            }
        };
    }
    tiles!(tile_of_that_size);
}

/// R rows by V vectors.
///
/// # Safety
/// As of [`tile`]; the operands must hold k steps.
#[inline(always)]
#[expect(clippy::too_many_arguments, reason = "inlined; each is a register")]
unsafe fn sized<S: Simd, const R: usize, const V: usize>(
    simd: S,
    row: usize,
    k: usize,
    panel: Panel,
    a: Operand<'_>,
    b: Operand<'_>,
    start: GemmInit<'_>,
    c: Target,
) {
    let Panel { first_column, width, .. } = panel;
    let full = width == V * LANES;
    // The part of each vector that is in the matrix; full but for a ragged last one.
    let lanes = |v: usize| width.min((v + 1) * LANES) - v * LANES;
    let at = |r: usize, v: usize| c.data.wrapping_add((row + r) * c.stride + first_column + v * LANES);
    let mut sums = [[simd.splat_f32s(0.0); V]; R];
    match start {
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
                    // SAFETY: the caller's promise.
                    *sum = unsafe {
                        if full {
                            at(r, v).cast::<S::f32s>().read_unaligned()
                        } else {
                            load(simd, std::slice::from_raw_parts(at(r, v), lanes(v)))
                        }
                    };
                }
            }
        }
    }
    // SAFETY: the caller's promise.
    let sums = unsafe { microkernel(simd, k, [a.data.as_ptr(), b.data.as_ptr()], [a.stride, a.step, b.step], sums) };
    for (r, sums) in sums.iter().enumerate() {
        for (v, sum) in sums.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe {
                if full {
                    at(r, v).cast::<S::f32s>().write_unaligned(*sum);
                } else {
                    // The result may hold nothing yet that could be borrowed.
                    let mut values = [0.0; LANES];
                    store(simd, &mut values, *sum);
                    std::ptr::copy_nonoverlapping(values.as_ptr(), at(r, v), lanes(v));
                }
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
pub fn prefetch<const V: usize>(from: *const f32) {
    #[cfg(target_arch = "x86_64")]
    for v in 0..V {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it changes nothing but what the caches hold, and every x86-64 processor has it.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(v * LANES).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = from;
}
