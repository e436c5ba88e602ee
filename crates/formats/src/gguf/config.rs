//! The metadata of a GGUF file as a [`GptConfig`], and back.

use tril_model::{GptConfig, MlpKind, NormKind, Positions};

use super::container::{GgufFile, GgufValue};
use crate::error::FormatError;
use crate::form::{Architecture, Container, Form, as_stored};
use crate::hugging_face::config::OWN_CONFIG;
use crate::weights::Described;

/// Keys, after the architecture's name, that change what is computed, and the values that change nothing.
const NEUTRAL: [(&str, &[f64]); 14] = [
    ("attention.clamp_kqv", &[0.0]),
    ("attention.max_alibi_bias", &[0.0]),
    ("attention.scale", &[0.0]),
    ("attn_logit_softcapping", &[]),
    ("embedding_scale", &[0.0, 1.0]),
    ("expert_count", &[0.0]),
    ("expert_used_count", &[0.0]),
    ("final_logit_softcapping", &[]),
    ("leading_dense_block_count", &[0.0]),
    ("logit_scale", &[0.0, 1.0]),
    ("residual_scale", &[0.0, 1.0]),
    ("rope.scale_linear", &[1.0]),
    ("rope.scaling.attn_factor", &[1.0]),
    ("rope.scaling.factor", &[1.0]),
];

/// What the metadata of a file says.
///
/// # Errors
/// [`FormatError::Unsupported`] for what a [`GptConfig`] cannot say, [`FormatError::Damaged`].
pub(crate) fn read(file: &GgufFile) -> Result<Described, FormatError> {
    let architecture = match file.text("general.architecture") {
        Some("gpt2") => Architecture::Gpt2,
        Some("llama") => Architecture::Llama,
        Some("qwen3") => Architecture::Qwen3,
        Some("arcee") => Architecture::Arcee,
        other => {
            let reason = "gpt2, llama, qwen3 and arcee are read";
            return Err(file.unsupported("general.architecture", other.unwrap_or("absent"), reason));
        }
    };
    check(file, architecture)?;
    let is_gpt2 = architecture == Architecture::Gpt2;
    let keys = Keys { file, architecture };
    let (d_model, n_heads) = (keys.required("embedding_length")?, keys.required("attention.head_count")?);
    let d_head = keys.size("attention.key_length")?.unwrap_or(d_model.checked_div(n_heads).unwrap_or(0));
    for key in ["attention.value_length", "rope.dimension_count"] {
        if let Some(width) = keys.size(key)?.filter(|width| *width != d_head && !is_gpt2) {
            return Err(file.unsupported(&keys.name(key), width, format!("here it is the width of a head, {d_head}")));
        }
    }
    let has = |name: &str| file.tensors.iter().any(|tensor| tensor.full_name == name);
    let eps = if is_gpt2 { "attention.layer_norm_epsilon" } else { "attention.layer_norm_rms_epsilon" };
    let config = GptConfig {
        vocab_size: vocab_size(file)?,
        max_seq_len: keys.required("context_length")?,
        n_layers: keys.required("block_count")?,
        n_heads,
        n_kv_heads: keys.size("attention.head_count_kv")?.unwrap_or(n_heads),
        d_model,
        d_head,
        d_ff: keys.required("feed_forward_length")?,
        positions: if is_gpt2 { Positions::Learned } else { Positions::Rotary },
        rope_theta: file.number(&keys.name("rope.freq_base"))?.unwrap_or(10_000.0),
        window: 0,
        norm: if is_gpt2 { NormKind::Layer } else { NormKind::Rms },
        norm_gain: true,
        norm_bias: is_gpt2,
        norm_eps: file.number(&keys.name(eps))?.unwrap_or(1e-5),
        qk_norm: architecture == Architecture::Qwen3,
        mlp: match architecture {
            Architecture::Gpt2 => MlpKind::GeluTanh,
            Architecture::Arcee => MlpKind::Relu2,
            _ => MlpKind::Swiglu,
        },
        qkv_bias: is_gpt2 || has("blk.0.attn_q.bias"),
        output_bias: is_gpt2 || has("blk.0.attn_output.bias"),
        mlp_bias: is_gpt2 || has("blk.0.ffn_up.bias"),
        tied_head: !has("output.weight"),
        zero_init_outputs: false,
    };
    let config = config.resolve().map_err(|error| file.damaged(error.to_string()))?;
    let form = Form { architecture, container: Container::Gguf, is_self_gated: false };
    let own = file.text(&own_key()).and_then(|own| serde_json::from_str(own).ok());
    Ok(Described { config, form, own: None }.with_own(own))
}

/// Where this toolkit writes its own config.
pub(super) fn own_key() -> String {
    OWN_CONFIG.replace('_', ".")
}

fn vocab_size(file: &GgufFile) -> Result<usize, FormatError> {
    let embedding = file.tensors.iter().find(|tensor| tensor.full_name == "token_embd.weight");
    let rows = embedding.and_then(|tensor| tensor.shape.first().copied());
    rows.ok_or_else(|| file.damaged("it has no `token_embd.weight`; restore it from a copy"))
}

fn check(file: &GgufFile, architecture: Architecture) -> Result<(), FormatError> {
    let name = architecture.name();
    for (key, neutral) in NEUTRAL {
        let field = format!("{name}.{key}");
        if let Some(number) = file.number(&field)?
            && !neutral.contains(&number)
        {
            return Err(file.unsupported(&field, number, "that is not computed here"));
        }
    }
    let scaling = format!("{name}.rope.scaling.type");
    if let Some(kind) = file.text(&scaling).filter(|kind| *kind != "none") {
        return Err(file.unsupported(&scaling, kind, "scaled rotary angles are not computed here"));
    }
    let window = format!("{name}.attention.sliding_window");
    if let Some(size) = file.size(&window)?.filter(|size| *size > 0) {
        return Err(file.unsupported(&window, size, "llama.cpp's own models of this kind have none"));
    }
    if let Some(tensor) = file.tensors.iter().find(|tensor| tensor.full_name.starts_with("rope_freqs")) {
        let shape = format!("a tensor {:?}", tensor.shape);
        return Err(file.unsupported(&tensor.full_name, shape, "scaled rotary angles are not computed here"));
    }
    if let Some(count) = file.size("split.count")?.filter(|count| *count > 1) {
        let reason = "a model in several files is not read; join them with llama-gguf-split --merge";
        return Err(file.unsupported("split.count", count, reason));
    }
    if file.flag(&format!("{name}.use_parallel_residual")) == Some(true) {
        let field = format!("{name}.use_parallel_residual");
        return Err(file.unsupported(&field, true, "attention and MLP follow one another here"));
    }
    Ok(())
}

struct Keys<'a> {
    file: &'a GgufFile,
    architecture: Architecture,
}

impl Keys<'_> {
    fn name(&self, key: &str) -> String {
        format!("{}.{key}", self.architecture.name())
    }

    fn size(&self, key: &str) -> Result<Option<usize>, FormatError> {
        self.file.size(&self.name(key))
    }

    fn required(&self, key: &str) -> Result<usize, FormatError> {
        self.size(key)?.ok_or_else(|| self.file.damaged(format!("it lacks {}; restore it from a copy", self.name(key))))
    }
}

/// What the metadata says of a model.
pub(crate) fn metadata(ours: &GptConfig, form: Form) -> Vec<(String, GgufValue)> {
    let name = form.architecture.name();
    let config = as_stored(ours, form);
    let size =
        |key: &str, size: usize| (format!("{name}.{key}"), GgufValue::U32(u32::try_from(size).unwrap_or(u32::MAX)));
    let mut pairs = vec![
        size("vocab_size", config.vocab_size),
        size("context_length", config.max_seq_len),
        size("embedding_length", config.d_model),
        size("block_count", config.n_layers),
        size("feed_forward_length", config.d_ff),
        size("attention.head_count", config.n_heads),
        size("attention.head_count_kv", config.n_kv_heads),
    ];
    let number = |key: &str, number: f64| (format!("{name}.{key}"), GgufValue::F32(number as f32));
    if config.positions == Positions::Learned {
        pairs.push(number("attention.layer_norm_epsilon", config.norm_eps));
    } else {
        pairs.extend([
            number("attention.layer_norm_rms_epsilon", config.norm_eps),
            number("rope.freq_base", config.rope_theta),
            size("rope.dimension_count", config.d_head),
            size("attention.key_length", config.d_head),
            size("attention.value_length", config.d_head),
        ]);
    }
    // Where the exact GELU has become another, that is what the file's model has.
    if let Ok(own) = serde_json::to_string(&GptConfig { mlp: config.mlp, ..ours.clone() }) {
        pairs.push((own_key(), GgufValue::Text(own)));
    }
    pairs
}
