//! A model with the tokenizer that belongs to it, from a run, a checkpoint or a Hugging Face directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tril_infer::{ScoreOptions, TokenScore, score};
use tril_model::{Gpt, GptConfig, checkpoint};
use tril_text::{TextBounds, TextError, Tokenizer};
use tril_train::RunDir;

use crate::chat::{Chat, ChatFormat, ChatSettings};
use crate::generate::{Completion, GenerateRequest, TextGenerator};
use crate::{ComputeDevice, Error};

/// A model and its tokenizer. A clone shares both.
#[derive(Debug, Clone)]
pub struct Model {
    gpt: Arc<Gpt>,
    tokenizer: Arc<Tokenizer>,
    path: PathBuf,
}

impl Model {
    /// Opens the best checkpoint of the run at a path, or the checkpoint or Hugging Face directory at it.
    ///
    /// # Errors
    /// [`Error::Model`] where there is none or it is damaged, [`Error::Text`] for its tokenizer,
    /// [`Error::TokenizerMismatch`].
    pub fn open(path: impl AsRef<Path>, device: &ComputeDevice) -> Result<Self, Error> {
        let path = RunDir::find_checkpoint(path.as_ref())?;
        let gpt = checkpoint::load_model(&path, device.inner())?;
        Self::new(gpt, Arc::new(open_tokenizer(&path)?), path)
    }

    /// A model that is in memory already.
    ///
    /// - path: where it comes from, for messages and receipts
    ///
    /// # Errors
    /// [`Error::TokenizerMismatch`].
    pub fn new(gpt: Gpt, tokenizer: Arc<Tokenizer>, path: impl Into<PathBuf>) -> Result<Self, Error> {
        let (tokens, vocab_size, path) = (tokenizer.vocab_size(), gpt.config().vocab_size, path.into());
        if tokens != vocab_size {
            return Err(Error::TokenizerMismatch { path, tokens, vocab_size });
        }
        Ok(Self { gpt: Arc::new(gpt), tokenizer, path })
    }

    /// The network: token ids in, logits out.
    pub fn gpt(&self) -> &Arc<Gpt> {
        &self.gpt
    }

    /// Its shape.
    pub fn config(&self) -> &GptConfig {
        self.gpt.config()
    }

    /// Text to ids and back.
    pub fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The checkpoint's directory: of a run, which of its checkpoints was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A request to continue a prompt by the model's own distribution until its end-of-text token; change its fields to
    /// ask for something else. An empty prompt begins where a document does.
    ///
    /// # Errors
    /// [`Error::Text`] for a prompt that the tokenizer cannot encode.
    pub fn request(&self, prompt: impl Into<String>) -> Result<GenerateRequest, Error> {
        Ok(GenerateRequest::new(prompt, &self.tokenizer)?)
    }

    /// A generator of texts, to which requests can be added at any time.
    pub fn generator(&self) -> TextGenerator {
        TextGenerator::new(Arc::clone(&self.gpt), Arc::clone(&self.tokenizer))
    }

    /// Makes one text to its end.
    ///
    /// # Errors
    /// As [`TextGenerator::add`], and what ends the text in an error.
    pub fn generate(&self, request: GenerateRequest) -> Result<Completion, Error> {
        self.generator().complete(request)
    }

    /// Begins a text that a user and the model write in turn.
    pub fn chat(&self, format: ChatFormat, settings: ChatSettings) -> Chat {
        Chat::new(self.clone(), format, settings)
    }

    /// How probable the model finds each token of a text: its ids with their scores, none for the first, which nothing
    /// predicts. A text longer than a context is cut into windows of one context each.
    ///
    /// - alternatives: how many of the most probable tokens are named at each place
    ///
    /// # Errors
    /// [`Error::Text`], [`Error::Infer`] for a text of fewer than two tokens.
    pub fn score(&self, text: &str, alternatives: usize) -> Result<Vec<(u32, Option<TokenScore>)>, Error> {
        let ids = self.tokenizer.encode(text)?;
        let scores = score(&self.gpt, &ids, &ScoreOptions { seq_len: self.config().max_seq_len, alternatives })?;
        let scores = std::iter::once(None).chain(scores.into_iter().map(Some));
        Ok(ids.into_iter().zip(scores).collect())
    }
}

/// The tokenizer of a checkpoint, with what its model has learnt that texts begin and end with, where that is said.
fn open_tokenizer(dir: &Path) -> Result<Tokenizer, TextError> {
    let tokenizer = Tokenizer::open(&dir.join(checkpoint::TOKENIZER))?;
    let path = dir.join(checkpoint::GENERATION);
    match std::fs::read(&path) {
        Ok(json) => {
            let bounds = TextBounds::from_json(&json, &path, &tokenizer)?;
            tokenizer.with_bounds(bounds).map_err(|error| TextError::InvalidBounds { path, reason: error.to_string() })
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(tokenizer),
        Err(source) => Err(TextError::Unreadable { path, source }),
    }
}
