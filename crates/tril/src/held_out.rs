//! The parts of a run's text that it was not trained on, as tokens.

use std::path::Path;

use tril_data::{Encoded, HeldOut, TextEvent};
use tril_model::checkpoint;
use tril_text::Tokenizer;
use tril_train::{RunDir, TrainError};

use crate::fine_tuning::tokenizer_for_training;
use crate::{Error, Model, Recipe};

/// A part of a text that is not trained on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeldOutPart {
    /// What the loss is measured on while training.
    Validation,
    /// What training never reads.
    Test,
}

/// A part of a run's text.
#[derive(Debug, Clone)]
pub struct HeldOutText {
    /// What the text is called.
    pub name: String,
    /// The part's tokens.
    pub encoded: Encoded,
    /// What a directory holds and was left out, each with its reason.
    pub skipped: Vec<String>,
}

impl HeldOutText {
    /// Opens the text that a checkpoint was trained on, and takes a part of it as the recipe beside the checkpoint cuts it.
    ///
    /// - source: where the text is now, if it has moved
    ///
    /// # Errors
    /// [`Error::NotHeldOut`] for a model that is no run's, or whose run has held out no such part;
    /// [`TrainError::OtherText`] where the part that trains is not what the run was trained on; [`Error::TextMoved`].
    pub fn of(
        model: &Model,
        part: HeldOutPart,
        source: Option<&str>,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Self, Error> {
        let path = model.path();
        let refuse = |detail: &str| Error::NotHeldOut { path: path.to_owned(), detail: detail.to_owned() };
        let recipe = path.join("config.toml");
        if !recipe.is_file() {
            return Err(refuse("it has no config.toml, so it does not say on what it was trained: give a text"));
        }
        let mut data = Recipe::open(&recipe)?.data;
        let HeldOut { test, .. } = data.held_out();
        if part == HeldOutPart::Test && test == 0.0 {
            return Err(refuse(
                "its run held out nothing for a test: train one with data.test_fraction=0.05 or so, or give a text that it has not seen",
            ));
        }
        if let Some(source) = source {
            source.clone_into(&mut data.source);
        }
        let tokenizer = tokenizer_of(model, path)?;
        let moved = |source| Error::TextMoved { source };
        let text = data.open_source(watch).map_err(moved)?;
        let sides = text.encode(&tokenizer, data.held_out(), watch)?;
        if sides.train.key != RunDir::progress(path)?.text_key {
            return Err(TrainError::OtherText.into());
        }
        let encoded = match part {
            HeldOutPart::Validation => sides.validation,
            HeldOutPart::Test => {
                // Where the end of a text is cut off does not depend on what stands before it.
                data.validation_fraction = test;
                data.test_fraction = 0.0;
                let text = data.open_source(watch).map_err(moved)?;
                text.encode(&tokenizer, data.held_out(), watch)?.validation
            }
        };
        Ok(Self { name: text.name().to_owned(), encoded, skipped: text.skipped().to_vec() })
    }
}

/// The tokenizer as the run's text was encoded with it.
fn tokenizer_of(model: &Model, path: &Path) -> Result<Tokenizer, Error> {
    let tokenizer = Tokenizer::open(&path.join(checkpoint::TOKENIZER))?;
    match RunDir::origin(path)? {
        Some(_) => tokenizer_for_training(&tokenizer, model.tokenizer().bounds().eos_token_id, path),
        None => Ok(tokenizer),
    }
}
