//! Hugging Face directories: `config.json`, `model.safetensors` (in shards or not), a tokenizer, and what it says of texts.

pub(crate) mod config;
mod export;
mod fields;
mod tokenizer;
mod weights;

use std::path::Path;

use burn::tensor::Device;
use serde_json::Value;
use tril_model::checkpoint::{CHAT_TEMPLATE, TOKENIZER_CONFIG};
use tril_model::{Gpt, checkpoint};
use tril_text::{TextBounds, Tokenizer};

pub(crate) use export::files;
pub(crate) use fields::Fields;
pub(crate) use tokenizer::{QWEN_WORDS, pad as pad_tokenizer};

use crate::error::{FormatError, read_file};
use crate::weights::{Described, load};
use crate::{Opened, Source};

/// Whether a directory's `config.json` is of this kind: it names its `model_type`, ours does not.
pub(crate) fn is_one(dir: &Path) -> bool {
    let Ok(bytes) = std::fs::read(dir.join(checkpoint::CONFIG)) else { return false };
    crate::error::is_lfs_pointer(&bytes)
        || serde_json::from_slice::<Value>(&bytes).is_ok_and(|config| config.get("model_type").is_some())
}

/// Whether this toolkit wrote a directory, which its config says.
pub(crate) fn is_export(dir: &Path) -> bool {
    Fields::read(&dir.join(checkpoint::CONFIG)).is_ok_and(|fields| fields.get(config::OWN_CONFIG).is_some())
}

/// What the config of a directory says, and nothing of its weights.
pub(crate) fn describe(dir: &Path) -> Result<Described, FormatError> {
    config::read(&Fields::read(&dir.join(checkpoint::CONFIG))?)
}

/// Loads the network of a directory, whether or not it has a tokenizer.
///
/// # Errors
/// [`FormatError`] for files that are missing, damaged or contradict each other, and for what is not computed here.
pub fn load_gpt(dir: &Path, device: &Device) -> Result<Gpt, FormatError> {
    let described = describe(dir)?;
    let store = weights::open(dir, &described.config)?;
    load(store, &described, &dir.join(checkpoint::CONFIG), device)
}

/// Opens all of a directory.
pub(crate) fn open(dir: &Path, max_seq_len: Option<usize>, device: &Device) -> Result<Opened, FormatError> {
    let described = describe(dir)?.shortened(max_seq_len, &dir.join(checkpoint::CONFIG))?;
    // What is small and often wrong comes before what is large: headers, tokenizer, numbers.
    let store = weights::open(dir, &described.config)?;
    let (tokenizer, notes) = open_tokenizer(dir, described.config.vocab_size)?;
    let gpt = load(store, &described, &dir.join(checkpoint::CONFIG), device)?;
    let chat_template = chat_template(dir)?;
    let tokenizer_config = optional(&dir.join(TOKENIZER_CONFIG))?;
    Ok(Opened { gpt, tokenizer, chat_template, tokenizer_config, source: Source::HuggingFace, notes })
}

/// The tokenizer with the bounds of texts, and with a token for each row of the embedding.
pub(crate) fn open_tokenizer(dir: &Path, vocab_size: usize) -> Result<(Tokenizer, Vec<String>), FormatError> {
    let (json, origin) = tokenizer::json(dir, Some(vocab_size))?;
    let tokenizer = Tokenizer::from_json(&json, &origin)?;
    let mut notes = Vec::new();
    let mut bounds = TextBounds { bos_token_id: None, eos_token_id: tokenizer.end_of_text() };
    // The config of generation is the younger of the two; what it leaves out, the model's says.
    for name in [checkpoint::CONFIG, checkpoint::GENERATION] {
        let path = dir.join(name);
        if !path.exists() {
            continue;
        }
        let fields = Fields::read(&path)?;
        for (field, bound) in [("bos_token_id", &mut bounds.bos_token_id), ("eos_token_id", &mut bounds.eos_token_id)] {
            let Some(value) = fields.get(field) else { continue };
            let ids = match value {
                Value::Array(ids) => ids.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>(),
                one => one.as_u64().map(|id| vec![id]),
            };
            let ids = ids.ok_or_else(|| fields.unsupported(field, "a token id belongs there"))?;
            let (known, unknown): (Vec<u64>, Vec<u64>) = ids.into_iter().partition(|id| *id < vocab_size as u64);
            for id in unknown {
                notes.push(format!(
                    "{name}: {field} = {id} is no token of the {vocab_size} that the model has, and is left out"
                ));
            }
            if let Some(first) = known.first().and_then(|id| u32::try_from(*id).ok()) {
                *bound = Some(first);
            }
            if known.len() > 1 {
                notes.push(format!(
                    "{name}: {field} names {} tokens; the first of them, {}, ends a text",
                    known.len(),
                    known[0]
                ));
            }
        }
    }
    notes.sort();
    notes.dedup();
    Ok((tokenizer.with_bounds(bounds)?, notes))
}

/// Whether a directory has GPT-2's two files of a tokenizer, and no model.
pub(crate) fn is_vocabulary(dir: &Path) -> bool {
    let has = |name: &str| dir.join(name).exists();
    has("vocab.json") && has("merges.txt") && !has(checkpoint::TOKENIZER) && !has(checkpoint::CONFIG)
}

/// The tokenizer of such a directory.
pub(crate) fn open_vocabulary(dir: &Path) -> Result<Tokenizer, FormatError> {
    let (json, origin) = tokenizer::json(dir, None)?;
    Ok(Tokenizer::from_json(&json, &origin)?)
}

/// The template of a chat, from a file of its own or from the tokenizer's config.
fn chat_template(dir: &Path) -> Result<Option<String>, FormatError> {
    let path = dir.join(CHAT_TEMPLATE);
    if path.exists() {
        return Ok(Some(String::from_utf8_lossy(&read_file(&path)?).into_owned()));
    }
    let path = dir.join(TOKENIZER_CONFIG);
    if !path.exists() {
        return Ok(None);
    }
    let fields = Fields::read(&path)?;
    Ok(match fields.get("chat_template") {
        Some(Value::String(template)) => Some(template.clone()),
        // Several by name: the default is the one for a chat.
        Some(Value::Array(templates)) => templates
            .iter()
            .find(|template| template.get("name").and_then(Value::as_str) == Some("default"))
            .and_then(|template| template.get("template")?.as_str())
            .map(str::to_owned),
        _ => None,
    })
}

/// The text of a file that may be absent.
fn optional(path: &Path) -> Result<Option<String>, FormatError> {
    if !path.exists() {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&read_file(path)?).into_owned()))
}

/// How the tensors of a directory are stored.
pub(crate) fn stored_tensors(
    dir: &Path,
    config: &tril_model::GptConfig,
) -> Result<Vec<crate::tensors::StoredTensor>, FormatError> {
    Ok(weights::open(dir, config)?.tensors().cloned().collect())
}
