//! What a tokenizer from a file cannot write: characters that vanish without a token, characters that the token for unknown
//! ones stands for, and which bytes of a text its tokens spell.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use tokenizers::{ModelWrapper, PreTokenizerWrapper};

use super::build::{N_BYTES, byte_alphabet};
use super::{MAX_NAMED, Tokenizer};
use crate::error::{Position, TextError};

/// A character that no vocabulary has: the last of the supplementary planes, which is none.
const NO_CHARACTER: &str = "\u{10FFFF}";

/// Characters that a tokenizer has no token for, each with how often it stands in a text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct UnknownCharacters(BTreeMap<char, usize>);

impl UnknownCharacters {
    /// How many there are in the text.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.values().sum()
    }

    /// Adds those of another text.
    pub fn add(&mut self, other: Self) {
        for (character, count) in other.0 {
            *self.0.entry(character).or_default() += count;
        }
    }
}

/// The first of them by name, and how many more kinds there are.
impl fmt::Display for UnknownCharacters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&named(self.0.keys().copied()))
    }
}

/// Characters as a message names them, at most eight, and how many more.
pub(super) fn named(characters: impl Iterator<Item = char> + Clone) -> String {
    let more = characters.clone().count().saturating_sub(MAX_NAMED);
    let names: Vec<String> =
        characters.take(MAX_NAMED).map(|one| format!("{one:?} (U+{:04X})", u32::from(one))).collect();
    if more > 0 { format!("{} and {more} more", names.join(", ")) } else { names.join(", ") }
}

/// Whether a character that the model lacks leaves no token behind: byte-pair encoding without a token for unknown ones, and
/// without all the bytes.
pub(super) fn drops_characters(tokenizer: &tokenizers::Tokenizer) -> bool {
    let ModelWrapper::BPE(model) = tokenizer.get_model() else { return false };
    if model.unk_token.is_some() || model.byte_fallback {
        return false;
    }
    let by_bytes = match tokenizer.get_pre_tokenizer() {
        Some(PreTokenizerWrapper::ByteLevel(_)) => true,
        Some(PreTokenizerWrapper::Sequence(steps)) => {
            steps.as_ref().iter().any(|step| matches!(step, PreTokenizerWrapper::ByteLevel(_)))
        }
        _ => false,
    };
    let vocab = tokenizer.get_vocab(false);
    let has_all_bytes = byte_alphabet().iter().filter(|byte| vocab.contains_key(&byte.to_string())).count() == N_BYTES;
    !(by_bytes && has_all_bytes)
}

/// The token that stands for what the vocabulary lacks, if there is one.
pub(super) fn unknown_token(tokenizer: &tokenizers::Tokenizer) -> Option<u32> {
    match tokenizer.get_model() {
        ModelWrapper::BPE(model) => model.unk_token.as_deref().and_then(|token| tokenizer.token_to_id(token)),
        ModelWrapper::WordPiece(model) => tokenizer.token_to_id(&model.unk_token),
        ModelWrapper::WordLevel(model) => tokenizer.token_to_id(&model.unk_token),
        // Its own is not told; what it makes of no character is that, or the bytes of it.
        ModelWrapper::Unigram(_) => {
            let ids = tokenizer.encode_fast(NO_CHARACTER, false).ok()?.get_ids().to_vec();
            let written = tokenizer.decode(&ids, true).ok()?;
            ids.last().copied().filter(|_| !written.contains(NO_CHARACTER))
        }
    }
}

impl Tokenizer {
    /// The ids of a text, with the bytes of it that each spells and no token before it does: none for the token that stands
    /// for unknown characters, none for special tokens. White space that a pipeline drops is in none.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_with_bytes(&self, text: &str) -> Result<Vec<(u32, usize)>, TextError> {
        let ids = self.encode(text)?;
        if self.spells(&ids, text) {
            return Ok(ids.into_iter().map(|id| (id, self.byte_len(id))).collect());
        }
        Ok(self.spelt_bytes(&self.encode_with_ranges(text)?))
    }

    /// The same of tokens whose ranges are known.
    #[must_use]
    pub fn spelt_bytes(&self, tokens: &[(u32, Range<usize>)]) -> Vec<(u32, usize)> {
        let mut end = 0;
        let spelt = tokens.iter().map(|(id, range)| {
            let new = range.end.saturating_sub(range.start.max(end));
            end = end.max(range.end);
            let writes = Some(*id) != self.unknown && !self.is_special(*id);
            (*id, if writes { new } else { 0 })
        });
        spelt.collect()
    }

    /// The characters of a text that the token for unknown ones stands for.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn unknown_characters(&self, text: &str) -> Result<UnknownCharacters, TextError> {
        let mut unknown = UnknownCharacters::default();
        let Some(id) = self.unknown else { return Ok(unknown) };
        for (_, range) in self.encode_with_ranges(text)?.into_iter().filter(|(found, _)| *found == id) {
            for character in text[range].chars().filter(|one| !one.is_whitespace()) {
                *unknown.0.entry(character).or_default() += 1;
            }
        }
        Ok(unknown)
    }

    /// Whether some of these ids stand for characters that the vocabulary lacks.
    #[must_use]
    pub fn has_unknown(&self, ids: &[u32]) -> bool {
        self.unknown.is_some_and(|unknown| ids.contains(&unknown))
    }

    /// Refuses a text of which no token covers some character that is no white space. Behind a character that it drops the
    /// library counts wrongly, so the ranges tell that something is missing, and not what.
    pub(super) fn check_covered(&self, text: &str, ranges: &[Range<usize>]) -> Result<(), TextError> {
        let mut end = 0;
        let mut uncovered = Vec::new();
        for range in ranges.iter().cloned().chain(std::iter::once(text.len()..text.len())) {
            if range.start > end {
                let missing = text[end..range.start].char_indices().filter(|(_, one)| !one.is_whitespace());
                uncovered.extend(missing.map(|(at, one)| (end + at, one)));
            }
            end = end.max(range.end);
        }
        if uncovered.is_empty() {
            return Ok(());
        }
        let kinds: BTreeSet<char> = text.chars().collect();
        let vanishing: BTreeSet<char> = kinds.into_iter().filter(|one| self.vanishes(*one)).collect();
        let mut lost: Vec<(usize, char)> =
            text.char_indices().filter(|(_, one)| vanishing.contains(one) && !one.is_whitespace()).collect();
        if lost.is_empty() {
            // White space that was dropped shifts what is counted behind it too.
            if vanishing.iter().any(|one| one.is_whitespace()) {
                return Ok(());
            }
            lost = uncovered; // A character that the vocabulary has, and not in the middle of a word.
        }
        let at = Position::START.after(&text[..lost[0].0]);
        let mut seen = BTreeSet::new();
        let kinds: Vec<char> = lost.into_iter().map(|(_, one)| one).filter(|one| seen.insert(*one)).collect();
        Err(TextError::UnknownCharacters { origin: "the text".to_owned(), at, characters: named(kinds.into_iter()) })
    }

    /// Whether nothing is left of a character by itself.
    fn vanishes(&self, character: char) -> bool {
        let ids = self.library("encode", |inner| inner.encode_fast(character.to_string(), false));
        let text = ids.and_then(|encoding| self.decode(encoding.get_ids()));
        text.is_ok_and(|text| match character.is_whitespace() {
            true => !text.contains(character),
            false => text.trim().is_empty(),
        })
    }
}
