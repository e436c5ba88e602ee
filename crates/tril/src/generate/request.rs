//! What is asked of a generator of texts.

use tril_infer::{GenerateOptions, PrefixCache};
use tril_model::KvCache;
use tril_text::{HiddenParts, StopTexts, TextError, Tokenizer};

/// A text to be continued.
#[derive(Debug, Clone)]
pub struct GenerateRequest<C = KvCache> {
    /// The text before the new one. It is not shown again, but a hidden part may begin in it.
    pub prompt: String,
    /// The tokens that the model continues.
    pub prompt_ids: Vec<u32>,
    /// How tokens are chosen and when they end.
    pub options: GenerateOptions,
    /// Texts that end the new text and are no part of what is shown.
    pub stop: StopTexts,
    /// Parts of the text that are generated and not shown.
    pub hidden: HiddenParts,
    /// What was computed for an earlier text of this model: the beginning that they share is not computed again.
    pub prefix_cache: Option<PrefixCache<C>>,
    /// What to do with a character whose last bytes did not come.
    pub cut_character: CutCharacter,
}

/// What becomes of a character that is not complete where a text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CutCharacter {
    /// U+FFFD stands in its place.
    #[default]
    Replace,
    /// It is left out, unless the model ended the text: for a text that may be gone on with.
    LeaveOut,
}

impl<C> GenerateRequest<C> {
    /// A request to continue a prompt; see [`Model::request`](crate::Model::request).
    ///
    /// # Errors
    /// For a prompt that the tokenizer cannot encode.
    pub fn new(prompt: impl Into<String>, tokenizer: &Tokenizer) -> Result<Self, TextError> {
        let prompt = prompt.into();
        Ok(Self {
            prompt_ids: tokenizer.encode_prompt(&prompt)?,
            prompt,
            options: GenerateOptions { stop_token: tokenizer.end_of_text(), ..GenerateOptions::default() },
            stop: StopTexts::default(),
            hidden: HiddenParts::default(),
            prefix_cache: None,
            cut_character: CutCharacter::default(),
        })
    }

    /// What is shown of the prompt: all of it but its hidden parts.
    pub fn shown_prompt(&self) -> String {
        self.hidden.shown(&self.prompt)
    }
}
