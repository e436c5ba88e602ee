//! Guesses that make generation faster and change no text.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use tril_infer::{Drafter, LanguageModel, Lookup, ModelDrafter};
use tril_kernels::is_cpu;
use tril_model::GptConfig;
use tril_text::Tokenizer;

use crate::Model;
use crate::generate::TextGenerator;

/// Where a generator takes guesses of the next tokens from. One pass checks several of them, and a guess is kept exactly if
/// it is the token that is drawn in its place, so texts, probabilities and receipts are the same with guesses and without.
#[derive(Debug, Clone)]
pub struct Draft {
    source: Source,
    most: Option<NonZeroUsize>,
}

#[derive(Debug, Clone)]
enum Source {
    Lookup,
    /// A smaller model, with its weights and those of the model to be helped.
    Model {
        model: Model,
        weights: [usize; 2],
    },
}

/// Why there can be no guesses.
#[derive(Debug, thiserror::Error)]
pub enum DraftError {
    /// A device on which a pass over several tokens rounds otherwise than the steps one by one.
    #[error(
        "guesses are checked by one pass over several tokens, which only the CPU computes to the same bits as one by one, and {} is on another device, where tokens could change: use --device cpu", path.display()
    )]
    Device {
        /// The model that is not on the CPU.
        path: PathBuf,
    },
    /// A model with other tokens.
    #[error(
        "{}: it cannot guess for {}, whose vocabulary is another: {difference}; a draft must be trained with the same tokenizer (tokenizer.kind=\"file\" takes that of a checkpoint)",
        draft.display(), model.display()
    )]
    Vocabulary {
        /// The model that was to guess.
        draft: PathBuf,
        /// The model to be helped.
        model: PathBuf,
        /// What is different.
        difference: String,
    },
}

impl Draft {
    /// Guesses from the text itself: that it goes on as it did the last time that it stood as it does at its end.
    ///
    /// # Errors
    /// [`DraftError::Device`].
    pub fn lookup(model: &Model) -> Result<Self, DraftError> {
        check_device(model)?;
        Ok(Self { source: Source::Lookup, most: None })
    }

    /// Guesses of a smaller model with the same vocabulary. Its context may be longer or shorter.
    ///
    /// # Errors
    /// [`DraftError::Device`], [`DraftError::Vocabulary`].
    pub fn model(model: &Model, draft: Model) -> Result<Self, DraftError> {
        check_device(model)?;
        check_device(&draft)?;
        if let Some(difference) = difference(model.tokenizer(), draft.tokenizer()) {
            let (draft, model) = (draft.path().to_owned(), model.path().to_owned());
            return Err(DraftError::Vocabulary { draft, model, difference });
        }
        let weights = [draft.config(), model.config()].map(weights_of_a_token);
        Ok(Self { source: Source::Model { model: draft, weights }, most: None })
    }

    /// Has at most so many tokens guessed at a time; fewer are, where few are right.
    #[must_use]
    pub fn with_most(self, most: NonZeroUsize) -> Self {
        Self { most: Some(most), ..self }
    }

    /// The smaller model, where one guesses.
    pub fn guessing_model(&self) -> Option<&Model> {
        match &self.source {
            Source::Lookup => None,
            Source::Model { model, .. } => Some(model),
        }
    }

    /// One that begins with no text, for one generator.
    pub fn drafter(&self) -> Box<dyn Drafter> {
        let most = self.most.map_or(usize::MAX, NonZeroUsize::get);
        match &self.source {
            Source::Lookup => Box::new(Lookup::new().with_most(most)),
            Source::Model { model, weights } => {
                Box::new(ModelDrafter::new(Arc::clone(model.gpt()), *weights).with_most(most))
            }
        }
    }
}

impl<M: LanguageModel> TextGenerator<M> {
    /// Has next tokens guessed, so that one pass checks several of them. It changes the time, never a text.
    #[must_use]
    pub fn with_draft(self, draft: &Draft) -> Self {
        self.with_drafter(draft.drafter())
    }
}

fn check_device(model: &Model) -> Result<(), DraftError> {
    match is_cpu(&model.gpt().device()) {
        true => Ok(()),
        false => Err(DraftError::Device { path: model.path().to_owned() }),
    }
}

/// Weights that each token meets.
fn weights_of_a_token(config: &GptConfig) -> usize {
    config.block_weights() + config.d_model * config.vocab_size
}

/// What two vocabularies differ in, if they do.
fn difference(of: &Tokenizer, with: &Tokenizer) -> Option<String> {
    let [tokens, others] = [of, with].map(Tokenizer::vocab_size);
    if tokens != others {
        return Some(format!("{others} tokens, and not {tokens}"));
    }
    let other = (0..tokens as u32).find(|id| of.token_bytes(*id) != with.token_bytes(*id));
    if let Some(id) = other {
        return Some(format!("token {id} is {:?}, and not {:?}", with.token_text(id), of.token_text(id)));
    }
    let special = |tokenizer: &Tokenizer| -> Vec<(u32, String)> {
        tokenizer.special_tokens().map(|(id, name)| (id, name.to_owned())).collect()
    };
    (special(of) != special(with) || of.end_of_text() != with.end_of_text())
        .then(|| "its special tokens are others".to_owned())
}
