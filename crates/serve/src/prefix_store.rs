//! Keys and values of earlier texts, so that what a new prompt shares with one of them is not computed again. It changes the
//! time that a text takes, never the text.

use std::collections::VecDeque;

use tril::PrefixCache;
use tril::infer::LanguageModel;

/// Some texts, as many as there is room for; the one that was used last is the last to go.
pub struct PrefixStore<M: LanguageModel> {
    /// The one that was used last is at the end.
    entries: VecDeque<PrefixCache<M::Cache>>,
    capacity: usize,
}

impl<M: LanguageModel> PrefixStore<M> {
    /// An empty one.
    ///
    /// - bytes: room for keys and values
    /// - entry_bytes: what those of one text take
    pub fn new(bytes: u128, entry_bytes: u128) -> Self {
        let capacity = usize::try_from(bytes / entry_bytes.max(1)).unwrap_or(usize::MAX);
        Self { entries: VecDeque::new(), capacity }
    }

    /// How many texts are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// What spares the most of a prompt, if anything does.
    pub fn find(&mut self, prompt: &[u32], model: &M) -> Option<PrefixCache<M::Cache>> {
        let spared = |entry: &PrefixCache<M::Cache>| entry.spares(prompt, model);
        let (place, spared) = self.entries.iter().map(spared).enumerate().max_by_key(|(_, spared)| *spared)?;
        if spared == 0 {
            return None;
        }
        let entry = self.entries.remove(place)?;
        self.entries.push_back(entry.clone());
        Some(entry)
    }

    /// Keeps a text, in place of those that it makes needless: each that begins it, where it can go back that far.
    pub fn keep(&mut self, text: PrefixCache<M::Cache>, model: &M) {
        if self.capacity == 0 || text.tokens().is_empty() {
            return;
        }
        // One more token stands for any that may follow: all of a text can be spared only for a longer one.
        let follows = |tokens: &[u32]| [tokens, &[0]].concat();
        let serves = |by: &PrefixCache<M::Cache>, tokens: &[u32]| {
            by.tokens().starts_with(tokens) && by.spares(&follows(tokens), model) >= tokens.len()
        };
        if let Some(place) = self.entries.iter().position(|entry| serves(entry, text.tokens())) {
            let entry = self.entries.remove(place);
            self.entries.extend(entry);
            return;
        }
        self.entries.retain(|entry| !serves(&text, entry.tokens()));
        self.entries.push_back(text);
        while self.entries.len() > self.capacity {
            self.entries.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tril::infer::{BatchGenerator, Event};
    use tril::model::{Gpt, GptConfig, Positions};
    use tril::{ComputeDevice, GenerateOptions};

    use super::*;

    fn model(window: usize) -> Arc<Gpt> {
        let positions = Positions::Rotary;
        let config = GptConfig { vocab_size: 11, max_seq_len: 64, window, positions, ..GptConfig::default() };
        Arc::new(Gpt::new(config, 1, ComputeDevice::cpu().inner()).expect("a sound config"))
    }

    fn text(model: &Arc<Gpt>, prompt: &[u32], max_tokens: usize) -> PrefixCache {
        let mut batch = BatchGenerator::new(Arc::clone(model));
        batch.add(prompt, GenerateOptions { max_tokens, ..GenerateOptions::default() }).expect("sound");
        loop {
            for (_, event) in batch.step().expect("no device") {
                if let Event::Finished(finished) = event {
                    return finished.prefix_cache.expect("a cache");
                }
            }
        }
    }

    #[test]
    fn the_longest_beginning_is_found_and_a_text_takes_the_place_of_its_own_beginning() {
        let model = model(0);
        let mut store = PrefixStore::new(300, 100);
        assert!(store.find(&[1, 2, 3], &model).is_none());
        store.keep(text(&model, &[1, 2, 3, 4], 2), &model);
        store.keep(text(&model, &[1, 2, 5, 6, 7], 2), &model);
        let found = store.find(&[1, 2, 5, 9], &model).expect("three in common");
        assert_eq!(found.spares(&[1, 2, 5, 9], &model), 3);
        let longer: Vec<u32> = found.tokens().iter().copied().chain([8, 8]).collect();
        store.keep(text(&model, &longer, 1), &model);
        assert_eq!(store.len(), 2, "the longer text serves wherever its beginning did");
        store.keep(text(&model, &longer[..4], 1), &model);
        assert_eq!(store.len(), 2, "and what is known already takes no place");
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for_and_what_was_used_last_stays() {
        let model = model(0);
        let mut store = PrefixStore::new(250, 100);
        for first in [1, 2] {
            store.keep(text(&model, &[first, 9, 9], 1), &model);
        }
        assert!(store.find(&[1, 9, 3], &model).is_some());
        store.keep(text(&model, &[3, 9, 9], 1), &model);
        assert_eq!(store.len(), 2);
        assert!(store.find(&[2, 9, 3], &model).is_none() && store.find(&[1, 9, 3], &model).is_some());
        let mut none = PrefixStore::new(99, 100);
        none.keep(text(&model, &[1], 1), &model);
        assert_eq!(none.len(), 0);
    }

    #[test]
    fn where_a_window_cannot_go_back_the_beginning_is_kept_beside_the_longer_text() {
        let model = model(4);
        let mut store = PrefixStore::new(1000, 100);
        let first = text(&model, &[1, 2, 3, 4, 5, 6], 2);
        let begin = first.tokens().to_vec();
        store.keep(first, &model);
        store.keep(text(&model, &[&begin[..], &[7; 20]].concat(), 1), &model);
        assert_eq!(store.len(), 2);
        let again = [&begin[..], &[9, 9]].concat();
        let found = store.find(&again, &model).expect("the beginning");
        assert_eq!(found.spares(&again, &model), begin.len());
    }
}
