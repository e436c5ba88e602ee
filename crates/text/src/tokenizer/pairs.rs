//! Byte pairs of a word that has not been seen before: merged here where the pipeline does nothing but merge, which gives the
//! library's ids without what its calls cost.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use serde_json::Value;
use tokenizers::ModelWrapper;

use super::build::{N_BYTES, byte_alphabet};
use super::words::WordHasher;

/// A longer word is left to the library, whose queue of pairs is better there.
const MAX_WORD_BYTES: usize = 256;

/// The merges of a byte-level vocabulary that has all bytes.
#[derive(Debug)]
pub(super) struct Pairs {
    /// The ids of the bytes.
    bytes: [u32; N_BYTES],
    /// Two ids that become one: in which order, and which. A merge that was learnt earlier goes first.
    merges: HashMap<u64, Merge, BuildHasherDefault<WordHasher>>,
}

#[derive(Debug, Clone, Copy)]
struct Merge {
    rank: u32,
    id: u32,
}

impl Pairs {
    /// Of a pipeline whose words are bytes; none where the model does more than merge.
    pub fn of(tokenizer: &tokenizers::Tokenizer) -> Option<Self> {
        let ModelWrapper::BPE(model) = tokenizer.get_model() else { return None };
        let is_plain = model.dropout.is_none()
            && !model.ignore_merges
            && model.continuing_subword_prefix.as_deref().unwrap_or_default().is_empty()
            && model.end_of_word_suffix.as_deref().unwrap_or_default().is_empty();
        if !is_plain {
            return None;
        }
        let vocab = tokenizer.get_vocab(false);
        let mut bytes = [0; N_BYTES];
        for (id, character) in bytes.iter_mut().zip(byte_alphabet()) {
            *id = *vocab.get(character.encode_utf8(&mut [0; 4]) as &str)?;
        }
        // The library tells its merges in a file alone.
        let file = serde_json::to_value(model).ok()?;
        let mut merges = HashMap::default();
        for (rank, merge) in (0..).zip(file.get("merges")?.as_array()?) {
            let (first, second) = match merge {
                Value::String(merge) => merge.split_once(' ')?,
                Value::Array(pair) => match &pair[..] {
                    [first, second] => (first.as_str()?, second.as_str()?),
                    _ => return None,
                },
                _ => return None,
            };
            let id = *vocab.get(&format!("{first}{second}"))?;
            merges.insert(key(*vocab.get(first)?, *vocab.get(second)?), Merge { rank, id });
        }
        Some(Self { bytes, merges })
    }

    /// The ids of a word; none for one that is left to the library.
    pub fn encode(&self, word: &str) -> Option<Vec<u32>> {
        if word.len() > MAX_WORD_BYTES {
            return None;
        }
        let mut ids: Vec<u32> = word.bytes().map(|byte| self.bytes[usize::from(byte)]).collect();
        let mut merges: Vec<Option<Merge>> = ids.windows(2).map(|pair| self.merge(pair[0], pair[1])).collect();
        // Of the merges that can be made the one that was learnt first, and of several such the leftmost.
        let first = |merges: &[Option<Merge>]| {
            let can_be_made = (0..).zip(merges).filter_map(|(at, merge): (usize, _)| merge.map(|merge| (at, merge)));
            can_be_made.min_by_key(|(_, merge)| merge.rank)
        };
        while let Some((at, Merge { id, .. })) = first(&merges) {
            ids[at] = id;
            ids.remove(at + 1);
            merges.remove(at);
            if at > 0 {
                merges[at - 1] = self.merge(ids[at - 1], id);
            }
            if at < merges.len() {
                merges[at] = self.merge(id, ids[at + 1]);
            }
        }
        Some(ids)
    }

    fn merge(&self, first: u32, second: u32) -> Option<Merge> {
        self.merges.get(&key(first, second)).copied()
    }
}

/// Two ids as one number.
fn key(first: u32, second: u32) -> u64 {
    u64::from(first) << 32 | u64::from(second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tokenizer::{Tokenizer, TokenizerConfig, TokenizerKind};

    fn learnt() -> (Tokenizer, Pairs) {
        let text = "the thee them then hthe aaa aaaa aaaaa abab ababab 猫猫狗 明月幾時有 明月明 ééé".repeat(3);
        let config = TokenizerConfig { kind: TokenizerKind::Bpe, vocab_size: 330, ..TokenizerConfig::default() };
        let tokenizer = Tokenizer::build(&config, &[&text]).expect("built");
        let pairs = Pairs::of(tokenizer.inner()).expect("plain merges");
        (tokenizer, pairs)
    }

    #[test]
    fn what_does_more_than_merge_is_left_to_the_library() {
        let (tokenizer, pairs) = learnt();
        assert!(pairs.merges.len() > 20);
        let json = tokenizer.to_json().expect("JSON");
        let changed = |field: &str, value: Value| {
            let mut file: Value = serde_json::from_str(&json).expect("JSON");
            file["model"][field] = value;
            let tokenizer: tokenizers::Tokenizer = file.to_string().parse().expect("a tokenizer");
            Pairs::of(&tokenizer).is_some()
        };
        assert!(changed("fuse_unk", Value::from(true)), "there is nothing unknown");
        assert!(!changed("ignore_merges", Value::from(true)));
        assert!(!changed("dropout", Value::from(0.5)));
        assert!(pairs.encode(&"a".repeat(MAX_WORD_BYTES + 1)).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]
        #[test]
        fn merges_are_those_of_the_library(word in "[thema b猫狗明月幾é]{1,80}") {
            let (tokenizer, pairs) = LEARNT.with(std::rc::Rc::clone).as_ref().clone();
            let word: String = word.split(' ').collect();
            prop_assume!(!word.is_empty());
            let library = tokenizer.inner().encode_fast(word.as_str(), false).expect("encoded").get_ids().to_vec();
            if let Some(found) = pairs.encode(&word) {
                prop_assert_eq!(found, library);
            }
        }
    }

    thread_local! {
        static LEARNT: std::rc::Rc<(Tokenizer, std::rc::Rc<Pairs>)> = {
            let (tokenizer, pairs) = learnt();
            std::rc::Rc::new((tokenizer, std::rc::Rc::new(pairs)))
        };
    }
}
