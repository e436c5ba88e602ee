//! The text of a run: in memory where it is small, and else left on the disk. Both give the same tokens.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use tril_text::{Tokenizer, TokenizerConfig, TokenizerKind};

use crate::cache_dir::CacheDir;
use crate::corpus::{Corpus, collect_files, left_out, name_of};
use crate::encoded_corpus::EncodedCorpus;
use crate::error::DataError;
use crate::file_glob::FileGlob;
use crate::format::DocumentFormat;
use crate::known::find_text;
use crate::large::{LargeFiles, LargeText, TextEvent};
use crate::oddities::Oddities;
use crate::read::{beginning_of, is_packed_or_foreign, shows_no_text};
use crate::sample::{PAIR_SAMPLE_BYTES, pair_sample};
use crate::split::{Encoded, HeldOut, encode_side};
use crate::stats::TextStats;

/// From this length of its files on a text is read in parts and kept as tokens; a shorter one is encoded in a few seconds.
pub const LARGE_BYTES: u64 = 32 << 20;
/// The environment variable that sets another length, for a machine with little memory.
pub const LARGE_VARIABLE: &str = "TRIL_LARGE_TEXT";

/// A text to train on or to measure.
#[derive(Debug, Clone, PartialEq)]
pub enum TextSource<'a> {
    /// All of it in memory.
    Memory(Cow<'a, Corpus>),
    /// On the disk: regular files of UTF-8 that are not packed.
    Large(Box<LargeText>),
}

impl<'a> From<&'a Corpus> for TextSource<'a> {
    fn from(corpus: &'a Corpus) -> Self {
        Self::Memory(Cow::Borrowed(corpus))
    }
}

impl TextSource<'_> {
    /// Opens a text as [`Corpus::open_as`] does, and leaves one on the disk that is large; that one is read once here.
    ///
    /// - glob: of a directory, which files
    /// - held_out: the shares that are to be held out
    ///
    /// # Errors
    ///
    /// As [`Corpus::open_as`] and [`crate::Split::new`]; `Cache`, `Changing` for a large text.
    pub fn open(
        source: &str,
        format: &DocumentFormat,
        glob: Option<&FileGlob>,
        held_out: impl Into<HeldOut>,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<TextSource<'static>, DataError> {
        let asked = std::env::var(LARGE_VARIABLE).ok().and_then(|bytes| bytes.parse().ok());
        if source != "tales" && source != "-" {
            let (path, known) = find_text(source)?;
            let own = known.as_ref().map(|known| &known.format).filter(|_| *format == DocumentFormat::Files);
            let found = large_files(&path, own.unwrap_or(format), glob, asked.unwrap_or(LARGE_BYTES));
            if let Some(mut files) = found {
                if let Some(known) = known {
                    files.name = known.name;
                }
                let large = LargeText::open(files, held_out.into(), CacheDir::of_user()?, watch)?;
                return Ok(TextSource::Large(Box::new(large)));
            }
        }
        Ok(TextSource::Memory(Cow::Owned(Corpus::open_as(source, format, glob)?)))
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Memory(corpus) => &corpus.name,
            Self::Large(text) => &text.name,
        }
    }

    /// How many documents there are; a whole file is one too.
    #[must_use]
    pub fn documents(&self) -> usize {
        match self {
            Self::Memory(corpus) => corpus.documents.len(),
            Self::Large(text) => text.documents(),
        }
    }

    /// Whether documents end in it.
    #[must_use]
    pub fn has_documents(&self) -> bool {
        match self {
            Self::Memory(corpus) => corpus.has_documents,
            Self::Large(text) => text.has_documents(),
        }
    }

    /// Length in bytes.
    #[must_use]
    pub fn text_len(&self) -> usize {
        match self {
            Self::Memory(corpus) => corpus.text_len(),
            Self::Large(text) => text.bytes(),
        }
    }

    /// What a directory holds and was left out, each with its reason.
    #[must_use]
    pub fn skipped(&self) -> &[String] {
        match self {
            Self::Memory(corpus) => &corpus.skipped,
            Self::Large(text) => &text.skipped,
        }
    }

    /// Characters that are seldom meant.
    #[must_use]
    pub fn oddities(&self) -> Oddities {
        match self {
            Self::Memory(corpus) => corpus
                .documents
                .iter()
                .map(|document| Oddities::of(&document.text))
                .fold(Oddities::default(), Oddities::and),
            Self::Large(text) => text.oddities(),
        }
    }

    /// What it is made of.
    ///
    /// # Errors
    ///
    /// As [`TextSource::open`], for a large text.
    pub fn stats(&self, watch: &mut dyn FnMut(TextEvent)) -> Result<TextStats, DataError> {
        match self {
            Self::Memory(corpus) => Ok(TextStats::of(corpus)),
            Self::Large(text) => text.stats(watch),
        }
    }

    /// About so many bytes of its beginning, in memory, for an estimate.
    ///
    /// # Errors
    ///
    /// As [`TextSource::open`], for a large text.
    pub fn beginning(&self, bytes: usize) -> Result<Corpus, DataError> {
        match self {
            Self::Memory(corpus) => Ok(corpus.beginning(bytes)),
            Self::Large(text) => text.beginning(bytes),
        }
    }

    /// Makes the tokenizer that `config` asks for; byte pairs are learnt from a sample of a text that is larger than
    /// [`PAIR_SAMPLE_BYTES`].
    ///
    /// # Errors
    ///
    /// As [`Tokenizer::build`]; `Cache` for a large text.
    pub fn tokenizer(
        &self,
        config: &TokenizerConfig,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Tokenizer, DataError> {
        match self {
            Self::Memory(corpus) if config.kind == TokenizerKind::Bpe => {
                Ok(Tokenizer::build(config, &pair_sample(corpus))?)
            }
            Self::Memory(corpus) => Ok(Tokenizer::build(config, &corpus.texts())?),
            Self::Large(text) => text.tokenizer(config, watch),
        }
    }

    /// What to say where a tokenizer is learnt from less than the text.
    #[must_use]
    pub fn doubt_of_sample(&self, config: &TokenizerConfig) -> Option<String> {
        let bytes = self.text_len();
        (config.kind == TokenizerKind::Bpe && bytes > PAIR_SAMPLE_BYTES).then(|| {
            format!(
                "byte pairs are learnt from {} MiB of the text's {} MiB, in stripes from its beginning to its end",
                PAIR_SAMPLE_BYTES >> 20,
                bytes >> 20
            )
        })
    }

    /// Splits and encodes it; a large text once, and then its tokens are kept.
    ///
    /// - held_out: the shares that are held out: those which the text was opened with
    ///
    /// # Errors
    ///
    /// As [`EncodedCorpus::new`]; `Cache`, `Changing` for a large text.
    pub fn encode(
        &self,
        tokenizer: &Tokenizer,
        held_out: impl Into<HeldOut>,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<EncodedCorpus, DataError> {
        match self {
            Self::Memory(corpus) => EncodedCorpus::new(corpus, tokenizer, held_out),
            Self::Large(text) => text.encode(tokenizer, watch),
        }
    }
}

impl TextSource<'_> {
    /// All of it as one side, to measure a model on; of a large text, which was opened with a fraction of 0, the tokens are kept.
    ///
    /// # Errors
    ///
    /// As [`TextSource::encode`].
    pub fn encode_all(&self, tokenizer: &Tokenizer, watch: &mut dyn FnMut(TextEvent)) -> Result<Encoded, DataError> {
        match self {
            Self::Memory(corpus) => Ok(encode_side(tokenizer, &corpus.pieces())?),
            Self::Large(text) => Ok(text.encode(tokenizer, watch)?.train),
        }
    }
}

/// The files of a path, if they are those of a large text. What cannot be looked at is left to who opens it.
fn large_files(path: &Path, format: &DocumentFormat, glob: Option<&FileGlob>, large: u64) -> Option<LargeFiles> {
    let metadata = fs::metadata(path).ok()?;
    let (mut files, mut skipped) = (Vec::new(), Vec::new());
    if metadata.is_dir() {
        collect_files(path, &mut files, &mut skipped).ok()?;
        files.sort();
        skipped.sort();
        match glob {
            Some(glob) => files.retain(|file| glob.matches(file.strip_prefix(path).unwrap_or(file))),
            None => {
                // What cannot be read is left to who reads it.
                let is_no_text = |file: &PathBuf| beginning_of(file).is_ok_and(|beginning| shows_no_text(&beginning));
                let (binaries, texts): (Vec<_>, Vec<_>) = files.into_iter().partition(is_no_text);
                skipped.extend(left_out(path, &binaries));
                files = texts;
            }
        }
    } else if metadata.is_file() && glob.is_none() {
        files.push(path.to_owned());
    }
    files.retain(|file| fs::metadata(file).is_ok_and(|metadata| metadata.len() > 0));
    let total: u64 = files.iter().filter_map(|file| fs::metadata(file).ok()).map(|metadata| metadata.len()).sum();
    let is_large = total >= large && files.iter().all(|file| can_be_read_in_parts(file, format));
    let (has_documents, format) = (metadata.is_dir() || *format != DocumentFormat::Files, format.clone());
    (is_large && !files.is_empty()).then(|| LargeFiles { name: name_of(path), files, format, has_documents, skipped })
}

/// Whether a file is a text in UTF-8 as it lies there, and no single array of JSON.
fn can_be_read_in_parts(path: &Path, format: &DocumentFormat) -> bool {
    let Ok(beginning) = beginning_of(path) else { return false };
    let is_array = matches!(format, DocumentFormat::JsonLines { .. })
        && beginning.iter().find(|byte| !byte.is_ascii_whitespace()).is_none_or(|byte| *byte == b'[');
    !is_array && !is_packed_or_foreign(&beginning) && !shows_no_text(&beginning)
}
