//! GPT-2 models in Hugging Face layout (`config.json` and `model.safetensors`), read as they are.

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::Deserialize;

use crate::parameters::{Init, WeightSource};
use crate::tensor_file::{NamedTensors, read_tensors_where};
use crate::{Gpt, GptConfig, MlpKind, ModelError, NormKind, Positions, files};

/// The fields of a Hugging Face GPT-2 config that change what the model computes.
#[derive(Debug, Deserialize)]
struct Gpt2Config {
    model_type: String,
    vocab_size: usize,
    n_positions: usize,
    n_embd: usize,
    n_layer: usize,
    n_head: usize,
    #[serde(default)]
    n_inner: Option<usize>,
    #[serde(default = "default_activation")]
    activation_function: String,
    #[serde(default = "default_eps")]
    layer_norm_epsilon: f64,
    #[serde(default = "yes")]
    tie_word_embeddings: bool,
    #[serde(default = "yes")]
    scale_attn_weights: bool,
    #[serde(default)]
    scale_attn_by_inverse_layer_idx: bool,
}

fn default_activation() -> String {
    "gelu_new".into()
}

fn default_eps() -> f64 {
    1e-5
}

fn yes() -> bool {
    true
}

/// Whether a directory's `config.json` is of the Hugging Face kind: it names its `model_type`, ours does not.
pub fn is_one(dir: &Path) -> bool {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "model_type")]
        _model_type: String,
    }
    std::fs::read(dir.join("config.json")).is_ok_and(|bytes| serde_json::from_slice::<Named>(&bytes).is_ok())
}

/// Loads a GPT-2 model from a directory in Hugging Face layout.
///
/// # Errors
/// [`ModelError::Io`] without the files, [`ModelError::Corrupt`] for another architecture, a variant that computes
/// something else, or tensors that do not fit the config.
pub fn load_gpt2(dir: &Path, device: &Device) -> Result<Gpt, ModelError> {
    let path = dir.join("config.json");
    let corrupt = |detail: String| ModelError::corrupt(&path, detail);
    let config: Gpt2Config =
        serde_json::from_slice(&files::read(&path)?).map_err(|error| ModelError::corrupt(&path, error))?;
    if config.model_type != "gpt2" {
        return Err(corrupt(format!("model_type is `{}`, only `gpt2` is read", config.model_type)));
    }
    if !config.scale_attn_weights || config.scale_attn_by_inverse_layer_idx {
        return Err(corrupt("its attention is scaled otherwise than by 1/√d_head".into()));
    }
    let mlp = match config.activation_function.as_str() {
        "gelu" => MlpKind::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" => MlpKind::GeluTanh,
        other => return Err(corrupt(format!("activation_function `{other}` is not supported"))),
    };
    let ours = GptConfig {
        vocab_size: config.vocab_size,
        max_seq_len: config.n_positions,
        n_layers: config.n_layer,
        n_heads: config.n_head,
        d_model: config.n_embd,
        d_ff: config.n_inner.unwrap_or(0),
        positions: Positions::Learned,
        norm: NormKind::Layer,
        norm_gain: true,
        norm_bias: true,
        norm_eps: config.layer_norm_epsilon,
        mlp,
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        tied_head: config.tie_word_embeddings,
        ..GptConfig::default()
    };
    let weights = dir.join("model.safetensors");
    // Older files hold the causal mask as `attn.bias` and `attn.masked_bias`, some of them as bytes.
    let is_parameter = |name: &str| !name.ends_with(".attn.bias") && !name.ends_with(".attn.masked_bias");
    let mut source = Gpt2Source { tensors: read_tensors_where(&weights, is_parameter)?, path: weights };
    Gpt::from_source(ours, &mut source, device)
}

struct Gpt2Source {
    path: PathBuf,
    tensors: NamedTensors,
}

impl WeightSource for Gpt2Source {
    /// GPT-2's `Conv1D` weights are `[in, out]` as ours are; the head is a `Linear`, `[out, in]`, and is transposed.
    fn values(&mut self, path: &str, shape: &[usize], _init: Init) -> Result<Vec<f32>, ModelError> {
        let corrupt = |detail: String| ModelError::corrupt(&self.path, detail);
        let name = gpt2_name(path);
        // OpenAI's own file has no `transformer.` before its names.
        let found = self.tensors.get(&format!("transformer.{name}")).or_else(|| self.tensors.get(&name));
        let Some((found_shape, values)) = found else {
            return Err(corrupt(format!("it lacks `{name}`")));
        };
        let transposed = path == "head.weight";
        let expected: Vec<usize> = if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        if *found_shape != expected {
            return Err(corrupt(format!("`{name}` has shape {found_shape:?}, but config.json asks for {expected:?}")));
        }
        if !transposed {
            return Ok(values.clone());
        }
        let [rows, columns] = [expected[0], expected[1]];
        Ok((0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect())
    }
}

/// The Hugging Face name of one of our parameters, without the leading `transformer.`.
fn gpt2_name(path: &str) -> String {
    if path == "head.weight" {
        return "lm_head.weight".into();
    }
    path.replace("token_embedding", "wte")
        .replace("position_embedding", "wpe")
        .replace("blocks.", "h.")
        .replace("attention_norm.", "ln_1.")
        .replace("mlp_norm.", "ln_2.")
        .replace("final_norm.", "ln_f.")
        .replace("attention.qkv", "attn.c_attn")
        .replace("attention.output", "attn.c_proj")
        .replace("mlp.up", "mlp.c_fc")
        .replace("mlp.down", "mlp.c_proj")
        .replace(".gain", ".weight")
}
