//! What generation needs of a model: logits for ids, with a cache and without. Generators know nothing else, so tests
//! can bring a model of some lines.

use std::sync::Arc;

use burn::tensor::Tensor;
use tril_model::{ForwardContext, Gpt, KvCache};

use crate::InferError;
use crate::draft::position_cost;

/// A model that predicts the next token of a sequence of ids.
///
/// A reference and an [`Arc`] of a model are models too: a generator borrows its model or shares it, as its caller
/// likes.
pub trait LanguageModel: Send + Sync {
    /// What is kept of the positions of one sequence that were already computed.
    type Cache: Clone + Send;

    /// How many tokens there are; ids go from 0 to one less.
    fn vocab_size(&self) -> usize;

    /// The most tokens that a context can hold, where there is a most.
    fn context_limit(&self) -> Option<usize>;

    /// An empty cache for one sequence.
    fn new_cache(&self) -> Self::Cache;

    /// How many positions a cache has seen, which is the position of the next token.
    fn position(&self, cache: &Self::Cache) -> usize;

    /// Takes a cache back to an earlier position; false, and nothing is changed, if it cannot go back that far.
    fn rewind(&self, cache: &mut Self::Cache, position: usize) -> bool;

    /// The logits of the last of some positions: those that a cache has seen and `ids` after them, which it has seen from
    /// then on; without a cache, `ids` alone.
    ///
    /// - ids: not empty
    /// - returns: `[vocab_size]`
    ///
    /// # Errors
    /// [`InferError::Device`].
    fn last_logits(&self, ids: &[u32], cache: Option<&mut Self::Cache>) -> Result<Vec<f32>, InferError>;

    /// One more position for each of several sequences, whatever their lengths.
    ///
    /// - ids: one for each cache
    /// - returns: `[caches.len() · vocab_size]`, row by row
    ///
    /// # Errors
    /// [`InferError::Device`].
    fn decode(&self, ids: &[u32], caches: &mut [Self::Cache]) -> Result<Vec<f32>, InferError>;

    /// Some more positions for each of several sequences, whatever their lengths: the logits of every one of them, as the
    /// steps one by one would give them. Where [`LanguageModel::reserve`] had room for them, each cache can be taken back to
    /// any position from the present one on.
    ///
    /// - ids: those of each sequence, one sequence after another
    /// - lengths: how many of them each sequence has, one number a cache, none of them 0
    /// - returns: `[ids.len() · vocab_size]`, row by row
    ///
    /// # Errors
    /// [`InferError::Device`].
    fn extend(&self, ids: &[u32], lengths: &[usize], caches: &mut [Self::Cache]) -> Result<Vec<f32>, InferError> {
        let mut rows = Vec::with_capacity(ids.len() * self.vocab_size());
        let mut left = ids.iter();
        for (len, cache) in lengths.iter().zip(caches) {
            for id in left.by_ref().take(*len) {
                rows.extend(self.last_logits(&[*id], Some(cache))?);
            }
        }
        Ok(rows)
    }

    /// Makes room in a cache for at most so many positions, after which it can still be taken back to the present one; for
    /// how many there is room.
    fn reserve(&self, _cache: &mut Self::Cache, positions: usize) -> usize {
        positions
    }

    /// What one more position of a sequence costs in a pass over one position, as a share of that pass. An estimate: it decides
    /// how many tokens are guessed, and changes none.
    fn position_cost(&self) -> f64 {
        POSITION_COST
    }
}

/// What is assumed of a model about which nothing is known.
const POSITION_COST: f64 = 0.3;

impl LanguageModel for Gpt {
    type Cache = KvCache;

    fn vocab_size(&self) -> usize {
        self.config().vocab_size
    }

    fn context_limit(&self) -> Option<usize> {
        self.config().context_limit()
    }

    fn new_cache(&self) -> KvCache {
        self.new_cache(1)
    }

    fn position(&self, cache: &KvCache) -> usize {
        cache.position()
    }

    fn rewind(&self, cache: &mut KvCache, position: usize) -> bool {
        cache.rewind(position)
    }

    fn last_logits(&self, ids: &[u32], mut cache: Option<&mut KvCache>) -> Result<Vec<f32>, InferError> {
        if let (1, Some(cache)) = (ids.len(), cache.as_deref_mut())
            && let Some(logits) = self.step(ids, std::slice::from_mut(cache))
        {
            return Ok(logits);
        }
        let context = cache.map_or_else(ForwardContext::default, ForwardContext::cached);
        numbers(self.last_logits(self.inputs(ids, 1), context)) // [1, vocab_size]
    }

    fn decode(&self, ids: &[u32], caches: &mut [KvCache]) -> Result<Vec<f32>, InferError> {
        if let Some(logits) = self.step(ids, caches) {
            return Ok(logits);
        }
        let context = ForwardContext { caches, ..ForwardContext::default() };
        numbers(self.last_logits(self.inputs(ids, ids.len()), context)) // [ids.len(), vocab_size]
    }

    fn extend(&self, ids: &[u32], lengths: &[usize], caches: &mut [KvCache]) -> Result<Vec<f32>, InferError> {
        if let Some(rows) = self.steps(ids, lengths, caches) {
            return Ok(rows);
        }
        let mut rows = Vec::with_capacity(ids.len() * self.config().vocab_size);
        let mut left = ids;
        for (len, cache) in lengths.iter().zip(caches) {
            let (own, rest) = left.split_at(*len);
            left = rest;
            let logits = self.forward_with(self.inputs(own, 1), ForwardContext::cached(cache)); // [1, len, vocab_size]
            rows.extend(numbers(logits.squeeze_dim(0))?);
        }
        Ok(rows)
    }

    fn reserve(&self, cache: &mut KvCache, positions: usize) -> usize {
        let positions = positions.min(cache.most_room());
        if cache.make_room(positions) { positions } else { 0 }
    }

    fn position_cost(&self) -> f64 {
        position_cost(self.config(), self.weights())
    }
}

fn numbers(logits: Tensor<2>) -> Result<Vec<f32>, InferError> {
    logits.try_into_vec_as::<f32>().map_err(InferError::device)
}

/// A pointer to a model is the model.
macro_rules! by_pointer {
    ($($pointer:ty),*) => {$(
        impl<M: LanguageModel> LanguageModel for $pointer {
            type Cache = M::Cache;

            fn vocab_size(&self) -> usize {
                (**self).vocab_size()
            }

            fn context_limit(&self) -> Option<usize> {
                (**self).context_limit()
            }

            fn new_cache(&self) -> M::Cache {
                LanguageModel::new_cache(&**self)
            }

            fn position(&self, cache: &M::Cache) -> usize {
                (**self).position(cache)
            }

            fn rewind(&self, cache: &mut M::Cache, position: usize) -> bool {
                (**self).rewind(cache, position)
            }

            fn last_logits(&self, ids: &[u32], cache: Option<&mut M::Cache>) -> Result<Vec<f32>, InferError> {
                LanguageModel::last_logits(&**self, ids, cache)
            }

            fn decode(&self, ids: &[u32], caches: &mut [M::Cache]) -> Result<Vec<f32>, InferError> {
                (**self).decode(ids, caches)
            }

            fn extend(&self, ids: &[u32], lengths: &[usize], caches: &mut [M::Cache]) -> Result<Vec<f32>, InferError> {
                (**self).extend(ids, lengths, caches)
            }

            fn reserve(&self, cache: &mut M::Cache, positions: usize) -> usize {
                (**self).reserve(cache, positions)
            }

            fn position_cost(&self) -> f64 {
                (**self).position_cost()
            }
        }
    )*};
}

by_pointer!(&M, Arc<M>);
