//! The checkpoint directory: `config.json`, `tokenizer.json`, `model.safetensors` and what resuming needs.
//!
//! Written with [`files::write_dir`], it appears whole or not at all.

use std::path::{Path, PathBuf};

use burn::tensor::Device;

use crate::parameters::{self, Init, WeightSource};
use crate::tensor_file::{NamedTensors, read_tensors, tensors_to_bytes};
use crate::{Gpt, GptConfig, ModelError, files, memory};

/// The model's config, as JSON.
pub const CONFIG: &str = "config.json";
/// The tokenizer, in the Hugging Face format. This crate never opens it.
pub const TOKENIZER: &str = "tokenizer.json";
/// What texts begin and end with, as ids, in the form of Hugging Face; may be absent. This crate never opens it.
pub const GENERATION: &str = "generation_config.json";
/// How a chat becomes a text, as a Jinja template; in checkpoints of models that came with one.
pub const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// What a tokenizer was to transformers; in checkpoints of models that came from there. This crate never opens it.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// The parameters, and nothing else.
pub const WEIGHTS: &str = "model.safetensors";

/// The files that make a model: `config.json` and `model.safetensors`, ready for [`files::write_dir`].
///
/// The same weights give the same bytes: tensors in a fixed order, no metadata.
///
/// # Errors
/// [`ModelError::Serialize`].
pub fn model_files(model: &Gpt) -> Result<Vec<(&'static str, Vec<u8>)>, ModelError> {
    let config = serde_json::to_string_pretty(model.config())
        .map_err(|source| ModelError::Serialize { what: CONFIG, source: source.into() })?;
    Ok(vec![(CONFIG, (config + "\n").into_bytes()), (WEIGHTS, tensors_to_bytes(&parameters::list(model))?)])
}

/// Reads a model back from its checkpoint directory.
///
/// # Errors
/// [`ModelError::Missing`] without the files, [`ModelError::Corrupt`] where they are damaged or do not fit together.
pub fn load_model(dir: &Path, device: &Device) -> Result<Gpt, ModelError> {
    let config = load_config(dir)?;
    let sizes = "its sizes, for the weights, and max_seq_len or window, for the cache of one sequence";
    memory::check(sizes, 4 * memory::parameter_count(&config) + memory::cache_bytes(&config))
        .map_err(|error| ModelError::corrupt(&dir.join(CONFIG), error))?;
    load_weights(&dir.join(WEIGHTS), config, device)
}

/// Reads the parameters of a model of this config from a file.
///
/// # Errors
/// As [`load_model`].
pub fn load_weights(path: &Path, config: GptConfig, device: &Device) -> Result<Gpt, ModelError> {
    let mut source = FileSource { path: path.to_owned(), tensors: read_tensors(path)? };
    let model = Gpt::from_source(config, &mut source, device)?;
    if let Some(name) = source.tensors.keys().next() {
        let detail = format!("it holds `{name}`, which the model of {CONFIG} does not have");
        return Err(ModelError::corrupt(path, detail));
    }
    Ok(model)
}

/// Reads and checks a checkpoint's config.
///
/// # Errors
/// As [`load_model`].
pub fn load_config(dir: &Path) -> Result<GptConfig, ModelError> {
    for name in [CONFIG, WEIGHTS, TOKENIZER] {
        if !dir.join(name).is_file() {
            let detail = match dir {
                dir if dir.is_dir() => format!("it has no {name}"),
                dir if dir.exists() => "it is a file, and a checkpoint is a directory".into(),
                _ => "there is no such directory".into(),
            };
            return Err(ModelError::Missing { path: dir.to_owned(), detail });
        }
    }
    let path = dir.join(CONFIG);
    let text = String::from_utf8_lossy(&files::read(&path)?).into_owned();
    let config: GptConfig = serde_json::from_str(&text).map_err(|error| ModelError::corrupt(&path, error))?;
    config.resolve().map_err(|error| ModelError::corrupt(&path, error))
}

/// Takes parameters out of a checkpoint's tensors; what is left over belongs to no parameter.
struct FileSource {
    path: PathBuf,
    tensors: NamedTensors,
}

impl WeightSource for FileSource {
    fn values(&mut self, path: &str, shape: &[usize], _init: Init) -> Result<Vec<f32>, ModelError> {
        let corrupt = |detail: String| ModelError::corrupt(&self.path, detail);
        match self.tensors.remove(path) {
            None => Err(corrupt(format!("it lacks `{path}`, which the model of {CONFIG} has"))),
            Some((found, _)) if found != shape => {
                Err(corrupt(format!("`{path}` has shape {found:?}, but {CONFIG} asks for {shape:?}")))
            }
            Some((_, values)) => Ok(values),
        }
    }
}
