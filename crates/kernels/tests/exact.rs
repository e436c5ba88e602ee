//! The CPU's operations to the last bit: sums are made in the order that the documentation states, and a row's result
//! depends on nothing but that row.

#![allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit")]

use burn::tensor::{Device, Tensor, TensorData};
use tril_kernels::{
    MuonStep, causal_attention, gelu, gelu_tanh, layer_norm, linear, muon, relu2, rms_norm, row_major, swiglu,
    with_spin_pool,
};

fn numbers(len: usize, salt: usize) -> Vec<f32> {
    (0..len).map(|i| 1.3 * (1.7 * i as f32 + 0.9 * salt as f32 + 0.3).sin()).collect()
}

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<D> {
    Tensor::from_data(TensorData::new(values, shape), &Device::flex())
}

fn bits<const D: usize>(tensor: Tensor<D>) -> Vec<u32> {
    tensor.try_into_vec_as::<f32>().expect("f32").into_iter().map(f32::to_bits).collect()
}

/// Runs `work` with pools of one, two and three threads, and with the threads of these standing by.
fn on_threads<T: Send>(work: impl Fn() -> T + Sync) -> Vec<T> {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let standing_by = || with_spin_pool(&Device::flex(), usize::MAX, &work);
    let runs = [1, 2, 3].map(pool).map(|pool| [pool.install(&work), pool.install(standing_by)]);
    runs.into_iter().flatten().collect()
}

#[test]
fn a_product_is_a_chain_of_fused_multiply_adds_in_order_from_the_bias() {
    // One row and many, one vector and many, ragged ends, more work than a thread is given alone.
    // The last ones are shared out, by columns and by rows.
    let small = [(1, 7, 5), (1, 300, 130), (2, 64, 48), (5, 33, 17), (16, 129, 97), (37, 40, 256)];
    let sizes = small.into_iter().chain([(1, 1100, 1000), (3, 200, 300), (5, 501, 450), (39, 65, 97), (130, 70, 200)]);
    for (rows, d_input, d_output) in sizes {
        let (x, weight, bias) = (numbers(rows * d_input, 1), numbers(d_input * d_output, 2), numbers(d_output, 3));
        let chain = |row: usize, column: usize| {
            let terms = (0..d_input).map(|i| (x[row * d_input + i], weight[i * d_output + column]));
            terms.fold(bias[column], |sum, (x, w)| x.mul_add(w, sum)).to_bits()
        };
        let expected: Vec<u32> = (0..rows)
            .flat_map(|row| (0..d_output).map(move |column| (row, column)))
            .map(|(r, c)| chain(r, c))
            .collect();
        let turned: Vec<f32> = (0..d_output)
            .flat_map(|j| (0..d_input).map(move |i| (i, j)))
            .map(|(i, j)| weight[i * d_output + j])
            .collect();
        let x = tensor(x.clone(), [1, rows, d_input]);
        let bias = Some(tensor(bias.clone(), [d_output]));
        let weight = tensor(weight.clone(), [d_input, d_output]);
        let turned = tensor(turned, [d_output, d_input]).transpose();
        for found in on_threads(|| {
            [weight.clone(), turned.clone(), row_major(turned.clone())]
                .map(|weight| bits(linear(x.clone(), weight, bias.clone())))
        }) {
            assert!(found.iter().all(|found| *found == expected), "{rows} × {d_input} × {d_output}");
        }
    }
}

#[test]
fn a_gradient_of_weights_is_a_chain_over_rows_in_order() {
    // Rows that the nearest cache keeps and rows that it does not, of which a copy is made; more rows than one copy takes; ragged ends.
    for (rows, d_input, d_output) in [(70, 128, 129), (130, 96, 150), (300, 384, 130), (600, 130, 200), (1100, 64, 128)]
    {
        let (x, slopes) = (numbers(rows * d_input, 1), numbers(rows * d_output, 2));
        let chain = |i: usize, j: usize| {
            let terms = (0..rows).map(|row| (x[row * d_input + i], slopes[row * d_output + j]));
            terms.fold(0.0f32, |sum, (x, slope)| x.mul_add(slope, sum)).to_bits()
        };
        let expected: Vec<u32> =
            (0..d_input).flat_map(|i| (0..d_output).map(move |j| (i, j))).map(|(i, j)| chain(i, j)).collect();
        let device = Device::flex().autodiff();
        let x = Tensor::<3>::from_data(TensorData::new(x.clone(), [1, rows, d_input]), &device);
        let slopes = Tensor::<3>::from_data(TensorData::new(slopes.clone(), [1, rows, d_output]), &device);
        for found in on_threads(|| {
            let weight = TensorData::new(numbers(d_input * d_output, 3), [d_input, d_output]);
            let weight = Tensor::<2>::from_data(weight, &device).require_grad();
            let gradients = (linear(x.clone(), weight.clone(), None) * slopes.clone()).sum().backward();
            bits(weight.grad(&gradients).expect("a gradient"))
        }) {
            assert!(found == expected, "{rows} × {d_input} × {d_output}");
        }
    }
}

#[test]
fn an_element_goes_through_the_same_instructions_wherever_in_a_vector_it_stands() {
    let values: Vec<f32> = numbers(200, 1).iter().map(|x| 4.0 * x).collect();
    for op in [gelu::<1>, gelu_tanh, relu2] {
        let all = bits(op(tensor(values.clone(), [200])));
        for start in [0, 1, 5, 16, 100] {
            for len in 1..40 {
                let part = bits(op(tensor(values[start..start + len].to_vec(), [len])));
                assert_eq!(part, all[start..start + len], "{len} from {start}");
            }
        }
    }
}

#[test]
fn a_row_alone_has_the_bits_that_it_has_in_company() {
    for width in [6, 16, 34, 130] {
        let rows = 1000;
        let x = tensor(numbers(rows * width, 1), [1, rows, width]);
        let (gain, bias) = (tensor(numbers(width, 2), [width]), tensor(numbers(width, 3), [width]));
        type Op<'a> = &'a (dyn Fn(Tensor<3>) -> Tensor<3> + Sync);
        let ops: [(&str, Op<'_>); 3] = [
            ("layer_norm", &|x| layer_norm(x, Some(gain.clone()), Some(bias.clone()), 1e-5)),
            ("rms_norm", &|x| rms_norm(x, Some(gain.clone()), 1e-5)),
            ("swiglu", &swiglu),
        ];
        for (name, op) in ops {
            let together = on_threads(|| bits(op(x.clone())));
            let size = together[0].len() / rows;
            assert!(together.iter().all(|bits| *bits == together[0]), "{name} of {width}: threads");
            for row in [0, 1, 499, 999] {
                let alone = bits(op(x.clone().narrow(1, row, 1)));
                assert_eq!(alone, together[0][row * size..(row + 1) * size], "{name} of {width}, row {row}");
            }
        }
    }
}

#[test]
fn a_query_has_the_same_bits_alone_in_a_chunk_and_in_the_whole_pass() {
    for (heads, kv_heads, d_head) in [(4, 2, 18), (2, 2, 32), (3, 1, 5)] {
        for window in [None, Some(1), Some(7), Some(20), Some(40)] {
            let len = 90;
            let q = tensor(numbers(2 * heads * len * d_head, 1), [2, len, heads, d_head]).swap_dims(1, 2);
            // As a cache holds them: the positions of keys, and the elements of values, side by side.
            let k = tensor(numbers(2 * kv_heads * len * d_head, 2), [2, kv_heads, d_head, len]).swap_dims(2, 3);
            let v = tensor(numbers(2 * kv_heads * len * d_head, 3), [2, kv_heads, len, d_head]);
            let attend = |first: usize, count: usize| {
                // Keys that the queries cannot see are left away on both sides, as a cache would.
                let oldest = window.map_or(0, |window: usize| (first + 1).saturating_sub(window));
                let keys = |x: &Tensor<4>| x.clone().narrow(2, oldest, first + count - oldest);
                causal_attention(q.clone().narrow(2, first, count), keys(&k), keys(&v), window, None)
            };
            let whole = on_threads(|| bits(attend(0, len)));
            assert!(whole.iter().all(|bits| *bits == whole[0]), "threads");
            let whole = causal_attention(q.clone(), k.clone(), v.clone(), window, None);
            for (first, count) in [(0, 1), (0, 33), (3, 1), (31, 2), (40, 1), (41, 49), (60, 7), (89, 1)] {
                let part = bits(attend(first, count));
                let expected = bits(whole.clone().narrow(2, first, count));
                assert!(part == expected, "{count} from {first}, {heads}/{kv_heads} × {d_head}, window {window:?}");
            }
        }
    }
}

#[test]
fn a_step_of_muon_has_the_same_bits_on_any_number_of_threads() {
    // Products that are worth sharing out, by rows and by columns.
    for (rows, widths) in [(130, [170, 90]), (300, [40, 70])] {
        let columns: usize = widths.iter().sum();
        let flat = |salt| tensor(numbers(rows * columns, salt), [rows * columns]);
        let step = MuonStep { rate: 0.1, decay: 0.01, momentum: 0.9 };
        let found = on_threads(|| {
            let (weight, mean) = muon(&step, flat(1).reshape([rows, columns]), flat(2), flat(3), &widths);
            [bits(weight), bits(mean)]
        });
        assert!(found.iter().all(|bits| *bits == found[0]), "{rows} × {widths:?}");
    }
}
