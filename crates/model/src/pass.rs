//! What may differ between two forward passes of the same model: nothing, or a cache, dropout, an observer.

use burn::tensor::{Tensor, TensorData};

use crate::cache::LayerCache;
use crate::{Dropout, KvCache};

/// Receives named activations, such as `blocks.0.attention.q`.
pub type Observer<'a> = dyn FnMut(&str, TensorData) + 'a;

/// Options of one forward pass. The default is the parallel pass over a whole text from position 0.
#[derive(Default)]
pub struct Pass<'a> {
    /// Keys and values of the positions before the inputs; the pass adds its own to it.
    pub cache: Option<&'a mut KvCache>,
    /// Dropout, for training.
    pub dropout: Option<&'a Dropout>,
    /// Sees every named activation as it is made. Costs a copy of each, so it is for tests and inspection.
    pub observer: Option<&'a mut Observer<'a>>,
}

impl Pass<'_> {
    /// The absolute position of the first input.
    pub fn start(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.position())
    }

    /// One block's share of the pass.
    pub(crate) fn layer(&mut self, index: usize) -> LayerPass<'_> {
        LayerPass {
            index,
            cache: self.cache.as_mut().map(|cache| cache.layer(index)),
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

/// One block's view of a [`Pass`].
pub(crate) struct LayerPass<'a> {
    pub index: usize,
    pub cache: Option<LayerCache<'a>>,
    pub dropout: Option<&'a Dropout>,
    observer: Option<&'a mut Observer<'a>>,
}

impl LayerPass<'_> {
    /// Hands the activation `blocks.{index}.{name}` to the observer; `make` runs only if there is one.
    pub fn observe<const D: usize>(&mut self, name: &str, make: impl FnOnce() -> Tensor<D>) {
        if let Some(observer) = &mut self.observer {
            observer(&format!("blocks.{}.{name}", self.index), make().into_data());
        }
    }
}
