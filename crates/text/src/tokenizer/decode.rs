//! From ids back to text.

use super::Tokenizer;
use crate::error::TextError;

/// How many ids before another can change how that one is written: more than a character has bytes.
const CONTEXT: usize = 8;

impl Tokenizer {
    /// The text of `ids`, without special tokens. Bytes that are no UTF-8 become U+FFFD.
    ///
    /// # Errors
    ///
    /// `UnknownId` for an id beyond the vocabulary; `Library` if a tokenizer from a file cannot decode.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        for &id in ids {
            self.table.entry(id)?;
        }
        self.library("decode", |inner| inner.decode(ids, true))
    }

    /// The text of `ids` with special tokens by their names.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::decode`].
    pub fn decode_with_special(&self, ids: &[u32]) -> Result<String, TextError> {
        for &id in ids {
            self.table.entry(id)?;
        }
        self.library("decode", |inner| inner.decode(ids, false))
    }

    /// The special tokens with their names, in order of id.
    pub fn special_tokens(&self) -> impl Iterator<Item = (u32, &str)> {
        let name = |id: u32| Some((id, self.table.get(id)?.special.as_deref()?));
        (0..self.vocab_size() as u32).filter_map(name)
    }

    /// The bytes that the token adds to a text (in the middle of it, where that makes a difference): none for special tokens
    /// and for ids that no token has.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.table.get(id).map_or(&[], |entry| &entry.bytes)
    }

    /// How many bytes of text the token stands for (in the middle of a text, where that makes a difference); 0 for
    /// special tokens and for ids that no token has.
    #[must_use]
    pub fn byte_len(&self, id: u32) -> usize {
        self.table.get(id).map_or(0, |entry| entry.bytes.len())
    }

    /// The text of `ids` that follow others: some tokenizers write a space before each word but the first of a text.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::decode`].
    pub fn decode_after(&self, before: &[u32], ids: &[u32]) -> Result<String, TextError> {
        if self.concatenates() {
            return self.decode(ids);
        }
        let tail = self.context(before);
        let (told, all) = (self.decode(&tail)?, self.decode(&[&tail, ids].concat())?);
        Ok(after_common(&all, told.trim_end_matches(char::REPLACEMENT_CHARACTER)).to_owned())
    }

    /// The last ids of a text that can change how the next one is written.
    pub(crate) fn context(&self, ids: &[u32]) -> Vec<u32> {
        let mut tail: Vec<u32> = ids.iter().rev().filter(|id| !self.is_special(**id)).take(CONTEXT).copied().collect();
        tail.reverse();
        tail
    }

    /// Whether a token is some bytes of a character and not all of them.
    #[must_use]
    pub fn is_part_of_character(&self, id: u32) -> bool {
        self.table.get(id).is_some_and(|entry| std::str::from_utf8(&entry.bytes).is_err())
    }

    /// The token by itself, for display: its text, the name of a special token, `<0xE4>` for a byte that is no
    /// character by itself, `<id 7>` for an id that no token has.
    #[must_use]
    pub fn token_text(&self, id: u32) -> String {
        match self.table.get(id) {
            Some(entry) if entry.special.is_some() => entry.special.clone().unwrap_or_default(),
            Some(entry) if !entry.bytes.is_empty() => display_bytes(&entry.bytes),
            _ => format!("<id {id}>"),
        }
    }

    /// The bytes that `id` adds to a text: none for special tokens.
    pub(crate) fn bytes(&self, id: u32) -> Result<&[u8], TextError> {
        Ok(&self.table.entry(id)?.bytes)
    }

    pub(crate) fn is_special(&self, id: u32) -> bool {
        self.table.get(id).is_some_and(|entry| entry.special.is_some())
    }

    /// Whether the text of ids is the concatenation of their bytes.
    pub(crate) fn concatenates(&self) -> bool {
        self.table.concatenates
    }
}

/// What follows the beginning that two texts share.
pub(crate) fn after_common<'a>(all: &'a str, told: &str) -> &'a str {
    let common = all.chars().zip(told.chars()).take_while(|(a, b)| a == b);
    &all[common.map(|(a, _)| a.len_utf8()).sum()..]
}

/// Text where the bytes are UTF-8, `<0xE4>` for each byte where they are not.
fn display_bytes(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            text.push_str(&format!("<0x{byte:02X}>"));
        }
    }
    text
}
