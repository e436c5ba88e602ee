//! Text to ids: in chunks, side by side, with the bytes that each id stands for; documents and prompts.

use std::collections::HashSet;
use std::ops::Range;

use rayon::prelude::*;

use super::chunks::chunks;
use super::{Tokenizer, losses};
use crate::error::{Position, TextError};

impl Tokenizer {
    /// The ids of `text`, and no others: no special token is added, and text that looks like a special token (a
    /// document that quotes `<|endoftext|>`) is encoded as the text that it is.
    ///
    /// # Errors
    ///
    /// `UnknownCharacters` if the vocabulary lacks a character of `text` and has no token that would stand for it;
    /// `Library` if a tokenizer from a file refuses the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        self.check_characters(text)?;
        if self.drops_characters {
            let (ids, ranges): (Vec<u32>, Vec<Range<usize>>) = self.ranges(text)?.into_iter().unzip();
            self.check_covered(text, &ranges)?;
            return Ok(ids);
        }
        // Each chunk by itself, on as many threads as there are: the ids are the same.
        let by_library = |text: &str| {
            let encoding = self.library("encode", |inner| inner.encode_fast(text, false))?;
            Ok(encoding.get_ids().to_vec())
        };
        let encode = |chunk: &str| match &self.words {
            Some(words) => words.encode(chunk, by_library),
            None => by_library(chunk),
        };
        let chunks: Vec<&str> = chunks(text, self.cuts).collect();
        match chunks[..] {
            [] => Ok(Vec::new()),
            [chunk] => encode(chunk),
            _ => Ok(chunks.into_par_iter().map(encode).collect::<Result<Vec<_>, TextError>>()?.concat()),
        }
    }

    /// The ids of `text` that goes on where `before` ends, as far as there are such: some tokenizers write a space before the
    /// first word of a text, which a text that goes on does not have. Nothing of `before` is encoded anew.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`], and `UnknownId` for an id of `before`.
    pub fn encode_after(&self, before: &[u32], text: &str) -> Result<Vec<u32>, TextError> {
        let ids = self.encode(text)?;
        let tail = self.context(before);
        if self.concatenates() || tail.is_empty() || self.decode_after(before, &ids)? == text {
            return Ok(ids);
        }
        // Encoded behind a text whose tokens stay as they are, it has no beginning. Behind its own there may be none, where a
        // word goes on.
        let own = self.decode(&tail)?;
        for lead in [own.as_str(), "\n", ".", "a", "猫"] {
            // What the lead has that a vocabulary lacks is no fault of the text.
            let (Ok(alone), Ok(both)) = (self.encode(lead), self.encode(&format!("{lead}{text}"))) else { continue };
            if let Some(rest) = both.strip_prefix(alone.as_slice())
                && self.decode_after(before, rest)? == text
            {
                return Ok(rest.to_vec());
            }
        }
        Ok(ids)
    }

    /// [`Tokenizer::encode`], with the bytes of `text` that each id stands for.
    ///
    /// Where tokens are bytes of the text (every kind that this toolkit makes) the ranges follow one another and cover
    /// the text; one may begin or end within a character. Where a tokenizer from a file changes the text first, they are
    /// the library's: whole characters, which several ids may share, with gaps for what it drops.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_with_ranges(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>, TextError> {
        let ids = self.encode(text)?;
        if self.spells(&ids, text) {
            let ends = ids.iter().scan(0, |end, id| {
                *end += self.byte_len(*id);
                Some(*end)
            });
            return Ok(ids.iter().zip(ends).map(|(id, end)| (*id, end - self.byte_len(*id)..end)).collect());
        }
        self.ranges(text)
    }

    /// The ids of `text` with the bytes that the library says each stands for, as whole characters.
    pub(super) fn ranges(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>, TextError> {
        let mut ranges = Vec::new();
        let mut begin = 0;
        for chunk in chunks(text, self.cuts) {
            let encoding = self.library("encode", |inner| inner.encode(chunk, false))?;
            // A pipeline from a file may count a character that it has made itself.
            let within = |at: usize| (begin + at).min(text.len());
            let whole = |from: usize, to: usize| {
                text.floor_char_boundary(within(from))..text.ceil_char_boundary(within(to.max(from)))
            };
            let offsets = encoding.get_offsets().iter().map(|(from, to)| whole(*from, *to));
            ranges.extend(encoding.get_ids().iter().copied().zip(offsets));
            begin += chunk.len();
        }
        Ok(ranges)
    }

    /// Whether the bytes of the ids, one after another, are the text.
    pub(super) fn spells(&self, ids: &[u32], text: &str) -> bool {
        let mut left = text.as_bytes();
        let mut takes = |id: &u32| {
            let rest = self.table.get(*id).and_then(|entry| left.strip_prefix(entry.bytes.as_slice()));
            rest.inspect(|rest| left = rest).is_some()
        };
        ids.iter().all(&mut takes) && left.is_empty()
    }

    /// The ids of `text` as a whole document: [`Tokenizer::encode`], and then [`Tokenizer::end_of_text`] if the
    /// vocabulary has that token.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_document(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let mut ids = self.encode(text)?;
        ids.extend(self.end_of_text);
        Ok(ids)
    }

    /// The ids that a prompt stands for; the token that texts begin with is the first of them where the tokenizer's template
    /// says so, as those of Llama do. An empty one begins where a document would: after what the model has learnt
    /// ([`Tokenizer::with_bounds`]), else after end-of-text, else after a newline, and in a vocabulary without either after
    /// its first token.
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, prompt: &str) -> Result<Vec<u32>, TextError> {
        match self.start {
            _ if !prompt.is_empty() => {
                let ids = self.encode(prompt)?;
                // White space alone may be nothing to a pipeline that cuts a text into words.
                let start = self.start.filter(|_| self.starts_prompts);
                if ids.is_empty() { self.encode_prompt("") } else { Ok(start.into_iter().chain(ids).collect()) }
            }
            Some(id) => Ok(vec![id]),
            None => Ok(self.default_start(self.end_of_text)),
        }
    }

    /// What an empty prompt stands for where a model says nothing else.
    pub(super) fn default_start(&self, end_of_text: Option<u32>) -> Vec<u32> {
        let newline = || self.encode("\n").ok().filter(|ids| !ids.is_empty()).unwrap_or_else(|| vec![0]);
        end_of_text.map_or_else(newline, |id| vec![id])
    }

    /// Refuses characters that a vocabulary of characters lacks.
    fn check_characters(&self, text: &str) -> Result<(), TextError> {
        let Some(alphabet) = &self.alphabet else { return Ok(()) };
        // White space between words is no token's, where a pipeline cuts a text into words.
        let cuts_words = self.inner.get_pre_tokenizer().is_some();
        let is_unknown = |character: &char| !(alphabet.contains(character) || cuts_words && character.is_whitespace());
        let Some(first) = text.find(|character| is_unknown(&character)) else { return Ok(()) };
        let mut seen = HashSet::new();
        let unknown: Vec<char> = text[first..].chars().filter(is_unknown).filter(|&c| seen.insert(c)).collect();
        let characters = losses::named(unknown.into_iter());
        let at = Position::START.after(&text[..first]);
        Err(TextError::UnknownCharacters { origin: "the text".to_string(), at, characters })
    }
}
