//! A model made of another tool's tensors: each of ours is put together of theirs, and nothing of theirs is left over.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::Device;
use tril_model::parameters::{self, Init, WeightSource};
use tril_model::{Gpt, GptConfig, ModelError, memory};

use crate::error::FormatError;
use crate::form::{Form, as_stored};
use crate::layout::{Entry, Origin, layout};
use crate::tensors::TensorStore;

/// What asks for too much memory where a model of another tool has a context too long for this machine.
pub const CACHE_SIZES: &str = "the context, the blocks and the heads of its config, for the cache of one sequence";

/// What the config of a model of another tool says.
#[derive(Debug, Clone)]
pub(crate) struct Described {
    /// The model with every gain and bias that its tensors have.
    pub config: GptConfig,
    pub form: Form,
    /// What this toolkit wrote into it: the model before gains and biases were added that it does not have.
    pub own: Option<GptConfig>,
}

impl Described {
    /// The config that this toolkit wrote into a file, if it says what the file itself says.
    pub fn with_own(self, own: Option<GptConfig>) -> Self {
        let own = own
            .and_then(|own| own.resolve().ok())
            .filter(|own| own.mlp == self.config.mlp && as_stored(own, self.form) == self.config);
        Self { own, ..self }
    }
}

impl Described {
    /// The same with a context of at most so many tokens.
    ///
    /// # Errors
    /// [`FormatError::Unsupported`] where positions are learned.
    pub fn shortened(mut self, max_seq_len: Option<usize>, path: &Path) -> Result<Self, FormatError> {
        let Some(tokens) = max_seq_len.filter(|tokens| *tokens < self.config.max_seq_len) else { return Ok(self) };
        if self.config.positions == tril_model::Positions::Learned {
            let reason = "positions are learned, a vector each, so the context has the length that it has";
            return Err(FormatError::unsupported(path, "max_seq_len", tokens, reason));
        }
        self.config.max_seq_len = tokens;
        if let Some(own) = &mut self.own {
            own.max_seq_len = tokens;
        }
        Ok(self)
    }
}

/// Makes the model.
///
/// - config_path: what is named where its config asks for too much
///
/// # Errors
/// [`FormatError::Damaged`] for tensors that are missing, left over or of another shape; [`FormatError::Model`].
pub(crate) fn load(
    mut store: TensorStore,
    described: &Described,
    config_path: &Path,
    device: &Device,
) -> Result<Gpt, FormatError> {
    let Described { config, form, own } = described;
    check_size(config, &store, config_path)?;
    let config = match own {
        Some(own) if has_nothing_more(own, *form, &store)? => own,
        _ => config,
    };
    let entries = layout(config, *form);
    for entry in entries.iter().filter(|entry| matches!(entry.origin, Origin::Filled(_))) {
        store.take(&entry.name);
    }
    check_tied_head(config, *form, &mut store)?;
    let mut source = LayoutSource { entries: BTreeMap::new(), store };
    for entry in entries {
        if let Origin::Parameter { path, .. } = &entry.origin {
            source.entries.entry(path.clone()).or_default().push(entry);
        }
    }
    // Before a number is read, everything must be there and nothing else.
    source.check_names()?;
    let gpt = Gpt::from_source(config.clone(), &mut source, device)?;
    source.store.check_all_taken()?;
    Ok(gpt)
}

fn check_size(config: &GptConfig, store: &TensorStore, config_path: &Path) -> Result<(), FormatError> {
    let tensors = store.names().count();
    if config.n_layers > tensors {
        return Err(FormatError::damaged(
            config_path,
            format!(
                "it asks for {} blocks, but there are {tensors} tensors in all; one of them is another model's",
                config.n_layers
            ),
        ));
    }
    memory::check("the weights, as f32", 4 * memory::parameter_count(config))?;
    memory::check(CACHE_SIZES, memory::cache_bytes(config))?;
    Ok(())
}

/// Whether every gain and bias that this model does not have is one or zero throughout in the file, so that the model is
/// what was exported. It may have been trained elsewhere since.
fn has_nothing_more(own: &GptConfig, form: Form, store: &TensorStore) -> Result<bool, FormatError> {
    for entry in layout(own, form) {
        let Origin::Filled(number) = entry.origin else { continue };
        let Some(tensor) = store.get(&entry.name) else { return Ok(false) };
        if tensor.shape != entry.shape || store.read_stored(tensor)?.iter().any(|value| *value != number) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A head beside a tied embedding must be the embedding.
fn check_tied_head(config: &GptConfig, form: Form, store: &mut TensorStore) -> Result<(), FormatError> {
    if !config.tied_head {
        return Ok(());
    }
    let entries = layout(&GptConfig { n_layers: 0, tied_head: false, ..config.clone() }, form);
    let (Some(embedding), Some(head)) = (entries.first(), entries.last()) else { return Ok(()) };
    let Some(tensor) = store.get(&head.name) else { return Ok(()) };
    let same = match store.get(&embedding.name) {
        Some(other) if other.shape == tensor.shape => {
            let [one, other] = [store.read_stored(tensor)?, store.read_stored(other)?];
            one.iter().zip(&other).all(|(a, b)| a.to_bits() == b.to_bits())
        }
        _ => false,
    };
    if !same {
        return Err(FormatError::damaged(
            store.path_of(tensor),
            format!(
                "the config ties the head to the embedding, but `{}` is there and differs from it; set tie_word_embeddings to what the model was trained with",
                tensor.full_name
            ),
        ));
    }
    store.take(&head.name);
    Ok(())
}

/// Takes parameters out of a store by a layout.
struct LayoutSource {
    entries: BTreeMap<String, Vec<Entry>>,
    store: TensorStore,
}

impl LayoutSource {
    /// Refuses a store that lacks something, has it in another shape, or has something more: nothing is read before.
    fn check_names(&mut self) -> Result<(), FormatError> {
        let wanted: Vec<&Entry> = self.entries.values().flatten().collect();
        let lacking: Vec<&str> = wanted
            .iter()
            .filter(|entry| self.store.get(&entry.name).is_none())
            .map(|entry| entry.name.as_str())
            .collect();
        if !lacking.is_empty() {
            let tensors = if lacking.len() == 1 { "a tensor" } else { "tensors" };
            return Err(FormatError::damaged(
                self.store.path(),
                format!(
                    "{tensors} of its config's model are missing: {}; the config is another model's, or a file is",
                    crate::error::named(&lacking)
                ),
            ));
        }
        wanted.iter().try_for_each(|entry| self.store.find(&entry.name, &entry.shape).map(|_| ()))?;
        let names: Vec<String> = wanted.iter().map(|entry| entry.name.clone()).collect();
        names.iter().for_each(|name| self.store.take(name));
        self.store.check_all_taken()
    }

    fn assemble(&mut self, path: &str, shape: &[usize]) -> Result<Vec<f32>, FormatError> {
        let Some(entries) = self.entries.remove(path) else {
            let reason = format!("nothing in this format holds `{path}`");
            return Err(FormatError::damaged(self.store.path(), reason));
        };
        let columns = shape.last().copied().unwrap_or(0);
        let mut ours = vec![0.0; shape.iter().product()];
        let mut filled = Vec::new();
        for entry in &entries {
            let Origin::Parameter { columns: range, .. } = &entry.origin else { continue };
            let theirs = self.store.read(&entry.name, &entry.shape)?;
            if filled.contains(range) && !entry.agrees(&theirs, &ours, columns) {
                let reason = format!(
                    "`{}` differs from the gate beside it, so its MLP with a gate of ReLU is no squared ReLU; that is not computed here",
                    entry.name
                );
                return Err(FormatError::damaged(self.store.path(), reason));
            }
            entry.put(&theirs, &mut ours, columns);
            filled.push(range.clone());
        }
        Ok(ours)
    }
}

impl WeightSource for LayoutSource {
    fn values(&mut self, path: &str, shape: &[usize], _init: Init) -> Result<Vec<f32>, ModelError> {
        Ok(self.assemble(path, shape)?)
    }
}

/// The tensors of a model in a form that it fits, in the layout's order: name, shape, values.
pub(crate) fn stored<'a>(gpt: &'a Gpt, form: Form) -> impl Iterator<Item = (Entry, Vec<f32>)> + 'a {
    let ours: BTreeMap<String, (usize, Vec<f32>)> = parameters::list(gpt)
        .into_iter()
        .map(|(path, data)| {
            let columns = data.shape().to_vec().last().copied().unwrap_or(0);
            let values: Vec<f32> = data.as_bytes().as_chunks::<4>().0.iter().map(|b| f32::from_ne_bytes(*b)).collect();
            (path, (columns, values))
        })
        .collect();
    layout(gpt.config(), form).into_iter().map(move |entry| {
        let values = match &entry.origin {
            Origin::Filled(number) => vec![*number; entry.shape.iter().product()],
            Origin::Parameter { path, .. } => {
                ours.get(path).map(|(columns, values)| entry.of_ours(values, *columns)).unwrap_or_default()
            }
        };
        (entry, values)
    })
}
