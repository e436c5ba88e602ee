//! Long texts are encoded in chunks, which bounds memory, wherever a cut provably changes no token.

use tokenizers::{ModelWrapper, PreTokenizerWrapper};

/// Length in bytes from which a chunk may end.
const CHUNK_BYTES: usize = 64 * 1024;

/// Where a text may be cut so that the tokens of the parts are the tokens of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cuts {
    /// Between any two characters: each character is a word by itself.
    Anywhere,
    /// Where [`is_border`] finds a border between two words of GPT-2's pattern.
    BetweenWords,
    /// Not known: the text goes through whole.
    Nowhere,
}

impl Cuts {
    /// What the pipeline of `tokenizer` allows. Only pipelines like those that this crate builds are judged.
    pub(super) fn of(tokenizer: &tokenizers::Tokenizer) -> Self {
        let plain = matches!(tokenizer.get_model(), ModelWrapper::BPE(_))
            && tokenizer.get_normalizer().is_none()
            && tokenizer.get_added_tokens_decoder().values().all(|token| token.special);
        match tokenizer.get_pre_tokenizer() {
            None if plain && has_single_characters_only(tokenizer) => Self::Anywhere,
            Some(PreTokenizerWrapper::ByteLevel(level)) if plain && !level.add_prefix_space => {
                if level.use_regex {
                    Self::BetweenWords
                } else if has_single_characters_only(tokenizer) {
                    Self::Anywhere
                } else {
                    Self::Nowhere
                }
            }
            _ => Self::Nowhere,
        }
    }
}

/// Whether every token of the model is one character, so that nothing is ever merged.
pub(super) fn has_single_characters_only(tokenizer: &tokenizers::Tokenizer) -> bool {
    tokenizer.get_vocab(false).keys().all(|token| {
        let mut characters = token.chars();
        characters.next().is_some() && characters.next().is_none()
    })
}

/// The chunks of `text`, in order; together they are the text. None for an empty text.
pub(super) fn chunks(text: &str, cuts: Cuts) -> impl Iterator<Item = &str> {
    chunks_of(text, cuts, CHUNK_BYTES)
}

/// As [`chunks`], with the length in bytes from which a chunk may end.
fn chunks_of(text: &str, cuts: Cuts, chunk_bytes: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (chunk, after) = rest.split_at(chunk_len(rest, cuts, chunk_bytes));
        rest = after;
        Some(chunk)
    })
}

/// Length in bytes of the first chunk of `text`.
fn chunk_len(text: &str, cuts: Cuts, chunk_bytes: usize) -> usize {
    if text.len() <= chunk_bytes {
        return text.len();
    }
    let from = text.ceil_char_boundary(chunk_bytes);
    match cuts {
        Cuts::Anywhere => from,
        Cuts::Nowhere => text.len(),
        Cuts::BetweenWords => border_after(text, from).unwrap_or(text.len()),
    }
}

/// The first place from `from` on where a text can be cut so that, by a tokenizer that can be cut, the tokens of the parts
/// are the tokens of the whole, whatever stands before and after: where two words of GPT-2's pattern border on each other.
/// Between a carriage return and a newline there is none.
#[must_use]
pub fn word_border(text: &str, from: usize) -> Option<usize> {
    border_after(text, from).filter(|at| *at < text.len())
}

/// The first place from `from` on where two words border on each other, whatever stands around.
fn border_after(text: &str, from: usize) -> Option<usize> {
    let mut before = text[..from].chars().next_back();
    let mut characters = text[from..].char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        let next = characters.peek().map(|(_, next)| *next);
        if before.is_some_and(|before| is_border(before, character, next)) {
            return Some(from + at);
        }
        before = Some(character);
    }
    None
}

/// Whether a word of GPT-2's pattern begins at a character, whatever stands around the three: no word ends in white space but
/// begins with another character, and none but one of white space looks at what follows it. So there is a border before a
/// newline or a single space after other characters, and where ideographs, which are letters, meet punctuation.
fn is_border(before: char, character: char, next: Option<char>) -> bool {
    let is_ideograph = |character: char| ('\u{4e00}'..='\u{9fa5}').contains(&character);
    let is_stop = |character: char| ['，', '。', '、', '；', '：', '！', '？'].contains(&character);
    match character {
        '\n' => !before.is_whitespace(),
        ' ' => !before.is_whitespace() && next.is_some_and(|next| !next.is_whitespace()),
        _ => is_ideograph(before) && is_stop(character) || is_stop(before) && is_ideograph(character),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tokenizer::{Tokenizer, TokenizerConfig, TokenizerKind};

    /// Lines with white space of every sort around newlines, and texts without any, few enough that byte pairs learn them by
    /// heart.
    const AWKWARD: [&str; 5] = [
        "x \n\ny\n",
        "it's 3\n \n\t\nq",
        "詞：明。\r\nI \u{2003}\nJ!\n'll \n",
        "it's one line,  with 3 spaces 'll \u{3000}z \t. ",
        "明月幾時有，把酒問青天。。 不知x，y、3天上'，",
    ];

    #[test]
    fn chunks_of_any_length_give_the_ids_of_the_whole_text() {
        for kind in [TokenizerKind::Char, TokenizerKind::Byte, TokenizerKind::Bpe] {
            for line in AWKWARD {
                let text = line.repeat(20);
                let config = TokenizerConfig { kind, vocab_size: 300, ..TokenizerConfig::default() };
                let tokenizer = Tokenizer::build(&config, &[&text]).unwrap();
                let ids = |text: &str| tokenizer.inner().encode_fast(text, false).unwrap().get_ids().to_vec();
                let cuts = Cuts::of(tokenizer.inner());
                for chunk_bytes in 1..60 {
                    let parts: Vec<&str> = chunks_of(&text, cuts, chunk_bytes).collect();
                    assert!(parts.len() > 1);
                    assert_eq!(parts.concat(), text);
                    let in_parts: Vec<u32> = parts.into_iter().flat_map(ids).collect();
                    assert_eq!(in_parts, ids(&text), "{kind:?} {line:?} {chunk_bytes}");
                }
            }
        }
    }

    #[test]
    fn a_long_text_is_encoded_in_several_chunks_and_an_empty_one_in_none() {
        let text = "x \n\ny\n".repeat(CHUNK_BYTES);
        assert!(chunks(&text, Cuts::Anywhere).count() >= 5);
        assert!(chunks(&text, Cuts::BetweenWords).count() >= 5);
        for line in ["a word and ", "明月幾時有，"] {
            assert!(chunks(&line.repeat(CHUNK_BYTES), Cuts::BetweenWords).count() >= 5, "{line} without an end");
        }
        assert_eq!(chunks(&text, Cuts::Nowhere).count(), 1);
        assert_eq!(chunks("", Cuts::Nowhere).count(), 0);
    }
}
