//! `config.json` of GPT-2, Llama, Mistral, Qwen3 and Arcee as a [`GptConfig`] that says the same function, or as a field
//! and its value that do not fit. What the fields mean is in `transformers/models/*/configuration_*.py`.

use serde_json::Value;
use tril_model::{GptConfig, MlpKind, NormKind, Positions};

use super::fields::Fields;
use crate::error::FormatError;
use crate::form::{Architecture, Container, Form};
use crate::weights::Described;

/// Where this toolkit writes its own config, in a `config.json` and in a GGUF file.
pub(crate) const OWN_CONFIG: &str = "tril_config";

/// Fields of any architecture that change what is computed, and the values that change nothing.
const NEUTRAL: [(&str, &[f64]); 17] = [
    ("attention_multiplier", &[]),
    ("attn_logit_softcapping", &[]),
    ("clip_qkv", &[]),
    ("embedding_multiplier", &[1.0]),
    ("final_logit_softcapping", &[]),
    ("attention_chunk_size", &[]),
    ("logit_scale", &[1.0]),
    ("logits_scaling", &[1.0]),
    ("moe_intermediate_size", &[0.0]),
    ("n_routed_experts", &[0.0]),
    ("no_rope_layer_interval", &[]),
    ("num_experts", &[0.0]),
    ("num_experts_per_tok", &[0.0]),
    ("num_local_experts", &[0.0]),
    ("partial_rotary_factor", &[1.0]),
    ("query_pre_attn_scalar", &[]),
    ("residual_multiplier", &[1.0]),
];

/// Switches that change what is computed where they are on.
const SWITCHES: [(&str, &str); 7] = [
    ("add_cross_attention", "attention to another text is not computed here"),
    ("is_encoder_decoder", "only decoders are"),
    ("use_parallel_residual", "attention and MLP follow one another here"),
    ("parallel_attn", "attention and MLP follow one another here"),
    ("alibi", "positions are learned or rotary here"),
    ("scale_attn_by_inverse_layer_idx", "attention is scaled by 1/√d_head in every block"),
    ("use_bidirectional_attention", "attention is causal here"),
];

/// Reads a `config.json`.
///
/// # Errors
/// [`FormatError::Unsupported`] for what a [`GptConfig`] cannot say, [`FormatError::Damaged`].
pub(crate) fn read(fields: &Fields) -> Result<Described, FormatError> {
    let (config, form) = match fields.text("model_type")? {
        Some("gpt2") => gpt2(fields)?,
        Some("llama") => llama_family(fields, Architecture::Llama)?,
        Some("mistral") => llama_family(fields, Architecture::Mistral)?,
        Some("qwen3") => llama_family(fields, Architecture::Qwen3)?,
        Some("arcee") => llama_family(fields, Architecture::Arcee)?,
        _ => {
            return Err(fields.unsupported("model_type", "gpt2, llama, mistral, qwen3 and arcee are read"));
        }
    };
    check_neutral(fields)?;
    let config = config.resolve().map_err(|error| FormatError::damaged(fields.path(), error.to_string()))?;
    let own = fields.get(OWN_CONFIG).and_then(|own| serde_json::from_value(own.clone()).ok());
    Ok(Described { config, form, own: None }.with_own(own))
}

fn check_neutral(fields: &Fields) -> Result<(), FormatError> {
    for (name, neutral) in NEUTRAL {
        if let Some(value) = fields.get(name)
            && !value.as_f64().is_some_and(|number| neutral.contains(&number))
        {
            return Err(fields.unsupported(name, "that is not computed here"));
        }
    }
    for (name, reason) in SWITCHES {
        if fields.flag(name, false)? {
            return Err(fields.unsupported(name, reason));
        }
    }
    if fields.get("quantization_config").is_some() {
        return Err(fields.unsupported("quantization_config", "quantised weights are read from GGUF (Q8_0) alone"));
    }
    if let Some(Value::Object(code)) = fields.get("auto_map")
        && code.contains_key("AutoModelForCausalLM")
    {
        return Err(fields.unsupported("auto_map", "the model computes what code of its own says, which is not read"));
    }
    Ok(())
}

fn gpt2(fields: &Fields) -> Result<(GptConfig, Form), FormatError> {
    if !fields.flag("scale_attn_weights", true)? {
        return Err(fields.unsupported("scale_attn_weights", "attention is scaled by 1/√d_head here"));
    }
    let mlp = match fields.text("activation_function")?.unwrap_or("gelu_new") {
        "gelu" => MlpKind::Gelu,
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => MlpKind::GeluTanh,
        "relu2" => MlpKind::Relu2,
        _ => {
            return Err(
                fields.unsupported("activation_function", "gelu, gelu_new, gelu_pytorch_tanh and relu2 are read")
            );
        }
    };
    let config = GptConfig {
        vocab_size: fields.required("vocab_size")?,
        max_seq_len: fields.required("n_positions")?,
        n_layers: fields.required("n_layer")?,
        n_heads: fields.required("n_head")?,
        d_model: fields.required("n_embd")?,
        d_ff: fields.size("n_inner")?.unwrap_or(0),
        positions: Positions::Learned,
        norm: NormKind::Layer,
        norm_gain: true,
        norm_bias: true,
        norm_eps: fields.number("layer_norm_epsilon", 1e-5)?,
        mlp,
        qkv_bias: true,
        output_bias: true,
        mlp_bias: true,
        tied_head: fields.flag("tie_word_embeddings", true)?,
        ..GptConfig::default()
    };
    Ok((config, Form { architecture: Architecture::Gpt2, container: Container::HuggingFace, is_self_gated: false }))
}

fn llama_family(fields: &Fields, architecture: Architecture) -> Result<(GptConfig, Form), FormatError> {
    use Architecture::{Arcee, Llama, Mistral, Qwen3};
    let (activation, eps, context) = match architecture {
        Arcee => ("relu2", 1e-5, 4096),
        Llama => ("silu", 1e-6, 2048),
        Mistral => ("silu", 1e-6, 4096 * 32),
        _ => ("silu", 1e-6, 32_768),
    };
    let (mlp, is_self_gated) = match (architecture, fields.text("hidden_act")?.unwrap_or(activation)) {
        (Arcee, "relu2") => (MlpKind::Relu2, false),
        (Llama | Mistral | Qwen3, "silu" | "swish") => (MlpKind::Swiglu, false),
        // relu(Wx)·Wx is squared ReLU where gate and up are one matrix, which the tensors must say.
        (Llama | Mistral | Qwen3, "relu") => (MlpKind::Relu2, true),
        _ => {
            let name = architecture.name();
            return Err(fields.unsupported("hidden_act", format!("of {name} {activation} is read")));
        }
    };
    let n_heads = fields.required("num_attention_heads")?;
    let d_model = fields.required("hidden_size")?;
    let has_attention_bias = architecture != Mistral && fields.flag("attention_bias", false)?;
    let max_seq_len = fields.size("max_position_embeddings")?.unwrap_or(context);
    let config = GptConfig {
        vocab_size: fields.required("vocab_size")?,
        max_seq_len,
        n_layers: fields.required("num_hidden_layers")?,
        n_heads,
        n_kv_heads: match fields.size("num_key_value_heads")? {
            None if architecture == Mistral && !fields.has("num_key_value_heads") => 8,
            kv_heads => kv_heads.unwrap_or(n_heads),
        },
        d_model,
        // Qwen3's own default, whatever the width.
        d_head: fields.size("head_dim")?.unwrap_or(if architecture == Qwen3 { 128 } else { 0 }),
        d_ff: fields.required("intermediate_size")?,
        positions: Positions::Rotary,
        rope_theta: rope_theta(fields)?,
        window: window(fields, architecture)?,
        norm: NormKind::Rms,
        norm_gain: true,
        norm_bias: false,
        norm_eps: fields.number("rms_norm_eps", eps)?,
        qk_norm: architecture == Qwen3,
        mlp,
        qkv_bias: has_attention_bias,
        output_bias: has_attention_bias,
        mlp_bias: matches!(architecture, Llama | Arcee) && fields.flag("mlp_bias", false)?,
        tied_head: fields.flag("tie_word_embeddings", false)?,
        zero_init_outputs: false,
    };
    Ok((config, Form { architecture, container: Container::HuggingFace, is_self_gated }))
}

/// The base of the angles: `rope_theta` until transformers 4, in `rope_parameters` since 5.
fn rope_theta(fields: &Fields) -> Result<f64, FormatError> {
    let top = match fields.get("rope_theta") {
        Some(_) => Some(fields.number("rope_theta", 0.0)?),
        None => None,
    };
    let mut found = top;
    for name in ["rope_scaling", "rope_parameters"] {
        match fields.get(name) {
            None => {}
            Some(Value::Object(parameters)) => {
                // Some architectures have one set for each kind of layer.
                let sets: Vec<&serde_json::Map<String, Value>> =
                    match parameters.values().filter_map(Value::as_object).collect::<Vec<_>>() {
                        sets if sets.is_empty() => vec![parameters],
                        sets => sets,
                    };
                for set in sets {
                    let kind = set.get("rope_type").or(set.get("type")).and_then(Value::as_str).unwrap_or("default");
                    if kind != "default" {
                        return Err(fields.unsupported(name, "scaled rotary angles are not computed here"));
                    }
                    if let Some((key, _)) = set.iter().find(|(key, value)| {
                        let is_default = matches!(key.as_str(), "rope_type" | "type" | "rope_theta")
                            || value.is_null()
                            || (key.as_str() == "partial_rotary_factor" && value.as_f64() == Some(1.0))
                            || (key.as_str() == "factor" && value.as_f64() == Some(1.0));
                        !is_default
                    }) {
                        return Err(fields.unsupported(name, format!("`{key}` in it is not known here")));
                    }
                    if let Some(theta) = set.get("rope_theta").filter(|theta| !theta.is_null()) {
                        let theta =
                            theta.as_f64().ok_or_else(|| fields.unsupported(name, "a number belongs in rope_theta"))?;
                        if found.is_some_and(|found| found != theta) {
                            return Err(fields.unsupported(name, "it contradicts another base of the rotary angles"));
                        }
                        found = Some(theta);
                    }
                }
            }
            Some(_) => return Err(fields.unsupported(name, "an object or null belongs there")),
        }
    }
    Ok(found.unwrap_or(10_000.0))
}

/// The sliding window, 0 where there is none.
fn window(fields: &Fields, architecture: Architecture) -> Result<usize, FormatError> {
    let windowed = match architecture {
        Architecture::Mistral if !fields.has("sliding_window") => 4096,
        Architecture::Mistral => fields.size("sliding_window")?.unwrap_or(0),
        Architecture::Qwen3 if fields.flag("use_sliding_window", false)? => {
            let window = if fields.has("sliding_window") { fields.size("sliding_window")?.unwrap_or(0) } else { 4096 };
            if fields.get("layer_types").is_none() && window > 0 {
                let (layers, full) = (
                    fields.required("num_hidden_layers")?,
                    if fields.has("max_window_layers") { fields.size("max_window_layers")?.unwrap_or(0) } else { 28 },
                );
                match full {
                    0 => {}
                    full if full >= layers => return Ok(0),
                    _ => {
                        let reason = "blocks differ in their window, and here all have the same";
                        return Err(fields.unsupported("max_window_layers", reason));
                    }
                }
            }
            window
        }
        _ => 0,
    };
    let Some(types) = fields.get("layer_types") else { return Ok(windowed) };
    let kinds = types.as_array().ok_or_else(|| fields.unsupported("layer_types", "a list belongs there"))?;
    let of = |kind: &str| kinds.iter().filter(|value| value.as_str() == Some(kind)).count();
    match (of("full_attention"), of("sliding_attention")) {
        (full, 0) if full == kinds.len() => Ok(0),
        (0, sliding) if sliding == kinds.len() && windowed > 0 => Ok(windowed),
        _ => Err(fields.unsupported("layer_types", "here all blocks have full attention or all the same window")),
    }
}
