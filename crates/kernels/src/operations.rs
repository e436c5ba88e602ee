//! What the model calls: each operation once, with its shapes and its source.

use std::sync::Arc;

use burn::tensor::{Int, Tensor};

use crate::cpu::{
    self, CausalAttention, CrossEntropy, Elementwise, Gelu, GeluTanh, HeadsPart, Linear, Relu2, RowMajor, RowNorm,
    RowNormKind, Swiglu, apply, input,
};
use crate::optimizer_steps::{AdamWStep, MuonStep};
use crate::portable;
use crate::profile::timed;

/// x·weight + bias.
///
/// - x: `[batch_size, seq_len, d_input]`; weight: `[d_input, d_output]`; bias: `[d_output]`
/// - returns: `[batch_size, seq_len, d_output]`
pub fn linear(x: Tensor<3>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<3> {
    let [_, _, d_input] = x.dims();
    let [weight_rows, _] = weight.dims();
    assert_eq!(d_input, weight_rows, "activations of width {d_input} meet a weight of {weight_rows} rows");
    if !cpu::supports(&x) {
        return portable::linear(x, weight, bias);
    }
    match bias {
        Some(bias) => apply(Linear, [input(x), input(weight), input(bias)]),
        None => apply(Linear, [input(x), input(weight)]),
    }
}

/// The same weight, laid out so that [`linear`] reads it at full speed for a single row: a transposed view is copied.
///
/// - weight: `[d_input, d_output]`
pub fn row_major(weight: Tensor<2>) -> Tensor<2> {
    if cpu::supports(&weight) { apply(RowMajor, [input(weight)]) } else { weight }
}

/// Layer normalisation, (x − mean) / √(variance + eps), then gain and bias where given (Ba et al. 2016,
/// arXiv:1607.06450). The variance is the biased one, over d_model.
///
/// - x: `[batch_size, seq_len, d_model]`; gain, bias: `[d_model]`
pub fn layer_norm(x: Tensor<3>, gain: Option<Tensor<1>>, bias: Option<Tensor<1>>, eps: f64) -> Tensor<3> {
    if !cpu::supports(&x) {
        return portable::layer_norm(x, gain, bias, eps);
    }
    let [_, _, d_model] = x.dims();
    let norm = RowNorm { kind: RowNormKind::Layer, eps: eps as f32 };
    match (gain, bias) {
        (None, None) => apply(norm, [input(x)]),
        (Some(gain), None) => apply(norm, [input(x), input(gain)]),
        (gain, Some(bias)) => {
            let gain = gain.unwrap_or_else(|| Tensor::ones([d_model], &x.device()));
            apply(norm, [input(x), input(gain), input(bias)])
        }
    }
}

/// Root-mean-square normalisation, x / √(mean(x²) + eps), then gain where given (Zhang & Sennrich 2019,
/// arXiv:1910.07467).
///
/// - x: `[…, width]`; gain: `[width]`
pub fn rms_norm<const D: usize>(x: Tensor<D>, gain: Option<Tensor<1>>, eps: f64) -> Tensor<D> {
    if !cpu::supports(&x) {
        return portable::rms_norm(x, gain, eps);
    }
    let norm = RowNorm { kind: RowNormKind::Rms, eps: eps as f32 };
    match gain {
        Some(gain) => apply(norm, [input(x), input(gain)]),
        None => apply(norm, [input(x)]),
    }
}

/// GELU, x·Φ(x), with the exact normal distribution function (Hendrycks & Gimpel 2016, arXiv:1606.08415).
///
/// - x: any shape
pub fn gelu<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if cpu::supports(&x) { apply(Elementwise(Gelu), [input(x)]) } else { portable::gelu(x) }
}

/// GELU by its tanh approximation, ½x(1 + tanh(√(2/π)(x + 0.044715x³))): what GPT-2 was trained with.
///
/// - x: any shape
pub fn gelu_tanh<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if cpu::supports(&x) { apply(Elementwise(GeluTanh), [input(x)]) } else { portable::gelu_tanh(x) }
}

/// Squared ReLU, max(0, x)² (So et al. 2021, Primer, arXiv:2109.08668).
///
/// - x: any shape
pub fn relu2<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if cpu::supports(&x) { apply(Elementwise(Relu2), [input(x)]) } else { portable::relu2(x) }
}

/// SwiGLU, silu(gate)·up with silu(z) = z·σ(z) (Shazeer 2020, arXiv:2002.05202).
///
/// - gate_up: `[batch_size, seq_len, 2 · d_ff]`, the gate's half first
/// - returns: `[batch_size, seq_len, d_ff]`
pub fn swiglu(gate_up: Tensor<3>) -> Tensor<3> {
    let [_, _, doubled] = gate_up.dims();
    assert!(doubled.is_multiple_of(2), "swiglu splits its last axis in two, but it is {doubled} wide");
    if cpu::supports(&gate_up) { apply(Swiglu, [input(gate_up)]) } else { portable::swiglu(gate_up) }
}

/// Heads that lie side by side in each position's row, in three parts: those of queries, of keys and of values. What the
/// loss depends on must use all three, or none.
///
/// - x: `[batch_size, seq_len, heads, d_head]`; counts: heads of each part, all of them together
/// - returns: `[batch_size, count, seq_len, d_head]` each
pub fn split_heads(x: Tensor<4>, counts: [usize; 3]) -> [Tensor<4>; 3] {
    let [_, _, heads, _] = x.dims();
    assert_eq!(counts.iter().sum::<usize>(), heads, "parts of {counts:?} heads are not all {heads}");
    if !cpu::supports(&x) {
        return portable::split_heads(x, counts);
    }
    HeadsPart::of(counts).map(|part| apply(part, [input(x.clone())]))
}

/// Scaled dot-product attention in which a query sees itself and what came before, softmax(q·kᵀ/√d_head)·v
/// (Vaswani et al. 2017, arXiv:1706.03762).
///
/// The last query stands at the last key's position, so query i sees keys up to `k_len − q_len + i`: with as many
/// queries as keys this is the triangle, with one query it is a row. A `window` of W hides all but the last W of
/// them. Each group of `n_heads / n_kv_heads` query heads shares one key and value head.
///
/// - q: `[batch_size, n_heads, q_len, d_head]`
/// - k, v: `[batch_size, n_kv_heads, k_len, d_head]`, in order of position
/// - dropout: factors for the attention probabilities, `[batch_size, n_heads, q_len, k_len]`; no gradient flows to them
/// - returns: `[batch_size, n_heads, q_len, d_head]`
pub fn causal_attention(
    q: Tensor<4>,
    k: Tensor<4>,
    v: Tensor<4>,
    window: Option<usize>,
    dropout: Option<Tensor<4>>,
) -> Tensor<4> {
    let [batch_size, n_heads, q_len, d_head] = q.dims();
    let [k_batch, n_kv_heads, k_len, k_width] = k.dims();
    assert_eq!((batch_size, d_head), (k_batch, k_width), "queries and keys differ in batch_size or d_head");
    assert_eq!(k.dims(), v.dims(), "as many keys as values, of one width");
    assert!(n_heads.is_multiple_of(n_kv_heads), "{n_heads} query heads cannot share {n_kv_heads} key heads evenly");
    assert!(q_len <= k_len, "{q_len} queries need as many keys, found {k_len}");
    assert_ne!(window, Some(0), "a window holds the query's own position at least");
    if let Some(factors) = &dropout {
        assert_eq!(factors.dims(), [batch_size, n_heads, q_len, k_len], "one dropout factor a probability");
    }
    if !cpu::supports(&q) {
        return portable::causal_attention(q, k, v, window, dropout);
    }
    let dropout = dropout.map(cpu::constant);
    apply(CausalAttention { window, dropout }, [input(q), input(k), input(v)])
}

/// The probabilities by which [`causal_attention`] weighs values, for whoever looks on; no gradient flows through them. On
/// the CPU they are the very numbers, so a query's are the same bits with a cache and without.
///
/// - q: `[batch_size, n_heads, q_len, d_head]`; k: `[batch_size, n_kv_heads, k_len, d_head]`
/// - returns: `[batch_size, n_heads, q_len, k_len]`, with exactly zero where a query does not see
pub fn attention_probs(q: Tensor<4>, k: Tensor<4>, window: Option<usize>) -> Tensor<4> {
    let [batch_size, n_heads, q_len, d_head] = q.dims();
    let [k_batch, n_kv_heads, k_len, k_width] = k.dims();
    assert_eq!((batch_size, d_head), (k_batch, k_width), "queries and keys differ in batch_size or d_head");
    assert!(n_heads.is_multiple_of(n_kv_heads), "{n_heads} query heads cannot share {n_kv_heads} key heads evenly");
    assert!(q_len <= k_len, "{q_len} queries need as many keys, found {k_len}");
    if !cpu::supports(&q) {
        return portable::attention_probs(q, k, window);
    }
    cpu::plain(cpu::attention_probs(&cpu::constant(q), &cpu::constant(k), window))
}

/// Next-token cross-entropy, `−ln softmax(logits)[target]`, one value a row, in nats.
///
/// - logits: `[n_tokens, vocab_size]`; targets: `[n_tokens]`
/// - returns: `[n_tokens]`
pub fn cross_entropy(logits: Tensor<2>, targets: Tensor<1, Int>) -> Tensor<1> {
    let [n_tokens, vocab_size] = logits.dims();
    let [n_targets] = targets.dims();
    assert_eq!(n_tokens, n_targets, "one target a row of logits");
    if !cpu::supports(&logits) {
        return portable::cross_entropy(logits, targets);
    }
    let targets: Vec<i64> = targets.into_data().iter::<i64>().collect();
    if let Some(target) = targets.iter().find(|target| !(0..vocab_size as i64).contains(target)) {
        panic!("target {target} is outside a row of {vocab_size} logits");
    }
    let targets: Vec<usize> = targets.into_iter().map(|target| target as usize).collect();
    apply(CrossEntropy { targets: Arc::new(targets) }, [input(logits)])
}

/// One step of AdamW with decoupled decay (Loshchilov & Hutter 2017, arXiv:1711.05101) for one parameter; returns
/// weight and moments after it. No gradient flows through it.
///
/// - weight: any shape; moments: the mean gradient and the mean squared gradient, `[elements]`; gradient: `[elements]`
pub fn adamw<const D: usize>(
    step: &AdamWStep,
    weight: Tensor<D>,
    moments: [Tensor<1>; 2],
    gradient: Tensor<1>,
) -> (Tensor<D>, [Tensor<1>; 2]) {
    if !cpu::supports(&weight) {
        return portable::adamw(step, weight, moments, gradient);
    }
    let [first, second] = moments.map(cpu::constant);
    let [weight, first, second] =
        timed("optimizer", || cpu::adamw(step, [cpu::constant(weight), first, second], &cpu::constant(gradient)));
    (cpu::plain(weight), [cpu::plain(first), cpu::plain(second)])
}

/// One step of Muon (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon>) for one matrix, or for several side
/// by side; returns weight and momentum after it. No gradient flows through it.
///
/// The mean of the gradients, with Nesterov's look ahead, is divided by its Frobenius norm, then by (Σσ⁸)^⅛ over its
/// singular values σ, which is the largest of them or little more. It goes through the steps of
/// [`NEWTON_SCHULZ`](crate::NEWTON_SCHULZ), which bring its singular values near 1 and leave its singular vectors. The
/// weight moves by that times rate and [`MuonStep::scale`].
///
/// - weight: `[d_input, d_output]`; momentum: the mean gradient, `[elements]`; gradient: `[elements]`
/// - widths: d_output of each matrix
pub fn muon(
    step: &MuonStep,
    weight: Tensor<2>,
    momentum: Tensor<1>,
    gradient: Tensor<1>,
    widths: &[usize],
) -> (Tensor<2>, Tensor<1>) {
    let [_, columns] = weight.dims();
    assert_eq!(widths.iter().sum::<usize>(), columns, "matrices of {widths:?} columns fill a weight of {columns}");
    if !cpu::supports(&weight) {
        return portable::muon(step, weight, momentum, gradient, widths);
    }
    let tensors = [cpu::constant(weight), cpu::constant(momentum)];
    let [weight, momentum] = timed("optimizer", || cpu::muon(step, tensors, &cpu::constant(gradient), widths));
    (cpu::plain(weight), cpu::plain(momentum))
}

/// The sum of the squares of all elements, in f64 and in one order, whatever threads there are; none for tensors that are not
/// f32 on the CPU. (Burn's own sum is in f32 and splits a long tensor over threads.)
///
/// - x: `[elements]`
pub fn sum_of_squares(x: Tensor<1>) -> Option<f64> {
    cpu::supports(&x).then(|| cpu::sum_of_squares(&cpu::constant(x)))
}
