//! How the tokenizers of this toolkit are made: from characters, from bytes, or by byte-pair encoding.
//! Each is a plain `tokenizers` pipeline, so each can be stored as a standard tokenizer.json.

use std::collections::{BTreeSet, HashSet};

use tokenizers::decoders::fuse::Fuse;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, DecoderWrapper, ModelWrapper, PreTokenizerWrapper};

use super::chunks::{Cuts, chunks};
use super::{END_OF_TEXT, EndOfText};
use crate::error::TextError;

/// Number of byte values, and so the least byte-level vocabulary.
pub(super) const N_BYTES: usize = 256;
/// The largest vocabulary to be learnt; the room for it is allocated before.
const MAX_VOCAB_SIZE: usize = 1 << 20;
/// A pair of tokens is merged only if it stands at least this often in the text: once is no pattern.
const MIN_PAIR_COUNT: u64 = 2;

/// One token per character of the documents, ids in code point order.
pub(super) fn by_character(documents: &[&str]) -> Result<tokenizers::Tokenizer, TextError> {
    let characters: BTreeSet<char> = documents.iter().flat_map(|text| text.chars()).collect();
    if characters.is_empty() {
        return Err(TextError::NoCharacters);
    }
    let mut tokenizer = without_merges(characters.into_iter())?;
    tokenizer.with_decoder(Some(DecoderWrapper::Fuse(Fuse::new())));
    Ok(tokenizer)
}

/// One token per byte, id = value of the byte.
pub(super) fn by_byte() -> Result<tokenizers::Tokenizer, TextError> {
    let mut tokenizer = without_merges(byte_alphabet().into_iter())?;
    let whole = ByteLevel::new(false, false, false);
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(whole)));
    tokenizer.with_decoder(Some(DecoderWrapper::ByteLevel(whole)));
    Ok(tokenizer)
}

/// Byte-pair encoding of GPT-2's words, learnt from the documents: the 256 bytes and then merges, up to `vocab_size`.
pub(super) fn by_pairs(
    documents: &[&str],
    vocab_size: usize,
    end_of_text: EndOfText,
) -> Result<tokenizers::Tokenizer, TextError> {
    let (minimum, why) = match end_of_text {
        EndOfText::Absent => (N_BYTES, "the 256 bytes"),
        EndOfText::Last => (N_BYTES + 1, "the 256 bytes and end of text"),
    };
    if vocab_size < minimum {
        return Err(TextError::VocabSizeTooSmall { vocab_size, minimum, why });
    }
    if vocab_size > MAX_VOCAB_SIZE {
        return Err(TextError::VocabSizeTooLarge { vocab_size, maximum: MAX_VOCAB_SIZE });
    }
    let words = ByteLevel::new(false, false, true);
    let mut tokenizer = tokenizers::Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::ByteLevel(words)));
    tokenizer.with_decoder(Some(DecoderWrapper::ByteLevel(words)));
    let mut trainer = TrainerWrapper::from(
        BpeTrainer::builder()
            .vocab_size(vocab_size - (minimum - N_BYTES))
            .min_frequency(MIN_PAIR_COUNT)
            .initial_alphabet(byte_alphabet().into_iter().collect::<HashSet<char>>())
            .show_progress(false)
            .build(),
    );
    let pieces: Vec<&str> = documents.iter().flat_map(|text| chunks(text, Cuts::BetweenWords)).collect();
    tokenizer.train(&mut trainer, pieces.into_iter()).map_err(TextError::library("build"))?;
    Ok(tokenizer)
}

/// Adds `<|endoftext|>` with the next free id, as a special token.
pub(super) fn add_end_of_text(tokenizer: &mut tokenizers::Tokenizer) {
    tokenizer.add_special_tokens(&[AddedToken::from(END_OF_TEXT, true)]);
}

/// GPT-2's printable stand-ins for the bytes, by value of the byte: itself where Latin-1 prints it, else the next
/// character from U+0100 on (github.com/openai/gpt-2, src/encoder.py, `bytes_to_unicode`).
#[must_use]
pub fn byte_alphabet() -> [char; N_BYTES] {
    let mut alphabet = ['\0'; N_BYTES];
    let mut stand_ins = '\u{100}'..;
    for (byte, character) in (0_u8..=255).zip(&mut alphabet) {
        *character = match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => stand_ins.next().unwrap_or('\0'),
        };
    }
    alphabet
}

/// A BPE model that has nothing to merge maps each character to its id; ids follow the order given.
fn without_merges(characters: impl Iterator<Item = char>) -> Result<tokenizers::Tokenizer, TextError> {
    let vocab: Vocab = characters.map(String::from).zip(0..).collect();
    let model = BPE::builder().vocab_and_merges(vocab, Vec::new()).build().map_err(TextError::library("build"))?;
    Ok(tokenizers::Tokenizer::new(ModelWrapper::BPE(model)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_byte_alphabet_is_the_one_of_the_tokenizers_library() {
        let theirs: BTreeSet<char> = ByteLevel::alphabet().into_iter().collect();
        assert_eq!(BTreeSet::from(byte_alphabet()), theirs);
        assert_eq!(byte_alphabet()[usize::from(b' ')], 'Ġ');
        assert_eq!(byte_alphabet()[usize::from(b'\n')], 'Ċ');
    }
}
