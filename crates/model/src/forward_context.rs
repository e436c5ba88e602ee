//! What may differ between two forward passes of the same model: nothing, or a cache, dropout, an observer.

use std::ops::Range;

use burn::tensor::Tensor;
use tril_kernels::RotaryTable;

use crate::observer::{Activation, Observation, Observer};
use crate::{Dropout, KvCache};

/// One query head of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HeadId {
    /// The block, from 0.
    pub layer: usize,
    /// The query head in it, from 0.
    pub head: usize,
}

/// Options of one forward pass. The default is the parallel pass over a whole text from position 0.
#[derive(Default)]
pub struct ForwardContext<'a> {
    /// Keys and values of the positions before the inputs; the pass adds its own to them. None: the inputs begin at
    /// position 0. Several: the rows of the batch are shared out over them in order, each takes as many as it was made
    /// for. So sequences of different lengths, each with a cache of its own, go through the model together.
    pub caches: &'a mut [KvCache],
    /// Dropout, for training; not with several caches.
    pub dropout: Option<&'a Dropout>,
    /// Sees what the pass makes; without one, looking costs nothing.
    pub observer: Option<&'a mut Observer<'a>>,
    /// Heads whose outputs are replaced by zero.
    pub disabled_heads: &'a [HeadId],
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
    /// Position of the first query.
    pub start: usize,
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
            disabled_heads: self.disabled_heads,
        }
    }

    /// Shows what no block made.
    pub(crate) fn observe(&mut self, name: &'static str, values: &Tensor<3>) {
        if let Some(observer) = &mut self.observer {
            observer(Observation::Activation(Activation { layer: None, name, values }));
        }
    }
}

/// One block's view of a [`ForwardContext`].
pub(crate) struct LayerContext<'a> {
    pub index: usize,
    pub caches: &'a mut [KvCache],
    pub dropout: Option<&'a Dropout>,
    observer: Option<&'a mut Observer<'a>>,
    disabled_heads: &'a [HeadId],
}

impl LayerContext<'_> {
    /// Shows an activation of this block.
    pub fn observe(&mut self, name: &'static str, values: &Tensor<3>) {
        if let Some(observer) = &mut self.observer {
            observer(Observation::Activation(Activation { layer: Some(self.index), name, values }));
        }
    }

    /// Shows anything else, made only if somebody looks.
    pub fn observe_with<'b>(&mut self, make: impl FnOnce() -> Observation<'b>) {
        if let Some(observer) = &mut self.observer {
            observer(make());
        }
    }

    /// The heads of this block that are switched off.
    pub fn disabled_heads(&self) -> impl Iterator<Item = usize> {
        self.disabled_heads.iter().filter(|disabled| disabled.layer == self.index).map(|disabled| disabled.head)
    }
}
