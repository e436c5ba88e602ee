//! GGUF, the file of llama.cpp: metadata, tensors and tokenizer in one. The format is described in
//! `ggml/docs/gguf.md` of github.com/ggml-org/ggml.

mod config;
mod container;
mod export;
mod read_tokenizer;
mod sentence_piece;
mod tokenizer;

use std::path::Path;

use burn::tensor::Device;
use tril_text::{TextBounds, Tokenizer};

pub(crate) use container::is_one;
pub(crate) use export::file;
pub(crate) use tokenizer::{TargetTokens, target_tokens};

use crate::error::FormatError;
use crate::tensors::TensorStore;
use crate::weights::{Described, load};
use crate::{Opened, Source};
use container::GgufFile;

/// Whether this toolkit wrote a file, which its metadata say.
pub(crate) fn is_export(path: &Path) -> bool {
    GgufFile::read(path).is_ok_and(|file| file.text(&config::own_key()).is_some())
}

/// What the metadata of a file says, and nothing of its weights.
pub(crate) fn describe(path: &Path) -> Result<Described, FormatError> {
    config::read(&GgufFile::read(path)?)
}

/// Opens all of a file.
pub(crate) fn open(path: &Path, max_seq_len: Option<usize>, device: &Device) -> Result<Opened, FormatError> {
    let file = GgufFile::read(path)?;
    let described = config::read(&file)?.shortened(max_seq_len, path)?;
    let (tokenizer, notes) = open_tokenizer(&file, described.config.vocab_size)?;
    let mut store = TensorStore::default();
    store.add_file(path);
    for tensor in &file.tensors {
        store.add(tensor.full_name.clone(), tensor.clone())?;
    }
    let gpt = load(store, &described, path, device)?;
    let chat_template = file.text("tokenizer.chat_template").map(str::to_owned);
    Ok(Opened { gpt, tokenizer, chat_template, tokenizer_config: None, source: Source::Gguf, notes })
}

/// How the tensors of a file are stored, by their names.
pub(crate) fn stored_tensors(path: &Path) -> Result<Vec<crate::tensors::StoredTensor>, FormatError> {
    Ok(GgufFile::read(path)?.tensors)
}

/// The tokenizer of a file without its weights.
pub(crate) fn read_tokenizer(path: &Path) -> Result<(Tokenizer, Vec<String>), FormatError> {
    let file = GgufFile::read(path)?;
    let described = config::read(&file)?;
    open_tokenizer(&file, described.config.vocab_size)
}

fn open_tokenizer(file: &GgufFile, vocab_size: usize) -> Result<(Tokenizer, Vec<String>), FormatError> {
    let mut json = read_tokenizer::json(file)?;
    crate::hugging_face::pad_tokenizer(&mut json, vocab_size, &file.path)?;
    let tokenizer = Tokenizer::from_json(&json.to_string(), &file.path)?;
    let mut notes = Vec::new();
    let mut bounds = TextBounds { bos_token_id: None, eos_token_id: tokenizer.end_of_text() };
    for (field, bound) in [
        ("tokenizer.ggml.bos_token_id", &mut bounds.bos_token_id),
        ("tokenizer.ggml.eos_token_id", &mut bounds.eos_token_id),
    ] {
        match file.size(field)? {
            Some(id) if id < vocab_size => *bound = u32::try_from(id).ok(),
            Some(id) => notes
                .push(format!("{field} = {id} is no token of the {vocab_size} that the model has, and is left out")),
            None => {}
        }
    }
    // Where texts begin with what ends them, that is said once.
    if bounds.bos_token_id == bounds.eos_token_id {
        bounds.bos_token_id = None;
    }
    Ok((tokenizer.with_bounds(bounds)?, notes))
}
