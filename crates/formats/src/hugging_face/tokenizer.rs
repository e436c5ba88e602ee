//! The tokenizer of a directory as the text of one tokenizer.json: the file itself, or `vocab.json` and `merges.txt`.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tril_model::checkpoint::{self, TOKENIZER_CONFIG};

use super::Fields;
use crate::error::{FormatError, read_file};

/// Ids beyond the vocabulary are padding; more than this are not.
const MAX_PADDING: usize = 65_536;
/// How Qwen's tokenizers cut a text into words (Qwen2Tokenizer).
pub(crate) const QWEN_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The text of the tokenizer.json, with a token for each of the model's ids, and the file that it comes from.
///
/// - vocab_size: ids of the model; none for the tokenizer alone
pub(super) fn json(dir: &Path, vocab_size: Option<usize>) -> Result<(String, PathBuf), FormatError> {
    let path = dir.join(checkpoint::TOKENIZER);
    let (mut tokenizer, origin) = if path.exists() {
        let bytes = read_file(&path)?;
        let tokenizer: Value = serde_json::from_slice(&bytes)
            .map_err(|error| FormatError::damaged(&path, format!("it is no JSON: {error}; restore it from a copy")))?;
        (tokenizer, path)
    } else {
        let vocab = dir.join("vocab.json");
        if !vocab.exists() {
            return Err(missing(dir));
        }
        (of_vocab_and_merges(dir)?, vocab)
    };
    if let Some(vocab_size) = vocab_size {
        pad(&mut tokenizer, vocab_size, &origin)?;
    }
    let text = serde_json::to_string(&tokenizer)
        .map_err(|error| FormatError::damaged(&origin, format!("it cannot be written again: {error}")))?;
    Ok((text, origin))
}

fn missing(dir: &Path) -> FormatError {
    let reason = if dir.join("tokenizer.model").exists() {
        "its tokenizer.model (SentencePiece) is not read; write a tokenizer.json beside it: python -c \"from transformers \
         import AutoTokenizer as T; T.from_pretrained('DIR').save_pretrained('DIR')\""
    } else {
        "it has no tokenizer.json, and no vocab.json with merges.txt; put the tokenizer of the model there"
    };
    FormatError::Tokenizer { path: dir.to_owned(), reason: reason.to_owned() }
}

/// GPT-2's two files, as its class in transformers reads them.
fn of_vocab_and_merges(dir: &Path) -> Result<Value, FormatError> {
    let vocab_path = dir.join("vocab.json");
    let vocab: Map<String, Value> = serde_json::from_slice(&read_file(&vocab_path)?).map_err(|error| {
        FormatError::damaged(&vocab_path, format!("it is no JSON object: {error}; restore it from a copy"))
    })?;
    let merges_path = dir.join("merges.txt");
    if !merges_path.exists() {
        let reason = "it has vocab.json and no merges.txt; a byte-pair tokenizer needs both".to_owned();
        return Err(FormatError::Tokenizer { path: dir.to_owned(), reason });
    }
    let text = String::from_utf8_lossy(&read_file(&merges_path)?).into_owned();
    let merges = merges(&text, &merges_path)?;
    let config = dir.join(TOKENIZER_CONFIG);
    let config = if config.exists() { Some(Fields::read(&config)?) } else { None };
    let class = match &config {
        Some(fields) => fields.text("tokenizer_class")?.map(str::to_owned),
        None => None,
    };
    let byte_level = |use_regex: bool, add_prefix_space: bool| json!({"type": "ByteLevel", "add_prefix_space": add_prefix_space, "trim_offsets": true, "use_regex": use_regex});
    let prefix_space = match &config {
        Some(fields) => fields.flag("add_prefix_space", false)?,
        None => false,
    };
    let (normalizer, pre_tokenizer) = match class.as_deref() {
        None | Some("GPT2Tokenizer" | "GPT2TokenizerFast") => (Value::Null, byte_level(true, prefix_space)),
        Some("Qwen2Tokenizer" | "Qwen2TokenizerFast") => {
            let split =
                json!({"type": "Split", "pattern": {"Regex": QWEN_WORDS}, "behavior": "Isolated", "invert": false});
            let words = json!({"type": "Sequence", "pretokenizers": [split, byte_level(false, prefix_space)]});
            (json!({"type": "NFC"}), words)
        }
        Some(other) => {
            return Err(FormatError::unsupported(
                &dir.join(TOKENIZER_CONFIG),
                "tokenizer_class",
                other,
                "with vocab.json and merges.txt GPT2Tokenizer and Qwen2Tokenizer are read; write a tokenizer.json with transformers",
            ));
        }
    };
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added_tokens(&vocab, config.as_ref()),
        "normalizer": normalizer,
        "pre_tokenizer": pre_tokenizer,
        "post_processor": null,
        "decoder": byte_level(true, true),
        "model": {
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "vocab": vocab,
            "merges": merges,
        },
    }))
}

/// A line a merge: two tokens with a space between them. The first line may be a version.
fn merges(text: &str, path: &Path) -> Result<Vec<Value>, FormatError> {
    let lines = text
        .lines()
        .enumerate()
        .filter(|(number, line)| !(line.is_empty() || *number == 0 && line.starts_with("#version")));
    lines
        .map(|(number, line)| match line.split_once(' ') {
            Some((left, right)) if !left.is_empty() && !right.is_empty() && !right.contains(' ') => {
                Ok(json!([left, right]))
            }
            _ => Err(FormatError::damaged(
                path,
                format!("line {}: it is no pair of tokens; restore it from a copy", number + 1),
            )),
        })
        .collect()
}

/// The special tokens: those that the config lists, else the one that GPT-2 has.
fn added_tokens(vocab: &Map<String, Value>, config: Option<&Fields>) -> Vec<Value> {
    let token = |id: u64, content: &str, special: bool| json!({"id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": special});
    let listed = config.and_then(|config| config.get("added_tokens_decoder")).and_then(Value::as_object);
    let mut added: Vec<(u64, Value)> = listed
        .into_iter()
        .flatten()
        .filter_map(|(id, added)| {
            let (id, content) = (id.parse().ok()?, added.get("content")?.as_str()?);
            Some((id, token(id, content, added.get("special").and_then(Value::as_bool).unwrap_or(true))))
        })
        .collect();
    if added.is_empty() {
        let name = config
            .and_then(|config| config.get("eos_token"))
            .and_then(|eos| eos.as_str().or_else(|| eos.get("content")?.as_str()).map(str::to_owned));
        let name = name.unwrap_or_else(|| "<|endoftext|>".to_owned());
        added.extend(vocab.get(&name).and_then(Value::as_u64).map(|id| (id, token(id, &name, true))));
    }
    added.sort_by_key(|(id, _)| *id);
    added.into_iter().map(|(_, token)| token).collect()
}

/// Gives the rows of an embedding that stand for no token a name each, so that every id of the model has a token: rows are
/// often padded to a round number.
pub(crate) fn pad(tokenizer: &mut Value, vocab_size: usize, origin: &Path) -> Result<(), FormatError> {
    let in_model = match tokenizer.pointer("/model/vocab") {
        Some(Value::Object(vocab)) => vocab.values().filter_map(Value::as_u64).max().map_or(0, |id| id + 1),
        // Of a Unigram model: pairs of a token and its score, in order.
        Some(Value::Array(vocab)) => vocab.len() as u64,
        _ => return Ok(()), // What it is, the reader of tokenizers says.
    };
    let added = tokenizer.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    let added = added.filter_map(|token| token.get("id")?.as_u64()).max().map_or(0, |id| id + 1);
    let tokens = in_model.max(added) as usize;
    if tokens > vocab_size {
        return Err(FormatError::Tokenizer {
            path: origin.to_owned(),
            reason: format!(
                "it has {tokens} tokens, but the model has rows for vocab_size = {vocab_size}; one of them is another model's"
            ),
        });
    }
    if vocab_size - tokens > MAX_PADDING {
        return Err(FormatError::Tokenizer {
            path: origin.to_owned(),
            reason: format!(
                "it has {tokens} tokens, far fewer than the vocab_size = {vocab_size} of the model; one of them is another model's"
            ),
        });
    }
    if tokens == vocab_size {
        return Ok(());
    }
    let padding = (tokens..vocab_size).map(|id| {
        json!({"id": id, "content": format!("[PAD{id}]"), "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
    });
    match tokenizer.get_mut("added_tokens").and_then(Value::as_array_mut) {
        Some(added) => added.extend(padding),
        None => tokenizer["added_tokens"] = padding.collect(),
    }
    Ok(())
}
