//! What the fixed order of sums costs: matrix products by the kernel of this crate, by that kernel written out here, each sum
//! one chain in ascending order, and by the same with two or four chains a sum, which are added at the end, as a kernel may do
//! that promises no bits.
//!
//!     cargo bench -p tril-kernels --bench order_of_sums
//!
//! One thread, the right matrix in panels that are packed before the clock runs. Of each order the fastest tile is told.
//! Before anything is timed, one chain is held to the bits of `linear`, and more are seen to give others.

#![allow(clippy::disallowed_methods, reason = "any numbers will do")]
#![allow(clippy::print_stdout, reason = "a benchmark prints")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use burn::tensor::{Device, Tensor, TensorData};
use pulp::{Arch, Simd, WithSimd};
use tril_kernels::linear;

/// Rows, columns and inner length of the products that a model makes.
const SIZES: [(&str, [usize; 3]); 8] = [
    ("a token, d 128, MLP up", [1, 768, 128]),
    ("a token, d 384, MLP up", [1, 1536, 384]),
    ("a token, d 384, MLP down", [1, 384, 1536]),
    ("a token, narrow and deep", [1, 48, 1536]),
    ("training, d 128, forward", [768, 768, 128]),
    ("training, d 384, forward", [512, 1536, 384]),
    ("training, d 384, MLP down", [512, 384, 1536]),
    ("training, d 384, gradient of a weight", [384, 1536, 512]),
];

/// How long each tile is timed.
const EACH: Duration = Duration::from_millis(250);

fn main() {
    // One thread, as each micro-batch of training has.
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        let lanes = Arch::new().dispatch(Lanes);
        println!("{:<38} {:>9} {:>9} {:>9} {:>9} {:>7}", "µs", "linear", "1 chain", "2 chains", "4 chains", "cost");
        for (name, [m, n, k]) in SIZES {
            let (a, b) = (numbers(m * k, 0.3), numbers(k * n, 0.7));
            let linear = {
                let tensor = |values: &[f32], shape: [usize; 2]| {
                    Tensor::<2>::from_data(TensorData::new(values.to_vec(), shape), &Device::flex())
                };
                let (x, weight) = (tensor(&a, [m, k]).unsqueeze::<3>(), tensor(&b, [k, n]));
                check(&a, &b, [m, n, k], lanes, &linear(x.clone(), weight.clone(), None));
                time(|| drop(black_box(linear(x.clone(), weight.clone(), None))))
            };
            let few = m == 1;
            let best = |chains| {
                let tiles = TILES.iter().filter(|tile| tile.chains == chains && (tile.rows == 1) == few);
                tiles.filter_map(|tile| timed(tile, &a, &b, [m, n, k], lanes)).fold(f64::INFINITY, f64::min)
            };
            let [one, two, four] = [1, 2, 4].map(best);
            let cost = (one / one.min(two).min(four) - 1.0) * 100.0;
            println!("{name:<38} {linear:>9.1} {one:>9.1} {two:>9.1} {four:>9.1} {cost:>6.1}%");
        }
    });
}

/// One chain has the bits of the crate's kernel, and two have others.
fn check(a: &[f32], b: &[f32], size: [usize; 3], lanes: usize, expected: &Tensor<3>) {
    let expected = expected.clone().try_into_vec_as::<f32>().expect("f32");
    let few = size[0] == 1;
    for tile in TILES.iter().filter(|tile| (tile.rows == 1) == few) {
        let Some(found) = product(tile, a, b, size, lanes) else { continue };
        let same = expected.iter().zip(&found).all(|(a, b)| a.to_bits() == b.to_bits());
        assert_eq!(same, tile.chains == 1, "{} chains by a tile of {} × {}", tile.chains, tile.rows, tile.vectors);
    }
}

/// Numbers between −1 and 1 that repeat nowhere.
fn numbers(len: usize, offset: f32) -> Vec<f32> {
    (0..len).map(|i| (1.7 * i as f32 + offset).sin()).collect()
}

/// Microseconds of the fastest run of many.
fn time(mut work: impl FnMut()) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed() < EACH {
        let run = Instant::now();
        work();
        best = best.min(run.elapsed().as_secs_f64() * 1e6);
    }
    best
}

/// Computes `c` from `a` and `b`, which is packed, of a size.
type Run = fn(&[f32], &[f32], &mut [f32], [usize; 3]);

/// Sums that stay in registers: rows × vectors of the result, and chains of each.
struct Tile {
    rows: usize,
    vectors: usize,
    chains: usize,
    run: Run,
}

/// Every way to have at most 24 sums in work, as the crate's kernel has with AVX-512.
macro_rules! tiles {
    ($([$rows:literal $vectors:literal $chains:literal])*) => {
        [$(Tile {
            rows: $rows,
            vectors: $vectors,
            chains: $chains,
            run: |a, b, c, size| Arch::new().dispatch(Product::<$rows, $vectors, $chains> { a, b, c, size }),
        }),*]
    };
}

const TILES: [Tile; 18] = tiles! {
    [8 3 1] [6 4 1] [8 2 1] [4 3 1] [4 3 2] [6 2 2] [2 3 4] [3 2 4] [2 3 2]
    [1 1 1] [1 3 1] [1 8 1] [1 1 2] [1 3 2] [1 8 2] [1 1 4] [1 3 4] [1 4 4]
};

/// Microseconds of one tile; `None` where the size is no multiple of it.
fn timed(tile: &Tile, a: &[f32], b: &[f32], size: [usize; 3], lanes: usize) -> Option<f64> {
    let mut c = product(tile, a, b, size, lanes)?;
    let packed = pack(b, size, tile.vectors * lanes);
    Some(time(|| (tile.run)(black_box(a), black_box(&packed), black_box(&mut c), size)))
}

fn product(tile: &Tile, a: &[f32], b: &[f32], size: [usize; 3], lanes: usize) -> Option<Vec<f32>> {
    let [m, n, k] = size;
    let fits = m.is_multiple_of(tile.rows) && n.is_multiple_of(tile.vectors * lanes) && k.is_multiple_of(tile.chains);
    fits.then(|| {
        let mut c = vec![0.0; m * n];
        (tile.run)(a, &pack(b, size, tile.vectors * lanes), &mut c, size);
        c
    })
}

/// Panels of so many columns, one after another, each row by row.
fn pack(b: &[f32], [_, n, k]: [usize; 3], width: usize) -> Vec<f32> {
    let rows = |first: usize| (0..k).flat_map(move |p| &b[p * n + first..p * n + first + width]);
    (0..n).step_by(width).flat_map(rows).copied().collect()
}

/// Lanes of a vector on this processor.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

/// `c = a · b`: `[m, k]` row by row, `[k, n]` in panels of V vectors.
struct Product<'a, const R: usize, const V: usize, const C: usize> {
    a: &'a [f32],
    b: &'a [f32],
    c: &'a mut [f32],
    size: [usize; 3],
}

impl<const R: usize, const V: usize, const C: usize> WithSimd for Product<'_, R, V, C> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { a, b, c, size: [m, n, k] } = self;
        let width = V * S::F32_LANES;
        assert!(a.len() == m * k && b.len() == k * n && c.len() == m * n, "matrices of other sizes");
        assert!(m % R == 0 && n % width == 0 && k % C == 0, "{m} × {n} × {k} is no multiple of the tile");
        for (panel, b) in b.chunks_exact(k * width).enumerate() {
            for row in (0..m).step_by(R) {
                // SAFETY: R rows of k numbers are left from there, and a panel has k rows of `width`.
                let sums = unsafe { chains::<S, R, V, C>(simd, k, a.as_ptr().add(row * k), b.as_ptr()) };
                for (r, sums) in sums.iter().enumerate() {
                    let at = (row + r) * n + panel * width;
                    let (vectors, _) = S::as_mut_simd_f32s(&mut c[at..at + width]);
                    vectors.copy_from_slice(sums);
                }
            }
        }
    }
}

/// R × V vectors of sums, each in C chains: chain i has the inner indices i, i + C, and so on.
///
/// # Safety
/// `a` must hold R rows of `k`, `b` k rows of V vectors; `k` is a multiple of C.
#[expect(clippy::needless_range_loop, reason = "indexed by constants once unrolled, where an iterator is not")]
#[inline(always)]
unsafe fn chains<S: Simd, const R: usize, const V: usize, const C: usize>(
    simd: S,
    k: usize,
    a: *const f32,
    b: *const f32,
) -> [[S::f32s; V]; R] {
    let mut sums = [[[simd.splat_f32s(0.0); V]; R]; C];
    for p in (0..k).step_by(C) {
        for chain in 0..C {
            // SAFETY: the caller's promise.
            unsafe {
                let mut row = [simd.splat_f32s(0.0); V];
                for v in 0..V {
                    row[v] = b.add(((p + chain) * V + v) * S::F32_LANES).cast::<S::f32s>().read_unaligned();
                }
                for r in 0..R {
                    let x = simd.splat_f32s(*a.add(r * k + p + chain));
                    for v in 0..V {
                        sums[chain][r][v] = simd.mul_add_f32s(x, row[v], sums[chain][r][v]);
                    }
                }
            }
        }
    }
    let mut total = sums[0];
    for chain in 1..C {
        for r in 0..R {
            for v in 0..V {
                total[r][v] = simd.add_f32s(total[r][v], sums[chain][r][v]);
            }
        }
    }
    total
}
