//! The CPU's own operations against their portable definitions: outputs and the gradient of every input, at sizes that
//! all differ and are no multiple of a vector length.

#![allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit")]

use burn::tensor::{Device, Int, Tensor, TensorData};
use tril_kernels::portable;

const TOLERANCE: f32 = 2e-5;

/// Numbers in about −scale to scale that repeat nowhere, as a leaf that gradients flow to.
fn leaf<const D: usize>(shape: [usize; D], salt: usize, scale: f32) -> Tensor<D> {
    let len: usize = shape.iter().product();
    let values: Vec<f32> = (0..len).map(|i| scale * (1.7 * i as f32 + 0.9 * salt as f32 + 0.3).sin()).collect();
    Tensor::from_data(TensorData::new(values, shape), &Device::flex().autodiff()).require_grad()
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().expect("f32")
}

fn assert_close(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let size = expected.iter().fold(0f32, |max, x| max.max(x.abs()));
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= TOLERANCE * (1.0 + size), "{what} [{i}]: {found}, not {expected}");
    }
}

/// The gradient of a weighted sum of an output.
fn backward<const D: usize>(output: Tensor<D>) -> burn::tensor::Gradients {
    let weights = leaf(output.dims(), 77, 1.0).detach();
    (output * weights).sum().backward()
}

/// Compares two ways to compute the same from the same leaves.
macro_rules! compare {
    ($what:expr, [$($leaf:ident),*], $by_hand:expr, $portable:expr) => {{
        let (by_hand, portable) = ($by_hand, $portable);
        let what = $what;
        assert_close(&values(by_hand.clone()), &values(portable.clone()), &format!("{what}"));
        let (mine, theirs) = (backward(by_hand), backward(portable));
        $(
            let [found, expected] = [&mine, &theirs].map(|all| values($leaf.grad(all).expect("a gradient")));
            assert_close(&found, &expected, &format!("{what}, gradient of {}", stringify!($leaf)));
        )*
    }};
}

#[test]
fn linear_agrees_with_its_definition_bias_or_not_transposed_or_not() {
    for (batch, seq_len, d_input, d_output) in [(1, 1, 7, 5), (2, 3, 35, 150), (1, 19, 33, 65), (3, 37, 50, 49)] {
        let x = leaf([batch, seq_len, d_input], 1, 1.0);
        let weight = leaf([d_input, d_output], 2, 0.5);
        let bias = leaf([d_output], 3, 0.5);
        compare!(
            format!("linear {d_input} to {d_output}"),
            [x, weight, bias],
            tril_kernels::linear(x.clone(), weight.clone(), Some(bias.clone())),
            portable::linear(x.clone(), weight.clone(), Some(bias.clone()))
        );
        let tied = leaf([d_output, d_input], 4, 0.5);
        compare!(
            format!("tied linear {d_input} to {d_output}"),
            [x, tied],
            tril_kernels::linear(x.clone(), tied.clone().transpose(), None),
            portable::linear(x.clone(), tied.clone().transpose(), None)
        );
        compare!(
            "a row-major copy",
            [tied],
            tril_kernels::row_major(tied.clone().transpose()),
            tied.clone().transpose()
        );
    }
}

#[test]
fn norms_agree_with_their_definitions() {
    for width in [1, 5, 16, 35, 129] {
        let x = leaf([2, 3, width], 1, 2.0);
        let (gain, bias) = (leaf([width], 2, 1.0), leaf([width], 3, 1.0));
        let eps = 1e-3;
        compare!(
            format!("layer norm of {width}"),
            [x, gain, bias],
            tril_kernels::layer_norm(x.clone(), Some(gain.clone()), Some(bias.clone()), eps),
            portable::layer_norm(x.clone(), Some(gain.clone()), Some(bias.clone()), eps)
        );
        compare!(
            format!("layer norm of {width} with a bias alone"),
            [x, bias],
            tril_kernels::layer_norm(x.clone(), None, Some(bias.clone()), eps),
            portable::layer_norm(x.clone(), None, Some(bias.clone()), eps)
        );
        compare!(
            format!("bare layer norm of {width}"),
            [x],
            tril_kernels::layer_norm(x.clone(), None, None, eps),
            portable::layer_norm(x.clone(), None, None, eps)
        );
        compare!(
            format!("RMS norm of {width}"),
            [x, gain],
            tril_kernels::rms_norm(x.clone(), Some(gain.clone()), eps),
            portable::rms_norm(x.clone(), Some(gain.clone()), eps)
        );
        // Heads, as views that do not lie row after row.
        let heads = leaf([2, 4, 3, width], 5, 2.0);
        let turned = || heads.clone().swap_dims(1, 2);
        compare!(
            format!("RMS norm of heads of {width}"),
            [heads],
            tril_kernels::rms_norm(turned(), None, eps),
            portable::rms_norm(turned(), None, eps)
        );
    }
}

#[test]
fn activations_agree_with_their_definitions_from_the_smallest_to_the_largest_input() {
    for scale in [1e-3, 1.0, 6.0, 40.0, 1e4] {
        let x = leaf([3, 5, 18], 1, scale);
        compare!("gelu", [x], tril_kernels::gelu(x.clone()), portable::gelu(x.clone()));
        compare!("gelu_tanh", [x], tril_kernels::gelu_tanh(x.clone()), portable::gelu_tanh(x.clone()));
        compare!("relu2", [x], tril_kernels::relu2(x.clone()), portable::relu2(x.clone()));
        compare!("swiglu", [x], tril_kernels::swiglu(x.clone()), portable::swiglu(x.clone()));
    }
}

#[test]
fn attention_agrees_with_its_definition_for_every_split_of_heads_window_and_dropout() {
    let lengths = [(1, 1), (5, 5), (37, 37), (70, 70), (1, 41), (9, 50)];
    for (q_len, k_len) in lengths {
        for (heads, kv_heads, d_head) in [(1, 1, 3), (4, 2, 18), (3, 1, 33)] {
            for window in [None, Some(1), Some(4), Some(33), Some(100)] {
                let q = leaf([2, q_len, heads, d_head], 1, 1.5);
                let k = leaf([2, kv_heads, k_len, d_head], 2, 1.5);
                let v = leaf([2, kv_heads, k_len, d_head], 3, 1.0);
                let factors = leaf([2, heads, q_len, k_len], 4, 1.0).detach();
                for dropout in [None, Some(factors)] {
                    let turned = || q.clone().swap_dims(1, 2);
                    compare!(
                        format!("attention of {q_len} over {k_len}, {heads}/{kv_heads}, window {window:?}"),
                        [q, k, v],
                        tril_kernels::causal_attention(turned(), k.clone(), v.clone(), window, dropout.clone()),
                        portable::causal_attention(turned(), k.clone(), v.clone(), window, dropout.clone())
                    );
                }
            }
        }
    }
}

#[test]
fn heads_are_split_as_their_definition_says_and_their_gradients_meet_again() {
    for (heads, kv_heads, d_head) in [(1, 1, 3), (4, 2, 18), (3, 1, 33)] {
        let x = leaf([2, 7, heads + 2 * kv_heads, d_head], 1, 1.0);
        let counts = [heads, kv_heads, kv_heads];
        let attend = |[q, k, v]: [Tensor<4>; 3]| portable::causal_attention(q, k, v, None, None);
        compare!(
            format!("{heads}/{kv_heads} heads"),
            [x],
            attend(tril_kernels::split_heads(x.clone(), counts)),
            attend(portable::split_heads(x.clone(), counts))
        );
    }
}

#[test]
fn cross_entropy_agrees_with_its_definition() {
    for vocab_size in [1, 7, 65, 200] {
        let logits = leaf([9, vocab_size], 1, 8.0);
        let ids: Vec<i32> = (0..9).map(|i| (i * i) % vocab_size as i32).collect();
        let targets = || Tensor::<1, Int>::from_data(TensorData::new(ids.clone(), [9]), &logits.device());
        compare!(
            format!("cross-entropy over {vocab_size}"),
            [logits],
            tril_kernels::cross_entropy(logits.clone(), targets()),
            portable::cross_entropy(logits.clone(), targets())
        );
    }
}

#[test]
fn what_is_not_a_number_stays_none() {
    let broken = |bad: f32| Tensor::<3>::from_data([[[1.0, bad, -2.0]]], &Device::flex());
    let has_nan = |x: Tensor<3>| values(x).iter().any(|x| x.is_nan());
    for bad in [f32::NAN, f32::INFINITY] {
        assert!(has_nan(tril_kernels::layer_norm(broken(bad), None, None, 1e-5)));
        assert!(has_nan(tril_kernels::rms_norm(broken(bad), None, 1e-5)));
        let weight = Tensor::<2>::from_data([[1.0, 0.0], [1.0, 0.0], [1.0, 1.0]], &Device::flex());
        assert!(!values(tril_kernels::linear(broken(bad), weight, None))[0].is_finite());
        let targets = Tensor::<1, Int>::from_data([0], &Device::flex());
        let loss = values(tril_kernels::cross_entropy(broken(bad).flatten(0, 1), targets))[0];
        assert!(!loss.is_finite(), "{bad}: a loss of {loss}");
    }
    for op in [tril_kernels::gelu::<3>, tril_kernels::gelu_tanh, tril_kernels::relu2] {
        assert!(has_nan(op(broken(f32::NAN))));
    }
    let head = broken(f32::NAN).unsqueeze_dim::<4>(1);
    assert!(has_nan(tril_kernels::causal_attention(head.clone(), head.clone(), head, None, None).squeeze_dim(1)));
}

#[test]
fn a_step_of_adamw_agrees_with_its_definition_and_leaves_what_others_hold() {
    let plain = |salt, scale| leaf([3, 41], salt, scale).inner();
    let (weight, gradient) = (plain(1, 1.0), plain(2, 0.1).reshape([123]));
    let moments = [plain(3, 0.1).reshape([123]), plain(4, 0.1).reshape([123]).powi_scalar(2)];
    let step = tril_kernels::AdamWStep {
        rate: 1e-2,
        decay: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        first_correction: 0.5,
        second_correction: 0.25,
    };
    let before = values(weight.clone());
    let (mine, my_moments) = tril_kernels::adamw(&step, weight.clone(), moments.clone(), gradient.clone());
    let (theirs, their_moments) = portable::adamw(&step, weight.clone(), moments, gradient);
    assert_close(&values(mine.clone()), &values(theirs), "weight");
    for (mine, theirs) in my_moments.into_iter().zip(their_moments) {
        assert_close(&values(mine), &values(theirs), "moment");
    }
    assert_eq!(values(weight), before, "the weight from before is as it was");
    assert_ne!(values(mine), before);
}

#[test]
fn a_step_of_muon_agrees_with_its_definition_and_leaves_what_others_hold() {
    let step = tril_kernels::MuonStep { rate: 0.1, decay: 1e-2, momentum: 0.9 };
    let cases: [(usize, &[usize]); 7] =
        [(1, &[1]), (3, &[41]), (41, &[3]), (37, &[37]), (50, &[100]), (150, &[49]), (20, &[20, 33, 5])];
    for (rows, widths) in cases {
        let columns: usize = widths.iter().sum();
        // Numbers that no sine repeats in: a product of few sines has few singular values.
        let plain = |salt: u64| {
            let number = |i: u64| (i * i * 31 + i * salt * 17 + salt).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
            let len = (rows * columns) as u64;
            let values: Vec<f32> = (1..=len).map(|i| number(i) as f32 / (1 << 23) as f32 - 1.0).collect();
            Tensor::<2>::from_data(TensorData::new(values, [rows, columns]), &Device::flex())
        };
        let (weight, mean, gradient) = (plain(1), plain(2), plain(3));
        let [mean, gradient] = [mean, gradient].map(|x| x.reshape([rows * columns]));
        let before = [values(weight.clone()), values(mean.clone())];
        let (mine, my_mean) = tril_kernels::muon(&step, weight.clone(), mean.clone(), gradient.clone(), widths);
        let (theirs, their_mean) = portable::muon(&step, weight.clone(), mean.clone(), gradient, widths);
        let what = format!("{rows} × {widths:?}");
        assert_close(&values(mine.clone()), &values(theirs), &what);
        assert_close(&values(my_mean), &values(their_mean), &what);
        assert_eq!([values(weight), values(mean)], before, "what was before is as it was");
        assert_ne!(values(mine), before[0]);
    }
}

#[test]
fn muon_leaves_a_matrix_without_gradients_to_its_decay() {
    let step = tril_kernels::MuonStep { rate: 0.1, decay: 0.25, momentum: 0.9 };
    let weight = leaf([5, 7], 1, 1.0).inner();
    let zeros = || Tensor::<1>::zeros([35], &Device::flex());
    let expected: Vec<f32> = values(weight.clone()).iter().map(|value| value * 0.75).collect();
    let (found, mean) = tril_kernels::muon(&step, weight, zeros(), zeros(), &[7]);
    assert_eq!((values(found), values(mean)), (expected, vec![0.0; 35]));
}
