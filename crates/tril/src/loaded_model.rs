//! A model with the tokenizer that belongs to it, from a run, a checkpoint, a Hugging Face directory or a GGUF file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tril_formats::{Exportable, Opened, Source};
use tril_infer::{ScoreOptions, TokenScore, score};
use tril_model::{Gpt, GptConfig, WeightFormat, memory};
use tril_text::Tokenizer;
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
    chat_template: Option<Arc<str>>,
    tokenizer_config: Option<Arc<str>>,
    source: Source,
    notes: Arc<[String]>,
}

impl Model {
    /// Opens the best checkpoint of the run at a path, or the checkpoint, Hugging Face directory or GGUF file at it.
    ///
    /// # Errors
    /// [`Error::Model`] where there is none or it is damaged, [`Error::Text`] for its tokenizer,
    /// [`Error::TokenizerMismatch`]; [`Error::Format`] for a model of another tool that is damaged or not computed here.
    pub fn open(path: impl AsRef<Path>, device: &ComputeDevice) -> Result<Self, Error> {
        Self::open_shortened(path, None, device)
    }

    fn of_opened(opened: Opened, path: PathBuf) -> Result<Self, Error> {
        let Opened { gpt, tokenizer, chat_template, tokenizer_config, source, notes } = opened;
        let model = Self::new(gpt, Arc::new(tokenizer), path)?;
        let shared = |text: Option<String>| text.map(Arc::from);
        let (chat_template, tokenizer_config) = (shared(chat_template), shared(tokenizer_config));
        Ok(Self { chat_template, tokenizer_config, source, notes: notes.into(), ..model })
    }

    /// As [`Model::open`], with a context of at most so many tokens: models of other tools have longer ones than a small
    /// machine has memory for their cache.
    ///
    /// # Errors
    /// As [`Model::open`]; [`Error::Format`] for a model whose positions are learned.
    pub fn open_shortened(
        path: impl AsRef<Path>,
        max_seq_len: Option<usize>,
        device: &ComputeDevice,
    ) -> Result<Self, Error> {
        let path = RunDir::find_checkpoint(path.as_ref())?;
        Self::of_opened(tril_formats::open_shortened(&path, max_seq_len, device.inner())?, path)
    }

    /// The same model with the matrices of its blocks and its head rounded to the numbers that a format has, as
    /// [`Gpt::with_weights`] rounds them: on the CPU, making text then reads fewer bytes a token. All that is computed with
    /// it is computed with these numbers.
    ///
    /// The numbers are kept as f32 too, for whatever takes several tokens at once, so it takes more memory, not less.
    ///
    /// # Errors
    /// [`Error::Rounded`] for a model that was rounded to another format; [`Error::Model`] where there is not the memory.
    pub fn with_weights(self, weights: WeightFormat) -> Result<Self, Error> {
        if self.weights() == weights {
            return Ok(self);
        }
        self.check_exact("nothing is rounded twice")?;
        let gpt = Arc::unwrap_or_clone(self.gpt);
        if tril_kernels::is_cpu(&gpt.device()) {
            let what = format!("max_seq_len, and a copy of the weights in {weights} beside them");
            memory::check(&what, memory::generating_bytes(gpt.config(), weights))?;
        }
        Ok(Self { gpt: Arc::new(gpt.with_weights(weights)), ..self })
    }

    /// What its weights were rounded to.
    pub fn weights(&self) -> WeightFormat {
        self.gpt.weights()
    }

    /// Refuses a model whose weights are not those of its checkpoint.
    ///
    /// - why: what cannot be done with them, as a sentence
    pub(crate) fn check_exact(&self, why: &'static str) -> Result<(), Error> {
        match self.weights() {
            WeightFormat::F32 => Ok(()),
            weights => Err(Error::Rounded { path: self.path.clone(), weights, why }),
        }
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
        let gpt = Arc::new(gpt);
        let notes = Arc::new([]);
        Ok(Self {
            gpt,
            tokenizer,
            path,
            chat_template: None,
            tokenizer_config: None,
            source: Source::Checkpoint,
            notes,
        })
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

    /// How a chat becomes a text, as a Jinja template, where the model came with one.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }

    /// The `tokenizer_config.json` that it came with, where it was imported.
    pub fn tokenizer_config(&self) -> Option<&str> {
        self.tokenizer_config.as_deref()
    }

    /// What it was read from.
    pub fn source(&self) -> Source {
        self.source
    }

    /// What was left out or changed when it was read, each in a sentence.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// All that another tool is given of it.
    pub(crate) fn exportable(&self) -> Exportable<'_> {
        Exportable {
            gpt: &self.gpt,
            tokenizer: &self.tokenizer,
            chat_template: self.chat_template(),
            tokenizer_config: self.tokenizer_config(),
        }
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
