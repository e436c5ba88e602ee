//! How long each operation takes on the CPU, forward and backward, at the sizes of `tril bench`'s presets.
//!
//!     cargo bench -p tril-kernels                          # all
//!     cargo bench -p tril-kernels -- gelu                  # those whose name holds "gelu"
//!     RAYON_NUM_THREADS=1 cargo bench -p tril-kernels      # on one core, as in training: micro-batches share the cores
//!
//! Items a second are floating-point operations for `linear` and `causal_attention` (2 a multiply-add, masked keys not
//! counted, backward twice as many as forward) and elements of the largest input for the rest. The gradient that enters a
//! backward pass is one everywhere.

#![allow(clippy::disallowed_methods, reason = "any numbers will do")]

use std::fmt;

use burn::tensor::{Device, Int, Tensor, TensorData};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use tril_kernels::RotaryTable;

/// What the `tril` command allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    divan::main();
}

/// A model's sizes and its batch's.
#[derive(Debug, Clone, Copy)]
struct Size {
    name: &'static str,
    n_heads: usize,
    d_model: usize,
    seq_len: usize,
    batch_size: usize,
}

const SIZES: [Size; 2] = [
    Size { name: "char-cpu", n_heads: 4, d_model: 128, seq_len: 64, batch_size: 12 },
    Size { name: "baby", n_heads: 6, d_model: 384, seq_len: 256, batch_size: 8 },
];

const VOCAB_SIZE: usize = 65;

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Size {
    /// The shape of activations of some width, `[batch_size, seq_len, width]`.
    fn activations(self, width: usize) -> [usize; 3] {
        [self.batch_size, self.seq_len, width]
    }

    /// The shape of queries, keys and values, `[batch_size, n_heads, seq_len, d_head]`.
    fn heads(self) -> [usize; 4] {
        [self.batch_size, self.n_heads, self.seq_len, self.d_model / self.n_heads]
    }
}

/// Numbers between −1 and 1 that repeat nowhere.
fn numbers<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    let len: usize = shape.iter().product();
    let values: Vec<f32> = (0..len).map(|i| (1.7 * i as f32 + 0.3).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// Numbers that no gradient flows to.
fn plain<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    numbers(shape, &Device::flex())
}

/// Numbers that a gradient flows to.
fn leaf<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    numbers(shape, &Device::flex().autodiff()).require_grad()
}

/// Times a forward pass; `items` is the work of one.
fn forward<const D: usize>(bencher: Bencher<'_, '_>, items: usize, operation: impl Fn() -> Tensor<D>) {
    bencher.counter(ItemsCount::new(items)).bench_local(|| black_box(operation()));
}

/// Times the backward pass alone, after a forward pass that is not timed.
fn backward<const D: usize>(bencher: Bencher<'_, '_>, items: usize, operation: impl Fn() -> Tensor<D>) {
    let bencher = bencher.counter(ItemsCount::new(items)).with_inputs(operation);
    bencher.bench_local_values(|output| black_box(output.backward()));
}

/// The elements of a shape.
fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

/// A module with a forward and a backward benchmark of an operation that takes an element at a time, or a row.
macro_rules! elementwise {
    ($name:ident, $width:expr, |$x:ident, $size:ident| $operation:expr) => {
        mod $name {
            use super::*;

            #[divan::bench(args = SIZES)]
            fn forward(bencher: Bencher<'_, '_>, $size: Size) {
                let shape = $size.activations($width($size));
                let input = plain(shape);
                super::forward(bencher, count(&shape), || {
                    let $x = input.clone();
                    $operation
                });
            }

            #[divan::bench(args = SIZES)]
            fn backward(bencher: Bencher<'_, '_>, $size: Size) {
                let shape = $size.activations($width($size));
                let input = leaf(shape);
                super::backward(bencher, count(&shape), || {
                    let $x = input.clone();
                    $operation
                });
            }
        }
    };
}

elementwise!(gelu, |size: Size| 4 * size.d_model, |x, size| tril_kernels::gelu(x));
elementwise!(gelu_tanh, |size: Size| 4 * size.d_model, |x, size| tril_kernels::gelu_tanh(x));
elementwise!(relu2, |size: Size| 4 * size.d_model, |x, size| tril_kernels::relu2(x));
elementwise!(swiglu, |size: Size| 8 * size.d_model, |x, size| tril_kernels::swiglu(x));
elementwise!(cross_entropy, |_| VOCAB_SIZE, |x, size| {
    let rows = size.batch_size * size.seq_len;
    let ids: Vec<i32> = (0..rows).map(|row| (row * 7 % VOCAB_SIZE) as i32).collect();
    let targets: Tensor<1, Int> = Tensor::from_data(TensorData::new(ids, [rows]), &x.device());
    tril_kernels::cross_entropy(x.flatten(0, 1), targets)
});

mod norm {
    use super::*;

    #[divan::bench(args = SIZES)]
    fn layer_forward(bencher: Bencher<'_, '_>, size: Size) {
        let shape = size.activations(size.d_model);
        let (x, gain) = (plain(shape), plain([size.d_model]));
        forward(bencher, count(&shape), || tril_kernels::layer_norm(x.clone(), Some(gain.clone()), None, 1e-5));
    }

    #[divan::bench(args = SIZES)]
    fn layer_backward(bencher: Bencher<'_, '_>, size: Size) {
        let shape = size.activations(size.d_model);
        let (x, gain) = (leaf(shape), leaf([size.d_model]));
        backward(bencher, count(&shape), || tril_kernels::layer_norm(x.clone(), Some(gain.clone()), None, 1e-5));
    }

    #[divan::bench(args = SIZES)]
    fn rms_forward(bencher: Bencher<'_, '_>, size: Size) {
        let shape = size.activations(size.d_model);
        let (x, gain) = (plain(shape), plain([size.d_model]));
        forward(bencher, count(&shape), || tril_kernels::rms_norm(x.clone(), Some(gain.clone()), 1e-5));
    }

    #[divan::bench(args = SIZES)]
    fn rms_backward(bencher: Bencher<'_, '_>, size: Size) {
        let shape = size.activations(size.d_model);
        let (x, gain) = (leaf(shape), leaf([size.d_model]));
        backward(bencher, count(&shape), || tril_kernels::rms_norm(x.clone(), Some(gain.clone()), 1e-5));
    }
}

mod rotary {
    use super::*;

    fn table(size: Size) -> RotaryTable {
        RotaryTable::new(0, size.seq_len, size.d_model / size.n_heads, 10_000.0, &Device::flex())
    }

    #[divan::bench(args = SIZES)]
    fn forward(bencher: Bencher<'_, '_>, size: Size) {
        let (x, table) = (plain(size.heads()), table(size));
        super::forward(bencher, count(&size.heads()), || table.rotate(x.clone()));
    }

    #[divan::bench(args = SIZES)]
    fn backward(bencher: Bencher<'_, '_>, size: Size) {
        let (x, table) = (leaf(size.heads()), table(size));
        super::backward(bencher, count(&size.heads()), || table.rotate(x.clone()));
    }
}

mod causal_attention {
    use super::*;

    /// Products with the keys and with the values that a query sees.
    fn flops(size: Size) -> usize {
        2 * size.batch_size * size.d_model * size.seq_len * (size.seq_len + 1)
    }

    #[divan::bench(args = SIZES)]
    fn forward(bencher: Bencher<'_, '_>, size: Size) {
        let [q, k, v] = [0; 3].map(|_| plain(size.heads()));
        super::forward(bencher, flops(size), || {
            tril_kernels::causal_attention(q.clone(), k.clone(), v.clone(), None, None)
        });
    }

    #[divan::bench(args = SIZES)]
    fn backward(bencher: Bencher<'_, '_>, size: Size) {
        let [q, k, v] = [0; 3].map(|_| leaf(size.heads()));
        super::backward(bencher, 2 * flops(size), || {
            tril_kernels::causal_attention(q.clone(), k.clone(), v.clone(), None, None)
        });
    }

    /// The last query of a full context.
    #[divan::bench(args = SIZES)]
    fn decode(bencher: Bencher<'_, '_>, size: Size) {
        let [_, n_heads, seq_len, d_head] = size.heads();
        let q = plain([1, n_heads, 1, d_head]);
        let [k, v] = [0; 2].map(|_| plain([1, n_heads, seq_len, d_head]));
        super::forward(bencher, 4 * seq_len * size.d_model, || {
            tril_kernels::causal_attention(q.clone(), k.clone(), v.clone(), None, None)
        });
    }
}

mod linear {
    use super::*;

    /// A weight of a model: its name, rows and columns.
    #[derive(Debug, Clone, Copy)]
    struct Weight {
        size: Size,
        name: &'static str,
        d_input: usize,
        d_output: usize,
    }

    impl fmt::Display for Weight {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{} {}", self.size, self.name)
        }
    }

    fn weights() -> impl Iterator<Item = Weight> {
        SIZES.into_iter().flat_map(|size| {
            let d = size.d_model;
            [("qkv", d, 3 * d), ("output", d, d), ("up", d, 4 * d), ("down", 4 * d, d), ("head", d, VOCAB_SIZE)]
                .map(|(name, d_input, d_output)| Weight { size, name, d_input, d_output })
        })
    }

    impl Weight {
        /// Two a multiply-add; neither preset has a bias.
        fn flops(self, rows: usize) -> usize {
            2 * rows * self.d_input * self.d_output
        }

        fn rows(self) -> usize {
            self.size.batch_size * self.size.seq_len
        }

        /// Its numbers, `[d_input, d_output]`; the head, which both presets tie, is a transposed view.
        fn of(self, numbers: fn([usize; 2]) -> Tensor<2>) -> Tensor<2> {
            match self.name {
                "head" => numbers([self.d_output, self.d_input]).transpose(),
                _ => numbers([self.d_input, self.d_output]),
            }
        }
    }

    #[divan::bench(args = weights())]
    fn forward(bencher: Bencher<'_, '_>, weight: Weight) {
        let x = plain(weight.size.activations(weight.d_input));
        let w = weight.of(plain);
        super::forward(bencher, weight.flops(weight.rows()), || tril_kernels::linear(x.clone(), w.clone(), None));
    }

    #[divan::bench(args = weights())]
    fn backward(bencher: Bencher<'_, '_>, weight: Weight) {
        let x = leaf(weight.size.activations(weight.d_input));
        let w = weight.of(leaf);
        super::backward(bencher, 2 * weight.flops(weight.rows()), || tril_kernels::linear(x.clone(), w.clone(), None));
    }

    /// A step of generation; the cache keeps the head row-major.
    #[divan::bench(args = weights())]
    fn decode(bencher: Bencher<'_, '_>, weight: Weight) {
        let x = plain([1, 1, weight.d_input]);
        let w = tril_kernels::row_major(weight.of(plain));
        super::forward(bencher, weight.flops(1), || tril_kernels::linear(x.clone(), w.clone(), None));
    }
}

mod muon {
    use super::*;

    /// A step for a wide, a square and a tall matrix, in elements of the matrix.
    #[divan::bench(args = SIZES, consts = [1, 4])]
    fn wide<const RATIO: usize>(bencher: Bencher<'_, '_>, size: Size) {
        step(bencher, [size.d_model, RATIO * size.d_model]);
    }

    #[divan::bench(args = SIZES)]
    fn tall(bencher: Bencher<'_, '_>, size: Size) {
        step(bencher, [4 * size.d_model, size.d_model]);
    }

    fn step(bencher: Bencher<'_, '_>, shape: [usize; 2]) {
        let step = tril_kernels::MuonStep { rate: 0.02, decay: 0.002, momentum: 0.95 };
        let (weight, flat) = (plain(shape), plain([count(&shape)]));
        super::forward(bencher, count(&shape), || {
            tril_kernels::muon(&step, weight.clone(), flat.clone(), flat.clone(), &[shape[1]]).0
        });
    }
}

mod row_major {
    use super::*;

    /// A tied head, as a cache copies it once.
    #[divan::bench(args = SIZES)]
    fn forward(bencher: Bencher<'_, '_>, size: Size) {
        let weight = plain([VOCAB_SIZE, size.d_model]).transpose();
        super::forward(bencher, VOCAB_SIZE * size.d_model, || tril_kernels::row_major(weight.clone()));
    }
}
