//! Small models, the devices under test, and the way to the shared data.

use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::{Device, Int, Tensor, TensorData};
use tril_model::{Gpt, GptConfig, MlpKind, NormKind, Positions};

/// Every device under test that is compiled in, by name.
#[cfg_attr(feature = "ndarray", expect(deprecated, reason = "Burn drops NdArray in 0.23"))]
pub fn devices() -> Vec<(&'static str, Device)> {
    vec![
        ("cpu", Device::flex()),
        #[cfg(feature = "ndarray")]
        ("ndarray", Device::ndarray()),
    ]
}

/// A file or folder of the shared data, or `None` with a line on stderr that says what is skipped and how many are.
pub fn shared(name: &str, test: &str) -> Option<PathBuf> {
    let beside = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared"));
    let path = std::env::var_os("TRIL_SHARED").map_or_else(beside, PathBuf::from).join(name);
    if path.exists() {
        return Some(path);
    }
    say_skipped(test, &format!("no {}", path.display()));
    None
}

/// Says on stderr what is skipped and how many are.
pub fn say_skipped(test: &str, why: &str) {
    static SKIPPED: AtomicUsize = AtomicUsize::new(0);
    let skipped = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    // Written to the handle itself: the test harness hides what passing tests print by macro.
    let _ = writeln!(std::io::stderr(), "SKIPPED {test}: {why} ({skipped} skipped so far)");
}

/// The GPT-2 family at its smallest, all sizes different.
pub fn gpt2_config() -> GptConfig {
    GptConfig {
        vocab_size: 17,
        max_seq_len: 24,
        n_layers: 3,
        n_heads: 2,
        d_model: 20,
        positions: Positions::Learned,
        norm: NormKind::Layer,
        norm_bias: true,
        mlp: MlpKind::GeluTanh,
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        tied_head: true,
        ..GptConfig::default()
    }
}

/// The Llama family at its smallest: grouped heads, a head width of its own.
pub fn llama_config() -> GptConfig {
    GptConfig {
        vocab_size: 19,
        max_seq_len: 26,
        n_layers: 2,
        n_heads: 4,
        n_kv_heads: 2,
        d_model: 28,
        d_head: 6,
        d_ff: 33,
        positions: Positions::Rotary,
        norm: NormKind::Rms,
        mlp: MlpKind::Swiglu,
        tied_head: false,
        ..GptConfig::default()
    }
}

/// Configs that together have every kind of norm, MLP and position, with and without a window.
pub fn all_configs() -> Vec<(&'static str, GptConfig)> {
    vec![
        ("gpt2", gpt2_config()),
        ("llama", llama_config()),
        ("llama, window 5", GptConfig { window: 5, ..llama_config() }),
        ("gpt2, window 7", GptConfig { window: 7, ..gpt2_config() }),
        (
            "query-key norm, relu2, no gains, window 1",
            GptConfig { qk_norm: true, mlp: MlpKind::Relu2, norm_gain: false, window: 1, ..llama_config() },
        ),
        ("query-key norm with gain, exact gelu", GptConfig { qk_norm: true, mlp: MlpKind::Gelu, ..llama_config() }),
    ]
}

/// A fresh model whose weights are large enough that every part of it matters.
pub fn model(config: GptConfig, device: &Device) -> Gpt {
    struct Louder;
    impl tril_model::parameters::WeightSource for Louder {
        fn values(
            &mut self,
            path: &str,
            shape: &[usize],
            init: tril_model::parameters::Init,
        ) -> Result<Vec<f32>, tril_model::ModelError> {
            use tril_model::parameters::Init;
            let mut fresh = tril_model::parameters::Initializer { seed: 11 };
            let normal = fresh.values(path, shape, Init::Normal(0.3))?;
            Ok(match init {
                Init::Ones => normal.iter().map(|value| 1.0 + value).collect(),
                Init::Zeros | Init::Normal(_) => normal,
            })
        }
    }
    Gpt::from_source(config, &mut Louder, device).expect("a sound config")
}

/// Token ids that visit the whole vocabulary in an uneven order.
pub fn some_ids(batch_size: usize, seq_len: usize, vocab_size: usize) -> Vec<i32> {
    (0..batch_size * seq_len).map(|i| ((i * i * 7 + i * 3 + 1) % vocab_size) as i32).collect()
}

/// `[batch_size, seq_len]` of the given ids.
pub fn input(ids: &[i32], batch_size: usize, device: &Device) -> Tensor<2, Int> {
    Tensor::from_data(TensorData::new(ids.to_vec(), [batch_size, ids.len() / batch_size]), device)
}

/// The values of a tensor.
pub fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.try_into_vec_as::<f32>().expect("f32 values")
}

/// The largest absolute difference; infinite if lengths differ or one is NaN.
pub fn max_difference(a: &[f32], b: &[f32]) -> f32 {
    if a.len() != b.len() {
        return f32::INFINITY;
    }
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |max, d| {
        if d <= max {
            max
        } else if d.is_nan() {
            f32::INFINITY
        } else {
            d
        }
    })
}

/// The largest absolute difference over the largest absolute element that is expected.
pub fn relative_difference(found: &[f32], expected: &[f32]) -> f64 {
    let largest = expected.iter().fold(0f32, |max, value| max.max(value.abs()));
    assert!(largest > 0.0, "numbers that are all zero would show nothing");
    f64::from(max_difference(found, expected)) / f64::from(largest)
}
