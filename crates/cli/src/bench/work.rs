//! How much work a model asks for: floating-point operations and bytes, counted from its config.
//!
//! Counted are the matrix products, 2 operations a multiply-add: the projections, the head, and attention over the keys
//! that a query sees. What is masked need not be computed and is not counted; norms and activations are left out.

use tril_model::GptConfig;

/// Bytes of a number.
const F32: f64 = 4.0;

fn head_weights(config: &GptConfig) -> f64 {
    (config.d_model * config.vocab_size) as f64
}

/// Keys that the queries at positions 0 to `len − 1` see, all together.
fn visible(config: &GptConfig, len: usize) -> f64 {
    (1..=len).map(|keys| config.window().map_or(keys, |window| keys.min(window)) as f64).sum()
}

/// Operations of a forward pass over one row of `len` tokens, with logits for `logits` of them.
pub fn forward_flops(config: &GptConfig, len: usize, logits: usize) -> f64 {
    let projections = len as f64 * config.block_weights() as f64 + logits as f64 * head_weights(config);
    let attention = 2.0 * (config.n_layers * config.n_heads * config.d_head) as f64 * visible(config, len);
    2.0 * (projections + attention)
}

/// Operations of a training step over one row of `len` tokens: the backward pass has two products for each of the
/// forward pass, one for the gradient of each side.
pub fn training_flops(config: &GptConfig, len: usize) -> f64 {
    3.0 * forward_flops(config, len, len)
}

/// Bytes that must be read, at least, to generate `len` tokens in each of `rows` rows that go together: at each step all
/// matrices, and each row's keys and values.
pub fn decoding_bytes(config: &GptConfig, rows: usize, len: usize) -> f64 {
    let weights = len as f64 * (config.block_weights() as f64 + head_weights(config));
    let cache = 2.0 * (config.n_layers * config.n_kv_heads * config.d_head) as f64 * visible(config, len);
    F32 * (weights + rows as f64 * cache)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use tril_model::{Gpt, MlpKind, Positions, parameters};

    use super::*;

    #[test]
    fn all_matrices_of_a_model_but_its_embeddings_are_counted() {
        let base = GptConfig { vocab_size: 17, n_layers: 3, n_heads: 2, d_model: 20, ..GptConfig::default() };
        let llama = GptConfig {
            n_heads: 4,
            n_kv_heads: 2,
            d_head: 6,
            d_ff: 33,
            mlp: MlpKind::Swiglu,
            positions: Positions::Rotary,
            tied_head: false,
            ..base.clone()
        };
        for config in [base, llama] {
            let gpt = Gpt::new(config, 1, &Device::flex()).expect("a sound config");
            let matrices: usize = parameters::list(&gpt)
                .iter()
                .filter(|(path, data)| data.shape().len() == 2 && !path.contains("embedding"))
                .map(|(_, data)| data.shape().iter().product::<usize>())
                .sum();
            let tied = if gpt.config().tied_head { 17 * 20 } else { 0 };
            let counted = gpt.config().block_weights() as f64 + head_weights(gpt.config());
            assert_eq!(counted, (matrices + tied) as f64);
        }
    }

    #[test]
    fn attention_is_counted_over_what_a_query_sees() {
        let config = GptConfig { vocab_size: 17, n_layers: 3, ..GptConfig::default() }.resolve().expect("sound");
        let windowed = GptConfig { window: 2, ..config.clone() };
        assert_eq!((visible(&config, 5), visible(&windowed, 5)), (15.0, 9.0));
        // A query's product with a key and a probability's with a value: 2 · 2 operations an element of a head.
        let difference = forward_flops(&config, 5, 5) - forward_flops(&windowed, 5, 5);
        assert_eq!(difference, 6.0 * 4.0 * 3.0 * 128.0);
        let bytes = decoding_bytes(&config, 7, 5) - decoding_bytes(&config, 6, 5);
        assert_eq!(bytes, 15.0 * 2.0 * 3.0 * 128.0 * 4.0, "keys and values are a row's own");
    }
}
