//! The sections of a recipe that no other crate has: the text, and the samples shown while training.

use serde::{Deserialize, Serialize};
use tril_data::{Corpus, DataError, DocumentFormat, FileGlob, HeldOut, TextEvent, TextSource};

/// Which text, and how much of it is held out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Name of a corpus, or path of a file or directory.
    pub source: String,
    /// Of a directory: which files are read, such as `*.md`; empty for all.
    pub glob: String,
    /// For lines of JSON: the field that is the text of a document; empty for plain text.
    pub field: String,
    /// For documents in one text: what stands between them; empty where each file is one.
    pub separator: String,
    /// Share of the text, at its end or before what tests, that the loss is measured on: above 0, below 1.
    pub validation_fraction: f64,
    /// Share of the text, at its very end, that training never reads: from 0, below 1 together with the other.
    pub test_fraction: f64,
}

impl Default for DataConfig {
    fn default() -> Self {
        let none = String::new;
        Self {
            source: "tales".into(),
            glob: none(),
            field: none(),
            separator: none(),
            validation_fraction: 0.1,
            test_fraction: 0.0,
        }
    }
}

impl DataConfig {
    /// How the text is cut into documents.
    ///
    /// # Errors
    /// [`DataError::TwoFormats`].
    pub fn format(&self) -> Result<DocumentFormat, DataError> {
        DocumentFormat::new(&self.field, &self.separator)
    }

    /// The shares that are not trained on.
    pub fn held_out(&self) -> HeldOut {
        HeldOut { validation: self.validation_fraction, test: self.test_fraction }
    }

    /// Opens the text, in memory.
    ///
    /// # Errors
    /// As [`Corpus::open_as`].
    pub fn open(&self) -> Result<Corpus, DataError> {
        Corpus::open_as(&self.source, &self.format()?, FileGlob::new(&self.glob)?.as_ref())
    }

    /// Opens the text; one that is large is left on the disk.
    ///
    /// # Errors
    /// As [`TextSource::open`].
    pub fn open_source(&self, watch: &mut dyn FnMut(TextEvent)) -> Result<TextSource<'static>, DataError> {
        let glob = FileGlob::new(&self.glob)?;
        TextSource::open(&self.source, &self.format()?, glob.as_ref(), self.held_out(), watch)
    }
}

/// The samples shown while training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SampleConfig {
    /// Steps between samples; 0 shows one at the end only.
    pub interval: u64,
    /// What they begin with; empty begins at the end-of-text token if there is one, else at a newline.
    pub prompt: String,
    /// Tokens of a sample.
    pub max_tokens: usize,
    /// 0 is greedy.
    pub temperature: f64,
    /// 0 keeps all tokens.
    pub top_k: usize,
    /// Names the draws.
    pub seed: u64,
}

impl Default for SampleConfig {
    fn default() -> Self {
        Self { interval: 0, prompt: String::new(), max_tokens: 200, temperature: 0.8, top_k: 0, seed: 1337 }
    }
}
