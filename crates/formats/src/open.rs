//! Where a model lies, whatever it is: a checkpoint of this toolkit, a Hugging Face directory or a GGUF file.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use serde::Serialize;
use tril_model::{Gpt, GptConfig, ModelError, checkpoint};
use tril_text::{TextBounds, TextError, Tokenizer};

use crate::error::{FormatError, is_lfs_pointer};
use crate::{Architecture, gguf, hugging_face};

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A checkpoint's directory.
    Checkpoint,
    /// A directory whose `config.json` names its `model_type`.
    HuggingFace,
    /// A file that begins with `GGUF`.
    Gguf,
}

/// All that belongs to a model.
#[derive(Debug)]
pub struct Opened {
    /// The network.
    pub gpt: Gpt,
    /// With the bounds of texts, and a token for each row of the embedding.
    pub tokenizer: Tokenizer,
    /// How a chat becomes a text, as a Jinja template.
    pub chat_template: Option<String>,
    /// The `tokenizer_config.json` of a Hugging Face directory, for exporting it again.
    pub tokenizer_config: Option<String>,
    /// What it was read from.
    pub source: Source,
    /// What was left out or changed, each in a sentence.
    pub notes: Vec<String>,
}

/// What a path leads to; a checkpoint where it is nothing else, so that opening it says what is missing.
#[must_use]
pub fn source(path: &Path) -> Source {
    if path.is_dir() {
        if hugging_face::is_one(path) { Source::HuggingFace } else { Source::Checkpoint }
    } else if gguf::is_one(path) || is_pointer(path) {
        Source::Gguf
    } else {
        Source::Checkpoint
    }
}

/// Whether a path leads to a model of another tool.
#[must_use]
pub fn is_foreign(path: &Path) -> bool {
    source(path) != Source::Checkpoint
}

/// Whether a path leads to a model of another tool that this toolkit wrote.
#[must_use]
pub fn is_export(path: &Path) -> bool {
    match source(path) {
        Source::HuggingFace => hugging_face::is_export(path),
        Source::Gguf => gguf::is_export(path),
        Source::Checkpoint => false,
    }
}

/// Whether git-LFS has left its note there.
fn is_pointer(path: &Path) -> bool {
    let is_small = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.len() < 1024);
    is_small && std::fs::read(path).is_ok_and(|bytes| is_lfs_pointer(&bytes))
}

/// Opens a model with its tokenizer.
///
/// # Errors
/// [`FormatError`]: what is missing, damaged, contradicts itself or is not computed here.
pub fn open(path: &Path, device: &Device) -> Result<Opened, FormatError> {
    open_shortened(path, None, device)
}

/// As [`open`], with a context of at most `max_seq_len` tokens, where a model of another tool has rotary positions.
///
/// # Errors
/// As [`open`]; [`FormatError::Unsupported`] for a model whose positions are learned, and for a checkpoint.
pub fn open_shortened(path: &Path, max_seq_len: Option<usize>, device: &Device) -> Result<Opened, FormatError> {
    match source(path) {
        Source::HuggingFace => hugging_face::open(path, max_seq_len, device),
        Source::Gguf => gguf::open(path, max_seq_len, device),
        Source::Checkpoint if max_seq_len.is_some() => {
            let reason = "the context of a model of another tool is shortened, not that of a checkpoint";
            Err(FormatError::unsupported(path, "max_seq_len", max_seq_len.unwrap_or_default(), reason))
        }
        Source::Checkpoint => {
            check_directory(path)?;
            let gpt = checkpoint::load_model(path, device)?;
            Ok(Opened {
                gpt,
                tokenizer: checkpoint_tokenizer(path)?,
                chat_template: text_of(&path.join(checkpoint::CHAT_TEMPLATE))?,
                tokenizer_config: text_of(&path.join(checkpoint::TOKENIZER_CONFIG))?,
                source: Source::Checkpoint,
                notes: Vec::new(),
            })
        }
    }
}

/// The tokenizer of a model without its weights, or of a directory with `vocab.json` and `merges.txt` alone.
///
/// # Errors
/// As [`open`].
pub fn open_tokenizer(path: &Path) -> Result<Tokenizer, FormatError> {
    match source(path) {
        Source::HuggingFace => {
            let described = hugging_face::describe(path)?;
            Ok(hugging_face::open_tokenizer(path, described.config.vocab_size)?.0)
        }
        Source::Gguf => Ok(gguf::read_tokenizer(path)?.0),
        Source::Checkpoint if hugging_face::is_vocabulary(path) => hugging_face::open_vocabulary(path),
        Source::Checkpoint => {
            check_directory(path)?;
            checkpoint_tokenizer(path)
        }
    }
}

/// Weights without a config are told with what they lack.
fn check_directory(path: &Path) -> Result<(), FormatError> {
    let has = |name: &str| path.join(name).exists();
    if path.is_dir() && !has(checkpoint::CONFIG) && has("pytorch_model.bin") {
        return Err(FormatError::Pickle { path: path.join("pytorch_model.bin") });
    }
    if path.is_file() && !path.join(checkpoint::CONFIG).exists() {
        let detail = "it is a file, and no GGUF file; a checkpoint is a directory".to_owned();
        return Err(ModelError::Missing { path: path.to_owned(), detail }.into());
    }
    Ok(())
}

/// The tokenizer of a checkpoint, with what its model has learnt that texts begin and end with, where that is said.
fn checkpoint_tokenizer(dir: &Path) -> Result<Tokenizer, FormatError> {
    let tokenizer = Tokenizer::open(&dir.join(checkpoint::TOKENIZER))?;
    let path = dir.join(checkpoint::GENERATION);
    match std::fs::read(&path) {
        Ok(json) => {
            let bounds = TextBounds::from_json(&json, &path, &tokenizer)?;
            let bounded = tokenizer.with_bounds(bounds);
            Ok(bounded.map_err(|error| TextError::InvalidBounds { path, reason: error.to_string() })?)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(tokenizer),
        Err(source) => Err(TextError::Unreadable { path, source }.into()),
    }
}

/// The text of a file that may be absent.
fn text_of(path: &Path) -> Result<Option<String>, FormatError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(FormatError::unreadable(path, error)),
    }
}

/// How the weights of a model of another tool lie on the disk.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StoredWeights {
    /// The architecture that its config names.
    pub architecture: Architecture,
    /// The model that it is, with every gain and bias that its file has.
    pub config: GptConfig,
    /// Tensors by how they are stored.
    pub types: BTreeMap<String, usize>,
    /// Bytes of all of them.
    pub bytes: u64,
}

/// What a model of another tool says of itself; none for a checkpoint of this toolkit.
///
/// # Errors
/// As [`open`].
pub fn stored_weights(path: &Path) -> Result<Option<StoredWeights>, FormatError> {
    let (described, tensors) = match source(path) {
        Source::Checkpoint => return Ok(None),
        Source::HuggingFace => {
            let described = hugging_face::describe(path)?;
            let tensors = hugging_face::stored_tensors(path, &described.config)?;
            (described, tensors)
        }
        Source::Gguf => (gguf::describe(path)?, gguf::stored_tensors(path)?),
    };
    let mut types = BTreeMap::new();
    tensors.iter().for_each(|tensor| *types.entry(tensor.type_name.clone()).or_default() += 1);
    let bytes = tensors.iter().map(|tensor| tensor.bytes as u64).sum();
    Ok(Some(StoredWeights { architecture: described.form.architecture, config: described.config, types, bytes }))
}
