//! One reading of a large text: its length, its characters, where it is cut into what trains and what validates. What was
//! found is kept, and found again as long as no file of the text changes.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tril_text::TextError;

use super::parts::{Parts, TextPart};
use super::{TextEvent, TextStage};
use crate::error::DataError;
use crate::format::DocumentFormat;
use crate::known::hex;
use crate::oddities::Oddities;
use crate::split::{Cuts, HeldOut};
use crate::token_cache;

/// A file that was changed so shortly before it was read may be changed again without a new time.
const CLOCK_STEP: Duration = Duration::from_secs(2);

/// What is known of a text after one reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Survey {
    /// Length of the documents' texts in bytes.
    pub bytes: usize,
    /// How many documents there are.
    pub documents: usize,
    /// The character at which what validates begins.
    pub cut: usize,
    /// The character at which what tests begins; absent from what earlier releases have kept, where nothing did.
    #[serde(default = "nowhere")]
    pub test_cut: usize,
    /// Whether the first document ends before the cut.
    pub one_ends_before_cut: bool,
    /// Of the texts, with a byte that no text has at the end of each document.
    pub sha256: String,
    /// Every character of it, once, by code point.
    pub alphabet: String,
    /// Characters that are seldom meant.
    pub odd: Oddities,
}

/// What was found, and of which files.
#[derive(Serialize, Deserialize)]
struct Memo {
    files: Vec<(PathBuf, Stamp)>,
    survey: Survey,
}

/// By what a file is known to be as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub bytes: u64,
    /// When it was changed last, from 1970 on.
    changed: Duration,
}

impl Stamp {
    pub fn of(path: &Path) -> Result<Self, DataError> {
        let read = || -> std::io::Result<Self> {
            let metadata = fs::metadata(path)?;
            Ok(Self { bytes: metadata.len(), changed: since_1970(metadata.modified()?) })
        };
        Ok(read().map_err(|source| TextError::Unreadable { path: path.to_owned(), source })?)
    }
}

fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// Beyond the end of any text.
fn nowhere() -> usize {
    usize::MAX
}

/// The shares as they enter the names of what is kept: as in earlier releases, where nothing tests.
pub(super) fn fractions(held_out: HeldOut) -> String {
    let HeldOut { validation, test } = held_out;
    if test == 0.0 { format!("{validation:?}") } else { format!("{validation:?}+{test:?}") }
}

impl Survey {
    /// Finds what is kept of these files, or reads them and keeps it.
    ///
    /// - memos: the directory of what is kept
    pub fn of(
        name: &str,
        files: &[PathBuf],
        format: &DocumentFormat,
        held_out: HeldOut,
        memos: &Path,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Self, DataError> {
        let stamps: Vec<Stamp> = files.iter().map(|path| Stamp::of(path)).collect::<Result<_, _>>()?;
        let stamped: Vec<(PathBuf, Stamp)> =
            files.iter().map(|path| fs::canonicalize(path).unwrap_or_else(|_| path.clone())).zip(stamps).collect();
        let mut key = Sha256::new();
        for (path, _) in &stamped {
            key.update(path.as_os_str().as_encoded_bytes());
            key.update([0]);
        }
        key.update(format!("{format:?} {} 1", fractions(held_out)));
        let memo = memos.join(format!("{}.text", &hex(&key.finalize())[..32]));
        if let Some(survey) = recall(&memo, &stamped) {
            return Ok(survey);
        }
        let total = stamped.iter().map(|(_, stamp)| stamp.bytes).sum();
        let survey = Self::read(name, files, format, held_out, total, watch)?;
        for (path, (_, before)) in files.iter().zip(&stamped) {
            if Stamp::of(path)? != *before {
                return Err(DataError::Changing { path: path.clone() });
            }
        }
        let json = serde_json::to_vec(&Memo { files: stamped, survey: survey.clone() });
        token_cache::write(&memo, &json.map_err(|error| token_cache::cache_error(&memo)(error.into()))?)?;
        Ok(survey)
    }

    fn read(
        name: &str,
        files: &[PathBuf],
        format: &DocumentFormat,
        held_out: HeldOut,
        total: u64,
        watch: &mut dyn FnMut(TextEvent),
    ) -> Result<Self, DataError> {
        let (mut hash, mut bytes, mut lengths) = (Sha256::new(), 0, Vec::new());
        let (mut alphabet, mut odd) = (Alphabet::default(), Oddities::default());
        let mut parts = Parts::new(files, format);
        while let Some(batch) = parts.batch() {
            let batch = batch?;
            let group = batch.len().div_ceil(4 * rayon::current_num_threads());
            let count = || {
                let groups: Vec<(Vec<usize>, Alphabet, Oddities)> = batch.par_chunks(group).map(counted).collect();
                groups
            };
            let (groups, ()) = rayon::join(count, || {
                for part in &batch {
                    hash.update(&part.text);
                    if part.ends {
                        hash.update([0xFF]);
                    }
                }
            });
            let mut chars = Vec::with_capacity(batch.len());
            for (counts, found, oddities) in groups {
                chars.extend(counts);
                alphabet.add(&found);
                odd = odd.and(oddities);
            }
            for (part, chars) in batch.iter().zip(chars) {
                bytes += part.text.len();
                match lengths.last_mut().filter(|_| part.index > 0) {
                    Some(length) => *length += chars,
                    None => lengths.push(chars),
                }
            }
            watch(TextEvent::Progress { stage: TextStage::Reading, done: bytes as u64, total });
        }
        let Cuts { validation: cut, test: test_cut } = Cuts::new(name, &lengths, held_out)?;
        let one_ends_before_cut = lengths.first().is_some_and(|length| *length <= cut);
        let (documents, sha256) = (lengths.len(), hex(&hash.finalize()));
        Ok(Self { bytes, documents, cut, test_cut, one_ends_before_cut, sha256, alphabet: alphabet.text(), odd })
    }
}

/// What is kept of these files, if none has changed since.
fn recall(memo: &Path, files: &[(PathBuf, Stamp)]) -> Option<Survey> {
    let kept: Memo = serde_json::from_slice(&fs::read(memo).ok()?).ok()?;
    let written = since_1970(fs::metadata(memo).ok()?.modified().ok()?);
    let is_old = |(_, stamp): &(PathBuf, Stamp)| stamp.changed + CLOCK_STEP < written;
    (kept.files == files && files.iter().all(is_old)).then_some(kept.survey)
}

/// Characters of each part, which there are, and odd ones.
fn counted(parts: &[TextPart]) -> (Vec<usize>, Alphabet, Oddities) {
    let (mut alphabet, mut odd) = (Alphabet::default(), Oddities::default());
    let mut count = |part: &TextPart| {
        odd = odd.and(Oddities::of(&part.text));
        part.text.chars().inspect(|character| alphabet.insert(*character)).count()
    };
    let counts = parts.iter().map(&mut count).collect();
    (counts, alphabet, odd)
}

/// A set of characters: a bit for each code point.
struct Alphabet(Vec<u64>);

impl Default for Alphabet {
    fn default() -> Self {
        Self(vec![0; (char::MAX as usize + 1).div_ceil(64)])
    }
}

impl Alphabet {
    fn insert(&mut self, character: char) {
        let code = character as usize;
        self.0[code / 64] |= 1 << (code % 64);
    }

    fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    fn text(&self) -> String {
        let has = |character: &char| self.0[*character as usize / 64] >> (*character as usize % 64) & 1 == 1;
        ('\0'..=char::MAX).filter(has).collect()
    }
}
