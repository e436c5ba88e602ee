//! What each token id stands for, worked out once per tokenizer: its bytes of text, or its name if it is special.

use tokenizers::DecoderWrapper;

use super::build::byte_alphabet;
use crate::error::TextError;

/// A vocabulary with a higher id than this is a damaged file, not a vocabulary.
const MAX_VOCAB_SIZE: usize = 1 << 24;

/// The vocabulary by id.
#[derive(Clone)]
pub(super) struct TokenTable {
    entries: Vec<Entry>,
    /// Whether the text of any ids is the concatenation of their bytes.
    pub(super) concatenates: bool,
}

/// One id. An id that no token has is an entry without bytes.
#[derive(Clone, Default)]
pub(super) struct Entry {
    /// The bytes of text that the token stands for in the middle of a text; none for a special token.
    pub(super) bytes: Vec<u8>,
    /// The name of a special token.
    pub(super) special: Option<String>,
}

impl TokenTable {
    /// Reads the vocabulary of `tokenizer`, added tokens included; the error is a reason for a message.
    pub(super) fn new(tokenizer: &tokenizers::Tokenizer) -> Result<Self, String> {
        let vocab = tokenizer.get_vocab(true);
        let n_ids = vocab.values().max().map_or(0, |&highest| highest as usize + 1);
        if n_ids == 0 {
            return Err("the vocabulary is empty".to_string());
        }
        if n_ids > MAX_VOCAB_SIZE {
            return Err(format!("the highest token id is {}, more than {MAX_VOCAB_SIZE}", n_ids - 1));
        }
        let spelling = Spelling::of(tokenizer);
        let added = tokenizer.get_added_tokens_decoder();
        let mut entries = vec![Entry::default(); n_ids];
        for (token, id) in vocab {
            entries[id as usize] = if added.get(&id).is_some_and(|token| token.special) {
                Entry { bytes: Vec::new(), special: Some(token) }
            } else {
                Entry { bytes: spelling.bytes(&token, id), special: None }
            };
        }
        Ok(Self { entries, concatenates: !matches!(spelling, Spelling::Contextual(_)) })
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry of `id`, if the vocabulary reaches so far.
    pub(super) fn get(&self, id: u32) -> Option<&Entry> {
        self.entries.get(id as usize)
    }

    /// The entry of `id`.
    ///
    /// # Errors
    ///
    /// `UnknownId` beyond the vocabulary.
    pub(super) fn entry(&self, id: u32) -> Result<&Entry, TextError> {
        self.get(id).ok_or(TextError::UnknownId { id, vocab_size: self.len() })
    }
}

/// How tokens spell text, which the decoder of a pipeline says.
enum Spelling<'a> {
    /// One stand-in character per byte, by the value of the byte.
    ByteLevel(Box<[char; 256]>),
    /// As they are.
    Plain,
    /// In a way that depends on the neighbours (a space before each word but the first, and the like).
    Contextual(&'a tokenizers::Tokenizer),
}

impl<'a> Spelling<'a> {
    fn of(tokenizer: &'a tokenizers::Tokenizer) -> Self {
        match tokenizer.get_decoder() {
            Some(DecoderWrapper::ByteLevel(_)) => Self::ByteLevel(Box::new(byte_alphabet())),
            Some(DecoderWrapper::Fuse(_)) => Self::Plain,
            _ => Self::Contextual(tokenizer),
        }
    }

    fn bytes(&self, token: &str, id: u32) -> Vec<u8> {
        match self {
            // The decoder takes a token with any character outside the alphabet as it is.
            Self::ByteLevel(alphabet) => {
                token.chars().map(|c| byte_of(alphabet, c)).collect::<Option<_>>().unwrap_or_else(|| token.into())
            }
            Self::Plain => token.into(),
            // What the token adds behind itself: the first may lose a space, the second does not.
            Self::Contextual(tokenizer) => byte_token(token).map(|byte| vec![byte]).unwrap_or_else(|| {
                let once = tokenizer.decode(&[id], true).unwrap_or_default();
                let twice = tokenizer.decode(&[id, id], true).unwrap_or_default();
                twice.strip_prefix(once.as_str()).map_or(once.as_bytes(), str::as_bytes).to_vec()
            }),
        }
    }
}

fn byte_of(alphabet: &[char; 256], character: char) -> Option<u8> {
    match character {
        '!'..='~' => u8::try_from(character).ok(),
        _ => alphabet.iter().position(|&c| c == character).and_then(|byte| u8::try_from(byte).ok()),
    }
}

/// The byte of a `SentencePiece` fallback token such as `<0xE4>`.
fn byte_token(token: &str) -> Option<u8> {
    let hex = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (hex.len() == 2).then(|| u8::from_str_radix(hex, 16).ok())?
}
