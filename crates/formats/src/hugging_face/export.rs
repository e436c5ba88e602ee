//! A directory that `AutoModelForCausalLM.from_pretrained` and `AutoTokenizer.from_pretrained` load with no code of ours.

use serde_json::{Map, Value, json};
use tril_model::checkpoint::{CHAT_TEMPLATE, TOKENIZER_CONFIG};
use tril_model::{GptConfig, MlpKind, ModelError, checkpoint};
use tril_text::{TextBounds, TextError};

use super::config::OWN_CONFIG;
use crate::error::FormatError;
use crate::form::{Architecture, Form, as_stored};
use crate::safetensors_file::to_bytes;
use crate::weights::stored;
use crate::{DataType, Exportable};

/// The files of the directory.
pub(crate) fn files(
    model: &Exportable<'_>,
    form: Form,
    data_type: DataType,
) -> Result<Vec<(&'static str, Vec<u8>)>, FormatError> {
    let config = model.gpt.config();
    let bounds = model.tokenizer.bounds();
    let mut files = vec![
        (checkpoint::CONFIG, text(&config_json(config, form, bounds, data_type))?),
        (checkpoint::GENERATION, text(&generation_json(bounds))?),
        (checkpoint::WEIGHTS, weights(model, form, data_type)?),
        (checkpoint::TOKENIZER, model.tokenizer.to_json()?.into_bytes()),
        (TOKENIZER_CONFIG, text(&tokenizer_config(model)?)?),
    ];
    files.extend(model.chat_template.map(|template| (CHAT_TEMPLATE, template.as_bytes().to_vec())));
    Ok(files)
}

fn text(value: &Value) -> Result<Vec<u8>, FormatError> {
    let written = serde_json::to_string_pretty(value)
        .map_err(|source| ModelError::Serialize { what: "a config", source: source.into() })?;
    Ok((written + "\n").into_bytes())
}

fn weights(model: &Exportable<'_>, form: Form, data_type: DataType) -> Result<Vec<u8>, FormatError> {
    let prefix = match form.architecture {
        Architecture::Gpt2 => "transformer.",
        _ => "model.",
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = stored(model.gpt, form)
        .map(|(entry, values)| {
            let name = if entry.name.starts_with("lm_head") { entry.name } else { format!("{prefix}{}", entry.name) };
            (name, entry.shape, data_type.encode(&values))
        })
        .collect();
    to_bytes(&tensors, data_type)
}

fn config_json(ours: &GptConfig, form: Form, bounds: TextBounds, data_type: DataType) -> Value {
    let stored = as_stored(ours, form);
    let mut config = match form.architecture {
        Architecture::Gpt2 => gpt2_config(&stored),
        _ => llama_family_config(&stored, form),
    };
    let dtype = match data_type {
        DataType::F16 => "float16",
        DataType::Bf16 => "bfloat16",
        DataType::F32 | DataType::Q8_0 => "float32",
    };
    let mut put = |name: &str, value: Value| config.insert(name.to_owned(), value);
    put("architectures", json!([form.architecture.class()]));
    put("model_type", json!(form.architecture.name()));
    put("vocab_size", json!(ours.vocab_size));
    put("tie_word_embeddings", json!(ours.tied_head));
    put("bos_token_id", json!(bounds.bos_token_id.or(bounds.eos_token_id)));
    put("eos_token_id", json!(bounds.eos_token_id));
    put("torch_dtype", json!(dtype));
    put("use_cache", json!(true));
    // What came in comes back: transformers keeps fields that it does not know, and does nothing with them.
    put(OWN_CONFIG, json!(ours));
    Value::Object(config)
}

fn gpt2_config(config: &GptConfig) -> Map<String, Value> {
    let activation = match config.mlp {
        MlpKind::Gelu => "gelu",
        MlpKind::Relu2 => "relu2",
        MlpKind::GeluTanh | MlpKind::Swiglu => "gelu_new",
    };
    object(json!({
        "activation_function": activation,
        "attn_pdrop": 0.0,
        "embd_pdrop": 0.0,
        "resid_pdrop": 0.0,
        "layer_norm_epsilon": config.norm_eps,
        "n_ctx": config.max_seq_len,
        "n_embd": config.d_model,
        "n_head": config.n_heads,
        "n_inner": config.d_ff,
        "n_layer": config.n_layers,
        "n_positions": config.max_seq_len,
    }))
}

fn llama_family_config(config: &GptConfig, form: Form) -> Map<String, Value> {
    let activation = match (config.mlp, form.is_self_gated) {
        (_, true) => "relu",
        (MlpKind::Relu2, false) => "relu2",
        _ => "silu",
    };
    let mut fields = object(json!({
        "attention_bias": config.qkv_bias || config.output_bias,
        "attention_dropout": 0.0,
        "head_dim": config.d_head,
        "hidden_act": activation,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "max_position_embeddings": config.max_seq_len,
        "num_attention_heads": config.n_heads,
        "num_hidden_layers": config.n_layers,
        "num_key_value_heads": config.n_kv_heads,
        "rms_norm_eps": config.norm_eps,
        // The base of the angles as transformers 4 reads it, and as 5 does.
        "rope_theta": config.rope_theta,
        "rope_parameters": {"rope_theta": config.rope_theta, "rope_type": "default"},
    }));
    let window = (config.window > 0).then_some(config.window);
    let more = match form.architecture {
        Architecture::Mistral => json!({"sliding_window": window}),
        Architecture::Qwen3 => {
            let kind = if window.is_some() { "sliding_attention" } else { "full_attention" };
            json!({
                "use_sliding_window": window.is_some(),
                "sliding_window": window,
                "max_window_layers": 0,
                "layer_types": vec![kind; config.n_layers],
            })
        }
        Architecture::Llama | Architecture::Arcee => json!({"mlp_bias": config.mlp_bias}),
        Architecture::Gpt2 => json!({}),
    };
    fields.extend(object(more));
    fields
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

fn generation_json(bounds: TextBounds) -> Value {
    json!({
        "bos_token_id": bounds.bos_token_id.or(bounds.eos_token_id),
        "eos_token_id": bounds.eos_token_id,
        "pad_token_id": bounds.eos_token_id,
    })
}

/// What AutoTokenizer needs beside the tokenizer.json: the class, and the special tokens by name.
fn tokenizer_config(model: &Exportable<'_>) -> Result<Value, FormatError> {
    let imported: Option<Map<String, Value>> = model.tokenizer_config.and_then(|text| serde_json::from_str(text).ok());
    let is_imported = imported.is_some();
    let mut config = imported.unwrap_or_default();
    // Code, templates and tokens that are told elsewhere.
    for name in ["auto_map", "chat_template", "tokenizer_file", "name_or_path", "added_tokens_decoder"] {
        config.remove(name);
    }
    config.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
    config.insert("model_max_length".to_owned(), json!(model.gpt.config().max_seq_len));
    config.insert("clean_up_tokenization_spaces".to_owned(), json!(false));
    if !is_imported {
        // A text that quotes a special token is encoded as the text that it is, as everywhere here.
        config.insert("split_special_tokens".to_owned(), json!(true));
        if let Some(end) = model.tokenizer.bounds().eos_token_id.or(model.tokenizer.end_of_text()) {
            let name = special_name(model, end)?;
            for field in ["bos_token", "eos_token", "pad_token"] {
                config.insert(field.to_owned(), json!(name));
            }
        }
    }
    Ok(Value::Object(config))
}

fn special_name(model: &Exportable<'_>, id: u32) -> Result<String, FormatError> {
    let tokenizer: Value = serde_json::from_str(&model.tokenizer.to_json()?)
        .map_err(|error| TextError::Library { action: "read", reason: error.to_string() })?;
    let added = tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    let named = added.filter(|token| token.get("id").and_then(Value::as_u64) == Some(u64::from(id)));
    let name = named.filter_map(|token| token.get("content")?.as_str()).next();
    Ok(name.map_or_else(|| model.tokenizer.token_text(id), str::to_owned))
}
