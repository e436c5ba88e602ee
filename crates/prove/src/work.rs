//! How much work a forward pass asks for: floating-point operations and bytes, counted from the model's config.
//!
//! With L layers of H query and K key heads of width h, a residual stream of width d, an MLP of width f (u = 2 for
//! `swiglu`, whose way up is twice as wide, else 1), a vocabulary of V, and a pass over m positions after s earlier ones:
//!
//! - weights of the blocks: B = L · (d (H + 2K) h + H h d + u d f + f d)
//! - key–query pairs: A = Σ min(p + 1, window) for p from s to s + m − 1
//! - operations: 2 · (m B + (rows of logits) · d V) + 4 · L H h A
//! - bytes read: 4 · (B + d V) + 4 · 2 L K h · (keys that any of the m queries sees)
//!
//! The step of a generator reads rounded weights in fewer bytes than 4: 2, or 1 and 4 more for each 32 of a column.
//!
//! A multiply-add is 2 operations; attention has two products, of queries with keys and of probabilities with values.
//! What is masked need not be computed and is not counted. Left out are norms, biases, activations, softmax, rotary angles,
//! sums of the residual stream, embeddings; and among bytes whatever a pass writes, and its activations but keys and values.

use tril_model::{GptConfig, WeightFormat};

/// Bytes of a number.
const F32: u64 = 4;

/// Weights of the head, which meets the positions whose logits are asked for.
pub fn head_weights(config: &GptConfig) -> u64 {
    (config.d_model * config.vocab_size) as u64
}

/// Keys that the queries at positions `start` to `start + len − 1` see, added up over the queries.
pub fn visible_keys(config: &GptConfig, start: usize, len: usize) -> u64 {
    (start + 1..=start + len).map(|keys| config.window().map_or(keys, |window| keys.min(window)) as u64).sum()
}

/// Operations of a pass over one row of `len` tokens at positions from `start` on, whose earlier keys and values are
/// cached, with logits for `logits` of them.
pub fn pass_flops(config: &GptConfig, start: usize, len: usize, logits: usize) -> u64 {
    let projections = len as u64 * config.block_weights() as u64 + logits as u64 * head_weights(config);
    2 * projections + attention_flops(config, start, len)
}

/// The part of [`pass_flops`] that depends on where the tokens stand.
pub fn attention_flops(config: &GptConfig, start: usize, len: usize) -> u64 {
    4 * (config.n_layers * config.n_heads * config.d_head) as u64 * visible_keys(config, start, len)
}

/// Bytes that must be read, at least, for such a pass over `rows` rows that go together: all matrices once, and each
/// row's keys and values once, those that the pass itself makes included.
pub fn pass_bytes(config: &GptConfig, rows: usize, start: usize, len: usize) -> u64 {
    let oldest = config.window().map_or(0, |window| (start + 1).saturating_sub(window));
    let keys = (rows * (start + len - oldest)) as u64;
    let weights = config.block_weights() as u64 + head_weights(config);
    F32 * (weights + 2 * (config.n_layers * config.n_kv_heads * config.d_head) as u64 * keys)
}

/// Bytes that must be read, at least, for one more token of each of `rows` rows at a position, with weights in a format.
pub fn step_bytes(config: &GptConfig, weights: WeightFormat, rows: usize, position: usize) -> u64 {
    let as_f32 = F32 * (config.block_weights() as u64 + head_weights(config));
    pass_bytes(config, rows, position, 1) - as_f32 + weight_bytes(config, weights)
}

/// Bytes of all matrices that a token meets.
fn weight_bytes(config: &GptConfig, weights: WeightFormat) -> u64 {
    let of = |d_input: usize, d_output: usize| {
        let numbers = (d_input * d_output) as u64;
        match weights {
            WeightFormat::F32 => F32 * numbers,
            WeightFormat::Bf16 => 2 * numbers,
            WeightFormat::Int8 => numbers + F32 * (d_input.div_ceil(WeightFormat::GROUP) * d_output) as u64,
        }
    };
    let block: u64 = config.block_matrices().into_iter().map(|matrix| of(matrix.d_input, matrix.d_output())).sum();
    config.n_layers as u64 * block + of(config.d_model, config.vocab_size)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn::tensor::{Device, Int, Tensor, TensorData};
    use tril_model::{ForwardContext, Gpt, MlpKind, Observation, Positions, parameters};

    use super::*;

    fn configs() -> Vec<GptConfig> {
        let base =
            GptConfig { vocab_size: 17, max_seq_len: 12, n_layers: 3, n_heads: 2, d_model: 20, ..GptConfig::default() };
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
        vec![base.clone(), GptConfig { window: 4, ..base }, llama.clone(), GptConfig { window: 3, ..llama }]
    }

    #[test]
    fn a_small_model_is_counted_by_hand() {
        let config = GptConfig {
            vocab_size: 5,
            n_layers: 2,
            n_heads: 2,
            n_kv_heads: 1,
            d_model: 4,
            d_head: 3,
            d_ff: 7,
            ..GptConfig::default()
        };
        let config = config.resolve().expect("a sound config");
        // Queries, keys and values 4 × 12, output 6 × 4, up 4 × 7, down 7 × 4: 128 a layer. The head is 4 × 5.
        assert_eq!((config.block_weights(), head_weights(&config)), (256, 20));
        // Third token of a text: 3 keys, 2 layers, 2 heads, 3 wide, 2 products, 2 operations.
        assert_eq!(pass_flops(&config, 2, 1, 1), 2 * 256 + 2 * 20 + 3 * 2 * 2 * 3 * 2 * 2);
        // All three at once: 1 + 2 + 3 keys.
        assert_eq!(pass_flops(&config, 0, 3, 1), 3 * 2 * 256 + 2 * 20 + 6 * 2 * 2 * 3 * 2 * 2);
        // 3 keys and 3 values of one head, 3 wide, in 2 layers.
        assert_eq!(pass_bytes(&config, 1, 2, 1), 4 * (276 + 6 * 3 * 2));
        assert_eq!(step_bytes(&config, WeightFormat::F32, 1, 2), pass_bytes(&config, 1, 2, 1));
        assert_eq!(step_bytes(&config, WeightFormat::Bf16, 1, 2), 2 * 276 + 4 * 6 * 3 * 2);
        // A scale a column: 12, 4, 7 and 4 in each of 2 layers, 5 of the head.
        assert_eq!(step_bytes(&config, WeightFormat::Int8, 1, 2), 276 + 4 * (2 * 27 + 5) + 4 * 6 * 3 * 2);
        let windowed = GptConfig { window: 2, ..config };
        assert_eq!(pass_flops(&windowed, 0, 3, 1), 3 * 2 * 256 + 2 * 20 + 5 * 2 * 2 * 3 * 2 * 2);
        assert_eq!(pass_bytes(&windowed, 1, 9, 1), 4 * (276 + 4 * 3 * 2));
        assert_eq!(pass_bytes(&windowed, 7, 9, 4), 4 * (276 + 7 * 10 * 3 * 2), "the oldest of 4 queries sees one more");
    }

    /// Operations of a pass, added up over the shapes of what it made and over the attention that was not zero.
    fn observed_flops(gpt: &Gpt, ids: std::ops::Range<i32>, pass: ForwardContext<'_>) -> u64 {
        let device = gpt.device();
        let config = gpt.config();
        let mut made: BTreeMap<String, Vec<f32>> = BTreeMap::new();
        let mut observer = |observation: Observation<'_>| {
            let (path, data) = match observation {
                Observation::Activation(activation) => (activation.path(), activation.values.to_data()),
                Observation::Attention(attention) => {
                    (format!("blocks.{}.attention.probs", attention.layer), attention.probs().to_data())
                }
            };
            made.insert(path, data.try_to_vec_as::<f32>().expect("f32"));
        };
        let len = ids.len();
        let input = Tensor::<2, Int>::from_data(TensorData::new(ids.collect::<Vec<_>>(), [1, len]), &device);
        let logits = gpt.last_logits(input, ForwardContext { observer: Some(&mut observer), ..pass });
        let mut flops = 2 * logits.shape().num_elements() * config.d_model;
        let outputs = [
            ("attention.qkv", "attention.qkv"),
            ("attention.output", "attention"),
            ("mlp.up", "mlp.up"),
            ("mlp.down", "mlp"),
        ];
        for (path, data) in parameters::list(gpt) {
            let of_layer = path.strip_suffix(".weight").filter(|path| path.starts_with("blocks."));
            let Some(output) = of_layer.and_then(|path| {
                let (_, name) = outputs.iter().find(|(matrix, _)| path.ends_with(matrix))?;
                Some(format!("{}.{name}", path.split('.').take(2).collect::<Vec<_>>().join(".")))
            }) else {
                continue;
            };
            let [inner, outer] = data.shape()[..] else { panic!("{path} is a matrix") };
            let elements = made[&output].len();
            assert!(elements.is_multiple_of(outer));
            flops += 2 * inner * elements;
        }
        for (name, probs) in made.iter().filter(|(name, _)| name.ends_with("attention.probs")) {
            let pairs = probs.iter().filter(|prob| **prob > 0.0).count();
            assert!(pairs > 0, "{name}");
            flops += 2 * 2 * config.d_head * pairs;
        }
        flops as u64
    }

    #[test]
    fn the_count_is_that_of_the_shapes_of_a_real_pass() {
        for config in configs() {
            let gpt = Gpt::new(config, 1, &Device::flex()).expect("a sound config");
            let expected = |start, len| pass_flops(gpt.config(), start, len, 1);
            assert_eq!(observed_flops(&gpt, 0..9, ForwardContext::default()), expected(0, 9), "{:?}", gpt.config());
            let mut cache = gpt.new_cache(1);
            for (start, end) in [(0, 5), (5, 6), (6, 9), (9, 10)] {
                let observed = observed_flops(&gpt, start..end, ForwardContext::cached(&mut cache));
                let (start, len) = (start as usize, (end - start) as usize);
                assert_eq!(observed, expected(start, len), "{start}, {len}: {:?}", gpt.config());
            }
        }
    }

    #[test]
    fn all_matrices_of_a_model_but_its_embeddings_are_counted() {
        for config in configs() {
            let gpt = Gpt::new(config, 1, &Device::flex()).expect("a sound config");
            let matrices: usize = parameters::list(&gpt)
                .iter()
                .filter(|(path, data)| data.shape().len() == 2 && !path.contains("embedding"))
                .map(|(_, data)| data.shape().iter().product::<usize>())
                .sum();
            let tied = if gpt.config().tied_head { 17 * 20 } else { 0 };
            let counted = gpt.config().block_weights() as u64 + head_weights(gpt.config());
            assert_eq!(counted, (matrices + tied) as u64);
        }
    }
}
