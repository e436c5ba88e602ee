//! What was computed for an earlier text, for one that begins as it does.

use tril_model::KvCache;

use crate::language_model::LanguageModel;

/// A text and the keys and values of its first positions, to go on from without computing them again.
#[derive(Debug, Clone)]
pub struct PrefixCache<C = KvCache> {
    tokens: Vec<u32>,
    cache: C,
}

impl<C> PrefixCache<C> {
    /// What a cache holds that has seen these tokens and no others.
    pub(crate) fn new(tokens: Vec<u32>, cache: C) -> Self {
        Self { tokens, cache }
    }

    /// The tokens whose keys and values it holds.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// How many positions of a context it would spare: those of their common beginning, or none where the cache cannot go
    /// back that far.
    pub fn spares<M: LanguageModel<Cache = C>>(&self, context: &[u32], model: &M) -> usize
    where
        C: Clone,
    {
        let known = self.shared(context);
        if known > 0 && model.rewind(&mut self.cache.clone(), known) { known } else { 0 }
    }

    /// How many positions it has in common with a context of which at least one is left to compute.
    fn shared(&self, context: &[u32]) -> usize {
        let known = self.tokens.iter().zip(context).take_while(|(a, b)| a == b).count();
        known.min(context.len().saturating_sub(1))
    }

    /// The cache, taken back to where its text and `context` part; at least one token of `context` is left to compute.
    pub(super) fn up_to<M: LanguageModel<Cache = C>>(mut self, context: &[u32], model: &M) -> Option<C> {
        let known = self.shared(context);
        model.rewind(&mut self.cache, known).then_some(self.cache)
    }
}
