//! Each operation against its formula written out in f64, and its gradient against finite differences of that formula.
//! Sizes all differ and none is a multiple of a vector length.

#![allow(clippy::disallowed_methods, reason = "what a test expects hangs on no last bit")]

use burn::tensor::{Device, Int, Tensor, TensorData};
use tril_kernels::*;

/// Numbers in about −1.6 to 1.6 that repeat nowhere.
fn numbers(n: usize, salt: usize) -> Vec<f64> {
    (0..n).map(|i| 1.6 * (1.7 * i as f64 + 0.9 * salt as f64 + 0.3).sin()).collect()
}

fn tensor<const D: usize>(values: &[f64], shape: [usize; D], device: &Device) -> Tensor<D> {
    let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn read<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.try_into_vec_as::<f32>().expect("f32").into_iter().map(f64::from).collect()
}

fn assert_close(found: &[f64], expected: &[f64], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() < 2e-5 * (1.0 + expected.abs()), "{what} [{i}]: {found}, not {expected}");
    }
}

/// Checks `op` against `formula`, and the gradient of a weighted sum of its output against finite differences.
fn check<const D: usize>(
    what: &str,
    shape: [usize; D],
    op: impl Fn(Tensor<D>) -> Tensor<D>,
    formula: impl Fn(&[f64]) -> Vec<f64>,
) {
    let device = Device::flex().autodiff();
    let x = numbers(shape.iter().product(), 1);
    let input = tensor(&x, shape, &device).require_grad();
    let output = op(input.clone());
    let out_shape = output.dims();
    let expected = formula(&x);
    assert_close(&read(output.clone()), &expected, what);

    let weights = numbers(expected.len(), 2);
    let gradients = (output * tensor(&weights, out_shape, &device)).sum().backward();
    let found = read(input.grad(&gradients).expect("a gradient"));
    let objective = |x: &[f64]| formula(x).iter().zip(&weights).map(|(y, w)| y * w).sum::<f64>();
    let step = 1e-5;
    let differences: Vec<f64> = (0..x.len())
        .map(|i| {
            let moved = |by: f64| {
                let mut x = x.clone();
                x[i] += by;
                objective(&x)
            };
            (moved(step) - moved(-step)) / (2.0 * step)
        })
        .collect();
    assert_close(&found, &differences, &format!("gradient of {what}"));
}

/// erf by its Taylor series, which converges fast for the small arguments here.
fn erf(x: f64) -> f64 {
    let mut term = x;
    let mut sum = x;
    for n in 1..60 {
        term *= -x * x / n as f64;
        sum += term / (2 * n + 1) as f64;
    }
    2.0 / std::f64::consts::PI.sqrt() * sum
}

fn map(f: impl Fn(f64) -> f64) -> impl Fn(&[f64]) -> Vec<f64> {
    move |x| x.iter().map(|x| f(*x)).collect()
}

#[test]
fn activations_are_their_formulas() {
    check("gelu", [3, 7], gelu, map(|x| x * 0.5 * (1.0 + erf(x / 2f64.sqrt()))));
    let tanh = |x: f64| 0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh());
    check("gelu_tanh", [3, 7], gelu_tanh, map(tanh));
    check("relu2", [3, 7], relu2, map(|x| x.max(0.0).powi(2)));
}

#[test]
fn swiglu_gates_the_second_half_by_the_silu_of_the_first() {
    let formula = |x: &[f64]| {
        let row = |row: &[f64]| (0..5).map(|i| row[i] / (1.0 + (-row[i]).exp()) * row[5 + i]).collect::<Vec<_>>();
        x.chunks(10).flat_map(row).collect()
    };
    check("swiglu", [2, 3, 10], swiglu, formula);
}

#[test]
fn norms_are_their_formulas_with_gain_and_bias_and_without() {
    let device = Device::flex();
    let (gain, bias, eps) = (numbers(7, 3), numbers(7, 4), 1e-3);
    let layer = |x: &[f64], gain: &[f64], bias: &[f64]| -> Vec<f64> {
        let row = |row: &[f64]| {
            let mean = row.iter().sum::<f64>() / 7.0;
            let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 7.0;
            (0..7).map(|i| (row[i] - mean) / (variance + eps).sqrt() * gain[i] + bias[i]).collect::<Vec<_>>()
        };
        x.chunks(7).flat_map(row).collect()
    };
    let on = |values: &[f64]| tensor(values, [7], &device.clone().autodiff());
    check(
        "layer_norm",
        [2, 3, 7],
        |x| layer_norm(x, Some(on(&gain)), Some(on(&bias)), eps),
        |x| layer(x, &gain, &bias),
    );
    check("bare layer_norm", [2, 3, 7], |x| layer_norm(x, None, None, eps), |x| layer(x, &[1.0; 7], &[0.0; 7]));
    let rms = |x: &[f64], gain: &[f64]| -> Vec<f64> {
        let row = |row: &[f64]| {
            let mean_square = row.iter().map(|x| x * x).sum::<f64>() / 7.0;
            (0..7).map(|i| row[i] / (mean_square + eps).sqrt() * gain[i]).collect::<Vec<_>>()
        };
        x.chunks(7).flat_map(row).collect()
    };
    check("rms_norm", [2, 3, 7], |x| rms_norm(x, Some(on(&gain)), eps), |x| rms(x, &gain));
    check("bare rms_norm", [3, 7], |x| rms_norm(x, None, eps), |x| rms(x, &[1.0; 7]));
}

#[test]
fn rotary_turns_half_split_pairs_by_angles_of_the_absolute_position() {
    let (start, seq_len, d_head, theta) = (5, 3, 6, 100.0f64);
    let formula = |x: &[f64]| {
        let mut y = x.to_vec();
        for (row, chunk) in x.chunks(d_head).enumerate() {
            let position = (start + row % seq_len) as f64;
            for i in 0..d_head / 2 {
                let angle = position * theta.powf(-2.0 * i as f64 / d_head as f64);
                let (a, b) = (chunk[i], chunk[i + d_head / 2]);
                y[row * d_head + i] = a * angle.cos() - b * angle.sin();
                y[row * d_head + i + d_head / 2] = b * angle.cos() + a * angle.sin();
            }
        }
        y
    };
    let table = RotaryTable::new(start, seq_len, d_head, theta, &Device::flex().autodiff());
    check("rotary", [2, 4, seq_len, d_head], |x| table.rotate(x), formula);
}

#[test]
fn rotary_scores_depend_on_distance_alone_even_beyond_a_million_positions() {
    let device = Device::flex();
    let (q, k) = (tensor(&numbers(8, 1), [1, 1, 1, 8], &device), tensor(&numbers(8, 2), [1, 1, 1, 8], &device));
    let score = |position: usize| {
        let turned = |x: &Tensor<4>, at| RotaryTable::new(at, 1, 8, 10_000.0, &device).rotate(x.clone());
        read((turned(&q, position + 3) * turned(&k, position)).sum())[0]
    };
    for position in [1, 1_000, 1_000_003, 40_000_000] {
        assert!((score(position) - score(0)).abs() < 1e-5, "at {position}: {} not {}", score(position), score(0));
    }
}

/// What a position turns pair i of a head of 16 numbers by, in turns times 2^128: 10000^(−i/8) / 2π, by decimal arithmetic
/// with 80 digits (π by Machin's formula).
const TURNS: [u128; 8] = [
    0x28be60db9391054a7f09d5f47d4d3770,
    0x0ce2601005b0277c0a6602e2ce6f157e,
    0x041309af8ec1b3baa64dc89872ee1f25,
    0x0149d66800919d8c677099e37b0b1bc0,
    0x00684dc4c179c52c43d4940f3eb16984,
    0x0020fbd73341c2f470be75c9f2b44f93,
    0x000a6e2d468c2d5139fba867ecab575a,
    0x00034c6251ecf9e53e79722dcb786e5c,
];

#[test]
fn rotary_angles_beyond_a_million_positions_are_those_of_exact_arithmetic() {
    let device = Device::flex();
    // Pairs of (1, 0) turn into the cosines and sines themselves.
    let mut unit = [0.0; 16];
    unit[..8].fill(1.0);
    let unit = tensor(&unit, [1, 1, 1, 16], &device);
    let mut worst_in_f32 = 0_f64;
    let bases = [0, 1_000_000, (1 << 24) - 32, 100_000_000, 10_000_000_000];
    for position in bases.into_iter().flat_map(|base: usize| base..base + 64) {
        let found = read(RotaryTable::new(position, 1, 16, 10_000.0, &device).rotate(unit.clone()));
        for (pair, turns) in TURNS.into_iter().enumerate() {
            // Whole turns fall off the top of 128 bits, so what is left is exact to 2^-128 of a turn a position.
            let rest = turns.wrapping_mul(position as u128).cast_signed() as f64 * 2_f64.powi(-128);
            let (sin, cos) = (rest * std::f64::consts::TAU).sin_cos();
            let angle = position as f64 * 10_000_f64.powf(-(pair as f64) / 8.0);
            // Half a unit in the last place of f32, and four units in the last place of the f64 angle.
            let bound = 2_f64.powi(-25) + angle * 2_f64.powi(-51) + 1e-15;
            let off = (found[pair] - cos).abs().max((found[pair + 8] - sin).abs());
            assert!(off <= bound, "position {position}, pair {pair}: off by {off:e}, more than {bound:e}");
            let in_f32 = f64::from((position as f32 * 10_000_f32.powf(-(pair as f32) / 8.0)).cos());
            if position < 1_000_064 {
                worst_in_f32 = worst_in_f32.max((in_f32 - cos).abs());
            }
        }
    }
    assert!(worst_in_f32 > 1e-3, "angles in f32 would be off by {worst_in_f32:e}, so this shows nothing");
}

#[test]
fn attention_is_its_formula_for_grouped_heads_windows_and_fewer_queries_than_keys() {
    let (batch, heads, kv_heads, d_head) = (2, 4, 2, 3);
    for (q_len, k_len, window) in [(5, 5, None), (5, 5, Some(2)), (1, 7, None), (3, 7, Some(4)), (2, 6, Some(1))] {
        let kv_size = batch * kv_heads * k_len * d_head;
        let (k, v) = (numbers(kv_size, 5), numbers(kv_size, 6));
        let formula = |q: &[f64]| {
            let mut output = Vec::new();
            for (row, query) in q.chunks(d_head).enumerate() {
                let (position, head, b) = (row % q_len, row / q_len % heads, row / q_len / heads);
                let own = k_len - q_len + position;
                let first = window.map_or(0, |window: usize| (own + 1).saturating_sub(window));
                let at = |x: &[f64], key: usize, i: usize| {
                    x[((b * kv_heads + head / (heads / kv_heads)) * k_len + key) * d_head + i]
                };
                let score = |key| (0..d_head).map(|i| query[i] * at(&k, key, i)).sum::<f64>() / (d_head as f64).sqrt();
                let weights: Vec<f64> = (first..=own).map(|key| f64::exp(score(key))).collect();
                let total: f64 = weights.iter().sum();
                output.extend(
                    (0..d_head)
                        .map(|i| (first..=own).map(|key| weights[key - first] / total * at(&v, key, i)).sum::<f64>()),
                );
            }
            output
        };
        let device = Device::flex().autodiff();
        let kv_shape = [batch, kv_heads, k_len, d_head];
        let (k, v) = (tensor(&k, kv_shape, &device), tensor(&v, kv_shape, &device));
        let op = |q| causal_attention(q, k.clone(), v.clone(), window, None);
        check(&format!("attention {q_len}, {k_len}, {window:?}"), [batch, heads, q_len, d_head], op, formula);
    }
}

#[test]
fn masked_positions_have_exactly_zero_probability_however_large_the_scores() {
    let device = Device::flex();
    let huge = |salt| tensor(&numbers(2 * 3 * 5 * 4, salt), [2, 3, 5, 4], &device) * 1e6;
    let probs = read(attention_probs(huge(1), huge(2), Some(2)));
    for (row, probs) in probs.chunks(5).enumerate() {
        let own = row % 5;
        for (key, p) in probs.iter().enumerate() {
            assert!(p.is_finite(), "row {own}, key {key}: {p}");
            assert!(key <= own && key + 2 > own || *p == 0.0, "row {own} sees key {key}: {p}");
        }
    }
}

#[test]
fn cross_entropy_is_the_negative_log_probability_and_survives_large_logits() {
    let targets = [4usize, 0, 6];
    let formula = |x: &[f64]| {
        let row = |(row, target): (&[f64], usize)| row.iter().map(|x| x.exp()).sum::<f64>().ln() - row[target];
        // Spread over the row, so that output and input have one shape.
        x.chunks(7).zip(targets).map(row).flat_map(|loss| [loss; 7]).collect()
    };
    let op = |logits: Tensor<2>| {
        let ids = TensorData::new(targets.map(|t| t as i32).to_vec(), [3]);
        let targets = Tensor::<1, Int>::from_data(ids, &logits.device());
        cross_entropy(logits, targets).unsqueeze_dim::<2>(1).repeat_dim(1, 7)
    };
    check("cross_entropy", [3, 7], op, formula);
    let device = Device::flex();
    let large = tensor(&[1e4, 0.0, -1e4, 3e4], [2, 2], &device);
    let losses = read(cross_entropy(large, Tensor::from_data(TensorData::new(vec![0i32, 0], [2]), &device)));
    assert_eq!(losses, [0.0, 4e4]);
}

/// Numbers in −1 to 1 without a pattern, by the mixing function of SplitMix64 (Steele et al. 2014).
fn scattered(index: usize) -> f64 {
    let mut z = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / 2f64.powi(63) - 1.0
}

/// A matrix of `count` orthonormal columns of length `len`, by Gram and Schmidt.
fn orthonormal(len: usize, count: usize, salt: usize) -> Vec<Vec<f64>> {
    let mut columns: Vec<Vec<f64>> = Vec::new();
    for index in 0..count {
        let mut column: Vec<f64> = (0..len).map(|i| scattered((i * len + index) * 8 + salt)).collect();
        for _ in 0..2 {
            for other in &columns {
                let along: f64 = column.iter().zip(other).map(|(a, b)| a * b).sum();
                column.iter_mut().zip(other).for_each(|(a, b)| *a -= along * b);
            }
        }
        let norm = column.iter().map(|x| x * x).sum::<f64>().sqrt();
        assert!(norm > 1e-3, "nearly dependent columns");
        columns.push(column.into_iter().map(|x| x / norm).collect());
    }
    columns
}

/// Where four steps bring singular values of a hundredth of the largest and more.
const NEAR_ONE: std::ops::Range<f64> = 0.6..1.25;

#[test]
fn muon_moves_by_a_matrix_of_singular_values_near_one_and_the_same_singular_vectors() {
    for [rows, columns] in [[30, 30], [19, 45], [52, 17]] {
        let count = rows.min(columns);
        let (left, right) = (orthonormal(rows, count, 1), orthonormal(columns, count, 2));
        // From 1 to a hundredth, whatever the scale of the whole.
        let singular = |index: usize| 1e-3 * 100f64.powf(-(index as f64) / (count - 1) as f64);
        let gradient: Vec<f64> = (0..rows * columns)
            .map(|at| (0..count).map(|s| singular(s) * left[s][at / columns] * right[s][at % columns]).sum())
            .collect();
        for by_hand in [true, false] {
            let device = Device::flex();
            let step = MuonStep { rate: 1.0, decay: 0.0, momentum: 0.5 };
            let weight = Tensor::zeros([rows, columns], &device);
            let mean = Tensor::zeros([rows * columns], &device);
            let gradient = tensor(&gradient, [rows * columns], &device);
            let muon = if by_hand { muon } else { portable::muon };
            let (moved, _) = muon(&step, weight, mean, gradient, &[columns]);
            let scale = -step.scale([rows, columns]);
            let moved: Vec<f64> = read(moved).into_iter().map(|x| x / scale).collect();
            // Uᵀ·O·V is diagonal, and holds the singular values.
            for (i, left) in left.iter().enumerate() {
                for (j, right) in right.iter().enumerate() {
                    let along: f64 =
                        (0..rows * columns).map(|at| left[at / columns] * moved[at] * right[at % columns]).sum();
                    let what = format!("{rows} × {columns}, [{i}, {j}]: {along}");
                    assert!(if i == j { NEAR_ONE.contains(&along) } else { along.abs() < 1e-3 }, "{what}");
                }
            }
        }
    }
}
