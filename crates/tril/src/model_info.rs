//! What can be told of a model without running it: its shape, its size, its tokenizer, what it was trained on, and which
//! tools it can be exported to.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;
use tril_formats::{DataType, ExportFormat, ExportOptions, Gelu, Source, StoredWeights, check, stored_weights};
use tril_model::{GptConfig, WeightFormat, checkpoint, memory, parameters};
use tril_train::{RunDir, TrainProgress};

use crate::{Error, Model, Recipe};

/// The shortest context whose cache is told.
const SHORTEST: usize = 64;

/// All of it.
#[derive(Debug, Clone, Serialize)]
pub struct ModelInfo {
    /// Where it is: of a run, which of its checkpoints.
    pub path: String,
    /// What it is read from.
    pub source: Source,
    /// How it lies on the disk, where it is a model of another tool.
    pub stored: Option<StoredWeights>,
    /// What it computes.
    pub config: GptConfig,
    /// The architecture that other tools know it by, or the nearest words for it.
    pub architecture: String,
    /// Parameters by kind, in the order in which a token meets them.
    pub parameters: Vec<ParameterCount>,
    /// All of them.
    pub parameters_total: usize,
    /// Text to ids.
    pub tokenizer: TokenizerInfo,
    /// Bytes of the weights in memory.
    pub weight_bytes: usize,
    /// Bytes of the copy of them that making text on the CPU adds, for each format that they can be rounded to.
    pub step_bytes: Vec<StepSize>,
    /// Bytes of the keys and values of one token.
    pub cache_bytes_per_token: usize,
    /// Bytes that keys and values of one sequence take at each length.
    pub cache: Vec<CacheSize>,
    /// Bytes that they take at most, where a window bounds them and a text may go on for ever.
    pub cache_bytes_at_most: Option<u64>,
    /// What it was trained on and how far, where a run of this toolkit made it.
    pub training: Option<TrainingInfo>,
    /// Of each format, whether it can be exported to it.
    pub exports: Vec<ExportFit>,
    /// Whether it has a template of a chat.
    pub has_chat_template: bool,
    /// What names its files.
    pub hashes: Hashes,
    /// What was left out or changed when it was read.
    pub notes: Vec<String>,
}

/// How many parameters there are of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ParameterCount {
    /// Such as `attention`.
    pub kind: &'static str,
    /// How many.
    pub count: usize,
}

/// What is known of a tokenizer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TokenizerInfo {
    /// Its model, such as `BPE`.
    pub model: String,
    /// Tokens in all.
    pub vocab_size: usize,
    /// Merges, of byte-pair encoding.
    pub merges: usize,
    /// Tokens that are no text.
    pub special_tokens: usize,
    /// What an empty prompt begins with.
    pub starts_with: Option<String>,
    /// What ends a text.
    pub ends_with: Option<String>,
}

/// The copy of the weights that a token of text is made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct StepSize {
    /// What weights are rounded to.
    pub weights: WeightFormat,
    /// Bytes of the copy.
    pub bytes: u64,
}

/// The cache at one length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CacheSize {
    /// Tokens.
    pub tokens: usize,
    /// Bytes of their keys and values.
    pub bytes: usize,
}

/// What a run has done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingInfo {
    /// The text.
    pub data: String,
    /// Steps taken.
    pub steps: u64,
    /// Steps that the recipe asks for.
    pub steps_in_all: u64,
    /// Target tokens of those steps.
    pub tokens: u64,
    /// The best validation loss so far, in nats a token.
    pub best_loss: Option<f64>,
    /// The step that it was measured after.
    pub best_step: Option<u64>,
}

/// Whether a model can be exported to a format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExportFit {
    /// The format.
    pub format: ExportFormat,
    /// Whether it fits as it is.
    pub fits: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

/// SHA-256 in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hashes {
    /// Of the weights, as `tril train` prints it and a receipt names it.
    pub model: String,
    /// Of the optimizer's state, where there is one.
    pub optimizer: Option<String>,
}

impl Model {
    /// How many parameters it has.
    pub fn parameter_count(&self) -> usize {
        parameter_counts(self).iter().map(|count| count.count).sum()
    }

    /// What can be told of it without running it.
    ///
    /// # Errors
    /// What [`Model::open`] returns, for files that have changed since.
    pub fn info(&self) -> Result<ModelInfo, Error> {
        let (config, path) = (self.config().clone(), self.path());
        let counts = parameter_counts(self);
        let parameters_total = counts.iter().map(|count| count.count).sum();
        let cache_bytes_per_token = 2 * 4 * config.n_layers * config.n_kv_heads * config.d_head;
        Ok(ModelInfo {
            path: path.display().to_string(),
            source: self.source(),
            stored: stored_weights(path)?,
            architecture: architecture(&config),
            parameters: counts,
            parameters_total,
            tokenizer: tokenizer_info(self)?,
            weight_bytes: 4 * parameters_total,
            step_bytes: step_sizes(&config),
            cache_bytes_per_token,
            cache: cache_sizes(&config, cache_bytes_per_token),
            cache_bytes_at_most: match config.context_limit() {
                Some(_) => None,
                None => u64::try_from(memory::cache_bytes(&config)).ok(),
            },
            training: training_info(path),
            exports: exports(self),
            has_chat_template: self.chat_template().is_some(),
            hashes: hashes(path)?,
            notes: self.notes().to_vec(),
            config,
        })
    }
}

/// In a line: the family, and what is unlike it.
fn architecture(config: &GptConfig) -> String {
    use tril_model::{MlpKind, NormKind, Positions};
    let family = match (config.positions, config.norm, config.qk_norm, config.mlp) {
        (Positions::Learned, NormKind::Layer, false, MlpKind::Gelu | MlpKind::GeluTanh) => Some("GPT-2"),
        (Positions::Rotary, NormKind::Rms, true, MlpKind::Swiglu) => Some("Qwen3"),
        (Positions::Rotary, NormKind::Rms, false, MlpKind::Swiglu) => {
            Some(if config.window > 0 && config.window < config.max_seq_len { "Mistral" } else { "Llama" })
        }
        (Positions::Rotary, NormKind::Rms, false, MlpKind::Relu2) => Some("Arcee"),
        _ => None,
    };
    let positions = if config.positions == Positions::Learned { "learned positions" } else { "rotary positions" };
    let norm = match (config.norm, config.norm_gain) {
        (NormKind::Layer, true) => "layer norms",
        (NormKind::Layer, false) => "layer norms without gain",
        (NormKind::Rms, true) => "RMS norms",
        (NormKind::Rms, false) => "RMS norms without gain",
    };
    let mlp = match config.mlp {
        MlpKind::Gelu => "exact GELU",
        MlpKind::GeluTanh => "GELU by tanh",
        MlpKind::Relu2 => "squared ReLU",
        MlpKind::Swiglu => "SwiGLU",
    };
    let mut parts = vec![positions.to_owned(), norm.to_owned(), mlp.to_owned()];
    parts.extend(config.qk_norm.then(|| "query-key norm".to_owned()));
    parts.extend((config.window > 0).then(|| format!("window {}", config.window)));
    parts.push(if config.tied_head { "tied head".to_owned() } else { "head of its own".to_owned() });
    let parts = parts.join(", ");
    family.map_or(parts.clone(), |family| format!("{family}'s form: {parts}"))
}

fn parameter_counts(model: &Model) -> Vec<ParameterCount> {
    const KINDS: [&str; 6] = ["token embedding", "position embedding", "attention", "MLP", "norms", "head"];
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for (path, data) in parameters::list(&**model.gpt()) {
        let kind = match path.as_str() {
            path if path.starts_with("token_embedding") => KINDS[0],
            path if path.starts_with("position_embedding") => KINDS[1],
            path if path.contains("norm.") => KINDS[4],
            path if path.contains(".attention.") => KINDS[2],
            path if path.contains(".mlp.") => KINDS[3],
            _ => KINDS[5],
        };
        *counts.entry(kind).or_default() += data.num_elements();
    }
    KINDS.iter().filter_map(|kind| counts.get(kind).map(|count| ParameterCount { kind, count: *count })).collect()
}

fn tokenizer_info(model: &Model) -> Result<TokenizerInfo, Error> {
    let tokenizer = model.tokenizer();
    let json: Value = serde_json::from_str(&tokenizer.to_json()?).unwrap_or_default();
    let count = |pointer: &str| json.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len);
    let added = json.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    let bounds = tokenizer.bounds();
    Ok(TokenizerInfo {
        model: json.pointer("/model/type").and_then(Value::as_str).unwrap_or("BPE").to_owned(),
        vocab_size: tokenizer.vocab_size(),
        merges: count("/model/merges"),
        special_tokens: added.filter(|token| token.get("special").and_then(Value::as_bool) == Some(true)).count(),
        starts_with: bounds.bos_token_id.or(bounds.eos_token_id).map(|id| tokenizer.token_text(id)),
        ends_with: bounds.eos_token_id.map(|id| tokenizer.token_text(id)),
    })
}

fn step_sizes(config: &GptConfig) -> Vec<StepSize> {
    let size = |weights| {
        let bytes = u64::try_from(memory::step_bytes(config, weights)).unwrap_or(u64::MAX);
        StepSize { weights, bytes }
    };
    [WeightFormat::F32, WeightFormat::Bf16, WeightFormat::Int8].map(size).to_vec()
}

/// Lengths that double up to the context, and the context itself.
fn cache_sizes(config: &GptConfig, bytes_per_token: usize) -> Vec<CacheSize> {
    let mut lengths: Vec<usize> = std::iter::successors(Some(SHORTEST), |length| length.checked_mul(2))
        .take_while(|length| *length < config.max_seq_len)
        .collect();
    lengths.push(config.max_seq_len);
    let most = usize::try_from(memory::cache_bytes(config)).unwrap_or(usize::MAX);
    lengths
        .into_iter()
        .map(|tokens| CacheSize { tokens, bytes: tokens.saturating_mul(bytes_per_token).min(most) })
        .collect()
}

/// What a run wrote into its checkpoint, where it is one of a run.
fn training_info(path: &Path) -> Option<TrainingInfo> {
    let recipe = Recipe::open(path.join("config.toml")).ok()?;
    let progress: TrainProgress = RunDir::progress(path).ok()?;
    let tokens = progress.step * recipe.train.batch_size as u64 * recipe.train.seq_len as u64;
    Some(TrainingInfo {
        data: recipe.data.source.clone(),
        steps: progress.step,
        steps_in_all: recipe.train.steps,
        tokens,
        best_loss: progress.best.map(|best| best.loss),
        best_step: progress.best.map(|best| best.step),
    })
}

fn exports(model: &Model) -> Vec<ExportFit> {
    let fit = |format: ExportFormat| {
        let options = ExportOptions { format, data_type: DataType::F32, gelu: Gelu::AsItIs };
        let misfits = check(&model.exportable(), options);
        ExportFit { format, fits: misfits.is_empty(), reasons: misfits.iter().map(ToString::to_string).collect() }
    };
    ExportFormat::ALL.into_iter().map(fit).collect()
}

fn hashes(path: &Path) -> Result<Hashes, Error> {
    let model = tril_train::model_sha256(path)?;
    let has_optimizer = path.join(checkpoint::WEIGHTS).exists() && path.join("optimizer.safetensors").exists();
    let optimizer = if has_optimizer { Some(tril_train::CheckpointHashes::of(path)?.optimizer) } else { None };
    Ok(Hashes { model, optimizer })
}
