//! Each operation of the model on the device and on the CPU, forward and backward, and models made of them.

use burn::module::Module;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use tril_kernels::*;
use tril_model::{ForwardContext, parameters};

use super::{TOLERANCE, device};
use crate::support::*;

/// Numbers in about −1.6 to 1.6 that repeat nowhere, as a leaf whose gradient is asked for.
fn leaf<const D: usize>(salt: usize, shape: [usize; D], device: &Device) -> Tensor<D> {
    let value = |i: usize| (1.6 * (1.7 * i as f64 + 0.9 * salt as f64 + 0.3).sin()) as f32;
    let values = (0..shape.iter().product()).map(value).collect();
    let tensor = Tensor::from_data(TensorData::new(values, shape), device);
    if device.is_autodiff() { tensor.require_grad() } else { tensor }
}

/// Output and gradients of an operation, each as a list.
type Results = Vec<Vec<f32>>;

/// The output of an operation, and the gradient of a weighted sum of it at each leaf of one shape.
fn with_gradients<const D: usize, const N: usize, const O: usize>(
    leaves: [Tensor<D>; N],
    operation: impl Fn([Tensor<D>; N]) -> Tensor<O>,
) -> Results {
    let output = operation(leaves.clone());
    let weights = leaf(99, output.dims(), &output.device());
    let gradients = (output.clone() * weights).sum().backward();
    let mut results = vec![values(output)];
    results.extend(leaves.iter().map(|leaf| values(leaf.grad(&gradients).expect("a gradient"))));
    results
}

/// Every operation, at sizes that are no multiple of a tile or a vector.
fn operations() -> Vec<(&'static str, fn(&Device) -> Results)> {
    fn bias(device: &Device) -> Tensor<1> {
        leaf(7, [13], device)
    }
    fn attention(
        device: &Device,
        [heads, kv_heads, queries, keys]: [usize; 4],
        window: Option<usize>,
        dropout: bool,
    ) -> Results {
        let [q, k, v] = [(1, heads, queries), (2, kv_heads, keys), (3, kv_heads, keys)]
            .map(|(salt, heads, len)| leaf(salt, [2, heads, len, 6], device));
        let factors = dropout.then(|| leaf(4, [2, heads, queries, keys], device).detach());
        with_gradients([q, k, v], |[q, k, v]| causal_attention(q, k, v, window, factors.clone()))
    }
    vec![
        ("a product of rows", |d| {
            with_gradients([leaf(1, [2, 5, 11], d)], |[x]| linear(x, leaf(2, [11, 13], d), Some(bias(d))))
        }),
        ("a product by its weight", |d| {
            with_gradients([leaf(1, [11, 13], d)], |[w]| linear(leaf(2, [2, 5, 11], d), w, None))
        }),
        ("a product by its bias", |d| {
            with_gradients([bias(d)], |[b]| linear(leaf(1, [2, 5, 11], d), leaf(2, [11, 13], d), Some(b)))
        }),
        ("a large product", |d| {
            with_gradients([leaf(1, [1, 130, 257], d)], |[x]| linear(x, leaf(2, [257, 70], d), None))
        }),
        ("a product of one row", |d| {
            with_gradients([leaf(1, [1, 1, 128], d)], |[x]| linear(x, leaf(2, [128, 384], d), None))
        }),
        ("layer norm", |d| {
            with_gradients([leaf(1, [2, 5, 13], d)], |[x]| layer_norm(x, Some(leaf(2, [13], d)), Some(bias(d)), 1e-5))
        }),
        ("layer norm without gain", |d| {
            with_gradients([leaf(1, [2, 5, 13], d)], |[x]| layer_norm(x, None, None, 1e-5))
        }),
        ("layer norm by its gain", |d| {
            with_gradients([bias(d)], |[gain]| layer_norm(leaf(1, [2, 5, 13], d), Some(gain), None, 1e-5))
        }),
        ("rms norm", |d| with_gradients([leaf(1, [2, 5, 13], d)], |[x]| rms_norm(x, Some(leaf(2, [13], d)), 1e-5))),
        ("rms norm by its gain", |d| {
            with_gradients([bias(d)], |[gain]| rms_norm(leaf(1, [2, 5, 13], d), Some(gain), 1e-5))
        }),
        ("gelu", |d| with_gradients([leaf(1, [3, 7, 11], d)], |[x]| gelu(x))),
        ("gelu, tanh", |d| with_gradients([leaf(1, [3, 7, 11], d)], |[x]| gelu_tanh(x))),
        ("squared relu", |d| with_gradients([leaf(1, [3, 7, 11], d)], |[x]| relu2(x))),
        ("swiglu", |d| with_gradients([leaf(1, [3, 7, 22], d)], |[x]| swiglu(x))),
        ("attention", |d| attention(d, [4, 4, 9, 9], None, false)),
        ("attention of grouped heads", |d| attention(d, [4, 2, 9, 9], None, false)),
        ("attention in a window", |d| attention(d, [4, 1, 33, 33], Some(5), false)),
        ("attention of one query", |d| attention(d, [4, 2, 1, 37], None, false)),
        ("attention of some queries in a window", |d| attention(d, [4, 2, 3, 12], Some(4), false)),
        ("attention with dropout", |d| attention(d, [4, 2, 9, 9], None, true)),
        ("cross-entropy", |d| {
            let targets = Tensor::<1, Int>::from_data(TensorData::new(vec![3, 0, 18, 7, 7], [5]), d);
            with_gradients([leaf(1, [5, 19], d)], |[x]| cross_entropy(x * 9.0, targets.clone()))
        }),
        ("rotary positions", |d| {
            let table = RotaryTable::new(1000, 9, 6, 10000.0, d);
            with_gradients([leaf(1, [2, 4, 9, 6], d)], |[x]| table.rotate(x))
        }),
        ("a step of AdamW", |d| {
            let d = &d.clone().inner();
            let step = AdamWStep {
                rate: 1e-2,
                decay: 1e-3,
                beta1: 0.9,
                beta2: 0.99,
                eps: 1e-8,
                first_correction: 0.19,
                second_correction: 0.0199,
            };
            let flat = |salt| leaf::<1>(salt, [77], d).detach();
            let (weight, [mean, square]) =
                adamw(&step, leaf(1, [7, 11], d).detach(), [flat(2), flat(3).square()], flat(4));
            vec![values(weight), values(mean), values(square)]
        }),
        ("a step of Muon", |d| {
            let d = &d.clone().inner();
            let step = MuonStep { rate: 1e-2, decay: 1e-3, momentum: 0.95 };
            let flat = |salt| leaf::<1>(salt, [12 * 20], d).detach();
            let (weight, mean) = muon(&step, leaf(1, [12, 20], d).detach(), flat(2), flat(3), &[8, 12]);
            vec![values(weight), values(mean)]
        }),
    ]
}

#[test]
fn every_operation_and_its_gradients_are_the_cpus() {
    let Some(device) = device("operations on wgpu") else { return };
    let (gpu, cpu) = (device.inner().clone().autodiff(), Device::flex().autodiff());
    let mut compared = 0;
    for (name, operation) in operations() {
        let (found, expected) = (operation(&gpu), operation(&cpu));
        assert_eq!(found.len(), expected.len());
        for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let difference = relative_difference(found, expected);
            assert!(difference < TOLERANCE, "{name}, result {index}: {difference:.1e}");
            compared += 1;
        }
    }
    assert!(compared > 50, "only {compared}");
}

/// Logits, and the gradient of the mean loss at each parameter.
fn of_model(config: &tril_model::GptConfig, device: &Device) -> Results {
    let device = &device.clone().autodiff();
    let gpt = model(config.clone(), &device.clone().inner()).train();
    let ids = some_ids(3, config.max_seq_len + 1, config.vocab_size);
    let all = input(&ids, 3, device);
    let [inputs, targets] = [0, 1].map(|start| all.clone().narrow(1, start, config.max_seq_len));
    let logits = values(gpt.forward(inputs.clone()).inner());
    let losses = gpt.losses(inputs, targets, ForwardContext::default()).losses;
    let mut gradients = losses.mean().backward();
    let gradients = parameters::take_gradients(&gpt, &mut gradients);
    [logits].into_iter().chain(gradients.into_values().map(values)).collect()
}

/// Repeated, as wrong results of GPUs have been known to come and go.
#[test]
fn logits_and_gradients_of_every_kind_of_model_are_the_cpus_again_and_again() {
    let Some(device) = device("models on wgpu") else { return };
    for (name, config) in all_configs() {
        let expected = of_model(&config, &Device::flex());
        for round in 0..3 {
            let found = of_model(&config, device.inner());
            assert_eq!(found.len(), expected.len());
            for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
                // Some gradients are zero but for rounding, such as a key's bias: nothing to be a share of.
                let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
                let difference = f64::from(max_difference(found, expected)) / f64::from(largest).max(1e-3);
                assert!(difference < TOLERANCE, "{name}, round {round}, result {index}: {difference:.1e}");
            }
        }
    }
}

/// docs/devices.md says so, and why there is no setting for it.
#[test]
fn there_is_no_bf16_in_wgsl() {
    let Some(device) = device("bf16 on wgpu") else { return };
    let [f32, bf16] = [DType::F32, DType::BF16].map(|dtype| device.inner().supports_dtype(dtype));
    assert_eq!(
        [f32, bf16],
        [true, false],
        "if there is bf16 by now, docs/devices.md is wrong, and a setting can be made"
    );
}
