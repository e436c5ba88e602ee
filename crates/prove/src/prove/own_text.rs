//! A text that a model writes itself, to be proved on where nobody gives another.

use tril_infer::{GenerateOptions, Generator, InferError, LanguageModel};

use super::ModelUnderTest;

/// Fewest and most tokens: three windows or contexts, within these.
const LENGTH: (usize, usize) = (96, 4096);

/// A text to prove on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnText {
    /// The prompt and what follows it.
    pub ids: Vec<u32>,
    /// Where it comes from.
    pub origin: TextOrigin,
}

/// Where a text to prove on comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextOrigin {
    /// The model wrote it.
    Model,
    /// All tokens in order of id, over and over, for a model that cannot write, because its logits are no numbers. The
    /// proofs will say what is wrong with it.
    AllTokens,
}

impl OwnText {
    /// Has a model continue a prompt for three windows, or contexts where it has no window.
    ///
    /// # Errors
    /// [`InferError`] for an empty prompt or an id outside the vocabulary, [`InferError::Device`].
    pub fn write<S: ModelUnderTest>(model: &S, prompt: &[u32]) -> Result<Self, InferError> {
        let config = model.config();
        let length = (3 * config.window().unwrap_or(config.max_seq_len)).clamp(LENGTH.0, LENGTH.1);
        let max_tokens = length.saturating_sub(prompt.len());
        let options = GenerateOptions { max_tokens, ..GenerateOptions::default() };
        let written: Result<Vec<u32>, InferError> =
            Generator::new(model, prompt, options)?.map(|token| Ok(token?.sampled.token)).collect();
        match written {
            Ok(new) => Ok(Self { ids: [prompt, &new].concat(), origin: TextOrigin::Model }),
            Err(InferError::BadLogits { .. }) => {
                let ids = (0..length).map(|index| (index % LanguageModel::vocab_size(model)) as u32).collect();
                Ok(Self { ids, origin: TextOrigin::AllTokens })
            }
            Err(error) => Err(error),
        }
    }
}
