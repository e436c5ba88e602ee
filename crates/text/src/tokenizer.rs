//! Text ⇄ token ids. One wrapper around the `tokenizers` library for every kind, stored as a standard tokenizer.json.
//! How tokenizers are made is in `build`, encoding in `encode`, what an id stands for in `table`, decoding as ids arrive in
//! `stream`.

mod bounds;
mod build;
mod check;
mod chunks;
mod decode;
mod encode;
mod losses;
mod pairs;
mod table;
mod words;

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokenizers::{ModelWrapper, PreTokenizerWrapper};

use crate::error::TextError;
use crate::guard::guard;
use crate::plain::text_from_bytes;
pub use bounds::TextBounds;
pub use build::byte_alphabet;
use chunks::Cuts;
pub use chunks::word_border;
pub(crate) use decode::after_common;
pub use losses::UnknownCharacters;
use pairs::Pairs;
use table::TokenTable;
use words::WordCache;

/// The end-of-text token that this toolkit writes.
const END_OF_TEXT: &str = "<|endoftext|>";
/// Names by which an end-of-text token is known in a tokenizer.json, best first.
const END_OF_TEXT_NAMES: [&str; 4] = [END_OF_TEXT, "<|end_of_text|>", "</s>", "<eos>"];

/// How many unknown characters an error message names.
const MAX_NAMED: usize = 8;

/// Which tokenizer to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TokenizerConfig {
    /// What a token is.
    pub kind: TokenizerKind,
    /// Number of tokens to learn, bytes and end of text included; read by kind `bpe` only. At least 256, or 257 with
    /// `end_of_text`. A short text may yield fewer.
    pub vocab_size: usize,
    /// A tokenizer.json; read by kind `file` only.
    pub path: String,
    /// Whether a token `<|endoftext|>` closes each document. It gets the last id. A tokenizer of kind `file` has one
    /// or has none, whatever this says; asking for one that the file lacks is an error.
    pub end_of_text: bool,
}

impl Default for TokenizerConfig {
    fn default() -> Self {
        Self { kind: TokenizerKind::Char, vocab_size: 512, path: String::new(), end_of_text: false }
    }
}

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenizerKind {
    /// A character of the corpus; ids in code point order, as in nanoGPT.
    Char,
    /// A byte of UTF-8; id = value of the byte.
    Byte,
    /// A frequent run of bytes within a word, learnt from the corpus by byte-pair encoding as in GPT-2.
    Bpe,
    /// Whatever an existing tokenizer.json says.
    File,
}

/// Whether a token that ends documents is added to a new vocabulary.
#[derive(Clone, Copy)]
enum EndOfText {
    Absent,
    Last,
}

/// Text to token ids and back.
///
/// Kinds `char`, `byte` and `bpe` are lossless: `decode(encode(text))` is the text, for every text that they can
/// encode, and `byte` and `bpe` can encode every text. A tokenizer from a file does what the file says; its truncation,
/// padding and dropout are switched off, because they would lose text or make ids random.
#[derive(Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    table: TokenTable,
    end_of_text: Option<u32>,
    /// What an empty prompt stands for, where a model has learnt no text that begins as others do.
    start: Option<u32>,
    /// Whether a prompt begins with that too, as the file's template says: models of others have seen every text so.
    starts_prompts: bool,
    /// The only characters that can be encoded, where a character that is not among them would vanish silently.
    alphabet: Option<HashSet<char>>,
    /// Whether other characters that it lacks vanish too, so that each text has to be looked through.
    drops_characters: bool,
    /// The token that stands for characters that the vocabulary lacks.
    unknown: Option<u32>,
    cuts: Cuts,
    /// Words of GPT-2's pattern that have been encoded; none where words are others.
    words: Option<Arc<WordCache>>,
    /// The file that it was read from, for messages.
    origin: Option<PathBuf>,
}

/// What a panic of the library means.
fn damaged(message: String) -> String {
    format!("it is damaged in a way that the library does not expect ({message})")
}

impl Tokenizer {
    /// Makes the tokenizer that `config` asks for; `documents` are the texts to learn the vocabulary from (kinds
    /// `char` and `bpe`). The same documents in the same order give the same tokenizer.
    ///
    /// # Errors
    ///
    /// `NoCharacters` (kind `char`, no text), `VocabSizeTooSmall` (kind `bpe`), and with kind `file` `NoTokenizerPath`,
    /// `NoEndOfText` and what [`Tokenizer::open`] returns.
    pub fn build(config: &TokenizerConfig, documents: &[&str]) -> Result<Self, TextError> {
        let end_of_text = if config.end_of_text { EndOfText::Last } else { EndOfText::Absent };
        let mut inner = match config.kind {
            TokenizerKind::Char => build::by_character(documents)?,
            TokenizerKind::Byte => build::by_byte()?,
            TokenizerKind::Bpe => build::by_pairs(documents, config.vocab_size, end_of_text)?,
            TokenizerKind::File => return Self::open_configured(config),
        };
        if let EndOfText::Last = end_of_text {
            build::add_end_of_text(&mut inner);
        }
        Self::wrap(inner).map_err(TextError::library("build"))
    }

    /// Opens any standard tokenizer.json.
    ///
    /// # Errors
    ///
    /// `Unreadable`, and what [`Tokenizer::from_json`] returns.
    pub fn open(path: &Path) -> Result<Self, TextError> {
        let bytes = fs::read(path).map_err(|source| TextError::Unreadable { path: path.to_path_buf(), source })?;
        let json = text_from_bytes(bytes, path).map_err(|error| TextError::InvalidTokenizer {
            path: path.to_path_buf(),
            reason: error.encoding_fault(),
        })?;
        Self::from_json(&json, path)
    }

    /// Reads the text of a standard tokenizer.json; `origin` is for error messages.
    ///
    /// # Errors
    ///
    /// `InvalidTokenizer`: not JSON, not a tokenizer that the `tokenizers` library 0.22 knows, or no token in it.
    pub fn from_json(json: &str, origin: &Path) -> Result<Self, TextError> {
        let invalid = |reason: String| TextError::InvalidTokenizer { path: origin.to_path_buf(), reason };
        let file = check::check(json).map_err(invalid)?;
        let declared = Declared::deserialize(&file).map_err(|error| invalid(error.to_string()))?;
        drop(file);
        let read = || -> Result<Self, String> {
            let mut inner: tokenizers::Tokenizer = json.parse().map_err(|error| format!("{error}"))?;
            declared.check(&inner)?;
            inner.with_padding(None);
            inner.with_truncation(None).map_err(|error| error.to_string())?;
            if let ModelWrapper::BPE(model) = inner.get_model()
                && model.dropout.is_some()
            {
                let mut model = model.clone();
                model.dropout = None;
                inner.with_model(model);
            }
            let tokenizer = Self { origin: Some(origin.to_owned()), ..Self::wrap(inner)? };
            tokenizer.probe()?;
            Ok(tokenizer)
        };
        guard(read).map_err(damaged).and_then(|tokenizer| tokenizer).map_err(invalid)
    }

    /// Tries what most texts need, so that a damaged file is found when it is opened; the error is a reason for a message.
    fn probe(&self) -> Result<(), String> {
        let text = "A tokenizer, tried: é 猫\u{301} 1234\r\n\t\u{0} \u{1f431}.";
        let ids = self.inner.encode(text, false).map_err(|error| error.to_string())?.get_ids().to_vec();
        self.inner.decode(&ids, true).map_err(|error| error.to_string())?;
        Ok(())
    }

    /// What the library returns, or its error or panic, told with the file that it comes from.
    fn library<T>(
        &self,
        action: &'static str,
        call: impl FnOnce(&tokenizers::Tokenizer) -> tokenizers::Result<T>,
    ) -> Result<T, TextError> {
        let call = || call(&self.inner).map_err(|error| error.to_string());
        let result = guard(call).map_err(damaged).and_then(|result| result);
        let from = self.origin.as_ref().map_or(String::new(), |path| format!("{}: ", path.display()));
        result.map_err(|reason| TextError::Library { action, reason: from + &reason })
    }

    /// The text of the tokenizer.json: the same bytes for the same vocabulary.
    ///
    /// # Errors
    ///
    /// `Library` if the `tokenizers` library cannot write it.
    pub fn to_json(&self) -> Result<String, TextError> {
        self.library("save", |inner| inner.to_string(true))
    }

    /// Highest id + 1, added tokens included.
    #[must_use]
    pub fn vocab_size(&self) -> usize {
        self.table.len()
    }

    /// The same tokenizer for a model that has learnt these bounds of texts.
    ///
    /// # Errors
    ///
    /// `UnknownId` for an id beyond the vocabulary.
    pub fn with_bounds(self, bounds: TextBounds) -> Result<Self, TextError> {
        let TextBounds { bos_token_id: start, eos_token_id: end_of_text } = bounds;
        start.into_iter().chain(end_of_text).try_for_each(|id| self.table.entry(id).map(|_| ()))?;
        let bounded = Self { start, end_of_text, ..self };
        let starts_prompts = start.is_some_and(|start| bounded.template_adds(start));
        Ok(Self { starts_prompts, ..bounded })
    }

    /// What texts begin and end with ([`Tokenizer::with_bounds`]), and by itself where that was never said.
    #[must_use]
    pub fn bounds(&self) -> TextBounds {
        TextBounds { bos_token_id: self.start, eos_token_id: self.end_of_text }
    }

    /// The end-of-text token that the vocabulary has, whether or not a model has learnt that texts end with it.
    #[must_use]
    pub fn end_token(&self) -> Option<u32> {
        let named = |name: &&str| self.inner.token_to_id(name).filter(|id| self.is_special(*id));
        self.end_of_text.or_else(|| END_OF_TEXT_NAMES.iter().find_map(named))
    }

    /// Whether the parts of a text that is cut where [`word_border`] says have the tokens of the whole.
    #[must_use]
    pub fn can_be_cut(&self) -> bool {
        self.cuts != Cuts::Nowhere
    }

    /// Id of the token that closes documents: the first special token of the vocabulary that is named
    /// `<|endoftext|>`, `<|end_of_text|>`, `</s>` or `<eos>`, in this order. None if there is no such special token, or if
    /// the model has not learnt it ([`Tokenizer::with_bounds`]).
    #[must_use]
    pub fn end_of_text(&self) -> Option<u32> {
        self.end_of_text
    }

    #[cfg(test)]
    fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// Whether the file's template puts this token before a text.
    fn template_adds(&self, start: u32) -> bool {
        let first = |with_special: bool| {
            let ids = self.library("encode", |inner| inner.encode_fast("a", with_special));
            ids.ok().and_then(|encoding| encoding.get_ids().first().copied())
        };
        first(true) == Some(start) && first(false) != Some(start)
    }

    fn open_configured(config: &TokenizerConfig) -> Result<Self, TextError> {
        if config.path.is_empty() {
            return Err(TextError::NoTokenizerPath);
        }
        let path = PathBuf::from(&config.path);
        let tokenizer = Self::open(&path)?;
        if config.end_of_text && tokenizer.end_of_text.is_none() {
            return Err(TextError::NoEndOfText { path, known: END_OF_TEXT_NAMES.join(", ") });
        }
        Ok(tokenizer)
    }

    /// Works out everything that is asked often; the error is a reason for a message.
    fn wrap(mut inner: tokenizers::Tokenizer) -> Result<Self, String> {
        // The library's name for: take special tokens in a text apart like any other text.
        inner.set_encode_special_tokens(true);
        let table = TokenTable::new(&inner)?;
        let added = inner.get_added_tokens_decoder();
        let is_special = |id: &u32| added.get(id).is_some_and(|token| token.special);
        let end_of_text = END_OF_TEXT_NAMES.iter().find_map(|name| inner.token_to_id(name).filter(is_special));
        let alphabet = drops_unknown_characters(&inner).then(|| {
            let single = |token: &String| token.chars().next().filter(|first| first.len_utf8() == token.len());
            inner.get_vocab(false).keys().filter_map(single).collect()
        });
        let cuts = Cuts::of(&inner);
        let words = (cuts == Cuts::BetweenWords).then(|| Arc::new(WordCache::new(Pairs::of(&inner))));
        let drops_characters = alphabet.is_none() && losses::drops_characters(&inner);
        let unknown = losses::unknown_token(&inner);
        Ok(Self {
            inner,
            table,
            end_of_text,
            start: None,
            starts_prompts: false,
            alphabet,
            drops_characters,
            unknown,
            cuts,
            words,
            origin: None,
        })
    }
}

/// The added tokens as a tokenizer.json lists them. The library numbers them anew and keeps silent if an id changes.
#[derive(Deserialize)]
struct Declared {
    #[serde(default)]
    added_tokens: Vec<DeclaredToken>,
}

#[derive(Deserialize)]
struct DeclaredToken {
    id: u32,
    content: String,
}

impl Declared {
    fn check(&self, tokenizer: &tokenizers::Tokenizer) -> Result<(), String> {
        let moved = self.added_tokens.iter().find(|token| tokenizer.token_to_id(&token.content) != Some(token.id));
        match moved {
            None => Ok(()),
            Some(token) => Err(format!(
                "added token {:?} cannot keep its id {}, because added tokens must follow the vocabulary without a gap",
                token.content, token.id
            )),
        }
    }
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("end_of_text", &self.end_of_text)
            .finish_non_exhaustive()
    }
}

/// Whether this is a tokenizer like those of kind `char`: a model that begins from single characters of the text as it is
/// and has no token for a character that it does not know, which would vanish without a word.
fn drops_unknown_characters(tokenizer: &tokenizers::Tokenizer) -> bool {
    let ModelWrapper::BPE(model) = tokenizer.get_model() else { return false };
    let keeps_characters = match tokenizer.get_pre_tokenizer() {
        None => true,
        Some(words) => matches!(
            words,
            PreTokenizerWrapper::Whitespace(_)
                | PreTokenizerWrapper::WhitespaceSplit(_)
                | PreTokenizerWrapper::BertPreTokenizer(_)
                | PreTokenizerWrapper::Punctuation(_)
                | PreTokenizerWrapper::Digits(_)
        ),
    };
    model.unk_token.is_none()
        && !model.byte_fallback
        && !model.ignore_merges
        && model.continuing_subword_prefix.is_none()
        && model.end_of_word_suffix.is_none()
        && keeps_characters
        && tokenizer.get_normalizer().is_none()
        && tokenizer.get_added_tokens_decoder().values().all(|token| token.special)
}
