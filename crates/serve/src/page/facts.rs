//! What the page says of its model before anything is computed.

use burn::module::Module;
use serde::Serialize;
use tril::Tolerance;
use tril::model::GptConfig;

use super::{PageError, PageSource, SCHEMA, max_tokens, own_text};

/// A model, and what the page can show of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModelFacts {
    /// The version of this and all other documents, [`SCHEMA`].
    pub schema: u32,
    /// The version of tril.
    pub version: &'static str,
    /// What the model is called: the name of its run, or its own.
    pub name: String,
    /// Its directory.
    pub checkpoint: String,
    /// Numbers that were learnt.
    pub parameters: u64,
    /// Its shape.
    pub config: GptConfig,
    /// Whether equal bits are promised on its device.
    pub exact: bool,
    /// The id that ends a text, if its vocabulary has one.
    pub end_of_text: Option<u32>,
    /// The most tokens of a text that the page shows.
    pub max_tokens: usize,
    /// A text that it wrote, to begin with.
    pub text: String,
    /// The runs whose training is shown.
    pub runs: Vec<String>,
    /// The task of the model that writes its working, if one is open: `sums` or `parity`.
    pub working: Option<String>,
}

/// The facts of a page's model.
///
/// # Errors
/// [`PageError::Tril`] for a model that cannot write.
pub fn facts(source: &PageSource) -> Result<ModelFacts, PageError> {
    let model = &source.model;
    let config = model.config();
    let working = source.working.as_ref().and_then(|model| tril_lab::LabModelInfo::of(model).ok());
    Ok(ModelFacts {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION"),
        name: source.name(),
        checkpoint: model.path().display().to_string(),
        parameters: model.gpt().num_params() as u64,
        config: config.clone(),
        exact: Tolerance::of(&model.gpt().device()) == Tolerance::EqualBits,
        end_of_text: model.tokenizer().end_of_text(),
        max_tokens: max_tokens(config),
        text: own_text(model)?,
        runs: source.runs.iter().map(|run| super::training::name(run)).collect(),
        working: working.map(|info| info.task.name().to_owned()),
    })
}
