//! Which architecture of other tools computes what a [`GptConfig`] says, and which fields it leaves no choice about.

use serde::Serialize;
use tril_model::{GptConfig, MlpKind, NormKind, Positions};

use crate::Misfit;

/// An architecture that other tools know by this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Architecture {
    /// Learned positions, layer norms, biases everywhere, an MLP without a gate.
    Gpt2,
    /// Rotary positions, RMS norms, a gated MLP.
    Llama,
    /// Llama with a sliding window, and without biases.
    Mistral,
    /// Llama with a norm on queries and keys.
    Qwen3,
    /// Llama with squared ReLU and no gate.
    Arcee,
}

impl Architecture {
    /// Its name, the same in `config.json` (`model_type`) and in GGUF (`general.architecture`), but that GGUF has no
    /// `mistral`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen3 => "qwen3",
            Self::Arcee => "arcee",
        }
    }

    /// The class of transformers.
    pub(crate) fn class(self) -> &'static str {
        match self {
            Self::Gpt2 => "GPT2LMHeadModel",
            Self::Llama => "LlamaForCausalLM",
            Self::Mistral => "MistralForCausalLM",
            Self::Qwen3 => "Qwen3ForCausalLM",
            Self::Arcee => "ArceeForCausalLM",
        }
    }
}

/// How a target stores a model: which names, which order of rows, which biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) architecture: Architecture,
    pub(crate) container: Container,
    /// Squared ReLU in an MLP with a gate: relu(Wx)·Wx, the same matrix twice.
    pub(crate) is_self_gated: bool,
}

/// Whose names and orders of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Container {
    HuggingFace,
    Gguf,
}

impl Form {
    /// Whether a rotary pair stands in neighbouring rows, as llama.cpp has it for `llama` and `arcee`; else half a head
    /// apart.
    pub(crate) fn has_neighbouring_pairs(self) -> bool {
        self.container == Container::Gguf && matches!(self.architecture, Architecture::Llama | Architecture::Arcee)
    }
}

/// The architecture of transformers that computes what a resolved config says.
///
/// # Errors
/// Every field that is in the way.
pub(crate) fn hugging_face_form(config: &GptConfig) -> Result<Form, Vec<Misfit>> {
    let form = |architecture, is_self_gated| Form { architecture, container: Container::HuggingFace, is_self_gated };
    if config.positions == Positions::Learned {
        let misfits = gpt2_misfits(config, "transformers' GPT-2");
        return if misfits.is_empty() { Ok(form(Architecture::Gpt2, false)) } else { Err(misfits) };
    }
    let mut misfits = rotary_misfits(config, "transformers");
    let is_gated = config.mlp == MlpKind::Swiglu;
    let has_biases = config.qkv_bias || config.output_bias || config.mlp_bias;
    let is_windowed = config.window > 0 && config.window < config.max_seq_len;
    let architecture = match (config.qk_norm, is_windowed) {
        (true, _) => Architecture::Qwen3,
        (false, true) => Architecture::Mistral,
        (false, false) if is_gated => Architecture::Llama,
        (false, false) => Architecture::Arcee,
    };
    let class = architecture.class();
    match architecture {
        Architecture::Qwen3 if config.mlp_bias => {
            misfits.push(Misfit::new(
                "mlp_bias",
                true,
                format!("{class}, which has the norm on queries and keys, has no such bias"),
            ));
        }
        Architecture::Mistral if has_biases => {
            let field = if config.mlp_bias {
                "mlp_bias"
            } else if config.qkv_bias {
                "qkv_bias"
            } else {
                "output_bias"
            };
            misfits.push(Misfit::new(field, true, format!("{class}, which has the window, has no biases")));
        }
        _ => {}
    }
    if !misfits.is_empty() {
        return Err(misfits);
    }
    Ok(form(architecture, !is_gated && architecture != Architecture::Arcee))
}

/// The architecture of llama.cpp that computes what a resolved config says.
///
/// - approximate_gelu: whether the exact GELU may become its tanh approximation
///
/// # Errors
/// Every field that is in the way.
pub(crate) fn gguf_form(config: &GptConfig, gelu: Gelu) -> Result<Form, Vec<Misfit>> {
    let form = |architecture| Form { architecture, container: Container::Gguf, is_self_gated: false };
    if config.positions == Positions::Learned {
        let mut misfits = gpt2_misfits(config, "llama.cpp's gpt2");
        if config.mlp == MlpKind::Gelu && gelu == Gelu::AsItIs {
            misfits.push(Misfit::new(
                "mlp",
                "gelu",
                "llama.cpp computes the tanh approximation of GELU, which differs by up to 5e-4; --approximate-gelu accepts that",
            ));
        }
        if config.mlp == MlpKind::Relu2 {
            misfits.push(Misfit::new("mlp", "relu2", "llama.cpp's gpt2 has the tanh approximation of GELU alone"));
        }
        return if misfits.is_empty() { Ok(form(Architecture::Gpt2)) } else { Err(misfits) };
    }
    let mut misfits = rotary_misfits(config, "llama.cpp");
    let is_gated = config.mlp == MlpKind::Swiglu;
    let architecture = match (config.qk_norm, is_gated) {
        (true, _) => Architecture::Qwen3,
        (false, true) => Architecture::Llama,
        (false, false) => Architecture::Arcee,
    };
    let name = architecture.name();
    if config.qk_norm && config.mlp == MlpKind::Relu2 {
        misfits.push(Misfit::new(
            "mlp",
            "relu2",
            "llama.cpp has the norm on queries and keys in qwen3 alone, whose MLP is swiglu",
        ));
    }
    if config.window > 0 && config.window < config.max_seq_len {
        misfits.push(Misfit::new(
            "window",
            config.window,
            format!("llama.cpp's {name} would see the whole context of {} tokens", config.max_seq_len),
        ));
    }
    if architecture != Architecture::Llama {
        for (field, is_set) in
            [("qkv_bias", config.qkv_bias), ("output_bias", config.output_bias), ("mlp_bias", config.mlp_bias)]
        {
            if is_set {
                misfits.push(Misfit::new(field, true, format!("llama.cpp's {name} has no such bias")));
            }
        }
    }
    if misfits.is_empty() { Ok(form(architecture)) } else { Err(misfits) }
}

/// What becomes of an exact GELU where a target has the approximation alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Gelu {
    /// It is refused.
    #[default]
    AsItIs,
    /// It becomes the tanh approximation, which differs by up to 5e-4 an activation.
    Approximate,
}

fn gpt2_misfits(config: &GptConfig, target: &str) -> Vec<Misfit> {
    let mut misfits = Vec::new();
    let mut refuse = |field: &str, value: &dyn ToString, reason: String| {
        misfits.push(Misfit::new(field, value.to_string(), reason));
    };
    if config.norm == NormKind::Rms {
        refuse("norm", &"rms", format!("{target}, which has learned positions, has layer norms"));
    }
    if config.mlp == MlpKind::Swiglu {
        refuse("mlp", &"swiglu", format!("{target} has no gate"));
    }
    if config.qk_norm {
        refuse("qk_norm", &true, format!("{target} has no norm on queries and keys"));
    }
    if config.n_kv_heads != config.n_heads {
        refuse(
            "n_kv_heads",
            &config.n_kv_heads,
            format!("{target} gives each of the {} query heads its own", config.n_heads),
        );
    }
    if config.d_head * config.n_heads != config.d_model {
        refuse(
            "d_head",
            &config.d_head,
            format!("{target} has d_model / n_heads = {}", config.d_model / config.n_heads),
        );
    }
    if config.window > 0 && config.window < config.max_seq_len {
        refuse("window", &config.window, format!("{target} sees the whole context of {} tokens", config.max_seq_len));
    }
    misfits
}

fn rotary_misfits(config: &GptConfig, target: &str) -> Vec<Misfit> {
    let mut misfits = Vec::new();
    if config.norm == NormKind::Layer {
        misfits.push(Misfit::new("norm", "layer", format!("{target} has rotary positions with RMS norms")));
    }
    if let Some(name) = match config.mlp {
        MlpKind::Gelu => Some("gelu"),
        MlpKind::GeluTanh => Some("gelu_tanh"),
        MlpKind::Relu2 | MlpKind::Swiglu => None,
    } {
        misfits.push(Misfit::new("mlp", name, format!("{target} has rotary positions with swiglu or relu2")));
    }
    misfits
}

/// What a target computes for a config that it fits: the same function, with every gain and bias that the target has
/// whether or not it is learnt.
pub(crate) fn as_stored(config: &GptConfig, form: Form) -> GptConfig {
    let is_gpt2 = form.architecture == Architecture::Gpt2;
    let attention_bias = is_gpt2 || config.qkv_bias || config.output_bias;
    let mlp = match (config.mlp, form.container) {
        (MlpKind::Gelu, Container::Gguf) => MlpKind::GeluTanh,
        (mlp, _) => mlp,
    };
    let is_windowed = matches!(form.architecture, Architecture::Mistral | Architecture::Qwen3)
        && form.container == Container::HuggingFace
        && config.window > 0
        && config.window < config.max_seq_len;
    GptConfig {
        norm_gain: true,
        norm_bias: is_gpt2,
        qkv_bias: if form.container == Container::Gguf && !is_gpt2 { config.qkv_bias } else { attention_bias },
        output_bias: if form.container == Container::Gguf && !is_gpt2 { config.output_bias } else { attention_bias },
        mlp_bias: is_gpt2 || config.mlp_bias,
        window: if is_windowed { config.window } else { 0 },
        rope_theta: if is_gpt2 { GptConfig::default().rope_theta } else { config.rope_theta },
        mlp,
        zero_init_outputs: false,
        ..config.clone()
    }
}
