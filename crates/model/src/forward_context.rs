//! What may differ between two forward passes of the same model: nothing, or a cache, dropout, an observer.

use std::ops::Range;

use burn::tensor::{Tensor, TensorData};
use tril_kernels::RotaryTable;

use crate::{Dropout, KvCache};

/// Receives named activations, such as `blocks.0.attention.q`.
pub type Observer<'a> = dyn FnMut(&str, TensorData) + 'a;

/// Options of one forward pass. The default is the parallel pass over a whole text from position 0.
#[derive(Default)]
pub struct ForwardContext<'a> {
    /// Keys and values of the positions before the inputs; the pass adds its own to them. None: the inputs begin at
    /// position 0. Several: the rows of the batch are shared out over them in order, each takes as many as it was made
    /// for. So sequences of different lengths, each with a cache of its own, go through the model together.
    pub caches: &'a mut [KvCache],
    /// Dropout, for training; not with several caches.
    pub dropout: Option<&'a Dropout>,
    /// Sees every named activation as it is made, but attention's probabilities with several caches, which are of
    /// different lengths. Costs a copy of each, so it is for tests and inspection.
    pub observer: Option<&'a mut Observer<'a>>,
}

impl<'a> ForwardContext<'a> {
    /// A pass over tokens that follow those in one cache.
    pub fn cached(cache: &'a mut KvCache) -> Self {
        Self { caches: std::slice::from_mut(cache), ..Self::default() }
    }
}

/// Rows of a batch that stand at one position, and how it turns their queries and keys.
pub(crate) struct RowGroup {
    pub rows: Range<usize>,
    pub rotary: Option<RotaryTable>,
}

impl ForwardContext<'_> {
    /// The rows of each cache, in order, with the position of their first input; all rows, from position 0, if there is
    /// no cache.
    pub(crate) fn row_ranges(&self, batch_size: usize) -> Vec<(Range<usize>, usize)> {
        if self.caches.is_empty() {
            return vec![(0..batch_size, 0)];
        }
        let mut end = 0;
        let group = |cache: &KvCache| {
            let first = end;
            end += cache.batch_size();
            (first..end, cache.position())
        };
        let groups = self.caches.iter().map(group).collect();
        assert_eq!(end, batch_size, "the caches hold {end} sequences, the batch has {batch_size} rows");
        groups
    }

    /// One block's share of the pass.
    pub(crate) fn layer(&mut self, index: usize) -> LayerContext<'_> {
        LayerContext {
            index,
            caches: self.caches,
            dropout: self.dropout,
            observer: self.observer.as_mut().map(|observer| &mut **observer as &mut Observer<'_>),
        }
    }

    pub(crate) fn observe<const D: usize>(&mut self, name: &str, tensor: &Tensor<D>) {
        if let Some(observer) = &mut self.observer {
            observer(name, tensor.to_data());
        }
    }
}

/// One block's view of a [`ForwardContext`].
pub(crate) struct LayerContext<'a> {
    pub index: usize,
    pub caches: &'a mut [KvCache],
    pub dropout: Option<&'a Dropout>,
    observer: Option<&'a mut Observer<'a>>,
}

impl LayerContext<'_> {
    /// Hands the activation `blocks.{index}.{name}` to the observer; `make` runs only if there is one.
    pub fn observe<const D: usize>(&mut self, name: &str, make: impl FnOnce() -> Tensor<D>) {
        if let Some(observer) = &mut self.observer {
            observer(&format!("blocks.{}.{name}", self.index), make().into_data());
        }
    }
}
