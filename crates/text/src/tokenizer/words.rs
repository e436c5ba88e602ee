//! Byte pairs of GPT-2's words, fast: the words are found by a table of character classes, and the ids of a word that has
//! been seen before are looked up. What has not been seen is merged as the library merges it, or by the library.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{LazyLock, Mutex, PoisonError};

use regex_syntax::hir::{Class, HirKind};

use super::pairs::Pairs;

/// Longer words are not remembered: there are many of them, and each is rare.
const MAX_WORD_BYTES: usize = 48;
/// When so many words are remembered on a thread, all are forgotten.
const MAX_WORDS: usize = 1 << 17;

/// What GPT-2's pattern tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CharClass {
    Letter,
    Number,
    Space,
    Other,
}

/// The class of each character, by its code point: `\p{L}`, `\p{N}` and `\s` as the library's pattern understands them.
static CLASSES: LazyLock<Vec<CharClass>> = LazyLock::new(|| {
    let mut classes = vec![CharClass::Other; char::MAX as usize + 1];
    for (pattern, class) in [(r"\p{L}", CharClass::Letter), (r"\p{N}", CharClass::Number), (r"\s", CharClass::Space)] {
        let Ok(parsed) = regex_syntax::parse(pattern) else { unreachable!("{pattern} is a class") };
        let HirKind::Class(Class::Unicode(ranges)) = parsed.kind() else { unreachable!("{pattern} is a class") };
        for range in ranges.ranges() {
            classes[range.start() as usize..=range.end() as usize].fill(class);
        }
    }
    classes
});

fn class_of(character: char) -> CharClass {
    CLASSES[character as usize]
}

/// Length in bytes of the characters at the beginning of a text that are of a class.
fn run(text: &str, class: CharClass) -> usize {
    text.char_indices().find(|(_, one)| class_of(*one) != class).map_or(text.len(), |(at, _)| at)
}

/// Length in bytes of the first word of a text that is not empty, by
/// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`.
fn word_len(text: &str) -> usize {
    if let Some(rest) = text.strip_prefix('\'') {
        let endings = ["s", "t", "re", "ve", "m", "ll", "d"];
        if let Some(ending) = endings.into_iter().find(|ending| rest.starts_with(ending)) {
            return 1 + ending.len();
        }
    }
    let space = usize::from(text.starts_with(' '));
    let class = text[space..].chars().next().map_or(CharClass::Space, class_of);
    if class != CharClass::Space {
        return space + run(&text[space..], class);
    }
    let white = run(text, CharClass::Space);
    // White space leaves its last character to a word that follows, unless it has only one.
    let last = text[..white].chars().next_back().map_or(0, char::len_utf8);
    if white == text.len() || white == last { white } else { white - last }
}

/// The words of a text, in order.
fn words(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (word, after) = rest.split_at(word_len(rest));
        rest = after;
        Some(word)
    })
}

/// Words that have been seen, with their ids.
type Seen = HashMap<Box<str>, Box<[u32]>, BuildHasherDefault<WordHasher>>;

/// Words that have been seen with a vocabulary: a map for each thread that encodes at a time, so that none waits.
pub(super) struct WordCache {
    free: Mutex<Vec<Seen>>,
    /// How a word that has not been seen is encoded; where there is none, the library does it.
    pairs: Option<Pairs>,
}

impl fmt::Debug for WordCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WordCache")
    }
}

impl WordCache {
    /// Of no word yet.
    pub fn new(pairs: Option<Pairs>) -> Self {
        Self { free: Mutex::default(), pairs }
    }

    /// The ids of a text.
    ///
    /// - of_word: what the library says of a word by itself
    pub fn encode<E>(&self, text: &str, of_word: impl Fn(&str) -> Result<Vec<u32>, E>) -> Result<Vec<u32>, E> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut seen = free.unwrap_or_default();
        let mut ids = Vec::with_capacity(text.len() / 3);
        for word in words(text) {
            if let Some(known) = seen.get(word) {
                ids.extend_from_slice(known);
                continue;
            }
            let merged = self.pairs.as_ref().and_then(|pairs| pairs.encode(word));
            let new = merged.map_or_else(|| of_word(word), Ok)?;
            ids.extend_from_slice(&new);
            if word.len() <= MAX_WORD_BYTES {
                if seen.len() >= MAX_WORDS {
                    seen.clear();
                }
                seen.insert(word.into(), new.into());
            }
        }
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(seen);
        Ok(ids)
    }
}

/// A hash of short texts that is quick and need not withstand malice: a slow map is all that could come of it, and the map
/// is small.
#[derive(Default)]
pub(super) struct WordHasher(u64);

impl Hasher for WordHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last[..rest.len()].copy_from_slice(rest);
        for word in words.iter().chain([&last]) {
            self.0 = (self.0.rotate_left(23) ^ u64::from_le_bytes(*word)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.write(&[byte]);
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(23) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn finish(&self) -> u64 {
        // The upper bits depend on all, and maps look at the lower ones too.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokenizers::pre_tokenizers::byte_level::ByteLevel;
    use tokenizers::{OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer};

    use super::*;
    use crate::tokenizer::{Tokenizer, TokenizerConfig, TokenizerKind};

    /// The words that the library cuts a text into.
    fn of_library(text: &str) -> Vec<String> {
        let mut cut = PreTokenizedString::from(text);
        ByteLevel::new(false, false, true).pre_tokenize(&mut cut).expect("cut");
        let splits = cut.get_splits(OffsetReferential::Original, OffsetType::Byte);
        splits.into_iter().map(|(_, (from, to), _)| text[from..to].to_owned()).collect()
    }

    fn check(text: &str) {
        let found: Vec<&str> = words(text).collect();
        assert_eq!(found, of_library(text), "{text:?}");
    }

    #[test]
    fn every_character_is_of_the_class_that_the_library_takes_it_for() {
        let all: Vec<char> = ('\0'..=char::MAX).collect();
        for some in all.chunks(512) {
            // Behind a letter, a number, a space, a mark and itself.
            check(&some.iter().flat_map(|one| ['a', *one, '1', *one, ' ', *one, '!', *one, *one]).collect::<String>());
        }
    }

    #[test]
    fn words_that_are_remembered_are_those_of_the_library() {
        let text = "it's the cat's 12 mice, the cat'll don't  see\n\n\tthe mice 'twas 'S 猫猫。 é\u{301} the end ";
        let config = TokenizerConfig { kind: TokenizerKind::Bpe, vocab_size: 290, ..TokenizerConfig::default() };
        let tokenizer = Tokenizer::build(&config, &[&text.repeat(3)]).expect("built");
        let library = |text: &str| tokenizer.inner().encode_fast(text, false).expect("encoded").get_ids().to_vec();
        for repeats in [1, 2, 7] {
            let text = text.repeat(repeats) + &"longword".repeat(20) + text;
            assert_eq!(tokenizer.encode(&text).expect("encoded"), library(&text));
        }
        let cache = WordCache::new(None);
        let count = std::cell::Cell::new(0);
        let of_word = |word: &str| {
            count.set(count.get() + 1);
            Ok::<_, ()>(library(word))
        };
        let many: String = (0..MAX_WORDS + 1000).map(|i| format!(" {i}")).collect();
        let ids = cache.encode(&many, of_word).expect("encoded");
        assert_eq!((ids.len() > MAX_WORDS, count.get()), (true, MAX_WORDS + 1000));
        cache.encode(" 0 131999", of_word).expect("encoded");
        assert_eq!(count.get(), MAX_WORDS + 1001, "what came before was forgotten, what came last was not");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(3000) })]
        #[test]
        fn any_text_is_cut_as_the_library_cuts_it(text in "[ \t\n\r'a-zA-Zé猫1٣½Ⅷ!.,\u{3000}\u{a0}\u{200b}\u{301}🦀sdmtrevl]{0,40}") {
            check(&text);
        }

        #[test]
        fn text_of_any_characters_is_cut_as_the_library_cuts_it(text in any::<String>()) {
            check(&text);
        }
    }
}
