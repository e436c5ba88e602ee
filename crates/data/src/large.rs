//! A text that is left on the disk: read in parts, turned into tokens once, and kept as tokens in the cache directory.

mod parts;
mod survey;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use rayon::prelude::*;
use sha2::{Digest, Sha256};
use tril_text::{Position, TextError, Tokenizer, TokenizerConfig, TokenizerKind, UnknownCharacters};

use crate::cache_dir::CacheDir;
use crate::corpus::Corpus;
use crate::encoded_corpus::EncodedCorpus;
use crate::error::DataError;
use crate::format::DocumentFormat;
use crate::known::hex;
use crate::oddities::Oddities;
use crate::sample::{PAIR_SAMPLE_BYTES, stripes, within};
use crate::split::{HeldOut, Piece, located};
use crate::stats::{StatsCounter, TextStats};
use crate::tally::{SpeltBytes, Tally};
use crate::token_cache::{self, TOKENS, TokenFile};
use parts::{Parts, TextPart};
use survey::Survey;

/// What is done with a large text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextStage {
    /// It is read once.
    Reading,
    /// What it is made of is counted.
    Counting,
    /// A sample of it is read, and byte pairs are learnt.
    Learning,
    /// It is turned into tokens.
    Encoding,
}

/// What happens on the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextEvent {
    /// So many bytes are done, of so many.
    Progress {
        /// What is done.
        stage: TextStage,
        /// Bytes of the text.
        done: u64,
        /// All of them, about.
        total: u64,
    },
    /// Something that is worth a word.
    Note(String),
}

/// A text that is read in parts.
#[derive(Debug, Clone, PartialEq)]
pub struct LargeText {
    pub(crate) name: String,
    files: Vec<PathBuf>,
    format: DocumentFormat,
    has_documents: bool,
    pub(crate) skipped: Vec<String>,
    survey: Survey,
    held_out: HeldOut,
    cache: CacheDir,
    pair_sample: usize,
}

/// Files that make up a large text.
pub(crate) struct LargeFiles {
    pub name: String,
    pub files: Vec<PathBuf>,
    pub format: DocumentFormat,
    pub has_documents: bool,
    pub skipped: Vec<String>,
}

impl LargeText {
    /// Reads the files once, unless that has been done before.
    ///
    /// - held_out: the shares that are held out
    pub(crate) fn open(
        files: LargeFiles,
        held_out: HeldOut,
        cache: CacheDir,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Self, DataError> {
        let LargeFiles { name, files, format, has_documents, skipped } = files;
        let survey = Survey::of(&name, &files, &format, held_out, &cache.tokens(), watch)?;
        let pair_sample = PAIR_SAMPLE_BYTES;
        Ok(Self { name, files, format, has_documents, skipped, survey, held_out, cache, pair_sample })
    }

    pub(crate) fn documents(&self) -> usize {
        self.survey.documents
    }

    pub(crate) fn bytes(&self) -> usize {
        self.survey.bytes
    }

    pub(crate) fn has_documents(&self) -> bool {
        self.has_documents
    }

    pub(crate) fn oddities(&self) -> Oddities {
        self.survey.odd
    }

    /// What it is made of.
    pub(crate) fn stats(&self, watch: &mut dyn FnMut(TextEvent)) -> Result<TextStats, DataError> {
        let (mut counter, mut done) = (StatsCounter::new(), 0);
        for part in Parts::new(&self.files, &self.format) {
            let part = part?;
            counter.part(&part.text, part.ends);
            done += part.text.len() as u64;
            watch(TextEvent::Progress { stage: TextStage::Counting, done, total: self.survey.bytes as u64 });
        }
        Ok(counter.finish(self.has_documents))
    }

    /// About so many bytes of its beginning.
    pub(crate) fn beginning(&self, bytes: usize) -> Result<Corpus, DataError> {
        let mut left = bytes;
        let is_wanted = move |part: &TextPart| {
            let wanted = left > 0;
            left = left.saturating_sub(part.text.len());
            wanted
        };
        Ok(self.corpus_of(is_wanted)?.beginning(bytes))
    }

    /// The tokenizer that the whole text in memory would give. One that is learnt is kept.
    pub(crate) fn tokenizer(
        &self,
        config: &TokenizerConfig,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Tokenizer, DataError> {
        match config.kind {
            TokenizerKind::Char => Ok(Tokenizer::build(config, &[&self.survey.alphabet])?),
            TokenizerKind::Byte | TokenizerKind::File => Ok(Tokenizer::build(config, &[])?),
            TokenizerKind::Bpe => self.learnt(config, watch),
        }
    }

    fn learnt(&self, config: &TokenizerConfig, watch: &mut dyn FnMut(TextEvent)) -> Result<Tokenizer, DataError> {
        let TokenizerConfig { vocab_size, end_of_text, .. } = config;
        let key = self.key(&format!("pairs {vocab_size} {end_of_text} {} 1", self.pair_sample));
        let path = self.cache.tokens().join(format!("{key}.tokenizer"));
        if let Ok(text) = std::fs::read_to_string(&path)
            && let Some((hash, json)) = text.split_once('\n')
            && hash == hex(&Sha256::digest(json))
        {
            return Ok(Tokenizer::from_json(json, &path)?);
        }
        let (stripes, mut begin, mut sample) = (stripes(self.survey.bytes, self.pair_sample), 0, Vec::new());
        for part in Parts::new(&self.files, &self.format) {
            let part = part?;
            sample.extend(within(&part.text, begin, &stripes).into_iter().map(str::to_owned));
            begin += part.text.len();
            let (done, total) = (begin as u64, self.survey.bytes as u64);
            watch(TextEvent::Progress { stage: TextStage::Learning, done, total });
        }
        let sample: Vec<&str> = sample.iter().map(String::as_str).collect();
        let tokenizer = Tokenizer::build(config, &sample)?;
        let json = tokenizer.to_json()?;
        token_cache::write(&path, format!("{}\n{json}", hex(&Sha256::digest(&json))).as_bytes())?;
        Ok(tokenizer)
    }

    /// What trains and what validates, as the whole of it in memory would give them; from the cache where they are there.
    pub(crate) fn encode(
        &self,
        tokenizer: &Tokenizer,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<EncodedCorpus, DataError> {
        if self.format == DocumentFormat::Files && !tokenizer.can_be_cut() {
            watch(TextEvent::Note("this tokenizer reads a text whole, so all of it is in memory".to_owned()));
            return EncodedCorpus::new(&self.in_memory()?, tokenizer, self.held_out);
        }
        let (json, end) = (tokenizer.to_json()?, tokenizer.end_of_text());
        let (has_documents, fractions) = (self.has_documents, survey::fractions(self.held_out));
        let key = self.key(&format!("tokens {} {end:?} {has_documents} {fractions} 1", hex(&Sha256::digest(&json))));
        let path = self.cache.tokens().join(format!("{key}.{TOKENS}"));
        if let Some(kept) = token_cache::open(&path) {
            return Ok(EncodedCorpus { name: self.name.clone(), ..kept });
        }
        if path.exists() {
            watch(TextEvent::Note(format!("{} is damaged, and is made anew", path.display())));
        }
        self.write(tokenizer, &path, watch)?;
        let kept = token_cache::open(&path).ok_or_else(|| {
            token_cache::cache_error(&path)(std::io::Error::other("it is not what was written; is the disk sound?"))
        })?;
        Ok(EncodedCorpus { name: self.name.clone(), ..kept })
    }

    fn write(
        &self,
        tokenizer: &Tokenizer,
        path: &std::path::Path,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<(), DataError> {
        let mut file = TokenFile::create(path)?;
        let vocab_size = tokenizer.vocab_size();
        let mut train = Tally::new(vocab_size, SpeltBytes::Forgotten);
        let mut validation = Tally::new(vocab_size, SpeltBytes::Kept);
        let (mut place, mut bytes) = (0, 0);
        let mut parts = Parts::new(&self.files, &self.format);
        while let Some(batch) = parts.batch() {
            let batch = batch?;
            let mut sides = Vec::new();
            for (number, part) in batch.iter().enumerate() {
                self.cut(part, number, &mut place, &mut sides);
                bytes += part.text.len() as u64;
            }
            let encode = |side: &SidePart| side.encode(tokenizer);
            let encoded: Vec<Result<Tokens, TextError>> = sides.par_iter().map(encode).collect();
            for (side, encoded) in sides.iter().zip(encoded) {
                let (tokens, unknown) = encoded.map_err(|error| self.at_its_place(error, side, &batch))?;
                let tally = if side.trains { &mut train } else { &mut validation };
                tokens.iter().for_each(|(id, spelt)| tally.add(*id, *spelt));
                let end = tokenizer.end_of_text().filter(|_| side.ends_document);
                end.into_iter().for_each(|id| tally.add(id, 0));
                tally.unknown.add(unknown);
                tally.chars += side.text.chars().count();
                let ids: Vec<u32> = tokens.into_iter().map(|(id, _)| id).chain(end).collect();
                file.push(&ids)?;
            }
            watch(TextEvent::Progress { stage: TextStage::Encoding, done: bytes, total: self.survey.bytes as u64 });
        }
        file.finish(&self.name, self.survey.bytes, train, validation)
    }

    /// A part by sides: whole, or divided where a cut is within it. What is kept for a test is left out.
    ///
    /// - place: the character that the part begins at, and afterwards that it ends at
    fn cut<'a>(&self, part: &'a TextPart, number: usize, place: &mut usize, sides: &mut Vec<SidePart<'a>>) {
        let chars = part.text.chars().count();
        let ends = part.ends && self.has_documents;
        let mut push = |text: &'a str, trains: bool, ends: bool| {
            // What stands nowhere in the training text cannot be learnt, and would only be measured.
            let ends_document = ends && (trains || self.survey.one_ends_before_cut);
            sides.push(SidePart { text, trains, ends_document, number });
        };
        let (begin, end) = (*place, *place + chars);
        *place = end;
        let mut rest = Some((part.text.as_str(), begin));
        for (limit, trains) in [(self.survey.cut, true), (self.survey.test_cut, false)] {
            rest = match rest {
                Some((text, _)) if end <= limit => {
                    push(text, trains, ends);
                    None
                }
                Some((text, begin)) if begin < limit => {
                    let at = text.char_indices().nth(limit - begin).map_or(text.len(), |(at, _)| at);
                    push(&text[..at], trains, false);
                    Some((&text[at..], limit))
                }
                rest => rest,
            };
        }
    }

    /// An error about a part, told by its place in its document.
    fn at_its_place(&self, error: TextError, side: &SidePart, batch: &[TextPart]) -> DataError {
        let part = &batch[side.number];
        let within = side.text.as_ptr() as usize - part.text.as_ptr() as usize;
        let mut start = Position::START;
        if part.index > 0 {
            // Only where something is refused is the document read again, up to here.
            let begun = Parts::new(&self.files, &self.format).map_while(Result::ok);
            for before in begun.filter(|one| one.origin == part.origin) {
                if before.index == part.index {
                    break;
                }
                start = start.after(&before.text);
            }
        }
        let start = start.after(&part.text[..within]);
        let piece = Piece { origin: &part.origin, start, text: side.text, ends_document: false, nats: None };
        located(error, &piece).into()
    }

    /// All of it, for a tokenizer that needs it so.
    fn in_memory(&self) -> Result<Corpus, DataError> {
        self.corpus_of(|_| true)
    }

    /// A corpus of the parts up to the first that is not wanted.
    fn corpus_of(&self, mut is_wanted: impl FnMut(&TextPart) -> bool) -> Result<Corpus, DataError> {
        let mut documents: Vec<crate::Document> = Vec::new();
        for part in Parts::new(&self.files, &self.format) {
            let part = part?;
            if !is_wanted(&part) {
                break;
            }
            let TextPart { origin, index, text, .. } = part;
            match documents.last_mut().filter(|_| index > 0) {
                None => documents.push(crate::Document::new(origin, text)),
                Some(document) => document.text.push_str(&text),
            }
        }
        let (name, skipped) = (self.name.clone(), self.skipped.clone());
        Ok(Corpus { name, documents, has_documents: self.has_documents, skipped })
    }

    /// The name of a file that is made of this text and of what else is told.
    fn key(&self, of: &str) -> String {
        hex(&Sha256::digest(format!("{} {of}", self.survey.sha256)))[..32].to_owned()
    }
}

/// Tokens of a part with the bytes that each spells, and what has no token of its own.
type Tokens = (Vec<(u32, usize)>, UnknownCharacters);

/// What one side has of a part.
struct SidePart<'a> {
    text: &'a str,
    trains: bool,
    ends_document: bool,
    /// Of the part, in its batch.
    number: usize,
}

impl SidePart<'_> {
    fn encode(&self, tokenizer: &Tokenizer) -> Result<Tokens, TextError> {
        let tokens = tokenizer.encode_with_bytes(self.text)?;
        let ids: Vec<u32> = tokens.iter().map(|(id, _)| *id).collect();
        let has_unknown = tokenizer.has_unknown(&ids);
        let unknown = if has_unknown { tokenizer.unknown_characters(self.text)? } else { UnknownCharacters::default() };
        Ok((tokens, unknown))
    }
}
