//! What is made of a model's weights and kept beside them.

use std::fmt::Debug;
use std::sync::{Arc, OnceLock};

use burn::module::{Content, Devices, Module, ModuleDisplay, ModuleDisplayDefault, ModuleMapper, ModuleVisitor};
use burn::tensor::Device;

/// Something that is made of a model's weights, once, and shared by its clones.
///
/// It is a module without parameters, so that whatever may change a model's weights or their device goes through it: all
/// of that leaves it empty, and no pass can meet what was made of other weights.
#[derive(Debug, Clone)]
pub struct Derived<T>(Arc<OnceLock<T>>);

/// What can be kept in a [`Derived`].
pub trait Derivable: Debug + Clone + Send + Sync + 'static {}

impl<T: Debug + Clone + Send + Sync + 'static> Derivable for T {}

impl<T> Default for Derived<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T: Derivable> Derived<T> {
    /// What is kept, made by `make` if there is nothing yet.
    pub fn get_or_make(&self, make: impl FnOnce() -> T) -> &T {
        if let Some(kept) = self.0.get() {
            return kept;
        }
        // Not within the lock: the thread that makes it may take up other work that waits for it.
        let made = make();
        self.0.get_or_init(|| made)
    }

    /// What is kept.
    #[cfg(test)]
    pub fn get(&self) -> Option<&T> {
        self.0.get()
    }
}

impl<T: Derivable> Module for Derived<T> {
    fn collect_devices(&self, devices: Devices) -> Devices {
        devices
    }

    fn fork(self, _device: &Device) -> Self {
        Self::default()
    }

    fn to_device(self, _device: &Device) -> Self {
        Self::default()
    }

    fn train(self) -> Self {
        Self::default()
    }

    fn valid(&self) -> Self {
        Self::default()
    }

    fn materialize(self) -> Self {
        Self::default()
    }

    fn visit<V: ModuleVisitor>(&self, _visitor: &mut V) {}

    fn map<M: ModuleMapper>(self, _mapper: &mut M) -> Self {
        Self::default()
    }
}

impl<T: Derivable> ModuleDisplayDefault for Derived<T> {
    fn content(&self, _content: Content) -> Option<Content> {
        None
    }
}

impl<T: Derivable> ModuleDisplay for Derived<T> {}
